//! Matrix product states: ground and lowest excited states of any number of particles on a uniform grid.
//!
//! The sites are the points of a discrete variable representation, sine functions between walls or plane waves on a
//! ring, one site for each spin. The density-matrix renormalisation group finds the states; the weight that
//! cuts may lose, the spacing of the grid and the walls are refined one after the other, and what
//! the last refinement of each still changed makes the error estimate. Energies on such a grid are no upper bounds.

mod block;
mod chain;
mod determinant;
mod eigen;
mod grid;
mod local;
mod measure;
mod mpo;
mod refine;
mod stack;
mod sweep;
#[cfg(test)]
mod tests;
mod truncation;

pub(super) use grid::applies;
pub(super) use refine::solve;
