//! Walks of all walkers, as long and as many as the error bar asks for.

use super::kernel::Space;
use super::projection::Variational;
use super::pure::Start;
use super::refusal::{ProjectError, Refusal};
use super::state::{Arm, State, Steps, Walk, tally};
use super::verdict::{Found, bulk};
use super::walker::{Mover, Tally};
use super::windows::{self, Action, Curve};
use super::{Job, News, ROUNDING, STREAMS, afforded};
use crate::parallel;
use crate::sampling::{Purpose, stream};
use std::ops::ControlFlow;

/// Walkers to begin with, and how many times as many there may be where their number is open.
const WALKERS: usize = 1024;
const BLOCKS: usize = 4;
/// Walkers of a replicate, at least.
const FEWEST: usize = 4;
/// Of a dressed guide so many times fewer do to begin with: they add little to the scatter.
const FEWER: usize = 4;
/// The same for one and two particles.
const PAIR_BLOCKS: usize = 16;
/// Steps of walkers that are added, times the cube of the number of particles, as which their cost grows.
const WORK: f64 = 1e9;
/// Error of the correction for which walkers are added: share of the correction, and of the error of the variational energy.
const PRECISE: f64 = 0.025;
const BESIDE: f64 = 0.05;
/// Walkers that are moved before the caller hears of them.
const BATCH: usize = 64;
/// Times that the length may be doubled.
const DOUBLINGS: usize = 4;

impl Job<'_> {
    /// Walkers to begin with.
    pub(super) fn walkers(&self) -> usize {
        let few = if self.dressing.is_some() { WALKERS / FEWER } else { WALKERS };
        let few = afforded(few, self.psi.sector().particles());
        let few = few.max(FEWEST * self.settings.replicates);
        let walkers = self.settings.walkers.unwrap_or(few);
        walkers.max(1).next_multiple_of(self.settings.replicates)
    }

    /// How many times as many there may be.
    pub(super) fn blocks(&self) -> usize {
        match self.settings.walkers {
            Some(_) => 1,
            None if self.psi.sector().particles() <= 2 => PAIR_BLOCKS,
            None if self.dressing.is_some() => FEWER * BLOCKS,
            None => BLOCKS,
        }
    }

    /// Walks until the correction has its plateau, or will have none.
    pub(super) fn walk(
        &self,
        steps: Steps,
        variational: Variational,
        starts: &[Start],
        state: &mut State,
        watch: &mut dyn FnMut(&News, &State) -> ControlFlow<()>,
    ) -> Result<Found, ProjectError> {
        let fixed = self.settings.beta.is_some();
        loop {
            let doublings = state.doublings;
            let longest = steps.first << doublings;
            let lengths = windows::lengths(longest);
            let until = steps.first << doublings;
            let action = self.action(steps, steps.effective, variational);
            self.extend(steps, doublings, &action, &lengths, starts, state, watch)?;
            let all = tally(&state.walks);
            let clock = all.clock();
            let action = self.action(steps, clock.unwrap_or(steps.effective), variational);
            let curve = self.curve(&action, &state.walks, until, &lengths);
            let bulk = bulk(&action, &state.walks);
            let found = self.verdict(curve, lengths, variational, (bulk, all), clock);
            let grows = matches!(found.refusal, Some(Refusal::NoPlateau { .. }));
            let further = self.steps(steps, doublings + 1) <= self.patience;
            if grows && !fixed && further && doublings < DOUBLINGS {
                state.doublings += 1;
                continue;
            }
            let refusal = found.refusal.clone().filter(|_| !(grows && fixed));
            let cost = 2.0
                * (until * self.walkers()) as f64
                * (self.psi.sector().particles() as f64).powi(3);
            let most = self.blocks().min((WORK / cost) as usize);
            let most = most.min(self.patience / self.steps(steps, doublings));
            let blocks = self.blocks_for(&found, state.blocks, variational);
            let alone = matches!(refusal, Some(Refusal::Walker { .. }));
            let blocks = blocks.max(if alone { 2 * state.blocks } else { 0 }).min(most);
            if blocks > state.blocks && matches!(refusal, None | Some(Refusal::Walker { .. })) {
                state.blocks = blocks;
                continue;
            }
            return Ok(Found { refusal, ..found });
        }
    }

    /// Steps of all walkers that a length takes.
    pub(super) fn steps(&self, steps: Steps, doublings: usize) -> usize {
        2 * (steps.first << doublings) * self.walkers()
    }

    /// How many times as many walkers as at first make the error bar small enough.
    pub(super) fn blocks_for(
        &self,
        found: &Found,
        blocks: usize,
        variational: Variational,
    ) -> usize {
        let point = found.curve.points[found.chosen];
        let least = ROUNDING * (1.0 + variational.energy.abs());
        let enough = (PRECISE * (point.correction + self.shift).abs())
            .max(BESIDE * variational.standard_error)
            .max(self.settings.tolerance.unwrap_or(0.0))
            .max(least);
        (blocks as f64 * (point.standard_error / enough).powi(2)).ceil() as usize
    }

    fn curve(&self, action: &Action, walks: &[Walk], until: usize, lengths: &[usize]) -> Curve {
        let betas: Vec<f64> = lengths.iter().map(|&l| l as f64 * action.step).collect();
        let sums = parallel::map_chunks(walks.len(), 1, |c, _| {
            action.sums(&walks[c].energies(until), walks[c].weight, lengths)
        });
        Curve::of(&sums, self.settings.replicates, &betas)
    }

    /// Lets all walks reach the length of the projection to both sides of their start.
    #[allow(clippy::too_many_arguments)]
    fn extend(
        &self,
        steps: Steps,
        doublings: usize,
        action: &Action,
        lengths: &[usize],
        starts: &[Start],
        state: &mut State,
        watch: &mut dyn FnMut(&News, &State) -> ControlFlow<()>,
    ) -> Result<(), ProjectError> {
        let replicates = self.settings.replicates;
        let walkers = self.walkers() * state.blocks;
        let until = steps.first << doublings;
        let longest = &lengths[lengths.len().saturating_sub(1)..];
        let betas: Vec<f64> = longest.iter().map(|&l| l as f64 * action.step).collect();
        let mut sums: Vec<Vec<f64>> = Vec::with_capacity(walkers);
        while sums.len() < walkers {
            let range = sums.len()..walkers.min(sums.len() + BATCH);
            let before = &state.walks;
            let walked = parallel::map_chunks(range.len(), 1, |c, _| {
                let number = range.start + c;
                let walk = before.get(number);
                if walk.is_some_and(|w| w.arms[1].energies.len() > until) {
                    return None;
                }
                Some(self.walked(steps, doublings, (number, &starts[number]), walk, until))
            });
            for (number, walk) in range.clone().zip(walked) {
                match walk {
                    // It has been so far before.
                    None => {}
                    Some(walk) if number < state.walks.len() => state.walks[number] = walk,
                    Some(walk) => state.walks.push(walk),
                }
            }
            let done = &state.walks[range];
            sums.extend(parallel::map_chunks(done.len(), 1, |c, _| {
                action.sums(&done[c].energies(until), done[c].weight, longest)
            }));
            let correction = (sums.len() >= 2 * replicates).then(|| {
                let whole = sums.len() / replicates * replicates;
                let curve = Curve::of(&sums[..whole], replicates, &betas);
                curve.points.last().map(|p| (p.correction, p.standard_error))
            });
            let news = News {
                done: sums.len(),
                of: walkers,
                beta: betas.last().copied().unwrap_or_default(),
                correction: correction.flatten(),
            };
            if watch(&news, state).is_break() {
                return Err(ProjectError::Interrupted);
            }
        }
        Ok(())
    }

    /// A walk as far as `until`, on a stream of its own for each part.
    fn walked(
        &self,
        steps: Steps,
        part: usize,
        (number, start): (usize, &Start),
        before: Option<&Walk>,
        until: usize,
    ) -> Walk {
        let batch = STREAMS + (steps.halvings * (DOUBLINGS + 1) + part) as u64;
        let space = Space::of(self.system.geometry, steps.walls);
        let mut mover = Mover::new(self.psi, self.system, space, steps.tau);
        let mut walk = before.cloned().unwrap_or(Walk {
            weight: start.weight,
            arms: [Arm::default(), Arm::default()],
            tally: Tally::default(),
        });
        for (side, arm) in walk.arms.iter_mut().enumerate() {
            let mut rng = stream(self.settings.seed, Purpose::Analysis, batch, 2 * number + side);
            let from = if arm.x.is_empty() { &start.x } else { &arm.x };
            // Samples have a finite local energy: this does not happen, and would be seen as an energy that is not finite.
            let Some(mut point) = mover.at(from) else {
                arm.energies.resize(until + 1, f64::NAN);
                arm.x = from.clone();
                continue;
            };
            for k in arm.energies.len()..=until {
                if k > 0 {
                    mover.step(&mut point, &mut rng);
                }
                arm.energies.push(point.energy);
                if k % steps.stride == 0 {
                    arm.places.extend_from_slice(&point.x);
                }
            }
            arm.x = point.x;
        }
        walk.tally = walk.tally.and(mover.tally);
        walk
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::tests::{HARMONIUM, built, few};
    use crate::project::{CurvePoint, Settings};
    use crate::system::System;

    #[test]
    fn walkers_are_added_where_the_error_bar_asks_for_them() {
        let (spec, psi) = built(HARMONIUM);
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let mut watch = |_: &News, _: &State| ControlFlow::Continue(());
        let of =
            |tolerance, walkers| Settings { tolerance, walkers, observables: Vec::new(), ..few() };
        let job = |settings| Job {
            psi: psi.as_ref(),
            system,
            settings,
            shift: 0.0,
            dressing: None,
            patience: usize::MAX,
        };
        let (coarse, fixed) = (of(Some(0.5), None), of(None, Some(100)));
        let mut walked = |job: Job| {
            let drawn = job.drawn(&[], None);
            job.walked_out(None, drawn, &mut State::default(), &mut watch).unwrap()
        };
        let found = walked(job(&coarse));
        assert_eq!(found.walkers, WALKERS);
        // A multiple of the replicates.
        let found = walked(job(&fixed));
        assert_eq!(found.walkers, 128);
        let free = of(None, None);
        let point = |standard_error| CurvePoint {
            beta: 1.0,
            correction: -0.1,
            standard_error,
            effective_share: 1.0,
        };
        let asked = |error| {
            let curve = Curve {
                points: vec![point(error)],
                falls: Vec::new(),
                quadrature: Vec::new(),
                largest_part: Vec::new(),
            };
            let found = Found { curve, lengths: vec![2], chosen: 0, refusal: None, clock: 0.1 };
            let nothing = Variational { energy: 1.0, standard_error: 0.0, samples: 0 };
            job(&free).blocks_for(&found, 1, nothing)
        };
        // 2.5 % of the correction.
        assert_eq!([0.002, 0.004, 0.01].map(asked), [1, 3, 16]);
    }
}
