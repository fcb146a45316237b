//! Lowest states of a local problem, from a good guess in a few products: the block Davidson method without
//! restarts (E. R. Davidson, J. Comput. Phys. 17, 87 (1975)).

use crate::math::linalg::{EigenFailure, add_scaled, combinations, dot, norm, symmetric_eigen};
use faer::Mat;

/// Smallest denominator of the preconditioner, in Hartree.
const LEAST_GAP: f64 = 0.1;

/// What was found, ascending.
pub(crate) struct Found {
    pub(crate) values: Vec<f64>,
    pub(crate) vectors: Vec<Vec<f64>>,
    pub(crate) products: usize,
}

/// Orthonormalises `v` against `basis`; false when nothing is left.
fn orthonormalise(v: &mut [f64], basis: &[Vec<f64>]) -> bool {
    let start = norm(v);
    if start.is_nan() || start < 1e-200 {
        return false;
    }
    v.iter_mut().for_each(|x| *x /= start);
    for _ in 0..2 {
        for b in basis {
            let s = dot(v, b);
            add_scaled(v, -s, b);
        }
        let after = norm(v);
        if after.is_nan() || after < 1e-8 {
            return false;
        }
        v.iter_mut().for_each(|x| *x /= after);
    }
    true
}

/// The lowest `states` (as many as there are) of the symmetric matrix behind `apply`, until the norms of the residuals are
/// below `residual` or the subspace has been enlarged `passes` times. Where `start` has too few vectors, those of
/// the smallest elements of the diagonal are added.
pub(crate) fn lowest(
    apply: impl Fn(&[f64]) -> Vec<f64>,
    diagonal: &[f64],
    mut start: Vec<Vec<f64>>,
    states: usize,
    residual: f64,
    passes: usize,
) -> Result<Found, EigenFailure> {
    let size = diagonal.len();
    if start.len() < states {
        let mut order: Vec<usize> = (0..size).collect();
        order.sort_by(|a, b| diagonal[*a].total_cmp(&diagonal[*b]).then(a.cmp(b)));
        for &i in order.iter().take(2 * states) {
            let mut v = vec![0.0; size];
            v[i] = 1.0;
            start.push(v);
        }
    }
    let mut basis: Vec<Vec<f64>> = vec![];
    let mut images: Vec<Vec<f64>> = vec![];
    let mut projected: Vec<Vec<f64>> = vec![];
    let mut products = 0;
    for pass in 0.. {
        for mut v in start.drain(..) {
            if basis.len() < size && orthonormalise(&mut v, &basis) {
                let image = apply(&v);
                products += 1;
                basis.push(v);
                projected.push(basis.iter().map(|b| dot(b, &image)).collect());
                images.push(image);
            }
        }
        let n = basis.len();
        let matrix =
            Mat::from_fn(n, n, |i, j| if i >= j { projected[i][j] } else { projected[j][i] });
        let (theta, u) = symmetric_eigen(matrix.as_ref())?;
        let found = states.min(n);
        let vectors = combinations(&basis, u.subcols(0, found));
        let residuals = combinations(&images, u.subcols(0, found));
        for (k, (x, mut r)) in vectors.iter().zip(residuals).enumerate() {
            add_scaled(&mut r, -theta[k], x);
            if norm(&r) > residual {
                for (r, d) in r.iter_mut().zip(diagonal) {
                    let gap = d - theta[k];
                    *r /= if gap.abs() < LEAST_GAP { LEAST_GAP.copysign(gap) } else { gap };
                }
                start.push(r);
            }
        }
        if start.is_empty() || pass >= passes || n == size {
            return Ok(Found { values: theta[..found].to_vec(), vectors, products });
        }
    }
    unreachable!("the loop ends by its passes")
}
