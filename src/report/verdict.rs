//! Judgements a reader of a report wants made: did it converge, can the samples be trusted.

use super::number::{format_significant, format_with_uncertainty};
use super::record::{IterationRow, Summary};
use crate::estimate::gaussian_bars;

/// A judgement with its reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Whether all is well.
    pub good: bool,
    /// The judgement in a few words.
    pub headline: String,
    /// The number behind it.
    pub detail: String,
}

impl Verdict {
    fn new(good: bool, headline: &str, detail: String) -> Self {
        Verdict { good, headline: headline.into(), detail }
    }

    fn either(good: bool, yes: &str, no: &str, detail: String) -> Self {
        Self::new(good, if good { yes } else { no }, detail)
    }
}

/// Change of the energy over the last quarter of a run (of a short one, the last third).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// Slope of the straight line through the energies times the number of iterations, in Hartree.
    pub change: f64,
    /// Standard error of `change`, from the scatter about that line.
    pub error: f64,
    /// Iterations behind it.
    pub iterations: usize,
}

/// Fewest iterations for a slope whose error means something.
const FEWEST: usize = 8;

/// Fits a straight line to the energies of the end. None with too few finite energies.
///
/// The error comes from the scatter and not from the standard errors of the rows, so that it also
/// holds what the steps of the optimiser add.
pub fn drift(rows: &[IterationRow]) -> Option<Drift> {
    // Second-order optimisers are done after few iterations: a third of a short run counts as its end.
    let count =
        if rows.len() >= 3 * FEWEST { (rows.len() / 4).max(FEWEST) } else { rows.len() / 4 };
    let quarter = &rows[rows.len() - count..];
    let points: Vec<(f64, f64)> = quarter
        .iter()
        .filter(|r| r.energy.is_finite())
        .map(|r| (r.iteration as f64, r.energy))
        .collect();
    let n = points.len();
    if n < FEWEST {
        return None;
    }
    let mean = |f: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / n as f64;
    let (x, y) = (mean(&|p| p.0), mean(&|p| p.1));
    let sxx: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    let sxy: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    if sxx <= 0.0 {
        return None;
    }
    let slope = sxy / sxx;
    let scatter: f64 = points.iter().map(|p| (p.1 - y - slope * (p.0 - x)).powi(2)).sum();
    let length = points[n - 1].0 - points[0].0;
    let error = (scatter / (n - 2) as f64 / sxx).sqrt() * length;
    Some(Drift { change: slope * length, error, iterations: n })
}

/// Whether the energy has stopped changing, within two error bars.
pub fn convergence(rows: &[IterationRow], summary: &Summary) -> Verdict {
    let Some(Drift { change, error, iterations }) = drift(rows) else {
        let detail = format!("{} iterations are too few to judge.", rows.len());
        return Verdict::new(false, "Too short to tell", detail);
    };
    // A change that the final error bar hides is of no interest either.
    let final_error = Some(summary.standard_error).filter(|e| e.is_finite()).unwrap_or(0.0);
    let good = change.abs() <= 2.0 * error.hypot(final_error);
    let headline = match (good, change > 0.0) {
        (true, _) => "Converged",
        (false, false) => "Still falling",
        (false, true) => "Rising",
    };
    let detail = format!(
        "The energy changed by {} mHa over the last {iterations} iterations.",
        format_with_uncertainty(1e3 * change, 1e3 * error)
    );
    Verdict::new(good, headline, detail)
}

/// Error bars that a correct result exceeds once in ten thousand runs, for an error bar that is known; one that
/// was itself estimated from few scramblings is judged by Student's t of the same probability.
const MOST_BARS: f64 = 4.0;

/// Largest slope of the trained map, and of its inverse, that is believed.
///
/// A slope `s` makes terms of the size `s²` in the local energy that cancel to order one: at 1e4 that costs half of
/// the sixteen digits. Trained flows have slopes below ten or so; one that runs away passes this bound before its
/// samples and energies show it.
const LARGEST_SLOPE: f64 = 1e4;

/// The checks of the sampler at the final parameters.
pub fn sampler(summary: &Summary) -> Vec<Verdict> {
    let health = &summary.health;
    let freedom = summary.error_bar.degrees_of_freedom();
    let mut verdicts = vec![Verdict::either(
        // A chain of safeguarded Newton inversions leaves 1e-14 over the smallest slope of each
        // layer; far more than that means that the flow is no bijection any more.
        health.round_trip_error <= 1e-8,
        "Flow inverts",
        "Flow does not invert",
        format!(
            "Round trip x → T(x) → x: largest error {} bohr.",
            format_significant(health.round_trip_error, 2)
        ),
    )];
    if let Some(slopes) = &health.slopes {
        verdicts.push(Verdict::either(
            slopes.forward <= LARGEST_SLOPE && slopes.inverse <= LARGEST_SLOPE,
            "Flow stretches moderately",
            "Flow explodes",
            format!(
                "Largest slope {}, of the inverse {}, where the particles are.",
                format_significant(slopes.forward, 2),
                format_significant(slopes.inverse, 2)
            ),
        ));
    }
    verdicts.extend([Verdict::either(
        health.rejected_samples == 0,
        "No rejected samples",
        "Samples were rejected",
        format!(
            "{} of {} local energies were not finite.",
            health.rejected_samples, summary.samples
        ),
    )]);
    let largest = health.largest_local_energy_deviation;
    let deviations = largest / summary.variance.sqrt();
    // How far the mean moves if the most extreme sample is left out, in error bars.
    let influence = largest / summary.samples.max(1) as f64 / summary.standard_error;
    let quiet = largest == 0.0 || (deviations.is_finite() && influence <= 0.2);
    let few = deviations <= 10.0;
    verdicts.push(Verdict::either(
        quiet || few,
        "No outlier carries the mean",
        "An outlier carries the mean",
        format!(
            "Largest |E_L − E| is {} Ha ({} standard deviations); alone it moves the mean by {} \
             error bars.",
            format_significant(largest, 3),
            format_significant(deviations, 2),
            format_significant(influence, 1)
        ),
    ));
    if let Some(quadrature) = &health.quadrature {
        let bars = (summary.energy - quadrature.energy) / summary.standard_error;
        let sure = gaussian_bars(bars, freedom).abs();
        // Quadrature of a piecewise function; a flow that is not normalised is off by far more.
        let good = (quadrature.norm - 1.0).abs() <= 1e-6 && sure <= MOST_BARS;
        verdicts.push(Verdict::either(
            good,
            "Samples agree with quadrature",
            "Samples disagree with quadrature",
            format!(
                "Without samples: E = {} Ha ({} error bars from the sampled energy), norm − 1 = {}.",
                format_with_uncertainty(quadrature.energy, 1e-8),
                format_significant(bars, 2),
                format_significant(quadrature.norm - 1.0, 1)
            ),
        ));
    }
    if let Some(bars) = error_bars(summary) {
        let good = gaussian_bars(bars, freedom) >= -MOST_BARS;
        verdicts.push(Verdict::either(
            good,
            "Variational bound holds",
            "Below the exact energy",
            if good {
                "The energy is not below the exact one beyond its error.".into()
            } else {
                format!(
                    "The energy is {} error bars below the exact one.",
                    format_significant(-bars, 2)
                )
            },
        ));
    }
    if let Some(drift) = health.density_drift {
        verdicts.push(Verdict::either(
            drift <= 1e-6,
            "Samples follow |psi|²",
            "Samples do not follow |psi|²",
            format!(
                "Density of the samples by differences: off by {}.",
                format_significant(drift, 2)
            ),
        ));
    }
    for reason in &health.refusals {
        verdicts.push(Verdict::new(false, "Energy refused", reason.clone()));
    }
    verdicts
}

/// Deviation from the reference in error bars, those of the reference included where known. Not yet a
/// probability: see [`gaussian_bars`].
pub fn error_bars(summary: &Summary) -> Option<f64> {
    let reference = summary.reference.as_ref()?;
    let error = summary.standard_error.hypot(reference.error_estimate.unwrap_or(0.0));
    let bars = reference.deviation / error;
    bars.is_finite().then_some(bars)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::record::{ErrorBar, Health, Reference};
    use crate::sampling::Sampling;
    use crate::wavefunction::slopes::Slopes;

    const ERROR_BAR: ErrorBar =
        ErrorBar { sampling: Sampling::Random, scramblings: None, independent: 1e-3, gain: None };

    fn rows(n: usize, energy: impl Fn(usize) -> f64) -> Vec<IterationRow> {
        (0..n)
            .map(|iteration| IterationRow {
                iteration,
                energy: energy(iteration),
                standard_error: 1e-3,
                variance: 1.0,
                gradient_norm: 1.0,
                step_norm: 1.0,
                tau: 1.0,
                seconds: 1.0,
            })
            .collect()
    }

    fn summary() -> Summary {
        Summary {
            title: String::new(),
            version: String::new(),
            fingerprint: None,
            energy: -1.0,
            standard_error: 1e-3,
            error_bar: ERROR_BAR,
            variance: 1e-2,
            v_score: 1e-4,
            nuclear_repulsion: 0.0,
            total_energy: -1.0,
            samples: 10_000,
            parameters: 1,
            iterations: 1,
            averaged_iterations: 1,
            wall_seconds: 1.0,
            cpu_seconds: 1.0,
            threads: 1,
            processes: 1,
            work: None,
            seed: 1,
            reference: None,
            health: Health {
                round_trip_error: 1e-14,
                slopes: Some(Slopes { forward: 2.4, inverse: 3.1 }),
                density_drift: Some(1e-9),
                refusals: Vec::new(),
                rejected_samples: 0,
                largest_local_energy_deviation: 0.5,
                median_local_energy_deviation: 1e-3,
                quadrature: None,
            },
        }
    }

    /// Deterministic scatter of unit size.
    fn noise(i: usize) -> f64 {
        1.7 * (12.9898 * i as f64).sin()
    }

    #[test]
    fn a_straight_line_gives_its_change_without_error() {
        let d = drift(&rows(100, |i| -1.0 - 0.01 * i as f64)).unwrap();
        assert_eq!(d.iterations, 25);
        assert!((d.change + 0.24).abs() < 1e-12 && d.error < 1e-12);
    }

    #[test]
    fn noise_converges_and_a_slope_does_not() {
        let s = summary();
        assert!(convergence(&rows(200, |i| -1.0 + 1e-2 * noise(i)), &s).good);
        let falling = convergence(&rows(200, |i| -1.0 - 1e-3 * i as f64 + 1e-3 * noise(i)), &s);
        assert_eq!((falling.good, falling.headline.as_str()), (false, "Still falling"));
        let rising = convergence(&rows(200, |i| -1.0 + 1e-3 * i as f64), &s);
        assert_eq!((rising.good, rising.headline.as_str()), (false, "Rising"));
    }

    #[test]
    fn a_change_below_the_final_error_is_of_no_interest() {
        assert!(convergence(&rows(200, |i| -1e-6 * i as f64), &summary()).good);
    }

    #[test]
    fn the_end_of_a_short_run_is_its_last_third() {
        assert_eq!(drift(&rows(24, |i| -(i as f64))).unwrap().iterations, 8);
        assert_eq!(drift(&rows(23, |i| -(i as f64))), None);
    }

    #[test]
    fn few_or_bad_rows_cannot_be_judged() {
        for rows in [rows(0, |_| 0.0), rows(20, |_| 0.0), rows(500, |_| f64::NAN)] {
            assert_eq!(convergence(&rows, &summary()).headline, "Too short to tell");
        }
    }

    #[test]
    fn a_healthy_sampler_passes_and_each_fault_fails_its_own_check() {
        let good = |s: &Summary| sampler(s).iter().map(|v| v.good).collect::<Vec<_>>();
        let mut s = summary();
        s.reference = Some(Reference {
            energy: -1.001,
            error_estimate: None,
            source: String::new(),
            deviation: 1e-3,
        });
        assert_eq!(good(&s), [true; 6]);
        for fault in 0..7 {
            let mut s = s.clone();
            match fault {
                0 => s.health.round_trip_error = f64::NAN,
                1 => s.health.slopes = Some(Slopes { forward: 2e4, inverse: 1.0 }),
                2 => s.health.rejected_samples = 1,
                3 => s.health.largest_local_energy_deviation = 5.0,
                5 => s.health.density_drift = Some(1e-5),
                6 => s.health.slopes = Some(Slopes { forward: 1.0, inverse: f64::NAN }),
                _ => s.reference.as_mut().unwrap().deviation = -5e-3,
            }
            let expected: Vec<bool> =
                (0..6).map(|i| i != if fault == 6 { 1 } else { fault }).collect();
            assert_eq!(good(&s), expected);
        }
        // A summary from before slopes were looked at.
        s.health.slopes = None;
        assert_eq!(good(&s), [true; 5]);
        s.health.refusals.push("the norm".into());
        assert_eq!(good(&s), [true, true, true, true, true, false]);
    }

    #[test]
    fn few_scramblings_are_judged_with_longer_tails() {
        let mut s = summary();
        s.health.density_drift = None;
        s.reference = Some(Reference {
            energy: -1.0,
            error_estimate: None,
            source: String::new(),
            deviation: -4.5e-3,
        });
        let bound = |s: &Summary| sampler(s).last().unwrap().good;
        assert!(!bound(&s));
        // With 15 degrees of freedom, 4.5 error bars are as likely as 3.5 known ones.
        s.error_bar.scramblings = Some(16);
        assert!(bound(&s));
        s.reference.as_mut().unwrap().deviation = -6e-3;
        assert!(!bound(&s));
    }

    #[test]
    fn error_bars_hold_those_of_the_reference() {
        let mut s = summary();
        assert_eq!(error_bars(&s), None);
        s.standard_error = 3e-3;
        s.reference = Some(Reference {
            energy: -1.0,
            error_estimate: Some(4e-3),
            source: String::new(),
            deviation: -1e-2,
        });
        assert!((error_bars(&s).unwrap() + 2.0).abs() < 1e-12);
    }
}
