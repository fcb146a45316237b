//! The number types a wavefunction is evaluated with: plain `f64` or a jet that carries derivatives.
//!
//! Every formula of the wavefunction is written once, generic over [`Scalar`]. With `f64` it gives the
//! value; with [`Jet`] it gives the value, the gradient and the Laplacian with respect to all particle
//! coordinates in one forward pass (R. Li et al., "A computational framework for neural network-based
//! variational Monte Carlo with Forward Laplacian", arXiv:2307.08214). Nested `autodiff` duals satisfy
//! the same trait and serve the tests as an independent oracle.

use super::vector;
use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// A number that may carry derivatives with respect to the particle coordinates.
pub trait Scalar:
    Copy
    + Debug
    + Default
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + Add<f64, Output = Self>
    + Sub<f64, Output = Self>
    + Mul<f64, Output = Self>
    + Div<f64, Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign<f64>
{
    /// Highest order of derivative carried: a function handed to [`Scalar::chain`] needs that many.
    const ORDER: usize;

    /// How many plain numbers it consists of, where they are the value, first derivatives and the Laplacian in this
    /// order (or the value alone): kernels over many of them may then take them apart. Zero if not.
    const PLANES: usize = 0;

    /// One of the [`Self::PLANES`].
    #[inline(always)]
    fn plane(&self, _plane: usize) -> f64 {
        self.value()
    }

    /// From its [`Self::PLANES`].
    #[inline(always)]
    fn from_planes(at: impl Fn(usize) -> f64) -> Self {
        Self::constant(at(0))
    }

    /// A number that depends on no coordinate.
    fn constant(value: f64) -> Self;

    /// The value, without its derivatives.
    fn value(self) -> f64;

    /// `f(self)` from `f`, `f'` and `f''` at `self.value()`; those beyond `ORDER` are ignored.
    fn chain(self, f: f64, df: f64, d2f: f64) -> Self;

    /// `f(self, other)` from `f`, its slopes `[f_x, f_y]` and its curvatures `[f_xx, f_xy, f_yy]` at the values.
    #[inline]
    fn chain2(self, other: Self, f: f64, slopes: [f64; 2], curvatures: [f64; 3]) -> Self {
        // Taylor's formula is exact where higher powers of the increments vanish.
        let (x, y) = (self - self.value(), other - other.value());
        let [xx, xy, yy] = curvatures;
        let linear = x * slopes[0] + y * slopes[1];
        linear + x * x * (0.5 * xx) + x * y * xy + y * y * (0.5 * yy) + f
    }

    /// `self + a * b`, the inner step of every linear map with constant coefficients.
    #[inline(always)]
    fn add_scaled(self, a: f64, b: Self) -> Self {
        self + b * a
    }

    /// The reverse of affine maps: `out_k += sum_r w_{rk} bar_r`, where row `r` has `prefix[r]` weights after the
    /// constant at `offset[r]` of `parameters`.
    fn add_rows(
        parameters: &[f64],
        offset: &[usize],
        prefix: &[usize],
        bar: &[Self],
        out: &mut [Self],
    ) {
        for ((&offset, &prefix), &bar) in offset.iter().zip(prefix).zip(bar) {
            for (o, &w) in out.iter_mut().zip(&parameters[offset + 1..=offset + prefix]) {
                *o = o.add_scaled(w, bar);
            }
        }
    }

    /// Zero.
    #[inline(always)]
    fn zero() -> Self {
        Self::constant(0.0)
    }

    /// One.
    #[inline(always)]
    fn one() -> Self {
        Self::constant(1.0)
    }

    /// Natural exponential.
    #[inline]
    fn exp(self) -> Self {
        let e = self.value().exp();
        self.chain(e, e, e)
    }

    /// Natural logarithm.
    #[inline]
    fn ln(self) -> Self {
        let v = self.value();
        let r = 1.0 / v;
        self.chain(v.ln(), r, -r * r)
    }

    /// Square root.
    #[inline]
    fn sqrt(self) -> Self {
        let s = self.value().sqrt();
        let d = 0.5 / s;
        self.chain(s, d, -0.5 * d / self.value())
    }

    /// Reciprocal.
    #[inline]
    fn recip(self) -> Self {
        let r = 1.0 / self.value();
        self.chain(r, -r * r, 2.0 * r * r * r)
    }

    /// Hyperbolic tangent.
    #[inline]
    fn tanh(self) -> Self {
        let t = self.value().tanh();
        let d = 1.0 - t * t;
        self.chain(t, d, -2.0 * t * d)
    }

    /// Integer power.
    #[inline]
    fn powi(self, n: i32) -> Self {
        let v = self.value();
        let k = f64::from(n);
        let (d1, d2) = match n {
            0 => (0.0, 0.0),
            1 => (1.0, 0.0),
            _ => (k * v.powi(n - 1), k * (k - 1.0) * v.powi(n - 2)),
        };
        self.chain(v.powi(n), d1, d2)
    }

    /// Real power of a positive number.
    #[inline]
    fn powf(self, p: f64) -> Self {
        let v = self.value();
        let f = v.powf(p);
        self.chain(f, p * f / v, p * (p - 1.0) * f / (v * v))
    }

    /// Sine.
    #[inline]
    fn sin(self) -> Self {
        let (s, c) = self.value().sin_cos();
        self.chain(s, c, -s)
    }

    /// Cosine.
    #[inline]
    fn cos(self) -> Self {
        let (s, c) = self.value().sin_cos();
        self.chain(c, -s, -c)
    }

    /// Absolute value; its derivative at zero is taken as that of `+self`.
    #[inline]
    fn abs(self) -> Self {
        if self.value() < 0.0 { -self } else { self }
    }
}

impl Scalar for f64 {
    const ORDER: usize = 0;
    const PLANES: usize = 1;

    #[inline(always)]
    fn constant(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn value(self) -> f64 {
        self
    }

    #[inline(always)]
    fn chain(self, f: f64, _df: f64, _d2f: f64) -> Self {
        f
    }

    #[inline(always)]
    fn chain2(self, _other: Self, f: f64, _slopes: [f64; 2], _curvatures: [f64; 3]) -> Self {
        f
    }

    fn add_rows(
        parameters: &[f64],
        offset: &[usize],
        prefix: &[usize],
        bar: &[f64],
        out: &mut [f64],
    ) {
        vector::add_rows(parameters, offset, prefix, bar, out);
    }
}

/// Value, gradient and Laplacian with respect to `N` coordinates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jet<const N: usize> {
    /// The value.
    pub value: f64,
    /// First derivatives, one per coordinate.
    pub gradient: [f64; N],
    /// Sum of the unmixed second derivatives.
    pub laplacian: f64,
}

impl<const N: usize> Jet<N> {
    /// The coordinate with number `index`: unit gradient, no Laplacian.
    #[inline]
    pub fn variable(value: f64, index: usize) -> Self {
        let mut gradient = [0.0; N];
        gradient[index] = 1.0;
        Jet { value, gradient, laplacian: 0.0 }
    }

    /// Inner product of two gradients.
    #[inline(always)]
    pub fn gradient_dot(&self, other: &Self) -> f64 {
        self.gradient.iter().zip(&other.gradient).map(|(a, b)| a * b).sum()
    }

    #[inline(always)]
    fn combine(a: f64, x: &Self, b: f64, y: &Self) -> ([f64; N], f64) {
        let g = std::array::from_fn(|k| a * x.gradient[k] + b * y.gradient[k]);
        (g, a * x.laplacian + b * y.laplacian)
    }
}

impl<const N: usize> Default for Jet<N> {
    fn default() -> Self {
        Self::zero()
    }
}

impl<const N: usize> Scalar for Jet<N> {
    const ORDER: usize = 2;
    const PLANES: usize = N + 2;

    #[inline(always)]
    fn plane(&self, plane: usize) -> f64 {
        match plane {
            0 => self.value,
            p if p <= N => self.gradient[p - 1],
            _ => self.laplacian,
        }
    }

    #[inline(always)]
    fn from_planes(at: impl Fn(usize) -> f64) -> Self {
        Jet { value: at(0), gradient: std::array::from_fn(|k| at(k + 1)), laplacian: at(N + 1) }
    }

    #[inline(always)]
    fn constant(value: f64) -> Self {
        Jet { value, gradient: [0.0; N], laplacian: 0.0 }
    }

    #[inline(always)]
    fn value(self) -> f64 {
        self.value
    }

    #[inline(always)]
    fn chain(self, f: f64, df: f64, d2f: f64) -> Self {
        let square = self.gradient_dot(&self);
        Jet {
            value: f,
            gradient: self.gradient.map(|g| df * g),
            laplacian: df * self.laplacian + d2f * square,
        }
    }

    #[inline(always)]
    fn chain2(self, other: Self, f: f64, slopes: [f64; 2], curvatures: [f64; 3]) -> Self {
        let (gradient, laplacian) = Self::combine(slopes[0], &self, slopes[1], &other);
        let [xx, xy, yy] = curvatures;
        let bend = xx * self.gradient_dot(&self)
            + 2.0 * xy * self.gradient_dot(&other)
            + yy * other.gradient_dot(&other);
        Jet { value: f, gradient, laplacian: laplacian + bend }
    }

    #[inline(always)]
    fn add_scaled(self, a: f64, b: Self) -> Self {
        let gradient = std::array::from_fn(|k| self.gradient[k] + a * b.gradient[k]);
        Jet {
            value: self.value + a * b.value,
            gradient,
            laplacian: self.laplacian + a * b.laplacian,
        }
    }
}

impl<const N: usize> Add for Jet<N> {
    type Output = Self;
    #[inline(always)]
    fn add(self, o: Self) -> Self {
        let (gradient, laplacian) = Self::combine(1.0, &self, 1.0, &o);
        Jet { value: self.value + o.value, gradient, laplacian }
    }
}

impl<const N: usize> Sub for Jet<N> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, o: Self) -> Self {
        let (gradient, laplacian) = Self::combine(1.0, &self, -1.0, &o);
        Jet { value: self.value - o.value, gradient, laplacian }
    }
}

impl<const N: usize> Mul for Jet<N> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, o: Self) -> Self {
        let (gradient, laplacian) = Self::combine(o.value, &self, self.value, &o);
        let cross = self.gradient_dot(&o);
        Jet { value: self.value * o.value, gradient, laplacian: laplacian + 2.0 * cross }
    }
}

impl<const N: usize> Div for Jet<N> {
    type Output = Self;
    // The quotient rule by way of the reciprocal, whose derivatives are already there.
    #[allow(clippy::suspicious_arithmetic_impl)]
    #[inline(always)]
    fn div(self, o: Self) -> Self {
        self * o.recip()
    }
}

impl<const N: usize> Neg for Jet<N> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        self * -1.0
    }
}

impl<const N: usize> Add<f64> for Jet<N> {
    type Output = Self;
    #[inline(always)]
    fn add(mut self, c: f64) -> Self {
        self.value += c;
        self
    }
}

impl<const N: usize> Sub<f64> for Jet<N> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, c: f64) -> Self {
        self + -c
    }
}

impl<const N: usize> Mul<f64> for Jet<N> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, c: f64) -> Self {
        Jet {
            value: self.value * c,
            gradient: self.gradient.map(|g| g * c),
            laplacian: self.laplacian * c,
        }
    }
}

impl<const N: usize> Div<f64> for Jet<N> {
    type Output = Self;
    #[inline(always)]
    fn div(self, c: f64) -> Self {
        self * (1.0 / c)
    }
}

impl<const N: usize> AddAssign for Jet<N> {
    #[inline(always)]
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}

impl<const N: usize> SubAssign for Jet<N> {
    #[inline(always)]
    fn sub_assign(&mut self, o: Self) {
        *self = *self - o;
    }
}

impl<const N: usize> MulAssign<f64> for Jet<N> {
    #[inline(always)]
    fn mul_assign(&mut self, c: f64) {
        *self = *self * c;
    }
}

/// Runs `body` with the compile-time width `N` that holds `n` coordinates.
///
/// Widths between the listed ones are padded: the extra gradient entries stay zero.
macro_rules! with_jet_width {
    ($n:expr, $N:ident => $body:expr) => {
        match $n {
            0..=1 => {
                const $N: usize = 1;
                $body
            }
            2 => {
                const $N: usize = 2;
                $body
            }
            3 => {
                const $N: usize = 3;
                $body
            }
            4 => {
                const $N: usize = 4;
                $body
            }
            5..=6 => {
                const $N: usize = 6;
                $body
            }
            7..=10 => {
                const $N: usize = 10;
                $body
            }
            11..=16 => {
                const $N: usize = 16;
                $body
            }
            _ => {
                const $N: usize = 32;
                $body
            }
        }
    };
}
pub(crate) use with_jet_width;

/// First-order dual of the `autodiff` crate: derivatives of potentials (forces, virial).
pub type Dual = autodiff::F<f64, f64>;

impl Scalar for Dual {
    const ORDER: usize = 1;

    fn constant(value: f64) -> Self {
        autodiff::F::cst(value)
    }

    fn value(self) -> f64 {
        self.x
    }

    fn chain(self, f: f64, df: f64, _d2f: f64) -> Self {
        autodiff::F::new(f, df * self.dx)
    }
}
