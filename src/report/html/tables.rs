//! The table of numbers: one value a cell, so that it copies into a spreadsheet.

use super::super::escape::escape;
use super::super::links::{Links, encoded};
use super::super::number::{format_known, unsigned_zero};
use super::super::verdict;
use super::{energy_digits, small_error};
use crate::estimate::gaussian_bars;
use crate::sampling::Sampling;
use crate::store::observables::Observables;
use crate::store::record::{ErrorBar, Sampled, Summary};
use std::fmt::Write;

/// A row: quantity, value, standard error, unit.
type Row = (&'static str, String, String, &'static str);

fn rows(summary: &Summary) -> Vec<Row> {
    let none = String::new;
    let error = small_error(verdict::shown_error(summary));
    let mut rows = vec![("electronic energy", energy_digits(summary.energy), error.clone(), "Ha")];
    if summary.nuclear_repulsion != 0.0 {
        rows.extend([
            ("nuclear repulsion", energy_digits(summary.nuclear_repulsion), none(), "Ha"),
            ("total energy", energy_digits(summary.total_energy), error.clone(), "Ha"),
        ]);
    }
    if let Some(reference) = &summary.reference {
        let own = reference.error_estimate.map(|e| format!("{e:.1e}")).unwrap_or_default();
        let off = verdict::deviation_error(summary).unwrap_or(f64::NAN);
        let deviation = format!("{:.3e}", reference.deviation);
        rows.extend([
            ("exact electronic energy", energy_digits(reference.energy), own, "Ha"),
            ("deviation from exact", deviation, small_error(off), "Ha"),
        ]);
        if let Some(bars) = verdict::error_bars(summary) {
            rows.push(("deviation in error bars", two_places(bars), none(), ""));
            let freedom = summary.degrees_of_freedom();
            if freedom.is_some() {
                let name = "as unlikely as Gaussian error bars (Student's t)";
                rows.push((name, two_places(gaussian_bars(bars, freedom)), none(), ""));
            }
        }
        rows.push(("source of the exact energy", reference.source.clone(), none(), ""));
    }
    if let Some(Sampled { energy, standard_error }) = summary.sampled {
        let error = small_error(standard_error);
        rows.push(("electronic energy of the samples", energy_digits(energy), error, "Ha"));
    }
    let health = &summary.health;
    rows.extend([
        ("variance of the local energy", format!("{:.4e}", summary.variance), none(), "Ha²"),
        ("N variance / E²", format!("{:.4e}", summary.v_score), none(), ""),
        ("final samples", summary.samples.to_string(), none(), ""),
    ]);
    let ErrorBar { sampling, scramblings, independent, gain } = &summary.error_bar;
    let sampling = match sampling {
        Sampling::QuasiRandom => "quasi-random (scrambled Sobol points)",
        Sampling::Random => "random",
    };
    rows.push(("sampling", sampling.into(), none(), ""));
    if let Some(scramblings) = scramblings {
        let freedom = scramblings.saturating_sub(1).to_string();
        rows.extend([
            ("independent scramblings", scramblings.to_string(), none(), ""),
            ("degrees of freedom of the standard error", freedom, none(), ""),
            ("error of independent samples", format!("{independent:.2e}"), none(), "Ha"),
        ]);
    }
    if let Some(gain) = gain {
        let (ratio, error) = (format!("{:.2}", gain.ratio), format!("{:.2}", gain.uncertainty));
        rows.push(("gain over independent samples", ratio, error, ""));
    }
    rows.extend([
        ("rejected samples", health.rejected_samples.to_string(), none(), ""),
        (
            "largest |E_L − E|",
            format!("{:.4e}", health.largest_local_energy_deviation),
            none(),
            "Ha",
        ),
        ("median |E_L − E|", format!("{:.4e}", health.median_local_energy_deviation), none(), "Ha"),
        ("round-trip error", format!("{:.2e}", health.round_trip_error), none(), "bohr"),
    ]);
    if let Some(slopes) = &health.slopes {
        rows.push(("largest slope of the flow", format!("{:.4}", slopes.forward), none(), ""));
        rows.push(("largest slope of its inverse", format!("{:.4}", slopes.inverse), none(), ""));
    }
    rows.extend([
        ("parameters", summary.parameters.to_string(), none(), ""),
        ("iterations", summary.iterations.to_string(), none(), ""),
    ]);
    // One iteration alone is no mean.
    if summary.averaged_iterations > 1 {
        let name = "last iterations whose parameters were averaged";
        rows.push((name, summary.averaged_iterations.to_string(), none(), ""));
    }
    rows.extend([
        ("wall time", format!("{:.2}", summary.wall_seconds), none(), "s"),
        ("processor time", format!("{:.2}", summary.cpu_seconds), none(), "s"),
        ("threads", summary.threads.to_string(), none(), ""),
        ("processes", summary.processes.to_string(), none(), ""),
    ]);
    if let Some(work) = &summary.work {
        rows.extend([
            ("local energies", work.local_energies.to_string(), none(), ""),
            ("spline evaluations", work.spline_evaluations.to_string(), none(), ""),
            ("Newton iterations", work.newton_iterations.to_string(), none(), ""),
            ("factorisations", work.factorisations.to_string(), none(), ""),
        ]);
    }
    rows.extend([
        ("seed", summary.seed.to_string(), none(), ""),
        ("weylflow version", summary.version.clone(), none(), ""),
    ]);
    rows
}

fn two_places(x: f64) -> String {
    unsigned_zero(format!("{x:.2}"))
}

/// Writes the table of the run.
pub(super) fn write(page: &mut String, summary: &Summary) {
    let caption = "The run in numbers. Standard errors are one standard deviation; no entry means none is known.";
    put(
        page,
        caption,
        rows(summary).into_iter().map(|(name, v, e, unit)| (name.into(), v, e, unit.into())),
    );
}

/// Writes the table of measured numbers: more digits than the error bars need, for programs to read.
pub(super) fn write_observables(page: &mut String, found: &Observables) {
    let text = |value: f64| {
        if value == 0.0 {
            "0".into()
        } else if (1e-4..1e6).contains(&value.abs()) {
            format!("{value:.10}")
        } else {
            format!("{value:.6e}")
        }
    };
    let rows = super::observables::rows(found);
    let caption = "What weylflow measure found, with the scatter between replicates as standard error. Numbers \
                   without one are not from samples.";
    let rows = rows.into_iter().map(|(name, v, e, unit)| match e {
        _ if e.is_nan() => (name, format_known(v), String::new(), unit),
        0.0 => (name, format_known(v), "0".into(), unit),
        _ => (name, text(v), format!("{e:.2e}"), unit),
    });
    put(page, caption, rows);
}

/// Writes the table of the files beside the page.
pub(super) fn write_files(page: &mut String, links: &Links) {
    page.push_str(
        "<div class=\"scroll\"><table>\n<caption>Data of the run, next to its report.</caption>\n\
         <thead><tr><th scope=\"col\">File</th><th scope=\"col\">Content</th></tr></thead>\n\
         <tbody>\n",
    );
    for (name, about) in &links.files {
        // Writing to a String has no way to fail.
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\"><a href=\"{}{}\">{}</a></th><td>{}</td></tr>",
            escape(&links.base),
            encoded(name),
            escape(name),
            escape(about)
        );
    }
    page.push_str("</tbody>\n</table></div>\n");
}

fn put(
    page: &mut String,
    caption: &str,
    rows: impl Iterator<Item = (String, String, String, String)>,
) {
    // Writing to a String has no way to fail, here and below.
    let _ = write!(
        page,
        "<div class=\"scroll\"><table>\n<caption>{}</caption>\n<thead><tr><th scope=\"col\">Quantity</th>\
         <th scope=\"col\" class=\"number\">Value</th><th scope=\"col\" class=\"number\">Standard error</th>\
         <th scope=\"col\">Unit</th></tr></thead>\n<tbody>\n",
        escape(caption)
    );
    for (name, value, error, unit) in rows {
        let class = if value.parse::<f64>().is_ok() { "number" } else { "words" };
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td class=\"{class}\">{}</td><td class=\"number\">{}</td><td>{}</td></tr>",
            escape(&name),
            escape(&value),
            escape(&error),
            escape(&unit)
        );
    }
    page.push_str("</tbody>\n</table></div>\n");
}
