//! Regression against exact energies: a short training for each case, and a verdict.

use crate::estimate::{Verdict, gaussian_bars};
use crate::exact::{self, ExactOptions};
use crate::problems;
use crate::project::{self, ProjectError, Settings};
use crate::run::{Run, RunError, State};
use crate::spec::{ReferenceSource, ResolvedSpec};
use crate::store::record::Summary;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

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
    /// What a run says of this energy without knowing the exact one.
    pub verdict: Verdict,
    /// Largest deviation that passes.
    pub tolerance: f64,
    /// Whether the case passed.
    pub passed: bool,
    /// The projected energy, where it was asked for.
    pub projected: Option<Projected>,
}

/// What projection finds beyond a trained state. Energies in Hartree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Projected {
    /// Projected energy minus the exact one, and the error bar of the former; none where the projection was refused.
    pub deviation: Option<(f64, f64)>,
    /// Why it was refused.
    pub refusals: Vec<String>,
}

/// Gaussian error bars below the exact energy at which a variational energy is not believed.
const BELOW: f64 = 4.0;

impl Outcome {
    fn new(name: &str, found: &Summary, exact: (f64, f64), tolerance: f64) -> Self {
        let deviation = found.energy - exact.0;
        let standard_error = found.standard_error;
        let freedom = found.degrees_of_freedom();
        let verdict = found.verdict.unwrap_or(Verdict::Refused);
        let below = deviation + exact.1;
        // An error bar wider than half the tolerance could let anything pass.
        let passed = deviation.abs() <= tolerance + exact.1
            && standard_error <= 0.5 * tolerance
            && verdict != Verdict::Refused
            && (below >= 0.0 || gaussian_bars(below / standard_error, freedom) >= -BELOW);
        Outcome {
            name: name.to_owned(),
            energy: found.energy,
            exact: exact.0,
            exact_error: exact.1,
            deviation,
            standard_error,
            error_bars: deviation / standard_error,
            variance: found.variance,
            verdict,
            tolerance,
            passed,
            projected: None,
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
    /// The run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The projection failed.
    #[error(transparent)]
    Project(#[from] ProjectError),
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
                &mut |_| ControlFlow::Continue(()),
            )?;
            Ok((result.energies[0], result.error_estimates[0]))
        }
    }
}

/// Trains the spec of a case and judges its energy; `projected` says whether to project it as well.
///
/// # Errors
/// See [`RegressError`]; a case that misses its tolerance is an [`Outcome`], not an error.
pub fn run_case(
    name: &str,
    case: &Case,
    spec: &ResolvedSpec,
    projected: bool,
) -> Result<Outcome, RegressError> {
    let exact = exact_energy(&case.exact, spec)?;
    let alone = ResolvedSpec { reference: ReferenceSource::None, ..spec.clone() };
    let found = Run::new(alone)?.train(())?.estimate()?;
    let outcome = Outcome::new(name, &found.summary, exact, case.tolerance);
    let projected = projected.then(|| beyond(&found.into_state(), exact.0)).transpose()?;
    Ok(Outcome { projected, ..outcome })
}

fn beyond(state: &State, exact: f64) -> Result<Projected, ProjectError> {
    let settings =
        Settings { seed: state.spec().seed, observables: Vec::new(), ..Settings::default() };
    let (psi, system) = (state.wavefunction(), state.system());
    let found = project::project(
        psi,
        system,
        &settings,
        project::by_quadrature(psi, system),
        &mut project::State::default(),
        &mut |_, _| ControlFlow::Continue(()),
    )?;
    Ok(Projected {
        deviation: found.energy().map(|(energy, error)| (energy - exact, error)),
        refusals: found.refusals.iter().map(ToString::to_string).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_can_fail_in_every_way() {
        let text = r#"(title: "one", hamiltonian: Inline(external: Harmonic(frequency: 1), interaction: None), sector: (up: 1),
            geometry: Line, iterations: 1, samples_per_iteration: 64, final_samples: 256, reference: None)"#;
        let spec = crate::spec::read::parse(text, std::path::Path::new("one.ron")).unwrap();
        let sound = Run::new(spec).unwrap().train(()).unwrap().estimate().unwrap().summary;
        let with = |energy: f64, standard_error: f64, verdict: Verdict| {
            let found = Summary { energy, standard_error, verdict: Some(verdict), ..sound.clone() };
            Outcome::new("case", &found, (1.0, 0.0), 1e-2).passed
        };
        assert!(with(1.001, 1e-4, Verdict::Good));
        assert!(with(1.001, 1e-4, Verdict::Doubtful));
        assert!(!with(1.001, 1e-4, Verdict::Refused), "refused");
        assert!(!with(1.02, 1e-4, Verdict::Good), "too far above");
        assert!(!with(0.999, 1e-4, Verdict::Good), "below the exact energy");
        assert!(!with(1.001, 0.02, Verdict::Good), "error bar too wide to tell");
        assert!(!with(f64::NAN, 1e-4, Verdict::Good));
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
