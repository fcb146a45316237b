//! The infinite line: walls are moved out until they do not matter.

use super::calculation::{CHECK_WORK, Calculation, FIRST_CUTOFF, GROWTH};
use super::refine::Sequence;
use super::{ConvergenceRow, ExactError, Refinement};
use crate::system::Geometry;

impl Calculation<'_> {
    /// Half-width beyond which the walls do not matter, and what they still cost each state.
    pub(super) fn find_walls(&mut self) -> Result<(f64, Vec<f64>), ExactError> {
        // Hartree-Fock finds the right order of magnitude cheaply, by the pressure on the walls: a
        // difference of energies would drown in the error of the basis.
        let most = self.setting.most;
        let mut half_width = (self.setting.reach() + 3.0).max(4.0).min(most / 1.15);
        let mut cutoff = 1.5 * FIRST_CUTOFF;
        let mut raised = 0;
        let mut previous = f64::INFINITY;
        loop {
            let geometry = Geometry::Box { half_width };
            let basis = self.basis(geometry, cutoff, self.sector.particles() + 8)?;
            let hf = self.mean_field(basis)?;
            let pressure = hf.wall_pressure(self.sector);
            if pressure < 30.0 * self.options.tolerance || half_width > 0.7 * most {
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
        self.look_closely(&Geometry::Box { half_width })?;
        let pilot = self.pilot_sector();
        let (level, pilot_functions) = self.refine_functions(
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
            self.look_closely(&geometry)?;
            let basis = self.basis(geometry, cutoff, self.sector.particles() + 8)?;
            let (energies, orbitals) = if self.sector.particles() <= 2 {
                (self.small(self.sector, basis, self.cells(&basis))?.energies, 0)
            } else {
                let setup = self.correlated(basis)?;
                let cells = (2 * basis.size() + 16).max(self.least_cells);
                match probe {
                    Some((m, _)) => (self.level(&setup, m, cells, true, None)?.pairs.values, m),
                    None => {
                        let tolerance = 0.3 * self.options.tolerance;
                        let nested =
                            self.refine_orbitals(&setup, cells, tolerance, CHECK_WORK, 0)?;
                        probe = Some((nested.m, nested.worst()));
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
                cells: self.cells(&basis),
                orbitals,
                determinants: 0,
                energy: energies[0],
                change,
                discarded: None,
            });
            let noise = probe.map_or(0.0, |p| p.1).max(pilot_functions.worst());
            let resolved = 0.3 * noise.max(self.options.tolerance);
            if change.is_some_and(|c| c < resolved) {
                let states = energies.len();
                return Ok((half_width, (0..states).map(|k| sequence.estimate(k)).collect()));
            }
            if half_width * 1.15 > most {
                return Err(ExactError::Unbound { half_width, change: change.unwrap_or(f64::NAN) });
            }
            half_width *= 1.15;
        }
    }
}
