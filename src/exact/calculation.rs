//! What every route shares: the task with its limits, and the record of what was computed.

use super::davidson::DavidsonOptions;
use super::dvr::{OneBodyBasis, cells_that_see, default_cells};
use super::hartree_fock::{HartreeFock, HartreeFockOptions, self_consistent};
use super::watch::Watch;
use super::{
    ConvergenceRow, ErrorBudget, ExactError, ExactOptions, ExactResult, ExactState, GroundState,
    Labels, News,
};
use crate::system::{Frame, Geometry, Hamiltonian, Sector};

/// First cutoff of the wave numbers, in the inverse of the unit of length.
pub(super) const FIRST_CUTOFF: f64 = 4.0;
/// Growth of the number of functions from one level to the next.
pub(super) const GROWTH: f64 = 1.25;
/// Floating-point operations that go into one check of walls or basis functions: about a second.
pub(super) const CHECK_WORK: f64 = 4e10;
/// Error of the energy, in the units of the system, whose density is good enough to be drawn.
pub(super) const PLOTTED: f64 = 1e-4;
/// Square matrices that one dense diagonalisation takes.
const DENSE_MATRICES: f64 = 4.0;
/// Floating-point operations of one, per cube of the number of functions.
const DENSE_WORK: f64 = 10.0;
/// Largest number of one-body functions.
pub(super) const MOST_FUNCTIONS: usize = 700;

/// Where the particles are before anything is computed, in the units of the system.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    /// The interval in which the external potential is below the levels they fill.
    pub(super) region: (f64, f64),
    /// Largest half-width of walls that are looked for.
    pub(super) most: f64,
    /// The units.
    pub(super) frame: Frame,
}

impl Setting {
    /// An energy with its error in Hartree, for people.
    pub(super) fn shown(&self, energy: f64, error: f64, particles: usize) -> String {
        let unit = self.frame.length * self.frame.length;
        format!("{:.9} +- {:.0e}", self.frame.energy_out(energy, particles), error / unit)
    }

    /// How far the region reaches from the origin.
    pub(super) fn reach(&self) -> f64 {
        self.region.0.abs().max(self.region.1.abs())
    }
}

/// Everything a level of the calculation needs.
pub(super) struct Calculation<'a> {
    pub(super) setting: Setting,
    pub(super) hamiltonian: &'a Hamiltonian,
    pub(super) sector: Sector,
    pub(super) options: &'a ExactOptions,
    pub(super) watch: &'a mut dyn Watch,
    pub(super) table: Vec<ConvergenceRow>,
    pub(super) products: usize,
    /// Fewest quadrature cells, and what they still miss of the interaction, in Hartree.
    pub(super) least_cells: usize,
    pub(super) unseen: f64,
}

pub(super) fn length(geometry: &Geometry) -> f64 {
    let (a, b) = geometry.interval();
    b - a
}

impl<'a> Calculation<'a> {
    pub(super) fn new(
        setting: Setting,
        hamiltonian: &'a Hamiltonian,
        sector: Sector,
        options: &'a ExactOptions,
        watch: &'a mut dyn Watch,
    ) -> Self {
        Calculation {
            setting,
            hamiltonian,
            sector,
            options,
            watch,
            table: vec![],
            products: 0,
            least_cells: 0,
            unseen: 0.0,
        }
    }

    /// Makes the quadrature fine enough for this geometry to see the interaction.
    pub(super) fn look_closely(&mut self, geometry: &Geometry) -> Result<(), ExactError> {
        let polarised = self.sector.is_polarised();
        let (cells, unseen) = cells_that_see(&self.hamiltonian.interaction, geometry, polarised)?;
        self.least_cells = cells;
        self.unseen = unseen * self.sector.particles() as f64;
        Ok(())
    }

    /// Quadrature cells for a basis.
    pub(super) fn cells(&self, basis: &OneBodyBasis) -> usize {
        default_cells(basis, self.least_cells)
    }

    /// All functions with a wave number up to `cutoff`, at least `least` of them, if the limits allow the dense
    /// matrices of so many: a wide box has millions of them.
    pub(super) fn basis(
        &self,
        geometry: Geometry,
        cutoff: f64,
        least: usize,
    ) -> Result<OneBodyBasis, ExactError> {
        let basis = OneBodyBasis::with_cutoff(geometry, cutoff, least);
        let n = basis.size() as f64;
        let (needed, limit) =
            ((DENSE_MATRICES * 8.0 * n * n) as u64, self.options.memory_limit_bytes);
        if needed > limit {
            return Err(ExactError::Memory { needed, limit });
        }
        let (needed, limit) = (DENSE_WORK * n * n * n, self.options.work_limit);
        if needed > limit {
            return Err(ExactError::Work { needed, limit });
        }
        Ok(basis)
    }

    pub(super) fn davidson(&self, dimension: u64, precise: bool) -> DavidsonOptions {
        let states = self.options.states;
        let (few, each) = if dimension > 1_000_000 { (8, 3) } else { (20, 4) };
        let guards = match dimension {
            0..=100_000 => 12,
            100_001..=1_000_000 => 6,
            _ => 4,
        };
        let subspace = states.saturating_mul(each).saturating_add(few + guards);
        let residual =
            if precise { (self.options.tolerance * 100.0).clamp(1e-8, 2e-6) } else { 1e-5 };
        let value_error = if precise { 0.05 * self.options.tolerance } else { 1e-7 };
        DavidsonOptions {
            states,
            guards,
            probe: false,
            residual,
            value_error,
            passes: 150,
            subspace,
        }
    }

    pub(super) fn record(&mut self, row: ConvergenceRow) {
        self.watch.tell(&News::Row(row.clone()));
        self.table.push(row);
    }

    pub(super) fn check(
        &mut self,
        determinants: u64,
        bytes: u64,
        work: f64,
    ) -> Result<(), ExactError> {
        self.watch.tell(&News::Predicted { determinants, bytes, work });
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

    /// The mean field of the sector, as well as orbitals and walls need it.
    pub(super) fn mean_field(&mut self, basis: OneBodyBasis) -> Result<HartreeFock, ExactError> {
        let options = HartreeFockOptions { tolerance: 1e-6, iterations: 60, mixing: 0.0 };
        self_consistent(self.hamiltonian, basis, self.sector, &options, self.watch)
    }

    /// A pair does not know how tightly many particles are bound: raises the cutoff until the
    /// Hartree-Fock orbitals of the whole sector have no kinetic energy in the last fifth of it.
    pub(super) fn mean_field_cutoff(&mut self, basis: OneBodyBasis) -> Result<f64, ExactError> {
        let mut cutoff = basis.wave_number(basis.size() - 1);
        if self.sector.particles() <= 2 {
            return Ok(cutoff);
        }
        for _ in 0..5 {
            let least = self.sector.particles() + 8;
            let basis = self.basis(basis.geometry(), cutoff, least)?;
            let hf = self.mean_field(basis)?;
            if hf.kinetic_tail(self.sector) < 0.2 * self.options.tolerance {
                break;
            }
            cutoff *= GROWTH;
        }
        Ok(cutoff)
    }

    /// The sector that tells how fine the basis must be.
    pub(super) fn pilot_sector(&self) -> Sector {
        let Sector { up, down, .. } = self.sector;
        if up + down <= 2 {
            self.sector
        } else if up > 0 && down > 0 {
            Sector::new(1, 1)
        } else {
            Sector::new(2, 0)
        }
    }

    pub(super) fn finish(
        &mut self,
        mut states: Vec<ExactState>,
        energies: Vec<f64>,
        degenerate: Vec<bool>,
        budgets: Vec<ErrorBudget>,
        cells: usize,
        method: String,
    ) -> Result<ExactResult, ExactError> {
        let mut labels = vec![];
        for (state, degenerate) in states.iter().zip(degenerate) {
            labels.push(Labels { degenerate, ..state.labels(self.hamiltonian, self.watch)? });
        }
        let points = (2 * states[0].basis.size() + 3).max(401) | 1;
        let excited_densities = states[1..].iter().map(|s| s.density(points)).collect();
        let state = states.swap_remove(0);
        let error_estimates: Vec<f64> = budgets.iter().map(ErrorBudget::total).collect();
        let pair_density = match self.options.pair_density {
            // A limit on it leaves the rest.
            true => match state.pair_density(81, self.watch) {
                Err(ExactError::Interrupted) => return Err(ExactError::Interrupted),
                found => found.ok(),
            },
            false => None,
        };
        Ok(ExactResult {
            converged: error_estimates.iter().all(|e| *e <= self.options.tolerance),
            error_estimates,
            energies,
            error_budget: budgets[0],
            components: state.components(self.hamiltonian, cells, self.watch)?,
            labels,
            excited_densities,
            method,
            convergence: std::mem::take(&mut self.table),
            sector: self.sector,
            geometry: Some(state.basis.geometry()),
            centre: 0.0,
            products: self.products,
            ground_state: Ok(GroundState {
                density: state.density(points),
                natural_occupations: state.natural_occupations()?,
                pair_density,
                entanglement: None,
                state: Some(state),
            }),
        })
    }
}
