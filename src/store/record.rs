//! The numbers of a run, as they go into `energy.csv`, `summary.json` and `report.html`.

use crate::estimate::{Check, EnergyEstimate, Gain, Scale, Tails, Verdict};
use crate::sampling::Sampling;
use crate::train::StopReason;
use crate::wavefunction::RayleighQuotient;
use crate::wavefunction::slopes::Slopes;
use crate::work::Work;
use serde::{Deserialize, Deserializer, Serialize};

/// One optimisation step: a row of `energy.csv`. Energies in Hartree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IterationRow {
    /// Number of the iteration, from 0.
    pub iteration: usize,
    /// Mean local energy of the samples of this iteration, before the step.
    pub energy: f64,
    /// Standard error that independent samples would have, sqrt(Var / N); quasi-random ones are usually better.
    pub standard_error: f64,
    /// Variance of the local energy, in Hartree².
    pub variance: f64,
    /// Euclidean norm of the energy gradient.
    pub gradient_norm: f64,
    /// Norm of the step in the metric of the state (radians).
    pub step_norm: f64,
    /// Learning rate or imaginary-time step in force.
    pub tau: f64,
    /// Wall time since the start of the run, in seconds.
    pub seconds: f64,
}

/// The exact energy a run is compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Exact electronic energy, in Hartree.
    pub energy: f64,
    /// How far the number itself may be off, where that is known.
    pub error_estimate: Option<f64>,
    /// Where the number comes from.
    pub source: String,
    /// Energy of the run minus this one.
    pub deviation: f64,
}

/// The result of a run: `summary.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Title of the spec.
    pub title: String,
    /// Version of weylflow.
    pub version: String,
    /// Fingerprint of the wavefunction it belongs to; none in the summaries of versions without.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// Electronic energy of the state, in Hartree: from fresh samples, or without them where the state knows it better.
    pub energy: f64,
    /// Standard error of `energy`; where it is known without samples, what quadrature and rounding may leave.
    pub standard_error: f64,
    /// The energy from fresh samples where `energy` is not that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled: Option<Sampled>,
    /// What the standard error of the samples rests on.
    pub error_bar: ErrorBar,
    /// Variance of the local energy on the final samples, in Hartree².
    pub variance: f64,
    /// `N variance / energy²` for N particles, without dimension: how far from an eigenstate, comparable between
    /// systems (the V-score of D. Wu et al., "Variational benchmarks for quantum many-body problems", Science 386, 296
    /// (2024), with zero as the origin of the energy).
    pub v_score: f64,
    /// Constant repulsion of the nuclei.
    pub nuclear_repulsion: f64,
    /// `energy + nuclear_repulsion`.
    pub total_energy: f64,
    /// Number of fresh samples.
    pub samples: usize,
    /// Number of variational parameters.
    pub parameters: usize,
    /// Number of optimisation steps taken.
    pub iterations: usize,
    /// Iterations whose parameters were averaged for the final state.
    pub averaged_iterations: usize,
    /// Wall time of the whole run, in seconds.
    pub wall_seconds: f64,
    /// Processor time of the whole run, in seconds.
    pub cpu_seconds: f64,
    /// Number of threads of the first process.
    pub threads: usize,
    /// Number of processes that shared the samples.
    #[serde(default = "one")]
    pub processes: usize,
    /// Work of training, final estimate and health tests over all processes, the same for any number of them and of threads; none
    /// in the summaries of versions that did not count.
    #[serde(default)]
    pub work: Option<Work>,
    /// Seed of all random numbers.
    pub seed: u64,
    /// The exact energy, where one is known.
    pub reference: Option<Reference>,
    /// Why training stopped; none in the summaries of versions that did not say.
    #[serde(default)]
    pub stopped: Option<StopReason>,
    /// What the checks come to; none in the summaries of versions without.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// The checks of the result: see [`crate::estimate::judge()`].
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Why there is none, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_reference: Option<String>,
    /// Numbers that tell whether the sampler can be trusted.
    pub health: Health,
}

impl Summary {
    /// Degrees of freedom of the standard error; `None` where they are so many that it is as good as known.
    pub fn degrees_of_freedom(&self) -> Option<usize> {
        match self.sampled {
            Some(_) => None,
            None => self.error_bar.degrees_of_freedom(),
        }
    }
}

/// The mean local energy of fresh samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    /// In Hartree.
    pub energy: f64,
    /// Its standard error.
    pub standard_error: f64,
}

/// A number that is there and not finite is `null`; one that is not there is left out.
fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(Some(Option::deserialize(deserializer)?.unwrap_or(f64::NAN)))
}

fn one() -> usize {
    1
}

/// Where the standard error of the energy comes from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBar {
    /// Kind of points the final samples were made from.
    pub sampling: Sampling,
    /// Independent scramblings whose scatter the error is; none for independent samples.
    pub scramblings: Option<usize>,
    /// sqrt(Var / N), the error of as many independent samples, in Hartree.
    pub independent: f64,
    /// `independent` over the standard error, where points are quasi-random.
    pub gain: Option<Gain>,
}

impl ErrorBar {
    /// What the error bar of an estimate rests on.
    pub fn of(energy: &EnergyEstimate) -> Self {
        let scramblings = energy.sets();
        ErrorBar {
            sampling: scramblings.map_or(Sampling::Random, |_| Sampling::QuasiRandom),
            scramblings,
            independent: energy.independent_error(),
            gain: energy.gain(),
        }
    }

    /// Degrees of freedom of the standard error; `None` where they are so many that it is as good as known.
    pub fn degrees_of_freedom(&self) -> Option<usize> {
        self.scramblings.map(|r| r.saturating_sub(1))
    }
}

/// Checks of the flow at the final parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Largest `|x - T^-1(T(x))|` over a set of samples, in bohr.
    pub round_trip_error: f64,
    /// Largest slopes of the trained map and of its inverse over the same samples; none in the summaries of versions
    /// that did not look.
    #[serde(default)]
    pub slopes: Option<Slopes>,
    /// How far the density of the samples is from `|psi|²`, relative; none in the summaries of versions that did not look.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "null_is_nan")]
    pub density_drift: Option<f64>,
    /// Reasons why the energy is refused; empty for a healthy run.
    #[serde(default)]
    pub refusals: Vec<String>,
    /// Final samples with a non-finite or absurd local energy, which are left out of every mean.
    pub rejected_samples: usize,
    /// The same of the training.
    #[serde(default)]
    pub rejected_in_training: usize,
    /// Length of the interval that holds the particles, in bohr.
    #[serde(default)]
    pub length: Option<f64>,
    /// Sizes of the parts of the energy.
    #[serde(default)]
    pub scale: Option<Scale>,
    /// The energy from samples with more weight on the tails.
    #[serde(default)]
    pub tails: Option<Tails>,
    /// Largest `|E_L - energy|` among the final samples, in Hartree.
    pub largest_local_energy_deviation: f64,
    /// Median `|E_L - energy|` among them.
    pub median_local_energy_deviation: f64,
    /// Norm and Rayleigh quotient without samples: by quadrature for one or two particles, and of more where the state knows them.
    pub quadrature: Option<RayleighQuotient>,
}

/// One-body density on equal bins, from the final samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DensityProfile {
    /// Bin edges in bohr, one more than there are bins.
    pub edges: Vec<f64>,
    /// Spin-up density per bin, in particles per bohr, and its standard error; empty without such particles.
    pub up: Vec<(f64, f64)>,
    /// Spin-down density per bin, likewise.
    pub down: Vec<(f64, f64)>,
}
