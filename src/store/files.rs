//! The output folder of a run, and writes that are never seen half done.

use super::lock::FolderLock;
use crate::input::{self, FileProblem, MOST_RESULT_BYTES};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Names of the files that a run writes into its output folder.
pub mod names {
    /// The fully resolved spec.
    pub const SPEC: &str = "spec.ron";
    /// One row an iteration.
    pub const ENERGY: &str = "energy.csv";
    /// `energy.csv` of a run that has not ended (or did not live to its end).
    pub const ENERGY_PARTIAL: &str = "energy.csv.partial";
    /// The result.
    pub const SUMMARY: &str = "summary.json";
    /// One-body density that belongs to the exact energy.
    pub const REFERENCE_DENSITY: &str = "reference_density.csv";
    /// Pair density of the exact ground state.
    pub const REFERENCE_PAIRS: &str = "reference_pairs.npz";
    /// When, how and where the run was made.
    pub const PROVENANCE: &str = "provenance.json";
    /// One-body density.
    pub const DENSITY: &str = "density.csv";
    /// Densities of the transitions between several states.
    pub const TRANSITION_DENSITY: &str = "transition_density.csv";
    /// The report for people.
    pub const REPORT: &str = "report.html";
    /// The parameters of the wavefunction.
    pub const WAVEFUNCTION: &str = "wavefunction";

    /// The state of the run, to go on from.
    pub const CHECKPOINT: &str = "checkpoint";
    /// The checkpoint before the current one.
    pub const CHECKPOINT_PREVIOUS: &str = "checkpoint.previous";
    /// Wall time at the end of each iteration.
    pub const TIMING: &str = "timing.csv";
    /// Samples without a sensible local energy.
    pub const FAULTS: &str = "faults.csv";
    /// What the scan in a folder was asked for: its points have folders of their own within.
    pub const SCAN: &str = "scan.json";
    /// Held by the run that writes into the folder.
    pub const LOCK: &str = ".lock";

    /// What `weylflow measure` found.
    pub const OBSERVABLES: &str = "observables.json";
    /// The same as a table.
    pub const OBSERVABLES_CSV: &str = "observables.csv";
    /// The same for `numpy.load`.
    pub const OBSERVABLES_NPZ: &str = "observables.npz";

    /// What `weylflow project` found.
    pub const PROJECTION: &str = "projection.json";
    /// Its correction for each length of the projection.
    pub const PROJECTION_CSV: &str = "projection.csv";
    /// The state of a projection, to go on from.
    pub const PROJECTION_STATE: &str = "projection.checkpoint";

    /// What `weylflow measure` found of an earlier state of the wavefunction.
    pub const STALE: [(&str, &str); 3] = [
        (OBSERVABLES, "observables.stale.json"),
        (OBSERVABLES_CSV, "observables.stale.csv"),
        (OBSERVABLES_NPZ, "observables.stale.npz"),
    ];
    /// What `weylflow project` found from an earlier state of the wavefunction.
    pub const STALE_PROJECTION: [(&str, &str); 2] =
        [(PROJECTION, "projection.stale.json"), (PROJECTION_CSV, "projection.stale.csv")];
    /// What `weylflow measure` found before with other samples.
    pub const PREVIOUS: [(&str, &str); 3] = [
        (OBSERVABLES, "observables.previous.json"),
        (OBSERVABLES_CSV, "observables.previous.csv"),
        (OBSERVABLES_NPZ, "observables.previous.npz"),
    ];

    /// Names of files and those that they get when they are set aside.
    pub fn set_aside() -> impl Iterator<Item = (&'static str, &'static str)> {
        STALE.into_iter().chain(STALE_PROJECTION).chain(PREVIOUS)
    }

    /// What a run and its measurement write.
    pub const ALL: [&str; 21] = [
        SPEC,
        ENERGY,
        ENERGY_PARTIAL,
        SUMMARY,
        DENSITY,
        TRANSITION_DENSITY,
        REFERENCE_DENSITY,
        REFERENCE_PAIRS,
        PROVENANCE,
        REPORT,
        CHECKPOINT,
        CHECKPOINT_PREVIOUS,
        TIMING,
        FAULTS,
        WAVEFUNCTION,
        OBSERVABLES,
        OBSERVABLES_CSV,
        OBSERVABLES_NPZ,
        PROJECTION,
        PROJECTION_CSV,
        PROJECTION_STATE,
    ];
}

/// What can go wrong with a file of a run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// The system refused.
    #[error("cannot {action} `{path}`: {cause}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A file cannot be written, or should not be.
    #[error("cannot write `{path}`: {problem}")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: FileProblem,
    },
    /// A file cannot be read, or should not be.
    #[error("cannot read `{path}`: {problem}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: FileProblem,
    },
    /// The output folder holds something, and overwriting was not asked for.
    #[error("the output folder `{path}` exists and is not empty")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// Another run writes into the output folder.
    #[error("the output folder `{path}` is in use by another run")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The output folder holds results of another kind, which no files of this one replace.
    #[error("the output folder `{path}` holds the results of a {what}")]
    OfAnotherKind {
        /// The folder.
        path: PathBuf,
        /// What they are of.
        what: &'static str,
    },
    /// The output folder is a file.
    #[error("the output folder `{path}` exists and is not a folder")]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },
    /// A file of a run does not hold what it should.
    #[error("`{path}`, line {line}: {message}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
}

impl FileError {
    /// Wraps an I/O error with what was tried on which path.
    pub(crate) fn io<'a>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> FileError + 'a {
        move |cause| FileError::Io { action, path: path.to_owned(), cause }
    }
}

/// What to do with an output folder that holds something already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Existing {
    /// Refuse: nobody loses a result by running twice.
    #[default]
    Refuse,
    /// Leave everything as it is: an earlier run goes on.
    Keep,
    /// Leave everything as it is for now: new results will [replace](super::replace) those of the earlier run.
    Overwrite,
}

/// Prefix and suffix of temporary files.
const TEMPORARY: (&str, &str) = (".weylflow-", ".tmp");

/// Creates the output folder of a run, with its parents, and locks it.
///
/// # Errors
/// [`FileError::OfAnotherKind`] if the folder holds a scan, [`FileError::NotEmpty`] if it holds something and `existing` is [`Existing::Refuse`], [`FileError::InUse`] if another run holds it,
/// [`FileError::NotAFolder`] if the name belongs to a file, [`FileError::Io`] if the system refuses.
pub fn create_output_folder(folder: &Path, existing: Existing) -> Result<FolderLock, FileError> {
    if folder.exists() && !folder.is_dir() {
        return Err(FileError::NotAFolder { path: folder.to_owned() });
    }
    fs::create_dir_all(folder).map_err(FileError::io("create the folder", folder))?;
    if existing != Existing::Refuse && fs::symlink_metadata(folder.join(names::SCAN)).is_ok() {
        return Err(FileError::OfAnotherKind { path: folder.to_owned(), what: "scan" });
    }
    let listed = || fs::read_dir(folder).map_err(FileError::io("list the folder", folder));
    let occupied = listed()?.flatten().any(|entry| entry.file_name() != names::LOCK);
    // Before anything is changed.
    let lock = FolderLock::take(folder)?;
    // What a process that was killed had not finished writing.
    for entry in listed()?.flatten() {
        if is_temporary(&entry.file_name()) {
            let _ = fs::remove_file(entry.path());
        }
    }
    super::replace::settle(folder)?;
    if occupied && existing == Existing::Refuse {
        return Err(FileError::NotEmpty { path: folder.to_owned() });
    }
    Ok(lock)
}

/// Whether a folder holds something of a run: a file named in [`names::ALL`].
pub fn holds_a_run(folder: &Path) -> bool {
    names::ALL.iter().any(|name| fs::symlink_metadata(folder.join(name)).is_ok())
}

/// Whether a name is that of a temporary file.
pub(super) fn is_temporary(name: &std::ffi::OsStr) -> bool {
    name.to_str().is_some_and(|n| n.starts_with(TEMPORARY.0) && n.ends_with(TEMPORARY.1))
}

/// Opens a file of the program's own to write into it: [`input::open_to_write`] with an error that names the path.
///
/// # Errors
/// [`FileError::Unwritable`].
pub(super) fn open_to_write(path: &Path, options: &mut OpenOptions) -> Result<File, FileError> {
    input::open_to_write(path, options).map_err(|problem| unwritable(path, problem))
}

fn unwritable(path: &Path, problem: FileProblem) -> FileError {
    match problem {
        FileProblem::Io(cause) => FileError::io("write", path)(cause),
        FileProblem::Missing => FileError::io("write", path)(io::ErrorKind::NotFound.into()),
        problem => FileError::Unwritable { path: path.to_owned(), problem },
    }
}

/// Removes a file, which need not be there.
///
/// # Errors
/// [`FileError::Io`].
pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(FileError::io("remove", path)(cause))
        }
        _ => Ok(()),
    }
}

/// Writes a file so that a reader sees the old content or the new one, never a part: a temporary
/// name in the same folder, then fsync, then rename. A link of that name is replaced, what it leads to is not.
///
/// # Errors
/// [`FileError`], also where a folder, a device or a pipe has the name; the temporary file is then gone, and an older file
/// of that name untouched.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<(), FileError> {
    match input::writable(path) {
        Ok(()) | Err(FileProblem::Link) => {}
        Err(problem) => return Err(unwritable(path, problem)),
    }
    // A bare file name has the parent "", which the system does not take for a folder.
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY.0).suffix(TEMPORARY.1);
    // Temporary files are private by default; a result should follow the umask as any other file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(FileError::io("write", path))?;
    file.write_all(content).map_err(FileError::io("write", path))?;
    file.as_file().sync_all().map_err(FileError::io("write", path))?;
    file.persist(path).map_err(|e| FileError::io("write", path)(e.error))?;
    sync_folder(folder);
    Ok(())
}

/// Makes a rename durable where the system can. Not every file system lets a folder be synced, and
/// the content is safe by then, so a refusal is no error.
pub(crate) fn sync_folder(folder: &Path) {
    if cfg!(unix)
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

/// Reads a text file of results, of at most [`MOST_RESULT_BYTES`]. A byte order mark, which some editors add, is no part
/// of the text.
///
/// # Errors
/// [`FileError::Unreadable`] or, for what is no text, [`FileError::Io`]; both name the path.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    read_text_up_to(path, MOST_RESULT_BYTES)
}

/// The same with another bound.
///
/// # Errors
/// As above.
pub(super) fn read_text_up_to(path: &Path, limit: u64) -> Result<String, FileError> {
    let bytes = input::read(path, limit)
        .map_err(|problem| FileError::Unreadable { path: path.to_owned(), problem })?;
    let mut text = String::from_utf8(bytes)
        .map_err(|e| FileError::io("read", path)(io::Error::new(io::ErrorKind::InvalidData, e)))?;
    input::drop_byte_order_mark(&mut text);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_the_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_result_is_as_readable_as_any_other_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        write_atomic(&dir.path().join("ours"), b"").unwrap();
        File::create(dir.path().join("plain")).unwrap();
        let mode = |n: &str| fs::metadata(dir.path().join(n)).unwrap().permissions().mode();
        assert_eq!(mode("ours"), mode("plain"));
    }

    #[test]
    fn an_error_names_the_path_and_the_cause() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing").join("a.txt");
        let message = write_atomic(&path, b"").unwrap_err().to_string();
        assert!(message.contains("a.txt") && message.contains("No such file"), "{message}");
        assert!(read_text(&path).unwrap_err().to_string().contains("cannot read"));
    }

    #[test]
    fn what_is_no_text_or_no_file_is_refused_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("energy.csv");
        fs::write(&path, b"\xff\xfe").unwrap();
        let message = read_text(&path).unwrap_err().to_string();
        assert!(message.contains("energy.csv") && message.contains("utf-8"), "{message}");
        let message = read_text(dir.path()).unwrap_err().to_string();
        assert!(message.contains("this is a folder"), "{message}");
    }

    #[test]
    fn a_new_or_empty_folder_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("out").join("run");
        create_output_folder(&folder, Existing::Refuse).unwrap();
        create_output_folder(&folder, Existing::Refuse).unwrap();
        assert!(folder.is_dir());
    }

    #[test]
    fn an_occupied_folder_is_refused_and_untouched() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(names::SUMMARY), "precious").unwrap();
        let error = create_output_folder(dir.path(), Existing::Refuse).unwrap_err();
        assert!(matches!(error, FileError::NotEmpty { .. }));
        assert_eq!(fs::read_to_string(dir.path().join(names::SUMMARY)).unwrap(), "precious");
    }

    #[test]
    fn overwriting_removes_nothing_before_there_is_something_new() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(names::SUMMARY), "precious").unwrap();
        create_output_folder(dir.path(), Existing::Overwrite).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join(names::SUMMARY)).unwrap(), "precious");
        assert!(holds_a_run(dir.path()));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_replaced_and_devices_and_pipes_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("target"), "precious").unwrap();
        std::os::unix::fs::symlink(path("target"), path("link")).unwrap();
        write_atomic(&path("link"), b"new").unwrap();
        assert_eq!(fs::read(path("target")).unwrap(), b"precious");
        assert!(fs::symlink_metadata(path("link")).unwrap().is_file());
        assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        for odd in [path("pipe"), "/dev/null".into(), dir.path().to_owned()] {
            assert!(
                matches!(write_atomic(&odd, b""), Err(FileError::Unwritable { .. })),
                "{odd:?}"
            );
        }
        // The lock neither waits for a pipe nor follows a link.
        for name in ["pipe", "target"] {
            let folder = path(&format!("folder of {name}"));
            fs::create_dir(&folder).unwrap();
            std::os::unix::fs::symlink(path(name), folder.join(names::LOCK)).unwrap();
            let error = create_output_folder(&folder, Existing::Keep).unwrap_err().to_string();
            assert!(error.contains(".lock") && error.contains("link"), "{error}");
            fs::remove_file(folder.join(names::LOCK)).unwrap();
        }
        fs::rename(path("pipe"), dir.path().join("folder of pipe").join(names::LOCK)).unwrap();
        let error = create_output_folder(&path("folder of pipe"), Existing::Keep).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        fs::write(&path, "").unwrap();
        let error = create_output_folder(&path, Existing::Overwrite).unwrap_err();
        assert!(matches!(error, FileError::NotAFolder { .. }));
    }
}
