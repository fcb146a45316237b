//! What is minimised beyond the energy of one state: the sum of the lowest energies of a sector, and the free energy.

pub mod free_energy;
pub mod mixture;
pub mod spectrum;
