//! One-body densities as curves, for the report of a run and for comparisons.

use super::svg::Colour;
use crate::exact::Density;
use crate::observables::Quantity;
use crate::store::observables::Observables;
use crate::system::Sector;

/// Name of a spin in the names of quantities, in words, and its colour.
pub(super) const SPINS: [(&str, &str, Colour); 2] =
    [("up", "spin up", Colour::Blue), ("down", "spin down", Colour::Vermillion)];

/// The density at points that `weylflow measure` found for a spin.
pub(super) fn smooth<'a>(found: Option<&'a Observables>, spin: &str) -> Option<&'a Quantity> {
    let q = found?.quantity(&format!("smooth_density_{spin}"))?;
    (q.axes.len() == 1).then_some(q)
}

/// The outline of bins.
pub(super) fn stairs(edges: &[f64], values: &[(f64, f64)]) -> Vec<(f64, f64)> {
    edges.windows(2).zip(values).flat_map(|(e, v)| [(e[0], v.0), (e[1], v.0)]).collect()
}

/// An exact density as a curve.
pub(super) struct ExactCurve {
    /// Which spins it belongs to.
    pub(super) spins: &'static str,
    /// Whether it is that of spin down alone.
    pub(super) down: bool,
    /// Points in bohr and particles per bohr.
    pub(super) points: Vec<(f64, f64)>,
}

/// One curve for each spin that there is, or one for both where they are the same.
pub(super) fn exact_curves(density: &Density, sector: &Sector) -> Vec<ExactCurve> {
    let points = |values: &[f64]| density.x.iter().copied().zip(values.iter().copied()).collect();
    let curve = |spins, down, values: &[f64]| ExactCurve { spins, down, points: points(values) };
    if sector.up > 0 && sector.down > 0 && alike(&density.up, &density.down) {
        return vec![curve("either spin", false, &density.up)];
    }
    let mut curves = vec![];
    if sector.up > 0 {
        curves.push(curve("spin up", false, &density.up));
    }
    if sector.down > 0 {
        curves.push(curve("spin down", true, &density.down));
    }
    curves
}

/// Whether two curves are the same to the width of a line.
pub(super) fn alike(a: &[f64], b: &[f64]) -> bool {
    let largest = a.iter().chain(b).copied().filter(|v| v.is_finite()).fold(0.0, f64::max);
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-3 * largest)
}

/// Where any of the curves exceeds a thousandth of its largest value, with some room, within all of them.
pub(super) fn populated<'a>(curves: impl Iterator<Item = &'a [(f64, f64)]>) -> Option<(f64, f64)> {
    let mut range = (f64::INFINITY, f64::NEG_INFINITY);
    let mut whole = range;
    for curve in curves {
        let largest = curve.iter().map(|p| p.1).filter(|v| v.is_finite()).fold(0.0, f64::max);
        for &(x, v) in curve {
            whole = (whole.0.min(x), whole.1.max(x));
            if v > 1e-3 * largest {
                range = (range.0.min(x), range.1.max(x));
            }
        }
    }
    let room = 0.05 * (range.1 - range.0);
    (range.0 < range.1).then(|| ((range.0 - room).max(whole.0), (range.1 + room).min(whole.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spins_of_the_same_density_share_a_curve() {
        let density =
            |down: f64| Density { x: vec![0.0, 1.0], up: vec![1.0, 0.5], down: vec![down, 0.5] };
        let names = |down, sector| -> Vec<_> {
            exact_curves(&density(down), &sector).iter().map(|c| c.spins).collect()
        };
        assert_eq!(names(1.0 + 1e-9, Sector::new(1, 1)), ["either spin"]);
        assert_eq!(names(0.9, Sector::new(1, 1)), ["spin up", "spin down"]);
        assert_eq!(names(1.0, Sector::new(2, 0)), ["spin up"]);
        assert_eq!(names(1.0, Sector::new(0, 2)), ["spin down"]);
    }

    #[test]
    fn the_range_is_where_the_particles_are() {
        let curve: Vec<_> =
            (-100..=100).map(|i| (i as f64, if i == 0 { 1.0 } else { 0.0 })).collect();
        assert_eq!(populated([&curve[..]].into_iter()), None);
        let curve: Vec<_> = (-100..=100_i32)
            .map(|i| (f64::from(i), if i.abs() < 11 { 1.0 } else { 1e-5 }))
            .collect();
        assert_eq!(populated([&curve[..]].into_iter()), Some((-11.0, 11.0)));
        assert_eq!(populated([].into_iter()), None);
    }
}
