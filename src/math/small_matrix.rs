//! Factorisations of small dense matrices of differentiable scalars: the Jacobians of a few particles.
//!
//! Row-major `n x n` slices; generic over [`Scalar`], so that with jets a log-determinant carries its gradient
//! and Laplacian.

use super::scalar::Scalar;

/// Cholesky factor of a symmetric positive definite matrix, in its lower triangle; returns `log det`.
///
/// `None` when the matrix is not positive definite.
pub fn cholesky<T: Scalar>(a: &mut [T], n: usize) -> Option<T> {
    let mut det = T::zero();
    for j in 0..n {
        let mut d = a[j * n + j];
        for k in 0..j {
            d -= a[j * n + k] * a[j * n + k];
        }
        if d.value().is_nan() || d.value() <= 0.0 {
            return None;
        }
        det += d.ln();
        let root = d.sqrt();
        let inverse = root.recip();
        a[j * n + j] = root;
        for i in j + 1..n {
            let mut s = a[i * n + j];
            for k in 0..j {
                s -= a[i * n + k] * a[j * n + k];
            }
            a[i * n + j] = s * inverse;
        }
    }
    Some(det)
}

/// Solves `L L^T x = b` in place with the factor of [`cholesky`].
pub fn cholesky_solve<T: Scalar>(l: &[f64], n: usize, b: &mut [T]) {
    for i in 0..n {
        for k in 0..i {
            b[i] = b[i].add_scaled(-l[i * n + k], b[k]);
        }
        b[i] *= 1.0 / l[i * n + i];
    }
    for i in (0..n).rev() {
        for k in i + 1..n {
            b[i] = b[i].add_scaled(-l[k * n + i], b[k]);
        }
        b[i] *= 1.0 / l[i * n + i];
    }
}

/// The inverse of `L L^T`, with `L` from [`cholesky`].
pub fn cholesky_inverse<T: Scalar>(l: &[T], n: usize, inverse: &mut [T]) {
    // Columns of L^-1 first, in the lower triangle.
    for j in 0..n {
        inverse[j * n + j] = l[j * n + j].recip();
        for i in j + 1..n {
            let mut s = T::zero();
            for k in j..i {
                s -= l[i * n + k] * inverse[k * n + j];
            }
            inverse[i * n + j] = s * l[i * n + i].recip();
        }
    }
    // Element (i, j) of L^-T L^-1 needs rows from max(i, j) down only, so it can be formed in place.
    for i in 0..n {
        for j in 0..=i {
            let mut s = T::zero();
            for k in i..n {
                s += inverse[k * n + i] * inverse[k * n + j];
            }
            inverse[i * n + j] = s;
        }
        for j in 0..i {
            inverse[j * n + i] = inverse[i * n + j];
        }
    }
}

/// LU factors with row pivoting, in place, with the row order in `pivots`; returns `log |det|` and its sign.
///
/// A singular matrix gives minus infinity.
pub fn lu<T: Scalar>(a: &mut [T], n: usize, pivots: &mut Vec<usize>) -> (T, f64) {
    let (mut det, mut sign) = (T::zero(), 1.0);
    pivots.clear();
    pivots.extend(0..n);
    for j in 0..n {
        let mut best = j;
        for i in j + 1..n {
            if a[i * n + j].value().abs() > a[best * n + j].value().abs() {
                best = i;
            }
        }
        if best != j {
            for k in 0..n {
                a.swap(best * n + k, j * n + k);
            }
            pivots.swap(best, j);
            sign = -sign;
        }
        let pivot = a[j * n + j];
        if pivot.value() < 0.0 {
            sign = -sign;
        }
        det += pivot.abs().ln();
        let inverse = pivot.recip();
        for i in j + 1..n {
            let factor = a[i * n + j] * inverse;
            a[i * n + j] = factor;
            for k in j + 1..n {
                let product = factor * a[j * n + k];
                a[i * n + k] -= product;
            }
        }
    }
    (det, sign)
}

/// The inverse of a matrix from its factors by [`lu`].
pub fn lu_inverse<T: Scalar>(a: &[T], n: usize, pivots: &[usize], inverse: &mut [T]) {
    for (row, &column) in pivots.iter().enumerate() {
        // Column `column` of the inverse solves L U x = e_row.
        for i in 0..n {
            let mut s = T::constant(if i == row { 1.0 } else { 0.0 });
            for k in row..i {
                s -= a[i * n + k] * inverse[k * n + column];
            }
            inverse[i * n + column] = if i < row { T::zero() } else { s };
        }
        for i in (0..n).rev() {
            let mut s = inverse[i * n + column];
            for k in i + 1..n {
                s -= a[i * n + k] * inverse[k * n + column];
            }
            inverse[i * n + column] = s * a[i * n + i].recip();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance_from_identity(a: &[f64], b: &[f64], n: usize) -> f64 {
        let mut worst = 0.0f64;
        for i in 0..n {
            for j in 0..n {
                let s: f64 = (0..n).map(|k| a[i * n + k] * b[k * n + j]).sum();
                worst = worst.max((s - f64::from(u8::from(i == j))).abs());
            }
        }
        worst
    }

    #[test]
    fn inverses_and_determinants() {
        for n in 1..8 {
            let g: Vec<f64> = (0..n * n).map(|i| ((i * i + 3 * i + 1) as f64).sin()).collect();
            let mut f = g.clone();
            let mut pivots = Vec::new();
            let (log, sign) = lu(&mut f, n, &mut pivots);
            let mut inverse = vec![0.0; n * n];
            lu_inverse(&f, n, &pivots, &mut inverse);
            assert!(distance_from_identity(&g, &inverse, n) < 1e-10);
            let exact = nalgebra::DMatrix::from_row_slice(n, n, &g).determinant();
            assert!((sign * log.exp() - exact).abs() < 1e-10);

            let mut s = vec![0.0; n * n];
            for i in 0..n {
                for j in 0..n {
                    s[i * n + j] = (0..n).map(|k| g[i * n + k] * g[j * n + k]).sum::<f64>();
                }
                s[i * n + i] += 0.1;
            }
            let mut l = s.clone();
            let log = cholesky(&mut l, n).unwrap();
            cholesky_inverse(&l, n, &mut inverse);
            assert!(distance_from_identity(&s, &inverse, n) < 1e-10);
            let exact = nalgebra::DMatrix::from_row_slice(n, n, &s).determinant();
            assert!((log.exp() / exact - 1.0).abs() < 1e-10);
            let mut b: Vec<f64> = (0..n).map(|i| s[i * n]).collect();
            cholesky_solve(&l, n, &mut b);
            assert!((b[0] - 1.0).abs() < 1e-10 && b[1..].iter().all(|b| b.abs() < 1e-10));
            s[0] = -1.0;
            assert!(cholesky(&mut s, n).is_none());
        }
    }
}
