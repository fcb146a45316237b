//! Exact diagonalisation: the lowest states of a sector with an error estimate that can be trusted.
//!
//! Everything is computed in the units of the system ([`crate::system::frame`]), so that no length or energy is special.
//! What separates into one coordinate at a time (one particle, particles without interaction, a pair in a harmonic
//! trap) is solved by spectral elements that follow kinks and cores. Two particles are
//! solved in the complete basis of sine functions or plane waves ([`dvr`]). More are solved by full configuration interaction in natural
//! orbitals, whose number grows until the energies stop moving. Equal spins in a harmonic trap have a
//! route of their own, in the gaps between neighbours. Every approximation (number of basis
//! functions, of quadrature points, of orbitals, position of the walls where the tool chose them) is
//! refined separately, and the changes add up to the error estimate. Five and more particles, whose determinants are too
//! many, are solved by matrix product states on a uniform grid, whatever their number.

mod active_space;
mod apart;
mod bethe;
mod calculation;
mod ci;
pub mod closed_forms;
pub(crate) mod configurations;
mod contact;
mod correlated;
mod davidson;
pub mod dvr;
pub(crate) mod elements;
mod few;
mod gap_basis;
pub(crate) mod gap_state;
mod gaps;
mod glued;
mod groups;
pub mod hartree_fock;
mod integrals;
mod mixed;
mod mps;
mod natural;
mod pair;
mod refine;
mod solve;
mod state;
pub(crate) mod strings;
pub mod thermal;
mod trap;
mod units;
mod walls;
mod watch;

pub(crate) use active_space::active_space;
pub use solve::{solve, solve_on_line};
pub use state::ExactState;

use crate::math::linalg::EigenFailure;
use crate::system::judgement::NoGroundState;
use crate::system::{Geometry, Sector};
use serde::{Deserialize, Serialize};

/// How the states are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// The route that is the cheaper one.
    #[default]
    Auto,
    /// Configuration interaction (one and two particles in the complete basis).
    Ci,
    /// Gaps between neighbours: equal spins in a harmonic trap, energies only.
    Gaps,
    /// Matrix product states.
    Mps,
}

/// What to compute and how far to go.
#[derive(Clone, Debug, PartialEq)]
pub struct ExactOptions {
    /// Number of states, lowest first.
    pub states: usize,
    /// Refinement stops when the estimated error of each energy is below this, in Hartree for a system as wide as one
    /// bohr and in its own unit of energy, `1 / length²`, for any other.
    pub tolerance: f64,
    /// Largest memory, in bytes.
    pub memory_limit_bytes: u64,
    /// Largest arithmetic work of one refinement, in floating-point operations; all together may take
    /// [`whole_work`]. Two ordinary cores do about 4e10 per second.
    pub work_limit: f64,
    /// Whether to compute the pair density of the ground state.
    pub pair_density: bool,
    /// Whether a ground-state energy known in closed form replaces the numerical one.
    pub closed_forms: bool,
    /// The route.
    pub method: Method,
}

impl Default for ExactOptions {
    fn default() -> Self {
        ExactOptions {
            states: 1,
            tolerance: 1e-8,
            memory_limit_bytes: 6 << 30,
            work_limit: 1.6e13,
            pair_density: false,
            closed_forms: true,
            method: Method::Auto,
        }
    }
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExactError {
    /// The sector has no particle.
    #[error("the sector has no particle")]
    EmptySector,
    /// `states` is zero.
    #[error("at least one state must be asked for")]
    NoStates,
    /// A potential is not finite where it must be.
    #[error(
        "the external potential or the interaction is not a finite number somewhere in the geometry"
    )]
    NotFinite(#[from] EigenFailure),
    /// There is no ground state of finite energy.
    #[error(transparent)]
    NoGroundState(#[from] NoGroundState),
    /// The smallest calculation needs more memory than allowed.
    #[error("needs {:.2} GiB of memory, allowed are {:.2} GiB", gib(*needed), gib(*limit))]
    Memory {
        /// Bytes needed.
        needed: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The smallest calculation needs more arithmetic than allowed.
    #[error("needs about {needed:.1e} floating-point operations, allowed are {limit:.1e}")]
    Work {
        /// Operations needed.
        needed: f64,
        /// Operations allowed.
        limit: f64,
    },
    /// No box was large enough: the state is not bound.
    #[error(
        "the state is not bound, or too weakly for a box of half-width {half_width:.4} bohr (energy still \
         changes by {change:.1e} Hartree)"
    )]
    Unbound {
        /// The largest half-width tried, in bohr.
        half_width: f64,
        /// Change of the energy at the last enlargement, in Hartree.
        change: f64,
    },
    /// The route in gaps was asked for and there are none.
    #[error(
        "the route in gaps is for three and more equal spins in a harmonic trap (two where the interaction \
         diverges at contact), whose walls are far away"
    )]
    NoGaps,
    /// What diverges at contact was to be put on a uniform grid.
    #[error(
        "an interaction that diverges at contact cannot be put on the grid of a matrix product state"
    )]
    NotOnGrid,
    /// Potentials too narrow, or walls too far apart, for a uniform grid.
    #[error("the potentials need a grid of {points} points, more than {most}")]
    TooFine {
        /// Points needed, at least.
        points: usize,
        /// Points at most.
        most: usize,
    },
    /// Contact interactions that are beyond every route.
    #[error(transparent)]
    Contact(#[from] crate::contact::ContactError),
    /// A method that cannot have a cusp.
    #[error(
        "a contact interaction cannot be put on a grid or into smooth orbitals: the methods `auto` and `gaps` have its cusp"
    )]
    ContactMethod,
    /// Excited states outside a trap, of what is solved in functions of every order.
    #[error(
        "excited states with contact interactions or of three and more components are solved in a harmonic trap on the Line only"
    )]
    ContactStates,
    /// Energies of what is solved in functions of every order come without densities.
    #[error(
        "contact interactions, and three and more components, are solved in functions of every order, for energies only: densities come \
         from `weylflow run` and `weylflow measure`"
    )]
    ContactDensities,
    /// An interaction that diverges at contact, whose spectrum has no closed form.
    #[error(
        "the states of an interaction that diverges at contact, or is one, are no sums of determinants, and their spectrum is \
         known in closed form for equal spins in a harmonic trap only"
    )]
    Divergent,
    /// No two spaces of configurations are small enough.
    #[error("more than {most} states would have to be summed")]
    TooManyStates {
        /// States at most.
        most: usize,
    },
    /// The caller's progress function said to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Work of the checks of walls, functions and quadrature that come before the refinement, in floating-point operations.
const CHECKS_WORK: f64 = 4e11;

/// Work that all calculations together may take where one refinement may take `limit`, in floating-point operations.
pub fn whole_work(limit: f64) -> f64 {
    2.0 * limit + CHECKS_WORK
}

/// Work of a dense symmetric eigenproblem, in floating-point operations of a matrix product, which is several times
/// as fast as the reduction of a matrix.
pub(crate) fn dense_work(size: usize) -> f64 {
    25.0 * (size as f64).powi(3)
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / (1_u64 << 30) as f64
}

/// Expectation values that sum to the energy, in Hartree.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Components {
    /// `< -1/2 sum d²/dx² >`.
    pub kinetic: f64,
    /// `< sum v >`.
    pub external: f64,
    /// `< sum w >`.
    pub interaction: f64,
}

/// One-body densities, in particles per bohr. The trapezoidal sum over the points is the number of
/// particles.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Density {
    /// Positions in bohr, equally spaced from end to end.
    pub x: Vec<f64>,
    /// Spin up.
    pub up: Vec<f64>,
    /// Spin down; zeros in a spin-polarised sector.
    pub down: Vec<f64>,
}

/// Density of pairs at `(x, y)`, all spins, in pairs per bohr²; it integrates to `N (N - 1)`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairDensity {
    /// Positions in bohr.
    pub x: Vec<f64>,
    /// Values, by rows.
    pub values: Vec<f64>,
}

/// Von Neumann entropy of what lies left of a cut through space, of a pure state of all particles.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entanglement {
    /// Positions of the cuts, in bohr.
    pub x: Vec<f64>,
    /// Entropies, natural logarithm.
    pub entropy: Vec<f64>,
}

/// What was refined in a row of the convergence table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Refinement {
    /// Number of one-body functions (the grid spacing of the equivalent DVR).
    Functions,
    /// Number of quadrature cells.
    Quadrature,
    /// Number of orbitals.
    Orbitals,
    /// Position of the walls.
    Walls,
}

/// One calculation on the way to the result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConvergenceRow {
    /// What this row refines.
    pub refinement: Refinement,
    /// Length of the geometry, in bohr.
    pub length: f64,
    /// One-body functions.
    pub functions: usize,
    /// Quadrature cells.
    pub cells: usize,
    /// Orbitals, zero where all functions are used; or most states of a cut of a matrix product state.
    pub orbitals: usize,
    /// Dimension of the eigenproblem.
    pub determinants: u64,
    /// Lowest energy, in Hartree.
    pub energy: f64,
    /// Largest change of any state asked for, against the previous row of the same kind.
    pub change: Option<f64>,
    /// Largest weight that a cut of a matrix product state lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discarded: Option<f64>,
}

/// News on the way.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// About to run a calculation of this predicted size.
    Predicted {
        /// Dimension of the eigenproblem.
        determinants: u64,
        /// Memory, in bytes.
        bytes: u64,
        /// Floating-point operations.
        work: f64,
    },
    /// The eigensolver made an iteration.
    Iteration(Iteration),
    /// A calculation finished.
    Row(ConvergenceRow),
    /// Work goes on: the occasion to stop it.
    Work {
        /// Floating-point operations so far.
        done: f64,
        /// And at most.
        limit: f64,
    },
}

/// How far the eigensolver is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Iteration {
    /// Number of the iteration, from 1.
    pub number: usize,
    /// Lowest energy so far, in Hartree.
    pub energy: f64,
    /// Largest norm of `H psi - E psi` of the states asked for, in Hartree.
    pub residual: f64,
    /// Where the residual has to come to.
    pub target: f64,
}

/// Parts of the error estimate of the ground-state energy, in Hartree.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize)]
pub struct ErrorBudget {
    /// Finite number of one-body functions.
    pub functions: f64,
    /// Quadrature.
    pub quadrature: f64,
    /// Finite number of orbitals, or of states of the cuts of a matrix product state.
    pub orbitals: f64,
    /// Walls, where the tool chose them.
    pub walls: f64,
    /// Iterative eigensolver and rounding.
    pub solver: f64,
}

impl ErrorBudget {
    /// All parts.
    pub(crate) fn parts(&mut self) -> [&mut f64; 5] {
        let ErrorBudget { functions, quadrature, orbitals, walls, solver } = self;
        [functions, quadrature, orbitals, walls, solver]
    }

    /// The sum of all parts.
    pub fn total(&self) -> f64 {
        self.functions + self.quadrature + self.orbitals + self.walls + self.solver
    }
}

/// The ground state and what follows from it.
#[derive(Clone, Debug)]
pub struct GroundState {
    /// One-body densities.
    pub density: Density,
    /// Natural occupations, descending; they sum to the number of particles.
    pub natural_occupations: Vec<f64>,
    /// Pair density, when asked for.
    pub pair_density: Option<PairDensity>,
    /// Entanglement, where the route gives it.
    pub entanglement: Option<Entanglement>,
    /// The wavefunction, where it is a sum of determinants.
    pub state: Option<ExactState>,
}

/// Quantum numbers of a state; none where there is no such symmetry, or where degenerate states mix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Labels {
    /// Total spin.
    pub spin: Option<f64>,
    /// Sign under reflection of all particles at the middle, where the potential is even about it.
    pub parity: Option<i8>,
    /// Magnitude of the total momentum in `2 pi / circumference`, on a ring whose potential is constant.
    pub momentum: Option<u32>,
    /// Whether another state has the same energy within what the eigensolver resolves: the density is then that
    /// of one of many combinations.
    pub degenerate: bool,
}

/// The lowest states of a sector.
#[derive(Clone, Debug)]
pub struct ExactResult {
    /// Electronic energies, ascending, in Hartree.
    pub energies: Vec<f64>,
    /// Estimated errors of the energies, in Hartree.
    pub error_estimates: Vec<f64>,
    /// Parts of the estimate of the ground state.
    pub error_budget: ErrorBudget,
    /// Components of the ground-state energy.
    pub components: Components,
    /// Quantum numbers of the states; empty where a limit left no wavefunctions.
    pub labels: Vec<Labels>,
    /// Densities of the states above the ground state; empty where a limit left none.
    pub excited_densities: Vec<Density>,
    /// How the numbers were obtained.
    pub method: String,
    /// The convergence table.
    pub convergence: Vec<ConvergenceRow>,
    /// The ground state, or which limit left none: energies in gaps and closed forms need no
    /// determinants, densities do.
    pub ground_state: Result<GroundState, ExactError>,
    /// The sector.
    pub sector: Sector,
    /// The geometry the numbers belong to, chosen by the tool on a line; `None` where it needed no
    /// walls.
    pub geometry: Option<Geometry>,
    /// Where the middle between walls that the tool chose is, in bohr.
    pub centre: f64,
    /// Products with the Hamiltonian in all calculations: a measure of work.
    pub products: usize,
    /// Whether the estimates are below the tolerance that was asked for.
    pub converged: bool,
}

/// Deterministic numbers in (-1, 1), to give every symmetry a share of the starting vectors
/// (splitmix64: G. L. Steele et al., OOPSLA 2014).
#[derive(Clone, Debug, Default)]
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}
