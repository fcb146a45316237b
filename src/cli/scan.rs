//! `weylflow run` of a spec with a scan: a run at every value, and the curve.

use super::Exit;
use super::guard;
use super::run::{REFUSED, Run};
use super::terminal::Terminal;
use crate::report::curve;
use crate::run::{Event, InFolder, Observer};
use crate::scan::replace::{self, At};
use crate::scan::{Conditional, InScanFolder, Scan, ScanError, Worst, worst};
use crate::spec::{ResolvedSpec, read};
use crate::store::density::read_density;
use crate::store::files::{FileError, names, write_atomic};
use crate::store::scan::{PointResult, files};
use std::error::Error;
use std::ops::RangeInclusive;
use std::path::Path;

/// `3` or `3..5`, from 1 and with both ends, for clap.
pub(super) fn range(text: &str) -> Result<RangeInclusive<usize>, String> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let number = |text: &str| text.trim_start_matches('=').trim().parse::<usize>().ok();
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > 0 && first <= last => Ok(first..=last),
        _ => Err("expected a point or a range of them from 1 on, as in 3..5".into()),
    }
}

/// Does the points and writes curve.csv and report.html beside their folders.
///
/// # Errors
/// A spec that is not valid, a folder that cannot be used, a signal; points that failed or are not good.
pub(super) fn run(
    asked: &Run,
    scan: &Scan,
    title: &str,
    place: InFolder,
) -> Result<(), Box<dyn Error>> {
    let folder = place.folder.clone();
    let inputs = read::files(asked.spec())?;
    guard::not_over_inputs(&inputs, &scan.written_into(&folder), |_| false)?;
    let mut terminal = Terminal::new(asked.is_quiet())?;
    let mut place = InScanFolder { place, only: asked.only() };
    let change = |spec: &mut ResolvedSpec| asked.change(spec);
    let At { folder: at, replaces } =
        scan.at(&place).map_err(|error| explained(error.into(), &terminal, &folder))?;
    place.place.folder.clone_from(&at);
    let results = scan.in_folder(&place, &change, &mut terminal).map_err(|error| {
        let error = explained(error, &terminal, &folder);
        match replace::unfinished(&folder).filter(|_| replaces) {
            Some(sentence) => {
                let code = error.downcast_ref::<Exit>().map_or(1, |exit| exit.code);
                Box::new(Exit { code, message: format!("{error}\n  {sentence}") })
            }
            None => error,
        }
    })?;
    if replaces && results.iter().all(|r| r.result.is_err()) {
        replace::discard(&at)?;
        let why = results.first().and_then(|r| r.result.as_ref().err());
        let why = why.and_then(|why| why.lines().next()).unwrap_or_default();
        return Err(format!(
            "all points failed, the first because\n  {why}\n  the earlier scan in `{}` is untouched",
            folder.display()
        )
        .into());
    }
    let parameters = scan.parameters();
    write_atomic(&at.join(files::CURVE), curve::to_csv(&results, &parameters).as_bytes())?;
    let density = |r: &PointResult| {
        r.measured()?;
        read_density(&r.folder.join(names::DENSITY)).ok()
    };
    let densities: Vec<_> = results.iter().map(density).collect();
    let conditional = Conditional::read(&at)?.map(|c| c.words());
    let page = curve::render(title, &results, &parameters, &densities, conditional.as_deref());
    write_atomic(&at.join(files::REPORT), page.as_bytes())?;
    if replaces {
        replace::put_in_place(&folder)?;
    }
    terminal.hear(Event::Trained);
    if !asked.is_quiet() {
        super::print(&closing(&results, &folder))?;
    }
    if asked.opens()
        && let Err(error) = open::that_detached(folder.join(files::REPORT))
    {
        super::note(&format!("no browser shows the report: {error}"));
    }
    verdict(&results, &folder)
}

fn explained(error: ScanError, terminal: &Terminal, folder: &Path) -> Box<dyn Error> {
    match error {
        ScanError::Interrupted { number, error } => {
            let inner = terminal.explained(*error, folder);
            let code = inner.downcast_ref::<Exit>().map_or(1, |exit| exit.code);
            let message = format!(
                "interrupted at point {number}; the same command with --resume goes on from there"
            );
            Box::new(Exit { code, message })
        }
        ScanError::InterruptedTraining => {
            let message = error.to_string();
            Box::new(Exit { code: terminal.exit_code(), message })
        }
        ScanError::File(error @ FileError::NotEmpty { .. }) => format!(
            "{error}\n  choose another with --out, go on with its scan by --resume, or replace its results with --overwrite"
        )
        .into(),
        error => error.into(),
    }
}

fn closing(results: &[PointResult], folder: &Path) -> String {
    let mut text = String::new();
    for result in results {
        let line = match &result.result {
            Ok(measured) => {
                let summary = &measured.summary;
                let off = summary
                    .reference
                    .as_ref()
                    .map(|r| format!(", deviation {:+.1e} Ha", r.deviation));
                format!(
                    "E = {} Ha{}",
                    crate::report::number::format_with_uncertainty(
                        summary.total_energy,
                        summary.standard_error
                    ),
                    off.unwrap_or_default()
                )
            }
            Err(why) => format!("failed: {}", why.lines().next().unwrap_or_default()),
        };
        text += &format!("{}: {line}\n", result.point.words());
    }
    text += &format!("table: {}\n", folder.join(files::CURVE).display());
    text += &format!("report: {}\n", folder.join(files::REPORT).display());
    text
}

/// The worst of the points is the exit code.
fn verdict(results: &[PointResult], folder: &Path) -> Result<(), Box<dyn Error>> {
    let (code, word) = match worst(results) {
        Worst::Good => return Ok(()),
        Worst::Doubtful => (Exit::DOUBTFUL, "doubtful"),
        Worst::Refused => (REFUSED, "refused"),
        Worst::Failed => (1, "failed"),
    };
    let is = |r: &&PointResult| worst(std::slice::from_ref(*r)) == worst(results);
    let which: Vec<String> = results.iter().filter(is).map(|r| r.point.words()).collect();
    let message = format!(
        "{} of {} points {word}: {}\n  the report in `{}` says why",
        which.len(),
        results.len(),
        which.join("; "),
        folder.display()
    );
    Err(Box::new(Exit { code, message }))
}
