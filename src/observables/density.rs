//! One-body density of each spin as a histogram: the unbiased mean over each bin, without any smoothing.
//!
//! The density *at points*, with smaller error bars, comes with the [density matrix](super::density_matrix).

use super::replicates::Replicates;
use super::{Axis, Bins, Observable, Quantity, Sample, Setup};
use crate::math::linalg::EigenFailure;
use std::ops::Range;

pub(super) const ABOUT: &str = "one-body density of each spin on bins";

/// Bins over the window.
pub const BINS: usize = 100;

struct Density {
    bins: Bins,
    spins: Vec<(&'static str, Range<usize>)>,
}

pub(super) fn build(setup: &Setup) -> Option<Box<dyn Observable>> {
    Some(Box::new(Density { bins: Bins::new(setup.window, BINS), spins: setup.spins().collect() }))
}

impl Observable for Density {
    fn length(&self) -> usize {
        BINS * self.spins.len()
    }

    fn add(&self, sample: &Sample, sums: &mut [f64]) {
        for ((_, range), sums) in self.spins.iter().zip(sums.chunks_exact_mut(BINS)) {
            for &x in &sample.x[range.clone()] {
                sums[self.bins.nearest(x)] += 1.0;
            }
        }
    }

    fn finish(&self, replicates: &Replicates) -> Result<Vec<Quantity>, EigenFailure> {
        let quantity =
            |(s, (name, _)): (usize, &(&str, Range<usize>))| {
                let density = replicates.linear(|m| {
                    m[s * BINS..(s + 1) * BINS].iter().map(|c| c / self.bins.width).collect()
                });
                let about = "particles per bohr, mean over each bin";
                Quantity::new(format!("density_{name}"), "1/bohr", about, density)
                    .along(Axis::edges("x", "bohr", self.bins.edges()))
            };
        Ok(self.spins.iter().enumerate().map(quantity).collect())
    }
}
