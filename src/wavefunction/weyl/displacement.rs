//! The function `beta` of a pair displacement: how far a pair at a given distance is pushed.
//!
//! Odd, with `beta' >= -kappa`. Either a reflected circular spline over all distances of a circle, which vanishes at
//! `pi`, or free local slopes at short range.

use crate::math::scalar::Scalar;
use crate::math::spline::CircularSpline;
use crate::math::spline::circular::{CircularAdjoint, CircularLocal, CircularPoint, LanePoint};
use crate::math::spline::short_range::{ShortRange, ShortRangeAdjoint, ShortRangeLocal};
use crate::math::vector::lanes::{LANES, Lanes, each, scaled};
use crate::work;

/// An odd displacement function.
#[derive(Clone, Debug)]
pub enum Displacement {
    /// `kappa (y(t) - t)` with a circular spline `y`.
    Circular {
        /// `y`.
        spline: CircularSpline,
        /// The steepest fall of the displacement.
        kappa: f64,
    },
    /// Free slopes at short range.
    ShortRange(ShortRange),
}

/// Where a distance falls.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// On a circular spline.
    Circular(CircularLocal),
    /// On local slopes.
    ShortRange(ShortRangeLocal),
}

impl Displacement {
    /// Number of parameters, all of them logits of neighbouring slopes.
    pub fn weights(&self) -> usize {
        match self {
            Displacement::Circular { spline, .. } => spline.weights(),
            Displacement::ShortRange(s) => s.weights(),
        }
    }

    /// Takes new parameters.
    pub fn set_logits(&mut self, logits: &[f64]) {
        match self {
            Displacement::Circular { spline, .. } => spline.set_logits(logits),
            Displacement::ShortRange(s) => s.set_logits(logits),
        }
    }

    /// The same displacement on cells of half the width, and its parameters.
    pub fn refined(&self) -> (Self, Vec<f64>) {
        match self {
            Displacement::Circular { spline, kappa } => {
                let (spline, logits) = spline.refined();
                (Displacement::Circular { spline, kappa: *kappa }, logits)
            }
            Displacement::ShortRange(s) => {
                let (s, logits) = s.refined();
                (Displacement::ShortRange(s), logits)
            }
        }
    }

    /// Linear forms of the parameters whose squares measure roughness.
    pub fn roughness(&self) -> Vec<Vec<(usize, f64)>> {
        let last = self.weights() - 1;
        let mut forms = vec![vec![(0, -2.0), (1, 2.0)]];
        forms.extend((1..last).map(|k| vec![(k - 1, 1.0), (k, -2.0), (k + 1, 1.0)]));
        match self {
            Displacement::Circular { .. } => forms.push(vec![(last, -2.0), (last - 1, 2.0)]),
            // Short range ends without displacement.
            Displacement::ShortRange(_) => {
                forms.push(vec![(last - 1, 1.0), (last, -2.0)]);
                forms.push(vec![(last, 1.0)]);
            }
        }
        forms
    }

    /// Where `t` in `[0, pi]` falls.
    #[inline]
    pub fn local(&self, t: f64) -> Place {
        match self {
            Displacement::Circular { spline, .. } => Place::Circular(spline.local(t)),
            Displacement::ShortRange(s) => Place::ShortRange(s.local(t)),
        }
    }

    /// Value and slope alone at `t` in `[0, pi]`.
    #[inline]
    pub fn value_and_slope(&self, t: f64) -> (f64, f64) {
        match self {
            Displacement::Circular { spline, kappa } => {
                let (value, slope) = spline.value_and_slope(t);
                (kappa * (value - t), kappa * (slope - 1.0))
            }
            Displacement::ShortRange(s) => s.value_and_slope(t),
        }
    }

    /// Value and derivatives at `t` in `[0, pi]`.
    #[inline]
    pub fn evaluate(&self, t: f64) -> CircularPoint {
        match self {
            Displacement::Circular { spline, kappa } => {
                let mut p = spline.evaluate(t);
                p.derivatives[0] -= t;
                p.derivatives[1] -= 1.0;
                p.derivatives.iter_mut().for_each(|d| *d *= kappa);
                p
            }
            Displacement::ShortRange(s) => s.evaluate(t),
        }
    }

    /// [`Self::evaluate`] at eight points, of which some count.
    #[inline(always)]
    pub(crate) fn lanes<const FUSED: bool>(&self, t: &Lanes, counted: &[bool; LANES]) -> LanePoint {
        match self {
            Displacement::Circular { spline, kappa } => {
                work::splines(counted.iter().filter(|c| **c).count());
                let mut p = spline.lanes::<FUSED>(t);
                p[0] = each(|s| p[0][s] - t[s]);
                p[1] = each(|s| p[1][s] - 1.0);
                for p in &mut p {
                    *p = scaled(*kappa, p);
                }
                p
            }
            Displacement::ShortRange(short) => short.lanes::<FUSED>(t, counted),
        }
    }
}

/// Collects the adjoints of the parameters over many points.
#[derive(Clone, Debug, Default)]
pub struct DisplacementAdjoint<T> {
    circular: CircularAdjoint<T>,
    short_range: ShortRangeAdjoint<T>,
}

impl<T: Scalar> DisplacementAdjoint<T> {
    /// Forgets everything and fits itself to `displacement`.
    pub fn reset(&mut self, displacement: &Displacement) {
        match displacement {
            Displacement::Circular { spline, .. } => self.circular.reset(spline),
            Displacement::ShortRange(s) => self.short_range.reset(s),
        }
    }

    /// Adds a point `t` whose value and slope have the given adjoints.
    #[inline]
    pub fn add(
        &mut self,
        displacement: &Displacement,
        place: &Place,
        t: T,
        value_bar: T,
        slope_bar: T,
    ) {
        match (displacement, place) {
            (Displacement::Circular { kappa, .. }, Place::Circular(local)) => {
                self.circular.add(local, t, value_bar * *kappa, slope_bar * *kappa);
            }
            (Displacement::ShortRange(s), Place::ShortRange(local)) => {
                self.short_range.add(s, local, t, value_bar, slope_bar);
            }
            _ => unreachable!("a place belongs to its own displacement"),
        }
    }

    /// Adds the adjoints of the parameters to `out`.
    pub fn finish(&mut self, displacement: &Displacement, out: &mut [T]) {
        match displacement {
            Displacement::Circular { spline, .. } => self.circular.finish(spline, out),
            Displacement::ShortRange(s) => self.short_range.finish(s, out),
        }
    }
}
