//! Free fermions: the determinants of the lowest sines of a box or of the lowest plane waves of a ring.
//!
//! In box angles `prod_spins (2/pi)^{n/2} 2^{n(n-1)/2} prod_i sin theta_i prod_{i<j} |cos theta_i - cos theta_j|`,
//! the eigenangles of Haar USp(2n); on a ring, for odd n, the circular unitary ensemble. Sampled like any other
//! determinant, with one uniform per particle: the tridiagonal matrices of R. Killip and I. Nenciu ("Matrix models for
//! circular ensembles", Int. Math. Res. Not. 2004, 2665) would take twice as many and inverse incomplete beta
//! functions, to save O(n) of a cost that the layers above dominate.

use super::determinants::Determinants;
use super::series::Domain;
use crate::system::Sector;
use faer::Mat;

/// The closed shells of each spin.
pub fn determinants(sector: Sector, domain: Domain) -> Determinants {
    let unit = |n: usize| Mat::from_fn(n, n, |i, j| f64::from(u8::from(i == j)));
    let coefficients: Vec<Mat<f64>> = sector.spins().map(|s| unit(s.len())).collect();
    Determinants::new(sector, domain, &coefficients)
}
