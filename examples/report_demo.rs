//! Writes reports of made-up runs into a folder: a good run, one with trouble, one with few data.
//!
//!     cargo run --release --example report_demo -- out/report_demo

use rand::RngExt;
use std::error::Error;
use std::path::Path;
use weylflow::optimise::OptimiserSettings;
use weylflow::report::html::{ReportInput, render};
use weylflow::report::links::Links;
use weylflow::sampling::Sampling;
use weylflow::store::density::write_density;
use weylflow::store::energy::EnergyCsv;
use weylflow::store::files::{Existing, create_output_folder, names, write_atomic};
use weylflow::store::record::{DensityProfile, ErrorBar, Health, IterationRow, Reference, Summary};
use weylflow::store::summary::write_summary;
use weylflow::system::{External, Geometry, Hamiltonian, Interaction, Sector};
use weylflow::train::StopReason;
use weylflow::wavefunction::slopes::Slopes;

const SPEC: &str = "(\n    title: \"Made-up run\",\n    hamiltonian: File(\"helium.ron\"),\n    \
                    sector: (up: 2, down: 0),\n    geometry: Box(half_width: 10.0),\n)\n";

struct Case {
    name: &'static str,
    title: &'static str,
    exact: f64,
    has_reference: bool,
    iterations: usize,
    rate: f64,
    bias: f64,
    final_samples: usize,
    health: Health,
    hamiltonian: Hamiltonian,
    sector: Sector,
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "out/report_demo".into());
    for case in cases() {
        write(&Path::new(&folder).join(case.name), &case)?;
    }
    Ok(())
}

fn cases() -> [Case; 3] {
    let soft = Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 };
    let healthy = Health {
        round_trip_error: 3.2e-14,
        slopes: Some(Slopes { forward: 2.4, inverse: 3.1 }),
        density_drift: Some(1e-9),
        refusals: Vec::new(),
        rejected_samples: 0,
        largest_local_energy_deviation: 0.021,
        median_local_energy_deviation: 1e-3,
        quadrature: None,
        ..Health::default()
    };
    [
        Case {
            name: "good",
            title: "Helium triplet, made up",
            exact: -1.816_041_889_2,
            has_reference: true,
            iterations: 400,
            rate: 14.0,
            bias: 4e-6,
            final_samples: 262_144,
            health: healthy.clone(),
            hamiltonian: Hamiltonian {
                title: "Helium".into(),
                external: External::Nuclei {
                    charges: vec![2.0],
                    positions: vec![0.0],
                    softening: 1.0,
                },
                interaction: soft.clone(),
            },
            sector: Sector::new(2, 0),
        },
        Case {
            name: "trouble",
            title: "Lithium hydride with a <long> title & an optimiser that has not finished, made up",
            exact: -4.123_456,
            has_reference: true,
            iterations: 5000,
            rate: 2500.0,
            bias: 0.03,
            final_samples: 65_536,
            health: Health {
                round_trip_error: 2e-4,
                slopes: Some(Slopes { forward: 3e6, inverse: 4e5 }),
                density_drift: Some(1e-9),
                refusals: Vec::new(),
                rejected_samples: 3,
                largest_local_energy_deviation: 41.0,
                median_local_energy_deviation: 1e-3,
                quadrature: None,
                ..Health::default()
            },
            hamiltonian: Hamiltonian {
                title: String::new(),
                external: External::Nuclei {
                    charges: vec![3.0, 1.0],
                    positions: vec![-1.2, 1.2],
                    softening: 0.7,
                },
                interaction: soft.clone(),
            },
            sector: Sector::new(2, 2),
        },
        Case {
            name: "short",
            title: "Trap pair, made up",
            exact: 2.553_831_7,
            has_reference: false,
            iterations: 20,
            rate: 3.0,
            bias: 1e-3,
            final_samples: 4096,
            health: healthy,
            hamiltonian: Hamiltonian {
                title: "Harmonic trap".into(),
                external: External::Harmonic { frequency: 1.0 },
                interaction: soft,
            },
            sector: Sector::new(1, 1),
        },
    ]
}

fn write(folder: &Path, case: &Case) -> Result<(), Box<dyn Error>> {
    let mut rng = rand_pcg::Pcg64::new(1, 2);
    let mut normal = move || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
    let _lock = create_output_folder(folder, Existing::Overwrite)?;
    let mut table = EnergyCsv::create(folder, &[])?;
    let mut rows = vec![];
    for i in 0..case.iterations {
        let left = (-(i as f64) / case.rate).exp() + case.bias;
        let variance = 0.6 * left * left + 0.02 * left;
        let standard_error = (variance / 1024.0).sqrt();
        let fade = 0.1f64.powf(i as f64 / case.iterations as f64);
        let row = IterationRow {
            iteration: i,
            energy: case.exact + 0.8 * left * left + 0.3 * case.bias + standard_error * normal(),
            standard_error,
            variance: variance * (0.2 * normal()).exp(),
            gradient_norm: 2.0 * left * (0.1 * normal()).exp() + 0.3 * standard_error,
            step_norm: 0.2 * left.min(0.5) * (0.2 * normal()).exp(),
            tau: 0.1 * fade,
            seconds: 0.15 * (i + 1) as f64,
        };
        table.push(&row)?;
        rows.push(row);
    }
    table.finish()?;

    let variance = 0.6 * case.bias * case.bias + 0.02 * case.bias;
    let standard_error = (variance / case.final_samples as f64).sqrt();
    let energy = case.exact + 0.3 * case.bias + standard_error * normal();
    let nuclear_repulsion = case.hamiltonian.nuclear_repulsion();
    let summary = Summary {
        title: case.title.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        fingerprint: None,
        energy,
        standard_error,
        sampled: None,
        error_bar: ErrorBar {
            sampling: Sampling::Random,
            scramblings: None,
            independent: standard_error,
            gain: None,
        },
        variance,
        v_score: case.sector.particles() as f64 * variance / (energy * energy),
        nuclear_repulsion,
        total_energy: energy + nuclear_repulsion,
        samples: case.final_samples,
        parameters: 3214,
        iterations: case.iterations,
        averaged_iterations: case.iterations / 4,
        wall_seconds: 0.16 * case.iterations as f64,
        cpu_seconds: 0.31 * case.iterations as f64,
        threads: 2,
        processes: 1,
        work: None,
        seed: 1,
        no_reference: None,
        reference: case.has_reference.then(|| Reference {
            energy: case.exact,
            error_estimate: Some(1e-10),
            source: "exact diagonalisation, sine DVR".into(),
            deviation: energy - case.exact,
        }),
        stopped: Some(StopReason::Plateau),
        verdict: None,
        checks: Vec::new(),
        health: case.health.clone(),
    };
    write_summary(&folder.join(names::SUMMARY), &summary)?;

    let bins = 160;
    let edges: Vec<f64> = (0..=bins).map(|i| -10.0 + 20.0 * i as f64 / bins as f64).collect();
    let mut bump = |n: usize, shift: f64| -> Vec<(f64, f64)> {
        let shape = |x: f64| (0.3 + x * x) * (-1.6 * (x * x + 1.0).sqrt()).exp();
        let total: f64 = (0..bins).map(|i| shape(edges[i] + 0.0625) * 0.125).sum();
        (0..bins)
            .map(|i| {
                let density = n as f64 * shape(edges[i] + 0.0625 + shift) / total;
                let error = (density / 0.125 / (0.02 * case.final_samples as f64)).sqrt();
                ((density + error * normal()).max(0.0), error)
            })
            .collect()
    };
    let up = bump(case.sector.up, 0.2);
    let down = if case.sector.down > 0 { bump(case.sector.down, -0.2) } else { vec![] };
    let density = DensityProfile { edges, up, down };
    write_density(&folder.join(names::DENSITY), &density)?;

    let page = render(&ReportInput {
        summary: &summary,
        rows: &rows,
        density: &density,
        hamiltonian: &case.hamiltonian,
        geometry: &Geometry::Box { half_width: 10.0 },
        sector: &case.sector,
        optimiser: &OptimiserSettings::default(),
        spec_text: SPEC,
        observables: None,
        projection: None,
        notices: &[],
        reference_density: None,
        reference_pairs: None,
        provenance: None,
        links: &Links::beside(folder),
    });
    write_atomic(&folder.join(names::REPORT), page.as_bytes())?;
    Ok(())
}
