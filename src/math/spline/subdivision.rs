//! Exact knot insertion for uniform splines: the same function on cells of half the width.
//!
//! A uniform B-spline is a sum of `DEGREE + 2` of half the width with binomial weights (J. M. Lane, R. F. Riesenfeld,
//! "A theoretical development for the computer generation and display of piecewise polynomial surfaces", IEEE
//! Trans. Pattern Anal. Mach. Intell. 2, 35 (1980)). All weights are positive, so that bounds on coefficients
//! hold for the new ones as well.

use super::circular::DEGREE;

/// Weights of the old coefficients at distances -1, 0 and 1 in a new one at an old place.
const SAME: [f64; 3] = [6.0 / 32.0, 20.0 / 32.0, 6.0 / 32.0];
/// Weights of the old coefficients at -3/2, -1/2, 1/2 and 3/2 in a new one half-way between them.
const BETWEEN: [f64; 4] = [1.0 / 32.0, 15.0 / 32.0, 15.0 / 32.0, 1.0 / 32.0];

/// Coefficients `0..count` on half cells, centred at `i / 2`, from those at whole numbers.
pub(super) fn halved(coefficient: impl Fn(isize) -> f64, count: usize) -> Vec<f64> {
    // The weights are those of degree five.
    const { assert!(DEGREE == 5) };
    let sum = |weights: &[f64], first: isize| -> f64 {
        weights.iter().zip(first..).map(|(w, j)| w * coefficient(j)).sum()
    };
    (0..count as isize)
        .map(|i| if i % 2 == 0 { sum(&SAME, i / 2 - 1) } else { sum(&BETWEEN, i / 2 - 1) })
        .collect()
}
