//! The native half of the Python package: conversions between Python and the library, and nothing else.

mod errors;
mod exact;
mod measure;
mod potential;
mod project;
mod run;
mod scan;
mod state;
mod watch;

use pyo3::prelude::*;

/// Functions and classes that `weylflow/__init__.py` builds on.
#[pymodule]
mod _weylflow {
    #[pymodule_export]
    use super::errors::{RunError, SpecError};
    #[pymodule_export]
    use super::exact::exact;
    #[pymodule_export]
    use super::measure::measure;
    #[pymodule_export]
    use super::potential::Potential;
    #[pymodule_export]
    use super::project::project;
    #[pymodule_export]
    use super::run::{check, load, run};
    #[pymodule_export]
    use super::scan::scan;
    #[pymodule_export]
    use super::state::State;

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(m: &Bound<'_, PyModule>) -> PyResult<()> {
        m.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
