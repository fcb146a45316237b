//! Nested duals of the `autodiff` crate: second derivatives the slow way, the oracle of the derivative tests.

use super::scalar::{Dual, Scalar};
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// `F<F<f64>, F<f64>>`: one direction at each level gives one mixed second derivative.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Nested(pub autodiff::F<Dual, Dual>);

impl Nested {
    /// A coordinate that varies (or not) along the outer and the inner direction.
    pub(crate) fn seeded(value: f64, outer: bool, inner: bool) -> Self {
        let unit = |b: bool| f64::from(u8::from(b));
        Nested(autodiff::F::new(Dual::new(value, unit(inner)), Dual::new(unit(outer), 0.0)))
    }

    /// The derivative along the outer direction.
    pub(crate) fn first(self) -> f64 {
        self.0.dx.x
    }

    /// The mixed second derivative.
    pub(crate) fn second(self) -> f64 {
        self.0.dx.dx
    }
}

fn lift(c: f64) -> Dual {
    Dual::cst(c)
}

macro_rules! binary {
    ($trait:ident, $method:ident) => {
        impl $trait for Nested {
            type Output = Self;
            fn $method(self, o: Self) -> Self {
                Nested($trait::$method(self.0, o.0))
            }
        }
        impl $trait<f64> for Nested {
            type Output = Self;
            fn $method(self, c: f64) -> Self {
                Nested($trait::$method(self.0, lift(c)))
            }
        }
    };
}
binary!(Add, add);
binary!(Sub, sub);
binary!(Mul, mul);
binary!(Div, div);

impl Neg for Nested {
    type Output = Self;
    fn neg(self) -> Self {
        Nested(-self.0)
    }
}
impl AddAssign for Nested {
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}
impl SubAssign for Nested {
    fn sub_assign(&mut self, o: Self) {
        *self = *self - o;
    }
}
impl MulAssign<f64> for Nested {
    fn mul_assign(&mut self, c: f64) {
        *self = *self * c;
    }
}

impl Scalar for Nested {
    const ORDER: usize = 2;

    fn constant(value: f64) -> Self {
        Nested(autodiff::F::new(lift(value), lift(0.0)))
    }

    fn value(self) -> f64 {
        self.0.x.x
    }

    fn chain(self, f: f64, df: f64, d2f: f64) -> Self {
        let inner = self.0.x.dx;
        let (value, slope) = (Dual::new(f, df * inner), Dual::new(df, d2f * inner));
        Nested(autodiff::F::new(value, slope * self.0.dx))
    }

    // The crate's own rules rather than ours, so that the oracle checks those too.
    fn exp(self) -> Self {
        Nested(num_traits::Float::exp(self.0))
    }
    fn ln(self) -> Self {
        Nested(num_traits::Float::ln(self.0))
    }
    fn sqrt(self) -> Self {
        Nested(num_traits::Float::sqrt(self.0))
    }
    fn tanh(self) -> Self {
        Nested(num_traits::Float::tanh(self.0))
    }
    fn recip(self) -> Self {
        Nested(num_traits::Float::recip(self.0))
    }
}
