//! Base states: normalised on the fundamental domain of the angles, with exact samplers.

pub mod calogero;
pub mod determinants;
pub mod distance;
pub mod expansion;
pub mod free_fermions;
pub mod gaps;
pub mod mean_field;
pub mod multi_determinant;
pub mod relative;
pub mod series;
pub(crate) mod trapped;

use super::super::WavefunctionError;
use super::place::Place;
use crate::exact::gap_state::trap_state;
use crate::math::scalar::Scalar;
use crate::system::{External, Geometry, Hamiltonian, Sector, System};
use calogero::{Calogero, contact_power};
use determinants::{Determinants, DeterminantsTrace};
use distance::{Distance, DistanceTrace};
use expansion::{Expansion, ExpansionTrace};
use gaps::{Gaps, GapsTrace};
pub use mean_field::{MeanFieldSettings, Orbitals};
pub use multi_determinant::{DeterminantSum, MultiDeterminantSettings};
use relative::{RelativeMotion, RelativeTrace};
use serde::{Deserialize, Serialize};
use series::Domain;

/// The base of a flow and its settings.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub enum BaseSettings {
    /// The one that is found to fit by measuring: [`WavefunctionSettings::settle`](crate::wavefunction::WavefunctionSettings::settle).
    #[default]
    Automatic,
    /// Determinants of mean-field orbitals.
    MeanField(MeanFieldSettings),
    /// A sum of determinants.
    MultiDeterminant(MultiDeterminantSettings),
    /// Two particles by their centre of mass and their distance, on the line.
    RelativeMotion,
    /// Equal spins that repel each other by the inverse square of their distance, on the line: the exact state in a harmonic trap, and
    /// the right power of the distance where two meet in any.
    Calogero,
    /// Two to four equal spins in a harmonic trap by their centre of mass and the gaps between neighbours, on the line: the exact
    /// state, however they interact.
    Gaps,
    /// The state of all particles as if they had equal spins ([`BaseSettings::Gaps`] or one determinant): for particles of both spins that repel each other so
    /// strongly that they hardly ever meet. The ground state is lower by the energy of their exchange.
    Fermionised,
    /// Determinants of free fermions: in a box or on a ring.
    FreeFermions,
}

impl std::fmt::Display for BaseSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BaseSettings::MeanField(s) => write!(f, "MeanField({:?})", s.orbitals),
            BaseSettings::MultiDeterminant(s) => match s.determinants {
                DeterminantSum::HalfProjected => write!(f, "HalfProjected"),
                DeterminantSum::ConfigurationInteraction { orbitals } => {
                    write!(f, "ConfigurationInteraction({orbitals})")
                }
            },
            other => write!(f, "{other:?}"),
        }
    }
}

impl BaseSettings {
    /// Whether the base exists on a geometry.
    ///
    /// # Errors
    /// [`WavefunctionError::NotOnGeometry`] if not.
    pub fn exists_on(&self, geometry: &Geometry) -> Result<(), WavefunctionError> {
        match (self, geometry) {
            (BaseSettings::FreeFermions, Geometry::Line) => Err(WavefunctionError::NotOnGeometry {
                what: "the base FreeFermions, which nothing would hold together,".to_owned(),
                geometry: "Line",
            }),
            (
                BaseSettings::RelativeMotion | BaseSettings::Calogero | BaseSettings::Gaps,
                Geometry::Ring { .. },
            ) => Err(WavefunctionError::NotOnGeometry {
                what: format!("the base {self:?}, which knows the line only,"),
                geometry: "Ring",
            }),
            (BaseSettings::MultiDeterminant(settings), _) => settings.exist_on(geometry),
            _ => Ok(()),
        }
    }

    /// Whether the base exists for a sector.
    ///
    /// # Errors
    /// [`WavefunctionError::Base`] if not.
    pub fn exists_for(&self, sector: Sector) -> Result<(), WavefunctionError> {
        match self {
            BaseSettings::MeanField(MeanFieldSettings { orbitals: Orbitals::HartreeFock })
                if sector.is_many() =>
            {
                Err(WavefunctionError::Base {
                    problem: "Hartree-Fock is of two components: more need MeanField(orbitals: NonInteracting)"
                        .to_owned(),
                })
            }
            BaseSettings::Automatic | BaseSettings::MeanField(_) | BaseSettings::FreeFermions
                if sector.is_many() =>
            {
                Ok(())
            }
            _ if sector.is_many() => Err(WavefunctionError::Base {
                problem:
                    "more than two components need the base Automatic, MeanField or FreeFermions"
                        .to_owned(),
            }),
            BaseSettings::MultiDeterminant(settings) => settings.exist_for(sector),
            BaseSettings::Calogero
                if sector.particles() < 2 || (sector.up > 0 && sector.down > 0) =>
            {
                Err(WavefunctionError::Base {
                    problem: format!(
                        "Calogero is of two and more particles of one spin, found {} and {}",
                        sector.up, sector.down
                    ),
                })
            }
            BaseSettings::Gaps
                if !(2..=4).contains(&sector.particles()) || (sector.up > 0 && sector.down > 0) =>
            {
                Err(WavefunctionError::Base {
                    problem: format!(
                        "Gaps is of two to four particles of one spin, found {} and {}",
                        sector.up, sector.down
                    ),
                })
            }
            BaseSettings::RelativeMotion if sector.particles() != 2 => {
                Err(WavefunctionError::Base {
                    problem: format!(
                        "RelativeMotion is of two particles, found {}",
                        sector.particles()
                    ),
                })
            }
            _ => Ok(()),
        }
    }

    /// The mean field that goes with the base: its orbitals, or Hartree–Fock.
    pub fn orbitals(&self, hamiltonian: &Hamiltonian) -> Orbitals {
        match self {
            BaseSettings::MeanField(settings) => settings.orbitals,
            BaseSettings::FreeFermions => Orbitals::HartreeFock,
            // No mean field of an interaction that diverges.
            BaseSettings::Calogero | BaseSettings::Gaps => Orbitals::NonInteracting,
            _ => Orbitals::for_system(hamiltonian),
        }
    }

    /// Builds the base of a system, and the place where it lives.
    ///
    /// # Errors
    /// See [`WavefunctionError`].
    pub fn build(
        &self,
        sector: Sector,
        system: System,
    ) -> Result<(Place, Base), WavefunctionError> {
        let found = self.try_build(sector, system)?;
        found.ok_or_else(|| WavefunctionError::Base {
            problem: match self {
                BaseSettings::Calogero => "Calogero needs an interaction that diverges at contact like the inverse \
                                           square of the distance",
                BaseSettings::Gaps => "Gaps needs a harmonic trap whose walls, if any, are too far out to matter, and an \
                                       interaction that psi can vanish under at contact",
                _ => "RelativeMotion needs an interaction that is finite at contact, and a potential that binds the \
                      two particles far from any walls",
            }
            .to_owned(),
        })
    }

    /// [`Self::build`]; none where the base turns out not to exist for the potentials.
    pub(crate) fn try_build(
        &self,
        sector: Sector,
        system: System,
    ) -> Result<Option<(Place, Base)>, WavefunctionError> {
        if *self == BaseSettings::Automatic {
            let problem = "the base Automatic is still to be chosen".to_owned();
            return Err(WavefunctionError::Base { problem });
        }
        let place = Place::of(self, sector, system)?;
        let Place { frame, walls, on_line } = place;
        let domain = match walls {
            Geometry::Ring { .. } => Domain::Circle,
            _ => Domain::Walls,
        };
        let natural = frame.hamiltonian(system.hamiltonian);
        let system = System { hamiltonian: &natural, geometry: &walls };
        let base = match self {
            BaseSettings::MeanField(settings) => {
                Base::Determinants(mean_field::determinants(settings.orbitals, sector, system)?)
            }
            BaseSettings::Fermionised => {
                if let Some((half_width, base)) = gaps(sector, system).filter(|_| on_line) {
                    return Ok(Some((Place::on_line(frame, half_width), base)));
                }
                let orbitals = self.orbitals(system.hamiltonian);
                Base::Determinants(mean_field::determinants(orbitals, sector, system)?)
            }
            BaseSettings::MultiDeterminant(settings) => {
                Base::Expansion(Box::new(settings.build(sector, system)?))
            }
            BaseSettings::FreeFermions => {
                Base::Determinants(free_fermions::determinants(sector, domain))
            }
            BaseSettings::Gaps => {
                let found = gaps(sector, system).filter(|_| on_line);
                return Ok(
                    found.map(|(half_width, base)| (Place::on_line(frame, half_width), base))
                );
            }
            BaseSettings::Calogero | BaseSettings::RelativeMotion if !on_line => return Ok(None),
            BaseSettings::Calogero => {
                let Geometry::Box { half_width } = walls else { return Ok(None) };
                let Some(power) = contact_power(&system.hamiltonian.interaction) else {
                    return Ok(None);
                };
                let (half_width, base) =
                    trapped::trapped(sector, system.hamiltonian, power, half_width);
                return Ok(Some((Place::on_line(frame, half_width), base)));
            }
            BaseSettings::RelativeMotion | BaseSettings::Automatic => {
                let Geometry::Box { half_width } = walls else { return Ok(None) };
                let relative = |converged: bool| -> Result<_, WavefunctionError> {
                    let found = relative::solve(sector, system.hamiltonian, half_width, converged)?;
                    Ok(found.map(|(half_width, state)| {
                        (Place::on_line(frame, half_width), Base::Relative(Box::new(state)))
                    }))
                };
                // Sine functions have the smoother second derivatives; elements follow kinks and cores.
                let frequency = match system.hamiltonian.external {
                    External::Harmonic { frequency } => frequency,
                    _ => return relative(false),
                };
                if let Some(found) = relative(true)? {
                    return Ok(Some(found));
                }
                let found = contact_power(&system.hamiltonian.interaction)
                    .is_none()
                    .then(|| Distance::new(sector, frequency, system.hamiltonian));
                return match found.flatten() {
                    Some((half_width, state)) => {
                        let place = Place::on_line(frame, half_width);
                        Ok(Some((place, Base::Distance(Box::new(state)))))
                    }
                    None => relative(false),
                };
            }
        };
        Ok(Some((place, base)))
    }
}

/// The state of equal spins in gaps, and the half-width of its box; none where it does not exist.
fn gaps(sector: Sector, system: System) -> Option<(f64, Base)> {
    let External::Harmonic { frequency } = system.hamiltonian.external else { return None };
    let particles = sector.particles();
    let found = trap_state(frequency, &system.hamiltonian.interaction, particles);
    let state = found.ok().flatten().filter(|s| s.coefficients.iter().all(|c| c.is_finite()))?;
    let (half_width, base) = Gaps::new(particles, frequency, state);
    Some((half_width, Base::Gaps(Box::new(base))))
}

/// A base state.
#[derive(Clone, Debug)]
pub enum Base {
    /// One determinant per spin.
    Determinants(Determinants),
    /// A sum of determinants.
    Expansion(Box<Expansion>),
    /// Centre of mass and distance.
    Relative(Box<RelativeMotion>),
    /// Centre of mass and distance in a harmonic trap.
    Distance(Box<Distance>),
    /// Powers of the distances.
    Calogero(Box<Calogero>),
    /// Centre of mass and gaps.
    Gaps(Box<Gaps>),
}

/// What the reverse sweep needs again, and scratch memory; each kind uses its own part.
#[derive(Clone, Debug, Default)]
pub struct BaseTrace<T> {
    determinants: DeterminantsTrace<T>,
    expansion: ExpansionTrace<T>,
    relative: RelativeTrace<T>,
    gaps: GapsTrace<T>,
    distance: DistanceTrace<T>,
    angles: Vec<T>,
}

/// Share of the particles beyond either end of their extent.
const OUTSIDE: f64 = 1e-5;

impl Base {
    /// Number of spins that have particles.
    pub fn spins(&self) -> usize {
        match self {
            Base::Determinants(b) => b.spins(),
            Base::Expansion(b) => b.spins(),
            Base::Relative(b) => b.spins(),
            Base::Distance(b) => b.spins(),
            Base::Calogero(_) | Base::Gaps(_) => 1,
        }
    }

    /// The density of one spin (numbered among those that have particles) at an angle, per radian.
    pub fn density(&self, spin: usize, theta: f64) -> f64 {
        match self {
            Base::Determinants(b) => b.density(spin, theta),
            Base::Expansion(b) => b.density(spin, theta),
            Base::Relative(b) => b.density(spin, theta),
            Base::Calogero(b) => b.density(theta),
            Base::Gaps(b) => b.density(theta),
            Base::Distance(b) => b.density(theta),
        }
    }

    /// The distance between the outermost places where particles are found: a share of 1e-5 of all is beyond
    /// on either side, in radians.
    pub fn extent(&self) -> f64 {
        let (below, (start, end)) = self.below();
        let intervals = below.len() - 1;
        let particles = below[intervals];
        let (least, most) = (OUTSIDE * particles, (1.0 - OUTSIDE) * particles);
        let inside = below.windows(2).filter(|w| w[1] >= least && w[0] <= most).count();
        (end - start) * inside as f64 / intervals as f64
    }

    /// Particles below equidistant angles, and the first and last of these.
    fn below(&self) -> (Vec<f64>, (f64, f64)) {
        match self {
            Base::Determinants(b) => (b.below(), b.ends()),
            Base::Expansion(b) => (b.below(), b.ends()),
            Base::Relative(b) => (b.below(), b.ends()),
            Base::Calogero(b) => (b.below(), Domain::Walls.ends()),
            Base::Gaps(b) => (b.below(), Domain::Walls.ends()),
            Base::Distance(b) => (b.below(), Domain::Walls.ends()),
        }
    }

    /// The distance, in radians, that all but a share of the pairs are within, and the distance that all but the same share of the
    /// particles keep from the mirror images of others, between walls and for particles that know nothing of each other.
    pub fn distances(&self, share: f64) -> (f64, f64) {
        let (below, (start, end)) = self.below();
        let intervals = below.len() - 1;
        let width = (end - start) / intervals as f64;
        let mass: Vec<f64> =
            below.windows(2).map(|w| (w[1] - w[0]).max(0.0) / below[intervals]).collect();
        let (mut pairs, mut images) = (vec![0.0; intervals + 1], vec![0.0; intervals + 1]);
        for (i, a) in mass.iter().enumerate() {
            for (j, b) in mass.iter().enumerate() {
                // Intervals i and j are less than |i - j| + 1 apart, the image in the nearer wall at least so many away.
                pairs[i.abs_diff(j) + 1] += a * b;
                images[(i + j).min(2 * intervals - 2 - (i + j))] += a * b;
            }
        }
        // The first interval with which the shares so far exceed the one asked for.
        let first = |shares: &[f64]| {
            let mut sum = 0.0;
            let beyond = shares.iter().position(|p| {
                sum += p;
                sum > share
            });
            beyond.unwrap_or(0)
        };
        let end = first(&images) as f64 * width;
        pairs.reverse();
        ((intervals - first(&pairs)) as f64 * width, end)
    }

    /// `log |psi_0|` and sign.
    pub fn forward<T: Scalar>(
        &self,
        angles: &[T],
        reverse: bool,
        trace: &mut BaseTrace<T>,
    ) -> (T, f64) {
        match self {
            Base::Determinants(b) => b.forward(angles, reverse, &mut trace.determinants),
            Base::Expansion(b) => b.forward(angles, reverse, &mut trace.expansion),
            Base::Relative(b) => b.forward(angles, reverse, &mut trace.relative),
            Base::Gaps(b) => b.forward(angles, reverse, &mut trace.gaps),
            Base::Distance(b) => b.forward(angles, &mut trace.distance),
            Base::Calogero(b) => {
                trace.angles.clear();
                trace.angles.extend_from_slice(angles);
                b.forward(angles)
            }
        }
    }

    /// Adjoints of the angles, after [`Self::forward`] with `reverse`.
    pub fn backward<T: Scalar>(&self, bar: &mut [T], trace: &mut BaseTrace<T>) {
        match self {
            Base::Determinants(b) => b.backward(bar, &mut trace.determinants),
            Base::Expansion(b) => b.backward(bar, &mut trace.expansion),
            Base::Relative(b) => b.backward(bar, &mut trace.relative),
            Base::Gaps(b) => b.backward(bar, &mut trace.gaps),
            Base::Distance(b) => b.backward(bar, &trace.distance),
            Base::Calogero(b) => b.backward(&trace.angles, bar),
        }
    }

    /// Number of points of the unit cube of uniforms that make one configuration.
    pub fn orders(&self, sector: Sector) -> f64 {
        let factorial = |n: usize| (1..=n).map(|k| k as f64).product::<f64>();
        match self {
            Base::Gaps(_) | Base::Distance(_) => 1.0,
            // The particles of a spin are drawn one after the other, then sorted.
            _ => sector.spins().map(|s| factorial(s.len())).product(),
        }
    }

    /// Number of uniforms of a sample.
    pub fn uniforms(&self, particles: usize) -> usize {
        match self {
            Base::Calogero(b) => b.uniforms(),
            _ => particles,
        }
    }

    /// Turns uniforms into angles distributed as `|psi_0|²`, ascending within each spin.
    pub fn sample(&self, uniforms: &[f64], angles: &mut [f64]) {
        match self {
            Base::Determinants(b) => b.sample(uniforms, angles),
            Base::Expansion(b) => b.sample(uniforms, angles),
            Base::Relative(b) => b.sample(uniforms, angles),
            Base::Gaps(b) => b.sample(uniforms, angles),
            Base::Distance(b) => b.sample(uniforms, angles),
            Base::Calogero(b) => b.sample(uniforms, angles),
        }
    }
}
