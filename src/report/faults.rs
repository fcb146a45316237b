//! `faults.csv`: samples without a sensible local energy, for whoever wants to know why.

use super::files::{FileError, names};
use crate::local_energy::Fault;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

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
    /// The table in a folder.
    pub fn new(folder: &std::path::Path) -> Self {
        FaultsCsv { path: folder.join(names::FAULTS), file: None, lines: 0 }
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
            let x: Vec<String> = fault.x.iter().map(|x| format!("{x:?}")).collect();
            let mut text =
                format!("{stage},{iteration},{:?},{}\n", fault.local_energy, x.join(","));
            let file = match &mut self.file {
                Some(file) => file,
                None => {
                    if !self.path.exists() {
                        let names: Vec<String> =
                            (1..=fault.x.len()).map(|i| format!("x_{i}")).collect();
                        text = format!("stage,iteration,local_energy,{}\n{text}", names.join(","));
                    }
                    let file = File::options().create(true).append(true).open(&self.path);
                    self.file.insert(file.map_err(FileError::io("create", &self.path))?)
                }
            };
            file.write_all(text.as_bytes()).map_err(FileError::io("write", &self.path))?;
        }
        Ok(())
    }
}
