//! What a report says of a result: the checks of its judge, from the summary and the rows of the iterations.

use super::number::{counted, format_difference, format_with_uncertainty};
use crate::estimate::judge::{deviation_words, is_rounding};
use crate::estimate::{Check, Drift, Evidence, Exact, Verdict, judge};
use crate::store::record::{IterationRow, Sampled, Summary};
use crate::train::StopReason;

/// A mark of a report with its reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Whether all is well.
    pub good: bool,
    /// The judgement in a few words.
    pub headline: String,
    /// The number behind it.
    pub detail: String,
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

/// Significant digits from which a number was rounded rather than meant.
const ROUNDED: usize = 5;

/// The unit in the last place of a number as it was written, by which its writer may have rounded it; none of a short one, like 2.5.
fn last_place(energy: f64) -> f64 {
    let text = format!("{energy}");
    let digits = text.trim_start_matches(['-', '0', '.']).chars().filter(char::is_ascii_digit);
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    if digits.count() >= ROUNDED && decimals > 0 { 0.1f64.powi(decimals as i32) } else { 0.0 }
}

/// What the judge is given.
pub fn evidence(summary: &Summary, rows: &[IterationRow]) -> Evidence {
    let health = &summary.health;
    let (energy, standard_error) = match summary.sampled {
        Some(Sampled { energy, standard_error }) => (energy, standard_error),
        None => (summary.energy, summary.standard_error),
    };
    Evidence {
        energy,
        standard_error,
        freedom: summary.error_bar.degrees_of_freedom(),
        variance: summary.variance,
        v_score: summary.v_score,
        scale: health.scale,
        samples: summary.samples,
        rejected: health.rejected_samples,
        largest_deviation: health.largest_local_energy_deviation,
        tails: health.tails,
        start: rows.first().map(|r| (r.energy, r.standard_error)),
        drift: drift(rows),
        fermionised: false,
        exact: summary.reference.as_ref().map(|r| Exact {
            energy: r.energy,
            error: r.error_estimate.unwrap_or(last_place(r.energy)),
        }),
        quadrature: health.quadrature,
        round_trip_error: health.round_trip_error,
        // Summaries of versions that did not say: no particle is known to be further than that.
        length: health.length.unwrap_or(1.0),
        density_drift: health.density_drift,
        slopes: health.slopes,
    }
}

/// The checks of a result: its own, or, for a summary of a version that kept none, those of today's judge.
pub fn checks(summary: &Summary, rows: &[IterationRow]) -> Vec<Check> {
    match summary.verdict {
        Some(_) => summary.checks.clone(),
        None => judge(&evidence(summary, rows)),
    }
}

/// What they come to.
pub fn verdict(summary: &Summary, rows: &[IterationRow]) -> Verdict {
    summary.verdict.unwrap_or_else(|| Verdict::of(&checks(summary, rows)))
}

/// Whether the training came to an end: why it stopped, or whether the energy had stopped changing.
pub fn convergence(rows: &[IterationRow], summary: &Summary) -> Mark {
    let change = match drift(rows) {
        Some(Drift { change, error, iterations }) => format!(
            " The energy changed by {} mHa over the last {iterations} iterations.",
            format_with_uncertainty(1e3 * change, 1e3 * error)
        ),
        None => String::new(),
    };
    let failed = |c: &&Check| !c.passed && ["drift", "start"].contains(&c.name.as_str());
    let checks = checks(summary, rows);
    let (good, headline, because) = match (checks.iter().find(failed), summary.stopped) {
        (Some(check), _) => {
            return Mark {
                good: false,
                headline: check.headline.clone(),
                detail: check.detail.clone(),
            };
        }
        (None, Some(StopReason::Plateau)) => {
            (true, "Settled (plateau)", StopReason::Plateau.words())
        }
        (None, Some(StopReason::NoStep)) => {
            (true, "Settled (no step left)", StopReason::NoStep.words())
        }
        (None, _) if drift(rows).is_some() => (true, "Converged", StopReason::Iterations.words()),
        (None, _) => (true, "All iterations done", StopReason::Iterations.words()),
    };
    let detail = format!(
        "Training stopped after {} because {because}.{change}",
        counted(summary.iterations, "iteration")
    );
    Mark { good, headline: headline.into(), detail }
}

/// The first line of a report, and the last of the terminal: the verdict with its reasons.
pub fn line(summary: &Summary, rows: &[IterationRow]) -> String {
    let checks = checks(summary, rows);
    let failed: Vec<&str> =
        checks.iter().filter(|c| !c.passed).map(|c| c.headline.as_str()).collect();
    match verdict(summary, rows) {
        Verdict::Good => format!("Good: all {} checks passed.", checks.len()),
        Verdict::Doubtful => format!("Doubtful: {}.", failed.join("; ")),
        Verdict::Refused => format!("Refused: {}.", failed.join("; ")),
    }
}

/// Relative error of a mean that doubles leave, however small the scatter of what it is the mean of.
const DOUBLES: f64 = 1e-14;

/// The standard error as it is shown beside the energy: not below what rounding leaves.
pub fn shown_error(summary: &Summary) -> f64 {
    // What is not a number stays so.
    let least = DOUBLES * summary.energy.abs().max(size(summary));
    if summary.standard_error < least { least } else { summary.standard_error }
}

/// The energy's own scale, in Hartree.
fn size(summary: &Summary) -> f64 {
    summary.health.scale.map_or(summary.energy.abs(), |s| s.energy())
}

/// Deviation from the reference and its error, that of the reference included where known; and whether both are rounding.
fn deviates(summary: &Summary) -> Option<(f64, f64, bool)> {
    let reference = summary.reference.as_ref()?;
    let error = summary.standard_error.hypot(reference.error_estimate.unwrap_or(0.0));
    let rounding = is_rounding(reference.deviation, error, size(summary));
    Some((reference.deviation, error, rounding))
}

/// The deviation from the reference in Hartree and error bars, those of the reference included where known.
pub fn deviation(summary: &Summary) -> Option<String> {
    let (deviation, error, rounding) = deviates(summary)?;
    // What quadrature leaves is no error bar.
    if summary.sampled.is_some() && !rounding {
        return Some(format!("{deviation:+.3e} ± {error:.0e} Ha"));
    }
    Some(deviation_words(deviation, error, size(summary)))
}

/// The deviation in mHa, with its error in parentheses; zero where it is nothing but rounding.
pub fn milli_hartree(summary: &Summary) -> Option<String> {
    let (deviation, error, rounding) = deviates(summary)?;
    Some(if rounding { "0".to_owned() } else { format_difference(1e3 * deviation, 1e3 * error) })
}

/// Error of the deviation, in Hartree: that of the energy and that of the reference.
pub fn deviation_error(summary: &Summary) -> Option<f64> {
    deviates(summary).map(|(_, error, _)| error)
}

/// Deviation from the reference in error bars, those of the reference included where known; none where it is nothing but
/// rounding and where the energy is known without samples. Not yet a probability: see [`crate::estimate::gaussian_bars`].
pub fn error_bars(summary: &Summary) -> Option<f64> {
    let (deviation, error, rounding) = deviates(summary)?;
    let bars = deviation / error;
    (bars.is_finite() && !rounding && summary.sampled.is_none()).then_some(bars)
}

#[cfg(test)]
mod tests {
    #[test]
    fn long_numbers_were_rounded_and_short_ones_meant() {
        for (energy, unit) in
            [(-2.238_257_8, 1e-7), (2.5, 0.0), (33.0, 0.0), (27.0188, 1e-4), (0.076_608_7, 1e-7)]
        {
            assert!((super::last_place(energy) - unit).abs() <= 1e-3 * unit, "{energy}");
        }
    }

    use super::*;
    use crate::sampling::Sampling;
    use crate::store::record::{ErrorBar, Health, Reference};
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
            sampled: None,
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
            no_reference: None,
            reference: None,
            stopped: None,
            verdict: None,
            checks: Vec::new(),
            health: Health {
                round_trip_error: 1e-14,
                slopes: Some(Slopes { forward: 2.4, inverse: 3.1 }),
                density_drift: Some(1e-9),
                refusals: Vec::new(),
                rejected_samples: 0,
                largest_local_energy_deviation: 0.5,
                median_local_energy_deviation: 1e-3,
                quadrature: None,
                ..Health::default()
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
        let all_good = |rows: &[IterationRow]| convergence(rows, &s);
        assert!(all_good(&rows(200, |i| -1.0 + 1e-3 * noise(i))).good);
        let falling = all_good(&rows(200, |i| -0.5 - 1e-3 * i as f64 + 1e-4 * noise(i)));
        assert_eq!((falling.good, falling.headline.as_str()), (false, "Still falling"));
        let rising = all_good(&rows(200, |i| -1.0 + 1e-3 * i as f64));
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
    fn a_short_training_that_settled_is_good_news() {
        for (stopped, headline) in [
            (Some(StopReason::Plateau), "Settled (plateau)"),
            (Some(StopReason::NoStep), "Settled (no step left)"),
            (Some(StopReason::Iterations), "All iterations done"),
            (None, "All iterations done"),
        ] {
            let s = Summary { stopped, ..summary() };
            for rows in [rows(0, |_| 0.0), rows(20, |_| 0.0), rows(500, |_| f64::NAN)] {
                let found = convergence(&rows, &s);
                assert_eq!((found.good, found.headline.as_str()), (true, headline), "{found:?}");
            }
        }
    }

    #[test]
    fn a_summary_without_checks_is_judged_anew_and_one_with_keeps_its_own() {
        let mut s = summary();
        let anew = checks(&s, &[]);
        assert!(!anew.is_empty() && verdict(&s, &[]) == Verdict::Good, "{anew:?}");
        assert!(line(&s, &[]).starts_with("Good: all"));
        s.health.density_drift = Some(1e-3);
        assert_eq!(verdict(&s, &[]), Verdict::Refused);
        assert!(line(&s, &[]).contains("do not follow"), "{}", line(&s, &[]));
        s.verdict = Some(Verdict::Doubtful);
        assert_eq!((verdict(&s, &[]), checks(&s, &[])), (Verdict::Doubtful, Vec::new()));
    }

    #[test]
    fn terminal_and_report_say_the_same_of_a_deviation_of_rounding() {
        let mut s = summary();
        s.standard_error = 1e-16;
        let deviation = -1.2e-15;
        let (energy, source) = (-1.0, String::new());
        s.reference = Some(Reference { energy, error_estimate: Some(2e-14), source, deviation });
        let words = super::deviation(&s).unwrap();
        assert!(words.contains("to rounding") && !words.contains("bars"), "{words}");
        s.reference.as_mut().unwrap().deviation = 2e-3;
        s.standard_error = 1e-3;
        assert_eq!(super::deviation(&s).unwrap(), "+2.000e-3 Ha = +2.0 error bars");
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
