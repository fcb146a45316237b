//! `weylflow run` end to end through the program itself: its files, its determinism, its refusals.

mod common;

use common::{ended, fails, read, said, succeeds, weylflow};

const SPEC: &str = r#"(
    title: "quick pair",
    hamiltonian: Inline(external: Harmonic(), interaction: SoftCoulomb()),
    sector: (up: 2),
    geometry: Box(half_width: 8),
    wavefunction: Waveflow(hidden: [6], knots: 6, prior_knots: 6),
    samples_per_iteration: 500,
    iterations: 6,
    final_samples: 5000,
    seed: 7,
)"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("quick.ron"), SPEC).unwrap();
    folder
}

/// The table without its last column, the time.
fn without_time(csv: &str) -> Vec<&str> {
    csv.lines().filter_map(|l| l.rsplit_once(',')).map(|(rest, _)| rest).collect()
}

#[test]
fn writes_every_file_and_a_believable_summary() {
    let folder = folder();
    let (code, terminal, warnings) = said(folder.path(), &["run", "quick.ron"]);
    assert!(matches!(code, Some(0 | 4)), "{warnings}");
    let out = folder.path().join("out/quick");
    let summary: serde_json::Value = serde_json::from_str(&read(out.join("summary.json"))).unwrap();
    // Why training stopped is told in three places; each check is kept, and what fails is a warning.
    let page = read(out.join("report.html"));
    assert_eq!(summary["stopped"], "Iterations");
    for text in [&terminal, &page] {
        assert!(
            text.contains("stopped after 6 iterations because all iterations were done"),
            "{text}"
        );
    }
    assert!(warnings.contains("exact energy for comparison"), "{warnings}");
    let checks = summary["checks"].as_array().unwrap();
    assert!(checks.len() >= 8);
    for check in checks {
        assert!(check["value"].is_number() && check["limit"].is_number(), "{check}");
        let (headline, failed) = (check["headline"].as_str().unwrap(), check["passed"] == false);
        assert!(page.contains(headline), "{check}");
        assert_eq!(warnings.contains(&format!("\n  {headline}: ")), failed, "{check}: {warnings}");
    }
    for key in [
        "energy",
        "standard_error",
        "error_bar",
        "variance",
        "v_score",
        "samples",
        "parameters",
        "iterations",
        "wall_seconds",
        "cpu_seconds",
        "seed",
        "version",
        "reference",
    ] {
        assert!(!summary[key].is_null(), "{key}");
    }
    // Exact energy of this problem: two grids, a gap-coordinate solver and the tool's own agree on it.
    let exact = 2.5538317143;
    assert!((summary["reference"]["energy"].as_f64().unwrap() - exact).abs() < 1e-7);
    let energy = summary["energy"].as_f64().unwrap();
    let error = summary["standard_error"].as_f64().unwrap();
    assert!(energy > exact - 4.0 * error && energy < exact + 0.05, "{energy} ± {error}");
    // 16 scramblings are the default, each with the next power of two from 5000 / 16 on.
    assert_eq!(summary["samples"], 16 * 512);
    let bar = &summary["error_bar"];
    assert_eq!((&bar["sampling"], &bar["scramblings"]), (&"QuasiRandom".into(), &16.into()));
    let independent = (summary["variance"].as_f64().unwrap() / (16.0 * 512.0)).sqrt();
    assert!((bar["independent"].as_f64().unwrap() / independent - 1.0).abs() < 1e-12);
    let ratio = bar["gain"]["ratio"].as_f64().unwrap();
    assert!((ratio * error / independent - 1.0).abs() < 1e-12);
    let quotient = &summary["health"]["quadrature"];
    assert!((quotient["norm"].as_f64().unwrap() - 1.0).abs() < 1e-6);
    assert!(quotient["energy"].as_f64().unwrap() > exact);
    assert!((quotient["energy"].as_f64().unwrap() - energy).abs() < 4.5 * error);
    assert_eq!(read(out.join("energy.csv")).lines().count(), 7);
    let report = read(out.join("report.html"));
    // The only address in it is the name of the SVG vocabulary, which nobody fetches.
    let rest = report.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    assert!(report.contains("<svg") && !rest.contains("http:") && !rest.contains("https:"));
    // Every link leads to a file beside the page.
    let linked: Vec<&str> =
        report.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(
        linked.contains(&"energy.csv") && linked.iter().all(|l| out.join(l).is_file()),
        "{linked:?}"
    );
    // The exact density is there to be drawn, and holds two particles.
    let points: Vec<(f64, f64)> = read(out.join("reference_density.csv"))
        .lines()
        .skip(1)
        .map(|l| l.split(',').map(|f| f.parse().unwrap()).collect::<Vec<f64>>())
        .map(|f| (f[0], f[1]))
        .collect();
    let particles: f64 =
        points.windows(2).map(|p| 0.5 * (p[0].1 + p[1].1) * (p[1].0 - p[0].0)).sum();
    assert!((particles - 2.0).abs() < 1e-6, "{particles}");
    assert!(report.contains("exact, spin up"));
    let provenance: serde_json::Value =
        serde_json::from_str(&read(out.join("provenance.json"))).unwrap();
    assert_eq!(provenance["command"], "weylflow run quick.ron");
    assert!(report.contains("<code>weylflow run quick.ron</code>"));
    // Made again from the folder, the report is the same.
    succeeds(folder.path(), &["report", "out/quick"]);
    assert_eq!(report, read(out.join("report.html")));
    // The resolved spec is a spec again, and gives the same run.
    let resolved = out.join("spec.ron");
    succeeds(folder.path(), &["run", resolved.to_str().unwrap(), "--out", "again"]);
    let other = read(folder.path().join("again/energy.csv"));
    assert_eq!(without_time(&read(out.join("energy.csv"))), without_time(&other));
    assert_eq!(
        read(out.join("wavefunction")).split("parameters").nth(1),
        read(folder.path().join("again/wavefunction")).split("parameters").nth(1)
    );
}

#[test]
fn the_numbers_do_not_depend_on_the_threads_but_on_the_seed() {
    let folder = folder();
    let run = |out: &str, threads: &str, seed: &str| {
        let arguments =
            ["run", "quick.ron", "--quiet", "--out", out, "--threads", threads, "--seed", seed];
        let output = weylflow(folder.path(), &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(ended(output.status), "{said}");
        let doubtful = said.starts_with("warning: the energy is doubtful");
        assert!(output.stdout.is_empty() && (said.is_empty() || doubtful), "{said}");
        let table = read(folder.path().join(out).join("energy.csv"));
        let rows: Vec<String> = without_time(&table).into_iter().map(str::to_owned).collect();
        let summary = read(folder.path().join(out).join("summary.json"));
        let mut summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
        for key in ["wall_seconds", "cpu_seconds", "threads"] {
            summary[key].take();
        }
        (rows, read(folder.path().join(out).join("density.csv")), summary)
    };
    let one = run("one", "1", "7");
    assert_eq!(one, run("two", "2", "7"));
    assert_eq!(one, run("five", "5", "7"));
    assert_ne!(one.0, run("other", "1", "8").0);
}

#[test]
fn independent_samples_are_there_for_the_asking() {
    let folder = folder();
    let random = SPEC.replace("seed: 7", "sampling: Random, seed: 7");
    std::fs::write(folder.path().join("random.ron"), random).unwrap();
    succeeds(folder.path(), &["run", "random.ron"]);
    let summary = read(folder.path().join("out/random/summary.json"));
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["samples"], 5000);
    // What samples with more weight on the tails add is part of the error bar.
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    let independent = number(&summary["error_bar"]["independent"]);
    let error = number(&summary["standard_error"]);
    assert!(independent <= error && error < 2.0 * independent, "{independent} {error}");
    assert!(summary["error_bar"]["gain"].is_null());
    let report = read(folder.path().join("out/random/report.html"));
    assert!(report.contains("independent samples") && !report.contains("Student"));
}

#[test]
fn an_existing_result_is_not_overwritten_unasked() {
    let folder = folder();
    let arguments = ["run", "quick.ron", "--quiet"];
    succeeds(folder.path(), &arguments);
    let before = read(folder.path().join("out/quick/summary.json"));
    let message = fails(folder.path(), &arguments, "--overwrite");
    assert!(message.contains("out/quick"), "{message}");
    assert_eq!(before, read(folder.path().join("out/quick/summary.json")));
    let forced = ["run", "quick.ron", "--quiet", "--overwrite", "--seed", "9"];
    succeeds(folder.path(), &forced);
    assert_ne!(before, read(folder.path().join("out/quick/summary.json")));
}

#[test]
fn a_bad_spec_leaves_no_folder() {
    let folder = folder();
    let bad = SPEC.replace("half_width: 8", "half_width: -8");
    std::fs::write(folder.path().join("bad.ron"), bad).unwrap();
    let message = fails(folder.path(), &["run", "bad.ron"], "bad.ron:5:");
    assert!(message.contains("half_width"), "{message}");
    assert!(!folder.path().join("out").exists());
}
