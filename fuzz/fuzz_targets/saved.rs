//! The file of a trained wavefunction: read, checked, and written again as the same bits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weylflow::store::saved::SavedWavefunction;

fuzz_target!(|text: &str| {
    let Ok(saved) = SavedWavefunction::from_json(text) else { return };
    let written = saved.to_json().expect("what was read can be written");
    let again = SavedWavefunction::from_json(&written).expect("what was written can be read");
    assert_eq!(again, saved, "{written}");
});
