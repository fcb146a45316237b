//! The lowest states of a sector from one flow: Rayleigh–Ritz in the span of all of them.
//!
//! With the overlaps `S = <u u^T>` and `H = <u h^T>` of [samples](super::mixture) the energies are the eigenvalues of the
//! symmetric part of `A = S^-1 H`. The sampled `S` stays, although it is known to be one: with it the energies have no
//! variance where the span holds eigenstates (M. P. Nightingale, V. Melik-Alaverdian, Phys. Rev. Lett. 87, 043401 (2001)).

use super::mixture::Rows;
use super::robust::Huber;
use crate::math::linalg::LinearError;
use faer::prelude::Solve;
use faer::{Mat, Side};

/// Energies and the rotation to them of an estimate of `S` and `H`.
#[derive(Clone, Debug)]
pub struct Ritz {
    /// Ascending, in Hartree.
    pub energies: Vec<f64>,
    /// `S^-1 H`.
    pub a: Mat<f64>,
    /// Orthonormal columns: the states with these energies.
    pub rotation: Mat<f64>,
}

impl Ritz {
    /// From `<u u^T>` and `<u h^T>`.
    ///
    /// # Errors
    /// [`LinearError`] where they are singular or not finite.
    pub fn of(s: &Mat<f64>, h: &Mat<f64>) -> Result<Self, LinearError> {
        let k = s.nrows();
        let a = s.partial_piv_lu().solve(h);
        let symmetric = Mat::from_fn(k, k, |i, j| 0.5 * (a[(i, j)] + a[(j, i)]));
        if (0..k * k).any(|i| !symmetric[(i / k, i % k)].is_finite()) {
            return Err(LinearError::Singular);
        }
        let eigen = symmetric.self_adjoint_eigen(Side::Lower).map_err(|_| LinearError::Singular)?;
        let energies = (0..k).map(|i| eigen.S()[i]).collect();
        let mut rotation = eigen.U().to_owned();
        for q in 0..k {
            let largest = (0..k)
                .map(|i| rotation[(i, q)])
                .fold(0.0_f64, |a, b| if b.abs() > a.abs() { b } else { a });
            if largest < 0.0 {
                (0..k).for_each(|i| rotation[(i, q)] = -rotation[(i, q)]);
            }
        }
        Ok(Ritz { energies, a, rotation })
    }

    /// `C^T sym(S^-1 D) C`: an observable between the states.
    pub(crate) fn turned(&self, s: &Mat<f64>, d: &Mat<f64>) -> Mat<f64> {
        let k = s.nrows();
        let b = s.partial_piv_lu().solve(d);
        let symmetric = Mat::from_fn(k, k, |i, j| 0.5 * (b[(i, j)] + b[(j, i)]));
        self.rotation.transpose() * symmetric * &self.rotation
    }
}

/// `<a b^T>` over samples.
pub(crate) fn product(rows: &Rows, a: &[f64], b: &[f64]) -> Mat<f64> {
    let k = rows.states;
    let n = rows.samples().max(1) as f64;
    let mut m = Mat::zeros(k, k);
    for ((w, a), b) in rows.weight.iter().zip(a.chunks_exact(k)).zip(b.chunks_exact(k)) {
        for l in 0..k {
            for q in 0..k {
                m[(q, l)] += w * a[q] * b[l] / n;
            }
        }
    }
    m
}

/// Turns the states of rows of `width` numbers each.
fn turn(rows: &mut [f64], rotation: &Mat<f64>, width: usize) {
    let k = rotation.nrows();
    let mut turned = vec![0.0; k * width];
    for block in rows.chunks_exact_mut((k * width).max(1)) {
        turned.fill(0.0);
        for q in 0..k {
            let to = &mut turned[q * width..(q + 1) * width];
            for l in 0..k {
                let c = rotation[(l, q)];
                let from = &block[l * width..(l + 1) * width];
                to.iter_mut().zip(from).for_each(|(t, f)| *t += c * f);
            }
        }
        block.copy_from_slice(&turned);
    }
}

/// `rows - u m`, states by states.
pub(crate) fn minus(rows: &mut [f64], from: &[f64], m: &Mat<f64>, width: usize) {
    let k = m.nrows();
    let size = (k * width).max(1);
    for (block, from) in rows.chunks_exact_mut(size).zip(from.chunks_exact(size)) {
        for q in 0..k {
            for l in 0..k {
                let c = m[(l, q)];
                let to = &mut block[q * width..(q + 1) * width];
                to.iter_mut().zip(&from[l * width..(l + 1) * width]).for_each(|(t, f)| *t -= c * f);
            }
        }
    }
}

/// Rows in the basis of their Ritz states, with residuals `rho = h - u A`.
pub(crate) struct Turned {
    pub(crate) rows: Rows,
    pub(crate) overlap: Mat<f64>,
    pub(crate) a: Mat<f64>,
    pub(crate) energies: Vec<f64>,
    pub(crate) residuals: Vec<f64>,
}

impl Turned {
    pub(crate) fn new(mut rows: Rows) -> Result<Self, LinearError> {
        let (s, h) = (product(&rows, &rows.u, &rows.u), product(&rows, &rows.u, &rows.h));
        let Ritz { energies, rotation, .. } = Ritz::of(&s, &h)?;
        let p = rows.parameter_count;
        for (values, width) in [
            (&mut rows.u, 1),
            (&mut rows.h, 1),
            (&mut rows.t, 1),
            (&mut rows.du, p),
            (&mut rows.dh, p),
        ] {
            if !values.is_empty() {
                turn(values, &rotation, width);
            }
        }
        let (s, h) = (product(&rows, &rows.u, &rows.u), product(&rows, &rows.u, &rows.h));
        let a = s.partial_piv_lu().solve(&h);
        let mut residuals = rows.h.clone();
        minus(&mut residuals, &rows.u, &a, 1);
        Ok(Turned { rows, overlap: s, a, energies, residuals })
    }

    /// `sum_k w_k <u_k t_k>`, the kinetic energy.
    pub(crate) fn kinetic(&self, weights: &[f64]) -> f64 {
        let t = product(&self.rows, &self.rows.u, &self.rows.t);
        weights.iter().enumerate().map(|(k, w)| w * t[(k, k)]).sum::<f64>().max(0.0)
    }

    /// Variances of the states, with importance weights.
    pub(crate) fn variances(&self) -> Vec<f64> {
        let square = product(&self.rows, &self.residuals, &self.residuals);
        (0..self.rows.states).map(|k| square[(k, k)]).collect()
    }

    /// The sum of energies and of robust variances that tells good steps.
    pub(crate) fn merit(&self, weights: &[f64], variance: f64, width: f64) -> f64 {
        let k = self.rows.states;
        let n = self.rows.samples().max(1) as f64;
        let huber = Huber { width };
        let energy: f64 = weights.iter().zip(&self.energies).map(|(w, e)| w * e).sum();
        let squares: f64 = self
            .residuals
            .chunks_exact(k)
            .flat_map(|row| row.iter().zip(weights))
            .map(|(r, w)| w * huber.loss(*r) / n)
            .sum();
        energy + 0.5 * variance * squares
    }
}

/// Fewest samples of a state in an iteration.
const LEAST_SAMPLES: usize = 64;

/// Samples of each state, where `samples` local energies may be evaluated: each sample takes one of every state.
pub fn samples_of_each(samples: usize, states: usize) -> usize {
    (samples / (states * states)).max(LEAST_SAMPLES)
}
