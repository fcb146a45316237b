//! Parts of a symmetric matrix that nothing couples: where orbitals have a parity, even and odd pairs of them.

use crate::math::linalg::{EigenFailure, symmetric_eigen};
use faer::{Mat, MatRef};

/// Elements below this share of the largest are rounding. They couple states of different symmetry, whose energies they change
/// in second order at most.
const ROUNDING: f64 = 1e-14;

/// Share of the elements of the matrix beyond which products with the parts are not worth the sorting.
const WORTH: f64 = 0.75;

/// Rows of a symmetric matrix by the parts that nothing couples, in order.
fn uncoupled(matrix: MatRef<'_, f64>) -> Vec<Vec<usize>> {
    let n = matrix.nrows();
    let least = ROUNDING * matrix.norm_max();
    // Each row points towards the first one of its part.
    let mut towards: Vec<usize> = (0..n).collect();
    let first = |towards: &mut [usize], mut row: usize| {
        while towards[row] != row {
            towards[row] = towards[towards[row]];
            row = towards[row];
        }
        row
    };
    for j in 0..n {
        let mut own = first(&mut towards, j);
        for i in j + 1..n {
            // What is not a number couples as well.
            if matrix[(i, j)].abs() <= least || towards[i] == own {
                continue;
            }
            let other = first(&mut towards, i);
            let (low, high) = (own.min(other), own.max(other));
            (towards[high], own) = (low, low);
        }
    }
    let mut parts: Vec<Vec<usize>> = vec![Vec::new(); n];
    for row in 0..n {
        parts[first(&mut towards, row)].push(row);
    }
    parts.retain(|rows| !rows.is_empty());
    parts
}

/// A symmetric matrix as its parts.
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    /// Where each row goes, so that those of a part are neighbours.
    pub(crate) place: Vec<usize>,
    /// The parts and where their rows begin.
    pub(crate) parts: Vec<(usize, Mat<f64>)>,
}

impl Groups {
    /// None where the parts are hardly smaller than the whole.
    pub(crate) fn of(matrix: MatRef<'_, f64>) -> Option<Self> {
        let n = matrix.nrows();
        let groups = uncoupled(matrix);
        let elements: usize = groups.iter().map(|rows| rows.len() * rows.len()).sum();
        if elements as f64 > WORTH * (n * n) as f64 {
            return None;
        }
        let mut place = vec![0; n];
        let mut parts = Vec::with_capacity(groups.len());
        let mut next = 0;
        for rows in groups {
            rows.iter().enumerate().for_each(|(k, &row)| place[row] = next + k);
            let size = rows.len();
            parts.push((next, Mat::from_fn(size, size, |i, j| matrix[(rows[i], rows[j])])));
            next += size;
        }
        Some(Groups { place, parts })
    }
}

/// Two kinds of orbitals, of even and of odd parity, which what is symmetric does not mix; or one.
#[derive(Clone, Debug)]
pub(crate) struct Parity(Vec<Vec<usize>>);

impl Parity {
    /// Of the orbitals of a one-body operator that knows the symmetry.
    pub(crate) fn of(operator: MatRef<'_, f64>) -> Self {
        let kinds = uncoupled(operator);
        let whole = || vec![(0..operator.nrows()).collect()];
        Parity(if kinds.len() == 2 { kinds } else { whole() })
    }

    /// Eigenvalues, ascending, and eigenvectors of a symmetric matrix, each in one kind of orbitals, and the parity of these: of
    /// what the matrix has between the kinds nothing is kept. Vectors of one eigenvalue so keep theirs.
    ///
    /// # Errors
    /// [`EigenFailure`] when the matrix holds non-finite numbers.
    pub(crate) fn eigen(
        &self,
        matrix: MatRef<'_, f64>,
    ) -> Result<(Vec<f64>, Mat<f64>, Parity), EigenFailure> {
        let Parity(kinds) = self;
        if let [_] = kinds[..] {
            let (values, vectors) = symmetric_eigen(matrix)?;
            return Ok((values, vectors, self.clone()));
        }
        let n = matrix.nrows();
        let mut pairs = Vec::with_capacity(n);
        for (kind, rows) in kinds.iter().enumerate() {
            let size = rows.len();
            let part = Mat::from_fn(size, size, |i, j| matrix[(rows[i], rows[j])]);
            let (values, vectors) = symmetric_eigen(part.as_ref())?;
            for (k, value) in values.into_iter().enumerate() {
                let mut vector = vec![0.0; n];
                rows.iter().enumerate().for_each(|(i, &row)| vector[row] = vectors[(i, k)]);
                pairs.push((value, vector, kind));
            }
        }
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let vectors = Mat::from_fn(n, n, |i, k| pairs[k].1[i]);
        let of_kind = |kind| (0..n).filter(|&k| pairs[k].2 == kind).collect();
        let parity = Parity((0..kinds.len()).map(of_kind).collect());
        Ok((pairs.into_iter().map(|pair| pair.0).collect(), vectors, parity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Even and odd rows, and one by itself, with rounding between them.
    fn separable(n: usize, between: f64) -> Mat<f64> {
        let class = |i: usize| if i == 4 { 2 } else { i % 2 };
        Mat::from_fn(n, n, |i, j| {
            let (low, high) = (i.min(j), i.max(j));
            let element = (1.0 + low as f64 + 0.3 * high as f64).sin();
            if class(i) == class(j) { element } else { between * element }
        })
    }

    #[test]
    fn products_with_the_parts_are_those_with_the_matrix() {
        let n = 11;
        let matrix = separable(n, 1e-16);
        let groups = Groups::of(matrix.as_ref()).unwrap();
        let sizes: Vec<usize> = groups.parts.iter().map(|(_, part)| part.nrows()).collect();
        assert_eq!(sizes, [5, 5, 1]);
        let x: Vec<f64> = (0..n).map(|i| (i as f64 * 0.7).cos()).collect();
        let mut sorted = vec![0.0; n];
        groups.place.iter().zip(&x).for_each(|(&place, &x)| sorted[place] = x);
        let mut image = vec![0.0; n];
        for (first, part) in &groups.parts {
            for i in 0..part.nrows() {
                image[first + i] =
                    (0..part.ncols()).map(|j| part[(i, j)] * sorted[first + j]).sum();
            }
        }
        for i in 0..n {
            let exact: f64 = (0..n).map(|j| matrix[(i, j)] * x[j]).sum();
            assert!((image[groups.place[i]] - exact).abs() < 1e-14);
        }
    }

    /// A symmetry with a little of what breaks it, and eigenvalues of both kinds that are the same.
    #[test]
    fn eigenvectors_keep_their_parity() {
        let n = 8;
        let operator = Mat::from_fn(n, n, |i: usize, j| match i.abs_diff(j) {
            0 => 1.0 + i as f64,
            2 => 0.3,
            _ => 1e-17,
        });
        let parity = Parity::of(operator.as_ref());
        // Rows 2 k and 2 k + 1 alike.
        let alike = Mat::from_fn(n, n, |i, j| {
            let element = if i == j { 2.0 } else { 1.0 } / (1.0 + (i / 2 + j / 2) as f64);
            if (i + j) % 2 == 0 { element } else { 1e-13 * (i + 2 * j) as f64 }
        });
        let (values, vectors, Parity(kinds)) = parity.eigen(alike.as_ref()).unwrap();
        assert_eq!(kinds.len(), 2);
        assert!(values.windows(2).all(|pair| pair[0] <= pair[1]));
        for (k, value) in values.iter().enumerate() {
            let odd = (0..n).filter(|i| i % 2 == 1 && vectors[(*i, k)] != 0.0).count();
            let even = (0..n).filter(|i| i % 2 == 0 && vectors[(*i, k)] != 0.0).count();
            assert!(odd == 0 || even == 0);
            assert!(kinds[usize::from(odd > 0)].contains(&k));
            for i in (0..n).filter(|&i| vectors[(i, k)] != 0.0) {
                let image: f64 = (0..n)
                    .map(|j| f64::midpoint(alike[(i, j)], alike[(j, i)]) * vectors[(j, k)])
                    .sum();
                assert!((image - value * vectors[(i, k)]).abs() < 1e-12);
            }
        }
        // Three kinds are no parity, and neither is one.
        for kinds in [1, 3] {
            let operator = Mat::from_fn(n, n, |i, j| f64::from(u8::from(i % kinds == j % kinds)));
            let Parity(all) = Parity::of(operator.as_ref());
            assert_eq!(all, [(0..n).collect::<Vec<_>>()]);
            let (values, ..) = Parity(all).eigen(alike.as_ref()).unwrap();
            assert_eq!(values, symmetric_eigen(alike.as_ref()).unwrap().0);
        }
    }

    #[test]
    fn a_matrix_that_is_one_stays_one() {
        assert!(Groups::of(separable(11, 1e-10).as_ref()).is_none());
        let mut broken = separable(11, 0.0);
        (broken[(3, 2)], broken[(2, 3)]) = (f64::NAN, f64::NAN);
        assert!(Groups::of(broken.as_ref()).is_none_or(|g| g.parts.len() == 2));
        // A chain, whose ends meet last.
        let chain = Mat::from_fn(9, 9, |i: usize, j| f64::from(u8::from(i.abs_diff(j) < 2)));
        assert!(Groups::of(chain.as_ref()).is_none());
        assert!(Groups::of(Mat::<f64>::zeros(0, 0).as_ref()).is_none_or(|g| g.parts.is_empty()));
        let none = Groups::of(Mat::<f64>::zeros(3, 3).as_ref()).unwrap();
        assert_eq!(none.parts.len(), 3);
    }
}
