//! Scans: curves over named parameters.

use crate::errors;
use crate::watch::Watch;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::{Path, PathBuf};
use weylflow::ResolvedSpec;
use weylflow::run::InFolder;
use weylflow::scan::{InScanFolder, Scan, ScanError};
use weylflow::spec::Family;

/// Does the points of a scan in a folder; the table in CSV, the scanned parameters, and how bad the worst point is.
#[pyfunction]
#[pyo3(signature = (text, path, out, existing="refuse", only=None, seed=None, tell=None))]
#[allow(clippy::too_many_arguments, reason = "those of the Python function")]
pub(crate) fn scan<'py>(
    py: Python<'py>,
    text: &str,
    path: PathBuf,
    out: PathBuf,
    existing: &str,
    only: Option<(usize, usize)>,
    seed: Option<u64>,
    tell: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let family = Family::parse(text, Path::new(&path)).map_err(errors::spec)?;
    let spec = family.spec_to_train().map_err(errors::spec)?;
    let scan = Scan::new(family)
        .ok_or_else(|| errors::spec("the spec has no `scan`: its run is `weylflow.run`"))?;
    let place = InScanFolder {
        place: InFolder { existing: crate::run::existing(existing)?, ..InFolder::new(&out) },
        only: only.map(|(first, last)| first..=last),
    };
    let change = |spec: &mut ResolvedSpec| spec.seed = seed.unwrap_or(spec.seed);
    let mut watch = Watch::new(tell);
    let done = py.detach(|| {
        let at = scan.at(&place).map_err(ScanError::from)?;
        scan.complete(&spec, &place, &at, &change, &mut watch)
    });
    let whole = match (watch.raised(), done) {
        (Some(raised), _) => return Err(raised),
        (None, Ok(whole)) => whole,
        (None, Err(error @ ScanError::Spec { .. })) => return Err(errors::spec(error)),
        (None, Err(error)) => return Err(errors::run(error)),
    };
    let all = PyDict::new(py);
    all.set_item("table", whole.table)?;
    all.set_item("parameters", scan.parameters())?;
    all.set_item("worst", format!("{:?}", whole.worst))?;
    all.set_item("lines", whole.lines)?;
    Ok(all)
}
