//! A run of several states, or of a temperature: [`EnsembleRun::new`], [`EnsembleRun::estimate`] in memory, and
//! [`EnsembleRun::in_folder`] with all files.
//!
//! It runs in one process. Trainings are kept in checkpoints as those of a ground state; estimates are made again where a run
//! goes on, since they are the same.

use super::clocks::Clocks;
use super::folder::{Earlier, InFolder, Place, Record, earlier, holds, saved_in};
use super::reference::asked;
use super::resume;
use super::{
    Course, DENSITY_BINS, Event, Observer, RunError, same_layers, solve_until, thermal_until,
};
use crate::estimate::health::density_drift;
use crate::estimate::judge::{BARS, BELOW, CLOSE, DRIFT, REJECTED, ROUND_TRIP, VARIANCE, Words};
use crate::estimate::{self, Check, Scale, Verdict, gaussian_bars};
use crate::exact::thermal::{ThermalOptions, ThermalResult};
use crate::exact::{ExactError, ExactResult};
use crate::local_energy::Fault;
use crate::objective::free_energy::ThermalError;
use crate::objective::spectrum::SpectrumError;
use crate::optimise::{OptimiserSettings, RayleighGaussNewtonSettings};
use crate::report::ensemble::render;
use crate::report::escape::one_line;
use crate::spec::{ReferenceSource, ResolvedSpec, validate, write};
use crate::store::checkpoint::Done;
use crate::store::csv::write_timing;
use crate::store::ensemble::{
    Densities, EnsembleSummary, Gap, Level, Measured, StateRow, Thermal, Transition,
};
use crate::store::faults;
use crate::store::files::{create_output_folder, names, write_atomic};
use crate::store::provenance::Provenance;
use crate::store::record::IterationRow;
use crate::store::saved::SavedWavefunction;
use crate::store::summary::read_ensemble_summary;
use crate::system::{Geometry, System};
use crate::team;
use crate::train::{self, Schedule, StopReason, TrainingState};
use crate::wavefunction::weyl::Weyl;
use crate::wavefunction::weyl::ensemble::{GibbsStates, LowestStates};
use crate::wavefunction::{Wavefunction, WavefunctionSettings};
use crate::work::{self, Work};
use std::collections::VecDeque;
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
    /// Of several states those of the transitions between them; see [`estimate::spectrum::SpectrumEstimate`].
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

/// What a temperature adds to a run.
struct Point {
    checks: Vec<Check>,
    densities: Densities,
    faults: Vec<Fault>,
}

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

fn of_states(error: SpectrumError) -> RunError {
    match error {
        SpectrumError::Interrupted => INTERRUPTED,
        SpectrumError::Wavefunction(e) => e.into(),
        SpectrumError::Linear(_) | SpectrumError::State => RunError::Ensemble(error.to_string()),
    }
}

fn of_temperature(error: ThermalError) -> RunError {
    match error {
        ThermalError::Interrupted => INTERRUPTED,
        ThermalError::Wavefunction(e) => e.into(),
        other => RunError::Ensemble(other.to_string()),
    }
}

/// The one of two starts with the lower score; the first where one of them has none. What that takes is no work of the run.
fn better<S>(own: S, other: S, score: &dyn Fn(&S) -> Result<f64, RunError>) -> Result<S, RunError> {
    let counted = work::so_far();
    let (here, there) = (score(&own)?, score(&other)?);
    work::start_from(counted);
    Ok(if there < here { other } else { own })
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
            return Err(RunError::Ensemble(
                "states and temperatures run in one process: leave --mpi out".to_owned(),
            ));
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

    /// The lowest states.
    fn states(
        self,
        mut course: Course,
        observer: &mut dyn Observer,
        record: Option<&mut Record>,
    ) -> Result<EnsembleOutcome, RunError> {
        let spec = &self.spec;
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let WavefunctionSettings::Weyl(weyl) = &spec.wavefunction else {
            return Err(RunError::Ensemble("states need the wavefunction Weyl".to_owned()));
        };
        let Some(asked) = &spec.states else {
            return Err(RunError::Ensemble("the spec asks for no states".to_owned()));
        };
        let weights = asked.weights.of(asked.count);
        let mut states = LowestStates::new(weyl, spec.sector, system, &weights)?;
        observer.hear(Event::Message(&format!(
            "{}: {} states over a configuration interaction in {} orbitals, {} parameters",
            one_line(&spec.title),
            asked.count,
            states.orbitals,
            states.parameters().len()
        )));
        let schedule = spec.schedule();
        work::start_from(course.work);
        let mut state = course.training.clone();
        if !state.has_begun() {
            let start = self.start.as_ref().filter(|s| s.len() == states.parameters().len());
            if let Some(start) = start {
                let mut other = states.clone();
                other.set_parameters(start)?;
                let few = self.comparison();
                states = better(states, other, &|states| {
                    let found =
                        estimate::spectrum::estimate(states, system, &few, 1, || goes_on(observer));
                    let found = found.map_err(of_states)?;
                    Ok(weights.iter().zip(&found.energies).map(|(w, e)| w * e.0).sum())
                })?;
            }
            state = train::spectrum::begin(&states);
        }
        let started = course.before.0;
        let mut watched = Watched { observer, record, course: &mut course, failed: None };
        let settings = self.settings();
        let ended = train::spectrum::train(
            &mut states,
            system,
            &settings,
            &schedule,
            &weights,
            &mut state,
            |report, state| {
                let sum = |v: &[f64]| weights.iter().zip(v).map(|(w, v)| w * v).sum::<f64>();
                let variance = sum(&report.variances);
                let row = IterationRow {
                    iteration: report.iteration,
                    energy: sum(&report.energies),
                    standard_error: (variance / report.samples.max(1) as f64).sqrt(),
                    variance,
                    gradient_norm: report.gradient_norm,
                    step_norm: report.step_norm,
                    tau: report.tau,
                    seconds: started + self.clocks.wall(),
                };
                watched.told(row, spec.iterations, &report.faults, state)
            },
        );
        let stopped = watched.ended(ended.map_err(of_states), state)?;
        let found = estimate::spectrum::estimate(&states, system, &schedule, DENSITY_BINS, || {
            goes_on(observer)
        })
        .map_err(of_states)?;
        // What follows are checks of the result, no part of it.
        let mut summary = self.summary("states");
        let exact = match spec.reference {
            ReferenceSource::Exact => match self.exact_states(asked.count, observer)? {
                Ok(exact) => {
                    let (kinetic, error) = (exact.components.kinetic, exact.error_estimates[0]);
                    self.certain(kinetic, error, &mut summary, observer).then_some(exact)
                }
                Err(why) => {
                    summary.no_reference = Some(why);
                    None
                }
            },
            _ => None,
        };
        let k = asked.count;
        for (q, &(energy, error)) in found.energies.iter().enumerate() {
            let level = exact.as_ref().and_then(|r| Some((r, *r.energies.get(q)?)));
            summary.states.push(StateRow {
                energy,
                standard_error: error,
                variance: found.variances[q],
                reference: level.map(|(r, exact)| Level {
                    energy: exact,
                    error_estimate: r.error_estimates.get(q).copied(),
                    source: r.method.clone(),
                    deviation: energy - exact,
                }),
                gap: Gap { energy: found.gaps[q].0, standard_error: found.gaps[q].1 },
            });
        }
        // On a ring `sum x` is no observable.
        let ring = matches!(spec.geometry, Geometry::Ring { .. });
        for from in 0..if ring { 0 } else { k } {
            for to in from + 1..k {
                let (dipole, dipole_error) = found.dipoles[from * k + to];
                let gap = found.energies[to].0 - found.energies[from].0;
                summary.transitions.push(Transition {
                    from,
                    to,
                    dipole,
                    dipole_error,
                    oscillator_strength: 2.0 * gap * dipole * dipole,
                });
            }
        }
        if !ring {
            summary.dipoles = (0..k).map(|q| found.dipoles[q * k + q]).collect();
        }
        summary.base = states.energies.clone();
        summary.orbitals = states.orbitals;
        (summary.samples, summary.sets) = (found.samples, found.sets);
        summary.values = states.parameters().to_vec();
        summary.parameters = summary.values.len();
        (summary.iterations, summary.stopped) = (course.training.iteration, stopped);
        summary.rejected_samples = found.rejected;
        summary.rejected_in_training = course.training.rejected;
        let particles = spec.sector.particles() as f64;
        let mut checks = vec![left_out(found.rejected, found.samples)];
        checks.push(check(
            ("overlap", "States are orthonormal", "States are not orthonormal"),
            if found.overlap.1 < 1e-9 { 0.0 } else { found.overlap.0 },
            // The largest of many, with few degrees of freedom.
            12.0,
            true,
            format!(
                "The sampled overlaps are those of orthonormal states to {:.1} standard errors ({:.1e}).",
                found.overlap.0, found.overlap.1
            ),
        ));
        self.flow_checks(&mut checks, &[&states.states[0], &states.states[k - 1]]);
        for (q, s) in summary.states.iter().enumerate() {
            let kinetic = found.kinetic[q].max(f64::MIN_POSITIVE);
            let score = particles * s.variance / (kinetic * kinetic);
            checks.push(check(
                ("variance", "State is close to an eigenstate", "State is far from an eigenstate"),
                score,
                VARIANCE,
                false,
                format!("State {q}: N variance / T² = {score:.1e} (at most {VARIANCE})."),
            ));
            if let Some(r) = &s.reference {
                let error = s.standard_error.hypot(r.error_estimate.unwrap_or(0.0));
                checks.push(deviation(
                    &format!("State {q}"),
                    r.deviation,
                    error,
                    found.sets,
                    kinetic / particles,
                ));
            }
        }
        let by_spin = |(name, [up, down]): (String, [Vec<f64>; 2])| {
            [
                (format!("up_{name}"), up, spec.sector.up),
                (format!("down_{name}"), down, spec.sector.down),
            ]
            .into_iter()
            .filter(|c| c.2 > 0)
            .map(|c| (c.0, c.1))
        };
        let states_named = (0..k).map(|q| q.to_string()).zip(found.densities);
        let densities = Densities {
            edges: found.edges.clone(),
            curves: states_named.flat_map(by_spin).collect(),
        };
        let pairs = (0..k).flat_map(|q| (q + 1..k).map(move |r| format!("{q}_{r}")));
        let transition_densities = Densities {
            edges: found.edges,
            curves: pairs.zip(found.transition_densities).flat_map(by_spin).collect(),
        };
        let mut saved = SavedWavefunction::of_several(spec, Vec::new(), states.parameters());
        saved.rotation = found.rotation;
        let outcome = self.outcome(summary, checks, course, densities, found.faults, saved)?;
        Ok(EnsembleOutcome { transition_densities, ..outcome })
    }

    /// The Gibbs ensembles, each from the flow of the one before.
    fn thermal(
        self,
        mut course: Course,
        observer: &mut dyn Observer,
        mut record: Option<&mut Record>,
    ) -> Result<EnsembleOutcome, RunError> {
        let Some(temperature) = &self.spec.temperature else {
            return Err(RunError::Ensemble("the spec asks for no temperature".to_owned()));
        };
        let all = temperature.kt.all();
        let mut summary = self.summary("temperature");
        let mut checks = Vec::new();
        let (mut densities, mut faults) = (Densities::default(), Vec::new());
        work::start_from(Work::NONE);
        // Where the run goes on, the trainings that have ended are found as they were.
        let mut waiting: VecDeque<Done> = std::mem::take(&mut course.done).into();
        let current = Done { training: course.training.clone(), work: course.work };
        waiting.push_back(current);
        for (index, &kt) in all.iter().enumerate() {
            if index > 0 {
                let training = std::mem::replace(&mut course.training, TrainingState::unbegun());
                course.done.push(Done { training, work: course.work });
            }
            let begun = waiting.pop_front();
            let begun =
                begun.unwrap_or(Done { training: TrainingState::unbegun(), work: Work::NONE });
            let found =
                self.at(kt, begun, &mut summary, &mut course, observer, record.as_deref_mut())?;
            if all.len() > 1 {
                summary.sweep.extend(summary.thermal.clone());
                let named = |c: Check| Check { detail: format!("kT = {kt}: {}", c.detail), ..c };
                checks.extend(found.checks.into_iter().map(named));
            } else {
                checks = found.checks;
            }
            densities.edges = found.densities.edges;
            densities.curves = found.densities.curves;
            faults.extend(found.faults);
        }
        faults.truncate(64);
        let earlier = course.done.iter().map(|d| d.training.parameters.clone()).collect();
        let saved = SavedWavefunction::of_several(&self.spec, earlier, &summary.values);
        self.outcome(summary, checks, course, densities, faults, saved)
    }

    /// The Gibbs ensemble at a temperature, whose numbers go into the summary.
    fn at(
        &self,
        kt: f64,
        begun: Done,
        summary: &mut EnsembleSummary,
        course: &mut Course,
        observer: &mut dyn Observer,
        record: Option<&mut Record>,
    ) -> Result<Point, RunError> {
        let spec = &self.spec;
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let WavefunctionSettings::Weyl(weyl) = &spec.wavefunction else {
            return Err(RunError::Ensemble("a temperature needs the wavefunction Weyl".to_owned()));
        };
        let mut states = GibbsStates::new(weyl, spec.sector, system, kt)?;
        if states.parameters().len() == summary.values.len() {
            states.set_parameters(&summary.values)?;
        }
        observer.hear(Event::Message(&format!(
            "{}: kT = {kt} Ha, {} states over a configuration interaction in {} orbitals, {} parameters",
            one_line(&spec.title),
            states.energies.len(),
            states.orbitals,
            states.parameters().len()
        )));
        let schedule = spec.schedule();
        let done: usize = course.done.iter().map(|d| d.training.iteration).sum();
        let mut optimiser = OptimiserSettings::RayleighGaussNewton(self.settings()).build();
        let mut state = begun.training;
        if !state.has_begun() {
            let start = self.start.as_ref().filter(|s| s.len() == states.parameters().len());
            if let Some(start) = start.filter(|_| summary.values.is_empty()) {
                let mut other = states.clone();
                other.set_parameters(start)?;
                let few = self.comparison();
                states = better(states, other, &|states| {
                    let found = estimate::free_energy::estimate(states, system, &few, 1, || {
                        goes_on(observer)
                    });
                    // With the excess over the Gibbs state that the variance tells: the mean of few samples alone is noise.
                    let found = found.map_err(of_temperature)?;
                    Ok(found.free_energy.0 + found.variance / (2.0 * kt))
                })?;
            }
            state = TrainingState::new(states.parameters(), optimiser.as_ref());
        }
        let before = work::so_far();
        work::start_from(begun.work);
        course.work = begun.work;
        let started = course.before.0;
        let mut watched =
            Watched { observer: &mut *observer, record, course: &mut *course, failed: None };
        let ended = train::free_energy::train(
            &mut states,
            system,
            optimiser.as_mut(),
            &schedule,
            &mut state,
            |report, state| {
                let row = IterationRow {
                    iteration: done + report.iteration,
                    energy: report.free_energy.mean(),
                    standard_error: report.free_energy.standard_error(),
                    variance: report.free_energy.variance(),
                    gradient_norm: report.gradient_norm,
                    step_norm: report.step_norm,
                    tau: report.tau,
                    seconds: started + self.clocks.wall(),
                };
                watched.told(row, done + spec.iterations, &report.faults, state)
            },
        );
        let stopped = watched.ended(ended.map_err(of_temperature), state)?;
        work::start_from(before.and(course.work));
        let found =
            estimate::free_energy::estimate(&states, system, &schedule, DENSITY_BINS, || {
                goes_on(observer)
            })
            .map_err(of_temperature)?;
        summary.work = work::so_far();
        let exact = match spec.reference {
            ReferenceSource::Exact => match self.exact_thermal(kt, observer)? {
                Ok(exact) => {
                    let error = exact.error_estimates.free_energy;
                    self.certain(found.kinetic, error, summary, observer).then_some(exact)
                }
                Err(why) => {
                    summary.no_reference = Some(why);
                    None
                }
            },
            _ => None,
        };
        type Part = fn(&crate::exact::thermal::Functions) -> f64;
        let measured = |(value, standard_error): (f64, f64), part: Part| Measured {
            value,
            standard_error,
            reference: exact.as_ref().map(|r| part(&r.functions)),
            reference_error: exact.as_ref().map(|r| part(&r.error_estimates)),
        };
        let thermal = Thermal {
            kt,
            free_energy: measured(found.free_energy, |f| f.free_energy),
            energy: measured(found.energy, |f| f.energy),
            entropy: measured((found.entropy, 0.0), |f| f.entropy),
            heat_capacity: measured(found.heat_capacity, |f| f.heat_capacity),
            variance: found.variance,
            excess: found.variance / (2.0 * kt),
            truncation: states.truncation,
            probabilities: states
                .energies
                .iter()
                .copied()
                .zip(states.probabilities.iter().copied())
                .take(100)
                .collect(),
            occupations: states.occupations.clone(),
            source: exact.as_ref().map(|r| r.method.clone()),
        };
        let particles = spec.sector.particles() as f64;
        let mut checks = vec![left_out(found.rejected, found.samples)];
        self.flow_checks(&mut checks, &[&states.state(0)]);
        let unit = found.kinetic.max(f64::MIN_POSITIVE) / particles;
        // What the free energy is about too high by, against what it is known to.
        let limit = 1e-2 * unit.min(kt.max(1e-3 * unit));
        checks.push(check(
            ("excess", "Close to the Gibbs state", "Far from the Gibbs state"),
            thermal.excess,
            limit,
            false,
            format!(
                "The variance of the local free energy says that F is about {:.1e} Ha too high (at most {limit:.1e}).",
                thermal.excess
            ),
        ));
        checks.push(check(
            ("truncation", "Enough states", "Too few states"),
            thermal.truncation,
            limit,
            false,
            format!(
                "The last enlargement of the space of base states lowered F by {:.1e} Ha (at most {limit:.1e}).",
                thermal.truncation
            ),
        ));
        let m = &thermal.free_energy;
        if let Some(reference) = m.reference {
            let error = m.standard_error.hypot(m.reference_error.unwrap_or(0.0));
            let off = m.value - reference;
            checks.push(deviation("The free energy", off, error, found.sets, unit));
        }
        summary.base = vec![crate::exact::thermal::Functions::of(&states.energies, kt).free_energy];
        summary.orbitals = states.orbitals;
        summary.samples += found.samples;
        summary.sets = found.sets;
        summary.values = states.parameters().to_vec();
        summary.parameters = summary.values.len();
        summary.iterations += course.training.iteration;
        summary.stopped = stopped;
        summary.rejected_samples += found.rejected;
        summary.rejected_in_training += course.training.rejected;
        summary.thermal = Some(thermal);
        let [up, down] = found.density;
        let curves = [("up", up, spec.sector.up), ("down", down, spec.sector.down)];
        let curves = curves.into_iter().filter(|c| c.2 > 0).map(|c| (c.0.to_owned(), c.1));
        let densities = Densities { edges: found.edges, curves: curves.collect() };
        Ok(Point { checks, densities, faults: found.faults })
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

    /// Whether the flow undoes itself, and its samples are distributed as they should be.
    fn flow_checks(&self, checks: &mut Vec<Check>, psis: &[&Weyl]) {
        let (left, right) = psis[0].interval(&self.spec.geometry);
        let limit = ROUND_TRIP * (right - left);
        let worst = |values: Vec<f64>| {
            values.into_iter().fold(0.0, |a: f64, b| if b.is_nan() || b > a { b } else { a })
        };
        let seed = self.spec.seed;
        let back = worst(psis.iter().map(|psi| crate::estimate::round_trip(*psi, seed)).collect());
        checks.push(check(
            ("round_trip", "Flow inverts", "Flow does not invert"),
            back,
            limit,
            true,
            format!("The flow undoes itself to {back:.1e} bohr (at most {limit:.1e})."),
        ));
        let drift = worst(psis.iter().map(|psi| density_drift(*psi, seed)).collect());
        checks.push(check(
            ("density_drift", "Samples follow |psi|²", "Samples do not follow |psi|²"),
            drift,
            DRIFT,
            true,
            format!("The density of the samples is that of the states to {drift:.1e} (at most {DRIFT:.0e})."),
        ));
    }

    fn exact_states(
        &self,
        count: usize,
        observer: &mut dyn Observer,
    ) -> Result<Result<ExactResult, String>, RunError> {
        let (task, options) = asked(&self.spec, count);
        observer.hear(Event::Phase("exact energies for comparison"));
        let solved = solve_until(&task, &options, None, &|| observer.stops(), &mut |_| {})?;
        observer.hear(Event::PhaseEnded);
        match solved {
            Ok(result) => Ok(Ok(result)),
            Err(ExactError::Interrupted) => Err(INTERRUPTED),
            Err(error) => Ok(Err(without(error, observer))),
        }
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

    fn exact_thermal(
        &self,
        kt: f64,
        observer: &mut dyn Observer,
    ) -> Result<Result<ThermalResult, String>, RunError> {
        observer.hear(Event::Phase("exact free energy for comparison"));
        let (task, _) = asked(&self.spec, 1);
        let options = ThermalOptions {
            states: REFERENCE_STATES,
            tolerance: REFERENCE_TOLERANCE,
            ..ThermalOptions::at(kt)
        };
        let solved = thermal_until(&task, &options, None, &|| observer.stops())?;
        observer.hear(Event::PhaseEnded);
        match solved {
            Ok(result) => Ok(Ok(result)),
            Err(ExactError::Interrupted) => Err(INTERRUPTED),
            Err(error) => Ok(Err(without(error, observer))),
        }
    }
}

/// Most states of the reference at a temperature, and its error to aim at.
const REFERENCE_STATES: usize = 2400;
const REFERENCE_TOLERANCE: f64 = 1e-6;

fn without(error: ExactError, observer: &mut dyn Observer) -> String {
    let why = error.to_string();
    observer.hear(Event::Message(&format!("no exact numbers: {why}")));
    why
}

fn check(words: Words, value: f64, limit: f64, refuses: bool, detail: String) -> Check {
    let check = Check::new(words, value, limit, detail);
    if refuses { check.refusing() } else { check }
}

fn left_out(rejected: usize, samples: usize) -> Check {
    let share = rejected as f64 / (samples + rejected).max(1) as f64;
    check(
        ("rejected", "Samples are sound", "Samples were left out"),
        share,
        REJECTED,
        true,
        format!("{rejected} of {} final samples were left out.", samples + rejected),
    )
}

/// How far an energy is from the exact one.
fn deviation(name: &str, off: f64, error: f64, sets: usize, unit: f64) -> Check {
    let bars = gaussian_bars(off / error.max(f64::MIN_POSITIVE), Some(sets.saturating_sub(1)));
    let (least, words) = if off > 0.0 { (CLOSE, "above") } else { (BELOW, "below") };
    let small = off.abs() < least * unit.max(f64::MIN_POSITIVE);
    check(
        ("reference", "Agrees with the exact energy", "Disagrees with the exact energy"),
        if small { 0.0 } else { bars },
        BARS,
        false,
        format!(
            "{name} is {:.1e} Ha {words} the exact one, {:.1} error bars.",
            off.abs(),
            bars.abs()
        ),
    )
}
