//! Wavefunctions: normalizing flows on the fundamental domain.
//!
//! `psi(x) = psi_0(T(x)) sqrt(det DT(x))` with a bijection `T` of the fundamental domain and a base
//! `psi_0` normalised there: `psi` is normalised for all parameters, and `x = T^-1(z)` with `z ~ |psi_0|²`
//! is an exact, independent sample of `|psi|²`.

pub mod coordinate;
pub(crate) mod exchanged;
mod flow;
pub(crate) mod journey;
pub(crate) mod polarised;
mod quotient;
pub mod sector_base;
pub mod slopes;
pub(crate) mod untrained;
pub mod waveflow;
pub mod weyl;

use crate::math::scalar::Jet;
use crate::system::{Geometry, Sector, System};
use crate::tangent::Layout;
pub use quotient::RayleighQuotient;
use sector_base::SectorBaseSettings;
use serde::{Deserialize, Serialize};
use slopes::Slopes;
use waveflow::WaveflowSettings;
use weyl::{BaseSettings, WeylSettings};

/// The wavefunction of a run and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum WavefunctionSettings {
    /// Autoregressive I-spline flow over an O-spline prior.
    Waveflow(WaveflowSettings),
    /// Equivariant I-spline flow over determinants.
    Weyl(WeylSettings),
    /// Polynomials in every order of the components with the cusp of contact interactions.
    SectorBase(SectorBaseSettings),
}

impl Default for WavefunctionSettings {
    fn default() -> Self {
        WavefunctionSettings::Weyl(WeylSettings::default())
    }
}

/// Why a wavefunction cannot be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WavefunctionError {
    /// Parameters of several states.
    #[error(
        "the parameters are those of several states or of a temperature, and of no one wavefunction"
    )]
    Several,
    /// A temperature that none of the states are of.
    #[error("{}: trained are kT = {} Ha", asked.map_or("which temperature is meant".to_owned(), |kt| format!("kT = {kt} Ha is none of the sweep")), all.iter().map(f64::to_string).collect::<Vec<_>>().join(", "))]
    Temperature {
        /// The one asked for, in Hartree, if any.
        asked: Option<f64>,
        /// Those that there are.
        all: Vec<f64>,
    },
    /// The wavefunction exists on some geometries only.
    #[error("the {wavefunction} wavefunction needs {needs}, found {found}")]
    Geometry {
        /// Name of the wavefunction.
        wavefunction: &'static str,
        /// Geometries it supports.
        needs: &'static str,
        /// The geometry asked for.
        found: String,
    },
    /// No particles, or more than the derivative kernels are compiled for.
    #[error("the number of particles must be between 1 and {most}, found {found}")]
    Particles {
        /// Largest supported number.
        most: usize,
        /// The number asked for.
        found: usize,
    },
    /// On the line the mean field leaves the particles too far spread for the largest computational box.
    #[error(
        "on the Line the mean-field density must become negligible within {most:.4} bohr of its middle, and this one \
         does not: the particles are not bound, or too weakly (give walls with `Box(half_width: ..)`)"
    )]
    Unbound {
        /// Largest half-width of the computational box, in bohr.
        most: f64,
    },
    /// An even number of equal spins on a ring.
    #[error("on a Ring the number of particles of each spin must be odd, found {found}")]
    EvenOnRing {
        /// The even number.
        found: usize,
    },
    /// A layer or a base that the geometry does not have.
    #[error("{what} does not exist on a {geometry}")]
    NotOnGeometry {
        /// Name of the layer or base.
        what: String,
        /// Name of the geometry.
        geometry: &'static str,
    },
    /// A base that the sector does not have, or that would be too large.
    #[error("{problem}")]
    Base {
        /// What the base needs and what was found.
        problem: String,
    },
    /// Contact interactions where they cannot be treated.
    #[error(transparent)]
    Contact(#[from] crate::contact::ContactError),
    /// The splines cannot be built.
    #[error(transparent)]
    Spline(#[from] crate::math::spline::SplineError),
    /// The orbitals of the base cannot be computed.
    #[error("the orbitals cannot be computed: {0}")]
    Orbitals(#[from] crate::math::linalg::EigenFailure),
    /// A parameter vector of the wrong length.
    #[error("expected {expected} parameters, found {found}")]
    Parameters {
        /// What the wavefunction has.
        expected: usize,
        /// What was given.
        found: usize,
    },
}

impl WavefunctionSettings {
    /// Writes out the defaults that depend on the system.
    pub fn complete(&mut self, sector: Sector, system: System) {
        match self {
            WavefunctionSettings::Waveflow(_) | WavefunctionSettings::SectorBase(_) => {}
            WavefunctionSettings::Weyl(settings) => settings.complete(sector, system),
        }
    }

    /// Whether the state of a sector of both spins is that of as many particles of one spin.
    pub fn is_fermionised(&self, sector: Sector) -> bool {
        let both = sector.up > 0 && sector.down > 0;
        both && matches!(self, WavefunctionSettings::Weyl(s) if s.base == BaseSettings::Fermionised)
    }

    /// Whether the slope of the wavefunction has [kinks](Evaluator::kinks).
    pub fn has_kinks(&self) -> bool {
        matches!(self, WavefunctionSettings::Waveflow(s) if s.has_kinks())
    }

    /// Whether [`Wavefunction::refine`] can do something.
    pub fn can_refine(&self) -> bool {
        match self {
            WavefunctionSettings::Waveflow(_) | WavefunctionSettings::SectorBase(_) => false,
            WavefunctionSettings::Weyl(settings) => {
                let layers = settings.layers.as_ref();
                layers.is_none_or(|layers| layers.iter().any(|layer| layer.about().refines))
            }
        }
    }
}

/// `log |psi|` and the sign of `psi` on the fundamental domain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogPsi {
    /// `log |psi(x)|`; `int_D |psi|² = 1`.
    pub log_abs: f64,
    /// `+1` or `-1`.
    pub sign: f64,
}

/// A normalised wavefunction on the fundamental domain, with variational parameters.
pub trait Wavefunction: Send + Sync {
    /// Which particles it describes.
    fn sector(&self) -> Sector;

    /// The variational parameters.
    fn parameters(&self) -> &[f64];

    /// Replaces the variational parameters.
    fn set_parameters(&mut self, values: &[f64]) -> Result<(), WavefunctionError>;

    /// Linear forms, as lists of (parameter, coefficient), whose sum of squares measures how rough a change of
    /// the parameters is: optimisers damp it, and leave smooth changes alone.
    fn roughness(&self) -> Vec<Vec<(usize, f64)>> {
        Vec::new()
    }

    /// Halves the cells of all trainable splines by exact knot insertion: the same state with more parameters.
    fn refine(&mut self) {}

    /// How the derivatives `O_k` follow from the factors that [`Evaluator::tangent`] gives.
    fn tangent_layout(&self) -> Layout {
        Layout::dense(self.parameters().len())
    }

    /// An interval that holds the particles, in bohr: that of the geometry, or, on the line, where the density
    /// is not negligible.
    fn interval(&self, geometry: &Geometry) -> (f64, f64) {
        geometry.interval()
    }

    /// Number of uniforms that make one sample.
    fn uniforms(&self) -> usize;

    /// Number of points of the unit cube of uniforms that make one configuration: the orders in which the particles of
    /// a spin may be drawn.
    fn orders(&self) -> f64 {
        1.0
    }

    /// `<sum delta(x_i - y_j)>` over pairs of different components, in 1/bohr, where the state has the cusp of a contact
    /// interaction and knows it without samples: mean local energies then hold its energy, `strength` times this.
    fn contact_density(&self) -> f64 {
        0.0
    }

    /// Norm and energy, in Hartree, where the state knows them without samples.
    fn quotient(&self) -> Option<RayleighQuotient> {
        None
    }

    /// Probabilities of the orders of the components along the line (around a ring, of those that no rotation turns into
    /// each other), where the state knows them without samples.
    fn order_probabilities(&self) -> Vec<(Vec<u8>, f64)> {
        Vec::new()
    }

    /// A state of the same family and sector that changes its sign nowhere among configurations of one order, where the
    /// family has one.
    fn without_nodes(&self) -> Option<Box<dyn Wavefunction>> {
        None
    }

    /// Whether its slope has [kinks](Evaluator::kinks).
    fn has_kinks(&self) -> bool {
        false
    }

    /// One of the evaluators for so many configurations in all, at the parameters as they are, with scratch memory of its own: one
    /// per thread or chunk. Where they are many, [`Evaluator::kinetic_energies`] may use tables that it takes a while to make;
    /// whether it does depends on the number alone, and what it finds by no more than rounding.
    fn evaluator_for(&self, configurations: usize) -> Box<dyn Evaluator + '_>;

    /// An evaluator for a few configurations.
    fn evaluator(&self) -> Box<dyn Evaluator + '_> {
        self.evaluator_for(1)
    }
}

/// Evaluates a wavefunction at configurations `x` (sorted ascending within each spin, in bohr).
pub trait Evaluator {
    /// Turns uniforms in (0, 1), [`Wavefunction::uniforms`] each, into configurations distributed as `|psi|²`, as many as `x`
    /// has room for.
    fn sample(&mut self, uniforms: &[f64], x: &mut [f64]);

    /// `log |psi|` and sign.
    fn log_psi(&mut self, x: &[f64]) -> LogPsi;

    /// `log |psi|`, its gradient (written to `gradient`) and its Laplacian with respect to `x`; see [`Self::kinks`].
    fn derivatives(&mut self, x: &[f64], gradient: &mut [f64]) -> (LogPsi, f64);

    /// `O_k = d log |psi| / d parameter_k`, written to `out`.
    fn parameter_gradient(&mut self, x: &[f64], out: &mut [f64]) -> LogPsi;

    /// The factors of `O_k` by [`Wavefunction::tangent_layout`], written to `factors`; returns `log |psi|` and the kinetic
    /// local energy.
    fn tangent(&mut self, x: &[f64], factors: &mut [f64]) -> (LogPsi, f64);

    /// `O_k` (to `out`) and `d (kinetic local energy) / d parameter_k`, that is
    /// `-1/2 Δ O_k - ∇ log |psi| · ∇ O_k` (to `kinetic`); returns `log |psi|` and the kinetic local energy.
    fn kinetic_parameter_gradient(
        &mut self,
        x: &[f64],
        out: &mut [f64],
        kinetic: &mut [f64],
    ) -> (LogPsi, f64);

    /// `O_k` (to `out`) and its gradient `d O_k / d x_i` (to `mixed[i * parameters + k]`); returns the kinetic local
    /// energy.
    fn mixed_parameter_gradient(&mut self, x: &[f64], out: &mut [f64], mixed: &mut [f64]) -> f64;

    /// [`Self::sample`] of one configuration, but with the coordinates of the base moved by `shift` before the flow; returns
    /// the logarithm of the density of the base where it was drawn. None where there is one uniform for each coordinate.
    fn sample_moved(&mut self, _uniforms: &[f64], _shift: &[f64], _x: &mut [f64]) -> Option<f64> {
        None
    }

    /// The gradient of the part `J` of `log |psi|` whose slope has kinks (written to `out`), at the configuration that was differentiated
    /// last; false for wavefunctions that are smooth.
    ///
    /// The Laplacian of `J` is infinite at the kinks, where no sample is. By parts
    /// `<ΔJ> = -2 <∇ log |psi| · ∇J>`, which is what stands for it in [`Self::derivatives`] and in kinetic local energies: these have
    /// the right mean and, other than `|∇ log |psi||² / 2`, a finite variance where `psi` vanishes; but they are not those of an
    /// eigenstate anywhere. For half the gradient of the energy then `<O_k (E_L - E)>` lacks `<∇O_k · ∇J> / 2`.
    fn kinks(&self, _out: &mut [f64]) -> bool {
        false
    }

    /// `T^-1(T(x)) - x`, largest component: how well the bijection undoes itself.
    fn round_trip_error(&mut self, x: &[f64]) -> f64;

    /// How strongly the trainable part of the bijection stretches at `x`: 1 and 1 where it is the identity.
    ///
    /// Fixed changes of coordinates at either end do not count: they cannot explode.
    fn slopes(&mut self, x: &[f64]) -> Slopes;

    /// Kinetic local energy `-1/2 (Δ log |psi| + |∇ log |psi||²)`, in Hartree.
    fn kinetic_energy(&mut self, x: &[f64], gradient: &mut [f64]) -> f64 {
        let (_, laplacian) = self.derivatives(x, gradient);
        -0.5 * (laplacian + gradient.iter().map(|g| g * g).sum::<f64>())
    }

    /// [`Self::kinetic_energy`] of as many configurations as `kinetic` has room for. Each is the same, bit for bit, whatever
    /// is beside it; by a kernel for several, where there is one, which may round otherwise than that for one.
    fn kinetic_energies(&mut self, x: &[f64], kinetic: &mut [f64]) {
        one_by_one(self, x, kinetic);
    }

    /// [`Self::tangent`] of as many configurations as `kinetic` has room for, their factors one after the other, with the
    /// kinetic energies of [`Self::kinetic_energies`].
    fn tangents(&mut self, x: &[f64], factors: &mut [f64], kinetic: &mut [f64]) {
        tangents_one_by_one(self, x, factors, kinetic);
    }
}

/// [`Evaluator::kinetic_energies`] without a kernel for several.
fn one_by_one<E: Evaluator + ?Sized>(evaluator: &mut E, x: &[f64], kinetic: &mut [f64]) {
    let n = x.len() / kinetic.len().max(1);
    let mut gradient = vec![0.0; n];
    for (s, kinetic) in kinetic.iter_mut().enumerate() {
        *kinetic = evaluator.kinetic_energy(&x[s * n..(s + 1) * n], &mut gradient);
    }
}

/// [`Evaluator::tangents`] without a kernel for several.
fn tangents_one_by_one<E: Evaluator + ?Sized>(
    evaluator: &mut E,
    x: &[f64],
    factors: &mut [f64],
    kinetic: &mut [f64],
) {
    let samples = kinetic.len().max(1);
    let (n, f) = (x.len() / samples, factors.len() / samples);
    for (s, kinetic) in kinetic.iter_mut().enumerate() {
        let factors = &mut factors[s * f..(s + 1) * f];
        *kinetic = evaluator.tangent(&x[s * n..(s + 1) * n], factors).1;
    }
}

/// Kinetic local energy from the jet of `log |psi|`.
pub(crate) fn kinetic_from_jet<const N: usize>(log: &Jet<N>) -> f64 {
    -0.5 * (log.laplacian + log.gradient_dot(log))
}

#[cfg(test)]
pub(crate) mod testing {
    use super::Wavefunction;
    use crate::sampling::open_uniform;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    /// Configurations distributed as `|psi|²`.
    pub(crate) fn samples(psi: &dyn Wavefunction, seed: u64, count: usize) -> Vec<Vec<f64>> {
        let mut rng = Pcg64::seed_from_u64(seed);
        let mut evaluator = psi.evaluator();
        let mut sample = |_| {
            let uniforms: Vec<f64> = (0..psi.uniforms()).map(|_| open_uniform(&mut rng)).collect();
            let mut x = vec![0.0; psi.sector().particles()];
            evaluator.sample(&uniforms, &mut x);
            x
        };
        (0..count).map(&mut sample).collect()
    }
}
