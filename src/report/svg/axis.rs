//! Axes: ranges, ticks at round numbers, and their labels.

/// How an axis maps numbers to lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences are equal lengths.
    Linear,
    /// Equal ratios are equal lengths. Numbers that are not positive have no place.
    Log,
}

/// An axis of a figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What the axis shows, with its unit.
    pub label: String,
    /// How it maps numbers to lengths.
    pub scale: Scale,
    /// First and last number; without it, the axis holds all data.
    pub range: Option<(f64, f64)>,
}

impl Axis {
    /// A linear axis that holds all data.
    pub fn linear(label: impl Into<String>) -> Self {
        Axis { label: label.into(), scale: Scale::Linear, range: None }
    }

    /// A logarithmic axis that holds all positive data.
    pub fn log(label: impl Into<String>) -> Self {
        Axis { label: label.into(), scale: Scale::Log, range: None }
    }

    /// Fixes the first and the last number.
    pub fn with_range(mut self, low: f64, high: f64) -> Self {
        self.range = Some((low, high));
        self
    }
}

/// A number the axis can show.
pub(super) fn shows(scale: Scale, x: f64) -> bool {
    // Beyond this, ratios and padding overflow; no number of a run is that large or small.
    x.is_finite() && x.abs() < 1e150 && (scale == Scale::Linear || x > 1e-150)
}

/// Where a number lies on an axis with this range: 0 at the low end, 1 at the high one.
pub(super) fn place(scale: Scale, (low, high): (f64, f64), x: f64) -> f64 {
    match scale {
        Scale::Linear => (x - low) / (high - low),
        Scale::Log => (x.ln() - low.ln()) / (high.ln() - low.ln()),
    }
}

/// The range of an axis that holds the data, with `padding` as a part of its length at either end.
/// None without any number to show.
pub(super) fn range(
    scale: Scale,
    data: impl Iterator<Item = f64>,
    padding: f64,
) -> Option<(f64, f64)> {
    let (low, high) = data
        .filter(|&x| shows(scale, x))
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
    (low <= high).then(|| widen(scale, (low, high), padding))
}

/// Pads a range, and opens one that is too narrow for ticks that differ.
pub(super) fn widen(scale: Scale, (low, high): (f64, f64), padding: f64) -> (f64, f64) {
    match scale {
        Scale::Linear => {
            let largest = low.abs().max(high.abs());
            let open = if high - low > (1e-11 * largest).max(1e-290) {
                0.0
            } else if largest < 1e-280 {
                0.5
            } else {
                0.05 * largest
            };
            let pad = open + padding * (high - low);
            (low - pad, high + pad)
        }
        Scale::Log => {
            // A decade always holds labelled ticks at 1, 2 and 5.
            let open = (0.5 * (10.0 * low / high).ln()).max(0.0);
            let pad = (open + padding * (high / low).ln()).exp();
            (low / pad, high * pad)
        }
    }
}

/// The ticks of an axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ticks {
    /// Numbers with a label.
    pub major: Vec<(f64, String)>,
    /// Numbers without one.
    pub minor: Vec<f64>,
    /// Power of ten that the labels of a linear axis leave out.
    pub power: Option<i32>,
}

/// Ticks at round numbers, about `count` of them.
pub(super) fn ticks(scale: Scale, range: (f64, f64), count: usize) -> Ticks {
    match scale {
        Scale::Linear => linear_ticks(range, count),
        Scale::Log => log_ticks(range, count),
    }
}

/// The largest of 1, 2, 5 times a power of ten that gives at least about `count` steps.
fn nice_step(length: f64, count: usize) -> f64 {
    let raw = length / count.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    let leading = raw / power;
    power
        * if leading < 1.5 {
            1.0
        } else if leading < 3.5 {
            2.0
        } else if leading < 7.5 {
            5.0
        } else {
            10.0
        }
}

fn linear_ticks((low, high): (f64, f64), count: usize) -> Ticks {
    let step = nice_step(high - low, count);
    let largest = low.abs().max(high.abs());
    // Long rows of zeros are hard to read: beyond these, the labels leave out a power of ten.
    let power = if (1e-2..1e6).contains(&largest) { 0 } else { largest.log10().floor() as i32 };
    let unit = 10f64.powi(power);
    let decimals = (-(step / unit * 1.000_001).log10().floor()).clamp(0.0, 15.0) as usize;
    let slack = 1e-6;
    // Integer multiples: adding the step would drift.
    let first = (low / step - slack).ceil() as i64;
    let last = (high / step + slack).floor() as i64;
    let major = (first..=last)
        .take(64)
        .map(|i| {
            let x = i as f64 * step;
            (x, sign(&format!("{:.decimals$}", x / unit)))
        })
        .collect();
    Ticks { major, minor: vec![], power: (power != 0).then_some(power) }
}

fn log_ticks((low, high): (f64, f64), count: usize) -> Ticks {
    let slack = 1e-9;
    let first = (low.log10() - slack).floor() as i32;
    let last = (high.log10() + slack).ceil() as i32;
    let inside = |x: f64| x >= low * (1.0 - slack) && x <= high * (1.0 + slack);
    let decades = (first..=last).filter(|&d| inside(10f64.powi(d))).count();
    let mut ticks = Ticks::default();
    let plain = first >= -3 && last <= 5;
    // Strides count from zero, so that 1 has a label whenever it is in the range.
    let stride = decades.div_ceil(count.max(1)).max(1) as i32;
    for decade in first..=last {
        let unit = 10f64.powi(decade);
        for digit in 1..10 {
            let x = digit as f64 * unit;
            if !inside(x) {
                continue;
            }
            let labelled = if decades >= 3 {
                digit == 1 && decade.rem_euclid(stride) == 0
            } else {
                digit == 1 || (decades < 2 && matches!(digit, 2 | 5))
            };
            if labelled {
                ticks.major.push((x, log_label(digit, decade, plain)));
            } else if digit == 1 || decades <= 8 {
                ticks.minor.push(x);
            }
        }
    }
    ticks
}

fn log_label(digit: i32, decade: i32, plain: bool) -> String {
    if plain {
        let places = (-decade).max(0) as usize;
        return format!("{:.places$}", digit as f64 * 10f64.powi(decade));
    }
    match digit {
        1 => format!("10{}", superscript(decade)),
        _ => format!("{digit}·10{}", superscript(decade)),
    }
}

/// An integer in raised digits.
pub(in crate::report) fn superscript(x: impl ToString) -> String {
    x.to_string()
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            '0' => '⁰',
            // Four to nine are neighbours in Unicode, from U+2074.
            c => c.to_digit(10).and_then(|d| char::from_u32(0x2070 + d)).unwrap_or(c),
        })
        .collect()
}

/// A number with a true minus sign, and none before zero.
fn sign(text: &str) -> String {
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|b| b == b'0' || b == b'.') => rest.into(),
        Some(rest) => format!("\u{2212}{rest}"),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, range: (f64, f64), count: usize) -> Vec<String> {
        ticks(scale, range, count).major.into_iter().map(|(_, l)| l).collect()
    }

    #[test]
    fn linear_ticks_are_round() {
        assert_eq!(labels(Scale::Linear, (0.0, 200.0), 5), ["0", "50", "100", "150", "200"]);
        assert_eq!(labels(Scale::Linear, (-1.0, 1.0), 4), ["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(
            labels(Scale::Linear, (-1.81612, -1.81598), 3),
            ["−1.81610", "−1.81605", "−1.81600"]
        );
        assert_eq!(labels(Scale::Linear, (0.0, 0.3), 3), ["0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(labels(Scale::Linear, (0.0, 7.0), 6), ["0", "1", "2", "3", "4", "5", "6", "7"]);
    }

    #[test]
    fn small_and_large_numbers_share_a_power_of_ten() {
        let t = ticks(Scale::Linear, (0.0, 4e-7), 4);
        assert_eq!(t.power, Some(-7));
        assert_eq!(t.major[4].1, "4");
        let t = ticks(Scale::Linear, (0.0, 2e9), 4);
        assert_eq!((t.power, t.major[1].1.as_str()), (Some(9), "0.5"));
    }

    #[test]
    fn log_ticks_label_decades_or_finer() {
        let l = labels(Scale::Log, (1e-8, 1.0), 5);
        assert_eq!(l, ["10⁻⁸", "10⁻⁶", "10⁻⁴", "10⁻²", "10⁰"]);
        assert_eq!(
            labels(Scale::Log, (0.15, 1.5), 5),
            ["0.2", "0.5", "1.0"]
                .map(|s| { if s == "1.0" { "1".to_string() } else { s.to_string() } })
        );
        assert_eq!(labels(Scale::Log, (1.5e-7, 1.5e-6), 5), ["2·10⁻⁷", "5·10⁻⁷", "10⁻⁶"]);
        assert!(labels(Scale::Log, (1e-280, 1e280), 6).len() <= 7);
    }

    #[test]
    fn ranges_hold_the_data_and_are_never_empty() {
        for (scale, data) in [
            (Scale::Linear, vec![1.0, f64::NAN, 2.0, f64::INFINITY]),
            (Scale::Linear, vec![0.0]),
            (Scale::Linear, vec![-1.816_041_888, -1.816_041_888]),
            (Scale::Linear, vec![1e149, -1e149, 1e308]),
            (Scale::Log, vec![0.0, -1.0, 1e-3]),
            (Scale::Log, vec![1e-149, 1e149, 5e-324]),
        ] {
            let (low, high) = range(scale, data.iter().copied(), 0.05).unwrap();
            assert!(low < high && low.is_finite() && high.is_finite());
            for x in data.into_iter().filter(|&x| shows(scale, x)) {
                assert!((0.0..=1.0).contains(&place(scale, (low, high), x)));
            }
            let t = ticks(scale, (low, high), 5);
            assert!((1..=12).contains(&t.major.len()), "{t:?}");
        }
        assert_eq!(range(Scale::Log, [0.0, -1.0, f64::NAN].into_iter(), 0.1), None);
    }

    #[test]
    fn labels_of_different_ticks_differ() {
        for exponent in -12..8 {
            for offset in [0.0, 1.0, -1.816, 1000.0] {
                let length = 10f64.powi(exponent);
                let mut l = labels(Scale::Linear, (offset, offset + length), 5);
                let n = l.len();
                l.dedup();
                assert!(n >= 2 && l.len() == n, "{offset} {length}: {l:?}");
            }
        }
    }

    #[test]
    fn raised_digits() {
        assert_eq!(superscript(-1234567890), "⁻¹²³⁴⁵⁶⁷⁸⁹⁰");
    }
}
