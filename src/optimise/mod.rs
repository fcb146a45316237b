//! Optimisers of the variational parameters.
//!
//! Each turns a batch of samples into a step. Adding one: a file here with its settings and its
//! [`Optimiser`], and its line in the list of `optimisers!`.

pub mod adam;
pub(crate) mod damping;
pub mod energy_natural_gradient;
pub mod lbfgs;
pub mod rayleigh_gauss_newton;
pub mod settings;
pub(crate) mod spectrum;
pub mod stochastic_reconfiguration;
mod tangents;

pub use adam::AdamSettings;
pub use energy_natural_gradient::EnergyNaturalGradientSettings;
pub use lbfgs::LbfgsSettings;
pub use rayleigh_gauss_newton::RayleighGaussNewtonSettings;
pub use settings::{Bound, Labels, Settings};
pub use stochastic_reconfiguration::{SolveSpace, StochasticReconfigurationSettings};

use crate::local_energy::{Batch, Derivatives};
use crate::math::linalg::LinearError;
use crate::math::tall::{self, Centred};
use crate::objective::ground_state::Clipped;
use crate::objective::{ObjectiveSettings, Weights};
use crate::wavefunction::WavefunctionSettings;
use faer::Mat;
use serde::{Deserialize, Serialize};

/// Writes [`OptimiserSettings`] and what it knows of its variants from a list of them.
macro_rules! optimisers {
    ($($(#[$doc:meta])* $name:ident($settings:ty),)*) => {
        /// The optimiser of a run and its settings.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum OptimiserSettings {
            /// The one that suits the wavefunction: [`OptimiserSettings::complete`].
            Automatic,
            $($(#[$doc])* $name($settings),)*
        }

        impl OptimiserSettings {
            /// What the settings say of themselves.
            pub fn settings(&self) -> &dyn Settings {
                match self {
                    OptimiserSettings::Automatic => &RayleighGaussNewtonSettings::DEFAULT,
                    $(OptimiserSettings::$name(s) => s,)*
                }
            }
        }
    };
}

// The registry: an optimiser a line.
optimisers! {
    /// Adam: D. Kingma, J. Ba, arXiv:1412.6980.
    Adam(AdamSettings),
    /// Stochastic reconfiguration: S. Sorella, Phys. Rev. Lett. 80, 4558 (1998).
    StochasticReconfiguration(StochasticReconfigurationSettings),
    /// Rayleigh–Gauss–Newton: R. Webber, M. Lindsey, Phys. Rev. Research 4, 033099 (2022).
    RayleighGaussNewton(RayleighGaussNewtonSettings),
    /// Energy natural gradient: J. Müller, M. Zeinhofer, Proc. Machine Learning Research 202, 25471 (2023).
    EnergyNaturalGradient(EnergyNaturalGradientSettings),
    /// L-BFGS on fixed samples with reweighting: C. Umrigar et al., Phys. Rev. Lett. 60, 1719 (1988).
    Lbfgs(LbfgsSettings),
}

impl Default for OptimiserSettings {
    fn default() -> Self {
        OptimiserSettings::RayleighGaussNewton(Default::default())
    }
}

impl OptimiserSettings {
    /// What a spec without an optimiser says.
    pub fn automatic() -> Self {
        OptimiserSettings::Automatic
    }

    /// Writes out the settings that follow the wavefunction: [`RayleighGaussNewtonSettings`], with those of
    /// [`RayleighGaussNewtonSettings::unbounded`] for Waveflow; [`EnergyNaturalGradientSettings`] where its slope has kinks.
    pub fn complete(&mut self, wavefunction: &WavefunctionSettings) {
        if *self != OptimiserSettings::Automatic {
            return;
        }
        *self = match wavefunction {
            _ if wavefunction.has_kinks() => {
                OptimiserSettings::EnergyNaturalGradient(Default::default())
            }
            WavefunctionSettings::Waveflow(_) => {
                OptimiserSettings::RayleighGaussNewton(RayleighGaussNewtonSettings::unbounded())
            }
            WavefunctionSettings::Weyl(_) | WavefunctionSettings::SectorBase(_) => {
                OptimiserSettings::RayleighGaussNewton(Default::default())
            }
        };
    }

    /// The optimiser at the start of a run that minimises the energy.
    pub fn build(&self) -> Box<dyn Optimiser> {
        self.minimising(ObjectiveSettings::default())
    }

    /// The optimiser at the start of a run with an objective.
    pub fn minimising(&self, objective: ObjectiveSettings) -> Box<dyn Optimiser> {
        self.settings().build(objective)
    }
}

/// A change of the parameters and what to report of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Added to the parameters.
    pub change: Vec<f64>,
    /// Euclidean norm of the energy gradient `2 <O (E_L - E)>`, in Hartree.
    pub gradient_norm: f64,
    /// `sqrt(d^T S d)`: the angle by which the state turns, in radians.
    pub step_norm: f64,
    /// Learning rate or imaginary-time step in force.
    pub tau: f64,
}

/// Where a run stands and how bold its next step may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// From 0 at the first iteration to 1 at the last.
    pub progress: f64,
    /// Multiplies the learning rate or imaginary-time step: 1, or less after a step was taken back.
    pub caution: f64,
}

/// The samples of a batch at other parameters.
pub trait Landscape {
    /// The same configurations with all derivatives; none where something is not finite.
    fn at(&mut self, parameters: &[f64]) -> Option<Batch>;
}

/// Turns batches of samples into steps.
pub trait Optimiser: Send {
    /// Which derivatives its batches must carry.
    fn derivatives(&self) -> Derivatives;

    /// Share of its samples that should go to the tails: see [`Batch::weight`].
    fn tails(&self) -> f64 {
        0.0
    }

    /// What counts in the objective that the last [`Self::steps`] lower.
    fn weights(&self) -> Weights {
        Weights::ENERGY
    }

    /// Alternatives for the next step; at least one.
    fn steps(
        &mut self,
        batch: &Batch,
        pace: Pace,
        landscape: &mut dyn Landscape,
    ) -> Result<Vec<Step>, LinearError>;

    /// Which of them was taken, if any.
    fn took(&mut self, _choice: Option<usize>) {}

    /// Forgets what belongs to single parameters: the same state has others now.
    fn reparametrised(&mut self) {}

    /// Everything that the next step depends on besides its arguments.
    fn memory(&self) -> Vec<f64> {
        Vec::new()
    }

    /// Continues from a [`Self::memory`]; false if it is none of this optimiser with so many parameters.
    #[must_use]
    fn recall(&mut self, memory: &[f64], _parameters: usize) -> bool {
        memory.is_empty()
    }
}

/// Share of a run with the full step; the optimisers with curvature are near their floor after it.
const FULL_STEP_SHARE: f64 = 0.2;

/// `start` during the first fifth of the run, then falling geometrically to `start * fraction`.
///
/// The caution of the pace comes on top.
fn schedule(start: f64, fraction: f64, pace: Pace) -> f64 {
    let past = (pace.progress - FULL_STEP_SHARE) / (1.0 - FULL_STEP_SHARE);
    start * fraction.powf(past.clamp(0.0, 1.0)) * pace.caution
}

/// Euclidean norm.
fn norm(v: &[f64]) -> f64 {
    v.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Centred quantities of a batch that carries `O` as a matrix.
struct CentredBatch<'a> {
    batch: &'a Batch,
    /// Weights and local energies.
    clipped: Clipped,
    /// Those of `O`.
    rows: Centred<'a>,
}

impl<'a> CentredBatch<'a> {
    fn new(batch: &'a Batch, clip: f64) -> Self {
        let clipped = Clipped::new(batch, clip);
        let rows = clipped.centred(&batch.log_gradient, batch.parameter_count);
        CentredBatch { batch, clipped, rows }
    }

    fn parameters(&self) -> usize {
        self.batch.parameter_count
    }

    fn scale(&self) -> f64 {
        1.0 / self.batch.samples().max(1) as f64
    }

    /// `F_k = <O_k (E_L - E)>`, half the energy gradient.
    fn force(&self) -> Vec<f64> {
        let Clipped { root, energy, .. } = &self.clipped;
        let mut f = self.rows.combine(root.iter().zip(energy).map(|(root, e)| root * e));
        f.iter_mut().for_each(|f| *f *= self.scale());
        f
    }

    /// `sqrt(d^T S d)` without the matrix.
    fn metric_norm(&self, d: &[f64]) -> f64 {
        let square: f64 = self.rows.along(d).iter().map(|a| a * a).sum();
        (square * self.scale()).sqrt()
    }

    /// `S = O^T O / n`.
    fn overlap(&self) -> Mat<f64> {
        tall::gram(&self.rows, self.scale())
    }

    /// The largest diagonal element of `S`, without the matrix.
    fn largest_square(&self) -> f64 {
        let squares = self.rows.squares(&self.clipped.weight);
        self.scale() * squares.into_iter().fold(0.0, f64::max)
    }

    /// What `S` is multiplied with in the [metric](Self::metric) at a `tau` in units of inverse energy.
    fn share(&self, tau: f64) -> f64 {
        self.clipped.unit / tau
    }

    /// `S / tau` with a shift and the wavefunction's roughness, both relative to the largest element of `S`, in units of
    /// energy: `tau` is in units of inverse energy.
    fn metric(&self, tau: f64, shift: f64, smoothing: f64) -> Mat<f64> {
        let overlap = self.overlap();
        let largest = (0..self.parameters()).map(|k| overlap[(k, k)]).fold(0.0, f64::max);
        let mut metric = overlap * faer::Scale(self.share(tau));
        self.support(&mut metric, largest, shift, smoothing);
        metric
    }

    /// Adds to `S / tau` what else belongs to the [metric](Self::metric).
    fn support(&self, metric: &mut Mat<f64>, largest: f64, shift: f64, smoothing: f64) {
        let largest = self.clipped.unit * largest;
        for j in 0..self.parameters() {
            metric[(j, j)] += shift * largest + f64::MIN_POSITIVE;
        }
        for form in &self.batch.roughness {
            for &(i, a) in form {
                for &(j, b) in form {
                    metric[(i, j)] += smoothing * largest * a * b;
                }
            }
        }
    }

    /// A step inside the trust region.
    fn finish(&self, change: Vec<f64>, force: &[f64], trust_radius: f64, tau: f64) -> Step {
        let step_norm = self.metric_norm(&change);
        Step::within(change, step_norm, norm(force), trust_radius, tau)
    }
}

impl Step {
    /// Scales a change of the given norm into the trust region; `force` is the norm of `<O (E_L - E)>`.
    fn within(
        mut change: Vec<f64>,
        mut step_norm: f64,
        force: f64,
        trust_radius: f64,
        tau: f64,
    ) -> Self {
        if step_norm > trust_radius {
            let scale = trust_radius / step_norm;
            change.iter_mut().for_each(|c| *c *= scale);
            step_norm = trust_radius;
        }
        Step { change, gradient_norm: 2.0 * force, step_norm, tau }
    }
}
