//! A product of two determinants, one per spin, with an exact sampler.
//!
//! `psi_0 = prod_spins det phi_j(theta_i)` with orthonormal `phi_j`. `|det|²` is a projection determinantal point
//! process: with `Phi` the vector of the n orbitals and `M_0 = 1`, particle k+1 is drawn with density
//! `Phi^T M_k Phi / (n - k)`, then `M_{k+1} = M_k - w w^T` with `w = M_k Phi / |M_k Phi|` (J. B. Hough,
//! M. Krishnapur, Y. Peres, B. Virág, "Determinantal processes and independence", Probability Surveys 3, 206
//! (2006)). The cumulative distribution is a Fourier series too: one uniform makes one particle.

use super::BaseState;
use super::series::{Domain, Products, QuantileWork, Series};
use crate::math::scalar::Scalar;
use crate::math::small_matrix::{lu, lu_inverse};
use crate::system::Sector;
use faer::Mat;

/// Orbitals of one spin.
#[derive(Clone, Debug)]
struct Shell {
    series: Series,
    products: Products,
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
                Shell { products: Products::new(&series), series }
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
        for (shell, spin) in self.shells.iter().zip(self.sector.spins()) {
            shell.sample(&uniforms[spin.clone()], &mut angles[spin.clone()]);
            angles[spin].sort_by(f64::total_cmp);
        }
    }
}

/// The unit matrix.
fn unit(n: usize) -> Vec<f64> {
    (0..n * n).map(|ij| if ij / n == ij % n { 1.0 } else { 0.0 }).collect()
}

impl Shell {
    /// Draws the particles one after the other.
    fn sample(&self, uniforms: &[f64], angles: &mut [f64]) {
        let n = self.series.functions();
        let mut m = unit(n);
        let mut phi = [vec![0.0; n], Vec::new(), Vec::new(), Vec::new()];
        let mut w = vec![0.0; n];
        let mut work = QuantileWork::default();
        for (drawn, (u, angle)) in uniforms.iter().zip(angles).enumerate() {
            *angle = self.products.quantile(&m, u * (n - drawn) as f64, &mut work);
            self.series.evaluate(*angle, 1, &mut phi);
            let mut square = 0.0;
            for i in 0..n {
                w[i] = (0..n).map(|j| m[i * n + j] * phi[0][j]).sum();
                square += w[i] * w[i];
            }
            if square > 0.0 {
                for i in 0..n {
                    for j in 0..n {
                        m[i * n + j] -= w[i] * w[j] / square;
                    }
                }
            }
        }
    }
}
