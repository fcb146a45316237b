//! What every flow shares: its formulas, generic over the scalar, become values, samples and derivatives here.

use super::slopes::Slopes;
use super::{Evaluator, LogPsi, kinetic_from_jet, one_by_one, tangents_one_by_one};
use crate::math::scalar::{Jet, Scalar};
use crate::math::vector::lanes::LANES;

/// A flow over a base, written once for all scalars.
pub(crate) trait Flow: Send + Sync {
    /// Intermediate values of one evaluation.
    type Trace<T: Scalar>: Default;

    /// Intermediate values of a block of configurations; nothing where there is no kernel for several.
    type Block: Default;

    /// `log |psi|` and sign; `reverse` says whether [`Self::backward`] follows.
    fn forward<T: Scalar>(&self, x: &[T], reverse: bool, trace: &mut Self::Trace<T>) -> (T, f64);

    /// The part of `log |psi|` whose slope has kinks, after [`Self::forward`]; none where there is none.
    fn kinked<'a, T: Scalar>(&self, _trace: &'a Self::Trace<T>) -> Option<&'a T> {
        None
    }

    /// What [`Self::forward`] of plain numbers with `reverse` leaves in its trace, where another one of the same configuration
    /// has been there already.
    fn values<T: Scalar>(&self, x: &[f64], _known: &Self::Trace<T>, trace: &mut Self::Trace<f64>) {
        self.forward(x, true, trace);
    }

    /// Kinetic local energies of as many configurations as `kinetic` has room for, at most [`LANES`]; false where there is no
    /// kernel for several. `tabulated` says whether tables may be made for it, after which [`Self::one_of_block`] knows nothing.
    fn kinetic_energies<const N: usize>(
        &self,
        _x: &[f64],
        _jets: &mut Self::Trace<Jet<N>>,
        _block: &mut Self::Block,
        _tabulated: bool,
        _kinetic: &mut [f64],
    ) -> bool {
        false
    }

    /// What [`Self::values`] needs to know of a configuration, after [`Self::kinetic_energies`].
    fn one_of_block(&self, _block: &Self::Block, _sample: usize, _trace: &mut Self::Trace<f64>) {}

    /// Derivatives of `log |psi|` with respect to the parameters, after [`Self::forward`] with `reverse`.
    fn backward<T: Scalar>(&self, trace: &mut Self::Trace<T>, parameters_bar: &mut [T]);

    /// The same as the factors of [`Wavefunction::tangent_layout`](super::Wavefunction::tangent_layout).
    fn backward_factors(&self, trace: &mut Self::Trace<f64>, factors: &mut [f64]) {
        self.backward(trace, factors);
    }

    /// Uniforms to configurations of the fundamental domain, as many as `x` has room for; `tabulated` is as in
    /// [`Self::kinetic_energies`].
    fn sample(
        &self,
        uniforms: &[f64],
        tabulated: bool,
        trace: &mut Self::Trace<f64>,
        x: &mut [f64],
    );

    /// See [`Evaluator::sample_moved`].
    fn sample_moved(
        &self,
        _uniforms: &[f64],
        _shift: &[f64],
        _trace: &mut Self::Trace<f64>,
        _x: &mut [f64],
    ) -> Option<f64> {
        None
    }

    /// The configuration that [`Self::forward`] has just mapped to the base, from its image.
    fn pull_back(&self, trace: &mut Self::Trace<f64>, x: &mut [f64]);

    /// Slopes of the trained map at a configuration.
    fn slopes<const N: usize>(
        &self,
        x: &[f64],
        plain: &mut Self::Trace<f64>,
        jets: &mut Self::Trace<Jet<N>>,
    ) -> Slopes;
}

/// Coordinates as variables to differentiate by.
pub(crate) fn variables<const N: usize>(x: &[f64]) -> Vec<Jet<N>> {
    x.iter().enumerate().map(|(i, &v)| Jet::variable(v, i)).collect()
}

/// Evaluates a flow of at most `N` particles.
pub(crate) struct FlowEvaluator<'a, F: Flow, const N: usize> {
    flow: &'a F,
    plain: F::Trace<f64>,
    known: F::Trace<f64>,
    jets: F::Trace<Jet<N>>,
    block: F::Block,
    /// Whether it is made for so many configurations that tables are worth their making.
    many: bool,
    x: Vec<Jet<N>>,
    gradient: Vec<Jet<N>>,
}

impl<'a, F: Flow, const N: usize> FlowEvaluator<'a, F, N> {
    /// An evaluator with empty scratch memory, for one or for many configurations.
    pub(crate) fn new(flow: &'a F, many: bool) -> Self {
        FlowEvaluator {
            flow,
            many,
            plain: Default::default(),
            known: Default::default(),
            block: Default::default(),
            jets: Default::default(),
            x: Vec::new(),
            gradient: Vec::new(),
        }
    }

    fn forward(&mut self, x: &[f64], reverse: bool) -> (Jet<N>, f64) {
        self.x.clear();
        self.x.extend(x.iter().enumerate().map(|(i, &v)| Jet::variable(v, i)));
        let (mut log, sign) = self.flow.forward(&self.x, reverse, &mut self.jets);
        if let Some(kinked) = self.flow.kinked(&self.jets) {
            log.laplacian -= kinked.laplacian + 2.0 * log.gradient_dot(kinked);
        }
        (log, sign)
    }

    /// Leaves the jets of `d log |psi| / d parameter` in `self.gradient`.
    fn reverse(&mut self, x: &[f64], parameters: usize) -> (Jet<N>, f64) {
        let result = self.forward(x, true);
        self.gradient.resize(parameters, Jet::zero());
        self.flow.backward(&mut self.jets, &mut self.gradient);
        result
    }
}

impl<F: Flow, const N: usize> Evaluator for FlowEvaluator<'_, F, N> {
    fn sample(&mut self, uniforms: &[f64], x: &mut [f64]) {
        self.flow.sample(uniforms, self.many, &mut self.plain, x);
    }

    fn sample_moved(&mut self, uniforms: &[f64], shift: &[f64], x: &mut [f64]) -> Option<f64> {
        self.flow.sample_moved(uniforms, shift, &mut self.plain, x)
    }

    fn log_psi(&mut self, x: &[f64]) -> LogPsi {
        let (log_abs, sign) = self.flow.forward(x, false, &mut self.plain);
        LogPsi { log_abs, sign }
    }

    fn derivatives(&mut self, x: &[f64], gradient: &mut [f64]) -> (LogPsi, f64) {
        let (log, sign) = self.forward(x, false);
        gradient.copy_from_slice(&log.gradient[..x.len()]);
        (LogPsi { log_abs: log.value, sign }, log.laplacian)
    }

    fn parameter_gradient(&mut self, x: &[f64], out: &mut [f64]) -> LogPsi {
        let (log_abs, sign) = self.flow.forward(x, true, &mut self.plain);
        self.flow.backward(&mut self.plain, out);
        LogPsi { log_abs, sign }
    }

    fn tangent(&mut self, x: &[f64], factors: &mut [f64]) -> (LogPsi, f64) {
        let (log, sign) = self.forward(x, false);
        self.flow.values(x, &self.jets, &mut self.plain);
        self.flow.backward_factors(&mut self.plain, factors);
        (LogPsi { log_abs: log.value, sign }, kinetic_from_jet(&log))
    }

    fn kinetic_energies(&mut self, x: &[f64], kinetic: &mut [f64]) {
        let n = x.len() / kinetic.len().max(1);
        for (x, kinetic) in x.chunks(LANES * n.max(1)).zip(kinetic.chunks_mut(LANES)) {
            let FlowEvaluator { flow, jets, block, many, .. } = self;
            if !flow.kinetic_energies(x, jets, block, *many, kinetic) {
                one_by_one(self, x, kinetic);
            }
        }
    }

    fn tangents(&mut self, x: &[f64], factors: &mut [f64], kinetic: &mut [f64]) {
        let (n, f) = (x.len() / kinetic.len().max(1), factors.len() / kinetic.len().max(1));
        let blocks = x.chunks(LANES * n.max(1)).zip(kinetic.chunks_mut(LANES));
        for ((x, kinetic), factors) in blocks.zip(factors.chunks_mut(LANES * f.max(1))) {
            let FlowEvaluator { flow, plain, known, jets, block, .. } = self;
            if !flow.kinetic_energies(x, jets, block, false, kinetic) {
                tangents_one_by_one(self, x, factors, kinetic);
                continue;
            }
            let samples = x.chunks_exact(n).zip(factors.chunks_exact_mut(f));
            for (s, (x, factors)) in samples.enumerate() {
                flow.one_of_block(block, s, known);
                flow.values(x, known, plain);
                flow.backward_factors(plain, factors);
            }
        }
    }

    fn kinetic_parameter_gradient(
        &mut self,
        x: &[f64],
        out: &mut [f64],
        kinetic: &mut [f64],
    ) -> (LogPsi, f64) {
        let (log, sign) = self.reverse(x, out.len());
        for ((o, k), jet) in out.iter_mut().zip(kinetic).zip(&self.gradient) {
            *o = jet.value;
            *k = -0.5 * jet.laplacian - log.gradient_dot(jet);
        }
        (LogPsi { log_abs: log.value, sign }, kinetic_from_jet(&log))
    }

    fn mixed_parameter_gradient(&mut self, x: &[f64], out: &mut [f64], mixed: &mut [f64]) -> f64 {
        let parameters = out.len();
        let (log, _) = self.reverse(x, parameters);
        for (k, jet) in self.gradient.iter().enumerate() {
            out[k] = jet.value;
            for i in 0..x.len() {
                mixed[i * parameters + k] = jet.gradient[i];
            }
        }
        kinetic_from_jet(&log)
    }

    fn kinks(&self, out: &mut [f64]) -> bool {
        let kinked = self.flow.kinked(&self.jets);
        if let Some(kinked) = kinked {
            out.copy_from_slice(&kinked.gradient[..out.len()]);
        }
        kinked.is_some()
    }

    fn round_trip_error(&mut self, x: &[f64]) -> f64 {
        self.flow.forward(x, false, &mut self.plain);
        let mut back = vec![0.0; x.len()];
        self.flow.pull_back(&mut self.plain, &mut back);
        back.iter().zip(x).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    fn slopes(&mut self, x: &[f64]) -> Slopes {
        self.flow.slopes(x, &mut self.plain, &mut self.jets)
    }
}
