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
