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
    /// `w(d) = strength delta(d)` between different spins, which is all that fermions feel of it: the model of M. Gaudin
    /// (Phys. Lett. A 24, 55 (1967)) and C. N. Yang (Phys. Rev. Lett. 19, 1312 (1967)).
    Contact {
        /// Coupling, in Hartree bohr; `inf` makes different spins impenetrable to each other.
        #[serde(with = "coupling")]
        strength: f64,
    },
    /// The sum of several.
    Sum(Vec<Interaction>),
    /// An interaction with lengths in another unit: made by [`Frame::hamiltonian`](super::Frame::hamiltonian), never
    /// read from a file.
    #[serde(skip)]
    Scaled(Box<(Interaction, f64)>),
}

fn one() -> f64 {
    1.0
}

/// A coupling that may be infinite, which JSON writes as `null`.
mod coupling {
    use serde::{Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(*value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        from.deserialize_any(Coupling)
    }

    struct Coupling;

    impl de::Visitor<'_> for Coupling {
        type Value = f64;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a number")
        }

        fn visit_f64<E: de::Error>(self, v: f64) -> Result<f64, E> {
            Ok(v)
        }

        fn visit_i64<E: de::Error>(self, v: i64) -> Result<f64, E> {
            Ok(v as f64)
        }

        fn visit_u64<E: de::Error>(self, v: u64) -> Result<f64, E> {
            Ok(v as f64)
        }

        fn visit_unit<E: de::Error>(self) -> Result<f64, E> {
            Ok(f64::INFINITY)
        }
    }
}

impl Interaction {
    /// Coupling of the contact interaction between different spins, in Hartree bohr; zero where there is none.
    pub fn contact(&self) -> f64 {
        match self {
            Interaction::Contact { strength } => *strength,
            Interaction::Sum(parts) => parts.iter().map(Interaction::contact).sum(),
            Interaction::Scaled(scaled) => scaled.0.contact() * scaled.1,
            _ => 0.0,
        }
    }

    /// All of it but the contact interaction.
    pub fn smooth(&self) -> Interaction {
        match self {
            Interaction::Contact { .. } => Interaction::None,
            Interaction::Sum(parts) => {
                let mut rest: Vec<Interaction> = parts.iter().map(Interaction::smooth).collect();
                rest.retain(|part| *part != Interaction::None);
                match rest.len() {
                    0 => Interaction::None,
                    1 => rest.swap_remove(0),
                    _ => Interaction::Sum(rest),
                }
            }
            Interaction::Scaled(scaled) => match scaled.0.smooth() {
                Interaction::None => Interaction::None,
                rest => Interaction::Scaled(Box::new((rest, scaled.1))),
            },
            other => other.clone(),
        }
    }

    /// `w(d)`; of a contact interaction what it is at any distance, zero.
    pub fn value(&self, d: f64) -> f64 {
        match self {
            Interaction::Formula(f) => f.value(d),
            Interaction::Sum(parts) => parts.iter().map(|part| part.value(d)).sum(),
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
            Interaction::Sum(parts) => parts.iter().map(|part| part.derivative(d)).sum(),
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
            Interaction::Sum(parts) => parts.iter().flat_map(|p| p.special_points()).collect(),
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
            Interaction::None
            | Interaction::Formula(_)
            | Interaction::Scaled(_)
            | Interaction::Contact { .. }
            | Interaction::Sum(_) => T::zero(),
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
