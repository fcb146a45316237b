//! Runs, and what is left of them in their folders.

use crate::errors;
use crate::watch::Watch;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::{Path, PathBuf};
use weylflow::exact;
use weylflow::run::{Ended, EnsembleEnded, EnsembleRun, InFolder};
use weylflow::spec::{read, write};
use weylflow::store::ensemble::Densities;
use weylflow::store::files::{Existing, names, read_text};
use weylflow::store::folder::FinishedRun;
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
    let place = out.as_ref().map(|folder| InFolder { existing, ..InFolder::new(folder) });
    let mut watch = Watch::new(tell);
    let done = py.detach(|| match spec.is_of_several() {
        true => {
            let run = EnsembleRun::new(spec)?;
            let Some(place) = &place else {
                return Ok(Some(Outcome::Several(Box::new(run.estimate(&mut watch)?))));
            };
            Ok(match run.in_folder(place, &mut watch)? {
                EnsembleEnded::Now(outcome) => Some(Outcome::Several(outcome)),
                EnsembleEnded::Before(..) => None,
            })
        }
        false => {
            let run = Run::new(spec)?;
            let Some(place) = &place else {
                return Ok(Some(Outcome::One(Box::new(run.train(&mut watch)?.estimate()?))));
            };
            Ok(match run.in_folder(place, &mut watch)? {
                Ended::Now(outcome) => Some(Outcome::One(outcome)),
                Ended::Before(..) => None,
            })
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
    match outcome {
        Outcome::One(outcome) => result(
            py,
            Parts {
                summary: serde_json::to_string(&outcome.summary).map_err(errors::run)?,
                spec: write::to_ron(&outcome.spec).map_err(errors::run)?,
                rows: &outcome.rows,
                density: Density::One(outcome.density, outcome.reference_density),
                wavefunction: outcome.saved.to_json().map_err(errors::run)?,
            },
        ),
        Outcome::Several(outcome) => result(
            py,
            Parts {
                summary: serde_json::to_string(&outcome.summary).map_err(errors::run)?,
                spec: write::to_ron(&outcome.spec).map_err(errors::run)?,
                rows: &outcome.rows,
                density: Density::Several(outcome.densities),
                wavefunction: outcome.saved.to_json().map_err(errors::run)?,
            },
        ),
    }
}

enum Outcome {
    One(Box<weylflow::Outcome>),
    Several(Box<weylflow::run::EnsembleOutcome>),
}

/// The results of a finished run in its folder.
#[pyfunction]
pub(crate) fn load(py: Python<'_>, folder: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let run = FinishedRun::read(&folder).map_err(errors::run)?;
    let wavefunction = read_text(&folder.join(names::WAVEFUNCTION)).map_err(errors::run)?;
    match run {
        FinishedRun::One(run) => {
            // The record itself, not what the report makes of it.
            let summary = read_summary(&folder.join(names::SUMMARY)).map_err(errors::run)?;
            result(
                py,
                Parts {
                    summary: serde_json::to_string(&summary).map_err(errors::run)?,
                    spec: run.spec.1,
                    rows: &run.rows,
                    density: Density::One(run.density, run.reference_density),
                    wavefunction,
                },
            )
        }
        FinishedRun::Several(run) => result(
            py,
            Parts {
                summary: serde_json::to_string(&run.summary).map_err(errors::run)?,
                spec: run.spec.1,
                rows: &run.rows,
                density: Density::Several(run.densities),
                wavefunction,
            },
        ),
    }
}

struct Parts<'a> {
    summary: String,
    spec: String,
    rows: &'a [IterationRow],
    density: Density,
    wavefunction: String,
}

enum Density {
    /// With that of the exact ground state.
    One(DensityProfile, Option<exact::Density>),
    Several(Densities),
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
    match parts.density {
        Density::One(of, reference) => {
            density.set_item("edges", of.edges.into_pyarray(py))?;
            density.set_item("up", pairs(py, of.up)?)?;
            density.set_item("down", pairs(py, of.down)?)?;
            if let Some(exact) = reference {
                all.set_item("reference_density", smooth(py, exact)?)?;
            }
        }
        Density::Several(of) => {
            density.set_item("edges", of.edges.into_pyarray(py))?;
            for (name, curve) in of.curves {
                density.set_item(name, curve.into_pyarray(py))?;
            }
        }
    }
    all.set_item("density", density)?;
    Ok(all)
}

/// Values with their standard errors, as rows.
fn pairs(py: Python<'_>, values: Vec<(f64, f64)>) -> PyResult<Bound<'_, PyArray2<f64>>> {
    let count = values.len();
    let flat: Vec<f64> = values.into_iter().flat_map(|(v, e)| [v, e]).collect();
    flat.into_pyarray(py).reshape([count, 2])
}

/// A density on points.
pub(crate) fn smooth(py: Python<'_>, density: exact::Density) -> PyResult<Bound<'_, PyDict>> {
    let all = PyDict::new(py);
    all.set_item("x", density.x.into_pyarray(py))?;
    all.set_item("up", density.up.into_pyarray(py))?;
    all.set_item("down", density.down.into_pyarray(py))?;
    Ok(all)
}
