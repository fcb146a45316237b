//! Refinement of the route in gaps, and how its energies join the densities of the other route.

use super::calculation::{Calculation, PLOTTED, Setting};
use super::gaps::{self, Field, GapBasis, GapLevel, Trap};
use super::refine::Sequence;
use super::{
    Components, ConvergenceRow, Density, ErrorBudget, ExactError, ExactResult, GroundState,
    Refinement,
};
use crate::system::{External, Geometry, Sector};

/// Polynomials that resolve the function of one gap in the mean field.
pub(super) const POLYNOMIALS: usize = 56;
/// Largest number of functions per gap.
const MOST_PER_GAP: usize = 40;
/// Products with the Hamiltonian that one state takes, for predictions of work.
const PRODUCTS: f64 = 35.0;
/// How far a check moves the end of the functions out.
pub(super) const FURTHER: f64 = 1.12;

/// Particles at most whose gaps are solved in spectral elements; the degrees of these, and functions of a gap at most.
const MOST_IN_ELEMENTS: usize = 4;
const ELEMENT_DEGREES: [usize; 5] = [6, 8, 10, 12, 15];
const MOST_PER_GAP_IN_ELEMENTS: usize = 420;

/// What the route in gaps finds.
#[derive(Clone)]
pub(super) struct TrapEnergies {
    pub(super) energies: Vec<f64>,
    pub(super) budgets: Vec<ErrorBudget>,
    pub(super) components: Components,
    pub(super) method: String,
    /// Densities of the lowest state, where the route gives them.
    pub(super) density: Option<Density>,
    pub(super) table: Vec<ConvergenceRow>,
    pub(super) products: usize,
}

/// How levels in elements are refined.
pub(super) struct Refined {
    /// What one unit of energy is in that of the setting; of length its inverse root.
    pub(super) unit: f64,
    /// In the unit of the elements.
    pub(super) tolerance: f64,
    /// Functions of a gap fewer than points but the last.
    pub(super) missing: usize,
    /// Most functions of a gap.
    pub(super) most: usize,
}

/// A level, its energies, and the number of its functions.
type Solved<L> = Result<(L, Vec<f64>, u64), ExactError>;

/// What the refinement of elements ends with.
pub(super) struct InElements<L> {
    pub(super) level: L,
    /// Functions of a gap.
    pub(super) functions: usize,
    pub(super) sequence: Sequence,
    /// How far each energy moves where the functions end further out.
    pub(super) moved: Vec<f64>,
}

/// Lowest sums of relative levels and of `frequency (k + 1/2)`, with the index of the level.
pub(super) fn with_centre_of_mass(
    relative: &[f64],
    frequency: f64,
    states: usize,
) -> Vec<(f64, usize)> {
    let mut sums: Vec<(f64, usize)> = relative
        .iter()
        .enumerate()
        .flat_map(|(j, e)| (0..states).map(move |k| (e + frequency * (k as f64 + 0.5), j)))
        .collect();
    sums.sort_by(|a, b| a.0.total_cmp(&b.0));
    sums.truncate(states);
    sums
}

impl Calculation<'_> {
    /// The problem as one in gaps, if it is one, and what hard walls of `geometry` cost.
    ///
    /// Two particles without a divergence at contact are left to the complete basis.
    pub(super) fn as_trap(
        &mut self,
        geometry: Option<&Geometry>,
    ) -> Result<Option<(Trap, f64)>, ExactError> {
        let Sector { up, down, .. } = self.sector;
        let n = up + down;
        if (up > 0 && down > 0)
            || n < 2
            || (n == 2 && super::dvr::finite_at_contact(&self.hamiltonian.interaction))
        {
            return Ok(None);
        }
        let External::Harmonic { frequency } = self.hamiltonian.external else { return Ok(None) };
        let interaction = self.hamiltonian.interaction.clone();
        let Some(trap) = Trap::new(frequency, interaction, n) else { return Ok(None) };
        Ok(self.walls_of_trap(frequency, geometry)?.map(|cost| (trap, cost)))
    }

    /// What the walls of a geometry cost the particles of a trap; `None` where that is not negligible, and on a ring.
    pub(super) fn walls_of_trap(
        &mut self,
        frequency: f64,
        geometry: Option<&Geometry>,
    ) -> Result<Option<f64>, ExactError> {
        match geometry {
            None | Some(Geometry::Line) => Ok(Some(0.0)),
            Some(Geometry::Ring { .. }) => Ok(None),
            Some(&Geometry::Box { half_width }) => self.wall_cost(frequency, half_width),
        }
    }

    /// What hard walls cost the particles of a trap; `None` where that is not negligible, or too much work to say.
    fn wall_cost(&mut self, frequency: f64, half_width: f64) -> Result<Option<f64>, ExactError> {
        // Walls too far out for sine functions up to them: the other route says so.
        let cutoff = 8.0 * frequency.sqrt().max(1.0);
        let least = self.sector.particles() + 8;
        let Ok(basis) = self.basis(Geometry::Box { half_width }, cutoff, least) else {
            return Ok(None);
        };
        let hf = self.mean_field(basis)?;
        // Work done against the pressure while the walls come in from infinity: it decays at least like the tail of
        // the density, at twice the wave number at the wall, which is near frequency times distance.
        let cost = 3.0 * hf.wall_pressure(self.sector) / (frequency * half_width);
        Ok((cost < 0.1 * self.options.tolerance).then_some(cost))
    }

    fn gap_level(
        &mut self,
        trap: &Trap,
        basis: &GapBasis,
        m: usize,
        guess: Option<&GapLevel>,
    ) -> Result<GapLevel, ExactError> {
        let count = trap.particles - 1;
        let dimension = (m as u64).saturating_pow(count as u32);
        let mut options = self.davidson(dimension, true);
        if self.options.states > 1 {
            options.residual = options.residual.min(1e-6);
        }
        let (flops, bytes) = gaps::cost(count, m, options.subspace);
        self.check(dimension, bytes, flops as f64 * PRODUCTS * self.options.states as f64)?;
        let level = basis.solve(m, &options, guess, self.watch)?;
        self.products += level.pairs.products;
        Ok(level)
    }

    /// Lowest states in the trap. `walls` is what the walls of a box cost.
    pub(super) fn solve_trap(
        &mut self,
        trap: &Trap,
        walls: f64,
    ) -> Result<TrapEnergies, ExactError> {
        // Polynomials take long to notice a kink or a narrow core.
        let kinked = trap.interaction.special_points().len() > 1;
        let fits = trap.particles <= MOST_IN_ELEMENTS && trap.is_linear_at_contact();
        let worst = |found: &TrapEnergies| found.worst();
        let first = match kinked && fits {
            true => self.trap_in_elements(trap, walls)?,
            false => None,
        };
        if let Some(found) = first.as_ref().filter(|f| worst(f) <= self.options.tolerance) {
            return Ok(found.clone());
        }
        let smooth = match self.trap_in_polynomials(trap, walls) {
            Ok(smooth) => smooth,
            Err(e) => return first.ok_or(e),
        };
        let second = match first {
            None if fits && !kinked && worst(&smooth) > self.options.tolerance => {
                self.trap_in_elements(trap, walls)?
            }
            other => other,
        };
        Ok(second.filter(|s| worst(s) < worst(&smooth)).unwrap_or(smooth))
    }

    /// The same in spectral elements of every gap, for few particles. `None` where these are too many.
    fn trap_in_elements(
        &mut self,
        trap: &Trap,
        walls: f64,
    ) -> Result<Option<TrapEnergies>, ExactError> {
        let (states, tolerance) = (self.options.states, self.options.tolerance);
        let count = trap.particles - 1;
        let field = Field::new(trap, POLYNOMIALS - 8)?;
        let combined = |level: &GapLevel| -> Vec<f64> {
            let sums = with_centre_of_mass(&level.pairs.values, trap.frequency, states);
            sums.into_iter().map(|s| s.0).collect()
        };
        let found = (GapBasis::edges(trap, &field, 1.0)?, GapBasis::edges(trap, &field, FURTHER)?);
        let (Some(edges), Some(wide)) = found else { return Ok(None) };
        let asked = Refined { unit: 1.0, tolerance, missing: 1, most: MOST_PER_GAP_IN_ELEMENTS };
        let refined =
            self.refine_elements(&asked, &edges, &wide, |problem, edges, degree, _| {
                let basis = GapBasis::in_elements(trap, &field, edges, degree)?;
                let m = (edges.len() - 1) * degree - 1;
                let level = problem.gap_level(trap, &basis, m, None)?;
                let energies = combined(&level);
                Ok((level, energies, (m as u64).pow(count as u32)))
            })?;
        let Some(InElements { level, functions: m, sequence, moved }) = refined else {
            return Ok(None);
        };
        let sums = with_centre_of_mass(&level.pairs.values, trap.frequency, states);
        let budgets = sums
            .iter()
            .enumerate()
            .map(|(k, &(energy, j))| ErrorBudget {
                functions: sequence.estimate(k),
                quadrature: 0.0,
                orbitals: 0.0,
                walls: walls + 2.0 * moved[k],
                solver: level.pairs.value_errors[j] + 1e-10 * (1.0 + energy.abs()),
            })
            .collect();
        let method = format!(
            "centre of mass apart, {m} functions of {} spectral elements in each of {count} gaps, Davidson",
            edges.len() - 1
        );
        Ok(Some(self.trap_energies(trap, &level, &sums, budgets, method)))
    }

    /// Levels in elements of rising degree, and how far they move where the functions end further out. `None` where limits leave too
    /// few of them to tell how they converge.
    pub(super) fn refine_elements<L>(
        &mut self,
        asked: &Refined,
        edges: &[f64],
        wide: &[f64],
        mut solve: impl FnMut(&mut Self, &[f64], usize, Option<&L>) -> Solved<L>,
    ) -> Result<Option<InElements<L>>, ExactError> {
        let mut sequence = Sequence::of_orbitals();
        let mut at_check: Vec<f64> = vec![];
        let mut best: Option<(L, usize)> = None;
        for degree in ELEMENT_DEGREES {
            let functions = (edges.len() - 1) * degree - asked.missing;
            if functions > asked.most {
                break;
            }
            let before = best.as_ref().map(|(level, _)| level);
            let (level, energies, determinants) = match solve(self, edges, degree, before) {
                Ok(found) => found,
                Err(ExactError::Memory { .. } | ExactError::Work { .. }) => break,
                Err(e) => return Err(e),
            };
            sequence.push(&energies);
            self.record(ConvergenceRow {
                refinement: Refinement::Functions,
                length: edges[edges.len() - 1] / asked.unit.sqrt(),
                functions,
                cells: edges.len() - 1,
                orbitals: 0,
                determinants,
                energy: energies[0] * asked.unit,
                change: sequence.change().map(|c| c * asked.unit),
                discarded: None,
            });
            if at_check.is_empty() {
                at_check = energies;
            }
            best = Some((level, functions));
            if sequence.has_ratio() && sequence.worst() < 0.5 * asked.tolerance {
                break;
            }
        }
        let Some((level, functions)) = best.filter(|_| sequence.change().is_some()) else {
            return Ok(None);
        };
        let moved = match solve(self, wide, ELEMENT_DEGREES[0], None) {
            Ok((_, there, _)) => there.iter().zip(&at_check).map(|(a, b)| (a - b).abs()).collect(),
            Err(ExactError::Memory { .. } | ExactError::Work { .. }) => return Ok(None),
            Err(e) => return Err(e),
        };
        Ok(Some(InElements { level, functions, sequence, moved }))
    }

    fn trap_energies(
        &mut self,
        trap: &Trap,
        level: &GapLevel,
        sums: &[(f64, usize)],
        budgets: Vec<ErrorBudget>,
        method: String,
    ) -> TrapEnergies {
        let energy = sums[0].0;
        // The centre of mass is in its lowest level: half its energy is potential.
        let external = level.external + 0.25 * trap.frequency;
        let kinetic = energy - external - level.interaction;
        TrapEnergies {
            energies: sums.iter().map(|s| s.0).collect(),
            budgets,
            components: Components { kinetic, external, interaction: level.interaction },
            method,
            density: None,
            table: std::mem::take(&mut self.table),
            products: self.products,
        }
    }

    /// Lowest states in functions that are polynomials but for a factor.
    fn trap_in_polynomials(&mut self, trap: &Trap, walls: f64) -> Result<TrapEnergies, ExactError> {
        let (states, tolerance) = (self.options.states, self.options.tolerance);
        let count = trap.particles - 1;
        let field = Field::new(trap, POLYNOMIALS - 8)?;
        let basis = GapBasis::new(trap, &field, POLYNOMIALS, MOST_PER_GAP + 2)?;
        let checked = if count > 4 { 8 } else { 12 };
        let combined = |level: &GapLevel| -> Vec<f64> {
            let sums = with_centre_of_mass(&level.pairs.values, trap.frequency, states);
            sums.into_iter().map(|s| s.0).collect()
        };
        let mut sequence = Sequence::default();
        let mut best: Option<GapLevel> = None;
        let mut at_check = vec![];
        let (mut m, mut used, mut spent) = (6, 6, 0.0);
        while m <= basis.largest() {
            let work = gaps::cost(count, m, 0).0 as f64 * PRODUCTS * states as f64;
            if sequence.has_ratio() && m > checked && spent + work > 0.7 * self.options.work_limit {
                break;
            }
            let guess = best.as_ref().filter(|_| m > checked);
            let level = match self.gap_level(trap, &basis, m, guess) {
                Ok(level) => level,
                Err(ExactError::Memory { .. } | ExactError::Work { .. })
                    if sequence.has_ratio() && m > checked =>
                {
                    break;
                }
                Err(e) => return Err(e),
            };
            spent += work;
            let energies = combined(&level);
            sequence.push(&energies);
            self.record(ConvergenceRow {
                refinement: Refinement::Functions,
                length: field.extent,
                functions: m,
                cells: m + 2,
                orbitals: 0,
                determinants: (m as u64).pow(count as u32),
                energy: energies[0],
                change: sequence.change(),
                discarded: None,
            });
            if m == checked {
                at_check = energies;
            }
            best = Some(level);
            used = m;
            if m >= checked && sequence.worst() < 0.4 * tolerance {
                break;
            }
            m += 2;
        }
        let level = match best {
            Some(level) if !at_check.is_empty() => level,
            _ => unreachable!("the loop leaves by an error before the level that is checked"),
        };
        // The functions of a gap themselves: finer, and further out, each at one size.
        let mut moved = vec![];
        for (polynomials, factor, refinement) in [
            (POLYNOMIALS + 16, 1.0, Refinement::Quadrature),
            (POLYNOMIALS + 16, FURTHER, Refinement::Walls),
        ] {
            let field = field.extended(factor);
            let other = GapBasis::new(trap, &field, polynomials, checked + 2)?;
            let energies = combined(&self.gap_level(trap, &other, checked, None)?);
            let change: Vec<f64> =
                energies.iter().zip(&at_check).map(|(a, b)| (a - b).abs()).collect();
            self.record(ConvergenceRow {
                refinement,
                length: field.extent,
                functions: checked,
                cells: checked + 2,
                orbitals: 0,
                determinants: (checked as u64).pow(count as u32),
                energy: energies[0],
                change: change.iter().copied().reduce(f64::max),
                discarded: None,
            });
            moved.push(change);
        }
        let sums = with_centre_of_mass(&level.pairs.values, trap.frequency, states);
        let budgets = sums
            .iter()
            .enumerate()
            .map(|(k, &(energy, j))| ErrorBudget {
                // Convergence that starts exponentially may end algebraically, where the interaction
                // has a kink: the ratios seen so far promise too much.
                functions: 5.0 * sequence.estimate(k),
                quadrature: moved[0][k],
                orbitals: 0.0,
                walls: walls + 2.0 * moved[1][k],
                solver: level.pairs.value_errors[j] + 1e-11 * (1.0 + energy.abs()),
            })
            .collect();
        let method =
            format!("centre of mass apart, {used} functions in each of {count} gaps, Davidson");
        Ok(self.trap_energies(trap, &level, &sums, budgets, method))
    }
}

impl TrapEnergies {
    /// The largest estimated error.
    pub(super) fn worst(&self) -> f64 {
        self.budgets.iter().map(ErrorBudget::total).fold(0.0, f64::max)
    }

    /// Estimated error of the ground-state energy.
    fn estimate(&self) -> f64 {
        self.budgets[0].total()
    }

    /// With densities of the other route, or with what kept it from finding any.
    pub(super) fn with_densities(
        self,
        other: Result<ExactResult, ExactError>,
        setting: &Setting,
        sector: Sector,
        geometry: Option<Geometry>,
        tolerance: f64,
    ) -> Result<ExactResult, ExactError> {
        // A density that is not good enough to be drawn is none where there is a better one.
        let good = |other: &ExactResult| other.error_estimates[0] <= PLOTTED;
        match other {
            Ok(other) if self.density.is_none() || good(&other) => {
                Ok(self.joined(other, setting, tolerance))
            }
            Err(ExactError::Interrupted) => Err(ExactError::Interrupted),
            other => {
                let ground_state = match (self.density, other) {
                    (Some(density), _) => Ok(GroundState {
                        density,
                        natural_occupations: vec![],
                        pair_density: None,
                        entanglement: None,
                        state: None,
                    }),
                    (None, Err(limit)) => Err(limit),
                    (None, Ok(other)) => other.ground_state,
                };
                let error_estimates: Vec<f64> =
                    self.budgets.iter().map(ErrorBudget::total).collect();
                Ok(ExactResult {
                    converged: error_estimates.iter().all(|e| *e <= tolerance),
                    error_estimates,
                    energies: self.energies,
                    error_budget: self.budgets[0],
                    components: self.components,
                    labels: vec![],
                    excited_densities: vec![],
                    method: self.method,
                    convergence: self.table,
                    ground_state,
                    sector,
                    geometry,
                    centre: 0.0,
                    products: self.products,
                })
            }
        }
    }

    /// Energies and components from here, densities and occupations from `other`, unless `other`
    /// has the smaller error.
    fn joined(mut self, mut other: ExactResult, setting: &Setting, tolerance: f64) -> ExactResult {
        let particles = other.sector.particles();
        let apart = (self.energies[0] - other.energies[0]).abs();
        let excess = apart - self.estimate() - other.error_estimates[0];
        if excess > 0.0 {
            // Two independent calculations contradict each other: no smaller error can be claimed.
            self.budgets[0].functions += excess;
            other.error_budget.functions += excess;
            other.error_estimates[0] += excess;
        }
        if self.energies.len() == 1 && other.error_estimates[0] < self.estimate() {
            let own = setting.shown(self.energies[0], self.estimate(), particles);
            other.method = format!("{} (confirmed by {own}: {})", other.method, self.method);
        } else {
            let theirs = setting.shown(other.energies[0], other.error_estimates[0], particles);
            other.method =
                format!("{}; densities and occupations: {} ({theirs})", self.method, other.method);
            other.error_estimates = self.budgets.iter().map(ErrorBudget::total).collect();
            other.energies = self.energies;
            other.error_budget = self.budgets[0];
            other.components = self.components;
        }
        other.converged = other.error_estimates.iter().all(|e| *e <= tolerance);
        other.products += self.products;
        self.table.append(&mut other.convergence);
        other.convergence = self.table;
        other
    }
}

#[cfg(test)]
mod tests {
    use super::with_centre_of_mass;

    #[test]
    fn the_lowest_sums_come_in_order() {
        let sums = with_centre_of_mass(&[1.0, 2.5, 3.2], 1.0, 4);
        assert_eq!(sums, vec![(1.5, 0), (2.5, 0), (3.0, 1), (3.5, 0)]);
    }
}
