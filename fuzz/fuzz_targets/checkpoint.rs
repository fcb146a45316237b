//! The checkpoint of a run: read, checked, and written again as the same bits. The header with its checksum is made
//! afresh, so that the fuzzer gets behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use weylflow::store::checkpoint::Checkpoint;

fuzz_target!(|bytes: &[u8]| {
    let _ = Checkpoint::parse(bytes);
    let Ok(checkpoint) = Checkpoint::parse(&Checkpoint::sealed(bytes)) else { return };
    let _ = checkpoint.rows(Path::new("checkpoint"));
    let written = checkpoint.to_bytes().expect("what was read can be written");
    let again = Checkpoint::parse(&written).expect("what was written can be read");
    assert_eq!(again, checkpoint);
});
