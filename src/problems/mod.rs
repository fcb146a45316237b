//! Problems together with their known solutions: shared by tests, the regression suite and the docs.

use crate::exact::{Components, ExactError, ExactOptions, ExactResult, News, solve, solve_on_line};
use crate::system::{Geometry, Hamiltonian, Sector};
use serde::Deserialize;
use std::ops::ControlFlow;

/// What is known about the lowest states of a problem. Energies in Hartree, without the repulsion of
/// the nuclei.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceCase {
    /// Short unique name.
    pub name: String,
    /// Numbers of particles.
    pub sector: Sector,
    /// Hard walls or a ring; `None` or `Line` is the infinite line.
    pub geometry: Option<Geometry>,
    /// What acts on the particles.
    pub hamiltonian: Hamiltonian,
    /// Ground-state energy.
    pub energy: f64,
    /// How far `energy` may be off; zero for closed forms.
    pub error_bound: f64,
    /// Energies of the next states of the same sector.
    #[serde(default)]
    pub excited: Vec<f64>,
    /// Components of the ground-state energy.
    #[serde(default)]
    pub components: Option<Components>,
    /// Largest natural occupations of the ground state, descending.
    #[serde(default)]
    pub natural_occupations: Vec<f64>,
    /// One-body density of the ground state.
    #[serde(default)]
    pub density: Option<DensityOnPoints>,
}

/// A one-body density, all spins together, at points.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DensityOnPoints {
    /// Where, in bohr, ascending.
    pub x: Vec<f64>,
    /// Particles per bohr.
    pub n: Vec<f64>,
}

impl ReferenceCase {
    /// Exact diagonalisation of this problem, on the line where it has no walls.
    ///
    /// # Errors
    /// See [`ExactError`].
    pub fn solve(
        &self,
        options: &ExactOptions,
        progress: &mut dyn FnMut(&News) -> ControlFlow<()>,
    ) -> Result<ExactResult, ExactError> {
        match &self.geometry {
            Some(g) => solve(&self.hamiltonian, g, self.sector, options, progress),
            None => solve_on_line(&self.hamiltonian, self.sector, options, progress),
        }
    }
}

/// The reference cases in `data/reference_energies.json`; `data/README.md` says how they were made.
///
/// # Panics
/// Never: the file is part of the crate and a test reads it.
pub fn reference_cases() -> Vec<ReferenceCase> {
    let text = include_str!("../../data/reference_energies.json");
    serde_json::from_str(text).expect("the data file is part of the crate and tested")
}

/// The reference case called `name`.
pub fn reference_case(name: &str) -> Option<ReferenceCase> {
    reference_cases().into_iter().find(|p| p.name == name)
}
