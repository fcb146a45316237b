//! Base states: normalised on the fundamental domain of the angles, with exact samplers.

pub mod determinants;
pub mod expansion;
pub mod free_fermions;
pub mod mean_field;
pub mod multi_determinant;
pub mod series;

use super::super::WavefunctionError;
use crate::math::scalar::Scalar;
use crate::system::{Geometry, Hamiltonian, Sector, System};
use determinants::{Determinants, DeterminantsTrace};
use expansion::{Expansion, ExpansionTrace};
pub use mean_field::{MeanFieldSettings, Orbitals};
pub use multi_determinant::{DeterminantSum, MultiDeterminantSettings};
use serde::{Deserialize, Serialize};
use series::Domain;

/// The base of a flow and its settings.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub enum BaseSettings {
    /// A configuration interaction where [`multi_determinant::automatic`] gives one, elsewhere one determinant per spin of
    /// the orbitals of [`Orbitals::for_system`].
    #[default]
    Automatic,
    /// Determinants of mean-field orbitals.
    MeanField(MeanFieldSettings),
    /// A sum of determinants.
    MultiDeterminant(MultiDeterminantSettings),
    /// Determinants of free fermions: in a box or on a ring.
    FreeFermions,
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
            BaseSettings::MultiDeterminant(settings) => settings.exist_for(sector),
            _ => Ok(()),
        }
    }

    /// The mean field that goes with the base: its orbitals, or Hartree–Fock.
    pub fn orbitals(&self, hamiltonian: &Hamiltonian) -> Orbitals {
        match self {
            BaseSettings::MeanField(settings) => settings.orbitals,
            BaseSettings::FreeFermions => Orbitals::HartreeFock,
            _ => Orbitals::for_system(hamiltonian),
        }
    }

    /// Builds the base of a system in a box or on a ring.
    ///
    /// # Errors
    /// See [`WavefunctionError`].
    pub fn build(&self, sector: Sector, system: System) -> Result<Base, WavefunctionError> {
        let domain = match system.geometry {
            Geometry::Ring { .. } => Domain::Circle,
            Geometry::Box { .. } | Geometry::Line => Domain::Walls,
        };
        Ok(match self {
            BaseSettings::Automatic => {
                let orbitals = self.orbitals(system.hamiltonian);
                // Pairs in a harmonic trap leave nothing to a sum of determinants.
                let sum = match orbitals {
                    Orbitals::NonInteracting if sector.particles() == 2 => None,
                    _ => multi_determinant::automatic(sector, system)?,
                };
                match sum {
                    Some(settings) => Base::Expansion(Box::new(settings.build(sector, system)?)),
                    None => Base::Determinants(mean_field::determinants(orbitals, sector, system)?),
                }
            }
            BaseSettings::MeanField(settings) => {
                Base::Determinants(mean_field::determinants(settings.orbitals, sector, system)?)
            }
            BaseSettings::MultiDeterminant(settings) => {
                Base::Expansion(Box::new(settings.build(sector, system)?))
            }
            BaseSettings::FreeFermions => {
                Base::Determinants(free_fermions::determinants(sector, domain))
            }
        })
    }
}

/// A base state.
#[derive(Clone, Debug)]
pub enum Base {
    /// One determinant per spin.
    Determinants(Determinants),
    /// A sum of determinants.
    Expansion(Box<Expansion>),
}

/// What the reverse sweep needs again, and scratch memory; each kind uses its own part.
#[derive(Clone, Debug, Default)]
pub struct BaseTrace<T> {
    determinants: DeterminantsTrace<T>,
    expansion: ExpansionTrace<T>,
}

/// Share of the particles beyond either end of their extent.
const OUTSIDE: f64 = 1e-5;

impl Base {
    /// Number of spins that have particles.
    pub fn spins(&self) -> usize {
        match self {
            Base::Determinants(b) => b.spins(),
            Base::Expansion(b) => b.spins(),
        }
    }

    /// The density of one spin (numbered among those that have particles) at an angle, per radian.
    pub fn density(&self, spin: usize, theta: f64) -> f64 {
        match self {
            Base::Determinants(b) => b.density(spin, theta),
            Base::Expansion(b) => b.density(spin, theta),
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
        }
    }

    /// Adjoints of the angles, after [`Self::forward`] with `reverse`.
    pub fn backward<T: Scalar>(&self, bar: &mut [T], trace: &mut BaseTrace<T>) {
        match self {
            Base::Determinants(b) => b.backward(bar, &mut trace.determinants),
            Base::Expansion(b) => b.backward(bar, &mut trace.expansion),
        }
    }

    /// Turns one uniform per particle into angles distributed as `|psi_0|²`, ascending within each spin.
    pub fn sample(&self, uniforms: &[f64], angles: &mut [f64]) {
        match self {
            Base::Determinants(b) => b.sample(uniforms, angles),
            Base::Expansion(b) => b.sample(uniforms, angles),
        }
    }
}
