//! Products `A^T B` of matrices with many rows and few columns, deterministic for any number of threads.
//!
//! Rows are made as they are needed, a few at a time, in memory that stays in the caches: weighted, centred and mixed
//! rows of a batch, of which there may be gigabytes, are never stored. The products are faer's, each on one thread.

use crate::math::linalg;
use crate::parallel;
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::traits::ComplexField;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use std::ops::Range;

/// A matrix with many rows, made when they are needed.
pub(crate) trait Tall: Sync {
    /// Number of rows.
    fn rows(&self) -> usize;

    /// Number of columns.
    fn columns(&self) -> usize;

    /// Writes a row.
    fn row(&self, row: usize, out: &mut [f64]);
}

impl Tall for MatRef<'_, f64> {
    fn rows(&self) -> usize {
        self.nrows()
    }

    fn columns(&self) -> usize {
        self.ncols()
    }

    fn row(&self, row: usize, out: &mut [f64]) {
        out.iter_mut().enumerate().for_each(|(c, o)| *o = self[(row, c)]);
    }
}

/// Rows of a stored matrix, each times a factor.
pub(crate) struct Scaled<'a> {
    /// Row-major.
    stored: &'a [f64],
    columns: usize,
    factors: Vec<f64>,
}

impl<'a> Scaled<'a> {
    /// As many rows as factors.
    pub(crate) fn new(stored: &'a [f64], columns: usize, factors: Vec<f64>) -> Self {
        Scaled { stored, columns, factors }
    }
}

impl Tall for Scaled<'_> {
    fn rows(&self) -> usize {
        self.factors.len()
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn row(&self, row: usize, out: &mut [f64]) {
        let stored = &self.stored[row * self.columns..][..self.columns];
        out.iter_mut().zip(stored).for_each(|(o, s)| *o = s * self.factors[row]);
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
        let root = weights.iter().map(|w| w.sqrt()).collect();
        let mut centred = Centred { stored, mean: vec![0.0; columns], root };
        centred.mean = centred.sum(|s, o, _| weights[s] * o / total);
        centred
    }

    /// A sum over the rows of what `of` makes of number, element and the mean of its column.
    fn sum(&self, of: impl Fn(usize, f64, f64) -> f64 + Sync) -> Vec<f64> {
        let parts = parallel::map_chunks(self.root.len(), SUMMED, |_, rows| {
            let mut sum = vec![0.0; self.mean.len()];
            for s in rows {
                let pairs = self.stored(s).iter().zip(&self.mean);
                sum.iter_mut().zip(pairs).for_each(|(sum, (&o, &mean))| *sum += of(s, o, mean));
            }
            sum
        });
        let mut parts = parts.into_iter();
        let mut sum = parts.next().unwrap_or_else(|| vec![0.0; self.mean.len()]);
        parts.for_each(|part| sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part));
        sum
    }

    /// A row as it is stored.
    fn stored(&self, row: usize) -> &'a [f64] {
        let columns = self.mean.len();
        &self.stored[row * columns..(row + 1) * columns]
    }

    /// The sum of `y_s (row_s - mean)`, without the roots.
    pub(crate) fn combine(&self, y: impl Iterator<Item = f64>) -> Vec<f64> {
        let y: Vec<f64> = y.collect();
        self.sum(|s, o, mean| y[s] * (o - mean))
    }

    /// The sum of the squares of the rows, whose weights are given.
    pub(crate) fn squares(&self, weights: &[f64]) -> Vec<f64> {
        self.sum(|s, o, mean| weights[s] * (o - mean) * (o - mean))
    }

    /// Products of the rows with a vector.
    pub(crate) fn along(&self, d: &[f64]) -> Vec<f64> {
        let of_mean = linalg::dot(&self.mean, d);
        let mut along = self.root.clone();
        parallel::for_each_piece(&mut along, SUMMED, |i, along| {
            for (s, along) in (i * SUMMED..).zip(along) {
                *along *= linalg::dot(self.stored(s), d) - of_mean;
            }
        });
        along
    }
}

impl Tall for Centred<'_> {
    fn rows(&self) -> usize {
        self.root.len()
    }

    fn columns(&self) -> usize {
        self.mean.len()
    }

    fn row(&self, row: usize, out: &mut [f64]) {
        let root = self.root[row];
        for ((out, o), mean) in out.iter_mut().zip(self.stored(row)).zip(&self.mean) {
            *out = root * (o - mean);
        }
    }
}

/// Rows that one task sums up.
const SUMMED: usize = 512;

/// Rows that one task makes.
const MADE: usize = 32;

/// Least and largest number of columns of the result that one task computes, and how many tasks there should be.
const WIDTHS: (usize, usize) = (48, 192);
const TASKS: usize = 4;

/// Columns of the result that one task computes.
fn width(columns: usize) -> usize {
    let (least, most) = WIDTHS;
    let even = |tasks: usize| columns.div_ceil(tasks.max(1));
    even(TASKS.max(columns.div_ceil(most))).max(least)
}

/// Numbers that products are computed in; sums over many rows are of `f64`.
trait Element: ComplexField + Default {
    /// Rows that are made together and multiplied at once: with more, those of some hundred columns leave the caches.
    const ROWS: usize;

    /// Writes a row of a matrix, by `values` if need be.
    fn row(matrix: &impl Tall, row: usize, values: &mut Vec<f64>, out: &mut [Self]);
}

impl Element for f64 {
    const ROWS: usize = 128;

    fn row(matrix: &impl Tall, row: usize, _values: &mut Vec<f64>, out: &mut [f64]) {
        matrix.row(row, out);
    }
}

impl Element for f32 {
    const ROWS: usize = 256;

    fn row(matrix: &impl Tall, row: usize, values: &mut Vec<f64>, out: &mut [f32]) {
        values.resize(out.len(), 0.0);
        matrix.row(row, values);
        out.iter_mut().zip(&*values).for_each(|(o, v)| *o = *v as f32);
    }
}

/// The ranges of rows that are made together.
fn blocks<E: Element>(rows: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(E::ROWS).map(move |first| first..rows.min(first + E::ROWS))
}

/// The next rows of a matrix, row-major, in `memory`.
fn made<'a, E: Element>(
    matrix: &impl Tall,
    rows: &Range<usize>,
    memory: &'a mut Vec<E>,
) -> MatRef<'a, E> {
    let (count, width) = (rows.len(), matrix.columns());
    memory.resize(E::ROWS.min(matrix.rows()) * width, E::default());
    let memory = &mut memory[..count * width];
    parallel::for_each_piece(memory, MADE * width, |i, piece| {
        let mut values = Vec::new();
        for (row, out) in (rows.start + i * MADE..).zip(piece.chunks_exact_mut(width)) {
            E::row(matrix, row, &mut values, out);
        }
    });
    MatRef::from_row_major_slice(memory, count, width)
}

/// `scale * a^T b`.
pub(crate) fn product(a: &impl Tall, b: &impl Tall, scale: f64) -> Mat<f64> {
    let (m, n) = (a.columns(), b.columns());
    assert_eq!(a.rows(), b.rows());
    let mut result = Mat::zeros(m, n);
    if m == 0 || n == 0 {
        return result;
    }
    let mut data = vec![0.0; m * n];
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for rows in blocks::<f64>(a.rows()) {
        let a = made::<f64>(a, &rows, &mut left);
        let b = made::<f64>(b, &rows, &mut right);
        parallel::for_each_piece(&mut data, m * width(n), |i, piece| {
            let b = b.subcols(i * width(n), piece.len() / m);
            let target = MatMut::from_column_major_slice_mut(piece, m, b.ncols());
            matmul(target, Accum::Add, a.transpose(), b, scale, Par::Seq);
        });
    }
    result.copy_from(MatRef::from_column_major_slice(&data, m, n));
    result
}

/// `scale * a^T b` from rows in single precision, whose errors are some 1e-7 of the largest terms, in half the time: for sums over samples,
/// whose noise is much larger, where small differences of large ones are not asked for. As [`product`] where something is too large.
pub(crate) fn single_product(a: &impl Tall, b: &impl Tall, scale: f64) -> Mat<f64> {
    let (m, n) = (a.columns(), b.columns());
    assert_eq!(a.rows(), b.rows());
    let mut result = Mat::zeros(m, n);
    if m == 0 || n == 0 {
        return result;
    }
    /// Columns of the result, and those of a block of rows.
    #[derive(Clone, Default)]
    struct Piece {
        sum: Vec<f64>,
        block: Vec<f32>,
    }
    let mut pieces: Vec<Piece> = vec![Piece::default(); n.div_ceil(width(n))];
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for rows in blocks::<f32>(a.rows()) {
        let a = made::<f32>(a, &rows, &mut left);
        let b = made::<f32>(b, &rows, &mut right);
        parallel::for_each_piece(&mut pieces, 1, |i, piece| {
            let [Piece { sum, block }] = piece else { return };
            let b = b.subcols(i * width(n), width(n).min(n - i * width(n)));
            sum.resize(m * b.ncols(), 0.0);
            block.resize(sum.len(), 0.0);
            let target = MatMut::from_column_major_slice_mut(block, m, b.ncols());
            matmul(target, Accum::Replace, a.transpose(), b, 1.0, Par::Seq);
            sum.iter_mut().zip(&*block).for_each(|(sum, b)| *sum += f64::from(*b));
        });
    }
    let sums = pieces.iter().flat_map(|piece| piece.sum.chunks_exact(m));
    for (column, sum) in result.col_iter_mut().zip(sums) {
        column.iter_mut().zip(sum).for_each(|(o, s)| *o = scale * s);
    }
    if result.is_all_finite() { result } else { product(a, b, scale) }
}

/// `scale * a^T a`.
pub(crate) fn gram(a: &impl Tall, scale: f64) -> Mat<f64> {
    let n = a.columns();
    let mut result = Mat::zeros(n, n);
    if n == 0 {
        return result;
    }
    let mut data = vec![0.0; n * n];
    let mut memory = Vec::new();
    // What is below the diagonal, then mirrored.
    for rows in blocks::<f64>(a.rows()) {
        let a = made::<f64>(a, &rows, &mut memory);
        parallel::for_each_piece(&mut data, n * width(n), |i, piece| {
            let (first, count) = (i * width(n), piece.len() / n);
            let (own, below) = a.subcols(first, n - first).split_at_col(count);
            let target = MatMut::from_column_major_slice_mut(piece, n, count);
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
        });
    }
    result.copy_from(MatRef::from_column_major_slice(&data, n, n));
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

    /// Rows that are no memory: of a plane wave for each column.
    struct Waves(usize, usize, f64);

    impl Tall for Waves {
        fn rows(&self) -> usize {
            self.0
        }

        fn columns(&self) -> usize {
            self.1
        }

        fn row(&self, row: usize, out: &mut [f64]) {
            let Waves(_, _, phase) = self;
            let all = out.iter_mut().enumerate();
            all.for_each(|(c, o)| *o = (phase + (row * (c + 1)) as f64 * 0.7).sin());
        }
    }

    /// Sizes on both sides of the blocks of rows and of the widths of the tasks.
    #[test]
    fn products_agree_with_the_definition() {
        for (rows, m, n) in
            [(1, 1, 1), (127, 3, 50), (128, 49, 48), (513, 9, 60), (300, 97, 193), (257, 400, 5)]
        {
            let (a, b) = (Waves(rows, m, 0.2), Waves(rows, n, 0.9));
            let all = |of: &Waves| {
                let mut out = vec![vec![0.0; of.columns()]; rows];
                out.iter_mut().enumerate().for_each(|(s, row)| of.row(s, row));
                out
            };
            let (x, y) = (all(&a), all(&b));
            let sum = |x: &[Vec<f64>], y: &[Vec<f64>], i: usize, j: usize| {
                (0..rows).map(|s| 0.5 * x[s][i] * y[s][j]).sum::<f64>()
            };
            let (product, gram) = (product(&a, &b, 0.5), gram(&a, 0.5));
            assert_eq!((product.nrows(), product.ncols(), gram.nrows()), (m, n, m));
            for i in (0..m).step_by(7).chain([m - 1]) {
                for j in (0..n).step_by(5).chain([n - 1]) {
                    assert!((product[(i, j)] - sum(&x, &y, i, j)).abs() < 1e-11);
                }
                for j in (0..m).step_by(5).chain([i, m - 1]) {
                    assert!((gram[(i, j)] - sum(&x, &x, i, j)).abs() < 1e-11);
                    assert_eq!(gram[(i, j)], gram[(j, i)]);
                }
            }
            let stored = x.concat();
            assert_eq!(super::gram(&linalg::rows(&stored, rows, m), 0.5), gram);
        }
    }

    #[test]
    fn single_precision_is_enough_or_not_used() {
        for (rows, m, n) in [(1, 1, 1), (255, 3, 50), (257, 49, 48), (900, 97, 193)] {
            let (a, b) = (Waves(rows, m, 0.2), Waves(rows, n, 0.9));
            let scale = 1.0 / rows as f64;
            let (single, double) = (single_product(&a, &b, scale), product(&a, &b, scale));
            for j in 0..n {
                for i in 0..m {
                    // Terms of at most one, rounded three times and added in blocks.
                    assert!((single[(i, j)] - double[(i, j)]).abs() < 1e-6);
                }
            }
            assert_ne!(single, double);
        }
        let waves: Vec<f64> = (0..300 * 40).map(|i| (0.7 * i as f64).sin()).collect();
        let times = |factor| Scaled::new(&waves, 40, vec![factor; 300]);
        let (one, large) = (times(1.0), times(1e25));
        assert!(single_product(&large, &one, 1.0) != product(&large, &one, 1.0));
        assert_eq!(single_product(&large, &large, 1.0), product(&large, &large, 1.0));
    }

    #[test]
    fn nothing_times_something_is_nothing() {
        let is_zero = |m: Mat<f64>, rows, columns| m == Mat::<f64>::zeros(rows, columns);
        assert!(is_zero(product(&Waves(5, 0, 0.0), &Waves(5, 3, 0.0), 1.0), 0, 3));
        assert!(is_zero(single_product(&Waves(5, 0, 0.0), &Waves(5, 3, 0.0), 1.0), 0, 3));
        assert!(is_zero(product(&Waves(0, 2, 0.0), &Waves(0, 3, 0.0), 1.0), 2, 3));
        assert!(is_zero(gram(&Waves(0, 2, 0.0), 1.0), 2, 2));
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let (a, b) = (Waves(500, 210, 0.2), Waves(500, 230, 0.9));
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| (product(&a, &b, 1.0), gram(&a, 1.0), single_product(&a, &b, 1.0)))
        };
        assert_eq!(with(1), with(3));
    }
}
