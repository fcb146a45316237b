//! What is minimised: the energy of one state, the sum of the lowest energies of a sector, the free energy.

pub mod free_energy;
pub mod ground_state;
pub mod mixture;
pub mod robust;
pub mod spectrum;

use crate::math::linalg::LinearError;
use crate::wavefunction::WavefunctionError;

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
