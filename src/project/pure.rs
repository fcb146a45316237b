//! Expectation values over the square of the ground state: the middle of a window, with its weight.

use super::Job;
use super::dressed::Dressing;
use super::state::Walk;
use super::windows::Action;
use super::{ProjectError, Pure, STREAMS, Settings, Variational, afforded};
use crate::estimate::EnergyEstimate;
use crate::local_energy::{self, Batch, BatchId, Derivatives};
use crate::math::statistics::Moments;
use crate::observables::replicates::Replicates;
use crate::observables::{Entry, Measurement, Observable, REGISTRY, Sample, Setup};
use crate::parallel;
use crate::sampling::{Purpose, Sampling, open_uniform, stream};
use crate::system::System;
use crate::wavefunction::Wavefunction;
use rand_pcg::Pcg64;

/// Observables of the places of the particles alone, which have a pure estimate.
pub const OBSERVABLES: [&str; 5] =
    ["position", "density", "pair_density", "distance", "structure_factor"];

/// Samples of the variational state for observables alone, and for its energy, to begin with.
const SAMPLES: usize = 16_384;
const ENERGY_SAMPLES: usize = 65_536;
/// Samples that one walker is taken from, at least; by how much they may grow, for one or two particles and for more, until this
/// many make the variance of the local energy.
const POOL: usize = 64;
const PAIR_GROWTH: usize = 8;
const GROWTH: usize = 2;
const ENOUGH: f64 = 4096.0;
/// Shares of the starts that are chosen by the distance of the local energy from the mean, and by its square.
const FAR: f64 = 0.2;
const FARTHER: f64 = 0.2;
/// Share of the samples that goes to the tails.
const TAILS: f64 = 0.5;

/// Number of the first batch of samples: none of `measure` is as large.
const BATCHES: u64 = 1 << 40;
/// Samples that are drawn at once.
const PART: usize = 4096;

/// The entries with these names; the energy is always there.
pub(super) fn named(names: &[String]) -> Result<Vec<&'static Entry>, ProjectError> {
    for name in names {
        if name != "energy" && !OBSERVABLES.contains(&name.as_str()) {
            let all = format!("energy, {}", OBSERVABLES.join(", "));
            return Err(ProjectError::Observable { name: name.clone(), all });
        }
    }
    Ok(REGISTRY
        .iter()
        .filter(|e| OBSERVABLES.contains(&e.name) && names.iter().any(|n| n == e.name))
        .collect())
}

/// What exact samples say.
pub(super) struct Drawn {
    pub(super) energy: Variational,
    observables: Vec<(&'static str, Box<dyn Observable>)>,
    /// Of each observable the means over each replicate.
    means: Vec<Vec<Vec<f64>>>,
    /// The same over the samples with the weights of a dressed guide.
    weighted: Option<Vec<Vec<Vec<f64>>>>,
    /// Of each replicate the mean weight, that with the local energy of a dressed guide, and the mean local energy of psi.
    dressed: Vec<Vec<f64>>,
}

impl Drawn {
    /// Energy of a dressed guide, and by how much it is above that of psi, with its standard error.
    pub(super) fn guide(&self, given: Option<Variational>) -> Option<(Variational, (f64, f64))> {
        let found = Replicates::new(self.dressed.clone())
            .jackknife(|m| vec![m[1] / m[0], m[1] / m[0] - m[2]]);
        let (shift, apart) = (found.values[1], found.errors[1]);
        let (energy, standard_error) = match given {
            Some(v) => (v.energy + shift, v.standard_error.hypot(apart)),
            None => (found.values[0], found.errors[0]),
        };
        let finite = energy.is_finite() && standard_error.is_finite();
        let guide = Variational { energy, standard_error, samples: self.energy.samples };
        finite.then_some((guide, (shift, apart)))
    }
}

/// An exact sample that a walker starts from.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) x: Vec<f64>,
    /// Chance by which any sample would have been taken over that of this one.
    pub(super) weight: f64,
}

/// Takes `count` of the samples of a replicate: most of them alike, some by the distance of their local energy from the mean, some by
/// its square, so that rare places that make much of the correction are there with a small weight.
fn take(pool: &[Batch], n: usize, count: usize, rng: &mut Pcg64) -> Vec<Start> {
    let all =
        || pool.iter().flat_map(|b| b.local_energy.iter().copied().zip(b.weight.iter().copied()));
    let finite = || all().filter(|(e, w)| e.is_finite() && w.is_finite());
    let number = finite().map(|(_, w)| w).sum::<f64>();
    let mean = finite().map(|(e, w)| w * e).sum::<f64>() / number;
    let first = finite().map(|(e, w)| w * (e - mean).abs()).sum::<f64>() / number;
    let second = finite().map(|(e, w)| w * (e - mean).powi(2)).sum::<f64>() / number;
    let share = |part: f64, of: f64| if of > 0.0 { part / of } else { 1.0 };
    // Relative to the chance of all alike.
    let chance = |e: f64, w: f64| {
        let d = (e - mean).abs();
        if e.is_finite() && w.is_finite() {
            1.0 - FAR - FARTHER + FAR * share(d, first) + FARTHER * share(d * d, second)
        } else {
            0.0
        }
    };
    let mut starts = Vec::with_capacity(count);
    let (step, mut sum) = (number / count as f64, 0.0);
    let mut next = step * open_uniform(rng);
    let places = pool.iter().flat_map(|b| b.x.chunks_exact(n));
    for ((e, w), x) in all().zip(places) {
        let chance = chance(e, w);
        sum += if chance > 0.0 { w * chance } else { 0.0 };
        while next < sum && starts.len() < count {
            starts.push(Start { x: x.to_vec(), weight: 1.0 / chance });
            next += step;
        }
    }
    // Rounding of the sum.
    while let (true, Some(last)) = (starts.len() < count, starts.last().cloned()) {
        starts.push(last);
    }
    starts
}

/// Means over exact samples in as many scramblings as there are replicates.
pub(super) fn draw(
    psi: &dyn Wavefunction,
    system: System,
    settings: &Settings,
    entries: &[&'static Entry],
    for_energy: bool,
    dressing: Option<&Dressing>,
) -> Drawn {
    let observables: Vec<(&'static str, Box<dyn Observable>)> = if entries.is_empty() {
        Vec::new()
    } else {
        let setup = Setup::new(psi, system);
        entries.iter().filter_map(|e| Some((e.name, (e.build)(&setup)?))).collect()
    };
    let replicates = settings.replicates;
    let n = psi.sector().particles();
    let wanted = match settings.samples {
        Some(samples) => samples,
        None if for_energy || dressing.is_some() => afforded(ENERGY_SAMPLES, n),
        None if observables.is_empty() => 0,
        None => afforded(SAMPLES, n),
    };
    let each = wanted.div_ceil(replicates).next_power_of_two();
    let mut energies = vec![Moments::default(); replicates];
    let mut means = vec![Vec::new(); observables.len()];
    let mut weighted = means.clone();
    let mut dressed = Vec::new();
    for (r, energy) in energies.iter_mut().enumerate().filter(|_| wanted > 0) {
        let mut sums: Vec<Vec<f64>> =
            observables.iter().map(|(_, o)| vec![0.0; o.length()]).collect();
        let mut heavy = sums.clone();
        let mut moments = [0.0; 3];
        for first in (0..each).step_by(PART) {
            let id = BatchId {
                sampling: Sampling::QuasiRandom,
                seed: settings.seed,
                purpose: Purpose::Analysis,
                number: BATCHES + r as u64,
                first,
                tails: 0.0,
            };
            let count = PART.min(each - first);
            let batch = local_energy::draw(psi, system, id, count, Derivatives::None);
            for ((_, observable), sums) in observables.iter().zip(&mut sums) {
                batch.x.chunks_exact(n).for_each(|x| observable.add(&place(x), sums));
            }
            let Some(dressing) = dressing else {
                batch.local_energy.iter().for_each(|&e| energy.push(e));
                continue;
            };
            let weighed = dressing.weigh(&batch);
            for (&(weight, e), own) in weighed.iter().zip(&batch.local_energy) {
                energy.push(e);
                moments.iter_mut().zip([weight, weight * own, e]).for_each(|(m, v)| *m += v);
            }
            for ((_, observable), sums) in observables.iter().zip(&mut heavy) {
                let mut own = vec![0.0; sums.len()];
                for (x, (weight, _)) in batch.x.chunks_exact(n).zip(&weighed) {
                    own.fill(0.0);
                    observable.add(&place(x), &mut own);
                    sums.iter_mut().zip(&own).for_each(|(s, o)| *s += weight * o);
                }
            }
        }
        let count = energy.count() as f64;
        let total = moments[0];
        dressed.push(moments.iter().map(|m| m / count).collect());
        for (sums, means) in heavy.into_iter().zip(&mut weighted) {
            means.push(sums.into_iter().map(|s| s / total).collect());
        }
        for (sums, means) in sums.into_iter().zip(&mut means) {
            means.push(sums.into_iter().map(|s| s / count).collect());
        }
    }
    let all = EnergyEstimate::of_sets(&energies);
    let energy = Variational {
        energy: all.mean(),
        standard_error: all.standard_error(),
        samples: all.count(),
    };
    let weighted = dressing.map(|_| weighted);
    Drawn { energy, observables, means, weighted, dressed }
}

/// Where the walkers start, `blocks` times so many: walker `w` belongs to replicate `w % replicates`.
pub(super) fn starts(job: &Job, walkers: usize, blocks: usize) -> Vec<Start> {
    let Job { psi, system, settings, .. } = *job;
    let (n, replicates) = (psi.sector().particles(), settings.replicates);
    let mut each = (POOL * walkers).div_ceil(replicates).next_power_of_two();
    let most = each * if n <= 2 { PAIR_GROWTH } else { GROWTH };
    let mut pools: Vec<Vec<Batch>> = vec![Vec::new(); replicates];
    let mut first = 0;
    loop {
        for (r, pool) in pools.iter_mut().enumerate() {
            for first in (first..each).step_by(PART) {
                let id = BatchId {
                    sampling: Sampling::QuasiRandom,
                    seed: settings.seed,
                    purpose: Purpose::Analysis,
                    number: 2 * BATCHES + r as u64,
                    first,
                    tails: TAILS,
                };
                let count = PART.min(each - first);
                let mut batch = local_energy::draw(psi, system, id, count, Derivatives::None);
                if let Some(dressing) = job.dressing {
                    let weighed = dressing.weigh(&batch);
                    batch.weight.iter_mut().zip(weighed).for_each(|(w, (own, _))| *w *= own);
                }
                pool.push(batch);
            }
        }
        if each >= most || behind_variance(&pools) >= ENOUGH {
            break;
        }
        first = each;
        each *= 2;
    }
    let count = walkers / replicates;
    (0..blocks)
        .flat_map(|block| {
            let taken: Vec<Vec<Start>> = (0..replicates)
                .map(|r| {
                    let number = block * replicates + r;
                    let mut rng = stream(settings.seed, Purpose::Analysis, STREAMS - 4, number);
                    take(&pools[r], n, count, &mut rng)
                })
                .collect();
            (0..walkers).filter_map(move |w| taken[w % replicates].get(w / replicates).cloned())
        })
        .collect()
}

/// Effective number of the samples that make the variance of the local energy.
fn behind_variance(pools: &[Vec<Batch>]) -> f64 {
    let all = || {
        let batches = pools.iter().flatten();
        batches
            .flat_map(|b| b.local_energy.iter().copied().zip(b.weight.iter().copied()))
            .filter(|(e, w)| e.is_finite() && w.is_finite())
    };
    let number = all().map(|(_, w)| w).sum::<f64>();
    let mean = all().map(|(e, w)| w * e).sum::<f64>() / number;
    let parts = || all().map(|(e, w)| w * (e - mean).powi(2));
    let (sum, square) = (parts().sum::<f64>(), parts().map(|p| p * p).sum::<f64>());
    if square > 0.0 { sum * sum / square } else { f64::INFINITY }
}

/// A place as a sample of which nothing else is known.
fn place(x: &[f64]) -> Sample<'_> {
    let no = f64::NAN;
    Sample {
        x,
        log_abs: no,
        sign: no,
        local_energy: no,
        gradient: &[],
        conditional: &[],
        log_scale: &[],
    }
}

/// What the exact samples say.
pub(super) fn measured(drawn: &Drawn) -> Result<Vec<Measurement>, ProjectError> {
    let all = drawn.observables.iter().zip(&drawn.means);
    all.map(|((name, observable), means)| {
        let quantities = observable.finish(&Replicates::new(means.clone()))?;
        Ok(Measurement { observable: (*name).to_owned(), quantities })
    })
    .collect()
}

/// Pure estimates: what the exact samples say, and what the weights of windows of this length change of it.
pub(super) fn finish(
    drawn: &Drawn,
    settings: &Settings,
    walks: &[Walk],
    stride: usize,
    action: &Action,
    window: usize,
) -> Result<Vec<Pure>, ProjectError> {
    let replicates = settings.replicates;
    // Number and weight of the windows, then of each observable plain and weighted sums.
    let width: usize = 2 + 2 * drawn.observables.iter().map(|(_, o)| o.length()).sum::<usize>();
    let sums = parallel::map_chunks(replicates, 1, |r, _| {
        let mut sums = vec![0.0; width];
        let mut own = Vec::new();
        for walk in walks.iter().skip(r).step_by(replicates) {
            let weight = walk.weight;
            let (_, path) = action.along(&walk.energies(usize::MAX));
            for (middle, x) in walk.places(stride) {
                let half = window / 2;
                if middle < half || middle + half >= path.len() {
                    continue;
                }
                let w = weight * (path[middle - half] - path[middle + half]).exp();
                sums[0] += weight;
                sums[1] += w;
                let mut rest = &mut sums[2..];
                for (_, observable) in &drawn.observables {
                    own.clear();
                    own.resize(observable.length(), 0.0);
                    observable.add(&place(x), &mut own);
                    let (plain, weighted) = rest[..2 * own.len()].split_at_mut(own.len());
                    for ((p, v), o) in plain.iter_mut().zip(weighted).zip(&own) {
                        *p += weight * o;
                        *v += w * o;
                    }
                    rest = &mut rest[2 * own.len()..];
                }
            }
        }
        sums
    });
    let change = |sums: &[f64]| -> Vec<Vec<f64>> {
        let mut rest = &sums[2..];
        let mut all = Vec::new();
        for (_, observable) in &drawn.observables {
            let (plain, weighted) = rest[..2 * observable.length()].split_at(observable.length());
            let change = |(w, p): (&f64, &f64)| w / sums[1] - p / sums[0];
            all.push(weighted.iter().zip(plain).map(change).collect());
            rest = &rest[2 * observable.length()..];
        }
        all
    };
    let sums = Replicates::new(sums);
    let guide = drawn.weighted.as_ref().unwrap_or(&drawn.means);
    let whole = change(&sums.mean());
    let without: Vec<_> = sums.leave_one_out().map(|s| change(&s)).collect();
    let r = replicates as f64;
    let mut found = Vec::new();
    for (k, (name, observable)) in drawn.observables.iter().enumerate() {
        let measured = |means: Vec<Vec<f64>>| -> Result<Measurement, ProjectError> {
            let quantities = observable.finish(&Replicates::new(means))?;
            Ok(Measurement { observable: (*name).to_owned(), quantities })
        };
        // Pseudo-values of the jackknife are as good as independent.
        let pure = guide[k].iter().zip(&without).map(|(mean, without)| {
            let pseudo = whole[k].iter().zip(&without[k]).map(|(w, o)| r * w - (r - 1.0) * o);
            mean.iter().zip(pseudo).map(|(m, p)| m + p).collect()
        });
        found.push(Pure::of(measured(drawn.means[k].clone())?, measured(pure.collect())?));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_taken_where_energies_are_far_off_and_weighted_back() {
        // One place in 500 has an energy of 50, and others scatter about nothing.
        let count = 8192;
        let energy = |k: usize| if k % 500 == 7 { 50.0 } else { (k as f64).sin() };
        let pool = Batch {
            particles: 1,
            x: (0..count).map(|k| k as f64).collect(),
            local_energy: (0..count).map(energy).collect(),
            weight: (0..count).map(|k| if k % 2 == 0 { 0.5 } else { 1.5 }).collect(),
            ..Batch::default()
        };
        let number: f64 = pool.weight.iter().sum();
        let mean =
            pool.weight.iter().zip(&pool.local_energy).map(|(w, e)| w * e).sum::<f64>() / number;
        let mut rng = stream(3, Purpose::Analysis, 0, 0);
        let starts = take(&[pool], 1, 512, &mut rng);
        assert_eq!(starts.len(), 512);
        let rare = starts.iter().filter(|s| energy(s.x[0] as usize) == 50.0);
        // As many as by chance would be one.
        assert!(rare.clone().count() > 50 && rare.clone().all(|s| s.weight < 0.05));
        let total = starts.iter().map(|s| s.weight).sum::<f64>() / 512.0;
        let found = starts.iter().map(|s| s.weight * energy(s.x[0] as usize)).sum::<f64>() / 512.0;
        assert!(
            (total - 1.0).abs() < 0.05 && (found - mean).abs() < 0.05,
            "{total} {found} {mean}"
        );
    }

    #[test]
    fn starts_are_none_of_those_without_a_sensible_energy() {
        let pool = Batch {
            particles: 1,
            x: vec![0.0, 1.0, 2.0, 3.0],
            local_energy: vec![1.0, f64::NAN, f64::INFINITY, 2.0],
            weight: vec![1.0; 4],
            ..Batch::default()
        };
        let mut rng = stream(3, Purpose::Analysis, 0, 0);
        let starts = take(&[pool], 1, 64, &mut rng);
        assert!(starts.iter().all(|s| s.x[0] == 0.0 || s.x[0] == 3.0));
        assert!((starts.iter().map(|s| s.weight).sum::<f64>() / 64.0 - 1.0).abs() < 0.05);
    }
}
