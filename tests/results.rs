//! What a run leaves is not lost, not mixed with what another run leaves, and can be read again.
#![cfg(unix)]

mod common;

use common::{fails, read, succeeds, weylflow};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Instant;

/// A fermion in a trap: nothing is faster; `more` are further fields.
fn spec(iterations: usize, seed: u64, more: &str) -> String {
    pair(iterations, seed, more)
        .replace("(up: 2)", "(up: 1)")
        .replace("[Pair, PairInverse], pair_cells", "[Monotone], monotone_cells")
}

/// Two of them.
fn pair(iterations: usize, seed: u64, more: &str) -> String {
    format!(
        r#"(title: "trap", hamiltonian: Inline(title: "pair", external: Harmonic(),
        interaction: SoftCoulomb()), sector: (up: 2), geometry: Box(half_width: 6),
        wavefunction: Weyl(layers: [Pair, PairInverse], pair_cells: 8), samples_per_iteration: 256,
        iterations: {iterations}, final_samples: 1024, stopping: Never, seed: {seed}, reference: None, {more})"#
    )
}

/// A run whose every local energy is absurd.
fn refused(iterations: usize) -> String {
    let text = pair(iterations, 1, "").replace("SoftCoulomb()", "SoftCoulomb(strength: 1e300)");
    // Orbitals that know nothing of the interaction: those that do cannot be computed.
    text.replace("[Pair, PairInverse]", "[Pair], base: MeanField(orbitals: NonInteracting)")
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

/// The bytes of everything in a folder that does not depend on the time.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let names = ["spec.ron", "energy.csv", "wavefunction", "density.csv"];
    names.map(|name| (name.to_owned(), fs::read(folder.join(name)).unwrap())).to_vec()
}

/// The bytes of everything in a folder.
fn everything(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .flatten()
        .filter(|e| e.file_type().unwrap().is_file())
        .map(|e| (e.file_name().to_string_lossy().into_owned(), fs::read(e.path()).unwrap()))
        .collect();
    all.sort();
    all
}

fn exit_code(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = weylflow(folder, arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const MEASURE: [&str; 6] = ["--samples", "1024", "--replicates", "16", "--no-exact", "--quiet"];

fn measure(folder: &Path, more: &[&str]) {
    succeeds(folder, &[&["measure", "out"], &MEASURE[..], more].concat());
}

#[test]
fn a_run_that_fails_leaves_what_it_was_to_replace() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    write(here, "a.ron", &spec(2, 1, ""));
    write(here, "b.ron", &spec(3, 2, ""));
    write(here, "bad.ron", &refused(3));
    succeeds(here, &["run", "a.ron", "--quiet", "--out", "out"]);
    measure(here, &["--what", "energy"]);
    write(&here.join("out"), "notes.txt", "mine");
    let before = everything(&here.join("out"));
    let overwrite = |spec: &'static str| ["run", spec, "--quiet", "--out", "out", "--overwrite"];
    let said = fails(here, &overwrite("bad.ron"), "local energy");
    assert!(said.contains("untouched"), "{said}");
    assert_eq!(everything(&here.join("out")), before);
    // A spec that is wrong from the start as well.
    write(here, "worse.ron", &spec(3, 2, "").replace("half_width: 6", "half_width: -6"));
    fails(here, &overwrite("worse.ron"), "half_width");
    assert_eq!(everything(&here.join("out")), before);
    // One that ends replaces everything of the old run, and nothing else.
    succeeds(here, &["run", "b.ron", "--quiet", "--out", "fresh"]);
    succeeds(here, &overwrite("b.ron"));
    assert_eq!(contents(&here.join("out")), contents(&here.join("fresh")));
    let names = |folder: &str| -> Vec<String> {
        everything(&here.join(folder)).into_iter().map(|(name, _)| name).collect()
    };
    let left = names("out");
    assert!(left.contains(&"notes.txt".into()) && !left.iter().any(|n| n.contains("observables")));
    assert_eq!(left.len(), names("fresh").len() + 1, "{left:?}");
    assert_eq!(fs::read_dir(here.join("out")).unwrap().count(), left.len(), "a folder is left");
}

#[test]
fn a_run_that_is_killed_while_it_replaces_another_leaves_one_of_them_whole() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    write(here, "a.ron", &spec(2, 1, ""));
    write(here, "b.ron", &spec(8, 2, ""));
    succeeds(here, &["run", "a.ron", "--quiet", "--out", "a"]);
    let begin = Instant::now();
    succeeds(here, &["run", "b.ron", "--quiet", "--out", "b"]);
    let whole = begin.elapsed();
    let (a, b) = (contents(&here.join("a")), contents(&here.join("b")));
    let mut rng = Pcg64::seed_from_u64(4);
    let (mut old, mut new) = (0, 0);
    for _ in 0..12 {
        let _ = fs::remove_dir_all(here.join("out"));
        succeeds(here, &["run", "a.ron", "--quiet", "--out", "out"]);
        let mut child = Command::new(env!("CARGO_BIN_EXE_weylflow"))
            .args(["run", "b.ron", "--quiet", "--out", "out", "--overwrite"])
            .args(["--checkpoint-every", "1"])
            .current_dir(here)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        sleep(whole.mul_f64(rng.random_range(0.0..1.1)));
        child.kill().unwrap();
        child.wait().unwrap();
        // Whoever looks finds one of the two, readable.
        succeeds(here, &["report", "out"]);
        let found = contents(&here.join("out"));
        assert!(found == a || found == b);
        if found == a {
            old += 1
        } else {
            new += 1
        };
        // The results of the first go on, and so does the second run.
        if found == a {
            succeeds(here, &["sample", "out", "-n", "2", "--out", "x.npz", "--overwrite"]);
        }
        let begun = found == b || here.join("out/.weylflow-new/spec.ron").exists();
        let how = if begun { "--resume" } else { "--overwrite" };
        succeeds(here, &["run", "b.ron", "--quiet", "--out", "out", how]);
        assert_eq!(contents(&here.join("out")), b);
    }
    println!("{old} times the old results, {new} times the new ones");
    assert!(old > 0);
}

#[test]
fn observables_of_an_earlier_state_do_not_stand_beside_the_new_energy() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let out = here.join("out");
    write(here, "a.ron", &pair(2, 1, ""));
    let run = |more: &[&'static str]| [&["run", "a.ron", "--quiet", "--out", "out"], more].concat();
    succeeds(here, &run(&[]));
    measure(here, &["--what", "energy,density"]);
    let first = read(out.join("observables.json"));
    let json =
        |name: &str| -> serde_json::Value { serde_json::from_str(&read(out.join(name))).unwrap() };
    assert!(json("summary.json")["fingerprint"].is_string());
    assert_eq!(json("summary.json")["fingerprint"], json("observables.json")["fingerprint"]);
    let shown = "Measured numbers";
    assert!(read(out.join("report.html")).contains(shown));

    // More final samples are the same state; its observables stay.
    write(here, "a.ron", &pair(2, 1, "").replace("final_samples: 1024", "final_samples: 2048"));
    succeeds(here, &run(&["--resume"]));
    assert_eq!(json("summary.json")["samples"], 2048);
    assert!(read(out.join("report.html")).contains(shown));
    assert_eq!(read(out.join("observables.json")), first);

    // More iterations are another one.
    succeeds(here, &run(&["--resume", "--iterations", "4"]));
    for again in [false, true] {
        if again {
            succeeds(here, &["report", "out"]);
        }
        assert!(!out.join("observables.json").exists() && !out.join("observables.npz").exists());
        assert_eq!(read(out.join("observables.stale.json")), first);
        let page = read(out.join("report.html"));
        assert!(!page.contains(shown) && page.contains("observables.stale.json"));
    }
    measure(here, &["--what", "energy"]);
    let page = read(out.join("report.html"));
    assert!(page.contains(shown) && !page.contains("observables.stale.json"));
    succeeds(here, &["report", "out"]);
    assert_eq!(read(out.join("report.html")), page);

    // A file that came from elsewhere is found out.
    write(&out, "observables.json", &first);
    let said = exit_code(here, &["report", "out"]).2;
    assert!(said.contains("observables.stale.json"), "{said}");
    assert!(!read(out.join("report.html")).contains(shown));
    // Neither are the observables of a state that was never trained put there.
    let untrained = ["measure", "a.ron", "--out", "out", "--what", "energy"];
    fails(here, &[&untrained[..], &MEASURE].concat(), "another wavefunction");
    // What was projected goes the same way.
    let project = ["project", "out", "--walkers", "32", "--beta", "0.5", "--quiet"];
    let (code, _, said) = exit_code(here, &project);
    assert!(matches!(code, Some(0 | 3)), "{said}");
    let projected = read(out.join("projection.json"));
    let section = "<h2>Projection</h2>";
    assert!(read(out.join("report.html")).contains(section));
    succeeds(here, &run(&["--resume", "--iterations", "6"]));
    for _ in 0..2 {
        assert!(!out.join("projection.json").exists() && !out.join("projection.csv").exists());
        assert_eq!(read(out.join("projection.stale.json")), projected);
        let page = read(out.join("report.html"));
        assert!(!page.contains(section) && page.contains("projection.stale.json"));
        succeeds(here, &["report", "out"]);
    }
    write(&out, "projection.json", &projected);
    let said = exit_code(here, &["report", "out"]).2;
    assert!(said.contains("projection.stale.json") && !out.join("projection.json").exists());
    // The table of other iterations is noticed.
    let table = read(out.join("energy.csv"));
    let fewer = table.lines().take(3).collect::<Vec<_>>().join("\n");
    write(&out, "energy.csv", &fewer);
    succeeds(here, &["report", "out"]);
    assert!(read(out.join("report.html")).contains("2 iterations and summary.json tells of 6"));
}

#[test]
fn a_refused_run_stays_refused_and_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    write(here, "bad.ron", &refused(0));
    let run = ["run", "bad.ron", "--quiet", "--out", "out"];
    let (code, _, first) = exit_code(here, &run);
    assert_eq!(code, Some(3), "{first}");
    assert!(read(here.join("out/summary.json")).contains("\"energy\": null"));
    let (code, _, again) = exit_code(here, &[&run[..], &["--resume"]].concat());
    assert_eq!((code, again), (Some(3), first));
    let (code, _, said) = exit_code(here, &["report", "out"]);
    assert!(code == Some(0) && said.contains("was refused"), "{said}");
    let page = read(here.join("out/report.html"));
    // Energies of hundreds of digits have a power of ten.
    assert!(page.contains("Refused: ") && !page.contains(&"0".repeat(40)));
    // Everything that can be measured is, and the rest is named.
    let measure_it = [&["measure", "out"], &MEASURE[..5]].concat();
    let (code, terminal, said) = exit_code(here, &measure_it);
    assert_eq!(code, Some(3), "{said}");
    assert!(terminal.contains("NaN") && said.contains("no density_matrix"), "{terminal}{said}");
    assert!(here.join("out/observables.json").is_file());
    succeeds(here, &["report", "out"]);
    for command in [
        ["sample", "out", "-n", "2", "--out", "x.npz"],
        ["evaluate", "out", "--points", "points.npz", "--out", "y.npz"],
    ] {
        use weylflow::store::npz::{Array, write_npz};
        let points = Array::new("x", vec![1, 2], vec![-0.5, 0.5]);
        write_npz(&here.join("points.npz"), &[points]).unwrap();
        let (code, _, said) = exit_code(here, &command);
        assert!(code == Some(0) && said.contains("was refused"), "{said}");
    }

    // A healthy state whose energy was refused for another reason: its numbers are there, and said to be refused.
    write(here, "good.ron", &spec(2, 1, ""));
    succeeds(here, &["run", "good.ron", "--quiet", "--out", "good"]);
    let path = here.join("good/summary.json");
    let summary = read(path.clone()).replace("\"refusals\": []", "\"refusals\": [\"a test\"]");
    fs::write(&path, summary).unwrap();
    let measure = |what: &'static str| {
        exit_code(
            here,
            &[&["measure", "good", "--overwrite", "--what", what], &MEASURE[..]].concat(),
        )
    };
    let (code, _, said) = measure("energy");
    assert!(code == Some(3) && said.contains("a test"), "{said}");
    assert!(here.join("good/observables.json").is_file());
    let (code, _, said) = measure("position");
    assert!(code == Some(0) && said.contains("a test"), "{said}");
    // What was deleted is made again.
    fs::remove_file(&path).unwrap();
    succeeds(here, &["run", "good.ron", "--quiet", "--out", "good", "--resume"]);
    assert!(read(path).contains("\"refusals\": []"));
}

#[test]
fn inputs_are_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let own = here.join("own");
    fs::create_dir(&own).unwrap();
    let text = format!("// My own comment.\n{}", spec(1, 1, ""));
    write(&own, "spec.ron", &text);
    symlink(&own, here.join("linked")).unwrap();
    symlink("own/spec.ron", here.join("soft.ron")).unwrap();
    fs::hard_link(own.join("spec.ron"), here.join("hard.ron")).unwrap();
    let message = "is an input";
    for more in ["--resume", "--overwrite"] {
        for (spec, out) in [
            ("own/spec.ron", "own"),
            ("own/spec.ron", "./own/../own"),
            ("own/spec.ron", "linked"),
            ("linked/spec.ron", "own"),
            ("soft.ron", "own"),
            ("hard.ron", "own"),
        ] {
            fails(here, &["run", spec, "--quiet", "--out", out, more], message);
        }
        fails(&own, &["run", "spec.ron", "--quiet", "--out", ".", more], message);
        assert_eq!(read(own.join("spec.ron")), text);
        assert_eq!(fs::read_dir(&own).unwrap().count(), 1);
    }
    // The Hamiltonian that a spec names, under the name of a result.
    fs::create_dir(here.join("other")).unwrap();
    let hamiltonian = "(external: Harmonic(), interaction: SoftCoulomb())";
    write(&here.join("other"), "density.csv", hamiltonian);
    let inline =
        "Inline(title: \"pair\", external: Harmonic(),\n        interaction: SoftCoulomb())";
    let named = spec(1, 1, "").replace(inline, "File(\"other/density.csv\")");
    write(here, "named.ron", &named);
    let run = ["run", "named.ron", "--quiet", "--out"];
    fails(here, &[&run[..], &["other", "--overwrite"]].concat(), message);
    assert_eq!(read(here.join("other/density.csv")), hamiltonian);
    // What a run has written may be run again where it is.
    succeeds(here, &[&run[..], &["out"]].concat());
    let own = ["run", "out/spec.ron", "--quiet", "--out", "out"];
    succeeds(here, &[&own[..], &["--resume"]].concat());
    succeeds(here, &[&own[..], &["--overwrite"]].concat());
    fails(here, &[&own[..], &["--resume", "--iterations", "2"]].concat(), message);

    // The other commands.
    succeeds(here, &["sample", "out", "-n", "3", "--out", "x.npz"]);
    let samples = fs::read(here.join("x.npz")).unwrap();
    for out in ["x.npz", "./x.npz", "link.npz"] {
        if out == "link.npz" {
            symlink("x.npz", here.join(out)).unwrap();
        }
        let evaluate = ["evaluate", "out", "--points", "x.npz", "--overwrite", "--out", out];
        fails(here, &evaluate, message);
    }
    assert_eq!(fs::read(here.join("x.npz")).unwrap(), samples);
    symlink("out/wavefunction", here.join("wave.npz")).unwrap();
    fails(here, &["sample", "out", "--overwrite", "--out", "wave.npz"], message);
    symlink("out/energy.csv", here.join("page.html")).unwrap();
    fails(here, &["report", "out", "--overwrite", "--out", "page.html"], message);
    // The table beside a comparison.
    let both = ["report", "out", "./out", "--overwrite", "--out", "out/energy.html"];
    fails(here, &both, message);
    write(here, "table.csv", &named);
    fails(here, &["exact", "table.csv", "--overwrite", "--density", "./table.csv"], message);
    fails(
        here,
        &["exact", "named.ron", "--overwrite", "--occupations", "other/density.csv"],
        message,
    );
    fs::create_dir(here.join("m")).unwrap();
    write(&here.join("m"), "observables.csv", &named.replace("other/", "../other/"));
    let measure = ["measure", "m/observables.csv", "--out", "m", "--overwrite"];
    fails(here, &[&measure[..], &MEASURE].concat(), message);
}

/// On the old code these hang, grow without end, or write into the wrong file.
#[test]
fn pipes_devices_and_links_are_neither_waited_for_nor_followed() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let out = here.join("out");
    write(here, "a.ron", &spec(1, 1, ""));
    succeeds(here, &["run", "a.ron", "--quiet", "--out", "out"]);
    let pipe = |name: &str| {
        let _ = fs::remove_file(out.join(name));
        assert!(Command::new("mkfifo").arg(out.join(name)).status().unwrap().success());
    };
    let link = |name: &str, to: &Path| {
        let _ = fs::remove_file(out.join(name));
        symlink(to, out.join(name)).unwrap();
    };
    let odd = "not a regular file";
    let resume = ["run", "a.ron", "--quiet", "--out", "out", "--resume", "--iterations", "2"];
    let keep = |name: &str| fs::read(out.join(name)).unwrap();
    let checkpoint = keep("checkpoint");
    pipe("checkpoint");
    fails(here, &resume, odd);
    link("checkpoint", Path::new("/dev/zero"));
    fails(here, &resume, odd);
    fs::remove_file(out.join("checkpoint")).unwrap();
    fs::write(out.join("checkpoint"), checkpoint).unwrap();
    pipe(".lock");
    fails(here, &resume, odd);
    let precious = here.join("precious");
    fs::write(&precious, "precious").unwrap();
    link(".lock", &precious);
    fails(here, &resume, "link");
    fs::remove_file(out.join(".lock")).unwrap();
    for name in
        ["summary.json", "wavefunction", "energy.csv", "density.csv", "spec.ron", "timing.csv"]
    {
        let content = keep(name);
        for device in [false, true] {
            if device {
                link(name, Path::new("/dev/zero"))
            } else {
                pipe(name)
            };
            if name != "timing.csv" && name != "wavefunction" {
                fails(here, &["report", "out"], odd);
            }
            if name == "wavefunction" {
                fails(here, &["sample", "out", "--out", "x.npz"], odd);
            }
        }
        fs::remove_file(out.join(name)).unwrap();
        fs::write(out.join(name), content).unwrap();
    }
    // Written files replace links, and leave what they lead to.
    for name in ["energy.csv.partial", "report.html", "summary.json", "observables.csv"] {
        link(name, &precious);
    }
    succeeds(here, &resume);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    for name in ["energy.csv", "report.html", "summary.json"] {
        assert!(fs::symlink_metadata(out.join(name)).unwrap().is_file(), "{name}");
    }
    // A table of faults that is a link is not appended to.
    link("faults.csv", &precious);
    write(here, "bad.ron", &refused(0));
    weylflow(here, &["run", "bad.ron", "--quiet", "--out", "out", "--overwrite"]);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    fails(here, &["sample", "out", "--overwrite", "--out", "/dev/null.npz/x.npz"], "cannot write");
    fs::create_dir(here.join("folder.npz")).unwrap();
    fails(here, &["sample", "out", "-n", "2", "--overwrite", "--out", "folder.npz"], "folder");
    pipe("x.csv");
    fails(here, &["exact", "a.ron", "--overwrite", "--density", "out/x.csv"], odd);
}

#[test]
fn an_interrupted_run_is_told_from_none() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    write(here, "bad.ron", &spec(2000, 1, ""));
    let mut child = Command::new(env!("CARGO_BIN_EXE_weylflow"))
        .args(["run", "bad.ron", "--quiet", "--out", "out", "--checkpoint-every", "1"])
        .current_dir(here)
        .spawn()
        .unwrap();
    while !here.join("out/checkpoint").exists() {
        sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for command in [
        &["report", "out"][..],
        &["measure", "out"],
        &["sample", "out", "--out", "x.npz"],
        &["evaluate", "out", "--points", "p.npz", "--out", "x.npz"],
    ] {
        let said = fails(here, command, "not the output folder of a finished");
        for part in ["--resume", "of 2000 iterations", "energy.csv.partial"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    fs::create_dir(here.join("empty")).unwrap();
    for folder in ["empty", "none", "bad.ron"] {
        let said = fails(here, &["report", folder], "not the output folder of a finished");
        assert!(!said.contains("--resume"), "{said}");
    }
}

#[test]
fn other_results_are_neither_replaced_nor_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let title = "a\\u{1b}[31mb\\nE = 7\\u{9b}2J";
    let a = spec(2, 1, "").replace("\"trap\"", &format!("\"{title}\""));
    write(here, "a.ron", &a);
    let output = weylflow(here, &["run", "a.ron", "--out", "out"]);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success() && said.contains("\\u{1b}[31mb\\nE = 7"), "{said}");
    assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{said:?}");

    // Exact tables.
    let exact = ["exact", "a.ron", "--density", "d.csv", "--occupations"];
    fails(here, &[&exact[..], &["./d.csv"]].concat(), "two tables");
    fails(here, &[&exact[..], &["o.npz"]].concat(), ".csv");
    succeeds(here, &[&exact[..], &["o.csv"]].concat());
    let table = read(here.join("d.csv"));
    write(here, "d.csv", "mine");
    fails(here, &[&exact[..], &["new.csv"]].concat(), "--overwrite");
    assert_eq!(read(here.join("d.csv")), "mine");
    assert!(!here.join("new.csv").exists());
    succeeds(here, &[&exact[..], &["new.csv", "--overwrite"]].concat());
    assert_eq!(read(here.join("d.csv")), table);

    // Names that promise another format.
    fails(here, &["sample", "out", "--out", "z.csv"], ".npz");
    fails(here, &["evaluate", "out", "--points", "p.npz", "--out", "z.csv"], ".npz");
    fails(here, &["report", "out", "--out", "z.csv"], ".html");

    // Measuring one thing again does not drop the others.
    let out = here.join("out");
    let observables = || {
        let json: serde_json::Value =
            serde_json::from_str(&read(out.join("observables.json"))).unwrap();
        let all = json["measurements"].as_array().unwrap().iter();
        all.map(|m| m["observable"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    measure(here, &["--what", "density,position"]);
    measure(here, &["--what", "energy,density", "--overwrite"]);
    assert_eq!(observables(), ["energy", "position", "density"]);
    let before = read(out.join("observables.json"));
    measure(here, &["--what", "energy", "--overwrite", "--seed", "9"]);
    assert_eq!(observables(), ["energy"]);
    assert_eq!(read(out.join("observables.previous.json")), before);

    // The lower bound needs an energy above.
    let kept = read(out.join("observables.json"));
    let bound = |excited: &'static str| {
        let energy = ["measure", "out", "--what", "energy", "--overwrite", "--first-excited"];
        [&energy[..], &[excited], &MEASURE].concat()
    };
    for (excited, message) in
        [("0.3", "not above the energy"), ("nan", "finite"), ("inf", "finite")]
    {
        fails(here, &bound(excited), message);
        assert_eq!(read(out.join("observables.json")), kept);
    }
    succeeds(here, &bound("1.5"));
    assert!(read(out.join("observables.json")).contains("temple_bound"));
}

#[test]
fn a_sector_of_spin_down_has_what_one_of_spin_up_has() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    write(here, "up.ron", &pair(1, 1, ""));
    write(here, "down.ron", &pair(1, 1, "").replace("(up: 2)", "(up: 0, down: 2)"));
    let what = ["--what", "energy,density,density_matrix,pair_density,distance"];
    let [up, down] = ["up", "down"].map(|name| {
        let out = format!("out/{name}");
        succeeds(here, &["run", &format!("{name}.ron"), "--quiet"]);
        let page = read(here.join(&out).join("report.html"));
        succeeds(here, &["report", &out]);
        assert_eq!(read(here.join(&out).join("report.html")), page);
        succeeds(here, &[&["measure", &out], &MEASURE[..], &what].concat());
        here.join(out)
    });
    assert_eq!(read(down.join("density.csv")), read(up.join("density.csv")).replace("up", "down"));
    assert_eq!(read(down.join("density.csv")).lines().count(), 101);
    assert_eq!(read(down.join("energy.csv")), read(up.join("energy.csv")));
    assert_eq!(
        read(down.join("observables.csv")),
        read(up.join("observables.csv")).replace("_up", "_down")
    );
    let figures = |page: String| page.matches("<figure>").count();
    assert_eq!(figures(read(down.join("report.html"))), figures(read(up.join("report.html"))));
    assert!(read(down.join("report.html")).contains("spin down"));
}

#[test]
fn byte_order_marks_and_other_titles_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let mark = "\u{feff}";
    let inline =
        "Inline(title: \"pair\", external: Harmonic(),\n        interaction: SoftCoulomb())";
    let text = spec(2, 1, "").replace(inline, "File(\"h.ron\")");
    let hamiltonian = "(title: \"pair\", external: Harmonic(), interaction: SoftCoulomb())";
    write(here, "plain.ron", &text);
    write(here, "h.ron", hamiltonian);
    let plain = succeeds(here, &["check", "plain.ron"]);
    write(here, "marked.ron", &format!("{mark}{text}"));
    write(here, "h.ron", &format!("{mark}{hamiltonian}"));
    assert_eq!(succeeds(here, &["check", "marked.ron"]), plain);
    succeeds(here, &["exact", "h.ron", "--up", "1"]);
    // Columns are those that an editor shows.
    write(here, "wrong.ron", &format!("{mark}(titel: 1)"));
    fails(here, &["check", "wrong.ron"], "wrong.ron:1:2:");
    // Only at the beginning.
    write(here, "inside.ron", &text.replace("sector", &format!("{mark}sector")));
    fails(here, &["check", "inside.ron"], "inside.ron:");

    let run = ["run", "plain.ron", "--quiet", "--out", "out", "--resume"];
    succeeds(here, &run);
    let energy = read(here.join("out/energy.csv"));
    // Tables that a spreadsheet wrote.
    for name in ["energy.csv", "density.csv", "spec.ron", "summary.json"] {
        let text = read(here.join("out").join(name));
        write(&here.join("out"), name, &format!("{mark}{text}"));
    }
    succeeds(here, &["report", "out"]);
    write(here, "h.ron", &hamiltonian.replace("pair", "two in a trap"));
    succeeds(here, &run);
    assert_eq!(read(here.join("out/energy.csv")), energy);
    assert!(read(here.join("out/spec.ron")).contains("two in a trap"));
    assert!(read(here.join("out/report.html")).contains("two in a trap"));
    write(here, "h.ron", &hamiltonian.replace("Harmonic()", "Harmonic(frequency: 2)"));
    fails(here, &run, "another hamiltonian");
}

#[test]
fn nuclei_in_different_parts_repel_in_the_report() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let text = r#"(title: "two", hamiltonian: Inline(external: Sum([Nuclei(charges: [1], positions: [-1]),
        Nuclei(charges: [1], positions: [1])]), interaction: SoftCoulomb()), sector: (up: 1, down: 1),
        geometry: Box(half_width: 12))"#;
    write(here, "two.ron", text);
    let found = succeeds(here, &["exact", "two.ron", "--json", "--tolerance", "1e-5"]);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert!((found["nuclear_repulsion"].as_f64().unwrap() - 0.2f64.sqrt()).abs() < 1e-12);
}
