//! Norm and energy of a state as numbers.

use crate::json::number;
use serde::{Deserialize, Serialize};

/// Integrals over the fundamental domain.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RayleighQuotient {
    /// `int |psi|²`, exactly one for a correct flow.
    #[serde(deserialize_with = "number")]
    pub norm: f64,
    /// `int (1/2 |∇ psi|² + V |psi|²) / norm`, in Hartree, with the energy of a contact interaction.
    #[serde(deserialize_with = "number")]
    pub energy: f64,
    /// How far `norm` may be off.
    #[serde(default = "claimed", deserialize_with = "number")]
    pub norm_error: f64,
    /// How far `energy` may be off, in Hartree.
    #[serde(default = "claimed", deserialize_with = "number")]
    pub energy_error: f64,
}

/// What summaries of versions without an estimate claimed.
fn claimed() -> f64 {
    1e-8
}
