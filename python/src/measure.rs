//! Observables of a trained state.

use crate::errors;
use crate::state::chosen;
use crate::watch::Watch;
use pyo3::prelude::*;
use weylflow::observables::{self, Effort, REGISTRY, Setup};

/// Measures observables, named as in `weylflow measure --what`; all that need no exact state without names. JSON.
#[pyfunction]
pub(crate) fn measure(
    py: Python<'_>,
    wavefunction: &str,
    state: Option<usize>,
    what: Vec<String>,
    samples: usize,
    replicates: usize,
    seed: Option<u64>,
) -> PyResult<String> {
    if let Some(name) = what.iter().find(|name| !REGISTRY.iter().any(|e| e.name == **name)) {
        let all: Vec<_> = REGISTRY.iter().map(|e| e.name).collect();
        return Err(errors::spec(format!(
            "`{name}` is no observable; there are: {}",
            all.join(", ")
        )));
    }
    let saved = chosen(wavefunction, state)?;
    let watch = Watch::new(None);
    let found = py.detach(|| -> Result<_, String> {
        let state = weylflow::State::new(saved).map_err(|e| e.to_string())?;
        let setup = Setup::new(state.wavefunction(), state.system());
        let wanted = |name: &str| what.is_empty() || what.iter().any(|w| w == name);
        let chosen: Vec<_> = REGISTRY
            .iter()
            .filter(|e| wanted(e.name))
            .filter_map(|e| Some((e.name, (e.build)(&setup)?)))
            .collect();
        let effort = Effort { samples, replicates, seed: seed.unwrap_or(state.spec().seed) };
        let goes_on = |_| !watch.stopped();
        observables::measure_while(state.wavefunction(), &setup, &chosen, effort, goes_on)
            .map_err(|e| e.to_string())
    });
    let found = found.map_err(errors::run)?.ok_or_else(|| watch.ended())?;
    serde_json::to_string(&found).map_err(errors::run)
}
