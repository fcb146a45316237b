//! A scan as a table and a page: the curve, how far it is off, its slope, and the densities along it.

use super::escape::escape;
use super::html::{head, put_figures};
use super::links::encoded;
use super::number::{
    format_difference, format_duration, format_significant, format_with_uncertainty,
};
use super::svg::{Axis, Colour, Figure, Layer};
use crate::estimate::Verdict;
use crate::store::csv::{Table, digits, maybe};
use crate::store::record::DensityProfile;
use crate::store::scan::{Judged, Measured, PointResult, files};
use std::fmt::Write;

/// The table: a row a point with its values, energies in Hartree, slopes in Hartree per unit of the parameter; empty where there
/// is no such number. Without parentheses or rounding: the same bits for any number of threads, but for the seconds.
pub fn to_csv(results: &[PointResult], parameters: &[&str]) -> String {
    let single = parameters.len() == 1;
    let slope_names = |name: &str| match single {
        true => ["derivative", "derivative_error", "total_derivative", "reference_derivative"]
            .map(str::to_owned),
        false => [
            format!("derivative_{name}"),
            format!("derivative_{name}_error"),
            format!("total_derivative_{name}"),
            format!("reference_derivative_{name}"),
        ],
    };
    let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let mut columns = owned(parameters);
    columns.extend(owned(&["energy", "standard_error", "variance", "reference", "deviation"]));
    columns.extend(parameters.iter().flat_map(|name| slope_names(name)));
    columns.extend(owned(&[
        "nuclear_repulsion",
        "total_energy",
        "trained",
        "verdict",
        "cpu_seconds",
    ]));
    let mut table = Table::new(columns);
    for result in results {
        let mut cells: Vec<String> = result.point.values.iter().map(|(_, v)| digits(*v)).collect();
        let measured = result.measured();
        let summary = measured.map(|m| &m.summary);
        let reference = summary.and_then(|s| s.reference.as_ref());
        cells.extend([
            maybe(summary.map(|s| s.energy)),
            maybe(summary.map(|s| s.standard_error)),
            maybe(summary.map(|s| s.variance)),
            maybe(reference.map(|r| r.energy)),
            maybe(reference.map(|r| r.deviation)),
        ]);
        for i in 0..parameters.len() {
            let slope = measured.and_then(|m| *m.slopes.get(i)?);
            cells.push(maybe(slope.map(|s| s.electronic)));
            cells.push(maybe(slope.map(|s| s.standard_error)));
            cells.push(maybe(slope.map(|s| s.electronic + s.repulsion)));
            cells.push(maybe(slope.and_then(|s| s.exact)));
        }
        cells.extend([
            maybe(summary.map(|s| s.nuclear_repulsion)),
            maybe(summary.map(|s| s.total_energy)),
            measured.map_or("", |m| if m.trained { "yes" } else { "no" }).to_owned(),
            summary.map_or("failed", |s| word(s.verdict)).to_owned(),
            maybe(summary.map(|s| s.cpu_seconds)),
        ]);
        table.row(cells);
    }
    table.text()
}

pub(super) fn word(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Good) => "good",
        Some(Verdict::Doubtful) => "doubtful",
        Some(Verdict::Refused) => "refused",
        None => "",
    }
}

/// Where a curve has its minimum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Minimum {
    /// The parameter.
    pub at: f64,
    /// The total energy there, in Hartree.
    pub energy: f64,
    /// Second derivative, in Hartree per unit of the parameter squared.
    pub force_constant: f64,
}

/// The polynomial through some points, about the first of them, by Newton's divided differences.
struct Polynomial {
    nodes: Vec<f64>,
    coefficients: Vec<f64>,
}

impl Polynomial {
    fn through(points: &[(f64, f64)]) -> Self {
        let nodes: Vec<f64> = points.iter().map(|p| p.0).collect();
        let mut c: Vec<f64> = points.iter().map(|p| p.1).collect();
        for order in 1..c.len() {
            for i in (order..c.len()).rev() {
                c[i] = (c[i] - c[i - 1]) / (nodes[i] - nodes[i - order]);
            }
        }
        Polynomial { nodes, coefficients: c }
    }

    /// Value and the first two derivatives.
    fn at(&self, x: f64) -> [f64; 3] {
        let mut y = [0.0; 3];
        for (c, node) in self.coefficients.iter().zip(&self.nodes).rev() {
            let u = x - node;
            y = [y[0] * u + c, y[1] * u + y[0], y[2] * u + 2.0 * y[1]];
        }
        y
    }
}

/// Points that a local polynomial goes through.
const LOCAL: usize = 5;

/// The polynomial through the points about number `i` of points that ascend.
fn local(points: &[(f64, f64)], i: usize) -> Polynomial {
    let count = LOCAL.min(points.len());
    let first = i.saturating_sub(count / 2).min(points.len() - count);
    Polynomial::through(&points[first..first + count])
}

/// The minimum of a curve inside its ends, by the polynomial of fourth degree through the five points about the lowest.
pub fn minimum(points: &[(f64, f64)]) -> Option<Minimum> {
    let mut points = points.to_vec();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let lowest = (0..points.len()).min_by(|&a, &b| points[a].1.total_cmp(&points[b].1))?;
    if lowest == 0 || lowest + 1 >= points.len() {
        return None;
    }
    let polynomial = local(&points, lowest);
    // The slope changes sign between the neighbours, or there is no minimum.
    let (mut low, mut high) = (points[lowest - 1].0, points[lowest + 1].0);
    if !(polynomial.at(low)[1] < 0.0 && polynomial.at(high)[1] > 0.0) {
        return None;
    }
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if polynomial.at(middle)[1] < 0.0 { low = middle } else { high = middle }
    }
    let at = 0.5 * (low + high);
    let [energy, _, force_constant] = polynomial.at(at);
    (force_constant > 0.0).then_some(Minimum { at, energy, force_constant })
}

/// The page about a scan, beside its table and the folders of its points. `densities` are those of the points, where they are
/// there; `training` says what was trained for all points together, if anything was.
pub fn render(
    title: &str,
    results: &[PointResult],
    parameters: &[&str],
    densities: &[Option<DensityProfile>],
    training: Option<&str>,
) -> String {
    let mut page = head(title);
    // Writing to a String has no way to fail, here and below.
    let _ = writeln!(
        page,
        "<header>\n<h1>{}</h1>\n<p>{}</p>\n</header>",
        escape(title),
        escape(&headline(results))
    );
    if let Some(words) = training {
        let _ = writeln!(page, "<p>{}.</p>", escape(words));
    }
    let done: Vec<(&PointResult, &Measured)> =
        results.iter().filter_map(|r| Some((r, r.measured()?))).collect();
    let _ = writeln!(page, "<h2>Figures</h2>\n<div class=\"figures\">");
    let figures = match parameters {
        [name] => curve_figures(&done, name, results, densities),
        [first, second, ..] => map_figures(&done, first, second),
        [] => Vec::new(),
    };
    put_figures(&mut page, figures);
    page.push_str("</div>\n");
    if let [name] = parameters
        && let Some(found) = minimum(&energies(&done))
    {
        let _ = writeln!(
            page,
            "<p>The total energy is lowest at {name} = {}: {} Ha, with a force constant of {} Ha per unit of {name} squared (by \
             the polynomial of fourth degree through the five points about it).</p>",
            format_significant(found.at, 5),
            format_significant(found.energy, 9),
            format_significant(found.force_constant, 4),
            name = escape(name),
        );
    }
    table(&mut page, results, parameters);
    let _ = write!(
        page,
        "<p class=\"cost\">All of this with full digits: <a href=\"{name}\">{name}</a></p>\n\
         <footer>weylflow {}. Energies in Hartree (ħ = m = 1). Error bars are one standard error; parentheses give it in the \
         last digits. Slopes are Hellmann and Feynman's: for a state that is not exact they are off in the first order of its \
         error, and their error bars hold that of the samples and what a step towards the exact state would change.</footer>\n</main>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION"),
        name = files::CURVE,
    );
    page
}

/// How many points there are, and of what kind.
pub(super) fn verdicts<M: Judged>(results: &[PointResult<M>]) -> String {
    let of = |verdict| {
        let is = |r: &&PointResult<M>| r.measured().is_some_and(|m| m.verdict() == Some(verdict));
        results.iter().filter(is).count()
    };
    let failed = results.iter().filter(|r| r.result.is_err()).count();
    let mut text = format!("{} points, {} of them good", results.len(), of(Verdict::Good));
    for (count, word) in
        [(of(Verdict::Doubtful), "doubtful"), (of(Verdict::Refused), "refused"), (failed, "failed")]
    {
        if count > 0 {
            text += &format!(", {count} {word}");
        }
    }
    text
}

/// What a reader wants to know first.
fn headline(results: &[PointResult]) -> String {
    let text = verdicts(results);
    let deviations = results.iter().filter_map(|r| r.measured()?.summary.reference.as_ref());
    let largest = deviations
        .map(|r| r.deviation.abs())
        .fold(None, |m: Option<f64>, d| Some(m.map_or(d, |m| m.max(d))));
    match largest {
        Some(d) => {
            text + &format!(
                ". Largest deviation from the exact energy: {} Ha.",
                format_significant(d, 2)
            )
        }
        None => text + ".",
    }
}

/// Value of the only parameter and total energy, ascending.
fn energies(done: &[(&PointResult, &Measured)]) -> Vec<(f64, f64)> {
    let mut all: Vec<(f64, f64)> =
        done.iter().map(|(r, m)| (r.point.values[0].1, m.summary.total_energy)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all
}

fn curve_figures(
    done: &[(&PointResult, &Measured)],
    name: &str,
    results: &[PointResult],
    densities: &[Option<DensityProfile>],
) -> Vec<(Figure, String)> {
    let value = |r: &PointResult| r.point.values[0].1;
    let nuclei = done.iter().any(|(_, m)| m.summary.nuclear_repulsion != 0.0);
    let what = if nuclei { "total energy" } else { "energy" };
    let mut exact: Vec<(f64, f64)> = done
        .iter()
        .filter_map(|(r, m)| {
            let reference = m.summary.reference.as_ref()?;
            Some((value(r), reference.energy + m.summary.nuclear_repulsion))
        })
        .collect();
    exact.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut curve = Figure::new(
        "curve",
        format!("The {what}"),
        Axis::linear(name),
        Axis::linear(format!("{what} (Ha)")),
    );
    if !exact.is_empty() {
        curve = curve.with(Layer::line(exact, Colour::Vermillion).dashed().named("exact"));
    }
    let energy = |m: &Measured| Some((m.summary.total_energy, m.summary.standard_error));
    for layer in marked(done, "this scan", &energy) {
        curve = curve.with(layer);
    }
    let mut figures = vec![(curve, String::new())];

    let off = |m: &Measured| Some((m.summary.reference.as_ref()?.deviation.abs(), 0.0));
    let off = marked(done, "|deviation|", &off);
    if !off.is_empty() {
        let mut bars: Vec<(f64, f64)> =
            done.iter().map(|(r, m)| (value(r), m.summary.standard_error)).collect();
        bars.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut figure = Figure::new(
            "deviation",
            "Distance from the exact energy",
            Axis::linear(name),
            Axis::log("|deviation| (Ha)"),
        )
        .with(Layer::line(bars, Colour::Grey).dashed().named("standard error"));
        for layer in off {
            figure = figure.with(layer);
        }
        figures.push((figure, String::new()));
    }

    let slopes: Vec<(f64, f64, f64)> = done
        .iter()
        .filter_map(|(r, m)| {
            let slope = (*m.slopes.first()?)?;
            Some((value(r), slope.electronic + slope.repulsion, slope.standard_error))
        })
        .collect();
    if !slopes.is_empty() {
        let all = energies(done);
        let mut figure = Figure::new(
            "slope",
            format!("The slope of the {what}"),
            Axis::linear(name),
            Axis::linear(format!("dE/d{name} (Ha)")),
        );
        if all.len() >= 3 {
            let along =
                (0..all.len()).map(|i| (all[i].0, local(&all, i).at(all[i].0)[1])).collect();
            figure = figure
                .with(Layer::line(along, Colour::Vermillion).dashed().named("slope of the curve"));
        }
        let mut exact: Vec<(f64, f64)> = done
            .iter()
            .filter_map(|(r, m)| {
                let slope = (*m.slopes.first()?)?;
                Some((value(r), slope.exact? + slope.repulsion))
            })
            .collect();
        exact.sort_by(|a, b| a.0.total_cmp(&b.0));
        if !exact.is_empty() {
            figure = figure.with(Layer::line(exact, Colour::Grey).named("exact"));
        }
        let figure = figure.with(Layer::points(slopes, Colour::Blue).named("Hellmann-Feynman"));
        figures.push((figure, String::new()));
    }
    if let Some(figure) = density_map(results, densities, name) {
        figures.push((
            figure,
            "The density of all particles, each point as wide as it has room.".into(),
        ));
    }
    figures
}

/// Points with error bars, apart where some are of a state that was trained at other values only.
fn marked(
    done: &[(&PointResult, &Measured)],
    name: &str,
    of: &dyn Fn(&Measured) -> Option<(f64, f64)>,
) -> Vec<Layer> {
    let apart = done.iter().any(|(_, m)| !m.trained);
    let layer = |trained: bool, colour: Colour| {
        let own = done.iter().filter(|(_, m)| m.trained == trained);
        let at = |(r, m): &(&PointResult, &Measured)| {
            let (y, error) = of(m)?;
            Some((r.point.values[0].1, y, error))
        };
        let points: Vec<(f64, f64, f64)> = own.filter_map(at).collect();
        let name = match (apart, trained) {
            (false, _) => name.to_owned(),
            (true, true) => format!("{name}, trained there"),
            (true, false) => format!("{name}, never trained there"),
        };
        (!points.is_empty()).then(|| Layer::points(points, colour).named(name))
    };
    [layer(true, Colour::Blue), layer(false, Colour::Green)].into_iter().flatten().collect()
}

/// Cells of the map of densities.
const CELLS: usize = 120;

/// Edges half way between values that ascend.
fn edges(values: &[f64]) -> Vec<f64> {
    let n = values.len();
    let half = |i: usize| 0.5 * (values[i] + values[i + 1]);
    let width = if n > 1 { values[1] - values[0] } else { 1.0 };
    let last = if n > 1 { values[n - 1] - values[n - 2] } else { 1.0 };
    let mut all = vec![values[0] - 0.5 * width];
    all.extend((0..n - 1).map(half));
    all.push(values[n - 1] + 0.5 * last);
    all
}

fn density_map(
    results: &[PointResult],
    densities: &[Option<DensityProfile>],
    name: &str,
) -> Option<Figure> {
    let mut all: Vec<(f64, &DensityProfile)> = results
        .iter()
        .zip(densities)
        .filter_map(|(r, d)| Some((r.point.values[0].1, d.as_ref()?)))
        .filter(|(_, d)| d.edges.len() > 1)
        .collect();
    if all.len() < 2 {
        return None;
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let low = all.iter().map(|(_, d)| d.edges[0]).fold(f64::INFINITY, f64::min);
    let high =
        all.iter().map(|(_, d)| d.edges[d.edges.len() - 1]).fold(f64::NEG_INFINITY, f64::max);
    let rows: Vec<f64> =
        (0..=CELLS).map(|i| low + (high - low) * i as f64 / CELLS as f64).collect();
    let mut values = Vec::new();
    for (_, density) in &all {
        for row in rows.windows(2) {
            let x = 0.5 * (row[0] + row[1]);
            let bin = density.edges.windows(2).position(|e| e[0] <= x && x < e[1]);
            let of = |spin: &[(f64, f64)]| bin.and_then(|b| spin.get(b)).map_or(0.0, |v| v.0);
            values.push((of(&density.up) + of(&density.down)).max(0.0));
        }
    }
    let columns = edges(&all.iter().map(|(v, _)| *v).collect::<Vec<_>>());
    Some(
        Figure::new("densities", "Densities", Axis::linear(name), Axis::linear("x (bohr)"))
            .with(Layer::heat(columns, rows, values, Colour::Blue)),
    )
}

/// Maps over two parameters: the energy above its lowest, and the distance from the exact one.
fn map_figures(
    done: &[(&PointResult, &Measured)],
    first: &str,
    second: &str,
) -> Vec<(Figure, String)> {
    let of = |id: &str, title: &str, of: &dyn Fn(&Measured) -> Option<f64>| {
        let found = done.iter().filter_map(|(r, m)| {
            let at = &r.point.values;
            Some(([at[0].1, at[1].1], of(m)?))
        });
        map(&found.collect::<Vec<_>>(), [first, second], (id, title))
    };
    let energy = |m: &Measured| Some(m.summary.total_energy);
    let off = |m: &Measured| Some(m.summary.reference.as_ref()?.deviation.abs().max(1e-12).log10());
    [
        of("energy-map", "The energy (Ha)", &energy),
        of("deviation-map", "Decimal logarithm of the distance from the exact energy (Ha)", &off),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A map of what is found at places of two parameters, with a caption; none where nothing is.
pub(super) fn map(
    found: &[([f64; 2], f64)],
    names: [&str; 2],
    (id, title): (&str, &str),
) -> Option<(Figure, String)> {
    let found: Vec<&([f64; 2], f64)> = found.iter().filter(|(_, v)| v.is_finite()).collect();
    let axis = |i: usize| {
        let mut all: Vec<f64> = found.iter().map(|(at, _)| at[i]).collect();
        all.sort_by(f64::total_cmp);
        all.dedup();
        all
    };
    let (columns, rows) = (axis(0), axis(1));
    if columns.is_empty() {
        return None;
    }
    let low = found.iter().map(|(_, v)| *v).fold(f64::INFINITY, f64::min);
    let high = found.iter().map(|(_, v)| *v).fold(f64::NEG_INFINITY, f64::max);
    let mut shown = Vec::new();
    for &a in &columns {
        for &b in &rows {
            let here = found.iter().find(|(at, _)| *at == [a, b]);
            shown.push(here.map_or(0.0, |(_, v)| v - low));
        }
    }
    let figure = Figure::new(id, title, Axis::linear(names[0]), Axis::linear(names[1]))
        .with(Layer::heat(edges(&columns), edges(&rows), shown, Colour::Blue));
    let caption = format!(
        "From {} (white) to {} (darkest).",
        format_significant(low, 6),
        format_significant(high, 6)
    );
    Some((figure, caption))
}

fn table(page: &mut String, results: &[PointResult], parameters: &[&str]) {
    page.push_str("<h2>Points</h2>\n<div class=\"scroll\"><table>\n<thead><tr>");
    for name in parameters {
        let _ = write!(page, "<th>{}</th>", escape(name));
    }
    page.push_str("<th>Total energy (Ha)</th><th>Deviation (mHa)</th><th>Variance (Ha²)</th>");
    for name in parameters {
        let _ = write!(page, "<th>dE/d{}</th>", escape(name));
    }
    let apart = results.iter().filter_map(PointResult::measured).any(|m| !m.trained);
    if apart {
        page.push_str("<th>Trained there</th>");
    }
    page.push_str("<th>Verdict</th><th>CPU</th></tr></thead>\n<tbody>\n");
    for result in results {
        page.push_str("<tr>");
        for (i, (_, value)) in result.point.values.iter().enumerate() {
            let _ = match (i, folder_link(result)) {
                (0, Some(link)) => write!(page, "<td><a href=\"{link}\">{value}</a></td>"),
                _ => write!(page, "<td>{value}</td>"),
            };
        }
        match &result.result {
            Err(why) => {
                let _ = write!(
                    page,
                    "<td colspan=\"{}\">failed: {}</td>",
                    5 + parameters.len() + usize::from(apart),
                    escape(why)
                );
            }
            Ok(measured) => {
                let summary = &measured.summary;
                let off = summary
                    .reference
                    .as_ref()
                    .map(|r| format_difference(1e3 * r.deviation, 1e3 * summary.standard_error));
                let _ = write!(
                    page,
                    "<td>{}</td><td>{}</td><td>{}</td>",
                    format_with_uncertainty(summary.total_energy, summary.standard_error),
                    off.unwrap_or_default(),
                    format_significant(summary.variance, 3),
                );
                for i in 0..parameters.len() {
                    let slope = measured.slopes.get(i).copied().flatten();
                    let words = slope.map(|s| {
                        format_with_uncertainty(s.electronic + s.repulsion, s.standard_error)
                    });
                    let _ = write!(page, "<td>{}</td>", words.unwrap_or_default());
                }
                if apart {
                    page.push_str(if measured.trained { "<td>yes</td>" } else { "<td>no</td>" });
                }
                let _ = write!(
                    page,
                    "<td>{}</td><td>{}</td>",
                    word(summary.verdict),
                    format_duration(summary.cpu_seconds)
                );
            }
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}

/// The report of a point, from the page of the scan.
pub(super) fn folder_link<M>(result: &PointResult<M>) -> Option<String> {
    let name = result.folder.file_name()?.to_string_lossy();
    result.measured()?;
    Some(format!("{}/{}/{}", files::POINTS, encoded(&name), crate::store::files::names::REPORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_of_a_morse_curve_is_found() {
        let morse = |r: f64| 0.2 * (1.0 - (-0.9 * (r - 1.55)).exp()).powi(2) - 1.4;
        let points: Vec<(f64, f64)> =
            (0..12).map(|i| 0.8 + 0.25 * f64::from(i)).map(|r| (r, morse(r))).collect();
        let found = minimum(&points).unwrap();
        assert!((found.at - 1.55).abs() < 2e-3, "{found:?}");
        assert!((found.energy + 1.4).abs() < 1e-5, "{found:?}");
        assert!((found.force_constant - 2.0 * 0.2 * 0.81).abs() < 5e-3, "{found:?}");
        // Whatever the order; and there is none where the curve only falls or rises.
        let backwards: Vec<_> = points.iter().rev().copied().collect();
        assert_eq!(minimum(&backwards), Some(found));
        assert_eq!(minimum(&points[5..]), None);
        assert_eq!(minimum(&points[..3]), None);
        assert_eq!(minimum(&[]), None);
    }

    #[test]
    fn polynomials_have_their_derivatives() {
        let cubic = |x: f64| 1.0 - 2.0 * x + 0.5 * x * x + 0.25 * x.powi(3);
        let points: Vec<(f64, f64)> = [0.3, -1.0, 2.0, 1.1].map(|x| (x, cubic(x))).to_vec();
        let [y, slope, curvature] = Polynomial::through(&points).at(0.7);
        assert!((y - cubic(0.7)).abs() < 1e-13);
        assert!((slope - (-2.0 + 0.7 + 0.75 * 0.49)).abs() < 1e-13);
        assert!((curvature - (1.0 + 1.5 * 0.7)).abs() < 1e-13);
    }

    #[test]
    fn columns_of_a_map_meet_half_way() {
        assert_eq!(edges(&[1.0, 2.0, 4.0]), [0.5, 1.5, 3.0, 5.0]);
        assert_eq!(edges(&[3.0]), [2.5, 3.5]);
    }
}
