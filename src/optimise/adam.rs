//! Adam, the first-order baseline (D. Kingma, J. Ba, arXiv:1412.6980, algorithm 1).

use super::tangents::CentredTangent;
use super::{Bound, Labels, Landscape, Optimiser, Pace, Settings, Step, schedule};
use crate::local_energy::{Batch, Derivatives};
use crate::math::linalg::LinearError;
use crate::objective::ObjectiveSettings;
use serde::{Deserialize, Serialize};

/// Settings of Adam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamSettings {
    /// Step length during the first fifth of the run.
    pub learning_rate: f64,
    /// The step length falls to this fraction of the first by the last iteration.
    pub final_fraction: f64,
    /// Decay of the mean of the gradient.
    pub beta1: f64,
    /// Decay of the mean of its square.
    pub beta2: f64,
    /// Local energies are clipped at this many median absolute deviations in the gradient.
    pub clip: f64,
}

impl Default for AdamSettings {
    fn default() -> Self {
        AdamSettings {
            learning_rate: 3e-3,
            final_fraction: 0.03,
            beta1: 0.9,
            beta2: 0.99,
            clip: 30.0,
        }
    }
}

impl Settings for AdamSettings {
    fn name(&self) -> &'static str {
        "Adam"
    }

    fn labels(&self) -> Labels {
        Labels { step: "step norm", length: "learning rate", length_name: "learning rate" }
    }

    fn bounds(&self) -> Vec<(&'static str, f64, Bound)> {
        let AdamSettings { learning_rate, final_fraction, beta1, beta2, clip } = self;
        vec![
            ("learning_rate", *learning_rate, Bound::Positive),
            ("final_fraction", *final_fraction, Bound::Fraction),
            ("beta1", *beta1, Bound::Decay),
            ("beta2", *beta2, Bound::Decay),
            ("clip", *clip, Bound::Positive),
        ]
    }

    fn numbers(&self, samples: f64, _particles: f64, parameters: f64) -> f64 {
        3.0 * samples * parameters
    }

    fn build(&self, _objective: ObjectiveSettings) -> Box<dyn Optimiser> {
        Box::new(Adam::new(self.clone()))
    }
}

/// Adam with its two running means.
#[derive(Clone, Debug)]
pub struct Adam {
    settings: AdamSettings,
    steps: i32,
    mean: Vec<f64>,
    square: Vec<f64>,
}

impl Adam {
    /// A fresh start.
    pub fn new(settings: AdamSettings) -> Self {
        Adam { settings, steps: 0, mean: Vec::new(), square: Vec::new() }
    }
}

impl Optimiser for Adam {
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
        let force = centred.force();
        self.steps += 1;
        self.mean.resize(force.len(), 0.0);
        self.square.resize(force.len(), 0.0);
        let rate = schedule(s.learning_rate, s.final_fraction, pace);
        let correct = |beta: f64| 1.0 / (1.0 - beta.powi(self.steps));
        let (c1, c2) = (correct(s.beta1), correct(s.beta2));
        let mut change = vec![0.0; force.len()];
        for k in 0..force.len() {
            let g = 2.0 * force[k];
            self.mean[k] += (1.0 - s.beta1) * (g - self.mean[k]);
            self.square[k] += (1.0 - s.beta2) * (g * g - self.square[k]);
            change[k] = -rate * c1 * self.mean[k] / ((c2 * self.square[k]).sqrt() + 1e-10);
        }
        if change.iter().any(|c| !c.is_finite()) {
            return Err(LinearError::Singular);
        }
        Ok(vec![centred.finish(change, &force, f64::INFINITY, rate)])
    }

    fn memory(&self) -> Vec<f64> {
        let mut memory = vec![f64::from(self.steps)];
        memory.extend(self.mean.iter().chain(&self.square));
        memory
    }

    fn reparametrised(&mut self) {
        (self.steps, self.mean, self.square) = (0, Vec::new(), Vec::new());
    }

    fn recall(&mut self, memory: &[f64], parameters: usize) -> bool {
        let Some((&steps, means)) = memory.split_first() else { return false };
        // Before the first step there are no means.
        if ![0, 2 * parameters].contains(&means.len()) || !(0.0..=1e9).contains(&steps) {
            return false;
        }
        let (mean, square) = means.split_at(means.len() / 2);
        (self.steps, self.mean, self.square) = (steps as i32, mean.to_vec(), square.to_vec());
        true
    }
}
