//! From local energies along paths to the correction: weights over all windows of a path, and the jackknife over replicates.

use crate::json::number;
use crate::observables::replicates::Replicates;
use serde::{Deserialize, Serialize};

/// Sums of one length of window: number, w, w², e, we; number, w, e, we with every second point of the action.
const SUMS: usize = 9;
/// Lengths of windows, at most, each `sqrt 2` times the one before.
const LENGTHS: usize = 11;

/// Even lengths of windows up to the longest, in steps.
pub(super) fn lengths(longest: usize) -> Vec<usize> {
    let mut lengths: Vec<usize> = (0..LENGTHS)
        .map(|k| 2 * (0.5 * longest as f64 * 0.5f64.powf(0.5 * k as f64)).round() as usize)
        .filter(|&l| l >= 2)
        .collect();
    lengths.reverse();
    lengths.dedup();
    lengths
}

/// How energies become an action.
#[derive(Clone, Copy, Debug)]
pub(super) struct Action {
    /// Imaginary time of a step.
    pub(super) step: f64,
    /// What local energies are relative to.
    pub(super) origin: f64,
    /// Local energies count no further from it.
    pub(super) cap: f64,
}

impl Action {
    /// Energies from the origin and the action of the path up to each point, by the trapezoid rule.
    pub(super) fn along(&self, energies: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let relative: Vec<f64> =
            energies.iter().map(|e| (e - self.origin).clamp(-self.cap, self.cap)).collect();
        let mut sum = 0.0;
        let mut action = vec![0.0];
        for pair in relative.windows(2) {
            sum += 0.5 * self.step * (pair[0] + pair[1]);
            action.push(sum);
        }
        (relative, action)
    }

    /// Sums over the windows of a path of twice the longest, which counts with a weight.
    pub(super) fn sums(&self, energies: &[f64], weight: f64, lengths: &[usize]) -> Vec<f64> {
        let (e, action) = self.along(energies);
        let total = e.len() - 1;
        let mut coarse = vec![0.0; total + 1];
        for k in (2..=total).step_by(2) {
            coarse[k] = coarse[k - 2] + self.step * (e[k - 2] + e[k]);
        }
        let mut all = vec![0.0; SUMS * lengths.len()];
        for (a, &length) in all.chunks_exact_mut(SUMS).zip(lengths) {
            for s in 0..=total - length {
                let w = (action[s] - action[s + length]).exp();
                let mean = 0.5 * (e[s] + e[s + length]);
                a[0] += 1.0;
                a[1] += w;
                a[2] += w * w;
                a[3] += mean;
                a[4] += w * mean;
                if s % 2 == 0 {
                    let w = (coarse[s] - coarse[s + length]).exp();
                    a[5] += 1.0;
                    a[6] += w;
                    a[7] += mean;
                    a[8] += w * mean;
                }
            }
        }
        all.iter_mut().for_each(|a| *a *= weight);
        all
    }
}

/// The correction for one length of projection.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurvePoint {
    /// Imaginary time of the projection, in 1/Hartree.
    pub beta: f64,
    /// `Delta(beta)`, in Hartree.
    #[serde(deserialize_with = "number")]
    pub correction: f64,
    /// Its standard error.
    #[serde(deserialize_with = "number")]
    pub standard_error: f64,
    /// Share of the windows that count: (sum w)² / (number · sum w²).
    #[serde(deserialize_with = "number")]
    pub effective_share: f64,
}

/// What the sums of all walkers say.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    pub(super) points: Vec<CurvePoint>,
    /// `Delta(beta/2) - Delta(beta)` and its standard error, for each.
    pub(super) falls: Vec<(f64, f64)>,
    /// A third of what `Delta` changes with every second point of the action, and its standard error.
    pub(super) quadrature: Vec<(f64, f64)>,
    /// Largest part of the correction that one walker brings, in Hartree.
    pub(super) largest_part: Vec<f64>,
}

/// Points back to half of the length.
pub(super) const HALF: usize = 2;

impl Curve {
    /// From the sums of the walkers, of which each `r`-th belongs to replicate `r`.
    pub(super) fn of(walkers: &[Vec<f64>], replicates: usize, betas: &[f64]) -> Self {
        let count = betas.len();
        let mut sums = vec![vec![0.0; SUMS * count]; replicates];
        for (w, own) in walkers.iter().enumerate() {
            sums[w % replicates].iter_mut().zip(own).for_each(|(s, o)| *s += o);
        }
        let replicates = Replicates::new(sums);
        let found = replicates.jackknife(|sums| {
            let each: Vec<_> = sums.chunks_exact(SUMS).collect();
            let correction = |a: &&[f64]| a[4] / a[1] - a[3] / a[0];
            let delta: Vec<f64> = each.iter().map(correction).collect();
            let falls = (0..count).map(|k| delta[k.saturating_sub(HALF)] - delta[k]);
            let coarse = each
                .iter()
                .map(|a| (a[8] / a[6] - a[7] / a[5] - (a[4] / a[1] - a[3] / a[0])) / 3.0);
            delta.iter().copied().chain(falls).chain(coarse).collect()
        });
        let mean = replicates.mean();
        let points = (0..count)
            .map(|k| {
                let a = &mean[k * SUMS..];
                CurvePoint {
                    beta: betas[k],
                    correction: found.values[k],
                    standard_error: found.errors[k],
                    effective_share: a[1] * a[1] / (a[0] * a[2]),
                }
            })
            .collect();
        let pair = |k: usize| (found.values[k], found.errors[k]);
        let r = replicates.count() as f64;
        let largest = |k: usize| {
            let a = &mean[k * SUMS..];
            let (weighted, plain) = (a[4] / a[1], a[3] / a[0]);
            let part = |own: &Vec<f64>| {
                let b = &own[k * SUMS..];
                ((b[4] - weighted * b[1]) / a[1] - (b[3] - plain * b[0]) / a[0]) / r
            };
            walkers.iter().map(|own| part(own).abs()).fold(0.0, f64::max)
        };
        Curve {
            points,
            falls: (count..2 * count).map(pair).collect(),
            quadrature: (2 * count..3 * count).map(pair).collect(),
            largest_part: (0..count).map(largest).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_even_and_end_at_the_longest() {
        assert_eq!(lengths(32), [2, 4, 6, 8, 12, 16, 22, 32]);
        assert_eq!(lengths(2), [2]);
    }

    #[test]
    fn windows_of_two_levels_have_their_weights() {
        // Paths that stay at one of two energies: the mixed energy is that of the Boltzmann factors.
        let action = Action { step: 0.1, origin: 0.5, cap: 10.0 };
        let lengths = lengths(8);
        let betas: Vec<f64> = lengths.iter().map(|&l| l as f64 * 0.1).collect();
        let walkers: Vec<_> = (0..64)
            .map(|w| action.sums(&[if w / 32 == 0 { 0.0 } else { 1.0 }; 17], 1.0, &lengths))
            .collect();
        let curve = Curve::of(&walkers, 16, &betas);
        for point in &curve.points {
            let (a, b) = ((0.5 * point.beta).exp(), (-0.5 * point.beta).exp());
            assert!((point.correction - (0.5 * (b - a) / (a + b))).abs() < 1e-12);
            assert!(point.standard_error < 1e-12);
            let share = (a + b).powi(2) / (2.0 * (a * a + b * b));
            assert!((point.effective_share - share).abs() < 1e-12);
        }
        assert!(curve.quadrature.iter().all(|q| q.0.abs() < 1e-12));
        assert!(curve.falls[2].0 > 0.0 && curve.largest_part.iter().all(|p| *p < 0.01));
    }
}
