//! Products `A^T B` of matrices with many rows and few columns, deterministic for any number of threads.
//!
//! Rows are made as they are needed, a few at a time, in memory that stays in the caches: weighted, centred and mixed
//! rows of a batch, of which there may be gigabytes, are never stored. The products are faer's, each on one thread.

use crate::parallel;
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatMut, MatRef, Par};
use std::ops::Range;

/// A matrix with many rows, made when they are needed.
pub(crate) trait Tall: Sync {
    /// Number of rows.
    fn rows(&self) -> usize;

    /// Number of columns.
    fn columns(&self) -> usize;

    /// Writes some of the columns of a row.
    fn row(&self, row: usize, columns: Range<usize>, out: &mut [f64]);
}

impl Tall for MatRef<'_, f64> {
    fn rows(&self) -> usize {
        self.nrows()
    }

    fn columns(&self) -> usize {
        self.ncols()
    }

    fn row(&self, row: usize, columns: Range<usize>, out: &mut [f64]) {
        out.iter_mut().zip(columns).for_each(|(o, c)| *o = self[(row, c)]);
    }
}

/// Rows of a stored matrix minus their weighted mean, times the roots of their weights.
pub(crate) struct Centred<'a> {
    /// Row-major.
    stored: &'a [f64],
    mean: Vec<f64>,
    root: Vec<f64>,
}

impl<'a> Centred<'a> {
    /// `total` is the sum of the weights.
    pub(crate) fn new(stored: &'a [f64], columns: usize, weights: &[f64], total: f64) -> Self {
        let mut mean = vec![0.0; columns];
        for (row, w) in stored.chunks_exact(columns.max(1)).zip(weights) {
            mean.iter_mut().zip(row).for_each(|(m, o)| *m += w * o / total);
        }
        Centred { stored, mean, root: weights.iter().map(|w| w.sqrt()).collect() }
    }

    pub(crate) fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// A row as it is stored.
    pub(crate) fn stored(&self, row: usize) -> &'a [f64] {
        let columns = self.mean.len();
        &self.stored[row * columns..(row + 1) * columns]
    }

    /// The sum of `y_s (row_s - mean)`, without the roots.
    pub(crate) fn combine(&self, y: impl Iterator<Item = f64>) -> Vec<f64> {
        let mut sum = vec![0.0; self.mean.len()];
        for (s, y) in y.enumerate() {
            let pairs = self.stored(s).iter().zip(&self.mean);
            sum.iter_mut().zip(pairs).for_each(|(sum, (o, m))| *sum += y * (o - m));
        }
        sum
    }
}

impl Tall for Centred<'_> {
    fn rows(&self) -> usize {
        self.root.len()
    }

    fn columns(&self) -> usize {
        self.mean.len()
    }

    fn row(&self, row: usize, columns: Range<usize>, out: &mut [f64]) {
        let root = self.root[row];
        let stored = &self.stored(row)[columns.clone()];
        for ((out, o), mean) in out.iter_mut().zip(stored).zip(&self.mean[columns]) {
            *out = root * (o - mean);
        }
    }
}

/// Rows that are made together: with more, the products of some hundred columns leave the caches.
const ROWS: usize = 128;

/// Least and largest number of columns of the result that one task computes, and how many tasks there should be.
const WIDTHS: (usize, usize) = (48, 192);
const TASKS: usize = 4;

/// Columns of the result that one task computes.
fn width(columns: usize) -> usize {
    let (least, most) = WIDTHS;
    let even = |tasks: usize| columns.div_ceil(tasks.max(1));
    even(TASKS.max(columns.div_ceil(most))).max(least)
}

/// The next rows of a matrix, row-major, in `memory`.
fn made<'a>(
    matrix: &impl Tall,
    rows: Range<usize>,
    columns: Range<usize>,
    memory: &'a mut [f64],
) -> MatRef<'a, f64> {
    let (count, width) = (rows.len(), columns.len());
    let memory = &mut memory[..count * width];
    for (row, out) in rows.zip(memory.chunks_exact_mut(width)) {
        matrix.row(row, columns.clone(), out);
    }
    MatRef::from_row_major_slice(memory, count, width)
}

/// The ranges of rows that are made together.
fn blocks(rows: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(ROWS).map(move |first| first..rows.min(first + ROWS))
}

/// `scale * a^T b`.
pub(crate) fn product(a: &impl Tall, b: &impl Tall, scale: f64) -> Mat<f64> {
    let (m, n) = (a.columns(), b.columns());
    assert_eq!(a.rows(), b.rows());
    if m == 0 || n == 0 {
        return Mat::zeros(m, n);
    }
    let mut data = vec![0.0; m * n];
    let width = width(n);
    parallel::for_each_piece(&mut data, m * width, |i, piece| {
        let columns = i * width..i * width + piece.len() / m;
        let (mut left, mut right) = (vec![0.0; ROWS * m], vec![0.0; ROWS * columns.len()]);
        for rows in blocks(a.rows()) {
            let a = made(a, rows.clone(), 0..m, &mut left);
            let b = made(b, rows, columns.clone(), &mut right);
            let target = MatMut::from_column_major_slice_mut(piece, m, columns.len());
            matmul(target, Accum::Add, a.transpose(), b, scale, Par::Seq);
        }
    });
    MatRef::from_column_major_slice(&data, m, n).to_owned()
}

/// `scale * a^T a`.
pub(crate) fn gram(a: &impl Tall, scale: f64) -> Mat<f64> {
    let n = a.columns();
    if n == 0 {
        return Mat::zeros(0, 0);
    }
    let mut data = vec![0.0; n * n];
    let width = width(n);
    // What is below the diagonal, then mirrored.
    parallel::for_each_piece(&mut data, n * width, |i, piece| {
        let (first, count) = (i * width, piece.len() / n);
        let mut memory = vec![0.0; ROWS * (n - first)];
        for rows in blocks(a.rows()) {
            let all = made(a, rows, first..n, &mut memory);
            let (own, below) = all.split_at_col(count);
            let target = MatMut::from_column_major_slice_mut(&mut *piece, n, count);
            let (diagonal, rest) = target.subrows_mut(first, n - first).split_at_row_mut(count);
            triangular::matmul(
                diagonal,
                BlockStructure::TriangularLower,
                Accum::Add,
                own.transpose(),
                BlockStructure::Rectangular,
                own,
                BlockStructure::Rectangular,
                scale,
                Par::Seq,
            );
            matmul(rest, Accum::Add, below.transpose(), own, scale, Par::Seq);
        }
    });
    let mut result = MatRef::from_column_major_slice(&data, n, n).to_owned();
    for j in 0..n {
        for i in 0..j {
            result[(i, j)] = result[(j, i)];
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::linalg;

    /// Rows that are no memory: of a plane wave for each column.
    struct Waves(usize, usize, f64);

    impl Tall for Waves {
        fn rows(&self) -> usize {
            self.0
        }

        fn columns(&self) -> usize {
            self.1
        }

        fn row(&self, row: usize, columns: Range<usize>, out: &mut [f64]) {
            let Waves(_, _, phase) = self;
            out.iter_mut()
                .zip(columns)
                .for_each(|(o, c)| *o = (phase + (row * (c + 1)) as f64 * 0.7).sin());
        }
    }

    /// Sizes on both sides of the blocks of rows and of the widths of the tasks.
    #[test]
    fn products_agree_with_the_definition() {
        for (rows, m, n) in [(1, 1, 1), (127, 3, 50), (128, 49, 48), (300, 97, 193), (257, 400, 5)]
        {
            let (a, b) = (Waves(rows, m, 0.2), Waves(rows, n, 0.9));
            let row = |of: &Waves, s: usize| {
                let mut out = vec![0.0; of.columns()];
                of.row(s, 0..of.columns(), &mut out);
                out
            };
            let sum = |x: &Waves, y: &Waves, i: usize, j: usize| {
                (0..rows).map(|s| 0.5 * row(x, s)[i] * row(y, s)[j]).sum::<f64>()
            };
            let (product, gram) = (product(&a, &b, 0.5), gram(&a, 0.5));
            assert_eq!((product.nrows(), product.ncols(), gram.nrows()), (m, n, m));
            for i in (0..m).step_by(7).chain([m - 1]) {
                for j in (0..n).step_by(5).chain([n - 1]) {
                    assert!((product[(i, j)] - sum(&a, &b, i, j)).abs() < 1e-11);
                }
                for j in (0..m).step_by(5).chain([i, m - 1]) {
                    assert!((gram[(i, j)] - sum(&a, &a, i, j)).abs() < 1e-11);
                    assert_eq!(gram[(i, j)], gram[(j, i)]);
                }
            }
            let stored: Vec<f64> = (0..rows).flat_map(|s| row(&a, s)).collect();
            assert_eq!(super::gram(&linalg::rows(&stored, rows, m), 0.5), gram);
        }
    }

    #[test]
    fn nothing_times_something_is_nothing() {
        let is_zero = |m: Mat<f64>, rows, columns| m == Mat::<f64>::zeros(rows, columns);
        assert!(is_zero(product(&Waves(5, 0, 0.0), &Waves(5, 3, 0.0), 1.0), 0, 3));
        assert!(is_zero(product(&Waves(0, 2, 0.0), &Waves(0, 3, 0.0), 1.0), 2, 3));
        assert!(is_zero(gram(&Waves(0, 2, 0.0), 1.0), 2, 2));
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let (a, b) = (Waves(500, 210, 0.2), Waves(500, 230, 0.9));
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| (product(&a, &b, 1.0), gram(&a, 1.0)))
        };
        assert_eq!(with(1), with(3));
    }
}
