//! What a run of several states, or of a temperature, leaves: `summary.json` and `density.csv`.

use super::csv::{Table, digits, floats, read};
use super::files::{FileError, read_text};
use crate::estimate::{Check, Verdict};
use crate::work::Work;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A number with its error bar.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The number.
    pub value: f64,
    /// Its standard error; zero where it is exact.
    pub standard_error: f64,
    /// The exact number, where it was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<f64>,
    /// How far that may be off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_error: Option<f64>,
}

/// The energy of a state above the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// In Hartree.
    pub energy: f64,
    /// Its standard error, from the samples that both states share.
    pub standard_error: f64,
}

/// An exact level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// In Hartree.
    pub energy: f64,
    /// How far it may be off.
    pub error_estimate: Option<f64>,
    /// Where it comes from.
    pub source: String,
    /// Energy of the run minus this one.
    pub deviation: f64,
}

/// One of several states.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateRow {
    /// Electronic energy, in Hartree.
    pub energy: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Variance, in Hartree².
    pub variance: f64,
    /// The exact energy, where it was computed.
    pub reference: Option<Level>,
    /// What it is above the lowest.
    pub gap: Gap,
}

/// A transition between two states.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// Number of the lower state, from 0.
    pub from: usize,
    /// Number of the higher one.
    pub to: usize,
    /// `|<from| sum x |to>|`, in bohr.
    pub dipole: f64,
    /// Its standard error.
    pub dipole_error: f64,
    /// `2 (E_to - E_from) dipole²`.
    pub oscillator_strength: f64,
}

/// The thermal functions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thermal {
    /// Temperature, in Hartree.
    #[serde(rename = "kT")]
    pub kt: f64,
    /// In Hartree.
    pub free_energy: Measured,
    /// In Hartree.
    pub energy: Measured,
    /// In units of k.
    pub entropy: Measured,
    /// In units of k.
    pub heat_capacity: Measured,
    /// Variance of the local free energy, in Hartree².
    pub variance: f64,
    /// `Var(F_L) / 2kT`: about what the free energy is too high by. A diagnostic and no bound.
    pub excess: f64,
    /// By what a smaller space of base states is higher, in Hartree.
    pub truncation: f64,
    /// The most probable states: energy of the base state in Hartree, and probability.
    pub probabilities: Vec<(f64, f64)>,
    /// Thermal occupations of the orbitals of the potential.
    pub occupations: Vec<f64>,
    /// Where the reference comes from.
    pub source: Option<String>,
}

/// `summary.json` of such a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnsembleSummary {
    /// `states` or `temperature`.
    pub ensemble: String,
    /// Title of the spec.
    pub title: String,
    /// Tells these states from others: that of the wavefunction file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Version of weylflow.
    pub version: String,
    /// The states.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<StateRow>,
    /// All transitions between them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transitions: Vec<Transition>,
    /// Permanent dipoles `<k| sum x |k>` with standard errors, in bohr.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dipoles: Vec<(f64, f64)>,
    /// The thermal functions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thermal: Option<Thermal>,
    /// The thermal functions at all temperatures of a sweep; [`Self::thermal`] is then that of the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sweep: Vec<Thermal>,
    /// Added to electronic energies in total ones, in Hartree.
    pub nuclear_repulsion: f64,
    /// Energies of the untrained base states, or its free energy, in Hartree.
    pub base: Vec<f64>,
    /// Orbitals of the base states.
    pub orbitals: usize,
    /// Final samples.
    pub samples: usize,
    /// Independent sets behind the error bars.
    pub sets: usize,
    /// Variational parameters.
    pub parameters: usize,
    /// Their values.
    pub values: Vec<f64>,
    /// Iterations done.
    pub iterations: usize,
    /// Why they were not more.
    pub stopped: crate::train::StopReason,
    /// Final samples left out.
    pub rejected_samples: usize,
    /// Samples of the training left out.
    pub rejected_in_training: usize,
    /// Why there is no reference, where one was asked for.
    pub no_reference: Option<String>,
    /// Wall time, in seconds.
    pub wall_seconds: f64,
    /// Processor time, in seconds.
    pub cpu_seconds: f64,
    /// Threads.
    pub threads: usize,
    /// Counts of work of training and estimate.
    pub work: Work,
    /// Seed.
    pub seed: u64,
    /// The judgement.
    pub verdict: Verdict,
    /// What it rests on.
    pub checks: Vec<Check>,
}

impl EnsembleSummary {
    /// All temperatures.
    pub fn temperatures(&self) -> &[Thermal] {
        if self.sweep.is_empty() { self.thermal.as_slice() } else { &self.sweep }
    }
}

/// One-body densities by bins: a name, and a value for every bin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Densities {
    /// Edges of the bins, in bohr.
    pub edges: Vec<f64>,
    /// Curves, in particles per bohr.
    pub curves: Vec<(String, Vec<f64>)>,
}

/// The first columns: edges of a bin.
const EDGES: [&str; 2] = ["left", "right"];

impl Densities {
    /// `density.csv`: a bin a row.
    pub fn to_csv(&self) -> String {
        let names = self.curves.iter().map(|c| c.0.as_str());
        let mut table = Table::new(EDGES.into_iter().chain(names));
        for (bin, edges) in self.edges.windows(2).enumerate() {
            let values = self.curves.iter().map(|c| c.1[bin]);
            table.row(edges.iter().copied().chain(values).map(digits));
        }
        table.text()
    }

    /// Reads such a `density.csv`.
    ///
    /// # Errors
    /// [`FileError::Malformed`] with the line, or [`FileError::Io`].
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text = read_text(path)?;
        let malformed =
            |line, message| FileError::Malformed { path: path.to_owned(), line, message };
        let (heading, rows) = read(path, &text)?;
        let Some(names) = heading.strip_prefix(&EDGES.map(str::to_owned)) else {
            let found = heading.join(",");
            let message = format!("the header starts with `{}`, found `{found}`", EDGES.join(","));
            return Err(malformed(1, message));
        };
        let curves = names.iter().map(|name| (name.clone(), Vec::new()));
        let mut found = Densities { edges: Vec::new(), curves: curves.collect() };
        for row in rows {
            let line = row.line;
            let [left, right] = floats(path, line, row.from(0))?;
            match found.edges.last() {
                None => found.edges.push(left),
                Some(&edge) if edge == left => {}
                Some(edge) => {
                    let message =
                        format!("the bin starts at {left:?}, but the last one ends at {edge:?}");
                    return Err(malformed(line, message));
                }
            }
            found.edges.push(right);
            for ((_, curve), field) in found.curves.iter_mut().zip(row.from(2)) {
                let [value] = floats(path, line, [field])?;
                curve.push(value);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn densities_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("density.csv");
        let densities = Densities {
            edges: vec![-1.0, 0.1, 1.0 / 3.0],
            curves: vec![("up_0".into(), vec![0.25, 1e-300]), ("up_1".into(), vec![0.1, f64::NAN])],
        };
        std::fs::write(&path, densities.to_csv()).unwrap();
        let found = Densities::read(&path).unwrap();
        assert_eq!(found.to_csv(), densities.to_csv());
        for (text, expected) in [
            ("x,up\n", "line 1: the header starts"),
            ("left,right,up_0\n0,1\n", "line 2: 2 fields where there should be 3"),
            ("left,right,up_0\n0,1,a\n", "line 2"),
            ("left,right,up_0\n0,1,2\n1.5,2,3\n", "line 3: the bin starts at 1.5"),
        ] {
            std::fs::write(&path, text).unwrap();
            let message = Densities::read(&path).unwrap_err().to_string();
            assert!(message.contains(expected), "{text:?}: {message}");
        }
    }
}
