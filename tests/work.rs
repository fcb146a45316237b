//! The work of a run is a number like its energy: known beforehand, whatever the number of threads.
//!
//! A change of a kernel or of an optimiser that changes these numbers changes what a run costs. Where that is
//! meant, the new numbers belong here; the message of the test prints them.

mod common;

use common::{read, succeeds};

/// Runs a spec on so many threads and returns the counts of its summary.
fn work(wavefunction: &str, threads: &str) -> [u64; 4] {
    let folder = tempfile::tempdir().unwrap();
    let spec = format!(
        "(title: \"pair\", hamiltonian: Inline(external: Harmonic(), interaction: SoftCoulomb()), sector: (up: 2), \
         geometry: Box(half_width: 6), wavefunction: {wavefunction}, samples_per_iteration: 300, iterations: 3, \
         stopping: Never, final_samples: 2000, seed: 7, reference: None)"
    );
    std::fs::write(folder.path().join("pair.ron"), spec).unwrap();
    succeeds(folder.path(), &["run", "pair.ron", "--quiet", "--threads", threads]);
    let summary = read(folder.path().join("out/pair/summary.json"));
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let report = read(folder.path().join("out/pair/report.html"));
    ["local_energies", "spline_evaluations", "newton_iterations", "factorisations"].map(|name| {
        let count = summary["work"][name].as_u64().unwrap();
        assert!(report.contains(&format!(">{count}<")), "{name} is in the report");
        count
    })
}

#[test]
fn counts_of_a_small_run_of_both_families_are_known() {
    for (wavefunction, expected) in [
        ("Waveflow(hidden: [6], knots: 6, prior_knots: 6)", [12_040, 157_280, 338_900, 3]),
        (
            "Weyl(layers: [Pair, PairInverse, Monotone], pair_cells: 8, monotone_cells: 6)",
            [12_940, 206_921, 225_735, 9],
        ),
    ] {
        for threads in ["1", "2"] {
            assert_eq!(work(wavefunction, threads), expected, "{wavefunction}, {threads} threads");
        }
    }
}
