//! Runs that are killed, interrupted, locked out, or lose their disk: nothing is lost, and what goes on is the same.
#![cfg(unix)]

mod common;

use common::{ended, fails, read, succeeds};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A run of enough iterations to be killed in, on one thread; halfway its splines are refined.
fn spec(iterations: usize, samples: usize) -> String {
    format!(
        r#"(title: "trap", hamiltonian: Inline(title: "trap", external: Harmonic(frequency: 1.0),
        interaction: SoftCoulomb(strength: 1.0, softening: 1.0)), sector: (up: 2, down: 0), geometry: Box(half_width: 6.0),
        wavefunction: Weyl(layers: Some([Pair, PairInverse]), pair_cells: Some(8)),
        optimiser: RayleighGaussNewton(tau: 1.0), samples_per_iteration: {samples}, iterations: {iterations},
        final_samples: 4096, stopping: Never, refinements: 1, seed: 7, reference: None)"#
    )
}

fn start(folder: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_weylflow"))
        .args(["run", "spec.ron", "--quiet", "--threads", "1"])
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn wait_for(path: &Path) {
    let begin = Instant::now();
    while !path.exists() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{} never came", path.display());
        sleep(Duration::from_millis(2));
    }
}

/// What must not depend on how often a run was killed.
fn results(folder: &Path) -> Vec<(&'static str, String)> {
    let mut all = ["energy.csv", "wavefunction", "density.csv", "spec.ron"]
        .map(|name| (name, read(folder.join(name))))
        .to_vec();
    let summary = read(folder.join("summary.json"));
    let mut summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    for key in ["wall_seconds", "cpu_seconds", "threads"] {
        assert!(summary[key].take().is_number(), "{key}");
    }
    all.push(("summary.json", summary.to_string()));
    all
}

fn signal(child: &Child, name: &str) {
    let kill = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Several states, or a sweep of temperatures.
fn ensemble(asked: &str, iterations: usize, samples: usize) -> String {
    format!(
        r#"(title: "trap", hamiltonian: Inline(title: "trap", external: Harmonic(frequency: 1.0),
        interaction: SoftCoulomb(strength: 1.0, softening: 1.0)), sector: (up: 2, down: 0), geometry: Line,
        wavefunction: Weyl(layers: Some([Pair, PairInverse]), pair_cells: Some(8)), {asked},
        samples_per_iteration: {samples}, iterations: {iterations},
        final_samples: 4096, stopping: Never, seed: 7, reference: None)"#
    )
}

const STATES: &str = "states: (count: 2)";
const SWEEP: &str = "temperature: (kT: Range(from: 0.6, to: 1.2, points: 3))";

#[test]
fn a_run_killed_at_thirty_moments_ends_with_the_same_bytes() {
    killed(&spec(40, 4096), 30);
}

#[test]
fn ensembles_that_are_killed_end_with_the_same_bytes() {
    killed(&ensemble(STATES, 6, 1024), 4);
    killed(&ensemble(SWEEP, 6, 512), 6);
}

fn killed(spec: &str, times: usize) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    fs::write(folder.join("spec.ron"), spec).unwrap();
    let begin = Instant::now();
    assert!(ended(start(folder, &["--out", "whole"]).wait().unwrap()));
    // Each of the killed processes gets a share of the time that the whole run takes, so that they get somewhere.
    let share = begin.elapsed() / 8;
    let mut rng = Pcg64::seed_from_u64(times as u64);
    let (mut kills, mut finished) = (0, 0);
    while kills < times {
        // Every tenth one writes no checkpoint before it is killed, as if that came between two.
        let every = if kills % 10 == 9 { "1000" } else { "1" };
        let mut child = start(folder, &["--out", "torn", "--resume", "--checkpoint-every", every]);
        sleep(share.mul_f64(rng.random_range(0.05..1.2)));
        if let Some(status) = child.try_wait().unwrap() {
            // It came to its end in spite of all: the next one starts anew.
            assert!(ended(status));
            assert!(results(&folder.join("whole")) == results(&folder.join("torn")));
            fs::remove_dir_all(folder.join("torn")).unwrap();
            finished += 1;
            assert!(finished < 100, "the machine is too fast for its own clock");
            continue;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    println!("killed {kills} times, finished {finished} times before a kill");
    let last = start(folder, &["--out", "torn", "--resume"]).wait_with_output().unwrap();
    assert!(ended(last.status), "{}", message(&last));
    for ((name, a), (_, b)) in
        results(&folder.join("whole")).iter().zip(results(&folder.join("torn")))
    {
        assert!(*a == b, "{name} differs");
    }
    // Nothing half written is left.
    let left = fs::read_dir(folder.join("torn")).unwrap().flatten();
    assert!(left.into_iter().all(|e| !e.file_name().to_string_lossy().ends_with(".tmp")));
}

#[test]
fn signals_save_the_state_and_have_their_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    fs::write(folder.join("spec.ron"), spec(12, 4096)).unwrap();
    assert!(ended(start(folder, &["--out", "whole"]).wait().unwrap()));
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let out = format!("out{code}");
        let child = start(folder, &["--out", &out, "--checkpoint-every", "1"]);
        wait_for(&folder.join(&out).join("checkpoint"));
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", message(&output));
        assert!(message(&output).contains("--resume"), "{}", message(&output));
        assert!(!folder.join(&out).join("summary.json").exists());
        // What may change, and the number of threads, does not matter.
        succeeds(
            folder,
            &["run", "spec.ron", "--quiet", "--out", &out, "--resume", "--threads", "2"],
        );
        assert_eq!(results(&folder.join("whole")), results(&folder.join(&out)));
    }
}

/// The same for several states and a sweep of temperatures; more iterations are had of what is no sweep, and what the
/// checkpoint before has is no secret.
#[test]
fn ensembles_go_on_where_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    for (asked, name, code, samples) in [(STATES, "-INT", 130, 2048), (SWEEP, "-TERM", 143, 512)] {
        let (whole, out) = (format!("whole{code}"), format!("out{code}"));
        fs::write(folder.join("spec.ron"), ensemble(asked, 6, samples)).unwrap();
        let five = ["run", "spec.ron", "--quiet", "--out", &whole, "--threads", "5"];
        succeeds(folder, &five);
        let child = start(folder, &["--out", &out, "--checkpoint-every", "1"]);
        wait_for(&folder.join(&out).join("checkpoint"));
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", message(&output));
        assert!(message(&output).contains("--resume"), "{}", message(&output));
        assert!(!folder.join(&out).join("summary.json").exists());
        let resume = ["run", "spec.ron", "--out", &out, "--resume", "--threads", "2"];
        succeeds(folder, &resume);
        assert!(results(&folder.join(&whole)) == results(&folder.join(&out)), "{asked}");
        // It is finished, and stays what it is.
        succeeds(folder, &resume);
        assert!(results(&folder.join(&whole)) == results(&folder.join(&out)), "{asked}");
        let more = [&resume[..], &["--iterations", "8"]].concat();
        if asked == SWEEP {
            fails(folder, &more, "each starts from the one before");
            continue;
        }
        succeeds(folder, &more);
        fs::write(folder.join("spec.ron"), ensemble(asked, 8, samples)).unwrap();
        succeeds(folder, &["run", "spec.ron", "--quiet", "--out", &whole, "--overwrite"]);
        assert!(results(&folder.join(&whole)) == results(&folder.join(&out)), "{asked}");
        // One state has no checkpoint for two.
        fs::write(folder.join("spec.ron"), ensemble("states: (count: 3)", 8, samples)).unwrap();
        fails(folder, &resume, "another states");
        fs::write(folder.join(&out).join("checkpoint"), "gone").unwrap();
        fs::write(folder.join("spec.ron"), ensemble(asked, 8, samples)).unwrap();
        fails(folder, &resume, "--previous");
    }
}

/// A signal while the exact energy is sought: the state is saved, and the run goes on.
#[test]
fn a_signal_ends_the_search_for_the_exact_energy() {
    use std::io::{BufRead, BufReader};
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let text = spec(2, 256)
        .replace("reference: None", "reference: Exact")
        .replace("strength: 1.0", "strength: 300.0");
    let text = text.replace("softening: 1.0", "softening: 0.05");
    fs::write(folder.join("spec.ron"), &text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_weylflow"))
        .args(["run", "spec.ron", "--threads", "1", "--out", "out"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("exact energy")));
    signal(&child, "-TERM");
    let said: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(143), "{said:?}");
    assert!(said.iter().any(|line| line.contains("--resume")), "{said:?}");
    assert!(!folder.join("out/summary.json").exists());
    fs::write(folder.join("spec.ron"), text.replace("reference: Exact", "reference: None"))
        .unwrap();
    let resumed = Command::new(env!("CARGO_BIN_EXE_weylflow"))
        .args(["run", "spec.ron", "--quiet", "--threads", "1", "--out", "out", "--resume"])
        .current_dir(folder)
        .output()
        .unwrap();
    // Two iterations make no good energy: it may be refused, but the run is whole.
    assert!(matches!(resumed.status.code(), Some(0 | 3 | 4)), "{}", message(&resumed));
    assert!(folder.join("out/summary.json").exists());
}

#[test]
fn a_finished_run_goes_on_when_asked_and_refuses_what_it_cannot_mend() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let run = |extra: &[&'static str]| {
        [&["run", "spec.ron", "--quiet", "--out", "out", "--resume"], extra].concat()
    };
    fs::write(folder.join("spec.ron"), spec(3, 512)).unwrap();
    succeeds(folder, &run(&[]));
    let summary = read(folder.join("out/summary.json"));
    // Nothing to do: nothing is touched.
    succeeds(folder, &run(&[]));
    assert_eq!(read(folder.join("out/summary.json")), summary);
    let rows = |n: usize| assert_eq!(read(folder.join("out/energy.csv")).lines().count(), n + 1);
    rows(3);
    succeeds(folder, &run(&["--iterations", "5"]));
    rows(5);
    fails(folder, &run(&["--iterations", "4"]), "more than the 4 asked for");
    fails(folder, &run(&["--seed", "8", "--iterations", "6"]), "another seed");
    fs::write(folder.join("spec.ron"), spec(6, 300)).unwrap();
    fails(folder, &run(&[]), "another samples_per_iteration");
    fs::write(folder.join("spec.ron"), spec(6, 512)).unwrap();

    // A damaged checkpoint is refused; the one before it is offered, and taken when asked.
    let path = folder.join("out/checkpoint");
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let said = fails(folder, &run(&[]), "length or checksum");
    assert!(said.contains("--previous") && said.contains("after 5 iterations"), "{said}");
    rows(5);
    let text = String::from_utf8(whole).unwrap();
    fs::write(&path, text.replacen(env!("CARGO_PKG_VERSION"), "0.0.1", 1)).unwrap();
    fails(folder, &run(&[]), "made by version 0.0.1");
    fs::write(&path, "weylflow").unwrap();
    fails(folder, &run(&[]), "no header");
    fs::write(&path, text.replacen("checkpoint 2", "checkpoint 9", 1)).unwrap();
    fails(folder, &run(&[]), "format 9");
    succeeds(folder, &run(&["--previous"]));
    rows(6);
    fails(folder, &["run", "spec.ron", "--quiet", "--out", "out"], "--resume");
}

/// A process killed between the two renames of a checkpoint leaves one file with both names.
#[test]
fn a_checkpoint_that_has_both_names_is_followed_by_one_that_leaves_nothing() {
    use weylflow::store::checkpoint::Checkpoint;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("spec.ron"), spec(2, 300)).unwrap();
    succeeds(dir.path(), &["run", "spec.ron", "--quiet", "--out", "out"]);
    let out = dir.path().join("out");
    let (current, previous) = (out.join("checkpoint"), out.join("checkpoint.previous"));
    let bytes = fs::read(&current).unwrap();
    let checkpoint = Checkpoint::read(&current).unwrap();
    let _ = fs::remove_file(&previous);
    fs::hard_link(&current, &previous).unwrap();
    let names = || {
        let entries = fs::read_dir(&out).unwrap().flatten();
        let mut names: Vec<_> = entries.map(|e| e.file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    checkpoint.write(&out).unwrap();
    assert_eq!(names(), before);
    assert!(fs::read(&previous).unwrap() == bytes && fs::read(&current).unwrap() == bytes);
}

/// A body of another spec under the right header must not slip in.
#[test]
fn mutated_checkpoints_give_no_panic_and_no_partial_output() {
    use weylflow::store::checkpoint::Checkpoint;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    fs::write(folder.join("spec.ron"), spec(2, 300)).unwrap();
    succeeds(folder, &["run", "spec.ron", "--quiet", "--out", "out"]);
    let path = folder.join("out/checkpoint");
    let whole = fs::read(&path).unwrap();
    let body = &whole[whole.iter().position(|&b| b == b'\n').unwrap() + 1..];
    let mut rng = Pcg64::seed_from_u64(9);
    let mut mutate = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..5) {
                0 => bytes[at] ^= 1 << rng.random_range(0..8),
                1 => bytes.truncate(at.max(1)),
                2 => drop(bytes.remove(at)),
                3 => bytes.insert(at, rng.random_range(0..=255)),
                // A number becomes another, or none.
                _ => {
                    let words: [&[u8]; 5] =
                        [b"1e400", b"-1", b"99999999999999999999", b"null", b"[]"];
                    let word = words[rng.random_range(0..5)];
                    let digits = bytes[at..].iter().position(u8::is_ascii_digit).unwrap_or(0);
                    let from = (at + digits).min(bytes.len() - 1);
                    bytes.splice(from..from + 1, word.iter().copied());
                }
            }
        }
        bytes
    };
    let (mut refused, mut accepted) = (0, 0);
    for case in 0..400 {
        // Half of them get the checksum that belongs to the damage, and so are read.
        let bytes = if case % 2 == 0 { mutate(&whole) } else { Checkpoint::sealed(&mutate(body)) };
        match Checkpoint::parse(&bytes).map(|c| c.rows(&path).is_ok()) {
            Ok(true) => accepted += 1,
            _ => refused += 1,
        }
        // Some through the program.
        if case % 10 == 0 && bytes != whole {
            fs::write(&path, &bytes).unwrap();
            let before = results(&folder.join("out"));
            fails(
                folder,
                &["run", "spec.ron", "--quiet", "--out", "out", "--resume", "--iterations", "3"],
                "checkpoint",
            );
            assert_eq!(results(&folder.join("out")), before);
        }
    }
    println!("{refused} refused, {accepted} read");
    assert!(refused >= 300, "{refused} refused, {accepted} read");
}

#[test]
fn two_runs_do_not_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    fs::write(folder.join("spec.ron"), spec(1000, 4096)).unwrap();
    let mut child = start(folder, &["--out", "out", "--checkpoint-every", "1"]);
    wait_for(&folder.join("out/checkpoint"));
    for extra in ["--resume", "--overwrite"] {
        fails(
            folder,
            &["run", "spec.ron", "--quiet", "--out", "out", extra],
            "in use by another run",
        );
    }
    assert!(child.try_wait().unwrap().is_none());
    // A folder that goes away under a run is an error, not a loop.
    fs::rename(folder.join("out"), folder.join("gone")).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", message(&output));
    assert!(message(&output).contains("No such file"), "{}", message(&output));
    assert!(folder.join("gone/checkpoint").exists());
}

/// The program where any user may run it, and that user.
fn as_nobody(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.uid(65534).gid(65534).current_dir(folder);
    command
}

#[test]
fn a_read_only_folder_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.join("spec.ron"), spec(2, 64)).unwrap();
    let program = folder.join("weylflow");
    fs::copy(env!("CARGO_BIN_EXE_weylflow"), &program).unwrap();
    fs::create_dir(folder.join("out")).unwrap();
    fs::set_permissions(folder.join("out"), fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write anywhere; another user must stand in for it.
    let probe = Command::new("id").arg("-u").output().unwrap();
    let root = String::from_utf8_lossy(&probe.stdout).trim() == "0";
    let mut command = if root { as_nobody(&program, folder) } else { Command::new(&program) };
    let output = command
        .args(["run", "spec.ron", "--quiet", "--out", "out"])
        .current_dir(folder)
        .output()
        .unwrap();
    let said = message(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Permission denied") && said.contains("out"), "{said}");
    assert_eq!(fs::read_dir(folder.join("out")).unwrap().count(), 0);
}

#[test]
fn a_full_disk_is_an_error_and_the_last_checkpoint_stays() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    fs::write(folder.join("spec.ron"), spec(4000, 64)).unwrap();
    fs::create_dir(folder.join("disk")).unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs", "disk"])
        .current_dir(folder)
        .output();
    let mounted = mount.is_ok_and(|m| m.status.success());
    // Where nothing can be mounted, a limit on the size of files stands in for a small disk.
    let limit = if mounted { "" } else { "trap '' XFSZ; ulimit -f 24; " };
    let script = format!(
        "{limit}exec \"$0\" run spec.ron --quiet --threads 1 --out disk/out --checkpoint-every 1"
    );
    let output = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_weylflow")])
        .current_dir(folder)
        .output()
        .unwrap();
    let said = message(&output);
    let kept = fs::read(folder.join("disk/out/checkpoint"));
    if mounted {
        let _ = Command::new("umount").arg(folder.join("disk")).status();
    }
    assert_eq!(output.status.code(), Some(1), "{said}");
    let reason = if mounted { "No space left" } else { "File too large" };
    assert!(said.contains(reason) && said.contains("disk/out"), "{said}");
    let kept = weylflow::store::checkpoint::Checkpoint::parse(&kept.unwrap()).unwrap();
    assert!(kept.training.iteration > 0);
    println!("full after {} iterations; tmpfs: {mounted}", kept.training.iteration);
}
