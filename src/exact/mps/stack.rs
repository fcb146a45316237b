//! Several matrices of one shape, side by side.

use faer::{MatMut, MatRef};

/// `count` matrices of `rows` by `cols`, column-major one after the other: also one matrix of `rows` by `count cols`.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) count: usize,
    data: Vec<f64>,
}

impl Stack {
    pub(crate) fn zeros(rows: usize, cols: usize, count: usize) -> Self {
        Stack { rows, cols, count, data: vec![0.0; rows * cols * count] }
    }

    pub(crate) fn one(&self, b: usize) -> MatRef<'_, f64> {
        let size = self.rows * self.cols;
        MatRef::from_column_major_slice(&self.data[b * size..(b + 1) * size], self.rows, self.cols)
    }

    pub(crate) fn one_mut(&mut self, b: usize) -> MatMut<'_, f64> {
        let size = self.rows * self.cols;
        let data = &mut self.data[b * size..(b + 1) * size];
        MatMut::from_column_major_slice_mut(data, self.rows, self.cols)
    }

    /// All of them side by side.
    pub(crate) fn flat(&self) -> MatRef<'_, f64> {
        MatRef::from_column_major_slice(&self.data, self.rows, self.count * self.cols)
    }

    pub(crate) fn flat_mut(&mut self) -> MatMut<'_, f64> {
        MatMut::from_column_major_slice_mut(&mut self.data, self.rows, self.count * self.cols)
    }

    /// Each as a column of its own: `rows cols` by `count`.
    pub(crate) fn columns(&self) -> MatRef<'_, f64> {
        MatRef::from_column_major_slice(&self.data, self.rows * self.cols, self.count)
    }

    /// Combinations of the matrices with the columns of `weights`.
    pub(crate) fn mixed(&self, weights: MatRef<'_, f64>) -> Stack {
        use faer::linalg::matmul::matmul;
        let mut out = Stack::zeros(self.rows, self.cols, weights.ncols());
        if self.count > 0 && weights.ncols() > 0 && !self.data.is_empty() {
            let target = MatMut::from_column_major_slice_mut(
                &mut out.data,
                self.rows * self.cols,
                weights.ncols(),
            );
            matmul(target, faer::Accum::Replace, self.columns(), weights, 1.0, faer::Par::Seq);
        }
        out
    }

    pub(crate) fn bytes(&self) -> usize {
        8 * self.data.len()
    }
}
