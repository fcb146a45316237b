//! Three particles and more: full configuration interaction in natural orbitals.

use super::ci::{CiSpace, PairDensities, PairMatrices};
use super::davidson::{Eigenpairs, lowest, start_vectors};
use super::dvr::{OneBodyBasis, PairGrid, one_body_matrix};
use super::hartree_fock::{HartreeFockOptions, hartree_fock};
use super::integrals::{transform, two_body};
use super::natural::{MeanField, determinant_geminals, natural_geminals};
use super::problem::{CHECK_WORK, GROWTH, MOST_FUNCTIONS, Problem, length};
use super::refine::Sequence;
use super::{ConvergenceRow, ErrorBudget, ExactError, ExactResult, ExactState, Refinement, Step};
use crate::system::{Geometry, Sector};
use faer::Mat;

/// Floating-point operations of Hartree-Fock and natural orbitals, per cube of the number of functions.
const SETUP_WORK: f64 = 3e3;
/// Products with the Hamiltonian that one state takes, for predictions of work.
const EXPECTED_PRODUCTS: f64 = 15.0;

/// Determinant calculations for three particles and more.
pub(super) struct Correlated {
    basis: OneBodyBasis,
    h: Mat<f64>,
    /// All orbitals by importance.
    orbitals: Mat<f64>,
}

pub(super) struct CorrelatedLevel {
    pub(super) pairs: Eigenpairs,
    space: CiSpace,
}

/// The end of a refinement in the number of orbitals.
pub(super) struct Nested {
    pub(super) m: usize,
    pub(super) level: CorrelatedLevel,
    pub(super) sequence: Sequence,
}

/// Orbitals of the calculation that natural orbitals come from, and of the checks.
pub(super) fn pilot_orbitals(sector: Sector) -> usize {
    match sector.particles() {
        0..=3 => 24,
        4 => 20,
        5 => 17,
        _ => 15,
    }
}

impl Problem<'_> {
    pub(super) fn correlated(&mut self, basis: OneBodyBasis) -> Result<Correlated, ExactError> {
        let sector = self.sector;
        let n = basis.size();
        let cells = (2 * n + 16).max(self.least_cells);
        let h = one_body_matrix(&self.hamiltonian.external, &basis)?;
        let options = HartreeFockOptions { tolerance: 1e-6, iterations: 60, mixing: 0.0 };
        let hf = hartree_fock(self.hamiltonian, basis, sector, &options)?;
        let grid = PairGrid::new(&self.hamiltonian.interaction, &basis.geometry(), cells);
        let field =
            MeanField::new(basis, grid, h.as_ref(), hf.mean_fock.as_ref(), sector.particles())?;
        let up = hf.orbitals_up.subcols(0, sector.up);
        let down = hf.orbitals_down.subcols(0, sector.down);
        let occupied = Mat::from_fn(n, sector.particles(), |i, k| {
            if k < sector.up { up[(i, k)] } else { down[(i, k - sector.up)] }
        });
        let (internal, _) = orthonormal_span(&occupied);
        let (mut orbitals, _) =
            field.natural_orbitals(&determinant_geminals(up, down), internal.as_ref())?;
        let pilot = pilot_orbitals(sector).min(n);
        let mut m = (pilot * 2 / 3).max(sector.particles() + 2).min(n);
        let mut last = f64::INFINITY;
        loop {
            let setup = Correlated { basis, h: h.clone(), orbitals: orbitals.clone() };
            let level = self.level(&setup, m, cells, false, None)?;
            let used = orbitals.subcols(0, m).to_owned();
            let geminals = natural_geminals(&averaged(&level), used.as_ref(), 1e-7)?;
            orbitals = field.natural_orbitals(&geminals, used.as_ref())?.0;
            let energy = level.pairs.values[0];
            let larger = (m * 5 / 4).min(n);
            let work = CiSpace::cost(sector, larger, 0, cells).flops as f64 * EXPECTED_PRODUCTS;
            let settled = (energy - last).abs() < 3e-5;
            if settled || larger == m || larger > 40 || work > 2.0 * CHECK_WORK {
                break;
            }
            last = energy;
            m = larger;
        }
        Ok(Correlated { basis, h, orbitals })
    }

    fn matrices(&self, setup: &Correlated, m: usize, cells: usize) -> PairMatrices {
        let c = setup.orbitals.subcols(0, m);
        let grid = PairGrid::new(&self.hamiltonian.interaction, &setup.basis.geometry(), cells);
        let g = two_body(&setup.basis, &grid, c);
        PairMatrices::new(transform(setup.h.as_ref(), c).as_ref(), g.as_ref(), self.sector)
    }

    pub(super) fn level(
        &mut self,
        setup: &Correlated,
        m: usize,
        cells: usize,
        precise: bool,
        guess: Option<&CorrelatedLevel>,
    ) -> Result<CorrelatedLevel, ExactError> {
        let cost = CiSpace::cost(self.sector, m, 0, cells);
        let options = self.davidson(cost.determinants, precise);
        let cost = CiSpace::cost(self.sector, m, options.subspace, cells);
        self.check(
            cost.determinants,
            cost.bytes,
            cost.flops as f64 * EXPECTED_PRODUCTS * self.options.states as f64,
        )?;
        let matrices = self.matrices(setup, m, cells);
        let space = CiSpace::new(self.sector, m);
        let diagonal = space.diagonal(&matrices);
        let start = match guess {
            // A state of fewer of the same orbitals is a good start, but only the noise of a fresh
            // start protects against an order of states that changes with the number of orbitals.
            Some(g) if space.dimension() > 100_000 => {
                g.pairs.vectors.iter().map(|v| space.embed(&g.space, v)).collect()
            }
            _ => start_vectors(&diagonal, self.options.states),
        };
        let pairs = lowest(
            |c| space.apply(&matrices, c),
            |theta, r| {
                for (x, d) in r.iter_mut().zip(&diagonal) {
                    let gap = d - theta;
                    *x /= -if gap.abs() < 0.05 { 0.05_f64.copysign(gap) } else { gap };
                }
            },
            start,
            &options,
            &mut |i| (self.progress)(&Step::Iteration(i)),
        )?;
        self.products += pairs.products;
        Ok(CorrelatedLevel { pairs, space })
    }

    /// Refines the number of orbitals. They are nested, so energies fall monotonically.
    pub(super) fn refine_orbitals(
        &mut self,
        setup: &Correlated,
        cells: usize,
        tolerance: f64,
        work_limit: f64,
    ) -> Result<Nested, ExactError> {
        let n = setup.basis.size();
        let geometry = setup.basis.geometry();
        let mut sequence = Sequence::default();
        let mut m = (pilot_orbitals(self.sector) * 2 / 3).max(self.sector.particles() + 3).min(n);
        let mut best: Option<(usize, CorrelatedLevel)> = None;
        let mut spent = 0.0;
        let mut products = EXPECTED_PRODUCTS;
        loop {
            let flops = CiSpace::cost(self.sector, m, 0, cells).flops as f64;
            if best.is_some() && spent + flops * products > work_limit && sequence.has_ratio() {
                break;
            }
            let before = self.products;
            let guess = best.as_ref().map(|b| &b.1);
            let level = match self.level(setup, m, cells, true, guess) {
                Ok(level) => level,
                // A limit met during refinement ends the refinement, not the calculation.
                Err(ExactError::Memory { .. } | ExactError::Work { .. }) if best.is_some() => break,
                Err(e) => return Err(e),
            };
            products = (self.products - before) as f64;
            spent += flops * products;
            sequence.push(&level.pairs.values);
            self.record(ConvergenceRow {
                refinement: Refinement::Orbitals,
                length: length(&geometry),
                functions: n,
                cells,
                orbitals: m,
                determinants: level.space.dimension() as u64,
                energy: level.pairs.values[0],
                change: sequence.change(),
            });
            best = Some((m, level));
            if m == n || sequence.worst() < tolerance {
                break;
            }
            m = (m + (m / 6).max(2)).min(n);
        }
        match best {
            Some((m, level)) => Ok(Nested { m, level, sequence }),
            None => unreachable!("the first level either fails or is kept"),
        }
    }

    /// Refines quadrature at fixed states, to first order: returns cells and the estimated error.
    fn refine_cells(
        &mut self,
        setup: &Correlated,
        level: &CorrelatedLevel,
        m: usize,
        tolerance: f64,
    ) -> (usize, f64) {
        let densities = averaged(level);
        let mut cells = (2 * setup.basis.size() + 16).max(self.least_cells);
        let mut sequence = Sequence::default();
        loop {
            let energy = densities.expectation(&self.matrices(setup, m, cells));
            sequence.push(&[energy]);
            self.record(ConvergenceRow {
                refinement: Refinement::Quadrature,
                length: length(&setup.basis.geometry()),
                functions: setup.basis.size(),
                cells,
                orbitals: m,
                determinants: level.space.dimension() as u64,
                energy,
                change: sequence.change(),
            });
            let change = sequence.change().unwrap_or(f64::INFINITY);
            if change < tolerance || (cells > 2400 && change.is_finite()) {
                return (cells, sequence.estimate(0).min(4.0 * change));
            }
            cells = cells * 3 / 2;
        }
    }

    pub(super) fn solve_correlated(
        &mut self,
        geometry: Geometry,
        walls: Vec<f64>,
    ) -> Result<ExactResult, ExactError> {
        let tolerance = self.options.tolerance;
        let pilot = self.pilot_sector();
        let (level, _) = self.refine_functions(
            pilot,
            geometry,
            0.1 * tolerance,
            (0.1 * self.options.work_limit).min(3.0 * CHECK_WORK),
        )?;
        let cutoff = self.mean_field_cutoff(level.basis)?;
        let mut size = self.basis(geometry, cutoff, level.basis.size())?.size();
        // Number of functions: the whole calculation at a moderate number of orbitals, whose own
        // error sets how small a change can be resolved.
        let mut functions = Sequence::default();
        let mut probe: Option<(usize, f64)> = None;
        let (setup, check, m) = loop {
            let basis = OneBodyBasis::new(geometry, size);
            let setup = self.correlated(basis)?;
            let cells = self.cells(&basis);
            let (m, noise, check) = match probe {
                Some((m, noise)) => (m, noise, self.level(&setup, m, cells, true, None)?),
                None => {
                    let nested =
                        self.refine_orbitals(&setup, cells, 0.3 * tolerance, CHECK_WORK)?;
                    (nested.m, nested.sequence.worst(), nested.level)
                }
            };
            probe = Some((m, noise));
            functions.push(&check.pairs.values);
            self.record(ConvergenceRow {
                refinement: Refinement::Functions,
                length: length(&geometry),
                functions: basis.size(),
                cells,
                orbitals: m,
                determinants: check.space.dimension() as u64,
                energy: check.pairs.values[0],
                change: functions.change(),
            });
            if functions.change().is_some_and(|c| c < (0.2 * tolerance).max(0.3 * noise))
                || size as f64 * GROWTH > MOST_FUNCTIONS as f64
                || (functions.change().is_some()
                    && SETUP_WORK * (size as f64 * GROWTH).powi(3) > 0.1 * self.options.work_limit)
            {
                break (setup, check, m);
            }
            size = (size as f64 * GROWTH).ceil() as usize;
        };
        let (cells, quadrature) = self.refine_cells(&setup, &check, m, 0.05 * tolerance);
        let Nested { m, level, sequence: orbitals } =
            self.refine_orbitals(&setup, cells, 0.5 * tolerance, self.options.work_limit)?;
        let n = setup.basis.size();
        let complete = m == n;
        let budgets = (0..level.pairs.values.len())
            .map(|k| ErrorBudget {
                functions: functions
                    .estimate(k)
                    .min(4.0 * functions.change().unwrap_or(f64::INFINITY)),
                quadrature: quadrature + self.unseen,
                orbitals: if complete { 0.0 } else { orbitals.estimate(k) },
                // Where walls were looked for, there may have been fewer states.
                walls: walls.get(k).copied().unwrap_or(f64::INFINITY),
                solver: level.pairs.value_errors[k] + 1e-12 * (1.0 + level.pairs.values[k].abs()),
            })
            .collect();
        let method = format!(
            "full configuration interaction, {} determinants of {m} natural orbitals, Davidson",
            level.space.dimension()
        );
        let used = setup.orbitals.subcols(0, m).to_owned();
        let energies = level.pairs.values.clone();
        let mut vectors = level.pairs.vectors;
        let state = ExactState::new(setup.basis, used, self.sector, vectors.swap_remove(0));
        self.finish(state, energies, budgets, cells, method)
    }
}

/// Two-body density matrices averaged over the states of a level.
fn averaged(level: &CorrelatedLevel) -> PairDensities {
    let count = level.pairs.vectors.len();
    let mut sum = level.space.pair_densities(&level.pairs.vectors[0]);
    for v in &level.pairs.vectors[1..] {
        let d = level.space.pair_densities(v);
        sum.up += d.up;
        sum.down += d.down;
        sum.opposite += d.opposite;
    }
    let scale = faer::Scale(1.0 / count as f64);
    sum.up *= scale;
    sum.down *= scale;
    sum.opposite *= scale;
    sum
}

/// Orthonormal basis of the span of the columns, and the singular values squared.
pub(super) fn orthonormal_span(c: &Mat<f64>) -> (Mat<f64>, usize) {
    let mut columns: Vec<Vec<f64>> = vec![];
    for k in 0..c.ncols() {
        let mut v: Vec<f64> = (0..c.nrows()).map(|i| c[(i, k)]).collect();
        for _ in 0..2 {
            for b in &columns {
                let s = super::linalg::dot(&v, b);
                super::linalg::add_scaled(&mut v, -s, b);
            }
        }
        let length = super::linalg::norm(&v);
        if length > 1e-6 {
            v.iter_mut().for_each(|x| *x /= length);
            columns.push(v);
        }
    }
    let rank = columns.len();
    (Mat::from_fn(c.nrows(), rank, |i, k| columns[k][i]), rank)
}
