//! From means of independent replicates to values with error bars.

use super::quantity::Values;

/// Means of the same sums over independent replicates of equal size.
#[derive(Clone, Debug, PartialEq)]
pub struct Replicates {
    means: Vec<Vec<f64>>,
}

impl Replicates {
    /// One list of means a replicate.
    pub fn new(means: Vec<Vec<f64>>) -> Self {
        Replicates { means }
    }

    /// Number of replicates.
    pub fn count(&self) -> usize {
        self.means.len()
    }

    /// Means of each replicate.
    pub fn each(&self) -> &[Vec<f64>] {
        &self.means
    }

    /// Means over all replicates.
    pub fn mean(&self) -> Vec<f64> {
        let mut sum = vec![0.0; self.means.first().map_or(0, Vec::len)];
        for means in &self.means {
            sum.iter_mut().zip(means).for_each(|(s, m)| *s += m);
        }
        sum.iter_mut().for_each(|s| *s /= self.count() as f64);
        sum
    }

    /// Means over all replicates but one, for each.
    pub fn leave_one_out(&self) -> impl Iterator<Item = Vec<f64>> + '_ {
        let (mean, r) = (self.mean(), self.count() as f64);
        self.means
            .iter()
            .map(move |own| mean.iter().zip(own).map(|(m, o)| (r * m - o) / (r - 1.0)).collect())
    }

    /// Expectation of a *linear* function of the means: mean over the replicates, with its standard error.
    pub fn linear(&self, f: impl Fn(&[f64]) -> Vec<f64>) -> Values {
        mean_and_error(&self.means.iter().map(|m| f(m)).collect::<Vec<_>>())
    }

    /// Any smooth function of the expectations, by the jackknife: first-order bias removed, standard error from
    /// the scatter when one replicate is left out (B. Efron, C. Stein, "The jackknife estimate of variance", Ann.
    /// Statist. 9, 586 (1981)).
    pub fn jackknife(&self, f: impl Fn(&[f64]) -> Vec<f64>) -> Values {
        let r = self.count() as f64;
        let whole = f(&self.mean());
        let without: Vec<Vec<f64>> = self.leave_one_out().map(|m| f(&m)).collect();
        let scatter = mean_and_error(&without);
        let values =
            whole.iter().zip(&scatter.values).map(|(w, m)| r * w - (r - 1.0) * m).collect();
        // Standard error of the mean of pseudo-values r f - (r - 1) f_k.
        Values { values, errors: scatter.errors.iter().map(|e| e * (r - 1.0)).collect() }
    }
}

/// Mean over rows and its standard error.
pub(super) fn mean_and_error(rows: &[Vec<f64>]) -> Values {
    let r = rows.len() as f64;
    let length = rows.first().map_or(0, Vec::len);
    let mut values = vec![0.0; length];
    for row in rows {
        values.iter_mut().zip(row).for_each(|(v, x)| *v += x / r);
    }
    let mut errors = vec![0.0; length];
    for row in rows {
        for ((e, x), v) in errors.iter_mut().zip(row).zip(&values) {
            *e += (x - v).powi(2);
        }
    }
    errors.iter_mut().for_each(|e| *e = (*e / (r * (r - 1.0))).sqrt());
    Values { values, errors }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jackknife_of_a_linear_function_is_its_mean_and_of_a_square_is_unbiased() {
        let means: Vec<Vec<f64>> = (0..20).map(|i| vec![((i * 7) % 20) as f64, 1.0]).collect();
        let r = Replicates::new(means);
        let linear = r.linear(|m| vec![3.0 * m[0] - m[1]]);
        let same = r.jackknife(|m| vec![3.0 * m[0] - m[1]]);
        assert!((linear.values[0] - 27.5).abs() < 1e-12);
        assert!((linear.values[0] - same.values[0]).abs() < 1e-12);
        // The variance of 0..19 is 35.
        assert!((linear.errors[0] - 3.0 * (35.0f64 / 20.0).sqrt()).abs() < 1e-12);
        assert!((linear.errors[0] - same.errors[0]).abs() < 1e-10);
        // The square of the mean is too large by the variance of the mean.
        let square = r.jackknife(|m| vec![m[0] * m[0]]);
        assert!((square.values[0] - (9.5 * 9.5 - 35.0 / 20.0)).abs() < 1e-10);
    }
}
