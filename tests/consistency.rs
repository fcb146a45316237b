//! What makes a flow wavefunction trustworthy, tested at trained parameters: the norm is one, the bijection
//! undoes itself, samples follow |psi|², and the sampled energy is the Rayleigh quotient.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use weylflow::estimate;
use weylflow::local_energy::{self, BatchId, Derivatives};
use weylflow::math::quadrature::GaussLegendre;
use weylflow::math::statistics::Moments;
use weylflow::optimise::{OptimiserSettings, RayleighGaussNewtonSettings};
use weylflow::sampling::{Purpose, Sampling};
use weylflow::system::{External, Geometry, Hamiltonian, Interaction, Sector, System};
use weylflow::train::{self, Schedule, Stopping};
use weylflow::wavefunction::waveflow::{Chart, WaveflowSettings};
use weylflow::wavefunction::weyl::WeylSettings;
use weylflow::wavefunction::{Wavefunction, WavefunctionSettings};

const HALF_WIDTH: f64 = 5.0;

fn trap() -> (Hamiltonian, Geometry) {
    let hamiltonian = Hamiltonian {
        title: "trap with a tilt".into(),
        // The tilt breaks the mirror symmetry, which would hide mistakes in the odd moments.
        external: External::Sum(vec![
            External::Harmonic { frequency: 1.0 },
            External::Nuclei { charges: vec![0.7], positions: vec![1.2], softening: 0.8 },
        ]),
        interaction: Interaction::SoftCoulomb { strength: 1.5, softening: 0.7 },
    };
    (hamiltonian, Geometry::Box { half_width: HALF_WIDTH })
}

/// Waveflow of two layers.
fn waveflow(chart: Chart) -> WavefunctionSettings {
    WavefunctionSettings::Waveflow(WaveflowSettings {
        chart,
        layers: 2,
        knots: 7,
        prior_knots: 7,
        hidden: vec![6],
        ..Default::default()
    })
}

/// The default layers of the Weyl flow with fewer functions.
fn weyl() -> WavefunctionSettings {
    WavefunctionSettings::Weyl(WeylSettings {
        pair_cells: Some(8),
        monotone_cells: 8,
        two_body_functions: 3,
        ..Default::default()
    })
}

/// A flow after a short training.
fn trained(settings: &WavefunctionSettings, sector: Sector) -> Box<dyn Wavefunction> {
    let (hamiltonian, geometry) = trap();
    let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
    let mut psi = settings.build(sector, system, 9).unwrap();
    // Shaken first: the mean-field start is so good (exact for one particle) that training alone would
    // leave the conditioners near zero, where an inconsistent sampler would go unnoticed.
    let mut rng = Pcg64::seed_from_u64(21);
    let start: Vec<f64> =
        psi.parameters().iter().map(|p| p + 0.2 * rng.random_range(-1.0..1.0)).collect();
    psi.set_parameters(&start).unwrap();
    let mut optimiser =
        OptimiserSettings::RayleighGaussNewton(RayleighGaussNewtonSettings::default()).build();
    let schedule = Schedule {
        iterations: 8,
        samples: 768,
        final_samples: 768,
        sampling: Sampling::Random,
        scramblings: 16,
        seed: 4,
        refinements: 0,
        stopping: Default::default(),
        faults: Default::default(),
    };
    train::train(psi.as_mut(), system, optimiser.as_mut(), &schedule, |_| ()).unwrap();
    let moved: f64 =
        psi.parameters().iter().zip(&start).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(moved > 0.05, "training must have changed the parameters, moved {moved}");
    psi
}

/// Integrates functions of a configuration over the fundamental domain: x_1 in the box, each next particle
/// between the one before and the wall. `f` returns the integrands at one point.
fn quadrature<const K: usize>(
    sector: Sector,
    panels: usize,
    mut f: impl FnMut(&[f64]) -> [f64; K],
) -> [f64; K] {
    let rule = GaussLegendre::new(12);
    let nodes: Vec<(f64, f64)> = (0..panels)
        .flat_map(|p| {
            let (a, b) = (p as f64 / panels as f64, (p + 1) as f64 / panels as f64);
            rule.on(a, b).collect::<Vec<_>>()
        })
        .collect();
    let n = sector.particles();
    let starts: Vec<usize> = sector.spins().map(|s| s.start).collect();
    let mut sums = [0.0; K];
    let mut index = vec![0usize; n];
    let mut x = vec![0.0; n];
    loop {
        let mut weight = 1.0;
        for i in 0..n {
            let low = if starts.contains(&i) { -HALF_WIDTH } else { x[i - 1] };
            let (u, w) = nodes[index[i]];
            x[i] = low + (HALF_WIDTH - low) * u;
            weight *= w * (HALF_WIDTH - low);
        }
        for (s, v) in sums.iter_mut().zip(f(&x)) {
            *s += weight * v;
        }
        let mut digit = 0;
        loop {
            index[digit] += 1;
            if index[digit] < nodes.len() {
                break;
            }
            index[digit] = 0;
            digit += 1;
            if digit == n {
                return sums;
            }
        }
    }
}

/// Moments of the positions: the first and second, and the mean distance of neighbours.
fn moments(x: &[f64]) -> [f64; 3] {
    let gap: f64 = x.windows(2).map(|w| (w[1] - w[0]).abs()).sum();
    [x.iter().sum(), x.iter().map(|x| x * x).sum(), gap]
}

fn check(settings: &WavefunctionSettings, sector: Sector) {
    let (hamiltonian, geometry) = trap();
    let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
    let psi = trained(settings, sector);
    let name = match settings {
        WavefunctionSettings::Waveflow(s) => format!("{:?} {sector:?}", s.chart),
        WavefunctionSettings::Weyl(_) => format!("Weyl {sector:?}"),
        WavefunctionSettings::SectorBase(_) => format!("SectorBase {sector:?}"),
    };
    let n = sector.particles();

    let mut evaluator = psi.evaluator();
    let mut gradient = vec![0.0; n];
    // Its steep maps take the finer rule: with 12 panels the norm of three particles is off by 1e-8 at most, with 8 that of the others by
    // 3e-8.
    let panels = [0, 40, 32, if *settings == waveflow(Chart::Uniform) { 10 } else { 7 }][n];
    let exact = quadrature(sector, panels, |x| {
        let (log, _) = evaluator.derivatives(x, &mut gradient);
        let p = (2.0 * log.log_abs).exp();
        // So close to a meeting or a wall that psi² underflows, its derivatives are not numbers.
        if p == 0.0 {
            return [0.0; 5];
        }
        // The kinetic energy as 1/2 |∇ psi|²: no Laplacian, so a different route than the samples take.
        let kinetic = 0.5 * gradient.iter().map(|g| g * g).sum::<f64>();
        let energy = kinetic + hamiltonian.potential(&geometry, x);
        let m = moments(x);
        [p, p * m[0], p * m[1], p * m[2], p * energy]
    });
    let tolerance = [0.0, 1e-9, 1e-8, 2e-6][n];
    assert!((exact[0] - 1.0).abs() < tolerance, "{name}: norm {}", exact[0]);

    let id = BatchId {
        sampling: Sampling::Random,
        seed: 5,
        purpose: Purpose::Estimate,
        number: 0,
        first: 0,
        tails: 0.0,
    };
    let batch = local_energy::draw(psi.as_ref(), system, id, 40_000, Derivatives::None);
    assert_eq!(batch.rejected, 0, "{name}");
    let mut statistics = [Moments::default(); 4];
    let mut round_trip = 0.0f64;
    for (k, (x, e)) in batch.x.chunks_exact(n).zip(&batch.local_energy).enumerate() {
        for (s, m) in statistics.iter_mut().zip(moments(x)) {
            s.push(m);
        }
        statistics[3].push(*e);
        if k % 16 == 0 {
            round_trip = round_trip.max(evaluator.round_trip_error(x));
        }
    }
    assert!(round_trip < 1e-10, "{name}: round trip {round_trip}");
    for (k, s) in statistics.iter().enumerate() {
        if k == 2 && n == 1 {
            continue;
        }
        // 4.5 standard errors: one false alarm in 150 000.
        let z = (s.mean() - exact[k + 1]) / s.standard_error();
        assert!(
            z.abs() < 4.5,
            "{name}: moment {k} of the samples {} ± {}, by quadrature {}",
            s.mean(),
            s.standard_error(),
            exact[k + 1]
        );
    }
}

#[test]
fn stick_breaking() {
    for n in 1..=3 {
        check(&waveflow(Chart::StickBreaking), Sector::new(n, 0));
    }
}

#[test]
fn uniform() {
    for n in 1..=3 {
        check(&waveflow(Chart::Uniform), Sector::new(n, 0));
    }
}

#[test]
fn gaps() {
    for n in 1..=3 {
        check(&waveflow(Chart::Gaps), Sector::new(n, 0));
    }
}

#[test]
fn both_spins() {
    check(&waveflow(Chart::Gaps), Sector::new(1, 1));
    check(&waveflow(Chart::Uniform), Sector::new(2, 1));
}

#[test]
fn weyl_flow() {
    for (up, down) in [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1)] {
        check(&weyl(), Sector::new(up, down));
    }
}

/// Three equal fermions in a wave of a ring, of which the layers must know where it is: within a few error bars of
/// the exact energy, and the same wherever the wave is.
#[test]
fn a_wave_on_a_ring() {
    // Full configuration interaction (`weylflow exact`).
    const EXACT: f64 = 1.678_963_810_4;
    let geometry = Geometry::Ring { circumference: 6.0 };
    let trained = |shift: f64| {
        let hamiltonian = Hamiltonian {
            title: String::new(),
            external: External::Formula(format!("-2*cos(tau*(x-{shift})/6)").parse().unwrap()),
            interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 },
        };
        let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
        let mut settings = WavefunctionSettings::Weyl(WeylSettings::default());
        settings.complete(Sector::new(3, 0), system);
        let mut psi = settings.build(Sector::new(3, 0), system, 0).unwrap();
        let schedule = Schedule {
            iterations: 12,
            samples: 1024,
            final_samples: 16_384,
            sampling: Sampling::QuasiRandom,
            scramblings: 16,
            refinements: 0,
            stopping: Stopping::Never,
            faults: Default::default(),
            seed: 0,
        };
        let mut optimiser = OptimiserSettings::default().build();
        train::train(psi.as_mut(), system, optimiser.as_mut(), &schedule, |_| ()).unwrap();
        estimate::estimate(psi.as_ref(), system, &schedule, 10).energy
    };
    let energy = trained(0.0);
    let bars = (energy.mean() - EXACT) / energy.standard_error();
    println!(
        "{} ± {}, variance {}",
        energy.mean() - EXACT,
        energy.standard_error(),
        energy.variance()
    );
    // Pair layers alone left a variance of 4e-3 Ha² and 8e-4 Ha.
    assert!(bars.abs() < 5.0, "{bars} error bars");
    assert!(energy.variance() < 1e-4, "{}", energy.variance());
    let shifted = trained(1.234);
    let difference = shifted.mean() - energy.mean();
    assert!(difference.abs() < 1e-6, "{difference}");
}
