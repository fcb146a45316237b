//! `weylflow report`: makes the report of a run again, or one that compares several runs.

use crate::report::files::{names, write_atomic};
use crate::report::folder::RunFolder;
use clap::Args;
use std::error::Error;
use std::path::{Path, PathBuf};

/// Make the report of a finished run again, or compare several runs in one page.
///
/// With one folder, its report.html is made again from the files beside it, with the observables of `weylflow
/// measure` if there are any. With several, a comparison is written: a table, convergence over iterations and
/// over time, deviation from the exact energy, parameters against error.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weylflow report out/helium_triplet
  weylflow report out/helium_triplet out/helium_triplet_weyl --out comparison.html")]
pub struct Report {
    /// Output folders of finished runs.
    #[arg(value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,
    /// The file to write [default: report.html in the folder of a single run].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the comparison if it exists.
    #[arg(long)]
    overwrite: bool,
}

impl Report {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// A folder that holds no finished run, or a file that cannot be written.
    pub fn run(&self) -> Result<(), Box<dyn Error>> {
        let runs: Vec<RunFolder> =
            self.folders.iter().map(|f| RunFolder::read(f)).collect::<Result<_, _>>()?;
        let (path, page) = match (&runs[..], &self.out) {
            ([run], None) => (self.folders[0].join(names::REPORT), run.render()),
            (_, None) => {
                return Err("several runs have no folder in common: name a file with --out".into());
            }
            ([run], Some(out)) => {
                super::create_new(out, self.overwrite)?;
                (out.clone(), run.render())
            }
            (runs, Some(out)) => {
                super::create_new(out, self.overwrite)?;
                (out.clone(), crate::report::compare::render(runs))
            }
        };
        write_atomic(&path, page.as_bytes())?;
        super::print(&format!("report: {}\n", path.display()))?;
        Ok(())
    }
}

/// Makes the report of a folder again; `None` where the folder is not that of a finished run.
pub(super) fn remake(folder: &Path) -> Result<Option<PathBuf>, Box<dyn Error>> {
    if !folder.join(names::SUMMARY).is_file() {
        return Ok(None);
    }
    let path = folder.join(names::REPORT);
    write_atomic(&path, RunFolder::read(folder)?.render().as_bytes())?;
    Ok(Some(path))
}
