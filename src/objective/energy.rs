//! The energy, with a share of the variance of its local energy.

use super::robust::variance_weight;
use super::{Objective, Outlook, Weights};
use serde::{Deserialize, Serialize};

/// `E + weight/2 Var(E_L)`, the variance by the share that the optimiser gives it: one over the unit of energy far from an
/// eigenstate, more close to one, where the energy is known to its noise only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Energy {}

impl Objective for Energy {
    fn name(&self) -> &'static str {
        "energy"
    }

    fn weights(&self, at: &Outlook) -> Weights {
        let Outlook { unit, variance, share } = *at;
        Weights { energy: 1.0, variance: variance_weight(share, unit, variance, variance.sqrt()) }
    }
}
