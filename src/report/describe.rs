//! The system of a run in words and symbols, as plain text.

use crate::system::{External, Geometry, Interaction, Sector};

/// The Hamiltonian of every run.
pub const HAMILTONIAN: &str = "H = Σᵢ [ −½ ∂²/∂xᵢ² + v(xᵢ) ] + Σᵢ<ⱼ w(xᵢ − xⱼ)";

/// The particles: `2 fermions, both spin up`.
pub fn sector(sector: &Sector) -> String {
    let fermions = |n: usize| if n == 1 { "fermion" } else { "fermions" };
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
        External::Sum(parts) => parts.iter().map(external_words).collect::<Vec<_>>().join(" and "),
        External::Moved(moved) => external_words(&moved.0),
    }
}

/// `v(x)` in Hartree, with its numbers: `−2/√(x² + 1)`.
pub fn external(external: &External) -> String {
    match external {
        External::Free => "0".into(),
        External::Nuclei { charges, positions, softening } => {
            let terms: Vec<String> = charges
                .iter()
                .zip(positions)
                .map(|(&z, &r)| over_root(-z, &shifted(r), *softening))
                .collect();
            sum(&terms)
        }
        External::Harmonic { frequency } => match *frequency {
            1.0 => "½ x²".into(),
            w => format!("½ · {}² x²", number(w)),
        },
        External::DoubleWell { half_separation, strength } => {
            format!("{}(x² − {})²", factor(*strength), square(*half_separation))
        }
        External::Lattice { depth, period } => {
            format!("{}sin²(π x / {})", factor(*depth), number(*period))
        }
        External::Formula(f) => f.text().into(),
        External::Sum(parts) => sum(&parts.iter().map(self::external).collect::<Vec<_>>()),
        External::Moved(moved) => self::external(&moved.0),
    }
}

/// `w(d)` in Hartree, with its numbers: `1/√(d² + 1)`.
pub fn interaction(interaction: &Interaction) -> String {
    match interaction {
        Interaction::None => "0".into(),
        Interaction::SoftCoulomb { strength, softening } => over_root(*strength, "d", *softening),
        Interaction::Gaussian { strength, width } => {
            format!("{}exp(−d² / (2 · {}))", factor(*strength), square(*width))
        }
        Interaction::Dipolar { strength, softening } => {
            let a =
                if *softening == 1.0 { "1".into() } else { format!("{}³", number(*softening)) };
            format!("{}/(|d|³ + {a})", number(*strength))
        }
        Interaction::Harmonic { stiffness } => match *stiffness {
            1.0 => "½ d²".into(),
            k if k < 0.0 => format!("½ · ({}) d²", number(k)),
            k => format!("½ · {} d²", number(k)),
        },
        Interaction::InverseSquare { strength } => format!("{}/d²", number(*strength)),
        Interaction::Formula(f) => f.text().into(),
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
    if a.abs() == 1.0 { "1".into() } else { format!("{}²", number(a.abs())) }
}

/// A factor before something else, nothing for one.
fn factor(a: f64) -> String {
    if a == 1.0 { String::new() } else { format!("{} ", number(a)) }
}

/// A number with a true minus sign.
fn number(x: f64) -> String {
    format!("{x}").replace('-', "−")
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
            (Interaction::Harmonic { stiffness: -0.1 }, "½ · (−0.1) d²"),
        ] {
            assert_eq!(interaction(&w), expected);
        }
        let formula: Interaction = ron::from_str("Formula(\"2/d^2\")").unwrap();
        assert_eq!(interaction(&formula), "2/d^2");
    }

    #[test]
    fn systems_in_words() {
        assert_eq!(sector(&Sector { up: 2, down: 0 }), "2 fermions, both spin up");
        assert_eq!(sector(&Sector { up: 2, down: 1 }), "3 fermions, 2 spin up and 1 spin down");
        assert_eq!(
            geometry(&Geometry::Box { half_width: 10.0 }),
            "in a box with hard walls at x = ±10 bohr"
        );
    }
}
