//! The two-body field F: the displacement of each particle as a general function of its own and another's place.
//!
//! Every displacement of i by j that is odd under reflection of `theta_i` and even under that of `theta_j` has the
//! form `sin theta_i F(cos theta_i, cos theta_j)`:
//! `z_i = theta_i + sin theta_i sum_{j≠i} F(theta_i, theta_j)`, `F = sum_kl f_kl cos(k theta_i) cos(l theta_j)`, one
//! table for equal and one for opposite spins. The coefficients are scaled to keep the row sums of `|DT - 1|`,
//! at most the sum over partners of `max (|∂_i sin theta_i F| + |sin theta_i ∂_j F|)`, below a share of 1: a contraction
//! in the maximum norm, so the map is a bijection for every parameter. The maximum of a trigonometric
//! polynomial of degree n is at most `1 / cos(pi n / 2 M)` times that over M equal cells (H. Ehlich, K. Zeller,
//! "Schwankung von Polynomen zwischen Gitterpunkten", Math. Z. 86, 41 (1964)), and is bounded smoothly by the
//! p-norm over those points.
//!
//! On a ring there are no reflections to commute with, only turns: `z_i = theta_i + sum_{j≠i} F(theta_i, theta_j)` with all
//! real waves `1, cos t, sin t, cos 2t, ..` of either angle instead of cosines, and 1 in the place of the sine in front.

use super::coupling::{self, Coupling, Push};
use super::lanes::Block;
use super::layer::{Kind, Layer};
use super::newton::{self, NewtonScratch};
use crate::math::log_product::LogProduct;
use crate::math::scalar::Scalar;
use crate::math::small_matrix::{lu, lu_inverse, lu_solve};
use crate::math::vector::lanes::{LANES, Lanes, add_product, each, product, scaled, sin_cos};
use crate::math::vector::{self, Derived, Phase, widest};
use crate::system::Sector;
use crate::wavefunction::journey::{Journey, ZERO};

/// Sharpness of the bound on the coefficients.
const SHARPNESS: i32 = 8;

/// The p of the norm that bounds the maximum.
const NORM: i32 = 32;

/// Grid cells per function: the factor of Ehlich and Zeller is then 1.08 for each of the two angles.
const OVERSAMPLING: usize = 4;

/// A two-body displacement field.
#[derive(Clone, Debug)]
pub struct TwoBodyLayer {
    particles: usize,
    /// Number of spin-up particles.
    up: usize,
    /// Functions of either angle.
    functions: usize,
    /// Whether they are all waves of a circle, or cosines between walls.
    circle: bool,
    share: f64,
    /// Largest number of partners of equal and of opposite spin; a kind without any has no table.
    partners: [usize; 2],
    /// Parameters and coefficients, table after table, row-major in `(k, l)`.
    parameters: Vec<f64>,
    coefficients: Vec<f64>,
    /// What parameters are multiplied by to become coefficients, and its gradient.
    scale: f64,
    scale_gradient: Vec<f64>,
}

/// What the reverse sweep needs again, and scratch memory.
#[derive(Clone, Debug, Default)]
pub struct TwoBodyTrace<T> {
    field: Field<T>,
    inverse: Vec<T>,
    coefficients_bar: Vec<T>,
    cosines_bar: Vec<T>,
    slopes_bar: Vec<T>,
    /// Partners' cosine slopes weighted by the adjoints of `dF/dtheta_j`.
    crossed: Vec<T>,
    pairs: PairWork,
    target: Vec<f64>,
    solution: Vec<f64>,
    newton: NewtonScratch,
}

/// Scratch memory of the evaluation pair by pair.
#[derive(Clone, Debug, Default)]
struct PairWork {
    /// Sines and cosines of `k theta_i` of one particle.
    phases: Vec<Phase>,
    /// `cos(k theta_i)` with its derivatives, `particles x functions`.
    waves: Vec<Derived>,
    /// Table times the waves of one particle.
    rows: Vec<Derived>,
    /// Derivatives of the field of a particle and each of its partners.
    pairs: Vec<[Derived; 4]>,
}

/// The field at a configuration.
#[derive(Clone, Debug, Default)]
struct Field<T> {
    sin: Vec<T>,
    cos: Vec<T>,
    /// `cos(k theta_i)` and its first two derivatives, `particles x functions`.
    cosines: [Vec<T>; 3],
    /// For both kinds: sum of the partners' cosines, `particles x functions`.
    partner_sums: [Vec<T>; 2],
    /// For both kinds: `sum_l f_kl` (sum of the partners' cosines)_l and `sum_k f_kl cos(k theta_i)`,
    /// and the latter with `cos` replaced by its derivative.
    rows: [Vec<T>; 2],
    columns: [Vec<T>; 2],
    column_slopes: [Vec<T>; 2],
    /// `sum_j F`, `sum_j dF/dtheta_i` of each particle.
    sum: Vec<T>,
    own_slope: Vec<T>,
    /// `dF/dtheta_j`, `particles x particles`.
    cross: Vec<T>,
    jacobian: Vec<T>,
    pivots: Vec<usize>,
}

/// A field of waves.
pub const FIELD: Kind = Kind {
    build: |m| {
        let (functions, share) = (m.settings.two_body_functions, m.settings.bound_share);
        Ok(Layer::TwoBody(match m.ring {
            true => TwoBodyLayer::on_circle(m.sector, functions, share),
            false => TwoBodyLayer::new(m.sector, functions, share),
        }))
    },
    parameters: |of| of.pairs * of.two_body_functions.pow(2),
    refines: false,
    many: false,
};

impl TwoBodyLayer {
    /// The identity, with `functions x functions` cosines per kind of pair; `share` in (0, 1) of the bound is used.
    pub fn new(sector: Sector, functions: usize, share: f64) -> Self {
        Self::of_waves(sector, functions, false, share)
    }

    /// The same on a circle, with as many waves per angle; an even number is raised to the next, so that no cosine
    /// lacks its sine.
    pub fn on_circle(sector: Sector, functions: usize, share: f64) -> Self {
        Self::of_waves(sector, functions | 1, true, share)
    }

    fn of_waves(sector: Sector, functions: usize, circle: bool, share: f64) -> Self {
        let largest = |n: usize| n.saturating_sub(1);
        let equal = largest(sector.up).max(largest(sector.down));
        let opposite =
            if sector.up > 0 && sector.down > 0 { sector.up.max(sector.down) } else { 0 };
        let mut layer = TwoBodyLayer {
            particles: sector.particles(),
            up: sector.up,
            functions,
            circle,
            share,
            partners: [equal, opposite],
            parameters: Vec::new(),
            coefficients: Vec::new(),
            scale: 1.0,
            scale_gradient: Vec::new(),
        };
        let count: usize = layer.groups().iter().sum();
        layer.parameters = vec![0.0; count];
        layer.coefficients = vec![0.0; count];
        layer.scale_gradient = vec![0.0; count];
        layer
    }

    /// Lengths of the tables that are the parameters.
    fn groups(&self) -> Vec<usize> {
        let size = self.functions * self.functions;
        self.partners.iter().filter(|&&p| p > 0).map(|_| size).collect()
    }

    /// The tables: kind, first parameter and number of partners.
    fn tables(&self) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let size = self.functions * self.functions;
        let partners = self.partners;
        // Kinds without partners have no table.
        let kinds = (0..2).filter(move |&kind| partners[kind] > 0);
        kinds.enumerate().map(move |(n, kind)| (kind, n * size, partners[kind]))
    }

    /// Takes new parameters.
    pub fn set_parameters(&mut self, parameters: &[f64]) {
        self.parameters.copy_from_slice(parameters);
        self.rescale();
        for (c, q) in self.coefficients.iter_mut().zip(parameters) {
            *c = q * self.scale;
        }
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.parameters.len()
    }

    /// The parameters as they are: made of waves, not of cells.
    pub fn refine(&mut self) -> Vec<f64> {
        self.parameters.clone()
    }

    /// Linear forms of the parameters whose squares measure roughness: second derivatives of the cosines, in
    /// units of those of the finest one, so that damping slows the fine ones down without freezing them.
    pub fn roughness(&self) -> Vec<Vec<(usize, f64)>> {
        let m = self.functions;
        let wave = |k: usize| if self.circle { k.div_ceil(2) } else { k };
        let finest = wave(m).pow(2) as f64;
        let second = |i: usize| (wave(i % (m * m) / m).pow(2) + wave(i % m).pow(2)) as f64 / finest;
        (0..self.parameters.len()).map(|i| vec![(i, second(i))]).collect()
    }

    /// `s = [1 + (W / share)^p]^{-1/p}` with the bound `W` on the row sums before scaling, and its gradient: one as
    /// long as the bound is far, and `s W` is always below the share.
    fn rescale(&mut self) {
        let size = self.functions * self.functions;
        let mut sum = 0.0;
        let mut gradient = vec![0.0; self.parameters.len()];
        for (_, offset, partners) in self.tables() {
            let own = &mut gradient[offset..offset + size];
            let table = &self.parameters[offset..offset + size];
            let norm = row_norm(table, self.functions, self.circle, own);
            own.iter_mut().for_each(|g| *g *= partners as f64);
            sum += partners as f64 * norm;
        }
        let power = (sum / self.share).powi(SHARPNESS);
        self.scale = (1.0 + power).powf(-1.0 / f64::from(SHARPNESS));
        let slope = if sum > 0.0 { -self.scale * power / (sum * (1.0 + power)) } else { 0.0 };
        self.scale_gradient = gradient.iter().map(|g| slope * g).collect();
    }

    /// The range of the particles that displace particle `i` with table `kind`, itself included.
    fn others(&self, i: usize, kind: usize) -> std::ops::Range<usize> {
        if (i < self.up) == (kind == 0) { 0..self.up } else { self.up..self.particles }
    }

    /// Evaluates the field with all that the reverse sweep needs.
    fn evaluate<T: Scalar>(&self, theta: &[T], field: &mut Field<T>) {
        let (n, m) = (self.particles, self.functions);
        let f = field;
        f.sin.clear();
        f.cos.clear();
        f.cosines.iter_mut().for_each(Vec::clear);
        for &t in theta {
            let (s, c) = t.value().sin_cos();
            if self.circle {
                f.sin.push(T::one());
                f.cos.push(T::zero());
                for k in 0..m {
                    let d = circle_wave(k, t.value());
                    for (order, waves) in f.cosines.iter_mut().enumerate() {
                        waves.push(t.chain(d[order], d[order + 1], d[order + 2]));
                    }
                }
                continue;
            }
            f.sin.push(t.chain(s, c, -s));
            f.cos.push(t.chain(c, -s, -c));
            let (sin1, cos1) = (s, c);
            let (mut s, mut c) = (0.0, 1.0);
            for k in 0..m {
                let q = k as f64;
                let (q2, q3, q4) = (q * q, q * q * q, q * q * q * q);
                f.cosines[0].push(t.chain(c, -q * s, -q2 * c));
                f.cosines[1].push(t.chain(-q * s, -q2 * c, q3 * s));
                f.cosines[2].push(t.chain(-q2 * c, q3 * s, q4 * c));
                (s, c) = (s * cos1 + c * sin1, c * cos1 - s * sin1);
            }
        }
        f.sum.clear();
        f.sum.resize(n, T::zero());
        f.own_slope.clear();
        f.own_slope.resize(n, T::zero());
        f.cross.clear();
        f.cross.resize(n * n, T::zero());
        for (kind, offset, _) in self.tables() {
            let table = &self.coefficients[offset..offset + m * m];
            for v in [
                &mut f.partner_sums[kind],
                &mut f.rows[kind],
                &mut f.columns[kind],
                &mut f.column_slopes[kind],
            ] {
                v.clear();
                v.resize(n * m, T::zero());
            }
            for i in 0..n {
                for j in self.others(i, kind).filter(|&j| j != i) {
                    for l in 0..m {
                        f.partner_sums[kind][i * m + l] += f.cosines[0][j * m + l];
                    }
                }
                for k in 0..m {
                    let (own, own_slope) = (f.cosines[0][i * m + k], f.cosines[1][i * m + k]);
                    let mut row = T::zero();
                    for l in 0..m {
                        let c = table[k * m + l];
                        row = row.add_scaled(c, f.partner_sums[kind][i * m + l]);
                        let at = i * m + l;
                        f.columns[kind][at] = f.columns[kind][at].add_scaled(c, own);
                        f.column_slopes[kind][at] =
                            f.column_slopes[kind][at].add_scaled(c, own_slope);
                    }
                    f.rows[kind][i * m + k] = row;
                    f.sum[i] += own * row;
                    f.own_slope[i] += own_slope * row;
                }
                for j in self.others(i, kind).filter(|&j| j != i) {
                    let mut s = T::zero();
                    for l in 0..m {
                        s += f.columns[kind][i * m + l] * f.cosines[1][j * m + l];
                    }
                    f.cross[i * n + j] = s;
                }
            }
        }
    }

    /// `DT` from the field.
    fn jacobian<T: Scalar>(&self, f: &mut Field<T>) {
        let n = self.particles;
        f.jacobian.resize(n * n, T::zero());
        for i in 0..n {
            for j in 0..n {
                f.jacobian[i * n + j] = if i == j {
                    f.cos[i] * f.sum[i] + f.sin[i] * f.own_slope[i] + 1.0
                } else {
                    f.sin[i] * f.cross[i * n + j]
                };
            }
        }
    }

    /// What [`Self::evaluate`] leaves in `sin`, `cos`, `sum`, `own_slope` and `cross`, but from plain numbers: the field
    /// of a pair is a function of two angles, whose derivatives up to the third order are sums over the same table.
    fn evaluate_by_pairs<T: Scalar>(&self, theta: &[T], f: &mut Field<T>, work: &mut PairWork) {
        let (n, m) = (self.particles, self.functions);
        let PairWork { phases, waves, rows, pairs } = work;
        for v in [&mut f.sin, &mut f.cos, &mut f.sum, &mut f.own_slope] {
            v.clear();
            v.resize(n, T::zero());
        }
        f.cross.clear();
        f.cross.resize(n * n, T::zero());
        waves.clear();
        phases.resize(m, [0.0; 2]);
        rows.resize(m, [0.0; 4]);
        pairs.resize(n, [[0.0; 4]; 4]);
        for (i, t) in theta.iter().enumerate() {
            if self.circle {
                f.sin[i] = T::one();
                for k in 0..m {
                    let [d0, d1, d2, d3, _] = circle_wave(k, t.value());
                    waves.push([d0, d1, d2, d3]);
                }
                continue;
            }
            let (sin1, cos1) = t.value().sin_cos();
            f.sin[i] = t.chain(sin1, cos1, -sin1);
            f.cos[i] = t.chain(cos1, -sin1, -cos1);
            vector::phases([0.0, 1.0], [sin1, cos1], phases);
            for (k, [s, c]) in phases.iter().enumerate() {
                let q = k as f64;
                waves.push([*c, -q * s, -q * q * c, q * q * q * s]);
            }
        }
        for (kind, offset, _) in self.tables() {
            let table = &self.coefficients[offset..offset + m * m];
            for i in 0..n {
                let others = self.others(i, kind);
                let (own, partners) =
                    (&waves[i * m..(i + 1) * m], &waves[others.start * m..others.end * m]);
                vector::contract(table, own, rows, partners, pairs);
                // p[b][a] = d^(a+b) F / d theta_i^a d theta_j^b.
                for (j, p) in others.zip(&*pairs).filter(|&(j, _)| j != i) {
                    let (t, u) = (theta[i], theta[j]);
                    f.sum[i] +=
                        t.chain2(u, p[0][0], [p[0][1], p[1][0]], [p[0][2], p[1][1], p[2][0]]);
                    f.own_slope[i] +=
                        t.chain2(u, p[0][1], [p[0][2], p[1][1]], [p[0][3], p[1][2], p[2][1]]);
                    f.cross[i * n + j] =
                        t.chain2(u, p[1][0], [p[1][1], p[2][0]], [p[1][2], p[2][1], p[3][0]]);
                }
            }
        }
    }

    /// Maps the angles in place and multiplies `det` by that of the map; `reverse` says whether
    /// [`Self::backward`] follows.
    pub fn forward<T: Scalar>(
        &self,
        angles: &mut [T],
        reverse: bool,
        trace: &mut TwoBodyTrace<T>,
        det: &mut LogProduct<T>,
    ) {
        let field = &mut trace.field;
        if reverse {
            self.evaluate(angles, field);
        } else {
            self.evaluate_by_pairs(angles, field, &mut trace.pairs);
        }
        self.jacobian(field);
        for (i, a) in angles.iter_mut().enumerate() {
            *a += field.sin[i] * field.sum[i];
        }
        match field.jacobian[..] {
            // Positive by the bound on the field.
            [a, b, c, d] if !reverse => det.multiply(a * d - b * c),
            _ => det.add_log(lu(&mut field.jacobian, self.particles, &mut field.pivots).0),
        }
    }

    /// [`Self::forward`] for eight configurations.
    pub(super) fn lanes(&self, block: &mut Block) -> bool {
        let Block { journey, coupling, waves, .. } = block;
        coupling.clear(self.particles);
        push(self, waves, coupling, journey);
        journey.measure();
        coupling::through(coupling, journey);
        true
    }

    /// From the adjoints of the outputs (in `bar`, replaced by those of the inputs) and of the log-determinant,
    /// adds the adjoints of the parameters.
    pub fn backward<T: Scalar>(
        &self,
        bar: &mut [T],
        log_det_bar: f64,
        trace: &mut TwoBodyTrace<T>,
        parameters_bar: &mut [T],
    ) {
        let (n, m) = (self.particles, self.functions);
        let TwoBodyTrace {
            field: f,
            inverse,
            coefficients_bar,
            cosines_bar,
            slopes_bar,
            crossed,
            ..
        } = trace;
        inverse.resize(n * n, T::zero());
        lu_inverse(&f.jacobian, n, &f.pivots, inverse);
        for v in [&mut *cosines_bar, &mut *slopes_bar] {
            v.clear();
            v.resize(n * m, T::zero());
        }
        coefficients_bar.clear();
        coefficients_bar.resize(self.parameters.len(), T::zero());
        for i in 0..n {
            // Adjoint of the Jacobian's element (i, j) is element (j, i) of its inverse.
            let own = inverse[i * n + i] * log_det_bar;
            let sum_bar = bar[i] * f.sin[i] + own * f.cos[i];
            let own_slope_bar = own * f.sin[i];
            let mut sin_bar = bar[i] * f.sum[i] + own * f.own_slope[i];
            for (kind, offset, _) in self.tables() {
                let table = &self.coefficients[offset..offset + m * m];
                crossed.clear();
                crossed.resize(m, T::zero());
                for j in self.others(i, kind).filter(|&j| j != i) {
                    let element = inverse[j * n + i] * log_det_bar;
                    let cross_bar = element * f.sin[i];
                    sin_bar += element * f.cross[i * n + j];
                    for l in 0..m {
                        let column = f.columns[kind][i * m + l];
                        // As a partner, j enters F and dF/dtheta_i through its cosines.
                        cosines_bar[j * m + l] +=
                            sum_bar * column + own_slope_bar * f.column_slopes[kind][i * m + l];
                        slopes_bar[j * m + l] += cross_bar * column;
                        crossed[l] += cross_bar * f.cosines[1][j * m + l];
                    }
                }
                for k in 0..m {
                    let (own_k, own_slope_k) = (f.cosines[0][i * m + k], f.cosines[1][i * m + k]);
                    let row = f.rows[kind][i * m + k];
                    let outer = sum_bar * own_k + own_slope_bar * own_slope_k;
                    let mut cosine_bar = sum_bar * row;
                    for l in 0..m {
                        cosine_bar = cosine_bar.add_scaled(table[k * m + l], crossed[l]);
                        coefficients_bar[offset + k * m + l] +=
                            outer * f.partner_sums[kind][i * m + l] + own_k * crossed[l];
                    }
                    cosines_bar[i * m + k] += cosine_bar;
                    slopes_bar[i * m + k] += own_slope_bar * row;
                }
            }
            // sin theta_i and cos theta_i themselves.
            if !self.circle {
                bar[i] += sin_bar * f.cos[i] - own * f.sum[i] * f.sin[i];
            }
        }
        for i in 0..n {
            for k in 0..m {
                let at = i * m + k;
                bar[i] += cosines_bar[at] * f.cosines[1][at] + slopes_bar[at] * f.cosines[2][at];
            }
        }
        // Coefficients are parameters times a scale that depends on all of them.
        let mut along = T::zero();
        for (q, c) in self.parameters.iter().zip(&*coefficients_bar) {
            along = along.add_scaled(*q, *c);
        }
        for (i, bar) in parameters_bar.iter_mut().enumerate() {
            *bar += coefficients_bar[i] * self.scale;
            *bar = bar.add_scaled(self.scale_gradient[i], along);
        }
    }

    /// Undoes the layer.
    pub fn inverse(&self, angles: &mut [f64], trace: &mut TwoBodyTrace<f64>) {
        let n = self.particles;
        let TwoBodyTrace { field, pairs, target, solution, newton, .. } = trace;
        // Both closures use the same memory by turns.
        let work = std::cell::RefCell::new((field, pairs));
        target.clear();
        target.extend_from_slice(angles);
        solution.clone_from(target);
        newton::solve(
            target,
            solution,
            |t, z| {
                let (field, pairs) = &mut *work.borrow_mut();
                self.evaluate_by_pairs(t, field, pairs);
                for i in 0..n {
                    z[i] = t[i] + field.sin[i] * field.sum[i];
                }
            },
            |t, r| {
                let (field, pairs) = &mut *work.borrow_mut();
                self.evaluate_by_pairs(t, field, pairs);
                self.jacobian(field);
                lu(&mut field.jacobian, n, &mut field.pivots);
                lu_solve(&field.jacobian, n, &field.pivots, r);
            },
            newton,
        );
        angles.copy_from_slice(solution);
    }
}

/// Scratch memory of eight configurations.
#[derive(Clone, Debug, Default)]
pub(super) struct LaneWaves {
    /// Sine and cosine of every angle.
    phases: Vec<[Lanes; 2]>,
    /// Waves of every angle with their first three derivatives, `particles x functions`.
    waves: Vec<[Lanes; 4]>,
    /// Table times the waves of one particle.
    rows: Vec<[Lanes; 4]>,
}

widest! {
    /// What the field does at the points.
    fn push(
        layer: &TwoBodyLayer,
        work: &mut LaneWaves,
        coupling: &mut Coupling,
        journey: &mut Journey,
    ) {
        let m = layer.functions;
        let LaneWaves { phases, waves, rows } = work;
        phases.clear();
        waves.clear();
        rows.resize(m, [ZERO; 4]);
        for t in &journey.points.value {
            let (sin1, cos1) = sin_cos::<FUSED>(t);
            phases.push([sin1, cos1]);
            let (mut s, mut c) = (ZERO, [1.0; LANES]);
            for k in 0..m {
                // Around a circle cosines and sines take turns.
                let odd = layer.circle && k > 0 && k.is_multiple_of(2);
                let q = if layer.circle { k.div_ceil(2) } else { k } as f64;
                waves.push(if odd {
                    [s, scaled(q, &c), scaled(-q * q, &s), scaled(-q * q * q, &c)]
                } else {
                    [c, scaled(-q, &s), scaled(-q * q, &c), scaled(q * q * q, &s)]
                });
                if odd || k == 0 || !layer.circle {
                    let turned = add_product::<FUSED>(&s, &cos1, &product(&c, &sin1));
                    c = add_product::<FUSED>(&c, &cos1, &scaled(-1.0, &product(&s, &sin1)));
                    s = turned;
                }
            }
        }
        for (kind, offset, _) in layer.tables() {
            let table = &layer.coefficients[offset..offset + m * m];
            for i in 0..layer.particles {
                let others = layer.others(i, kind);
                if others.clone().all(|j| j == i) {
                    continue;
                }
                for (l, row) in rows.iter_mut().enumerate() {
                    let mut sums = [ZERO; 4];
                    for (own, c) in waves[i * m..][..m].iter().zip(table[l..].iter().step_by(m)) {
                        for a in 0..4 {
                            sums[a] = add_product::<FUSED>(&[*c; LANES], &own[a], &sums[a]);
                        }
                    }
                    *row = sums;
                }
                for j in others.filter(|&j| j != i) {
                    // f[b][a] = d^(a+b) F / d theta_i^a d theta_j^b, a + b <= 3.
                    let mut f = [[ZERO; 4]; 4];
                    for b in 0..4 {
                        for (row, w) in rows.iter().zip(&waves[j * m..][..m]) {
                            for a in 0..4 - b {
                                f[b][a] = add_product::<FUSED>(&row[a], &w[b], &f[b][a]);
                            }
                        }
                    }
                    if !layer.circle {
                        f = f.map(|f| with_sine::<FUSED>(&phases[i], &f));
                    }
                    let push = Push {
                        own: f[0],
                        other: [f[1][0], f[2][0], f[3][0]],
                        mixed: [f[1][1], f[1][2], f[2][1]],
                    };
                    coupling.add(i, j, &push);
                }
            }
        }
    }
}

/// A function and its first three derivatives by an angle, times the sine of the angle.
#[inline(always)]
fn with_sine<const FUSED: bool>([sin, cos]: &[Lanes; 2], f: &[Lanes; 4]) -> [Lanes; 4] {
    let [f0, f1, f2, f3] = f;
    [
        product(sin, f0),
        add_product::<FUSED>(cos, f0, &product(sin, f1)),
        each(|s| sin[s] * (f2[s] - f0[s]) + 2.0 * cos[s] * f1[s]),
        each(|s| sin[s] * (f3[s] - 3.0 * f1[s]) + cos[s] * (3.0 * f2[s] - f0[s])),
    ]
}

/// Wave `k` of the circle, `1, cos t, sin t, cos 2t, ..`, and its first four derivatives.
#[inline]
fn circle_wave(k: usize, t: f64) -> [f64; 5] {
    let q = k.div_ceil(2) as f64;
    let (s, c) = (q * t).sin_cos();
    let (q2, q3, q4) = (q * q, q * q * q, q * q * q * q);
    if k > 0 && k.is_multiple_of(2) {
        [s, q * c, -q2 * s, -q3 * c, q4 * s]
    } else {
        [c, -q * s, -q2 * c, q3 * s, q4 * c]
    }
}

/// A smooth upper bound on `|∂_i sin theta_i F| + |sin theta_i ∂_j F|` over all angles (on a `circle` without the sine), for
/// one partner and the given table of coefficients; adds its gradient to `gradient`.
fn row_norm(table: &[f64], m: usize, circle: bool, gradient: &mut [f64]) -> f64 {
    // Cells of a half-turn for the degree of the polynomial, and the points of the interval.
    let degree = if circle { (m / 2).max(1) } else { m };
    let cells = OVERSAMPLING * degree;
    let points = if circle { 2 * cells } else { cells + 1 };
    let angle = |a: usize| std::f64::consts::PI * a as f64 / cells as f64;
    // sin(t) cos(k t) and its derivative, cos(l t) and its derivative.
    let mut tables = [const { Vec::new() }; 4];
    for a in 0..points {
        let t = angle(a);
        for k in 0..m {
            if circle {
                let [value, slope, ..] = circle_wave(k, t);
                [value, slope, value, slope]
                    .into_iter()
                    .zip(&mut tables)
                    .for_each(|(v, t)| t.push(v));
                continue;
            }
            let q = k as f64;
            let ((sin, cos), (sin_k, cos_k)) = (t.sin_cos(), (q * t).sin_cos());
            tables[0].push(sin * cos_k);
            tables[1].push(cos * cos_k - q * sin * sin_k);
            tables[2].push(cos_k);
            tables[3].push(-q * sin_k);
        }
    }
    let [own, own_slope, other, other_slope] = &tables;
    // Sums over k for every point of i.
    let mut values = Vec::new();
    let mut largest = 0.0f64;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for i in 0..points {
        let row = i * m..(i + 1) * m;
        let along = |u: &[f64]| -> Vec<f64> {
            (0..m).map(|l| (0..m).map(|k| u[k] * table[k * m + l]).sum()).collect()
        };
        let (slopes, plain) = (along(&own_slope[row.clone()]), along(&own[row]));
        for j in 0..points {
            let row = j * m..(j + 1) * m;
            let value = (dot(&slopes, &other[row.clone()]), dot(&plain, &other_slope[row]));
            largest = largest.max(value.0.abs() + value.1.abs());
            values.push(value);
        }
    }
    if largest == 0.0 {
        return 0.0;
    }
    let between = (std::f64::consts::PI * degree as f64 / (2 * cells) as f64).cos().powi(2).recip();
    let relative = |v: &(f64, f64)| (v.0.abs() + v.1.abs()) / largest;
    let sum: f64 = values.iter().map(|v| relative(v).powi(NORM)).sum();
    let root = sum.powf(1.0 / f64::from(NORM));
    for (at, v) in values.iter().enumerate() {
        // d norm / d value.
        let weight = between * relative(v).powi(NORM - 1) * root / sum;
        if weight < 1e-14 {
            continue;
        }
        let (i, j) = (at / points, at % points);
        let (first, second) = (weight * v.0.signum(), weight * v.1.signum());
        for k in 0..m {
            for l in 0..m {
                gradient[k * m + l] += first * own_slope[i * m + k] * other[j * m + l]
                    + second * own[i * m + k] * other_slope[j * m + l];
            }
        }
    }
    between * largest * root
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::scalar::Jet;
    use proptest::prelude::*;

    #[test]
    fn the_scale_has_the_gradient_it_claims() {
        let sector = Sector::new(2, 1);
        for (circle, size) in [(false, 0.02), (false, 0.1), (false, 1.0), (true, 0.1), (true, 1.0)]
        {
            let mut layer = TwoBodyLayer::of_waves(sector, 3, circle, 0.9);
            let count = layer.parameters.len();
            let q: Vec<f64> = (0..count).map(|i| size * (1.3 * i as f64).sin()).collect();
            layer.set_parameters(&q);
            let gradient = layer.scale_gradient.clone();
            for k in 0..count {
                let mut at = |h: f64| {
                    let mut moved = q.clone();
                    moved[k] += h * size;
                    layer.set_parameters(&moved);
                    layer.scale
                };
                let slope = (at(1e-5) - at(-1e-5)) / (2e-5 * size);
                assert!((slope - gradient[k]).abs() < 1e-6 * (1.0 + slope.abs()), "{k}");
            }
        }
    }

    #[test]
    fn the_field_pair_by_pair_is_the_same() {
        let sectors = [Sector::new(1, 1), Sector::new(3, 2)];
        for (sector, circle) in sectors.into_iter().flat_map(|s| [(s, false), (s, true)]) {
            let mut layer = TwoBodyLayer::of_waves(sector, 5, circle, 0.9);
            let q: Vec<f64> = (0..layer.parameters.len()).map(|i| (1.3 * i as f64).sin()).collect();
            layer.set_parameters(&q);
            let theta: Vec<Jet<5>> = (0..sector.particles())
                .map(|i| Jet::variable(0.3 + 0.5 * i as f64, i).sin() * 2.0)
                .collect();
            let (mut all, mut pairs) = (Field::default(), Field::default());
            layer.evaluate(&theta, &mut all);
            layer.evaluate_by_pairs(&theta, &mut pairs, &mut PairWork::default());
            let same = |a: &[Jet<5>], b: &[Jet<5>]| {
                assert_eq!(a.len(), b.len());
                for (a, b) in a.iter().zip(b) {
                    for plane in 0..Jet::<5>::PLANES {
                        assert!((a.plane(plane) - b.plane(plane)).abs() < 1e-12, "{a:?} {b:?}");
                    }
                }
            };
            same(&all.sin, &pairs.sin);
            same(&all.cos, &pairs.cos);
            same(&all.sum, &pairs.sum);
            same(&all.own_slope, &pairs.own_slope);
            same(&all.cross, &pairs.cross);
        }
    }

    proptest! {
        #[test]
        fn row_sums_stay_below_the_share(
            q in prop::collection::vec(-3.0f64..3.0, 50),
            theta in prop::collection::vec(0.0f64..std::f64::consts::PI, 3),
            circle in any::<bool>(),
        ) {
            let functions = if circle { 5 } else { 4 };
            let sector = Sector::new(2, 1);
            let mut layer = TwoBodyLayer::of_waves(sector, functions, circle, 0.9);
            layer.set_parameters(&q[..2 * functions * functions]);
            let theta: Vec<f64> = theta.iter().map(|t| if circle { 2.0 * t } else { *t }).collect();
            let mut field = Field::default();
            layer.evaluate(&theta, &mut field);
            layer.jacobian(&mut field);
            for i in 0..3 {
                let row: f64 = (0..3)
                    .map(|j| (field.jacobian[i * 3 + j] - f64::from(u8::from(i == j))).abs())
                    .sum();
                prop_assert!(row < 0.9, "{row}");
            }
        }
    }
}
