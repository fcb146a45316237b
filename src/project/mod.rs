//! Exact projection: the energy beyond the ansatz.
//!
//! In one dimension the ground state of a sector has no node inside the fundamental domain, so diffusion Monte Carlo confined to it is exact for any
//! number of particles. The guide is normalised and sampled exactly: walkers start from independent samples of `|psi|²`, an exact Metropolis
//! move keeps them there, and paths carry weights `exp(-∫ (E_L - E_T))` without any branching (M. Caffarel, P. Claverie, J. Chem.
//! Phys. 88, 1088 (1988)). What is estimated is not the energy but the correction
//!
//! `Delta(beta) = <w e> / <w> - <e>`, `e` the mean local energy of both ends of a window of the length `beta`,
//!
//! in which the scatter of the variational energy cancels. `E_var + Delta(beta)` falls with `beta` to the exact energy and is an upper bound on
//! the way. Energies in Hartree, lengths in bohr, imaginary time in 1/Hartree.

mod guarded;
mod guide;
mod kernel;
mod pilot;
mod pure;
mod walker;
mod windows;

use crate::contact;
use crate::estimate::rayleigh_quotient;
use crate::json::number;
use crate::math::linalg::EigenFailure;
use crate::math::statistics::Moments;
use crate::observables::{Entry, Measurement, Quantity};
use crate::parallel;
use crate::sampling::{Purpose, stream};
use crate::system::System;
use crate::wavefunction::{RayleighQuotient, Wavefunction};
use guarded::Guarded;
use kernel::Space;
use pure::{Drawn, Start};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use walker::{Mover, Tally};
use windows::{Action, Curve, HALF};

pub use pure::OBSERVABLES;
pub use windows::CurvePoint;

/// How much to project, and how; what is left open is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Walkers, a multiple of the replicates or rounded up to one; where left open as many as the error bar asks for.
    pub walkers: Option<usize>,
    /// Independent replicates behind the error bars.
    pub replicates: usize,
    /// Length of the projection, in 1/Hartree.
    pub beta: Option<f64>,
    /// Length of a step, in 1/Hartree.
    pub step: Option<f64>,
    /// Change of the correction that does not matter, in Hartree.
    pub tolerance: Option<f64>,
    /// Fresh samples for the variational energy; where none are asked for, those of the run do.
    pub samples: Option<usize>,
    /// Names of the observables beside the energy: see [`OBSERVABLES`].
    pub observables: Vec<String>,
    /// Seed of all random numbers.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            walkers: None,
            replicates: 32,
            beta: None,
            step: None,
            tolerance: None,
            samples: None,
            observables: vec!["position".into(), "density".into()],
            seed: 0,
        }
    }
}

/// A variational energy, in Hartree.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variational {
    /// The energy.
    #[serde(deserialize_with = "number")]
    pub energy: f64,
    /// Its standard error.
    #[serde(deserialize_with = "number")]
    pub standard_error: f64,
    /// Samples behind it.
    pub samples: usize,
}

impl Variational {
    /// That of a state whose energy is known without samples.
    pub fn known(quotient: RayleighQuotient) -> Option<Self> {
        let (energy, standard_error) = (quotient.energy, quotient.energy_error);
        let finite = energy.is_finite() && standard_error.is_finite();
        finite.then_some(Variational { energy, standard_error, samples: 0 })
    }
}

/// `E_0 - E_var`, in Hartree.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    /// The correction.
    pub energy: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// How much the last doubling of the projection still brought: the exact energy may be lower by about as much.
    pub remainder: f64,
}

/// Why there is no projected energy.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Nearly nowhere a local energy.
    #[error("the guide has no sensible local energy nearly everywhere")]
    NoSense,
    /// The power of the distance that psi has is not that of the ground state.
    #[error(
        "the local energy of the guide diverges like {coefficient:.3}/d² where particles meet: psi has not the power of the distance that \
         the ground state has, and the variance of the weights is infinite"
    )]
    Contact {
        /// Coefficient, in Hartree bohr².
        coefficient: f64,
    },
    /// A guide that has nodes where the ground state has none.
    #[error(
        "the guide vanishes where opposite spins meet, and the ground state does not: no walker would learn of it"
    )]
    NodeBetweenOppositeSpins,
    /// A guide that changes its sign.
    #[error(
        "the guide changes its sign among configurations of one order, where the ground state does not: a share of {share:.1e} beyond its \
         nodes, which may hide up to {bound:.1e} Ha"
    )]
    Nodes {
        /// Share of `|psi|²` on the smaller side.
        share: f64,
        /// By the kinetic energy, in Hartree.
        bound: f64,
    },
    /// The moves know neither the cusp of a contact interaction nor more than two components.
    #[error(
        "the moves of a projection are those of free particles of two spins, which know neither the cusp of a contact interaction \
         nor more components"
    )]
    Cusp,
    /// No step is short enough.
    #[error(
        "no step is short enough: of steps of {step:.1e} only a share of {acceptance:.3} is accepted"
    )]
    Step {
        /// The shortest step.
        step: f64,
        /// Share that is accepted.
        acceptance: f64,
    },
    /// Steps that no imaginary time explains.
    #[error("the time step is too long: walkers go farther than the exact process ever does")]
    Clock,
    /// Few paths carry all of the weight.
    #[error(
        "few paths carry the weight: an effective share of {share:.3} (at least {least}) after beta = {beta:.3}; the guide is too far from the \
         ground state"
    )]
    Weights {
        /// Effective share.
        share: f64,
        /// The least.
        least: f64,
        /// Length of the projection.
        beta: f64,
    },
    /// The error of the time step is larger than the error bar.
    #[error(
        "the time step is too long: twice of it moves the correction by {change:.1e} ± {error:.1e} Ha"
    )]
    Quadrature {
        /// Change of the correction.
        change: f64,
        /// Its standard error.
        error: f64,
    },
    /// Local energies beyond the cap of the action matter.
    #[error(
        "local energies so far from the mean that the action leaves them out matter: {excess:.1e} Ha of the mean"
    )]
    Cap {
        /// What is left out of the mean.
        excess: f64,
    },
    /// Walkers and exact samples disagree about the guide.
    #[error(
        "walkers and exact samples disagree about the energy of the guide, by {deviation:.1e} ± {error:.1e} Ha"
    )]
    Drift {
        /// Mean over the walks minus that of the samples.
        deviation: f64,
        /// Its standard error.
        error: f64,
    },
    /// One walker carries the correction.
    #[error("one walker carries {part:.1e} Ha of a correction of {correction:.1e} Ha")]
    Walker {
        /// Its part.
        part: f64,
        /// The correction.
        correction: f64,
    },
    /// The correction still grows.
    #[error(
        "no plateau: the last doubling, to beta = {beta:.3}, still lowers the energy by {fall:.1e} ± {error:.1e} Ha"
    )]
    NoPlateau {
        /// Length of the projection.
        beta: f64,
        /// What the last doubling brought.
        fall: f64,
        /// Its standard error.
        error: f64,
    },
    /// A number that is none.
    #[error("the correction is not a number")]
    NotANumber,
}

/// Why a projection ended before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// The caller wanted no more.
    #[error("interrupted")]
    Interrupted,
    /// An observable that is none.
    #[error("`{name}` is no observable of a projection; there are: {all}")]
    Observable {
        /// The name.
        name: String,
        /// All names.
        all: String,
    },
    /// A state of another projection.
    #[error("the state is one of another projection")]
    State,
    /// Observables that are not finite.
    #[error(transparent)]
    Eigen(#[from] EigenFailure),
}

/// What a projection found.
#[derive(Clone, Debug)]
pub struct Projection {
    /// The energy that is corrected.
    pub variational: Variational,
    /// The correction; none where it is refused.
    pub correction: Option<Correction>,
    /// Why it is refused; empty where it is not.
    pub refusals: Vec<Refusal>,
    /// `Delta(beta)`.
    pub curve: Vec<CurvePoint>,
    /// Share of the windows that count.
    pub effective_share: f64,
    /// Share of the moves that were accepted.
    pub acceptance: f64,
    /// Length of a step.
    pub step: f64,
    /// The same as it counts: shorter by the share of squared displacements that was accepted.
    pub effective_step: f64,
    /// Length of the projection.
    pub beta: f64,
    /// What is left of the error of the time step, in Hartree, and its standard error.
    pub quadrature: (f64, f64),
    /// Walkers.
    pub walkers: usize,
    /// Independent replicates.
    pub replicates: usize,
    /// Pure observables.
    pub observables: Vec<Pure>,
    /// What was mixed into the guide.
    pub guard: Option<Guard>,
}

impl Projection {
    /// The projected energy and its standard error, in Hartree.
    pub fn energy(&self) -> Option<(f64, f64)> {
        let (v, c) = (self.variational, self.correction?);
        // An exact guide has no scatter, but its local energies have rounding.
        let rounding = ROUNDING * (1.0 + v.energy.abs());
        let error = match &self.guard {
            Some(guard) => guard.standard_error,
            None => v.standard_error.hypot(c.standard_error),
        };
        Some((v.energy + c.energy, error.hypot(rounding)))
    }

    /// The same, where the guide was a mixture, as a correction of the energy of psi.
    fn corrects(self, psi: Variational, share: f64) -> Self {
        let (guide, shift) = (self.variational, self.variational.energy - psi.energy);
        let apart = guide.standard_error.hypot(psi.standard_error);
        let error = self.correction.map_or(f64::NAN, |c| c.standard_error);
        let standard_error = guide.standard_error.hypot(error);
        let shifted = |c: Correction| Correction {
            energy: c.energy + shift,
            standard_error: c.standard_error.hypot(apart),
            ..c
        };
        let curve = self.curve.iter().map(|p| CurvePoint {
            correction: p.correction + shift,
            standard_error: p.standard_error.hypot(apart),
            ..*p
        });
        Projection {
            variational: psi,
            correction: self.correction.map(shifted),
            curve: curve.collect(),
            guard: Some(Guard { share, energy: guide.energy, standard_error }),
            ..self
        }
    }
}

/// A state without nodes that was mixed into the guide because the trained one has some.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// Its density relative to that of the trained state.
    pub share: f64,
    /// Variational energy of the mixture, in Hartree.
    pub energy: f64,
    /// Standard error of the projected energy, in which that of the trained state has no part.
    #[serde(deserialize_with = "number")]
    pub standard_error: f64,
}

/// An observable of the variational state and of the ground state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pure {
    /// Name in the registry.
    pub observable: String,
    /// Over `|psi|²`.
    pub variational: Vec<Quantity>,
    /// Over the square of the ground state.
    pub pure: Vec<Quantity>,
}

impl Pure {
    fn of(variational: Measurement, pure: Measurement) -> Self {
        Pure {
            observable: pure.observable,
            variational: variational.quantities,
            pure: pure.quantities,
        }
    }
}

/// Steps of a projection, as they were chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Steps {
    tau: f64,
    effective: f64,
    walls: bool,
    /// Steps of the first length of projection.
    first: usize,
    /// Steps between places that are kept.
    stride: usize,
    /// How often the step was halved after a whole projection.
    halvings: usize,
}

/// A walk so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Walk {
    /// Chance by which any sample would have been its start over that of the one that is.
    weight: f64,
    /// Two walks from the start: as steps are reversible, the one backwards is a path to it.
    arms: [Arm; 2],
    tally: Tally,
}

/// Half of a walk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arm {
    x: Vec<f64>,
    energies: Vec<f64>,
    /// Places of every `stride`-th step.
    places: Vec<f64>,
}

impl Walk {
    /// Local energies along the path through the start, as far as `until` steps to either side.
    fn energies(&self, until: usize) -> Vec<f64> {
        let until = until.min(self.arms[0].energies.len().saturating_sub(1));
        let [past, future] = self.arms.each_ref().map(|arm| &arm.energies[..=until]);
        past.iter().rev().chain(&future[1..]).copied().collect()
    }

    /// Number of the step on the path, and the place there, of those that were kept.
    fn places(&self, stride: usize) -> impl Iterator<Item = (usize, &[f64])> {
        let [past, future] = &self.arms;
        let start = past.energies.len().saturating_sub(1);
        let n = past.x.len().max(1);
        let before = past.places.chunks_exact(n).enumerate().skip(1);
        let after = future.places.chunks_exact(n).enumerate();
        before
            .map(move |(q, x)| (start - q * stride, x))
            .chain(after.map(move |(q, x)| (start + q * stride, x)))
    }
}

/// Where a projection stands: everything that the rest depends on besides guide and settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    variational: Option<Variational>,
    steps: Option<Steps>,
    /// How often the length was doubled.
    doublings: usize,
    /// How often as many walkers as at first were added, and once.
    blocks: usize,
    walks: Vec<Walk>,
    /// Share of a guard without nodes in the guide.
    guard: Option<f64>,
}

/// News of a projection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct News {
    /// Walks that are done of this length.
    pub done: usize,
    /// Of how many.
    pub of: usize,
    /// Length of the projection.
    pub beta: f64,
    /// Correction so far and its error.
    pub correction: Option<(f64, f64)>,
}

/// Walkers to begin with, and how many times as many there may be where their number is open.
const WALKERS: usize = 1024;
const BLOCKS: usize = 4;
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
/// Times that the step may be halved after a whole projection.
const HALVINGS: usize = 3;
/// Least effective share of windows.
const LEAST_SHARE: f64 = 0.2;
/// A correction that changes by less than this share of it has reached its plateau.
const SMALL: f64 = 0.02;
/// Rounding of a local energy, relative.
const ROUNDING: f64 = 1e-12;
/// Part of the correction, and of the error of the energy, that one walker may bring.
const LARGEST_PART: f64 = 0.2;
const LARGEST_ERROR: f64 = 0.7;
/// Error bars by which walkers and exact samples may differ.
const DRIFT: f64 = 4.0;
/// Batch numbers of the streams: none of `measure` is as large.
const STREAMS: u64 = 1 << 42;

/// Projects a guide onto the ground state.
///
/// `given` is its variational energy where it is known. `state` is new, or that of the same projection that was interrupted: it then goes on as if
/// it had not been. `watch` hears of the state from time to time and may end the work.
///
/// # Errors
/// See [`ProjectError`]; what refuses the energy is none, but part of the [`Projection`].
pub fn project(
    psi: &dyn Wavefunction,
    system: System,
    settings: &Settings,
    given: Option<Variational>,
    state: &mut State,
    watch: &mut dyn FnMut(&News, &State) -> ControlFlow<()>,
) -> Result<Projection, ProjectError> {
    let settings = &Settings { replicates: settings.replicates.max(2), ..settings.clone() };
    let names = &pure::named(&settings.observables)?;
    let given = given.filter(|_| settings.samples.is_none());
    let job = Job { psi, system, settings, shift: 0.0 };
    if state.guard.is_none() {
        let found = job.project(names, given, state, watch)?;
        if !matches!(found.refusals[..], [Refusal::Nodes { .. }]) {
            return Ok(found);
        }
        let guard = psi.without_nodes();
        let share = guard.and_then(|g| Guarded::choose(psi, g.as_ref(), system, settings));
        let Some(share) = share else { return Ok(found) };
        *state = State { guard: Some(share), ..State::default() };
    }
    let (Some(guard), Some(share)) = (psi.without_nodes(), state.guard) else {
        return Err(ProjectError::State);
    };
    let plain = pure::draw(psi, system, settings, names, given.is_none());
    let variational = given.unwrap_or(plain.energy);
    let mixed = Guarded::new(psi, guard.as_ref(), share);
    let quadrature = given.and_then(|_| by_quadrature(&mixed, system));
    let job = |shift| Job { psi: &mixed, system, settings, shift };
    let drawn = job(0.0).drawn(names, quadrature);
    let shift = quadrature.unwrap_or(drawn.energy).energy - variational.energy;
    let found = job(shift).walked_out(quadrature, drawn, state, watch)?;
    let mut found = found.corrects(variational, share);
    for (pure, measured) in found.observables.iter_mut().zip(pure::measured(&plain)?) {
        pure.variational = measured.quantities;
    }
    Ok(found)
}

/// The variational energy where it needs no samples: of one or two particles, and of states that know it.
pub fn by_quadrature(psi: &dyn Wavefunction, system: System) -> Option<Variational> {
    Variational::known(rayleigh_quotient(psi, system)?)
}

/// What walks of one step came to.
struct Found {
    curve: Curve,
    lengths: Vec<usize>,
    /// The length that is believed.
    chosen: usize,
    refusal: Option<Refusal>,
    /// Imaginary time of a step.
    clock: f64,
}

/// What a share of one beyond nodes may hide, in kinetic energies: its local energy turns around within the wavelength of the node.
const SURFACE: f64 = 4.0;
/// The share beyond nodes that counts for none: rounding of sums.
const NO_NODES: f64 = 1e-12;

/// What became of all moves.
fn tally(walks: &[Walk]) -> Tally {
    walks.iter().fold(Tally::default(), |all, w| all.and(w.tally.times(w.weight)))
}

/// Plain means over walks.
struct Bulk {
    /// Mean local energy, relative to the variational one, and its standard error.
    deviation: f64,
    error: f64,
    /// What the cap of the action leaves out of the mean size of local energies.
    excess: f64,
}

/// Plain means over walks, which are independent of each other.
fn bulk(action: &Action, walks: &[Walk]) -> Bulk {
    let mut means = Moments::default();
    let mut excess = Moments::default();
    let weight = walks.iter().map(|w| w.weight).sum::<f64>() / walks.len() as f64;
    for walk in walks {
        let relative: Vec<f64> =
            walk.energies(usize::MAX).iter().map(|e| e - action.origin).collect();
        let share = walk.weight / weight / relative.len() as f64;
        means.push(share * relative.iter().sum::<f64>());
        excess.push(share * relative.iter().map(|e| (e.abs() - action.cap).max(0.0)).sum::<f64>());
    }
    let (deviation, error) = (means.mean(), means.standard_error());
    Bulk { deviation, error, excess: excess.mean() }
}

/// What does not change.
struct Job<'a> {
    psi: &'a dyn Wavefunction,
    system: System<'a>,
    settings: &'a Settings,
    /// Energy of the guide minus that of the state whose energy is corrected.
    shift: f64,
}

impl Job<'_> {
    /// Projects, where nothing is known of the guide.
    fn project(
        &self,
        names: &[&'static Entry],
        given: Option<Variational>,
        state: &mut State,
        watch: &mut dyn FnMut(&News, &State) -> ControlFlow<()>,
    ) -> Result<Projection, ProjectError> {
        if let Err(refusal) = self.judge() {
            let nothing = Variational { energy: f64::NAN, standard_error: f64::NAN, samples: 0 };
            return Ok(self.refused(given.unwrap_or(nothing), refusal));
        }
        let drawn = self.drawn(names, given);
        self.walked_out(given, drawn, state, watch)
    }

    fn drawn(&self, names: &[&'static Entry], given: Option<Variational>) -> Drawn {
        pure::draw(self.psi, self.system, self.settings, names, given.is_none())
    }

    fn walked_out(
        &self,
        given: Option<Variational>,
        drawn: Drawn,
        state: &mut State,
        watch: &mut dyn FnMut(&News, &State) -> ControlFlow<()>,
    ) -> Result<Projection, ProjectError> {
        let settings = self.settings;
        let variational = given.unwrap_or(drawn.energy);
        let starts = pure::starts(self.psi, self.system, settings, self.walkers(), self.blocks());
        if starts.len() < self.walkers() * self.blocks() {
            return Ok(self.refused(variational, Refusal::NoSense));
        }
        if state.variational.is_some_and(|v| v != variational) {
            return Err(ProjectError::State);
        }
        state.variational = Some(variational);
        state.blocks = state.blocks.max(1);
        if state.steps.is_none() {
            match self.choose(variational) {
                Ok(steps) => state.steps = Some(steps),
                Err(refusal) => return Ok(self.refused(variational, refusal)),
            }
        }
        loop {
            let steps = state.steps.ok_or(ProjectError::State)?;
            let found = self.walk(steps, variational, &starts, state, watch)?;
            let long = matches!(
                found.refusal,
                Some(Refusal::Quadrature { .. } | Refusal::Cap { .. } | Refusal::Clock)
            );
            // Weights that are gone as soon as that are those of walkers which are stuck.
            let stuck = matches!(found.refusal, Some(Refusal::Weights { .. }))
                && found.chosen < HALF
                && steps.halvings == 0;
            let again = (long || stuck) && settings.step.is_none() && steps.halvings < HALVINGS;
            if again {
                state.walks.clear();
                state.doublings = 0;
                state.steps = Some(self.halved(steps));
                continue;
            }
            let chosen = found.curve.points[found.chosen];
            let tally = tally(&state.walks);
            let window = found.lengths[found.chosen];
            let action = self.action(steps, found.clock, variational);
            let observables = match found.refusal {
                Some(_) => Vec::new(),
                None => {
                    pure::finish(&drawn, settings, &state.walks, steps.stride, &action, window)?
                }
            };
            return Ok(Projection {
                variational,
                correction: found.refusal.is_none().then_some(Correction {
                    energy: chosen.correction,
                    standard_error: chosen.standard_error,
                    remainder: found.curve.falls[found.chosen].0.max(0.0),
                }),
                refusals: found.refusal.into_iter().collect(),
                effective_share: chosen.effective_share,
                acceptance: tally.acceptance(),
                step: steps.tau,
                effective_step: found.clock,
                beta: chosen.beta,
                quadrature: found.curve.quadrature[found.chosen],
                curve: found.curve.points,
                walkers: state.walks.len(),
                replicates: settings.replicates,
                observables,
                guard: None,
            });
        }
    }

    /// Walkers to begin with.
    fn walkers(&self) -> usize {
        let walkers = self.settings.walkers.unwrap_or(WALKERS);
        walkers.max(1).next_multiple_of(self.settings.replicates)
    }

    /// How many times as many there may be.
    fn blocks(&self) -> usize {
        match self.settings.walkers {
            Some(_) => 1,
            None if self.psi.sector().particles() <= 2 => PAIR_BLOCKS,
            None => BLOCKS,
        }
    }

    fn judge(&self) -> Result<(), Refusal> {
        if contact::matters(self.system.hamiltonian, self.psi.sector()) {
            return Err(Refusal::Cusp);
        }
        let mut rng = stream(self.settings.seed, Purpose::Analysis, STREAMS - 1, 0);
        let mut mover = Mover::new(self.psi, self.system, Space::Line, 1.0);
        guide::judge(self.psi, self.system, &mut mover, &mut rng)
    }

    fn refused(&self, variational: Variational, refusal: Refusal) -> Projection {
        Projection {
            variational,
            correction: None,
            refusals: vec![refusal],
            curve: Vec::new(),
            effective_share: f64::NAN,
            acceptance: f64::NAN,
            step: f64::NAN,
            effective_step: f64::NAN,
            beta: f64::NAN,
            quadrature: (f64::NAN, f64::NAN),
            walkers: self.walkers(),
            replicates: self.settings.replicates,
            observables: Vec::new(),
            guard: None,
        }
    }

    fn choose(&self, variational: Variational) -> Result<Steps, Refusal> {
        pilot::choose(self.psi, self.system, self.settings, variational.energy)
    }

    fn halved(&self, steps: Steps) -> Steps {
        let tau = 0.5 * steps.tau;
        let effective = pilot::effective(self.psi, self.system, self.settings, tau, steps.walls);
        // The same length of projection.
        let first = 2 * (steps.first as f64 * 0.5 * steps.effective / effective).round() as usize;
        Steps {
            tau,
            effective,
            first,
            stride: 2 * steps.stride,
            halvings: steps.halvings + 1,
            ..steps
        }
    }

    fn action(&self, steps: Steps, clock: f64, variational: Variational) -> Action {
        Action { step: clock, origin: variational.energy, cap: 1.0 / steps.tau }
    }

    /// Walks until the correction has its plateau, or will have none.
    fn walk(
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
            if grows && !fixed && doublings < DOUBLINGS {
                state.doublings += 1;
                continue;
            }
            let refusal = found.refusal.clone().filter(|_| !(grows && fixed));
            let cost = 2.0
                * (until * self.walkers()) as f64
                * (self.psi.sector().particles() as f64).powi(3);
            let most = self.blocks().min((WORK / cost) as usize);
            let blocks = self.blocks_for(&found, state.blocks, variational).min(most);
            if blocks > state.blocks && matches!(refusal, None | Some(Refusal::Walker { .. })) {
                state.blocks = blocks;
                continue;
            }
            return Ok(Found { refusal, ..found });
        }
    }

    /// How many times as many walkers as at first make the error bar small enough.
    fn blocks_for(&self, found: &Found, blocks: usize, variational: Variational) -> usize {
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

    fn verdict(
        &self,
        curve: Curve,
        lengths: Vec<usize>,
        variational: Variational,
        (bulk, all): (Bulk, Tally),
        clock: Option<f64>,
    ) -> Found {
        let enough = |p: &CurvePoint| p.effective_share >= LEAST_SHARE;
        let chosen = match self.settings.beta {
            Some(_) => curve.points.len() - 1,
            None => curve.points.iter().rposition(enough).unwrap_or(0),
        };
        let point = curve.points[chosen];
        let (delta, error) = (point.correction, point.standard_error);
        let total = error.hypot(variational.standard_error);
        let (fall, fall_error) = curve.falls[chosen];
        // Rounding of the sums.
        let rounding = ROUNDING * (1.0 + variational.energy.abs());
        let tolerance =
            self.settings.tolerance.unwrap_or(SMALL * (delta + self.shift).abs()).max(rounding);
        let small = (0.7 * error).max(tolerance);
        let (change, change_error) = curve.quadrature[chosen];
        let part = curve.largest_part[chosen];
        let (beyond, kinetic) = all.nodes();
        let bound = SURFACE * beyond * kinetic.abs();
        let drift_error = bulk.error.hypot(variational.standard_error);
        let refusal = if clock.is_none() {
            Some(Refusal::Clock)
        } else if !(delta.is_finite() && error.is_finite() && fall.is_finite()) {
            Some(Refusal::NotANumber)
        } else if beyond > NO_NODES && bound > (0.5 * total).max(tolerance) {
            Some(Refusal::Nodes { share: beyond, bound })
        } else if bulk.excess > (0.3 * error).max(tolerance) {
            Some(Refusal::Cap { excess: bulk.excess })
        } else if bulk.deviation.abs() > DRIFT * drift_error + rounding {
            Some(Refusal::Drift { deviation: bulk.deviation, error: drift_error })
        } else if !enough(&point)
            || chosen < HALF && chosen + 1 < curve.points.len() && self.settings.beta.is_none()
        {
            // Also where no half of its length says whether there is a plateau.
            let beyond = curve.points[if enough(&point) { chosen + 1 } else { chosen }];
            let share = beyond.effective_share;
            Some(Refusal::Weights { share, least: LEAST_SHARE, beta: beyond.beta })
        } else if fall > small && curve.points.len() == chosen + 1 {
            Some(Refusal::NoPlateau { beta: point.beta, fall, error: fall_error })
        } else if fall > small.max(0.5 * total) + 2.0 * fall_error {
            // Longer projections have no weight left.
            let share = curve.points[chosen + 1].effective_share;
            let beta = curve.points[chosen + 1].beta;
            Some(Refusal::Weights { share, least: LEAST_SHARE, beta })
        } else if change.abs() > (0.5 * error).max(tolerance).max(2.0 * change_error) {
            Some(Refusal::Quadrature { change: 3.0 * change, error: 3.0 * change_error })
        } else if part > LARGEST_PART * delta.abs()
            && part > LARGEST_ERROR * total
            && part > tolerance
        {
            Some(Refusal::Walker { part, correction: delta })
        } else {
            None
        };
        let clock = clock.unwrap_or(f64::NAN);
        Found { curve, lengths, chosen, refusal, clock }
    }
}

#[cfg(test)]
mod tests;
