//! The variance of the local energy alone.

use super::robust::variance_weight;
use super::{Objective, Outlook, Weights};
use serde::{Deserialize, Serialize};

/// `Var(E_L)`, zero at every eigenstate: training goes to the nearest one, which is the ground state where the base is
/// close to it (C. J. Umrigar, K. G. Wilson, J. W. Wilkins, "Optimized trial wave functions for quantum Monte Carlo
/// calculations", Phys. Rev. Lett. 60, 1719 (1988)).
///
/// Its scale is that of [`Energy`](super::energy::Energy) without the energy, so that settings of the step mean the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Variance {}

impl Objective for Variance {
    fn name(&self) -> &'static str {
        "variance"
    }

    fn needs_variance(&self) -> bool {
        true
    }

    fn weights(&self, at: &Outlook) -> Weights {
        let Outlook { unit, variance, share } = *at;
        Weights { energy: 0.0, variance: variance_weight(share, unit, variance, variance.sqrt()) }
    }
}
