//! Orbitals as finite Fourier series of an angle, and the cumulative distributions of their products.
//!
//! Between walls the angle runs from 0 to `pi` and the orbitals are sine series, `sqrt(2/pi) sum_k c_kj sin(k t)`;
//! on a ring it runs from `-pi` to `pi` and they are full series in `1/sqrt(2 pi)`, `cos(k t)/sqrt(pi)` and
//! `sin(k t)/sqrt(pi)`. Either way a product of two orbitals is a trigonometric polynomial. In cells that hold no more than a third
//! of its shortest wave it is a polynomial of low degree to rounding, given by its values at Gaussian nodes, and so is its integral.
//! The functions themselves are Taylor polynomials about the middles of cells: made once, they cost a tenth of the sum over all waves.

use crate::math::quadrature::GaussLegendre;
use crate::math::vector::lanes::{LANES, Lanes, add_product, each, product};
use crate::math::vector::{mixtures, polynomials, widest};
use crate::work;
use faer::Mat;
use std::f64::consts::PI;

/// Which angles and which functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// `(0, pi)` with sines: functions that vanish at two walls.
    Walls,
    /// `[-pi, pi)` with constants, cosines and sines: periodic functions.
    Circle,
}

impl Domain {
    /// First and last angle.
    pub fn ends(self) -> (f64, f64) {
        match self {
            Domain::Walls => (0.0, PI),
            Domain::Circle => (-PI, PI),
        }
    }
}

/// Intervals of the grid of [`Products::below`], of which cells are the same or a half, a quarter, ..
const TABLE: usize = 512;

/// Gaussian nodes of a cell, and the largest angle by which the fastest wave of a product may turn in it: with `p` nodes
/// the polynomial through them is off by `(angle / 2)^p / (2^(p-1) p!)`, 1e-15.
const NODES: usize = 14;
const CELL_TURN: f64 = 2.0;

/// Coefficients below this share of the largest are dropped from the end of a series.
const NEGLIGIBLE: f64 = 1e-17;

/// Orthonormal functions of an angle.
#[derive(Clone, Debug)]
pub struct Series {
    domain: Domain,
    functions: usize,
    /// Where the first cell has its middle, and the width of all.
    start: f64,
    width: f64,
    /// Coefficients about the middles of the cells, row-major in (cell, power, function), rows filled up: see
    /// [`polynomials::evaluate`].
    cells: Vec<f64>,
    /// Largest wave number.
    waves: usize,
}

impl Series {
    /// From coefficients in orthonormal functions, one column a function: rows `sin t, sin 2t, ..` between walls,
    /// `1, cos t, sin t, cos 2t, ..` on a circle.
    pub fn new(domain: Domain, c: &Mat<f64>) -> Self {
        let functions = c.ncols();
        let largest = c.norm_max();
        let needed = |k: usize| (0..functions).any(|j| c[(k, j)].abs() > NEGLIGIBLE * largest);
        let rows = (0..c.nrows()).rev().find(|&k| needed(k)).map_or(1, |k| k + 1);
        let at = |k: usize, j: usize| if k < rows { c[(k, j)] } else { 0.0 };
        // Of each function the coefficients of sin(k t) and cos(k t), from k = 0.
        let wave = |k: usize, j: usize| match domain {
            Domain::Walls if k == 0 => [0.0; 2],
            Domain::Walls => [(2.0 / PI).sqrt() * at(k - 1, j), 0.0],
            Domain::Circle if k == 0 => [0.0, (0.5 / PI).sqrt() * at(0, j)],
            Domain::Circle => [at(2 * k, j), at(2 * k - 1, j)].map(|a| (1.0 / PI).sqrt() * a),
        };
        let waves = if domain == Domain::Walls { rows } else { rows / 2 };
        let table: Vec<Vec<[f64; 2]>> =
            (0..=waves).map(|k| (0..functions).map(|j| wave(k, j)).collect()).collect();
        let (start, end) = domain.ends();
        let count = cells(&table, end - start);
        let width = (end - start) / count as f64;
        Series { domain, functions, start, width, cells: taylor(domain, &table, count), waves }
    }

    /// Number of functions.
    pub fn functions(&self) -> usize {
        self.functions
    }

    /// The functions at eight angles, of which the first `samples` count; `plain` is scratch memory.
    pub fn values(
        &self,
        theta: &Lanes,
        samples: usize,
        plain: &mut [Vec<f64>; 4],
        out: &mut Vec<Lanes>,
    ) {
        plain[0].resize(self.functions, 0.0);
        out.resize(self.functions, [0.0; LANES]);
        for s in 0..samples {
            self.evaluate(theta[s], 1, plain);
            out.iter_mut().zip(&plain[0]).for_each(|(out, value)| out[s] = *value);
        }
    }

    /// Which angles the functions live on.
    pub fn domain(&self) -> Domain {
        self.domain
    }

    /// Functions and their derivatives at `theta`, as many rows of `out` as `orders`.
    pub fn evaluate(&self, theta: f64, orders: usize, out: &mut [Vec<f64>; 4]) {
        // Periodic, and odd about both walls.
        let turned =
            if theta.abs() <= PI { theta } else { theta - 2.0 * PI * (theta / (2.0 * PI)).round() };
        let mirrored = self.domain == Domain::Walls && turned < 0.0;
        let t = if mirrored { -turned } else { turned };
        let stride = polynomials::stride(self.functions);
        let size = POWERS * stride;
        let cell = ((t - self.start) / self.width).round().max(0.0) as usize;
        let cell = cell.min(self.cells.len() / size - 1);
        let r = t - (self.start + self.width * cell as f64);
        let coefficients = &self.cells[cell * size..(cell + 1) * size];
        polynomials::evaluate(coefficients, stride, r, &mut out[..orders]);
        if mirrored {
            out[..orders].iter_mut().step_by(2).flatten().for_each(|o| *o = -*o);
        }
    }
}

/// Coefficients of a Taylor polynomial.
const POWERS: usize = 14;
/// Cells of a series at least and at most.
const CELLS: (usize, usize) = (16, 1 << 14);

/// Cells in which Taylor polynomials are as exact as the sums of the waves that they stand for, up to the second derivative.
fn cells(waves: &[Vec<[f64; 2]>], span: f64) -> usize {
    let mut count = CELLS.0;
    let functions = waves[0].len();
    let factorial: f64 = (1..POWERS - 1).map(|d| d as f64).product();
    while count < CELLS.1 {
        let half = 0.5 * span / count as f64;
        let exact = (0..functions).all(|j| {
            let (mut size, mut rest) = (0.0, 0.0);
            for (k, row) in waves.iter().enumerate() {
                let k = k as f64;
                let bend = k * k * (row[j][0].abs() + row[j][1].abs());
                size += bend;
                rest += bend * (k * half).powi(POWERS as i32 - 2);
            }
            rest / factorial <= 0.5 * f64::EPSILON * size
        });
        if exact {
            break;
        }
        count *= 2;
    }
    count
}

/// See [`Series::cells`]; there is a middle at either end.
fn taylor(domain: Domain, waves: &[Vec<[f64; 2]>], count: usize) -> Vec<f64> {
    let stride = polynomials::stride(waves[0].len());
    let mut all = vec![0.0; (count + 1) * POWERS * stride];
    // Whole numbers of steps: sines that are zero are exactly so, and functions vanish at walls with all digits.
    let turn = 2 * count;
    let phase = |m: usize| {
        let (m, sign) = if m >= count { (m - count, -1.0) } else { (m, 1.0) };
        let (m, flip) = if 2 * m > count { (count - m, -1.0) } else { (m, 1.0) };
        let (sin, cos) = (PI * m as f64 / count as f64).sin_cos();
        let cos = if 2 * m == count { 0.0 } else { cos };
        [sign * sin, sign * flip * cos]
    };
    let phases: Vec<[f64; 2]> = (0..turn).map(phase).collect();
    for (cell, own) in all.chunks_exact_mut(POWERS * stride).enumerate() {
        let steps = match domain {
            Domain::Walls => cell,
            Domain::Circle => 2 * cell + count,
        };
        for (k, row) in waves.iter().enumerate() {
            let [sin, cos] = phases[k * steps % turn];
            let mut factor = 1.0;
            let derivatives = [[sin, cos], [cos, -sin], [-sin, -cos], [-cos, sin]];
            for (power, out) in own.chunks_exact_mut(stride).enumerate() {
                let [sin, cos] = derivatives[power % 4].map(|d| factor * d);
                for (o, [a, b]) in out.iter_mut().zip(row) {
                    *o += a * sin + b * cos;
                }
                factor *= k as f64 / (power + 1) as f64;
            }
        }
    }
    all
}

/// The products of all pairs of functions, and quantiles of their combinations.
///
/// Pairs are counted `(0, 0), (1, 0), (1, 1), (2, 0), ..`.
#[derive(Clone, Debug)]
pub struct Products {
    ends: (f64, f64),
    functions: usize,
    cells: usize,
    /// The functions at the nodes, row-major in (cell, function).
    values: Vec<[f64; mixtures::NODES]>,
    /// Integrals of the products from the start to the beginning of each cell and to the end, row-major in (cell, pair).
    table: Vec<f64>,
    /// Coefficients in Legendre polynomials from values at the nodes, one row a node.
    legendre: Vec<[f64; mixtures::NODES]>,
}

/// A combination of products, to draw from it more than once.
#[derive(Clone, Debug)]
pub struct Mixture {
    weights: Vec<f64>,
    /// Its integrals to the beginning of each cell and to the end.
    below: Vec<f64>,
}

impl Mixture {
    /// Its integral.
    pub fn whole(&self) -> f64 {
        self.below.last().copied().unwrap_or(0.0)
    }
}

impl Products {
    /// All products of the functions of a series.
    pub fn new(series: &Series) -> Self {
        let ends = series.domain.ends();
        let turn = 2.0 * series.waves as f64 * (ends.1 - ends.0);
        let mut phi = std::array::from_fn(|_| vec![0.0; series.functions]);
        Self::of(ends, series.functions, turn, |theta, out| {
            series.evaluate(theta, 1, &mut phi);
            out.copy_from_slice(&phi[0]);
        })
    }

    /// All products of `n` functions of an angle between `ends`, which `evaluate` gives; the fastest wave of a product turns by `turn` from
    /// end to end.
    pub fn of(
        ends: (f64, f64),
        n: usize,
        turn: f64,
        mut evaluate: impl FnMut(f64, &mut [f64]),
    ) -> Self {
        let cells = (turn / CELL_TURN / TABLE as f64).ceil().max(1.0) as usize;
        let cells = cells.next_power_of_two() * TABLE;
        let (start, end) = ends;
        let width = (end - start) / cells as f64;
        let rule = GaussLegendre::new(NODES);
        let unit: Vec<(f64, f64)> = rule.on(-1.0, 1.0).collect();
        let mut phi = vec![0.0; n];
        let mut values = vec![[0.0; mixtures::NODES]; cells * n];
        let pairs = n * (n + 1) / 2;
        let mut table = Vec::with_capacity((cells + 1) * pairs);
        let mut below = vec![0.0; pairs];
        for cell in 0..cells {
            table.extend_from_slice(&below);
            let middle = start + width * (cell as f64 + 0.5);
            for (node, &(x, w)) in unit.iter().enumerate() {
                evaluate(middle + 0.5 * width * x, &mut phi);
                let cell = &mut values[cell * n..(cell + 1) * n];
                cell.iter_mut().zip(&phi).for_each(|(values, f)| values[node] = *f);
                let mut pair = below.iter_mut();
                for i in 0..n {
                    let scaled = 0.5 * width * w * phi[i];
                    for (b, a) in pair.by_ref().take(i + 1).zip(&phi) {
                        *b += scaled * a;
                    }
                }
            }
        }
        table.extend_from_slice(&below);
        let unit_values = |k: usize| (0..NODES).map(move |l| f64::from(u8::from(k == l)));
        let legendre = (0..NODES)
            .map(|k| {
                let c = legendre_coefficients(&unit, &unit_values(k).collect::<Vec<_>>());
                std::array::from_fn(|l| c.get(l).copied().unwrap_or(0.0))
            })
            .collect();
        Products { ends, functions: n, cells, values, table, legendre }
    }

    /// Where a cell begins, and its width.
    fn place(&self, cell: usize) -> (f64, f64) {
        let (start, end) = self.ends;
        let width = (end - start) / self.cells as f64;
        (start + width * cell as f64, width)
    }

    /// Integrals of the density `sum_ij m_ij phi_i phi_j` (`m` symmetric, row-major) over the angles below each point
    /// of an even grid.
    pub fn below(&self, m: &[f64]) -> impl Iterator<Item = f64> {
        self.mixture(m).below.into_iter().step_by(self.cells / TABLE)
    }

    fn pairs(&self) -> usize {
        self.functions * (self.functions + 1) / 2
    }

    /// Weights of the pairs in `sum_ij m_ij phi_i phi_j`.
    fn weights(&self, m: &[f64], weights: &mut Vec<f64>) {
        let n = self.functions;
        weights.clear();
        for i in 0..n {
            for j in 0..=i {
                weights.push(if i == j { m[i * n + i] } else { 2.0 * m[i * n + j] });
            }
        }
    }

    /// The angle below which the density `sum_ij m_ij phi_i phi_j` (`m` symmetric, row-major) has the integral
    /// `target`. `work` is scratch memory.
    pub fn quantile(&self, m: &[f64], target: f64, work: &mut QuantileWork) -> f64 {
        self.weights(m, &mut work.weights);
        let mut found = (0, 0.0);
        let cells = &self.table[..self.cells * self.pairs()];
        mixtures::last_below(cells, &work.weights, target, &mut found);
        self.in_cell(&work.weights, target, found)
    }

    /// The density `sum_ij m_ij phi_i phi_j` (`m` symmetric, row-major), for [`Self::quantile_of`].
    pub fn mixture(&self, m: &[f64]) -> Mixture {
        let mut weights = Vec::new();
        self.weights(m, &mut weights);
        let mut below = vec![0.0; self.cells + 1];
        mixtures::products(&self.table, &weights, &mut below);
        Mixture { weights, below }
    }

    /// As [`Self::quantile`].
    pub fn quantile_of(&self, mixture: &Mixture, target: f64) -> f64 {
        let starts = &mixture.below[..self.cells];
        let cell = starts.partition_point(|&b| b <= target).max(1) - 1;
        self.in_cell(&mixture.weights, target, (cell, starts[cell]))
    }

    /// The density in a cell, as its coefficients in Legendre polynomials.
    fn coefficients(&self, weights: &[f64], cell: usize) -> [f64; mixtures::NODES] {
        let n = self.functions;
        let mut coefficients = [0.0; mixtures::NODES];
        let values = &self.values[cell * n..(cell + 1) * n];
        mixtures::at_nodes(weights, values, &self.legendre, &mut coefficients);
        coefficients
    }

    /// The angle, in a cell below which the density has the integral `start`.
    fn in_cell(&self, weights: &[f64], target: f64, (cell, start): (usize, f64)) -> f64 {
        let coefficients = self.coefficients(weights, cell);
        let (left, width) = self.place(cell);
        let x = root(&coefficients[..NODES], (target - start) / (0.5 * width), 0.5 * width);
        left + 0.5 * width * (x + 1.0)
    }

    /// [`Self::quantile`] of eight densities, of which the first `samples` count, given the weights of the pairs: those of
    /// different functions twice, as they are there once.
    pub fn quantiles(
        &self,
        weights: &[Lanes],
        targets: &Lanes,
        samples: usize,
        work: &mut QuantileWork,
    ) -> Lanes {
        let mut found = [(0, 0.0); LANES];
        let mut cells = Cells::default();
        for s in 0..samples {
            work.weights.clear();
            work.weights.extend(weights.iter().map(|w| w[s]));
            let table = &self.table[..self.cells * self.pairs()];
            mixtures::last_below(table, &work.weights, targets[s], &mut found[s]);
            cells.set(s, self.coefficients(&work.weights, found[s].0));
        }
        self.in_cells(&cells, targets, samples, &found)
    }

    /// [`Self::quantile_of`] of eight targets, of which the first `samples` count.
    pub fn quantiles_of(&self, mixture: &Mixture, targets: &Lanes, samples: usize) -> Lanes {
        let starts = &mixture.below[..self.cells];
        let mut found = [(0, 0.0); LANES];
        let mut cells = Cells::default();
        for s in 0..samples {
            let cell = starts.partition_point(|&b| b <= targets[s]).max(1) - 1;
            found[s] = (cell, starts[cell]);
            cells.set(s, self.coefficients(&mixture.weights, cell));
        }
        self.in_cells(&cells, targets, samples, &found)
    }

    fn in_cells(
        &self,
        cells: &Cells,
        targets: &Lanes,
        samples: usize,
        found: &[(usize, f64); LANES],
    ) -> Lanes {
        let half = 0.5 * self.place(0).1;
        let rest = each(|s| (targets[s] - found[s].1) / half);
        let mut x = [0.0; LANES];
        roots(&cells.coefficients[..NODES], &rest, half, samples, &mut x);
        each(|s| self.place(found[s].0).0 + half * (x[s] + 1.0))
    }
}

/// Densities in eight cells.
#[derive(Default)]
struct Cells {
    coefficients: [Lanes; mixtures::NODES],
}

impl Cells {
    fn set(&mut self, s: usize, coefficients: [f64; mixtures::NODES]) {
        self.coefficients.iter_mut().zip(coefficients).for_each(|(to, from)| to[s] = from);
    }
}

/// Coefficients `a_l = (l + 1/2) sum_k w_k P_l(x_k) f(x_k)` in Legendre polynomials of what has given values at the nodes of a Gaussian rule
/// on `[-1, 1]`, as many as nodes.
pub(super) fn legendre_coefficients(rule: &[(f64, f64)], values: &[f64]) -> Vec<f64> {
    let mut coefficients = vec![0.0; rule.len()];
    for (&(x, w), f) in rule.iter().zip(values) {
        let (mut before, mut now) = (0.0, 1.0);
        for (l, c) in coefficients.iter_mut().enumerate() {
            let k = l as f64;
            *c += (k + 0.5) * w * now * f;
            (before, now) = (now, ((2.0 * k + 1.0) * x * now - k * before) / (k + 1.0));
        }
    }
    coefficients
}

/// Polynomials of [`root`] at most.
const POLYNOMIALS: usize = 64;

/// Of each Legendre polynomial `P_l`, `l = 1, 2, ..`: `(2 l + 1) / (l + 1)`, `l / (l + 1)` and `1 / (2 l + 1)`.
const RECURRENCE: [[f64; 3]; POLYNOMIALS - 1] = {
    let mut all = [[0.0; 3]; POLYNOMIALS - 1];
    let mut i = 0;
    while i < all.len() {
        let l = (i + 1) as f64;
        all[i] = [(2.0 * l + 1.0) / (l + 1.0), l / (l + 1.0), 1.0 / (2.0 * l + 1.0)];
        i += 1;
    }
    all
};

/// A step of Newton's method after which no other is needed, as an angle.
const LAST_STEP: f64 = 1e-11;

/// Where in `[-1, 1]` the integral from -1 of a sum of Legendre polynomials reaches `target`: safeguarded Newton, to rounding of an
/// angle that goes by `scale`. At most [`POLYNOMIALS`].
pub(super) fn root(coefficients: &[f64], target: f64, scale: f64) -> f64 {
    let (mut lo, mut hi) = (-1.0f64, 1.0f64);
    // The root where the density is its first two polynomials.
    let c = |l: usize| coefficients.get(l).copied().unwrap_or(0.0);
    let (square, constant) = (0.5 * c(1), c(0) - 0.5 * c(1) - target);
    let guess = -2.0 * constant / (c(0) + (c(0) * c(0) - 4.0 * square * constant).sqrt());
    let mut x = if guess > -1.0 && guess < 1.0 { guess } else { 0.0 };
    for _ in 0..60 {
        work::newton();
        // P_l is the slope of (P_(l+1) - P_(l-1)) / (2 l + 1).
        let (mut before, mut now) = (1.0, x);
        let mut sum = coefficients[0] * (x + 1.0);
        let mut slope = coefficients[0];
        for (&c, [forth, back, share]) in coefficients[1..].iter().zip(&RECURRENCE) {
            let next = forth * (x * now) - back * before;
            sum += c * share * (next - before);
            slope += c * now;
            (before, now) = (now, next);
        }
        let residual = sum - target;
        if residual > 0.0 {
            hi = hi.min(x);
        } else {
            lo = lo.max(x);
        }
        let newton = x - residual / slope;
        let step = (newton - x).abs() * scale;
        if step <= 1e-15 || hi - lo <= 2.0 * f64::EPSILON {
            break;
        }
        let inside = newton > lo && newton < hi;
        x = if inside { newton } else { 0.5 * (lo + hi) };
        // The next step would be about the square of this one.
        if inside && step <= LAST_STEP {
            break;
        }
    }
    x
}

widest! {
    /// [`root`] for eight densities, of which the first `samples` count.
    fn roots(coefficients: &[Lanes], target: &Lanes, scale: f64, samples: usize, x: &mut Lanes) {
        let (mut lo, mut hi): (Lanes, Lanes) = ([-1.0; LANES], [1.0; LANES]);
        let [c0, c1] = [coefficients[0], coefficients[1]];
        *x = each(|s| {
            let (square, constant) = (0.5 * c1[s], c0[s] - 0.5 * c1[s] - target[s]);
            let guess = -2.0 * constant / (c0[s] + (c0[s] * c0[s] - 4.0 * square * constant).sqrt());
            if guess > -1.0 && guess < 1.0 { guess } else { 0.0 }
        });
        let mut left: [bool; LANES] = std::array::from_fn(|s| s < samples);
        for _ in 0..60 {
            work::newtons(left.iter().filter(|left| **left).count());
            let (mut before, mut now) = ([1.0; LANES], *x);
            let mut sum = each(|s| c0[s] * (x[s] + 1.0));
            let mut slope = c0;
            for (c, [forth, back, share]) in coefficients[1..].iter().zip(&RECURRENCE) {
                let turned = product(x, &now);
                let next = each(|s| forth * turned[s] - back * before[s]);
                sum = each(|s| sum[s] + c[s] * share * (next[s] - before[s]));
                slope = add_product::<FUSED>(c, &now, &slope);
                (before, now) = (now, next);
            }
            let newton = each(|s| x[s] - (sum[s] - target[s]) / slope[s]);
            // Each goes its own way, whatever is beside it.
            for s in 0..LANES {
                if !left[s] {
                    continue;
                }
                if sum[s] > target[s] {
                    hi[s] = hi[s].min(x[s]);
                } else {
                    lo[s] = lo[s].max(x[s]);
                }
                let step = (newton[s] - x[s]).abs() * scale;
                if step <= 1e-15 || hi[s] - lo[s] <= 2.0 * f64::EPSILON {
                    left[s] = false;
                    continue;
                }
                let inside = newton[s] > lo[s] && newton[s] < hi[s];
                x[s] = if inside { newton[s] } else { 0.5 * (lo[s] + hi[s]) };
                // The next step would be about the square of this one.
                left[s] = !(inside && step <= LAST_STEP);
            }
            if !left.contains(&true) {
                break;
            }
        }
    }
}

/// Scratch memory of [`Products::quantile`].
#[derive(Clone, Debug, Default)]
pub struct QuantileWork {
    weights: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_agree_with_the_library() {
        for (domain, waves) in [(Domain::Walls, 1), (Domain::Walls, 40), (Domain::Circle, 21)] {
            for n in [1, 2, 3, 9] {
                let c = Mat::from_fn(waves, n, |k, j| {
                    (1.0 + (3 * k + 5 * j) as f64).sin() * (-0.3 * k as f64).exp()
                });
                let series = Series::new(domain, &c);
                for i in -90..=90 {
                    // Everywhere, at walls, between cells, and beyond the ends.
                    let theta = PI * f64::from(i) / 64.0;
                    let mut found = std::array::from_fn(|_| vec![0.0; n]);
                    series.evaluate(theta, 4, &mut found);
                    for j in 0..n {
                        let (mut exact, mut size) = ([0.0; 4], [0.0; 4]);
                        for k in 0..waves {
                            let (q, odd) = match domain {
                                Domain::Walls => ((k + 1) as f64, true),
                                Domain::Circle => (k.div_ceil(2) as f64, k > 0 && k % 2 == 0),
                            };
                            let norm = if domain == Domain::Walls { 2.0 } else { 1.0 } / PI;
                            let norm = if q == 0.0 { 0.5 * norm } else { norm }.sqrt() * c[(k, j)];
                            let (s, cos) = (q * theta).sin_cos();
                            let turned = if odd { [s, cos, -s, -cos] } else { [cos, -s, -cos, s] };
                            for d in 0..4 {
                                exact[d] += norm * q.powi(d as i32) * turned[d];
                                size[d] += norm.abs() * (1.0 + q.powi(d as i32));
                            }
                        }
                        for d in 0..4 {
                            let error = (found[d][j] - exact[d]).abs();
                            assert!(error < 1e-14 * size[d], "{domain:?} {theta} {d}: {error:e}");
                        }
                    }
                }
            }
        }
    }

    /// Functions vanish at walls with all digits, and their slopes do not.
    #[test]
    fn walls_are_exact() {
        let c = Mat::from_fn(30, 2, |k, j| ((2 * k + j) as f64).cos() * (-0.4 * k as f64).exp());
        let series = Series::new(Domain::Walls, &c);
        let mut at = std::array::from_fn(|_| vec![0.0; 2]);
        for wall in [0.0, PI] {
            series.evaluate(wall, 2, &mut at);
            let slopes = at[1].clone();
            for distance in [1e-3f64, 1e-7, 1e-12] {
                series.evaluate((wall - distance).abs(), 1, &mut at);
                for j in 0..2 {
                    let exact = slopes[j] * if wall > 0.0 { -distance } else { distance };
                    let left = wall - (wall - distance);
                    let rounding = (left / distance - 1.0).abs() + distance.powi(2);
                    assert!((at[0][j] / exact - 1.0).abs() < 100.0 * rounding.max(1e-14));
                }
            }
        }
    }

    /// Integrals to quantiles by an even rule, which is exact for trigonometric polynomials over whole intervals.
    #[test]
    fn quantiles_have_the_integral_that_was_asked_for() {
        for (domain, waves) in [(Domain::Walls, 30), (Domain::Walls, 700), (Domain::Circle, 21)] {
            let n = 3;
            let c = Mat::from_fn(waves, n, |k, j| {
                (1.0 + (3 * k + 5 * j) as f64).sin() / (1.0 + k as f64)
            });
            let series = Series::new(domain, &c);
            let products = Products::new(&series);
            let m = [1.0, 0.2, -0.1, 0.2, 0.7, 0.3, -0.1, 0.3, 0.5];
            let mut phi = std::array::from_fn(|_| vec![0.0; n]);
            let mut density = |theta: f64| {
                series.evaluate(theta, 1, &mut phi);
                (0..9).map(|ij| m[ij] * phi[0][ij / 3] * phi[0][ij % 3]).sum::<f64>()
            };
            let whole = products.below(&m).last().unwrap();
            let rule = GaussLegendre::new(20);
            let (start, end) = domain.ends();
            let mut last = (start, 0.0);
            for q in 1..40 {
                let target = whole * f64::from(q) / 40.0;
                let theta = products.quantile(&m, target, &mut QuantileWork::default());
                let cells = 2000;
                let h = (theta - last.0) / f64::from(cells);
                let part = |i: i32| {
                    let a = last.0 + h * f64::from(i);
                    rule.integrate(a, a + h, &mut density)
                };
                let sum = last.1 + (0..cells).map(part).sum::<f64>();
                assert!((sum - target).abs() < 1e-12 * whole, "{domain:?} {waves}: {sum} {target}");
                last = (theta, sum);
            }
            assert!(end > last.0);
        }
    }
}
