//! The folder of a finished run, read back.

use super::csv::read_energy;
use super::density::read_density;
use super::files::{names, read_text};
use super::html::{ReportInput, render};
use super::links::Links;
use super::observables::{Observables, read_observables};
use super::provenance::Provenance;
use super::record::{DensityProfile, IterationRow, Summary};
use super::reference_density;
use super::summary::read_summary;
use crate::exact::Density;
use crate::spec::{ResolvedSpec, read::parse};
use std::error::Error;
use std::path::{Path, PathBuf};

/// Everything a run left that a report shows.
#[derive(Clone, Debug)]
pub struct RunFolder {
    /// The folder.
    pub path: PathBuf,
    /// Its name, or the whole path where several runs to compare have the same.
    pub name: String,
    /// The resolved spec and its text.
    pub spec: (ResolvedSpec, String),
    /// The result.
    pub summary: Summary,
    /// The iterations.
    pub rows: Vec<IterationRow>,
    /// One-body density.
    pub density: DensityProfile,
    /// That of the exact ground state, where it was computed.
    pub reference_density: Option<Density>,
    /// Date, command and host.
    pub provenance: Option<Provenance>,
    /// What `weylflow measure` found, if it ran.
    pub observables: Option<Observables>,
}

impl RunFolder {
    /// Reads a folder.
    ///
    /// # Errors
    /// A file that is missing or malformed, by its name.
    pub fn read(folder: &Path) -> Result<Self, Box<dyn Error>> {
        if !folder.join(names::SUMMARY).is_file() {
            return Err(format!(
                "`{}` holds no file `{}`: it is not the output folder of a finished `weylflow run`",
                folder.display(),
                names::SUMMARY
            )
            .into());
        }
        let path = folder.join(names::SPEC);
        let text = read_text(&path)?;
        let spec = parse(&text, &path)?;
        let observables = folder.join(names::OBSERVABLES);
        let name = folder.canonicalize().ok();
        let name = name.as_deref().unwrap_or(folder).file_name().unwrap_or(folder.as_os_str());
        Ok(RunFolder {
            path: folder.to_owned(),
            name: name.to_string_lossy().into_owned(),
            spec: (spec, text),
            summary: read_summary(&folder.join(names::SUMMARY))?,
            rows: read_energy(&folder.join(names::ENERGY))?,
            density: read_density(&folder.join(names::DENSITY))?,
            reference_density: reference_density::read(folder)?,
            provenance: Provenance::read(folder)?,
            observables: observables
                .is_file()
                .then(|| read_observables(&observables))
                .transpose()?,
        })
    }

    /// The report of the run, for its own folder.
    pub fn render(&self) -> String {
        self.render_with(&Links::beside(&self.path))
    }

    /// The report of the run for a page anywhere.
    pub fn render_for(&self, page: &Path) -> String {
        self.render_with(&Links::from_page(page, &self.path))
    }

    fn render_with(&self, links: &Links) -> String {
        let spec = &self.spec.0;
        render(&ReportInput {
            summary: &self.summary,
            rows: &self.rows,
            density: &self.density,
            hamiltonian: &spec.hamiltonian,
            geometry: &spec.geometry,
            sector: &spec.sector,
            optimiser: &spec.optimiser,
            spec_text: &self.spec.1,
            observables: self.observables.as_ref(),
            reference_density: self.reference_density.as_ref(),
            provenance: self.provenance.as_ref(),
            links,
        })
    }
}
