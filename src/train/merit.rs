//! Which of the steps on offer is best, on fresh samples.

use crate::local_energy::{self, BatchId, Derivatives};
use crate::objective::Weights;
use crate::objective::ground_state::Merit;
use crate::optimise::Step;
use crate::system::System;
use crate::wavefunction::{Wavefunction, WavefunctionError};

/// Error bars by which the merit may rise in a step that is the only one offered.
const RISE: f64 = 2.0;

/// The best of the steps on fresh samples; none if all lead uphill.
///
/// Leaves the parameters of the last candidate in `psi`.
pub(super) fn choose(
    psi: &mut dyn Wavefunction,
    system: System,
    id: BatchId,
    samples: usize,
    steps: &[Step],
    weights: Weights,
) -> Result<Option<usize>, WavefunctionError> {
    let (mut best, values) = merits(psi, system, id, samples, steps, weights)?;
    let mut choice = None;
    for (index, value) in values.into_iter().enumerate() {
        if value < best {
            (best, choice) = (value, Some(index));
        }
    }
    Ok(choice)
}

/// What the merit of a step must stay below, and the merits of the steps, on fresh samples.
///
/// Leaves the parameters of the last candidate in `psi`.
pub(super) fn merits(
    psi: &mut dyn Wavefunction,
    system: System,
    id: BatchId,
    samples: usize,
    steps: &[Step],
    weights: Weights,
) -> Result<(f64, Vec<f64>), WavefunctionError> {
    let samples = samples.div_ceil(2);
    let start = psi.parameters().to_vec();
    let here = local_energy::draw(psi, system, id, samples, Derivatives::None);
    let merit = Merit::new(&here, weights, steps.len() > 1);
    let (now, error) = merit.of(&here, samples);
    // Steps of an optimiser that offers no choice are noisy by nature; small rises belong to them.
    let allowed = if steps.len() == 1 { now + RISE * error } else { now };
    let mut values = Vec::new();
    for step in steps {
        let candidate: Vec<f64> = start.iter().zip(&step.change).map(|(p, c)| p + c).collect();
        psi.set_parameters(&candidate)?;
        let there = local_energy::draw(psi, system, id, samples, Derivatives::None);
        values.push(merit.of(&there, samples).0);
    }
    Ok((allowed, values))
}
