//! Training of an ensemble of states under one flow, whatever of it is minimised.

use super::{Schedule, StopReason, Stopping, TrainingState};
use crate::local_energy::Fault;
use crate::objective::EnsembleError;
use crate::optimise::Step;
use crate::wavefunction::WavefunctionError;
use std::ops::ControlFlow;

/// An ensemble with what is minimised of it.
pub trait EnsembleObjective {
    /// Samples that a step is computed from.
    type Samples;
    /// What tells good steps on other samples.
    type Measure;
    /// Iterations without a step that end a training.
    const STUCK: usize;

    /// Parameters of the flow.
    fn parameters(&self) -> &[f64];

    /// Sets them.
    ///
    /// # Errors
    /// [`WavefunctionError::Parameters`] where there are others.
    fn set_parameters(&mut self, values: &[f64]) -> Result<(), WavefunctionError>;

    /// Everything that the next step depends on besides parameters and samples; never empty.
    fn memory(&self) -> Vec<f64>;

    /// Continues from a [`Self::memory`]; false if it is none of this objective.
    #[must_use]
    fn recall(&mut self, memory: &[f64]) -> bool;

    /// The samples of an iteration.
    ///
    /// # Errors
    /// [`EnsembleError`] where they tell nothing.
    fn draw(
        &self,
        schedule: &Schedule,
        iteration: usize,
    ) -> Result<Drawn<Self::Samples>, EnsembleError>;

    /// Alternatives for the next step.
    ///
    /// # Errors
    /// [`EnsembleError`] where none can be computed.
    fn propose(
        &mut self,
        samples: Self::Samples,
        schedule: &Schedule,
        iteration: usize,
    ) -> Result<Proposal<Self::Measure>, EnsembleError>;

    /// What is minimised, at the parameters as they are set: lower is better, on the same other samples for all.
    fn merit(&self, measure: &Self::Measure) -> f64;

    /// Which of the alternatives was taken, if any.
    fn took(&mut self, choice: Option<usize>);
}

/// What there is left to gain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing: the training ends here.
    Nothing,
    /// So little that a training that watches for its end takes its last step.
    Little,
    /// More.
    More,
}

/// Samples of an iteration, and what they say.
pub struct Drawn<S> {
    /// The samples.
    pub samples: S,
    /// What is minimised, in Hartree, with its standard error.
    pub value: (f64, f64),
    /// Its variance, in Hartree².
    pub variance: f64,
    /// The variance that tells whether steps still help.
    pub progress: f64,
    /// Samples left out.
    pub rejected: usize,
    /// Some of them.
    pub faults: Vec<Fault>,
    /// What there is left to gain.
    pub left: Left,
}

/// Alternatives for a step.
pub struct Proposal<M> {
    /// What tells good ones.
    pub measure: M,
    /// Norm of the gradient.
    pub gradient_norm: f64,
    /// Each with its number among all that were tried.
    pub steps: Vec<(usize, Step)>,
}

/// What an iteration found before its step.
#[derive(Clone, Debug)]
pub struct EnsembleReport {
    /// Number of the iteration, from 0.
    pub iteration: usize,
    /// What is minimised, in Hartree, with its standard error.
    pub value: (f64, f64),
    /// Its variance, in Hartree².
    pub variance: f64,
    /// Norm of the gradient.
    pub gradient_norm: f64,
    /// Norm of the step taken, in the metric of the states; zero where none was.
    pub step_norm: f64,
    /// Imaginary-time step.
    pub tau: f64,
    /// Samples left out, some of them.
    pub faults: Vec<Fault>,
}

/// Steps that are compared with as many before.
const WINDOW: usize = 3;
/// What the variance must have lost by then.
const PROGRESS: f64 = 0.9;

/// A training that has not begun.
pub fn begin(objective: &impl EnsembleObjective) -> TrainingState {
    TrainingState::remembering(objective.parameters(), objective.memory())
}

/// Minimises the objective from where `state` stands.
///
/// `watch` sees every iteration with the state after it and may end the training there; a later call with that state goes
/// on as if nothing had happened.
///
/// # Errors
/// See [`EnsembleError`].
pub fn train<O: EnsembleObjective>(
    objective: &mut O,
    schedule: &Schedule,
    state: &mut TrainingState,
    mut watch: impl FnMut(&EnsembleReport, &TrainingState) -> ControlFlow<()>,
) -> Result<StopReason, EnsembleError> {
    if !state.fits(objective.parameters().len()) || !objective.recall(&state.optimiser) {
        return Err(EnsembleError::State);
    }
    objective.set_parameters(&state.parameters)?;
    while state.iteration < schedule.iterations && !state.settled {
        let iteration = state.iteration;
        let Drawn { samples, value, variance, progress, rejected, faults, left } =
            objective.draw(schedule, iteration)?;
        state.rejected += rejected;
        state.iteration += 1;
        let mut report = EnsembleReport {
            iteration,
            value,
            variance,
            gradient_norm: f64::NAN,
            step_norm: 0.0,
            tau: 0.0,
            faults,
        };
        if left == Left::Nothing {
            (state.settled, state.stuck) = (true, 0);
            if watch(&report, state).is_break() {
                return Err(EnsembleError::Interrupted);
            }
            break;
        }
        let Proposal { measure, gradient_norm, steps } =
            objective.propose(samples, schedule, iteration)?;
        report.gradient_norm = gradient_norm;
        let mut best = (objective.merit(&measure), None);
        for (number, step) in steps {
            let there: Vec<f64> =
                state.parameters.iter().zip(&step.change).map(|(v, c)| v + c).collect();
            objective.set_parameters(&there)?;
            let found = objective.merit(&measure);
            if found < best.0 {
                best = (found, Some((number, step, there)));
            }
        }
        objective.took(best.1.as_ref().map(|best| best.0));
        state.optimiser = objective.memory();
        match best.1 {
            Some((_, step, there)) => {
                (report.step_norm, report.tau) = (step.step_norm, step.tau);
                (state.parameters, state.stuck) = (there, 0);
                state.variances.push(progress);
            }
            None => state.stuck += 1,
        }
        objective.set_parameters(&state.parameters)?;
        if schedule.stopping == Stopping::Plateau {
            let lost = state.variances.len().checked_sub(2 * WINDOW).is_none_or(|start| {
                let (before, after) = state.variances[start..].split_at(WINDOW);
                after.iter().sum::<f64>() < PROGRESS * before.iter().sum::<f64>()
            });
            let enough = left == Left::Little;
            state.settled = enough || !lost || state.stuck >= O::STUCK;
            if enough {
                state.stuck = 0;
            }
        }
        if watch(&report, state).is_break() {
            return Err(EnsembleError::Interrupted);
        }
    }
    Ok(state.stopped_of_several(O::STUCK))
}
