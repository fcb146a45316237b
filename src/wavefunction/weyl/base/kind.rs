//! What a base is: settings that say where it exists and build it, and a state with value, density and sampler.

use super::super::place::Place;
use super::mean_field::Orbitals;
use super::series::Domain;
use super::{Base, BaseLanes, WavefunctionError};
use crate::math::scalar::Scalar;
use crate::system::{Geometry, Hamiltonian, Sector, System};
use crate::wavefunction::journey::Journey;

/// A base that is built: its place and its state.
pub(crate) type Built = (Place, Base);

/// The settings of a kind of base: what a spec says of it.
pub(crate) trait BaseKind {
    /// Whether it exists on a geometry.
    fn exists_on(&self, _geometry: &Geometry) -> Result<(), WavefunctionError> {
        Ok(())
    }

    /// Whether it exists for a sector; more than two components only come here with [`Self::knows_many`].
    fn exists_for(&self, _sector: Sector) -> Result<(), WavefunctionError> {
        Ok(())
    }

    /// Whether it knows more than two components.
    fn knows_many(&self) -> bool {
        false
    }

    /// The mean field that goes with it.
    fn orbitals(&self, hamiltonian: &Hamiltonian) -> Orbitals {
        Orbitals::for_system(hamiltonian)
    }

    /// Whether it finds its own walls in a harmonic trap, from those that hold one particle; otherwise its place is where the
    /// mean field is.
    fn places_itself(&self) -> bool {
        false
    }

    /// Whether its density says where the layers' knots belong; otherwise the mean field says.
    fn knows_density(&self) -> bool {
        true
    }

    /// Builds it for a system in the units of the place; none where it turns out not to exist for the potentials.
    fn build(
        &self,
        sector: Sector,
        place: Place,
        system: System,
    ) -> Result<Option<Built>, WavefunctionError>;

    /// What a system must be for [`Self::build`] to find one: a sentence that begins with the name.
    fn needs(&self) -> &'static str {
        "the base does not exist for these potentials"
    }

    /// How a list of bases calls it.
    fn label(&self, name: &str) -> String {
        name.to_owned()
    }
}

/// A base state: normalised on the fundamental domain of the angles, with an exact sampler.
pub trait BaseState {
    /// What the reverse sweep needs again, and scratch memory.
    type Trace<T: Scalar>;

    /// Number of spins that have particles.
    fn spins(&self) -> usize;

    /// The density of one spin (numbered among those that have particles) at an angle, per radian.
    fn density(&self, spin: usize, theta: f64) -> f64;

    /// Number of particles below each point of an even grid of angles.
    fn below(&self) -> Vec<f64>;

    /// First and last angle.
    fn ends(&self) -> (f64, f64) {
        Domain::Walls.ends()
    }

    /// `log |psi_0|` and sign.
    fn forward<T: Scalar>(
        &self,
        angles: &[T],
        reverse: bool,
        trace: &mut Self::Trace<T>,
    ) -> (T, f64);

    /// Adds `log |psi_0|` of eight configurations; false where there is no kernel for them.
    fn lanes(&self, _journey: &mut Journey, _work: &mut BaseLanes) -> bool {
        false
    }

    /// Adjoints of the angles, after [`Self::forward`] with `reverse`.
    fn backward<T: Scalar>(&self, bar: &mut [T], trace: &mut Self::Trace<T>);

    /// Number of points of the unit cube of uniforms that make one configuration.
    fn orders(&self, sector: Sector) -> f64 {
        // The particles of a spin are drawn one after the other, then sorted.
        let factorial = |n: usize| (1..=n).map(|k| k as f64).product::<f64>();
        sector.spins().map(|s| factorial(s.len())).product()
    }

    /// Number of uniforms of a sample.
    fn uniforms(&self, particles: usize) -> usize {
        particles
    }

    /// Turns uniforms into angles distributed as `|psi_0|²`, ascending within each spin.
    fn sample(&self, uniforms: &[f64], angles: &mut [f64]);

    /// The same for up to eight configurations of `particles` each, one after the other: each is the same, bit for bit, whatever
    /// is beside it.
    fn samples(&self, uniforms: &[f64], particles: usize, angles: &mut [f64]) {
        let uniforms = uniforms.chunks_exact(self.uniforms(particles));
        for (angles, uniforms) in angles.chunks_exact_mut(particles).zip(uniforms) {
            self.sample(uniforms, angles);
        }
    }
}

/// Refuses a ring, for a base that knows the line only.
pub(super) fn on_the_line_only(name: &str, geometry: &Geometry) -> Result<(), WavefunctionError> {
    match geometry {
        Geometry::Ring { .. } => Err(WavefunctionError::NotOnGeometry {
            what: format!("the base {name}, which knows the line only,"),
            geometry: "Ring",
        }),
        Geometry::Box { .. } | Geometry::Line => Ok(()),
    }
}
