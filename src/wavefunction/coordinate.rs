//! The mean-field coordinate: a fixed monotone map that spreads the particles as free fermions in a box.
//!
//! `s0 = F_free^{-1} ∘ F_ref` takes the cumulative mean-field density of one spin to that of as many free
//! fermions. Knots placed evenly in `s0` lie where the particles are, and the exponential tails of a bound
//! state become the linear zeros at the walls that the splines are built for.

use crate::exact::dvr::OneBodyBasis;
use crate::exact::hartree_fock::{HartreeFockOptions, hartree_fock};
use crate::math::quadrature::GaussLegendre;
use crate::math::scalar::Scalar;
use crate::math::spline::{BSplineBasis, LaneBasis, LocalBasis, Pieces, SplineError, pieces};
use crate::math::vector::lanes::Lanes;
use crate::math::vector::widest;
use crate::system::{Geometry, Hamiltonian, Sector};
use crate::work;
use std::f64::consts::PI;

/// Relative size of a step of Newton's method after which no other is needed.
const LAST_STEP: f64 = 1e-12;
/// Cells of the grid on which the mean-field density is read.
const DENSITY_CELLS: usize = 400;

/// The share of the maxima about it down to which a valley is as good as none: free fermions have shallow ones, and their coordinate stays the identity.
const SHALLOW: f64 = 0.6;
/// Cells of the grid on which its maxima are found.
const LEVEL_CELLS: usize = 2000;

/// A fixed monotone bijection of `[0, 1]`: the integral of a positive spline.
#[derive(Clone, Debug)]
pub struct Coordinate {
    basis: BSplineBasis,
    /// Coefficients of the map, increasing from 0 to 1.
    left: Vec<f64>,
    /// One minus the coefficients, summed from the right so that they keep their digits there.
    right: Vec<f64>,
    /// Values at the left ends of the spans, and the polynomials on them, one after the other: where inverses begin.
    ends: Vec<f64>,
    polynomials: Vec<f64>,
    pieces: Pieces,
}

/// Value of the map at a point, its complement and its slope.
#[derive(Clone, Copy, Debug)]
pub struct CoordinatePoint<T> {
    /// `q(s)`.
    pub left: T,
    /// `1 - q(s)`.
    pub right: T,
    /// `dq/ds`.
    pub slope: T,
}

impl Coordinate {
    /// The identity.
    pub fn identity() -> Result<Self, SplineError> {
        Self::from_log_slope(2, 2, |_| 0.0)
    }

    /// The map whose slope has the given logarithm (up to a constant) near the centres of the splines.
    pub fn from_log_slope(
        degree: usize,
        knots: usize,
        log_slope: impl Fn(f64) -> f64,
    ) -> Result<Self, SplineError> {
        let slope = BSplineBasis::uniform(degree, knots)?;
        let basis = BSplineBasis::uniform(degree + 1, knots)?;
        let logs: Vec<f64> = slope.greville().into_iter().map(log_slope).collect();
        let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> =
            logs.iter().zip(slope.integrals()).map(|(l, i)| (l - largest).exp() * i).collect();
        let total: f64 = weights.iter().sum();
        let running = |w: &mut dyn Iterator<Item = &f64>| {
            let mut sum = 0.0;
            let mut c = vec![0.0];
            c.extend(w.map(|w| {
                sum += w / total;
                sum
            }));
            c
        };
        let left = running(&mut weights.iter());
        let mut right = running(&mut weights.iter().rev());
        right.reverse();
        let pieces = Pieces::new(&basis);
        let (mut ends, mut polynomials, mut one) = (Vec::new(), Vec::new(), Vec::new());
        pieces.at_ends(&left, &mut ends);
        for span in 0..pieces.spans() {
            pieces.polynomial(span, &left, &mut one);
            polynomials.extend(&one);
        }
        Ok(Coordinate { basis, left, right, ends, polynomials, pieces })
    }

    /// The mean-field coordinate of `n` fermions.
    ///
    /// `density` gives the density at a list of points of `[0, 1]`. Where it is negligible its logarithm is
    /// continued linearly.
    pub fn from_density(
        degree: usize,
        knots: usize,
        n: usize,
        density: impl Fn(&[f64]) -> Vec<f64>,
    ) -> Result<Self, SplineError> {
        Self::from_log_slope(degree, knots, mean_field_log_slope(n, 30.0, density))
    }

    /// One coordinate per spin from the Hartree–Fock density; the identity where that fails.
    ///
    /// The density counts to `power`; what falls below six tenths of the lower of the maxima about a valley counts relative to that, to `valleys` (and
    /// all of it to `power`): below one, what is between wells gets more room, and tails are left alone.
    pub fn mean_field(
        hamiltonian: &Hamiltonian,
        geometry: &Geometry,
        sector: Sector,
        degree: usize,
        knots: usize,
        power: f64,
        valleys: f64,
    ) -> Result<Vec<Self>, SplineError> {
        let (a, b) = geometry.interval();
        // About four points per bohr, bounded so that a large box stays a matter of milliseconds.
        let size = ((4.0 * (b - a)) as usize).clamp(40, 160);
        let basis = OneBodyBasis::new(*geometry, size);
        let Ok(field) = hartree_fock(hamiltonian, basis, sector, &HartreeFockOptions::default())
        else {
            return sector.spins().map(|_| Self::identity()).collect();
        };
        sector
            .spins()
            .map(|spin| {
                let n = spin.len();
                let orbitals =
                    if spin.start < sector.up { &field.orbitals_up } else { &field.orbitals_down };
                let density = |s: &[f64]| -> Vec<f64> {
                    let points: Vec<f64> = s.iter().map(|s| a + (b - a) * s).collect();
                    let values = field.basis.evaluate(&points) * orbitals.subcols(0, n);
                    let density = |i: usize| (0..n).map(|k| values[(i, k)].powi(2)).sum::<f64>();
                    (0..s.len()).map(density).collect()
                };
                let level = Level::of(&density);
                Self::from_density(degree, knots, n, |s| {
                    let filled = |(&s, n)| level.filled(s, n, valleys).powf(power);
                    s.iter().zip(density(s)).map(filled).collect()
                })
            })
            .collect()
    }

    /// Evaluates the map.
    pub fn forward<T: Scalar>(&self, s: T, local: &mut LocalBasis) -> CoordinatePoint<T> {
        self.basis.evaluate(s.value(), 1 + T::ORDER, local);
        let up_to = |c: &[f64], order: usize| {
            std::array::from_fn(|d| if d <= order { local.combine(c, d) } else { 0.0 })
        };
        let [left, right] = [up_to(&self.left, 1 + T::ORDER), up_to(&self.right, T::ORDER)];
        CoordinatePoint::new(s, &left, &right)
    }

    /// The map and its complement, each with three derivatives, at eight points.
    pub fn forward_lanes(&self, s: &Lanes, local: &mut LaneBasis) -> [[Lanes; 4]; 2] {
        local.evaluate(&self.basis, s, 3);
        let mut out = Default::default();
        combine(local, [&self.left, &self.right], &mut out);
        out
    }

    /// `s` with `q(s) = q`, by Newton's method kept inside a shrinking bracket.
    pub fn inverse(&self, q: f64, local: &mut LocalBasis) -> f64 {
        let (mut lo, mut hi) = (0.0f64, 1.0f64);
        if q <= 0.0 {
            return 0.0;
        }
        if q >= 1.0 {
            return 1.0;
        }
        let span = self.ends.partition_point(|&e| e <= q).max(1) - 1;
        let (middle, length) = self.pieces.place(span);
        let width = self.basis.degree() + 1;
        let polynomial = &self.polynomials[span * width..][..width];
        // Not yet to the relative precision that is wanted near the ends.
        let mut s = middle + length * pieces::solve(polynomial, q).unwrap_or(0.0);
        for _ in 0..200 {
            work::newton();
            let point: CoordinatePoint<f64> = self.forward(s, local);
            // The smaller of the two distances to an end has the digits.
            let residual = if q < 0.5 { point.left - q } else { (1.0 - q) - point.right };
            if residual > 0.0 {
                hi = hi.min(s);
            } else {
                lo = lo.max(s);
            }
            let newton = s - residual / point.slope;
            if (newton - s).abs() <= 2e-16 || hi - lo <= f64::EPSILON * hi {
                break;
            }
            let (inside, step) = (newton > lo && newton < hi, newton - s);
            s = if inside { newton } else { 0.5 * (lo + hi) };
            // The next step would be the square of this one.
            if inside && step.abs() <= LAST_STEP * s.min(1.0 - s) {
                break;
            }
        }
        s
    }
}

impl<T: Scalar> CoordinatePoint<T> {
    /// From the map and its complement, each with its derivatives up to one more than the scalar carries, at `s`.
    #[inline(always)]
    pub fn new(s: T, left: &[f64; 4], right: &[f64; 4]) -> Self {
        let value = |[f, df, d2f, _]: &[f64; 4]| s.chain(*f, *df, *d2f);
        CoordinatePoint {
            left: value(left),
            right: value(right),
            slope: s.chain(left[1], left[2], left[3]),
        }
    }
}

widest! {
    /// Splines with the given coefficients, and their derivatives.
    fn combine(local: &LaneBasis, coefficients: [&[f64]; 2], out: &mut [[Lanes; 4]; 2]) {
        for (coefficients, out) in coefficients.iter().zip(out) {
            *out = local.combine::<FUSED, 4>(coefficients);
        }
    }
}

/// The level to which water would stand in the valleys of a density on `[0, 1]`; the density itself where there is none.
struct Level(Vec<f64>);

impl Level {
    fn of(density: &impl Fn(&[f64]) -> Vec<f64>) -> Self {
        let grid: Vec<f64> = (0..=LEVEL_CELLS).map(|i| i as f64 / LEVEL_CELLS as f64).collect();
        let density = density(&grid);
        let highest = |high: &mut f64, n: &f64| {
            *high = high.max(*n);
            Some(*high)
        };
        let left: Vec<f64> = density.iter().scan(0.0, highest).collect();
        let mut right: Vec<f64> = density.iter().rev().scan(0.0, highest).collect();
        right.reverse();
        Level(left.iter().zip(&right).map(|(l, r)| l.min(*r)).collect())
    }

    /// The density `n` at `s`, which counts to `power` as far as it is below [`SHALLOW`] of the level.
    fn filled(&self, s: f64, n: f64, power: f64) -> f64 {
        let level = SHALLOW * self.at(s);
        if n < level { level * (n / level).powf(power) } else { n }
    }

    fn at(&self, s: f64) -> f64 {
        let t = s * LEVEL_CELLS as f64;
        let i = (t as usize).min(LEVEL_CELLS - 1);
        let w = t - i as f64;
        self.0[i] * (1.0 - w) + self.0[i + 1] * w
    }
}

/// The logarithm of the slope of `s0 = F_free^{-1} ∘ F_ref` on `[0, 1]`, for `n` fermions.
///
/// `density` gives the mean-field density at a list of points of `[0, 1]`. Where it is negligible the logarithm
/// is continued linearly, but never further than `range` below its maximum.
pub(crate) fn mean_field_log_slope(
    n: usize,
    range: f64,
    density: impl Fn(&[f64]) -> Vec<f64>,
) -> impl Fn(f64) -> f64 {
    let cells = DENSITY_CELLS;
    let edge = |i: usize| i as f64 / cells as f64;
    // Gaussian quadrature in each cell keeps the relative accuracy of the small cumulative density at
    // a wall, on which the slope there depends.
    let rule = GaussLegendre::new(6);
    let nodes: Vec<(f64, f64)> =
        (0..cells).flat_map(|i| rule.on(edge(i), edge(i + 1)).collect::<Vec<_>>()).collect();
    let at_nodes = density(&nodes.iter().map(|n| n.0).collect::<Vec<_>>());
    let share: Vec<f64> = nodes
        .chunks(6)
        .zip(at_nodes.chunks(6))
        .map(|(n, d)| n.iter().zip(d).map(|(n, d)| n.1 * d).sum())
        .collect();
    let density = density(&(0..=cells).map(edge).collect::<Vec<_>>());
    let mut from_left = vec![0.0; cells + 1];
    let mut from_right = vec![0.0; cells + 1];
    for i in 0..cells {
        from_left[i + 1] = from_left[i] + share[i];
        from_right[cells - 1 - i] = from_right[cells - i] + share[cells - 1 - i];
    }
    let total = from_left[cells];
    let peak = density.iter().copied().fold(0.0, f64::max);
    let log_slope: Vec<Option<f64>> = (0..=cells)
        .map(|i| {
            let (l, r) = (from_left[i] / total, from_right[i] / total);
            let near = l.min(r);
            if density[i] <= 1e-9 * peak || near <= 1e-13 {
                return None;
            }
            let q = free_quantile(n, near);
            Some((density[i] / total / free_density(n, q)).ln())
        })
        .collect();
    // Both exist whenever the density has any support.
    let first = log_slope.iter().position(Option::is_some).unwrap_or(0);
    let last = log_slope.iter().rposition(Option::is_some).unwrap_or(0);
    let log_slope: Vec<f64> = log_slope.into_iter().map(|l| l.unwrap_or(0.0)).collect();
    let floor = log_slope.iter().copied().fold(f64::NEG_INFINITY, f64::max) - range;
    let reach = (cells / 100).max(1);
    let interpolate = move |s: f64| {
        let at = |i: usize| log_slope[i];
        let t = s * cells as f64;
        if t < first as f64 {
            let inner = (first + reach).min(last);
            let rise = (at(inner) - at(first)) / (inner - first).max(1) as f64;
            return at(first) - rise * (first as f64 - t);
        }
        if t > last as f64 {
            let inner = last.saturating_sub(reach).max(first);
            let rise = (at(inner) - at(last)) / (last - inner).max(1) as f64;
            return at(last) - rise * (t - last as f64);
        }
        let i = (t as usize).min(cells - 1);
        let w = t - i as f64;
        let next = if i < last { at(i + 1) } else { at(i) };
        // The mean-field density may touch zero at a node common to all orbitals; a dent there is enough.
        at(i) * (1.0 - w) + next * w
    };
    move |s| interpolate(s).max(floor)
}

/// Density, normalised to one, of `n` free fermions in the unit box.
fn free_density(n: usize, q: f64) -> f64 {
    (1..=n).map(|k| 2.0 * (k as f64 * PI * q).sin().powi(2)).sum::<f64>() / n as f64
}

/// `q <= 1/2` below which the share `f` of `n` free fermions lies.
fn free_quantile(n: usize, f: f64) -> f64 {
    let cumulative = |q: f64| {
        (1..=n)
            .map(|k| {
                let a = 2.0 * k as f64 * PI * q;
                // a - sin a, by its series where the difference would cancel.
                let gap = if a < 0.3 {
                    let b = a * a;
                    a * b / 6.0 * (1.0 - b / 20.0 * (1.0 - b / 42.0 * (1.0 - b / 72.0)))
                } else {
                    a - a.sin()
                };
                gap / (2.0 * k as f64 * PI)
            })
            .sum::<f64>()
            / n as f64
    };
    let (mut lo, mut hi) = (0.0, 1.0);
    for _ in 0..80 {
        let mid = 0.5 * (lo + hi);
        if cumulative(mid) < f { lo = mid } else { hi = mid }
    }
    0.5 * (lo + hi)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn free_fermions_keep_their_coordinate() {
        for n in 1..4 {
            let density = |s: &[f64]| s.iter().map(|&s| 3.0 * free_density(n, s)).collect();
            let c = Coordinate::from_density(5, 64, n, density).unwrap();
            let mut local = LocalBasis::default();
            for i in 1..40 {
                let s = i as f64 / 40.0;
                let p: CoordinatePoint<f64> = c.forward(s, &mut local);
                assert!(
                    (p.left - s).abs() < 1e-9 && (p.slope - 1.0).abs() < 1e-7,
                    "n={n} s={s} {}",
                    p.left
                );
                assert!((p.left + p.right - 1.0).abs() < 1e-14);
            }
        }
    }

    /// Two wells of different depth: powers change the valley between them and nothing beside it.
    #[test]
    fn water_stands_in_valleys_alone() {
        let bump = |s: f64, at: f64| (-0.5 * ((s - at) / 0.06).powi(2)).exp();
        let density = |s: f64| bump(s, 0.3) + 0.4 * bump(s, 0.65);
        let level = Level::of(&|s: &[f64]| s.iter().map(|&s| density(s)).collect());
        for i in 0..=100 {
            let s = i as f64 / 100.0;
            let (n, level) = (density(s), level.at(s));
            if (0.42..0.64).contains(&s) {
                assert!((level - 0.4).abs() < 1e-4, "{s}: {level}");
            } else if !(0.3..0.66).contains(&s) {
                // Linear between the points of the grid.
                assert!((level - n).abs() < 1e-3 * n + 1e-12, "{s}: {level} {n}");
            }
            assert!(level >= n * (1.0 - 1e-3), "{s}: {level} {n}");
        }
        // To the power one nothing changes; deep between the wells a power fills, and what is shallow stays.
        let n = density(0.48);
        assert!((level.filled(0.48, n, 1.0) - n).abs() < 1e-15);
        assert!((level.filled(0.48, n, 0.3) - 0.24 * (n / 0.24).powf(0.3)).abs() < 1e-4);
        assert_eq!(level.filled(0.48, 0.25, 0.3), 0.25);
        for n in 2..6 {
            let free = |s: &[f64]| -> Vec<f64> { s.iter().map(|&s| free_density(n, s)).collect() };
            let level = Level::of(&free);
            let s: Vec<f64> = (0..=50).map(|i| i as f64 / 50.0).collect();
            for (s, n) in s.iter().zip(free(&s)) {
                assert_eq!(level.filled(*s, n, 0.3), n);
            }
        }
        let empty = Level::of(&|s: &[f64]| vec![0.0; s.len()]);
        assert_eq!(empty.filled(0.5, 0.0, 0.3), 0.0);
    }

    #[test]
    fn both_names_of_a_polarised_sector_give_one_coordinate() {
        let hamiltonian: Hamiltonian =
            ron::from_str("(external: Harmonic(), interaction: SoftCoulomb())").unwrap();
        let geometry = Geometry::Box { half_width: 6.0 };
        let of = |up, down| {
            Coordinate::mean_field(&hamiltonian, &geometry, Sector::new(up, down), 5, 32, 1.0, 1.0)
                .unwrap()
        };
        let (up, down) = (of(2, 0), of(0, 2));
        assert_eq!((up.len(), down.len()), (1, 1));
        for (a, b) in up[0].left.iter().zip(&down[0].left) {
            assert!((a - b).abs() < 1e-7, "{a} {b}");
        }
    }

    #[test]
    fn eight_points_are_as_one() {
        let map = Coordinate::from_log_slope(6, 64, |s| -20.0 * (s - 0.4).powi(2)).unwrap();
        let (mut lanes, mut local) = (LaneBasis::default(), LocalBasis::default());
        for start in 0..=20 {
            let s: Lanes = std::array::from_fn(|i| f64::from(8 * start + i as i32) / 167.0);
            let many = map.forward_lanes(&s, &mut lanes);
            for (i, &s) in s.iter().enumerate() {
                map.basis.evaluate(s, 3, &mut local);
                for (side, coefficients) in [&map.left, &map.right].into_iter().enumerate() {
                    for d in 0..4 {
                        let (found, one) = (many[side][d][i], local.combine(coefficients, d));
                        let size = 64f64.powi(d as i32);
                        assert!(
                            (found - one).abs() < 1e-13 * size,
                            "{s} {side} {d}: {found} {one}"
                        );
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn inverse_undoes_the_map(scale in 0.5f64..12.0, q in 0.0f64..1.0) {
            let c = Coordinate::from_log_slope(6, 64, |s| -scale * (8.0 * (s - 0.4)).powi(2) / 4.0).unwrap();
            let mut local = LocalBasis::default();
            let s = c.inverse(q, &mut local);
            let p: CoordinatePoint<f64> = c.forward(s, &mut local);
            prop_assert!((p.left - q).abs() < 1e-14 && p.slope > 0.0);
        }
    }
}
