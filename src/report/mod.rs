//! What a run leaves behind: records, tables and the HTML report.

pub mod csv;
pub mod density;
pub mod describe;
pub mod escape;
pub mod files;
pub mod html;
pub mod number;
pub mod progress;
pub mod record;
pub mod summary;
pub mod svg;
pub mod verdict;
