//! Links from a page to the files of a run.

use crate::store::files::names;
use std::path::{Component, Path};

/// The files of data a folder may hold, in the order of the page, and what they are.
const DATA: [(&str, &str); 15] = [
    (names::SUMMARY, "the result and the checks, for programs"),
    (names::ENERGY, "one row an iteration: energy, variance, gradient, step"),
    (names::TIMING, "wall time at the end of each iteration"),
    (names::DENSITY, "one-body density of the final samples, in bins"),
    (names::TRANSITION_DENSITY, "densities of the transitions between the states, in bins"),
    (names::REFERENCE_DENSITY, "one-body density by exact diagonalisation, at points"),
    (names::REFERENCE_PAIRS, "pair density by exact diagonalisation, for numpy.load"),
    (names::OBSERVABLES_CSV, "measured observables as a table"),
    (names::OBSERVABLES_NPZ, "the same for numpy.load"),
    (names::PROJECTION, "the projected energy, its curve and pure observables, for programs"),
    (names::PROJECTION_CSV, "the correction for each length of the projection"),
    (names::FAULTS, "samples without a sensible local energy"),
    (names::SPEC, "the resolved spec"),
    (names::WAVEFUNCTION, "parameters of the trained wavefunction"),
    (names::PROVENANCE, "date, command and host of the run"),
];

/// The files of a run as a page refers to them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Links {
    /// Address of the folder from the page, empty or with a slash at its end.
    pub base: String,
    /// File names with what they hold.
    pub files: Vec<(&'static str, &'static str)>,
}

impl Links {
    /// To the files that are in `folder` now, from a page in the same folder.
    pub fn beside(folder: &Path) -> Self {
        Links::of_files(|name| folder.join(name).is_file())
    }

    /// To those files that are, or will be, in the folder of the page.
    pub fn of_files(there: impl Fn(&str) -> bool) -> Self {
        let files = DATA.into_iter().filter(|(name, _)| there(name)).collect();
        Links { base: String::new(), files }
    }

    /// The same from a page elsewhere; none where no relative address leads from there.
    pub fn from_page(page: &Path, folder: &Path) -> Self {
        match relative(page, folder) {
            Some(base) => Links { base, ..Links::beside(folder) },
            None => Links::default(),
        }
    }
}

/// The address of `folder` for a page, empty or with a slash at its end. None where either cannot be found.
pub fn relative(page: &Path, folder: &Path) -> Option<String> {
    let from = page.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (from, to) = (from.canonicalize().ok()?, folder.canonicalize().ok()?);
    let (from, to): (Vec<_>, Vec<_>) = (from.components().collect(), to.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    // Drives have no way from one to the other.
    if common == 0 {
        return None;
    }
    let mut address = "../".repeat(from.len() - common);
    for component in &to[common..] {
        let Component::Normal(name) = component else { return None };
        address.push_str(&encoded(name.to_str()?));
        address.push('/');
    }
    Some(address)
}

/// A name as a part of an address: all but unreserved characters by their bytes.
pub fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_finds_the_folder_from_wherever_it_is() {
        let root = tempfile::tempdir().unwrap();
        let run = root.path().join("out/a: b#1");
        std::fs::create_dir_all(&run).unwrap();
        std::fs::create_dir_all(root.path().join("pages/old")).unwrap();
        let from = |page: &str| relative(&root.path().join(page), &run);
        assert_eq!(from("out/a: b#1/report.html").as_deref(), Some(""));
        assert_eq!(from("out/both.html").as_deref(), Some("a%3A%20b%231/"));
        assert_eq!(from("pages/old/x.html").as_deref(), Some("../../out/a%3A%20b%231/"));
        assert_eq!(from("nowhere/x.html"), None);
    }

    #[test]
    fn only_files_that_exist_are_linked() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Links::beside(root.path()).files, []);
        std::fs::write(root.path().join(names::DENSITY), "").unwrap();
        std::fs::write(root.path().join("notes.txt"), "").unwrap();
        let links = Links::beside(root.path());
        assert_eq!(links.files.iter().map(|f| f.0).collect::<Vec<_>>(), [names::DENSITY]);
    }
}
