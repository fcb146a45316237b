//! What a run leaves behind: records, tables and the HTML report.

pub mod record;
