//! What a command may write: over no input, and in no disguise.

use std::path::{Path, PathBuf};

/// Refuses to write over a file that the command reads, however either is spelled and whatever links lead there;
/// `same` tells of an input whether what would be written is what it holds.
///
/// # Errors
/// The input and what would be written over it.
pub(super) fn not_over_inputs(
    inputs: &[PathBuf],
    outputs: &[PathBuf],
    same: impl Fn(&Path) -> bool,
) -> Result<(), String> {
    for input in inputs {
        for output in outputs {
            if is_same_file(input, output) && !same(input) {
                return Err(format!(
                    "`{}` is an input, and would be written over as `{}`: write elsewhere",
                    input.display(),
                    output.display()
                ));
            }
        }
    }
    Ok(())
}

/// Whether two names lead to one file.
fn is_same_file(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    if let (Ok(a), Ok(b)) = (std::fs::metadata(a), std::fs::metadata(b)) {
        use std::os::unix::fs::MetadataExt;
        return (a.dev(), a.ino()) == (b.dev(), b.ino());
    }
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Whether two names, of files that need not be there yet, are names of one file.
pub(super) fn is_same_name(a: &Path, b: &Path) -> bool {
    let folder = |path: &Path| {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        parent.unwrap_or(Path::new(".")).canonicalize().ok()
    };
    a == b || is_same_file(a, b) || a.file_name() == b.file_name() && folder(a) == folder(b)
}

/// A format that a command writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Npz,
    Csv,
    Html,
}

/// Refuses a name whose ending tells of another format than the one that is written.
///
/// # Errors
/// The name and the ending it should have.
pub(super) fn named_as(path: &Path, format: Format) -> Result<(), String> {
    let (what, endings): (_, &[&str]) = match format {
        Format::Npz => ("an archive of arrays", &["npz"]),
        Format::Csv => ("a table", &["csv", "txt", "dat"]),
        Format::Html => ("a page", &["html", "htm"]),
    };
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    // Without an ending a name promises nothing, but numpy and others would not know the archive.
    let fits = match &ending {
        None => format != Format::Npz,
        Some(ending) => endings.contains(&ending.as_str()),
    };
    if fits {
        return Ok(());
    }
    Err(format!(
        "`{}`: {what} is written, whose name should end in `.{}`",
        path.display(),
        endings[0]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_input_is_found_by_every_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("sub")).unwrap();
        for name in ["spec.ron", "other"] {
            fs::write(path(name), name).unwrap();
        }
        let refused = |input: PathBuf, output: PathBuf| {
            not_over_inputs(&[input], &[output], |_| false).is_err()
        };
        assert!(refused(path("spec.ron"), path("sub/../spec.ron")));
        assert!(!refused(path("spec.ron"), path("other")));
        assert!(!refused(path("spec.ron"), path("none")));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(path("spec.ron"), path("soft")).unwrap();
            std::os::unix::fs::symlink(dir.path(), path("folder")).unwrap();
            fs::hard_link(path("spec.ron"), path("hard")).unwrap();
            for name in ["soft", "hard", "folder/spec.ron"] {
                assert!(refused(path("spec.ron"), path(name)), "{name}");
                assert!(refused(path(name), path("spec.ron")), "{name}");
            }
        }
        assert!(is_same_name(&path("new"), &path("sub/../new")));
        assert!(!is_same_name(&path("new"), &path("sub/new")));
        let same = not_over_inputs(&[path("other")], &[path("other")], |_| true);
        assert_eq!(same, Ok(()));
    }

    #[test]
    fn endings_tell_the_format() {
        let fits = |name: &str, format| named_as(Path::new(name), format).is_ok();
        for (name, npz, csv, html) in [
            ("a.npz", true, false, false),
            ("a.NPZ", true, false, false),
            ("a.csv", false, true, false),
            ("a.txt", false, true, false),
            ("a.html", false, false, true),
            ("a.json", false, false, false),
            ("a.zip", false, false, false),
            ("a", false, true, true),
        ] {
            let found = [Format::Npz, Format::Csv, Format::Html].map(|f| fits(name, f));
            assert_eq!(found, [npz, csv, html], "{name}");
        }
    }
}
