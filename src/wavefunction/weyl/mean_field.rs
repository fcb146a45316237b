//! The mean-field base: one determinant per spin of orbitals given as sine series, with an exact sampler.
//!
//! `psi_0 = prod_spins det phi_j(theta_i)`, `phi_j(theta) = sqrt(2/pi) sum_k c_kj sin(k theta)` orthonormal on
//! `(0, pi)`. `|det|²` is a projection determinantal point process: with `Phi` the vector of the n orbitals and
//! `M_0 = 1`, particle k+1 is drawn with density `Phi^T M_k Phi / (n - k)`, then `M_{k+1} = M_k - w w^T` with
//! `w = M_k Phi / |M_k Phi|` (J. B. Hough, M. Krishnapur, Y. Peres, B. Virág, "Determinantal processes and
//! independence", Probability Surveys 3, 206 (2006)). The cumulative distribution is a sine series too.

use crate::exact::EigenFailure;
use crate::exact::dvr::{OneBodyBasis, solve_one_body};
use crate::exact::hartree_fock::{HartreeFockOptions, hartree_fock};
use crate::math::scalar::Scalar;
use crate::math::small_matrix::{lu, lu_inverse};
use crate::system::System;
use crate::system::{Interaction, Sector};
use faer::Mat;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// Which orbitals fill the determinants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Orbitals {
    /// Unrestricted Hartree–Fock: tails and shells of the interacting state.
    #[default]
    HartreeFock,
    /// The lowest eigenfunctions of one particle: no variance at all without interaction.
    NonInteracting,
}

/// Points of the table that brackets a quantile.
const TABLE: usize = 512;

/// Share of the particles beyond either end of their extent.
const OUTSIDE: f64 = 1e-5;

/// Orbitals of one spin.
#[derive(Clone, Debug)]
struct Shell {
    orbitals: usize,
    /// `sqrt(2/pi) c_kj`, row-major in `(k, j)` from `k = 1`.
    series: Vec<f64>,
    /// For each pair `i >= j`: `phi_i phi_j = sum_m p_m cos(m theta)`, from `m = 0` to twice the terms.
    products: Vec<Vec<f64>>,
    /// Integrals of the products from 0 to the points of a table, row-major in (point, pair).
    table: Vec<f64>,
}

/// One determinant per spin.
#[derive(Clone, Debug)]
pub struct MeanField {
    sector: Sector,
    shells: Vec<Shell>,
}

/// What the reverse sweep needs again, and scratch memory.
#[derive(Clone, Debug, Default)]
pub struct MeanFieldTrace<T> {
    /// Orbitals and their slopes at the particles, spin after spin, row-major in (particle, orbital).
    values: Vec<T>,
    slopes: Vec<T>,
    inverse: Vec<T>,
    pivots: Vec<Vec<usize>>,
    plain: [Vec<f64>; 4],
}

/// Wave numbers, in 1/bohr, that are tried one after the other until the orbitals have converged.
const CUTOFFS: [f64; 4] = [14.0, 20.0, 28.0, 40.0];
/// Largest coefficient, relative to the largest of all, that may be left at the upper end of a converged series.
const CONVERGED: f64 = 1e-12;
/// Most functions of a basis: bounds the time of the mean field to seconds.
const MOST_FUNCTIONS: usize = 500;
/// Coefficients below this share of the largest are dropped from the end of a series.
const NEGLIGIBLE: f64 = 1e-17;

impl MeanField {
    /// The orbitals of a system in a box.
    ///
    /// # Errors
    /// [`EigenFailure`] when a potential is not finite on the grid.
    pub fn new(orbitals: Orbitals, sector: Sector, system: System) -> Result<Self, EigenFailure> {
        let free = orbitals == Orbitals::NonInteracting
            || system.hamiltonian.interaction == Interaction::None
            || sector.particles() == 1;
        let most = sector.up.max(sector.down);
        let mut previous = 0;
        let mut found = Vec::new();
        for cutoff in CUTOFFS {
            let basis = OneBodyBasis::with_cutoff(*system.geometry, cutoff, 32.max(4 * most));
            let basis = OneBodyBasis::new(*system.geometry, basis.size().min(MOST_FUNCTIONS));
            if basis.size() == previous {
                break;
            }
            previous = basis.size();
            let columns = |c: &Mat<f64>, n: usize| c.subcols(0, n).to_owned();
            found = if free {
                let one = solve_one_body(&system.hamiltonian.external, basis)?;
                sector.spins().map(|s| columns(&one.orbitals, s.len())).collect()
            } else {
                let field = hartree_fock(
                    system.hamiltonian,
                    basis,
                    sector,
                    &HartreeFockOptions::default(),
                )?;
                sector
                    .spins()
                    .map(|s| {
                        let c = if s.start < sector.up {
                            &field.orbitals_up
                        } else {
                            &field.orbitals_down
                        };
                        columns(c, s.len())
                    })
                    .collect()
            };
            if found.iter().all(|c: &Mat<f64>| tail(c) < CONVERGED) {
                break;
            }
        }
        Ok(MeanField { sector, shells: found.iter().map(Shell::new).collect() })
    }

    /// The density of one spin (numbered among those that have particles) at an angle, per radian.
    pub fn density(&self, spin: usize, theta: f64) -> f64 {
        let shell = &self.shells[spin];
        let mut values = [vec![0.0; shell.orbitals], Vec::new(), Vec::new(), Vec::new()];
        shell.evaluate(theta, 1, &mut values);
        values[0].iter().map(|v| v * v).sum()
    }

    /// The distance between the outermost places where particles are found: a share [`OUTSIDE`] of all is beyond
    /// on either side, in radians.
    pub fn extent(&self) -> f64 {
        let particles: usize = self.shells.iter().map(|s| s.orbitals).sum();
        let below =
            |q: usize| self.shells.iter().map(|s| s.below(q)).sum::<f64>() / particles as f64;
        let first = (0..TABLE).take_while(|&q| below(q + 1) < OUTSIDE).count();
        let last = (0..TABLE).take_while(|&q| below(TABLE - q - 1) > 1.0 - OUTSIDE).count();
        PI * (TABLE - first - last) as f64 / TABLE as f64
    }

    /// `log |psi_0|` and sign at angles in `(0, pi)`.
    pub fn forward<T: Scalar>(
        &self,
        angles: &[T],
        reverse: bool,
        trace: &mut MeanFieldTrace<T>,
    ) -> (T, f64) {
        let MeanFieldTrace { values, slopes, pivots, plain, .. } = trace;
        values.clear();
        slopes.clear();
        pivots.resize(self.shells.len(), Vec::new());
        let orders = 1 + T::ORDER + usize::from(reverse);
        let (mut log, mut sign) = (T::zero(), 1.0);
        for ((shell, spin), pivots) in self.shells.iter().zip(self.sector.spins()).zip(pivots) {
            let start = values.len();
            plain.iter_mut().for_each(|p| p.resize(shell.orbitals, 0.0));
            for i in spin {
                let t = angles[i];
                shell.evaluate(t.value(), orders, plain);
                for j in 0..shell.orbitals {
                    let at = |d: usize| plain[d][j];
                    values.push(lift(t, at));
                    if reverse {
                        slopes.push(lift(t, |e| at(1 + e)));
                    }
                }
            }
            let (l, s) = lu(&mut values[start..], shell.orbitals, pivots);
            log += l;
            sign *= s;
        }
        (log, sign)
    }

    /// Adjoints of the angles, after [`Self::forward`] with `reverse`.
    pub fn backward<T: Scalar>(&self, bar: &mut [T], trace: &mut MeanFieldTrace<T>) {
        let MeanFieldTrace { values, slopes, inverse, pivots, .. } = trace;
        let mut start = 0;
        for ((shell, spin), pivots) in self.shells.iter().zip(self.sector.spins()).zip(pivots) {
            let n = shell.orbitals;
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
    pub fn sample(&self, uniforms: &[f64], angles: &mut [f64]) {
        for (shell, spin) in self.shells.iter().zip(self.sector.spins()) {
            shell.sample(&uniforms[spin.clone()], &mut angles[spin.clone()]);
            angles[spin].sort_by(f64::total_cmp);
        }
    }
}

/// A function of `t` whose derivative of order `e` is `at(e)`.
#[inline]
fn lift<T: Scalar>(t: T, at: impl Fn(usize) -> f64) -> T {
    match T::ORDER {
        0 => T::constant(at(0)),
        1 => t.chain(at(0), at(1), 0.0),
        _ => t.chain(at(0), at(1), at(2)),
    }
}

/// Largest of the last coefficients relative to the largest of all.
fn tail(c: &Mat<f64>) -> f64 {
    let largest = |from: usize| {
        let mut most = 0.0f64;
        for j in 0..c.ncols() {
            for k in from..c.nrows() {
                most = most.max(c[(k, j)].abs());
            }
        }
        most
    };
    largest(c.nrows() - c.nrows() / 8) / largest(0)
}

impl Shell {
    fn new(c: &Mat<f64>) -> Self {
        let n = c.ncols();
        let largest = c.norm_max();
        let needed = |k: usize| (0..n).any(|j| c[(k, j)].abs() > NEGLIGIBLE * largest);
        let terms = (0..c.nrows()).rev().find(|&k| needed(k)).map_or(1, |k| k + 1);
        let scale = (2.0 / PI).sqrt();
        let series: Vec<f64> =
            (0..terms).flat_map(|k| (0..n).map(move |j| (k, j))).map(|at| scale * c[at]).collect();
        let mut products = Vec::new();
        for i in 0..n {
            for j in 0..=i {
                // sin a sin b = (cos(a - b) - cos(a + b)) / 2.
                let mut p = vec![0.0; 2 * terms + 1];
                for k in 0..terms {
                    for l in 0..terms {
                        let half = 0.5 * series[k * n + i] * series[l * n + j];
                        p[k.abs_diff(l)] += half;
                        p[k + l + 2] -= half;
                    }
                }
                products.push(p);
            }
        }
        let mut shell = Shell { orbitals: n, series, products, table: Vec::new() };
        for q in 0..=TABLE {
            let theta = PI * q as f64 / TABLE as f64;
            for p in &shell.products {
                shell.table.push(integral(p, theta));
            }
        }
        shell
    }

    /// Orbitals and their derivatives at `theta`, as many rows of `out` as `orders`.
    fn evaluate(&self, theta: f64, orders: usize, out: &mut [Vec<f64>; 4]) {
        let n = self.orbitals;
        out[..orders].iter_mut().for_each(|o| o.fill(0.0));
        let (sin1, cos1) = theta.sin_cos();
        let (mut s, mut c) = (sin1, cos1);
        for (index, row) in self.series.chunks_exact(n).enumerate() {
            let k = (index + 1) as f64;
            for (j, &a) in row.iter().enumerate() {
                out[0][j] += a * s;
            }
            if orders > 1 {
                let factors = [k * c, -k * k * s, -k * k * k * c];
                for (o, factor) in out[1..orders].iter_mut().zip(factors) {
                    for (o, &a) in o.iter_mut().zip(row) {
                        *o += a * factor;
                    }
                }
            }
            (s, c) = (s * cos1 + c * sin1, c * cos1 - s * sin1);
        }
    }

    /// Mean number of particles below a point of the table.
    fn below(&self, q: usize) -> f64 {
        let pairs = self.products.len();
        (0..self.orbitals).map(|i| self.table[q * pairs + i * (i + 3) / 2]).sum()
    }

    /// Draws the particles one after the other.
    fn sample(&self, uniforms: &[f64], angles: &mut [f64]) {
        let n = self.orbitals;
        let pairs = self.products.len();
        let mut m = vec![0.0; n * n];
        (0..n).for_each(|i| m[i * n + i] = 1.0);
        let mut phi = [vec![0.0; n], Vec::new(), Vec::new(), Vec::new()];
        let mut w = vec![0.0; n];
        let mut density = vec![0.0; self.products[0].len()];
        for (drawn, (u, angle)) in uniforms.iter().zip(angles).enumerate() {
            let weights: Vec<f64> = (0..n)
                .flat_map(|i| (0..=i).map(move |j| (i, j)))
                .map(|(i, j)| if i == j { m[i * n + i] } else { 2.0 * m[i * n + j] })
                .collect();
            density.fill(0.0);
            for (p, weight) in self.products.iter().zip(&weights) {
                density.iter_mut().zip(p).for_each(|(d, p)| *d += weight * p);
            }
            let target = u * (n - drawn) as f64;
            let below = |q: usize| {
                let row = &self.table[q * pairs..(q + 1) * pairs];
                row.iter().zip(&weights).map(|(c, w)| c * w).sum::<f64>()
            };
            let (mut lo, mut hi) = (0, TABLE);
            while hi - lo > 1 {
                let mid = (lo + hi) / 2;
                if below(mid) > target { hi = mid } else { lo = mid }
            }
            let step = PI / TABLE as f64;
            let theta = quantile(&density, target, lo as f64 * step, hi as f64 * step);
            *angle = theta;
            self.evaluate(theta, 1, &mut phi);
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

/// `sum_m p_m ∫_0^theta cos(m t) dt`.
fn integral(p: &[f64], theta: f64) -> f64 {
    integral_and_value(p, theta).0
}

fn integral_and_value(p: &[f64], theta: f64) -> (f64, f64) {
    let (sin1, cos1) = theta.sin_cos();
    let (mut s, mut c) = (sin1, cos1);
    let (mut sum, mut value) = (p[0] * theta, p[0]);
    for (index, &a) in p[1..].iter().enumerate() {
        sum += a * s / (index + 1) as f64;
        value += a * c;
        (s, c) = (s * cos1 + c * sin1, c * cos1 - s * sin1);
    }
    (sum, value)
}

/// Where the integral of the cosine series reaches `target`, between `lo` and `hi`: safeguarded Newton.
fn quantile(density: &[f64], target: f64, mut lo: f64, mut hi: f64) -> f64 {
    let mut theta = 0.5 * (lo + hi);
    for _ in 0..60 {
        let (sum, slope) = integral_and_value(density, theta);
        let residual = sum - target;
        if residual > 0.0 {
            hi = hi.min(theta);
        } else {
            lo = lo.max(theta);
        }
        let newton = theta - residual / slope;
        if (newton - theta).abs() <= 1e-15 || hi - lo <= 2.0 * f64::EPSILON {
            break;
        }
        theta = if newton > lo && newton < hi { newton } else { 0.5 * (lo + hi) };
    }
    theta
}
