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

use super::back::Back;
use super::coupling::{self, Coupling, Push};
use super::lanes::Block;
use super::layer::{Kind, Layer};
use super::newton::{self, Coupled, LaneNewton, Residuals};
use crate::math::log_product::LogProduct;
use crate::math::scalar::Scalar;
use crate::math::small_matrix::{lu, lu_inverse};
use crate::math::vector::lanes::{
    LANES, Lanes, add_product, each, product, scaled, sin_cos, solve_dominant, sum,
};
use crate::math::vector::{self, COLUMNS, ORDERS, PairDerivatives, Phase, widest};
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
    /// Table after table, row-major in `(k, l)`.
    parameters: Vec<f64>,
    /// The same, with rows filled up to `stride`.
    coefficients: Vec<f64>,
    stride: usize,
    /// What parameters are multiplied by to become coefficients, and its gradient.
    scale: f64,
    scale_gradient: Vec<f64>,
}

/// What the reverse sweep needs again, and scratch memory.
#[derive(Clone, Debug, Default)]
pub struct TwoBodyTrace<T> {
    /// The angles, where the reverse sweep follows.
    argument: Vec<T>,
    field: Field<T>,
    inverse: Vec<T>,
    pairs: PairWork,
}

/// Pairs in plain numbers.
#[derive(Clone, Debug, Default)]
struct PairWork {
    /// Sines and cosines of `k theta_i` of one particle.
    phases: Vec<Phase>,
    /// The waves of each particle: [`ORDERS`] rows of `stride` numbers, one an order of derivatives.
    waves: Vec<f64>,
    /// Table times the waves of one particle.
    rows: Vec<f64>,
    /// Derivatives of the field of each particle and each other one, `particles x particles`.
    pairs: Vec<PairDerivatives>,
    /// Of one particle its partners' waves, weighted by adjoints: as many rows for each plane of a scalar.
    weighted: Vec<f64>,
    /// Adjoints of the coefficients, plane by plane.
    bars: Vec<f64>,
}

/// The field at a configuration.
#[derive(Clone, Debug, Default)]
struct Field<T> {
    sin: Vec<T>,
    cos: Vec<T>,
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
            stride: functions.next_multiple_of(COLUMNS),
            scale: 1.0,
            scale_gradient: Vec::new(),
        };
        let count: usize = layer.groups().iter().sum();
        layer.parameters = vec![0.0; count];
        layer.coefficients = vec![0.0; layer.groups().len() * functions * layer.stride];
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
        let rows = self.coefficients.chunks_exact_mut(self.stride);
        for (row, parameters) in rows.zip(parameters.chunks_exact(self.functions)) {
            row.iter_mut().zip(parameters).for_each(|(c, q)| *c = q * self.scale);
        }
    }

    /// The tables of coefficients: kind and place.
    fn coefficients(&self) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> + use<> {
        let size = self.functions * self.stride;
        let tables = self.tables().enumerate();
        tables.map(move |(n, (kind, ..))| (kind, n * size..(n + 1) * size))
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

    /// Evaluates the field by way of plain numbers: that of a pair is a function of two angles, whose derivatives are sums over
    /// the same table; `reverse` says whether [`Self::backward`] follows.
    fn evaluate<T: Scalar>(
        &self,
        theta: &[T],
        reverse: bool,
        f: &mut Field<T>,
        work: &mut PairWork,
    ) {
        let (n, stride) = (self.particles, self.stride);
        for v in [&mut f.sin, &mut f.cos, &mut f.sum, &mut f.own_slope] {
            v.clear();
            v.resize(n, T::zero());
        }
        f.cross.clear();
        f.cross.resize(n * n, T::zero());
        self.waves(theta, f, work);
        let PairWork { waves, rows, pairs, .. } = work;
        let orders = 2 + T::ORDER + usize::from(reverse);
        let all = ORDERS * stride;
        rows.resize(all, 0.0);
        pairs.resize(n * n, [[0.0; ORDERS]; ORDERS]);
        for (kind, table) in self.coefficients() {
            let table = &self.coefficients[table];
            for i in 0..n {
                let others = self.others(i, kind);
                let own = &waves[i * all..(i + 1) * all];
                let partners = &waves[others.start * all..others.end * all];
                let pairs = &mut pairs[i * n..][others.clone()];
                vector::contract(table, stride, orders, own, rows, partners, pairs);
                for (j, p) in others.zip(&*pairs).filter(|&(j, _)| j != i) {
                    let (t, u) = (theta[i], theta[j]);
                    f.sum[i] += lift(p, t, u, 0, 0);
                    f.own_slope[i] += lift(p, t, u, 1, 0);
                    f.cross[i * n + j] = lift(p, t, u, 0, 1);
                }
            }
        }
    }

    /// The waves of all angles, and their sines and cosines.
    fn waves<T: Scalar>(&self, theta: &[T], f: &mut Field<T>, work: &mut PairWork) {
        let (m, stride) = (self.functions, self.stride);
        let PairWork { phases, waves, .. } = work;
        phases.resize(m, [0.0; 2]);
        waves.clear();
        waves.resize(theta.len() * ORDERS * stride, 0.0);
        for ((i, t), waves) in theta.iter().enumerate().zip(waves.chunks_exact_mut(ORDERS * stride))
        {
            let mut set = |k: usize, derivatives: [f64; ORDERS]| {
                derivatives.iter().enumerate().for_each(|(d, w)| waves[d * stride + k] = *w);
            };
            if self.circle {
                f.sin[i] = T::one();
                (0..m).for_each(|k| set(k, circle_wave(k, t.value())));
                continue;
            }
            let (sin1, cos1) = t.value().sin_cos();
            f.sin[i] = t.chain(sin1, cos1, -sin1);
            f.cos[i] = t.chain(cos1, -sin1, -cos1);
            vector::phases([0.0, 1.0], [sin1, cos1], phases);
            for (k, [s, c]) in phases.iter().enumerate() {
                let q = k as f64;
                let q2 = q * q;
                set(k, [*c, -q * s, -q2 * c, q2 * q * s, q2 * q2 * c]);
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
            trace.argument.clear();
            trace.argument.extend_from_slice(angles);
        }
        self.evaluate(angles, reverse, field, &mut trace.pairs);
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
        let (n, m, stride) = (self.particles, self.functions, self.stride);
        let TwoBodyTrace { argument: theta, field: f, inverse, pairs: work, .. } = trace;
        let PairWork { waves, pairs, weighted, bars, .. } = work;
        inverse.resize(n * n, T::zero());
        lu_inverse(&f.jacobian, n, &f.pivots, inverse);
        let (all, size) = (ORDERS * stride, self.coefficients.len());
        bars.clear();
        bars.resize(T::PLANES * size, 0.0);
        // Orders of derivatives in what one of a pair has to do with the coefficients.
        let orders = 2 + T::ORDER;
        let sines: Vec<T> = (0..n).map(|i| bar[i] * f.sin[i]).collect();
        let mut sin_bars: Vec<T> = (0..n).map(|i| bar[i] * f.sum[i]).collect();
        for i in 0..n {
            // Adjoint of the Jacobian's element (i, j) is element (j, i) of its inverse.
            let own = inverse[i * n + i] * log_det_bar;
            let sum_bar = sines[i] + own * f.cos[i];
            let own_slope_bar = own * f.sin[i];
            sin_bars[i] += own * f.own_slope[i];
            for (kind, table) in self.coefficients() {
                weighted.clear();
                weighted.resize(T::PLANES * all, 0.0);
                for j in self.others(i, kind).filter(|&j| j != i) {
                    let element = inverse[j * n + i] * log_det_bar;
                    let cross_bar = element * f.sin[i];
                    sin_bars[i] += element * f.cross[i * n + j];
                    let (p, t, u) = (&pairs[i * n + j], theta[i], theta[j]);
                    let mixed = lift(p, t, u, 1, 1);
                    bar[i] += sum_bar * lift(p, t, u, 1, 0)
                        + own_slope_bar * lift(p, t, u, 2, 0)
                        + cross_bar * mixed;
                    bar[j] += sum_bar * lift(p, t, u, 0, 1)
                        + own_slope_bar * mixed
                        + cross_bar * lift(p, t, u, 0, 2);
                    let weights = taylor(t, u, [sum_bar, own_slope_bar, cross_bar]);
                    let other = &waves[j * all..(j + 1) * all];
                    for (plane, weighted) in weighted.chunks_exact_mut(all).enumerate() {
                        let weights = weights.map(|row| row.map(|w| w.plane(plane)));
                        vector::add_weighted(&weights, stride, orders, other, weighted);
                    }
                }
                let own = &waves[i * all..(i + 1) * all];
                let planes = weighted.chunks_exact(all).zip(bars.chunks_exact_mut(size));
                for (weighted, bars) in planes {
                    vector::add_outer(stride, orders, own, weighted, &mut bars[table.clone()]);
                }
            }
            // sin theta_i and cos theta_i themselves.
            if !self.circle {
                bar[i] += sin_bars[i] * f.cos[i] - own * f.sum[i] * f.sin[i];
            }
        }
        // Coefficients are parameters times a scale that depends on all of them.
        let of = |i: usize| T::from_planes(|plane| bars[plane * size + i / m * stride + i % m]);
        let mut along = T::zero();
        for (i, q) in self.parameters.iter().enumerate() {
            along = along.add_scaled(*q, of(i));
        }
        for (i, bar) in parameters_bar.iter_mut().enumerate() {
            *bar += of(i) * self.scale;
            *bar = bar.add_scaled(self.scale_gradient[i], along);
        }
    }

    /// Undoes the layer for eight configurations.
    pub(super) fn inverse(&self, angles: &mut [Lanes], back: &mut Back) {
        let samples = back.samples();
        solve(self, &mut back.newton, &mut back.field, samples, angles);
    }
}

/// Scratch memory of the inverse for eight configurations.
#[derive(Clone, Debug, Default)]
pub(super) struct LaneField {
    /// Sine and cosine of every angle.
    phases: Vec<[Lanes; 2]>,
    /// Waves of every angle and their slopes, `particles x functions`.
    waves: Vec<[Lanes; 2]>,
    /// Table times the waves of one particle.
    rows: Vec<[Lanes; 2]>,
}

/// A layer, and memory to undo it with.
struct Inverse<'a> {
    layer: &'a TwoBodyLayer,
    field: &'a mut LaneField,
}

impl Coupled for Inverse<'_> {
    #[inline(always)]
    fn residuals<const FUSED: bool>(
        &mut self,
        theta: &[Lanes],
        target: &[Lanes],
        _counted: &[bool; LANES],
        out: &mut Residuals,
    ) {
        let Inverse { layer, field: LaneField { phases, waves, rows } } = self;
        let (n, m) = (layer.particles, layer.functions);
        phases.clear();
        waves.clear();
        rows.resize(m, [ZERO; 2]);
        for t in theta {
            let (sin1, cos1) = sin_cos::<FUSED>(t);
            phases.push([sin1, cos1]);
            let mut turning = Turning::new(sin1, cos1, layer.circle);
            for _ in 0..m {
                let (q, odd, [s, c]) = turning.wave();
                waves.push(if odd { [s, scaled(q, &c)] } else { [c, scaled(-q, &s)] });
                turning.turn::<FUSED>();
            }
        }
        out.begin(theta, target);
        let Residuals { residual, jacobian } = out;
        for (kind, table) in layer.coefficients() {
            let table = &layer.coefficients[table];
            for i in 0..n {
                let others = layer.others(i, kind);
                if others.clone().all(|j| j == i) {
                    continue;
                }
                let own = &waves[i * m..][..m];
                for (l, row) in rows.iter_mut().enumerate() {
                    let mut sums = [ZERO; 2];
                    for (own, c) in own.iter().zip(table[l..].iter().step_by(layer.stride)) {
                        for a in 0..2 {
                            sums[a] = add_product::<FUSED>(&[*c; LANES], &own[a], &sums[a]);
                        }
                    }
                    *row = sums;
                }
                let [sin, cos] = phases[i];
                for j in others.filter(|&j| j != i) {
                    let (mut f, mut slope, mut cross) = (ZERO, ZERO, ZERO);
                    for (row, w) in rows.iter().zip(&waves[j * m..][..m]) {
                        f = add_product::<FUSED>(&row[0], &w[0], &f);
                        slope = add_product::<FUSED>(&row[1], &w[0], &slope);
                        cross = add_product::<FUSED>(&row[0], &w[1], &cross);
                    }
                    if !layer.circle {
                        slope = add_product::<FUSED>(&cos, &f, &product(&sin, &slope));
                        f = product(&sin, &f);
                        cross = product(&sin, &cross);
                    }
                    residual[i] = sum(&residual[i], &f);
                    jacobian[i * n + i] = sum(&jacobian[i * n + i], &slope);
                    jacobian[i * n + j] = sum(&jacobian[i * n + j], &cross);
                }
            }
        }
    }

    #[inline(always)]
    fn step<const FUSED: bool>(n: usize, jacobian: &mut [Lanes], residual: &mut [Lanes]) {
        // Every row is dominated by its diagonal, as its other elements sum up to less than the share.
        solve_dominant::<FUSED>(n, jacobian, residual);
    }
}

/// The waves of an angle one after the other.
struct Turning {
    circle: bool,
    number: usize,
    first: [Lanes; 2],
    /// Sine and cosine of as many times the angle as the wave number is.
    now: [Lanes; 2],
}

impl Turning {
    #[inline(always)]
    fn new(sin: Lanes, cos: Lanes, circle: bool) -> Self {
        Turning { circle, number: 0, first: [sin, cos], now: [ZERO, [1.0; LANES]] }
    }

    /// The wave number, whether the wave is the sine (around a circle cosines and sines take turns), and both.
    #[inline(always)]
    fn wave(&self) -> (f64, bool, [Lanes; 2]) {
        let (k, circle) = (self.number, self.circle);
        let q = if circle { k.div_ceil(2) } else { k };
        (q as f64, circle && k > 0 && k.is_multiple_of(2), self.now)
    }

    #[inline(always)]
    fn turn<const FUSED: bool>(&mut self) {
        let (_, odd, [s, c]) = self.wave();
        if odd || self.number == 0 || !self.circle {
            let [sin, cos] = &self.first;
            let turned = add_product::<FUSED>(&s, cos, &product(&c, sin));
            let c = add_product::<FUSED>(&c, cos, &scaled(-1.0, &product(&s, sin)));
            self.now = [turned, c];
        }
        self.number += 1;
    }
}

widest! {
    /// Replaces angles by those of which they are the displaced ones.
    fn solve(
        layer: &TwoBodyLayer,
        newton: &mut LaneNewton,
        field: &mut LaneField,
        samples: usize,
        angles: &mut [Lanes],
    ) {
        let mut inverse = Inverse { layer, field };
        newton::solve_lanes::<FUSED, _>(angles, samples, &mut inverse, newton);
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
            let mut turning = Turning::new(sin1, cos1, layer.circle);
            for _ in 0..m {
                let (q, odd, [s, c]) = turning.wave();
                waves.push(if odd {
                    [s, scaled(q, &c), scaled(-q * q, &s), scaled(-q * q * q, &c)]
                } else {
                    [c, scaled(-q, &s), scaled(-q * q, &c), scaled(q * q * q, &s)]
                });
                turning.turn::<FUSED>();
            }
        }
        for (kind, table) in layer.coefficients() {
            let table = &layer.coefficients[table];
            for i in 0..layer.particles {
                let others = layer.others(i, kind);
                if others.clone().all(|j| j == i) {
                    continue;
                }
                for (l, row) in rows.iter_mut().enumerate() {
                    let mut sums = [ZERO; 4];
                    for (own, c) in waves[i * m..][..m].iter().zip(table[l..].iter().step_by(layer.stride)) {
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
                        for f in &mut f {
                            *f = with_sine::<FUSED>(&phases[i], f);
                        }
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

/// A derivative of a function of two angles, `a` times by the first and `b` times by the second.
#[inline(always)]
fn lift<T: Scalar>(p: &PairDerivatives, t: T, u: T, a: usize, b: usize) -> T {
    let at = |x: usize, y: usize| if x + y < ORDERS { p[y][x] } else { 0.0 };
    let slopes = [at(a + 1, b), at(a, b + 1)];
    t.chain2(u, p[b][a], slopes, [at(a + 2, b), at(a + 1, b + 1), at(a, b + 2)])
}

/// What the derivatives of two waves `w(t) v(u)`, at the values of both, are multiplied by in `x w v + y w' v + z w v'`: by
/// Taylor's formula, `[b][a]` that of `w^(a) v^(b)`.
#[inline(always)]
fn taylor<T: Scalar>(t: T, u: T, [x, y, z]: [T; 3]) -> [[T; ORDERS]; ORDERS] {
    let mut found = [[T::zero(); ORDERS]; ORDERS];
    let (dt, du) = (t - t.value(), u - u.value());
    for b in 0..=T::ORDER {
        for a in 0..=T::ORDER - b {
            let power = match (a, b) {
                (0, 0) => T::one(),
                (1, 0) => dt,
                (0, 1) => du,
                (2, 0) => dt * dt * 0.5,
                (1, 1) => dt * du,
                _ => du * du * 0.5,
            };
            found[b][a] += x * power;
            found[b][a + 1] += y * power;
            found[b + 1][a] += z * power;
        }
    }
    found
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
    fn the_field_is_a_sum_over_pairs_of_waves() {
        let sectors = [Sector::new(1, 1), Sector::new(3, 2)];
        for (sector, circle) in sectors.into_iter().flat_map(|s| [(s, false), (s, true)]) {
            let m = 5;
            let mut layer = TwoBodyLayer::of_waves(sector, m, circle, 0.9);
            let q: Vec<f64> = (0..layer.parameters.len()).map(|i| (1.3 * i as f64).sin()).collect();
            layer.set_parameters(&q);
            let theta: Vec<Jet<5>> = (0..sector.particles())
                .map(|i| Jet::variable(0.3 + 0.5 * i as f64, i).sin() * 2.0)
                .collect();
            let mut field = Field::default();
            layer.evaluate(&theta, false, &mut field, &mut PairWork::default());
            // A wave and its slope.
            let wave = |k: usize, t: Jet<5>| match circle {
                true => {
                    let d = circle_wave(k, t.value());
                    [t.chain(d[0], d[1], d[2]), t.chain(d[1], d[2], d[3])]
                }
                false => {
                    let q = k as f64;
                    [(t * q).cos(), (t * q).sin() * -q]
                }
            };
            let same = |a: Jet<5>, b: Jet<5>| {
                for plane in 0..Jet::<5>::PLANES {
                    assert!((a.plane(plane) - b.plane(plane)).abs() < 1e-12, "{a:?} {b:?}");
                }
            };
            for i in 0..sector.particles() {
                let (mut sum, mut own_slope) = (Jet::zero(), Jet::zero());
                for (kind, offset, _) in layer.tables() {
                    for j in layer.others(i, kind).filter(|&j| j != i) {
                        let mut cross = Jet::zero();
                        for kl in 0..m * m {
                            let c = q[offset + kl] * layer.scale;
                            let (own, other) = (wave(kl / m, theta[i]), wave(kl % m, theta[j]));
                            sum += own[0] * other[0] * c;
                            own_slope += own[1] * other[0] * c;
                            cross += own[0] * other[1] * c;
                        }
                        same(field.cross[i * sector.particles() + j], cross);
                    }
                }
                same(field.sum[i], sum);
                same(field.own_slope[i], own_slope);
                if !circle {
                    same(field.sin[i], theta[i].sin());
                    same(field.cos[i], theta[i].cos());
                }
            }
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
            layer.evaluate(&theta, false, &mut field, &mut PairWork::default());
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
