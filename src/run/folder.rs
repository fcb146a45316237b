//! A run in its folder: checkpoints while it goes on, and at its end all results at once.

use super::clocks::Clocks;
use super::resume;
use super::{Course, Event, Observer, Outcome, Run, RunError};
use crate::input;
use crate::local_energy::Fault;
use crate::report::html::{ReportInput, render};
use crate::report::links::Links;
use crate::spec::ResolvedSpec;
use crate::store::checkpoint::Checkpoint;
use crate::store::density::write_density;
use crate::store::energy::{EnergyCsv, format_table, write_timing};
use crate::store::ensemble::{Gap, Level, StateRow};
use crate::store::faults::FaultsCsv;
use crate::store::files::{
    Existing, FileError, create_output_folder, holds_a_run, names, write_atomic,
};
use crate::store::folder::{fitting_observables, fitting_projection, stale_projection};
use crate::store::observables::Observables;
use crate::store::projection::ProjectionRecord;
use crate::store::provenance::Provenance;
use crate::store::record::Summary;
use crate::store::replace::{NEW_RESULTS, NEW_RUN, Set};
use crate::store::summary::{read_summary, write_summary};
use crate::store::{faults, reference_density, reference_pairs, replace};
use crate::train::TrainingState;
use crate::work::Work;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The folder of a run, and what may be in it.
#[derive(Clone, Debug)]
pub struct InFolder {
    /// The folder.
    pub folder: PathBuf,
    /// What becomes of results that are there: with [`Existing::Keep`] their run goes on.
    pub existing: Existing,
    /// Goes on from the checkpoint before the last one.
    pub previous: bool,
    /// A checkpoint is written at least every so many iterations ..
    pub checkpoint_every: usize,
    /// .. and every so many seconds, between iterations.
    pub checkpoint_seconds: f64,
}

impl InFolder {
    /// A new folder, with a checkpoint every ten iterations or seconds.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        InFolder {
            folder: folder.into(),
            existing: Existing::Refuse,
            previous: false,
            checkpoint_every: 10,
            checkpoint_seconds: 10.0,
        }
    }

    pub(super) fn resumes(&self) -> bool {
        self.existing == Existing::Keep
    }
}

/// How a run in a folder ended.
pub enum Ended {
    /// With these results.
    Now(Box<Outcome>),
    /// It had ended before, with this summary after so many iterations.
    Before(Box<Summary>, usize),
}

/// Where a run works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The folder of its checkpoints.
    pub(super) folder: PathBuf,
    /// Whether that is not the output folder, whose results it replaces when it ends.
    pub(super) replaces: bool,
}

impl Place {
    /// Where a run of `spec` works in its folder, which is locked.
    pub(super) fn of(asked: &InFolder, spec: &ResolvedSpec) -> Result<Self, RunError> {
        let folder = asked.folder.as_path();
        // The results of an earlier run stay in place until there are those that replace them.
        Ok(if asked.existing == Existing::Overwrite && holds_a_run(folder) {
            Place { folder: Set::empty(folder, NEW_RUN)?.path().to_owned(), replaces: true }
        } else if asked.resumes() {
            resume::place(folder, spec)
        } else {
            Place { folder: folder.to_owned(), replaces: false }
        })
    }

    /// An error of the run, and what became of the results in the output folder.
    pub(super) fn of_error(&self, error: RunError, folder: &Path) -> RunError {
        match self.replaces {
            true if self.folder.is_dir() => untouched(error, folder, &self.folder),
            _ => error,
        }
    }
}

/// What a run leaves in its folder while it goes on.
pub(super) struct Record {
    folder: PathBuf,
    /// The checkpoint as it was last written.
    pub(super) checkpoint: Checkpoint,
    /// `energy.csv` in the making.
    pub(super) table: EnergyCsv,
    /// `faults.csv`.
    pub(super) faults: FaultsCsv,
    clocks: Clocks,
    written: (usize, Instant),
    every: usize,
    seconds: f64,
}

impl Record {
    /// Of a run with this spec and its text: from a checkpoint on, or from the beginning of a training.
    pub(super) fn open(
        (asked, place): (&InFolder, &Place),
        (spec, spec_text): (&ResolvedSpec, &str),
        start: Option<Checkpoint>,
        training: TrainingState,
        clocks: Clocks,
        observer: &mut dyn Observer,
    ) -> Result<(Self, Course), RunError> {
        let folder = place.folder.as_path();
        let resumed = start.is_some();
        let checkpoint = start.unwrap_or_else(|| Checkpoint {
            spec: spec.clone(),
            training,
            done: Vec::new(),
            energy: format_table(&[]),
            seconds: Vec::new(),
            cpu_seconds: 0.0,
            work: Work::NONE,
            finished: false,
        });
        let rows = checkpoint
            .rows(&folder.join(names::CHECKPOINT))
            .map_err(|error| RunError::Checkpoint { error, before: None })?;
        if resumed {
            observer.hear(Event::Message(&format!("going on after {} iterations", rows.len())));
        } else if !holds(&folder.join(names::SPEC), spec_text) {
            write_atomic(&folder.join(names::SPEC), spec_text.as_bytes())?;
        }
        let table = EnergyCsv::create(folder, &rows)?;
        let faults = FaultsCsv::new(folder, rows.len())?;
        let course = Course {
            done: checkpoint.done.clone(),
            training: checkpoint.training.clone(),
            work: checkpoint.work,
            before: (rows.last().map_or(0.0, |r| r.seconds), checkpoint.cpu_seconds),
            rows,
        };
        let record = Record {
            folder: folder.to_owned(),
            checkpoint,
            table,
            faults,
            clocks,
            written: (course.rows.len(), Instant::now()),
            every: asked.checkpoint_every,
            seconds: asked.checkpoint_seconds,
        };
        Ok((record, course))
    }

    /// After an iteration with these faults: its rows, and a checkpoint where one is due.
    pub(super) fn keep(
        &mut self,
        faults: &[Fault],
        course: &Course,
        state: &TrainingState,
        stops: bool,
    ) -> Result<(), RunError> {
        let rows = &course.rows;
        let Some(last) = rows.last() else { return Ok(()) };
        self.table.push(last)?;
        self.faults.push(faults::TRAINING, last.iteration, faults)?;
        let due = rows.len() - self.written.0 >= self.every
            || self.written.1.elapsed().as_secs_f64() >= self.seconds;
        if due || stops { self.write(course, state) } else { Ok(()) }
    }

    /// Writes a checkpoint.
    pub(super) fn write(&mut self, course: &Course, state: &TrainingState) -> Result<(), RunError> {
        let processor = course.before.1 + self.clocks.processor();
        self.checkpoint.done.clone_from(&course.done);
        self.checkpoint.update(state, &course.rows, processor, course.work);
        self.checkpoint.write(&self.folder)?;
        self.written = (course.rows.len(), Instant::now());
        Ok(())
    }
}

/// An interruption, with the checkpoint in this folder.
pub(super) fn saved_in(error: RunError, folder: &Path) -> RunError {
    match error {
        RunError::Interrupted { .. } => {
            RunError::Interrupted { checkpoint: Some(folder.join(names::CHECKPOINT)) }
        }
        error => error,
    }
}

/// Every file that a run may write into a folder.
pub fn written_into(folder: &Path) -> Vec<PathBuf> {
    let set_aside = names::set_aside().map(|pair| pair.1);
    let all = names::ALL.into_iter().chain(set_aside).chain([names::LOCK]);
    let all = all.map(|name| folder.join(name));
    let new = names::ALL.into_iter().map(|name| folder.join(NEW_RUN).join(name));
    all.chain(new).collect()
}

impl Run {
    /// Runs in a folder: trains from the start or from the checkpoint there, and writes all results.
    ///
    /// # Errors
    /// [`RunError`]: files that cannot be read or written, and whatever ends a run in memory.
    pub fn in_folder(
        self,
        place: &InFolder,
        mut observer: impl Observer,
    ) -> Result<Ended, RunError> {
        let folder = place.folder.as_path();
        let _lock = create_output_folder(folder, place.existing)?;
        self.choices.iter().for_each(|choice| observer.hear(Event::Message(choice)));
        let at = Place::of(place, &self.spec)?;
        self.run_at(place, &at, &mut observer).map_err(|error| at.of_error(error, folder))
    }

    fn run_at(
        self,
        asked: &InFolder,
        place: &Place,
        observer: &mut dyn Observer,
    ) -> Result<Ended, RunError> {
        let (results, folder) = (asked.folder.as_path(), place.folder.as_path());
        let start = match asked.resumes() {
            true => resume::point(place, &self.spec, asked.previous)?,
            false => None,
        };
        // What others were given is of no use to these parameters.
        let start = start.filter(|c| !self.held || c.training.parameters == self.psi.parameters());
        if let Some(checkpoint) = start.as_ref().filter(|c| c.finished) {
            let summary = read_summary(&folder.join(names::SUMMARY))?;
            return Ok(Ended::Before(Box::new(summary), checkpoint.training.iteration));
        }
        let training = TrainingState::new(self.psi.parameters(), self.optimiser.as_ref());
        let (mut record, course) = Record::open(
            (asked, place),
            (&self.spec, &self.spec_text),
            start,
            training,
            self.clocks,
            observer,
        )?;
        let spec_text = self.spec_text.clone();
        let saved_in = |error| saved_in(error, folder);
        let trained = self
            .train_from(course, &mut *observer, &mut |faults, course, state, stops| {
                record.keep(faults, course, state, stops)
            })
            .map_err(saved_in)?;
        record.write(&trained.course, &trained.course.training)?;
        let outcome = trained.estimate().map_err(saved_in)?;
        let Record { mut checkpoint, table, mut faults, .. } = record;
        faults.push(faults::ESTIMATE, outcome.rows.len(), &outcome.faults)?;

        let Earlier { mut set, observables, projection, notices } =
            earlier(results, place, outcome.summary.fingerprint.as_deref(), observer)?;
        let to = set.path().to_owned();
        if !holds(&results.join(names::SPEC), &spec_text) || place.replaces {
            write_atomic(&to.join(names::SPEC), spec_text.as_bytes())?;
        }
        write_timing(&to, &outcome.rows)?;
        write_atomic(&to.join(names::WAVEFUNCTION), outcome.saved.to_json()?.as_bytes())?;
        write_density(&to.join(names::DENSITY), &outcome.density)?;
        match &outcome.reference_density {
            Some(density) => reference_density::write(&to, density)?,
            // That of an earlier reference.
            None => set.drop_from_place(names::REFERENCE_DENSITY),
        }
        match &outcome.reference_pairs {
            Some(pairs) => reference_pairs::write(&to, pairs)?,
            None => set.drop_from_place(names::REFERENCE_PAIRS),
        }
        let provenance = Provenance::here();
        provenance.write(&to)?;
        table.finish_in(&to)?;
        let spec = &outcome.spec;
        match spec.states {
            None => write_summary(&to.join(names::SUMMARY), &outcome.summary)?,
            // One state, in the words of several as well.
            Some(_) => {
                let text = with_states(&outcome.summary).map_err(std::io::Error::from)?;
                write_atomic(&to.join(names::SUMMARY), text.as_bytes())?;
            }
        }
        let page = render(&ReportInput {
            summary: &outcome.summary,
            rows: &outcome.rows,
            density: &outcome.density,
            hamiltonian: &spec.hamiltonian,
            geometry: &spec.geometry,
            sector: &spec.sector,
            optimiser: &spec.optimiser,
            spec_text: &spec_text,
            observables: observables.as_ref(),
            projection: projection.as_ref(),
            notices: &notices,
            reference_density: outcome.reference_density.as_ref(),
            reference_pairs: outcome.reference_pairs.as_ref(),
            provenance: Some(&provenance),
            links: &Links::of_files(|name| set.will_hold(name, place.replaces)),
        });
        write_atomic(&to.join(names::REPORT), page.as_bytes())?;
        checkpoint.finished = true;
        checkpoint.write_after(folder, &to)?;
        set.put_in_place(place.replaces)?;
        Ok(Ended::Now(Box::new(outcome)))
    }
}

/// The summary with its state in the list that a run of several has.
fn with_states(summary: &Summary) -> Result<String, serde_json::Error> {
    let state = StateRow {
        energy: summary.energy,
        standard_error: summary.standard_error,
        variance: summary.variance,
        reference: summary.reference.as_ref().map(|r| Level {
            energy: r.energy,
            error_estimate: r.error_estimate,
            source: r.source.clone(),
            deviation: r.deviation,
        }),
        gap: Gap { energy: 0.0, standard_error: 0.0 },
    };
    let mut value = serde_json::to_value(summary)?;
    value["states"] = serde_json::to_value([state])?;
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}

/// What becomes of the results that are in a folder when new ones are written.
pub(super) struct Earlier {
    /// Where the new ones are written.
    pub(super) set: Set,
    /// What was measured of the state that is still the same.
    observables: Option<Observables>,
    /// What was projected from it.
    projection: Option<ProjectionRecord>,
    /// What the report says of those that are not.
    notices: Vec<String>,
}

/// What `weylflow measure` and `weylflow project` found of another state is of no use beside the new energy.
pub(super) fn earlier(
    results: &Path,
    place: &Place,
    fingerprint: Option<&str>,
    observer: &mut dyn Observer,
) -> Result<Earlier, FileError> {
    let (observables, stale) = if place.replaces {
        (None, None)
    } else {
        // Whatever is wrong with them must not cost the new results.
        fitting_observables(results, fingerprint).unwrap_or_else(|_| (None, Some(stale_notice())))
    };
    let mut set = match place.replaces {
        true => Set::begun(results, NEW_RUN)?,
        false => Set::empty(results, NEW_RESULTS)?,
    };
    let mut notices = Vec::new();
    let projection = if place.replaces {
        None
    } else {
        // As above.
        let (found, stale) = fitting_projection(results, fingerprint)
            .unwrap_or_else(|_| (None, Some(stale_projection())));
        if let Some(stale) = stale {
            if std::fs::symlink_metadata(results.join(names::PROJECTION)).is_ok() {
                set.set_aside(&names::STALE_PROJECTION);
                set.drop_from_place(names::PROJECTION_STATE);
                observer.hear(Event::Message(&format!(
                    "what `weylflow project` found belongs to another state and was set aside as {}",
                    names::STALE_PROJECTION[0].1
                )));
            }
            notices.push(stale);
        }
        found
    };
    let measured = std::fs::symlink_metadata(results.join(names::OBSERVABLES)).is_ok();
    if stale.is_some() && measured {
        set.set_aside(&names::STALE);
        observer.hear(Event::Message(&format!(
            "what `weylflow measure` found belongs to another state and was set aside as {}",
            names::STALE[0].1
        )));
        notices.push(stale_notice());
    } else {
        notices.extend(stale);
    }
    Ok(Earlier { set, observables, projection, notices })
}

fn stale_notice() -> String {
    format!(
        "What `weylflow measure` found belongs to an earlier state of the wavefunction and is not shown: it was set \
         aside as {}. Measure again.",
        names::STALE[0].1
    )
}

/// Whether a file has this content.
pub(super) fn holds(path: &Path, text: &str) -> bool {
    input::read(path, input::MOST_SPEC_BYTES).is_ok_and(|bytes| bytes == text.as_bytes())
}

/// An error of a run that was to replace others, whose results are still there.
fn untouched(error: RunError, folder: &Path, new: &Path) -> RunError {
    if !new.join(names::CHECKPOINT).is_file() {
        // Nothing to go on from. Where it cannot be removed, the next run will.
        let _ = replace::discard(new);
    }
    let new = new.is_dir().then(|| new.to_owned());
    RunError::Untouched { error: Box::new(error), folder: folder.to_owned(), new }
}
