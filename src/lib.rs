//! weylflow: quantum Monte Carlo for one-dimensional fermions with normalizing-flow wavefunctions.
//!
//! The ground state of helium in one dimension, with its error and whether to believe it:
//!
//! ```
//! use weylflow::{Run, spec};
//!
//! let text = r#"(title: "helium", sector: (up: 1, down: 1), geometry: Box(half_width: 15),
//!     hamiltonian: Inline(external: Nuclei(charges: [2], positions: [0]), interaction: SoftCoulomb()),
//!     iterations: 3, samples_per_iteration: 1024, final_samples: 8192)"#;
//! let outcome = Run::new(spec::read::parse(text, "helium.ron".as_ref())?)?.train(())?.estimate()?;
//! println!("{} ± {} Ha, {:?}", outcome.energy(), outcome.standard_error(), outcome.verdict());
//! assert!((outcome.energy() + 2.2382578).abs() < 1e-3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The modules tell the story of a run: a [`spec`] names a [`system`]; a [`wavefunction`] is a chain of
//! flow layers over a base; its exact samples ([`sampling`]) give [local energies](local_energy) and derivatives by the parameters ([`tangent`]); for
//! an [`objective`] an [optimiser](optimise) steps until [training](train) ends; [estimates](estimate) come
//! out, beside the energy of the [`exact`] solver; [`observables`] tell the rest about the trained state, [`project`] takes it to the ground
//! state. [`run`] is all of it as a library call, [`scan`] many of them; [`store`] writes and reads what they leave, a [`report`] shows it.
//! [`cli`] is the edge: arguments and the terminal.
//!
//! No folder depends on one that depends on it; from below: [`math`], [`system`], [`sampling`], [`contact`], [`exact`], [`wavefunction`], [`local_energy`],
//! [`objective`], [`optimise`], [`train`], [`estimate`], [`observables`], [`project`], [`spec`], [`store`], [`report`], [`run`], [`scan`], [`cli`].

pub mod cli;
pub mod contact;
pub mod estimate;
pub mod exact;
pub mod input;
mod json;
pub mod local_energy;
pub mod math;
mod nearest;
pub mod objective;
pub mod observables;
pub mod optimise;
pub mod parallel;
pub mod problems;
pub mod project;
pub mod regress;
pub mod report;
pub mod run;
pub mod sampling;
pub mod scan;
pub mod spec;
pub mod store;
pub mod system;
pub mod tangent;
pub mod team;
pub mod train;
pub mod wavefunction;
pub mod work;

pub use exact::{ExactOptions, ExactResult, solve, solve_on_line};
pub use run::{Outcome, Run, RunError, State};
pub use spec::{ResolvedSpec, load};
pub use system::{External, Geometry, Hamiltonian, Interaction, Sector, System};
