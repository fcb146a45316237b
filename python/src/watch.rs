//! News of a run for Python, and its signals for the run.

use crate::errors;
use pyo3::prelude::*;
use std::sync::Mutex;
use weylflow::run::{Event, Observer};

/// Tells a Python callable of the news; ends the run where that or a signal handler (Ctrl-C) raises.
pub(crate) struct Watch {
    tell: Option<Py<PyAny>>,
    raised: Mutex<Option<PyErr>>,
}

impl Watch {
    pub(crate) fn new(tell: Option<Py<PyAny>>) -> Self {
        Watch { tell, raised: Mutex::new(None) }
    }

    /// What ended the run, if Python did.
    pub(crate) fn raised(&self) -> Option<PyErr> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<PyErr>> {
        self.raised.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn keep(&self, result: PyResult<()>) {
        if let Err(error) = result {
            self.lock().get_or_insert(error);
        }
    }
}

impl Observer for Watch {
    fn hear(&mut self, event: Event<'_>) {
        let Some(tell) = &self.tell else { return };
        let result = Python::attach(|py| {
            match event {
                Event::Message(text) => tell.call1(py, ("message", text)),
                Event::Iteration(row, of) => tell.call1(
                    py,
                    (
                        "iteration",
                        (row.iteration + 1, of, row.energy, row.standard_error, row.seconds),
                    ),
                ),
                Event::Trained => tell.call1(py, ("trained", ())),
                Event::Phase(name) => tell.call1(py, ("phase", name)),
                Event::Note(detail) => tell.call1(py, ("note", detail)),
                Event::Share(share) => tell.call1(py, ("share", share)),
                Event::PhaseEnded => tell.call1(py, ("phase ended", ())),
                Event::Samples(..) => return Ok(()),
            }
            .map(|_| ())
        });
        self.keep(result);
    }

    fn stops(&self) -> bool {
        self.stopped()
    }
}

impl Watch {
    /// The exception of a call that was ended.
    pub(crate) fn ended(&self) -> PyErr {
        self.raised().unwrap_or_else(|| errors::run("interrupted"))
    }

    /// Whether Python has raised something: a signal handler, now, or the callable, before.
    pub(crate) fn stopped(&self) -> bool {
        if self.lock().is_none() {
            self.keep(Python::attach(|py| py.check_signals()));
        }
        self.lock().is_some()
    }
}
