//! The section of a projection: the correction with its plateau, and densities of the ground state.

use super::super::densities::SPINS;
use super::super::escape::escape;
use super::super::number::{format_difference, format_significant, format_with_uncertainty};
use super::super::svg::{Axis, Colour, Figure, Layer};
use super::put_figures;
use crate::observables::Quantity;
use crate::store::projection::ProjectionRecord;
use std::fmt::Write;

/// Writes the section below its title.
pub(super) fn write(page: &mut String, found: &ProjectionRecord) {
    // Writing to a String has no way to fail.
    let _ = writeln!(page, "<p>{}</p>", escape(&sentence(found)));
    page.push_str("<div class=\"figures\">\n");
    put_figures(page, figures(found));
    page.push_str("</div>\n");
}

/// What the projection says, in words.
fn sentence(found: &ProjectionRecord) -> String {
    let (Some(correction), Some(energy), Some(error)) =
        (found.correction, found.energy, found.standard_error)
    else {
        return format!("There is no projected energy: {}.", found.refusals.join("; "));
    };
    let mut text = format!(
        "Projected beyond the ansatz, the energy is {} Ha: the variational energy is too high by {} Ha, of which the \
         last doubling of the projection brought {} Ha. {} walkers of {} replicates, effective share {:.4}, beta = {:.3} in steps of {}.",
        format_with_uncertainty(energy, error),
        format_with_uncertainty(-correction.energy, correction.standard_error),
        format_significant(correction.remainder, 2),
        found.walkers,
        found.replicates,
        found.effective_share,
        found.beta,
        format_significant(found.step, 2),
    );
    if let Some(reference) = &found.reference {
        let _ = write!(
            text,
            " Projected minus exact is {} Ha, {:.1} error bars.",
            format_difference(reference.deviation, error),
            reference.deviation / error
        );
    }
    text
}

fn figures(found: &ProjectionRecord) -> Vec<(Figure, String)> {
    let mut all = Vec::new();
    let finite = || found.curve.iter().filter(|p| p.correction.is_finite());
    if finite().count() > 1 {
        let mut points: Vec<_> =
            finite().map(|p| (p.beta, p.correction, p.standard_error)).collect();
        points.insert(0, (0.0, 0.0, 0.0));
        let line = points.iter().map(|p| (p.0, p.1)).collect();
        let (x, y) = (Axis::linear("β (1/Ha)"), Axis::linear("E(β) − E variational (Ha)"));
        let mut figure = Figure::new("projection", "Correction by projection", x, y)
            .with(Layer::line(line, Colour::Blue).named("projection"))
            .with(Layer::points(points, Colour::Blue));
        if let Some(reference) = &found.reference {
            let level = reference.energy - found.variational.energy;
            figure = figure.with(Layer::level(level, "exact", Colour::Vermillion).dashed());
        }
        let caption = "Each point is an upper bound; neighbours share their paths. Bars are one standard error, that of the \
                       variational energy not included.";
        all.push((figure, caption.to_owned()));
    }
    for measured in found.observables.iter().filter(|o| o.observable == "density") {
        let (x, y) = (Axis::linear("x (bohr)"), Axis::linear("density (1/bohr)"));
        let mut figure = Figure::new("projected-density", "Density of the ground state", x, y);
        for (name, words, colour) in SPINS {
            let of = |all: &[Quantity]| {
                all.iter().find(|q| q.name == format!("density_{name}")).cloned()
            };
            if let Some(q) = of(&measured.pure) {
                let values = q.values.iter().zip(&q.errors).map(|(v, e)| (*v, *e)).collect();
                figure = figure
                    .with(Layer::steps(q.axes[0].points.clone(), values, colour).named(words));
            }
            if let Some(q) = of(&measured.variational) {
                let line = (0..q.values.len()).map(|k| (q.axes[0].centre(k), q.values[k]));
                let layer = Layer::line(line.collect(), Colour::Grey).dashed();
                figure = figure.with(layer.named(format!("{words}, variational")));
            }
        }
        if !figure.layers.is_empty() {
            let caption =
                "Pure estimates, without any trace of the guide, beside the variational density.";
            all.push((figure, caption.to_owned()));
        }
    }
    all
}
