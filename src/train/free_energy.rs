//! Training of a Gibbs ensemble: its free energy falls as an energy does.

use super::Schedule;
use super::ensemble::{Drawn, EnsembleObjective, Left, Proposal};
use crate::local_energy::{Batch, BatchId};
use crate::math::statistics::Moments;
use crate::objective::EnsembleError;
use crate::objective::free_energy::{affordable, draw};
use crate::objective::ground_state::{Merit, relative_variance};
use crate::optimise::{Landscape, Optimiser, Pace};
use crate::sampling::Purpose;
use crate::system::System;
use crate::wavefunction::WavefunctionError;
use crate::wavefunction::weyl::ensemble::GibbsStates;

/// The free energy of an ensemble.
pub struct FreeEnergy<'a> {
    /// The ensemble.
    pub states: GibbsStates,
    system: System<'a>,
    optimiser: Box<dyn Optimiser>,
}

impl<'a> FreeEnergy<'a> {
    /// The objective of an ensemble; the optimiser takes local free energies for local energies.
    pub fn new(states: GibbsStates, system: System<'a>, optimiser: Box<dyn Optimiser>) -> Self {
        FreeEnergy { states, system, optimiser }
    }

    /// Whether there is nothing to gain where the local free energy has such moments.
    fn is_settled(&self, moments: &Moments) -> bool {
        let kt = self.states.kt;
        self.states.parameters().is_empty() || moments.variance() < 2.0 * NEGLIGIBLE * kt * kt
    }
}

/// The merit of an energy, with local free energies in place of local energies, on so many samples of its own.
pub struct FreeMerit {
    merit: Merit,
    trial: BatchId,
    samples: usize,
}

/// `Var(F_L) / 2 kT`, by which the free energy is about too high, as a share of the temperature, below which training has
/// nothing to gain.
const NEGLIGIBLE: f64 = 1e-6;

/// A landscape that nobody looks at.
struct Nowhere;

impl Landscape for Nowhere {
    fn at(&mut self, _: &[f64]) -> Option<Batch> {
        None
    }
}

/// A batch, and what it says.
fn drawn(batch: Batch, moments: Moments, left: Left) -> Drawn<Batch> {
    Drawn {
        value: (moments.mean(), moments.standard_error()),
        variance: moments.variance(),
        // Where nothing is left no step follows whose progress would be asked for.
        progress: if left == Left::Nothing { 0.0 } else { relative_variance(&batch) },
        rejected: batch.rejected,
        faults: batch.faults.clone(),
        left,
        samples: batch,
    }
}

impl EnsembleObjective for FreeEnergy<'_> {
    type Samples = Batch;
    type Measure = FreeMerit;
    const STUCK: usize = 3;

    fn parameters(&self) -> &[f64] {
        self.states.parameters()
    }

    fn set_parameters(&mut self, values: &[f64]) -> Result<(), WavefunctionError> {
        self.states.set_parameters(values)
    }

    fn memory(&self) -> Vec<f64> {
        self.optimiser.memory()
    }

    fn recall(&mut self, memory: &[f64]) -> bool {
        let parameters = self.states.parameters().len();
        self.optimiser.recall(memory, parameters)
    }

    fn draw(&self, schedule: &Schedule, iteration: usize) -> Result<Drawn<Batch>, EnsembleError> {
        let samples = affordable(&self.states, schedule.samples);
        let id = schedule.batch(iteration, self.optimiser.tails());
        if iteration == 0 {
            // Whether there is anything to gain costs less than the derivatives.
            let plain = BatchId { tails: 0.0, purpose: Purpose::Selection, ..id };
            let first = draw(&self.states, self.system, plain, samples, false).batch;
            let moments = Moments::of(&first.local_energy);
            if self.is_settled(&moments) {
                return Ok(drawn(first, moments, Left::Nothing));
            }
        }
        let batch = draw(&self.states, self.system, id, samples, true).batch;
        if batch.samples() * 2 < samples {
            return Err(EnsembleError::Faults { good: batch.samples(), samples });
        }
        let moments = Moments::weighted(&batch.local_energy, &batch.weight);
        let left = if self.is_settled(&moments) { Left::Little } else { Left::More };
        Ok(drawn(batch, moments, left))
    }

    fn propose(
        &mut self,
        batch: Batch,
        schedule: &Schedule,
        iteration: usize,
    ) -> Result<Proposal<FreeMerit>, EnsembleError> {
        let pace = Pace {
            progress: iteration as f64 / (schedule.iterations - 1).max(1) as f64,
            caution: 1.0,
        };
        let steps = self.optimiser.steps(&batch, pace, &mut Nowhere)?;
        let id = schedule.batch(iteration, self.optimiser.tails());
        let measure = FreeMerit {
            merit: Merit::new(&batch, self.optimiser.weights(), true),
            trial: BatchId { purpose: Purpose::Trial, ..id },
            samples: affordable(&self.states, schedule.samples).div_ceil(2),
        };
        let gradient_norm = steps.first().map_or(f64::NAN, |s| s.gradient_norm);
        Ok(Proposal { measure, gradient_norm, steps: steps.into_iter().enumerate().collect() })
    }

    fn merit(&self, measure: &FreeMerit) -> f64 {
        let FreeMerit { merit, trial, samples } = measure;
        let batch = draw(&self.states, self.system, *trial, *samples, false).batch;
        merit.of(&batch, *samples).0
    }

    fn took(&mut self, choice: Option<usize>) {
        self.optimiser.took(choice);
    }
}
