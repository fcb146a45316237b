//! Figures as inline SVG: lines, bands, steps and levels over linear or logarithmic axes.
//!
//! A figure is drawn in a space 560 wide and scales with the page. Colours are CSS variables, which
//! [`STYLE`] sets for light and dark pages, so the page that holds a figure must hold the style too.

mod axis;
mod draw;
mod figure;
mod frame;
mod heat;
mod layer;
mod legend;
mod text;
mod thin;

pub(super) use axis::superscript;
pub use axis::{Axis, Scale};
pub use figure::Figure;
pub use layer::{Colour, Layer, Shape, Side};

/// The style of all figures, with the palette of M. Okabe and K. Ito ("Color universal design", 2008)
/// for light and dark pages.
pub const STYLE: &str = include_str!("svg/style.css");

#[cfg(test)]
mod tests;
