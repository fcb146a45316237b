//! The final estimate, on fresh samples, and the health of the state it is made with.

use super::health::density_drift;
use super::{DensityEstimator, EnergyEstimate, Scale, Tails, contact_energy};
use crate::local_energy::{self, Batch, BatchId, Derivatives, Fault};
use crate::math::statistics::{Moments, median};
use crate::parallel;
use crate::sampling::{self, Purpose, Sampling};
use crate::system::System;
use crate::train::Schedule;
use crate::wavefunction::Wavefunction;
use crate::wavefunction::slopes::Slopes;
use std::ops::ControlFlow;

/// The final estimate.
#[derive(Clone, Debug)]
pub struct GroundStateEstimate {
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
    /// How far the density of the samples is from `|psi|²`: see [`density_drift`].
    pub density_drift: f64,
    /// Sizes of the parts of the energy.
    pub scale: Scale,
    /// The energy from samples with more weight on the tails.
    pub tails: Option<Tails>,
    /// Some of the samples left out.
    pub faults: Vec<Fault>,
}

/// Samples of one batch of the final estimate; bounds the memory.
const ESTIMATE_BATCH: usize = 1 << 14;
/// Samples whose local energies are kept for their median; bounds the memory.
const MEDIAN_SAMPLES: usize = 1 << 20;
/// Samples on which the bijection is tested.
const HEALTH_SAMPLES: usize = 256;

/// Samples left out that are kept.
const MOST_FAULTS: usize = 64;

/// [`estimate_until`] the end.
pub fn estimate(
    psi: &dyn Wavefunction,
    system: System,
    schedule: &Schedule,
    bins: usize,
) -> GroundStateEstimate {
    let run = |_: Option<(usize, &Batch)>| ControlFlow::Continue(());
    estimate_until(psi, system, schedule, bins, run).expect("nothing interrupts it")
}

/// Estimates energy and density on the fresh samples that the schedule asks for, see [`Schedule::final_sets`];
/// `watch` sees the samples, with the number of their set, and may end it: none is returned.
pub fn estimate_until(
    psi: &dyn Wavefunction,
    system: System,
    schedule: &Schedule,
    bins: usize,
    mut watch: impl FnMut(Option<(usize, &Batch)>) -> ControlFlow<()>,
) -> Option<GroundStateEstimate> {
    let (sets, _) = schedule.final_sets();
    let mut energies = vec![Moments::default(); sets];
    let mut density = DensityEstimator::new(psi.sector(), psi.interval(system.geometry), bins);
    let (mut rejected, mut low, mut high) = (0, f64::INFINITY, f64::NEG_INFINITY);
    let mut kept: Vec<f64> = Vec::new();
    let mut faults = Vec::new();
    let mut parts = Parts::default();
    final_batches(psi, system, schedule, |set, batch, last| {
        let energy = &mut energies[set];
        for &e in &batch.local_energy {
            energy.push(e);
            low = low.min(e);
            high = high.max(e);
        }
        // The first samples of each set; those of a quasi-random set are themselves spread evenly.
        let room = ((set + 1) * (MEDIAN_SAMPLES / sets)).saturating_sub(kept.len());
        kept.extend(batch.local_energy.iter().take(room));
        batch.x.chunks_exact(batch.particles).for_each(|x| density.push(x));
        parts.push(system, &batch);
        rejected += batch.rejected;
        let seen = watch(Some((set, &batch)));
        for fault in batch.faults {
            if faults.len() < MOST_FAULTS {
                faults.push(fault);
            }
        }
        if last && schedule.sampling == Sampling::QuasiRandom {
            density.close_set();
        }
        seen
    })?;
    let energy = match schedule.sampling {
        Sampling::Random => EnergyEstimate::independent(energies[0]),
        Sampling::QuasiRandom => EnergyEstimate::of_sets(&energies),
    };
    let mean = energy.mean();
    let largest_deviation = (high - mean).max(mean - low);
    let again = || watch(None);
    let tails = tails(psi, system, schedule, &energy, largest_deviation, again)?;
    let energy = energy.missing(tails.missing);
    let (round_trip_error, slopes) = health(psi, schedule.seed);
    for e in &mut kept {
        *e = (*e - mean).abs();
    }
    Some(GroundStateEstimate {
        energy,
        density,
        rejected,
        largest_deviation,
        median_deviation: median(&mut kept),
        round_trip_error,
        slopes,
        density_drift: density_drift(psi, schedule.seed),
        scale: parts.scale(psi.sector().particles(), mean, contact_energy(psi, system)),
        tails: Some(tails),
        faults,
    })
}

/// Draws the samples of the final estimate, a batch after the other; `see` gets each with the number of its set and whether it is the last of that, and
/// may end it: none is returned.
pub(crate) fn final_batches(
    psi: &dyn Wavefunction,
    system: System,
    schedule: &Schedule,
    mut see: impl FnMut(usize, Batch, bool) -> ControlFlow<()>,
) -> Option<()> {
    let (sets, samples) = schedule.final_sets();
    for set in 0..sets {
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
            first += part;
            if see(set, batch, first >= samples).is_break() {
                return None;
            }
        }
    }
    Some(())
}

/// Share of the samples of the tail test that go to the tails.
const TAILS: f64 = 0.5;
/// Samples of the tail test: one for so many of the estimate, but no fewer than [`LEAST_TAIL_SAMPLES`].
const TAIL_SHARE: usize = 8;
const LEAST_TAIL_SAMPLES: usize = 8192;

/// The energy and what plain samples miss of it, from independent samples half of which went to the tails, as the importance weights of a
/// mixture give them (T. Hesterberg, "Weighted average importance sampling and defensive mixture distributions",
/// Technometrics 37, 185 (1995)): what plain samples reach once in a million is often among them, with the weight it has.
fn tails(
    psi: &dyn Wavefunction,
    system: System,
    schedule: &Schedule,
    plain: &EnergyEstimate,
    largest: f64,
    mut watch: impl FnMut() -> ControlFlow<()>,
) -> Option<Tails> {
    let samples = (plain.count() / TAIL_SHARE).max(LEAST_TAIL_SAMPLES);
    let (mut energies, mut weights) = (Vec::new(), Vec::new());
    let mut first = 0;
    while first < samples {
        let part = ESTIMATE_BATCH.min(samples - first);
        let id = BatchId {
            sampling: Sampling::Random,
            seed: schedule.seed,
            purpose: Purpose::Health,
            number: 2,
            first,
            tails: TAILS,
        };
        let batch = local_energy::draw(psi, system, id, part, Derivatives::None);
        energies.extend(batch.local_energy);
        weights.extend(batch.weight);
        first += part;
        if watch().is_break() {
            return None;
        }
    }
    Some(Tails::of(&energies, &weights, plain.mean(), largest))
}

/// Sums over samples of the two parts of the potential energy.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    samples: usize,
    external: f64,
    interaction: f64,
}

impl Parts {
    fn push(&mut self, system: System, batch: &Batch) {
        let external = &system.hamiltonian.external;
        for x in batch.x.chunks_exact(batch.particles) {
            let alone: f64 = x.iter().map(|&x| external.value(x)).sum();
            self.external += alone;
            self.interaction += system.hamiltonian.potential(system.geometry, x) - alone;
        }
        self.samples += batch.samples();
    }

    /// `contact` is what no sample sees of the interaction.
    fn scale(&self, particles: usize, energy: f64, contact: f64) -> Scale {
        let n = self.samples as f64;
        let (external, interaction) = (self.external / n, self.interaction / n + contact);
        Scale { particles, kinetic: energy - external - interaction, interaction }
    }
}

/// Largest `|x - T^-1(T(x))|` over fresh samples, in bohr.
pub fn round_trip(psi: &dyn Wavefunction, seed: u64) -> f64 {
    health(psi, seed).0
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
