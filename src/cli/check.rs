//! `weylflow check`: is a spec valid, and what does it say with every default written out?

use crate::run::is_of_several;
use crate::spec::{Family, write};
use crate::system::System;
use clap::Args;
use std::error::Error;
use std::path::PathBuf;

/// Check a spec and print it with every default written out.
///
/// Reads the spec and the Hamiltonian file it names, checks every bound, and prints the resolved spec,
/// which is itself a valid spec and depends on no other file, with the base that was chosen for the
/// system as a comment. Nothing is trained and no file is written. An error names the file, the line, the column and the field.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  weylflow check runs/helium.ron > resolved.ron")]
pub struct Check {
    /// The spec, a RON file.
    #[arg(value_name = "SPEC")]
    spec: PathBuf,
    /// Value of a named parameter, in place of the one in the spec.
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::assignment)]
    set: Vec<(String, f64)>,
}

impl Check {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// A spec that is not valid, or an output that cannot be written.
    pub fn run(&self) -> Result<(), Box<dyn Error>> {
        let family = Family::load(&self.spec)?.at(&self.set)?;
        let mut spec = family.spec_to_train()?;
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        // The base of states and temperatures is not one of the choice.
        let choices = match is_of_several(&spec) {
            true => Vec::new(),
            false => spec.wavefunction.settle(spec.sector, system)?,
        };
        let mut text = write::to_ron(&spec)?;
        // Comments: the output is a spec.
        for (name, value) in family.parameters() {
            text += &format!("// {name} = {value:?}\n");
        }
        for scan in family.scan() {
            let values = scan.values.all();
            text += &format!("// scan of {} ({:?}): {values:?}\n", scan.parameter, scan.method);
        }
        choices.iter().for_each(|choice| text += &format!("// {choice}\n"));
        super::print(&text)?;
        Ok(())
    }
}
