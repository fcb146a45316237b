//! Where a projection stands, as a checkpoint keeps it.

use super::projection::Variational;
use super::walker::Tally;
use serde::{Deserialize, Serialize};

/// Steps of a projection, as they were chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Steps {
    pub(super) tau: f64,
    pub(super) effective: f64,
    pub(super) walls: bool,
    /// Steps of the first length of projection.
    pub(super) first: usize,
    /// Steps between places that are kept.
    pub(super) stride: usize,
    /// How often the step was halved after a whole projection.
    pub(super) halvings: usize,
}

/// A walk so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Walk {
    /// Chance by which any sample would have been its start over that of the one that is.
    pub(super) weight: f64,
    /// Two walks from the start: as steps are reversible, the one backwards is a path to it.
    pub(super) arms: [Arm; 2],
    pub(super) tally: Tally,
}

/// Half of a walk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arm {
    pub(super) x: Vec<f64>,
    pub(super) energies: Vec<f64>,
    /// Places of every `stride`-th step.
    pub(super) places: Vec<f64>,
}

impl Walk {
    /// Local energies along the path through the start, as far as `until` steps to either side.
    pub(super) fn energies(&self, until: usize) -> Vec<f64> {
        let until = until.min(self.arms[0].energies.len().saturating_sub(1));
        let [past, future] = self.arms.each_ref().map(|arm| &arm.energies[..=until]);
        past.iter().rev().chain(&future[1..]).copied().collect()
    }

    /// Number of the step on the path, and the place there, of those that were kept.
    pub(super) fn places(&self, stride: usize) -> impl Iterator<Item = (usize, &[f64])> {
        let [past, future] = &self.arms;
        let start = past.energies.len().saturating_sub(1);
        let n = past.x.len().max(1);
        let before = past.places.chunks_exact(n).enumerate().skip(1);
        let after = future.places.chunks_exact(n).enumerate();
        before
            .map(move |(q, x)| (start - q * stride, x))
            .chain(after.map(move |(q, x)| (start + q * stride, x)))
    }
}

/// Where a projection stands: everything that the rest depends on besides guide and settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub(super) variational: Option<Variational>,
    pub(super) steps: Option<Steps>,
    /// How often the length was doubled.
    pub(super) doublings: usize,
    /// How often as many walkers as at first were added, and once.
    pub(super) blocks: usize,
    pub(super) walks: Vec<Walk>,
    /// Share of a guard without nodes in the guide.
    pub(super) guard: Option<f64>,
}

/// What became of all moves.
pub(super) fn tally(walks: &[Walk]) -> Tally {
    walks.iter().fold(Tally::default(), |all, w| all.and(w.tally.times(w.weight)))
}
