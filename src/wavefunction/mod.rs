//! Wavefunctions: normalizing flows on the fundamental domain.

pub mod waveflow;

use serde::{Deserialize, Serialize};
use waveflow::WaveflowSettings;

/// The wavefunction of a run and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum WavefunctionSettings {
    /// Autoregressive I-spline flow over an O-spline prior.
    Waveflow(WaveflowSettings),
}

impl Default for WavefunctionSettings {
    fn default() -> Self {
        WavefunctionSettings::Waveflow(WaveflowSettings::default())
    }
}
