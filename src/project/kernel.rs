//! Moves of particles that never meet: Brownian motion conditioned on that is sampled exactly, and its density is known.
//!
//! On the line the sorted eigenvalues of `diag(m) + sqrt(tau) GUE` are such particles (F. J. Dyson, J. Math. Phys. 3, 1191
//! (1962)); on a ring the eigenangles of Brownian motion on U(n), for odd n, and between walls those of USp(2n) (P. J.
//! Forrester, "Log-gases and random matrices", chapter 11). Their density is `h(y) / h(m) |det g(m_i, y_j)|` (S. Karlin, J. McGregor, Pacific
//! J. Math. 9, 1141 (1959)) with the Gaussian `g`, its periodic sum, or its odd images at the walls, and with the
//! harmonic function `h` that vanishes where particles meet or touch a wall.

use crate::sampling::open_uniform;
use crate::system::{Geometry, Sector};
use nalgebra::{Complex, DMatrix};
use rand_pcg::Pcg64;
use std::f64::consts::{FRAC_1_SQRT_2, PI, SQRT_2};
use std::ops::Range;

/// Normal numbers by the method of G. E. P. Box and M. E. Muller, Ann. Math. Stat. 29, 610 (1958).
#[derive(Debug, Default)]
pub(super) struct Normal {
    spare: Option<f64>,
}

impl Normal {
    pub(super) fn next(&mut self, rng: &mut Pcg64) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * open_uniform(rng).ln()).sqrt();
        let (sin, cos) = (2.0 * PI * open_uniform(rng)).sin_cos();
        self.spare = Some(radius * sin);
        radius * cos
    }
}

/// What the particles of a spin cannot do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Space {
    /// Meet.
    Line,
    /// Meet or touch a wall at either end, in bohr from the middle.
    Walls(f64),
    /// Meet around a circle of this length.
    Ring(f64),
}

impl Space {
    /// The space of a geometry; walls are only felt where particles come near them.
    pub(super) fn of(geometry: &Geometry, walls: bool) -> Self {
        match *geometry {
            Geometry::Box { half_width } if walls => Space::Walls(half_width),
            Geometry::Box { .. } | Geometry::Line => Space::Line,
            Geometry::Ring { circumference } => Space::Ring(circumference),
        }
    }

    /// Largest step for so many particles: of longer ones a second winding would count.
    pub(super) fn longest_step(self, particles: usize) -> f64 {
        let n = particles.max(1) as f64;
        match self {
            Space::Line => f64::INFINITY,
            Space::Walls(half_width) => 0.1 * (2.0 * half_width / PI).powi(2) / n,
            Space::Ring(length) => 0.4 * (0.5 * length / PI).powi(2) / n,
        }
    }
}

/// Moves of one length in imaginary time.
#[derive(Debug)]
pub(super) struct Kernel {
    space: Space,
    spins: Vec<Range<usize>>,
    /// In 1/Hartree, or bohr².
    tau: f64,
    normal: Normal,
    matrix: Vec<f64>,
}

impl Kernel {
    pub(super) fn new(space: Space, sector: Sector, tau: f64) -> Self {
        let spins = sector.spins().collect();
        Kernel { space, spins, tau, normal: Normal::default(), matrix: Vec::new() }
    }

    pub(super) fn space(&self) -> Space {
        self.space
    }

    /// `x + tau (v - grad log h)`: what is left of the drift `v` is smooth where particles meet.
    pub(super) fn mean(&self, x: &[f64], v: &[f64], out: &mut [f64]) {
        out.copy_from_slice(v);
        for spin in &self.spins {
            for i in spin.clone() {
                if let Space::Walls(half) = self.space {
                    let k = 0.5 * PI / half;
                    out[i] -= k / (k * (x[i] + half)).tan();
                }
                for j in spin.start..i {
                    let (a, b) = match self.space {
                        Space::Line => {
                            let r = 1.0 / (x[i] - x[j]);
                            (r, -r)
                        }
                        Space::Ring(length) => {
                            let k = PI / length;
                            let r = k / (k * (x[i] - x[j])).tan();
                            (r, -r)
                        }
                        Space::Walls(half) => {
                            let k = 0.5 * PI / half;
                            let (si, ci) = (k * (x[i] + half)).sin_cos();
                            let (sj, cj) = (k * (x[j] + half)).sin_cos();
                            (-k * si / (ci - cj), k * sj / (ci - cj))
                        }
                    };
                    out[i] -= a;
                    out[j] -= b;
                }
            }
        }
        let bound = 2.0 / self.tau.sqrt();
        for (o, x) in out.iter_mut().zip(x) {
            *o = x + self.tau * o.clamp(-bound, bound);
        }
    }

    /// Where particles are after the step, sorted; not a number in the rare case that cannot be computed.
    pub(super) fn propose(&mut self, mean: &[f64], rng: &mut Pcg64, out: &mut [f64]) {
        for s in 0..self.spins.len() {
            let spin = self.spins[s].clone();
            let (mean, out) = (&mean[spin.clone()], &mut out[spin]);
            match self.space {
                Space::Line => self.line(mean, rng, out),
                Space::Ring(length) => self.ring(length, mean, rng, out),
                Space::Walls(half) => self.walls(half, mean, rng, out),
            }
            out.sort_by(f64::total_cmp);
        }
    }

    fn line(&mut self, mean: &[f64], rng: &mut Pcg64, out: &mut [f64]) {
        let root = self.tau.sqrt();
        match mean.len() {
            1 => out[0] = mean[0] + root * self.normal.next(rng),
            // The distance is that from the origin of a point in three dimensions.
            2 => {
                let middle = 0.5 * (mean[0] + mean[1]);
                let middle = middle + root * FRAC_1_SQRT_2 * self.normal.next(rng);
                let spread = root * SQRT_2;
                let along = mean[1] - mean[0] + spread * self.normal.next(rng);
                let (b, c) = (self.normal.next(rng), self.normal.next(rng));
                let d = along.hypot(spread * b.hypot(c));
                (out[0], out[1]) = (middle - 0.5 * d, middle + 0.5 * d);
            }
            n => {
                let mut h = self.hermitian(n, root, rng);
                (0..n).for_each(|i| h[(i, i)] += mean[i]);
                out.copy_from_slice(h.symmetric_eigenvalues().as_slice());
            }
        }
    }

    /// A Hermitian matrix of the Gaussian unitary ensemble, its diagonal of this standard deviation.
    fn hermitian(&mut self, n: usize, root: f64, rng: &mut Pcg64) -> DMatrix<Complex<f64>> {
        let half = root * FRAC_1_SQRT_2;
        let mut h = DMatrix::zeros(n, n);
        for i in 0..n {
            h[(i, i)] = Complex::new(root * self.normal.next(rng), 0.0);
            for j in 0..i {
                let z = Complex::new(half * self.normal.next(rng), half * self.normal.next(rng));
                (h[(i, j)], h[(j, i)]) = (z, z.conj());
            }
        }
        h
    }

    /// `exp(iH)` where `H` is drawn by `draw` and kept with the chance that `roots` gives for its eigenvalues: the product over
    /// the positive roots of `sin(a/2) / (a/2)`, by which the heat kernel of the group differs from the image of a
    /// Gaussian of its algebra.
    fn group(
        &mut self,
        rng: &mut Pcg64,
        mut draw: impl FnMut(&mut Self, &mut Pcg64) -> DMatrix<Complex<f64>>,
        chance: impl Fn(&[f64]) -> f64,
    ) -> DMatrix<Complex<f64>> {
        loop {
            let eigen = draw(self, rng).symmetric_eigen();
            if open_uniform(rng) < chance(eigen.eigenvalues.as_slice()) {
                let mut scaled = eigen.eigenvectors.clone();
                for (mut column, angle) in scaled.column_iter_mut().zip(eigen.eigenvalues.iter()) {
                    column *= Complex::from_polar(1.0, *angle);
                }
                return scaled * eigen.eigenvectors.adjoint();
            }
        }
    }

    fn ring(&mut self, length: f64, mean: &[f64], rng: &mut Pcg64, out: &mut [f64]) {
        let n = mean.len();
        let angle = 2.0 * PI / length;
        let root = angle * self.tau.sqrt();
        if n == 1 {
            out[0] = wrapped(mean[0] + self.tau.sqrt() * self.normal.next(rng), length);
            return;
        }
        let mut u = self.group(
            rng,
            |kernel, rng| kernel.hermitian(n, root, rng),
            |l| {
                (0..n).map(|i| (0..i).map(|j| sinc(0.5 * (l[i] - l[j]))).product::<f64>()).product()
            },
        );
        for (i, mut row) in u.row_iter_mut().enumerate() {
            row *= Complex::from_polar(1.0, angle * mean[i]);
        }
        // Cayley's transform, cut in the middle of the widest gap.
        let mut angles: Vec<f64> = mean.iter().map(|m| (angle * m).rem_euclid(2.0 * PI)).collect();
        angles.sort_by(f64::total_cmp);
        let mut widest = (angles[0] + 2.0 * PI - angles[n - 1], angles[n - 1]);
        for pair in angles.windows(2) {
            if pair[1] - pair[0] > widest.0 {
                widest = (pair[1] - pair[0], pair[0]);
            }
        }
        let middle = widest.1 + 0.5 * widest.0 + PI;
        let u = u * Complex::from_polar(1.0, -middle);
        let one = DMatrix::<Complex<f64>>::identity(n, n);
        let Some(inverse) = (&one + &u).try_inverse() else {
            out.fill(f64::NAN);
            return;
        };
        let cayley = (one - u) * inverse * Complex::i();
        let cayley = (&cayley + cayley.adjoint()) * Complex::new(0.5, 0.0);
        for (o, tangent) in out.iter_mut().zip(cayley.symmetric_eigenvalues().iter()) {
            *o = wrapped((2.0 * tangent.atan() + middle) / angle, length);
        }
    }

    fn walls(&mut self, half: f64, mean: &[f64], rng: &mut Pcg64, out: &mut [f64]) {
        let n = mean.len();
        let k = 0.5 * PI / half;
        let root = k * self.tau.sqrt();
        // The algebra: [[a, b], [b*, -a*]] with a Hermitian and b symmetric.
        let draw = |kernel: &mut Self, rng: &mut Pcg64| {
            let a = kernel.hermitian(n, root, rng);
            let mut h = DMatrix::zeros(2 * n, 2 * n);
            for i in 0..n {
                for j in 0..n {
                    h[(i, j)] = a[(i, j)];
                    h[(n + i, n + j)] = -a[(i, j)].conj();
                }
                for j in 0..=i {
                    let size = if i == j { root } else { root * FRAC_1_SQRT_2 };
                    let z = Complex::new(
                        size * kernel.normal.next(rng),
                        size * kernel.normal.next(rng),
                    );
                    (h[(i, n + j)], h[(j, n + i)]) = (z, z);
                    (h[(n + i, j)], h[(n + j, i)]) = (z.conj(), z.conj());
                }
            }
            h
        };
        // Eigenvalues come in pairs of both signs: the positive ones are the coordinates.
        let chance = |l: &[f64]| {
            let mut l = l.to_vec();
            l.sort_by(f64::total_cmp);
            let l = &l[n..];
            let pairs = |i: usize| {
                (0..i).map(move |j| sinc(0.5 * (l[i] - l[j])) * sinc(0.5 * (l[i] + l[j])))
            };
            (0..n).map(|i| sinc(l[i]) * pairs(i).product::<f64>()).product()
        };
        let mut u = self.group(rng, draw, chance);
        for (i, mut row) in u.row_iter_mut().enumerate() {
            let angle = k * (mean[i % n] + half);
            row *= Complex::from_polar(1.0, if i < n { angle } else { -angle });
        }
        let cosines = (&u + u.adjoint()) * Complex::new(0.5, 0.0);
        let mut cosines = cosines.symmetric_eigenvalues().as_slice().to_vec();
        cosines.sort_by(f64::total_cmp);
        for (o, pair) in out.iter_mut().zip(cosines.chunks_exact(2)) {
            *o = (0.5 * (pair[0] + pair[1])).clamp(-1.0, 1.0).acos() / k - half;
        }
    }

    /// Logarithm of the density of `y` after a step from `mean`, up to a constant that depends on neither.
    pub(super) fn log_density(&mut self, mean: &[f64], y: &[f64]) -> f64 {
        let mut total = self.log_harmonic(y) - self.log_harmonic(mean);
        let w = 0.5 / self.tau;
        for spin in &self.spins {
            let (a, b) = (&mean[spin.clone()], &y[spin.clone()]);
            self.matrix.clear();
            for &a in a {
                // Rows relative to their largest Gaussian.
                let near = |b: f64| match self.space {
                    Space::Ring(length) => wrapped(a - b, length),
                    _ => a - b,
                };
                let least = b.iter().map(|&b| near(b).powi(2)).fold(f64::INFINITY, f64::min);
                total -= w * least;
                let g = |d: f64| (-w * (d * d - least)).exp();
                self.matrix.extend(b.iter().map(|&b| match self.space {
                    Space::Line => g(a - b),
                    Space::Ring(length) => {
                        let d = near(b);
                        g(d) + g(d - length) + g(d + length)
                    }
                    Space::Walls(half) => {
                        let (d, s) = (a - b, a + b);
                        g(d) + g(d - 4.0 * half) + g(d + 4.0 * half)
                            - g(s - 2.0 * half)
                            - g(s + 2.0 * half)
                    }
                }));
            }
            total += log_determinant(&mut self.matrix, a.len());
        }
        total
    }

    fn log_harmonic(&self, x: &[f64]) -> f64 {
        let mut log = 0.0;
        let mut product = 1.0f64;
        let mut times = |factor: f64| {
            product *= factor.abs();
            if !(1e-200..1e200).contains(&product) {
                log += product.ln();
                product = 1.0;
            }
        };
        for spin in &self.spins {
            for i in spin.clone() {
                if let Space::Walls(half) = self.space {
                    times((0.5 * PI * (x[i] + half) / half).sin());
                }
                for j in spin.start..i {
                    times(match self.space {
                        Space::Line => x[i] - x[j],
                        Space::Ring(length) => (PI * (x[i] - x[j]) / length).sin(),
                        Space::Walls(half) => {
                            // A difference of cosines.
                            let k = 0.25 * PI / half;
                            (k * (x[i] - x[j])).sin() * (k * (x[i] + x[j] + 2.0 * half)).sin()
                        }
                    });
                }
            }
        }
        log + product.ln()
    }
}

/// The place of a circle in `[-length/2, length/2)`.
pub(super) fn wrapped(x: f64, length: f64) -> f64 {
    let x = x - length * (x / length).round();
    if x >= 0.5 * length { x - length } else { x }
}

/// `sin(x) / x` where it is the first arch, 0 beyond.
fn sinc(x: f64) -> f64 {
    match x.abs() {
        x if x >= PI => 0.0,
        x if x < 1e-8 => 1.0,
        x => x.sin() / x,
    }
}

/// Logarithm of the size of a determinant, by elimination with pivots.
fn log_determinant(m: &mut [f64], n: usize) -> f64 {
    let mut log = 0.0;
    for k in 0..n {
        let mut best = k;
        for i in k + 1..n {
            if m[i * n + k].abs() > m[best * n + k].abs() {
                best = i;
            }
        }
        if best != k {
            for j in k..n {
                m.swap(k * n + j, best * n + j);
            }
        }
        let pivot = m[k * n + k];
        log += pivot.abs().ln();
        if pivot == 0.0 {
            return f64::NEG_INFINITY;
        }
        for i in k + 1..n {
            let f = m[i * n + k] / pivot;
            if f != 0.0 {
                for j in k + 1..n {
                    m[i * n + j] -= f * m[k * n + j];
                }
            }
        }
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    /// Histograms of moves against the density, which must sum to one over the chamber with the same constant for all starts.
    #[test]
    fn moves_have_their_density_in_every_space() {
        for space in [Space::Line, Space::Walls(1.0), Space::Ring(2.0)] {
            let n = if matches!(space, Space::Ring(_)) { 3 } else { 2 };
            let tau = 0.02;
            let sector = Sector::new(n, 0);
            let mut kernel = Kernel::new(space, sector, tau);
            let mut rng = Pcg64::seed_from_u64(5);
            let starts: [&[f64]; 2] = [&[-0.9, -0.7, 0.1], &[-0.1, 0.15, 0.95]];
            let mut constants = Vec::new();
            for start in starts {
                let start = &start[..n];
                // The mean of exp(-log q) over samples is the volume of what they reach, in units of the constant: cut to a
                // small cube around a typical place, it is the number of hits times that.
                let mut y = vec![0.0; n];
                let mut inside = 0.0;
                let mut expected = 0.0;
                let centre: Vec<f64> = {
                    kernel.propose(start, &mut rng, &mut y);
                    y.clone()
                };
                let width = 0.12;
                let draws = 40_000;
                for _ in 0..draws {
                    kernel.propose(start, &mut rng, &mut y);
                    assert!(y.windows(2).all(|w| w[0] < w[1]), "{y:?}");
                    if y.iter().zip(&centre).all(|(a, b)| (a - b).abs() < width) {
                        inside += 1.0;
                    }
                }
                // The integral of the density over the cube, by a midpoint rule.
                let m = 24usize;
                let h = 2.0 * width / m as f64;
                for cell in 0..m.pow(n as u32) {
                    let mut rest = cell;
                    let place: Vec<f64> = centre
                        .iter()
                        .map(|c| {
                            let k = rest % m;
                            rest /= m;
                            c - width + (k as f64 + 0.5) * h
                        })
                        .collect();
                    let allowed = place.windows(2).all(|w| w[0] < w[1])
                        && match space {
                            Space::Line => true,
                            Space::Walls(l) | Space::Ring(l) => {
                                let l = if matches!(space, Space::Ring(_)) { 0.5 * l } else { l };
                                place.iter().all(|x| x.abs() < l)
                            }
                        };
                    if allowed {
                        expected += kernel.log_density(start, &place).exp() * h.powi(n as i32);
                    }
                }
                constants.push((inside / draws as f64 / expected, inside));
            }
            let [(a, na), (b, nb)] = constants[..] else { unreachable!() };
            let error = (1.0 / f64::sqrt(na)).hypot(1.0 / f64::sqrt(nb));
            assert!(na > 300.0 && nb > 300.0, "{space:?} {constants:?}");
            assert!((a / b - 1.0).abs() < 4.0 * error + 0.01, "{space:?}: {constants:?}");
        }
    }
}
