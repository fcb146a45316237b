//! Tests of the Weyl flow far from the identity: derivatives, bijectivity, normalisation, sampling, mirrors.

use super::*;
use crate::math::nested::Nested;
use crate::math::quadrature::GaussLegendre;
use crate::optimise::OptimiserSettings;
use crate::sampling::Sampling;
use crate::system::{External, Hamiltonian, Interaction};
use crate::train::{self, Schedule, Stopping};
use crate::wavefunction::testing::samples;
use crate::work::{self, Work};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::sync::LazyLock;

const HALF_WIDTH: f64 = 6.0;

fn helium() -> Hamiltonian {
    Hamiltonian {
        title: String::new(),
        external: External::Nuclei { charges: vec![2.0], positions: vec![0.3], softening: 1.0 },
        interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 },
    }
}

/// A flow with parameters far from the identity.
fn shaken(layers: &[LayerKind], sector: Sector) -> Weyl {
    shaken_over(BaseSettings::default(), layers, sector)
}

/// The same over a base.
fn shaken_over(base: BaseSettings, layers: &[LayerKind], sector: Sector) -> Weyl {
    let hamiltonian = helium();
    let geometry = Geometry::Box { half_width: HALF_WIDTH };
    let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
    let settings = WeylSettings {
        base,
        layers: Some(layers.to_vec()),
        monotone_cells: 6,
        pair_cells: Some(7),
        coordinate_cells: 24,
        two_body_functions: 3,
        ..Default::default()
    };
    let mut flow = Weyl::new(&settings, sector, system).unwrap();
    let mut rng = Pcg64::seed_from_u64(11);
    let moved: Vec<f64> =
        flow.parameters.iter().map(|_| 0.5 * rng.random_range(-1.0..1.0)).collect();
    flow.set_parameters(&moved).unwrap();
    flow
}

/// A sum of determinants of natural orbitals.
fn interaction(orbitals: usize) -> BaseSettings {
    let determinants = DeterminantSum::ConfigurationInteraction { orbitals };
    BaseSettings::MultiDeterminant(MultiDeterminantSettings { determinants })
}

/// Made once: starting from their orbitals takes most of the time.
fn cases() -> Vec<Weyl> {
    static CASES: LazyLock<Vec<Weyl>> = LazyLock::new(make_cases);
    CASES.clone()
}

fn make_cases() -> Vec<Weyl> {
    use LayerKind::*;
    let stacks: [&[LayerKind]; 5] = [
        &[Pair],
        &[PairInverse],
        &[Monotone, ToMeanField, Monotone, FromMeanField],
        &[ToMeanField, TwoBody, FromMeanField],
        &[Pair, PairInverse, Monotone, ToMeanField, TwoBody, FromMeanField],
    ];
    let mut all = Vec::new();
    for layers in stacks {
        for (up, down) in [(1, 0), (2, 0), (3, 0), (2, 1)] {
            all.push(shaken(layers, Sector::new(up, down)));
        }
    }
    for (up, down) in [(2, 0), (2, 1)] {
        all.push(shaken_over(interaction(4), stacks[4], Sector::new(up, down)));
    }
    all
}

#[test]
fn forward_laplacian_agrees_with_nested_duals() {
    for flow in cases() {
        for x in samples(&flow, 77, 8) {
            let mut gradient = vec![0.0; x.len()];
            let (log, laplacian) = flow.evaluator().derivatives(&x, &mut gradient);
            let mut exact = (Vec::new(), 0.0);
            for k in 0..x.len() {
                let seeds: Vec<Nested> =
                    (0..x.len()).map(|i| Nested::seeded(x[i], i == k, i == k)).collect();
                let (value, sign) = flow.forward(&seeds, false, &mut Trace::default());
                assert!((value.value() - log.log_abs).abs() < 1e-12 && sign == log.sign);
                exact.0.push(value.first());
                exact.1 += value.second();
            }
            let kinetic = |g: &[f64], l: f64| -0.5 * (l + g.iter().map(|g| g * g).sum::<f64>());
            let (a, b) = (kinetic(&gradient, laplacian), kinetic(&exact.0, exact.1));
            let scale = laplacian.abs() + gradient.iter().map(|g| g * g).sum::<f64>();
            assert!((a - b).abs() < 1e-9 * scale.max(1.0), "{a} {b}");
        }
    }
}

#[test]
fn derivatives_agree_with_central_differences() {
    for flow in cases() {
        for x in samples(&flow, 77, 3) {
            let n = x.len();
            let mut e = flow.evaluator();
            let mut gradient = vec![0.0; n];
            let (_, laplacian) = e.derivatives(&x, &mut gradient);
            let (mut plus, mut minus) = (vec![0.0; n], vec![0.0; n]);
            let mut second = 0.0;
            for k in 0..n {
                let h = 1e-5;
                let moved = |h: f64| {
                    let mut y = x.clone();
                    y[k] += h;
                    y
                };
                let a = e.derivatives(&moved(h), &mut plus).0.log_abs;
                let b = e.derivatives(&moved(-h), &mut minus).0.log_abs;
                let scale = 1.0 + gradient[k].abs();
                assert!(((a - b) / (2.0 * h) - gradient[k]).abs() < 1e-4 * scale.powi(3));
                second += (plus[k] - minus[k]) / (2.0 * h);
            }
            let scale = 1.0 + laplacian.abs() + gradient.iter().map(|g| g * g).sum::<f64>();
            assert!((second - laplacian).abs() < 1e-4 * scale.powi(2), "{second} {laplacian}");
        }
    }
}

/// Best agreement of central differences with `exact` over a ladder of steps, relative to `scale`.
fn ladder(exact: f64, scale: f64, mut f: impl FnMut(f64) -> f64) -> f64 {
    (1..=7)
        .map(|e| {
            let h = 10f64.powi(-e);
            let difference = (f(h) - f(-h)) / (2.0 * h);
            (difference - exact).abs() / scale.max(exact.abs())
        })
        .fold(f64::INFINITY, f64::min)
}

#[test]
fn mixed_gradients_agree_with_central_differences() {
    for flow in cases() {
        let count = flow.parameters.len();
        for x in samples(&flow, 79, 2) {
            let n = x.len();
            let (mut o, mut mixed) = (vec![0.0; count], vec![0.0; n * count]);
            let mut e = flow.evaluator();
            let kinetic = e.mixed_parameter_gradient(&x, &mut o, &mut mixed);
            // Without a reverse sweep, layers have shorter ways to the same number.
            let mut gradient = vec![0.0; n];
            let shorter = e.kinetic_energy(&x, &mut gradient);
            let size = 1.0 + gradient.iter().map(|g| g * g).sum::<f64>();
            assert!((kinetic - shorter).abs() < 1e-11 * size, "{kinetic} {shorter}");
            for i in 0..n {
                for k in (0..count).step_by(3) {
                    let at = |h: f64| {
                        let mut y = x.clone();
                        y[i] += 1e-2 * h;
                        let mut o = vec![0.0; count];
                        flow.evaluator().parameter_gradient(&y, &mut o);
                        o[k]
                    };
                    let exact = 1e-2 * mixed[i * count + k];
                    assert!(ladder(exact, 1e-2, at) < 1e-6, "coordinate {i}, parameter {k}");
                }
            }
        }
    }
}

#[test]
fn parameter_gradients_agree_with_central_differences() {
    for mut flow in cases() {
        let start = flow.parameters.clone();
        let count = start.len();
        for x in samples(&flow, 77, 2) {
            flow.set_parameters(&start).unwrap();
            let (mut o, mut again, mut kinetic) =
                (vec![0.0; count], vec![0.0; count], vec![0.0; count]);
            flow.evaluator().parameter_gradient(&x, &mut o);
            flow.evaluator().kinetic_parameter_gradient(&x, &mut again, &mut kinetic);
            let mut scratch = vec![0.0; x.len()];
            let size = kinetic.iter().fold(1.0f64, |a, b| a.max(b.abs()));
            for k in 0..count {
                assert!((o[k] - again[k]).abs() < 1e-11 * (1.0 + o[k].abs()));
                let mut moved = |h: f64, energy: bool| {
                    let mut p = start.clone();
                    p[k] += h;
                    flow.set_parameters(&p).unwrap();
                    let mut e = flow.evaluator();
                    if energy { e.kinetic_energy(&x, &mut scratch) } else { e.log_psi(&x).log_abs }
                };
                assert!(ladder(o[k], 1.0, |h| moved(h, false)) < 1e-7, "parameter {k}");
                assert!(ladder(kinetic[k], size, |h| moved(h, true)) < 1e-6, "parameter {k}");
            }
        }
    }
}

#[test]
fn round_trips_close() {
    for flow in cases() {
        let mut e = flow.evaluator();
        for x in samples(&flow, 77, 50) {
            let error = e.round_trip_error(&x);
            assert!(error < 1e-10, "{error:e} at {x:?}");
            for spin in flow.sector.spins() {
                assert!(x[spin].windows(2).all(|w| w[0] < w[1]), "left the domain: {x:?}");
            }
        }
    }
}

/// `dT/dh` along a direction, by central differences.
fn difference(flow: &Weyl, x: &[f64], direction: &[f64]) -> nalgebra::DVector<f64> {
    let h = 1e-5;
    let image = |h: f64| {
        let mut trace = Trace::default();
        let moved: Vec<f64> = x.iter().zip(direction).map(|(x, d)| x + h * d).collect();
        flow.forward(&moved, false, &mut trace);
        nalgebra::DVector::from_vec(trace.angles)
    };
    (image(h) - image(-h)) / (2.0 * h * flow.space.scale())
}

/// Slopes along random directions lie between the extreme ones, and the singular values of a Jacobian of differences
/// are these. Returns the largest over samples.
fn check_slopes(flow: &Weyl, count: usize) -> Slopes {
    let mut rng = Pcg64::seed_from_u64(3);
    let mut largest = Slopes::NONE;
    for x in samples(flow, 77, count) {
        let n = x.len();
        let Slopes { forward, inverse } = flow.evaluator().slopes(&x);
        for _ in 0..50 {
            let d: Vec<f64> = x.iter().map(|_| rng.random_range(-1.0..1.0)).collect();
            let length = d.iter().map(|d| d * d).sum::<f64>().sqrt();
            let slope = difference(flow, &x, &d).norm() / length;
            assert!(slope < forward * (1.0 + 1e-6), "{slope} above {forward} at {x:?}");
            assert!(slope > (1.0 - 1e-6) / inverse, "{slope} below 1 / {inverse} at {x:?}");
        }
        let columns: Vec<_> = (0..n)
            .map(|k| {
                difference(
                    flow,
                    &x,
                    &(0..n).map(|i| f64::from(u8::from(i == k))).collect::<Vec<_>>(),
                )
            })
            .collect();
        let values = nalgebra::DMatrix::from_columns(&columns).singular_values();
        assert!((values.max() / forward - 1.0).abs() < 1e-6, "{values} {forward}");
        assert!((values.min() * inverse - 1.0).abs() < 1e-6, "{values} {inverse}");
        largest = largest.max(Slopes { forward, inverse });
    }
    largest
}

#[test]
fn slopes_bound_finite_differences() {
    for flow in cases() {
        let largest = check_slopes(&flow, 5);
        // Alone, a particle has no pair that could move it.
        let moved = largest.forward > 1.01 || largest.inverse > 1.01;
        assert!(moved || flow.sector.particles() == 1, "{largest:?}");
    }
}

#[test]
fn more_knots_leave_the_state_as_it_is() {
    for coarse in cases() {
        let mut fine = coarse.clone();
        fine.refine();
        fine.refine();
        let splined = |l: &Layer| !matches!(l, Layer::TwoBody(_)) && l.parameters() > 0;
        let more = coarse.layers.iter().any(splined);
        assert_eq!(fine.parameters().len() > coarse.parameters().len(), more);
        let refined = fine.parameters().to_vec();
        fine.set_parameters(&refined).unwrap();
        for x in samples(&coarse, 5, 10) {
            let (mut a, mut b) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            let (one, laplacian) = coarse.evaluator().derivatives(&x, &mut a);
            let (two, again) = fine.evaluator().derivatives(&x, &mut b);
            assert_eq!(one.sign, two.sign);
            assert!((one.log_abs - two.log_abs).abs() < 1e-10, "{one:?} {two:?}");
            let size = 1.0 + laplacian.abs() + a.iter().map(|g| g * g).sum::<f64>();
            assert!((laplacian - again).abs() < 1e-8 * size, "{laplacian} {again}");
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-9 * size), "{a:?} {b:?}");
        }
    }
}

/// The default layers, three of them behind the mean-field coordinate, as training leaves them.
#[test]
fn a_trained_flow_stretches_moderately_and_an_untrained_one_not_at_all() {
    let (hamiltonian, geometry) = (helium(), Geometry::Box { half_width: 10.0 });
    let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
    let sector = Sector::new(2, 0);
    // One determinant, which leaves something to learn.
    let base = BaseSettings::MeanField(MeanFieldSettings::default());
    let settings = WeylSettings { base, ..WeylSettings::default() };
    let mut flow = Weyl::new(&settings, sector, system).unwrap();
    for x in samples(&flow, 77, 20) {
        // The coordinate and its inverse cancel but for rounding, which its flat tails amplify.
        let Slopes { forward, inverse } = flow.evaluator().slopes(&x);
        assert!(
            (forward - 1.0).abs() < 1e-9 && (inverse - 1.0).abs() < 1e-9,
            "{forward} {inverse}"
        );
    }
    let schedule = Schedule {
        iterations: 6,
        samples: 512,
        final_samples: 512,
        sampling: Sampling::QuasiRandom,
        scramblings: 8,
        refinements: 0,
        stopping: Stopping::Never,
        faults: Default::default(),
        seed: 1,
    };
    let mut optimiser = OptimiserSettings::default().build();
    train::train(&mut flow, system, optimiser.as_mut(), &schedule, |_| ()).unwrap();
    let largest = check_slopes(&flow, 20);
    println!("{largest:?}");
    // It has learned something, and nothing wild: a bound far below that of the report.
    assert!(largest.forward > 1.05 && largest.forward < 100.0, "{largest:?}");
    assert!(largest.inverse > 1.05 && largest.inverse < 100.0, "{largest:?}");
}

/// Integral over the fundamental domain of one or two particles.
fn integrate(sector: Sector, mut f: impl FnMut(&[f64]) -> f64) -> f64 {
    let l = HALF_WIDTH;
    let rule = GaussLegendre::new(8);
    let cells = 40;
    let edges: Vec<f64> = (0..=cells).map(|i| -l + 2.0 * l * i as f64 / cells as f64).collect();
    let mut sum = 0.0;
    for w in edges.windows(2) {
        for (x, a) in rule.on(w[0], w[1]) {
            if sector.particles() == 1 {
                sum += a * f(&[x]);
                continue;
            }
            let start = if sector.up == 2 { x } else { -l };
            for c in 0..cells {
                let at = |c: usize| start + (l - start) * c as f64 / cells as f64;
                for (y, b) in rule.on(at(c), at(c + 1)) {
                    sum += a * b * f(&[x, y]);
                }
            }
        }
    }
    sum
}

#[test]
fn the_state_is_normalised_and_sampled_exactly() {
    use LayerKind::*;
    let layers = [Pair, PairInverse, Monotone, ToMeanField, TwoBody, FromMeanField];
    let sectors = [(1, 0), (2, 0), (1, 1)];
    let all = sectors.map(|s| (BaseSettings::default(), s)).into_iter();
    for (base, (up, down)) in all.chain([(interaction(4), (1, 1)), (interaction(4), (2, 0))]) {
        let sector = Sector::new(up, down);
        let flow = shaken_over(base, &layers, sector);
        let mut e = flow.evaluator();
        let moment =
            |x: &[f64]| [1.0, x.iter().sum(), x.iter().map(|x| x * x).sum(), x[0] * x[x.len() - 1]];
        let mut exact = [0.0; 4];
        for k in 0..4 {
            exact[k] = integrate(sector, |x| (2.0 * e.log_psi(x).log_abs).exp() * moment(x)[k]);
        }
        assert!((exact[0] - 1.0).abs() < 1e-7, "{up} {down}: {}", exact[0]);
        let drawn = samples(&flow, 77, 20_000);
        for k in 1..4 {
            let values: Vec<f64> = drawn.iter().map(|x| moment(x)[k]).collect();
            let m = crate::math::statistics::Moments::of(&values);
            let deviation = (m.mean() - exact[k]) / m.standard_error();
            assert!(deviation.abs() < 4.0, "moment {k} of {up} {down}: {deviation} error bars");
        }
    }
}

/// The local energy at a configuration.
fn local_energy(flow: &Weyl, hamiltonian: &Hamiltonian, x: &[f64]) -> f64 {
    let mut gradient = vec![0.0; x.len()];
    let geometry = Geometry::Box { half_width: HALF_WIDTH };
    flow.evaluator().kinetic_energy(x, &mut gradient) + hamiltonian.potential(&geometry, x)
}

#[test]
fn the_local_energy_is_bounded_at_meetings_and_walls() {
    for flow in cases() {
        let n = flow.sector.particles();
        let mut x: Vec<f64> = (0..n).map(|i| -1.1 + 0.9 * i as f64).collect();
        if flow.sector.down == 1 {
            x[2] = -0.4;
        }
        let far = |x: &[f64]| local_energy(&flow, &helium(), x);
        if flow.sector.up > 1 {
            let mut y = x.clone();
            let mut values = Vec::new();
            for d in [1e-1, 1e-2, 1e-3, 1e-4] {
                y[1] = y[0] + d;
                values.push(far(&y));
            }
            // Even in the distance: the values settle quadratically.
            assert!((values[1] - values[2]).abs() < 0.05 * (1.0 + values[1].abs()), "{values:?}");
            assert!((values[2] - values[3]).abs() < 1e-2 * (1.0 + values[1].abs()), "{values:?}");
        }
        let mut values = Vec::new();
        for d in [1e-1, 1e-2, 1e-3] {
            x[0] = -HALF_WIDTH + d;
            values.push(far(&x));
        }
        assert!((values[1] - values[2]).abs() < 0.05 * (1.0 + values[1].abs()), "{values:?}");
    }
}

#[test]
fn the_wavefunction_is_odd_across_a_mirror() {
    for flow in cases().into_iter().filter(|f| f.sector.up > 1) {
        let mut x: Vec<f64> = (0..flow.sector.particles()).map(|i| -1.1 + 0.9 * i as f64).collect();
        let straight = flow.forward(&x, false, &mut Trace::default());
        x.swap(0, 1);
        let swapped = flow.forward(&x, false, &mut Trace::default());
        assert!((straight.0 - swapped.0).abs() < 1e-10 && straight.1 == -swapped.1);
    }
}

#[test]
fn non_interacting_fermions_have_no_variance_at_the_start() {
    let externals = [
        (External::Harmonic { frequency: 1.0 }, 8.0),
        (External::Nuclei { charges: vec![4.0], positions: vec![0.0], softening: 1.0 }, 10.0),
        (External::DoubleWell { half_separation: 2.0, strength: 0.5 }, 6.0),
    ];
    for (external, half_width) in externals {
        let hamiltonian =
            Hamiltonian { title: String::new(), external, interaction: Interaction::None };
        let geometry = Geometry::Box { half_width };
        let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
        for (up, down) in [(3, 0), (2, 2)] {
            let flow = Weyl::new(&WeylSettings::default(), Sector::new(up, down), system).unwrap();
            let mut e = flow.evaluator();
            let mut gradient = vec![0.0; up + down];
            let energies: Vec<f64> = samples(&flow, 77, 2000)
                .iter()
                .map(|x| e.kinetic_energy(x, &mut gradient) + hamiltonian.potential(&geometry, x))
                .collect();
            let sigma = crate::math::statistics::Moments::of(&energies).variance().sqrt();
            assert!(sigma < 1e-8, "{:?} {up} {down}: {sigma:e}", hamiltonian.external);
        }
    }
}

/// Eight at a time give what one at a time does, each the same bits whatever is beside it, and count as much.
pub(super) fn check_blocks(flow: &Weyl) {
    let n = flow.sector.particles();
    let x: Vec<f64> = samples(flow, 31, 17).concat();
    let mut evaluator = flow.evaluator();
    let mut all = vec![0.0; 17];
    let ((), counted) = work::counted(|| evaluator.kinetic_energies(&x, &mut all));
    let mut one_by_one = Work::NONE;
    for (x, found) in x.chunks_exact(n).zip(&all) {
        let mut gradient = vec![0.0; n];
        let (_, laplacian) = flow.evaluator().derivatives(x, &mut gradient);
        let square = gradient.iter().map(|g| g * g).sum::<f64>();
        let exact = -0.5 * (laplacian + square);
        let size = 1.0 + laplacian.abs() + square;
        assert!((found - exact).abs() < 1e-10 * size, "{found} {exact} {size} {:?}", flow.sector);
        let mut alone = [0.0];
        let ((), work) = work::counted(|| evaluator.kinetic_energies(x, &mut alone));
        assert_eq!(alone[0].to_bits(), found.to_bits());
        one_by_one = one_by_one.and(work);
    }
    assert_eq!(counted, one_by_one);
    check_samples(flow);
    // In blocks of every length, from either end.
    for count in 2..17 {
        for reverse in [false, true] {
            let place = |s: usize| if reverse { 16 - s } else { s };
            let moved: Vec<f64> =
                (0..count).flat_map(|s| x[place(s) * n..][..n].to_vec()).collect();
            let mut found = vec![0.0; count];
            evaluator.kinetic_energies(&moved, &mut found);
            for (s, found) in found.iter().enumerate() {
                assert_eq!(found.to_bits(), all[place(s)].to_bits(), "{count} {s}");
            }
        }
    }
}

/// Samples drawn together are those drawn alone, bit for bit, and count as much.
fn check_samples(flow: &Weyl) {
    let (n, each) = (flow.sector.particles(), flow.uniforms());
    let uniform = |i: usize| (0.5 + 0.618_033_988_749_894_9 * i as f64).fract();
    let uniforms: Vec<f64> = (0..17 * each).map(uniform).collect();
    let mut evaluator = flow.evaluator();
    let mut all = vec![f64::NAN; 17 * n];
    let ((), counted) = work::counted(|| evaluator.sample(&uniforms, &mut all));
    let mut one_by_one = Work::NONE;
    for (x, uniforms) in all.chunks_exact(n).zip(uniforms.chunks_exact(each)) {
        let mut alone = vec![f64::NAN; n];
        let ((), work) = work::counted(|| evaluator.sample(uniforms, &mut alone));
        assert_eq!(alone, x);
        one_by_one = one_by_one.and(work);
    }
    assert_eq!(counted, one_by_one);
    for count in 2..17 {
        let place = |s: usize| (5 * s + count) % 17;
        let moved: Vec<f64> =
            (0..count).flat_map(|s| uniforms[place(s) * each..][..each].to_vec()).collect();
        let mut found = vec![f64::NAN; count * n];
        evaluator.sample(&moved, &mut found);
        for (s, x) in found.chunks_exact(n).enumerate() {
            assert_eq!(x, &all[place(s) * n..][..n], "{count} {s}");
        }
    }
}

#[test]
fn eight_samples_are_as_one() {
    use LayerKind::*;
    cases().iter().for_each(check_blocks);
    let layers = [Pair, Monotone, PairInverse, ToMeanField, TwoBody, FromMeanField];
    for (base, up, down) in [
        (BaseSettings::default(), 5, 0),
        (BaseSettings::FreeFermions, 4, 3),
        (BaseSettings::Fermionised, 2, 1),
        (interaction(5), 1, 1),
        (interaction(5), 3, 2),
    ] {
        check_blocks(&shaken_over(base, &layers, Sector::new(up, down)));
    }
}
