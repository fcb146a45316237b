//! An exact state in hand: densities, occupations, components, and the wavefunction at a point.

use super::ci::{CiSpace, PairMatrices};
use super::dvr::{OneBodyBasis, PairGrid, external_matrix};
use super::integrals::{transform, two_body};
use super::linalg::{EigenFailure, mul, norm, symmetric_eigen};
use super::strings::StringSpace;
use super::{Components, Density, PairDensity};
use crate::system::{Frame, Hamiltonian, Sector};
use faer::Mat;

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
    /// The units of basis and orbitals.
    pub(super) frame: Frame,
}

impl ExactState {
    pub(crate) fn new(
        basis: OneBodyBasis,
        orbitals: Mat<f64>,
        sector: Sector,
        mut coefficients: Vec<f64>,
    ) -> Self {
        let space = CiSpace::new(sector, orbitals.ncols());
        let length = norm(&coefficients);
        coefficients.iter_mut().for_each(|c| *c /= length);
        let one_body = if sector.particles() == 1 {
            let m = orbitals.ncols();
            let d = Mat::from_fn(m, m, |i, j| coefficients[i] * coefficients[j]);
            let none = Mat::zeros(m, m);
            if sector.up == 1 { (d, none) } else { (none, d) }
        } else {
            space.pair_densities(&coefficients).one_body(sector)
        };
        ExactState { basis, orbitals, space, coefficients, one_body, frame: Frame::ATOMIC }
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
        let Sector { up, down } = self.space.sector;
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
    pub(crate) fn pair_density(&self, points: usize) -> PairDensity {
        let (a, b) = self.basis.geometry().interval();
        let h = (b - a) / (points - 1) as f64;
        let x: Vec<f64> = (0..points).map(|i| a + i as f64 * h).collect();
        let mut values = vec![0.0; points * points];
        if self.space.sector.particles() > 1 {
            let phi = mul(self.basis.evaluate(&x).as_ref(), self.orbitals.as_ref());
            let g = self.space.pair_densities(&self.coefficients);
            let m = self.space.orbitals;
            let pair = |p: usize, q: usize| super::ci::pair_index(p, q);
            for i in 0..points {
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
        }
        PairDensity { x, values }
    }

    /// Kinetic, external and interaction energy.
    pub(crate) fn components(
        &self,
        hamiltonian: &Hamiltonian,
        cells: usize,
    ) -> Result<Components, EigenFailure> {
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
            let g = two_body(&self.basis, &grid, c);
            let m = self.orbitals.ncols();
            let w = PairMatrices::new(Mat::zeros(m, m).as_ref(), g.as_ref(), sector);
            self.space.pair_densities(&self.coefficients).expectation(&w)
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
