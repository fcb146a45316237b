//! Rayleigh–Gauss–Newton: implicit imaginary time with the curvature of the energy.
//!
//! R. Webber, M. Lindsey, "Rayleigh–Gauss–Newton optimization with enhanced sampling for variational Monte
//! Carlo", Phys. Rev. Research 4, 033099 (2022). `(S / tau + H + shift) d = F` with
//! `H_ij = <O_i (dE_L/dp_j + (E_L - E) O_j)>`; `tau -> infinity` is Newton's method.

use super::{Centred, Optimiser, Pace, Residual, Step, schedule};
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
    /// Weight of the wavefunction's roughness in the matrix, relative to the largest diagonal element of the
    /// overlap matrix: spline weights that few samples see follow their neighbours instead of the noise.
    pub smoothing: f64,
    /// Weight of the roughness of the parameters themselves in what is minimised, in Hartree.
    pub penalty: f64,
    /// Weight of the variance of the local energy in what is minimised, `E + variance/2 * Var(E_L)`, in inverse
    /// Hartree. Its Gauss–Newton matrix ties down parameters that only matter where samples are rare.
    pub variance: f64,
    /// Share of the samples drawn with more weight on the tails, in [0, 1). Importance weights undo it in the
    /// energy, and are left out of the variance, which so counts the tails in full.
    pub tails: f64,
    /// Spread of the local energies, in Hartree, at which `shift` and `smoothing` have their full values; they
    /// grow and shrink with its square, as in Levenberg–Marquardt's method. 0 keeps them fixed.
    pub spread: f64,
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
            smoothing: 0.0,
            penalty: 0.0,
            variance: 0.0,
            tails: 0.0,
            spread: 0.0,
            trust_radius: 0.15,
            clip: 30.0,
        }
    }
}

/// The optimiser, with the last state it trusts.
#[derive(Clone, Debug)]
pub struct RayleighGaussNewton {
    settings: RayleighGaussNewtonSettings,
    trusted: Option<Trusted>,
    /// Factor on shift and smoothing: grows when a step has failed.
    caution: f64,
}

/// Parameters to return to, and the moments of the local energy there.
#[derive(Clone, Debug)]
struct Trusted {
    values: Vec<f64>,
    energy: f64,
    error: f64,
    spread: f64,
}

/// A step has failed when the energy rises by more than this many error bars ..
const ENERGY_RISE: f64 = 8.0;
/// .. or the spread of the local energies by more than this factor.
const SPREAD_RISE: f64 = 4.0;
/// Smallest factor on shift and smoothing: below, the noise of the samples would decide.
const LEAST_DAMPING: f64 = 1e-2;
/// Growth of the caution after a failed step.
const CAUTION_GROWTH: f64 = 4.0;
/// Decay of the caution after a good one.
const CAUTION_DECAY: f64 = 0.8;

impl RayleighGaussNewton {
    /// Judges the state of a batch by its (clipped) local energies; the change back to the last trusted
    /// state if it is much worse.
    fn judge(&mut self, centred: &Centred, batch: &Batch) -> Option<Vec<f64>> {
        let count = centred.samples.max(2) as f64;
        let spread = (centred.energy.iter().map(|e| e * e).sum::<f64>() / count).sqrt();
        let energy = centred.mean_energy;
        if let Some(t) = &self.trusted {
            let worse =
                energy - t.energy > ENERGY_RISE * t.error || spread > SPREAD_RISE * t.spread;
            // A NaN is worse too.
            if worse || !spread.is_finite() {
                self.caution *= CAUTION_GROWTH;
                return Some(t.values.iter().zip(&batch.values).map(|(t, v)| t - v).collect());
            }
        }
        self.caution = (self.caution * CAUTION_DECAY).max(1.0);
        let (values, error) = (batch.values.clone(), spread / count.sqrt());
        self.trusted = Some(Trusted { values, energy, error, spread });
        None
    }
}

impl RayleighGaussNewton {
    /// A fresh start.
    pub fn new(settings: RayleighGaussNewtonSettings) -> Self {
        RayleighGaussNewton { settings, trusted: None, caution: 1.0 }
    }
}

impl Optimiser for RayleighGaussNewton {
    fn derivatives(&self) -> Derivatives {
        Derivatives::LocalEnergy
    }

    fn tails(&self) -> f64 {
        self.settings.tails
    }

    fn step(&mut self, batch: &Batch, pace: Pace) -> Result<Step, LinearError> {
        let centred = Centred::new(batch, self.settings.clip);
        // Damping that follows the spread needs a state to measure it at.
        let back = if self.settings.spread > 0.0 { self.judge(&centred, batch) } else { None };
        let s = &self.settings;
        let (n, p) = (centred.samples, centred.parameters);
        let mut force = centred.force();
        let tau = schedule(s.tau, s.final_fraction, pace);
        let scale = 1.0 / n as f64;
        if let Some(change) = back {
            return Ok(centred.finish(change, &force, f64::INFINITY, tau));
        }
        let factor = match &self.trusted {
            Some(t) if s.spread > 0.0 => {
                (t.spread / s.spread).powi(2).clamp(LEAST_DAMPING, 10.0) * self.caution
            }
            _ => self.caution,
        };
        let o = linalg::rows(&centred.o, n, p);
        // Rows of clipped samples are left out of the curvature, whose noise they would dominate.
        let mut weighted = batch.energy_gradient.clone();
        for (i, row) in weighted.chunks_exact_mut(p.max(1)).enumerate() {
            let keep = f64::from(u8::from(centred.inside[i]));
            let (e, root) = (centred.energy[i], centred.root[i]);
            for (w, o) in row.iter_mut().zip(&centred.o[i * p..]) {
                *w = keep * (root * *w + e / root * o);
            }
        }
        let mut matrix = linalg::product(o.transpose(), linalg::rows(&weighted, n, p), scale);
        let overlap = linalg::gram(o, scale);
        let largest = (0..p).map(|k| overlap[(k, k)]).fold(0.0, f64::max);
        for j in 0..p {
            for i in 0..p {
                matrix[(i, j)] += overlap[(i, j)] / tau;
            }
            matrix[(j, j)] += factor * s.shift * largest + f64::MIN_POSITIVE;
        }
        if s.variance > 0.0 {
            let residual = Residual::new(batch, centred.width);
            let g = linalg::gram(linalg::rows(&residual.jacobian, n, p), s.variance * scale);
            for j in 0..p {
                for i in 0..p {
                    matrix[(i, j)] += g[(i, j)];
                }
                force[j] += s.variance * residual.force[j];
            }
        }
        let damping = factor * s.smoothing * largest + s.penalty;
        for form in &batch.roughness {
            let size: f64 = form.iter().map(|&(k, a)| a * batch.values[k]).sum();
            for &(i, a) in form {
                force[i] += s.penalty * a * size;
                for &(j, b) in form {
                    matrix[(i, j)] += damping * a * b;
                }
            }
        }
        let change = linalg::solve_general(&matrix, &force)?.iter().map(|d| -d).collect();
        Ok(centred.finish(change, &force, s.trust_radius, tau))
    }
}
