//! The exact solver against the reference cases and against theorems.

use std::ops::ControlFlow;
use weylflow::exact::{
    ExactError, ExactOptions, ExactResult, Iteration, Method, News, solve, solve_on_line,
};
use weylflow::problems::{reference_case, reference_cases};
use weylflow::system::{External, Geometry, Hamiltonian, Interaction, Sector, Table};

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
        let r = case.solve(&options(), &mut |_| ControlFlow::Continue(())).unwrap();
        let deviation = (r.energies[0] - case.energy).abs();
        let bound = r.error_estimates[0] + case.error_bound;
        assert!(deviation <= bound, "{name}: off by {deviation:e}, estimate {bound:e}");
        assert!(deviation <= case.error_bound.max(1e-7), "{name}: off by {deviation:e}");
        let n = case.sector.particles() as f64;
        let c = r.components;
        let sum = c.kinetic + c.external + c.interaction;
        assert!((sum - r.energies[0]).abs() < 1e-9 * (1.0 + sum.abs()), "{name}: components");
        let ground = r.ground_state.as_ref().unwrap();
        let occupations: f64 = ground.natural_occupations.iter().sum();
        assert!((occupations - n).abs() < 1e-10, "{name}: occupations sum to {occupations}");
        let h = ground.density.x[1] - ground.density.x[0];
        let last = ground.density.x.len() - 1;
        let mut total = 0.0;
        for i in 0..=last {
            let weight = if i == 0 || i == last { 0.5 * h } else { h };
            total += weight * (ground.density.up[i] + ground.density.down[i]);
        }
        assert!((total - n).abs() < 1e-10, "{name}: the density integrates to {total}");
        if let Some(known) = case.components {
            assert!((c.kinetic - known.kinetic).abs() < 2e-4, "{name}: kinetic energy");
        }
        for (a, b) in ground.natural_occupations.iter().zip(&case.natural_occupations) {
            assert!((a - b).abs() < 1e-6, "{name}: occupation {a} instead of {b}");
        }
    }
}

#[test]
fn excited_states_of_the_same_sector() {
    let mut seen = 0;
    for case in reference_cases().into_iter().filter(|c| !c.excited.is_empty()) {
        let options = ExactOptions { states: 1 + case.excited.len(), ..options() };
        let r = case.solve(&options, &mut |_| ControlFlow::Continue(())).unwrap();
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
        let r = case.solve(&options, &mut |_| ControlFlow::Continue(())).unwrap();
        let deviation = (r.energies[0] - case.energy).abs();
        assert!(deviation <= r.error_estimates[0], "{name}: {deviation:e}");
    }
}

#[test]
fn a_closed_form_is_named_and_exact() {
    let case = reference_case("C_calogero_lam2.0_N2").unwrap();
    let r = case.solve(&ExactOptions::default(), &mut |_| ControlFlow::Continue(())).unwrap();
    assert!((r.energies[0] - 3.0).abs() < 1e-13);
    assert!(r.method.starts_with("closed form: Calogero"), "{}", r.method);
}

/// Virial theorem on the line: `2 <T> = <sum x v'> + <sum d w'>`, here with powers, where
/// `x v' = 2 v` and `d w' = 2 w`.
#[test]
fn the_virial_theorem_holds_for_harmonium() {
    let case = reference_case("C_moshinsky_k1.0_N3").unwrap();
    let c = case.solve(&options(), &mut |_| ControlFlow::Continue(())).unwrap().components;
    let virial = 2.0 * (c.external + c.interaction);
    assert!((2.0 * c.kinetic - virial).abs() < 1e-7, "{c:?}");
}

/// Hellmann and Feynman: the derivative of the energy by the strength is `<w>` per unit strength.
#[test]
fn hellmann_feynman_holds() {
    let at = |strength: f64| {
        let h = Hamiltonian {
            title: String::new(),
            external: External::Nuclei { charges: vec![2.0], positions: vec![0.0], softening: 1.0 },
            interaction: Interaction::SoftCoulomb { strength, softening: 1.0 },
        };
        let geometry = Geometry::Box { half_width: 9.0 };
        solve(&h, &geometry, Sector::new(2, 1), &options(), &mut |_| ControlFlow::Continue(()))
            .unwrap()
    };
    let step = 1e-2;
    let slope = (at(0.4 + step).energies[0] - at(0.4 - step).energies[0]) / (2.0 * step);
    let middle = at(0.4);
    assert!((slope - middle.components.interaction / 0.4).abs() < 1e-4, "{slope}");
}

fn helium(position: f64, softening: f64, strength: f64, between: f64) -> Hamiltonian {
    Hamiltonian {
        title: String::new(),
        external: External::Nuclei {
            charges: vec![2.0, 1.0],
            positions: vec![-1.0, position],
            softening,
        },
        interaction: Interaction::SoftCoulomb { strength, softening: between },
    }
}

/// The force on a nucleus and the derivative by the softening of the interaction: differences of
/// exact energies against expectations over the exact density and pair density, with derivatives of the
/// potentials by automatic differentiation.
#[test]
fn forces_are_expectations_of_derivatives() {
    let geometry = Geometry::Box { half_width: 11.0 };
    let at = |position: f64, between: f64| {
        let options = ExactOptions { pair_density: true, tolerance: 1e-10, ..options() };
        let h = helium(position, 1.0, 1.0, between);
        solve(&h, &geometry, Sector::new(1, 1), &options, &mut |_| ControlFlow::Continue(()))
            .unwrap()
    };
    let (r, a, step) = (0.7, 0.9, 2e-3);
    let middle = at(r, a);
    let nucleus = External::Nuclei { charges: vec![1.0], positions: vec![r], softening: 1.0 };
    let d = &middle.ground_state.as_ref().unwrap().density;
    let h = d.x[1] - d.x[0];
    let expected: f64 =
        (0..d.x.len()).map(|i| -h * nucleus.derivative(d.x[i]) * (d.up[i] + d.down[i])).sum();
    let slope = (at(r + step, a).energies[0] - at(r - step, a).energies[0]) / (2.0 * step);
    assert!((slope - expected).abs() < 1e-6, "force: {slope} and {expected}");
    assert!(slope.abs() > 1e-2);

    // d/da (d² + a²)^(-1/2) = (a/d) d/dd (d² + a²)^(-1/2)
    let w = Interaction::SoftCoulomb { strength: 1.0, softening: a };
    let by_softening = |d: f64| if d == 0.0 { -1.0 / (a * a) } else { a / d * w.derivative(d) };
    let expected = 0.5 * pair_average(&middle, by_softening);
    let slope = (at(r, a + step).energies[0] - at(r, a - step).energies[0]) / (2.0 * step);
    assert!((slope - expected).abs() < 1e-6, "softening: {slope} and {expected}");
}

/// Sum over ordered pairs of the expectation of `f(x - y)`.
fn pair_average(r: &ExactResult, f: impl Fn(f64) -> f64) -> f64 {
    let p = r.ground_state.as_ref().unwrap().pair_density.as_ref().unwrap();
    let h = p.x[1] - p.x[0];
    let mut sum = 0.0;
    for (i, x) in p.x.iter().enumerate() {
        for (j, y) in p.x.iter().enumerate() {
            sum += h * h * p.values[i * p.x.len() + j] * f(x - y);
        }
    }
    sum
}

/// `2 <T> = <sum x v'> + <sum d w'>` where neither potential is a power.
#[test]
fn the_virial_theorem_holds_in_a_double_well() {
    let h = Hamiltonian {
        title: String::new(),
        external: External::DoubleWell { half_separation: 1.5, strength: 0.3 },
        interaction: Interaction::Gaussian { strength: 1.0, width: 0.8 },
    };
    for sector in [Sector::new(2, 0), Sector::new(2, 1)] {
        let options = ExactOptions { pair_density: true, ..options() };
        let r = solve_on_line(&h, sector, &options, &mut |_| ControlFlow::Continue(())).unwrap();
        let ground = r.ground_state.as_ref().unwrap();
        let d = &ground.density;
        let step = d.x[1] - d.x[0];
        let external: f64 = (0..d.x.len())
            .map(|i| step * d.x[i] * h.external.derivative(d.x[i]) * (d.up[i] + d.down[i]))
            .sum();
        let pairs = 0.5 * pair_average(&r, |d| d * h.interaction.derivative(d));
        let error = 2.0 * r.components.kinetic - external - pairs;
        assert!(error.abs() < 1e-5, "{sector:?}: {error:e}");
    }
}

#[test]
fn pair_densities_integrate_to_the_number_of_ordered_pairs() {
    let geometry = Geometry::Box { half_width: 9.0 };
    for sector in [Sector::new(2, 0), Sector::new(2, 1), Sector::new(3, 0)] {
        let options = ExactOptions { pair_density: true, tolerance: 1e-6, ..options() };
        let h = helium(1.0, 1.0, 1.0, 1.0);
        let r = solve(&h, &geometry, sector, &options, &mut |_| ControlFlow::Continue(())).unwrap();
        let n = sector.particles() as f64;
        let total = pair_average(&r, |_| 1.0);
        assert!((total - n * (n - 1.0)).abs() < 1e-8, "{sector:?}: {total}");
    }
}

fn file(name: &str) -> Hamiltonian {
    let path = format!("{}/hamiltonians/{name}.ron", env!("CARGO_MANIFEST_DIR"));
    weylflow::spec::read::load_hamiltonian(std::path::Path::new(&path)).unwrap()
}

/// Systems without a reference: a run at a loose tolerance differs from one that goes further by no
/// more than it says.
#[test]
fn estimates_hold_for_unseen_systems() {
    let inside = |half_width: f64| Some(Geometry::Box { half_width });
    let wells: External = ron::from_str("Formula(\"0.1*x^4 - 0.8*x^2 + 0.1*x\")").unwrap();
    let with = |external: External, interaction: Interaction| Hamiltonian {
        title: String::new(),
        external,
        interaction,
    };
    let dipolar = Interaction::Dipolar { strength: 1.0, softening: 0.5 };
    let soft = Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 };
    let ring = Some(Geometry::Ring { circumference: 7.0 });
    let lattice = External::Lattice { depth: 2.0, period: 3.5 };
    for (name, h, geometry, up, down) in [
        ("H-", file("hydrogen_anion"), inside(25.0), 1, 1),
        ("LiH", file("lithium_hydride"), inside(10.0), 2, 2),
        ("lattice", file("optical_lattice"), inside(4.0), 3, 0),
        ("double well", with(wells, soft.clone()), None, 1, 1),
        ("ring", with(lattice, soft.clone()), ring, 2, 0),
        ("even ring", with(External::Free, dipolar.clone()), ring, 4, 0),
        ("dipolar", with(External::Harmonic { frequency: 1.3 }, dipolar.clone()), None, 1, 1),
        ("trap", with(External::Harmonic { frequency: 0.7 }, dipolar), None, 3, 0),
        ("boxed trap", with(External::Harmonic { frequency: 1.0 }, soft), inside(2.5), 3, 0),
    ] {
        let sector = Sector::new(up, down);
        let at = |tolerance: f64, work_limit: f64| {
            let options = ExactOptions { tolerance, work_limit, ..options() };
            match &geometry {
                Some(g) => {
                    solve(&h, g, sector, &options, &mut |_| ControlFlow::Continue(())).unwrap()
                }
                None => {
                    solve_on_line(&h, sector, &options, &mut |_| ControlFlow::Continue(())).unwrap()
                }
            }
        };
        let work = if up + down == 2 { 1e12 } else { 3e10 };
        let (loose, tight) = (at(1e-6, 0.25 * work), at(1e-9, work));
        let apart = (loose.energies[0] - tight.energies[0]).abs();
        let said = loose.error_estimates[0] + 0.1 * tight.error_estimates[0];
        assert!(apart <= said, "{name}: {apart:e} apart, said {said:e}");
    }
}

/// The route in gaps: a steep interaction between four particles; its densities, which cost determinants, for three.
#[test]
fn a_steep_interaction_in_the_trap_is_solved_in_gaps() {
    let case = reference_case("B_dip_g1_a0.3_N4").unwrap();
    let options = ExactOptions { tolerance: 1e-7, work_limit: 2e9, states: 2, ..options() };
    let r = case.solve(&options, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(r.method.contains("gaps"), "{}", r.method);
    assert!((r.energies[0] - case.energy).abs() < 1e-7, "{}", r.energies[0]);
    assert!((r.energies[1] - r.energies[0] - 1.0).abs() < 1e-12, "the centre of mass swings");
    let c = r.components;
    assert!((c.kinetic + c.external + c.interaction - r.energies[0]).abs() < 1e-12);
    let options = ExactOptions { work_limit: 8e9, states: 1, ..options };
    let r = solve_on_line(&case.hamiltonian, Sector::new(3, 0), &options, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(r.method.contains("gaps"), "{}", r.method);
    let ground = r.ground_state.as_ref().unwrap();
    let occupations: f64 = ground.natural_occupations.iter().sum();
    assert!((occupations - 3.0).abs() < 1e-10);
    let step = ground.density.x[1] - ground.density.x[0];
    let particles: f64 = ground.density.up.iter().map(|n| step * n).sum();
    assert!((particles - 3.0).abs() < 1e-8, "{particles}");
}

/// Kinks and narrow cores between three equal spins. The tent by another program, the soft core by polynomials and
/// determinants, the free particles exactly.
#[test]
fn kinks_between_three_particles_are_followed() {
    let tent = "Formula(\"40*((0.35-abs(d))+abs(0.35-abs(d)))\")";
    // A tent of no height has a kink in its formula and none in its value.
    let flat = "Formula(\"1e-9*abs(abs(d)-0.7)\")";
    for (interaction, energy, digits) in [(tent, 4.6900, 2e-4), (flat, 4.5, 1e-7)] {
        let options = ExactOptions { tolerance: 1e-6, work_limit: 4e9, ..options() };
        let h = trap_with(interaction);
        let r = solve_on_line(&h, Sector::new(3, 0), &options, &mut |_| ControlFlow::Continue(()))
            .unwrap();
        assert!((r.energies[0] - energy).abs() < digits, "{interaction}: {}", r.energies[0]);
        assert!(r.error_estimates[0] < 1e-6 && r.converged, "{interaction}: {:?}", r.error_budget);
        assert!(r.method.contains("spectral elements in each of 2 gaps"), "{}", r.method);
        let c = r.components;
        assert!((c.kinetic + c.external + c.interaction - r.energies[0]).abs() < 1e-9);
    }
}

/// Calogero by numbers: a divergence at contact, whose cusp the functions of the gaps have.
#[test]
fn calogero_is_solved_in_gaps() {
    for name in ["C_calogero_lam1.5_N2", "C_calogero_lam2.0_N3", "C_calogero_lam2.5_N3"] {
        let case = reference_case(name).unwrap();
        // Too little for the densities, which determinants give.
        let options = ExactOptions { tolerance: 1e-7, work_limit: 4e9, ..options() };
        let r = case.solve(&options, &mut |_| ControlFlow::Continue(())).unwrap();
        let deviation = (r.energies[0] - case.energy).abs();
        assert!(deviation < 1e-7 && deviation <= r.error_estimates[0], "{name}: {deviation:e}");
        // Virial theorem: d w' = -2 w.
        let c = r.components;
        assert!((c.kinetic - c.external + c.interaction).abs() < 1e-4, "{name}: {c:?}");
    }
}

fn weylflow(arguments: &[&str]) -> std::process::Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_weylflow"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

#[test]
fn the_command_prints_json_for_specs_and_hamiltonians() {
    let spec = ["exact", "runs/trap_pair.ron", "--json", "--tolerance", "1e-6"];
    let file =
        ["exact", "hamiltonians/hydrogen.ron", "--json", "--states", "2", "--half-width", "12"];
    for (arguments, states) in [(&spec[..], 1), (&file[..], 2)] {
        let output = weylflow(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        for key in ["energies", "error_estimates"] {
            assert_eq!(value[key].as_array().unwrap().len(), states, "{key}");
        }
        let part = |name: &str| value["components"][name].as_f64().unwrap();
        let sum = part("kinetic") + part("external") + part("interaction");
        assert!((sum - value["energies"][0].as_f64().unwrap()).abs() < 1e-6);
        assert!(value["method"].is_string());
    }
}

/// Two equal spins on a ring: either turns one way, and the density is that of one of many combinations.
#[test]
fn the_command_says_where_a_density_is_that_of_one_of_many_states() {
    let ring = [
        "exact",
        "hamiltonians/ring_soft_coulomb.ron",
        "--ring",
        "5",
        "--tolerance",
        "1e-4",
        "--up",
    ];
    for (up, degenerate) in [("2", true), ("3", false)] {
        let output = weylflow(&[&ring[..], &[up]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(text.contains("one of many combinations"), degenerate, "{text}");
    }
}

#[test]
fn the_command_explains_a_bound_that_is_broken() {
    let output = weylflow(&["exact", "hamiltonians/lithium_hydride.ron", "--half-width", "1"]);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("lithium_hydride.ron: ") && text.contains("positions"), "{text}");
    assert!(!text.contains('{') && !text.contains("Violation"), "{text}");
}

/// `int |psi|² = 1` over the fundamental domain, and psi is antisymmetric.
#[test]
fn the_wavefunction_is_normalised_on_the_fundamental_domain() {
    let case = reference_case("A1_He_triplet_L10").unwrap();
    let r = case.solve(&options(), &mut |_| ControlFlow::Continue(())).unwrap();
    let state = r.ground_state.as_ref().unwrap().state.as_ref().unwrap();
    let (points, l) = (200, 10.0);
    let h = 2.0 * l / points as f64;
    let mut sum = 0.0;
    for i in 1..points {
        for j in i + 1..points {
            let (x, y) = (-l + i as f64 * h, -l + j as f64 * h);
            sum += h * h * state.psi(&[x, y]).powi(2);
        }
    }
    assert!((sum - 1.0).abs() < 1e-10, "{sum}");
    assert!((state.psi(&[0.3, 1.1]) + state.psi(&[1.1, 0.3])).abs() < 1e-14);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let case = reference_case("E_soft_g1_a1_21").unwrap();
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            case.solve(&options(), &mut |_| ControlFlow::Continue(())).unwrap().energies[0]
        })
    };
    assert_eq!(with(1).to_bits(), with(3).to_bits());
}

#[test]
fn limits_are_errors_that_tell_what_is_needed() {
    let case = reference_case("D_Be").unwrap();
    let geometry = Geometry::Box { half_width: 12.0 };
    let tight = ExactOptions { memory_limit_bytes: 1 << 20, ..options() };
    let e =
        solve(
            &case.hamiltonian,
            &geometry,
            case.sector,
            &tight,
            &mut |_| ControlFlow::Continue(()),
        )
        .unwrap_err();
    assert!(matches!(e, ExactError::Memory { needed, limit } if needed > limit), "{e}");
    assert!(!e.to_string().contains("--"), "a library has no flags: {e}");
    let none = Sector::new(0, 0);
    let e = solve_on_line(&case.hamiltonian, none, &options(), &mut |_| ControlFlow::Continue(()))
        .unwrap_err();
    assert_eq!(e, ExactError::EmptySector);
}

fn trap_with(interaction: &str) -> Hamiltonian {
    Hamiltonian {
        title: String::new(),
        external: External::Harmonic { frequency: 1.0 },
        interaction: ron::from_str(interaction).unwrap(),
    }
}

/// An interaction far narrower than the first grids are fine: they must not overlook it. The energy
/// is from a sine DVR of 1000 points per particle, written apart from this crate.
#[test]
fn a_narrow_interaction_is_seen() {
    let h = trap_with("Gaussian(strength: 30, width: 0.02)");
    let r = solve_on_line(&h, Sector::new(2, 0), &options(), &mut |_| ControlFlow::Continue(()))
        .unwrap();
    let deviation = (r.energies[0] - 2.000_237_858_279).abs();
    assert!(deviation < 1e-7 && deviation <= r.error_estimates[0] + 1e-9, "{deviation:e}");
}

/// A kink in the external potential, on the points of no grid: `-psi''/2 + F |x - c| psi = E psi` has
/// `E = a (F²/2)^(1/3)` with the zeros of Ai' and Ai, negated.
#[test]
fn a_kink_in_the_potential_is_integrated() {
    let external: External = ron::from_str("Formula(\"2*abs(x-0.3)\")").unwrap();
    let h = Hamiltonian { title: String::new(), external, interaction: Interaction::None };
    let options = ExactOptions { states: 2, ..options() };
    let r =
        solve_on_line(&h, Sector::new(1, 0), &options, &mut |_| ControlFlow::Continue(())).unwrap();
    for (k, a) in [1.018_792_971_647_471, 2.338_107_410_459_767].into_iter().enumerate() {
        let deviation = (r.energies[k] - a * 2_f64.cbrt()).abs();
        assert!(deviation <= r.error_estimates[k], "state {k}: {deviation:e}");
        assert!(deviation < 1e-7, "state {k}: {deviation:e}");
    }
}

/// Energies in gaps and closed forms are returned where the determinants of a density would need too
/// much.
#[test]
fn a_limit_on_the_density_leaves_the_energy() {
    let few = ExactOptions {
        memory_limit_bytes: 40 << 20,
        tolerance: 1e-6,
        method: Method::Gaps,
        ..options()
    };
    let case = reference_case("B_soft_g1_a1_N5").unwrap();
    let in_a_box = Geometry::Box { half_width: 9.0 };
    for r in [
        case.solve(&few, &mut |_| ControlFlow::Continue(())).unwrap(),
        solve(&case.hamiltonian, &in_a_box, case.sector, &few, &mut |_| ControlFlow::Continue(()))
            .unwrap(),
    ] {
        let deviation = (r.energies[0] - case.energy).abs();
        assert!(deviation <= r.error_estimates[0] && deviation < 1e-5, "{deviation:e}");
        assert!(matches!(r.ground_state, Err(ExactError::Memory { .. })), "{}", r.method);
    }
    let free = trap_with("None");
    let few = ExactOptions {
        closed_forms: true,
        memory_limit_bytes: 10 << 20,
        method: Method::Ci,
        ..few
    };
    let r =
        solve_on_line(&free, Sector::new(6, 2), &few, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(r.energies, vec![20.0]);
    assert!(matches!(r.ground_state, Err(ExactError::Memory { .. })));
}

/// What a progress bar lives on: every calculation is announced, and its last iteration has arrived.
#[test]
fn iterations_are_reported_until_the_residual_is_small() {
    let case = reference_case("E_soft_g1_a1_21").unwrap();
    let (mut announced, mut calculations, mut last) = (0, 0, None);
    let mut arrived = |last: &mut Option<Iteration>| {
        if let Some(i) = last.take() {
            assert!(i.residual <= i.target, "{i:?}");
            calculations += 1;
        }
    };
    let mut see = |step: &News| match step {
        News::Predicted { .. } => {
            arrived(&mut last);
            announced += 1;
        }
        News::Iteration(i) => {
            assert_eq!(i.number, last.map_or(1, |l: Iteration| l.number + 1));
            last = Some(*i);
        }
        News::Row(_) | News::Work { .. } => {}
    };
    let mut progress = |step: &News| {
        see(step);
        ControlFlow::Continue(())
    };
    case.solve(&options(), &mut progress).unwrap();
    arrived(&mut last);
    assert!(calculations > 5 && calculations <= announced, "{calculations} of {announced}");
}

/// What a file is, is decided by its fields and not by words in it.
#[test]
fn the_command_tells_a_hamiltonian_from_a_spec_by_its_fields() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("h.ron");
    let text = "// the sector, geometry and hamiltonian: of no spec\n\
                (title: \"sector: geometry: hamiltonian:\", external: Harmonic(), interaction: None)";
    std::fs::write(&path, text).unwrap();
    let output = weylflow(&["exact", path.to_str().unwrap(), "--up", "2"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("energy              2.0000000000"));
}

/// The deeper of two wells is far from the origin, where the search for walls begins.
#[test]
fn a_deep_well_far_away_is_found() {
    let well = |text: &str| -> External { ron::from_str(text).unwrap() };
    let at = |external: External| {
        let h = Hamiltonian { title: String::new(), external, interaction: Interaction::None };
        solve_on_line(&h, Sector::new(1, 0), &options(), &mut |_| ControlFlow::Continue(()))
            .unwrap()
    };
    let both = at(well("Formula(\"-exp(-x^2) - 4*exp(-(x-14)^2)\")"));
    let deep = at(well("Formula(\"-4*exp(-x^2)\")"));
    let apart = (both.energies[0] - deep.energies[0]).abs();
    assert!(apart <= both.error_estimates[0] + deep.error_estimates[0], "{apart:e}");
}

/// Four wells with one particle each: the six spin states are within 7e-4 Hartree of each other, in several
/// symmetries. Energies from calculations of other numbers of states, with 278784 determinants.
#[test]
fn the_lowest_of_nearly_degenerate_spin_states_is_found() {
    let h = Hamiltonian {
        title: String::new(),
        external: External::Lattice { depth: 20.0, period: 2.0 },
        interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 0.5 },
    };
    let geometry = Geometry::Box { half_width: 4.0 };
    let options = ExactOptions { tolerance: 1e-5, work_limit: 2e10, ..options() };
    let sector = Sector::new(2, 2);
    let go_on = &mut |_: &News| ControlFlow::Continue(());
    let r = solve(&h, &geometry, sector, &options, go_on).unwrap();
    let deviation = (r.energies[0] - 22.257_430_865).abs();
    // The next state is 6.6e-4 above.
    assert!(deviation < 1e-5, "{deviation:e}");
    // Orbitals matter in groups of four, one for each well: small changes come before large ones.
    assert!(deviation <= r.error_estimates[0], "{deviation:e} > {:e}", r.error_estimates[0]);
    assert_eq!((r.labels[0].spin, r.labels[0].parity), (Some(0.0), Some(1)));
    assert!(r.excited_densities.is_empty());
}

/// Spin, parity, momentum and densities of all states.
#[test]
fn states_are_labelled() {
    let inside = Geometry::Box { half_width: 8.0 };
    let go_on = &mut |_: &News| ControlFlow::Continue(());
    let at = |tolerance: f64, states: usize| ExactOptions { tolerance, states, ..options() };
    let helium = file("helium");
    let sector = Sector::new(1, 1);
    let r = solve(&helium, &inside, sector, &at(1e-6, 3), go_on).unwrap();
    let known: Vec<_> = r.labels.iter().map(|l| (l.spin, l.parity, l.degenerate)).collect();
    // Both in the even orbital; then one in the odd orbital, the triplet below the singlet.
    let (singlet, triplet) = (Some(0.0), Some(1.0));
    let expected =
        [(singlet, Some(1), false), (triplet, Some(-1), false), (singlet, Some(-1), false)];
    assert_eq!(known, expected);
    assert_eq!(r.excited_densities.len(), 2);
    for d in &r.excited_densities {
        let step = d.x[1] - d.x[0];
        let total: f64 = d.up.iter().chain(&d.down).map(|n| step * n).sum();
        assert!((total - 2.0).abs() < 1e-9, "{total}");
    }
    // No particle apart from its mirror image: no parity in a potential that is not even.
    let tilted =
        External::Sum(vec![helium.external.clone(), ron::from_str("Formula(\"0.1*x\")").unwrap()]);
    let h = Hamiltonian { external: tilted, ..helium.clone() };
    let r = solve(&h, &inside, sector, &at(1e-6, 1), go_on).unwrap();
    assert_eq!(r.labels[0].parity, None);

    let ring = Geometry::Ring { circumference: 5.0 };
    let h = Hamiltonian { external: External::Free, ..helium };
    for (up, down, momentum, degenerate, spin) in
        [(3, 0, 0, false, 1.5), (2, 0, 1, true, 1.0), (2, 1, 1, true, 0.5), (1, 0, 0, false, 0.5)]
    {
        let r = solve(&h, &ring, Sector::new(up, down), &at(1e-5, 1), go_on).unwrap();
        let l = r.labels[0];
        assert_eq!(
            (l.momentum, l.degenerate, l.spin),
            (Some(momentum), degenerate, Some(spin)),
            "({up}, {down})"
        );
    }
}

/// Wherever it is asked to stop, it does.
#[test]
fn an_interruption_is_heard_everywhere() {
    let soft = "SoftCoulomb(strength: 1, softening: 1)";
    let go = |up: usize, down: usize, geometry: Option<Geometry>, after: usize| {
        let mut told = 0;
        let mut progress = |_: &News| {
            told += 1;
            if told > after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let (h, sector) = (trap_with(soft), Sector::new(up, down));
        let options = ExactOptions { tolerance: 1e-5, ..options() };
        let result = match geometry {
            Some(g) => solve(&h, &g, sector, &options, &mut progress),
            None => solve_on_line(&h, sector, &options, &mut progress),
        };
        (result.err(), told)
    };
    let inside = Some(Geometry::Box { half_width: 6.0 });
    for (up, down, geometry) in [(1, 1, None), (2, 1, inside), (3, 0, None), (1, 0, inside)] {
        let (error, all) = go(up, down, geometry, usize::MAX);
        assert_eq!(error, None);
        for after in [0, all / 3, 2 * all / 3, all - 2] {
            let (error, told) = go(up, down, geometry, after);
            assert_eq!(
                error,
                Some(ExactError::Interrupted),
                "({up}, {down}) after {after} of {all}"
            );
            // News in passing may come before the next piece of work asks.
            assert!(told <= after + 4, "({up}, {down}): {told} after {after}");
        }
    }
}

/// Work is counted while it is done, and the limit on all of it is kept; a steep pair needs more.
#[test]
fn the_whole_work_is_limited() {
    let h = trap_with("SoftCoulomb(strength: 100, softening: 0.1)");
    let (mut most, mut allowed) = (0.0_f64, 0.0);
    let mut progress = |step: &News| {
        if let News::Work { done, limit } = step {
            assert!(*done >= most && done <= limit, "{done:e} of {limit:e}");
            (most, allowed) = (*done, *limit);
        }
        ControlFlow::Continue(())
    };
    let options = ExactOptions { tolerance: 1e-3, work_limit: 1e10, ..options() };
    let inside = Geometry::Box { half_width: 6.0 };
    let _ = solve(&h, &inside, Sector::new(1, 1), &options, &mut progress);
    assert!(most > 1e8 && allowed == weylflow::exact::whole_work(1e10), "{most:e} {allowed:e}");
}

/// The command ends at a signal with the exit code of the signal.
#[cfg(unix)]
#[test]
fn the_command_is_interrupted_by_signals() {
    use std::io::{BufRead, BufReader};
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_weylflow"))
            .args(["exact", "hamiltonians/beryllium.ron", "--up", "2", "--down", "2"])
            .args(["--tolerance", "1e-13", "--time", "1e5", "--threads", "1"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().contains("determinants"));
        let kill =
            std::process::Command::new("kill").args([name, &child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        let said: Vec<String> = lines.map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{said:?}");
        assert!(said.last().unwrap().contains("interrupted"), "{said:?}");
    }
}

fn on_the_line(external: &str, interaction: &str) -> Hamiltonian {
    Hamiltonian {
        title: String::new(),
        external: ron::from_str(external).unwrap(),
        interaction: ron::from_str(interaction).unwrap(),
    }
}

/// Only the energy: the little work that is allowed leaves no densities.
fn energy_only() -> ExactOptions {
    ExactOptions { work_limit: 1e7, closed_forms: true, ..options() }
}

/// Tents, cores, narrow wells and steep repulsion. Energies by independent solvers and, for the levels of one particle, by
/// their equations.
#[test]
fn kinks_and_cores_are_followed() {
    let trap = "Harmonic(frequency: 1)";
    for (external, interaction, up, down, energy, digits) in [
        (trap, "Formula(\"50*((0.3-abs(d))+abs(0.3-abs(d)))\")", 1, 1, 1.938433, 6),
        (trap, "Formula(\"50*((0.3-abs(d))+abs(0.3-abs(d)))\")", 2, 0, 2.040524, 6),
        (trap, "Formula(\"100*exp(-d^2/(2*0.009^2))\")", 1, 1, 1.524333, 6),
        (trap, "Formula(\"(1-exp(-d^2))/d^2\")", 1, 1, 1.701309213, 9),
        (trap, "Gaussian(strength: -50, width: 0.1)", 1, 1, -17.190923, 6),
        (trap, "Gaussian(strength: 10, width: 0.1)", 1, 1, 1.589829, 6),
        (trap, "Gaussian(strength: 100, width: 0.1)", 1, 1, 2.039585, 6),
        (trap, "Harmonic(stiffness: 16)", 2, 0, 9.116844, 6),
        (trap, "Harmonic(stiffness: 100)", 1, 1, 7.588723, 6),
        (trap, "SoftCoulomb(strength: 20, softening: 0.1)", 1, 1, 10.15254, 5),
        (trap, "SoftCoulomb(strength: 10, softening: 0.3)", 1, 1, 6.89057, 5),
        (trap, "SoftCoulomb(strength: 100, softening: 0.1)", 2, 0, 27.01880, 5),
        (trap, "Dipolar(strength: 5, softening: 0.3)", 1, 1, 3.29710, 5),
        (
            "Harmonic(frequency: 100)",
            "SoftCoulomb(strength: 10, softening: 0.1)",
            1,
            1,
            177.403963,
            6,
        ),
        (
            "Harmonic(frequency: 0.3)",
            "Formula(\"((abs(d)-4)+abs(abs(d)-4))^2\")",
            2,
            0,
            0.690560,
            6,
        ),
        ("Formula(\"0.5*x^2 - 100*exp(-10*(x-10)^2)\")", "None", 1, 0, -29.556728, 6),
        ("Formula(\"(0.5*x^2+8-abs(0.5*x^2-8))/2\")", "None", 8, 0, 31.909615, 6),
        ("Formula(\"-20*exp(-x^2) - 25*exp(-(x-12)^2)\")", "None", 1, 0, -21.653, 3),
        ("Formula(\"-20*exp(-x^2) - 25*exp(-(x-12)^2)\")", "None", 2, 0, -38.679, 3),
        ("Nuclei(charges: [1], positions: [0], softening: 0.01)", "None", 1, 0, -14.4919, 4),
        ("Formula(\"abs(x)\")", "None", 2, 0, 2.6643736, 7),
    ] {
        let h = on_the_line(external, interaction);
        let r = solve_on_line(&h, Sector::new(up, down), &energy_only(), &mut |_| {
            ControlFlow::Continue(())
        })
        .unwrap();
        let deviation = (r.energies[0] - energy).abs();
        let within = 10f64.powi(-digits) + r.error_estimates[0];
        assert!(deviation < within, "{external}, {interaction}: {} {}", r.energies[0], r.method);
        assert!(r.error_estimates[0] < 2e-6, "{external}, {interaction}: {:?}", r.error_budget);
    }
}

/// `E(s x) = s^-2 E`, wherever the origin is and whatever the zero of the energy.
#[test]
fn energies_scale_with_the_system() {
    let pair = |frequency: f64| {
        let root = frequency.sqrt();
        on_the_line(
            &format!("Harmonic(frequency: {frequency:?})"),
            &format!("SoftCoulomb(strength: {:?}, softening: {:?})", root, 1.0 / root),
        )
    };
    let loose = ExactOptions { tolerance: 1e-9, ..energy_only() };
    for sector in [Sector::new(1, 1), Sector::new(2, 0)] {
        let at = |f: f64| {
            solve_on_line(&pair(f), sector, &loose, &mut |_| ControlFlow::Continue(())).unwrap()
        };
        let one = at(1.0).energies[0];
        for frequency in [1e-3, 0.01, 30.0, 1e4] {
            let r = at(frequency);
            let ratio = r.energies[0] / (frequency * one);
            assert!((ratio - 1.0).abs() < 1e-8, "{frequency}: {ratio}");
            assert!(r.error_estimates[0] < 1e-8 * r.energies[0] && r.converged);
        }
    }
    // Three particles, by determinants, and densities with them.
    let three = |frequency: f64| {
        let external = format!("Formula(\"{:?}*x^4\")", 0.25 * f64::powi(frequency, 3));
        let root = frequency.sqrt();
        let interaction = format!("Gaussian(strength: {frequency:?}, width: {:?})", 0.7 / root);
        on_the_line(&external, &interaction)
    };
    let options = ExactOptions { tolerance: 1e-6, work_limit: 2e10, ..options() };
    let at = |f: f64| {
        let options = ExactOptions { tolerance: 1e-6 * f, ..options.clone() };
        solve_on_line(&three(f), Sector::new(2, 1), &options, &mut |_| ControlFlow::Continue(()))
            .unwrap()
    };
    let (one, stiff) = (at(1.0), at(256.0));
    // A power of four: only the powers of the formula round differently.
    assert!((stiff.energies[0] / 256.0 / one.energies[0] - 1.0).abs() < 1e-12);
    let density = &stiff.ground_state.as_ref().unwrap().density;
    let step = density.x[1] - density.x[0];
    assert!((step * density.up.iter().sum::<f64>() - 2.0).abs() < 1e-8);
    let moved = |text: &str| {
        let h = on_the_line(&format!("Formula(\"{text}\")"), "SoftCoulomb()");
        solve_on_line(&h, Sector::new(2, 0), &options, &mut |_| ControlFlow::Continue(())).unwrap()
    };
    let (here, there) = (moved("0.3*x^4"), moved("0.3*(x-30)^4 + 1e6"));
    let apart = (there.energies[0] - 2e6 - here.energies[0]).abs();
    assert!(apart < 1e-8 * there.energies[0] && apart < 1e-5, "{apart:e}");
    assert_eq!(there.centre, 30.0);
}

/// An atom in a box whose walls are out of its sight.
#[test]
fn a_wide_box_is_a_line() {
    let atom = file("hydrogen");
    let electron = Sector::new(1, 0);
    let line =
        solve_on_line(&atom, electron, &options(), &mut |_| ControlFlow::Continue(())).unwrap();
    for half_width in [100.0, 1000.0] {
        let r = solve(&atom, &Geometry::Box { half_width }, electron, &options(), &mut |_| {
            ControlFlow::Continue(())
        });
        let r = r.unwrap();
        assert!((r.energies[0] - line.energies[0]).abs() < 1e-10, "{}", r.energies[0]);
    }
}

/// Attraction of less than `1/(4 d²)`: closed form and numbers agree, and the extension is named.
#[test]
fn attractive_inverse_squares_are_solved_for_a_named_extension() {
    let h = trap_with("InverseSquare(strength: -0.2)");
    let sector = Sector::new(2, 0);
    let options = ExactOptions { closed_forms: true, work_limit: 2e9, ..options() };
    let r = solve_on_line(&h, sector, &options, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!((r.energies[0] - 1.5 - 0.05f64.sqrt()).abs() < 1e-12, "{}", r.energies[0]);
    assert!(r.method.contains("Friedrichs") && r.method.contains("1.7236067"), "{}", r.method);
    for strength in ["-0.25", "-1"] {
        let h = trap_with(&format!("InverseSquare(strength: {strength})"));
        let e =
            solve_on_line(&h, sector, &options, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(e.to_string().contains("no lower bound"), "{e}");
    }
}

/// The same judgement on the way to a run, to a check and to an exact solution.
#[test]
fn commands_refuse_what_has_no_ground_state() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |external: &str, interaction: &str, sector: &str, what: &str| {
        let hamiltonian = format!("external: {external}, interaction: {interaction}");
        let spec = format!(
            "(title: \"t\",\n hamiltonian: Inline({hamiltonian}),\n sector: ({sector}),\n geometry: Line)"
        );
        let path = folder.path().join("spec.ron");
        std::fs::write(&path, spec).unwrap();
        let path = path.to_str().unwrap();
        for command in ["check", "run", "exact"] {
            let output = weylflow(&[command, path]);
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success(), "{command}: {external} {interaction}");
            assert!(text.contains("spec.ron:2:") && text.contains(what), "{command}: {text}");
        }
    };
    refused("Harmonic()", "Formula(\"1/abs(d)\")", "up: 1, down: 1", "diverges at contact");
    refused("Harmonic()", "InverseSquare(strength: -1)", "up: 2", "no lower bound");
    refused("Formula(\"-0.1*x^4\")", "None", "up: 1", "no lower bound");
    refused("Formula(\"-1/abs(x)\")", "None", "up: 1", "v(x) must be finite");
}

/// Energies in a table are those in the formula that it was made from, as close as the table says of itself.
#[test]
fn tables_have_the_energies_of_their_formulas() {
    let box_of_five = Geometry::Box { half_width: 5.0 };
    let ring = Geometry::Ring { circumference: 6.0 };
    for (text, geometry, (from, to), count, sector) in [
        ("x^2/2 + 2*exp(-x^2)", None, (-9.0, 9.0), 91, Sector::new(1, 1)),
        ("x^2/2 + 2*exp(-x^2)", None, (-9.0, 9.0), 361, Sector::new(2, 0)),
        ("cosh(x/2)", Some(box_of_five), (-5.0, 5.0), 101, Sector::new(2, 1)),
        ("-2*cos(tau*x/6)", Some(ring), (-3.0, 3.0), 61, Sector::new(1, 1)),
    ] {
        let formula = External::Formula(text.parse().unwrap());
        let step = (to - from) / (count - 1) as f64;
        // Uneven as well: every third point a little to the right.
        let nudge = |i: usize| if i % 3 == 1 { 0.3 * step } else { 0.0 };
        let points: Vec<f64> = (0..count).map(|i| from + step * i as f64 + nudge(i)).collect();
        let mut points = points;
        points[count - 1] = to;
        let mut values: Vec<f64> = points.iter().map(|x| formula.value(*x)).collect();
        let periodic = geometry == Some(ring);
        if periodic {
            values[count - 1] = values[0];
        }
        let table = Table::new(points, values, periodic).unwrap();
        let error = table.interpolation_error();
        assert!(error < 1e-3, "{text}: {error:e}");
        let energy = |external: External| {
            let interaction = Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 };
            let h = Hamiltonian { title: String::new(), external, interaction };
            let mut go_on = |_: &News| ControlFlow::Continue(());
            let result = match &geometry {
                Some(g) => solve(&h, g, sector, &options(), &mut go_on),
                None => solve_on_line(&h, sector, &options(), &mut go_on),
            };
            let result = result.unwrap();
            (result.energies[0], result.error_estimates[0])
        };
        let (in_table, solver) = energy(External::Tabulated(table));
        let (in_formula, also) = energy(formula);
        let allowed = sector.particles() as f64 * error + solver + also;
        let off = (in_table - in_formula).abs();
        assert!(off <= allowed, "{text}: off by {off:e}, allowed {allowed:e}");
        assert!(solver < 1e-6, "{text}: {solver:e}");
    }
}
