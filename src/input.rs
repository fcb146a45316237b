//! Files from outside, opened and read within bounds.
//!
//! Whatever a name leads to, reading it ends and takes memory in proportion to what is really there: only regular
//! files are opened, since a pipe may wait for ever and a device need not end, and none is read beyond a bound. What is
//! written goes into regular files as well, and through no link: it would change a file of another name.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// Largest spec or Hamiltonian file that is read, in bytes.
pub const MOST_SPEC_BYTES: u64 = 1 << 20;

/// Largest file of results that is read, in bytes: 2 GiB, above the `energy.csv` of the most iterations that a
/// spec may ask for.
pub const MOST_RESULT_BYTES: u64 = 1 << 31;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// A link, where something is to be written.
    #[error("this is a link, and nothing is written through links")]
    Link,
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
    // Before opening: opening a device may do something.
    regular(&std::fs::metadata(path)?)?;
    let file = without_waiting(File::options().read(true)).open(path)?;
    // The name may lead elsewhere by now.
    let metadata = file.metadata()?;
    regular(&metadata)?;
    if metadata.len() > limit {
        return Err(FileProblem::TooLarge { limit });
    }
    Ok(file)
}

fn regular(metadata: &Metadata) -> Result<(), FileProblem> {
    if metadata.is_dir() {
        return Err(FileProblem::Folder);
    }
    if !metadata.is_file() {
        return Err(FileProblem::NotRegular);
    }
    Ok(())
}

/// Opening a pipe then does not wait for its other end; regular files do not care.
fn without_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NONBLOCK);
    options
}

/// Whether something may be written under this name: nothing is there yet, or a regular file.
///
/// # Errors
/// [`FileProblem`] for a link, a folder, a device, a pipe.
pub fn writable(path: &Path) -> Result<(), FileProblem> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
        Ok(metadata) if metadata.is_symlink() => Err(FileProblem::Link),
        Ok(metadata) => regular(&metadata),
    }
}

/// Opens a file to write into what is there, if it is a regular file and no link; `options` say how.
///
/// # Errors
/// [`FileProblem`].
pub fn open_to_write(path: &Path, options: &mut OpenOptions) -> Result<File, FileProblem> {
    writable(path)?;
    #[cfg(unix)]
    let options = {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
    };
    let file = options.open(path)?;
    regular(&file.metadata()?)?;
    Ok(file)
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

/// Takes the byte order mark of UTF-8 from the beginning of a text: it says nothing, and nobody sees it.
pub fn drop_byte_order_mark(text: &mut String) {
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
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

    #[cfg(unix)]
    #[test]
    fn nothing_is_written_through_links_or_into_pipes() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("target"), b"precious").unwrap();
        std::os::unix::fs::symlink(path("target"), path("link")).unwrap();
        std::os::unix::fs::symlink(path("nowhere"), path("dangling")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        let open =
            |name: &str| open_to_write(&path(name), File::options().write(true).create(true));
        for link in ["link", "dangling"] {
            assert!(matches!(open(link), Err(FileProblem::Link)), "{link}");
        }
        assert!(matches!(open("pipe"), Err(FileProblem::NotRegular)));
        assert!(matches!(
            open_to_write(dir.path(), File::options().write(true)),
            Err(FileProblem::Folder)
        ));
        assert!(matches!(read(&path("pipe"), 9), Err(FileProblem::NotRegular)));
        assert!(open("target").is_ok() && open("new").is_ok());
        // A link may be read through, up to the bound.
        assert_eq!(read(&path("link"), 8).unwrap(), b"precious");
        assert!(!path("nowhere").exists());
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
