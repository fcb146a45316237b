//! `report.html`: a run in one self-contained file, readable in ten seconds.

mod figures;
mod observables;
mod projection;
mod tables;

use super::describe;
use super::escape::escape;
use super::links::Links;
use super::number::{
    counted, format_duration, format_ratio, format_significant, format_with_uncertainty,
    unsigned_zero,
};
use super::svg;
use super::verdict::{self, Mark};
use crate::estimate::{Check, Verdict};
use crate::exact::{Density, PairDensity};
use crate::optimise::OptimiserSettings;
use crate::store::observables::Observables;
use crate::store::projection::ProjectionRecord;
use crate::store::provenance::Provenance;
use crate::store::record::{DensityProfile, ErrorBar, IterationRow, Sampled, Summary};
use crate::system::{Geometry, Hamiltonian, Sector};
use std::fmt::Write;

/// Everything a report shows.
#[derive(Clone, Copy, Debug)]
pub struct ReportInput<'a> {
    /// The result.
    pub summary: &'a Summary,
    /// The iterations, in their order.
    pub rows: &'a [IterationRow],
    /// One-body density; without bins, its figure says so.
    pub density: &'a DensityProfile,
    /// The Hamiltonian, from the spec or from its file.
    pub hamiltonian: &'a Hamiltonian,
    /// The space.
    pub geometry: &'a Geometry,
    /// The particles.
    pub sector: &'a Sector,
    /// The optimiser, which gives `tau` its name and unit.
    pub optimiser: &'a OptimiserSettings,
    /// The resolved spec, as RON.
    pub spec_text: &'a str,
    /// What `weylflow measure` found of this very state.
    pub observables: Option<&'a Observables>,
    /// What `weylflow project` found of this very state.
    pub projection: Option<&'a ProjectionRecord>,
    /// What else a reader must know of the files the report is made from, a sentence each.
    pub notices: &'a [String],
    /// One-body density of the exact ground state, where it was computed.
    pub reference_density: Option<&'a Density>,
    /// Its pair density, where the solver gave one.
    pub reference_pairs: Option<&'a PairDensity>,
    /// Date, command and host of the run, where they are known.
    pub provenance: Option<&'a Provenance>,
    /// Where the files of data are.
    pub links: &'a Links,
}

/// The report as an HTML document. The same input gives the same bytes.
pub fn render(input: &ReportInput) -> String {
    let ReportInput { summary, rows, .. } = input;
    let mut page = head(&summary.title);
    header(&mut page, input);
    let judged = verdict::checks(summary, rows);
    let convergence = verdict::convergence(rows, summary);
    let _ = writeln!(
        page,
        "<p class=\"verdict\">{} {}</p>",
        mark(verdict::verdict(summary, rows) == Verdict::Good),
        escape(&verdict::line(summary, rows))
    );
    headline(&mut page, summary, &convergence, &judged);
    if !input.notices.is_empty() {
        page.push_str("<ul class=\"checks\">\n");
        for notice in input.notices {
            let _ = writeln!(page, "<li>{}<span>{}</span></li>", mark(false), escape(notice));
        }
        page.push_str("</ul>\n");
    }
    if let Some(provenance) = input.provenance {
        origin(&mut page, provenance);
    }
    section(&mut page, "Checks");
    checks(&mut page, &convergence, &judged);
    section(&mut page, "Figures");
    page.push_str("<div class=\"figures\">\n");
    put_figures(&mut page, figures::all(input));
    page.push_str("</div>\n");
    if let Some(found) = input.observables {
        section(&mut page, "Observables");
        // Writing to a String has no way to fail, here and below.
        let _ = writeln!(
            page,
            "<p>From {} fresh samples of the trained state in {} independent replicates, whose scatter gives the \
             error bars.</p>\n<div class=\"figures\">",
            found.samples, found.replicates
        );
        put_figures(&mut page, observables::figures(found, input.reference_pairs));
        page.push_str("</div>\n");
    }
    if let Some(found) = input.projection {
        section(&mut page, "Projection");
        projection::write(&mut page, found);
    }
    section(&mut page, "Numbers");
    tables::write(&mut page, summary);
    if let Some(found) = input.observables {
        section(&mut page, "Measured numbers");
        tables::write_observables(&mut page, found);
    }
    if !input.links.files.is_empty() {
        section(&mut page, "Files");
        tables::write_files(&mut page, input.links);
    }
    let _ = write!(
        page,
        "<details>\n<summary>Resolved spec (RON)</summary>\n<pre>{}</pre>\n</details>\n\
         <footer>weylflow {}. Energies in Hartree, lengths in bohr (ħ = m = 1). Error bars are one \
         standard error; parentheses give it in the last digits.</footer>\n\
         </main>\n</body>\n</html>\n",
        escape(input.spec_text),
        escape(&summary.version),
    );
    page
}

/// The start of a page, up to its first element.
pub(super) fn head(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"generator\" content=\"weylflow {}\">\n<title>{}</title>\n\
         <style>\n{}{}</style>\n</head>\n<body>\n<main>\n",
        env!("CARGO_PKG_VERSION"),
        escape(title),
        svg::STYLE,
        include_str!("html/style.css"),
    )
}

/// Figures with their captions.
pub(super) fn put_figures(page: &mut String, figures: Vec<(svg::Figure, String)>) {
    for (figure, caption) in figures {
        // Writing to a String has no way to fail.
        let _ = write!(page, "<figure>\n{}", figure.render());
        if !caption.is_empty() {
            let _ = writeln!(page, "<figcaption>{}</figcaption>", escape(&caption));
        }
        page.push_str("</figure>\n");
    }
}

fn section(page: &mut String, title: &str) {
    let _ = writeln!(page, "<h2>{title}</h2>");
}

fn header(page: &mut String, input: &ReportInput) {
    let Hamiltonian { title, external, interaction } = input.hamiltonian;
    let name = match title.as_str() {
        "" => describe::external_words(external),
        // The symbols below tell what the title does not.
        title => title.into(),
    };
    let _ = write!(
        page,
        "<header>\n<h1>{}</h1>\n<p>{}, {}: {}.</p>\n\
         <p class=\"symbols\"><span>{}</span> <span>v(x) = {}</span> <span>w(d) = {}</span></p>\n\
         </header>\n",
        escape(&input.summary.title),
        escape(&capitalise(&describe::sector(input.sector))),
        escape(&describe::geometry(input.geometry)),
        escape(&name),
        describe::HAMILTONIAN.replace("ᵢ<ⱼ", "<sub>i&lt;j</sub>"),
        escape(&describe::external(external)),
        escape(&describe::interaction(interaction)),
    );
}

/// The card: energy, deviation, convergence, checks.
fn headline(page: &mut String, summary: &Summary, convergence: &Mark, judged: &[Check]) {
    page.push_str("<section class=\"card\">\n");
    let error = verdict::shown_error(summary);
    let mut small = format!("{} ± {} Ha", energy_digits(summary.energy), small_error(error));
    if summary.nuclear_repulsion != 0.0 {
        let _ = write!(
            small,
            "; with nuclear repulsion {} Ha",
            format_with_uncertainty(summary.total_energy, error)
        );
    }
    let label = if summary.nuclear_repulsion != 0.0 { "Electronic energy" } else { "Energy" };
    let value = format_with_uncertainty(summary.energy, error);
    tile(page, "wide", label, None, &format!("{value} Ha"), &small);

    match &summary.reference {
        None => {
            let text = match &summary.no_reference {
                Some(why) => format!("None was found: {why}."),
                None => "The spec asks for none.".to_owned(),
            };
            tile(page, "", "Against exact", None, "No reference", &text);
        }
        Some(reference) => {
            let deviation = verdict::milli_hartree(summary).unwrap_or_default();
            // The table below has all of it.
            let source = reference.source.split(" (").next().unwrap_or_default();
            let words = verdict::deviation(summary).unwrap_or_default();
            let small = format!("{words} from {} Ha ({source})", energy_digits(reference.energy));
            tile(page, "", "Against exact", None, &format!("{deviation} mHa"), &small);
        }
    }

    tile(
        page,
        "",
        "Convergence",
        Some(convergence.good),
        &convergence.headline,
        &convergence.detail,
    );
    let bad: Vec<&Check> = judged.iter().filter(|c| !c.passed).collect();
    let (good, large, small) = match bad[..] {
        [] => (true, "Healthy".to_string(), format!("All {} checks passed.", judged.len())),
        [one] => (false, one.headline.clone(), one.detail.clone()),
        _ => (
            false,
            format!("{} of {} checks failed", bad.len(), judged.len()),
            bad.iter().map(|v| v.headline.clone()).collect::<Vec<_>>().join(". ") + ".",
        ),
    };
    tile(page, "", "Checks", Some(good), &large, &small);
    page.push_str("</section>\n");
    let _ = writeln!(
        page,
        "<p class=\"cost\">{}, {}, {} final samples; {} on {}.</p>",
        counted(summary.parameters, "parameter"),
        counted(summary.iterations, "iteration"),
        summary.samples,
        format_duration(summary.wall_seconds),
        counted(summary.threads, "thread"),
    );
    let _ = writeln!(page, "<p class=\"cost\">{}</p>", escape(&error_bar(summary)));
}

/// What the error bar rests on, in words.
fn error_bar(summary: &Summary) -> String {
    if let Some(Sampled { energy, standard_error }) = summary.sampled {
        return format!(
            "The energy is known without samples, as the eigenvalue that the state belongs to, and the error is that of \
             quadrature and rounding; the samples give {} Ha.",
            format_with_uncertainty(energy, standard_error)
        );
    }
    let ErrorBar { scramblings, independent, gain, .. } = summary.error_bar;
    let (Some(scramblings), Some(freedom)) = (scramblings, summary.error_bar.degrees_of_freedom())
    else {
        return "The error bar is that of independent samples, √(variance / samples).".into();
    };
    let mut text = format!(
        "Quasi-random samples: the error bar is the scatter of {scramblings} independent scramblings, so \
         probabilities are those of Student's t with {freedom} degrees of freedom."
    );
    if let Some(gain) = gain {
        let _ = write!(
            text,
            " It is {} than the {} Ha of as many independent samples.",
            format_ratio(gain.ratio, gain.uncertainty),
            format_significant(independent, 2)
        );
    }
    text
}

/// When, how and where, in a line.
fn origin(page: &mut String, provenance: &Provenance) {
    let Provenance { version, finished, command, cores, host } = provenance;
    let _ = writeln!(
        page,
        "<p class=\"cost\">{}, weylflow {} on {} with {}: <code>{}</code></p>",
        escape(finished),
        escape(version),
        escape(host),
        counted(*cores, "core"),
        escape(command),
    );
}

fn tile(page: &mut String, class: &str, label: &str, good: Option<bool>, large: &str, small: &str) {
    let _ = writeln!(
        page,
        "<div class=\"tile {class}\"><div class=\"name\">{}{}</div>\
         <div class=\"large\">{}</div><div class=\"small\">{}</div></div>",
        escape(label),
        good.map(mark).unwrap_or_default(),
        escape(large),
        escape(small),
    );
}

/// A mark that shape and word tell apart as well as colour.
fn mark(good: bool) -> String {
    let (class, word, path) = if good {
        ("good", "good", "M2.5 8.5l3.5 3.5 7-8")
    } else {
        ("attention", "attention", "M8 2v7.5M8 12.2v1.6")
    };
    format!(
        "<span class=\"mark {class}\"><svg viewBox=\"0 0 16 16\" aria-hidden=\"true\">\
         <path d=\"{path}\"/></svg>{word}</span>"
    )
}

fn checks(page: &mut String, convergence: &Mark, judged: &[Check]) {
    page.push_str("<ul class=\"checks\">\n");
    let first = (convergence.good, &convergence.headline, &convergence.detail);
    let judged = judged.iter().map(|c| (c.passed, &c.headline, &c.detail));
    for (good, headline, detail) in std::iter::once(first).chain(judged) {
        let _ = writeln!(
            page,
            "<li>{}<span><b>{}.</b> {}</span></li>",
            mark(good),
            escape(headline),
            escape(detail)
        );
    }
    page.push_str("</ul>\n");
}

/// An energy to 0.1 nHa: far below any error bar here, and short enough to read. Very small and very large ones get a power
/// of ten.
fn energy_digits(energy: f64) -> String {
    let size = energy.abs();
    if energy.is_finite() && size > 0.0 && !(1e-3..1e9).contains(&size) {
        return format!("{energy:.9e}");
    }
    unsigned_zero(format!("{energy:.10}"))
}

/// An error with two digits, in powers of ten only where so many decimals would show nothing of it.
fn small_error(error: f64) -> String {
    if !error.is_finite() || error == 0.0 {
        return format!("{error}");
    }
    if !(1e-11..1e9).contains(&error) {
        return format!("{error:.1e}");
    }
    let places = (1.0 - error.log10().floor()).clamp(0.0, 12.0) as usize;
    format!("{error:.places$}")
}

fn capitalise(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
