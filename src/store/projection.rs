//! `projection.json` and `projection.csv`: what `weylflow project` found.

use super::csv::{Table, digits};
use super::files::{FileError, names, read_text, write_atomic};
use super::record::Reference;
use crate::json::number;
use crate::project::{Correction, CurvePoint, Guard, Projection, Pure, Variates, Variational};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The content of `projection.json`. Energies in Hartree, imaginary times in 1/Hartree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectionRecord {
    /// Title of the spec.
    pub title: String,
    /// Version of weylflow.
    pub version: String,
    /// Fingerprint of the wavefunction that was the guide.
    pub fingerprint: String,
    /// The energy that is corrected.
    pub variational: Variational,
    /// The correction; none where the projection was refused.
    pub correction: Option<Correction>,
    /// The projected energy.
    pub energy: Option<f64>,
    /// Its standard error.
    pub standard_error: Option<f64>,
    /// About the energy that far nodes of the guide hide, in Hartree: part of the error bar.
    #[serde(default)]
    pub hidden: f64,
    /// What was mixed into a guide that has nodes.
    #[serde(default)]
    pub guard: Option<Guard>,
    /// What the guide was dressed with.
    #[serde(default)]
    pub variates: Option<Variates>,
    /// Share of the windows that count: (sum w)² / (number · sum w²).
    #[serde(deserialize_with = "number")]
    pub effective_share: f64,
    /// Share of the moves that were accepted.
    #[serde(deserialize_with = "number")]
    pub acceptance: f64,
    /// Length of a step.
    #[serde(deserialize_with = "number")]
    pub step: f64,
    /// The same as it counts in the action.
    #[serde(deserialize_with = "number")]
    pub effective_step: f64,
    /// Length of the projection.
    #[serde(deserialize_with = "number")]
    pub beta: f64,
    /// What is left of the error of the time step, by the action with every second point.
    #[serde(deserialize_with = "number")]
    pub step_error: f64,
    /// Walkers.
    pub walkers: usize,
    /// Independent replicates behind the error bars.
    pub replicates: usize,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Why there is no energy; empty where there is one.
    pub refusals: Vec<String>,
    /// The exact energy of the run, and the projected one minus it.
    pub reference: Option<Reference>,
    /// The correction for each length of the projection.
    pub curve: Vec<CurvePoint>,
    /// Observables of the variational state and of the ground state.
    pub observables: Vec<Pure>,
    /// Local energies that were computed.
    pub local_energies: u64,
    /// Processor time, in seconds.
    #[serde(deserialize_with = "number")]
    pub cpu_seconds: f64,
}

impl ProjectionRecord {
    /// The record of a projection, without what only the caller knows.
    pub fn of(title: &str, fingerprint: &str, seed: u64, found: Projection) -> Self {
        let energy = found.energy();
        ProjectionRecord {
            title: title.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fingerprint: fingerprint.to_owned(),
            variational: found.variational,
            correction: found.correction,
            energy: energy.map(|e| e.0),
            standard_error: energy.map(|e| e.1),
            hidden: found.hidden,
            guard: found.guard,
            variates: found.variates,
            effective_share: found.effective_share,
            acceptance: found.acceptance,
            step: found.step,
            effective_step: found.effective_step,
            beta: found.beta,
            step_error: found.quadrature.0,
            walkers: found.walkers,
            replicates: found.replicates,
            seed,
            refusals: found.refusals.iter().map(ToString::to_string).collect(),
            reference: None,
            curve: found.curve,
            observables: found.observables,
            local_energies: 0,
            cpu_seconds: 0.0,
        }
    }

    /// The content of the file.
    pub fn to_json(&self) -> String {
        // Serialising plain structs of numbers and strings to memory has no way to fail.
        let mut json = serde_json::to_string_pretty(self).unwrap_or_default();
        json.push('\n');
        json
    }

    /// One row a length of the projection.
    pub fn to_csv(&self) -> String {
        let mut table = Table::new([
            "beta",
            "correction",
            "standard_error",
            "effective_share",
            "acceptance",
            "energy",
        ]);
        for p in &self.curve {
            let energy = self.variational.energy + p.correction;
            let own = [p.beta, p.correction, p.standard_error, p.effective_share];
            table.row(own.into_iter().chain([self.acceptance, energy]).map(digits));
        }
        table.text()
    }
}

/// Writes both files, each atomically.
///
/// # Errors
/// [`FileError`].
pub fn write_projection(folder: &Path, record: &ProjectionRecord) -> Result<(), FileError> {
    write_atomic(&folder.join(names::PROJECTION_CSV), record.to_csv().as_bytes())?;
    // Last, as its presence says that both are there.
    write_atomic(&folder.join(names::PROJECTION), record.to_json().as_bytes())
}

/// Reads a `projection.json`.
///
/// # Errors
/// [`FileError::Malformed`] with the line, or [`FileError`].
pub fn read_projection(path: &Path) -> Result<ProjectionRecord, FileError> {
    let malformed = |line, message| FileError::Malformed { path: path.to_owned(), line, message };
    let record: ProjectionRecord =
        serde_json::from_str(&read_text(path)?).map_err(|e| malformed(e.line(), e.to_string()))?;
    let quantities = record.observables.iter().flat_map(|o| o.variational.iter().chain(&o.pure));
    if let Some(q) = quantities.into_iter().find(|q| !q.is_consistent()) {
        let message = format!("`{}` does not have the numbers that its axes ask for", q.name);
        return Err(malformed(1, message));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_also_where_nothing_was_found() {
        let nothing = Projection {
            variational: Variational { energy: f64::NAN, standard_error: f64::NAN, samples: 0 },
            correction: None,
            refusals: vec![crate::project::Refusal::NotANumber],
            curve: vec![CurvePoint {
                beta: 0.5,
                correction: f64::NAN,
                standard_error: 1e-3,
                effective_share: f64::NAN,
            }],
            effective_share: f64::NAN,
            acceptance: 0.9,
            step: 0.1,
            effective_step: 0.09,
            beta: f64::NAN,
            quadrature: (f64::NAN, f64::NAN),
            walkers: 64,
            replicates: 32,
            observables: Vec::new(),
            hidden: 0.0,
            guard: None,
            variates: None,
        };
        let record = ProjectionRecord::of("t", "0123", 7, nothing);
        assert!(record.energy.is_none() && record.refusals.len() == 1);
        let folder = tempfile::tempdir().unwrap();
        write_projection(folder.path(), &record).unwrap();
        let again = read_projection(&folder.path().join(names::PROJECTION)).unwrap();
        assert_eq!(again.to_json(), record.to_json());
        assert!(record.to_csv().lines().nth(1).unwrap().starts_with("0.5,NaN,0.001,"));
    }
}
