//! How far an exact diagonalisation is, on standard error: the convergence table line by line, and
//! between its lines a bar, or, where nobody watches a terminal, a line now and then.

use super::note;
use super::progress::hundredths;
use crate::exact::{ConvergenceRow, Iteration, News};
use indicatif::ProgressBar;
use std::time::{Duration, Instant};

const TABLE_HEAD: &str =
    "refined       length  functions  cells  orbitals  determinants               energy    change";

/// Between two plain lines that tell how far a calculation is.
const PLAIN_PAUSE: Duration = Duration::from_secs(10);

/// Predicted time from which a calculation is announced by a plain line, in seconds.
const LONG: f64 = 10.0;

/// What is shown while the solver works.
pub(super) struct Display {
    bar: ProgressBar,
    /// No table and no plain lines.
    quiet: bool,
    /// Floating-point operations per second.
    speed: f64,
    announced: String,
    /// Residual of the first iteration.
    first: f64,
    spoken: Instant,
}

impl Display {
    /// `speed` in floating-point operations per second turns work into time.
    pub(super) fn new(quiet: bool, speed: f64) -> Self {
        let bar = hundredths();
        if !quiet {
            bar.suspend(|| note(TABLE_HEAD));
        }
        let (announced, spoken) = (String::new(), Instant::now());
        Display { bar, quiet, speed, announced, first: 0.0, spoken }
    }

    /// Shows one piece of news.
    pub(super) fn show(&mut self, step: &News) {
        match step {
            News::Predicted { determinants, bytes, work } => {
                let gib = *bytes as f64 / (1_u64 << 30) as f64;
                let seconds = work / self.speed;
                self.announced =
                    format!("{determinants} determinants, {gib:.2} GiB, about {seconds:.0} s");
                self.bar.set_position(0);
                self.bar.set_message(self.announced.clone());
                if seconds > LONG {
                    self.plain(&self.announced.clone());
                }
            }
            News::Iteration(iteration) => self.iteration(iteration),
            News::Work { .. } => self.bar.tick(),
            News::Row(row) => {
                if !self.quiet {
                    self.bar.suspend(|| note(&table_row(row)));
                }
            }
        }
    }

    fn iteration(&mut self, i: &Iteration) {
        if i.number == 1 {
            self.first = i.residual;
        }
        let text =
            format!("iteration {}, residual {:.1e} of {:.1e}", i.number, i.residual, i.target);
        self.bar.set_position((100.0 * share_done(self.first, i)) as u64);
        self.bar.set_message(format!("{}: {text}", self.announced));
        if self.spoken.elapsed() > PLAIN_PAUSE {
            self.plain(&format!("  {text}, energy {:.9}", i.energy));
        }
    }

    /// A line for those without a terminal.
    fn plain(&mut self, text: &str) {
        if self.bar.is_hidden() && !self.quiet {
            note(text);
            self.spoken = Instant::now();
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Residuals fall by about the same factor in every iteration: the share of the way is one of
/// logarithms.
fn share_done(first: f64, i: &Iteration) -> f64 {
    let whole = (first / i.target).ln();
    let done = (first / i.residual).ln();
    if whole > 0.0 && done.is_finite() { (done / whole).clamp(0.0, 1.0) } else { 0.0 }
}

fn table_row(row: &ConvergenceRow) -> String {
    format!(
        "{:<10} {:>9.3} {:>10} {:>6} {:>9} {:>13} {:>20.12} {:>9}",
        format!("{:?}", row.refinement).to_lowercase(),
        row.length,
        row.functions,
        row.cells,
        if row.orbitals == 0 { "all".to_string() } else { row.orbitals.to_string() },
        row.determinants,
        row.energy,
        row.change.map_or(String::new(), |c| format!("{c:.1e}")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_the_way_is_one_of_logarithms() {
        let at = |residual: f64| {
            share_done(1e-1, &Iteration { number: 2, energy: 0.0, residual, target: 1e-5 })
        };
        assert!((at(1e-3) - 0.5).abs() < 1e-12);
        assert_eq!([at(1.0), at(1e-7), at(0.0)], [0.0, 1.0, 0.0]);
    }
}
