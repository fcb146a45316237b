//! The exact solver against the reference cases and against theorems.

use weylflow::exact::{ExactError, ExactOptions, solve, solve_on_line};
use weylflow::problems::{reference_case, reference_cases};
use weylflow::system::{External, Geometry, Hamiltonian, Interaction, Sector};

fn options() -> ExactOptions {
    ExactOptions { closed_forms: false, ..ExactOptions::default() }
}

/// One case of each kind: the deviation is within the printed estimate and within 1e-7.
#[test]
fn reference_cases_come_out_within_their_estimates() {
    for name in [
        "A1_He_triplet_L10",
        "A3_Li_quartet_L10",
        "B_soft_g1_a1_N3",
        "B_soft_g1_a1_N4",
        "B_gauss_g3_s0.5_N3",
        "B_dip_g1_a0.3_N2",
        "D_He",
        "D_He+",
        "D_H2_R8",
        "E_soft_g1_a1_22",
        "F_ring_N3",
        "G_doublewell_N2",
        "C_box_free_N3",
        "C_moshinsky_k1.0_N3",
    ] {
        let case = reference_case(name).unwrap();
        let r = case.solve(&options(), &mut |_| ()).unwrap();
        let deviation = (r.energies[0] - case.energy).abs();
        let bound = r.error_estimates[0] + case.error_bound;
        assert!(deviation <= bound, "{name}: off by {deviation:e}, estimate {bound:e}");
        assert!(deviation <= case.error_bound.max(1e-7), "{name}: off by {deviation:e}");
        let n = case.sector.particles() as f64;
        let c = r.components;
        let sum = c.kinetic + c.external + c.interaction;
        assert!((sum - r.energies[0]).abs() < 1e-9 * (1.0 + sum.abs()), "{name}: components");
        let occupations: f64 = r.natural_occupations.iter().sum();
        assert!((occupations - n).abs() < 1e-10, "{name}: occupations sum to {occupations}");
        let h = r.density.x[1] - r.density.x[0];
        let last = r.density.x.len() - 1;
        let mut total = 0.0;
        for i in 0..=last {
            let weight = if i == 0 || i == last { 0.5 * h } else { h };
            total += weight * (r.density.up[i] + r.density.down[i]);
        }
        assert!((total - n).abs() < 1e-10, "{name}: the density integrates to {total}");
        if let Some(known) = case.components {
            assert!((c.kinetic - known.kinetic).abs() < 2e-4, "{name}: kinetic energy");
        }
        for (a, b) in r.natural_occupations.iter().zip(&case.natural_occupations) {
            assert!((a - b).abs() < 1e-6, "{name}: occupation {a} instead of {b}");
        }
    }
}

#[test]
fn excited_states_of_the_same_sector() {
    let mut seen = 0;
    for case in reference_cases().into_iter().filter(|c| !c.excited.is_empty()) {
        let options = ExactOptions { states: 1 + case.excited.len(), ..options() };
        let r = case.solve(&options, &mut |_| ()).unwrap();
        for (k, exact) in case.excited.iter().enumerate() {
            let deviation = (r.energies[k + 1] - exact).abs();
            assert!(deviation < 1e-7, "{} state {}: off by {deviation:e}", case.name, k + 1);
        }
        seen += 1;
    }
    assert_eq!(seen, 3);
}

/// The numerical route is honest where it converges slowly: the Calogero cusp.
#[test]
fn the_calogero_cusp_is_estimated_honestly() {
    for name in ["C_calogero_lam1.5_N2", "C_calogero_lam2.0_N3"] {
        let case = reference_case(name).unwrap();
        let options = ExactOptions { tolerance: 1e-4, work_limit: 2e10, ..options() };
        let r = case.solve(&options, &mut |_| ()).unwrap();
        let deviation = (r.energies[0] - case.energy).abs();
        assert!(deviation <= r.error_estimates[0], "{name}: {deviation:e}");
    }
}

#[test]
fn a_closed_form_is_named_and_exact() {
    let case = reference_case("C_calogero_lam2.0_N2").unwrap();
    let r = case.solve(&ExactOptions::default(), &mut |_| ()).unwrap();
    assert!((r.energies[0] - 3.0).abs() < 1e-13);
    assert!(r.method.starts_with("closed form: Calogero"), "{}", r.method);
}

/// Virial theorem on the line: `2 <T> = <sum x v'> + <sum d w'>`, here with powers, where
/// `x v' = 2 v` and `d w' = 2 w`.
#[test]
fn the_virial_theorem_holds_for_harmonium() {
    let case = reference_case("C_moshinsky_k1.0_N3").unwrap();
    let c = case.solve(&options(), &mut |_| ()).unwrap().components;
    let virial = 2.0 * (c.external + c.interaction);
    assert!((2.0 * c.kinetic - virial).abs() < 1e-7, "{c:?}");
}

/// Hellmann and Feynman: the derivative of the energy by the strength is `<w>` per unit strength, and
/// the force on a displaced trap vanishes.
#[test]
fn hellmann_feynman_holds() {
    let at = |strength: f64| {
        let h = Hamiltonian {
            title: String::new(),
            external: External::Nuclei { charges: vec![2.0], positions: vec![0.0], softening: 1.0 },
            interaction: Interaction::SoftCoulomb { strength, softening: 1.0 },
        };
        let geometry = Geometry::Box { half_width: 9.0 };
        solve(&h, &geometry, Sector { up: 2, down: 1 }, &options(), &mut |_| ()).unwrap()
    };
    let step = 1e-2;
    let slope = (at(0.4 + step).energies[0] - at(0.4 - step).energies[0]) / (2.0 * step);
    let middle = at(0.4);
    assert!((slope - middle.components.interaction / 0.4).abs() < 1e-4, "{slope}");
    // The mean force on the particles, with dv/dx by automatic differentiation, is zero.
    let v = External::Nuclei { charges: vec![2.0], positions: vec![0.0], softening: 1.0 };
    let d = &middle.density;
    let force: f64 = (0..d.x.len()).map(|i| v.derivative(d.x[i]) * (d.up[i] + d.down[i])).sum();
    assert!(force.abs() < 1e-6, "{force}");
}

/// `int |psi|² = 1` over the fundamental domain, and psi is antisymmetric.
#[test]
fn the_wavefunction_is_normalised_on_the_fundamental_domain() {
    let case = reference_case("A1_He_triplet_L10").unwrap();
    let r = case.solve(&options(), &mut |_| ()).unwrap();
    let (points, l) = (200, 10.0);
    let h = 2.0 * l / points as f64;
    let mut sum = 0.0;
    for i in 1..points {
        for j in i + 1..points {
            let (x, y) = (-l + i as f64 * h, -l + j as f64 * h);
            sum += h * h * r.state.psi(&[x, y]).powi(2);
        }
    }
    assert!((sum - 1.0).abs() < 1e-10, "{sum}");
    assert!((r.state.psi(&[0.3, 1.1]) + r.state.psi(&[1.1, 0.3])).abs() < 1e-14);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let case = reference_case("E_soft_g1_a1_21").unwrap();
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| case.solve(&options(), &mut |_| ()).unwrap().energies[0])
    };
    assert_eq!(with(1).to_bits(), with(3).to_bits());
}

#[test]
fn limits_are_errors_that_tell_what_is_needed() {
    let case = reference_case("D_Be").unwrap();
    let geometry = Geometry::Box { half_width: 12.0 };
    let tight = ExactOptions { memory_limit_bytes: 1 << 20, ..options() };
    let e = solve(&case.hamiltonian, &geometry, case.sector, &tight, &mut |_| ()).unwrap_err();
    assert!(matches!(e, ExactError::Memory { needed, limit } if needed > limit), "{e}");
    assert!(e.to_string().contains("--memory"));
    let none = Sector { up: 0, down: 0 };
    let e = solve_on_line(&case.hamiltonian, none, &options(), &mut |_| ()).unwrap_err();
    assert_eq!(e, ExactError::EmptySector);
}
