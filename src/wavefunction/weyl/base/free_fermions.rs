//! Free fermions: the determinants of the lowest sines of a box or of the lowest plane waves of a ring.
//!
//! In box angles `prod_spins (2/pi)^{n/2} 2^{n(n-1)/2} prod_i sin theta_i prod_{i<j} |cos theta_i - cos theta_j|`,
//! the eigenangles of Haar USp(2n); on a ring, for odd n, the circular unitary ensemble. Sampled like any other
//! determinant, with one uniform per particle: the tridiagonal matrices of R. Killip and I. Nenciu ("Matrix models for
//! circular ensembles", Int. Math. Res. Not. 2004, 2665) would take twice as many and inverse incomplete beta
//! functions, to save O(n) of a cost that the layers above dominate.

use super::determinants::Determinants;
use super::mean_field::Orbitals;
use super::series::Domain;
use super::{Base, BaseKind, Built};
use crate::system::{Geometry, Hamiltonian, Sector, System};
use crate::wavefunction::WavefunctionError;
use crate::wavefunction::weyl::place::Place;
use faer::Mat;

/// Free fermions have no settings.
pub(super) struct FreeFermions;

impl BaseKind for FreeFermions {
    fn exists_on(&self, geometry: &Geometry) -> Result<(), WavefunctionError> {
        match geometry {
            Geometry::Line => Err(WavefunctionError::NotOnGeometry {
                what: "the base FreeFermions, which nothing would hold together,".to_owned(),
                geometry: "Line",
            }),
            Geometry::Box { .. } | Geometry::Ring { .. } => Ok(()),
        }
    }

    fn knows_many(&self) -> bool {
        true
    }

    fn orbitals(&self, _: &Hamiltonian) -> Orbitals {
        Orbitals::HartreeFock
    }

    fn knows_density(&self) -> bool {
        false
    }

    fn build(
        &self,
        sector: Sector,
        place: Place,
        _: System,
    ) -> Result<Option<Built>, WavefunctionError> {
        let domain = match place.walls {
            Geometry::Ring { .. } => Domain::Circle,
            Geometry::Box { .. } | Geometry::Line => Domain::Walls,
        };
        Ok(Some((place, Base::Determinants(determinants(sector, domain)))))
    }
}

/// The closed shells of each spin.
pub fn determinants(sector: Sector, domain: Domain) -> Determinants {
    let unit = |n: usize| Mat::from_fn(n, n, |i, j| f64::from(u8::from(i == j)));
    let coefficients: Vec<Mat<f64>> = sector.spins().map(|s| unit(s.len())).collect();
    Determinants::new(sector, domain, &coefficients)
}
