//! Lowest eigenpairs of a large symmetric matrix by the block Davidson method.
//!
//! E. R. Davidson, "The iterative calculation of a few of the lowest eigenvalues and corresponding
//! eigenvectors of large real-symmetric matrices", J. Comput. Phys. 17, 87 (1975), in the block form
//! of B. Liu (1978): every pass adds the preconditioned residuals of all unconverged states.

use super::linalg::{EigenFailure, add_scaled, dot, norm, symmetric_eigen};
use super::{Iteration, Noise};
use faer::Mat;

/// When to stop, and how much to keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DavidsonOptions {
    /// Number of eigenpairs.
    pub states: usize,
    /// Largest norm of `H x - theta x`, in Hartree.
    pub residual: f64,
    /// Largest estimated error of an eigenvalue, in Hartree: decides where gaps are small.
    pub value_error: f64,
    /// Largest number of passes.
    pub passes: usize,
    /// Largest number of basis vectors.
    pub subspace: usize,
}

/// States above those asked for that are refined with them where they are close, and how close, in
/// Hartree.
const GUARDS: usize = 2;
const CLOSE: f64 = 0.02;

/// Eigenpairs with the evidence for them.
#[derive(Clone, Debug)]
pub(crate) struct Eigenpairs {
    pub values: Vec<f64>,
    pub vectors: Vec<Vec<f64>>,
    /// Number of products with the matrix.
    pub products: usize,
    /// Bound-like estimates of the error of each eigenvalue: `min(r, r²/gap)`.
    pub value_errors: Vec<f64>,
}

/// Orthonormalises `v` against `basis` (twice is enough: Parlett). False when nothing is left.
fn orthonormalise(v: &mut [f64], basis: &[Vec<f64>]) -> bool {
    let start = norm(v);
    if start.is_nan() || start <= 1e-300 {
        return false;
    }
    v.iter_mut().for_each(|x| *x /= start);
    for _ in 0..3 {
        let before = norm(v);
        for b in basis {
            let s = dot(v, b);
            add_scaled(v, -s, b);
        }
        let after = norm(v);
        if after < 1e-10 {
            return false;
        }
        v.iter_mut().for_each(|x| *x /= after);
        if after > 0.7 * before {
            break;
        }
    }
    true
}

/// Lowest determinants and one vector with a little of everything.
pub(crate) fn start_vectors(diagonal: &[f64], states: usize) -> Vec<Vec<f64>> {
    let count = (2 * states + 1).min(diagonal.len());
    let mut order: Vec<usize> = (0..diagonal.len()).collect();
    if order.len() > count {
        order.select_nth_unstable_by(count - 1, |a, b| {
            diagonal[*a].total_cmp(&diagonal[*b]).then(a.cmp(b))
        });
    }
    order.truncate(count);
    order.sort_by(|a, b| diagonal[*a].total_cmp(&diagonal[*b]).then(a.cmp(b)));
    let lowest = diagonal[order[0]];
    let mut list: Vec<Vec<f64>> = order
        .iter()
        .map(|&i| {
            let mut v = vec![0.0; diagonal.len()];
            v[i] = 1.0;
            v
        })
        .collect();
    let mut noise = Noise::default();
    list.push(diagonal.iter().map(|d| noise.next() / (1.0 + (d - lowest)).powi(2)).collect());
    list
}

/// Lowest eigenpairs of the symmetric matrix behind `apply`.
///
/// `precondition(theta, r)` overwrites a residual by a correction, usually `r / (theta - diagonal)`.
/// `start` needs at least as many vectors as states are asked for, together with overlap with each
/// symmetry that may matter. `report` hears of every iteration.
pub(crate) fn lowest(
    mut apply: impl FnMut(&[f64]) -> Vec<f64>,
    precondition: impl Fn(f64, &mut [f64]),
    start: Vec<Vec<f64>>,
    options: &DavidsonOptions,
    report: &mut dyn FnMut(Iteration),
) -> Result<Eigenpairs, EigenFailure> {
    let mut basis: Vec<Vec<f64>> = Vec::new();
    let mut images: Vec<Vec<f64>> = Vec::new();
    let mut projected = Mat::<f64>::zeros(0, 0);
    let mut products = 0;
    let mut fresh = start;
    let mut pass = 0;
    loop {
        pass += 1;
        for mut v in fresh.drain(..) {
            if orthonormalise(&mut v, &basis) {
                images.push(apply(&v));
                products += 1;
                basis.push(v);
                let n = basis.len();
                let last = images.last().map_or(&[][..], |x| x);
                let column: Vec<f64> = basis.iter().map(|b| dot(b, last)).collect();
                let old = projected;
                projected = Mat::from_fn(n, n, |i, j| match (i + 1 == n, j + 1 == n) {
                    (false, false) => old[(i, j)],
                    (true, _) => column[j],
                    (_, true) => column[i],
                });
            }
        }
        let size = basis.len();
        let (theta, u) = symmetric_eigen(projected.as_ref())?;
        let states = options.states.min(size);
        let combine = |set: &[Vec<f64>], k: usize| {
            let mut x = vec![0.0; set[0].len()];
            for (j, b) in set.iter().enumerate() {
                add_scaled(&mut x, u[(j, k)], b);
            }
            x
        };
        let mut vectors = Vec::new();
        let mut value_errors = Vec::new();
        let mut residual = 0.0_f64;
        for k in 0..states {
            let x = combine(&basis, k);
            let mut r = combine(&images, k);
            add_scaled(&mut r, -theta[k], &x);
            let length = norm(&r);
            residual = length.max(residual);
            // The next Ritz value above the states asked for bounds the gap from above only, hence
            // the safety factor; degenerate partners do not count as a gap.
            let gap = theta[k + 1..].iter().map(|t| t - theta[k]).find(|g| *g > 1e-6);
            let error = gap.map_or(length, |g| length.min(4.0 * length * length / g));
            value_errors.push(error);
            if length > options.residual || error > options.value_error {
                precondition(theta[k], &mut r);
                fresh.push(r);
            }
            vectors.push(x);
        }
        report(Iteration { number: pass, energy: theta[0], residual, target: options.residual });
        if !fresh.is_empty() {
            // What is left of a close neighbour in a state decays only as fast as the neighbour itself
            // is found.
            for k in states..size.min(states + GUARDS) {
                if theta[k] - theta[states - 1] > CLOSE {
                    break;
                }
                let mut r = combine(&images, k);
                add_scaled(&mut r, -theta[k], &combine(&basis, k));
                precondition(theta[k], &mut r);
                fresh.push(r);
            }
        }
        let exhausted = size >= vectors.first().map_or(0, Vec::len);
        if fresh.is_empty() || pass >= options.passes || exhausted {
            return Ok(Eigenpairs {
                values: theta[..states].to_vec(),
                vectors,
                products,
                value_errors,
            });
        }
        if size + fresh.len() > options.subspace {
            // Thick restart: a few more Ritz vectors than states keep what has been learnt of the
            // next ones.
            let kept =
                (2 * states + 2).min(size).min(options.subspace.saturating_sub(states)).max(states);
            let keep_b: Vec<_> = (0..kept).map(|k| combine(&basis, k)).collect();
            let keep_i: Vec<_> = (0..kept).map(|k| combine(&images, k)).collect();
            basis = keep_b;
            images = keep_i;
            projected = Mat::from_fn(kept, kept, |i, j| if i == j { theta[i] } else { 0.0 });
        }
    }
}
