//! Functions of the gaps of one order: nested products of orthonormal polynomials.
//!
//! In a trap the gaps are independent: a product of functions of each, with a Gaussian. On a ring and between walls they sum
//! to the length, and the functions are the orthonormal polynomials of a simplex (T. Koornwinder, "Two-variable analogues of
//! the classical orthogonal polynomials", in Theory and Application of Special Functions, Academic Press 1975; M. Dubiner,
//! J. Sci. Comput. 6, 345 (1991)), in the form that needs no division. In both a gap at which the function vanishes has it as a factor.
//! The functions of the first gap are contracted first; those of a gap on a simplex depend on the degree in all later ones.

use super::half_line::HalfLine;
use crate::math::scalar::Scalar;

/// The functions of one order.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) axes: Vec<Axis>,
    /// For each axis the degree in the later gaps of each block of its functions, in the order of the coefficients.
    blocks: Vec<Vec<usize>>,
    /// Gaps at which the functions vanish, on a simplex.
    factors: Vec<usize>,
    /// Length of the simplex; none in a trap.
    pub(crate) length: Option<f64>,
    dimension: usize,
}

/// The functions of one gap.
#[derive(Clone, Debug)]
pub(crate) enum Axis {
    /// `c^(1/4) f_k(sqrt(c) s)`, with the Gaussian `exp(-c s²/2)` kept apart.
    Gap {
        /// Functions.
        line: HalfLine,
        /// `sqrt(c)`.
        scale: f64,
        /// How many.
        count: usize,
    },
    /// Jacobi polynomials of a share of what earlier gaps leave, by the degree in later ones.
    Side {
        /// One for each degree.
        families: Vec<Jacobi>,
        /// Exponent of the measure, `(1 - t)^measure`.
        measure: usize,
    },
}

/// Orthonormal polynomials on [0, 1] with weight `(1 - t)^a t^b`.
#[derive(Clone, Debug)]
pub(crate) struct Jacobi {
    first: f64,
    diagonal: Vec<f64>,
    off: Vec<f64>,
    /// Factors `(1 - t)^fall t^rise` that belong to the function of `t` alone.
    fall: usize,
    rise: usize,
}

impl Jacobi {
    /// `count` polynomials; `b` is 0 or 2 (W. Gautschi, "Orthogonal Polynomials", OUP 2004, table 1.1).
    fn new(a: usize, b: usize, count: usize, fall: usize) -> Self {
        let (p, q) = (a as f64, b as f64);
        let s = p + q;
        let total = match b {
            0 => 1.0 / (p + 1.0),
            _ => 2.0 / ((p + 1.0) * (p + 2.0) * (p + 3.0)),
        };
        let (mut diagonal, mut off) = (Vec::new(), Vec::new());
        for k in 0..=count {
            let n = k as f64;
            let t = 2.0 * n + s;
            diagonal.push(if k == 0 {
                (q - p) / (s + 2.0)
            } else {
                (q * q - p * p) / (t * (t + 2.0))
            });
            off.push(match k {
                0 => 0.0,
                1 => (4.0 * (1.0 + p) * (1.0 + q) / ((2.0 + s) * (2.0 + s) * (3.0 + s))).sqrt(),
                _ => {
                    (4.0 * n * (n + p) * (n + q) * (n + s) / (t * t * (t + 1.0) * (t - 1.0))).sqrt()
                }
            });
        }
        Jacobi { first: total.sqrt().recip(), diagonal, off, fall, rise: b / 2 }
    }

    /// `rest^k p_k(part / rest)` for the first `count`, appended.
    fn values<T: Scalar>(&self, part: T, rest: T, count: usize, out: &mut Vec<T>) {
        let (mut p, mut before) = (T::constant(self.first), T::zero());
        let square = rest * rest;
        for k in 0..count {
            out.push(p);
            let x = part * 2.0 - rest * (1.0 + self.diagonal[k]);
            let next = (x * p - square * before * self.off[k]) / self.off[k + 1];
            (before, p) = (p, next);
        }
    }
}

/// Scratch memory of one evaluation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables<T> {
    values: Vec<T>,
    starts: Vec<usize>,
    level: Vec<T>,
    next: Vec<T>,
}

impl Cell {
    /// Functions of the gaps in a trap of frequency one; `vanishing[k]` says where they have to.
    pub(crate) fn in_trap(functions: usize, vanishing: &[bool]) -> Self {
        let gaps = vanishing.len();
        let n = (gaps + 1) as f64;
        let axes: Vec<Axis> = vanishing
            .iter()
            .enumerate()
            .map(|(k, &zero)| {
                let k = (k + 1) as f64;
                let count = (functions - usize::from(zero)).max(1);
                Axis::Gap {
                    line: HalfLine::new(zero, count + 1),
                    scale: (k * (n - k) / n).sqrt(),
                    count,
                }
            })
            .collect();
        let mut blocks = vec![vec![]; gaps];
        let mut size = 1;
        for j in (0..gaps).rev() {
            blocks[j] = vec![0; size];
            size *= axes[j].count(0);
        }
        Cell { axes, blocks, factors: vec![], length: None, dimension: size }
    }

    /// Polynomials of degree `degree` of the gaps, which sum to `length`.
    pub(crate) fn on_simplex(degree: usize, vanishing: &[bool], length: f64) -> Self {
        let axes = vanishing.len() - 1;
        let factors: Vec<usize> = (0..=axes).filter(|&k| vanishing[k]).collect();
        let degree = degree.saturating_sub(factors.len());
        let later = |j: usize| factors.iter().filter(|&&f| f > j).count();
        let of = |j: usize| {
            let measure = axes - 1 - j;
            let (a, b) = (2 * later(j) + measure, if vanishing[j] { 2 } else { 0 });
            let family = |l: usize| Jacobi::new(a + 2 * l, b, degree - l + 1, later(j) + l);
            Axis::Side { families: (0..=degree).map(family).collect(), measure }
        };
        let mut blocks = vec![vec![]; axes];
        let mut sums = vec![0];
        for j in (0..axes).rev() {
            let each = |&l: &usize| (0..=degree - l).map(move |a| l + a);
            let next = sums.iter().flat_map(each).collect();
            blocks[j] = std::mem::replace(&mut sums, next);
        }
        Cell {
            axes: (0..axes).map(of).collect(),
            blocks,
            factors,
            length: Some(length),
            dimension: sums.len(),
        }
    }

    /// Number of functions.
    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    /// The values of the functions of axis `j` where the gaps before it are known.
    fn tabulate<T: Scalar>(&self, j: usize, part: T, rest: T, tables: &mut Tables<T>) {
        tables.values.clear();
        tables.starts.clear();
        match &self.axes[j] {
            Axis::Gap { line, scale, count } => {
                tables.starts.push(0);
                line.values(part * *scale, *count, &mut tables.values);
                let norm = scale.sqrt();
                tables.values.iter_mut().for_each(|v| *v *= norm);
            }
            Axis::Side { families, .. } => {
                for (l, family) in families.iter().enumerate() {
                    tables.starts.push(tables.values.len());
                    family.values(part, rest, families.len() - l, &mut tables.values);
                }
            }
        }
    }

    /// Gaps as the polynomials take them: relative to the length.
    fn parts<T: Scalar>(&self, gaps: &[T]) -> Vec<T> {
        let unit = self.length.map_or(1.0, f64::recip);
        gaps.iter().map(|g| *g * unit).collect()
    }

    /// The norm that a length brings.
    fn norm(&self) -> f64 {
        self.length.map_or(1.0, |l| l.powf(-0.5 * self.axes.len() as f64))
    }

    /// Logarithm of the factor that all functions have in common.
    pub(crate) fn log_factor<T: Scalar>(&self, gaps: &[T]) -> T {
        let mut log = T::zero();
        match self.length {
            None => {
                for (axis, g) in self.axes.iter().zip(gaps) {
                    if let Axis::Gap { scale, .. } = axis {
                        log += *g * *g * (-0.5 * scale * scale);
                    }
                }
            }
            Some(length) => {
                for &k in &self.factors {
                    log += (gaps[k] / length).ln();
                }
            }
        }
        log
    }

    /// The factor itself, which may vanish.
    pub(crate) fn factor<T: Scalar>(&self, gaps: &[T]) -> T {
        match self.length {
            None => self.log_factor(gaps).exp(),
            Some(length) => self.factors.iter().fold(T::one(), |f, &k| f * (gaps[k] / length)),
        }
    }

    /// `sum_n c_n f_n`, without the common factor.
    pub(crate) fn sum<T: Scalar>(&self, c: &[f64], gaps: &[T], tables: &mut Tables<T>) -> T {
        let parts = self.parts(gaps);
        let mut rest = T::one();
        for j in 0..self.axes.len() {
            self.tabulate(j, parts[j], rest, tables);
            rest -= parts[j];
            let Tables { values, starts, level, next } = tables;
            next.clear();
            let mut at = 0;
            for &l in &self.blocks[j] {
                let table = &values[starts[l]..];
                let count = self.axes[j].count(l);
                let mut sum = T::zero();
                if j == 0 {
                    for (c, v) in c[at..at + count].iter().zip(table) {
                        sum = sum.add_scaled(*c, *v);
                    }
                } else {
                    for (c, v) in level[at..at + count].iter().zip(table) {
                        sum += *c * *v;
                    }
                }
                next.push(sum);
                at += count;
            }
            std::mem::swap(level, next);
        }
        tables.level[0] * self.norm()
    }

    /// All functions, with the common factor, in the order of the coefficients.
    pub(crate) fn all<T: Scalar>(&self, gaps: &[T]) -> Vec<T> {
        let parts = self.parts(gaps);
        let mut rests = vec![T::one()];
        for part in &parts[..self.axes.len() - 1] {
            rests.push(rests[rests.len() - 1] - *part);
        }
        let mut level = vec![self.factor(gaps) * self.norm()];
        let mut tables = Tables::default();
        for j in (0..self.axes.len()).rev() {
            self.tabulate(j, parts[j], rests[j], &mut tables);
            let mut next = Vec::new();
            for (&l, &outer) in self.blocks[j].iter().zip(&level) {
                let table = &tables.values[tables.starts[l]..];
                next.extend(table[..self.axes[j].count(l)].iter().map(|v| *v * outer));
            }
            level = next;
        }
        level
    }

    /// The functions of axis `j` as a density of its own coordinate sees them, at `t` (a share of what is left on a simplex),
    /// by the degree in later gaps: squares are to be integrated with [`Self::measure`].
    pub(crate) fn own(&self, j: usize, t: f64, out: &mut Vec<f64>, starts: &mut Vec<usize>) {
        out.clear();
        starts.clear();
        match &self.axes[j] {
            Axis::Gap { line, scale, count } => {
                starts.push(0);
                let s = t * scale;
                line.values(s, *count, out);
                let norm = scale.sqrt() * (-0.5 * s * s).exp();
                out.iter_mut().for_each(|v| *v *= norm);
            }
            Axis::Side { families, .. } => {
                for (l, family) in families.iter().enumerate() {
                    let from = out.len();
                    starts.push(from);
                    family.values(t, 1.0, families.len() - l, out);
                    let factor = t.powi(family.rise as i32) * (1.0 - t).powi(family.fall as i32);
                    out[from..].iter_mut().for_each(|v| *v *= factor);
                }
            }
        }
    }

    /// Weight of the coordinate of axis `j`.
    pub(crate) fn measure(&self, j: usize, t: f64) -> f64 {
        match &self.axes[j] {
            Axis::Gap { .. } => 1.0,
            Axis::Side { measure, .. } => (1.0 - t).powi(*measure as i32),
        }
    }

    /// Blocks of the functions of axis `j`.
    pub(crate) fn blocks(&self, j: usize) -> &[usize] {
        &self.blocks[j]
    }

    /// Number of gaps of a simplex at which the functions vanish, or one where those of a trap vanish at the first.
    pub(crate) fn zeros(&self) -> usize {
        match &self.axes[0] {
            Axis::Gap { line, .. } => usize::from(line.vanishes()),
            Axis::Side { .. } => self.factors.len(),
        }
    }

    /// Number of functions of an axis at most.
    pub(crate) fn degree(&self, j: usize) -> usize {
        self.axes[j].count(0)
    }
}

impl Axis {
    /// Number of functions at a degree `l` in later gaps.
    pub(crate) fn count(&self, l: usize) -> usize {
        match self {
            Axis::Gap { count, .. } => *count,
            Axis::Side { families, .. } => families.len() - l,
        }
    }

    /// Where the coordinate ends: a gap where a Gaussian leaves nothing, or a whole share.
    pub(crate) fn end(&self) -> f64 {
        match self {
            Axis::Gap { scale, count, .. } => (90f64.sqrt() + (4.0 * *count as f64).sqrt()) / scale,
            Axis::Side { .. } => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::quadrature::GaussLegendre;

    /// Orthonormal by brute force, and sums are sums of all.
    #[test]
    fn functions_are_orthonormal() {
        let rule = GaussLegendre::new(60);
        for (cell, ends) in [
            (Cell::in_trap(4, &[true, false]), [12.0, 12.0]),
            (Cell::on_simplex(5, &[true, false, true], 3.0), [3.0, 3.0]),
            (Cell::on_simplex(4, &[false, false, false], 2.0), [2.0, 2.0]),
        ] {
            let mut sum = vec![0.0; cell.dimension() * cell.dimension()];
            for panel in 0..6 {
                let width = ends[0] / 6.0;
                let (a, b) = (f64::from(panel) * width, f64::from(panel + 1) * width);
                for (x, w) in rule.on(a, b) {
                    for (y, v) in rule.on(0.0, cell.length.map_or(ends[1], |l| l - x)) {
                        let last = cell.length.map_or(0.0, |l| l - x - y);
                        let f = cell.all(&[x, y, last]);
                        for i in 0..f.len() {
                            for j in 0..f.len() {
                                sum[i * f.len() + j] += w * v * f[i] * f[j];
                            }
                        }
                        let c: Vec<f64> = (0..f.len()).map(|i| (i as f64).cos()).collect();
                        let gaps = [x, y, last];
                        let direct: f64 = c.iter().zip(&f).map(|(c, f)| c * f).sum();
                        let nested = cell.sum(&c, &gaps, &mut Tables::default());
                        let nested = nested * cell.factor(&gaps);
                        assert!((direct - nested).abs() < 1e-10 * (1.0 + direct.abs()));
                    }
                }
            }
            let n = cell.dimension();
            for i in 0..n {
                for j in 0..n {
                    let unit = f64::from(u8::from(i == j));
                    assert!((sum[i * n + j] - unit).abs() < 1e-9, "{i} {j} {}", sum[i * n + j]);
                }
            }
        }
    }
}
