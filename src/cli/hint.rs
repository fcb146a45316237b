//! What helps against errors of the library: the options of the program, of which the library knows nothing.

use crate::run::RunError;
use crate::scan::{ElsewhereError, ScanError};
use crate::spec::error::{Known, Problem, SpecError};
use crate::spec::validate::Violation;
use crate::store::files::FileError;
use crate::store::folder::NotFinished;
use crate::store::projection_state::ProjectionStateError;
use std::error::Error;

/// An error with what helps, for the terminal.
pub fn hinted(error: &(dyn Error + 'static)) -> String {
    match hint(error) {
        Some(hint) => format!("{error}\n  {hint}"),
        None => error.to_string(),
    }
}

/// What helps against an error, or against one that it comes from.
pub fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    // What is shown as if it were its own cause hides it from `source`.
    let inner: &(dyn Error + 'static) = match (
        error.downcast_ref::<RunError>(),
        error.downcast_ref::<ScanError>(),
        error.downcast_ref::<ElsewhereError>(),
    ) {
        (Some(RunError::Processes), ..) => return Some("leave --mpi out".to_owned()),
        (Some(RunError::Spec(e) | RunError::Untrainable(e)), ..) => e,
        (Some(RunError::File(e)), ..) => e,
        (_, Some(ScanError::Other { .. }), _) => {
            return Some("choose another folder with --out, or --overwrite".to_owned());
        }
        (_, Some(ScanError::File(e)), _) => e,
        (_, Some(ScanError::Spec { error, .. }), _) => error,
        (.., Some(ElsewhereError::NoState { .. })) => {
            return Some("`weylflow run` with --resume finishes it".to_owned());
        }
        (.., Some(ElsewhereError::Spec(e))) => e,
        (.., Some(ElsewhereError::Scan(e))) => e,
        (.., Some(ElsewhereError::Read(e))) => e,
        (.., Some(ElsewhereError::Run(e))) => e,
        _ => return of_one(error).or_else(|| error.source().and_then(hint)),
    };
    hint(inner)
}

/// What helps against an error by itself.
fn of_one(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(FileError::OfAnotherKind { .. }) = error.downcast_ref() {
        return Some("choose another with --out".to_owned());
    }
    if let Some(ProjectionStateError::Unusable { .. }) = error.downcast_ref() {
        return Some("project without --resume".to_owned());
    }
    if let Some(NotFinished { goes_on: Some((folder, after)), .. }) = error.downcast_ref() {
        let command = format!("`weylflow run SPEC --out {} --resume` goes on", folder.display());
        return Some(match after {
            Some((done, of)) => {
                format!("{command} from its checkpoint, after {done} of {of} iterations")
            }
            None => format!("{command} with it"),
        });
    }
    let problem = match (error.downcast_ref::<SpecError>(), error.downcast_ref::<Violation>()) {
        (Some(SpecError::Text(text)), _) => &text.problem,
        (_, Some(violation)) => &violation.problem,
        _ => return None,
    };
    let Problem::NoEnsemble { known, .. } = problem else { return None };
    Some(match known {
        Known::GroundState => "`weylflow exact` finds the ground state".to_owned(),
        Known::TrapLevels => {
            "`weylflow exact --states` gives energies in a harmonic trap".to_owned()
        }
        Known::ClosedForms => "`weylflow exact --temperature` knows closed forms".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_found_behind_the_errors_that_show_them() {
        let file = || FileError::OfAnotherKind { path: "out".into(), what: "scan" };
        for error in [
            Box::new(file()) as Box<dyn Error>,
            Box::new(RunError::File(file())),
            Box::new(ScanError::File(file())),
            Box::new(ElsewhereError::Run(RunError::File(file()))),
        ] {
            assert!(!error.to_string().contains("--"), "{error}");
            let shown = hinted(error.as_ref());
            assert_eq!(shown.lines().last(), Some("  choose another with --out"), "{shown}");
        }
        assert_eq!(hint(&RunError::Interrupted { checkpoint: None }), None);
    }
}
