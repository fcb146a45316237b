//! Derivatives `O_k = d log |psi| / d p_k` over samples, in factored form.
//!
//! The derivative with respect to the weights of a dense layer is the outer product of what arrives at the layer from
//! above in the reverse sweep and its input, so that a row of `O` is made of a few short vectors, its factors. All that
//! an optimiser asks of `O` are small matrix products of them: the Gram matrix of the samples is a sum of elementwise
//! products of Gram matrices of factors, and `O` itself is never formed. Parameters without such structure are factors of
//! their own, which is `O` as it is.

use crate::math::{linalg, vector};
use crate::parallel;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use std::ops::Range;

/// Neighbouring parameters whose derivatives are an outer product: that of parameter `first + r * k + c`, with `k` the
/// length of `right`, is `left[r] * right[c]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Outer {
    /// The first of the parameters.
    pub first: usize,
    /// Factors that number the rows.
    pub left: Range<usize>,
    /// Factors that number the columns; without them there is one, and the factor is 1.
    pub right: Option<Range<usize>>,
}

impl Outer {
    fn columns(&self) -> usize {
        self.right.as_ref().map_or(1, Range::len)
    }

    fn parameters(&self) -> Range<usize> {
        self.first..self.first + self.left.len() * self.columns()
    }
}

/// How a row of `O` follows from its factors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    /// Number of parameters.
    pub parameters: usize,
    /// Number of factors.
    pub factors: usize,
    /// The parts of a row; together they cover every parameter once.
    pub parts: Vec<Outer>,
}

impl Layout {
    /// No structure: the factors are the derivatives themselves.
    pub fn dense(parameters: usize) -> Self {
        let parts = vec![Outer { first: 0, left: 0..parameters, right: None }];
        Layout { parameters, factors: parameters, parts }
    }
}

/// Samples that one task of [`Tangent::gram`] takes as columns.
const COLUMNS: usize = 64;

/// `O` of a batch, `samples x parameters`.
#[derive(Clone, Debug, Default)]
pub struct Tangent {
    layout: Layout,
    samples: usize,
    /// `samples x factors`, row-major.
    factors: Vec<f64>,
}

impl Tangent {
    /// No samples yet.
    pub fn new(layout: Layout) -> Self {
        Tangent { layout, samples: 0, factors: Vec::new() }
    }

    /// Adds a sample by its factors.
    pub fn push(&mut self, factors: &[f64]) {
        assert_eq!(factors.len(), self.layout.factors);
        self.samples += 1;
        self.factors.extend_from_slice(factors);
    }

    /// Makes room for so many more samples.
    pub fn reserve(&mut self, samples: usize) {
        self.factors.reserve(samples * self.layout.factors);
    }

    /// Adds the samples of another batch of the same wavefunction.
    pub fn append(&mut self, other: Tangent) {
        assert_eq!(other.layout.factors, self.layout.factors);
        self.samples += other.samples;
        self.factors.extend(other.factors);
    }

    /// The factors of all samples, `samples x factors`, row-major.
    pub fn as_slice(&self) -> &[f64] {
        &self.factors
    }

    /// Of the same wavefunction, with other factors; none if they are not as many a sample.
    pub fn with_factors(self, factors: Vec<f64>) -> Option<Self> {
        let samples = factors.len() / self.layout.factors.max(1);
        let whole = factors.len() == samples * self.layout.factors;
        whole.then_some(Tangent { layout: self.layout, samples, factors })
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.layout.parameters
    }

    /// Number of factors of a sample.
    pub fn factors(&self) -> usize {
        self.layout.factors
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Some of the factors, `samples x range`.
    fn view(&self, range: &Range<usize>) -> MatRef<'_, f64> {
        let all = MatRef::from_row_major_slice(&self.factors, self.samples(), self.layout.factors);
        all.subcols(range.start, range.len())
    }

    /// Numbers made of some of the factors of each sample and of its number, `samples x range`, row-major.
    fn mapped(&self, range: &Range<usize>, y: &[f64], of: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        let mut mapped = vec![0.0; y.len() * range.len()];
        let rows = self.factors.chunks_exact(self.layout.factors.max(1)).zip(y);
        for (out, (row, &y)) in mapped.chunks_exact_mut(range.len().max(1)).zip(rows) {
            out.iter_mut().zip(&row[range.clone()]).for_each(|(o, &f)| *o = of(f, y));
        }
        mapped
    }

    /// `O`, row-major.
    pub fn dense(&self) -> Vec<f64> {
        let (p, f) = (self.layout.parameters, self.layout.factors);
        let mut o = vec![0.0; self.samples() * p];
        for (row, factors) in o.chunks_exact_mut(p.max(1)).zip(self.factors.chunks_exact(f.max(1)))
        {
            for part in &self.layout.parts {
                let left = &factors[part.left.clone()];
                let out = &mut row[part.parameters()];
                match &part.right {
                    None => out.copy_from_slice(left),
                    Some(right) => {
                        let right = &factors[right.clone()];
                        for (out, l) in out.chunks_exact_mut(right.len()).zip(left) {
                            out.iter_mut().zip(right).for_each(|(o, r)| *o = l * r);
                        }
                    }
                }
            }
        }
        o
    }

    /// `O O^T`, `samples x samples`.
    pub fn gram(&self) -> Mat<f64> {
        let n = self.samples();
        let mut data = vec![0.0; n * n];
        if n == 0 {
            return Mat::zeros(0, 0);
        }
        // Only the part below the diagonal of each block column is computed, then mirrored.
        parallel::for_each_piece(&mut data, n * COLUMNS, |i, piece| {
            let (first, columns) = (i * COLUMNS, piece.len() / n);
            let rows = n - first;
            let product = |range: &Range<usize>, out: &mut [f64]| {
                let factors = self.view(range).subrows(first, rows);
                let target = MatMut::from_column_major_slice_mut(out, rows, columns);
                let right = factors.subrows(0, columns).transpose();
                matmul(target, Accum::Replace, factors, right, 1.0, Par::Seq);
            };
            let (mut a, mut b) = (vec![0.0; rows * columns], vec![0.0; rows * columns]);
            for part in &self.layout.parts {
                product(&part.left, &mut a);
                match &part.right {
                    None => b.fill(1.0),
                    Some(right) => product(right, &mut b),
                }
                let pairs = a.chunks_exact(rows).zip(b.chunks_exact(rows));
                for (out, (a, b)) in piece.chunks_exact_mut(n).zip(pairs) {
                    vector::add_products(a, b, &mut out[first..]);
                }
            }
        });
        for j in 0..n {
            for i in 0..j {
                data[j * n + i] = data[i * n + j];
            }
        }
        MatRef::from_column_major_slice(&data, n, n).to_owned()
    }

    /// `O^T y` for one number a sample.
    pub fn combine(&self, y: &[f64]) -> Vec<f64> {
        self.per_part(|part, out| {
            let left = self.mapped(&part.left, y, |f, y| f * y);
            match &part.right {
                None => add_rows(&left, out),
                Some(right) => self.outer(self.view(right), &left, out),
            }
        })
    }

    /// `sum_s y_s O_sk` and `sum_s y_s O_sk²` for each parameter `k`.
    pub fn moments(&self, y: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let squares = self.per_part(|part, out| {
            let left = self.mapped(&part.left, y, |f, y| f * f * y);
            match &part.right {
                None => add_rows(&left, out),
                Some(range) => {
                    let right = self.mapped(range, y, |f, _| f * f);
                    self.outer(linalg::rows(&right, self.samples, range.len()), &left, out);
                }
            }
        });
        (self.combine(y), squares)
    }

    /// The sum over samples of outer products of rows, of `left` (row-major) and `right`.
    fn outer(&self, right: MatRef<f64>, left: &[f64], out: &mut [f64]) {
        let rows = out.len() / right.ncols();
        let target = MatMut::from_column_major_slice_mut(out, right.ncols(), rows);
        let left = linalg::rows(left, self.samples, rows);
        matmul(target, Accum::Replace, right.transpose(), left, 1.0, Par::Seq);
    }

    /// `O d` for one number a parameter.
    pub fn along(&self, d: &[f64]) -> Vec<f64> {
        let n = self.samples;
        let mut sum = vec![0.0; n];
        let parts = parallel::map_chunks(self.layout.parts.len(), 1, |i, _| {
            let part = &self.layout.parts[i];
            let (d, rows) = (&d[part.parameters()], part.left.len());
            let mut inner = vec![0.0; n * rows];
            match &part.right {
                None => inner.chunks_exact_mut(rows.max(1)).for_each(|row| row.copy_from_slice(d)),
                Some(right) => {
                    let d = MatRef::from_column_major_slice(d, right.len(), rows);
                    let target = MatMut::from_row_major_slice_mut(&mut inner, n, rows);
                    matmul(target, Accum::Replace, self.view(right), d, 1.0, Par::Seq);
                }
            }
            let factors = self.factors.chunks_exact(self.layout.factors.max(1));
            let inner = inner.chunks_exact(rows.max(1));
            let of = |(f, inner): (&[f64], &[f64])| {
                f[part.left.clone()].iter().zip(inner).map(|(f, i)| f * i).sum()
            };
            factors.zip(inner).map(of).collect::<Vec<f64>>()
        });
        for part in parts {
            sum.iter_mut().zip(part).for_each(|(s, p)| *s += p);
        }
        sum
    }

    /// One number a parameter, part by part; `fill` finds zeros.
    fn per_part(&self, fill: impl Fn(&Outer, &mut [f64]) + Sync) -> Vec<f64> {
        let mut result = vec![0.0; self.layout.parameters];
        let parts = parallel::map_chunks(self.layout.parts.len(), 1, |i, _| {
            let part = &self.layout.parts[i];
            let mut out = vec![0.0; part.parameters().len()];
            fill(part, &mut out);
            out
        });
        for (part, values) in self.layout.parts.iter().zip(parts) {
            result[part.parameters()].copy_from_slice(&values);
        }
        result
    }
}

/// Adds row-major rows as long as `out` to it.
fn add_rows(rows: &[f64], out: &mut [f64]) {
    for row in rows.chunks_exact(out.len().max(1)) {
        out.iter_mut().zip(row).for_each(|(o, r)| *o += r);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(i: usize) -> f64 {
        ((i * 7919 + 13) % 1009) as f64 / 500.0 - 1.0
    }

    /// Parts of all kinds, in another order than their factors, which two of them share.
    fn tangent(samples: usize) -> Tangent {
        let layout = Layout {
            parameters: 3 * 5 + 4 + 7 * 2,
            factors: 5 + 3 + 4 + 7,
            parts: vec![
                Outer { first: 0, left: 5..8, right: Some(0..5) },
                Outer { first: 19, left: 12..19, right: Some(0..2) },
                Outer { first: 15, left: 8..12, right: None },
            ],
        };
        let mut tangent = Tangent::new(layout);
        for s in 0..samples {
            let factors: Vec<f64> = (0..tangent.factors()).map(|i| number(19 * s + i)).collect();
            tangent.push(&factors);
        }
        tangent
    }

    #[test]
    fn products_agree_with_those_of_the_dense_matrix() {
        for samples in [1, 7, 150] {
            for tangent in [tangent(samples), {
                let mut dense = Tangent::new(Layout::dense(33));
                tangent(samples).dense().chunks_exact(33).for_each(|row| dense.push(row));
                dense
            }] {
                let (p, o) = (tangent.parameters(), tangent.dense());
                assert_eq!((tangent.samples(), p), (samples, 33));
                let at = |s: usize, k: usize| o[s * p + k];
                let y: Vec<f64> = (0..samples).map(|s| number(3 * s + 1)).collect();
                let d: Vec<f64> = (0..p).map(|k| number(5 * k + 2)).collect();
                let (gram, along) = (tangent.gram(), tangent.along(&d));
                for s in 0..samples {
                    for t in 0..samples {
                        let exact: f64 = (0..p).map(|k| at(s, k) * at(t, k)).sum();
                        assert!((gram[(s, t)] - exact).abs() < 1e-12);
                    }
                    let exact: f64 = (0..p).map(|k| at(s, k) * d[k]).sum();
                    assert!((along[s] - exact).abs() < 1e-12);
                }
                let (combined, (mean, square)) = (tangent.combine(&y), tangent.moments(&y));
                for k in 0..p {
                    let exact: f64 = (0..samples).map(|s| y[s] * at(s, k)).sum();
                    let squares: f64 = (0..samples).map(|s| y[s] * at(s, k).powi(2)).sum();
                    assert!((combined[k] - exact).abs() < 1e-12 && mean[k] == combined[k]);
                    assert!((square[k] - squares).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let of = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let t = tangent(300);
                let y: Vec<f64> = (0..300).map(number).collect();
                (t.gram(), t.moments(&y), t.along(&y[..33]))
            })
        };
        assert_eq!(of(1), of(3));
    }
}
