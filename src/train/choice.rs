//! The base of a flow whose spec names none: the cheapest of a few candidates whose local energy hardly varies.
//!
//! A rule on sector and potential cannot know how strong the coupling is. The variance of the local energy of the
//! candidates themselves, on a few hundred samples of each, can: it is that of an eigenstate or far from it.

use super::{Faults, Schedule, Stopping, train};
use crate::local_energy::Batch;
use crate::math::statistics::Moments;
use crate::objective::ground_state::relative_variance;
use crate::optimise::OptimiserSettings;
use crate::sampling::Sampling;
use crate::system::{External, Geometry, Interaction, Sector, System};
use crate::team;
use crate::wavefunction::exchanged::Exchanged;
use crate::wavefunction::polarised::Polarised;
use crate::wavefunction::sector_base::SectorBase;
use crate::wavefunction::waveflow::Waveflow;
use crate::wavefunction::weyl::base::calogero::contact_power;
use crate::wavefunction::weyl::base::trapped::local_energies;
use crate::wavefunction::weyl::base::{Base, multi_determinant};
use crate::wavefunction::weyl::place::Place;
use crate::wavefunction::weyl::{
    BaseSettings, DeterminantSum, MeanFieldSettings, MultiDeterminantSettings, Orbitals, Weyl,
    WeylSettings,
};
use crate::wavefunction::{Wavefunction, WavefunctionError, WavefunctionSettings};
use std::fmt;

/// A base and what was found about it.
#[derive(Clone, Debug, PartialEq)]
struct Candidate {
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
struct Choice {
    /// Where the base lives.
    pub place: Place,
    /// The base.
    pub base: Base,
    /// The candidates; the first is the chosen one.
    pub candidates: Vec<Candidate>,
}

/// The base that fits a flow of given settings, and whether that took a comparison after steps of training, with what they came to.
fn search(
    settings: &WeylSettings,
    sector: Sector,
    system: System,
) -> Result<(Choice, Option<Reached>), WavefunctionError> {
    let orbitals = match sector.is_many() {
        true => Orbitals::NonInteracting,
        false => BaseSettings::Automatic.orbitals(system.hamiltonian),
    };
    let plain = BaseSettings::MeanField(MeanFieldSettings { orbitals });
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
    // On a ring the layers over one determinant for each spin may do more for particles of one spin than a sum.
    let enough = !(matches!(system.geometry, Geometry::Ring { .. }) && sector.is_polarised());
    let chosen = match found {
        None => {
            let built = one(None)?;
            measured.push(built.candidate.clone());
            built
        }
        Some(best) if enough && best.candidate.variance.is_some_and(|v| v < STRONG) => best,
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

/// [`search`] for the settings of a run, where also the state of as many particles of one spin may be chosen: the candidates, the
/// chosen one first, and that one as it was built, unless it is another sector's.
///
/// # Errors
/// See [`WavefunctionError`].
fn settle(
    settings: &WeylSettings,
    sector: Sector,
    system: System,
) -> Result<Settled, WavefunctionError> {
    let (Choice { place, base: built, mut candidates }, trained) =
        search(settings, sector, system)?;
    let built = Some((place, built));
    let base = BaseSettings::Fermionised;
    let alike = WeylSettings { base: base.clone(), ..settings.clone() };
    let all = Sector::new(sector.particles(), 0);
    // On a ring there is none: of each spin there is an odd number, of both together an even one.
    let exists =
        !sector.is_polarised() && !sector.is_many() && Weyl::exists(&alike, all, system).is_ok();
    let Some(best) = trained.filter(|_| exists) else {
        return Ok((candidates, built));
    };
    let alike = WavefunctionSettings::Weyl(alike);
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
    if n < 2 || sector.is_many() || system.hamiltonian.interaction == Interaction::None {
        return Ok(Vec::new());
    }
    let line = matches!(system.geometry, Geometry::Line);
    let harmonic = matches!(system.hamiltonian.external, External::Harmonic { .. });
    let equal = sector.is_polarised();
    let gaps = (equal && harmonic && !ring && n <= 4).then_some(BaseSettings::Gaps);
    if line && equal && contact_power(&system.hamiltonian.interaction).is_some() {
        return Ok([BaseSettings::Calogero].into_iter().chain(gaps).collect());
    }
    if n == 2 {
        // Between walls that are too far out to matter it is the exact state as well.
        let relative = (!ring && (line || harmonic)).then_some(BaseSettings::RelativeMotion);
        // Waves of plus and minus the same momentum belong together.
        let sums = PAIR_ORBITALS.map(|orbitals| sum(orbitals - usize::from(ring)));
        return Ok(relative.into_iter().chain(sums).collect());
    }
    let Some(first) = multi_determinant::automatic(sector, system) else {
        return Ok(gaps.into_iter().collect());
    };
    let DeterminantSum::ConfigurationInteraction { orbitals: first } = first.determinants else {
        return Ok(gaps.into_iter().collect());
    };
    Ok(gaps.into_iter().chain([sum(first)]).collect())
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

impl WavefunctionSettings {
    /// Chooses what is left open by measuring, and says what and why, a line each.
    ///
    /// # Errors
    /// See [`WavefunctionError`].
    pub fn settle(
        &mut self,
        sector: Sector,
        system: System,
    ) -> Result<Vec<String>, WavefunctionError> {
        match self {
            WavefunctionSettings::Waveflow(_) => Ok(Vec::new()),
            WavefunctionSettings::Weyl(settings) => Ok(settings.settle(sector, system)?.0),
            WavefunctionSettings::SectorBase(settings) => settings.settle(sector, system),
        }
    }

    /// [`Self::settle`], then [`Self::build`], without doing anything twice.
    ///
    /// # Errors
    /// See [`WavefunctionError`].
    pub fn settle_and_build(
        &mut self,
        sector: Sector,
        system: System,
        seed: u64,
    ) -> Result<(Vec<String>, Box<dyn Wavefunction>), WavefunctionError> {
        if !sector.is_many() && sector.up < sector.down {
            let (lines, inner) = self.settle_and_build(sector.exchanged(), system, seed)?;
            return Ok((lines, Box::new(Exchanged::of(inner))));
        }
        if let WavefunctionSettings::Weyl(settings) = self {
            let (lines, psi) = settings.settle(sector, system)?;
            return Ok(match psi {
                Some(psi) => (lines, Box::new(psi)),
                None => (lines, self.build(sector, system, seed)?),
            });
        }
        Ok((self.settle(sector, system)?, self.build(sector, system, seed)?))
    }

    /// Builds the wavefunction at its initial parameters.
    pub fn build(
        &self,
        sector: Sector,
        system: System,
        seed: u64,
    ) -> Result<Box<dyn Wavefunction>, WavefunctionError> {
        // A Waveflow makes one particle after the other, and samples of either family are made spin by spin: one order
        // of the spins serves for both.
        if !sector.is_many() && sector.up < sector.down {
            let inner = self.build(sector.exchanged(), system, seed)?;
            return Ok(Box::new(Exchanged::of(inner)));
        }
        match self {
            WavefunctionSettings::Waveflow(s) => {
                Ok(Box::new(Waveflow::new(s, sector, system, seed)?))
            }
            WavefunctionSettings::Weyl(s)
                if s.base == BaseSettings::Fermionised && sector.down > 0 =>
            {
                let all = Sector::new(sector.particles(), 0);
                let inner = Box::new(Weyl::new(s, all, system)?);
                Ok(Box::new(Polarised::of(inner, sector)))
            }
            WavefunctionSettings::Weyl(s) => Ok(Box::new(Weyl::new(s, sector, system)?)),
            WavefunctionSettings::SectorBase(s) => {
                Ok(Box::new(SectorBase::new(s, sector, system)?))
            }
        }
    }
}

impl WeylSettings {
    /// Chooses a base where none is named, and says which and why, a line each; with the flow over it, where it was built for that.
    ///
    /// # Errors
    /// See [`WavefunctionError`].
    pub fn settle(
        &mut self,
        sector: Sector,
        system: System,
    ) -> Result<(Vec<String>, Option<Weyl>), WavefunctionError> {
        if self.base != BaseSettings::Automatic {
            return Ok((Vec::new(), None));
        }
        Weyl::exists(self, sector, system)?;
        let (candidates, built) = settle(self, sector, system)?;
        if let Some(chosen) = candidates.first() {
            self.base = chosen.base.clone();
        }
        let psi = match built {
            Some((place, base)) => Some(Weyl::over(self, sector, system, place, base)?),
            None => None,
        };
        Ok((lines(&candidates), psi))
    }
}

impl Weyl {
    /// The base state of the system: every layer starts as the identity.
    ///
    /// # Errors
    /// See [`WavefunctionError`].
    pub fn new(
        settings: &WeylSettings,
        sector: Sector,
        system: System,
    ) -> Result<Self, WavefunctionError> {
        Self::exists(settings, sector, system)?;
        let (place, base) = match settings.base {
            BaseSettings::Automatic => {
                let (Choice { place, base, .. }, _) = search(settings, sector, system)?;
                (place, base)
            }
            _ => settings.base.build(sector, system)?,
        };
        Self::over(settings, sector, system, place, base)
    }
}

/// What was chosen, and what else there was.
fn lines(candidates: &[Candidate]) -> Vec<String> {
    let line = |(i, c): (usize, &Candidate)| {
        if i == 0 { format!("base: {c}") } else { format!("    rather than {c}") }
    };
    candidates.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Hamiltonian;

    /// What is chosen on a ring, how good the base is by itself, and among how many.
    fn on_ring(
        (external, interaction): (&str, &str),
        sector: (usize, usize),
        circumference: f64,
    ) -> (String, Reached, usize) {
        let hamiltonian: Hamiltonian =
            ron::from_str(&format!("(external: {external}, interaction: {interaction})")).unwrap();
        let geometry = Geometry::Ring { circumference };
        let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
        let sector = Sector::new(sector.0, sector.1);
        let settings = WeylSettings::default();
        assert!(settle(&settings, sector, system).is_ok());
        let (choice, _) = search(&settings, sector, system).unwrap();
        let psi = Weyl::bare(sector, system, choice.place, choice.base);
        let chosen = choice.candidates[0].base.to_string();
        (chosen, Reached::by(&psi, system), choice.candidates.len())
    }

    /// Exact energies by `weylflow exact`.
    #[test]
    fn rings_get_sums_of_determinants_where_these_are_better() {
        let lattice = "Lattice(depth: 6, period: 2)";
        for (hamiltonian, sector, circumference, base, exact) in [
            (
                (lattice, "SoftCoulomb(strength: 10)"),
                (3, 0),
                8.0,
                "ConfigurationInteraction(19)",
                20.4259116803,
            ),
            (
                ("Free", "SoftCoulomb(strength: 3)"),
                (3, 1),
                8.0,
                "ConfigurationInteraction(13)",
                9.6314883993,
            ),
            (
                ("Free", "SoftCoulomb(strength: 5)"),
                (1, 1),
                6.0,
                "ConfigurationInteraction(15)",
                2.8426814051,
            ),
        ] {
            let (found, reached, _) = on_ring(hamiltonian, sector, circumference);
            assert_eq!(found, base);
            let high = (reached.energy - exact).abs();
            assert!(high < 5.0 * reached.error + 1e-4 * exact, "{base} {high:e} {reached:?}");
            assert!(reached.variance < STRONG, "{base} {reached:?}");
        }
        // So strong that the state of particles of one spin would be tried, but that is none on a ring.
        let strong = ("Free", "SoftCoulomb(strength: 30, softening: 0.1)");
        assert!(on_ring(strong, (3, 1), 8.0).2 > 1);
        // Here layers over one determinant are better after a few steps.
        let weak = ("Free", "SoftCoulomb(strength: 1)");
        assert_eq!(on_ring(weak, (3, 0), 6.0).0, "MeanField(HartreeFock)");
    }
}
