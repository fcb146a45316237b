//! Fidelity `|<psi_exact|psi>|²` with the exact ground state.
//!
//! Both states are normalised, so with samples of `|psi|²` the overlap is the mean of `r = psi_exact / psi`, and the
//! variance of `r` is exactly one minus the fidelity: it vanishes with the error of the state. As `<r²> = 1` is
//! known, `1 - <(r - 1)²> / 2` estimates the same overlap with fluctuations of second order in the error of the
//! state. The mean of `r²` is reported beside it: it would be less than 1 if the samples missed a region where the
//! exact state lives.

use super::replicates::Replicates;
use super::{Observable, Quantity, Sample, Setup};
use crate::exact::ExactState;
use crate::math::linalg::EigenFailure;
use std::sync::Arc;

pub(super) const ABOUT: &str = "fidelity with the exact ground state";

struct Fidelity {
    exact: Arc<ExactState>,
    share: usize,
}

/// Determinants of the exact state that cost about as much as a sample without them.
const CHEAP: usize = 400;

pub(super) fn build(setup: &Setup) -> Option<Box<dyn Observable>> {
    let exact = setup.exact.clone()?;
    let share = exact.determinants().div_ceil(CHEAP).next_power_of_two().min(8);
    Some(Box::new(Fidelity { exact, share }))
}

impl Observable for Fidelity {
    fn length(&self) -> usize {
        2
    }

    fn share(&self) -> usize {
        self.share
    }

    fn add(&self, sample: &Sample, sums: &mut [f64]) {
        let ratio = self.exact.psi(sample.x) * sample.sign * (-sample.log_abs).exp();
        sums[0] += ratio;
        sums[1] += ratio * ratio;
    }

    fn finish(&self, replicates: &Replicates) -> Result<Vec<Quantity>, EigenFailure> {
        let norm = replicates.linear(|m| vec![m[1]]);
        // |<r>| - (<r²> - 1) / 2 = 1 - <(|r| - 1)²> / 2 where the signs agree.
        let fidelity = replicates.jackknife(|m| {
            let overlap = m[0].abs() - 0.5 * (m[1] - 1.0);
            vec![overlap * overlap, 1.0 - overlap * overlap]
        });
        let plain = replicates.jackknife(|m| vec![m[0] * m[0]]);
        Ok(vec![
            Quantity::new(
                "fidelity",
                "",
                "|<psi_exact|psi>|², with the known norm of the exact state as a control variate",
                fidelity.at(0),
            ),
            Quantity::new("infidelity", "", "one minus the fidelity", fidelity.at(1)),
            Quantity::new(
                "fidelity_plain",
                "",
                "|<psi_exact|psi>|² as the square of the mean of psi_exact / psi",
                plain.at(0),
            ),
            Quantity::new(
                "exact_norm",
                "",
                "mean of (psi_exact / psi)²: 1 unless the samples miss a region of the exact state",
                norm,
            ),
        ])
    }
}
