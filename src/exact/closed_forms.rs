//! Hamiltonians whose spectrum is known in closed form.

use crate::system::{External, Geometry, Hamiltonian, Interaction, Sector};
use std::f64::consts::PI;

/// A ground-state energy that needs no computation.
#[derive(Clone, Debug, PartialEq)]
pub struct ClosedForm {
    /// Electronic energy, in Hartree.
    pub energy: f64,
    /// Name and source of the formula.
    pub source: &'static str,
}

/// The closed form of the ground state, where there is one. `geometry = None` is the infinite line.
///
/// - Free fermions in a box, on a ring and in the oscillator (sums of one-body levels).
/// - Harmonium, equal spins: `E = omega/2 + Omega (n² - 1)/2`, `Omega = sqrt(omega² + n k)`: the centre of
///   mass and n - 1 internal oscillators, antisymmetric (M. Moshinsky, "How good is the Hartree–Fock
///   approximation", Am. J. Phys. 36, 52 (1968); n fermions: Z. Załuska-Kotur et al., Acta Phys. Pol.
///   A 98, 639 (2000)).
/// - Calogero, equal spins: `w = lambda (lambda - 1)/d²`, `E = omega (n/2 + lambda n (n - 1)/2)`
///   (F. Calogero, "Solution of the one-dimensional N-body problems with quadratic and/or inversely
///   quadratic pair potentials", J. Math. Phys. 12, 419 (1971)).
pub fn ground_state(
    hamiltonian: &Hamiltonian,
    geometry: Option<&Geometry>,
    sector: Sector,
) -> Option<ClosedForm> {
    let counts = [sector.up, sector.down];
    let n = sector.particles() as f64;
    let polarised = sector.up == 0 || sector.down == 0;
    let free = matches!(hamiltonian.interaction, Interaction::None) || sector.particles() == 1;
    match (&hamiltonian.external, geometry) {
        (External::Free, Some(Geometry::Box { half_width })) if free => {
            let unit = (PI / (2.0 * half_width)).powi(2) / 2.0;
            let energy = counts.iter().flat_map(|&m| 1..=m).map(|k| unit * (k * k) as f64).sum();
            Some(ClosedForm { energy, source: "free fermions in a box" })
        }
        (External::Free, Some(Geometry::Ring { circumference })) if free => {
            let unit = (2.0 * PI / circumference).powi(2) / 2.0;
            let energy = counts
                .iter()
                .flat_map(|&m| (0..m).map(|i| i.div_ceil(2)))
                .map(|k| unit * (k * k) as f64)
                .sum();
            Some(ClosedForm { energy, source: "free fermions on a ring" })
        }
        (External::Harmonic { frequency }, None) if *frequency > 0.0 => {
            match &hamiltonian.interaction {
                _ if free => {
                    let energy = counts.iter().map(|&m| 0.5 * frequency * (m * m) as f64).sum();
                    Some(ClosedForm { energy, source: "free fermions in the oscillator" })
                }
                Interaction::Harmonic { stiffness } if polarised => {
                    let square = frequency * frequency + n * stiffness;
                    (square > 0.0).then(|| ClosedForm {
                        energy: 0.5 * frequency + 0.5 * square.sqrt() * (n * n - 1.0),
                        source: "harmonium (Moshinsky)",
                    })
                }
                Interaction::InverseSquare { strength } if polarised && *strength >= -0.25 => {
                    let lambda = 0.5 + (0.25 + strength).sqrt();
                    Some(ClosedForm {
                        energy: frequency * (0.5 * n + 0.5 * lambda * n * (n - 1.0)),
                        source: "Calogero model",
                    })
                }
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problems::reference_cases;

    #[test]
    fn closed_forms_are_those_of_the_reference() {
        let mut matched = 0;
        for case in reference_cases() {
            let form = ground_state(&case.hamiltonian, case.geometry.as_ref(), case.sector);
            if let Some(form) = form {
                assert!((form.energy - case.energy).abs() < 1e-12, "{}", case.name);
                matched += 1;
            }
        }
        assert_eq!(matched, 27);
    }
}
