//! The report of a run of several states, or of a temperature.

use super::escape::escape;
use super::html::{head, put_figures};
use super::number::{format_significant, format_with_uncertainty};
use super::svg::{Axis, Colour, Figure, Layer};
use crate::estimate::Verdict;
use crate::store::ensemble::{Densities, EnsembleSummary, Measured, Thermal};
use crate::store::record::IterationRow;
use std::fmt::Write;

impl EnsembleSummary {
    /// The judgement in a sentence.
    pub fn sentence(&self) -> String {
        let failed: Vec<&str> =
            self.checks.iter().filter(|c| !c.passed).map(|c| c.headline.as_str()).collect();
        match self.verdict {
            Verdict::Good => format!("Good: all {} checks passed.", self.checks.len()),
            Verdict::Doubtful => format!("Doubtful: {}.", failed.join("; ")),
            Verdict::Refused => format!("Refused: {}.", failed.join("; ")),
        }
    }

    /// The numbers in lines of text.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        for (k, s) in self.states.iter().enumerate() {
            let energy = format_with_uncertainty(s.energy, s.standard_error);
            // Writing to a String has no way to fail, here and below.
            let _ = write!(text, "E{k} = {energy} Ha");
            if k > 0 {
                let gap = format_with_uncertainty(s.gap.energy, s.gap.standard_error);
                let _ = write!(text, ", {gap} above");
            }
            if let Some(r) = &s.reference {
                let _ = write!(text, "; exact {:.8}, deviation {:+.1e}", r.energy, r.deviation);
            }
            text.push('\n');
        }
        for t in self.temperatures() {
            if !self.sweep.is_empty() {
                let _ = writeln!(text, "kT = {} Ha", format_significant(t.kt, 6));
            }
            for (name, m) in thermal_rows(t) {
                let _ = write!(text, "{name} = {}", measured(m));
                if let Some(exact) = m.reference {
                    let _ = write!(text, "; exact {exact:.8}, deviation {:+.1e}", m.value - exact);
                }
                text.push('\n');
            }
        }
        text
    }
}

fn measured(m: &Measured) -> String {
    if m.standard_error > 0.0 {
        format_with_uncertainty(m.value, m.standard_error)
    } else {
        format_significant(m.value, 9)
    }
}

fn thermal_rows(t: &Thermal) -> [(&'static str, &Measured); 4] {
    [
        ("F / Ha", &t.free_energy),
        ("E / Ha", &t.energy),
        ("S / k", &t.entropy),
        ("C / k", &t.heat_capacity),
    ]
}

/// The report as an HTML document.
pub fn render(
    summary: &EnsembleSummary,
    rows: &[IterationRow],
    densities: &Densities,
    spec_text: &str,
) -> String {
    let mut page = head(&summary.title);
    let _ = writeln!(
        page,
        "<header>\n<h1>{}</h1>\n</header>\n<p class=\"verdict\">{}</p>\n<ul class=\"checks\">",
        escape(&summary.title),
        escape(&summary.sentence())
    );
    for check in &summary.checks {
        let _ = writeln!(
            page,
            "<li><span><b>{}.</b> {}</span></li>",
            escape(&check.headline),
            escape(&check.detail)
        );
    }
    page.push_str("</ul>\n<h2>Numbers</h2>\n");
    numbers(&mut page, summary);
    page.push_str("<h2>Figures</h2>\n<div class=\"figures\">\n");
    let mut figures = Vec::new();
    if !summary.states.is_empty() {
        figures.push(levels(summary));
    }
    if summary.sweep.len() > 1 {
        figures.extend(curves(&summary.sweep));
    }
    figures.push(density(densities));
    figures.push(training(rows, summary));
    put_figures(&mut page, figures);
    let _ = write!(
        page,
        "</div>\n<p>{} samples in {} independent sets, whose scatter gives the error bars; {} parameters, {} iterations \
         ({}); seed {}.</p>\n<details>\n<summary>Resolved spec (RON)</summary>\n<pre>{}</pre>\n</details>\n\
         <footer>weylflow {}. Energies in Hartree, lengths in bohr (ħ = m = 1). Error bars are one standard error; \
         parentheses give it in the last digits.</footer>\n</main>\n</body>\n</html>\n",
        summary.samples,
        summary.sets,
        summary.parameters,
        summary.iterations,
        summary.stopped.words(),
        summary.seed,
        escape(spec_text),
        escape(&summary.version),
    );
    page
}

fn row(page: &mut String, tag: &str, cells: &[String]) {
    page.push_str("<tr>");
    for cell in cells {
        let _ = write!(page, "<{tag}>{}</{tag}>", escape(cell));
    }
    page.push_str("</tr>\n");
}

fn numbers(page: &mut String, summary: &EnsembleSummary) {
    let text = |t: &str| t.to_owned();
    if !summary.states.is_empty() {
        page.push_str("<table>\n");
        let names =
            ["state", "energy / Ha", "gap / Ha", "variance / Ha²", "exact / Ha", "deviation"];
        row(page, "th", &names.map(text));
        for (k, s) in summary.states.iter().enumerate() {
            let (exact, off) = match &s.reference {
                Some(r) => (format!("{:.10}", r.energy), format!("{:+.1e}", r.deviation)),
                None => (text("–"), text("–")),
            };
            let cells = [
                k.to_string(),
                format_with_uncertainty(s.energy, s.standard_error),
                format_with_uncertainty(s.gap.energy, s.gap.standard_error),
                format!("{:.1e}", s.variance),
                exact,
                off,
            ];
            row(page, "td", &cells);
        }
        page.push_str("</table>\n");
    }
    if !summary.transitions.is_empty() {
        page.push_str("<table>\n");
        row(page, "th", &["transition", "dipole / bohr", "oscillator strength"].map(text));
        for t in &summary.transitions {
            let cells = [
                format!("{} → {}", t.from, t.to),
                format_with_uncertainty(t.dipole, t.dipole_error),
                format_significant(t.oscillator_strength, 4),
            ];
            row(page, "td", &cells);
        }
        page.push_str("</table>\n");
    }
    for t in summary.temperatures() {
        let _ = writeln!(page, "<h3>kT = {} Ha</h3>\n<table>", format_significant(t.kt, 6));
        row(page, "th", &["", "value", "exact", "deviation"].map(text));
        for (name, m) in thermal_rows(t) {
            let (exact, off) = match m.reference {
                Some(r) => (format!("{r:.10}"), format!("{:+.1e}", m.value - r)),
                None => (text("–"), text("–")),
            };
            row(page, "td", &[text(name), measured(m), exact, off]);
        }
        page.push_str("</table>\n<table>\n");
        row(page, "th", &["state", "energy of the base / Ha", "probability"].map(text));
        for (k, (energy, p)) in t.probabilities.iter().take(12).enumerate() {
            row(page, "td", &[k.to_string(), format!("{energy:.6}"), format_significant(*p, 4)]);
        }
        page.push_str("</table>\n<table>\n");
        row(page, "th", &["level of the potential", "occupation"].map(text));
        for (k, n) in t.occupations.iter().take(12).enumerate() {
            row(page, "td", &[k.to_string(), format_significant(*n, 4)]);
        }
        page.push_str("</table>\n");
    }
    if let Some(why) = &summary.no_reference {
        let _ = writeln!(page, "<p>No exact numbers: {}</p>", escape(why));
    }
}

fn levels(summary: &EnsembleSummary) -> (Figure, String) {
    let count = summary.states.len() as f64;
    let axis = Axis::linear("state").with_range(-1.0, count);
    let mut figure = Figure::new("levels", "Levels", axis, Axis::linear("energy / Ha"));
    for (k, s) in summary.states.iter().enumerate() {
        if let Some(r) = &s.reference {
            let ends = vec![(k as f64 - 0.4, r.energy), (k as f64 + 0.4, r.energy)];
            let line = Layer::line(ends, Colour::Vermillion);
            figure = figure.with(if k == 0 { line.named("exact") } else { line });
        }
    }
    let points = summary.states.iter().enumerate();
    let points = points.map(|(k, s)| (k as f64, s.energy, s.standard_error)).collect();
    let figure = figure.with(Layer::points(points, Colour::Blue).named("energies"));
    (figure, "Energies of the states, exact levels beside them.".to_owned())
}

/// The thermal functions over the temperature.
fn curves(sweep: &[Thermal]) -> Vec<(Figure, String)> {
    let figure = |which: usize, id: &str, name: &str, axis: &str| {
        let of = |t: &Thermal| *thermal_rows(t)[which].1;
        let exact: Vec<(f64, f64)> =
            sweep.iter().filter_map(|t| Some((t.kt, of(t).reference?))).collect();
        let found: Vec<(f64, f64, f64)> =
            sweep.iter().map(|t| (t.kt, of(t).value, of(t).standard_error)).collect();
        let figure = Figure::new(id, name, Axis::linear("kT / Ha"), Axis::linear(axis))
            .with(Layer::line(exact, Colour::Vermillion).named("exact"))
            .with(Layer::points(found, Colour::Blue).named("run"));
        (figure, format!("{name} over the temperature."))
    };
    vec![
        figure(0, "free-energy", "Free energy", "F / Ha"),
        figure(1, "energy", "Energy", "E / Ha"),
        figure(2, "entropy", "Entropy", "S / k"),
        figure(3, "heat-capacity", "Heat capacity", "C / k"),
    ]
}

fn density(densities: &Densities) -> (Figure, String) {
    let mut figure = Figure::new(
        "density",
        "One-body density",
        Axis::linear("x / bohr"),
        Axis::linear("n / bohr⁻¹"),
    );
    let colours = [Colour::Blue, Colour::Vermillion, Colour::Green, Colour::Purple, Colour::Ink];
    for (i, (name, values)) in densities.curves.iter().enumerate() {
        let middles = densities.edges.windows(2).map(|e| 0.5 * (e[0] + e[1]));
        let points = middles.zip(values.iter().copied()).collect();
        let line = Layer::line(points, colours[i % colours.len()]).named(name.replace('_', " "));
        figure = figure.with(if i >= colours.len() { line.dashed() } else { line });
    }
    (figure, "Densities from the final samples.".to_owned())
}

fn training(rows: &[IterationRow], summary: &EnsembleSummary) -> (Figure, String) {
    let what = if summary.thermal.is_some() { "local free energy" } else { "states, weighted" };
    let points = rows.iter().map(|r| (r.iteration as f64, r.variance)).collect();
    let figure = Figure::new(
        "variance",
        format!("Variance ({what})"),
        Axis::linear("iteration"),
        Axis::log("variance / Ha²"),
    )
    .with(Layer::line(points, Colour::Blue));
    (figure, "Variance before each step.".to_owned())
}
