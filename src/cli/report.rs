//! `weylflow report`: makes the report of a run again, or one that compares several runs.

use crate::report::compare;
use crate::report::files::{names, write_atomic};
use crate::report::folder::RunFolder;
use clap::Args;
use std::error::Error;
use std::path::{Path, PathBuf};

/// Make the report of a finished run again, or compare several runs in one page.
///
/// With one folder, its report.html is made again from the files beside it, with the observables of `weylflow
/// measure` if there are any. With several, a comparison is written: energies, densities in one figure, convergence over
/// iterations and over time, deviation from the exact energy, parameters against error; and the same numbers as a
/// table beside it, in a file of the same name that ends in .csv.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weylflow report out/helium
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
        let mut runs: Vec<RunFolder> =
            self.folders.iter().map(|f| RunFolder::read(f)).collect::<Result<_, _>>()?;
        distinguish(&mut runs);
        let (path, page) = match (&runs[..], &self.out) {
            ([run], None) => (self.folders[0].join(names::REPORT), run.render()),
            (_, None) => {
                return Err("several runs have no folder in common: name a file with --out".into());
            }
            ([run], Some(out)) => {
                super::create_new(out, self.overwrite)?;
                (out.clone(), run.render_for(out))
            }
            (runs, Some(out)) => {
                let table = out.with_extension("csv");
                if table == *out {
                    return Err(format!(
                        "`{}` would be the table of the comparison: name the page, which is HTML",
                        out.display()
                    )
                    .into());
                }
                super::create_new(out, self.overwrite)?;
                super::create_new(&table, self.overwrite)?;
                write_atomic(&table, compare::to_csv(runs).as_bytes())?;
                (out.clone(), compare::render(runs, out, &table))
            }
        };
        write_atomic(&path, page.as_bytes())?;
        super::print(&format!("report: {}\n", path.display()))?;
        Ok(())
    }
}

/// Gives runs whose folders have the same name the paths of these.
fn distinguish(runs: &mut [RunFolder]) {
    let names: Vec<String> = runs.iter().map(|r| r.name.clone()).collect();
    for run in runs {
        if names.iter().filter(|n| **n == run.name).count() > 1 {
            run.name = run.path.display().to_string();
        }
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
