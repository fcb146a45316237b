//! A uniform spline cell by cell as polynomials: the quickest form to evaluate, made anew whenever coefficients change.
//!
//! The map is kept as its value at the left edge of each cell and the polynomial of its slope, whose relative
//! precision survives where the slope is many orders of magnitude smaller than the map.

use super::circular::{CircularPoint, DEGREE, LanePoint, SLOPES, SUMS};
use crate::math::vector::lanes::{LANES, Lanes, add_product, each, scaled};
use crate::work;

/// The cell of a place, and where that begins, both in cells from the first edge. By 32 bits: processors need many instructions from
/// numbers to unsigned integers of 64.
#[inline(always)]
pub(super) fn cell_of(u: f64, cells: usize) -> (usize, f64) {
    let cell = (u.max(0.0) as u32).min((cells - 1) as u32);
    (cell as usize, f64::from(cell))
}

/// Coefficients of the uniform B-splines of one cell in powers of the place `r` in it, oldest function first.
const fn basis<const N: usize>() -> [[f64; N]; N] {
    // Cox–de Boor on polynomials, degree by degree.
    let mut b = [[0.0; N]; N];
    b[0][0] = 1.0;
    let mut degree = 1;
    while degree < N {
        let p = degree as f64;
        let mut next = [[0.0; N]; N];
        let mut a = 0;
        while a <= degree {
            let mut k = 0;
            while k < degree {
                if a > 0 {
                    // (r + p - a) b_{a-1} / p
                    next[a][k] += (p - a as f64) * b[a - 1][k] / p;
                    next[a][k + 1] += b[a - 1][k] / p;
                }
                if a < degree {
                    // (a + 1 - r) b_a / p
                    next[a][k] += (a as f64 + 1.0) * b[a][k] / p;
                    next[a][k + 1] -= b[a][k] / p;
                }
                k += 1;
            }
            a += 1;
        }
        b = next;
        degree += 1;
    }
    b
}

const SLOPE_BASIS: [[f64; SLOPES]; SLOPES] = basis();
const SUM_BASIS: [[f64; SUMS]; SUMS] = basis();

/// One polynomial a cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cells {
    /// Cells per unit of the argument.
    density: f64,
    cells: Vec<Piece>,
}

/// The value at the left edge, then the coefficients of the slope in powers of the place in the cell.
type Piece = [f64; 1 + SLOPES];

impl Cells {
    /// From coefficients of the map (of degree one higher) and of its slope, on cells of width `h`.
    pub fn set(&mut self, sums: &[f64], slopes: &[f64], h: f64) {
        // The slope is a polynomial of one degree less than the map.
        const { assert!(SLOPES == DEGREE + 1 && SUMS == SLOPES + 1) };
        self.density = 1.0 / h;
        self.cells.clear();
        for (sums, slopes) in sums.windows(SUMS).zip(slopes.windows(SLOPES)) {
            let mut piece = [0.0; 1 + SLOPES];
            piece[0] = h * sums.iter().zip(&SUM_BASIS).map(|(c, b)| c * b[0]).sum::<f64>();
            for (w, b) in slopes.iter().zip(&SLOPE_BASIS) {
                for (q, b) in piece[1..].iter_mut().zip(b) {
                    *q += w * b;
                }
            }
            self.cells.push(piece);
        }
    }

    /// The cell of `t` and the place in it, in cells.
    #[inline(always)]
    fn find(&self, t: f64) -> (&Piece, f64) {
        work::spline();
        let u = t * self.density;
        let (cell, edge) = cell_of(u, self.cells.len());
        (&self.cells[cell], u - edge)
    }

    /// Value and slope at `t`.
    #[inline]
    pub fn value_and_slope(&self, t: f64) -> (f64, f64) {
        let (&[v, q0, q1, q2, q3, q4, q5], r) = self.find(t);
        let slope = q0 + r * (q1 + r * (q2 + r * (q3 + r * (q4 + r * q5))));
        (v + integral([q0, q1, q2, q3, q4, q5], r) / self.density, slope)
    }

    /// Value and four derivatives at `t`.
    #[inline(always)]
    pub fn evaluate(&self, t: f64) -> CircularPoint {
        let (&[v, q0, q1, q2, q3, q4, q5], r) = self.find(t);
        let d = self.density;
        let derivatives = [
            v + integral([q0, q1, q2, q3, q4, q5], r) / d,
            q0 + r * (q1 + r * (q2 + r * (q3 + r * (q4 + r * q5)))),
            d * (q1 + r * (2.0 * q2 + r * (3.0 * q3 + r * (4.0 * q4 + r * (5.0 * q5))))),
            d * d * (2.0 * q2 + r * (6.0 * q3 + r * (12.0 * q4 + r * (20.0 * q5)))),
            d * d * d * (6.0 * q3 + r * (24.0 * q4 + r * (60.0 * q5))),
        ];
        CircularPoint { derivatives }
    }

    /// [`Self::evaluate`] at eight points, by the same formulas; whoever asks counts them.
    #[inline(always)]
    pub fn lanes<const FUSED: bool>(&self, t: &Lanes) -> LanePoint {
        let mut r = each(|s| t[s] * self.density);
        let mut piece = [[0.0; LANES]; 1 + SLOPES];
        for s in 0..LANES {
            let (cell, edge) = cell_of(r[s], self.cells.len());
            r[s] -= edge;
            piece.iter_mut().zip(&self.cells[cell]).for_each(|(to, from)| to[s] = *from);
        }
        let [v, q @ ..] = &piece;
        let d = self.density;
        let integral =
            horner::<6, FUSED>([1.0, 1.0 / 2.0, 1.0 / 3.0, 1.0 / 4.0, 1.0 / 5.0, 1.0 / 6.0], q, &r);
        let width = 1.0 / d;
        [
            add_product::<FUSED>(&integral, &scaled(width, &r), v),
            horner::<6, FUSED>([1.0; SLOPES], q, &r),
            scaled(d, &horner::<5, FUSED>([1.0, 2.0, 3.0, 4.0, 5.0], &q[1..], &r)),
            scaled(d * d, &horner::<4, FUSED>([2.0, 6.0, 12.0, 20.0], &q[2..], &r)),
            scaled(d * d * d, &horner::<3, FUSED>([6.0, 24.0, 60.0], &q[3..], &r)),
        ]
    }
}

/// `sum_k c_k q_k r^k` at eight points. A loop: what iterators call is not compiled for the vectors at hand.
#[inline(always)]
fn horner<const K: usize, const FUSED: bool>(c: [f64; K], q: &[Lanes], r: &Lanes) -> Lanes {
    let mut sum = [0.0; LANES];
    for k in (0..K).rev() {
        sum = add_product::<FUSED>(&sum, r, &scaled(c[k], &q[k]));
    }
    sum
}

/// `∫_0^r` of the polynomial with the given coefficients.
#[inline(always)]
fn integral(q: [f64; SLOPES], r: f64) -> f64 {
    const HALF: f64 = 1.0 / 2.0;
    const THIRD: f64 = 1.0 / 3.0;
    const QUARTER: f64 = 1.0 / 4.0;
    const FIFTH: f64 = 1.0 / 5.0;
    const SIXTH: f64 = 1.0 / 6.0;
    r * (q[0]
        + r * (HALF * q[1]
            + r * (THIRD * q[2] + r * (QUARTER * q[3] + r * (FIFTH * q[4] + r * (SIXTH * q[5]))))))
}
