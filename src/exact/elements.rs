//! Lowest levels of one coordinate by spectral elements, with edges where the potential has kinks and cores.
//!
//! Each element carries the Lagrange polynomials of its Gauss–Lobatto points, and the same points are its quadrature
//! (T. N. Rescigno, C. W. McCurdy, "Numerical grid methods for quantum-mechanical scattering problems", Phys. Rev. A 62,
//! 032706 (2000)): a potential may jump at an edge and costs nothing there. Elements are halved until each has a potential
//! that is as good as a polynomial, and energies are compared between two degrees and two extents.

use super::Noise;
use crate::math::linalg::{EigenFailure, dot, symmetric_eigen};
use faer::Mat;

/// What the function does at the left end; at the right one it vanishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeftEnd {
    Vanishes,
    Flat,
}

/// `-stiffness u'' + potential u = E u`.
pub(crate) struct Line<'a> {
    pub(crate) potential: &'a dyn Fn(f64) -> f64,
    /// One half for a particle, one for the distance of two.
    pub(crate) stiffness: f64,
    /// Where kinks and cores may be.
    pub(crate) special: Vec<f64>,
    /// Hard ends; infinite where there are none.
    pub(crate) ends: (f64, f64),
    pub(crate) left: LeftEnd,
}

/// Lowest levels, with what is known of their errors.
pub(crate) struct Levels {
    pub(crate) energies: Vec<f64>,
    /// Change with the degree, and with the extent.
    pub(crate) functions: Vec<f64>,
    pub(crate) walls: Vec<f64>,
    /// Points and the probability at each, by levels.
    pub(crate) points: Vec<f64>,
    pub(crate) densities: Vec<Vec<f64>>,
    /// Where the functions end.
    pub(crate) extent: (f64, f64),
    pub(crate) elements: usize,
}

/// A function on an element, by its coefficients in Legendre polynomials of the interval.
pub(crate) struct Piece {
    pub(crate) start: f64,
    pub(crate) end: f64,
    pub(crate) coefficients: Vec<f64>,
}

impl Levels {
    /// The lowest level as a function, which has no node.
    pub(crate) fn ground_state(&self) -> Vec<Piece> {
        let degree = CHECK_DEGREE;
        let (nodes, weights, _) = lobatto(degree);
        let masses: Vec<f64> = (0..self.points.len())
            .map(|k| {
                let half =
                    |e: usize| 0.5 * (self.points[(e + 1) * degree] - self.points[e * degree]);
                let (e, i) = (k / degree, k % degree);
                let left = if i == 0 && e > 0 { half(e - 1) * weights[degree] } else { 0.0 };
                let right = if e < self.elements { half(e) * weights[i] } else { 0.0 };
                left + right
            })
            .collect();
        let mass = |k: usize| (self.densities[0][k] / masses[k]).sqrt();
        (0..self.elements)
            .map(|e| {
                let first = e * degree;
                let mut coefficients = vec![0.0; degree + 1];
                for (i, (&x, &w)) in nodes.iter().zip(&weights).enumerate() {
                    let u = mass(first + i);
                    let (mut before, mut now) = (0.0, 1.0);
                    for (l, c) in coefficients.iter_mut().enumerate() {
                        // The rule does not integrate the square of the last polynomial.
                        let norm = if l == degree { 0.5 * l as f64 } else { l as f64 + 0.5 };
                        *c += norm * w * now * u;
                        let k = l as f64;
                        (before, now) = (now, ((2.0 * k + 1.0) * x * now - k * before) / (k + 1.0));
                    }
                }
                Piece { start: self.points[first], end: self.points[first + degree], coefficients }
            })
            .collect()
    }

    /// Expectation value of a function of the coordinate in level `k`.
    pub(crate) fn mean(&self, k: usize, f: impl Fn(f64) -> f64) -> f64 {
        let terms = self.points.iter().zip(&self.densities[k]);
        terms.filter(|(_, p)| **p != 0.0).map(|(x, p)| p * f(*x)).sum()
    }
}

/// Degrees of the polynomials.
const DEGREE: usize = 12;
const CHECK_DEGREE: usize = 18;
/// Most elements.
const MOST_ELEMENTS: usize = 600;
/// Decay of a level, as the integral of its wave number, up to the ends; and how much further the check goes.
const DECAY: f64 = 19.0;
const FURTHER: f64 = 26.0;
/// Units of length at most between the region a level is in and the ends.
const FARTHEST: f64 = 600.0;

/// The lowest `states` levels, to `tolerance` if it can be had. `start` is an interval in which the lowest of them mostly is.
/// `None` where a level is not bound, or too weakly for an extent of some hundred units.
pub(crate) fn levels(
    line: &Line<'_>,
    start: (f64, f64),
    states: usize,
    tolerance: f64,
) -> Result<Option<Levels>, EigenFailure> {
    let clip = |(a, b): (f64, f64)| (a.max(line.ends.0), b.min(line.ends.1));
    let mut extent = clip(start);
    let mut top = f64::NAN;
    for _ in 0..12 {
        let edges = edges(line, extent, top, 1);
        let found = solve(line, &edges, DEGREE, states)?;
        let Some(&highest) = found.energies.last() else { return Ok(None) };
        let wanted = match reach(line, extent, highest, DECAY) {
            Some(wanted) => clip(wanted),
            // All of the extent is allowed: go further.
            None => {
                let width = extent.1 - extent.0;
                clip((extent.0 - width, extent.1 + width))
            }
        };
        let close = |a: f64, b: f64| (a - b).abs() <= 0.1 * (extent.1 - extent.0);
        let settled = (highest - top).abs() <= 1e-3 * (1.0 + highest.abs());
        let fits = close(wanted.0, extent.0) && close(wanted.1, extent.1);
        let stuck = wanted == extent;
        extent = wanted;
        top = highest;
        if extent.1 - extent.0 > 4.0 * FARTHEST + (start.1 - start.0) {
            return Ok(None);
        }
        if settled && (fits || stuck) {
            break;
        }
    }
    let Some(further) = reach(line, extent, top, FURTHER).map(clip) else {
        let hard = extent.0 == line.ends.0 && extent.1 == line.ends.1;
        return if hard {
            refined(line, extent, extent, top, states, tolerance).map(Some)
        } else {
            Ok(None)
        };
    };
    refined(line, extent, further, top, states, tolerance).map(Some)
}

/// Elements halved until the degree does not matter.
fn refined(
    line: &Line<'_>,
    extent: (f64, f64),
    further: (f64, f64),
    top: f64,
    states: usize,
    tolerance: f64,
) -> Result<Levels, EigenFailure> {
    let change = |a: &[f64], b: &[f64]| -> Vec<f64> {
        a.iter().zip(b).map(|(x, y)| (x - y).abs()).collect()
    };
    let mut parts = 1;
    loop {
        let edges = edges(line, extent, top, parts);
        let coarse = solve(line, &edges, DEGREE, states)?;
        let fine = solve(line, &edges, CHECK_DEGREE, states)?;
        let functions = change(&coarse.energies, &fine.energies);
        let worst = functions.iter().copied().fold(0.0, f64::max);
        if worst > 0.1 * tolerance && parts < 8 && 2 * edges.len() < MOST_ELEMENTS {
            parts *= 2;
            continue;
        }
        let walls = if further == extent {
            vec![0.0; states]
        } else {
            let wide = self::edges(line, further, top, parts);
            change(&solve(line, &wide, DEGREE, states)?.energies, &coarse.energies)
        };
        return Ok(Levels { functions, walls, ..fine });
    }
}

/// Where the decay of a level with energy `e` has added up to `decay` on either side of where it is allowed within
/// `extent`; `None` if it is allowed up to an end that is not hard.
fn reach(line: &Line<'_>, extent: (f64, f64), e: f64, decay: f64) -> Option<(f64, f64)> {
    let count = 4000;
    let step = (extent.1 - extent.0) / f64::from(count);
    let allowed = |i: &i32| (line.potential)(extent.0 + f64::from(*i) * step) < e;
    let first = (1..count).find(allowed)?;
    let last = (1..count).rev().find(allowed)?;
    if (first == 1 && extent.0 > line.ends.0) || (last == count - 1 && extent.1 < line.ends.1) {
        return None;
    }
    let march = |from: f64, sign: f64, end: f64| {
        let (mut x, mut sum, mut step) = (from, 0.0, step);
        loop {
            x += sign * step;
            if (sign > 0.0 && x >= end) || (sign < 0.0 && x <= end) {
                return Some(end);
            }
            let v = (line.potential)(x);
            if !v.is_finite() {
                return Some(x - sign * step);
            }
            sum += step * ((v - e).max(0.0) / line.stiffness).sqrt();
            if sum >= decay {
                return Some(x);
            }
            if (x - from).abs() > FARTHEST {
                return None;
            }
            step *= 1.001;
        }
    };
    let left = match line.left {
        LeftEnd::Flat => extent.0,
        LeftEnd::Vanishes => march(extent.0 + f64::from(first) * step, -1.0, line.ends.0)?,
    };
    Some((left, march(extent.0 + f64::from(last) * step, 1.0, line.ends.1)?))
}

/// Least length of an element in a complete basis: the energies of shorter ones are so high that the rounding of a dense
/// eigenproblem reaches those that count.
const LEAST_OF_PAIRS: f64 = 5e-3;

/// Edges of the elements, ascending. Every element that the potential asks for is cut into `parts`.
fn edges(line: &Line<'_>, extent: (f64, f64), top: f64, parts: usize) -> Vec<f64> {
    edges_no_shorter(line, extent, top, parts, 1e-9 * (extent.1 - extent.0))
}

/// Edges of elements on `extent` for levels up to about `top`, as coarse as the potential and the waves allow.
pub(crate) fn edges_up_to(line: &Line<'_>, extent: (f64, f64), top: f64) -> Vec<f64> {
    edges_no_shorter(line, extent, top, 1, LEAST_OF_PAIRS)
}

/// Functions of given elements that vanish at the right end, orthonormal in the quadrature of their points: all points, those
/// of an edge twice, with the values and the slopes times the root of the weight (rows: points). The first function is the
/// one that is not zero at the left end, if there is one.
pub(crate) fn functions(
    edges: &[f64],
    degree: usize,
    left: LeftEnd,
) -> (Vec<f64>, Mat<f64>, Mat<f64>) {
    let (nodes, weights, slopes) = lobatto(degree);
    let elements = edges.len() - 1;
    let first = usize::from(left == LeftEnd::Vanishes);
    let mut masses = vec![0.0; elements * degree + 1];
    for (e, w) in edges.windows(2).enumerate() {
        for (i, weight) in weights.iter().enumerate() {
            masses[e * degree + i] += 0.5 * (w[1] - w[0]) * weight;
        }
    }
    let rows = elements * (degree + 1);
    let count = elements * degree - first;
    let (mut values, mut derivatives) = (Mat::zeros(rows, count), Mat::zeros(rows, count));
    let mut points = Vec::with_capacity(rows);
    for (e, w) in edges.windows(2).enumerate() {
        let (middle, half) = (0.5 * (w[0] + w[1]), 0.5 * (w[1] - w[0]));
        for i in 0..=degree {
            let row = points.len();
            // From within: at an edge the potential may jump.
            points.push(middle + half * nodes[i] * (1.0 - 1e-12));
            let root = (half * weights[i]).sqrt();
            for j in 0..=degree {
                let k = e * degree + j;
                if (first..first + count).contains(&k) {
                    let unit = root / masses[k].sqrt();
                    values[(row, k - first)] += if i == j { unit } else { 0.0 };
                    derivatives[(row, k - first)] += unit * slopes[i][j] / half;
                }
            }
        }
    }
    (points, values, derivatives)
}

/// [`functions`] of degree `from`, which need not vanish at the left end, in those of degree `to`, by columns.
pub(crate) fn interpolation(edges: &[f64], from: usize, to: usize) -> Mat<f64> {
    let elements = edges.len() - 1;
    let ((coarse, light, _), (fine, heavy, _)) = (lobatto(from), lobatto(to));
    let root = |weights: &[f64], degree: usize, k: usize| {
        let half = |e: usize| 0.5 * (edges[e + 1] - edges[e]);
        let (e, i) = (k / degree, k % degree);
        let left = if i == 0 && e > 0 { half(e - 1) * weights[degree] } else { 0.0 };
        (left + half(e) * weights[i]).sqrt()
    };
    let mut out = Mat::zeros(elements * to, elements * from);
    for e in 0..elements {
        for (i, x) in fine[..to].iter().enumerate() {
            let row = e * to + i;
            for j in 0..=from {
                let column = e * from + j;
                if column < elements * from {
                    let others = coarse.iter().enumerate().filter(|(k, _)| *k != j);
                    let value: f64 = others.map(|(_, y)| (x - y) / (coarse[j] - y)).product();
                    out[(row, column)] = value * root(&heavy, to, row) / root(&light, from, column);
                }
            }
        }
    }
    out
}

fn edges_no_shorter(
    line: &Line<'_>,
    extent: (f64, f64),
    top: f64,
    parts: usize,
    least: f64,
) -> Vec<f64> {
    let mut special: Vec<f64> = line.special.clone();
    special.retain(|x| extent.0 < *x && *x < extent.1);
    special.extend([extent.0, extent.1]);
    special.sort_by(f64::total_cmp);
    special.dedup_by(|a, b| (*a - *b).abs() < 1e-9 * (extent.1 - extent.0));
    let v = line.potential;
    let (nodes, _, _) = lobatto(DEGREE);
    // Whether the polynomial through the points of an element is the potential between them as well.
    let smooth = |a: f64, b: f64| {
        let at = |t: f64| v(0.5 * (a + b) + 0.5 * (b - a) * t);
        let inner = |t: f64| at(t * (1.0 - 1e-12));
        let values: Vec<f64> = nodes.iter().map(|t| inner(*t)).collect();
        let size = values.iter().map(|v| v.abs()).fold(0.0, f64::max);
        // Where the level does not come, nobody looks so closely.
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let damping = if top.is_finite() {
            (-0.5 * (b - a) * ((low - top).max(0.0) / line.stiffness).sqrt()).exp().max(1e-9)
        } else {
            1.0
        };
        let allowed = (1e-9 / damping) * (1.0 + size.min(1e3));
        nodes.windows(2).skip(1).step_by(2).all(|w| {
            let t = 0.5 * (w[0] + w[1]);
            (interpolated(&nodes, &values, t) - inner(t)).abs() <= allowed
        })
    };
    let quick = |a: f64, b: f64| {
        // Not more than about a wave within an element.
        let lowest = [a, 0.5 * (a + b), b].map(v).into_iter().filter(|v| v.is_finite());
        let kinetic = top - lowest.fold(f64::INFINITY, f64::min);
        !(kinetic > 0.0 && (b - a) * (kinetic / line.stiffness).sqrt() > 5.0)
    };
    let mut open: Vec<(f64, f64)> = special.windows(2).rev().map(|w| (w[0], w[1])).collect();
    let mut edges = vec![extent.0];
    while let Some((a, b)) = open.pop() {
        if b - a > 2.0 * least
            && edges.len() + open.len() < MOST_ELEMENTS
            && !(quick(a, b) && smooth(a, b))
        {
            let middle = 0.5 * (a + b);
            open.push((middle, b));
            open.push((a, middle));
        } else {
            for k in 1..=parts {
                edges.push(a + (b - a) * k as f64 / parts as f64);
            }
        }
    }
    edges
}

/// The polynomial through `values` at `nodes`, at `t` (barycentric).
fn interpolated(nodes: &[f64], values: &[f64], t: f64) -> f64 {
    let (mut above, mut below) = (0.0, 0.0);
    for (i, x) in nodes.iter().enumerate() {
        let others = nodes.iter().enumerate().filter(|(j, _)| *j != i);
        let weight = others.map(|(_, y)| 1.0 / (x - y)).product::<f64>() / (t - x);
        above += weight * values[i];
        below += weight;
    }
    above / below
}

/// Gauss–Lobatto points, weights and the matrix of the derivatives of their Lagrange polynomials (row: point).
fn lobatto(degree: usize) -> (Vec<f64>, Vec<f64>, Vec<Vec<f64>>) {
    let p = degree as f64;
    let legendre = |x: f64| {
        let (mut before, mut now) = (1.0, x);
        for k in 2..=degree {
            let k = k as f64;
            (before, now) = (now, ((2.0 * k - 1.0) * x * now - (k - 1.0) * before) / k);
        }
        (now, before)
    };
    let mut nodes: Vec<f64> =
        (0..=degree).map(|i| -(std::f64::consts::PI * i as f64 / p).cos()).collect();
    for x in &mut nodes {
        for _ in 0..60 {
            let (now, before) = legendre(*x);
            *x -= (*x * now - before) / ((p + 1.0) * now);
        }
    }
    let at: Vec<f64> = nodes.iter().map(|x| legendre(*x).0).collect();
    let weights = at.iter().map(|l| 2.0 / (p * (p + 1.0) * l * l)).collect();
    let slope = |i: usize, j: usize| match (i == j, i) {
        (true, 0) => -0.25 * p * (p + 1.0),
        (true, i) if i == degree => 0.25 * p * (p + 1.0),
        (true, _) => 0.0,
        _ => at[i] / at[j] / (nodes[i] - nodes[j]),
    };
    let slopes = (0..=degree).map(|i| (0..=degree).map(|j| slope(i, j)).collect()).collect();
    (nodes, weights, slopes)
}

/// The matrix of all elements in the functions of unit length at the points.
struct Elements<'a> {
    line: &'a Line<'a>,
    degree: usize,
    lengths: Vec<f64>,
    weights: Vec<f64>,
    slopes: Vec<Vec<f64>>,
    /// Roots of the masses of the points, and the potential times the mass.
    roots: Vec<f64>,
    potential: Vec<f64>,
    points: Vec<f64>,
    /// First and last point that carries a function.
    first: usize,
    last: usize,
}

impl<'a> Elements<'a> {
    fn new(line: &'a Line<'a>, edges: &[f64], degree: usize) -> Self {
        let (nodes, weights, slopes) = lobatto(degree);
        let count = (edges.len() - 1) * degree + 1;
        let (mut points, mut masses) = (vec![0.0; count], vec![0.0; count]);
        let mut potential = vec![0.0; count];
        for (e, w) in edges.windows(2).enumerate() {
            let (middle, half) = (0.5 * (w[0] + w[1]), 0.5 * (w[1] - w[0]));
            for (i, t) in nodes.iter().enumerate() {
                let k = e * degree + i;
                points[k] = middle + half * t;
                masses[k] += half * weights[i];
                // From within: at an edge the potential may jump.
                let v = (line.potential)(middle + half * t * (1.0 - 1e-12));
                potential[k] += half * weights[i] * v;
            }
        }
        Elements {
            line,
            degree,
            lengths: edges.windows(2).map(|w| w[1] - w[0]).collect(),
            weights,
            slopes,
            roots: masses.iter().map(|m| m.sqrt()).collect(),
            potential,
            points,
            first: usize::from(line.left == LeftEnd::Vanishes),
            last: count - 2,
        }
    }

    fn size(&self) -> usize {
        self.last + 1 - self.first
    }

    /// Lower half of the band of `H - shift`: entry `(i, d)` is the element at row `i` and column `i - d`.
    fn band(&self, shift: f64) -> Vec<f64> {
        let width = self.degree + 1;
        let mut band = vec![0.0; self.size() * width];
        let mut add = |i: usize, j: usize, value: f64| {
            let inside = |k: usize| self.first <= k && k <= self.last;
            if inside(i) && inside(j) && j <= i {
                band[(i - self.first) * width + i - j] += value / (self.roots[i] * self.roots[j]);
            }
        };
        for (e, length) in self.lengths.iter().enumerate() {
            let factor = self.line.stiffness * 2.0 / length;
            for i in 0..=self.degree {
                for j in 0..=i {
                    let terms = self.weights.iter().zip(&self.slopes);
                    let sum: f64 = terms.map(|(w, d)| w * d[i] * d[j]).sum();
                    add(e * self.degree + i, e * self.degree + j, factor * sum);
                }
            }
        }
        for k in self.first..=self.last {
            add(k, k, self.potential[k] - shift * self.roots[k] * self.roots[k]);
        }
        band
    }

    /// Slopes of a function within each element times the root of the weights: their products are the kinetic energy
    /// without the cancellation that products with the matrix have.
    fn gradient(&self, u: &[f64]) -> Vec<f64> {
        let value = |k: usize| {
            if k < self.first || k > self.last { 0.0 } else { u[k - self.first] / self.roots[k] }
        };
        let mut out = Vec::with_capacity(self.lengths.len() * (self.degree + 1));
        for (e, length) in self.lengths.iter().enumerate() {
            let values: Vec<f64> = (0..=self.degree).map(|i| value(e * self.degree + i)).collect();
            for (w, d) in self.weights.iter().zip(&self.slopes) {
                // A constant has no slope: taken off, small differences keep their digits.
                let slope: f64 = d.iter().zip(&values).map(|(d, v)| d * (v - values[0])).sum();
                out.push(slope * (w * self.line.stiffness * 2.0 / length).sqrt());
            }
        }
        out
    }

    /// `H` between functions.
    fn projected(&self, x: &[Vec<f64>]) -> Mat<f64> {
        let gradients: Vec<Vec<f64>> = x.iter().map(|u| self.gradient(u)).collect();
        let weighted = |u: &[f64]| -> Vec<f64> {
            let at = |(k, u): (usize, &f64)| {
                let k = k + self.first;
                u * self.potential[k] / (self.roots[k] * self.roots[k])
            };
            u.iter().enumerate().map(at).collect()
        };
        let potentials: Vec<Vec<f64>> = x.iter().map(|u| weighted(u)).collect();
        let entry =
            |i: usize, j: usize| dot(&gradients[i], &gradients[j]) + dot(&x[i], &potentials[j]);
        Mat::from_fn(x.len(), x.len(), |i, j| if i >= j { entry(i, j) } else { entry(j, i) })
    }
}

/// Cholesky factor of a band, in place; false where the matrix is not positive.
fn factorise(band: &mut [f64], width: usize) -> bool {
    let n = band.len() / width;
    for i in 0..n {
        for d in (0..width.min(i + 1)).rev() {
            let j = i - d;
            let mut sum = band[i * width + d];
            for k in (i + 1).saturating_sub(width).max((j + 1).saturating_sub(width))..j {
                sum -= band[i * width + i - k] * band[j * width + j - k];
            }
            if d > 0 {
                band[i * width + d] = sum / band[j * width];
            } else if sum > 0.0 {
                band[i * width] = sum.sqrt();
            } else {
                return false;
            }
        }
    }
    true
}

/// Solves with the factor.
fn substitute(band: &[f64], width: usize, x: &mut [f64]) {
    let n = x.len();
    for i in 0..n {
        let sum: f64 = (1..width.min(i + 1)).map(|d| band[i * width + d] * x[i - d]).sum();
        x[i] = (x[i] - sum) / band[i * width];
    }
    for i in (0..n).rev() {
        x[i] /= band[i * width];
        for d in 1..width.min(i + 1) {
            x[i - d] -= band[i * width + d] * x[i];
        }
    }
}

/// All functions of given elements: levels of one coordinate, and their values at the points times the roots of the weights.
pub(crate) struct Complete {
    pub(crate) energies: Vec<f64>,
    /// A row for each point, a column for each level: orthogonal.
    pub(crate) levels: Mat<f64>,
    pub(crate) points: Vec<f64>,
}

/// Elements for a particle whose energy is at most `top`: where it decays, the ends; `None` where it is not bound.
pub(crate) fn edges_for(
    line: &Line<'_>,
    extent: (f64, f64),
    top: f64,
    further: bool,
) -> Option<Vec<f64>> {
    let clip = |(a, b): (f64, f64)| (a.max(line.ends.0), b.min(line.ends.1));
    // A pair is symmetric enough to be told from its energy to half of the digits.
    let decay = if further { 0.75 * DECAY } else { 0.6 * DECAY };
    let mut extent = clip(extent);
    for _ in 0..3 {
        extent = clip(reach(line, extent, top, decay)?);
    }
    Some(edges_no_shorter(line, extent, top, 1, LEAST_OF_PAIRS))
}

/// The complete basis of given elements.
pub(crate) fn complete(
    line: &Line<'_>,
    edges: &[f64],
    degree: usize,
) -> Result<Complete, EigenFailure> {
    let h = Elements::new(line, edges, degree);
    let (n, width) = (h.size(), degree + 1);
    let band = h.band(0.0);
    let dense = Mat::from_fn(n, n, |i, j| {
        let (i, j) = (i.max(j), i.min(j));
        if i - j < width { band[i * width + i - j] } else { 0.0 }
    });
    let (energies, levels) = symmetric_eigen(dense.as_ref())?;
    Ok(Complete { energies, levels, points: h.points[h.first..=h.last].to_vec() })
}

/// Vectors beyond the states asked for, and most iterations.
const GUARDS: usize = 6;
const ITERATIONS: usize = 400;

/// The lowest levels in given elements by inverse iteration of a subspace.
fn solve(
    line: &Line<'_>,
    edges: &[f64],
    degree: usize,
    states: usize,
) -> Result<Levels, EigenFailure> {
    let h = Elements::new(line, edges, degree);
    let (n, width) = (h.size(), degree + 1);
    let count = (states + GUARDS).min(n);
    let mut noise = Noise::default();
    let mut x: Vec<Vec<f64>> = (0..count)
        .map(|k| {
            let wave = |i: usize| {
                let u = (i as f64 + 1.0) / (n as f64 + 1.0);
                ((k + 1) as f64 * std::f64::consts::PI * u).sin() * h.roots[i + h.first]
            };
            (0..n).map(|i| wave(i) + 1e-3 * noise.next() * h.roots[i + h.first]).collect()
        })
        .collect();
    let masses = |k: usize| h.roots[k] * h.roots[k];
    let lowest =
        (h.first..=h.last).map(|k| h.potential[k] / masses(k)).fold(f64::INFINITY, f64::min);
    if !lowest.is_finite() || h.potential.iter().any(|v| v.is_nan()) {
        return Err(EigenFailure { size: n });
    }
    let mut shift = lowest - 1e-3 * (1.0 + lowest.abs());
    let mut factor = h.band(shift);
    if !factorise(&mut factor, width) {
        return Err(EigenFailure { size: n });
    }
    let mut energies = vec![f64::INFINITY; count];
    let mut quiet = 0;
    for iteration in 0..ITERATIONS {
        for v in &mut x {
            substitute(&factor, width, v);
        }
        orthonormalise(&mut x);
        let (values, vectors) = symmetric_eigen(h.projected(&x).as_ref())?;
        x = (0..count)
            .map(|k| {
                let mut v = vec![0.0; n];
                for (j, b) in x.iter().enumerate() {
                    v.iter_mut().zip(b).for_each(|(v, b)| *v += vectors[(j, k)] * b);
                }
                v
            })
            .collect();
        let change = (0..states.min(count))
            .map(|k| (values[k] - energies[k]).abs() / (1.0 + values[k].abs()))
            .fold(0.0, f64::max);
        energies = values;
        quiet = if change < 1e-13 { quiet + 1 } else { 0 };
        if quiet == 2 {
            break;
        }
        // Closer below the lowest level, once its place is known.
        if matches!(iteration, 6 | 14 | 30 | 60) && count > 1 {
            let closer = energies[0] - 0.2 * (energies[count - 1] - energies[0]);
            let mut other = h.band(closer);
            if closer > shift && factorise(&mut other, width) {
                (shift, factor) = (closer, other);
            }
        }
    }
    let states = states.min(count);
    let mut densities = Vec::with_capacity(states);
    for v in &x[..states] {
        let mut density = vec![0.0; h.points.len()];
        density[h.first..=h.last].iter_mut().zip(v).for_each(|(d, u)| *d = u * u);
        densities.push(density);
    }
    energies.truncate(states);
    Ok(Levels {
        functions: vec![f64::INFINITY; states],
        walls: vec![f64::INFINITY; states],
        energies,
        points: h.points,
        densities,
        extent: (edges[0], edges[edges.len() - 1]),
        elements: edges.len() - 1,
    })
}

/// Gram and Schmidt, twice.
fn orthonormalise(x: &mut [Vec<f64>]) {
    for k in 0..x.len() {
        let (before, rest) = x.split_at_mut(k);
        let v = &mut rest[0];
        for _ in 0..2 {
            for b in before.iter() {
                let s = dot(v, b);
                v.iter_mut().zip(b).for_each(|(v, b)| *v -= s * b);
            }
            let length = dot(v, v).sqrt();
            v.iter_mut().for_each(|v| *v /= length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn particle(v: &dyn Fn(f64) -> f64, special: &[f64], start: f64, states: usize) -> Levels {
        let line = Line {
            potential: v,
            stiffness: 0.5,
            special: special.to_vec(),
            ends: (f64::NEG_INFINITY, f64::INFINITY),
            left: LeftEnd::Vanishes,
        };
        levels(&line, (-start, start), states, 1e-10).unwrap().unwrap()
    }

    fn check(found: &Levels, expected: &[f64], within: f64) {
        for (k, e) in expected.iter().enumerate() {
            let deviation = (found.energies[k] - e).abs();
            assert!(deviation < within, "level {k}: {} off by {deviation:e}", found.energies[k]);
        }
    }

    #[test]
    fn levels_of_smooth_kinked_and_stepped_potentials() {
        check(&particle(&|x| 0.5 * x * x, &[0.0], 3.0, 8), &[0.5, 1.5, 2.5, 3.5, 4.5], 1e-10);
        // Zeros of the Airy function and of its derivative.
        let a = 2f64.cbrt();
        let airy = [1.018_792_971_647_471 * a, 2.338_107_410_459_767 * a];
        check(&particle(&|x| 2.0 * (x - 0.3).abs(), &[0.3], 3.0, 2), &airy, 1e-10);
        // A square well of half-width 1 and depth 12.5: k tan k = sqrt(25 - k²).
        let mut k: f64 = 1.3;
        for _ in 0..200 {
            k = (25.0 - k * k).sqrt().atan2(k);
        }
        let step = |x: f64| if x.abs() < 1.0 { -12.5 } else { 0.0 };
        check(&particle(&step, &[-1.0, 1.0], 2.0, 1), &[0.5 * k * k - 12.5], 1e-9);
        // The same where nobody says where the steps are.
        check(&particle(&step, &[], 2.0, 1), &[0.5 * k * k - 12.5], 1e-5);
    }

    #[test]
    fn means_are_those_of_the_level() {
        let found = particle(&|x| 0.5 * x * x, &[], 3.0, 2);
        assert!((found.mean(1, |x| 0.5 * x * x) - 0.75).abs() < 1e-10);
        assert!(found.functions[0] < 1e-10 && found.walls[0] < 1e-10);
    }

    #[test]
    fn what_is_not_bound_has_no_levels() {
        let line = Line {
            potential: &|x: f64| (-x * x).exp(),
            stiffness: 0.5,
            special: vec![],
            ends: (f64::NEG_INFINITY, f64::INFINITY),
            left: LeftEnd::Vanishes,
        };
        assert!(levels(&line, (-3.0, 3.0), 1, 1e-8).unwrap().is_none());
    }
}
