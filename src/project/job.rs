//! One guide projected: from samples and starts over walks of one step, halved where it is too long, to the energy.

use super::dressed::Dressing;
use super::kernel::Space;
use super::projection::{Correction, Projection, Variational};
use super::pure::{self, Drawn};
use super::refusal::{ProjectError, Refusal};
use super::settings::Settings;
use super::state::{State, Steps, tally};
use super::walker::Mover;
use super::windows::{Action, HALF};
use super::{News, STREAMS, guide, pilot};
use crate::contact;
use crate::observables::Entry;
use crate::sampling::{Purpose, stream};
use crate::system::System;
use crate::wavefunction::Wavefunction;
use std::ops::ControlFlow;

/// Times that the step may be halved after a whole projection.
const HALVINGS: usize = 3;

/// What does not change.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) psi: &'a dyn Wavefunction,
    pub(super) system: System<'a>,
    pub(super) settings: &'a Settings,
    /// Energy of the guide minus that of the state whose energy is corrected.
    pub(super) shift: f64,
    /// What the guide is dressed with: its samples then have weights.
    pub(super) dressing: Option<&'a Dressing>,
    /// Steps of all walkers, at most, before it is refused.
    pub(super) patience: usize,
}

impl Job<'_> {
    pub(super) fn drawn(&self, names: &[&'static Entry], given: Option<Variational>) -> Drawn {
        pure::draw(self.psi, self.system, self.settings, names, given.is_none(), self.dressing)
    }

    pub(super) fn walked_out(
        &self,
        given: Option<Variational>,
        drawn: Drawn,
        state: &mut State,
        watch: &mut dyn FnMut(&News, &State) -> ControlFlow<()>,
    ) -> Result<Projection, ProjectError> {
        let settings = self.settings;
        let variational = given.unwrap_or(drawn.energy);
        let starts = pure::starts(self, self.walkers(), self.blocks());
        if starts.len() < self.walkers() * self.blocks() {
            return Ok(self.refused(variational, Refusal::NoSense));
        }
        if state.variational.is_some_and(|v| v != variational) {
            return Err(ProjectError::State);
        }
        state.variational = Some(variational);
        state.blocks = state.blocks.max(1);
        if state.steps.is_none() {
            match self.choose(variational) {
                Ok(steps) => state.steps = Some(steps),
                Err(refusal) => return Ok(self.refused(variational, refusal)),
            }
        }
        loop {
            let steps = state.steps.ok_or(ProjectError::State)?;
            let count = self.steps(steps, 0);
            if count > self.patience {
                return Ok(self.refused(variational, Refusal::Work { step: steps.tau, count }));
            }
            let found = self.walk(steps, variational, &starts, state, watch)?;
            let long = matches!(
                found.refusal,
                Some(Refusal::Quadrature { .. } | Refusal::Cap { .. } | Refusal::Clock)
            );
            // Weights that are gone as soon as that are those of walkers which are stuck.
            let stuck = matches!(found.refusal, Some(Refusal::Weights { .. }))
                && found.chosen < HALF
                && steps.halvings == 0;
            let again = (long || stuck) && settings.step.is_none() && steps.halvings < HALVINGS;
            if again {
                state.walks.clear();
                state.doublings = 0;
                state.steps = Some(self.halved(steps));
                continue;
            }
            let chosen = found.curve.points[found.chosen];
            let tally = tally(&state.walks);
            let window = found.lengths[found.chosen];
            let action = self.action(steps, found.clock, variational);
            let observables = match found.refusal {
                Some(_) => Vec::new(),
                None => {
                    pure::finish(&drawn, settings, &state.walks, steps.stride, &action, window)?
                }
            };
            return Ok(Projection {
                variational,
                correction: found.refusal.is_none().then_some(Correction {
                    energy: chosen.correction,
                    standard_error: chosen.standard_error,
                    remainder: found.curve.falls[found.chosen].0.max(0.0),
                }),
                refusals: found.refusal.into_iter().collect(),
                effective_share: chosen.effective_share,
                acceptance: tally.acceptance(),
                step: steps.tau,
                effective_step: found.clock,
                beta: chosen.beta,
                quadrature: found.curve.quadrature[found.chosen],
                curve: found.curve.points,
                walkers: state.walks.len(),
                replicates: settings.replicates,
                observables,
                hidden: 0.0,
                guard: None,
                variates: None,
            });
        }
    }

    pub(super) fn judge(&self) -> Result<(), Refusal> {
        if contact::matters(self.system.hamiltonian, self.psi.sector()) {
            return Err(Refusal::Cusp);
        }
        if self.psi.has_kinks() {
            return Err(Refusal::Kinks);
        }
        let mut rng = stream(self.settings.seed, Purpose::Analysis, STREAMS - 1, 0);
        let mut mover = Mover::new(self.psi, self.system, Space::Line, 1.0);
        guide::judge(self.psi, self.system, &mut mover, &mut rng)
    }

    pub(super) fn refused(&self, variational: Variational, refusal: Refusal) -> Projection {
        Projection {
            variational,
            correction: None,
            refusals: vec![refusal],
            curve: Vec::new(),
            effective_share: f64::NAN,
            acceptance: f64::NAN,
            step: f64::NAN,
            effective_step: f64::NAN,
            beta: f64::NAN,
            quadrature: (f64::NAN, f64::NAN),
            walkers: self.walkers(),
            replicates: self.settings.replicates,
            observables: Vec::new(),
            hidden: 0.0,
            guard: None,
            variates: None,
        }
    }

    fn choose(&self, variational: Variational) -> Result<Steps, Refusal> {
        pilot::choose(self.psi, self.system, self.settings, variational.energy)
    }

    fn halved(&self, steps: Steps) -> Steps {
        let tau = 0.5 * steps.tau;
        let effective = pilot::effective(self.psi, self.system, self.settings, tau, steps.walls);
        // The same length of projection.
        let first = 2 * (steps.first as f64 * 0.5 * steps.effective / effective).round() as usize;
        Steps {
            tau,
            effective,
            first,
            stride: 2 * steps.stride,
            halvings: steps.halvings + 1,
            ..steps
        }
    }

    pub(super) fn action(&self, steps: Steps, clock: f64, variational: Variational) -> Action {
        Action { step: clock, origin: variational.energy, cap: 1.0 / steps.tau }
    }
}
