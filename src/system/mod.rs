//! The physical system: which particles, where they live, what acts on them.

pub mod external;
pub mod formula;
pub mod frame;
pub mod geometry;
pub mod hamiltonian;
pub mod interaction;
pub mod judgement;
pub mod landscape;
pub mod sector;
pub(crate) mod syntax;
pub mod table;

pub use external::External;
pub use frame::Frame;
pub use geometry::Geometry;
pub use hamiltonian::{Hamiltonian, System};
pub use interaction::Interaction;
pub use sector::Sector;
pub use table::Table;
