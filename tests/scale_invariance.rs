//! Training knows no unit of length or energy: a run scaled by `x -> s x`, with the Hamiltonian scaled along, and one with a constant
//! added to the potential take the same path.

use weylflow::optimise::OptimiserSettings;
use weylflow::sampling::Sampling;
use weylflow::system::{External, Geometry, Hamiltonian, Interaction, Sector, System};
use weylflow::train::{Schedule, Stopping, train};
use weylflow::wavefunction::WavefunctionSettings;
use weylflow::wavefunction::weyl::{BaseSettings, WeylSettings};

/// Energies and variances of the iterations of two strongly repelling particles in a trap that is `s` times as wide, in units of
/// that trap and above a constant.
fn path(s: f64, constant: f64, optimiser: &str) -> Vec<(f64, f64)> {
    let trap = External::Harmonic { frequency: 1.0 / (s * s) };
    let external = if constant == 0.0 {
        trap
    } else {
        let formula = External::Formula(format!("{constant}").parse().unwrap());
        External::Sum(vec![trap, formula])
    };
    let hamiltonian = Hamiltonian {
        title: String::new(),
        external,
        // Energies scale by 1/s², so that the strength of g/d scales by 1/s.
        interaction: Interaction::SoftCoulomb { strength: 10.0 / s, softening: 0.3 * s },
    };
    let geometry = Geometry::Box { half_width: 6.0 * s };
    let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
    use weylflow::wavefunction::weyl::LayerKind::{Monotone, Pair, PairInverse};
    let wavefunction = WavefunctionSettings::Weyl(WeylSettings {
        base: BaseSettings::FreeFermions,
        layers: Some(vec![Pair, PairInverse, Monotone]),
        ..Default::default()
    });
    let mut psi = wavefunction.build(Sector::new(1, 1), system, 0).unwrap();
    let settings: OptimiserSettings = ron::from_str(optimiser).unwrap();
    let schedule = Schedule {
        iterations: 8,
        samples: 512,
        final_samples: 512,
        sampling: Sampling::QuasiRandom,
        scramblings: 2,
        refinements: 0,
        stopping: Stopping::Plateau,
        faults: Default::default(),
        seed: 3,
    };
    let mut found = Vec::new();
    train(psi.as_mut(), system, settings.build().as_mut(), &schedule, |report| {
        let energy = report.energy.mean() - 2.0 * constant;
        found.push((energy * s * s, report.energy.variance() * s.powi(4)));
    })
    .unwrap();
    found
}

#[test]
fn a_scaled_run_takes_the_same_path() {
    for optimiser in ["RayleighGaussNewton(())", "EnergyNaturalGradient(())"] {
        let one = path(1.0, 0.0, optimiser);
        assert!(one[one.len() - 1].0 < one[0].0 - 1.0, "it trains: {one:?}");
        for (s, constant) in [(0.1, 0.0), (10.0, 0.0), (1.0, -37.0)] {
            let other = path(s, constant, optimiser);
            assert_eq!(one.len(), other.len());
            for (a, b) in one.iter().zip(&other) {
                assert!((a.0 - b.0).abs() < 1e-6 * a.0.abs(), "{optimiser} {s}: {a:?} {b:?}");
                assert!((a.1 - b.1).abs() < 1e-6 * a.1, "{optimiser} {s}: {a:?} {b:?}");
            }
        }
    }
}
