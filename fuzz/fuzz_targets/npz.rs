//! An archive of arrays: what can be read can be written, and reads back as the same numbers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Cursor;
use weylflow::store::npz::{from_reader, to_bytes};

fuzz_target!(|bytes: &[u8]| {
    let Ok(arrays) = from_reader(Cursor::new(bytes)) else { return };
    for array in &arrays {
        assert_eq!(array.shape.iter().product::<usize>(), array.values.len());
    }
    // Two arrays of one name can be read, but not be written.
    let Ok(written) = to_bytes(&arrays) else { return };
    let again = from_reader(Cursor::new(written)).expect("a written archive can be read");
    assert_eq!(again.len(), arrays.len());
    for (a, b) in again.iter().zip(&arrays) {
        assert_eq!(a.shape, b.shape);
        assert!(a.values.iter().zip(&b.values).all(|(a, b)| a == b || (a.is_nan() && b.is_nan())));
    }
});
