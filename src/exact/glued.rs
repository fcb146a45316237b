//! Particles of several components in a harmonic trap: functions of the gaps for every order of the components, glued where
//! different ones meet.
//!
//! In units of the trap, with gaps `s_k` between neighbours, the relative motion is
//! `sum_k |d_k psi|² - sum_k d_k psi d_{k+1} psi + V psi²` in weak form. Per gap one function is not zero at contact; it
//! is shared by the two orders on either side, or left out where equal components meet, so that `psi` is continuous and
//! the delta function is the diagonal term `g f_0(0)²` on each shared face.

use super::ExactError;
use super::davidson::{DavidsonOptions, Eigenpairs, lowest, start_vectors};
use super::elements::{LeftEnd, functions, interpolation};
use super::gaps::along;
use super::watch::Watch;
use crate::contact::Gas;
use crate::contact::half_line::HalfLine;
use crate::contact::orders::{exchanged, orders};
use crate::math::linalg::{EigenFailure, dot, mul, symmetric_eigen};
use crate::math::scalar::Dual;
use faer::{Accum, Mat};
use rayon::prelude::*;

/// Quadrature points per gap beyond the number of functions, where the potential is a polynomial.
pub(super) const EXTRA_POINTS: usize = 2;

/// No function: it would not vanish where equal components meet.
const NONE: u32 = u32::MAX;

/// Functions of one gap, of which the first alone is not zero at contact.
pub(super) struct Functions {
    /// Points of the quadrature.
    points: Vec<f64>,
    /// Values and slopes at the points, times the roots of the weights (rows: points).
    values: Mat<f64>,
    slopes: Mat<f64>,
    /// `f_0(0)²`.
    at_contact: f64,
    /// Edges and degree, in units of the trap, where functions are those of elements; otherwise the unit of length of each
    /// gap is that of its Gaussian.
    elements: Option<(Vec<f64>, usize)>,
}

impl Functions {
    /// Polynomials times the Gaussian of the gap, `extra` more points than functions.
    pub(super) fn polynomials(n: usize, extra: usize) -> Result<Self, EigenFailure> {
        let q = n + extra;
        let line = HalfLine::new(false, n);
        let mut at_zero = Vec::new();
        line.values(0.0, n, &mut at_zero);
        let f0 = at_zero.iter().map(|v| v * v).sum::<f64>();
        // The reflection that turns the first function into the one that is not zero at contact.
        let mut u: Vec<f64> = at_zero.iter().map(|v| v / f0.sqrt()).collect();
        u[0] -= 1.0;
        let square = u.iter().map(|v| v * v).sum::<f64>();
        let reflect = |f: &mut [f64]| {
            if square > 1e-300 {
                let s = 2.0 * u.iter().zip(&*f).map(|(a, b)| a * b).sum::<f64>() / square;
                f.iter_mut().zip(&u).for_each(|(f, u)| *f -= s * u);
            }
        };
        let (points, weights) = HalfLine::gauss(q)?;
        let (mut values, mut slopes) = (Mat::zeros(q, n), Mat::zeros(q, n));
        for (p, (&s, &w)) in points.iter().zip(&weights).enumerate() {
            let mut row = Vec::new();
            line.values(Dual::var(s), n, &mut row);
            let mut f: Vec<f64> = row.iter().map(|d| d.x).collect();
            let mut d: Vec<f64> = row.iter().map(|d| d.dx - s * d.x).collect();
            reflect(&mut f);
            reflect(&mut d);
            for i in 0..n {
                values[(p, i)] = w.sqrt() * f[i];
                slopes[(p, i)] = w.sqrt() * d[i];
            }
        }
        Ok(Functions { points, values, slopes, at_contact: f0, elements: None })
    }

    /// Spectral elements between `edges`, from zero on, in units of the trap.
    pub(super) fn elements(edges: &[f64], degree: usize) -> Self {
        let (points, values, slopes) = functions(edges, degree, LeftEnd::Flat);
        // The first function is that of the first point: its value is one over the root of the weight.
        let weight = 0.5 * (edges[1] - edges[0]) * 2.0 / (degree * (degree + 1)) as f64;
        let elements = Some((edges.to_vec(), degree));
        Functions { points, values, slopes, at_contact: weight.recip(), elements }
    }

    fn count(&self) -> usize {
        self.values.ncols()
    }
}

/// Spacing of the grid on which positions are counted, in widths of the centre of mass, and values of the density per spacing
/// of those.
const SPACING: f64 = 0.025;
const FINER: usize = 4;
/// Probabilities that are not counted, and how far the centre of mass moves, in its widths.
const NEGLIGIBLE: f64 = 1e-15;
const FAR: f64 = 7.0;

/// Levels of one gap by itself, for the preconditioner.
struct Levels {
    energies: Vec<f64>,
    vectors: Mat<f64>,
}

/// The glued functions of one size, in units of the trap.
pub(super) struct Glued {
    n: usize,
    q: usize,
    gaps: usize,
    orders: usize,
    strength: f64,
    /// Class of each tensor element.
    class: Vec<u32>,
    /// Inverse root of the number of elements of each class.
    share: Vec<f64>,
    /// `c_k` of the Gaussians, or one where functions are in units of the trap.
    widths: Vec<f64>,
    kinetic: Mat<f64>,
    derivative: Mat<f64>,
    /// Points of a gap, and functions there.
    points: Vec<f64>,
    to_points: Mat<f64>,
    trap: Vec<f64>,
    rest: Vec<f64>,
    /// `sum of f_0(0)² / 2` over the faces that an element touches.
    faces: Vec<f64>,
    diagonal: Vec<f64>,
    elements: Option<(Vec<f64>, usize)>,
    /// Of each gap, free at contact and vanishing there; empty where the diagonal is a good preconditioner.
    levels: Vec<[Levels; 2]>,
    /// Which of the two each gap of each order has.
    vanishing: Vec<bool>,
}

/// One diagonalisation.
pub(super) struct GluedLevel {
    pub(super) pairs: Eigenpairs,
    pub(super) external: f64,
    /// Of the interaction beside the contact.
    pub(super) rest: f64,
    /// `<sum delta>`.
    pub(super) contact: f64,
    n: usize,
}

/// Floating-point operations of one product, and bytes.
pub(super) fn cost(orders: f64, gaps: usize, n: usize, q: usize, subspace: usize) -> (f64, f64) {
    let (n, q) = (n as f64, q as f64);
    let mut flops = 0.0;
    for k in 0..gaps as i32 {
        flops += orders * 4.0 * n * q * q.powi(k) * n.powi(gaps as i32 - 1 - k);
        flops += orders * 6.0 * n * n.powi(gaps as i32);
    }
    let (elements, grid) = (orders * n.powi(gaps as i32), orders * q.powi(gaps as i32));
    (flops, 8.0 * (elements * (2.0 * subspace as f64 + 10.0) + 4.0 * grid))
}

impl Glued {
    /// The same functions for every gap. The gas is in units of its trap.
    pub(super) fn new(gas: &Gas, functions: &Functions) -> Result<Self, EigenFailure> {
        let particles = gas.particles();
        let gaps = particles - 1;
        let (n, q) = (functions.count(), functions.points.len());
        let all = orders(&gas.counts);
        let Functions { points, values, slopes, at_contact: f0, elements } = functions;
        let scaled = elements.is_none();
        let kinetic = mul(slopes.transpose(), slopes.as_ref());
        let derivative = mul(values.transpose(), slopes.as_ref());
        let count = particles as f64;
        let of_gap = |k: usize| k as f64 * (count - k as f64) / count;
        let widths: Vec<f64> =
            (1..particles).map(|k| if scaled { of_gap(k) } else { 1.0 }).collect();
        // Gluing.
        let dimension = n.pow(gaps as u32);
        let digit = |index: usize, k: usize| index / n.pow(k as u32) % n;
        let mut parent: Vec<u32> = (0..(all.len() * dimension) as u32).collect();
        let mut valid = vec![true; parent.len()];
        fn root(parent: &mut [u32], mut i: u32) -> u32 {
            while parent[i as usize] != i {
                parent[i as usize] = parent[parent[i as usize] as usize];
                i = parent[i as usize];
            }
            i
        }
        let mut faces = vec![0.0; parent.len()];
        for (o, order) in all.iter().enumerate() {
            for k in 0..gaps {
                let other = all.iter().position(|a| *a == exchanged(order, k)).unwrap_or(o);
                for index in (0..dimension).filter(|&index| digit(index, k) == 0) {
                    let here = o * dimension + index;
                    if other == o {
                        valid[here] = false;
                        continue;
                    }
                    faces[here] += 0.5 * f0 * widths[k].sqrt();
                    if gas.strength.is_infinite() {
                        valid[here] = false;
                    }
                    let a = root(&mut parent, here as u32);
                    let b = root(&mut parent, (other * dimension + index) as u32);
                    parent[a.max(b) as usize] = a.min(b);
                }
            }
        }
        for i in 0..parent.len() {
            if !valid[i] {
                let r = root(&mut parent, i as u32);
                valid[r as usize] = false;
            }
        }
        let mut class = vec![NONE; parent.len()];
        let mut sizes: Vec<f64> = Vec::new();
        for i in 0..parent.len() {
            let r = root(&mut parent, i as u32) as usize;
            if !valid[r] {
                continue;
            }
            if class[r] == NONE {
                class[r] = sizes.len() as u32;
                sizes.push(0.0);
            }
            class[i] = class[r];
            sizes[class[i] as usize] += 1.0;
        }
        let share: Vec<f64> = sizes.iter().map(|s| s.sqrt().recip()).collect();
        // The potential on the product of the points.
        let grid = q.pow(gaps as u32);
        let at = |p: usize| -> Vec<f64> {
            (0..gaps).map(|k| points[p / q.pow(k as u32) % q] / widths[k].sqrt()).collect()
        };
        let distances = |s: &[f64]| -> Vec<f64> {
            let mut all = Vec::new();
            for a in 0..gaps {
                let mut d = 0.0;
                for gap in &s[a..] {
                    d += gap;
                    all.push(d);
                }
            }
            all
        };
        let trap: Vec<f64> = (0..grid)
            .into_par_iter()
            .map(|p| 0.5 * distances(&at(p)).iter().map(|d| d * d).sum::<f64>() / count)
            .collect();
        let rest: Vec<f64> = (0..grid)
            .into_par_iter()
            .map(|p| distances(&at(p)).iter().map(|d| gas.rest.value(*d)).sum::<f64>())
            .collect();
        let mut vanishing = Vec::new();
        for order in &all {
            let infinite = gas.strength.is_infinite();
            vanishing.extend((0..gaps).map(|k| infinite || order[k] == order[k + 1]));
        }
        let levels = if scaled {
            vec![]
        } else {
            // The trap that a gap feels while the others rest, and the neighbours' interaction.
            let own = |k: usize| -> Result<[Levels; 2], EigenFailure> {
                let c = of_gap(k + 1);
                let v = |g: f64| 0.5 * (c * g).powi(2) + gas.rest.value(g);
                let weighted = Mat::from_fn(q, n, |p, i| v(points[p]) * values[(p, i)]);
                let mut h = &kinetic + mul(values.transpose(), weighted.as_ref());
                if gas.strength.is_finite() {
                    h[(0, 0)] += 0.5 * gas.strength * f0;
                }
                let h = crate::math::linalg::symmetrised(h.as_ref());
                let (energies, vectors) = symmetric_eigen(h.as_ref())?;
                let free = Levels { energies, vectors };
                let inner = h.submatrix(1, 1, n - 1, n - 1).to_owned();
                let (mut energies, some) = symmetric_eigen(inner.as_ref())?;
                // The function that is not zero is left out: by a level that nothing reaches.
                energies.push(f64::INFINITY);
                let mut vectors = Mat::zeros(n, n);
                vectors.submatrix_mut(1, 0, n - 1, n - 1).copy_from(&some);
                Ok([free, Levels { energies, vectors }])
            };
            (0..gaps).map(own).collect::<Result<_, _>>()?
        };
        // What the preconditioner takes for the diagonal: of each gap by itself.
        let square = Mat::from_fn(q, n, |p, i| points[p] * values[(p, i)]);
        let own: Vec<f64> = (0..n)
            .map(|i| {
                let x2 = (0..q).map(|p| square[(p, i)].powi(2)).sum::<f64>();
                kinetic[(i, i)] + 0.5 * x2
            })
            .collect();
        let mut diagonal = vec![0.0; share.len()];
        for (i, &c) in class.iter().enumerate().filter(|(_, c)| **c != NONE) {
            let index = i % dimension;
            let levels: f64 = (0..gaps).map(|k| widths[k] * own[digit(index, k)]).sum();
            let delta = if gas.strength.is_finite() { gas.strength * faces[i] } else { 0.0 };
            diagonal[c as usize] += (levels + delta) / sizes[c as usize];
        }
        Ok(Glued {
            n,
            q,
            gaps,
            orders: all.len(),
            strength: gas.strength,
            class,
            share,
            widths,
            kinetic,
            derivative,
            points: points.clone(),
            to_points: values.clone(),
            trap,
            rest,
            faces,
            diagonal,
            elements: elements.clone(),
            levels,
            vanishing,
        })
    }

    /// Number of glued functions.
    pub(super) fn dimension(&self) -> usize {
        self.share.len()
    }

    fn expand(&self, c: &[f64]) -> Vec<f64> {
        let one = |&k: &u32| if k == NONE { 0.0 } else { c[k as usize] * self.share[k as usize] };
        self.class.par_iter().map(one).collect()
    }

    fn on_points(&self, x: Vec<f64>) -> Vec<f64> {
        let mut sizes = vec![self.n; self.gaps];
        sizes.push(self.orders);
        let mut x = x;
        for k in (0..self.gaps).rev() {
            let mut y = vec![0.0; x.len() / self.n * self.q];
            along(&x, &sizes, k, self.to_points.as_ref(), &mut y, Accum::Replace);
            sizes[k] = self.q;
            x = y;
        }
        x
    }

    fn apply(&self, c: &[f64], watch: &mut dyn Watch) -> Result<Vec<f64>, ExactError> {
        watch.spend(cost(self.orders as f64, self.gaps, self.n, self.q, 0).0)?;
        let x = self.expand(c);
        let mut v = self.on_points(x.clone());
        let grid = self.trap.len();
        v.par_chunks_mut(grid).for_each(|v| {
            v.iter_mut().zip(&self.trap).zip(&self.rest).for_each(|((v, t), r)| *v *= t + r);
        });
        let mut sizes = vec![self.q; self.gaps];
        sizes.push(self.orders);
        for k in 0..self.gaps {
            let mut y = vec![0.0; v.len() / self.q * self.n];
            along(&v, &sizes, k, self.to_points.transpose(), &mut y, Accum::Replace);
            sizes[k] = self.n;
            v = y;
        }
        let mut t = vec![0.0; x.len()];
        let scaled = |m: &Mat<f64>, a: f64| Mat::from_fn(self.n, self.n, |i, j| a * m[(i, j)]);
        for k in 0..self.gaps {
            let kinetic = scaled(&self.kinetic, self.widths[k]);
            along(&x, &sizes, k, kinetic.as_ref(), &mut v, Accum::Add);
            if k + 1 < self.gaps {
                let a = -0.5 * (self.widths[k] * self.widths[k + 1]).sqrt();
                let d = scaled(&self.derivative, a);
                along(&x, &sizes, k, d.transpose(), &mut t, Accum::Replace);
                along(&t, &sizes, k + 1, self.derivative.as_ref(), &mut v, Accum::Add);
                along(&x, &sizes, k, d.as_ref(), &mut t, Accum::Replace);
                along(&t, &sizes, k + 1, self.derivative.transpose(), &mut v, Accum::Add);
            }
        }
        if self.strength.is_finite() {
            let g = self.strength;
            v.par_iter_mut().zip(&x).zip(&self.faces).for_each(|((v, x), f)| *v += g * f * x);
        }
        Ok(self.gather(&v))
    }

    /// One-body densities of the lowest state with the centre of mass in its own, by components, and where: equally spaced, in
    /// units of the trap.
    pub(super) fn density(&self, gas: &Gas, level: &GluedLevel) -> (Vec<f64>, Vec<Vec<f64>>) {
        let particles = gas.particles();
        let width = (2.0 * particles as f64).sqrt().recip();
        let h = SPACING * width;
        let points = self.on_points(self.expand(&level.pairs.vectors[0]));
        let grid = self.trap.len();
        let all = orders(&gas.counts);
        // Positions about the centre of mass.
        let places: Vec<Vec<f64>> = (0..grid)
            .map(|p| {
                let mut x = vec![0.0; particles];
                for k in 0..self.gaps {
                    let gap =
                        self.points[p / self.q.pow(k as u32) % self.q] / self.widths[k].sqrt();
                    x[k + 1] = x[k] + gap;
                }
                let mean = x.iter().sum::<f64>() / particles as f64;
                x.iter_mut().for_each(|x| *x -= mean);
                x
            })
            .collect();
        let counted = |i: usize| points[i] * points[i] > NEGLIGIBLE;
        let reach = (0..points.len())
            .filter(|i| counted(*i))
            .map(|i| places[i % grid].iter().map(|x| x.abs()).fold(0.0, f64::max))
            .fold(0.0, f64::max);
        let half = ((reach + FAR * width) / (h * FINER as f64)).ceil() as usize * FINER + FINER;
        let mut counts = vec![vec![0.0; 2 * half + 1]; gas.counts.len()];
        for i in (0..points.len()).filter(|i| counted(*i)) {
            let weight = points[i] * points[i];
            for (component, x) in all[i / grid].iter().zip(&places[i % grid]) {
                let t = x / h + half as f64;
                let (first, t) = (t.floor() - 1.0, t - t.floor());
                // So shared among four points that moments up to the third are kept.
                let shares = [
                    -t * (t - 1.0) * (t - 2.0) / 6.0,
                    (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0,
                    -(t + 1.0) * t * (t - 2.0) / 2.0,
                    (t + 1.0) * t * (t - 1.0) / 6.0,
                ];
                for (j, share) in shares.iter().enumerate() {
                    counts[usize::from(*component)][first as usize + j] += share * weight;
                }
            }
        }
        let far = (FAR / SPACING) as usize;
        let kernel: Vec<f64> = (0..=far)
            .map(|j| {
                (-0.5 * (j as f64 * SPACING).powi(2)).exp() / (width * std::f64::consts::TAU.sqrt())
            })
            .collect();
        let at = |counts: &[f64], i: usize| -> f64 {
            let range = i.saturating_sub(far)..(i + far + 1).min(counts.len());
            range.map(|j| counts[j] * kernel[i.abs_diff(j)]).sum()
        };
        let shown = || (0..=2 * half).step_by(FINER);
        let x = shown().map(|i| (i as f64 - half as f64) * h).collect();
        (x, counts.iter().map(|c| shown().map(|i| at(c, i)).collect()).collect())
    }

    /// The glued part of a function of every order.
    fn gather(&self, x: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.dimension()];
        for (x, &k) in x.iter().zip(&self.class) {
            if k != NONE {
                out[k as usize] += x * self.share[k as usize];
            }
        }
        out
    }

    /// Calls `f` with each order's part of `x` in the levels of its gaps, and the sum of these levels, and returns to the functions.
    fn in_levels(&self, x: &mut [f64], f: impl Fn(f64, f64) -> f64 + Sync) {
        let dimension = self.n.pow(self.gaps as u32);
        let sizes = vec![self.n; self.gaps];
        for (o, x) in x.chunks_mut(dimension).enumerate() {
            let levels: Vec<&Levels> = (0..self.gaps)
                .map(|k| &self.levels[k][usize::from(self.vanishing[o * self.gaps + k])])
                .collect();
            let lowest: f64 = levels.iter().map(|l| l.energies[0]).sum();
            let mut t = vec![0.0; dimension];
            for (k, l) in levels.iter().enumerate() {
                along(x, &sizes, k, l.vectors.transpose(), &mut t, Accum::Replace);
                x.copy_from_slice(&t);
            }
            x.par_iter_mut().enumerate().for_each(|(i, x)| {
                let mut rest = i;
                let mut energy = 0.0;
                for l in &levels {
                    energy += l.energies[rest % self.n];
                    rest /= self.n;
                }
                *x = if energy.is_finite() { *x * f(energy, lowest) } else { 0.0 };
            });
            for (k, l) in levels.iter().enumerate() {
                along(x, &sizes, k, l.vectors.as_ref(), &mut t, Accum::Replace);
                x.copy_from_slice(&t);
            }
        }
    }

    /// Products of the lowest levels of every gap, in one order each, and in several.
    fn products(&self, states: usize) -> Vec<Vec<f64>> {
        let dimension = self.n.pow(self.gaps as u32);
        let mut all: Vec<(f64, usize, Vec<usize>)> = vec![];
        for o in 0..self.orders {
            let kind = |k: usize| &self.levels[k][usize::from(self.vanishing[o * self.gaps + k])];
            for excited in 0..=self.gaps * 2 {
                let mut index = vec![0; self.gaps];
                if excited > 0 {
                    index[(excited - 1) / 2] = 1 + (excited - 1) % 2;
                }
                if index.iter().any(|i| *i >= self.n - 1) {
                    continue;
                }
                let energy = index.iter().enumerate().map(|(k, i)| kind(k).energies[*i]).sum();
                all.push((energy, o, index));
            }
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all.truncate(self.orders.max(2 * states + 1));
        all.into_iter()
            .map(|(_, o, index)| {
                let mut x = vec![0.0; self.orders * dimension];
                let kind =
                    |k: usize| &self.levels[k][usize::from(self.vanishing[o * self.gaps + k])];
                for (i, x) in x[o * dimension..(o + 1) * dimension].iter_mut().enumerate() {
                    let digit = |k: usize| i / self.n.pow(k as u32) % self.n;
                    *x = (0..self.gaps).map(|k| kind(k).vectors[(digit(k), index[k])]).product();
                }
                self.gather(&x)
            })
            .collect()
    }

    /// A vector of fewer functions per gap in these.
    fn embed(&self, smaller: &Glued, c: &[f64]) -> Vec<f64> {
        // The first function of a gap is another one for every number of them: overlaps of the polynomials themselves.
        let overlap = self.overlap(smaller);
        let mut x = smaller.expand(c);
        let mut sizes = vec![smaller.n; self.gaps];
        sizes.push(self.orders);
        for k in 0..self.gaps {
            let mut y = vec![0.0; x.len() / smaller.n * self.n];
            along(&x, &sizes, k, overlap.as_ref(), &mut y, Accum::Replace);
            sizes[k] = self.n;
            x = y;
        }
        self.gather(&x)
    }

    fn overlap(&self, smaller: &Glued) -> Mat<f64> {
        if let (Some((edges, to)), Some((_, from))) = (&self.elements, &smaller.elements) {
            return interpolation(edges, *from, *to);
        }
        let reflection = |n: usize| {
            let mut at_zero = Vec::new();
            HalfLine::new(false, n).values(0.0, n, &mut at_zero);
            let f0 = at_zero.iter().map(|v| v * v).sum::<f64>().sqrt();
            let mut u: Vec<f64> = at_zero.iter().map(|v| v / f0).collect();
            u[0] -= 1.0;
            let square = u.iter().map(|v| v * v).sum::<f64>().max(1e-300);
            Mat::from_fn(n, n, |i, j| f64::from(u8::from(i == j)) - 2.0 * u[i] * u[j] / square)
        };
        let (large, small) = (reflection(self.n), reflection(smaller.n));
        mul(large.subrows(0, smaller.n).transpose(), small.as_ref())
    }

    /// Lowest states of the relative motion.
    pub(super) fn solve(
        &self,
        options: &DavidsonOptions,
        guess: Option<(&Glued, &GluedLevel)>,
        watch: &mut dyn Watch,
    ) -> Result<GluedLevel, ExactError> {
        watch.look()?;
        let start = match guess {
            Some((smaller, level)) => {
                debug_assert_eq!(level.n, smaller.n);
                level.pairs.start(2).map(|v| self.embed(smaller, v)).collect()
            }
            None if self.levels.is_empty() => start_vectors(&self.diagonal, options.states),
            None => self.products(options.states),
        };
        let lowest_diagonal = self.diagonal.iter().copied().fold(f64::INFINITY, f64::min);
        // What the levels of the gaps leave out, by the first start.
        let shift = match (self.levels.is_empty(), start.first()) {
            (false, Some(first)) => {
                let whole = dot(first, &self.apply(first, watch)?) / dot(first, first);
                let mut x = self.expand(first);
                self.in_levels(&mut x, |e, _| e);
                whole - dot(first, &self.gather(&x)) / dot(first, first)
            }
            _ => 0.0,
        };
        let pairs = lowest(
            |c, watch| self.apply(c, watch),
            |theta, r| {
                if !self.levels.is_empty() {
                    // Every order by itself, free where it is glued to others: residuals are shared out, corrections averaged
                    // (Neumann and Neumann's preconditioner, Y.-H. De Roeck, P. Le Tallec, 1991).
                    let mut x = self.expand(r);
                    self.in_levels(&mut x, |e, lowest| {
                        -1.0 / (e - lowest + (lowest + shift - theta).max(0.1))
                    });
                    r.copy_from_slice(&self.gather(&x));
                    return;
                }
                // The diagonal leaves out how gaps share the trap: it is moved to where the energies are.
                let shift = (theta - lowest_diagonal).max(0.0) * 0.5;
                r.par_iter_mut().zip(&self.diagonal).for_each(|(x, e)| {
                    let gap = e + shift - theta;
                    *x /= -if gap.abs() < 0.2 { 0.2 } else { gap };
                });
            },
            start,
            options,
            watch,
        )?;
        let x = self.expand(&pairs.vectors[0]);
        let contact = x.iter().zip(&self.faces).map(|(x, f)| f * x * x).sum();
        let points = self.on_points(x);
        let mean = |f: &[f64]| {
            points
                .chunks(f.len())
                .map(|p| p.iter().zip(f).map(|(p, f)| f * p * p).sum::<f64>())
                .sum()
        };
        let (external, rest) = (mean(&self.trap), mean(&self.rest));
        Ok(GluedLevel { pairs, external, rest, contact, n: self.n })
    }
}
