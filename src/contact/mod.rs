//! Gases with contact interactions: particles of different components meet with a cusp, on each order along the line the
//! wavefunction is smooth.
//!
//! `H = sum_i [-1/2 d²/dx_i² + v(x_i)] + g sum delta(x_i - y_j)` over pairs of different components (M. Gaudin, Phys. Lett. A 24, 55
//! (1967); C. N. Yang, Phys. Rev. Lett. 19, 1312 (1967); several components: B. Sutherland, Phys. Rev. Lett. 20, 98 (1968)). For
//! every order of the components along the line there is one function; where two particles meet, it vanishes (equal
//! components) or goes over into that of the other order with `d log psi / d|d| = g/2` (different ones).

pub(crate) mod base;
pub(crate) mod cell;
pub(crate) mod half_line;
pub(crate) mod orders;
mod rules;
pub(crate) mod sampler;
pub(crate) mod symmetry;

use crate::system::hamiltonian::recognised;
use crate::system::{External, Geometry, Hamiltonian, Interaction, Sector};

/// Where the particles are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Space {
    /// A harmonic trap on the line: the centre of mass separates.
    Trap {
        /// In Hartree.
        frequency: f64,
    },
    /// A ring without external potential.
    Ring {
        /// In bohr.
        length: f64,
    },
    /// Hard walls at `-half_width` and `half_width`.
    Walls {
        /// In bohr.
        half_width: f64,
        /// Potential between them.
        external: External,
    },
}

/// A gas with contact interactions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gas {
    /// Particles of each component that has any.
    pub(crate) counts: Vec<usize>,
    pub(crate) space: Space,
    /// Coupling `g`, in Hartree bohr.
    pub(crate) strength: f64,
    /// What else the particles feel of each other.
    pub(crate) rest: Interaction,
}

/// Why contact interactions cannot be treated here.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ContactError {
    /// An external potential on the line that is no trap.
    #[error(
        "contact interactions and more than two components on the Line need the external potential Harmonic(..): give others walls with \
         `Box(half_width: ..)`"
    )]
    NotHarmonic,
    /// An external potential on a ring.
    #[error(
        "contact interactions and more than two components on a Ring need the external potential Free"
    )]
    NotFree,
    /// An interaction without a limit at contact beside them.
    #[error(
        "different components must have interactions that are finite at contact, or Contact(..)"
    )]
    Singular,
}

impl ContactError {
    /// The field of a Hamiltonian that is to blame.
    pub fn field(&self) -> &'static str {
        match self {
            ContactError::NotHarmonic | ContactError::NotFree => "external",
            ContactError::Singular => "interaction",
        }
    }
}

/// Whether a system is one for functions of every order: particles that feel a contact interaction, which equal ones do not, or
/// more than two components.
pub(crate) fn matters(hamiltonian: &Hamiltonian, sector: Sector) -> bool {
    sector.is_many() || sector.spins().count() > 1 && hamiltonian.interaction.contact() != 0.0
}

/// The Hamiltonian as particles of one component feel it.
pub(crate) fn without(hamiltonian: &Hamiltonian) -> Hamiltonian {
    Hamiltonian { interaction: hamiltonian.interaction.smooth(), ..hamiltonian.clone() }
}

impl Gas {
    /// The gas that a Hamiltonian describes.
    pub(crate) fn new(
        hamiltonian: &Hamiltonian,
        geometry: &Geometry,
        sector: Sector,
    ) -> Result<Self, ContactError> {
        let (external, _) = recognised(hamiltonian);
        let rest = recognised(&without(hamiltonian)).1;
        if !rest.value(0.0).is_finite() {
            return Err(ContactError::Singular);
        }
        let space = match (*geometry, external) {
            (Geometry::Line, External::Harmonic { frequency }) => Space::Trap { frequency },
            (Geometry::Line, _) => return Err(ContactError::NotHarmonic),
            (Geometry::Ring { circumference }, External::Free) => {
                Space::Ring { length: circumference }
            }
            (Geometry::Ring { .. }, _) => return Err(ContactError::NotFree),
            (Geometry::Box { half_width }, External::Harmonic { frequency })
                if negligible(frequency, half_width, sector.particles()) =>
            {
                Space::Trap { frequency }
            }
            (Geometry::Box { half_width }, external) => Space::Walls { half_width, external },
        };
        let counts = sector.spins().map(|s| s.len()).collect();
        Ok(Gas { counts, space, strength: hamiltonian.interaction.contact(), rest })
    }

    /// Number of particles.
    pub(crate) fn particles(&self) -> usize {
        self.counts.iter().sum()
    }

    /// The same trap in its own units, and what one of its lengths is in bohr; other spaces are left as they are.
    pub(crate) fn in_units(&self) -> (Gas, f64) {
        let Space::Trap { frequency } = self.space else { return (self.clone(), 1.0) };
        let length = frequency.sqrt().recip();
        let rest = match &self.rest {
            Interaction::None => Interaction::None,
            other => Interaction::Scaled(Box::new((other.clone(), length))),
        };
        let space = Space::Trap { frequency: 1.0 };
        (Gas { counts: self.counts.clone(), space, strength: self.strength * length, rest }, length)
    }
}

/// Whether hard walls cost particles in a trap less than 1e-12 of its frequency, even if they repel each other without
/// bound: by the tail of the highest orbital of as many fermions of one kind.
fn negligible(frequency: f64, half_width: f64, particles: usize) -> bool {
    let y = half_width * frequency.sqrt();
    let n = particles as f64;
    // phi_n² is below (2 y²)^n exp(-y²) / n! beyond its turning point.
    let log = n * (2.0 * y * y).ln() - y * y + 3.0 * y.ln().max(0.0) + n.ln();
    y * y > 2.0 * (2.0 * n + 1.0) && log < -12.0 * std::f64::consts::LN_10
}
