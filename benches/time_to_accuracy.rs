//! CPU time from nothing to 1 mHa and 0.1 mHa of true error.
//!
//! `cargo bench --bench time_to_accuracy -- [SPEC ..] [--seeds K]`, one thread; without specs, helium's triplet with
//! both wavefunctions. The error of each iteration's parameters is the Rayleigh quotient by quadrature minus the exact
//! energy, so specs of one or two particles only. The clock covers spec, orbitals and training; it stands
//! still while errors are measured.

use cpu_time::ProcessTime;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use weylflow::estimate::rayleigh_quotient;
use weylflow::exact::{self, ExactOptions};
use weylflow::spec::{ReferenceSource, ResolvedSpec, load};
use weylflow::system::System;
use weylflow::train::{self, TrainingState};

/// The errors whose times are wanted, in Hartree.
const WANTED: [f64; 2] = [1e-3, 1e-4];

/// The exact energy in Hartree.
fn exact_energy(spec: &ResolvedSpec) -> f64 {
    match &spec.reference {
        ReferenceSource::Literal { energy, .. } => *energy,
        _ => {
            let options = ExactOptions::default();
            exact::solve(&spec.hamiltonian, &spec.geometry, spec.sector, &options, &mut |_| {
                ControlFlow::Continue(())
            })
            .expect("the problem is small")
            .energies[0]
        }
    }
}

/// A point of a training: CPU seconds, iterations, error in Hartree.
type Point = (f64, usize, f64);

fn training(path: &Path, seed: u64, exact: f64) -> Vec<Point> {
    let clock = ProcessTime::now();
    let mut spec = load(path).expect("the spec is valid");
    spec.seed = seed;
    let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
    let mut psi = spec.wavefunction.build(spec.sector, system, seed).expect("it can be built");
    let mut optimiser = spec.optimiser.minimising(spec.objective);
    let mut state = TrainingState::new(psi.parameters(), optimiser.as_ref());
    // What training works with must not be touched while it runs.
    let before = clock.elapsed().as_secs_f64();
    let mut copy = spec.wavefunction.build(spec.sector, system, seed).expect("it was built before");
    let mut measuring = clock.elapsed().as_secs_f64() - before;
    let mut points = Vec::new();
    let mut measure = |parameters: &[f64], iterations: usize| {
        let now = clock.elapsed().as_secs_f64();
        copy.set_parameters(parameters).expect("as many as there were");
        let quotient = rayleigh_quotient(copy.as_ref(), system).expect("one or two particles");
        points.push((now - measuring, iterations, quotient.energy - exact));
        measuring += clock.elapsed().as_secs_f64() - now;
    };
    measure(&state.parameters, 0);
    let schedule = spec.schedule();
    let trained = train::train_from(
        psi.as_mut(),
        system,
        optimiser.as_mut(),
        &schedule,
        &mut state,
        |_, state| {
            measure(&state.parameters, state.iteration);
            ControlFlow::Continue(())
        },
    );
    trained.expect("the training succeeds");
    measure(psi.parameters(), state.iteration);
    points
}

fn main() {
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread()
        .build_global()
        .expect("no pool exists yet");
    let (mut specs, mut seeds) = (Vec::new(), 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--seeds" => seeds = arguments.next().and_then(|s| s.parse().ok()).expect("a number"),
            spec => specs.push(PathBuf::from(spec)),
        }
    }
    if specs.is_empty() {
        let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("runs");
        specs = ["helium_triplet.ron", "helium_triplet_weyl.ron"].map(|s| runs.join(s)).to_vec();
    }
    for path in specs {
        let exact = exact_energy(&load(&path).expect("the spec is valid"));
        for seed in 0..seeds {
            let points = training(&path, seed, exact);
            println!("{}, seed {seed}, exact {exact:.10} Ha", path.display());
            for error in WANTED {
                // Below it for good: an error that comes back does not count as reached.
                let last = points.iter().rposition(|p| p.2.abs() > error);
                match points.get(last.map_or(0, |l| l + 1)) {
                    Some((seconds, iterations, found)) => println!(
                        "  {:>4} mHa: {seconds:6.2} s CPU, {iterations} iterations, error {found:+.1e} Ha",
                        1e3 * error
                    ),
                    None => println!("  {:>4} mHa: never", 1e3 * error),
                }
            }
            if let Some((seconds, iterations, found)) = points.last() {
                println!(
                    "  end: {seconds:6.2} s CPU, {iterations} iterations, error {found:+.1e} Ha"
                );
            }
        }
    }
}
