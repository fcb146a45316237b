//! Step and length of a projection, from short walks.

use super::kernel::Space;
use super::state::Steps;
use super::walker::{Mover, Tally};
use super::{Refusal, STREAMS, Settings};
use crate::math::statistics::median;
use crate::parallel;
use crate::sampling::{Purpose, stream};
use crate::system::{Geometry, System};
use crate::wavefunction::Wavefunction;
use std::f64::consts::PI;

/// Least share of accepted moves.
const ACCEPTANCE: f64 = 0.98;
/// The same below which the shortest step is refused.
const LEAST_ACCEPTANCE: f64 = 0.9;
/// Walks that choose, and steps of each for the acceptance and for the correlation.
const WALKS: usize = 64;
const SHORT: usize = 16;
const LONG: usize = 96;
/// Largest share of local energies beyond the cap of the action, which falls with the step.
const CLIPPED: f64 = 1e-3;
/// Times that the step is halved.
const HALVINGS: usize = 18;
/// Samples that show where the particles are.
const SAMPLES: usize = 1024;
/// First length of the projection, in correlation times of the local energy.
const LENGTH: f64 = 8.0;
/// The same in times in which the state relaxes.
const RELAXED: f64 = 2.0;
/// Fewest and most steps of the first length.
const FEWEST: usize = 8;
const MOST: usize = 512;
/// Longest step in correlation times, and halvings for its sake: what is never resolved is noise of rare places.
const RESOLVED: f64 = 0.5;
const RESOLVING: usize = 4;
/// Places of a walk that are kept, about, for observables.
const PLACES: usize = 32;
/// Steps from a wall, in standard deviations of a move, at which it is felt.
const NEAR: f64 = 3.0;

/// Where exact samples are: the largest squared step that makes sense, the least distance to a wall, and the longest time in which the state
/// relaxes, by the bound of the sum rule for the dipole: the gap is at most `n / (2 var sum x)`.
fn look(psi: &dyn Wavefunction, system: System, settings: &Settings) -> (f64, f64, f64) {
    let n = psi.sector().particles();
    let found = parallel::map_chunks(SAMPLES, parallel::SAMPLE_CHUNK, |c, range| {
        let mut rng = stream(settings.seed, Purpose::Analysis, STREAMS - 2, c);
        let mut evaluator = psi.evaluator();
        let mut uniforms = vec![0.0; range.len() * psi.uniforms()];
        uniforms.fill_with(|| crate::sampling::open_uniform(&mut rng));
        let mut all = vec![0.0; range.len() * n];
        evaluator.sample(&uniforms, &mut all);
        all
    });
    let all: Vec<f64> = found.into_iter().flatten().collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let square = all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / all.len() as f64;
    let wall = match system.geometry {
        Geometry::Box { half_width } => {
            all.iter().map(|x| half_width - x.abs()).fold(f64::INFINITY, f64::min)
        }
        _ => f64::INFINITY,
    };
    let sums = || all.chunks_exact(n).map(|x| x.iter().sum::<f64>() - n as f64 * mean);
    let dipole = sums().map(|s| s * s).sum::<f64>() / SAMPLES as f64;
    let relaxed = match system.geometry {
        Geometry::Ring { circumference } => 2.0 * (circumference / (2.0 * PI)).powi(2),
        _ => 2.0 * dipole / n as f64,
    };
    (square, wall, relaxed)
}

/// Walks of a few steps each: what became of their moves, and their local energies.
fn walks(
    psi: &dyn Wavefunction,
    system: System,
    settings: &Settings,
    (tau, space): (f64, Space),
    steps: usize,
) -> (Tally, Vec<Vec<f64>>) {
    let done = parallel::map_chunks(WALKS, 1, |c, _| {
        let mut rng = stream(settings.seed, Purpose::Analysis, STREAMS - 3, c);
        let mut mover = Mover::new(psi, system, space, tau);
        let mut energies = Vec::new();
        if let Some(mut point) = mover.start(&mut rng) {
            energies.push(point.energy);
            for _ in 0..steps {
                mover.step(&mut point, &mut rng);
                energies.push(point.energy);
            }
        }
        (mover.tally, energies)
    });
    let tally = done.iter().fold(Tally::default(), |all, d| all.and(d.0));
    (tally, done.into_iter().map(|d| d.1).collect())
}

/// The step that counts, by the share of squared displacements that is accepted.
pub(super) fn effective(
    psi: &dyn Wavefunction,
    system: System,
    settings: &Settings,
    tau: f64,
    walls: bool,
) -> f64 {
    let space = Space::of(system.geometry, walls);
    let (tally, _) = walks(psi, system, settings, (tau, space), LONG);
    tally.clock().unwrap_or(tau)
}

/// Chooses what the settings leave open.
pub(super) fn choose(
    psi: &dyn Wavefunction,
    system: System,
    settings: &Settings,
    origin: f64,
) -> Result<Steps, Refusal> {
    let (square, wall, relaxed) = look(psi, system, settings);
    let near = |tau: f64| wall < NEAR * tau.sqrt();
    let n = psi.sector().up.max(psi.sector().down);
    // The largest 0.16 · 2^k that is no more than a quarter of the spread.
    let mut tau = 0.16 * (0.25 * square / 0.16).log2().floor().exp2();
    let room = Space::of(system.geometry, near(tau)).longest_step(n);
    while tau > room {
        tau *= 0.5;
    }
    // No projection is shorter than what takes a particle through a part of its room.
    let least = tau;
    if let Some(step) = settings.step {
        tau = step;
    }
    let mut halvings = 0;
    let (walls, tally) = loop {
        let space = Space::of(system.geometry, near(tau));
        let (tally, _) = walks(psi, system, settings, (tau, space), SHORT);
        let acceptance = tally.acceptance();
        if acceptance >= ACCEPTANCE || settings.step.is_some() {
            break (near(tau), tally);
        }
        if halvings == HALVINGS {
            if acceptance < LEAST_ACCEPTANCE || acceptance.is_nan() {
                return Err(Refusal::Step { step: tau, acceptance });
            }
            break (near(tau), tally);
        }
        tau *= 0.5;
        halvings += 1;
    };
    if tally.tried == 0.0 {
        return Err(Refusal::NoSense);
    }
    let mut time;
    let mut resolving = 0;
    let effective = loop {
        let space = Space::of(system.geometry, walls);
        let (tally, energies) = walks(psi, system, settings, (tau, space), LONG);
        let clock = tally.clock();
        let effective = clock.unwrap_or(tau);
        time = correlation(&energies, origin, 1.0 / tau).map(|steps| steps * effective);
        let long = resolving < RESOLVING && time.is_some_and(|time| tau > RESOLVED * time);
        let cut = clipped(&energies, origin, 1.0 / tau) > CLIPPED;
        let cut = cut || clock.is_none();
        if !long && !cut || settings.step.is_some() || halvings >= HALVINGS {
            break effective;
        }
        tau *= 0.5;
        halvings += 1;
        resolving += usize::from(!cut);
    };
    let found = time.map_or(least, |time| least.max(LENGTH * time).max(RELAXED * relaxed));
    let length = settings.beta.unwrap_or(found);
    let wanted = 2 * (0.5 * length / effective).round().min(1e6) as usize;
    let first = match settings.beta {
        Some(_) => wanted.max(2),
        None => wanted.clamp(FEWEST, MOST),
    };
    let stride = 2 * (first / PLACES).max(1);
    Ok(Steps { tau, effective, walls, first, stride, halvings: 0 })
}

/// Share of the local energies that count for less than they are.
fn clipped(walks: &[Vec<f64>], origin: f64, cap: f64) -> f64 {
    let far = |e: &&f64| (*e - origin).abs() > cap || e.is_nan();
    let count: usize = walks.iter().map(Vec::len).sum();
    walks.iter().flatten().filter(far).count() as f64 / count as f64
}

/// Integrated correlation time of the local energy in steps; none where it has no variance.
fn correlation(walks: &[Vec<f64>], origin: f64, cap: f64) -> Option<f64> {
    let mut all: Vec<f64> = walks.iter().flatten().copied().collect();
    let middle = median(&mut all);
    if !middle.is_finite() {
        return None;
    }
    // The origin may be far from what a few walks see.
    let middle = if (middle - origin).abs() < cap { origin } else { middle };
    let walks: Vec<Vec<f64>> =
        walks.iter().map(|w| w.iter().map(|e| (e - middle).clamp(-cap, cap)).collect()).collect();
    let count: usize = walks.iter().map(Vec::len).sum();
    let mean = walks.iter().flatten().sum::<f64>() / count as f64;
    let at = |lag: usize| {
        let (mut sum, mut pairs) = (0.0, 0usize);
        for w in &walks {
            for k in lag..w.len() {
                sum += (w[k] - mean) * (w[k - lag] - mean);
                pairs += 1;
            }
        }
        sum / pairs as f64
    };
    let variance = at(0);
    if variance.is_nan() || variance <= 1e-24 * (1.0 + origin * origin) {
        return None;
    }
    let mut time = 0.5;
    for lag in 1..LONG {
        let share = at(lag) / variance;
        if share < 0.03 {
            break;
        }
        time += share;
    }
    Some(time)
}
