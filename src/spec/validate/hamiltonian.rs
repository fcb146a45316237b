//! Bounds of Hamiltonians: by themselves, in the space they are used in, and for what is to be found of them.

use super::Checked;
use super::bounds::{MAX_LENGTH, count, finite, finite_elements, length, positive, rule, violated};
use crate::contact::{self, Gas};
use crate::system::judgement;
use crate::system::landscape::Landscape;
use crate::system::syntax::octaves;
use crate::system::{External, Geometry, Hamiltonian, Interaction, Sector};

/// Most elements of a list of nuclei, and most potentials in all sums of a Hamiltonian.
const MAX_PARTS: usize = 256;

/// Checks a Hamiltonian by itself; field paths start at the Hamiltonian.
///
/// # Errors
///
/// The first [`Violation`](super::Violation).
pub fn hamiltonian(hamiltonian: &Hamiltonian) -> Checked {
    let Hamiltonian { title: _, external, interaction } = hamiltonian;
    // Sums of sums multiply, and every evaluation of the potential visits all of them.
    count("external", parts(external), 1, MAX_PARTS, "potential")?;
    count("interaction", interactions(interaction), 1, MAX_PARTS, "interaction")?;
    check_external("external", external)?;
    check_interaction("interaction", interaction)
}

fn check_external(path: &str, external: &External) -> Checked {
    let field = |name: &str| format!("{path}.{name}");
    match external {
        External::Free | External::Formula(_) | External::Moved(_) => Ok(()),
        External::Nuclei { charges, positions, softening } => {
            count(&field("charges"), charges.len(), 1, MAX_PARTS, "charge")?;
            if charges.len() != positions.len() {
                let bound = format!("as many positions as charges are needed, {}", charges.len());
                return violated(&field("positions"), bound, positions.len());
            }
            finite_elements(&field("charges"), charges)?;
            finite_elements(&field("positions"), positions)?;
            length(&field("softening"), *softening)
        }
        External::Harmonic { frequency } => positive(&field("frequency"), *frequency),
        External::Tabulated(table) => match table.problem() {
            None => Ok(()),
            Some(p) => violated(&field(&p.field()), p.bound, p.found),
        },
        External::DoubleWell { half_separation, strength } => {
            length(&field("half_separation"), *half_separation)?;
            positive(&field("strength"), *strength)
        }
        External::Lattice { depth, period } => {
            finite(&field("depth"), *depth)?;
            length(&field("period"), *period)
        }
        External::Sum(parts) => {
            count(path, parts.len(), 1, MAX_PARTS, "potential")?;
            let check = |(i, part)| check_external(&format!("{path}[{i}]"), part);
            parts.iter().enumerate().try_for_each(check)
        }
    }
}

/// Potentials in a sum and all sums in it; an empty sum counts, so that its own check can name it.
fn parts(external: &External) -> usize {
    match external {
        External::Sum(all) => all.iter().map(parts).sum::<usize>().max(1),
        _ => 1,
    }
}

/// As [`parts`], of interactions.
fn interactions(interaction: &Interaction) -> usize {
    match interaction {
        Interaction::Sum(all) => all.iter().map(interactions).sum::<usize>().max(1),
        _ => 1,
    }
}

/// Distances at which an interaction must be even: all scales about contact and about whatever its formula makes special.
fn distances(interaction: &Interaction) -> Vec<f64> {
    let special = interaction.special_points();
    let mut all: Vec<f64> = special.into_iter().flat_map(octaves).filter(|d| *d > 0.0).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}

fn check_interaction(path: &str, interaction: &Interaction) -> Checked {
    let field = |name: &str| format!("{path}.{name}");
    match interaction {
        Interaction::None => {}
        Interaction::SoftCoulomb { strength, softening }
        | Interaction::Dipolar { strength, softening } => {
            finite(&field("strength"), *strength)?;
            length(&field("softening"), *softening)?;
        }
        Interaction::Gaussian { strength, width } => {
            finite(&field("strength"), *strength)?;
            length(&field("width"), *width)?;
        }
        Interaction::Harmonic { stiffness } => finite(&field("stiffness"), *stiffness)?,
        Interaction::InverseSquare { strength } => finite(&field("strength"), *strength)?,
        Interaction::Contact { strength } => {
            if strength.is_nan() || *strength == f64::NEG_INFINITY {
                let bound = "must be a finite number, or `inf` for impenetrable particles";
                return violated(&field("strength"), bound, strength);
            }
        }
        Interaction::Sum(parts) => {
            count(path, parts.len(), 1, MAX_PARTS, "interaction")?;
            let check = |(i, part)| check_interaction(&format!("{path}[{i}]"), part);
            parts.iter().enumerate().try_for_each(check)?;
        }
        Interaction::Formula(_) | Interaction::Scaled(_) => {}
    }
    if !matches!(interaction, Interaction::Formula(_)) {
        return Ok(());
    }
    for d in distances(interaction) {
        let (right, left) = (interaction.value(d), interaction.value(-d));
        // Neither being a number is for `hamiltonian_in` to judge, which knows the distances in use.
        let even = right == left
            || (right.is_nan() && left.is_nan())
            || (right - left).abs() <= 1e-9 * right.abs().max(left.abs()).max(1e-9);
        if !even {
            let found = format!("w({d}) = {right} and w({}) = {left}", -d);
            return violated(path, "w(d) must be even in d (write abs(d) for |d|)", found);
        }
    }
    Ok(())
}

/// Checks a Hamiltonian in the space it is used in: finite potentials, nuclei inside, `v` periodic on a
/// ring. The Hamiltonian and the geometry must be valid by themselves.
///
/// # Errors
///
/// The first [`Violation`](super::Violation); field paths start at the Hamiltonian.
pub fn hamiltonian_in(hamiltonian: &Hamiltonian, geometry: &Geometry) -> Checked {
    nuclei_inside("external", &hamiltonian.external, geometry)?;
    if *geometry != Geometry::Line {
        tables_reach("external", &hamiltonian.external, geometry.interval())?;
    }
    external_finite("external", &hamiltonian.external, geometry)?;
    external_periodic(&hamiltonian.external, geometry)?;
    interaction_finite(&hamiltonian.interaction, geometry)
}

/// Checks that there is a ground state of finite energy: see [`judgement::ground_state`]. Everything else must be valid.
///
/// # Errors
///
/// A [`Violation`](super::Violation) of the potential that is to blame; field paths start at the Hamiltonian.
pub fn ground_state(hamiltonian: &Hamiltonian, geometry: &Geometry, sector: Sector) -> Checked {
    judgement::ground_state(hamiltonian, geometry, sector)
        .or_else(|reason| rule(reason.field(), &reason.to_string()))?;
    let external = &hamiltonian.external;
    if *geometry == Geometry::Line && has_tables(external) {
        // Beyond its points a table is a straight line, which holds the particles and says nothing about them.
        return tables_reach(
            "external",
            external,
            Landscape::of(hamiltonian, geometry, sector).region,
        );
    }
    Ok(())
}

/// Checks that a contact interaction is one that can be treated where it is.
///
/// # Errors
///
/// A [`Violation`](super::Violation) of the potential that is in the way; field paths start at the Hamiltonian.
pub fn contact_in(hamiltonian: &Hamiltonian, geometry: &Geometry, sector: Sector) -> Checked {
    // More components without a contact have the flow as well, which any potential is one for.
    if !contact::matters(hamiltonian, sector) || hamiltonian.interaction.contact() == 0.0 {
        return Ok(());
    }
    match Gas::new(hamiltonian, geometry, sector) {
        Ok(_) => Ok(()),
        Err(error) => rule(error.field(), &error.to_string()),
    }
}

/// Checks that a trained wavefunction may follow the particles where they meet; the exact solver can do more.
///
/// # Errors
///
/// A [`Violation`](super::Violation) of the interaction.
pub fn trainable(hamiltonian: &Hamiltonian, sector: Sector) -> Checked {
    match judgement::beyond_flows(hamiltonian, sector) {
        Some(reason) => rule("interaction", &reason),
        None => Ok(()),
    }
}

/// Runs `check` on every potential that is not a sum, with its path.
fn for_each_part(
    path: &str,
    external: &External,
    check: &impl Fn(&str, &External) -> Checked,
) -> Checked {
    match external {
        External::Sum(parts) => parts
            .iter()
            .enumerate()
            .try_for_each(|(i, part)| for_each_part(&format!("{path}[{i}]"), part, check)),
        _ => check(path, external),
    }
}

fn nuclei_inside(path: &str, external: &External, geometry: &Geometry) -> Checked {
    let (left, right) = geometry.window();
    for_each_part(path, external, &|path, part| {
        if let External::Nuclei { positions, .. } = part {
            for (i, &x) in positions.iter().enumerate() {
                // A nucleus on a wall is not inside; on a ring both ends are one ordinary point.
                let inside = match geometry {
                    Geometry::Box { .. } => left < x && x < right,
                    Geometry::Line => true,
                    Geometry::Ring { .. } => left <= x && x <= right,
                };
                if !inside {
                    let bound = format!("every nucleus must lie between {left} and {right}");
                    return violated(&format!("{path}.positions[{i}]"), bound, x);
                }
            }
        }
        Ok(())
    })
}

fn has_tables(external: &External) -> bool {
    match external {
        External::Tabulated(_) => true,
        External::Sum(parts) => parts.iter().any(has_tables),
        _ => false,
    }
}

/// Checks that tables have points everywhere between `left` and `right`, where the particles are.
fn tables_reach(path: &str, external: &External, (left, right): (f64, f64)) -> Checked {
    for_each_part(path, external, &|path, part| {
        let External::Tabulated(table) = part else { return Ok(()) };
        let (first, last) = table.interval();
        // Points that were computed end at a wall up to rounding.
        let slack = 1e-9 * (last - first);
        if table.is_periodic() || (first <= left + slack && right - slack <= last) {
            return Ok(());
        }
        let bound =
            format!("the points must reach from {left} to {right} bohr, where the particles go");
        violated(&format!("{path}.points"), bound, format!("{first} to {last}"))
    })
}

/// Intervals of the grid on which potentials are looked at; with an even number, the middle is a point.
const GRID: u32 = 2000;

fn external_finite(path: &str, external: &External, geometry: &Geometry) -> Checked {
    let (left, right) = match geometry {
        Geometry::Line => {
            // Where a particle may be, and as much again on either side: beyond, infinity is as good as a wall.
            let hamiltonian = Hamiltonian {
                title: String::new(),
                external: external.clone(),
                interaction: Interaction::None,
            };
            let found = Landscape::of(&hamiltonian, geometry, Sector::new(1, 0));
            let width = (found.region.1 - found.region.0).max(found.length).min(MAX_LENGTH);
            (found.region.0 - width, found.region.1 + width)
        }
        finite => finite.interval(),
    };
    for_each_part(path, external, &|path, part| {
        // Not at the walls: the wavefunction vanishes there, and a potential may diverge.
        let x = |j: u32| left + (right - left) * (f64::from(j) / f64::from(GRID));
        let values: Vec<f64> = (1..GRID).map(|j| part.value(x(j))).collect();
        match first_pole(&values) {
            // The number of grid points is far below the range of u32.
            Some(i) => not_finite(path, "v(x)", "x", x(i as u32 + 1), values[i]),
            None => Ok(()),
        }
    })
}

fn interaction_finite(interaction: &Interaction, geometry: &Geometry) -> Checked {
    let (left, right) = geometry.window();
    let longest = match geometry {
        Geometry::Box { .. } | Geometry::Line => right - left,
        // The diameter: the longest chord.
        Geometry::Ring { circumference } => circumference / std::f64::consts::PI,
    };
    // From the first distance beyond zero: interactions may diverge at contact.
    let d = |j: u32| longest * (f64::from(j) / f64::from(GRID));
    let values: Vec<f64> = (1..=GRID).map(|j| interaction.value(d(j))).collect();
    match first_pole(&values) {
        Some(i) => not_finite("interaction", "w(d)", "d", d(i as u32 + 1), values[i]),
        None => Ok(()),
    }
}

/// Index of the first value that is not finite, or so much larger than those around that only a pole
/// explains it: rounding keeps `1/(x - 0.3)` finite at the grid point 0.3.
fn first_pole(values: &[f64]) -> Option<usize> {
    (0..values.len()).find(|&i| {
        let neighbour = |i: Option<usize>| i.and_then(|i| values.get(i)).map(|v| v.abs());
        let spike = match (neighbour(i.checked_sub(1)), neighbour(i.checked_add(1))) {
            (Some(a), Some(b)) => values[i].abs() > 1e6 * (1.0 + a.max(b)),
            _ => false,
        };
        !values[i].is_finite() || spike
    })
}

fn not_finite(path: &str, function: &str, variable: &str, at: f64, value: f64) -> Checked {
    let found = format!("{value} at {variable} = {at}");
    violated(path, format!("{function} must be finite in the space of the particles"), found)
}

fn external_periodic(external: &External, geometry: &Geometry) -> Checked {
    let Geometry::Ring { circumference } = geometry else { return Ok(()) };
    let (left, right) = geometry.interval();
    let close = |a: f64, b: f64, scale: f64| (a - b).abs() <= 1e-8 * scale.max(1e-3);
    let values = (external.value(left), external.value(right));
    let slopes = (external.derivative(left), external.derivative(right));
    let scale = values.0.abs().max(slopes.0.abs()).max(slopes.1.abs());
    if close(values.0, values.1, scale) && close(slopes.0, slopes.1, scale) {
        return Ok(());
    }
    let found = format!(
        "v = {} and {}, dv/dx = {} and {} where the ring of circumference {circumference} closes",
        values.0, values.1, slopes.0, slopes.1
    );
    violated("external", "on a Ring v(x) must be periodic with its derivative", found)
}
