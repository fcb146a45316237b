//! The final estimate of an ensemble of states on fresh samples, set after set, whatever is estimated.

use crate::local_energy::Fault;
use crate::objective::EnsembleError;
use crate::sampling::Sampling;
use crate::system::{Geometry, Sector};
use crate::train::Schedule;
use crate::wavefunction::Wavefunction;
use crate::wavefunction::weyl::Weyl;
use std::ops::ControlFlow;

/// Independent sets where points are random: their scatter is then the error bar as well.
const RANDOM_SETS: usize = 16;

/// Independent sets of samples behind the error bars.
pub(super) fn sets(schedule: &Schedule) -> usize {
    match schedule.sampling {
        Sampling::QuasiRandom => schedule.scramblings,
        Sampling::Random => RANDOM_SETS,
    }
}

/// Samples without a sensible local energy that are kept.
const KEPT: usize = 64;

/// How many samples a set has, or all have.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) samples: usize,
    pub(super) rejected: usize,
    pub(super) faults: Vec<Fault>,
}

/// Draws set after set, given its number; `watch` may end it between them.
///
/// # Errors
/// Those of `draw`, and [`EnsembleError::Interrupted`].
pub(super) fn over_sets(
    sets: usize,
    mut watch: impl FnMut() -> ControlFlow<()>,
    mut draw: impl FnMut(u64) -> Result<Tally, EnsembleError>,
) -> Result<Tally, EnsembleError> {
    let mut all = Tally::default();
    for set in 0..sets {
        let Tally { samples, rejected, faults } = draw(set as u64)?;
        all.samples += samples;
        all.rejected += rejected;
        all.faults.extend(faults);
        all.faults.truncate(KEPT);
        if watch().is_break() {
            return Err(EnsembleError::Interrupted);
        }
    }
    Ok(all)
}

/// Sums over the particles in every bin, by spin: `width` numbers each.
pub(super) struct Bars {
    sector: Sector,
    left: f64,
    right: f64,
    bins: usize,
    width: usize,
    sums: [Vec<f64>; 2],
}

impl Bars {
    /// Empty ones over the interval of a state.
    pub(super) fn new(psi: &Weyl, geometry: &Geometry, bins: usize, width: usize) -> Self {
        let (left, right) = psi.interval(geometry);
        let sums = [vec![0.0; bins * width], vec![0.0; bins * width]];
        Bars { sector: psi.sector(), left, right, bins, width, sums }
    }

    /// Edges of the bins.
    pub(super) fn edges(&self) -> Vec<f64> {
        let Bars { left, right, bins, .. } = *self;
        (0..=bins).map(|b| left + (right - left) * b as f64 / bins as f64).collect()
    }

    /// Adds to the bins of the particles of a configuration.
    pub(super) fn add(&mut self, x: &[f64], add: impl Fn(&mut [f64])) {
        let Bars { left, right, bins, width, .. } = *self;
        for (spin, range) in self.sector.spins().enumerate() {
            let spin = if self.sector.up == 0 { 1 } else { spin };
            for &x in &x[range] {
                let bin = (x - left) / (right - left) * bins as f64;
                if bin >= 0.0 && (bin as usize) < bins {
                    add(&mut self.sums[spin][bin as usize * width..][..width]);
                }
            }
        }
    }

    /// Densities of so many samples, in particles per bohr: `of` makes one from the sums of a bin.
    pub(super) fn densities(&self, samples: usize, of: impl Fn(&[f64]) -> f64) -> [Vec<f64>; 2] {
        let width = (self.right - self.left) / self.bins as f64;
        let one = |spin: usize| -> Vec<f64> {
            self.sums[spin]
                .chunks_exact(self.width)
                .map(|m| of(m) / (samples as f64 * width))
                .collect()
        };
        [one(0), one(1)]
    }
}
