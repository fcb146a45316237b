//! Pair interactions `w(d)`.

use super::external::soft_coulomb;
use super::formula::Formula;
use crate::math::scalar::{Dual, Scalar};
use serde::{Deserialize, Serialize};

/// A pair interaction, even in the distance `d`. Energies in Hartree, lengths in bohr.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Interaction {
    /// `w = 0`.
    None,
    /// `w(d) = strength / sqrt(d² + softening²)`.
    SoftCoulomb {
        /// Product of the charges.
        #[serde(default = "one")]
        strength: f64,
        /// Softening length.
        #[serde(default = "one")]
        softening: f64,
    },
    /// `w(d) = strength exp(-d² / (2 width²))`.
    Gaussian {
        /// Value at contact.
        strength: f64,
        /// Standard deviation.
        width: f64,
    },
    /// `w(d) = strength / (|d|³ + softening³)`.
    Dipolar {
        /// Dipolar coupling.
        strength: f64,
        /// Softening length.
        softening: f64,
    },
    /// `w(d) = stiffness d² / 2`.
    Harmonic {
        /// Spring constant; negative repels.
        stiffness: f64,
    },
    /// `w(d) = strength / d²`: the Calogero interaction, infinite at contact. With
    /// `strength = lambda (lambda - 1)` the wavefunction vanishes like `|d|^lambda` where particles
    /// meet.
    InverseSquare {
        /// Coefficient, in Hartree bohr².
        strength: f64,
    },
    /// A formula in `d`, for instance `"2/d^2"`.
    Formula(Formula<'d'>),
    /// An interaction with lengths in another unit: made by [`Frame::hamiltonian`](super::Frame::hamiltonian), never
    /// read from a file.
    #[serde(skip)]
    Scaled(Box<(Interaction, f64)>),
}

fn one() -> f64 {
    1.0
}

impl Interaction {
    /// `w(d)`.
    pub fn value(&self, d: f64) -> f64 {
        match self {
            Interaction::Formula(f) => f.value(d),
            Interaction::Scaled(scaled) => {
                let (of, length) = scaled.as_ref();
                of.value(length * d) * (length * length)
            }
            _ => self.closed_form(d),
        }
    }

    /// `dw/dd`, by automatic differentiation.
    pub fn derivative(&self, d: f64) -> f64 {
        match self {
            Interaction::Formula(f) => f.derivative(d),
            Interaction::Scaled(scaled) => {
                let (of, length) = scaled.as_ref();
                of.derivative(length * d) * length.powi(3)
            }
            _ => self.closed_form(Dual::var(d)).dx,
        }
    }

    /// Distances where the interaction may have kinks or poles, ascending, contact among them.
    pub(crate) fn special_points(&self) -> Vec<f64> {
        let mut points: Vec<f64> = match self {
            Interaction::Formula(f) => f.special_points(),
            Interaction::Scaled(scaled) => {
                let (of, length) = scaled.as_ref();
                of.special_points().into_iter().map(|d| d / length).collect()
            }
            _ => vec![],
        };
        points.push(0.0);
        points.iter_mut().for_each(|d| *d = d.abs());
        points.sort_by(f64::total_cmp);
        points.dedup();
        points
    }

    fn closed_form<T: Scalar>(&self, d: T) -> T {
        match *self {
            Interaction::None | Interaction::Formula(_) | Interaction::Scaled(_) => T::zero(),
            Interaction::SoftCoulomb { strength, softening } => {
                soft_coulomb(strength, d, softening)
            }
            Interaction::Gaussian { strength, width } => {
                (d * d * (-0.5 / (width * width))).exp() * strength
            }
            Interaction::Dipolar { strength, softening } => {
                (d.abs().powi(3) + softening.powi(3)).recip() * strength
            }
            Interaction::Harmonic { stiffness } => d * d * (0.5 * stiffness),
            Interaction::InverseSquare { strength } => (d * d).recip() * strength,
        }
    }
}
