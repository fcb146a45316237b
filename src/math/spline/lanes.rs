//! Splines at eight points side by side.

use super::BSplineBasis;
use crate::math::vector::lanes::{
    LANES, Lanes, add_product, each, product, row_by_row, scaled, windows,
};
use crate::math::vector::widest;

/// The functions that do not vanish at each of eight points, with derivatives.
#[derive(Clone, Debug, Default)]
pub struct LaneBasis {
    first: [usize; LANES],
    width: usize,
    /// Row `d` holds the d-th derivatives.
    table: Vec<Lanes>,
    triangle: Vec<Lanes>,
    /// Distances from the knots about the spans, and the inverse widths of the functions of each degree.
    distance: Vec<Lanes>,
    inverse: Vec<Lanes>,
}

impl LaneBasis {
    /// Index of the first non-zero function of each point.
    pub fn first(&self) -> &[usize; LANES] {
        &self.first
    }

    /// Number of non-zero functions, `degree + 1`.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The d-th derivatives of the non-zero functions.
    #[inline(always)]
    pub(crate) fn row(&self, d: usize) -> &[Lanes] {
        &self.table[d * self.width..(d + 1) * self.width]
    }

    /// Sums each row from the right: the functions become the running sums of B-splines that start at or behind them.
    #[inline(always)]
    pub(crate) fn accumulate(&mut self) {
        for row in self.table.chunks_exact_mut(self.width) {
            let mut total = [0.0; LANES];
            for b in row.iter_mut().rev() {
                total = each(|s| total[s] + b[s]);
                *b = total;
            }
        }
    }

    /// Of each point, those of `coefficients` that belong to its functions, `ahead` of them left out; number `i` of point `s` is
    /// `at(i, s)`.
    #[inline(always)]
    pub(crate) fn gather(&self, ahead: usize, at: impl Fn(usize, usize) -> f64, out: &mut [Lanes]) {
        for (r, out) in (ahead..self.width).zip(out) {
            *out = each(|s| at(self.first[s] + r - ahead, s));
        }
    }

    /// Sums of products of numbers with the functions, from number `ahead` on, and with their first `D - 1` derivatives.
    #[inline(always)]
    pub(crate) fn products<const FUSED: bool, const D: usize>(
        &self,
        numbers: &[Lanes],
        ahead: usize,
    ) -> [Lanes; D] {
        let mut sums = [[0.0; LANES]; D];
        for (r, w) in numbers.iter().enumerate() {
            for d in 0..D {
                sums[d] = add_product::<FUSED>(w, &self.row(d)[ahead + r], &sums[d]);
            }
        }
        sums
    }

    /// The spline with the given coefficients of all functions, and its first `D - 1` derivatives.
    #[inline(always)]
    pub(crate) fn combine<const FUSED: bool, const D: usize>(
        &self,
        coefficients: &[f64],
    ) -> [Lanes; D] {
        let mut sums = [[0.0; LANES]; D];
        for r in 0..self.width {
            let c = each(|s| coefficients[self.first[s] + r]);
            for d in 0..D {
                sums[d] = add_product::<FUSED>(&c, &self.row(d)[r], &sums[d]);
            }
        }
        sums
    }

    /// As [`BSplineBasis::evaluate`], by the same formulas.
    pub fn evaluate(&mut self, basis: &BSplineBasis, u: &Lanes, order: usize) {
        let p = basis.degree();
        self.first = u.map(|u| basis.span(u));
        self.width = p + 1;
        self.table.resize((order + 1) * self.width, [0.0; LANES]);
        self.table[order.min(p) * self.width + self.width..].fill([0.0; LANES]);
        self.triangle.resize(self.width * self.width, [0.0; LANES]);
        self.distance.resize(2 * p, [0.0; LANES]);
        self.inverse.resize(p * (p + 1) / 2, [0.0; LANES]);
        recurrence(basis, u, order.min(p), self);
    }
}

widest! {
    /// Cox-de Boor with derivatives up to `order`: see [`BSplineBasis::evaluate_on_span`].
    fn recurrence(basis: &BSplineBasis, u: &Lanes, order: usize, local: &mut LaneBasis) {
        // With the usual degrees where compilers see them: loops of a few are longer than what they do.
        match basis.degree() {
            5 => local.recur::<FUSED>(5, basis, u, order),
            6 => local.recur::<FUSED>(6, basis, u, order),
            p => local.recur::<FUSED>(p, basis, u, order),
        }
    }
}

impl LaneBasis {
    /// See [`recurrence`].
    #[inline(always)]
    fn recur<const FUSED: bool>(
        &mut self,
        p: usize,
        basis: &BSplineBasis,
        u: &Lanes,
        order: usize,
    ) {
        let LaneBasis { first, table, triangle, distance, inverse, .. } = self;
        let width = p + 1;
        windows(&basis.knots()[1..], first, distance, |knot, s| knot - u[s]);
        let mut rest = &mut inverse[..];
        for k in 1..=p {
            let (own, later) = rest.split_at_mut(k);
            windows(&basis.inverse_widths(k)[p + 1..], first, own, |inverse, _| inverse);
            rest = later;
        }
        // Where the inverse widths of degree k begin.
        let of = |k: usize| &inverse[k * (k - 1) / 2..][..k];
        triangle[0] = [1.0; LANES];
        for k in 1..=p {
            let (lower, upper) = triangle.split_at_mut(k * width);
            let below = &lower[(k - 1) * width..][..k];
            let upper = &mut upper[..=k];
            let right = &distance[p..p + k];
            let left = &distance[p - k..p];
            let inverse = of(k);
            let mut carry = [0.0; LANES];
            for r in 0..k {
                let share = product(&below[r], &inverse[r]);
                upper[r] = add_product::<FUSED>(&right[r], &share, &carry);
                carry = each(|s| -left[r][s] * share[s]);
            }
            upper[k] = carry;
        }
        table[..width].copy_from_slice(&triangle[p * width..][..width]);
        for d in 1..=order {
            let row = &mut table[d * width..(d + 1) * width];
            row[..=p - d].copy_from_slice(&triangle[(p - d) * width..][..=p - d]);
            for k in p - d + 1..=p {
                let inverse = of(k);
                let mut carry = [0.0; LANES];
                for r in 0..k {
                    let share = scaled(k as f64, &product(&row[r], &inverse[r]));
                    row[r] = each(|s| carry[s] - share[s]);
                    carry = share;
                    row_by_row();
                }
                row[k] = carry;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::spline::LocalBasis;

    #[test]
    fn eight_points_are_as_one() {
        for (degree, knots) in [(1, 2), (3, 5), (7, 23), (8, 4)] {
            let basis = BSplineBasis::uniform(degree, knots).unwrap();
            let (mut lanes, mut local) = (LaneBasis::default(), LocalBasis::default());
            for start in 0..50 {
                let u: Lanes = std::array::from_fn(|s| f64::from(8 * start + s as i32) / 400.0);
                lanes.evaluate(&basis, &u, 3);
                for s in 0..LANES {
                    basis.evaluate(u[s], 3, &mut local);
                    assert_eq!(local.first(), lanes.first()[s]);
                    for d in 0..=3 {
                        let size = local.row(d).iter().fold(0.0f64, |a, b| a.max(b.abs()));
                        for (one, many) in local.row(d).iter().zip(lanes.row(d)) {
                            assert!((one - many[s]).abs() <= 1e-13 * size, "{one} {}", many[s]);
                        }
                    }
                }
            }
        }
    }
}
