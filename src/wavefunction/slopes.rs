//! How strongly the map of a flow stretches: the health of a bijection beyond its round-trip error.

use crate::math::scalar::Jet;
use nalgebra::DMatrix;
use serde::{Deserialize, Deserializer, Serialize};

/// Largest slopes of a map and of its inverse: the largest singular values of its Jacobian and of the inverse
/// Jacobian, without dimension. Both are 1 for the identity, a translation or a reflection, and as soon as one
/// of them is not finite the map is no bijection to working precision.
///
/// At one configuration both are exact. Over several they are the largest found, a lower bound on the two constants of
/// a bi-Lipschitz map; over samples of `|psi|²` they say what the map does where the particles are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slopes {
    /// Largest `|dT|` over `|dx|`.
    #[serde(deserialize_with = "null_is_nan")]
    pub forward: f64,
    /// Largest `|dx|` over `|dT|`.
    #[serde(deserialize_with = "null_is_nan")]
    pub inverse: f64,
}

impl Slopes {
    /// Those of no configuration: where [`Slopes::max`] begins.
    pub const NONE: Self = Slopes { forward: 0.0, inverse: 0.0 };

    /// The slopes at one configuration of a map whose images are `images`, with gradients per `unit` of length.
    pub(crate) fn of<const N: usize>(images: &[Jet<N>], unit: f64) -> Self {
        let n = images.len();
        let jacobian = DMatrix::from_fn(n, n, |i, j| images[i].gradient[j] / unit);
        // The iteration for singular values need not end when a number is missing.
        if jacobian.iter().any(|v| !v.is_finite()) {
            return Slopes { forward: f64::NAN, inverse: f64::NAN };
        }
        let values = jacobian.singular_values();
        Slopes { forward: values.max(), inverse: values.min().recip() }
    }

    /// The larger of each; NaN wins.
    pub fn max(self, other: Self) -> Self {
        let larger = |a: f64, b: f64| if a.is_nan() || a > b { a } else { b };
        Slopes {
            forward: larger(self.forward, other.forward),
            inverse: larger(self.inverse, other.inverse),
        }
    }
}

/// JSON has no word for a slope that is not finite, and the report of a flow that explodes must remain readable.
fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jets(rows: [[f64; 2]; 2]) -> [Jet<2>; 2] {
        rows.map(|gradient| Jet { value: 0.3, gradient, laplacian: 7.0 })
    }

    #[test]
    fn slopes_are_singular_values() {
        let turned = Slopes::of(&jets([[0.6, -0.8], [0.8, 0.6]]), 1.0);
        assert!((turned.forward - 1.0).abs() < 1e-15 && (turned.inverse - 1.0).abs() < 1e-15);
        // A shear by a has the singular values (sqrt(a² + 4) ± a) / 2, whose product is 1.
        let a = 3.0f64;
        let sheared = Slopes::of(&jets([[1.0, a], [0.0, 1.0]]), 1.0);
        let exact = 0.5 * ((a * a + 4.0).sqrt() + a);
        assert!((sheared.forward / exact - 1.0).abs() < 1e-14, "{sheared:?}");
        assert!((sheared.inverse / exact - 1.0).abs() < 1e-14, "{sheared:?}");
        // Angles per bohr and angles.
        let scaled = Slopes::of(&jets([[0.5, 0.0], [0.0, 0.1]]), 0.25);
        assert!((scaled.forward - 2.0).abs() < 1e-15 && (scaled.inverse - 2.5).abs() < 1e-14);
    }

    #[test]
    fn what_is_no_bijection_has_no_finite_slopes() {
        let folded = Slopes::of(&jets([[1.0, 0.0], [0.0, 0.0]]), 1.0);
        assert_eq!((folded.forward, folded.inverse), (1.0, f64::INFINITY));
        for bad in [f64::NAN, f64::INFINITY] {
            let broken = Slopes::of(&jets([[1.0, bad], [0.0, 1.0]]), 1.0);
            assert!(broken.forward.is_nan() && broken.inverse.is_nan());
            for max in [broken.max(folded), folded.max(broken)] {
                assert!(max.forward.is_nan() && max.inverse.is_nan());
            }
        }
        assert_eq!(Slopes::NONE.max(folded), folded);
        // What JSON cannot hold comes back as something that no check passes.
        let text = serde_json::to_string(&folded).unwrap();
        let back: Slopes = serde_json::from_str(&text).unwrap();
        assert!(back.forward == 1.0 && back.inverse.is_nan(), "{text}");
    }
}
