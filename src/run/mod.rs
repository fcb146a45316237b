//! A run from its spec to its outcome, as library calls: [`Run::new`], [`Run::train`], [`Trained::estimate`].
//!
//! The same in a folder, with checkpoints and all files, is [`Run::in_folder`].
//!
//! ```
//! use weylflow::run::{Run, RunError};
//!
//! let spec = weylflow::spec::read::parse(r#"(
//!     title: "two fermions in a trap",
//!     hamiltonian: Inline(external: Harmonic(frequency: 1), interaction: SoftCoulomb(strength: 1)),
//!     sector: (up: 2, down: 0), geometry: Line,
//!     iterations: 4, samples_per_iteration: 512, final_samples: 4096,
//! )"#, "trap.ron".as_ref())?;
//! let outcome = Run::new(spec)?.train(())?.estimate()?;
//! let exact = outcome.summary.reference.as_ref().unwrap().energy;
//! assert!((outcome.energy() - exact).abs() < 1e-4);
//! println!("{} ± {} Ha", outcome.energy(), outcome.standard_error());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod clocks;
mod ensemble;
mod folder;
mod observer;
mod reference;
mod resume;
mod state;

pub use ensemble::{EnsembleEnded, EnsembleOutcome, EnsembleRun, is_of_several};
pub use folder::{Ended, InFolder, written_into};
pub use observer::{Event, Observer, each_iteration};
pub use reference::{Task, solve_until, thermal_until};
pub use state::{Samples, State, StateError};

use crate::estimate::{self, Evidence, GroundStateEstimate, Verdict, judge, rayleigh_quotient};
use crate::exact::{Density, PairDensity};
use crate::local_energy::{self, Batch, BatchId, Derivatives, Fault};
use crate::math::statistics::Moments;
use crate::objective::ground_state;
use crate::optimise::Optimiser;
use crate::report::escape::one_line;
use crate::report::number::counted;
use crate::report::verdict;
use crate::sampling::{Purpose, Sampling};
use crate::spec::validate::{self, Violation};
use crate::spec::{ResolvedSpec, write};
use crate::store::checkpoint::{CheckpointError, Done};
use crate::store::files::FileError;
use crate::store::record::{DensityProfile, ErrorBar, Health, IterationRow, Sampled, Summary};
use crate::store::saved::{SavedError, SavedWavefunction};
use crate::system::System;
use crate::team;
use crate::train::{self, IterationReport, TrainError, TrainingState};
use crate::wavefunction::weyl::WeylSettings;
use crate::wavefunction::{Wavefunction, WavefunctionError, WavefunctionSettings};
use crate::work::{self, Work};
use clocks::Clocks;
use reference::Beside;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Bins of the one-body density.
const DENSITY_BINS: usize = 100;

/// Why a run has no outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The spec breaks a bound.
    #[error(transparent)]
    Spec(#[from] Violation),
    /// The spec is valid, and what it asks for cannot be trained.
    #[error("{0}")]
    Untrainable(Violation),
    /// The wavefunction cannot be built.
    #[error(transparent)]
    Wavefunction(#[from] WavefunctionError),
    /// The training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The observer ended the run; where it has a folder, the state is in this checkpoint.
    #[error("interrupted")]
    Interrupted {
        /// The file to go on from.
        checkpoint: Option<PathBuf>,
    },
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The checkpoint cannot be used; how many iterations the intact one before it has.
    #[error("{error}")]
    Checkpoint {
        /// What is wrong.
        error: CheckpointError,
        /// Iterations of the checkpoint before, where that one is intact.
        before: Option<usize>,
    },
    /// The run in the folder cannot go on so.
    #[error("{0}")]
    Resume(String),
    /// The run that was to replace the results in a folder failed: they are still there.
    #[error("{error}")]
    Untouched {
        /// What went wrong.
        error: Box<RunError>,
        /// The folder with the earlier results.
        folder: PathBuf,
        /// Where the new run is, if there is anything of it.
        new: Option<PathBuf>,
    },
    /// The wavefunction cannot be saved.
    #[error(transparent)]
    Saved(#[from] SavedError),
    /// States or temperatures in one of several processes.
    #[error("states and temperatures run in one process")]
    Processes,
    /// States or a temperature that cannot be had.
    #[error("{0}")]
    Ensemble(String),
    /// A thread or a stream.
    #[error(transparent)]
    System(#[from] std::io::Error),
    /// The spec cannot be written as RON.
    #[error(transparent)]
    Write(#[from] ron::Error),
}

/// A run that has not begun.
pub struct Run {
    spec: ResolvedSpec,
    spec_text: String,
    choices: Vec<String>,
    psi: Box<dyn Wavefunction>,
    optimiser: Box<dyn Optimiser>,
    clocks: Clocks,
    /// The parameters come from elsewhere: see [`Run::held`].
    held: bool,
}

/// How far a training has come, and what that took.
#[derive(Clone, Debug)]
struct Course {
    /// Trainings of a sweep that have ended.
    done: Vec<Done>,
    training: TrainingState,
    rows: Vec<IterationRow>,
    /// Work of the iterations. What is done after the last one is done again by a run that goes on from there, and
    /// counted then.
    work: Work,
    /// Wall and processor seconds of the processes before this one.
    before: (f64, f64),
}

/// What is kept of each iteration: its faults, where the run stands, and whether the observer ends it there.
type Keep<'a> = dyn FnMut(&[Fault], &Course, &TrainingState, bool) -> Result<(), RunError> + 'a;

impl Run {
    /// Checks a spec and builds its wavefunction, with the base that suits the system.
    ///
    /// # Errors
    /// [`RunError`]: a spec that breaks a bound, a system without a ground state, a wavefunction that does not exist.
    pub fn new(spec: ResolvedSpec) -> Result<Self, RunError> {
        let clocks = Clocks::start();
        spec.validate()?;
        if is_of_several(&spec) {
            return Err(RunError::Ensemble(
                "the spec asks for states or a temperature, which `weylflow run` computes and nothing else does"
                    .to_owned(),
            ));
        }
        validate::trainable(&spec.hamiltonian, spec.sector).map_err(RunError::Untrainable)?;
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let mut settled = spec.clone();
        let (choices, psi) =
            settled.wavefunction.settle_and_build(spec.sector, system, spec.seed)?;
        let optimiser = settled.optimiser.minimising(settled.objective);
        let spec_text = write::to_ron(&settled)?;
        Ok(Run { spec: settled, spec_text, choices, psi, optimiser, clocks, held: false })
    }

    /// A run that trains nothing: it estimates and judges the state with these parameters. `built` is the wavefunction of the
    /// spec, where it is there already.
    ///
    /// # Errors
    /// As [`Run::new`], and [`WavefunctionError::Parameters`].
    pub fn held(
        spec: ResolvedSpec,
        built: Option<Box<dyn Wavefunction>>,
        refinements: usize,
        parameters: &[f64],
    ) -> Result<Self, RunError> {
        let clocks = Clocks::start();
        let spec = ResolvedSpec { iterations: 0, ..spec };
        let mut run = match built {
            Some(psi) => {
                spec.validate()?;
                let spec_text = write::to_ron(&spec)?;
                let optimiser = spec.optimiser.minimising(spec.objective);
                Run { spec, spec_text, choices: Vec::new(), psi, optimiser, clocks, held: true }
            }
            None => Run { held: true, clocks, ..Run::new(spec)? },
        };
        (0..refinements).for_each(|_| run.psi.refine());
        run.psi.set_parameters(parameters)?;
        Ok(run)
    }

    /// The spec with everything that was chosen for the system written out.
    pub fn spec(&self) -> &ResolvedSpec {
        &self.spec
    }

    /// Variance of the local energy of the state as it stands, in units of its kinetic energy squared, on a few samples.
    pub fn relative_variance(&self) -> f64 {
        let ResolvedSpec { hamiltonian, geometry, seed, .. } = &self.spec;
        relative_variance(self.psi.as_ref(), System { hamiltonian, geometry }, *seed)
    }

    /// Starts from the trained parameters of another run where they fit and are better than its own start: of lower energy with
    /// two error bars of doubt, on samples from the same uniforms. Says whether it does.
    ///
    /// # Errors
    /// [`RunError::Wavefunction`], which parameters that fit have no way to cause.
    pub fn start_from(&mut self, other: &SavedWavefunction) -> Result<bool, RunError> {
        let spec = &self.spec;
        let own = self.psi.parameters().to_vec();
        let fits = other.spec.sector == spec.sector
            && other.refinements == 0
            && other.parameters.len() == own.len()
            && same_layers(&other.spec.wavefunction, &spec.wavefunction);
        if !fits {
            return Ok(false);
        }
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let id = BatchId {
            sampling: spec.sampling,
            seed: spec.seed,
            purpose: Purpose::Selection,
            number: START_BATCH,
            first: 0,
            tails: 0.0,
        };
        if let Some(team) = team::current() {
            team.begin(&self.spec_text);
        }
        let samples = spec.samples_per_iteration;
        let score = |psi: &dyn Wavefunction| {
            let batch = local_energy::draw(psi, system, id, samples, Derivatives::None);
            let energy = Moments::of(&batch.local_energy);
            match batch.rejected {
                0 => energy.mean() + 2.0 * energy.standard_error(),
                _ => f64::INFINITY,
            }
        };
        let here = score(self.psi.as_ref());
        self.psi.set_parameters(&other.parameters)?;
        // Not a number is not better.
        let better = score(self.psi.as_ref()) < here;
        if !better {
            self.psi.set_parameters(&own)?;
        }
        Ok(better)
    }

    /// Trains, in memory.
    ///
    /// # Errors
    /// [`RunError`]: training that diverges, an observer that ends it.
    pub fn train<O: Observer>(self, observer: O) -> Result<Trained<O>, RunError> {
        let course = Course {
            done: Vec::new(),
            training: TrainingState::new(self.psi.parameters(), self.optimiser.as_ref()),
            rows: Vec::new(),
            work: Work::NONE,
            before: (0.0, 0.0),
        };
        self.train_from(course, observer, &mut |_, _, _, _| Ok(()))
    }

    fn train_from<O: Observer>(
        mut self,
        mut course: Course,
        mut observer: O,
        keep: &mut Keep,
    ) -> Result<Trained<O>, RunError> {
        let spec = &self.spec;
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        if let Some(team) = team::current() {
            team.begin(&self.spec_text);
        }
        observer.hear(Event::Message(&format!(
            "{}: {}, {} of {} samples",
            one_line(&spec.title),
            counted(self.psi.parameters().len(), "parameter"),
            counted(spec.iterations, "iteration"),
            spec.samples_per_iteration
        )));
        // Neither the training nor the solver keeps all threads busy by itself.
        let exact = match rayon::current_num_threads() {
            1 => None,
            _ => Beside::begin(spec)?,
        };
        let schedule = spec.schedule();
        let mut failed = None;
        let mut state = course.training.clone();
        work::start_from(course.work);
        let ended = train::train_from(
            self.psi.as_mut(),
            system,
            self.optimiser.as_mut(),
            &schedule,
            &mut state,
            |report, state| {
                let row = row(report, course.before.0 + self.clocks.wall());
                observer.hear(Event::Iteration(&row, spec.iterations));
                course.rows.push(row);
                course.work = work::so_far();
                let stops = observer.stops();
                match keep(&report.faults, &course, state, stops) {
                    Ok(()) if !stops => return ControlFlow::Continue(()),
                    Ok(()) => {}
                    Err(error) => failed = Some(error),
                }
                ControlFlow::Break(())
            },
        )?;
        observer.hear(Event::Trained);
        course.training = state;
        match (failed, ended) {
            (Some(error), _) => Err(error),
            (None, None) => Err(RunError::Interrupted { checkpoint: None }),
            (None, Some(ended)) => Ok(Trained { run: self, course, ended, exact, observer }),
        }
    }
}

/// A run whose training has ended.
pub struct Trained<O> {
    run: Run,
    course: Course,
    ended: train::Trained,
    /// The solver of the reference, where it has begun.
    exact: Option<Beside>,
    observer: O,
}

impl<O: Observer> Trained<O> {
    /// The trained state.
    pub fn wavefunction(&self) -> &dyn Wavefunction {
        self.run.psi.as_ref()
    }

    /// The iterations.
    pub fn rows(&self) -> &[IterationRow] {
        &self.course.rows
    }

    /// Estimates on fresh samples, compares with the exact energy where the spec asks for that, and judges.
    ///
    /// # Errors
    /// [`RunError`]: an observer that ends it, a wavefunction whose parameters are not finite.
    pub fn estimate(self) -> Result<Outcome, RunError> {
        let Trained { run, course, ended, exact, mut observer } = self;
        let Run { spec, psi, clocks, .. } = run;
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let schedule = spec.schedule();
        let (sets, samples) = schedule.final_sets();
        observer.hear(Event::Message(&match spec.sampling {
            Sampling::QuasiRandom => {
                format!("estimating on {sets} scramblings of {samples} fresh samples")
            }
            Sampling::Random => format!("estimating on {samples} fresh samples"),
        }));
        let watch = |seen: Option<(usize, &Batch)>| {
            if let Some((set, batch)) = seen {
                observer.hear(Event::Samples(set, batch));
            }
            match observer.stops() {
                false => ControlFlow::Continue(()),
                true => ControlFlow::Break(()),
            }
        };
        let estimate =
            estimate::estimate_until(psi.as_ref(), system, &schedule, DENSITY_BINS, watch)
                .ok_or(RunError::Interrupted { checkpoint: None })?;
        let sampled = Sampled {
            energy: estimate.energy.mean(),
            standard_error: estimate.energy.standard_error(),
        };
        let known = psi.quotient().filter(|q| q.energy_error <= sampled.standard_error);
        let (energy, standard_error) =
            known.map_or((sampled.energy, sampled.standard_error), |q| (q.energy, q.energy_error));
        // What follows are checks of the result, no part of it.
        let work = work::so_far();
        let (reference, exact, no_reference) =
            match reference::reference(&spec, energy, exact, &mut observer)? {
                Ok((reference, ground)) => (Some(reference), ground, None),
                Err(why) => (None, None, why),
            };
        let (reference_density, reference_pairs) =
            exact.map_or((None, None), |g| (Some(g.density), g.pair_density));
        let saved = SavedWavefunction::new(&spec, psi.as_ref(), course.training.refinements());
        let quadrature = rayleigh_quotient(psi.as_ref(), system);
        let (left, right) = psi.interval(&spec.geometry);
        let repulsion = spec.hamiltonian.nuclear_repulsion();
        let mut summary = Summary {
            title: spec.title.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fingerprint: Some(saved.fingerprint()?),
            energy,
            standard_error,
            sampled: known.map(|_| sampled),
            error_bar: ErrorBar::of(&estimate.energy),
            variance: estimate.energy.variance(),
            v_score: spec.sector.particles() as f64 * estimate.energy.variance() / energy.powi(2),
            nuclear_repulsion: repulsion,
            total_energy: energy + repulsion,
            samples: estimate.energy.count(),
            parameters: psi.parameters().len(),
            iterations: ended.iterations,
            averaged_iterations: ended.averaged_iterations,
            wall_seconds: course.before.0 + clocks.wall(),
            cpu_seconds: course.before.1 + clocks.processor(),
            threads: rayon::current_num_threads(),
            processes: team::current().map_or(1, |team| team.processes()),
            work: Some(work),
            seed: spec.seed,
            reference,
            stopped: Some(ended.stopped),
            verdict: None,
            checks: Vec::new(),
            no_reference,
            health: Health {
                round_trip_error: estimate.round_trip_error,
                slopes: Some(estimate.slopes),
                density_drift: Some(estimate.density_drift),
                refusals: Vec::new(),
                rejected_samples: estimate.rejected,
                rejected_in_training: ended.rejected,
                length: Some(right - left),
                scale: Some(estimate.scale),
                tails: estimate.tails,
                largest_local_energy_deviation: estimate.largest_deviation,
                median_local_energy_deviation: estimate.median_deviation,
                quadrature,
            },
        };
        let fermionised = spec.wavefunction.is_fermionised(spec.sector);
        let evidence = verdict::evidence(&summary, &course.rows);
        summary.checks = judge(&Evidence { fermionised, ..evidence });
        summary.verdict = Some(Verdict::of(&summary.checks));
        let refusals = summary.checks.iter().filter(|c| c.refuses && !c.passed);
        summary.health.refusals = refusals.map(|c| c.detail.clone()).collect();
        Ok(Outcome {
            density: profile(&spec, &estimate),
            faults: estimate.faults,
            spec,
            summary,
            rows: course.rows,
            reference_density,
            reference_pairs,
            saved,
            psi,
        })
    }
}

/// What a run gives.
pub struct Outcome {
    /// The spec with everything that was chosen for the system written out.
    pub spec: ResolvedSpec,
    /// The numbers of `summary.json`.
    pub summary: Summary,
    /// The iterations.
    pub rows: Vec<IterationRow>,
    /// One-body density of the final samples.
    pub density: DensityProfile,
    /// That of the exact ground state, where it was computed.
    pub reference_density: Option<Density>,
    /// Its pair density, where the solver gave one.
    pub reference_pairs: Option<PairDensity>,
    /// Final samples without a sensible local energy, some of them.
    pub faults: Vec<Fault>,
    /// The trained state, to be kept.
    pub saved: SavedWavefunction,
    psi: Box<dyn Wavefunction>,
}

impl Outcome {
    /// Electronic energy, in Hartree.
    pub fn energy(&self) -> f64 {
        self.summary.energy
    }

    /// Its standard error, in Hartree.
    pub fn standard_error(&self) -> f64 {
        self.summary.standard_error
    }

    /// Whether the energy can be believed.
    pub fn verdict(&self) -> Verdict {
        Verdict::of(&self.summary.checks)
    }

    /// The trained state.
    pub fn wavefunction(&self) -> &dyn Wavefunction {
        self.psi.as_ref()
    }

    /// The trained state, to sample and evaluate.
    pub fn into_state(self) -> State {
        State::of(self.saved, self.psi)
    }
}

/// Samples on which states are compared before they are trained.
const FEW: usize = 1024;

/// Variance of the local energy of a state, in units of its kinetic energy squared, on a few samples; infinite where some have none.
pub(crate) fn relative_variance(psi: &dyn Wavefunction, system: System, seed: u64) -> f64 {
    let id = BatchId {
        sampling: Sampling::QuasiRandom,
        seed,
        purpose: Purpose::Selection,
        number: START_BATCH,
        first: 0,
        tails: 0.0,
    };
    // In this process alone: others need not know of it yet.
    let batch = team::alone(|| local_energy::draw(psi, system, id, FEW, Derivatives::None));
    match batch.rejected {
        0 => ground_state::relative_variance(&batch),
        _ => f64::INFINITY,
    }
}

/// Number of the batch that compares starts: that of the end of a training is 0.
const START_BATCH: u64 = 1;

/// Whether parameters mean the same in both: all but the base, which is chosen for each system.
fn same_layers(one: &WavefunctionSettings, other: &WavefunctionSettings) -> bool {
    match (one, other) {
        (WavefunctionSettings::Weyl(one), WavefunctionSettings::Weyl(other)) => {
            let one = WeylSettings { base: other.base.clone(), ..one.clone() };
            one == *other
        }
        (one, other) => one == other,
    }
}

fn row(report: &IterationReport, seconds: f64) -> IterationRow {
    IterationRow {
        iteration: report.iteration,
        energy: report.energy.mean(),
        standard_error: report.energy.standard_error(),
        variance: report.energy.variance(),
        gradient_norm: report.gradient_norm,
        step_norm: report.step_norm,
        tau: report.tau,
        seconds,
    }
}

fn profile(spec: &ResolvedSpec, estimate: &GroundStateEstimate) -> DensityProfile {
    let of = |spin: usize, n: usize| {
        if n == 0 { Vec::new() } else { estimate.density.density(spin) }
    };
    DensityProfile {
        edges: estimate.density.edges(),
        up: of(0, spec.sector.up),
        down: of(1, spec.sector.particles() - spec.sector.up),
    }
}
