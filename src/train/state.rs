//! Where a training stands: everything that the rest of it depends on.

use super::stopping::{History, STUCK, StopReason};
use super::{Schedule, TrainError};
use crate::local_energy::Batch;
use crate::math::statistics::Moments;
use crate::optimise::Optimiser;
use serde::{Deserialize, Serialize};

/// What to do about samples whose local energy is not finite or absurd (beyond 1e9 Ha), and about a training that
/// diverges (twice in a row 20 error bars above its best energy).
///
/// Samples left out are always counted, and some of their configurations saved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Faults {
    /// Leave such samples out, up to a share of each batch; beyond, and on divergence, halve the step and go back to
    /// the best parameters so far, so many times in all; then stop.
    Restart {
        /// Largest share of a batch that is left out.
        share: f64,
        /// Times that the training may go back.
        times: usize,
    },
    /// Leave such samples out, up to a share of each batch; beyond, and on divergence, stop.
    Skip {
        /// Largest share of a batch that is left out.
        share: f64,
    },
    /// Stop at the first such sample, and on divergence.
    Stop,
}

impl Default for Faults {
    fn default() -> Self {
        Faults::Restart { share: 0.1, times: 3 }
    }
}

impl Faults {
    /// Largest share of a batch that is left out.
    pub fn share(self) -> f64 {
        match self {
            Faults::Restart { share, .. } | Faults::Skip { share } => share,
            Faults::Stop => 0.0,
        }
    }

    /// Whether a batch of so many samples is left with too few good ones.
    pub(super) fn are_too_many(self, batch: &Batch, samples: usize) -> bool {
        // Two samples are the fewest with a spread.
        batch.rejected as f64 > self.share() * samples as f64 || batch.samples() < 2
    }
}

/// Error bars above the best energy that count as divergence.
const DIVERGED: f64 = 20.0;
/// Rise of the energy, relative to its size, that is no divergence.
const ROUNDING: f64 = 1e-10;

/// Everything that the rest of a training depends on, besides its spec. Random numbers need no state: every batch has a
/// stream of its own, named by the iteration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingState {
    /// Iterations done.
    pub iteration: usize,
    /// The parameters after them.
    pub parameters: Vec<f64>,
    /// What the optimiser remembers: [`Optimiser::memory`].
    pub(crate) optimiser: Vec<f64>,
    /// Sum of the parameters over the last iterations, and their number.
    pub(super) sum: Vec<f64>,
    pub(super) averaged: usize,
    /// Samples left out.
    pub(crate) rejected: usize,
    /// Factor on the step.
    pub(super) caution: f64,
    pub(super) history: History,
    /// Variances at the steps so far, of several states or a temperature: their training compares them instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) variances: Vec<f64>,
    /// Whether the training has settled before its last iteration.
    pub(crate) settled: bool,
    /// Iterations in a row without a step.
    #[serde(default)]
    pub(crate) stuck: usize,
    /// How many times the cells of the splines have been halved.
    pub(super) refinements: usize,
    best: Option<Best>,
    /// Iterations in a row whose energy was far above the best.
    adrift: usize,
    pub(super) restarts: usize,
}

/// The state of lowest energy so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Best {
    energy: Moments,
    parameters: Vec<f64>,
    optimiser: Vec<f64>,
}

impl Best {
    /// The energy with two error bars of doubt.
    fn score(energy: &Moments) -> f64 {
        energy.mean() + 2.0 * energy.standard_error()
    }
}

impl TrainingState {
    /// The state before the first iteration.
    pub fn new(parameters: &[f64], optimiser: &dyn Optimiser) -> Self {
        Self::remembering(parameters, optimiser.memory())
    }

    /// The same, with what is remembered of an optimiser.
    pub(crate) fn remembering(parameters: &[f64], optimiser: Vec<f64>) -> Self {
        TrainingState {
            iteration: 0,
            parameters: parameters.to_vec(),
            optimiser,
            sum: vec![0.0; parameters.len()],
            averaged: 0,
            rejected: 0,
            caution: 1.0,
            history: History::default(),
            variances: Vec::new(),
            settled: false,
            stuck: 0,
            refinements: 0,
            best: None,
            adrift: 0,
            restarts: 0,
        }
    }

    /// That of a training whose wavefunction has not been built.
    pub(crate) fn unbegun() -> Self {
        Self::remembering(&[], Vec::new())
    }

    /// Whether the training has begun: every optimiser of several states remembers something.
    pub(crate) fn has_begun(&self) -> bool {
        !self.optimiser.is_empty()
    }

    /// Lets a training that had settled go on, when more iterations or another rule for stopping are asked for.
    pub fn unsettle(&mut self) {
        self.settled = false;
        self.stuck = 0;
        self.history = History::default();
        self.variances.clear();
    }

    /// Why a training of at most so many iterations stops here.
    pub(super) fn stopped(&self, iterations: usize) -> StopReason {
        match self.settled {
            true if self.stuck >= STUCK => StopReason::NoStep,
            true => StopReason::Plateau,
            false if self.stuck >= STUCK && self.iteration >= iterations => StopReason::NoStep,
            false => StopReason::Iterations,
        }
    }

    /// Why the training of an ensemble stops, which does so after so many iterations without a step.
    pub(crate) fn stopped_of_several(&self, stuck: usize) -> StopReason {
        match self.settled {
            true if self.stuck >= stuck => StopReason::NoStep,
            true => StopReason::Plateau,
            false => StopReason::Iterations,
        }
    }

    /// How many times the cells of the wavefunction's splines have been halved.
    pub fn refinements(&self) -> usize {
        self.refinements
    }

    /// Goes on with the parameters that the same state has on halved cells.
    pub(super) fn refine(&mut self, parameters: &[f64]) {
        self.refinements += 1;
        self.parameters = parameters.to_vec();
        (self.sum, self.averaged) = (vec![0.0; parameters.len()], 0);
        self.best = None;
        self.adrift = 0;
        self.unsettle();
    }

    pub(super) fn count(&self) -> usize {
        self.parameters.len()
    }

    /// Whether the state is one of so many parameters.
    pub(crate) fn fits(&self, parameters: usize) -> bool {
        let best = self.best.as_ref().is_none_or(|b| b.parameters.len() == parameters);
        let finite = self.parameters.iter().chain(&self.sum).all(|v| v.is_finite());
        best && finite
            && self.count() == parameters
            && self.sum.len() == parameters
            && self.caution.is_finite()
    }

    /// What is wrong with a batch, if anything is.
    pub(super) fn trouble(
        &mut self,
        batch: &Batch,
        energy: Moments,
        schedule: &Schedule,
    ) -> Option<TrainError> {
        let iteration = self.iteration;
        if schedule.faults.are_too_many(batch, schedule.samples) {
            let (good, samples) = (batch.samples(), schedule.samples);
            return Some(TrainError::Faults { iteration, good, samples });
        }
        let best = self.best.as_ref()?.energy;
        // Without variance the error bars are rounding, and so is the energy.
        let rounding = ROUNDING * best.mean().abs();
        let far = DIVERGED * energy.standard_error().hypot(best.standard_error()) + rounding;
        self.adrift = if energy.mean() > best.mean() + far { self.adrift + 1 } else { 0 };
        let (energy, best) = (energy.mean(), best.mean());
        (self.adrift > 1).then_some(TrainError::Diverged { iteration, energy, best })
    }

    /// Keeps the parameters if their energy is the lowest so far.
    pub(super) fn remember_best(&mut self, energy: Moments, optimiser: &dyn Optimiser) {
        if self.best.as_ref().is_none_or(|b| Best::score(&energy) < Best::score(&b.energy)) {
            let (parameters, optimiser) = (self.parameters.clone(), optimiser.memory());
            self.best = Some(Best { energy, parameters, optimiser });
        }
    }

    /// Goes back to the best parameters with half the step, if that is still allowed.
    pub(super) fn restart(&mut self, faults: Faults, optimiser: &mut dyn Optimiser) -> bool {
        let (Faults::Restart { times, .. }, Some(best)) = (faults, &self.best) else {
            return false;
        };
        if self.restarts >= times || !optimiser.recall(&best.optimiser, self.count()) {
            return false;
        }
        self.parameters.clone_from(&best.parameters);
        optimiser.took(None);
        self.caution *= 0.5;
        self.restarts += 1;
        self.adrift = 0;
        true
    }

    /// Adds the parameters to the average over the end of the run.
    pub(super) fn average(&mut self, end_of_tail: usize, iterations: usize) {
        if end_of_tail == iterations {
            // Where a run that had ended goes on, the average of its old end is none of the new one.
            (self.sum, self.averaged) = (vec![0.0; self.count()], 0);
        }
        if end_of_tail >= iterations {
            self.averaged += 1;
            for (s, p) in self.sum.iter_mut().zip(&self.parameters) {
                *s += p;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimise::OptimiserSettings;
    use crate::sampling::Sampling;
    use crate::train::Stopping;

    fn schedule(faults: Faults) -> Schedule {
        Schedule {
            iterations: 10,
            samples: 100,
            final_samples: 100,
            sampling: Sampling::Random,
            scramblings: 2,
            refinements: 0,
            stopping: Stopping::Never,
            faults,
            seed: 0,
        }
    }

    /// A batch about an energy, of so many good samples.
    fn batch(energy: f64, good: usize) -> (Batch, Moments) {
        let local_energy: Vec<f64> = (0..good).map(|i| energy + 0.01 * (i % 2) as f64).collect();
        let moments = Moments::of(&local_energy);
        (Batch { local_energy, rejected: 100 - good, ..Batch::default() }, moments)
    }

    #[test]
    fn samples_are_left_out_up_to_the_share() {
        let optimiser = OptimiserSettings::default().build();
        for (faults, good, fine) in [
            (Faults::default(), 90, true),
            (Faults::default(), 89, false),
            (Faults::Skip { share: 0.3 }, 71, true),
            (Faults::Skip { share: 0.3 }, 69, false),
            (Faults::Stop, 100, true),
            (Faults::Stop, 99, false),
        ] {
            let mut state = TrainingState::new(&[0.0], optimiser.as_ref());
            let (batch, energy) = batch(-1.0, good);
            let found = state.trouble(&batch, energy, &schedule(faults));
            assert_eq!(found.is_none(), fine, "{faults:?} {good}: {found:?}");
        }
    }

    #[test]
    fn a_training_stops_for_the_reason_that_it_has() {
        let optimiser = OptimiserSettings::default().build();
        let mut state = TrainingState::new(&[0.0], optimiser.as_ref());
        state.iteration = 10;
        assert_eq!(state.stopped(10), StopReason::Iterations);
        state.settled = true;
        assert_eq!(state.stopped(20), StopReason::Plateau);
        state.stuck = STUCK;
        assert_eq!(state.stopped(20), StopReason::NoStep);
        state.unsettle();
        assert_eq!((state.settled, state.stuck), (false, 0));
    }

    #[test]
    fn divergence_goes_back_to_the_best_so_many_times() {
        let mut optimiser = OptimiserSettings::default().build();
        let plan = schedule(Faults::Restart { share: 0.1, times: 2 });
        let mut state = TrainingState::new(&[1.0, 2.0], optimiser.as_ref());
        let (_, good) = batch(-1.0, 100);
        state.remember_best(good, optimiser.as_ref());
        let (bad, energy) = batch(-0.9, 100);
        for restart in 1..=3 {
            state.parameters = vec![7.0, 8.0];
            assert_eq!(state.trouble(&bad, energy, &plan), None, "once may be noise");
            let found = state.trouble(&bad, energy, &plan);
            assert!(matches!(found, Some(TrainError::Diverged { .. })), "{found:?}");
            let again = state.restart(plan.faults, optimiser.as_mut());
            assert_eq!(again, restart <= 2);
            if again {
                assert_eq!(state.parameters, [1.0, 2.0]);
                assert_eq!(state.caution, 0.5f64.powi(restart));
            }
        }
        // A worse energy does not replace the best.
        state.parameters = vec![3.0, 3.0];
        state.remember_best(energy, optimiser.as_ref());
        assert!(!state.restart(Faults::Stop, optimiser.as_mut()));
        state.restarts = 0;
        assert!(state.restart(plan.faults, optimiser.as_mut()));
        assert_eq!(state.parameters, [1.0, 2.0]);
    }
}
