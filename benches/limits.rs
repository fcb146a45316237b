//! The acceptance figures beside what the machine can do: `cargo bench --bench limits`.
//!
//! CPU time on one thread, the least of several runs, so that other work on the machine shows little. With
//! `-- --local-energy` only the line that the script of `benches/peers/` reads, with `-- --waveflow` those of two to four particles, with
//! `-- --threads` the speed of two threads over one, with `-- --samples` what it costs to draw, with `-- --step` one step of either flow and the peak memory of the first.

mod support;

use cpu_time::ProcessTime;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use std::hint::black_box;
use std::time::Instant;
use support::{per_local_energy, seconds};
use weylflow::local_energy::Derivatives;
use weylflow::optimise::OptimiserSettings;

/// Floating-point operations per second of fused multiply-adds in registers, with the widest vectors there are.
#[allow(unsafe_code)]
fn fused() -> f64 {
    // Enough to hide the latency, few enough for sixteen registers.
    const CHAINS: usize = 12;
    const ROUNDS: usize = 4096;
    let per = |lanes: usize, t: f64| (2 * CHAINS * ROUNDS * lanes) as f64 / t;
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        #[target_feature(enable = "avx512f")]
        fn wide(a: f64, b: f64) -> f64 {
            let (a, b) = (_mm512_set1_pd(a), _mm512_set1_pd(b));
            let mut x = [b; CHAINS];
            for _ in 0..ROUNDS {
                for x in &mut x {
                    *x = _mm512_fmadd_pd(*x, a, b);
                }
            }
            let mut sum = _mm512_setzero_pd();
            for x in x {
                sum = _mm512_add_pd(sum, x);
            }
            _mm512_reduce_add_pd(sum)
        }
        #[target_feature(enable = "avx2,fma")]
        fn half(a: f64, b: f64) -> f64 {
            let (a, b) = (_mm256_set1_pd(a), _mm256_set1_pd(b));
            let mut x = [b; CHAINS];
            for _ in 0..ROUNDS {
                for x in &mut x {
                    *x = _mm256_fmadd_pd(*x, a, b);
                }
            }
            let mut sum = _mm256_setzero_pd();
            for x in x {
                sum = _mm256_add_pd(sum, x);
            }
            _mm256_cvtsd_f64(sum)
        }
        if is_x86_feature_detected!("avx512f") {
            // Safety: the processor has it.
            let t = seconds(|| unsafe {
                black_box(wide(black_box(0.5), black_box(0.25)));
            });
            return per(8, t);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // Safety: the processor has both.
            let t = seconds(|| unsafe {
                black_box(half(black_box(0.5), black_box(0.25)));
            });
            return per(4, t);
        }
    }
    // What a compiler makes of separate operations.
    let t = seconds(|| {
        let (a, b) = (black_box(0.5), black_box(0.25));
        let mut x = [0.5f64; CHAINS];
        for _ in 0..ROUNDS {
            x = x.map(|x| x * a + b);
        }
        black_box(x);
    });
    per(1, t)
}

/// Floating-point operations per second of a product of square matrices.
fn products(n: usize) -> f64 {
    let a = Mat::from_fn(n, n, |i, j| (i + 2 * j) as f64 / n as f64);
    let mut c = Mat::<f64>::zeros(n, n);
    let t = seconds(|| matmul(c.as_mut(), Accum::Replace, &a, &a, 1.0, Par::Seq));
    2.0 * (n as f64).powi(3) / t
}

fn threads() {
    for samples in [1024, 4096] {
        let wall = |count: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build();
            let pool = pool.expect("threads can be started");
            let mut case = support::weyl_trap(8);
            let run = || {
                (0..7)
                    .map(|_| {
                        let start = Instant::now();
                        case.step(&OptimiserSettings::default(), samples);
                        start.elapsed().as_secs_f64()
                    })
                    .fold(f64::INFINITY, f64::min)
            };
            pool.install(run)
        };
        let (one, two) = (wall(1), wall(2));
        println!(
            "step of {samples} samples, Weyl trap N=8: two threads are {:.2} times one",
            one / two
        );
    }
}

/// Configurations of a final estimate at a time, for which networks of two particles become tables.
const MANY: usize = 16384;

fn of_many() {
    let time = support::per_local_energy_of_many(&mut support::waveflow(2), MANY);
    println!("local energy, Waveflow N=2, {MANY} at once: {:.3} us", 1e6 * time);
}

fn samples() {
    for (name, case) in [
        ("Weyl helium", support::weyl_helium()),
        ("Weyl trap N=2", support::weyl_trap(2)),
        ("Weyl trap N=8", support::weyl_trap(8)),
        ("Weyl trap N=32", support::weyl_trap(32)),
        ("Weyl box N=8", support::weyl_box(8)),
        ("Weyl trap (4, 0), gaps", support::weyl_trap_default(4, 0)),
        ("Weyl trap (2, 2), sum of determinants", support::weyl_trap_default(2, 2)),
        ("Waveflow N=2", support::waveflow(2)),
        ("Waveflow N=4", support::waveflow(4)),
    ] {
        println!("sample, {name}: {:.2} us", 1e6 * support::per_sample(&case, 256));
    }
    let time = support::per_sample_of_many(&mut support::waveflow(2), MANY);
    println!("sample, Waveflow N=2, {MANY} at once: {:.2} us", 1e6 * time);
}

fn step() {
    let mut case = support::waveflow(2);
    let optimiser = support::stochastic_reconfiguration();
    case.step(&optimiser, 256);
    println!(
        "peak memory after a step of 256 samples, Waveflow N=2: {} MiB",
        support::peak_memory()
    );
    let least = |case: &mut support::Case, optimiser: &OptimiserSettings, samples, runs| {
        let one = |_| {
            let start = ProcessTime::now();
            case.step(optimiser, samples);
            start.elapsed().as_secs_f64()
        };
        (0..runs).map(one).fold(f64::INFINITY, f64::min)
    };
    println!("CPU time of that step: {:.1} ms", 1e3 * least(&mut case, &optimiser, 256, 10));
    println!(
        "CPU time of a Rayleigh-Gauss-Newton step of 4096 samples, Weyl helium: {:.1} ms",
        1e3 * least(&mut support::weyl_helium(), &OptimiserSettings::default(), 4096, 5)
    );
}

/// One kernel over as many samples as asked for, nothing timed: for `benches/instructions.sh`.
fn count(kernel: &str, samples: usize) {
    let energies = |case: support::Case, configurations: usize| {
        // Always the same configurations, and one evaluator for all.
        let x = case.batch(8, 0, Derivatives::None).x;
        let mut evaluator = case.psi.evaluator_for(configurations);
        let mut kinetic = [0.0; 8];
        for _ in 0..samples.div_ceil(kinetic.len()) {
            evaluator.kinetic_energies(black_box(&x), &mut kinetic);
            black_box(kinetic);
        }
    };
    // Eight at a time, always the same.
    let draws = |case: support::Case, configurations: usize| {
        let uniforms: [f64; 16] =
            std::array::from_fn(|i| (0.02 + 0.618_033_988_749_894_9 * i as f64).fract());
        let mut evaluator = case.psi.evaluator_for(configurations);
        let mut x = [0.0; 16];
        for _ in 0..samples.div_ceil(8) {
            evaluator.sample(black_box(&uniforms), &mut x);
            black_box(x);
        }
    };
    match kernel {
        "waveflow-energy" => energies(support::waveflow(2), 1),
        "waveflow3-energy" => energies(support::waveflow(3), 1),
        "waveflow4-energy" => energies(support::waveflow(4), 1),
        "waveflow-tables" => energies(support::waveflow(2), MANY),
        "weyl-helium-energy" => energies(support::weyl_helium(), 1),
        "weyl-trap8-energy" => energies(support::weyl_trap(8), 1),
        "waveflow-step" => {
            let mut case = support::waveflow(2);
            let optimiser = support::stochastic_reconfiguration();
            (0..samples / 256).for_each(|_| drop(case.step(&optimiser, 256)));
        }
        "waveflow-sample" => draws(support::waveflow(2), 1),
        "waveflow-sample-tables" => draws(support::waveflow(2), MANY),
        _ => panic!("no kernel is called {kernel}"),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|a| a == "--count") {
        return count(&arguments[at + 1], arguments[at + 2].parse().expect("a number"));
    }
    if std::env::args().any(|a| a == "--threads") {
        return threads();
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread()
        .build_global()
        .expect("no pool exists yet");
    if std::env::args().any(|a| a == "--step") {
        return step();
    }
    if std::env::args().any(|a| a == "--samples") {
        return samples();
    }
    if std::env::args().any(|a| a == "--waveflow") {
        for n in 2..=4 {
            let time = per_local_energy(&support::waveflow(n), 256);
            println!("local energy, Waveflow N={n}: {:.3} us", 1e6 * time);
        }
        return;
    }
    let mut waveflow = support::waveflow(2);
    println!(
        "local energy, Waveflow N=2, 256 at once: {:.3} us",
        1e6 * per_local_energy(&waveflow, 256)
    );
    let time = support::per_local_energy_of_many(&mut waveflow, 1024);
    println!("local energy, Waveflow N=2: {:.3} us", 1e6 * time);
    of_many();
    if std::env::args().any(|a| a == "--local-energy") {
        return;
    }
    let (fused, product) = (fused(), products(512));
    println!("fused multiply-adds: {:.1} Gflop/s", 1e-9 * fused);
    println!(
        "product of 512 x 512 matrices: {:.1} Gflop/s, {:.0} % of that",
        1e-9 * product,
        100.0 * product / fused
    );
    // Every weight of the networks that is used multiplies a value, two slopes and a Laplacian.
    let flops = 2.0 * 4.0 * waveflow.psi.parameters().len() as f64;
    println!(
        "networks of Waveflow N=2, {:.0} kflop a sample: {:.0} % of the fused rate over the whole local energy",
        1e-3 * flops,
        100.0 * flops / time / fused
    );
    println!(
        "local energy, Weyl helium: {:.3} us",
        1e6 * per_local_energy(&support::weyl_helium(), 1024)
    );
    for (name, of) in [
        ("Weyl trap", support::weyl_trap as fn(usize) -> support::Case),
        ("Weyl box", support::weyl_box),
        ("Waveflow", support::waveflow),
    ] {
        let mut times = Vec::new();
        for n in support::SIZES {
            let samples = if n > 8 { 8 } else { 256 };
            let t = per_local_energy(&of(n), samples);
            println!("local energy, {name} N={n}: {:.3} us", 1e6 * t);
            times.push((n, t));
        }
        let at = |n: usize| times.iter().find(|t| t.0 == n).map_or(f64::NAN, |t| t.1);
        println!("cost exponent, {name}, N=4 to 32: {:.2}", (at(32) / at(4)).ln() / 8f64.ln());
    }
    step();
}
