//! External potentials as functions.

use crate::errors;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use weylflow::system::External;
use weylflow::system::table::Table;

/// An external potential: a formula in `x`, or a cubic spline through values at points.
#[pyclass(frozen, module = "weylflow._weylflow")]
pub(crate) struct Potential(External);

#[pymethods]
impl Potential {
    /// The potential of a formula.
    #[staticmethod]
    fn formula(text: &str) -> PyResult<Self> {
        Ok(Potential(External::Formula(text.parse().map_err(errors::spec)?)))
    }

    /// The potential of a table.
    #[staticmethod]
    fn table(
        points: PyReadonlyArray1<'_, f64>,
        values: PyReadonlyArray1<'_, f64>,
        periodic: bool,
    ) -> PyResult<Self> {
        let list = |array: PyReadonlyArray1<'_, f64>| array.as_array().to_vec();
        let table = Table::new(list(points), list(values), periodic).map_err(errors::spec)?;
        Ok(Potential(External::Tabulated(table)))
    }

    /// `v(x)` in Hartree.
    fn value<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray1<'py, f64>,
    ) -> Bound<'py, PyArray1<f64>> {
        let values: Vec<f64> = x.as_array().iter().map(|x| self.0.value(*x)).collect();
        values.into_pyarray(py)
    }

    /// `dv/dx` in Hartree per bohr.
    fn derivative<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray1<'py, f64>,
    ) -> Bound<'py, PyArray1<f64>> {
        let values: Vec<f64> = x.as_array().iter().map(|x| self.0.derivative(*x)).collect();
        values.into_pyarray(py)
    }

    /// About how far a table is from the function behind it at most, in Hartree; zero of a formula.
    #[getter]
    fn error(&self) -> f64 {
        match &self.0 {
            External::Tabulated(table) => table.interpolation_error(),
            _ => 0.0,
        }
    }
}
