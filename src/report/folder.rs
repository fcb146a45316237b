//! The report of a folder.

use super::html::{ReportInput, render};
use super::links::Links;
use crate::store::folder::RunFolder;
use std::path::Path;

impl RunFolder {
    /// The report of the run, for its own folder.
    pub fn render(&self) -> String {
        self.render_with(&Links::beside(&self.path))
    }

    /// The report of the run for a page anywhere.
    pub fn render_for(&self, page: &Path) -> String {
        self.render_with(&Links::from_page(page, &self.path))
    }

    /// The report of the run with these links.
    pub fn render_with(&self, links: &Links) -> String {
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
            projection: self.projection.as_ref(),
            notices: &self.notices,
            reference_density: self.reference_density.as_ref(),
            reference_pairs: self.reference_pairs.as_ref(),
            provenance: self.provenance.as_ref(),
            links,
        })
    }
}
