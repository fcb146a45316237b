//! Results that replace others: all of them, or none.
//!
//! A set of files is written into a folder of its own within the output folder. A list of them, written last, says that the
//! set is complete; from then on it *is* the result, and moving its files to their places can be repeated after
//! whatever interrupted it ([`settle`]). Until then the files in place are the result, and nothing touches them.

use super::files::{
    FileError, is_temporary, names, open_to_write, remove, sync_folder, write_atomic,
};
use super::lock::FolderLock;
use crate::input::{self, FileProblem};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Folder of a run that is to replace the results in place, from its first file on.
pub const NEW_RUN: &str = ".weylflow-new";
/// Folder of the results of the run in place, for a moment.
pub const NEW_RESULTS: &str = ".weylflow-results";
/// The list that makes a set complete.
const COMPLETE: &str = "complete";
/// Largest list that is read, in bytes: it has a line for each of few names.
const MOST_LIST_BYTES: u64 = 1 << 16;

/// What is to become of the files in place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    /// Files that get a new name, before anything else.
    aside: Vec<(String, String)>,
    /// Files that go.
    drop: Vec<String>,
    /// Files that come from the set.
    put: Vec<String>,
}

impl List {
    /// Names outside the set of those that this program gives are nobody's business: a list may be anyone's.
    fn is_ours(&self) -> bool {
        let given = |name: &String| {
            let set_aside = names::set_aside().map(|pair| pair.1);
            names::ALL.into_iter().chain(set_aside).any(|n| n == name)
        };
        let aside = |pair: &(String, String)| {
            names::set_aside().any(|(from, to)| (from, to) == (pair.0.as_str(), pair.1.as_str()))
        };
        self.aside.iter().all(aside) && self.drop.iter().chain(&self.put).all(given)
    }
}

/// A set of files in the making.
#[derive(Debug)]
pub struct Set {
    /// Where it will go.
    folder: PathBuf,
    /// Where it is.
    path: PathBuf,
    aside: Vec<(String, String)>,
    drop: Vec<&'static str>,
}

impl Set {
    /// An empty set in the folder `name` of the output folder, which is locked.
    ///
    /// # Errors
    /// [`FileError`], also where something else has the name.
    pub fn empty(folder: &Path, name: &str) -> Result<Self, FileError> {
        discard(&folder.join(name))?;
        Self::begun(folder, name)
    }

    /// The set that is there, or an empty one.
    ///
    /// # Errors
    /// [`FileError`], also where something else has the name.
    pub fn begun(folder: &Path, name: &str) -> Result<Self, FileError> {
        let path = folder.join(name);
        match fs::create_dir(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
                return Err(FileError::io("create the folder", &path)(cause));
            }
            _ => {}
        }
        if !is_folder(&path) {
            return Err(FileError::NotAFolder { path });
        }
        Ok(Set { folder: folder.to_owned(), path, aside: Vec::new(), drop: Vec::new() })
    }

    /// Where its files are written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives files in place other names, given in pairs, when the set is put in place.
    pub fn set_aside(&mut self, pairs: &[(&str, &str)]) {
        self.aside.extend(pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())));
    }

    /// Lets a file in place go when the set is put there, unless the set has one of that name.
    pub fn drop_from_place(&mut self, name: &'static str) {
        self.drop.push(name);
    }

    /// Whether the output folder will hold a file once the set is in place.
    pub fn will_hold(&self, name: &str, of_another_run: bool) -> bool {
        let stays = !of_another_run && !self.drop.contains(&name);
        self.path.join(name).is_file() || stays && self.folder.join(name).is_file()
    }

    /// Puts the files that were written in place; where they are those of another run, everything else of the earlier
    /// one goes.
    ///
    /// # Errors
    /// [`FileError`]. Where the list of the set could be written, [`settle`] does the rest later.
    pub fn put_in_place(self, of_another_run: bool) -> Result<(), FileError> {
        let written = |name: &&&str| fs::symlink_metadata(self.path.join(name)).is_ok();
        let put: Vec<&str> = names::ALL.iter().filter(written).copied().collect();
        let set_aside = names::set_aside().map(|pair| pair.1);
        let all = names::ALL.into_iter().chain(set_aside);
        let drop =
            all.filter(|name| (of_another_run || self.drop.contains(name)) && !put.contains(name));
        let list = List {
            drop: drop.map(String::from).collect(),
            put: put.iter().map(ToString::to_string).collect(),
            aside: self.aside,
        };
        let path = self.path.join(COMPLETE);
        let text =
            serde_json::to_vec(&list).map_err(|e| FileError::io("write", &path)(e.into()))?;
        write_atomic(&path, &text)?;
        sync_folder(&self.folder);
        put_in_place(&self.folder, &self.path)
    }
}

/// Ends the replacements in a folder that were interrupted between its old and its new results. The folder is locked.
///
/// # Errors
/// [`FileError`].
pub fn settle(folder: &Path) -> Result<(), FileError> {
    for name in [NEW_RUN, NEW_RESULTS] {
        let path = folder.join(name);
        // Found now, and not when there are results to write.
        if fs::symlink_metadata(&path).is_ok() && !is_folder(&path) {
            return Err(FileError::NotAFolder { path });
        }
        if is_complete(&path) {
            put_in_place(folder, &path)?;
        }
    }
    Ok(())
}

/// [`settle`] for those who only read, where there is something to do and nobody is at it.
///
/// # Errors
/// [`FileError`].
pub fn settle_to_read(folder: &Path) -> Result<(), FileError> {
    if ![NEW_RUN, NEW_RESULTS].iter().any(|name| is_complete(&folder.join(name))) {
        return Ok(());
    }
    let _lock = FolderLock::take(folder)?;
    settle(folder)
}

/// The folder of a run that was to replace the results of `folder` and has not ended, if there is one.
pub fn unfinished(folder: &Path) -> Option<PathBuf> {
    Some(folder.join(NEW_RUN)).filter(|path| is_folder(path))
}

/// Removes a set and whatever else this program left in its folder.
///
/// # Errors
/// [`FileError`].
pub fn discard(path: &Path) -> Result<(), FileError> {
    if !is_folder(path) {
        return Ok(());
    }
    // The list first: a set that lacks files is none.
    remove(&path.join(COMPLETE))?;
    let entries = fs::read_dir(path).map_err(FileError::io("list the folder", path))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if is_temporary(&name) || name.to_str().is_some_and(|n| names::ALL.contains(&n)) {
            remove(&entry.path())?;
        }
    }
    // Someone else's file keeps it there.
    let _ = fs::remove_dir(path);
    Ok(())
}

fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_dir())
}

fn is_complete(path: &Path) -> bool {
    is_folder(path) && fs::symlink_metadata(path.join(COMPLETE)).is_ok()
}

fn put_in_place(folder: &Path, set: &Path) -> Result<(), FileError> {
    let path = set.join(COMPLETE);
    let unreadable = |problem| FileError::Unreadable { path: path.clone(), problem };
    // Nobody but us writes it, and we write no links.
    let _ = open_to_write(&path, File::options().write(true))?;
    let text = input::read(&path, MOST_LIST_BYTES).map_err(unreadable)?;
    let list: List =
        serde_json::from_slice(&text).map_err(|e| unreadable(FileProblem::Io(e.into())))?;
    if !list.is_ours() {
        let message = "it names files that are no results".to_owned();
        return Err(FileError::Malformed { path, line: 1, message });
    }
    let here = |name: &str| fs::symlink_metadata(set.join(name)).is_ok();
    let rename = |from: PathBuf, to: PathBuf| match fs::rename(&from, &to) {
        // Done before.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(FileError::io("write", &to)),
    };
    for (from, to) in &list.aside {
        // Where the new file of that name has come already, the old one has gone.
        if here(from) || !list.put.contains(from) {
            rename(folder.join(from), folder.join(to))?;
        }
    }
    for name in &list.drop {
        remove(&folder.join(name))?;
    }
    for name in &list.put {
        rename(set.join(name), folder.join(name))?;
    }
    sync_folder(folder);
    discard(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: PathBuf) -> Option<String> {
        fs::read_to_string(path).ok()
    }

    /// An output folder with the results of an earlier run, and a file of the user's.
    fn old() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in [names::SPEC, names::SUMMARY, names::FAULTS, names::OBSERVABLES, "notes.txt"] {
            fs::write(dir.path().join(name), "old").unwrap();
        }
        dir
    }

    fn set(folder: &Path) -> Set {
        let set = Set::empty(folder, NEW_RUN).unwrap();
        for name in [names::SPEC, names::SUMMARY, names::WAVEFUNCTION] {
            fs::write(set.path().join(name), "new").unwrap();
        }
        set
    }

    fn check(folder: &Path) {
        for name in [names::SPEC, names::SUMMARY, names::WAVEFUNCTION] {
            assert_eq!(text(folder.join(name)).unwrap(), "new", "{name}");
        }
        assert_eq!(text(folder.join("notes.txt")).unwrap(), "old");
        for name in [names::FAULTS, names::OBSERVABLES, NEW_RUN] {
            assert!(!folder.join(name).exists(), "{name}");
        }
    }

    #[test]
    fn a_set_replaces_everything_or_nothing() {
        let dir = old();
        let unfinished = set(dir.path());
        settle_to_read(dir.path()).unwrap();
        assert_eq!(text(dir.path().join(names::SUMMARY)).unwrap(), "old");
        unfinished.put_in_place(true).unwrap();
        check(dir.path());
    }

    #[test]
    fn what_was_interrupted_between_two_files_goes_on() {
        // So many of the moves are done before the end comes.
        for moves in 0..=4 {
            let dir = old();
            let folder = dir.path();
            let set = set(folder);
            let list = List {
                aside: vec![],
                drop: vec![names::FAULTS.into(), names::ENERGY.into(), names::OBSERVABLES.into()],
                put: [names::SPEC, names::SUMMARY, names::WAVEFUNCTION].map(String::from).to_vec(),
            };
            fs::write(set.path().join(COMPLETE), serde_json::to_vec(&list).unwrap()).unwrap();
            let steps: [&dyn Fn(); 4] = [
                &|| fs::remove_file(folder.join(names::FAULTS)).unwrap(),
                &|| fs::rename(set.path().join(names::SPEC), folder.join(names::SPEC)).unwrap(),
                &|| {
                    let from = set.path().join(names::SUMMARY);
                    fs::rename(from, folder.join(names::SUMMARY)).unwrap();
                },
                &|| {
                    let from = set.path().join(names::WAVEFUNCTION);
                    fs::rename(from, folder.join(names::WAVEFUNCTION)).unwrap();
                },
            ];
            steps[..moves].iter().for_each(|step| step());
            settle_to_read(folder).unwrap();
            check(folder);
        }
    }

    #[test]
    fn new_observables_do_not_go_the_way_of_the_old_ones() {
        let dir = old();
        let mut set = Set::empty(dir.path(), NEW_RESULTS).unwrap();
        fs::write(set.path().join(names::OBSERVABLES), "new").unwrap();
        set.set_aside(&names::PREVIOUS[..1]);
        let list =
            List { aside: set.aside.clone(), drop: vec![], put: vec![names::OBSERVABLES.into()] };
        fs::write(set.path().join(COMPLETE), serde_json::to_vec(&list).unwrap()).unwrap();
        // Everything is done but for the end of the list.
        let place = |name: &str| dir.path().join(name);
        fs::rename(place(names::OBSERVABLES), place("observables.previous.json")).unwrap();
        fs::rename(set.path().join(names::OBSERVABLES), place(names::OBSERVABLES)).unwrap();
        settle(dir.path()).unwrap();
        assert_eq!(text(place(names::OBSERVABLES)).unwrap(), "new");
        assert_eq!(text(place("observables.previous.json")).unwrap(), "old");
    }

    #[test]
    fn a_list_of_other_names_and_a_folder_that_is_a_link_are_refused() {
        let dir = old();
        let set = set(dir.path());
        let list = r#"{"aside":[],"drop":["notes.txt"],"put":["../x"]}"#;
        fs::write(set.path().join(COMPLETE), list).unwrap();
        assert!(matches!(settle(dir.path()), Err(FileError::Malformed { .. })));
        assert!(dir.path().join("notes.txt").exists());
        #[cfg(unix)]
        {
            let other = tempfile::tempdir().unwrap();
            fs::write(other.path().join(names::SPEC), "precious").unwrap();
            std::os::unix::fs::symlink(other.path(), dir.path().join(NEW_RESULTS)).unwrap();
            let refused = Set::empty(dir.path(), NEW_RESULTS);
            assert!(matches!(refused, Err(FileError::NotAFolder { .. })));
            fs::remove_dir_all(dir.path().join(NEW_RUN)).unwrap();
            assert!(matches!(settle(dir.path()), Err(FileError::NotAFolder { .. })));
            assert!(other.path().join(names::SPEC).exists());
        }
    }
}
