//! `reference_density.csv`: the one-body density that belongs to the exact energy of a run.

use super::csv::{Table, digits, floats, table};
use super::files::{FileError, names, read_text, write_atomic};
use crate::exact::Density;
use std::path::Path;

const COLUMNS: [&str; 3] = ["x", "up", "down"];

/// The table: a point a row, x in bohr, densities in particles per bohr.
pub fn to_csv(density: &Density) -> String {
    let mut table = Table::new(COLUMNS);
    for ((x, up), down) in density.x.iter().zip(&density.up).zip(&density.down) {
        table.row([*x, *up, *down].map(digits));
    }
    table.text()
}

/// Writes the table into a folder, atomically.
///
/// # Errors
/// [`FileError::Io`] if the file cannot be written.
pub fn write(folder: &Path, density: &Density) -> Result<(), FileError> {
    write_atomic(&folder.join(names::REFERENCE_DENSITY), to_csv(density).as_bytes())
}

/// Reads the table of a folder; `None` where there is none.
///
/// # Errors
/// [`FileError::Malformed`] with the line, or [`FileError`] of reading.
pub fn read(folder: &Path) -> Result<Option<Density>, FileError> {
    let path = folder.join(names::REFERENCE_DENSITY);
    if !path.exists() {
        return Ok(None);
    }
    let text = read_text(&path)?;
    let mut density = Density { x: vec![], up: vec![], down: vec![] };
    for row in table(&path, &text, &COLUMNS)? {
        let line = row.line;
        let [x, up, down] = floats(&path, line, row.from(0))?;
        if !x.is_finite() || density.x.last().is_some_and(|last| *last >= x) {
            let message = format!("positions are finite and ascend, unlike {x:?}");
            return Err(FileError::Malformed { path, line, message });
        }
        density.x.push(x);
        density.up.push(up);
        density.down.push(down);
    }
    Ok(Some(density))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_round_trips() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        let density = Density {
            x: vec![-1.0, 0.0, 1.0],
            up: vec![1e-300, 1.0 / 3.0, 0.0],
            down: vec![0.0; 3],
        };
        write(folder.path(), &density).unwrap();
        assert_eq!(read(folder.path()).unwrap(), Some(density));
    }

    #[test]
    fn mistakes_are_located() {
        let folder = tempfile::tempdir().unwrap();
        for (text, expected) in [
            ("x,up\n", "line 1: the header should be `x,up,down`"),
            ("x,up,down\n0,1,2\n0,1,2\n", "line 3: positions are finite and ascend"),
            ("x,up,down\n0,1,2\nNaN,1,2\n", "line 3: positions are finite and ascend"),
            ("x,up,down\n0,one,2\n", "line 2: `one` is not a number"),
        ] {
            std::fs::write(folder.path().join(names::REFERENCE_DENSITY), text).unwrap();
            let message = read(folder.path()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
