//! A run of several states, or of a temperature: [`EnsembleRun::new`], [`EnsembleRun::estimate`] in memory, and
//! [`EnsembleRun::in_folder`] with all files.
//!
//! It runs in one process. Trainings are kept in checkpoints as those of a ground state; estimates are made again where a run
//! goes on, since they are the same.

mod checks;
mod states;
mod temperature;

use super::clocks::Clocks;
use super::folder::{Earlier, InFolder, Place, Record, earlier, holds, saved_in};
use super::resume;
use super::{Course, Event, Observer, RunError, same_layers};
use crate::estimate::{Check, Scale, Verdict};
use crate::exact::ExactError;
use crate::local_energy::Fault;
use crate::objective::EnsembleError;
use crate::optimise::{OptimiserSettings, RayleighGaussNewtonSettings};
use crate::report::ensemble::render;
use crate::spec::{ResolvedSpec, validate, write};
use crate::store::energy::write_timing;
use crate::store::ensemble::{Densities, EnsembleSummary};
use crate::store::faults;
use crate::store::files::{create_output_folder, names, write_atomic};
use crate::store::provenance::Provenance;
use crate::store::record::IterationRow;
use crate::store::saved::SavedWavefunction;
use crate::store::summary::read_ensemble_summary;
use crate::team;
use crate::train::ensemble::{EnsembleObjective, begin, train};
use crate::train::{Schedule, StopReason, TrainingState};
use crate::work::{self, Work};
use std::ops::ControlFlow;

/// Whether a spec is one for [`EnsembleRun`]: a single state is a ground state like any other.
pub fn is_of_several(spec: &ResolvedSpec) -> bool {
    spec.is_of_several()
}

/// A run of several states or of a temperature that has not begun.
pub struct EnsembleRun {
    spec: ResolvedSpec,
    spec_text: String,
    clocks: Clocks,
    /// Parameters that a training may start from.
    start: Option<Vec<f64>>,
}

/// What it gives.
pub struct EnsembleOutcome {
    /// The spec.
    pub spec: ResolvedSpec,
    /// The numbers of `summary.json`.
    pub summary: EnsembleSummary,
    /// The iterations; their energy is the weighted sum of the states, or the free energy.
    pub rows: Vec<IterationRow>,
    /// One-body densities.
    pub densities: Densities,
    /// Of several states those of the transitions between them; see [`SpectrumEstimate`](crate::estimate::spectrum::SpectrumEstimate).
    pub transition_densities: Densities,
    /// Final samples without a sensible local energy, some of them.
    pub faults: Vec<Fault>,
    /// The trained states, to be kept.
    pub saved: SavedWavefunction,
}

/// How such a run in a folder ended.
pub enum EnsembleEnded {
    /// With these results.
    Now(Box<EnsembleOutcome>),
    /// It had ended before, with this summary after so many iterations.
    Before(Box<EnsembleSummary>, usize),
}

/// How good the states are as they stand, on few samples: lower is better.
type Score<'a, O> = &'a dyn Fn(&O, &dyn Observer) -> Result<f64, RunError>;

/// A training that is watched and kept.
struct Watched<'a> {
    observer: &'a mut dyn Observer,
    record: Option<&'a mut Record>,
    course: &'a mut Course,
    failed: Option<RunError>,
}

impl Watched<'_> {
    /// Announces and keeps an iteration, of so many at most.
    fn told(
        &mut self,
        row: IterationRow,
        of: usize,
        faults: &[Fault],
        state: &TrainingState,
    ) -> ControlFlow<()> {
        self.observer.hear(Event::Iteration(&row, of));
        self.course.rows.push(row);
        self.course.work = work::so_far();
        let stops = self.observer.stops();
        let kept = match &mut self.record {
            Some(record) => record.keep(faults, self.course, state, stops),
            None => Ok(()),
        };
        match kept {
            Ok(()) if !stops => return ControlFlow::Continue(()),
            Ok(()) => {}
            Err(error) => self.failed = Some(error),
        }
        ControlFlow::Break(())
    }

    /// What follows from the end of the training: its reason, or its error.
    fn ended(
        self,
        ended: Result<StopReason, RunError>,
        state: TrainingState,
    ) -> Result<StopReason, RunError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let stopped = ended?;
        self.observer.hear(Event::Trained);
        self.course.training = state;
        if let Some(record) = self.record {
            record.write(self.course, &self.course.training)?;
        }
        self.observer.hear(Event::Message("estimating on fresh samples"));
        Ok(stopped)
    }
}

fn goes_on(observer: &dyn Observer) -> ControlFlow<()> {
    if observer.stops() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

const INTERRUPTED: RunError = RunError::Interrupted { checkpoint: None };

fn of_ensemble(error: EnsembleError) -> RunError {
    match error {
        EnsembleError::Interrupted => INTERRUPTED,
        EnsembleError::Wavefunction(e) => e.into(),
        other => RunError::Ensemble(other.to_string()),
    }
}

impl EnsembleRun {
    /// Checks a spec.
    ///
    /// # Errors
    /// [`RunError`]: a spec that breaks a bound, one of a ground state, one that cannot be trained.
    pub fn new(spec: ResolvedSpec) -> Result<Self, RunError> {
        let clocks = Clocks::start();
        spec.validate()?;
        if !is_of_several(&spec) {
            return Err(RunError::Ensemble(
                "the spec asks for no states and no temperature: its run is `Run`".to_owned(),
            ));
        }
        validate::trainable(&spec.hamiltonian, spec.sector).map_err(RunError::Untrainable)?;
        if team::current().is_some_and(|team| team.processes() > 1) {
            return Err(RunError::Processes);
        }
        let spec_text = write::to_ron(&spec)?;
        Ok(EnsembleRun { spec, spec_text, clocks, start: None })
    }

    /// The spec.
    pub fn spec(&self) -> &ResolvedSpec {
        &self.spec
    }

    /// Starts from the trained parameters of another such run where they fit and turn out to be better than its own start: of lower energies, or of a lower
    /// free energy, on the same few samples. Says whether they fit.
    pub fn start_from(&mut self, other: &SavedWavefunction) -> bool {
        let spec = &self.spec;
        let fits = other.is_of_several()
            && other.spec.sector == spec.sector
            && other.spec.temperature.is_some() == spec.temperature.is_some()
            && same_layers(&other.spec.wavefunction, &spec.wavefunction);
        // Of a sweep the first temperature comes first.
        let first = other.earlier.first().unwrap_or(&other.parameters);
        self.start = fits.then(|| first.clone());
        fits
    }

    /// How starts are compared: by samples that nothing else uses.
    fn comparison(&self) -> Schedule {
        let whole = self.spec.schedule();
        Schedule { final_samples: whole.samples, seed: !whole.seed, ..whole }
    }

    /// Trains and estimates, in memory.
    ///
    /// # Errors
    /// [`RunError`]: states that cannot be built, a training that fails, an observer that ends it.
    pub fn estimate(self, mut observer: impl Observer) -> Result<EnsembleOutcome, RunError> {
        let course = Course {
            done: Vec::new(),
            training: TrainingState::unbegun(),
            rows: Vec::new(),
            work: Work::NONE,
            before: (0.0, 0.0),
        };
        self.go(course, &mut observer, None)
    }

    fn go(
        self,
        course: Course,
        observer: &mut dyn Observer,
        record: Option<&mut Record>,
    ) -> Result<EnsembleOutcome, RunError> {
        match self.spec.temperature {
            Some(_) => self.thermal(course, observer, record),
            None => self.states(course, observer, record),
        }
    }

    /// Runs in a folder: trains from the start or from the checkpoint there, and writes all results.
    ///
    /// # Errors
    /// [`RunError`]: files that cannot be read or written, and whatever ends a run in memory.
    pub fn in_folder(
        self,
        place: &InFolder,
        mut observer: impl Observer,
    ) -> Result<EnsembleEnded, RunError> {
        let folder = place.folder.as_path();
        let _lock = create_output_folder(folder, place.existing)?;
        let at = Place::of(place, &self.spec)?;
        self.run_at(place, &at, &mut observer).map_err(|error| at.of_error(error, folder))
    }

    fn run_at(
        self,
        asked: &InFolder,
        place: &Place,
        observer: &mut dyn Observer,
    ) -> Result<EnsembleEnded, RunError> {
        let (results, folder) = (asked.folder.as_path(), place.folder.as_path());
        let start = match asked.resumes() {
            true => resume::point(place, &self.spec, asked.previous)?,
            false => None,
        };
        if let Some(checkpoint) = start.as_ref().filter(|c| c.finished) {
            let summary = read_ensemble_summary(&folder.join(names::SUMMARY))?;
            return Ok(EnsembleEnded::Before(Box::new(summary), checkpoint.iterations()));
        }
        let spec_text = self.spec_text.clone();
        let (mut record, course) = Record::open(
            (asked, place),
            (&self.spec, &spec_text),
            start,
            TrainingState::unbegun(),
            self.clocks,
            observer,
        )?;
        let outcome = self
            .go(course, observer, Some(&mut record))
            .map_err(|error| saved_in(error, folder))?;
        let Record { mut checkpoint, table, mut faults, .. } = record;
        faults.push(faults::ESTIMATE, outcome.rows.len(), &outcome.faults)?;
        let Earlier { mut set, .. } =
            earlier(results, place, outcome.summary.fingerprint.as_deref(), observer)?;
        let to = set.path().to_owned();
        if !holds(&results.join(names::SPEC), &spec_text) || place.replaces {
            write_atomic(&to.join(names::SPEC), spec_text.as_bytes())?;
        }
        write_timing(&to, &outcome.rows)?;
        write_atomic(&to.join(names::WAVEFUNCTION), outcome.saved.to_json()?.as_bytes())?;
        write_atomic(&to.join(names::DENSITY), outcome.densities.to_csv().as_bytes())?;
        if !outcome.transition_densities.curves.is_empty() {
            let text = outcome.transition_densities.to_csv();
            write_atomic(&to.join(names::TRANSITION_DENSITY), text.as_bytes())?;
        } else {
            set.drop_from_place(names::TRANSITION_DENSITY);
        }
        Provenance::here().write(&to)?;
        table.finish_in(&to)?;
        let mut text = serde_json::to_string_pretty(&outcome.summary)
            .map_err(|e| RunError::Ensemble(e.to_string()))?;
        text.push('\n');
        write_atomic(&to.join(names::SUMMARY), text.as_bytes())?;
        let page = render(&outcome.summary, &outcome.rows, &outcome.densities, &spec_text);
        write_atomic(&to.join(names::REPORT), page.as_bytes())?;
        checkpoint.finished = true;
        checkpoint.write_after(folder, &to)?;
        set.put_in_place(place.replaces)?;
        Ok(EnsembleEnded::Now(Box::new(outcome)))
    }

    fn settings(&self) -> RayleighGaussNewtonSettings {
        match &self.spec.optimiser {
            OptimiserSettings::RayleighGaussNewton(settings) => settings.clone(),
            // What else there is the bounds of a spec refuse.
            _ => RayleighGaussNewtonSettings::default(),
        }
    }

    fn summary(&self, ensemble: &str) -> EnsembleSummary {
        EnsembleSummary {
            ensemble: ensemble.to_owned(),
            title: self.spec.title.clone(),
            fingerprint: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            states: Vec::new(),
            transitions: Vec::new(),
            dipoles: Vec::new(),
            thermal: None,
            sweep: Vec::new(),
            nuclear_repulsion: self.spec.hamiltonian.nuclear_repulsion(),
            base: Vec::new(),
            orbitals: 0,
            samples: 0,
            sets: 0,
            parameters: 0,
            values: Vec::new(),
            iterations: 0,
            stopped: StopReason::Iterations,
            rejected_samples: 0,
            rejected_in_training: 0,
            no_reference: None,
            wall_seconds: self.clocks.wall(),
            cpu_seconds: self.clocks.processor(),
            threads: rayon::current_num_threads(),
            work: work::so_far(),
            seed: self.spec.seed,
            verdict: Verdict::Refused,
            checks: Vec::new(),
        }
    }

    /// Trains an objective after `done` iterations of others, from where `begun` stands; what begins starts from parameters of another
    /// run where their score is lower. What that comparison takes is no work of the run.
    fn trained<O: EnsembleObjective>(
        &self,
        objective: &mut O,
        begun: TrainingState,
        (start, score): (Option<&[f64]>, Score<O>),
        done: usize,
        mut watched: Watched,
    ) -> Result<StopReason, RunError> {
        let mut state = begun;
        if !state.has_begun() {
            let start = start.filter(|s| s.len() == objective.parameters().len());
            if let Some(start) = start {
                let counted = work::so_far();
                let own = objective.parameters().to_vec();
                let here = score(objective, watched.observer)?;
                objective.set_parameters(start)?;
                // What is not a number is no better.
                let better = score(objective, watched.observer)? < here;
                if !better {
                    objective.set_parameters(&own)?;
                }
                work::start_from(counted);
            }
            state = begin(objective);
        }
        let started = watched.course.before.0;
        let most = done + self.spec.iterations;
        let ended = train(objective, &self.spec.schedule(), &mut state, |report, state| {
            let row = IterationRow {
                iteration: done + report.iteration,
                energy: report.value.0,
                standard_error: report.value.1,
                variance: report.variance,
                gradient_norm: report.gradient_norm,
                step_norm: report.step_norm,
                tau: report.tau,
                seconds: started + self.clocks.wall(),
            };
            watched.told(row, most, &report.faults, state)
        });
        watched.ended(ended.map_err(of_ensemble), state)
    }

    fn outcome(
        self,
        mut summary: EnsembleSummary,
        checks: Vec<Check>,
        course: Course,
        densities: Densities,
        faults: Vec<Fault>,
        saved: SavedWavefunction,
    ) -> Result<EnsembleOutcome, RunError> {
        summary.fingerprint = Some(saved.fingerprint()?);
        summary.verdict = Verdict::of(&checks);
        summary.checks = checks;
        summary.wall_seconds = course.before.0 + self.clocks.wall();
        summary.cpu_seconds = course.before.1 + self.clocks.processor();
        let rows = course.rows;
        let transition_densities = Densities::default();
        Ok(EnsembleOutcome {
            spec: self.spec,
            summary,
            rows,
            densities,
            transition_densities,
            faults,
            saved,
        })
    }

    /// Whether a reference that may be off by `error` is known well enough to compare with; otherwise says why there is none.
    fn certain(
        &self,
        kinetic: f64,
        error: f64,
        summary: &mut EnsembleSummary,
        observer: &mut dyn Observer,
    ) -> bool {
        let particles = self.spec.sector.particles();
        let why = Scale { particles, kinetic, interaction: 0.0 }.too_uncertain(error);
        if let Some(why) = &why {
            observer.hear(Event::Message(&format!("no exact numbers: {why}")));
        }
        let certain = why.is_none();
        summary.no_reference = why;
        certain
    }
}

fn without(error: ExactError, observer: &mut dyn Observer) -> String {
    let why = error.to_string();
    observer.hear(Event::Message(&format!("no exact numbers: {why}")));
    why
}
