//! Two particles in the complete one-body basis: the pair function is a matrix and `w` is diagonal on
//! the quadrature grid.

use super::ci::PairMatrices;
use super::davidson::{DavidsonOptions, Eigenpairs, lowest};
use super::dvr::{OneBodyBasis, PairGrid, one_body_matrix};
use super::integrals::{two_body, two_body_work};
use super::watch::Watch;
use super::{ExactError, dense_work};
use crate::math::linalg::{mul, symmetric_eigen};
use crate::system::{Hamiltonian, Sector};
use faer::{Mat, MatRef};

/// Eigenpairs whose vectors are pair functions `psi(x, y) = sum_ab c_ab phi_a(x) phi_b(y)`, stored by
/// columns, of unit norm over all (x, y).
pub(crate) struct PairStates {
    pub(crate) pairs: Eigenpairs,
    /// Eigenfunctions of the one-body Hamiltonian, columns of basis coefficients.
    pub(crate) orbitals: Mat<f64>,
}

/// Predicted bytes and floating-point operations of one product.
pub(crate) fn cost(functions: usize, points: usize, subspace: usize) -> (u64, u64) {
    // In floating point, as a wide box may ask for more than integers hold; the conversion saturates.
    let (n, q) = (functions as f64, points as f64);
    let bytes = 8.0 * (2.0 * n * n * (subspace as f64 + 2.0) + 3.0 * q * q + 4.0 * q * n);
    (bytes as u64, (4.0 * (n * n * q + n * q * q)) as u64)
}

/// Lowest states of two particles, `sector` = (2, 0), (0, 2) or (1, 1).
pub(crate) fn solve(
    hamiltonian: &Hamiltonian,
    basis: &OneBodyBasis,
    cells: usize,
    sector: Sector,
    options: &DavidsonOptions,
    watch: &mut dyn Watch,
) -> Result<PairStates, ExactError> {
    let n = basis.size();
    let antisymmetric = sector.up != 1;
    let h = one_body_matrix(&hamiltonian.external, basis)?;
    watch.spend(dense_work(n))?;
    let (energies, orbitals) = symmetric_eigen(h.as_ref())?;
    let grid = PairGrid::new(&hamiltonian.interaction, &basis.geometry(), cells);
    let root = grid.first.weight.sqrt();
    let on = |points: &[f64]| {
        let mut p = mul(basis.evaluate(points).as_ref(), orbitals.as_ref());
        p *= faer::Scale(root);
        p
    };
    let phi = [on(&grid.first.points), on(&grid.second.points)];
    let few = n.min(MODEL_ORBITALS.max(2 + options.states.isqrt()));
    watch.spend(two_body_work(few, cells) + dense_work(few * few))?;
    let g = two_body(basis, &grid, orbitals.subcols(0, few));
    let levels = Mat::from_fn(few, few, |i, j| if i == j { energies[i] } else { 0.0 });
    let model = PairMatrices::new(levels.as_ref(), g.as_ref(), sector);
    let mut start = model_states(n, few, antisymmetric, &model, options)?;
    start.push(noise(n, antisymmetric, &energies));
    let shifted = grid.first.points.len() != grid.second.points.len() || grid.first != grid.second;
    let on_grid = OnGrid { energies: &energies, phi, w: &grid.w, shifted };
    let pairs = on_grid.solve(antisymmetric, options, start, watch)?;
    Ok(PairStates { pairs, orbitals })
}

/// Orbitals on two grids, one for each coordinate, and the interaction between their points.
pub(crate) struct OnGrid<'a> {
    pub(crate) energies: &'a [f64],
    /// Values times the root of the weight: a row for each point, a column for each orbital.
    pub(crate) phi: [Mat<f64>; 2],
    pub(crate) w: &'a Mat<f64>,
    /// Whether the two grids differ.
    pub(crate) shifted: bool,
}

impl OnGrid<'_> {
    /// Lowest states.
    pub(crate) fn solve(
        &self,
        antisymmetric: bool,
        options: &DavidsonOptions,
        start: Vec<Vec<f64>>,
        watch: &mut dyn Watch,
    ) -> Result<Eigenpairs, ExactError> {
        let OnGrid { energies, phi, w, shifted } = self;
        let n = energies.len();
        let (size, points) = (n as f64, phi[0].nrows() as f64);
        let half = 2.0 * size * points * (size + points) + 10.0 * points * points;
        let apply = |c: &[f64], watch: &mut dyn Watch| -> Result<Vec<f64>, ExactError> {
            watch.spend(half)?;
            let c = MatRef::from_column_major_slice(c, n, n);
            let mut on_grid = mul(mul(phi[0].as_ref(), c).as_ref(), phi[1].transpose());
            for y in 0..on_grid.ncols() {
                for x in 0..on_grid.nrows() {
                    on_grid[(x, y)] *= w[(x, y)];
                }
            }
            watch.spend(half)?;
            let mut s = mul(phi[0].transpose(), mul(on_grid.as_ref(), phi[1].as_ref()).as_ref());
            if *shifted {
                // The two coordinates use different grids: restore the symmetry of the product.
                watch.spend(2.0 * half)?;
                let other = {
                    let mut g = mul(mul(phi[1].as_ref(), c).as_ref(), phi[0].transpose());
                    for y in 0..g.ncols() {
                        for x in 0..g.nrows() {
                            g[(x, y)] *= w[(y, x)];
                        }
                    }
                    mul(phi[1].transpose(), mul(g.as_ref(), phi[0].as_ref()).as_ref())
                };
                s = 0.5 * (s + other);
            }
            let mut out = vec![0.0; n * n];
            for b in 0..n {
                for a in 0..n {
                    let v = if antisymmetric { 0.5 * (s[(a, b)] - s[(b, a)]) } else { s[(a, b)] };
                    out[b * n + a] = v + (energies[a] + energies[b]) * c[(a, b)];
                }
            }
            Ok(out)
        };
        // <ab|w|ab>: with a strong interaction the one-body energies alone are a poor diagonal.
        let square = |p: &Mat<f64>| Mat::from_fn(p.nrows(), n, |q, a| p[(q, a)] * p[(q, a)]);
        let direct = {
            let squares = [square(&phi[0]), square(&phi[1])];
            mul(mul(squares[0].transpose(), w.as_ref()).as_ref(), squares[1].as_ref())
        };
        let precondition = |theta: f64, r: &mut [f64]| {
            for b in 0..n {
                for a in 0..n {
                    let mean = 0.5 * (direct[(a, b)] + direct[(b, a)]);
                    let gap = energies[a] + energies[b] + mean - theta;
                    r[b * n + a] /= -if gap.abs() < 0.05 { 0.05_f64.copysign(gap) } else { gap };
                }
            }
        };
        lowest(apply, precondition, start, options, watch)
    }
}

/// Orbitals in which pairs are diagonalised at once, for a start.
const MODEL_ORBITALS: usize = 14;

/// The lowest pair functions in `few` orbitals: all symmetries of what is nearly degenerate.
fn model_states(
    n: usize,
    few: usize,
    antisymmetric: bool,
    model: &PairMatrices,
    options: &DavidsonOptions,
) -> Result<Vec<Vec<f64>>, ExactError> {
    let pairs: Vec<(usize, usize)> = if antisymmetric {
        (1..few).flat_map(|b| (0..b).map(move |a| (a, b))).collect()
    } else {
        (0..few * few).map(|i| (i / few, i % few)).collect()
    };
    let matrix = if antisymmetric { &model.equal } else { &model.opposite };
    let (values, vectors) = symmetric_eigen(matrix.as_ref())?;
    let window = values[options.states.min(values.len()) - 1] + 0.3;
    let near = values.iter().take_while(|v| **v < window).count();
    let (least, most) = (options.states + 4, options.states + options.guards.max(4));
    let state = |k: usize| {
        let mut v = vec![0.0; n * n];
        for (i, &(a, b)) in pairs.iter().enumerate() {
            v[b * n + a] = vectors[(i, k)];
            if antisymmetric {
                v[a * n + b] = -vectors[(i, k)];
            }
        }
        v
    };
    Ok((0..near.clamp(least, most).min(values.len())).map(state).collect())
}

/// The lowest products of orbitals, plus one vector with a little of everything.
pub(crate) fn lowest_products(
    n: usize,
    antisymmetric: bool,
    states: usize,
    energies: &[f64],
) -> Vec<Vec<f64>> {
    let mut list = vec![];
    let few = n.min(states + 8);
    for a in 0..few {
        for b in 0..few {
            if !antisymmetric || a < b {
                list.push((energies[a] + energies[b], a, b));
            }
        }
    }
    list.sort_by(|x, y| x.0.total_cmp(&y.0));
    let product = |&(_, a, b): &(f64, usize, usize)| {
        let mut v = vec![0.0; n * n];
        v[b * n + a] = 1.0;
        if antisymmetric {
            v[a * n + b] = -1.0;
        }
        v
    };
    let mut start: Vec<Vec<f64>> = list.iter().take(2 * states + 2).map(product).collect();
    start.push(noise(n, antisymmetric, energies));
    start
}

/// A vector with a little of everything, so that no symmetry is left out.
fn noise(n: usize, antisymmetric: bool, energies: &[f64]) -> Vec<f64> {
    let mut v = vec![0.0; n * n];
    let mut noise = super::Noise::default();
    for a in 0..n {
        for b in 0..n {
            let x = noise.next() / (1.0 + (energies[a] + energies[b] - energies[0] * 2.0).powi(2));
            v[b * n + a] += x;
            if antisymmetric {
                v[a * n + b] -= x;
            } else {
                v[a * n + b] += 0.3 * x;
            }
        }
    }
    v
}
