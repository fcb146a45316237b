//! An autoregressive spline layer: one monotone map per dimension, shaped by the earlier dimensions.

use super::conditioner::{Activations, Conditioner};
use crate::math::scalar::Scalar;
use crate::math::spline::ispline::{InverseScratch, MonotoneInverse, MonotonePoint};
use crate::math::spline::rational::{RationalPoint, RationalShape};
use crate::math::spline::{LocalBasis, MonotoneBasis, RationalBasis};
use crate::math::vector;

/// The monotone maps of a layer.
#[derive(Clone, Debug)]
pub enum Splines {
    /// As smooth as their degree.
    ISpline(MonotoneBasis),
    /// Once differentiable.
    RationalQuadratic(RationalBasis),
}

impl Splines {
    /// Numbers that the network gives for each map.
    pub fn logits(&self) -> usize {
        match self {
            Splines::ISpline(basis) => basis.weights(),
            Splines::RationalQuadratic(basis) => basis.logits(),
        }
    }
}

/// `y_i = spline(u_i; logits(u_{<i}))`, with `log |det dy/du|` the sum of the log slopes.
#[derive(Clone, Debug)]
pub struct SplineLayer {
    pub(super) splines: Splines,
    pub(super) conditioner: Conditioner,
    /// Of the first dimension, which depends on no other; nothing but for I-splines.
    pub(super) first: FirstWeights,
}

/// Weights that are the same everywhere.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstWeights {
    /// Unnormalised.
    pub weights: Vec<f64>,
    /// Sums of those before each, and of all.
    pub before: Vec<f64>,
    inverse: MonotoneInverse,
}

/// What the reverse sweep of a layer needs again.
#[derive(Clone, Debug, Default)]
pub struct LayerTrace<T> {
    input: Vec<T>,
    /// Of the network that shapes the splines.
    pub activations: Activations<T>,
    weights: Vec<T>,
    exponentials: Vec<f64>,
    previous: Vec<f64>,
    points: Vec<MonotonePoint<T>>,
    shapes: Vec<RationalShape<T>>,
    rational: Vec<RationalPoint<T>>,
    locals: Vec<LocalBasis>,
    logits_bar: Vec<T>,
    inverse: MonotoneInverse,
    scratch: InverseScratch,
    shape: RationalShape<f64>,
}

impl<T> LayerTrace<T> {
    /// What the layer was given.
    pub fn input(&self) -> &[T] {
        &self.input
    }

    /// Says what the layer was given, where it was given that elsewhere.
    pub fn set_input(&mut self, input: impl Iterator<Item = T>) {
        self.input.clear();
        self.input.extend(input);
    }
}

/// Unnormalised positive weights from the logits of one group; the largest is about one.
fn weights<T: Scalar>(
    basis: &MonotoneBasis,
    logits: &[T],
    exponentials: &mut Vec<f64>,
    out: &mut [T],
) {
    let identity = basis.identity_logits();
    exponentials.clear();
    exponentials.extend(logits.iter().zip(identity).map(|(l, i)| l.value() + i));
    let largest = exponentials.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    exponentials.iter_mut().for_each(|e| *e -= largest);
    vector::exp(exponentials);
    for ((o, &l), &e) in out.iter_mut().zip(logits).zip(&*exponentials) {
        *o = l.chain(e, e, e);
    }
}

impl SplineLayer {
    /// A layer over `dimensions` coordinates.
    pub fn new(splines: Splines, dimensions: usize, hidden: &[usize]) -> Self {
        let conditioner = Conditioner::new(&vec![splines.logits(); dimensions], hidden);
        SplineLayer { splines, conditioner, first: FirstWeights::default() }
    }

    /// The network that shapes the splines.
    pub fn conditioner(&self) -> &Conditioner {
        &self.conditioner
    }

    /// Takes new parameters; those handed to the other methods must be the same.
    pub fn set_parameters(&mut self, parameters: &[f64]) {
        self.conditioner.set_parameters(parameters);
        let Splines::ISpline(basis) = &self.splines else { return };
        let logits: Vec<f64> = self.conditioner.first_group(parameters).collect();
        let mut own = vec![0.0; logits.len()];
        weights(basis, &logits, &mut Vec::new(), &mut own);
        let mut total = 0.0;
        let mut before = vec![total];
        before.extend(own.iter().map(|w| {
            total += w;
            total
        }));
        let mut inverse = MonotoneInverse::default();
        basis.invert(&own, &mut inverse);
        self.first = FirstWeights { weights: own, before, inverse };
    }

    /// Maps `u` in place and returns the log-determinant. `reverse` says whether [`Self::adjoints`] follows; `known` is
    /// of the same `u`.
    pub fn forward<T: Scalar, U: Scalar>(
        &self,
        parameters: &[f64],
        u: &mut [T],
        reverse: bool,
        known: Option<&Activations<U>>,
        trace: &mut LayerTrace<T>,
    ) -> T {
        let (n, k) = (u.len(), self.splines.logits());
        match known {
            Some(known) => self.conditioner.values(known, &mut trace.activations),
            None => self.conditioner.forward(parameters, u, reverse, &mut trace.activations),
        }
        trace.input.clear();
        trace.input.extend_from_slice(u);
        trace.weights.resize(n * k, T::zero());
        trace.locals.resize(n, LocalBasis::default());
        trace.points.clear();
        trace.shapes.resize_with(n, RationalShape::default);
        trace.rational.clear();
        let mut log_det = T::zero();
        for i in 0..n {
            let logits = &trace.activations.output[i * k..(i + 1) * k];
            let slope;
            match &self.splines {
                Splines::ISpline(basis) => {
                    let out = &mut trace.weights[i * k..(i + 1) * k];
                    weights(basis, logits, &mut trace.exponentials, out);
                    let point = basis.forward(out, u[i], reverse, &mut trace.locals[i]);
                    (u[i], slope) = (point.value, point.slope);
                    trace.points.push(point);
                }
                Splines::RationalQuadratic(basis) => {
                    basis.shape(logits, &mut trace.shapes[i]);
                    let point = basis.forward(&trace.shapes[i], u[i]);
                    (u[i], slope) = (point.value, point.slope);
                    trace.rational.push(point);
                }
            }
            log_det += slope.ln();
        }
        log_det
    }

    /// From the adjoints of the outputs (in `bar`, replaced by those of the inputs) and of the
    /// log-determinant, leaves those of the network's units in `trace`.
    pub fn adjoints<T: Scalar>(
        &self,
        parameters: &[f64],
        bar: &mut [T],
        log_det_bar: f64,
        trace: &mut LayerTrace<T>,
    ) {
        let (n, k) = (bar.len(), self.splines.logits());
        trace.logits_bar.clear();
        trace.logits_bar.resize(n * k, T::zero());
        for i in 0..n {
            let logits_bar = &mut trace.logits_bar[i * k..(i + 1) * k];
            bar[i] = match &self.splines {
                Splines::ISpline(basis) => {
                    let point = &trace.points[i];
                    basis.backward(
                        &trace.weights[i * k..(i + 1) * k],
                        trace.input[i],
                        point,
                        bar[i],
                        point.slope.recip() * log_det_bar,
                        &trace.locals[i],
                        logits_bar,
                    )
                }
                Splines::RationalQuadratic(basis) => {
                    let point = &trace.rational[i];
                    let slope_bar = point.slope.recip() * log_det_bar;
                    basis.backward(&trace.shapes[i], point, bar[i], slope_bar, logits_bar)
                }
            };
        }
        self.conditioner.adjoints(parameters, &trace.logits_bar, &mut trace.activations, bar);
    }

    /// Undoes the layer for some samples, dimension by dimension: the conditioner is fed with what has been inverted. `tabulated` is
    /// as in [`Conditioner::advance`].
    pub fn inverse(&self, y: &mut [f64], tabulated: bool, trace: &mut LayerTrace<f64>) {
        let (n, k) = (self.conditioner.dimensions(), self.splines.logits());
        let LayerTrace {
            activations,
            weights: own,
            exponentials,
            inverse,
            scratch,
            previous,
            shape,
            ..
        } = trace;
        own.resize(k, 0.0);
        for i in 0..n {
            if i == 0 && matches!(self.splines, Splines::ISpline(_)) {
                // Its map is known.
                self.conditioner.start(y.len() / n, activations);
            } else {
                previous.clear();
                previous.extend(y.chunks_exact(n).map(|y| if i == 0 { 0.0 } else { y[i - 1] }));
                self.conditioner.advance(i, previous, tabulated, activations);
            }
            for (s, y) in y.chunks_exact_mut(n).enumerate() {
                let logits = self.conditioner.advanced(i, s, activations);
                y[i] = match &self.splines {
                    Splines::ISpline(basis) if i == 0 => {
                        let FirstWeights { weights, inverse, .. } = &self.first;
                        basis.inverse(weights, inverse, y[i], scratch)
                    }
                    Splines::ISpline(basis) => {
                        weights(basis, logits, exponentials, &mut own[..k]);
                        basis.invert(&own[..k], inverse);
                        basis.inverse(&own[..k], inverse, y[i], scratch)
                    }
                    Splines::RationalQuadratic(basis) => {
                        basis.shape(logits, shape);
                        basis.inverse(shape, y[i])
                    }
                };
            }
        }
    }
}
