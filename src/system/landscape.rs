//! The scales of a system, read off its external potential: where the wells are, how wide the lowest state is, and how
//! far the particles may go.
//!
//! Nothing here knows a length of its own: the potential is looked at on all scales from 1e-6 to 1e6 bohr about zero and
//! about every point that its formula makes special, and the width of the lowest state is that of the best Gaussian.

use super::syntax::octaves;
use super::{External, Geometry, Hamiltonian, Sector};
use std::f64::consts::PI;

/// The scales of a system.
#[derive(Clone, Debug, PartialEq)]
pub struct Landscape {
    /// Width of the lowest one-body state, in bohr: of `exp(-x² / 2 length²)`.
    pub length: f64,
    /// Where that state is, in bohr.
    pub centre: f64,
    /// Its energy, in Hartree.
    pub level: f64,
    /// Lowest value of the external potential, in Hartree.
    pub lowest: f64,
    /// The interval in which `v` is below the highest level that the particles fill one by one, in bohr.
    pub region: (f64, f64),
    /// Whether nothing but the potential holds the particles: the line, or walls too far out to matter.
    pub free: bool,
}

/// Widths of the lowest state between the particles and walls that do not matter.
const FAR: f64 = 40.0;
/// Most minima of the potential that are looked at more closely.
const MOST_MINIMA: usize = 24;
/// Points per octave about zero, and in a finite geometry.
const PER_OCTAVE: i32 = 48;
const INSIDE: i32 = 2000;
/// Octaves of widths: from 1e-6 to 1e6 bohr.
const OCTAVES: std::ops::RangeInclusive<i32> = -20..=20;

impl Landscape {
    /// The landscape of a system.
    pub fn of(hamiltonian: &Hamiltonian, geometry: &Geometry, sector: Sector) -> Self {
        let v = &hamiltonian.external;
        let (left, right) = geometry.interval();
        let inside = |x: f64| left < x && x < right;
        let specials: Vec<f64> = v.special_points().into_iter().filter(|x| inside(*x)).collect();
        let mut grid = scan(&specials, (left, right));
        let value = |x: f64| if inside(x) { v.value(x) } else { f64::NAN };
        let mut values: Vec<f64> = grid.iter().map(|x| value(*x)).collect();
        let minima = minima(&grid, &values, value);
        let lowest = minima.iter().map(|m| m.1).fold(f64::INFINITY, f64::min);
        let centres: Vec<f64> =
            specials.iter().copied().chain(minima.iter().map(|m| m.0)).collect();
        let knots = Knots::new(&centres, (left, right), value);
        let level = |centre: f64, width: f64| {
            gaussian(value, centre, width).max(knots.gaussian(centre, width))
        };
        let mut best = whole(geometry, value);
        for centre in centres {
            for width in OCTAVES.map(|k| f64::from(k).exp2()) {
                let energy = level(centre, width);
                if energy < best.energy {
                    best = Level { centre, width, energy };
                }
            }
        }
        for step in [0.5, 0.25, 0.125] {
            for _ in 0..4 {
                let Level { centre, width, energy } = best;
                for (c, w) in [
                    (centre, width * f64::exp2(step)),
                    (centre, width * f64::exp2(-step)),
                    (centre + step * width, width),
                    (centre - step * width, width),
                ] {
                    let found = level(c, w);
                    if found < best.energy {
                        best = Level { centre: c, width: w, energy: found };
                    }
                }
                if best.energy == energy {
                    break;
                }
            }
        }
        // The neighbourhood of the lowest state on a grid as fine as the state.
        grid.extend((-64..=64).map(|k| best.centre + f64::from(k) / 16.0 * best.width));
        grid.extend(minima.iter().map(|m| m.0));
        grid.retain(|x| inside(*x));
        grid.sort_by(f64::total_cmp);
        grid.dedup();
        values.clear();
        values.extend(grid.iter().map(|x| value(*x)));
        let region = region(&grid, &values, best.energy, sector.particles());
        let room = (left - region.0).abs().min((right - region.1).abs());
        let free = match geometry {
            Geometry::Line => true,
            Geometry::Box { .. } => best.energy.is_finite() && room > FAR * best.width,
            Geometry::Ring { .. } => false,
        };
        Landscape {
            length: best.width,
            centre: best.centre,
            level: best.energy,
            lowest: if lowest.is_finite() { lowest } else { 0.0 },
            region,
            free,
        }
    }
}

/// A trial state: its place, width and energy.
#[derive(Clone, Copy, Debug)]
struct Level {
    centre: f64,
    width: f64,
    energy: f64,
}

/// The points at which a potential is looked at first, ascending.
fn scan(specials: &[f64], (left, right): (f64, f64)) -> Vec<f64> {
    let mut grid: Vec<f64> = specials.iter().flat_map(|c| octaves(*c)).collect();
    if left.is_finite() {
        let step = (right - left) / f64::from(INSIDE);
        grid.extend((1..INSIDE).map(|i| left + f64::from(i) * step));
    }
    let fine = OCTAVES.flat_map(|k| {
        (0..PER_OCTAVE)
            .map(move |j| f64::from(k).exp2() * (1.0 + f64::from(j) / f64::from(PER_OCTAVE)))
    });
    grid.extend(fine.flat_map(|d| [-d, d]));
    grid.retain(|x| left < *x && *x < right);
    grid.sort_by(f64::total_cmp);
    grid.dedup();
    grid
}

/// The lowest minima on a grid, refined by golden section: place and value.
fn minima(grid: &[f64], values: &[f64], value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let finite = |i: usize| if values[i].is_finite() { values[i] } else { f64::INFINITY };
    let last = grid.len() - 1;
    let mut found: Vec<(f64, f64)> = (0..=last)
        .filter(|&i| {
            let below = |j: usize| finite(i) <= finite(j);
            finite(i).is_finite() && (i == 0 || below(i - 1)) && (i == last || below(i + 1))
        })
        .map(|i| (i as f64, finite(i)))
        .collect();
    // The innermost of equal ones: a lattice has many.
    found.sort_by(|a, b| {
        let near = |i: f64| grid[i as usize].abs();
        a.1.total_cmp(&b.1).then(near(a.0).total_cmp(&near(b.0)))
    });
    found.truncate(MOST_MINIMA);
    for m in &mut found {
        let i = m.0 as usize;
        let (mut a, mut b) = (grid[i.saturating_sub(1)], grid[(i + 1).min(last)]);
        let ratio = 0.5 * (5f64.sqrt() - 1.0);
        let (mut c, mut d) = (b - ratio * (b - a), a + ratio * (b - a));
        let (mut fc, mut fd) = (value(c), value(d));
        for _ in 0..100 {
            if fc < fd {
                (b, d, fd) = (d, c, fc);
                c = b - ratio * (b - a);
                fc = value(c);
            } else {
                (a, c, fc) = (c, d, fd);
                d = a + ratio * (b - a);
                fd = value(d);
            }
        }
        *m = (grid[i], m.1);
        for (x, f) in [(c, fc), (d, fd)] {
            if f < m.1 {
                *m = (x, f);
            }
        }
    }
    found
}

/// The potential on all scales about all its wells: what an even grid over a wide state steps over or hits by chance.
struct Knots {
    points: Vec<f64>,
    /// Half of the distance between the neighbours.
    weights: Vec<f64>,
    values: Vec<f64>,
}

impl Knots {
    fn new(centres: &[f64], (left, right): (f64, f64), v: impl Fn(f64) -> f64) -> Self {
        let mut points: Vec<f64> = centres.iter().flat_map(|c| octaves(*c)).collect();
        points.retain(|x| left < *x && *x < right);
        points.sort_by(f64::total_cmp);
        points.dedup();
        let at = |i: usize| points[i.min(points.len() - 1)];
        let weights =
            (0..points.len()).map(|i| 0.5 * (at(i + 1) - at(i.saturating_sub(1)))).collect();
        let values = points.iter().map(|x| v(*x)).collect();
        Knots { points, weights, values }
    }

    /// As [`gaussian`], by the trapezoidal rule; minus infinity where the knots do not resolve the state.
    fn gaussian(&self, centre: f64, width: f64) -> f64 {
        let reach = 3.2 * width;
        let first = self.points.partition_point(|x| *x < centre - reach);
        let last = self.points.partition_point(|x| *x <= centre + reach);
        let (mut sum, mut weights) = (0.0, 0.0);
        for i in first..last {
            let t = (self.points[i] - centre) / width;
            let weight = (-t * t).exp() * self.weights[i];
            sum += weight * self.values[i];
            weights += weight;
        }
        let resolved = (weights / (PI.sqrt() * width) - 1.0).abs() < 0.1;
        let energy = 0.25 / (width * width) + sum / weights;
        match (resolved, energy.is_finite()) {
            (true, true) => energy,
            (true, false) => f64::INFINITY,
            _ => f64::NEG_INFINITY,
        }
    }
}

/// `<T> + <v>` of `exp(-(x - centre)² / 2 width²)`.
fn gaussian(v: impl Fn(f64) -> f64, centre: f64, width: f64) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    // An irrational step: a period of the potential must not hit the same phase every time.
    let step = 17f64.sqrt().recip();
    for k in -12..=12 {
        let t = f64::from(k) * step;
        let weight = (-t * t).exp();
        sum += weight * v(centre + t * width);
        weights += weight;
    }
    let energy = 0.25 / (width * width) + sum / weights;
    if energy.is_finite() { energy } else { f64::INFINITY }
}

/// The lowest state of the empty geometry, in the potential.
fn whole(geometry: &Geometry, v: impl Fn(f64) -> f64) -> Level {
    let (left, right) = geometry.interval();
    let mean = |weight: fn(f64) -> f64| {
        let count = 400;
        let (mut sum, mut weights) = (0.0, 0.0);
        for i in 0..count {
            let u = (f64::from(i) + 0.5) / f64::from(count);
            sum += weight(u) * v(left + (right - left) * u);
            weights += weight(u);
        }
        let mean = sum / weights;
        if mean.is_finite() { mean } else { f64::INFINITY }
    };
    match geometry {
        Geometry::Line => Level { centre: 0.0, width: 1.0, energy: f64::INFINITY },
        Geometry::Box { half_width } => {
            let width = half_width * 2f64.sqrt() / PI;
            let energy = 0.25 / (width * width) + mean(|u| (PI * u).sin().powi(2));
            Level { centre: 0.0, width, energy }
        }
        Geometry::Ring { circumference } => {
            Level { centre: 0.0, width: circumference / (2.0 * PI), energy: mean(|_| 1.0) }
        }
    }
}

/// Where `v` is below the level up to which `particles` states are below it, by the rule of Bohr and Sommerfeld,
/// and at least below `level`.
fn region(grid: &[f64], values: &[f64], level: f64, particles: usize) -> (f64, f64) {
    let wanted = particles as f64 - 0.5;
    let finite = |v: f64| if v.is_finite() { v } else { f64::INFINITY };
    let states = |e: f64| {
        let momentum = |v: f64| (2.0 * (e - finite(v))).max(0.0).sqrt();
        let trapezoid =
            |(x, v): (&[f64], &[f64])| 0.5 * (x[1] - x[0]) * (momentum(v[0]) + momentum(v[1]));
        grid.windows(2).zip(values.windows(2)).map(trapezoid).sum::<f64>() / PI
    };
    let lowest = values.iter().copied().map(finite).fold(f64::INFINITY, f64::min);
    let ends = [values.first(), values.last()].into_iter().flatten();
    let far = ends.copied().map(finite).fold(f64::INFINITY, f64::min);
    let level = if level.is_finite() { level } else { lowest };
    // Never so high that nothing ends.
    let most = if far.is_finite() { far - 0.1 * (far - level).abs() } else { f64::MAX };
    let mut up = (level - lowest).max(1e-12 * (1.0 + lowest.abs()));
    for _ in 0..200 {
        if lowest + up >= most || states(lowest + up) >= wanted {
            break;
        }
        up *= 2.0;
    }
    let (mut a, mut b) = (0.0, up);
    for _ in 0..60 {
        let middle = 0.5 * (a + b);
        if states(lowest + middle) < wanted { a = middle } else { b = middle }
    }
    let top = (lowest + b).min(most).max(level.min(most));
    let below = |i: &usize| finite(values[*i]) <= top;
    let (first, last) = ((0..grid.len()).find(below), (0..grid.len()).rev().find(below));
    match (first, last) {
        (Some(i), Some(j)) => (grid[i], grid[j]),
        _ => (0.0, 0.0),
    }
}

/// The lowest values that `v` comes back to far out on either side of the line, from `from` to many times that.
pub(crate) fn far_out(v: &External, centre: f64, from: f64) -> f64 {
    let grid: Vec<f64> = (0..320).map(|i| from * f64::exp2(f64::from(i) / 64.0)).collect();
    let side = |sign: f64| {
        let at = |d: f64| v.value(centre + sign * d);
        let values: Vec<f64> = grid.iter().map(|d| at(*d)).collect();
        let lowest = minima(&grid, &values, at).iter().map(|m| m.1).fold(f64::INFINITY, f64::min);
        if lowest.is_nan() { f64::INFINITY } else { lowest }
    };
    side(1.0).min(side(-1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Interaction;

    fn landscape(external: &str, geometry: Geometry, up: usize) -> Landscape {
        let h = Hamiltonian {
            title: String::new(),
            external: ron::from_str(external).unwrap(),
            interaction: Interaction::None,
        };
        Landscape::of(&h, &geometry, Sector::new(up, 0))
    }

    #[test]
    fn the_oscillator_has_its_own_length_at_any_frequency() {
        for frequency in [1e-3, 0.3, 1.0, 50.0, 1e4] {
            let text = format!("Harmonic(frequency: {frequency:?})");
            let l = landscape(&text, Geometry::Line, 3);
            assert!((l.length * f64::sqrt(frequency) - 1.0).abs() < 0.1, "{l:?}");
            assert!((l.level / frequency - 0.5).abs() < 0.01, "{l:?}");
            let end = 5f64.sqrt() / frequency.sqrt();
            assert!((l.region.1 / end - 1.0).abs() < 0.05 && l.centre == 0.0, "{l:?}");
        }
    }

    #[test]
    fn wells_are_found_wherever_they_are() {
        for (text, centre, length) in [
            ("Formula(\"0.5*(x-30)^2\")", 30.0, 1.0),
            ("Formula(\"1e6 + 0.5*(x-30)^2\")", 30.0, 1.0),
            ("Formula(\"0.5*x^2 - 100*exp(-10*(x-10)^2)\")", 10.0, 0.15),
            ("Formula(\"-20*exp(-x^2) - 25*exp(-(x-12)^2)\")", 12.0, 0.38),
            ("Formula(\"-exp(-x^2) - 1e5*exp(-1e4*(x+40)^2)\")", -40.0, 0.005),
            ("Nuclei(charges: [1], positions: [5], softening: 0.1)", 5.0, 0.7),
            ("Formula(\"-0.01*exp(-x^2)\")", 0.0, 80.0),
        ] {
            let l = landscape(text, Geometry::Line, 1);
            assert!((l.centre - centre).abs() < 0.2 * length, "{text}: {l:?}");
            assert!((0.6..1.7).contains(&(l.length / length)), "{text}: {l:?}");
        }
    }

    #[test]
    fn walls_make_the_scale_of_an_empty_box_and_not_of_an_atom() {
        let empty = landscape("Free", Geometry::Box { half_width: 5.0 }, 2);
        assert!((empty.length - 5.0 * 2f64.sqrt() / PI).abs() < 1e-9 && !empty.free);
        let atom = "Nuclei(charges: [1], positions: [0])";
        let wide = landscape(atom, Geometry::Box { half_width: 1000.0 }, 1);
        let line = landscape(atom, Geometry::Line, 1);
        assert!(wide.free && wide.length == line.length, "{wide:?} {line:?}");
        assert!(!landscape(atom, Geometry::Box { half_width: 10.0 }, 1).free);
    }
}
