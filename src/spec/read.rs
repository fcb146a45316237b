//! From a file to a checked spec, or to an error that shows where the file is wrong.

use super::ResolvedSpec;
use super::error::{Problem, SpecError};
use super::expand::Expanded;
use super::family::{Family, HamiltonianFamily, PARAMETERS, SCAN};
use super::locate::{self, Outline, Position};
use super::validate::Violation;
use crate::input;
use crate::nearest::nearest;
use crate::system::Hamiltonian;
use crate::system::formula::{Formula, FormulaError};
use ron::Options;
use ron::error::{Error, SpannedError};
use ron::extensions::Extensions;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// Largest spec or Hamiltonian file that is read, in bytes.
pub const MAX_FILE_SIZE: u64 = input::MOST_SPEC_BYTES;

/// Deepest nesting of values in a file.
const RECURSION_LIMIT: usize = 48;

/// The dialect of RON that specs are written in: the fields of a choice follow its name directly,
/// `Waveflow(layers: 2)`, and an optional value needs no `Some`.
pub(super) fn dialect() -> Options {
    Options::default()
        .with_default_extension(Extensions::UNWRAP_VARIANT_NEWTYPES | Extensions::IMPLICIT_SOME)
        .with_recursion_limit(RECURSION_LIMIT)
}

/// Loads a spec and the Hamiltonian file it names, and checks all bounds.
///
/// # Errors
///
/// [`SpecError`], pointing into the spec or into the Hamiltonian file.
pub fn load(path: &Path) -> Result<ResolvedSpec, SpecError> {
    Family::load(path)?.spec()
}

/// Loads a Hamiltonian file and checks the bounds that do not depend on a geometry; see
/// [`hamiltonian_in`](super::validate::hamiltonian_in) for the others.
///
/// # Errors
///
/// [`SpecError`], pointing into the file.
pub fn load_hamiltonian(path: &Path) -> Result<Hamiltonian, SpecError> {
    HamiltonianFamily::load(path)?.hamiltonian()
}

/// Whether the file is a run spec rather than a Hamiltonian, told from the fields of its outermost
/// value: specs have a `hamiltonian`, Hamiltonians an `external` and an `interaction`. A file with
/// none of them counts as what the other fields belong to.
///
/// # Errors
///
/// [`SpecError`] when the file cannot be read.
pub fn names_hamiltonian(path: &Path) -> Result<bool, SpecError> {
    let text = read_text(path)?;
    let outline = Outline::new(&text);
    let has = |fields: &[&str]| fields.iter().any(|f| outline.has_field(f));
    Ok(has(&["hamiltonian", "sector", "geometry"])
        && (has(&["hamiltonian"]) || !has(&["external", "interaction"])))
}

/// The spec, the Hamiltonian file that it names, and the files of tables: everything that [`load`] reads.
///
/// # Errors
///
/// [`SpecError`] when the spec cannot be read.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, SpecError> {
    let family = Family::load(path)?;
    let named = family.hamiltonian_file().into_iter().chain(family.table_files());
    Ok([path.to_owned()].into_iter().chain(named).collect())
}

/// Loads any other RON file of the project's, for instance a suite of specs.
///
/// # Errors
///
/// [`SpecError`], pointing into the file.
pub fn load_value<T: DeserializeOwned>(path: &Path) -> Result<T, SpecError> {
    Ok(Source::parse(read_text(path)?, path)?.value)
}

/// Reads the text of a spec. `path` is for error messages, and a Hamiltonian file is looked for
/// relative to its folder.
///
/// # Errors
///
/// [`SpecError`], pointing into the text or into the Hamiltonian file.
pub fn parse(text: &str, path: &Path) -> Result<ResolvedSpec, SpecError> {
    Family::parse(text, path)?.spec()
}

/// A value with the text it was read from.
pub(super) struct Source<T> {
    file: PathBuf,
    text: String,
    expanded: Expanded,
    pub(super) value: T,
}

impl<T: DeserializeOwned> Source<T> {
    fn parse(text: String, path: &Path) -> Result<Self, SpecError> {
        let expanded = Expanded::new(&text, Vec::new());
        Self::parse_expanded(text, expanded, path)
    }

    pub(super) fn parse_expanded(
        text: String,
        expanded: Expanded,
        path: &Path,
    ) -> Result<Self, SpecError> {
        match dialect().from_str(&expanded.text) {
            Ok(value) => Ok(Source { file: path.to_owned(), text, expanded, value }),
            Err(error) => Err(explain(path, &text, &expanded, error)),
        }
    }
}

impl<T> Source<T> {
    /// Shows a violation in the text; `prefix` leads to what the violation's paths start at.
    pub(super) fn locate(&self, prefix: &str, violation: Violation) -> SpecError {
        let field = format!("{prefix}{}", violation.field);
        let offset = self.expanded.origin(Outline::new(&self.expanded.text).find(&field));
        SpecError::at(&self.file, &self.text, offset, field, violation.problem)
    }

    pub(super) fn error_at_string(&self, field: &str, problem: Problem) -> SpecError {
        let outline = Outline::new(&self.expanded.text);
        let offset = outline.find_string(field).unwrap_or_else(|| outline.find(field));
        let offset = self.expanded.origin(offset);
        SpecError::at(&self.file, &self.text, offset, field.to_owned(), problem)
    }
}

/// Reads a text file of reasonable size.
pub(super) fn read_text(path: &Path) -> Result<String, SpecError> {
    let bytes = input::read(path, MAX_FILE_SIZE)
        .map_err(|problem| SpecError::File { path: path.to_owned(), problem })?;
    let mut text = String::from_utf8(bytes).map_err(|e| {
        let valid = e.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(e.as_bytes());
        // Up to the bad byte the lossy text is the file, so the offset is that within the file.
        SpecError::at(path, &text, valid, String::new(), Problem::NotUtf8)
    })?;
    input::drop_byte_order_mark(&mut text);
    Ok(text)
}

/// Turns an error of the RON reader into one that says what to do, at the right place.
pub(super) fn explain(
    path: &Path,
    original: &str,
    expanded: &Expanded,
    error: SpannedError,
) -> SpecError {
    let text = expanded.text.as_str();
    let outline = Outline::new(text);
    let to_offset = |p: ron::error::Position| {
        locate::offset(text, Position { line: p.line, column: p.col.max(1) })
    };
    let (start, end) = (to_offset(error.span.start), to_offset(error.span.end));
    // Spans may start at the blanks before the culprit.
    let blanks = text[start..].len() - text[start..].trim_start().len();
    let culprit = (start + blanks).min(end.max(start));
    let at = |offset: usize, problem: Problem| {
        SpecError::at(path, original, expanded.origin(offset), outline.path_at(offset), problem)
    };
    // A value of the wrong type is shown from its start, whichever part of it was the last straw.
    let leaf_start = outline.leaf_at(culprit).map_or(culprit, |v| v.start);
    let syntax = |message: String| Problem::Syntax(message);
    let expected = |what: &str| Problem::WrongType { expected: what.to_owned() };
    let here = text[culprit..].chars().next();

    match error.code {
        // These are no fields of the spec as it is read, but of the text.
        Error::NoSuchStructField { expected, found, .. }
            if expected.contains(&"hamiltonian") || expected.contains(&"interaction") =>
        {
            let fields: &[&str] = match expected.contains(&"hamiltonian") {
                true => &[PARAMETERS, SCAN],
                false => &[PARAMETERS],
            };
            let near = nearest(&found, expected.iter().chain(fields).copied());
            match near.filter(|n| fields.contains(n)) {
                Some(meant) if meant == found => at(culprit, Problem::DuplicateField(found)),
                Some(meant) => {
                    let message = format!("unknown field `{found}`; did you mean `{meant}`?");
                    at(culprit, Problem::Rule(message))
                }
                None => at(culprit, Problem::UnknownField { found, expected }),
            }
        }
        Error::NoSuchStructField { expected, found, .. } => {
            at(culprit, Problem::UnknownField { found, expected })
        }
        Error::NoSuchEnumVariant { expected, found, .. } => {
            at(culprit, Problem::UnknownVariant { found, expected })
        }
        // The reader notices at the closing bracket; the beginning says better what is incomplete.
        Error::MissingStructField { field, .. } => {
            let whole = outline.value_at(culprit).map_or(culprit, |v| v.start);
            at(whole, Problem::MissingField(field.to_owned()))
        }
        Error::DuplicateStructField { field, .. } => {
            at(culprit, Problem::DuplicateField(field.to_owned()))
        }
        Error::ExpectedInteger
        | Error::IntegerOutOfBounds
        | Error::InvalidIntegerDigit { .. }
        | Error::UnderscoreAtBeginning => {
            at(leaf_start, expected("a whole number, not negative and below 2^64"))
        }
        // A whole number was read up to its point or exponent.
        Error::ExpectedComma
            if matches!(here, Some('.' | 'e' | 'E'))
                && text[..culprit].ends_with(|c: char| c.is_ascii_digit()) =>
        {
            at(leaf_start, expected("a whole number"))
        }
        Error::ExpectedFloat | Error::FloatUnderscore => at(leaf_start, expected("a number")),
        Error::ExpectedBoolean => at(leaf_start, expected("`true` or `false`")),
        Error::ExpectedString => at(leaf_start, expected("a text in double quotes")),
        Error::ExpectedArray => at(leaf_start, expected("a list in square brackets")),
        Error::ExpectedStringEnd => {
            at(leaf_start, syntax("this text is never closed with `\"`".to_owned()))
        }
        Error::Eof => match outline.unclosed() {
            Some(bracket) => at(bracket, syntax("this bracket is never closed".to_owned())),
            None => at(text.len(), syntax("the file ends too early".to_owned())),
        },
        Error::UnclosedBlockComment => {
            let start = outline.unclosed_comment().unwrap_or(culprit);
            at(start, syntax("this comment is never closed with `*/`".to_owned()))
        }
        Error::ExceededRecursionLimit => {
            let message = format!("values are nested deeper than {RECURSION_LIMIT} levels");
            at(culprit, syntax(message))
        }
        Error::ExpectedComma => match name_before(text, culprit).filter(|_| here == Some('(')) {
            Some((_, name)) => {
                let message = format!("`{name}` has no fields: it is written without brackets");
                at(culprit, syntax(message))
            }
            None => at(culprit, syntax("expected `,` or a closing bracket".to_owned())),
        },
        Error::ExpectedMapColon => {
            at(culprit, syntax("expected `:` after the name of a field".to_owned()))
        }
        Error::ExpectedIdentifier if here == Some('(') => {
            let message = "one pair of parentheses is enough: the fields follow the name directly";
            at(culprit, syntax(message.to_owned()))
        }
        Error::ExpectedIdentifier => {
            at(culprit, syntax("expected the name of a field or a choice".to_owned()))
        }
        Error::SuggestRawIdentifier(found) | Error::InvalidIdentifier(found) => at(
            culprit,
            syntax(format!("expected the name of a field or a choice, found `{found}`")),
        ),
        Error::ExpectedStructLike
        | Error::ExpectedNamedStructLike(_)
        | Error::ExpectedStructName(_) => match name_before(text, culprit) {
            Some((start, name)) => {
                let message = format!("expected `(` and the fields of `{name}` behind its name");
                let end = expanded.origin(start + name.len());
                SpecError::at(path, original, end, outline.path_at(start), syntax(message))
            }
            None => at(culprit, syntax("expected `(` and the fields in it".to_owned())),
        },
        Error::ExpectedDifferentStructName { expected, found } => {
            let choice = if expected == "Sector" { ", `Components([`" } else { "" };
            let message = format!("expected `(`{choice} or `{expected}(`, found `{found}`");
            at(culprit, syntax(message))
        }
        Error::ExpectedStructLikeEnd => at(culprit, syntax("expected `)`".to_owned())),
        Error::TrailingCharacters => {
            at(culprit, syntax("unexpected text after the closing `)`".to_owned()))
        }
        Error::Message(message) => match formula_error(text, &outline, culprit, &message) {
            Some((offset, problem)) => at(offset, problem),
            None => at(culprit, syntax(message)),
        },
        other => at(culprit, syntax(other.to_string())),
    }
}

/// The name right before a place, and where it begins.
fn name_before(text: &str, offset: usize) -> Option<(usize, &str)> {
    let before = text[..offset].trim_end();
    let start = before.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').len();
    let name = &before[start..];
    name.starts_with(char::is_alphabetic).then_some((start, name))
}

/// Recovers the typed error of a formula from its message, which is all that serde passes on: the
/// formula at `offset` is read again, and the error with this very message is the one.
fn formula_error(
    text: &str,
    outline: &Outline<'_>,
    offset: usize,
    message: &str,
) -> Option<(usize, Problem)> {
    let literal = outline.string_at(offset)?;
    let formula: String = ron::from_str(&text[literal.clone()]).ok()?;
    let errors = [Formula::<'x'>::new(&formula).err(), Formula::<'d'>::new(&formula).err()];
    let same = |e: &FormulaError| e.to_string() == message;
    let FormulaError { column, problem, .. } = errors.into_iter().flatten().find(same)?;
    let offset = locate::offset_in_string(text, literal, column - 1);
    Some((offset, Problem::Formula { column, problem }))
}
