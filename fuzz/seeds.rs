//! Seeds of the fuzz targets, made by the program as it is: those of an older format would not get past the first check.

use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use weylflow::spec::{read::parse, write::to_ron};
use weylflow::store::checkpoint::Checkpoint;
use weylflow::store::energy::format_table;
use weylflow::store::npz;
use weylflow::store::npz::Array;
use weylflow::store::record::IterationRow;
use weylflow::store::saved::SavedWavefunction;
use weylflow::system::System;
use weylflow::train::{self, TrainingState};
use weylflow::work::{self, Work};

/// A seed: the target, a name, the bytes.
pub type Seed = (&'static str, &'static str, Vec<u8>);

/// Small runs that differ in what their files hold.
const SPECS: [(&str, &str); 4] = [
    (
        "refined",
        r#"(title: "refined", hamiltonian: Inline(external: Harmonic(), interaction: SoftCoulomb()), sector: (up: 2),
        geometry: Line, wavefunction: Weyl(layers: [Pair], pair_cells: 4), samples_per_iteration: 64, iterations: 2,
        final_samples: 64, refinements: 1, reference: None)"#,
    ),
    (
        "waveflow",
        r#"(title: "two \u{e9} \\", hamiltonian: Inline(title: "h", external: Sum([Formula("x^2/2"), Lattice(depth: 1, period: 2)]),
        interaction: Gaussian(strength: 1, width: 0.5)), sector: (up: 1, down: 1), geometry: Box(half_width: 6),
        wavefunction: Waveflow(coordinate: Position, knots: 6, prior_knots: 6, hidden: [3]), optimiser: Adam(),
        samples_per_iteration: 64, iterations: 3, final_samples: 64, sampling: Random, faults: Skip(share: 0.4),
        stopping: Never, seed: 18446744073709551615, reference: Literal(energy: 1.5, source: "a book"))"#,
    ),
    (
        "ring",
        r#"(title: "ring", hamiltonian: Inline(external: Free, interaction: Dipolar(strength: 1, softening: 1)),
        sector: (up: 1), geometry: Ring(circumference: 6), wavefunction: Weyl(layers: [], base: FreeFermions),
        optimiser: StochasticReconfiguration(momentum: 0.9), samples_per_iteration: 64, iterations: 1, final_samples: 64,
        faults: Stop)"#,
    ),
    (
        "untrained",
        r#"(title: "untrained", hamiltonian: Inline(external: Nuclei(charges: [1], positions: [0.5]), interaction: None),
        sector: (up: 0, down: 1), geometry: Box(half_width: 8), wavefunction: Weyl(layers: [Monotone], monotone_cells: 4),
        optimiser: Lbfgs(), samples_per_iteration: 64, iterations: 0, final_samples: 64)"#,
    ),
];

/// All seeds that the program makes.
///
/// # Errors
/// Whatever keeps it from making them.
pub fn seeds() -> Result<Vec<Seed>, Box<dyn Error>> {
    let mut seeds: Vec<Seed> = Vec::new();
    for (name, text) in SPECS {
        let spec = parse(text, Path::new(name))?;
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let mut psi = spec.wavefunction.build(spec.sector, system, spec.seed)?;
        let mut optimiser = spec.optimiser.build();
        let mut state = TrainingState::new(psi.parameters(), optimiser.as_ref());
        let mut checkpoint = Checkpoint {
            spec: spec.clone(),
            done: Vec::new(),
            training: state.clone(),
            energy: format_table(&[]),
            seconds: Vec::new(),
            cpu_seconds: 0.0,
            work: Work::NONE,
            finished: false,
        };
        let mut rows = Vec::new();
        work::start_from(Work::NONE);
        train::train_from(
            psi.as_mut(),
            system,
            optimiser.as_mut(),
            &spec.schedule(),
            &mut state,
            |report, _| {
                rows.push(IterationRow {
                    iteration: report.iteration,
                    energy: report.energy.mean(),
                    standard_error: report.energy.standard_error(),
                    variance: report.energy.variance(),
                    gradient_norm: report.gradient_norm,
                    step_norm: report.step_norm,
                    tau: report.tau,
                    seconds: 0.5,
                });
                ControlFlow::Continue(())
            },
        )?;
        checkpoint.update(&state, &rows, 1.5, work::so_far());
        let whole = checkpoint.to_bytes()?;
        let header = whole.iter().position(|&b| b == b'\n').map_or(0, |end| end + 1);
        // The target makes the header itself.
        seeds.push(("checkpoint", name, whole[header..].to_vec()));
        let saved = SavedWavefunction::new(&spec, psi.as_ref(), state.refinements());
        seeds.push(("saved", name, saved.to_json()?.into_bytes()));
        seeds.push(("spec", name, to_ron(&spec)?.into_bytes()));
    }
    let arrays = [
        Array::new("x", vec![2, 2], vec![0.5, -1.5, f64::NAN, f64::INFINITY]),
        Array::new("number", vec![], vec![1.0]),
    ];
    seeds.push(("npz", "arrays", npz::to_bytes(&arrays)?));
    Ok(seeds)
}
