//! Gauss–Newton on the variance of the local energy: least squares of `E_L(x_i) - E` over the samples.
//!
//! C. J. Umrigar, C. Filippi, "Energy and variance optimization of many-body wave functions", Phys. Rev. Lett.
//! 94, 150201 (2005), with the Jacobian `dE_L/dp` alone (the terms from the change of the density are
//! proportional to the residual, which vanishes at an eigenstate): `(J^T W J + shift + smoothing) d = J^T W r`.
//! For a wavefunction that can come close to an eigenstate this is a problem of nearly zero
//! residual, where the step carries little sampling noise and converges fast.

use super::{Centred, Optimiser, Step, schedule};
use crate::estimate::statistics::median;
use crate::local_energy::{Batch, Derivatives};
use crate::math::linalg::{self, LinearError};
use serde::{Deserialize, Serialize};

/// Settings of Gauss–Newton on the variance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VarianceGaussNewtonSettings {
    /// Shift of the matrix, relative to its largest diagonal element.
    pub shift: f64,
    /// The shift falls to this fraction of the first by the last iteration.
    pub final_fraction: f64,
    /// Weight of the wavefunction's roughness in the matrix, relative to its largest diagonal element.
    pub smoothing: f64,
    /// Largest step in the norm of the overlap matrix, in radians.
    pub trust_radius: f64,
    /// Residuals beyond this many median absolute deviations count less and less (Cauchy weights).
    pub clip: f64,
}

impl Default for VarianceGaussNewtonSettings {
    fn default() -> Self {
        VarianceGaussNewtonSettings {
            shift: 1e-4,
            final_fraction: 0.1,
            smoothing: 0.0,
            trust_radius: 0.15,
            clip: 10.0,
        }
    }
}

/// The optimiser; it keeps nothing between steps.
#[derive(Clone, Debug)]
pub struct VarianceGaussNewton {
    settings: VarianceGaussNewtonSettings,
}

impl VarianceGaussNewton {
    /// A fresh start.
    pub fn new(settings: VarianceGaussNewtonSettings) -> Self {
        VarianceGaussNewton { settings }
    }
}

impl Optimiser for VarianceGaussNewton {
    fn derivatives(&self) -> Derivatives {
        Derivatives::LocalEnergy
    }

    fn step(&mut self, batch: &Batch, progress: f64) -> Result<Step, LinearError> {
        let s = &self.settings;
        let centred = Centred::new(batch, 1e6);
        let (n, p) = (centred.samples, centred.parameters);
        let energy_force = centred.force();
        let middle = median(&mut batch.local_energy.clone());
        let mut spread: Vec<f64> = batch.local_energy.iter().map(|e| (e - middle).abs()).collect();
        let width = s.clip * median(&mut spread) + f64::MIN_POSITIVE;
        let weight: Vec<f64> = batch
            .local_energy
            .iter()
            .map(|e| 1.0 / (1.0 + ((e - middle) / width).powi(2)))
            .collect();
        let total: f64 = weight.iter().sum();
        // Weighted means make the constant E drop out of the least squares.
        let mean = weight.iter().zip(&batch.local_energy).map(|(w, e)| w * e).sum::<f64>() / total;
        let mut centre = vec![0.0; p];
        for (w, row) in weight.iter().zip(batch.energy_gradient.chunks_exact(p.max(1))) {
            centre.iter_mut().zip(row).for_each(|(c, g)| *c += w * g / total);
        }
        let mut jacobian = batch.energy_gradient.clone();
        let mut force = vec![0.0; p];
        for (i, row) in jacobian.chunks_exact_mut(p.max(1)).enumerate() {
            let (root, r) = (weight[i].sqrt(), batch.local_energy[i] - mean);
            for ((g, c), f) in row.iter_mut().zip(&centre).zip(&mut force) {
                *g = root * (*g - c);
                *f += root * *g * r / total;
            }
        }
        let mut matrix = linalg::gram(linalg::rows(&jacobian, n, p), 1.0 / total);
        let largest = (0..p).map(|k| matrix[(k, k)]).fold(0.0, f64::max);
        let shift = schedule(s.shift, s.final_fraction, progress);
        for k in 0..p {
            matrix[(k, k)] += shift * largest + f64::MIN_POSITIVE;
        }
        let smoothing = s.smoothing * shift / s.shift * largest;
        for form in &batch.roughness {
            for &(i, a) in form {
                for &(j, b) in form {
                    matrix[(i, j)] += smoothing * a * b;
                }
            }
        }
        let change = linalg::solve_positive(&matrix, &force)?.iter().map(|d| -d).collect();
        Ok(centred.finish(change, &energy_force, s.trust_radius, shift))
    }
}
