//! `weylflow report`: makes the report of a run again, or one that compares several runs.

use super::guard::{self, Format};
use crate::report::compare;
use crate::store::files::{names, write_atomic};
use crate::store::folder::{
    RunFolder, fitting_observables, fitting_projection, run_beyond, set_stale_aside,
};
use crate::store::lock::FolderLock;
use crate::store::replace;
use crate::store::summary::read_summary;
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
        if let Some(out) = &self.out {
            guard::named_as(out, Format::Html)?;
            let read = |folder: &PathBuf| super::files_in(folder);
            let inputs: Vec<PathBuf> = self.folders.iter().flat_map(read).collect();
            // A report is made again, not read.
            let is_report = |path: &Path| path.file_name() == Some(names::REPORT.as_ref());
            let mut written = vec![out.clone()];
            if self.folders.len() > 1 {
                written.push(out.with_extension("csv"));
            }
            guard::not_over_inputs(&inputs, &written, is_report)?;
        }
        // Each is read once its stale observables have got their other names: the page then says so.
        if let ([folder], None) = (&self.folders[..], &self.out) {
            set_stale_aside_in(folder)?;
        }
        let mut runs: Vec<RunFolder> =
            self.folders.iter().map(|f| RunFolder::read(f)).collect::<Result<_, _>>()?;
        for (run, folder) in runs.iter().zip(&self.folders) {
            super::warn_of_refusal(folder, &run.summary);
            let beyond = run_beyond(folder).map(|sentence| {
                sentence + "; the same command with --resume instead of --overwrite ends it"
            });
            for notice in run.notices.iter().cloned().chain(beyond) {
                super::note(&format!("note: `{}`: {notice}", folder.display()));
            }
        }
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

/// Gives observables and projections of another state than the folder's the names of stale ones, unless a run is at work there.
fn set_stale_aside_in(folder: &Path) -> Result<(), Box<dyn Error>> {
    let path = folder.join(names::SUMMARY);
    let found = [names::OBSERVABLES, names::PROJECTION].map(|name| folder.join(name).is_file());
    if !path.is_file() || found == [false, false] {
        return Ok(());
    }
    replace::settle_to_read(folder)?;
    let fingerprint = read_summary(&path)?.fingerprint;
    let fingerprint = fingerprint.as_deref();
    let stale = found[0] && fitting_observables(folder, fingerprint)?.0.is_none()
        || found[1] && fitting_projection(folder, fingerprint)?.0.is_none();
    if stale {
        let _lock = FolderLock::take(folder)?;
        set_stale_aside(folder, fingerprint)?;
    }
    Ok(())
}
