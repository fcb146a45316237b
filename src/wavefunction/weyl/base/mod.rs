//! Base states: normalised on the fundamental domain of the angles, with exact samplers.
//!
//! Each is a file here with its state ([`BaseState`]) and its settings, and an entry each in the list of this one.

pub mod calogero;
pub mod determinants;
pub mod distance;
pub mod expansion;
mod fermionised;
pub mod free_fermions;
pub mod gaps;
pub(super) mod kind;
mod lanes;
pub mod mean_field;
pub mod multi_determinant;
pub mod relative;
pub mod series;
pub(crate) mod trapped;

use super::super::WavefunctionError;
use super::place::Place;
use crate::math::scalar::Scalar;
use crate::system::{Geometry, Hamiltonian, Sector, System};
use crate::wavefunction::journey::Journey;
use calogero::{Calogero, CalogeroTrace};
use determinants::{Determinants, DeterminantsTrace};
use distance::{Distance, DistanceTrace};
use expansion::{Expansion, ExpansionTrace};
use gaps::{Gaps, GapsTrace};
pub use kind::BaseState;
pub(crate) use kind::{BaseKind, Built};
pub use lanes::BaseLanes;
pub use mean_field::{MeanFieldSettings, Orbitals};
pub use multi_determinant::{DeterminantSum, MultiDeterminantSettings};
use relative::{RelativeMotion, RelativeTrace};
use serde::{Deserialize, Serialize};

/// Writes [`BaseSettings`], [`Base`] and what is asked of them from a list of both: states, and the settings that build them.
macro_rules! bases {
    (
        $($(#[$about_state:meta])* $field:ident: $state:ident($base:ty, $($trace:ident)::+)
            { $($(#[$doc:meta])* $kind:ident $(($settings:ty))? $(= $about:path)?,)* })*
    ) => {
        /// The base of a flow and its settings.
        #[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
        pub enum BaseSettings {
            /// The one that is found to fit by measuring: [`WavefunctionSettings::settle`](crate::wavefunction::WavefunctionSettings::settle).
            #[default]
            Automatic,
            $($($(#[$doc])* $kind $(($settings))?,)*)*
        }

        impl BaseSettings {
            /// What the settings say of themselves, and the name of their kind.
            pub(super) fn kind(&self) -> (&dyn BaseKind, &'static str) {
                match self {
                    BaseSettings::Automatic => (&Unsettled, "Automatic"),
                    $($(bases!(@pattern s $kind $(($settings))?) => {
                        (bases!(@about s $(= $about)?), stringify!($kind))
                    })*)*
                }
            }

            /// The names of the kinds that know more than two components.
            fn knowing_many() -> Vec<&'static str> {
                let kinds = [
                    BaseSettings::Automatic,
                    $($(BaseSettings::$kind $((<$settings>::default()))?,)*)*
                ];
                let known = kinds.iter().map(BaseSettings::kind).filter(|k| k.0.knows_many());
                known.map(|k| k.1).collect()
            }
        }

        /// A base state.
        #[derive(Clone, Debug)]
        pub enum Base {
            $($(#[$about_state])* $state($base),)*
        }

        /// What the reverse sweep needs again, and scratch memory; each kind uses its own part.
        #[derive(Clone, Debug, Default)]
        pub struct BaseTrace<T> {
            $($field: $($trace)::+<T>,)*
        }

        impl Base {
            /// Number of spins that have particles.
            pub fn spins(&self) -> usize {
                match self { $(Base::$state(b) => b.spins(),)* }
            }

            /// The density of one spin (numbered among those that have particles) at an angle, per radian.
            pub fn density(&self, spin: usize, theta: f64) -> f64 {
                match self { $(Base::$state(b) => b.density(spin, theta),)* }
            }

            /// Particles below equidistant angles, and the first and last of these.
            fn below(&self) -> (Vec<f64>, (f64, f64)) {
                match self { $(Base::$state(b) => (b.below(), b.ends()),)* }
            }

            /// `log |psi_0|` and sign.
            pub fn forward<T: Scalar>(
                &self,
                angles: &[T],
                reverse: bool,
                trace: &mut BaseTrace<T>,
            ) -> (T, f64) {
                match self { $(Base::$state(b) => b.forward(angles, reverse, &mut trace.$field),)* }
            }

            /// Adds `log |psi_0|` of eight configurations; false where there is no kernel for them.
            pub(crate) fn lanes(&self, journey: &mut Journey, work: &mut BaseLanes) -> bool {
                match self { $(Base::$state(b) => b.lanes(journey, work),)* }
            }

            /// Adjoints of the angles, after [`Self::forward`] with `reverse`.
            pub fn backward<T: Scalar>(&self, bar: &mut [T], trace: &mut BaseTrace<T>) {
                match self { $(Base::$state(b) => b.backward(bar, &mut trace.$field),)* }
            }

            /// Number of points of the unit cube of uniforms that make one configuration.
            pub fn orders(&self, sector: Sector) -> f64 {
                match self { $(Base::$state(b) => b.orders(sector),)* }
            }

            /// Number of uniforms of a sample.
            pub fn uniforms(&self, particles: usize) -> usize {
                match self { $(Base::$state(b) => b.uniforms(particles),)* }
            }

            /// Turns uniforms into angles distributed as `|psi_0|²`, ascending within each spin.
            pub fn sample(&self, uniforms: &[f64], angles: &mut [f64]) {
                match self { $(Base::$state(b) => b.sample(uniforms, angles),)* }
            }

            /// The same for up to eight configurations of `particles` each, one after the other.
            pub fn samples(&self, uniforms: &[f64], particles: usize, angles: &mut [f64]) {
                match self { $(Base::$state(b) => b.samples(uniforms, particles, angles),)* }
            }
        }
    };
    // Settings with fields say all of themselves, those without have a file's unit for it.
    (@pattern $s:ident $kind:ident ($settings:ty)) => { BaseSettings::$kind($s) };
    (@pattern $s:ident $kind:ident) => { BaseSettings::$kind };
    (@about $s:ident = $about:path) => { &$about };
    (@about $s:ident) => { $s };
}

// The registry: a state an entry, with the settings that build it.
bases! {
    /// One determinant per spin.
    determinants: Determinants(Determinants, DeterminantsTrace) {
        /// Determinants of mean-field orbitals.
        MeanField(MeanFieldSettings),
        /// Determinants of free fermions: in a box or on a ring.
        FreeFermions = free_fermions::FreeFermions,
        /// The state of all particles as if they had equal spins ([`BaseSettings::Gaps`] or one determinant): for particles of both spins that repel each other so
        /// strongly that they hardly ever meet. The ground state is lower by the energy of their exchange.
        Fermionised = fermionised::Fermionised,
    }
    /// A sum of determinants.
    expansion: Expansion(Box<Expansion>, ExpansionTrace) {
        /// A sum of determinants.
        MultiDeterminant(MultiDeterminantSettings),
    }
    /// Centre of mass and distance.
    relative: Relative(Box<RelativeMotion>, RelativeTrace) {
        /// Two particles by their centre of mass and their distance, on the line.
        RelativeMotion = relative::TwoOnTheLine,
    }
    /// Centre of mass and distance in a harmonic trap.
    distance: Distance(Box<Distance>, DistanceTrace) {}
    /// Powers of the distances.
    calogero: Calogero(Box<Calogero>, CalogeroTrace) {
        /// Equal spins that repel each other by the inverse square of their distance, on the line: the exact state in a harmonic trap, and
        /// the right power of the distance where two meet in any.
        Calogero = calogero::EqualSpins,
    }
    /// Centre of mass and gaps.
    gaps: Gaps(Box<Gaps>, GapsTrace) {
        /// Two to four equal spins in a harmonic trap by their centre of mass and the gaps between neighbours, on the line: the exact
        /// state, however they interact.
        Gaps = gaps::FewEqualSpins,
    }
}

/// The base that is still to be chosen.
struct Unsettled;

impl BaseKind for Unsettled {
    fn knows_many(&self) -> bool {
        true
    }

    fn build(&self, _: Sector, _: Place, _: System) -> Result<Option<Built>, WavefunctionError> {
        Ok(None)
    }

    fn needs(&self) -> &'static str {
        "the base Automatic is still to be chosen"
    }
}

impl std::fmt::Display for BaseSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, name) = self.kind();
        f.write_str(&kind.label(name))
    }
}

impl BaseSettings {
    /// Whether the base exists on a geometry.
    ///
    /// # Errors
    /// [`WavefunctionError::NotOnGeometry`] if not.
    pub fn exists_on(&self, geometry: &Geometry) -> Result<(), WavefunctionError> {
        self.kind().0.exists_on(geometry)
    }

    /// Whether the base exists for a sector.
    ///
    /// # Errors
    /// [`WavefunctionError::Base`] if not.
    pub fn exists_for(&self, sector: Sector) -> Result<(), WavefunctionError> {
        let (kind, _) = self.kind();
        if sector.is_many() && !kind.knows_many() {
            let known = Self::knowing_many();
            let (last, others) = known.split_last().unwrap_or((&"Automatic", &[]));
            let problem =
                format!("more than two components need the base {} or {last}", others.join(", "));
            return Err(WavefunctionError::Base { problem });
        }
        kind.exists_for(sector)
    }

    /// The mean field that goes with the base: its orbitals, or Hartree–Fock.
    pub fn orbitals(&self, hamiltonian: &Hamiltonian) -> Orbitals {
        self.kind().0.orbitals(hamiltonian)
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
        found.ok_or_else(|| WavefunctionError::Base { problem: self.kind().0.needs().to_owned() })
    }

    /// [`Self::build`]; none where the base turns out not to exist for the potentials.
    pub(crate) fn try_build(
        &self,
        sector: Sector,
        system: System,
    ) -> Result<Option<(Place, Base)>, WavefunctionError> {
        let (kind, _) = self.kind();
        let place = Place::of(kind, sector, system)?;
        let natural = place.frame.hamiltonian(system.hamiltonian);
        kind.build(sector, place, System { hamiltonian: &natural, geometry: &place.walls })
    }
}

/// Share of the particles beyond either end of their extent.
const OUTSIDE: f64 = 1e-5;

impl Base {
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
}
