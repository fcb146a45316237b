//! The systems that the benches measure, and a clock that other work on the machine hardly disturbs.
#![allow(dead_code)]

use cpu_time::ProcessTime;
use weylflow::local_energy::{self, Batch, BatchId, Derivatives};
use weylflow::optimise::{
    Landscape, OptimiserSettings, Pace, Step, StochasticReconfigurationSettings,
};
use weylflow::sampling::{Purpose, Sampling};
use weylflow::system::{External, Geometry, Hamiltonian, Interaction, Sector, System};
use weylflow::wavefunction::waveflow::WaveflowSettings;
use weylflow::wavefunction::weyl::WeylSettings;
use weylflow::wavefunction::weyl::base::BaseSettings;
use weylflow::wavefunction::weyl::base::mean_field::{MeanFieldSettings, Orbitals};
use weylflow::wavefunction::{Evaluator, Wavefunction, WavefunctionSettings};

/// Particle numbers of the scaling benches.
pub const SIZES: [usize; 7] = [1, 2, 3, 4, 8, 16, 32];

/// A wavefunction with the system it belongs to.
pub struct Case {
    pub hamiltonian: Hamiltonian,
    pub geometry: Geometry,
    pub psi: Box<dyn Wavefunction>,
}

impl Case {
    fn new(
        settings: WavefunctionSettings,
        hamiltonian: Hamiltonian,
        geometry: Geometry,
        sector: Sector,
    ) -> Self {
        let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
        let mut settings = settings;
        settings.complete(sector, system);
        let mut psi = settings.build(sector, system, 1).expect("the settings are valid");
        // Away from the symmetric start, where layers are the identity.
        let mut state = 1u64;
        let shaken: Vec<f64> = psi
            .parameters()
            .iter()
            .map(|p| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                p + 0.02 * ((state >> 11) as f64 / (1u64 << 53) as f64 - 0.5)
            })
            .collect();
        psi.set_parameters(&shaken).expect("as many as there were");
        Case { hamiltonian, geometry, psi }
    }

    pub fn system(&self) -> System<'_> {
        System { hamiltonian: &self.hamiltonian, geometry: &self.geometry }
    }

    pub fn particles(&self) -> usize {
        self.psi.sector().particles()
    }

    /// A batch of exact samples; the same number gives the same ones.
    pub fn batch(&self, samples: usize, number: u64, derivatives: Derivatives) -> Batch {
        let id = BatchId {
            sampling: Sampling::QuasiRandom,
            seed: 7,
            purpose: Purpose::Training,
            number,
            first: 0,
            tails: 0.0,
        };
        local_energy::draw(&*self.psi, self.system(), id, samples, derivatives)
    }

    /// Local energies at given configurations.
    pub fn at(&self, x: &[f64]) -> Batch {
        local_energy::at(&*self.psi, self.system(), x, Derivatives::None)
    }

    /// A whole training step: samples with derivatives, the optimiser, and the trial of the first of its steps.
    pub fn step(&mut self, optimiser: &OptimiserSettings, samples: usize) -> Step {
        let mut optimiser = optimiser.build();
        let batch = self.batch(samples, 0, optimiser.derivatives());
        let pace = Pace { progress: 0.0, caution: 1.0 };
        let mut steps = optimiser.steps(&batch, pace, &mut Nowhere).expect("it has a solution");
        let step = steps.swap_remove(0);
        let start = self.psi.parameters().to_vec();
        let moved: Vec<f64> = start.iter().zip(&step.change).map(|(p, c)| p + c).collect();
        self.psi.set_parameters(&moved).expect("as many as there were");
        let trial = self.batch(samples, 1, Derivatives::None);
        assert!(trial.local_energy.iter().all(|e| e.is_finite()));
        self.psi.set_parameters(&start).expect("as many as there were");
        step
    }
}

/// For optimisers that do not ask for other parameters.
struct Nowhere;

impl Landscape for Nowhere {
    fn at(&mut self, _parameters: &[f64]) -> Option<Batch> {
        None
    }
}

fn helium_hamiltonian() -> Hamiltonian {
    Hamiltonian {
        title: String::new(),
        external: External::Nuclei { charges: vec![2.0], positions: vec![0.0], softening: 1.0 },
        interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 },
    }
}

/// Waveflow with the published network: 3 layers, degree 6, 23 knots, hidden 64-64; `n` equal spins of helium.
pub fn waveflow(n: usize) -> Case {
    let settings = WaveflowSettings {
        layers: 3,
        degree: 6,
        knots: 23,
        prior_knots: 23,
        hidden: vec![64, 64],
        ..Default::default()
    };
    Case::new(
        WavefunctionSettings::Waveflow(settings),
        helium_hamiltonian(),
        Geometry::Box { half_width: 10.0 },
        Sector::new(n, 0),
    )
}

/// Waveflow with its defaults; `n` equal spins of helium.
pub fn waveflow_default(n: usize) -> Case {
    Case::new(
        WavefunctionSettings::Waveflow(WaveflowSettings::default()),
        helium_hamiltonian(),
        Geometry::Box { half_width: 10.0 },
        Sector::new(n, 0),
    )
}

/// The Weyl flow with its defaults for helium: one electron of each spin.
pub fn weyl_helium() -> Case {
    Case::new(
        WavefunctionSettings::Weyl(WeylSettings::default()),
        helium_hamiltonian(),
        Geometry::Box { half_width: 15.0 },
        Sector::new(1, 1),
    )
}

/// The Weyl flow with its defaults, but always with one determinant: what grows with `n` is the flow.
fn one_determinant(orbitals: Orbitals) -> WavefunctionSettings {
    let base = BaseSettings::MeanField(MeanFieldSettings { orbitals });
    WavefunctionSettings::Weyl(WeylSettings { base, ..WeylSettings::default() })
}

/// The Weyl flow with its defaults for `n` equal spins in a harmonic trap: pair layers.
pub fn weyl_trap(n: usize) -> Case {
    Case::new(
        one_determinant(Orbitals::NonInteracting),
        Hamiltonian {
            title: String::new(),
            external: External::Harmonic { frequency: 1.0 },
            interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 },
        },
        Geometry::Line,
        Sector::new(n, 0),
    )
}

/// The same with its default base, for any spins.
pub fn weyl_trap_default(up: usize, down: usize) -> Case {
    Case::new(
        WavefunctionSettings::Weyl(WeylSettings::default()),
        Hamiltonian {
            title: String::new(),
            external: External::Harmonic { frequency: 1.0 },
            interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 },
        },
        Geometry::Line,
        Sector::new(up, down),
    )
}

/// The Weyl flow with its defaults for `n` equal spins between walls: all kinds of layers.
pub fn weyl_box(n: usize) -> Case {
    Case::new(
        one_determinant(Orbitals::HartreeFock),
        Hamiltonian {
            title: String::new(),
            external: External::Free,
            interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 },
        },
        Geometry::Box { half_width: 1.5 * n as f64 + 3.0 },
        Sector::new(n, 0),
    )
}

/// Stochastic reconfiguration as it comes.
pub fn stochastic_reconfiguration() -> OptimiserSettings {
    OptimiserSettings::StochasticReconfiguration(StochasticReconfigurationSettings::default())
}

/// CPU seconds of one exact sample, eight at a time, and nothing else.
pub fn per_sample(case: &Case, samples: usize) -> f64 {
    let uniforms = uniforms(case, samples);
    let mut x = vec![0.0; samples * case.particles()];
    let mut evaluator = case.psi.evaluator();
    seconds(|| drawn(case, &mut *evaluator, &uniforms, &mut x)) / samples as f64
}

/// The same of many samples, tables included: the parameters are new every time.
pub fn per_sample_of_many(case: &mut Case, samples: usize) -> f64 {
    let uniforms = uniforms(case, samples);
    let mut x = vec![0.0; samples * case.particles()];
    let parameters = case.psi.parameters().to_vec();
    seconds(|| {
        case.psi.set_parameters(&parameters).expect("as many as there were");
        drawn(case, &mut *case.psi.evaluator_for(samples), &uniforms, &mut x);
    }) / samples as f64
}

/// Draws eight samples at a time.
fn drawn(case: &Case, evaluator: &mut dyn Evaluator, uniforms: &[f64], x: &mut [f64]) {
    let (u, n) = (8 * case.psi.uniforms(), 8 * case.particles());
    for (x, uniforms) in x.chunks_mut(n).zip(uniforms.chunks(u)) {
        evaluator.sample(uniforms, x);
    }
}

/// Spread evenly, with no special ones among them.
fn uniforms(case: &Case, samples: usize) -> Vec<f64> {
    let point =
        |i: usize| (0.5 + 0.618_033_988_749_894_9 * i as f64).fract().clamp(1e-6, 1.0 - 1e-6);
    (0..samples * case.psi.uniforms()).map(point).collect()
}

/// CPU seconds of the process that one call takes: the least of several runs of about 20 ms each.
pub fn seconds(mut call: impl FnMut()) -> f64 {
    let run = |times: usize, call: &mut dyn FnMut()| {
        let start = ProcessTime::now();
        (0..times).for_each(|_| call());
        start.elapsed().as_secs_f64()
    };
    call();
    let once = run(1, &mut call).max(1e-9);
    let times = ((0.02 / once) as usize).clamp(1, 1_000_000);
    let repeats = if once > 0.02 { 3 } else { 9 };
    (0..repeats).map(|_| run(times, &mut call) / times as f64).fold(f64::INFINITY, f64::min)
}

/// CPU seconds per local energy over a batch of exact samples.
pub fn per_local_energy(case: &Case, samples: usize) -> f64 {
    let x = case.batch(samples, 0, Derivatives::None).x;
    seconds(|| {
        std::hint::black_box(case.at(&x));
    }) / samples as f64
}

/// The same of many configurations, tables included: the parameters are new every time.
pub fn per_local_energy_of_many(case: &mut Case, samples: usize) -> f64 {
    let x = case.batch(samples, 0, Derivatives::None).x;
    let parameters = case.psi.parameters().to_vec();
    seconds(|| {
        case.psi.set_parameters(&parameters).expect("as many as there were");
        std::hint::black_box(case.at(&x));
    }) / samples as f64
}

/// Peak resident memory of the process so far, in MiB (Linux; zero elsewhere).
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib / 1024)
}
