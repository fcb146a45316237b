//! Files from outside, opened and read within bounds.
//!
//! Whatever a name leads to, reading it ends and takes memory in proportion to what is really there: only regular
//! files are opened, since a pipe may wait for ever and a device need not end, and none is read beyond a bound.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Largest spec or Hamiltonian file that is read, in bytes.
pub const MOST_SPEC_BYTES: u64 = 1 << 20;

/// Largest file of results that is read, in bytes: 2 GiB, above the `energy.csv` of the most iterations that a
/// spec may ask for.
pub const MOST_RESULT_BYTES: u64 = 1 << 31;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// There is no such file.
    #[error("no such file")]
    Missing,
    /// A folder.
    #[error("this is a folder, not a file")]
    Folder,
    /// A device, a pipe or a socket.
    #[error("this is not a regular file")]
    NotRegular,
    /// Larger than any such file has reason to be.
    #[error("the file is larger than {limit} bytes, the most that is read of such a file")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// Anything else.
    #[error("the file cannot be read: {0}")]
    Io(io::Error),
}

impl From<io::Error> for FileProblem {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => FileProblem::Missing,
            io::ErrorKind::IsADirectory => FileProblem::Folder,
            _ => FileProblem::Io(error),
        }
    }
}

/// Opens a regular file of at most `limit` bytes.
///
/// # Errors
/// [`FileProblem`].
pub fn open(path: &Path, limit: u64) -> Result<File, FileProblem> {
    // Before opening: opening a pipe would wait for its other end.
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(FileProblem::Folder);
    }
    if !metadata.is_file() {
        return Err(FileProblem::NotRegular);
    }
    if metadata.len() > limit {
        return Err(FileProblem::TooLarge { limit });
    }
    Ok(File::open(path)?)
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// [`FileProblem`].
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileProblem> {
    let file = open(path, limit)?;
    let mut bytes = Vec::new();
    // The length that the system told may be that of another moment, and some files claim to be empty.
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(FileProblem::TooLarge { limit });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_are_read_up_to_the_bound_and_not_beyond() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(matches!(read(&path, 4), Err(FileProblem::TooLarge { limit: 4 })));
        assert!(matches!(read(dir.path(), 4), Err(FileProblem::Folder)));
        assert!(matches!(read(&dir.path().join("none"), 4), Err(FileProblem::Missing)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_need_not_end_is_not_opened() {
        for device in ["/dev/zero", "/dev/null", "/dev/tty"] {
            assert!(matches!(read(Path::new(device), 9), Err(FileProblem::NotRegular)), "{device}");
        }
        // A regular file that claims to be empty and is not.
        assert!(fs::metadata("/proc/self/maps").unwrap().len() == 0);
        let error = read(Path::new("/proc/self/maps"), 9).unwrap_err();
        assert!(matches!(error, FileProblem::TooLarge { limit: 9 }));
    }
}
