//! Tests of the page and the table, on made-up runs.

use super::*;
use crate::exact::Density;
use crate::sampling::Sampling;
use crate::spec::read::parse;
use crate::store::record::{DensityProfile, ErrorBar, Health, IterationRow, Reference, Summary};
use std::path::PathBuf;

fn run(name: &str) -> RunFolder {
    let text = "(title: \"H2\", hamiltonian: Inline(external: Nuclei(charges: [1, 1], positions: [-1, 1]), \
                interaction: SoftCoulomb()), sector: (up: 1, down: 1), geometry: Box(half_width: 10))";
    let edges: Vec<f64> = (0..=20).map(f64::from).map(|i| i - 10.0).collect();
    let bins: Vec<(f64, f64)> =
        edges.windows(2).map(|e| ((-0.25 * (e[0] + e[1]).powi(2)).exp(), 1e-3)).collect();
    let x: Vec<f64> = (0..=100).map(|i| -10.0 + 0.2 * f64::from(i)).collect();
    let values: Vec<f64> = x.iter().map(|x| (-x * x).exp()).collect();
    RunFolder {
        path: PathBuf::from("nowhere").join(name),
        name: name.into(),
        spec: (parse(text, Path::new("spec.ron")).unwrap(), text.into()),
        summary: Summary {
            title: "Hydrogen, \"bound\"".into(),
            version: "0.1.0".into(),
            fingerprint: None,
            energy: -1.982_464_7,
            standard_error: 2e-7,
            sampled: None,
            error_bar: ErrorBar {
                sampling: Sampling::Random,
                scramblings: None,
                independent: 2e-7,
                gain: None,
            },
            variance: 1e-6,
            v_score: 1e-6,
            nuclear_repulsion: 0.447_213_6,
            total_energy: -1.535_251_1,
            samples: 1000,
            parameters: 10,
            iterations: 2,
            averaged_iterations: 1,
            wall_seconds: 1.0,
            cpu_seconds: 2.0,
            threads: 2,
            processes: 1,
            work: None,
            seed: 3,
            reference: Some(Reference {
                energy: -1.982_464_66,
                error_estimate: None,
                source: "a, b".into(),
                deviation: -4e-11,
            }),
            no_reference: None,
            stopped: None,
            verdict: None,
            checks: Vec::new(),
            health: Health {
                round_trip_error: 1e-13,
                slopes: None,
                density_drift: None,
                refusals: Vec::new(),
                rejected_samples: 0,
                largest_local_energy_deviation: 0.01,
                median_local_energy_deviation: 1e-3,
                quadrature: None,
                ..Health::default()
            },
        },
        rows: (0..3)
            .map(|iteration| IterationRow {
                iteration,
                energy: -1.9,
                standard_error: 1e-3,
                variance: 1e-3,
                gradient_norm: 1.0,
                step_norm: 0.1,
                tau: 1.0,
                seconds: 1.0 + iteration as f64,
            })
            .collect(),
        density: DensityProfile { edges, up: bins.clone(), down: bins },
        reference_density: Some(Density { x, up: values.clone(), down: values }),
        reference_pairs: None,
        provenance: None,
        observables: None,
        projection: None,
        notices: Vec::new(),
        about_observables: false,
    }
}

fn page(runs: &[RunFolder]) -> String {
    render(runs, Path::new("both.html"), Path::new("both.csv"))
}

#[test]
fn total_energies_stand_beside_the_electronic_ones() {
    let runs = [run("a"), run("b")];
    let page = page(&runs);
    for text in [
        "Total energy (Ha)",
        "-1.5352511(2)",
        "-1.9824647(2)",
        "Exact total energy (Ha)",
        "-1.53525106",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let mut atoms = runs;
    for run in &mut atoms {
        run.summary.nuclear_repulsion = 0.0;
    }
    assert!(!self::page(&atoms).contains("Total energy"));
}

#[test]
fn zero_has_no_sign() {
    let page = page(&[run("a"), run("b")]);
    for wrong in ["-0.0000", "+0.0000", ">-0.0<", ">+0.0<"] {
        assert!(!page.contains(wrong), "{wrong}");
    }
    assert!(page.contains("a, 0.0000(2) mHa off"));
}

/// Runs of one iteration that are exact to rounding.
#[test]
fn rounding_makes_no_error_bars_and_one_iteration_no_range() {
    let mut runs = [run("a"), run("b")];
    for run in &mut runs {
        run.rows.truncate(1);
        run.summary.standard_error = 2e-16;
        run.summary.reference.as_mut().unwrap().deviation = 1e-15;
        run.summary.reference.as_mut().unwrap().error_estimate = Some(1e-14);
    }
    let page = page(&runs);
    assert!(page.contains("Closest to its exact energy: a, 0 mHa off."));
    assert!(page.contains("<td data-name=\"Error bars\"></td>"), "{page}");
    assert!(page.contains("<td data-name=\"Deviation (mHa)\" class=\"number\">0</td>"));
    // Iterations have no parts, and none below the first.
    let figure = page.split("id=\"variance-iterations\"").nth(1).unwrap();
    assert!(!figure.split("</svg>").next().unwrap().contains(">−0."), "{figure}");
    let table = to_csv(&runs);
    let rows: Vec<Vec<&str>> = table.lines().map(|l| l.split(',').collect()).collect();
    let column = rows[0].iter().position(|c| *c == "deviation_in_error_bars").unwrap();
    // Two commas are in quotes.
    assert_eq!(rows[1][column + 2], "");
}

#[test]
fn densities_lie_in_one_figure_with_the_exact_one() {
    let mut runs = vec![run("a"), run("b"), run("c")];
    let figure = |runs: &[RunFolder], id: &str| {
        let page = page(runs);
        let start = page.find(&format!("id=\"{id}\""))?;
        page[start..].split("</svg>").next().map(str::to_owned)
    };
    for id in ["density-up", "density-down"] {
        let svg = figure(&runs, id).unwrap();
        for colour in ["blue", "vermillion", "green"] {
            assert_eq!(svg.matches(&format!("<path class=\"line c-{colour}\"")).count(), 1);
        }
        assert_eq!(
            svg.matches("<path class=\"line c-ink dashed\"").count(),
            1,
            "all have the same"
        );
        assert!(svg.contains(">exact<"));
    }
    runs[2].reference_density.as_mut().unwrap().up[50] = 0.5;
    let svg = figure(&runs, "density-up").unwrap();
    assert_eq!(svg.matches("<path class=\"line c-ink dashed\"").count(), 2);
    assert_eq!(svg.matches(">exact<").count(), 1);
    for run in &mut runs {
        run.density.down.clear();
        run.reference_density = None;
    }
    assert!(figure(&runs, "density-up").is_some() && figure(&runs, "density-down").is_none());
}

#[test]
fn the_table_has_full_digits_and_quotes_what_needs_it() {
    let mut runs = [run("a"), run("b")];
    runs[1].summary.reference = None;
    runs[1].summary.variance = f64::NAN;
    let table = to_csv(&runs);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("run,title,up,down,electronic_energy,standard_error,"));
    assert!(
        lines[1]
            .starts_with("a,\"Hydrogen, \"\"bound\"\"\",1,1,-1.9824647,2e-7,0.4472136,-1.5352511,")
    );
    assert!(lines[1].contains(",\"a, b\",-4e-11,"));
    // No comma is hidden in quotes but those two.
    assert_eq!(lines[1].matches(',').count(), lines[0].matches(',').count() + 2);
    assert!(!lines[2].contains("NaN"));
}

#[test]
fn tables_are_captioned_and_no_row_is_wide() {
    let page = page(&[run("a"), run("b")]);
    assert_eq!(page.matches("<table").count(), 3);
    assert_eq!(page.matches("<caption>").count(), 3);
    let heads = page.matches("<th").count() - page.matches("<thead").count();
    assert_eq!(heads, page.matches("<th scope=").count());
    for row in page.split("<tr>").skip(1) {
        assert!(row.split("</tr>").next().unwrap().matches("<t").count() <= 9);
    }
}
