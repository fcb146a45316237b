//! A scan from its points to its table and its page.

use super::replace::{self, At};
use super::{
    Conditional, InScanFolder, Judged, Measured, PointResult, Scan, ScanError, Worst, files, worst,
};
use crate::report::number::format_with_uncertainty;
use crate::report::{curve, levels};
use crate::run::{Observer, is_of_several};
use crate::spec::ResolvedSpec;
use crate::store::density::read_density;
use crate::store::ensemble::EnsembleSummary;
use crate::store::files::{names, write_atomic};

/// What came of all points.
pub struct Whole {
    /// The table, in CSV.
    pub table: String,
    /// The page about it.
    page: String,
    /// A line or more about each point.
    pub lines: String,
    /// The first line of what the first point failed with, where none has a result.
    failed: Option<String>,
    /// The worst of the points.
    pub worst: Worst,
    /// Which points that are.
    pub which: Vec<String>,
    /// How many points there are.
    pub points: usize,
}

impl Whole {
    fn of<M: Judged>(
        results: &[PointResult<M>],
        (table, page): (String, String),
        line: &dyn Fn(&M) -> String,
    ) -> Self {
        let worst_of_all = worst(results);
        let is = |r: &&PointResult<M>| worst(std::slice::from_ref(*r)) == worst_of_all;
        let mut lines = String::new();
        for result in results {
            let line = match &result.result {
                Ok(measured) => line(measured),
                Err(why) => format!("failed: {}", why.lines().next().unwrap_or_default()),
            };
            lines += &format!("{}: {line}\n", result.point.words());
        }
        let why = results.first().and_then(|r| r.result.as_ref().err());
        let why = why.and_then(|why| why.lines().next()).unwrap_or_default().to_owned();
        Whole {
            table,
            page,
            lines,
            failed: results.iter().all(|r| r.result.is_err()).then_some(why),
            worst: worst_of_all,
            which: results.iter().filter(is).map(|r| r.point.words()).collect(),
            points: results.len(),
        }
    }
}

impl Scan {
    /// Does the points, of a ground state or of what else `spec` (the spec with the scanned parameters as they stand) asks for, and writes `curve.csv` and
    /// `report.html` beside their folders. `at` is what [`Scan::at`] says of the place.
    ///
    /// # Errors
    /// [`ScanError`]: a folder that cannot be used, an observer that ends the scan, no results where others were to be replaced.
    pub fn complete(
        &self,
        spec: &ResolvedSpec,
        asked: &InScanFolder,
        at: &At,
        change: &dyn Fn(&mut ResolvedSpec),
        observer: &mut dyn Observer,
    ) -> Result<Whole, ScanError> {
        let mut place = asked.clone();
        place.place.folder.clone_from(&at.folder);
        let whole = match is_of_several(spec) {
            false => ground_states(self, &place, &spec.title, change, observer),
            true => ensembles(self, &place, &spec.title, change, observer),
        }?;
        if let Some(why) = whole.failed.as_ref().filter(|_| at.replaces) {
            replace::discard(&at.folder)?;
            return Err(ScanError::NoneSucceeded {
                why: why.clone(),
                folder: asked.place.folder.clone(),
            });
        }
        write_atomic(&at.folder.join(files::CURVE), whole.table.as_bytes())?;
        write_atomic(&at.folder.join(files::REPORT), whole.page.as_bytes())?;
        if at.replaces {
            replace::put_in_place(&asked.place.folder)?;
        }
        Ok(whole)
    }
}

fn ground_states(
    scan: &Scan,
    place: &InScanFolder,
    title: &str,
    change: &dyn Fn(&mut ResolvedSpec),
    observer: &mut dyn Observer,
) -> Result<Whole, ScanError> {
    let results = scan.in_folder(place, change, observer)?;
    let parameters = scan.parameters();
    let density = |r: &PointResult| {
        r.measured()?;
        read_density(&r.folder.join(names::DENSITY)).ok()
    };
    let densities: Vec<_> = results.iter().map(density).collect();
    let conditional = Conditional::read(&place.place.folder)?.map(|c| c.words());
    let page = curve::render(title, &results, &parameters, &densities, conditional.as_deref());
    Ok(Whole::of(&results, (curve::to_csv(&results, &parameters), page), &|measured: &Measured| {
        let summary = &measured.summary;
        let off = summary.reference.as_ref();
        let off = off.map(|r| format!(", deviation {:+.1e} Ha", r.deviation));
        let energy = format_with_uncertainty(summary.total_energy, summary.standard_error);
        format!("E = {energy} Ha{}", off.unwrap_or_default())
    }))
}

fn ensembles(
    scan: &Scan,
    place: &InScanFolder,
    title: &str,
    change: &dyn Fn(&mut ResolvedSpec),
    observer: &mut dyn Observer,
) -> Result<Whole, ScanError> {
    let results = scan.ensembles_in_folder(place, change, observer)?;
    let parameters = scan.parameters();
    let both =
        (levels::to_csv(&results, &parameters), levels::render(title, &results, &parameters));
    Ok(Whole::of(&results, both, &|summary: &EnsembleSummary| {
        format!("\n  {}", summary.lines().trim_end().replace('\n', "\n  "))
    }))
}
