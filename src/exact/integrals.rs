//! One- and two-body integrals between orbitals, by quadrature on a grid finer than the basis.

use super::dvr::{OneBodyBasis, PairGrid};
use crate::math::linalg::{mul, symmetrised_product};
use faer::{Mat, MatRef};

/// Packed integrals `g[(pr), (qs)] = int int phi_p phi_r(x) w(x, y) phi_q phi_s(y) dx dy` with
/// `p <= r` at `r (r + 1) / 2 + p`.
///
/// `orbitals` holds coefficients in `basis`, one column per orbital.
pub(crate) fn two_body(
    basis: &OneBodyBasis,
    grid: &PairGrid,
    orbitals: MatRef<'_, f64>,
) -> Mat<f64> {
    let products = |g: &super::dvr::UniformGrid| {
        let phi = mul(basis.evaluate(&g.points).as_ref(), orbitals);
        let m = orbitals.ncols();
        let mut list = Vec::with_capacity(m * (m + 1) / 2);
        for r in 0..m {
            for p in 0..=r {
                list.push((p, r));
            }
        }
        Mat::from_fn(g.points.len(), list.len(), |x, k| {
            let (p, r) = list[k];
            g.weight * phi[(x, p)] * phi[(x, r)]
        })
    };
    let first = products(&grid.first);
    let same = grid.first.points.len() == grid.second.points.len()
        && grid.first.points[0] == grid.second.points[0];
    let potentials = if same {
        mul(grid.w.as_ref(), first.as_ref())
    } else {
        mul(grid.w.as_ref(), products(&grid.second).as_ref())
    };
    let g = mul(first.transpose(), potentials.as_ref());
    crate::math::linalg::symmetrised(g.as_ref())
}

/// Floating-point operations of [`two_body`] between so many orbitals.
pub(crate) fn two_body_work(orbitals: usize, cells: usize) -> f64 {
    let (products, points) = (0.5 * (orbitals * (orbitals + 1)) as f64, cells as f64);
    2.0 * products * points * (points + products + 30.0)
}

/// `C^T h C`.
pub(crate) fn transform(h: MatRef<'_, f64>, c: MatRef<'_, f64>) -> Mat<f64> {
    symmetrised_product(c, h, c)
}
