//! Hamiltonians whose spectrum is known in closed form.

use super::Components;
use crate::system::hamiltonian::recognised;
use crate::system::{External, Geometry, Hamiltonian, Interaction, Sector};
use std::f64::consts::PI;

/// A ground-state energy that needs no computation.
#[derive(Clone, Debug, PartialEq)]
pub struct ClosedForm {
    /// Electronic energy, in Hartree.
    pub energy: f64,
    /// Components of the energy, by the virial and Hellmann-Feynman theorems.
    pub components: Components,
    /// Name of the formula.
    pub source: &'static str,
}

impl ClosedForm {
    pub(super) fn new(source: &'static str, energy: f64, external: f64, interaction: f64) -> Self {
        let kinetic = energy - external - interaction;
        ClosedForm { energy, components: Components { kinetic, external, interaction }, source }
    }
}

/// The closed form of the ground state, where there is one. `geometry = None` is the infinite line.
///
/// - Free fermions in a box, on a ring and in the oscillator (sums of one-body levels).
/// - Harmonium, equal spins: `E = omega/2 + Omega (n² - 1)/2`, `Omega = sqrt(omega² + n k)`: the centre of
///   mass and n - 1 internal oscillators, antisymmetric (M. Moshinsky, "How good is the Hartree–Fock
///   approximation", Am. J. Phys. 36, 52 (1968); n particles: M. A. Załuska-Kotur et al., "Soluble
///   model of many interacting quantum particles in a trap", Phys. Rev. A 61, 033613 (2000)).
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
    let polarised = sector.is_polarised();
    let (external, interaction) = recognised(hamiltonian);
    let free = matches!(interaction, Interaction::None) || sector.particles() == 1;
    match (&external, geometry) {
        (External::Free, Some(Geometry::Box { half_width })) if free => {
            let unit = (PI / (2.0 * half_width)).powi(2) / 2.0;
            let energy = counts.iter().flat_map(|&m| 1..=m).map(|k| unit * (k * k) as f64).sum();
            Some(ClosedForm::new("free fermions in a box", energy, 0.0, 0.0))
        }
        (External::Free, Some(Geometry::Ring { circumference })) if free => {
            let unit = (2.0 * PI / circumference).powi(2) / 2.0;
            let energy = counts
                .iter()
                .flat_map(|&m| (0..m).map(|i| i.div_ceil(2)))
                .map(|k| unit * (k * k) as f64)
                .sum();
            Some(ClosedForm::new("free fermions on a ring", energy, 0.0, 0.0))
        }
        (External::Harmonic { frequency }, None) if *frequency > 0.0 => match &interaction {
            _ if free => {
                let energy = counts.iter().map(|&m| 0.5 * frequency * (m * m) as f64).sum();
                Some(ClosedForm::new("free fermions in the oscillator", energy, 0.5 * energy, 0.0))
            }
            Interaction::Harmonic { stiffness } if polarised => {
                let square = frequency * frequency + n * stiffness;
                (square > 0.0).then(|| {
                    let root = square.sqrt();
                    let internal = 0.5 * (n * n - 1.0);
                    let energy = 0.5 * frequency + root * internal;
                    let external = 0.5 * frequency * (0.5 + frequency / root * internal);
                    let interaction = stiffness * n / (2.0 * root) * internal;
                    ClosedForm::new("harmonium", energy, external, interaction)
                })
            }
            Interaction::InverseSquare { strength } if polarised && *strength > -0.25 => {
                let lambda = 0.5 + (0.25 + strength).sqrt();
                let pairs = 0.5 * n * (n - 1.0);
                let energy = frequency * (0.5 * n + lambda * pairs);
                let interaction = frequency * strength * pairs / (2.0 * lambda - 1.0);
                // Of the two behaviours that are square integrable for attraction.
                let source = if *strength < 0.0 {
                    "Calogero model, attractive: |d|^lambda with the larger lambda (Friedrichs extension)"
                } else {
                    "Calogero model"
                };
                Some(ClosedForm::new(source, energy, 0.5 * energy, interaction))
            }
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problems::reference_cases;

    /// Zero, or a trap, at every point that anybody tries, and neither.
    #[test]
    fn what_only_looks_like_a_closed_form_is_none() {
        let with = |external: &str, interaction: &str, up: usize, down: usize| {
            let h = Hamiltonian {
                title: String::new(),
                external: ron::from_str(external).unwrap(),
                interaction: ron::from_str(interaction).unwrap(),
            };
            ground_state(&h, None, Sector::new(up, down))
        };
        let trap = "Formula(\"x*x/2\")";
        for (external, interaction, up, down) in [
            (trap, "Formula(\"50*((0.3-abs(d))+abs(0.3-abs(d)))\")", 2, 0),
            (trap, "Formula(\"100*exp(-d^2/(2*0.009^2))\")", 1, 1),
            (trap, "Formula(\"40*((0.35-abs(d))+abs(0.35-abs(d)))\")", 3, 0),
            ("Harmonic(frequency: 0.3)", "Formula(\"((abs(d)-4)+abs(abs(d)-4))^2\")", 2, 0),
            ("Formula(\"0.5*x^2 - 100*exp(-10*(x-10)^2)\")", "None", 1, 0),
            ("Formula(\"(0.5*x^2+8-abs(0.5*x^2-8))/2\")", "None", 8, 0),
            (trap, "Formula(\"2/(d^2 + 1e-30)\")", 2, 0),
        ] {
            assert_eq!(with(external, interaction, up, down), None, "{external}, {interaction}");
        }
        assert_eq!(with(trap, "Formula(\"0*d\")", 2, 0).unwrap().energy, 2.0);
        assert_eq!(with(trap, "Formula(\"2/(d*d)\")", 2, 0).unwrap().energy, 3.0);
    }

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
