//! What a projection comes to.

use super::ROUNDING;
use super::refusal::Refusal;
use super::windows::CurvePoint;
use crate::json::number;
use crate::observables::{Measurement, Quantity};
use crate::wavefunction::RayleighQuotient;
use serde::{Deserialize, Serialize};

/// A variational energy, in Hartree.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variational {
    /// The energy.
    #[serde(deserialize_with = "number")]
    pub energy: f64,
    /// Its standard error.
    #[serde(deserialize_with = "number")]
    pub standard_error: f64,
    /// Samples behind it.
    pub samples: usize,
}

impl Variational {
    /// That of a state whose energy is known without samples.
    pub fn known(quotient: RayleighQuotient) -> Option<Self> {
        let (energy, standard_error) = (quotient.energy, quotient.energy_error);
        let finite = energy.is_finite() && standard_error.is_finite();
        finite.then_some(Variational { energy, standard_error, samples: 0 })
    }
}

/// `E_0 - E_var`, in Hartree.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    /// The correction.
    pub energy: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// How much the last doubling of the projection still brought: the exact energy may be lower by about as much.
    pub remainder: f64,
}

/// Part of the correction that far nodes may hide before another guide is taken.
const HIDDEN: f64 = 0.1;

/// What a projection found.
#[derive(Clone, Debug)]
pub struct Projection {
    /// The energy that is corrected.
    pub variational: Variational,
    /// The correction; none where it is refused.
    pub correction: Option<Correction>,
    /// Why it is refused; empty where it is not.
    pub refusals: Vec<Refusal>,
    /// `Delta(beta)`.
    pub curve: Vec<CurvePoint>,
    /// Share of the windows that count.
    pub effective_share: f64,
    /// Share of the moves that were accepted.
    pub acceptance: f64,
    /// Length of a step.
    pub step: f64,
    /// The same as it counts: shorter by the share of squared displacements that was accepted.
    pub effective_step: f64,
    /// Length of the projection.
    pub beta: f64,
    /// What is left of the error of the time step, in Hartree, and its standard error.
    pub quadrature: (f64, f64),
    /// Walkers.
    pub walkers: usize,
    /// Independent replicates.
    pub replicates: usize,
    /// Pure observables.
    pub observables: Vec<Pure>,
    /// About the energy that far nodes of the guide hide, in Hartree: part of the error bar.
    pub hidden: f64,
    /// What was mixed into the guide.
    pub guard: Option<Guard>,
    /// What the guide was dressed with.
    pub variates: Option<Variates>,
}

impl Projection {
    /// The projected energy and its standard error, in Hartree.
    pub fn energy(&self) -> Option<(f64, f64)> {
        let (v, c) = (self.variational, self.correction?);
        // An exact guide has no scatter, but its local energies have rounding.
        let rounding = ROUNDING * (1.0 + v.energy.abs());
        let own = self.guard.map(|g| g.standard_error);
        let own = own.or(self.variates.map(|v| v.standard_error.hypot(self.hidden)));
        let error = own.unwrap_or(v.standard_error.hypot(c.standard_error));
        Some((v.energy + c.energy, error.hypot(rounding)))
    }

    /// The same with what far nodes may hide in its error bar.
    pub(super) fn hiding(mut self, hidden: f64) -> Self {
        self.hidden = hidden;
        if let Some(c) = &mut self.correction {
            c.standard_error = c.standard_error.hypot(hidden);
        }
        self
    }

    /// Whether that is more than a part of the correction and than what does not matter.
    pub(super) fn hides_much(&self, tolerance: Option<f64>) -> bool {
        let correction = self.correction.map_or(f64::NAN, |c| c.energy.abs());
        self.hidden > (HIDDEN * correction).max(tolerance.unwrap_or(0.0))
    }

    /// Standard error of the energy where it is the guide's that is corrected.
    pub(super) fn own_error(&self) -> f64 {
        let error = self.correction.map_or(f64::NAN, |c| c.standard_error);
        self.variational.standard_error.hypot(error)
    }

    /// The same where the guide is another state than psi, as a correction of the energy of psi; `apart` is the standard error of the
    /// difference between both.
    pub(super) fn corrects(self, psi: Variational, apart: f64) -> Self {
        let shift = self.variational.energy - psi.energy;
        let shifted = |c: Correction| Correction {
            energy: c.energy + shift,
            standard_error: c.standard_error.hypot(apart),
            ..c
        };
        let curve = self.curve.iter().map(|p| CurvePoint {
            correction: p.correction + shift,
            standard_error: p.standard_error.hypot(apart),
            ..*p
        });
        Projection {
            variational: psi,
            correction: self.correction.map(shifted),
            curve: curve.collect(),
            ..self
        }
    }

    /// The same with the observables of psi, where they are those of the guide.
    pub(super) fn with_variational(mut self, measured: Vec<Measurement>) -> Self {
        for (pure, measured) in self.observables.iter_mut().zip(measured) {
            pure.variational = measured.quantities;
        }
        self
    }
}

/// Functions of few bodies by whose exponential the guide was multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variates {
    /// Their number.
    pub functions: usize,
    /// Variance of the local energy that they leave, as a share.
    #[serde(deserialize_with = "number")]
    pub variance: f64,
    /// Variational energy of the product, in Hartree.
    pub energy: f64,
    /// Standard error of the projected energy, which is that of the product corrected.
    #[serde(deserialize_with = "number")]
    pub standard_error: f64,
}

/// A state without nodes that was mixed into the guide because the trained one has some.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// Its density relative to that of the trained state.
    pub share: f64,
    /// Variational energy of the mixture, in Hartree.
    pub energy: f64,
    /// Standard error of the projected energy, in which that of the trained state has no part.
    #[serde(deserialize_with = "number")]
    pub standard_error: f64,
}

/// An observable of the variational state and of the ground state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pure {
    /// Name in the registry.
    pub observable: String,
    /// Over `|psi|²`.
    pub variational: Vec<Quantity>,
    /// Over the square of the ground state.
    pub pure: Vec<Quantity>,
}

impl Pure {
    pub(super) fn of(variational: Measurement, pure: Measurement) -> Self {
        Pure {
            observable: pure.observable,
            variational: variational.quantities,
            pure: pure.quantities,
        }
    }
}
