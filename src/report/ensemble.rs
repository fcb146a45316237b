//! What a run of several states, or of a temperature, writes: `summary.json` and `report.html`.

use super::escape::escape;
use super::html::{head, put_figures};
use super::number::{format_significant, format_with_uncertainty};
use super::record::IterationRow;
use super::svg::{Axis, Colour, Figure, Layer};
use crate::estimate::{Check, Verdict};
use crate::work::Work;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// A number with its error bar.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The number.
    pub value: f64,
    /// Its standard error; zero where it is exact.
    pub standard_error: f64,
    /// The exact number, where it was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<f64>,
    /// How far that may be off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_error: Option<f64>,
}

/// The energy of a state above the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// In Hartree.
    pub energy: f64,
    /// Its standard error, from the samples that both states share.
    pub standard_error: f64,
}

/// An exact level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// In Hartree.
    pub energy: f64,
    /// How far it may be off.
    pub error_estimate: Option<f64>,
    /// Where it comes from.
    pub source: String,
    /// Energy of the run minus this one.
    pub deviation: f64,
}

/// One of several states.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateRow {
    /// Electronic energy, in Hartree.
    pub energy: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Variance, in Hartree².
    pub variance: f64,
    /// The exact energy, where it was computed.
    pub reference: Option<Level>,
    /// What it is above the lowest.
    pub gap: Gap,
}

/// A transition between two states.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// Number of the lower state, from 0.
    pub from: usize,
    /// Number of the higher one.
    pub to: usize,
    /// `|<from| sum x |to>|`, in bohr.
    pub dipole: f64,
    /// Its standard error.
    pub dipole_error: f64,
    /// `2 (E_to - E_from) dipole²`.
    pub oscillator_strength: f64,
}

/// The thermal functions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thermal {
    /// Temperature, in Hartree.
    #[serde(rename = "kT")]
    pub kt: f64,
    /// In Hartree.
    pub free_energy: Measured,
    /// In Hartree.
    pub energy: Measured,
    /// In units of k.
    pub entropy: Measured,
    /// In units of k.
    pub heat_capacity: Measured,
    /// Variance of the local free energy, in Hartree².
    pub variance: f64,
    /// `Var(F_L) / 2kT`: about what the free energy is too high by. A diagnostic and no bound.
    pub excess: f64,
    /// By what a smaller space of base states is higher, in Hartree.
    pub truncation: f64,
    /// The most probable states: energy of the base state in Hartree, and probability.
    pub probabilities: Vec<(f64, f64)>,
    /// Thermal occupations of the orbitals of the potential.
    pub occupations: Vec<f64>,
    /// Where the reference comes from.
    pub source: Option<String>,
}

/// `summary.json` of such a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnsembleSummary {
    /// `states` or `temperature`.
    pub ensemble: String,
    /// Title of the spec.
    pub title: String,
    /// Tells these states from others: that of the wavefunction file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Version of weylflow.
    pub version: String,
    /// The states.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<StateRow>,
    /// All transitions between them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transitions: Vec<Transition>,
    /// Permanent dipoles `<k| sum x |k>` with standard errors, in bohr.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dipoles: Vec<(f64, f64)>,
    /// The thermal functions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thermal: Option<Thermal>,
    /// The thermal functions at all temperatures of a sweep; [`Self::thermal`] is then that of the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sweep: Vec<Thermal>,
    /// Added to electronic energies in total ones, in Hartree.
    pub nuclear_repulsion: f64,
    /// Energies of the untrained base states, or its free energy, in Hartree.
    pub base: Vec<f64>,
    /// Orbitals of the base states.
    pub orbitals: usize,
    /// Final samples.
    pub samples: usize,
    /// Independent sets behind the error bars.
    pub sets: usize,
    /// Variational parameters.
    pub parameters: usize,
    /// Their values.
    pub values: Vec<f64>,
    /// Iterations done.
    pub iterations: usize,
    /// Why they were not more.
    pub stopped: crate::train::StopReason,
    /// Final samples left out.
    pub rejected_samples: usize,
    /// Samples of the training left out.
    pub rejected_in_training: usize,
    /// Why there is no reference, where one was asked for.
    pub no_reference: Option<String>,
    /// Wall time, in seconds.
    pub wall_seconds: f64,
    /// Processor time, in seconds.
    pub cpu_seconds: f64,
    /// Threads.
    pub threads: usize,
    /// Counts of work of training and estimate.
    pub work: Work,
    /// Seed.
    pub seed: u64,
    /// The judgement.
    pub verdict: Verdict,
    /// What it rests on.
    pub checks: Vec<Check>,
}

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

    /// All temperatures.
    pub fn temperatures(&self) -> &[Thermal] {
        if self.sweep.is_empty() { self.thermal.as_slice() } else { &self.sweep }
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

/// One-body densities by bins: a name, and a value for every bin.
#[derive(Clone, Debug, Default)]
pub struct Densities {
    /// Edges of the bins, in bohr.
    pub edges: Vec<f64>,
    /// Curves, in particles per bohr.
    pub curves: Vec<(String, Vec<f64>)>,
}

impl Densities {
    /// `density.csv`: a bin a row.
    pub fn to_csv(&self) -> String {
        let mut text = String::from("left,right");
        self.curves.iter().for_each(|c| {
            let _ = write!(text, ",{}", c.0);
        });
        text.push('\n');
        for (bin, edges) in self.edges.windows(2).enumerate() {
            let _ = write!(text, "{:?},{:?}", edges[0], edges[1]);
            for (_, values) in &self.curves {
                let _ = write!(text, ",{:?}", values[bin]);
            }
            text.push('\n');
        }
        text
    }
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
        page.push_str("</table>\n<table>\n");
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
