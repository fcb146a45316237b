//! Errors of the library as Python exceptions, with its messages: the options that the command line adds as hints are none here.

use pyo3::create_exception;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use std::fmt::Display;

create_exception!(
    weylflow,
    SpecError,
    PyValueError,
    "A spec or a Hamiltonian that is not valid, with its place in the text."
);
create_exception!(
    weylflow,
    RunError,
    PyRuntimeError,
    "A calculation that has no result, or files that cannot be read or written."
);

/// What is wrong with a spec.
pub(crate) fn spec(error: impl Display) -> PyErr {
    SpecError::new_err(error.to_string())
}

/// Why there is no result.
pub(crate) fn run(error: impl Display) -> PyErr {
    RunError::new_err(error.to_string())
}
