//! What separates into one coordinate at a time: one particle, particles without interaction, a pair in a harmonic trap.

use super::calculation::Calculation;
use super::dvr::finite_at_contact;
use super::elements::{LeftEnd, Levels, Line, complete, edges_for, levels};
use super::pair::{self, OnGrid};
use super::refine::Sequence;
use super::trap::{TrapEnergies, with_centre_of_mass};
use super::{Components, ConvergenceRow, ErrorBudget, ExactError, Refinement};
use crate::math::linalg::mul;
use crate::system::{External, Geometry, Interaction, Sector};
use faer::{Mat, MatRef};

/// Degrees of the polynomials for two particles in elements, and most points of one coordinate.
const PAIR_DEGREES: [usize; 4] = [7, 9, 11, 14];
const MOST_PAIR_POINTS: usize = 640;

/// Energies of one coordinate at a time, and the half-width of walls that leave the densities alone.
pub(super) struct Apart {
    pub(super) energies: TrapEnergies,
    pub(super) half_width: f64,
}

impl Calculation<'_> {
    /// The energies, if the problem separates.
    pub(super) fn apart(
        &mut self,
        geometry: Option<&Geometry>,
    ) -> Result<Option<Apart>, ExactError> {
        let ends = match geometry {
            None | Some(Geometry::Line) => (f64::NEG_INFINITY, f64::INFINITY),
            Some(&Geometry::Box { half_width }) => (-half_width, half_width),
            Some(Geometry::Ring { .. }) => return Ok(None),
        };
        let Sector { up, down, .. } = self.sector;
        let free = matches!(self.hamiltonian.interaction, Interaction::None);
        if up + down == 1 || (free && self.options.states == 1) {
            return self.independent(ends);
        }
        let pair = up + down == 2 && finite_at_contact(&self.hamiltonian.interaction);
        match self.hamiltonian.external {
            External::Harmonic { frequency } if pair => {
                let Some(walls) = self.walls_of_trap(frequency, geometry)? else { return Ok(None) };
                self.relative(frequency, walls)
            }
            _ => Ok(None),
        }
    }

    /// One particle, or several that fill the lowest levels.
    fn independent(&mut self, ends: (f64, f64)) -> Result<Option<Apart>, ExactError> {
        let Sector { up, down, .. } = self.sector;
        let v = &self.hamiltonian.external;
        let potential = |x: f64| v.value(x);
        let line = Line {
            potential: &potential,
            stiffness: 0.5,
            special: v.special_points(),
            ends,
            left: LeftEnd::Vanishes,
        };
        let (a, b) = self.setting.region;
        let one = up + down == 1;
        let count = if one { self.options.states } else { up.max(down) };
        let tolerance = 0.3 * self.options.tolerance;
        let Some(found) = levels(&line, (a - 2.0, b + 2.0), count, tolerance)? else {
            return Ok(None);
        };
        if found.energies.len() < count {
            return Ok(None);
        }
        let fill = |of: &dyn Fn(usize) -> f64| (0..up).chain(0..down).map(of).sum::<f64>();
        let (energies, budgets): (Vec<f64>, Vec<ErrorBudget>) = if one {
            (0..count).map(|k| (found.energies[k], budget(&found, k))).unzip()
        } else {
            let sum = |of: &[f64]| fill(&|k| of[k]);
            let budget = ErrorBudget {
                functions: sum(&found.functions),
                walls: sum(&found.walls),
                solver: fill(&|k| budget(&found, k).solver),
                ..ErrorBudget::default()
            };
            (vec![sum(&found.energies)], vec![budget])
        };
        let external = fill(&|k| found.mean(k, potential));
        let kinetic = energies[0] - external;
        let method = if one {
            format!("one particle, {} spectral elements", found.elements)
        } else {
            format!("independent particles, {} spectral elements", found.elements)
        };
        self.row(&found, energies[0], &budgets[0]);
        let half_width = found.extent.0.abs().max(found.extent.1.abs());
        let components = Components { kinetic, external, interaction: 0.0 };
        let energies = self.energies(energies, budgets, components, method);
        Ok(Some(Apart { energies, half_width }))
    }

    /// A pair in a trap: `-d²/dr² + omega² r²/4 + w(r)` for the distance, an oscillator for the centre of mass.
    fn relative(&mut self, frequency: f64, walls: f64) -> Result<Option<Apart>, ExactError> {
        let w = &self.hamiltonian.interaction;
        let trap = |r: f64| 0.25 * frequency * frequency * r * r;
        let potential = |r: f64| trap(r) + w.value(r);
        let states = self.options.states;
        let start = 6.0 / frequency.sqrt();
        let tolerance = 0.3 * self.options.tolerance;
        let ends = if self.sector.up == 1 {
            &[LeftEnd::Flat, LeftEnd::Vanishes][..]
        } else {
            &[LeftEnd::Vanishes][..]
        };
        // Odd functions of the distance for equal spins; even ones as well where spins differ.
        let mut found = vec![];
        for &left in ends {
            let line = Line {
                potential: &potential,
                stiffness: 1.0,
                special: w.special_points(),
                ends: (0.0, f64::INFINITY),
                left,
            };
            match levels(&line, (0.0, start), states, tolerance)? {
                Some(levels) => found.push(levels),
                None => return Ok(None),
            }
        }
        let mut all: Vec<(f64, usize, usize)> = found
            .iter()
            .enumerate()
            .flat_map(|(s, l)| l.energies.iter().enumerate().map(move |(k, e)| (*e, s, k)))
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let relative: Vec<f64> = all.iter().map(|l| l.0).collect();
        let sums = with_centre_of_mass(&relative, frequency, states);
        let budgets: Vec<ErrorBudget> = sums
            .iter()
            .map(|&(_, j)| {
                let own = budget(&found[all[j].1], all[j].2);
                ErrorBudget { walls: own.walls + walls, ..own }
            })
            .collect();
        let (_, s, k) = all[0];
        let level = &found[s];
        let external = level.mean(k, trap) + 0.25 * frequency;
        let interaction = level.mean(k, |r| w.value(r));
        let energies: Vec<f64> = sums.iter().map(|s| s.0).collect();
        let kinetic = energies[0] - external - interaction;
        let method =
            format!("centre of mass apart, {} spectral elements of the distance", level.elements);
        self.row(level, energies[0], &budgets[0]);
        let half_width = (18.0 / frequency + 0.25 * level.extent.1 * level.extent.1).sqrt();
        let components = Components { kinetic, external, interaction };
        let energies = self.energies(energies, budgets, components, method);
        Ok(Some(Apart { energies, half_width }))
    }

    /// Two particles in all functions of elements that follow the external potential, where sine functions converge
    /// slowly. `None` where it does not apply or the elements would be too many.
    pub(super) fn pair_in_elements(
        &mut self,
        geometry: Option<&Geometry>,
    ) -> Result<Option<TrapEnergies>, ExactError> {
        let ends = match geometry {
            None | Some(Geometry::Line) => (f64::NEG_INFINITY, f64::INFINITY),
            Some(&Geometry::Box { half_width }) => (-half_width, half_width),
            Some(Geometry::Ring { .. }) => return Ok(None),
        };
        let Sector { up, down, .. } = self.sector;
        let (v, w) = (&self.hamiltonian.external, &self.hamiltonian.interaction);
        if up + down != 2 || self.options.states != 1 || !finite_at_contact(w) {
            return Ok(None);
        }
        let potential = |x: f64| v.value(x);
        let line = Line {
            potential: &potential,
            stiffness: 0.5,
            special: v.special_points(),
            ends,
            left: LeftEnd::Vanishes,
        };
        let (a, b) = self.setting.region;
        let start = (a - 2.0, b + 2.0);
        let Some(one) = levels(&line, start, 1, 1e-8)? else { return Ok(None) };
        let lowest = one.energies[0];
        let antisymmetric = up != 1;
        let tolerance = self.options.tolerance;
        let options = self.davidson(1, true);
        let mut solve =
            |edges: &[f64], degree: usize| -> Result<Option<(f64, [f64; 3], usize)>, ExactError> {
                if (edges.len() - 1) * degree > MOST_PAIR_POINTS {
                    return Ok(None);
                }
                let basis = complete(&line, edges, degree)?;
                let n = basis.points.len();
                let (bytes, work) = pair::cost(n, n, options.subspace);
                self.check((n * n) as u64, bytes, work as f64 * 25.0)?;
                let between = Mat::from_fn(n, n, |i, j| w.value(basis.points[i] - basis.points[j]));
                let on_grid = OnGrid {
                    energies: &basis.energies,
                    phi: [basis.levels.clone(), basis.levels.clone()],
                    w: &between,
                    shifted: false,
                };
                let start = pair::lowest_products(n, antisymmetric, 1, &basis.energies);
                let found = on_grid.solve(antisymmetric, &options, start, self.watch)?;
                self.products += found.products;
                let c = MatRef::from_column_major_slice(&found.vectors[0], n, n);
                let psi = mul(mul(basis.levels.as_ref(), c).as_ref(), basis.levels.transpose());
                let (mut external, mut interaction) = (0.0, 0.0);
                for j in 0..n {
                    for i in 0..n {
                        let p = psi[(i, j)] * psi[(i, j)];
                        external += p * (v.value(basis.points[i]) + v.value(basis.points[j]));
                        interaction += p * between[(i, j)];
                    }
                }
                let energy = found.values[0];
                let rounding = f64::EPSILON * basis.energies[n - 1];
                self.record(ConvergenceRow {
                    refinement: Refinement::Functions,
                    length: edges[edges.len() - 1] - edges[0],
                    functions: n,
                    cells: edges.len() - 1,
                    orbitals: 0,
                    determinants: (n * n) as u64,
                    energy,
                    change: None,
                    discarded: None,
                });
                Ok(Some((energy, [external, interaction, found.value_errors[0] + rounding], n)))
            };
        // What it takes to remove one particle tells how the other decays.
        let mut top = lowest;
        let mut extent = one.extent;
        let mut edges = None;
        for _ in 0..3 {
            let Some(found) = edges_for(&line, extent, top, false) else { return Ok(None) };
            extent = (found[0], found[found.len() - 1]);
            let Some((energy, ..)) = solve(&found, PAIR_DEGREES[0])? else { return Ok(None) };
            let settled = (energy - lowest - top).abs() < 1e-2 * (1.0 + top.abs());
            top = energy - lowest;
            edges = Some(found);
            if settled {
                break;
            }
        }
        let Some(edges) = edges else { return Ok(None) };
        let mut sequence = Sequence::default();
        let mut best = None;
        for degree in PAIR_DEGREES {
            let Some(found) = solve(&edges, degree)? else { break };
            sequence.push(&[found.0]);
            best = Some(found);
            if sequence.has_ratio() && sequence.worst() < 0.3 * tolerance {
                break;
            }
        }
        let Some((energy, [external, interaction, solver], n)) = best else { return Ok(None) };
        let walls = match edges_for(&line, extent, top, true) {
            Some(wide) => match (solve(&wide, PAIR_DEGREES[0])?, solve(&edges, PAIR_DEGREES[0])?) {
                (Some(a), Some(b)) => 2.0 * (a.0 - b.0).abs(),
                _ => f64::INFINITY,
            },
            None => f64::INFINITY,
        };
        let budget = ErrorBudget {
            functions: sequence.estimate(0),
            walls,
            solver: solver + 1e-12 * (1.0 + energy.abs()),
            ..ErrorBudget::default()
        };
        let components =
            Components { kinetic: energy - external - interaction, external, interaction };
        let method =
            format!("two particles in all {n} functions of {} spectral elements", edges.len() - 1);
        Ok(Some(self.energies(vec![energy], vec![budget], components, method)))
    }

    fn row(&mut self, found: &Levels, energy: f64, budget: &ErrorBudget) {
        self.record(ConvergenceRow {
            refinement: Refinement::Functions,
            length: found.extent.1 - found.extent.0,
            functions: found.points.len(),
            cells: found.elements,
            orbitals: 0,
            determinants: found.points.len() as u64,
            energy,
            change: Some(budget.functions),
            discarded: None,
        });
    }

    fn energies(
        &mut self,
        energies: Vec<f64>,
        budgets: Vec<ErrorBudget>,
        components: Components,
        method: String,
    ) -> TrapEnergies {
        let table = std::mem::take(&mut self.table);
        TrapEnergies {
            energies,
            budgets,
            components,
            method,
            density: None,
            table,
            products: self.products,
        }
    }
}

fn budget(found: &Levels, k: usize) -> ErrorBudget {
    ErrorBudget {
        functions: 2.0 * found.functions[k],
        walls: 2.0 * found.walls[k],
        solver: 1e-12 * (1.0 + found.energies[k].abs()),
        ..ErrorBudget::default()
    }
}
