//! Where a run goes on.

use super::RunError;
use super::folder::Place;
use crate::spec::ResolvedSpec;
use crate::spec::differences::differences;
use crate::spec::read::parse;
use crate::store::checkpoint::{Checkpoint, CheckpointError};
use crate::store::files::{names, read_text};
use crate::store::replace;
use std::path::Path;

/// Where a run of `spec` goes on: where one began that is to replace the results in `folder` and is of that spec, or in
/// `folder` itself.
pub(super) fn place(folder: &Path, spec: &ResolvedSpec) -> Place {
    if let Some(new) = replace::unfinished(folder) {
        let path = new.join(names::SPEC);
        let begun = read_text(&path).ok().and_then(|text| parse(&text, &path).ok());
        let fits = |begun: &ResolvedSpec| differences(begun, spec).iter().all(|d| d.may_change);
        if begun.as_ref().is_some_and(fits) {
            return Place { folder: new, replaces: true };
        }
    }
    Place { folder: folder.to_owned(), replaces: false }
}

/// The checkpoint that a run of `spec` goes on from in its place, with the spec in it; none where there is none yet.
pub(super) fn point(
    place: &Place,
    spec: &ResolvedSpec,
    previous: bool,
) -> Result<Option<Checkpoint>, RunError> {
    let folder = place.folder.as_path();
    let before = folder.join(names::CHECKPOINT_PREVIOUS);
    let last = folder.join(names::CHECKPOINT);
    // Not whether something can be opened: what is there and cannot be read must not be passed over.
    let is_there = |path: &Path| std::fs::symlink_metadata(path).is_ok();
    let path = if previous || !is_there(&last) && is_there(&before) { &before } else { &last };
    if !is_there(path) {
        if previous || is_there(&folder.join(names::SUMMARY)) && !place.replaces {
            let path = path.display();
            return Err(RunError::Resume(format!("there is no checkpoint `{path}` to go on from")));
        }
        return Ok(None);
    }
    let mut checkpoint = Checkpoint::read(path).map_err(|error| offer(error, previous, &before))?;
    let changed = differences(&checkpoint.spec, spec);
    let fixed: Vec<&str> = changed.iter().filter(|d| !d.may_change).map(|d| d.field).collect();
    if !fixed.is_empty() {
        return Err(RunError::Resume(format!(
            "the run in `{}` cannot go on with another {}: what has been computed depends on it\n  iterations, stopping, \
             faults, final_samples, scramblings, reference, project, titles, and the number of threads may change",
            folder.display(),
            fixed.join(", ")
        )));
    }
    let longer = changed.iter().any(|d| ["iterations", "stopping"].contains(&d.field));
    if longer && !checkpoint.done.is_empty() {
        return Err(RunError::Resume(
            "a sweep of temperatures cannot go on with other `iterations` or another `stopping` once one of them is trained: \
             each starts from the one before"
                .to_owned(),
        ));
    }
    let done = checkpoint.training.iteration;
    if spec.iterations < done {
        let asked = spec.iterations;
        return Err(RunError::Resume(format!(
            "the run has done {done} iterations, more than the {asked} asked for"
        )));
    }
    // Results that are not in place, or not all of them, are made again.
    let made = RESULTS.iter().all(|name| is_there(&folder.join(name)));
    if !changed.is_empty() || place.replaces || !made {
        checkpoint.finished = false;
    }
    if longer {
        checkpoint.training.unsettle();
    }
    checkpoint.spec = spec.clone();
    Ok(Some(checkpoint))
}

/// What a finished run has written.
const RESULTS: [&str; 6] = [
    names::SPEC,
    names::ENERGY,
    names::SUMMARY,
    names::DENSITY,
    names::REPORT,
    names::WAVEFUNCTION,
];

/// An error with what the checkpoint before has.
fn offer(error: CheckpointError, previous: bool, before: &Path) -> RunError {
    let intact = if previous { None } else { Checkpoint::read(before).ok() };
    RunError::Checkpoint { error, before: intact.map(|good| good.iterations()) }
}
