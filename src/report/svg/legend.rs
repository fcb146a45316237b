//! The legend of a figure.

use super::figure::{Figure, WIDTH};
use super::layer::{Layer, Shape};
use super::text::{TEXT, put, text_width};
use std::fmt::Write;

impl Figure {
    /// Entries of the legend in rows that fit the width, each with its place.
    pub(super) fn legend_rows(&self) -> Vec<Vec<(f64, &Layer)>> {
        let mut rows: Vec<Vec<(f64, &Layer)>> = vec![];
        let mut x = f64::INFINITY;
        for layer in self.layers.iter().filter(|l| !l.name.is_empty()) {
            let width = 34.0 + text_width(&layer.name, TEXT) + 18.0;
            if x + width > WIDTH {
                rows.push(vec![]);
                x = 8.0;
            }
            if let Some(row) = rows.last_mut() {
                row.push((x, layer));
            }
            x += width;
        }
        rows
    }

    pub(super) fn legend(&self, body: &mut String, top: f64) {
        for (index, row) in self.legend_rows().into_iter().enumerate() {
            let y = top + 6.0 + (index as f64 + 0.5) * (TEXT + 6.0);
            for (x, layer) in row {
                let class = layer.colour.class();
                let end = x + 26.0;
                if matches!(layer.shape, Shape::Points(_)) {
                    let _ = writeln!(
                        body,
                        "<circle class=\"mark {class}\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4\"/>",
                        x + 13.0
                    );
                    put(body, "", end + 8.0, y + 5.0, "start", &layer.name);
                    continue;
                }
                if matches!(layer.shape, Shape::Heat { .. }) {
                    for step in 0..5 {
                        let _ = writeln!(
                            body,
                            "<path class=\"heat {class}\" fill-opacity=\"{:.2}\" \
                             d=\"M{:.1} {:.1}h5.2v12h-5.2z\"/>",
                            0.25 * f64::from(step),
                            x + 5.2 * f64::from(step),
                            y - 6.0
                        );
                    }
                    put(body, "", end + 8.0, y + 5.0, "start", &layer.name);
                    continue;
                }
                if matches!(layer.shape, Shape::Band(_) | Shape::Steps { .. }) {
                    let _ = writeln!(
                        body,
                        "<rect class=\"key area {class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"26\" \
                         height=\"12\"/>",
                        y - 6.0
                    );
                }
                if !matches!(layer.shape, Shape::Band(_)) {
                    let dash = layer.line_style();
                    let line = if matches!(layer.shape, Shape::Steps { .. }) { y - 6.0 } else { y };
                    let _ = writeln!(
                        body,
                        "<path class=\"key line {class}{dash}\" d=\"M{x:.1} {line:.1}H{end:.1}\"/>"
                    );
                }
                put(body, "", end + 8.0, y + 5.0, "start", &layer.name);
            }
        }
    }
}
