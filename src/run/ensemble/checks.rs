//! Checks of the result of an ensemble.

use super::EnsembleRun;
use crate::estimate::health::density_drift;
use crate::estimate::judge::{BARS, BELOW, CLOSE, DRIFT, REJECTED, ROUND_TRIP, Words};
use crate::estimate::{self, Check, gaussian_bars};
use crate::wavefunction::Wavefunction;
use crate::wavefunction::weyl::Weyl;

impl EnsembleRun {
    /// Whether the flow undoes itself, and its samples are distributed as they should be.
    pub(super) fn flow_checks(&self, checks: &mut Vec<Check>, psis: &[&Weyl]) {
        let (left, right) = psis[0].interval(&self.spec.geometry);
        let limit = ROUND_TRIP * (right - left);
        let worst = |values: Vec<f64>| {
            values.into_iter().fold(0.0, |a: f64, b| if b.is_nan() || b > a { b } else { a })
        };
        let seed = self.spec.seed;
        let back = worst(psis.iter().map(|psi| estimate::round_trip(*psi, seed)).collect());
        checks.push(check(
            ("round_trip", "Flow inverts", "Flow does not invert"),
            back,
            limit,
            true,
            format!("The flow undoes itself to {back:.1e} bohr (at most {limit:.1e})."),
        ));
        let drift = worst(psis.iter().map(|psi| density_drift(*psi, seed)).collect());
        checks.push(check(
            ("density_drift", "Samples follow |psi|²", "Samples do not follow |psi|²"),
            drift,
            DRIFT,
            true,
            format!("The density of the samples is that of the states to {drift:.1e} (at most {DRIFT:.0e})."),
        ));
    }
}

pub(super) fn check(words: Words, value: f64, limit: f64, refuses: bool, detail: String) -> Check {
    let check = Check::new(words, value, limit, detail);
    if refuses { check.refusing() } else { check }
}

pub(super) fn left_out(rejected: usize, samples: usize) -> Check {
    let share = rejected as f64 / (samples + rejected).max(1) as f64;
    check(
        ("rejected", "Samples are sound", "Samples were left out"),
        share,
        REJECTED,
        true,
        format!("{rejected} of {} final samples were left out.", samples + rejected),
    )
}

/// How far an energy is from the exact one.
pub(super) fn deviation(name: &str, off: f64, error: f64, sets: usize, unit: f64) -> Check {
    let bars = gaussian_bars(off / error.max(f64::MIN_POSITIVE), Some(sets.saturating_sub(1)));
    let (least, words) = if off > 0.0 { (CLOSE, "above") } else { (BELOW, "below") };
    let small = off.abs() < least * unit.max(f64::MIN_POSITIVE);
    check(
        ("reference", "Agrees with the exact energy", "Disagrees with the exact energy"),
        if small { 0.0 } else { bars },
        BARS,
        false,
        format!(
            "{name} is {:.1e} Ha {words} the exact one, {:.1} error bars.",
            off.abs(),
            bars.abs()
        ),
    )
}
