//! A sum of determinants over orbitals that both spins share, with an exact sampler.
//!
//! `psi_0 = sum_IJ c_IJ D_I(up) D_J(down)` with `D_I = det phi_{I_j}(theta_i)`, orthonormal `phi_p` and
//! `sum c² = 1`: normalised on the fundamental domain, where the `D_I` of one spin are orthonormal. All `D_I` of a
//! spin come from Laplace's expansion along one particle after the other,
//! `D_S(1..k) = sum_{s in S} ± phi_s(theta_k) D_{S \ s}(1..k-1)`: no division, so nodes of single determinants
//! do no harm, and the same code carries jets and is differentiated in reverse.
//!
//! Samples: the density of the next particle, whatever the others do, is `sum_pq gamma_pq phi_p phi_q / k` with the
//! one-body density matrix `gamma_pq = <a_p Psi | a_q Psi>` of the state of the `k` that are left; with the particle
//! at `theta` that state becomes `sum_p phi_p(theta) a_p Psi`. This is the chain rule of probability in second
//! quantisation, and for a single determinant the sampler of J. B. Hough, M. Krishnapur, Y. Peres and B. Virág
//! (Probability Surveys 3, 206 (2006)). The cumulative distribution is a Fourier series: one uniform makes one particle.

use super::determinants::lift;
use super::lanes::Minors;
use super::series::{Domain, Mixture, Products, QuantileWork, Series};
use super::{BaseLanes, BaseState};
use crate::exact::strings::{StringSpace, colexicographic};
use crate::math::scalar::Scalar;
use crate::math::vector::lanes::{LANES, Lanes, add_product, each, every, product, scaled, sum};
use crate::math::vector::widest;
use crate::system::Sector;
use crate::wavefunction::journey::{Journey, ZERO};
use faer::Mat;
use std::cmp::Ordering;
use std::sync::Arc;

/// Strings of `k` particles, each with the strings of `k - 1` that it has when one orbital is taken out.
#[derive(Clone, Debug)]
struct Level {
    particles: usize,
    strings: usize,
    /// `(orbital, address of the rest)`, `particles` entries for every string, by ascending orbital.
    removals: Vec<(usize, usize)>,
    /// The other way round: of every rest `(orbital, address of the string, sign)`, by ascending orbital.
    additions: Vec<Vec<(usize, usize, f64)>>,
}

impl Level {
    /// The removals of a string, with the sign of moving the orbital to the end.
    fn removals(&self, string: usize) -> impl Iterator<Item = (f64, usize, usize)> + '_ {
        let k = self.particles;
        let sign = move |place: usize| if (k - 1 - place).is_multiple_of(2) { 1.0 } else { -1.0 };
        let row = &self.removals[string * k..(string + 1) * k];
        row.iter().enumerate().map(move |(place, &(orbital, rest))| (sign(place), orbital, rest))
    }
}

/// The levels of 1 to as many particles as the `strings` have, which are colexicographic; below them are those that are left
/// when orbitals are taken out.
fn levels(strings: &[Vec<usize>]) -> Vec<Level> {
    let particles = strings.first().map_or(0, Vec::len);
    let mut levels = Vec::with_capacity(particles);
    let mut above = strings.to_vec();
    for k in (1..=particles).rev() {
        let without = |s: &[usize], place: usize| [&s[..place], &s[place + 1..]].concat();
        let rests = || above.iter().flat_map(|s| (0..k).map(move |place| without(s, place)));
        let mut below: Vec<Vec<usize>> = rests().collect();
        below.sort_unstable_by(|a, b| colexicographic(a, b));
        below.dedup();
        let rank = |rest: &[usize]| below.partition_point(|b| colexicographic(b, rest).is_lt());
        let orbitals = above.iter().flatten().copied();
        let removals = orbitals.zip(rests().map(|r| rank(&r))).collect();
        let additions = vec![Vec::new(); below.len()];
        let mut level = Level { particles: k, strings: above.len(), removals, additions };
        for string in 0..level.strings {
            let own: Vec<_> = level.removals(string).collect();
            for (sign, orbital, rest) in own {
                level.additions[rest].push((orbital, string, sign));
            }
        }
        level.additions.iter_mut().for_each(|a| a.sort_unstable_by_key(|a| a.0));
        levels.push(level);
        above = below;
    }
    levels.reverse();
    levels
}

/// All minors of the columns of `c`: the determinants of as many rows as there are columns, by the address of the
/// string of rows.
pub fn minors(c: &Mat<f64>) -> Vec<f64> {
    let mut below = vec![1.0];
    let strings = StringSpace::new(c.nrows(), c.ncols()).all();
    for (k, level) in levels(&strings).iter().enumerate() {
        let minor = |s| level.removals(s).map(|(sign, row, rest)| sign * c[(row, k)] * below[rest]);
        below = (0..level.strings).map(|s| minor(s).sum()).collect();
    }
    below
}

/// A sum of determinants.
#[derive(Clone, Debug)]
pub struct Expansion {
    sector: Sector,
    series: Arc<Series>,
    products: Arc<Products>,
    /// Levels of spin up and of spin down.
    levels: Arc<[Vec<Level>; 2]>,
    /// `c_IJ`, row-major.
    coefficients: Vec<f64>,
    /// The same without zeros.
    rows: Rows,
    /// One-body density matrices of the spins that have particles, row-major.
    densities: Vec<Vec<f64>>,
    /// The density of the particle that is drawn first.
    first: Option<Mixture>,
}

/// The coefficients that are not zero, row by row.
#[derive(Clone, Debug)]
struct Rows {
    /// Where each row ends.
    ends: Vec<usize>,
    /// Column and coefficient.
    entries: Vec<(usize, f64)>,
}

impl Rows {
    fn new(coefficients: &[f64], columns: usize) -> Self {
        let mut rows = Rows { ends: Vec::new(), entries: Vec::new() };
        for row in coefficients.chunks_exact(columns) {
            let counts = row.iter().enumerate().filter(|(_, c)| **c != 0.0);
            rows.entries.extend(counts.map(|(j, &c)| (j, c)));
            rows.ends.push(rows.entries.len());
        }
        rows
    }

    /// The columns and coefficients of each row.
    fn iter(&self) -> impl Iterator<Item = &[(usize, f64)]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.entries[start..end])
    }
}

/// What the reverse sweep needs again, and scratch memory.
#[derive(Clone, Debug, Default)]
pub struct ExpansionTrace<T> {
    /// Orbitals and their slopes at the particles, row-major in (particle, orbital).
    values: Vec<T>,
    slopes: Vec<T>,
    /// Determinants of the first 0, 1, .. particles, of spin up and of spin down.
    minors: [Vec<Vec<T>>; 2],
    psi: T,
    bars: [Vec<T>; 2],
    plain: [Vec<f64>; 4],
}

impl Expansion {
    /// From the coefficients of the orbitals (columns; see [`Series::new`]) and those of the determinants, spin-up
    /// strings by spin-down strings in colexicographic order, row-major. They are scaled to norm one.
    pub fn new(
        sector: Sector,
        domain: Domain,
        orbitals: &Mat<f64>,
        coefficients: Vec<f64>,
    ) -> Self {
        let m = orbitals.ncols();
        let all = [sector.up, sector.down].map(|n| StringSpace::new(m, n).all());
        Self::of_strings(sector, domain, orbitals, &all, coefficients)
    }

    /// The same over some strings only, of spin up and of spin down, each list colexicographic.
    pub fn of_strings(
        sector: Sector,
        domain: Domain,
        orbitals: &Mat<f64>,
        strings: &[Vec<Vec<usize>>; 2],
        coefficients: Vec<f64>,
    ) -> Self {
        let series = Series::new(domain, orbitals);
        let levels = [levels(&strings[0]), levels(&strings[1])];
        let products = Products::new(&series);
        Self::over(sector, Arc::new(series), Arc::new(products), Arc::new(levels), coefficients)
    }

    /// Another state over the same orbitals.
    pub fn with_coefficients(&self, coefficients: Vec<f64>) -> Self {
        let Expansion { sector, series, products, levels, .. } = self;
        Self::over(
            *sector,
            Arc::clone(series),
            Arc::clone(products),
            Arc::clone(levels),
            coefficients,
        )
    }

    fn over(
        sector: Sector,
        series: Arc<Series>,
        products: Arc<Products>,
        levels: Arc<[Vec<Level>; 2]>,
        mut coefficients: Vec<f64>,
    ) -> Self {
        let norm = coefficients.iter().map(|c| c * c).sum::<f64>().sqrt();
        coefficients.iter_mut().for_each(|c| *c /= norm);
        let m = series.functions();
        let columns = levels[1].last().map_or(1, |l| l.strings);
        let rows = coefficients.len() / columns;
        let c = &coefficients;
        let transposed = (0..columns).flat_map(|j| (0..rows).map(move |i| c[i * columns + j]));
        let mut densities = Vec::new();
        for (rows, levels) in [c.clone(), transposed.collect()].into_iter().zip(&*levels) {
            if let Some(level) = levels.last() {
                densities.push(State { rows }.density(level, m));
            }
        }
        let rows = Rows::new(&coefficients, columns);
        let first = densities.first().map(|gamma| products.mixture(gamma));
        Expansion { sector, series, products, levels, coefficients, rows, densities, first }
    }

    /// One-body density matrix of a spin (numbered among those that have particles), row-major.
    pub fn density_matrix(&self, spin: usize) -> &[f64] {
        &self.densities[spin]
    }

    /// The same with the density matrices of an ensemble of states over these orbitals, for what follows its density.
    pub fn with_densities(mut self, densities: Vec<Vec<f64>>) -> Self {
        self.densities = densities;
        self
    }
}

impl BaseState for Expansion {
    type Trace<T: Scalar> = ExpansionTrace<T>;

    /// Number of spins that have particles.
    fn spins(&self) -> usize {
        self.densities.len()
    }

    /// The density of one spin (numbered among those that have particles) at an angle, per radian.
    fn density(&self, spin: usize, theta: f64) -> f64 {
        let m = self.series.functions();
        let mut values = [vec![0.0; m], Vec::new(), Vec::new(), Vec::new()];
        self.series.evaluate(theta, 1, &mut values);
        let (gamma, phi) = (&self.densities[spin], &values[0]);
        (0..m * m).map(|pq| gamma[pq] * phi[pq / m] * phi[pq % m]).sum()
    }

    /// Number of particles below each point of an even grid of angles.
    fn below(&self) -> Vec<f64> {
        let m = self.series.functions();
        let sum: Vec<f64> =
            (0..m * m).map(|pq| self.densities.iter().map(|d| d[pq]).sum()).collect();
        self.products.below(&sum).collect()
    }

    /// First and last angle.
    fn ends(&self) -> (f64, f64) {
        self.series.domain().ends()
    }

    /// `log |psi_0|` and sign.
    fn forward<T: Scalar>(
        &self,
        angles: &[T],
        reverse: bool,
        trace: &mut ExpansionTrace<T>,
    ) -> (T, f64) {
        let ExpansionTrace { values, slopes, minors, psi, bars, plain } = trace;
        let m = self.series.functions();
        let orders = 1 + T::ORDER + usize::from(reverse);
        values.clear();
        slopes.clear();
        plain.iter_mut().for_each(|p| p.resize(m, 0.0));
        for &t in angles {
            self.series.evaluate(t.value(), orders, plain);
            for p in 0..m {
                let at = |d: usize| plain[d][p];
                values.push(lift(t, at));
                if reverse {
                    slopes.push(lift(t, |e| at(1 + e)));
                }
            }
        }
        let starts = [0, self.sector.up];
        for ((levels, minors), start) in self.levels.iter().zip(&mut *minors).zip(starts) {
            minors.resize(levels.len() + 1, Vec::new());
            minors[0].clear();
            minors[0].push(T::one());
            for (k, level) in levels.iter().enumerate() {
                let phi = &values[(start + k) * m..(start + k + 1) * m];
                let (smaller, larger) = minors.split_at_mut(k + 1);
                larger[0].clear();
                larger[0].extend((0..level.strings).map(|s| {
                    level.removals(s).fold(T::zero(), |sum, (sign, p, rest)| {
                        sum + phi[p] * smaller[k][rest] * sign
                    })
                }));
            }
        }
        let ([up, down], [bar, _]) = (&*minors, bars);
        let (up, down) = (&up[self.sector.up], &down[self.sector.down]);
        // What each determinant of spin up is multiplied by: also its adjoint.
        bar.clear();
        bar.extend(
            self.rows
                .iter()
                .map(|row| row.iter().fold(T::zero(), |sum, &(j, c)| sum.add_scaled(c, down[j]))),
        );
        *psi = bar.iter().zip(up).fold(T::zero(), |sum, (&b, &u)| sum + b * u);
        (psi.abs().ln(), if psi.value() < 0.0 { -1.0 } else { 1.0 })
    }

    fn lanes(&self, journey: &mut Journey, work: &mut BaseLanes) -> bool {
        journey.measure();
        work.evaluate(&self.series, 0..journey.n, journey);
        sum_of_determinants(self, work, journey);
        true
    }

    /// Adjoints of the angles, after [`Self::forward`] with `reverse`.
    fn backward<T: Scalar>(&self, bar: &mut [T], trace: &mut ExpansionTrace<T>) {
        let ExpansionTrace { values, slopes, minors, psi, bars, .. } = trace;
        let m = self.series.functions();
        let inverse = psi.recip();
        let [bar_up, bar_down] = bars;
        let up = &minors[0][self.sector.up];
        let columns = self.coefficients.len() / up.len();
        bar_down.clear();
        bar_down.resize(columns, T::zero());
        for (row, &u) in self.rows.iter().zip(up) {
            let u = u * inverse;
            for &(j, c) in row {
                let bar = &mut bar_down[j];
                *bar = bar.add_scaled(c, u);
            }
        }
        bar_up.iter_mut().for_each(|b| *b = *b * inverse);
        let starts = [0, self.sector.up];
        let mut below = Vec::new();
        for (((levels, minors), start), bars) in
            self.levels.iter().zip(&*minors).zip(starts).zip(bars)
        {
            for (k, level) in levels.iter().enumerate().rev() {
                let row = (start + k) * m..(start + k + 1) * m;
                let (phi, slope) = (&values[row.clone()], &slopes[row]);
                below.clear();
                below.resize(minors[k].len(), T::zero());
                let mut sum = T::zero();
                for (s, &adjoint) in bars.iter().enumerate() {
                    for (sign, p, rest) in level.removals(s) {
                        let adjoint = adjoint * sign;
                        sum += adjoint * slope[p] * minors[k][rest];
                        below[rest] += adjoint * phi[p];
                    }
                }
                bar[start + k] = sum;
                std::mem::swap(bars, &mut below);
            }
        }
    }

    /// Turns one uniform per particle into angles distributed as `|psi_0|²`, ascending within each spin.
    fn sample(&self, uniforms: &[f64], angles: &mut [f64]) {
        self.samples(uniforms, angles.len(), angles);
    }

    fn samples(&self, uniforms: &[f64], n: usize, angles: &mut [f64]) {
        let m = self.series.functions();
        let samples = angles.len() / n;
        let mut left = Left::default();
        let (mut phi, mut plain, mut work) =
            (Vec::new(), Default::default(), QuantileWork::default());
        let mut next = 0;
        for levels in self.levels.iter() {
            for level in levels.iter().rev() {
                let uniform = |s: usize| if s < samples { uniforms[s * n + next] } else { 0.5 };
                let drawn = match &self.first {
                    Some(first) if next == 0 => {
                        let targets = each(|s| uniform(s) * first.whole());
                        self.products.quantiles_of(first, &targets, samples)
                    }
                    _ => {
                        density(level, m, &left.rows, &mut left.pairs);
                        let mut trace = ZERO;
                        (0..m).for_each(|p| trace = sum(&trace, &left.pairs[p * (p + 3) / 2]));
                        let targets = each(|s| uniform(s) * trace[s]);
                        self.products.quantiles(&left.pairs, &targets, samples, &mut work)
                    }
                };
                (0..samples).for_each(|s| angles[s * n + next] = drawn[s]);
                next += 1;
                if next == n {
                    break;
                }
                self.series.values(&drawn, samples, &mut plain, &mut phi);
                if next > 1 {
                    left.place(level, &phi);
                } else if self.sector.up > 0 {
                    left.begin(level, &self.rows, self.coefficients.len() / level.strings, &phi);
                } else {
                    // Those of no particle of spin up are one row.
                    left.begin(level, &Rows::new(&self.coefficients, 1), 1, &phi);
                }
            }
            // One row is left, that of no particle of this spin: its columns are the strings of the other.
        }
        angles.chunks_exact_mut(n).for_each(|angles| self.sector.sort(angles));
    }
}

widest! {
    /// Adds the logarithm of the sum, by the same formulas as [`Expansion::forward`].
    fn sum_of_determinants(state: &Expansion, work: &mut BaseLanes, journey: &mut Journey) {
        let n = journey.n;
        let m = state.series.functions();
        let BaseLanes { orbitals, minors, sums, along, .. } = work;
        let starts = [0, state.sector.up];
        for ((levels, minors), start) in state.levels.iter().zip(&mut *minors).zip(starts) {
            minors.resize(levels.len() + 1, Minors::default());
            minors[0].clear(1, n);
            minors[0].value[0] = [1.0; LANES];
            for (k, level) in levels.iter().enumerate() {
                let i = start + k;
                let phi = [0, 1, 2].map(|d| &orbitals[d][i * m..(i + 1) * m]);
                let (smaller, larger) = minors.split_at_mut(k + 1);
                place::<FUSED>(level, phi, i, journey, &smaller[k], &mut larger[0], along);
            }
        }
        let [up, down] = &*minors;
        let (up, down) = (&up[state.sector.up], &down[state.sector.down]);
        // What each determinant of spin up is multiplied by.
        sums.clear(up.value.len(), n);
        for (r, row) in state.rows.iter().enumerate() {
            let (mut value, mut laplacian) = (ZERO, ZERO);
            let gradient = &mut sums.gradient[r * n..(r + 1) * n];
            for &(j, c) in row {
                let c = [c; LANES];
                value = add_product::<FUSED>(&c, &down.value[j], &value);
                laplacian = add_product::<FUSED>(&c, &down.laplacian[j], &laplacian);
                for (sum, of) in gradient.iter_mut().zip(&down.gradient[j * n..]) {
                    *sum = add_product::<FUSED>(&c, of, sum);
                }
            }
            (sums.value[r], sums.laplacian[r]) = (value, laplacian);
        }
        let (mut psi, mut laplacian, mut twice) = (ZERO, ZERO, ZERO);
        let gradient = along;
        gradient.clear();
        gradient.resize(n, ZERO);
        for (r, u) in up.value.iter().enumerate() {
            let b = &sums.value[r];
            psi = add_product::<FUSED>(b, u, &psi);
            laplacian = add_product::<FUSED>(&sums.laplacian[r], u, &laplacian);
            laplacian = add_product::<FUSED>(b, &up.laplacian[r], &laplacian);
            let slopes = up.gradient[r * n..].iter().zip(&sums.gradient[r * n..]);
            for (sum, (du, db)) in gradient.iter_mut().zip(slopes) {
                *sum = add_product::<FUSED>(b, du, &add_product::<FUSED>(u, db, sum));
                twice = add_product::<FUSED>(du, db, &twice);
            }
        }
        let inverse = each(|s| 1.0 / psi[s]);
        let bend = each(|s| (laplacian[s] + 2.0 * twice[s]) * inverse[s]);
        journey.log.add_logarithm::<FUSED>(&inverse, gradient, &bend);
    }
}

/// The determinants of one particle more, number `i`, whose orbitals and their derivatives are in `phi`.
#[inline(always)]
fn place<const FUSED: bool>(
    level: &Level,
    phi: [&[Lanes]; 3],
    i: usize,
    journey: &Journey,
    smaller: &Minors,
    larger: &mut Minors,
    along: &mut Vec<Lanes>,
) {
    let n = journey.n;
    larger.clear(level.strings, n);
    let row = &journey.points.gradient[i * n..(i + 1) * n];
    // The slopes of the smaller ones along the angle's gradient.
    along.clear();
    for gradient in smaller.gradient.chunks_exact(n) {
        let mut sum = ZERO;
        for (a, b) in gradient.iter().zip(row) {
            sum = add_product::<FUSED>(a, b, &sum);
        }
        along.push(sum);
    }
    for string in 0..level.strings {
        let gradient = &mut larger.gradient[string * n..(string + 1) * n];
        let (mut value, mut slope, mut bend) = (ZERO, ZERO, ZERO);
        let (mut laplacian, mut crossed) = (ZERO, ZERO);
        for (sign, p, rest) in level.removals(string) {
            let phi = [0, 1, 2].map(|d: usize| &phi[d][p]);
            let phi = [scaled(sign, phi[0]), scaled(sign, phi[1]), scaled(sign, phi[2])];
            let of = &smaller.value[rest];
            value = add_product::<FUSED>(&phi[0], of, &value);
            slope = add_product::<FUSED>(&phi[1], of, &slope);
            bend = add_product::<FUSED>(&phi[2], of, &bend);
            laplacian = add_product::<FUSED>(&phi[0], &smaller.laplacian[rest], &laplacian);
            crossed = add_product::<FUSED>(&phi[1], &along[rest], &crossed);
            for (sum, of) in gradient.iter_mut().zip(&smaller.gradient[rest * n..]) {
                *sum = add_product::<FUSED>(&phi[0], of, sum);
            }
        }
        for (sum, of) in gradient.iter_mut().zip(row) {
            *sum = add_product::<FUSED>(&slope, of, sum);
        }
        let square = &journey.gram[i * n + i];
        laplacian = add_product::<FUSED>(&bend, square, &laplacian);
        laplacian = add_product::<FUSED>(&slope, &journey.points.laplacian[i], &laplacian);
        larger.value[string] = value;
        larger.laplacian[string] = each(|s| laplacian[s] + 2.0 * crossed[s]);
    }
}

/// A state of the particles: a row for each string of one spin, row-major.
struct State {
    rows: Vec<f64>,
}

impl State {
    /// `<a_p Psi | a_q Psi>`, row-major.
    fn density(&self, level: &Level, m: usize) -> Vec<f64> {
        let rows: Vec<Lanes> = self.rows.iter().map(|&c| [c; LANES]).collect();
        let mut pairs = Vec::new();
        density(level, m, &rows, &mut pairs);
        let at = |p: usize, q: usize| pairs[p * (p + 1) / 2 + q][0];
        let element = |p: usize, q: usize| match p.cmp(&q) {
            Ordering::Less => 0.5 * at(q, p),
            Ordering::Equal => at(p, p),
            Ordering::Greater => 0.5 * at(p, q),
        };
        (0..m * m).map(|pq| element(pq / m, pq % m)).collect()
    }
}

/// States of the particles that are not yet placed, of eight configurations: a row for each string of one spin, row-major.
#[derive(Default)]
struct Left {
    rows: Vec<Lanes>,
    scratch: Vec<Lanes>,
    /// Weights of the pairs of orbitals in the density.
    pairs: Vec<Lanes>,
}

impl Left {
    /// Places the first particle of a state whose rows are the same for all, with so many columns.
    fn begin(&mut self, level: &Level, rows: &Rows, columns: usize, phi: &[Lanes]) {
        self.rows.clear();
        self.rows.resize(level.additions.len() * columns, ZERO);
        begin(level, rows, columns, phi, &mut self.rows);
        self.normalise();
    }

    /// Places a particle.
    fn place(&mut self, level: &Level, phi: &[Lanes]) {
        let columns = self.rows.len() / level.strings;
        self.scratch.clear();
        self.scratch.resize(level.additions.len() * columns, ZERO);
        take_out(level, columns, phi, &self.rows, &mut self.scratch);
        std::mem::swap(&mut self.rows, &mut self.scratch);
        self.normalise();
    }

    fn normalise(&mut self) {
        normalise(&mut self.rows);
    }
}

widest! {
    /// `<a_p Psi | a_q Psi>` of the pairs `q <= p`, those of different orbitals twice.
    fn density(level: &Level, m: usize, rows: &[Lanes], pairs: &mut Vec<Lanes>) {
        let columns = rows.len() / level.strings;
        pairs.clear();
        pairs.resize(m * (m + 1) / 2, ZERO);
        for additions in &level.additions {
            // The amplitudes of a_p Psi at this rest, for every column.
            for k in 0..additions.len() {
                let (p, s, sign) = additions[k];
                let left = &rows[s * columns..][..columns];
                for j in 0..k + 1 {
                    let (q, t, other) = additions[j];
                    let right = &rows[t * columns..][..columns];
                    let mut dot = ZERO;
                    for c in 0..columns {
                        dot = add_product::<FUSED>(&left[c], &right[c], &dot);
                    }
                    let factor = if p == q { 1.0 } else { 2.0 * sign * other };
                    let pair = &mut pairs[p * (p + 1) / 2 + q];
                    *pair = add_product::<FUSED>(&[factor; LANES], &dot, pair);
                }
            }
        }
    }
}

widest! {
    /// `sum_p phi_p a_p Psi`, where the state is the same for all.
    fn begin(level: &Level, rows: &Rows, columns: usize, phi: &[Lanes], out: &mut [Lanes]) {
        let mut start = 0;
        for s in 0..level.strings {
            let row = &rows.entries[start..rows.ends[s]];
            start = rows.ends[s];
            for (sign, p, rest) in level.removals(s) {
                let factor = scaled(sign, &phi[p]);
                let to = &mut out[rest * columns..][..columns];
                for &(j, c) in row {
                    to[j] = add_product::<FUSED>(&[c; LANES], &factor, &to[j]);
                }
            }
        }
    }
}

widest! {
    /// `sum_p phi_p a_p Psi`.
    fn take_out(level: &Level, columns: usize, phi: &[Lanes], rows: &[Lanes], out: &mut [Lanes]) {
        for s in 0..level.strings {
            let row = &rows[s * columns..][..columns];
            for (sign, p, rest) in level.removals(s) {
                let factor = scaled(sign, &phi[p]);
                let to = &mut out[rest * columns..][..columns];
                for c in 0..columns {
                    to[c] = add_product::<FUSED>(&row[c], &factor, &to[c]);
                }
            }
        }
    }
}

widest! {
    fn normalise(rows: &mut [Lanes]) {
        let mut square = ZERO;
        for row in &*rows {
            square = add_product::<FUSED>(row, row, &square);
        }
        let inverse = each(|s| if square[s] > 0.0 { 1.0 / square[s].sqrt() } else { 0.0 });
        every(rows, |row| product(row, &inverse));
        // A place of probability zero; any state of the others will do.
        for s in 0..LANES {
            if inverse[s] == 0.0 {
                rows[0][s] = 1.0;
            }
        }
    }
}

#[cfg(test)]
#[path = "expansion_tests.rs"]
mod tests;
