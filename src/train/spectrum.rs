//! Training of the lowest states together.

use super::{Schedule, StopReason, Stopping, TrainingState};
use crate::local_energy::Fault;
use crate::math::statistics::median;
use crate::objective::mixture::{MixtureId, draw};
use crate::objective::robust::{unit, variance_weight};
use crate::objective::spectrum::{SpectrumError, Turned, samples_of_each};
use crate::optimise::RayleighGaussNewtonSettings;
use crate::optimise::damping::Damping;
use crate::optimise::spectrum::Step;
use crate::sampling::Purpose;
use crate::system::System;
use crate::wavefunction::Wavefunction;
use crate::wavefunction::weyl::ensemble::LowestStates;
use std::ops::ControlFlow;

/// What an iteration found before its step.
#[derive(Clone, Debug)]
pub struct SpectrumReport {
    /// Number of the iteration, from 0.
    pub iteration: usize,
    /// Energies, in Hartree.
    pub energies: Vec<f64>,
    /// Variances, in Hartree².
    pub variances: Vec<f64>,
    /// Norm of the force.
    pub gradient_norm: f64,
    /// Norm of the step taken, in the metric of the states; zero where none was.
    pub step_norm: f64,
    /// Imaginary-time step.
    pub tau: f64,
    /// Samples.
    pub samples: usize,
    /// Samples left out.
    pub rejected: usize,
    /// Some of them.
    pub faults: Vec<Fault>,
}

/// Summed variance, in units of the kinetic energy squared, below which nothing is left to learn: its square root is the
/// scale of an energy's error only where a gap is as small.
const EIGENSTATES: f64 = 1e-11;
/// Iterations without a step after which a training stops, and those that are compared with as many before.
const STUCK: usize = 4;
const WINDOW: usize = 3;
/// What the variance must have lost by then.
const PROGRESS: f64 = 0.9;
/// A training of the states that has not begun.
pub fn begin(states: &LowestStates) -> TrainingState {
    TrainingState::remembering(states.parameters(), vec![1.0])
}

/// Trains the states together from where `state` stands, with `weights` that sum to one.
///
/// `watch` sees every iteration with the state after it and may end the training there; a later call with that state goes
/// on as if nothing had happened.
///
/// # Errors
/// See [`SpectrumError`].
pub fn train(
    states: &mut LowestStates,
    system: System,
    settings: &RayleighGaussNewtonSettings,
    schedule: &Schedule,
    weights: &[f64],
    state: &mut TrainingState,
    mut watch: impl FnMut(&SpectrumReport, &TrainingState) -> ControlFlow<()>,
) -> Result<StopReason, SpectrumError> {
    let k = states.states.len();
    let each = samples_of_each(schedule.samples, k);
    let p = states.parameters().len();
    let roughness = states.states[0].roughness();
    let [damping] = state.optimiser[..] else { return Err(SpectrumError::State) };
    if !state.fits(p) || !damping.is_finite() {
        return Err(SpectrumError::State);
    }
    let mut damping = Damping(damping);
    states.set_parameters(&state.parameters)?;
    while state.iteration < schedule.iterations && !state.settled {
        let iteration = state.iteration;
        let id = MixtureId {
            sampling: schedule.sampling,
            seed: schedule.seed,
            purpose: Purpose::Training,
            number: iteration as u64,
            tails: settings.tails,
        };
        let turned = Turned::new(draw(&states.states, system, id, each, true))?;
        state.rejected += turned.rows.rejected;
        let variances = turned.variances();
        let kinetic = turned.kinetic(weights);
        let spread: f64 = weights.iter().zip(&variances).map(|(w, v)| w * v).sum();
        let mut report = SpectrumReport {
            iteration,
            energies: turned.energies.clone(),
            variances,
            gradient_norm: f64::NAN,
            step_norm: 0.0,
            tau: 0.0,
            samples: turned.rows.samples(),
            rejected: turned.rows.rejected,
            faults: turned.rows.faults.clone(),
        };
        state.iteration += 1;
        if p == 0 || spread < EIGENSTATES * kinetic * kinetic {
            (state.settled, state.stuck) = (true, 0);
            if watch(&report, state).is_break() {
                return Err(SpectrumError::Interrupted);
            }
            break;
        }
        let (middle, width) = {
            let mut sizes: Vec<f64> = turned.residuals.iter().map(|r| r.abs()).collect();
            let middle = median(&mut sizes);
            (middle, settings.clip * middle.max(0.2 * spread.sqrt()))
        };
        let unit = unit(kinetic, spread);
        let variance = variance_weight(settings.variance, unit, spread, spread.sqrt().max(middle));
        let step = Step::new(turned, weights, variance, width, &roughness, settings, unit);
        report.gradient_norm = 2.0 * step.force.iter().map(|f| f * f).sum::<f64>().sqrt();
        let trial = MixtureId { purpose: Purpose::Trial, ..id };
        let merit = |states: &LowestStates| {
            let rows = draw(&states.states, system, trial, each.div_ceil(2), false);
            let enough = rows.samples() as f64 > 0.9 * (k * each.div_ceil(2)) as f64;
            match Turned::new(rows) {
                Ok(turned) if enough => turned.merit(weights, variance, width),
                _ => f64::INFINITY,
            }
        };
        let mut best = (merit(states), None);
        for (index, strength) in damping.tried().into_iter().enumerate() {
            let Some((change, norm)) = step.solve(strength, settings.trust_radius) else {
                continue;
            };
            let there: Vec<f64> =
                state.parameters.iter().zip(&change).map(|(v, c)| v - c).collect();
            states.set_parameters(&there)?;
            let found = merit(states);
            if found < best.0 {
                best = (found, Some((index, there, norm, settings.tau / (strength * unit))));
            }
        }
        damping.took(best.1.as_ref().map(|best| best.0));
        state.optimiser = vec![damping.0];
        match best.1 {
            Some((_, there, norm, tau)) => {
                (state.parameters, report.step_norm, report.tau, state.stuck) =
                    (there, norm, tau, 0);
                state.variances.push(spread);
            }
            None => state.stuck += 1,
        }
        states.set_parameters(&state.parameters)?;
        if schedule.stopping == Stopping::Plateau {
            let lost = state.variances.len().checked_sub(2 * WINDOW).is_none_or(|start| {
                let (before, after) = state.variances[start..].split_at(WINDOW);
                after.iter().sum::<f64>() < PROGRESS * before.iter().sum::<f64>()
            });
            state.settled = state.stuck >= STUCK || !lost;
        }
        if watch(&report, state).is_break() {
            return Err(SpectrumError::Interrupted);
        }
    }
    Ok(state.stopped_of_several(STUCK))
}
