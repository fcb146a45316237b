//! Moments of the positions, for each spin.

use super::replicates::Replicates;
use super::{Observable, Quantity, Sample, Setup};
use crate::math::linalg::EigenFailure;
use crate::system::Geometry;
use std::ops::Range;

pub(super) const ABOUT: &str = "mean and mean square of the position of a particle, for each spin";

struct Position {
    spins: Vec<(&'static str, Range<usize>)>,
}

pub(super) fn build(setup: &Setup) -> Option<Box<dyn Observable>> {
    // The mean of an angle depends on where the circle is cut.
    match setup.system.geometry {
        Geometry::Ring { .. } => None,
        _ => Some(Box::new(Position { spins: setup.spins().collect() })),
    }
}

impl Observable for Position {
    fn length(&self) -> usize {
        2 * self.spins.len()
    }

    fn add(&self, sample: &Sample, sums: &mut [f64]) {
        for ((_, range), sums) in self.spins.iter().zip(sums.chunks_exact_mut(2)) {
            let n = range.len() as f64;
            for x in &sample.x[range.clone()] {
                sums[0] += x / n;
                sums[1] += x * x / n;
            }
        }
    }

    fn finish(&self, replicates: &Replicates) -> Result<Vec<Quantity>, EigenFailure> {
        let means = replicates.linear(<[f64]>::to_vec);
        let widths = replicates
            .jackknife(|m| m.chunks_exact(2).map(|m| (m[1] - m[0] * m[0]).sqrt()).collect());
        let mut out = vec![];
        for (s, (name, _)) in self.spins.iter().enumerate() {
            let mean = format!("mean_position_{name}");
            let square = format!("mean_square_position_{name}");
            let width = format!("width_{name}");
            out.extend([
                Quantity::new(mean, "bohr", "mean of x over the particles", means.at(2 * s)),
                Quantity::new(
                    square,
                    "bohr²",
                    "mean of x² over the particles",
                    means.at(2 * s + 1),
                ),
                Quantity::new(width, "bohr", "standard deviation of x", widths.at(s)),
            ]);
        }
        Ok(out)
    }
}
