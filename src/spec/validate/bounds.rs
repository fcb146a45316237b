//! What a number may be, whatever it says.

use super::{Checked, Violation};
use crate::spec::error::Problem;
use std::fmt::Display;

/// Largest length in bohr, and inverse of the smallest: beyond, fourth powers leave sensible numbers.
pub(super) const MAX_LENGTH: f64 = 1e6;

pub(super) fn violated(field: &str, bound: impl Into<String>, found: impl Display) -> Checked {
    Err(Violation { field: field.to_owned(), problem: Problem::bound(bound, found) })
}

pub(super) fn rule(field: &str, message: &str) -> Checked {
    Err(Violation { field: field.to_owned(), problem: Problem::Rule(message.to_owned()) })
}

pub(super) fn not_blank(field: &str, text: &str) -> Checked {
    if text.trim().is_empty() {
        return violated(field, "must not be empty", format!("{text:?}"));
    }
    Ok(())
}

pub(super) fn within(field: &str, value: usize, least: u64, most: u64) -> Checked {
    // `usize` has at most 64 bits on every platform Rust supports.
    let wide = value as u64;
    if wide < least || wide > most {
        return violated(field, format!("must be between {least} and {most}"), value);
    }
    Ok(())
}

pub(super) fn count(field: &str, found: usize, least: usize, most: usize, what: &str) -> Checked {
    if found < least {
        return violated(field, format!("at least {least} {what} is needed"), found);
    }
    if found > most {
        return violated(field, format!("at most {most} {what}s are allowed"), found);
    }
    Ok(())
}

pub(super) fn finite(field: &str, value: f64) -> Checked {
    if value.is_finite() { Ok(()) } else { violated(field, "must be a finite number", value) }
}

pub(super) fn finite_elements(field: &str, values: &[f64]) -> Checked {
    values.iter().enumerate().try_for_each(|(i, &value)| finite(&format!("{field}[{i}]"), value))
}

pub(super) fn positive(field: &str, value: f64) -> Checked {
    finite(field, value)?;
    if value > 0.0 { Ok(()) } else { violated(field, "must be positive", value) }
}

pub(super) fn length(field: &str, value: f64) -> Checked {
    positive(field, value)?;
    if (1.0 / MAX_LENGTH..=MAX_LENGTH).contains(&value) {
        return Ok(());
    }
    violated(
        field,
        format!("must be between {:e} and {MAX_LENGTH:e} bohr", 1.0 / MAX_LENGTH),
        value,
    )
}

pub(super) fn between(field: &str, value: f64, least: f64, most: f64) -> Checked {
    if least < value && value < most {
        return Ok(());
    }
    violated(field, format!("must be above {least} and below {most}"), value)
}

pub(super) fn not_negative(field: &str, value: f64) -> Checked {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    violated(field, "must be finite and at least 0", value)
}

pub(super) fn fraction(field: &str, value: f64) -> Checked {
    if 0.0 < value && value <= 1.0 {
        return Ok(());
    }
    violated(field, "must be above 0 and at most 1", value)
}
