//! Draws one layer into a frame.

use super::axis::{Scale, place, shows};
use super::frame::Frame;
use super::heat::draw_heat;
use super::layer::{Layer, Shape, Side};
use super::thin;
use std::fmt::Write;

/// More points than this are thinned: the plot is about 480 wide.
pub(super) const MOST_POINTS: usize = 960;

pub(super) fn draw_layer(body: &mut String, frame: &Frame, layer: &Layer) {
    let class = layer.colour.class();
    let dash = layer.line_style();
    let (x_scale, _) = frame.x;
    let (y_scale, y_range) = frame.axis(layer.side);
    let px = |x: f64| frame.x(x);
    let py = |y: f64| frame.y(layer.side, y);
    // A noisy start beyond the range would fill the plot with upright lines: curves are interrupted
    // well outside. (Not on logarithmic axes, where a crossing of zero does no harm.)
    let drawn = |y: f64| {
        shows(y_scale, y)
            && (y_scale == Scale::Log || (-0.3..=1.3).contains(&place(y_scale, y_range, y)))
    };
    match &layer.shape {
        Shape::Line(points) => {
            let mut path = String::new();
            for part in points.split(|p| !shows(x_scale, p.0) || !drawn(p.1)) {
                let part = thin::curve(part, MOST_POINTS);
                if let [(x, y)] = part[..] {
                    // A path of one point is invisible; a short dash is not.
                    let _ = write!(path, "M{:.1} {:.1}h4", px(x) - 2.0, py(y));
                    continue;
                }
                for (i, (x, y)) in part.iter().enumerate() {
                    let step = if i == 0 { 'M' } else { 'L' };
                    let _ = write!(path, "{step}{:.1} {:.1}", px(*x), py(*y));
                }
            }
            let _ = writeln!(body, "<path class=\"line {class}{dash}\" d=\"{path}\"/>");
        }
        Shape::Band(points) => {
            let usable = |p: &(f64, f64, f64)| {
                let middle = 0.5 * (p.1 + p.2);
                let near = y_scale == Scale::Log || drawn(middle);
                shows(x_scale, p.0) && shows(y_scale, p.2) && p.1.is_finite() && near
            };
            let mut path = String::new();
            for part in points.split(|p| !usable(p)).filter(|part| !part.is_empty()) {
                let part = thin::band(part, MOST_POINTS / 2);
                // The lower edge may have no place on a logarithmic axis: then the area goes down
                // to the bottom.
                let floor = |y: f64| py(if shows(y_scale, y) { y } else { y_range.0 });
                for (i, (x, _, high)) in part.iter().enumerate() {
                    let step = if i == 0 { 'M' } else { 'L' };
                    let _ = write!(path, "{step}{:.1} {:.1}", px(*x), py(*high));
                }
                for (x, low, _) in part.iter().rev() {
                    let _ = write!(path, "L{:.1} {:.1}", px(*x), floor(*low));
                }
                path.push('Z');
            }
            let _ = writeln!(body, "<path class=\"area {class}\" d=\"{path}\"/>");
        }
        Shape::Steps { edges, values } => {
            let base = if shows(y_scale, 0.0) { py(0.0) } else { frame.bottom };
            let (mut outline, mut area, mut bars) = (String::new(), String::new(), String::new());
            let mut open = false;
            for (edge, &(y, error)) in edges.windows(2).zip(values) {
                let usable =
                    shows(x_scale, edge[0]) && shows(x_scale, edge[1]) && shows(y_scale, y);
                if !usable {
                    open = false;
                    continue;
                }
                let (a, b, h) = (px(edge[0]), px(edge[1]), py(y));
                if open {
                    let _ = write!(outline, "V{h:.1}H{b:.1}");
                } else {
                    let _ = write!(outline, "M{a:.1} {h:.1}H{b:.1}");
                }
                open = true;
                let _ = write!(area, "M{a:.1} {base:.1}V{h:.1}H{b:.1}V{base:.1}Z");
                if error > 0.0 && shows(y_scale, y + error) {
                    let low = if shows(y_scale, y - error) { py(y - error) } else { frame.bottom };
                    let _ = write!(bars, "M{:.1} {low:.1}V{:.1}", (a + b) / 2.0, py(y + error));
                }
            }
            let _ = writeln!(
                body,
                "<path class=\"area {class}\" d=\"{area}\"/>\n\
                 <path class=\"line {class}{dash}\" d=\"{outline}\"/>\n\
                 <path class=\"bars {class}\" d=\"{bars}\"/>"
            );
        }
        Shape::Points(points) => {
            let mut bars = String::new();
            let visible = |p: &&(f64, f64, f64)| shows(x_scale, p.0) && drawn(p.1);
            for &(x, y, error) in points.iter().filter(visible) {
                let _ = writeln!(
                    body,
                    "<circle class=\"mark {class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"/>",
                    px(x),
                    py(y)
                );
                if error > 0.0 && shows(y_scale, y + error) {
                    let low = if shows(y_scale, y - error) { py(y - error) } else { frame.bottom };
                    let _ = write!(bars, "M{:.1} {low:.1}V{:.1}", px(x), py(y + error));
                }
            }
            let _ = writeln!(body, "<path class=\"bars {class}\" d=\"{bars}\"/>");
        }
        Shape::Heat { x, y, values } => draw_heat(body, frame, class, (x, y, values)),
        Shape::Level(y) => {
            if shows(y_scale, *y) {
                let _ = writeln!(
                    body,
                    "<path class=\"line {class}{dash}\" d=\"M{:.1} {:.1}H{:.1}\"/>",
                    frame.left,
                    py(*y),
                    frame.right
                );
            }
        }
    }
}

/// Triangles at the edge of the plot where points of a curve lie above or below it, so that a range
/// that shows the end of a run does not hide its start. Not for the second axis, whose curves are
/// scenery, and not on logarithmic ones, where any curve that crosses zero goes below every range.
pub(super) fn mark_clipped(body: &mut String, frame: &Frame, layer: &Layer) {
    const SPACING: f64 = 12.0;
    let (Shape::Line(points), Side::Left) = (&layer.shape, layer.side) else { return };
    let (scale @ Scale::Linear, range) = frame.y else { return };
    let mut last = [f64::NEG_INFINITY; 2];
    let mut path = String::new();
    for &(x, y) in points.iter().filter(|p| shows(frame.x.0, p.0) && shows(scale, p.1)) {
        let (along, up) = (place(frame.x.0, frame.x.1, x), place(scale, range, y));
        let above = up > 1.0;
        if !(0.0..=1.0).contains(&along) || (!above && up >= 0.0) {
            continue;
        }
        let x = frame.x(x);
        if (x - last[above as usize]).abs() < SPACING {
            continue;
        }
        last[above as usize] = x;
        let (base, tip) = if above { (frame.top + 9.0, -7) } else { (frame.bottom - 9.0, 7) };
        let _ = write!(path, "M{:.1} {base:.1}h9l-4.5 {tip}Z", x - 4.5);
    }
    if !path.is_empty() {
        let class = layer.colour.class();
        let _ = writeln!(body, "<path class=\"clipped {class}\" d=\"{path}\"/>");
    }
}
