//! One-body layers: a monotone map of the box angle applied to every particle of a spin.
//!
//! `z_i = s(theta_i)` with a reflected circular spline `s`, and its inverse; `log |det| = ± sum_i log s'`.
//! Trainable (the layer S), or fixed to the mean-field density (`s0` and its inverse).

use super::back::Back;
use super::lanes::{Block, turns};
use super::layer::Kind;
use crate::math::log_product::LogProduct;
use crate::math::scalar::Scalar;
use crate::math::spline::CircularSpline;
use crate::math::spline::circular::CircularAdjoint;
use crate::math::vector::lanes::{Lanes, add_product, each, product};
use crate::math::vector::widest;
use crate::system::Sector;
use crate::wavefunction::journey::{Journey, shrink, stretch};
use crate::work;
use std::f64::consts::PI;

/// A trainable map of each spin.
pub const TRAINABLE: Kind = Kind {
    build: |m| Ok(m.one_body.trainable(m.sector)),
    parameters: |of| of.spins * (of.monotone_cells + 1),
    refines: true,
    many: true,
};

/// The map to the mean-field coordinate.
pub const TO_MEAN_FIELD: Kind = Kind {
    build: |m| {
        m.pairs = m.spread;
        Ok(m.one_body.fixed(m.sector, false))
    },
    parameters: |_| 0,
    refines: false,
    many: true,
};

/// The map back.
pub const FROM_MEAN_FIELD: Kind = Kind {
    build: |m| {
        m.pairs = m.physical;
        Ok(m.one_body.fixed(m.sector, true))
    },
    parameters: |_| 0,
    refines: false,
    many: true,
};

/// A monotone map per spin, `theta -> z` or, inverted, `z -> theta`.
#[derive(Clone, Debug)]
pub struct MonotoneLayer {
    sector: Sector,
    /// One per spin that has particles.
    splines: Vec<CircularSpline>,
    trainable: bool,
    inverted: bool,
}

/// What the reverse sweep needs again.
#[derive(Clone, Debug, Default)]
pub struct MonotoneTrace<T> {
    /// The argument of the splines, whichever side of the layer it is on, in `[0, pi]`.
    argument: Vec<T>,
    /// The sign with which each argument was reflected there.
    signs: Vec<f64>,
    adjoint: CircularAdjoint<T>,
}

/// The angle in `[0, pi]` whose image under reflections at 0 and `pi` is `t = start + sign * angle`: sign and start.
///
/// Maps are odd about both, so that they go on beyond the walls of a computational box.
#[inline]
fn fold(t: f64) -> (f64, f64) {
    // Rounding is a function call on older processors, and hardly ever needed.
    let start = if t.abs() < PI { 0.0 } else { 2.0 * PI * (t / (2.0 * PI)).round() };
    (if t < start { -1.0 } else { 1.0 }, start)
}

impl MonotoneLayer {
    /// A trainable layer, the identity at zero parameters.
    pub fn trainable(sector: Sector, spline: CircularSpline) -> Self {
        let splines = sector.spins().map(|_| spline.clone()).collect();
        MonotoneLayer { sector, splines, trainable: true, inverted: false }
    }

    /// A fixed layer of one spline per spin that has particles.
    pub fn fixed(sector: Sector, splines: Vec<CircularSpline>, inverted: bool) -> Self {
        MonotoneLayer { sector, splines, trainable: false, inverted }
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.groups().iter().sum()
    }

    /// Linear forms of the parameters whose squares measure roughness.
    pub fn roughness(&self) -> Vec<Vec<(usize, f64)>> {
        logits_roughness(&self.groups())
    }

    /// Lengths of the groups of neighbouring logits that are the parameters.
    fn groups(&self) -> Vec<usize> {
        if self.trainable {
            self.splines.iter().map(CircularSpline::weights).collect()
        } else {
            Vec::new()
        }
    }

    /// Takes new parameters.
    pub fn set_parameters(&mut self, parameters: &[f64]) {
        if !self.trainable {
            return;
        }
        let mut rest = parameters;
        for spline in &mut self.splines {
            let (mine, others) = rest.split_at(spline.weights());
            spline.set_logits(mine);
            rest = others;
        }
    }

    /// Halves the cells of trainable maps without changing them, and returns the parameters that they have then.
    pub fn refine(&mut self) -> Vec<f64> {
        let mut parameters = Vec::new();
        if self.trainable {
            for spline in &mut self.splines {
                let (refined, logits) = spline.refined();
                *spline = refined;
                parameters.extend(logits);
            }
        }
        parameters
    }

    /// Maps the angles in place and multiplies `det` by that of the map.
    pub fn forward<T: Scalar>(
        &self,
        angles: &mut [T],
        _reverse: bool,
        trace: &mut MonotoneTrace<T>,
        det: &mut LogProduct<T>,
    ) {
        trace.argument.resize(angles.len(), T::zero());
        trace.signs.resize(angles.len(), 1.0);
        for (spline, spin) in self.splines.iter().zip(self.sector.spins()) {
            for i in spin {
                let (sign, start) = fold(angles[i].value());
                let folded = (angles[i] - start) * sign;
                trace.signs[i] = sign;
                if self.inverted {
                    let (at, p) = spline.inverse_point(folded.value());
                    let inverse = 1.0 / p.derivatives[1];
                    let t = folded.chain(at, inverse, -p.derivatives[2] * inverse.powi(3));
                    trace.argument[i] = t;
                    angles[i] = t * sign + start;
                    det.divide(p.lift(t, 1));
                } else {
                    let t = folded;
                    let p = spline.evaluate(t.value());
                    trace.argument[i] = t;
                    angles[i] = p.lift::<T>(t, 0) * sign + start;
                    det.multiply(p.lift(t, 1));
                }
            }
        }
    }

    /// [`Self::forward`] for eight configurations.
    pub(super) fn lanes(&self, block: &mut Block) -> bool {
        for (spline, spin) in self.splines.iter().zip(self.sector.spins()) {
            map(spline, self.inverted, spin, &mut block.journey);
        }
        true
    }

    /// From the adjoints of the outputs (in `bar`, replaced by those of the inputs) and of the log-determinant,
    /// adds the adjoints of the parameters.
    pub fn backward<T: Scalar>(
        &self,
        bar: &mut [T],
        log_det_bar: f64,
        trace: &mut MonotoneTrace<T>,
        parameters_bar: &mut [T],
    ) {
        let mut offset = 0;
        for (spline, spin) in self.splines.iter().zip(self.sector.spins()) {
            if self.trainable {
                trace.adjoint.reset(spline);
            }
            for i in spin {
                let (t, sign) = (trace.argument[i], trace.signs[i]);
                let p = spline.evaluate(t.value());
                let (slope, bend): (T, T) = (p.lift(t, 1), p.lift(t, 2));
                let inverse = slope.recip();
                if self.inverted {
                    bar[i] = (bar[i] - bend * inverse * (sign * log_det_bar)) * inverse;
                } else {
                    let slope_bar = inverse * log_det_bar;
                    if self.trainable {
                        trace.adjoint.add(&spline.local(t.value()), t, bar[i] * sign, slope_bar);
                    }
                    bar[i] = bar[i] * slope + slope_bar * bend * sign;
                }
            }
            if self.trainable {
                let next = offset + spline.weights();
                trace.adjoint.finish(spline, &mut parameters_bar[offset..next]);
                offset = next;
            }
        }
    }

    /// Undoes the layer for eight configurations.
    pub(super) fn inverse(&self, angles: &mut [Lanes], back: &mut Back) {
        for (spline, spin) in self.splines.iter().zip(self.sector.spins()) {
            undo(spline, self.inverted, back.samples(), &mut angles[spin]);
        }
    }
}

widest! {
    /// Takes angles back through a spline or its inverse.
    fn undo(spline: &CircularSpline, inverted: bool, samples: usize, angles: &mut [Lanes]) {
        for angle in angles {
            let start = turns(angle);
            let sign = each(|s| if angle[s] < start[s] { -1.0 } else { 1.0 });
            let folded = each(|s| (angle[s] - start[s]) * sign[s]);
            let image = if inverted {
                work::splines(samples);
                spline.lanes::<FUSED>(&folded)[0]
            } else {
                spline.roots::<FUSED>(&folded, samples)
            };
            *angle = add_product::<FUSED>(&image, &sign, &start);
        }
    }
}

widest! {
    /// Takes some coordinates through a spline or its inverse.
    fn map(
        spline: &CircularSpline,
        inverted: bool,
        range: std::ops::Range<usize>,
        journey: &mut Journey,
    ) {
        let samples = journey.samples();
        let Journey { n, points, log, .. } = journey;
        for i in range {
            let (value, laplacian) = (&mut points.value[i], &mut points.laplacian[i]);
            let gradient = &mut points.gradient[i * *n..][..*n];
            let start = turns(value);
            let sign = each(|s| if value[s] < start[s] { -1.0 } else { 1.0 });
            let folded = each(|s| (value[s] - start[s]) * sign[s]);
            if inverted {
                let (at, [_, slope, bend, third, _]) =
                    spline.inverse_lanes::<FUSED>(&folded, samples);
                *value = add_product::<FUSED>(&at, &sign, &start);
                let derivatives = [slope, product(&sign, &bend), third];
                shrink::<FUSED>(&derivatives, laplacian, gradient, log);
            } else {
                work::splines(samples);
                let [image, slope, bend, third, _] = spline.lanes::<FUSED>(&folded);
                *value = add_product::<FUSED>(&image, &sign, &start);
                let derivatives = [slope, product(&sign, &bend), third];
                stretch::<FUSED>(&derivatives, laplacian, gradient, log);
            }
        }
    }
}

/// Second differences of neighbouring logits, which continue evenly about both ends.
fn logits_roughness(groups: &[usize]) -> Vec<Vec<(usize, f64)>> {
    let mut forms = Vec::new();
    let mut start = 0;
    for &size in groups {
        let last = start + size - 1;
        forms.push(vec![(start, -2.0), (start + 1, 2.0)]);
        forms.extend((start + 1..last).map(|k| vec![(k - 1, 1.0), (k, -2.0), (k + 1, 1.0)]));
        forms.push(vec![(last, -2.0), (last - 1, 2.0)]);
        start += size;
    }
    forms
}
