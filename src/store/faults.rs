//! `faults.csv`: samples without a sensible local energy, for whoever wants to know why.

use super::csv::{Table, digits};
use super::files::{FileError, names, open_to_write, read_text, remove, write_atomic};
use crate::local_energy::Fault;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Stage of the samples of an iteration.
pub const TRAINING: &str = "training";
/// Stage of the final samples.
pub const ESTIMATE: &str = "estimate";

/// The first columns; coordinates follow.
const COLUMNS: [&str; 3] = ["stage", "iteration", "local_energy"];

/// Lines that one process writes at most.
const MOST_LINES: usize = 1000;

/// The table of a run; the file is there once there is something to write.
#[derive(Debug)]
pub struct FaultsCsv {
    path: PathBuf,
    file: Option<File>,
    lines: usize,
}

impl FaultsCsv {
    /// The table in a folder, of a run that goes on after so many iterations: what came after them comes again.
    ///
    /// # Errors
    /// [`FileError`], also for a table that is none.
    pub fn new(folder: &Path, iterations: usize) -> Result<Self, FileError> {
        let path = folder.join(names::FAULTS);
        if std::fs::symlink_metadata(&path).is_err() {
            return Ok(FaultsCsv { path, file: None, lines: 0 });
        }
        let text = read_text(&path)?;
        let stays = |line: &&str| {
            let mut fields = line.split(',');
            let (stage, iteration) = (fields.next(), fields.next());
            let number = iteration.and_then(|i| i.parse::<usize>().ok());
            stage == Some(TRAINING) && number.is_some_and(|i| i < iterations)
        };
        let kept: Vec<&str> = text.lines().skip(1).filter(stays).collect();
        if kept.is_empty() {
            remove(&path)?;
        } else {
            let head = text.lines().next().unwrap_or_default();
            write_atomic(&path, format!("{head}\n{}\n", kept.join("\n")).as_bytes())?;
        }
        Ok(FaultsCsv { path, file: None, lines: kept.len() })
    }

    /// Appends samples: the stage of the run, the iteration, the local energy in Hartree and the configuration in bohr.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn push(
        &mut self,
        stage: &str,
        iteration: usize,
        faults: &[Fault],
    ) -> Result<(), FileError> {
        for fault in faults {
            if self.lines >= MOST_LINES {
                return Ok(());
            }
            self.lines += 1;
            let mut rows = Table::headless();
            let numbers = std::iter::once(fault.local_energy).chain(fault.x.iter().copied());
            let start = [stage.to_owned(), iteration.to_string()];
            let file = match &mut self.file {
                Some(file) => file,
                None => {
                    if !self.path.exists() {
                        let names = (1..=fault.x.len()).map(|i| format!("x_{i}"));
                        rows.row(COLUMNS.map(str::to_owned).into_iter().chain(names));
                    }
                    let mut options = File::options();
                    let file = open_to_write(&self.path, options.create(true).append(true))?;
                    self.file.insert(file)
                }
            };
            rows.row(start.into_iter().chain(numbers.map(digits)));
            file.write_all(rows.text().as_bytes()).map_err(FileError::io("write", &self.path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_goes_on_does_not_repeat_what_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let fault = |x: f64| Fault { x: vec![x, 2.0], local_energy: f64::NAN };
        let mut whole = FaultsCsv::new(dir.path(), 0).unwrap();
        for i in 0..4 {
            whole.push(TRAINING, i, &[fault(i as f64)]).unwrap();
        }
        whole.push(ESTIMATE, 4, &[fault(9.0)]).unwrap();
        let path = dir.path().join(names::FAULTS);
        let text = read_text(&path).unwrap();
        let mut again = FaultsCsv::new(dir.path(), 2).unwrap();
        assert_eq!(read_text(&path).unwrap().lines().count(), 3);
        for i in 2..4 {
            again.push(TRAINING, i, &[fault(i as f64)]).unwrap();
        }
        again.push(ESTIMATE, 4, &[fault(9.0)]).unwrap();
        assert_eq!(read_text(&path).unwrap(), text);
        FaultsCsv::new(dir.path(), 0).unwrap();
        assert!(!path.exists());
    }
}
