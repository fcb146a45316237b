//! What a run leaves behind: records, tables and the HTML report.

pub mod csv;
pub mod density;
pub mod files;
pub mod number;
pub mod progress;
pub mod record;
pub mod summary;
