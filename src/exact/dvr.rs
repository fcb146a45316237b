//! The one-body problem in sine functions (box) or plane waves (ring).
//!
//! A discrete variable representation with `n` points and the first `n` sine functions span the same
//! space (D. T. Colbert and W. H. Miller, "A novel discrete variable representation for quantum
//! mechanical reactive scattering via the S-matrix Kohn method", J. Chem. Phys. 96, 1982 (1992)). A
//! plain DVR evaluates the potential with its own `n` points, which costs it the variational
//! principle. Here the quadrature grid is finer than the basis, so products of orbitals are
//! integrated without aliasing and energies converge from above as the basis grows.

use crate::math::linalg::{EigenFailure, mul, symmetric_eigen, symmetrised};
use crate::math::quadrature::gauss_jacobi;
use crate::system::{External, Geometry, Interaction};
use faer::Mat;
use std::f64::consts::PI;

/// The solver never gets here: on the line it works between walls of its own choice.
fn no_walls() -> ! {
    panic!("the line has no finite basis")
}

/// The lowest sine functions of a box, or plane waves (real form) of a ring.
///
/// Box: `chi_k(x) = sin(k pi (x + L) / 2L) / sqrt(L)`, k = 1..n. Ring: the constant, then
/// `sqrt(2/C) cos(2 pi m x / C)` and `sqrt(2/C) sin(2 pi m x / C)` for m = 1, 2, ..
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneBodyBasis {
    geometry: Geometry,
    size: usize,
}

impl OneBodyBasis {
    /// The lowest `size` functions. On a ring an even `size` is raised to the next odd number, so
    /// that no cosine lacks its sine.
    ///
    /// # Panics
    /// On the line, which has no such functions: walls must be chosen first.
    pub fn new(geometry: Geometry, size: usize) -> Self {
        let size = match geometry {
            Geometry::Box { .. } => size.max(1),
            Geometry::Ring { .. } => size | 1,
            Geometry::Line => no_walls(),
        };
        OneBodyBasis { geometry, size }
    }

    /// All functions with a wave number up to `cutoff` (1/bohr), at least `least` of them.
    ///
    /// # Panics
    /// On the line.
    pub fn with_cutoff(geometry: Geometry, cutoff: f64, least: usize) -> Self {
        let size = match geometry {
            Geometry::Box { half_width } => (cutoff * 2.0 * half_width / PI).ceil() as usize,
            Geometry::Ring { circumference } => {
                let waves = (cutoff * circumference / (2.0 * PI)).ceil() as usize;
                waves.saturating_mul(2).saturating_add(1)
            }
            Geometry::Line => no_walls(),
        };
        Self::new(geometry, size.max(least))
    }

    /// Number of basis functions.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The space the functions live in.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Wave number of function `index` (from 0), in 1/bohr.
    pub fn wave_number(&self, index: usize) -> f64 {
        match self.geometry {
            Geometry::Box { half_width } => (index + 1) as f64 * PI / (2.0 * half_width),
            Geometry::Ring { circumference } => index.div_ceil(2) as f64 * 2.0 * PI / circumference,
            Geometry::Line => no_walls(),
        }
    }

    /// Kinetic energies `k²/2`, in Hartree; the kinetic energy is diagonal in this basis.
    pub fn kinetic(&self) -> Vec<f64> {
        (0..self.size).map(|i| 0.5 * self.wave_number(i).powi(2)).collect()
    }

    /// Value of function `index` at `x`.
    pub fn value(&self, index: usize, x: f64) -> f64 {
        match self.geometry {
            Geometry::Box { half_width } => {
                if x.abs() > half_width {
                    return 0.0;
                }
                (self.wave_number(index) * (x + half_width)).sin() / half_width.sqrt()
            }
            Geometry::Ring { circumference } => {
                let phase = self.wave_number(index) * x;
                match index {
                    0 => (1.0 / circumference).sqrt(),
                    i if i % 2 == 1 => (2.0 / circumference).sqrt() * phase.cos(),
                    _ => (2.0 / circumference).sqrt() * phase.sin(),
                }
            }
            Geometry::Line => no_walls(),
        }
    }

    /// Values of all functions: one row per point, one column per function.
    pub fn evaluate(&self, points: &[f64]) -> Mat<f64> {
        Mat::from_fn(points.len(), self.size, |i, k| self.value(k, points[i]))
    }
}

/// A uniform grid on the geometry with equal weights: the trapezoidal rule (functions vanish at hard
/// walls; a ring has no ends).
#[derive(Clone, Debug, PartialEq)]
pub struct UniformGrid {
    /// The points, in bohr.
    pub points: Vec<f64>,
    /// The weight of each point, in bohr.
    pub weight: f64,
}

impl UniformGrid {
    /// A grid of `cells` equal cells; `shifted` by half a cell or not.
    pub fn new(geometry: &Geometry, cells: usize, shifted: bool) -> Self {
        let (a, b) = geometry.interval();
        let h = (b - a) / cells as f64;
        let offset = if shifted { 0.5 } else { 0.0 };
        let range = match (geometry, shifted) {
            (Geometry::Box { .. }, false) => 1..cells,
            _ => 0..cells,
        };
        let points = range.map(|i| a + (i as f64 + offset) * h).collect();
        UniformGrid { points, weight: h }
    }
}

/// Lowest eigenstates of one particle.
#[derive(Clone, Debug)]
pub struct OneBodySolution {
    /// The basis the orbitals are expanded in.
    pub basis: OneBodyBasis,
    /// Orbital energies in ascending order, in Hartree.
    pub energies: Vec<f64>,
    /// Coefficients in the basis: one column per orbital, orthonormal.
    pub orbitals: Mat<f64>,
}

impl OneBodySolution {
    /// Values of the lowest `count` orbitals: one row per point, one column per orbital.
    pub fn evaluate(&self, points: &[f64], count: usize) -> Mat<f64> {
        mul(self.basis.evaluate(points).as_ref(), self.orbitals.subcols(0, count))
    }
}

/// Cells of the quadrature grid that integrate products of basis functions with the interaction, at
/// least `least`.
pub(crate) fn default_cells(basis: &OneBodyBasis, least: usize) -> usize {
    (3 * basis.size() + 32).max(least)
}

/// Cells at most that are spent on seeing a narrow interaction.
const MOST_CELLS: usize = 2000;

/// Fewest cells with which the refinement of the quadrature sees what `w` does close to contact, where
/// equal spins only (`polarised`) weigh it with `d²`; and the part of it that no allowed number
/// sees, per density of pairs at contact.
///
/// A grid that misses a narrow `w` altogether does not change when it is made a little finer. The sum
/// over the grid may differ from the integral by no more than a few times what one refinement
/// changes it, and by no more than a ten-thousandth.
pub(crate) fn cells_that_see(
    interaction: &Interaction,
    geometry: &Geometry,
    polarised: bool,
) -> Result<(usize, f64), EigenFailure> {
    if matches!(interaction, Interaction::None) || !finite_at_contact(interaction) {
        return Ok((0, 0.0));
    }
    let (a, b) = geometry.interval();
    let reach = 0.25 * (b - a);
    let f = |d: f64| {
        let weight = if polarised { d * d } else { 1.0 };
        // A window that ends smoothly: only contact is of interest.
        interaction.value(d) * weight * (1.0 - (d / reach).powi(2)).max(0.0).powi(6)
    };
    let sum = |cells: usize| {
        let h = (b - a) / cells as f64;
        let count = (reach / h) as usize;
        h * (0.5 * f(0.0) + (1..=count).map(|k| f(k as f64 * h)).sum::<f64>())
    };
    let mut scale = 0.0;
    let mut integral = 0.0;
    // Gauss panels in ever smaller intervals towards contact.
    let (points, weights) = gauss_jacobi(0.0, PANEL_POINTS)?;
    for octave in 0..60 {
        let half = 0.5 * reach * 0.5_f64.powi(octave) / 16.0;
        for panel in 0..8 {
            let middle = (16 + 2 * panel + 1) as f64 * half;
            for (x, w) in points.iter().zip(&weights) {
                let value = w * half * f(middle + half * x);
                integral += value;
                scale += value.abs();
            }
        }
    }
    let mut cells = 64;
    loop {
        let defect = (sum(cells) - integral).abs();
        let seen = (sum(cells) - sum(cells * 3 / 2)).abs();
        if defect <= (4.0 * seen + 1e-12 * scale).min(1e-4 * scale) {
            return Ok((cells, 0.0));
        }
        if cells >= MOST_CELLS {
            return Ok((cells, defect));
        }
        cells = cells * 5 / 4;
    }
}

/// Points per panel of the quadrature for external potentials.
const PANEL_POINTS: usize = 16;
/// Panels to begin with: what is narrower than their points are apart may be missed.
const PANELS: usize = 128;
/// Panels at most.
const MOST_PANELS: usize = 1024;

/// Points and weights that integrate `f` times products of the functions of the basis: Gauss panels,
/// halved where `f` is not smooth (a kink, a step, a narrow well).
fn adaptive_rule(
    f: impl Fn(f64) -> f64,
    basis: &OneBodyBasis,
) -> Result<(Vec<f64>, Vec<f64>), EigenFailure> {
    let (points, weights) = gauss_jacobi(0.0, PANEL_POINTS)?;
    let (a, b) = basis.geometry().interval();
    let integral = |a: f64, b: f64| -> [f64; 2] {
        let (middle, half) = (0.5 * (a + b), 0.5 * (b - a));
        let mut sums = [0.0; 2];
        for (x, w) in points.iter().zip(&weights) {
            let value = f(middle + half * x) * half * w;
            sums[0] += value;
            sums[1] += value.abs();
        }
        sums
    };
    // Two panels per wave length of the fastest product.
    let count = PANELS.max(2 * basis.size());
    let edge = |i: usize| a + (b - a) * i as f64 / count as f64;
    let mut open: Vec<(f64, f64, [f64; 2])> =
        (0..count).rev().map(|i| (edge(i), edge(i + 1), integral(edge(i), edge(i + 1)))).collect();
    let total: f64 = open.iter().map(|p| p.2[1]).sum();
    let mut rule = (vec![], vec![]);
    let mut panels = count;
    while let Some((a, b, whole)) = open.pop() {
        let middle = 0.5 * (a + b);
        let (left, right) = (integral(a, middle), integral(middle, b));
        let error = (left[0] + right[0] - whole[0]).abs();
        if error > 1e-15 * total && panels < count + MOST_PANELS && b - a > 1e-9 {
            panels += 1;
            open.push((middle, b, right));
            open.push((a, middle, left));
        } else {
            let half = 0.5 * (b - a);
            rule.0.extend(points.iter().map(|x| middle + half * x));
            rule.1.extend(weights.iter().map(|w| half * w));
        }
    }
    Ok(rule)
}

/// Matrix of `v(x)` in the basis.
pub(crate) fn external_matrix(
    external: &External,
    basis: &OneBodyBasis,
) -> Result<Mat<f64>, EigenFailure> {
    let n = basis.size();
    if matches!(external, External::Free) {
        return Ok(Mat::zeros(n, n));
    }
    let (points, weights) = adaptive_rule(|x| external.value(x), basis)?;
    let phi = basis.evaluate(&points);
    let v: Vec<f64> = points.iter().zip(&weights).map(|(&x, w)| w * external.value(x)).collect();
    let weighted = Mat::from_fn(phi.nrows(), phi.ncols(), |i, k| v[i] * phi[(i, k)]);
    Ok(symmetrised(mul(phi.transpose(), weighted.as_ref()).as_ref()))
}

/// Matrix of `-1/2 d²/dx² + v(x)` in the basis.
pub(crate) fn one_body_matrix(
    external: &External,
    basis: &OneBodyBasis,
) -> Result<Mat<f64>, EigenFailure> {
    let mut h = external_matrix(external, basis)?;
    for (k, t) in basis.kinetic().into_iter().enumerate() {
        h[(k, k)] += t;
    }
    Ok(h)
}

/// Eigenstates of `-1/2 d²/dx² + v(x)` in the basis: as many as it has functions.
///
/// # Errors
/// [`EigenFailure`] when `v` is not finite on the grid.
pub fn solve_one_body(
    external: &External,
    basis: OneBodyBasis,
) -> Result<OneBodySolution, EigenFailure> {
    crate::parallel::pin_linear_algebra();
    let h = one_body_matrix(external, &basis)?;
    let (energies, orbitals) = symmetric_eigen(h.as_ref())?;
    Ok(OneBodySolution { basis, energies, orbitals })
}

/// Two grids and the interaction between their points.
///
/// The second grid is the first one, or, where `w` diverges at contact, the first one shifted by half
/// a cell: the integrand `w(d) psi²` is finite there as `psi` vanishes, but `w(0)` is not a number.
#[derive(Clone, Debug)]
pub(crate) struct PairGrid {
    pub(crate) first: UniformGrid,
    pub(crate) second: UniformGrid,
    /// `w` at the distance of a point of the first grid (row) from one of the second (column).
    pub(crate) w: Mat<f64>,
}

/// Whether `w` is finite at contact.
pub(crate) fn finite_at_contact(interaction: &Interaction) -> bool {
    interaction.value(0.0).is_finite()
}

impl PairGrid {
    /// Grid of `cells` cells and the interaction on it.
    pub(crate) fn new(interaction: &Interaction, geometry: &Geometry, cells: usize) -> Self {
        let shifted = !finite_at_contact(interaction);
        let first = UniformGrid::new(geometry, cells, false);
        let second = UniformGrid::new(geometry, cells, shifted);
        // Distances depend on the difference of the indices only: few evaluations of w.
        let h = first.weight;
        let lag = |k: i64| {
            let d = (k as f64 + if shifted { 0.5 } else { 0.0 }) * h;
            interaction.value(geometry.distance(d, 0.0))
        };
        let cells = cells as i64;
        let table: Vec<f64> = (-cells..=cells).map(lag).collect();
        let origin = |g: &UniformGrid| (g.points[0] / h - first.points[0] / h).floor() as i64;
        let (a, b) = (0, origin(&second));
        let w = Mat::from_fn(first.points.len(), second.points.len(), |i, j| {
            table[((j as i64 + b) - (i as i64 + a) + cells) as usize]
        });
        PairGrid { first, second, w }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_are_as_fine_as_the_interaction_is_narrow() {
        let geometry = Geometry::Box { half_width: 6.0 };
        let cells =
            |w: Interaction, polarised: bool| cells_that_see(&w, &geometry, polarised).unwrap();
        let soft = Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 };
        let gaussian = |width: f64| Interaction::Gaussian { strength: -2.0, width };
        for polarised in [false, true] {
            let (wide, narrow) =
                (cells(gaussian(0.5), polarised), cells(gaussian(0.02), polarised));
            assert!(wide.0 < 100 && cells(soft.clone(), polarised).0 < 100, "{wide:?}");
            assert!((400..1000).contains(&narrow.0) && narrow.1 == 0.0, "{narrow:?}");
            // Too narrow for any grid: what is missed is known.
            let (_, missed) = cells(gaussian(1e-4), polarised);
            let integral = (0.5 * PI).sqrt() * 2.0 * if polarised { 1e-12 } else { 1e-4 };
            assert!(missed > 0.2 * integral, "{missed:e}");
        }
    }

    #[test]
    fn kinks_and_narrow_wells_are_integrated() {
        let basis = OneBodyBasis::new(Geometry::Box { half_width: 5.0 }, 6);
        let of = |formula: &str| -> Mat<f64> {
            let v: External = ron::from_str(&format!("Formula(\"{formula}\")")).unwrap();
            external_matrix(&v, &basis).unwrap()
        };
        let (c, l) = (1.0_f64, 5.0_f64);
        let fine = 2_000_000;
        let h = 2.0 * l / fine as f64;
        let sum: f64 = (0..fine)
            .map(|i| {
                let x = -l + (i as f64 + 0.5) * h;
                h * (x - c).abs() * basis.value(0, x).powi(2)
            })
            .sum();
        assert!((of("abs(x-1)")[(0, 0)] - sum).abs() < 1e-10);
        let s = 0.01_f64;
        let narrow = of("exp(-(x-1)^2/0.0002)")[(0, 0)];
        let expected = (2.0 * PI).sqrt() * s * 0.5 / l
            * (1.0 + (PI * c / l).cos() * (-0.5 * (PI * s / l).powi(2)).exp());
        assert!((narrow - expected).abs() < 1e-13, "{narrow} {expected}");
    }
}
