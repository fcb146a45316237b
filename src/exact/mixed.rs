//! Few particles of both spins in a harmonic trap whose interaction is steep: gaps in spectral elements, glued where
//! different spins meet.

use super::calculation::Calculation;
use super::davidson::DavidsonOptions;
use super::gaps::{Field, GapBasis, Trap};
use super::glued::{Functions, Glued, GluedLevel, cost};
use super::trap::{FURTHER, InElements, POLYNOMIALS, Refined, TrapEnergies, with_centre_of_mass};
use super::{Components, Density, ErrorBudget, ExactError};
use crate::contact::{Gas, Space, orders};
use crate::system::{External, Geometry, Interaction};

/// Particles at most: beyond, one-body functions are cheaper, whatever the interaction.
const MOST_GLUED: usize = 4;
/// Products with the Hamiltonian that one state takes, for predictions of work.
const PRODUCTS: f64 = 40.0;

/// A trap with both spins, and what hard walls cost.
pub(super) struct Mixed {
    gas: Gas,
    frequency: f64,
    walls: f64,
}

impl Calculation<'_> {
    /// The problem as one of glued gaps, if it is one.
    pub(super) fn as_mixed(
        &mut self,
        geometry: Option<&Geometry>,
    ) -> Result<Option<Mixed>, ExactError> {
        let n = self.sector.particles();
        let counts: Vec<usize> = self.sector.spins().map(|s| s.len()).collect();
        let External::Harmonic { frequency } = self.hamiltonian.external else { return Ok(None) };
        let rest = self.hamiltonian.interaction.clone();
        if counts.len() != 2
            || !(3..=MOST_GLUED).contains(&n)
            || rest == Interaction::None
            || !rest.value(0.0).is_finite()
        {
            return Ok(None);
        }
        let Some(walls) = self.walls_of_trap(frequency, geometry)? else { return Ok(None) };
        let gas = Gas { counts, space: Space::Trap { frequency }, strength: 0.0, rest };
        Ok(Some(Mixed { gas: gas.in_units().0, frequency, walls }))
    }

    /// Lowest states in the trap. `None` where the elements are too many for the limits.
    pub(super) fn solve_mixed(
        &mut self,
        mixed: &Mixed,
    ) -> Result<Option<TrapEnergies>, ExactError> {
        let Mixed { gas, frequency, walls } = mixed;
        let (states, tolerance) = (self.options.states, self.options.tolerance / frequency);
        let gaps = gas.particles() - 1;
        // Equal spins tell how far apart neighbours are, closely enough for where elements begin and end.
        let Some(trap) = Trap::new(1.0, gas.rest.clone(), gas.particles()) else { return Ok(None) };
        let field = Field::new(&trap, POLYNOMIALS - 8)?;
        let found =
            (GapBasis::edges(&trap, &field, 1.0)?, GapBasis::edges(&trap, &field, FURTHER)?);
        let (Some(edges), Some(wide)) = found else { return Ok(None) };
        let combined = |level: &GluedLevel| -> Vec<f64> {
            let sums = with_centre_of_mass(&level.pairs.values, 1.0, states);
            sums.into_iter().map(|s| s.0).collect()
        };
        let asked = Refined { unit: *frequency, tolerance, missing: 0, most: usize::MAX };
        let refined =
            self.refine_elements(&asked, &edges, &wide, |problem, edges, degree, before| {
                let (glued, level) = problem.glued_level(gas, edges, degree, before)?;
                let energies = combined(&level);
                let m = ((edges.len() - 1) * degree) as f64;
                let determinants = (orders::count(&gas.counts) * m.powi(gaps as i32)) as u64;
                Ok(((glued, level), energies, determinants))
            })?;
        let Some(InElements { level: (glued, level), functions: m, sequence, moved }) = refined
        else {
            return Ok(None);
        };
        let sums = with_centre_of_mass(&level.pairs.values, 1.0, states);
        let budget = |(k, &(energy, j)): (usize, &(f64, usize))| ErrorBudget {
            functions: frequency * sequence.estimate(k),
            walls: walls + 2.0 * frequency * moved[k],
            solver: frequency * (level.pairs.value_errors[j] + 1e-10 * (1.0 + energy.abs())),
            ..ErrorBudget::default()
        };
        let budgets = sums.iter().enumerate().map(budget).collect();
        // The centre of mass is in its lowest level: half its energy is potential.
        let (external, interaction) = (level.external + 0.25, level.rest);
        let kinetic = sums[0].0 - external - interaction;
        let (x, by_spin) = glued.density(gas, &level);
        let [up, down] = [0, 1]
            .map(|c: usize| by_spin[c].iter().map(|n| n * frequency.sqrt()).collect::<Vec<f64>>());
        let x = x.into_iter().map(|x| x / frequency.sqrt()).collect();
        Ok(Some(TrapEnergies {
            energies: sums.iter().map(|s| s.0 * frequency).collect(),
            budgets,
            components: Components {
                kinetic: kinetic * frequency,
                external: external * frequency,
                interaction: interaction * frequency,
            },
            method: format!(
                "centre of mass apart, {m} functions of {} spectral elements in each of {gaps} gaps for every order of the \
                 spins, Davidson",
                edges.len() - 1
            ),
            density: Some(Density { x, up, down }),
            table: std::mem::take(&mut self.table),
            products: self.products,
        }))
    }

    fn glued_level(
        &mut self,
        gas: &Gas,
        edges: &[f64],
        degree: usize,
        guess: Option<&(Glued, GluedLevel)>,
    ) -> Result<(Glued, GluedLevel), ExactError> {
        let states = self.options.states;
        let (n, q) = ((edges.len() - 1) * degree, (edges.len() - 1) * (degree + 1));
        let (gaps, count) = (gas.particles() - 1, orders::count(&gas.counts));
        let dimension = count * (n as f64).powi(gaps as i32);
        let options = DavidsonOptions {
            guards: if states == 1 { 4 } else { 12 },
            ..self.davidson(dimension as u64, true)
        };
        let (flops, bytes) = cost(count, gaps, n, q, options.subspace);
        self.check(dimension as u64, bytes as u64, flops * PRODUCTS * states as f64)?;
        let glued = Glued::new(gas, &Functions::elements(edges, degree))?;
        let guess = guess.map(|(glued, level)| (glued, level));
        let level = glued.solve(&options, guess, self.watch)?;
        self.products += level.pairs.products;
        Ok((glued, level))
    }
}

#[cfg(test)]
mod tests {
    use crate::exact::{ExactOptions, ExactResult, News, solve};
    use crate::system::{External, Geometry, Hamiltonian, Sector};
    use std::ops::ControlFlow;

    fn found(frequency: f64, interaction: &str, (up, down): (usize, usize)) -> ExactResult {
        let hamiltonian = Hamiltonian {
            title: String::new(),
            external: External::Harmonic { frequency },
            interaction: ron::from_str(interaction).unwrap(),
        };
        let go = &mut |_: &News| ControlFlow::Continue(());
        let sector = Sector::new(up, down);
        let options = ExactOptions { tolerance: 1e-7, ..ExactOptions::default() };
        solve(&hamiltonian, &Geometry::Line, sector, &options, go).unwrap()
    }

    /// Of each spin the density counts particles, and both together give the energy in the trap.
    fn check_density(found: &ExactResult, frequency: f64) {
        let density = &found.ground_state.as_ref().unwrap().density;
        let h = density.x[1] - density.x[0];
        let sum = |of: &[f64]| h * of.iter().sum::<f64>();
        assert!((sum(&density.up) - found.sector.up as f64).abs() < 1e-6);
        assert!((sum(&density.down) - found.sector.down as f64).abs() < 1e-6);
        let terms = density.x.iter().zip(density.up.iter().zip(&density.down));
        let square: f64 = terms.map(|(x, (u, d))| h * x * x * (u + d)).sum();
        let external = 0.5 * frequency * frequency * square;
        assert!((external - found.components.external).abs() < 1e-5 * (1.0 + external));
    }

    /// Another program's full configuration interaction.
    #[test]
    fn a_soft_interaction_is_that_of_another_method() {
        let found = found(1.0, "SoftCoulomb()", (2, 1));
        let (e, error) = (found.energies[0], found.error_estimates[0]);
        assert!((e - 4.480_534_441_6).abs() < error + 2e-10, "{e} +- {error:e}");
        assert!(error < 1e-7, "{error:e}");
    }

    /// Particles that cannot pass each other have the energy of equal spins, less a little exchange, and the state of lowest
    /// spin is the lowest (E. Lieb, D. Mattis, Phys. Rev. 125, 164 (1962)).
    #[test]
    fn what_hardly_exchanges_is_just_below_equal_spins() {
        let w = "SoftCoulomb(strength: 20, softening: 0.3)";
        let (mixed, equal) = (found(1.0, w, (2, 1)), found(1.0, w, (3, 0)));
        let below = equal.energies[0] - mixed.energies[0];
        let errors = equal.error_estimates[0] + mixed.error_estimates[0];
        assert!(errors < 3e-6, "{errors:e}");
        assert!(below > -errors && below < 1e-5, "{below:e} {errors:e}");
        check_density(&mixed, 1.0);
    }

    /// What this route itself gives at four times the lengths with a tenth of the tolerance: determinants only bound it from above.
    #[test]
    fn cores_that_one_body_functions_do_not_resolve() {
        let found = found(16.0, "Gaussian(strength: 1600, width: 0.0125)", (1, 2));
        assert!((found.energies[0] / 16.0 - 4.310_297_01).abs() < 1e-7, "{:?}", found.energies);
        check_density(&found, 16.0);
    }

    /// The order in which a gap is free to close is far below the others; this is what the route gives with a hundredth of the
    /// tolerance.
    #[test]
    fn attraction_that_is_deep_and_narrow() {
        let found = found(1.0, "Gaussian(strength: -30, width: 0.2)", (2, 1));
        let (e, error) = (found.energies[0], found.error_estimates[0]);
        assert!((e + 23.930_560_389).abs() < error + 1e-9, "{e} +- {error:e}");
        assert!(error < 1e-6, "{error:e}");
    }
}
