//! Several runs in one page and one table: which is the best, how fast did each get there, what did it cost.

use super::densities::{ExactCurve, SPINS, alike, exact_curves, populated, smooth, stairs};
use super::escape::escape;
use super::html::{head, put_figures};
use super::links::{encoded, relative};
use super::number::{
    format_duration, format_significant, format_with_uncertainty, unsigned_zero, with_plus,
};
use super::svg::{Axis, Colour, Figure, Layer};
use super::verdict;
use crate::store::csv::{Table, maybe};
use crate::store::files::names;
use crate::store::folder::RunFolder;
use crate::wavefunction::WavefunctionSettings;
use std::fmt::Write;
use std::path::Path;

const COLOURS: [Colour; 5] =
    [Colour::Blue, Colour::Vermillion, Colour::Green, Colour::Purple, Colour::Grey];

/// The comparison as an HTML document for the file `page`, with the table of [`to_csv`] in `table` beside it. The same
/// runs give the same bytes.
pub fn render(runs: &[RunFolder], file: &Path, table: &Path) -> String {
    let mut page = head("Comparison of runs");
    // Writing to a String has no way to fail, here and below.
    let _ = writeln!(
        page,
        "<header>\n<h1>Comparison of {} runs</h1>\n<p>{}</p>\n</header>",
        runs.len(),
        escape(&verdict_line(runs))
    );
    let _ = writeln!(page, "<h2>Runs</h2>");
    tables(&mut page, runs, file);
    if let Some(name) = table.file_name() {
        let name = name.to_string_lossy();
        let _ = writeln!(
            page,
            "<p class=\"cost\">All of this and more with full digits: <a href=\"{}\">{}</a></p>",
            encoded(&name),
            escape(&name)
        );
    }
    let _ = writeln!(page, "<h2>Figures</h2>\n<div class=\"figures\">");
    put_figures(&mut page, figures(runs));
    page.push_str("</div>\n");
    let _ = write!(
        page,
        "<footer>weylflow {}. Energies in Hartree (ħ = m = 1). Electronic energies are without the repulsion of the \
         nuclei, total energies with it. Error bars are one standard error; parentheses give it in the last \
         digits.</footer>\n</main>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    );
    page
}

/// Deviation from the exact energy, in mHa.
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
        Some((run, _)) => format!(
            "Closest to its exact energy: {}, {} mHa off.",
            run.name,
            verdict::milli_hartree(&run.summary).unwrap_or_default()
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

/// A column: its heading and the cell of a run.
type Column<'a> = (&'a str, &'a dyn Fn(&RunFolder) -> String);

/// Three tables instead of one that no screen is wide enough for.
fn tables(page: &mut String, runs: &[RunFolder], file: &Path) {
    let error = |r: &RunFolder| verdict::shown_error(&r.summary);
    let electronic = |r: &RunFolder| format_with_uncertainty(r.summary.energy, error(r));
    let total = |r: &RunFolder| format_with_uncertainty(r.summary.total_energy, error(r));
    let exact = |r: &RunFolder| {
        let exact = r.summary.reference.as_ref().map(|x| x.energy + r.summary.nuclear_repulsion);
        exact.map(|e| format!("{e:.8}")).unwrap_or_default()
    };
    let off = |r: &RunFolder| verdict::milli_hartree(&r.summary).unwrap_or_default();
    let bars = |r: &RunFolder| {
        let bars = verdict::error_bars(&r.summary);
        bars.map(|b| with_plus(unsigned_zero(format!("{b:.1}")))).unwrap_or_default()
    };
    let variance = |r: &RunFolder| format_significant(r.summary.variance, 3);
    let nuclei = runs.iter().any(|r| r.summary.nuclear_repulsion != 0.0);
    let mut columns: Vec<Column> =
        vec![(if nuclei { "Electronic energy (Ha)" } else { "Energy (Ha)" }, &electronic)];
    if nuclei {
        columns.push(("Total energy (Ha)", &total));
    }
    columns.extend([
        (if nuclei { "Exact total energy (Ha)" } else { "Exact energy (Ha)" }, &exact as _),
        ("Deviation (mHa)", &off as _),
        ("Error bars", &bars as _),
        ("Variance (Ha²)", &variance as _),
    ]);
    put(page, "Energies, with the standard error in parentheses.", &columns, runs, file);

    let title = |r: &RunFolder| r.summary.title.clone();
    let converged = |r: &RunFolder| verdict::convergence(&r.rows, &r.summary).headline;
    let checks = |r: &RunFolder| {
        let failed = verdict::checks(&r.summary, &r.rows).into_iter().find(|c| !c.passed);
        failed.map_or_else(|| "Good".into(), |c| c.headline)
    };
    let infidelity = |r: &RunFolder| {
        let q = r.observables.as_ref().and_then(|o| o.quantity("infidelity"));
        let found = q.and_then(|q| Some((q.scalar()?, q)));
        found.map(|((v, e), q)| format_with_uncertainty(v, q.shown_error(e))).unwrap_or_default()
    };
    let mut columns: Vec<Column> =
        vec![("Title", &title), ("Convergence", &converged), ("Checks", &checks)];
    if runs.iter().any(|r| self::infidelity(r).is_some()) {
        columns.push(("Infidelity", &infidelity));
    }
    put(page, "Checks.", &columns, runs, file);

    let wavefunction = |r: &RunFolder| wavefunction(r).to_owned();
    let optimiser = |r: &RunFolder| optimiser(r).to_owned();
    let parameters = |r: &RunFolder| r.summary.parameters.to_string();
    let iterations = |r: &RunFolder| r.summary.iterations.to_string();
    let samples = |r: &RunFolder| r.summary.samples.to_string();
    let wall = |r: &RunFolder| format_duration(r.summary.wall_seconds);
    let processor = |r: &RunFolder| format_duration(r.summary.cpu_seconds);
    let columns: [Column; 7] = [
        ("Wavefunction", &wavefunction),
        ("Optimiser", &optimiser),
        ("Parameters", &parameters),
        ("Iterations", &iterations),
        ("Final samples", &samples),
        ("Wall time", &wall),
        ("Processor time", &processor),
    ];
    put(page, "Settings and cost.", &columns, runs, file);
}

fn put(page: &mut String, caption: &str, columns: &[Column], runs: &[RunFolder], file: &Path) {
    let numeric = |cell: &str| cell.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c));
    let _ = write!(
        page,
        "<div class=\"scroll\"><table class=\"runs\">\n<caption>{caption}</caption>\n\
         <thead><tr><th scope=\"col\">Run</th>"
    );
    for (name, cell) in columns {
        let class = if runs.iter().any(|r| numeric(&cell(r))) { " class=\"number\"" } else { "" };
        let _ = write!(page, "<th scope=\"col\"{class}>{name}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for run in runs {
        let name = escape(&run.name);
        let _ = match relative(file, &run.path) {
            Some(base) => write!(
                page,
                "<tr><th scope=\"row\"><a href=\"{}{}\">{name}</a></th>",
                escape(&base),
                names::REPORT
            ),
            None => write!(page, "<tr><th scope=\"row\">{name}</th>"),
        };
        for (name, cell) in columns {
            let cell = cell(run);
            let class = if numeric(&cell) { " class=\"number\"" } else { "" };
            // Where the window is too narrow for columns, the cells tell their names.
            let _ = write!(page, "<td data-name=\"{name}\"{class}>{}</td>", escape(&cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n");
}

fn wavefunction(run: &RunFolder) -> &'static str {
    match run.spec.0.wavefunction {
        WavefunctionSettings::Waveflow(_) => "Waveflow",
        WavefunctionSettings::Weyl(_) => "Weyl",
        WavefunctionSettings::SectorBase(_) => "SectorBase",
    }
}

fn optimiser(run: &RunFolder) -> &'static str {
    run.spec.0.optimiser.settings().name()
}

fn infidelity(run: &RunFolder) -> Option<(f64, f64)> {
    run.observables.as_ref()?.scalar("infidelity")
}

/// The comparison as a table for programs: a run a row, energies in Hartree, full digits, nothing where nothing is known.
pub fn to_csv(runs: &[RunFolder]) -> String {
    let number = |x: f64| maybe(x.is_finite().then_some(x));
    let optional = |x: Option<f64>| x.map(number).unwrap_or_default();
    let mut table: Option<Table> = None;
    for run in runs {
        let s = &run.summary;
        let reference = s.reference.as_ref();
        let exact = reference.map(|r| r.energy);
        let infidelity = infidelity(run);
        let cells: [(&str, String); 31] = [
            ("run", run.name.clone()),
            ("title", s.title.clone()),
            ("up", run.spec.0.sector.up.to_string()),
            ("down", (run.spec.0.sector.particles() - run.spec.0.sector.up).to_string()),
            ("electronic_energy", number(s.energy)),
            ("standard_error", number(s.standard_error)),
            ("nuclear_repulsion", number(s.nuclear_repulsion)),
            ("total_energy", number(s.total_energy)),
            ("exact_electronic_energy", optional(exact)),
            ("exact_total_energy", optional(exact.map(|e| e + s.nuclear_repulsion))),
            ("exact_error_estimate", optional(reference.and_then(|r| r.error_estimate))),
            ("exact_source", reference.map(|r| r.source.clone()).unwrap_or_default()),
            ("deviation", optional(reference.map(|r| r.deviation))),
            ("deviation_in_error_bars", optional(verdict::error_bars(s))),
            ("variance", number(s.variance)),
            ("v_score", number(s.v_score)),
            ("quadrature_energy", optional(s.health.quadrature.as_ref().map(|q| q.energy))),
            ("infidelity", optional(infidelity.map(|i| i.0))),
            ("infidelity_error", optional(infidelity.map(|i| i.1))),
            ("convergence", verdict::convergence(&run.rows, s).headline),
            ("wavefunction", wavefunction(run).into()),
            ("optimiser", optimiser(run).into()),
            ("parameters", s.parameters.to_string()),
            ("iterations", s.iterations.to_string()),
            ("final_samples", s.samples.to_string()),
            ("wall_seconds", number(s.wall_seconds)),
            ("processor_seconds", number(s.cpu_seconds)),
            ("threads", s.threads.to_string()),
            ("processes", s.processes.to_string()),
            ("seed", s.seed.to_string()),
            ("version", s.version.clone()),
        ];
        let (columns, fields): (Vec<&str>, Vec<String>) = cells.into_iter().unzip();
        table.get_or_insert_with(|| Table::new(columns)).row(fields);
    }
    table.map(Table::text).unwrap_or_default()
}

/// Colour of the curve of a run, and whether it is dashed: colours repeat dashed.
fn look(index: usize) -> (Colour, bool) {
    (COLOURS[index % COLOURS.len()], index / COLOURS.len() % 2 == 1)
}

/// A curve for each run.
fn curves(
    mut figure: Figure,
    runs: &[RunFolder],
    f: impl Fn(&RunFolder) -> Vec<(f64, f64)>,
) -> Figure {
    for (i, run) in runs.iter().enumerate() {
        let points = f(run);
        if points.is_empty() {
            continue;
        }
        let (colour, dashed) = look(i);
        let layer = Layer::line(points, colour).named(run.name.clone());
        figure = figure.with(if dashed { layer.dashed() } else { layer });
    }
    figure
}

/// The density of one spin in all runs, over the exact ones; none where no run has particles of that spin.
fn density(runs: &[RunFolder], down: bool) -> Option<(Figure, String)> {
    let (spin, words, _) = SPINS[usize::from(down)];
    let sampled = |run: &RunFolder| -> Vec<(f64, f64)> {
        match smooth(run.observables.as_ref(), spin) {
            Some(q) => q.axes[0].points.iter().copied().zip(q.values.iter().copied()).collect(),
            None => {
                let density = &run.density;
                stairs(&density.edges, if down { &density.down } else { &density.up })
            }
        }
    };
    let all: Vec<Vec<(f64, f64)>> = runs.iter().map(sampled).collect();
    let (low, high) = populated(all.iter().map(Vec::as_slice))?;
    let mut exact: Vec<ExactCurve> = vec![];
    for run in runs {
        let Some(density) = &run.reference_density else { continue };
        for curve in exact_curves(density, &run.spec.0.sector) {
            let values = |c: &ExactCurve| c.points.iter().map(|p| p.1).collect::<Vec<_>>();
            let same = |other: &ExactCurve| {
                let ends =
                    |c: &ExactCurve| (c.points.first().map(|p| p.0), c.points.last().map(|p| p.0));
                ends(other) == ends(&curve) && alike(&values(other), &values(&curve))
            };
            let belongs = curve.down == down || curve.spins == "either spin";
            if belongs && !exact.iter().any(same) {
                exact.push(curve);
            }
        }
    }
    let title = format!("One-body density, {words}");
    let x = Axis::linear("x (bohr)").with_range(low, high);
    let figure = Figure::new(format!("density-{spin}"), title, x, Axis::linear("density (1/bohr)"));
    let mut figure = curves(figure, runs, sampled);
    // Each lies on the curves of its runs: names of their own would tell nothing.
    for (i, curve) in exact.into_iter().enumerate() {
        let layer = Layer::line(curve.points, Colour::Ink).dashed();
        figure = figure.with(if i == 0 { layer.named("exact") } else { layer });
    }
    let caption = "Curves: from the density matrix (weylflow measure); steps: means over bins, of runs that were not \
                   measured.";
    Some((figure, caption.into()))
}

fn figures(runs: &[RunFolder]) -> Vec<(Figure, String)> {
    // The energy a run is compared with; without a reference its own final one.
    let target =
        |run: &RunFolder| run.summary.reference.as_ref().map_or(run.summary.energy, |r| r.energy);
    let known = runs.iter().all(|r| r.summary.reference.is_some());
    let label = if known { "|E − E₀| (mHa)" } else { "|E − E₀ or final E| (mHa)" };
    let over = |time: bool| {
        move |run: &RunFolder| -> Vec<(f64, f64)> {
            let x = |r: &crate::store::record::IterationRow| {
                if time { r.seconds } else { r.iteration as f64 }
            };
            run.rows.iter().map(|r| (x(r), 1e3 * (r.energy - target(run)).abs())).collect()
        }
    };
    // As in the report of a run: also where there is only one.
    let most = runs.iter().flat_map(|r| &r.rows).map(|r| r.iteration + 1).max().unwrap_or(1);
    let iterations = || Axis::linear("iteration").with_range(0.0, most as f64);
    let deviation_over_iterations = curves(
        Figure::new(
            "deviation-iterations",
            "Deviation over iterations",
            iterations(),
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
            iterations(),
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
        cost = cost.with(Layer::points(vec![point], look(i).0).named(run.name.clone()));
    }
    let noise = "Of the samples of one iteration: below their error it is noise.".to_owned();
    let mut all: Vec<_> =
        [false, true].into_iter().filter_map(|down| density(runs, down)).collect();
    all.extend([
        (deviation_over_iterations, noise.clone()),
        (deviation_over_time, noise),
        (variance, "It vanishes for an exact eigenstate.".into()),
        (cost, "Of the final estimate. Bars are one standard error.".into()),
    ]);
    all
}

#[cfg(test)]
mod tests;
