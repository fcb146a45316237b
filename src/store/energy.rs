//! `energy.csv`: one row an iteration, written while the run goes on.
//!
//! During the run the rows go to `energy.csv.partial`, one flush a row; [`EnergyCsv::finish_in`] syncs
//! it and gives it its name. So `energy.csv` is complete whenever it exists, `tail -f` works on a
//! running one, a run that dies leaves the rows it made, and the cost stays linear in the number of
//! rows (rewriting the table atomically at intervals would give up all but the first).

use super::csv::{Table, digits, floats, table};
use super::files::{FileError, names, read_text, remove, sync_folder, write_atomic};
use super::record::IterationRow;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Columns of `energy.csv`. Times are in `timing.csv`: the same spec and seed give the same bytes here.
pub const COLUMNS: [&str; 7] =
    ["iteration", "energy", "standard_error", "variance", "gradient_norm", "step_norm", "tau"];
/// Columns of `timing.csv`.
pub const TIMING_COLUMNS: [&str; 2] = ["iteration", "seconds"];

fn fields(row: &IterationRow) -> [String; 7] {
    let IterationRow { energy, standard_error, variance, gradient_norm, step_norm, tau, .. } = *row;
    let [e, s, v, g, n, t] =
        [energy, standard_error, variance, gradient_norm, step_norm, tau].map(digits);
    [row.iteration.to_string(), e, s, v, g, n, t]
}

/// A row as text, without the end of line: the shortest digits that read back as the same numbers.
pub fn format_row(row: &IterationRow) -> String {
    let mut table = Table::headless();
    table.row(fields(row));
    table.text().trim_end().to_owned()
}

/// The table of a run in the making.
#[derive(Debug)]
pub struct EnergyCsv {
    file: File,
    partial: PathBuf,
}

impl EnergyCsv {
    /// Starts the table of the run that writes into `folder`, with the rows there are already.
    ///
    /// # Errors
    /// [`FileError::Io`] if the file cannot be created.
    pub fn create(folder: &Path, rows: &[IterationRow]) -> Result<Self, FileError> {
        let partial = folder.join(names::ENERGY_PARTIAL);
        // A file of our own: what is there may be a link.
        remove(&partial)?;
        let file = File::create_new(&partial).map_err(FileError::io("create", &partial))?;
        let mut table = EnergyCsv { file, partial };
        table.line(format_table(rows).trim_end())?;
        Ok(table)
    }

    /// Appends a row. It can be read at once.
    ///
    /// # Errors
    /// [`FileError::Io`] if the file cannot be written.
    pub fn push(&mut self, row: &IterationRow) -> Result<(), FileError> {
        self.line(&format_row(row))
    }

    /// Ends the table and gives it its name, whose path is returned.
    ///
    /// # Errors
    /// [`FileError::Io`] if the file cannot be synced or renamed.
    pub fn finish(self) -> Result<PathBuf, FileError> {
        let folder = self.partial.parent().map(Path::to_owned).unwrap_or_default();
        self.finish_in(&folder)
    }

    /// The same in another folder of the same file system.
    ///
    /// # Errors
    /// [`FileError::Io`] if the file cannot be synced or renamed.
    pub fn finish_in(self, folder: &Path) -> Result<PathBuf, FileError> {
        let path = folder.join(names::ENERGY);
        self.file.sync_all().map_err(FileError::io("write", &self.partial))?;
        fs::rename(&self.partial, &path).map_err(FileError::io("write", &path))?;
        sync_folder(folder);
        Ok(path)
    }

    /// One call of the system a line: a reader, and a run that dies, see whole lines.
    fn line(&mut self, line: &str) -> Result<(), FileError> {
        self.file
            .write_all(format!("{line}\n").as_bytes())
            .map_err(FileError::io("write", &self.partial))
    }
}

/// The whole table.
pub fn format_table(rows: &[IterationRow]) -> String {
    let mut table = Table::new(COLUMNS);
    rows.iter().for_each(|row| table.row(fields(row)));
    table.text()
}

/// Writes the wall times of the iterations.
///
/// # Errors
/// [`FileError`].
pub fn write_timing(folder: &Path, rows: &[IterationRow]) -> Result<(), FileError> {
    let mut table = Table::new(TIMING_COLUMNS);
    rows.iter().for_each(|row| table.row([row.iteration.to_string(), digits(row.seconds)]));
    write_atomic(&folder.join(names::TIMING), table.text().as_bytes())
}

/// Reads an `energy.csv`, or the partial one of a run that did not end, with the `timing.csv` beside it if there is one.
///
/// # Errors
/// [`FileError::Malformed`] with the line, or [`FileError::Io`].
pub fn read_energy(path: &Path) -> Result<Vec<IterationRow>, FileError> {
    let timing = path.with_file_name(names::TIMING);
    let mut seconds = Vec::new();
    if timing.is_file() {
        let text = read_text(&timing)?;
        for row in table(&timing, &text, &TIMING_COLUMNS)? {
            let [time] = floats(&timing, row.line, row.from(1))?;
            seconds.push(time);
        }
    }
    parse_energy(path, &read_text(path)?, &seconds)
}

/// The rows of a table; `path` is for messages. Times that are missing are NaN.
///
/// # Errors
/// [`FileError::Malformed`] with the line.
pub fn parse_energy(
    path: &Path,
    text: &str,
    seconds: &[f64],
) -> Result<Vec<IterationRow>, FileError> {
    let mut rows = Vec::new();
    for row in table(path, text, &COLUMNS)? {
        let line = row.line;
        let iteration = row.from(0).next().unwrap_or_default();
        let iteration = iteration.parse().map_err(|_| FileError::Malformed {
            path: path.to_owned(),
            line,
            message: format!("`{iteration}` is not the number of an iteration"),
        })?;
        let [energy, standard_error, variance, gradient_norm, step_norm, tau] =
            floats(path, line, row.from(1))?;
        rows.push(IterationRow {
            iteration,
            energy,
            standard_error,
            variance,
            gradient_norm,
            step_norm,
            tau,
            seconds: seconds.get(rows.len()).copied().unwrap_or(f64::NAN),
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(iteration: usize, x: [f64; 7]) -> IterationRow {
        let [energy, standard_error, variance, gradient_norm, step_norm, tau, seconds] = x;
        IterationRow {
            iteration,
            energy,
            standard_error,
            variance,
            gradient_norm,
            step_norm,
            tau,
            seconds,
        }
    }

    #[test]
    fn a_row_has_the_fields_of_the_header() {
        assert_eq!(
            format_row(&row(3, [-1.5, 1e-7, 0.25, 1.0, 1e300, 0.1, 2.0])),
            "3,-1.5,1e-7,0.25,1.0,1e300,0.1"
        );
    }

    #[test]
    fn rows_can_be_read_while_the_run_goes_on_and_after() {
        let dir = tempfile::tempdir().unwrap();
        let rows: Vec<_> =
            (0..3).map(|i| row(i, [-(i as f64) / 3.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])).collect();
        let mut table = EnergyCsv::create(dir.path(), &rows[..1]).unwrap();
        let partial = dir.path().join(names::ENERGY_PARTIAL);
        write_timing(dir.path(), &rows).unwrap();
        assert_eq!(read_energy(&partial).unwrap(), rows[..1]);
        assert!(!dir.path().join(names::ENERGY).exists());
        table.push(&rows[1]).unwrap();
        table.push(&rows[2]).unwrap();
        let path = table.finish().unwrap();
        assert!(!partial.exists());
        assert_eq!(read_energy(&path).unwrap(), rows);
    }

    #[test]
    fn not_a_number_and_infinity_survive() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = EnergyCsv::create(dir.path(), &[]).unwrap();
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, f64::MAX, 0.0];
        table.push(&row(0, odd)).unwrap();
        let back = read_energy(&table.finish().unwrap()).unwrap().remove(0);
        assert!(back.energy.is_nan());
        assert_eq!(back.standard_error, f64::INFINITY);
        assert_eq!(back.variance, f64::NEG_INFINITY);
        assert_eq!(back.step_norm, 5e-324);
    }

    #[test]
    fn malformed_tables_are_located() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("energy.csv");
        let heading = COLUMNS.join(",");
        for (text, expected) in [
            ("".to_string(), "line 1: the header"),
            ("energy\n".to_string(), "line 1: the header"),
            (format!("{heading}\n0,1,2\n"), "line 2: 3 fields"),
            (format!("{heading}\n0,1,2,3,4,5,6\n1,1,2,3,4,5,six\n"), "line 3: `six`"),
            (format!("{heading}\n-1,1,2,3,4,5,6\n"), "line 2: `-1` is not the number"),
        ] {
            fs::write(&path, text).unwrap();
            let message = read_energy(&path).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("energy.csv"), "{message}");
        }
    }

    proptest! {
        #[test]
        fn every_finite_row_round_trips(x in proptest::array::uniform6(
            proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO,
        ), i in 0usize..1_000_000) {
            let [a, b, c, d, e, f] = x;
            let row = row(i, [a, b, c, d, e, f, 0.0]);
            let text = format_table(&[row]);
            let path = Path::new("x");
            let read = &table(path, &text, &COLUMNS).unwrap()[0];
            let back: [f64; 6] = floats(path, read.line, read.from(1)).unwrap();
            prop_assert_eq!(back.map(f64::to_bits), x.map(f64::to_bits));
        }
    }
}
