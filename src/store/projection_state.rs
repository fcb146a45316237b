//! `projection.checkpoint`: where a projection stood when it was interrupted.

use super::files::{FileError, read_text, write_atomic};
use crate::project::{Settings, State};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The content of `projection.checkpoint`, below a line with version, length and checksum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectionState {
    /// Fingerprint of the wavefunction that is projected.
    pub fingerprint: String,
    /// Settings of the projection.
    pub settings: Settings,
    /// Processor time so far, in seconds.
    pub cpu_seconds: f64,
    /// Local energies so far.
    pub local_energies: u64,
    /// The projection itself.
    pub state: State,
}

/// Why a projection cannot go on from a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionStateError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not one of this projection.
    #[error("`{}` is no usable checkpoint: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl ProjectionState {
    /// Writes it atomically.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let body = serde_json::to_string(self).map_err(|e| FileError::Malformed {
            path: path.to_owned(),
            line: 1,
            message: e.to_string(),
        })?;
        write_atomic(path, format!("{}\n{body}", header(&body)).as_bytes())
    }

    /// Reads the checkpoint of a projection of this wavefunction by these settings.
    ///
    /// # Errors
    /// [`ProjectionStateError`].
    pub fn read(
        path: &Path,
        fingerprint: &str,
        settings: &Settings,
    ) -> Result<Self, ProjectionStateError> {
        let unusable = |reason: &str| ProjectionStateError::Unusable {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let text = read_text(path)?;
        let sealed = text.split_once('\n').filter(|(head, body)| *head == header(body));
        let (_, body) = sealed.ok_or_else(|| unusable("it is damaged, or of another version"))?;
        let found: Self = serde_json::from_str(body).map_err(|e| unusable(&e.to_string()))?;
        if found.fingerprint != fingerprint {
            return Err(unusable("it is of another state of the wavefunction"));
        }
        if found.settings != *settings {
            return Err(unusable("it is of a projection with other settings"));
        }
        Ok(found)
    }
}

fn header(body: &str) -> String {
    let (version, length) = (env!("CARGO_PKG_VERSION"), body.len());
    format!("weylflow-projection {version} {length} {:08x}", crc32fast::hash(body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_read_again_and_those_of_other_projections_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("projection.checkpoint");
        let saved = ProjectionState {
            fingerprint: "0123".into(),
            settings: Settings::default(),
            cpu_seconds: 1.5,
            local_energies: 7,
            state: State::default(),
        };
        saved.write(&path).unwrap();
        let read = |fingerprint: &str, settings: &Settings| {
            ProjectionState::read(&path, fingerprint, settings)
        };
        assert_eq!(read("0123", &saved.settings).unwrap(), saved);
        let reason = |found: Result<_, ProjectionStateError>| found.unwrap_err().to_string();
        assert!(reason(read("0124", &saved.settings)).contains("another state"));
        let other = Settings { beta: Some(1.0), ..Settings::default() };
        assert!(reason(read("0123", &other)).contains("other settings"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("1.5", "2.5")).unwrap();
        assert!(reason(read("0123", &saved.settings)).contains("damaged"));
    }
}
