//! Refinement of walls and spacing, and what is made of the finest grid.

use super::grid::{Grid, MOST_POINTS, Start, applies, start};
use super::measure::Measured;
use super::sweep::Chain;
use super::truncation::{Converged, Goal, NOISE_OF_BOUND, converge, to_the_left};
use crate::exact::calculation::Setting;
use crate::exact::dvr::OneBodyBasis;
use crate::exact::state::even;
use crate::exact::strings::choose;
use crate::exact::watch::{Finishing, Watch};
use crate::exact::{
    Components, ConvergenceRow, Density, Entanglement, ErrorBudget, ExactError, ExactOptions,
    ExactResult, GroundState, Labels, News, PairDensity, Refinement,
};
use crate::math::linalg::{mul, symmetric_eigen};
use crate::system::{Geometry, Hamiltonian, Sector};
use faer::Mat;

/// Share by which walls of the tool's choice are moved out for a check.
const WIDER: f64 = 0.12;
/// Spacings at most.
const MOST_SPACINGS: usize = 8;
/// Shares of the tolerance for what cuts lose, for the walls and for the spacing.
const CUTS: f64 = 0.15;
const WALLS: f64 = 0.1;
const SPACING: f64 = 0.2;
/// What cuts of other grids than the first may lose, over what those of the first may.
const MORE: f64 = 2.5;
/// What is expected to be left counts so many times in the error estimate.
const SAFETY: f64 = 2.0;
/// Tolerance whose grid serves where cuts lose more than a finer one is worth, in the units of the system.
const LOOSE: f64 = 1e-6;
/// Share of the work limit for the first grid, and for the first grid of those that are no finer than cuts deserve: only one
/// more follows it.
const FIRST_GRID: f64 = 0.12;
const FIRST_LOOSE_GRID: f64 = 0.35;
/// States of a cut that the memory of the first grid is predicted with.
const EXPECTED_STATES: usize = 120;
/// States of a cut that the mean field starts with, and the least probable of them.
const START_STATES: usize = 64;
const START_PROBABILITY: f64 = 1e-9;

struct Solver<'a> {
    setting: Setting,
    hamiltonian: &'a Hamiltonian,
    sector: Sector,
    options: &'a ExactOptions,
    watch: &'a mut dyn Watch,
    table: Vec<ConvergenceRow>,
    products: usize,
    work: f64,
    /// Memory of the grid before, in bytes.
    bytes: usize,
}

/// What one grid gave.
struct Level {
    grid: Grid,
    chain: Chain,
    found: Converged,
}

/// Lowest states of `sector` by matrix product states.
///
/// # Errors
/// [`ExactError::NotOnGrid`] and [`ExactError::TooFine`] where no affordable grid can hold the Hamiltonian; limits that end
/// the first grid.
pub(in crate::exact) fn solve(
    setting: Setting,
    hamiltonian: &Hamiltonian,
    geometry: &Geometry,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<ExactResult, ExactError> {
    if !applies(&hamiltonian.interaction) {
        return Err(ExactError::NotOnGrid);
    }
    let chosen = *geometry == Geometry::Line;
    let mut at = |options: &ExactOptions, share: f64, enough: f64| {
        let start = start(setting, hamiltonian, geometry, sector, options, watch)?;
        let mut solver = Solver {
            setting,
            hamiltonian,
            sector,
            options,
            watch,
            table: vec![],
            products: 0,
            work: 0.0,
            bytes: 0,
        };
        solver.refine(start, chosen, share, enough)
    };
    let enough = if options.tolerance < LOOSE { LOOSE } else { f64::INFINITY };
    if let Some(found) = at(options, FIRST_GRID, enough)? {
        return Ok(found);
    }
    // On a grid that is no finer than the cuts deserve, cuts get further with the same work.
    let loose = ExactOptions { tolerance: LOOSE, ..options.clone() };
    // Without a bound there always is a result.
    let mut found = at(&loose, FIRST_LOOSE_GRID, f64::INFINITY)?.ok_or(ExactError::Interrupted)?;
    found.converged = found.error_estimates.iter().all(|e| *e <= options.tolerance);
    Ok(found)
}

/// Estimated error and correction at the end of a sequence of energies, the first ones coarse: changes are taken to go on
/// falling by the ratio of the last two, by `expected` where there is only one.
fn at_the_end(energies: &[f64], expected: f64) -> (f64, f64) {
    match *energies {
        [.., a, b, c] => {
            let (before, last) = (b - a, c - b);
            let ratio = (last / before).abs().clamp(0.05, 0.8);
            let rest = last * ratio / (1.0 - ratio);
            let steady = before * last > 0.0 && last.abs() < before.abs();
            let correction = if steady { rest } else { 0.0 };
            (correction, rest.abs().max(0.1 * last.abs()))
        }
        [a, b] => {
            let rest = (b - a) * expected / (1.0 - expected);
            (0.0, 2.0 * rest.abs().max(0.1 * (b - a).abs()))
        }
        _ => (0.0, f64::INFINITY),
    }
}

impl Solver<'_> {
    fn level(
        &mut self,
        start: &Start,
        grid: Grid,
        goal: Goal,
        refinement: Refinement,
    ) -> Result<Level, ExactError> {
        let Sector { up, down, .. } = self.sector;
        let n = grid.points.len();
        let determinants = choose(n, up).saturating_mul(choose(n, down));
        let expected = match (goal, self.table.last()) {
            (Goal::Error { work, .. }, _) => work,
            (_, Some(row)) => self.work * (n as f64 / row.functions as f64).powi(2),
            _ => self.work,
        };
        let tolerance = (1e-5 * self.options.tolerance).clamp(1e-14, 1e-11);
        let operator = grid.operator(self.hamiltonian, self.sector, tolerance);
        // The same number of states on more points; at first as many as experience has it.
        let bytes = match self.table.last() {
            Some(row) => (self.bytes as f64 * n as f64 / row.functions as f64) as u64,
            None => operator.block_bytes(EXPECTED_STATES),
        };
        self.watch.tell(&News::Predicted { determinants, bytes, work: expected });
        let orbitals = start.field.on(&grid);
        let mut chain = Chain::new(operator, &orbitals, START_PROBABILITY, START_STATES)
            .ok_or(ExactError::NotOnGrid)?;
        let states = self.options.states;
        let noise = if grid.attracts(self.hamiltonian) { NOISE_OF_BOUND } else { 0.0 };
        let found = converge(&mut chain, states, goal, noise, self.options, self.watch)?;
        self.products += found.products;
        self.work = found.work;
        self.bytes = chain.bytes();
        let (a, b) = grid.geometry.interval();
        let change = self.table.last().map(|row| (row.energy - found.energies[0]).abs());
        let row = ConvergenceRow {
            refinement,
            length: b - a,
            functions: n,
            cells: grid.cells,
            orbitals: found.states,
            determinants,
            energy: found.energies[0],
            change,
            discarded: Some(found.discarded),
        };
        self.watch.tell(&News::Row(row.clone()));
        self.table.push(row);
        Ok(Level { grid, chain, found })
    }

    /// Moves walls of the tool's choice out until that changes nothing. Returns what the last move changed each state, and
    /// whether a limit was met.
    fn move_walls(
        &mut self,
        start: &Start,
        mut level: Level,
        stages: Goal,
        spent: &mut f64,
    ) -> Result<(Level, Vec<f64>, bool), ExactError> {
        let mut walls = vec![f64::INFINITY; level.found.energies.len()];
        loop {
            let wider = level.grid.wider(WIDER);
            if wider.points.len() > MOST_POINTS {
                return Ok((level, walls, true));
            }
            let next = match self.level(start, wider, stages, Refinement::Walls) {
                Ok(next) => next,
                Err(ExactError::Memory { .. } | ExactError::Work { .. }) => {
                    return Ok((level, walls, true));
                }
                Err(e) => return Err(e),
            };
            *spent += next.found.work;
            let pairs = next.found.energies.iter().zip(&level.found.energies);
            walls = pairs.map(|(a, b)| (a - b).abs()).collect();
            let worst = walls.iter().copied().fold(0.0, f64::max);
            level = next;
            // What cuts lose is not the same with other walls.
            let noise = level.found.errors.iter().copied().fold(0.0, f64::max);
            if worst < (WALLS * self.options.tolerance).max(noise) {
                return Ok((level, walls, false));
            }
            let Geometry::Box { half_width } = level.grid.geometry else {
                return Ok((level, walls, false));
            };
            if half_width * (1.0 + WIDER) > self.setting.most {
                return Err(ExactError::Unbound { half_width, change: worst });
            }
            if *spent + level.found.work > self.options.work_limit {
                return Ok((level, walls, true));
            }
        }
    }

    /// `None` where what cuts lose of the first grid, within its `share` of the work, is not below `enough`.
    fn refine(
        &mut self,
        start: Start,
        chosen: bool,
        share: f64,
        enough: f64,
    ) -> Result<Option<ExactResult>, ExactError> {
        let tolerance = self.options.tolerance;
        let limit = self.options.work_limit;
        let first = Goal::Error { error: CUTS * tolerance, work: share * limit };
        let mut level = self.level(&start, start.grid.clone(), first, Refinement::Functions)?;
        if level.found.errors.iter().any(|e| *e > enough) {
            return Ok(None);
        }
        let worst = level.found.errors.iter().copied().fold(0.0, f64::max);
        // Where the work ended the first grid no other goes further.
        let met = worst <= CUTS * tolerance;
        let error = if met { MORE * CUTS * tolerance } else { f64::INFINITY };
        let stages = Goal::Stages { count: level.found.stages, error };
        let mut spent = level.found.work;
        let count = level.found.energies.len();
        let mut walls = vec![0.0; count];
        // A limit met on the way ends the refinement, not the calculation.
        let mut limited = false;
        if chosen {
            (level, walls, limited) = self.move_walls(&start, level, stages, &mut spent)?;
        }
        let mut series: Vec<Vec<f64>> = level.found.energies.iter().map(|e| vec![*e]).collect();
        for _ in 1..MOST_SPACINGS {
            let finer = level.grid.finer();
            let growth = (finer.points.len() as f64 / level.grid.points.len() as f64).powi(2);
            if limited
                || finer.points.len() > MOST_POINTS
                || (spent + growth * level.found.work > limit && series[0].len() > 1)
            {
                break;
            }
            let next = match self.level(&start, finer, stages, Refinement::Functions) {
                Ok(next) => next,
                Err(ExactError::Memory { .. } | ExactError::Work { .. }) => break,
                Err(e) => return Err(e),
            };
            spent += next.found.work;
            level = next;
            for (s, e) in series.iter_mut().zip(&level.found.energies) {
                s.push(*e);
            }
            let noise = level.found.errors.iter().copied().fold(0.0, f64::max);
            let worst = series.iter().map(|s| at_the_end(s, start.ratio).1).fold(0.0, f64::max);
            if worst < (SPACING * tolerance).max(0.3 * noise) {
                break;
            }
        }
        let ends: Vec<(f64, f64)> = series.iter().map(|s| at_the_end(s, start.ratio)).collect();
        let energies: Vec<f64> =
            level.found.energies.iter().zip(&ends).map(|(e, end)| e + end.0).collect();
        let budgets: Vec<ErrorBudget> = (0..count)
            .map(|k| ErrorBudget {
                functions: SAFETY * ends[k].1,
                orbitals: SAFETY * level.found.errors[k],
                walls: SAFETY * walls[k],
                solver: 1e-12 * (1.0 + energies[k].abs()),
                ..ErrorBudget::default()
            })
            .collect();
        self.result(level, energies, &budgets).map(Some)
    }

    /// Between walls and on the line the ground state of a sector is the only one and has no node but those of the
    /// exchange of equal spins (E. Lieb and D. Mattis, Phys. Rev. 125, 164 (1962)): its spin is the smallest the sector has,
    /// and turning the order of `n` equal spins around takes `n (n - 1) / 2` exchanges. Nothing is known of other states.
    fn labels(&self, grid: &Grid, states: usize) -> Vec<Labels> {
        let mut labels = vec![Labels::default(); states];
        let Sector { up, down, .. } = self.sector;
        let polarised = self.sector.is_polarised();
        let spin = 0.5 * up.abs_diff(down) as f64;
        if polarised {
            labels.iter_mut().for_each(|l| l.spin = Some(spin));
        }
        if let Geometry::Box { .. } = grid.geometry {
            let (a, b) = grid.geometry.interval();
            let exchanges = up * up.saturating_sub(1) / 2 + down * down.saturating_sub(1) / 2;
            let sign = if exchanges.is_multiple_of(2) { 1 } else { -1 };
            labels[0].spin = Some(spin);
            labels[0].parity = even(&self.hamiltonian.external, a, b).then_some(sign);
        }
        labels
    }

    fn result(
        &mut self,
        level: Level,
        energies: Vec<f64>,
        budgets: &[ErrorBudget],
    ) -> Result<ExactResult, ExactError> {
        let Level { grid, mut chain, found } = level;
        let watch = &mut Finishing(self.watch);
        let (states, options) = (found.found.len(), self.options);
        to_the_left(&mut chain, states, &found, options, watch)?;
        let mut measured = vec![];
        for k in 0..states.min(chain.psi.len()) {
            watch.look()?;
            measured.push(chain.measure(k, options.pair_density && k == 0)?);
        }
        let ground = &measured[0];
        let total = &ground.one_body[0] + &ground.one_body[1];
        let n = grid.points.len();
        let kinetic = grid.kinetic();
        let kinetic =
            (0..n).map(|j| (0..n).map(|i| kinetic[(i, j)] * total[(i, j)]).sum::<f64>()).sum();
        let external = grid
            .external(self.hamiltonian)
            .iter()
            .enumerate()
            .map(|(i, v)| if total[(i, i)] == 0.0 { 0.0 } else { v * total[(i, i)] })
            .sum();
        let components =
            Components { kinetic, external, interaction: found.found[0] - kinetic - external };
        let error_estimates: Vec<f64> = budgets.iter().map(ErrorBudget::total).collect();
        let mut densities: Vec<Density> = measured.iter().map(|m| density(&grid, m)).collect();
        let excited_densities = densities.split_off(1);
        let (values, _) = symmetric_eigen(total.as_ref())?;
        Ok(ExactResult {
            converged: error_estimates.iter().all(|e| *e <= options.tolerance),
            error_estimates,
            error_budget: budgets[0],
            components,
            labels: self.labels(&grid, states),
            excited_densities,
            method: format!(
                "matrix product states, {n} points, up to {} states a cut, {:.0e} lost",
                found.states, found.discarded
            ),
            convergence: std::mem::take(&mut self.table),
            sector: self.sector,
            geometry: Some(grid.geometry),
            centre: 0.0,
            products: self.products,
            ground_state: Ok(GroundState {
                density: densities.remove(0),
                natural_occupations: values.into_iter().rev().collect(),
                pair_density: ground.pairs.as_ref().map(|p| pair_density(&grid, p)),
                entanglement: Some(entanglement(&grid, &chain, &ground.entropies)),
                state: None,
            }),
            energies,
        })
    }
}

/// Densities on equally spaced points, exactly as the functions of the grid have them.
fn density(grid: &Grid, measured: &Measured) -> Density {
    let (a, b) = grid.geometry.interval();
    let n = grid.points.len();
    let basis: OneBodyBasis = grid.basis();
    let functions = basis.evaluate(&grid.points);
    let turned = Mat::from_fn(n, n, |i, k| grid.spacing.sqrt() * functions[(i, k)]);
    let points = (2 * n + 3).max(401) | 1;
    let step = (b - a) / (points - 1) as f64;
    let x: Vec<f64> = (0..points).map(|i| a + i as f64 * step).collect();
    let values = mul(basis.evaluate(&x).as_ref(), turned.transpose());
    let of = |d: &Mat<f64>| -> Vec<f64> {
        let y = mul(values.as_ref(), d.as_ref());
        (0..points).map(|i| (0..n).map(|k| y[(i, k)] * values[(i, k)]).sum::<f64>()).collect()
    };
    Density { up: of(&measured.one_body[0]), down: of(&measured.one_body[1]), x }
}

/// Pair density on the points of the grid and at its ends.
fn pair_density(grid: &Grid, pairs: &Mat<f64>) -> PairDensity {
    let (a, b) = grid.geometry.interval();
    let n = grid.points.len();
    let ring = matches!(grid.geometry, Geometry::Ring { .. });
    // Where each place lies on the grid: nowhere at walls, at the first point where a ring closes.
    let mut places: Vec<(f64, Option<usize>)> = vec![];
    if !ring {
        places.push((a, None));
    }
    places.extend(grid.points.iter().enumerate().map(|(i, x)| (*x, Some(i))));
    places.push((b, ring.then_some(0)));
    let cell = grid.spacing * grid.spacing;
    let value = |i: Option<usize>, j: Option<usize>| match (i, j) {
        (Some(i), Some(j)) if i < n && j < n => pairs[(i, j)] / cell,
        _ => 0.0,
    };
    let values = places.iter().flat_map(|p| places.iter().map(|q| value(p.1, q.1))).collect();
    PairDensity { x: places.into_iter().map(|p| p.0).collect(), values }
}

/// Entropies of the cuts between neighbouring points.
fn entanglement(grid: &Grid, chain: &Chain, entropies: &[f64]) -> Entanglement {
    let sites = &chain.operator.sites;
    let mut result = Entanglement { x: vec![], entropy: vec![] };
    for (k, s) in entropies.iter().enumerate() {
        // Not between the two spins of one point.
        if sites[k].point != sites[k + 1].point {
            result.x.push(grid.points[sites[k].point] + 0.5 * grid.spacing);
            result.entropy.push(*s);
        }
    }
    result
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_end_of_a_sequence_is_covered() {
        let energies: Vec<f64> = (0..4).map(|k| 2.0 - 0.1_f64.powi(k)).collect();
        let (correction, error) = at_the_end(&energies, 0.3);
        assert!((energies[3] + correction - 2.0).abs() < 1e-12 && error >= 1e-4);
        assert!(at_the_end(&energies[..2], 0.1).1 >= 0.09);
        assert_eq!(at_the_end(&energies[..1], 0.1).1, f64::INFINITY);
        // Without a trend nothing is corrected.
        assert_eq!(at_the_end(&[1.0, 1.1, 1.05], 0.3).0, 0.0);
    }
}
