//! Kernels one by one, by divan: `cargo bench --bench kernels -- [FILTER]`.
//!
//! Numbers per sample: every timed call handles [`SAMPLES`] of them, and the table has a line of samples per second.

mod support;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use support::{Case, SIZES};
use weylflow::local_energy::Derivatives;
use weylflow::math::spline::{BSplineBasis, CircularSpline, LocalBasis};
use weylflow::optimise::OptimiserSettings;

const SAMPLES: usize = 32;

fn main() {
    // One thread: what is measured is the cost of a sample, not how samples are spread.
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("no pool exists yet");
    divan::main();
}

#[divan::bench(args = [3, 5, 6, 7])]
fn b_splines_with_three_derivatives(bencher: Bencher, degree: usize) {
    let basis = BSplineBasis::uniform(degree, 23).expect("enough knots");
    let mut local = LocalBasis::default();
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        basis.evaluate(black_box(0.437), 3, &mut local);
        black_box(local.row(0)[0])
    });
}

#[divan::bench]
fn circular_spline(bencher: Bencher) {
    let spline = CircularSpline::identity(24, 1e-3).expect("enough cells");
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| spline.evaluate(black_box(1.234)));
}

fn local_energy(bencher: Bencher, case: Case) {
    let x = case.batch(SAMPLES, 0, Derivatives::None).x;
    bencher.counter(ItemsCount::new(SAMPLES)).bench_local(|| case.at(&x));
}

#[divan::bench(args = SIZES)]
fn local_energy_waveflow(bencher: Bencher, n: usize) {
    local_energy(bencher, support::waveflow(n));
}

#[divan::bench]
fn local_energy_weyl_helium(bencher: Bencher) {
    local_energy(bencher, support::weyl_helium());
}

#[divan::bench(args = SIZES)]
fn local_energy_weyl_trap(bencher: Bencher, n: usize) {
    local_energy(bencher, support::weyl_trap(n));
}

#[divan::bench(args = SIZES)]
fn local_energy_weyl_box(bencher: Bencher, n: usize) {
    local_energy(bencher, support::weyl_box(n));
}

fn sampling(bencher: Bencher, case: Case) {
    let uniforms: Vec<f64> = (0..case.particles()).map(|i| 0.2 + 0.6 * i as f64 / 32.0).collect();
    let mut x = vec![0.0; case.particles()];
    let mut evaluator = case.psi.evaluator();
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        evaluator.sample(black_box(&uniforms), &mut x);
        x[0]
    });
}

#[divan::bench(args = [2, 4, 16])]
fn sampling_waveflow(bencher: Bencher, n: usize) {
    sampling(bencher, support::waveflow(n));
}

#[divan::bench(args = [2, 4, 16])]
fn sampling_weyl_trap(bencher: Bencher, n: usize) {
    sampling(bencher, support::weyl_trap(n));
}

#[divan::bench]
fn sampling_weyl_helium(bencher: Bencher) {
    sampling(bencher, support::weyl_helium());
}

fn gradient(bencher: Bencher, case: Case) {
    let x = case.batch(1, 0, Derivatives::None).x;
    let count = case.psi.parameters().len();
    let (mut o, mut kinetic) = (vec![0.0; count], vec![0.0; count]);
    let mut evaluator = case.psi.evaluator();
    bencher
        .counter(ItemsCount::new(1usize))
        .bench_local(|| evaluator.kinetic_parameter_gradient(black_box(&x), &mut o, &mut kinetic));
}

#[divan::bench(args = [2, 4])]
fn kinetic_gradient_waveflow(bencher: Bencher, n: usize) {
    gradient(bencher, support::waveflow(n));
}

#[divan::bench]
fn kinetic_gradient_weyl_helium(bencher: Bencher) {
    gradient(bencher, support::weyl_helium());
}

#[divan::bench(args = [4, 16])]
fn kinetic_gradient_weyl_trap(bencher: Bencher, n: usize) {
    gradient(bencher, support::weyl_trap(n));
}

/// Draws, derivatives, solve and trial of 256 samples.
#[divan::bench(sample_count = 10)]
fn step_waveflow_stochastic_reconfiguration(bencher: Bencher) {
    let mut case = support::waveflow(2);
    bencher.bench_local(|| case.step(&support::stochastic_reconfiguration(), 256));
}

#[divan::bench(sample_count = 10)]
fn step_weyl_helium_rayleigh_gauss_newton(bencher: Bencher) {
    let mut case = support::weyl_helium();
    bencher.bench_local(|| case.step(&OptimiserSettings::default(), 1024));
}
