//! Exact projection of a trained state.

use crate::errors;
use crate::state::chosen;
use pyo3::prelude::*;
use std::ops::ControlFlow;
use weylflow::project::{self as projection, ProjectError, Settings, State};
use weylflow::store::projection::ProjectionRecord;

/// Projects a state onto the ground state; what `projection.json` holds, as JSON.
#[pyfunction]
#[pyo3(signature = (wavefunction, walkers, replicates, beta=None, observables=None, seed=None))]
pub(crate) fn project(
    py: Python<'_>,
    wavefunction: &str,
    walkers: Option<usize>,
    replicates: usize,
    beta: Option<f64>,
    observables: Option<Vec<String>>,
    seed: Option<u64>,
) -> PyResult<String> {
    let saved = chosen(wavefunction, None)?;
    let fingerprint = saved.fingerprint().map_err(errors::run)?;
    let title = saved.spec.title.clone();
    let mut settings =
        Settings { walkers, replicates, beta, seed: saved.spec.seed, ..Settings::default() };
    settings.observables = observables.unwrap_or(settings.observables);
    settings.seed = seed.unwrap_or(settings.seed);
    let mut raised = None;
    let found = py.detach(|| -> Result<_, String> {
        let state = weylflow::State::new(saved).map_err(|e| e.to_string())?;
        let mut watch =
            |_: &projection::News, _: &State| match Python::attach(|py| py.check_signals()) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    raised = Some(error);
                    ControlFlow::Break(())
                }
            };
        let (psi, system) = (state.wavefunction(), state.system());
        match projection::project(psi, system, &settings, None, &mut State::default(), &mut watch) {
            Ok(found) => Ok(Some(found)),
            Err(ProjectError::Interrupted) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    });
    match (raised, found) {
        (Some(raised), _) => Err(raised),
        (None, Err(error)) => Err(errors::run(error)),
        (None, Ok(None)) => Err(errors::run("interrupted")),
        (None, Ok(Some(found))) => {
            Ok(ProjectionRecord::of(&title, &fingerprint, settings.seed, found).to_json())
        }
    }
}
