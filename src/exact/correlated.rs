//! Three particles and more: full configuration interaction in natural orbitals.

use super::calculation::{CHECK_WORK, Calculation, GROWTH, MOST_FUNCTIONS, length};
use super::ci::{CiSpace, PairDensities, PairMatrices};
use super::davidson::{Eigenpairs, lowest, start_vectors};
use super::dvr::{OneBodyBasis, PairGrid, one_body_matrix};
use super::integrals::{transform, two_body};
use super::natural::{MeanField, determinant_geminals, natural_geminals};
use super::refine::Sequence;
use super::strings::choose;
use super::watch::{Finishing, Watch};
use super::{ConvergenceRow, ErrorBudget, ExactError, ExactResult, ExactState, Refinement};
use crate::math::linalg::symmetric_eigen;
use crate::system::{Geometry, Sector};
use faer::Mat;
use std::rc::Rc;

/// Floating-point operations of Hartree-Fock and natural orbitals, per cube of the number of functions.
const SETUP_WORK: f64 = 3e3;
/// Products with the Hamiltonian that one state takes, for predictions of work.
const EXPECTED_PRODUCTS: f64 = 15.0;

/// Determinant calculations for three particles and more.
pub(super) struct Correlated {
    basis: OneBodyBasis,
    h: Mat<f64>,
    field: Rc<MeanField>,
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
    /// What perturbation theory says that the other orbitals lower the energies by.
    pub(super) outside: f64,
}

impl Nested {
    /// Estimated error of state `k`.
    pub(super) fn estimate(&self, k: usize) -> f64 {
        self.sequence.estimate(k).max(self.outside)
    }

    /// The largest estimate of all states.
    pub(super) fn worst(&self) -> f64 {
        self.sequence.worst().max(self.outside)
    }
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

/// Probability of pairs whose excitations are neglected, and pairs that are always looked at.
const NEGLIGIBLE: f64 = 1e-6;
const MOST_IMPORTANT: usize = 12;

impl Calculation<'_> {
    pub(super) fn correlated(&mut self, basis: OneBodyBasis) -> Result<Correlated, ExactError> {
        let sector = self.sector;
        let n = basis.size();
        let cells = (2 * n + 16).max(self.least_cells);
        let h = one_body_matrix(&self.hamiltonian.external, &basis)?;
        let hf = self.mean_field(basis)?;
        let grid = PairGrid::new(&self.hamiltonian.interaction, &basis.geometry(), cells);
        let mean_fock = hf.mean_fock.as_ref();
        let field =
            Rc::new(MeanField::new(basis, grid, h.as_ref(), mean_fock, sector.particles())?);
        let up = hf.orbitals_up.subcols(0, sector.up);
        let down = hf.orbitals_down.subcols(0, sector.down);
        let occupied = Mat::from_fn(n, sector.particles(), |i, k| {
            if k < sector.up { up[(i, k)] } else { down[(i, k - sector.up)] }
        });
        let (internal, _) = orthonormal_span(&occupied);
        let (mut orbitals, _) = field.natural_orbitals(
            &determinant_geminals(up, down),
            internal.as_ref(),
            self.watch,
        )?;
        let pilot = pilot_orbitals(sector).min(n);
        let mut m = (pilot * 2 / 3).max(sector.particles() + 2).min(n);
        let mut last = f64::INFINITY;
        loop {
            let setup = Correlated {
                basis,
                h: h.clone(),
                field: field.clone(),
                orbitals: orbitals.clone(),
            };
            let level = self.level(&setup, m, cells, false, None)?;
            let used = orbitals.subcols(0, m).to_owned();
            let densities = averaged(&level, self.watch)?;
            let geminals = natural_geminals(&densities, used.as_ref(), 1e-7, self.watch)?;
            orbitals = field.natural_orbitals(&geminals, used.as_ref(), self.watch)?.0;
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
        Ok(Correlated { basis, h, field, orbitals })
    }

    fn matrices(
        &mut self,
        setup: &Correlated,
        m: usize,
        cells: usize,
    ) -> Result<PairMatrices, ExactError> {
        self.watch.spend(super::integrals::two_body_work(m, cells))?;
        let c = setup.orbitals.subcols(0, m);
        let grid = PairGrid::new(&self.hamiltonian.interaction, &setup.basis.geometry(), cells);
        let g = two_body(&setup.basis, &grid, c);
        let h = transform(setup.h.as_ref(), c);
        Ok(PairMatrices::new(h.as_ref(), g.as_ref(), self.sector))
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
        let mut options = self.davidson(cost.determinants, precise);
        options.probe =
            precise && guess.is_none() && cost.flops as f64 * PROBE_PRODUCTS < PROBE_WORK;
        let cost = CiSpace::cost(self.sector, m, options.subspace, cells);
        self.check(
            cost.determinants,
            cost.bytes,
            cost.flops as f64 * EXPECTED_PRODUCTS * self.options.states as f64,
        )?;
        let matrices = self.matrices(setup, m, cells)?;
        let space = CiSpace::new(self.sector, m);
        let diagonal = space.diagonal(&matrices);
        let start = match guess {
            // With the states of fewer of the same orbitals, energies cannot rise; their guards stand for
            // other symmetries.
            Some(g) => g.pairs.start(2).map(|v| space.embed(&g.space, v)).collect(),
            None => model_states(&space, &matrices, options.states, options.guards, self.watch)?,
        };
        let pairs = lowest(
            |c, watch| space.apply(&matrices, c, watch),
            |theta, r| {
                for (x, d) in r.iter_mut().zip(&diagonal) {
                    let gap = d - theta;
                    *x /= -if gap.abs() < 0.05 { 0.05_f64.copysign(gap) } else { gap };
                }
            },
            start,
            &options,
            self.watch,
        )?;
        self.products += pairs.products;
        Ok(CorrelatedLevel { pairs, space })
    }

    /// Refines the number of orbitals, `least` of them if the limits allow it. They are nested, so energies fall
    /// monotonically.
    pub(super) fn refine_orbitals(
        &mut self,
        setup: &Correlated,
        cells: usize,
        tolerance: f64,
        work_limit: f64,
        least: usize,
    ) -> Result<Nested, ExactError> {
        let n = setup.basis.size();
        let geometry = setup.basis.geometry();
        let mut sequence = Sequence::of_orbitals();
        let mut m = (pilot_orbitals(self.sector) * 2 / 3).max(self.sector.particles() + 3).min(n);
        let mut best: Option<(usize, CorrelatedLevel)> = None;
        let mut outside: Option<(usize, f64)> = None;
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
                discarded: None,
            });
            let settled = m >= least && sequence.has_ratio() && sequence.worst() < tolerance;
            if settled {
                // Where orbitals matter in groups, small changes may come before large ones.
                let rest = self.outside(setup, &level, m)?;
                outside = Some((m, rest));
                if rest < tolerance {
                    best = Some((m, level));
                    break;
                }
            }
            best = Some((m, level));
            if m == n {
                break;
            }
            m = (m + (m / 6).max(2)).min(n);
        }
        match best {
            Some((m, level)) => {
                let outside = match outside {
                    Some((at, rest)) if at == m => rest,
                    _ if m == n => 0.0,
                    _ => self.outside(setup, &level, m)?,
                };
                Ok(Nested { m, level, sequence, outside })
            }
            None => unreachable!("the first level either fails or is kept"),
        }
    }

    /// What orbitals beyond the first `m` lower the energies by, by second-order perturbation theory of pairs, with a
    /// margin: excitations of one particle add up over its pairs, which the theory does not know.
    fn outside(
        &mut self,
        setup: &Correlated,
        level: &CorrelatedLevel,
        m: usize,
    ) -> Result<f64, ExactError> {
        let used = setup.orbitals.subcols(0, m);
        let mut watch = Finishing(self.watch);
        let densities = averaged(level, &mut watch)?;
        let mut geminals = natural_geminals(&densities, used, NEGLIGIBLE, &mut watch)?;
        geminals.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        let all: f64 = geminals.iter().map(|g| g.weight).sum();
        geminals.truncate(((CHECK_WORK / setup.field.work()) as usize).max(MOST_IMPORTANT));
        let kept: f64 = geminals.iter().map(|g| g.weight).sum();
        let rest = setup.field.outside(&geminals, used, &mut watch)?;
        Ok(2.0 * (self.sector.particles() - 1) as f64 * rest * all / kept)
    }

    /// Refines quadrature at fixed states, to first order: returns cells and the estimated error.
    fn refine_cells(
        &mut self,
        setup: &Correlated,
        level: &CorrelatedLevel,
        m: usize,
        tolerance: f64,
    ) -> Result<(usize, f64), ExactError> {
        let densities = averaged(level, self.watch)?;
        let mut cells = (2 * setup.basis.size() + 16).max(self.least_cells);
        let mut sequence = Sequence::default();
        loop {
            let energy = densities.expectation(&self.matrices(setup, m, cells)?);
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
                discarded: None,
            });
            let change = sequence.change().unwrap_or(f64::INFINITY);
            if change < tolerance || (cells > 2400 && change.is_finite()) {
                return Ok((cells, sequence.estimate(0).min(4.0 * change)));
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
                        self.refine_orbitals(&setup, cells, 0.3 * tolerance, CHECK_WORK, 0)?;
                    (nested.m, nested.worst(), nested.level)
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
                discarded: None,
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
        let (cells, quadrature) = self.refine_cells(&setup, &check, m, 0.05 * tolerance)?;
        let limit = self.options.work_limit;
        let nested = self.refine_orbitals(&setup, cells, 0.5 * tolerance, limit, m)?;
        let orbitals: Vec<f64> = (0..nested.level.pairs.values.len())
            .map(|k| if nested.m == setup.basis.size() { 0.0 } else { nested.estimate(k) })
            .collect();
        let Nested { m, level, .. } = nested;
        let budgets = (0..level.pairs.values.len())
            .map(|k| ErrorBudget {
                functions: functions
                    .estimate(k)
                    .min(4.0 * functions.change().unwrap_or(f64::INFINITY)),
                quadrature: quadrature + self.unseen,
                orbitals: orbitals[k],
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
        let degenerate = level.pairs.degenerate();
        let exchange = PairMatrices::spin_exchange(m, self.sector);
        let vectors = level.pairs.disentangled(
            |v, watch| level.space.apply(&exchange, v, watch),
            &mut Finishing(self.watch),
        )?;
        let mut states = vec![];
        for v in vectors {
            let (basis, used) = (setup.basis, used.clone());
            states.push(ExactState::new(basis, used, self.sector, v, self.watch)?);
        }
        self.finish(states, energies, degenerate, budgets, cells, method)
    }
}

/// Largest dimension of the model whose eigenvectors a calculation starts from.
const MODEL_DIMENSION: usize = 400;
/// Products with the Hamiltonian that a probe for missed states takes, and floating-point operations that it may.
const PROBE_PRODUCTS: f64 = 16.0;
const PROBE_WORK: f64 = 4e9;
/// How far above the states asked for those of the model are of interest, in Hartree.
const MODEL_WINDOW: f64 = 0.3;

/// Start of a calculation that has no smaller one to go on from: the lowest states in the few orbitals whose
/// determinants can be diagonalised at once, all spins and symmetries of them, and noise.
fn model_states(
    space: &CiSpace,
    matrices: &PairMatrices,
    states: usize,
    guards: usize,
    watch: &mut dyn Watch,
) -> Result<Vec<Vec<f64>>, ExactError> {
    let Sector { up, down, .. } = space.sector;
    let dimension = |m: usize| choose(m, up).saturating_mul(choose(m, down)) as usize;
    let fits = |m: &usize| dimension(*m) <= MODEL_DIMENSION;
    let few = (up.max(down).max(2)..=space.orbitals).take_while(fits).last();
    let Some(few) = few.filter(|m| dimension(*m) > states) else {
        return Ok(start_vectors(&space.diagonal(matrices), states));
    };
    let model = CiSpace::new(space.sector, few);
    let part = matrices.restricted(space.orbitals, few);
    let size = model.dimension();
    let mut h = Mat::zeros(size, size);
    for j in 0..size {
        let mut unit = vec![0.0; size];
        unit[j] = 1.0;
        for (i, x) in model.apply(&part, &unit, watch)?.into_iter().enumerate() {
            h[(i, j)] = x;
        }
    }
    let h = crate::math::linalg::symmetrised(h.as_ref());
    watch.spend(super::dense_work(size))?;
    let (values, vectors) = symmetric_eigen(h.as_ref())?;
    let top = values[states - 1] + MODEL_WINDOW;
    let near = values.iter().take_while(|v| **v < top).count();
    let kept = near.max(states + 4).min(states + guards.max(1)).min(size);
    let mut start: Vec<Vec<f64>> = (0..kept)
        .map(|k| {
            let v: Vec<f64> = (0..size).map(|i| vectors[(i, k)]).collect();
            space.embed(&model, &v)
        })
        .collect();
    let diagonal = space.diagonal(matrices);
    start.extend(start_vectors(&diagonal, states).pop());
    Ok(start)
}

/// Two-body density matrices averaged over the states of a level.
fn averaged(level: &CorrelatedLevel, watch: &mut dyn Watch) -> Result<PairDensities, ExactError> {
    let count = level.pairs.vectors.len();
    let mut sum = level.space.pair_densities(&level.pairs.vectors[0], watch)?;
    for v in &level.pairs.vectors[1..] {
        let d = level.space.pair_densities(v, watch)?;
        sum.up += d.up;
        sum.down += d.down;
        sum.opposite += d.opposite;
    }
    let scale = faer::Scale(1.0 / count as f64);
    sum.up *= scale;
    sum.down *= scale;
    sum.opposite *= scale;
    Ok(sum)
}

/// Orthonormal basis of the span of the columns, and the singular values squared.
pub(super) fn orthonormal_span(c: &Mat<f64>) -> (Mat<f64>, usize) {
    let mut columns: Vec<Vec<f64>> = vec![];
    for k in 0..c.ncols() {
        let mut v: Vec<f64> = (0..c.nrows()).map(|i| c[(i, k)]).collect();
        for _ in 0..2 {
            for b in &columns {
                let s = crate::math::linalg::dot(&v, b);
                crate::math::linalg::add_scaled(&mut v, -s, b);
            }
        }
        let length = crate::math::linalg::norm(&v);
        if length > 1e-6 {
            v.iter_mut().for_each(|x| *x /= length);
            columns.push(v);
        }
    }
    let rank = columns.len();
    (Mat::from_fn(c.nrows(), rank, |i, k| columns[k][i]), rank)
}
