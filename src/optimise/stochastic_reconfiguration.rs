//! Stochastic reconfiguration, in parameter or sample space, with optional momentum.
//!
//! S. Sorella, Phys. Rev. Lett. 80, 4558 (1998); sample space (minSR): A. Chen, M. Heyl, Nature Physics 20,
//! 1476 (2024), where the derivatives stay in their [factors](crate::tangent) and cost little more than the samples
//! themselves; momentum (SPRING): G. Goldshlager, N. Abrahamsen, L. Lin, J. Comput. Phys. 516, 113351 (2024).

use super::tangents::CentredTangent;
use super::{Bound, Landscape, Optimiser, Pace, Settings, Step, norm, schedule};
use crate::local_energy::{Batch, Derivatives};
use crate::math::linalg::{self, LinearError};
use crate::math::tall;
use crate::objective::ObjectiveSettings;
use serde::{Deserialize, Serialize};

/// Settings of stochastic reconfiguration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StochasticReconfigurationSettings {
    /// Imaginary-time step during the first fifth of the run, in inverse Hartree.
    pub tau: f64,
    /// `tau` falls to this fraction of the first by the last iteration.
    pub final_fraction: f64,
    /// Shift of the overlap matrix, relative to its largest diagonal element.
    pub shift: f64,
    /// Where the linear system is solved.
    pub space: SolveSpace,
    /// SPRING momentum; 0 turns it off.
    pub momentum: f64,
    /// Largest step in the norm of the overlap matrix, in radians.
    pub trust_radius: f64,
    /// Local energies are clipped at this many median absolute deviations in the step.
    pub clip: f64,
}

/// Where stochastic reconfiguration solves its linear system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SolveSpace {
    /// The samples where they are fewer than the parameters.
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
            tau: 0.02,
            final_fraction: 0.1,
            shift: 1e-2,
            space: SolveSpace::Auto,
            momentum: 0.0,
            trust_radius: 0.2,
            clip: 30.0,
        }
    }
}

impl Settings for StochasticReconfigurationSettings {
    fn name(&self) -> &'static str {
        "Stochastic reconfiguration"
    }

    fn bounds(&self) -> Vec<(&'static str, f64, Bound)> {
        let StochasticReconfigurationSettings {
            tau,
            shift,
            space: _,
            momentum,
            trust_radius,
            final_fraction,
            clip,
        } = self;
        vec![
            ("tau", *tau, Bound::Positive),
            ("shift", *shift, Bound::Positive),
            ("momentum", *momentum, Bound::Decay),
            ("trust_radius", *trust_radius, Bound::Positive),
            ("final_fraction", *final_fraction, Bound::Fraction),
            ("clip", *clip, Bound::Positive),
        ]
    }

    fn numbers(&self, samples: f64, _particles: f64, parameters: f64) -> f64 {
        let size = match self.space {
            SolveSpace::Auto => samples.min(parameters),
            SolveSpace::Parameters => parameters,
            SolveSpace::Samples => samples,
        };
        3.0 * samples * parameters + 3.0 * size * size
    }

    fn build(&self, _objective: ObjectiveSettings) -> Box<dyn Optimiser> {
        Box::new(StochasticReconfiguration::new(self.clone()))
    }
}

/// `(S + shift) d = F` with the previous direction as momentum.
#[derive(Clone, Debug)]
pub struct StochasticReconfiguration {
    settings: StochasticReconfigurationSettings,
    previous: Vec<f64>,
}

impl StochasticReconfiguration {
    /// A fresh start.
    pub fn new(settings: StochasticReconfigurationSettings) -> Self {
        StochasticReconfiguration { settings, previous: Vec::new() }
    }
}

impl Optimiser for StochasticReconfiguration {
    fn derivatives(&self) -> Derivatives {
        Derivatives::LogPsi
    }

    fn steps(
        &mut self,
        batch: &Batch,
        pace: Pace,
        _landscape: &mut dyn Landscape,
    ) -> Result<Vec<Step>, LinearError> {
        let s = &self.settings;
        let centred = CentredTangent::new(batch, s.clip);
        let (n, p) = (centred.samples(), centred.parameters());
        self.previous.resize(p, 0.0);
        let carried: Vec<f64> = self.previous.iter().map(|d| s.momentum * d).collect();
        // What the momentum already explains of the residual is projected out before the solve.
        let mut residual = centred.clipped.energy.clone();
        if s.momentum > 0.0 {
            for (r, a) in residual.iter_mut().zip(centred.along(&carried)) {
                *r -= a;
            }
        }
        let shift = s.shift * centred.largest_square() + f64::MIN_POSITIVE;
        let in_samples = match s.space {
            SolveSpace::Auto => n < p,
            SolveSpace::Parameters => false,
            SolveSpace::Samples => true,
        };
        // The new direction, `O` along it, and the norm of the force.
        let (solved, along, force) = if in_samples {
            let mut gram = centred.gram();
            let energy = &centred.clipped.energy;
            let square = linalg::quadratic_form(&gram, energy) / n.max(1) as f64;
            (0..n).for_each(|i| gram[(i, i)] += shift);
            let weights = linalg::solve_positive(&gram, &residual)?;
            // The equation just solved says what the Gram matrix makes of its solution.
            let along = energy.iter().zip(&weights).map(|(e, w)| e - shift * w).collect();
            (centred.combine(&weights), Some(along), square.max(0.0).sqrt())
        } else {
            let o = centred.dense();
            let mut overlap = tall::gram(&linalg::rows(&o, n, p), 1.0 / n as f64);
            (0..p).for_each(|i| overlap[(i, i)] += shift);
            let solved = linalg::solve_positive(&overlap, &centred.combine(&residual))?;
            (solved, None, norm(&centred.force()))
        };
        let direction: Vec<f64> = solved.iter().zip(&carried).map(|(a, b)| a + b).collect();
        let tau = schedule(s.tau, s.final_fraction, pace);
        let change = direction.iter().map(|d| -tau * d).collect();
        let along: Vec<f64> = along.unwrap_or_else(|| centred.along(&direction));
        let step_norm = tau * norm(&along) / (n.max(1) as f64).sqrt();
        self.previous = direction;
        Ok(vec![Step::within(change, step_norm, force, s.trust_radius, tau)])
    }

    fn memory(&self) -> Vec<f64> {
        self.previous.clone()
    }

    fn reparametrised(&mut self) {
        self.previous.clear();
    }

    fn recall(&mut self, memory: &[f64], parameters: usize) -> bool {
        self.previous = memory.to_vec();
        [0, parameters].contains(&memory.len())
    }
}
