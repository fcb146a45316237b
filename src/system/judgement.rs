//! Which systems have no ground state, or none of finite energy: one judgement for specs, runs and the exact solver.

use super::landscape::{Landscape, far_out};
use super::syntax::Powers;
use super::{External, Geometry, Hamiltonian, Interaction, Sector};

/// How an interaction behaves where two particles meet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Contact {
    /// It has a limit.
    Finite,
    /// It diverges less than `1/d²`: to this sign of infinity.
    Weak(f64),
    /// It goes like `c/d²`.
    InverseSquare(f64),
    /// It diverges more than `1/d²`: to this sign of infinity.
    Strong(f64),
}

/// How an interaction behaves at contact, by the structure of its formula where that tells.
pub(crate) fn contact(interaction: &Interaction) -> Contact {
    match interaction {
        Interaction::InverseSquare { strength } if *strength != 0.0 => {
            Contact::InverseSquare(*strength)
        }
        Interaction::Formula(f) => {
            if f.value(0.0).is_finite() {
                return Contact::Finite;
            }
            match f.series().map(|s| s.leading()) {
                Some((0.., _)) => Contact::Finite,
                Some((-1, c)) => Contact::Weak(c.signum()),
                Some((-2, c)) => Contact::InverseSquare(c),
                Some((_, c)) => Contact::Strong(c.signum()),
                None => by_growth(|d| f.value(d)),
            }
        }
        Interaction::Scaled(scaled) => contact(&scaled.0),
        Interaction::Sum(parts) => parts.iter().map(contact).fold(Contact::Finite, stronger),
        _ => Contact::Finite,
    }
}

/// What two interactions together do at contact.
fn stronger(a: Contact, b: Contact) -> Contact {
    let rank = |c: &Contact| match c {
        Contact::Finite => 0,
        Contact::Weak(_) => 1,
        Contact::InverseSquare(_) => 2,
        Contact::Strong(_) => 3,
    };
    match (a, b) {
        (Contact::InverseSquare(a), Contact::InverseSquare(b)) => Contact::InverseSquare(a + b),
        // Which of two divergences of one kind wins is not known: the worse is assumed.
        (Contact::Strong(a), Contact::Strong(b)) => Contact::Strong(a.min(b)),
        (Contact::Weak(a), Contact::Weak(b)) => Contact::Weak(a.min(b)),
        (a, b) if rank(&a) >= rank(&b) => a,
        (_, b) => b,
    }
}

/// What has no power series: by how much it grows when the distance is halved.
fn by_growth(w: impl Fn(f64) -> f64) -> Contact {
    let d = 30f64.exp2().recip();
    let (far, near) = (w(d), w(0.5 * d));
    let ratio = near / far;
    match ratio {
        _ if !far.is_finite() || !near.is_finite() => Contact::Strong(near.signum()),
        _ if (ratio - 1.0).abs() < 1e-6 => Contact::Finite,
        ..3.9 => Contact::Weak(near.signum()),
        3.9..4.1 => Contact::InverseSquare(near * 0.25 * d * d),
        _ => Contact::Strong(near.signum()),
    }
}

/// Why there is no ground state.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoGroundState {
    /// `w` diverges at contact and opposite spins meet there.
    #[error(
        "the interaction diverges at contact, where opposite spins may meet: only spin-polarised \
         sectors are solved (a strong enough divergence makes all spin orders degenerate with them)"
    )]
    SingularBetweenOppositeSpins,
    /// An attraction of `-1/(4 d²)` or more: equal spins fall onto each other.
    #[error(
        "the attraction at contact is too strong: w(d) goes like {strength:.6}/d², and from -1/(4 d²) on the energy has \
         no lower bound or depends on what happens at contact"
    )]
    Collapse {
        /// Coefficient of `1/d²`, in Hartree bohr²; minus infinity for stronger divergences.
        strength: f64,
    },
    /// The springs between the particles push them apart more than the trap holds them.
    #[error(
        "the particles are not held together: omega² + N k = {found} must be positive, with omega² = {trap} of the \
         trap and k = {stiffness} of the interaction for {particles} particles"
    )]
    Springs {
        /// `omega²`.
        trap: f64,
        /// Spring constant.
        stiffness: f64,
        /// Number of particles.
        particles: usize,
        /// `omega² + N k`.
        found: f64,
    },
    /// The energy falls without end as particles move out.
    #[error(
        "the energy has no lower bound: it keeps falling as particles move out to x = {at:.3e}"
    )]
    Unbounded {
        /// How far the search went, in bohr.
        at: f64,
    },
    /// The external potential diverges.
    #[error("v(x) must be finite in the space of the particles, found a pole at x = {at}")]
    Pole {
        /// Where, in bohr.
        at: f64,
    },
    /// Nothing holds the particles on the line.
    #[error(
        "on the Line v(x) must hold the particles: be lower somewhere than it comes back to far out on either side, \
         found {lowest:.6} at its lowest and {far:.6} far out"
    )]
    NotHeld {
        /// Lowest value, in Hartree.
        lowest: f64,
        /// Lowest value far out, in Hartree.
        far: f64,
    },
}

impl NoGroundState {
    /// The field of a Hamiltonian that is to blame.
    pub fn field(&self) -> &'static str {
        match self {
            NoGroundState::SingularBetweenOppositeSpins
            | NoGroundState::Collapse { .. }
            | NoGroundState::Springs { .. } => "interaction",
            NoGroundState::Unbounded { .. }
            | NoGroundState::Pole { .. }
            | NoGroundState::NotHeld { .. } => "external",
        }
    }
}

/// Whether a system may have a ground state of finite energy. Whether it holds as many particles as there are, only
/// the solution tells.
///
/// # Errors
/// [`NoGroundState`] where it certainly has none.
pub fn ground_state(
    hamiltonian: &Hamiltonian,
    geometry: &Geometry,
    sector: Sector,
) -> Result<(), NoGroundState> {
    at_contact(&hamiltonian.interaction, sector)?;
    poles(&hamiltonian.external, geometry)?;
    if *geometry == Geometry::Line {
        springs(hamiltonian, sector)?;
        far_away(hamiltonian, sector)?;
    }
    Ok(())
}

fn at_contact(interaction: &Interaction, sector: Sector) -> Result<(), NoGroundState> {
    if sector.particles() < 2 {
        return Ok(());
    }
    let collapse = |strength| Err(NoGroundState::Collapse { strength });
    match contact(interaction) {
        Contact::Finite => Ok(()),
        Contact::InverseSquare(strength) if strength <= -0.25 => collapse(strength),
        Contact::Strong(sign) if sign < 0.0 => collapse(f64::NEG_INFINITY),
        _ if sector.spins().count() > 1 => Err(NoGroundState::SingularBetweenOppositeSpins),
        _ => Ok(()),
    }
}

/// Why the trained wavefunctions cannot have the short-range behaviour of a system that has a ground state.
pub fn beyond_flows(hamiltonian: &Hamiltonian, sector: Sector) -> Option<String> {
    let polarised = sector.up > 1 || sector.down > 1;
    match contact(&hamiltonian.interaction) {
        Contact::InverseSquare(c) if c < 0.0 && polarised => {
            let power = 0.5 + (0.25 + c).sqrt();
            Some(format!(
                "an attractive {c}/d² makes the wavefunction vanish like |d|^{power:.4} at contact, more steeply than \
                 any trained wavefunction here: its local energies would have no variance (`weylflow exact` solves \
                 it, for the extension with the larger power)"
            ))
        }
        _ => None,
    }
}

/// The external potential as a sum of powers, where its structure says so.
fn powers(external: &External) -> Option<Powers> {
    match external {
        External::Free => Some(Powers::new()),
        External::Harmonic { frequency } => {
            Some(Powers::from([((2, false), 0.5 * frequency * frequency)]))
        }
        External::Formula(f) => f.powers(),
        External::Sum(parts) => parts.iter().try_fold(Powers::new(), |mut sum, part| {
            for (k, c) in powers(part)? {
                *sum.entry(k).or_insert(0.0) += c;
            }
            Some(sum)
        }),
        _ => None,
    }
}

fn springs(hamiltonian: &Hamiltonian, sector: Sector) -> Result<(), NoGroundState> {
    let particles = sector.particles();
    let stiffness = spring(&hamiltonian.interaction);
    let trap = powers(&hamiltonian.external).and_then(|p| square(&p));
    let (Some(stiffness), Some(trap)) = (stiffness, trap) else { return Ok(()) };
    let found = trap + particles as f64 * stiffness;
    if particles > 1 && stiffness < 0.0 && found <= 1e-12 * trap.abs() {
        return Err(NoGroundState::Springs { trap, stiffness, particles, found });
    }
    Ok(())
}

/// The spring constant of an interaction that is a spring, or that and forces that have no reach.
fn spring(interaction: &Interaction) -> Option<f64> {
    match interaction {
        Interaction::Harmonic { stiffness } => Some(*stiffness),
        Interaction::Formula(f) => f.powers().and_then(|p| square(&p)),
        Interaction::Sum(parts) => {
            let reach = |part: &&Interaction| {
                matches!(part, Interaction::Harmonic { .. } | Interaction::Formula(_))
            };
            let known = |part: &Interaction| {
                matches!(
                    part,
                    Interaction::None
                        | Interaction::Contact { .. }
                        | Interaction::SoftCoulomb { .. }
                        | Interaction::Gaussian { .. }
                        | Interaction::Dipolar { .. }
                        | Interaction::InverseSquare { .. }
                )
            };
            let rest = parts.iter().filter(|part| !reach(part)).all(known);
            if !rest {
                return None;
            }
            parts.iter().filter(reach).map(spring).sum()
        }
        _ => None,
    }
}

/// Twice the coefficient of the square where no higher power comes with it.
fn square(p: &Powers) -> Option<f64> {
    let highest = p.keys().map(|k| k.0).max().unwrap_or(0);
    (highest <= 2).then(|| 2.0 * p.get(&(2, false)).copied().unwrap_or(0.0))
}

/// Halvings of the distance to a point over which a pole must keep growing.
const HALVINGS: i32 = 28;

/// Poles of formulas; the other potentials have none.
fn poles(external: &External, geometry: &Geometry) -> Result<(), NoGroundState> {
    if let External::Sum(parts) = external {
        return parts.iter().try_for_each(|part| poles(part, geometry));
    }
    let External::Formula(_) = external else { return Ok(()) };
    let (left, right) = geometry.interval();
    for at in external.special_points().into_iter().filter(|x| left < *x && *x < right) {
        let scale = if at == 0.0 { 1.0 } else { at.abs() };
        let side = |sign: f64| {
            let near = |j: i32| external.value(at + sign * scale * f64::from(-12 - j).exp2());
            let values: Vec<f64> = (0..=HALVINGS).map(near).collect();
            let grows = |w: &[f64]| w[1].abs() > 1.3 * w[0].abs();
            // Beyond what any scale of the rest explains.
            values.windows(2).all(grows) || values.iter().any(|v| v.is_infinite())
        };
        let beside = [-1.0, 1.0].map(|s| external.value(at + s * scale * 1e-9));
        let removable = (beside[0] - beside[1]).abs() <= 1e-4 * beside[0].abs().max(1.0);
        let value = external.value(at);
        if side(-1.0) || side(1.0) || (!value.is_finite() && !removable) {
            return Err(NoGroundState::Pole { at });
        }
    }
    Ok(())
}

/// Octaves that the search for a fall without end goes out, and those at their end that must all fall.
const OUT: i32 = 14;
const LAST: usize = 5;

/// Particles in the middle, to the left and to the right, farther and farther out.
fn far_away(hamiltonian: &Hamiltonian, sector: Sector) -> Result<(), NoGroundState> {
    let Hamiltonian { external: v, interaction: w, .. } = hamiltonian;
    let landscape = Landscape::of(hamiltonian, &Geometry::Line, sector);
    let (left, right) = landscape.region;
    let centre = landscape.centre;
    let specials = v.special_points();
    let extent = specials.iter().chain([&left, &right]).map(|x| (x - centre).abs());
    let start = 4.0 * extent.fold(landscape.length, f64::max).min(1e6);
    let n = sector.particles();
    let distances: Vec<f64> = (0..=OUT).map(|k| start * f64::from(k).exp2()).collect();
    let zero = v.value(centre);
    for l in 0..=n {
        for r in 0..=n - l {
            let c = n - l - r;
            if l + r == 0 {
                continue;
            }
            let energy = |&x: &f64| {
                // A pair that meets at contact counts nothing, and nothing times infinity is nothing.
                let term = |count: usize, f: f64| if count == 0 { 0.0 } else { count as f64 * f };
                term(l, v.value(centre - x))
                    + term(r, v.value(centre + x))
                    + term(c, zero)
                    + term(l * r, w.value(2.0 * x))
                    + term(c * (l + r), w.value(x))
            };
            let energies: Vec<f64> = distances.iter().map(energy).collect();
            let last = &energies[energies.len() - LAST..];
            let falls: Vec<f64> = last.windows(2).map(|e| e[0] - e[1]).collect();
            let endless = falls.windows(2).all(|f| f[1] >= 0.9 * f[0])
                && falls[0] > 1e-9 * (landscape.level.abs() + zero.abs());
            if endless || last.contains(&f64::NEG_INFINITY) {
                return Err(NoGroundState::Unbounded {
                    at: centre + start * f64::from(OUT).exp2(),
                });
            }
        }
    }
    let far = far_out(v, centre, 64.0 * start);
    let lowest = landscape.lowest;
    // Equal minima of a periodic potential differ by rounding.
    if lowest + 1e-14 * lowest.abs() + 1e-9 * (landscape.level - lowest).abs() < far {
        return Ok(());
    }
    Err(NoGroundState::NotHeld { lowest, far })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: Sector = Sector::new(1, 1);
    const EQUAL: Sector = Sector::new(2, 0);

    fn judged(external: &str, interaction: &str, sector: Sector) -> Result<(), NoGroundState> {
        let h = Hamiltonian {
            title: String::new(),
            external: ron::from_str(external).unwrap(),
            interaction: ron::from_str(interaction).unwrap(),
        };
        ground_state(&h, &Geometry::Line, sector)
    }

    #[test]
    fn contact_is_judged_by_structure() {
        let of = |text: &str| contact(&Interaction::Formula(text.parse().unwrap()));
        for (text, expected) in [
            ("(1-exp(-d^2))/d^2", Contact::Finite),
            ("sin(abs(d))/abs(d)", Contact::Finite),
            ("1/abs(d)", Contact::Weak(1.0)),
            ("-ln(abs(d))", Contact::Weak(1.0)),
            ("-abs(d)^(-1.5)", Contact::Weak(-1.0)),
            ("2/d^2 + 1/abs(d)", Contact::InverseSquare(2.0)),
            ("-exp(-d^2)/d^2", Contact::InverseSquare(-1.0)),
            ("1/(d^2*abs(d))", Contact::Strong(1.0)),
            ("1/d^2 - 1/d^4", Contact::Strong(-1.0)),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn what_has_no_ground_state_is_refused_and_the_rest_is_not() {
        let trap = "Harmonic(frequency: 1)";
        for (external, interaction, sector) in [
            (trap, "InverseSquare(strength: 2)", PAIR),
            (trap, "Formula(\"1/abs(d)\")", PAIR),
            (trap, "Formula(\"-1/abs(d)\")", PAIR),
            (trap, "InverseSquare(strength: -1)", EQUAL),
            (trap, "InverseSquare(strength: -0.25)", EQUAL),
            (trap, "Formula(\"-exp(-d^2)/(3*d^2)\")", EQUAL),
            (trap, "Formula(\"-1/d^4\")", EQUAL),
            (trap, "Harmonic(stiffness: -1)", EQUAL),
            (trap, "Harmonic(stiffness: -0.5)", PAIR),
            (trap, "Formula(\"-d^2/4\")", Sector::new(3, 0)),
            (trap, "Formula(\"-d^4\")", EQUAL),
            ("Nuclei(charges: [2], positions: [0])", "Harmonic(stiffness: -0.1)", EQUAL),
            ("Formula(\"-x^2\")", "None", EQUAL),
            ("Formula(\"x^2 - 0.1*x^4\")", "None", EQUAL),
            ("Formula(\"-x\")", "None", EQUAL),
            ("Formula(\"-ln(1+x^2)\")", "None", EQUAL),
            ("Formula(\"-1/abs(x)\")", "None", EQUAL),
            ("Formula(\"x^2 + 1/(x-3.3)\")", "None", EQUAL),
            ("Formula(\"x^2 - 1/(x^2-2)^2\")", "None", EQUAL),
            ("Free", "None", EQUAL),
            ("Formula(\"exp(-x^2)\")", "None", EQUAL),
            ("Lattice(depth: 4, period: 2)", "None", EQUAL),
        ] {
            assert!(judged(external, interaction, sector).is_err(), "{external}, {interaction}");
        }
        for (external, interaction, sector) in [
            (trap, "InverseSquare(strength: -0.2)", EQUAL),
            (trap, "InverseSquare(strength: 2)", EQUAL),
            (trap, "Formula(\"1/abs(d)\")", EQUAL),
            (trap, "Formula(\"1/abs(d)\")", Sector::new(0, 1)),
            (trap, "Formula(\"(1-exp(-d^2))/d^2\")", PAIR),
            (trap, "Harmonic(stiffness: -0.49)", PAIR),
            (trap, "Harmonic(stiffness: 100)", PAIR),
            ("Formula(\"x^4\")", "Harmonic(stiffness: -100)", PAIR),
            ("Formula(\"abs(x)\")", "None", EQUAL),
            ("Formula(\"-5*exp(-x^200)\")", "None", EQUAL),
            ("Formula(\"-0.01*exp(-x^2)\")", "None", EQUAL),
            ("Formula(\"0.5*(x-30)^2 + 1e6\")", "None", EQUAL),
            ("Formula(\"sin(x)/x + x^2\")", "None", EQUAL),
            ("Formula(\"-20*exp(-x^2) - 25*exp(-(x-12)^2)\")", "None", EQUAL),
            ("Formula(\"exp(x^2)\")", "None", EQUAL),
            ("Formula(\"1e6 - 0.001*exp(-x^2)\")", "None", EQUAL),
            ("Formula(\"-1e-3/(x^2 + 1e-10) + x^2\")", "None", EQUAL),
            ("Nuclei(charges: [1], positions: [0], softening: 1e-6)", "None", EQUAL),
            ("Nuclei(charges: [1], positions: [0], softening: 0.01)", "None", EQUAL),
            ("Harmonic(frequency: 0.001)", "None", EQUAL),
            ("Harmonic(frequency: 10000)", "None", EQUAL),
        ] {
            let found = judged(external, interaction, sector);
            assert!(found.is_ok(), "{external}, {interaction}: {found:?}");
        }
    }
}
