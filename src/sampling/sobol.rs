//! Sobol points with nested uniform (Owen) scrambling, each computed from its index alone.
//!
//! Digital net in base 2 (I. M. Sobol', USSR Comput. Math. Math. Phys. 7, 86 (1967)) with the direction numbers
//! `new-joe-kuo-6` of S. Joe and F. Y. Kuo, "Constructing Sobol sequences with better two-dimensional
//! projections", SIAM J. Sci. Comput. 30, 2635 (2008), through the crate `sobol`. The scrambling is that of
//! A. B. Owen, "Randomly permuted (t,m,s)-nets and (t,s)-sequences" (1995): a digit is flipped by a random bit
//! that belongs to the digits before it, so that every point is uniform on the unit cube and every elementary
//! interval keeps its number of points. The random bits are hashes of their place instead of a stored tree
//! (the idea of S. Laine and T. Karras, "Stratified sampling for stochastic transparency", 2011, and of B. Burley,
//! "Practical hash-based Owen scrambling", 2020); unlike theirs, the hash here mixes the whole key into every bit,
//! so that the flips of different digits and prefixes are as independent as the hash is good.

use super::{mix, unit};
use sobol::SobolParams;
use sobol::params::JoeKuoD6;
use std::sync::OnceLock;

/// Digits of an index: there are `2^DIGITS` points.
pub const DIGITS: usize = BLOCKS * BLOCK;
/// Most dimensions of a point.
pub const MOST_DIMENSIONS: usize = 100;

/// Digits that share one hash: the `2^6 - 1` nodes of a binary tree of six levels need 63 random bits.
const BLOCK: usize = 6;
/// Blocks of scrambled digits.
const BLOCKS: usize = 6;

/// What a unit index does to the digits of one coordinate; the first digit is the highest bit.
type Directions = [u64; DIGITS];

/// Direction numbers of all dimensions.
fn directions() -> &'static [Directions] {
    static TABLE: OnceLock<Vec<Directions>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let numbers = JoeKuoD6::minimal();
        (1..=numbers.max_dims()).map(|d| dimension(&numbers, d)).collect()
    })
}

/// Direction numbers of dimension `d`, counted from 1: those given, continued by the recurrence of the
/// primitive polynomial.
fn dimension(numbers: &JoeKuoD6, d: usize) -> Directions {
    let digit = |i: usize| u64::BITS as usize - 1 - i;
    // The first dimension is the van der Corput sequence.
    let mut v: Directions = std::array::from_fn(|i| 1 << digit(i));
    if d > 1 {
        let p = numbers.get_dim(d);
        let degree = p.s();
        for i in 0..DIGITS {
            v[i] = if i < degree {
                u64::from(p.m(i)) << digit(i)
            } else {
                let inner = (1..degree)
                    .filter(|k| p.coefficient(degree - 1 - k) == 1)
                    .fold(0, |sum, k| sum ^ v[i - k]);
                inner ^ v[i - degree] ^ (v[i - degree] >> degree)
            };
        }
    }
    v
}

/// One scrambling of the first `2^36` Sobol points.
#[derive(Clone, Debug)]
pub struct ScrambledSobol {
    /// Key of the scrambling of each dimension.
    keys: Vec<u64>,
}

impl ScrambledSobol {
    /// The scrambling that belongs to `key`, in at most [`MOST_DIMENSIONS`] dimensions.
    ///
    /// # Panics
    ///
    /// With more dimensions than that.
    pub fn new(key: u64, dimensions: usize) -> Self {
        assert!(dimensions <= MOST_DIMENSIONS, "{dimensions} dimensions");
        let keys = (0..dimensions as u64).map(|d| mix(mix(key) ^ mix(!d))).collect();
        ScrambledSobol { keys }
    }

    /// Number of dimensions.
    pub fn dimensions(&self) -> usize {
        self.keys.len()
    }

    /// Writes the point of an index below `2^DIGITS`; its coordinates are in the open interval (0, 1).
    pub fn point(&self, index: u64, coordinates: &mut [f64]) {
        debug_assert!(index < 1 << DIGITS);
        for ((u, &key), v) in coordinates.iter_mut().zip(&self.keys).zip(directions()) {
            let mut digits = 0;
            let mut rest = index;
            while rest != 0 {
                digits ^= v[rest.trailing_zeros() as usize];
                rest &= rest - 1;
            }
            *u = unit(scramble(digits, key));
        }
    }
}

/// Nested uniform scrambling of the digits of one coordinate.
fn scramble(digits: u64, key: u64) -> u64 {
    // A node of the tree is named by the digits that lead to it, behind a leading 1 that tells how many.
    let mut node = 1u64;
    let mut scrambled = 0u64;
    for block in 0..BLOCKS {
        let own = (digits >> (u64::BITS as usize - (block + 1) * BLOCK)) & ((1 << BLOCK) - 1);
        let random = hash(node, key);
        // Within the block the nodes are 1, 2 and 3, 4 to 7, ..: bits of one hash.
        let inner = own | 1 << BLOCK;
        let mut flips = 0;
        for level in 0..BLOCK {
            flips = flips << 1 | (random >> (inner >> (BLOCK - level))) & 1;
        }
        scrambled = scrambled << BLOCK | (own ^ flips);
        node = node << BLOCK | own;
    }
    // The digits so far tell all points apart, so the digits behind them are free random bits of each point.
    scrambled << (u64::BITS as usize - DIGITS) | hash(node, key) >> DIGITS
}

/// Sixty-four random bits of a node of the tree of one dimension.
fn hash(node: u64, key: u64) -> u64 {
    mix(mix(node) ^ key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::statistics::Moments;

    fn points(key: u64, dimensions: usize, count: u64) -> Vec<Vec<f64>> {
        let sobol = ScrambledSobol::new(key, dimensions);
        (0..count)
            .map(|i| {
                let mut u = vec![0.0; dimensions];
                sobol.point(i, &mut u);
                u
            })
            .collect()
    }

    #[test]
    fn the_numbers_are_those_of_joe_and_kuo() {
        let table = directions();
        assert_eq!(table.len(), MOST_DIMENSIONS);
        // The first points as published; any wrong sign convention of the recurrence shows by the eighth.
        let unscrambled = |index: u64, d: usize| {
            (0..DIGITS).filter(|k| index >> k & 1 == 1).fold(0, |sum, k| sum ^ table[d][k])
        };
        let eighths = |index, d| unscrambled(index, d) >> 61;
        let expected = [
            [0, 4, 2, 6, 1, 5, 3, 7], // van der Corput
            [0, 4, 6, 2, 5, 1, 3, 7], // x + 1, m = 1
            [0, 4, 6, 2, 3, 7, 5, 1], // x² + x + 1, m = 1, 3
        ];
        for (d, row) in expected.iter().enumerate() {
            for (i, &value) in row.iter().enumerate() {
                assert_eq!(eighths(i as u64, d), value, "dimension {d}, point {i}");
            }
        }
    }

    #[test]
    fn every_dimension_is_stratified_at_every_depth() {
        for m in [0, 1, 5, 10, 13] {
            let count = 1u64 << m;
            // A net starts at every multiple of its size.
            for start in [0, 3 * count] {
                let sobol = ScrambledSobol::new(7 + m, MOST_DIMENSIONS);
                let mut hit = vec![false; (count as usize) * MOST_DIMENSIONS];
                let mut u = vec![0.0; MOST_DIMENSIONS];
                for i in start..start + count {
                    sobol.point(i, &mut u);
                    for (d, u) in u.iter().enumerate() {
                        assert!(*u > 0.0 && *u < 1.0);
                        let stratum = (u * count as f64) as usize;
                        let seen = &mut hit[d * count as usize + stratum];
                        assert!(!*seen, "dimension {d}, stratum {stratum} of 2^{m}");
                        *seen = true;
                    }
                }
            }
        }
    }

    #[test]
    fn the_first_two_dimensions_fill_every_elementary_interval_once() {
        let m = 12u32;
        for key in 0..3 {
            let points = points(key, 2, 1 << m);
            for a in 0..=m {
                let mut hit = vec![false; 1 << m];
                for p in &points {
                    let i = (p[0] * f64::from(1u32 << a)) as usize;
                    let j = (p[1] * f64::from(1u32 << (m - a))) as usize;
                    let seen = &mut hit[i << (m - a) | j];
                    assert!(!*seen, "key {key}, intervals 2^-{a} x 2^-{}", m - a);
                    *seen = true;
                }
            }
        }
    }

    #[test]
    fn far_points_are_distinct_and_use_all_digits() {
        let sobol = ScrambledSobol::new(1, 2);
        let mut seen = Vec::new();
        let mut bits = 0u64;
        for i in (1u64 << 20) - 500..(1 << 20) + 500 {
            for start in [0, 1 << 31, 1 << 35] {
                let mut u = [0.0; 2];
                sobol.point(start + i, &mut u);
                seen.push(u[0]);
                bits |= (u[0] * 52f64.exp2()) as u64;
            }
        }
        let count = seen.len();
        seen.sort_by(f64::total_cmp);
        seen.dedup();
        assert_eq!((seen.len(), bits), (count, (1 << 52) - 1));
    }

    #[test]
    fn a_scrambling_is_its_key() {
        let first = points(5, 33, 8);
        assert_eq!(first, points(5, 33, 8));
        // Coordinates do not depend on the number of dimensions.
        assert_eq!(first[3][..4], points(5, 4, 8)[3]);
        for key in [4, 6, 5 + (1 << 32), u64::MAX] {
            let other = points(key, 33, 8);
            for (a, b) in first.iter().flatten().zip(other.iter().flatten()) {
                assert_ne!(a, b);
            }
        }
        // No two dimensions share their scrambling.
        let mut row = first[0].clone();
        row.sort_by(f64::total_cmp);
        row.dedup();
        assert_eq!(row.len(), 33);
    }

    /// Over scramblings every point is uniform, and two points are as independent as their net allows: with the
    /// first digit of a dimension different they lie in different halves, otherwise they follow Owen's law.
    #[test]
    fn over_scramblings_points_are_uniform_and_pairs_follow_owen() {
        let scramblings = 4000;
        let dimensions = 3;
        let (mut mean, mut square) = (vec![], vec![]);
        let mut covariance = Vec::new();
        for index in [0u64, 1, 6, 1000] {
            for d in 0..dimensions {
                let (mut a, mut b) = (Moments::default(), Moments::default());
                for key in 0..scramblings {
                    let mut u = [0.0; 3];
                    ScrambledSobol::new(key, dimensions).point(index, &mut u);
                    a.push(u[d]);
                    b.push((u[d] - 0.5).powi(2));
                }
                mean.push((a.mean() - 0.5) / a.standard_error());
                square.push((b.mean() - 1.0 / 12.0) / b.standard_error());
            }
        }
        // Points 0 and 1 differ in the first digit, 0 and 2 first in the second of dimension 1: with u = 1/2 ±
        // 1/4 ± 1/8 .. and the digits after the first difference independent, the covariance of two
        // coordinates is the sum of those of the equal digits less that of the first different one.
        for (other, expected) in [(1, -1.0 / 16.0), (2, 1.0 / 16.0 - 1.0 / 64.0)] {
            let mut c = Moments::default();
            for key in 0..scramblings {
                let sobol = ScrambledSobol::new(key, 1);
                let (mut a, mut b) = ([0.0], [0.0]);
                sobol.point(0, &mut a);
                sobol.point(other, &mut b);
                c.push((a[0] - 0.5) * (b[0] - 0.5));
            }
            covariance.push((c.mean() - expected) / c.standard_error());
        }
        // Keys are fixed, so this passes or fails for good; 4.5 would be one chance in 5000 for 26 numbers.
        for z in mean.iter().chain(&square).chain(&covariance) {
            assert!(z.abs() < 4.5, "{mean:?} {square:?} {covariance:?}");
        }
    }

    /// Root-mean-square error of the mean of `f` over `count` points and 32 scramblings.
    fn error(dimensions: usize, count: u64, f: impl Fn(&[f64]) -> f64, exact: f64) -> f64 {
        let square: f64 = (0..32)
            .map(|key| {
                let sum: f64 = points(key, dimensions, count).iter().map(|u| f(u)).sum();
                (sum / count as f64 - exact).powi(2)
            })
            .sum();
        (square / 32.0).sqrt()
    }

    #[test]
    fn smooth_integrands_converge_faster_than_the_inverse_of_the_number_of_points() {
        let one = |u: &[f64]| u[0].exp();
        let e = std::f64::consts::E - 1.0;
        // N^-3/2: in one dimension the law of stratified points is exact, s = f' / (sqrt 12 N^3/2).
        let (few, many) = (error(1, 1 << 4, one, e), error(1, 1 << 12, one, e));
        let slope = ((std::f64::consts::E.powi(2) - 1.0) / 2.0).sqrt() / 12f64.sqrt();
        assert!((few / (slope / 64.0) - 1.0).abs() < 0.4, "{few}");
        assert!((many / (slope / 262_144.0) - 1.0).abs() < 0.4, "{many}");
        let product = |u: &[f64]| u.iter().map(|u| 1.0 + 0.5 * (u - 0.5)).product::<f64>();
        let (few, many) = (error(4, 1 << 6, product, 1.0), error(4, 1 << 13, product, 1.0));
        assert!(many < few / 128.0 / 2.0, "{few} {many}: less than N^-1");
    }
}
