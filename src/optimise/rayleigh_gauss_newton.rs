//! Rayleigh–Gauss–Newton: implicit imaginary time with the curvature of the energy.
//!
//! R. Webber, M. Lindsey, "Rayleigh–Gauss–Newton optimization with enhanced sampling for variational Monte
//! Carlo", Phys. Rev. Research 4, 033099 (2022). `(S / tau + H + shift) d = F` with
//! `H_ij = <O_i (dE_L/dp_j + (E_L - E) O_j)>`; `tau -> infinity` is Newton's method.

use super::{Centred, Optimiser, Pace, Step, schedule};
use crate::local_energy::{Batch, Derivatives};
use crate::math::linalg::{self, LinearError};
use serde::{Deserialize, Serialize};

/// Settings of Rayleigh–Gauss–Newton.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RayleighGaussNewtonSettings {
    /// Imaginary-time step during the first fifth of the run, in inverse Hartree.
    pub tau: f64,
    /// `tau` falls to this fraction of the first by the last iteration.
    pub final_fraction: f64,
    /// Shift of the matrix, relative to the largest diagonal element of the overlap matrix.
    pub shift: f64,
    /// Largest step in the norm of the overlap matrix, in radians.
    pub trust_radius: f64,
    /// Local energies are clipped at this many median absolute deviations in the step.
    pub clip: f64,
}

impl Default for RayleighGaussNewtonSettings {
    fn default() -> Self {
        RayleighGaussNewtonSettings {
            tau: 1.0,
            final_fraction: 0.03,
            shift: 3e-3,
            trust_radius: 0.15,
            clip: 30.0,
        }
    }
}

/// The optimiser; it keeps nothing between steps.
#[derive(Clone, Debug)]
pub struct RayleighGaussNewton {
    settings: RayleighGaussNewtonSettings,
}

impl RayleighGaussNewton {
    /// A fresh start.
    pub fn new(settings: RayleighGaussNewtonSettings) -> Self {
        RayleighGaussNewton { settings }
    }
}

impl Optimiser for RayleighGaussNewton {
    fn derivatives(&self) -> Derivatives {
        Derivatives::LocalEnergy
    }

    fn step(&mut self, batch: &Batch, pace: Pace) -> Result<Step, LinearError> {
        let s = &self.settings;
        let centred = Centred::new(batch, s.clip);
        let (n, p) = (centred.samples, centred.parameters);
        let force = centred.force();
        let tau = schedule(s.tau, s.final_fraction, pace);
        let scale = 1.0 / n as f64;
        let o = linalg::rows(&centred.o, n, p);
        // Rows of clipped samples are left out of the curvature, whose noise they would dominate.
        let mut weighted = batch.energy_gradient.clone();
        for (i, row) in weighted.chunks_exact_mut(p.max(1)).enumerate() {
            let keep = f64::from(u8::from(centred.inside[i]));
            let e = centred.energy[i];
            for (w, o) in row.iter_mut().zip(&centred.o[i * p..]) {
                *w = keep * (*w + e * o);
            }
        }
        let mut matrix = linalg::product(o.transpose(), linalg::rows(&weighted, n, p), scale);
        let overlap = linalg::gram(o, scale);
        let largest = (0..p).map(|k| overlap[(k, k)]).fold(0.0, f64::max);
        for j in 0..p {
            for i in 0..p {
                matrix[(i, j)] += overlap[(i, j)] / tau;
            }
            matrix[(j, j)] += s.shift * largest + f64::MIN_POSITIVE;
        }
        let change = linalg::solve_general(&matrix, &force)?.iter().map(|d| -d).collect();
        Ok(centred.finish(change, &force, s.trust_radius, tau))
    }
}
