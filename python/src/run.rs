//! Runs, and what is left of them in their folders.

use crate::errors;
use crate::watch::Watch;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::{Path, PathBuf};
use weylflow::exact::Density;
use weylflow::run::{Ended, InFolder};
use weylflow::spec::{read, write};
use weylflow::store::files::{Existing, names, read_text};
use weylflow::store::folder::RunFolder;
use weylflow::store::record::{DensityProfile, IterationRow};
use weylflow::store::summary::read_summary;
use weylflow::{ResolvedSpec, Run, RunError};

/// The spec with every default written out.
#[pyfunction]
pub(crate) fn check(text: &str, path: PathBuf) -> PyResult<String> {
    write::to_ron(&parse(text, &path)?).map_err(errors::run)
}

/// What becomes of results that are there, by its name.
pub(crate) fn existing(name: &str) -> PyResult<Existing> {
    match name {
        "refuse" => Ok(Existing::Refuse),
        "overwrite" => Ok(Existing::Overwrite),
        "resume" => Ok(Existing::Keep),
        other => {
            Err(errors::spec(format!("existing: `{other}`; expected refuse, overwrite or resume")))
        }
    }
}

fn parse(text: &str, path: &Path) -> PyResult<ResolvedSpec> {
    read::parse(text, path).map_err(errors::spec)
}

/// Trains and estimates; with `out` in that folder, with all files and checkpoints.
#[pyfunction]
#[pyo3(signature = (text, path, out=None, existing="refuse", seed=None, tell=None))]
pub(crate) fn run<'py>(
    py: Python<'py>,
    text: &str,
    path: PathBuf,
    out: Option<PathBuf>,
    existing: &str,
    seed: Option<u64>,
    tell: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let mut spec = parse(text, &path)?;
    spec.seed = seed.unwrap_or(spec.seed);
    let existing = self::existing(existing)?;
    let mut watch = Watch::new(tell);
    let done = py.detach(|| {
        let run = Run::new(spec)?;
        match &out {
            None => Ok(Some(run.train(&mut watch)?.estimate()?)),
            Some(folder) => {
                let place = InFolder { existing, ..InFolder::new(folder) };
                match run.in_folder(&place, &mut watch)? {
                    Ended::Now(outcome) => Ok(Some(*outcome)),
                    Ended::Before(..) => Ok(None),
                }
            }
        }
    });
    let outcome = match (watch.raised(), done) {
        (Some(raised), _) => return Err(raised),
        (None, Ok(outcome)) => outcome,
        (None, Err(error @ (RunError::Spec(_) | RunError::Untrainable(_)))) => {
            return Err(errors::spec(error));
        }
        (None, Err(error)) => return Err(errors::run(error)),
    };
    let Some(outcome) = outcome else {
        // It had ended before.
        return load(py, out.unwrap_or_default());
    };
    result(
        py,
        Parts {
            summary: serde_json::to_string(&outcome.summary).map_err(errors::run)?,
            spec: write::to_ron(&outcome.spec).map_err(errors::run)?,
            rows: &outcome.rows,
            density: outcome.density,
            reference_density: outcome.reference_density,
            wavefunction: outcome.saved.to_json().map_err(errors::run)?,
        },
    )
}

/// The results of a finished run in its folder.
#[pyfunction]
pub(crate) fn load(py: Python<'_>, folder: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let run = RunFolder::read(&folder).map_err(errors::run)?;
    // The record itself, not what the report makes of it.
    let summary = read_summary(&folder.join(names::SUMMARY)).map_err(errors::run)?;
    let text = read_text(&folder.join(names::WAVEFUNCTION)).map_err(errors::run)?;
    result(
        py,
        Parts {
            summary: serde_json::to_string(&summary).map_err(errors::run)?,
            spec: run.spec.1,
            rows: &run.rows,
            density: run.density,
            reference_density: run.reference_density,
            wavefunction: text,
        },
    )
}

struct Parts<'a> {
    summary: String,
    spec: String,
    rows: &'a [IterationRow],
    density: DensityProfile,
    reference_density: Option<Density>,
    wavefunction: String,
}

fn result<'py>(py: Python<'py>, parts: Parts) -> PyResult<Bound<'py, PyDict>> {
    let all = PyDict::new(py);
    all.set_item("summary", parts.summary)?;
    all.set_item("spec", parts.spec)?;
    all.set_item("wavefunction", parts.wavefunction)?;
    let rows = PyDict::new(py);
    let column = |of: fn(&IterationRow) -> f64| -> Bound<'py, PyArray1<f64>> {
        parts.rows.iter().map(of).collect::<Vec<f64>>().into_pyarray(py)
    };
    rows.set_item("energy", column(|r| r.energy))?;
    rows.set_item("standard_error", column(|r| r.standard_error))?;
    rows.set_item("variance", column(|r| r.variance))?;
    rows.set_item("gradient_norm", column(|r| r.gradient_norm))?;
    rows.set_item("step_norm", column(|r| r.step_norm))?;
    rows.set_item("tau", column(|r| r.tau))?;
    rows.set_item("seconds", column(|r| r.seconds))?;
    all.set_item("iterations", rows)?;
    let density = PyDict::new(py);
    density.set_item("edges", parts.density.edges.into_pyarray(py))?;
    density.set_item("up", pairs(py, parts.density.up)?)?;
    density.set_item("down", pairs(py, parts.density.down)?)?;
    all.set_item("density", density)?;
    if let Some(exact) = parts.reference_density {
        all.set_item("reference_density", smooth(py, exact)?)?;
    }
    Ok(all)
}

/// Values with their standard errors, as rows.
fn pairs(py: Python<'_>, values: Vec<(f64, f64)>) -> PyResult<Bound<'_, PyArray2<f64>>> {
    let count = values.len();
    let flat: Vec<f64> = values.into_iter().flat_map(|(v, e)| [v, e]).collect();
    flat.into_pyarray(py).reshape([count, 2])
}

/// A density on points.
pub(crate) fn smooth(py: Python<'_>, density: Density) -> PyResult<Bound<'_, PyDict>> {
    let all = PyDict::new(py);
    all.set_item("x", density.x.into_pyarray(py))?;
    all.set_item("up", density.up.into_pyarray(py))?;
    all.set_item("down", density.down.into_pyarray(py))?;
    Ok(all)
}
