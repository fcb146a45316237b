//! The specs of `runs/`, damaged in many ways: read without a panic, refused or accepted, and where one is refused nothing
//! is written.
//!
//! Deterministic: all choices come from one fixed seed.

mod common;

use common::said;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;
use weylflow::spec::{SpecError, load, write};

/// Mutants of each spec.
const MUTANTS: usize = 40;

/// What takes the place of a number.
const NUMBERS: &[&str] = &[
    "NaN",
    "-NaN",
    "inf",
    "-inf",
    "1e400",
    "-1e400",
    "1e-400",
    "-1",
    "0",
    "-0.0",
    "1e18",
    "1e308",
    "5e-324",
    "18446744073709551615",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "0x7fffffffffffffff",
    "1_000_000_000_000",
    "1.0.0",
    "1e",
    "+",
    "\"1\"",
    "[1]",
    "(1)",
    "true",
    "",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The specs with their Hamiltonian files named in full, so that they can be read from anywhere.
fn specs() -> Vec<(String, String)> {
    let mut files: Vec<_> = ["runs", "runs/regress"]
        .iter()
        .flat_map(|folder| fs::read_dir(root().join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|f| f.extension().is_some_and(|e| e == "ron") && !f.ends_with("suite.ron"))
        .collect();
    files.sort();
    let specs = files.into_iter().map(|file| {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let library = root().join("hamiltonians");
        let library = library.to_str().unwrap();
        let text = text.replace("../../hamiltonians", library).replace("../hamiltonians", library);
        (name, text)
    });
    specs.collect()
}

/// Where the tokens of a text are: words and numbers, strings, and single symbols.
fn tokens(text: &[u8]) -> Vec<std::ops::Range<usize>> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b"_.+-".contains(&b);
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < text.len() {
        let start = i;
        i += 1;
        if word(text[start]) {
            while i < text.len() && word(text[i]) {
                i += 1;
            }
        } else if text[start] == b'"' {
            while i < text.len() && text[i - 1..i] != *b"\"" || i == start + 1 {
                i += 1;
            }
            i = i.min(text.len());
        }
        if !text[start].is_ascii_whitespace() {
            tokens.push(start..i);
        }
    }
    tokens
}

/// One of the ways to damage a text.
fn damage(text: &mut Vec<u8>, rng: &mut Pcg64) -> &'static str {
    if text.is_empty() {
        return "nothing left";
    }
    let tokens = tokens(text);
    let pick = |rng: &mut Pcg64| rng.random_range(0..tokens.len().max(1));
    match rng.random_range(0..8) {
        0 => {
            let i = rng.random_range(0..text.len());
            text[i] ^= 1 << rng.random_range(0..8);
            "bit"
        }
        1 => {
            let i = rng.random_range(0..text.len());
            text[i] = rng.random();
            "byte"
        }
        2 => {
            let start = rng.random_range(0..text.len());
            let end = (start + rng.random_range(1..60)).min(text.len());
            text.drain(start..end);
            "deletion"
        }
        3 => {
            let start = rng.random_range(0..text.len());
            let end = (start + rng.random_range(1..120)).min(text.len());
            let copy = text[start..end].to_vec();
            let at = rng.random_range(0..=text.len());
            text.splice(at..at, copy);
            "duplication"
        }
        4 if tokens.len() > 1 => {
            let (a, b) = (pick(rng), pick(rng));
            let (a, b) = (a.min(b), a.max(b));
            if a != b {
                let (first, second) =
                    (text[tokens[a].clone()].to_vec(), text[tokens[b].clone()].to_vec());
                text.splice(tokens[b].clone(), first);
                text.splice(tokens[a].clone(), second);
            }
            "swap"
        }
        5 | 6 => {
            let is_number = |t: &&std::ops::Range<usize>| text[t.start].is_ascii_digit();
            let numbers: Vec<_> = tokens.iter().filter(is_number).cloned().collect();
            if !numbers.is_empty() {
                let at = numbers[rng.random_range(0..numbers.len())].clone();
                let number = NUMBERS[rng.random_range(0..NUMBERS.len())];
                text.splice(at, number.bytes());
            }
            "number"
        }
        _ => {
            let length = rng.random_range(0..text.len());
            text.truncate(length);
            "truncation"
        }
    }
}

/// All mutants: a name that tells where it comes from, and the bytes.
fn mutants() -> Vec<(String, Vec<u8>)> {
    let mut rng = Pcg64::seed_from_u64(20);
    let mut mutants = Vec::new();
    for (name, text) in specs() {
        for n in 0..MUTANTS {
            let mut bytes = text.clone().into_bytes();
            let ways: Vec<_> =
                (0..rng.random_range(1..4)).map(|_| damage(&mut bytes, &mut rng)).collect();
            mutants.push((format!("{name} {n} ({})", ways.join(", ")), bytes));
        }
    }
    mutants
}

#[test]
fn mutated_specs_are_read_without_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spec.ron");
    let (mut refused, mut accepted) = (0, 0);
    let mutants = mutants();
    assert!(mutants.len() >= 300);
    for (name, bytes) in &mutants {
        fs::write(&path, bytes).unwrap();
        let loaded = catch_unwind(|| load(&path));
        let text = || String::from_utf8_lossy(bytes);
        match loaded {
            Err(_) => panic!("{name} panics:\n{}", text()),
            Ok(Err(error)) => {
                refused += 1;
                // The message names a file and, in a text, a line and a column of it.
                let message = error.to_string();
                assert!(
                    !message.contains("panicked") && message.contains(".ron"),
                    "{name}: {message}"
                );
                if let SpecError::Text(at) = &error {
                    let lines = fs::read(&at.file).unwrap().split(|&b| b == b'\n').count();
                    assert!((1..=lines).contains(&at.position.line), "{name}: {message}");
                }
            }
            // What is accepted is a spec like any other: it can be written and means the same.
            Ok(Ok(spec)) => {
                accepted += 1;
                fs::write(&path, write::to_ron(&spec).unwrap()).unwrap();
                let again = load(&path).unwrap_or_else(|e| panic!("{name}: {e}\n{}", text()));
                assert_eq!(again, spec, "{name}");
            }
        }
    }
    println!("{} mutants: {refused} refused, {accepted} accepted", mutants.len());
    // Both must happen, or the mutations are too weak or too strong to tell anything.
    assert!(refused >= 300 && accepted >= 30, "{refused} {accepted}");
}

#[test]
fn the_program_refuses_mutated_specs_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spec.ron");
    let (mut refused, mut accepted) = (0, 0);
    for (name, bytes) in mutants().iter().step_by(25) {
        fs::write(&path, bytes).unwrap();
        let (code, out, err) = said(folder.path(), &["check", "spec.ron"]);
        assert!(!err.contains("panicked"), "{name}: {err}");
        if code == Some(0) {
            accepted += 1;
            assert!(err.is_empty() && out.starts_with('('), "{name}: {err}");
        } else {
            refused += 1;
            // A run of the same ends in the same way, before there is a folder.
            let (run, run_out, run_err) =
                said(folder.path(), &["run", "spec.ron", "--out", "results/here"]);
            assert_eq!((code, run), (Some(1), Some(1)), "{name}: {err}{run_err}");
            assert!(out.is_empty() && run_out.is_empty(), "{name}");
            assert!(err.starts_with("error: ") && err == run_err, "{name}: {err}{run_err}");
        }
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["spec.ron"], "{name}");
    }
    assert!(refused >= 20 && refused + accepted >= 40, "{refused} {accepted}");
}
