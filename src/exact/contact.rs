//! The route of contact interactions: closed forms, glued gaps in a trap, polynomials in every order elsewhere.

use super::bethe;
use super::closed_forms::ClosedForm;
use super::davidson::DavidsonOptions;
use super::glued::{EXTRA_POINTS, Functions, Glued, GluedLevel, cost};
use super::refine::Sequence;
use super::trap::with_centre_of_mass;
use super::watch::Watch;
use super::{
    Components, ConvergenceRow, ErrorBudget, ExactError, ExactOptions, ExactResult, Method, News,
    Refinement,
};
use crate::contact::base::Base;
use crate::contact::orders;
use crate::contact::{Gas, Space};
use crate::system::{Geometry, Hamiltonian, Interaction, Sector};

/// Functions per gap at first and at most.
const FIRST: usize = 6;
const MOST: usize = 40;
/// Products with the Hamiltonian that one state takes, for predictions of work.
const PRODUCTS: f64 = 60.0;
/// Points beyond [`EXTRA_POINTS`] where the potential is no polynomial, and for the check of that.
const SMOOTH_POINTS: usize = 10;

/// Lowest states of a gas with contact interactions.
pub(super) fn solve(
    hamiltonian: &Hamiltonian,
    geometry: &Geometry,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<ExactResult, ExactError> {
    if matches!(options.method, Method::Ci | Method::Mps) {
        return Err(ExactError::ContactMethod);
    }
    let gas = Gas::new(hamiltonian, geometry, sector)?;
    let form =
        (options.states == 1 && options.closed_forms).then(|| bethe::ground_state(&gas)).flatten();
    let numerical = match &form {
        // A second opinion is enough.
        Some(_) => {
            let coarse = ExactOptions {
                tolerance: options.tolerance.max(1e-6),
                work_limit: options.work_limit.min(4e10),
                ..options.clone()
            };
            numerically(&gas, sector, &coarse, watch)
        }
        None => numerically(&gas, sector, options, watch),
    };
    match (form, numerical) {
        (_, Err(ExactError::Interrupted)) => Err(ExactError::Interrupted),
        (Some(form), Ok(result)) => Ok(with_closed_form(result, &form)),
        (Some(form), Err(limit)) => Ok(super::solve::bare_closed_form(sector, &form, limit)),
        (None, found) => found,
    }
}

fn numerically(
    gas: &Gas,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<ExactResult, ExactError> {
    match gas.space {
        Space::Trap { frequency } => {
            let (own, length) = gas.in_units();
            let unit = length * length;
            let options =
                &ExactOptions { tolerance: options.tolerance * unit.min(1.0), ..options.clone() };
            let mut found = in_trap(&own, sector, options, watch)?;
            found.energies.iter_mut().for_each(|e| *e *= frequency);
            found.error_estimates.iter_mut().for_each(|e| *e *= frequency);
            for part in found.error_budget.parts() {
                *part *= frequency;
            }
            let Components { kinetic, external, interaction } = &mut found.components;
            [kinetic, external, interaction].into_iter().for_each(|e| *e *= frequency);
            for row in &mut found.convergence {
                row.energy *= frequency;
                row.change = row.change.map(|c| c * frequency);
                row.length *= length;
            }
            Ok(found)
        }
        Space::Ring { .. } | Space::Walls { .. } => in_cells(gas, sector, options, watch),
    }
}

/// The energy of a closed form, with the numerical one as evidence.
fn with_closed_form(mut result: ExactResult, form: &ClosedForm) -> ExactResult {
    let apart = (result.energies[0] - form.energy).abs();
    let numerical = format!("{:.10} +- {:.0e}", result.energies[0], result.error_estimates[0]);
    if apart > 4.0 * result.error_estimates[0] + 1e-9 * (1.0 + form.energy.abs()) {
        result.method = format!(
            "{} (contradicts the closed form {:.10}: {})",
            result.method, form.energy, form.source
        );
        result.error_budget.functions += apart;
        result.error_estimates[0] += apart;
        result.converged = false;
        return result;
    }
    let rounding = 1e-12 * (1.0 + form.energy.abs());
    result.method =
        format!("closed form: {} (numerically {numerical}: {})", form.source, result.method);
    result.energies = vec![form.energy];
    result.error_estimates = vec![rounding];
    result.error_budget = ErrorBudget { solver: rounding, ..ErrorBudget::default() };
    result.components = form.components;
    result.converged = true;
    result
}

/// Degree of the polynomials at most, and what it grows by.
const MOST_DEGREE: usize = 48;
const DEGREES: usize = 2;

/// On a ring and between walls: polynomials of all gaps in every order, with the cusp.
fn in_cells(
    gas: &Gas,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<ExactResult, ExactError> {
    let states = options.states;
    if states > 1 {
        // Functions are shared by symmetry, which excited states need not have.
        return Err(ExactError::ContactStates);
    }
    let mut table = Vec::new();
    let mut sequence = Sequence::default();
    let mut best: Option<Base> = None;
    let mut spent = 0.0;
    let mut degree = gas.particles() + 4;
    while degree <= MOST_DEGREE {
        let size = Base::dimension(gas, degree);
        let (work, bytes) = Base::cost(gas, degree);
        let enough = sequence.has_ratio();
        if enough
            && (spent + work > 0.7 * options.work_limit
                || bytes > options.memory_limit_bytes as f64)
        {
            break;
        }
        watch.tell(&News::Predicted { determinants: size as u64, bytes: bytes as u64, work });
        if bytes > options.memory_limit_bytes as f64 {
            let (needed, limit) = (bytes as u64, options.memory_limit_bytes);
            return Err(ExactError::Memory { needed, limit });
        }
        if work > options.work_limit {
            return Err(ExactError::Work { needed: work, limit: options.work_limit });
        }
        match watch.spend(work) {
            Err(ExactError::Work { .. }) if enough => break,
            asked => asked?,
        }
        let base = Base::new(gas, degree, states)?;
        spent += work;
        sequence.push(&base.energies);
        let row = ConvergenceRow {
            refinement: Refinement::Functions,
            length: base.cells[0].length.unwrap_or(0.0),
            functions: degree,
            cells: base.cells.len(),
            orbitals: 0,
            determinants: size as u64,
            energy: base.energies[0],
            change: sequence.change(),
            discarded: None,
        };
        watch.tell(&News::Row(row.clone()));
        table.push(row);
        best = Some(base);
        if sequence.has_ratio() && sequence.worst() < 0.4 * options.tolerance {
            break;
        }
        degree += DEGREES;
    }
    let Some(base) = best else { return Err(ExactError::ContactDensities) };
    let energy = base.energies[0];
    let budget = ErrorBudget {
        functions: 2.0 * sequence.estimate(0),
        solver: 1e-10 * (1.0 + energy.abs()),
        ..ErrorBudget::default()
    };
    let contact = if gas.strength.is_finite() { gas.strength * base.contact } else { 0.0 };
    let (external, rest) = base.potentials()?;
    let interaction = contact + rest;
    Ok(ExactResult {
        converged: budget.total() <= options.tolerance,
        energies: vec![energy],
        error_estimates: vec![budget.total()],
        error_budget: budget,
        components: Components { kinetic: energy - external - interaction, external, interaction },
        labels: vec![],
        excited_densities: vec![],
        method: format!(
            "functions of every order: polynomials of degree {} of the gaps in {} orders, with the cusp of a contact \
             where different components meet",
            table.last().map_or(0, |r| r.functions),
            base.orders.all.len(),
        ),
        convergence: table,
        ground_state: Err(ExactError::ContactDensities),
        sector,
        geometry: None,
        centre: 0.0,
        products: 0,
    })
}

/// In units of the trap.
fn in_trap(
    gas: &Gas,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<ExactResult, ExactError> {
    let gaps = gas.particles() - 1;
    let count = orders::count(&gas.counts);
    let states = options.states;
    let smooth = gas.rest != Interaction::None;
    let extra = if smooth { SMOOTH_POINTS } else { EXTRA_POINTS };
    let davidson = |size: usize| DavidsonOptions {
        states,
        guards: if states == 1 { 4 } else { 12 },
        probe: false,
        residual: (options.tolerance * 100.0).clamp(1e-8, 2e-6),
        value_error: 0.05 * options.tolerance,
        passes: 300,
        subspace: if size > 200_000 { 16 + 3 * states } else { 28 + 4 * states },
    };
    let combined = |level: &GluedLevel| -> Vec<f64> {
        let sums = with_centre_of_mass(&level.pairs.values, 1.0, states);
        sums.into_iter().map(|s| s.0).collect()
    };
    let mut table = Vec::new();
    let mut sequence = Sequence::default();
    let mut best: Option<(Glued, GluedLevel)> = None;
    let (mut products, mut spent) = (0, 0.0);
    let mut n = FIRST;
    while n <= MOST {
        let subspace = davidson(0).subspace;
        let (flops, bytes) = cost(count, gaps, n, n + extra, subspace);
        let work = flops * PRODUCTS * states as f64;
        let elements = count * (n as f64).powi(gaps as i32);
        let enough = sequence.has_ratio();
        if enough && spent + work > 0.7 * options.work_limit {
            break;
        }
        let fits = bytes <= options.memory_limit_bytes as f64 && elements < 2e9;
        if enough && !fits {
            break;
        }
        watch.tell(&News::Predicted { determinants: elements as u64, bytes: bytes as u64, work });
        if !fits {
            let (needed, limit) = (bytes as u64, options.memory_limit_bytes);
            return Err(ExactError::Memory { needed, limit });
        }
        if work > options.work_limit {
            return Err(ExactError::Work { needed: work, limit: options.work_limit });
        }
        let glued = Glued::new(gas, &Functions::polynomials(n, extra)?)?;
        let found = {
            let guess = best.as_ref().map(|(glued, level)| (glued, level));
            glued.solve(&davidson(glued.dimension()), guess, watch)
        };
        let level = match found {
            Ok(level) => level,
            Err(ExactError::Work { .. }) if enough => break,
            Err(e) => return Err(e),
        };
        spent += work;
        products += level.pairs.products;
        let energies = combined(&level);
        sequence.push(&energies);
        let row = ConvergenceRow {
            refinement: Refinement::Functions,
            length: 0.0,
            functions: n,
            cells: n + extra,
            orbitals: 0,
            determinants: glued.dimension() as u64,
            energy: energies[0],
            change: sequence.change(),
            discarded: None,
        };
        watch.tell(&News::Row(row.clone()));
        table.push(row);
        best = Some((glued, level));
        if sequence.has_ratio() && sequence.worst() < 0.4 * options.tolerance {
            break;
        }
        n += 2;
    }
    let Some((_, level)) = best else { unreachable!("the first level fails or is kept") };
    let energies = combined(&level);
    // More points where the potential is no polynomial, at a size that costs little.
    let mut quadrature = vec![0.0; states];
    if smooth {
        let size = table.last().map_or(FIRST, |r| r.functions).min(10);
        let mut at = |extra: usize| -> Result<Vec<f64>, ExactError> {
            let glued = Glued::new(gas, &Functions::polynomials(size, extra)?)?;
            let level = glued.solve(&davidson(glued.dimension()), None, watch)?;
            products += level.pairs.products;
            Ok(combined(&level))
        };
        let (coarse, fine) = (at(extra)?, at(extra + SMOOTH_POINTS)?);
        quadrature = coarse.iter().zip(&fine).map(|(a, b)| 2.0 * (a - b).abs()).collect();
    }
    let sums = with_centre_of_mass(&level.pairs.values, 1.0, states);
    let budgets: Vec<ErrorBudget> = sums
        .iter()
        .enumerate()
        .map(|(k, &(energy, j))| ErrorBudget {
            functions: 2.0 * sequence.estimate(k),
            quadrature: quadrature[k],
            solver: level.pairs.value_errors[j] + 2e-11 * (1.0 + energy.abs()),
            ..ErrorBudget::default()
        })
        .collect();
    let external = level.external + 0.25;
    let interaction =
        level.rest + if gas.strength.is_finite() { gas.strength * level.contact } else { 0.0 };
    let error_estimates: Vec<f64> = budgets.iter().map(ErrorBudget::total).collect();
    Ok(ExactResult {
        converged: error_estimates.iter().all(|e| *e <= options.tolerance),
        error_estimates,
        error_budget: budgets[0],
        components: Components {
            kinetic: energies[0] - external - interaction,
            external,
            interaction,
        },
        energies,
        labels: vec![],
        excited_densities: vec![],
        method: format!(
            "functions of every order: centre of mass apart, {} functions in each of {gaps} gaps for {count} orders, glued \
             where different components meet, Davidson",
            table.last().map_or(0, |r| r.functions),
        ),
        convergence: table,
        ground_state: Err(ExactError::ContactDensities),
        sector,
        geometry: None,
        centre: 0.0,
        products,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::solve;
    use crate::system::External;
    use std::ops::ControlFlow;

    fn energy(
        frequency: f64,
        interaction: &str,
        (up, down): (usize, usize),
        states: usize,
    ) -> ExactResult {
        let hamiltonian = Hamiltonian {
            title: String::new(),
            external: External::Harmonic { frequency },
            interaction: ron::from_str(interaction).unwrap(),
        };
        let options = ExactOptions { states, closed_forms: false, ..ExactOptions::default() };
        let sector = Sector::new(up, down);
        let go = &mut |_: &News| ControlFlow::Continue(());
        solve(&hamiltonian, &Geometry::Line, sector, &options, go).unwrap()
    }

    /// Against T. Busch's pair and another program's glued gaps, and within the printed estimate.
    #[test]
    fn energies_in_a_trap_are_those_of_others() {
        for (sector, g, expected, known_to) in [
            ((1, 1), -5.0, -5.730212839936861, 1e-11),
            ((1, 1), 50.0, 1.9684211428880638, 1e-11),
            ((2, 1), -1.0, 1.769209469341, 2e-11),
            ((1, 2), 10.0, 4.126163463057, 2e-11),
            ((2, 2), 10.0, 7.171311381028, 2e-9),
            ((3, 1), 1.0, 5.638213335065, 1e-9),
        ] {
            let found = energy(1.0, &format!("Contact(strength: {g:?})"), sector, 1);
            let (e, error) = (found.energies[0], found.error_estimates[0]);
            assert!((e - expected).abs() <= error + known_to, "{sector:?} {g}: {e} +- {error}");
            assert!(error < 2e-8, "{sector:?} {g}: {error}");
            // Virial theorem.
            let Components { kinetic, external, interaction } = found.components;
            assert!((2.0 * kinetic - 2.0 * external + interaction).abs() < 1e-5);
        }
    }

    #[test]
    fn other_units_sums_and_equal_spins() {
        let one = energy(1.0, "Contact(strength: 1.5)", (2, 1), 2);
        let four = energy(4.0, "Contact(strength: 3)", (2, 1), 2);
        for (a, b) in one.energies.iter().zip(&four.energies) {
            assert!((4.0 * a - b).abs() < 1e-8);
        }
        // The centre of mass by itself is one of the states.
        let sum = energy(1.0, "Sum([Contact(strength: 1e-9), SoftCoulomb()])", (2, 1), 1);
        assert!((sum.energies[0] - 4.4805344416).abs() < 2e-8, "{:?}", sum.energies);
        let equal = energy(1.0, "Contact(strength: 7)", (3, 0), 1);
        assert!((equal.energies[0] - 4.5).abs() < 1e-8);
    }
}
