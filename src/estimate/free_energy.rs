//! The final estimate of an ensemble, on fresh samples.

use super::ensemble::{Bars, Tally, over_sets, sets};
use crate::local_energy::{BatchId, Fault};
use crate::math::statistics::{Moments, median};
use crate::objective::EnsembleError;
use crate::objective::free_energy::{ThermalBatch, affordable, draw};
use crate::sampling::Purpose;
use crate::system::System;
use crate::train::Schedule;
use crate::wavefunction::Wavefunction;
use crate::wavefunction::weyl::ensemble::GibbsStates;
use std::ops::ControlFlow;

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

/// Estimates the ensemble on fresh samples; `watch` may end it.
///
/// # Errors
/// [`EnsembleError`].
pub fn estimate(
    states: &GibbsStates,
    system: System,
    schedule: &Schedule,
    bins: usize,
    watch: impl FnMut() -> ControlFlow<()>,
) -> Result<ThermalEstimate, EnsembleError> {
    let flow = states.flow();
    let n = flow.sector().particles();
    let kt = states.kt;
    let sets = sets(schedule);
    let wanted = affordable(states, schedule.final_samples / FINAL_SHARE);
    let each = wanted.div_ceil(sets).max(FEWEST_OF_SET).next_power_of_two();
    let mut bars = Bars::new(flow, system.geometry, bins, 1);
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
    let (mut kinetic, mut all) = (0.0, Vec::new());
    let Tally { samples, rejected, faults } = over_sets(sets, watch, |number| {
        let id = BatchId {
            sampling: schedule.sampling,
            seed: schedule.seed,
            purpose: Purpose::Estimate,
            number,
            first: 0,
            tails: 0.0,
        };
        let ThermalBatch { batch, state, .. } = draw(states, system, id, each, false);
        let count = batch.samples();
        if count * 2 < each {
            return Err(EnsembleError::Faults { good: count, samples: each });
        }
        let f = batch.local_energy.iter().sum::<f64>() / count as f64;
        free.push(f);
        let pairs = batch.local_energy.iter().zip(&state);
        correlated
            .push(pairs.map(|(e, &k)| (e - f) * (level(k) - mean)).sum::<f64>() / count as f64);
        batch.local_energy.iter().for_each(|&e| moments.push(e));
        all.extend_from_slice(&batch.local_energy);
        kinetic += batch.kinetic.iter().sum::<f64>();
        batch.x.chunks_exact(n).for_each(|x| bars.add(x, |sum| sum[0] += 1.0));
        Ok(Tally { samples: count, rejected: batch.rejected, faults: batch.faults })
    })?;
    let of = |values: &[f64]| {
        let m = Moments::of(values);
        (m.mean(), m.standard_error())
    };
    let entropy = states.entropy();
    let (f, error) = of(&free);
    // Var(level) is known; what the local free energy adds is sampled.
    let (more, more_error) = of(&correlated);
    let largest = all.iter().map(|e| (e - f).abs()).fold(0.0, f64::max);
    let mut sizes: Vec<f64> = all.iter().map(|e| (e - f).abs()).collect();
    Ok(ThermalEstimate {
        free_energy: (f, error),
        energy: (f + kt * entropy, error),
        entropy,
        heat_capacity: ((square + more) / (kt * kt), more_error / (kt * kt)),
        variance: moments.variance(),
        kinetic: kinetic / samples as f64,
        density: bars.densities(samples, |sum| sum[0]),
        edges: bars.edges(),
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
