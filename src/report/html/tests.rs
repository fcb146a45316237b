//! Tests of the whole page, on made-up runs.

use super::*;
use crate::estimate::Gain;
use crate::sampling::Sampling;
use crate::store::record::{ErrorBar, Health, Reference};
use crate::system::{External, Interaction};
use crate::train::StopReason;
use crate::wavefunction::slopes::Slopes;

struct Run {
    summary: Summary,
    rows: Vec<IterationRow>,
    density: DensityProfile,
    hamiltonian: Hamiltonian,
    sector: Sector,
    spec_text: String,
    observables: Option<Observables>,
    reference_density: Option<Density>,
    reference_pairs: Option<PairDensity>,
    provenance: Option<Provenance>,
    links: Links,
}

impl Run {
    fn page(&self) -> String {
        render(&ReportInput {
            summary: &self.summary,
            rows: &self.rows,
            density: &self.density,
            hamiltonian: &self.hamiltonian,
            geometry: &Geometry::Box { half_width: 10.0 },
            sector: &self.sector,
            optimiser: &OptimiserSettings::default(),
            spec_text: &self.spec_text,
            observables: self.observables.as_ref(),
            projection: None,
            notices: &[],
            reference_density: self.reference_density.as_ref(),
            reference_pairs: self.reference_pairs.as_ref(),
            provenance: self.provenance.as_ref(),
            links: &self.links,
        })
    }
}

fn run() -> Run {
    let rows = (0..100)
        .map(|i| {
            let t = i as f64;
            // Any deterministic scatter does.
            let noise = (t * 12.9898).sin() * 1e-3;
            IterationRow {
                iteration: i,
                energy: -1.816 + (-t / 5.0).exp() + noise,
                standard_error: 1e-3,
                variance: 1e-3 + (-t / 5.0).exp(),
                gradient_norm: 0.1,
                step_norm: 0.05,
                tau: 0.1,
                seconds: t,
            }
        })
        .collect();
    Run {
        summary: Summary {
            title: "Helium triplet".into(),
            version: "0.1.0".into(),
            fingerprint: None,
            energy: -1.816_040_2,
            standard_error: 3.1e-6,
            sampled: None,
            error_bar: ErrorBar {
                sampling: Sampling::QuasiRandom,
                scramblings: Some(16),
                independent: 6.2e-6,
                gain: Some(Gain { ratio: 2.0, uncertainty: 0.37 }),
            },
            variance: 2.5e-6,
            v_score: 1e-4,
            nuclear_repulsion: 0.0,
            total_energy: -1.816_040_2,
            samples: 262_144,
            parameters: 2345,
            iterations: 100,
            averaged_iterations: 25,
            wall_seconds: 61.5,
            cpu_seconds: 120.0,
            threads: 2,
            processes: 1,
            work: None,
            seed: 1,
            no_reference: None,
            reference: Some(Reference {
                energy: -1.816_041_889_2,
                error_estimate: Some(1e-10),
                source: "sine DVR".into(),
                deviation: 1.689_2e-6,
            }),
            stopped: Some(StopReason::Plateau),
            verdict: None,
            checks: Vec::new(),
            health: Health {
                round_trip_error: 2e-13,
                slopes: Some(Slopes { forward: 2.4, inverse: 3.1 }),
                density_drift: Some(1e-9),
                refusals: Vec::new(),
                rejected_samples: 0,
                largest_local_energy_deviation: 0.01,
                median_local_energy_deviation: 1e-3,
                quadrature: None,
                ..Health::default()
            },
        },
        rows,
        density: DensityProfile {
            edges: (0..=40).map(|i| -10.0 + 0.5 * i as f64).collect(),
            up: (0..40).map(|i| ((-(0.3 * (i as f64 - 19.5)).powi(2)).exp(), 0.01)).collect(),
            down: vec![],
        },
        hamiltonian: Hamiltonian {
            title: "Helium".into(),
            external: External::Nuclei { charges: vec![2.0], positions: vec![0.0], softening: 1.0 },
            interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 },
        },
        sector: Sector::new(2, 0),
        spec_text: "(title: \"Helium\")".into(),
        observables: None,
        reference_density: None,
        reference_pairs: None,
        provenance: None,
        links: Links::default(),
    }
}

/// Names of the elements that are opened and not closed in their order.
fn unbalanced(page: &str) -> Vec<String> {
    let mut open: Vec<String> = vec![];
    for tag in page.split('<').skip(1) {
        let end = tag.find('>').unwrap();
        let (tag, name) = (&tag[..end], tag[..end].split([' ', '\n']).next().unwrap());
        if tag.ends_with('/') || tag.starts_with('!') || name == "meta" {
            continue;
        }
        match name.strip_prefix('/') {
            Some(name) if open.last().is_some_and(|n| n == name) => drop(open.pop()),
            Some(name) => return vec![name.into()],
            None => open.push(name.trim_end_matches('/').into()),
        }
    }
    open
}

#[test]
fn the_headline_tells_the_result() {
    let page = run().page();
    for text in [
        "-1.816040(3) Ha",
        "+0.002(3) mHa",
        "+1.689e-6 Ha = +0.5 error bars from -1.8160418892 Ha (sine DVR)",
        "Settled (plateau)",
        "Good: all 9 checks passed.",
        "All 9 checks passed.",
        "2 fermions, both spin up, in a box",
        "v(x) = −2/√(x² + 1)",
        "1 min 02 s on 2 threads",
        "scatter of 16 independent scramblings",
        "It is 2.0(4) times smaller than the 6.2e-6 Ha of as many independent samples.",
        "with the mean of the parameters of the last 25 iterations",
        "15 degrees of freedom",
    ] {
        assert!(page.contains(text), "{text} is missing");
    }
    assert!(!page.contains("mark attention"));
}

#[test]
fn the_page_is_whole_and_needs_no_network() {
    let page = run().page();
    assert_eq!(unbalanced(&page), Vec::<String>::new());
    for outside in ["<script", "<link", "<img", "@import", "url(h", "src=", "href=\"http"] {
        assert!(!page.contains(outside), "{outside}");
    }
    // The name of the SVG dialect is the one address, and nothing fetches it.
    assert_eq!(page.matches("http").count(), page.matches("http://www.w3.org/2000/svg").count());
    assert_eq!(page, run().page());
    assert_eq!(page.matches("<figure>").count(), 6);
}

#[test]
fn trouble_is_marked() {
    let mut run = run();
    run.summary.health = Health {
        round_trip_error: 1e-3,
        slopes: Some(Slopes { forward: 3e6, inverse: 4e5 }),
        density_drift: Some(1e-2),
        refusals: vec!["the flow does not undo itself".into()],
        rejected_samples: 700,
        largest_local_energy_deviation: 9.0,
        median_local_energy_deviation: 1e-3,
        quadrature: None,
        ..Health::default()
    };
    let reference = run.summary.reference.as_mut().unwrap();
    (reference.energy, reference.deviation) = (-1.81504, -1e-3);
    for (i, row) in run.rows.iter_mut().enumerate() {
        row.energy = -1.0 - 0.01 * i as f64;
    }
    let page = run.page();
    for text in [
        "Still falling",
        "checks failed",
        "Refused: Flow does not invert; ",
        "Flow explodes",
        "Too many samples left out",
        "Below the exact energy",
    ] {
        assert!(page.contains(text), "{text} is missing");
    }
    assert!(page.contains("mark attention"));
}

#[test]
fn users_text_cannot_break_the_page() {
    let mut run = run();
    let evil = "</pre></style><script>alert(1)</script>&\"'";
    run.summary.title = evil.into();
    run.summary.version = evil.into();
    run.summary.reference.as_mut().unwrap().source = evil.into();
    run.hamiltonian.title = evil.into();
    run.hamiltonian.external =
        ron::from_str("Formula(\"x<1 & x>0\")").unwrap_or(External::Harmonic { frequency: 1.0 });
    run.spec_text = evil.into();
    let page = run.page();
    assert!(!page.contains("<script"));
    assert_eq!(unbalanced(&page), Vec::<String>::new());
}

#[test]
fn poor_runs_still_have_a_report() {
    let mut run = run();
    run.summary.reference = None;
    run.summary.nuclear_repulsion = 0.5;
    run.summary.total_energy = -1.316;
    assert!(run.page().contains("with nuclear repulsion -1.316000(3) Ha"));
    assert!(run.page().contains("The spec asks for none."));
    run.summary.no_reference = Some("it would take 9 GiB".into());
    assert!(run.page().contains("None was found: it would take 9 GiB."));
    run.density.edges.clear();
    run.density.up.clear();
    run.rows.clear();
    let page = run.page();
    assert!(page.contains("Settled (plateau)") && page.contains("No reference"));
    assert_eq!(page.matches("No data to show.").count(), 6);

    let mut run = self::run();
    for row in &mut run.rows {
        row.energy = f64::NAN;
        row.standard_error = f64::INFINITY;
        row.variance = -1.0;
    }
    run.summary.energy = f64::NAN;
    run.summary.standard_error = f64::NAN;
    run.summary.variance = f64::NAN;
    assert_eq!(unbalanced(&run.page()), Vec::<String>::new());
}

#[test]
fn files_are_linked_by_relative_addresses() {
    let mut run = run();
    assert!(!run.page().contains("href=") && !run.page().contains(">Files<"));
    run.links = Links {
        base: "../a%20b/".into(),
        files: vec![("energy.csv", "one row an iteration"), ("spec.ron", "the spec")],
    };
    let page = run.page();
    let addresses: Vec<&str> =
        page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(addresses, ["../a%20b/energy.csv", "../a%20b/spec.ron"]);
    assert_eq!(unbalanced(&page), Vec::<String>::new());
}

#[test]
fn tables_have_captions_and_their_headings_a_scope() {
    let mut run = run();
    run.links.files.push(("energy.csv", "rows"));
    let page = run.page();
    assert_eq!(page.matches("<table>").count(), 2);
    assert_eq!(page.matches("<table>\n<caption>").count(), 2);
    assert_eq!(
        page.matches("<th").count() - page.matches("<thead").count(),
        page.matches("<th scope=").count()
    );
}

#[test]
fn the_origin_of_a_run_is_told() {
    let mut run = run();
    run.provenance = Some(Provenance {
        version: "0.1.0".into(),
        finished: "2026-08-01 14:03:27 UTC".into(),
        command: "weylflow run '<helium>.ron'".into(),
        cores: 2,
        host: "x86_64 linux".into(),
    });
    let page = run.page();
    let line = "2026-08-01 14:03:27 UTC, weylflow 0.1.0 on x86_64 linux with 2 cores: \
                <code>weylflow run &#39;&lt;helium&gt;.ron&#39;</code>";
    assert!(page.contains(line));
}

/// Density at a few points, as the exact solver and `weylflow measure` give them.
fn points() -> (Vec<f64>, Vec<f64>) {
    (0..=80).map(|i| -10.0 + 0.25 * i as f64).map(|x: f64| (x, (-x * x).exp())).unzip()
}

#[test]
fn the_exact_density_stands_beside_the_sampled_one() {
    let mut run = run();
    let (x, up) = points();
    assert!(!run.page().contains("exact, spin up"));
    run.reference_density = Some(Density { down: vec![0.0; x.len()], x, up });
    let page = run.page();
    assert!(
        page.contains("exact, spin up") && page.contains("Thin lines: the exact ground state.")
    );
    assert!(page.contains("means over bins"));
    let figure = page.split("id=\"density\"").nth(1).unwrap().split("</svg>").next().unwrap();
    assert_eq!(figure.matches("class=\"line c-ink\"").count(), 1);
}

#[test]
fn a_smooth_density_takes_the_place_of_bins() {
    use crate::observables::quantity::Values;
    use crate::observables::{Axis, Measurement, Quantity};
    let mut run = run();
    let (x, values) = points();
    let errors = vec![1e-3; values.len()];
    let quantity = Quantity::new("smooth_density_up", "1/bohr", "", Values { values, errors });
    run.observables = Some(Observables {
        title: String::new(),
        version: String::new(),
        fingerprint: None,
        samples: 1,
        replicates: 1,
        seed: 0,
        measurements: vec![Measurement {
            observable: "density_matrix".into(),
            quantities: vec![quantity.along(Axis::points("x", "bohr", x))],
        }],
    });
    let page = run.page();
    let figure = page.split("id=\"density\"").nth(1).unwrap().split("</svg>").next().unwrap();
    assert!(!figure.contains("class=\"bars") && page.contains("from the density matrix"));
    // 81 points, not 80 steps.
    let line = figure.split("<path class=\"line c-blue\" d=\"").nth(1).unwrap();
    assert_eq!(line.split('"').next().unwrap().matches('L').count(), 80);
}

#[test]
fn gaps_are_explained_and_one_iteration_is_no_mean() {
    let mut run = run();
    assert!(!run.page().contains("Gaps"));
    for i in [3, 50] {
        run.rows[i].step_norm = 0.0;
        run.rows[i].tau = 0.0;
        run.rows[i].gradient_norm = f64::NAN;
    }
    run.rows[7].variance = 0.0;
    run.summary.averaged_iterations = 1;
    let page = run.page();
    let idle = "Gaps: in 2 of 100 iterations no trial step was an improvement, and none was taken.";
    // The steps and the gradient.
    assert_eq!(page.matches(idle).count(), 2);
    assert_eq!(page.matches("Gaps: 1 of 100 iterations without a number above zero.").count(), 1);
    assert!(!page.contains("averaged") && !page.contains("mean of the parameters"));
    assert!(page.contains("The final estimate is from fresh samples."));
}

#[test]
fn zero_has_no_sign_and_a_loss_is_called_one() {
    let mut run = run();
    run.summary.reference.as_mut().unwrap().deviation = -4e-11;
    run.summary.standard_error = 2e-7;
    run.summary.error_bar.gain = Some(Gain { ratio: 0.46, uncertainty: 0.08 });
    let page = run.page();
    for wrong in ["-0.0000", "+0.0000", ">-0.00<", "0.46(8) times"] {
        assert!(!page.contains(wrong), "{wrong}");
    }
    assert!(page.contains("0.0000(2) mHa") && page.contains("It is 2.2(4) times larger than"));
}

/// A run that starts from an eigenstate: nothing but rounding is left of its deviation, and no number of error bars.
#[test]
fn rounding_is_called_by_its_name_everywhere() {
    let mut run = run();
    let s = &mut run.summary;
    (s.energy, s.standard_error, s.variance, s.iterations) = (2.0 - 1e-15, 3e-16, 3e-28, 1);
    s.error_bar.gain = None;
    s.reference = Some(Reference {
        energy: 2.0,
        error_estimate: Some(2e-14),
        source: "closed form".into(),
        deviation: -1e-15,
    });
    run.rows.truncate(1);
    (run.rows[0].energy, run.rows[0].standard_error) = (2.0, 1e-15);
    run.summary.parameters = 1;
    let page = run.page();
    for text in [
        "2.00000000000000(2) Ha",
        "2.0000000000 ± 2.0e-14 Ha",
        ">0 mHa<",
        "-1.0e-15 Ha (to rounding) from 2.0000000000 Ha",
        "1 parameter, 1 iteration, ",
        "Training stopped after 1 iteration because",
    ] {
        assert!(page.contains(text), "{text} is missing");
    }
    for wrong in [
        "deviation in error bars",
        "± 0.000000000000",
        "error bars from",
        "one of the two is wrong",
        "1 iterations",
        "-0.0 ",
    ] {
        assert!(!page.contains(wrong), "{wrong}");
    }
    // Within an error bar that is more than rounding, but no tenth of one.
    run.summary.reference.as_mut().unwrap().error_estimate = Some(1e-9);
    let page = run.page();
    assert!(page.contains("-1.0e-15 Ha (less than 0.1 error bars) from 2.0000000000 Ha"));
    assert!(!page.contains("-0.0 error bars") && !page.contains("one of the two is wrong"));
}
