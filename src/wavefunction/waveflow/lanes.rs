//! Kinetic local energies of eight configurations side by side: see [`Journey`].
//!
//! Group `i` of a network depends on the inputs before `i` alone and carries derivatives by these only.

use super::conditioner::{Conditioner, LaneActivations};
use super::layer::{FirstWeights, SplineLayer, Splines};
use super::prior::OSplinePrior;
use crate::math::scalar::Jet;
use crate::math::spline::{LaneBasis, MonotoneBasis};
use crate::math::vector::lanes::{
    self, LANES, Lanes, Part, add_product, bend, each, every, exp, product, row_by_row, scaled, sum,
};
use crate::math::vector::widest;
use crate::wavefunction::journey::{Journey, Partials, ZERO};
use crate::work;

/// Scratch memory of one dimension of a layer or of the prior.
#[derive(Clone, Debug, Default)]
struct Scratch {
    local: LaneBasis,
    /// Of the planes of a network's group: exponentials, or coefficients of O-splines.
    weights: Vec<Lanes>,
    /// Coefficients of B-splines.
    coefficients: Vec<Lanes>,
    /// Those of one plane that belong to the splines at hand.
    gathered: Vec<Lanes>,
    /// Sums of the first weights of one plane, from none on.
    running: Vec<Lanes>,
    /// Sums of the weights before those, and of all, plane by plane.
    before: Vec<Lanes>,
    total: Vec<Lanes>,
    /// Sums of products of the gathered ones with the splines and their derivatives, plane by plane.
    moments: Vec<[Lanes; 4]>,
    value: Partials,
    slope: Partials,
    parts: Vec<Part>,
}

/// Eight configurations within the layers.
#[derive(Clone, Debug, Default)]
struct State {
    journey: Journey,
    /// What a layer adds to `log |psi|`.
    log: Partials,
    scratch: Scratch,
}

/// Intermediate values of a block of configurations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Block {
    /// The mean-field coordinate of each particle, and its complement, with derivatives.
    pub(super) places: Vec<[[Lanes; 4]; 2]>,
    pub(super) local: LaneBasis,
    state: State,
    networks: Vec<LaneActivations>,
    /// Whether what the first input of a network decides comes from tables: no hidden units are left then.
    tabulated: bool,
}

impl Block {
    /// Begins anew, for so many configurations of `n` particles, by tables or without.
    pub(super) fn clear(&mut self, n: usize, samples: usize, tabulated: bool) {
        self.tabulated = tabulated;
        let State { journey, log, scratch } = &mut self.state;
        journey.clear(n, samples);
        for slopes in [log, &mut scratch.value, &mut scratch.slope] {
            slopes.by.resize(n, ZERO);
        }
    }

    /// Takes a configuration's image in the cube and what is known of its `log |psi|`.
    pub(super) fn set<const N: usize>(&mut self, s: usize, u: &[Jet<N>], log: Jet<N>) {
        self.state.journey.put(s, u, log);
    }

    /// Lanes without a configuration follow the first.
    pub(super) fn fill(&mut self) {
        self.state.journey.fill();
    }

    /// The coordinates in reverse order.
    pub(super) fn reverse(&mut self) {
        self.state.journey.reverse();
    }

    /// Evaluates network number `l` at the points.
    fn network_of(&mut self, l: usize, conditioner: &Conditioner) {
        let journey = &mut self.state.journey;
        work::splines(journey.n * journey.samples());
        journey.measure();
        self.networks.resize_with(self.networks.len().max(l + 1), LaneActivations::default);
        let (values, act) = (&journey.points.value, &mut self.networks[l]);
        conditioner.forward_lanes(values, &journey.gram, self.tabulated, act);
    }

    /// Through a layer, whose network is number `l`; false where there is no kernel for its splines.
    pub(super) fn through(&mut self, l: usize, layer: &SplineLayer) -> bool {
        let Splines::ISpline(basis) = &layer.splines else { return false };
        self.network_of(l, &layer.conditioner);
        let logits = layer.conditioner.lane_outputs(&self.networks[l]);
        map(basis, &layer.first, logits, &mut self.state);
        true
    }

    /// Through the prior, whose network is number `l`.
    pub(super) fn over(&mut self, l: usize, prior: &OSplinePrior) {
        self.network_of(l, &prior.conditioner);
        let outputs = prior.conditioner.lane_outputs(&self.networks[l]);
        base(prior, outputs, &mut self.state);
    }

    /// Of a configuration, in Hartree.
    pub(super) fn kinetic(&self, s: usize) -> f64 {
        self.state.journey.kinetic(s)
    }

    /// Activations of a network.
    pub(super) fn network(&self, l: usize) -> &LaneActivations {
        &self.networks[l]
    }
}

widest! {
    /// A layer: its splines with weights from the logits.
    fn map(basis: &MonotoneBasis, first: &FirstWeights, logits: &[Lanes], state: &mut State) {
        state.log.clear();
        let (free, floor) = (1.0 - basis.floor(), basis.floor());
        for i in 0..state.journey.n {
            let u = state.journey.points.value[i];
            state.scratch.local.evaluate(basis.splines(), &u, 3);
            state.scratch.local.accumulate();
            if i == 0 {
                state.scratch.constant_weights::<FUSED>(first);
            } else {
                // With the dimension where compilers see it: of few inputs a loop is longer than what it does.
                let identity = basis.identity_logits();
                match i {
                    1 => exponentials::<FUSED>(identity, logits, 1, state),
                    2 => exponentials::<FUSED>(identity, logits, 2, state),
                    3 => exponentials::<FUSED>(identity, logits, 3, state),
                    _ => exponentials::<FUSED>(identity, logits, i, state),
                }
            }
            let State { journey: Journey { n, points, mapped, gram, .. }, log, scratch } = &mut *state;
            let n = *n;
            let Scratch { before, total, moments, value, slope, .. } = scratch;
            // The spline and its slope.
            let spline = sum(&moments[0][0], &before[0]);
            gather_slopes::<FUSED, 0>(moments, i, gram, n, value);
            for b in 0..i {
                value.by[b] = sum(&value.by[b], &before[2 + b]);
            }
            value.bend = sum(&value.bend, &before[1]);
            gather_slopes::<FUSED, 1>(moments, i, gram, n, slope);
            let steepness = moments[0][1];
            // Both over the sum of the weights.
            let inverse = each(|s| 1.0 / total[0][s]);
            let spline = value.divide::<FUSED>(&spline, &inverse, total, i, gram, n);
            let steepness = slope.divide::<FUSED>(&steepness, &inverse, total, i, gram, n);
            mapped.value[i] = each(|s| spline[s] * free + u[s] * floor);
            every(&mut value.by[..=i], |by| scaled(free, by));
            value.by[i] = each(|s| value.by[i][s] + floor);
            value.bend = scaled(free, &value.bend);
            let steepness = each(|s| free / (steepness[s] * free + floor));
            slope.logarithm::<FUSED>(&steepness, i, gram, n);
            log.add::<FUSED>(0.5, slope, i);
            let (gradient, row) = (&points.gradient, &mut mapped.gradient[i * n..][..n]);
            mapped.laplacian[i] = value.in_positions::<FUSED>(i, &points.laplacian, gradient, row, false);
        }
        let State { journey, log, .. } = state;
        journey.add_log::<FUSED>(log);
        std::mem::swap(&mut journey.points, &mut journey.mapped);
    }
}

widest! {
    /// The prior from the outputs of its network.
    fn base(prior: &OSplinePrior, outputs: &[Lanes], state: &mut State) {
        state.log.clear();
        let n = state.journey.n;
        let rows = outputs.len() / (n + 1);
        for i in 0..n {
            let basis = &prior.bases[i];
            state.scratch.local.evaluate(basis.basis(), &state.journey.points.value[i], 2);
            let State { journey: Journey { gram, .. }, log, scratch } = &mut *state;
            let Scratch { local, weights, coefficients, gathered, moments, value, slope, parts, .. } =
                scratch;
            moments.resize((n + 2).max(moments.len()), [ZERO; 4]);
            if i == 0 {
                let all = prior.first.coefficients();
                moments[0][..3].copy_from_slice(&local.combine::<FUSED, 3>(all));
                moments[1] = [ZERO; 4];
            } else {
                let group = prior.conditioner.group(i);
                let (count, functions) = (group.len(), basis.basis().functions());
                weights.clear();
                for c in 0..i + 2 {
                    weights.extend_from_slice(&outputs[c * rows..][group.clone()]);
                }
                for (w, start) in weights.iter_mut().zip(&prior.start[group]) {
                    *w = each(|s| w[s] + start);
                    row_by_row();
                }
                // Half the square norm.
                let (mut norm, by) = (ZERO, &mut slope.by[..i]);
                by.fill(ZERO);
                slope.bend = ZERO;
                for j in 0..count {
                    let w = weights[j];
                    norm = add_product::<FUSED>(&w, &w, &norm);
                    slope.bend = add_product::<FUSED>(&w, &weights[count + j], &slope.bend);
                    let bent = bend::<FUSED>(gram, n, i, |b| weights[(2 + b) * count + j]);
                    slope.bend = sum(&slope.bend, &bent);
                    for (b, by) in by.iter_mut().enumerate() {
                        *by = add_product::<FUSED>(&w, &weights[(2 + b) * count + j], by);
                    }
                }
                let inverse = each(|s| 2.0 / norm[s]);
                // It does not depend on the last input.
                slope.by[i] = ZERO;
                slope.logarithm::<FUSED>(&inverse, i, gram, n);
                log.add::<FUSED>(-0.5, slope, i);
                parts.clear();
                parts.resize(i + 2, Part { row: 0, column: 0 });
                coefficients.resize((i + 2) * functions, ZERO);
                lanes::affine(&prior.transforms[i], parts, weights, coefficients);
                gathered.resize(local.width(), ZERO);
                for c in 0..i + 2 {
                    let plane = &coefficients[c * functions..][..functions];
                    local.gather(0, |r, s| plane[r][s], gathered);
                    moments[c][..3].copy_from_slice(&local.products::<FUSED, 3>(gathered, 0));
                }
            }
            gather_slopes::<FUSED, 0>(moments, i, gram, n, value);
            let inverse = each(|s| 1.0 / moments[0][0][s]);
            value.logarithm::<FUSED>(&inverse, i, gram, n);
            log.add::<FUSED>(1.0, value, i);
        }
        let State { journey, log, .. } = state;
        journey.add_log::<FUSED>(log);
    }
}

/// The slopes of the `D`-th derivative, by the last input, of a spline whose coefficients depend on those before.
#[inline(always)]
fn gather_slopes<const FUSED: bool, const D: usize>(
    moments: &[[Lanes; 4]],
    i: usize,
    gram: &[Lanes],
    n: usize,
    out: &mut Partials,
) {
    let mut mixed = ZERO;
    for b in 0..i {
        out.by[b] = moments[2 + b][D];
        mixed = add_product::<FUSED>(&moments[2 + b][D + 1], &gram[b * n + i], &mixed);
    }
    out.by[i] = moments[0][D + 1];
    let own = add_product::<FUSED>(&moments[0][D + 2], &gram[i * n + i], &moments[1][D]);
    out.bend = each(|s| own[s] + 2.0 * mixed[s]);
}

/// Weights of dimension `i` with their derivatives, their sums, and what they make of the splines at hand.
#[inline(always)]
fn exponentials<const FUSED: bool>(
    identity: &[f64],
    logits: &[Lanes],
    i: usize,
    state: &mut State,
) {
    let State { journey: Journey { n, gram, .. }, scratch, .. } = state;
    let (n, k) = (*n, identity.len());
    let Scratch { local, weights, gathered, running, before, total, moments, .. } = scratch;
    let logit = |c: usize, j: usize| &logits[c * (logits.len() / (n + 1)) + i * k + j];
    weights.resize((i + 2) * k, ZERO);
    let mut largest = [f64::NEG_INFINITY; LANES];
    for j in 0..k {
        let l = each(|s| logit(0, j)[s] + identity[j]);
        largest = each(|s| if l[s] > largest[s] { l[s] } else { largest[s] });
    }
    for j in 0..k {
        weights[j] = each(|s| (logit(0, j)[s] + identity[j]) - largest[s]);
    }
    exp::<FUSED>(&mut weights[..k]);
    for j in 0..k {
        let e = weights[j];
        let bent = bend::<FUSED>(gram, n, i, |b| *logit(2 + b, j));
        weights[k + j] = product(&e, &sum(&bent, logit(1, j)));
        for b in 0..i {
            weights[(2 + b) * k + j] = product(&e, logit(2 + b, j));
        }
    }
    let planes = i + 2;
    for sums in [&mut *before, &mut *total] {
        sums.clear();
        sums.resize(planes, ZERO);
    }
    moments.resize(planes.max(moments.len()), [ZERO; 4]);
    gathered.resize(local.width() - 1, ZERO);
    running.resize(k + 1, ZERO);
    for c in 0..planes {
        let plane = &weights[c * k..][..k];
        let mut all = ZERO;
        for (w, running) in plane.iter().zip(&mut running[1..]) {
            all = sum(&all, w);
            *running = all;
        }
        before[c] = each(|s| running[local.first()[s]][s]);
        total[c] = all;
        local.gather(1, |r, s| plane[r][s], gathered);
        match c {
            0 => moments[c] = local.products::<FUSED, 4>(gathered, 1),
            // Nobody asks for their third derivatives.
            _ => moments[c][..3].copy_from_slice(&local.products::<FUSED, 3>(gathered, 1)),
        }
    }
}

impl Scratch {
    /// As [`exponentials`], where the weights depend on no input.
    #[inline(always)]
    fn constant_weights<const FUSED: bool>(&mut self, first: &FirstWeights) {
        let Scratch { local, gathered, before, total, moments, .. } = self;
        let FirstWeights { weights, before: sums, .. } = first;
        gathered.resize(local.width() - 1, ZERO);
        local.gather(1, |r, _| weights[r], gathered);
        moments.resize(2.max(moments.len()), [ZERO; 4]);
        moments[0] = local.products::<FUSED, 4>(gathered, 1);
        moments[1] = [ZERO; 4];
        for values in [&mut *before, &mut *total] {
            values.clear();
            values.resize(2, ZERO);
        }
        before[0] = each(|s| sums[local.first()[s]]);
        total[0] = [sums[weights.len()]; LANES];
    }
}

impl Partials {
    /// Adds a multiple of a function of the inputs up to number `i`.
    #[inline(always)]
    fn add<const FUSED: bool>(&mut self, weight: f64, other: &Partials, i: usize) {
        let weight = [weight; LANES];
        self.bend = add_product::<FUSED>(&weight, &other.bend, &self.bend);
        for (by, other) in self.by[..=i].iter_mut().zip(&other.by) {
            *by = add_product::<FUSED>(&weight, other, by);
        }
    }

    /// Those of the quotient by a function of the inputs before `i` (its value, bend and slopes in `total`), whose value is
    /// returned.
    #[inline(always)]
    fn divide<const FUSED: bool>(
        &mut self,
        value: &Lanes,
        inverse: &Lanes,
        total: &[Lanes],
        i: usize,
        gram: &[Lanes],
        n: usize,
    ) -> Lanes {
        let quotient = product(value, inverse);
        for b in 0..i {
            let by = self.by[b];
            self.by[b] = each(|s| (by[s] - quotient[s] * total[2 + b][s]) * inverse[s]);
        }
        self.by[i] = product(&self.by[i], inverse);
        let mut mixed = ZERO;
        for b in 0..i {
            let mut inner = ZERO;
            for a in 0..=i {
                inner = add_product::<FUSED>(&self.by[a], &gram[a * n + b], &inner);
            }
            mixed = add_product::<FUSED>(&inner, &total[2 + b], &mixed);
        }
        let bend = self.bend;
        self.bend = each(|s| (bend[s] - quotient[s] * total[1][s] - 2.0 * mixed[s]) * inverse[s]);
        quotient
    }

    /// Those of the logarithm, from the inverse of the value.
    #[inline(always)]
    fn logarithm<const FUSED: bool>(
        &mut self,
        inverse: &Lanes,
        i: usize,
        gram: &[Lanes],
        n: usize,
    ) {
        every(&mut self.by[..=i], |by| product(by, inverse));
        let square = bend::<FUSED>(gram, n, i + 1, |b| self.by[b]);
        let bend = self.bend;
        self.bend = each(|s| bend[s] * inverse[s] - square[s]);
    }
}
