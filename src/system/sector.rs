//! How many fermions of each spin.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Numbers of spin-up and spin-down fermions.
///
/// The Hamiltonian has no spin, so both numbers are conserved and particles of opposite spin are
/// distinguishable. `down = 0` is the spin-polarised case. Configurations list the spin-up coordinates
/// first, then the spin-down ones, each sorted ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sector {
    /// Number of spin-up fermions.
    pub up: usize,
    /// Number of spin-down fermions.
    #[serde(default)]
    pub down: usize,
}

impl Sector {
    /// Total number of particles.
    pub fn particles(&self) -> usize {
        self.up + self.down
    }

    /// The sector with the spins exchanged.
    pub fn exchanged(&self) -> Self {
        Sector { up: self.down, down: self.up }
    }

    /// Index ranges of the spins that have particles, spin up first.
    pub fn spins(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        [0..self.up, self.up..self.up + self.down].into_iter().filter(|r| !r.is_empty())
    }

    /// Sorts the coordinates of each spin ascending: the representative in the fundamental domain.
    pub fn sort(&self, x: &mut [f64]) {
        for spin in self.spins() {
            x[spin].sort_by(f64::total_cmp);
        }
    }
}
