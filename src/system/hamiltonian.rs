//! `H = sum_i [ -1/2 d²/dx_i² + v(x_i) ] + sum_{i<j} w(x_i - x_j)`.

use super::syntax::monomial;
use super::{External, Geometry, Interaction};
use serde::{Deserialize, Serialize};

/// A one-dimensional many-fermion Hamiltonian in Hartree atomic units (hbar = m = 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hamiltonian {
    /// What a person calls it.
    #[serde(default)]
    pub title: String,
    /// External potential `v(x)`, in Hartree.
    pub external: External,
    /// Pair interaction `w(d)`, in Hartree.
    pub interaction: Interaction,
}

/// A Hamiltonian in the space it acts in.
#[derive(Clone, Copy, Debug)]
pub struct System<'a> {
    /// Potentials.
    pub hamiltonian: &'a Hamiltonian,
    /// Space.
    pub geometry: &'a Geometry,
}

impl Hamiltonian {
    /// Potential energy of a configuration, without the constant nuclear repulsion.
    pub fn potential(&self, geometry: &Geometry, x: &[f64]) -> f64 {
        let mut v = 0.0;
        for (i, &xi) in x.iter().enumerate() {
            v += self.external.value(xi);
            for &xj in &x[..i] {
                v += self.interaction.value(geometry.distance(xi, xj));
            }
        }
        v
    }

    /// The constant that turns an electronic energy into a total one (zero without nuclei).
    pub fn nuclear_repulsion(&self) -> f64 {
        self.external.nuclear_repulsion()
    }
}

/// Writes a formula that is `c x²` or zero, by its structure, as the variant of that name.
pub(crate) fn recognised(hamiltonian: &Hamiltonian) -> (External, Interaction) {
    let external = match &hamiltonian.external {
        External::Formula(f) => match f.powers().as_ref().and_then(monomial) {
            Some((_, _, 0.0)) => External::Free,
            Some((2, _, c)) if c > 0.0 => External::Harmonic { frequency: (2.0 * c).sqrt() },
            _ => hamiltonian.external.clone(),
        },
        other => other.clone(),
    };
    let interaction = match hamiltonian.interaction.clone() {
        Interaction::Sum(mut parts) if parts.len() == 1 => parts.swap_remove(0),
        other => other,
    };
    let interaction = match &interaction {
        Interaction::Formula(f) => match f.powers().as_ref().and_then(monomial) {
            Some((_, _, 0.0)) => Interaction::None,
            Some((2, _, c)) => Interaction::Harmonic { stiffness: 2.0 * c },
            Some((-2, _, strength)) => Interaction::InverseSquare { strength },
            _ => interaction,
        },
        Interaction::InverseSquare { strength: 0.0 } | Interaction::Contact { strength: 0.0 } => {
            Interaction::None
        }
        other => other.clone(),
    };
    (external, interaction)
}
