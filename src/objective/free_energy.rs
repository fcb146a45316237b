//! The free energy of a Gibbs ensemble of states under one flow.
//!
//! For `rho = sum_I p_I |I><I|` the *local free energy* `F_L = E_L^I(x) + kT ln p_I` has the mean
//! `F = <H> - T S >= F_exact` (R. P. Feynman, "Statistical Mechanics", Benjamin 1972, section 2.11), and no variance at the
//! Gibbs state. The gradient of `F` by a parameter of the flow is `2 <O (F_L - F)>`: what minimises an energy minimises it
//! with `F_L` in place of `E_L`. The entropy of the probabilities is known exactly.

use super::ground_state::{Merit, relative_variance};
use super::mixture::spread;
use crate::local_energy::{ABSURD, Batch, BatchId, FAULTS, Fault};
use crate::math::linalg::LinearError;
use crate::math::statistics::{Moments, median};
use crate::optimise::{Landscape, Optimiser, Pace};
use crate::parallel;
use crate::sampling::{Points, Purpose, Sampling};
use crate::system::System;
use crate::train::{Schedule, StopReason, Stopping, TrainingState};
use crate::wavefunction::weyl::ensemble::GibbsStates;
use crate::wavefunction::{Wavefunction, WavefunctionError};
use crate::work;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Samples of an ensemble.
#[derive(Clone, Debug, Default)]
pub struct ThermalBatch {
    /// The samples, with the local free energy for the local energy.
    pub batch: Batch,
    /// The state of each.
    pub state: Vec<usize>,
}

/// Weight and uniforms of a sample.
type Drawn = (f64, Vec<f64>);

/// Samples of one state that one task evaluates.
const TASK: usize = 16;

/// Draws exact samples of the ensemble: the first number of each point chooses the state. The samples are in the order of
/// their states.
pub fn draw(
    states: &GibbsStates,
    system: System,
    id: BatchId,
    samples: usize,
    derivatives: bool,
) -> ThermalBatch {
    let flow = states.flow();
    let (n, d) = (flow.sector().particles(), flow.uniforms());
    let p = flow.parameters().len();
    let extra = usize::from(id.tails > 0.0);
    let points = Points::new(id.sampling, id.seed, id.purpose, id.number, 1 + d + extra);
    let mut stream = points.starting_at(id.first);
    let mut by_state: BTreeMap<usize, Vec<Drawn>> = BTreeMap::new();
    let mut point = vec![0.0; 1 + d + extra];
    for _ in 0..samples {
        stream.next(&mut point);
        let mut uniforms = vec![0.0; d];
        let weight = spread(&point[1..], d, id.tails, &mut uniforms);
        by_state.entry(states.drawn(point[0])).or_default().push((weight, uniforms));
    }
    let mut tasks: Vec<(usize, &[Drawn])> = Vec::new();
    for (&state, drawn) in &by_state {
        tasks.extend(drawn.chunks(TASK).map(|part| (state, part)));
    }
    let parts = parallel::map_chunks(tasks.len(), 1, |index, _| {
        let (k, drawn) = tasks[index];
        let psi = states.state(k);
        let entropy = states.kt * states.probabilities[k].ln();
        let mut evaluator = psi.evaluator();
        let mut out = ThermalBatch {
            batch: Batch { particles: n, parameters: p, ..Batch::default() },
            state: Vec::new(),
        };
        let (mut x, mut gradient) = (vec![0.0; n], vec![0.0; n]);
        let rows = if derivatives { p } else { 0 };
        let (mut o, mut de) = (vec![0.0; rows], vec![0.0; rows]);
        for (weight, uniforms) in drawn {
            work::local_energy();
            evaluator.sample(uniforms, &mut x);
            let kinetic = if derivatives {
                evaluator.kinetic_parameter_gradient(&x, &mut o, &mut de).1
            } else {
                evaluator.kinetic_energy(&x, &mut gradient)
            };
            let energy = kinetic + system.hamiltonian.potential(system.geometry, &x);
            let b = &mut out.batch;
            if energy.abs() < ABSURD && o.iter().chain(&de).all(|v| v.is_finite()) {
                b.x.extend_from_slice(&x);
                b.local_energy.push(energy + entropy);
                b.kinetic.push(kinetic);
                b.weight.push(*weight);
                b.log_gradient.extend_from_slice(&o);
                b.energy_gradient.extend_from_slice(&de);
                out.state.push(k);
            } else {
                b.rejected += 1;
                if b.faults.len() < FAULTS {
                    b.faults.push(Fault { x: x.clone(), local_energy: energy });
                }
            }
        }
        out
    });
    let mut all = ThermalBatch::default();
    for part in parts {
        all.batch.append(part.batch);
        all.state.extend(part.state);
    }
    all.batch.particles = n;
    all.batch.parameters = p;
    all.batch.roughness = flow.roughness();
    all.batch.values = states.parameters().to_vec();
    all
}

/// What an iteration found before its step.
#[derive(Clone, Debug)]
pub struct ThermalReport {
    /// Number of the iteration, from 0.
    pub iteration: usize,
    /// Moments of the local free energy.
    pub free_energy: Moments,
    /// Norm of the gradient.
    pub gradient_norm: f64,
    /// Norm of the step; zero where none was taken.
    pub step_norm: f64,
    /// Imaginary-time step.
    pub tau: f64,
    /// Samples left out, some of them.
    pub faults: Vec<Fault>,
}

/// Why there is no training or estimate.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ThermalError {
    /// The observer ended it.
    #[error("interrupted")]
    Interrupted,
    /// No step could be computed.
    #[error("no step could be computed: {0}")]
    Linear(#[from] LinearError),
    /// A state to go on from that is none of this ensemble.
    #[error("the state to go on from does not fit the ensemble")]
    State,
    /// Parameters that do not fit.
    #[error(transparent)]
    Wavefunction(#[from] WavefunctionError),
    /// Nothing is left to estimate from.
    #[error("only {good} of {samples} samples have a finite local energy")]
    Faults {
        /// Good samples.
        good: usize,
        /// Samples drawn.
        samples: usize,
    },
}

/// `Var(F_L) / 2 kT`, by which the free energy is about too high, as a share of the temperature, below which training has
/// nothing to gain.
const NEGLIGIBLE: f64 = 1e-7;
/// Determinants of the base beyond which fewer samples are drawn, in proportion: an evaluation costs as much.
const CHEAP: usize = 1000;
/// Fewest samples of an iteration.
const LEAST_SAMPLES: usize = 512;
/// Iterations without a step that end a training, and those compared with as many before.
const STUCK: usize = 3;
const WINDOW: usize = 3;
const PROGRESS: f64 = 0.9;

/// A landscape that nobody looks at.
struct Nowhere;

impl Landscape for Nowhere {
    fn at(&mut self, _: &[f64]) -> Option<Batch> {
        None
    }
}

/// Samples that cost as much as `samples` over a short sum of determinants.
fn affordable(states: &GibbsStates, samples: usize) -> usize {
    let share = CHEAP as f64 / states.determinants().max(CHEAP) as f64;
    ((samples as f64 * share) as usize).max(LEAST_SAMPLES.min(samples))
}

/// Lowers the free energy by the flow, from where `state` stands.
///
/// `watch` sees every iteration with the state after it and may end the training there; a later call with that state goes
/// on as if nothing had happened.
///
/// # Errors
/// [`ThermalError`].
pub fn train(
    states: &mut GibbsStates,
    system: System,
    optimiser: &mut dyn Optimiser,
    schedule: &Schedule,
    state: &mut TrainingState,
    mut watch: impl FnMut(&ThermalReport, &TrainingState) -> ControlFlow<()>,
) -> Result<StopReason, ThermalError> {
    let samples = affordable(states, schedule.samples);
    let p = states.parameters().len();
    if !state.fits(p) || !optimiser.recall(&state.optimiser, p) {
        return Err(ThermalError::State);
    }
    states.set_parameters(&state.parameters)?;
    while state.iteration < schedule.iterations && !state.settled {
        let iteration = state.iteration;
        let id = schedule.batch(iteration, optimiser.tails());
        // Whether there is anything to gain costs less than the derivatives.
        let settled = |states: &GibbsStates, moments: &Moments| {
            values_are_few(states) || moments.variance() < 2.0 * NEGLIGIBLE * states.kt * states.kt
        };
        if iteration == 0 {
            let plain = BatchId { tails: 0.0, purpose: Purpose::Selection, ..id };
            let first = draw(states, system, plain, samples, false);
            let moments = Moments::of(&first.batch.local_energy);
            if settled(states, &moments) {
                let report = ThermalReport {
                    iteration,
                    free_energy: moments,
                    gradient_norm: f64::NAN,
                    step_norm: 0.0,
                    tau: 0.0,
                    faults: first.batch.faults,
                };
                (state.iteration, state.settled) = (1, true);
                state.rejected = first.batch.rejected;
                if watch(&report, state).is_break() {
                    return Err(ThermalError::Interrupted);
                }
                break;
            }
        }
        let ThermalBatch { batch, .. } = draw(states, system, id, samples, true);
        state.rejected += batch.rejected;
        if batch.samples() * 2 < samples {
            return Err(ThermalError::Faults { good: batch.samples(), samples });
        }
        let moments = Moments::weighted(&batch.local_energy, &batch.weight);
        let pace = Pace {
            progress: iteration as f64 / (schedule.iterations - 1).max(1) as f64,
            caution: 1.0,
        };
        let steps = optimiser.steps(&batch, pace, &mut Nowhere)?;
        let trial = BatchId { purpose: Purpose::Trial, ..id };
        let weight = optimiser.variance_weight();
        let half = samples.div_ceil(2);
        // The merit of an energy, with local free energies in place of local energies.
        let of = Merit::new(&batch, weight, true);
        let merit =
            |states: &GibbsStates| of.of(&draw(states, system, trial, half, false).batch, half).0;
        let mut best = merit(states);
        let mut choice = None;
        for (index, step) in steps.iter().enumerate() {
            let there: Vec<f64> =
                state.parameters.iter().zip(&step.change).map(|(v, c)| v + c).collect();
            states.set_parameters(&there)?;
            let found = merit(states);
            if found < best {
                (best, choice) = (found, Some((index, there)));
            }
        }
        optimiser.took(choice.as_ref().map(|c| c.0));
        state.optimiser = optimiser.memory();
        state.iteration += 1;
        let mut report = ThermalReport {
            iteration,
            free_energy: moments,
            gradient_norm: steps.first().map_or(f64::NAN, |s| s.gradient_norm),
            step_norm: 0.0,
            tau: 0.0,
            faults: batch.faults.clone(),
        };
        match choice {
            Some((index, there)) => {
                state.parameters = there;
                (report.step_norm, report.tau) = (steps[index].step_norm, steps[index].tau);
                state.stuck = 0;
                state.variances.push(relative_variance(&batch));
            }
            None => state.stuck += 1,
        }
        states.set_parameters(&state.parameters)?;
        if schedule.stopping == Stopping::Plateau {
            let flat = state.variances.len().checked_sub(2 * WINDOW).is_some_and(|start| {
                let (before, after) = state.variances[start..].split_at(WINDOW);
                after.iter().sum::<f64>() > PROGRESS * before.iter().sum::<f64>()
            });
            let enough = settled(states, &moments);
            state.settled = enough || flat || state.stuck >= STUCK;
            if enough {
                state.stuck = 0;
            }
        }
        if watch(&report, state).is_break() {
            return Err(ThermalError::Interrupted);
        }
    }
    Ok(state.stopped_of_several(STUCK))
}

fn values_are_few(states: &GibbsStates) -> bool {
    states.parameters().is_empty()
}

/// The final estimate of an ensemble.
#[derive(Clone, Debug)]
pub struct ThermalEstimate {
    /// Free energy with its error bar, in Hartree: never below the exact one but for that.
    pub free_energy: (f64, f64),
    /// Energy with its error bar, in Hartree.
    pub energy: (f64, f64),
    /// Entropy of the ensemble, exactly, in units of k.
    pub entropy: f64,
    /// Heat capacity with its error bar, in units of k.
    pub heat_capacity: (f64, f64),
    /// Variance of the local free energy, in Hartree².
    pub variance: f64,
    /// Kinetic energy, in Hartree.
    pub kinetic: f64,
    /// One-body densities by spin, in particles per bohr.
    pub density: [Vec<f64>; 2],
    /// Edges of their bins.
    pub edges: Vec<f64>,
    /// Samples.
    pub samples: usize,
    /// Samples left out.
    pub rejected: usize,
    /// Some of them.
    pub faults: Vec<Fault>,
    /// Independent sets behind the error bars.
    pub sets: usize,
    /// Largest and median deviation of the local free energy.
    pub deviation: (f64, f64),
}

/// Independent sets where points are random.
const RANDOM_SETS: usize = 16;

/// Estimates the ensemble on fresh samples; `watch` may end it.
///
/// # Errors
/// [`ThermalError`].
pub fn estimate(
    states: &GibbsStates,
    system: System,
    schedule: &Schedule,
    bins: usize,
    mut watch: impl FnMut() -> ControlFlow<()>,
) -> Result<ThermalEstimate, ThermalError> {
    let flow = states.flow();
    let sector = flow.sector();
    let n = sector.particles();
    let kt = states.kt;
    let sets = match schedule.sampling {
        Sampling::QuasiRandom => schedule.scramblings,
        Sampling::Random => RANDOM_SETS,
    };
    let wanted = affordable(states, schedule.final_samples / FINAL_SHARE);
    let each = wanted.div_ceil(sets).max(FEWEST_OF_SET).next_power_of_two();
    let (left, right) = flow.interval(system.geometry);
    let edges: Vec<f64> =
        (0..=bins).map(|b| left + (right - left) * b as f64 / bins as f64).collect();
    let mut bars = [vec![0.0; bins], vec![0.0; bins]];
    // Levels of the ensemble and their moments, exactly.
    let level = |k: usize| -kt * states.probabilities[k].ln();
    let ensemble = |f: &dyn Fn(usize) -> f64| -> f64 {
        let positive = states.probabilities.iter().enumerate().filter(|(_, p)| **p > 0.0);
        positive.map(|(k, p)| p * f(k)).sum()
    };
    let mean = ensemble(&level);
    let square = ensemble(&|k| (level(k) - mean).powi(2));
    let (mut free, mut correlated) = (Vec::new(), Vec::new());
    let mut moments = Moments::default();
    let (mut samples, mut rejected, mut faults, mut kinetic) = (0, 0, Vec::new(), 0.0);
    let mut all = Vec::new();
    for set in 0..sets {
        let id = BatchId {
            sampling: schedule.sampling,
            seed: schedule.seed,
            purpose: Purpose::Estimate,
            number: set as u64,
            first: 0,
            tails: 0.0,
        };
        let ThermalBatch { batch, state } = draw(states, system, id, each, false);
        let count = batch.samples();
        if count * 2 < each {
            return Err(ThermalError::Faults { good: count, samples: each });
        }
        let f = batch.local_energy.iter().sum::<f64>() / count as f64;
        free.push(f);
        let pairs = batch.local_energy.iter().zip(&state);
        correlated
            .push(pairs.map(|(e, &k)| (e - f) * (level(k) - mean)).sum::<f64>() / count as f64);
        batch.local_energy.iter().for_each(|&e| moments.push(e));
        all.extend_from_slice(&batch.local_energy);
        kinetic += batch.kinetic.iter().sum::<f64>();
        for x in batch.x.chunks_exact(n) {
            for (spin, range) in sector.spins().enumerate() {
                let spin = if sector.up == 0 { 1 } else { spin };
                for &x in &x[range] {
                    let bin = (x - left) / (right - left) * bins as f64;
                    if bin >= 0.0 && (bin as usize) < bins {
                        bars[spin][bin as usize] += 1.0;
                    }
                }
            }
        }
        samples += count;
        rejected += batch.rejected;
        faults.extend(batch.faults);
        faults.truncate(64);
        if watch().is_break() {
            return Err(ThermalError::Interrupted);
        }
    }
    let of = |values: &[f64]| {
        let m = Moments::of(values);
        (m.mean(), m.standard_error())
    };
    let entropy = states.entropy();
    let (f, error) = of(&free);
    // Var(level) is known; what the local free energy adds is sampled.
    let (more, more_error) = of(&correlated);
    let width = (right - left) / bins as f64;
    for bar in bars.iter_mut().flatten() {
        *bar /= samples as f64 * width;
    }
    let largest = all.iter().map(|e| (e - f).abs()).fold(0.0, f64::max);
    let mut sizes: Vec<f64> = all.iter().map(|e| (e - f).abs()).collect();
    Ok(ThermalEstimate {
        free_energy: (f, error),
        energy: (f + kt * entropy, error),
        entropy,
        heat_capacity: ((square + more) / (kt * kt), more_error / (kt * kt)),
        variance: moments.variance(),
        kinetic: kinetic / samples as f64,
        density: bars,
        edges,
        samples,
        rejected,
        faults,
        sets,
        deviation: (largest, median(&mut sizes)),
    })
}

/// The local free energy varies little where the base is good: one in so many of the final samples of a ground state does.
const FINAL_SHARE: usize = 4;
/// Fewest samples of a set.
const FEWEST_OF_SET: usize = 64;
