//! Rayleigh–Gauss–Newton for several states.

use super::RayleighGaussNewtonSettings;
use crate::math::linalg;
use crate::math::tall::{self, Scaled};
use crate::objective::mixture::Rows;
use crate::objective::robust::Huber;
use crate::objective::spectrum::{Turned, minus};
use faer::Mat;
use faer::prelude::Solve;

/// The linear system of a step.
pub(crate) struct Equations {
    pub(crate) force: Vec<f64>,
    curvature: Mat<f64>,
    metric: Mat<f64>,
    damped: Mat<f64>,
}

impl Equations {
    /// `J_k = dh_k - sum_l du_l A_lk`; it and `du` are taken without their parts in the span of `u`. The force is
    /// `sum_k w_k <du_k rho_k + v J_k rho_k>`, the curvature `sum_k w_k <du_k J_k^T + v J_k J_k^T>`, and the metric
    /// `sum_k w_k <du_k du_k^T>`: for one state Rayleigh–Gauss–Newton.
    pub(crate) fn new(
        turned: Turned,
        weights: &[f64],
        variance: f64,
        width: f64,
        roughness: &[Vec<(usize, f64)>],
        settings: &RayleighGaussNewtonSettings,
        unit: f64,
    ) -> Self {
        let Turned { mut rows, overlap, a, residuals, .. } = turned;
        let (k, p, n) = (rows.states, rows.parameter_count, rows.samples());
        let mut jacobian = std::mem::take(&mut rows.dh);
        minus(&mut jacobian, &rows.du, &a, p);
        let inverse = overlap.partial_piv_lu().solve(Mat::<f64>::identity(k, k));
        let mut du = std::mem::take(&mut rows.du);
        for target in [&mut du, &mut jacobian] {
            project(target, &rows, &inverse);
        }
        let scale = 1.0 / n.max(1) as f64;
        let mut force = vec![0.0; p];
        // Of rows of `du`, of the Jacobian, and of that once more.
        let mut factors = [(); 3].map(|()| vec![0.0; n * k]);
        for i in 0..n * k {
            let (w, v) = (weights[i % k], rows.weight[i / k]);
            let r = residuals[i];
            let (clipped, keep) = (r.clamp(-width, width), f64::from(u8::from(r.abs() <= width)));
            let huber = Huber { width }.weight(r);
            let root = (w * v).sqrt();
            let bent = (w * huber * variance).sqrt();
            let row = i * p..(i + 1) * p;
            let pairs = du[row.clone()].iter().zip(&jacobian[row]);
            for (force, (d, fit)) in force.iter_mut().zip(pairs) {
                *force += w * scale * (v * d * clipped + variance * huber * fit * r);
            }
            for (factors, factor) in factors.iter_mut().zip([root, root * keep, bent]) {
                factors[i] = factor;
            }
        }
        let [left, right, fit] = factors;
        let left = Scaled::new(&du, p, left);
        let metric = tall::gram(&left, scale);
        let mut curvature = tall::product(&left, &Scaled::new(&jacobian, p, right), scale);
        curvature += tall::gram(&Scaled::new(&jacobian, p, fit), scale);
        let largest = unit * (0..p).map(|j| metric[(j, j)]).fold(0.0, f64::max);
        let mut damped = Mat::from_fn(p, p, |i, j| unit / settings.tau * metric[(i, j)]);
        for j in 0..p {
            damped[(j, j)] += settings.shift * largest + f64::MIN_POSITIVE;
        }
        for form in roughness {
            for &(i, x) in form {
                for &(j, y) in form {
                    damped[(i, j)] += settings.smoothing * largest * x * y;
                }
            }
        }
        Equations { force, curvature, metric, damped }
    }

    /// The step at a damping, within the trust radius, and its norm.
    pub(crate) fn solve(&self, damping: f64, trust_radius: f64) -> Option<(Vec<f64>, f64)> {
        let p = self.force.len();
        let matrix =
            Mat::from_fn(p, p, |i, j| self.curvature[(i, j)] + damping * self.damped[(i, j)]);
        let mut step = linalg::solve_general(&matrix, &self.force).ok()?;
        let norm = linalg::quadratic_form(&self.metric, &step).max(0.0).sqrt();
        let cut = if norm > trust_radius { trust_radius / norm } else { 1.0 };
        step.iter_mut().for_each(|s| *s *= cut);
        (norm.is_finite()).then_some((step, norm * cut))
    }
}

/// Takes the parts in the span of `u` out of rows of parameters.
fn project(target: &mut [f64], rows: &Rows, inverse: &Mat<f64>) {
    let (k, p, n) = (rows.states, rows.parameter_count, rows.samples());
    // <u_l target_q>, then S^-1 of that.
    let mut overlap = vec![0.0; k * k * p];
    for i in 0..n {
        for l in 0..k {
            let f = rows.weight[i] * rows.u[i * k + l] / n as f64;
            let row = &target[i * k * p..(i + 1) * k * p];
            let sum = &mut overlap[l * k * p..(l + 1) * k * p];
            sum.iter_mut().zip(row).for_each(|(s, t)| *s += f * t);
        }
    }
    let mut solved = vec![0.0; k * k * p];
    for l in 0..k {
        for m in 0..k {
            let c = inverse[(l, m)];
            let from = &overlap[m * k * p..(m + 1) * k * p];
            solved[l * k * p..(l + 1) * k * p].iter_mut().zip(from).for_each(|(s, f)| *s += c * f);
        }
    }
    for i in 0..n {
        for l in 0..k {
            let u = rows.u[i * k + l];
            let from = &solved[l * k * p..(l + 1) * k * p];
            let row = &mut target[i * k * p..(i + 1) * k * p];
            row.iter_mut().zip(from).for_each(|(t, f)| *t -= u * f);
        }
    }
}
