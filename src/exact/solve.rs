//! The driver: chooses grid, basis and orbitals, refines each, and adds up the errors.

use super::ci::{CiSpace, PairDensities, PairMatrices};
use super::closed_forms::{self, ClosedForm};
use super::davidson::{DavidsonOptions, Eigenpairs, lowest};
use super::dvr::{OneBodyBasis, PairGrid, default_cells, finite_at_contact, one_body_matrix};
use super::hartree_fock::{HartreeFockOptions, hartree_fock};
use super::integrals::{transform, two_body};
use super::linalg::{mul, symmetric_eigen};
use super::natural::{MeanField, determinant_geminals, natural_geminals};
use super::refine::Sequence;
use super::trap::TrapEnergies;
use super::{
    ConvergenceRow, ErrorBudget, ExactError, ExactOptions, ExactResult, ExactState, Noise,
    Refinement, Step, pair,
};
use crate::system::{Geometry, Hamiltonian, Sector};
use faer::Mat;

/// First cutoff of the wave numbers, in 1/bohr.
const FIRST_CUTOFF: f64 = 4.0;
/// Growth of the number of functions from one level to the next.
const GROWTH: f64 = 1.25;
/// Products with the Hamiltonian that one state takes, for predictions of work.
const EXPECTED_PRODUCTS: f64 = 15.0;
/// Floating-point operations that go into one check of walls or basis functions: about a second.
const CHECK_WORK: f64 = 4e10;
/// Largest number of one-body functions.
const MOST_FUNCTIONS: usize = 700;

/// Everything a level of the calculation needs.
pub(super) struct Problem<'a> {
    pub(super) hamiltonian: &'a Hamiltonian,
    pub(super) sector: Sector,
    pub(super) options: &'a ExactOptions,
    progress: &'a mut dyn FnMut(&Step),
    pub(super) table: Vec<ConvergenceRow>,
    pub(super) products: usize,
}

fn length(geometry: &Geometry) -> f64 {
    let (a, b) = geometry.interval();
    b - a
}

/// Outcome of one diagonalisation.
struct Level {
    energies: Vec<f64>,
    solver_errors: Vec<f64>,
    basis: OneBodyBasis,
    orbitals: Mat<f64>,
    /// Coefficients of the states over determinants (particles > 2) or pair functions by columns.
    vectors: Vec<Vec<f64>>,
}

impl Problem<'_> {
    pub(super) fn davidson(&self, dimension: u64, precise: bool) -> DavidsonOptions {
        let states = self.options.states;
        let subspace = if dimension > 1_000_000 { 8 + 3 * states } else { 20 + 4 * states };
        let residual =
            if precise { (self.options.tolerance * 100.0).clamp(1e-8, 2e-6) } else { 1e-5 };
        let value_error = if precise { 0.05 * self.options.tolerance } else { 1e-7 };
        DavidsonOptions { states, residual, value_error, passes: 150, subspace }
    }

    pub(super) fn record(&mut self, row: ConvergenceRow) {
        (self.progress)(&Step::Row(row.clone()));
        self.table.push(row);
    }

    pub(super) fn check(
        &mut self,
        determinants: u64,
        bytes: u64,
        work: f64,
    ) -> Result<(), ExactError> {
        (self.progress)(&Step::Predicted { determinants, bytes, work });
        if bytes > self.options.memory_limit_bytes {
            return Err(ExactError::Memory {
                needed: bytes,
                limit: self.options.memory_limit_bytes,
            });
        }
        if work > self.options.work_limit {
            return Err(ExactError::Work { needed: work, limit: self.options.work_limit });
        }
        Ok(())
    }

    /// One particle, or two of `sector` in the complete basis.
    fn small(
        &mut self,
        sector: Sector,
        basis: OneBodyBasis,
        cells: usize,
    ) -> Result<Level, ExactError> {
        if sector.particles() == 1 {
            let h = one_body_matrix(&self.hamiltonian.external, &basis, cells);
            let (energies, orbitals) = symmetric_eigen(h.as_ref())?;
            let states = self.options.states.min(energies.len());
            let vectors = (0..states)
                .map(|k| (0..orbitals.ncols()).map(|i| f64::from(u8::from(i == k))).collect())
                .collect();
            return Ok(Level {
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
        let found = pair::solve(self.hamiltonian, &basis, cells, sector, &options)?;
        self.products += found.pairs.products;
        Ok(Level {
            energies: found.pairs.values.clone(),
            solver_errors: found.pairs.value_errors.clone(),
            basis,
            orbitals: found.orbitals,
            vectors: found.pairs.vectors,
        })
    }

    /// Refines the number of functions for one or two particles. Returns the last level and the
    /// sequence behind it.
    fn refine_functions(
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
            let basis = OneBodyBasis::with_cutoff(geometry, cutoff, least);
            cutoff *= GROWTH;
            let work = pair::cost(basis.size(), default_cells(&basis), 0).1 as f64 * 25.0;
            if sequence.has_ratio() && work > work_limit {
                break;
            }
            let level = match self.small(sector, basis, default_cells(&basis)) {
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
                cells: default_cells(&basis),
                orbitals: 0,
                determinants: level.vectors[0].len() as u64,
                energy: level.energies[0],
                change: sequence.change(),
            });
            best = Some(level);
            if sequence.worst() < tolerance || size as f64 * GROWTH > MOST_FUNCTIONS as f64 {
                break;
            }
        }
        match best {
            Some(level) => Ok((level, sequence)),
            None => unreachable!("the first level either fails or is kept"),
        }
    }
}

/// Determinant calculations for three particles and more.
struct Correlated {
    basis: OneBodyBasis,
    h: Mat<f64>,
    /// All orbitals by importance.
    orbitals: Mat<f64>,
}

struct CorrelatedLevel {
    pairs: Eigenpairs,
    space: CiSpace,
}

/// The end of a refinement in the number of orbitals.
struct Nested {
    m: usize,
    level: CorrelatedLevel,
    sequence: Sequence,
}

/// Orbitals of the calculation that natural orbitals come from, and of the checks.
fn pilot_orbitals(sector: Sector) -> usize {
    match sector.particles() {
        0..=3 => 24,
        4 => 20,
        5 => 17,
        _ => 15,
    }
}

impl Problem<'_> {
    fn correlated(&mut self, basis: OneBodyBasis) -> Result<Correlated, ExactError> {
        let sector = self.sector;
        let n = basis.size();
        let cells = 2 * n + 16;
        let h = one_body_matrix(&self.hamiltonian.external, &basis, default_cells(&basis));
        let options = HartreeFockOptions { tolerance: 1e-6, iterations: 60 };
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

    fn level(
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
        )?;
        self.products += pairs.products;
        Ok(CorrelatedLevel { pairs, space })
    }

    /// Refines the number of orbitals. They are nested, so energies fall monotonically.
    fn refine_orbitals(
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
        let mut cells = 2 * setup.basis.size() + 16;
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
            if change < tolerance || cells > 2400 {
                return (cells, sequence.estimate(0).min(4.0 * change));
            }
            cells = cells * 3 / 2;
        }
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
fn orthonormal_span(c: &Mat<f64>) -> (Mat<f64>, usize) {
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

/// Lowest determinants and one vector with a little of everything.
pub(super) fn start_vectors(diagonal: &[f64], states: usize) -> Vec<Vec<f64>> {
    let count = (2 * states + 1).min(diagonal.len());
    let mut order: Vec<usize> = (0..diagonal.len()).collect();
    if order.len() > count {
        order.select_nth_unstable_by(count - 1, |a, b| {
            diagonal[*a].total_cmp(&diagonal[*b]).then(a.cmp(b))
        });
    }
    order.truncate(count);
    order.sort_by(|a, b| diagonal[*a].total_cmp(&diagonal[*b]).then(a.cmp(b)));
    let lowest = diagonal[order[0]];
    let mut list: Vec<Vec<f64>> = order
        .iter()
        .map(|&i| {
            let mut v = vec![0.0; diagonal.len()];
            v[i] = 1.0;
            v
        })
        .collect();
    let mut noise = Noise::default();
    list.push(diagonal.iter().map(|d| noise.next() / (1.0 + (d - lowest)).powi(2)).collect());
    list
}

/// Lowest states of `sector` in the given geometry; on the line as by [`solve_on_line`].
///
/// # Errors
/// See [`ExactError`]. A limit that is met during refinement is not an error: the result then says
/// so by its error estimate and by `converged == false`.
pub fn solve(
    hamiltonian: &Hamiltonian,
    geometry: &Geometry,
    sector: Sector,
    options: &ExactOptions,
    progress: &mut dyn FnMut(&Step),
) -> Result<ExactResult, ExactError> {
    if *geometry == Geometry::Line {
        return solve_on_line(hamiltonian, sector, options, progress);
    }
    validate(hamiltonian, sector, options)?;
    if let Some(energies) = in_gaps(hamiltonian, Some(geometry), sector, options, progress)? {
        let limited = for_densities(hamiltonian, options);
        let mut problem = Problem {
            hamiltonian,
            sector,
            options: &limited,
            progress,
            table: vec![],
            products: 0,
        };
        let result = problem.solve(*geometry, vec![0.0])?;
        return Ok(energies.joined(result, options.tolerance));
    }
    let mut problem =
        Problem { hamiltonian, sector, options, progress, table: vec![], products: 0 };
    problem.solve(*geometry, vec![0.0; options.states])
}

/// The route in gaps, where it applies and the limits allow it.
fn in_gaps(
    hamiltonian: &Hamiltonian,
    geometry: Option<&Geometry>,
    sector: Sector,
    options: &ExactOptions,
    progress: &mut dyn FnMut(&Step),
) -> Result<Option<TrapEnergies>, ExactError> {
    let mut problem =
        Problem { hamiltonian, sector, options, progress, table: vec![], products: 0 };
    let Some((trap, walls)) = problem.as_trap(geometry)? else { return Ok(None) };
    match problem.solve_trap(&trap, walls) {
        Ok(energies) => Ok(Some(energies)),
        // Too many gaps: the other route may still do.
        Err(ExactError::Memory { .. } | ExactError::Work { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Densities and occupations need the determinants, but not the last digit of the energy.
fn for_densities(hamiltonian: &Hamiltonian, options: &ExactOptions) -> ExactOptions {
    // Where the interaction diverges, sine functions converge so slowly that a tight tolerance would
    // only meet the limits.
    let singular = !finite_at_contact(&hamiltonian.interaction);
    ExactOptions {
        states: 1,
        tolerance: if singular { options.tolerance.max(1e-4) } else { options.tolerance },
        work_limit: options.work_limit.min(5.0 * CHECK_WORK),
        closed_forms: false,
        ..options.clone()
    }
}

fn validate(
    hamiltonian: &Hamiltonian,
    sector: Sector,
    options: &ExactOptions,
) -> Result<(), ExactError> {
    if sector.particles() == 0 {
        return Err(ExactError::EmptySector);
    }
    if options.states == 0 {
        return Err(ExactError::NoStates);
    }
    if sector.up > 0 && sector.down > 0 && !finite_at_contact(&hamiltonian.interaction) {
        return Err(ExactError::SingularBetweenOppositeSpins);
    }
    Ok(())
}

/// Lowest states of `sector` on an infinite line: walls are moved out until they do not matter.
///
/// # Errors
/// As [`solve`], and [`ExactError::Unbound`] when the energy keeps falling as the walls recede.
pub fn solve_on_line(
    hamiltonian: &Hamiltonian,
    sector: Sector,
    options: &ExactOptions,
    progress: &mut dyn FnMut(&Step),
) -> Result<ExactResult, ExactError> {
    validate(hamiltonian, sector, options)?;
    if options.states == 1
        && options.closed_forms
        && let Some(form) = closed_forms::ground_state(hamiltonian, None, sector)
    {
        let coarse = ExactOptions {
            tolerance: options.tolerance.max(1e-5),
            work_limit: options.work_limit.min(5.0 * CHECK_WORK),
            closed_forms: false,
            ..options.clone()
        };
        let result = solve_on_line(hamiltonian, sector, &coarse, progress)?;
        return Ok(with_closed_form(result, &form));
    }
    let energies = in_gaps(hamiltonian, None, sector, options, progress)?;
    let limited =
        if energies.is_some() { for_densities(hamiltonian, options) } else { options.clone() };
    let mut problem =
        Problem { hamiltonian, sector, options: &limited, progress, table: vec![], products: 0 };
    let (half_width, wall_errors) = problem.find_walls()?;
    let result = problem.solve(Geometry::Box { half_width }, wall_errors)?;
    Ok(match energies {
        Some(energies) => energies.joined(result, options.tolerance),
        None => result,
    })
}

/// The energy and its components from a closed form, everything else from a coarse calculation.
fn with_closed_form(mut result: ExactResult, form: &ClosedForm) -> ExactResult {
    let rounding = 1e-14 * (1.0 + form.energy.abs());
    result.method = format!(
        "closed form: {} (numerically {:.9} +- {:.0e}; densities and occupations: {})",
        form.source, result.energies[0], result.error_estimates[0], result.method
    );
    result.energies = vec![form.energy];
    result.error_estimates = vec![rounding];
    result.error_budget = ErrorBudget { solver: rounding, ..ErrorBudget::default() };
    result.components = form.components;
    result.converged = true;
    result
}

/// Largest half-width the search for walls goes to, in bohr.
const MOST_HALF_WIDTH: f64 = 60.0;

impl Problem<'_> {
    /// Half-width beyond which the walls do not matter, and what they still cost each state.
    fn find_walls(&mut self) -> Result<(f64, Vec<f64>), ExactError> {
        // Hartree-Fock finds the right order of magnitude cheaply, by the pressure on the walls: a
        // difference of energies would drown in the error of the basis.
        let mut half_width = 4.0;
        let mut cutoff = 1.5 * FIRST_CUTOFF;
        let mut raised = 0;
        let mut previous = f64::INFINITY;
        let options = HartreeFockOptions { tolerance: 1e-6, iterations: 60 };
        loop {
            let geometry = Geometry::Box { half_width };
            let basis = OneBodyBasis::with_cutoff(geometry, cutoff, self.sector.particles() + 8);
            let hf = hartree_fock(self.hamiltonian, basis, self.sector, &options)?;
            let pressure = hf.wall_pressure(self.sector);
            if pressure < 30.0 * self.options.tolerance || half_width > 0.7 * MOST_HALF_WIDTH {
                break;
            }
            if pressure > 0.5 * previous && raised < 3 {
                // What is left at the walls is ripple of a basis that is too coarse.
                cutoff *= GROWTH;
                raised += 1;
                continue;
            }
            if pressure > 0.9 * previous {
                break;
            }
            previous = pressure;
            half_width *= 1.15;
        }
        let pilot = self.pilot_sector();
        let (level, _) = self.refine_functions(
            pilot,
            Geometry::Box { half_width },
            0.2 * self.options.tolerance,
            (0.1 * self.options.work_limit).min(3.0 * CHECK_WORK),
        )?;
        let cutoff = self.mean_field_cutoff(level.basis)?;
        let mut sequence = Sequence::default();
        let mut probe: Option<(usize, f64)> = None;
        loop {
            let geometry = Geometry::Box { half_width };
            let basis = OneBodyBasis::with_cutoff(geometry, cutoff, self.sector.particles() + 8);
            let (energies, orbitals) = if self.sector.particles() <= 2 {
                (self.small(self.sector, basis, default_cells(&basis))?.energies, 0)
            } else {
                let setup = self.correlated(basis)?;
                let cells = 2 * basis.size() + 16;
                match probe {
                    Some((m, _)) => (self.level(&setup, m, cells, true, None)?.pairs.values, m),
                    None => {
                        let tolerance = 0.3 * self.options.tolerance;
                        let nested = self.refine_orbitals(&setup, cells, tolerance, CHECK_WORK)?;
                        probe = Some((nested.m, nested.sequence.worst()));
                        (nested.level.pairs.values, nested.m)
                    }
                }
            };
            sequence.push(&energies);
            let change = sequence.change();
            self.record(ConvergenceRow {
                refinement: Refinement::Walls,
                length: 2.0 * half_width,
                functions: basis.size(),
                cells: default_cells(&basis),
                orbitals,
                determinants: 0,
                energy: energies[0],
                change,
            });
            let resolved = 0.3 * probe.map_or(0.0, |p| p.1).max(self.options.tolerance);
            if change.is_some_and(|c| c < resolved) {
                let states = energies.len();
                return Ok((half_width, (0..states).map(|k| sequence.estimate(k)).collect()));
            }
            if half_width * 1.15 > MOST_HALF_WIDTH {
                return Err(ExactError::Unbound { half_width, change: change.unwrap_or(f64::NAN) });
            }
            half_width *= 1.15;
        }
    }

    /// A pair does not know how tightly many particles are bound: raises the cutoff until the
    /// Hartree-Fock orbitals of the whole sector have no kinetic energy in the last fifth of it.
    fn mean_field_cutoff(&self, basis: OneBodyBasis) -> Result<f64, ExactError> {
        let mut cutoff = basis.wave_number(basis.size() - 1);
        if self.sector.particles() <= 2 {
            return Ok(cutoff);
        }
        let options = HartreeFockOptions { tolerance: 1e-6, iterations: 60 };
        for _ in 0..5 {
            let least = self.sector.particles() + 8;
            let basis = OneBodyBasis::with_cutoff(basis.geometry(), cutoff, least);
            let hf = hartree_fock(self.hamiltonian, basis, self.sector, &options)?;
            if hf.kinetic_tail(self.sector) < 0.2 * self.options.tolerance {
                break;
            }
            cutoff *= GROWTH;
        }
        Ok(cutoff)
    }

    /// The sector that tells how fine the basis must be.
    fn pilot_sector(&self) -> Sector {
        let Sector { up, down } = self.sector;
        if up + down <= 2 {
            self.sector
        } else if up > 0 && down > 0 {
            Sector { up: 1, down: 1 }
        } else {
            Sector { up: 2, down: 0 }
        }
    }

    fn solve(&mut self, geometry: Geometry, walls: Vec<f64>) -> Result<ExactResult, ExactError> {
        if self.sector.particles() <= 2 {
            self.solve_small(geometry, walls)
        } else {
            self.solve_correlated(geometry, walls)
        }
    }

    fn solve_small(
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
        let cells = default_cells(&level.basis) * 3 / 2;
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
        });
        let budgets: Vec<ErrorBudget> = (0..level.energies.len())
            .map(|k| ErrorBudget {
                functions: functions.estimate(k),
                quadrature: change[k],
                orbitals: 0.0,
                walls: walls[k],
                solver: level.solver_errors[k] + 1e-12 * (1.0 + level.energies[k].abs()),
            })
            .collect();
        let (state, method) = if self.sector.particles() == 1 {
            let orbital = level.orbitals.subcols(0, 1).to_owned();
            (
                ExactState::new(level.basis, orbital, self.sector, vec![1.0]),
                "one particle, dense diagonalisation".to_string(),
            )
        } else {
            let n = level.basis.size();
            let c = faer::MatRef::from_column_major_slice(&level.vectors[0], n, n);
            (
                pair_state(&level, c, self.sector)?,
                format!("two particles in all {n} one-body functions, Davidson"),
            )
        };
        self.finish(state, level.energies, budgets, cells, method)
    }

    fn solve_correlated(
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
        let mut size = OneBodyBasis::with_cutoff(geometry, cutoff, level.basis.size()).size();
        // Number of functions: the whole calculation at a moderate number of orbitals, whose own
        // error sets how small a change can be resolved.
        let mut functions = Sequence::default();
        let mut probe: Option<(usize, f64)> = None;
        let (setup, check, m) = loop {
            let basis = OneBodyBasis::new(geometry, size);
            let setup = self.correlated(basis)?;
            let cells = default_cells(&basis);
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
                quadrature,
                orbitals: if complete { 0.0 } else { orbitals.estimate(k) },
                walls: walls[k],
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

    fn finish(
        &mut self,
        state: ExactState,
        energies: Vec<f64>,
        budgets: Vec<ErrorBudget>,
        cells: usize,
        method: String,
    ) -> Result<ExactResult, ExactError> {
        let points = (2 * state.basis.size() + 3).max(401) | 1;
        let error_estimates: Vec<f64> = budgets.iter().map(ErrorBudget::total).collect();
        Ok(ExactResult {
            converged: error_estimates.iter().all(|e| *e <= self.options.tolerance),
            error_estimates,
            energies,
            error_budget: budgets[0],
            components: state.components(self.hamiltonian, cells),
            method,
            convergence: std::mem::take(&mut self.table),
            density: state.density(points),
            natural_occupations: state.natural_occupations()?,
            pair_density: self.options.pair_density.then(|| state.pair_density(81)),
            sector: self.sector,
            geometry: state.basis.geometry(),
            products: self.products,
            state,
        })
    }
}

/// Writes a pair function in its natural orbitals, without those of negligible occupation.
fn pair_state(
    level: &Level,
    c: faer::MatRef<'_, f64>,
    sector: Sector,
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
    Ok(ExactState::new(level.basis, orbitals, sector, coefficients))
}
