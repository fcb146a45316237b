//! Functions of the gap between two neighbours: they vanish at contact as the interaction demands.

use super::elements::{LeftEnd, functions};
use super::gap_state::GapPolynomials;
use crate::math::linalg::{EigenFailure, mul, symmetric_eigen};
use crate::math::quadrature::{gauss_jacobi, recurrence};
use faer::Mat;

/// Functions `g^power (G - g) p_k(g)` on `[0, G]`, orthonormal, `p_k` a Jacobi polynomial, given by
/// their values at the points of a Gauss–Jacobi rule that integrates products of derivatives exactly.
pub(crate) struct GapFunctions {
    /// Quadrature points, in bohr.
    pub(crate) points: Vec<f64>,
    /// Values times the root of the weight: `values^T values = 1`.
    pub(crate) values: Mat<f64>,
    /// Derivatives times the root of the weight, in 1/bohr.
    pub(crate) slopes: Mat<f64>,
}

impl GapFunctions {
    /// `count` functions that vanish like `g^power` at contact (`power > 1/2`) and linearly at
    /// `extent`, in bohr.
    pub(crate) fn new(count: usize, power: f64, extent: f64) -> Result<Self, EigenFailure> {
        let (x, weights) = gauss_jacobi(2.0 * power - 2.0, 2 * count)?;
        let (a, b) = (2.0, 2.0 * power);
        let total = 2.0_f64.powf(b + 4.0) / ((b + 1.0) * (b + 2.0) * (b + 3.0));
        let mut values = Mat::zeros(x.len(), count);
        let mut slopes = Mat::zeros(x.len(), count);
        for (q, (&x, &weight)) in x.iter().zip(&weights).enumerate() {
            let (root, rise, fall) = (weight.sqrt(), 1.0 + x, 1.0 - x);
            let (mut p, mut before) = (1.0 / total.sqrt(), 0.0);
            let (mut dp, mut d_before) = (0.0, 0.0);
            for k in 0..count {
                // Both without the factor (1+x)^(power-1), whose square is the weight of the rule.
                values[(q, k)] = root * rise * fall * p;
                let slope = (power * fall - rise) * p + rise * fall * dp;
                slopes[(q, k)] = root * slope * 2.0 / extent;
                let (diagonal, off) = recurrence(a, b, k);
                let next = recurrence(a, b, k + 1).1;
                let after = ((x - diagonal) * p - off * before) / next;
                let d_after = (p + (x - diagonal) * dp - off * d_before) / next;
                (before, p) = (p, after);
                (d_before, dp) = (dp, d_after);
            }
        }
        let points = x.iter().map(|x| 0.5 * extent * (1.0 + x)).collect();
        Ok(GapFunctions { points, values, slopes })
    }

    /// All functions of spectral elements between `edges`, which vanish at contact and at the last of them.
    pub(crate) fn in_elements(edges: &[f64], degree: usize) -> Self {
        let (points, values, slopes) = functions(edges, degree, LeftEnd::Vanishes);
        GapFunctions { points, values, slopes }
    }

    /// The lowest `kept` eigenfunctions of `-d²/dg² + potential`, given at the points.
    pub(crate) fn eigenfunctions(
        &self,
        potential: &[f64],
        kept: usize,
    ) -> Result<(Vec<f64>, GapFunctions, Mat<f64>), EigenFailure> {
        let weighted = Mat::from_fn(self.values.nrows(), self.values.ncols(), |q, k| {
            potential[q] * self.values[(q, k)]
        });
        let kinetic = mul(self.slopes.transpose(), self.slopes.as_ref());
        let h = kinetic + mul(self.values.transpose(), weighted.as_ref());
        let (energies, vectors) =
            symmetric_eigen(crate::math::linalg::symmetrised(h.as_ref()).as_ref())?;
        let kept = kept.min(energies.len());
        let c = vectors.subcols(0, kept);
        let functions = GapFunctions {
            points: self.points.clone(),
            values: mul(self.values.as_ref(), c),
            slopes: mul(self.slopes.as_ref(), c),
        };
        Ok((energies[..kept].to_vec(), functions, c.to_owned()))
    }

    /// The first `count` functions.
    pub(crate) fn first(&self, count: usize) -> GapFunctions {
        GapFunctions {
            points: self.points.clone(),
            values: self.values.subcols(0, count).to_owned(),
            slopes: self.slopes.subcols(0, count).to_owned(),
        }
    }

    /// The first function times the polynomials that are orthogonal with its square as weight.
    ///
    /// Eigenfunctions would not do: all their even derivatives at contact are tied to the odd ones,
    /// while `(d/dg_i)² psi = d²psi/(dg_i dg_{i+1})` at `g_i = 0`, which is not zero.
    pub(crate) fn polynomials(&self, count: usize) -> GapFunctions {
        let rows = self.points.len();
        let mut values = Mat::<f64>::zeros(rows, count);
        let mut slopes = Mat::<f64>::zeros(rows, count);
        for k in 0..count {
            for q in 0..rows {
                let g = self.points[q];
                (values[(q, k)], slopes[(q, k)]) = if k == 0 {
                    (self.values[(q, 0)], self.slopes[(q, 0)])
                } else {
                    let (v, s) = (values[(q, k - 1)], slopes[(q, k - 1)]);
                    (g * v, g * s + v)
                };
            }
            for _ in 0..2 {
                for j in 0..k {
                    let s: f64 = (0..rows).map(|q| values[(q, k)] * values[(q, j)]).sum();
                    for q in 0..rows {
                        let (v, d) = (values[(q, j)], slopes[(q, j)]);
                        values[(q, k)] -= s * v;
                        slopes[(q, k)] -= s * d;
                    }
                }
            }
            let length = (0..rows).map(|q| values[(q, k)].powi(2)).sum::<f64>().sqrt();
            for q in 0..rows {
                values[(q, k)] /= length;
                slopes[(q, k)] /= length;
            }
        }
        GapFunctions { points: self.points.clone(), values, slopes }
    }

    /// These functions, which are polynomials times the first, as what can be evaluated anywhere; `power` and `extent` as in [`Self::new`].
    pub(crate) fn as_polynomials(
        &self,
        power: f64,
        extent: f64,
    ) -> Result<GapPolynomials, EigenFailure> {
        let rows = self.points.len();
        let all = Self::new(rows / 2, power, extent)?;
        let overlap = |k: usize| (0..rows).map(|q| all.values[(q, k)] * self.values[(q, 0)]).sum();
        let first = (0..rows / 2).map(overlap).collect();
        let count = self.values.ncols();
        let g = self.matrix(&self.points, count);
        let off = |k: usize| if k == 0 { 0.0 } else { g[(k, k - 1)] };
        let recurrence = (0..count).map(|k| (g[(k, k)], off(k))).collect();
        Ok(GapPolynomials::new(power, extent, first, recurrence))
    }

    /// Matrix of a function of the gap, given at the points, between the first `count` functions.
    pub(crate) fn matrix(&self, f: &[f64], count: usize) -> Mat<f64> {
        let v = self.values.subcols(0, count);
        let weighted = Mat::from_fn(v.nrows(), count, |q, k| f[q] * v[(q, k)]);
        crate::math::linalg::symmetrised(mul(v.transpose(), weighted.as_ref()).as_ref())
    }

    /// Matrix of `d/dg` between the first `count` functions, antisymmetric.
    pub(crate) fn derivative(&self, count: usize) -> Mat<f64> {
        let d = mul(self.values.subcols(0, count).transpose(), self.slopes.subcols(0, count));
        Mat::from_fn(count, count, |i, j| 0.5 * (d[(i, j)] - d[(j, i)]))
    }

    /// Points of the quadrature adapted to the first `count` functions, and the functions there by
    /// columns (J. Echave, D. C. Clary, "Potential optimized discrete variable representation",
    /// Chem. Phys. Lett. 190, 225 (1992)).
    pub(crate) fn adapted(&self, count: usize) -> Result<(Vec<f64>, Mat<f64>), EigenFailure> {
        symmetric_eigen(self.matrix(&self.points, count).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two particles of the Calogero model: `-d²/dg² + lambda (lambda-1)/g² + g²/4` has the lowest
    /// level `lambda + 1/2`, then steps of two.
    #[test]
    fn the_radial_oscillator_is_exact() {
        for power in [1.0, 1.5, 2.3, 4.0] {
            let f = GapFunctions::new(48, power, 14.0).unwrap();
            let v: Vec<f64> =
                f.points.iter().map(|g| power * (power - 1.0) / (g * g) + 0.25 * g * g).collect();
            let (energies, kept, _) = f.eigenfunctions(&v, 6).unwrap();
            for (k, e) in energies.iter().take(4).enumerate() {
                let exact = power + 0.5 + 2.0 * k as f64;
                assert!((e - exact).abs() < 1e-9, "power {power}, level {k}: {e}");
            }
            let unit = mul(kept.values.transpose(), kept.values.as_ref());
            for i in 0..6 {
                for j in 0..6 {
                    let expected = f64::from(u8::from(i == j));
                    assert!((unit[(i, j)] - expected).abs() < 1e-10);
                }
            }
        }
    }
}
