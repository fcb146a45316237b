//! Configuration interaction in a few natural orbitals: the best short sum of determinants that is cheap to find.
//!
//! The natural orbitals are those of a larger calculation, averaged over the spins (P.-O. Löwdin, Phys. Rev. 97,
//! 1474 (1955)); the ground state in the few that are kept is computed anew.

use super::ExactError;
use super::ci::{CiSpace, PairMatrices};
use super::correlated::{orthonormal_span, pilot_orbitals};
use super::davidson::{DavidsonOptions, lowest, start_vectors};
use super::dvr::{PairGrid, one_body_matrix};
use super::groups::Parity;
use super::hartree_fock::HartreeFock;
use super::integrals::{transform, two_body};
use super::natural::{MeanField, determinant_geminals};
use super::watch::{Unwatched, Watch};
use crate::math::linalg::{EigenFailure, mul};
use crate::system::{Hamiltonian, Sector};
use faer::{Mat, MatRef};

/// A state in a few orbitals.
#[derive(Clone, Debug)]
pub(crate) struct ActiveSpace {
    /// Natural orbitals as columns of basis coefficients, the most occupied first.
    pub(crate) orbitals: Mat<f64>,
    /// Spin-up strings by spin-down strings, colexicographic, by rows.
    pub(crate) coefficients: Vec<f64>,
}

/// The ground state of two or more particles in `count` natural orbitals, in the basis of their mean field, Hartree–Fock.
///
/// # Errors
/// [`EigenFailure`] when a potential is not finite on the grid.
pub(crate) fn active_space(
    hamiltonian: &Hamiltonian,
    field: &HartreeFock,
    sector: Sector,
    count: usize,
) -> Result<ActiveSpace, EigenFailure> {
    solve(hamiltonian, field, sector, count).map_err(|e| match e {
        ExactError::NotFinite(failure) => failure,
        _ => unreachable!("what nobody watches has no limit to meet"),
    })
}

fn solve(
    hamiltonian: &Hamiltonian,
    field: &HartreeFock,
    sector: Sector,
    count: usize,
) -> Result<ActiveSpace, ExactError> {
    let basis = field.basis;
    let n = basis.size();
    let h = one_body_matrix(&hamiltonian.external, &basis)?;
    let grid = || PairGrid::new(&hamiltonian.interaction, &basis.geometry(), 2 * n + 16);
    let up = field.orbitals_up.subcols(0, sector.up);
    let down = field.orbitals_down.subcols(0, sector.down);
    let occupied = Mat::from_fn(n, sector.particles(), |i, k| {
        if k < sector.up { up[(i, k)] } else { down[(i, k - sector.up)] }
    });
    let (internal, _) = orthonormal_span(&occupied);
    let mean = field.mean_fock.as_ref();
    let (first, _) = MeanField::new(basis, grid(), h.as_ref(), mean, sector.particles())?
        .natural_orbitals(&determinant_geminals(up, down), internal.as_ref(), &mut Unwatched)?;
    let grid = grid();
    let solve = |orbitals: MatRef<'_, f64>| {
        let space = CiSpace::new(sector, orbitals.ncols());
        let integrals = two_body(&basis, &grid, orbitals);
        let one = transform(h.as_ref(), orbitals);
        let matrices = PairMatrices::new(one.as_ref(), integrals.as_ref(), sector);
        let diagonal = space.diagonal(&matrices);
        let precondition = |theta: f64, r: &mut [f64]| {
            for (x, d) in r.iter_mut().zip(&diagonal) {
                let gap = d - theta;
                *x /= -if gap.abs() < 0.05 { 0.05_f64.copysign(gap) } else { gap };
            }
        };
        let options = DavidsonOptions {
            states: 1,
            guards: 0,
            probe: true,
            residual: 1e-9,
            value_error: 1e-12,
            passes: 150,
            subspace: 24,
        };
        let start = start_vectors(&diagonal, 1);
        let apply = |c: &[f64], watch: &mut dyn Watch| space.apply(&matrices, c, watch);
        let mut pairs = lowest(apply, precondition, start, &options, &mut Unwatched)?;
        Ok::<_, ExactError>((space, pairs.vectors.swap_remove(0)))
    };
    let pilot = first.subcols(0, pilot_orbitals(sector).max(count).min(n));
    let (space, state) = solve(pilot)?;
    let (up, down) = space.pair_densities(&state, &mut Unwatched)?.one_body(sector);
    let parity = Parity::of(transform(h.as_ref(), pilot).as_ref());
    let (_, vectors, _) = parity.eigen((up + down).as_ref())?;
    let last = vectors.ncols() - 1;
    let kept = Mat::from_fn(last + 1, count, |i, k| vectors[(i, last - k)]);
    let orbitals = mul(pilot, kept.as_ref());
    let (_, coefficients) = solve(orbitals.as_ref())?;
    Ok(ActiveSpace { orbitals, coefficients })
}
