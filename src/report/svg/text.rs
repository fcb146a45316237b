//! Text in figures: its size, its place, its lines.

use super::super::escape::escape;
use std::fmt::Write;

/// Size of all text but the title. The style makes it 15 on narrow pages, which the margins allow, so
/// that it shows at 11 pixels on a page of 480.
pub(super) const TEXT: f64 = 14.0;

pub(super) fn put(body: &mut String, class: &str, x: f64, y: f64, anchor: &str, text: &str) {
    // Writing to a String has no way to fail.
    let _ = writeln!(
        body,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
        escape(text)
    );
}

pub(super) fn put_turned(body: &mut String, x: f64, y: f64, angle: i32, text: &str) {
    let _ = writeln!(
        body,
        "<text class=\"label\" transform=\"translate({x:.1} {y:.1}) rotate({angle})\" \
         text-anchor=\"middle\">{}</text>",
        escape(text)
    );
}

/// About how wide a text is: the font of the page is not known here, and few are wider.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    0.62 * size * text.chars().count() as f64
}

/// Breaks a text into lines that fit, between words.
pub(super) fn wrap(text: &str, width: f64, size: f64) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(line, size) + text_width(word, size) + size < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}
