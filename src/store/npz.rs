//! Arrays for `numpy.load`: the `.npy` format in the members of a zip archive (`.npz`).
//!
//! Format: R. Kern, "NEP 1 - A simple file format for NumPy arrays" (2007), version 1.0 and 2.0 read, 1.0 written.

use super::files::{FileError, write_atomic};
use crate::input::{self, MOST_RESULT_BYTES};
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Most bytes of memory that the values of all arrays of an archive may take: compressed data may inflate a
/// thousandfold, and one archive may hold the same data many times.
pub const MOST_BYTES: u64 = 1 << 31;
/// Most arrays in an archive.
pub const MOST_ARRAYS: usize = 1 << 12;
/// Longest header of an array that is read.
const MOST_HEADER: usize = 1 << 16;
const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// An array of floating-point numbers, by rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Name in the archive, without `.npy`.
    pub name: String,
    /// Lengths of the dimensions; empty for a single number.
    pub shape: Vec<usize>,
    /// Values, last index fastest.
    pub values: Vec<f64>,
}

impl Array {
    /// An array of this shape.
    pub fn new(name: impl Into<String>, shape: Vec<usize>, values: Vec<f64>) -> Self {
        Array { name: name.into(), shape, values }
    }
}

/// Why arrays cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NpzError {
    /// The file cannot be opened or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// An archive beyond the bounds.
    #[error("not an archive that is read here: {0}")]
    Bounds(String),
    /// Not a zip archive, or a damaged one.
    #[error("not a readable .npz archive: {0}")]
    Zip(#[from] zip::result::ZipError),
    /// A member that is no array of numbers.
    #[error("array `{name}`: {problem}")]
    Array {
        /// Name of the member.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

/// The bytes of an archive, members stored as they are. The same arrays give the same bytes.
///
/// # Errors
/// [`NpzError::Array`] when the number of values does not fit a shape, [`NpzError::Zip`] for two arrays of one name.
pub fn to_bytes(arrays: &[Array]) -> Result<Vec<u8>, NpzError> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default());
    for array in arrays {
        if product(&array.shape) != Some(array.values.len()) {
            let problem =
                format!("{} values do not fit the shape {:?}", array.values.len(), array.shape);
            return Err(NpzError::Array { name: array.name.clone(), problem });
        }
        archive.start_file(format!("{}.npy", array.name), options)?;
        let mut bytes = header(&array.shape);
        bytes.extend(array.values.iter().flat_map(|v| v.to_le_bytes()));
        archive.write_all(&bytes).map_err(zip::result::ZipError::from)?;
    }
    Ok(archive.finish()?.into_inner())
}

/// Writes an archive, atomically.
///
/// # Errors
/// See [`to_bytes`]; [`NpzError::File`] if the file cannot be written.
pub fn write_npz(path: &Path, arrays: &[Array]) -> Result<(), NpzError> {
    write_atomic(path, &to_bytes(arrays)?)?;
    Ok(())
}

/// Reads all arrays of an archive, stored or deflated (`numpy.savez_compressed`).
///
/// # Errors
/// See [`NpzError`].
pub fn read_npz(path: &Path) -> Result<Vec<Array>, NpzError> {
    let file = input::open(path, MOST_RESULT_BYTES)
        .map_err(|problem| FileError::Unreadable { path: path.to_owned(), problem })?;
    from_reader(BufReader::new(file))
}

/// Reads all arrays from the bytes of an archive.
///
/// # Errors
/// See [`NpzError`].
pub fn from_reader(mut reader: impl Read + Seek) -> Result<Vec<Array>, NpzError> {
    refuse_zip64(&mut reader)?;
    let mut archive = ZipArchive::new(reader)?;
    if archive.len() > MOST_ARRAYS {
        let found = archive.len();
        return Err(NpzError::Bounds(format!(
            "it has {found} members, at most {MOST_ARRAYS} are read"
        )));
    }
    let mut arrays = Vec::new();
    let mut room = MOST_BYTES;
    for index in 0..archive.len() {
        let member = archive.by_index(index)?;
        let name = member.name()?.into_owned();
        // No array has such a name, and in an archive written with it the records that end it could be mistaken.
        if name.chars().any(char::is_control) {
            return Err(NpzError::Bounds(format!("the name {name:?} has control characters")));
        }
        let name = name.strip_suffix(".npy").unwrap_or(&name).to_owned();
        match parse(member, room) {
            Ok((shape, values)) => {
                room -= 8 * values.len() as u64;
                arrays.push(Array { name, shape, values });
            }
            Err(problem) => return Err(NpzError::Array { name, problem }),
        }
    }
    Ok(arrays)
}

/// Refuses archives with the end record of large ones (more than 65535 members or 4 GiB): no file within the bounds
/// needs one, and the reader of archives would make room for as many members as it claims before it sees any.
fn refuse_zip64(reader: &mut (impl Read + Seek)) -> Result<(), NpzError> {
    const LOCATOR: &[u8] = b"PK\x06\x07";
    const END: &[u8] = b"PK\x05\x06";
    // The locator of the large record comes right before the end record.
    const DISTANCE: usize = 20;
    const OVERLAP: usize = DISTANCE + END.len() - 1;
    let failed = |e: io::Error| NpzError::Zip(e.into());
    let mut window = Vec::new();
    let mut part = [0; 1 << 16];
    loop {
        let read = match reader.read(&mut part) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(failed(e)),
        };
        window.extend_from_slice(&part[..read]);
        let is_large = |w: &[u8]| w.starts_with(LOCATOR) && w[DISTANCE..].starts_with(END);
        if window.windows(DISTANCE + END.len()).any(is_large) {
            let problem = "it has the zip64 end record of archives above 65535 members or 4 GiB";
            return Err(NpzError::Bounds(problem.to_owned()));
        }
        window.drain(..window.len().saturating_sub(OVERLAP));
    }
    reader.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(())
}

fn product(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b))
}

fn header(shape: &[usize]) -> Vec<u8> {
    let mut lengths: String = shape.iter().map(|n| format!("{n}, ")).collect();
    if shape.len() > 1 {
        lengths.truncate(lengths.len() - 2);
    }
    let mut text =
        format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({}), }}", lengths.trim_end());
    // Magic, version, length and text fill a multiple of 64 bytes; the text ends with a new line.
    let bare = MAGIC.len() + 4 + text.len() + 1;
    text.push_str(&" ".repeat(bare.next_multiple_of(64) - bare));
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    // A header of a few dimensions is far shorter than 65536 bytes.
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

/// Kinds of numbers that are read.
#[derive(Clone, Copy)]
enum Kind {
    F8,
    F4,
    I8,
    I4,
}

/// The array of a member, if its values fit into `room` bytes of memory.
fn parse(mut reader: impl Read, room: u64) -> Result<(Vec<usize>, Vec<f64>), String> {
    let short = |e: std::io::Error| format!("cannot be read: {e}");
    let mut start = [0; 8];
    reader.read_exact(&mut start).map_err(short)?;
    if &start[..6] != MAGIC {
        return Err("not in the .npy format".into());
    }
    let length = if start[6] == 1 {
        let mut length = [0; 2];
        reader.read_exact(&mut length).map_err(short)?;
        usize::from(u16::from_le_bytes(length))
    } else {
        let mut length = [0; 4];
        reader.read_exact(&mut length).map_err(short)?;
        u32::from_le_bytes(length) as usize
    };
    if length > MOST_HEADER {
        return Err(format!("a header of {length} bytes"));
    }
    let mut text = vec![0; length];
    reader.read_exact(&mut text).map_err(short)?;
    let text = String::from_utf8(text).map_err(|_| "the header is no text".to_owned())?;
    let kind = match quoted(&text, "descr")? {
        "<f8" => Kind::F8,
        "<f4" => Kind::F4,
        "<i8" => Kind::I8,
        "<i4" => Kind::I4,
        other => return Err(format!("holds `{other}`; numbers must be float64 (`<f8`)")),
    };
    let fortran = match after(&text, "fortran_order")? {
        t if t.starts_with("True") => true,
        t if t.starts_with("False") => false,
        _ => return Err("the header names no order".into()),
    };
    let shape = after(&text, "shape")?;
    let shape = shape.strip_prefix('(').and_then(|s| s.split_once(')')).map(|(s, _)| s);
    let shape: Vec<usize> = shape
        .ok_or("the header names no shape")?
        .split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(|s| s.parse().map_err(|_| format!("`{s}` is no length")))
        .collect::<Result<_, _>>()?;
    let size = match kind {
        Kind::F8 | Kind::I8 => 8,
        Kind::F4 | Kind::I4 => 4,
    };
    // Whatever the kind, a value takes eight bytes here.
    let count = product(&shape).filter(|n| n.checked_mul(8).is_some_and(|n| n as u64 <= room));
    let Some(count) = count else {
        return Err(format!(
            "the shape {shape:?} takes the archive above {MOST_BYTES} bytes, the most that is read"
        ));
    };
    let bytes = (count * size) as u64;
    // Memory grows with the bytes that are there, not with what the header claims.
    let mut data = Vec::new();
    reader.take(bytes + 1).read_to_end(&mut data).map_err(short)?;
    if data.len() as u64 != bytes {
        return Err(format!("holds another number of values than its shape {shape:?} says"));
    }
    let values: Vec<f64> = match kind {
        Kind::F8 => chunks(&data, f64::from_le_bytes),
        Kind::F4 => chunks(&data, |b| f64::from(f32::from_le_bytes(b))),
        Kind::I8 => chunks(&data, |b| i64::from_le_bytes(b) as f64),
        Kind::I4 => chunks(&data, |b| f64::from(i32::from_le_bytes(b))),
    };
    let values = match (fortran, shape.as_slice()) {
        (false, _) | (true, [] | [_]) => values,
        (true, &[rows, columns]) => {
            (0..rows * columns).map(|k| values[k / columns + (k % columns) * rows]).collect()
        }
        (true, _) => return Err("Fortran order with more than two dimensions".into()),
    };
    Ok((shape, values))
}

fn chunks<const N: usize>(data: &[u8], convert: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    data.as_chunks().0.iter().map(|&c| convert(c)).collect()
}

/// The text of the header after a key.
fn after<'a>(header: &'a str, key: &str) -> Result<&'a str, String> {
    header
        .split_once(&format!("'{key}'"))
        .and_then(|(_, rest)| rest.trim_start().strip_prefix(':'))
        .map(str::trim_start)
        .ok_or_else(|| format!("the header has no `{key}`"))
}

fn quoted<'a>(header: &'a str, key: &str) -> Result<&'a str, String> {
    after(header, key)?.split('\'').nth(1).ok_or_else(|| format!("the `{key}` is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrays() -> Vec<Array> {
        vec![
            Array::new("x", vec![2, 3], vec![1.0, -2.5, f64::NAN, 4.0, f64::INFINITY, 1e-300]),
            Array::new("one", vec![], vec![7.0]),
            Array::new("line", vec![4], vec![0.0, 1.0, 2.0, 3.0]),
            Array::new("none", vec![0, 2], vec![]),
        ]
    }

    fn npy(text: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn archives_round_trip() {
        let bytes = to_bytes(&arrays()).unwrap();
        assert_eq!(bytes, to_bytes(&arrays()).unwrap());
        let again = from_reader(Cursor::new(bytes)).unwrap();
        for (a, b) in again.iter().zip(&arrays()) {
            assert_eq!((&a.name, &a.shape), (&b.name, &b.shape));
            let bits = |v: &Array| v.values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(a), bits(b));
        }
        assert_eq!(again.len(), 4);
    }

    #[test]
    fn headers_are_aligned_and_as_numpy_writes_them() {
        let bytes = header(&[2, 3]);
        assert_eq!(bytes.len() % 64, 0);
        let text = String::from_utf8_lossy(&bytes[10..]).into_owned();
        assert!(text.starts_with("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }"));
        assert!(String::from_utf8_lossy(&header(&[5])[10..]).contains("'shape': (5,), }"));
        assert!(String::from_utf8_lossy(&header(&[])[10..]).contains("'shape': (), }"));
    }

    #[test]
    fn other_kinds_and_the_other_order_are_read() {
        let data: Vec<u8> = [1i32, 2, 3, 4, 5, 6].iter().flat_map(|v| v.to_le_bytes()).collect();
        let text = "{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3), }\n";
        let (shape, values) = parse(&npy(text, &data)[..], MOST_BYTES).unwrap();
        assert_eq!((shape, values), (vec![2, 3], vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.0]));
    }

    #[test]
    fn lies_are_errors_and_cost_no_memory() {
        for (text, data) in [
            ("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999,), }\n", &[0u8; 16][..]),
            ("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }\n", &[0; 16]),
            ("{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999, 9999999999), }", &[]),
            ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", &[0; 8]),
            ("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }\n", &[0; 8]),
            ("{'descr': '<f8', 'shape': (1,), }\n", &[0; 8]),
            ("nonsense", &[0; 8]),
        ] {
            assert!(parse(&npy(text, data)[..], MOST_BYTES).is_err(), "{text}");
        }
        let whole = to_bytes(&arrays()).unwrap();
        for length in [0, 10, 100, whole.len() / 2, whole.len() - 5] {
            assert!(from_reader(Cursor::new(&whole[..length])).is_err());
        }
        // The room shrinks with every array.
        let text = "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }\n";
        assert!(parse(&npy(text, &[0; 8])[..], 16).is_ok());
        assert!(parse(&npy(text, &[0; 8])[..], 15).unwrap_err().contains("above"));
        let misfit = Array::new("a", vec![3], vec![1.0]);
        assert!(to_bytes(&[misfit]).is_err());
    }

    /// A member that inflates to `bytes` zeros after the header of an array of `length` numbers.
    fn bomb(length: usize, bytes: usize) -> Vec<u8> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        archive.start_file("x.npy", options).unwrap();
        archive.write_all(&header(&[length])).unwrap();
        for _ in 0..bytes / (1 << 16) {
            archive.write_all(&[0; 1 << 16]).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    #[test]
    fn members_inflate_no_further_than_their_shape_says() {
        let whole = bomb(1 << 13, 1 << 16);
        assert_eq!(from_reader(Cursor::new(whole)).unwrap()[0].values, vec![0.0; 1 << 13]);
        // 64 MiB from 64 KiB, of which two numbers are announced: a reader without a bound would see them all.
        let bytes = bomb(2, 1 << 26);
        assert!(bytes.len() < 1 << 17);
        let error = from_reader(Cursor::new(bytes)).unwrap_err().to_string();
        assert!(error.contains("another number of values"), "{error}");
        let error = from_reader(Cursor::new(bomb(1 << 40, 0))).unwrap_err().to_string();
        assert!(error.contains("the most that is read"), "{error}");
    }

    #[test]
    fn archives_of_too_many_members_are_refused() {
        let archive = |count: usize| {
            let arrays: Vec<_> =
                (0..count).map(|i| Array::new(i.to_string(), vec![0], vec![])).collect();
            to_bytes(&arrays).unwrap()
        };
        assert_eq!(from_reader(Cursor::new(archive(MOST_ARRAYS))).unwrap().len(), MOST_ARRAYS);
        let error = from_reader(Cursor::new(archive(MOST_ARRAYS + 1))).unwrap_err().to_string();
        assert!(error.contains("has 4097 members"), "{error}");
    }

    #[test]
    fn the_end_record_of_large_archives_is_refused_wherever_it_is() {
        // Claims 2^40 members in a directory of 2^50 bytes.
        let mut large = b"PK\x06\x06".to_vec();
        large.extend(44u64.to_le_bytes());
        large.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for claim in [1u64 << 40, 1 << 40, 1 << 50, 1 << 49] {
            large.extend(claim.to_le_bytes());
        }
        let mut locator = b"PK\x06\x07".to_vec();
        locator.extend([0; 12]);
        locator.extend(1u32.to_le_bytes());
        let mut end = b"PK\x05\x06".to_vec();
        end.extend([0; 4]);
        end.extend([0xff; 12]);
        end.extend([0; 2]);
        // Also where the pieces that are read meet.
        for before in [0, 100, (1 << 16) - 60, (1 << 16) - 70, (1 << 16) - 77, 1 << 17] {
            let bytes = [&vec![0; before][..], &large, &locator, &end].concat();
            let error = from_reader(Cursor::new(bytes)).unwrap_err().to_string();
            assert!(error.contains("zip64 end record"), "{before}: {error}");
        }
    }

    /// Found by fuzzing: a name that ends as the record of a large archive does, right before the end record.
    #[test]
    fn a_name_with_control_characters_is_refused() {
        let arrays = [Array { name: "PK\x06\x07".into(), shape: vec![1], values: vec![1.0] }];
        let error = from_reader(Cursor::new(to_bytes(&arrays).unwrap())).unwrap_err().to_string();
        assert!(error.contains("control characters"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_or_a_device_is_no_archive() {
        for (path, fragment) in [("/dev/zero", "not a regular file"), ("/", "this is a folder")] {
            let error = read_npz(Path::new(path)).unwrap_err().to_string();
            assert!(error.contains(fragment) && error.contains(path), "{error}");
        }
    }
}
