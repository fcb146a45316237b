//! The Hamiltonian in the product basis of two enlarged blocks, and its lowest states there.

use super::block::{Block, Crossing, lowered, raised};
use super::chain::Pair;
use faer::linalg::matmul::matmul;
use faer::prelude::ReborrowMut;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

/// What a product of small matrices takes besides its arithmetic, in floating-point operations.
const CALL: f64 = 1e4;

/// `left` and `right` with the pairs of sectors that hold the state.
pub(crate) struct Local<'a> {
    pub(crate) left: &'a Block,
    pub(crate) right: &'a Block,
    pub(crate) pairs: Vec<Pair>,
    /// Where the matrix of each pair begins in a vector.
    offsets: Vec<usize>,
}

impl<'a> Local<'a> {
    pub(crate) fn new(left: &'a Block, right: &'a Block, pairs: Vec<Pair>) -> Self {
        let mut offsets = vec![0];
        for p in &pairs {
            let size = left.space.sectors[p.left].1 * right.space.sectors[p.right].1;
            offsets.push(offsets[offsets.len() - 1] + size);
        }
        Local { left, right, pairs, offsets }
    }

    pub(crate) fn dimension(&self) -> usize {
        self.offsets[self.pairs.len()]
    }

    fn shape(&self, p: usize) -> (usize, usize) {
        let Pair { left, right } = self.pairs[p];
        (self.left.space.sectors[left].1, self.right.space.sectors[right].1)
    }

    pub(crate) fn view<'v>(&self, v: &'v [f64], p: usize) -> MatRef<'v, f64> {
        let (rows, cols) = self.shape(p);
        MatRef::from_column_major_slice(&v[self.offsets[p]..self.offsets[p + 1]], rows, cols)
    }

    /// The pair whose left sector is `left`.
    fn pair_of(&self, left: usize) -> Option<usize> {
        self.pairs.binary_search_by(|p| p.left.cmp(&left)).ok()
    }

    pub(crate) fn flatten(&self, blocks: &[Mat<f64>]) -> Vec<f64> {
        let mut v = Vec::with_capacity(self.dimension());
        for (p, b) in blocks.iter().enumerate() {
            let (rows, cols) = self.shape(p);
            for j in 0..cols {
                for i in 0..rows {
                    v.push(if (b.nrows(), b.ncols()) == (rows, cols) { b[(i, j)] } else { 0.0 });
                }
            }
        }
        v
    }

    /// Product with the Hamiltonian.
    pub(crate) fn apply(&self, v: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; v.len()];
        let mut pieces: Vec<&mut [f64]> = vec![];
        let mut rest = &mut out[..];
        for p in 0..self.pairs.len() {
            let (piece, more) = rest.split_at_mut(self.offsets[p + 1] - self.offsets[p]);
            pieces.push(piece);
            rest = more;
        }
        pieces.into_par_iter().enumerate().for_each(|(p, piece)| self.apply_to(v, p, piece));
        out
    }

    fn apply_to(&self, v: &[f64], p: usize, out: &mut [f64]) {
        let Pair { left, right } = self.pairs[p];
        let (rows, cols) = self.shape(p);
        let mut out = MatMut::from_column_major_slice_mut(out, rows, cols);
        let psi = self.view(v, p);
        matmul(out.rb_mut(), Accum::Replace, &self.left.inside[left], psi, 1.0, Par::Seq);
        matmul(out.rb_mut(), Accum::Add, psi, &self.right.inside[right], 1.0, Par::Seq);
        let (a, b) = (&self.left.density[left], &self.right.density[right]);
        if a.count > 0 {
            let mut half = Mat::<f64>::zeros(rows, cols * b.count);
            matmul(half.as_mut(), Accum::Replace, psi, b.flat(), 1.0, Par::Seq);
            for k in 0..a.count {
                let piece = half.subcols(k * cols, cols);
                matmul(out.rb_mut(), Accum::Add, a.one(k), piece, 1.0, Par::Seq);
            }
        }
        let charge = self.left.space.sectors[left].0;
        for spin in 0..2 {
            // From one particle less on the left.
            if let Some(source) = lowered(charge, spin)
                .and_then(|q| self.left.space.find(q))
                .and_then(|l| self.pair_of(l))
                && let Some(up) = &self.left.raise[spin][self.pairs[source].left]
                && let Some(down) = &self.right.raise[spin][right]
                && up.stack.count > 0
            {
                let psi = self.view(v, source);
                let mut half = Mat::<f64>::zeros(psi.nrows(), cols * down.stack.count);
                matmul(half.as_mut(), Accum::Replace, psi, down.stack.flat(), 1.0, Par::Seq);
                for k in 0..up.stack.count {
                    let piece = half.subcols(k * cols, cols);
                    matmul(out.rb_mut(), Accum::Add, up.stack.one(k), piece, 1.0, Par::Seq);
                }
            }
            // From one more.
            if let Some(source) =
                self.left.space.find(raised(charge, spin)).and_then(|l| self.pair_of(l))
                && let Some(up) = &self.left.raise[spin][left]
                && let Some(down) = &self.right.raise[spin][self.pairs[source].right]
                && up.stack.count > 0
            {
                let psi = self.view(v, source);
                let mut half = Mat::<f64>::zeros(rows * up.stack.count, psi.ncols());
                matmul(
                    half.as_mut(),
                    Accum::Replace,
                    up.stack.flat().transpose(),
                    psi,
                    1.0,
                    Par::Seq,
                );
                for k in 0..up.stack.count {
                    let piece = half.subrows(k * rows, rows);
                    let back = down.stack.one(k).transpose();
                    matmul(out.rb_mut(), Accum::Add, piece, back, 1.0, Par::Seq);
                }
            }
        }
    }

    /// Floating-point operations of a product with the Hamiltonian.
    pub(crate) fn work(&self) -> f64 {
        let size = |s: &Block, i: usize| s.space.sectors[i].1 as f64;
        let mut sum = 0.0;
        for pair in &self.pairs {
            let (rows, cols) = (size(self.left, pair.left), size(self.right, pair.right));
            let count = self.left.density[pair.left].count as f64;
            sum += 2.0 * rows * cols * (rows + cols) * (1.0 + count) + CALL * (4.0 + count);
            for spin in 0..2 {
                if let Some(up) = &self.left.raise[spin][pair.left]
                    && let Some(other) = self.pair_of(up.to)
                {
                    // There and back.
                    let (r, c) =
                        (size(self.left, up.to), size(self.right, self.pairs[other].right));
                    let there = rows * cols * c + r * rows * c;
                    sum += (4.0 * there + 2.0 * CALL) * up.stack.count as f64;
                }
            }
        }
        sum
    }

    /// Diagonal of the Hamiltonian.
    pub(crate) fn diagonal(&self) -> Vec<f64> {
        let mut d = Vec::with_capacity(self.dimension());
        for p in 0..self.pairs.len() {
            let Pair { left, right } = self.pairs[p];
            let (rows, cols) = self.shape(p);
            let (a, b) = (&self.left.density[left], &self.right.density[right]);
            for j in 0..cols {
                let start = d.len();
                let h = self.right.inside[right][(j, j)];
                d.extend((0..rows).map(|i| self.left.inside[left][(i, i)] + h));
                for k in 0..a.count {
                    let (a, w) = (a.one(k), b.one(k)[(j, j)]);
                    for i in 0..rows {
                        d[start + i] += a[(i, i)] * w;
                    }
                }
            }
        }
        d
    }

    /// Adds to the density matrices of the left (or right) sectors what the operators that couple the two sides make of
    /// the state, the sum of `(O psi)(O psi)^T` over them with a trace of `trace`, so that what the state will
    /// need is not lost (S. R. White, Phys. Rev. B 72, 180403 (2005)). `crossing` is that of the site that joined the side.
    pub(crate) fn perturb(
        &self,
        v: &[f64],
        on_left: bool,
        crossing: &Crossing<'_>,
        trace: f64,
        rho: &mut [Mat<f64>],
    ) {
        let side = if on_left { self.left } else { self.right };
        let sum: Vec<Mat<f64>> = (0..rho.len())
            .into_par_iter()
            .map(|own| {
                let mut total = Mat::zeros(rho[own].nrows(), rho[own].ncols());
                let charge = side.space.sectors[own].0;
                let mut add = |source: usize, operators: Vec<(MatRef<'_, f64>, f64)>| {
                    let Some(p) = self.pair_with(source, on_left) else { return };
                    let psi = self.view(v, p);
                    let psi = if on_left { psi } else { psi.transpose() };
                    let mut t = Mat::<f64>::zeros(total.nrows(), psi.ncols());
                    for (m, weight) in operators {
                        matmul(t.as_mut(), Accum::Replace, m, psi, 1.0, Par::Seq);
                        matmul(total.as_mut(), Accum::Add, &t, t.transpose(), weight, Par::Seq);
                    }
                };
                let d = &side.density[own];
                add(own, (0..d.count).map(|k| (d.one(k), crossing.density.weight(k))).collect());
                for spin in 0..2 {
                    let carry = &crossing.hopping[spin];
                    if let Some(r) = &side.raise[spin][own] {
                        let back = |k| (r.stack.one(k).transpose(), carry.weight(k));
                        add(r.to, (0..r.stack.count).map(back).collect());
                    }
                    let below = lowered(charge, spin).and_then(|q| side.space.find(q));
                    if let Some(below) = below
                        && let Some(r) = &side.raise[spin][below]
                    {
                        let on = |k| (r.stack.one(k), carry.weight(k));
                        add(below, (0..r.stack.count).map(on).collect());
                    }
                }
                total
            })
            .collect();
        let found: f64 = sum.iter().map(|m| (0..m.nrows()).map(|i| m[(i, i)]).sum::<f64>()).sum();
        if found > 0.0 {
            for (rho, m) in rho.iter_mut().zip(&sum) {
                *rho += faer::Scale(trace / found) * m;
            }
        }
    }

    /// The pair that a sector of one side belongs to.
    fn pair_with(&self, sector: usize, on_left: bool) -> Option<usize> {
        if on_left {
            self.pair_of(sector)
        } else {
            self.pairs.iter().position(|p| p.right == sector)
        }
    }
}
