//! Matrix product states against closed forms, stored values and the other routes.

use std::ops::ControlFlow;
use weylflow::exact::{ExactError, ExactOptions, Method, solve};
use weylflow::problems::reference_case;
use weylflow::system::{External, Geometry, Hamiltonian, Interaction, Sector};

fn options() -> ExactOptions {
    ExactOptions { closed_forms: false, ..ExactOptions::default() }
}

/// What matrix product states give, against closed forms, values computed for this project by other methods, and the other
/// routes: many particles, both spins, a ring.
#[test]
fn matrix_product_states_are_right_within_their_estimates() {
    let soft = Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 };
    let trap = External::Harmonic { frequency: 1.0 };
    let of = |external: &External, interaction: &Interaction| Hamiltonian {
        title: String::new(),
        external: external.clone(),
        interaction: interaction.clone(),
    };
    let stored = |name: &str| {
        let case = reference_case(name).unwrap();
        (
            case.hamiltonian,
            case.geometry.unwrap_or(Geometry::Line),
            case.sector,
            case.energy,
            case.error_bound,
        )
    };
    let free: f64 =
        (1..=6).map(|k| 0.5 * (f64::from(k) * std::f64::consts::PI / 8.0).powi(2)).sum();
    // N harmonically coupled particles: the centre of mass, and N - 1 modes of frequency sqrt(1 + N k), filled with the
    // Slater determinant of them.
    let coupled = 0.5 + (0.5 * 36.0 - 0.5) * (1.0 + 6.0 * 0.25_f64).sqrt();
    let six = Sector::new(6, 0);
    let cases = [
        (
            of(&External::Free, &Interaction::None),
            Geometry::Box { half_width: 4.0 },
            six,
            free,
            0.0,
        ),
        (of(&trap, &Interaction::Harmonic { stiffness: 0.25 }), Geometry::Line, six, coupled, 0.0),
        stored("B_soft_g1_a1_N5"),
        stored("E_soft_g1_a1_22"),
        stored("F_ring_N3"),
        (of(&trap, &soft), Geometry::Line, Sector::new(1, 2), 4.480_534_441_641_8, 2e-10),
    ];
    for (hamiltonian, geometry, sector, energy, bound) in cases {
        let options = ExactOptions { method: Method::Mps, tolerance: 1e-7, ..options() };
        let r =
            solve(&hamiltonian, &geometry, sector, &options, &mut |_| ControlFlow::Continue(()))
                .unwrap();
        let deviation = (r.energies[0] - energy).abs();
        let estimate = r.error_estimates[0];
        assert!(deviation <= estimate + bound, "{sector:?}: {deviation:e} > {estimate:e}");
        assert!(deviation < 1e-7 + bound && r.converged, "{sector:?}: {deviation:e} {estimate:e}");
        let c = r.components;
        assert!((c.kinetic + c.external + c.interaction - r.energies[0]).abs() < 1e-6);
        let ground = r.ground_state.unwrap();
        let particles: f64 = ground.natural_occupations.iter().sum();
        assert!((particles - sector.particles() as f64).abs() < 1e-9);
        let entropy = ground.entanglement.unwrap().entropy;
        assert!(entropy.iter().all(|s| *s > -1e-9 && *s < 4.0));
    }
}

/// Three particles bound so tightly that they move together: sweeps that change two sites at a time get stuck there unless the
/// density matrices are perturbed enough.
#[test]
fn tightly_bound_particles_move_together() {
    let hamiltonian = Hamiltonian {
        title: String::new(),
        external: External::Harmonic { frequency: 1.0 },
        interaction: Interaction::SoftCoulomb { strength: -10.0, softening: 0.2 },
    };
    let options = ExactOptions { method: Method::Mps, tolerance: 1e-6, ..options() };
    let go = &mut |_: &_| ControlFlow::Continue(());
    let found = solve(&hamiltonian, &Geometry::Line, Sector::new(2, 1), &options, go).unwrap();
    // From gaps in spectral elements, to 1e-8.
    let (off, error) = ((found.energies[0] + 77.055_969_888).abs(), found.error_estimates[0]);
    assert!(off <= error && error < 1e-6, "{off:e} > {error:e}");
}

/// States above the ground state, pair density, and the same bits for any number of threads.
#[test]
fn matrix_product_states_agree_with_determinants() {
    let case = reference_case("E_soft_g1_a1_21").unwrap();
    let solve_by = |method: Method, tolerance: f64, threads: usize| {
        let options =
            ExactOptions { method, tolerance, states: 3, pair_density: true, ..options() };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| case.solve(&options, &mut |_| ControlFlow::Continue(()))).unwrap()
    };
    let (a, b) = (solve_by(Method::Mps, 1e-6, 1), solve_by(Method::Mps, 1e-6, 3));
    assert_eq!(a.energies, b.energies);
    let (first, second) = (a.ground_state.unwrap(), b.ground_state.unwrap());
    assert_eq!(first.density, second.density);
    assert_eq!(first.pair_density, second.pair_density);
    assert_eq!(first.entanglement, second.entanglement);
    let ci = solve_by(Method::Ci, 1e-7, 2);
    for k in 0..3 {
        let deviation = (a.energies[k] - ci.energies[k]).abs();
        assert!(deviation < a.error_estimates[k] + ci.error_estimates[k], "{k}: {deviation:e}");
    }
    // What theory knows of the ground state is what its determinants say.
    let (known, found) = (&a.labels[0], &ci.labels[0]);
    assert_eq!((known.spin, known.parity), (Some(0.5), Some(-1)));
    assert_eq!((known.spin, known.parity), (found.spin, found.parity));
    let expected = ci.ground_state.unwrap();
    for k in 0..6 {
        let (n, m) = (first.natural_occupations[k], expected.natural_occupations[k]);
        assert!((n - m).abs() < 1e-5, "{k}: {n} {m}");
    }
    // Densities in the middle, where both have a point.
    let middle = |d: &[f64]| d[d.len() / 2];
    assert!((middle(&first.density.up) - middle(&expected.density.up)).abs() < 1e-4);
    assert!((middle(&first.density.down) - middle(&expected.density.down)).abs() < 1e-4);
    let pairs = first.pair_density.unwrap();
    let h = pairs.x[2] - pairs.x[1];
    let count: f64 = pairs.values.iter().sum::<f64>() * h * h;
    assert!((count - 6.0).abs() < 1e-9, "{count}");
}

#[test]
fn what_no_grid_can_hold_is_refused() {
    let mut hamiltonian = reference_case("C_calogero_lam2.0_N3").unwrap().hamiltonian;
    let sector = Sector::new(3, 0);
    let by = |hamiltonian: &Hamiltonian, method: Method| {
        let options = ExactOptions { method, ..options() };
        solve(hamiltonian, &Geometry::Line, sector, &options, &mut |_| ControlFlow::Continue(()))
    };
    assert_eq!(by(&hamiltonian, Method::Mps).unwrap_err(), ExactError::NotOnGrid);
    hamiltonian.interaction = Interaction::Gaussian { strength: -1e6, width: 1e-5 };
    assert!(matches!(by(&hamiltonian, Method::Mps), Err(ExactError::TooFine { .. })));
    hamiltonian.external = ron::from_str("Formula(\"x^4\")").unwrap();
    hamiltonian.interaction = Interaction::None;
    assert_eq!(by(&hamiltonian, Method::Gaps).unwrap_err(), ExactError::NoGaps);
}
