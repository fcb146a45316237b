//! `weylflow project` through the program itself.

mod common;

use common::{fails, read, succeeds, weylflow};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PAIR: &str = r#"(
    title: "harmonium pair",
    hamiltonian: Inline(external: Harmonic(), interaction: Harmonic(stiffness: 0.5)),
    sector: (up: 2), geometry: Line,
    wavefunction: Weyl(base: MeanField(orbitals: NonInteracting)),
    samples_per_iteration: 256, iterations: 0, final_samples: 1024, seed: 3,
    project: true,
)"#;

/// Calogero's interaction over orbitals that vanish with the first power of the distance.
const SINGULAR: &str = r#"(
    title: "bad guide",
    hamiltonian: Inline(external: Harmonic(), interaction: InverseSquare(strength: 2)),
    sector: (up: 2), geometry: Line,
    wavefunction: Weyl(base: MeanField(orbitals: NonInteracting)),
    samples_per_iteration: 256, iterations: 0, final_samples: 1024, seed: 3, reference: None,
)"#;

fn found(folder: &Path) -> Value {
    serde_json::from_str(&read(folder.join("projection.json"))).unwrap()
}

/// Without what the machine and interruptions change.
fn lasting(folder: &Path) -> Value {
    let mut value = found(folder);
    value["cpu_seconds"] = Value::Null;
    value["local_energies"] = Value::Null;
    value
}

#[test]
fn a_run_is_projected_onto_the_closed_form_and_resumed_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("pair.ron"), PAIR).unwrap();
    weylflow(here, &["run", "pair.ron", "--quiet"]);
    // `project: true` in the spec.
    assert!(found(&here.join("out/pair"))["energy"].is_number());
    let project = ["project", "out/pair", "--walkers", "512", "--threads", "1"];
    let printed = succeeds(here, &project);
    assert!(printed.contains("projected") && printed.contains("report:"), "{printed}");
    let out = here.join("out/pair");
    let value = found(&out);
    let number = |v: &Value| v.as_f64().unwrap_or_else(|| panic!("{v}"));
    // E = 1/2 + Omega (n² - 1) / 2 with Omega² = 1 + n k.
    let exact = 0.5 + 1.5 * 2f64.sqrt();
    let (energy, error) = (number(&value["energy"]), number(&value["standard_error"]));
    let remainder = number(&value["correction"]["remainder"]);
    assert!((energy - exact).abs() < 4.0 * error + remainder, "{energy} ± {error}");
    assert!(error < 0.1 * number(&value["correction"]["energy"]).abs(), "{value}");
    let deviation = number(&value["reference"]["deviation"]);
    assert!((deviation - (energy - exact)).abs() < 1e-6);
    let csv = read(out.join("projection.csv"));
    assert!(csv.starts_with("beta,correction,standard_error,effective_share"), "{csv}");
    let report = read(out.join("report.html"));
    assert!(report.contains("the variational energy is too high by"), "no section");
    // Another command makes the report again and keeps the section.
    succeeds(here, &["report", "out/pair"]);
    assert!(read(out.join("report.html")).contains("the variational energy is too high by"));
    // Again, on other threads: the same. Interrupted and resumed: the same.
    let once = lasting(&out);
    succeeds(here, &["project", "out/pair", "--walkers", "512", "--threads", "3", "--quiet"]);
    assert_eq!(once, lasting(&out));
    let mut child = Command::new(env!("CARGO_BIN_EXE_weylflow"))
        .args(["project", "out/pair", "--walkers", "512", "--quiet"])
        .current_dir(here)
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    child.wait().unwrap();
    succeeds(here, &["project", "out/pair", "--walkers", "512", "--resume", "--quiet"]);
    assert_eq!(once, lasting(&out));
    assert!(!out.join("projection.checkpoint").exists());
    fails(here, &["project", "out/pair", "--observables", "densty"], "density");
    fails(here, &["project", "out/none"], "no such folder");
}

#[test]
fn a_bad_guide_has_reasons_exit_code_3_and_no_energy() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("bad.ron"), SINGULAR).unwrap();
    weylflow(here, &["run", "bad.ron", "--quiet"]);
    let output = weylflow(here, &["project", "out/bad", "--walkers", "64"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("no projected energy, because") || error.contains("no projection"));
    let path = here.join("out/bad/projection.json");
    if path.exists() {
        let value = found(&here.join("out/bad"));
        assert!(value["energy"].is_null() && value["correction"].is_null(), "{value}");
        assert!(!value["refusals"].as_array().unwrap().is_empty());
    }
}
