//! `H = sum_i [ -1/2 d²/dx_i² + v(x_i) ] + sum_{i<j} w(x_i - x_j)`.

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
