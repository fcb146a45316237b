//! What can be wrong with a spec, and where.

use super::locate::{self, Position};
pub use crate::input::FileProblem;
use crate::nearest::{nearest, suggestion};
use crate::system::formula::FormulaProblem;
use std::fmt;
use std::path::{Path, PathBuf};

/// A spec (or a Hamiltonian file) that cannot be used.
///
/// Its `Display` is meant for the user: `file:line:column: field ..: message`, then the line of the
/// file with a caret under the column.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The file cannot be read at all.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file, as given.
        path: PathBuf,
        /// Why it cannot be read.
        problem: FileProblem,
    },
    /// Something in the text is wrong.
    #[error(transparent)]
    Text(Box<TextError>),
}

/// A problem at a place in a text.
#[derive(Debug, thiserror::Error)]
pub struct TextError {
    /// The file the text comes from.
    pub file: PathBuf,
    /// Where in the file.
    pub position: Position,
    /// Path of the field concerned; empty for the whole.
    pub field: String,
    /// What is wrong.
    pub problem: Problem,
    /// The line of the text with the problem.
    pub source_line: String,
}

/// What can be wrong at a place of a spec.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The text is not RON.
    #[error("{0}")]
    Syntax(String),
    /// The file is not UTF-8.
    #[error("this byte is not valid UTF-8 text")]
    NotUtf8,
    /// A field that does not exist.
    #[error(
        "unknown field `{found}`{}; the fields here are {}",
        suggest(found, expected),
        list(expected)
    )]
    UnknownField {
        /// The name as written.
        found: String,
        /// The names that are valid there.
        expected: &'static [&'static str],
    },
    /// A choice that does not exist.
    #[error(
        "unknown choice `{found}`{}; the choices here are {}",
        suggest(found, expected),
        list(expected)
    )]
    UnknownVariant {
        /// The name as written.
        found: String,
        /// The names that are valid there.
        expected: &'static [&'static str],
    },
    /// A field without a default was left out.
    #[error("the field `{0}` is missing")]
    MissingField(String),
    /// A field was given twice.
    #[error("the field `{0}` is given twice")]
    DuplicateField(String),
    /// A value of the wrong kind.
    #[error("expected {expected}")]
    WrongType {
        /// What belongs there.
        expected: String,
    },
    /// A formula that cannot be used; the position is that within the formula.
    #[error("column {column} of the formula: {problem}")]
    Formula {
        /// Column within the formula.
        column: usize,
        /// What is wrong with the formula.
        problem: FormulaProblem,
    },
    /// A value outside its bounds.
    #[error("{bound}, found {found}")]
    Bound {
        /// What the value has to satisfy.
        bound: String,
        /// The value.
        found: String,
    },
    /// States or a temperature that no run finds.
    #[error("{bound}, found {found}")]
    NoEnsemble {
        /// What the spec has to satisfy.
        bound: String,
        /// What it says.
        found: String,
        /// What is known all the same.
        known: Known,
    },
    /// Values that are fine by themselves but not together, or not for what the run needs.
    #[error("{0}")]
    Rule(String),
    /// The Hamiltonian file that the spec names cannot be read.
    #[error("the Hamiltonian file `{}`: {problem}", path.display())]
    HamiltonianFile {
        /// The file, relative to where the program runs.
        path: PathBuf,
        /// Why it cannot be read.
        problem: FileProblem,
    },
    /// The file that a table names cannot be read.
    #[error("the table `{}`: {problem}", path.display())]
    TableFile {
        /// The file, relative to where the program runs.
        path: PathBuf,
        /// Why it cannot be read.
        problem: FileProblem,
    },
}

/// What the exact solver knows of a system whose ensembles no run finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Known {
    /// The ground state.
    GroundState,
    /// The lowest energies in a harmonic trap.
    TrapLevels,
    /// Closed forms at temperatures.
    ClosedForms,
}

fn suggest(found: &str, expected: &[&'static str]) -> String {
    suggestion(nearest(found, expected.iter().copied()))
}

fn list(names: &[&str]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

impl SpecError {
    /// An error at a byte offset of a text.
    pub(super) fn at(
        file: &Path,
        text: &str,
        offset: usize,
        field: String,
        problem: Problem,
    ) -> Self {
        let position = locate::position(text, offset);
        let source_line = text.lines().nth(position.line - 1).unwrap_or_default().to_owned();
        SpecError::Text(Box::new(TextError {
            file: file.to_owned(),
            position,
            field,
            problem,
            source_line,
        }))
    }
}

/// Characters of a source line shown on each side of the caret.
const CONTEXT: usize = 60;

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.position;
        write!(f, "{}:{line}:{column}: ", self.file.display())?;
        if !self.field.is_empty() {
            write!(f, "field {}: ", self.field)?;
        }
        write!(f, "{}", self.problem)?;
        // Tabs and other control characters become blanks, so that the caret stands where it should.
        let first = (column - 1).saturating_sub(CONTEXT);
        let shown = self.source_line.chars().skip(first).take(2 * CONTEXT);
        let shown: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
        let label = line.to_string();
        let gutter = " ".repeat(label.len());
        let indent = " ".repeat(column - 1 - first);
        write!(f, "\n {gutter} |\n {label} | {}\n {gutter} | {indent}^", shown.trim_end())
    }
}

impl Problem {
    /// A violated bound.
    pub(super) fn bound(bound: impl Into<String>, found: impl fmt::Display) -> Self {
        Problem::Bound { bound: bound.into(), found: found.to_string() }
    }
}
