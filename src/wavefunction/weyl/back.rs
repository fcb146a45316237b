//! The way back from the base to configurations: angles of eight side by side, in plain numbers.
//!
//! Every lane goes its own way, whatever is beside it: a sample is the same, bit for bit, drawn alone or among others.

use super::newton::LaneNewton;
use super::two_body::LaneField;
use crate::math::vector::lanes::{LANES, Lanes};
use crate::wavefunction::journey::ZERO;

/// Scratch memory of the inverses of layers.
#[derive(Clone, Debug, Default)]
pub(super) struct Back {
    samples: usize,
    pub(super) newton: LaneNewton,
    pub(super) field: LaneField,
    pub(super) moved: Vec<Lanes>,
}

impl Back {
    /// How many configurations there are; the other lanes follow the first.
    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    /// Takes the angles of so many configurations, one after the other.
    pub(super) fn begin(&mut self, angles: &[f64], samples: usize, lanes: &mut Vec<Lanes>) {
        self.samples = samples;
        let n = angles.len() / samples;
        lanes.clear();
        lanes.resize(n, ZERO);
        for (i, lanes) in lanes.iter_mut().enumerate() {
            *lanes = std::array::from_fn(|s| angles[if s < samples { s * n + i } else { i }]);
        }
    }
}

/// An inverse without a kernel for eight: `one` of every configuration.
pub(super) fn one_by_one(angles: &mut [Lanes], samples: usize, one: impl Fn(f64) -> f64) {
    for lanes in angles {
        for s in 0..LANES {
            lanes[s] = if s < samples { one(lanes[s]) } else { lanes[0] };
        }
    }
}
