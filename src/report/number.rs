//! Numbers as people write them: uncertainty in parentheses, durations in words.

/// Writes a value with its standard error in the last digits: `-1.816042(3)`.
///
/// The error gets two digits where the first is a 1, so that rounding never changes it by more than
/// a quarter, and one digit otherwise. An error of one or more carries its decimal point
/// (`0.2(1.5)`). Very large and very small numbers get a power of ten (`1.23(4)e-8`). An error of
/// zero is none, and gives the digits of [`format_known`]; one that is not a number gives `(?)`. A value
/// that rounds to zero has no sign.
pub fn format_with_uncertainty(value: f64, error: f64) -> String {
    if !value.is_finite() {
        return format!("{value}");
    }
    if !error.is_finite() || error < 0.0 {
        return format!("{}(?)", format_known(value));
    }
    if error == 0.0 {
        return unsigned_zero(format_known(value));
    }
    let size = value.abs().max(error);
    let power = exponent(size, 0);
    if (-4..6).contains(&power) {
        return fixed(value, error);
    }
    // In two steps, since the power of a subnormal number overflows.
    let scale = |x: f64| x / 10f64.powi(power / 2) / 10f64.powi(power - power / 2);
    format!("{}e{power}", fixed(scale(value), scale(error)))
}

/// The same with a plus before a value above zero, for differences.
pub fn format_difference(value: f64, error: f64) -> String {
    with_plus(format_with_uncertainty(value, error))
}

/// Puts a plus before a number above zero; what is written as zero gets none.
pub fn with_plus(text: String) -> String {
    let digits = text.split(['(', 'e']).next().unwrap_or_default();
    match digits.parse::<f64>() {
        Ok(x) if x > 0.0 => format!("+{text}"),
        _ => text,
    }
}

/// Takes the minus from a number that is written as zero.
pub fn unsigned_zero(text: String) -> String {
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|b| matches!(b, b'0' | b'.')) => rest.into(),
        _ => text,
    }
}

/// A number without an error bar: eleven significant digits, without zeros at the end. More of a
/// computed energy is noise.
pub fn format_known(x: f64) -> String {
    const DIGITS: usize = 11;
    let text = format_significant(x, DIGITS);
    let (digits, power) = match text.split_once('e') {
        Some((digits, power)) => (digits, Some(power)),
        None => (text.as_str(), None),
    };
    let digits = if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        digits
    };
    power.map_or_else(|| digits.to_owned(), |power| format!("{digits}e{power}"))
}

/// How an error bar compares with another that is `ratio` times as large: `2.0(4) times smaller`, or
/// `2.2(4) times larger` where the ratio is below one.
pub fn format_ratio(ratio: f64, uncertainty: f64) -> String {
    if ratio > 0.0 && ratio < 1.0 {
        let (inverse, error) = (ratio.recip(), uncertainty / (ratio * ratio));
        return format!("{} times larger", format_with_uncertainty(inverse, error));
    }
    format!("{} times smaller", format_with_uncertainty(ratio, uncertainty))
}

fn fixed(value: f64, error: f64) -> String {
    // Doubles have no digits beyond these; an error below them shows as one in the last.
    const MOST_DECIMALS: i32 = 15;
    let first = exponent(error, 1);
    let leading = error / 10f64.powi(first);
    let digits = if leading < 1.95 { 2 } else { 1 };
    let decimals = (digits - 1 - first).min(MOST_DECIMALS);
    if decimals <= 0 {
        let unit = 10f64.powi(-decimals);
        let round = |x: f64| (x / unit).round() * unit;
        return format!("{:.0}({:.0})", round(value) + 0.0, round(error));
    }
    let places = decimals as usize;
    let digits = unsigned_zero(format!("{value:.places$}"));
    if error >= 1.0 {
        return format!("{digits}({error:.places$})");
    }
    let last = (error * 10f64.powi(decimals)).round().max(1.0);
    format!("{digits}({last:.0})")
}

/// Power of ten of a positive number once it is rounded to `decimals` digits after the first.
fn exponent(x: f64, decimals: usize) -> i32 {
    let text = format!("{x:.decimals$e}");
    // `{:e}` always writes an `e` followed by an integer.
    text.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0)
}

/// So many of something: `1 iteration`, `2 iterations`.
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A duration in words: `12 s`, `3 min 05 s`, `2 h 07 min`.
pub fn format_duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".into();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let total = seconds.round() as u64;
    match total {
        0..60 => format!("{total} s"),
        60..3600 => format!("{} min {:02} s", total / 60, total % 60),
        _ => format!("{} h {:02} min", total / 3600, total % 3600 / 60),
    }
}

/// A number with `digits` significant digits, in the shorter of the plain and the power form.
pub fn format_significant(x: f64, digits: usize) -> String {
    if x == 0.0 {
        return "0".into();
    }
    if !x.is_finite() {
        return format!("{x}");
    }
    let decimals = digits.saturating_sub(1);
    let power = exponent(x.abs(), decimals);
    if (-4..6).contains(&power) {
        let places = (decimals as i32 - power).max(0) as usize;
        format!("{x:.places$}")
    } else {
        format!("{x:.decimals$e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uncertainties_in_parentheses() {
        for (value, error, expected) in [
            (-1.816_041_9, 3.2e-6, "-1.816042(3)"),
            (-1.816_041_9, 1.4e-6, "-1.8160419(14)"),
            (-1.816_041_9, 1.96e-6, "-1.816042(2)"),
            (-1.816_041_9, 9.6e-6, "-1.816042(10)"),
            (-1.816_041_9, 0.0, "-1.8160419"),
            (2.0, 0.5, "2.0(5)"),
            (2.04, 0.99, "2.0(10)"),
            (0.2, 1.5, "0.2(1.5)"),
            (0.2, 4.0, "0(4)"),
            (-0.2, 4.0, "0(4)"),
            (-4e-5, 2e-4, "0.0000(2)"),
            (-0.0, 0.5, "0.0(5)"),
            (-0.04, 1.5, "0.0(1.5)"),
            (-0.0, 0.0, "0"),
            (-1.816_069_468_556_358_3, 0.0, "-1.8160694686"),
            (-1.5e-20, 0.0, "-1.5e-20"),
            (123.4, 4.4, "123(4)"),
            (1234.0, 45.0, "1230(50)"),
            (1234.0, 14.0, "1234(14)"),
            (0.0, 0.03, "0.00(3)"),
            (1.234e-8, 4e-10, "1.23(4)e-8"),
            (-1.234e9, 4e6, "-1.234(4)e9"),
            (1e-9, 1e-3, "0.0000(10)"),
            (5.0, 1e-30, "5.000000000000000(1)"),
            (1.5, f64::NAN, "1.5(?)"),
            (1.5, f64::INFINITY, "1.5(?)"),
            (1.5, -1.0, "1.5(?)"),
            (f64::NAN, 1.0, "NaN"),
            (f64::NEG_INFINITY, 1.0, "-inf"),
        ] {
            assert_eq!(format_with_uncertainty(value, error), expected, "{value:?} {error:?}");
        }
    }

    #[test]
    fn differences_have_a_sign_unless_they_are_written_as_zero() {
        for (value, error, expected) in [
            (4e-5, 2e-4, "0.0000(2)"),
            (-4e-5, 2e-4, "0.0000(2)"),
            (1.7e-3, 3e-3, "+0.002(3)"),
            (-1.7e-3, 3e-3, "-0.002(3)"),
            (1.2e-8, 1e-9, "+1.20(10)e-8"),
            (0.0, 0.0, "0"),
            (f64::NAN, 1.0, "NaN"),
        ] {
            assert_eq!(format_difference(value, error), expected);
        }
        assert_eq!(with_plus(unsigned_zero("-0.0".into())), "0.0");
        assert_eq!(unsigned_zero("-0.01".into()), "-0.01");
    }

    #[test]
    fn a_gain_below_one_is_a_loss() {
        assert_eq!(format_ratio(2.0, 0.37), "2.0(4) times smaller");
        assert_eq!(format_ratio(0.46, 0.08), "2.2(4) times larger");
        assert_eq!(format_ratio(1.0, 0.18), "1.00(18) times smaller");
        for odd in [0.0, f64::NAN, f64::INFINITY, -1.0] {
            assert!(format_ratio(odd, 0.1).ends_with("smaller"));
        }
    }

    #[test]
    fn numbers_without_error_bar_have_no_more_digits_than_are_known() {
        for (x, expected) in [
            (-1.816_069_468_556_358_3, "-1.8160694686"),
            (0.5, "0.5"),
            (100.0, "100"),
            (1_234_567.0, "1.234567e6"),
            (1e-9, "1e-9"),
            (0.0, "0"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(format_known(x), expected);
        }
    }

    #[test]
    fn extreme_numbers_are_written_without_panic() {
        for value in [5e-324, f64::MAX, f64::MIN, f64::MIN_POSITIVE, -0.0] {
            for error in [5e-324, f64::MAX, 1.0] {
                let text = format_with_uncertainty(value, error);
                assert!(text.len() < 40 && !text.contains("NaN"), "{value:?} {error:?}: {text}");
            }
        }
    }

    #[test]
    fn durations() {
        for (seconds, expected) in [
            (0.0, "0.0 s"),
            (9.94, "9.9 s"),
            (9.96, "10 s"),
            (59.7, "1 min 00 s"),
            (185.0, "3 min 05 s"),
            (7620.0, "2 h 07 min"),
            (f64::NAN, "?"),
            (-1.0, "?"),
        ] {
            assert_eq!(format_duration(seconds), expected);
        }
    }

    #[test]
    fn significant_digits() {
        for (x, expected) in [
            (0.0123456, "0.0123"),
            (-1.5, "-1.50"),
            (999.6, "1000"),
            (1.0e-7, "1.00e-7"),
            (2.5e8, "2.50e8"),
            (0.0, "0"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(format_significant(x, 3), expected);
        }
    }
}
