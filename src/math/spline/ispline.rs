//! Monotone bijections of `[0, 1]` from I-splines.
//!
//! `y(u) = (1 - floor) sum_j w_j I_j(u) + floor u` with positive weights that sum to one. `I_j` is the
//! running integral of the M-spline `M_j` of degree `k` (a B-spline scaled to unit integral), which
//! is a partial sum of B-splines of degree `k + 1` (J. O. Ramsay, "Monotone regression splines in
//! action", Statistical Science 3, 425 (1988)): the map is C^k and its slope never falls below `floor`.

use super::{BSplineBasis, LocalBasis, Pieces, SplineError, pieces};
use crate::math::scalar::Scalar;
use crate::work;

/// I-splines of one degree on `[0, 1]`, with a floor under the slope of their mixtures.
#[derive(Clone, Debug)]
pub struct MonotoneBasis {
    /// B-splines of degree `k + 1`: the map is a spline of these with increasing coefficients.
    basis: BSplineBasis,
    pieces: Pieces,
    floor: f64,
    identity: Vec<f64>,
}

/// A map as its inverse needs it: the same for all values.
#[derive(Clone, Debug, Default)]
pub struct MonotoneInverse {
    coefficients: Vec<f64>,
    /// Values of the splines at the left ends of the spans.
    ends: Vec<f64>,
}

/// Memory for the inverse of a monotone map.
#[derive(Clone, Debug, Default)]
pub struct InverseScratch {
    local: LocalBasis,
    polynomial: Vec<f64>,
}

/// Value of a monotone map, its slope, and what the reverse sweep needs again.
#[derive(Clone, Copy, Debug)]
pub struct MonotonePoint<T> {
    /// `y(u)`.
    pub value: T,
    /// `y'(u)`.
    pub slope: T,
    spline: T,
    spline_slope: T,
    spline_curvature: T,
    total: T,
}

impl MonotoneBasis {
    /// M-splines of degree `degree` on `knots` equidistant knots, slope at least `floor`.
    pub fn uniform(degree: usize, knots: usize, floor: f64) -> Result<Self, SplineError> {
        if degree < 1 {
            return Err(SplineError::Degree(degree));
        }
        let basis = BSplineBasis::uniform(degree + 1, knots)?;
        let greville = basis.greville();
        let identity = greville.windows(2).map(|w| (w[1] - w[0]).ln()).collect();
        Ok(MonotoneBasis { pieces: Pieces::new(&basis), basis, floor, identity })
    }

    /// Number of weights.
    pub fn weights(&self) -> usize {
        self.basis.functions() - 1
    }

    /// The B-splines that the map is made of, one degree above the M-splines.
    pub fn splines(&self) -> &BSplineBasis {
        &self.basis
    }

    /// Smallest slope of a map.
    pub fn floor(&self) -> f64 {
        self.floor
    }

    /// Log-weights of the identity map.
    pub fn identity_logits(&self) -> &[f64] {
        &self.identity
    }

    /// Value of I-spline `j` at `u`, or of one of its derivatives.
    pub fn i_spline(&self, j: usize, u: f64, derivative: usize) -> f64 {
        let mut c = vec![0.0; self.basis.functions()];
        c[j + 1..].fill(1.0);
        self.basis.value(&c, u, derivative)
    }

    /// The map and its slope at `u`, from unnormalised positive weights (a softmax without its sum).
    ///
    /// `curvature` asks for the second derivative that [`Self::backward`] needs.
    pub fn forward<T: Scalar>(
        &self,
        weights: &[T],
        u: T,
        curvature: bool,
        local: &mut LocalBasis,
    ) -> MonotonePoint<T> {
        let order = 1 + T::ORDER + usize::from(curvature);
        self.basis.evaluate(u.value(), order, local);
        let first = local.first();
        let mut total = T::zero();
        let mut sum = T::zero();
        for (j, &w) in weights.iter().enumerate() {
            if j == first {
                sum = total;
            }
            total += w;
        }
        if first >= weights.len() {
            sum = total;
        }
        // Partial sums from the right turn local B-splines into local I-splines.
        let (mut i, mut slope_i, mut curvature_i) = (T::zero(), T::zero(), T::zero());
        let (mut slope, mut bend) = (T::zero(), T::zero());
        for r in (1..local.width()).rev() {
            let w = weights[first + r - 1];
            i += local.lift(u, 0, r);
            slope_i += local.lift(u, 1, r);
            sum += w * i;
            slope += w * slope_i;
            if curvature {
                curvature_i += local.lift(u, 2, r);
                bend += w * curvature_i;
            }
        }
        let inverse_total = total.recip();
        let spline = sum * inverse_total;
        let spline_slope = slope * inverse_total;
        let free = 1.0 - self.floor;
        MonotonePoint {
            value: spline * free + u * self.floor,
            slope: spline_slope * free + self.floor,
            spline,
            spline_slope,
            spline_curvature: bend * inverse_total,
            total,
        }
    }

    /// Adjoints of the log-weights (added to `logits_bar`) and of `u` (returned), from the adjoints of
    /// the value and of the slope. `local` is as [`Self::forward`] left it, with `curvature` asked for.
    #[allow(clippy::too_many_arguments)]
    pub fn backward<T: Scalar>(
        &self,
        weights: &[T],
        u: T,
        point: &MonotonePoint<T>,
        value_bar: T,
        slope_bar: T,
        local: &LocalBasis,
        logits_bar: &mut [T],
    ) -> T {
        let free = 1.0 - self.floor;
        let (spline_bar, spline_slope_bar) = (value_bar * free, slope_bar * free);
        let inverse_total = point.total.recip();
        let (a, b) = (spline_bar * inverse_total, spline_slope_bar * inverse_total);
        let rest = -(a * point.spline + b * point.spline_slope);
        let first = local.first();
        let (mut i, mut slope_i) = (T::zero(), T::zero());
        for j in 0..first {
            logits_bar[j] += weights[j] * (rest + a);
        }
        for r in (1..local.width()).rev() {
            let j = first + r - 1;
            i += local.lift(u, 0, r);
            slope_i += local.lift(u, 1, r);
            logits_bar[j] += weights[j] * (rest + a * i + b * slope_i);
        }
        for j in first + local.width() - 1..weights.len() {
            logits_bar[j] += weights[j] * rest;
        }
        value_bar * self.floor
            + spline_bar * point.spline_slope
            + spline_slope_bar * point.spline_curvature
    }

    /// Prepares the inverse of the map with the given weights.
    pub fn invert(&self, weights: &[f64], inverse: &mut MonotoneInverse) {
        let MonotoneInverse { coefficients, ends } = inverse;
        let mut total = 0.0;
        coefficients.clear();
        coefficients.push(0.0);
        coefficients.extend(weights.iter().map(|w| {
            total += w;
            total
        }));
        let scale = (1.0 - self.floor) / total;
        coefficients.iter_mut().for_each(|c| *c *= scale);
        self.pieces.at_ends(coefficients, ends);
    }

    /// Where the map takes the value `y`: the span by the values at its ends, then its polynomial. None if that takes too
    /// many steps.
    fn by_polynomial(
        &self,
        inverse: &MonotoneInverse,
        y: f64,
        polynomial: &mut Vec<f64>,
    ) -> Option<f64> {
        let MonotoneInverse { coefficients, ends } = inverse;
        let below = |(e, &u): (&f64, &f64)| e + self.floor * u <= y;
        let ends = ends.iter().zip(self.basis.breakpoints());
        let span = ends.take_while(|&end| below(end)).count().max(1) - 1;
        let (middle, length) = self.pieces.place(span);
        self.pieces.polynomial(span, coefficients, polynomial);
        polynomial[0] += self.floor * middle;
        polynomial[1] += self.floor * length;
        Some(middle + length * pieces::solve(polynomial, y)?)
    }

    /// `u` with `y(u) = y`, by Newton's method kept inside a shrinking bracket; `inverse` is [prepared](Self::invert) from the same
    /// weights.
    ///
    /// Converges for every set of positive weights, because the slope has a floor.
    pub fn inverse(
        &self,
        weights: &[f64],
        inverse: &MonotoneInverse,
        y: f64,
        scratch: &mut InverseScratch,
    ) -> f64 {
        if y <= 0.0 {
            return 0.0;
        }
        if y >= 1.0 {
            return 1.0;
        }
        if let Some(u) = self.by_polynomial(inverse, y, &mut scratch.polynomial) {
            return u;
        }
        let (mut lo, mut hi) = (0.0f64, 1.0f64);
        let mut u = y;
        for _ in 0..200 {
            work::newton();
            let point = self.forward(weights, u, false, &mut scratch.local);
            let residual = point.value - y;
            if residual > 0.0 {
                hi = hi.min(u);
            } else {
                lo = lo.max(u);
            }
            let newton = u - residual / point.slope;
            // Tested before the bracket is: a root hit exactly lies on the bracket's edge.
            if (newton - u).abs() <= 2e-16 * u.max(1e-3) || hi - lo <= f64::EPSILON * hi {
                break;
            }
            u = if newton > lo && newton < hi { newton } else { 0.5 * (lo + hi) };
        }
        u
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn i_splines_are_integrals_of_unit_m_splines() {
        let m = MonotoneBasis::uniform(4, 7, 0.0).unwrap();
        let lower = BSplineBasis::uniform(4, 7).unwrap();
        let integrals = lower.integrals();
        for j in 0..m.weights() {
            assert!(m.i_spline(j, 0.0, 0).abs() < 1e-15);
            assert!((m.i_spline(j, 1.0, 0) - 1.0).abs() < 1e-14);
            let mut c = vec![0.0; lower.functions()];
            c[j] = 1.0 / integrals[j];
            for u in [0.0, 0.13, 0.5, 0.77, 1.0] {
                assert!((m.i_spline(j, u, 1) - lower.value(&c, u, 0)).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn identity_logits_give_the_identity() {
        let m = MonotoneBasis::uniform(5, 12, 1e-3).unwrap();
        let w: Vec<f64> = m.identity_logits().iter().map(|l| l.exp()).collect();
        let mut local = LocalBasis::default();
        for i in 0..=50 {
            let u = i as f64 / 50.0;
            let p = m.forward(&w, u, false, &mut local);
            assert!((p.value - u).abs() < 1e-14 && (p.slope - 1.0).abs() < 1e-12);
        }
    }

    proptest! {
        #[test]
        fn maps_are_bijections_with_a_floor(
            degree in 1usize..8,
            knots in 2usize..16,
            logits in prop::collection::vec(-12.0f64..12.0, 32),
            y in 0.0f64..=1.0,
        ) {
            let m = MonotoneBasis::uniform(degree, knots, 1e-3).unwrap();
            let w: Vec<f64> = logits[..m.weights()].iter().map(|l| l.exp()).collect();
            let mut local = LocalBasis::default();
            let mut inverse = MonotoneInverse::default();
            m.invert(&w, &mut inverse);
            let u = m.inverse(&w, &inverse, y, &mut InverseScratch::default());
            let p = m.forward(&w, u, false, &mut local);
            prop_assert!((p.value - y).abs() < 1e-14, "{} {}", p.value, y);
            prop_assert!(p.slope >= 1e-3 * (1.0 - 1e-9));
            prop_assert!((0.0..=1.0).contains(&u));
            let ends = [m.forward(&w, 0.0, false, &mut local), m.forward(&w, 1.0, false, &mut local)];
            prop_assert!(ends[0].value.abs() < 1e-15 && (ends[1].value - 1.0).abs() < 1e-13);
        }
    }
}
