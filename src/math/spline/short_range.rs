//! Odd functions of a distance with free, local slopes at short range.
//!
//! `beta(t) = ∫_0^t [sum_j c_j b_j - A rho]`, with `b_j` uniform B-splines of degree [`DEGREE`] made even about 0
//! that end at the range `R`, and `A = ∫ sum_j c_j b_j`. A change of one `c_j` acts on the slope at short range and
//! nowhere else. Where `beta` has to vanish at large distance, the fixed bump `rho`, of unit integral on
//! `[R, R_2]`, takes the slope back: it is placed where hardly any pair ever is. Without it `beta` stays
//! at `A` beyond `R`.
//!
//! The slope is never below `-kappa`: `c_j = kappa (s exp(l_j) - 1)`, where `s` is 1 until the bump would become too
//! steep, and then bounds it smoothly.

use super::SplineError;
use super::cells::Cells;
use super::circular::{CircularLocal, CircularPoint, DEGREE, LanePoint, SLOPES, SUMS, lift};
use super::subdivision::halved;
use crate::math::scalar::Scalar;
use crate::math::vector::lanes::{LANES, Lanes};
use crate::work;

/// Functions whose support would reach beyond the range.
const ENDS: usize = DEGREE.div_ceil(2);
/// Fewest cells within the range.
pub const FEWEST_RANGE_CELLS: usize = ENDS + 1;
/// Cells of the bump, and how many equal coefficients make it.
const BUMP_CELLS: usize = 11;
const BUMP_FUNCTIONS: usize = BUMP_CELLS - DEGREE;
/// Sharpness of the bound on the bump.
const SHARPNESS: i32 = 8;

/// An odd displacement with local slopes; zero for zero logits.
#[derive(Clone, Debug, PartialEq)]
pub struct ShortRange {
    cells: usize,
    range: f64,
    /// End of the bump; none where the displacement may stay.
    vanishes_at: Option<f64>,
    kappa: f64,
    /// `kappa s exp(l_j)`.
    free: Vec<f64>,
    /// `d ln s / d W` of the sum `W` of `kappa exp(l_j)` times its share of the integral.
    squeeze: f64,
    /// `s`.
    scale: f64,
    /// `c_i` for `i = -2..=cells+2`.
    slopes: Vec<f64>,
    /// Coefficients of the integral, as in the circular spline.
    sums: Vec<f64>,
    polynomials: Cells,
    /// `A`.
    total: f64,
}

/// Where a distance falls, with the functions that are not zero there.
// Short-lived and on the stack: a box would cost more than the copy.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Copy, Debug)]
pub enum ShortRangeLocal {
    /// Within the range.
    Inside(CircularLocal),
    /// On the bump: `1 - ∫ rho` and its first four derivatives.
    Bump([f64; 5]),
    /// Beyond, where the displacement is constant: `A` times this.
    Beyond(f64),
}

impl ShortRange {
    /// No displacement, on `cells` cells within `range`, above the slope `-kappa`.
    ///
    /// # Errors
    /// [`SplineError::Knots`] for fewer than [`FEWEST_RANGE_CELLS`] cells.
    pub fn zero(
        cells: usize,
        range: f64,
        vanishes_at: Option<f64>,
        kappa: f64,
    ) -> Result<Self, SplineError> {
        if cells < FEWEST_RANGE_CELLS {
            return Err(SplineError::Knots);
        }
        let count = cells + 1 - ENDS;
        let mut spline = ShortRange {
            cells,
            range,
            vanishes_at,
            kappa,
            free: vec![0.0; count],
            squeeze: 0.0,
            scale: 1.0,
            slopes: vec![0.0; cells + SLOPES - 1],
            sums: vec![0.0; cells + SUMS - 1],
            polynomials: Cells::default(),
            total: 0.0,
        };
        spline.set_logits(&vec![0.0; count]);
        Ok(spline)
    }

    /// Number of logits.
    pub fn weights(&self) -> usize {
        self.free.len()
    }

    fn spacing(&self) -> f64 {
        self.range / self.cells as f64
    }

    /// The integral of `b_j`.
    fn share(&self, j: usize) -> f64 {
        self.spacing() * if j == 0 { 0.5 } else { 1.0 }
    }

    /// The bound on `A` with which the bump is nowhere steeper than `kappa`.
    fn most(&self) -> Option<f64> {
        self.vanishes_at.map(|end| {
            let height = BUMP_CELLS as f64 / (BUMP_FUNCTIONS as f64 * (end - self.range));
            self.kappa / height
        })
    }

    /// Replaces the displacement by that of the given logits.
    pub fn set_logits(&mut self, logits: &[f64]) {
        let raw: Vec<f64> = logits.iter().map(|l| self.kappa * l.exp()).collect();
        (self.scale, self.squeeze) = (1.0, 0.0);
        if let Some(most) = self.most() {
            let start: f64 = (0..raw.len()).map(|j| self.kappa * self.share(j)).sum();
            let sum: f64 = raw.iter().enumerate().map(|(j, w)| w * self.share(j)).sum();
            // s(W) = [(1 + (W_0/C)^p) / (1 + (W/C)^p)]^{1/p} is 1 at the zero displacement W_0, and W s never
            // exceeds W_0 + most.
            let p = SHARPNESS;
            let cap = ((start + most).powi(p) - start.powi(p)).powf(1.0 / f64::from(p));
            let at = |w: f64| 1.0 + (w / cap).powi(p);
            self.scale = (at(start) / at(sum)).powf(1.0 / f64::from(p));
            self.squeeze = -(sum / cap).powi(p) / (sum * at(sum));
        }
        self.free = raw.iter().map(|w| w * self.scale).collect();
        let count = self.free.len();
        for (q, c) in self.slopes.iter_mut().enumerate() {
            let j = q.abs_diff(2);
            *c = if j < count { self.free[j] - self.kappa } else { 0.0 };
        }
        let half = 0.5 * self.slopes[2];
        let mut sum = half;
        self.sums[3] = half;
        for i in 1..self.cells + 3 {
            sum += self.slopes[i + 2];
            self.sums[i + 3] = sum;
        }
        for k in 0..3 {
            self.sums[2 - k] = -self.sums[3 + k];
        }
        self.total = self.spacing() * sum;
        self.polynomials.set(&self.sums, &self.slopes, self.spacing());
    }

    /// The same displacement on cells of half the width, and its logits.
    pub fn refined(&self) -> (Self, Vec<f64>) {
        let cells = 2 * self.cells;
        let count = cells + 1 - ENDS;
        let at = |j: isize| {
            let j = j.unsigned_abs();
            if j < self.free.len() { self.free[j] - self.kappa } else { 0.0 }
        };
        let free: Vec<f64> = halved(at, count).iter().map(|c| c + self.kappa).collect();
        let mut spline = ShortRange {
            cells,
            free: vec![0.0; count],
            slopes: vec![0.0; cells + SLOPES - 1],
            sums: vec![0.0; cells + SUMS - 1],
            ..self.clone()
        };
        let mut scale = 1.0;
        if let Some(most) = spline.most() {
            // Inverts W s(W): the bound is the same, but not the functions that it counts from.
            let start: f64 = (0..count).map(|j| self.kappa * spline.share(j)).sum();
            let squeezed: f64 = free.iter().enumerate().map(|(j, w)| w * spline.share(j)).sum();
            let (p, inverse) = (SHARPNESS, 1.0 / f64::from(SHARPNESS));
            let cap = ((start + most).powi(p) - start.powi(p)).powf(inverse);
            let most_squeezed = 1.0 + (start / cap).powi(p);
            scale = (most_squeezed - (squeezed / cap).powi(p)).powf(inverse);
        }
        let logits: Vec<f64> = free.iter().map(|w| (w / (scale * self.kappa)).ln()).collect();
        spline.set_logits(&logits);
        (spline, logits)
    }

    /// Where `t >= 0` falls.
    #[inline]
    pub fn local(&self, t: f64) -> ShortRangeLocal {
        if t < self.range {
            return ShortRangeLocal::Inside(CircularLocal::new(self.cells, t / self.spacing()));
        }
        let Some(end) = self.vanishes_at else { return ShortRangeLocal::Beyond(1.0) };
        if t >= end {
            return ShortRangeLocal::Beyond(0.0);
        }
        let h = (end - self.range) / BUMP_CELLS as f64;
        let local = CircularLocal::new(BUMP_CELLS, (t - self.range) / h);
        // Functions of cell c are centred at c - 2 .. c + 3; those of the bump at 3 .. 3 + BUMP_FUNCTIONS - 1, in
        // cells from the range.
        let one = |i: isize| (3..3 + BUMP_FUNCTIONS as isize).contains(&i);
        let norm = 1.0 / (BUMP_FUNCTIONS as f64 * h);
        let first = local.cell as isize - 2;
        let mut bump = [0.0; 5];
        let mut scale = norm;
        for d in 0..4 {
            let sum: f64 =
                (0..SLOPES).filter(|&a| one(first + a as isize)).map(|a| local.slopes[d][a]).sum();
            bump[d + 1] = -scale * sum;
            scale /= h;
        }
        // Running sums of the coefficients, centred half a cell further on.
        let integral: f64 = (0..SUMS)
            .map(|a| {
                let i = first - 1 + a as isize;
                let passed = (i - 2).clamp(0, BUMP_FUNCTIONS as isize) as f64;
                passed * local.sums[0][a]
            })
            .sum();
        bump[0] = 1.0 - integral / BUMP_FUNCTIONS as f64;
        ShortRangeLocal::Bump(bump)
    }

    /// Value and slope alone at `t >= 0`.
    #[inline]
    pub fn value_and_slope(&self, t: f64) -> (f64, f64) {
        if t < self.range {
            return self.polynomials.value_and_slope(t);
        }
        let p = self.evaluate(t);
        (p.derivatives[0], p.derivatives[1])
    }

    /// Value and derivatives at `t >= 0`.
    #[inline]
    pub fn evaluate(&self, t: f64) -> CircularPoint {
        if t < self.range {
            return self.polynomials.evaluate(t);
        }
        match self.local(t) {
            ShortRangeLocal::Inside(_) => self.polynomials.evaluate(t),
            ShortRangeLocal::Bump(bump) => {
                CircularPoint { derivatives: bump.map(|b| b * self.total) }
            }
            ShortRangeLocal::Beyond(factor) => {
                CircularPoint { derivatives: [factor * self.total, 0.0, 0.0, 0.0, 0.0] }
            }
        }
    }

    /// [`Self::evaluate`] at eight points, of which some count.
    #[inline(always)]
    pub(crate) fn lanes<const FUSED: bool>(&self, t: &Lanes, counted: &[bool; LANES]) -> LanePoint {
        let inside: [bool; LANES] = std::array::from_fn(|s| t[s] < self.range);
        work::splines((0..LANES).filter(|&s| inside[s] && counted[s]).count());
        let mut p = [[0.0; LANES]; 5];
        if inside.contains(&true) {
            p = self.polynomials.lanes::<FUSED>(t);
        }
        for s in (0..LANES).filter(|&s| !inside[s]) {
            let evaluate = || self.evaluate(t[s]).derivatives;
            let found = if counted[s] { evaluate() } else { work::counted(evaluate).0 };
            p.iter_mut().zip(found).for_each(|(p, d)| p[s] = d);
        }
        p
    }
}

/// Collects the adjoints of the coefficients over many points, then turns them into those of the logits.
#[derive(Clone, Debug, Default)]
pub struct ShortRangeAdjoint<T> {
    slopes: Vec<T>,
    sums: Vec<T>,
    total: T,
}

impl<T: Scalar> ShortRangeAdjoint<T> {
    /// Forgets everything and fits itself to `spline`.
    pub fn reset(&mut self, spline: &ShortRange) {
        self.slopes.clear();
        self.slopes.resize(spline.slopes.len(), T::zero());
        self.sums.clear();
        self.sums.resize(spline.sums.len(), T::zero());
        self.total = T::zero();
    }

    /// Adds a point `t` whose value and slope have the given adjoints.
    pub fn add(
        &mut self,
        spline: &ShortRange,
        local: &ShortRangeLocal,
        t: T,
        value_bar: T,
        slope_bar: T,
    ) {
        match local {
            ShortRangeLocal::Inside(local) => {
                let h = spline.spacing();
                local.spread(&mut self.sums, &mut self.slopes, h, t, value_bar, slope_bar);
            }
            ShortRangeLocal::Bump(bump) => {
                self.total +=
                    value_bar * lift(t, |e| bump[e]) + slope_bar * lift(t, |e| bump[1 + e]);
            }
            ShortRangeLocal::Beyond(factor) => self.total += value_bar * *factor,
        }
    }

    /// Adds the adjoints of the logits to `logits_bar`.
    pub fn finish(&mut self, spline: &ShortRange, logits_bar: &mut [T]) {
        let count = spline.free.len();
        // The sum at i is c_0/2 + c_1 + .. + c_i, and its mirror image about -1/2 the negative of it.
        for k in 0..3 {
            let image = self.sums[2 - k];
            self.sums[3 + k] -= image;
        }
        let mut run = self.total * spline.spacing();
        for q in (4..self.sums.len()).rev() {
            run += self.sums[q];
            let j = q - 3;
            if j < count {
                let mut bar = run + self.slopes[j + 2];
                if j <= 2 {
                    bar += self.slopes[2 - j];
                }
                self.slopes[j + 2] = bar;
            }
        }
        let half = (run + self.sums[3]) * 0.5;
        self.slopes[2] += half;
        let mut along = T::zero();
        for j in 0..count {
            along = along.add_scaled(spline.free[j], self.slopes[j + 2]);
        }
        for (j, bar) in logits_bar.iter_mut().enumerate() {
            // dW / dl_j = share_j free_j / s, and every weight falls with ln s.
            let own = self.slopes[j + 2] * spline.free[j];
            let all = along * (spline.squeeze * spline.share(j) * spline.free[j] / spline.scale);
            *bar += own + all;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::quadrature::GaussLegendre;
    use proptest::prelude::*;

    const KAPPA: f64 = 0.3;

    fn wavy(vanishes_at: Option<f64>, size: f64) -> ShortRange {
        let mut s = ShortRange::zero(9, 1.2, vanishes_at, KAPPA).unwrap();
        let logits: Vec<f64> = (0..s.weights()).map(|j| size * (j as f64 * 1.7).sin()).collect();
        s.set_logits(&logits);
        s
    }

    fn at(s: &ShortRange, t: f64) -> [f64; 5] {
        s.evaluate(t).derivatives
    }

    #[test]
    fn zero_logits_displace_nothing() {
        for end in [None, Some(2.5)] {
            let s = ShortRange::zero(6, 1.0, end, KAPPA).unwrap();
            for i in 0..40 {
                assert!(at(&s, 0.1 * i as f64).iter().all(|v| v.abs() < 1e-15));
            }
        }
        assert!(ShortRange::zero(3, 1.0, None, KAPPA).is_err());
    }

    #[test]
    fn halved_cells_give_the_same_displacement() {
        for coarse in [wavy(None, 1.0), wavy(Some(2.6), 1.0), wavy(Some(2.6), 4.0)] {
            let (fine, logits) = coarse.refined();
            assert_eq!(logits.len(), fine.weights());
            for i in 0..=150 {
                let t = 0.02 * i as f64;
                let (a, b) = (at(&coarse, t), at(&fine, t));
                for d in 0..5 {
                    let scale = (1.0 + coarse.total.abs()) * 15f64.powi(d as i32);
                    assert!((a[d] - b[d]).abs() < 1e-13 * scale, "{d} {t} {a:?} {b:?}");
                }
            }
        }
    }

    #[test]
    fn the_displacement_is_the_integral_of_its_slope() {
        let rule = GaussLegendre::new(10);
        for s in [wavy(None, 1.0), wavy(Some(2.6), 1.0), wavy(Some(2.6), 4.0)] {
            let mut sum = 0.0;
            let edges: Vec<f64> = (0..=9)
                .map(|c| 1.2 * c as f64 / 9.0)
                .chain((1..=11).map(|c| 1.2 + 1.4 * c as f64 / 11.0))
                .chain([3.0])
                .collect();
            for w in edges.windows(2) {
                assert!((at(&s, w[0])[0] - sum).abs() < 1e-13 * (1.0 + s.total.abs()));
                for d in 1..4 {
                    let total = rule.integrate(w[0], w[1], |t| at(&s, t)[d + 1]);
                    let ends = at(&s, w[1] - 1e-13)[d] - at(&s, w[0])[d];
                    assert!((total - ends).abs() < 1e-7 * 10f64.powi(d as i32), "d={d} {w:?}");
                }
                sum += rule.integrate(w[0], w[1], |t| at(&s, t)[1]);
            }
            let end = if s.vanishes_at.is_some() { 0.0 } else { s.total };
            assert!((sum - end).abs() < 1e-12 * (1.0 + s.total.abs()), "{sum} {end}");
            let zero = at(&s, 0.0);
            assert!(zero[0].abs() < 1e-14 && zero[2].abs() < 1e-12 && zero[4].abs() < 1e-9);
        }
    }

    #[test]
    fn adjoints_agree_with_central_differences() {
        for (end, size) in [(None, 1.0), (Some(2.6), 1.0), (Some(2.6), 3.0)] {
            let mut s = wavy(end, size);
            let count = s.weights();
            let logits: Vec<f64> = (0..count).map(|j| size * (j as f64 * 2.3).cos()).collect();
            for (value_bar, slope_bar) in [(1.0, 0.0), (0.0, 1.0), (0.7, -0.4)] {
                for t in [0.01, 0.3, 0.9, 1.15, 1.3, 1.9, 2.5, 2.9] {
                    s.set_logits(&logits);
                    let mut adjoint = ShortRangeAdjoint::default();
                    adjoint.reset(&s);
                    adjoint.add(&s, &s.local(t), t, value_bar, slope_bar);
                    let mut bar = vec![0.0; count];
                    adjoint.finish(&s, &mut bar);
                    for j in 0..count {
                        let mut f = |h: f64| {
                            let mut l = logits.clone();
                            l[j] += h;
                            s.set_logits(&l);
                            let p = at(&s, t);
                            value_bar * p[0] + slope_bar * p[1]
                        };
                        let slope = (f(1e-5) - f(-1e-5)) / 2e-5;
                        let scale = 1.0 + slope.abs();
                        assert!(
                            (slope - bar[j]).abs() < 1e-8 * scale,
                            "{end:?} t={t} j={j} {slope} {}",
                            bar[j]
                        );
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn slopes_stay_above_their_bound(
            logits in prop::collection::vec(-9.0f64..9.0, 7),
            walls in any::<bool>(),
            t in 0.0f64..3.0,
        ) {
            let mut s = ShortRange::zero(9, 1.2, walls.then_some(2.6), KAPPA).unwrap();
            s.set_logits(&logits);
            prop_assert!(at(&s, t)[1] >= -KAPPA * (1.0 + 1e-9), "{}", at(&s, t)[1]);
        }
    }
}
