//! Periodic splines: positive slopes on a circle, and the monotone maps of the circle that they integrate to.
//!
//! On the circle of length `2 pi` with `m` equal cells the slope is `sum_j w_j b_j` with uniform B-splines of degree
//! `DEGREE` centred at `j h`, `h = 2 pi / m`, and `sum_j w_j = m`: the map `y` goes once around. Unlike
//! the [reflected](super::circular) one it has no fixed point. What the slope leaves open is a turn: `y(t) - t` is
//! periodic, its mean is a parameter of its own. So neither an origin nor a direction is preferred, and to turn the
//! weights by some cells turns the map.

use super::SplineError;
use super::cells::Cells;
use super::circular::{CircularLocal, CircularPoint, FEWEST_CELLS, SLOPES, SUMS};
use super::subdivision::halved;
use crate::math::scalar::Scalar;
use crate::work;
use std::f64::consts::PI;

/// A monotone bijection of the circle, `y(t + 2 pi) = y(t) + 2 pi`.
///
/// `y(t) = t + turn + p(t)` with a periodic `p` of mean zero and `y' = sum_j w_j b_j`, `w_j = floor + (1 - floor) m
/// exp(l_j) / Z`. Equal logits `l_j` and no turn give the identity; the slope is never below `floor`. Parameters are the
/// logits, then the turn in radians.
#[derive(Clone, Debug, PartialEq)]
pub struct PeriodicSpline {
    cells: usize,
    floor: f64,
    /// `w_j` for `j = 0..m`.
    weights: Vec<f64>,
    /// Coefficients of `y` per cell in B-splines of degree `DEGREE + 1` centred at `(i + 1/2) h`, for `i = -3..=m+2`.
    sums: Vec<f64>,
    /// The smallest and the largest displacement, `y(t) - t`, by the coefficients.
    displacement: (f64, f64),
    polynomials: Cells,
}

/// A Newton step of fewer cells than this is the last: the error after it is of the order of its square.
const LAST_STEP: f64 = 1e-9;
/// Coefficients of slopes and sums before those of the first cell's left edge.
const SLOPES_BEFORE: usize = 2;
const SUMS_BEFORE: usize = 3;

impl PeriodicSpline {
    /// The identity on `cells` cells, its slope kept above `floor` (less than one).
    ///
    /// # Errors
    /// [`SplineError::Knots`] for fewer than [`FEWEST_CELLS`] cells.
    pub fn identity(cells: usize, floor: f64) -> Result<Self, SplineError> {
        if cells < FEWEST_CELLS {
            return Err(SplineError::Knots);
        }
        let mut spline = PeriodicSpline {
            cells,
            floor,
            weights: vec![1.0; cells],
            sums: vec![0.0; cells + SUMS - 1],
            displacement: (0.0, 0.0),
            polynomials: Cells::default(),
        };
        spline.set_parameters(&vec![0.0; cells + 1]);
        Ok(spline)
    }

    /// Number of parameters: a logit a cell, and the turn.
    pub fn parameters(&self) -> usize {
        self.cells + 1
    }

    /// Position `j h` that logit `j` belongs to.
    pub fn centre(&self, j: usize) -> f64 {
        j as f64 * self.width()
    }

    fn width(&self) -> f64 {
        2.0 * PI / self.cells as f64
    }

    /// Replaces the map by that of the given logits and turn.
    pub fn set_parameters(&mut self, parameters: &[f64]) {
        let m = self.cells;
        let (logits, turn) = (&parameters[..m], parameters[m]);
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = logits.iter().map(|l| (l - largest).exp()).sum();
        let scale = (1.0 - self.floor) * m as f64 / total;
        for (w, l) in self.weights.iter_mut().zip(logits) {
            *w = self.floor + scale * (l - largest).exp();
        }
        // Coefficients of the displacement, in cells: their differences are those of the weights from one.
        let mut offsets = Vec::with_capacity(m);
        let mut sum = 0.0;
        for j in 0..m {
            if j > 0 {
                sum += self.weights[j] - 1.0;
            }
            offsets.push(sum);
        }
        let mean = offsets.iter().sum::<f64>() / m as f64 - turn / self.width();
        offsets.iter_mut().for_each(|o| *o -= mean);
        let low = offsets.iter().copied().fold(f64::INFINITY, f64::min);
        let high = offsets.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.displacement = (low * self.width(), high * self.width());
        let slopes: Vec<f64> =
            (0..m + SLOPES - 1).map(|q| self.weights[(q + m - SLOPES_BEFORE) % m]).collect();
        for (q, s) in self.sums.iter_mut().enumerate() {
            let at = q as f64 - SUMS_BEFORE as f64 + 0.5;
            *s = at + offsets[(q + m - SUMS_BEFORE) % m];
        }
        self.polynomials.set(&self.sums, &slopes, self.width());
    }

    /// The same map on cells of half the width, and its parameters.
    pub fn refined(&self) -> (Self, Vec<f64>) {
        let (m, cells) = (self.cells as isize, 2 * self.cells);
        let weights = halved(|j| self.weights[j.rem_euclid(m) as usize], cells);
        let mut parameters: Vec<f64> =
            weights.iter().map(|w| ((w - self.floor) / (1.0 - self.floor)).ln()).collect();
        // The mean of the displacement is that of its coefficients, on either grid.
        parameters.push(self.mean_displacement());
        let mut spline = PeriodicSpline {
            cells,
            floor: self.floor,
            weights: vec![1.0; cells],
            sums: vec![0.0; cells + SUMS - 1],
            displacement: (0.0, 0.0),
            polynomials: Cells::default(),
        };
        spline.set_parameters(&parameters);
        (spline, parameters)
    }

    fn mean_displacement(&self) -> f64 {
        let m = self.cells;
        let own = &self.sums[SUMS_BEFORE..SUMS_BEFORE + m];
        let sum: f64 = own.iter().enumerate().map(|(i, s)| s - (i as f64 + 0.5)).sum();
        self.width() * sum / m as f64
    }

    /// `t` in `[0, 2 pi)` and the whole turns that were taken out.
    #[inline]
    fn reduce(t: f64) -> (f64, f64) {
        let start = 2.0 * PI * (t / (2.0 * PI)).floor();
        (t - start, start)
    }

    /// The functions that are not zero at `t`.
    #[inline]
    pub fn local(&self, t: f64) -> CircularLocal {
        CircularLocal::new(self.cells, Self::reduce(t).0 / self.width())
    }

    /// Value and derivatives of the map at `t`.
    #[inline]
    pub fn evaluate(&self, t: f64) -> CircularPoint {
        let (t, start) = Self::reduce(t);
        let mut p = self.polynomials.evaluate(t);
        p.derivatives[0] += start;
        p
    }

    /// The map and its slope alone at `t`.
    #[inline]
    pub fn value_and_slope(&self, t: f64) -> (f64, f64) {
        let (t, start) = Self::reduce(t);
        let (value, slope) = self.polynomials.value_and_slope(t);
        (value + start, slope)
    }

    /// `t` with `y(t) = y`, by Newton's method kept inside a shrinking bracket.
    ///
    /// Converges for every spline, because the slope is positive and the displacement lies between its coefficients.
    pub fn inverse(&self, y: f64) -> f64 {
        let h = self.width();
        let (mut lo, mut hi) = (y - self.displacement.1 - 1e-12, y - self.displacement.0 + 1e-12);
        let mut t = 0.5 * (lo + hi);
        for _ in 0..200 {
            work::newton();
            let (value, slope) = self.value_and_slope(t);
            let residual = value - y;
            if residual > 0.0 {
                hi = hi.min(t);
            } else {
                lo = lo.max(t);
            }
            let newton = t - residual / slope;
            // Tested before the bracket is: a root hit exactly lies on the bracket's edge.
            if (newton - t).abs() <= LAST_STEP * h {
                return newton;
            }
            if hi - lo <= f64::EPSILON * hi.abs() {
                break;
            }
            t = if newton > lo && newton < hi { newton } else { 0.5 * (lo + hi) };
        }
        t
    }
}

/// Collects the adjoints of a map's coefficients over many points, then turns them into those of the parameters.
#[derive(Clone, Debug, Default)]
pub struct PeriodicAdjoint<T> {
    slopes: Vec<T>,
    sums: Vec<T>,
}

impl<T: Scalar> PeriodicAdjoint<T> {
    /// Forgets everything and fits itself to `spline`.
    pub fn reset(&mut self, spline: &PeriodicSpline) {
        self.slopes.clear();
        self.slopes.resize(spline.cells + SLOPES - 1, T::zero());
        self.sums.clear();
        self.sums.resize(spline.sums.len(), T::zero());
    }

    /// Adds a point `t` whose value and slope have the given adjoints.
    pub fn add(&mut self, spline: &PeriodicSpline, t: T, value_bar: T, slope_bar: T) {
        let local = spline.local(t.value());
        local.spread(&mut self.sums, &mut self.slopes, spline.width(), t, value_bar, slope_bar);
    }

    /// Adds the adjoints of the parameters to `out`.
    pub fn finish(&mut self, spline: &PeriodicSpline, out: &mut [T]) {
        let m = spline.cells;
        let (mut weights, mut offsets) = (vec![T::zero(); m], vec![T::zero(); m]);
        for (q, &s) in self.slopes.iter().enumerate() {
            weights[(q + m - SLOPES_BEFORE) % m] += s;
        }
        let mut all = T::zero();
        for (q, &s) in self.sums.iter().enumerate() {
            offsets[(q + m - SUMS_BEFORE) % m] += s;
            all += s;
        }
        out[m] += all * (1.0 / spline.width());
        // Offsets are running sums without their mean.
        let mean = all * (1.0 / m as f64);
        let mut run = T::zero();
        for j in (1..m).rev() {
            run += offsets[j] - mean;
            weights[j] += run;
        }
        let free = |j: usize| spline.weights[j] - spline.floor;
        let mut mean = T::zero();
        for (j, &w) in weights.iter().enumerate() {
            mean = mean.add_scaled(free(j), w);
        }
        mean *= 1.0 / ((1.0 - spline.floor) * m as f64);
        for (j, &w) in weights.iter().enumerate() {
            out[j] += (w - mean) * free(j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::quadrature::GaussLegendre;
    use proptest::prelude::*;

    fn wavy(cells: usize, floor: f64) -> (PeriodicSpline, Vec<f64>) {
        let mut s = PeriodicSpline::identity(cells, floor).unwrap();
        let mut parameters: Vec<f64> = (0..cells).map(|j| (j as f64 * 1.7).sin() * 1.5).collect();
        parameters.push(0.37);
        s.set_parameters(&parameters);
        (s, parameters)
    }

    #[test]
    fn equal_logits_give_the_identity() {
        for cells in [4, 5, 32] {
            let s = PeriodicSpline::identity(cells, 0.0).unwrap();
            for i in -40..=80 {
                let t = PI * f64::from(i) / 20.0;
                let p = s.evaluate(t).derivatives;
                assert!((p[0] - t).abs() < 1e-13 && (p[1] - 1.0).abs() < 1e-14);
                assert!(p[2].abs() < 1e-12 && p[3].abs() < 1e-10);
            }
        }
        assert!(PeriodicSpline::identity(3, 0.0).is_err());
    }

    #[test]
    fn the_map_is_the_integral_of_its_slope_and_goes_once_around() {
        let (s, parameters) = wavy(9, 1e-3);
        let rule = GaussLegendre::new(8);
        let (mut mean, mut length) = (0.0, 0.0);
        for c in 0..9 {
            let (a, b) = (s.centre(c), s.centre(c + 1));
            for d in 0..4 {
                let total = rule.integrate(a, b, |t| s.evaluate(t).derivatives[d + 1]);
                let ends = s.evaluate(b).derivatives[d] - s.evaluate(a).derivatives[d];
                assert!((total - ends).abs() < 1e-10 * 10f64.powi(d as i32), "d={d}");
            }
            mean += rule.integrate(a, b, |t| s.evaluate(t).derivatives[0] - t) / (2.0 * PI);
            length += rule.integrate(a, b, |t| s.evaluate(t).derivatives[1]);
        }
        assert!((length - 2.0 * PI).abs() < 1e-13);
        // The turn is the mean displacement.
        assert!((mean - parameters[9]).abs() < 1e-12, "{mean}");
        // Smooth across the seam.
        let (a, b) = (s.evaluate(2.0 * PI - 1e-12), s.evaluate(1e-12));
        for d in 1..4 {
            assert!((a.derivatives[d] - b.derivatives[d]).abs() < 1e-8, "{d}");
        }
    }

    #[test]
    fn turned_weights_give_the_turned_map() {
        let (s, parameters) = wavy(12, 1e-2);
        let mut turned = parameters.clone();
        turned[..12].rotate_right(5);
        let mut other = s.clone();
        other.set_parameters(&turned);
        let by = s.centre(5);
        for i in 0..50 {
            let t = 0.13 * f64::from(i);
            let (a, b) = (s.evaluate(t).derivatives, other.evaluate(t + by).derivatives);
            assert!((a[0] + by - b[0]).abs() < 1e-13 && (a[3] - b[3]).abs() < 1e-10);
        }
    }

    #[test]
    fn adjoints_agree_with_central_differences() {
        let cells = 6;
        let (mut s, parameters) = wavy(cells, 0.01);
        for (value_bar, slope_bar) in [(1.0, 0.0), (0.0, 1.0), (0.7, -0.4)] {
            for t in [-4.0, 0.01, 0.3, 1.5, 3.1, 6.2, 7.0] {
                s.set_parameters(&parameters);
                let mut adjoint = PeriodicAdjoint::default();
                adjoint.reset(&s);
                adjoint.add(&s, t, value_bar, slope_bar);
                let mut bar = vec![0.0; cells + 1];
                adjoint.finish(&s, &mut bar);
                for j in 0..=cells {
                    let mut f = |h: f64| {
                        let mut l = parameters.clone();
                        l[j] += h;
                        s.set_parameters(&l);
                        let p = s.evaluate(t).derivatives;
                        value_bar * p[0] + slope_bar * p[1]
                    };
                    let slope = (f(1e-5) - f(-1e-5)) / 2e-5;
                    assert!((slope - bar[j]).abs() < 1e-9, "t={t} j={j} {slope} {}", bar[j]);
                }
            }
        }
    }

    #[test]
    fn halved_cells_give_the_same_map() {
        for (cells, floor) in [(4, 0.0), (9, 1e-3), (32, 0.1)] {
            let (coarse, _) = wavy(cells, floor);
            let (fine, parameters) = coarse.refined();
            assert_eq!((fine.cells, parameters.len()), (2 * cells, fine.parameters()));
            for i in 0..=100 {
                let t = 2.0 * PI * f64::from(i) / 100.0;
                let (a, b) = (coarse.evaluate(t).derivatives, fine.evaluate(t).derivatives);
                for d in 0..5 {
                    // A derivative loses two digits more per order.
                    let scale = (cells as f64).powi(d as i32);
                    assert!((a[d] - b[d]).abs() < 1e-13 * scale.max(1.0) * 16.0, "{d} {a:?} {b:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn maps_are_bijections_with_a_floor(
            cells in 4usize..40,
            logits in prop::collection::vec(-12.0f64..12.0, 40),
            turn in -7.0f64..7.0,
            y in -10.0f64..10.0,
        ) {
            let mut s = PeriodicSpline::identity(cells, 1e-3).unwrap();
            let mut parameters = logits[..cells].to_vec();
            parameters.push(turn);
            s.set_parameters(&parameters);
            let t = s.inverse(y);
            let p = s.evaluate(t).derivatives;
            prop_assert!((p[0] - y).abs() < 1e-12, "{} {y}", p[0]);
            prop_assert!(p[1] >= 1e-3 * (1.0 - 1e-9));
            prop_assert!((s.evaluate(t + 2.0 * PI).derivatives[0] - y - 2.0 * PI).abs() < 1e-12);
        }
    }
}
