//! Distribution of the distance of two particles, for each pair of spins.

use super::replicates::Replicates;
use super::{Axis, Bins, Observable, Quantity, Sample, Setup, SpinPair};
use crate::math::linalg::EigenFailure;
use crate::system::Geometry;

pub(super) const ABOUT: &str =
    "distribution of the distance of two particles of each pair of spins";

const BINS: usize = 80;

struct Distance {
    geometry: Geometry,
    bins: Bins,
    pairs: Vec<SpinPair>,
}

pub(super) fn build(setup: &Setup) -> Option<Box<dyn Observable>> {
    let pairs = setup.spin_pairs();
    let (a, b) = setup.window;
    // Some room beyond the pilot samples; the few pairs that are further apart are outside the histogram.
    let end = (1.3 * setup.extent).min(b - a);
    (!pairs.is_empty() && end > 0.0).then(|| {
        let geometry = *setup.system.geometry;
        Box::new(Distance { geometry, bins: Bins::new((0.0, end), BINS), pairs })
            as Box<dyn Observable>
    })
}

impl Observable for Distance {
    fn length(&self) -> usize {
        (BINS + 1) * self.pairs.len()
    }

    fn add(&self, sample: &Sample, sums: &mut [f64]) {
        for (pair, sums) in self.pairs.iter().zip(sums.chunks_exact_mut(BINS + 1)) {
            let share = 1.0 / pair.pairs() as f64;
            pair.each(|i, j| {
                let d = self.geometry.distance(sample.x[i], sample.x[j]).abs();
                if let Some(bin) = self.bins.find(d) {
                    sums[bin] += share;
                }
                sums[BINS] += d * share;
            });
        }
    }

    fn finish(&self, replicates: &Replicates) -> Result<Vec<Quantity>, EigenFailure> {
        let mut out = vec![];
        for (p, pair) in self.pairs.iter().enumerate() {
            let own = p * (BINS + 1);
            let density = replicates
                .linear(|m| m[own..own + BINS].iter().map(|c| c / self.bins.width).collect());
            let about = "probability density of the distance of a pair, mean over each bin";
            out.push(
                Quantity::new(format!("distance_{}", pair.name), "1/bohr", about, density)
                    .along(Axis::edges("distance", "bohr", self.bins.edges())),
            );
            let mean = replicates.linear(|m| vec![m[own + BINS]]);
            let name = format!("mean_distance_{}", pair.name);
            out.push(Quantity::new(name, "bohr", "mean distance of a pair", mean));
        }
        Ok(out)
    }
}
