//! The driver: which route a problem takes, and what is made of their results.

use super::calculation::{CHECK_WORK, Calculation, PLOTTED, Setting};
use super::closed_forms::{self, ClosedForm};
use super::dvr::finite_at_contact;
use super::mps;
use super::trap::TrapEnergies;
use super::units::{self, InUnits};
use super::watch::{Allowance, Meter, Watch};
use super::{ErrorBudget, ExactError, ExactOptions, ExactResult, Method, News, whole_work};
use crate::contact;
use crate::system::hamiltonian::recognised;
use crate::system::landscape::Landscape;
use crate::system::{Frame, Geometry, Hamiltonian, Sector, judgement};
use std::ops::ControlFlow;

/// Units of length at most between the region of the particles and walls that are looked for.
const MOST_ROOM: f64 = 56.0;

/// Lowest states of `sector` in the given geometry; on the line walls are moved out until they do not matter.
///
/// # Errors
/// See [`ExactError`]. A limit that is met during refinement is not an error: the result then says
/// so by its error estimate and by `converged == false`. On the line [`ExactError::Unbound`] when the energy keeps falling
/// as the walls recede.
pub fn solve(
    hamiltonian: &Hamiltonian,
    geometry: &Geometry,
    sector: Sector,
    options: &ExactOptions,
    progress: &mut dyn FnMut(&News) -> ControlFlow<()>,
) -> Result<ExactResult, ExactError> {
    crate::parallel::pin_linear_algebra();
    if sector.particles() == 0 {
        return Err(ExactError::EmptySector);
    }
    if options.states == 0 {
        return Err(ExactError::NoStates);
    }
    judgement::ground_state(hamiltonian, geometry, sector)?;
    if contact::matters(hamiltonian, sector) {
        let mut meter = Meter::new(progress, whole_work(options.work_limit));
        return super::contact::solve(hamiltonian, geometry, sector, options, &mut meter);
    }
    let hamiltonian = &contact::without(hamiltonian);
    let (external, interaction) = recognised(hamiltonian);
    let hamiltonian = Hamiltonian { title: hamiltonian.title.clone(), external, interaction };
    let mut meter = Meter::new(progress, whole_work(options.work_limit));
    let mut landscape = Landscape::of(&hamiltonian, geometry, sector);
    if landscape.free && *geometry != Geometry::Line {
        // Walls that are far away, until the state turns out to reach them.
        match in_units(&hamiltonian, geometry, &landscape, sector, options, &mut meter) {
            Err(ExactError::Unbound { .. }) => landscape.free = false,
            found => return found,
        }
    }
    in_units(&hamiltonian, geometry, &landscape, sector, options, &mut meter)
}

/// Lowest states of `sector` on an infinite line: [`solve`] without walls.
///
/// # Errors
/// As [`solve`].
pub fn solve_on_line(
    hamiltonian: &Hamiltonian,
    sector: Sector,
    options: &ExactOptions,
    progress: &mut dyn FnMut(&News) -> ControlFlow<()>,
) -> Result<ExactResult, ExactError> {
    solve(hamiltonian, &Geometry::Line, sector, options, progress)
}

/// Solves in the units of the system.
fn in_units(
    hamiltonian: &Hamiltonian,
    geometry: &Geometry,
    landscape: &Landscape,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<ExactResult, ExactError> {
    let frame = Frame::of(landscape);
    let place = |x: f64| (x - frame.origin) / frame.length;
    let region = (place(landscape.region.0), place(landscape.region.1));
    let mut setting = Setting { region, most: f64::INFINITY, frame };
    setting.most = setting.reach() + MOST_ROOM;
    if let Geometry::Box { half_width } = geometry {
        setting.most = setting.most.min((half_width - frame.origin.abs()) / frame.length);
    }
    let natural = frame.hamiltonian(hamiltonian);
    let options = &ExactOptions { tolerance: tolerance(options, &frame), ..options.clone() };
    let mut news = InUnits { watch, frame, particles: sector.particles() };
    let found = if landscape.free {
        on_line(setting, &natural, sector, options, &mut news)
    } else {
        between_walls(setting, &natural, &frame.geometry(geometry), sector, options, &mut news)
    };
    match found {
        Ok(result) => Ok(units::result(&frame, result)),
        Err(e) => Err(units::error(&frame, e)),
    }
}

/// Tolerance in the units of the system below which nothing is asked for that was not asked for in Hartree.
const ATTAINABLE: f64 = 1e-8;

/// The tolerance in the units of the system: a small system, whose unit of energy is large, is solved as finely as was asked
/// for in Hartree, where rounding leaves so many digits.
fn tolerance(options: &ExactOptions, frame: &Frame) -> f64 {
    let asked = options.tolerance;
    let unit = frame.length * frame.length;
    if unit < 1.0 { (asked * unit).max(asked.min(ATTAINABLE)) } else { asked }
}

fn between_walls(
    setting: Setting,
    hamiltonian: &Hamiltonian,
    geometry: &Geometry,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<ExactResult, ExactError> {
    let products = by_products(setting, hamiltonian, geometry, sector, options, watch)?;
    if let Some(result) = products {
        return Ok(result);
    }
    let apart = match options.method {
        Method::Auto => {
            Calculation::new(setting, hamiltonian, sector, options, watch).apart(Some(geometry))?
        }
        _ => None,
    };
    let separates = apart.is_some();
    let energies = match apart {
        Some(apart) => Some(apart.energies),
        None => in_gaps(setting, hamiltonian, Some(geometry), sector, options, watch)?,
    };
    if let Some(energies) = energies {
        let limited = for_densities(hamiltonian, options, separates, &energies);
        let densities = beside(&energies, &limited, watch, |limited, watch| {
            Calculation::new(setting, hamiltonian, sector, limited, watch)
                .solve(*geometry, vec![0.0; limited.states])
        });
        return energies.with_densities(
            densities,
            &setting,
            sector,
            Some(*geometry),
            options.tolerance,
        );
    }
    let mut problem = Calculation::new(setting, hamiltonian, sector, options, watch);
    let found = problem.solve(*geometry, vec![0.0; options.states]);
    with_elements(found, setting, hamiltonian, Some(geometry), sector, options, watch)
}

/// What sine functions find, or elements where they find nothing or not enough.
fn with_elements(
    found: Result<ExactResult, ExactError>,
    setting: Setting,
    hamiltonian: &Hamiltonian,
    geometry: Option<&Geometry>,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<ExactResult, ExactError> {
    if found.as_ref().is_ok_and(|r| r.converged) {
        return found;
    }
    let mut problem = Calculation::new(setting, hamiltonian, sector, options, watch);
    let in_elements = if sector.particles() > MOST_IN_GAPS_FIRST && options.method == Method::Auto {
        match problem.as_mixed(geometry) {
            Ok(Some(mixed)) => problem.solve_mixed(&mixed),
            other => other.map(|_| None),
        }
    } else {
        problem.pair_in_elements(geometry)
    };
    match in_elements {
        Ok(Some(energies)) => {
            energies.with_densities(found, &setting, sector, geometry.copied(), options.tolerance)
        }
        Err(ExactError::Interrupted) => Err(ExactError::Interrupted),
        // Whatever kept them from it, the other route has said what there is to say.
        _ => found,
    }
}

/// Particles from which matrix product states are the cheaper route.
const MANY: usize = 5;
/// Most particles that determinants are worth trying for after them.
const FEW: usize = 6;

/// Matrix product states, where they are asked for or the cheaper route.
fn by_products(
    setting: Setting,
    hamiltonian: &Hamiltonian,
    geometry: &Geometry,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<Option<ExactResult>, ExactError> {
    match options.method {
        Method::Mps => mps::solve(setting, hamiltonian, geometry, sector, options, watch).map(Some),
        Method::Auto if sector.particles() >= MANY && mps::applies(&hamiltonian.interaction) => {
            match mps::solve(setting, hamiltonian, geometry, sector, options, watch) {
                // Far from what was asked for, another basis may do better than a uniform grid.
                Ok(result) if sector.particles() <= FEW && far_off(&result, options) => {
                    let other = ExactOptions { method: Method::Ci, ..options.clone() };
                    match within_or_on_line(setting, hamiltonian, geometry, sector, &other, watch) {
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
    setting: Setting,
    hamiltonian: &Hamiltonian,
    geometry: &Geometry,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<ExactResult, ExactError> {
    match geometry {
        Geometry::Line => on_line(setting, hamiltonian, sector, options, watch),
        finite => between_walls(setting, hamiltonian, finite, sector, options, watch),
    }
}

/// Particles of both spins at most for which glued gaps are the cheaper route whatever the interaction.
const MOST_IN_GAPS_FIRST: usize = 3;

/// The route in gaps, where it applies and the limits allow it.
fn in_gaps(
    setting: Setting,
    hamiltonian: &Hamiltonian,
    geometry: Option<&Geometry>,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<Option<TrapEnergies>, ExactError> {
    let mut problem = Calculation::new(setting, hamiltonian, sector, options, watch);
    if options.method == Method::Ci {
        return Ok(None);
    }
    let asked = options.method == Method::Gaps;
    let Some((trap, walls)) = problem.as_trap(geometry)? else {
        let first = asked || sector.particles() <= MOST_IN_GAPS_FIRST;
        let mixed = match problem.as_mixed(geometry)? {
            Some(mixed) if first => problem.solve_mixed(&mixed)?,
            _ => None,
        };
        return if asked && mixed.is_none() { Err(ExactError::NoGaps) } else { Ok(mixed) };
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
fn for_densities(
    hamiltonian: &Hamiltonian,
    options: &ExactOptions,
    separates: bool,
    energies: &TrapEnergies,
) -> ExactOptions {
    // Where the interaction diverges, sine functions converge so slowly that a tight tolerance would
    // only meet the limits.
    let known = energies.worst() <= options.tolerance;
    let least = if !finite_at_contact(&hamiltonian.interaction) {
        PLOTTED
    } else if known {
        CONFIRMING
    } else {
        0.0
    };
    ExactOptions {
        tolerance: options.tolerance.max(least),
        // Where the energies cost nothing, the densities shall not cost minutes.
        work_limit: options.work_limit.min(if separates || known { 1.0 } else { 5.0 } * CHECK_WORK),
        closed_forms: false,
        ..options.clone()
    }
}

/// What determinants add to `energies`: where these come with a density, a little work shows whether determinants are any good.
fn beside(
    energies: &TrapEnergies,
    options: &ExactOptions,
    watch: &mut dyn Watch,
    mut solve: impl FnMut(&ExactOptions, &mut dyn Watch) -> Result<ExactResult, ExactError>,
) -> Result<ExactResult, ExactError> {
    match energies.density {
        Some(_) => solve(options, &mut Allowance { watch, left: 4.0 * CHECK_WORK }),
        None => of_as_many_as_fit(options, watch, solve),
    }
}

/// Densities of all states, or of the ground state to plotting accuracy where the limits leave no more.
fn of_as_many_as_fit(
    options: &ExactOptions,
    watch: &mut dyn Watch,
    mut solve: impl FnMut(&ExactOptions, &mut dyn Watch) -> Result<ExactResult, ExactError>,
) -> Result<ExactResult, ExactError> {
    match solve(options, watch) {
        Err(limit @ (ExactError::Memory { .. } | ExactError::Work { .. })) => {
            let tolerance = options.tolerance.max(PLOTTED);
            let fewer = ExactOptions { states: 1, tolerance, ..options.clone() };
            // What all states took says nothing of the one: it may cost what it would have cost alone.
            let left = match options.states {
                1 => 2.0 * options.work_limit.min(CHECK_WORK),
                _ => whole_work(options.work_limit),
            };
            match solve(&fewer, &mut Allowance { watch, left }) {
                Err(ExactError::Interrupted) => Err(ExactError::Interrupted),
                found => found.map_err(|_| limit),
            }
        }
        found => found,
    }
}

/// Error of an energy that needs no more than to be confirmed.
const CONFIRMING: f64 = 1e-7;

fn on_line(
    setting: Setting,
    hamiltonian: &Hamiltonian,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<ExactResult, ExactError> {
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
        return match on_line(setting, hamiltonian, sector, &coarse, watch) {
            Ok(result) => Ok(with_closed_form(result, &form, &setting)),
            Err(limit @ (ExactError::Memory { .. } | ExactError::Work { .. })) => {
                Ok(bare_closed_form(sector, &form, limit))
            }
            Err(e) => Err(e),
        };
    }
    let products = by_products(setting, hamiltonian, &Geometry::Line, sector, options, watch)?;
    if let Some(result) = products {
        return Ok(result);
    }
    let apart = match options.method {
        Method::Auto => {
            Calculation::new(setting, hamiltonian, sector, options, watch).apart(None)?
        }
        _ => None,
    };
    let (energies, half_width) = match apart {
        Some(apart) => (Some(apart.energies), Some(apart.half_width)),
        None => (in_gaps(setting, hamiltonian, None, sector, options, watch)?, None),
    };
    let determinants = |options: &ExactOptions, watch: &mut dyn Watch| {
        let mut problem = Calculation::new(setting, hamiltonian, sector, options, watch);
        let (half_width, walls) = match half_width {
            Some(half_width) => (half_width, vec![0.0; options.states]),
            None => problem.find_walls()?,
        };
        problem.solve(Geometry::Box { half_width }, walls)
    };
    let result = match &energies {
        Some(energies) => {
            let separates = half_width.is_some();
            let limited = for_densities(hamiltonian, options, separates, energies);
            beside(energies, &limited, watch, determinants)
        }
        None => determinants(options, watch),
    };
    match energies {
        Some(energies) => {
            energies.with_densities(result, &setting, sector, None, options.tolerance)
        }
        None => with_elements(result, setting, hamiltonian, None, sector, options, watch),
    }
}

/// The energy and its components from a closed form, everything else from a coarse calculation. Where the two
/// contradict each other neither counts for more than their distance.
fn with_closed_form(mut result: ExactResult, form: &ClosedForm, setting: &Setting) -> ExactResult {
    let particles = result.sector.particles();
    let apart = (result.energies[0] - form.energy).abs();
    if apart > 4.0 * result.error_estimates[0] + 1e-9 * (1.0 + form.energy.abs()) {
        let exact = setting.shown(form.energy, 0.0, particles);
        result.method =
            format!("{} (contradicts the closed form {exact}: {})", result.method, form.source);
        result.error_budget.functions += apart;
        result.error_estimates[0] += apart;
        result.converged = false;
        return result;
    }
    let rounding = 1e-14 * (1.0 + form.energy.abs());
    let numerical = setting.shown(result.energies[0], result.error_estimates[0], particles);
    result.method = format!(
        "closed form: {} (numerically {numerical}; densities and occupations: {})",
        form.source, result.method
    );
    result.energies = vec![form.energy];
    result.error_estimates = vec![rounding];
    result.error_budget = ErrorBudget { solver: rounding, ..ErrorBudget::default() };
    result.components = form.components;
    result.converged = true;
    result
}

/// The energy and its components from a closed form and nothing else, for want of `limit`.
pub(super) fn bare_closed_form(
    sector: Sector,
    form: &ClosedForm,
    limit: ExactError,
) -> ExactResult {
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
        centre: 0.0,
        products: 0,
        converged: true,
    }
}

impl Calculation<'_> {
    fn solve(&mut self, geometry: Geometry, walls: Vec<f64>) -> Result<ExactResult, ExactError> {
        self.look_closely(&geometry)?;
        if self.sector.particles() <= 2 {
            self.solve_small(geometry, walls)
        } else {
            self.solve_correlated(geometry, walls)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{External, Interaction};

    /// Numbers that disagree with a formula are believed no more than the formula.
    #[test]
    fn a_closed_form_that_numbers_contradict_is_none() {
        let hamiltonian = Hamiltonian {
            title: String::new(),
            external: External::Harmonic { frequency: 1.0 },
            interaction: Interaction::None,
        };
        let sector = Sector::new(1, 0);
        let options = ExactOptions { closed_forms: false, ..ExactOptions::default() };
        let go_on = &mut |_: &News| ControlFlow::Continue(());
        let numbers = solve_on_line(&hamiltonian, sector, &options, go_on).unwrap();
        let landscape = Landscape::of(&hamiltonian, &Geometry::Line, sector);
        let frame = Frame::of(&landscape);
        let setting = Setting { region: landscape.region, most: f64::INFINITY, frame };
        let joined = |energy: f64| {
            let form = ClosedForm::new("a formula", energy, 0.5 * energy, 0.0);
            with_closed_form(numbers.clone(), &form, &setting)
        };
        let right = joined(0.5);
        assert!(right.converged && right.energies == [0.5], "{}", right.method);
        assert!(right.method.starts_with("closed form: a formula"));
        let wrong = joined(0.6);
        assert!(!wrong.converged && wrong.method.contains("contradicts the closed form"));
        assert!((wrong.energies[0] - 0.5).abs() < 1e-7);
        assert!(wrong.error_estimates[0] >= 0.1 - 1e-6, "{:?}", wrong.error_estimates);
    }
}
