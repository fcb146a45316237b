//! The system of a run in words and symbols, as plain text.

use crate::system::{External, Geometry, Interaction, Sector};

/// The Hamiltonian of every run.
pub const HAMILTONIAN: &str = "H = Σᵢ [ −½ ∂²/∂xᵢ² + v(xᵢ) ] + Σᵢ<ⱼ w(xᵢ − xⱼ)";

/// The particles: `2 fermions, both spin up`.
pub fn sector(sector: &Sector) -> String {
    let fermions = |n: usize| if n == 1 { "fermion" } else { "fermions" };
    if sector.is_many() {
        let counts = sector.components();
        let shown: Vec<String> = counts.iter().map(usize::to_string).collect();
        let (n, components) = (sector.particles(), counts.len());
        return format!("{n} fermions of {components} components, {}", shown.join(" + "));
    }
    match (sector.up, sector.down) {
        (0, 0) => "no particles".into(),
        (1, 0) => "1 fermion, spin up".into(),
        (0, 1) => "1 fermion, spin down".into(),
        (2, 0) => "2 fermions, both spin up".into(),
        (0, 2) => "2 fermions, both spin down".into(),
        (n, 0) => format!("{n} fermions, all spin up"),
        (0, n) => format!("{n} fermions, all spin down"),
        (u, d) => format!("{} {}, {u} spin up and {d} spin down", u + d, fermions(u + d)),
    }
}

/// The space: `in a box with hard walls at x = ±10 bohr`.
pub fn geometry(geometry: &Geometry) -> String {
    match geometry {
        Geometry::Box { half_width } => {
            format!("in a box with hard walls at x = ±{half_width} bohr")
        }
        Geometry::Ring { circumference } => {
            format!("on a ring of circumference {circumference} bohr")
        }
        Geometry::Line => "on the infinite line".to_owned(),
    }
}

/// The external potential in a few words.
pub fn external_words(external: &External) -> String {
    match external {
        External::Free => "no external potential".into(),
        External::Nuclei { charges, .. } => match charges[..] {
            [z] => format!("a soft-Coulomb nucleus with Z = {z}"),
            _ => format!("{} soft-Coulomb nuclei", charges.len()),
        },
        External::Harmonic { .. } => "a harmonic trap".into(),
        External::DoubleWell { .. } => "a double well".into(),
        External::Lattice { .. } => "an optical lattice".into(),
        External::Formula(_) => "a potential of the user".into(),
        External::Tabulated(_) => "a tabulated potential".into(),
        External::Sum(parts) => parts.iter().map(external_words).collect::<Vec<_>>().join(" and "),
        External::Moved(moved) => external_words(&moved.0),
    }
}

/// `v(x)` in Hartree, with its numbers: `−2/√(x² + 1)`.
pub fn external(external: &External) -> String {
    sum(&external_terms(external))
}

/// The terms of `v(x)` that are not zero.
fn external_terms(external: &External) -> Vec<String> {
    match external {
        External::Free => vec![],
        External::Nuclei { charges, positions, softening } => charges
            .iter()
            .zip(positions)
            .filter(|(z, _)| **z != 0.0)
            .map(|(&z, &r)| over_root(-z, &shifted(r), *softening))
            .collect(),
        External::Harmonic { frequency } => match frequency.abs() {
            0.0 => vec![],
            1.0 => vec!["½ x²".into()],
            w => vec![format!("½ · {}² x²", operand(w))],
        },
        External::DoubleWell { strength: 0.0, .. } | External::Lattice { depth: 0.0, .. } => {
            vec![]
        }
        External::DoubleWell { half_separation: 0.0, strength } => {
            vec![format!("{}x⁴", factor(*strength))]
        }
        External::DoubleWell { half_separation, strength } => {
            vec![format!("{}(x² − {})²", factor(*strength), square(*half_separation))]
        }
        External::Lattice { depth, period } => {
            vec![format!("{}sin²(π x / {})", factor(*depth), operand(*period))]
        }
        External::Formula(f) => vec![f.text().trim().into()],
        External::Tabulated(t) => {
            let (first, last) = t.interval();
            vec![format!("spline of {} points from {first} to {last}", t.points().len())]
        }
        External::Sum(parts) => {
            let terms: Vec<String> = parts.iter().flat_map(external_terms).collect();
            if terms.len() < 2 { terms } else { terms.iter().map(|t| enclosed(t)).collect() }
        }
        External::Moved(moved) => external_terms(&moved.0),
    }
}

/// `w(d)` in Hartree, with its numbers: `1/√(d² + 1)`.
pub fn interaction(interaction: &Interaction) -> String {
    match interaction {
        Interaction::None
        | Interaction::SoftCoulomb { strength: 0.0, .. }
        | Interaction::Gaussian { strength: 0.0, .. }
        | Interaction::Dipolar { strength: 0.0, .. }
        | Interaction::Harmonic { stiffness: 0.0 }
        | Interaction::InverseSquare { strength: 0.0 } => "0".into(),
        Interaction::SoftCoulomb { strength, softening } => over_root(*strength, "d", *softening),
        Interaction::Gaussian { strength, width } => {
            format!("{}exp(−d² / (2 · {}))", factor(*strength), square(*width))
        }
        Interaction::Dipolar { strength, softening: 0.0 } => {
            format!("{}/|d|³", number(*strength))
        }
        Interaction::Dipolar { strength, softening } => {
            let a =
                if *softening == 1.0 { "1".into() } else { format!("{}³", operand(*softening)) };
            format!("{}/(|d|³ + {a})", number(*strength))
        }
        Interaction::Harmonic { stiffness } => match *stiffness {
            1.0 => "½ d²".into(),
            -1.0 => "−½ d²".into(),
            k if k < 0.0 => format!("−½ · {} d²", number(-k)),
            k => format!("½ · {} d²", number(k)),
        },
        Interaction::InverseSquare { strength } => format!("{}/d²", number(*strength)),
        Interaction::Formula(f) => f.text().trim().into(),
        Interaction::Contact { strength: 0.0 } => "0".into(),
        Interaction::Contact { strength } if strength.is_infinite() => "∞ δ(d)".into(),
        Interaction::Contact { strength } => format!("{} δ(d)", number(*strength)),
        Interaction::Sum(parts) => {
            let shown: Vec<String> = parts.iter().map(self::interaction).collect();
            shown.join(" + ")
        }
        Interaction::Scaled(scaled) => self::interaction(&scaled.0),
    }
}

/// `q/√(x² + a²)`.
fn over_root(q: f64, x: &str, softening: f64) -> String {
    if softening == 0.0 {
        return format!("{}/|{}|", number(q), x.trim_matches(['(', ')']));
    }
    format!("{}/√({x}² + {})", number(q), square(softening))
}

/// `x`, or `(x − r)`.
fn shifted(r: f64) -> String {
    if r == 0.0 {
        "x".into()
    } else if r < 0.0 {
        format!("(x + {})", number(-r))
    } else {
        format!("(x − {})", number(r))
    }
}

/// A squared number: `1` for one, otherwise with its exponent.
fn square(a: f64) -> String {
    if a.abs() == 1.0 { "1".into() } else { format!("{}²", operand(a.abs())) }
}

/// A factor before something else, nothing for one.
fn factor(a: f64) -> String {
    match a {
        1.0 => String::new(),
        -1.0 => "−".into(),
        a => format!("{} ", number(a)),
    }
}

/// A number with a true minus sign, and as a power of ten where it would be a row of zeros.
fn number(x: f64) -> String {
    let size = x.abs();
    let text = match size {
        0.0 => return "0".into(),
        _ if (1e-4..1e6).contains(&size) => format!("{x}"),
        _ => match format!("{x:e}").split_once('e') {
            Some((digits, power)) => {
                let ten = format!("10{}", super::svg::superscript(power));
                match digits {
                    "1" => ten,
                    "-1" => format!("-{ten}"),
                    _ => format!("{digits}·{ten}"),
                }
            }
            None => format!("{x}"),
        },
    };
    text.replace('-', "−")
}

/// A number to raise to a power or to divide by.
fn operand(x: f64) -> String {
    let text = number(x);
    if (1e-4..1e6).contains(&x.abs()) || x == 0.0 { text } else { format!("({text})") }
}

/// A term as part of a sum: formulas of users that start with a sign get parentheses.
fn enclosed(term: &str) -> String {
    if term.starts_with(['-', '+']) { format!("({term})") } else { term.into() }
}

/// Terms with signs between them.
fn sum(terms: &[String]) -> String {
    let mut text = String::new();
    for term in terms {
        match (text.is_empty(), term.strip_prefix('−')) {
            (true, _) => text.push_str(term),
            (false, Some(rest)) => text.push_str(&format!(" − {rest}")),
            (false, None) => text.push_str(&format!(" + {term}")),
        }
    }
    if text.is_empty() { "0".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn potentials_in_symbols() {
        let nuclei = |charges: &[f64], positions: &[f64], softening| External::Nuclei {
            charges: charges.into(),
            positions: positions.into(),
            softening,
        };
        for (v, expected) in [
            (External::Free, "0"),
            (nuclei(&[2.0], &[0.0], 1.0), "−2/√(x² + 1)"),
            (
                nuclei(&[1.0, 3.0], &[-0.8, 0.8], 0.5),
                "−1/√((x + 0.8)² + 0.5²) − 3/√((x − 0.8)² + 0.5²)",
            ),
            (External::Harmonic { frequency: 1.0 }, "½ x²"),
            (External::Harmonic { frequency: 0.25 }, "½ · 0.25² x²"),
            (External::DoubleWell { half_separation: 1.5, strength: 2.0 }, "2 (x² − 1.5²)²"),
            (
                External::Sum(vec![
                    External::Lattice { depth: 3.0, period: 2.0 },
                    nuclei(&[1.0], &[0.0], 1.0),
                ]),
                "3 sin²(π x / 2) − 1/√(x² + 1)",
            ),
            (External::Sum(vec![]), "0"),
            (nuclei(&[0.0, 1.0], &[-0.8, 0.8], 0.0), "−1/|x − 0.8|"),
            (nuclei(&[0.0], &[0.0], 1.0), "0"),
            (External::Harmonic { frequency: 0.0 }, "0"),
            (External::Harmonic { frequency: -2.0 }, "½ · 2² x²"),
            (External::DoubleWell { half_separation: 1.5, strength: -0.0 }, "0"),
            (External::DoubleWell { half_separation: 0.0, strength: 1.0 }, "x⁴"),
            (External::Lattice { depth: 0.0, period: 2.0 }, "0"),
            (External::Lattice { depth: -1.0, period: 2.0 }, "−sin²(π x / 2)"),
            (External::Lattice { depth: 1e300, period: 2e-9 }, "10³⁰⁰ sin²(π x / (2·10⁻⁹))"),
            (
                External::Sum(vec![
                    External::Lattice { depth: 0.0, period: 2.0 },
                    External::Harmonic { frequency: 1.0 },
                    External::Formula("-x".parse().unwrap()),
                ]),
                "½ x² + (-x)",
            ),
            (External::Sum(vec![External::Free, External::Formula("-x".parse().unwrap())]), "-x"),
        ] {
            assert_eq!(external(&v), expected);
        }
    }

    #[test]
    fn interactions_in_symbols() {
        for (w, expected) in [
            (Interaction::None, "0"),
            (Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 }, "1/√(d² + 1)"),
            (Interaction::Gaussian { strength: -2.0, width: 0.5 }, "−2 exp(−d² / (2 · 0.5²))"),
            (Interaction::Dipolar { strength: 1.0, softening: 0.1 }, "1/(|d|³ + 0.1³)"),
            (Interaction::Harmonic { stiffness: -0.1 }, "−½ · 0.1 d²"),
            (Interaction::SoftCoulomb { strength: 0.0, softening: 1.0 }, "0"),
            (Interaction::SoftCoulomb { strength: -0.0, softening: 0.0 }, "0"),
            (Interaction::Gaussian { strength: 0.0, width: 0.5 }, "0"),
            (Interaction::Gaussian { strength: -1.0, width: 1.0 }, "−exp(−d² / (2 · 1))"),
            (Interaction::Dipolar { strength: 0.0, softening: 0.1 }, "0"),
            (Interaction::Dipolar { strength: 2.0, softening: 0.0 }, "2/|d|³"),
            (Interaction::Harmonic { stiffness: 0.0 }, "0"),
            (Interaction::InverseSquare { strength: 0.0 }, "0"),
        ] {
            assert_eq!(interaction(&w), expected);
        }
        let formula: Interaction = ron::from_str("Formula(\"2/d^2\")").unwrap();
        assert_eq!(interaction(&formula), "2/d^2");
    }

    #[test]
    fn systems_in_words() {
        assert_eq!(sector(&Sector::new(2, 0)), "2 fermions, both spin up");
        assert_eq!(sector(&Sector::new(2, 1)), "3 fermions, 2 spin up and 1 spin down");
        assert_eq!(
            geometry(&Geometry::Box { half_width: 10.0 }),
            "in a box with hard walls at x = ±10 bohr"
        );
    }
}
