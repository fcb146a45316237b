//! Energy natural gradient: the metric of the kinetic energy.
//!
//! J. Müller, M. Zeinhofer, "Achieving high accuracy with PINNs via energy natural gradient descent", Proc. Machine
//! Learning Research 202, 25471 (2023). `(damping (S / tau + shift + smoothing) + 1/2 <∇O_i · ∇O_j>) d = F`: the part of
//! the energy's Hessian that is positive by construction. The rest, `<(E_L - E) O_i O_j>`, vanishes at an eigenstate.

use super::damping::Damping;
use super::{Bound, CentredBatch, Landscape, Optimiser, Pace, Settings, Step};
use crate::local_energy::{Batch, Derivatives};
use crate::math::linalg::{self, LinearError};
use crate::math::tall::{self, Tall};
use crate::objective::ObjectiveSettings;
use serde::{Deserialize, Serialize};

/// Settings of the energy natural gradient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnergyNaturalGradientSettings {
    /// Imaginary-time step at damping one, in units of one over the kinetic energy.
    pub tau: f64,
    /// Shift of the matrix at damping one, relative to the largest diagonal element of the overlap matrix.
    pub shift: f64,
    /// Weight of the wavefunction's roughness in the matrix at damping one, relative to the largest diagonal
    /// element of the overlap matrix.
    pub smoothing: f64,
    /// Largest step in the norm of the overlap matrix, in radians.
    pub trust_radius: f64,
    /// Local energies are clipped at this many median absolute deviations in the step.
    pub clip: f64,
}

impl Default for EnergyNaturalGradientSettings {
    fn default() -> Self {
        EnergyNaturalGradientSettings {
            tau: 1.0,
            shift: 1e-3,
            smoothing: 1e-2,
            trust_radius: 0.3,
            clip: 30.0,
        }
    }
}

impl Settings for EnergyNaturalGradientSettings {
    fn name(&self) -> &'static str {
        "Energy natural gradient"
    }

    fn bounds(&self) -> Vec<(&'static str, f64, Bound)> {
        let EnergyNaturalGradientSettings { tau, shift, smoothing, trust_radius, clip } = self;
        vec![
            ("tau", *tau, Bound::Positive),
            ("shift", *shift, Bound::Positive),
            ("smoothing", *smoothing, Bound::NotNegative),
            ("trust_radius", *trust_radius, Bound::Positive),
            ("clip", *clip, Bound::Positive),
        ]
    }

    fn numbers(&self, samples: f64, particles: f64, parameters: f64) -> f64 {
        (1.0 + particles) * samples * parameters + 5.0 * parameters * parameters
    }

    fn build(&self, _objective: ObjectiveSettings) -> Box<dyn Optimiser> {
        Box::new(EnergyNaturalGradient::new(self.clone()))
    }
}

/// The optimiser and how strongly it damps at present.
#[derive(Clone, Debug)]
pub struct EnergyNaturalGradient {
    settings: EnergyNaturalGradientSettings,
    damping: Damping,
}

impl EnergyNaturalGradient {
    /// A fresh start.
    pub fn new(settings: EnergyNaturalGradientSettings) -> Self {
        EnergyNaturalGradient { settings, damping: Damping(1.0) }
    }
}

/// Half the gradient of the energy, with what kinks add to it: see [`Evaluator::kinks`](crate::wavefunction::Evaluator::kinks).
fn force(centred: &CentredBatch) -> Vec<f64> {
    let batch = centred.batch;
    let mut force = centred.force();
    let rows = batch.mixed.chunks_exact(centred.parameters().max(1)).zip(&batch.kinks);
    for (i, (row, kink)) in rows.enumerate() {
        let share = 0.5 * centred.scale() * centred.clipped.weight[i / batch.particles] * kink;
        force.iter_mut().zip(row).for_each(|(f, o)| *f += share * o);
    }
    force
}

#[cfg(test)]
pub(crate) fn unclipped_force(batch: &Batch) -> Vec<f64> {
    force(&CentredBatch::new(batch, f64::MAX))
}

/// `d O_k / d x_i` of a batch, a row a coordinate, times the roots of the weights.
struct Mixed<'a>(&'a CentredBatch<'a>);

impl Tall for Mixed<'_> {
    fn rows(&self) -> usize {
        self.0.batch.samples() * self.0.batch.particles
    }

    fn columns(&self) -> usize {
        self.0.parameters()
    }

    fn row(&self, row: usize, out: &mut [f64]) {
        let CentredBatch { batch, clipped, .. } = self.0;
        let root = clipped.root[row / batch.particles];
        let mixed = &batch.mixed[row * self.columns()..][..self.columns()];
        out.iter_mut().zip(mixed).for_each(|(o, m)| *o = root * m);
    }
}

impl Optimiser for EnergyNaturalGradient {
    fn derivatives(&self) -> Derivatives {
        Derivatives::Mixed
    }

    fn steps(
        &mut self,
        batch: &Batch,
        _pace: Pace,
        _landscape: &mut dyn Landscape,
    ) -> Result<Vec<Step>, LinearError> {
        let s = &self.settings;
        let centred = CentredBatch::new(batch, s.clip);
        let force = force(&centred);
        let kinetic = tall::gram(&Mixed(&centred), 0.5 * centred.scale());
        let metric = centred.metric(s.tau, s.shift, s.smoothing);
        self.damping
            .tried()
            .into_iter()
            .map(|damping| {
                let matrix = &kinetic + &metric * faer::Scale(damping);
                let solved = linalg::solve_positive(&matrix, &force)?;
                let change = solved.iter().map(|d| -d).collect();
                let tau = s.tau / (damping * centred.clipped.unit);
                Ok(centred.finish(change, &force, s.trust_radius, tau))
            })
            .collect()
    }

    fn took(&mut self, choice: Option<usize>) {
        self.damping.took(choice);
    }

    fn memory(&self) -> Vec<f64> {
        vec![self.damping.0]
    }

    fn recall(&mut self, memory: &[f64], _parameters: usize) -> bool {
        let [damping] = *memory else { return false };
        self.damping = Damping(damping);
        damping.is_finite()
    }
}
