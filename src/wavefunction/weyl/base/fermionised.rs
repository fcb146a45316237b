//! The state of all particles as if they had equal spins.

use super::gaps::trapped;
use super::mean_field;
use super::{Base, BaseKind, Built};
use crate::system::{Sector, System};
use crate::wavefunction::WavefunctionError;
use crate::wavefunction::weyl::place::Place;

/// The best base of equal spins that needs no measuring.
pub(super) struct Fermionised;

impl BaseKind for Fermionised {
    fn build(
        &self,
        sector: Sector,
        place: Place,
        system: System,
    ) -> Result<Option<Built>, WavefunctionError> {
        if let Some(built) = trapped(sector, place, system) {
            return Ok(Some(built));
        }
        let orbitals = self.orbitals(system.hamiltonian);
        let state = mean_field::determinants(orbitals, sector, system)?;
        Ok(Some((place, Base::Determinants(state))))
    }
}
