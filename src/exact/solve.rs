//! The driver: which route a problem takes, and what is made of their results.

use super::closed_forms::{self, ClosedForm};
use super::dvr::finite_at_contact;
use super::mps;
use super::problem::{CHECK_WORK, Problem};
use super::trap::TrapEnergies;
use super::watch::{Meter, Watch};
use super::{ErrorBudget, ExactError, ExactOptions, ExactResult, Method, Step, whole_work};
use crate::system::{Geometry, Hamiltonian, Sector};
use std::ops::ControlFlow;

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
    progress: &mut dyn FnMut(&Step) -> ControlFlow<()>,
) -> Result<ExactResult, ExactError> {
    crate::parallel::pin_linear_algebra();
    if *geometry == Geometry::Line {
        return solve_on_line(hamiltonian, sector, options, progress);
    }
    let mut meter = Meter::new(progress, whole_work(options.work_limit));
    within(hamiltonian, geometry, sector, options, &mut meter)
}

fn within(
    hamiltonian: &Hamiltonian,
    geometry: &Geometry,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<ExactResult, ExactError> {
    validate(hamiltonian, sector, options)?;
    if let Some(result) = by_products(hamiltonian, geometry, sector, options, watch)? {
        return Ok(result);
    }
    if let Some(energies) = in_gaps(hamiltonian, Some(geometry), sector, options, watch)? {
        let limited = for_densities(hamiltonian, options);
        let mut problem = Problem::new(hamiltonian, sector, &limited, watch);
        let densities = problem.solve(*geometry, vec![0.0; options.states]);
        return energies.with_densities(densities, sector, Some(*geometry), options.tolerance);
    }
    let mut problem = Problem::new(hamiltonian, sector, options, watch);
    problem.solve(*geometry, vec![0.0; options.states])
}

/// Particles from which matrix product states are the cheaper route.
const MANY: usize = 5;

/// Matrix product states, where they are asked for or the cheaper route.
fn by_products(
    hamiltonian: &Hamiltonian,
    geometry: &Geometry,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<Option<ExactResult>, ExactError> {
    match options.method {
        Method::Mps => mps::solve(hamiltonian, geometry, sector, options, watch).map(Some),
        Method::Auto if sector.particles() >= MANY && mps::applies(&hamiltonian.interaction) => {
            match mps::solve(hamiltonian, geometry, sector, options, watch) {
                // Far from what was asked for, another basis may do better than a uniform grid.
                Ok(result) if far_off(&result, options) => {
                    let other = ExactOptions { method: Method::Ci, ..options.clone() };
                    match within_or_on_line(hamiltonian, geometry, sector, &other, watch) {
                        Ok(o) if o.error_estimates[0] < result.error_estimates[0] => Ok(Some(o)),
                        Err(ExactError::Interrupted) => Err(ExactError::Interrupted),
                        _ => Ok(Some(result)),
                    }
                }
                Ok(result) => Ok(Some(result)),
                Err(ExactError::TooFine { .. } | ExactError::NotOnGrid) => Ok(None),
                Err(e) => Err(e),
            }
        }
        Method::Auto | Method::Ci | Method::Gaps => Ok(None),
    }
}

/// Whether a result misses the tolerance by so much that a second attempt is worth its price.
fn far_off(result: &ExactResult, options: &ExactOptions) -> bool {
    result.error_estimates[0] > (100.0 * options.tolerance).max(1e-5)
}

/// The other routes, on the line or not.
fn within_or_on_line(
    hamiltonian: &Hamiltonian,
    geometry: &Geometry,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<ExactResult, ExactError> {
    match geometry {
        Geometry::Line => on_line(hamiltonian, sector, options, watch),
        finite => within(hamiltonian, finite, sector, options, watch),
    }
}

/// The route in gaps, where it applies and the limits allow it.
fn in_gaps(
    hamiltonian: &Hamiltonian,
    geometry: Option<&Geometry>,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<Option<TrapEnergies>, ExactError> {
    let mut problem = Problem::new(hamiltonian, sector, options, watch);
    if options.method == Method::Ci {
        return Ok(None);
    }
    let asked = options.method == Method::Gaps;
    let Some((trap, walls)) = problem.as_trap(geometry)? else {
        return if asked { Err(ExactError::NoGaps) } else { Ok(None) };
    };
    match problem.solve_trap(&trap, walls) {
        Ok(energies) => Ok(Some(energies)),
        Err(e) if asked => Err(e),
        // Too many gaps: the other route may still do.
        Err(ExactError::Memory { .. } | ExactError::Work { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Densities, occupations and labels need the determinants, but not the last digit of the energy.
fn for_densities(hamiltonian: &Hamiltonian, options: &ExactOptions) -> ExactOptions {
    // Where the interaction diverges, sine functions converge so slowly that a tight tolerance would
    // only meet the limits.
    let singular = !finite_at_contact(&hamiltonian.interaction);
    ExactOptions {
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
    progress: &mut dyn FnMut(&Step) -> ControlFlow<()>,
) -> Result<ExactResult, ExactError> {
    crate::parallel::pin_linear_algebra();
    let mut meter = Meter::new(progress, whole_work(options.work_limit));
    on_line(hamiltonian, sector, options, &mut meter)
}

fn on_line(
    hamiltonian: &Hamiltonian,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
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
        return match on_line(hamiltonian, sector, &coarse, watch) {
            Ok(result) => Ok(with_closed_form(result, &form)),
            Err(limit @ (ExactError::Memory { .. } | ExactError::Work { .. })) => {
                Ok(bare_closed_form(sector, &form, limit))
            }
            Err(e) => Err(e),
        };
    }
    if let Some(result) = by_products(hamiltonian, &Geometry::Line, sector, options, watch)? {
        return Ok(result);
    }
    let energies = in_gaps(hamiltonian, None, sector, options, watch)?;
    let limited =
        if energies.is_some() { for_densities(hamiltonian, options) } else { options.clone() };
    let mut problem = Problem::new(hamiltonian, sector, &limited, watch);
    let result = problem.find_walls().and_then(|(half_width, wall_errors)| {
        problem.solve(Geometry::Box { half_width }, wall_errors)
    });
    match energies {
        Some(energies) => energies.with_densities(result, sector, None, options.tolerance),
        None => result,
    }
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

/// The energy and its components from a closed form and nothing else, for want of `limit`.
fn bare_closed_form(sector: Sector, form: &ClosedForm, limit: ExactError) -> ExactResult {
    let rounding = 1e-14 * (1.0 + form.energy.abs());
    ExactResult {
        energies: vec![form.energy],
        error_estimates: vec![rounding],
        error_budget: ErrorBudget { solver: rounding, ..ErrorBudget::default() },
        components: form.components,
        labels: vec![],
        excited_densities: vec![],
        method: format!("closed form: {}", form.source),
        convergence: vec![],
        ground_state: Err(limit),
        sector,
        geometry: None,
        products: 0,
        converged: true,
    }
}

impl Problem<'_> {
    fn solve(&mut self, geometry: Geometry, walls: Vec<f64>) -> Result<ExactResult, ExactError> {
        self.look_closely(&geometry)?;
        if self.sector.particles() <= 2 {
            self.solve_small(geometry, walls)
        } else {
            self.solve_correlated(geometry, walls)
        }
    }
}
