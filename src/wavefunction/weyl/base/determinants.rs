//! A product of two determinants, one per spin, with an exact sampler.
//!
//! `psi_0 = prod_spins det phi_j(theta_i)` with orthonormal `phi_j`. `|det|²` is a projection determinantal point
//! process: with `Phi` the vector of the n orbitals and `M_0 = 1`, particle k+1 is drawn with density
//! `Phi^T M_k Phi / (n - k)`, then `M_{k+1} = M_k - w w^T` with `w = M_k Phi / |M_k Phi|` (J. B. Hough,
//! M. Krishnapur, Y. Peres, B. Virág, "Determinantal processes and independence", Probability Surveys 3, 206
//! (2006)). The cumulative distribution is a Fourier series too: one uniform makes one particle.

use super::series::{Domain, Mixture, Products, QuantileWork, Series};
use super::{BaseLanes, BaseState};
use crate::math::scalar::Scalar;
use crate::math::small_matrix::{lu, lu_inverse};
use crate::math::vector::lanes::{
    LANES, Lanes, add_product, each, eliminate, multiply, product, row_by_row, scaled,
};
use crate::math::vector::widest;
use crate::system::Sector;
use crate::wavefunction::journey::{Journey, ZERO};
use faer::Mat;

/// Orbitals of one spin.
#[derive(Clone, Debug)]
struct Shell {
    series: Series,
    products: Products,
    /// The density of all, which the particle that is drawn first has.
    first: Mixture,
}

/// One determinant per spin.
#[derive(Clone, Debug)]
pub struct Determinants {
    sector: Sector,
    shells: Vec<Shell>,
}

/// What the reverse sweep needs again, and scratch memory.
#[derive(Clone, Debug, Default)]
pub struct DeterminantsTrace<T> {
    /// Orbitals and their slopes at the particles, spin after spin, row-major in (particle, orbital).
    values: Vec<T>,
    slopes: Vec<T>,
    inverse: Vec<T>,
    pivots: Vec<Vec<usize>>,
    plain: [Vec<f64>; 4],
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

impl Determinants {
    /// From the coefficients of the orbitals (columns) of each spin that has particles: see [`Series::new`].
    pub fn new(sector: Sector, domain: Domain, coefficients: &[Mat<f64>]) -> Self {
        let shells = coefficients
            .iter()
            .map(|c| {
                let series = Series::new(domain, c);
                let products = Products::new(&series);
                Shell { first: products.mixture(&unit(series.functions())), products, series }
            })
            .collect();
        Determinants { sector, shells }
    }
}

impl BaseState for Determinants {
    type Trace<T: Scalar> = DeterminantsTrace<T>;

    /// The density of one spin (numbered among those that have particles) at an angle, per radian.
    fn density(&self, spin: usize, theta: f64) -> f64 {
        let series = &self.shells[spin].series;
        let mut values = [vec![0.0; series.functions()], Vec::new(), Vec::new(), Vec::new()];
        series.evaluate(theta, 1, &mut values);
        values[0].iter().map(|v| v * v).sum()
    }

    /// Number of particles below each point of an even grid of angles.
    fn below(&self) -> Vec<f64> {
        let mut below: Vec<f64> = Vec::new();
        for shell in &self.shells {
            let one: Vec<f64> = shell.products.below(&unit(shell.series.functions())).collect();
            below.resize(one.len(), 0.0);
            below.iter_mut().zip(one).for_each(|(sum, b)| *sum += b);
        }
        below
    }

    /// First and last angle.
    fn ends(&self) -> (f64, f64) {
        self.shells[0].series.domain().ends()
    }

    /// Number of spins that have particles.
    fn spins(&self) -> usize {
        self.shells.len()
    }

    /// `log |psi_0|` and sign.
    fn forward<T: Scalar>(
        &self,
        angles: &[T],
        reverse: bool,
        trace: &mut DeterminantsTrace<T>,
    ) -> (T, f64) {
        let DeterminantsTrace { values, slopes, pivots, plain, .. } = trace;
        values.clear();
        slopes.clear();
        pivots.resize(self.shells.len(), Vec::new());
        let orders = 1 + T::ORDER + usize::from(reverse);
        let (mut log, mut sign) = (T::zero(), 1.0);
        for ((shell, spin), pivots) in self.shells.iter().zip(self.sector.spins()).zip(pivots) {
            let start = values.len();
            let n = shell.series.functions();
            plain.iter_mut().for_each(|p| p.resize(n, 0.0));
            for i in spin {
                let t = angles[i];
                shell.series.evaluate(t.value(), orders, plain);
                for j in 0..n {
                    let at = |d: usize| plain[d][j];
                    values.push(lift(t, at));
                    if reverse {
                        slopes.push(lift(t, |e| at(1 + e)));
                    }
                }
            }
            let (l, s) = lu(&mut values[start..], n, pivots);
            log += l;
            sign *= s;
        }
        (log, sign)
    }

    fn lanes(&self, journey: &mut Journey, work: &mut BaseLanes) -> bool {
        journey.measure();
        work.log.by.resize(journey.n, ZERO);
        work.log.clear();
        for (shell, spin) in self.shells.iter().zip(self.sector.spins()) {
            work.evaluate(&shell.series, spin.clone(), journey);
            determinant(spin, work, journey);
        }
        add(work, journey);
        true
    }

    /// Adjoints of the angles, after [`Self::forward`] with `reverse`.
    fn backward<T: Scalar>(&self, bar: &mut [T], trace: &mut DeterminantsTrace<T>) {
        let DeterminantsTrace { values, slopes, inverse, pivots, .. } = trace;
        let mut start = 0;
        for (spin, pivots) in self.sector.spins().zip(pivots) {
            let n = spin.len();
            inverse.resize(n * n, T::zero());
            lu_inverse(&values[start..start + n * n], n, pivots, &mut inverse[..n * n]);
            for (row, i) in spin.enumerate() {
                let mut sum = T::zero();
                for j in 0..n {
                    sum += inverse[j * n + row] * slopes[start + row * n + j];
                }
                bar[i] = sum;
            }
            start += n * n;
        }
    }

    /// Turns one uniform per particle into angles distributed as `|psi_0|²`, ascending within each spin.
    fn sample(&self, uniforms: &[f64], angles: &mut [f64]) {
        self.samples(uniforms, angles.len(), angles);
    }

    fn samples(&self, uniforms: &[f64], n: usize, angles: &mut [f64]) {
        for (shell, spin) in self.shells.iter().zip(self.sector.spins()) {
            shell.samples(uniforms, n, spin.clone(), angles);
            for angles in angles.chunks_exact_mut(n) {
                angles[spin.clone()].sort_by(f64::total_cmp);
            }
        }
    }
}

widest! {
    /// Adds to the slopes and the bend of the logarithm those of one spin's determinant `det A`: with `A' A^-1 = B`, by
    /// particles `i` and `k` they are `B_ii` and `(A'' A^-1)_ii` for `i = k`, less `B_ik B_ki`.
    fn determinant(spin: std::ops::Range<usize>, work: &mut BaseLanes, journey: &mut Journey) {
        let n = spin.len();
        let BaseLanes { orbitals: [values, slopes, bends], inverse, product: b, pivots, log, .. } = work;
        inverse.clear();
        inverse.extend_from_slice(&values[..n * n]);
        b.resize(n * n, ZERO);
        invert::<FUSED>(n, inverse, pivots);
        multiply::<FUSED>(n, slopes, inverse, b);
        let gram = |i: usize, k: usize| &journey.gram[(spin.start + i) * journey.n + spin.start + k];
        let mut bend = log.bend;
        for i in 0..n {
            log.by[spin.start + i] = b[i * n + i];
            let mut own = ZERO;
            for j in 0..n {
                own = add_product::<FUSED>(&bends[i * n + j], &inverse[j * n + i], &own);
            }
            bend = add_product::<FUSED>(&own, gram(i, i), &bend);
            for k in 0..n {
                let crossed = product(&b[i * n + k], &b[k * n + i]);
                bend = each(|s| bend[s] - crossed[s] * gram(i, k)[s]);
            }
        }
        log.bend = bend;
    }
}

widest! {
    fn add(work: &mut BaseLanes, journey: &mut Journey) {
        journey.add_log::<FUSED>(&work.log);
    }
}

/// Replaces a matrix by its inverse: elimination with row pivoting, in every lane its own.
#[inline(always)]
fn invert<const FUSED: bool>(n: usize, a: &mut [Lanes], pivots: &mut Vec<[usize; LANES]>) {
    pivots.clear();
    for p in 0..n {
        let mut best = [p; LANES];
        let mut largest = a[p * n + p].map(f64::abs);
        for i in p + 1..n {
            for s in 0..LANES {
                let size = a[i * n + p][s].abs();
                (best[s], largest[s]) =
                    if size > largest[s] { (i, size) } else { (best[s], largest[s]) };
            }
        }
        for s in (0..LANES).filter(|&s| best[s] != p) {
            for k in 0..n {
                let (here, there) = (p * n + k, best[s] * n + k);
                (a[here][s], a[there][s]) = (a[there][s], a[here][s]);
            }
        }
        pivots.push(best);
        eliminate::<FUSED>(n, p, a);
    }
    // Columns go back in the opposite order.
    for (p, best) in pivots.iter().enumerate().rev() {
        for s in (0..LANES).filter(|&s| best[s] != p) {
            for row in a.chunks_exact_mut(n) {
                (row[p][s], row[best[s]][s]) = (row[best[s]][s], row[p][s]);
            }
        }
    }
}

/// The unit matrix.
fn unit(n: usize) -> Vec<f64> {
    (0..n * n).map(|ij| if ij / n == ij % n { 1.0 } else { 0.0 }).collect()
}

impl Shell {
    /// Draws the particles of one spin, one after the other, of configurations of `n`.
    fn samples(
        &self,
        uniforms: &[f64],
        n: usize,
        spin: std::ops::Range<usize>,
        angles: &mut [f64],
    ) {
        let (functions, samples) = (self.series.functions(), angles.len() / n);
        let mut projector: Vec<Lanes> = unit(functions).iter().map(|&m| [m; LANES]).collect();
        let mut pairs = vec![ZERO; functions * (functions + 1) / 2];
        let (mut w, mut phi) = (vec![ZERO; functions], Vec::new());
        let (mut plain, mut work) = (Default::default(), QuantileWork::default());
        for (drawn, i) in spin.clone().enumerate() {
            let left = (functions - drawn) as f64;
            let targets = each(|s| if s < samples { left * uniforms[s * n + i] } else { 0.0 });
            let angle = if drawn == 0 {
                self.products.quantiles_of(&self.first, &targets, samples)
            } else {
                weights(functions, &projector, &mut pairs);
                self.products.quantiles(&pairs, &targets, samples, &mut work)
            };
            (0..samples).for_each(|s| angles[s * n + i] = angle[s]);
            if i + 1 < spin.end {
                self.series.values(&angle, samples, &mut plain, &mut phi);
                project(functions, &phi, &mut w, &mut projector);
            }
        }
    }
}

widest! {
    /// Weights of the pairs `j <= i` of functions, those of different ones twice.
    fn weights(n: usize, projector: &[Lanes], pairs: &mut [Lanes]) {
        for i in 0..n {
            for j in 0..i + 1 {
                let factor = if i == j { 1.0 } else { 2.0 };
                pairs[i * (i + 1) / 2 + j] = scaled(factor, &projector[i * n + j]);
                row_by_row();
            }
        }
    }
}

widest! {
    /// Takes the direction of `phi` out of what a projector leaves.
    fn project(n: usize, phi: &[Lanes], w: &mut [Lanes], projector: &mut [Lanes]) {
        let mut square = ZERO;
        for i in 0..n {
            let mut own = ZERO;
            for j in 0..n {
                own = add_product::<FUSED>(&projector[i * n + j], &phi[j], &own);
            }
            square = add_product::<FUSED>(&own, &own, &square);
            w[i] = own;
        }
        let inverse = each(|s| if square[s] > 0.0 { 1.0 / square[s] } else { 0.0 });
        for i in 0..n {
            let share = each(|s| -w[i][s] * inverse[s]);
            for j in 0..n {
                projector[i * n + j] = add_product::<FUSED>(&share, &w[j], &projector[i * n + j]);
                row_by_row();
            }
        }
    }
}
