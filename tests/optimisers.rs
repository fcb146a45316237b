//! Every optimiser finds the ground state of two fermions in a trap, from the same start.

use weylflow::estimate::rayleigh_quotient;
use weylflow::objective::{ObjectiveSettings, variance::Variance};
use weylflow::optimise::{
    AdamSettings, EnergyNaturalGradientSettings, LbfgsSettings, OptimiserSettings,
    RayleighGaussNewtonSettings, SolveSpace, StochasticReconfigurationSettings,
};
use weylflow::sampling::Sampling;
use weylflow::system::{External, Geometry, Hamiltonian, Interaction, Sector, System};
use weylflow::train::{Schedule, Stopping, train};
use weylflow::wavefunction::WavefunctionSettings;
use weylflow::wavefunction::weyl::{BaseSettings, MeanFieldSettings, Orbitals, WeylSettings};

/// Exact energy of two equal spins, `x²/2 + 1/sqrt(d² + 1)`, from `data/reference_energies.json`.
const EXACT: f64 = 2.5538317143;

/// Energy by quadrature above the exact one, before and after training.
fn excess(
    optimiser: &OptimiserSettings,
    objective: ObjectiveSettings,
    iterations: usize,
) -> (f64, f64) {
    let hamiltonian = Hamiltonian {
        title: "trap".into(),
        external: External::Harmonic { frequency: 1.0 },
        interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 },
    };
    let geometry = Geometry::Line;
    let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
    // The base that nobody names is the ground state itself.
    let base = BaseSettings::MeanField(MeanFieldSettings { orbitals: Orbitals::NonInteracting });
    let settings = WavefunctionSettings::Weyl(WeylSettings { base, ..WeylSettings::default() });
    let mut psi = settings.build(Sector::new(2, 0), system, 0).unwrap();
    let before = rayleigh_quotient(psi.as_ref(), system).unwrap().energy - EXACT;
    let schedule = Schedule {
        iterations,
        samples: 512,
        final_samples: 4096,
        sampling: Sampling::QuasiRandom,
        scramblings: 2,
        refinements: 0,
        stopping: Stopping::Never,
        faults: Default::default(),
        seed: 5,
    };
    let mut optimiser = optimiser.minimising(objective);
    train(psi.as_mut(), system, optimiser.as_mut(), &schedule, |_| ()).unwrap();
    let after = rayleigh_quotient(psi.as_ref(), system).unwrap();
    assert!((after.norm - 1.0).abs() < 1e-8, "norm {}", after.norm);
    (before, after.energy - EXACT)
}

#[test]
fn every_optimiser_finds_the_ground_state() {
    let sr = |space| {
        OptimiserSettings::StochasticReconfiguration(StochasticReconfigurationSettings {
            space,
            tau: 0.05,
            ..Default::default()
        })
    };
    let adam = OptimiserSettings::Adam(AdamSettings { learning_rate: 2e-2, ..Default::default() });
    // First-order steps and explicit imaginary time get more of them, and may stay further off.
    for (optimiser, iterations, bound) in [
        (adam, 200, 1e-4),
        (sr(SolveSpace::Parameters), 150, 1e-4),
        (sr(SolveSpace::Samples), 150, 1e-4),
        (OptimiserSettings::RayleighGaussNewton(RayleighGaussNewtonSettings::default()), 15, 1e-6),
        (
            OptimiserSettings::EnergyNaturalGradient(EnergyNaturalGradientSettings::default()),
            15,
            1e-5,
        ),
        (OptimiserSettings::Lbfgs(LbfgsSettings::default()), 15, 1e-6),
    ] {
        let name = optimiser.settings().name();
        let (before, after) = excess(&optimiser, Default::default(), iterations);
        println!("{name}: {before:.3e} Ha before, {after:.3e} Ha after {iterations} steps");
        // The stored energy is exact to 1e-10.
        assert!(before > 1e-3 && after > -1e-9 && after < bound, "{name}: {before} to {after}");
    }
}

#[test]
fn the_state_of_least_variance_is_the_ground_state() {
    let objective = ObjectiveSettings::Variance(Variance {});
    for (optimiser, bound) in [
        (OptimiserSettings::RayleighGaussNewton(RayleighGaussNewtonSettings::default()), 1e-6),
        (OptimiserSettings::Lbfgs(LbfgsSettings::default()), 1e-6),
    ] {
        let name = optimiser.settings().name();
        let (before, after) = excess(&optimiser, objective, 15);
        println!("{name}: {before:.3e} Ha before, {after:.3e} Ha after");
        assert!(before > 1e-3 && after > -1e-9 && after < bound, "{name}: {before} to {after}");
        let (_, by_energy) = excess(&optimiser, Default::default(), 15);
        assert!(by_energy != after, "{name} knows no objective");
    }
}
