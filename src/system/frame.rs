//! A system in its own units: lengths in `length` about `origin`, energies in `1 / length²` above `energy`.
//!
//! With `x = origin + length y`, `v'(y) = length² (v(x) - energy)` and `w'(d) = length² w(length d)` the Hamiltonian of `y`
//! is that of `x` times `length²`, less a constant. Nothing that is computed in such units knows how large the system
//! is or where. The length is a power of two, so that going there and back rounds nothing.

use super::landscape::Landscape;
use super::{External, Geometry, Hamiltonian, Interaction, Sector};

/// Units and origin of a system.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// The origin, in bohr.
    pub origin: f64,
    /// The unit of length, in bohr: a power of two.
    pub length: f64,
    /// The zero of the external potential, in Hartree.
    pub energy: f64,
}

/// An external potential that is much larger than what the units measure loses digits: from this ratio on its value at
/// the bottom is taken off.
const LARGE: f64 = 64.0;

impl Frame {
    /// bohr, Hartree and the origin of the potentials.
    pub const ATOMIC: Frame = Frame { origin: 0.0, length: 1.0, energy: 0.0 };

    /// The units of a system whose landscape is known. The origin stays where it is unless the particles are far
    /// from it, and on a ring and between walls.
    pub fn of(landscape: &Landscape) -> Self {
        let width = landscape.length;
        // What is about as wide as one bohr stays in bohr.
        let length = if (0.5..=2.0).contains(&width) { 1.0 } else { width.log2().round().exp2() };
        let (left, right) = landscape.region;
        let (middle, half) = (0.5 * (left + right), 0.5 * (right - left) + length);
        let origin = if landscape.free && middle.abs() > half {
            // A multiple of the unit: sums and differences with it stay exact.
            (middle / length).round() * length
        } else {
            0.0
        };
        let lowest = landscape.lowest;
        let deep = lowest.abs() * length * length > LARGE;
        // Wells as deep as their own level needs no digits; an offset does.
        let offset = deep && lowest.abs() > LARGE * (landscape.level - lowest).abs();
        Frame { origin, length, energy: if offset { lowest } else { 0.0 } }
    }

    /// The Hamiltonian in these units.
    pub fn hamiltonian(&self, h: &Hamiltonian) -> Hamiltonian {
        Hamiltonian {
            title: h.title.clone(),
            external: self.external(&h.external),
            interaction: self.interaction(&h.interaction),
        }
    }

    /// The geometry in these units. Walls and rings only keep their place about the origin of the potentials.
    pub fn geometry(&self, geometry: &Geometry) -> Geometry {
        match *geometry {
            Geometry::Box { half_width } => Geometry::Box { half_width: half_width / self.length },
            Geometry::Line => Geometry::Line,
            Geometry::Ring { circumference } => {
                Geometry::Ring { circumference: circumference / self.length }
            }
        }
    }

    /// The same energy in Hartree, of `particles` particles.
    pub fn energy_out(&self, energy: f64, particles: usize) -> f64 {
        energy / (self.length * self.length) + particles as f64 * self.energy
    }

    fn external(&self, external: &External) -> External {
        let Frame { origin, length: a, energy } = *self;
        if *self == Frame::ATOMIC {
            return external.clone();
        }
        match external {
            External::Free if energy == 0.0 => External::Free,
            External::Harmonic { frequency } if origin == 0.0 && energy == 0.0 => {
                External::Harmonic { frequency: frequency * a * a }
            }
            other => External::Moved(Box::new((other.clone(), *self))),
        }
    }

    fn interaction(&self, interaction: &Interaction) -> Interaction {
        let a = self.length;
        if a == 1.0 {
            return interaction.clone();
        }
        match *interaction {
            Interaction::None => Interaction::None,
            Interaction::SoftCoulomb { strength, softening } => {
                Interaction::SoftCoulomb { strength: strength * a, softening: softening / a }
            }
            Interaction::Gaussian { strength, width } => {
                Interaction::Gaussian { strength: strength * a * a, width: width / a }
            }
            Interaction::Dipolar { strength, softening } => {
                Interaction::Dipolar { strength: strength / a, softening: softening / a }
            }
            Interaction::Harmonic { stiffness } => {
                Interaction::Harmonic { stiffness: stiffness * a.powi(4) }
            }
            Interaction::InverseSquare { strength } => Interaction::InverseSquare { strength },
            Interaction::Contact { strength } => Interaction::Contact { strength: strength * a },
            Interaction::Sum(ref parts) => {
                Interaction::Sum(parts.iter().map(|part| self.interaction(part)).collect())
            }
            Interaction::Formula(_) | Interaction::Scaled(_) => {
                Interaction::Scaled(Box::new((interaction.clone(), a)))
            }
        }
    }
}

/// The units of a system, found from its potentials.
pub fn natural(hamiltonian: &Hamiltonian, geometry: &Geometry, sector: Sector) -> Frame {
    Frame::of(&Landscape::of(hamiltonian, geometry, sector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn potentials_in_other_units_are_the_same_functions() {
        let frame = Frame { origin: 3.0, length: 0.25, energy: -2.0 };
        let h = Hamiltonian {
            title: String::new(),
            external: External::Sum(vec![
                External::Harmonic { frequency: 2.0 },
                External::Formula("x^4 + abs(x)".parse().unwrap()),
                External::Nuclei { charges: vec![2.0], positions: vec![1.0], softening: 0.3 },
            ]),
            interaction: Interaction::None,
        };
        let moved = frame.hamiltonian(&h);
        for y in [-3.0, 0.0, 0.7, 4.0] {
            let x = 3.0 + 0.25 * y;
            let expected = (h.external.value(x) + 2.0) / 16.0;
            assert!((moved.external.value(y) - expected).abs() < 1e-12);
            let slope = h.external.derivative(x) / 64.0;
            assert!((moved.external.derivative(y) - slope).abs() < 1e-12);
        }
        for w in [
            Interaction::SoftCoulomb { strength: 2.0, softening: 0.4 },
            Interaction::Gaussian { strength: 2.0, width: 0.4 },
            Interaction::Dipolar { strength: 2.0, softening: 0.4 },
            Interaction::Harmonic { stiffness: 3.0 },
            Interaction::InverseSquare { strength: 0.75 },
            Interaction::Formula("exp(-d^2) + d^2".parse().unwrap()),
        ] {
            let scaled = frame.interaction(&w);
            for d in [0.3, -1.7, 5.0] {
                let expected = w.value(0.25 * d) / 16.0;
                assert!((scaled.value(d) - expected).abs() < 1e-14 * expected.abs(), "{w:?}");
                let slope = w.derivative(0.25 * d) / 64.0;
                assert!((scaled.derivative(d) - slope).abs() < 1e-12 * slope.abs().max(1e-9));
            }
        }
    }
}
