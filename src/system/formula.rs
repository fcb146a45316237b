//! User formulas in one variable.

use serde::{Deserialize, Serialize};

/// A formula in one variable (`x` for an external potential, `d` for an interaction).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Formula {
    text: String,
}

impl Formula {
    /// Value of the formula.
    pub fn value(&self, _x: f64) -> f64 {
        f64::NAN
    }
    /// Derivative of the formula.
    pub fn derivative(&self, _x: f64) -> f64 {
        f64::NAN
    }
}
