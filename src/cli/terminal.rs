//! A run on a terminal: what it says, the signals that end it, and what to do about its errors.

use super::Exit;
use super::hint::hinted;
use super::interrupt::Interrupt;
use super::progress::Progress;
use crate::run::{Event, Observer, RunError};
use crate::store::files::{FileError, names};
use std::error::Error;
use std::io;
use std::path::Path;

/// Shows the news of a run on standard error and ends it at a signal.
pub(super) struct Terminal {
    progress: Progress,
    interrupt: Interrupt,
}

impl Terminal {
    /// Listens to signals from now on.
    pub(super) fn new(quiet: bool) -> io::Result<Self> {
        Ok(Terminal { progress: Progress::new(quiet), interrupt: Interrupt::listen()? })
    }

    /// The exit code of what a signal has ended.
    pub(super) fn exit_code(&self) -> u8 {
        self.interrupt.exit_code().unwrap_or(1)
    }

    /// The error of a run in `folder`, with the options that help.
    pub(super) fn explained(&self, error: RunError, folder: &Path) -> Box<dyn Error> {
        match error {
            RunError::Untouched { error, folder: results, new } => {
                let error = self.explained(*error, folder);
                let shown = hinted(error.as_ref());
                let mut message =
                    format!("{shown}\n  the earlier results in `{}` are untouched", results.display());
                if let Some(new) = new {
                    message += &format!("; what there is of the new run is in `{}`", new.display());
                }
                let code = error.downcast_ref::<Exit>().map_or(1, |exit| exit.code);
                Box::new(Exit { code, message })
            }
            RunError::Interrupted { checkpoint } => {
                let path = checkpoint.unwrap_or_else(|| folder.join(names::CHECKPOINT));
                let message = format!(
                    "interrupted; the state is saved in `{}`, and the same command with --resume goes on from it",
                    path.display()
                );
                Box::new(Exit { code: self.interrupt.exit_code().unwrap_or(1), message })
            }
            RunError::Checkpoint { error, before: Some(before) } => format!(
                "{error}\n  the one before it, after {before} iterations, is intact: --resume --previous goes on from it"
            )
            .into(),
            RunError::File(error @ FileError::NotEmpty { .. })
                if folder.join(names::CHECKPOINT).is_file() =>
            {
                format!(
                    "{error}\n  choose another with --out, go on with its run by --resume, or replace its results with \
                     --overwrite"
                )
                .into()
            }
            RunError::File(error @ (FileError::NotEmpty { .. } | FileError::NotAFolder { .. })) => {
                format!("{error}\n  choose another with --out, or replace its results with --overwrite")
                    .into()
            }
            error => error.into(),
        }
    }
}

impl Observer for Terminal {
    fn hear(&mut self, event: Event<'_>) {
        let progress = &mut self.progress;
        match event {
            Event::Message(text) => progress.message(text),
            Event::Iteration(row, of) => progress.iteration(row, of),
            Event::Trained => progress.finish(),
            Event::Phase(name) => progress.phase(name),
            Event::Note(detail) => progress.note(detail),
            Event::Share(share) => progress.at(share),
            Event::PhaseEnded => progress.end_phase(),
            Event::Samples(..) => {}
        }
    }

    fn stops(&self) -> bool {
        self.interrupt.exit_code().is_some()
    }
}
