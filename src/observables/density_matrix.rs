//! One-body density matrix, and what follows from it: natural orbitals and occupations, the density at points,
//! the momentum distribution, the kinetic energy from gradients.
//!
//! `rho(x, x') = sum_i int Psi(.., x_i = x, ..) Psi(.., x_i = x', ..)`. Of a sample only the *other* coordinates
//! are used: given them, the amplitude of particle `i` on a grid `x_g` is known from psi itself, so that
//!
//! `rho_gh = < sum_i a_g a_h / sum_f a_f² >`,  `a_g = Psi(.., x_i = x_g, ..)`.
//!
//! Every sample contributes a projector for each particle: nothing is divided by a wavefunction that may vanish,
//! all matrix elements are bounded by 1, the variance is finite and the trace is the number of particles exactly.
//! The grid is that of a sine DVR in the window that holds the particles, or equally spaced on a ring (`observables::grid`): sums
//! over it are integrals up to an error that is exponentially small in the spacing for a smooth psi. What the grid does
//! not hold, because it lies outside or takes higher wave numbers, is measured and reported where it matters.
//!
//! On a ring momenta are discrete, `2 pi k / C`, and `n_k` is the occupation of a plane wave.
//!
//! The variance of these projectors is small for the occupation of a weakly occupied orbital, but not for that of a
//! fully occupied one: which of N orbitals a projector shows is a matter of chance. There the estimator of W. L.
//! McMillan (Phys. Rev. 138, A442 (1965)), summed over the particles of a spin, is better:
//! `< sum_i phi_k(x_i) int phi_k(x') Psi(x' in place of x_i) / Psi dx' >`. The sum is antisymmetric, so where equal
//! spins meet it vanishes along with Psi; for one determinant of the orbitals `phi` it is 1 or 0 for every sample, by
//! Cramer's rule. Occupations are the mixture of both estimators that scatters least, orbital by orbital.
//!
//! Eigenvalues of a matrix with noise are driven apart by it. So the natural orbitals, and the share of either
//! estimator, come from the first quarter of the replicates, and the occupations are diagonal elements in these fixed
//! orbitals, from all other replicates: no first-order bias, also for degenerate pairs, and replicates that are
//! independent of each other. (Leaving out one replicate at a time uses more of the data, but its replicates are not
//! independent: 95 % intervals covered 82 to 90 % of the time.)
//!
//! What remains is of second order in the error of the orbitals, but not small for weak ones: a trace of a strong
//! orbital in them made occupations of 3e-5 five per cent too large, most of an error bar. Where two occupations
//! differ by more than their noise, second-order perturbation theory takes it out, with the squares of the
//! off-diagonal elements from products of different replicates, which have no bias of their own. Occupations n and n'
//! closer than that, about `sqrt(n n' / M)` with M samples behind the orbitals, are means over mixed orbitals: their
//! sum is right, each lies between the exact ones.

use super::grid::first_high;
use super::quantity::Values;
use super::replicates::{Replicates, mean_and_error};
use super::{Axis, Observable, Quantity, Sample, Setup};
use crate::math::linalg::{EigenFailure, symmetric_eigen};
use crate::system::Geometry;
use faer::Mat;
use std::f64::consts::PI;
use std::ops::Range;

pub(super) const ABOUT: &str = "one-body density matrix: natural orbitals and occupations, smooth density, momentum \
                                distribution";

/// One over the share of the samples that is used: each is worth many of a histogram, and costs many evaluations of psi.
const SHARE: usize = 8;
/// Orbitals that are written.
const ORBITALS: usize = 8;
/// Fewest intervals of the momentum distribution on either side of zero.
const MOMENTA: usize = 60;
/// Share of the particles beyond the momenta that are written.
const BEYOND: f64 = 1e-6;
/// Share of the particles that the grid may not hold before it is said.
const UNRESOLVED: f64 = 1e-6;

struct DensityMatrix {
    grid: Vec<f64>,
    spacing: f64,
    /// Start and length of the interval of the grid, in bohr.
    start: f64,
    length: f64,
    ring: bool,
    spins: Vec<(&'static str, Range<usize>)>,
}

pub(super) fn build(setup: &Setup) -> Option<Box<dyn Observable>> {
    Some(Box::new(DensityMatrix {
        grid: setup.grid.clone(),
        spacing: setup.spacing(),
        start: setup.window.0,
        length: setup.window.1 - setup.window.0,
        ring: matches!(setup.system.geometry, Geometry::Ring { .. }),
        spins: setup.spins().collect(),
    }))
}

impl DensityMatrix {
    /// Values at `x` of the orthonormal functions that belong to the points of the grid.
    fn cardinal(&self, x: f64, out: &mut [f64]) {
        let g = self.grid.len();
        // sum_{k=1}^{m} cos(k a)
        let cosines = |a: f64, m: f64| {
            let s = (0.5 * a).sin();
            if s.abs() < 1e-9 { m } else { 0.5 * (((m + 0.5) * a).sin() / s - 1.0) }
        };
        if self.ring {
            let m = (g / 2) as f64;
            let scale = 1.0 / (g as f64 * self.length).sqrt();
            for (o, &y) in out.iter_mut().zip(&self.grid) {
                *o = scale * (1.0 + 2.0 * cosines(2.0 * PI * (x - y) / self.length, m));
            }
            return;
        }
        let theta = |x: f64| PI * (x - self.start) / self.length;
        if !(0.0..=PI).contains(&theta(x)) {
            return out.fill(0.0);
        }
        let scale = 1.0 / ((g + 1) as f64 * self.length).sqrt();
        for (o, &y) in out.iter_mut().zip(&self.grid) {
            let (a, b) = (theta(x), theta(y));
            *o = scale * (cosines(a - b, g as f64) - cosines(a + b, g as f64));
        }
    }

    /// Number of elements of the matrix of one spin.
    fn size(&self) -> usize {
        self.grid.len() * self.grid.len()
    }

    /// The spin-summed matrix of projectors.
    fn total(&self, means: &[f64]) -> Mat<f64> {
        self.summed(means, 0)
    }

    /// The spin-summed matrix by the estimator of McMillan.
    fn mcmillan(&self, means: &[f64]) -> Mat<f64> {
        self.summed(means, self.spins.len() * self.size())
    }

    fn summed(&self, means: &[f64], first: usize) -> Mat<f64> {
        let (g, size) = (self.grid.len(), self.size());
        let means = &means[first..];
        Mat::from_fn(g, g, |i, j| {
            (0..self.spins.len())
                .map(|s| 0.5 * (means[s * size + i * g + j] + means[s * size + j * g + i]))
                .sum()
        })
    }

    /// Natural orbitals by descending occupation, one column each.
    fn orbitals(&self, means: &[f64], count: usize) -> Result<Mat<f64>, EigenFailure> {
        let (_, vectors) = symmetric_eigen(self.total(means).as_ref())?;
        let g = self.grid.len();
        Ok(Mat::from_fn(g, count, |i, k| vectors[(i, g - 1 - k)]))
    }

    fn occupations(&self, replicates: &Replicates, count: usize) -> Result<Values, EigenFailure> {
        let g = self.grid.len();
        let (first, rest) = replicates.each().split_at(replicates.count().div_ceil(4));
        let all = self.orbitals(&Replicates::new(first.to_vec()).mean(), g)?;
        let orbitals = all.subcols(0, count);
        let diagonal = |matrix: Mat<f64>| -> Vec<f64> {
            let element = |k: usize| {
                (0..g)
                    .map(|i| {
                        let row: f64 = (0..g).map(|j| matrix[(i, j)] * orbitals[(j, k)]).sum();
                        orbitals[(i, k)] * row
                    })
                    .sum()
            };
            (0..count).map(element).collect()
        };
        // Projectors, and their difference from the other estimator.
        let both = |means: &Vec<f64>| {
            let (p, m) = (diagonal(self.total(means)), diagonal(self.mcmillan(means)));
            let d = p.iter().zip(&m).map(|(p, m)| p - m).collect::<Vec<f64>>();
            (p, m, d)
        };
        // Both have the same expectation: the mixture with the smallest scatter, orbital by orbital.
        let (mut p, mut m, mut d) = (vec![], vec![], vec![]);
        for means in first {
            let (projected, mcmillan, difference) = both(means);
            p.push(projected);
            m.push(mcmillan);
            d.push(difference);
        }
        let [p, m, d] = [p, m, d].map(|rows| mean_and_error(&rows).errors);
        let share = |k: usize| {
            let [p, m, d] = [p[k] * p[k], m[k] * m[k], d[k] * d[k]];
            // Minimum of the variance of p - share (p - m); both are as good where they do not differ.
            if d > 0.0 { (0.5 + 0.5 * (p - m) / d).clamp(0.0, 1.0) } else { 0.0 }
        };
        let share: Vec<f64> = (0..count).map(share).collect();
        let rows: Vec<Vec<f64>> = rest
            .iter()
            .map(|means| {
                let (p, _, d) = both(means);
                (0..count).map(|k| p[k] - share[k] * d[k]).collect()
            })
            .collect();
        let elements: Vec<Mat<f64>> = rest
            .iter()
            .map(|means| orbitals.transpose() * self.total(means) * all.as_ref())
            .collect();
        let share = first.len() as f64 / rest.len() as f64;
        Ok(second_order(&rows, &elements, share))
    }

    /// Most waves of the grid: sines, or pairs of plane waves beside the constant.
    fn waves(&self) -> usize {
        if self.ring { self.grid.len() / 2 } else { self.grid.len() }
    }

    /// Wave number `k`, in 1/bohr.
    fn wave_number(&self, k: usize) -> f64 {
        (if self.ring { 2.0 } else { 1.0 }) * PI * k as f64 / self.length
    }

    /// `sum_k f(k) <k| rho |k>` over the sines, or the pairs of plane waves, of the grid.
    fn over_waves(&self, rho: &Mat<f64>, f: impl Fn(usize) -> f64) -> f64 {
        let g = self.grid.len();
        // The matrix of f depends on i - j and, between walls, on i + j: one table of cosine sums is enough.
        let (period, scale, turn) = if self.ring { (g, 2.0, 2.0) } else { (2 * (g + 1), 2.0, 1.0) };
        let unit = turn * PI / if self.ring { g as f64 } else { (g + 1) as f64 };
        let factors: Vec<f64> = (1..=self.waves()).map(f).collect();
        let table: Vec<f64> = (0..period)
            .map(|d| {
                let term = |(k, f): (usize, &f64)| match *f {
                    0.0 => 0.0,
                    f => f * (unit * ((k * d) % period) as f64).cos(),
                };
                (1..).zip(&factors).map(term).sum::<f64>() * scale / period as f64
            })
            .collect();
        let element = |i: usize, j: usize| {
            let image = if self.ring { 0.0 } else { table[(i + j + 2) % period] };
            table[i.abs_diff(j)] - image
        };
        (0..g).map(|i| (0..g).map(|j| element(i, j) * rho[(i, j)]).sum::<f64>()).sum()
    }

    /// `tr(rho t)` of the spin-summed matrix with the kinetic energy `t` of the sine or Fourier grid: the
    /// integral of `1/2 |∇psi|²`.
    fn kinetic(&self, means: &[f64]) -> f64 {
        self.over_waves(&self.total(means), |k| 0.5 * self.wave_number(k).powi(2))
    }

    /// Share of the particles that the grid does not hold: outside of it, or in its highest third of wave numbers.
    fn unresolved(&self, means: &[f64]) -> f64 {
        let particles = self.spins.iter().map(|(_, r)| r.len()).sum::<usize>() as f64;
        let first = first_high(self.waves());
        let high = self.over_waves(&self.total(means), |k| if k >= first { 1.0 } else { 0.0 });
        (means[2 * self.spins.len() * self.size()] + high) / particles
    }

    /// The matrix of one spin summed along its diagonals, by their distance in points.
    fn diagonals(&self, means: &[f64], spin: usize) -> Vec<f64> {
        let (g, size) = (self.grid.len(), self.size());
        let matrix = &means[spin * size..(spin + 1) * size];
        let mut diagonals = vec![0.0; g];
        for i in 0..g {
            for j in 0..g {
                diagonals[i.abs_diff(j)] += matrix[i * g + j];
            }
        }
        diagonals
    }

    /// Momentum density of one spin, or on a ring the occupations of its momenta.
    fn momentum(&self, means: &[f64], spin: usize, momenta: &[f64]) -> Vec<f64> {
        // rho depends on two points, the transform of it at one momentum on their distance only.
        let diagonals = self.diagonals(means, spin);
        let scale = self.spacing / if self.ring { self.length } else { 2.0 * PI };
        let at = |p: &f64| {
            let term = |(d, v): (usize, &f64)| v * (p * self.spacing * d as f64).cos();
            scale * diagonals.iter().enumerate().map(term).sum::<f64>()
        };
        momenta.iter().map(at).collect()
    }

    /// The momenta that are written: all but a share [`BEYOND`] of the particles have one between them.
    ///
    /// On a ring those there are. Elsewhere close enough for sums to be integrals: `n(p)` has no Fourier component beyond
    /// the length of the grid.
    fn momenta(&self, means: &[f64]) -> Vec<f64> {
        let step = self.wave_number(1);
        let most = if self.ring { self.waves() } else { self.grid.len() + 1 };
        let all: Vec<f64> = (0..=most).map(|k| step * k as f64).collect();
        let mut density = vec![0.0; all.len()];
        for spin in 0..self.spins.len() {
            let own = self.momentum(means, spin, &all);
            density.iter_mut().zip(own).for_each(|(d, v)| *d += v);
        }
        let total = density[0] + 2.0 * density[1..].iter().sum::<f64>();
        let mut beyond = 0.0;
        let mut last = most;
        while last > 1 {
            beyond += 2.0 * density[last];
            if beyond > BEYOND * total {
                break;
            }
            last -= 1;
        }
        let (count, step) = if self.ring {
            (last, step)
        } else {
            let count = last.max(MOMENTA);
            (count, all[last] / count as f64)
        };
        (0..=2 * count).map(|m| step * (m as f64 - count as f64)).collect()
    }
}

/// Standard errors of an off-diagonal element, as the orbitals had it, by which two occupations must differ for
/// perturbation theory: the amplitude of either orbital in the other is then below a quarter.
const RESOLVED: f64 = 4.0;

/// Occupations from diagonal elements in orbitals that are not exact: with the correction of second order, and the
/// error of both by the jackknife.
///
/// `rows` are the diagonal elements of each replicate and `elements` its whole rows of the matrix, in orbitals that come
/// from other replicates, `share` times as many.
fn second_order(rows: &[Vec<f64>], elements: &[Mat<f64>], share: f64) -> Values {
    let r = rows.len() as f64;
    let (count, all) = (elements[0].nrows(), elements[0].ncols());
    let mean = |k: usize, j: usize| elements.iter().map(|m| m[(k, j)]).sum::<f64>() / r;
    // Beyond the occupations that are asked for the rest is as good as empty.
    let diagonal: Vec<f64> = (0..all).map(|k| if k < count { mean(k, k) } else { 0.0 }).collect();
    let mut plain = mean_and_error(rows);
    for k in 0..count {
        // Values without each replicate in turn, and with all.
        let total: f64 = rows.iter().map(|row| row[k]).sum();
        let mut without: Vec<f64> = rows.iter().map(|row| (total - row[k]) / (r - 1.0)).collect();
        let mut whole = total / r;
        for j in (0..all).filter(|&j| j != k) {
            let sum = r * mean(k, j);
            let squares: f64 = elements.iter().map(|m| m[(k, j)].powi(2)).sum();
            let variance = (squares - sum * sum / r).max(0.0) / (r - 1.0);
            let gap = diagonal[k] - diagonal[j];
            if gap.abs() <= RESOLVED * (variance / (r * share)).sqrt() {
                continue;
            }
            // The square of the expectation, from all pairs of different replicates.
            let square = |sum: f64, squares: f64, n: f64| (sum * sum - squares) / (n * (n - 1.0));
            whole += square(sum, squares, r) / gap;
            for (w, m) in without.iter_mut().zip(elements) {
                let own = m[(k, j)];
                *w += square(sum - own, squares - own * own, r - 1.0) / gap;
            }
        }
        let middle = without.iter().sum::<f64>() / r;
        let scatter: f64 = without.iter().map(|w| (w - middle).powi(2)).sum();
        plain.values[k] = whole;
        plain.errors[k] = ((r - 1.0) / r * scatter).sqrt();
    }
    plain
}

/// `matrix += scale a b^T`.
fn add_product(matrix: &mut [f64], scale: f64, a: &[f64], b: &[f64]) {
    for (row, &a) in matrix.chunks_exact_mut(b.len()).zip(a) {
        let a = scale * a;
        row.iter_mut().zip(b).for_each(|(m, b)| *m += a * b);
    }
}

impl Observable for DensityMatrix {
    fn length(&self) -> usize {
        // Both estimators, and the number of particles outside of the grid.
        2 * self.spins.len() * self.size() + 1
    }

    fn share(&self) -> usize {
        SHARE
    }

    fn needs_conditional(&self) -> bool {
        true
    }

    fn add(&self, sample: &Sample, sums: &mut [f64]) {
        let g = self.grid.len();
        let (projectors, rest) = sums.split_at_mut(self.spins.len() * g * g);
        let (mcmillan, outside) = rest.split_at_mut(self.spins.len() * g * g);
        if !self.ring {
            let inside = |x: &&f64| (0.0..=self.length).contains(&(**x - self.start));
            outside[0] += (sample.x.len() - sample.x.iter().filter(inside).count()) as f64;
        }
        let mut cardinal = vec![0.0; g];
        for (s, (_, range)) in self.spins.iter().enumerate() {
            let own = s * g * g..(s + 1) * g * g;
            for i in range.clone() {
                let a = &sample.conditional[i * g..(i + 1) * g];
                add_product(&mut projectors[own.clone()], 1.0, a, a);
                // int phi(x') Psi(x') dx' / Psi(x) from the scaled amplitudes.
                let ratio = sample.sign * (sample.log_scale[i] - sample.log_abs).exp();
                self.cardinal(sample.x[i], &mut cardinal);
                add_product(&mut mcmillan[own.clone()], ratio * self.spacing.sqrt(), &cardinal, a);
            }
        }
    }

    fn finish(&self, replicates: &Replicates) -> Result<Vec<Quantity>, EigenFailure> {
        let g = self.grid.len();
        let particles = self.spins.iter().map(|(_, r)| r.len()).sum::<usize>();
        let count = (4 * particles).clamp(12, g);
        let mean = replicates.mean();
        let points = || Axis::points("x", "bohr", self.grid.clone());

        let occupations = self.occupations(replicates, count)?;
        let numbers = (1..=count).map(|k| k as f64).collect();
        let mut out = vec![
            Quantity::new(
                "occupations",
                "",
                "occupations of the natural orbitals of the spin-summed one-body density matrix; all of them sum to \
                 the number of particles",
                occupations,
            )
            .along(Axis::points("orbital", "", numbers)),
        ];
        let shown = ORBITALS.min(count);
        let orbitals = self.orbitals(&mean, shown)?;
        let mut values = Vec::with_capacity(shown * g);
        for k in 0..shown {
            let largest = (0..g)
                .map(|i| orbitals[(i, k)])
                .fold(0.0f64, |m, v| if v.abs() > m.abs() { v } else { m });
            let scale = largest.signum() / self.spacing.sqrt();
            values.extend((0..g).map(|i| orbitals[(i, k)] * scale));
        }
        out.push(
            Quantity::new(
                "natural_orbitals",
                "1/bohr^(1/2)",
                "natural orbitals; those of equal occupation are any orthonormal set of their span",
                Values::without_errors(values),
            )
            .along(Axis::points("orbital", "", (1..=shown).map(|k| k as f64).collect()))
            .along(points()),
        );
        let kinetic = replicates.linear(|m| vec![self.kinetic(m)]);
        out.push(Quantity::new(
            "kinetic_gradient",
            "Ha",
            "kinetic energy as the integral of 1/2 |grad psi|², from the density matrix",
            kinetic,
        ));
        let unresolved = replicates.linear(|m| vec![self.unresolved(m)]);
        if unresolved.values[0] > UNRESOLVED || unresolved.values[0].is_nan() {
            out.push(Quantity::new(
                "density_matrix_unresolved",
                "",
                "share of the particles that the grid of the density matrix does not hold: outside of it, or in its \
                 highest third of wave numbers; what follows from the matrix is wrong by as much",
                unresolved,
            ));
        }
        let momenta = self.momenta(&mean);
        for (s, (name, _)) in self.spins.iter().enumerate() {
            let density = replicates.linear(|m| {
                (0..g).map(|i| m[s * self.size() + i * (g + 1)] / self.spacing).collect()
            });
            out.push(
                Quantity::new(
                    format!("smooth_density_{name}"),
                    "1/bohr",
                    "one-body density at points: the diagonal of the density matrix",
                    density,
                )
                .along(points()),
            );
            let matrix = replicates.linear(|m| {
                m[s * self.size()..(s + 1) * self.size()].iter().map(|v| v / self.spacing).collect()
            });
            out.push(
                Quantity::new(
                    format!("density_matrix_{name}"),
                    "1/bohr",
                    "one-body density matrix rho(x, x')",
                    matrix,
                )
                .along(points())
                .along(Axis::points("x'", "bohr", self.grid.clone())),
            );
            let momentum = replicates.linear(|m| self.momentum(m, s, &momenta));
            let (unit, about) = if self.ring {
                ("", "occupations of the momenta 2 pi k / C; their sum is the number of particles")
            } else {
                (
                    "bohr",
                    "momentum distribution n(p); its integral over p is the number of particles",
                )
            };
            out.push(
                Quantity::new(format!("momentum_{name}"), unit, about, momentum)
                    .along(Axis::points("p", "1/bohr", momenta.clone())),
            );
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The density matrix of the two lowest levels of a box of half-width 2.
    fn two_levels(geometry: Geometry) -> (DensityMatrix, Vec<f64>) {
        let (start, end) = geometry.interval();
        let (g, length) = (63, end - start);
        let (spacing, waves) = match geometry {
            Geometry::Box { .. } => (length / 64.0, [PI / length, 2.0 * PI / length]),
            Geometry::Line => unreachable!("not tested here"),
            Geometry::Ring { .. } => (length / 63.0, [2.0 * PI / length, 4.0 * PI / length]),
        };
        let first = if matches!(geometry, Geometry::Box { .. }) { 1.0 } else { 0.0 };
        let grid: Vec<f64> = (0..g).map(|j| start + spacing * (j as f64 + first)).collect();
        let phi = |k: usize, j: usize| {
            (2.0 / length).sqrt() * (waves[k] * (grid[j] - start)).sin() * spacing.sqrt()
        };
        let matrix =
            (0..g * g).map(|ij| (0..2).map(|k| phi(k, ij / g) * phi(k, ij % g)).sum()).collect();
        let ring = matches!(geometry, Geometry::Ring { .. });
        (DensityMatrix { grid, spacing, start, length, ring, spins: vec![("up", 0..2)] }, matrix)
    }

    /// A weak level seen through orbitals that are turned into a strong one by a small angle.
    #[test]
    fn the_second_order_of_wrong_orbitals_is_taken_out() {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand_pcg::Pcg64::seed_from_u64(4);
        let (strong, weak, angle) = (1.0, 1e-3, 0.01f64);
        let (s, c) = angle.sin_cos();
        let turned = [
            [c * c * strong + s * s * weak, s * c * (strong - weak)],
            [s * c * (strong - weak), s * s * strong + c * c * weak],
        ];
        let elements: Vec<Mat<f64>> = (0..24)
            .map(|_| {
                let noise = 1e-3 * rng.random_range(-1.0..1.0);
                Mat::from_fn(2, 2, |i, j| turned[i][j] + if i == j { 0.0 } else { noise })
            })
            .collect();
        let rows: Vec<Vec<f64>> = elements.iter().map(|m| vec![m[(0, 0)], m[(1, 1)]]).collect();
        assert!((rows[0][1] / weak - 1.1).abs() < 1e-3, "ten per cent too large");
        let found = second_order(&rows, &elements, 1.0 / 3.0);
        let deviation = (found.values[1] - weak) / found.errors[1];
        assert!(deviation.abs() < 3.0 && found.errors[1] < 0.01 * weak, "{found:?}");
        // Levels that noise does not tell apart are left alone.
        let close: Vec<Mat<f64>> = elements
            .iter()
            .map(|m| Mat::from_fn(2, 2, |i, j| if i == j { 0.5 } else { m[(i, j)] }))
            .collect();
        let rows = vec![vec![0.5, 0.5]; 24];
        assert_eq!(second_order(&rows, &close, 1.0 / 3.0).values, [0.5, 0.5]);
    }

    #[test]
    fn two_levels_have_their_occupations_kinetic_energy_and_momenta() {
        for (geometry, exact) in [
            (Geometry::Box { half_width: 2.0 }, 0.5 * (PI / 4.0).powi(2) * 5.0),
            (Geometry::Ring { circumference: 4.0 }, 0.5 * (PI / 2.0).powi(2) * 5.0),
        ] {
            let (observable, matrix) = two_levels(geometry);
            let kinetic = observable.kinetic(&matrix);
            assert!((kinetic - exact).abs() < 1e-10, "{geometry:?}: {kinetic} {exact}");
            let both = [&matrix[..], &matrix[..]].concat();
            let replicates = Replicates::new(vec![both.clone(); 16]);
            let n = observable.occupations(&replicates, 4).unwrap().values;
            let known = [1.0, 1.0, 0.0, 0.0];
            assert!(n.iter().zip(known).all(|(a, b): (&f64, f64)| (a - b).abs() < 1e-12), "{n:?}");
            // One of the levels, from its values on the grid.
            let level = |x: f64| (2.0 * PI / 4.0 * (x + 2.0)).sin();
            let mut cardinal = vec![0.0; observable.grid.len()];
            observable.cardinal(0.3217, &mut cardinal);
            let value: f64 =
                observable.grid.iter().zip(&cardinal).map(|(x, c)| level(*x) * c).sum();
            let value = value * observable.spacing.sqrt();
            assert!((value - level(0.3217)).abs() < 1e-10, "{value}");
            let momenta = observable.momenta(&matrix);
            let n = observable.momentum(&matrix, 0, &momenta);
            let energy = |weight: f64| {
                let both = momenta.iter().zip(&n);
                both.map(|(p, n)| [*n, 0.5 * p * p * n])
                    .fold([0.0; 2], |a, b| [a[0] + weight * b[0], a[1] + weight * b[1]])
            };
            if observable.ring {
                // Plane waves: half a particle in each of four.
                let [total, kinetic] = energy(1.0);
                assert!((total - 2.0).abs() < 1e-10 && (kinetic - exact).abs() < 1e-9);
                let expected = |p: f64| {
                    let k = (p * 4.0 / (2.0 * PI)).round().abs();
                    if k == 1.0 || k == 2.0 { 0.5 } else { 0.0 }
                };
                assert!(momenta.iter().zip(&n).all(|(p, n)| (n - expected(*p)).abs() < 1e-12));
            } else {
                // The levels end with a kink at the walls, so that n(p) falls as p^-4 only.
                let [total, _] = energy(momenta[1] - momenta[0]);
                assert!((total - 2.0).abs() < 1e-4, "{total}");
            }
            assert!(observable.unresolved(&[&both[..], &[0.0]].concat()) < 1e-12);
        }
    }
}
