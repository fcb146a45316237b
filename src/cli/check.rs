//! `weylflow check`: is a spec valid, and what does it say with every default written out?

use crate::spec::{load, validate, write};
use clap::Args;
use std::error::Error;
use std::path::PathBuf;

/// Check a spec and print it with every default written out.
///
/// Reads the spec and the Hamiltonian file it names, checks every bound, and prints the resolved spec,
/// which is itself a valid spec and depends on no other file. Nothing is computed and no file is
/// written. An error names the file, the line, the column and the field.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  weylflow check runs/helium_triplet.ron > resolved.ron")]
pub struct Check {
    /// The spec, a RON file.
    #[arg(value_name = "SPEC")]
    spec: PathBuf,
}

impl Check {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// A spec that is not valid, or an output that cannot be written.
    pub fn run(&self) -> Result<(), Box<dyn Error>> {
        let spec = load(&self.spec)?;
        validate::trainable(&spec.hamiltonian, spec.sector)
            .map_err(|v| format!("{}: {v}", self.spec.display()))?;
        super::print(&write::to_ron(&spec)?)?;
        Ok(())
    }
}
