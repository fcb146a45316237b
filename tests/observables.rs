//! Observables of trained states against exact diagonalisation, and error bars that cover as often as they say.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use weylflow::exact::{ExactOptions, ExactResult, solve};
use weylflow::math::quadrature::GaussLegendre;
use weylflow::observables::{Effort, Measurement, Quantity, REGISTRY, Setup, measure};
use weylflow::optimise::OptimiserSettings;
use weylflow::problems::{ReferenceCase, reference_case, reference_cases};
use weylflow::sampling::Sampling;
use weylflow::spec::{ResolvedSpec, load};
use weylflow::system::{External, Geometry, Hamiltonian, Interaction, Sector, System};
use weylflow::train::{self, Schedule, Stopping};
use weylflow::wavefunction::weyl::WeylSettings;
use weylflow::wavefunction::{Wavefunction, WavefunctionSettings};

/// A run of the library with less effort, trained.
fn trained(run: &str, samples: usize, iterations: usize) -> (ResolvedSpec, Box<dyn Wavefunction>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("runs").join(run);
    let mut spec = load(&path).unwrap();
    (spec.samples_per_iteration, spec.iterations) = (samples, iterations);
    let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
    let mut psi = spec.wavefunction.build(spec.sector, system, spec.seed).unwrap();
    let mut optimiser = spec.optimiser.minimising(spec.objective);
    train::train(psi.as_mut(), system, optimiser.as_mut(), &spec.schedule(), |_| ()).unwrap();
    (spec, psi)
}

fn exact(spec: &ResolvedSpec) -> ExactResult {
    let options = ExactOptions { tolerance: 1e-6, ..ExactOptions::default() };
    solve(&spec.hamiltonian, &spec.geometry, spec.sector, &options, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap()
}

fn observe(
    psi: &dyn Wavefunction,
    setup: &Setup,
    names: &[&str],
    effort: Effort,
) -> Vec<Measurement> {
    let observables: Vec<_> = REGISTRY
        .iter()
        .filter(|e| names.contains(&e.name))
        .map(|e| (e.name, (e.build)(setup).unwrap()))
        .collect();
    assert_eq!(observables.len(), names.len());
    measure(psi, setup, &observables, effort, |_| ()).unwrap()
}

fn quantity<'a>(found: &'a [Measurement], name: &str) -> &'a Quantity {
    found.iter().flat_map(|m| &m.quantities).find(|q| q.name == name).unwrap()
}

/// Deviations in standard errors.
fn deviations(q: &Quantity, exact: &[f64]) -> Vec<f64> {
    q.values.iter().zip(&q.errors).zip(exact).map(|((v, e), x)| (v - x) / e).collect()
}

/// Integral of a curve between points up to `x`, by the trapezoidal rule.
fn cumulative(points: &[f64], values: &[f64], x: f64) -> f64 {
    let mut sum = 0.0;
    for i in 1..points.len() {
        let (a, b) = (points[i - 1], points[i]);
        if x <= a {
            break;
        }
        let end = x.min(b);
        let value = |t: f64| values[i - 1] + (values[i] - values[i - 1]) * (t - a) / (b - a);
        sum += (end - a) * 0.5 * (values[i - 1] + value(end));
    }
    sum
}

/// Means of a density over bins.
fn over_bins(edges: &[f64], points: &[f64], values: &[f64]) -> Vec<f64> {
    let to = |x: f64| cumulative(points, values, x);
    edges.windows(2).map(|e| (to(e[1]) - to(e[0])) / (e[1] - e[0])).collect()
}

/// Chi² of a histogram over the bins that hold enough samples for a Gaussian error: neither too large (a wrong
/// density) nor too small (error bars that are too long).
fn check_chi2(name: &str, q: &Quantity, exact: &[f64], samples: usize) {
    let width = q.axes[0].points[1] - q.axes[0].points[0];
    let enough = |k: &usize| exact[*k] * width * samples as f64 > 20.0;
    let z = deviations(q, exact);
    let used: Vec<f64> = (0..z.len()).filter(enough).map(|k| z[k]).collect();
    let chi2: f64 = used.iter().map(|z| z * z).sum();
    // Errors from 32 replicates follow Student's distribution: the mean of z² is 31/29.
    let degrees = used.len() as f64;
    let expected = degrees * 31.0 / 29.0;
    let four_sigma = 4.0 * 1.1 * (2.0 * degrees).sqrt();
    println!("{name}: chi² = {chi2:.1} for {degrees} bins");
    assert!(used.len() >= 10 && (chi2 - expected).abs() < four_sigma, "{name}: {chi2} {degrees}");
}

/// With as many samples as the state deserves: with more, its own error would be seen, and should be.
fn agrees_with_the_exact_solver(run: &str, samples: usize, fidelity: f64) {
    let (spec, psi) = trained(run, 2048, 18);
    let known = exact(&spec);
    let ground = known.ground_state.unwrap();
    let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
    let mut setup = Setup::new(psi.as_ref(), system);
    setup.exact = Some(Arc::new(ground.state.clone().unwrap()));
    let effort = Effort { samples, replicates: 32, seed: 77 };
    let names = ["energy", "density", "density_matrix", "fidelity"];
    let found = observe(psi.as_ref(), &setup, &names, effort);

    let c = known.components;
    for (name, exact) in [
        ("energy", known.energies[0]),
        ("kinetic", c.kinetic),
        ("external", c.external),
        ("interaction", c.interaction),
    ] {
        let (value, error) = quantity(&found, name).scalar().unwrap();
        println!("{run}: {name} {value} ± {error}, exact {exact}");
        assert!((value - exact).abs() < 4.0 * error, "{run}: {name} {value} ± {error}, {exact}");
    }
    // Two estimators of the kinetic energy that have only psi in common.
    let [a, b] = ["kinetic", "kinetic_gradient"].map(|n| quantity(&found, n).scalar().unwrap());
    println!("{run}: kinetic energy {a:?} and from gradients {b:?}");
    assert!((a.0 - b.0).abs() < 4.0 * a.1.hypot(b.1), "{run}: {a:?} {b:?}");
    let density = &ground.density;
    for (name, values) in [("density_up", &density.up), ("density_down", &density.down)] {
        if values.iter().any(|v| *v > 0.0) {
            let q = quantity(&found, name);
            let bins = over_bins(&q.axes[0].points, &density.x, values);
            check_chi2(&format!("{run}: {name}"), q, &bins, effort.samples);
        }
    }
    let q = quantity(&found, "occupations");
    let z = deviations(q, &ground.natural_occupations);
    println!(
        "{run}: occupations {:?} ± {:?}, in errors {:?}",
        &q.values[..4],
        &q.errors[..4],
        &z[..4]
    );
    // Those that a correlated state has: the rest is below what the short training resolves.
    let strong = ground.natural_occupations.iter().take_while(|n| **n > 1e-3).count();
    assert!(z[..strong].iter().all(|z| z.abs() < 4.5), "{run}: occupations off by {z:?} errors");
    let (value, error) = quantity(&found, "fidelity").scalar().unwrap();
    println!("{run}: fidelity {value} ± {error}");
    assert!(value - 3.0 * error > fidelity && value < 1.0, "{run}: fidelity {value} ± {error}");
}

#[test]
fn helium_triplet() {
    agrees_with_the_exact_solver("helium_triplet_weyl.ron", 8192, 0.9999);
}

#[test]
fn helium_singlet() {
    agrees_with_the_exact_solver("helium.ron", 2048, 0.9995);
}

#[test]
fn trap_three() {
    agrees_with_the_exact_solver("trap_three.ron", 8192, 0.9999);
}

/// A Weyl flow with default settings, trained on a stored problem.
fn trained_on(
    problem: &ReferenceCase,
    system: System,
    samples: usize,
    iterations: usize,
) -> Box<dyn Wavefunction> {
    let mut settings = WavefunctionSettings::Weyl(WeylSettings::default());
    settings.complete(problem.sector, system);
    let mut psi = settings.build(problem.sector, system, 0).unwrap();
    let schedule = Schedule {
        iterations,
        samples,
        final_samples: 8 * samples,
        sampling: Sampling::QuasiRandom,
        scramblings: 16,
        refinements: 0,
        stopping: Stopping::Plateau,
        faults: Default::default(),
        seed: 0,
    };
    let mut optimiser = OptimiserSettings::default().build();
    train::train(psi.as_mut(), system, optimiser.as_mut(), &schedule, |_| ()).unwrap();
    psi
}

/// The state that training of a system would start from.
fn untrained(system: System, sector: Sector) -> Box<dyn Wavefunction> {
    let mut settings = WavefunctionSettings::Weyl(WeylSettings::default());
    settings.complete(sector, system);
    settings.build(sector, system, 0).unwrap()
}

#[test]
fn momenta_on_a_ring_are_discrete() {
    let hamiltonian = Hamiltonian {
        title: String::new(),
        external: External::Free,
        interaction: Interaction::None,
    };
    let geometry = Geometry::Ring { circumference: 6.0 };
    let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
    let psi = untrained(system, Sector::new(3, 0));
    let setup = Setup::new(psi.as_ref(), system);
    let effort = Effort { samples: 256, replicates: 16, seed: 1 };
    let found = observe(psi.as_ref(), &setup, &["density_matrix"], effort);
    let q = quantity(&found, "momentum_up");
    let unit = 2.0 * std::f64::consts::PI / 6.0;
    let mut kinetic = 0.0;
    for ((p, n), error) in q.axes[0].points.iter().zip(&q.values).zip(&q.errors) {
        let k = (p / unit).round();
        assert!((p / unit - k).abs() < 1e-12, "{p}");
        // Which of the three a projector shows is a matter of chance, that it shows no other is not.
        if k.abs() <= 1.0 {
            assert!((n - 1.0).abs() < 5.0 * error && *error < 0.02, "{p}: {n} ± {error}");
        } else {
            assert!(n.abs() < 1e-9, "{p}: {n}");
        }
        kinetic += 0.5 * p * p * n;
    }
    // The same numbers from the kinetic energy of the grid.
    let (gradient, error) = quantity(&found, "kinetic_gradient").scalar().unwrap();
    assert!((kinetic - gradient).abs() < 1e-9, "{kinetic} {gradient}");
    assert!((kinetic - unit * unit).abs() < 5.0 * error, "{kinetic} ± {error}");
    assert!((q.values.iter().sum::<f64>() - 3.0).abs() < 1e-9);
    assert!(found[0].quantities.iter().all(|q| q.name != "density_matrix_unresolved"));
}

/// A trap in boxes of any width, also where the density fills a hundredth of it, off its middle: the same state. And a
/// box that is filled from wall to wall.
#[test]
fn the_grid_follows_the_density() {
    let measured = |external: &str, half_width: f64, sector| {
        let hamiltonian = Hamiltonian {
            title: String::new(),
            external: External::Formula(external.parse().unwrap()),
            interaction: Interaction::None,
        };
        let geometry = Geometry::Box { half_width };
        let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
        let psi = untrained(system, sector);
        let setup = Setup::new(psi.as_ref(), system);
        let effort = Effort { samples: 256, replicates: 16, seed: 1 };
        let found = observe(psi.as_ref(), &setup, &["density_matrix", "density"], effort);
        let kinetic = quantity(&found, "kinetic_gradient").scalar().unwrap();
        let n = quantity(&found, "momentum_up");
        let step = n.axes[0].points[1] - n.axes[0].points[0];
        let total = n.values.iter().sum::<f64>() * step;
        let q = quantity(&found, "density_up");
        let width = q.axes[0].points[1] - q.axes[0].points[0];
        let held = q.values.iter().sum::<f64>() * width;
        let said = found[0].quantities.iter().any(|q| q.name == "density_matrix_unresolved");
        (kinetic, total, held, width, said)
    };
    let check = |name: &str, (value, error): (f64, f64), exact: f64| {
        assert!((value - exact).abs() < 5.0 * error, "{name}: {value} ± {error}");
        assert!(error < 0.03 * exact, "{name}: {value} ± {error}");
    };
    let two = Sector::new(2, 0);
    for (external, half_width, frequency) in [
        ("0.5*x^2", 6.0, 1.0),
        ("0.5*x^2", 30.0, 1.0),
        ("0.5*(x-17)^2", 30.0, 1.0),
        ("0.5*400*(x+2)^2", 8.0, 20.0),
    ] {
        let (kinetic, total, held, width, said) = measured(external, half_width, two);
        check(external, kinetic, frequency);
        assert!((total - 2.0).abs() < 1e-5 && (held - 2.0).abs() < 1e-9, "{external}: {total}");
        // Bins that show something.
        assert!(width * f64::sqrt(frequency) < 0.3 && !said, "{external}: {width}");
    }
    let five = Sector::new(5, 0);
    let (kinetic, total, _, width, said) = measured("0*x", 100.0, five);
    let exact = 55.0 * 0.5 * (std::f64::consts::PI / 200.0).powi(2);
    check("free", kinetic, exact);
    assert!((total - 5.0).abs() < 1e-3, "{total}");
    assert!((width - 2.0).abs() < 1e-9 && !said, "{width}");
}

/// A singlet: both spins have the same density, which is that of the exact solver. Every eighth point of the samples,
/// instead of the first eighth, was off by 0.01.
#[test]
fn the_spins_of_a_singlet_have_the_same_density() {
    let problem = reference_case("D_He").unwrap();
    let geometry = problem.geometry.unwrap_or(Geometry::Line);
    let system = System { hamiltonian: &problem.hamiltonian, geometry: &geometry };
    let psi = trained_on(&problem, system, 1024, 10);
    let setup = Setup::new(psi.as_ref(), system);
    let effort = Effort { samples: 4096, replicates: 16, seed: 1 };
    let found = observe(psi.as_ref(), &setup, &["density_matrix"], effort);
    let known = Quadrature::new(psi.as_ref(), system);
    let [up, down] = ["up", "down"].map(|s| quantity(&found, &format!("smooth_density_{s}")));
    let mut largest = 0.0f64;
    for (k, &x) in up.axes[0].points.iter().enumerate() {
        for (q, down) in [(up, false), (down, true)] {
            let deviation = q.values[k] - known.density_at(psi.as_ref(), x, down);
            // Fifteen degrees of freedom, a hundred points.
            assert!(deviation.abs() < 6.0 * q.errors[k] + 1e-8, "{x}: {deviation} {}", q.errors[k]);
        }
        largest = largest.max((up.values[k] - down.values[k]).abs());
    }
    assert!(largest < 5e-4, "{largest}");
}

/// As many samples as a state deserves whose variance is this, a power of two: the error of the state must stay
/// below the statistical one.
///
/// Deviations of first order in the infidelity e are at most twice its root times the scatter of a sample: below the
/// error bar for N < 1 / 4e. The states of `docs/analysis.md` have e below variance / 30 Ha²; half of that N is
/// taken.
fn deserved_samples(variance: f64) -> usize {
    let most = 8192usize;
    (0..).map(|halvings| most >> halvings).find(|&n| n as f64 <= 4.0 / variance).unwrap_or(0)
}

/// Between which values each occupation may come out: it is measured in orbitals that a quarter of the samples fixes
/// (an eighth is used, at least 64 of each of the 32 replicates), and orbitals whose occupations the noise `sqrt(n n' / M)` of the matrix does not
/// tell apart there are mixed. Their occupations then lie between the exact ones.
fn told_apart(occupations: &[f64], samples: usize) -> Vec<(f64, f64)> {
    let used = ((samples / 8).max(samples.min(64 * 32)) / 4) as f64;
    let mixed = |a: f64, b: f64| (a - b).abs() <= 2.0 * (a * b / used).sqrt();
    let range = |&n: &f64| {
        let near = occupations.iter().copied().filter(|&m| mixed(n, m));
        near.fold((n, n), |(low, high), m| (low.min(m), high.max(m)))
    };
    occupations.iter().map(range).collect()
}

/// Everything that is stored about a problem against a short training: (quantity, deviation in error bars). Nothing
/// of this crate's exact solver takes part.
fn against_the_store(
    problem: &ReferenceCase,
    samples: usize,
    iterations: usize,
    seed: u64,
) -> Vec<(String, f64)> {
    let name = &problem.name;
    let geometry = problem.geometry.unwrap_or(Geometry::Line);
    let system = System { hamiltonian: &problem.hamiltonian, geometry: &geometry };
    let psi = trained_on(problem, system, samples, iterations);
    let setup = Setup::new(psi.as_ref(), system);
    let pilot = Effort { samples: 4096, replicates: 32, seed: seed + 1000 };
    let variance =
        quantity(&observe(psi.as_ref(), &setup, &["energy"], pilot), "variance").values[0];
    let effort = Effort { samples: deserved_samples(variance), replicates: 32, seed };
    println!("{name}: variance {variance:.2e}, {} samples", effort.samples);
    // A worse training would weaken the comparison without a word.
    assert!(effort.samples >= 1024, "{name}: variance {variance}");
    let mut names = vec!["energy", "density"];
    if !problem.natural_occupations.is_empty() {
        names.push("density_matrix");
    }
    let found = observe(psi.as_ref(), &setup, &names, effort);

    let mut all = Vec::new();
    let c = problem.components.as_ref().unwrap();
    for (part, exact) in [
        ("energy", problem.energy),
        ("kinetic", c.kinetic),
        ("external", c.external),
        ("interaction", c.interaction),
    ] {
        let (value, error) = quantity(&found, part).scalar().unwrap();
        // Without a potential its energy is zero for every sample.
        if error == 0.0 && value == exact {
            continue;
        }
        println!("{name}: {part} {value:.6} ± {error:.6}, stored {exact:.6}");
        all.push((part.to_owned(), (value - exact) / error.hypot(STORED_DIGITS)));
    }
    // Those that a correlated state has: the rest is below what the short training resolves.
    let strong = problem.natural_occupations.iter().filter(|n| **n > 1e-3).count();
    if strong > 0 {
        let q = quantity(&found, "occupations");
        for (k, (low, high)) in
            told_apart(&problem.natural_occupations, effort.samples)[..strong].iter().enumerate()
        {
            let nearest = q.values[k].clamp(*low, *high);
            all.push((format!("occupation {}", k + 1), (q.values[k] - nearest) / q.errors[k]));
        }
    }
    if let Some(density) = &problem.density {
        assert_eq!(problem.sector.down, 0, "the stored density is that of all spins");
        let q = quantity(&found, "density_up");
        let bins = over_bins(&q.axes[0].points, &density.x, &density.n);
        check_chi2(&format!("{name}: density"), q, &bins, effort.samples);
    }
    for (part, z) in &all {
        println!("{name}: {part} off by {z:.2} error bars");
    }
    all
}

/// How far a stored number may be off: the state of a pair in a trap is known better.
const STORED_DIGITS: f64 = 1e-9;

/// Student's t is beyond this once in eleven thousand for 31 degrees of freedom, once in six thousand for the 23 of an
/// occupation.
const MOST_BARS: f64 = 4.5;

#[test]
fn stored_references_with_short_trainings() {
    let cases = [
        "A1_He_triplet_L10",
        "A5_H2_triplet_R1.8_L10",
        "B_soft_g1_a1_N2",
        "B_soft_g1_a1_N3",
        "D_He",
        "D_H2_R1.6",
        "E_soft_g1_a1_21",
        "F_ring_N3",
        "G_doublewell_N2",
    ];
    for (case, seed) in cases.into_iter().zip(300..) {
        let all = against_the_store(&reference_case(case).unwrap(), 2048, 18, seed);
        assert!(all.iter().all(|(_, z)| z.abs() < MOST_BARS), "{case}: {all:?}");
    }
}

/// What short trainings with default settings do not reach, as measured: cores of 0.3 and 0.5 bohr that leave
/// variances of 0.02 and 0.04 Ha², and a bond so long that the state is off to first order more than its variance of
/// 6e-4 says (kinetic and external energy by five error bars of 4096 samples).
const BEYOND: [&str; 3] = ["B_dip_g1_a0.3_N2", "E_gauss_g3_s0.5_22", "D_H2_R8"];

/// All other cases with components. Over so many of them the squares of the deviations tell whether error bars are right.
/// Run it by `cargo test --release --test observables -- --ignored --nocapture stored`.
#[test]
#[ignore = "thirty trainings take minutes"]
fn all_stored_references() {
    let cases = reference_cases().into_iter().filter(|p| p.components.is_some());
    let mut squares = std::collections::BTreeMap::<String, Vec<f64>>::new();
    let mut failures = Vec::new();
    for (problem, seed) in cases.zip(400..).filter(|(p, _)| !BEYOND.contains(&p.name.as_str())) {
        for (part, z) in against_the_store(&problem, 4096, 24, seed) {
            if z.abs() >= MOST_BARS {
                failures.push(format!("{}: {part} {z:.2}", problem.name));
            }
            squares.entry(part).or_default().push(z * z);
        }
    }
    for part in ["energy", "kinetic", "external", "interaction"] {
        let squares = &squares[part];
        let (chi2, cases) = (squares.iter().sum::<f64>(), squares.len() as f64);
        // As in `check_chi2`.
        let (expected, bound) = (cases * 31.0 / 29.0, 4.0 * 1.1 * (2.0 * cases).sqrt());
        println!("{part}: chi² = {chi2:.1} for {cases} cases");
        assert!(cases >= 25.0 && (chi2 - expected).abs() < bound, "{part}: {chi2}");
    }
    assert!(failures.is_empty(), "{failures:?}");
}

/// What quadrature says about a state of two particles.
struct Quadrature {
    energy: f64,
    kinetic: f64,
    nodes: Vec<(f64, f64)>,
    /// `psi(x_i, x_j)` times the roots of the weights; antisymmetric for equal spins.
    amplitudes: nalgebra::DMatrix<f64>,
    /// Whether both particles have spin up.
    equal: bool,
    /// Occupations of the natural orbitals, descending.
    occupations: Vec<f64>,
}

/// Intervals of the quadrature, four points each.
const PANELS: usize = 100;

impl Quadrature {
    fn new(psi: &dyn Wavefunction, system: System) -> Self {
        let equal = psi.sector().up == 2;
        let (a, b) = psi.interval(system.geometry);
        let edge = |i: usize| a + (b - a) * i as f64 / PANELS as f64;
        let rule = GaussLegendre::new(4);
        let nodes: Vec<(f64, f64)> =
            (0..PANELS).flat_map(|i| rule.on(edge(i), edge(i + 1)).collect::<Vec<_>>()).collect();
        let m = nodes.len();
        let mut evaluator = psi.evaluator();
        let mut amplitudes = nalgebra::DMatrix::zeros(m, m);
        let (mut kinetic, mut norm) = (0.0, 0.0);
        let mut gradient = [0.0; 2];
        for i in 0..m {
            for j in if equal { i + 1..m } else { 0..m } {
                let (log, _) = evaluator.derivatives(&[nodes[i].0, nodes[j].0], &mut gradient);
                let value = log.sign * log.log_abs.exp();
                let weight = nodes[i].1 * nodes[j].1;
                amplitudes[(i, j)] = value * weight.sqrt();
                if equal {
                    amplitudes[(j, i)] = -amplitudes[(i, j)];
                }
                let p = weight * value * value;
                if p > 0.0 {
                    norm += p;
                    kinetic += p * 0.5 * (gradient[0].powi(2) + gradient[1].powi(2));
                }
            }
        }
        // |grad psi|² does not vanish on the diagonal, where the domain of equal spins ends: half of the nodes there
        // belong to it.
        for &(x, w) in nodes.iter().filter(|_| equal) {
            let (log, _) = evaluator.derivatives(&[x - 1e-5, x + 1e-5], &mut gradient);
            let p = 0.5 * w * w * (2.0 * log.log_abs).exp();
            if p > 0.0 {
                kinetic += p * 0.5 * (gradient[0].powi(2) + gradient[1].powi(2));
            }
        }
        assert!((norm - 1.0).abs() < 1e-5, "{norm}");
        let energy = weylflow::estimate::rayleigh_quotient(psi, system).unwrap().energy;
        let mut matrix = &amplitudes * amplitudes.transpose();
        if !equal {
            matrix += amplitudes.transpose() * &amplitudes;
        }
        let mut occupations: Vec<f64> = matrix.symmetric_eigenvalues().iter().copied().collect();
        occupations.sort_by(|a, b| b.total_cmp(a));
        Quadrature { energy, kinetic, nodes, amplitudes, equal, occupations }
    }

    /// `int psi(x, y) f(x) dx` at all y: x is a coordinate of spin up.
    fn against(&self, f: impl Fn(f64) -> f64) -> nalgebra::DVector<f64> {
        let f = nalgebra::DVector::from_iterator(
            self.nodes.len(),
            self.nodes.iter().map(|(x, w)| f(*x) * w.sqrt()),
        );
        self.amplitudes.tr_mul(&f)
    }

    /// Mean density of spin up between two points.
    fn density(&self, psi: &dyn Wavefunction, (from, to): (f64, f64)) -> f64 {
        let rule = GaussLegendre::new(6);
        let all = rule.on(from, to).map(|(x, w)| w * self.density_at(psi, x, false));
        all.sum::<f64>() / (to - from)
    }

    /// Density of spin up, or down, at a point.
    fn density_at(&self, psi: &dyn Wavefunction, x: f64, down: bool) -> f64 {
        let mut evaluator = psi.evaluator();
        let square = |&(y, w): &(f64, f64)| {
            let pair = if down || self.equal && y < x { [y, x] } else { [x, y] };
            w * (2.0 * evaluator.log_psi(&pair).log_abs).exp()
        };
        self.nodes.iter().map(square).sum()
    }

    /// Momentum distribution of spin up.
    fn momentum(&self, p: f64) -> f64 {
        let square = |f: nalgebra::DVector<f64>| f.norm_squared();
        (square(self.against(|x| (p * x).cos())) + square(self.against(|x| (p * x).sin())))
            / (2.0 * std::f64::consts::PI)
    }
}

/// Intervals that hold the true value, below it and above it, by quantity.
type Coverage = std::collections::BTreeMap<String, [f64; 3]>;

/// How often 95 % intervals cover what quadrature says, in so many measurements of one state.
fn coverage(run: &str, training: (usize, usize), effort: Effort, repetitions: u64) -> Coverage {
    let (spec, psi) = trained(run, training.0, training.1);
    let psi = psi.as_ref();
    let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
    let known = Quadrature::new(psi, system);
    let setup = Setup::new(psi, system);
    let mut counts = Coverage::new();
    // Quantiles of Student's t for as many replicates; three quarters of them measure occupations.
    let quantile = |freedom: usize| 1.96 + 2.4 / freedom as f64;
    let all = quantile(effort.replicates - 1);
    let most = quantile(effort.replicates - effort.replicates.div_ceil(4) - 1);
    let mut truths = std::collections::BTreeMap::<String, Vec<f64>>::new();
    for seed in 1000..1000 + repetitions {
        let names = ["energy", "density", "density_matrix"];
        let found = observe(psi, &setup, &names, Effort { seed, ..effort });
        let mut count = |name: &str, z: f64, quantile: f64| {
            let entry = counts.entry(name.to_owned()).or_default();
            entry[0] += f64::from(z.abs() < quantile);
            entry[1] += f64::from(z <= -quantile);
            entry[2] += f64::from(z >= quantile);
        };
        count("energy", deviations(quantity(&found, "energy"), &[known.energy])[0], all);
        for name in ["kinetic", "kinetic_gradient"] {
            count(name, deviations(quantity(&found, name), &[known.kinetic])[0], all);
        }
        let mut along = |name: &str, keep: &dyn Fn(f64, f64) -> bool, f: &dyn Fn(f64) -> f64| {
            let q = quantity(&found, name);
            let width = q.axes[0].points[1] - q.axes[0].points[0];
            for k in (0..q.values.len()).step_by(3) {
                let x = q.axes[0].centre(k);
                let key = format!("{name} {x:.6}");
                let truth = truths.entry(key).or_insert_with(|| vec![f(x)])[0];
                if keep(truth, width) {
                    count(name, (q.values[k] - truth) / q.errors[k], all);
                }
            }
        };
        // Bins with fewer samples have no Gaussian error.
        let enough = |d: f64, width: f64| d * width * effort.samples as f64 > 40.0;
        let bins = &quantity(&found, "density_up").axes[0].points;
        let half = 0.5 * (bins[1] - bins[0]);
        along("density_up", &enough, &|x| known.density(psi, (x - half, x + half)));
        along("smooth_density_up", &|d, _| d > 1e-3, &|x| known.density_at(psi, x, false));
        along("momentum_up", &|d, _| d > 1e-4, &|p| known.momentum(p));
        let q = quantity(&found, "occupations");
        for (k, z) in deviations(q, &known.occupations).iter().enumerate() {
            if k < 8 && known.occupations[k] > 1e-6 {
                count(&format!("occupation {}", k + 1), *z, most);
            }
        }
    }
    println!("{run}: {effort:?}, occupations {:?}", &known.occupations[..8]);
    for (name, [inside, below, above]) in &counts {
        let all = inside + below + above;
        let percent = |count: &f64| 100.0 * count / all;
        println!(
            "{name}: {:.1} % of {all} intervals cover, {:.1} % lie below, {:.1} % above",
            percent(inside),
            percent(below),
            percent(above)
        );
    }
    counts
}

/// Intervals of 95 % that cover as often as they say, observable by observable. (In each measurement neighbouring
/// points err together, so that many of them tell little more than one.)
fn check_coverage(counts: &Coverage, least: f64) {
    for (name, [inside, below, above]) in counts {
        let share = inside / (inside + below + above);
        assert!(share >= least, "{name}: {share}");
    }
}

#[test]
fn error_bars_cover() {
    let effort = Effort { samples: 512, replicates: 16, seed: 0 };
    // Of 40 intervals 33 cover with all but a chance of 1e-3.
    check_coverage(&coverage("helium.ron", (512, 5), effort, 40), 0.8);
}

/// Two hundred measurements of one state.
/// Run it by `cargo test --release --test observables -- --ignored --nocapture`.
#[test]
#[ignore = "hundreds of measurements take minutes"]
fn error_bars_cover_as_often_as_they_say() {
    for run in ["helium.ron", "helium_triplet_weyl.ron"] {
        for (samples, replicates) in [(1024, 16), (4096, 32), (16_384, 32)] {
            let effort = Effort { samples, replicates, seed: 0 };
            check_coverage(&coverage(run, (2048, 18), effort, 200), 0.90);
        }
    }
}
