//! A trained state: samples and values.

use crate::errors;
use crate::watch::Watch;
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use weylflow::run::State as Trained;
use weylflow::store::saved::SavedWavefunction;

/// A trained wavefunction, from the text of its file.
#[pyclass(frozen, module = "weylflow._weylflow")]
pub(crate) struct State(Trained);

/// The wavefunction of a text, of several states that with this number.
pub(crate) fn chosen(text: &str, state: Option<usize>) -> PyResult<SavedWavefunction> {
    SavedWavefunction::from_json(text).and_then(|saved| saved.one(state)).map_err(errors::run)
}

#[pymethods]
impl State {
    #[new]
    #[pyo3(signature = (text, state=None))]
    fn new(py: Python<'_>, text: &str, state: Option<usize>) -> PyResult<Self> {
        let saved = chosen(text, state)?;
        Ok(State(py.detach(|| Trained::new(saved)).map_err(errors::run)?))
    }

    /// Numbers of spin-up and spin-down particles.
    #[getter]
    fn sector(&self) -> (usize, usize) {
        let sector = self.0.sector();
        (sector.up, sector.down)
    }

    /// Seed of the run.
    #[getter]
    fn seed(&self) -> u64 {
        self.0.spec().seed
    }

    /// Exact independent samples of `|psi|²` with their local energies, and how many had none and were left out.
    #[allow(clippy::type_complexity)]
    fn sample<'py>(
        &self,
        py: Python<'py>,
        count: usize,
        seed: u64,
    ) -> PyResult<(Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>, usize)> {
        let n = self.0.sector().particles();
        let watch = Watch::new(None);
        let found = py.detach(|| self.0.sample_while(count, seed, &mut || !watch.stopped()));
        let found = found.ok_or_else(|| watch.ended())?;
        let rows = found.local_energy.len();
        Ok((
            found.x.into_pyarray(py).reshape([rows, n])?,
            found.local_energy.into_pyarray(py),
            found.rejected,
        ))
    }

    /// `log_abs`, `sign`, `gradient` and `local_energy` at points, one row each.
    fn evaluate<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f64>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let n = self.0.sector().particles();
        let shape = x.shape();
        if shape[1] != n {
            return Err(errors::spec(format!(
                "x has the shape ({}, {}); it should be (points, {n}), one column a particle",
                shape[0], shape[1]
            )));
        }
        let points = shape[0];
        let view = x.as_array();
        let owned: Vec<f64>;
        let values = match view.as_slice() {
            Some(values) => values,
            None => {
                owned = view.iter().copied().collect();
                &owned
            }
        };
        let watch = Watch::new(None);
        let found = py.detach(|| self.0.evaluate_while(values, &mut || !watch.stopped()));
        let found = found.map_err(errors::spec)?.ok_or_else(|| watch.ended())?;
        let all = PyDict::new(py);
        all.set_item("log_abs", found.log_abs.into_pyarray(py))?;
        all.set_item("sign", found.sign.into_pyarray(py))?;
        all.set_item("gradient", found.gradient.into_pyarray(py).reshape([points, n])?)?;
        all.set_item("local_energy", found.local_energy.into_pyarray(py))?;
        Ok(all)
    }
}
