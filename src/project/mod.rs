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

mod guarded;
mod guide;
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
use crate::system::System;
use crate::wavefunction::Wavefunction;
use guarded::Guarded;
use job::Job;
use std::ops::ControlFlow;

pub use projection::{Correction, Guard, Projection, Pure, Variational};
pub use pure::OBSERVABLES;
pub use refusal::{ProjectError, Refusal};
pub use settings::Settings;
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
/// Batch numbers of the streams: none of `measure` is as large.
const STREAMS: u64 = 1 << 42;

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
    let job = Job { psi, system, settings, shift: 0.0 };
    if state.guard.is_none() {
        let found = job.project(names, given, state, watch)?;
        if !matches!(found.refusals[..], [Refusal::Nodes { .. }]) {
            return Ok(found);
        }
        let guard = psi.without_nodes();
        let share = guard.and_then(|g| Guarded::choose(psi, g.as_ref(), system, settings));
        let Some(share) = share else { return Ok(found) };
        *state = State { guard: Some(share), ..State::default() };
    }
    let (Some(guard), Some(share)) = (psi.without_nodes(), state.guard) else {
        return Err(ProjectError::State);
    };
    let plain = pure::draw(psi, system, settings, names, given.is_none());
    let variational = given.unwrap_or(plain.energy);
    let mixed = Guarded::new(psi, guard.as_ref(), share);
    let quadrature = given.and_then(|_| by_quadrature(&mixed, system));
    let job = |shift| Job { psi: &mixed, system, settings, shift };
    let drawn = job(0.0).drawn(names, quadrature);
    let shift = quadrature.unwrap_or(drawn.energy).energy - variational.energy;
    let found = job(shift).walked_out(quadrature, drawn, state, watch)?;
    let mut found = found.corrects(variational, share);
    for (pure, measured) in found.observables.iter_mut().zip(pure::measured(&plain)?) {
        pure.variational = measured.quantities;
    }
    Ok(found)
}

/// The variational energy where it needs no samples: of one or two particles, and of states that know it.
pub fn by_quadrature(psi: &dyn Wavefunction, system: System) -> Option<Variational> {
    Variational::known(rayleigh_quotient(psi, system)?)
}

#[cfg(test)]
mod tests;
