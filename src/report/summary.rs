//! `summary.json`: the result of a run for programs.

use super::files::{FileError, read_text, write_atomic};
use super::record::Summary;
use std::path::Path;

/// The summary as indented JSON that ends with a new line. Numbers that are not finite become
/// `null`, which JSON has no better word for.
pub fn to_json(summary: &Summary) -> String {
    // Serialising plain structs of numbers and strings to memory has no way to fail.
    let mut text = serde_json::to_string_pretty(summary).unwrap_or_default();
    text.push('\n');
    text
}

/// Writes a `summary.json`, atomically.
///
/// # Errors
/// [`FileError::Io`] if the file cannot be written.
pub fn write_summary(path: &Path, summary: &Summary) -> Result<(), FileError> {
    write_atomic(path, to_json(summary).as_bytes())
}

/// Reads a `summary.json`.
///
/// # Errors
/// [`FileError::Malformed`] with the line, or [`FileError::Io`].
pub fn read_summary(path: &Path) -> Result<Summary, FileError> {
    serde_json::from_str(&read_text(path)?).map_err(|e| FileError::Malformed {
        path: path.to_owned(),
        line: e.line(),
        message: e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::Gain;
    use crate::report::record::{ErrorBar, Health, Reference};
    use crate::sampling::Sampling;
    use crate::train::StopReason;
    use crate::wavefunction::slopes::Slopes;
    use crate::work::Work;

    fn summary() -> Summary {
        Summary {
            title: "Helium \"triplet\" <α>".into(),
            version: "0.1.0".into(),
            energy: -1.816_041_888_123,
            standard_error: 3.2e-6,
            error_bar: ErrorBar {
                sampling: Sampling::QuasiRandom,
                scramblings: Some(16),
                independent: 1e-5,
                gain: Some(Gain { ratio: 3.125, uncertainty: 0.57 }),
            },
            variance: 2.7e-6,
            v_score: 1e-4,
            nuclear_repulsion: 0.0,
            total_energy: -1.816_041_888_123,
            samples: 262_144,
            parameters: 4321,
            iterations: 200,
            averaged_iterations: 50,
            wall_seconds: 61.5,
            cpu_seconds: 118.25,
            threads: 2,
            processes: 1,
            work: Some(Work {
                local_energies: 1_000_000,
                spline_evaluations: 1 << 60,
                newton_iterations: 7,
                factorisations: 200,
            }),
            seed: u64::MAX,
            reference: Some(Reference {
                energy: -1.8160418892,
                error_estimate: None,
                source: "sine DVR".into(),
                deviation: 1e-9,
            }),
            stopped: Some(StopReason::Plateau),
            verdict: None,
            checks: Vec::new(),
            health: Health {
                round_trip_error: 1e-13,
                slopes: Some(Slopes { forward: 2.4, inverse: 3.1 }),
                density_drift: Some(1e-9),
                refusals: Vec::new(),
                rejected_samples: 0,
                largest_local_energy_deviation: 0.02,
                median_local_energy_deviation: 1e-3,
                quadrature: None,
                ..Health::default()
            },
        }
    }

    #[test]
    fn a_summary_round_trips() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary.json");
        for reference in [summary().reference, None] {
            let summary = Summary { reference, ..summary() };
            write_summary(&path, &summary).unwrap();
            assert_eq!(read_summary(&path).unwrap(), summary);
        }
        assert!(read_text(&path).unwrap().contains("\"reference\": null"));
    }

    #[test]
    fn a_malformed_summary_is_located() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary.json");
        std::fs::write(&path, "{\n  \"title\": 3\n}\n").unwrap();
        let message = read_summary(&path).unwrap_err().to_string();
        assert!(message.contains("line 2") && message.contains("expected a string"), "{message}");
    }
}
