//! Several runs in one page: which is the best, how fast did each get there, what did it cost.

use super::escape::escape;
use super::folder::RunFolder;
use super::html::{head, put_figures};
use super::number::{format_duration, format_significant, format_with_uncertainty};
use super::svg::{Axis, Colour, Figure, Layer};
use super::verdict;
use crate::wavefunction::WavefunctionSettings;
use std::fmt::Write;

const COLOURS: [Colour; 5] =
    [Colour::Blue, Colour::Vermillion, Colour::Green, Colour::Purple, Colour::Grey];

/// The comparison as an HTML document. The same runs give the same bytes.
pub fn render(runs: &[RunFolder]) -> String {
    let mut page = head("Comparison of runs");
    // Writing to a String has no way to fail, here and below.
    let _ = writeln!(
        page,
        "<header>\n<h1>Comparison of {} runs</h1>\n<p>{}</p>\n</header>",
        runs.len(),
        escape(&verdict_line(runs))
    );
    let _ = writeln!(page, "<h2>Runs</h2>");
    table(&mut page, runs);
    let _ = writeln!(page, "<h2>Figures</h2>\n<div class=\"figures\">");
    put_figures(&mut page, figures(runs));
    page.push_str("</div>\n");
    let _ = write!(
        page,
        "<footer>weylflow {}. Energies in Hartree (ħ = m = 1), electronic: without the repulsion of the nuclei. \
         Error bars are one standard error; parentheses give it in the last digits.</footer>\n\
         </main>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    );
    page
}

/// One number for a run, smaller is better: how far from exact, or the variance where nothing exact is known.
fn deviation(run: &RunFolder) -> Option<f64> {
    let reference = run.summary.reference.as_ref()?;
    Some(1e3 * reference.deviation).filter(|d| d.is_finite())
}

/// What a reader wants to know first.
fn verdict_line(runs: &[RunFolder]) -> String {
    let best = runs
        .iter()
        .filter_map(|r| Some((r, deviation(r)?)))
        .min_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
    match best {
        Some((run, deviation)) => format!(
            "Closest to its exact energy: {}, {} mHa off.",
            run.name,
            format_with_uncertainty(deviation, 1e3 * run.summary.standard_error)
        ),
        None => {
            match runs.iter().min_by(|a, b| a.summary.variance.total_cmp(&b.summary.variance)) {
                Some(run) => format!(
                    "No exact energies are known. Smallest variance: {}, {} Ha².",
                    run.name,
                    format_significant(run.summary.variance, 3)
                ),
                None => String::new(),
            }
        }
    }
}

fn table(page: &mut String, runs: &[RunFolder]) {
    page.push_str("<div class=\"scroll\"><table>\n<thead><tr>");
    for name in [
        "Run",
        "Energy (Ha)",
        "Deviation (mHa)",
        "Error bars",
        "Variance (Ha²)",
        "Infidelity",
        "Time",
        "Converged",
        "Checks",
        "Parameters",
        "Iterations",
        "Samples",
        "Wavefunction",
        "Optimiser",
        "Title",
    ] {
        let _ = write!(page, "<th>{name}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for run in runs {
        let s = &run.summary;
        let error = s.standard_error;
        let spec = &run.spec.0;
        let failed = verdict::checks(s, &run.rows).into_iter().find(|c| !c.passed);
        let cells = [
            format_with_uncertainty(s.energy, error),
            deviation(run).map(|d| format_with_uncertainty(d, 1e3 * error)).unwrap_or_default(),
            verdict::error_bars(s).map(|b| format!("{b:+.1}")).unwrap_or_default(),
            format_significant(s.variance, 3),
            run.observables
                .as_ref()
                .and_then(|o| o.scalar("infidelity"))
                .map(|(v, e)| format_with_uncertainty(v, e))
                .unwrap_or_default(),
            format_duration(s.wall_seconds),
            verdict::convergence(&run.rows, s).headline,
            failed.map_or_else(|| "Good".into(), |c| c.headline),
            s.parameters.to_string(),
            s.iterations.to_string(),
            s.samples.to_string(),
            wavefunction(&spec.wavefunction).into(),
            spec.optimiser.settings().name().into(),
            s.title.clone(),
        ];
        let _ = write!(page, "<tr><th>{}</th>", escape(&run.name));
        for cell in cells {
            let number = cell.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c));
            let class = if number { "number" } else { "words" };
            let _ = write!(page, "<td class=\"{class}\">{}</td>", escape(&cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n");
}

fn wavefunction(settings: &WavefunctionSettings) -> &'static str {
    match settings {
        WavefunctionSettings::Waveflow(_) => "Waveflow",
        WavefunctionSettings::Weyl(_) => "Weyl",
    }
}

/// A curve for each run, in colours that repeat dashed.
fn curves(
    mut figure: Figure,
    runs: &[RunFolder],
    f: impl Fn(&RunFolder) -> Vec<(f64, f64)>,
) -> Figure {
    for (i, run) in runs.iter().enumerate() {
        let layer = Layer::line(f(run), COLOURS[i % COLOURS.len()]).named(run.name.clone());
        figure = figure.with(if i / COLOURS.len() % 2 == 1 { layer.dashed() } else { layer });
    }
    figure
}

fn figures(runs: &[RunFolder]) -> Vec<(Figure, String)> {
    // The energy a run is compared with; without a reference its own final one.
    let target =
        |run: &RunFolder| run.summary.reference.as_ref().map_or(run.summary.energy, |r| r.energy);
    let known = runs.iter().all(|r| r.summary.reference.is_some());
    let label = if known { "|E − E₀| (mHa)" } else { "|E − E₀ or final E| (mHa)" };
    let over = |time: bool| {
        move |run: &RunFolder| -> Vec<(f64, f64)> {
            let x = |r: &super::record::IterationRow| {
                if time { r.seconds } else { r.iteration as f64 }
            };
            run.rows.iter().map(|r| (x(r), 1e3 * (r.energy - target(run)).abs())).collect()
        }
    };
    let deviation_over_iterations = curves(
        Figure::new(
            "deviation-iterations",
            "Deviation over iterations",
            Axis::linear("iteration"),
            Axis::log(label),
        ),
        runs,
        over(false),
    );
    let deviation_over_time = curves(
        Figure::new(
            "deviation-seconds",
            "Deviation over time",
            Axis::log("wall time (s)"),
            Axis::log(label),
        ),
        runs,
        over(true),
    );
    let variance = curves(
        Figure::new(
            "variance-iterations",
            "Variance of the local energy",
            Axis::linear("iteration"),
            Axis::log("variance (Ha²)"),
        ),
        runs,
        |run| run.rows.iter().map(|r| (r.iteration as f64, r.variance)).collect(),
    );
    let mut cost = Figure::new(
        "parameters-error",
        "Parameters against error",
        Axis::linear("parameters"),
        Axis::log(label),
    );
    let most = runs.iter().map(|r| r.summary.parameters).max().unwrap_or(1) as f64;
    cost.x = cost.x.with_range(0.0, 1.1 * most);
    for (i, run) in runs.iter().enumerate() {
        let s = &run.summary;
        let point =
            (s.parameters as f64, 1e3 * (s.energy - target(run)).abs(), 1e3 * s.standard_error);
        let colour = COLOURS[i % COLOURS.len()];
        cost = cost.with(Layer::points(vec![point], colour).named(run.name.clone()));
    }
    let noise = "Of the samples of one iteration: below their error it is noise.".to_owned();
    vec![
        (deviation_over_iterations, noise.clone()),
        (deviation_over_time, noise),
        (variance, "It vanishes for an exact eigenstate.".into()),
        (cost, "Of the final estimate. Bars are one standard error.".into()),
    ]
}
