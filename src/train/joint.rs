//! One training for many systems: each step of every member, and one choice among them for all.
//!
//! All members see the same uniforms and the same damping, so that what they arrive at depends on the system as smoothly as their bases
//! do: what lies between can be interpolated.

use super::merit::merits;
use super::stopping::{History, STUCK, StopReason, Stopping};
use super::{EIGENSTATE, FixedSamples, Schedule, TrainError};
use crate::local_energy::{self, BatchId};
use crate::math::statistics::Moments;
use crate::objective::ground_state::relative_variance;
use crate::optimise::{Optimiser, Pace};
use crate::sampling::Purpose;
use crate::system::System;
use crate::wavefunction::Wavefunction;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// One of the systems.
pub struct Member<'a> {
    /// Its wavefunction.
    pub psi: Box<dyn Wavefunction>,
    /// Its potentials and space.
    pub system: System<'a>,
    /// Turns its samples into steps.
    pub optimiser: Box<dyn Optimiser>,
}

/// Where a joint training stands: everything that the rest of it depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JointState {
    /// Iterations done.
    pub iteration: usize,
    /// The parameters of each member after them.
    pub parameters: Vec<Vec<f64>>,
    optimisers: Vec<Vec<f64>>,
    histories: Vec<History>,
    caution: f64,
    stuck: usize,
    settled: bool,
    /// Samples left out.
    rejected: usize,
}

impl JointState {
    /// The state before the first iteration.
    pub fn new(members: &[Member]) -> Self {
        JointState {
            iteration: 0,
            parameters: members.iter().map(|m| m.psi.parameters().to_vec()).collect(),
            optimisers: members.iter().map(|m| m.optimiser.memory()).collect(),
            histories: vec![History::default(); members.len()],
            caution: 1.0,
            stuck: 0,
            settled: false,
            rejected: 0,
        }
    }

    /// Why it stopped, once it has.
    pub fn stopped(&self) -> StopReason {
        match (self.settled, self.stuck >= STUCK) {
            (_, true) => StopReason::NoStep,
            (true, false) => StopReason::Plateau,
            (false, false) => StopReason::Iterations,
        }
    }
}

/// What the caller sees after each iteration.
#[derive(Clone, Debug, PartialEq)]
pub struct JointReport {
    /// Number of the iteration, from 0.
    pub iteration: usize,
    /// Moments of the local energy of each member before the step.
    pub energies: Vec<Moments>,
    /// Norm of the step of each member in the metric of its state; zero where none was taken.
    pub steps: Vec<f64>,
}

/// Trains all members from where `state` stands. `watch` sees every iteration with the state after it and may end the training there: false
/// is returned, and a later call with that state goes on as if nothing had happened.
///
/// # Errors
/// See [`TrainError`].
pub fn train_jointly(
    members: &mut [Member],
    schedule: &Schedule,
    state: &mut JointState,
    mut watch: impl FnMut(&JointReport, &JointState) -> ControlFlow<()>,
) -> Result<bool, TrainError> {
    let fits = state.parameters.len() == members.len()
        && state.optimisers.len() == members.len()
        && state.histories.len() == members.len();
    if !fits {
        return Err(TrainError::State);
    }
    for (i, member) in members.iter_mut().enumerate() {
        let parameters = &state.parameters[i];
        if !member.optimiser.recall(&state.optimisers[i], parameters.len()) {
            return Err(TrainError::State);
        }
        member.psi.set_parameters(parameters)?;
    }
    while state.iteration < schedule.iterations && !state.settled {
        let report = iterate(members, schedule, state)?;
        if watch(&report, state).is_break() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a member would do.
struct Offer {
    energy: Moments,
    /// Change of the parameters and its norm, one for each alternative; none where there is nothing to train.
    changes: Vec<(Vec<f64>, f64)>,
    /// By how much each lowers (or raises) what is minimised.
    gains: Vec<f64>,
}

fn iterate(
    members: &mut [Member],
    schedule: &Schedule,
    state: &mut JointState,
) -> Result<JointReport, TrainError> {
    let iteration = state.iteration;
    let last = schedule.iterations.saturating_sub(1).max(1);
    let pace = Pace { progress: iteration as f64 / last as f64, caution: state.caution };
    let mut offers = Vec::new();
    let mut histories = state.histories.clone();
    for (member, history) in members.iter_mut().zip(&mut histories) {
        let offer = offer(member, schedule, iteration, pace, history, &mut state.rejected)?;
        offers.push(offer);
    }
    let alternatives = offers.iter().map(|o| o.gains.len()).max().unwrap_or(0);
    let total = |a: usize| -> f64 { offers.iter().filter_map(|o| o.gains.get(a)).sum() };
    let best = (0..alternatives).map(|a| (total(a), a)).min_by(|a, b| a.0.total_cmp(&b.0));
    let choice = best.filter(|(gain, _)| *gain < 0.0).map(|(_, a)| a);
    let mut steps = Vec::new();
    for (i, (member, offer)) in members.iter_mut().zip(&offers).enumerate() {
        let taken = choice.and_then(|a| offer.changes.get(a));
        steps.push(taken.map_or(0.0, |(_, norm)| *norm));
        if !offer.changes.is_empty() {
            member.optimiser.took(choice);
        }
        if let Some((change, _)) = taken {
            for (p, c) in state.parameters[i].iter_mut().zip(change) {
                *p += c;
            }
        }
        member.psi.set_parameters(&state.parameters[i])?;
        state.optimisers[i] = member.optimiser.memory();
    }
    let exact = alternatives == 0;
    state.iteration += 1;
    (state.stuck, state.caution) = match choice {
        _ if exact => (0, state.caution),
        Some(_) => (0, (2.0 * state.caution).min(1.0)),
        None => (state.stuck + 1, 0.25 * state.caution),
    };
    // An iteration without a step looks flat whether or not there is anything to gain.
    if choice.is_some() {
        state.histories = histories;
    }
    // What is an eigenstate has no history.
    let flat =
        offers.iter().zip(&state.histories).all(|(o, h)| o.changes.is_empty() || h.is_flat());
    state.settled = exact
        || schedule.stopping == Stopping::Plateau
            && alternatives > 1
            && (state.stuck >= STUCK || choice.is_some() && flat);
    Ok(JointReport { iteration, energies: offers.iter().map(|o| o.energy).collect(), steps })
}

fn offer(
    member: &mut Member,
    schedule: &Schedule,
    iteration: usize,
    pace: Pace,
    history: &mut History,
    rejected: &mut usize,
) -> Result<Offer, TrainError> {
    let Member { psi, system, optimiser } = member;
    let id = schedule.batch(iteration, optimiser.tails());
    let samples = schedule.samples;
    let batch = local_energy::draw(psi.as_ref(), *system, id, samples, optimiser.derivatives());
    let good = batch.samples();
    if schedule.faults.are_too_many(&batch, samples) {
        return Err(TrainError::Faults { iteration, good, samples });
    }
    *rejected += batch.rejected;
    history.push(&batch);
    let energy = Moments::weighted(&batch.local_energy, &batch.weight);
    let exact = schedule.stopping == Stopping::Plateau && relative_variance(&batch) < EIGENSTATE;
    if psi.parameters().is_empty() || exact {
        return Ok(Offer { energy, changes: Vec::new(), gains: Vec::new() });
    }
    let here = psi.parameters().to_vec();
    let mut landscape = FixedSamples { psi: psi.as_mut(), system: *system, x: &batch.x };
    let steps = optimiser
        .steps(&batch, pace, &mut landscape)
        .map_err(|error| TrainError::Step { iteration, error })?;
    psi.set_parameters(&here)?;
    let trial = BatchId { purpose: Purpose::Trial, ..id };
    let weights = optimiser.weights();
    let (allowed, values) = merits(psi.as_mut(), *system, trial, samples, &steps, weights)?;
    psi.set_parameters(&here)?;
    // Not a number is no gain.
    let gain = |v: &f64| if (v - allowed).is_nan() { f64::INFINITY } else { v - allowed };
    let gains = values.iter().map(gain).collect();
    let changes = steps.into_iter().map(|s| (s.change, s.step_norm)).collect();
    Ok(Offer { energy, changes, gains })
}
