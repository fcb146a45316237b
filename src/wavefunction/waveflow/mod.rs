//! Waveflow: an autoregressive I-spline flow over an O-spline prior.
//!
//! L. Thiede, C. Sun, A. Aspuru-Guzik, "Waveflow: boundary-conditioned normalizing flows applied to
//! fermionic wavefunctions", arXiv:2211.14839.

use serde::{Deserialize, Serialize};

/// Settings of the Waveflow wavefunction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WaveflowSettings {
    /// How the fundamental domain becomes the unit cube.
    pub chart: ChartKind,
    /// Number of autoregressive I-spline layers.
    pub layers: usize,
    /// Degree of the splines: the maps are C^degree. At least 4 for a continuous local energy.
    pub degree: usize,
    /// Number of equidistant knots on [0, 1], both ends included, of the layers' I-splines.
    pub knots: usize,
    /// Number of equidistant knots of the prior's O-splines.
    pub prior_knots: usize,
    /// Widths of the hidden layers of the conditioner networks.
    pub hidden: Vec<usize>,
    /// Smallest slope of every I-spline, by construction.
    pub slope_floor: f64,
}

/// The chart from the fundamental domain to the unit cube.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ChartKind {
    /// `u_1 = s_1, u_i = (s_i - s_{i-1}) / (1 - s_{i-1})`.
    StickBreaking,
    /// Stick breaking made volume preserving.
    #[default]
    Uniform,
    /// Gaps first, then the position of the first particle.
    Gaps,
}

impl Default for WaveflowSettings {
    fn default() -> Self {
        WaveflowSettings {
            chart: ChartKind::Uniform,
            layers: 2,
            degree: 5,
            knots: 12,
            prior_knots: 16,
            hidden: vec![32, 32],
            slope_floor: 1e-3,
        }
    }
}
