//! Orthonormal polynomials on the half-line `[0, inf)` with the weight `s^(2 z) exp(-s²)`.

use crate::math::linalg::{EigenFailure, symmetric_eigen};
use crate::math::quadrature::GaussLegendre;
use crate::math::scalar::Scalar;
use faer::Mat;

/// Functions `s^z p_k(s)`, with `exp(-s²/2)` orthonormal on the half-line; `z` is 0, or 1 where they vanish at zero.
#[derive(Clone, Debug)]
pub(crate) struct HalfLine {
    zero: bool,
    first: f64,
    diagonal: Vec<f64>,
    off: Vec<f64>,
}

/// Points of the rule that stands for the weight.
const POINTS: usize = 480;

impl HalfLine {
    /// `count` functions by the Stieltjes procedure (W. Gautschi, "Orthogonal Polynomials: Computation and
    /// Approximation", OUP 2004, section 2.2).
    pub(crate) fn new(zero: bool, count: usize) -> Self {
        let end = 80f64.sqrt() + (4.0 * (count + 3) as f64).sqrt();
        let power = if zero { 2 } else { 0 };
        let rule: Vec<(f64, f64)> = GaussLegendre::new(POINTS)
            .on(0.0, end)
            .map(|(s, w)| (s, w * s.powi(power) * (-s * s).exp()))
            .collect();
        let sum = |f: &dyn Fn(usize) -> f64| (0..rule.len()).map(|i| rule[i].1 * f(i)).sum::<f64>();
        let first = sum(&|_| 1.0).sqrt().recip();
        let (mut p, mut before) = (vec![first; rule.len()], vec![0.0; rule.len()]);
        let (mut diagonal, mut off) = (Vec::new(), Vec::new());
        let mut b = 0.0;
        for _ in 0..count {
            let a = sum(&|i| rule[i].0 * p[i] * p[i]);
            let mut q: Vec<f64> =
                (0..rule.len()).map(|i| (rule[i].0 - a) * p[i] - b * before[i]).collect();
            b = sum(&|i| q[i] * q[i]).sqrt();
            q.iter_mut().for_each(|q| *q /= b);
            diagonal.push(a);
            off.push(b);
            before = std::mem::replace(&mut p, q);
        }
        HalfLine { zero, first, diagonal, off }
    }

    /// Whether all functions are zero at zero.
    pub(crate) fn vanishes(&self) -> bool {
        self.zero
    }

    /// The first `count` functions at `s`, without the Gaussian, appended to `out`.
    pub(crate) fn values<T: Scalar>(&self, s: T, count: usize, out: &mut Vec<T>) {
        let (mut p, mut before) = (T::constant(self.first), T::zero());
        if self.zero {
            p = s * self.first;
        }
        for k in 0..count {
            out.push(p);
            let b = if k == 0 { 0.0 } else { self.off[k - 1] };
            let next = ((s - self.diagonal[k]) * p - before * b) / self.off[k];
            (before, p) = (p, next);
        }
    }

    /// The Gauss rule of `count` points for `exp(-s²)` (G. H. Golub, J. H. Welsch, Math. Comp. 23, 221 (1969)).
    pub(crate) fn gauss(count: usize) -> Result<(Vec<f64>, Vec<f64>), EigenFailure> {
        let of = HalfLine::new(false, count);
        let j = Mat::from_fn(count, count, |r, c| match r.abs_diff(c) {
            0 => of.diagonal[r],
            1 => of.off[r.min(c)],
            _ => 0.0,
        });
        let points = symmetric_eigen(j.as_ref())?.0;
        // The Christoffel numbers have their digits in the tail as well.
        let weight = |s: &f64| {
            let mut all = Vec::new();
            of.values(*s, count, &mut all);
            all.iter().map(|p| p * p).sum::<f64>().recip()
        };
        let weights = points.iter().map(weight).collect();
        Ok((points, weights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_orthonormal_by_their_gauss_rule() {
        let (points, weights) = HalfLine::gauss(24).unwrap();
        for zero in [false, true] {
            let of = HalfLine::new(zero, 20);
            let mut all = Vec::new();
            points.iter().for_each(|s| of.values(*s, 20, &mut all));
            for i in 0..20 {
                for j in 0..20 {
                    let s: f64 =
                        (0..24).map(|q| weights[q] * all[20 * q + i] * all[20 * q + j]).sum();
                    assert!((s - f64::from(u8::from(i == j))).abs() < 1e-10, "{i} {j} {s}");
                }
            }
        }
    }
}
