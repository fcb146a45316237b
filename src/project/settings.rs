//! What a caller may choose.

use serde::{Deserialize, Serialize};

/// Whether functions of few bodies take a part of the scatter away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlVariates {
    /// Of three particles or more, where they do on samples that they were not fitted to.
    #[default]
    Auto,
    /// Wherever there are any: not on a ring.
    On,
    /// Nowhere.
    Off,
}

/// How much to project, and how; what is left open is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Walkers, a multiple of the replicates or rounded up to one; where left open as many as the error bar asks for.
    pub walkers: Option<usize>,
    /// Independent replicates behind the error bars.
    pub replicates: usize,
    /// Length of the projection, in 1/Hartree.
    pub beta: Option<f64>,
    /// Length of a step, in 1/Hartree.
    pub step: Option<f64>,
    /// Change of the correction that does not matter, in Hartree.
    pub tolerance: Option<f64>,
    /// Fresh samples for the variational energy; where none are asked for, those of the run do.
    pub samples: Option<usize>,
    /// Names of the observables beside the energy: see [`OBSERVABLES`](super::OBSERVABLES).
    pub observables: Vec<String>,
    /// Whether to dress the guide with functions of few bodies.
    #[serde(default)]
    pub control_variates: ControlVariates,
    /// Seed of all random numbers.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            walkers: None,
            replicates: 32,
            beta: None,
            step: None,
            tolerance: None,
            samples: None,
            observables: vec!["position".into(), "density".into()],
            control_variates: ControlVariates::Auto,
            seed: 0,
        }
    }
}
