//! The folder of a finished run, read back.

use super::checkpoint::Checkpoint;
use super::density::read_density;
use super::energy::read_energy;
use super::ensemble::{Densities, EnsembleSummary};
use super::files::{FileError, names, read_text};
use super::observables::{Observables, read_observables};
use super::projection::{ProjectionRecord, read_projection};
use super::provenance::Provenance;
use super::record::{DensityProfile, IterationRow, Summary};
use super::replace;
use super::saved::SavedWavefunction;
use super::summary::{read_ensemble_summary, read_summary};
use super::{reference_density, reference_pairs};
use crate::exact::{Density, PairDensity};
use crate::spec::{ResolvedSpec, read::parse};
use std::error::Error;
use std::fs;
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
    /// Its pair density, where the solver gave one.
    pub reference_pairs: Option<PairDensity>,
    /// Date, command and host.
    pub provenance: Option<Provenance>,
    /// What `weylflow measure` found of this state, if it ran.
    pub observables: Option<Observables>,
    /// What `weylflow project` found of this state, if it ran.
    pub projection: Option<ProjectionRecord>,
    /// What does not belong together, or not to this state.
    pub notices: Vec<String>,
    /// Whether the last of them is about observables.
    pub(crate) about_observables: bool,
}

/// The resolved spec of a finished run, and its text.
fn spec_of_finished(folder: &Path) -> Result<(ResolvedSpec, String), Box<dyn Error>> {
    replace::settle_to_read(folder)?;
    if !is_there(&folder.join(names::SUMMARY)) {
        return Err(not_finished(folder, names::SUMMARY).into());
    }
    let path = folder.join(names::SPEC);
    let text = read_text(&path)?;
    Ok((parse(&text, &path)?, text))
}

impl RunFolder {
    /// Reads a folder.
    ///
    /// # Errors
    /// A file that is missing or malformed, by its name.
    pub fn read(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let (spec, text) = spec_of_finished(folder)?;
        let name = folder.canonicalize().ok();
        let name = name.as_deref().unwrap_or(folder).file_name().unwrap_or(folder.as_os_str());
        let summary = read_summary(&folder.join(names::SUMMARY))?;
        let rows = read_energy(&folder.join(names::ENERGY))?;
        let mut notices = inconsistencies(folder, &summary, rows.len());
        let (observables, notice) = fitting_observables(folder, summary.fingerprint.as_deref())?;
        let (projection, stale) = fitting_projection(folder, summary.fingerprint.as_deref())?;
        notices.extend(stale);
        let about_observables = notice.is_some();
        notices.extend(notice);
        Ok(RunFolder {
            path: folder.to_owned(),
            name: name.to_string_lossy().into_owned(),
            spec: (spec, text),
            density: read_density(&folder.join(names::DENSITY))?,
            reference_density: reference_density::read(folder)?,
            reference_pairs: reference_pairs::read(folder)?,
            provenance: Provenance::read(folder)?,
            summary,
            rows,
            observables,
            projection,
            notices,
            about_observables,
        })
    }

    /// Shows these observables, which are of this state, in place of what is in the folder.
    pub fn show_observables(&mut self, observables: Observables) {
        // Their notices are the last, and there is one at most.
        if self.observables.is_none() && self.about_observables {
            self.notices.pop();
            self.about_observables = false;
        }
        self.observables = Some(observables);
    }

    /// Shows this projection, which is of this state.
    pub fn show_projection(&mut self, projection: ProjectionRecord) {
        self.notices.retain(|notice| *notice != stale_projection());
        self.projection = Some(projection);
    }
}

/// What a run of several states or of a temperature left.
#[derive(Clone, Debug)]
pub struct EnsembleFolder {
    /// The resolved spec and its text.
    pub spec: (ResolvedSpec, String),
    /// The result.
    pub summary: EnsembleSummary,
    /// The iterations.
    pub rows: Vec<IterationRow>,
    /// One-body densities.
    pub densities: Densities,
}

/// The folder of any finished run.
#[derive(Clone, Debug)]
pub enum FinishedRun {
    /// Of a ground state.
    One(Box<RunFolder>),
    /// Of several states or of a temperature.
    Several(Box<EnsembleFolder>),
}

impl FinishedRun {
    /// Reads a folder, whatever its run was of.
    ///
    /// # Errors
    /// A file that is missing or malformed, by its name.
    pub fn read(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let (spec, text) = spec_of_finished(folder)?;
        if !spec.is_of_several() {
            return Ok(FinishedRun::One(Box::new(RunFolder::read(folder)?)));
        }
        Ok(FinishedRun::Several(Box::new(EnsembleFolder {
            spec: (spec, text),
            summary: read_ensemble_summary(&folder.join(names::SUMMARY))?,
            rows: read_energy(&folder.join(names::ENERGY))?,
            densities: Densities::read(&folder.join(names::DENSITY))?,
        })))
    }
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Which of a folder's own results do not belong to the same state.
fn inconsistencies(folder: &Path, summary: &Summary, rows: usize) -> Vec<String> {
    let mut notices = Vec::new();
    if rows != summary.iterations {
        notices.push(format!(
            "{} has {rows} iterations and {} tells of {}: they are of different runs.",
            names::ENERGY,
            names::SUMMARY,
            summary.iterations
        ));
    }
    // A folder without the wavefunction, or with one that cannot be read, still has its report.
    let saved = read_text(&folder.join(names::WAVEFUNCTION)).ok();
    let found = saved.and_then(|text| SavedWavefunction::from_json(&text).ok()?.fingerprint().ok());
    if let (Some(found), Some(told)) = (found, &summary.fingerprint)
        && found != *told
    {
        notices.push(format!(
            "The file `{}` is not the one that {} tells of.",
            names::WAVEFUNCTION,
            names::SUMMARY
        ));
    }
    notices
}

/// The observables in a folder if they are of the state with this fingerprint, and otherwise a sentence that says so.
///
/// # Errors
/// A file that is malformed.
pub fn fitting_observables(
    folder: &Path,
    fingerprint: Option<&str>,
) -> Result<(Option<Observables>, Option<String>), FileError> {
    let path = folder.join(names::OBSERVABLES);
    let stale = names::STALE[0].1;
    if !is_there(&path) {
        let notice = is_there(&folder.join(stale)).then(|| {
            format!(
                "What `weylflow measure` found belongs to an earlier state of the wavefunction and is not shown: it was \
                 set aside as {stale}. Measure again."
            )
        });
        return Ok((None, notice));
    }
    let found = read_observables(&path)?;
    if found.fingerprint.as_deref() == fingerprint {
        return Ok((Some(found), None));
    }
    let notice = format!(
        "What `weylflow measure` found ({}) belongs to another state of the wavefunction and is not shown. Measure again.",
        names::OBSERVABLES
    );
    Ok((None, Some(notice)))
}

/// The projection in a folder if it is of the state with this fingerprint, and otherwise a sentence that says so: one of
/// another state says nothing of it.
///
/// # Errors
/// A file that is malformed.
pub fn fitting_projection(
    folder: &Path,
    fingerprint: Option<&str>,
) -> Result<(Option<ProjectionRecord>, Option<String>), FileError> {
    let path = folder.join(names::PROJECTION);
    if !is_there(&path) {
        let stale = is_there(&folder.join(names::STALE_PROJECTION[0].1));
        return Ok((None, stale.then(stale_projection)));
    }
    let found = read_projection(&path)?;
    if Some(&*found.fingerprint) == fingerprint {
        return Ok((Some(found), None));
    }
    Ok((None, Some(stale_projection())))
}

/// What a report says of a projection of another state.
pub fn stale_projection() -> String {
    format!(
        "What `weylflow project` found belongs to an earlier state of the wavefunction and is not shown: it was set \
         aside as {}. Project again.",
        names::STALE_PROJECTION[0].1
    )
}

/// Gives observables and projections of another state than that with this fingerprint the names of stale ones. The folder
/// is locked.
///
/// # Errors
/// [`FileError`].
pub fn set_stale_aside(folder: &Path, fingerprint: Option<&str>) -> Result<(), FileError> {
    let rename = |pairs: &[(&str, &str)]| {
        // The one that says what they are goes last.
        for (from, to) in pairs.iter().rev() {
            let (from, to) = (folder.join(from), folder.join(to));
            if is_there(&from) {
                fs::rename(&from, &to).map_err(FileError::io("write", &to))?;
            }
        }
        Ok::<_, FileError>(())
    };
    if is_there(&folder.join(names::OBSERVABLES))
        && fitting_observables(folder, fingerprint)?.0.is_none()
    {
        rename(&names::STALE)?;
    }
    if is_there(&folder.join(names::PROJECTION))
        && fitting_projection(folder, fingerprint)?.0.is_none()
    {
        rename(&names::STALE_PROJECTION)?;
    }
    Ok(())
}

/// A folder that is none of a finished run, with what is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NotFinished {
    why: String,
    /// The folder of a run that has not ended, if it is one, and of its checkpoint, if there is any, the iterations done and asked for.
    pub goes_on: Option<(PathBuf, Option<(usize, usize)>)>,
}

/// Why a folder without this file is none of a finished run.
pub fn not_finished(folder: &Path, missing: &str) -> NotFinished {
    let shown = folder.display();
    let never = |why: String| NotFinished { why, goes_on: None };
    if !folder.is_dir() {
        let what = if is_there(folder) { "not a folder" } else { "no such folder" };
        return never(format!(
            "`{shown}`: {what}, and so not the output folder of a finished `weylflow run`"
        ));
    }
    let mut why = format!("`{shown}` holds no file `{missing}`");
    if missing == names::WAVEFUNCTION && is_there(&folder.join(names::SUMMARY)) {
        return never(
            why + ", without which there is nothing to go on with; runs of several states or of a temperature leave none",
        );
    }
    let here: Vec<&str> = names::ALL.into_iter().filter(|n| is_there(&folder.join(n))).collect();
    let unfinished = replace::unfinished(folder);
    if here.is_empty() && unfinished.is_none() {
        return never(why + ": it is not the output folder of a finished `weylflow run`");
    }
    why += ": it is not the output folder of a finished `weylflow run`, but of one that was interrupted, or is at work";
    let of = unfinished.as_deref().unwrap_or(folder);
    let saved = [names::CHECKPOINT, names::CHECKPOINT_PREVIOUS].map(|name| of.join(name));
    let after = saved.iter().find_map(|path| Checkpoint::read(path).ok());
    if !here.is_empty() {
        why += &format!("\n  there are {}", here.join(", "));
    }
    let after = after.map(|c| (c.training.iteration, c.spec.iterations));
    NotFinished { why, goes_on: Some((folder.to_owned(), after)) }
}

/// A sentence about a run that has gone on from the results in a folder and has not ended.
pub fn run_beyond(folder: &Path) -> Option<String> {
    let place = replace::unfinished(folder);
    let checkpoint = |of: &Path| Checkpoint::read(&of.join(names::CHECKPOINT)).ok();
    let of = place.as_deref().unwrap_or(folder);
    let checkpoint = checkpoint(of).filter(|c| place.is_some() || !c.finished)?;
    let what = if place.is_some() { "to replace these results" } else { "beyond these results" };
    Some(format!(
        "a run {what} has come to {} of {} iterations",
        checkpoint.training.iteration, checkpoint.spec.iterations
    ))
}
