//! Files of tabulated potentials: two columns, points in bohr and values in Hartree.

use super::error::{Problem, SpecError};
use super::locate::Outline;
use super::read::read_text;
use crate::system::table::MOST_POINTS;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The choice and its field that names a file.
const CHOICE: &str = "Tabulated";
pub(super) const FILE: &str = "file";

/// What to put in the place of names of files, and the files.
pub(super) type Inlined = (Vec<(Range<usize>, String)>, Vec<PathBuf>);

/// The files that tables of a text name, read: what to put in the place of each name, and the files.
pub(super) fn inlined(path: &Path, text: &str) -> Result<Inlined, SpecError> {
    let (mut changes, mut files) = (Vec::new(), Vec::new());
    for (whole, literal) in Outline::new(text).strings_of(CHOICE, FILE) {
        // What is no RON string is for the reader of the whole to report.
        let Ok(name) = ron::from_str::<String>(&text[literal.clone()]) else { continue };
        let file = path.parent().unwrap_or(Path::new("")).join(name);
        let (points, values) = read(&file).map_err(|error| match error {
            // That the file cannot be read is for the spec to mend; what is in it, is not.
            SpecError::File { path: file, problem } => {
                let field = Outline::new(text).path_at(literal.start);
                let problem = Problem::TableFile { path: file, problem };
                SpecError::at(path, text, literal.start, field, problem)
            }
            other => other,
        })?;
        changes.push((whole, format!("points: {points:?}, values: {values:?}")));
        files.push(file);
    }
    Ok((changes, files))
}

/// Reads a table: a point and a value a line, with a comma or blanks between them; `#` begins a comment, and the first line may
/// be a heading.
fn read(path: &Path) -> Result<(Vec<f64>, Vec<f64>), SpecError> {
    let text = read_text(path)?;
    let (mut points, mut values) = (Vec::new(), Vec::new());
    let mut start = 0;
    let mut heading = true;
    for whole in text.split_inclusive('\n') {
        let at = start;
        start += whole.len();
        let line = whole.split('#').next().unwrap_or_default();
        let fields: Vec<&str> =
            line.split([',', ' ', '\t', '\r', '\n']).filter(|f| !f.is_empty()).collect();
        let Some(first) = fields.first() else { continue };
        if std::mem::take(&mut heading) && first.parse::<f64>().is_err() {
            continue;
        }
        let error = |offset: usize, name: &str, problem| {
            SpecError::at(path, &text, offset, name.to_owned(), problem)
        };
        if fields.len() != 2 {
            let found = match fields.len() {
                1 => "one column".to_owned(),
                n => format!("{n} columns"),
            };
            let bound = "two columns are needed, a point in bohr and a value in Hartree";
            return Err(error(at, "", Problem::bound(bound, found)));
        }
        for (name, field, list) in [("x", fields[0], &mut points), ("v", fields[1], &mut values)] {
            // Where the field is: it is a part of the text.
            let offset = field.as_ptr() as usize - text.as_ptr() as usize;
            match field.parse::<f64>() {
                Ok(number) if number.is_finite() => list.push(number),
                Ok(number) => {
                    return Err(error(offset, name, Problem::bound("must be finite", number)));
                }
                Err(_) => {
                    let expected = "a number".to_owned();
                    return Err(error(offset, name, Problem::WrongType { expected }));
                }
            }
        }
        if let [.., before, last] = points[..]
            && last <= before
        {
            let found = format!("{last} after {before}");
            return Err(error(at, "x", Problem::bound("the points must ascend", found)));
        }
        if points.len() > MOST_POINTS {
            let bound = format!("a table has at most {MOST_POINTS} points");
            return Err(error(at, "", Problem::bound(bound, "more")));
        }
    }
    if points.is_empty() {
        let problem = Problem::bound("a point and a value a line are needed", "none");
        return Err(SpecError::at(path, &text, 0, String::new(), problem));
    }
    Ok((points, values))
}

#[cfg(test)]
mod tests {
    use crate::spec::read::{files, load};
    use crate::spec::write::to_ron;
    use crate::system::External;
    use std::fs;

    const SPEC: &str = "(
    title: \"t\",
    hamiltonian: Inline(
        external: Tabulated(file: \"v.csv\"),
        interaction: SoftCoulomb(strength: \"g\"),
    ),
    parameters: {\"g\": 1.0},
    sector: (up: 1), geometry: Box(half_width: 2),
)";

    fn loaded(table: &str) -> Result<crate::spec::ResolvedSpec, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.ron");
        fs::write(&path, SPEC).unwrap();
        fs::write(folder.path().join("v.csv"), table).unwrap();
        assert_eq!(files(&path).map(|f| f.len()).unwrap_or(2), 2);
        load(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn a_file_beside_the_spec_becomes_numbers_in_it() {
        let spec =
            loaded("x,v\n# a comment\n-2, 4\n-1\t1\n\n0 0 # the well\n1,1\r\n2,4\n").unwrap();
        let External::Tabulated(table) = &spec.hamiltonian.external else { panic!() };
        assert_eq!(table.points(), [-2.0, -1.0, 0.0, 1.0, 2.0]);
        assert!((table.value(1.5) - 2.25).abs() < 1e-14);
        // The resolved spec depends on no file.
        let text = to_ron(&spec).unwrap();
        let again = crate::spec::read::parse(&text, "elsewhere/t.ron".as_ref()).unwrap();
        assert_eq!(again.hamiltonian, spec.hamiltonian);
    }

    #[test]
    fn what_is_wrong_in_a_table_is_located_in_it() {
        for (table, expected) in [
            ("x,v\n0,1\n1,a\n", "v.csv:3:3: field v: expected a number"),
            ("0,1\n1\n", "v.csv:2:1: two columns are needed"),
            ("0,1\n1,2,3\n", "found 3 columns"),
            ("0,1\n2,1\n1,1\n", "v.csv:3:1: field x: the points must ascend, found 1 after 2"),
            ("0,1\n1,inf\n", "v.csv:2:3: field v: must be finite, found inf"),
            ("# nothing\n", "v.csv:1:1: a point and a value a line are needed"),
            // These are of the table as a whole: in the spec, where its name is.
            (
                "-2,1\n0,0\n2,1\n",
                "t.ron:4:29: field hamiltonian.external.points: a table has between 4",
            ),
            (
                "-1,1\n0,0\n1,1\n2,3\n",
                "the points must reach from -2 to 2 bohr, where the particles go, found -1 to 2",
            ),
        ] {
            let found = loaded(table).unwrap_err();
            assert!(found.contains(expected), "{table:?}: {found}");
        }
    }

    #[test]
    fn a_missing_file_is_for_the_spec_to_mend() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.ron");
        fs::write(&path, SPEC).unwrap();
        let found = load(&path).unwrap_err().to_string();
        assert!(found.contains("t.ron:4:35: field hamiltonian.external.file"), "{found}");
        assert!(found.contains("v.csv`: no such file"), "{found}");
    }
}
