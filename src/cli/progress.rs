//! What a run says while it goes on: a bar on a terminal, sparse lines elsewhere, or nothing.

use crate::report::escape::harmless;
use crate::report::number::{format_duration, format_significant, format_with_uncertainty};
use crate::store::record::IterationRow;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Tells a person how a run is going. Everything goes to standard error, so that standard output
/// stays free for results.
pub(super) struct Progress {
    mode: Mode,
    announced: Option<usize>,
    phase: Option<Phase>,
}

enum Mode {
    Bar(ProgressBar),
    Lines(Box<dyn Write + Send>),
    Silent,
}

impl Progress {
    /// A bar if standard error is a terminal, otherwise lines; nothing if `quiet`.
    pub(super) fn new(quiet: bool) -> Self {
        if quiet {
            Self::with_mode(Mode::Silent)
        } else if io::stderr().is_terminal() {
            Self::with_mode(Mode::Bar(bar(TEMPLATE)))
        } else {
            Self::lines(io::stderr())
        }
    }

    /// Lines into a sink of the caller's, about one for each 5 % of the iterations.
    pub(super) fn lines(sink: impl Write + Send + 'static) -> Self {
        Self::with_mode(Mode::Lines(Box::new(sink)))
    }

    fn with_mode(mode: Mode) -> Self {
        Progress { mode, announced: None, phase: None }
    }

    /// Tells of an iteration. `row.iteration` counts from 0 to `total - 1`.
    pub(super) fn iteration(&mut self, row: &IterationRow, total: usize) {
        let done = row.iteration + 1;
        let left = row.seconds / done as f64 * total.saturating_sub(done) as f64;
        match &mut self.mode {
            Mode::Silent => {}
            Mode::Bar(bar) => {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
                bar.set_message(describe(row, left));
            }
            Mode::Lines(sink) => {
                let part = done * 20 / total.max(1);
                if self.announced == Some(part) && done != total {
                    return;
                }
                self.announced = Some(part);
                let width = total.to_string().len();
                // A closed pipe must not end a run that still writes its files.
                let _ = writeln!(sink, "{done:>width$}/{total}  {}", describe(row, left));
                let _ = sink.flush();
            }
        }
    }

    /// Says something between iterations, for instance that the final estimate begins.
    pub(super) fn message(&mut self, text: &str) {
        let text = &*harmless(text);
        match &mut self.mode {
            Mode::Silent => {}
            Mode::Bar(bar) => bar.println(text),
            Mode::Lines(sink) => {
                let _ = writeln!(sink, "{text}");
                let _ = sink.flush();
            }
        }
    }

    /// Begins a part of the work that is not an iteration.
    pub(super) fn phase(&mut self, name: &str) {
        self.end_phase();
        let bar = match &mut self.mode {
            Mode::Silent => None,
            Mode::Bar(_) => {
                let bar = bar(PHASE_TEMPLATE);
                bar.set_length(100);
                bar.set_prefix(name.to_owned());
                bar.tick();
                Some(bar)
            }
            Mode::Lines(sink) => {
                let _ = writeln!(sink, "{name}");
                let _ = sink.flush();
                None
            }
        };
        let (name, detail, spoken) = (name.to_owned(), String::new(), Instant::now());
        self.phase = Some(Phase { bar, name, detail, spoken });
    }

    /// What is being done in that part.
    pub(super) fn note(&mut self, detail: &str) {
        let Some(phase) = &mut self.phase else { return };
        detail.clone_into(&mut phase.detail);
        if let Some(bar) = &phase.bar {
            bar.set_message(phase.detail.clone());
        }
    }

    /// How much of what may be done in it is done, from 0 to 1.
    pub(super) fn at(&mut self, share: f64) {
        let Some(phase) = &mut self.phase else { return };
        let percent = (100.0 * share.clamp(0.0, 1.0)) as u64;
        if let Some(bar) = &phase.bar {
            bar.set_position(percent);
        } else if phase.spoken.elapsed() > PHASE_PAUSE {
            phase.spoken = Instant::now();
            let line = format!("{}: {percent} % of the work allowed, {}", phase.name, phase.detail);
            self.message(&line);
        }
    }

    /// Ends it.
    pub(super) fn end_phase(&mut self) {
        if let Some(bar) = self.phase.take().and_then(|phase| phase.bar) {
            bar.finish_and_clear();
        }
    }

    /// Leaves the terminal as it is after the last iteration. Called on drop as well.
    pub(super) fn finish(&mut self) {
        self.end_phase();
        if let Mode::Bar(bar) = &self.mode
            && !bar.is_finished()
        {
            bar.abandon();
        }
    }
}

/// A part of the work with a name.
struct Phase {
    bar: Option<ProgressBar>,
    name: String,
    detail: String,
    spoken: Instant,
}

/// Between two lines of a phase.
const PHASE_PAUSE: Duration = Duration::from_secs(10);

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// A bar on standard error, invisible where that is no terminal.
fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    // Literal templates that a unit test reads: the fallback is never taken.
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ");
    bar.set_style(style);
    bar
}

/// A bar of work that is counted, with a message behind it; none if `quiet`.
pub(super) fn counted(quiet: bool) -> ProgressBar {
    if quiet { ProgressBar::hidden() } else { bar(TEMPLATE) }
}

/// A bar of work in hundredths, with the time that has passed.
pub(super) fn hundredths() -> ProgressBar {
    let bar = bar(HUNDREDTHS_TEMPLATE);
    bar.set_length(100);
    bar
}

const TEMPLATE: &str = "{bar:20.cyan} {pos}/{len}  {wide_msg}";
const HUNDREDTHS_TEMPLATE: &str = "{bar:20.cyan} {elapsed:>4} {wide_msg}";
const PHASE_TEMPLATE: &str =
    "{bar:20.cyan} {pos} % of the work allowed  {prefix}, {elapsed}  {wide_msg}";

fn describe(row: &IterationRow, seconds_left: f64) -> String {
    format!(
        "E = {} Ha  variance = {} Ha²  {} left",
        format_with_uncertainty(row.energy, row.standard_error),
        format_significant(row.variance, 2),
        format_duration(seconds_left)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn row(iteration: usize) -> IterationRow {
        IterationRow {
            iteration,
            energy: -1.816,
            standard_error: 0.002,
            variance: 0.0123,
            gradient_norm: 0.1,
            step_norm: 0.1,
            tau: 0.1,
            seconds: (iteration + 1) as f64,
        }
    }

    fn lines(total: usize) -> Vec<String> {
        let sink = Sink::default();
        let mut progress = Progress::lines(sink.clone());
        for i in 0..total {
            progress.iteration(&row(i), total);
        }
        progress.message("done");
        progress.finish();
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        text.lines().map(String::from).collect()
    }

    #[test]
    fn lines_are_sparse_and_hold_the_first_and_the_last() {
        let lines = lines(400);
        assert!((20..=23).contains(&lines.len()), "{}", lines.len());
        assert!(lines[0].starts_with("  1/400  E = -1.816(2) Ha  variance = 0.012 Ha²"));
        assert!(lines[0].ends_with("6 min 39 s left"), "{}", lines[0]);
        assert!(lines[lines.len() - 2].starts_with("400/400"));
        assert_eq!(lines[lines.len() - 1], "done");
    }

    #[test]
    fn short_runs_have_a_line_an_iteration() {
        assert_eq!(lines(3).len(), 4);
        assert_eq!(lines(1).len(), 2);
        assert_eq!(lines(0).len(), 1);
    }

    #[test]
    fn quiet_is_silent_and_the_template_is_valid() {
        let mut progress = Progress::new(true);
        assert!(matches!(progress.mode, Mode::Silent));
        progress.iteration(&row(0), 0);
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
        assert!(ProgressStyle::with_template(PHASE_TEMPLATE).is_ok());
        assert!(ProgressStyle::with_template(HUNDREDTHS_TEMPLATE).is_ok());
    }
}
