//! Lowest eigenpairs of a large symmetric matrix by the block Davidson method.
//!
//! E. R. Davidson, "The iterative calculation of a few of the lowest eigenvalues and corresponding
//! eigenvectors of large real-symmetric matrices", J. Comput. Phys. 17, 87 (1975), in the block form
//! of B. Liu (1978): every pass adds the preconditioned residuals of all unconverged states.
//!
//! The corrections of a vector stay in its symmetries, so that a state whose symmetry the followed vectors
//! lack is never found, and nothing in their residuals tells. Hence the guards: vectors above those asked
//! for are followed until second-order perturbation theory says that they stay above; and the probe: new
//! vectors with a share of everything, orthogonal to what was found.

use super::watch::Watch;
use super::{ExactError, Iteration, News, Noise};
use crate::math::linalg::{add_scaled, combinations, dot, norm, symmetric_eigen};
use faer::Mat;
use std::ops::Range;

/// When to stop, and how much to keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DavidsonOptions {
    /// Number of eigenpairs.
    pub states: usize,
    /// Vectors above them that are followed until they are known to stay above.
    pub guards: usize,
    /// Whether to look, after convergence, for states of symmetries that were missed.
    pub probe: bool,
    /// Largest norm of `H x - theta x`, in Hartree.
    pub residual: f64,
    /// Largest estimated error of an eigenvalue, in Hartree: decides where gaps are small.
    pub value_error: f64,
    /// Largest number of passes.
    pub passes: usize,
    /// Largest number of basis vectors.
    pub subspace: usize,
}

/// States above those asked for that are refined with them where they are close, and how close, in
/// Hartree.
const NEIGHBOURS: usize = 2;
const CLOSE: f64 = 0.02;
/// Guards that are refined in one pass.
const REFINED: usize = 4;
/// How many times further than second-order perturbation theory says a guard may fall.
const CAUTION: f64 = 3.0;
/// Vectors of a probe, passes before it may end without a find, and passes at most.
const PROBES: usize = 6;
const LEAST_PROBED: usize = 6;
const MOST_PROBED: usize = 25;
/// Finds after which a probe is not repeated.
const FINDS: usize = 6;

/// Eigenpairs with the evidence for them.
#[derive(Clone, Debug)]
pub(crate) struct Eigenpairs {
    pub values: Vec<f64>,
    pub vectors: Vec<Vec<f64>>,
    /// Number of products with the matrix.
    pub products: usize,
    /// Estimates of the error of each eigenvalue.
    pub value_errors: Vec<f64>,
    /// Next values above, with an estimate of how far they may still fall, and their vectors.
    pub guards: Vec<Guard>,
}

/// A vector above the states asked for.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub value: f64,
    /// How far second-order perturbation theory says that it falls.
    pub drop: f64,
    pub vector: Vec<f64>,
}

impl Guard {
    fn least(&self) -> f64 {
        self.value - CAUTION * self.drop
    }
}

impl Eigenpairs {
    /// Vectors for the start of a calculation that contains this one: the states and the guards that are
    /// close to them, `least` of these at least.
    pub(crate) fn start(&self, least: usize) -> impl Iterator<Item = &Vec<f64>> {
        let top = self.values.last().copied().unwrap_or(0.0);
        let close = move |(k, g): &(usize, &Guard)| *k < least || g.least() < top + 2.0 * CLOSE;
        let guards = self.guards.iter().enumerate().filter(close).map(|(_, g)| &g.vector);
        self.vectors.iter().chain(guards)
    }
}

/// Distance of eigenvalues, relative, below which rounding alone makes their vectors mix.
const SAME: f64 = 1e-10;

impl Eigenpairs {
    /// Whether the value of each state is that of another one, as far as it is known.
    pub(crate) fn degenerate(&self) -> Vec<bool> {
        let values: Vec<f64> =
            self.values.iter().copied().chain(self.guards.iter().map(|g| g.value)).collect();
        let same = |a: usize, b: usize| self.same(values[a], values[b], a.min(b));
        (0..self.values.len())
            .map(|k| (k > 0 && same(k - 1, k)) || (k + 1 < values.len() && same(k, k + 1)))
            .collect()
    }

    fn same(&self, a: f64, b: f64, lower: usize) -> bool {
        let error = self.value_errors.get(lower).copied().unwrap_or(0.0);
        (a - b).abs() <= SAME * (1.0 + a.abs()) + 2.0 * error
    }

    /// The vectors of the states, those of the same value turned into eigenvectors of a symmetry.
    pub(crate) fn disentangled(
        &self,
        mut symmetry: impl FnMut(&[f64], &mut dyn Watch) -> Result<Vec<f64>, ExactError>,
        watch: &mut dyn Watch,
    ) -> Result<Vec<Vec<f64>>, ExactError> {
        let states = self.values.len();
        let values: Vec<f64> =
            self.values.iter().copied().chain(self.guards.iter().map(|g| g.value)).collect();
        let mut vectors: Vec<Vec<f64>> =
            self.vectors.iter().chain(self.guards.iter().map(|g| &g.vector)).cloned().collect();
        let mut first = 0;
        while first < states {
            let mut end = first + 1;
            while end < values.len() && self.same(values[end - 1], values[end], end - 1) {
                end += 1;
            }
            if end > first + 1 {
                let set = vectors[first..end].to_vec();
                let mut images = vec![];
                for v in &set {
                    images.push(symmetry(v, watch)?);
                }
                let n = set.len();
                let matrix = Mat::from_fn(n, n, |i, j| {
                    0.5 * (dot(&set[i], &images[j]) + dot(&set[j], &images[i]))
                });
                let (_, u) = symmetric_eigen(matrix.as_ref())?;
                vectors.splice(first..end, combinations(&set, u.as_ref()));
            }
            first = end;
        }
        vectors.truncate(states);
        Ok(vectors)
    }
}

/// Orthonormalises `v` against `locked` and `basis` (twice is enough: Parlett). False when nothing is
/// left.
fn orthonormalise(v: &mut [f64], locked: &[Vec<f64>], basis: &[Vec<f64>]) -> bool {
    let start = norm(v);
    if start.is_nan() || start <= 1e-300 {
        return false;
    }
    v.iter_mut().for_each(|x| *x /= start);
    for _ in 0..3 {
        let before = norm(v);
        for b in locked.iter().chain(basis) {
            let s = dot(v, b);
            add_scaled(v, -s, b);
        }
        let after = norm(v);
        if after < 1e-10 {
            return false;
        }
        v.iter_mut().for_each(|x| *x /= after);
        if after > 0.7 * before {
            break;
        }
    }
    true
}

/// Lowest determinants and one vector with a little of everything.
pub(crate) fn start_vectors(diagonal: &[f64], states: usize) -> Vec<Vec<f64>> {
    let count = (2 * states + 1).min(diagonal.len());
    let mut order: Vec<usize> = (0..diagonal.len()).collect();
    if order.len() > count {
        order.select_nth_unstable_by(count - 1, |a, b| {
            diagonal[*a].total_cmp(&diagonal[*b]).then(a.cmp(b))
        });
    }
    order.truncate(count);
    order.sort_by(|a, b| diagonal[*a].total_cmp(&diagonal[*b]).then(a.cmp(b)));
    let lowest = diagonal[order[0]];
    let mut list: Vec<Vec<f64>> = order
        .iter()
        .map(|&i| {
            let mut v = vec![0.0; diagonal.len()];
            v[i] = 1.0;
            v
        })
        .collect();
    let mut noise = Noise::default();
    list.push(diagonal.iter().map(|d| noise.next() / (1.0 + (d - lowest)).powi(2)).collect());
    list
}

/// Estimated error of the lowest of the `values` (ascending, each as low as it may be) whose residual has
/// this `length`: at most the residual; `4 r² / gap` where the next value is far; and where some are closer
/// than that, what mixing with them can make, which is no more than they are apart.
fn value_error(length: f64, value: f64, above: &[f64]) -> f64 {
    let mut error = length;
    let mut apart = 0.0_f64;
    for a in above {
        let gap = (a - value).max(0.0);
        if gap > 0.0 {
            error = error.min(apart + 4.0 * length * length / gap);
        }
        apart = apart.max(gap);
    }
    error
}

/// The matrix and its preconditioner.
struct Matrix<A, P> {
    apply: A,
    precondition: P,
}

/// Where a search begins and when it is over.
struct Search<'a> {
    start: Vec<Vec<f64>>,
    /// Orthonormal vectors that the search stays orthogonal to.
    locked: &'a [Vec<f64>],
    /// A probe looks for a state below this.
    below: Option<f64>,
    /// Passes before.
    passes: usize,
}

/// Lowest eigenpairs of the symmetric matrix behind `apply`.
///
/// `precondition(theta, r)` overwrites a residual by a correction, usually `r / (theta - diagonal)`.
/// `start` needs at least as many vectors as states are asked for.
pub(crate) fn lowest(
    apply: impl FnMut(&[f64], &mut dyn Watch) -> Result<Vec<f64>, ExactError>,
    precondition: impl Fn(f64, &mut [f64]),
    start: Vec<Vec<f64>>,
    options: &DavidsonOptions,
    watch: &mut dyn Watch,
) -> Result<Eigenpairs, ExactError> {
    let mut matrix = Matrix { apply, precondition };
    let search = Search { start, locked: &[], below: None, passes: 0 };
    let (mut found, mut passes) = matrix.search(search, options, watch)?;
    if !options.probe {
        return Ok(found);
    }
    let mut noise = Noise::default();
    for _ in 0..FINDS {
        let top = found.values[found.values.len() - 1];
        let mut known: Vec<Vec<f64>> = vec![];
        let all = found.vectors.iter().chain(found.guards.iter().map(|g| &g.vector));
        for mut v in all.cloned() {
            if orthonormalise(&mut v, &known, &[]) {
                known.push(v);
            }
        }
        let size = known[0].len();
        let start: Vec<Vec<f64>> = (0..PROBES.min(size - known.len().min(size)))
            .map(|_| {
                let mut v: Vec<f64> = (0..size).map(|_| noise.next()).collect();
                // Twice smoothed, towards low energies.
                (matrix.precondition)(found.values[0] - 1.0, &mut v);
                (matrix.precondition)(found.values[0] - 1.0, &mut v);
                v
            })
            .collect();
        if start.is_empty() {
            break;
        }
        let probe = DavidsonOptions {
            states: 1,
            guards: 2,
            residual: 1e-4,
            passes: MOST_PROBED,
            subspace: options.subspace.max(4 * PROBES),
            ..*options
        };
        let search = Search { start, locked: &known, below: Some(top), passes: 0 };
        let (other, _) = matrix.search(search, &probe, watch)?;
        found.products += other.products;
        let missed = other.values.first().is_some_and(|v| *v < top - options.value_error);
        if !missed {
            break;
        }
        let products = found.products;
        known.extend(other.start(2).cloned());
        let search = Search { start: known, locked: &[], below: None, passes };
        (found, passes) = matrix.search(search, options, watch)?;
        found.products += products;
    }
    Ok(found)
}

impl<A, P> Matrix<A, P>
where
    A: FnMut(&[f64], &mut dyn Watch) -> Result<Vec<f64>, ExactError>,
    P: Fn(f64, &mut [f64]),
{
    /// Returns the number of passes so far as well.
    fn search(
        &mut self,
        search: Search<'_>,
        options: &DavidsonOptions,
        watch: &mut dyn Watch,
    ) -> Result<(Eigenpairs, usize), ExactError> {
        let Search { start, locked, below, passes: earlier } = search;
        let mut basis: Vec<Vec<f64>> = Vec::new();
        let mut images: Vec<Vec<f64>> = Vec::new();
        let mut projected = Mat::<f64>::zeros(0, 0);
        let mut products = 0;
        let mut fresh = start;
        let mut pass = 0;
        loop {
            pass += 1;
            let before = basis.len();
            for mut v in fresh.drain(..) {
                if orthonormalise(&mut v, locked, &basis) {
                    images.push((self.apply)(&v, watch)?);
                    products += 1;
                    basis.push(v);
                    let n = basis.len();
                    let last = images.last().map_or(&[][..], |x| x);
                    let column: Vec<f64> = basis.iter().map(|b| dot(b, last)).collect();
                    let old = projected;
                    projected = Mat::from_fn(n, n, |i, j| match (i + 1 == n, j + 1 == n) {
                        (false, false) => old[(i, j)],
                        (true, _) => column[j],
                        (_, true) => column[i],
                    });
                }
            }
            let size = basis.len();
            let dimension = basis.first().map_or(0, Vec::len);
            let exhausted = size + locked.len() >= dimension || size == before;
            watch.spend(VECTOR_WORK * dimension as f64 * size as f64)?;
            let (theta, u) = symmetric_eigen(projected.as_ref())?;
            let states = options.states.min(size);
            let combine =
                |set: &[Vec<f64>], k: Range<usize>| combinations(set, u.subcols(k.start, k.len()));
            // Vectors, residuals with their lengths, and corrections of some Ritz values.
            let look_at = |range: Range<usize>| {
                let pairs = combine(&basis, range.clone()).into_iter();
                let pairs = pairs.zip(combine(&images, range.clone()));
                let look = |(k, (x, mut r)): (usize, (Vec<f64>, Vec<f64>))| {
                    add_scaled(&mut r, -theta[k], &x);
                    let length = norm(&r);
                    let mut correction = r.clone();
                    (self.precondition)(theta[k], &mut correction);
                    let drop = dot(&r, &correction).abs();
                    (x, length, correction, drop)
                };
                range.zip(pairs).map(look).collect::<Vec<_>>()
            };
            let mut found = look_at(0..states);
            // As long as the states themselves change, few guards tell enough.
            let rough = found.iter().any(|f| f.1 > options.residual);
            let guards = if rough { options.guards.min(NEIGHBOURS) } else { options.guards };
            found.extend(look_at(states..(states + guards).min(size)));
            // Each value as low as it may be; nothing is known of those that are not looked at.
            let least: Vec<f64> = (0..size)
                .map(|k| match found.get(k) {
                    Some(f) if k >= states => theta[k] - CAUTION * f.3,
                    _ => theta[k],
                })
                .collect();
            let mut value_errors = Vec::new();
            let mut residual = 0.0_f64;
            let mut open = vec![];
            for k in 0..states {
                let length = found[k].1;
                residual = length.max(residual);
                let mut above = least[k + 1..].to_vec();
                above.sort_by(f64::total_cmp);
                let error = value_error(length, theta[k], &above);
                value_errors.push(error);
                if length > options.residual || error > options.value_error {
                    open.push(k);
                }
            }
            let top = theta[states - 1];
            if below.is_none() {
                watch.tell(&News::Iteration(Iteration {
                    number: earlier + pass,
                    energy: theta[0],
                    residual,
                    target: options.residual,
                }));
            }
            let close = |k: usize| theta[k] - top <= CLOSE;
            let mut refined: Vec<usize> = vec![];
            if !open.is_empty() {
                // What is left of a close neighbour in a state decays only as fast as the neighbour
                // itself is found.
                refined.extend((states..size.min(states + NEIGHBOURS)).take_while(|&k| close(k)));
            }
            // A guard that may fall below the states asked for belongs among them.
            let slack = 0.5 * options.value_error;
            for k in states..found.len() {
                let dangerous = least[k] < top - slack && CAUTION * found[k].3 > slack;
                if dangerous && !refined.contains(&k) && refined.len() < REFINED {
                    refined.push(k);
                }
            }
            let decided = below.is_some_and(|bound| {
                pass >= LEAST_PROBED && theta[0] - CAUTION * found[0].3 > bound
                    || residual < options.residual
            });
            let settled = open.is_empty() && refined.is_empty();
            if decided || settled || pass >= options.passes || exhausted {
                // States that may yet be passed by a guard are as uncertain as that.
                for (k, error) in value_errors.iter_mut().enumerate() {
                    let lowest = least[states..].iter().copied().fold(f64::INFINITY, f64::min);
                    if !exhausted && lowest < theta[k] {
                        *error = error.max(theta[k] - lowest);
                    }
                }
                let mut vectors: Vec<(f64, Vec<f64>, f64)> =
                    found.into_iter().zip(&theta).map(|(f, t)| (*t, f.0, f.3)).collect();
                let guards = vectors
                    .split_off(states)
                    .into_iter()
                    .map(|(value, vector, drop)| Guard { value, drop, vector })
                    .collect();
                let vectors = vectors.into_iter().map(|v| v.1).collect();
                let values = theta[..states].to_vec();
                let pairs = Eigenpairs { values, vectors, products, value_errors, guards };
                return Ok((pairs, earlier + pass));
            }
            let mut wanted = open;
            wanted.extend(refined);
            let mut corrections: Vec<Option<Vec<f64>>> =
                found.into_iter().map(|f| Some(f.2)).collect();
            for k in wanted {
                match corrections.get_mut(k).and_then(Option::take) {
                    Some(correction) => fresh.push(correction),
                    None => fresh.extend(look_at(k..k + 1).into_iter().map(|found| found.2)),
                }
            }
            if size + fresh.len() > options.subspace {
                // Thick restart: a few more Ritz vectors than states keep what has been learnt of the
                // next ones.
                let kept = (2 * states + 2)
                    .max(states + options.guards + 2)
                    .min(size)
                    .min(options.subspace.saturating_sub(fresh.len()))
                    .max(states);
                (basis, images) = (combine(&basis, 0..kept), combine(&images, 0..kept));
                projected = Mat::from_fn(kept, kept, |i, j| if i == j { theta[i] } else { 0.0 });
            }
        }
    }
}

/// Floating-point operations, as slow as products of vectors are, per element of each basis vector in a pass.
const VECTOR_WORK: f64 = 30.0;

#[cfg(test)]
mod tests {
    use super::super::watch::Unwatched;
    use super::*;

    /// Two symmetries that nothing couples: the first has the lowest diagonal and the other the lowest state.
    fn two_blocks(size: usize) -> Mat<f64> {
        let half = size / 2;
        Mat::from_fn(size, size, |i, j| {
            if (i < half) != (j < half) {
                0.0
            } else if i == j {
                if i < half { 0.05 * i as f64 } else { 1.0 + 0.05 * (i - half) as f64 }
            } else if i < half {
                0.01 / (1.0 + i.abs_diff(j) as f64)
            } else {
                -0.25
            }
        })
    }

    fn solved(matrix: &Mat<f64>, start: Vec<Vec<f64>>, guards: usize, probe: bool) -> Eigenpairs {
        let n = matrix.nrows();
        let apply = |c: &[f64], _: &mut dyn Watch| {
            Ok((0..n).map(|i| (0..n).map(|j| matrix[(i, j)] * c[j]).sum()).collect())
        };
        let precondition = |theta: f64, r: &mut [f64]| {
            for (i, x) in r.iter_mut().enumerate() {
                let gap = matrix[(i, i)] - theta;
                *x /= -if gap.abs() < 0.05 { 0.05_f64.copysign(gap) } else { gap };
            }
        };
        let options = DavidsonOptions {
            states: 2,
            guards,
            probe,
            residual: 1e-8,
            value_error: 1e-10,
            passes: 150,
            subspace: 40,
        };
        lowest(apply, precondition, start, &options, &mut Unwatched).unwrap()
    }

    #[test]
    fn a_symmetry_that_the_start_lacks_is_found_by_the_probe() {
        let matrix = two_blocks(120);
        let (exact, _) = symmetric_eigen(matrix.as_ref()).unwrap();
        let unit = |k: usize| (0..120).map(|i| f64::from(u8::from(i == k))).collect::<Vec<f64>>();
        let start = || (0..5).map(unit).collect::<Vec<_>>();
        assert!(exact[0] < -1.0);
        let missed = solved(&matrix, start(), 0, false);
        assert!(missed.values[0] > exact[0] + 0.5, "the start is no trap");
        let found = solved(&matrix, start(), 4, true);
        for k in 0..2 {
            let error = (found.values[k] - exact[k]).abs();
            assert!(error <= found.value_errors[k] + 1e-12, "state {k}: {error:e}");
        }
    }

    /// One vector of the other symmetry, far above at first, is followed until it is below.
    #[test]
    fn guards_that_may_fall_are_followed() {
        let matrix = two_blocks(120);
        let (exact, _) = symmetric_eigen(matrix.as_ref()).unwrap();
        let unit = |k: usize| (0..120).map(|i| f64::from(u8::from(i == k))).collect::<Vec<f64>>();
        let start: Vec<_> = [0, 1, 2, 60].map(unit).to_vec();
        let found = solved(&matrix, start, 4, false);
        assert!((found.values[0] - exact[0]).abs() < 1e-10, "{:?}", found.values);
    }

    /// What the residual leaves open is bounded by the gap where there is one, and by how far the neighbours are
    /// where they are closer than the residual.
    #[test]
    fn errors_of_values_survive_near_degeneracy() {
        assert_eq!(value_error(1e-3, 0.0, &[1.0]), 4e-6);
        assert_eq!(value_error(1e-3, 0.0, &[1e-4]), 1e-3);
        let close = value_error(1e-6, 0.0, &[1e-9, 1.0]);
        assert!((close - 1e-9).abs() < 1e-11, "{close:e}");
        assert_eq!(value_error(1e-3, 0.0, &[]), 1e-3);
    }
}
