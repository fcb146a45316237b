//! Base states: normalised on the fundamental domain of the angles, with exact samplers.

pub mod determinants;
pub mod free_fermions;
pub mod mean_field;
pub mod series;

use super::super::WavefunctionError;
use crate::system::{Geometry, Hamiltonian, Sector, System};
use determinants::Determinants;
pub use mean_field::{MeanFieldSettings, Orbitals};
use serde::{Deserialize, Serialize};
use series::Domain;

/// The base of a flow and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum BaseSettings {
    /// Determinants of mean-field orbitals.
    MeanField(MeanFieldSettings),
    /// Determinants of free fermions: in a box or on a ring.
    FreeFermions,
}

impl Default for BaseSettings {
    fn default() -> Self {
        BaseSettings::MeanField(MeanFieldSettings::default())
    }
}

impl BaseSettings {
    /// Whether the base exists on a geometry.
    ///
    /// # Errors
    /// [`WavefunctionError::NotOnGeometry`] if not.
    pub fn exists_on(&self, geometry: &Geometry) -> Result<(), WavefunctionError> {
        match (self, geometry) {
            (BaseSettings::FreeFermions, Geometry::Line) => Err(WavefunctionError::NotOnGeometry {
                what: "the base FreeFermions, which nothing would hold together,".to_owned(),
                geometry: "Line",
            }),
            _ => Ok(()),
        }
    }

    /// The mean field that goes with the base: its orbitals, or Hartree–Fock.
    pub fn orbitals(&self, hamiltonian: &Hamiltonian) -> Orbitals {
        match self {
            BaseSettings::MeanField(settings) => {
                settings.orbitals.unwrap_or_else(|| Orbitals::for_system(hamiltonian))
            }
            BaseSettings::FreeFermions => Orbitals::HartreeFock,
        }
    }

    /// Builds the base of a system in a box or on a ring.
    ///
    /// # Errors
    /// See [`WavefunctionError`].
    pub fn build(&self, sector: Sector, system: System) -> Result<Determinants, WavefunctionError> {
        let domain = match system.geometry {
            Geometry::Ring { .. } => Domain::Circle,
            Geometry::Box { .. } | Geometry::Line => Domain::Walls,
        };
        Ok(match self {
            BaseSettings::MeanField(settings) => {
                let orbitals =
                    settings.orbitals.unwrap_or_else(|| Orbitals::for_system(system.hamiltonian));
                mean_field::determinants(orbitals, sector, system)?
            }
            BaseSettings::FreeFermions => free_fermions::determinants(sector, domain),
        })
    }
}
