//! Monotone bijections of `[0, 1]` from rational quadratic splines.
//!
//! J. A. Gregory and R. Delbourgo, "Piecewise rational quadratic interpolation to monotonic data", IMA J. Numer. Anal. 2,
//! 123 (1982), eqs. (2.4) to (2.8); as a layer of a flow C. Durkan, A. Bekasov, I. Murray and G. Papamakarios, "Neural
//! spline flows", arXiv:1906.04032. Between knots `u_k`, with `xi = (u - u_k) / (u_{k+1} - u_k)`, the values `y_k`, slopes
//! `d_k` there and the mean slope `s_k` of the cell,
//! `y = y_k + h (s xi² + d_k a) / D` and `y' = s² (d_{k+1} xi² + 2 s a + d_k (1 - xi)²) / D²`, where
//! `a = xi (1 - xi)` and `D = s + (d_k + d_{k+1} - 2 s) a`: once differentiable, the slope has kinks at the knots.
//! The knots stay where they are, so that what depends on the parameters has its kinks at fixed places.

use super::SplineError;
use crate::math::scalar::Scalar;

/// Rational quadratic splines on equidistant knots, with floors under cells and slopes.
#[derive(Clone, Debug)]
pub struct RationalBasis {
    cells: usize,
    floor: f64,
}

/// Values and slopes at the knots of one map.
#[derive(Clone, Debug, Default)]
pub struct RationalShape<T> {
    /// Shares of the cells in the rise: a softmax.
    shares: Vec<T>,
    /// Values at the knots.
    values: Vec<T>,
    /// Slopes at the knots.
    slopes: Vec<T>,
}

/// Value of a map, its slope, and what the reverse sweep needs again.
#[derive(Clone, Copy, Debug)]
pub struct RationalPoint<T> {
    /// `y(u)`.
    pub value: T,
    /// `y'(u)`.
    pub slope: T,
    cell: usize,
    xi: T,
}

/// What value and slope of a map are made of, with the letters of the front page.
struct Parts<T> {
    s: T,
    left: T,
    right: T,
    /// `1 - xi`.
    rest: T,
    a: T,
    /// `d_k + d_{k+1} - 2 s`.
    bend: T,
    /// `1 / D`.
    inverse: T,
    numerator: T,
    /// What `y'` has in parentheses.
    steep: T,
    /// `s / D`.
    ratio: T,
}

/// Slope at a knot.
fn slope<T: Scalar>(floor: f64, logit: T) -> T {
    logit.exp() * (1.0 - floor) + floor
}

impl RationalBasis {
    /// `knots` equidistant knots, both ends included; no mean slope of a cell nor slope at a knot is below `floor`.
    ///
    /// # Errors
    /// [`SplineError::Knots`] with fewer than two knots.
    pub fn uniform(knots: usize, floor: f64) -> Result<Self, SplineError> {
        if knots < 2 {
            return Err(SplineError::Knots);
        }
        Ok(RationalBasis { cells: knots - 1, floor })
    }

    /// Logits of a map: of the rise in each cell, then of the slope at each knot. Zeros are the identity.
    pub fn logits(&self) -> usize {
        2 * self.cells + 1
    }

    /// Values and slopes at the knots.
    pub fn shape<T: Scalar>(&self, logits: &[T], shape: &mut RationalShape<T>) {
        let RationalShape { shares, values, slopes } = shape;
        let (rises, bends) = logits.split_at(self.cells);
        let largest = rises.iter().map(|l| l.value()).fold(f64::NEG_INFINITY, f64::max);
        shares.clear();
        shares.extend(rises.iter().map(|&l| (l - largest).exp()));
        let inverse = shares.iter().fold(T::zero(), |sum, &e| sum + e).recip();
        shares.iter_mut().for_each(|e| *e = *e * inverse);
        let least = self.floor / self.cells as f64;
        let mut value = T::zero();
        values.clear();
        values.push(value);
        values.extend(shares.iter().map(|&share| {
            value += share * (1.0 - self.floor) + least;
            value
        }));
        slopes.clear();
        slopes.extend(bends.iter().map(|&l| slope(self.floor, l)));
    }

    /// Mean slope of a cell and the slopes at its ends.
    fn cell<T: Scalar>(&self, shape: &RationalShape<T>, cell: usize) -> [T; 3] {
        let rise = shape.values[cell + 1] - shape.values[cell];
        [rise * self.cells as f64, shape.slopes[cell], shape.slopes[cell + 1]]
    }

    fn parts<T: Scalar>(&self, shape: &RationalShape<T>, cell: usize, xi: T) -> Parts<T> {
        let [s, left, right] = self.cell(shape, cell);
        let rest = -xi + 1.0;
        let a = xi * rest;
        let bend = left + right - s * 2.0;
        let inverse = (s + bend * a).recip();
        let numerator = s * xi * xi + left * a;
        let steep = right * xi * xi + s * a * 2.0 + left * rest * rest;
        Parts { s, left, right, rest, a, bend, inverse, numerator, steep, ratio: s * inverse }
    }

    /// The map and its slope at `u`.
    pub fn forward<T: Scalar>(&self, shape: &RationalShape<T>, u: T) -> RationalPoint<T> {
        let cells = self.cells as f64;
        let cell = ((u.value() * cells) as usize).min(self.cells - 1);
        let xi = u * cells - cell as f64;
        let Parts { numerator, steep, ratio, .. } = self.parts(shape, cell, xi);
        RationalPoint {
            value: shape.values[cell] + ratio * numerator * (1.0 / cells),
            slope: ratio * ratio * steep,
            cell,
            xi,
        }
    }

    /// Adjoints of the logits (added to `logits_bar`) and of `u` (returned), from those of the value and of the slope.
    pub fn backward<T: Scalar>(
        &self,
        shape: &RationalShape<T>,
        point: &RationalPoint<T>,
        value_bar: T,
        slope_bar: T,
        logits_bar: &mut [T],
    ) -> T {
        let cells = self.cells as f64;
        let &RationalPoint { cell, xi, .. } = point;
        let Parts { s, left, right, rest, a, bend, inverse, numerator, steep, ratio } =
            self.parts(shape, cell, xi);
        let value_bar_cell = value_bar * (1.0 / cells);
        // Of numerator, steep and denominator.
        let of_numerator = value_bar_cell * ratio;
        let of_steep = slope_bar * ratio * ratio;
        let of_denominator = -(of_numerator * numerator + of_steep * steep * 2.0) * inverse;
        let mut of_s = (value_bar_cell * numerator + slope_bar * ratio * steep * 2.0) * inverse;
        of_s += of_numerator * xi * xi + of_steep * a * 2.0;
        of_s += of_denominator * (-(a * 2.0) + 1.0);
        let shared = of_denominator * a;
        let of_left = of_numerator * a + of_steep * rest * rest + shared;
        let of_right = of_steep * xi * xi + shared;
        let of_a = of_numerator * left + of_steep * s * 2.0 + of_denominator * bend;
        let of_xi = of_numerator * s * xi * 2.0
            + of_steep * (right * xi - left * rest) * 2.0
            + of_a * (-(xi * 2.0) + 1.0);
        // Slopes at the knots are exponentials over a floor.
        let (rises, bends) = logits_bar.split_at_mut(self.cells);
        bends[cell] += of_left * (shape.slopes[cell] - self.floor);
        bends[cell + 1] += of_right * (shape.slopes[cell + 1] - self.floor);
        // The rises below add up to the value at the left end; that of the cell is its mean slope.
        let free = 1.0 - self.floor;
        let (of_below, of_own) = (value_bar * free, of_s * (cells * free));
        let below = shape.shares[..cell].iter().fold(T::zero(), |sum, &p| sum + p);
        let mean = of_below * below + of_own * shape.shares[cell];
        for (j, (bar, &share)) in rises.iter_mut().zip(&shape.shares).enumerate() {
            let own = match j.cmp(&cell) {
                std::cmp::Ordering::Less => of_below - mean,
                std::cmp::Ordering::Equal => of_own - mean,
                std::cmp::Ordering::Greater => -mean,
            };
            *bar += share * own;
        }
        of_xi * cells
    }

    /// `u` with `y(u) = y`: the root of a quadratic equation, in the form that cancels nothing.
    pub fn inverse(&self, shape: &RationalShape<f64>, y: f64) -> f64 {
        if y <= 0.0 {
            return 0.0;
        }
        if y >= 1.0 {
            return 1.0;
        }
        let inner = &shape.values[1..self.cells];
        let cell = inner.partition_point(|&v| v <= y);
        let [s, left, right] = self.cell(shape, cell);
        let above = (y - shape.values[cell]) * self.cells as f64;
        let bend = left + right - 2.0 * s;
        let (a, b, c) = (s * (s - left) + above * bend, s * left - above * bend, -s * above);
        let root = (b * b - 4.0 * a * c).max(0.0).sqrt();
        let xi = (2.0 * c / (-b - root)).clamp(0.0, 1.0);
        (cell as f64 + xi) / self.cells as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::scalar::Jet;
    use proptest::prelude::*;

    fn shape(basis: &RationalBasis, logits: &[f64]) -> RationalShape<f64> {
        let mut shape = RationalShape::default();
        basis.shape(&logits[..basis.logits()], &mut shape);
        shape
    }

    #[test]
    fn zeros_give_the_identity() -> Result<(), SplineError> {
        let basis = RationalBasis::uniform(8, 1e-3)?;
        let shape = shape(&basis, &[0.0; 15]);
        for i in 0..=50 {
            let u = f64::from(i) / 50.0;
            let point = basis.forward(&shape, u);
            assert!((point.value - u).abs() < 1e-14 && (point.slope - 1.0).abs() < 1e-12);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn maps_are_bijections_once_differentiable(
            knots in 2usize..16,
            logits in prop::collection::vec(-5.0f64..5.0, 31),
            y in 0.0f64..=1.0,
        ) {
            let basis = RationalBasis::uniform(knots, 1e-3).unwrap();
            let shape = shape(&basis, &logits);
            let u = basis.inverse(&shape, y);
            let point = basis.forward(&shape, u);
            prop_assert!((point.value - y).abs() < 1e-12, "{} {}", point.value, y);
            prop_assert!(point.slope > 0.0);
            let ends = [basis.forward(&shape, 0.0), basis.forward(&shape, 1.0)];
            prop_assert!(ends[0].value.abs() < 1e-15 && (ends[1].value - 1.0).abs() < 1e-13);
            // From either side of each knot.
            for k in 1..basis.cells {
                let knot = k as f64 / basis.cells as f64;
                for near in [knot.next_down(), knot.next_up()] {
                    let point = basis.forward(&shape, near);
                    prop_assert!((point.value - shape.values[k]).abs() < 1e-9);
                    prop_assert!((point.slope / shape.slopes[k] - 1.0).abs() < 1e-6);
                }
            }
            // Slope and adjoints by jets: of the logits one after the other, then of u.
            let (value_bar, slope_bar) = (0.7, -0.4);
            let mut bar = vec![0.0; basis.logits()];
            let u_bar = basis.backward(&shape, &point, value_bar, slope_bar, &mut bar);
            for k in 0..=basis.logits() {
                let seeded: Vec<Jet<1>> = (0..basis.logits())
                    .map(|j| match j == k {
                        true => Jet::variable(logits[j], 0),
                        false => Jet::constant(logits[j]),
                    })
                    .collect();
                let mut jets = RationalShape::default();
                basis.shape(&seeded, &mut jets);
                let own = k == basis.logits();
                let at = if own { Jet::variable(u, 0) } else { Jet::constant(u) };
                let found = basis.forward(&jets, at);
                let exact = found.value.gradient[0] * value_bar + found.slope.gradient[0] * slope_bar;
                let bar = if own { u_bar } else { bar[k] };
                prop_assert!((exact - bar).abs() < 1e-9 * (1.0 + exact.abs()), "{k}: {exact} {bar}");
                if own {
                    let slope = found.value.gradient[0];
                    prop_assert!((slope / point.slope - 1.0).abs() < 1e-9);
                }
            }
        }
    }
}
