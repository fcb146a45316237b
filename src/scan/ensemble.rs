//! Scans of several states, or of a temperature: curves of levels and of free energies.

use super::{AtPoints, Failure, InScanFolder, Point, PointResult, Scan, ScanError};
use crate::run::{EnsembleEnded, EnsembleRun, Event, InFolder, Observer};
use crate::spec::ResolvedSpec;
use crate::store::ensemble::EnsembleSummary;
use crate::store::files::names;
use crate::store::saved::SavedWavefunction;
use crate::store::summary::read_ensemble_summary;
use std::path::Path;

impl Scan {
    /// As [`Scan::in_folder`], for specs of several states or of a temperature.
    ///
    /// # Errors
    /// [`ScanError`].
    pub fn ensembles_in_folder(
        &self,
        asked: &InScanFolder,
        change: &dyn Fn(&mut ResolvedSpec),
        observer: &mut dyn Observer,
    ) -> Result<Vec<PointResult<EnsembleSummary>>, ScanError> {
        if self.training.is_some() {
            return Err(ScanError::GroundStates);
        }
        let same = self.begin(asked)?;
        let mut work = Ensembles { scan: self, place: &asked.place, change };
        self.each(asked, same, &mut work, observer)
    }
}

/// Several states, or a temperature.
struct Ensembles<'a> {
    scan: &'a Scan,
    place: &'a InFolder,
    change: &'a dyn Fn(&mut ResolvedSpec),
}

impl AtPoints<EnsembleSummary> for Ensembles<'_> {
    fn run(
        &mut self,
        point: &Point,
        folder: &Path,
        before: Option<(usize, SavedWavefunction)>,
        observer: &mut dyn Observer,
    ) -> Result<EnsembleSummary, Failure> {
        let mut spec = self.scan.spec_at(point)?;
        (self.change)(&mut spec);
        let mut run = EnsembleRun::new(spec)?;
        if let Some((from, state)) = before
            && run.start_from(&state)
        {
            let from =
                format!("with the state of point {} as a start, where it is better", from + 1);
            observer.hear(Event::Message(&from));
        }
        let place = InFolder { folder: folder.to_owned(), ..self.place.clone() };
        Ok(match run.in_folder(&place, observer)? {
            EnsembleEnded::Now(outcome) => outcome.summary,
            EnsembleEnded::Before(summary, _) => *summary,
        })
    }

    fn done(&self, _: &Point, folder: &Path) -> Result<EnsembleSummary, String> {
        read_ensemble_summary(&folder.join(names::SUMMARY)).map_err(|e| e.to_string())
    }
}
