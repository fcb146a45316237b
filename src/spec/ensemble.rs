//! What a spec asks for beyond the ground state.

use serde::{Deserialize, Serialize};

/// The lowest states of the sector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatesSettings {
    /// How many.
    pub count: usize,
    /// Their weights in the sum of energies that is minimised.
    #[serde(default)]
    pub weights: StateWeights,
}

/// Weights of states.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum StateWeights {
    /// All alike.
    #[default]
    Equal,
    /// Each the weight of the one below times this.
    Decreasing(f64),
    /// One for each state.
    List(Vec<f64>),
}

impl StateWeights {
    /// The weights of so many states; they sum to one.
    pub fn of(&self, count: usize) -> Vec<f64> {
        let plain: Vec<f64> = match self {
            StateWeights::Equal => vec![1.0; count],
            StateWeights::Decreasing(ratio) => (0..count).map(|k| ratio.powi(k as i32)).collect(),
            StateWeights::List(list) => list.clone(),
        };
        let sum: f64 = plain.iter().sum();
        plain.iter().map(|w| w / sum).collect()
    }
}

/// The canonical ensemble of the sector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemperatureSettings {
    /// Temperature times Boltzmann's constant, in Hartree.
    #[serde(rename = "kT")]
    pub kt: f64,
}
