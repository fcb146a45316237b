//! What an independent sample costs, drawn exactly and by the best Langevin chain: `cargo bench --bench chain -- [SPEC | DIR ..]`.
//!
//! The chain is the Metropolis-adjusted Langevin algorithm on `|psi|²` (U. Grenander and M. I. Miller, J. R. Stat. Soc. B 56, 549
//! (1994); G. O. Roberts and R. L. Tweedie, Bernoulli 2, 341 (1996)), with a bounded drift, from an exact sample. Its cost is the CPU
//! time of a step times the integrated correlation time, for each observable at its own best step; that of exact sampling is
//! the time of a sample and of what the observable needs. A spec is taken as built, a folder as trained.

use cpu_time::ProcessTime;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::path::Path;
use weylflow::System;
use weylflow::run::State;
use weylflow::sampling::open_uniform;
use weylflow::wavefunction::{Evaluator, Wavefunction};

const STEPS: usize = 40_000;
const DRAWS: usize = 4000;
/// Steps of a chain in imaginary time, each half of the one before.
const LONGEST: f64 = 1.28;
const HALVINGS: i32 = 9;
const NAMES: [&str; 4] = ["sum x", "sum x²", "V", "E_L"];

fn normal(rng: &mut Pcg64) -> f64 {
    let radius = (-2.0 * open_uniform(rng).ln()).sqrt();
    radius * (2.0 * std::f64::consts::PI * open_uniform(rng)).cos()
}

struct Chain<'a> {
    system: System<'a>,
    psi: &'a dyn Wavefunction,
    evaluator: Box<dyn Evaluator + 'a>,
    tau: f64,
}

#[derive(Clone)]
struct Point {
    x: Vec<f64>,
    log: f64,
    drift: Vec<f64>,
    values: [f64; 4],
}

impl Chain<'_> {
    fn at(&mut self, x: Vec<f64>) -> Option<Point> {
        let (low, high) = self.system.geometry.interval();
        let sorted = self.psi.sector().spins().all(|s| x[s].windows(2).all(|w| w[0] < w[1]));
        if !sorted || x.iter().any(|&x| x <= low || x >= high) {
            return None;
        }
        let mut drift = vec![0.0; x.len()];
        let (log, laplacian) = self.evaluator.derivatives(&x, &mut drift);
        let square: f64 = drift.iter().map(|g| g * g).sum();
        let v = self.system.hamiltonian.potential(self.system.geometry, &x);
        let energy = v - 0.5 * (laplacian + square);
        let values = [x.iter().sum(), x.iter().map(|x| x * x).sum(), v, energy];
        energy.is_finite().then_some(Point { x, log: log.log_abs, drift, values })
    }

    /// Logarithm of the density of a step, up to a constant.
    fn density(&self, from: &Point, to: &Point) -> f64 {
        let bound = 2.0 / self.tau.sqrt();
        let each = from.x.iter().zip(&from.drift).zip(&to.x);
        let square = each.map(|((x, v), y)| (y - x - self.tau * v.clamp(-bound, bound)).powi(2));
        -0.5 * square.sum::<f64>() / self.tau
    }

    fn step(&mut self, here: &mut Point, rng: &mut Pcg64) -> bool {
        let (root, bound) = (self.tau.sqrt(), 2.0 / self.tau.sqrt());
        let each = here.x.iter().zip(&here.drift);
        let x = each.map(|(x, v)| x + self.tau * v.clamp(-bound, bound) + root * normal(rng));
        let x = x.collect();
        let Some(next) = self.at(x) else { return false };
        let ratio =
            2.0 * (next.log - here.log) + self.density(&next, here) - self.density(here, &next);
        let accepted = open_uniform(rng) < ratio.exp();
        if accepted {
            *here = next;
        }
        accepted
    }
}

/// Integrated correlation time in steps, over the window of five of them (A. D. Sokal, "Monte Carlo methods in statistical
/// mechanics" (1997)); none where the chain is too short to tell.
fn correlation(values: &[f64]) -> Option<f64> {
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    let at = |lag: usize| {
        let pairs = values[lag..].iter().zip(values);
        pairs.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / (n - lag) as f64
    };
    let variance = at(0);
    let mut time = 1.0;
    for lag in 1..n / 50 {
        time += 2.0 * at(lag) / variance;
        if lag as f64 > 5.0 * time {
            return Some(time.max(1.0));
        }
    }
    None
}

fn compare(name: &str, psi: &dyn Wavefunction, system: System) {
    let mut rng = Pcg64::seed_from_u64(1);
    let n = psi.sector().particles();
    let mut evaluator = psi.evaluator();
    let mut uniforms = vec![0.0; psi.uniforms()];
    let mut draw = |rng: &mut Pcg64| {
        uniforms.fill_with(|| open_uniform(rng));
        let mut x = vec![0.0; n];
        evaluator.sample(&uniforms, &mut x);
        x
    };
    let clock = ProcessTime::now();
    let samples: Vec<_> = (0..DRAWS).map(|_| draw(&mut rng)).collect();
    let sample = clock.elapsed().as_secs_f64() / DRAWS as f64;
    let mut gradient = vec![0.0; n];
    let mut evaluator = psi.evaluator();
    let clock = ProcessTime::now();
    samples.iter().for_each(|x| {
        std::hint::black_box(evaluator.derivatives(x, &mut gradient));
    });
    let energy = clock.elapsed().as_secs_f64() / DRAWS as f64;
    let exact = [sample, sample, sample, sample + energy];
    let mut best = [(f64::INFINITY, 0.0, 0.0, 0.0); 4];
    for k in 0..HALVINGS {
        let tau = LONGEST * 0.5f64.powi(k);
        let mut chain = Chain { system, psi, evaluator: psi.evaluator(), tau };
        let Some(mut here) = samples.iter().find_map(|x| chain.at(x.clone())) else { continue };
        let mut values = [const { Vec::new() }; 4];
        let mut accepted = 0usize;
        let clock = ProcessTime::now();
        for _ in 0..STEPS {
            accepted += usize::from(chain.step(&mut here, &mut rng));
            values.iter_mut().zip(here.values).for_each(|(all, v)| all.push(v));
        }
        let step = clock.elapsed().as_secs_f64() / STEPS as f64;
        for (best, values) in best.iter_mut().zip(&values) {
            if let Some(time) = correlation(values).filter(|t| t * step < best.0) {
                *best = (time * step, tau, time, accepted as f64 / STEPS as f64);
            }
        }
    }
    println!("{name}: a sample {:.1} us, a local energy {:.1} us", 1e6 * sample, 1e6 * energy);
    for ((name, exact), (cost, tau, time, accepted)) in NAMES.into_iter().zip(exact).zip(best) {
        println!(
            "  {name:<7} exact {:8.1} us, chain {:8.1} us ({:.2} times), step {tau:.3}, correlated over {time:.1} steps, {:.0} % accepted",
            1e6 * exact,
            1e6 * cost,
            cost / exact,
            100.0 * accepted
        );
    }
}

fn main() {
    let mut given: Vec<String> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if given.is_empty() {
        given = ["runs/trap_two.ron", "runs/trap_six.ron", "runs/helium_triplet.ron"]
            .map(String::from)
            .to_vec();
    }
    for name in given {
        let path = Path::new(&name);
        if path.is_dir() {
            match State::read(path) {
                Ok(state) => compare(&name, state.wavefunction(), state.system()),
                Err(error) => eprintln!("{name}: {error}"),
            }
            continue;
        }
        let built = weylflow::load(path).map_err(|e| e.to_string()).and_then(|spec| {
            let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
            let psi = spec.wavefunction.build(spec.sector, system, spec.seed);
            psi.map(|psi| compare(&name, psi.as_ref(), system)).map_err(|e| e.to_string())
        });
        if let Err(error) = built {
            eprintln!("{name}: {error}");
        }
    }
}
