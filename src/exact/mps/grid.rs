//! Uniform grids: which spacing and walls the mean field asks for, and the Hamiltonian on them.
//!
//! D. T. Colbert and W. H. Miller, J. Chem. Phys. 96, 1982 (1992); on a ring C. C. Marston and G. G. Balint-Kurti,
//! J. Chem. Phys. 91, 3571 (1989), for odd numbers of points.

use super::mpo::Operator;
use crate::exact::calculation::{FIRST_CUTOFF, GROWTH, Setting};
use crate::exact::dvr::{OneBodyBasis, UniformGrid, cells_that_see, finite_at_contact};
use crate::exact::hartree_fock::{HartreeFock, HartreeFockOptions, self_consistent};
use crate::exact::watch::Watch;
use crate::exact::{ExactError, ExactOptions};
use crate::math::linalg::mul;
use crate::system::{Geometry, Hamiltonian, Interaction, Sector};
use faer::Mat;
use std::f64::consts::PI;

/// Points at most.
pub(super) const MOST_POINTS: usize = 600;
/// Factor from one spacing to the next.
const FINER: f64 = 0.87;

/// Whether a uniform grid can hold the interaction at all: what diverges at contact is not for a grid.
pub(in crate::exact) fn applies(interaction: &Interaction) -> bool {
    finite_at_contact(interaction)
}

/// A discrete variable representation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Grid {
    pub(super) geometry: Geometry,
    /// Cells: one more than there are points between walls, as many on a ring.
    pub(super) cells: usize,
    pub(super) points: Vec<f64>,
    pub(super) spacing: f64,
}

impl Grid {
    /// On a ring an even number of cells is raised to the next odd one.
    pub(super) fn new(geometry: Geometry, cells: usize) -> Self {
        let cells = match geometry {
            Geometry::Ring { .. } => cells.max(3) | 1,
            _ => cells.max(4),
        };
        let grid = UniformGrid::new(&geometry, cells, false);
        Grid { geometry, cells, points: grid.points, spacing: grid.weight }
    }

    /// The next finer one.
    pub(super) fn finer(&self) -> Self {
        let cells = (self.cells as f64 / FINER).ceil() as usize;
        Self::new(self.geometry, cells.max(self.cells + 2))
    }

    /// Walls further out by about this share, the same spacing.
    pub(super) fn wider(&self, share: f64) -> Self {
        let Geometry::Box { half_width } = self.geometry else { return self.clone() };
        let more = ((share * half_width / self.spacing).ceil() as usize).max(1);
        let half_width = half_width + more as f64 * self.spacing;
        Self::new(Geometry::Box { half_width }, self.cells + 2 * more)
    }

    /// The functions that the points stand for.
    pub(super) fn basis(&self) -> OneBodyBasis {
        OneBodyBasis::new(self.geometry, self.points.len())
    }

    /// Matrix of the kinetic energy between the points.
    pub(super) fn kinetic(&self) -> Mat<f64> {
        let (a, b) = self.geometry.interval();
        let (n, length) = (self.points.len(), b - a);
        let alternating = |i: usize, j: usize| if (i + j).is_multiple_of(2) { 1.0 } else { -1.0 };
        match self.geometry {
            Geometry::Ring { .. } => {
                let unit = 0.5 * (2.0 * PI / length).powi(2);
                let count = n as f64;
                Mat::from_fn(n, n, |i, j| {
                    if i == j {
                        return unit * (count * count - 1.0) / 12.0;
                    }
                    let angle = PI * (i as f64 - j as f64) / count;
                    unit * alternating(i, j) * angle.cos() / (2.0 * angle.sin().powi(2))
                })
            }
            _ => {
                let cells = self.cells as f64;
                let unit = 0.25 * (PI / length).powi(2);
                let square = |k: f64| (0.5 * PI * k / cells).sin().powi(2);
                Mat::from_fn(n, n, |i, j| {
                    let (a, b) = (i as f64 + 1.0, j as f64 + 1.0);
                    if i == j {
                        let edge = (PI * a / cells).sin().powi(2);
                        unit * ((2.0 * cells * cells + 1.0) / 3.0 - 1.0 / edge)
                    } else {
                        unit * alternating(i, j) * (1.0 / square(a - b) - 1.0 / square(a + b))
                    }
                })
            }
        }
    }

    pub(super) fn external(&self, hamiltonian: &Hamiltonian) -> Vec<f64> {
        self.points.iter().map(|&x| hamiltonian.external.value(x)).collect()
    }

    pub(super) fn interaction(&self, hamiltonian: &Hamiltonian) -> Mat<f64> {
        let (n, x) = (self.points.len(), &self.points);
        // Distances depend on the difference of the places only.
        let w: Vec<f64> = x
            .iter()
            .map(|y| hamiltonian.interaction.value(self.geometry.distance(*y, x[0])))
            .collect();
        Mat::from_fn(n, n, |i, j| w[i.abs_diff(j)])
    }

    /// Whether particles attract each other at some distance.
    pub(super) fn attracts(&self, hamiltonian: &Hamiltonian) -> bool {
        let distance = |x: &f64| self.geometry.distance(*x, self.points[0]);
        self.points.iter().any(|x| hamiltonian.interaction.value(distance(x)) < 0.0)
    }

    /// The Hamiltonian of the particles of `sector` on the points, with couplings down to `tolerance`.
    pub(super) fn operator(
        &self,
        hamiltonian: &Hamiltonian,
        sector: Sector,
        tolerance: f64,
    ) -> Operator {
        let spins: Vec<usize> =
            [sector.up, sector.down].iter().enumerate().filter(|n| *n.1 > 0).map(|n| n.0).collect();
        let w = self.interaction(hamiltonian);
        Operator::new(
            self.kinetic().as_ref(),
            &self.external(hamiltonian),
            |i, j| w[(i, j)],
            &spins,
            tolerance,
        )
    }
}

/// Occupied orbitals that tell how fine a grid must be and where a search begins.
pub(super) struct Field {
    basis: OneBodyBasis,
    /// Coefficients of the occupied orbitals of each spin.
    orbitals: [Mat<f64>; 2],
}

impl Field {
    fn of(hf: &HartreeFock, sector: Sector) -> Self {
        let orbitals = [
            hf.orbitals_up.subcols(0, sector.up).to_owned(),
            hf.orbitals_down.subcols(0, sector.down).to_owned(),
        ];
        Field { basis: hf.basis, orbitals }
    }

    /// The orbitals on the points of a grid, orthonormal.
    pub(super) fn on(&self, grid: &Grid) -> [Mat<f64>; 2] {
        let values = self.basis.evaluate(&grid.points);
        [0, 1].map(|s| {
            let c = &self.orbitals[s];
            orthonormal(&mul(values.as_ref(), c.as_ref()))
        })
    }

    /// Energy of the determinant on a grid, in Hartree.
    fn energy(&self, hamiltonian: &Hamiltonian, grid: &Grid) -> f64 {
        let orbitals = self.on(grid);
        let n = grid.points.len();
        let d = orbitals.map(|c| mul(c.as_ref(), c.transpose()));
        let (t, v, w) = (grid.kinetic(), grid.external(hamiltonian), grid.interaction(hamiltonian));
        let mut energy = 0.0;
        for j in 0..n {
            for i in 0..n {
                let both = d[0][(i, j)] + d[1][(i, j)];
                let total = |k: usize| d[0][(k, k)] + d[1][(k, k)];
                let exchange = d[0][(i, j)].powi(2) + d[1][(i, j)].powi(2);
                energy += t[(i, j)] * both + 0.5 * w[(i, j)] * (total(i) * total(j) - exchange);
            }
            energy += v[j] * (d[0][(j, j)] + d[1][(j, j)]);
        }
        energy
    }

    /// Particles of different spin at the same place, per bohr: the integral of the product of the densities.
    fn contact(&self, grid: &Grid) -> f64 {
        let density = self.on(grid).map(|c| {
            let at = |i: usize| (0..c.ncols()).map(|k| c[(i, k)].powi(2)).sum::<f64>();
            (0..c.nrows()).map(at).collect::<Vec<f64>>()
        });
        density[0].iter().zip(&density[1]).map(|(u, d)| u * d).sum::<f64>() / grid.spacing
    }
}

fn orthonormal(c: &Mat<f64>) -> Mat<f64> {
    let mut columns: Vec<Vec<f64>> = vec![];
    for k in 0..c.ncols() {
        let mut v: Vec<f64> = (0..c.nrows()).map(|i| c[(i, k)]).collect();
        for _ in 0..2 {
            for b in &columns {
                let s = crate::math::linalg::dot(&v, b);
                crate::math::linalg::add_scaled(&mut v, -s, b);
            }
        }
        let length = crate::math::linalg::norm(&v).max(1e-150);
        v.iter_mut().for_each(|x| *x /= length);
        columns.push(v);
    }
    Mat::from_fn(c.nrows(), c.ncols(), |i, k| columns[k][i])
}

/// The mean field of a sector and the coarsest grid that comes into question.
pub(super) struct Start {
    pub(super) field: Field,
    pub(super) grid: Grid,
    /// How much smaller the mean field expects the error of the next finer grid to be.
    pub(super) ratio: f64,
}

/// Finds the mean field, walls on the line, and a spacing.
pub(super) fn start(
    setting: Setting,
    hamiltonian: &Hamiltonian,
    geometry: &Geometry,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<Start, ExactError> {
    let (geometry, field) = match *geometry {
        Geometry::Line => field_on_line(setting, hamiltonian, sector, options, watch)?,
        finite => {
            let cutoff = first_cutoff(finite, sector);
            (finite, resolved(hamiltonian, finite, cutoff, sector, options, watch)?.0)
        }
    };
    let polarised = sector.is_polarised();
    let (cells, unseen) = cells_that_see(&hamiltonian.interaction, &geometry, polarised)?;
    let too_fine = |points: usize| ExactError::TooFine { points, most: MOST_POINTS };
    if unseen * (sector.particles() as f64).powi(2) > 0.1 * options.tolerance {
        return Err(too_fine(2 * cells));
    }
    let particles = sector.up.max(sector.down);
    // The fewest cells that are looked at say nothing.
    let needed = if cells <= 64 { 0 } else { cells };
    let mut grid = Grid::new(geometry, needed.max(2 * particles + 4));
    let error = |grid: &Grid, watch: &mut dyn Watch| -> Result<f64, ExactError> {
        watch.spend(40.0 * (grid.points.len() as f64).powi(2))?;
        let finer = Grid::new(geometry, 2 * grid.cells);
        let field_error = field.energy(hamiltonian, grid) - field.energy(hamiltonian, &finer);
        // Spins that meet make products of densities that the mean field does not know.
        let meeting = field.contact(grid) * kernel_defect(&hamiltonian.interaction, grid);
        Ok(field_error.abs() + meeting)
    };
    let target = FIRST_ERROR * options.tolerance;
    let mut here = error(&grid, watch)?;
    loop {
        let next = grid.finer();
        let there = error(&next, watch)?;
        if here.max(there) <= target {
            let ratio = if here > 1e-13 { (there / here).clamp(0.05, 0.7) } else { 0.2 };
            return Ok(Start { field, grid, ratio });
        }
        // As fine as leaves room for a finer one, if that is of any use.
        if next.points.len() as f64 * ROOM > MOST_POINTS as f64 {
            if here > USEFUL_ERROR {
                return Err(too_fine((ROOM * next.points.len() as f64) as usize));
            }
            return Ok(Start { field, grid, ratio: (there / here).clamp(0.05, 0.9) });
        }
        (grid, here) = (next, there);
    }
}

/// Kinetic energy in the last fifth of the functions of the mean field over the tolerance: its ripple hides how far the
/// walls are.
const TAIL: f64 = 0.1;
/// Growth of a grid by walls further out and a finer spacing.
const ROOM: f64 = 1.35;
/// Error of the mean field on the first grid, in Hartree, that a result may begin with where no finer grid is allowed.
const USEFUL_ERROR: f64 = 1e-4;
/// Error of the mean field on the first grid over the tolerance.
const FIRST_ERROR: f64 = 10.0;

/// What the sum over a grid makes of the integral of the interaction close to contact, too much or too little.
fn kernel_defect(interaction: &Interaction, grid: &Grid) -> f64 {
    let (a, b) = grid.geometry.interval();
    let reach = 0.25 * (b - a);
    let window = |d: f64| (1.0 - (d / reach).powi(2)).max(0.0).powi(6);
    let sum = |h: f64| {
        let f = |k: usize| interaction.value(k as f64 * h) * window(k as f64 * h);
        h * (f(0) + 2.0 * (1..=(reach / h) as usize).map(f).sum::<f64>())
    };
    (sum(grid.spacing) - sum(0.5 * grid.spacing)).abs()
}

/// Hartree-Fock with wave numbers enough for its kinetic energy; and the cutoff.
fn resolved(
    hamiltonian: &Hamiltonian,
    geometry: Geometry,
    cutoff: f64,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<(Field, f64, HartreeFock), ExactError> {
    let settings = HartreeFockOptions { tolerance: 1e-6, iterations: 60, mixing: 0.0 };
    let mut cutoff = cutoff;
    loop {
        let basis = OneBodyBasis::with_cutoff(geometry, cutoff, sector.particles() + 8);
        if basis.size() > MOST_POINTS {
            return Err(ExactError::TooFine { points: basis.size(), most: MOST_POINTS });
        }
        let hf = self_consistent(hamiltonian, basis, sector, &settings, watch)?;
        let larger = OneBodyBasis::with_cutoff(geometry, cutoff * GROWTH, sector.particles() + 8);
        if hf.kinetic_tail(sector) < TAIL * options.tolerance || larger.size() > MOST_POINTS {
            return Ok((Field::of(&hf, sector), cutoff, hf));
        }
        cutoff *= GROWTH;
    }
}

/// Where the search for the cutoff of the mean field begins, in 1/bohr: a wide box has many functions below it.
fn first_cutoff(geometry: Geometry, sector: Sector) -> f64 {
    let (a, b) = geometry.interval();
    FIRST_CUTOFF.min(PI * (2 * sector.particles() + 24) as f64 / (b - a))
}

/// Walls that the mean field hardly touches.
fn field_on_line(
    setting: Setting,
    hamiltonian: &Hamiltonian,
    sector: Sector,
    options: &ExactOptions,
    watch: &mut dyn Watch,
) -> Result<(Geometry, Field), ExactError> {
    let mut half_width = (setting.reach() + 3.0).max(4.0).min(setting.most / 1.15);
    let mut cutoff: Option<f64> = None;
    let mut previous = f64::INFINITY;
    loop {
        let geometry = Geometry::Box { half_width };
        let first = cutoff.unwrap_or_else(|| first_cutoff(geometry, sector));
        let (field, reached, hf) = resolved(hamiltonian, geometry, first, sector, options, watch)?;
        cutoff = Some(reached);
        let pressure = hf.wall_pressure(sector);
        if pressure < options.tolerance || pressure > 0.9 * previous {
            return Ok((geometry, field));
        }
        if half_width * 1.15 > setting.most {
            return Err(ExactError::Unbound { half_width, change: pressure });
        }
        previous = pressure;
        half_width *= 1.15;
    }
}
