//! What the tests of the program share: running it, and reading what it leaves.

// Not every test needs all of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

/// Runs the program in a folder.
pub fn weylflow(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weylflow"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

/// Its exit code, and what it says on standard output and standard error.
pub fn said(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = weylflow(folder, arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Whether the program came to its end: 0, or 4 where the energy is doubtful, as those of tiny trainings are.
pub fn ended(status: ExitStatus) -> bool {
    matches!(status.code(), Some(0 | 4))
}

/// What it prints, where it must come to its end.
pub fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let output = weylflow(folder, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(ended(output.status), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// What it says on standard error, where it must fail, with this in it and without a panic.
pub fn fails(folder: &Path, arguments: &[&str], message: &str) -> String {
    let output = weylflow(folder, arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{arguments:?} should fail");
    assert!(error.contains(message) && !error.contains("panicked"), "{arguments:?}: {error}");
    error
}

/// The text of a file.
pub fn read(path: PathBuf) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
