//! Dense matrix products and eigenproblems whose result does not depend on the number of threads.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;

/// Columns of the result that one task computes. Fixed, so that the rounding is the same for any
/// number of threads.
const COLUMNS_PER_TASK: usize = 48;

/// `a b`. Threads share the columns of the result.
pub(crate) fn mul(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    assert_eq!(a.ncols(), b.nrows());
    let mut c = Mat::zeros(a.nrows(), b.ncols());
    if a.nrows() == 0 || b.ncols() == 0 {
        return c;
    }
    let tasks = b.ncols().div_ceil(COLUMNS_PER_TASK);
    let columns: Vec<_> = (0..tasks)
        .map(|t| {
            let start = t * COLUMNS_PER_TASK;
            (start, COLUMNS_PER_TASK.min(b.ncols() - start))
        })
        .collect();
    c.as_mut().par_col_chunks_mut(COLUMNS_PER_TASK).zip(columns).for_each(
        |(target, (start, width))| {
            matmul(target, Accum::Replace, a, b.subcols(start, width), 1.0, Par::Seq);
        },
    );
    c
}

/// `target = a b` by the calling thread alone.
pub(crate) fn mul_into(
    target: faer::MatMut<'_, f64>,
    a: MatRef<'_, f64>,
    b: MatRef<'_, f64>,
    accum: Accum,
) {
    matmul(target, accum, a, b, 1.0, Par::Seq);
}

/// A symmetric eigenproblem did not converge, which means that the matrix holds NaN or infinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the eigenvalue decomposition of a {size} x {size} matrix failed: it holds non-finite numbers"
)]
pub struct EigenFailure {
    /// Number of rows of the matrix.
    pub size: usize,
}

/// Eigenvalues in ascending order and eigenvectors (columns) of a symmetric matrix.
///
/// # Errors
/// [`EigenFailure`] when the matrix holds non-finite numbers.
pub(crate) fn symmetric_eigen(a: MatRef<'_, f64>) -> Result<(Vec<f64>, Mat<f64>), EigenFailure> {
    use faer::dyn_stack::{MemBuffer, MemStack};
    use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
    let size = a.nrows();
    for j in 0..size {
        for i in j..size {
            if !a[(i, j)].is_finite() {
                return Err(EigenFailure { size });
            }
        }
    }
    let mut vectors = Mat::zeros(size, size);
    let mut values = faer::diag::Diag::<f64>::zeros(size);
    // Sequential on purpose: the blocked reduction rounds differently for different thread counts.
    let scratch = self_adjoint_evd_scratch::<f64>(
        size,
        ComputeEigenvectors::Yes,
        Par::Seq,
        Default::default(),
    );
    self_adjoint_evd(
        a,
        values.as_mut(),
        Some(vectors.as_mut()),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .map_err(|_| EigenFailure { size })?;
    let values = (0..size).map(|i| values.column_vector()[i]).collect();
    Ok((values, vectors))
}

/// Singular values in descending order and right singular vectors (columns) of a square matrix.
///
/// Divide and conquer now and then gives up, or returns what is not a number, where nothing is wrong with the matrix: the QR iteration, which is
/// slower, is asked then.
///
/// # Errors
/// [`EigenFailure`] when the matrix holds non-finite numbers.
pub(crate) fn right_singular(a: MatRef<'_, f64>) -> Result<(Vec<f64>, Mat<f64>), EigenFailure> {
    let size = a.ncols();
    let finite =
        |m: MatRef<'_, f64>| (0..m.ncols()).all(|j| (0..m.nrows()).all(|i| m[(i, j)].is_finite()));
    if !finite(a) {
        return Err(EigenFailure { size });
    }
    if let Ok(svd) = a.svd()
        && finite(svd.V())
    {
        let values = svd.S().column_vector();
        return Ok(((0..size).map(|i| values[i]).collect(), svd.V().to_owned()));
    }
    by_iteration(a).filter(|(_, v)| finite(v.as_ref())).ok_or(EigenFailure { size })
}

/// [`right_singular`] by the QR iteration; none where it does not converge.
fn by_iteration(a: MatRef<'_, f64>) -> Option<(Vec<f64>, Mat<f64>)> {
    let matrix = nalgebra::DMatrix::from_fn(a.nrows(), a.ncols(), |i, j| a[(i, j)]);
    let svd = matrix.try_svd(false, true, f64::EPSILON, 0)?;
    let v = svd.v_t?;
    let vectors = Mat::from_fn(v.ncols(), v.nrows(), |i, j| v[(j, i)]);
    Some((svd.singular_values.iter().copied().collect(), vectors))
}

/// Length of the partial sums of [`dot`].
const CHUNK: usize = 1 << 15;

/// Inner product with a fixed order of summation.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let partial = |(x, y): (&[f64], &[f64])| -> f64 {
        // Eight independent sums let the compiler use vector registers.
        let mut s = [0.0; 8];
        let (xc, yc) = (x.chunks_exact(8), y.chunks_exact(8));
        let tail: f64 = xc.remainder().iter().zip(yc.remainder()).map(|(p, q)| p * q).sum();
        for (p, q) in xc.zip(yc) {
            for k in 0..8 {
                s[k] += p[k] * q[k];
            }
        }
        s.iter().sum::<f64>() + tail
    };
    if a.len() <= CHUNK {
        return partial((a, b));
    }
    let sums: Vec<f64> = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK)).map(partial).collect();
    sums.iter().sum()
}

/// `y += a x`.
pub(crate) fn add_scaled(y: &mut [f64], a: f64, x: &[f64]) {
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
        for (y, x) in y.iter_mut().zip(x) {
            *y += a * x;
        }
    });
}

/// Euclidean norm.
pub(crate) fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

/// `a^T m b`, symmetrised when `a` and `b` are the same.
pub(crate) fn symmetrised_product(
    a: MatRef<'_, f64>,
    m: MatRef<'_, f64>,
    b: MatRef<'_, f64>,
) -> Mat<f64> {
    let x = mul(a.transpose(), mul(m, b).as_ref());
    if std::ptr::eq(a.as_ptr(), b.as_ptr()) {
        Mat::from_fn(x.nrows(), x.ncols(), |i, j| 0.5 * (x[(i, j)] + x[(j, i)]))
    } else {
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A matrix of rank three from what both ways find of it, and nothing beyond.
    #[test]
    fn singular_vectors_are_the_same_both_ways() {
        let n = 12;
        let part = |i: usize, k: usize| ((1 + i) as f64 * (0.3 + 1.7 * k as f64)).sin();
        let a = Mat::from_fn(n, n, |i, j| (0..3).map(|k| part(i, k) * part(j, k + 3)).sum::<f64>());
        let square = mul(a.transpose(), a.as_ref());
        for (values, v) in [right_singular(a.as_ref()).unwrap(), by_iteration(a.as_ref()).unwrap()]
        {
            assert!(values[2] > 0.1 && values[3] < 1e-13 * values[0], "{values:?}");
            assert!(values.windows(2).all(|w| w[0] >= w[1]));
            let again = Mat::from_fn(n, n, |i, j| {
                (0..n).map(|k| values[k].powi(2) * v[(i, k)] * v[(j, k)]).sum::<f64>()
            });
            let off = |m: &Mat<f64>, o: &Mat<f64>| (m - o).norm_max();
            assert!(off(&again, &square) < 1e-12 * square.norm_max());
            let unit = mul(v.transpose(), v.as_ref());
            assert!(off(&unit, &Mat::identity(n, n)) < 1e-13);
        }
        let broken = Mat::from_fn(2, 2, |i, _| if i == 0 { f64::NAN } else { 1.0 });
        assert_eq!(right_singular(broken.as_ref()), Err(EigenFailure { size: 2 }));
    }
}
