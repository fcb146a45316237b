//! A mean with its error bar, from independent samples or from independent sets of samples.

use crate::math::statistics::Moments;
use serde::{Deserialize, Serialize};

/// An energy from the final samples, in Hartree.
///
/// The samples of one scrambling of a quasi-random sequence are not independent, and the better they are spread the
/// less sqrt(Var / N) is their error. The means of different scramblings are independent: their scatter is an error
/// bar that assumes nothing about the sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EnergyEstimate {
    /// All samples.
    samples: Moments,
    /// Means of the sets; none where the samples themselves are independent.
    sets: Option<Moments>,
    /// How far the mean is off because of what no sample has seen, in Hartree.
    missing: f64,
}

/// How much smaller the error is than that of as many independent samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    /// Error of independent samples over the error found.
    pub ratio: f64,
    /// Standard error of `ratio`: about `ratio / sqrt(2 (R - 1))` for R sets.
    pub uncertainty: f64,
}

/// Scatter of local energies, relative to their mean, that rounding leaves in an eigenstate.
const ROUNDING: f64 = 1e-11;

impl EnergyEstimate {
    /// From independent samples.
    pub fn independent(samples: Moments) -> Self {
        EnergyEstimate { samples, sets: None, missing: 0.0 }
    }

    /// From independent sets, given by the moments of their samples. Sets count equally.
    pub fn of_sets(sets: &[Moments]) -> Self {
        let mut samples = Moments::default();
        let mut means = Moments::default();
        for set in sets {
            samples.merge(set);
            means.push(set.mean());
        }
        EnergyEstimate { samples, sets: Some(means), missing: 0.0 }
    }

    /// The same with an error bar that includes what events so rare that none is among the samples would have added to the mean:
    /// they have no part in its scatter.
    pub fn missing(self, error: f64) -> Self {
        EnergyEstimate { missing: error, ..self }
    }

    /// The energy.
    pub fn mean(&self) -> f64 {
        self.sets.unwrap_or(self.samples).mean()
    }

    /// Standard error of the energy.
    pub fn standard_error(&self) -> f64 {
        let seen = self.sets.unwrap_or(self.samples).standard_error();
        seen.hypot(self.missing)
    }

    /// sqrt(Var / N): the standard error that as many independent samples would have.
    pub fn independent_error(&self) -> f64 {
        self.samples.standard_error()
    }

    /// Variance of the local energy, in Hartree².
    pub fn variance(&self) -> f64 {
        self.samples.variance()
    }

    /// Number of samples.
    pub fn count(&self) -> usize {
        self.samples.count()
    }

    /// Number of independent sets; `None` for independent samples.
    pub fn sets(&self) -> Option<usize> {
        self.sets.map(|s| s.count())
    }

    /// Degrees of freedom of the standard error; `None` where they are so many that it is as good as known.
    pub fn degrees_of_freedom(&self) -> Option<usize> {
        self.sets().map(|r| r.saturating_sub(1))
    }

    /// What spreading the samples evenly gained; `None` for independent samples, and where there is no error but that of rounding.
    pub fn gain(&self) -> Option<Gain> {
        let freedom = self.degrees_of_freedom()? as f64;
        if self.variance().sqrt() <= ROUNDING * self.mean().abs() {
            return None;
        }
        let ratio = self.independent_error() / self.standard_error();
        ratio.is_finite().then(|| Gain { ratio, uncertainty: ratio / (2.0 * freedom).sqrt() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_give_the_mean_and_their_scatter_the_error() {
        // Two sets of four: means 2 and 3, so 2.5 ± 0.5.
        let sets = [Moments::of(&[0.0, 4.0, 0.0, 4.0]), Moments::of(&[1.0, 5.0, 1.0, 5.0])];
        let e = EnergyEstimate::of_sets(&sets);
        assert_eq!(
            (e.mean(), e.count(), e.sets(), e.degrees_of_freedom()),
            (2.5, 8, Some(2), Some(1))
        );
        assert!((e.standard_error() - 0.5).abs() < 1e-15);
        // Squares about 2.5: four each of 2.5², 1.5² and again.
        let variance = (2.0 * 6.25 + 2.0 * 2.25) * 2.0 / 7.0;
        assert!((e.variance() - variance).abs() < 1e-14);
        let gain = e.gain().unwrap();
        assert!((gain.ratio - (variance / 8.0).sqrt() / 0.5).abs() < 1e-14);
        assert!((gain.uncertainty - gain.ratio / 2f64.sqrt()).abs() < 1e-15);
    }

    #[test]
    fn independent_samples_have_their_own_error_and_no_gain() {
        let moments = Moments::of(&[1.0, 2.0, 4.0]);
        let e = EnergyEstimate::independent(moments);
        assert_eq!((e.mean(), e.standard_error()), (moments.mean(), moments.standard_error()));
        assert_eq!((e.independent_error(), e.sets(), e.gain()), (e.standard_error(), None, None));
    }

    #[test]
    fn an_eigenstate_has_no_gain_that_can_be_measured() {
        let e = EnergyEstimate::of_sets(&[Moments::of(&[1.0, 1.0]), Moments::of(&[1.0, 1.0])]);
        assert_eq!((e.standard_error(), e.gain()), (0.0, None));
        // Local energies that differ by rounding.
        let e =
            EnergyEstimate::of_sets(&[Moments::of(&[2.0, 2.0 + 1e-14]), Moments::of(&[2.0, 2.0])]);
        assert!(e.standard_error() > 0.0 && e.gain().is_none());
    }
}
