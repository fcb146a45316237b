//! Where a run goes on.

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::report::files::names;
use crate::spec::ResolvedSpec;
use crate::spec::differences::differences;
use std::error::Error;
use std::path::Path;

/// The checkpoint that a run of `spec` in `folder` goes on from, with the spec in it; none where there is none yet.
pub(super) fn point(
    folder: &Path,
    spec: &ResolvedSpec,
    previous: bool,
) -> Result<Option<Checkpoint>, Box<dyn Error>> {
    let before = folder.join(names::CHECKPOINT_PREVIOUS);
    let last = folder.join(names::CHECKPOINT);
    let path = if previous || !last.exists() && before.exists() { &before } else { &last };
    if !path.exists() {
        if previous || folder.join(names::SUMMARY).exists() {
            let path = path.display();
            return Err(format!("there is no checkpoint `{path}` to go on from").into());
        }
        return Ok(None);
    }
    let mut checkpoint = Checkpoint::read(path).map_err(|error| offer(error, previous, &before))?;
    let changed = differences(&checkpoint.spec, spec);
    let fixed: Vec<&str> = changed.iter().filter(|d| !d.may_change).map(|d| d.field).collect();
    if !fixed.is_empty() {
        return Err(format!(
            "the run in `{}` cannot go on with another {}: what has been computed depends on it\n  iterations, stopping, \
             faults, final_samples, scramblings, reference, title, and the number of threads may change",
            folder.display(),
            fixed.join(", ")
        )
        .into());
    }
    let done = checkpoint.training.iteration;
    if spec.iterations < done {
        let asked = spec.iterations;
        return Err(
            format!("the run has done {done} iterations, more than the {asked} asked for").into()
        );
    }
    if !changed.is_empty() {
        checkpoint.finished = false;
    }
    if changed.iter().any(|d| ["iterations", "stopping"].contains(&d.field)) {
        checkpoint.training.unsettle();
    }
    checkpoint.spec = spec.clone();
    Ok(Some(checkpoint))
}

/// Adds to an error what the checkpoint before could do.
fn offer(error: CheckpointError, previous: bool, before: &Path) -> Box<dyn Error> {
    match Checkpoint::read(before) {
        Ok(good) if !previous => format!(
            "{error}\n  the one before it, after {} iterations, is intact: --resume --previous goes on from it",
            good.training.iteration
        )
        .into(),
        _ => error.into(),
    }
}
