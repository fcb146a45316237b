//! An exact state in hand: densities, occupations, components, and the wavefunction at a point.

use super::ci::{CiSpace, PairMatrices};
use super::dvr::{OneBodyBasis, PairGrid, external_matrix};
use super::integrals::{transform, two_body};
use super::strings::StringSpace;
use super::watch::Watch;
use super::{Components, Density, ExactError, Labels, Noise, PairDensity};
use crate::math::linalg::{EigenFailure, mul, norm, symmetric_eigen};
use crate::system::{External, Frame, Geometry, Hamiltonian, Sector};
use faer::Mat;
use std::cmp::Ordering;

/// A state as a sum of determinants over orbitals that are sine series (or plane waves).
#[derive(Clone, Debug)]
pub struct ExactState {
    pub(crate) basis: OneBodyBasis,
    /// Basis coefficients, one column per orbital.
    pub(crate) orbitals: Mat<f64>,
    pub(crate) space: CiSpace,
    /// Spin-up strings by spin-down strings, by rows; unit norm.
    pub(crate) coefficients: Vec<f64>,
    /// One-body density matrices in the orbitals, spin up and spin down.
    pub(crate) one_body: (Mat<f64>, Mat<f64>),
    /// `<S²>`.
    spin_squared: f64,
    /// The units of basis and orbitals.
    pub(super) frame: Frame,
}

impl ExactState {
    pub(crate) fn new(
        basis: OneBodyBasis,
        orbitals: Mat<f64>,
        sector: Sector,
        mut coefficients: Vec<f64>,
        watch: &mut dyn Watch,
    ) -> Result<Self, ExactError> {
        let space = CiSpace::new(sector, orbitals.ncols());
        let length = norm(&coefficients);
        coefficients.iter_mut().for_each(|c| *c /= length);
        let (one_body, spin_squared) = if sector.particles() == 1 {
            let m = orbitals.ncols();
            let d = Mat::from_fn(m, m, |i, j| coefficients[i] * coefficients[j]);
            let none = Mat::zeros(m, m);
            (if sector.up == 1 { (d, none) } else { (none, d) }, 0.75)
        } else {
            let pairs = space.pair_densities(&coefficients, watch)?;
            (pairs.one_body(sector), pairs.spin_squared(sector))
        };
        let frame = Frame::ATOMIC;
        Ok(ExactState { basis, orbitals, space, coefficients, one_body, spin_squared, frame })
    }

    /// The sector the state belongs to.
    pub fn sector(&self) -> Sector {
        self.space.sector
    }

    /// The basis of the orbitals, in the units of the system.
    pub fn basis(&self) -> OneBodyBasis {
        self.basis
    }

    /// Number of determinants.
    pub fn determinants(&self) -> usize {
        self.coefficients.len()
    }

    /// The wavefunction on the fundamental domain, `int_D psi² = 1`, at a configuration that lists
    /// the spin-up coordinates first, each spin sorted ascending. In bohr^(-N/2).
    ///
    /// At other orderings the value is the antisymmetric continuation. The sign is such that the
    /// largest coefficient is positive.
    ///
    /// # Panics
    /// When `x` does not hold one coordinate per particle.
    pub fn psi(&self, x: &[f64]) -> f64 {
        let Sector { up, down, .. } = self.space.sector;
        assert_eq!(x.len(), up + down, "one coordinate per particle");
        let Frame { origin, length, .. } = self.frame;
        let x: Vec<f64> = x.iter().map(|x| (x - origin) / length).collect();
        let phi = mul(self.basis.evaluate(&x).as_ref(), self.orbitals.as_ref());
        let a = minors(&self.space.up, &phi, 0);
        let b = minors(&self.space.down, &phi, up);
        let mut sum = 0.0;
        for (i, ai) in a.iter().enumerate() {
            let row = &self.coefficients[i * b.len()..(i + 1) * b.len()];
            sum += ai * row.iter().zip(&b).map(|(c, bi)| c * bi).sum::<f64>();
        }
        let largest =
            self.coefficients.iter().fold(0.0_f64, |m, c| if c.abs() > m.abs() { *c } else { m });
        sum * largest.signum() * length.powf(-0.5 * (up + down) as f64)
    }

    /// Occupations of the natural orbitals of the spin-summed density matrix, descending.
    pub(crate) fn natural_occupations(&self) -> Result<Vec<f64>, EigenFailure> {
        let total = &self.one_body.0 + &self.one_body.1;
        let (values, _) = symmetric_eigen(total.as_ref())?;
        Ok(values.into_iter().rev().collect())
    }

    /// One-body densities on `points` equally spaced points from end to end.
    pub(crate) fn density(&self, points: usize) -> Density {
        let (a, b) = self.basis.geometry().interval();
        let h = (b - a) / (points - 1) as f64;
        let x: Vec<f64> = (0..points).map(|i| a + i as f64 * h).collect();
        let phi = mul(self.basis.evaluate(&x).as_ref(), self.orbitals.as_ref());
        let of = |d: &Mat<f64>| -> Vec<f64> {
            let y = mul(phi.as_ref(), d.as_ref());
            (0..points)
                .map(|i| (0..phi.ncols()).map(|k| y[(i, k)] * phi[(i, k)]).sum::<f64>())
                .collect()
        };
        Density { up: of(&self.one_body.0), down: of(&self.one_body.1), x }
    }

    /// Pair density on `points` by `points` equally spaced points from end to end.
    pub(crate) fn pair_density(
        &self,
        points: usize,
        watch: &mut dyn Watch,
    ) -> Result<PairDensity, ExactError> {
        let (a, b) = self.basis.geometry().interval();
        let h = (b - a) / (points - 1) as f64;
        let x: Vec<f64> = (0..points).map(|i| a + i as f64 * h).collect();
        let phi = || mul(self.basis.evaluate(&x).as_ref(), self.orbitals.as_ref());
        let values = match self.space.sector.particles() {
            0 | 1 => vec![0.0; points * points],
            2 => self.square_of_pair(&phi()),
            _ => self.pairs_of_many(&phi(), watch)?,
        };
        Ok(PairDensity { x, values })
    }

    /// `2 psi(x, y)²` over all points: of two particles there is nothing else to sum over. Rows of `phi` are points.
    fn square_of_pair(&self, phi: &Mat<f64>) -> Vec<f64> {
        let (m, points) = (self.space.orbitals, phi.nrows());
        let opposite = self.space.sector.up == 1;
        let c = Mat::from_fn(m, m, |p, q| match (opposite, p.cmp(&q)) {
            (true, _) => self.coefficients[p * m + q],
            (_, Ordering::Less) => self.coefficients[super::ci::pair_index(p, q)],
            (_, Ordering::Greater) => -self.coefficients[super::ci::pair_index(q, p)],
            (_, Ordering::Equal) => 0.0,
        });
        let psi = mul(mul(phi.as_ref(), c.as_ref()).as_ref(), phi.transpose());
        let at = |i: usize, j: usize| match opposite {
            true => psi[(i, j)].powi(2) + psi[(j, i)].powi(2),
            false => psi[(i, j)].powi(2),
        };
        (0..points * points).map(|k| at(k / points, k % points)).collect()
    }

    /// The same of any number of particles, from the density matrices of their pairs.
    fn pairs_of_many(&self, phi: &Mat<f64>, watch: &mut dyn Watch) -> Result<Vec<f64>, ExactError> {
        let points = phi.nrows();
        let mut values = vec![0.0; points * points];
        let g = self.space.pair_densities(&self.coefficients, watch)?;
        let m = self.space.orbitals;
        let pair = |p: usize, q: usize| super::ci::pair_index(p, q);
        for i in 0..points {
            watch.look()?;
            for (block, equal) in [(&g.up, true), (&g.down, true), (&g.opposite, false)] {
                if block.nrows() == 0 {
                    continue;
                }
                let amplitudes = Mat::from_fn(block.nrows(), points, |_, _| 0.0);
                let mut amplitudes = amplitudes;
                for j in 0..points {
                    if equal {
                        for q in 1..m {
                            for p in 0..q {
                                amplitudes[(pair(p, q), j)] =
                                    phi[(i, p)] * phi[(j, q)] - phi[(i, q)] * phi[(j, p)];
                            }
                        }
                    } else {
                        for p in 0..m {
                            for q in 0..m {
                                amplitudes[(p * m + q, j)] = phi[(i, p)] * phi[(j, q)];
                            }
                        }
                    }
                }
                let image = mul(block.as_ref(), amplitudes.as_ref());
                for j in 0..points {
                    let v: f64 =
                        (0..block.nrows()).map(|k| image[(k, j)] * amplitudes[(k, j)]).sum();
                    values[i * points + j] += v;
                    if !equal {
                        values[j * points + i] += v;
                    }
                }
            }
        }
        Ok(values)
    }

    /// Quantum numbers, as far as the state has them.
    pub(crate) fn labels(
        &self,
        hamiltonian: &Hamiltonian,
        watch: &mut dyn Watch,
    ) -> Result<Labels, ExactError> {
        let geometry = self.basis.geometry();
        let (a, b) = geometry.interval();
        let momentum = match geometry {
            Geometry::Ring { circumference } if constant(&hamiltonian.external, a, b) => {
                let waves = self.momentum_squared(watch)?.max(0.0).sqrt() * circumference
                    / (2.0 * std::f64::consts::PI);
                near(waves, 1.0).map(|k| k as u32)
            }
            _ => None,
        };
        let parity = if even(&hamiltonian.external, a, b) { self.parity(watch)? } else { None };
        let spin = 0.5 * ((1.0 + 4.0 * self.spin_squared).sqrt() - 1.0);
        Ok(Labels { spin: near(spin, 0.5), parity, momentum, degenerate: false })
    }

    /// Sign under reflection of all particles at the middle, from the amplitudes of configurations and of their
    /// mirror images: for a state with a parity they agree one by one.
    fn parity(&self, watch: &mut dyn Watch) -> Result<Option<i8>, ExactError> {
        let (a, b) = self.basis.geometry().interval();
        let density = self.density(401);
        let mut noise = Noise::default();
        let mut draw = |weights: &[f64]| {
            let total: f64 = weights.iter().sum();
            let mut rest = 0.5 * (noise.next() + 1.0) * total;
            let at = weights.iter().position(|w| {
                rest -= w;
                rest <= 0.0
            });
            // Off the points of the grid, on which a function may vanish by symmetry.
            density.x[at.unwrap_or(0)] + (b - a) / 400.0 * (0.3 + 0.1 * noise.next())
        };
        let Sector { up, down, .. } = self.space.sector;
        let (mut product, mut squares) = (0.0, 0.0);
        for _ in 0..PARITY_SAMPLES {
            watch.look()?;
            let mut x: Vec<f64> = (0..up).map(|_| draw(&density.up)).collect();
            x.extend((0..down).map(|_| draw(&density.down)));
            let mirrored: Vec<f64> = x.iter().map(|x| a + b - x).collect();
            let (here, there) = (self.psi(&x), self.psi(&mirrored));
            product += here * there;
            squares += 0.5 * (here * here + there * there);
        }
        Ok(near(product / squares, 1.0).filter(|p| *p != 0.0).map(|p| p as i8))
    }

    /// `<P²>` of the total momentum on a ring, in 1/bohr².
    fn momentum_squared(&self, watch: &mut dyn Watch) -> Result<f64, ExactError> {
        let (n, m) = (self.basis.size(), self.orbitals.ncols());
        let c = self.orbitals.as_ref();
        let squared =
            Mat::from_fn(n, n, |i, j| if i == j { self.basis.wave_number(i).powi(2) } else { 0.0 });
        let squared = transform(squared.as_ref(), c);
        let total = &self.one_body.0 + &self.one_body.1;
        let mut sum = 0.0;
        for i in 0..m {
            for j in 0..m {
                sum += squared[(i, j)] * total[(i, j)];
            }
        }
        if self.space.sector.particles() > 1 {
            // d/dx turns the cosine at an odd place into the sine after it, and back.
            let slope = Mat::from_fn(n, n, |i, j| match (i, j) {
                (i, j) if j % 2 == 1 && i == j + 1 => -self.basis.wave_number(j),
                (i, j) if i % 2 == 1 && j == i + 1 => self.basis.wave_number(j),
                _ => 0.0,
            });
            let d = mul(c.transpose(), mul(slope.as_ref(), c).as_ref());
            let products = PairMatrices::of_products(&d, self.space.sector);
            let pairs = self.space.pair_densities(&self.coefficients, watch)?;
            // p p' = - d/dx d/dx', both orders of each pair.
            sum -= 2.0 * pairs.expectation(&products);
        }
        Ok(sum)
    }

    /// Kinetic, external and interaction energy.
    pub(crate) fn components(
        &self,
        hamiltonian: &Hamiltonian,
        cells: usize,
        watch: &mut dyn Watch,
    ) -> Result<Components, ExactError> {
        let c = self.orbitals.as_ref();
        let n = self.basis.size();
        let total = &self.one_body.0 + &self.one_body.1;
        let expectation = |matrix: &Mat<f64>| -> f64 {
            let t = transform(matrix.as_ref(), c);
            let m = t.nrows();
            (0..m).map(|i| (0..m).map(|j| t[(i, j)] * total[(i, j)]).sum::<f64>()).sum()
        };
        let t = self.basis.kinetic();
        let kinetic = Mat::from_fn(n, n, |i, j| if i == j { t[i] } else { 0.0 });
        let external = external_matrix(&hamiltonian.external, &self.basis)?;
        let sector = self.space.sector;
        let interaction = if sector.particles() > 1 {
            let grid = PairGrid::new(&hamiltonian.interaction, &self.basis.geometry(), cells);
            watch.look()?;
            let g = two_body(&self.basis, &grid, c);
            let m = self.orbitals.ncols();
            let w = PairMatrices::new(Mat::zeros(m, m).as_ref(), g.as_ref(), sector);
            self.space.pair_densities(&self.coefficients, watch)?.expectation(&w)
        } else {
            0.0
        };
        Ok(Components {
            kinetic: expectation(&kinetic),
            external: expectation(&external),
            interaction,
        })
    }
}

/// Configurations whose mirror images are looked at.
const PARITY_SAMPLES: usize = 16;
/// Points at which symmetries of a potential are looked for.
const SYMMETRY_POINTS: usize = 1001;

/// The multiple of `unit` that `x` is, to the accuracy of labels.
fn near(x: f64, unit: f64) -> Option<f64> {
    // Without a negative zero.
    let rounded = (x / unit).round() * unit + 0.0;
    ((x - rounded).abs() < 0.02 * unit).then_some(rounded)
}

/// Whether `v` is even about the middle between `a` and `b`.
pub(super) fn even(v: &External, a: f64, b: f64) -> bool {
    (0..SYMMETRY_POINTS).all(|i| {
        let x = a + (b - a) * (i as f64 + 0.5) / SYMMETRY_POINTS as f64;
        let (here, there) = (v.value(x), v.value(a + b - x));
        (here - there).abs() <= 1e-9 * (1.0 + here.abs())
    })
}

/// Whether `v` is the same everywhere between `a` and `b`.
fn constant(v: &External, a: f64, b: f64) -> bool {
    let first = v.value(a);
    (0..SYMMETRY_POINTS).all(|i| {
        let x = a + (b - a) * (i as f64 + 0.37) / SYMMETRY_POINTS as f64;
        (v.value(x) - first).abs() <= 1e-9 * (1.0 + first.abs())
    })
}

/// All minors of the rows `first ..` of `phi` that a string space selects.
fn minors(space: &StringSpace, phi: &Mat<f64>, first: usize) -> Vec<f64> {
    let n = space.particles;
    if n == 0 {
        return vec![1.0];
    }
    let mut out = Vec::with_capacity(space.count);
    let mut s = vec![];
    space.unrank(0, &mut s);
    loop {
        let m = nalgebra::DMatrix::from_fn(n, n, |i, j| phi[(first + i, s[j])]);
        out.push(m.determinant());
        if !space.advance(&mut s) {
            return out;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::watch::Unwatched;
    use super::*;

    /// The square of a pair function is what the density matrix of the pair says.
    #[test]
    fn a_pair_is_the_square_of_its_function() {
        for sector in [Sector::new(2, 0), Sector::new(1, 1), Sector::new(0, 2)] {
            let basis = OneBodyBasis::new(Geometry::Box { half_width: 3.0 }, 5);
            let mut noise = Noise::default();
            let count = CiSpace::new(sector, 5).up.count * CiSpace::new(sector, 5).down.count;
            let coefficients = (0..count).map(|_| noise.next()).collect();
            let orbitals = Mat::from_fn(5, 5, |i, k| f64::from(u8::from(i == k)));
            let state =
                ExactState::new(basis, orbitals, sector, coefficients, &mut Unwatched).unwrap();
            let found = state.pair_density(21, &mut Unwatched).unwrap();
            let phi = mul(basis.evaluate(&found.x).as_ref(), state.orbitals.as_ref());
            let by_matrices = state.pairs_of_many(&phi, &mut Unwatched).unwrap();
            for (a, b) in found.values.iter().zip(&by_matrices) {
                assert!((a - b).abs() < 1e-12, "{sector:?}: {a} {b}");
            }
            // Twice the number of pairs.
            let sum = found.values.iter().sum::<f64>() * 0.3 * 0.3;
            assert!((sum - 2.0).abs() < 1e-12, "{sector:?}: {sum}");
        }
    }
}
