//! Runs whose samples are spread over processes by MPI: the bytes of one process, and no process left behind.
//!
//! `cargo test --release --features mpi --test mpi`; without `mpirun` the tests say so and pass.
#![cfg(feature = "mpi")]

mod common;

use common::{ended, read, succeeds};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longer than any of the runs: beyond it, processes wait for each other.
const DEADLOCK: Duration = Duration::from_secs(300);

fn spec(wavefunction: &str, rest: &str) -> String {
    format!(
        "(title: \"pair\", hamiltonian: Inline(external: Harmonic(), interaction: SoftCoulomb()), sector: (up: 2), \
         geometry: Box(half_width: 6), wavefunction: {wavefunction}, final_samples: 3000, seed: 7, reference: None, {rest})"
    )
}

const WEYL: &str = "Weyl(layers: [Pair, PairInverse], pair_cells: 8)";
const WAVEFLOW: &str = "Waveflow(hidden: [6], knots: 6, prior_knots: 6)";

/// What `mpirun` says it is, if there is one.
fn version() -> Option<String> {
    let output = Command::new("mpirun").arg("--version").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether there is an `mpirun`.
fn available() -> bool {
    let found = version().is_some();
    if !found {
        eprintln!("skipped: there is no mpirun");
    }
    found
}

fn start(folder: &Path, processes: usize, arguments: &[&str]) -> Child {
    // More processes than cores are the rule with MPICH, and with Open MPI an option that others do not know.
    let open = version().is_some_and(|version| version.contains("Open MPI"));
    Command::new("mpirun")
        .args(open.then_some("--oversubscribe"))
        .args(["--bind-to", "none", "-n", &processes.to_string()])
        .arg(env!("CARGO_BIN_EXE_weylflow"))
        .args(["run", "pair.ron", "--mpi", "--quiet", "--threads", "1"])
        .args(arguments)
        // Containers for tests often have no other user.
        .envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")])
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The end of it, if it comes to one.
fn end(mut child: Child) -> Output {
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > DEADLOCK {
            child.kill().unwrap();
            panic!("the processes wait for each other");
        }
        sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The files that have no times in them, and the summary without times.
fn results(folder: &Path) -> Vec<String> {
    let summary = read(folder.join("summary.json"));
    let mut summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    for key in ["wall_seconds", "cpu_seconds", "threads", "processes"] {
        assert!(summary[key].take().is_number());
    }
    let files = ["energy.csv", "wavefunction", "density.csv", "spec.ron"];
    files.iter().map(|name| read(folder.join(name))).chain([summary.to_string()]).collect()
}

#[test]
fn processes_give_the_bytes_of_one() {
    if !available() {
        return;
    }
    let training = "samples_per_iteration: 500, iterations: 4";
    for (name, text) in [
        ("weyl", spec(WEYL, training)),
        ("waveflow", spec(WAVEFLOW, training)),
        ("random", spec(WEYL, &format!("{training}, sampling: Random"))),
        ("lbfgs", spec(WEYL, &format!("{training}, optimiser: Lbfgs()"))),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        fs::write(folder.join("pair.ron"), text).unwrap();
        succeeds(folder, &["run", "pair.ron", "--quiet", "--out", "alone", "--threads", "2"]);
        let alone = results(&folder.join("alone"));
        for processes in [1, 2, 4] {
            let out = format!("team{processes}");
            let output = end(start(folder, processes, &["--out", &out]));
            assert!(ended(output.status), "{name}, {processes}: {}", error(&output));
            assert!(results(&folder.join(&out)) == alone, "{name}, {processes} processes");
            let summary = read(folder.join(&out).join("summary.json"));
            assert!(summary.contains(&format!("\"processes\": {processes}")));
        }
    }
}

#[test]
fn an_error_of_the_leader_ends_all_processes() {
    if !available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    // Of the spec, before the others know of anything.
    fs::write(folder.join("pair.ron"), spec(WEYL, "iterations: -1")).unwrap();
    let output = end(start(folder, 3, &[]));
    assert!(!output.status.success() && error(&output).contains("pair.ron:"));
    // Of the output folder.
    fs::write(folder.join("pair.ron"), spec(WEYL, "samples_per_iteration: 100, iterations: 1"))
        .unwrap();
    fs::create_dir(folder.join("taken")).unwrap();
    fs::write(folder.join("taken/file"), "precious").unwrap();
    let output = end(start(folder, 3, &["--out", "taken"]));
    assert!(
        !output.status.success() && error(&output).contains("--overwrite"),
        "{}",
        error(&output)
    );
    // Of the training, in the middle of it.
    let wild = "samples_per_iteration: 4000, iterations: 50, faults: Stop, optimiser: Adam(learning_rate: 1)";
    fs::write(folder.join("pair.ron"), spec(WEYL, wild)).unwrap();
    let output = end(start(folder, 3, &["--out", "wild"]));
    assert!(!output.status.success() && error(&output).contains("iteration"), "{}", error(&output));
}

/// The process of a rank, by the environment that `mpirun` gave it; with MPICH there is one between.
#[cfg(target_os = "linux")]
fn process_of_rank(parent: u32, rank: usize) -> Option<u32> {
    let wanted = [format!("OMPI_COMM_WORLD_RANK={rank}"), format!("PMI_RANK={rank}")];
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().find_map(|child| {
        let environment = fs::read(format!("/proc/{child}/environ")).ok()?;
        let mut variables = environment.split(|b| *b == 0);
        let child = child.parse().ok()?;
        let own = variables.any(|v| wanted.iter().any(|w| v == w.as_bytes()));
        own.then_some(child).or_else(|| process_of_rank(child, rank))
    })
}

#[cfg(target_os = "linux")]
#[test]
fn a_lost_process_and_a_signal_end_all_and_the_run_goes_on_from_its_checkpoint() {
    if !available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let training = "samples_per_iteration: 4096, iterations: 30, stopping: Never";
    fs::write(folder.join("pair.ron"), spec(WEYL, training)).unwrap();
    succeeds(folder, &["run", "pair.ron", "--quiet", "--out", "alone"]);
    let alone = results(&folder.join("alone"));
    for (case, rank, signal) in
        [("lost", 1, "-KILL"), ("leader", 0, "-KILL"), ("asked", 0, "-TERM")]
    {
        let child = start(folder, 2, &["--out", case, "--checkpoint-every", "1"]);
        let begin = Instant::now();
        // In the middle of the training.
        while !folder.join(case).join("checkpoint.previous").exists() {
            assert!(begin.elapsed() < DEADLOCK, "no checkpoint ever came");
            sleep(Duration::from_millis(2));
        }
        let process = process_of_rank(child.id(), rank).expect("the process runs").to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
        let output = end(child);
        assert!(!output.status.success(), "{case}");
        if signal == "-TERM" {
            assert_eq!(output.status.code(), Some(143), "{}", error(&output));
            assert!(error(&output).contains("--resume"), "{}", error(&output));
        }
        assert!(!folder.join(case).join("summary.json").exists(), "{case}: it was over too soon");
        // With another number of processes than before.
        let output = end(start(folder, 3, &["--out", case, "--resume"]));
        assert!(ended(output.status), "{}", error(&output));
        assert!(results(&folder.join(case)) == alone, "{case}");
    }
}
