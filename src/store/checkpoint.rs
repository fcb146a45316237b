//! Checkpoints: everything a run needs to go on bit for bit, in a file that knows when it is damaged.
//!
//! The first line names the format, the version of the program, the length of the body and its checksum; the body is
//! JSON. The file before the current one is kept under [`names::CHECKPOINT_PREVIOUS`].

use crate::input;
use crate::spec::ResolvedSpec;
use crate::store::energy::format_row;
use crate::store::files::{FileError, names, write_atomic};
use crate::store::record::IterationRow;
use crate::train::TrainingState;
use crate::work::Work;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// Number of the format, and of what the parameters mean: pairs between walls have ended otherwise since 2.
const FORMAT: u32 = 2;
/// First word of a checkpoint.
const MAGIC: &str = "weylflow-checkpoint";
/// Largest file that is read: a million iterations of the largest wavefunctions stay below.
const LARGEST: u64 = 1 << 30;

/// A run in the making.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// What the run is.
    pub spec: ResolvedSpec,
    /// How far it has come.
    pub training: TrainingState,
    /// Trainings of a sweep that have ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<Done>,
    /// Rows of `energy.csv` so far, as text.
    pub energy: String,
    /// Seconds since the start of the run at the end of each iteration, over all its processes.
    pub seconds: Vec<f64>,
    /// Processor time so far, over all its processes.
    pub cpu_seconds: f64,
    /// Work of the iterations so far, of this training.
    #[serde(default)]
    pub work: Work,
    /// Whether all results were written after the last iteration.
    pub finished: bool,
}

/// A training of a sweep that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// Where it ended.
    pub training: TrainingState,
    /// Work of its iterations.
    pub work: Work,
}

/// Why a checkpoint is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not what was written.
    #[error("`{path}` is no usable checkpoint: {reason}", path = path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Checkpoint {
    /// Brings it to where the training stands.
    pub fn update(
        &mut self,
        state: &TrainingState,
        rows: &[IterationRow],
        cpu_seconds: f64,
        work: Work,
    ) {
        for row in &rows[self.seconds.len()..] {
            self.energy += &format_row(row);
            self.energy.push('\n');
            self.seconds.push(row.seconds);
        }
        self.training.clone_from(state);
        self.cpu_seconds = cpu_seconds;
        self.work = work;
    }

    /// Iterations done, of all trainings.
    pub fn iterations(&self) -> usize {
        self.done.iter().map(|d| d.training.iteration).sum::<usize>() + self.training.iteration
    }

    /// The rows of `energy.csv` so far.
    ///
    /// # Errors
    /// A row that is malformed, or a number of rows that does not fit the iterations.
    pub fn rows(&self, path: &Path) -> Result<Vec<IterationRow>, CheckpointError> {
        let rows = crate::store::energy::parse_energy(path, &self.energy, &self.seconds)?;
        let done = self.iterations();
        if rows.len() != done || self.seconds.len() != done {
            let reason = format!("{} rows of energy for {done} iterations", rows.len());
            return Err(CheckpointError::Unusable { path: path.to_owned(), reason });
        }
        Ok(rows)
    }

    /// The content of its file.
    ///
    /// # Errors
    /// A number that JSON has no word for.
    pub fn to_bytes(&self) -> std::io::Result<Vec<u8>> {
        Ok(Self::sealed(&serde_json::to_vec(self)?))
    }

    /// A body with the header that belongs to it.
    pub fn sealed(body: &[u8]) -> Vec<u8> {
        [header(env!("CARGO_PKG_VERSION"), body).as_bytes(), b"\n", body].concat()
    }

    /// Writes the checkpoint of a run into its folder; the one before it is kept.
    ///
    /// # Errors
    /// [`FileError`]; the checkpoint before is then still there.
    pub fn write(&self, folder: &Path) -> Result<(), FileError> {
        self.write_after(folder, folder)
    }

    /// The same, where the checkpoint before is in another folder of the same file system.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_after(&self, before: &Path, folder: &Path) -> Result<(), FileError> {
        let path = folder.join(names::CHECKPOINT);
        let bytes = self.to_bytes().map_err(FileError::io("write", &path))?;
        // A copy by name, so that at no moment there is no current checkpoint.
        let last = before.join(names::CHECKPOINT);
        let previous = folder.join(names::CHECKPOINT_PREVIOUS);
        let aside = folder.join(".weylflow-previous.tmp");
        let _ = fs::remove_file(&aside);
        match fs::hard_link(&last, &aside) {
            Ok(()) => {
                fs::rename(&aside, &previous).map_err(FileError::io("write", &previous))?;
                // A run that was killed just here has left both names for one file; a rename between such names does
                // nothing, and leaves the first.
                let _ = fs::remove_file(&aside);
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
            // Not every file system has links.
            Err(_) => {
                let old = read_bounded(&last)?;
                write_atomic(&previous, &old)?;
            }
        }
        write_atomic(&path, &bytes)
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError`] with the reason.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let unusable = |reason| CheckpointError::Unusable { path: path.to_owned(), reason };
        Self::parse(&read_bounded(path)?).map_err(unusable)
    }

    /// Reads the text of a checkpoint.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let end = bytes.iter().take(256).position(|&b| b == b'\n').ok_or("it has no header")?;
        let (first, body) = (&bytes[..end], &bytes[end + 1..]);
        let first = std::str::from_utf8(first).map_err(|_| "its header is not text")?;
        let words: Vec<&str> = first.split(' ').collect();
        let [MAGIC, format, version, _, _] = words[..] else {
            return Err("it does not begin as a checkpoint does".into());
        };
        if format != FORMAT.to_string() {
            return Err(format!("format {format}, this program reads format {FORMAT}"));
        }
        let ours = env!("CARGO_PKG_VERSION");
        if version != ours {
            return Err(format!(
                "it was made by version {version} and this is {ours}: another version may compute other numbers"
            ));
        }
        if first != header(version, body) {
            return Err("its length or checksum is not that of its header: it is damaged".into());
        }
        let checkpoint: Checkpoint = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        checkpoint.spec.validate().map_err(|e| e.to_string())?;
        Ok(checkpoint)
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, FileError> {
    input::read(path, LARGEST)
        .map_err(|problem| FileError::Unreadable { path: path.to_owned(), problem })
}

fn header(version: &str, body: &[u8]) -> String {
    format!("{MAGIC} {FORMAT} {version} {} {:08x}", body.len(), crc32fast::hash(body))
}
