//! Training of an ensemble: its free energy falls as an energy does.

use super::{Schedule, StopReason, Stopping, TrainingState};
use crate::local_energy::{Batch, BatchId, Fault};
use crate::math::statistics::Moments;
use crate::objective::free_energy::{ThermalBatch, ThermalError, affordable, draw};
use crate::objective::ground_state::{Merit, relative_variance};
use crate::optimise::{Landscape, Optimiser, Pace};
use crate::sampling::Purpose;
use crate::system::System;
use crate::wavefunction::weyl::ensemble::GibbsStates;
use std::ops::ControlFlow;

/// What an iteration found before its step.
#[derive(Clone, Debug)]
pub struct ThermalReport {
    /// Number of the iteration, from 0.
    pub iteration: usize,
    /// Moments of the local free energy.
    pub free_energy: Moments,
    /// Norm of the gradient.
    pub gradient_norm: f64,
    /// Norm of the step; zero where none was taken.
    pub step_norm: f64,
    /// Imaginary-time step.
    pub tau: f64,
    /// Samples left out, some of them.
    pub faults: Vec<Fault>,
}

/// `Var(F_L) / 2 kT`, by which the free energy is about too high, as a share of the temperature, below which training has
/// nothing to gain.
const NEGLIGIBLE: f64 = 1e-6;
/// Iterations without a step that end a training, and those compared with as many before.
const STUCK: usize = 3;
const WINDOW: usize = 3;
const PROGRESS: f64 = 0.9;

/// A landscape that nobody looks at.
struct Nowhere;

impl Landscape for Nowhere {
    fn at(&mut self, _: &[f64]) -> Option<Batch> {
        None
    }
}

/// Lowers the free energy by the flow, from where `state` stands.
///
/// `watch` sees every iteration with the state after it and may end the training there; a later call with that state goes
/// on as if nothing had happened.
///
/// # Errors
/// [`ThermalError`].
pub fn train(
    states: &mut GibbsStates,
    system: System,
    optimiser: &mut dyn Optimiser,
    schedule: &Schedule,
    state: &mut TrainingState,
    mut watch: impl FnMut(&ThermalReport, &TrainingState) -> ControlFlow<()>,
) -> Result<StopReason, ThermalError> {
    let samples = affordable(states, schedule.samples);
    let p = states.parameters().len();
    if !state.fits(p) || !optimiser.recall(&state.optimiser, p) {
        return Err(ThermalError::State);
    }
    states.set_parameters(&state.parameters)?;
    while state.iteration < schedule.iterations && !state.settled {
        let iteration = state.iteration;
        let id = schedule.batch(iteration, optimiser.tails());
        // Whether there is anything to gain costs less than the derivatives.
        let settled = |states: &GibbsStates, moments: &Moments| {
            values_are_few(states) || moments.variance() < 2.0 * NEGLIGIBLE * states.kt * states.kt
        };
        if iteration == 0 {
            let plain = BatchId { tails: 0.0, purpose: Purpose::Selection, ..id };
            let first = draw(states, system, plain, samples, false);
            let moments = Moments::of(&first.batch.local_energy);
            if settled(states, &moments) {
                let report = ThermalReport {
                    iteration,
                    free_energy: moments,
                    gradient_norm: f64::NAN,
                    step_norm: 0.0,
                    tau: 0.0,
                    faults: first.batch.faults,
                };
                (state.iteration, state.settled) = (1, true);
                state.rejected = first.batch.rejected;
                if watch(&report, state).is_break() {
                    return Err(ThermalError::Interrupted);
                }
                break;
            }
        }
        let ThermalBatch { batch, .. } = draw(states, system, id, samples, true);
        state.rejected += batch.rejected;
        if batch.samples() * 2 < samples {
            return Err(ThermalError::Faults { good: batch.samples(), samples });
        }
        let moments = Moments::weighted(&batch.local_energy, &batch.weight);
        let pace = Pace {
            progress: iteration as f64 / (schedule.iterations - 1).max(1) as f64,
            caution: 1.0,
        };
        let steps = optimiser.steps(&batch, pace, &mut Nowhere)?;
        let trial = BatchId { purpose: Purpose::Trial, ..id };
        let weight = optimiser.variance_weight();
        let half = samples.div_ceil(2);
        // The merit of an energy, with local free energies in place of local energies.
        let of = Merit::new(&batch, weight, true);
        let merit =
            |states: &GibbsStates| of.of(&draw(states, system, trial, half, false).batch, half).0;
        let mut best = merit(states);
        let mut choice = None;
        for (index, step) in steps.iter().enumerate() {
            let there: Vec<f64> =
                state.parameters.iter().zip(&step.change).map(|(v, c)| v + c).collect();
            states.set_parameters(&there)?;
            let found = merit(states);
            if found < best {
                (best, choice) = (found, Some((index, there)));
            }
        }
        optimiser.took(choice.as_ref().map(|c| c.0));
        state.optimiser = optimiser.memory();
        state.iteration += 1;
        let mut report = ThermalReport {
            iteration,
            free_energy: moments,
            gradient_norm: steps.first().map_or(f64::NAN, |s| s.gradient_norm),
            step_norm: 0.0,
            tau: 0.0,
            faults: batch.faults.clone(),
        };
        match choice {
            Some((index, there)) => {
                state.parameters = there;
                (report.step_norm, report.tau) = (steps[index].step_norm, steps[index].tau);
                state.stuck = 0;
                state.variances.push(relative_variance(&batch));
            }
            None => state.stuck += 1,
        }
        states.set_parameters(&state.parameters)?;
        if schedule.stopping == Stopping::Plateau {
            let flat = state.variances.len().checked_sub(2 * WINDOW).is_some_and(|start| {
                let (before, after) = state.variances[start..].split_at(WINDOW);
                after.iter().sum::<f64>() > PROGRESS * before.iter().sum::<f64>()
            });
            let enough = settled(states, &moments);
            state.settled = enough || flat || state.stuck >= STUCK;
            if enough {
                state.stuck = 0;
            }
        }
        if watch(&report, state).is_break() {
            return Err(ThermalError::Interrupted);
        }
    }
    Ok(state.stopped_of_several(STUCK))
}

fn values_are_few(states: &GibbsStates) -> bool {
    states.parameters().is_empty()
}
