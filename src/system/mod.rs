//! The physical system: which particles, where they live, what acts on them.

pub mod external;
pub mod formula;
pub mod geometry;
pub mod hamiltonian;
pub mod interaction;
pub mod sector;

pub use external::External;
pub use geometry::Geometry;
pub use hamiltonian::{Hamiltonian, System};
pub use interaction::Interaction;
pub use sector::Sector;
