//! Text to a checked spec, and back: every accepted spec is written as one that is accepted and the same.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use std::path::Path;
use weylflow::spec::{read::parse, write::to_ron};

fuzz_target!(|text: &str| -> Corpus {
    // Hamiltonian files would make the outcome depend on the machine.
    if text.contains("File") {
        return Corpus::Reject;
    }
    match parse(text, Path::new("fuzz.ron")) {
        Ok(spec) => {
            let written = to_ron(&spec).expect("an accepted spec can be written");
            let again = parse(&written, Path::new("again.ron"))
                .unwrap_or_else(|e| panic!("a written spec can be read: {e}\n{written}"));
            assert_eq!(again, spec, "{written}");
        }
        // The message shows a line of the text: making it must not fail either.
        Err(error) => assert!(error.to_string().starts_with("fuzz.ron:"), "{error}"),
    }
    Corpus::Keep
});
