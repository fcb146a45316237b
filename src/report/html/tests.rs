//! Tests of the whole page, on made-up runs.

use super::*;
use crate::estimate::Gain;
use crate::report::record::{ErrorBar, Health, Reference};
use crate::sampling::Sampling;
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
            observables: None,
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
            energy: -1.816_040_2,
            standard_error: 3.1e-6,
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
        sector: Sector { up: 2, down: 0 },
        spec_text: "(title: \"Helium\")".into(),
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
        "6.2e-6 Ha, 2.0(4) times",
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
    for outside in ["<script", "<link", "<img", "@import", "url(h", "src=", "href="] {
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
        "7 of 9 checks failed",
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
