//! weylflow: quantum Monte Carlo for one-dimensional fermions with normalizing-flow wavefunctions.
//!
//! The modules tell the story of a run: a [`spec`] names a [`system`]; a [`wavefunction`] is a chain of
//! flow layers over a base; its exact samples give local energies; an [`optimise`]r steps; estimates
//! and reports come out.

pub mod estimate;
pub mod exact;
pub mod local_energy;
pub mod math;
pub mod optimise;
pub mod parallel;
pub mod report;
pub mod sampling;
pub mod spec;
pub mod system;
pub mod train;
pub mod wavefunction;
