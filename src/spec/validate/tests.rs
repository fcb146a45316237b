use super::*;
use crate::sampling::Sampling;
use crate::system::{External, Interaction};

fn hamiltonian_with(external: External, interaction: Interaction) -> Hamiltonian {
    Hamiltonian { title: String::new(), external, interaction }
}

#[test]
fn potentials_on_a_ring_must_close_smoothly() {
    let ring = Geometry::Ring { circumference: 6.0 };
    let check = |v| hamiltonian_in(&hamiltonian_with(v, Interaction::None), &ring);
    let formula = |text: &str| External::Formula(text.parse().unwrap());
    assert!(check(External::Free).is_ok());
    assert!(check(External::Lattice { depth: 4.0, period: 2.0 }).is_ok());
    assert!(check(formula("cos(tau*x/6) + sin(tau*x/3)")).is_ok());
    let parts = [External::Lattice { depth: 1e6, period: 3.0 }, formula("cos(tau*x/6)")];
    assert!(check(External::Sum(parts.to_vec())).is_ok());
    for v in [
        External::Harmonic { frequency: 1.0 },
        External::Lattice { depth: 4.0, period: 2.5 },
        formula("x"),
        formula("1e-3*x^2"),
        External::Nuclei { charges: vec![1.0], positions: vec![0.0], softening: 1.0 },
    ] {
        let violation = check(v).unwrap_err();
        assert_eq!(violation.field, "external");
        assert!(violation.to_string().contains("must be periodic"), "{violation}");
    }
}

#[test]
fn poles_are_told_from_steep_potentials() {
    let check = |text: &str| {
        let v = External::Formula(text.parse().unwrap());
        let geometry = Geometry::Box { half_width: 10.0 };
        hamiltonian_in(&hamiltonian_with(v, Interaction::None), &geometry)
    };
    for fine in ["x^20", "exp(x^2)", "-1e4*exp(-1e4*x^2)", "1/(x^2 - 100)", "1e5/(x^2+1e-2)"] {
        assert!(check(fine).is_ok(), "{fine}");
    }
    for pole in ["1/x", "-1/abs(x)", "1/(x-1)", "1/(x-0.3)^2", "ln(x-4)", "tan(pi*x/2)", "x^x"] {
        assert!(check(pole).is_err(), "{pole}");
    }
}

#[test]
fn interactions_must_be_even_and_may_diverge_at_contact_only() {
    let check = |text: &str| {
        let h = hamiltonian_with(External::Free, Interaction::Formula(text.parse().unwrap()));
        hamiltonian(&h).and_then(|()| hamiltonian_in(&h, &Geometry::Box { half_width: 10.0 }))
    };
    for fine in ["2/d^2", "1/abs(d)", "-ln(abs(d))", "d^2/8", "0", "exp(-d^2)", "1e-12*d^2"] {
        assert!(check(fine).is_ok(), "{fine}");
    }
    for wrong in ["d", "1/d", "d^3", "exp(d)", "sqrt(d)", "1/(d^2-4)", "ln(d^2-1)", "1e-6*d"] {
        assert!(check(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_has_no_ground_state_is_refused_with_the_potential_to_blame() {
    let judged = |external: &str, interaction: &str, up: usize, down: usize| {
        let h =
            hamiltonian_with(ron::from_str(external).unwrap(), ron::from_str(interaction).unwrap());
        let sector = Sector::new(up, down);
        ground_state(&h, &Geometry::Line, sector).and_then(|()| trainable(&h, sector))
    };
    for (external, interaction, up, down, field, what) in [
        ("Harmonic()", "InverseSquare(strength: 2)", 1, 1, "interaction", "opposite spins"),
        ("Harmonic()", "InverseSquare(strength: -1)", 2, 0, "interaction", "no lower bound"),
        ("Harmonic()", "InverseSquare(strength: -0.2)", 2, 0, "interaction", "|d|^0.7236"),
        ("Harmonic()", "Harmonic(stiffness: -1)", 2, 0, "interaction", "omega² + N k = -1"),
        ("Formula(\"-x^2\")", "None", 1, 0, "external", "keeps falling"),
        ("Formula(\"-1/abs(x)\")", "None", 1, 0, "external", "pole at x = 0"),
        ("Free", "None", 1, 0, "external", "must hold the particles"),
    ] {
        let violation = judged(external, interaction, up, down).unwrap_err();
        assert_eq!(violation.field, field, "{violation}");
        assert!(violation.to_string().contains(what), "{violation}");
    }
    assert!(judged("Harmonic()", "InverseSquare(strength: 2)", 2, 0).is_ok());
}

#[test]
fn interactions_are_even_on_all_scales() {
    let check = |text: &str| {
        hamiltonian(&hamiltonian_with(External::Free, Interaction::Formula(text.parse().unwrap())))
    };
    assert!(check("exp(-1000*(abs(d)-17.3)^2)").is_ok());
    for odd in ["exp(-1e6*(d-17.3)^2)", "exp(-1e6*(d+0.0123)^2)", "sin(d)^3*exp(-d^2)"] {
        assert!(check(odd).is_err(), "{odd}");
    }
}

#[test]
fn specs_made_in_code_are_checked_with_the_paths_of_an_inline_hamiltonian() {
    let mut spec = RunSpec {
        title: "t".to_owned(),
        hamiltonian: hamiltonian_with(
            External::Harmonic { frequency: 1.0 },
            Interaction::Gaussian { strength: 1.0, width: 1.0 },
        ),
        sector: Sector::new(2, 0),
        geometry: Geometry::Box { half_width: 5.0 },
        wavefunction: WavefunctionSettings::default(),
        optimiser: OptimiserSettings::default(),
        objective: Default::default(),
        samples_per_iteration: 2,
        iterations: 0,
        final_samples: 2,
        sampling: Sampling::default(),
        refinements: 0,
        stopping: Default::default(),
        faults: Default::default(),
        scramblings: 16,
        seed: 0,
        reference: ReferenceSource::default(),
        states: None,
        temperature: None,
        project: false,
    };
    assert!(spec.validate().is_ok());
    spec.hamiltonian.external = External::Harmonic { frequency: -1.0 };
    assert_eq!(
        spec.validate().unwrap_err().to_string(),
        "field hamiltonian.external.frequency: must be positive, found -1"
    );
}
