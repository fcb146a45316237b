//! A run in its folder: checkpoints while it goes on, and at its end all results at once.

use super::resume;
use super::{Course, Event, Observer, Outcome, Run, RunError};
use crate::checkpoint::Checkpoint;
use crate::input;
use crate::report::csv::{EnergyCsv, format_table, write_timing};
use crate::report::density::write_density;
use crate::report::ensemble::{Gap, Level, StateRow};
use crate::report::faults::{self, FaultsCsv};
use crate::report::files::{
    Existing, FileError, create_output_folder, holds_a_run, names, write_atomic,
};
use crate::report::folder::{fitting_observables, fitting_projection, stale_projection};
use crate::report::html::{ReportInput, render};
use crate::report::links::Links;
use crate::report::observables::Observables;
use crate::report::projection::ProjectionRecord;
use crate::report::provenance::Provenance;
use crate::report::record::Summary;
use crate::report::replace::{self, NEW_RESULTS, NEW_RUN, Set};
use crate::report::summary::{read_summary, write_summary};
use crate::report::{reference_density, reference_pairs};
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

    fn resumes(&self) -> bool {
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
        // The results of an earlier run stay in place until there are those that replace them.
        let at = if place.existing == Existing::Overwrite && holds_a_run(folder) {
            Place { folder: Set::empty(folder, NEW_RUN)?.path().to_owned(), replaces: true }
        } else if place.resumes() {
            resume::place(folder, &self.spec)
        } else {
            Place { folder: folder.to_owned(), replaces: false }
        };
        self.run_at(place, &at, &mut observer).map_err(|error| match at.replaces {
            true if at.folder.is_dir() => untouched(error, folder, &at.folder),
            _ => error,
        })
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
        let resumed = start.is_some();
        let mut checkpoint = match start {
            Some(checkpoint) if checkpoint.finished => {
                let summary = read_summary(&folder.join(names::SUMMARY))?;
                return Ok(Ended::Before(Box::new(summary), checkpoint.training.iteration));
            }
            Some(checkpoint) => checkpoint,
            None => Checkpoint {
                spec: self.spec.clone(),
                training: TrainingState::new(self.psi.parameters(), self.optimiser.as_ref()),
                energy: format_table(&[]),
                seconds: Vec::new(),
                cpu_seconds: 0.0,
                work: Work::NONE,
                finished: false,
            },
        };
        let rows = checkpoint
            .rows(&folder.join(names::CHECKPOINT))
            .map_err(|error| RunError::Checkpoint { error, before: None })?;
        if resumed {
            observer.hear(Event::Message(&format!("going on after {} iterations", rows.len())));
        } else if !holds(&folder.join(names::SPEC), &self.spec_text) {
            write_atomic(&folder.join(names::SPEC), self.spec_text.as_bytes())?;
        }
        let mut table = EnergyCsv::create(folder, &rows)?;
        let mut faults = FaultsCsv::new(folder, rows.len())?;
        let mut written = (rows.len(), Instant::now());
        let course = Course {
            training: checkpoint.training.clone(),
            work: checkpoint.work,
            before: (rows.last().map_or(0.0, |r| r.seconds), checkpoint.cpu_seconds),
            rows,
        };
        let (spec_text, clocks) = (self.spec_text.clone(), self.clocks);
        let processor = |course: &Course| course.before.1 + clocks.processor();
        let trained =
            self.train_from(course, &mut *observer, &mut |report, course, state, stops| {
                let rows = &course.rows;
                table.push(&rows[rows.len() - 1])?;
                faults.push(faults::TRAINING, report.iteration, &report.faults)?;
                let due = rows.len() - written.0 >= asked.checkpoint_every
                    || written.1.elapsed().as_secs_f64() >= asked.checkpoint_seconds;
                if due || stops {
                    checkpoint.update(state, rows, processor(course), course.work);
                    checkpoint.write(folder)?;
                    written = (rows.len(), Instant::now());
                }
                Ok(())
            });
        let saved_in = |error| match error {
            RunError::Interrupted { .. } => {
                RunError::Interrupted { checkpoint: Some(folder.join(names::CHECKPOINT)) }
            }
            error => error,
        };
        let trained = trained.map_err(saved_in)?;
        let course = &trained.course;
        checkpoint.update(&course.training, &course.rows, processor(course), course.work);
        checkpoint.write(folder)?;
        let outcome = trained.estimate().map_err(saved_in)?;
        faults.push(faults::ESTIMATE, outcome.rows.len(), &outcome.faults)?;

        let Earlier { mut set, observables, projection, notices } =
            earlier(results, place, &outcome, observer)?;
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
struct Earlier {
    /// Where the new ones are written.
    set: Set,
    /// What was measured of the state that is still the same.
    observables: Option<Observables>,
    /// What was projected from it.
    projection: Option<ProjectionRecord>,
    /// What the report says of those that are not.
    notices: Vec<String>,
}

/// What `weylflow measure` and `weylflow project` found of another state is of no use beside the new energy.
fn earlier(
    results: &Path,
    place: &Place,
    outcome: &Outcome,
    observer: &mut dyn Observer,
) -> Result<Earlier, FileError> {
    let (observables, stale) = if place.replaces {
        (None, None)
    } else {
        // Whatever is wrong with them must not cost the new results.
        fitting_observables(results, outcome.summary.fingerprint.as_deref())
            .unwrap_or_else(|_| (None, Some(stale_notice())))
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
        let (found, stale) = fitting_projection(results, outcome.summary.fingerprint.as_deref())
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
fn holds(path: &Path, text: &str) -> bool {
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
