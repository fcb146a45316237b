//! Charts: the fundamental domain of one spin in a box onto the unit cube.
//!
//! With `s_i = (x_i + L) / 2L` ascending, every face of the cube is a place where the wavefunction must
//! vanish (two equal spins meet, or a wall), so the boundary condition becomes one per dimension.

use crate::math::scalar::Scalar;
use serde::{Deserialize, Serialize};

/// The chart from the fundamental domain to the unit cube.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Chart {
    /// `u_1 = s_1, u_i = (s_i - s_{i-1}) / (1 - s_{i-1})`. Its Jacobian is singular in the corner where all
    /// particles sit at the right wall, where the variance of the local energy diverges.
    StickBreaking,
    /// Stick breaking made volume preserving, `v_i = 1 - (1 - u_i)^{n-i+1}`: the Jacobian is `n!`.
    Uniform,
    /// Gaps first, `u_i = g_i / (1 - sum_{j<i} g_j)` with `g_i = s_{i+1} - s_i`, then the position of the
    /// first particle, `u_n = s_1 / (1 - sum_j g_j)`.
    #[default]
    Gaps,
}

/// How `psi / sqrt(det)` behaves at the two faces of one dimension of the cube.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Face {
    /// Power of `u_i` with which it vanishes.
    pub left_power: usize,
    /// Power of `1 - u_i` with which it vanishes.
    pub right_power: usize,
    /// Whether it is best taken odd about `u_i = 0`: no second derivative there.
    pub odd_at_left: bool,
}

impl Face {
    fn new(right_power: usize) -> Self {
        Face { left_power: 1, right_power, odd_at_left: false }
    }
}

impl Chart {
    /// What is known of a smooth antisymmetric state at the faces `u_i = 0` and `u_i = 1` of the cube, for
    /// each of `n` dimensions.
    ///
    /// Towards `u_i = 0` two particles meet or one meets a wall. Towards `u_i = 1` all remaining particles,
    /// `m` of them, are squeezed against a wall: `m²` powers of the distance, those of the Jacobian apart.
    pub fn faces(self, n: usize) -> Vec<Face> {
        let squeezed = |m: usize| m * m + m / 2;
        (0..n)
            .map(|i| match self {
                Chart::StickBreaking => Face::new(squeezed(n - i)),
                Chart::Uniform => Face::new(n - i),
                Chart::Gaps if i + 1 == n => Face::new(1),
                // A gap changes sign across the mirror, so that its own factor is odd.
                Chart::Gaps => Face { odd_at_left: true, ..Face::new(1 + squeezed(n - 1 - i)) },
            })
            .collect()
    }

    /// Maps sorted coordinates of one spin to the cube; returns `log |det du/ds|`.
    ///
    /// `left[i]` and `right[i]` are the distances to the two walls in units of the box, `s_i` and `1 - s_i`;
    /// both are given because near a wall one of them has lost its digits.
    pub fn forward<T: Scalar>(self, left: &[T], right: &[T], u: &mut [T]) -> T {
        let n = left.len();
        let mut log_det = T::zero();
        match self {
            Chart::StickBreaking => {
                u[0] = left[0];
                for i in 1..n {
                    u[i] = (left[i] - left[i - 1]) / right[i - 1];
                    log_det -= right[i - 1].ln();
                }
            }
            Chart::Uniform => {
                for i in 0..n {
                    let (stick, ratio) = if i == 0 {
                        (left[0], right[0])
                    } else {
                        let inverse = right[i - 1].recip();
                        ((left[i] - left[i - 1]) * inverse, right[i] * inverse)
                    };
                    // 1 - r^m = (1 - r)(1 + r + ... + r^{m-1}): exact for small gaps.
                    let mut series = T::one();
                    for _ in 1..n - i {
                        series = series * ratio + 1.0;
                    }
                    u[i] = stick * series;
                }
                log_det = T::constant((1..=n).map(|k| (k as f64).ln()).sum());
            }
            Chart::Gaps => {
                let mut rest = T::one();
                for i in 0..n - 1 {
                    let gap = left[i + 1] - left[i];
                    u[i] = gap / rest;
                    if i > 0 {
                        log_det -= rest.ln();
                    }
                    rest = if i + 2 < n { rest - gap } else { left[0] + right[n - 1] };
                }
                if n == 1 {
                    u[0] = left[0];
                } else {
                    u[n - 1] = left[0] / rest;
                    log_det -= rest.ln();
                }
            }
        }
        log_det
    }

    /// Maps a point of the cube to sorted positions `s` in `[0, 1]`.
    pub fn inverse(self, u: &[f64], s: &mut [f64]) {
        let n = u.len();
        match self {
            Chart::StickBreaking | Chart::Uniform => {
                let mut right = 1.0;
                for i in 0..n {
                    let stick = match self {
                        Chart::StickBreaking => u[i],
                        // 1 - (1 - v)^{1/m}, without cancellation for small v.
                        _ => -((-u[i]).ln_1p() / (n - i) as f64).exp_m1(),
                    };
                    s[i] = 1.0 - right + right * stick;
                    right *= 1.0 - stick;
                }
            }
            Chart::Gaps => {
                let mut rest = 1.0;
                for i in 0..n - 1 {
                    s[i + 1] = u[i] * rest;
                    rest -= s[i + 1];
                }
                s[0] = u[n - 1] * rest;
                for i in 1..n {
                    s[i] += s[i - 1];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::DMatrix;
    use proptest::prelude::*;

    const CHARTS: [Chart; 3] = [Chart::StickBreaking, Chart::Uniform, Chart::Gaps];

    fn forward(chart: Chart, s: &[f64]) -> (Vec<f64>, f64) {
        let right: Vec<f64> = s.iter().map(|s| 1.0 - s).collect();
        let mut u = vec![0.0; s.len()];
        let log_det = chart.forward(s, &right, &mut u);
        (u, log_det)
    }

    proptest! {
        #[test]
        fn inverse_undoes_the_chart(n in 1usize..9, cube in prop::collection::vec(0.001f64..0.999, 9)) {
            for chart in CHARTS {
                let mut s = vec![0.0; n];
                chart.inverse(&cube[..n], &mut s);
                prop_assert!(s.windows(2).all(|w| w[0] < w[1]) && s[0] > 0.0 && s[n - 1] < 1.0);
                // Conditioning near the far corner is that of the map itself.
                let smallest = 1.0 - s[n - 1];
                prop_assume!(smallest > 1e-6);
                let (u, _) = forward(chart, &s);
                for i in 0..n {
                    prop_assert!((u[i] - cube[i]).abs() < 1e-9, "{chart:?} {:?} {:?}", u, cube);
                }
            }
        }

        #[test]
        fn log_det_is_that_of_the_jacobian(n in 1usize..6, cube in prop::collection::vec(0.1f64..0.9, 6)) {
            for chart in CHARTS {
                let mut s = vec![0.0; n];
                chart.inverse(&cube[..n], &mut s);
                let (_, log_det) = forward(chart, &s);
                let h = 1e-6 * (1.0 - s[n - 1]).min(s[0]).min(
                    s.windows(2).map(|w| w[1] - w[0]).fold(1.0, f64::min));
                let mut jacobian = DMatrix::zeros(n, n);
                for j in 0..n {
                    let (mut a, mut b) = (s.clone(), s.clone());
                    a[j] += h;
                    b[j] -= h;
                    let (ua, ub) = (forward(chart, &a).0, forward(chart, &b).0);
                    for i in 0..n {
                        jacobian[(i, j)] = (ua[i] - ub[i]) / (2.0 * h);
                    }
                }
                prop_assert!((jacobian.determinant().abs().ln() - log_det).abs() < 1e-5);
            }
        }
    }
}
