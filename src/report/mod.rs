//! What a run leaves behind: records, tables and the HTML report.

pub mod compare;
pub mod csv;
pub mod curve;
mod densities;
pub mod density;
pub mod describe;
pub mod ensemble;
pub mod escape;
pub mod faults;
pub mod files;
pub mod folder;
pub mod html;
pub mod links;
pub mod lock;
pub mod npz;
pub mod number;
pub mod observables;
pub mod progress;
pub mod projection;
pub mod provenance;
pub mod record;
pub mod reference_density;
pub mod reference_pairs;
pub mod replace;
pub mod summary;
pub mod svg;
pub mod verdict;
