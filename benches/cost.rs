//! The cost model of docs/cost.md against measurement: `cargo bench --bench cost`, CPU time on one thread, five minutes;
//! `-- --memory` for the memory alone.
//!
//! Measured first are the four numbers the model is made of: seconds per sample without and with derivatives, and the
//! machine's rates of matrix products and factorisations. Whole steps are then predicted from them and measured. Memory: the
//! estimate of `weylflow check` beside the peak of a process that trains two iterations.

mod support;

use cpu_time::ProcessTime;
use faer::linalg::matmul::matmul;
use faer::prelude::Solve;
use faer::{Accum, Mat, Par};
use std::path::Path;
use std::process::Command;
use support::{Case, seconds};
use weylflow::local_energy::Derivatives;
use weylflow::optimise::OptimiserSettings;
use weylflow::spec::{load, size};
use weylflow::system::System;
use weylflow::train;

/// Samples of the first of the steps; the second has four times as many.
const SAMPLES: usize = 1024;

/// CPU seconds of a call: the least of a few.
fn least(mut call: impl FnMut()) -> f64 {
    let one = |_| {
        let start = ProcessTime::now();
        call();
        start.elapsed().as_secs_f64()
    };
    (0..3).map(one).fold(f64::INFINITY, f64::min)
}

/// Floating-point operations per second of a product and of an LU factorisation with these numbers of rows.
fn rates(samples: usize, parameters: usize) -> (f64, f64) {
    let a = Mat::from_fn(samples, parameters, |i, j| ((i * 7 + j * 13) % 101) as f64 / 101.0);
    let mut c = Mat::<f64>::zeros(parameters, parameters);
    let product = seconds(|| matmul(c.as_mut(), Accum::Replace, a.transpose(), &a, 1.0, Par::Seq));
    let one = Mat::<f64>::from_fn(parameters, 1, |i, _| i as f64);
    for i in 0..parameters {
        c[(i, i)] += samples as f64;
    }
    let solve = seconds(|| {
        std::hint::black_box(c.partial_piv_lu().solve(&one));
    });
    let p = parameters as f64;
    (2.0 * samples as f64 * p * p / product, 2.0 / 3.0 * p.powi(3) / solve)
}

fn time(name: &str, of: fn(usize) -> Case, sizes: &[usize]) {
    let mut plain = Vec::new();
    for &n in sizes {
        let mut case = of(n);
        let p = case.psi.parameters().len() as f64;
        let per =
            |derivatives| least(|| drop(case.batch(SAMPLES, 0, derivatives))) / SAMPLES as f64;
        let (bare, full) = (per(Derivatives::None), per(Derivatives::LocalEnergy));
        plain.push((n as f64, bare, full));
        let (product, factor) = rates(SAMPLES, p as usize);
        print!(
            "{name:<9} N={n:<2} P={p:<5} sample and energy {:7.2} us, with derivatives {:8.2} us;",
            1e6 * bare,
            1e6 * full
        );
        // Of many particles, one step takes long enough.
        let steps = if n > 8 { &[SAMPLES][..] } else { &[SAMPLES, 4 * SAMPLES] };
        for &samples in steps {
            let s = samples as f64;
            // A batch with derivatives and one trial; one product, two Gram matrices by halves, three factorisations.
            let model = s * (bare + full) + 4.0 * s * p * p / product + 2.0 * p.powi(3) / factor;
            let found = least(|| drop(case.step(&OptimiserSettings::default(), samples)));
            print!(
                " step of {samples}: {:.1} ms = {:.2} times the model;",
                1e3 * found,
                found / model
            );
        }
        println!();
    }
    for pair in plain.windows(2) {
        let [(n, bare, full), (m, more, fuller)] = *pair else { continue };
        let exponent = |a: f64, b: f64| (b / a).ln() / (m / n).ln();
        println!(
            "{name:<9} from N={n} to {m}: exponents {:.2} without, {:.2} with derivatives",
            exponent(bare, more),
            exponent(full, fuller)
        );
    }
}

/// Peak memory of two iterations of a spec over that before them, in MiB: run in a process of its own.
fn peak(path: &str) {
    let mut spec = load(Path::new(path)).expect("the spec is valid");
    spec.iterations = 2;
    let estimate = size::memory(&spec) / f64::from(1 << 20);
    let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
    let mut psi = spec.wavefunction.build(spec.sector, system, 0).expect("it can be built");
    let before = support::peak_memory();
    let mut optimiser = spec.optimiser.minimising(spec.objective);
    train::train(psi.as_mut(), system, optimiser.as_mut(), &spec.schedule(), |_| ())
        .expect("two iterations succeed");
    println!(
        "N={:<2} P={:<4} S={:<6} estimate {estimate:7.1} MiB, measured {:4} MiB (and {before} MiB before)",
        spec.sector.particles(),
        psi.parameters().len(),
        spec.samples_per_iteration,
        support::peak_memory() - before
    );
}

fn main() {
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread()
        .build_global()
        .expect("no pool exists yet");
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|a| a == "--peak") {
        return peak(&arguments[at + 1]);
    }
    if !arguments.iter().any(|a| a == "--memory") {
        time("Waveflow", support::waveflow_default, &[2, 4, 8]);
        time("Weyl trap", support::weyl_trap, &[2, 4, 8, 16, 32]);
        time("Weyl box", support::weyl_box, &[2, 4, 8, 16]);
    }
    let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("runs");
    for name in ["trap_six", "trap_thirty_two", "helium_triplet_weyl", "lithium", "helium_triplet"]
    {
        let path = runs.join(format!("{name}.ron"));
        let program = std::env::current_exe().expect("this program is a file");
        let output = Command::new(program).arg("--peak").arg(&path).output();
        let output = output.expect("it can be run");
        print!("{name:<20} {}", String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
