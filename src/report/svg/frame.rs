//! Where things lie: from numbers to places in the picture.

use super::axis::{Scale, place};
use super::layer::Side;

/// Where things lie: the plot area and the ranges of its axes.
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    pub(super) x: (Scale, (f64, f64)),
    pub(super) y: (Scale, (f64, f64)),
    pub(super) y_right: Option<(Scale, (f64, f64))>,
}

impl Frame {
    pub(super) fn x(&self, x: f64) -> f64 {
        limit(self.left + (self.right - self.left) * place(self.x.0, self.x.1, x))
    }

    pub(super) fn y(&self, side: Side, y: f64) -> f64 {
        let (scale, range) = self.axis(side);
        limit(self.bottom - (self.bottom - self.top) * place(scale, range, y))
    }

    pub(super) fn axis(&self, side: Side) -> (Scale, (f64, f64)) {
        match side {
            Side::Left => self.y,
            Side::Right => self.y_right.unwrap_or(self.y),
        }
    }
}

/// Points far outside the plot are cut off by a clip path, but renderers lose precision with huge
/// coordinates.
fn limit(pixel: f64) -> f64 {
    pixel.clamp(-5000.0, 5000.0)
}
