//! What a run leaves behind, written and read: files that are never seen half done, tables, records, checkpoints.

pub mod checkpoint;
pub(crate) mod csv;
pub mod density;
pub mod energy;
pub mod ensemble;
pub mod faults;
pub mod files;
pub mod folder;
pub mod lock;
pub mod npz;
pub mod observables;
pub mod projection;
pub mod projection_state;
pub mod provenance;
pub mod record;
pub mod reference_density;
pub mod reference_pairs;
pub mod replace;
pub mod saved;
pub mod scan;
pub mod summary;
