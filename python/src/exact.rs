//! Exact energies.

use crate::errors;
use crate::run::smooth;
use crate::watch::Watch;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::PathBuf;
use weylflow::exact::thermal::ThermalOptions;
use weylflow::run::{Event, Observer, Task, solve_until, thermal_until};
use weylflow::spec::{load, load_hamiltonian, read, validate};
use weylflow::{ExactOptions, Geometry, Sector};

/// Lowest energies of a sector with error estimates; `text` is a spec, without it `path` names a spec or a Hamiltonian.
#[pyfunction]
#[pyo3(signature = (text, path, up=None, down=None, half_width=None, ring=None, states=1, tolerance=None, temperature=None, tell=None))]
#[allow(clippy::too_many_arguments)]
pub(crate) fn exact<'py>(
    py: Python<'py>,
    text: Option<&str>,
    path: PathBuf,
    up: Option<usize>,
    down: Option<usize>,
    half_width: Option<f64>,
    ring: Option<f64>,
    states: usize,
    tolerance: Option<f64>,
    temperature: Option<f64>,
    tell: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let is_spec = match text {
        Some(_) => true,
        None => read::names_hamiltonian(&path).map_err(errors::spec)?,
    };
    let (hamiltonian, mut sector, mut geometry) = if is_spec {
        let spec = match text {
            Some(text) => read::parse(text, &path),
            None => load(&path),
        }
        .map_err(errors::spec)?;
        (spec.hamiltonian, spec.sector, Some(spec.geometry))
    } else {
        let hamiltonian = load_hamiltonian(&path).map_err(errors::spec)?;
        (hamiltonian, Sector::new(1, 0), None)
    };
    sector.up = up.unwrap_or(sector.up);
    sector.down = down.unwrap_or(sector.down);
    if let Some(half_width) = half_width {
        geometry = Some(Geometry::Box { half_width });
    }
    if let Some(circumference) = ring {
        geometry = Some(Geometry::Ring { circumference });
    }
    let geometry = geometry.filter(|g| *g != Geometry::Line);
    let place = geometry.unwrap_or(Geometry::Line);
    validate::sector(&sector)
        .and_then(|()| validate::geometry(&place))
        .and_then(|()| validate::hamiltonian_in(&hamiltonian, &place))
        .and_then(|()| validate::ground_state(&hamiltonian, &place, sector))
        .map_err(errors::spec)?;
    let repulsion = hamiltonian.nuclear_repulsion();
    let task = Task { hamiltonian, sector, geometry };
    if let Some(kt) = temperature {
        return thermal(py, &task, kt, tolerance, repulsion, tell);
    }
    let mut options = ExactOptions { states, ..ExactOptions::default() };
    options.tolerance = tolerance.unwrap_or(options.tolerance);
    let mut watch = Watch::new(tell);
    watch.hear(Event::Phase("exact energies"));
    let solved = py.detach(|| {
        let stops = || watch.stops();
        solve_until(&task, &options, None, &stops, &mut |_| {})
    });
    let result = ended(&mut watch, solved)?;
    let all = PyDict::new(py);
    all.set_item("energies", numpy::PyArray1::from_slice(py, &result.energies))?;
    all.set_item("error_estimates", numpy::PyArray1::from_slice(py, &result.error_estimates))?;
    all.set_item("method", &result.method)?;
    all.set_item("converged", result.converged)?;
    all.set_item("nuclear_repulsion", repulsion)?;
    let labels = serde_json::to_string(&result.labels).map_err(errors::run)?;
    all.set_item("labels", labels)?;
    let components = serde_json::to_string(&result.components).map_err(errors::run)?;
    all.set_item("components", components)?;
    if let Ok(ground) = result.ground_state {
        all.set_item(
            "natural_occupations",
            numpy::PyArray1::from_slice(py, &ground.natural_occupations),
        )?;
        let densities = std::iter::once(ground.density).chain(result.excited_densities);
        let densities: Vec<_> = densities.map(|d| smooth(py, d)).collect::<PyResult<_>>()?;
        all.set_item("densities", densities)?;
    }
    Ok(all)
}

/// What was found, or the exception: what the caller raised comes first.
fn ended<T, E: std::fmt::Display, F: std::fmt::Display>(
    watch: &mut Watch,
    solved: Result<Result<T, E>, F>,
) -> PyResult<T> {
    watch.hear(Event::PhaseEnded);
    match (watch.raised(), solved) {
        (Some(raised), _) => Err(raised),
        (None, Err(error)) => Err(errors::run(error)),
        (None, Ok(Err(error))) => Err(errors::run(error)),
        (None, Ok(Ok(result))) => Ok(result),
    }
}

/// The canonical ensemble at a temperature.
fn thermal<'py>(
    py: Python<'py>,
    task: &Task,
    kt: f64,
    tolerance: Option<f64>,
    repulsion: f64,
    tell: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    validate::temperature(kt).map_err(errors::spec)?;
    let mut options = ThermalOptions::at(kt);
    options.tolerance = tolerance.unwrap_or(options.tolerance);
    let mut watch = Watch::new(tell);
    watch.hear(Event::Phase("exact free energy"));
    let solved = py.detach(|| thermal_until(task, &options, None, &|| watch.stops()));
    let result = ended(&mut watch, solved)?;
    let all = PyDict::new(py);
    all.set_item("thermal", serde_json::to_string(&result).map_err(errors::run)?)?;
    all.set_item("nuclear_repulsion", repulsion)?;
    Ok(all)
}
