//! Where the particles live.

use serde::{Deserialize, Serialize};

/// Half-width, in bohr, of the part of the line on which potentials are looked at.
pub const LINE_WINDOW: f64 = 20.0;

/// The one-dimensional space of the particles. Lengths in bohr.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Geometry {
    /// Hard walls at `-half_width` and `+half_width`: the wavefunction vanishes there.
    Box {
        /// Half the distance between the walls.
        half_width: f64,
    },
    /// No walls: the external potential holds the particles together.
    Line,
    /// A circle: coordinates `x` and `x + circumference` are the same point, and the interaction
    /// acts along the chord `d = (C / pi) sin(pi |x - y| / C)`.
    Ring {
        /// Length of the circle.
        circumference: f64,
    },
}

impl Geometry {
    /// Distance that enters the interaction.
    #[inline]
    pub fn distance(&self, x: f64, y: f64) -> f64 {
        match *self {
            Geometry::Box { .. } | Geometry::Line => x - y,
            Geometry::Ring { circumference } => {
                let k = std::f64::consts::PI / circumference;
                (k * (x - y)).sin().abs() / k
            }
        }
    }

    /// The interval that holds all coordinates; infinite on the line.
    pub fn interval(&self) -> (f64, f64) {
        match *self {
            Geometry::Box { half_width } => (-half_width, half_width),
            Geometry::Line => (f64::NEG_INFINITY, f64::INFINITY),
            Geometry::Ring { circumference } => (-0.5 * circumference, 0.5 * circumference),
        }
    }

    /// The interval on which potentials are looked at: all of a finite geometry, the middle of the line.
    pub fn window(&self) -> (f64, f64) {
        match self {
            Geometry::Line => (-LINE_WINDOW, LINE_WINDOW),
            finite => finite.interval(),
        }
    }
}
