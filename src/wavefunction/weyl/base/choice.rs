//! The base of a flow whose spec names none: the cheapest of a few candidates whose local energy hardly varies.
//!
//! A rule on sector and potential cannot know how strong the coupling is. The variance of the local energy of the
//! candidates themselves, on a few hundred samples of each, can: it is that of an eigenstate or far from it.

use super::super::super::WavefunctionError;
use super::super::place::Place;
use super::super::{Weyl, WeylSettings};
use super::calogero::{Calogero, contact_power, half_extent};
use super::multi_determinant::{self, DeterminantSum, MultiDeterminantSettings};
use super::{Base, BaseSettings, Orbitals};
use crate::local_energy::Batch;
use crate::math::statistics::Moments;
use crate::optimise::{OptimiserSettings, relative_variance};
use crate::parallel;
use crate::sampling::{Points, Purpose, Sampling};
use crate::system::{External, Frame, Geometry, Hamiltonian, Interaction, Sector, System};
use crate::team;
use crate::train::{Faults, Schedule, Stopping, train};
use crate::wavefunction::{Wavefunction, WavefunctionSettings};
use std::fmt;

/// A base and what was found about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The base.
    pub base: BaseSettings,
    /// Variance of its local energy without the most remote values, in units of its kinetic energy squared; none where nothing had
    /// to be compared.
    pub variance: Option<f64>,
    /// Whether that is after a few steps of training.
    pub trained: bool,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = if self.trained { " after steps of training" } else { "" };
        match self.variance {
            Some(v) => {
                write!(f, "{} (variance {v:.1e} of the kinetic energy squared{when})", self.base)
            }
            None => write!(f, "{}", self.base),
        }
    }
}

/// Samples of a candidate, and how many are drawn by one task.
const SAMPLES: usize = 512;
const CHUNK: usize = 64;
/// Variance, in units of the kinetic energy squared, below which the flow does the rest.
const GOOD: f64 = 1e-6;
/// The same for three and more particles, whose sums of determinants are dear.
const GOOD_MANY: f64 = 1e-3;
/// Factor by which a dearer candidate must be better.
const WORTH: f64 = 0.3;
/// Orbitals of the sums of determinants for two particles.
const PAIR_ORBITALS: [usize; 3] = [16, 24, 32];
/// Variance, in units of the kinetic energy squared, beyond which a candidate is compared with one determinant per spin
/// after steps of training, which are cheap for that: what the layers can do then counts for more than the base.
const STRONG: f64 = 1e-3;
/// Steps and samples of such a comparison.
const STEPS: usize = 20;
const STEP_SAMPLES: usize = 1024;

/// A candidate with its base.
struct Built {
    candidate: Candidate,
    place: Place,
    base: Base,
}

/// What is found to fit, and what was measured of it and of the others.
pub struct Choice {
    /// Where the base lives.
    pub place: Place,
    /// The base.
    pub base: Base,
    /// The candidates; the first is the chosen one.
    pub candidates: Vec<Candidate>,
}

/// Builds the base that fits, for a flow of given settings.
///
/// # Errors
/// See [`WavefunctionError`].
pub fn choose(
    settings: &WeylSettings,
    sector: Sector,
    system: System,
) -> Result<Choice, WavefunctionError> {
    Ok(search(settings, sector, system)?.0)
}

/// [`choose`], and whether it took a comparison after steps of training, with what they came to.
fn search(
    settings: &WeylSettings,
    sector: Sector,
    system: System,
) -> Result<(Choice, Option<Reached>), WavefunctionError> {
    let orbitals = match sector.is_many() {
        true => Orbitals::NonInteracting,
        false => BaseSettings::Automatic.orbitals(system.hamiltonian),
    };
    let plain = BaseSettings::MeanField(super::MeanFieldSettings { orbitals });
    let mut measured: Vec<Candidate> = Vec::new();
    let mut found: Option<Built> = None;
    for base in candidates(sector, system)? {
        let Some((place, built)) = base.try_build(sector, system)? else { continue };
        let psi = Weyl::bare(sector, system, place, built);
        let variance = variance(&psi, system);
        let sum = matches!(base, BaseSettings::MultiDeterminant(_));
        let good = if sector.particles() > 2 && sum { GOOD_MANY } else { GOOD };
        let candidate = Candidate { base, variance: Some(variance), trained: false };
        measured.push(candidate.clone());
        let best = found.as_ref().and_then(|b| b.candidate.variance).unwrap_or(f64::INFINITY);
        // What is not a number is no better.
        if found.is_none() || variance < WORTH * best {
            found = Some(Built { candidate, place, base: psi.base });
        }
        if variance < good {
            break;
        }
    }
    let one = |found: Option<f64>| -> Result<Built, WavefunctionError> {
        let (place, base) = plain.build(sector, system)?;
        let candidate = Candidate { base: plain.clone(), variance: found, trained: false };
        Ok(Built { candidate, place, base })
    };
    let mut trained = None;
    let chosen = match found {
        None => {
            let built = one(None)?;
            measured.push(built.candidate.clone());
            built
        }
        Some(best) if best.candidate.variance.is_some_and(|v| v < STRONG) => best,
        // Nothing has the right power at contact but what was found.
        Some(best)
            if matches!(best.candidate.base, BaseSettings::Calogero | BaseSettings::Gaps)
                && contact_power(&system.hamiltonian.interaction).is_some() =>
        {
            best
        }
        Some(best) => {
            let untrained = Weyl::bare(sector, system, best.place, best.base.clone());
            let reached = Reached::by(&untrained, system);
            let mut other = one(None)?;
            let mut psi = Weyl::over(settings, sector, system, other.place, other.base.clone())?;
            let found = Reached::trained(&mut psi, system);
            other.candidate =
                Candidate { variance: Some(found.variance), trained: true, ..other.candidate };
            measured.push(other.candidate.clone());
            let (found, built) =
                if found.is_better_than(&reached) { (found, other) } else { (reached, best) };
            trained = Some(found);
            built
        }
    };
    // The chosen one first; the last that is equal to it, because it was trained last.
    let at = measured.iter().rposition(|c| *c == chosen.candidate).unwrap_or(0);
    let first = measured.remove(at);
    measured.insert(0, first);
    let choice = Choice { place: chosen.place, base: chosen.base, candidates: measured };
    Ok((choice, trained))
}

/// The candidates, the chosen one first, and that one as it was built.
type Settled = (Vec<Candidate>, Option<(Place, Base)>);

/// [`choose`] for the settings of a run, where also the state of as many particles of one spin may be chosen: the candidates, the
/// chosen one first, and that one as it was built, unless it is another sector's.
///
/// # Errors
/// See [`WavefunctionError`].
pub fn settle(
    settings: &WeylSettings,
    sector: Sector,
    system: System,
) -> Result<Settled, WavefunctionError> {
    let (Choice { place, base: built, mut candidates }, trained) =
        search(settings, sector, system)?;
    let built = Some((place, built));
    let Some(best) = trained.filter(|_| sector.up > 0 && sector.down > 0 && !sector.is_many())
    else {
        return Ok((candidates, built));
    };
    let base = BaseSettings::Fermionised;
    let alike = WavefunctionSettings::Weyl(WeylSettings { base: base.clone(), ..settings.clone() });
    let mut psi = alike.build(sector, system, 0)?;
    let untrained = Reached::by(psi.as_ref(), system);
    // What is an eigenstate already cannot be trained.
    let trained = untrained.variance >= GOOD;
    let found = if trained { Reached::trained(psi.as_mut(), system) } else { untrained };
    let candidate = Candidate { base, variance: Some(found.variance), trained };
    // Where it is higher for sure, its variance says nothing: it is then close to another eigenstate. The others have
    // been found to be far from any.
    if found.is_better_than(&best) {
        candidates.insert(0, candidate);
        return Ok((candidates, None));
    }
    candidates.push(candidate);
    Ok((candidates, built))
}

/// How good a state is.
#[derive(Clone, Copy, Debug)]
struct Reached {
    energy: f64,
    /// Standard error.
    error: f64,
    /// In units of the kinetic energy squared.
    variance: f64,
}

/// Standard errors by which an energy is lower for sure.
const CERTAIN: f64 = 3.0;

impl Reached {
    /// As it is.
    fn by(psi: &dyn Wavefunction, system: System) -> Self {
        let found: Vec<f64> = local_energies(psi, system).iter().map(|(t, v)| t + v).collect();
        let moments = Moments::of(&found);
        let (energy, error) = (moments.mean(), moments.standard_error());
        if energy.is_finite() && error.is_finite() {
            Reached { energy, error, variance: variance(psi, system) }
        } else {
            Reached { energy: f64::INFINITY, error: 0.0, variance: f64::INFINITY }
        }
    }

    /// After steps of training.
    fn trained(psi: &mut dyn Wavefunction, system: System) -> Self {
        let schedule = Schedule {
            iterations: STEPS,
            samples: STEP_SAMPLES,
            final_samples: STEP_SAMPLES,
            sampling: Sampling::QuasiRandom,
            scramblings: 1,
            refinements: 0,
            stopping: Stopping::Plateau,
            faults: Faults::default(),
            seed: 0,
        };
        let mut optimiser = OptimiserSettings::default().build();
        // In this process alone: others know nothing of it. A training that fails leaves a state that is judged as it is.
        let _ = team::alone(|| train(psi, system, optimiser.as_mut(), &schedule, |_| ()));
        Self::by(psi, system)
    }

    /// Whether the energy is lower for sure, or else the variance.
    fn is_better_than(&self, other: &Reached) -> bool {
        let certain = CERTAIN * self.error.hypot(other.error);
        match self.energy - other.energy {
            lower if lower < -certain => true,
            higher if higher > certain => false,
            _ => self.variance < other.variance,
        }
    }
}

/// Bases to compare, the cheapest first; none where one determinant per spin is exact or nothing else exists.
fn candidates(sector: Sector, system: System) -> Result<Vec<BaseSettings>, WavefunctionError> {
    let n = sector.particles();
    let sum = |orbitals| {
        BaseSettings::MultiDeterminant(MultiDeterminantSettings {
            determinants: DeterminantSum::ConfigurationInteraction { orbitals },
        })
    };
    let ring = matches!(system.geometry, Geometry::Ring { .. });
    // Sums of determinants are of two spins.
    if n < 2 || ring || sector.is_many() || system.hamiltonian.interaction == Interaction::None {
        return Ok(Vec::new());
    }
    let line = matches!(system.geometry, Geometry::Line);
    let harmonic = matches!(system.hamiltonian.external, External::Harmonic { .. });
    let equal = sector.up == 0 || sector.down == 0;
    let gaps = (equal && harmonic && n <= 4).then_some(BaseSettings::Gaps);
    if line && equal && contact_power(&system.hamiltonian.interaction).is_some() {
        return Ok([BaseSettings::Calogero].into_iter().chain(gaps).collect());
    }
    if n == 2 {
        // Between walls that are too far out to matter it is the exact state as well.
        let relative = (line || harmonic).then_some(BaseSettings::RelativeMotion);
        return Ok(relative.into_iter().chain(PAIR_ORBITALS.map(sum)).collect());
    }
    let Some(first) = multi_determinant::automatic(sector, system) else {
        return Ok(gaps.into_iter().collect());
    };
    let DeterminantSum::ConfigurationInteraction { orbitals: first } = first.determinants else {
        return Ok(gaps.into_iter().collect());
    };
    Ok(gaps.into_iter().chain([sum(first)]).collect())
}

/// Halvings of the frequency, to either side, that are compared, in steps of a quarter.
const FREQUENCIES: i32 = 10;

/// The state of particles with a power of their distances whose energy is lowest in a trap, and the half-width of its walls.
/// `half_width` is that of a box that holds them without interaction, all in the units of the Hamiltonian.
pub(super) fn trapped(
    sector: Sector,
    hamiltonian: &Hamiltonian,
    power: f64,
    half_width: f64,
) -> (f64, Base) {
    let n = sector.particles();
    let state = |frequency: f64| {
        let half_width = half_extent(n, power, frequency);
        let base = Calogero::new(n, power, frequency, 0.0, half_width);
        (half_width, Base::Calogero(Box::new(base)))
    };
    if let External::Harmonic { frequency } = hamiltonian.external {
        return state(frequency);
    }
    let guess = (half_extent(n, 1.0, 1.0) / half_width).powi(2);
    let energy = |frequency: f64| {
        let (half_width, base) = state(frequency);
        let system = System { hamiltonian, geometry: &Geometry::Line };
        let place = Place::on_line(Frame::ATOMIC, half_width);
        let found = local_energies(&Weyl::bare(sector, system, place, base), system);
        found.iter().map(|(t, v)| t + v).sum::<f64>()
    };
    let tried = (-FREQUENCIES..=FREQUENCIES).map(|k| guess * (0.25 * f64::from(k)).exp2());
    let best = tried.map(|f| (energy(f), f)).min_by(|a, b| a.0.total_cmp(&b.0));
    state(best.map_or(guess, |b| b.1))
}

/// The variance of the local energy of a wavefunction, in units of its kinetic energy squared.
fn variance(psi: &dyn Wavefunction, system: System) -> f64 {
    let energies = local_energies(psi, system);
    if energies.iter().any(|(t, v)| !(t + v).is_finite()) {
        return f64::INFINITY;
    }
    relative_variance(&Batch {
        local_energy: energies.iter().map(|(t, v)| t + v).collect(),
        kinetic: energies.iter().map(|(t, _)| *t).collect(),
        weight: vec![1.0; energies.len()],
        ..Batch::default()
    })
}

/// Kinetic and potential parts of local energies.
fn local_energies(psi: &dyn Wavefunction, system: System) -> Vec<(f64, f64)> {
    let (n, d) = (psi.sector().particles(), psi.uniforms());
    let points = Points::new(Sampling::QuasiRandom, 0, Purpose::Selection, 0, d);
    // In this process alone: others build the same base by themselves.
    let chunks = parallel::map_chunks(SAMPLES, CHUNK, |_, range| {
        let mut points = points.starting_at(range.start);
        let mut evaluator = psi.evaluator();
        let (mut uniforms, mut x, mut gradient) = (vec![0.0; d], vec![0.0; n], vec![0.0; n]);
        let mut energies = Vec::new();
        for _ in range {
            points.next(&mut uniforms);
            evaluator.sample(&uniforms, &mut x);
            let kinetic = evaluator.kinetic_energy(&x, &mut gradient);
            energies.push((kinetic, system.hamiltonian.potential(system.geometry, &x)));
        }
        energies
    });
    chunks.into_iter().flatten().collect()
}
