//! Mean and variance of independent samples, in one ordered pass.

use serde::{Deserialize, Serialize};

/// Count, mean and variance (B. P. Welford, Technometrics 4, 419 (1962)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    count: usize,
    mean: f64,
    square: f64,
}

impl Moments {
    /// Moments of a list.
    pub fn of(values: &[f64]) -> Self {
        let mut m = Moments::default();
        for &v in values {
            m.push(v);
        }
        m
    }

    /// Moments of a list whose values count with positive weights. The count stays that of the list, so the
    /// standard error is that of as many independent values: exact for equal weights.
    pub fn weighted(values: &[f64], weights: &[f64]) -> Self {
        let total: f64 = weights.iter().sum();
        let mean = values.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>() / total;
        let square = values.iter().zip(weights).map(|(v, w)| w * (v - mean).powi(2)).sum::<f64>();
        let count = values.len();
        Moments { count, mean, square: square * count as f64 / total }
    }

    /// Adds one value.
    pub fn push(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.square += before * (value - self.mean);
    }

    /// Adds another set of values after this one.
    pub fn merge(&mut self, other: &Moments) {
        if other.count == 0 {
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let shift = other.mean - self.mean;
        self.mean += shift * b / (a + b);
        self.square += other.square + shift * shift * a * b / (a + b);
        self.count += other.count;
    }

    /// Number of values.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Mean; NaN without values.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { f64::NAN } else { self.mean }
    }

    /// Unbiased variance; NaN for fewer than two values.
    pub fn variance(&self) -> f64 {
        if self.count < 2 { f64::NAN } else { self.square / (self.count - 1) as f64 }
    }

    /// Standard error of the mean of independent values.
    pub fn standard_error(&self) -> f64 {
        (self.variance() / self.count as f64).sqrt()
    }
}

/// Median of a list; NaN if it is empty. Reorders the list.
pub fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_is_the_same_as_pushing() {
        let v: Vec<f64> = (0..100).map(|i| ((i * i) % 17) as f64 - 3.5).collect();
        let all = Moments::of(&v);
        let mut parts = Moments::of(&v[..33]);
        parts.merge(&Moments::of(&v[33..34]));
        parts.merge(&Moments::of(&v[34..]));
        let mean = v.iter().sum::<f64>() / 100.0;
        let variance = v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 99.0;
        for m in [all, parts] {
            assert!((m.mean() - mean).abs() < 1e-13 && (m.variance() - variance).abs() < 1e-11);
        }
    }
}
