//! Which of the steps on offer is best, on fresh samples.

use crate::local_energy::{self, Batch, BatchId, Derivatives};
use crate::math::statistics::Moments;
use crate::optimise::{Step, clip_range};
use crate::system::System;
use crate::wavefunction::{Wavefunction, WavefunctionError};

/// Share of good samples below which a state is not compared.
const GOOD_SHARE: f64 = 0.9;

/// What is minimised, on given samples: the energy plus a share of the variance, both robust against rare
/// huge local energies.
///
/// Energies far below count as clipped: they promise what is not there. Those far above count in full where steps are chosen among, or a step
/// that sends a few samples up would pass for a good one.
///
/// All candidates are compared through the same uniforms and the same clipping, so that their differences are
/// much more precise than the energies.
struct Merit {
    middle: f64,
    width: f64,
    /// Highest deviation that counts.
    highest: f64,
    variance_weight: f64,
}

/// Median absolute deviations beyond which a local energy counts linearly.
pub(super) const MERIT_CLIP: f64 = 30.0;
/// Error bars by which the merit may rise in a step that is the only one offered.
const RISE: f64 = 2.0;

impl Merit {
    fn new(batch: &Batch, variance_weight: f64, choosy: bool) -> Self {
        let (low, high) = clip_range(&batch.local_energy, MERIT_CLIP);
        let width = 0.5 * (high - low);
        let highest = if choosy { f64::INFINITY } else { width };
        Merit { middle: 0.5 * (low + high), width, highest, variance_weight }
    }

    /// The merit of the state of a batch and its standard error; infinite where samples are missing.
    fn of(&self, batch: &Batch, samples: usize) -> (f64, f64) {
        if (batch.samples() as f64) < GOOD_SHARE * samples as f64 {
            return (f64::INFINITY, 0.0);
        }
        let deviations: Vec<f64> = batch.local_energy.iter().map(|e| e - self.middle).collect();
        let clipped: Vec<f64> =
            deviations.iter().map(|d| d.clamp(-self.width, self.highest)).collect();
        let moments = Moments::weighted(&clipped, &batch.weight);
        let mean = moments.mean();
        // Huber's loss about the mean.
        let loss = |d: f64| {
            let r = (d - mean).abs();
            if r <= self.width { r * r } else { self.width * (2.0 * r - self.width) }
        };
        let variance = deviations.iter().map(|&d| loss(d)).sum::<f64>() / deviations.len() as f64;
        (mean + 0.5 * self.variance_weight * variance, moments.standard_error())
    }
}

/// The best of the steps on fresh samples; none if all lead uphill.
///
/// Leaves the parameters of the last candidate in `psi`.
pub(super) fn choose(
    psi: &mut dyn Wavefunction,
    system: System,
    id: BatchId,
    samples: usize,
    steps: &[Step],
    variance_weight: f64,
) -> Result<Option<usize>, WavefunctionError> {
    let (mut best, values) = merits(psi, system, id, samples, steps, variance_weight)?;
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
    variance_weight: f64,
) -> Result<(f64, Vec<f64>), WavefunctionError> {
    let samples = samples.div_ceil(2);
    let start = psi.parameters().to_vec();
    let here = local_energy::draw(psi, system, id, samples, Derivatives::None);
    let merit = Merit::new(&here, variance_weight, steps.len() > 1);
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
