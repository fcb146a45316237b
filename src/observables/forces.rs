//! Hellmann–Feynman forces on the nuclei: `F_A = -d V_nn / dR_A - <sum_i dv/dR_A (x_i)>`.
//!
//! For the exact state this is the force; for another one its error is of first order in the error of the state,
//! where that of the energy is of second order.

use super::replicates::Replicates;
use super::{Axis, Observable, Quantity, Sample, Setup};
use crate::math::linalg::EigenFailure;
use crate::system::External;

pub(super) const ABOUT: &str = "Hellmann-Feynman forces on the nuclei";

struct Forces {
    external: External,
    repulsion: Vec<f64>,
}

pub(super) fn build(setup: &Setup) -> Option<Box<dyn Observable>> {
    let external = setup.system.hamiltonian.external.clone();
    let repulsion = external.repulsion_forces();
    (!repulsion.is_empty()).then(|| Box::new(Forces { external, repulsion }) as Box<dyn Observable>)
}

impl Observable for Forces {
    fn length(&self) -> usize {
        self.repulsion.len()
    }

    fn add(&self, sample: &Sample, sums: &mut [f64]) {
        for &x in sample.x {
            self.external.add_forces_on_nuclei(x, sums);
        }
    }

    fn finish(&self, replicates: &Replicates) -> Result<Vec<Quantity>, EigenFailure> {
        let forces =
            replicates.linear(|m| m.iter().zip(&self.repulsion).map(|(e, r)| e + r).collect());
        let nuclei = (1..=self.repulsion.len()).map(|a| a as f64).collect();
        Ok(vec![
            Quantity::new(
                "nuclear_forces",
                "Ha/bohr",
                "Hellmann-Feynman force on each nucleus, by the electrons and by the other nuclei",
                forces,
            )
            .along(Axis::points("nucleus", "", nuclei)),
        ])
    }
}
