//! The sector base: for every order a sum of products of polynomials, with the exact cusp at contact.
//!
//! Where different components meet, continuity and `d log psi / d|d| = g/2` are linear conditions on the coefficients; with
//! polynomials they hold exactly, and the delta functions cancel. What is left is a symmetric eigenproblem in the null space
//! of the conditions, found by QR with pivots.

use super::cell::Cell;
use super::orders;
use super::rules::{FINER, Rule, SMOOTH, face, is_polynomial, length, rule, rule_with};
use super::symmetry::{Link, Orders};
use super::{Gas, Space};
use crate::math::linalg::{EigenFailure, mul, row_space, symmetric_eigen, symmetrised};
use crate::math::scalar::{Jet, Scalar, with_jet_width};
use faer::Mat;
use rayon::prelude::*;

/// The lowest state of a gas in the sector base, and what follows from its coefficients.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    pub(crate) gas: Gas,
    pub(crate) orders: Orders,
    pub(crate) cells: Vec<Cell>,
    /// Coefficients of the function of each cell; its square integrates to the weight of one order.
    pub(crate) coefficients: Vec<Vec<f64>>,
    /// Factor of the function of each order that is not its own, where the particles are impenetrable: one otherwise.
    pub(crate) weights: Vec<f64>,
    /// Energies of the lowest states without the centre of mass, in the units of the gas.
    pub(crate) energies: Vec<f64>,
    /// `<H²> - <H>²` of the lowest.
    pub(crate) variance: f64,
    /// `<sum delta>` of the lowest.
    pub(crate) contact: f64,
    /// Largest violation of the conditions at contact, relative to their rows.
    pub(crate) mismatch: f64,
}

/// Orders from which on nobody looks at them one by one.
const MOST_ORDERS: f64 = 6000.0;

/// Diagonal elements below this share of the largest are zero: of conditions, and of even functions.
const NULL: f64 = 1e-10;
const EVEN: f64 = 1e-9;
/// Rows of conditions that are shorter than this share of the largest element are none. Those for polynomials of a face to which all that functions
/// leave there is orthogonal, or that no even function meets, are zero but for rounding, which grows with the degree (1e-13 at 13 between walls) and
/// would be a false condition once it has length one; the shortest true ones of four particles there are 1e-2.
const CONDITION: f64 = 1e-10;

impl Base {
    /// Number of coefficients of all cells with so many functions a gap, or polynomials of such a degree; of more orders than
    /// anybody can use a lower bound.
    pub(crate) fn dimension(gas: &Gas, functions: usize) -> usize {
        let count = orders::count(&gas.counts);
        if count > MOST_ORDERS {
            // The conversion saturates.
            return count as usize;
        }
        let orders = Orders::new(gas);
        let of = |order: &Vec<u8>| -> f64 {
            let zeros: Vec<bool> =
                (0..orders.gaps()).map(|k| vanishes(gas, &orders, order, k)).collect();
            match gas.space {
                Space::Trap { .. } => zeros
                    .iter()
                    .map(|zero| functions.saturating_sub(usize::from(*zero)).max(1) as f64)
                    .product(),
                _ => {
                    let factors = zeros.iter().filter(|z| **z).count();
                    let degree = functions.saturating_sub(factors) as f64;
                    (1..orders.gaps()).map(|i| i as f64).fold(1.0, |c, i| c * (degree + i) / i)
                }
            }
        };
        orders.cells.iter().map(of).sum::<f64>().round() as usize
    }

    /// Floating-point operations and bytes that [`Base::new`] takes.
    pub(crate) fn cost(gas: &Gas, functions: usize) -> (f64, f64) {
        let size = Self::dimension(gas, functions) as f64;
        let gaps = match gas.space {
            Space::Trap { .. } => gas.particles() - 1,
            Space::Ring { .. } => gas.particles() - 1,
            Space::Walls { .. } => gas.particles(),
        };
        let points = ((functions + 2) as f64).powi(gaps as i32);
        let conditions = 2.0 * size.min(points);
        // The decomposition, and products of tables with the null space.
        let work = 12.0 * size.powi(3) + points * size * size + conditions * size * size;
        (work, 8.0 * (8.0 * size * size + 4.0 * PIECE as f64 * size))
    }

    /// Expectation values of the external potential (without that of the centre of mass in a trap) and of the
    /// interactions beside the contact.
    pub(crate) fn potentials(&self) -> Result<(f64, f64), EigenFailure> {
        let functions = self.cells[0].degree(0) + self.cells[0].zeros();
        let rule = rule(&self.gas, functions, self.orders.gaps())?;
        let mut sums = (0.0, 0.0);
        let mut tables = Default::default();
        for (link, weight) in self.orders.links.iter().zip(&self.weights) {
            let cell = &self.cells[link.cell];
            for (gaps, w) in rule.points.iter().zip(&rule.weights) {
                let there: Vec<f64> = link.map.iter().map(|&g| gaps[g]).collect();
                let psi = cell.sum(&self.coefficients[link.cell], &there, &mut tables)
                    * cell.factor(&there)
                    * weight;
                let (external, rest) = potential(&self.gas, gaps);
                sums.0 += w * psi * psi * external;
                sums.1 += w * psi * psi * rest;
            }
        }
        Ok(sums)
    }

    /// The energy of as many free fermions without the potential between walls, in the units of the gas.
    pub(crate) fn unit(&self) -> f64 {
        let n = self.gas.particles() as f64;
        match self.gas.space {
            Space::Trap { .. } => 0.5 * n * n,
            Space::Ring { length } => (std::f64::consts::PI / length).powi(2) * n * n * n / 6.0,
            Space::Walls { half_width, .. } => {
                let k = 0.5 * std::f64::consts::PI / half_width;
                k * k * n * (n + 1.0) * (2.0 * n + 1.0) / 12.0
            }
        }
    }

    /// How far the quadrature of potentials that are no polynomials may put the energy off: what some more points change it by, twice.
    pub(crate) fn quadrature_error(&self) -> Result<f64, EigenFailure> {
        if is_polynomial(&self.gas) {
            return Ok(0.0);
        }
        let functions = self.cells[0].degree(0) + self.cells[0].zeros();
        let mut weights = vec![0.0; self.cells.len()];
        for (link, w) in self.orders.links.iter().zip(&self.weights) {
            weights[link.cell] += w * w;
        }
        let sum = |extra: usize| -> Result<f64, EigenFailure> {
            let rule = rule_with(&self.gas, functions, self.orders.gaps(), extra)?;
            let at = |(gaps, w): (&Vec<f64>, &f64)| {
                let (external, rest) = potential(&self.gas, gaps);
                let mut tables = Default::default();
                let of = |(k, cell): (usize, &Cell)| {
                    let psi =
                        cell.sum(&self.coefficients[k], gaps, &mut tables) * cell.factor(gaps);
                    weights[k] * psi * psi
                };
                w * (external + rest) * self.cells.iter().enumerate().map(of).sum::<f64>()
            };
            let all: Vec<f64> = rule.points.par_iter().zip(&rule.weights).map(at).collect();
            Ok(all.iter().sum())
        };
        Ok(2.0 * (sum(SMOOTH + FINER)? - sum(SMOOTH)?).abs())
    }

    /// The lowest `states` states of a gas (in units of its trap) with so many functions a gap, or polynomials of such
    /// a degree.
    pub(crate) fn new(gas: &Gas, functions: usize, states: usize) -> Result<Self, EigenFailure> {
        crate::parallel::pin_linear_algebra();
        let orders = Orders::new(gas);
        let cells: Vec<Cell> = orders
            .cells
            .iter()
            .map(|order| {
                let zeros: Vec<bool> =
                    (0..orders.gaps()).map(|k| vanishes(gas, &orders, order, k)).collect();
                match gas.space {
                    Space::Trap { .. } => Cell::in_trap(functions, &zeros),
                    Space::Ring { length } => Cell::on_simplex(functions, &zeros, length),
                    Space::Walls { half_width, .. } => {
                        Cell::on_simplex(functions, &zeros, 2.0 * half_width)
                    }
                }
            })
            .collect();
        let rule = rule(gas, functions, orders.gaps())?;
        let starts: Vec<usize> = cells
            .iter()
            .scan(0, |at, cell| {
                let start = *at;
                *at += cell.dimension();
                Some(start)
            })
            .collect();
        let size: usize = cells.iter().map(Cell::dimension).sum();
        let mut base = Base {
            gas: gas.clone(),
            weights: vec![1.0; orders.all.len()],
            orders,
            cells,
            coefficients: Vec::new(),
            energies: Vec::new(),
            variance: f64::NAN,
            contact: 0.0,
            mismatch: 0.0,
        };
        let impenetrable = gas.strength.is_infinite();
        let null = if impenetrable {
            // All cells are alike, and one of them is enough.
            Mat::from_fn(size, base.cells[0].dimension(), |i, j| f64::from(u8::from(i == j)))
        } else {
            let conditions = base.conditions(functions, &starts, size)?;
            let even = base.even(&starts, size)?;
            let reduced = normalised(&mul(conditions.as_ref(), even.as_ref()), CONDITION);
            let null = mul(even.as_ref(), null_space(&reduced, even.ncols())?.as_ref());
            base.mismatch = largest(&mul(conditions.as_ref(), null.as_ref()));
            null
        };
        // The matrix of H in the null space, cell by cell.
        let part = |k: usize| null.subrows(starts[k], base.cells[k].dimension());
        let mut h = Mat::<f64>::zeros(null.ncols(), null.ncols());
        for (k, cell) in base.cells.iter().enumerate() {
            if impenetrable && k > 0 {
                break;
            }
            let own = matrix(gas, cell, &rule);
            h += mul(part(k).transpose(), mul(own.as_ref(), part(k)).as_ref());
        }
        let (energies, vectors) = symmetric_eigen(symmetrised(h.as_ref()).as_ref())?;
        let states = states.min(energies.len());
        base.energies = energies[..states].to_vec();
        let x = mul(null.as_ref(), vectors.subcols(0, 1));
        let (mut square, mut sum) = (0.0, 0.0);
        for (k, cell) in base.cells.iter().enumerate() {
            let own: Vec<f64> = (0..cell.dimension()).map(|i| x[(starts[k] + i, 0)]).collect();
            let (psi, image) = squares(gas, cell, &own, &rule);
            (sum, square) = (sum + psi, square + image);
        }
        base.variance = (square - energies[0] * energies[0]).max(0.0);
        // The sign that is positive where most of the weight is.
        let sign = if sum < 0.0 { -1.0 } else { 1.0 };
        if impenetrable {
            base.impenetrable(functions, |i| sign * x[(i, 0)])?;
        } else {
            for (k, cell) in base.cells.iter().enumerate() {
                let root = base.orders.shared[k].sqrt();
                let at = |i: usize| sign * x[(starts[k] + i, 0)] / root;
                base.coefficients.push((0..cell.dimension()).map(at).collect());
            }
            base.contact = base.meetings(functions)?;
        }
        Ok(base)
    }

    /// Probabilities of the orders, in the order of `orders.all`.
    pub(crate) fn probabilities(&self) -> Vec<f64> {
        let own = |(link, w): (&Link, &f64)| {
            w * w * self.coefficients[link.cell].iter().map(|c| c * c).sum::<f64>()
        };
        self.orders.links.iter().zip(&self.weights).map(own).collect()
    }

    /// Continuity and cusp at every meeting of different components, one normalised row each.
    fn conditions(
        &self,
        functions: usize,
        starts: &[usize],
        size: usize,
    ) -> Result<Mat<f64>, EigenFailure> {
        let n = self.gas.particles();
        let mut rows: Vec<Vec<f64>> = Vec::new();
        let mut done: Vec<(usize, usize)> = Vec::new();
        for (cell, order) in self.orders.cells.iter().enumerate() {
            for gap in 0..self.orders.gaps() {
                if vanishes(&self.gas, &self.orders, order, gap) || done.contains(&(cell, gap)) {
                    continue;
                }
                let Some(other) = self.orders.beyond(order, gap) else { continue };
                let Some(link) = self.orders.link(&other) else { continue };
                // The same meeting seen from the other side is no second condition.
                if let Some(there) = link.map.iter().position(|&g| g == gap) {
                    done.push((link.cell, there));
                }
                let face = face(&self.gas, functions, self.orders.gaps(), gap)?;
                let project = face_functions(&self.gas, functions, self.orders.gaps(), gap, &face);
                let found: Vec<[Vec<f64>; 2]> = face
                    .points
                    .par_iter()
                    .map(|gaps| {
                        with_jet_width!(n, N => self.rows_at::<N>(
                            gaps, cell, gap, &link, starts, size))
                    })
                    .collect();
                for kind in 0..2 {
                    let all = Mat::from_fn(found.len(), size, |p, i| found[p][kind][i]);
                    let kept = match &project {
                        Some(project) => mul(project.as_ref(), all.as_ref()),
                        None => all,
                    };
                    for r in 0..kept.nrows() {
                        rows.push((0..size).map(|i| kept[(r, i)]).collect());
                    }
                }
            }
        }
        Ok(normalised(&Mat::from_fn(rows.len(), size, |r, i| rows[r][i]), CONDITION))
    }

    /// Orthonormal coefficients of the functions of all cells, on a simplex of those that are even under what leaves their orders as they are: the
    /// row space of the sums over all images, at points where that of the functions is everything. In a trap, where functions are fewer, all.
    fn even(&self, starts: &[usize], size: usize) -> Result<Mat<f64>, EigenFailure> {
        let mut blocks = Vec::new();
        for (cell, order) in self.cells.iter().zip(&self.orders.cells) {
            let maps = self.orders.stabiliser(order);
            let n = cell.dimension();
            if maps.len() < 2 || cell.length.is_none() {
                blocks.push(Mat::<f64>::identity(n, n));
                continue;
            }
            let points: Vec<Vec<f64>> = (0..2 * n + 8).map(|k| spread(cell, k)).collect();
            let rows: Vec<Vec<f64>> = points
                .par_iter()
                .map(|gaps| {
                    let mut row = vec![0.0; n];
                    for map in &maps {
                        let there: Vec<f64> = map.iter().map(|&g| gaps[g]).collect();
                        row.iter_mut().zip(cell.all(&there)).for_each(|(r, f)| *r += f);
                    }
                    // As long as the functions are there: no place counts for more than others.
                    let own = cell.all(gaps).iter().map(|f| f * f).sum::<f64>().sqrt();
                    row.iter_mut().for_each(|r| *r /= own.max(f64::MIN_POSITIVE));
                    row
                })
                .collect();
            let rows = Mat::from_fn(rows.len(), n, |r, i| rows[r][i]);
            let (vectors, rank) = row_space(rows.as_ref(), EVEN)?;
            blocks.push(vectors.subcols(0, rank).to_owned());
        }
        let columns: usize = blocks.iter().map(Mat::ncols).sum();
        let mut all = Mat::<f64>::zeros(size, columns);
        let mut first = 0;
        for (block, &start) in blocks.iter().zip(starts) {
            for j in 0..block.ncols() {
                for i in 0..block.nrows() {
                    all[(start + i, first + j)] = block[(i, j)];
                }
            }
            first += block.ncols();
        }
        Ok(all)
    }

    /// The rows of continuity and of the cusp at one point of a face.
    fn rows_at<const N: usize>(
        &self,
        gaps: &[f64],
        cell: usize,
        gap: usize,
        link: &Link,
        starts: &[usize],
        size: usize,
    ) -> [Vec<f64>; 2] {
        let mut rows = [vec![0.0; size], vec![0.0; size]];
        let (a, b) = self.orders.neighbours(gap, self.gas.particles()).unwrap_or((0, 0));
        let jets = gap_jets::<N>(&self.gas, gaps);
        let beyond: Vec<Jet<N>> = link.map.iter().map(|&g| jets[g]).collect();
        let slope = |f: &Jet<N>| 0.5 * (f.gradient[b] - f.gradient[a]);
        for (which, of, at) in [(1.0, cell, &jets), (-1.0, link.cell, &beyond)] {
            let root = self.orders.shared[of].sqrt();
            for (i, f) in self.cells[of].all(at).iter().enumerate() {
                rows[0][starts[of] + i] += which * f.value / root;
                rows[1][starts[of] + i] += slope(f) / root;
                if which > 0.0 {
                    rows[1][starts[of] + i] -= self.gas.strength * f.value / root;
                }
            }
        }
        rows
    }

    /// `<sum delta>`: the integrals of the square over all meetings of different components.
    fn meetings(&self, functions: usize) -> Result<f64, EigenFailure> {
        let mut total = 0.0;
        for (cell, order) in self.orders.cells.iter().enumerate() {
            for gap in 0..self.orders.gaps() {
                if vanishes(&self.gas, &self.orders, order, gap) {
                    continue;
                }
                let face = face(&self.gas, functions, self.orders.gaps(), gap)?;
                let mut tables = Default::default();
                for (gaps, w) in face.points.iter().zip(&face.weights) {
                    let psi = self.cells[cell].sum(&self.coefficients[cell], gaps, &mut tables)
                        * self.cells[cell].factor(gaps);
                    total += 0.5 * self.orders.shared[cell] * w * psi * psi;
                }
            }
        }
        Ok(total)
    }

    /// Coefficients where no particle passes another: the limit of strong repulsion, in which the orders have the weights
    /// that gain most energy from `-1/g` times the square of what the slopes on both sides of all meetings sum to.
    fn impenetrable(
        &mut self,
        functions: usize,
        own: impl Fn(usize) -> f64,
    ) -> Result<(), EigenFailure> {
        let n = self.gas.particles();
        let function: Vec<f64> = (0..self.cells[0].dimension()).map(own).collect();
        let mut gain = vec![0.0; self.orders.gaps()];
        for (gap, gain) in gain.iter_mut().enumerate() {
            let Some((a, b)) = self.orders.neighbours(gap, n) else { continue };
            let face = face(&self.gas, functions, self.orders.gaps(), gap)?;
            for (gaps, w) in face.points.iter().zip(&face.weights) {
                *gain += with_jet_width!(n, N => {
                    let jets = gap_jets::<N>(&self.gas, gaps);
                    let all = self.cells[0].all(&jets);
                    let slope: f64 = all.iter().zip(&function)
                        .map(|(f, c)| 0.5 * c * (f.gradient[b] - f.gradient[a])).sum();
                    w * slope * slope
                });
            }
        }
        let mut weights = vec![1.0; self.orders.all.len()];
        let index = |order: &[u8]| {
            let turned = |r: usize| super::symmetry::rotated(order, r);
            (0..n).find_map(|r| self.orders.all.iter().position(|o| *o == turned(r)))
        };
        for _ in 0..20_000 {
            let mut next = vec![0.0; weights.len()];
            for (i, order) in self.orders.all.iter().enumerate() {
                for (gap, gain) in gain.iter().enumerate() {
                    if self.orders.vanishes(order, gap) {
                        continue;
                    }
                    let there = self.orders.beyond(order, gap).and_then(|o| index(&o));
                    next[i] += gain * (weights[i] + there.map_or(0.0, |j| weights[j]));
                }
            }
            let length = next.iter().map(|w| w * w).sum::<f64>().sqrt();
            if length.is_nan() || length <= 0.0 {
                break;
            }
            next.iter_mut().for_each(|w| *w /= length);
            let moved = next.iter().zip(&weights).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            weights = next;
            if moved < 1e-15 {
                break;
            }
        }
        let length = weights.iter().map(|w| w * w).sum::<f64>().sqrt();
        self.weights = weights.iter().map(|w| w / length).collect();
        self.coefficients = vec![function; self.cells.len()];
        Ok(())
    }
}

/// Whether the function of an order is zero at a gap.
fn vanishes(gas: &Gas, orders: &Orders, order: &[u8], gap: usize) -> bool {
    gas.strength.is_infinite() || orders.vanishes(order, gap)
}

/// Coordinates in ascending order that have these gaps: the first particle is at zero, or as far from the wall as the first
/// gap says.
fn places(gas: &Gas, gaps: &[f64]) -> Vec<f64> {
    let first = usize::from(matches!(gas.space, Space::Walls { .. }));
    let start = if first == 1 { gaps[0] } else { 0.0 };
    let step = |at: &mut f64, g: &f64| {
        *at += g;
        Some(*at)
    };
    let rest = gaps[first..first + gas.particles() - 1].iter().scan(start, step);
    std::iter::once(start).chain(rest).collect()
}

/// Gaps as functions of the coordinates in ascending order.
pub(crate) fn gap_jets<const N: usize>(gas: &Gas, gaps: &[f64]) -> Vec<Jet<N>> {
    let x: Vec<Jet<N>> =
        places(gas, gaps).iter().enumerate().map(|(i, &x)| Jet::variable(x, i)).collect();
    let mut jets = gaps_of(&gas.space, &x);
    // As given, to the last bit: zero is zero.
    jets.iter_mut().zip(gaps).for_each(|(j, g)| j.value = *g);
    jets
}

/// Gaps of coordinates in ascending order; between walls these are measured from the left one.
pub(crate) fn gaps_of<T: Scalar>(space: &Space, x: &[T]) -> Vec<T> {
    let between = x.windows(2).map(|w| w[1] - w[0]);
    match space {
        Space::Trap { .. } => between.collect(),
        Space::Ring { length } => {
            let last = x[0] - x[x.len() - 1] + *length;
            between.chain([last]).collect()
        }
        Space::Walls { half_width, .. } => {
            let last = -x[x.len() - 1] + 2.0 * half_width;
            [x[0]].into_iter().chain(between).chain([last]).collect()
        }
    }
}

/// The external potential and that of the interactions beside the contact, at gaps.
fn potential(gas: &Gas, gaps: &[f64]) -> (f64, f64) {
    let n = gas.particles();
    let x = places(gas, gaps);
    let (mut external, mut rest) = (0.0, 0.0);
    for i in 0..n {
        for j in 0..i {
            let d = x[i] - x[j];
            rest += gas.rest.value(match &gas.space {
                Space::Ring { length } => {
                    let k = std::f64::consts::PI / length;
                    (k * d).sin().abs() / k
                }
                _ => d,
            });
            if let Space::Trap { frequency } = &gas.space {
                external += 0.5 * frequency * frequency * d * d / n as f64;
            }
        }
        if let Space::Walls { half_width, external: v } = &gas.space {
            external += v.value(x[i] - half_width);
        }
    }
    (external, rest)
}

/// Points that one piece of a matrix takes: bounds the memory.
const PIECE: usize = 2048;

/// The matrix of `H` without the delta functions between the functions of a cell, symmetric only where conditions make it so.
fn matrix(gas: &Gas, cell: &Cell, rule: &Rule) -> Mat<f64> {
    let n = gas.particles();
    let size = cell.dimension();
    let mut sum = Mat::<f64>::zeros(size, size);
    for (points, weights) in rule.points.chunks(PIECE).zip(rule.weights.chunks(PIECE)) {
        let rows: Vec<(Vec<f64>, Vec<f64>)> = points
            .par_iter()
            .zip(weights)
            .map(|(gaps, w)| {
                let (external, rest) = potential(gas, gaps);
                let (v, root) = (external + rest, w.sqrt());
                with_jet_width!(n, N => {
                    let all = cell.all(&gap_jets::<N>(gas, gaps));
                    let image = |f: &Jet<N>| root * (v * f.value - 0.5 * f.laplacian);
                    (all.iter().map(|f| root * f.value).collect(), all.iter().map(image).collect())
                })
            })
            .collect();
        let values = Mat::from_fn(size, rows.len(), |i, p| rows[p].0[i]);
        let images = Mat::from_fn(rows.len(), size, |p, i| rows[p].1[i]);
        sum += mul(values.as_ref(), images.as_ref());
    }
    sum
}

/// Integrals of `psi |psi|` and of `(H psi)²` over a cell.
fn squares(gas: &Gas, cell: &Cell, c: &[f64], rule: &Rule) -> (f64, f64) {
    let n = gas.particles();
    let at = |(gaps, w): (&Vec<f64>, &f64)| {
        let (external, rest) = potential(gas, gaps);
        with_jet_width!(n, N => {
            let jets = gap_jets::<N>(gas, gaps);
            let psi = cell.sum(c, &jets, &mut Default::default()) * cell.factor(&jets);
            let image = (external + rest) * psi.value - 0.5 * psi.laplacian;
            (w * psi.value * psi.value.abs(), w * image * image)
        })
    };
    let all: Vec<(f64, f64)> = rule.points.par_iter().zip(&rule.weights).map(at).collect();
    all.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y))
}

/// What turns conditions at points of a face into as many as there are polynomials on it.
fn face_functions(
    gas: &Gas,
    functions: usize,
    gaps: usize,
    gap: usize,
    face: &Rule,
) -> Option<Mat<f64>> {
    if matches!(gas.space, Space::Trap { .. }) || gaps <= 3 {
        return None;
    }
    let cell = Cell::on_simplex(functions, &vec![false; gaps - 1], length(&gas.space));
    let columns: Vec<Vec<f64>> = face
        .points
        .iter()
        .zip(&face.weights)
        .map(|(gaps, w)| {
            let mut gaps = gaps.clone();
            gaps.remove(gap);
            cell.all(&gaps).iter().map(|f| w * f).collect()
        })
        .collect();
    Some(Mat::from_fn(cell.dimension(), columns.len(), |i, p| columns[p][i]))
}

/// Rows of length one; those shorter than a share of the largest element are left out.
fn normalised(m: &Mat<f64>, share: f64) -> Mat<f64> {
    let least = share * largest(m);
    let length = |r: usize| (0..m.ncols()).map(|j| m[(r, j)] * m[(r, j)]).sum::<f64>().sqrt();
    let lengths: Vec<f64> = (0..m.nrows()).map(length).collect();
    let kept: Vec<usize> = (0..m.nrows()).filter(|&r| lengths[r] > least).collect();
    Mat::from_fn(kept.len(), m.ncols(), |r, j| m[(kept[r], j)] / lengths[kept[r]])
}

/// Gaps of point `k` of a sequence that fills a simplex, more densely at its ends (an additive recurrence with powers of the generalised
/// golden ratio).
fn spread(cell: &Cell, k: usize) -> Vec<f64> {
    let axes = cell.axes.len();
    let mut ratio = 1.5f64;
    for _ in 0..60 {
        ratio = (1.0 + ratio).powf(1.0 / (axes as f64 + 1.0));
    }
    let mut rest = cell.length.unwrap_or(1.0);
    let mut gaps = Vec::new();
    for j in 0..axes {
        let u = (0.5 + (k + 1) as f64 * ratio.powi(-(j as i32 + 1))).fract();
        gaps.push((0.5 * std::f64::consts::PI * u).sin().powi(2) * rest);
        rest -= gaps[j];
    }
    gaps.push(rest);
    gaps
}

fn largest(m: &Mat<f64>) -> f64 {
    let mut most = 0.0f64;
    for j in 0..m.ncols() {
        for i in 0..m.nrows() {
            most = most.max(m[(i, j)].abs());
        }
    }
    most
}

/// Orthonormal columns that all conditions annihilate.
fn null_space(conditions: &Mat<f64>, size: usize) -> Result<Mat<f64>, EigenFailure> {
    if conditions.nrows() == 0 {
        return Ok(Mat::identity(size, size));
    }
    let (vectors, rank) = row_space(conditions.as_ref(), NULL)?;
    Ok(vectors.subcols(rank, size - rank).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{External, Interaction};

    fn base(counts: &[usize], space: Space, strength: f64, functions: usize) -> Base {
        let gas = Gas { counts: counts.to_vec(), space, strength, rest: Interaction::None };
        Base::new(&gas, functions, 1).unwrap()
    }

    /// Busch's pair, the Bethe ansatz and glued gaps; the conditions at contact hold to rounding.
    #[test]
    fn energies_are_those_of_others_and_the_cusp_is_exact() {
        let trap = || Space::Trap { frequency: 1.0 };
        let ring = || Space::Ring { length: 6.0 };
        let walls = || Space::Walls { half_width: 3.0, external: External::Free };
        for (counts, space, g, functions, exact, error) in [
            (vec![1, 1], trap(), 1.0, 12, 0.8067455412310827, 1e-10),
            (vec![1, 1], trap(), -5.0, 20, -6.230212839936861, 1e-8),
            (vec![2, 1], trap(), 1.0, 9, 2.493516343907, 2e-9),
            (vec![2, 1], trap(), 50.0, 9, 3.920100851976, 2e-9),
            (vec![2, 1], trap(), f64::INFINITY, 10, 4.0, 1e-9),
            (vec![2, 2], trap(), 1.0, 6, 4.411160435479, 1e-4),
            (vec![3, 1], ring(), 1.0, 12, 1.5026180435008636, 1e-9),
            // Divide and conquer makes no numbers of its conditions.
            (vec![3, 1], ring(), 10.0, 16, 2.417165447457, 1e-10),
            (vec![3, 1], ring(), -1.0, 10, 0.4715886998420153, 1e-7),
            (vec![1, 1], walls(), 1.0, 14, 0.44246188061292624, 1e-12),
            (vec![2, 1], walls(), 10.0, 11, 1.743471860971054, 1e-4),
            (vec![2, 2], walls(), 1.0, 9, 2.038218584438573, 0.05),
            (vec![1, 1, 1], ring(), 1.0, 8, 0.3406203198151767, 1e-6),
        ] {
            let found = base(&counts, space.clone(), g, functions);
            let above = found.energies[0] - exact;
            assert!(above > -1e-10 && above < error, "{counts:?} {space:?} {g}: {above:e}");
            assert!(found.mismatch < 1e-12, "{counts:?} {space:?} {g}: {:e}", found.mismatch);
            let sum: f64 = found.probabilities().iter().sum();
            assert!((sum - 1.0).abs() < 1e-12);
        }
    }

    /// Polynomials of a degree are among those of the next one: what is no condition but rounding once raised the energy of (2, 2)
    /// by six thousandths of a hartree at degree 13.
    #[test]
    fn energies_fall_with_every_degree() {
        let ring = || Space::Ring { length: 6.0 };
        let walls = || Space::Walls { half_width: 3.0, external: External::Free };
        for (counts, space, g, degrees) in [
            (vec![2, 2], walls(), 50.0, 12..=13),
            (vec![2, 1], walls(), 50.0, 6..=20),
            (vec![2, 1], walls(), 1e4, 6..=20),
            (vec![3, 1], ring(), 10.0, 7..=17),
            (vec![3, 1], ring(), -1.0, 7..=17),
            (vec![1, 1, 1], ring(), 50.0, 6..=16),
        ] {
            let energies: Vec<f64> =
                degrees.map(|d| base(&counts, space.clone(), g, d).energies[0]).collect();
            assert!(
                energies.windows(2).all(|w| w[1] < w[0] + 1e-10),
                "{counts:?} {g}: {energies:?}"
            );
        }
    }

    /// However strong the repulsion is, orders meet without a step: energies go to those of impenetrable particles as 1/g.
    #[test]
    fn strong_repulsion_comes_close_to_its_limit() {
        let walls = || Space::Walls { half_width: 3.0, external: External::Free };
        let limit = base(&[2, 1], walls(), f64::INFINITY, 12).energies[0];
        let share = |g: f64| g * (limit - base(&[2, 1], walls(), g, 12).energies[0]);
        let known = share(1e6);
        for g in [1e8, 1e9, 1e10] {
            let found = share(g);
            assert!(known > 1.0 && (found / known - 1.0).abs() < 1e-3, "{g}: {found} {known}");
        }
    }

    /// Three equal particles of three components that repel each other without bound: the limit of strong repulsion.
    #[test]
    fn impenetrable_orders_have_the_weights_of_the_limit() {
        let trap = || Space::Trap { frequency: 1.0 };
        let strong = base(&[2, 1], trap(), 3e3, 9).probabilities();
        let limit = base(&[2, 1], trap(), f64::INFINITY, 9).probabilities();
        for (s, l) in strong.iter().zip(&limit) {
            assert!((s - l).abs() < 1e-3, "{strong:?} {limit:?}");
        }
        assert_eq!(limit.len(), 3);
    }
}
