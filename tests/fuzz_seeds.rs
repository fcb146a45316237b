//! The seeds of the fuzz targets are of the formats of today: they, and many of their mutants, are read.

#[path = "../fuzz/seeds.rs"]
mod seeds;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::io::Cursor;
use std::path::Path;
use weylflow::spec::{read::parse, write::to_ron};
use weylflow::store::checkpoint::Checkpoint;
use weylflow::store::npz::{from_reader, to_bytes};
use weylflow::store::saved::SavedWavefunction;

/// What a target does with an input; whether it got to the end.
fn read(target: &str, bytes: &[u8]) -> bool {
    let text = || std::str::from_utf8(bytes).ok();
    match target {
        "checkpoint" => {
            let Ok(checkpoint) = Checkpoint::parse(&Checkpoint::sealed(bytes)) else {
                return false;
            };
            let written = checkpoint.to_bytes().unwrap();
            assert_eq!(Checkpoint::parse(&written).unwrap(), checkpoint);
            checkpoint.rows(Path::new("checkpoint")).is_ok()
        }
        "saved" => {
            let Some(Ok(saved)) = text().map(SavedWavefunction::from_json) else { return false };
            assert_eq!(SavedWavefunction::from_json(&saved.to_json().unwrap()).unwrap(), saved);
            true
        }
        "spec" => {
            let Some(Ok(spec)) = text().map(|t| parse(t, Path::new("s.ron"))) else { return false };
            assert_eq!(parse(&to_ron(&spec).unwrap(), Path::new("s.ron")).unwrap(), spec);
            true
        }
        "npz" => from_reader(Cursor::new(bytes)).is_ok_and(|arrays| to_bytes(&arrays).is_ok()),
        other => panic!("no target {other}"),
    }
}

#[test]
fn seeds_and_their_mutants_are_read() {
    let seeds = seeds::seeds().unwrap();
    let mut rng = Pcg64::seed_from_u64(1);
    for (target, name, bytes) in &seeds {
        assert!(bytes.len() < 1 << 16, "{target}/{name} has {} bytes", bytes.len());
        assert!(read(target, bytes), "{target}/{name}");
        // One digit is another.
        let digits: Vec<usize> = (0..bytes.len()).filter(|&i| bytes[i].is_ascii_digit()).collect();
        if *target == "npz" {
            continue;
        }
        let mut mutant = bytes.clone();
        let mut passed = 0;
        for _ in 0..50 {
            let at = digits[rng.random_range(0..digits.len())];
            mutant[at] = rng.random_range(b'0'..=b'9');
            passed += usize::from(read(target, &mutant));
            mutant[at] = bytes[at];
        }
        assert!(passed >= 10, "{target}/{name}: {passed} of 50 mutants");
    }
    let count = |target| seeds.iter().filter(|s| s.0 == target).count();
    assert_eq!(["checkpoint", "saved", "spec", "npz"].map(count), [4, 4, 4, 1]);
}
