//! When a training has settled.

use crate::local_energy::Batch;
use crate::math::statistics::Moments;
use crate::objective::robust::{CLIP, clip_range};
use serde::{Deserialize, Serialize};

/// When to stop before the last iteration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Stopping {
    /// When four iterations with a step have lowered neither the energy beyond its error nor the (clipped) variance by a
    /// twentieth, compared with the four before, or when six in a row found no step to take: for optimisers that choose
    /// among steps. Next to an eigenstate (a variance below 1e-7 of the squared kinetic energy) iterations without a step count as well.
    #[default]
    Plateau,
    /// Never.
    Never,
}

/// Why a training stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    /// The energy and its variance had settled.
    Plateau,
    /// All iterations were done.
    Iterations,
    /// No step on offer lowered what is minimised, many iterations in a row: the end of what the samples can tell, or a
    /// training that is stuck.
    NoStep,
}

impl StopReason {
    /// In words, after "training stopped because".
    pub fn words(self) -> &'static str {
        match self {
            StopReason::Plateau => "it had settled",
            StopReason::Iterations => "all iterations were done",
            StopReason::NoStep => "no step lowered the energy or its variance any more",
        }
    }
}

/// Iterations in a row without a step after which a training stops.
pub(super) const STUCK: usize = 6;

/// Iterations that are compared with as many before.
const PLATEAU: usize = 4;
/// Share of the variance that a window must leave behind to count as progress.
const PLATEAU_VARIANCE: f64 = 0.95;

/// Clipped moments of the last iterations, as many as are compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct History(Vec<Moments>);

impl History {
    pub(super) fn push(&mut self, batch: &Batch) {
        if self.0.len() == 2 * PLATEAU {
            self.0.remove(0);
        }
        let (low, high) = clip_range(&batch.local_energy, CLIP);
        let clipped: Vec<f64> = batch.local_energy.iter().map(|e| e.clamp(low, high)).collect();
        self.0.push(Moments::weighted(&clipped, &batch.weight));
    }

    pub(super) fn is_flat(&self) -> bool {
        let Some(start) = self.0.len().checked_sub(2 * PLATEAU) else { return false };
        let (before, after) = self.0[start..].split_at(PLATEAU);
        let mean = |window: &[Moments], of: fn(&Moments) -> f64| {
            window.iter().map(of).sum::<f64>() / PLATEAU as f64
        };
        let variance = |window| mean(window, Moments::variance);
        let energy = |window| mean(window, Moments::mean);
        let error =
            mean(after, Moments::standard_error).hypot(mean(before, Moments::standard_error));
        variance(after) > PLATEAU_VARIANCE * variance(before)
            && energy(after) > energy(before) - error / (PLATEAU as f64).sqrt()
    }
}
