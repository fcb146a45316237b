//! Gaussian quadrature: Legendre and Jacobi.

use super::linalg::{EigenFailure, symmetric_eigen};
use faer::Mat;
use std::f64::consts::PI;

/// A Gauss–Legendre rule on `[-1, 1]`: `n` nodes integrate polynomials of degree `2 n - 1` exactly.
#[derive(Clone, Debug)]
pub struct GaussLegendre {
    nodes: Vec<f64>,
    weights: Vec<f64>,
}

impl GaussLegendre {
    /// The rule with `n >= 1` nodes (0 is taken as 1).
    pub fn new(n: usize) -> Self {
        let n = n.max(1);
        let (mut nodes, mut weights) = (vec![0.0; n], vec![0.0; n]);
        for i in 0..n {
            // Tricomi's estimate is close enough for Newton to converge to the i-th root.
            let mut x = (PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..100 {
                let (p, dp) = legendre(n, x);
                slope = dp;
                let step = p / dp;
                x -= step;
                if step.abs() <= 2.0 * f64::EPSILON {
                    slope = legendre(n, x).1;
                    break;
                }
            }
            nodes[n - 1 - i] = x;
            weights[n - 1 - i] = 2.0 / ((1.0 - x * x) * slope * slope);
        }
        GaussLegendre { nodes, weights }
    }

    /// Nodes and weights moved to `[a, b]`.
    pub fn on(&self, a: f64, b: f64) -> impl Iterator<Item = (f64, f64)> + '_ {
        let (mid, half) = (0.5 * (a + b), 0.5 * (b - a));
        self.nodes.iter().zip(&self.weights).map(move |(x, w)| (mid + half * x, half * w))
    }

    /// Integral of `f` over `[a, b]`.
    pub fn integrate(&self, a: f64, b: f64, mut f: impl FnMut(f64) -> f64) -> f64 {
        self.on(a, b).map(|(x, w)| w * f(x)).sum()
    }
}

/// Legendre polynomial of degree `n` and its derivative, by the three-term recurrence.
fn legendre(n: usize, x: f64) -> (f64, f64) {
    let (mut previous, mut current) = (1.0, x);
    for k in 2..=n {
        let k = k as f64;
        (previous, current) = (current, ((2.0 * k - 1.0) * x * current - (k - 1.0) * previous) / k);
    }
    (current, n as f64 * (x * current - previous) / (x * x - 1.0))
}

/// Recurrence coefficients of orthonormal Jacobi polynomials with weight `(1-x)^a (1+x)^b`:
/// `x p_k = off_{k+1} p_{k+1} + diagonal_k p_k + off_k p_{k-1}` (W. Gautschi, "Orthogonal
/// Polynomials: Computation and Approximation", OUP 2004, table 1.1).
pub(crate) fn recurrence(a: f64, b: f64, k: usize) -> (f64, f64) {
    let s = a + b;
    if k == 0 {
        return ((b - a) / (s + 2.0), 0.0);
    }
    let n = k as f64;
    let t = 2.0 * n + s;
    let diagonal = (b * b - a * a) / (t * (t + 2.0));
    let off = if k == 1 {
        4.0 * (1.0 + a) * (1.0 + b) / ((2.0 + s) * (2.0 + s) * (3.0 + s))
    } else {
        4.0 * n * (n + a) * (n + b) * (n + s) / (t * t * (t + 1.0) * (t - 1.0))
    };
    (diagonal, off.sqrt())
}

/// Gauss rule of `count` points for the weight `(1+x)^b` (G. H. Golub, J. H. Welsch, Math. Comp. 23,
/// 221 (1969)).
pub(crate) fn gauss_jacobi(b: f64, count: usize) -> Result<(Vec<f64>, Vec<f64>), EigenFailure> {
    let j = Mat::from_fn(count, count, |r, c| match r.abs_diff(c) {
        0 => recurrence(0.0, b, r).0,
        1 => recurrence(0.0, b, r.max(c)).1,
        _ => 0.0,
    });
    let (points, vectors) = symmetric_eigen(j.as_ref())?;
    let total = 2.0_f64.powf(b + 1.0) / (b + 1.0);
    let weights = (0..count).map(|q| total * vectors[(0, q)].powi(2)).collect();
    Ok((points, weights))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integrates_polynomials_of_degree_2n_minus_1() {
        for n in 1..=24 {
            let rule = GaussLegendre::new(n);
            for degree in 0..2 * n {
                let exact = (3f64.powi(degree as i32 + 1) - 1.0) / (degree as f64 + 1.0);
                let got = rule.integrate(1.0, 3.0, |x| x.powi(degree as i32));
                assert!((got / exact - 1.0).abs() < 2e-13, "n={n} degree={degree}: {got} {exact}");
            }
        }
    }
}
