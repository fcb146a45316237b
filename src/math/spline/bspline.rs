//! B-spline bases with clamped ends: values and derivatives by Cox–de Boor.

use super::SplineError;
use crate::math::scalar::Scalar;
use crate::work;

/// A basis of B-splines of one degree on clamped knots (both end knots repeated `degree + 1` times).
#[derive(Clone, Debug, PartialEq)]
pub struct BSplineBasis {
    degree: usize,
    /// Knots with multiplicities.
    knots: Vec<f64>,
    /// `1 / (t_i - t_{i-k})` at `k * knots + i`, zero where knots coincide.
    inverse: Vec<f64>,
}

/// The `degree + 1` functions that do not vanish at a point, with derivatives.
#[derive(Clone, Debug, Default)]
pub struct LocalBasis {
    first: usize,
    width: usize,
    /// Row `d` holds the d-th derivatives.
    table: Vec<f64>,
    scratch: Vec<f64>,
}

impl BSplineBasis {
    /// Splines of the given degree on strictly increasing knots (ends included, without multiplicity).
    pub fn clamped(degree: usize, breakpoints: &[f64]) -> Result<Self, SplineError> {
        if degree < 1 {
            return Err(SplineError::Degree(degree));
        }
        let increasing = breakpoints.windows(2).all(|w| w[0] < w[1]);
        let (Some(&a), Some(&b)) = (breakpoints.first(), breakpoints.last()) else {
            return Err(SplineError::Knots);
        };
        if !increasing || !a.is_finite() || !b.is_finite() || breakpoints.len() < 2 {
            return Err(SplineError::Knots);
        }
        let mut knots = vec![a; degree];
        knots.extend_from_slice(breakpoints);
        knots.extend(std::iter::repeat_n(b, degree));
        let n = knots.len();
        let mut inverse = vec![0.0; (degree + 1) * n];
        for k in 1..=degree {
            for i in k..n {
                let width = knots[i] - knots[i - k];
                if width > 0.0 {
                    inverse[k * n + i] = 1.0 / width;
                }
            }
        }
        Ok(BSplineBasis { degree, knots, inverse })
    }

    /// Splines on `count` equidistant knots of `[0, 1]`, both ends included.
    pub fn uniform(degree: usize, count: usize) -> Result<Self, SplineError> {
        if count < 2 {
            return Err(SplineError::Knots);
        }
        let breakpoints: Vec<f64> = (0..count).map(|i| i as f64 / (count - 1) as f64).collect();
        Self::clamped(degree, &breakpoints)
    }

    /// Degree of the splines.
    pub fn degree(&self) -> usize {
        self.degree
    }

    /// Number of basis functions.
    pub fn functions(&self) -> usize {
        self.knots.len() - self.degree - 1
    }

    /// Distinct knots, ascending.
    pub fn breakpoints(&self) -> &[f64] {
        &self.knots[self.degree..self.knots.len() - self.degree]
    }

    /// Number of knot spans.
    pub fn spans(&self) -> usize {
        self.breakpoints().len() - 1
    }

    /// All knots with their multiplicities.
    pub fn knots(&self) -> &[f64] {
        &self.knots
    }

    /// `1 / (t_i - t_{i-k})` for every knot `i`, zero where knots coincide.
    pub(super) fn inverse_widths(&self, k: usize) -> &[f64] {
        let n = self.knots.len();
        &self.inverse[k * n..(k + 1) * n]
    }

    /// Number of the span that holds `u`; points outside belong to the end spans.
    #[inline]
    pub fn span(&self, u: f64) -> usize {
        let b = self.breakpoints();
        let last = b.len() - 2;
        // Where it would be among evenly spaced knots, which they nearly always are; from there as far as need be.
        let share = (u - b[0]) / (b[last + 1] - b[0]);
        let mut span = ((share * (last + 1) as f64) as usize).min(last);
        while span > 0 && u < b[span] {
            span -= 1;
        }
        while span < last && u >= b[span + 1] {
            span += 1;
        }
        span
    }

    /// Evaluates the non-zero functions at `u` with derivatives up to `order`.
    ///
    /// Derivatives beyond the degree are zero. Outside the interval the end polynomials continue.
    pub fn evaluate(&self, u: f64, order: usize, local: &mut LocalBasis) {
        self.evaluate_on_span(self.span(u), u, order, local);
    }

    /// As [`Self::evaluate`], with the polynomials of a given span.
    pub fn evaluate_on_span(&self, span: usize, u: f64, order: usize, local: &mut LocalBasis) {
        work::spline();
        let p = self.degree;
        let width = p + 1;
        let s = span + p;
        local.first = span;
        local.width = width;
        // Rows up to the degree are written below.
        local.table.resize((order + 1) * width, 0.0);
        local.table[order.min(p) * width + width..].fill(0.0);
        // Row k of the triangle holds the k + 1 functions of degree k that do not vanish on the span.
        let tri = &mut local.scratch;
        tri.resize(width * width, 0.0);
        tri[0] = 1.0;
        let t = &self.knots;
        for k in 1..=p {
            let (lower, upper) = tri.split_at_mut(k * width);
            let below = &lower[(k - 1) * width..][..k];
            let upper = &mut upper[..=k];
            let right = &t[s + 1..=s + k];
            let left = &t[s + 1 - k..=s];
            let inverse = &self.inverse[k * t.len() + s + 1..][..k];
            let mut carry = 0.0;
            for r in 0..k {
                let share = below[r] * inverse[r];
                upper[r] = carry + (right[r] - u) * share;
                carry = (u - left[r]) * share;
            }
            upper[k] = carry;
        }
        local.table[..width].copy_from_slice(&tri[p * width..p * width + width]);
        // The d-th derivative is the d-fold difference operator applied to the functions of degree p - d:
        // B'_{i,k} = k (B_{i,k-1} / (t_{i+k} - t_i) - B_{i+1,k-1} / (t_{i+k+1} - t_{i+1})).
        for d in 1..=order.min(p) {
            let row = &mut local.table[d * width..(d + 1) * width];
            let start = (p - d) * width;
            row[..=p - d].copy_from_slice(&tri[start..start + p - d + 1]);
            for k in p - d + 1..=p {
                let inverse = &self.inverse[k * t.len() + s + 1..][..k];
                let mut carry = 0.0;
                for r in 0..k {
                    let share = k as f64 * row[r] * inverse[r];
                    row[r] = carry - share;
                    carry = share;
                }
                row[k] = carry;
            }
        }
    }

    /// Value of the spline with the given coefficients, or of one of its derivatives.
    pub fn value(&self, coefficients: &[f64], u: f64, derivative: usize) -> f64 {
        let mut local = LocalBasis::default();
        self.evaluate(u, derivative, &mut local);
        local.combine(coefficients, derivative)
    }

    /// Integral of each function over the whole interval.
    pub fn integrals(&self) -> Vec<f64> {
        let p = self.degree;
        (0..self.functions())
            .map(|i| (self.knots[i + p + 1] - self.knots[i]) / (p + 1) as f64)
            .collect()
    }

    /// Greville abscissae: the coefficients of the function `u`.
    pub fn greville(&self) -> Vec<f64> {
        let p = self.degree;
        (0..self.functions())
            .map(|i| self.knots[i + 1..=i + p].iter().sum::<f64>() / p as f64)
            .collect()
    }
}

impl LocalBasis {
    /// Index of the first non-zero function.
    #[inline]
    pub fn first(&self) -> usize {
        self.first
    }

    /// Number of non-zero functions, `degree + 1`.
    #[inline]
    pub fn width(&self) -> usize {
        self.width
    }

    /// The d-th derivatives of the non-zero functions.
    #[inline]
    pub fn row(&self, d: usize) -> &[f64] {
        &self.table[d * self.width..(d + 1) * self.width]
    }

    /// The d-th derivative of non-zero function `j` as a differentiable scalar of `u`.
    ///
    /// Needs an evaluation up to derivative `d + T::ORDER`.
    #[inline]
    pub fn lift<T: Scalar>(&self, u: T, d: usize, j: usize) -> T {
        let at = |e: usize| self.table[(d + e) * self.width + j];
        match T::ORDER {
            0 => T::constant(at(0)),
            1 => u.chain(at(0), at(1), 0.0),
            _ => u.chain(at(0), at(1), at(2)),
        }
    }

    /// The d-th derivative of the spline with the given coefficients of all functions.
    pub fn combine(&self, coefficients: &[f64], d: usize) -> f64 {
        self.row(d).iter().zip(&coefficients[self.first..]).map(|(b, c)| b * c).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The textbook recursion, one function at a time.
    fn recursion(t: &[f64], i: usize, k: usize, u: f64) -> f64 {
        if k == 0 {
            return if t[i] <= u && u < t[i + 1] { 1.0 } else { 0.0 };
        }
        let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
        ratio(u - t[i], t[i + k] - t[i]) * recursion(t, i, k - 1, u)
            + ratio(t[i + k + 1] - u, t[i + k + 1] - t[i + 1]) * recursion(t, i + 1, k - 1, u)
    }

    #[test]
    fn spans_are_found_among_knots_however_spaced() {
        let uneven = [0.0, 1e-9, 0.1, 0.100_000_1, 0.5, 0.9, 0.95, 1.0];
        let even: Vec<f64> = (0..24).map(|i| f64::from(i) / 23.0).collect();
        let large: Vec<f64> = even.iter().map(|t| (t - 0.5) * f64::MAX * 1.5).collect();
        for knots in [&uneven[..], &even, &large] {
            let basis = BSplineBasis::clamped(3, knots).unwrap();
            let between = knots.windows(2).map(|w| 0.5 * w[0] + 0.5 * w[1]);
            let near = knots.iter().flat_map(|t| [*t, t.next_up(), t.next_down()]);
            let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -2.0, 2.0, -0.0];
            for u in between.chain(near).chain(odd) {
                let known = knots.partition_point(|&t| t <= u).clamp(1, knots.len() - 1) - 1;
                assert_eq!(basis.span(u), known, "{u}");
            }
        }
    }

    #[test]
    fn values_follow_the_recursion() {
        for degree in 1..=8 {
            let basis = BSplineBasis::clamped(degree, &[0.0, 0.1, 0.35, 0.4, 0.8, 1.0]).unwrap();
            let mut local = LocalBasis::default();
            for i in 0..200 {
                let u = i as f64 / 200.0;
                basis.evaluate(u, 0, &mut local);
                for j in 0..basis.functions() {
                    let got = match j.checked_sub(local.first()) {
                        Some(r) if r < local.width() => local.row(0)[r],
                        _ => 0.0,
                    };
                    assert!((got - recursion(basis.knots(), j, degree, u)).abs() < 1e-14);
                }
            }
        }
    }

    #[test]
    fn derivatives_reproduce_polynomials_up_to_the_degree() {
        // Coefficients of u^p by interpolating it would hide errors; Marsden's identity gives them exactly.
        for p in 1..=9usize {
            let basis = BSplineBasis::clamped(p, &[0.0, 0.2, 0.3, 0.7, 1.0]).unwrap();
            let y = 0.37;
            let coefficients: Vec<f64> = (0..basis.functions())
                .map(|i| (1..=p).map(|k| basis.knots()[i + k] - y).product())
                .collect();
            for u in [0.0, 0.05, 0.2, 0.55, 0.99, 1.0] {
                let mut falling = 1.0;
                for d in 0..=p + 1 {
                    let exact = if d > p { 0.0 } else { falling * (u - y).powi((p - d) as i32) };
                    let got = basis.value(&coefficients, u, d);
                    assert!(
                        (got - exact).abs() < 1e-11 * falling.max(1.0),
                        "p={p} d={d} u={u}: {got} {exact}"
                    );
                    falling *= (p as f64) - (d as f64);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn functions_are_a_partition_of_unity(
            degree in 1usize..9, count in 2usize..20, u in 0.0f64..=1.0
        ) {
            let basis = BSplineBasis::uniform(degree, count).unwrap();
            let mut local = LocalBasis::default();
            basis.evaluate(u, 2, &mut local);
            prop_assert!((local.row(0).iter().sum::<f64>() - 1.0).abs() < 1e-13);
            prop_assert!(local.row(0).iter().all(|&b| b >= 0.0));
            let scale = ((count * degree) as f64).powi(2);
            prop_assert!(local.row(1).iter().sum::<f64>().abs() < 1e-12 * scale);
            prop_assert!(local.row(2).iter().sum::<f64>().abs() < 1e-12 * scale * scale);
        }
    }
}
