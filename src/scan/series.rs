//! Chebyshev series in a parameter, and the points that determine one.

use crate::math::linalg::{LinearError, solve_general};
use faer::Mat;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// An interval of the parameter, and how it is brought to [-1, 1].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Whether by the logarithm of the size of the parameter.
    pub logarithmic: bool,
}

impl Range {
    /// Where a value is in [-1, 1].
    pub fn place(&self, value: f64) -> f64 {
        let of = |v: f64| if self.logarithmic { v.abs().ln() } else { v };
        let (a, b) = (of(self.low), of(self.high));
        2.0 * (of(value) - a) / (b - a) - 1.0
    }

    /// The value at a place.
    fn value(&self, place: f64) -> f64 {
        let t = 0.5 * (place + 1.0);
        match self.logarithmic {
            true => self.low * (self.high / self.low).powf(t),
            false => self.low * (1.0 - t) + self.high * t,
        }
    }

    /// Whether a value is in it.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Growth of an error of the nodes' values between them, beyond which other nodes are taken: that of Chebyshev's is below 3 for all degrees.
const GROWTH: f64 = 10.0;
/// Places at which it is looked for, for each node.
const FINE: usize = 16;

/// The values, `degree + 1` of them and ascending, that a series of a degree is determined by: those of a scan nearest to the zeros of the next
/// Chebyshev polynomial, or these zeros where the scan has too few or leaves too large gaps.
pub fn nodes(range: &Range, degree: usize, values: &[f64]) -> Vec<f64> {
    let count = degree + 1;
    let zeros = (0..count).map(|k| -(PI * (k as f64 + 0.5) / count as f64).cos());
    let zeros: Vec<f64> = zeros.collect();
    let mut sorted: Vec<f64> = values.to_vec();
    sorted.sort_by(|a, b| range.place(*a).total_cmp(&range.place(*b)));
    let mut picked: Vec<usize> = Vec::new();
    for (k, zero) in zeros.iter().enumerate() {
        // Each after the one before, with enough of them left for those to come.
        let first = picked.last().map_or(0, |p| p + 1);
        let end = (sorted.len() + k + 1).saturating_sub(count);
        let distance = |i: &usize| (range.place(sorted[*i]) - zero).abs();
        let nearest = (first..end).min_by(|a, b| distance(a).total_cmp(&distance(b)));
        picked.extend(nearest);
    }
    let places: Vec<f64> = picked.iter().map(|&i| range.place(sorted[i])).collect();
    let mut found = match places.len() == count && growth(&places) < GROWTH {
        true => picked.into_iter().map(|i| sorted[i]).collect::<Vec<f64>>(),
        false => zeros.iter().map(|&z| range.value(z)).collect(),
    };
    found.sort_by(f64::total_cmp);
    found
}

/// Lebesgue's constant of interpolation at some places.
fn growth(places: &[f64]) -> f64 {
    let steps = FINE * places.len();
    let at = |i: usize| {
        let t = -1.0 + 2.0 * i as f64 / steps as f64;
        let cardinal = |k: usize| {
            let others = (0..places.len()).filter(|&j| j != k);
            others.map(|j| (t - places[j]) / (places[k] - places[j])).product::<f64>().abs()
        };
        (0..places.len()).map(cardinal).sum::<f64>()
    };
    (0..=steps).map(at).fold(0.0, f64::max)
}

/// `theta(p) = sum_k c_k T_k(t(p))`, one series for each of many numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// Where it is good.
    pub range: Range,
    /// The coefficients of each degree, one for each number.
    coefficients: Vec<Vec<f64>>,
}

impl Series {
    /// The series of lowest degree through what the numbers are at some values.
    ///
    /// # Errors
    /// [`LinearError`] where values are equal or not finite.
    pub fn through(range: Range, at: &[f64], numbers: &[Vec<f64>]) -> Result<Self, LinearError> {
        let count = at.len();
        let rows: Vec<Vec<f64>> = at.iter().map(|v| polynomials(range.place(*v), count)).collect();
        let matrix = Mat::from_fn(count, count, |i, k| rows[i][k]);
        let width = numbers.first().map_or(0, Vec::len);
        let mut coefficients = vec![vec![0.0; width]; count];
        for (i, own) in numbers.iter().enumerate() {
            let mut unit = vec![0.0; count];
            unit[i] = 1.0;
            for (c, u) in coefficients.iter_mut().zip(solve_general(&matrix, &unit)?) {
                c.iter_mut().zip(own).for_each(|(c, x)| *c += u * x);
            }
        }
        Ok(Series { range, coefficients })
    }

    /// The numbers at a value.
    pub fn at(&self, value: f64) -> Vec<f64> {
        let t = polynomials(self.range.place(value), self.coefficients.len());
        let mut sum = vec![0.0; self.coefficients.first().map_or(0, Vec::len)];
        for (c, t) in self.coefficients.iter().zip(t) {
            sum.iter_mut().zip(c).for_each(|(s, c)| *s += t * c);
        }
        sum
    }
}

/// The first Chebyshev polynomials at `t`.
fn polynomials(t: f64, count: usize) -> Vec<f64> {
    let mut all = vec![1.0, t];
    while all.len() < count {
        let n = all.len();
        all.push(2.0 * t * all[n - 1] - all[n - 2]);
    }
    all.truncate(count);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEAR: Range = Range { low: 1.0, high: 8.0, logarithmic: false };

    #[test]
    fn a_series_is_the_polynomial_through_its_nodes() {
        let values: Vec<f64> = (0..15).map(|i| 1.0 + 0.5 * f64::from(i)).collect();
        let at = nodes(&LINEAR, 6, &values);
        assert_eq!(at.len(), 7);
        assert!(at.iter().all(|v| values.contains(v)) && at.is_sorted());
        let cubic = |x: f64| vec![1.0 - x + 0.3 * x.powi(3), (x - 4.0).powi(6), 0.0];
        let own: Vec<Vec<f64>> = at.iter().map(|&v| cubic(v)).collect();
        let series = Series::through(LINEAR, &at, &own).unwrap();
        for x in [1.0, 2.35, 4.0, 7.9, 8.0] {
            for (a, b) in series.at(x).into_iter().zip(cubic(x)) {
                assert!((a - b).abs() < 1e-9 * (1.0 + b.abs()), "{x}: {a} {b}");
            }
        }
        let text = serde_json::to_string(&series).unwrap();
        assert_eq!(serde_json::from_str::<Series>(&text).unwrap(), series);
    }

    #[test]
    fn nodes_leave_no_gaps() {
        // Too few values, and values in one corner: the zeros of the polynomial.
        let crowded: Vec<f64> = (0..15).map(|i| 1.0 + 0.01 * f64::from(i)).chain([8.0]).collect();
        for values in [vec![8.0, 1.0], crowded] {
            let at = nodes(&LINEAR, 5, &values);
            assert_eq!(at.len(), 6);
            assert!(at.iter().all(|&v| LINEAR.contains(v)) && at.is_sorted());
            let places: Vec<f64> = at.iter().map(|&v| LINEAR.place(v)).collect();
            assert!(growth(&places) < 3.0);
        }
        // As many values as nodes are the nodes, whatever their order and sign.
        let range = Range { low: -100.0, high: -1.0, logarithmic: true };
        let mut at = nodes(&range, 3, &[-1.0, -100.0, -4.0, -30.0]);
        at.sort_by(f64::total_cmp);
        assert_eq!(at, [-100.0, -30.0, -4.0, -1.0]);
        assert!((range.place(-10.0)).abs() < 1e-15 && (range.value(0.0) + 10.0).abs() < 1e-12);
    }
}
