//! Dense linear algebra, deterministic for any number of threads.
//!
//! The factorisations and products are faer's, each on one thread; products are split into fixed column
//! blocks that run side by side. Those of matrices with many rows are in `tall`.

use crate::parallel;
use crate::work;
use faer::linalg::matmul::matmul;
use faer::prelude::Solve;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use rayon::prelude::*;

/// Why a linear system was not solved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinearError {
    /// The matrix is not positive definite.
    #[error("the matrix is not positive definite")]
    NotPositive,
    /// The solution is not finite.
    #[error("the matrix is singular to working precision")]
    Singular,
}

/// A view of a row-major slice.
pub fn rows(data: &[f64], nrows: usize, ncols: usize) -> MatRef<'_, f64> {
    MatRef::from_row_major_slice(data, nrows, ncols)
}

/// `x^T a x`.
pub fn quadratic_form(a: &Mat<f64>, x: &[f64]) -> f64 {
    let column = |j| a.col_as_slice(j).iter().zip(x).map(|(a, x)| a * x).sum::<f64>();
    (0..x.len()).map(|j| x[j] * column(j)).sum()
}

/// Solves a symmetric positive definite system.
pub fn solve_positive(a: &Mat<f64>, b: &[f64]) -> Result<Vec<f64>, LinearError> {
    parallel::pin_linear_algebra();
    work::factorisation();
    let factor = a.llt(Side::Lower).map_err(|_| LinearError::NotPositive)?;
    finite(factor.solve(column(b)))
}

/// The Cholesky factor `L` of a symmetric positive definite matrix `L L^T`.
#[derive(Clone, Debug)]
pub struct Factor(Mat<f64>);

impl Factor {
    /// Factorises.
    ///
    /// # Errors
    /// [`LinearError::NotPositive`].
    pub fn new(a: &Mat<f64>) -> Result<Self, LinearError> {
        parallel::pin_linear_algebra();
        work::factorisation();
        let factor = a.llt(Side::Lower).map_err(|_| LinearError::NotPositive)?;
        Ok(Factor(factor.L().to_owned()))
    }

    /// `L^-1 b`.
    pub fn solve(&self, b: &[f64]) -> Vec<f64> {
        let mut x = column(b);
        self.0.solve_lower_triangular_in_place(&mut x);
        (0..b.len()).map(|i| x[(i, 0)]).collect()
    }

    /// `L^-T b`.
    pub fn solve_transposed(&self, b: &[f64]) -> Vec<f64> {
        let mut x = column(b);
        self.0.transpose().solve_upper_triangular_in_place(&mut x);
        (0..b.len()).map(|i| x[(i, 0)]).collect()
    }
}

/// Solves a general square system.
pub fn solve_general(a: &Mat<f64>, b: &[f64]) -> Result<Vec<f64>, LinearError> {
    parallel::pin_linear_algebra();
    work::factorisation();
    finite(a.partial_piv_lu().solve(column(b)))
}

fn column(b: &[f64]) -> Mat<f64> {
    Mat::from_fn(b.len(), 1, |i, _| b[i])
}

fn finite(x: Mat<f64>) -> Result<Vec<f64>, LinearError> {
    let x: Vec<f64> = (0..x.nrows()).map(|i| x[(i, 0)]).collect();
    if x.iter().all(|v| v.is_finite()) { Ok(x) } else { Err(LinearError::Singular) }
}

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
    target: MatMut<'_, f64>,
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

/// An orthonormal basis, in columns, whose first `rank` columns span the rows of a matrix and whose others everything that the matrix annihilates;
/// and that rank. Diagonal elements below a share of the first are zero.
///
/// By QR with pivots (G. H. Golub, C. F. Van Loan, "Matrix Computations", section 5.4.2): for matrices whose small elements are rounding, a
/// fraction of the work of a singular value decomposition.
///
/// # Errors
/// [`EigenFailure`] when the matrix holds non-finite numbers.
pub(crate) fn row_space(a: MatRef<'_, f64>, share: f64) -> Result<(Mat<f64>, usize), EigenFailure> {
    let size = a.ncols();
    let finite =
        |m: MatRef<'_, f64>| (0..m.ncols()).all(|j| (0..m.nrows()).all(|i| m[(i, j)].is_finite()));
    if !finite(a) {
        return Err(EigenFailure { size });
    }
    // The triangular factor has the same rows and no more of them than columns.
    let square = a.qr().thin_R().transpose().to_owned();
    let pivoted = square.col_piv_qr();
    let r = pivoted.thin_R();
    let diagonal = r.nrows().min(r.ncols());
    let rank = (0..diagonal).filter(|&i| r[(i, i)].abs() > share * r[(0, 0)].abs()).count();
    Ok((pivoted.compute_Q(), rank))
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

/// Elements of vectors that are combined together: some dozens of vectors' fit a cache.
const TOGETHER: usize = 1024;

/// Linear combinations of vectors, one a column of the coefficients, all in one pass over the vectors.
pub(crate) fn combinations(set: &[Vec<f64>], coefficients: MatRef<'_, f64>) -> Vec<Vec<f64>> {
    let size = set.first().map_or(0, Vec::len);
    let mut sums = vec![vec![0.0; size]; coefficients.ncols()];
    let mut pieces: Vec<Vec<&mut [f64]>> =
        (0..size.div_ceil(TOGETHER)).map(|_| Vec::new()).collect();
    for sum in &mut sums {
        pieces.iter_mut().zip(sum.chunks_mut(TOGETHER)).for_each(|(all, piece)| all.push(piece));
    }
    pieces.into_par_iter().enumerate().for_each(|(i, sums)| {
        for (k, sum) in sums.into_iter().enumerate() {
            let place = i * TOGETHER..i * TOGETHER + sum.len();
            let c = |j: usize| coefficients[(j, k)];
            // Four at a time: the sums are read and written less often.
            let fours = set.chunks_exact(4);
            let rest = set.len() - fours.remainder().len();
            for (j, vectors) in fours.enumerate() {
                let c = [0, 1, 2, 3].map(|i| c(4 * j + i));
                let [v, w, x, y] = [0, 1, 2, 3].map(|i| &vectors[i][place.clone()]);
                for (i, s) in sum.iter_mut().enumerate() {
                    *s = *s + c[0] * v[i] + c[1] * w[i] + c[2] * x[i] + c[3] * y[i];
                }
            }
            for (j, vector) in set.iter().enumerate().skip(rest) {
                sum.iter_mut().zip(&vector[place.clone()]).for_each(|(s, v)| *s += c(j) * v);
            }
        }
    });
    sums
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

/// `(a + a^T) / 2`.
pub(crate) fn symmetrised(a: MatRef<'_, f64>) -> Mat<f64> {
    Mat::from_fn(a.nrows(), a.ncols(), |i, j| 0.5 * (a[(i, j)] + a[(j, i)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::tall;

    #[test]
    fn solutions_agree_with_the_definition() {
        let (m, n) = (150, 230);
        let data: Vec<f64> = (0..m * n).map(|i| ((i * 7919) % 101) as f64 / 50.0 - 1.0).collect();
        let a = rows(&data, m, n);
        let g = tall::gram(&a, 0.5);
        let x: Vec<f64> = (0..n).map(|i| (i % 3) as f64 - 1.0).collect();
        let exact: f64 = (0..n * n).map(|k| x[k / n] * g[(k / n, k % n)] * x[k % n]).sum();
        assert!((quadratic_form(&g, &x) - exact).abs() < 1e-9);
        let mut shifted = g.clone();
        for i in 0..n {
            shifted[(i, i)] += 1.0;
        }
        let b: Vec<f64> = (0..n).map(|i| (i % 5) as f64).collect();
        for x in [solve_positive(&shifted, &b).unwrap(), solve_general(&shifted, &b).unwrap()] {
            for i in 0..n {
                let r: f64 = (0..n).map(|j| shifted[(i, j)] * x[j]).sum::<f64>() - b[i];
                assert!(r.abs() < 1e-10);
            }
        }
        for i in 0..n {
            shifted[(i, i)] -= 50.0;
        }
        assert_eq!(solve_positive(&shifted, &b), Err(LinearError::NotPositive));
    }

    /// Lengths on both sides of the pieces.
    #[test]
    fn combinations_are_those_of_one_vector_after_the_other() {
        for size in [0, 1, 1023, 1024, 2500] {
            let vector =
                |j: usize| (0..size).map(|i| ((i * 31 + j * 7) % 97) as f64 / 9.0).collect();
            let set: Vec<Vec<f64>> = (0..10).map(vector).collect();
            let c = Mat::from_fn(10, 3, |j, k| (j as f64 - 1.3 * k as f64).sin());
            let all = combinations(&set, c.as_ref());
            assert_eq!(all.len(), 3);
            for (k, sum) in all.iter().enumerate() {
                let mut one = vec![0.0; size];
                set.iter().enumerate().for_each(|(j, v)| add_scaled(&mut one, c[(j, k)], v));
                assert_eq!(*sum, one);
            }
        }
    }

    /// Rows of rank three, more and fewer of them than columns, and nothing beyond them.
    #[test]
    fn rows_and_what_they_annihilate_are_told_apart() {
        let part = |i: usize, k: usize| ((1 + i) as f64 * (0.3 + 1.7 * k as f64)).sin();
        let n = 12;
        for rows in [5, 12, 30] {
            let a = Mat::from_fn(rows, n, |i, j| {
                (0..3).map(|k| part(i, k) * part(j, k + 3)).sum::<f64>()
            });
            let (q, rank) = row_space(a.as_ref(), 1e-10).unwrap();
            assert_eq!(rank, 3);
            let unit = mul(q.transpose(), q.as_ref());
            assert!((unit - Mat::<f64>::identity(n, n)).norm_max() < 1e-13);
            assert!(mul(a.as_ref(), q.subcols(rank, n - rank)).norm_max() < 1e-13 * a.norm_max());
            let own = q.subcols(0, rank);
            let again = mul(mul(a.as_ref(), own).as_ref(), own.transpose());
            assert!((again - &a).norm_max() < 1e-13 * a.norm_max());
        }
        let broken = Mat::from_fn(2, 2, |i, _| if i == 0 { f64::NAN } else { 1.0 });
        assert_eq!(row_space(broken.as_ref(), 1e-10), Err(EigenFailure { size: 2 }));
        // No rows annihilate everything.
        assert_eq!(row_space(Mat::<f64>::zeros(3, 2).as_ref(), 1e-10).unwrap().1, 0);
    }
}
