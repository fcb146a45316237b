//! Reflected circular splines: even positive slopes on `[0, pi]` and the monotone maps they integrate to.
//!
//! On the circle of length `2 pi` with `2 m` equal cells, `b_j` is the sum of the uniform B-splines of degree
//! [`DEGREE`] over the images `±j h + 2 pi n` of its centre, `h = pi / m`. A slope `sum_j w_j b_j` is even
//! about 0 and about `pi`; its integral is odd about both, so the map of `[0, pi]` continues smoothly across
//! either end. Everything is evaluated by the Cox–de Boor recurrence on the non-zero functions of one cell.

use super::SplineError;
use super::cells::{Cells, cell_of};
use super::subdivision::halved;
use crate::math::scalar::Scalar;
use crate::math::vector::lanes::{LANES, Lanes, each};
use crate::work;
use std::f64::consts::{FRAC_1_PI, PI};

/// Degree of the slope: the map is C^5, two orders more than a continuous local energy takes.
pub const DEGREE: usize = 5;
/// Non-zero functions of the slope in a cell.
pub(super) const SLOPES: usize = DEGREE + 1;
/// Non-zero functions of the map in a cell.
pub(super) const SUMS: usize = DEGREE + 2;
/// Fewest cells for which the images of a function do not meet themselves.
pub const FEWEST_CELLS: usize = 4;

/// A monotone bijection of `[0, pi]` of mean slope one, odd about both ends.
///
/// `y(t) = ∫_0^t sum_j w_j b_j` with `w_j = floor + (1 - floor) m exp(l_j) / Z`, where `Z` makes `y(pi) = pi`.
/// Equal logits `l_j` give the identity; the slope is never below `floor`.
#[derive(Clone, Debug, PartialEq)]
pub struct CircularSpline {
    cells: usize,
    floor: f64,
    /// `w_i` for `i = -2..=m+2`, continued evenly.
    slopes: Vec<f64>,
    /// Coefficients `w_0/2 + w_1 + .. + w_i` of the map in B-splines of degree `DEGREE + 1` centred at
    /// `(i + 1/2) h`, for `i = -3..=m+2`.
    sums: Vec<f64>,
    polynomials: Cells,
    /// Places of evenly spaced values, and the slopes of the inverse there; empty where nobody asked for them.
    table: Vec<(f64, f64)>,
}

/// A Newton step of fewer cells than this is the last: the error after it is of the order of its square.
const LAST_STEP: f64 = 1e-9;
/// A step of fewer cells than this is followed by Taylor's formula: the error is of the order of its third power in the map and
/// its first two derivatives, of its square in the third.
const TAYLOR: f64 = 1e-6;
/// Points per cell of a table of the inverse.
const TABLE: usize = 8;

/// The functions that are not zero at a point, and their derivatives.
#[derive(Clone, Copy, Debug)]
pub struct CircularLocal {
    pub(super) cell: usize,
    /// Functions of the map and their first two derivatives.
    pub(super) sums: [[f64; SUMS]; 3],
    /// Functions of the slope and their first two derivatives; [`super::short_range`] takes the third.
    pub(super) slopes: [[f64; SLOPES]; 4],
}

/// Row `a` of the derivative of B-splines of degree `N - 1` from values of degree `N - 2`, per cell.
#[inline(always)]
fn derivative<const M: usize, const N: usize>(lower: &[f64; M]) -> [f64; N] {
    std::array::from_fn(|a| {
        (if a > 0 { lower[a - 1] } else { 0.0 }) - (if a < M { lower[a] } else { 0.0 })
    })
}

/// Uniform B-splines of degree `N - 1` at `r` in a cell, oldest first, from those of degree `N - 2`.
#[inline(always)]
fn raise<const M: usize, const N: usize>(lower: &[f64; M], r: f64) -> [f64; N] {
    let p = (N - 1) as f64;
    let inverse = 1.0 / p;
    std::array::from_fn(|a| {
        let left = if a > 0 { (r + p - a as f64) * lower[a - 1] } else { 0.0 };
        let right = if a < M { (a as f64 + 1.0 - r) * lower[a] } else { 0.0 };
        (left + right) * inverse
    })
}

impl CircularLocal {
    /// The functions at `u` cells from the first of `cells` edges.
    pub(super) fn new(cells: usize, u: f64) -> Self {
        work::spline();
        let (cell, edge) = cell_of(u, cells);
        let r = u - edge;
        let b0 = [1.0];
        let b1: [f64; 2] = raise(&b0, r);
        let b2: [f64; 3] = raise(&b1, r);
        let b3: [f64; 4] = raise(&b2, r);
        let b4: [f64; 5] = raise(&b3, r);
        let b5: [f64; SLOPES] = raise(&b4, r);
        let b6: [f64; SUMS] = raise(&b5, r);
        let d4: [f64; SLOPES] = derivative(&b4);
        let dd3: [f64; 5] = derivative(&b3);
        let dd3: [f64; SLOPES] = derivative(&dd3);
        let ddd2: [f64; 4] = derivative(&b2);
        let ddd2: [f64; 5] = derivative(&ddd2);
        let ddd2: [f64; SLOPES] = derivative(&ddd2);
        CircularLocal {
            cell,
            sums: [b6, derivative(&b5), derivative(&d4)],
            slopes: [b5, d4, dd3, ddd2],
        }
    }

    /// Adds the adjoints of the coefficients for a point `t` whose value and slope have the given adjoints.
    #[inline]
    pub(super) fn spread<T: Scalar>(
        &self,
        sums: &mut [T],
        slopes: &mut [T],
        h: f64,
        t: T,
        value_bar: T,
        slope_bar: T,
    ) {
        for (a, bar) in sums[self.cell..self.cell + SUMS].iter_mut().enumerate() {
            *bar += value_bar * lift(t, |e| self.sums[e][a] * [h, 1.0, 1.0 / h][e]);
        }
        for (a, bar) in slopes[self.cell..self.cell + SLOPES].iter_mut().enumerate() {
            *bar += slope_bar * lift(t, |e| self.slopes[e][a] * [1.0, 1.0 / h, 1.0 / (h * h)][e]);
        }
    }
}

/// Values and first four derivatives at eight points.
pub type LanePoint = [Lanes; 5];

/// Value and derivatives of a map at a point.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CircularPoint {
    /// `y` and its first four derivatives.
    pub derivatives: [f64; 5],
}

impl CircularPoint {
    /// The d-th derivative as a differentiable scalar of `t`; `d + T::ORDER` is at most 4.
    #[inline]
    pub fn lift<T: Scalar>(&self, t: T, d: usize) -> T {
        lift(t, |e| self.derivatives[d + e])
    }
}

/// A function of `t` whose derivative of order `e` is `at(e)`.
#[inline]
pub(super) fn lift<T: Scalar>(t: T, at: impl Fn(usize) -> f64) -> T {
    match T::ORDER {
        0 => T::constant(at(0)),
        1 => t.chain(at(0), at(1), 0.0),
        _ => t.chain(at(0), at(1), at(2)),
    }
}

impl CircularSpline {
    /// The identity on `cells` cells, its slope kept above `floor` (less than one).
    ///
    /// # Errors
    /// [`SplineError::Knots`] for fewer than [`FEWEST_CELLS`] cells.
    pub fn identity(cells: usize, floor: f64) -> Result<Self, SplineError> {
        if cells < FEWEST_CELLS {
            return Err(SplineError::Knots);
        }
        let mut spline = CircularSpline {
            cells,
            floor,
            slopes: vec![1.0; cells + SLOPES - 1],
            sums: vec![0.0; cells + SUMS - 1],
            polynomials: Cells::default(),
            table: Vec::new(),
        };
        spline.set_logits(&vec![0.0; cells + 1]);
        Ok(spline)
    }

    /// Number of logits, one more than cells.
    pub fn weights(&self) -> usize {
        self.cells + 1
    }

    /// Position `j h` that logit `j` belongs to.
    pub fn centre(&self, j: usize) -> f64 {
        j as f64 * PI / self.cells as f64
    }

    /// Share of the whole integral that weight `j` has, times the number of cells.
    fn share(&self, j: usize) -> f64 {
        if j == 0 || j == self.cells { 0.5 } else { 1.0 }
    }

    /// Replaces the map by that of the given logits.
    pub fn set_logits(&mut self, logits: &[f64]) {
        let m = self.cells;
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 =
            logits.iter().enumerate().map(|(j, l)| self.share(j) * (l - largest).exp()).sum();
        let scale = (1.0 - self.floor) * m as f64 / total;
        let weight = |j: usize| self.floor + scale * (logits[j] - largest).exp();
        for (q, w) in self.slopes.iter_mut().enumerate() {
            *w = weight(reflect(q, m));
        }
        // Odd about 0: the two middle coefficients are -w_0/2 and +w_0/2.
        let half = 0.5 * self.slopes[2];
        let mut sum = half;
        self.sums[3] = half;
        for i in 1..m + 3 {
            sum += self.slopes[i + 2];
            self.sums[i + 3] = sum;
        }
        for k in 0..3 {
            self.sums[2 - k] = -self.sums[3 + k];
        }
        self.polynomials.set(&self.sums, &self.slopes, PI / m as f64);
        self.table.clear();
    }

    /// The same map on cells of half the width, and its logits.
    pub fn refined(&self) -> (Self, Vec<f64>) {
        let cells = 2 * self.cells;
        // Continued by two beyond either end, which is as far as the weights reach.
        let weights = halved(|j| self.slopes[(j + 2) as usize], cells + 1);
        let logits: Vec<f64> =
            weights.iter().map(|w| ((w - self.floor) / (1.0 - self.floor)).ln()).collect();
        let mut spline = CircularSpline {
            cells,
            floor: self.floor,
            slopes: vec![1.0; cells + SLOPES - 1],
            sums: vec![0.0; cells + SUMS - 1],
            polynomials: Cells::default(),
            table: Vec::new(),
        };
        spline.set_logits(&logits);
        (spline, logits)
    }

    /// The functions that are not zero at `t` in `[0, pi]`.
    #[inline]
    pub fn local(&self, t: f64) -> CircularLocal {
        CircularLocal::new(self.cells, t * (self.cells as f64 / PI))
    }

    /// Value and derivatives of the map at `t` in `[0, pi]`.
    #[inline(always)]
    pub fn evaluate(&self, t: f64) -> CircularPoint {
        self.polynomials.evaluate(t)
    }

    /// [`Self::evaluate`] at eight points, which the caller counts.
    #[inline(always)]
    pub(crate) fn lanes<const FUSED: bool>(&self, t: &Lanes) -> LanePoint {
        self.polynomials.lanes::<FUSED>(t)
    }

    /// The map and its slope alone at `t` in `[0, pi]`.
    #[inline]
    pub fn value_and_slope(&self, t: f64) -> (f64, f64) {
        self.polynomials.value_and_slope(t)
    }

    /// Remembers where values lie, for a map that will be inverted often.
    pub fn tabulated(mut self) -> Self {
        let points = TABLE * self.cells;
        let slope = |t: f64| self.value_and_slope(t).1.recip();
        let at = |k: usize| {
            let t = self.inverse(PI * k as f64 / points as f64);
            (t, slope(t))
        };
        self.table = (0..=points).map(at).collect();
        self
    }

    /// An interval that holds the `t` with `y(t) = y`, and a place in it to start from.
    fn bracket(&self, y: f64) -> (f64, f64, f64) {
        let Some(cells) = self.table.len().checked_sub(1).filter(|&cells| cells > 0) else {
            return (0.0, PI, y);
        };
        let (h, place) = (PI / cells as f64, y * (cells as f64 * FRAC_1_PI));
        let (k, edge) = cell_of(place, cells);
        let ((a, da), (b, db)) = (self.table[k], self.table[k + 1]);
        // The cubic with the right values and slopes at both ends.
        let r = place - edge;
        let (step, rest) = (b - a, 1.0 - r);
        let t = a + r * step + r * rest * (rest * (h * da - step) - r * (h * db - step));
        // Rounding may have put an edge on the wrong side of its value.
        let slack = 1e-14;
        let (lo, hi) = ((a - slack).max(0.0), (b + slack).min(PI));
        (lo, hi, if t > lo && t < hi { t } else { 0.5 * (lo + hi) })
    }

    /// `t` in `[0, pi]` with `y(t) = y`, and the map there: value and two derivatives to rounding, the third to 1e-12; the
    /// fourth is that of a point close by.
    ///
    /// Where there is a table, a step from where that says is most often all it takes.
    pub fn inverse_point(&self, y: f64) -> (f64, CircularPoint) {
        if self.table.len() > 1 && y > 0.0 && y < PI {
            work::newton();
            let (_, _, start) = self.bracket(y);
            let mut p = self.evaluate(start);
            let d = &mut p.derivatives;
            let inverse = 1.0 / d[1];
            let step = (y - d[0]) * inverse;
            if step.abs() * self.cells as f64 <= TAYLOR * PI {
                // The inverse function to the second order, then Taylor's formula.
                let step = step - 0.5 * step * step * d[2] * inverse;
                let t = (start + step).clamp(0.0, PI);
                d[0] = y;
                for k in 1..5 {
                    let bend = if k < 3 { 0.5 * step * d[k + 2] } else { 0.0 };
                    d[k] += step * (d.get(k + 1).unwrap_or(&0.0) + bend);
                }
                return (t, p);
            }
        }
        let t = self.inverse(y);
        (t, self.evaluate(t))
    }

    /// [`Self::inverse_point`] at eight values, of which only the first `samples` count: the others are as the first.
    #[inline(always)]
    pub(crate) fn inverse_lanes<const FUSED: bool>(
        &self,
        y: &Lanes,
        samples: usize,
    ) -> (Lanes, LanePoint) {
        let mut at = [0.0; LANES];
        let mut p = [[0.0; LANES]; 5];
        let mut close = [false; LANES];
        if let Some(cells) = self.table.len().checked_sub(1).filter(|&cells| cells > 0) {
            work::splines(samples);
            let h = PI / cells as f64;
            let (mut a, mut b, mut da, mut db) =
                ([0.0; LANES], [0.0; LANES], [0.0; LANES], [0.0; LANES]);
            let mut r = each(|s| y[s] * (cells as f64 * FRAC_1_PI));
            for s in 0..LANES {
                let (k, edge) = cell_of(r[s], cells);
                r[s] -= edge;
                ((a[s], da[s]), (b[s], db[s])) = (self.table[k], self.table[k + 1]);
            }
            let mut start = a;
            for s in 0..LANES {
                let (step, rest) = (b[s] - a[s], 1.0 - r[s]);
                let bent = rest * (h * da[s] - step) - r[s] * (h * db[s] - step);
                let t = a[s] + r[s] * step + r[s] * rest * bent;
                start[s] = if (0.0..=PI).contains(&t) { t } else { a[s] };
            }
            p = self.lanes::<FUSED>(&start);
            let inverse = each(|s| 1.0 / p[1][s]);
            let step = each(|s| (y[s] - p[0][s]) * inverse[s]);
            let last = TAYLOR * PI / self.cells as f64;
            close = std::array::from_fn(|s| step[s].abs() <= last && y[s] > 0.0 && y[s] < PI);
            // The inverse function to the second order, then Taylor's formula.
            let step = each(|s| step[s] - 0.5 * step[s] * step[s] * p[2][s] * inverse[s]);
            at = each(|s| (start[s] + step[s]).clamp(0.0, PI));
            p[0] = *y;
            for k in 1..5 {
                p[k] = each(|s| {
                    let bend = if k < 3 { 0.5 * step[s] * p[k + 2][s] } else { 0.0 };
                    let slope = if k < 4 { p[k + 1][s] } else { 0.0 };
                    p[k][s] + step[s] * (slope + bend)
                });
            }
        }
        for s in (0..LANES).filter(|&s| !close[s]) {
            if s < samples {
                at[s] = self.inverse(y[s]);
                let found = self.evaluate(at[s]).derivatives;
                p.iter_mut().zip(found).for_each(|(p, d)| p[s] = d);
            } else {
                at[s] = at[0];
                p.iter_mut().for_each(|p| p[s] = p[0]);
            }
        }
        work::newtons(close[..samples].iter().filter(|c| **c).count());
        (at, p)
    }

    /// [`Self::inverse`] of eight values, of which the first `samples` count.
    #[inline(always)]
    pub(crate) fn roots<const FUSED: bool>(&self, y: &Lanes, samples: usize) -> Lanes {
        if self.table.len() > 1 {
            return self.inverse_lanes::<FUSED>(y, samples).0;
        }
        let h = PI / self.cells as f64;
        let (mut lo, mut hi): (Lanes, Lanes) = ([0.0; LANES], [PI; LANES]);
        let mut t = each(|s| y[s].clamp(0.0, PI));
        // Ends and what is beyond are mapped to the ends.
        let mut left: [bool; LANES] = std::array::from_fn(|s| y[s] > 0.0 && y[s] < PI);
        for _ in 0..200 {
            if !left.contains(&true) {
                break;
            }
            work::newtons(left[..samples].iter().filter(|left| **left).count());
            let [value, slope, ..] = self.lanes::<FUSED>(&t);
            let newton = each(|s| t[s] - (value[s] - y[s]) / slope[s]);
            for s in 0..LANES {
                if !left[s] {
                    continue;
                }
                if value[s] > y[s] {
                    hi[s] = hi[s].min(t[s]);
                } else {
                    lo[s] = lo[s].max(t[s]);
                }
                // Tested before the bracket is: a root hit exactly lies on the bracket's edge.
                if (newton[s] - t[s]).abs() <= LAST_STEP * h {
                    t[s] = newton[s].clamp(0.0, PI);
                    left[s] = false;
                } else if hi[s] - lo[s] <= f64::EPSILON * hi[s] {
                    left[s] = false;
                } else {
                    let inside = newton[s] > lo[s] && newton[s] < hi[s];
                    t[s] = if inside { newton[s] } else { 0.5 * (lo[s] + hi[s]) };
                }
            }
        }
        t
    }

    /// `t` in `[0, pi]` with `y(t) = y`, by Newton's method kept inside a shrinking bracket.
    ///
    /// Converges for every spline, because the slope is positive.
    pub fn inverse(&self, y: f64) -> f64 {
        if y <= 0.0 {
            return 0.0;
        }
        if y >= PI {
            return PI;
        }
        let h = PI / self.cells as f64;
        let (mut lo, mut hi, mut t) = self.bracket(y);
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
                return newton.clamp(0.0, PI);
            }
            if hi - lo <= f64::EPSILON * hi {
                break;
            }
            t = if newton > lo && newton < hi { newton } else { 0.5 * (lo + hi) };
        }
        t
    }
}

/// The weight that element `q` of the continued slopes repeats.
fn reflect(q: usize, cells: usize) -> usize {
    let i = q.abs_diff(2);
    if i > cells { 2 * cells - i } else { i }
}

/// Collects the adjoints of a map's coefficients over many points, then turns them into those of the logits.
#[derive(Clone, Debug, Default)]
pub struct CircularAdjoint<T> {
    slopes: Vec<T>,
    sums: Vec<T>,
}

impl<T: Scalar> CircularAdjoint<T> {
    /// Forgets everything and fits itself to `spline`.
    pub fn reset(&mut self, spline: &CircularSpline) {
        self.slopes.clear();
        self.slopes.resize(spline.slopes.len(), T::zero());
        self.sums.clear();
        self.sums.resize(spline.sums.len(), T::zero());
    }

    /// Adds a point `t` whose value and slope have the given adjoints.
    pub fn add(&mut self, local: &CircularLocal, t: T, value_bar: T, slope_bar: T) {
        let cells = self.sums.len() + 1 - SUMS;
        let h = PI / cells as f64;
        local.spread(&mut self.sums, &mut self.slopes, h, t, value_bar, slope_bar);
    }

    /// Adds the adjoints of the logits to `logits_bar`.
    pub fn finish(&mut self, spline: &CircularSpline, logits_bar: &mut [T]) {
        let m = spline.cells;
        let mut run = T::zero();
        for q in (4..self.sums.len()).rev() {
            run += self.sums[q];
            self.slopes[q - 1] += run;
        }
        self.slopes[2] += (run + self.sums[3]) * 0.5;
        let mut run = T::zero();
        for q in 0..2 {
            run -= self.sums[q];
            self.slopes[q] += run;
        }
        self.slopes[2] += (run - self.sums[2]) * 0.5;
        // The reflected copies first, so that each weight is complete before it is used.
        for q in [0, 1, m + 3, m + 4] {
            let j = reflect(q, m);
            let copy = self.slopes[q];
            self.slopes[j + 2] += copy;
        }
        let free = |j: usize| spline.slopes[j + 2] - spline.floor;
        let mut mean = T::zero();
        for j in 0..=m {
            mean = mean.add_scaled(free(j), self.slopes[j + 2]);
        }
        mean *= 1.0 / ((1.0 - spline.floor) * m as f64);
        for (j, bar) in logits_bar.iter_mut().enumerate() {
            *bar += (self.slopes[j + 2] - mean * spline.share(j)) * free(j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::quadrature::GaussLegendre;
    use proptest::prelude::*;

    fn wavy(cells: usize, floor: f64) -> CircularSpline {
        let mut s = CircularSpline::identity(cells, floor).unwrap();
        let logits: Vec<f64> = (0..=cells).map(|j| (j as f64 * 1.7).sin() * 1.5).collect();
        s.set_logits(&logits);
        s
    }

    #[test]
    fn equal_logits_give_the_identity() {
        for cells in [4, 5, 32] {
            let s = CircularSpline::identity(cells, 0.0).unwrap();
            for i in 0..=40 {
                let t = PI * i as f64 / 40.0;
                let p = s.evaluate(t).derivatives;
                assert!((p[0] - t).abs() < 1e-14 && (p[1] - 1.0).abs() < 1e-14);
                assert!(p[2].abs() < 1e-12 && p[3].abs() < 1e-10);
            }
        }
        assert!(CircularSpline::identity(3, 0.0).is_err());
    }

    #[test]
    fn the_map_is_the_integral_of_its_slope_and_odd_about_both_ends() {
        let s = wavy(9, 1e-3);
        let rule = GaussLegendre::new(8);
        let mut sum = 0.0;
        for c in 0..9 {
            let (a, b) = (s.centre(c), s.centre(c + 1));
            assert!((s.evaluate(a).derivatives[0] - sum).abs() < 1e-13);
            for d in 1..4 {
                let total = rule.integrate(a, b, |t| s.evaluate(t).derivatives[d + 1]);
                let ends = s.evaluate(b).derivatives[d] - s.evaluate(a).derivatives[d];
                assert!((total - ends).abs() < 1e-10 * 10f64.powi(d as i32), "d={d}");
            }
            sum += rule.integrate(a, b, |t| s.evaluate(t).derivatives[1]);
        }
        assert!((sum - PI).abs() < 1e-13);
        for end in [0.0, PI] {
            let p = s.evaluate(end).derivatives;
            assert!((p[0] - end).abs() < 1e-14 && p[2].abs() < 1e-12 && p[4].abs() < 1e-9);
        }
    }

    #[test]
    fn adjoints_agree_with_central_differences() {
        let cells = 6;
        let logits: Vec<f64> = (0..=cells).map(|j| (j as f64 * 2.3).cos()).collect();
        let mut s = CircularSpline::identity(cells, 0.01).unwrap();
        for (i, (value_bar, slope_bar)) in
            [(1.0, 0.0), (0.0, 1.0), (0.7, -0.4)].into_iter().enumerate()
        {
            for t in [0.01, 0.3, 1.5, 2.0, 3.1] {
                s.set_logits(&logits);
                let mut adjoint = CircularAdjoint::default();
                adjoint.reset(&s);
                adjoint.add(&s.local(t), t, value_bar, slope_bar);
                let mut bar = vec![0.0; cells + 1];
                adjoint.finish(&s, &mut bar);
                for j in 0..=cells {
                    let mut f = |h: f64| {
                        let mut l = logits.clone();
                        l[j] += h;
                        s.set_logits(&l);
                        let p = s.evaluate(t).derivatives;
                        value_bar * p[0] + slope_bar * p[1]
                    };
                    let slope = (f(1e-5) - f(-1e-5)) / 2e-5;
                    assert!((slope - bar[j]).abs() < 1e-9, "{i} t={t} j={j} {slope} {}", bar[j]);
                }
            }
        }
    }

    #[test]
    fn halved_cells_give_the_same_map() {
        for (cells, floor) in [(4, 0.0), (9, 1e-3), (32, 0.1)] {
            let coarse = wavy(cells, floor);
            let (fine, logits) = coarse.refined();
            assert_eq!((fine.cells, logits.len()), (2 * cells, fine.weights()));
            for i in 0..=100 {
                let t = PI * i as f64 / 100.0;
                let (a, b) = (coarse.evaluate(t).derivatives, fine.evaluate(t).derivatives);
                for d in 0..5 {
                    // A derivative loses two digits more per order.
                    let scale = (cells as f64).powi(d as i32);
                    assert!((a[d] - b[d]).abs() < 1e-13 * scale.max(1.0) * 8.0, "{d} {a:?} {b:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn maps_are_bijections_with_a_floor(
            cells in 4usize..40,
            logits in prop::collection::vec(-12.0f64..12.0, 41),
            y in 0.0f64..=PI,
        ) {
            let mut s = CircularSpline::identity(cells, 1e-3).unwrap();
            s.set_logits(&logits[..=cells]);
            let t = s.inverse(y);
            let p = s.evaluate(t).derivatives;
            prop_assert!((p[0] - y).abs() < 1e-13, "{} {y}", p[0]);
            let again = s.clone().tabulated().inverse(y);
            prop_assert!((s.evaluate(again).derivatives[0] - y).abs() < 1e-13, "{t} {again}");
            prop_assert!(p[1] >= 1e-3 * (1.0 - 1e-9));
            prop_assert!((0.0..=PI).contains(&t));
        }
    }
}
