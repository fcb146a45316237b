//! Layers in which particles move each other by pairs, for eight configurations side by side.
//!
//! `z_i = theta_i + sum_{j≠i} F_ij(theta_i, theta_j)`: second derivatives of `z_i` mix `theta_i` with one other angle at a time, so
//! `dJ/dtheta_k` of the Jacobian `J` is a row, a column and a diagonal. With `M = J^-1`,
//! `d log det J / d theta_k = tr(M J_k)` and `d² log det J / d theta_k d theta_l = tr(M J_kl) - tr(M J_k M J_l)`; contracted with the
//! inner products `G_kl` of the gradients of the angles all of it takes a few products of `n x n` matrices, where carrying
//! derivatives through a factorisation takes one for every particle.

use crate::math::vector::lanes::{
    LANES, Lanes, add_product, each, eliminate, every, multiply, product, scaled, sum,
};
use crate::math::vector::widest;
use crate::wavefunction::journey::{Coordinates, Journey, Partials, ZERO};

/// Derivatives of a displacement of `theta_i` by `theta_j`, `a` times by the first and `b` times by the second, `a + b <= 3`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Push {
    /// `b = 0`.
    pub(super) own: [Lanes; 4],
    /// `a = 0`, from `b = 1` on.
    pub(super) other: [Lanes; 3],
    /// `(1, 1)`, `(2, 1)` and `(1, 2)`.
    pub(super) mixed: [Lanes; 3],
}

/// The displacements of all particles, and scratch memory. Matrices are row-major.
#[derive(Clone, Debug, Default)]
pub(super) struct Coupling {
    /// Displacements of the particles, and their second and third derivatives by their own angles.
    value: Vec<Lanes>,
    bend: Vec<Lanes>,
    third: Vec<Lanes>,
    jacobian: Vec<Lanes>,
    /// `z_i` twice by `theta_j`; once by `theta_i` and once by `theta_j`.
    square: Vec<Lanes>,
    mixed: Vec<Lanes>,
    /// `z_i` by `theta_i` and `theta_j` three times: `(2, 1)`, `(1, 2)` and `(0, 3)`.
    thirds: [Vec<Lanes>; 3],
    inverse: Vec<Lanes>,
    /// `M` after the rows of the derivatives of `J`, before its columns, both, and what else is multiplied.
    rows: Vec<Lanes>,
    columns: Vec<Lanes>,
    both: Vec<Lanes>,
    left: Vec<Lanes>,
    right: Vec<Lanes>,
    curved: Vec<Lanes>,
    log: Partials,
}

impl Coupling {
    /// The identity.
    pub(super) fn clear(&mut self, n: usize) {
        for v in
            [&mut self.value, &mut self.bend, &mut self.third, &mut self.curved, &mut self.log.by]
        {
            v.clear();
            v.resize(n, ZERO);
        }
        let [a, b, c] = &mut self.thirds;
        for v in [&mut self.jacobian, &mut self.square, &mut self.mixed, a, b, c] {
            v.clear();
            v.resize(n * n, ZERO);
        }
        let scratch = [&mut self.inverse, &mut self.rows, &mut self.columns];
        for v in scratch.into_iter().chain([&mut self.both, &mut self.left, &mut self.right]) {
            v.resize(n * n, ZERO);
        }
        (0..n).for_each(|i| self.jacobian[i * n + i] = [1.0; LANES]);
    }

    /// Adds what particle `j` does to particle `i`, of all that it does.
    #[inline(always)]
    pub(super) fn add(&mut self, i: usize, j: usize, push: &Push) {
        let n = self.value.len();
        let Push { own, other, mixed } = push;
        self.value[i] = sum(&self.value[i], &own[0]);
        self.jacobian[i * n + i] = sum(&self.jacobian[i * n + i], &own[1]);
        self.bend[i] = sum(&self.bend[i], &own[2]);
        self.third[i] = sum(&self.third[i], &own[3]);
        let at = i * n + j;
        self.jacobian[at] = other[0];
        self.square[at] = other[1];
        self.mixed[at] = mixed[0];
        let [a, b, c] = &mut self.thirds;
        (a[at], b[at], c[at]) = (mixed[1], mixed[2], other[2]);
    }

    /// `sum_jk z_i,jk G_jk`.
    #[inline(always)]
    fn curvature<const FUSED: bool>(&self, i: usize, gram: &[Lanes]) -> Lanes {
        let n = self.value.len();
        let (mut twice, mut total) = (ZERO, product(&self.bend[i], &gram[i * n + i]));
        for k in (0..n).filter(|&k| k != i) {
            twice = add_product::<FUSED>(&self.mixed[i * n + k], &gram[i * n + k], &twice);
            total = add_product::<FUSED>(&self.square[i * n + k], &gram[k * n + k], &total);
        }
        each(|s| total[s] + 2.0 * twice[s])
    }

    /// `sum_kl J_ij,kl G_kl`.
    #[inline(always)]
    fn jacobian_curvature<const FUSED: bool>(&self, i: usize, j: usize, gram: &[Lanes]) -> Lanes {
        let n = self.value.len();
        let [a, b, c] = &self.thirds;
        if i != j {
            let at = i * n + j;
            let own = product(&a[at], &gram[i * n + i]);
            let own = add_product::<FUSED>(&c[at], &gram[j * n + j], &own);
            let mixed = product(&b[at], &gram[at]);
            return each(|s| own[s] + 2.0 * mixed[s]);
        }
        let (mut twice, mut total) = (ZERO, product(&self.third[i], &gram[i * n + i]));
        for k in (0..n).filter(|&k| k != i) {
            twice = add_product::<FUSED>(&a[i * n + k], &gram[i * n + k], &twice);
            total = add_product::<FUSED>(&b[i * n + k], &gram[k * n + k], &total);
        }
        each(|s| total[s] + 2.0 * twice[s])
    }

    /// Leaves the slopes of `log det J` by the angles and its bend in `log`, from `J^-1` and the inner products of the gradients of the
    /// angles.
    #[inline(always)]
    fn log_determinant<const FUSED: bool>(&mut self, gram: &[Lanes]) {
        let n = self.value.len();
        let mut bend = ZERO;
        for i in 0..n {
            for j in 0..n {
                let curvature = self.jacobian_curvature::<FUSED>(i, j, gram);
                bend = add_product::<FUSED>(&self.inverse[j * n + i], &curvature, &bend);
            }
        }
        let Coupling { inverse, mixed, square, rows, columns, both, left, right, log, .. } = self;
        multiply::<FUSED>(n, mixed, inverse, rows);
        for k in 0..n {
            for j in 0..n {
                let at = k * n + j;
                rows[at] = add_product::<FUSED>(&self.bend[k], &inverse[at], &rows[at]);
            }
        }
        multiply::<FUSED>(n, inverse, square, columns);
        multiply::<FUSED>(n, rows, square, both);
        for k in 0..n {
            let mut slope = sum(&rows[k * n + k], &columns[k * n + k]);
            for i in 0..n {
                slope = add_product::<FUSED>(&mixed[i * n + k], &inverse[i * n + i], &slope);
            }
            log.by[k] = slope;
        }
        // Pairs of rows and of columns, and of a row with a column.
        let mut bent = ZERO;
        for k in 0..n {
            for l in 0..n {
                let (at, mirror) = (k * n + l, l * n + k);
                let mut pair = product(&rows[at], &rows[mirror]);
                pair = add_product::<FUSED>(&columns[at], &columns[mirror], &pair);
                let mixed = product(&inverse[mirror], &both[at]);
                bent = sum(&bent, &product(&gram[at], &sum(&pair, &scaled(2.0, &mixed))));
            }
        }
        // Diagonals with each other, and with a row or a column.
        multiply::<FUSED>(n, mixed, gram, left);
        for i in 0..n {
            for j in 0..n {
                both[i * n + j] = product(&inverse[i * n + j], &inverse[j * n + i]);
            }
        }
        multiply::<FUSED>(n, both, mixed, right);
        for k in 0..n {
            for j in 0..n {
                let (at, mirror) = (k * n + j, j * n + k);
                let row = product(&inverse[mirror], &rows[at]);
                let crossed = add_product::<FUSED>(&columns[mirror], &inverse[at], &row);
                bent = add_product::<FUSED>(&left[at], &right[at], &bent);
                bent = sum(&bent, &product(&scaled(2.0, &crossed), &left[mirror]));
            }
        }
        log.bend = each(|s| bend[s] - bent[s]);
    }

    /// Half the logarithm of the determinant, with a sign.
    #[inline(always)]
    fn weigh(&mut self, sign: f64) {
        let half = 0.5 * sign;
        self.log.bend = scaled(half, &self.log.bend);
        every(&mut self.log.by, |by| scaled(half, by));
    }
}

/// Replaces a matrix that needs no pivots by its inverse: symmetric and positive definite, or with a dominant diagonal.
#[inline(always)]
fn invert<const FUSED: bool>(n: usize, a: &mut [Lanes]) {
    for p in 0..n {
        eliminate::<FUSED>(n, p, a);
    }
}

widest! {
    /// Takes the points, of which all displacements and inner products are there, through the layer.
    pub(super) fn through(coupling: &mut Coupling, journey: &mut Journey) {
        let n = journey.n;
        coupling.inverse.copy_from_slice(&coupling.jacobian);
        invert::<FUSED>(n, &mut coupling.inverse);
        coupling.log_determinant::<FUSED>(&journey.gram);
        coupling.weigh(1.0);
        journey.add_log::<FUSED>(&coupling.log);
        let Journey { points, mapped, gram, .. } = journey;
        multiply::<FUSED>(n, &coupling.jacobian, &points.gradient, &mut mapped.gradient);
        for i in 0..n {
            mapped.value[i] = sum(&points.value[i], &coupling.value[i]);
            let mut laplacian = coupling.curvature::<FUSED>(i, gram);
            for (j, of) in coupling.jacobian[i * n..][..n].iter().zip(&points.laplacian) {
                laplacian = add_product::<FUSED>(j, of, &laplacian);
            }
            mapped.laplacian[i] = laplacian;
        }
        std::mem::swap(points, mapped);
    }
}

widest! {
    /// Takes the points through the inverse of a layer: their values are there already, and all displacements, while gradients and
    /// Laplacians are those of what they were.
    pub(super) fn back(coupling: &mut Coupling, journey: &mut Journey) {
        let n = journey.n;
        coupling.inverse.copy_from_slice(&coupling.jacobian);
        invert::<FUSED>(n, &mut coupling.inverse);
        let Journey { points: Coordinates { gradient, .. }, mapped, .. } = journey;
        multiply::<FUSED>(n, &coupling.inverse, gradient, &mut mapped.gradient);
        std::mem::swap(gradient, &mut mapped.gradient);
        journey.measure();
        let Journey { points, gram, .. } = journey;
        for i in 0..n {
            let curvature = coupling.curvature::<FUSED>(i, gram);
            coupling.curved[i] = each(|s| points.laplacian[i][s] - curvature[s]);
        }
        for (row, laplacian) in coupling.inverse.chunks_exact(n).zip(&mut points.laplacian) {
            let mut sum = ZERO;
            for (m, c) in row.iter().zip(&coupling.curved) {
                sum = add_product::<FUSED>(m, c, &sum);
            }
            *laplacian = sum;
        }
        coupling.log_determinant::<FUSED>(&journey.gram);
        coupling.weigh(-1.0);
        journey.add_log::<FUSED>(&coupling.log);
    }
}
