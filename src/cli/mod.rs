//! The command line: one file a subcommand, one line here to register it.

mod check;
mod cluster;
mod evaluate;
mod exact;
mod exact_display;
mod guard;
pub mod hint;
mod interrupt;
mod measure;
mod progress;
mod project;
mod regress;
mod report;
mod run;
mod sample;
mod scan;
mod shell;
mod terminal;

use crate::report::escape::harmless;
use crate::store::files::{names, read_text};
use crate::store::folder::not_finished;
use crate::store::record::Summary;
use crate::store::replace;
use crate::store::saved::{SavedError, SavedWavefunction};
use crate::store::summary::{read_ensemble_summary, read_summary};
use clap::{Parser, Subcommand};
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

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
  weylflow run runs/helium.ron      train, estimate, write out/helium/report.html
  weylflow check runs/helium.ron    is this spec valid, and what are its defaults?
  weylflow exact runs/helium.ron    what is the exact energy of that problem?
  weylflow regress --quick          do all solvers still reproduce the exact energies?
  weylflow measure out/helium       densities, occupations, momenta, .. of the trained state
  weylflow project out/trap_six     how far is that from the exact energy?
  weylflow report out/a out/b --out both.html    compare runs in one page

Specs to start from are in runs/, Hamiltonians in hamiltonians/.";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    Exact(exact::Exact),
    Regress(regress::Regress),
    Measure(measure::Measure),
    Project(project::Project),
    Report(report::Report),
    Sample(sample::Sample),
    Evaluate(evaluate::Evaluate),
    Completions(shell::Completions),
    Man(shell::Man),
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
            Command::Measure(measure) => measure.run(),
            Command::Project(project) => project.run(),
            Command::Report(report) => report.run(),
            Command::Sample(sample) => sample.run(),
            Command::Evaluate(evaluate) => evaluate.run(),
            Command::Completions(completions) => completions.run(),
            Command::Man(man) => man.run(),
        }
    }
}

/// An error with an exit code of its own; every other error has 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Exit {
    /// The exit code.
    pub code: u8,
    /// For the user.
    pub message: String,
}

impl Exit {
    /// Exit code of a run whose energy is doubtful.
    pub const DOUBTFUL: u8 = 4;
}

/// `NAME=VALUE`, for clap.
fn assignment(text: &str) -> Result<(String, f64), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, as in R=2.5")?;
    let number = value.trim().parse::<f64>().ok().filter(|v| v.is_finite());
    let number = number.ok_or_else(|| format!("`{value}` is no number"))?;
    Ok((name.trim().to_owned(), number))
}

/// A number of seconds, for clap.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value >= 0.0 => Ok(value),
        _ => Err("expected a number of seconds, at least 0".into()),
    }
}

/// Writes to standard output. A reader that stops reading (`| head`) is no error. Control characters stay out of a terminal.
fn print(text: &str) -> io::Result<()> {
    let text = harmless(text);
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// What is saved of the state or states of a run folder.
fn read_saved(folder: &Path) -> Result<SavedWavefunction, Box<dyn Error>> {
    replace::settle_to_read(folder)?;
    let path = folder.join(names::WAVEFUNCTION);
    if std::fs::symlink_metadata(&path).is_err() {
        return Err(not_finished(folder, names::WAVEFUNCTION).into());
    }
    let saved = SavedWavefunction::from_json(&read_text(&path)?);
    Ok(saved.map_err(|e| format!("{}: {e}", path.display()))?)
}

/// The trained wavefunction of a run folder.
fn read_wavefunction(folder: &Path) -> Result<SavedWavefunction, Box<dyn Error>> {
    let saved = read_saved(folder)?;
    if saved.is_of_several() {
        let path = folder.join(names::WAVEFUNCTION);
        let what = match saved.spec.temperature {
            Some(_) => "a temperature",
            None => "several states",
        };
        return Err(format!(
            "{}: the wavefunction of {what}, of which this command takes one: what there is of them is in `{}` and `{}`",
            path.display(),
            names::SUMMARY,
            names::REPORT
        )
        .into());
    }
    Ok(saved)
}

/// The trained wavefunction of a run folder, or one of several states there.
fn read_state(folder: &Path, state: Option<usize>) -> Result<SavedWavefunction, Box<dyn Error>> {
    replace::settle_to_read(folder)?;
    let path = folder.join(names::WAVEFUNCTION);
    let Ok(saved) = SavedWavefunction::from_json(&read_text(&path).unwrap_or_default()) else {
        return read_wavefunction(folder);
    };
    match saved.one(state) {
        Ok(saved) => Ok(saved),
        Err(SavedError::OneOfSeveral { count }) => Err(format!(
            "{}: the wavefunction of {count} states: choose one by --state, from 0 to {}",
            path.display(),
            count - 1
        )
        .into()),
        Err(SavedError::OnlyOne { asked }) => {
            Err(format!("{}: there is one state, 0, and no --state {asked}", path.display()).into())
        }
        Err(_) => read_wavefunction(folder),
    }
}

/// Says on standard error where the energy of a run was refused; returns the reasons.
fn warn_of_refusal(folder: &Path, summary: &Summary) -> Vec<String> {
    say_refused(folder, summary.health.refusals.clone())
}

fn say_refused(folder: &Path, reasons: Vec<String>) -> Vec<String> {
    if !reasons.is_empty() {
        note(&format!(
            "warning: the energy of the run in `{}` was refused, and nothing that follows from its wavefunction can be \
             believed, because\n  {}",
            folder.display(),
            reasons.join("\n  ")
        ));
    }
    reasons
}

/// The same for a wavefunction that was read from a folder; a summary may be missing there.
fn warn_of_refused_state(
    folder: &Path,
    saved: &SavedWavefunction,
) -> Result<Vec<String>, Box<dyn Error>> {
    let path = folder.join(names::SUMMARY);
    if std::fs::symlink_metadata(&path).is_err() {
        return Ok(Vec::new());
    }
    if saved.is_of_several() {
        let mut whole = saved.clone();
        whole.state = None;
        let summary = read_ensemble_summary(&path)?;
        if summary.fingerprint.is_some() && summary.fingerprint != Some(whole.fingerprint()?) {
            note(&format!(
                "warning: `{}` does not belong to the wavefunction beside it",
                path.display()
            ));
        }
        let failed = summary.checks.iter().filter(|c| c.refuses && !c.passed);
        return Ok(say_refused(folder, failed.map(|c| c.detail.clone()).collect()));
    }
    let summary = read_summary(&path)?;
    if summary.fingerprint.is_some() && summary.fingerprint != Some(saved.fingerprint()?) {
        note(&format!(
            "warning: `{}` does not belong to the wavefunction beside it",
            path.display()
        ));
    }
    Ok(warn_of_refusal(folder, &summary))
}

/// All files of a run folder: what its reader depends on.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    names::ALL.iter().map(|name| folder.join(name)).collect()
}

/// Refuses a file that exists, unless it may be replaced: better before the work than after it.
fn create_new(path: &Path, overwrite: bool) -> Result<(), String> {
    // A link that leads nowhere is something as well.
    if std::fs::symlink_metadata(path).is_ok() && !overwrite {
        return Err(format!("`{}` exists; replace it with --overwrite", path.display()));
    }
    Ok(())
}

/// A line on standard error. If nobody listens there, nobody misses it.
fn note(line: &str) {
    let _ = io::stderr().write_fmt(format_args!("{}\n", harmless(line)));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
