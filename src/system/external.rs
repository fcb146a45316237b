//! External potentials `v(x)`.

use super::formula::Formula;
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
    /// reports list apart from the electronic energy.
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
    /// The sum of several potentials.
    Sum(Vec<External>),
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
            External::Sum(parts) => parts.iter().map(|p| p.value(x)).sum(),
            _ => self.closed_form(x),
        }
    }

    /// `dv/dx`, by automatic differentiation.
    pub fn derivative(&self, x: f64) -> f64 {
        match self {
            External::Formula(f) => f.derivative(x),
            External::Sum(parts) => parts.iter().map(|p| p.derivative(x)).sum(),
            _ => self.closed_form(Dual::var(x)).dx,
        }
    }

    fn closed_form<T: Scalar>(&self, x: T) -> T {
        match self {
            External::Free | External::Formula(_) | External::Sum(_) => T::zero(),
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

    /// Repulsion of the nuclei among themselves.
    pub fn nuclear_repulsion(&self) -> f64 {
        match self {
            External::Nuclei { charges, positions, softening } => {
                let mut e = 0.0;
                for a in 0..charges.len() {
                    for b in 0..a {
                        let d: f64 = positions[a] - positions[b];
                        e += charges[a] * soft_coulomb(charges[b], d, *softening);
                    }
                }
                e
            }
            External::Sum(parts) => parts.iter().map(External::nuclear_repulsion).sum(),
            _ => 0.0,
        }
    }
}
