//! Error bars where rare events make the error: at their cause, and by the tail test.

use weylflow::estimate::{self, GroundStateEstimate, gaussian_bars, rayleigh_quotient};
use weylflow::optimise::OptimiserSettings;
use weylflow::sampling::Sampling;
use weylflow::system::{External, Geometry, Hamiltonian, Interaction, Sector, System};
use weylflow::train;
use weylflow::train::Schedule;
use weylflow::wavefunction::WavefunctionSettings;

const PAIR: Sector = Sector::new(1, 1);

fn trap(frequency: f64, interaction: Interaction) -> Hamiltonian {
    Hamiltonian { title: String::new(), external: External::Harmonic { frequency }, interaction }
}

fn schedule(sampling: Sampling, final_samples: usize, seed: u64) -> Schedule {
    Schedule {
        iterations: 12,
        samples: 2048,
        final_samples,
        sampling,
        scramblings: 16,
        refinements: 0,
        stopping: Default::default(),
        faults: Default::default(),
        seed,
    }
}

/// Error bars, as unlikely as Gaussian ones, between an estimate and the energy of the state.
fn bars(estimate: &GroundStateEstimate, exact: f64) -> f64 {
    let energy = &estimate.energy;
    gaussian_bars((energy.mean() - exact) / energy.standard_error(), energy.degrees_of_freedom())
}

#[test]
fn what_samples_hardly_ever_reach_is_in_the_error_bar() {
    let hamiltonian = trap(1.0, Interaction::None);
    let system = System { hamiltonian: &hamiltonian, geometry: &Geometry::Line };
    let mut psi = WavefunctionSettings::default().build(PAIR, system, 0).unwrap();
    // An eigenstate but for the end of the pair displacement, at distances that hardly one pair in 10 000 has.
    let mut parameters = psi.parameters().to_vec();
    let half = parameters.len() / 2;
    parameters[half - 3..half].fill(-1.5);
    psi.set_parameters(&parameters).unwrap();
    let exact = rayleigh_quotient(psi.as_ref(), system).unwrap();
    assert!(exact.energy_error < 1e-8, "{exact:?}");
    for sampling in [Sampling::Random, Sampling::QuasiRandom] {
        let (mut far, mut blind) = (0, 0);
        for seed in 0..24 {
            let found =
                estimate::estimate(psi.as_ref(), system, &schedule(sampling, 4096, seed), 1);
            let off = bars(&found, exact.energy).abs();
            let plain = found.energy.missing(0.0);
            let without = (plain.mean() - exact.energy) / plain.standard_error();
            blind += usize::from(gaussian_bars(without, plain.degrees_of_freedom()).abs() > 4.0);
            far += usize::from(off > 4.0);
            println!("{seed}: {off:.2} bars, {without:.2} without the tails");
        }
        println!("{sampling:?}: {far} far, {blind} far without");
        assert_eq!(far, 0);
        assert!(blind > 6, "the case must have a tail: {blind}");
    }
}

/// Three particles have no quadrature: the tail test alone tells that plain samples are blind. The truth is from as many samples, half
/// of them in the tails, as leave an error of a tenth.
#[test]
fn three_particles_have_a_tail_test() {
    let hamiltonian = trap(1.0, Interaction::None);
    let system = System { hamiltonian: &hamiltonian, geometry: &Geometry::Line };
    let sector = Sector::new(3, 0);
    let mut psi = WavefunctionSettings::default().build(sector, system, 0).unwrap();
    assert!(rayleigh_quotient(psi.as_ref(), system).is_none());
    let mut parameters = psi.parameters().to_vec();
    let half = parameters.len() / 2;
    parameters[half - 3..half].fill(-1.5);
    psi.set_parameters(&parameters).unwrap();
    let many = schedule(Sampling::QuasiRandom, 1 << 18, 99);
    let known = estimate::estimate(psi.as_ref(), system, &many, 1);
    let tails = known.tails.unwrap();
    println!("{:?}, {tails:?}", known.energy);
    let (mut far, mut blind) = (0, 0);
    for seed in 0..16 {
        let found =
            estimate::estimate(psi.as_ref(), system, &schedule(Sampling::Random, 1024, seed), 1);
        let off = bars(&found, tails.energy).abs();
        let plain = found.energy.missing(0.0);
        let without = ((plain.mean() - tails.energy) / plain.standard_error()).abs();
        println!("{seed}: {off:.2} bars, {without:.2} without the tails");
        far += usize::from(off > 4.0);
        blind += usize::from(without > 4.0);
    }
    assert_eq!(far, 0);
    assert!(blind > 3, "the case must have a tail: {blind}");
}

#[test]
fn a_trained_pair_between_close_walls_has_no_jump_in_its_tail() {
    // Scaled by frequency 100 the problem is the same.
    for (frequency, half_width) in [(1.0f64, 6.0), (100.0, 0.6), (1.0, 8.0)] {
        let length = frequency.powf(-0.5);
        let interaction =
            Interaction::SoftCoulomb { strength: frequency * length, softening: length };
        let hamiltonian = trap(frequency, interaction);
        let geometry = Geometry::Box { half_width };
        let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
        let mut psi = WavefunctionSettings::default().build(PAIR, system, 0).unwrap();
        let mut optimiser = OptimiserSettings::default().build();
        let plan = schedule(Sampling::QuasiRandom, 4096, 0);
        train::train(psi.as_mut(), system, optimiser.as_mut(), &plan, |_| ()).unwrap();
        let mut evaluator = psi.evaluator();
        let mut gradient = [0.0; 2];
        let mut local_energy = |d: f64| {
            let x = [-0.5 * d * length, 0.5 * d * length];
            let potential = hamiltonian.potential(&geometry, &x);
            (evaluator.kinetic_energy(&x, &mut gradient) + potential) / frequency
        };
        // Closer than this are all but a millionth of the pairs.
        let worst = (0..45)
            .map(|k| 3.0 + 0.05 * f64::from(k))
            .map(|d| (local_energy(d) - 1.774_039_627_6).abs())
            .fold(0.0, f64::max);
        println!("frequency {frequency}, walls at {half_width}: {worst:.2e}");
        assert!(worst < 1.0, "frequency {frequency}, walls at {half_width}: {worst}");
        let exact = rayleigh_quotient(psi.as_ref(), system).unwrap();
        for seed in 0..5 {
            let plan = schedule(Sampling::Random, 16384, 100 + seed);
            let found = estimate::estimate(psi.as_ref(), system, &plan, 1);
            let off = bars(&found, exact.energy);
            println!("  {off:.2} bars");
            assert!(off.abs() < 4.0, "{off}");
        }
    }
}
