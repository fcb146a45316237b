//! One-body layers on a ring: a monotone map of the circle applied to every particle of a spin.
//!
//! `z_i = s(theta_i)` with a periodic spline `s`, and its inverse; `log |det| = ± sum_i log s'`. It commutes with turns
//! of one particle by `2 pi`. Trainable (the layer S), or fixed to the mean-field density (`s0` and its inverse): free
//! fermions on a ring are spread evenly, so the slope of `s0` is that density.
//!
//! Its knots mark places on the circle. Angles are counted from the [`anchor`] of the external potential, so that a
//! potential that is shifted gives the same state, shifted.

use super::back::{Back, one_by_one};
use super::lanes::Block;
use crate::math::log_product::LogProduct;
use crate::math::scalar::Scalar;
use crate::math::spline::PeriodicSpline;
use crate::math::spline::periodic::PeriodicAdjoint;
use crate::math::vector::lanes::Lanes;
use crate::system::{External, Sector};
use std::f64::consts::PI;

/// Points at which a potential is looked at.
const POINTS: usize = 512;
/// Variation of a potential, in units of its size, below which it is constant.
const CONSTANT: f64 = 1e-12;

/// Where on a ring the angles begin, in bohr: a place that a shift of the potential shifts, none where it is constant.
///
/// A minimum of the strongest wave of the potential; of several, that where the potential is lowest.
pub fn anchor(external: &External, circumference: f64) -> Option<f64> {
    let at = |j: usize| external.value(circumference * (j as f64 / POINTS as f64 - 0.5));
    let values: Vec<f64> = (0..POINTS).map(at).collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let size = low.abs().max(high.abs());
    // Neither is larger where something is not a number; the potential is refused elsewhere.
    if !(high - low > CONSTANT * size && size.is_finite()) {
        return None;
    }
    let wave = |k: usize| {
        let mut sum = (0.0, 0.0);
        for (j, v) in values.iter().enumerate() {
            let (sin, cos) = (2.0 * PI * ((k * j) % POINTS) as f64 / POINTS as f64).sin_cos();
            sum = (sum.0 + v * cos, sum.1 + v * sin);
        }
        sum
    };
    let mut strongest = (0, 0.0, 0.0);
    for k in 1..POINTS / 4 {
        let (cos, sin) = wave(k);
        // A later wave must be stronger by more than rounding.
        if cos.hypot(sin) > strongest.1 * (1.0 + 1e-9) {
            strongest = (k, cos.hypot(sin), sin.atan2(cos));
        }
    }
    let (k, _, phase) = strongest;
    if k == 0 {
        return None;
    }
    // The wave is cos(k t - phase), t from the start of the interval.
    let place = |turn: usize| {
        let t = (phase + PI + 2.0 * PI * turn as f64) / k as f64;
        let x = circumference * (t / (2.0 * PI) - 0.5);
        x - circumference * (x / circumference).round()
    };
    let mut best = (place(0), f64::INFINITY);
    for turn in 0..k {
        let value = external.value(place(turn));
        if value < best.1 - CONSTANT.sqrt() * (high - low) {
            best = (place(turn), value);
        }
    }
    Some(best.0)
}

/// A monotone map of the circle per spin, `theta -> z` or, inverted, `z -> theta`.
#[derive(Clone, Debug)]
pub struct CircleLayer {
    sector: Sector,
    /// One per spin that has particles.
    splines: Vec<PeriodicSpline>,
    trainable: bool,
    inverted: bool,
}

/// What the reverse sweep needs again.
#[derive(Clone, Debug, Default)]
pub struct CircleTrace<T> {
    /// The argument of the splines, whichever side of the layer it is on.
    argument: Vec<T>,
    adjoint: PeriodicAdjoint<T>,
}

impl CircleLayer {
    /// A trainable layer, the identity at zero parameters.
    pub fn trainable(sector: Sector, spline: &PeriodicSpline) -> Self {
        let splines = sector.spins().map(|_| spline.clone()).collect();
        CircleLayer { sector, splines, trainable: true, inverted: false }
    }

    /// A fixed layer of one spline per spin that has particles.
    pub fn fixed(sector: Sector, splines: Vec<PeriodicSpline>, inverted: bool) -> Self {
        CircleLayer { sector, splines, trainable: false, inverted }
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        if self.trainable { self.splines.iter().map(PeriodicSpline::parameters).sum() } else { 0 }
    }

    /// Linear forms of the parameters whose squares measure roughness: second differences of the logits all around.
    pub fn roughness(&self) -> Vec<Vec<(usize, f64)>> {
        let mut forms = Vec::new();
        let mut start = 0;
        for spline in self.splines.iter().filter(|_| self.trainable) {
            let cells = spline.parameters() - 1;
            let at = |j: usize| start + j % cells;
            let form = |j| vec![(at(j + cells - 1), 1.0), (at(j), -2.0), (at(j + 1), 1.0)];
            forms.extend((0..cells).map(form));
            start += spline.parameters();
        }
        forms
    }

    /// Takes new parameters.
    pub fn set_parameters(&mut self, parameters: &[f64]) {
        if !self.trainable {
            return;
        }
        let mut rest = parameters;
        for spline in &mut self.splines {
            let (mine, others) = rest.split_at(spline.parameters());
            spline.set_parameters(mine);
            rest = others;
        }
    }

    /// Halves the cells of trainable maps without changing them, and returns the parameters that they have then.
    pub fn refine(&mut self) -> Vec<f64> {
        let mut parameters = Vec::new();
        for spline in self.splines.iter_mut().filter(|_| self.trainable) {
            let (refined, own) = spline.refined();
            *spline = refined;
            parameters.extend(own);
        }
        parameters
    }

    /// Maps the angles in place and multiplies `det` by that of the map.
    pub fn forward<T: Scalar>(
        &self,
        angles: &mut [T],
        _reverse: bool,
        trace: &mut CircleTrace<T>,
        det: &mut LogProduct<T>,
    ) {
        trace.argument.resize(angles.len(), T::zero());
        for (spline, spin) in self.splines.iter().zip(self.sector.spins()) {
            for i in spin {
                if self.inverted {
                    let at = spline.inverse(angles[i].value());
                    let p = spline.evaluate(at);
                    let inverse = 1.0 / p.derivatives[1];
                    let t = angles[i].chain(at, inverse, -p.derivatives[2] * inverse.powi(3));
                    trace.argument[i] = t;
                    angles[i] = t;
                    det.divide(p.lift(t, 1));
                } else {
                    let t = angles[i];
                    let p = spline.evaluate(t.value());
                    trace.argument[i] = t;
                    angles[i] = p.lift(t, 0);
                    det.multiply(p.lift(t, 1));
                }
            }
        }
    }

    /// There is no kernel for eight configurations.
    pub(super) fn lanes(&self, _block: &mut Block) -> bool {
        false
    }

    /// From the adjoints of the outputs (in `bar`, replaced by those of the inputs) and of the log-determinant,
    /// adds the adjoints of the parameters.
    pub fn backward<T: Scalar>(
        &self,
        bar: &mut [T],
        log_det_bar: f64,
        trace: &mut CircleTrace<T>,
        parameters_bar: &mut [T],
    ) {
        let mut offset = 0;
        for (spline, spin) in self.splines.iter().zip(self.sector.spins()) {
            if self.trainable {
                trace.adjoint.reset(spline);
            }
            for i in spin {
                let t = trace.argument[i];
                let p = spline.evaluate(t.value());
                let (slope, bend): (T, T) = (p.lift(t, 1), p.lift(t, 2));
                let inverse = slope.recip();
                if self.inverted {
                    bar[i] = (bar[i] - bend * inverse * log_det_bar) * inverse;
                } else {
                    let slope_bar = inverse * log_det_bar;
                    if self.trainable {
                        trace.adjoint.add(spline, t, bar[i], slope_bar);
                    }
                    bar[i] = bar[i] * slope + slope_bar * bend;
                }
            }
            if self.trainable {
                let next = offset + spline.parameters();
                trace.adjoint.finish(spline, &mut parameters_bar[offset..next]);
                offset = next;
            }
        }
    }

    /// Undoes the layer for eight configurations, one after the other.
    pub(super) fn inverse(&self, angles: &mut [Lanes], back: &mut Back) {
        for (spline, spin) in self.splines.iter().zip(self.sector.spins()) {
            one_by_one(&mut angles[spin], back.samples(), |angle| match self.inverted {
                true => spline.evaluate(angle).derivatives[0],
                false => spline.inverse(angle),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_anchor_follows_the_potential() {
        let c = 6.0;
        let of = |formula: String| anchor(&External::Formula(formula.parse().unwrap()), c);
        assert_eq!(anchor(&External::Free, c), None);
        assert_eq!(of("3 + 0*x".into()), None);
        let wrapped = |d: f64| d - c * (d / c).round();
        for shift in [0.0, 0.31, 1.7, 2.9, -2.2] {
            let plain = of(format!("-2*cos(tau*(x - {shift})/6)")).unwrap();
            assert!(wrapped(plain - shift).abs() < 1e-12, "{plain} {shift}");
            // Three wells, of which a weak wave makes one the deepest.
            let wells =
                format!("-2*cos(3*tau*(x - {shift})/6) - 0.1*cos(tau*(x - {shift} - 2.1)/6)");
            let deepest = of(wells).unwrap();
            assert!(wrapped(deepest - shift - 2.0).abs() < 1e-12, "{deepest} {shift}");
        }
    }
}
