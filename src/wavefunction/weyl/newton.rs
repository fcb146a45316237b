//! Newton's method with a line search for the few coupled angles of a layer.

use crate::work;

/// Most steps; convergence is quadratic once steps are full.
pub const STEPS: usize = 200;

/// Residual below which steps no longer help, in radians.
pub const ROUNDING: f64 = 4e-16;

/// A part of a step so short that what it should gain is rounding.
pub const SHORTEST: f64 = 1e-6;

/// A full step smaller than this is the last: the error after it is of the order of its square, in radians.
pub const LAST_STEP: f64 = 1e-9;

/// Solves `f(t) = y` from the start in `t`.
///
/// `step(t, r)` replaces the residual `r = f(t) - y` by the Newton step `J^-1 r`. The squared residual falls
/// along that direction, so that for a map with a Jacobian bounded away from singular, as those of all
/// layers are, the damped iteration converges from anywhere.
pub fn solve(
    y: &[f64],
    t: &mut [f64],
    mut f: impl FnMut(&[f64], &mut [f64]),
    mut step: impl FnMut(&[f64], &mut [f64]),
    scratch: &mut NewtonScratch,
) {
    let n = y.len();
    let NewtonScratch { residual, direction, trial, trial_residual } = scratch;
    for v in [&mut *residual, direction, trial, trial_residual] {
        v.resize(n, 0.0);
    }
    let mut evaluate = |t: &[f64], r: &mut [f64]| {
        f(t, r);
        r.iter_mut().zip(y).for_each(|(r, y)| *r -= y);
        r.iter().map(|r| r * r).sum::<f64>()
    };
    let mut square = evaluate(t, residual);
    for _ in 0..STEPS {
        if square <= (n as f64) * ROUNDING * ROUNDING {
            break;
        }
        work::newton();
        direction.copy_from_slice(residual);
        step(t, direction);
        if direction.iter().all(|d| d.abs() < LAST_STEP) {
            t.iter_mut().zip(&*direction).for_each(|(t, d)| *t -= d);
            break;
        }
        let mut length = 1.0;
        let improved = loop {
            for i in 0..n {
                trial[i] = t[i] - length * direction[i];
            }
            let next = evaluate(trial, trial_residual);
            if next <= (1.0 - 0.5 * length) * square {
                square = next;
                break true;
            }
            length *= 0.5;
            if length < SHORTEST {
                break false;
            }
        };
        if !improved {
            // Only rounding is left.
            break;
        }
        t.copy_from_slice(trial);
        residual.copy_from_slice(trial_residual);
    }
}

/// Scratch memory of [`solve`].
#[derive(Clone, Debug, Default)]
pub struct NewtonScratch {
    residual: Vec<f64>,
    direction: Vec<f64>,
    trial: Vec<f64>,
    trial_residual: Vec<f64>,
}
