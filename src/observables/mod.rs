//! Observables of a wavefunction with honest error bars: one file an observable, one line of [`REGISTRY`] each.
//!
//! The life of a measurement: a small pilot set of samples fixes windows and bins ([`Setup`]); then `R`
//! replicates, batches that are independent of each other, are drawn one after the other. Every observable adds
//! the contributions of the samples of a replicate to sums of its own; their means over the replicate are all
//! that is kept. At the end each observable turns the means of all replicates into [`Quantity`]s
//! ([`replicates::Replicates`]): the error bar is the scatter *between* replicates, so it assumes nothing about the
//! samples within one, and holds for functions of means (ratios, logarithms, eigenvalues) by the jackknife.
//!
//! Every sample follows `|psi|²` exactly; there is no burn-in. The samples of a replicate are *not* independent: they are
//! a scrambled Sobol set, spread more evenly than independent ones would be. Only the first `2^k` points of such a set
//! are as even as their number allows, so a replicate is a power of two, and an observable that needs fewer samples takes
//! the first ones ([`Observable::share`]). Every eighth point, say, is a much worse set than eight times fewer: the
//! first digits of its first coordinate are all the same.

pub mod amplitude;
pub mod contact;
pub mod density;
pub mod density_matrix;
pub mod distance;
pub mod energy;
pub mod entropy;
pub mod extrapolation;
pub mod fidelity;
pub mod forces;
mod grid;
pub mod local_energy;
pub mod pair_density;
pub mod position;
pub mod quantity;
pub mod replicates;
pub mod structure_factor;
pub mod virial;

pub use quantity::{Axis, Measurement, Quantity};

use crate::estimate::contact_energy;
use crate::exact::ExactState;
use crate::local_energy::{self as energies, Batch, BatchId, Derivatives};
use crate::math::linalg::EigenFailure;
use crate::math::statistics::median;
use crate::objective::free_energy::{self, ThermalBatch};
use crate::parallel;
use crate::sampling::{Purpose, Sampling};
use crate::system::sector::MOST_COMPONENTS;
use crate::system::{Sector, System};
use crate::wavefunction::Wavefunction;
use crate::wavefunction::weyl::ensemble::GibbsStates;
use replicates::Replicates;
use std::sync::Arc;

/// One sample and what is known about it.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Coordinates, spin up first, each spin ascending, in bohr.
    pub x: &'a [f64],
    /// `log |psi|`.
    pub log_abs: f64,
    /// Sign of `psi`.
    pub sign: f64,
    /// Local energy in Hartree.
    pub local_energy: f64,
    /// Gradient of `log |psi|`. Empty unless an observable asked for it.
    pub gradient: &'a [f64],
    /// For each particle its amplitude on the points of [`Setup::grid`] given all others, scaled to unit sum of
    /// squares (`particles x points`). Empty unless the observable asked for it.
    pub conditional: &'a [f64],
    /// For each particle the logarithm of the scale that was taken out of [`Sample::conditional`].
    pub log_scale: &'a [f64],
}

/// An expectation value, or many that are estimated from the same sums.
pub trait Observable: Send + Sync {
    /// Number of sums.
    fn length(&self) -> usize;

    /// One over the share of each replicate's samples that is used, the first ones and at least 64: a power of two.
    /// Expensive observables need few.
    fn share(&self) -> usize {
        1
    }

    /// Whether [`Sample::conditional`] is needed.
    fn needs_conditional(&self) -> bool {
        false
    }

    /// Whether [`Sample::gradient`] is needed.
    fn needs_gradient(&self) -> bool {
        false
    }

    /// Adds the contribution of a sample to the sums.
    fn add(&self, sample: &Sample, sums: &mut [f64]);

    /// What the means say.
    ///
    /// # Errors
    /// [`EigenFailure`] when means are not finite.
    fn finish(&self, replicates: &Replicates) -> Result<Vec<Quantity>, EigenFailure>;
}

/// A line of the registry.
pub struct Entry {
    /// Name, as `--what` takes it.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Makes the observable; `None` where the system has no such thing.
    pub build: fn(&Setup) -> Option<Box<dyn Observable>>,
}

/// All observables, in the order of the output.
pub const REGISTRY: &[Entry] = &[
    Entry { name: "energy", about: energy::ABOUT, build: energy::build },
    Entry { name: "local_energy", about: local_energy::ABOUT, build: local_energy::build },
    Entry { name: "virial", about: virial::ABOUT, build: virial::build },
    Entry { name: "forces", about: forces::ABOUT, build: forces::build },
    Entry { name: "position", about: position::ABOUT, build: position::build },
    Entry { name: "density", about: density::ABOUT, build: density::build },
    Entry { name: "pair_density", about: pair_density::ABOUT, build: pair_density::build },
    Entry { name: "distance", about: distance::ABOUT, build: distance::build },
    Entry { name: "contact", about: contact::ABOUT, build: contact::build },
    Entry { name: "density_matrix", about: density_matrix::ABOUT, build: density_matrix::build },
    Entry {
        name: "structure_factor",
        about: structure_factor::ABOUT,
        build: structure_factor::build,
    },
    Entry { name: "entropy", about: entropy::ABOUT, build: entropy::build },
    Entry { name: "fidelity", about: fidelity::ABOUT, build: fidelity::build },
];

/// What observables are made from.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    /// Potentials and space.
    pub system: System<'a>,
    /// Numbers of particles.
    pub sector: Sector,
    /// Interval that holds the particles, in bohr: all of a ring; between walls and on the line it ends where the density
    /// is negligible.
    pub window: (f64, f64),
    /// Points for one coordinate, equally spaced, in bohr: those of a sine DVR in the window (its ends are no
    /// points), and an odd number all around a ring.
    pub grid: Vec<f64>,
    /// Median of the local energy of the pilot samples and its median absolute deviation, in Hartree.
    pub local_energy: (f64, f64),
    /// Largest distance of two particles among the pilot samples, in bohr.
    pub extent: f64,
    /// `<sum delta>` of different spins, in 1/bohr, where the state has the cusp of a contact interaction.
    pub contact_density: f64,
    /// The energy of that, in Hartree: it is part of the mean of kinetic local energies.
    pub contact_energy: f64,
    /// Probabilities of the orders of the spins, where the state knows them.
    pub orders: Vec<(Vec<u8>, f64)>,
    /// The exact ground state, where it could be had.
    pub exact: Option<Arc<ExactState>>,
    /// Energy of the first excited state of the sector, in Hartree, where known.
    pub first_excited: Option<f64>,
}

/// Names of two spins, and of more components.
const SPINS: &[&str] = &["up", "down"];
pub(crate) const LETTERS: [&str; MOST_COMPONENTS] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s",
    "t", "u", "v", "w", "x", "y", "z", "A", "B", "C", "D", "E", "F",
];

/// Samples of the pilot set.
const PILOT: usize = 1024;
/// Name of the pilot batch: no replicate has its number. Its seed is fixed, so that grids and bins belong to the state
/// and not to the measurement.
const PILOT_BATCH: u64 = 1 << 31;
const PILOT_SEED: u64 = 0;

impl<'a> Setup<'a> {
    /// Looks at a pilot set of samples. Exact state and excited energy may be added afterwards.
    pub fn new(psi: &dyn Wavefunction, system: System<'a>) -> Self {
        let pilot = draw(psi, system, PILOT_SEED, PILOT_BATCH, 0..PILOT);
        Self::over(psi, system, &pilot)
    }

    /// The same for an ensemble at a temperature: the highest state among the samples reaches farthest, and has the finest waves.
    pub fn of_ensemble(states: &GibbsStates, system: System<'a>) -> Self {
        let drawn = draw_thermal(states, system, PILOT_SEED, PILOT_BATCH, 0..PILOT);
        let highest = drawn.state.last().copied().unwrap_or(0);
        Self::over(&states.state(highest), system, &drawn.batch)
    }

    fn over(psi: &dyn Wavefunction, system: System<'a>, pilot: &Batch) -> Self {
        let mut energies = pilot.local_energy.clone();
        let middle = median(&mut energies);
        energies.iter_mut().for_each(|e| *e = (*e - middle).abs());
        let scatter = median(&mut energies);
        let window = grid::window(psi, system.geometry, &pilot.x);
        let grid = grid::points(psi, system.geometry, window, &pilot.x);
        let n = psi.sector().particles();
        let mut extent = 0.0f64;
        for x in pilot.x.chunks_exact(n) {
            for i in 0..n {
                for j in 0..i {
                    extent = extent.max(system.geometry.distance(x[i], x[j]).abs());
                }
            }
        }
        Setup {
            system,
            sector: psi.sector(),
            window,
            grid,
            local_energy: (middle, scatter),
            extent,
            contact_density: psi.contact_density(),
            contact_energy: contact_energy(psi, system),
            orders: psi.order_probabilities(),
            exact: None,
            first_excited: None,
        }
    }

    /// Spacing of the grid, in bohr.
    pub fn spacing(&self) -> f64 {
        self.grid[1] - self.grid[0]
    }

    /// Spins, or components, that have particles: name and range of coordinates.
    pub fn spins(&self) -> impl Iterator<Item = (&'static str, std::ops::Range<usize>)> + use<> {
        let names = if self.sector.is_many() { &LETTERS[..] } else { SPINS };
        names.iter().copied().zip(self.sector.ranges()).filter(|(_, r)| !r.is_empty())
    }

    /// Pairs of spins that have pairs of particles.
    pub(crate) fn spin_pairs(&self) -> Vec<SpinPair> {
        let spins: Vec<_> = self.spins().collect();
        let mut all = Vec::new();
        for (i, (name, first)) in spins.iter().enumerate() {
            for (other, second) in &spins[i..] {
                let (first, second) = (first.clone(), second.clone());
                all.push(SpinPair { name: format!("{name}_{other}"), first, second });
            }
        }
        all.retain(|p| p.pairs() > 0);
        all
    }
}

/// The particles of one spin and those of the same or the other.
#[derive(Clone, Debug)]
pub(crate) struct SpinPair {
    name: String,
    first: std::ops::Range<usize>,
    second: std::ops::Range<usize>,
}

impl SpinPair {
    fn equal(&self) -> bool {
        self.first == self.second
    }

    /// Number of ordered pairs.
    fn pairs(&self) -> usize {
        if self.equal() {
            self.first.len() * self.first.len().saturating_sub(1)
        } else {
            self.first.len() * self.second.len()
        }
    }

    /// Pairs of coordinates; both orders for equal spins.
    fn each(&self, mut visit: impl FnMut(usize, usize)) {
        for i in self.first.clone() {
            for j in self.second.clone() {
                if i != j {
                    visit(i, j);
                }
            }
        }
    }
}

/// Equal bins over an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bins {
    start: f64,
    width: f64,
    count: usize,
}

impl Bins {
    fn new((start, end): (f64, f64), count: usize) -> Self {
        Bins { start, width: (end - start) / count as f64, count }
    }

    /// The bin that holds a number.
    fn find(&self, x: f64) -> Option<usize> {
        let b = ((x - self.start) / self.width).floor();
        (b >= 0.0 && b < self.count as f64).then_some(b as usize)
    }

    /// The bin that holds a number, or the one next to it: rounding may put a coordinate beyond the last edge, and a
    /// window leaves out what hardly ever comes.
    fn nearest(&self, x: f64) -> usize {
        // The conversion saturates.
        (((x - self.start) / self.width).floor() as usize).min(self.count - 1)
    }

    fn edges(&self) -> Vec<f64> {
        (0..=self.count).map(|i| self.start + self.width * i as f64).collect()
    }
}

/// How much to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Samples in all, at least.
    pub samples: usize,
    /// Independent replicates they are split into.
    pub replicates: usize,
    /// Seed of the samples.
    pub seed: u64,
}

impl Effort {
    /// Number of replicates.
    pub fn sets(&self) -> usize {
        self.replicates.max(FEWEST_REPLICATES)
    }

    /// Samples of each replicate: the next power of two from an equal share on.
    pub fn each(&self) -> usize {
        self.samples.div_ceil(self.sets()).max(1).next_power_of_two()
    }

    /// Samples that are drawn in all.
    pub fn drawn(&self) -> usize {
        self.sets() * self.each()
    }
}

/// Fewest replicates: with fewer, the error bars themselves are too uncertain.
pub const FEWEST_REPLICATES: usize = 16;

/// Samples of a replicate that every observable takes, if there are so many: means of fewer are far from Gaussian where
/// rare configurations count, as for weak occupations. A power of two.
const FEWEST_USED: usize = 64;

/// Samples one task adds up. Fixed, so that rounding is the same for any number of threads.
const CHUNK: usize = 32;
/// Samples that are drawn before they are added up; bounds the memory.
const BATCH: usize = 1024;

/// Measures observables on replicates that are independent of each other; `watch` gets the number of replicates
/// that are done. An observable that has no values where a replicate keeps none of its samples is left out.
///
/// # Errors
/// [`EigenFailure`] when means are not finite.
pub fn measure(
    psi: &dyn Wavefunction,
    setup: &Setup,
    observables: &[(&'static str, Box<dyn Observable>)],
    effort: Effort,
    mut watch: impl FnMut(usize),
) -> Result<Vec<Measurement>, EigenFailure> {
    let mut told = 0;
    let goes_on = |done| {
        if done > told {
            told = done;
            watch(done);
        }
        true
    };
    Ok(measure_while(psi, setup, observables, effort, goes_on)?.unwrap_or_default())
}

/// The same for as long as `goes_on`, which gets the number of replicates that are done, time and again; none where it ends them.
///
/// # Errors
/// As [`measure`].
pub fn measure_while(
    psi: &dyn Wavefunction,
    setup: &Setup,
    observables: &[(&'static str, Box<dyn Observable>)],
    effort: Effort,
    goes_on: impl FnMut(usize) -> bool,
) -> Result<Option<Vec<Measurement>>, EigenFailure> {
    replicates_of(observables, effort, goes_on, |replicate, drawn, uses| {
        let first = drawn.start;
        let batch = draw(psi, setup.system, effort.seed, replicate, drawn);
        parallel::map_chunks(batch.samples(), CHUNK, |_, range| {
            add_chunk(psi, setup, observables, &batch, range, |o, s| uses(o, first + s))
        })
    })
}

/// The same averages over the ensemble at a temperature: every sample is one of a state, with the probability that the state has.
///
/// # Errors
/// As [`measure`].
pub fn measure_ensemble(
    states: &GibbsStates,
    setup: &Setup,
    observables: &[(&'static str, Box<dyn Observable>)],
    effort: Effort,
    goes_on: impl FnMut(usize) -> bool,
) -> Result<Option<Vec<Measurement>>, EigenFailure> {
    replicates_of(observables, effort, goes_on, |replicate, drawn, uses| {
        let first = drawn.start;
        let ThermalBatch { batch, state, number } =
            draw_thermal(states, setup.system, effort.seed, replicate, drawn);
        // Ranges of samples of one state.
        let starts: Vec<usize> =
            (0..state.len()).filter(|&s| s == 0 || state[s] != state[s - 1]).collect();
        parallel::map_chunks(starts.len(), 1, |index, _| {
            let end = starts.get(index + 1).copied().unwrap_or(state.len());
            let range = starts[index]..end;
            let psi = states.state(state[range.start]);
            add_chunk(&psi, setup, observables, &batch, range, |o, s| uses(o, first + number[s]))
        })
    })
}

/// Whether an observable takes the sample of this number in its replicate.
type Uses<'a> = &'a (dyn Fn(&dyn Observable, usize) -> bool + Sync);

/// Fills replicates with what `sums` adds up over a range of samples of one, and finishes all observables.
fn replicates_of(
    observables: &[(&'static str, Box<dyn Observable>)],
    effort: Effort,
    mut goes_on: impl FnMut(usize) -> bool,
    sums: impl Fn(u64, std::ops::Range<usize>, Uses) -> Vec<Vec<Sums>>,
) -> Result<Option<Vec<Measurement>>, EigenFailure> {
    let (count, samples) = (effort.sets(), effort.each());
    let mut means: Vec<Vec<Vec<f64>>> = vec![Vec::with_capacity(count); observables.len()];
    let mut unseen = vec![false; observables.len()];
    let uses =
        |o: &dyn Observable, s: usize| s < (samples / o.share()).max(FEWEST_USED.min(samples));
    for replicate in 0..count {
        let mut all: Vec<Sums> =
            observables.iter().map(|(_, o)| (vec![0.0; o.length()], 0)).collect();
        for first in (0..samples).step_by(BATCH) {
            let drawn = first..samples.min(first + BATCH);
            let parts = sums(replicate as u64, drawn, &uses);
            if !goes_on(replicate) {
                return Ok(None);
            }
            for part in parts {
                for ((sums, used), (more, count)) in all.iter_mut().zip(part) {
                    *used += count;
                    sums.iter_mut().zip(&more).for_each(|(s, p)| *s += p);
                }
            }
        }
        for (((mut sums, used), means), unseen) in all.into_iter().zip(&mut means).zip(&mut unseen)
        {
            sums.iter_mut().for_each(|s| *s /= used as f64);
            means.push(sums);
            *unseen |= used == 0;
        }
        if !goes_on(replicate + 1) {
            return Ok(None);
        }
    }
    let finished: Result<Vec<_>, _> = observables
        .iter()
        .zip(means)
        .zip(unseen)
        .filter_map(|(((name, observable), means), unseen)| {
            let observable = (*name, observable.finish(&Replicates::new(means)));
            match observable {
                (name, Ok(quantities)) => {
                    Some(Ok(Measurement { observable: name.to_owned(), quantities }))
                }
                (_, Err(_)) if unseen => None,
                (_, Err(error)) => Some(Err(error)),
            }
        })
        .collect();
    finished.map(Some)
}

/// Sums of an observable and the number of samples behind them.
type Sums = (Vec<f64>, usize);

/// Sums of all observables over a range of samples, none where an observable takes none of them.
fn add_chunk(
    psi: &dyn Wavefunction,
    setup: &Setup,
    observables: &[(&'static str, Box<dyn Observable>)],
    batch: &Batch,
    range: std::ops::Range<usize>,
    uses: impl Fn(&dyn Observable, usize) -> bool,
) -> Vec<Sums> {
    let n = batch.particles;
    let mut evaluator = psi.evaluator();
    let mut parts: Vec<Sums> = vec![(Vec::new(), 0); observables.len()];
    let points = setup.grid.len();
    let mut conditional = vec![0.0; n * points];
    let mut log_scale = vec![0.0; n];
    let mut gradient = vec![0.0; n];
    for s in range {
        let x = &batch.x[s * n..(s + 1) * n];
        let wanted = observables.iter().any(|(_, o)| o.needs_conditional() && uses(o.as_ref(), s));
        let swept = wanted
            && conditional.chunks_exact_mut(points).zip(&mut log_scale).enumerate().all(
                |(i, (out, scale))| {
                    let e = evaluator.as_mut();
                    let found = amplitude::conditional(e, setup.sector, x, i, &setup.grid, out);
                    *scale = found.unwrap_or(f64::NAN);
                    found.is_some()
                },
            );
        let steep = observables.iter().any(|(_, o)| o.needs_gradient() && uses(o.as_ref(), s));
        let log =
            if steep { evaluator.derivatives(x, &mut gradient).0 } else { evaluator.log_psi(x) };
        let sample = Sample {
            x,
            log_abs: log.log_abs,
            sign: log.sign,
            local_energy: batch.local_energy[s],
            gradient: if steep { &gradient } else { &[] },
            conditional: if swept { &conditional } else { &[] },
            log_scale: &log_scale,
        };
        for ((_, observable), (sums, used)) in observables.iter().zip(&mut parts) {
            if uses(observable.as_ref(), s) && (swept || !observable.needs_conditional()) {
                sums.resize(observable.length(), 0.0);
                observable.add(&sample, sums);
                *used += 1;
            }
        }
    }
    parts
}

fn draw(
    psi: &dyn Wavefunction,
    system: System,
    seed: u64,
    number: u64,
    samples: std::ops::Range<usize>,
) -> Batch {
    // Every replicate is a scrambling of its own: independent of the others, more even in itself.
    let sampling = Sampling::QuasiRandom;
    let (purpose, first) = (Purpose::Analysis, samples.start);
    let id = BatchId { seed, purpose, number, first, tails: 0.0, sampling };
    energies::draw(psi, system, id, samples.len(), Derivatives::None)
}

/// Samples of the ensemble, whose local energies are energies: the entropy is taken out again.
fn draw_thermal(
    states: &GibbsStates,
    system: System,
    seed: u64,
    number: u64,
    samples: std::ops::Range<usize>,
) -> ThermalBatch {
    let (purpose, first) = (Purpose::Analysis, samples.start);
    let id = BatchId { seed, purpose, number, first, tails: 0.0, sampling: Sampling::QuasiRandom };
    let mut drawn = free_energy::draw(states, system, id, samples.len(), false);
    for (energy, &k) in drawn.batch.local_energy.iter_mut().zip(&drawn.state) {
        *energy -= states.kt * states.probabilities[k].ln();
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_bins_hold_their_numbers() {
        let mut names: Vec<_> = REGISTRY.iter().map(|e| e.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), REGISTRY.len());
        let bins = Bins::new((-1.0, 1.0), 4);
        assert_eq!(bins.edges(), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        let found: Vec<_> =
            [-1.5, -1.0, -0.1, 0.0, 0.9, 1.0, f64::NAN].map(|x| bins.find(x)).into();
        assert_eq!(found, [None, Some(0), Some(1), Some(2), Some(3), None, None]);
        assert_eq!([-1.5, -0.1, 0.9, 1.0, 7.0].map(|x| bins.nearest(x)), [0, 1, 3, 3, 3]);
    }

    #[test]
    fn replicates_are_powers_of_two() {
        for (samples, replicates, each, drawn) in [
            (16_384, 32, 512, 16_384),
            (200_000, 32, 8192, 262_144),
            (1000, 17, 64, 1088),
            (1, 1, 1, 16),
        ] {
            let effort = Effort { samples, replicates, seed: 0 };
            assert_eq!((effort.each(), effort.drawn()), (each, drawn));
        }
    }
}
