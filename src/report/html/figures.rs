//! The figures of a report, each with its caption.

use super::super::densities::{SPINS, exact_curves, smooth};
use super::super::number::{counted, format_with_uncertainty};
use super::super::svg::{Axis, Colour, Figure, Layer};
use super::super::verdict;
use super::{ReportInput, observables};
use crate::optimise::{Labels, OptimiserSettings};
use crate::store::record::{IterationRow, Summary};
use crate::system::{External, Geometry};

/// All figures with their captions, in the order of the page.
pub(super) fn all(input: &ReportInput) -> Vec<(Figure, String)> {
    vec![
        energy(input.rows, input.summary),
        deviation(input.rows, input.summary),
        density(input),
        variance(input.rows),
        gradient(input.rows),
        step(input.rows, input.optimiser),
    ]
}

/// All iterations, up to the round number that counts them.
fn iteration_axis(rows: &[IterationRow]) -> Axis {
    let axis = Axis::linear("iteration");
    match (rows.first(), rows.last()) {
        (Some(first), Some(last)) => {
            axis.with_range(first.iteration as f64, last.iteration as f64 + 1.0)
        }
        _ => axis,
    }
}

fn curve(rows: &[IterationRow], f: impl Fn(&IterationRow) -> f64) -> Vec<(f64, f64)> {
    rows.iter().map(|r| (r.iteration as f64, f(r))).collect()
}

/// Value below which a part of the numbers lies; the numbers that are not finite do not count.
fn quantile(numbers: impl Iterator<Item = f64>, part: f64) -> Option<f64> {
    let mut numbers: Vec<f64> = numbers.filter(|x| x.is_finite()).collect();
    numbers.sort_by(f64::total_cmp);
    let last = numbers.len().checked_sub(1)?;
    Some(numbers[(part * last as f64).round() as usize])
}

/// A range of energies that shows the second half of the run with its error bands and the levels,
/// with room above for the way down.
fn energy_range(rows: &[IterationRow], levels: &[f64]) -> Option<(f64, f64)> {
    let half = &rows[rows.len() / 2..];
    let low = quantile(half.iter().map(|r| r.energy - r.standard_error), 0.02)?;
    let high = quantile(half.iter().map(|r| r.energy + r.standard_error), 0.98)?;
    let levels = levels.iter().copied().filter(|x| x.is_finite());
    let (low, high) = levels.fold((low, high), |(l, h), x| (l.min(x), h.max(x)));
    let length = (high - low).max(1e-9 * high.abs());
    let whole = quantile(rows.iter().map(|r| r.energy), 1.0)?;
    // The way down takes as much room as it needs, up to as much as the end.
    let above = (whole - high).clamp(0.1 * length, length);
    Some((low - 0.25 * length, high + above))
}

fn energy(rows: &[IterationRow], summary: &Summary) -> (Figure, String) {
    let exact = summary.reference.as_ref().map(|r| r.energy);
    let level = match exact {
        Some(e) => Layer::level(e, format!("exact, {e:.6} Ha"), Colour::Vermillion),
        None => {
            let text = format_with_uncertainty(summary.energy, verdict::shown_error(summary));
            Layer::level(summary.energy, format!("final estimate, {text} Ha"), Colour::Vermillion)
        }
    };
    let mut y = Axis::linear("energy (Ha)");
    let range = energy_range(rows, &[exact.unwrap_or(summary.energy)]);
    let mut caption = String::new();
    if let Some((low, high)) = range {
        y = y.with_range(low, high);
        let outside =
            rows.iter().filter(|r| r.energy.is_finite() && !(low..=high).contains(&r.energy));
        let outside = outside.count();
        if outside > 0 {
            caption = format!(
                "The range shows the end of the run; triangles mark {outside} of {} iterations \
                 that lie outside.",
                rows.len()
            );
        }
    }
    let band = rows
        .iter()
        .map(|r| (r.iteration as f64, r.energy - r.standard_error, r.energy + r.standard_error));
    let figure = Figure::new("energy", "Energy against iteration", iteration_axis(rows), y)
        .with(Layer::band(band.collect(), Colour::Blue).named("± standard error"))
        .with(Layer::line(curve(rows, |r| r.energy), Colour::Blue).named("energy of an iteration"))
        .with(level);
    (figure, caption)
}

fn deviation(rows: &[IterationRow], summary: &Summary) -> (Figure, String) {
    let reference = summary.reference.as_ref();
    let target = reference.map_or(summary.energy, |r| r.energy);
    let milli = |x: f64| 1e3 * x.abs();
    let window = (rows.len() / 20).max(5);
    // Sums would carry one bad iteration through the rest of the run; means of windows do not.
    let averages: Vec<(f64, f64)> = rows
        .windows(window)
        .map(|w| {
            let mean = w.iter().map(|r| r.energy).sum::<f64>() / window as f64;
            (w[window - 1].iteration as f64, milli(mean - target))
        })
        .collect();
    let singles = curve(rows, |r| milli(r.energy - target));
    let errors = curve(rows, |r| milli(r.standard_error));

    let mut y = Axis::log(match reference {
        Some(_) => "|E − E₀| (mHa)",
        None => "|E − final E| (mHa)",
    });
    let last = milli(summary.energy - target).max(milli(summary.standard_error));
    let high = quantile(singles.iter().chain(&errors).map(|p| p.1), 1.0);
    let typical = quantile(errors[rows.len() / 2..].iter().map(|p| p.1), 0.5);
    // A noisy curve comes as close to zero as it likes: below a part of the error there is nothing
    // to see. The final deviation stays in the picture.
    let floors = [typical.map(|t| 0.05 * t), Some(0.3 * last)];
    let low = floors.into_iter().flatten().filter(|&x| x > 0.0).fold(f64::INFINITY, f64::min);
    if let Some(high) = high
        && low < high
    {
        y = y.with_range(low, 1.5 * high);
    }
    let title = match reference {
        Some(_) => "Deviation from the exact energy E₀",
        None => "Difference from the final energy",
    };
    let mut figure = Figure::new("deviation", title, iteration_axis(rows), y)
        .with(Layer::line(singles, Colour::Blue).named("one iteration").faint())
        .with(Layer::line(errors, Colour::Grey).dashed().named("its standard error"))
        .with(
            Layer::line(averages, Colour::Vermillion).named(format!("mean of {window} iterations")),
        );
    let mut caption = String::from("Deviations below the standard error are noise.");
    if let Some(reference) = reference {
        let text = verdict::milli_hartree(summary).unwrap_or_default();
        figure = figure.with(Layer::level(
            milli(reference.deviation),
            format!("final, {text} mHa"),
            Colour::Green,
        ));
        caption.push_str(&final_estimate(summary));
    }
    (figure, caption)
}

/// What the final estimate rests on, after a blank.
fn final_estimate(summary: &Summary) -> String {
    match summary.averaged_iterations {
        0 | 1 => " The final estimate is from fresh samples.".into(),
        n => format!(
            " The final estimate is from fresh samples, with the mean of the parameters of the last {n} iterations."
        ),
    }
}

/// Numbers that a logarithmic axis has no place for, in words; nothing where all have one.
fn gaps(rows: &[IterationRow], f: impl Fn(&IterationRow) -> f64) -> String {
    let shown = |x: f64| x.is_finite() && x > 0.0;
    let (mut idle, mut odd) = (0, 0);
    for row in rows.iter().filter(|r| !shown(f(r))) {
        // A step that is not taken has no length; its gradient is not kept.
        if row.step_norm == 0.0 { idle += 1 } else { odd += 1 }
    }
    let mut text = String::new();
    if idle > 0 {
        let all = counted(rows.len(), "iteration");
        text += &format!(
            " Gaps: in {idle} of {all} no trial step was an improvement, and none was taken."
        );
    }
    if odd > 0 {
        let all = counted(rows.len(), "iteration");
        text += &format!(" Gaps: {odd} of {all} without a number above zero.");
    }
    text
}

fn variance(rows: &[IterationRow]) -> (Figure, String) {
    let y = Axis::log("variance (Ha²)");
    let figure = Figure::new("variance", "Variance of the local energy", iteration_axis(rows), y)
        .with(Layer::line(curve(rows, |r| r.variance), Colour::Blue));
    let odd = rows.iter().filter(|r| !(r.variance.is_finite() && r.variance > 0.0)).count();
    let mut caption = String::from("It vanishes for an exact eigenstate.");
    if odd > 0 {
        let all = counted(rows.len(), "iteration");
        caption += &format!(" Gaps: {odd} of {all} without a number above zero.");
    }
    (figure, caption)
}

fn gradient(rows: &[IterationRow]) -> (Figure, String) {
    let y = Axis::log("gradient norm (Ha)");
    let figure = Figure::new("gradient", "Gradient of the energy", iteration_axis(rows), y)
        .with(Layer::line(curve(rows, |r| r.gradient_norm), Colour::Blue));
    let caption = "Euclidean norm; it levels off at the noise of the samples.";
    (figure, caption.to_owned() + &gaps(rows, |r| r.gradient_norm))
}

fn step(rows: &[IterationRow], settings: &OptimiserSettings) -> (Figure, String) {
    let Labels { step, length, length_name: name } = settings.settings().labels();
    let figure =
        Figure::new("step", "Steps of the optimiser", iteration_axis(rows), Axis::log(step))
            .with_right(Axis::log(length))
            .with(Layer::line(curve(rows, |r| r.step_norm), Colour::Blue).named("step norm"))
            .with(
                Layer::line(curve(rows, |r| r.tau), Colour::Vermillion)
                    .dashed()
                    .on_right()
                    .named(format!("{name}, right axis")),
            );
    (figure, gaps(rows, |r| r.step_norm).trim_start().to_owned())
}

/// Number of points at which the external potential is drawn.
const POTENTIAL_POINTS: usize = 401;

fn density(input: &ReportInput) -> (Figure, String) {
    let profile = input.density;
    let (low, high) = density_range(input);
    let x = Axis::linear("x (bohr)").with_range(low, high);
    let mut y = Axis::linear("density (1/bohr)");
    let exact = input.reference_density.map(|d| exact_curves(d, input.sector)).unwrap_or_default();
    // Exact densities have no noise, and bins that flatten a peak should not cut it off.
    let peaks = exact.iter().flat_map(|c| &c.points).map(|p| p.1);
    let measured = SPINS.iter().filter_map(|s| smooth(input.observables, s.0));
    let tops = (profile.up.iter().chain(&profile.down).map(|p| p.0 + p.1))
        .chain(peaks)
        .chain(measured.flat_map(|q| q.values.iter().copied()));
    if let Some(top) = quantile(tops, 1.0).filter(|&t| t > 0.0) {
        y = y.with_range(0.0, 1.08 * top);
    }
    let mut figure = Figure::new("density", "One-body density over the potential", x, y);
    let mut caption = String::new();

    if profile.edges.is_empty() {
        return (figure, caption);
    }
    let external = &input.hamiltonian.external;
    let potential: Vec<(f64, f64)> = (0..POTENTIAL_POINTS)
        .map(|i| low + (high - low) * i as f64 / (POTENTIAL_POINTS - 1) as f64)
        .map(|x| (x, external.value(x)))
        .collect();
    if *external == External::Free {
        caption.push_str("There is no external potential. ");
    } else if potential.iter().all(|p| !p.1.is_finite()) {
        caption.push_str("The potential has no finite value here. ");
    } else {
        figure = figure.with_right(Axis::linear("external potential v (Ha)")).with(
            Layer::line(potential, Colour::Grey).dashed().on_right().named("v(x), right axis"),
        );
    }
    let wall = ends(input);
    if *input.geometry == Geometry::Line {
        caption.push_str("Shown where there is density; the line has no ends. ");
    } else if (low, high) != wall {
        caption.push_str(&format!(
            "Shown where there is density; the coordinates go from {} to {} bohr. ",
            wall.0, wall.1
        ));
    }
    let mut smoothed = false;
    for ((spin, name, colour), values) in SPINS.into_iter().zip([&profile.up, &profile.down]) {
        if values.is_empty() {
            continue;
        }
        if let Some(q) = smooth(input.observables, spin) {
            smoothed = true;
            figure = observables::curve(figure, q, name, colour);
            continue;
        }
        let mut layer = Layer::steps(profile.edges.clone(), values.clone(), colour).named(name);
        // The two coincide in many states: then the dashes show both.
        layer.dashed = colour == Colour::Vermillion;
        figure = figure.with(layer);
    }
    caption.push_str(if smoothed {
        "Sampled: values at points from the density matrix (weylflow measure), with bands of one standard error."
    } else {
        "Sampled: means over bins, with bars of one standard error."
    });
    for curve in &exact {
        let line =
            Layer::line(curve.points.clone(), Colour::Ink).named(format!("exact, {}", curve.spins));
        figure = figure.with(if curve.down { line.dashed() } else { line });
    }
    if !exact.is_empty() {
        caption.push_str(" Thin lines: the exact ground state.");
    }
    (figure, caption)
}

/// The ends of the geometry; on the line those of the table of the density.
fn ends(input: &ReportInput) -> (f64, f64) {
    match (input.geometry, input.density.edges.as_slice()) {
        (Geometry::Line, [first, .., last]) => (*first, *last),
        _ => input.geometry.window(),
    }
}

/// Where the density is more than a thousandth of its largest value, with some room, within the
/// geometry.
fn density_range(input: &ReportInput) -> (f64, f64) {
    let wall = ends(input);
    let profile = input.density;
    let largest = profile
        .up
        .iter()
        .chain(&profile.down)
        .map(|p| p.0)
        .filter(|x| x.is_finite())
        .fold(0.0, f64::max);
    let mut found = (f64::INFINITY, f64::NEG_INFINITY);
    for values in [&profile.up, &profile.down] {
        for (edge, value) in profile.edges.windows(2).zip(values) {
            // A bin that noise alone explains does not count.
            if value.0 > 1e-3 * largest + 2.0 * value.1 {
                found = (found.0.min(edge[0]), found.1.max(edge[1]));
            }
        }
    }
    if found.0 >= found.1 {
        return wall;
    }
    let room = 0.1 * (found.1 - found.0);
    ((found.0 - room).max(wall.0), (found.1 + room).min(wall.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_leave_out_what_is_not_finite() {
        let numbers = [3.0, f64::NAN, 1.0, 2.0, f64::INFINITY];
        assert_eq!(quantile(numbers.into_iter(), 0.0), Some(1.0));
        assert_eq!(quantile(numbers.into_iter(), 0.5), Some(2.0));
        assert_eq!(quantile(numbers.into_iter(), 1.0), Some(3.0));
        assert_eq!(quantile([f64::NAN].into_iter(), 0.5), None);
    }

    #[test]
    fn the_energy_range_shows_the_end_and_not_the_start() {
        let rows: Vec<_> = (0..200)
            .map(|i| IterationRow {
                iteration: i,
                energy: -1.816 + (-(i as f64) / 10.0).exp(),
                standard_error: 1e-4,
                variance: 1.0,
                gradient_norm: 1.0,
                step_norm: 1.0,
                tau: 0.1,
                seconds: 1.0,
            })
            .collect();
        let (low, high) = energy_range(&rows, &[-1.8162]).unwrap();
        assert!(low < -1.8162 && high > -1.816 && high - low < 2e-3, "{low} {high}");
        assert_eq!(energy_range(&[], &[]), None);
    }
}
