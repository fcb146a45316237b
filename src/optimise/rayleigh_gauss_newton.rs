//! Rayleigh–Gauss–Newton: implicit imaginary time with the curvature of the energy.
//!
//! R. Webber, M. Lindsey, "Rayleigh–Gauss–Newton optimization with enhanced sampling for variational Monte
//! Carlo", Phys. Rev. Research 4, 033099 (2022). `(S / tau + H + shift) d = F` with
//! `H_ij = <O_i (dE_L/dp_j + (E_L - E) O_j)>`; `tau -> infinity` is Newton's method.

use super::damping::Damping;
use super::{Bound, CentredBatch, Landscape, Optimiser, Pace, Settings, Step, schedule};
use crate::local_energy::{Batch, Derivatives};
use crate::math::linalg::{self, LinearError};
use crate::math::tall::{self, Tall};
use crate::objective::ground_state::Residual;
use crate::objective::{ObjectiveSettings, Weights};
use faer::{Mat, Scale};
use serde::{Deserialize, Serialize};

/// Settings of Rayleigh–Gauss–Newton.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RayleighGaussNewtonSettings {
    /// Imaginary-time step at damping one, in units of one over the kinetic energy.
    pub tau: f64,
    /// Shift of the matrix at damping one, relative to the largest diagonal element of the overlap matrix.
    pub shift: f64,
    /// Weight of the wavefunction's roughness in the matrix at damping one, relative to the largest diagonal
    /// element of the overlap matrix: spline weights that few samples see follow their neighbours instead of
    /// the noise.
    pub smoothing: f64,
    /// Weight of the roughness of the parameters themselves in what is minimised, in units of the kinetic energy.
    pub penalty: f64,
    /// Weight of the variance of the local energy in what is minimised, `E + variance/2 e Var(E_L) / (e² + Var(E_L))` with
    /// the kinetic energy `e` as unit: without units of its own, so that what is far from an eigenstate follows its energy. Its
    /// Gauss–Newton matrix ties down parameters that only matter where samples are rare. While no step lowers that, a state
    /// far from an eigenstate goes by its energy alone. With 0 there is no choice among dampings: one step an iteration,
    /// `tau` falling on a schedule.
    pub variance: f64,
    /// Share of the samples drawn with more weight on the tails, in [0, 1). Importance weights undo it in the
    /// energy, and are left out of the variance, which so counts the tails in full.
    pub tails: f64,
    /// Largest step in the norm of the overlap matrix, in radians.
    pub trust_radius: f64,
    /// Local energies are clipped at this many median absolute deviations in the step.
    pub clip: f64,
}

impl RayleighGaussNewtonSettings {
    /// The default.
    pub(super) const DEFAULT: Self = RayleighGaussNewtonSettings {
        tau: 1.0,
        shift: 1e-3,
        smoothing: 1e-2,
        penalty: 0.0,
        variance: 1.0,
        tails: 0.4,
        trust_radius: 0.3,
        clip: 30.0,
    };

    /// Settings for wavefunctions whose local energy is not bounded: its variance is no guide.
    pub fn unbounded() -> Self {
        RayleighGaussNewtonSettings { variance: 0.0, ..Self::DEFAULT }
    }
}

impl Default for RayleighGaussNewtonSettings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Settings for RayleighGaussNewtonSettings {
    fn name(&self) -> &'static str {
        "Rayleigh-Gauss-Newton"
    }

    fn bounds(&self) -> Vec<(&'static str, f64, Bound)> {
        let RayleighGaussNewtonSettings {
            tau,
            shift,
            smoothing,
            penalty,
            variance,
            tails,
            trust_radius,
            clip,
        } = self;
        vec![
            ("tau", *tau, Bound::Positive),
            ("shift", *shift, Bound::Positive),
            ("smoothing", *smoothing, Bound::NotNegative),
            ("penalty", *penalty, Bound::NotNegative),
            ("variance", *variance, Bound::NotNegative),
            ("tails", *tails, Bound::Decay),
            ("trust_radius", *trust_radius, Bound::Positive),
            ("clip", *clip, Bound::Positive),
        ]
    }

    fn numbers(&self, samples: f64, _particles: f64, parameters: f64) -> f64 {
        2.0 * samples * parameters + 6.0 * parameters * parameters
    }

    fn variance(&self) -> f64 {
        self.variance
    }

    fn build(&self, objective: ObjectiveSettings) -> Box<dyn Optimiser> {
        Box::new(RayleighGaussNewton::new(self.clone(), objective))
    }
}

/// The optimiser and how strongly it damps at present.
#[derive(Clone, Debug)]
pub struct RayleighGaussNewton {
    settings: RayleighGaussNewtonSettings,
    damping: Damping,
    /// Factor on the weight of the variance, 1 unless no step could be taken.
    lean: f64,
    objective: ObjectiveSettings,
    /// What the last steps weighed, and whether their state was far from an eigenstate.
    weights: Weights,
    far: bool,
}

/// Change of the factor on the weight of the variance when no step could be taken, its bound, and the change with each step that was.
const LEAN: (f64, f64, f64) = (0.03, 1e-3, 2.0);

/// Shift from which on the matrix of a single step comes from rows in single precision: there these change it by less than a hundredth.
const SINGLE_PRECISION: f64 = 1e-4;

/// What `tau` falls to by the last iteration where the variance is not minimised.
const FINAL_FRACTION: f64 = 0.03;

impl RayleighGaussNewton {
    /// A fresh start.
    pub fn new(settings: RayleighGaussNewtonSettings, objective: ObjectiveSettings) -> Self {
        RayleighGaussNewton {
            settings,
            damping: Damping(1.0),
            lean: 1.0,
            objective,
            weights: Weights::ENERGY,
            far: false,
        }
    }
}

/// Rows whose product with those of `O` is the curvature of the energy and a share of the overlap matrix,
/// `energy (dE_L/dp + (E_L - E) O) + overlap O`.
struct Bent<'a> {
    centred: &'a CentredBatch<'a>,
    energy: f64,
    overlap: f64,
}

impl Tall for Bent<'_> {
    fn rows(&self) -> usize {
        self.centred.rows.rows()
    }

    fn columns(&self) -> usize {
        self.centred.parameters()
    }

    fn row(&self, row: usize, out: &mut [f64]) {
        self.centred.rows.row(row, out);
        let CentredBatch { batch, clipped, .. } = self.centred;
        // Clipped samples are left out of the curvature, whose noise they would dominate.
        let keep = self.energy * f64::from(u8::from(clipped.inside[row]));
        let root = clipped.root[row];
        let of_slope = keep * root;
        let of_o = keep * clipped.energy[row] / root + self.overlap;
        let slopes = &batch.energy_gradient[row * self.columns()..][..self.columns()];
        out.iter_mut().zip(slopes).for_each(|(o, slope)| *o = of_slope * slope + of_o * *o);
    }
}

impl Optimiser for RayleighGaussNewton {
    fn derivatives(&self) -> Derivatives {
        Derivatives::LocalEnergy
    }

    fn tails(&self) -> f64 {
        self.settings.tails
    }

    fn weights(&self) -> Weights {
        self.weights
    }

    fn steps(
        &mut self,
        batch: &Batch,
        pace: Pace,
        _landscape: &mut dyn Landscape,
    ) -> Result<Vec<Step>, LinearError> {
        let s = &self.settings;
        let centred = CentredBatch::new(batch, s.clip);
        let scale = centred.scale();
        // Local energies that are not bounded (Waveflow's) make the comparison of steps too noisy to choose by: without
        // the variance there is one step, on a schedule.
        let dampings = if s.variance > 0.0 {
            self.damping.tried().to_vec()
        } else {
            vec![s.tau / schedule(s.tau, FINAL_FRACTION, pace)]
        };
        let asked = centred.clipped.weights(self.objective.objective(), s.variance);
        self.weights = Weights { variance: self.lean * asked.variance, ..asked };
        self.far = centred.clipped.is_far();
        let Weights { energy, variance: weight } = self.weights;
        // Where one step is asked for, the overlap matrix needs no product of its own.
        let (overlap, metric) = if let [damping] = dampings[..] {
            let mut support = Mat::zeros(centred.parameters(), centred.parameters());
            centred.support(&mut support, centred.largest_square(), s.shift, s.smoothing);
            (damping * centred.share(s.tau), support)
        } else {
            (0.0, centred.metric(s.tau, s.shift, s.smoothing))
        };
        let bent = Bent { centred: &centred, energy, overlap };
        let mut curvature = if dampings.len() == 1 && s.shift >= SINGLE_PRECISION {
            tall::single_product(&centred.rows, &bent, scale)
        } else {
            tall::product(&centred.rows, &bent, scale)
        };
        let mut force = centred.force();
        force.iter_mut().for_each(|f| *f *= energy);
        if weight > 0.0 {
            let residual = Residual::new(batch, centred.clipped.width);
            curvature += tall::gram(&residual.jacobian, weight * scale);
            force.iter_mut().zip(&residual.force).for_each(|(f, r)| *f += weight * r);
        }
        let penalty = s.penalty * centred.clipped.unit;
        for form in &batch.roughness {
            let size: f64 = form.iter().map(|&(k, a)| a * batch.parameters[k]).sum();
            for &(i, a) in form {
                force[i] += penalty * a * size;
                for &(j, b) in form {
                    curvature[(i, j)] += penalty * a * b;
                }
            }
        }
        dampings
            .into_iter()
            .map(|damping| {
                let matrix = &curvature + &metric * Scale(damping);
                let change = linalg::solve_general(&matrix, &force)?.iter().map(|d| -d).collect();
                let tau = s.tau / (damping * centred.clipped.unit);
                Ok(centred.finish(change, &force, s.trust_radius, tau))
            })
            .collect()
    }

    fn took(&mut self, choice: Option<usize>) {
        // Without the variance the schedule damps.
        if self.settings.variance <= 0.0 {
            return;
        }
        let (less, least, more) = LEAN;
        if choice.is_none() && self.far && self.lean > least {
            self.lean = (less * self.lean).max(least);
        } else {
            self.damping.took(choice);
        }
        if choice.is_some() {
            self.lean = (more * self.lean).min(1.0);
        }
    }

    fn memory(&self) -> Vec<f64> {
        vec![self.damping.0, self.lean]
    }

    fn recall(&mut self, memory: &[f64], _parameters: usize) -> bool {
        let [damping, lean] = *memory else { return false };
        (self.damping, self.lean) = (Damping(damping), lean);
        damping.is_finite() && (0.0..=1.0).contains(&lean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local_energy::{self, BatchId};
    use crate::sampling::{Purpose, Sampling};
    use crate::system::{External, Geometry, Hamiltonian, Interaction, Sector, System};
    use crate::wavefunction::WavefunctionSettings;
    use crate::wavefunction::waveflow::WaveflowSettings;

    struct Nowhere;

    impl Landscape for Nowhere {
        fn at(&mut self, _parameters: &[f64]) -> Option<Batch> {
            None
        }
    }

    /// On both sides of the shift where precisions change, which is nearly the same.
    #[test]
    fn single_precision_hardly_changes_a_step() {
        let interaction = Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 };
        for (frequency, half_width) in [(1.0, 8.0), (1e-4, 800.0)] {
            let hamiltonian = Hamiltonian {
                title: String::new(),
                external: External::Harmonic { frequency },
                interaction: interaction.clone(),
            };
            let geometry = Geometry::Box { half_width };
            let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
            let settings = WavefunctionSettings::Waveflow(WaveflowSettings {
                hidden: vec![8],
                ..Default::default()
            });
            let psi = settings.build(Sector::new(2, 0), system, 3).unwrap();
            for seed in [1, 2] {
                let id = BatchId {
                    sampling: Sampling::Random,
                    seed,
                    purpose: Purpose::Training,
                    number: 0,
                    first: 0,
                    tails: 0.0,
                };
                let batch = local_energy::draw(&*psi, system, id, 700, Derivatives::LocalEnergy);
                let step = |shift: f64| {
                    let settings = RayleighGaussNewtonSettings {
                        shift,
                        ..RayleighGaussNewtonSettings::unbounded()
                    };
                    let pace = Pace { progress: 0.5, caution: 1.0 };
                    let mut optimiser = settings.build(ObjectiveSettings::default());
                    let steps = optimiser.steps(&batch, pace, &mut Nowhere).unwrap();
                    steps[0].change.clone()
                };
                let single = step(SINGLE_PRECISION * (1.0 + 1e-9));
                let double = step(SINGLE_PRECISION * (1.0 - 1e-9));
                let norm = super::super::norm;
                let difference: Vec<f64> = single.iter().zip(&double).map(|(a, b)| a - b).collect();
                let relative = norm(&difference) / norm(&double);
                assert!(relative > 0.0 && relative < 1e-2, "{frequency} {seed}: {relative}");
            }
        }
    }
}
