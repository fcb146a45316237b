//! External potentials `v(x)`.

use super::formula::Formula;
use super::frame::Frame;
use super::table::Table;
use crate::math::scalar::{Dual, Scalar};
use serde::{Deserialize, Serialize};

/// An external potential. Energies in Hartree, lengths in bohr.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum External {
    /// `v = 0`: nothing but the geometry.
    Free,
    /// Soft-Coulomb nuclei: `v(x) = - sum_A charges[A] / sqrt((x - positions[A])² + softening²)`.
    ///
    /// The repulsion of the nuclei among themselves, with the same softening, is a constant that
    /// reports list apart from the electronic energy. Nuclei in different parts of a [`External::Sum`] repel each
    /// other like those of one part; where their softenings `a` and `b` differ, with `sqrt((a² + b²) / 2)`.
    Nuclei {
        /// Nuclear charges.
        charges: Vec<f64>,
        /// Nuclear positions.
        positions: Vec<f64>,
        /// Softening length of the electron-nucleus and nucleus-nucleus interaction.
        #[serde(default = "one")]
        softening: f64,
    },
    /// `v(x) = frequency² x² / 2`.
    Harmonic {
        /// Angular frequency.
        #[serde(default = "one")]
        frequency: f64,
    },
    /// `v(x) = strength (x² - half_separation²)²`, minima at `±half_separation`.
    DoubleWell {
        /// Half the distance of the two minima.
        half_separation: f64,
        /// Coefficient of the quartic term.
        strength: f64,
    },
    /// `v(x) = depth sin²(pi x / period)`: an optical lattice.
    Lattice {
        /// Height of the barriers.
        depth: f64,
        /// Distance of neighbouring minima.
        period: f64,
    },
    /// A formula in `x`, for instance `"0.5*x^2 + 0.1*x^4"`.
    Formula(Formula<'x'>),
    /// Values at points, with a cubic spline through them; beyond the points it goes on as a straight line.
    Tabulated(Table),
    /// The sum of several potentials.
    Sum(Vec<External>),
    /// A potential in other units and from another origin: made by [`Frame::hamiltonian`], never read from a file.
    #[serde(skip)]
    Moved(Box<(External, Frame)>),
}

fn one() -> f64 {
    1.0
}

/// `q / sqrt(d² + a²)`.
pub(super) fn soft_coulomb<T: Scalar>(q: f64, d: T, a: f64) -> T {
    (d * d + a * a).sqrt().recip() * q
}

impl External {
    /// `v(x)`.
    pub fn value(&self, x: f64) -> f64 {
        match self {
            External::Formula(f) => f.value(x),
            External::Tabulated(t) => t.value(x),
            External::Sum(parts) => parts.iter().map(|p| p.value(x)).sum(),
            External::Moved(moved) => {
                let (of, Frame { origin, length, energy }) = moved.as_ref();
                (of.value(origin + length * x) - energy) * (length * length)
            }
            _ => self.closed_form(x),
        }
    }

    /// `dv/dx`, by automatic differentiation; of a table that of its spline.
    pub fn derivative(&self, x: f64) -> f64 {
        match self {
            External::Formula(f) => f.derivative(x),
            External::Tabulated(t) => t.derivative(x),
            External::Sum(parts) => parts.iter().map(|p| p.derivative(x)).sum(),
            External::Moved(moved) => {
                let (of, Frame { origin, length, .. }) = moved.as_ref();
                of.derivative(origin + length * x) * length.powi(3)
            }
            _ => self.closed_form(Dual::var(x)).dx,
        }
    }

    fn closed_form<T: Scalar>(&self, x: T) -> T {
        match self {
            External::Free
            | External::Formula(_)
            | External::Tabulated(_)
            | External::Sum(_)
            | External::Moved(_) => T::zero(),
            External::Nuclei { charges, positions, softening } => {
                let mut v = T::zero();
                for (z, r) in charges.iter().zip(positions) {
                    v += soft_coulomb(-z, x - *r, *softening);
                }
                v
            }
            External::Harmonic { frequency } => x * x * (0.5 * frequency * frequency),
            External::DoubleWell { half_separation, strength } => {
                let u = x * x - half_separation * half_separation;
                u * u * *strength
            }
            External::Lattice { depth, period } => {
                let s = (x * (std::f64::consts::PI / period)).sin();
                s * s * *depth
            }
        }
    }

    /// Where the potential may have kinks, poles or narrow wells, ascending.
    pub(crate) fn special_points(&self) -> Vec<f64> {
        let mut points = match self {
            External::Free | External::Harmonic { .. } => vec![0.0],
            // All wells of a lattice are the same.
            External::Lattice { .. } => vec![0.0],
            External::Nuclei { positions, .. } => positions.clone(),
            External::DoubleWell { half_separation: b, .. } => vec![-b, 0.0, *b],
            External::Formula(f) => f.special_points(),
            External::Tabulated(t) => t.special_points(),
            External::Sum(parts) => parts.iter().flat_map(External::special_points).collect(),
            External::Moved(moved) => {
                let (of, Frame { origin, length, .. }) = moved.as_ref();
                of.special_points().into_iter().map(|x| (x - origin) / length).collect()
            }
        };
        points.sort_by(f64::total_cmp);
        points.dedup();
        points
    }

    /// Repulsion of the nuclei among themselves, all parts of a sum together.
    pub fn nuclear_repulsion(&self) -> f64 {
        let nuclei = self.all_nuclei();
        let mut e = 0.0;
        for (a, one) in nuclei.iter().enumerate() {
            for other in &nuclei[..a] {
                let d = one.position - other.position;
                e += one.charge * soft_coulomb(other.charge, d, one.softening_with(other));
            }
        }
        e
    }

    /// The nuclei in the order in which they are named, through all parts of a sum.
    fn all_nuclei(&self) -> Vec<Nucleus> {
        match self {
            External::Nuclei { charges, positions, softening } => (charges.iter().zip(positions))
                .map(|(&charge, &position)| Nucleus { charge, position, softening: *softening })
                .collect(),
            External::Sum(parts) => parts.iter().flat_map(External::all_nuclei).collect(),
            _ => Vec::new(),
        }
    }

    /// Number of nuclei.
    fn nuclei(&self) -> usize {
        match self {
            External::Nuclei { charges, .. } => charges.len(),
            External::Sum(parts) => parts.iter().map(External::nuclei).sum(),
            _ => 0,
        }
    }

    /// Adds the force of an electron at `x` on each nucleus, in Hartree per bohr, in the order in which the nuclei
    /// are named: minus the derivative of `v(x)` with respect to the position, by automatic differentiation.
    pub(crate) fn add_forces_on_nuclei(&self, x: f64, forces: &mut [f64]) {
        match self {
            External::Nuclei { charges, positions, softening } => {
                for ((z, r), force) in charges.iter().zip(positions).zip(forces) {
                    *force -= soft_coulomb(-z, -Dual::var(*r) + x, *softening).dx;
                }
            }
            External::Sum(parts) => {
                let mut forces = forces;
                for part in parts {
                    let (own, rest) = forces.split_at_mut(part.nuclei());
                    part.add_forces_on_nuclei(x, own);
                    forces = rest;
                }
            }
            _ => {}
        }
    }

    /// Force on each nucleus by the other nuclei, in Hartree per bohr; empty without nuclei.
    pub(crate) fn repulsion_forces(&self) -> Vec<f64> {
        let nuclei = self.all_nuclei();
        let force = |a: usize| {
            let one = &nuclei[a];
            let slope = |b: usize| {
                let other = &nuclei[b];
                let d = Dual::var(one.position) - other.position;
                soft_coulomb(one.charge * other.charge, d, one.softening_with(other)).dx
            };
            -(0..nuclei.len()).filter(|&b| b != a).map(slope).sum::<f64>()
        };
        (0..nuclei.len()).map(force).collect()
    }
}

/// A soft-Coulomb nucleus.
struct Nucleus {
    charge: f64,
    position: f64,
    softening: f64,
}

impl Nucleus {
    /// Softening of the repulsion of two nuclei.
    fn softening_with(&self, other: &Self) -> f64 {
        // The usual case keeps its bits.
        if self.softening == other.softening {
            return self.softening;
        }
        (0.5 * (self.softening.powi(2) + other.softening.powi(2))).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forces_on_nuclei_are_minus_the_change_of_the_energy() {
        let molecule = |r: f64| {
            let nuclei = External::Nuclei {
                charges: vec![3.0, 1.0],
                positions: vec![-1.2, r],
                softening: 0.7,
            };
            External::Sum(vec![External::Harmonic { frequency: 1.0 }, nuclei])
        };
        let (r, h, x) = (1.5, 1e-5, 0.4);
        let slope =
            |f: &dyn Fn(&External) -> f64| (f(&molecule(r + h)) - f(&molecule(r - h))) / (2.0 * h);
        let mut forces = vec![0.0; 2];
        molecule(r).add_forces_on_nuclei(x, &mut forces);
        assert!((forces[1] + slope(&|v| v.value(x))).abs() < 1e-9);
        let repulsion = molecule(r).repulsion_forces();
        assert!((repulsion[1] + slope(&External::nuclear_repulsion)).abs() < 1e-9);
        assert!((repulsion[0] + repulsion[1]).abs() < 1e-14);
        // All forces on the nuclei balance the one on the electron.
        let nuclei = &External::Sum(vec![match molecule(r) {
            External::Sum(parts) => parts[1].clone(),
            other => other,
        }]);
        assert!((forces[0] + forces[1] - nuclei.derivative(x)).abs() < 1e-12);
    }

    fn nuclei(charges: &[f64], positions: &[f64], softening: f64) -> External {
        External::Nuclei { charges: charges.to_vec(), positions: positions.to_vec(), softening }
    }

    #[test]
    fn nuclei_of_different_parts_repel_like_those_of_one() {
        let sum = External::Sum;
        let two = sum(vec![nuclei(&[1.0], &[-1.0], 1.0), nuclei(&[1.0], &[1.0], 1.0)]);
        assert!((two.nuclear_repulsion() - 1.0 / 5f64.sqrt()).abs() < 1e-15);
        // However they are grouped, and whatever stands between them.
        let (z, r) = ([3.0, 1.0, 2.0], [-1.5, 0.2, 2.5]);
        let whole = nuclei(&z, &r, 0.8);
        let nested = sum(vec![
            External::Harmonic { frequency: 1.0 },
            nuclei(&z[..1], &r[..1], 0.8),
            sum(vec![nuclei(&z[1..2], &r[1..2], 0.8), sum(vec![nuclei(&z[2..], &r[2..], 0.8)])]),
        ]);
        assert_eq!(nested.nuclear_repulsion(), whole.nuclear_repulsion());
        assert_eq!(nested.repulsion_forces(), whole.repulsion_forces());
    }

    #[test]
    fn forces_between_parts_are_minus_the_change_of_the_repulsion() {
        let positions = [-1.5, 0.2, 2.5];
        let parts = |r: [f64; 3]| {
            External::Sum(vec![
                nuclei(&[3.0, 1.0], &r[..2], 0.8),
                External::Sum(vec![nuclei(&[2.0], &r[2..], 0.3), External::Free]),
            ])
        };
        let forces = parts(positions).repulsion_forces();
        assert_eq!(forces.len(), 3);
        let h = 1e-5;
        for a in 0..3 {
            let moved = |h: f64| {
                let mut r = positions;
                r[a] += h;
                parts(r).nuclear_repulsion()
            };
            let slope = (moved(h) - moved(-h)) / (2.0 * h);
            assert!((forces[a] + slope).abs() < 1e-9, "{a}: {} {slope}", forces[a]);
        }
        assert!(forces.iter().sum::<f64>().abs() < 1e-14);
    }
}
