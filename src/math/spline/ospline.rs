//! Orthonormal splines on `[0, 1]`, and exact sampling of the square of their combinations.

use super::pieces::horner;
use super::{BSplineBasis, BoundaryConditions, ConstrainedBasis, LocalBasis, Pieces, SplineError};
use crate::math::quadrature::GaussLegendre;
use crate::work;
use nalgebra::{DMatrix, SymmetricEigen};
use serde::{Deserialize, Serialize};

/// How the B-splines are made orthonormal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Orthogonalisation {
    /// `G^{-1/2}` (P.-O. Löwdin, J. Chem. Phys. 18, 365 (1950)): each function stays as close as possible to
    /// the B-spline it came from.
    #[default]
    Symmetric,
    /// `L^{-T}` with `G = L L^T`: Gram–Schmidt from the left.
    Cholesky,
}

/// An orthonormal basis of the splines that satisfy homogeneous boundary conditions.
///
/// A combination `f = sum_j c_j O_j` with `sum_j c_j² = 1` has `int f² = 1` exactly, whatever the signs.
#[derive(Clone, Debug)]
pub struct OSplineBasis {
    basis: BSplineBasis,
    /// B-spline coefficients (rows) of the O-splines (columns), row by row.
    transform: Vec<f64>,
    /// The same, column by column.
    columns: Vec<f64>,
    functions: usize,
    pieces: Pieces,
    /// Overlaps of the functions that do not vanish on a span, over it: for each pair `a <= b` of them (twice that of
    /// two different ones) a row with one number a span.
    overlaps: Vec<f64>,
}

/// A normalised combination, to draw from its square.
#[derive(Clone, Debug, Default)]
pub struct Square {
    /// In B-splines.
    coefficients: Vec<f64>,
    /// Integrals of the square over the spans.
    masses: Vec<f64>,
}

/// Memory for drawing from the square of a combination.
#[derive(Clone, Debug, Default)]
pub struct SquareScratch {
    polynomial: Vec<f64>,
    integral: Vec<f64>,
}

impl Square {
    /// Coefficients in B-splines of the normalised combination.
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }
}

impl OSplineBasis {
    /// O-splines of the given degree on equidistant knots.
    ///
    /// Values of the boundary conditions are taken as zero: an orthonormal basis spans a linear space.
    pub fn uniform(
        degree: usize,
        knots: usize,
        conditions: &BoundaryConditions,
        method: Orthogonalisation,
    ) -> Result<Self, SplineError> {
        let homogeneous = |list: &[(usize, f64)]| list.iter().map(|c| (c.0, 0.0)).collect();
        let conditions = BoundaryConditions {
            left: homogeneous(&conditions.left),
            right: homogeneous(&conditions.right),
        };
        let basis = BSplineBasis::uniform(degree, knots)?;
        let span_gram = span_gram(&basis);
        let constrained = ConstrainedBasis::new(basis.clone(), &conditions)?;
        let k = basis.functions();
        let mut gram = DMatrix::zeros(k, k);
        for (s, block) in span_gram.iter().enumerate() {
            let mut view = gram.view_mut((s, s), block.shape());
            view += block;
        }
        let map = constrained.map();
        let reduced = map.transpose() * gram * map;
        let orthogonaliser = match method {
            Orthogonalisation::Symmetric => {
                let eigen = SymmetricEigen::new(reduced);
                let scale = eigen.eigenvalues.map(|e| 1.0 / e.sqrt());
                &eigen.eigenvectors
                    * DMatrix::from_diagonal(&scale)
                    * eigen.eigenvectors.transpose()
            }
            Orthogonalisation::Cholesky => {
                let n = reduced.nrows();
                // B-splines are linearly independent, so their Gram matrix is positive definite.
                let factor = reduced
                    .cholesky()
                    .ok_or(SplineError::Overdetermined { conditions: 0, functions: n })?;
                let inverse = factor
                    .l()
                    .solve_lower_triangular(&DMatrix::identity(n, n))
                    .ok_or(SplineError::Overdetermined { conditions: 0, functions: n })?;
                inverse.transpose()
            }
        };
        // nalgebra stores columns; the transpose of the product has the rows in one piece each.
        let transposed = (map * orthogonaliser).transpose();
        let functions = transposed.nrows();
        let transform = transposed.as_slice().to_vec();
        let columns = transposed.transpose().as_slice().to_vec();
        let p = basis.degree();
        let mut overlaps = Vec::new();
        for a in 0..=p {
            for b in a..=p {
                let twice = if a == b { 1.0 } else { 2.0 };
                overlaps.extend(span_gram.iter().map(|g| twice * g[(a, b)]));
            }
        }
        let pieces = Pieces::new(&basis);
        Ok(OSplineBasis { transform, columns, functions, basis, pieces, overlaps })
    }

    /// The B-splines underneath.
    pub fn basis(&self) -> &BSplineBasis {
        &self.basis
    }

    /// Number of O-splines.
    pub fn functions(&self) -> usize {
        self.functions
    }

    /// Coefficients of B-spline `i` in all O-splines.
    #[inline]
    pub fn transform_row(&self, i: usize) -> &[f64] {
        &self.transform[i * self.functions..(i + 1) * self.functions]
    }

    /// Coefficients of the projection of a function on the basis.
    pub fn project(&self, f: impl Fn(f64) -> f64) -> Vec<f64> {
        let rule = GaussLegendre::new(self.basis.degree() + 8);
        let mut moments = vec![0.0; self.basis.functions()];
        let mut local = LocalBasis::default();
        for w in self.basis.breakpoints().windows(2) {
            for (u, weight) in rule.on(w[0], w[1]) {
                self.basis.evaluate(u, 0, &mut local);
                for (r, b) in local.row(0).iter().enumerate() {
                    moments[local.first() + r] += weight * b * f(u);
                }
            }
        }
        let mut projection = vec![0.0; self.functions];
        for (i, m) in moments.iter().enumerate() {
            for (p, t) in projection.iter_mut().zip(self.transform_row(i)) {
                *p += t * m;
            }
        }
        projection
    }

    /// B-spline coefficients of `sum_j c_j O_j / |c|`.
    pub fn normalised_coefficients(&self, c: &[f64], out: &mut Vec<f64>) {
        let norm = c.iter().map(|v| v * v).sum::<f64>().sqrt();
        out.clear();
        out.resize(self.basis.functions(), 0.0);
        // Column by column: the sums go on side by side.
        for (column, c) in self.columns.chunks_exact(out.len()).zip(c) {
            out.iter_mut().zip(column).for_each(|(o, t)| *o += t * c);
        }
        out.iter_mut().for_each(|o| *o /= norm);
    }

    /// `sum_j c_j O_j / |c|`.
    pub fn square(&self, c: &[f64], out: &mut Square) {
        self.normalised_coefficients(c, &mut out.coefficients);
        let Square { coefficients, masses } = out;
        let (p, spans) = (self.basis.degree(), self.pieces.spans());
        masses.clear();
        masses.resize(spans, 0.0);
        let pairs = (0..=p).flat_map(|a| (a..=p).map(move |b| (a, b)));
        for ((a, b), overlap) in pairs.zip(self.overlaps.chunks_exact(spans)) {
            let (left, right) = (&coefficients[a..a + spans], &coefficients[b..b + spans]);
            for ((m, g), (l, r)) in masses.iter_mut().zip(overlap).zip(left.iter().zip(right)) {
                *m += g * (l * r);
            }
        }
        masses.iter_mut().for_each(|m| *m = m.max(0.0));
    }

    /// The point below which the square has the share `xi` of its integral.
    ///
    /// Exact inversion of the cumulative distribution, a polynomial of degree `2 k + 1` on each span: the
    /// span is found by its mass, the point in it by Newton's method inside a shrinking bracket.
    pub fn sample_square(&self, square: &Square, xi: f64, scratch: &mut SquareScratch) -> f64 {
        let p = self.basis.degree();
        let Square { coefficients, masses } = square;
        let SquareScratch { polynomial: taylor, integral } = scratch;
        let total: f64 = masses.iter().sum();
        let mut target = xi * total;
        let mut span = 0;
        while span + 1 < masses.len() && target > masses[span] {
            target -= masses[span];
            span += 1;
        }
        let (middle, h) = self.pieces.place(span);
        let (a, b) = (self.basis.breakpoints()[span], self.basis.breakpoints()[span + 1]);
        // The polynomial of f, squared and integrated.
        self.pieces.polynomial(span, coefficients, taylor);
        integral.clear();
        integral.resize(2 * p + 2, 0.0);
        for (i, ti) in taylor.iter().enumerate() {
            for (o, tj) in integral[i + 1..].iter_mut().zip(&*taylor) {
                *o += ti * tj;
            }
        }
        for (d, o) in integral.iter_mut().enumerate().skip(1) {
            *o *= h / d as f64;
        }
        let target = target.min(masses[span]) + horner(integral, -0.5);
        let (mut lo, mut hi) = (-0.5f64, 0.5f64);
        let share = target - horner(integral, -0.5);
        let mut t = if masses[span] > 0.0 { share / masses[span] - 0.5 } else { 0.0 };
        for _ in 0..200 {
            work::newton();
            let residual = horner(integral, t) - target;
            if residual > 0.0 {
                hi = hi.min(t);
            } else {
                lo = lo.max(t);
            }
            let f = horner(taylor, t);
            let newton = t - residual / (h * f * f);
            if (newton - t).abs() <= 2e-16 || hi - lo <= 1e-16 {
                break;
            }
            let inside = newton > lo && newton < hi;
            let last = inside && (newton - t).abs() <= LAST_STEP;
            t = if inside { newton } else { 0.5 * (lo + hi) };
            if last {
                break;
            }
        }
        (middle + h * t).clamp(a, b)
    }
}

/// A step of Newton's method after which no other is needed, in spans: the error after it is its square over the distance
/// from the nearest zero of the function.
const LAST_STEP: f64 = 1e-11;

/// Exact Gram matrices of the non-zero B-splines on each span.
fn span_gram(basis: &BSplineBasis) -> Vec<DMatrix<f64>> {
    let p = basis.degree();
    let rule = GaussLegendre::new(p + 1);
    let mut local = LocalBasis::default();
    let mut blocks = Vec::with_capacity(basis.spans());
    for (s, w) in basis.breakpoints().windows(2).enumerate() {
        let mut g = DMatrix::zeros(p + 1, p + 1);
        for (u, weight) in rule.on(w[0], w[1]) {
            basis.evaluate_on_span(s, u, 0, &mut local);
            let row = local.row(0);
            for i in 0..=p {
                for j in 0..=p {
                    g[(i, j)] += weight * row[i] * row[j];
                }
            }
        }
        blocks.push(g);
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(o: &OSplineBasis, c: &[f64], u: f64) -> f64 {
        let mut b = Vec::new();
        o.normalised_coefficients(c, &mut b);
        o.basis().value(&b, u, 0)
    }

    #[test]
    fn functions_are_orthonormal_and_vanish_at_the_faces() {
        for method in [Orthogonalisation::Symmetric, Orthogonalisation::Cholesky] {
            let o = OSplineBasis::uniform(5, 9, &BoundaryConditions::zero_at_both_ends(), method)
                .unwrap();
            let rule = GaussLegendre::new(6);
            let unit = |j: usize| {
                let mut c = vec![0.0; o.functions()];
                c[j] = 1.0;
                c
            };
            for i in 0..o.functions() {
                assert!(value(&o, &unit(i), 0.0).abs() < 1e-13);
                assert!(value(&o, &unit(i), 1.0).abs() < 1e-13);
                for j in 0..=i {
                    let overlap: f64 = o
                        .basis()
                        .breakpoints()
                        .windows(2)
                        .map(|w| {
                            rule.integrate(w[0], w[1], |u| {
                                value(&o, &unit(i), u) * value(&o, &unit(j), u)
                            })
                        })
                        .sum();
                    assert!((overlap - f64::from(u8::from(i == j))).abs() < 1e-12);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn sampling_inverts_the_cumulative_distribution(
            degree in 1usize..8,
            knots in 2usize..14,
            c in prop::collection::vec(-1.0f64..1.0, 24),
            xi in 0.0f64..1.0,
        ) {
            prop_assume!(knots + degree > 4);
            let o = OSplineBasis::uniform(
                degree, knots, &BoundaryConditions::zero_at_both_ends(), Orthogonalisation::Symmetric,
            ).unwrap();
            let c = &c[..o.functions()];
            prop_assume!(c.iter().map(|v| v * v).sum::<f64>() > 1e-6);
            let mut square = Square::default();
            o.square(c, &mut square);
            let b = &square.coefficients;
            let u = o.sample_square(&square, xi, &mut SquareScratch::default());
            prop_assert!((0.0..=1.0).contains(&u));
            // Independent check: quadrature of f² from 0 to u.
            let rule = GaussLegendre::new(degree + 1);
            let mut cdf = 0.0;
            for w in o.basis().breakpoints().windows(2) {
                let end = w[1].min(u);
                if end > w[0] {
                    cdf += rule.integrate(w[0], end, |t| o.basis().value(b, t, 0).powi(2));
                }
            }
            // Roundoff of a square of cancelling terms scales with the squares of the terms.
            let terms = 1.0 + b.iter().map(|v| v * v).sum::<f64>();
            prop_assert!((cdf - xi).abs() < 1e-14 * terms, "{} {}", cdf, xi);
        }
    }
}
