//! Pair density and pair correlation of each pair of spins, as histograms.
//!
//! `rho_2(x, x') = < sum_{i≠j} delta(x - x_i) delta(x' - x_j) >` integrates to the number of ordered pairs; the
//! correlation is `g = rho_2 / (rho rho')`, 1 where particles do not know of each other.

use super::replicates::Replicates;
use super::{Axis, Bins, Observable, Quantity, Sample, Setup, SpinPair};
use crate::math::linalg::EigenFailure;

pub(super) const ABOUT: &str = "pair density and pair correlation g(x, x') of each pair of spins";

/// Bins over the window, in each direction.
const BINS: usize = 50;

struct PairDensity {
    bins: Bins,
    pairs: Vec<SpinPair>,
}

pub(super) fn build(setup: &Setup) -> Option<Box<dyn Observable>> {
    let pairs = setup.spin_pairs();
    (!pairs.is_empty()).then(|| {
        Box::new(PairDensity { bins: Bins::new(setup.window, BINS), pairs }) as Box<dyn Observable>
    })
}

/// Sums of one pair of spins: pairs, then both densities.
const SUMS: usize = BINS * BINS + 2 * BINS;

impl Observable for PairDensity {
    fn length(&self) -> usize {
        SUMS * self.pairs.len()
    }

    fn add(&self, sample: &Sample, sums: &mut [f64]) {
        let bin = |i: usize| self.bins.nearest(sample.x[i]);
        for (pair, sums) in self.pairs.iter().zip(sums.chunks_exact_mut(SUMS)) {
            pair.each(|i, j| sums[bin(i) * BINS + bin(j)] += 1.0);
            for i in pair.first.clone() {
                sums[BINS * BINS + bin(i)] += 1.0;
            }
            for j in pair.second.clone() {
                sums[BINS * BINS + BINS + bin(j)] += 1.0;
            }
        }
    }

    fn finish(&self, replicates: &Replicates) -> Result<Vec<Quantity>, EigenFailure> {
        let area = self.bins.width * self.bins.width;
        let mut out = vec![];
        for (p, pair) in self.pairs.iter().enumerate() {
            let own = p * SUMS..(p + 1) * SUMS;
            let density = replicates
                .linear(|m| m[own.clone()][..BINS * BINS].iter().map(|c| c / area).collect());
            let correlation = replicates.jackknife(|m| {
                let (pairs, densities) = m[own.clone()].split_at(BINS * BINS);
                let (first, second) = densities.split_at(BINS);
                (0..BINS * BINS)
                    .map(|k| {
                        let product = first[k / BINS] * second[k % BINS];
                        // Where no particle ever is, there is no correlation to speak of.
                        if product > 0.0 { pairs[k] / product } else { f64::NAN }
                    })
                    .collect()
            });
            let about = "ordered pairs per bohr², mean over each pair of bins";
            let g = "pair density over the product of the densities of each pair of bins";
            for (name, unit, about, values) in [
                ("pair_density", "1/bohr²", about, density),
                ("pair_correlation", "", g, correlation),
            ] {
                out.push(
                    Quantity::new(format!("{name}_{}", pair.name), unit, about, values)
                        .along(Axis::edges("x", "bohr", self.bins.edges()))
                        .along(Axis::edges("x'", "bohr", self.bins.edges())),
                );
            }
        }
        Ok(out)
    }
}
