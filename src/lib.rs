//! weylflow: quantum Monte Carlo for one-dimensional fermions with normalizing-flow wavefunctions.
//!
//! The modules tell the story of a run: a [`spec`] names a [`system`]; a [`wavefunction`] is a chain of
//! flow layers over a base; its exact samples ([`sampling`]) give [local energies](local_energy) and derivatives by the parameters ([`tangent`]); an
//! [optimiser](optimise) steps until [training](train) ends; [estimates](estimate) and a [`report`] come
//! out, beside the energy of the [`exact`] solver; [`observables`] tell the rest about the trained state. [`cli`] is the edge: arguments, files, the terminal.

pub mod checkpoint;
pub mod cli;
pub mod estimate;
pub mod exact;
pub mod input;
pub mod local_energy;
pub mod math;
mod nearest;
pub mod objective;
pub mod observables;
pub mod optimise;
pub mod parallel;
mod parcel;
pub mod problems;
pub mod regress;
pub mod report;
pub mod run;
pub mod sampling;
pub mod spec;
pub mod system;
pub mod tangent;
pub mod team;
pub mod train;
pub mod wavefunction;
pub mod work;
