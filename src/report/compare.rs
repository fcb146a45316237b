//! Several runs in one page.

use super::folder::RunFolder;

/// The comparison as an HTML document.
pub fn render(_runs: &[RunFolder]) -> String {
    String::new()
}
