//! Named parameters at the level of the text: what a reader of plain numbers is given, and where that came from.

use super::locate::{self, Outline};
use crate::system::formula::{self, FormulaError};
use std::ops::Range;

/// A text with pieces replaced.
#[derive(Clone, Debug)]
pub(super) struct Expanded {
    /// The new text.
    pub text: String,
    /// What was replaced by what: bytes of the old text and of the new, ascending.
    pieces: Vec<(Range<usize>, Range<usize>)>,
}

impl Expanded {
    /// Replaces ranges by texts.
    pub(super) fn new(old: &str, mut changes: Vec<(Range<usize>, String)>) -> Self {
        changes.sort_by_key(|(range, _)| range.start);
        let (mut text, mut pieces, mut done) = (String::new(), Vec::new(), 0);
        for (range, new) in changes {
            // In a text whose brackets do not match, pieces may overlap: the first one counts.
            if range.start < done {
                continue;
            }
            text += &old[done..range.start];
            let start = text.len();
            text += &new;
            done = range.end;
            pieces.push((range, start..text.len()));
        }
        text += &old[done..];
        Expanded { text, pieces }
    }

    /// Where an offset of the new text is in the old: the start of what was replaced by something of another length.
    pub(super) fn origin(&self, offset: usize) -> usize {
        let before = self.pieces.iter().rev().find(|(_, new)| new.start <= offset);
        let Some((old, new)) = before else { return offset };
        match offset < new.end {
            true if old.len() == new.len() => old.start + (offset - new.start),
            true => old.start,
            false => old.end + (offset - new.end),
        }
    }
}

/// Blanks of as many bytes, with the line ends where they are.
pub(super) fn blank(text: &str) -> String {
    text.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect()
}

/// Changes for a text in which parameters have values, and the names that it uses.
pub(super) struct Substitution {
    pub(super) changes: Vec<(Range<usize>, String)>,
    pub(super) used: Vec<String>,
}

/// A formula that cannot be used: where its literal is, and what is wrong.
pub(super) type BadFormula = (Range<usize>, FormulaError);

/// Puts values for the parameters in every formula below one of `roots` that names some; texts where a number is meant
/// become that number.
pub(super) fn substitute(
    text: &str,
    roots: &[&str],
    parameters: &[(String, f64)],
) -> Result<Substitution, BadFormula> {
    let mut found = Substitution { changes: Vec::new(), used: Vec::new() };
    if parameters.is_empty() {
        return Ok(found);
    }
    let value = |name: &str| parameters.iter().find(|(p, _)| p == name).map(|(_, v)| *v);
    for literal in Outline::new(text).formulas(roots) {
        let span = literal.span.clone();
        // What is no RON string is for the reader of the whole to report.
        let Ok(content) = ron::from_str::<String>(&text[span.clone()]) else { continue };
        let bad = |error| (span.clone(), error);
        let names = formula::names(&content);
        match literal.variable {
            Some(variable) => {
                formula::check(&content, variable, parameters).map_err(bad)?;
                for (range, name) in &names {
                    if let Some(value) = value(name) {
                        let at = |i| locate::offset_in_string(text, span.clone(), i);
                        let number = if value < 0.0 || value.is_sign_negative() {
                            format!("({value:?})")
                        } else {
                            format!("{value:?}")
                        };
                        found.changes.push((at(range.start)..at(range.end), number));
                    }
                }
            }
            None => {
                let number = formula::number(&content, parameters).map_err(bad)?;
                found.changes.push((span, number_text(number)));
            }
        }
        found.used.extend(names.into_iter().map(|(_, name)| name));
    }
    Ok(found)
}

/// A number as RON reads it back: the same bits.
fn number_text(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".to_owned(),
        v if v.is_infinite() => if v > 0.0 { "inf" } else { "-inf" }.to_owned(),
        v => format!("{v:?}"),
    }
}
