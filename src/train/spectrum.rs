//! Training of the lowest states together.

use super::Schedule;
use super::ensemble::{Drawn, EnsembleObjective, Left, Proposal};
use crate::math::statistics::median;
use crate::objective::EnsembleError;
use crate::objective::mixture::{MixtureId, draw};
use crate::objective::robust::{unit, variance_weight};
use crate::objective::spectrum::{Turned, samples_of_each};
use crate::optimise::damping::Damping;
use crate::optimise::spectrum::Equations;
use crate::optimise::{RayleighGaussNewtonSettings, Step};
use crate::sampling::Purpose;
use crate::system::System;
use crate::wavefunction::weyl::ensemble::LowestStates;
use crate::wavefunction::{Wavefunction, WavefunctionError};

/// The weighted sum of the lowest energies, with that of their variances.
pub struct Spectrum<'a> {
    /// The states.
    pub states: LowestStates,
    system: System<'a>,
    /// Weights that sum to one.
    weights: &'a [f64],
    settings: RayleighGaussNewtonSettings,
    damping: Damping,
}

impl<'a> Spectrum<'a> {
    /// The objective of states with `weights` that sum to one.
    pub fn new(
        states: LowestStates,
        system: System<'a>,
        weights: &'a [f64],
        settings: RayleighGaussNewtonSettings,
    ) -> Self {
        Spectrum { states, system, weights, settings, damping: Damping(1.0) }
    }
}

/// Samples of all states, their kinetic energy, and the sum of their variances.
pub struct Weighed {
    turned: Turned,
    kinetic: f64,
    spread: f64,
}

/// The sum of energies and robust variances on samples of their own.
pub struct Sums {
    trial: MixtureId,
    each: usize,
    variance: f64,
    width: f64,
}

/// Summed variance, in units of the kinetic energy squared, below which nothing is left to learn: its square root is the
/// scale of an energy's error only where a gap is as small.
const EIGENSTATES: f64 = 1e-11;

impl Spectrum<'_> {
    fn id(&self, schedule: &Schedule, iteration: usize) -> MixtureId {
        MixtureId {
            sampling: schedule.sampling,
            seed: schedule.seed,
            purpose: Purpose::Training,
            number: iteration as u64,
            tails: self.settings.tails,
        }
    }

    fn sum(&self, of_states: &[f64]) -> f64 {
        self.weights.iter().zip(of_states).map(|(w, v)| w * v).sum()
    }
}

impl EnsembleObjective for Spectrum<'_> {
    type Samples = Weighed;
    type Measure = Sums;
    const STUCK: usize = 4;

    fn parameters(&self) -> &[f64] {
        self.states.parameters()
    }

    fn set_parameters(&mut self, values: &[f64]) -> Result<(), WavefunctionError> {
        self.states.set_parameters(values)
    }

    fn memory(&self) -> Vec<f64> {
        vec![self.damping.0]
    }

    fn recall(&mut self, memory: &[f64]) -> bool {
        let [damping] = *memory else { return false };
        self.damping = Damping(damping);
        damping.is_finite()
    }

    fn draw(&self, schedule: &Schedule, iteration: usize) -> Result<Drawn<Weighed>, EnsembleError> {
        let psis = &self.states.states;
        let each = samples_of_each(schedule.samples, psis.len());
        let rows = draw(psis, self.system, self.id(schedule, iteration), each, true);
        let turned = Turned::new(rows).map_err(EnsembleError::Dependent)?;
        let kinetic = turned.kinetic(self.weights);
        let spread = self.sum(&turned.variances());
        let settled = self.parameters().is_empty() || spread < EIGENSTATES * kinetic * kinetic;
        let error = (spread / turned.rows.samples().max(1) as f64).sqrt();
        Ok(Drawn {
            value: (self.sum(&turned.energies), error),
            variance: spread,
            progress: spread,
            rejected: turned.rows.rejected,
            faults: turned.rows.faults.clone(),
            left: if settled { Left::Nothing } else { Left::More },
            samples: Weighed { turned, kinetic, spread },
        })
    }

    fn propose(
        &mut self,
        samples: Weighed,
        schedule: &Schedule,
        iteration: usize,
    ) -> Result<Proposal<Sums>, EnsembleError> {
        let Weighed { turned, kinetic, spread } = samples;
        let settings = &self.settings;
        let mut sizes: Vec<f64> = turned.residuals.iter().map(|r| r.abs()).collect();
        let middle = median(&mut sizes);
        let width = settings.clip * middle.max(0.2 * spread.sqrt());
        let unit = unit(kinetic, spread);
        let variance = variance_weight(settings.variance, unit, spread, spread.sqrt().max(middle));
        let roughness = self.states.states[0].roughness();
        let equations =
            Equations::new(turned, self.weights, variance, width, &roughness, settings, unit);
        let gradient_norm = 2.0 * equations.force.iter().map(|f| f * f).sum::<f64>().sqrt();
        let step = |(number, strength): (usize, f64)| {
            let (downhill, step_norm) = equations.solve(strength, settings.trust_radius)?;
            let change = downhill.iter().map(|c| -c).collect();
            let tau = settings.tau / (strength * unit);
            Some((number, Step { change, gradient_norm, step_norm, tau }))
        };
        let steps = self.damping.tried().into_iter().enumerate().filter_map(step).collect();
        let trial = MixtureId { purpose: Purpose::Trial, ..self.id(schedule, iteration) };
        let each = samples_of_each(schedule.samples, self.states.states.len()).div_ceil(2);
        Ok(Proposal { measure: Sums { trial, each, variance, width }, gradient_norm, steps })
    }

    fn merit(&self, measure: &Sums) -> f64 {
        let Sums { trial, each, variance, width } = *measure;
        let psis = &self.states.states;
        let rows = draw(psis, self.system, trial, each, false);
        let enough = rows.samples() as f64 > 0.9 * (psis.len() * each) as f64;
        match Turned::new(rows) {
            Ok(turned) if enough => turned.merit(self.weights, variance, width),
            _ => f64::INFINITY,
        }
    }

    fn took(&mut self, choice: Option<usize>) {
        self.damping.took(choice);
    }
}
