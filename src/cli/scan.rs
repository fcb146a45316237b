//! `weylflow run` of a spec with a scan: a run at every value, and the curve.

use super::Exit;
use super::guard;
use super::hint::hinted;
use super::run::{REFUSED, Run};
use super::terminal::Terminal;
use crate::run::{Event, InFolder, Observer};
use crate::scan::replace;
use crate::scan::{InScanFolder, Scan, ScanError, Whole, Worst};
use crate::spec::{ResolvedSpec, read};
use crate::store::files::FileError;
use crate::store::scan::files;
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
    spec: &ResolvedSpec,
    place: InFolder,
) -> Result<(), Box<dyn Error>> {
    let folder = place.folder.clone();
    let inputs = read::files(asked.spec())?;
    guard::not_over_inputs(&inputs, &scan.written_into(&folder), |_| false)?;
    let mut terminal = Terminal::new(asked.is_quiet())?;
    let place = InScanFolder { place, only: asked.only() };
    let change = |spec: &mut ResolvedSpec| asked.change(spec);
    let at = scan.at(&place).map_err(|error| explained(error.into(), &terminal, &folder))?;
    let made = scan.complete(spec, &place, &at, &change, &mut terminal).map_err(|error| {
        let error = explained(error, &terminal, &folder);
        if !(at.replaces && replace::is_unfinished(&folder)) {
            return error;
        }
        let code = error.downcast_ref::<Exit>().map_or(1, |exit| exit.code);
        let error = hinted(error.as_ref());
        let message = format!(
            "{error}\n  the earlier scan is untouched; the same command with --resume instead of --overwrite ends the one that was to \
             replace it"
        );
        Box::new(Exit { code, message })
    })?;
    terminal.hear(Event::Trained);
    if !asked.is_quiet() {
        super::print(&format!(
            "{}table: {}\nreport: {}\n",
            made.lines,
            folder.join(files::CURVE).display(),
            folder.join(files::REPORT).display()
        ))?;
    }
    if asked.opens()
        && let Err(error) = open::that_detached(folder.join(files::REPORT))
    {
        super::note(&format!("no browser shows the report: {error}"));
    }
    verdict(&made, &folder)
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
            let message = format!("{error}: the same command with --resume goes on from there");
            Box::new(Exit { code: terminal.exit_code(), message })
        }
        ScanError::File(error @ FileError::NotEmpty { .. }) => format!(
            "{error}\n  choose another with --out, go on with its scan by --resume, or replace its results with --overwrite"
        )
        .into(),
        error => error.into(),
    }
}

/// The worst of the points is the exit code.
fn verdict(made: &Whole, folder: &Path) -> Result<(), Box<dyn Error>> {
    let (code, word) = match made.worst {
        Worst::Good => return Ok(()),
        Worst::Doubtful => (Exit::DOUBTFUL, "doubtful"),
        Worst::Refused => (REFUSED, "refused"),
        Worst::Failed => (1, "failed"),
    };
    let message = format!(
        "{} of {} points {word}: {}\n  the report in `{}` says why",
        made.which.len(),
        made.points,
        made.which.join("; "),
        folder.display()
    );
    Err(Box::new(Exit { code, message }))
}
