//! Which orbitals to diagonalise in: natural orbitals of first-order pair functions.
//!
//! A full configuration interaction converges fastest in its natural orbitals (P.-O. Löwdin, Phys. Rev.
//! 97, 1474 (1955)). They are approximated here from a cheaper state, a determinant or a smaller
//! calculation: each of its natural pair functions (eigenvectors of the two-body density matrix) is
//! corrected to first order in the whole one-body basis, and the density matrix of the corrected
//! pairs is diagonalised. The choice affects how fast energies converge with the number of
//! orbitals, never what they converge to.

use super::dvr::{OneBodyBasis, PairGrid};
use super::groups::Parity;
use super::integrals::transform;
use super::watch::Watch;
use super::{ExactError, dense_work};
use crate::math::linalg::{EigenFailure, mul, symmetric_eigen};
use faer::{Mat, MatRef};

/// A pair function in basis coefficients, antisymmetric or general, with its weight.
pub(crate) struct Geminal {
    pub(crate) weight: f64,
    pub(crate) function: Mat<f64>,
    pub(crate) equal_spins: bool,
}

/// The one-body side of the first-order correction.
pub(crate) struct MeanField {
    basis: OneBodyBasis,
    /// Eigenvalues and eigenvectors of the mean-field Hamiltonian.
    energies: Vec<f64>,
    canonical: Mat<f64>,
    /// That of the eigenvectors.
    parity: Parity,
    /// Mean field minus one-body Hamiltonian, in the canonical orbitals.
    potential: Mat<f64>,
    grid: PairGrid,
    /// Canonical orbitals on the two grids, times the square root of the weight.
    phi: [Mat<f64>; 2],
    /// `1 / (N - 1)`.
    share: f64,
}

/// What first-order perturbation theory knows of a geminal.
struct FirstOrder {
    c: Mat<f64>,
    coupling: Mat<f64>,
    gaps: Mat<f64>,
}

impl MeanField {
    pub(crate) fn new(
        basis: OneBodyBasis,
        grid: PairGrid,
        h: MatRef<'_, f64>,
        mean_fock: MatRef<'_, f64>,
        particles: usize,
    ) -> Result<Self, EigenFailure> {
        let (energies, canonical, parity) = Parity::of(mean_fock).eigen(mean_fock)?;
        let difference = mean_fock - h;
        let potential = transform(difference.as_ref(), canonical.as_ref());
        let root = grid.first.weight.sqrt();
        let on = |points: &[f64]| {
            let mut p = mul(basis.evaluate(points).as_ref(), canonical.as_ref());
            p *= faer::Scale(root);
            p
        };
        let phi = [on(&grid.first.points), on(&grid.second.points)];
        Ok(MeanField {
            basis,
            energies,
            canonical,
            parity,
            potential,
            grid,
            phi,
            share: 1.0 / (particles - 1) as f64,
        })
    }

    /// Smallest energy denominator, in Hartree. Keeps near-degenerate pairs (stretched bonds) finite.
    const LEAST_DENOMINATOR: f64 = 0.3;

    /// A geminal in canonical orbitals, its coupling to all pairs of them, and the energies these are above it.
    fn first_order(&self, g: &Geminal) -> FirstOrder {
        let n = self.basis.size();
        let u = self.canonical.as_ref();
        let c = mul(u.transpose(), mul(g.function.as_ref(), u).as_ref());
        let mut on_grid =
            mul(mul(self.phi[0].as_ref(), c.as_ref()).as_ref(), self.phi[1].transpose());
        for y in 0..on_grid.ncols() {
            for x in 0..on_grid.nrows() {
                on_grid[(x, y)] *= self.grid.w[(x, y)];
            }
        }
        let r = mul(self.phi[0].transpose(), mul(on_grid.as_ref(), self.phi[1].as_ref()).as_ref());
        let field = mul(self.potential.as_ref(), c.as_ref());
        let field_right = mul(c.as_ref(), self.potential.as_ref());
        let mut energy = 0.0;
        let mut size = 0.0;
        for b in 0..n {
            for a in 0..n {
                let p = c[(a, b)] * c[(a, b)];
                size += p;
                energy += p * (self.energies[a] + self.energies[b]);
            }
        }
        energy /= size;
        let coupling = Mat::from_fn(n, n, |a, b| {
            let v = if g.equal_spins { 0.5 * (r[(a, b)] - r[(b, a)]) } else { r[(a, b)] };
            v - self.share * (field[(a, b)] + field_right[(a, b)])
        });
        let gaps = Mat::from_fn(n, n, |a, b| {
            (self.energies[a] + self.energies[b] - energy).max(Self::LEAST_DENOMINATOR)
        });
        FirstOrder { c, coupling, gaps }
    }

    /// What pairs outside of `internal` lower the energy by in second order, in Hartree, not negative: an estimate of what
    /// a calculation in these orbitals lacks, of the right magnitude also where its orbitals matter in groups.
    pub(crate) fn outside(
        &self,
        geminals: &[Geminal],
        internal: MatRef<'_, f64>,
        watch: &mut dyn Watch,
    ) -> Result<f64, ExactError> {
        let inside = mul(self.canonical.transpose(), internal);
        let mut sum = 0.0;
        for g in geminals {
            watch.spend(self.work())?;
            let FirstOrder { coupling, gaps, .. } = self.first_order(g);
            let a = mul(inside.transpose(), mul(coupling.as_ref(), inside.as_ref()).as_ref());
            let inner = mul(inside.as_ref(), mul(a.as_ref(), inside.transpose()).as_ref());
            for b in 0..coupling.ncols() {
                for a in 0..coupling.nrows() {
                    sum += g.weight * (coupling[(a, b)] - inner[(a, b)]).powi(2) / gaps[(a, b)];
                }
            }
        }
        Ok(sum)
    }

    /// Floating-point operations that one geminal takes.
    pub(crate) fn work(&self) -> f64 {
        let (size, points) = (self.basis.size() as f64, self.grid.first.points.len() as f64);
        20.0 * size.powi(3) + 4.0 * size * points * (size + points)
    }

    /// Orbitals ordered by importance, as columns of basis coefficients, with their weights.
    ///
    /// `internal` spans what the geminals were computed in: corrections inside it are left out.
    pub(crate) fn natural_orbitals(
        &self,
        geminals: &[Geminal],
        internal: MatRef<'_, f64>,
        watch: &mut dyn Watch,
    ) -> Result<(Mat<f64>, Vec<f64>), ExactError> {
        let n = self.basis.size();
        let each = self.work();
        let u = self.canonical.as_ref();
        let inside = mul(u.transpose(), internal);
        let project = |t: &Mat<f64>| {
            let a = mul(inside.transpose(), mul(t.as_ref(), inside.as_ref()).as_ref());
            mul(inside.as_ref(), mul(a.as_ref(), inside.transpose()).as_ref())
        };
        let mut density = Mat::<f64>::zeros(n, n);
        for g in geminals {
            watch.spend(each)?;
            let FirstOrder { c, coupling, gaps } = self.first_order(g);
            let mut t = Mat::from_fn(n, n, |a, b| -coupling[(a, b)] / gaps[(a, b)]);
            let inner = project(&t);
            t -= &inner;
            t += &c;
            density += g.weight * mul(t.as_ref(), t.transpose());
            density += g.weight * mul(t.transpose(), t.as_ref());
        }
        watch.spend(dense_work(n))?;
        let (values, vectors, _) = self.parity.eigen(density.as_ref())?;
        let orbitals = mul(u, vectors.as_ref());
        let reversed = Mat::from_fn(n, n, |i, k| orbitals[(i, n - 1 - k)]);
        let weights = values.iter().rev().copied().collect();
        Ok((reversed, weights))
    }
}

/// The pair functions of one determinant.
pub(crate) fn determinant_geminals(up: MatRef<'_, f64>, down: MatRef<'_, f64>) -> Vec<Geminal> {
    let n = up.nrows().max(down.nrows());
    let mut list = vec![];
    for orbitals in [up, down] {
        for j in 0..orbitals.ncols() {
            for i in 0..j {
                let r = std::f64::consts::FRAC_1_SQRT_2;
                let function = Mat::from_fn(n, n, |a, b| {
                    r * (orbitals[(a, i)] * orbitals[(b, j)] - orbitals[(a, j)] * orbitals[(b, i)])
                });
                list.push(Geminal { weight: 1.0, function, equal_spins: true });
            }
        }
    }
    for i in 0..up.ncols() {
        for j in 0..down.ncols() {
            let function = Mat::from_fn(n, n, |a, b| up[(a, i)] * down[(b, j)]);
            list.push(Geminal { weight: 1.0, function, equal_spins: false });
        }
    }
    list
}

/// Size from which a density matrix is compressed before it is diagonalised.
const LARGE: usize = 500;
/// What the compression leaves out, as a part of the trace.
const LEFT_OUT: f64 = 1e-15;

/// The eigenpairs of a positive matrix that matter, ascending. A large one has few: it is written as `L L^T`
/// with few columns (Cholesky with complete pivoting, N. J. Higham, "Analysis of the Cholesky decomposition
/// of a semi-definite matrix", OUP 1990), and `L^T L` has the same eigenvalues.
fn dominant(matrix: &Mat<f64>, watch: &mut dyn Watch) -> Result<(Vec<f64>, Mat<f64>), ExactError> {
    let n = matrix.nrows();
    if n < LARGE {
        watch.spend(dense_work(n))?;
        return Ok(symmetric_eigen(matrix.as_ref())?);
    }
    let mut left: Vec<f64> = (0..n).map(|i| matrix[(i, i)]).collect();
    let trace: f64 = left.iter().sum();
    if !trace.is_finite() {
        return Err(EigenFailure { size: n }.into());
    }
    let mut columns: Vec<Vec<f64>> = vec![];
    while columns.len() < n {
        watch.spend(20.0 * (n * columns.len()) as f64)?;
        let largest = (0..n).fold(0, |a, b| if left[b] > left[a] { b } else { a });
        if left[largest] <= LEFT_OUT * trace {
            break;
        }
        let root = left[largest].sqrt();
        let mut column: Vec<f64> = (0..n).map(|i| matrix[(i, largest)]).collect();
        for c in &columns {
            let s = c[largest];
            column.iter_mut().zip(c).for_each(|(x, c)| *x -= s * c);
        }
        for (x, left) in column.iter_mut().zip(&mut left) {
            *x /= root;
            *left -= *x * *x;
        }
        columns.push(column);
    }
    let rank = columns.len();
    let l = Mat::from_fn(n, rank, |i, k| columns[k][i]);
    watch.spend(dense_work(rank))?;
    let (values, v) = symmetric_eigen(mul(l.transpose(), l.as_ref()).as_ref())?;
    let mut vectors = mul(l.as_ref(), v.as_ref());
    for k in 0..rank {
        let scale = 1.0 / values[k].max(f64::MIN_POSITIVE).sqrt();
        for i in 0..n {
            vectors[(i, k)] *= scale;
        }
    }
    Ok((values, vectors))
}

/// The dominant natural pair functions of two-body density matrices given in `orbitals`.
pub(crate) fn natural_geminals(
    densities: &super::ci::PairDensities,
    orbitals: MatRef<'_, f64>,
    neglect: f64,
    watch: &mut dyn Watch,
) -> Result<Vec<Geminal>, ExactError> {
    let m = orbitals.ncols();
    let mut list = vec![];
    for (matrix, equal_spins) in
        [(&densities.up, true), (&densities.down, true), (&densities.opposite, false)]
    {
        if matrix.nrows() == 0 {
            continue;
        }
        let (values, vectors) = dominant(matrix, watch)?;
        for k in (0..values.len()).rev() {
            if values[k] < neglect {
                break;
            }
            let function = if equal_spins {
                let r = std::f64::consts::FRAC_1_SQRT_2;
                Mat::from_fn(m, m, |p, q| match p.cmp(&q) {
                    std::cmp::Ordering::Less => r * vectors[(super::ci::pair_index(p, q), k)],
                    std::cmp::Ordering::Greater => -r * vectors[(super::ci::pair_index(q, p), k)],
                    std::cmp::Ordering::Equal => 0.0,
                })
            } else {
                Mat::from_fn(m, m, |p, q| vectors[(p * m + q, k)])
            };
            let function = mul(orbitals, mul(function.as_ref(), orbitals.transpose()).as_ref());
            list.push(Geminal { weight: values[k], function, equal_spins });
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::super::watch::Unwatched;
    use super::*;

    /// A positive matrix of low rank, with and without compression: values, and vectors that are eigenvectors.
    #[test]
    fn large_matrices_of_low_rank_are_compressed_without_loss() {
        let mut noise = super::super::Noise::default();
        let n = LARGE + 20;
        let c = Mat::from_fn(n, 6, |_, k| noise.next() * 10_f64.powi(-(k as i32)));
        let matrix = mul(c.as_ref(), c.transpose());
        let (values, vectors) = dominant(&matrix, &mut Unwatched).unwrap();
        let (exact, _) = symmetric_eigen(matrix.as_ref()).unwrap();
        assert!(values.len() < 40, "{}", values.len());
        let scale = exact[n - 1];
        for k in 1..=6 {
            let (value, column) = (values[values.len() - k], vectors.col(values.len() - k));
            assert!((value - exact[n - k]).abs() < 1e-13 * scale, "value {k}");
            let image = &matrix * column;
            let error = (0..n).map(|i| (image[i] - value * column[i]).powi(2)).sum::<f64>().sqrt();
            assert!(error < 1e-12 * scale, "vector {k}: {error:e}");
        }
    }
}
