//! The energy, its components, and bounds that its variance gives.

use super::replicates::Replicates;
use super::{Observable, Quantity, Sample, Setup};
use crate::math::linalg::EigenFailure;
use crate::system::{Geometry, Hamiltonian};

pub(super) const ABOUT: &str = "energy, kinetic, external and interaction part, variance, bounds";

struct Energy {
    hamiltonian: Hamiltonian,
    geometry: Geometry,
    particles: usize,
    /// Of a contact interaction, which no sample sees.
    contact: f64,
    first_excited: Option<f64>,
    /// Energies are summed relative to this one: the variance would lose digits otherwise.
    origin: f64,
}

pub(super) fn build(setup: &Setup) -> Option<Box<dyn Observable>> {
    Some(Box::new(Energy {
        hamiltonian: setup.system.hamiltonian.clone(),
        geometry: *setup.system.geometry,
        particles: setup.sector.particles(),
        contact: setup.contact_energy,
        first_excited: setup.first_excited,
        origin: setup.local_energy.0,
    }))
}

impl Observable for Energy {
    fn length(&self) -> usize {
        5
    }

    fn add(&self, sample: &Sample, sums: &mut [f64]) {
        let external: f64 = sample.x.iter().map(|&x| self.hamiltonian.external.value(x)).sum();
        let potential = self.hamiltonian.potential(&self.geometry, sample.x);
        let energy = sample.local_energy - self.origin;
        let terms = [
            energy,
            sample.local_energy - potential,
            external,
            potential - external,
            energy * energy,
        ];
        sums.iter_mut().zip(terms).for_each(|(s, t)| *s += t);
    }

    fn finish(&self, replicates: &Replicates) -> Result<Vec<Quantity>, EigenFailure> {
        let (origin, contact) = (self.origin, self.contact);
        let n = self.particles as f64;
        let means =
            replicates.linear(|m| vec![m[0] + origin, m[1] - contact, m[2], m[3] + contact]);
        let spread = replicates.jackknife(|m| {
            let variance = m[4] - m[0] * m[0];
            vec![variance, n * variance / (m[0] + origin).powi(2)]
        });
        let quantity = |name: &str, unit: &str, about: &str, estimate| {
            Quantity::new(name, unit, about, estimate)
        };
        let mut out = vec![
            quantity("energy", "Ha", "electronic energy, mean of the local energy", means.at(0)),
            quantity(
                "kinetic",
                "Ha",
                "kinetic energy, mean of -1/2 (Laplacian of psi) / psi, less the energy of a contact interaction",
                means.at(1),
            ),
            quantity("external", "Ha", "energy in the external potential", means.at(2)),
            quantity("interaction", "Ha", "energy of the pair interaction", means.at(3)),
            quantity("variance", "Ha²", "variance of the local energy", spread.at(0)),
            quantity(
                "v_score",
                "",
                "N Var / E²: comparable between systems (D. Wu et al., Science 386, 296 (2024))",
                spread.at(1),
            ),
        ];
        if let Some(excited) = self.first_excited {
            let bound = replicates.jackknife(|m| {
                let (energy, variance) = (m[0] + origin, m[4] - m[0] * m[0]);
                // Without a gap above the energy the bound does not exist.
                let gap = excited - energy;
                vec![if gap > 0.0 { energy - variance / gap } else { f64::NAN }]
            });
            out.push(quantity(
                "temple_bound",
                "Ha",
                "lower bound E - Var / (E_1 - E) on the ground-state energy (G. Temple, Proc. R. Soc. A 119, \
                 276 (1928)), with the energy E_1 of the first excited state of the sector",
                bound.at(0),
            ));
            out.push(Quantity::new(
                "first_excited",
                "Ha",
                "the E_1 of the lower bound",
                super::quantity::Values::without_errors(vec![excited]),
            ));
        }
        Ok(out)
    }
}
