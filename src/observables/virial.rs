//! The virial theorem: `2 <T> = <sum_i x_i v'(x_i)> + <sum_{i<j} d w'(d)>` for a bound eigenstate.
//!
//! A contact interaction has `d w' = -w`, of which its state knows the mean; local energies off the meetings hold it as well.
//! Hard walls add a term, twice the kinetic energy in an empty box for instance: between walls the theorem in
//! this form holds where the density at the walls is negligible. On a ring it has no meaning.

use super::replicates::Replicates;
use super::{Observable, Quantity, Sample, Setup};
use crate::math::linalg::EigenFailure;
use crate::system::{Geometry, Hamiltonian};

pub(super) const ABOUT: &str = "terms and ratio of the virial theorem";

struct Virial {
    hamiltonian: Hamiltonian,
    geometry: Geometry,
    /// Energy of a contact interaction.
    contact: f64,
}

pub(super) fn build(setup: &Setup) -> Option<Box<dyn Observable>> {
    match setup.system.geometry {
        Geometry::Ring { .. } => None,
        geometry => Some(Box::new(Virial {
            hamiltonian: setup.system.hamiltonian.clone(),
            geometry: *geometry,
            contact: setup.contact_energy,
        })),
    }
}

impl Observable for Virial {
    fn length(&self) -> usize {
        3
    }

    fn add(&self, sample: &Sample, sums: &mut [f64]) {
        let Hamiltonian { external, interaction, .. } = &self.hamiltonian;
        let potential = self.hamiltonian.potential(&self.geometry, sample.x);
        sums[0] += 2.0 * (sample.local_energy - potential);
        for (i, &x) in sample.x.iter().enumerate() {
            sums[1] += x * external.derivative(x);
            for &y in &sample.x[..i] {
                let d = self.geometry.distance(x, y);
                sums[2] += d * interaction.derivative(d);
            }
        }
    }

    fn finish(&self, replicates: &Replicates) -> Result<Vec<Quantity>, EigenFailure> {
        let of = |m: &[f64]| [m[0] - 2.0 * self.contact, m[1], m[2] - self.contact];
        let terms = replicates.linear(|m| {
            let [kinetic, external, interaction] = of(m);
            vec![external, interaction, kinetic - external - interaction]
        });
        let ratio = replicates.jackknife(|m| {
            let [kinetic, external, interaction] = of(m);
            vec![kinetic / (external + interaction)]
        });
        Ok(vec![
            Quantity::new("virial_external", "Ha", "mean of sum_i x_i v'(x_i)", terms.at(0)),
            Quantity::new("virial_interaction", "Ha", "mean of sum_{i<j} d w'(d)", terms.at(1)),
            Quantity::new(
                "virial_residual",
                "Ha",
                "2 T minus both virials; zero for a bound eigenstate that no wall touches",
                terms.at(2),
            ),
            Quantity::new("virial_ratio", "", "2 T over the sum of both virials", ratio.at(0)),
        ])
    }
}
