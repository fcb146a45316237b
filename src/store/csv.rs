//! Tables as text with commas (Y. Shafranovich, RFC 4180), by the crate of that name: fields with commas or quotes are quoted, and read back.

use super::files::FileError;
use csv::{ReaderBuilder, StringRecord, Terminator, Trim, Writer, WriterBuilder};
use std::path::Path;

/// A table in the making.
pub(crate) struct Table(Writer<Vec<u8>>);

impl Table {
    /// One with a heading.
    pub(crate) fn new<T: AsRef<[u8]>>(heading: impl IntoIterator<Item = T>) -> Self {
        let mut table = Table::headless();
        table.row(heading);
        table
    }

    /// Rows to append to another.
    pub(crate) fn headless() -> Self {
        let mut builder = WriterBuilder::new();
        builder.terminator(Terminator::Any(b'\n')).flexible(true);
        Table(builder.from_writer(Vec::new()))
    }

    /// Appends a row.
    pub(crate) fn row<T: AsRef<[u8]>>(&mut self, fields: impl IntoIterator<Item = T>) {
        // Rows of any length in memory have no way to fail.
        let _ = self.0.write_record(fields);
    }

    /// All of it, each row a line.
    pub(crate) fn text(self) -> String {
        let bytes = self.0.into_inner().unwrap_or_default();
        String::from_utf8(bytes).unwrap_or_default()
    }
}

/// A number as a field: the shortest digits that read back as the same.
pub(crate) fn digits(x: f64) -> String {
    format!("{x:?}")
}

/// A number as a field that is empty where there is none.
pub(crate) fn maybe(x: Option<f64>) -> String {
    x.map_or_else(String::new, digits)
}

/// A row of a file with the number of its line.
pub(super) struct Row {
    pub(super) line: usize,
    fields: StringRecord,
}

impl Row {
    /// The fields from one on.
    pub(super) fn from(&self, first: usize) -> impl Iterator<Item = &str> {
        self.fields.iter().skip(first)
    }
}

/// The heading of a table and its rows, as many fields in each; `path` is for messages.
///
/// # Errors
/// [`FileError::Malformed`] with the line.
pub(super) fn read(path: &Path, text: &str) -> Result<(Vec<String>, Vec<Row>), FileError> {
    let malformed = |line, message| FileError::Malformed { path: path.to_owned(), line, message };
    let mut reader = ReaderBuilder::new();
    let reader = reader.has_headers(false).flexible(true).trim(Trim::All);
    let (mut heading, mut rows) = (None, Vec::new());
    for fields in reader.from_reader(text.as_bytes()).into_records() {
        let fields = fields.map_err(|error| {
            let line = error.position().map_or(1, |p| p.line() as usize);
            malformed(line, error.to_string())
        })?;
        if fields.iter().all(str::is_empty) {
            continue;
        }
        let line = fields.position().map_or(1, |start| {
            // The blank lines before it.
            let before = text[start.byte() as usize..].chars().take_while(|c| c.is_whitespace());
            start.line() as usize + before.filter(|c| *c == '\n').count()
        });
        let Some(heading) = &heading else {
            heading = Some(fields.iter().map(str::to_owned).collect::<Vec<String>>());
            continue;
        };
        if fields.len() != heading.len() {
            let (found, n) = (fields.len(), heading.len());
            return Err(malformed(line, format!("{found} fields where there should be {n}")));
        }
        rows.push(Row { line, fields });
    }
    Ok((heading.unwrap_or_default(), rows))
}

/// The rows of a table with this heading.
///
/// # Errors
/// [`FileError::Malformed`] with the line.
pub(super) fn table(path: &Path, text: &str, heading: &[&str]) -> Result<Vec<Row>, FileError> {
    let wrong = || FileError::Malformed {
        path: path.to_owned(),
        line: 1,
        message: format!("the header should be `{}`", heading.join(",")),
    };
    // Of another table nothing else is wrong.
    let first = text.lines().next().unwrap_or_default();
    if !first.split(',').map(str::trim).eq(heading.iter().copied()) {
        return Err(wrong());
    }
    Ok(read(path, text)?.1)
}

/// Fields of a row as numbers, as many as asked for.
///
/// # Errors
/// [`FileError::Malformed`] with the line.
pub(super) fn floats<'a, const N: usize>(
    path: &Path,
    line: usize,
    fields: impl IntoIterator<Item = &'a str>,
) -> Result<[f64; N], FileError> {
    let malformed = |message| FileError::Malformed { path: path.to_owned(), line, message };
    let mut numbers = [0.0; N];
    let mut fields = fields.into_iter();
    for number in &mut numbers {
        let field = fields.next().unwrap_or_default();
        *number = field.parse().map_err(|_| malformed(format!("`{field}` is not a number")))?;
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_counted_with_blank_ones() {
        let path = Path::new("x.csv");
        let text = "a,b\n\n1,2\n  \n\n3,4\r\n\n5\n";
        let Err(error) = read(path, text) else { panic!("the last row is short") };
        assert!(error.to_string().contains("line 8: 1 fields where there should be 2"), "{error}");
        let (heading, rows) = read(path, &text[..text.len() - 2]).unwrap();
        assert_eq!(heading, ["a", "b"]);
        assert_eq!(rows.iter().map(|r| r.line).collect::<Vec<_>>(), [3, 6]);
        assert_eq!(floats(path, 6, rows[1].from(0)).unwrap(), [3.0, 4.0]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_back(
            rows in prop::collection::vec(prop::array::uniform3("[ -~\n\"]{0,8}"), 1..5),
        ) {
            let mut table = Table::new(["first", "second", "third"]);
            rows.iter().for_each(|row| table.row(row));
            let (heading, found) = read(Path::new("x"), &table.text()).unwrap();
            prop_assert_eq!(heading, ["first", "second", "third"]);
            let found: Vec<Vec<String>> =
                found.iter().map(|r| r.from(0).map(str::to_owned).collect()).collect();
            // Blanks about a field and rows of nothing are not kept.
            let kept: Vec<Vec<String>> = rows
                .iter()
                .map(|row| row.iter().map(|f| f.trim().to_owned()).collect::<Vec<_>>())
                .filter(|row| row.iter().any(|f| !f.is_empty()))
                .collect();
            prop_assert_eq!(found, kept);
        }
    }
}
