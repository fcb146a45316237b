//! Run specs: what a user asks for, as read from RON.
//!
//! The types here are plain data with documented defaults. Reading, locating errors in the text and
//! checking physical bounds live in the submodules.

pub mod differences;
pub mod ensemble;
pub mod error;
mod expand;
pub mod family;
pub mod locate;
pub mod read;
pub mod scan;
pub mod size;
mod table;
pub mod validate;
pub mod write;

pub use ensemble::{StateWeights, StatesSettings, TemperatureSettings, Temperatures};
pub use error::SpecError;
pub use family::Family;
pub use read::{load, load_hamiltonian};

use crate::objective::ObjectiveSettings;
use crate::optimise::OptimiserSettings;
use crate::sampling::Sampling;
use crate::system::{Geometry, Hamiltonian, Sector};
use crate::train::{Faults, Schedule, Stopping};
use crate::wavefunction::WavefunctionSettings;
use serde::{Deserialize, Serialize};

/// Everything that defines a run. A spec file is one value of this type.
///
/// `H` is how the Hamiltonian is given: in a file it may be the name of another file, in memory
/// ([`ResolvedSpec`]) it is the Hamiltonian itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec<H = HamiltonianSource> {
    /// What a person calls the run.
    pub title: String,
    /// The Hamiltonian: inline, or a file of its own.
    pub hamiltonian: H,
    /// Numbers of spin-up and spin-down fermions.
    pub sector: Sector,
    /// The space they live in.
    pub geometry: Geometry,
    /// The wavefunction and its settings.
    #[serde(default)]
    pub wavefunction: WavefunctionSettings,
    /// The optimiser and its settings; without any those that suit the wavefunction.
    #[serde(default = "OptimiserSettings::automatic")]
    pub optimiser: OptimiserSettings,
    /// What the training minimises.
    #[serde(default, skip_serializing_if = "ObjectiveSettings::is_default")]
    pub objective: ObjectiveSettings,
    /// Samples drawn afresh at every iteration.
    #[serde(default = "defaults::samples_per_iteration")]
    pub samples_per_iteration: usize,
    /// Number of optimisation steps.
    #[serde(default = "defaults::iterations")]
    pub iterations: usize,
    /// Fresh samples for the final estimate.
    #[serde(default = "defaults::final_samples")]
    pub final_samples: usize,
    /// Kind of points that samples are made from, in training and in the final estimate.
    #[serde(default)]
    pub sampling: Sampling,
    /// How many times the cells of all splines are halved by exact knot insertion: evenly over the iterations, or
    /// earlier where the training has settled.
    #[serde(default)]
    pub refinements: usize,
    /// When to stop before the last iteration.
    #[serde(default)]
    pub stopping: Stopping,
    /// What to do about samples without a sensible local energy and about divergence.
    #[serde(default)]
    pub faults: Faults,
    /// Independent scramblings the final samples are divided among where points are quasi-random: their scatter is
    /// the error bar. Each gets a power of two, so that there may be more final samples than asked for.
    #[serde(default = "defaults::scramblings")]
    pub scramblings: usize,
    /// Seed of all random numbers.
    #[serde(default)]
    pub seed: u64,
    /// Where the exact energy of the report comes from.
    #[serde(default)]
    pub reference: ReferenceSource,
    /// The lowest states of the sector instead of the ground state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub states: Option<StatesSettings>,
    /// The canonical ensemble of the sector instead of the ground state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<TemperatureSettings>,
    /// Whether the trained state is projected onto the ground state at the end, as `weylflow project` does.
    #[serde(default)]
    pub project: bool,
}

/// A spec that depends on no other file. What [`load`] returns has passed every check.
pub type ResolvedSpec = RunSpec<Hamiltonian>;

impl<H> RunSpec<H> {
    /// Whether it asks for several states or a temperature: a single state is a ground state like any other.
    pub fn is_of_several(&self) -> bool {
        self.temperature.is_some() || self.states.as_ref().is_some_and(|s| s.count > 1)
    }

    /// How long and with how many samples to train.
    pub fn schedule(&self) -> Schedule {
        Schedule {
            iterations: self.iterations,
            samples: self.samples_per_iteration,
            final_samples: self.final_samples,
            sampling: self.sampling,
            scramblings: self.scramblings,
            refinements: self.refinements,
            stopping: self.stopping,
            faults: self.faults,
            seed: self.seed,
        }
    }

    /// The same spec with the Hamiltonian given in another way.
    pub fn with_hamiltonian<G>(self, hamiltonian: G) -> RunSpec<G> {
        RunSpec {
            hamiltonian,
            title: self.title,
            sector: self.sector,
            geometry: self.geometry,
            wavefunction: self.wavefunction,
            optimiser: self.optimiser,
            objective: self.objective,
            samples_per_iteration: self.samples_per_iteration,
            iterations: self.iterations,
            final_samples: self.final_samples,
            sampling: self.sampling,
            refinements: self.refinements,
            stopping: self.stopping,
            faults: self.faults,
            scramblings: self.scramblings,
            seed: self.seed,
            reference: self.reference,
            states: self.states,
            temperature: self.temperature,
            project: self.project,
        }
    }
}

/// Where the Hamiltonian comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum HamiltonianSource {
    /// A RON file with a [`Hamiltonian`], relative to the folder of the spec.
    File(String),
    /// Written out in the spec.
    Inline(Hamiltonian),
}

/// Where the exact energy of the report comes from.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ReferenceSource {
    /// Exact diagonalisation where it is feasible, otherwise none.
    #[default]
    Exact,
    /// A number from elsewhere.
    Literal {
        /// Electronic energy (no nuclear repulsion), in Hartree.
        energy: f64,
        /// Where the number comes from.
        source: String,
    },
    /// No reference.
    None,
}

mod defaults {
    pub fn samples_per_iteration() -> usize {
        8192
    }
    pub fn iterations() -> usize {
        60
    }
    pub fn final_samples() -> usize {
        262_144
    }
    pub fn scramblings() -> usize {
        16
    }
}
