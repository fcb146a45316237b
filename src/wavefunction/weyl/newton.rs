//! Newton's method with a line search for the few coupled angles of a layer.

use crate::math::vector::lanes::{LANES, Lanes, add_product, each, row_by_row};
use crate::wavefunction::journey::ZERO;
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

/// Scratch memory of [`solve_lanes`].
#[derive(Clone, Debug, Default)]
pub(super) struct LaneNewton {
    target: Vec<Lanes>,
    direction: Vec<Lanes>,
    factor: Vec<Lanes>,
    here: Residuals,
    trial: Residuals,
    moved: Vec<Lanes>,
}

/// `f(t) - y` and the Jacobian of `f`, row-major.
#[derive(Clone, Debug, Default)]
pub(super) struct Residuals {
    pub(super) residual: Vec<Lanes>,
    pub(super) jacobian: Vec<Lanes>,
}

impl Residuals {
    /// Those of the identity.
    #[inline(always)]
    pub(super) fn begin(&mut self, t: &[Lanes], y: &[Lanes]) {
        let n = t.len();
        self.jacobian.fill(ZERO);
        for i in 0..n {
            self.residual[i] = each(|s| t[i][s] - y[i][s]);
            self.jacobian[i * n + i] = [1.0; LANES];
        }
    }

    /// Sums of the squared residuals.
    #[inline(always)]
    fn square<const FUSED: bool>(&self) -> Lanes {
        let mut square = ZERO;
        for r in &self.residual {
            square = add_product::<FUSED>(r, r, &square);
        }
        square
    }

    /// Takes those of a configuration.
    fn take(&mut self, other: &Residuals, s: usize) {
        let own = self.residual.iter_mut().chain(&mut self.jacobian);
        own.zip(other.residual.iter().chain(&other.jacobian))
            .for_each(|(to, from)| to[s] = from[s]);
    }
}

/// A map of a few angles, for [`solve_lanes`]. A trait and no closures, because these are not compiled for the vectors at hand.
pub(super) trait Coupled {
    /// Sets `f(t) - y` and the Jacobian of `f`; of no use but for the configurations that are counted.
    fn residuals<const FUSED: bool>(
        &mut self,
        t: &[Lanes],
        y: &[Lanes],
        counted: &[bool; LANES],
        out: &mut Residuals,
    );

    /// Replaces residuals by Newton's steps; uses up the Jacobian.
    fn step<const FUSED: bool>(n: usize, jacobian: &mut [Lanes], residual: &mut [Lanes]);
}

/// [`solve`] for eight configurations of which the first `samples` count, each with steps of its own; starts from `y`, which are
/// given in `t`.
#[inline(always)]
pub(super) fn solve_lanes<const FUSED: bool, F: Coupled>(
    t: &mut [Lanes],
    samples: usize,
    f: &mut F,
    work: &mut LaneNewton,
) {
    let n = t.len();
    let LaneNewton { target, direction, factor, here, trial, moved } = work;
    for Residuals { residual, jacobian } in [&mut *here, &mut *trial] {
        residual.resize(n, ZERO);
        jacobian.resize(n * n, ZERO);
    }
    target.clear();
    target.extend_from_slice(t);
    moved.resize(n, ZERO);
    let counted = |left: &[bool; LANES]| std::array::from_fn(|s| left[s] && s < samples);
    let mut left = [true; LANES];
    f.residuals::<FUSED>(t, target, &counted(&left), here);
    let mut square = here.square::<FUSED>();
    for _ in 0..STEPS {
        let rounding = n as f64 * ROUNDING * ROUNDING;
        left = std::array::from_fn(|s| left[s] && (square[s] > rounding || square[s].is_nan()));
        if !left.contains(&true) {
            break;
        }
        work::newtons(counted(&left).iter().filter(|c| **c).count());
        direction.clone_from(&here.residual);
        factor.clone_from(&here.jacobian);
        F::step::<FUSED>(n, factor, direction);
        for s in 0..LANES {
            if left[s] && direction.iter().all(|d| d[s].abs() < LAST_STEP) {
                left[s] = false;
                t.iter_mut().zip(&*direction).for_each(|(t, d)| t[s] -= d[s]);
            }
        }
        let (mut length, mut searching) = ([1.0; LANES], left);
        while searching.contains(&true) {
            for ((to, from), d) in moved.iter_mut().zip(&*t).zip(&*direction) {
                *to = each(|s| from[s] - length[s] * d[s]);
                row_by_row();
            }
            f.residuals::<FUSED>(moved, target, &counted(&searching), trial);
            let next = trial.square::<FUSED>();
            let better: [bool; LANES] =
                std::array::from_fn(|s| next[s] <= (1.0 - 0.5 * length[s]) * square[s]);
            let all = searching == left && (0..LANES).all(|s| better[s] || !left[s]);
            if all {
                // As a rule nothing needs to be copied.
                std::mem::swap(here, trial);
            }
            for s in 0..LANES {
                if !searching[s] {
                    continue;
                }
                if better[s] {
                    searching[s] = false;
                    square[s] = next[s];
                    t.iter_mut().zip(&*moved).for_each(|(to, from)| to[s] = from[s]);
                    if !all {
                        here.take(trial, s);
                    }
                    continue;
                }
                length[s] *= 0.5;
                if length[s] < SHORTEST {
                    // Only rounding is left.
                    (searching[s], left[s]) = (false, false);
                }
            }
        }
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
