//! Several states, and temperatures, from one flow.

mod common;

use weylflow::estimate::{free_energy, spectrum};
use weylflow::run::{EnsembleOutcome, EnsembleRun, Run};
use weylflow::spec::ResolvedSpec;
use weylflow::store::saved::SavedWavefunction;
use weylflow::system::System;
use weylflow::train::Schedule;
use weylflow::wavefunction::WavefunctionSettings;
use weylflow::wavefunction::weyl::ensemble::{GibbsStates, LowestStates};

const SOFT: &str = "SoftCoulomb(strength: 1, softening: 1)";

fn text(interaction: &str, sector: &str, more: &str) -> String {
    format!(
        "(\n    title: \"ensemble\",\n    hamiltonian: Inline(external: Harmonic(frequency: 1), interaction: {interaction}),\n    \
         sector: {sector}, geometry: Line,\n    iterations: 3, samples_per_iteration: 1024, final_samples: 8192,\n    {more}\n)"
    )
}

fn spec(interaction: &str, sector: &str, more: &str) -> ResolvedSpec {
    let text = text(interaction, sector, more);
    weylflow::spec::read::parse(&text, "ensemble.ron".as_ref()).unwrap()
}

fn run(interaction: &str, sector: &str, more: &str) -> EnsembleOutcome {
    EnsembleRun::new(spec(interaction, sector, more)).unwrap().estimate(()).unwrap()
}

#[test]
fn states_of_a_trap_are_the_exact_ones() {
    let outcome = run(SOFT, "(up: 2)", "states: (count: 3), reference: None,");
    let s = &outcome.summary;
    // The second is the first with a quantum in the centre of mass.
    let exact = [2.5538317142913587, 3.553831714292396, 4.450680224463335];
    for (k, exact) in exact.iter().enumerate() {
        let state = &s.states[k];
        let off = (state.energy - exact).abs();
        assert!(off < 1e-5 + 4.0 * state.standard_error, "{k}: {off:e} {:e}", state.standard_error);
        assert!(state.standard_error < 1e-4 && state.variance < 1e-4);
        assert!((state.gap.energy - (exact - 2.5538317142913587)).abs() < 1e-4);
    }
    // Kohn: the centre of mass takes all of the dipole, sqrt(N/2), and the strength N.
    let kohn = &s.transitions[0];
    assert!((kohn.dipole - 1.0).abs() < 1e-3 + 4.0 * kohn.dipole_error, "{kohn:?}");
    assert!((kohn.oscillator_strength - 2.0).abs() < 0.02, "{kohn:?}");
    assert!(s.checks.iter().all(|c| c.passed), "{:?}", s.checks);
    let density = &outcome.densities;
    let width = density.edges[1] - density.edges[0];
    for (name, values) in &density.curves {
        let sum: f64 = values.iter().sum::<f64>() * width;
        assert!((sum - 2.0).abs() < 0.02, "{name}: {sum}");
    }
    // Transition densities hold no particles, and their first moments are the dipoles.
    let pairs = &outcome.transition_densities.curves;
    assert_eq!(
        pairs.iter().map(|c| c.0.as_str()).collect::<Vec<_>>(),
        ["up_0_1", "up_0_2", "up_1_2"]
    );
    for ((name, values), transition) in pairs.iter().zip(&s.transitions) {
        let sum: f64 = values.iter().sum::<f64>() * width;
        assert!(sum.abs() < 0.02, "{name}: {sum}");
        let middle = |b: usize| 0.5 * (density.edges[b] + density.edges[b + 1]);
        let dipole: f64 = values.iter().enumerate().map(|(b, v)| v * middle(b) * width).sum();
        assert!((dipole.abs() - transition.dipole).abs() < 0.02, "{name}: {dipole}");
    }
}

#[test]
fn one_state_is_the_ground_state_run() {
    let outcome = |more| {
        let run = Run::new(spec(SOFT, "(up: 2)", more)).unwrap();
        run.train(()).unwrap().estimate().unwrap()
    };
    let (plain, one) =
        (outcome("reference: None,"), outcome("states: (count: 1), reference: None,"));
    assert_eq!(plain.energy().to_bits(), one.energy().to_bits());
    assert!(EnsembleRun::new(spec(SOFT, "(up: 2)", "states: (count: 1),")).is_err());
    assert!(Run::new(spec(SOFT, "(up: 2)", "states: (count: 2),")).is_err());
}

#[test]
fn the_free_energy_of_harmonium_is_the_closed_form() {
    let outcome = run("Harmonic(stiffness: 0.25)", "(up: 2)", "temperature: (kT: 0.5),");
    let t = outcome.summary.thermal.as_ref().unwrap();
    let exact = [2.2606695243618447, 2.512031030520874, 0.502723012318059, 0.9056593678741802];
    let found = [t.free_energy, t.energy, t.entropy, t.heat_capacity];
    for ((m, exact), tolerance) in found.iter().zip(exact).zip([1e-5, 1e-4, 1e-4, 1e-3]) {
        let off = m.value - exact;
        assert!(off.abs() < tolerance + 4.0 * m.standard_error, "{off:e} ± {:e}", m.standard_error);
        assert!((m.reference.unwrap() - exact).abs() < 1e-11);
    }
    assert!(t.free_energy.value > exact[0] - 4.0 * t.free_energy.standard_error - 1e-9);
    assert!(outcome.summary.checks.iter().all(|c| c.passed), "{:?}", outcome.summary.checks);
}

/// One report of several temperatures, each with the numbers of a run of its own, and a spec that is read back.
#[test]
fn a_sweep_is_of_all_its_temperatures() {
    let sweep = "temperature: (kT: Range(from: 0.25, to: 0.75, points: 3)), reference: None,";
    let written = weylflow::spec::write::to_ron(&spec(SOFT, "(up: 2)", sweep)).unwrap();
    let again = weylflow::spec::read::parse(&written, "again.ron".as_ref()).unwrap();
    assert_eq!(again, spec(SOFT, "(up: 2)", sweep));
    let all = run(SOFT, "(up: 2)", sweep).summary.sweep;
    let kt: Vec<f64> = all.iter().map(|t| t.kt).collect();
    assert_eq!(kt, [0.25, 0.5, 0.75]);
    let first = &all[0].free_energy;
    assert!((first.value - 2.549083631313846).abs() < 1e-5 + 4.0 * first.standard_error);
    // dF/dT = -S, by differences of the second order.
    let slope = (all[2].free_energy.value - all[0].free_energy.value) / 0.5;
    assert!((slope + all[1].entropy.value).abs() < 0.05, "{slope} {}", all[1].entropy.value);
}

#[test]
fn limits_are_free_fermions_and_the_ground_state() {
    let free = run("None", "(up: 2, down: 1)", "temperature: (kT: 0.4),");
    let t = free.summary.thermal.unwrap();
    assert!(t.variance.sqrt() < 1e-8, "{:e}", t.variance);
    assert!((t.free_energy.value - t.free_energy.reference.unwrap()).abs() < 1e-5);
    let cold = run(SOFT, "(up: 2)", "temperature: (kT: 0.02), reference: None,");
    let t = cold.summary.thermal.unwrap();
    assert!(
        (t.free_energy.value - 2.5538317142913587).abs()
            < 1e-5 + 4.0 * t.free_energy.standard_error
    );
    assert!(t.entropy.value < 1e-9);
    // The classical gas with the first quantum correction (E. Wigner, Phys. Rev. 40, 749 (1932)), which leaves the fourth power of
    // Planck's constant: at this temperature of a trap alone (1/2880) kT^-3 a particle.
    let hot = run(SOFT, "(up: 1, down: 1)", "temperature: (kT: 2), reference: None,");
    let t = hot.summary.thermal.unwrap();
    let classical = classical_gas(2.0);
    assert!((t.free_energy.value - classical).abs() < 3e-4, "{} {classical}", t.free_energy.value);
}

/// Free energy of two distinguishable particles of the soft trap: on the classical phase space, and the term of second order.
fn classical_gas(kt: f64) -> f64 {
    let (half, points) = (9.0 * kt.sqrt(), 300);
    let step = 2.0 * half / f64::from(points);
    let (mut z, mut curvature) = (0.0, 0.0);
    for i in 0..=points {
        for j in 0..=points {
            let (x, y) = (f64::from(i) * step - half, f64::from(j) * step - half);
            let q = 1.0 + (x - y).powi(2);
            let weight = (-(0.5 * (x * x + y * y) + q.powf(-0.5)) / kt).exp();
            z += weight;
            curvature += weight * (2.0 + 2.0 * (3.0 * (q - 1.0) * q.powf(-2.5) - q.powf(-1.5)));
        }
    }
    let states = z * step * step * kt / std::f64::consts::TAU;
    -kt * states.ln() + curvature / z / (24.0 * kt)
}

/// What determinants cannot carry, and what excludes each other, is refused where it stands.
#[test]
fn what_cannot_be_had_is_refused_in_its_place() {
    for (interaction, sector, more, field) in [
        ("InverseSquare(strength: 2)", "(up: 2)", "states: (count: 3),", "states"),
        ("InverseSquare(strength: 2)", "(up: 3)", "temperature: (kT: 1),", "temperature"),
        (
            SOFT,
            "(up: 2)",
            "temperature: (kT: Range(from: 0, to: 1, points: 3)),",
            "temperature.kT.from",
        ),
        (SOFT, "(up: 2)", "temperature: (kT: Range(from: 0.1, to: 1)),", "points"),
        (SOFT, "(up: 2)", "temperature: (kT: \"hot\"),", "number"),
        (SOFT, "(up: 2)", "states: (count: 3), temperature: (kT: 1),", "temperature"),
        (SOFT, "(up: 2)", "states: (count: 0),", "states.count"),
        (SOFT, "(up: 2)", "states: (count: 3, weights: List([1, 2])),", "states.weights"),
        (SOFT, "(up: 2)", "states: (count: 3, weights: Decreasing(-1)),", "states.weights"),
        (SOFT, "(up: 2)", "temperature: (kT: -0.5),", "temperature.kT"),
        (SOFT, "(up: 2)", "states: (count: 2), optimiser: Adam(),", "optimiser"),
        (SOFT, "(up: 2)", "states: (count: 2), refinements: 1,", "refinements"),
    ] {
        let text = text(interaction, sector, more);
        let error = weylflow::spec::read::parse(&text, "ensemble.ron".as_ref()).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("ensemble.ron:") && said.contains(field), "{more}: {said}");
    }
}

/// The same bits for any number of threads.
#[test]
fn threads_do_not_change_numbers() {
    let numbers = |threads: usize, more: &str| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let outcome = pool.install(|| run(SOFT, "(up: 2)", more));
        let summary = outcome.summary;
        let mut all = summary.values;
        all.extend(summary.states.iter().map(|s| s.energy));
        all.extend(summary.thermal.iter().map(|t| t.free_energy.value));
        all.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
    };
    for more in ["states: (count: 2), reference: None,", "temperature: (kT: 0.5), reference: None,"]
    {
        assert_eq!(numbers(1, more), numbers(3, more), "{more}");
    }
}

/// Of untrained states the means are known: the energies of the configuration interaction. Intervals of 95 per cent cover them as
/// often as they say, by Student's distribution.
#[test]
fn error_bars_cover_what_they_should() {
    const SEEDS: u64 = 50;
    // Of fifteen degrees of freedom.
    const QUANTILE: f64 = 2.131;
    let spec = spec(SOFT, "(up: 1, down: 1)", "");
    let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
    let WavefunctionSettings::Weyl(weyl) = &spec.wavefunction else { unreachable!() };
    let gibbs = GibbsStates::new(weyl, spec.sector, system, 0.3).unwrap();
    let lowest = LowestStates::new(weyl, spec.sector, system, &[0.5, 0.5]).unwrap();
    let exact = weylflow::exact::thermal::Functions::of(&gibbs.energies, 0.3);
    let mut covered = [0; 4];
    for seed in 0..SEEDS {
        let schedule = Schedule { seed, final_samples: 4096, ..spec.schedule() };
        let go = || std::ops::ControlFlow::Continue(());
        let t = free_energy::estimate(&gibbs, system, &schedule, 10, go).unwrap();
        let s = spectrum::estimate(&lowest, system, &schedule, 10, go).unwrap();
        // Rounding of the sums is no error of sampling.
        let inside = |(value, error): (f64, f64), exact: f64| {
            usize::from((value - exact).abs() < QUANTILE * error + 1e-9)
        };
        covered[0] += inside(t.free_energy, exact.free_energy);
        covered[1] += inside(t.heat_capacity, exact.heat_capacity);
        covered[2] += inside(s.energies[0], lowest.energies[0]);
        covered[3] += inside(s.energies[1], lowest.energies[1]);
    }
    for count in covered {
        assert!((44..=50).contains(&count), "{covered:?} of {SEEDS}");
    }
}

/// Value and standard error of a number in `observables.json`.
fn quantity(observables: &serde_json::Value, name: &str) -> (f64, f64) {
    let measurements = observables["measurements"].as_array().unwrap();
    let mut all = measurements.iter().flat_map(|m| m["quantities"].as_array().unwrap());
    let q = all.find(|q| q["name"] == name).unwrap_or_else(|| panic!("{name}: {observables}"));
    (q["values"][0].as_f64().unwrap(), q["errors"][0].as_f64().unwrap())
}

/// Every state that a run leaves is a wavefunction with the energy that the run found for it; what is none is refused by name.
#[test]
fn each_state_is_measured_sampled_and_evaluated() {
    use common::{fails, read, succeeds};
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let write = |more: &str| std::fs::write(folder.join("spec.ron"), text(SOFT, "(up: 2)", more));
    write("states: (count: 3), reference: None,").unwrap();
    succeeds(folder, &["run", "spec.ron", "--quiet", "--out", "out"]);
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_str(&read(folder.join(name))).unwrap()
    };
    let run = json("out/summary.json");
    for state in ["0", "2"] {
        let out = format!("m{state}");
        let what = ["--what", "energy,position", "--samples", "4096", "--quiet", "--no-exact"];
        let of = ["measure", "out", "--state", state, "--out", &out];
        succeeds(folder, &[&of[..], &what].concat());
        let found = json(&format!("{out}/observables.json"));
        let of = |name: &str| quantity(&found, name);
        let (energy, error) = of("energy");
        let expected = &run["states"][state.parse::<usize>().unwrap()];
        let off = energy - expected["energy"].as_f64().unwrap();
        let error = error.hypot(expected["standard_error"].as_f64().unwrap());
        assert!(off.abs() < 5.0 * error + 1e-6, "{state}: {off:e} of {error:e}");
    }
    succeeds(folder, &["sample", "out", "--state", "1", "-n", "8", "--out", "x.npz"]);
    fails(folder, &["sample", "out", "-n", "8", "--out", "y.npz"], "from 0 to 2");
    fails(folder, &["measure", "out", "--state", "3", "--out", "m"], "from 0 to 2");
    fails(folder, &["measure", "out", "--state", "1"], "--out");
    fails(folder, &["project", "out"], "several states");
    write("temperature: (kT: 0.3), reference: None,").unwrap();
    succeeds(folder, &["run", "spec.ron", "--quiet", "--out", "hot"]);
    for command in ["measure", "sample", "project"] {
        let with: &[&str] = match command {
            "sample" => &["sample", "hot", "-n", "8", "--out", "y.npz"],
            _ => &[command, "hot"],
        };
        fails(folder, with, "a temperature");
    }
}

/// Averages over an ensemble are those of its closed form: of free fermions in a trap the virial theorem gives `<sum x²> = E`, at
/// every temperature of a sweep.
#[test]
fn thermal_averages_are_measured() {
    use common::{fails, read, succeeds};
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let sweep = "temperature: (kT: Range(from: 0.4, to: 1, points: 2)), reference: None,";
    std::fs::write(folder.join("spec.ron"), text("None", "(up: 2)", sweep)).unwrap();
    succeeds(folder, &["run", "spec.ron", "--quiet", "--out", "hot"]);
    fails(folder, &["measure", "hot", "--out", "m"], "trained are kT = 0.4, 1 Ha");
    fails(folder, &["measure", "hot", "--out", "m", "--temperature", "2"], "none of the sweep");
    fails(folder, &["measure", "hot", "--temperature", "1"], "--out");
    for (kt, out) in [("0.4", "cold"), ("1", "warm")] {
        let what = ["--what", "energy,position,density", "--samples", "32768", "--quiet"];
        let of = ["measure", "hot", "--temperature", kt, "--out", out];
        succeeds(folder, &[&of[..], &what].concat());
        let text = read(folder.join(out).join("observables.json"));
        let found: serde_json::Value = serde_json::from_str(&text).unwrap();
        let of = |name: &str| quantity(&found, name);
        // The levels of two equal fermions are those of the modes 1 and 2 above 2.
        let x = 1.0 / kt.parse::<f64>().unwrap();
        let exact = 2.0 + 1.0 / x.exp_m1() + 2.0 / (2.0 * x).exp_m1();
        let (energy, error) = of("energy");
        assert!((energy - exact).abs() < 4.0 * error + 1e-5, "{kt}: {energy} ± {error} {exact}");
        let (square, error) = of("mean_square_position_up");
        assert!((2.0 * square - exact).abs() < 8.0 * error, "{kt}: {square} ± {error} {exact}");
        assert!(error < 0.03 * exact);
    }
}

/// On a ring there are levels of plus and minus the same momentum: exactly degenerate, and both found.
#[test]
fn rings_have_states_and_temperatures() {
    let on_ring = |sector: &str, more: &str| {
        let ring = text(SOFT, sector, more)
            .replace("Harmonic(frequency: 1)", "Free")
            .replace("geometry: Line", "geometry: Ring(circumference: 6)");
        let spec = weylflow::spec::read::parse(&ring, "ring.ron".as_ref()).unwrap();
        EnsembleRun::new(spec).unwrap().estimate(()).unwrap()
    };
    for (sector, pair) in [("(up: 1, down: 1)", (1, 2)), ("(up: 3)", (1, 2))] {
        let outcome = on_ring(sector, "states: (count: 4),");
        let states = &outcome.summary.states;
        for (k, state) in states.iter().enumerate() {
            let off = state.energy - state.reference.as_ref().unwrap().energy;
            assert!(off.abs() < 1e-5 + 4.0 * state.standard_error, "{sector} {k}: {off:e}");
            assert!(state.standard_error < 1e-4);
        }
        let gap = states[pair.1].energy - states[pair.0].energy;
        assert!(gap.abs() < 1e-4, "{sector}: {gap:e}");
        assert!(outcome.summary.transitions.is_empty() && outcome.summary.dipoles.is_empty());
        assert!(outcome.summary.checks.iter().all(|c| c.passed), "{:?}", outcome.summary.checks);
    }
    let outcome = on_ring("(up: 1, down: 1)", "temperature: (kT: 0.5),");
    let t = outcome.summary.thermal.as_ref().unwrap();
    for (m, least) in [(&t.free_energy, 1e-5), (&t.energy, 1e-4), (&t.entropy, 1e-4)] {
        let off = m.value - m.reference.unwrap();
        assert!(off.abs() < least + 4.0 * m.standard_error, "{off:e} ± {:e}", m.standard_error);
    }
}

/// States, and a temperature, that start from the parameters of others where these are better.
#[test]
fn a_training_starts_from_another() {
    let wavefunction = "wavefunction: Weyl(layers: [Pair, PairInverse]), reference: None,";
    for more in ["states: (count: 2),", "temperature: (kT: 0.2),"] {
        let core = "Gaussian(strength: 5, width: 0.1)";
        let spec = ResolvedSpec {
            iterations: 4,
            samples_per_iteration: 2048,
            final_samples: 256,
            ..spec(core, "(up: 1, down: 1)", &format!("{wavefunction} {more}"))
        };
        let trained = EnsembleRun::new(spec.clone()).unwrap().estimate(()).unwrap();
        let untrained = ResolvedSpec { iterations: 0, ..spec };
        let values = |from: Option<&SavedWavefunction>| {
            let mut run = EnsembleRun::new(untrained.clone()).unwrap();
            assert!(from.is_none_or(|from| run.start_from(from)));
            run.estimate(()).unwrap().summary.values
        };
        assert_eq!(values(Some(&trained.saved)), trained.saved.parameters, "{more}");
        assert!(values(None).iter().all(|v| *v == 0.0));
        // What is worse is left alone, and what means something else does not fit.
        let mut worse = trained.saved.clone();
        worse.parameters.iter_mut().enumerate().for_each(|(i, v)| *v = 6.0 * (i as f64).sin());
        assert!(values(Some(&worse)).iter().all(|v| *v == 0.0), "{more}");
        let mut other = trained.saved.clone();
        other.spec.sector = weylflow::Sector::new(2, 0);
        assert!(!EnsembleRun::new(untrained.clone()).unwrap().start_from(&other));
    }
}
