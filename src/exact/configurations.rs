//! Many states at once: the Hamiltonian between the configurations of bounded energy, as a dense matrix.
//!
//! In orbitals of a harmonic trap all configurations up to an excitation make a space that the ladder operators of the
//! centre of mass do not leave (M. Moshinsky, "The harmonic oscillator in modern physics", Gordon and Breach 1969): the
//! states found in it separate exactly into centre of mass and relative motion.

use super::ci::{PairMatrices, pair_index};
use super::dvr::{
    OneBodyBasis, PairGrid, UniformGrid, cells_that_see, default_cells, one_body_matrix,
};
use super::integrals::{transform, two_body};
use super::strings::colexicographic;
use crate::math::linalg::{EigenFailure, symmetric_eigen};
use crate::system::{Hamiltonian, Interaction, Sector};
use faer::{Mat, MatRef};
use std::collections::BTreeMap;

/// The occupied orbitals of spin up and of spin down, each ascending.
pub(crate) type Configuration = [Vec<usize>; 2];

/// Configurations of a sector.
#[derive(Clone, Debug)]
pub(crate) struct Configurations {
    pub(crate) sector: Sector,
    /// Orbitals that occur.
    pub(crate) orbitals: usize,
    pub(crate) list: Vec<Configuration>,
}

/// Strings of `count` orbitals whose levels sum to no more than `most`, in colexicographic order.
fn strings(levels: &[f64], count: usize, most: f64) -> Vec<(Vec<usize>, f64)> {
    // From the highest orbital down: `below[k]` is the least energy of k particles.
    fn extend(
        levels: &[f64],
        left: usize,
        room: f64,
        tail: &mut Vec<usize>,
        energy: f64,
        found: &mut Vec<(Vec<usize>, f64)>,
    ) {
        if left == 0 {
            found.push((tail.iter().rev().copied().collect(), energy));
            return;
        }
        let end = tail.last().copied().unwrap_or(levels.len());
        let least: f64 = levels[..left - 1].iter().sum();
        for o in left - 1..end {
            if levels[o] + least > room {
                break;
            }
            tail.push(o);
            extend(levels, left - 1, room - levels[o], tail, energy + levels[o], found);
            tail.pop();
        }
    }
    let mut found = Vec::new();
    if levels.len() >= count {
        extend(levels, count, most, &mut Vec::new(), 0.0, &mut found);
    }
    found
}

impl Configurations {
    /// All configurations whose levels (ascending) sum to no more than `excitation` above the lowest sum.
    pub(crate) fn below(sector: Sector, levels: &[f64], excitation: f64) -> Self {
        let ground = |n: usize| levels.iter().take(n).sum::<f64>();
        // What is equal but for rounding belongs together.
        let room = excitation * (1.0 + 1e-9) + 1e-9;
        let up = strings(levels, sector.up, ground(sector.up) + room);
        let down = strings(levels, sector.down, ground(sector.down) + room);
        let most = ground(sector.up) + ground(sector.down) + room;
        let mut list = Vec::new();
        for (u, a) in &up {
            list.extend(
                down.iter().filter(|(_, b)| a + b <= most).map(|(d, _)| [u.clone(), d.clone()]),
            );
        }
        let orbitals = list.iter().flatten().flatten().max().map_or(0, |o| o + 1);
        Configurations { sector, orbitals, list }
    }

    /// All configurations of so many orbitals.
    pub(crate) fn all(sector: Sector, orbitals: usize) -> Self {
        Self::below(sector, &vec![0.0; orbitals], 0.0)
    }

    /// The strings of spin up and of spin down that occur, each list colexicographic.
    pub(crate) fn strings(&self) -> [Vec<Vec<usize>>; 2] {
        [0, 1].map(|spin| {
            let mut strings: Vec<_> = self.list.iter().map(|c| c[spin].clone()).collect();
            strings.sort_unstable_by(|a, b| colexicographic(a, b));
            strings.dedup();
            strings
        })
    }

    /// The address of each configuration among the products of these `strings`, row-major, and how many products there are.
    pub(crate) fn addresses(&self, strings: &[Vec<Vec<usize>>; 2]) -> (Vec<usize>, usize) {
        let [up, down] = strings;
        let place = |list: &[Vec<usize>], s: &[usize]| {
            list.partition_point(|other| colexicographic(other, s).is_lt())
        };
        let address = |[u, d]: &Configuration| place(up, u) * down.len() + place(down, d);
        (self.list.iter().map(address).collect(), up.len() * down.len())
    }

    /// The Hamiltonian between the configurations, over orthonormal `orbitals` (columns of basis coefficients).
    ///
    /// # Errors
    /// [`EigenFailure`] where a potential is not finite on the grid.
    pub(crate) fn hamiltonian(
        &self,
        hamiltonian: &Hamiltonian,
        basis: OneBodyBasis,
        orbitals: MatRef<'_, f64>,
    ) -> Result<Mat<f64>, EigenFailure> {
        let orbitals = orbitals.subcols(0, self.orbitals);
        let h = one_body_matrix(&hamiltonian.external, &basis)?;
        let one = transform(h.as_ref(), orbitals);
        if hamiltonian.interaction == Interaction::None || self.sector.particles() == 1 {
            return Ok(self.between(&one, None));
        }
        let polarised = self.sector.is_polarised();
        let (least, _) = cells_that_see(&hamiltonian.interaction, &basis.geometry(), polarised)?;
        let cells = default_cells(&basis, least);
        let grid = PairGrid::new(&hamiltonian.interaction, &basis.geometry(), cells);
        Ok(self.between(&one, Some(two_body(&basis, &grid, orbitals))))
    }

    /// `sum_i x_i` between the configurations.
    pub(crate) fn dipole(&self, basis: OneBodyBasis, orbitals: MatRef<'_, f64>) -> Mat<f64> {
        let points = UniformGrid::new(&basis.geometry(), 4 * basis.size() + 64, false);
        let phi = basis.evaluate(&points.points) * orbitals.subcols(0, self.orbitals);
        let weighted = Mat::from_fn(phi.nrows(), phi.ncols(), |i, k| {
            points.weight * points.points[i] * phi[(i, k)]
        });
        let one = phi.transpose() * weighted;
        self.between(&one, None)
    }

    /// The operator with these one- and two-body matrices between the orbitals.
    fn between(&self, one: &Mat<f64>, integrals: Option<Mat<f64>>) -> Mat<f64> {
        let size = self.list.len();
        if self.sector.particles() == 1 {
            let orbital = |c: &Configuration| c[0].iter().chain(&c[1]).copied().next().unwrap_or(0);
            return Mat::from_fn(size, size, |i, j| {
                one[(orbital(&self.list[i]), orbital(&self.list[j]))]
            });
        }
        let m = self.orbitals;
        let pairs = m * (m + 1) / 2;
        let integrals = integrals.unwrap_or_else(|| Mat::zeros(pairs, pairs));
        let matrices = PairMatrices::new(one.as_ref(), integrals.as_ref(), self.sector);
        let mut matrix = Mat::zeros(size, size);
        self.add_pairs(&mut matrix, matrices.equal.as_ref(), |c| equal_pairs(c, 0));
        self.add_pairs(&mut matrix, matrices.equal.as_ref(), |c| equal_pairs(c, 1));
        self.add_pairs(&mut matrix, matrices.opposite.as_ref(), |c| opposite_pairs(c, m));
        matrix
    }

    /// Adds the operator `k` between pairs, whose configurations have the same spectators.
    fn add_pairs(
        &self,
        matrix: &mut Mat<f64>,
        k: MatRef<'_, f64>,
        pairs: impl Fn(&Configuration) -> Vec<(Configuration, usize, f64)>,
    ) {
        let mut groups: BTreeMap<Configuration, Vec<(usize, usize, f64)>> = BTreeMap::new();
        for (i, c) in self.list.iter().enumerate() {
            for (spectators, pair, sign) in pairs(c) {
                groups.entry(spectators).or_default().push((i, pair, sign));
            }
        }
        for group in groups.values() {
            for &(j, q, t) in group {
                for &(i, p, s) in group {
                    matrix[(i, j)] += s * t * k[(p, q)];
                }
            }
        }
    }
}

/// The pairs of one spin: spectators, address of the pair, and the sign of moving it to the front.
fn equal_pairs(c: &Configuration, spin: usize) -> Vec<(Configuration, usize, f64)> {
    let own = &c[spin];
    let mut found = Vec::new();
    for b in 1..own.len() {
        for a in 0..b {
            let mut rest = c.clone();
            rest[spin].remove(b);
            rest[spin].remove(a);
            // The first passes a others, the second b - 1 that are left.
            let sign = if (a + b - 1).is_multiple_of(2) { 1.0 } else { -1.0 };
            found.push((rest, pair_index(own[a], own[b]), sign));
        }
    }
    found
}

/// The pairs of opposite spins.
fn opposite_pairs(c: &Configuration, orbitals: usize) -> Vec<(Configuration, usize, f64)> {
    let mut found = Vec::new();
    for (a, p) in c[0].iter().enumerate() {
        for (b, q) in c[1].iter().enumerate() {
            let mut rest = c.clone();
            rest[0].remove(a);
            rest[1].remove(b);
            let sign = if (a + b).is_multiple_of(2) { 1.0 } else { -1.0 };
            found.push((rest, p * orbitals + q, sign));
        }
    }
    found
}

/// Elements below this share of the largest do not connect.
const DISCONNECTED: f64 = 1e-13;

/// All eigenstates in a space of configurations.
#[derive(Clone, Debug)]
pub(crate) struct Spectrum {
    /// Ascending.
    pub(crate) energies: Vec<f64>,
    /// Of each state, its block and column there.
    place: Vec<(usize, usize)>,
    /// The configurations of each block, and its eigenvectors.
    blocks: Vec<(Vec<usize>, Mat<f64>)>,
}

impl Spectrum {
    /// Diagonalises a symmetric matrix, block by block where it has blocks. The sign of a vector makes its
    /// largest coefficient positive.
    ///
    /// # Errors
    /// [`EigenFailure`].
    pub(crate) fn of(matrix: &Mat<f64>) -> Result<Self, EigenFailure> {
        let n = matrix.nrows();
        let least = DISCONNECTED * matrix.norm_max();
        let mut block = vec![usize::MAX; n];
        let mut blocks: Vec<(Vec<usize>, Mat<f64>)> = Vec::new();
        let mut levels = Vec::new();
        for start in 0..n {
            if block[start] != usize::MAX {
                continue;
            }
            let number = blocks.len();
            block[start] = number;
            let mut members = vec![start];
            let mut next = 0;
            while let Some(&j) = members.get(next) {
                next += 1;
                for (i, b) in block.iter_mut().enumerate() {
                    if *b == usize::MAX && matrix[(i, j)].abs() > least {
                        *b = number;
                        members.push(i);
                    }
                }
            }
            members.sort_unstable();
            let part =
                Mat::from_fn(members.len(), members.len(), |i, j| matrix[(members[i], members[j])]);
            let (values, mut vectors) = symmetric_eigen(part.as_ref())?;
            for k in 0..vectors.ncols() {
                let column = vectors.col(k);
                let largest =
                    column.iter().fold(0.0_f64, |a, &b| if b.abs() > a.abs() { b } else { a });
                if largest < 0.0 {
                    vectors.col_mut(k).iter_mut().for_each(|v| *v = -*v);
                }
            }
            levels.extend(values.into_iter().enumerate().map(|(k, e)| (e, (number, k))));
            blocks.push((members, vectors));
        }
        levels.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (energies, place) = levels.into_iter().unzip();
        Ok(Spectrum { energies, place, blocks })
    }

    /// The coefficients of a state.
    pub(crate) fn vector(&self, state: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let (block, column) = self.place[state];
        let (members, vectors) = &self.blocks[block];
        members.iter().enumerate().map(move |(i, &c)| (c, vectors[(i, column)]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ci::CiSpace;
    use super::super::watch::Unwatched;
    use super::*;
    use crate::system::{External, Geometry};

    /// The matrix of the matrix-free route, signs and all, and its eigenvectors.
    #[test]
    fn the_dense_matrix_is_that_of_the_product() {
        let hamiltonian = Hamiltonian {
            title: String::new(),
            external: External::Formula("x^2/2 + 0.1*x^3*exp(-x^2)".parse().unwrap()),
            interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 },
        };
        let basis = OneBodyBasis::new(Geometry::Box { half_width: 5.0 }, 24);
        let h = one_body_matrix(&hamiltonian.external, &basis).unwrap();
        let (_, orbitals) = symmetric_eigen(h.as_ref()).unwrap();
        for (up, down) in [(2, 0), (1, 1), (3, 0), (2, 1), (2, 2)] {
            let (sector, m) = (Sector::new(up, down), 6);
            let all = Configurations::all(sector, m);
            let matrix = all.hamiltonian(&hamiltonian, basis, orbitals.as_ref()).unwrap();
            let (address, size) = all.addresses(&all.strings());
            assert_eq!(size, all.list.len());
            let kept = orbitals.subcols(0, m);
            let grid = PairGrid::new(
                &hamiltonian.interaction,
                &basis.geometry(),
                default_cells(&basis, 0),
            );
            let one = transform(h.as_ref(), kept);
            let two = two_body(&basis, &grid, kept);
            let pairs = PairMatrices::new(one.as_ref(), two.as_ref(), sector);
            let mut noise = super::super::Noise::default();
            let c: Vec<f64> = (0..size).map(|_| noise.next()).collect();
            let exact = CiSpace::new(sector, m).apply(&pairs, &c, &mut Unwatched).unwrap();
            for i in 0..size {
                let found: f64 = (0..size).map(|j| matrix[(i, j)] * c[address[j]]).sum();
                assert!((found - exact[address[i]]).abs() < 1e-11, "({up}, {down})");
            }
            let spectrum = Spectrum::of(&matrix).unwrap();
            let mut v = vec![0.0; size];
            spectrum.vector(1).for_each(|(i, c)| v[i] = c);
            for i in 0..size {
                let image: f64 = (0..size).map(|j| matrix[(i, j)] * v[j]).sum();
                assert!((image - spectrum.energies[1] * v[i]).abs() < 1e-11);
            }
        }
    }

    #[test]
    fn configurations_are_those_below_the_excitation() {
        let levels: Vec<f64> = (0..12).map(|k| k as f64 + 0.5).collect();
        let count =
            |up, down, x| Configurations::below(Sector::new(up, down), &levels, x).list.len();
        // Partitions into at most two, and at most three, parts.
        assert_eq!((count(2, 0, 4.0), count(3, 0, 4.0)), (9, 11));
        assert_eq!(count(1, 1, 2.0), 6);
        assert_eq!(Configurations::all(Sector::new(2, 1), 4).list.len(), 24);
    }
}
