//! weylflow: quantum Monte Carlo for one-dimensional fermions with normalizing-flow wavefunctions.
//!
//! The modules tell the story of a run: a [`spec`] names a [`system`]; a [`wavefunction`] is a chain of
//! flow layers over a base; its exact samples give local energies; an [`optimise`]r steps; estimates
//! and reports come out.

pub mod cli;
pub mod exact;
pub mod math;
mod nearest;
pub mod optimise;
pub mod problems;
pub mod report;
pub mod spec;
pub mod system;
pub mod wavefunction;
