//! An autoregressive I-spline layer: one monotone map per dimension, shaped by the earlier dimensions.

use super::conditioner::{Activations, Conditioner};
use crate::math::scalar::Scalar;
use crate::math::spline::ispline::{InverseScratch, MonotonePoint};
use crate::math::spline::{LocalBasis, MonotoneBasis};
use crate::math::vector;

/// `y_i = spline(u_i; weights(u_{<i}))`, with `log |det dy/du|` the sum of the log slopes.
#[derive(Clone, Debug)]
pub struct ISplineLayer {
    pub(super) basis: MonotoneBasis,
    pub(super) conditioner: Conditioner,
    /// Of the first dimension, which depends on no other.
    pub(super) first: FirstWeights,
}

/// Weights that are the same everywhere.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstWeights {
    /// Unnormalised.
    pub weights: Vec<f64>,
    /// Sums of those before each, and of all.
    pub before: Vec<f64>,
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
    locals: Vec<LocalBasis>,
    logits_bar: Vec<T>,
    inverse: InverseScratch,
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

impl ISplineLayer {
    /// A layer over `dimensions` coordinates.
    pub fn new(basis: MonotoneBasis, dimensions: usize, hidden: &[usize]) -> Self {
        let conditioner = Conditioner::new(&vec![basis.weights(); dimensions], hidden);
        ISplineLayer { basis, conditioner, first: FirstWeights::default() }
    }

    /// The network that shapes the splines.
    pub fn conditioner(&self) -> &Conditioner {
        &self.conditioner
    }

    /// Takes new parameters; those handed to the other methods must be the same.
    pub fn set_parameters(&mut self, parameters: &[f64]) {
        self.conditioner.set_parameters(parameters);
        let logits: Vec<f64> = self.conditioner.first_group(parameters).collect();
        let mut weights = vec![0.0; logits.len()];
        self.weights(&logits, &mut Vec::new(), &mut weights);
        let mut total = 0.0;
        let mut before = vec![total];
        before.extend(weights.iter().map(|w| {
            total += w;
            total
        }));
        self.first = FirstWeights { weights, before };
    }

    /// Unnormalised positive weights from the logits of one group; the largest is about one.
    fn weights<T: Scalar>(&self, logits: &[T], exponentials: &mut Vec<f64>, out: &mut [T]) {
        let identity = self.basis.identity_logits();
        exponentials.clear();
        exponentials.extend(logits.iter().zip(identity).map(|(l, i)| l.value() + i));
        let largest = exponentials.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        exponentials.iter_mut().for_each(|e| *e -= largest);
        vector::exp(exponentials);
        for ((o, &l), &e) in out.iter_mut().zip(logits).zip(&*exponentials) {
            *o = l.chain(e, e, e);
        }
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
        let (n, k) = (u.len(), self.basis.weights());
        match known {
            Some(known) => self.conditioner.values(known, &mut trace.activations),
            None => self.conditioner.forward(parameters, u, reverse, &mut trace.activations),
        }
        trace.input.clear();
        trace.input.extend_from_slice(u);
        trace.weights.resize(n * k, T::zero());
        trace.locals.resize(n, LocalBasis::default());
        trace.points.clear();
        let mut log_det = T::zero();
        for i in 0..n {
            let weights = &mut trace.weights[i * k..(i + 1) * k];
            let logits = &trace.activations.output[i * k..(i + 1) * k];
            self.weights(logits, &mut trace.exponentials, weights);
            let point = self.basis.forward(weights, u[i], reverse, &mut trace.locals[i]);
            u[i] = point.value;
            log_det += point.slope.ln();
            trace.points.push(point);
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
        let (n, k) = (bar.len(), self.basis.weights());
        trace.logits_bar.clear();
        trace.logits_bar.resize(n * k, T::zero());
        for i in 0..n {
            let point = &trace.points[i];
            bar[i] = self.basis.backward(
                &trace.weights[i * k..(i + 1) * k],
                trace.input[i],
                point,
                bar[i],
                point.slope.recip() * log_det_bar,
                &trace.locals[i],
                &mut trace.logits_bar[i * k..(i + 1) * k],
            );
        }
        self.conditioner.adjoints(parameters, &trace.logits_bar, &mut trace.activations, bar);
    }

    /// Undoes the layer for some samples, dimension by dimension: the conditioner is fed with what has been inverted.
    pub fn inverse(&self, y: &mut [f64], trace: &mut LayerTrace<f64>) {
        let (n, k) = (self.conditioner.dimensions(), self.basis.weights());
        let LayerTrace { activations, weights, exponentials, inverse, previous, .. } = trace;
        weights.resize(k, 0.0);
        for i in 0..n {
            previous.clear();
            previous.extend(y.chunks_exact(n).map(|y| if i == 0 { 0.0 } else { y[i - 1] }));
            self.conditioner.advance(i, previous, activations);
            for (s, y) in y.chunks_exact_mut(n).enumerate() {
                let logits = self.conditioner.advanced(i, s, activations);
                self.weights(logits, exponentials, &mut weights[..k]);
                y[i] = self.basis.inverse(&weights[..k], y[i], inverse);
            }
        }
    }
}
