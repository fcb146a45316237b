//! A scan that replaces another: all of it, or nothing.
//!
//! The new scan works in a folder of its own within the output folder, and the old one stays what it was until the new one is
//! complete. Then a list of the new files says so, and moving them to their places can be repeated after whatever interrupted it.

use super::{InScanFolder, Scan, files};
use crate::input::{self, FileProblem};
use crate::store::files::{FileError, names, remove, sync_folder, write_atomic};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Folder of a scan that is to replace the one in place.
pub const NEW_SCAN: &str = ".weylflow-new-scan";
/// The list that makes it complete.
const COMPLETE: &str = "complete";
/// Largest list that is read, in bytes: a line for each file of every point.
const MOST_LIST_BYTES: u64 = 1 << 24;

/// Where a scan works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The folder.
    pub folder: PathBuf,
    /// Whether that is not the output folder, whose scan it replaces when it ends.
    pub replaces: bool,
}

impl Scan {
    /// Where a scan works that was asked for like this: beside the scan in place where it is to replace that one, whether it begins or goes on.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn at(&self, asked: &InScanFolder) -> Result<At, FileError> {
        use crate::store::files::Existing::{Keep, Overwrite};
        let folder = asked.place.folder.as_path();
        settle(folder)?;
        let new = folder.join(NEW_SCAN);
        let beside = At { folder: new.clone(), replaces: true };
        let holds_a_scan = is_there(&folder.join(files::SCAN));
        match asked.place.existing {
            // A part of the scan in place is no other scan.
            Overwrite if holds_a_scan && asked.only.is_none() => {
                discard(&new)?;
                fs::create_dir(&new).map_err(FileError::io("create the folder", &new))?;
                Ok(beside)
            }
            Keep if self.is_in(&new) => Ok(beside),
            _ => Ok(At { folder: folder.to_owned(), replaces: false }),
        }
    }

    fn is_in(&self, folder: &Path) -> bool {
        let path = folder.join(files::SCAN);
        is_folder(folder)
            && input::read(&path, input::MOST_SPEC_BYTES)
                .is_ok_and(|bytes| bytes == self.identity().as_bytes())
    }
}

/// Puts a complete scan from its own folder within `folder` in place of the one there.
///
/// # Errors
/// [`FileError`]. Where the list could be written, [`settle`] does the rest later.
pub fn put_in_place(folder: &Path) -> Result<(), FileError> {
    let new = folder.join(NEW_SCAN);
    let mut list = String::new();
    for name in ours(&new) {
        list += &name;
        list.push('\n');
    }
    write_atomic(&new.join(COMPLETE), list.as_bytes())?;
    sync_folder(&new);
    settle(folder)
}

/// Ends a replacement that was interrupted between the old and the new scan.
///
/// # Errors
/// [`FileError`].
pub fn settle(folder: &Path) -> Result<(), FileError> {
    let new = folder.join(NEW_SCAN);
    if !is_there(&new) {
        return Ok(());
    }
    if !is_folder(&new) {
        return Err(FileError::NotAFolder { path: new });
    }
    let path = new.join(COMPLETE);
    if !is_there(&path) {
        return Ok(());
    }
    let unreadable = |problem| FileError::Unreadable { path: path.clone(), problem };
    let bytes = input::read(&path, MOST_LIST_BYTES).map_err(unreadable)?;
    let text = String::from_utf8(bytes)
        .map_err(|e| unreadable(FileProblem::Io(io::Error::new(io::ErrorKind::InvalidData, e))))?;
    let put: Vec<&str> = text.lines().collect();
    // A list may be anyone's.
    if let Some(line) = put.iter().position(|name| !is_ours(name)) {
        let message = "it names a file that is no result of a scan".to_owned();
        return Err(FileError::Malformed { path, line: line + 1, message });
    }
    for name in ours(folder).iter().filter(|name| !put.contains(&name.as_str())) {
        remove(&folder.join(name))?;
    }
    for name in &put {
        let (from, to) = (new.join(name), folder.join(name));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(FileError::io("create the folder", parent))?;
        }
        match fs::rename(&from, &to) {
            // Done before.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(FileError::io("write", &to))?,
        }
    }
    // Points that the new scan does not have, where nobody else's files are in them.
    for point in folders_of_points(folder) {
        let _ = fs::remove_dir(point);
    }
    sync_folder(folder);
    discard(&new)
}

/// Whether a scan that was to replace the one in a folder has not ended.
pub fn is_unfinished(folder: &Path) -> bool {
    is_folder(&folder.join(NEW_SCAN))
}

/// Removes the folder of a new scan.
///
/// # Errors
/// [`FileError`], also where the name is that of something else.
pub fn discard(new: &Path) -> Result<(), FileError> {
    if !is_there(new) {
        return Ok(());
    }
    if !is_folder(new) {
        return Err(FileError::NotAFolder { path: new.to_owned() });
    }
    // The list first: a scan that lacks files is none.
    remove(&new.join(COMPLETE))?;
    fs::remove_dir_all(new).map_err(FileError::io("remove", new))
}

/// Names of the files that this program leaves in the folder of a point, and of those that it sets aside.
fn of_a_run() -> impl Iterator<Item = &'static str> {
    let set_aside = names::set_aside().map(|pair| pair.1);
    names::ALL.into_iter().chain(set_aside).chain([names::LOCK])
}

const OF_A_SCAN: [&str; 4] = [files::CURVE, files::REPORT, files::SCAN, files::SERIES];

fn folders_of_points(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder.join(files::POINTS)) else { return Vec::new() };
    let mut found: Vec<_> = entries.flatten().map(|e| e.path()).filter(|p| is_folder(p)).collect();
    found.sort();
    found
}

/// The files of the scan in a folder that are there, relative to it.
fn ours(folder: &Path) -> Vec<String> {
    let mut found: Vec<String> = OF_A_SCAN.map(String::from).to_vec();
    for point in folders_of_points(folder) {
        let Some(number) = point.file_name().and_then(|n| n.to_str()) else { continue };
        let of = format!("{}/{number}", files::POINTS);
        found.extend(of_a_run().map(|name| format!("{of}/{name}")));
        found.push(format!("{of}.json"));
    }
    found.retain(|name| is_ours(name) && is_there(&folder.join(name)));
    found
}

/// Whether a relative name is one that a scan gives.
fn is_ours(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        [name] => OF_A_SCAN.contains(&name),
        [files::POINTS, name] => name.strip_suffix(".json").is_some_and(number),
        [files::POINTS, point, name] => number(point) && of_a_run().any(|n| n == name),
        _ => false,
    }
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Three points in place, and a scan of two that is to replace them.
    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["curve.csv", "scan.json", "series.json", "report.html", "points/03/mine.txt"] {
            write(dir.path(), name, "old");
        }
        for point in ["01", "02", "03"] {
            for name in ["/summary.json", "/observables.json", "/projection.stale.json", ".json"] {
                write(dir.path(), &format!("points/{point}{name}"), "old");
            }
        }
        for name in ["curve.csv", "scan.json", "report.html", "points/01/summary.json"] {
            write(&dir.path().join(NEW_SCAN), name, "new");
        }
        for name in ["points/01.json", "points/02/summary.json", "points/02.json"] {
            write(&dir.path().join(NEW_SCAN), name, "new");
        }
        dir
    }

    fn check(folder: &Path) {
        let text = |name: &str| fs::read_to_string(folder.join(name)).ok();
        for name in ["curve.csv", "points/01/summary.json", "points/02/summary.json"] {
            assert_eq!(text(name).as_deref(), Some("new"), "{name}");
        }
        for name in [
            "series.json",
            "points/01/observables.json",
            "points/02/projection.stale.json",
            "points/03/summary.json",
            "points/03.json",
            NEW_SCAN,
        ] {
            assert!(!is_there(&folder.join(name)), "{name}");
        }
        // What is not ours stays.
        assert_eq!(text("points/03/mine.txt").as_deref(), Some("old"));
    }

    #[test]
    fn a_scan_replaces_all_of_another_or_nothing() {
        let dir = folder();
        settle(dir.path()).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("curve.csv")).unwrap(), "old");
        assert!(is_unfinished(dir.path()));
        put_in_place(dir.path()).unwrap();
        check(dir.path());
        assert!(!is_unfinished(dir.path()));
    }

    #[test]
    fn what_was_interrupted_between_two_files_goes_on() {
        let whole = folder();
        let list = ours(&whole.path().join(NEW_SCAN));
        for moved in 0..=list.len() {
            let dir = folder();
            let new = dir.path().join(NEW_SCAN);
            fs::write(new.join(COMPLETE), list.join("\n")).unwrap();
            for name in &list[..moved] {
                fs::rename(new.join(name), dir.path().join(name)).unwrap();
            }
            settle(dir.path()).unwrap();
            check(dir.path());
        }
    }

    #[test]
    fn lists_of_other_names_and_links_are_refused() {
        let dir = folder();
        let new = dir.path().join(NEW_SCAN);
        for name in
            ["../x", "points/../x", "points/a/summary.json", "points/01/mine", "/etc/x", "complete"]
        {
            assert!(!is_ours(name), "{name}");
            fs::write(new.join(COMPLETE), format!("curve.csv\n{name}\n")).unwrap();
            let error = settle(dir.path()).unwrap_err();
            assert!(matches!(error, FileError::Malformed { line: 2, .. }), "{error}");
        }
        #[cfg(unix)]
        {
            let other = tempfile::tempdir().unwrap();
            write(other.path(), "curve.csv", "precious");
            fs::remove_dir_all(&new).unwrap();
            std::os::unix::fs::symlink(other.path(), &new).unwrap();
            assert!(matches!(settle(dir.path()), Err(FileError::NotAFolder { .. })));
            assert!(matches!(discard(&new), Err(FileError::NotAFolder { .. })));
            assert!(other.path().join("curve.csv").exists());
        }
    }
}
