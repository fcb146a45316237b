//! Tests of the Weyl flow on the line and on the ring, and of its bases.

use super::*;
use crate::math::nested::Nested;
use crate::math::quadrature::GaussLegendre;
use crate::math::statistics::Moments;
use crate::system::{External, Hamiltonian, Interaction};
use crate::wavefunction::testing::samples;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::sync::LazyLock;

const CIRCUMFERENCE: f64 = 5.0;
const RING: Geometry = Geometry::Ring { circumference: CIRCUMFERENCE };

fn soft_coulomb() -> Interaction {
    Interaction::SoftCoulomb { strength: 1.0, softening: 0.7 }
}

/// A trap without a symmetry that could hide mistakes.
fn tilted_trap() -> External {
    External::Sum(vec![
        External::Harmonic { frequency: 1.0 },
        External::Nuclei { charges: vec![0.7], positions: vec![1.2], softening: 0.8 },
    ])
}

/// A potential on [`RING`] without a mirror symmetry.
fn corrugation() -> External {
    External::Formula("cos(tau*x/5) + 0.5*sin(2*tau*x/5)".parse().unwrap())
}

fn hamiltonian(external: External, interaction: Interaction) -> Hamiltonian {
    Hamiltonian { title: String::new(), external, interaction }
}

fn build(settings: &WeylSettings, sector: Sector, h: &Hamiltonian, geometry: Geometry) -> Weyl {
    Weyl::new(settings, sector, System { hamiltonian: h, geometry: &geometry }).unwrap()
}

/// A flow with parameters far from the identity.
fn shaken(layers: &[LayerKind], sector: Sector, h: &Hamiltonian, geometry: Geometry) -> Weyl {
    let settings = WeylSettings {
        layers: Some(layers.to_vec()),
        monotone_cells: 6,
        pair_cells: Some(7),
        coordinate_cells: 24,
        two_body_functions: 3,
        ..Default::default()
    };
    let mut flow = build(&settings, sector, h, geometry);
    let mut rng = Pcg64::seed_from_u64(19);
    let moved: Vec<f64> =
        flow.parameters.iter().map(|_| 0.5 * rng.random_range(-1.0..1.0)).collect();
    flow.set_parameters(&moved).unwrap();
    flow
}

/// The Hamiltonian and the geometry of a case.
type Case = (Weyl, Hamiltonian, Geometry);

/// Made once: starting from their orbitals takes most of the time.
fn cases() -> Vec<Case> {
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(make_cases);
    CASES.clone()
}

fn make_cases() -> Vec<Case> {
    use LayerKind::*;
    let line: [&[LayerKind]; 3] = [
        &[Pair],
        &[PairInverse, Monotone],
        &[Monotone, Pair, PairInverse, ToMeanField, Pair, Monotone, TwoBody, FromMeanField],
    ];
    let ring: [&[LayerKind]; 6] = [
        &[Pair],
        &[PairInverse],
        &[Pair, PairInverse],
        &[Monotone],
        &[TwoBody],
        &[Monotone, Pair, ToMeanField, PairInverse, TwoBody, FromMeanField, Monotone],
    ];
    let mut all = Vec::new();
    for layers in line {
        for (up, down) in [(1, 0), (2, 0), (2, 1)] {
            let h = hamiltonian(tilted_trap(), soft_coulomb());
            let flow = shaken(layers, Sector::new(up, down), &h, Geometry::Line);
            all.push((flow, h, Geometry::Line));
        }
    }
    for layers in ring {
        for (up, down) in [(1, 1), (3, 0), (3, 1)] {
            let h = hamiltonian(corrugation(), soft_coulomb());
            let flow = shaken(layers, Sector::new(up, down), &h, RING);
            all.push((flow, h, RING));
        }
    }
    all
}

fn local_energy(flow: &Weyl, h: &Hamiltonian, geometry: &Geometry, x: &[f64]) -> f64 {
    let mut gradient = vec![0.0; x.len()];
    flow.evaluator().kinetic_energy(x, &mut gradient) + h.potential(geometry, x)
}

#[test]
fn derivatives_agree_with_nested_duals_and_differences() {
    for (mut flow, _, geometry) in cases() {
        let start = flow.parameters.clone();
        let count = start.len();
        for x in samples(&flow, 78, 3) {
            flow.set_parameters(&start).unwrap();
            let mut gradient = vec![0.0; x.len()];
            let (log, laplacian) = flow.evaluator().derivatives(&x, &mut gradient);
            let mut second = 0.0;
            for k in 0..x.len() {
                let seeds: Vec<Nested> =
                    (0..x.len()).map(|i| Nested::seeded(x[i], i == k, i == k)).collect();
                let (value, sign) = flow.forward(&seeds, false, &mut Trace::default());
                assert!((value.value() - log.log_abs).abs() < 1e-12 && sign == log.sign);
                let scale = 1.0 + gradient[k].abs();
                assert!((value.first() - gradient[k]).abs() < 1e-9 * scale, "{geometry:?}");
                second += value.second();
            }
            let scale = 1.0 + laplacian.abs() + gradient.iter().map(|g| g * g).sum::<f64>();
            assert!((second - laplacian).abs() < 1e-9 * scale, "{geometry:?}");

            let (mut o, mut again) = (vec![0.0; count], vec![0.0; count]);
            let mut kinetic = vec![0.0; count];
            flow.evaluator().parameter_gradient(&x, &mut o);
            flow.evaluator().kinetic_parameter_gradient(&x, &mut again, &mut kinetic);
            let size = kinetic.iter().fold(1.0f64, |a, b| a.max(b.abs()));
            for k in (0..count).step_by(3) {
                assert!((o[k] - again[k]).abs() < 1e-11 * (1.0 + o[k].abs()));
                let mut moved = |h: f64| {
                    let mut p = start.clone();
                    p[k] += h;
                    flow.set_parameters(&p).unwrap();
                    let mut e = flow.evaluator();
                    [e.log_psi(&x).log_abs, e.kinetic_energy(&x, &mut gradient)]
                };
                let (mut best, mut best_kinetic) = (f64::INFINITY, f64::INFINITY);
                for e in 2..=6 {
                    let h = 10f64.powi(-e);
                    let (a, b) = (moved(h), moved(-h));
                    let slope = |i: usize| (a[i] - b[i]) / (2.0 * h);
                    best = best.min((slope(0) - o[k]).abs() / (1.0 + o[k].abs()));
                    best_kinetic = best_kinetic.min((slope(1) - kinetic[k]).abs() / size);
                }
                assert!(
                    best < 1e-7 && best_kinetic < 1e-6,
                    "{geometry:?}: {k} {best:e} {best_kinetic:e}"
                );
            }
        }
    }
}

#[test]
fn samples_round_trip_and_stay_in_the_domain() {
    for (flow, h, geometry) in cases() {
        let mut e = flow.evaluator();
        let (left, right) = flow.interval(&geometry);
        for x in samples(&flow, 78, 100) {
            let error = e.round_trip_error(&x);
            assert!(error < 1e-10, "{geometry:?}: {error:e} at {x:?}");
            assert!(local_energy(&flow, &h, &geometry, &x).is_finite());
            for spin in flow.sector.spins() {
                assert!(x[spin].windows(2).all(|w| w[0] < w[1]), "left the domain: {x:?}");
            }
            if geometry == RING {
                assert!(x.iter().all(|&x| left <= x && x <= right), "not wrapped: {x:?}");
            }
        }
    }
}

/// Sums `f` over the fundamental domain with coordinates between `a` and `b`.
fn integrate<const K: usize>(
    sector: Sector,
    (a, b): (f64, f64),
    panels: usize,
    f: &mut impl FnMut(&[f64]) -> [f64; K],
) -> [f64; K] {
    let rule = GaussLegendre::new(8);
    let nodes: Vec<(f64, f64)> = (0..panels)
        .flat_map(|p| {
            let edge = |p: usize| p as f64 / panels as f64;
            rule.on(edge(p), edge(p + 1)).collect::<Vec<_>>()
        })
        .collect();
    let n = sector.particles();
    let mut sums = [0.0; K];
    let mut index = vec![0; n];
    let mut x = vec![0.0; n];
    loop {
        let mut weight = 1.0;
        for i in 0..n {
            let low = if i == 0 || i == sector.up { a } else { x[i - 1] };
            let (u, w) = nodes[index[i]];
            x[i] = low + (b - low) * u;
            weight *= w * (b - low);
        }
        for (s, v) in sums.iter_mut().zip(f(&x)) {
            *s += weight * v;
        }
        let Some(digit) = index.iter().position(|&i| i + 1 < nodes.len()) else { return sums };
        index[digit] += 1;
        index[..digit].fill(0);
    }
}

/// Moments that know no special point of a ring.
fn moments(geometry: &Geometry, x: &[f64]) -> [f64; 3] {
    let last = x[x.len() - 1];
    if let Geometry::Ring { circumference } = *geometry {
        let k = 2.0 * PI / circumference;
        let sum = |f: fn(f64) -> f64| x.iter().map(|x| f(k * x)).sum::<f64>();
        return [sum(f64::sin), sum(f64::cos), (k * (x[0] - last)).cos()];
    }
    [x.iter().sum(), x.iter().map(|x| x * x).sum(), x[0] * last]
}

/// Norm 1 by quadrature, and samples whose moments and energy are those of the quadrature.
fn check_consistency((flow, h, geometry): &Case, panels: usize, tolerance: f64) {
    let mut e = flow.evaluator();
    let mut gradient = vec![0.0; flow.sector.particles()];
    let name = format!("{geometry:?} {:?}", flow.sector);
    let interval = flow.interval(geometry);
    let exact: [f64; 5] = integrate(flow.sector, interval, panels, &mut |x| {
        let (log, _) = e.derivatives(x, &mut gradient);
        let p = (2.0 * log.log_abs).exp();
        if p == 0.0 {
            return [0.0; 5];
        }
        let kinetic = 0.5 * gradient.iter().map(|g| g * g).sum::<f64>();
        let m = moments(geometry, x);
        [p, p * m[0], p * m[1], p * m[2], p * (kinetic + h.potential(geometry, x))]
    });
    assert!((exact[0] - 1.0).abs() < tolerance, "{name}: norm {}", exact[0]);
    let mut drawn = [Moments::default(); 4];
    for x in samples(flow, 78, 20_000) {
        moments(geometry, &x).iter().zip(&mut drawn).for_each(|(m, s)| s.push(*m));
        drawn[3].push(local_energy(flow, h, geometry, &x));
    }
    for (k, m) in drawn.iter().enumerate() {
        let z = (m.mean() - exact[k + 1]) / m.standard_error();
        assert!(z.abs() < 4.5, "{name}: moment {k} is {z} error bars off");
    }
}

#[test]
fn shaken_states_are_normalised_and_sampled_exactly() {
    for case in cases() {
        // The dense grids of three particles only for the longest stack of each geometry.
        let longest = case.0.layers.len() > 2;
        match case.0.sector.particles() {
            1 => check_consistency(&case, 60, 1e-9),
            2 => check_consistency(&case, 30, 1e-6),
            3 if longest => check_consistency(&case, 10, 2e-5),
            _ => {}
        }
    }
}

#[test]
fn bases_are_normalised_and_sampled_exactly() {
    let walls = Geometry::Box { half_width: 2.0 };
    let cases = [
        (BaseSettings::FreeFermions, External::Free, walls, (2, 0)),
        (BaseSettings::FreeFermions, External::Free, walls, (1, 1)),
        (BaseSettings::FreeFermions, External::Free, RING, (3, 0)),
        (BaseSettings::default(), corrugation(), RING, (3, 0)),
        (BaseSettings::default(), tilted_trap(), Geometry::Line, (2, 0)),
    ];
    for (base, external, geometry, (up, down)) in cases {
        let h = hamiltonian(external, soft_coulomb());
        let settings = WeylSettings { base, layers: Some(Vec::new()), ..WeylSettings::default() };
        let flow = build(&settings, Sector::new(up, down), &h, geometry);
        let (panels, tolerance) = if up + down == 2 { (30, 1e-10) } else { (8, 1e-8) };
        check_consistency(&(flow, h, geometry), panels, tolerance);
    }
}

#[test]
fn free_fermions_are_the_closed_form() {
    let h = hamiltonian(External::Free, Interaction::None);
    let settings = WeylSettings {
        base: BaseSettings::FreeFermions,
        layers: Some(Vec::new()),
        ..WeylSettings::default()
    };
    let geometry = Geometry::Box { half_width: 2.0 };
    let flow = build(&settings, Sector::new(4, 0), &h, geometry);
    for x in samples(&flow, 78, 5) {
        let theta: Vec<f64> = x.iter().map(|x| PI * (x + 2.0) / 4.0).collect();
        let mut product = (2.0 / PI).powi(2) * 2f64.powi(6) * (PI / 4.0).powi(2);
        for i in 0..4 {
            product *= theta[i].sin();
            for j in 0..i {
                product *= (theta[i].cos() - theta[j].cos()).abs();
            }
        }
        let log = flow.evaluator().log_psi(&x).log_abs;
        assert!((log - product.ln()).abs() < 1e-12, "{log} {}", product.ln());
    }
}

#[test]
fn signs_follow_exchanges_and_turns() {
    for (flow, _, geometry) in cases().into_iter().filter(|c| c.0.sector.up > 1) {
        let x = samples(&flow, 78, 1).remove(0);
        let at = |x: &[f64]| flow.forward(x, false, &mut Trace::default());
        let straight = at(&x);
        let mut y = x.clone();
        y.swap(0, 1);
        let swapped = at(&y);
        assert!((straight.0 - swapped.0).abs() < 1e-10 && straight.1 == -swapped.1);
        if geometry == RING {
            for i in 0..x.len() {
                let mut y = x.clone();
                y[i] += CIRCUMFERENCE;
                let turned = at(&y);
                assert!((straight.0 - turned.0).abs() < 1e-10 && straight.1 == turned.1);
            }
        }
    }
}

#[test]
fn a_shifted_potential_gives_the_shifted_state() {
    use LayerKind::*;
    let layers = [Monotone, Pair, ToMeanField, PairInverse, TwoBody, FromMeanField, Monotone];
    let of = |shift: f64| {
        let formula = format!("cos(tau*(x-{shift})/5) + 0.5*sin(2*tau*(x-{shift})/5)");
        let h = hamiltonian(External::Formula(formula.parse().unwrap()), soft_coulomb());
        (shaken(&layers, Sector::new(3, 1), &h, RING), h)
    };
    let (plain, h) = of(0.0);
    for shift in [0.37, 1.9, -2.2] {
        let (shifted, g) = of(shift);
        for (x, y) in samples(&plain, 78, 20).iter().zip(samples(&shifted, 78, 20)) {
            let mut moved: Vec<f64> = x
                .iter()
                .map(|x| x + shift - CIRCUMFERENCE * ((x + shift) / CIRCUMFERENCE).round())
                .collect();
            plain.sector.sort(&mut moved);
            for (a, b) in moved.iter().zip(&y) {
                assert!((a - b).abs() < 1e-6, "{shift}: {moved:?} {y:?}");
            }
            let energies =
                (local_energy(&plain, &h, &RING, x), local_energy(&shifted, &g, &RING, &moved));
            let scale = 1.0 + energies.0.abs();
            assert!((energies.0 - energies.1).abs() < 1e-5 * scale, "{shift}: {energies:?}");
        }
    }
}

#[test]
fn the_local_energy_is_bounded_where_equal_spins_meet() {
    for (flow, h, geometry) in cases().into_iter().filter(|c| c.0.sector.up > 1) {
        let mut x = vec![-1.1, -0.2, 0.7, 1.6];
        x.truncate(flow.sector.particles());
        // Neighbours, and on the ring the first and the last across its end.
        let across = (2, 0, -CIRCUMFERENCE, 2.4);
        let meetings = [(0, 1, 0.0, -0.6), across];
        for &(i, j, turn, middle) in &meetings[..if geometry == RING { 2 } else { 1 }] {
            let values: Vec<f64> = [1e-1, 1e-2, 1e-3, 1e-4]
                .iter()
                .map(|d| {
                    let mut y = x.clone();
                    y[i] = middle - 0.5 * d;
                    y[j] = middle + 0.5 * d + turn;
                    local_energy(&flow, &h, &geometry, &y)
                })
                .collect();
            // Even in the distance: the values settle quadratically.
            let scale = 1.0 + values[1].abs();
            assert!((values[1] - values[2]).abs() < 0.05 * scale, "{geometry:?} {values:?}");
            assert!((values[2] - values[3]).abs() < 1e-2 * scale, "{geometry:?} {values:?}");
        }
    }
}

#[test]
fn non_interacting_fermions_have_no_variance_at_the_start() {
    let nucleus = External::Nuclei { charges: vec![4.0], positions: vec![0.5], softening: 1.0 };
    let mean_field = BaseSettings::default();
    let cases = [
        (External::Harmonic { frequency: 1.0 }, Geometry::Line, mean_field.clone()),
        (External::Harmonic { frequency: 0.2 }, Geometry::Line, mean_field.clone()),
        (
            External::DoubleWell { half_separation: 2.0, strength: 0.125 },
            Geometry::Line,
            mean_field.clone(),
        ),
        (tilted_trap(), Geometry::Line, mean_field.clone()),
        (nucleus, Geometry::Line, mean_field.clone()),
        (External::Free, RING, mean_field.clone()),
        (External::Free, RING, BaseSettings::FreeFermions),
        (corrugation(), RING, mean_field.clone()),
        (External::Free, Geometry::Box { half_width: 3.0 }, BaseSettings::FreeFermions),
        (External::Free, Geometry::Box { half_width: 3.0 }, mean_field),
    ];
    for (external, geometry, base) in cases {
        let h = hamiltonian(external, Interaction::None);
        let settings = WeylSettings { base, ..WeylSettings::default() };
        for (up, down) in [(1, 0), (3, 0), (3, 1)] {
            let flow = build(&settings, Sector::new(up, down), &h, geometry);
            let energies: Vec<f64> = samples(&flow, 78, 1000)
                .iter()
                .map(|x| local_energy(&flow, &h, &geometry, x))
                .collect();
            let sigma = Moments::of(&energies).variance().sqrt();
            assert!(sigma < 1e-8, "{geometry:?} {:?} {up} {down}: {sigma:e}", h.external);
        }
    }
}

#[test]
fn the_line_is_wide_enough_and_not_wasteful() {
    let width = |external: External, interaction: Interaction, n: usize| {
        let h = hamiltonian(external, interaction);
        let sector = Sector::new(n, 0);
        base::mean_field::line_half_width(
            Orbitals::HartreeFock,
            sector,
            &h,
            (-1.0, 1.0),
            f64::INFINITY,
        )
    };
    // One particle in the oscillator: exp(-x²) is 1e-24 at 7.43.
    let one = width(External::Harmonic { frequency: 1.0 }, Interaction::None, 1).unwrap();
    assert!((7.43..9.0).contains(&one), "{one}");
    let six = width(External::Harmonic { frequency: 1.0 }, soft_coulomb(), 6).unwrap();
    assert!((one + 1.0..13.0).contains(&six), "{six}");
    // Two electrons do not stay at a nucleus of charge 0.3.
    let weak = External::Nuclei { charges: vec![0.3], positions: vec![0.0], softening: 1.0 };
    assert!(matches!(width(weak, soft_coulomb(), 2), Err(WavefunctionError::Unbound { .. })));
}

/// One particle without interaction is in its exact state from the start: its energy is that of the solver, its variance
/// nothing but what kinks and cores leave, however large the system is and wherever.
#[test]
fn the_line_takes_its_scales_from_the_potential() {
    let at = |text: &str, geometry: Geometry| {
        let h = hamiltonian(ron::from_str(text).unwrap(), Interaction::None);
        let flow = build(&WeylSettings::default(), Sector::new(1, 0), &h, geometry);
        let energies: Vec<f64> =
            samples(&flow, 5, 400).iter().map(|x| local_energy(&flow, &h, &geometry, x)).collect();
        let moments = Moments::of(&energies);
        (moments.mean(), moments.variance().sqrt())
    };
    let line = Geometry::Line;
    let trap = |frequency: f64| format!("Harmonic(frequency: {frequency:?})");
    for (text, geometry, energy) in [
        (trap(1e-3), line, 0.5e-3),
        (trap(0.01), line, 0.005),
        (trap(30.0), line, 15.0),
        (trap(1e4), line, 5e3),
        (trap(1.0), Geometry::Box { half_width: 1000.0 }, 0.5),
        ("Formula(\"0.5*(x-30)^2\")".to_owned(), line, 0.5),
        ("Formula(\"0.5*(x-30)^2 + 1e6\")".to_owned(), line, 1e6 + 0.5),
    ] {
        let (mean, sigma) = at(&text, geometry);
        // Of an offset of 1e6 no more digits are left.
        let scale = 1e-8 * (f64::min(energy, 1e4) + 1e-6 * energy);
        assert!((mean - energy).abs() < scale && sigma < scale, "{text}: {mean} {sigma:e}");
    }
    let atom = "Nuclei(charges: [1], positions: [0])";
    let (wide, narrow) = (at(atom, Geometry::Box { half_width: 1000.0 }), at(atom, line));
    assert_eq!(wide, narrow);
    for (text, energy, within) in [
        ("Formula(\"-20*exp(-x^2) - 25*exp(-(x-12)^2)\")", -21.653, 1e-3),
        ("Formula(\"0.5*x^2 - 100*exp(-10*(x-10)^2)\")", -29.556_728, 1e-4),
        ("Formula(\"-exp(-x^2) - 4e4*exp(-1e4*(x-40)^2)\")", -2.7e4, 0.1e4),
        ("Formula(\"abs(x)\")", 0.808_617, 1e-3),
        ("Nuclei(charges: [1], positions: [0], softening: 0.1)", -3.818_616, 1e-3),
    ] {
        let (mean, sigma) = at(text, line);
        let within = f64::max(within, 4.0 * sigma / 20.0);
        assert!((mean - energy).abs() < within, "{text}: {mean} {sigma:e}");
    }
}

#[test]
fn even_numbers_on_a_ring_are_refused() {
    let h = hamiltonian(External::Free, Interaction::None);
    let system = System { hamiltonian: &h, geometry: &RING };
    let error = Weyl::new(&WeylSettings::default(), Sector::new(3, 2), system).unwrap_err();
    assert_eq!(error, WavefunctionError::EvenOnRing { found: 2 });
}

#[test]
fn eight_samples_are_as_one() {
    use super::tests::check_blocks;
    use LayerKind::*;
    cases().iter().for_each(|(flow, ..)| check_blocks(flow));
    let inverse_square = Interaction::InverseSquare { strength: 2.0 };
    let trap = External::Harmonic { frequency: 1.0 };
    let wide = Geometry::Box { half_width: 9.0 };
    let narrow = Geometry::Box { half_width: 2.5 };
    let line = Geometry::Line;
    let (relative, few) = (BaseSettings::RelativeMotion, BaseSettings::Gaps);
    let (field, free) = (BaseSettings::default(), BaseSettings::FreeFermions);
    for (base, external, interaction, geometry, sectors) in [
        (relative, trap.clone(), soft_coulomb(), line, vec![(1, 1), (2, 0)]),
        (BaseSettings::Calogero, trap.clone(), inverse_square, line, vec![(4, 0)]),
        (few, trap, soft_coulomb(), line, vec![(3, 0)]),
        (field.clone(), tilted_trap(), soft_coulomb(), wide, vec![(1, 1), (4, 3)]),
        (field, External::Free, soft_coulomb(), narrow, vec![(2, 0), (3, 3)]),
        (free, corrugation(), soft_coulomb(), RING, vec![(1, 1), (5, 3)]),
    ] {
        for (up, down) in sectors {
            let h = hamiltonian(external.clone(), interaction.clone());
            let layers = vec![Pair, PairInverse, Monotone, Pair, TwoBody, PairInverse];
            let settings = WeylSettings {
                base: base.clone(),
                layers: Some(layers),
                monotone_cells: 6,
                pair_cells: Some(7),
                coordinate_cells: 24,
                two_body_functions: 5,
                ..Default::default()
            };
            let mut flow = build(&settings, Sector::new(up, down), &h, geometry);
            let mut rng = Pcg64::seed_from_u64(23);
            let moved: Vec<f64> =
                flow.parameters.iter().map(|_| 0.7 * rng.random_range(-1.0..1.0)).collect();
            flow.set_parameters(&moved).unwrap();
            check_blocks(&flow);
        }
    }
}
