//! The life of a run: draw, step, repeat; then choose the parameters.
//!
//! Knows no clock, file or terminal: the caller watches through a callback.

mod choice;
pub mod ensemble;
pub mod free_energy;
mod joint;
mod merit;
pub mod spectrum;
mod state;
mod stopping;

pub use joint::{JointReport, JointState, Member, train_jointly};
pub use state::{Faults, TrainingState};
pub use stopping::{StopReason, Stopping};

use crate::local_energy::{self, Batch, BatchId, Derivatives, Fault, Memory};
use crate::math::linalg::LinearError;
use crate::math::statistics::Moments;
use crate::objective::ground_state::relative_variance;
use crate::optimise::{Landscape, Optimiser, Pace};
use crate::sampling::{Purpose, Sampling};
use crate::system::System;
use crate::wavefunction::{Wavefunction, WavefunctionError};
use merit::choose;
use std::ops::ControlFlow;
use stopping::STUCK;

/// How long and with how many samples to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Number of optimisation steps.
    pub iterations: usize,
    /// Samples of each step.
    pub samples: usize,
    /// Fresh samples of the final estimate.
    pub final_samples: usize,
    /// Kind of points that samples are made from.
    pub sampling: Sampling,
    /// Independent scramblings of the final estimate, where points are quasi-random.
    pub scramblings: usize,
    /// How many times the cells of all splines are halved.
    pub refinements: usize,
    /// When to stop before the last iteration.
    pub stopping: Stopping,
    /// What to do about samples without a sensible local energy and about divergence.
    pub faults: Faults,
    /// Seed of all random numbers.
    pub seed: u64,
}

impl Schedule {
    /// The samples of an iteration.
    pub(crate) fn batch(&self, iteration: usize, tails: f64) -> BatchId {
        BatchId {
            sampling: self.sampling,
            seed: self.seed,
            purpose: Purpose::Training,
            number: iteration as u64,
            first: 0,
            tails,
        }
    }

    /// Whether the next refinement is due before an iteration, after so many: they are spread evenly over the run.
    fn refines(&self, iteration: usize, refinements: usize) -> bool {
        refinements < self.refinements
            && iteration * (self.refinements + 1) >= (refinements + 1) * self.iterations
    }

    /// Independent sets of samples that make the final estimate, and the samples of each.
    ///
    /// A set of quasi-random points is one scrambling. It has a power of two of them, since only then every
    /// interval gets its share: the next from `final_samples / scramblings` on.
    pub fn final_sets(&self) -> (usize, usize) {
        match self.sampling {
            Sampling::Random => (1, self.final_samples),
            Sampling::QuasiRandom => {
                let each = self.final_samples.div_ceil(self.scramblings).next_power_of_two();
                (self.scramblings, each)
            }
        }
    }
}

/// What the caller sees after each step.
#[derive(Clone, Debug, PartialEq)]
pub struct IterationReport {
    /// Number of the iteration, from 0.
    pub iteration: usize,
    /// Moments of the local energy before the step.
    pub energy: Moments,
    /// Euclidean norm of the energy gradient; NaN where no step was taken.
    pub gradient_norm: f64,
    /// Norm of the step in the metric of the state; zero where none was taken.
    pub step_norm: f64,
    /// Learning rate or imaginary-time step; zero where none was taken.
    pub tau: f64,
    /// Samples left out because something was not finite or absurd.
    pub rejected: usize,
    /// Some of them.
    pub faults: Vec<Fault>,
    /// Whether the parameters went back to the best ones so far: see [`Faults`].
    pub restarted: bool,
}

/// Why training stopped.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Too few samples have a sensible local energy.
    #[error(
        "iteration {iteration}: only {good} of {samples} samples have a finite local energy below 1e9 Ha, and the \
         spec's `faults` allows no more; reduce the step (tau, learning_rate or trust_radius)"
    )]
    Faults {
        /// Number of the iteration.
        iteration: usize,
        /// Samples with a sensible local energy.
        good: usize,
        /// Samples drawn.
        samples: usize,
    },
    /// The energy rose far above the best one.
    #[error(
        "iteration {iteration}: the training diverges, {energy:.6} Ha after {best:.6} Ha, and the spec's `faults` allows \
         no more; reduce the step (tau, learning_rate or trust_radius)"
    )]
    Diverged {
        /// Number of the iteration.
        iteration: usize,
        /// Energy of this iteration, in Hartree.
        energy: f64,
        /// The lowest energy before.
        best: f64,
    },
    /// A state to go on from is none of this wavefunction and optimiser.
    #[error("the state to go on from does not fit the wavefunction or the optimiser")]
    State,
    /// The linear system of a step could not be solved even with a larger shift.
    #[error("iteration {iteration}: {error}; increase the shift of the optimiser")]
    Step {
        /// Number of the iteration.
        iteration: usize,
        /// What failed.
        error: LinearError,
    },
    /// The wavefunction refused parameters.
    #[error(transparent)]
    Wavefunction(#[from] WavefunctionError),
}

/// What training leaves: the parameters of the final state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trained {
    /// Iterations whose parameters were averaged; 1 means that the last ones are used as they are.
    pub averaged_iterations: usize,
    /// Samples left out over the whole training.
    pub rejected: usize,
    /// Times that the training went back to its best parameters.
    pub restarts: usize,
    /// Iterations done.
    pub iterations: usize,
    /// Why they were not more.
    pub stopped: StopReason,
}

/// The configurations of a batch at other parameters.
struct FixedSamples<'a> {
    psi: &'a mut dyn Wavefunction,
    system: System<'a>,
    x: &'a [f64],
}

impl Landscape for FixedSamples<'_> {
    fn at(&mut self, parameters: &[f64]) -> Option<Batch> {
        self.psi.set_parameters(parameters).ok()?;
        let batch = local_energy::at(self.psi, self.system, self.x, Derivatives::LocalEnergy);
        (batch.rejected == 0).then_some(batch)
    }
}

/// Variance of the local energy, in units of the kinetic energy squared, of a state that needs no training: its energy is right to about
/// as many units of the kinetic energy.
const EIGENSTATE: f64 = 1e-12;

/// The same of a state that hardly needs any: what steps that are refused leave as it was is no gain either, so that they count when
/// it is asked whether the training still gets anywhere.
const NEARLY: f64 = 1e-7;

/// Share of the run, at its end, over which parameters are averaged.
const AVERAGED_SHARE: f64 = 0.25;

/// Trains `psi` in place from where `state` stands, and leaves the better of the last and the averaged parameters in it.
///
/// `watch` sees every iteration with the state after it and may end the training there: `None` is returned, and a later
/// call with that state goes on as if nothing had happened.
///
/// # Errors
/// See [`TrainError`].
pub fn train_from(
    psi: &mut dyn Wavefunction,
    system: System,
    optimiser: &mut dyn Optimiser,
    schedule: &Schedule,
    state: &mut TrainingState,
    mut watch: impl FnMut(&IterationReport, &TrainingState) -> ControlFlow<()>,
) -> Result<Option<Trained>, TrainError> {
    if state.refinements > schedule.refinements {
        return Err(TrainError::State);
    }
    // The state may be of a wavefunction with more knots than `psi` was built with.
    for _ in 0..state.refinements {
        psi.refine();
    }
    if !state.fits(psi.parameters().len()) || !optimiser.recall(&state.optimiser, state.count()) {
        return Err(TrainError::State);
    }
    psi.set_parameters(&state.parameters)?;
    let mut memory = Memory::default();
    while state.iteration < schedule.iterations {
        let left = state.refinements < schedule.refinements;
        if left && state.settled || schedule.refines(state.iteration, state.refinements) {
            psi.refine();
            optimiser.reparametrised();
            state.refine(psi.parameters());
        } else if state.settled {
            break;
        }
        let report = iterate(psi, system, optimiser, schedule, state, &mut memory)?;
        if watch(&report, state).is_break() {
            return Ok(None);
        }
    }
    let mut averaged = state.averaged;
    if averaged > 1 {
        let mean: Vec<f64> = state.sum.iter().map(|s| s / averaged as f64).collect();
        let last = selection_energy(psi, system, schedule);
        psi.set_parameters(&mean)?;
        let smooth = selection_energy(psi, system, schedule);
        // The last parameters win a tie with NaN as well.
        if smooth > last || smooth.is_nan() {
            psi.set_parameters(&state.parameters)?;
            averaged = 1;
        }
    }
    Ok(Some(Trained {
        averaged_iterations: averaged.max(1),
        rejected: state.rejected,
        restarts: state.restarts,
        iterations: state.iteration,
        stopped: state.stopped(schedule.iterations),
    }))
}

/// [`train_from`] the start to the end.
///
/// # Errors
/// See [`TrainError`].
pub fn train(
    psi: &mut dyn Wavefunction,
    system: System,
    optimiser: &mut dyn Optimiser,
    schedule: &Schedule,
    mut watch: impl FnMut(&IterationReport),
) -> Result<Trained, TrainError> {
    let mut state = TrainingState::new(psi.parameters(), optimiser);
    let trained = train_from(psi, system, optimiser, schedule, &mut state, |report, _| {
        watch(report);
        ControlFlow::Continue(())
    });
    // Nothing interrupts it.
    trained.and_then(|trained| trained.ok_or(TrainError::State))
}

/// One iteration: a batch, a step, and what they say of the run.
fn iterate(
    psi: &mut dyn Wavefunction,
    system: System,
    optimiser: &mut dyn Optimiser,
    schedule: &Schedule,
    state: &mut TrainingState,
    memory: &mut Memory,
) -> Result<IterationReport, TrainError> {
    let iteration = state.iteration;
    let id = schedule.batch(iteration, optimiser.tails());
    let derivatives = optimiser.derivatives();
    let before = std::mem::take(memory);
    let mut batch =
        local_energy::draw_again(psi, system, id, schedule.samples, derivatives, before);
    state.rejected += batch.rejected;
    let energy = Moments::weighted(&batch.local_energy, &batch.weight);
    let trouble = state.trouble(&batch, energy, schedule);
    // Of an eigenstate, what is left of the variance is rounding.
    let nothing_to_train = psi.parameters().is_empty();
    let variance = if trouble.is_none() { relative_variance(&batch) } else { f64::INFINITY };
    let exact = trouble.is_none()
        && (nothing_to_train || schedule.stopping == Stopping::Plateau && variance < EIGENSTATE);
    let (step, choosy) = match &trouble {
        None if exact => {
            state.remember_best(energy, optimiser);
            (None, false)
        }
        Some(error) => {
            if !state.restart(schedule.faults, optimiser) {
                return Err(error.clone());
            }
            (None, false)
        }
        None => {
            state.remember_best(energy, optimiser);
            let last = (schedule.iterations - 1).max(1);
            let pace = Pace { progress: iteration as f64 / last as f64, caution: state.caution };
            let mut landscape = FixedSamples { psi: &mut *psi, system, x: &batch.x };
            let mut steps = optimiser
                .steps(&batch, pace, &mut landscape)
                .map_err(|error| TrainError::Step { iteration, error })?;
            psi.set_parameters(&state.parameters)?;
            let trial = BatchId { purpose: Purpose::Trial, ..id };
            let weights = optimiser.weights();
            let choice = choose(psi, system, trial, schedule.samples, &steps, weights)?;
            optimiser.took(choice);
            state.caution = if choice.is_some() {
                (2.0 * state.caution).min(1.0)
            } else {
                0.25 * state.caution
            };
            let choosy = steps.len() > 1;
            (choice.map(|c| steps.swap_remove(c)), choosy)
        }
    };
    if let Some(step) = &step {
        for (p, c) in state.parameters.iter_mut().zip(&step.change) {
            *p += c;
        }
    }
    psi.set_parameters(&state.parameters)?;
    let tail = ((schedule.iterations as f64 * AVERAGED_SHARE).ceil() as usize).max(1);
    state.average(iteration + tail, schedule.iterations);
    state.iteration = iteration + 1;
    state.optimiser = optimiser.memory();
    state.stuck = if step.is_some() || trouble.is_some() { 0 } else { state.stuck + 1 };
    // An iteration without a step looks flat whether or not there is anything to gain, unless that is next to nothing.
    let counts = step.is_some() || variance < NEARLY;
    if counts {
        state.history.push(&batch);
    }
    state.settled = exact
        || schedule.stopping == Stopping::Plateau
            && choosy
            && (state.stuck >= STUCK || counts && state.history.is_flat());
    let faults = std::mem::take(&mut batch.faults);
    let rejected = batch.rejected;
    *memory = batch.into_memory();
    Ok(IterationReport {
        iteration,
        energy,
        gradient_norm: step.as_ref().map_or(f64::NAN, |s| s.gradient_norm),
        step_norm: step.as_ref().map_or(0.0, |s| s.step_norm),
        tau: step.as_ref().map_or(0.0, |s| s.tau),
        rejected,
        faults,
        restarted: trouble.is_some(),
    })
}

/// Energy on samples of their own that both candidates share through the same uniforms.
fn selection_energy(psi: &dyn Wavefunction, system: System, schedule: &Schedule) -> f64 {
    let id = BatchId {
        sampling: schedule.sampling,
        seed: schedule.seed,
        purpose: Purpose::Selection,
        number: 0,
        first: 0,
        tails: 0.0,
    };
    let samples = (schedule.samples * 8).min(schedule.final_samples);
    let batch = local_energy::draw(psi, system, id, samples, Derivatives::None);
    Moments::of(&batch.local_energy).mean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::Weights;
    use crate::optimise::Step;
    use crate::system::{External, Geometry, Hamiltonian, Interaction, Sector};
    use crate::wavefunction::WavefunctionSettings;
    use crate::wavefunction::weyl::WeylSettings;

    /// Offers a thousandth of the way to an eigenstate in every second iteration, and nothing good in the others.
    struct Limping {
        eigenstate: Vec<f64>,
        iteration: usize,
    }

    impl Optimiser for Limping {
        fn derivatives(&self) -> Derivatives {
            Derivatives::None
        }

        fn weights(&self) -> Weights {
            Weights { energy: 0.0, variance: 1.0 }
        }

        fn steps(
            &mut self,
            batch: &Batch,
            _pace: Pace,
            _landscape: &mut dyn Landscape,
        ) -> Result<Vec<Step>, LinearError> {
            let good = self.iteration.is_multiple_of(2);
            self.iteration += 1;
            let step = |share: f64| {
                let pairs = self.eigenstate.iter().zip(&batch.parameters);
                let change = pairs.map(|(to, from)| share * (to - from)).collect();
                Step { change, gradient_norm: 0.0, step_norm: 0.0, tau: 0.0 }
            };
            Ok([if good { 0.001 } else { -0.002 }, -0.001].map(step).to_vec())
        }
    }

    /// Eight iterations of which four had a step, by which the variance fell by a hundredth in all, are a plateau next to an eigenstate.
    /// Elsewhere those without one do not count, and the training goes on to its end.
    #[test]
    fn next_to_an_eigenstate_iterations_without_a_step_count() {
        let hamiltonian = Hamiltonian {
            title: String::new(),
            external: External::Harmonic { frequency: 1.0 },
            interaction: Interaction::None,
        };
        let system = System { hamiltonian: &hamiltonian, geometry: &Geometry::Line };
        let settings = WavefunctionSettings::Weyl(WeylSettings::default());
        for (distance, iterations, stopped) in
            [(1e-4, 8, StopReason::Plateau), (1e-2, 14, StopReason::Iterations)]
        {
            let mut psi = settings.build(Sector::new(2, 0), system, 1).unwrap();
            let eigenstate = psi.parameters().to_vec();
            let away = (0..eigenstate.len()).map(|k| distance * (k as f64 * 1.7).sin());
            let start: Vec<f64> = eigenstate.iter().zip(away).map(|(e, a)| e + a).collect();
            psi.set_parameters(&start).unwrap();
            let schedule = Schedule {
                iterations: 14,
                samples: 4096,
                final_samples: 4096,
                sampling: Sampling::QuasiRandom,
                scramblings: 1,
                refinements: 0,
                stopping: Stopping::Plateau,
                faults: Faults::default(),
                seed: 5,
            };
            let mut optimiser = Limping { eigenstate, iteration: 0 };
            let mut variances = Vec::new();
            let mut steps = 0;
            let trained = train(&mut *psi, system, &mut optimiser, &schedule, |report| {
                variances.push(report.energy.variance());
                steps += usize::from(!report.gradient_norm.is_nan());
            })
            .unwrap();
            assert_eq!(
                (trained.iterations, trained.stopped),
                (iterations, stopped),
                "{variances:?}"
            );
            assert_eq!(steps, iterations / 2);
        }
    }
}
