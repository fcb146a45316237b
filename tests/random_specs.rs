//! Random specs, many of them odd: whatever `weylflow check` accepts trains, or says why not, without a panic; its
//! samples are in the domain, and its norm is one.
//!
//! Deterministic: the generator starts from a fixed seed, so that a failure comes back.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use weylflow::estimate::{self, rayleigh_quotient};
use weylflow::local_energy::{self, BatchId, Derivatives};
use weylflow::math::statistics::Moments;
use weylflow::objective::{ObjectiveSettings, variance::Variance};
use weylflow::optimise::{
    AdamSettings, EnergyNaturalGradientSettings, LbfgsSettings, OptimiserSettings,
    RayleighGaussNewtonSettings, SolveSpace, StochasticReconfigurationSettings,
};
use weylflow::sampling::{Purpose, Sampling};
use weylflow::spec::{ReferenceSource, ResolvedSpec, RunSpec, write};
use weylflow::system::{External, Geometry, Hamiltonian, Interaction, Sector, System};
use weylflow::train::{self, Stopping, TrainError};
use weylflow::wavefunction::waveflow::{Chart, CoordinateKind, WaveflowSettings};
use weylflow::wavefunction::weyl::{
    BaseSettings, DeterminantSum, LayerKind, MeanFieldSettings, MultiDeterminantSettings, Orbitals,
    WeylSettings,
};
use weylflow::wavefunction::{Wavefunction, WavefunctionSettings};

/// Specs that are generated; some are refused.
const CASES: usize = 90;
/// Iterations of a training.
const ITERATIONS: usize = 3;

/// Numbers of particles, mostly such as the geometry allows.
fn sector(geometry: Geometry) -> impl Strategy<Value = Sector> {
    let any = vec![(1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (2, 1), (1, 2), (3, 0), (2, 2), (3, 1)];
    let odd = vec![(1, 0), (0, 1), (1, 1), (3, 0), (0, 3), (3, 1), (2, 1)];
    let pairs = if matches!(geometry, Geometry::Ring { .. }) { odd } else { any };
    prop::sample::select(pairs).prop_map(|(up, down)| Sector::new(up, down))
}

fn geometry() -> impl Strategy<Value = Geometry> {
    prop_oneof![
        4 => (0.4f64..14.0).prop_map(|half_width| Geometry::Box { half_width }),
        1 => prop::sample::select(vec![1e-3, 60.0, 1e3])
            .prop_map(|half_width| Geometry::Box { half_width }),
        2 => Just(Geometry::Line),
        2 => (0.5f64..20.0).prop_map(|circumference| Geometry::Ring { circumference }),
    ]
}

/// Potentials, on the line and the ring mostly such as the geometry allows.
fn external(geometry: Geometry) -> BoxedStrategy<External> {
    match geometry {
        Geometry::Box { .. } => any_external().boxed(),
        Geometry::Line => prop_oneof![
            2 => any_external(),
            2 => (0.05f64..6.0).prop_map(|frequency| External::Harmonic { frequency }),
            1 => Just(External::DoubleWell { half_separation: 1.5, strength: 0.3 }),
            1 => Just(External::Formula("x^4 - 3*x^2".parse().unwrap())),
        ]
        .boxed(),
        Geometry::Ring { circumference } => prop_oneof![
            1 => any_external(),
            2 => Just(External::Free),
            2 => (-5.0f64..8.0, 1usize..4).prop_map(move |(depth, wells)| {
                External::Lattice { depth, period: circumference / wells as f64 }
            }),
        ]
        .boxed(),
    }
}

fn any_external() -> impl Strategy<Value = External> {
    let formulas = ["0.5*x^2", "x^4 - 3*x^2", "2*cosh(x/2)", "-3*sech(x)", "abs(x)", "exp(x)", "1"];
    let formula = prop::sample::select(formulas.to_vec())
        .prop_map(|text| External::Formula(text.parse().unwrap()));
    let nuclei = prop::collection::vec((-1.0f64..5.0, -6.0f64..6.0), 1..4);
    let plain = prop_oneof![
        2 => Just(External::Free),
        2 => (nuclei, 0.2f64..2.0).prop_map(|(nuclei, softening)| {
            let (charges, positions) = nuclei.into_iter().unzip();
            External::Nuclei { charges, positions, softening }
        }),
        3 => (0.05f64..6.0).prop_map(|frequency| External::Harmonic { frequency }),
        1 => (0.2f64..3.0, 0.05f64..2.0).prop_map(|(half_separation, strength)| {
            External::DoubleWell { half_separation, strength }
        }),
        1 => (-5.0f64..8.0, 0.5f64..4.0)
            .prop_map(|(depth, period)| External::Lattice { depth, period }),
        3 => formula,
    ];
    let sums = prop::collection::vec(plain.clone(), 1..4).prop_map(External::Sum);
    prop_oneof![5 => plain, 1 => sums]
}

fn interaction() -> impl Strategy<Value = Interaction> {
    let formulas =
        ["1/(1+d^2)", "2/d^2", "exp(-abs(d))", "-ln(abs(d))", "0", "d^2/8", "1e3*sech(d)"];
    let (strength, length) = (-2.0f64..6.0, 0.05f64..3.0);
    prop_oneof![
        Just(Interaction::None),
        (strength.clone(), length.clone())
            .prop_map(|(strength, softening)| Interaction::SoftCoulomb { strength, softening }),
        (strength.clone(), length.clone())
            .prop_map(|(strength, width)| Interaction::Gaussian { strength, width }),
        (0.0f64..3.0, 0.3f64..3.0)
            .prop_map(|(strength, softening)| Interaction::Dipolar { strength, softening }),
        (-0.05f64..0.5).prop_map(|stiffness| Interaction::Harmonic { stiffness }),
        (0.0f64..6.0).prop_map(|strength| Interaction::InverseSquare { strength }),
        prop::sample::select(formulas.to_vec())
            .prop_map(|text| Interaction::Formula(text.parse().unwrap())),
    ]
}

fn waveflow() -> impl Strategy<Value = WavefunctionSettings> {
    let shape =
        (0usize..4, 4usize..8, 0usize..6, 0usize..6, prop::collection::vec(1usize..9, 1..3));
    let chart = prop::sample::select(vec![Chart::StickBreaking, Chart::Uniform, Chart::Gaps]);
    let coordinate =
        prop::sample::select(vec![CoordinateKind::Position, CoordinateKind::MeanField]);
    let floor = prop::sample::select(vec![1e-3, 1e-9, 0.5, 0.99]);
    (shape, chart, coordinate, floor).prop_map(|(shape, chart, coordinate, slope_floor)| {
        let (layers, degree, more, prior_more, hidden) = shape;
        WavefunctionSettings::Waveflow(WaveflowSettings {
            coordinate,
            chart,
            layers,
            degree,
            // At times one below the fewest that are accepted.
            knots: degree + more,
            prior_knots: degree + prior_more,
            hidden,
            slope_floor,
            ..WaveflowSettings::default()
        })
    })
}

fn base() -> impl Strategy<Value = BaseSettings> {
    let sum =
        |determinants| BaseSettings::MultiDeterminant(MultiDeterminantSettings { determinants });
    prop_oneof![
        3 => Just(BaseSettings::Automatic),
        2 => prop::sample::select(vec![Orbitals::HartreeFock, Orbitals::NonInteracting])
            .prop_map(|orbitals| BaseSettings::MeanField(MeanFieldSettings { orbitals })),
        1 => Just(BaseSettings::FreeFermions),
        1 => Just(sum(DeterminantSum::HalfProjected)),
        2 => (1usize..6)
            .prop_map(move |orbitals| sum(DeterminantSum::ConfigurationInteraction { orbitals })),
    ]
}

fn weyl() -> impl Strategy<Value = WavefunctionSettings> {
    let kinds = LayerKind::ALL;
    let layers = prop_oneof![
        2 => Just(None),
        4 => prop::collection::vec(prop::sample::select(kinds), 0..5).prop_map(Some),
    ];
    let cells = (2usize..12, prop::option::of(2usize..12), 3usize..40);
    let odd = (
        prop::sample::select(vec![1e-3, 1e-9, 0.5, 0.99]),
        prop::sample::select(vec![0.98, 0.01, 0.999_999]),
        prop::sample::select(vec![0.4, 1.0, 0.01, 5.0]),
    );
    (base(), layers, cells, 1usize..5, odd).prop_map(
        |(base, layers, cells, two_body_functions, (slope_floor, bound_share, power))| {
            WavefunctionSettings::Weyl(WeylSettings {
                base,
                layers,
                monotone_cells: cells.0,
                pair_cells: cells.1,
                coordinate_cells: cells.2,
                coordinate_power: power,
                two_body_functions,
                slope_floor,
                bound_share,
            })
        },
    )
}

/// Either wavefunction; Waveflow mostly where it exists.
fn wavefunction(geometry: Geometry) -> BoxedStrategy<WavefunctionSettings> {
    match geometry {
        Geometry::Box { .. } => prop_oneof![waveflow(), weyl()].boxed(),
        _ => prop_oneof![1 => waveflow(), 12 => weyl()].boxed(),
    }
}

fn optimiser() -> impl Strategy<Value = OptimiserSettings> {
    let step = prop::sample::select(vec![1e-3, 0.1, 1.0, 1e3]);
    let shift = prop::sample::select(vec![1e-3, 1e-12, 10.0]);
    let zero_to = |most: f64| prop_oneof![Just(0.0), 0.0..most];
    let space = vec![SolveSpace::Auto, SolveSpace::Parameters, SolveSpace::Samples];
    let clip = prop::sample::select(vec![30.0, 1e-3, 1e9]);
    prop_oneof![
        (step.clone(), clip.clone(), zero_to(0.99)).prop_map(|(learning_rate, clip, beta1)| {
            let settings = AdamSettings { learning_rate, clip, beta1, ..Default::default() };
            OptimiserSettings::Adam(settings)
        }),
        (step.clone(), shift.clone(), prop::sample::select(space), zero_to(0.99), clip.clone())
            .prop_map(|(tau, shift, space, momentum, clip)| {
                OptimiserSettings::StochasticReconfiguration(StochasticReconfigurationSettings {
                    tau,
                    shift,
                    space,
                    momentum,
                    clip,
                    ..Default::default()
                })
            }),
        (step.clone(), shift.clone(), zero_to(1.0), clip.clone()).prop_map(
            |(tau, shift, smoothing, clip)| {
                OptimiserSettings::EnergyNaturalGradient(EnergyNaturalGradientSettings {
                    tau,
                    shift,
                    smoothing,
                    clip,
                    ..Default::default()
                })
            }
        ),
        (step.clone(), shift.clone(), zero_to(30.0), zero_to(0.9), 1..20usize).prop_map(
            |(tau, shift, variance, tails, evaluations)| {
                OptimiserSettings::Lbfgs(LbfgsSettings {
                    tau,
                    shift,
                    variance,
                    tails,
                    evaluations,
                    ..Default::default()
                })
            }
        ),
        (step, shift, (zero_to(1.0), zero_to(1.0), zero_to(1.0), zero_to(0.9)), clip).prop_map(
            |(tau, shift, (smoothing, penalty, variance, tails), clip)| {
                OptimiserSettings::RayleighGaussNewton(RayleighGaussNewtonSettings {
                    tau,
                    shift,
                    smoothing,
                    penalty,
                    variance,
                    tails,
                    clip,
                    ..Default::default()
                })
            }
        ),
    ]
}

fn spec() -> impl Strategy<Value = ResolvedSpec> {
    let physics = geometry()
        .prop_flat_map(|g| (external(g), interaction(), sector(g), Just(g), wavefunction(g)));
    let numbers = (
        prop::sample::select(vec![2usize, 3, 5, 17, 64]),
        prop::sample::select(vec![2usize, 7, 100, 200]),
        prop::sample::select(vec![2usize, 3, 16]),
        any::<u64>(),
    );
    let choices = (
        prop::sample::select(vec![Sampling::QuasiRandom, Sampling::Random]),
        prop::sample::select(vec![Stopping::Plateau, Stopping::Never]),
    );
    (physics, optimiser(), numbers, choices).prop_map(|(physics, optimiser, numbers, choices)| {
        let (external, interaction, sector, geometry, wavefunction) = physics;
        // Half of those that can be refined are.
        let refinements = usize::from(wavefunction.can_refine() && numbers.3 % 2 == 1);
        // And half of those whose optimiser knows of the variance minimise that.
        let objective = match optimiser.settings().variance() > 0.0 && numbers.3 / 2 % 2 == 1 {
            true => ObjectiveSettings::Variance(Variance {}),
            false => ObjectiveSettings::default(),
        };
        RunSpec {
            title: "random".to_owned(),
            hamiltonian: Hamiltonian { title: String::new(), external, interaction },
            sector,
            geometry,
            wavefunction,
            optimiser,
            objective,
            samples_per_iteration: numbers.0,
            iterations: ITERATIONS,
            final_samples: numbers.1,
            sampling: choices.0,
            refinements,
            stopping: choices.1,
            faults: Default::default(),
            scramblings: numbers.2,
            seed: numbers.3,
            reference: ReferenceSource::None,
            states: None,
            temperature: None,
            project: false,
        }
    })
}

/// What became of a spec.
enum Outcome {
    Refused,
    /// Accepted, but the wavefunction cannot be built.
    NotBuilt,
    /// Training ended with an error.
    NotTrained,
    /// Trained; the norm by quadrature, or in samples of another state with its standard error.
    Done {
        quadrature: Option<f64>,
        sampled: Option<(f64, f64)>,
    },
}

fn life(spec: &ResolvedSpec) -> Outcome {
    if spec.validate().is_err() {
        return Outcome::Refused;
    }
    let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
    let Ok(mut psi) = spec.wavefunction.build(spec.sector, system, spec.seed) else {
        return Outcome::NotBuilt;
    };
    let schedule = spec.schedule();
    let mut optimiser = spec.optimiser.minimising(spec.objective);
    let mut seen = 0;
    let trained = train::train(psi.as_mut(), system, optimiser.as_mut(), &schedule, |_| seen += 1);
    match trained {
        Ok(trained) => assert_eq!(trained.iterations, seen),
        Err(TrainError::Wavefunction(error)) => panic!("parameters were refused: {error}"),
        Err(_) => return Outcome::NotTrained,
    }
    assert!(psi.parameters().iter().all(|p| p.is_finite()), "parameters are finite");
    inside_the_domain(psi.as_ref(), spec, system);
    let estimate = estimate::estimate(psi.as_ref(), system, &schedule, 10);
    let (sets, samples) = schedule.final_sets();
    let used = estimate.energy.count();
    assert_eq!(used + estimate.rejected, sets * samples);
    // Normalised and sampled exactly, without quadrature and for any number of particles.
    assert!(
        estimate.density_drift < 1e-6,
        "density of the samples off by {}",
        estimate.density_drift
    );
    let quadrature = rayleigh_quotient(psi.as_ref(), system).map(|q| q.norm);
    let sampled =
        if quadrature.is_none() { sampled_norm(psi.as_ref(), spec, system) } else { None };
    Outcome::Done { quadrature, sampled }
}

/// The norm as a mean over samples, half of them of the state itself and half of another: in a box one of the other
/// family, with its own base, elsewhere an untrained flow without layers.
///
/// With the densities `p` of the state and `q` of the other, the expectation of `r = p / (p + q)` over samples of `p` plus
/// that over samples of `q` is the norm. `r` is at most 1, so that the error bar can be trusted however different the
/// states are; where they have nothing in common the mean is 1 for nothing, and `None` is returned.
fn sampled_norm(psi: &dyn Wavefunction, spec: &ResolvedSpec, system: System) -> Option<(f64, f64)> {
    let other = match (&spec.wavefunction, &spec.geometry) {
        (WavefunctionSettings::Weyl(_), Geometry::Box { .. }) => {
            WavefunctionSettings::Waveflow(WaveflowSettings::default())
        }
        _ => WavefunctionSettings::Weyl(WeylSettings {
            base: BaseSettings::MeanField(MeanFieldSettings { orbitals: Orbitals::HartreeFock }),
            layers: Some(Vec::new()),
            ..WeylSettings::default()
        }),
    };
    let other = other.build(spec.sector, system, 1).ok()?;
    let id = BatchId {
        sampling: Sampling::Random,
        seed: spec.seed,
        purpose: Purpose::Analysis,
        number: 1,
        first: 0,
        tails: 0.0,
    };
    let (mut here, mut there) = (psi.evaluator(), other.evaluator());
    let mut share_of = |state: &dyn Wavefunction| {
        let batch = local_energy::draw(state, system, id, 1 << 10, Derivatives::None);
        let mut share = |x: &[f64]| {
            let difference = there.log_psi(x).log_abs - here.log_psi(x).log_abs;
            1.0 / (1.0 + (2.0 * difference).exp())
        };
        let shares: Vec<f64> = batch.x.chunks_exact(batch.particles).map(&mut share).collect();
        (batch.rejected == 0).then(|| Moments::of(&shares))
    };
    let (own, others) = (share_of(psi)?, share_of(other.as_ref())?);
    let error = own.standard_error().hypot(others.standard_error());
    (others.mean() > 0.05).then(|| (own.mean() + others.mean(), error))
}

/// Samples are inside the walls and sorted within each spin.
fn inside_the_domain(psi: &dyn Wavefunction, spec: &ResolvedSpec, system: System) {
    let id = BatchId {
        sampling: spec.sampling,
        seed: spec.seed,
        purpose: Purpose::Analysis,
        number: 0,
        first: 0,
        tails: 0.0,
    };
    let batch = local_energy::draw(psi, system, id, 100, Derivatives::None);
    assert_eq!(batch.samples() + batch.rejected, 100);
    let (low, high) = spec.geometry.interval();
    for x in batch.x.chunks_exact(batch.particles) {
        assert!(x.iter().all(|&x| x.is_finite() && low <= x && x <= high), "outside: {x:?}");
        for spin in spec.sector.spins() {
            assert!(x[spin].windows(2).all(|w| w[0] <= w[1]), "not sorted: {x:?}");
        }
    }
}

/// What becomes of each spec, two at a time: most of a small run is done by one thread.
fn lives(specs: &[ResolvedSpec]) -> Vec<std::thread::Result<Outcome>> {
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        while let Some((case, spec)) = {
            let case = next.fetch_add(1, Ordering::Relaxed);
            specs.get(case).map(|spec| (case, spec))
        } {
            done.push((case, catch_unwind(AssertUnwindSafe(|| life(spec)))));
        }
        done
    };
    let mut all = std::thread::scope(|scope| {
        let other = scope.spawn(some);
        let mut done = some();
        done.extend(other.join().unwrap());
        done
    });
    all.sort_by_key(|(case, _)| *case);
    all.into_iter().map(|(_, lived)| lived).collect()
}

#[test]
fn whatever_is_accepted_runs() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = spec();
    let (mut refused, mut not_built, mut not_trained, mut norms, mut means) = (0, 0, 0, 0, 0);
    let mut rough = 0;
    let mut failures = Vec::new();
    let specs: Vec<ResolvedSpec> =
        (0..CASES).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    for (case, (spec, lived)) in specs.iter().zip(lives(&specs)).enumerate() {
        let text = || write::to_ron(spec).unwrap();
        match lived {
            Ok(Outcome::Refused) => refused += 1,
            Ok(Outcome::NotBuilt) => not_built += 1,
            Ok(Outcome::NotTrained) => not_trained += 1,
            Ok(Outcome::Done { quadrature, sampled }) => {
                if let Some(norm) = quadrature {
                    let good = (norm - 1.0).abs() <= NORM;
                    norms += usize::from(good);
                    // A state too rough for the quadrature (three steps of learning rate 1 leave 9000 Ha) has the
                    // density of its samples, point by point: see `life`.
                    rough += usize::from(!good);
                }
                if let Some((norm, error)) = sampled {
                    means += 1;
                    if (norm - 1.0).abs() > 5.0 * error + 1e-9 {
                        failures.push(format!("case {case}: norm {norm} +- {error}\n{}", text()));
                    }
                }
            }
            Err(panic) => {
                let message = panic.downcast_ref::<String>().cloned();
                let message = message.or(panic.downcast_ref::<&str>().map(|s| s.to_string()));
                failures.push(format!("case {case}: {}\n{}", message.unwrap_or_default(), text()));
            }
        }
    }
    println!(
        "{CASES} specs: {refused} refused, {not_built} not built, {not_trained} not trained, {norms} norms by \
         quadrature, {rough} too rough for it, {means} in samples"
    );
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n\n"));
    // The generator has to keep making specs that get somewhere.
    assert!(refused < CASES * 2 / 3 && not_built + not_trained < CASES / 5);
    assert!(rough <= norms / 10, "{rough} of {norms}");
    assert!(norms >= CASES / 8 && means >= CASES / 20, "{norms} {means}");
}

/// Largest deviation of a norm by quadrature: the quadrature's own error at states that three bold steps left.
const NORM: f64 = 1e-3;
