//! The pair displacement P: particles push each other, and each other's mirror images, by a function of the
//! distance.
//!
//! `z_i = theta_i + sum_{j≠i} [beta(theta_i - theta_j) + beta(theta_i + theta_j)]`, one odd `2 pi`-periodic
//! `beta(t) = kappa (pi I(t) - t)` for equal and one for opposite spins, with `pi I` a reflected circular spline.
//! The Jacobian `H = 1 + sum_{i<j} [beta'(theta_i - theta_j) (e_i - e_j)(e_i - e_j)^T + beta'(theta_i + theta_j)
//! (e_i + e_j)(e_i + e_j)^T]` is symmetric, and at least `1 - 2 (N - 1) kappa` because `beta' >= -kappa` and the
//! rank-one terms sum to `2 (N - 1)`: `kappa < 1 / (2 (N - 1))` makes it a bijection for every parameter.
//! The map is the gradient of an invariant convex function.

use super::newton::{self, NewtonWork};
use crate::math::scalar::Scalar;
use crate::math::small_matrix::{cholesky, cholesky_inverse, cholesky_solve};
use crate::math::spline::CircularSpline;
use crate::math::spline::circular::{CircularAdjoint, CircularLocal, CircularPoint};
use crate::system::Sector;
use std::f64::consts::PI;

/// A pair displacement, written `theta -> z` or, inverted, `z -> theta`.
#[derive(Clone, Debug)]
pub struct PairLayer {
    particles: usize,
    /// Number of spin-up particles: pairs across it have opposite spins.
    up: usize,
    kappa: f64,
    /// The functions of equal and of opposite spins; none where no such pair exists.
    splines: [Option<CircularSpline>; 2],
    inverted: bool,
}

/// What the reverse sweep needs again, and scratch memory.
#[derive(Clone, Debug, Default)]
pub struct PairTrace<T> {
    /// The argument of the displacement, whichever side of the layer it is on.
    argument: Vec<T>,
    /// Cholesky factor of the Jacobian.
    factor: Vec<T>,
    inverse: Vec<T>,
    image: Vec<T>,
    plain: Vec<f64>,
    plain_factor: Vec<f64>,
    target: Vec<f64>,
    newton: NewtonWork,
    adjoints: [CircularAdjoint<T>; 2],
}

/// `t` moved into `[0, pi]` by the oddness and periodicity of `beta`: the angle, and the sign that it took.
#[inline]
fn reduce<T: Scalar>(t: T) -> (T, f64) {
    let shifted = t - 2.0 * PI * (t.value() / (2.0 * PI)).round();
    if shifted.value() < 0.0 { (-shifted, -1.0) } else { (shifted, 1.0) }
}

impl PairLayer {
    /// The identity; `share` in (0, 1) is the part of the bound on `kappa` that is used.
    pub fn new(sector: Sector, spline: &CircularSpline, share: f64, inverted: bool) -> Self {
        let n = sector.particles();
        let equal = sector.up > 1 || sector.down > 1;
        let opposite = sector.up > 0 && sector.down > 0;
        PairLayer {
            particles: n,
            up: sector.up,
            kappa: share / (2 * n.saturating_sub(1).max(1)) as f64,
            splines: [equal, opposite].map(|exists| exists.then(|| spline.clone())),
            inverted,
        }
    }

    /// Lengths of the groups of neighbouring logits that are the parameters.
    pub fn groups(&self) -> Vec<usize> {
        self.splines.iter().flatten().map(CircularSpline::weights).collect()
    }

    /// Takes new parameters.
    pub fn set_parameters(&mut self, parameters: &[f64]) {
        let mut rest = parameters;
        for spline in self.splines.iter_mut().flatten() {
            let (mine, others) = rest.split_at(spline.weights());
            spline.set_logits(mine);
            rest = others;
        }
    }

    /// The pairs with the kind of their spins (0 equal, 1 opposite) and their spline.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize, usize, &CircularSpline)> {
        (0..self.particles).flat_map(move |j| {
            (0..j).filter_map(move |i| {
                let kind = usize::from(i < self.up && j >= self.up);
                // A spline exists for every kind of pair that the sector has.
                self.splines[kind].as_ref().map(|s| (i, j, kind, s))
            })
        })
    }

    /// `beta` at `t` and its derivative.
    #[inline]
    fn beta<T: Scalar>(&self, spline: &CircularSpline, t: T) -> (T, T) {
        let (t, sign) = reduce(t);
        let p: CircularPoint = spline.evaluate(t.value());
        ((p.lift(t, 0) - t) * (sign * self.kappa), (p.lift(t, 1) - 1.0) * self.kappa)
    }

    /// The displaced angles, and the Jacobian in its lower triangle where asked for.
    fn displace<T: Scalar>(&self, theta: &[T], z: &mut [T], mut jacobian: Option<&mut [T]>) {
        let n = self.particles;
        z.copy_from_slice(theta);
        if let Some(h) = jacobian.as_deref_mut() {
            h.fill(T::zero());
            (0..n).for_each(|i| h[i * n + i] = T::one());
        }
        for (i, j, _, spline) in self.pairs() {
            let (difference, slope_d) = self.beta(spline, theta[i] - theta[j]);
            let (sum, slope_s) = self.beta(spline, theta[i] + theta[j]);
            z[i] += difference + sum;
            z[j] += sum - difference;
            if let Some(h) = jacobian.as_deref_mut() {
                h[i * n + i] += slope_d + slope_s;
                h[j * n + j] += slope_d + slope_s;
                h[j * n + i] += slope_s - slope_d;
            }
        }
    }

    /// `theta` (in `plain`) whose displaced angles are in `target`.
    fn solve<T>(&self, trace: &mut PairTrace<T>) {
        let n = self.particles;
        let factor = &mut trace.plain_factor;
        factor.resize(n * n, 0.0);
        let mut unused = vec![0.0; n];
        trace.plain.clone_from(&trace.target);
        newton::solve(
            &trace.target,
            &mut trace.plain,
            |t, z| self.displace(t, z, None),
            |t, r| {
                self.displace(t, &mut unused, Some(factor));
                // Positive definite by the bound on kappa.
                if cholesky(factor, n).is_some() {
                    cholesky_solve(factor, n, r);
                }
            },
            &mut trace.newton,
        );
    }

    /// Maps the angles in place and returns `log |det|`.
    pub fn forward<T: Scalar>(&self, angles: &mut [T], trace: &mut PairTrace<T>) -> T {
        let n = self.particles;
        trace.factor.resize(n * n, T::zero());
        trace.image.resize(n, T::zero());
        if !self.inverted {
            trace.argument.clear();
            trace.argument.extend_from_slice(angles);
            self.displace(&trace.argument, angles, Some(&mut trace.factor));
            return cholesky(&mut trace.factor, n).unwrap_or(T::constant(f64::NAN));
        }
        trace.target.clear();
        trace.target.extend(angles.iter().map(|a| a.value()));
        self.solve(trace);
        trace.argument.clear();
        trace.argument.extend(trace.plain.iter().map(|&t| T::constant(t)));
        if T::ORDER > 0 {
            // Newton steps with the Jacobian frozen at the solution add one order of derivatives each: the
            // residual left by a step has no derivative of the orders already gained.
            let mut unused = std::mem::take(&mut trace.target);
            trace.plain_factor.resize(n * n, 0.0);
            self.displace(&trace.plain, &mut unused, Some(&mut trace.plain_factor));
            trace.target = unused;
            if cholesky(&mut trace.plain_factor, n).is_none() {
                return T::constant(f64::NAN);
            }
            for _ in 0..T::ORDER {
                self.displace(&trace.argument, &mut trace.image, None);
                for (r, y) in trace.image.iter_mut().zip(&*angles) {
                    *r -= *y;
                }
                cholesky_solve(&trace.plain_factor, n, &mut trace.image);
                for (t, r) in trace.argument.iter_mut().zip(&trace.image) {
                    *t -= *r;
                }
            }
        }
        self.displace(&trace.argument, &mut trace.image, Some(&mut trace.factor));
        angles.copy_from_slice(&trace.argument);
        -cholesky(&mut trace.factor, n).unwrap_or(T::constant(f64::NAN))
    }

    /// From the adjoints of the outputs (in `bar`, replaced by those of the inputs) and of the log-determinant,
    /// adds the adjoints of the parameters.
    pub fn backward<T: Scalar>(
        &self,
        bar: &mut [T],
        log_det_bar: f64,
        trace: &mut PairTrace<T>,
        parameters_bar: &mut [T],
    ) {
        let n = self.particles;
        let PairTrace { argument, factor, inverse, image, adjoints, .. } = trace;
        inverse.resize(n * n, T::zero());
        cholesky_inverse(factor, n, inverse);
        let det_bar = if self.inverted { -log_det_bar } else { log_det_bar };
        // d log det H / d beta'(t) = e^T H^-1 e with e = e_i -+ e_j.
        let weights = |i: usize, j: usize| {
            let (diagonal, off) =
                (inverse[i * n + i] + inverse[j * n + j], inverse[j * n + i] * 2.0);
            ((diagonal - off) * det_bar, (diagonal + off) * det_bar)
        };
        if self.inverted {
            // theta(z, w) is implicit: the adjoint of theta, log-determinant included, goes through H^-1 to z,
            // and from there with the opposite sign to the displacement's parameters.
            for (i, j, _, spline) in self.pairs() {
                let (w_d, w_s) = weights(i, j);
                let bend = |t: T| {
                    let (t, sign) = reduce(t);
                    spline.evaluate(t.value()).lift(t, 2) * (sign * self.kappa)
                };
                let d = w_d * bend(argument[i] - argument[j]);
                let s = w_s * bend(argument[i] + argument[j]);
                bar[i] += d + s;
                bar[j] += s - d;
            }
            image.copy_from_slice(bar);
            for i in 0..n {
                let mut v = T::zero();
                for k in 0..n {
                    v += inverse[i * n + k] * image[k];
                }
                bar[i] = v;
            }
            image.iter_mut().zip(&*bar).for_each(|(v, b)| *v = -*b);
        } else {
            image.copy_from_slice(bar);
        }
        for (adjoint, spline) in adjoints.iter_mut().zip(&self.splines) {
            if let Some(spline) = spline {
                adjoint.reset(spline);
            }
        }
        for (i, j, kind, spline) in self.pairs() {
            let (w_d, w_s) = weights(i, j);
            let mut term = |t: T, value_bar: T, slope_bar: T| -> T {
                let (t, sign) = reduce(t);
                let local: CircularLocal = spline.local(t.value());
                let (v, s) = (value_bar * (sign * self.kappa), slope_bar * self.kappa);
                adjoints[kind].add(&local, t, v, s);
                if self.inverted {
                    return T::zero();
                }
                let p = spline.point(&local);
                value_bar * (p.lift(t, 1) - 1.0) * self.kappa + s * p.lift(t, 2) * sign
            };
            let d = term(argument[i] - argument[j], image[i] - image[j], w_d);
            let s = term(argument[i] + argument[j], image[i] + image[j], w_s);
            if !self.inverted {
                bar[i] += d + s;
                bar[j] += s - d;
            }
        }
        let mut offset = 0;
        for (adjoint, spline) in adjoints.iter_mut().zip(&self.splines) {
            if let Some(spline) = spline {
                let next = offset + spline.weights();
                adjoint.finish(spline, &mut parameters_bar[offset..next]);
                offset = next;
            }
        }
    }

    /// Undoes the layer.
    pub fn inverse(&self, angles: &mut [f64], trace: &mut PairTrace<f64>) {
        trace.target.clear();
        trace.target.extend_from_slice(angles);
        if self.inverted {
            self.displace(&trace.target, angles, None);
        } else {
            self.solve(trace);
            angles.copy_from_slice(&trace.plain);
        }
    }
}
