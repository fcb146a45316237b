//! Draws maps.

use super::axis::{Scale, shows};
use super::frame::Frame;
use super::layer::Side;
use std::fmt::Write;

/// Shades of a map: fine enough that steps do not show.
const SHADES: usize = 48;

/// One path a shade: neighbours of one shade in a column are one rectangle.
pub(super) fn draw_heat(
    body: &mut String,
    frame: &Frame,
    class: &str,
    (x, y, values): (&[f64], &[f64], &[f64]),
) {
    let largest = values.iter().copied().filter(|v| v.is_finite()).fold(0.0, f64::max);
    let rows = y.len().saturating_sub(1);
    if largest <= 0.0 || rows == 0 {
        return;
    }
    let usable = |scale: Scale, edges: &[f64]| edges.iter().all(|&e| shows(scale, e));
    if !usable(frame.x.0, x) || !usable(frame.y.0, y) {
        return;
    }
    let mut paths = vec![String::new(); SHADES + 1];
    for (edge, column) in x.windows(2).zip(values.chunks(rows)) {
        let shade = |v: f64| {
            // Not-a-number becomes zero, the page.
            ((v / largest).clamp(0.0, 1.0) * SHADES as f64).round() as usize
        };
        let (a, b) = (frame.x(edge[0]), frame.x(edge[1]));
        let mut start = 0;
        for end in 1..=column.len() {
            if end < column.len() && shade(column[end]) == shade(column[start]) {
                continue;
            }
            let (low, high) = (frame.y(Side::Left, y[start]), frame.y(Side::Left, y[end]));
            let _ =
                write!(paths[shade(column[start])], "M{a:.1} {low:.1}V{high:.1}H{b:.1}V{low:.1}Z");
            start = end;
        }
    }
    for (shade, path) in paths.iter().enumerate().skip(1).filter(|(_, p)| !p.is_empty()) {
        let opacity = shade as f64 / SHADES as f64;
        let _ = writeln!(
            body,
            "<path class=\"heat {class}\" fill-opacity=\"{opacity:.3}\" d=\"{path}\"/>"
        );
    }
}
