//! Projections against closed forms.

use super::*;
use crate::spec::read::parse;

pub(super) fn built(spec: &str) -> (crate::spec::ResolvedSpec, Box<dyn Wavefunction>) {
    let spec = parse(spec, std::path::Path::new("test.ron")).unwrap();
    let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
    let psi = spec.wavefunction.build(spec.sector, system, spec.seed).unwrap();
    (spec, psi)
}

fn run(spec: &str, settings: &Settings) -> Projection {
    let (spec, psi) = built(spec);
    let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
    let mut watch = |_: &News, _: &State| ControlFlow::Continue(());
    project(psi.as_ref(), system, settings, None, &mut State::default(), &mut watch).unwrap()
}

pub(super) const HARMONIUM: &str = r#"(
    title: "harmonium",
    hamiltonian: Inline(external: Harmonic(), interaction: Harmonic(stiffness: 0.5)),
    sector: (up: 3), geometry: Line,
    wavefunction: Weyl(base: MeanField(orbitals: NonInteracting)),
)"#;

pub(super) fn few() -> Settings {
    Settings { walkers: Some(256), samples: Some(8192), ..Settings::default() }
}

#[test]
fn free_fermions_are_projected_onto_harmonium_and_its_pure_width() {
    let found = run(HARMONIUM, &few());
    assert!(found.refusals.is_empty(), "{found:?}");
    let (energy, error) = found.energy().unwrap();
    // E = 1/2 + Omega (n² - 1) / 2 with Omega² = 1 + n k.
    let omega = 2.5f64.sqrt();
    let exact = 0.5 + 4.0 * omega;
    let correction = found.correction.unwrap();
    assert!(correction.energy < -0.1 && error < 0.1 * correction.energy.abs(), "{found:?}");
    assert!((energy - exact).abs() < 3.5 * error + correction.remainder, "{energy} {error}");
    // Three particles: sum x² = 1/2 of the centre and 8 / (2 Omega) of the rest.
    let square = (0.5 + 4.0 / omega) / 3.0;
    let pure = &found.observables[0].pure;
    let q = pure.iter().find(|q| q.name == "mean_square_position_up").unwrap();
    let (value, error) = q.scalar().unwrap();
    assert!((value - square).abs() < 4.0 * error + 0.003, "{value} ± {error}, {square}");
    let before = &found.observables[0].variational;
    let q = before.iter().find(|q| q.name == "mean_square_position_up").unwrap();
    assert!((q.values[0] - square).abs() > 0.05);
}

#[test]
fn the_curve_falls_and_bounds_the_energy() {
    let plain = Settings { control_variates: ControlVariates::Off, ..few() };
    let found = run(HARMONIUM, &plain);
    for pair in found.curve.windows(2) {
        let slack = pair[0].standard_error.max(pair[1].standard_error);
        assert!(pair[1].correction < pair[0].correction + slack, "{:?}", found.curve);
        assert!(pair[1].effective_share < pair[0].effective_share + 1e-9);
    }
}

#[test]
fn bad_guides_have_no_energy() {
    let of = |interaction: &str, sector: &str, base: &str| {
        run(
            &format!(
                "(title: \"bad\", hamiltonian: Inline(external: Harmonic(), interaction: {interaction}), \
                 sector: {sector}, geometry: Line, wavefunction: Weyl(base: {base}))"
            ),
            &few(),
        )
    };
    let plain = "MeanField(orbitals: NonInteracting)";
    let calogero = of("InverseSquare(strength: 2)", "(up: 2)", plain);
    assert!(matches!(calogero.refusals[..], [Refusal::Contact { .. }]), "{calogero:?}");
    assert_eq!(calogero.energy(), None);
    // Local energies of thousands of Hartree: an action that leaves them out would give a wrong energy.
    let far = of("Harmonic(stiffness: 400)", "(up: 3)", plain);
    assert!(!far.refusals.is_empty() && far.energy().is_none(), "{far:?}");
    let polarised = of("SoftCoulomb(strength: 5)", "(up: 1, down: 1)", "Fermionised");
    assert_eq!(polarised.refusals, [Refusal::NodeBetweenOppositeSpins]);
}

/// Deviations from the exact energy in error bars, of seeds that were not refused.
fn deviations(spec: &str, exact: f64, seeds: u64) -> Vec<f64> {
    let one = |seed| {
        let settings = Settings {
            walkers: Some(256),
            observables: Vec::new(),
            seed,
            samples: Some(16384),
            // Poor guides are what this is about.
            control_variates: ControlVariates::Off,
            ..few()
        };
        let (energy, error) = run(spec, &settings).energy()?;
        Some((energy - exact) / error)
    };
    (0..seeds).filter_map(one).collect()
}

#[test]
fn error_bars_cover_the_exact_energy_for_poor_guides() {
    // Free fermions for harmonium: effective shares of 0.2 to 0.5.
    for (particles, seeds) in [(3, 16), (2, 32)] {
        let n = f64::from(particles);
        let exact = 0.5 + (1.0 + 0.5 * n).sqrt() * (n * n - 1.0) / 2.0;
        let spec = HARMONIUM.replace("(up: 3)", &format!("(up: {particles})"));
        let z = deviations(&spec, exact, seeds);
        let count = z.len() as f64;
        let mean = z.iter().sum::<f64>() / count;
        let covered = z.iter().filter(|z| z.abs() < 1.96).count() as f64;
        assert!(count > 0.7 * seeds as f64, "{z:?}");
        // A bias of less than an error bar is what 16 seeds see.
        assert!(mean.abs() < 3.0 / count.sqrt(), "{particles}: {mean} {z:?}");
        // Three standard deviations of the binomial distribution.
        assert!(covered > count * 0.95 - 3.0 * (count * 0.95 * 0.05).sqrt(), "{covered} {z:?}");
    }
}

#[test]
fn walls_and_rings_are_exact_for_free_particles() {
    // Free fermions in a box, guided by those of another external potential: a state that is wrong by the flow's own potential.
    for (geometry, sector, exact) in [
        ("Box(half_width: 1.5)", "(up: 3)", 14.0 * (std::f64::consts::PI / 3.0).powi(2) / 2.0),
        ("Ring(circumference: 3)", "(up: 3)", (2.0 * std::f64::consts::PI / 3.0).powi(2)),
    ] {
        let text = format!(
            "(title: \"free\", hamiltonian: Inline(external: Free, interaction: None), sector: {sector}, \
             geometry: {geometry}, wavefunction: Weyl(layers: [Monotone, PairInverse]))"
        );
        let (spec, mut psi) = built(&text);
        let moved: Vec<f64> =
            psi.parameters().iter().enumerate().map(|(i, p)| p + 0.3 * (i as f64).sin()).collect();
        psi.set_parameters(&moved).unwrap();
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let mut watch = |_: &News, _: &State| ControlFlow::Continue(());
        let found =
            project(psi.as_ref(), system, &few(), None, &mut State::default(), &mut watch).unwrap();
        assert!(found.refusals.is_empty(), "{found:?}");
        let (energy, error) = found.energy().unwrap();
        let correction = found.correction.unwrap();
        assert!(error < 0.2 * correction.energy.abs(), "{found:?}");
        let remainder = correction.remainder;
        assert!((energy - exact).abs() < 3.5 * error + remainder, "{energy} ± {error}, {exact}");
    }
}

#[test]
fn an_interrupted_projection_goes_on_with_the_same_bits() {
    let (spec, psi) = built(HARMONIUM);
    let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
    // Also with coefficients that are found again.
    let settings = Settings { walkers: Some(192), control_variates: ControlVariates::On, ..few() };
    let mut go_on = |_: &News, _: &State| ControlFlow::Continue(());
    let whole =
        project(psi.as_ref(), system, &settings, None, &mut State::default(), &mut go_on).unwrap();
    let mut heard = 0;
    let mut stop = |_: &News, _: &State| {
        heard += 1;
        if heard == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut state = State::default();
    let error = project(psi.as_ref(), system, &settings, None, &mut state, &mut stop);
    assert!(matches!(error, Err(ProjectError::Interrupted)));
    let text = serde_json::to_string(&state).unwrap();
    let mut state: State = serde_json::from_str(&text).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let again = pool.install(|| {
        project(psi.as_ref(), system, &settings, None, &mut state, &mut |_, _| {
            ControlFlow::Continue(())
        })
    });
    assert_eq!(format!("{whole:?}"), format!("{:?}", again.unwrap()));
}

/// Two free fermions between walls, in a state with a node of its own.
pub(super) fn noded() -> (crate::spec::ResolvedSpec, Box<dyn Wavefunction>) {
    let (spec, mut psi) = built(
        "(title: \"free\", hamiltonian: Inline(external: Free, interaction: None), sector: (up: 2), \
         geometry: Box(half_width: 1.5), wavefunction: Waveflow(prior_knots: 6, knots: 6, hidden: [4]))",
    );
    let start = psi.without_nodes().unwrap().parameters().to_vec();
    // One coefficient of the prior, of those that make one.
    for k in 0..start.len() {
        for change in [-0.15, 0.15] {
            let mut moved = start.clone();
            moved[k] += change;
            psi.set_parameters(&moved).unwrap();
            let samples = crate::wavefunction::testing::samples(psi.as_ref(), 1, 1024);
            let positive = {
                let mut evaluator = psi.evaluator();
                samples.iter().filter(|x| evaluator.log_psi(x).sign > 0.0).count()
            };
            let fewer = positive.min(1024 - positive);
            if (4..32).contains(&fewer) {
                return (spec, psi);
            }
        }
    }
    panic!("no parameter makes a node");
}

#[test]
fn control_variates_shrink_both_error_bars_and_leave_the_energy() {
    let of = |control_variates| {
        let settings = Settings { control_variates, ..few() };
        run(HARMONIUM, &settings)
    };
    let (with, without) = (of(ControlVariates::Auto), of(ControlVariates::Off));
    let variates = with.variates.unwrap();
    assert!(variates.variance < 0.5 && without.variates.is_none(), "{variates:?}");
    let exact = 0.5 + 4.0 * 2.5f64.sqrt();
    for found in [&with, &without] {
        let (energy, error) = found.energy().unwrap();
        let remainder = found.correction.unwrap().remainder;
        assert!((energy - exact).abs() < 3.5 * error + remainder, "{energy} ± {error}");
    }
    let apart = with.variational.energy - without.variational.energy;
    let error = with.variational.standard_error.hypot(without.variational.standard_error);
    assert!(apart.abs() < 4.0 * error, "{apart} ± {error}");
    let of = |p: &Projection| p.correction.unwrap().standard_error;
    assert!(
        of(&with) < 0.5 * of(&without)
            && with.energy().unwrap().1 < 0.5 * without.energy().unwrap().1
    );
    // The curve belongs to the correction of psi.
    let last = with.curve.last().unwrap();
    assert!(
        (last.correction - with.correction.unwrap().energy).abs() < 0.1 * last.correction.abs()
    );
    let square = |p: &Projection| {
        let q = p.observables[0].pure.iter().find(|q| q.name == "mean_square_position_up").unwrap();
        q.scalar().unwrap()
    };
    let (value, error) = square(&with);
    assert!((value - (0.5 + 4.0 / 2.5f64.sqrt()) / 3.0).abs() < 4.0 * error, "{value} ± {error}");
}

#[test]
fn control_variates_are_left_out_where_nothing_scatters() {
    let spec = HARMONIUM.replace("Harmonic(stiffness: 0.5)", "None");
    let found = run(&spec, &few());
    assert!(found.variates.is_none() && (found.energy().unwrap().0 - 4.5).abs() < 1e-9);
}
