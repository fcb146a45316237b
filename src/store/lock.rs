//! One run at a time in a folder.

use super::files::{FileError, names, open_to_write};
use std::fs::{File, TryLockError};
use std::path::Path;

/// A lock on an output folder, until it is dropped or its process ends, however that happens.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks a folder, which must exist.
    ///
    /// # Errors
    /// [`FileError::InUse`] if another run holds it, [`FileError::Io`] if the system refuses.
    pub fn take(folder: &Path) -> Result<Self, FileError> {
        let path = folder.join(names::LOCK);
        let file = open_to_write(&path, File::options().create(true).truncate(false).write(true))?;
        match file.try_lock() {
            Ok(()) => Ok(FolderLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(FileError::InUse { path: folder.to_owned() }),
            Err(TryLockError::Error(cause)) => Err(FileError::io("lock", &path)(cause)),
        }
    }
}
