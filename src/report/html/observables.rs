//! Figures of what `weylflow measure` found.

use super::super::densities::{SPINS, populated, smooth};
use super::super::number::format_significant;
use super::super::svg::{Axis, Colour, Figure, Layer};
use crate::exact::PairDensity;
use crate::observables::Quantity;
use crate::store::observables::Observables;
use crate::store::reference_pairs::means;

/// All figures that the observables allow, with their captions.
pub(super) fn figures(o: &Observables, exact: Option<&PairDensity>) -> Vec<(Figure, String)> {
    let mut all = vec![];
    all.extend(local_energy(o));
    all.extend(occupations(o));
    all.extend(natural_orbitals(o));
    all.extend(o.quantities().filter_map(pair_density));
    all.extend(exact.and_then(|exact| pairs_beside_exact(o, exact)));
    all.extend(distance(o));
    all.extend(momentum(o));
    all.extend(structure_factor(o));
    all
}

/// Below this share of the largest value a bin of pairs is too empty to be compared.
const SPARSE: f64 = 1e-2;

/// All pairs, sampled on one side of the diagonal and exact on the other: the pair density is symmetric.
fn pairs_beside_exact(o: &Observables, exact: &PairDensity) -> Option<(Figure, String)> {
    let parts: Vec<_> = PAIRS
        .iter()
        .filter_map(|p| Some((p.0, o.quantity(&format!("pair_density_{}", p.0))?)))
        .collect();
    let edges = &parts.first()?.1.axes.first()?.points;
    let bins = edges.len().checked_sub(1)?;
    let exact = means(exact, edges);
    let (mut sampled, mut variance) = (vec![0.0; bins * bins], vec![0.0; bins * bins]);
    for (pair, q) in &parts {
        if q.values.len() != bins * bins {
            return None;
        }
        for (k, (value, error)) in with_errors(q).into_iter().enumerate() {
            let across = bins * (k % bins) + k / bins;
            sampled[k] += value;
            variance[k] += error * error;
            // Pairs of different spins are counted once, the first coordinate that of the spin named first.
            if *pair == "up_down" {
                sampled[across] += value;
                variance[across] += error * error;
            }
        }
    }
    let largest = exact.iter().copied().fold(0.0, f64::max);
    let full = |k: &usize| exact[*k] > SPARSE * largest && variance[*k] > 0.0;
    let squares: Vec<f64> = (0..bins * bins)
        .filter(full)
        .map(|k| (sampled[k] - exact[k]).powi(2) / variance[k])
        .collect();
    let values = (0..bins * bins).map(|k| if k / bins < k % bins { sampled[k] } else { exact[k] });
    let values: Vec<f64> = values.collect();
    let inside = |k: &usize| (0..bins).any(|j| exact[bins * k + j] > 1e-3 * largest);
    let (first, last) = ((0..bins).find(inside)?, (0..bins).rev().find(inside)?);
    let range = (edges[first], edges[last + 1]);
    let x = Axis::linear("x (bohr)").with_range(range.0, range.1);
    let y = Axis::linear("x′ (bohr)").with_range(range.0, range.1);
    let top = values.iter().copied().fold(0.0, f64::max);
    let map = Layer::heat(edges.clone(), edges.clone(), values, Colour::Purple)
        .named(format!("0 to {} pairs/bohr²", format_significant(top, 3)));
    let diagonal = Layer::line(vec![(range.0, range.0), (range.1, range.1)], Colour::Ink);
    let figure = Figure::new("pairs-exact", "Pair density, sampled and exact", x, y)
        .with_height(430.0)
        .with(map)
        .with(diagonal);
    let mut caption =
        "All ordered pairs: sampled above the diagonal, the exact ground state below.".to_owned();
    if !squares.is_empty() {
        let rms = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
        caption.push_str(&format!(
            " Root mean square of their difference, in standard errors: {} over the {} bins with more than a hundredth of the most pairs.",
            format_significant(rms, 2),
            squares.len()
        ));
    }
    Some((figure, caption))
}

/// Names, words and colours of the pairs of spins.
const PAIRS: [(&str, &str, Colour); 3] = [
    ("up_up", "up and up", Colour::Blue),
    ("up_down", "up and down", Colour::Vermillion),
    ("down_down", "down and down", Colour::Green),
];

fn with_errors(q: &Quantity) -> Vec<(f64, f64)> {
    let error = |k: usize| q.errors.get(k).copied().unwrap_or(0.0);
    q.values.iter().enumerate().map(|(k, v)| (*v, error(k))).collect()
}

/// A curve with its band of one standard error; lines of a second spin are dashed.
pub(super) fn curve(figure: Figure, q: &Quantity, name: &str, colour: Colour) -> Figure {
    let points = &q.axes[0].points;
    let values = with_errors(q);
    let band = points.iter().zip(&values).map(|(x, (v, e))| (*x, v - e, v + e)).collect();
    let line = points.iter().zip(&values).map(|(x, (v, _))| (*x, *v)).collect();
    let line = Layer::line(line, colour).named(name);
    let line = if colour == Colour::Vermillion { line.dashed() } else { line };
    figure.with(Layer::band(band, colour)).with(line)
}

fn local_energy(o: &Observables) -> Option<(Figure, String)> {
    let q = o.quantity("local_energy_distribution")?;
    let (below, _) = o.scalar("local_energy_below")?;
    let (above, _) = o.scalar("local_energy_above")?;
    let x = Axis::linear("local energy (Ha)");
    let y = Axis::linear("probability density (1/Ha)");
    let mut figure = Figure::new("local-energy", "Distribution of the local energy", x, y)
        .with(Layer::steps(q.axes[0].points.clone(), with_errors(q), Colour::Blue));
    if let Some((energy, _)) = o.scalar("energy") {
        // A thin histogram bar of no width would be lost: a line from the axis to the top.
        let top = q.values.iter().copied().fold(0.0, f64::max);
        figure = figure.with(
            Layer::line(vec![(energy, 0.0), (energy, top)], Colour::Vermillion)
                .dashed()
                .named("mean"),
        );
    }
    let outside = format_significant(100.0 * (below + above), 2);
    let caption = format!(
        "A single spike for an eigenstate. {outside} % of the samples lie outside the range."
    );
    Some((figure, caption))
}

fn occupations(o: &Observables) -> Option<(Figure, String)> {
    let q = o.quantity("occupations")?;
    let points: Vec<_> =
        q.axes[0].points.iter().zip(with_errors(q)).map(|(k, (n, e))| (*k, n, e)).collect();
    let x = Axis::linear("natural orbital").with_range(0.0, points.len() as f64 + 1.0);
    // An occupation below its error is noise: the axis ends there, not at the smallest number.
    let smallest = points.iter().filter(|p| p.1 > 2.0 * p.2).map(|p| p.1).fold(1.0, f64::min);
    let y = Axis::log("occupation").with_range(0.3 * smallest, 3.0);
    let figure = Figure::new("occupations", "Occupations of the natural orbitals", x, y)
        .with(Layer::points(points, Colour::Blue));
    Some((
        figure,
        "Of the spin-summed one-body density matrix. Bars are one standard error.".into(),
    ))
}

fn natural_orbitals(o: &Observables) -> Option<(Figure, String)> {
    let q = o.quantity("natural_orbitals")?;
    let occupations = o.quantity("occupations")?;
    let points = &q.axes[1].points;
    let density: Vec<Vec<(f64, f64)>> = SPINS
        .iter()
        .filter_map(|s| smooth(Some(o), s.0))
        .map(|q| q.axes[0].points.iter().copied().zip(q.values.iter().copied()).collect())
        .collect();
    let (low, high) = populated(density.iter().map(Vec::as_slice))?;
    let x = Axis::linear("x (bohr)").with_range(low, high);
    let y = Axis::linear("orbital (1/√bohr)");
    let mut figure = Figure::new("natural-orbitals", "Natural orbitals", x, y);
    let colours = [Colour::Blue, Colour::Vermillion, Colour::Green, Colour::Purple];
    for ((k, values), colour) in q.values.chunks(points.len()).enumerate().zip(colours) {
        let line = points.iter().copied().zip(values.iter().copied()).collect();
        let n = occupations.values.get(k).copied().unwrap_or(f64::NAN);
        let layer =
            Layer::line(line, colour).named(format!("{}: n = {}", k + 1, format_significant(n, 4)));
        figure = figure.with(if k % 2 == 1 { layer.dashed() } else { layer });
    }
    Some((figure, "Those of equal occupation are any orthonormal set of their span.".into()))
}

fn pair_density(q: &Quantity) -> Option<(Figure, String)> {
    let pair = q.name.strip_prefix("pair_density_")?;
    let (_, words, colour) = PAIRS.into_iter().find(|p| p.0 == pair)?;
    let [x_axis, y_axis] = &q.axes[..] else { return None };
    // The range that holds pairs, from the sums over either coordinate.
    let rows = y_axis.length();
    let sums = |along_x: bool| -> Vec<f64> {
        let mut sums = vec![0.0; if along_x { x_axis.length() } else { rows }];
        for (k, v) in q.values.iter().enumerate() {
            sums[if along_x { k / rows } else { k % rows }] += v;
        }
        sums
    };
    let range = |axis: &crate::observables::Axis, sums: &[f64]| {
        let largest = sums.iter().copied().fold(0.0, f64::max);
        let inside = |k: &usize| sums[*k] > 1e-3 * largest;
        let first = (0..sums.len()).find(inside)?;
        let last = (0..sums.len()).rev().find(inside)?;
        Some((axis.points[first], axis.points[last + 1]))
    };
    let (x_range, y_range) = (range(x_axis, &sums(true))?, range(y_axis, &sums(false))?);
    let largest = q.values.iter().copied().fold(0.0, f64::max);
    let x = Axis::linear("x (bohr)").with_range(x_range.0, x_range.1);
    let y = Axis::linear("x′ (bohr)").with_range(y_range.0, y_range.1);
    let title = format!("Pair density, spins {words}");
    let map = Layer::heat(x_axis.points.clone(), y_axis.points.clone(), q.values.clone(), colour)
        .named(format!("0 to {} pairs/bohr²", format_significant(largest, 3)));
    let figure = Figure::new(format!("pairs-{}", pair.replace('_', "-")), title, x, y)
        .with_height(430.0)
        .with(map);
    Some((figure, "Ordered pairs with one particle at x and the other at x′.".into()))
}

fn distance(o: &Observables) -> Option<(Figure, String)> {
    let x = Axis::linear("distance (bohr)");
    let y = Axis::linear("probability density (1/bohr)");
    let mut figure = Figure::new("distance", "Distance of two particles", x, y);
    for (name, words, colour) in PAIRS {
        if let Some(q) = o.quantity(&format!("distance_{name}")) {
            let mut layer =
                Layer::steps(q.axes[0].points.clone(), with_errors(q), colour).named(words);
            layer.dashed = colour == Colour::Vermillion;
            figure = figure.with(layer);
        }
    }
    let caption = "Bars are one standard error.".into();
    (!figure.layers.is_empty()).then_some((figure, caption))
}

fn momentum(o: &Observables) -> Option<(Figure, String)> {
    let x = Axis::linear("momentum p (1/bohr)");
    // On a ring momenta are discrete, and have occupations.
    let found = |name: &str| o.quantity(&format!("momentum_{name}"));
    let discrete = SPINS.iter().filter_map(|s| found(s.0)).any(|q| q.unit.is_empty());
    let y = Axis::linear(if discrete { "occupation" } else { "n(p) (bohr)" });
    let mut figure = Figure::new("momentum", "Momentum distribution", x, y);
    for (name, words, colour) in SPINS {
        if let Some(q) = found(name) {
            figure = if discrete {
                let points = q.axes[0].points.iter().zip(with_errors(q));
                let points = points.map(|(p, (n, e))| (*p, n, e)).collect();
                figure.with(Layer::points(points, colour).named(words))
            } else {
                curve(figure, q, words, colour)
            };
        }
    }
    let caption = if discrete {
        "Occupations of plane waves; their sum is the number of particles. Bars are one standard error."
    } else {
        "Its integral is the number of particles. Bands are one standard error."
    };
    (!figure.layers.is_empty()).then(|| (figure, caption.to_owned()))
}

fn structure_factor(o: &Observables) -> Option<(Figure, String)> {
    let whole = o.quantity("structure_factor")?;
    let connected = o.quantity("structure_factor_connected")?;
    let x = Axis::linear("k (1/bohr)");
    let figure =
        Figure::new("structure-factor", "Static structure factor", x, Axis::linear("S(k)"));
    let figure = curve(figure, whole, "S(k)", Colour::Blue);
    let figure = curve(figure, connected, "without the density's part", Colour::Vermillion);
    Some((
        figure,
        "1 for particles that do not know of each other. Bands are one standard error.".into(),
    ))
}

/// Rows of a table: quantity, value, standard error, unit.
pub(super) fn rows(o: &Observables) -> Vec<(String, f64, f64, String)> {
    let mut rows: Vec<_> = o
        .quantities()
        .filter_map(|q| {
            let (value, error) = q.scalar()?;
            Some((q.name.replace('_', " "), value, q.shown_error(error), q.unit.clone()))
        })
        .collect();
    for name in ["occupations", "nuclear_forces"] {
        if let Some(q) = o.quantity(name) {
            let words = if name == "occupations" { "occupation" } else { "force on nucleus" };
            rows.extend(with_errors(q).into_iter().take(8).enumerate().map(|(k, (v, e))| {
                (format!("{words} {}", k + 1), v, q.shown_error(e), q.unit.clone())
            }));
        }
    }
    rows
}
