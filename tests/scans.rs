//! `weylflow run` of a spec with a scan: what it leaves, and its exit codes.

mod common;

use common::said;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const SPEC: &str = r#"(
    title: "two in a trap", parameters: {"k": 1.0, "g": 1.0},
    hamiltonian: Inline(external: Formula("k*x^2/2"), interaction: SoftCoulomb(strength: "g")),
    sector: (up: 2), geometry: Line,
    wavefunction: Weyl(base: MeanField(orbitals: HartreeFock)),
    iterations: 1, samples_per_iteration: 256, final_samples: 2048, scramblings: 4,
    scan: (parameter: "k", values: List([1, -1, 2]), method: Independent),
)"#;

#[test]
fn a_scan_leaves_a_curve_and_the_exit_code_of_its_worst_point() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("trap.ron"), SPEC).unwrap();
    let (code, out, err) = said(folder.path(), &["run", "trap.ron", "--threads", "1"]);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(
        err.contains("point 2 failed: trap.ron:3:") && err.contains("1 of 3 points failed: k = -1"),
        "{err}"
    );
    let table = fs::read_to_string(at("out/trap/curve.csv")).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|l| l.split(',').collect()).collect();
    let column = |name: &str| rows[0].iter().position(|c| *c == name).unwrap();
    assert_eq!(rows.len(), 4);
    assert_eq!((rows[1][0], rows[2][column("verdict")], rows[3][0]), ("1.0", "failed", "2.0"));
    for row in [&rows[1], &rows[3]] {
        let number = |name: &str| row[column(name)].parse::<f64>().unwrap();
        assert!((number("energy") - number("reference") - number("deviation")).abs() < 1e-12);
        assert!(number("deviation").abs() < 1e-2 && number("derivative") > 0.0, "{row:?}");
        let off = number("derivative") - number("reference_derivative");
        assert!(off.abs() < 1e-2, "{row:?}");
    }
    let page = fs::read_to_string(at("out/trap/report.html")).unwrap();
    for words in [
        "points/01/report.html",
        "failed: trap.ron:3:",
        "id=\"curve\"",
        "id=\"slope\"",
        "id=\"densities\"",
    ] {
        assert!(page.contains(words), "{words}");
    }
    for name in ["points/01/summary.json", "points/03/wavefunction"] {
        assert!(at("out/trap").join(name).is_file(), "{name}");
    }
    // What is in a point's folder is a spec of its own.
    let spec = fs::read_to_string(at("out/trap/points/03/spec.ron")).unwrap();
    assert!(!spec.contains("parameters") && spec.contains("two in a trap, k = 2"), "{spec}");

    // Between the points, with the state of the nearest one, and not beyond them.
    let evaluate = |at: &str| said(folder.path(), &["evaluate", "out/trap", "--at", at, "--json"]);
    let (code, out, err) = evaluate("k=1.75");
    assert_ne!(code, Some(1), "{err}");
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    let off = found["reference"]["deviation"].as_f64().unwrap();
    assert!(off.abs() < 1e-2 && found["slopes"]["k"]["electronic"].as_f64() > Some(0.0), "{out}");
    assert!(found["from"].as_str().unwrap().contains("nearest point, k = 2"), "{out}");
    let (code, _, err) = evaluate("k=2.5");
    assert!(code == Some(1) && err.contains("from -1 to 2"), "{err}");

    // Results are in the way of a second scan, and one point alone may go on.
    let (code, _, err) = said(folder.path(), &["run", "trap.ron"]);
    assert!(code == Some(1) && err.contains("--overwrite"), "{err}");
    let (code, _, err) =
        said(folder.path(), &["run", "trap.ron", "--only", "3", "--resume", "--quiet"]);
    assert_ne!(code, Some(1), "{err}");
    let (code, _, err) = said(folder.path(), &["run", "trap.ron", "--only", "5", "--resume"]);
    assert!(code == Some(1) && err.contains("there are 3 points"), "{err}");
}

/// Everything in a folder and below, by name, but what depends on the time.
fn everything(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            let below = everything(&entry.path()).into_iter();
            all.extend(below.map(|(n, bytes)| (format!("{name}/{n}"), bytes)));
        } else {
            all.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    all
}

/// One particle, whose points cost nothing; `None` for what no sample has a sensible energy of.
fn one(values: &str, strength: &str) -> String {
    format!(
        r#"(title: "one", parameters: {{"k": 1.0}}, sector: (up: 2), geometry: Box(half_width: 6),
        hamiltonian: Inline(external: Harmonic(frequency: "k"), interaction: SoftCoulomb(strength: {strength})),
        wavefunction: Weyl(layers: [Pair], pair_cells: 8, base: MeanField(orbitals: NonInteracting)),
        iterations: 1, samples_per_iteration: 64, final_samples: 1024, scramblings: 4, reference: None,
        scan: (parameter: "k", values: List({values}), method: Independent))"#
    )
}

#[test]
fn a_scan_replaces_another_as_a_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a.ron"), one("[1, 2, 3]", "1")).unwrap();
    fs::write(at("b.ron"), one("[1.5, 2.5]", "1")).unwrap();
    fs::write(at("bad.ron"), one("[1.5, 2.5]", "1e300")).unwrap();
    let run = |spec: &str, out: &str, how: &[&str]| {
        let common = ["run", spec, "--out", out, "--quiet", "--threads", "1"];
        said(folder.path(), &[&common, how].concat())
    };
    assert_ne!(run("a.ron", "out", &[]).0, Some(1));
    fs::write(at("out/points/03/mine.txt"), "mine").unwrap();
    let before = everything(&at("out"));
    // No point of it has a result.
    let (code, _, err) = run("bad.ron", "out", &["--overwrite"]);
    assert!(code == Some(1) && err.contains("untouched"), "{err}");
    assert!(everything(&at("out")) == before);
    // One that was killed after its first point.
    let new = at("out/.weylflow-new-scan");
    assert_ne!(run("b.ron", "other", &[]).0, Some(1));
    fs::create_dir_all(new.join("points")).unwrap();
    fs::copy(at("other/scan.json"), new.join("scan.json")).unwrap();
    assert_ne!(run("a.ron", "out", &["--resume"]).0, Some(1));
    assert!(new.is_dir(), "that of the scan in place goes on with that");
    assert_ne!(run("b.ron", "out", &["--resume"]).0, Some(1));
    let after = everything(&at("out"));
    for name in ["points/01/energy.csv", "points/02/wavefunction", "points/02.json", "scan.json"] {
        assert!(after[name] == fs::read(at("other").join(name)).unwrap(), "{name}");
    }
    let left: Vec<_> =
        after.keys().filter(|n| n.starts_with("points/03") || n.starts_with('.')).collect();
    assert_eq!(left, ["points/03/mine.txt"]);
    assert_eq!(String::from_utf8_lossy(&after["curve.csv"]).lines().count(), 3);

    // A scan and a run have no folder in common: a report would be that of one beside the numbers of the other.
    let single = one("[1]", "1").replace(", method: Independent", "");
    let single = single.split(",\n        scan:").next().unwrap().to_owned() + ")";
    fs::write(at("single.ron"), single).unwrap();
    assert_ne!(run("single.ron", "run", &[]).0, Some(1));
    for (spec, out) in [("single.ron", "out"), ("a.ron", "run")] {
        let before = everything(&at(out));
        for how in ["--overwrite", "--resume"] {
            let (code, _, err) = run(spec, out, &[how]);
            assert!(code == Some(1) && err.contains("holds the results of a"), "{err}");
            assert!(everything(&at(out)) == before);
        }
    }
}

#[test]
fn parameters_are_set_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("trap.ron"), SPEC).unwrap();
    let run = |arguments: &[&str]| said(folder.path(), arguments);
    let (code, out, err) = run(&["check", "trap.ron", "--set", "k=3", "--set", "g=0.5"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.contains("3.0*x^2/2") && out.contains("strength: 0.5") && out.contains("// k = 3.0"),
        "{out}"
    );
    let (code, _, err) = run(&["check", "trap.ron", "--set", "K=3"]);
    assert!(
        code == Some(1) && err.contains("trap.ron:2:") && err.contains("did you mean `k`?"),
        "{err}"
    );
    let (code, _, err) = run(&["run", "trap.ron", "--set", "k"]);
    assert!(code == Some(2) && err.contains("NAME=VALUE"), "{err}");
    let (code, out, err) = run(&["exact", "trap.ron", "--set", "k=4", "--set", "g=0", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    // Two equal spins of frequency 2.
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    let energy = found["energies"][0].as_f64().unwrap();
    assert!((energy - 4.0).abs() < 1e-7, "{found}");
}
