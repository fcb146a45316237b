//! `weylflow sample`, `evaluate`, `measure` and `report` through the program itself.

mod common;

use common::{fails, read, succeeds};
use weylflow::store::npz::{Array, read_npz, write_npz};

const SPEC: &str = r#"(
    title: "quick pair",
    hamiltonian: Inline(
        external: Nuclei(charges: [2], positions: [0.5]),
        interaction: SoftCoulomb(),
    ),
    sector: (up: 1, down: 1),
    geometry: Box(half_width: 8),
    wavefunction: Waveflow(hidden: [6], knots: 6, prior_knots: 6),
    samples_per_iteration: 500,
    iterations: 4,
    final_samples: 2000,
    seed: 7,
    reference: None,
)"#;

fn array(arrays: &[Array], name: &str) -> Array {
    arrays.iter().find(|a| a.name == name).unwrap_or_else(|| panic!("{name}")).clone()
}

#[test]
fn a_finished_run_can_be_sampled_evaluated_measured_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("pair.ron"), SPEC).unwrap();
    succeeds(here, &["run", "pair.ron", "--quiet"]);
    succeeds(here, &["run", "pair.ron", "--quiet", "--seed", "8", "--out", "out/second"]);

    succeeds(here, &["sample", "out/pair", "-n", "300", "--out", "samples.npz"]);
    let samples = read_npz(&here.join("samples.npz")).unwrap();
    assert_eq!(array(&samples, "x").shape, [300, 2]);
    assert_eq!(array(&samples, "spin").values, [0.5, -0.5]);
    fails(here, &["sample", "out/pair", "-n", "300", "--out", "samples.npz"], "--overwrite");
    let first = std::fs::read(here.join("samples.npz")).unwrap();
    succeeds(here, &["sample", "out/pair", "-n", "300", "--out", "samples.npz", "--overwrite"]);
    assert_eq!(first, std::fs::read(here.join("samples.npz")).unwrap());

    // The samples go back in: their local energies are the same, and so is psi by finite differences.
    let evaluate = ["evaluate", "out/pair", "--points"];
    succeeds(here, &[&evaluate[..], &["samples.npz", "--out", "values.npz"]].concat());
    let values = read_npz(&here.join("values.npz")).unwrap();
    for (a, b) in
        array(&values, "local_energy").values.iter().zip(array(&samples, "local_energy").values)
    {
        assert!((a - b).abs() < 1e-9 * b.abs().max(1.0), "{a} {b}");
    }
    let h = 1e-5;
    let x = array(&samples, "x").values[..2].to_vec();
    let shifted = vec![x[0] - h, x[1], x[0] + h, x[1]];
    write_npz(&here.join("points.npz"), &[Array::new("any", vec![2, 2], shifted)]).unwrap();
    succeeds(here, &[&evaluate[..], &["points.npz", "--out", "shifted.npz"]].concat());
    let log = array(&read_npz(&here.join("shifted.npz")).unwrap(), "log_abs_psi").values;
    let gradient = array(&values, "gradient").values[0];
    assert!(((log[1] - log[0]) / (2.0 * h) - gradient).abs() < 1e-6, "{gradient}");

    for (shape, coordinates, message) in [
        (vec![2], vec![0.0, 1.0], "(points, 2)"),
        (vec![1, 3], vec![0.0, 1.0, 2.0], "(points, 2)"),
        (vec![1, 2], vec![0.0, 9.0], "not between -8 and 8"),
        (vec![1, 2], vec![f64::NAN, 0.0], "not between -8 and 8"),
    ] {
        write_npz(&here.join("bad.npz"), &[Array::new("x", shape, coordinates)]).unwrap();
        fails(here, &[&evaluate[..], &["bad.npz", "--out", "bad_values.npz"]].concat(), message);
    }
    std::fs::write(here.join("bad.npz"), "no archive").unwrap();
    fails(here, &[&evaluate[..], &["bad.npz", "--out", "b.npz"]].concat(), "not a readable .npz");
    fails(here, &["sample", "out", "--out", "b.npz"], "not the output folder of a finished");

    let measure = ["measure", "out/pair", "--samples", "2048", "--replicates", "16"];
    let text = succeeds(here, &measure);
    for name in ["energy", "virial_ratio", "fidelity", "occupations", "zero_variance_energy"] {
        // The extrapolation needs more iterations than this run has.
        assert_eq!(text.contains(name), name != "zero_variance_energy", "{name}\n{text}");
    }
    fails(here, &measure, "--overwrite");
    fails(here, &[&measure[..], &["--what", "energie"]].concat(), "did you mean `energy`?");
    let out = here.join("out/pair");
    let observables = read_npz(&out.join("observables.npz")).unwrap();
    // All occupations sum to the number of particles; the few that are kept nearly do.
    let total: f64 = array(&observables, "occupations").values.iter().sum();
    assert!((total - 2.0).abs() < 1e-3, "{total}");
    let density = array(&observables, "smooth_density_up");
    let x = array(&observables, "smooth_density_up_axis0").values;
    let total: f64 = density.values.iter().sum::<f64>() * (x[1] - x[0]);
    assert!((total - 1.0).abs() < 1e-9, "{total}");
    // A spec is measured as training would find it, with the same bits for any number of threads.
    std::fs::write(here.join("equal.ron"), SPEC.replace("up: 1, down: 1", "up: 2")).unwrap();
    let json = ["1", "2"].map(|threads| {
        let what = ["--what", "energy,density_matrix", "--samples", "1024", "--no-exact"];
        let out = ["measure", "equal.ron", "--out", threads, "--threads", threads, "--quiet"];
        succeeds(here, &[&out[..], &what[..]].concat());
        read(here.join(threads).join("observables.json"))
    });
    assert!(json[0] == json[1], "the number of threads changes the result");

    let page = || read(out.join("report.html"));
    let with_figures = page();
    for title in ["Momentum distribution", "Pair density, spins up and down", "Natural orbitals"] {
        assert!(with_figures.contains(title), "{title}");
    }
    std::fs::remove_file(out.join("report.html")).unwrap();
    succeeds(here, &["report", "out/pair"]);
    assert_eq!(page(), with_figures);
    fails(here, &["report", "out/pair", "out/second"], "--out");
    fails(here, &["report", "out/third"], "not the output folder of a finished");
    succeeds(here, &["report", "out/pair", "out/second", "--out", "both.html"]);
    let both = read(here.join("both.html"));
    assert!(
        both.contains("Parameters against error")
            && both.contains("href=\"out/second/report.html\">second</a>")
    );
    assert!(both.contains("One-body density, spin up") && both.contains("href=\"both.csv\""));
    let table = read(here.join("both.csv"));
    let mut lines = table.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let rows: Vec<Vec<&str>> = lines.map(|l| l.split(',').collect()).collect();
    assert_eq!(rows.iter().map(|r| r[0]).collect::<Vec<_>>(), ["pair", "second"]);
    let energy = header.iter().position(|h| *h == "total_energy").unwrap();
    let summary: serde_json::Value =
        serde_json::from_str(&read(here.join("out/second/summary.json"))).unwrap();
    assert_eq!(rows[1][energy].parse::<f64>().ok(), summary["total_energy"].as_f64());
    fails(here, &["report", "out/pair", "out/second", "--out", "new.csv"], "end in `.html`");
    fails(here, &["report", "out/pair", "out/second", "--out", "both.html"], "--overwrite");
}

#[test]
fn shells_and_manuals_know_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_weylflow")).args(args).output().unwrap()
    };
    let bash = run(&["completions", "bash"]);
    assert!(bash.status.success());
    let bash = String::from_utf8(bash.stdout).unwrap();
    assert!(bash.contains("measure") && bash.contains("--overwrite"));
    assert!(!run(&["completions", "dish"]).status.success());
    assert!(run(&["man", "--out", dir.path().to_str().unwrap()]).status.success());
    let page = std::fs::read_to_string(dir.path().join("weylflow-run.1")).unwrap();
    assert!(page.contains("checkpoint") && page.starts_with(".ie") || page.contains(".TH"));
    assert!(!run(&["man", "--out", dir.path().join("none").to_str().unwrap()]).status.success());
}
