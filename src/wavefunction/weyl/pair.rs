//! The pair displacement P: particles push each other by a function of the distance.
//!
//! Between walls they push each other's mirror images too:
//! `z_i = theta_i + sum_{j≠i} [beta(theta_i - theta_j) + beta(theta_i + theta_j)]`, one odd `beta` for equal and one
//! for opposite spins. The Jacobian `H = 1 + sum_{i<j} [beta'(theta_i - theta_j) (e_i - e_j)(e_i - e_j)^T +
//! beta'(theta_i + theta_j) (e_i + e_j)(e_i + e_j)^T]` is symmetric, and at least `1 - 2 (N - 1) kappa` because
//! `beta' >= -kappa` and the rank-one terms sum to `2 (N - 1)`: `kappa < 1 / (2 (N - 1))` makes it a bijection
//! for every parameter. Without walls there are no images, and the sum of `(e_i - e_j)(e_i - e_j)^T` is at
//! most `N`: `kappa < 1 / N`. The map is the gradient of an invariant convex function.

mod lanes;

use super::displacement::{Displacement, DisplacementAdjoint};
use super::layer::{Kind, Layer, Making};
use super::newton::{self, NewtonScratch};
use crate::math::log_product::LogProduct;
use crate::math::scalar::Scalar;
use crate::math::small_matrix::{cholesky, cholesky_inverse, cholesky_solve};
use crate::math::spline::{CircularSpline, ShortRange, SplineError};
use crate::system::Sector;
use crate::wavefunction::WavefunctionError;
use crate::work;
use std::f64::consts::PI;

/// A pair displacement, written `theta -> z` or, inverted, `z -> theta`.
#[derive(Clone, Debug)]
pub struct PairLayer {
    particles: usize,
    /// Kinds of the pairs, `i` below `j` at `j (j - 1) / 2 + i`: 0 of equal spins, 1 of different ones.
    kinds: Vec<usize>,
    /// Whether walls mirror the particles.
    images: bool,
    /// The functions of equal and of different spins; none where no such pair exists.
    functions: [Option<Displacement>; 2],
    inverted: bool,
}

/// What the reverse sweep needs again, and scratch memory.
#[derive(Clone, Debug, Default)]
pub struct PairTrace<T> {
    /// The argument of the displacement, whichever side of the layer it is on.
    argument: Vec<T>,
    /// Cholesky factor of the Jacobian.
    factor: Vec<T>,
    inverse: Vec<T>,
    image: Vec<T>,
    plain: Vec<f64>,
    plain_factor: Vec<f64>,
    target: Vec<f64>,
    newton: NewtonScratch,
    adjoints: [DisplacementAdjoint<T>; 2],
}

/// `t` moved into `[0, pi]` by the oddness and periodicity of `beta`: the angle, and the sign that it took.
#[inline]
fn reduce<T: Scalar>(t: T) -> (T, f64) {
    // Rounding is a function call on older processors, and hardly ever needed.
    let shifted =
        if t.value().abs() < PI { t } else { t - 2.0 * PI * (t.value() / (2.0 * PI)).round() };
    if shifted.value() < 0.0 { (-shifted, -1.0) } else { (shifted, 1.0) }
}

/// Where the pairs of a layer live.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PairSpace {
    /// Angles in `(0, pi)` between walls that mirror the particles; pairs of any distance.
    Walls,
    /// The same with pairs mostly closer than `range`, and so much further from their images.
    WideWalls {
        /// Distance that hardly any pair exceeds, in radians.
        range: f64,
        /// Distance that hardly any image falls below.
        end: f64,
    },
    /// No walls; pairs mostly closer than `range`, displaced by a constant beyond.
    Line {
        /// Distance that hardly any pair exceeds, in radians.
        range: f64,
    },
    /// The circle of angles with period `2 pi`.
    Ring,
}

impl PairSpace {
    /// `WideWalls` where the walls leave room for it: for particles whose outermost places are so far apart, and whose
    /// pairs and images are, but for a share, closer and further than [`Base::distances`] says.
    ///
    /// What a displacement has become at the end of the range is undone between pairs and images. Where images would
    /// be on the way, they would be displaced with it, and the displacement forced to end at the range by a jump of the
    /// local energy.
    ///
    /// [`Base::distances`]: super::base::Base::distances
    pub fn between_walls(extent: f64, distances: impl Fn(f64) -> (f64, f64)) -> Self {
        if PI - 2.0 * extent >= WIDE_GAP {
            return PairSpace::WideWalls { range: extent, end: PI - extent };
        }
        for share in BEYOND {
            let (range, end) = distances(share);
            if end - range >= LEAST_GAP {
                let end = (end + FLAT * (end - range)).min(PI);
                return PairSpace::WideWalls { range, end };
            }
        }
        PairSpace::Walls
    }
}

/// A step towards the root of a single pair smaller than this is the last, in radians: it is exact to the third order.
const LAST_STEP: f64 = 1e-8;
/// A gap between pairs and images, in radians, in which everything fits.
const WIDE_GAP: f64 = 0.4 * PI;
/// The least gap: the displacement that a narrower one could undo would be too small.
const LEAST_GAP: f64 = 0.15 * PI;
/// Shares of the pairs beyond the range and of the images before its end, the smallest of which that leaves a gap is taken.
const BEYOND: [f64; 3] = [1e-8, 1e-7, 1e-6];
/// How far the bump reaches beyond the gap, in widths of the gap: its end is flat to the sixth order.
const FLAT: f64 = 0.35;

/// From configurations to the base.
pub const STRAIGHT: Kind = kind(|m| made(m, false));

/// From the base to configurations.
pub const INVERSE: Kind = kind(|m| made(m, true));

const fn kind(build: fn(&mut Making) -> Result<Layer, WavefunctionError>) -> Kind {
    Kind { build, parameters: |of| of.pairs * (of.pair_cells + 1), refines: true, many: true }
}

fn made(m: &mut Making, inverted: bool) -> Result<Layer, WavefunctionError> {
    let share = m.settings.bound_share;
    Ok(Layer::Pair(Box::new(PairLayer::new(m.sector, m.pair_cells, m.pairs, share, inverted)?)))
}

impl PairLayer {
    /// The identity; `share` in (0, 1) is the part of the bound on `kappa` that is used.
    ///
    /// # Errors
    /// [`SplineError`] for too few cells.
    pub fn new(
        sector: Sector,
        cells: usize,
        space: PairSpace,
        share: f64,
        inverted: bool,
    ) -> Result<Self, SplineError> {
        let n = sector.particles();
        let equal = sector.spins().any(|spin| spin.len() > 1);
        let opposite = sector.spins().count() > 1;
        let kind = |(i, j)| usize::from(!sector.equal(i, j));
        let kinds = (0..n).flat_map(|j| (0..j).map(move |i| (i, j))).map(kind).collect();
        let images = matches!(space, PairSpace::Walls | PairSpace::WideWalls { .. });
        let bound = if images { 2 * n.saturating_sub(1).max(1) } else { n };
        let kappa = share / bound as f64;
        let function = || match space {
            PairSpace::Walls | PairSpace::Ring => {
                let spline = CircularSpline::identity(cells, 0.0)?;
                Ok(Displacement::Circular { spline, kappa })
            }
            PairSpace::WideWalls { range, end } => {
                ShortRange::zero(cells, range, Some(end), kappa).map(Displacement::ShortRange)
            }
            PairSpace::Line { range } => {
                ShortRange::zero(cells, range, None, kappa).map(Displacement::ShortRange)
            }
        };
        let mut functions = [None, None];
        for (f, exists) in functions.iter_mut().zip([equal, opposite]) {
            if exists {
                *f = Some(function()?);
            }
        }
        Ok(PairLayer { particles: n, kinds, images, functions, inverted })
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.functions.iter().flatten().map(Displacement::weights).sum()
    }

    /// Linear forms of the parameters whose squares measure roughness.
    pub fn roughness(&self) -> Vec<Vec<(usize, f64)>> {
        let mut forms = Vec::new();
        let mut offset = 0;
        for function in self.functions.iter().flatten() {
            let moved =
                |form: Vec<(usize, f64)>| form.iter().map(|&(k, a)| (k + offset, a)).collect();
            forms.extend(function.roughness().into_iter().map(moved));
            offset += function.weights();
        }
        forms
    }

    /// Takes new parameters.
    pub fn set_parameters(&mut self, parameters: &[f64]) {
        let mut rest = parameters;
        for function in self.functions.iter_mut().flatten() {
            let (mine, others) = rest.split_at(function.weights());
            function.set_logits(mine);
            rest = others;
        }
    }

    /// Halves the cells of the displacements without changing them, and returns the parameters that they have then.
    pub fn refine(&mut self) -> Vec<f64> {
        let mut parameters = Vec::new();
        for function in self.functions.iter_mut().flatten() {
            let (refined, logits) = function.refined();
            *function = refined;
            parameters.extend(logits);
        }
        parameters
    }

    /// The pairs with the kind of their spins (0 equal, 1 opposite) and their function.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize, usize, &Displacement)> {
        (0..self.particles).flat_map(move |j| {
            (0..j).filter_map(move |i| {
                let kind = self.kinds[j * j.saturating_sub(1) / 2 + i];
                // A function exists for every kind of pair that the sector has.
                self.functions[kind].as_ref().map(|f| (i, j, kind, f))
            })
        })
    }

    /// `beta` at `t` and its derivative.
    #[inline]
    fn beta<T: Scalar>(&self, function: &Displacement, t: T) -> (T, T) {
        let (t, sign) = reduce(t);
        if T::ORDER == 0 {
            let (value, slope) = function.value_and_slope(t.value());
            return (T::constant(value * sign), T::constant(slope));
        }
        let p = function.evaluate(t.value());
        (p.lift(t, 0) * sign, p.lift(t, 1))
    }

    /// The displaced angles, and the Jacobian in its lower triangle where asked for.
    fn displace<T: Scalar>(&self, theta: &[T], z: &mut [T], mut jacobian: Option<&mut [T]>) {
        let n = self.particles;
        z.copy_from_slice(theta);
        if let Some(h) = jacobian.as_deref_mut() {
            h.fill(T::zero());
            (0..n).for_each(|i| h[i * n + i] = T::one());
        }
        for (i, j, _, function) in self.pairs() {
            let (difference, slope) = self.beta(function, theta[i] - theta[j]);
            z[i] += difference;
            z[j] -= difference;
            if let Some(h) = jacobian.as_deref_mut() {
                h[i * n + i] += slope;
                h[j * n + j] += slope;
                h[j * n + i] -= slope;
            }
            if self.images {
                let (sum, slope) = self.beta(function, theta[i] + theta[j]);
                z[i] += sum;
                z[j] += sum;
                if let Some(h) = jacobian.as_deref_mut() {
                    h[i * n + i] += slope;
                    h[j * n + j] += slope;
                    h[j * n + i] += slope;
                }
            }
        }
    }

    /// `theta` (in `plain`) whose displaced angles are in `target`.
    fn solve<T>(&self, trace: &mut PairTrace<T>) {
        let n = self.particles;
        let factor = &mut trace.plain_factor;
        factor.resize(n * n, 0.0);
        let mut unused = vec![0.0; n];
        trace.plain.clone_from(&trace.target);
        newton::solve(
            &trace.target,
            &mut trace.plain,
            |t, z| self.displace(t, z, None),
            |t, r| {
                self.displace(t, &mut unused, Some(factor));
                // Positive definite by the bound on kappa.
                if cholesky(factor, n).is_some() {
                    cholesky_solve(factor, n, r);
                }
            },
            &mut trace.newton,
        );
    }

    /// The function between two particles, where there are no others: their distance and, between walls, their sum are then
    /// displaced each by itself.
    fn single(&self) -> Option<&Displacement> {
        self.functions.iter().flatten().next().filter(|_| self.particles == 2)
    }

    /// `t` with `t + 2 beta(t) = y` (increasing, because `beta' > -1/2` for one pair), and `beta` and its first three
    /// derivatives there.
    fn solve_single(&self, function: &Displacement, y: f64) -> (f64, [f64; 4]) {
        // The root is on that side of points with residuals of either sign.
        let (mut lo, mut hi) = (f64::NEG_INFINITY, f64::INFINITY);
        let mut t = y;
        for _ in 0..newton::STEPS {
            work::newton();
            let (folded, sign) = reduce(t);
            let p = function.evaluate(folded).derivatives;
            let b = [sign * p[0], p[1], sign * p[2], p[3], sign * p[4]];
            let (residual, slope) = (t + 2.0 * b[0] - y, 1.0 + 2.0 * b[1]);
            let inverse = 1.0 / slope;
            let step = -residual * inverse;
            // Newton's step with the curvature of the inverse in it (Chebyshev's method).
            let bent = step * (1.0 - step * b[2] * inverse).clamp(0.5, 2.0);
            if step.abs() < LAST_STEP {
                // What is left of the derivatives by Taylor's formula.
                let taylor =
                    |k: usize| b[k] + bent * (b[k + 1] + 0.5 * bent * b.get(k + 2).unwrap_or(&0.0));
                return (t + bent, std::array::from_fn(taylor));
            }
            if residual > 0.0 {
                hi = t;
            } else {
                lo = t;
            }
            let next = t + bent;
            t = if next > lo && next < hi { next } else { 0.5 * (lo + hi) };
        }
        (t, [f64::NAN; 4])
    }

    /// The argument of the displacement of distance or sum `y` that an inverted layer is given.
    #[inline]
    fn lifted<T: Scalar>(y: T, at: f64, beta: &[f64; 4]) -> T {
        let inverse = 1.0 / (1.0 + 2.0 * beta[1]);
        y.chain(at, inverse, -2.0 * beta[2] * inverse.powi(3))
    }

    /// [`Self::forward`] of [`Self::single`].
    fn forward_single<T: Scalar>(
        &self,
        function: &Displacement,
        angles: &mut [T],
        det: &mut LogProduct<T>,
    ) {
        let one = |y: T| -> T {
            if self.inverted {
                let (at, beta) = self.solve_single(function, y.value());
                let t = Self::lifted(y, at, &beta);
                det.divide(t.chain(1.0 + 2.0 * beta[1], 2.0 * beta[2], 2.0 * beta[3]));
                t
            } else {
                let (value, slope) = self.beta(function, y);
                det.multiply(slope * 2.0 + 1.0);
                y + value * 2.0
            }
        };
        let moved = self.moved(angles, one);
        angles.copy_from_slice(&moved);
    }

    /// Two angles from what `one` makes of their distance and, between walls, of their sum.
    #[inline(always)]
    fn moved<T: Scalar>(&self, angles: &[T], mut one: impl FnMut(T) -> T) -> [T; 2] {
        let difference = one(angles[0] - angles[1]);
        let sum = angles[0] + angles[1];
        let sum = if self.images { one(sum) } else { sum };
        [(sum + difference) * 0.5, (sum - difference) * 0.5]
    }

    /// Angles whose displaced ones are given.
    fn solve_both<T: Scalar>(&self, function: &Displacement, angles: &[T]) -> [T; 2] {
        self.moved(angles, |y| {
            let (at, beta) = self.solve_single(function, y.value());
            Self::lifted(y, at, &beta)
        })
    }

    /// Maps the angles in place and multiplies `det` by that of the map; `reverse` says whether
    /// [`Self::backward`] follows.
    pub fn forward<T: Scalar>(
        &self,
        angles: &mut [T],
        reverse: bool,
        trace: &mut PairTrace<T>,
        det: &mut LogProduct<T>,
    ) {
        let n = self.particles;
        let single = self.single();
        if let Some(function) = single.filter(|_| !reverse) {
            return self.forward_single(function, angles, det);
        }
        trace.factor.resize(n * n, T::zero());
        trace.image.resize(n, T::zero());
        if !self.inverted {
            trace.argument.clear();
            trace.argument.extend_from_slice(angles);
            self.displace(&trace.argument, angles, Some(&mut trace.factor));
            return det.add_log(cholesky(&mut trace.factor, n).unwrap_or(T::constant(f64::NAN)));
        }
        if let Some(function) = single {
            trace.argument.clear();
            trace.argument.extend(self.solve_both(function, angles));
        } else {
            self.solve_coupled(angles, trace);
        }
        self.displace(&trace.argument, &mut trace.image, Some(&mut trace.factor));
        angles.copy_from_slice(&trace.argument);
        det.add_log(-cholesky(&mut trace.factor, n).unwrap_or(T::constant(f64::NAN)));
    }

    /// The angles whose displaced ones are given, with their derivatives, as the argument of the trace.
    fn solve_coupled<T: Scalar>(&self, angles: &[T], trace: &mut PairTrace<T>) {
        let n = self.particles;
        trace.target.clear();
        trace.target.extend(angles.iter().map(|a| a.value()));
        self.solve(trace);
        trace.argument.clear();
        trace.argument.extend(trace.plain.iter().map(|&t| T::constant(t)));
        if T::ORDER > 0 {
            // Newton steps with the Jacobian frozen at the solution add one order of derivatives each: the
            // residual left by a step has no derivative of the orders already gained.
            let mut unused = std::mem::take(&mut trace.target);
            trace.plain_factor.resize(n * n, 0.0);
            self.displace(&trace.plain, &mut unused, Some(&mut trace.plain_factor));
            trace.target = unused;
            if cholesky(&mut trace.plain_factor, n).is_none() {
                return trace.argument.fill(T::constant(f64::NAN));
            }
            for _ in 0..T::ORDER {
                self.displace(&trace.argument, &mut trace.image, None);
                for (r, y) in trace.image.iter_mut().zip(angles) {
                    *r -= *y;
                }
                cholesky_solve(&trace.plain_factor, n, &mut trace.image);
                for (t, r) in trace.argument.iter_mut().zip(&trace.image) {
                    *t -= *r;
                }
            }
        }
    }

    /// From the adjoints of the outputs (in `bar`, replaced by those of the inputs) and of the log-determinant,
    /// adds the adjoints of the parameters.
    pub fn backward<T: Scalar>(
        &self,
        bar: &mut [T],
        log_det_bar: f64,
        trace: &mut PairTrace<T>,
        parameters_bar: &mut [T],
    ) {
        let n = self.particles;
        let PairTrace { argument, factor, inverse, image, adjoints, .. } = trace;
        inverse.resize(n * n, T::zero());
        cholesky_inverse(factor, n, inverse);
        let det_bar = if self.inverted { -log_det_bar } else { log_det_bar };
        // d log det H / d beta'(t) = e^T H^-1 e with e = e_i -+ e_j.
        let weights = |i: usize, j: usize| {
            let (diagonal, off) =
                (inverse[i * n + i] + inverse[j * n + j], inverse[j * n + i] * 2.0);
            ((diagonal - off) * det_bar, (diagonal + off) * det_bar)
        };
        if self.inverted {
            // theta(z, w) is implicit: the adjoint of theta, log-determinant included, goes through H^-1 to z,
            // and from there with the opposite sign to the displacement's parameters.
            for (i, j, _, function) in self.pairs() {
                let (w_d, w_s) = weights(i, j);
                let bend = |t: T| {
                    let (t, sign) = reduce(t);
                    function.evaluate(t.value()).lift(t, 2) * sign
                };
                let d = w_d * bend(argument[i] - argument[j]);
                bar[i] += d;
                bar[j] -= d;
                if self.images {
                    let s = w_s * bend(argument[i] + argument[j]);
                    bar[i] += s;
                    bar[j] += s;
                }
            }
            image.copy_from_slice(bar);
            for i in 0..n {
                let mut v = T::zero();
                for k in 0..n {
                    v += inverse[i * n + k] * image[k];
                }
                bar[i] = v;
            }
            image.iter_mut().zip(&*bar).for_each(|(v, b)| *v = -*b);
        } else {
            image.copy_from_slice(bar);
        }
        for (adjoint, function) in adjoints.iter_mut().zip(&self.functions) {
            if let Some(function) = function {
                adjoint.reset(function);
            }
        }
        for (i, j, kind, function) in self.pairs() {
            let (w_d, w_s) = weights(i, j);
            let mut term = |t: T, value_bar: T, slope_bar: T| -> T {
                let (t, sign) = reduce(t);
                let place = function.local(t.value());
                adjoints[kind].add(function, &place, t, value_bar * sign, slope_bar);
                if self.inverted {
                    return T::zero();
                }
                let p = function.evaluate(t.value());
                value_bar * p.lift(t, 1) + slope_bar * p.lift(t, 2) * sign
            };
            let d = term(argument[i] - argument[j], image[i] - image[j], w_d);
            let s = if self.images {
                term(argument[i] + argument[j], image[i] + image[j], w_s)
            } else {
                T::zero()
            };
            if !self.inverted {
                bar[i] += d + s;
                bar[j] += s - d;
            }
        }
        let mut offset = 0;
        for (adjoint, function) in adjoints.iter_mut().zip(&self.functions) {
            if let Some(function) = function {
                let next = offset + function.weights();
                adjoint.finish(function, &mut parameters_bar[offset..next]);
                offset = next;
            }
        }
    }
}
