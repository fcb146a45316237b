//! `observables.json`, `observables.csv` and `observables.npz`: what `weylflow measure` found.

use super::csv::{Table, digits, maybe};
use super::files::{FileError, names, read_text, write_atomic};
use super::npz::{Array, NpzError, write_npz};
use crate::observables::{Measurement, Quantity};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The content of `observables.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observables {
    /// Title of the spec.
    pub title: String,
    /// Version of weylflow.
    pub version: String,
    /// Fingerprint of the wavefunction that was measured; none in the files of versions without.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// Samples of all replicates.
    pub samples: usize,
    /// Independent replicates behind every error bar.
    pub replicates: usize,
    /// Seed of the samples.
    pub seed: u64,
    /// What was measured, in the order of the registry.
    pub measurements: Vec<Measurement>,
}

impl Observables {
    /// All quantities.
    pub fn quantities(&self) -> impl Iterator<Item = &Quantity> {
        self.measurements.iter().flat_map(|m| &m.quantities)
    }

    /// The quantity of this name.
    pub fn quantity(&self, name: &str) -> Option<&Quantity> {
        self.quantities().find(|q| q.name == name)
    }

    /// Value and standard error of a single digits.
    pub fn scalar(&self, name: &str) -> Option<(f64, f64)> {
        self.quantity(name)?.scalar()
    }

    /// The arrays of the `.npz` file: for each quantity its values, `<name>_error` where it has errors, and
    /// `<name>_axis0`, `<name>_axis1` where it has axes (bin edges are one more than values).
    pub fn arrays(&self) -> Vec<Array> {
        let mut arrays = vec![];
        for q in self.quantities() {
            arrays.push(Array::new(&q.name, q.shape(), q.values.clone()));
            if !q.errors.is_empty() {
                arrays.push(Array::new(format!("{}_error", q.name), q.shape(), q.errors.clone()));
            }
            for (i, axis) in q.axes.iter().enumerate() {
                let name = format!("{}_axis{i}", q.name);
                arrays.push(Array::new(name, vec![axis.points.len()], axis.points.clone()));
            }
        }
        arrays
    }

    /// One row a value: quantity, unit, up to two coordinates (the middle of a bin), value, standard error.
    ///
    /// Without maps over two positions (pair densities, the density matrix): as rows they would be nearly all of the
    /// file, megabytes of it, and nobody reads a matrix so.
    pub fn to_csv(&self) -> String {
        let mut table =
            Table::new(["quantity", "unit", "axis0", "axis1", "value", "standard_error"]);
        let is_map = |q: &&Quantity| q.axes.iter().filter(|a| a.unit == "bohr").count() > 1;
        for q in self.quantities().filter(|q| !is_map(q)) {
            let shape = q.shape();
            for (k, value) in q.values.iter().enumerate() {
                let mut coordinates = [String::new(), String::new()];
                let mut rest = k;
                for (axis, length) in shape.iter().enumerate().rev() {
                    if let Some(text) = coordinates.get_mut(axis) {
                        *text = digits(q.axes[axis].centre(rest % length));
                    }
                    rest /= length;
                }
                let [first, second] = &coordinates;
                let (value, error) = (digits(*value), maybe(q.errors.get(k).copied()));
                table.row([&q.name, &q.unit, first, second, &value, &error].map(|f| f as &str));
            }
        }
        table.text()
    }
}

/// The content of `observables.json`.
pub fn to_json(observables: &Observables) -> String {
    // Serialising plain structs of numbers and strings to memory has no way to fail.
    let mut json = serde_json::to_string(observables).unwrap_or_default();
    json.push('\n');
    json
}

/// Writes the three files, each atomically.
///
/// # Errors
/// [`NpzError`] if a file cannot be written.
pub fn write_observables(folder: &Path, observables: &Observables) -> Result<(), NpzError> {
    let json = to_json(observables);
    write_npz(&folder.join(names::OBSERVABLES_NPZ), &observables.arrays())?;
    write_atomic(&folder.join(names::OBSERVABLES_CSV), observables.to_csv().as_bytes())?;
    // Last, as its presence says that all are there.
    write_atomic(&folder.join(names::OBSERVABLES), json.as_bytes())?;
    Ok(())
}

/// Reads an `observables.json`.
///
/// # Errors
/// [`FileError::Malformed`] with the line, or [`FileError::Io`].
pub fn read_observables(path: &Path) -> Result<Observables, FileError> {
    let malformed = |line, message| FileError::Malformed { path: path.to_owned(), line, message };
    let observables: Observables =
        serde_json::from_str(&read_text(path)?).map_err(|e| malformed(e.line(), e.to_string()))?;
    if let Some(q) = observables.quantities().find(|q| !q.is_consistent()) {
        let message = format!("`{}` does not have the numbers that its axes ask for", q.name);
        return Err(malformed(1, message));
    }
    Ok(observables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observables::Axis;
    use crate::observables::quantity::Values;

    fn observables() -> Observables {
        let values = Values { values: vec![1.0, 2.0, 0.1 + 0.2, -4.0], errors: vec![0.5; 4] };
        let quantities = vec![
            Quantity::new("energy", "Ha", "an energy", Values::one(-1.5, 1e-3)),
            Quantity::new("pairs", "1/bohr²", "a table", values)
                .along(Axis::edges("x", "bohr", vec![0.0, 1.0, 2.0]))
                .along(Axis::points("y", "bohr", vec![-1.0, 1.0])),
            Quantity::new("orbitals", "", "a row", Values::one(2.5, 0.5))
                .along(Axis::points("orbital", "", vec![3.0]))
                .along(Axis::edges("x", "bohr", vec![0.0, 1.0])),
            Quantity::new("bare", "", "no errors", Values::without_errors(vec![7.0])),
        ];
        let measurements = vec![Measurement { observable: "all".into(), quantities }];
        Observables {
            title: "t".into(),
            version: "0".into(),
            fingerprint: Some("0123456789abcdef".into()),
            samples: 64,
            replicates: 16,
            seed: u64::MAX,
            measurements,
        }
    }

    #[test]
    fn observables_round_trip_and_lies_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let o = observables();
        write_observables(folder.path(), &o).unwrap();
        let path = folder.path().join(names::OBSERVABLES);
        assert_eq!(read_observables(&path).unwrap(), o);
        let arrays =
            crate::store::npz::read_npz(&folder.path().join(names::OBSERVABLES_NPZ)).unwrap();
        let shapes: Vec<_> = arrays.iter().map(|a| (a.name.as_str(), a.shape.clone())).collect();
        assert_eq!(
            shapes[2..6].to_vec(),
            [
                ("pairs", vec![2, 2]),
                ("pairs_error", vec![2, 2]),
                ("pairs_axis0", vec![3]),
                ("pairs_axis1", vec![2]),
            ]
        );
        assert!(o.to_csv().contains("\norbitals,,3.0,0.5,2.5,0.5\n"));
        // A map over two positions is in the other files only.
        assert!(!o.to_csv().contains("pairs"));
        assert!(o.to_csv().ends_with("\nbare,,,,7.0,\n"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("2.0],\"edges", "2.0,3.0],\"edges")).unwrap();
        assert!(read_observables(&path).unwrap_err().to_string().contains("`pairs`"));
    }

    #[test]
    fn numbers_that_are_not_finite_survive_as_not_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let mut o = observables();
        o.measurements[0].quantities[0].values = vec![f64::NAN];
        o.measurements[0].quantities[1].axes[1].points[0] = f64::NEG_INFINITY;
        write_observables(folder.path(), &o).unwrap();
        let again = read_observables(&folder.path().join(names::OBSERVABLES)).unwrap();
        assert!(again.scalar("energy").unwrap().0.is_nan());
        assert!(again.quantity("pairs").unwrap().axes[1].points[0].is_nan());
    }
}
