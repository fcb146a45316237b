//! What is minimised: the energy of one state, the sum of the lowest energies of a sector, the free energy.

pub mod free_energy;
pub mod ground_state;
pub mod mixture;
pub mod robust;
pub mod spectrum;
