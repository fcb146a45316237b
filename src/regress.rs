//! Regression against exact energies: a short training for each case, and a verdict.

use crate::estimate::{EnergyEstimate, gaussian_bars};
use crate::exact::{self, ExactOptions};
use crate::problems;
use crate::spec::ResolvedSpec;
use crate::system::System;
use crate::train::{self, Schedule};
use serde::{Deserialize, Serialize};

/// The list of cases, as read from `suite.ron`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// The cases in the order in which they run.
    pub cases: Vec<Case>,
}

/// One case of the suite.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// File of the run spec, relative to the suite.
    pub spec: String,
    /// Where the exact energy comes from.
    pub exact: ExactSource,
    /// Largest deviation that passes, in Hartree.
    pub tolerance: f64,
    /// Whether the case belongs to the quick suite.
    pub quick: bool,
}

/// Where an exact energy comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub enum ExactSource {
    /// A case of the reference data.
    Stored(String),
    /// Exact diagonalisation on the spot.
    Recomputed,
}

/// What one case gave. Energies in Hartree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// Name of the case.
    pub name: String,
    /// Sampled energy.
    pub energy: f64,
    /// Exact energy.
    pub exact: f64,
    /// How far the exact energy may be off.
    pub exact_error: f64,
    /// `energy - exact`.
    pub deviation: f64,
    /// Standard error of `energy`.
    pub standard_error: f64,
    /// `deviation / standard_error`.
    pub error_bars: f64,
    /// Variance of the local energy, in Hartree².
    pub variance: f64,
    /// Largest deviation that passes.
    pub tolerance: f64,
    /// Whether the case passed.
    pub passed: bool,
}

/// Gaussian error bars below the exact energy at which a variational energy is not believed.
const BELOW: f64 = 4.0;

impl Outcome {
    fn new(name: &str, energy: &EnergyEstimate, exact: (f64, f64), tolerance: f64) -> Self {
        let deviation = energy.mean() - exact.0;
        let standard_error = energy.standard_error();
        let freedom = energy.degrees_of_freedom();
        let below = deviation + exact.1;
        // An error bar wider than half the tolerance could let anything pass.
        let passed = deviation.abs() <= tolerance + exact.1
            && standard_error <= 0.5 * tolerance
            && (below >= 0.0 || gaussian_bars(below / standard_error, freedom) >= -BELOW);
        Outcome {
            name: name.to_owned(),
            energy: energy.mean(),
            exact: exact.0,
            exact_error: exact.1,
            deviation,
            standard_error,
            error_bars: deviation / standard_error,
            variance: energy.variance(),
            tolerance,
            passed,
        }
    }
}

/// Why a case has no outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegressError {
    /// The suite names a reference case that does not exist.
    #[error("there is no reference case `{0}`")]
    NoSuchCase(String),
    /// The spec and the stored case describe different problems.
    #[error("the spec is not the problem of the reference case `{case}`: its {what} differs")]
    DifferentProblem {
        /// Name of the case.
        case: String,
        /// What differs.
        what: &'static str,
    },
    /// Exact diagonalisation failed.
    #[error(transparent)]
    Exact(#[from] exact::ExactError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] train::TrainError),
    /// The wavefunction cannot be built.
    #[error(transparent)]
    Wavefunction(#[from] crate::wavefunction::WavefunctionError),
}

/// The exact energy of a case and how far it may be off.
fn exact_energy(source: &ExactSource, spec: &ResolvedSpec) -> Result<(f64, f64), RegressError> {
    match source {
        ExactSource::Stored(name) => {
            let case = problems::reference_case(name)
                .ok_or_else(|| RegressError::NoSuchCase(name.clone()))?;
            let differs = |what| RegressError::DifferentProblem { case: name.clone(), what };
            if case.sector != spec.sector {
                return Err(differs("sector"));
            }
            // Formulas and closed forms of one potential differ as text; their values do not.
            let (a, b) = spec.geometry.window();
            let same = |f: &dyn Fn(f64) -> (f64, f64)| {
                (1..20).all(|k| {
                    let (u, v) = f(a + (b - a) * (f64::from(k) + 0.13) / 20.5);
                    (u - v).abs() <= 1e-9 * (1.0 + u.abs())
                })
            };
            let (h, g) = (&case.hamiltonian, &spec.hamiltonian);
            if !same(&|x| (h.external.value(x), g.external.value(x))) {
                return Err(differs("external potential"));
            }
            if !same(&|d| (h.interaction.value(d), g.interaction.value(d))) {
                return Err(differs("interaction"));
            }
            // A case without a geometry is one on the line; a spec may put it between far walls.
            if case.geometry.is_some_and(|geometry| geometry != spec.geometry) {
                return Err(differs("geometry"));
            }
            Ok((case.energy, case.error_bound))
        }
        ExactSource::Recomputed => {
            let options = ExactOptions::default();
            let result = exact::solve(
                &spec.hamiltonian,
                &spec.geometry,
                spec.sector,
                &options,
                &mut |_| std::ops::ControlFlow::Continue(()),
            )?;
            Ok((result.energies[0], result.error_estimates[0]))
        }
    }
}

/// Trains the spec of a case and judges its energy.
///
/// # Errors
/// See [`RegressError`]; a case that misses its tolerance is an [`Outcome`], not an error.
pub fn run_case(name: &str, case: &Case, spec: &ResolvedSpec) -> Result<Outcome, RegressError> {
    let exact = exact_energy(&case.exact, spec)?;
    let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
    let mut psi = spec.wavefunction.build(spec.sector, system, spec.seed)?;
    let schedule = Schedule::of(spec);
    let mut optimiser = spec.optimiser.build();
    train::train(psi.as_mut(), system, optimiser.as_mut(), &schedule, |_| ())?;
    let estimate = train::estimate(psi.as_ref(), system, &schedule, 1);
    Ok(Outcome::new(name, &estimate.energy, exact, case.tolerance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::Moments;

    #[test]
    fn verdicts_can_fail_in_every_way() {
        let around = |mean: f64, spread: f64| {
            let values: Vec<f64> =
                (0..100).map(|i| mean + if i % 2 == 0 { spread } else { -spread }).collect();
            let energy = EnergyEstimate::independent(Moments::of(&values));
            Outcome::new("case", &energy, (1.0, 0.0), 1e-2).passed
        };
        assert!(around(1.001, 1e-3));
        assert!(!around(1.02, 1e-3), "too far above");
        assert!(!around(0.999, 1e-3), "below the exact energy");
        assert!(!around(1.001, 0.2), "error bar too wide to tell");
        assert!(!around(f64::NAN, 1e-3));
    }

    #[test]
    fn a_spec_of_another_problem_is_refused() {
        let text = r#"(title: "wrong", hamiltonian: Inline(external: Harmonic(frequency: 2),
            interaction: SoftCoulomb()), sector: (up: 2), geometry: Box(half_width: 8))"#;
        let spec = crate::spec::read::parse(text, std::path::Path::new("wrong.ron")).unwrap();
        let stored = |name: &str| ExactSource::Stored(name.into());
        assert!(matches!(
            exact_energy(&stored("B_soft_g1_a1_N2"), &spec),
            Err(RegressError::DifferentProblem { what: "external potential", .. })
        ));
        assert!(matches!(
            exact_energy(&stored("B_soft_g1_a1_N3"), &spec),
            Err(RegressError::DifferentProblem { what: "sector", .. })
        ));
        assert!(matches!(
            exact_energy(&stored("nothing"), &spec),
            Err(RegressError::NoSuchCase(_))
        ));
    }
}
