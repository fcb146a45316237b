//! One particle by dense diagonalisation, two in the complete one-body basis.

use super::calculation::{CHECK_WORK, Calculation, FIRST_CUTOFF, GROWTH, MOST_FUNCTIONS, length};
use super::dvr::{OneBodyBasis, one_body_matrix};
use super::refine::Sequence;
use super::watch::Watch;
use super::{
    ConvergenceRow, ErrorBudget, ExactError, ExactResult, ExactState, Refinement, dense_work, pair,
};
use crate::math::linalg::{mul, symmetric_eigen};
use crate::system::{Geometry, Sector};
use faer::Mat;

/// Outcome of one diagonalisation.
pub(super) struct Level {
    pub(super) energies: Vec<f64>,
    solver_errors: Vec<f64>,
    pub(super) basis: OneBodyBasis,
    orbitals: Mat<f64>,
    /// Coefficients of the states over orbitals, or pair functions by columns.
    vectors: Vec<Vec<f64>>,
    degenerate: Vec<bool>,
}

impl Calculation<'_> {
    /// One particle, or two of `sector` in the complete basis.
    pub(super) fn small(
        &mut self,
        sector: Sector,
        basis: OneBodyBasis,
        cells: usize,
    ) -> Result<Level, ExactError> {
        if sector.particles() == 1 {
            let h = one_body_matrix(&self.hamiltonian.external, &basis)?;
            self.watch.spend(dense_work(basis.size()))?;
            let (energies, orbitals) = symmetric_eigen(h.as_ref())?;
            let states = self.options.states.min(energies.len());
            let vectors = (0..states)
                .map(|k| (0..orbitals.ncols()).map(|i| f64::from(u8::from(i == k))).collect())
                .collect();
            let same = |a: usize, b: usize| {
                b < energies.len() && energies[b] - energies[a] < 1e-11 * (1.0 + energies[a].abs())
            };
            return Ok(Level {
                degenerate: (0..states)
                    .map(|k| same(k, k + 1) || k > 0 && same(k - 1, k))
                    .collect(),
                solver_errors: vec![1e-13; states],
                energies: energies[..states].to_vec(),
                basis,
                orbitals,
                vectors,
            });
        }
        let n = basis.size();
        let options = self.davidson((n * n) as u64, true);
        let (bytes, work) = pair::cost(n, cells, options.subspace);
        self.check((n * n) as u64, bytes, work as f64 * 25.0)?;
        let found = pair::solve(self.hamiltonian, &basis, cells, sector, &options, self.watch)?;
        self.products += found.pairs.products;
        Ok(Level {
            energies: found.pairs.values.clone(),
            solver_errors: found.pairs.value_errors.clone(),
            degenerate: found.pairs.degenerate(),
            vectors: found.pairs.disentangled(
                |v, _| Ok((0..n * n).map(|i| -v[i % n * n + i / n]).collect()),
                self.watch,
            )?,
            basis,
            orbitals: found.orbitals,
        })
    }

    /// Refines the number of functions for one or two particles. Returns the last level and the
    /// sequence behind it.
    pub(super) fn refine_functions(
        &mut self,
        sector: Sector,
        geometry: Geometry,
        tolerance: f64,
        work_limit: f64,
    ) -> Result<(Level, Sequence), ExactError> {
        let mut sequence = Sequence::default();
        let mut size = 0_usize;
        let mut best: Option<Level> = None;
        let mut cutoff = FIRST_CUTOFF;
        loop {
            let least = ((size as f64 * GROWTH).ceil() as usize).max(sector.particles() + 8);
            let basis = match self.basis(geometry, cutoff, least) {
                Ok(basis) => basis,
                Err(_) if best.is_some() => break,
                Err(e) => return Err(e),
            };
            cutoff *= GROWTH;
            let work = pair::cost(basis.size(), self.cells(&basis), 0).1 as f64 * 25.0;
            if sequence.has_ratio() && work > work_limit {
                break;
            }
            let level = match self.small(sector, basis, self.cells(&basis)) {
                Ok(level) => level,
                // A limit met during refinement ends the refinement, not the calculation.
                Err(ExactError::Memory { .. } | ExactError::Work { .. }) if best.is_some() => break,
                Err(e) => return Err(e),
            };
            size = basis.size();
            sequence.push(&level.energies);
            self.record(ConvergenceRow {
                refinement: Refinement::Functions,
                length: length(&geometry),
                functions: size,
                cells: self.cells(&basis),
                orbitals: 0,
                determinants: level.vectors[0].len() as u64,
                energy: level.energies[0],
                change: sequence.change(),
                discarded: None,
            });
            best = Some(level);
            // Functions that are much wider than the interaction change nothing for a while.
            let sees = self.cells(&basis) > self.least_cells;
            if (sees && sequence.worst() < tolerance)
                || size as f64 * GROWTH > MOST_FUNCTIONS as f64
            {
                break;
            }
        }
        match best {
            Some(level) => Ok((level, sequence)),
            None => unreachable!("the first level either fails or is kept"),
        }
    }

    pub(super) fn solve_small(
        &mut self,
        geometry: Geometry,
        walls: Vec<f64>,
    ) -> Result<ExactResult, ExactError> {
        let tolerance = self.options.tolerance;
        let (level, functions) = self.refine_functions(
            self.sector,
            geometry,
            0.4 * tolerance,
            (0.3 * self.options.work_limit).min(8.0 * CHECK_WORK),
        )?;
        let cells = self.cells(&level.basis) * 3 / 2;
        let coarse = level.energies.clone();
        let level = self.small(self.sector, level.basis, cells)?;
        let change: Vec<f64> =
            level.energies.iter().zip(&coarse).map(|(a, b)| (a - b).abs()).collect();
        self.record(ConvergenceRow {
            refinement: Refinement::Quadrature,
            length: length(&geometry),
            functions: level.basis.size(),
            cells,
            orbitals: 0,
            determinants: level.vectors[0].len() as u64,
            energy: level.energies[0],
            change: change.iter().copied().reduce(f64::max),
            discarded: None,
        });
        let budgets: Vec<ErrorBudget> = (0..level.energies.len())
            .map(|k| ErrorBudget {
                functions: functions.estimate(k),
                quadrature: change[k] + self.unseen,
                orbitals: 0.0,
                // Where walls were looked for, there may have been fewer states.
                walls: walls.get(k).copied().unwrap_or(f64::INFINITY),
                solver: level.solver_errors[k] + 1e-12 * (1.0 + level.energies[k].abs()),
            })
            .collect();
        let mut states = vec![];
        let method = if self.sector.particles() == 1 {
            for k in 0..level.energies.len() {
                let orbital = level.orbitals.subcols(k, 1).to_owned();
                let (basis, sector) = (level.basis, self.sector);
                states.push(ExactState::new(basis, orbital, sector, vec![1.0], self.watch)?);
            }
            "one particle, dense diagonalisation".to_string()
        } else {
            let n = level.basis.size();
            for v in &level.vectors {
                let c = faer::MatRef::from_column_major_slice(v, n, n);
                states.push(pair_state(&level, c, self.sector, self.watch)?);
            }
            format!("two particles in all {n} one-body functions, Davidson")
        };
        self.finish(states, level.energies, level.degenerate, budgets, cells, method)
    }
}

/// Writes a pair function in its natural orbitals, without those of negligible occupation.
fn pair_state(
    level: &Level,
    c: faer::MatRef<'_, f64>,
    sector: Sector,
    watch: &mut dyn Watch,
) -> Result<ExactState, ExactError> {
    let n = c.nrows();
    let d = &mul(c, c.transpose()) + &mul(c.transpose(), c);
    let (values, vectors) = symmetric_eigen(d.as_ref())?;
    let kept = values.iter().filter(|v| **v > 1e-20).count().clamp(2, 60);
    let u = Mat::from_fn(n, kept, |i, k| vectors[(i, n - 1 - k)]);
    let small = mul(u.transpose(), mul(c, u.as_ref()).as_ref());
    let coefficients = if sector.up == 1 {
        (0..kept * kept).map(|i| small[(i / kept, i % kept)]).collect()
    } else {
        let mut list = vec![];
        for q in 1..kept {
            for p in 0..q {
                list.push(small[(p, q)]);
            }
        }
        list
    };
    let orbitals = mul(level.orbitals.as_ref(), u.as_ref());
    ExactState::new(level.basis, orbitals, sector, coefficients, watch)
}
