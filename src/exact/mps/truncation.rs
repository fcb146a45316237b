//! One grid: sweeps in which cuts lose less and less, until the energies stop moving.

use super::sweep::{Care, Chain};
use crate::exact::watch::Watch;
use crate::exact::{ExactError, ExactOptions};

/// Weight that a cut may lose at first, and the factor from one stage to the next.
const FIRST_DISCARDED: f64 = 1e-7;
const STAGE: f64 = 0.1;
/// Smallest weight that the eigenvalues of density matrices tell from rounding.
const LEAST_DISCARDED: f64 = 1e-14;
/// Strength of the perturbation of density matrices over the weight that is lost.
const NOISE: f64 = 30.0;
/// The least of it where particles attract each other: with less, tightly bound ones on a fine grid, which move together, stay
/// in a state that only looks converged.
pub(super) const NOISE_OF_BOUND: f64 = 3e-8;
/// Stages that are always done: fewer make no estimate.
const LEAST_STAGES: usize = 3;
/// Pairs of sweeps without perturbation in a stage, at most.
const MOST_PAIRS: usize = 12;
/// Most states of a cut.
const MOST_STATES: usize = 4000;
/// Largest number of products of a local problem.
const PRODUCTS: usize = 6;

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    /// Until the estimated error is below `error`, or the next stage would take the work beyond `work`.
    Error { error: f64, work: f64 },
    /// As far as another calculation went, whose energies these are compared with, and one stage further where the error is
    /// still above `error`.
    Stages { count: usize, error: f64 },
}

/// The states of one grid.
#[derive(Clone, Debug)]
pub(super) struct Converged {
    /// Energies as found, and as extrapolated to nothing lost.
    pub(super) found: Vec<f64>,
    pub(super) energies: Vec<f64>,
    /// Estimated errors of the latter.
    pub(super) errors: Vec<f64>,
    pub(super) discarded: f64,
    /// Most states of a cut.
    pub(super) states: usize,
    pub(super) stages: usize,
    pub(super) products: usize,
    pub(super) work: f64,
}

/// What the stages have come to.
#[derive(Default)]
struct Log {
    products: usize,
    work: f64,
    discarded: f64,
    states: usize,
}

/// A sweep whose work is counted.
fn sweep(
    chain: &mut Chain,
    care: &Care,
    states: usize,
    options: &ExactOptions,
    log: &mut Log,
    watch: &mut dyn Watch,
) -> Result<Vec<f64>, ExactError> {
    let mut counted = 0.0;
    let swept = chain.sweep(care, states, &mut |so_far| {
        let new = so_far.work - counted;
        counted = so_far.work;
        watch.spend(new)
    })?;
    log.products += swept.products;
    log.work += swept.work;
    log.discarded = swept.discarded;
    log.states = swept.states;
    let (needed, limit) = (chain.bytes() as u64, options.memory_limit_bytes);
    if needed > limit {
        return Err(ExactError::Memory { needed, limit });
    }
    Ok(swept.energies)
}

fn largest_change(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

/// What a sequence that falls by `ratio` has left after a step of `change`.
fn remainder(change: f64, ratio: f64) -> f64 {
    change * ratio / (1.0 - ratio)
}

/// Energies of the last stages, extrapolated, with errors.
fn extrapolated(stages: &[Vec<f64>], unsettled: f64) -> (Vec<f64>, Vec<f64>) {
    let [.., before, last] = stages else {
        let last = stages.last().cloned().unwrap_or_default();
        let errors = vec![f64::INFINITY; last.len()];
        return (last, errors);
    };
    let count = last.len();
    let mut energies = vec![];
    let mut errors = vec![];
    for k in 0..count {
        let at = |e: &Vec<f64>| e.get(k).copied().unwrap_or(f64::NAN);
        let change = at(before) - at(last);
        let ratio = match stages {
            [.., first, _, _] => (change / (at(first) - at(before))).clamp(0.1, 0.6),
            _ => 0.3,
        };
        let ratio = if ratio.is_nan() { 0.3 } else { ratio };
        let rest = remainder(change.max(0.0), ratio);
        energies.push(at(last) - rest);
        errors.push(remainder(change.abs(), ratio).max(0.1 * change.abs()) + unsettled);
    }
    (energies, errors)
}

/// Sweeps until the goal is met, with density matrices perturbed by `least_noise` at least.
pub(super) fn converge(
    chain: &mut Chain,
    states: usize,
    goal: Goal,
    least_noise: f64,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<Converged, ExactError> {
    let mut log = Log::default();
    let accuracy = match goal {
        Goal::Error { error, .. } => error,
        Goal::Stages { .. } => 0.2 * options.tolerance,
    };
    // Each local problem leaves the square of its residual over a gap.
    let finest = (0.1 * accuracy / chain.sites() as f64).sqrt().max(1e-8);
    let mut stages: Vec<Vec<f64>> = vec![];
    let mut result: Option<Converged> = None;
    let mut discarded = FIRST_DISCARDED;
    for stage in 0.. {
        let before = log.work;
        let care = Care {
            discarded,
            most: MOST_STATES,
            residual: discarded.sqrt().max(finest),
            passes: if stage == 0 { PRODUCTS / 2 } else { PRODUCTS },
            noise: (NOISE * discarded).max(least_noise),
        };
        let mut energies = vec![];
        for _ in 0..2 {
            energies = sweep(chain, &care, states, options, &mut log, watch)?;
        }
        let quiet = Care { noise: 0.0, ..care };
        let mut changes: Vec<f64> = vec![];
        for _ in 0..MOST_PAIRS {
            let old = energies;
            sweep(chain, &quiet, states, options, &mut log, watch)?;
            energies = sweep(chain, &quiet, states, options, &mut log, watch)?;
            let change = largest_change(&old, &energies);
            changes.push(change);
            let scale = stages.last().map_or(f64::INFINITY, |s| largest_change(s, &energies));
            // States that were kept for the perturbation go in the first pair.
            if stage == 0 || (changes.len() > 1 && change < (0.03 * scale).max(0.1 * accuracy)) {
                break;
            }
        }
        let unsettled = match changes[..] {
            [.., a, b] => remainder(b, (b / a.max(1e-300)).clamp(0.1, 0.8)),
            _ => changes.first().copied().unwrap_or(0.0),
        };
        stages.push(energies.clone());
        let (extrapolated, errors) = extrapolated(&stages, unsettled);
        let worst = errors.iter().copied().fold(0.0, f64::max);
        result = Some(Converged {
            found: energies,
            energies: extrapolated,
            errors,
            discarded: log.discarded,
            states: log.states,
            stages: stage + 1,
            products: log.products,
            work: log.work,
        });
        discarded *= STAGE;
        let done = match goal {
            Goal::Stages { count, error } => stage + 1 >= count + usize::from(worst > error),
            Goal::Error { error, work } => {
                let next = 2.5 * (log.work - before);
                stage + 1 >= LEAST_STAGES && (worst <= error || log.work + next > work)
            }
        };
        if done || discarded < 0.99 * LEAST_DISCARDED {
            break;
        }
    }
    result.ok_or(ExactError::Interrupted)
}

/// Brings the centre to the left end.
pub(super) fn to_the_left(
    chain: &mut Chain,
    states: usize,
    found: &Converged,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<(), ExactError> {
    if chain.position == 0 {
        return Ok(());
    }
    let care = Care {
        discarded: found.discarded.max(LEAST_DISCARDED),
        most: MOST_STATES,
        residual: 1e-6,
        passes: 2,
        noise: 0.0,
    };
    sweep(chain, &care, states, options, &mut Log::default(), watch)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stages_leave_is_extrapolated_and_covered() {
        // E = 1 + 0.2^k: the rest after the last is known.
        let stages: Vec<Vec<f64>> = (0..4).map(|k| vec![1.0 + 0.2_f64.powi(k)]).collect();
        let (energies, errors) = extrapolated(&stages, 0.0);
        assert!((energies[0] - 1.0).abs() < 1e-12 && errors[0] > 0.007, "{energies:?} {errors:?}");
        assert_eq!(extrapolated(&stages[..1], 0.0).1, [f64::INFINITY]);
    }
}
