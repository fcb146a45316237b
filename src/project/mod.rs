//! Exact projection: the energy beyond the ansatz.
//!
//! In one dimension the ground state of a sector has no node inside the fundamental domain, so diffusion Monte Carlo confined to it is exact for any
//! number of particles. The guide is normalised and sampled exactly: walkers start from independent samples of `|psi|²`, an exact Metropolis
//! move keeps them there, and paths carry weights `exp(-∫ (E_L - E_T))` without any branching (M. Caffarel, P. Claverie, J. Chem.
//! Phys. 88, 1088 (1988)). What is estimated is not the energy but the correction
//!
//! `Delta(beta) = <w e> / <w> - <e>`, `e` the mean local energy of both ends of a window of the length `beta`,
//!
//! in which the scatter of the variational energy cancels. `E_var + Delta(beta)` falls with `beta` to the exact energy and is an upper bound on
//! the way. Energies in Hartree, lengths in bohr, imaginary time in 1/Hartree.

mod correlations;
mod dressed;
mod guarded;
mod guide;
mod hidden;
mod job;
mod kernel;
mod pilot;
mod projection;
mod pure;
mod refusal;
mod settings;
mod state;
mod verdict;
mod walker;
mod walks;
mod windows;

use crate::estimate::rayleigh_quotient;
use crate::observables::Entry;
use crate::system::System;
use crate::wavefunction::Wavefunction;
use dressed::{Dressed, Dressing};
use guarded::{Guarded, has_nodes};
use job::Job;
use std::ops::ControlFlow;

pub use projection::{Correction, Guard, Projection, Pure, Variates, Variational};
pub use pure::OBSERVABLES;
pub use refusal::{ProjectError, Refusal};
pub use settings::{ControlVariates, Settings};
pub use state::State;
pub use windows::CurvePoint;

/// News of a projection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct News {
    /// Walks that are done of this length.
    pub done: usize,
    /// Of how many.
    pub of: usize,
    /// Length of the projection.
    pub beta: f64,
    /// Correction so far and its error.
    pub correction: Option<(f64, f64)>,
}

/// Rounding of a local energy, relative.
const ROUNDING: f64 = 1e-12;
/// Steps of all walkers that the valleys of a mixed guide may take.
const PATIENCE: usize = 6_000_000;
/// Particles from which on there are fewer samples and walkers: what they take grows as the cube of the number of particles.
const MANY: usize = 16;
/// Batch numbers of the streams: none of `measure` is as large.
const STREAMS: u64 = 1 << 42;

/// As many samples or walkers of `n` particles as take no more work than `count` of [`MANY`].
fn afforded(count: usize, n: usize) -> usize {
    if n <= MANY {
        return count;
    }
    ((count as f64 * (MANY as f64 / n as f64).powi(3)) as usize).next_power_of_two()
}

/// Projects a guide onto the ground state.
///
/// `given` is its variational energy where it is known. `state` is new, or that of the same projection that was interrupted: it then goes on as if
/// it had not been. `watch` hears of the state from time to time and may end the work.
///
/// # Errors
/// See [`ProjectError`]; what refuses the energy is none, but part of the [`Projection`].
pub fn project(
    psi: &dyn Wavefunction,
    system: System,
    settings: &Settings,
    given: Option<Variational>,
    state: &mut State,
    watch: &mut dyn FnMut(&News, &State) -> ControlFlow<()>,
) -> Result<Projection, ProjectError> {
    let settings = &Settings { replicates: settings.replicates.max(2), ..settings.clone() };
    let names = &pure::named(&settings.observables)?;
    let given = given.filter(|_| settings.samples.is_none());
    let job = Job { psi, system, settings, shift: 0.0, dressing: None, patience: usize::MAX };
    if state.guard.is_none() {
        if let Err(refusal) = job.judge() {
            let nothing = Variational { energy: f64::NAN, standard_error: f64::NAN, samples: 0 };
            return Ok(job.refused(given.unwrap_or(nothing), refusal));
        }
        let share = || {
            let guard = psi.without_nodes()?;
            Guarded::choose(psi, guard.as_ref(), system, settings)
        };
        // Nodes that a few thousand samples see hide more than any error bar.
        let seen = state.walks.is_empty() && psi.without_nodes().is_some();
        let early = (seen && has_nodes(psi, settings.seed)).then(share).flatten();
        let share = match early {
            Some(share) => share,
            None => {
                let found = match Dressing::choose(psi, system, settings) {
                    None => job.walked_out(given, job.drawn(names, given), state, watch)?,
                    Some(dressing) => dressed(&job, &dressing, names, given, state, watch)?,
                };
                let hidden = match found.correction {
                    Some(_) => hidden::hidden(psi, system, settings.seed),
                    None => None,
                };
                let found = found.hiding(hidden.unwrap_or(0.0));
                let nodes = matches!(found.refusals[..], [Refusal::Nodes { .. }]);
                let nodes = nodes || found.hides_much(settings.tolerance);
                let Some(share) = nodes.then(share).flatten() else { return Ok(found) };
                share
            }
        };
        *state = State { guard: Some(share), ..State::default() };
    }
    let (Some(guard), Some(share)) = (psi.without_nodes(), state.guard) else {
        return Err(ProjectError::State);
    };
    let mixed = Guarded::new(psi, guard.as_ref(), share);
    guarded(&job, &mixed, share, names, given, state, watch)
}

/// Projects with a guide that a state without nodes is mixed into.
fn guarded(
    job: &Job,
    mixed: &Guarded,
    share: f64,
    names: &[&'static Entry],
    given: Option<Variational>,
    state: &mut State,
    watch: &mut dyn FnMut(&News, &State) -> ControlFlow<()>,
) -> Result<Projection, ProjectError> {
    let plain = job.drawn(names, given);
    let variational = given.unwrap_or(plain.energy);
    let quadrature = given.and_then(|_| by_quadrature(mixed, job.system));
    let own = |shift| Job { psi: mixed, shift, patience: PATIENCE, ..*job };
    let drawn = own(0.0).drawn(names, quadrature);
    let shift = quadrature.unwrap_or(drawn.energy).energy - variational.energy;
    let found = own(shift).walked_out(quadrature, drawn, state, watch)?;
    let apart = found.variational.standard_error.hypot(variational.standard_error);
    let (energy, standard_error) = (found.variational.energy, found.own_error());
    let guard = Some(Guard { share, energy, standard_error });
    let found = Projection { guard, ..found.corrects(variational, apart) };
    Ok(found.with_variational(pure::measured(&plain)?))
}

/// Projects with a guide that is dressed with control variates.
fn dressed(
    job: &Job,
    dressing: &Dressing,
    names: &[&'static Entry],
    given: Option<Variational>,
    state: &mut State,
    watch: &mut dyn FnMut(&News, &State) -> ControlFlow<()>,
) -> Result<Projection, ProjectError> {
    let phi = Dressed { psi: job.psi, dressing };
    let own = |shift| Job { psi: &phi, shift, dressing: Some(dressing), ..*job };
    let drawn = own(0.0).drawn(names, given);
    let variational = given.unwrap_or(drawn.energy);
    let Some((guide, shift)) = drawn.guide(given) else {
        return Ok(job.refused(variational, Refusal::NotANumber));
    };
    let found = own(shift.0).walked_out(Some(guide), drawn, state, watch)?;
    let variates = Some(Variates {
        functions: dressing.count(),
        variance: dressing.left,
        energy: guide.energy,
        standard_error: found.own_error(),
    });
    Ok(Projection { variates, ..found.corrects(variational, shift.1) })
}

/// The variational energy where it needs no samples: of one or two particles, and of states that know it.
pub fn by_quadrature(psi: &dyn Wavefunction, system: System) -> Option<Variational> {
    Variational::known(rayleigh_quotient(psi, system)?)
}

#[cfg(test)]
mod tests;
