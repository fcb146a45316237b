//! Observables of a trained state.

use crate::errors;
use crate::watch::Watch;
use pyo3::prelude::*;
use weylflow::observables::{self, Effort, REGISTRY, Setup};
use weylflow::store::saved::SavedWavefunction;
use weylflow::system::System;

/// Measures observables, named as in `weylflow measure --what`; all that need no exact state without names. JSON. Those of a
/// temperature are averages over its ensemble, of a sweep at one of its temperatures.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub(crate) fn measure(
    py: Python<'_>,
    wavefunction: &str,
    state: Option<usize>,
    temperature: Option<f64>,
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
    let saved = SavedWavefunction::from_json(wavefunction).map_err(errors::run)?;
    let thermal = saved.spec.temperature.is_some();
    if let (Some(kt), false) = (temperature, thermal) {
        return Err(errors::run(format!("kT = {kt} Ha: the run has no temperature")));
    }
    let effort = Effort { samples, replicates, seed: seed.unwrap_or(saved.spec.seed) };
    let observables = |setup: &Setup| -> Vec<_> {
        let wanted = |name: &str| what.is_empty() || what.iter().any(|w| w == name);
        let entries = REGISTRY.iter().filter(|e| wanted(e.name));
        entries.filter_map(|e| Some((e.name, (e.build)(setup)?))).collect()
    };
    let watch = Watch::new(None);
    let goes_on = |_| !watch.stopped();
    let found = if thermal {
        py.detach(|| -> Result<_, String> {
            let states = saved.gibbs(temperature).map_err(|e| e.to_string())?;
            let spec = &saved.spec;
            let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
            let setup = Setup::of_ensemble(&states, system);
            observables::measure_ensemble(&states, &setup, &observables(&setup), effort, goes_on)
                .map_err(|e| e.to_string())
        })
    } else {
        let saved = saved.one(state).map_err(errors::run)?;
        py.detach(|| -> Result<_, String> {
            let state = weylflow::State::new(saved).map_err(|e| e.to_string())?;
            let setup = Setup::new(state.wavefunction(), state.system());
            let psi = state.wavefunction();
            observables::measure_while(psi, &setup, &observables(&setup), effort, goes_on)
                .map_err(|e| e.to_string())
        })
    };
    let found = found.map_err(errors::run)?.ok_or_else(|| watch.ended())?;
    serde_json::to_string(&found).map_err(errors::run)
}
