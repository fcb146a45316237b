//! The life of a run: draw, step, repeat; then choose the parameters and estimate on fresh samples.
//!
//! Knows no clock, file or terminal: the caller watches through a callback.

use crate::estimate::statistics::median;
use crate::estimate::{DensityEstimator, EnergyEstimate, Moments};
use crate::local_energy::{self, Batch, BatchId, Derivatives};
use crate::math::linalg::LinearError;
use crate::optimise::{Landscape, Optimiser, Pace, Step, clip_range};
use crate::parallel;
use crate::sampling::{self, Purpose, Sampling};
use crate::spec::RunSpec;
use crate::system::System;
use crate::wavefunction::slopes::Slopes;
use crate::wavefunction::{Wavefunction, WavefunctionError};
use serde::{Deserialize, Serialize};

/// How long and with how many samples to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Number of optimisation steps.
    pub iterations: usize,
    /// Samples of each step.
    pub samples: usize,
    /// Fresh samples of the final estimate.
    pub final_samples: usize,
    /// Kind of points that samples are made from.
    pub sampling: Sampling,
    /// Independent scramblings of the final estimate, where points are quasi-random.
    pub scramblings: usize,
    /// When to stop before the last iteration.
    pub stopping: Stopping,
    /// Seed of all random numbers.
    pub seed: u64,
}

/// When to stop before the last iteration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Stopping {
    /// When four iterations have lowered neither the energy beyond its error nor the (clipped) variance by a
    /// twentieth, compared with the four before: for optimisers that choose among steps.
    #[default]
    Plateau,
    /// Never.
    Never,
}

/// Iterations that are compared with as many before.
const PLATEAU: usize = 4;
/// Share of the variance that a window must leave behind to count as progress.
const PLATEAU_VARIANCE: f64 = 0.95;

/// Clipped moments of past iterations.
#[derive(Debug, Default)]
struct History(Vec<Moments>);

impl History {
    fn push(&mut self, batch: &Batch) {
        let (low, high) = clip_range(&batch.local_energy, MERIT_CLIP);
        let clipped: Vec<f64> = batch.local_energy.iter().map(|e| e.clamp(low, high)).collect();
        self.0.push(Moments::weighted(&clipped, &batch.weight));
    }

    fn is_flat(&self) -> bool {
        let Some(start) = self.0.len().checked_sub(2 * PLATEAU) else { return false };
        let (before, after) = self.0[start..].split_at(PLATEAU);
        let mean = |window: &[Moments], of: fn(&Moments) -> f64| {
            window.iter().map(of).sum::<f64>() / PLATEAU as f64
        };
        let variance = |window| mean(window, Moments::variance);
        let energy = |window| mean(window, Moments::mean);
        let error =
            mean(after, Moments::standard_error).hypot(mean(before, Moments::standard_error));
        variance(after) > PLATEAU_VARIANCE * variance(before)
            && energy(after) > energy(before) - error / (PLATEAU as f64).sqrt()
    }
}

impl Schedule {
    /// What a spec asks for.
    pub fn of<H>(spec: &RunSpec<H>) -> Self {
        Schedule {
            iterations: spec.iterations,
            samples: spec.samples_per_iteration,
            final_samples: spec.final_samples,
            sampling: spec.sampling,
            scramblings: spec.scramblings,
            stopping: spec.stopping,
            seed: spec.seed,
        }
    }

    /// Independent sets of samples that make the final estimate, and the samples of each.
    ///
    /// A set of quasi-random points is one scrambling. It has a power of two of them, since only then every
    /// interval gets its share: the next from `final_samples / scramblings` on.
    pub fn final_sets(&self) -> (usize, usize) {
        match self.sampling {
            Sampling::Random => (1, self.final_samples),
            Sampling::QuasiRandom => {
                let each = self.final_samples.div_ceil(self.scramblings).next_power_of_two();
                (self.scramblings, each)
            }
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
    /// Euclidean norm of the energy gradient; NaN where no step was taken.
    pub gradient_norm: f64,
    /// Norm of the step in the metric of the state; zero where none was taken.
    pub step_norm: f64,
    /// Learning rate or imaginary-time step; zero where none was taken.
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
    /// Iterations done.
    pub iterations: usize,
}

/// What is minimised, on given samples: the energy plus a share of the variance, both robust against rare
/// huge local energies.
///
/// All candidates are compared through the same uniforms and the same clipping, so that their differences are
/// much more precise than the energies.
struct Merit {
    middle: f64,
    width: f64,
    variance_weight: f64,
}

/// Median absolute deviations beyond which a local energy counts linearly.
const MERIT_CLIP: f64 = 30.0;
/// Error bars by which the merit may rise in a step that is the only one offered.
const RISE: f64 = 2.0;

impl Merit {
    fn new(batch: &Batch, variance_weight: f64) -> Self {
        let (low, high) = clip_range(&batch.local_energy, MERIT_CLIP);
        Merit { middle: 0.5 * (low + high), width: 0.5 * (high - low), variance_weight }
    }

    /// The merit of the state of a batch and its standard error; infinite where samples are missing.
    fn of(&self, batch: &Batch, samples: usize) -> (f64, f64) {
        if (batch.samples() as f64) < FINITE_SHARE * samples as f64 {
            return (f64::INFINITY, 0.0);
        }
        let deviations: Vec<f64> = batch.local_energy.iter().map(|e| e - self.middle).collect();
        let clipped: Vec<f64> =
            deviations.iter().map(|d| d.clamp(-self.width, self.width)).collect();
        let moments = Moments::weighted(&clipped, &batch.weight);
        let mean = moments.mean();
        // Huber's loss about the mean.
        let loss = |d: f64| {
            let r = (d - mean).abs();
            if r <= self.width { r * r } else { self.width * (2.0 * r - self.width) }
        };
        let variance = deviations.iter().map(|&d| loss(d)).sum::<f64>() / deviations.len() as f64;
        (mean + 0.5 * self.variance_weight * variance, moments.standard_error())
    }
}

/// The configurations of a batch at other parameters.
struct FixedSamples<'a> {
    psi: &'a mut dyn Wavefunction,
    system: System<'a>,
    x: &'a [f64],
}

impl Landscape for FixedSamples<'_> {
    fn at(&mut self, parameters: &[f64]) -> Option<Batch> {
        self.psi.set_parameters(parameters).ok()?;
        let batch = local_energy::at(self.psi, self.system, self.x, Derivatives::LocalEnergy);
        (batch.rejected == 0).then_some(batch)
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
    let mut caution = 1.0f64;
    let mut history = History::default();
    let mut iterations = 0;
    let tail = ((schedule.iterations as f64 * AVERAGED_SHARE).ceil() as usize).max(1);
    for iteration in 0..schedule.iterations {
        let id = BatchId {
            sampling: schedule.sampling,
            seed: schedule.seed,
            purpose: Purpose::Training,
            number: iteration as u64,
            first: 0,
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
        let pace = Pace { progress: iteration as f64 / last as f64, caution };
        let mut landscape = FixedSamples { psi: &mut *psi, system, x: &batch.x };
        let mut steps = optimiser
            .steps(&batch, pace, &mut landscape)
            .map_err(|error| TrainError::Step { iteration, error })?;
        psi.set_parameters(&parameters)?;
        let trial = BatchId { purpose: Purpose::Trial, ..id };
        let choice =
            choose(psi, system, trial, schedule.samples, &steps, optimiser.variance_weight())?;
        optimiser.took(choice);
        caution = if choice.is_some() { (2.0 * caution).min(1.0) } else { 0.25 * caution };
        let choosy = steps.len() > 1;
        let step = choice.map(|c| steps.swap_remove(c));
        if let Some(step) = &step {
            for (p, c) in parameters.iter_mut().zip(&step.change) {
                *p += c;
            }
        }
        psi.set_parameters(&parameters)?;
        if iteration + tail >= schedule.iterations {
            averaged += 1;
            for (s, p) in sum.iter_mut().zip(&parameters) {
                *s += p;
            }
        }
        iterations = iteration + 1;
        watch(&IterationReport {
            iteration,
            energy: Moments::weighted(&batch.local_energy, &batch.weight),
            gradient_norm: step.as_ref().map_or(f64::NAN, |s| s.gradient_norm),
            step_norm: step.as_ref().map_or(0.0, |s| s.step_norm),
            tau: step.as_ref().map_or(0.0, |s| s.tau),
            rejected: batch.rejected,
        });
        history.push(&batch);
        if schedule.stopping == Stopping::Plateau && choosy && history.is_flat() {
            break;
        }
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
    Ok(Trained { averaged_iterations: averaged.max(1), rejected, iterations })
}

/// The best of the steps on fresh samples; none if all lead uphill.
///
/// Leaves the parameters of the last candidate in `psi`.
fn choose(
    psi: &mut dyn Wavefunction,
    system: System,
    id: BatchId,
    samples: usize,
    steps: &[Step],
    variance_weight: f64,
) -> Result<Option<usize>, WavefunctionError> {
    let samples = samples.div_ceil(2);
    let start = psi.parameters().to_vec();
    let here = local_energy::draw(psi, system, id, samples, Derivatives::None);
    let merit = Merit::new(&here, variance_weight);
    let (now, error) = merit.of(&here, samples);
    // Steps of an optimiser that offers no choice are noisy by nature; small rises belong to them.
    let mut best = if steps.len() == 1 { now + RISE * error } else { now };
    let mut choice = None;
    for (index, step) in steps.iter().enumerate() {
        let candidate: Vec<f64> = start.iter().zip(&step.change).map(|(p, c)| p + c).collect();
        psi.set_parameters(&candidate)?;
        let there = local_energy::draw(psi, system, id, samples, Derivatives::None);
        let (value, _) = merit.of(&there, samples);
        if value < best {
            (best, choice) = (value, Some(index));
        }
    }
    Ok(choice)
}

/// Energy on samples of their own that both candidates share through the same uniforms.
fn selection_energy(psi: &dyn Wavefunction, system: System, schedule: &Schedule) -> f64 {
    let id = BatchId {
        sampling: schedule.sampling,
        seed: schedule.seed,
        purpose: Purpose::Selection,
        number: 0,
        first: 0,
        tails: 0.0,
    };
    let samples = (schedule.samples * 8).min(schedule.final_samples);
    let batch = local_energy::draw(psi, system, id, samples, Derivatives::None);
    Moments::of(&batch.local_energy).mean()
}

/// The final estimate.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// Energy, error bar and variance.
    pub energy: EnergyEstimate,
    /// One-body density.
    pub density: DensityEstimator,
    /// Samples left out because something was not finite.
    pub rejected: usize,
    /// Largest `|E_L - energy|`.
    pub largest_deviation: f64,
    /// Median `|E_L - energy|` over up to a million samples.
    pub median_deviation: f64,
    /// Largest round-trip error of the flow over a set of samples, in bohr.
    pub round_trip_error: f64,
    /// Largest slopes of the trained map and its inverse over the same samples.
    pub slopes: Slopes,
}

/// Samples of one batch of the final estimate; bounds the memory.
const ESTIMATE_BATCH: usize = 1 << 14;
/// Samples whose local energies are kept for their median; bounds the memory.
const MEDIAN_SAMPLES: usize = 1 << 20;
/// Samples on which the bijection is tested.
const HEALTH_SAMPLES: usize = 256;

/// Estimates energy and density on the fresh samples that the schedule asks for, see [`Schedule::final_sets`];
/// `watch` gets the number drawn so far.
pub fn estimate(
    psi: &dyn Wavefunction,
    system: System,
    schedule: &Schedule,
    bins: usize,
    mut watch: impl FnMut(usize),
) -> Estimate {
    let (sets, samples) = schedule.final_sets();
    let mut energies = vec![Moments::default(); sets];
    let mut density = DensityEstimator::new(psi.sector(), psi.interval(system.geometry), bins);
    let (mut rejected, mut low, mut high) = (0, f64::INFINITY, f64::NEG_INFINITY);
    let mut kept: Vec<f64> = Vec::new();
    for (set, energy) in energies.iter_mut().enumerate() {
        let mut first = 0;
        while first < samples {
            let part = ESTIMATE_BATCH.min(samples - first);
            let id = BatchId {
                sampling: schedule.sampling,
                seed: schedule.seed,
                purpose: Purpose::Estimate,
                number: set as u64,
                first,
                tails: 0.0,
            };
            let batch = local_energy::draw(psi, system, id, part, Derivatives::None);
            for &e in &batch.local_energy {
                energy.push(e);
                low = low.min(e);
                high = high.max(e);
            }
            // The first samples of each set; those of a quasi-random set are themselves spread evenly.
            let room = ((set + 1) * (MEDIAN_SAMPLES / sets)).saturating_sub(kept.len());
            kept.extend(batch.local_energy.iter().take(room));
            batch.x.chunks_exact(batch.particles).for_each(|x| density.push(x));
            rejected += batch.rejected;
            first += part;
            watch(set * samples + first);
        }
        if schedule.sampling == Sampling::QuasiRandom {
            density.close_set();
        }
    }
    let energy = match schedule.sampling {
        Sampling::Random => EnergyEstimate::independent(energies[0]),
        Sampling::QuasiRandom => EnergyEstimate::of_sets(&energies),
    };
    let mean = energy.mean();
    let (round_trip_error, slopes) = health(psi, schedule.seed);
    for e in &mut kept {
        *e = (*e - mean).abs();
    }
    Estimate {
        energy,
        density,
        rejected,
        largest_deviation: (high - mean).max(mean - low),
        median_deviation: median(&mut kept),
        round_trip_error,
        slopes,
    }
}

/// Largest `|x - T^-1(T(x))|` over fresh samples, in bohr, and largest slopes.
fn health(psi: &dyn Wavefunction, seed: u64) -> (f64, Slopes) {
    // What is not a number must not be lost.
    let larger = |a: f64, b: f64| if a.is_nan() || a > b { a } else { b };
    let found = parallel::map_chunks(HEALTH_SAMPLES, parallel::SAMPLE_CHUNK, |chunk, range| {
        let mut rng = sampling::stream(seed, Purpose::Health, 0, chunk);
        let mut evaluator = psi.evaluator();
        let mut x = vec![0.0; psi.sector().particles()];
        let mut uniforms = vec![0.0; psi.uniforms()];
        let mut worst = (0.0, Slopes::NONE);
        for _ in range {
            uniforms.fill_with(|| sampling::open_uniform(&mut rng));
            evaluator.sample(&uniforms, &mut x);
            worst.0 = larger(worst.0, evaluator.round_trip_error(&x));
            worst.1 = worst.1.max(evaluator.slopes(&x));
        }
        worst
    });
    found.into_iter().fold((0.0, Slopes::NONE), |a, b| (larger(a.0, b.0), a.1.max(b.1)))
}
