//! Distribution of the local energy: a single spike for an eigenstate.

use super::replicates::Replicates;
use super::{Axis, Bins, Observable, Quantity, Sample, Setup};
use crate::math::linalg::EigenFailure;

pub(super) const ABOUT: &str = "distribution of the local energy";

const BINS: usize = 60;
/// Half the range of the histogram in median absolute deviations.
const RANGE: f64 = 8.0;

struct LocalEnergy {
    bins: Bins,
}

pub(super) fn build(setup: &Setup) -> Option<Box<dyn Observable>> {
    let (middle, scatter) = setup.local_energy;
    // An exact eigenstate has rounding errors for a scatter.
    let half = (RANGE * scatter).max(1e-12 * middle.abs().max(1.0));
    Some(Box::new(LocalEnergy { bins: Bins::new((middle - half, middle + half), BINS) }))
}

impl Observable for LocalEnergy {
    fn length(&self) -> usize {
        BINS + 2
    }

    fn add(&self, sample: &Sample, sums: &mut [f64]) {
        let low = sample.local_energy < self.bins.start;
        let outside = if low { BINS } else { BINS + 1 };
        sums[self.bins.find(sample.local_energy).unwrap_or(outside)] += 1.0;
    }

    fn finish(&self, replicates: &Replicates) -> Result<Vec<Quantity>, EigenFailure> {
        let width = self.bins.width;
        let density = replicates.linear(|m| m[..BINS].iter().map(|p| p / width).collect());
        let outside = replicates.linear(|m| m[BINS..].to_vec());
        Ok(vec![
            Quantity::new(
                "local_energy_distribution",
                "1/Ha",
                "probability density of the local energy",
                density,
            )
            .along(Axis::edges("local energy", "Ha", self.bins.edges())),
            Quantity::new(
                "local_energy_below",
                "",
                "share of samples with a local energy below the histogram",
                outside.at(0),
            ),
            Quantity::new(
                "local_energy_above",
                "",
                "share of samples with a local energy above the histogram",
                outside.at(1),
            ),
        ])
    }
}
