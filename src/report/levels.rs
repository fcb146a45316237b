//! A scan of several states, or of a temperature, as a table and a page: a row for every value and level, or for every value and
//! temperature.

use super::curve::{folder_link, map, verdicts, word};
use super::escape::escape;
use super::html::{head, put_figures};
use super::number::{format_difference, format_significant, format_with_uncertainty};
use super::svg::{Axis, Colour, Figure, Layer};
use crate::store::csv::{Table, digits, maybe};
use crate::store::ensemble::{EnsembleSummary, StateRow, Thermal};
use crate::store::scan::{PointResult, files};
use std::fmt::Write;

type Result = PointResult<EnsembleSummary>;

/// Columns of a level.
const STATES: [&str; 10] = [
    "state",
    "energy",
    "standard_error",
    "variance",
    "reference",
    "deviation",
    "gap",
    "gap_error",
    "nuclear_repulsion",
    "total_energy",
];
/// Columns of a temperature.
const THERMAL: [&str; 14] = [
    "kT",
    "free_energy",
    "free_energy_error",
    "reference_free_energy",
    "deviation",
    "energy",
    "energy_error",
    "reference_energy",
    "entropy",
    "reference_entropy",
    "heat_capacity",
    "heat_capacity_error",
    "reference_heat_capacity",
    "nuclear_repulsion",
];

fn of_temperature(results: &[Result]) -> bool {
    results.iter().filter_map(Result::measured).any(|m| m.thermal.is_some())
}

/// The table: energies in Hartree, entropies and heat capacities in units of k; empty where there is no such number. A point without a result has one
/// row. Without rounding: the same bits for any number of threads, but for the seconds.
pub fn to_csv(results: &[Result], parameters: &[&str]) -> String {
    let thermal = of_temperature(results);
    let columns: &[&str] = if thermal { &THERMAL } else { &STATES };
    let mut table = Table::new(parameters.iter().chain(columns).chain(&["verdict", "cpu_seconds"]));
    for result in results {
        let at: Vec<String> = result.point.values.iter().map(|(_, v)| digits(*v)).collect();
        let mut put = |own: Vec<String>, verdict: &str, seconds: String| {
            let cells = at.iter().chain(&own).map(String::as_str);
            table.row(cells.chain([verdict, seconds.as_str()]));
        };
        let Some(m) = result.measured() else {
            put(vec![String::new(); columns.len()], "failed", String::new());
            continue;
        };
        let (verdict, seconds) = (word(Some(m.verdict)), digits(m.cpu_seconds));
        for (k, s) in m.states.iter().enumerate() {
            let reference = s.reference.as_ref();
            let own = vec![
                k.to_string(),
                digits(s.energy),
                digits(s.standard_error),
                digits(s.variance),
                maybe(reference.map(|r| r.energy)),
                maybe(reference.map(|r| r.deviation)),
                digits(s.gap.energy),
                digits(s.gap.standard_error),
                digits(m.nuclear_repulsion),
                digits(s.energy + m.nuclear_repulsion),
            ];
            put(own, verdict, seconds.clone());
        }
        for t in m.temperatures() {
            let (f, e, c) = (&t.free_energy, &t.energy, &t.heat_capacity);
            let own = vec![
                digits(t.kt),
                digits(f.value),
                digits(f.standard_error),
                maybe(f.reference),
                maybe(f.reference.map(|r| f.value - r)),
                digits(e.value),
                digits(e.standard_error),
                maybe(e.reference),
                digits(t.entropy.value),
                maybe(t.entropy.reference),
                digits(c.value),
                digits(c.standard_error),
                maybe(c.reference),
                digits(m.nuclear_repulsion),
            ];
            put(own, verdict, seconds.clone());
        }
    }
    table.text()
}

/// The page about such a scan, beside its table and the folders of its points.
pub fn render(title: &str, results: &[Result], parameters: &[&str]) -> String {
    let mut page = head(title);
    // Writing to a String has no way to fail, here and below.
    let _ = writeln!(
        page,
        "<header>\n<h1>{}</h1>\n<p>{}.</p>\n</header>\n<h2>Figures</h2>\n<div class=\"figures\">",
        escape(title),
        escape(&verdicts(results))
    );
    let done: Vec<(&[(String, f64)], &EnsembleSummary)> =
        results.iter().filter_map(|r| Some((r.point.values.as_slice(), r.measured()?))).collect();
    let figures = match parameters {
        [name] if of_temperature(results) => thermal_figures(&done, name),
        [name] => level_figures(&done, name),
        [first, second, ..] => maps(&done, first, second),
        [] => Vec::new(),
    };
    put_figures(&mut page, figures);
    page.push_str("</div>\n");
    table(&mut page, results, parameters);
    let _ = write!(
        page,
        "<p class=\"cost\">All of this with full digits: <a href=\"{name}\">{name}</a></p>\n\
         <footer>weylflow {}. Energies in Hartree (ħ = m = 1). Error bars are one standard error; parentheses give it in the \
         last digits.</footer>\n</main>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION"),
        name = files::CURVE,
    );
    page
}

type Done<'a> = (&'a [(String, f64)], &'a EnsembleSummary);

const COLOURS: [Colour; 5] =
    [Colour::Blue, Colour::Green, Colour::Purple, Colour::Vermillion, Colour::Ink];

/// A quantity of one level or temperature: value, error bar, exact value.
type Number = (f64, f64, Option<f64>);

/// A figure with a curve for each of `names`, the exact ones as dashed lines.
fn curves(
    (id, title, name, axis): (&str, &str, &str, Axis),
    done: &[Done],
    names: &[String],
    of: &dyn Fn(&EnsembleSummary, usize) -> Option<Number>,
) -> Option<(Figure, String)> {
    let mut figure = Figure::new(id, title, Axis::linear(name), axis);
    let mut empty = true;
    let mut exact_is_named = false;
    for (k, words) in names.iter().enumerate() {
        let all = done.iter().filter_map(|(at, m)| Some((at[0].1, of(m, k)?)));
        let mut all: Vec<(f64, Number)> = all.collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let exact: Vec<(f64, f64)> =
            all.iter().filter_map(|(x, (_, _, exact))| Some((*x, (*exact)?))).collect();
        if !exact.is_empty() {
            let line = Layer::line(exact, Colour::Grey).dashed();
            figure = figure.with(if exact_is_named { line } else { line.named("exact") });
            exact_is_named = true;
        }
        let points: Vec<_> = all.iter().map(|(x, (y, error, _))| (*x, *y, *error)).collect();
        if !points.is_empty() {
            empty = false;
            let layer = Layer::points(points, COLOURS[k % COLOURS.len()]);
            figure = figure.with(layer.named(words.clone()));
        }
    }
    (!empty).then_some((figure, String::new()))
}

fn level_figures(done: &[Done], name: &str) -> Vec<(Figure, String)> {
    let count = done.iter().map(|(_, m)| m.states.len()).max().unwrap_or(0);
    let names: Vec<String> = (0..count).map(|k| format!("state {k}")).collect();
    let nuclei = done.iter().any(|(_, m)| m.nuclear_repulsion != 0.0);
    let what = if nuclei { "total energies" } else { "energies" };
    let exact = |s: &StateRow| s.reference.as_ref().map(|r| r.energy);
    let level = |m: &EnsembleSummary, k: usize| {
        let (s, r) = (m.states.get(k)?, m.nuclear_repulsion);
        Some((s.energy + r, s.standard_error, exact(s).map(|e| e + r)))
    };
    let gap = |m: &EnsembleSummary, k: usize| {
        let (s, lowest) = (m.states.get(k).filter(|_| k > 0)?, m.states.first()?);
        let between = exact(s).zip(exact(lowest)).map(|(a, b)| a - b);
        Some((s.gap.energy, s.gap.standard_error, between))
    };
    let off = |m: &EnsembleSummary, k: usize| {
        Some((m.states.get(k)?.reference.as_ref()?.deviation.abs(), 0.0, None))
    };
    let title = format!("The {what} of the states");
    [
        curves(("curve", &title, name, Axis::linear(format!("{what} (Ha)"))), done, &names, &level),
        curves(
            ("gaps", "Energies above the lowest", name, Axis::linear("gap (Ha)")),
            done,
            &names,
            &gap,
        ),
        curves(
            ("deviation", "Distance from the exact levels", name, Axis::log("|deviation| (Ha)")),
            done,
            &names,
            &off,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn thermal_figures(done: &[Done], name: &str) -> Vec<(Figure, String)> {
    let all = done.iter().map(|(_, m)| m.temperatures()).max_by_key(|t| t.len()).unwrap_or(&[]);
    let names: Vec<String> =
        all.iter().map(|t| format!("kT = {} Ha", format_significant(t.kt, 4))).collect();
    type Of = fn(&Thermal) -> crate::store::ensemble::Measured;
    let figure = |id: &str, title: &str, axis: &str, of: Of| {
        curves((id, title, name, Axis::linear(axis)), done, &names, &|m, k| {
            let found = of(m.temperatures().get(k)?);
            Some((found.value, found.standard_error, found.reference))
        })
    };
    [
        figure("free-energy", "Free energy", "F (Ha)", |t| t.free_energy),
        figure("energy", "Energy", "E (Ha)", |t| t.energy),
        figure("entropy", "Entropy", "S / k", |t| t.entropy),
        figure("heat-capacity", "Heat capacity", "C / k", |t| t.heat_capacity),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Maps over two parameters: of the lowest level and the gap above it, or of the free energy and the entropy.
fn maps(done: &[Done], first: &str, second: &str) -> Vec<(Figure, String)> {
    let of = |id: &str, title: &str, of: &dyn Fn(&EnsembleSummary) -> Option<f64>| {
        let found = done.iter().filter_map(|(at, m)| Some(([at[0].1, at[1].1], of(m)?)));
        map(&found.collect::<Vec<_>>(), [first, second], (id, title))
    };
    let level = |m: &EnsembleSummary| Some(m.states.first()?.energy + m.nuclear_repulsion);
    let gap = |m: &EnsembleSummary| Some(m.states.get(1)?.gap.energy);
    let free = |m: &EnsembleSummary| Some(m.thermal.as_ref()?.free_energy.value);
    let entropy = |m: &EnsembleSummary| Some(m.thermal.as_ref()?.entropy.value);
    [
        of("energy-map", "The lowest energy (Ha)", &level),
        of("gap-map", "The first excitation energy (Ha)", &gap),
        of("free-energy-map", "The free energy at the last temperature (Ha)", &free),
        of("entropy-map", "The entropy at the last temperature (k)", &entropy),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn table(page: &mut String, results: &[Result], parameters: &[&str]) {
    let thermal = of_temperature(results);
    let columns: &[&str] = match thermal {
        true => &["kT (Ha)", "F (Ha)", "E (Ha)", "S / k", "C / k", "F - exact (mHa)"],
        false => &["State", "Total energy (Ha)", "Gap (Ha)", "Variance (Ha²)", "Deviation (mHa)"],
    };
    page.push_str("<h2>Points</h2>\n<div class=\"scroll\"><table>\n<thead><tr>");
    for name in parameters.iter().chain(columns).chain(&["Verdict"]) {
        let _ = write!(page, "<th>{}</th>", escape(name));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    let bars = |value: f64, error: f64| match error > 0.0 {
        true => format_with_uncertainty(value, error),
        false => format_significant(value, 9),
    };
    for result in results {
        let mut put = |cells: &[String], verdict: &str| {
            page.push_str("<tr>");
            for (i, (_, value)) in result.point.values.iter().enumerate() {
                let _ = match (i, folder_link(result)) {
                    (0, Some(link)) => write!(page, "<td><a href=\"{link}\">{value}</a></td>"),
                    _ => write!(page, "<td>{value}</td>"),
                };
            }
            for cell in cells {
                let _ = write!(page, "<td>{}</td>", escape(cell));
            }
            let _ = writeln!(page, "<td>{}</td></tr>", escape(verdict));
        };
        let m = match &result.result {
            Ok(m) => m,
            Err(why) => {
                put(&vec![String::new(); columns.len()], &format!("failed: {why}"));
                continue;
            }
        };
        for (k, s) in m.states.iter().enumerate() {
            let off = s.reference.as_ref().map(|r| 1e3 * r.deviation);
            let cells = [
                k.to_string(),
                bars(s.energy + m.nuclear_repulsion, s.standard_error),
                bars(s.gap.energy, s.gap.standard_error),
                format_significant(s.variance, 3),
                off.map(|d| format_difference(d, 1e3 * s.standard_error)).unwrap_or_default(),
            ];
            put(&cells, word(Some(m.verdict)));
        }
        for t in m.temperatures() {
            let f = &t.free_energy;
            let off = f.reference.map(|r| 1e3 * (f.value - r));
            let cells = [
                format_significant(t.kt, 6),
                bars(f.value, f.standard_error),
                bars(t.energy.value, t.energy.standard_error),
                bars(t.entropy.value, t.entropy.standard_error),
                bars(t.heat_capacity.value, t.heat_capacity.standard_error),
                off.map(|d| format_difference(d, 1e3 * f.standard_error)).unwrap_or_default(),
            ];
            put(&cells, word(Some(m.verdict)));
        }
    }
    page.push_str("</tbody></table></div>\n");
}
