//! Masked tanh networks: what a spline in one dimension may know of the earlier dimensions.
//!
//! M. Germain et al., "MADE: masked autoencoder for distribution estimation", arXiv:1502.03509. Hidden
//! units are sorted by how many inputs they may see, so every mask is a prefix: row `r` of a layer
//! uses the first `prefix(r)` entries of the layer below and only those weights exist.

use crate::math::piecewise::Piecewise;
use crate::math::scalar::Scalar;
use crate::math::vector::lanes::{self, LANES, Lanes, Part};
use crate::math::vector::{self, Dense, Planes};
use crate::tangent::Outer;
use rand::{Rng, RngExt};
use std::sync::OnceLock;

/// One dense layer whose row `r` sees a prefix of the layer below.
#[derive(Clone, Debug)]
struct MaskedLayer {
    /// Number of entries of the layer below that each row sees.
    prefix: Vec<usize>,
    /// Offset of each row's bias in the parameters; its weights follow.
    offset: Vec<usize>,
    /// Biases and weights in the order of the forward kernel.
    dense: Dense,
}

/// A network from as many inputs as there are dimensions to one group of numbers for each, where group `i`
/// depends on inputs `0..i` only.
#[derive(Clone, Debug)]
pub struct Conditioner {
    /// Where each group of outputs begins, and the end of the last.
    groups: Vec<usize>,
    layers: Vec<MaskedLayer>,
    /// Per hidden layer: number of units that group `i` may see, for `i` in `0..=dimensions`.
    visible: Vec<Vec<usize>>,
    parameters: usize,
    /// See [`Self::table`].
    table: OnceLock<Option<Piecewise>>,
}

/// Activations of one evaluation, kept for the reverse sweep and for incremental use.
#[derive(Clone, Debug, Default)]
pub struct Activations<T> {
    input: Vec<T>,
    hidden: Vec<Vec<T>>,
    /// Outputs, group by group.
    pub output: Vec<T>,
    /// Of the sums that the units of each layer make, outputs included.
    adjoint: Vec<Vec<T>>,
    /// Inputs, hidden units layer by layer and outputs, taken apart into values and derivatives.
    planes: Vec<Vec<f64>>,
    /// What a table says.
    row: Vec<f64>,
}

const ZERO: Lanes = [0.0; LANES];

/// Cells of a table, at first and at most, and the nodes of each.
const CELLS: (usize, usize) = (4, 64);
const NODES: usize = 21;

/// Values, slopes and second derivatives of several functions.
type Rows = [Vec<f64>; 3];

/// Activations of eight samples side by side.
///
/// Planes of each layer, one after the other: values, second derivatives contracted with the Gram matrix of the gradients of
/// the inputs, then derivatives by each input but the last. Of each plane only what is not zero by the masks is there.
#[derive(Clone, Debug, Default)]
pub struct LaneActivations {
    /// What the network was given.
    input: Vec<Lanes>,
    /// Normalised inputs, hidden units layer by layer and outputs.
    planes: Vec<Vec<Lanes>>,
    parts: Vec<Part>,
    /// What the table says of each sample.
    rows: [Rows; LANES],
}

impl LaneActivations {
    /// What the network was given.
    pub fn input(&self) -> &[Lanes] {
        &self.input
    }
}

impl Conditioner {
    /// The network with the given sizes of the groups of outputs and hidden widths.
    pub fn new(outputs: &[usize], hidden: &[usize]) -> Self {
        let dimensions = outputs.len();
        let mut groups = vec![0];
        groups.extend(outputs.iter().scan(0, |sum, o| {
            *sum += o;
            Some(*sum)
        }));
        // Degree of a hidden unit: the number of inputs it sees, from 1 to dimensions - 1.
        let kinds = dimensions.saturating_sub(1);
        let hidden: &[usize] = if kinds == 0 { &[] } else { hidden };
        let degrees: Vec<Vec<usize>> = hidden
            .iter()
            .map(|&width| (0..width).map(|r| 1 + r * kinds / width).collect())
            .collect();
        let visible: Vec<Vec<usize>> = degrees
            .iter()
            .map(|d| (0..=dimensions).map(|i| d.partition_point(|&g| g <= i)).collect())
            .collect();
        let mut parameters = 0;
        let mut layers = Vec::new();
        let mut push = |prefix: Vec<usize>| {
            let mut offset = Vec::with_capacity(prefix.len());
            for &p in &prefix {
                offset.push(parameters);
                parameters += p + 1;
            }
            let dense = Dense::new(&prefix);
            layers.push(MaskedLayer { prefix, offset, dense });
        };
        for (l, d) in degrees.iter().enumerate() {
            push(d.iter().map(|&g| if l == 0 { g } else { visible[l - 1][g] }).collect());
        }
        let below = |i: usize| match visible.last() {
            Some(v) => v[i],
            None => i,
        };
        let repeated = |i: usize| std::iter::repeat_n(below(i), outputs[i]);
        push((0..dimensions).flat_map(repeated).collect());
        Conditioner { groups, layers, visible, parameters, table: OnceLock::new() }
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// Which outputs belong to dimension `i`.
    pub fn group(&self, i: usize) -> std::ops::Range<usize> {
        self.groups[i]..self.groups[i + 1]
    }

    /// Number of all outputs.
    pub fn outputs(&self) -> usize {
        self.groups[self.groups.len() - 1]
    }

    /// Random hidden weights of unit scale and small output weights, so that a fresh layer is near the
    /// map its biases describe.
    pub fn initialise(&self, rng: &mut impl Rng, output_scale: f64, parameters: &mut [f64]) {
        let last = self.layers.len() - 1;
        for (l, layer) in self.layers.iter().enumerate() {
            for (&prefix, &offset) in layer.prefix.iter().zip(&layer.offset) {
                let spread = (3.0 / prefix.max(1) as f64).sqrt();
                let scale = if l == last { output_scale * spread } else { spread };
                parameters[offset] = if l == last { 0.0 } else { rng.random_range(-1.0..1.0) };
                for w in &mut parameters[offset + 1..=offset + prefix] {
                    *w = scale * rng.random_range(-1.0..1.0);
                }
            }
        }
    }

    /// Takes new parameters for the forward direction; those handed to the other methods must be the same.
    pub fn set_parameters(&mut self, parameters: &[f64]) {
        for MaskedLayer { prefix, offset, dense } in &mut self.layers {
            let weights = |r: usize| &parameters[offset[r] + 1..=offset[r] + prefix[r]];
            dense.set(|r| (parameters[offset[r]], weights(r)));
        }
        self.table = OnceLock::new();
    }

    /// Slope of what inputs go through first.
    const SLOPE: f64 = 2.0;

    /// Inputs in `[0, 1]` are spread over `[-1, 1]`.
    fn normalise<T: Scalar>(u: T) -> T {
        u * Self::SLOPE - 1.0
    }

    fn prepare<T: Scalar>(&self, act: &mut Activations<T>) {
        act.input.resize(self.groups.len() - 1, T::zero());
        act.output.resize(self.outputs(), T::zero());
        let hidden = self.layers.len() - 1;
        act.hidden.resize(hidden, Vec::new());
        for (l, h) in act.hidden.iter_mut().enumerate() {
            h.resize(self.units(l), T::zero());
        }
        act.adjoint.resize(hidden + 1, Vec::new());
        for (l, a) in act.adjoint.iter_mut().enumerate() {
            a.resize(self.units(l), T::zero());
        }
    }

    #[inline]
    fn row<T: Scalar>(layer: &MaskedLayer, r: usize, parameters: &[f64], below: &[T]) -> T {
        let (offset, prefix) = (layer.offset[r], layer.prefix[r]);
        let weights = &parameters[offset + 1..=offset + prefix];
        let mut sum = T::constant(parameters[offset]);
        for (&w, &b) in weights.iter().zip(below) {
            sum = sum.add_scaled(w, b);
        }
        sum
    }

    /// Sizes the planes of `count` numbers each for inputs, hidden layers and outputs.
    fn prepare_planes<T>(&self, count: usize, act: &mut Activations<T>) {
        act.planes.resize(self.layers.len() + 1, Vec::new());
        act.planes[0].resize(count * (self.groups.len() - 1), 0.0);
        for (layer, planes) in self.layers.iter().zip(&mut act.planes[1..]) {
            planes.resize(count * layer.dense.rows(), 0.0);
        }
    }

    /// The given rows of layer `l` from the planes below it.
    fn layer_planes(
        &self,
        l: usize,
        rows: std::ops::Range<usize>,
        count: usize,
        planes: &mut [Vec<f64>],
    ) {
        let dense = &self.layers[l].dense;
        let (done, rest) = planes.split_at_mut(l + 1);
        let (below, out) = (&done[l], &mut rest[0]);
        let shape = Planes { count, constants: true, stride: below.len() / count };
        vector::affine(dense, rows.clone(), shape, below, out);
        if l + 1 < self.layers.len() {
            vector::tanh(rows, count, dense.rows(), out);
        }
    }

    /// All groups at once. `reverse` says whether [`Self::adjoints`] follows.
    pub fn forward<T: Scalar>(
        &self,
        parameters: &[f64],
        inputs: &[T],
        reverse: bool,
        act: &mut Activations<T>,
    ) {
        self.prepare(act);
        for (a, &u) in act.input.iter_mut().zip(inputs) {
            *a = Self::normalise(u);
        }
        if T::PLANES == 0 {
            return self.forward_generic(parameters, act);
        }
        let count = T::PLANES;
        self.prepare_planes(count, act);
        let n = act.input.len();
        for (i, a) in act.input.iter().enumerate() {
            for c in 0..count {
                act.planes[0][c * n + i] = a.plane(c);
            }
        }
        let last = self.layers.len() - 1;
        for l in 0..=last {
            self.layer_planes(l, 0..self.layers[l].dense.rows(), count, &mut act.planes);
            let whole = if l == last {
                &mut act.output
            } else if reverse {
                &mut act.hidden[l]
            } else {
                continue;
            };
            let (planes, rows) = (&act.planes[l + 1], self.layers[l].dense.rows());
            for (r, o) in whole.iter_mut().enumerate() {
                *o = T::from_planes(|c| planes[c * rows + r]);
            }
        }
    }

    /// What [`Self::forward`] with `reverse` leaves, of the values alone, where the same inputs have been there.
    pub fn values<T: Scalar, U: Scalar>(&self, known: &Activations<U>, act: &mut Activations<T>) {
        self.prepare(act);
        let copy = |to: &mut [T], from: &[U]| {
            to.iter_mut().zip(from).for_each(|(t, f)| *t = T::constant(f.value()));
        };
        copy(&mut act.input, &known.input);
        copy(&mut act.output, &known.output);
        for (l, hidden) in act.hidden.iter_mut().enumerate() {
            if U::PLANES == 0 {
                copy(hidden, &known.hidden[l]);
                continue;
            }
            // The first plane is that of the values.
            hidden.iter_mut().zip(&known.planes[l + 1]).for_each(|(h, &v)| *h = T::constant(v));
        }
    }

    /// [`Self::forward`] for scalars of which nothing else is known.
    fn forward_generic<T: Scalar>(&self, parameters: &[f64], act: &mut Activations<T>) {
        let (output, hidden) = self.layers.split_last().unwrap_or((&self.layers[0], &[]));
        for (l, layer) in hidden.iter().enumerate() {
            let (done, rest) = act.hidden.split_at_mut(l);
            let below = if l == 0 { &act.input } else { &done[l - 1] };
            for (r, h) in rest[0].iter_mut().enumerate() {
                *h = Self::row(layer, r, parameters, below).tanh();
            }
        }
        let below = act.hidden.last().unwrap_or(&act.input);
        for (r, o) in act.output.iter_mut().enumerate() {
            *o = Self::row(output, r, parameters, below);
        }
    }

    /// All groups but the first, of eight samples, with derivatives by the inputs; `gram` is the row-major matrix that second
    /// derivatives are contracted with. Where outputs are `tabulated`, those of a network of one input that counts come from a table,
    /// and no hidden units are left.
    pub fn forward_lanes(
        &self,
        inputs: &[Lanes],
        gram: &[Lanes],
        tabulated: bool,
        act: &mut LaneActivations,
    ) {
        act.input.clear();
        act.input.extend_from_slice(inputs);
        match tabulated.then(|| self.table()).flatten() {
            Some(table) => self.look_up(table, &gram[0], act),
            None => self.through_layers(gram, act),
        }
    }

    fn through_layers(&self, gram: &[Lanes], act: &mut LaneActivations) {
        let LaneActivations { input, planes, parts, .. } = act;
        let n = input.len();
        let last = self.layers.len() - 1;
        planes.resize_with(self.layers.len() + 1, Vec::new);
        planes[0].clear();
        planes[0].resize((n + 1) * n, ZERO);
        for (i, u) in input.iter().enumerate() {
            planes[0][i] = u.map(Self::normalise);
            if i + 1 < n {
                planes[0][(2 + i) * n + i] = [Self::SLOPE; LANES];
            }
        }
        for (l, layer) in self.layers.iter().enumerate() {
            let units = layer.dense.rows();
            // The first group of outputs depends on nothing, hidden units on one input at least.
            let row = |inputs: usize| match self.visible.get(l) {
                Some(visible) => visible[inputs],
                None => self.groups[inputs + 1],
            };
            let column = |input: usize| if l == 0 { input } else { self.visible[l - 1][input] };
            parts.clear();
            parts.extend([Part { row: row(0), column: 0 }; 2]);
            parts.extend((1..n).map(|b| Part { row: row(b - 1), column: column(b - 1) }));
            let (below, out) = planes.split_at_mut(l + 1);
            out[0].resize((n + 1) * units, ZERO);
            lanes::affine(&layer.dense, parts, &below[l], &mut out[0]);
            if l < last {
                for slopes in 1..n {
                    let range = self.visible[l][slopes - 1]..self.visible[l][slopes];
                    lanes::tanh(range, slopes, gram, n, units, &mut out[0]);
                }
            }
        }
    }

    /// The outputs of a network of two dimensions as functions of the first, in the unit interval, made when they are asked for first;
    /// none of others, and where few enough cells do not resolve them.
    ///
    /// The outputs of more dimensions have only a share that depends on the first alone, and to look it up takes as long as to work
    /// it out.
    fn table(&self) -> Option<&Piecewise> {
        self.table.get_or_init(|| self.tabulated()).as_ref()
    }

    fn tabulated(&self) -> Option<Piecewise> {
        if self.dimensions() != 2 || self.visible.is_empty() {
            return None;
        }
        let mut act = LaneActivations::default();
        let (group, stride) = (self.group(1), self.outputs());
        // Second derivatives by the first input alone.
        let gram = [[1.0; LANES], ZERO, ZERO, ZERO];
        let jets = |points: &[f64], jets: &mut [[f64; 3]]| {
            let functions = group.len();
            for (points, jets) in points.chunks(LANES).zip(jets.chunks_mut(LANES * functions)) {
                let u = lanes::each(|s| points[s.min(points.len() - 1)]);
                self.forward_lanes(&[u, ZERO], &gram, false, &mut act);
                let outputs = self.lane_outputs(&act);
                for (s, jets) in jets.chunks_exact_mut(functions).enumerate() {
                    for (jet, r) in jets.iter_mut().zip(group.clone()) {
                        *jet = [0, 2, 1].map(|c| outputs[c * stride + r][s]);
                    }
                }
            }
        };
        Piecewise::resolved::<_, NODES>((0.0, 1.0), group.len(), CELLS, jets)
    }

    /// Takes the outputs from the table.
    fn look_up(&self, table: &Piecewise, square: &Lanes, act: &mut LaneActivations) {
        let LaneActivations { input, planes, rows, .. } = act;
        planes.resize_with(self.layers.len() + 1, Vec::new);
        let (group, stride) = (self.group(1), self.outputs());
        let out = &mut planes[self.layers.len()];
        out.resize(3 * stride, ZERO);
        for (&u, rows) in input[0].iter().zip(&mut *rows) {
            table.evaluate(u, rows);
        }
        let of = |d: usize| rows.each_ref().map(|rows| rows[d].as_slice());
        // Values, second derivatives, slopes.
        for (c, d, factor) in [(0, 0, &[1.0; LANES]), (1, 2, square), (2, 1, &[1.0; LANES])] {
            side_by_side(of(d), factor, &mut out[c * stride..][group.clone()]);
        }
    }

    /// Planes of all outputs, one after the other, after [`Self::forward_lanes`]; the first group is not there.
    pub fn lane_outputs<'a>(&self, act: &'a LaneActivations) -> &'a [Lanes] {
        &act.planes[self.layers.len()]
    }

    /// The first group of outputs, which depends on no input.
    pub fn first_group<'a>(&'a self, parameters: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        let offset = self.layers.last().map_or(&[][..], |layer| &layer.offset);
        offset[..self.groups[1]].iter().map(|&offset| parameters[offset])
    }

    /// The values of one sample, as [`Self::forward`] leaves them for [`Self::values`].
    pub fn one_of_lanes(
        &self,
        parameters: &[f64],
        sample: usize,
        known: &LaneActivations,
        act: &mut Activations<f64>,
    ) {
        self.prepare(act);
        self.prepare_planes(1, act);
        let copy = |to: &mut [f64], from: &[Lanes]| {
            to.iter_mut().zip(from).for_each(|(t, f)| *t = f[sample]);
        };
        copy(&mut act.input, &known.planes[0]);
        for (to, from) in act.planes[1..].iter_mut().zip(&known.planes[1..]) {
            copy(to, from);
        }
        copy(&mut act.output, self.lane_outputs(known));
        act.output.iter_mut().zip(self.first_group(parameters)).for_each(|(t, f)| *t = f);
    }

    /// Number of inputs.
    pub fn dimensions(&self) -> usize {
        self.groups.len() - 1
    }

    /// What [`Self::advance`] of so many samples needs before its first group, where that is known already.
    pub fn start(&self, samples: usize, act: &mut Activations<f64>) {
        self.prepare_planes(samples, act);
    }

    /// The given rows of layer `l` for as many samples as there are planes.
    fn layer_values(&self, l: usize, rows: std::ops::Range<usize>, planes: &mut [Vec<f64>]) {
        let dense = &self.layers[l].dense;
        let (done, rest) = planes.split_at_mut(l + 1);
        let (below, out) = (&done[l], &mut rest[0]);
        let count = out.len() / dense.rows();
        let shape = Planes { count, constants: false, stride: below.len() / count };
        vector::affine(dense, rows.clone(), shape, below, out);
        for plane in out.chunks_exact_mut(dense.rows()) {
            dense.add_constants(rows.clone(), plane);
            if l + 1 < self.layers.len() {
                vector::tanh(rows.clone(), 1, dense.rows(), plane);
            }
        }
    }

    /// Group `i` for some samples, given their inputs `i - 1`; groups must be asked for in order from 0. Costs one forward
    /// evaluation in total; several samples share the loads of the weights. Where outputs are `tabulated`, those of a network of one
    /// input that counts come from a table.
    pub fn advance(&self, i: usize, previous: &[f64], tabulated: bool, act: &mut Activations<f64>) {
        if i == 0 {
            self.start(previous.len(), act);
        } else {
            for (inputs, &u) in act.planes[0].chunks_exact_mut(self.dimensions()).zip(previous) {
                inputs[i - 1] = Self::normalise(u);
            }
        }
        let last = self.layers.len() - 1;
        if i == 1
            && tabulated
            && let Some(table) = self.table()
        {
            let samples = act.planes[last + 1].chunks_exact_mut(self.outputs());
            for (outputs, &u) in samples.zip(previous) {
                table.evaluate(u, std::slice::from_mut(&mut act.row));
                outputs[self.group(1)].copy_from_slice(&act.row);
            }
            return;
        }
        if i > 0 {
            for l in 0..last {
                let new = self.visible[l][i - 1]..self.visible[l][i];
                self.layer_values(l, new, &mut act.planes);
            }
        }
        self.layer_values(last, self.group(i), &mut act.planes);
    }

    /// Group `i` of a sample, after [`Self::advance`].
    pub fn advanced<'a>(&self, i: usize, sample: usize, act: &'a Activations<f64>) -> &'a [f64] {
        let outputs = &act.planes[self.layers.len()][sample * self.outputs()..];
        &outputs[self.group(i)]
    }

    /// The adjoints of what every unit sums up, kept in `act`, and those of the inputs, added to `inputs_bar`; given
    /// the adjoints of the outputs, after [`Self::forward`].
    pub fn adjoints<T: Scalar>(
        &self,
        parameters: &[f64],
        output_bar: &[T],
        act: &mut Activations<T>,
        inputs_bar: &mut [T],
    ) {
        let hidden = self.layers.len() - 1;
        act.adjoint[hidden].copy_from_slice(output_bar);
        for a in &mut act.adjoint[..hidden] {
            a.fill(T::zero());
        }
        for l in (0..=hidden).rev() {
            let MaskedLayer { prefix, offset, .. } = &self.layers[l];
            let (lower, upper) = act.adjoint.split_at_mut(l);
            let bar = &mut upper[0];
            if l < hidden {
                for (bar, &h) in bar.iter_mut().zip(&act.hidden[l]) {
                    *bar = *bar * (-(h * h) + 1.0);
                }
            }
            if l > 0 {
                T::add_rows(parameters, offset, prefix, bar, &mut lower[l - 1]);
            } else {
                // Of the inputs, which are spread over twice the interval.
                for ((&prefix, &offset), &bar) in prefix.iter().zip(offset).zip(&*bar) {
                    let weights = &parameters[offset + 1..=offset + prefix];
                    for (i, &w) in inputs_bar.iter_mut().zip(weights) {
                        *i = i.add_scaled(2.0 * w, bar);
                    }
                }
            }
        }
    }

    /// Adds the adjoints of the parameters, after [`Self::adjoints`].
    pub fn gradient<T: Scalar>(&self, act: &Activations<T>, parameters_bar: &mut [T]) {
        for (l, MaskedLayer { prefix, offset, .. }) in self.layers.iter().enumerate() {
            let below = if l == 0 { &act.input } else { &act.hidden[l - 1] };
            for ((&prefix, &offset), &bar) in prefix.iter().zip(offset).zip(&act.adjoint[l]) {
                parameters_bar[offset] += bar;
                let weights_bar = &mut parameters_bar[offset + 1..=offset + prefix];
                for (w, &b) in weights_bar.iter_mut().zip(below) {
                    *w += bar * b;
                }
            }
        }
    }

    /// Number of [factors](crate::tangent) of the adjoints of the parameters: for each layer, what it sees (the
    /// constant 1 of the biases first), then for each layer the adjoints of its units.
    pub fn factors(&self) -> usize {
        let hidden = &self.layers[..self.layers.len() - 1];
        let seen: usize = hidden.iter().map(|l| 1 + l.prefix.len()).sum();
        let units: usize = self.layers.iter().map(|l| l.prefix.len()).sum();
        1 + self.groups.len() - 1 + seen + units
    }

    /// How the adjoints of the parameters follow from the factors, where both begin at the given places.
    pub fn parts(&self, first_parameter: usize, first_factor: usize, parts: &mut Vec<Outer>) {
        let mut seen = first_factor;
        let below = |l: usize| 1 + if l == 0 { self.groups.len() - 1 } else { self.units(l - 1) };
        let mut units = first_factor + (0..self.layers.len()).map(below).sum::<usize>();
        for (l, MaskedLayer { prefix, offset, .. }) in self.layers.iter().enumerate() {
            // Rows that see the same make one part.
            let mut row = 0;
            for same in prefix.chunk_by(|a, b| a == b) {
                let right = (same[0] > 0).then(|| seen..seen + 1 + same[0]);
                let left = units + row..units + row + same.len();
                parts.push(Outer { first: first_parameter + offset[row], left, right });
                row += same.len();
            }
            seen += below(l);
            units += prefix.len();
        }
    }

    /// Units of a layer.
    fn units(&self, l: usize) -> usize {
        self.layers[l].prefix.len()
    }

    /// The factors, after [`Self::adjoints`].
    pub fn write_factors(&self, act: &Activations<f64>, out: &mut [f64]) {
        let mut rest = out;
        let mut push = |values: &[f64]| {
            let (now, later) = std::mem::take(&mut rest).split_at_mut(values.len());
            now.copy_from_slice(values);
            rest = later;
        };
        for below in std::iter::once(&act.input).chain(&act.hidden) {
            push(&[1.0]);
            push(below);
        }
        act.adjoint.iter().for_each(|a| push(a));
    }
}

/// Numbers of eight samples side by side, each times a factor of the sample.
fn side_by_side(rows: [&[f64]; LANES], factor: &Lanes, out: &mut [Lanes]) {
    for (f, out) in out.iter_mut().enumerate() {
        *out = lanes::each(|s| factor[s] * rows[s][f]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    fn network(n: usize) -> (Conditioner, Vec<f64>) {
        let mut c = Conditioner::new(&vec![3; n], &[7, 5]);
        let mut p = vec![0.0; c.parameters()];
        c.initialise(&mut Pcg64::seed_from_u64(3), 1.0, &mut p);
        c.set_parameters(&p);
        (c, p)
    }

    #[test]
    fn groups_depend_on_earlier_inputs_only_and_on_all_of_them() {
        for n in 1..6 {
            let (c, p) = network(n);
            let u: Vec<f64> = (0..n).map(|i| 0.1 + 0.13 * i as f64).collect();
            let mut a = Activations::default();
            c.forward(&p, &u, false, &mut a);
            for j in 0..n {
                let mut v = u.clone();
                v[j] += 0.05;
                let mut b = Activations::default();
                c.forward(&p, &v, false, &mut b);
                for i in 0..n {
                    let same = (0..3).all(|k| a.output[3 * i + k] == b.output[3 * i + k]);
                    assert_eq!(same, i <= j, "n={n} input {j} group {i}");
                }
            }
        }
    }

    /// Beside the network itself, everywhere, at both ends and between cells.
    #[test]
    fn tables_are_as_exact_as_the_network() {
        for hidden in [&[7][..], &[12, 9], &[9, 8, 11]] {
            let mut c = Conditioner::new(&[3, 5], hidden);
            let mut p = vec![0.0; c.parameters()];
            c.initialise(&mut Pcg64::seed_from_u64(5), 1.5, &mut p);
            c.set_parameters(&p);
            assert!(c.table().is_some());
            let gram: Vec<Lanes> =
                (1..5).map(|ab| lanes::each(|s| 0.1 * f64::from(ab) * (1 + s) as f64)).collect();
            let (mut plain, mut table) = (LaneActivations::default(), LaneActivations::default());
            for point in 0..=40 {
                let u = [0, 1]
                    .map(|i| lanes::each(|s| (8 * point + s) as f64 / 327.0 - 0.1 * f64::from(i)));
                c.forward_lanes(&u, &gram, false, &mut plain);
                c.forward_lanes(&u, &gram, true, &mut table);
                for plane in 0..3 {
                    let at = |act| &c.lane_outputs(act)[plane * c.outputs()..][c.group(1)];
                    for (a, b) in at(&plain).iter().zip(at(&table)) {
                        let close =
                            a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-11 * (1.0 + a.abs()));
                        assert!(close, "{hidden:?} plane {plane}: {a:?} {b:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_too_steep_has_no_table() {
        let of = |dimensions: usize, hidden: &[usize], scale: f64| {
            let mut c = Conditioner::new(&vec![3; dimensions], hidden);
            let mut p = vec![0.0; c.parameters()];
            c.initialise(&mut Pcg64::seed_from_u64(5), 1.0, &mut p);
            p.iter_mut().for_each(|p| *p *= scale);
            c.set_parameters(&p);
            c
        };
        assert!(of(2, &[8, 8], 1.0).table().is_some());
        assert!(of(2, &[8, 8], 1e3).table().is_none());
        assert!(of(2, &[8, 8], f64::NAN).table().is_none());
        for other in [of(1, &[4], 1.0), of(2, &[], 1.0), of(3, &[4], 1.0)] {
            assert!(other.table().is_none());
        }
        // New parameters, new table.
        let mut c = of(2, &[8], 1.0);
        assert!(c.table().is_some());
        c.set_parameters(&vec![f64::NAN; c.parameters()]);
        assert!(c.table().is_none());
    }

    #[test]
    fn incremental_evaluation_is_the_same() {
        for n in 1..6 {
            let (c, p) = network(n);
            let u: Vec<f64> = (0..n).map(|i| 0.9 - 0.11 * i as f64).collect();
            let (mut a, mut b) = (Activations::default(), Activations::default());
            c.forward(&p, &u, false, &mut a);
            for i in 0..n {
                // One sample among others.
                let at =
                    |s: usize| if i == 0 { f64::NAN } else { u[i - 1] + 0.05 * (s as f64 - 2.0) };
                c.advance(i, &std::array::from_fn::<_, 5, _>(at), false, &mut b);
                for (whole, part) in a.output[c.group(i)].iter().zip(c.advanced(i, 2, &b)) {
                    assert!((whole - part).abs() < 1e-14);
                }
            }
        }
    }
}
