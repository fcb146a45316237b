//! Optimisers of the variational parameters.

use serde::{Deserialize, Serialize};

/// The optimiser of a run and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OptimiserSettings {
    /// Adam (D. Kingma, J. Ba, arXiv:1412.6980).
    Adam(AdamSettings),
    /// Stochastic reconfiguration (S. Sorella, PRL 80, 4558 (1998)).
    StochasticReconfiguration(StochasticReconfigurationSettings),
}

impl Default for OptimiserSettings {
    fn default() -> Self {
        OptimiserSettings::StochasticReconfiguration(Default::default())
    }
}

/// Settings of Adam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamSettings {
    /// Step length at the start.
    pub learning_rate: f64,
    /// The step length falls to this fraction of the first by the last iteration.
    pub final_fraction: f64,
}

impl Default for AdamSettings {
    fn default() -> Self {
        AdamSettings { learning_rate: 3e-3, final_fraction: 0.03 }
    }
}

/// Settings of stochastic reconfiguration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StochasticReconfigurationSettings {
    /// Imaginary-time step, in inverse Hartree.
    pub tau: f64,
    /// Shift of the overlap matrix, relative to its largest diagonal element.
    pub shift: f64,
    /// Where the linear system is solved.
    pub space: SolveSpace,
    /// SPRING momentum; 0 turns it off.
    pub momentum: f64,
    /// Largest step in the norm of the overlap matrix (a change of the state, in radians).
    pub trust_radius: f64,
    /// `tau` falls to this fraction of the first by the last iteration.
    pub final_fraction: f64,
}

/// Where stochastic reconfiguration solves its linear system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SolveSpace {
    /// The smaller of the two.
    #[default]
    Auto,
    /// The overlap matrix of the parameters.
    Parameters,
    /// The Gram matrix of the samples (minSR).
    Samples,
}

impl Default for StochasticReconfigurationSettings {
    fn default() -> Self {
        StochasticReconfigurationSettings {
            tau: 0.1,
            shift: 1e-3,
            space: SolveSpace::Auto,
            momentum: 0.0,
            trust_radius: 0.2,
            final_fraction: 0.1,
        }
    }
}
