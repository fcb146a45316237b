//! What is minimised: a function of the energy of one state and its variance, the sum of the lowest energies of a
//! sector, the free energy.
//!
//! Adding one of a single state: a file here with its settings and its [`Objective`], and its line in the list of
//! `objectives!`.

pub mod energy;
pub mod free_energy;
pub mod ground_state;
pub mod mixture;
pub mod robust;
pub mod spectrum;
pub mod variance;

use crate::math::linalg::LinearError;
use crate::wavefunction::WavefunctionError;
use serde::{Deserialize, Serialize};

/// Writes [`ObjectiveSettings`] and what it knows of its variants from a list of them.
macro_rules! objectives {
    ($($(#[$doc:meta])* $name:ident($settings:ty),)*) => {
        /// What the training of one state minimises.
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
        pub enum ObjectiveSettings {
            $($(#[$doc])* $name($settings),)*
        }

        impl ObjectiveSettings {
            /// The objective itself.
            pub fn objective(&self) -> &dyn Objective {
                match self {
                    $(ObjectiveSettings::$name(s) => s,)*
                }
            }
        }
    };
}

// The registry: an objective a line.
objectives! {
    /// The energy with a share of the variance, as the optimiser says.
    Energy(energy::Energy),
    /// The variance of the local energy alone.
    Variance(variance::Variance),
}

impl Default for ObjectiveSettings {
    fn default() -> Self {
        ObjectiveSettings::Energy(energy::Energy {})
    }
}

impl ObjectiveSettings {
    /// Whether it is the one that a spec has without saying so.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What the training of one state minimises: a function of the energy `E` and of the variance of the local energy.
///
/// Optimisers and the choice among steps see it to first order about the state of a batch, as a weighted sum of both.
pub trait Objective {
    /// Name in tables.
    fn name(&self) -> &'static str;

    /// Whether only an optimiser that knows of the variance can minimise it.
    fn needs_variance(&self) -> bool {
        false
    }

    /// Its slopes where a state stands.
    fn weights(&self, at: &Outlook) -> Weights;
}

/// Where a state stands, as its batch says (without the most remote local energies).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlook {
    /// The unit of energy of the state, in Hartree: about its kinetic energy.
    pub unit: f64,
    /// Variance of the local energy, in Hartree².
    pub variance: f64,
    /// Share of the variance in what is minimised, by the settings of the optimiser.
    pub share: f64,
}

/// What counts in `energy E + variance/2 Var(E_L)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Weight of the energy.
    pub energy: f64,
    /// Weight of half the variance, in inverse Hartree.
    pub variance: f64,
}

impl Weights {
    /// The energy and nothing else.
    pub const ENERGY: Self = Weights { energy: 1.0, variance: 0.0 };
}

/// Why there is no training or estimate of an ensemble of states.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EnsembleError {
    /// The observer ended it.
    #[error("interrupted")]
    Interrupted,
    /// A linear system without a solution: the states are no longer independent.
    #[error("the states of the samples are not independent, or not finite: {0}")]
    Dependent(#[source] LinearError),
    /// No step could be computed.
    #[error("no step could be computed: {0}")]
    Linear(#[from] LinearError),
    /// A state to go on from that is none of this ensemble.
    #[error("the state to go on from does not fit the ensemble")]
    State,
    /// Parameters that do not fit.
    #[error(transparent)]
    Wavefunction(#[from] WavefunctionError),
    /// Nothing is left to estimate from.
    #[error("only {good} of {samples} samples have a finite local energy")]
    Faults {
        /// Good samples.
        good: usize,
        /// Samples drawn.
        samples: usize,
    },
}
