//! The command line: one file a subcommand, one line here to register it.

mod check;
mod exact;
mod exact_display;
mod regress;
mod run;

use clap::{Parser, Subcommand};
use std::error::Error;
use std::io::{self, Write};

/// Quantum Monte Carlo for one-dimensional fermions.
///
/// A RON file names the Hamiltonian, the particles, the space they live in, the wavefunction and the
/// optimiser. Energies are in Hartree, lengths in bohr.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  weylflow run runs/helium_triplet.ron      train, estimate, write out/helium_triplet/report.html
  weylflow check runs/helium_triplet.ron    is this spec valid, and what are its defaults?
  weylflow exact runs/helium_triplet.ron    what is the exact energy of that problem?
  weylflow regress --quick                  do all solvers still reproduce the exact energies?

Specs to start from are in runs/, Hamiltonians in hamiltonians/.";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    Exact(exact::Exact),
    Regress(regress::Regress),
}

impl Cli {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// Whatever went wrong, with a message for the user.
    pub fn run(&self) -> Result<(), Box<dyn Error>> {
        match &self.command {
            Command::Run(run) => run.run(),
            Command::Check(check) => check.run(),
            Command::Exact(exact) => exact.run(),
            Command::Regress(regress) => regress.run(),
        }
    }
}

/// Writes to standard output. A reader that stops reading (`| head`) is no error.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// A line on standard error. If nobody listens there, nobody misses it.
fn note(line: &str) {
    let _ = io::stderr().write_fmt(format_args!("{line}\n"));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
