//! `density.csv`: the one-body density per spin on equal bins.

use super::csv::{Table, digits, floats, table};
use super::files::{FileError, read_text, write_atomic};
use super::record::DensityProfile;
use std::path::Path;

const UP: [&str; 4] = ["left", "right", "up", "up_error"];
const DOWN: [&str; 4] = ["left", "right", "down", "down_error"];
const BOTH: [&str; 6] = ["left", "right", "up", "up_error", "down", "down_error"];

/// The table: a bin a row with its edges in bohr, density and standard error in particles per bohr.
/// A spin without particles has no columns.
pub fn to_csv(density: &DensityProfile) -> String {
    let (columns, spins): (&[&str], _) = match (density.up.is_empty(), density.down.is_empty()) {
        (false, false) => (&BOTH, vec![&density.up, &density.down]),
        (true, false) => (&DOWN, vec![&density.down]),
        (_, true) => (&UP, vec![&density.up]),
    };
    let mut table = Table::new(columns);
    let rows = spins.iter().map(|s| s.len()).max().unwrap_or(0);
    for (bin, edges) in density.edges.windows(2).take(rows).enumerate() {
        let of_spins = spins.iter().flat_map(|spin| {
            let (value, error) = spin.get(bin).copied().unwrap_or((f64::NAN, f64::NAN));
            [value, error]
        });
        table.row(edges.iter().copied().chain(of_spins).map(digits));
    }
    table.text()
}

/// Writes a `density.csv`, atomically.
///
/// # Errors
/// [`FileError::Io`] if the file cannot be written.
pub fn write_density(path: &Path, density: &DensityProfile) -> Result<(), FileError> {
    write_atomic(path, to_csv(density).as_bytes())
}

/// Reads a `density.csv`.
///
/// # Errors
/// [`FileError::Malformed`] with the line, or [`FileError::Io`].
pub fn read_density(path: &Path) -> Result<DensityProfile, FileError> {
    let text = read_text(path)?;
    let mut density = DensityProfile { edges: vec![], up: vec![], down: vec![] };
    let header = text.lines().next().map(str::trim_end);
    let is = |columns: &[&str]| header == Some(columns.join(",").as_str());
    if is(&BOTH) {
        for row in table(path, &text, &BOTH)? {
            let [left, right, up, up_error, down, down_error] =
                floats(path, row.line, row.from(0))?;
            add_bin(&mut density, path, row.line, left, right)?;
            density.up.push((up, up_error));
            density.down.push((down, down_error));
        }
    } else {
        let only_down = is(&DOWN);
        for row in table(path, &text, if only_down { &DOWN } else { &UP })? {
            let [left, right, value, error] = floats(path, row.line, row.from(0))?;
            add_bin(&mut density, path, row.line, left, right)?;
            let spin = if only_down { &mut density.down } else { &mut density.up };
            spin.push((value, error));
        }
    }
    Ok(density)
}

fn add_bin(
    density: &mut DensityProfile,
    path: &Path,
    line: usize,
    left: f64,
    right: f64,
) -> Result<(), FileError> {
    match density.edges.last() {
        None => density.edges.push(left),
        Some(&edge) if edge == left => {}
        Some(edge) => {
            let message = format!("the bin starts at {left:?}, but the last one ends at {edge:?}");
            return Err(FileError::Malformed { path: path.to_owned(), line, message });
        }
    }
    density.edges.push(right);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(density: &DensityProfile) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("density.csv");
        write_density(&path, density).unwrap();
        assert_eq!(&read_density(&path).unwrap(), density);
    }

    #[test]
    fn densities_round_trip() {
        let edges: Vec<f64> = (0..4).map(|i| -1.0 + i as f64 / 1.5).collect();
        let up = vec![(0.1, 0.01), (1.0 / 3.0, 0.02), (0.0, 0.0)];
        round_trip(&DensityProfile { edges: edges.clone(), up: up.clone(), down: vec![] });
        round_trip(&DensityProfile { edges: edges.clone(), up: up.clone(), down: up.clone() });
        // Spin down alone is spin up alone under another name.
        let down = DensityProfile { edges: edges.clone(), up: vec![], down: up.clone() };
        let up = DensityProfile { edges, up, down: vec![] };
        assert_eq!(to_csv(&down), to_csv(&up).replace("up", "down"));
        assert_eq!(to_csv(&down).lines().count(), 4);
        round_trip(&down);
        round_trip(&DensityProfile { edges: vec![], up: vec![], down: vec![] });
    }

    #[test]
    fn gaps_between_bins_are_located() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("density.csv");
        std::fs::write(&path, format!("{}\n0,1,2,3\n1.5,2,2,3\n", UP.join(","))).unwrap();
        let message = read_density(&path).unwrap_err().to_string();
        assert!(message.contains("line 3: the bin starts at 1.5"), "{message}");
    }
}
