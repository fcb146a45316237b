//! Shannon and second Rényi entropy of `|psi|²`: plain expectations, as psi is normalised exactly.

use super::replicates::Replicates;
use super::{Observable, Quantity, Sample, Setup};
use crate::math::linalg::EigenFailure;

pub(super) const ABOUT: &str = "Shannon and second Renyi entropy of |psi|²";

struct Entropy;

pub(super) fn build(_: &Setup) -> Option<Box<dyn Observable>> {
    Some(Box::new(Entropy))
}

impl Observable for Entropy {
    fn length(&self) -> usize {
        2
    }

    fn add(&self, sample: &Sample, sums: &mut [f64]) {
        sums[0] -= 2.0 * sample.log_abs;
        sums[1] += (2.0 * sample.log_abs).exp();
    }

    fn finish(&self, replicates: &Replicates) -> Result<Vec<Quantity>, EigenFailure> {
        let shannon = replicates.linear(|m| vec![m[0]]);
        let renyi = replicates.jackknife(|m| vec![-m[1].ln()]);
        let note = "over ordered configurations, lengths in bohr; labelled particles have log(n_up! n_down!) more";
        Ok(vec![
            Quantity::new(
                "shannon_entropy",
                "",
                &format!("minus the integral of |psi|² log |psi|², {note}"),
                shannon,
            ),
            Quantity::new(
                "renyi_entropy",
                "",
                &format!("minus log of the integral of |psi|⁴, {note}"),
                renyi,
            ),
        ])
    }
}
