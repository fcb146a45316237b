//! Contact interactions from a spec to numbers: what is chosen, what is refused and where, and what is measured.

use std::ops::ControlFlow;
use std::path::Path;
use weylflow::cli::hint::hinted;
use weylflow::estimate::{estimate, rayleigh_quotient};
use weylflow::exact::{ExactOptions, solve};
use weylflow::observables::{Effort, REGISTRY, Setup, measure};
use weylflow::spec::read::parse;
use weylflow::system::System;
use weylflow::train::{Schedule, train};
use weylflow::wavefunction::WavefunctionSettings;

fn spec(interaction: &str, sector: &str, geometry: &str, external: &str, rest: &str) -> String {
    format!(
        "(\n    title: \"t\",\n    hamiltonian: Inline(external: {external}, interaction: {interaction}),\n    \
         sector: {sector},\n    geometry: {geometry},\n    final_samples: 8192,\n    {rest}\n)\n"
    )
}

const TRAP: &str = "Harmonic()";

#[test]
fn contact_interactions_choose_the_sector_base_and_others_do_not() {
    let chosen = |interaction: &str, sector: &str| {
        let text = spec(interaction, sector, "Line", TRAP, "");
        parse(&text, Path::new("t.ron")).unwrap().wavefunction
    };
    let sums = "Sum([Contact(strength: 1), SoftCoulomb()])";
    for interaction in ["Contact(strength: 1)", "Contact(strength: inf)", sums] {
        assert!(matches!(
            chosen(interaction, "(up: 2, down: 1)"),
            WavefunctionSettings::SectorBase(_)
        ));
        // Equal spins do not feel it.
        assert!(matches!(chosen(interaction, "(up: 3)"), WavefunctionSettings::Weyl(_)));
    }
    for interaction in
        ["Contact(strength: 0)", "Sum([SoftCoulomb(), Gaussian(strength: 1, width: 1)])"]
    {
        assert!(matches!(chosen(interaction, "(up: 2, down: 1)"), WavefunctionSettings::Weyl(_)));
    }
}

#[test]
fn what_cannot_have_a_cusp_is_refused_where_it_stands() {
    let contact = "Contact(strength: 1)";
    let pair = "(up: 1, down: 1)";
    for (text, place, what) in [
        (spec(contact, pair, "Line", TRAP, "wavefunction: Weyl(),"), "t.ron:7:", "SectorBase"),
        (
            spec(contact, pair, "Line", TRAP, "wavefunction: Weyl(layers: [Pair]),"),
            "t.ron:7:",
            "SectorBase",
        ),
        (
            spec(contact, pair, "Box(half_width: 3)", TRAP, "wavefunction: Waveflow(),"),
            "t.ron:7:",
            "SectorBase",
        ),
        (
            spec("SoftCoulomb()", pair, "Line", TRAP, "wavefunction: SectorBase(),"),
            "t.ron:7:",
            "Weyl",
        ),
        (
            spec(contact, pair, "Line", "DoubleWell(half_separation: 1, strength: 1)", ""),
            "t.ron:3:",
            "Box",
        ),
        (
            spec(contact, pair, "Ring(circumference: 6)", "Lattice(depth: 1, period: 6)", ""),
            "t.ron:3:",
            "Free",
        ),
        (
            spec(contact, "(up: 2, down: 1)", "Ring(circumference: 6)", "Free", ""),
            "t.ron:4:",
            "odd",
        ),
        (spec(contact, "(up: 8, down: 8)", "Line", TRAP, ""), "t.ron:4:", "coefficients"),
        (
            spec(
                contact,
                "(up: 2, down: 2)",
                "Line",
                TRAP,
                "wavefunction: SectorBase(functions: 40),",
            ),
            "t.ron:7:",
            "coefficients",
        ),
        (
            spec(
                "SoftCoulomb()",
                "Components([1, 1, 1])",
                "Line",
                TRAP,
                "wavefunction: Weyl(layers: [Pair, TwoBody]),",
            ),
            "t.ron:7:",
            "TwoBody knows two components",
        ),
        (
            spec(contact, "Components([1, 1, 1])", "Line", TRAP, "wavefunction: Weyl(),"),
            "t.ron:7:",
            "SectorBase",
        ),
        (
            spec(
                "SoftCoulomb()",
                "Components([1, 1, 1])",
                "Line",
                TRAP,
                "wavefunction: Weyl(base: MultiDeterminant()),",
            ),
            "t.ron:7:",
            "need the base Automatic",
        ),
        (
            spec(
                "SoftCoulomb()",
                "Components([1, 1, 1])",
                "Line",
                "Nuclei(charges: [1], positions: [0])",
                "wavefunction: SectorBase(),",
            ),
            "t.ron:7:",
            "Weyl() knows any potential",
        ),
        (
            spec("SoftCoulomb()", "Components([1, 1, 1])", "Line", TRAP, "temperature: (kT: 1),"),
            "t.ron:7:",
            "two components at most",
        ),
        (
            spec("InverseSquare(strength: 1)", "Components([1, 1, 1])", "Line", TRAP, ""),
            "t.ron:3:",
            "contact",
        ),
        (
            spec(contact, "Components([3, 2, 1])", "Ring(circumference: 6)", "Free", ""),
            "t.ron:4:",
            "odd",
        ),
        (spec(contact, "Components([3, 3, 2])", "Line", TRAP, ""), "t.ron:4:", "coefficients"),
        (spec("Contact(strength: -inf)", pair, "Line", TRAP, ""), "t.ron:3:", "finite"),
        (spec("Contact(strength: NaN)", pair, "Line", TRAP, ""), "t.ron:3:", "finite"),
        (spec("Contact(force: 1)", pair, "Line", TRAP, ""), "t.ron:3:", "strength"),
        (spec("Sum([])", pair, "Line", TRAP, ""), "t.ron:3:", "1"),
        (
            spec("Sum([Contact(strength: 1), InverseSquare(strength: 1)])", pair, "Line", TRAP, ""),
            "t.ron:3:",
            "contact",
        ),
        (
            spec("Formula(\"delta(d)\")", pair, "Line", TRAP, ""),
            "t.ron:3:",
            "Contact(strength: ..)",
        ),
        (spec(contact, pair, "Line", TRAP, "refinements: 1,"), "t.ron:7:", "refine"),
        (spec(contact, pair, "Line", TRAP, "project: true,"), "t.ron:7:", "weylflow exact"),
        (
            spec("SoftCoulomb()", "Components([1, 1, 1])", "Line", TRAP, "project: true,"),
            "t.ron:7:",
            "weylflow exact",
        ),
        (spec(contact, pair, "Line", TRAP, "states: (count: 2),"), "t.ron:7:", "exact --states"),
        (spec(contact, pair, "Line", TRAP, "temperature: (kT: 1),"), "t.ron:7:", "Contact"),
        (
            spec(
                "SoftCoulomb()",
                "Components([1, 1, 1])",
                "Line",
                TRAP,
                "wavefunction: Weyl(base: MeanField(orbitals: HartreeFock)),",
            ),
            "t.ron:7:",
            "MeanField(orbitals: NonInteracting)",
        ),
    ] {
        let error = hinted(&parse(&text, Path::new("t.ron")).unwrap_err());
        assert!(error.contains(place) && error.contains(what), "{text}\n{error}");
    }
}

/// Training is no more than a look; the energy, quadrature and every observable of the contact agree.
#[test]
fn a_run_is_the_exact_state_and_its_contact_is_measured() {
    let text = spec("Contact(strength: 1)", "(up: 1, down: 1)", "Line", TRAP, "");
    let mut spec = parse(&text, Path::new("t.ron")).unwrap();
    let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
    let said = spec.wavefunction.settle(spec.sector, system).unwrap();
    assert!(said[0].contains("coefficients"), "{said:?}");
    let mut psi = spec.wavefunction.build(spec.sector, system, 0).unwrap();
    let schedule = spec.schedule();
    let mut optimiser = spec.optimiser.minimising(spec.objective);
    let trained = train(psi.as_mut(), system, optimiser.as_mut(), &schedule, |_| {}).unwrap();
    assert_eq!(trained.iterations, 1);
    let found = estimate(psi.as_ref(), system, &schedule, 50);
    let exact = 1.3067455412310827;
    assert!((found.energy.mean() - exact).abs() < 1e-7, "{}", found.energy.mean());
    let quadrature = rayleigh_quotient(psi.as_ref(), system).unwrap();
    assert!((quadrature.energy - exact).abs() < 1e-7, "{quadrature:?}");
    let setup = Setup::new(psi.as_ref(), system);
    let wanted = ["energy", "virial", "contact"];
    let observables: Vec<_> = REGISTRY
        .iter()
        .filter(|e| wanted.contains(&e.name))
        .map(|e| (e.name, (e.build)(&setup).unwrap()))
        .collect();
    let effort = Effort { samples: 16384, replicates: 16, seed: 0 };
    let all = measure(psi.as_ref(), &setup, &observables, effort, |_| {}).unwrap();
    let of = |name: &str| {
        let q = all.iter().flat_map(|m| &m.quantities).find(|q| q.name == name).unwrap();
        (q.values[0], q.errors.first().copied().unwrap_or(0.0))
    };
    let contact = 0.23094121109493204;
    for (name, expected) in [
        ("contact_density", contact),
        ("tan_contact", contact),
        ("contact_density_of_state", contact),
        ("interaction", contact),
        ("virial_residual", 0.0),
        // E = 2 V + g D / 2.
        ("external", 0.5 * (exact - 0.5 * contact)),
    ] {
        let (value, error) = of(name);
        assert!(
            (value - expected).abs() < 5.0 * error + 1e-7,
            "{name}: {value} +- {error}, {expected}"
        );
        assert!(error < 0.01, "{name}: {error}");
    }
    let orders = of("order_probabilities");
    assert!((orders.0 - 0.5).abs() < 1e-12);
}

/// One particle of each of three components has the ground state of bosons; impenetrable ones have the energy of free fermions.
#[test]
fn three_components_agree_with_the_exact_solver() {
    for (interaction, sector, expected, within) in [
        ("Contact(strength: inf)", "Components([1, 1, 1])", Some(4.5), 1e-7),
        ("Contact(strength: 1)", "Components([1, 1, 1])", None, 1e-5),
        ("Contact(strength: 1)", "Components([2, 1])", Some(2.9935163439), 1e-5),
        ("SoftCoulomb()", "Components([1, 1, 1])", None, 1e-5),
    ] {
        let text = spec(interaction, sector, "Line", TRAP, "");
        let spec = parse(&text, Path::new("t.ron")).unwrap();
        let go = &mut |_: &_| ControlFlow::Continue(());
        let options = ExactOptions::default();
        let exact = solve(&spec.hamiltonian, &spec.geometry, spec.sector, &options, go).unwrap();
        let (energy, error) = (exact.energies[0], exact.error_estimates[0]);
        assert!(error < 1e-6, "{text}: {error}");
        if let Some(expected) = expected {
            assert!((energy - expected).abs() <= error + 1e-9, "{text}: {energy} +- {error}");
        }
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let psi = spec.wavefunction.build(spec.sector, system, 0).unwrap();
        let schedule = Schedule { final_samples: 4096, ..spec.schedule() };
        let found = estimate(psi.as_ref(), system, &schedule, 50).energy;
        assert!((found.mean() - energy).abs() < within, "{text}: {} {energy}", found.mean());
    }
}

/// Two components are two spins, to the byte.
#[test]
fn two_components_are_two_spins() {
    for interaction in ["Contact(strength: 1)", "SoftCoulomb()"] {
        let resolved = |sector: &str| {
            let text = spec(interaction, sector, "Line", TRAP, "");
            weylflow::spec::write::to_ron(&parse(&text, Path::new("t.ron")).unwrap()).unwrap()
        };
        let spins = resolved("(up: 2, down: 1)");
        assert_eq!(resolved("Components([2, 1])"), spins);
        assert_eq!(resolved("Components([2, 0, 1])"), spins);
        let many = resolved("Components([2, 1, 1])");
        assert!(many.contains("Components"), "{many}");
        let again = parse(&many, Path::new("t.ron")).unwrap();
        assert_eq!(again.sector.components(), [2, 1, 1]);
    }
}

/// What a spec without `wavefunction` gets exists, and can be read again, where there is no sector base as well.
#[test]
fn more_components_have_defaults_everywhere() {
    for (geometry, external) in [
        ("Line", "Nuclei(charges: [3], positions: [0])"),
        ("Ring(circumference: 6)", "Lattice(depth: 1, period: 6)"),
    ] {
        let rest = "samples_per_iteration: 64, iterations: 1, reference: None,";
        let text = spec("SoftCoulomb()", "Components([1, 1, 1])", geometry, external, rest);
        let text = text.replace("8192", "512");
        let run = weylflow::Run::new(parse(&text, Path::new("t.ron")).unwrap()).unwrap();
        let outcome = run.train(()).unwrap().estimate().unwrap();
        assert!(outcome.energy().is_finite());
        let again = weylflow::spec::write::to_ron(&outcome.spec).unwrap();
        assert!(again.contains("NonInteracting") && !again.contains("TwoBody"), "{again}");
        parse(&again, Path::new("t.ron")).unwrap();
    }
}

/// Four particles of three components: energy, contact and what is measured agree with glued gaps (4.26283576025).
#[test]
fn four_particles_of_three_components_run_and_are_measured() {
    let rest = "wavefunction: SectorBase(functions: 5), samples_per_iteration: 64,";
    let text = spec("Contact(strength: 1)", "Components([2, 1, 1])", "Line", TRAP, rest);
    let text = text.replace("8192", "2048").replace("final", "reference: None, final");
    let run = weylflow::Run::new(parse(&text, Path::new("t.ron")).unwrap()).unwrap();
    let outcome = run.train(()).unwrap().estimate().unwrap();
    let known = outcome.summary.health.quadrature.unwrap();
    let above = known.energy - 4.26283576025;
    assert!(above > 0.0 && above < 5e-3, "{above:e}");
    // What is printed is known without samples, which agree with it.
    assert_eq!((outcome.energy(), outcome.standard_error()), (known.energy, known.energy_error));
    let sampled = outcome.summary.sampled.unwrap();
    let off = (sampled.energy - known.energy).abs();
    assert!(off > 0.0 && off < 5.0 * sampled.standard_error, "{sampled:?} {known:?}");
    let system =
        System { hamiltonian: &outcome.spec.hamiltonian, geometry: &outcome.spec.geometry };
    let setup = Setup::new(outcome.wavefunction(), system);
    let wanted = ["position", "contact", "distance"];
    let observables: Vec<_> = REGISTRY
        .iter()
        .filter(|e| wanted.contains(&e.name))
        .map(|e| (e.name, (e.build)(&setup).unwrap()))
        .collect();
    let effort = Effort { samples: 2048, replicates: 8, seed: 0 };
    let all = measure(outcome.wavefunction(), &setup, &observables, effort, |_| {}).unwrap();
    let of = |name: &str| {
        let q = all.iter().flat_map(|m| &m.quantities).find(|q| q.name == name).unwrap();
        (q.values[0], q.errors.first().copied().unwrap_or(0.0))
    };
    let (sampled, known) = (of("contact_density"), of("contact_density_of_state"));
    assert!((sampled.0 - known.0).abs() < 5.0 * sampled.1, "{sampled:?} {known:?}");
    assert!((known.0 - 0.99097).abs() < 2e-2, "{known:?}");
}
