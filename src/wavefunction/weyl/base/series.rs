//! Orbitals as finite Fourier series of an angle, and the cumulative distributions of their products.
//!
//! Between walls the angle runs from 0 to `pi` and the orbitals are sine series, `sqrt(2/pi) sum_k c_kj sin(k t)`;
//! on a ring it runs from `-pi` to `pi` and they are full series in `1/sqrt(2 pi)`, `cos(k t)/sqrt(pi)` and
//! `sin(k t)/sqrt(pi)`. Either way a product of two orbitals is a trigonometric polynomial, whose integral from the
//! start of the interval is known in closed form.

use crate::math::vector;
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

/// Points of the table that brackets a quantile.
const TABLE: usize = 512;

/// Coefficients below this share of the largest are dropped from the end of a series.
const NEGLIGIBLE: f64 = 1e-17;

/// Orthonormal functions of an angle.
#[derive(Clone, Debug)]
pub struct Series {
    domain: Domain,
    functions: usize,
    constants: Vec<f64>,
    /// Coefficients of `cos(k t)`, row-major in (k, function) from `k = 1`; none between walls.
    cosines: Vec<f64>,
    /// Coefficients of `sin(k t)`, likewise.
    sines: Vec<f64>,
}

impl Series {
    /// From coefficients in orthonormal functions, one column a function: rows `sin t, sin 2t, ..` between walls,
    /// `1, cos t, sin t, cos 2t, ..` on a circle.
    pub fn new(domain: Domain, c: &Mat<f64>) -> Self {
        let functions = c.ncols();
        let largest = c.norm_max();
        let needed = |k: usize| (0..functions).any(|j| c[(k, j)].abs() > NEGLIGIBLE * largest);
        let rows = (0..c.nrows()).rev().find(|&k| needed(k)).map_or(1, |k| k + 1);
        let row = |k: usize, scale: f64| {
            let at = move |j: usize| if k < rows { scale * c[(k, j)] } else { 0.0 };
            (0..functions).map(at)
        };
        match domain {
            Domain::Walls => Series {
                domain,
                functions,
                constants: vec![0.0; functions],
                cosines: Vec::new(),
                sines: (0..rows).flat_map(|k| row(k, (2.0 / PI).sqrt())).collect(),
            },
            Domain::Circle => {
                let waves = 1..=rows / 2;
                let scale = (1.0 / PI).sqrt();
                Series {
                    domain,
                    functions,
                    constants: row(0, (0.5 / PI).sqrt()).collect(),
                    cosines: waves.clone().flat_map(|k| row(2 * k - 1, scale)).collect(),
                    sines: waves.flat_map(|k| row(2 * k, scale)).collect(),
                }
            }
        }
    }

    /// Number of functions.
    pub fn functions(&self) -> usize {
        self.functions
    }

    /// Which angles the functions live on.
    pub fn domain(&self) -> Domain {
        self.domain
    }

    /// Largest wave number.
    fn waves(&self) -> usize {
        self.sines.len() / self.functions
    }

    /// Functions and their derivatives at `theta`, as many rows of `out` as `orders`.
    pub fn evaluate(&self, theta: f64, orders: usize, out: &mut [Vec<f64>; 4]) {
        let n = self.functions;
        if n == 1 && self.domain == Domain::Walls {
            let (sin1, cos1) = theta.sin_cos();
            let found = vector::sines(&self.sines, sin1, cos1);
            out[..orders].iter_mut().zip(found).for_each(|(o, v)| o[0] = v);
            return;
        }
        out[0].copy_from_slice(&self.constants);
        out[1..orders].iter_mut().for_each(|o| o.fill(0.0));
        let (sin1, cos1) = theta.sin_cos();
        let (mut s, mut c) = (sin1, cos1);
        for index in 0..self.waves() {
            let k = (index + 1) as f64;
            let row = index * n..(index + 1) * n;
            let sines = [s, k * c, -k * k * s, -k * k * k * c];
            for (o, factor) in out[..orders].iter_mut().zip(sines) {
                for (o, &a) in o.iter_mut().zip(&self.sines[row.clone()]) {
                    *o += a * factor;
                }
            }
            if self.domain == Domain::Circle {
                let cosines = [c, -k * s, -k * k * c, k * k * k * s];
                for (o, factor) in out[..orders].iter_mut().zip(cosines) {
                    for (o, &a) in o.iter_mut().zip(&self.cosines[row.clone()]) {
                        *o += a * factor;
                    }
                }
            }
            (s, c) = (s * cos1 + c * sin1, c * cos1 - s * sin1);
        }
    }

    /// Coefficients of the product of functions `i` and `j`: see [`Products`].
    fn product(&self, i: usize, j: usize) -> Vec<f64> {
        let (n, waves) = (self.functions, self.waves());
        let degree = 2 * waves;
        let mut cos = vec![0.0; degree + 1];
        let mut sin = vec![0.0; if self.domain == Domain::Circle { degree } else { 0 }];
        let sines = |k: usize, f: usize| self.sines[k * n + f];
        for k in 0..waves {
            for l in 0..waves {
                // sin a sin b = (cos(a - b) - cos(a + b)) / 2.
                let half = 0.5 * sines(k, i) * sines(l, j);
                cos[k.abs_diff(l)] += half;
                cos[k + l + 2] -= half;
            }
        }
        if self.domain == Domain::Circle {
            let cosines = |k: usize, f: usize| self.cosines[k * n + f];
            cos[0] += self.constants[i] * self.constants[j];
            for k in 0..waves {
                cos[k + 1] += self.constants[i] * cosines(k, j) + self.constants[j] * cosines(k, i);
                sin[k] += self.constants[i] * sines(k, j) + self.constants[j] * sines(k, i);
                for l in 0..waves {
                    let half = 0.5 * cosines(k, i) * cosines(l, j);
                    cos[k.abs_diff(l)] += half;
                    cos[k + l + 2] += half;
                    // sin a cos b = (sin(a + b) + sin(a - b)) / 2.
                    let half = 0.5 * (sines(k, i) * cosines(l, j) + sines(k, j) * cosines(l, i));
                    sin[k + l + 1] += half;
                    match k.cmp(&l) {
                        std::cmp::Ordering::Greater => sin[k - l - 1] += half,
                        std::cmp::Ordering::Less => sin[l - k - 1] -= half,
                        std::cmp::Ordering::Equal => {}
                    }
                }
            }
        }
        cos.extend(sin);
        cos
    }
}

/// The products of all pairs of functions as trigonometric polynomials, and quantiles of their combinations.
///
/// A polynomial is the list of the coefficients of `1, cos t, .., cos(m t)`, on a circle followed by those of
/// `sin t, .., sin(m t)`. Pairs are counted `(0, 0), (1, 0), (1, 1), (2, 0), ..`.
#[derive(Clone, Debug)]
pub struct Products {
    domain: Domain,
    functions: usize,
    degree: usize,
    products: Vec<Vec<f64>>,
    /// Integrals of the products from the start to the points of a table, row-major in (point, pair).
    table: Vec<f64>,
}

impl Products {
    /// All products of the functions of a series.
    pub fn new(series: &Series) -> Self {
        let products: Vec<Vec<f64>> = (0..series.functions)
            .flat_map(|i| (0..=i).map(move |j| (i, j)))
            .map(|(i, j)| series.product(i, j))
            .collect();
        let mut all = Products {
            domain: series.domain,
            functions: series.functions,
            degree: 2 * series.waves(),
            products,
            table: Vec::new(),
        };
        all.table = (0..=TABLE)
            .flat_map(|q| all.products.iter().map(move |p| (q, p)))
            .map(|(q, p)| all.integral_and_value(p, all.point(q)).0)
            .collect();
        all
    }

    /// Point of the table.
    fn point(&self, q: usize) -> f64 {
        let (start, end) = self.domain.ends();
        start + (end - start) * q as f64 / TABLE as f64
    }

    /// Integrals of the density `sum_ij m_ij phi_i phi_j` (`m` symmetric, row-major) over the angles below each point
    /// of an even grid.
    pub fn below(&self, m: &[f64]) -> impl Iterator<Item = f64> + '_ {
        let mut weights = Vec::new();
        self.weights(m, &mut weights);
        let sum = move |row: &[f64]| row.iter().zip(&weights).map(|(c, w)| c * w).sum();
        self.table.chunks_exact(self.products.len()).map(sum)
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
        let QuantileWork { weights, density } = work;
        self.weights(m, weights);
        density.clear();
        density.resize(self.products[0].len(), 0.0);
        for (p, weight) in self.products.iter().zip(&*weights) {
            density.iter_mut().zip(p).for_each(|(d, p)| *d += weight * p);
        }
        let pairs = self.products.len();
        let below = |q: usize| {
            let row = &self.table[q * pairs..(q + 1) * pairs];
            row.iter().zip(&*weights).map(|(c, w)| c * w).sum::<f64>()
        };
        let (mut lo, mut hi) = (0, TABLE);
        while hi - lo > 1 {
            let mid = (lo + hi) / 2;
            if below(mid) > target { hi = mid } else { lo = mid }
        }
        self.root(density, target, self.point(lo), self.point(hi))
    }

    /// Where the integral of a polynomial reaches `target`, between `lo` and `hi`: safeguarded Newton.
    fn root(&self, density: &[f64], target: f64, mut lo: f64, mut hi: f64) -> f64 {
        let mut theta = 0.5 * (lo + hi);
        for _ in 0..60 {
            work::newton();
            let (sum, slope) = self.integral_and_value(density, theta);
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

    /// The integral of a polynomial from the start to `theta`, and its value there.
    fn integral_and_value(&self, p: &[f64], theta: f64) -> (f64, f64) {
        let (cos, sin) = p.split_at(self.degree + 1);
        let (sin1, cos1) = theta.sin_cos();
        let (mut s, mut c) = (sin1, cos1);
        let (mut sum, mut value) = (cos[0] * (theta - self.domain.ends().0), cos[0]);
        if sin.is_empty() {
            for (index, &a) in cos[1..].iter().enumerate() {
                sum += a * s / (index + 1) as f64;
                value += a * c;
                (s, c) = (s * cos1 + c * sin1, c * cos1 - s * sin1);
            }
        } else {
            // cos(m pi) = ±1 comes from the start of the circle at -pi.
            let mut start = -1.0;
            for (index, (&a, &b)) in cos[1..].iter().zip(sin).enumerate() {
                sum += (a * s + b * (start - c)) / (index + 1) as f64;
                value += a * c + b * s;
                (s, c) = (s * cos1 + c * sin1, c * cos1 - s * sin1);
                start = -start;
            }
        }
        (sum, value)
    }
}

/// Scratch memory of [`Products::quantile`].
#[derive(Clone, Debug, Default)]
pub struct QuantileWork {
    weights: Vec<f64>,
    density: Vec<f64>,
}
