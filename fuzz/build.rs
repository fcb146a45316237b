//! Writes the seeds that depend on the formats of the program into the corpora.

mod seeds;

use std::error::Error;
use std::fs;
use std::path::Path;

/// Beginning of the names of seeds that are made here.
const MADE: &str = "made-";

fn main() -> Result<(), Box<dyn Error>> {
    // The script is linked anew, and so runs again, whenever the program changes.
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=seeds.rs");
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in fs::read_dir(&corpus)?.flatten() {
        for seed in fs::read_dir(target.path())?.flatten() {
            // Those of an older version.
            if seed.file_name().to_string_lossy().starts_with(MADE) {
                fs::remove_file(seed.path())?;
            }
        }
    }
    for (target, name, bytes) in seeds::seeds()? {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("{MADE}{name}")), bytes)?;
    }
    Ok(())
}
