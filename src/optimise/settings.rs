//! What every optimiser's settings say of themselves.

use super::Optimiser;
use crate::objective::ObjectiveSettings;

/// Settings of one optimiser.
pub trait Settings {
    /// Name in tables and figures.
    fn name(&self) -> &'static str;

    /// What the step norm and the step length are: labels of the axes, and the name of the step length.
    fn labels(&self) -> Labels {
        Labels { step: "step norm (rad)", length: "tau (1/Ha)", length_name: "tau" }
    }

    /// The numbers and where each must lie.
    fn bounds(&self) -> Vec<(&'static str, f64, Bound)>;

    /// How many numbers the matrices of a step hold at most: rows of derivatives of the batch with the copies made of
    /// them, and square matrices with their parts and factors.
    fn numbers(&self, samples: f64, particles: f64, parameters: f64) -> f64;

    /// Share of the variance of the local energy in what is minimised; zero where steps follow the energy alone.
    fn variance(&self) -> f64 {
        0.0
    }

    /// The optimiser at the start of a run. One without a [`Self::variance`] minimises the energy, whatever the objective.
    fn build(&self, objective: ObjectiveSettings) -> Box<dyn Optimiser>;
}

/// Labels of a figure of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels {
    /// Axis of the norm of the step.
    pub step: &'static str,
    /// Axis of the step length.
    pub length: &'static str,
    /// Name of the step length.
    pub length_name: &'static str,
}

/// Where a setting must lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Finite and above 0.
    Positive,
    /// Finite and at least 0.
    NotNegative,
    /// Above 0 and at most 1.
    Fraction,
    /// At least 0 and below 1.
    Decay,
    /// A count from 1 to 4096.
    Count,
}
