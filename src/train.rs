//! The life of a run: draw, step, repeat; then choose the parameters and estimate on fresh samples.
//!
//! Knows no clock, file or terminal: the caller watches through a callback.

use crate::estimate::{DensityEstimator, Moments};
use crate::local_energy::{self, Batch, BatchId, Derivatives};
use crate::math::linalg::LinearError;
use crate::optimise::{Optimiser, Pace, clip_range};
use crate::parallel;
use crate::sampling::{self, Purpose};
use crate::spec::RunSpec;
use crate::system::System;
use crate::wavefunction::{Wavefunction, WavefunctionError};

/// How long and with how many samples to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Number of optimisation steps.
    pub iterations: usize,
    /// Samples of each step.
    pub samples: usize,
    /// Fresh samples of the final estimate.
    pub final_samples: usize,
    /// Seed of all random numbers.
    pub seed: u64,
}

impl Schedule {
    /// What a spec asks for.
    pub fn of<H>(spec: &RunSpec<H>) -> Self {
        Schedule {
            iterations: spec.iterations,
            samples: spec.samples_per_iteration,
            final_samples: spec.final_samples,
            seed: spec.seed,
        }
    }
}

/// What the caller sees after each step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IterationReport {
    /// Number of the iteration, from 0.
    pub iteration: usize,
    /// Moments of the local energy before the step.
    pub energy: Moments,
    /// Euclidean norm of the energy gradient; NaN where the last step was taken back.
    pub gradient_norm: f64,
    /// Norm of the step in the metric of the state; zero where the last step was taken back.
    pub step_norm: f64,
    /// Learning rate or imaginary-time step; zero where the last step was taken back.
    pub tau: f64,
    /// Samples left out because something was not finite.
    pub rejected: usize,
}

/// Why training stopped.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TrainError {
    /// Too few samples have a finite local energy.
    #[error(
        "iteration {iteration}: only {finite} of {samples} samples have a finite local energy; \
         reduce the step (tau, learning_rate or trust_radius)"
    )]
    NotFinite {
        /// Number of the iteration.
        iteration: usize,
        /// Samples with a finite local energy.
        finite: usize,
        /// Samples drawn.
        samples: usize,
    },
    /// The linear system of a step could not be solved even with a larger shift.
    #[error("iteration {iteration}: {error}; increase the shift of the optimiser")]
    Step {
        /// Number of the iteration.
        iteration: usize,
        /// What failed.
        error: LinearError,
    },
    /// The wavefunction refused parameters.
    #[error(transparent)]
    Wavefunction(#[from] WavefunctionError),
}

/// What training leaves: the parameters of the final state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trained {
    /// Iterations whose parameters were averaged; 1 means that the last ones are used as they are.
    pub averaged_iterations: usize,
    /// Samples left out over the whole training.
    pub rejected: usize,
}

/// Takes back steps after which the energy rose beyond its error, and makes the next ones shorter.
///
/// The curvature that the optimisers use is noisy and may be indefinite far from the minimum; a step that
/// leads uphill would otherwise take tens of iterations to repair.
struct Guard {
    /// Multiplies the step.
    caution: f64,
    /// Energy and standard error at `parameters`.
    energy: (f64, f64),
    /// The last accepted parameters with about the lowest energy.
    parameters: Vec<f64>,
    /// Whether the next samples belong to `parameters` again, after a step was taken back.
    returned: bool,
}

/// Error bars by which the energy may rise from one step to the next.
const RISE: f64 = 4.0;
/// Median absolute deviations at which local energies are clipped for this comparison.
const GUARD_CLIP: f64 = 30.0;

impl Guard {
    fn new() -> Self {
        Guard {
            caution: 1.0,
            energy: (f64::INFINITY, 0.0),
            parameters: Vec::new(),
            returned: false,
        }
    }

    /// Whether to go on from `parameters`, whose samples are given.
    fn accepts(&mut self, batch: &Batch, parameters: &[f64]) -> bool {
        let (low, high) = clip_range(&batch.local_energy, GUARD_CLIP);
        let clipped: Vec<f64> = batch.local_energy.iter().map(|e| e.clamp(low, high)).collect();
        let moments = Moments::weighted(&clipped, &batch.weight);
        let (energy, error) = (moments.mean(), moments.standard_error());
        if std::mem::take(&mut self.returned) {
            // Fresh samples of the point itself: its first energy may have been a lucky low one, which
            // would go on turning down every step.
            self.energy = (energy, error);
            return true;
        }
        let rise = energy - self.energy.0;
        if rise > RISE * error.hypot(self.energy.1) {
            self.caution *= 0.25;
            self.returned = true;
            return false;
        }
        self.caution = (self.caution * 2.0).min(1.0);
        // A point a little higher may still be the better one.
        if rise <= error {
            self.energy = (energy, error);
            self.parameters = parameters.to_vec();
        }
        true
    }
}

/// Share of the run, at its end, over which parameters are averaged.
const AVERAGED_SHARE: f64 = 0.25;
/// Share of finite samples below which a step is not taken.
const FINITE_SHARE: f64 = 0.9;

/// Trains `psi` in place and leaves the better of the last and the averaged parameters in it.
pub fn train(
    psi: &mut dyn Wavefunction,
    system: System,
    optimiser: &mut dyn Optimiser,
    schedule: &Schedule,
    mut watch: impl FnMut(&IterationReport),
) -> Result<Trained, TrainError> {
    let mut parameters = psi.parameters().to_vec();
    let mut sum = vec![0.0; parameters.len()];
    let mut averaged = 0usize;
    let mut rejected = 0;
    let mut guard = Guard::new();
    let tail = ((schedule.iterations as f64 * AVERAGED_SHARE).ceil() as usize).max(1);
    for iteration in 0..schedule.iterations {
        let id = BatchId {
            seed: schedule.seed,
            purpose: Purpose::Training,
            number: iteration as u64,
            tails: optimiser.tails(),
        };
        let batch = local_energy::draw(psi, system, id, schedule.samples, optimiser.derivatives());
        rejected += batch.rejected;
        if (batch.samples() as f64) < FINITE_SHARE * schedule.samples as f64 {
            return Err(TrainError::NotFinite {
                iteration,
                finite: batch.samples(),
                samples: schedule.samples,
            });
        }
        let last = (schedule.iterations - 1).max(1);
        let step = if guard.accepts(&batch, &parameters) {
            let progress = iteration as f64 / last as f64;
            let pace = Pace { progress, caution: guard.caution };
            let step = optimiser
                .step(&batch, pace)
                .map_err(|error| TrainError::Step { iteration, error })?;
            for (p, c) in parameters.iter_mut().zip(&step.change) {
                *p += c;
            }
            Some(step)
        } else {
            parameters.copy_from_slice(&guard.parameters);
            None
        };
        psi.set_parameters(&parameters)?;
        if iteration + tail >= schedule.iterations && step.is_some() {
            averaged += 1;
            for (s, p) in sum.iter_mut().zip(&parameters) {
                *s += p;
            }
        }
        watch(&IterationReport {
            iteration,
            energy: Moments::weighted(&batch.local_energy, &batch.weight),
            gradient_norm: step.as_ref().map_or(f64::NAN, |s| s.gradient_norm),
            step_norm: step.as_ref().map_or(0.0, |s| s.step_norm),
            tau: step.as_ref().map_or(0.0, |s| s.tau),
            rejected: batch.rejected,
        });
    }
    if averaged > 1 {
        let mean: Vec<f64> = sum.iter().map(|s| s / averaged as f64).collect();
        let last = selection_energy(psi, system, schedule);
        psi.set_parameters(&mean)?;
        let smooth = selection_energy(psi, system, schedule);
        // The last parameters win a tie with NaN as well.
        if smooth > last || smooth.is_nan() {
            psi.set_parameters(&parameters)?;
            averaged = 1;
        }
    }
    Ok(Trained { averaged_iterations: averaged, rejected })
}

/// Energy on samples of their own that both candidates share through the same uniforms.
fn selection_energy(psi: &dyn Wavefunction, system: System, schedule: &Schedule) -> f64 {
    let id = BatchId { seed: schedule.seed, purpose: Purpose::Selection, number: 0, tails: 0.0 };
    let samples = (schedule.samples * 8).min(schedule.final_samples);
    let batch = local_energy::draw(psi, system, id, samples, Derivatives::None);
    Moments::of(&batch.local_energy).mean()
}

/// The final estimate.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// Moments of the local energy.
    pub energy: Moments,
    /// One-body density.
    pub density: DensityEstimator,
    /// Samples left out because something was not finite.
    pub rejected: usize,
    /// Largest `|E_L - energy|`.
    pub largest_deviation: f64,
    /// Largest round-trip error of the flow over a set of samples, in bohr.
    pub round_trip_error: f64,
}

/// Samples of one batch of the final estimate; bounds the memory.
const ESTIMATE_BATCH: usize = 1 << 14;
/// Samples of the round-trip test.
const ROUND_TRIP_SAMPLES: usize = 256;

/// Estimates energy and density on `samples` fresh samples; `watch` gets the number drawn so far.
pub fn estimate(
    psi: &dyn Wavefunction,
    system: System,
    schedule: &Schedule,
    bins: usize,
    mut watch: impl FnMut(usize),
) -> Estimate {
    let mut energy = Moments::default();
    let mut density = DensityEstimator::new(psi.sector(), psi.interval(system.geometry), bins);
    let (mut rejected, mut low, mut high) = (0, f64::INFINITY, f64::NEG_INFINITY);
    let mut drawn = 0;
    let mut number = 0;
    while drawn < schedule.final_samples {
        let samples = ESTIMATE_BATCH.min(schedule.final_samples - drawn);
        let id = BatchId { seed: schedule.seed, purpose: Purpose::Estimate, number, tails: 0.0 };
        let batch: Batch = local_energy::draw(psi, system, id, samples, Derivatives::None);
        for &e in &batch.local_energy {
            energy.push(e);
            low = low.min(e);
            high = high.max(e);
        }
        batch.x.chunks_exact(batch.particles).for_each(|x| density.push(x));
        rejected += batch.rejected;
        drawn += samples;
        number += 1;
        watch(drawn);
    }
    let mean = energy.mean();
    Estimate {
        energy,
        density,
        rejected,
        largest_deviation: (high - mean).max(mean - low),
        round_trip_error: round_trip_error(psi, schedule.seed),
    }
}

/// Largest `|x - T^-1(T(x))|` over fresh samples, in bohr.
fn round_trip_error(psi: &dyn Wavefunction, seed: u64) -> f64 {
    let errors =
        parallel::map_chunks(ROUND_TRIP_SAMPLES, parallel::SAMPLE_CHUNK, |chunk, range| {
            let mut rng = sampling::stream(seed, Purpose::Health, 0, chunk);
            let mut evaluator = psi.evaluator();
            let mut x = vec![0.0; psi.sector().particles()];
            let mut uniforms = vec![0.0; psi.uniforms()];
            let mut worst = 0.0f64;
            for _ in range {
                uniforms.fill_with(|| sampling::open_uniform(&mut rng));
                evaluator.sample(&uniforms, &mut x);
                let error = evaluator.round_trip_error(&x);
                worst = if error.is_nan() { f64::NAN } else { worst.max(error) };
            }
            worst
        });
    errors.into_iter().fold(0.0, |a, b| if b.is_nan() { b } else { a.max(b) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Local energies of mean `energy` and standard error 0.01.
    fn batch(energy: f64) -> Batch {
        let local_energy = (0..100).map(|i| energy + if i % 2 == 0 { 0.1 } else { -0.1 }).collect();
        Batch { local_energy, weight: vec![1.0; 100], ..Batch::default() }
    }

    #[test]
    fn a_step_uphill_is_taken_back_and_its_start_judged_anew() {
        let mut guard = Guard::new();
        assert!(guard.accepts(&batch(1.0), &[1.0]));
        assert!(guard.accepts(&batch(0.5), &[2.0]));
        // Within the error: accepted, but the lower point stays the one to return to.
        assert!(guard.accepts(&batch(0.53), &[3.0]));
        assert_eq!((guard.parameters.as_slice(), guard.caution), (&[2.0][..], 1.0));
        assert!(!guard.accepts(&batch(0.7), &[4.0]));
        assert_eq!((guard.parameters.as_slice(), guard.caution), (&[2.0][..], 0.25));
        // Fresh samples of the start are believed even if they are much higher than its first ones.
        assert!(guard.accepts(&batch(0.65), &[2.0]));
        assert!(guard.accepts(&batch(0.67), &[5.0]));
        assert_eq!(guard.caution, 0.5);
    }
}
