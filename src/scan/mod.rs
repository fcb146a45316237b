//! Scans: one spec with named parameters, a run at every value, and the curve that they make.
//!
//! The points are done one after the other, each with all threads, so that every number is the same for any number of them.

mod conditional;
mod elsewhere;
mod ensemble;
pub mod replace;
mod series;
mod slope;
mod whole;

pub use crate::store::scan::{Judged, Measured, Point, PointResult, Slope, files};
pub use conditional::Conditional;
use conditional::Training;
pub use elsewhere::{Elsewhere, ElsewhereError};
use slope::{Ground, Slopes};
pub use whole::Whole;

use crate::estimate::Verdict;
use crate::run::{Ended, Event, InFolder, Observer, Run, RunError, State, StateError};
use crate::spec::scan::Method;
use crate::spec::{Family, ResolvedSpec, SpecError};
use crate::store::files::{Existing, FileError, names, read_text, write_atomic};
use crate::store::record::Summary;
use crate::store::saved::SavedWavefunction;
use crate::store::{reference_density, reference_pairs};
use crate::train::TrainError;
use crate::wavefunction::weyl::{BaseSettings, WeylSettings};
use crate::wavefunction::{Wavefunction, WavefunctionError, WavefunctionSettings};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// What is kept of a point beside its run.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    fingerprint: String,
    slopes: Vec<Option<Slope>>,
}

/// Why a scan ends early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// The spec at a value, before anything ran.
    #[error("at {at}: {error}")]
    Spec {
        /// The values.
        at: String,
        /// What is wrong there.
        error: SpecError,
    },
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Points that do not exist.
    #[error("there are {count} points, so that there is no {asked}")]
    Only {
        /// How many there are.
        count: usize,
        /// The number asked for, from 1.
        asked: usize,
    },
    /// The folder holds another scan.
    #[error(
        "`{}` holds the scan of another spec or other values",
        folder.display()
    )]
    Other {
        /// The folder.
        folder: PathBuf,
    },
    /// What was trained for all points cannot be read or written.
    #[error("`{}`: {problem}", path.display())]
    Series {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The training for all points failed.
    #[error("the training for all points failed: {0}")]
    Train(TrainError),
    /// There is no wavefunction for all points.
    #[error("there is no wavefunction for all points: {0}")]
    Wavefunction(WavefunctionError),
    /// More or fewer parameters at some points.
    #[error(
        "the number of trained parameters changes along the scan: no series can be trained for it; use `Continuation`"
    )]
    Parameters,
    /// Refinements of what is a series.
    #[error("a scan by `Conditional` has no refinements: leave `refinements` out")]
    Refinements,
    /// No point has a result, and others stay.
    #[error(
        "all points failed, the first because\n  {why}\n  the earlier scan in `{}` is untouched",
        folder.display()
    )]
    NoneSucceeded {
        /// What the first failed with.
        why: String,
        /// The folder with the earlier scan.
        folder: PathBuf,
    },
    /// Series are of ground states.
    #[error("`Conditional` is for ground states: not for several states or a temperature")]
    GroundStates,
    /// Series are in one parameter.
    #[error("`Conditional` is for scans of one parameter with two and more values")]
    OneParameter,
    /// The observer ended the training for all points.
    #[error("interrupted in the training for all points")]
    InterruptedTraining,
    /// The observer ended the scan.
    #[error("interrupted at point {number}")]
    Interrupted {
        /// The point, from 1.
        number: usize,
        /// What the run of the point says.
        error: Box<RunError>,
    },
}

/// Where and how a scan runs.
#[derive(Clone, Debug)]
pub struct InScanFolder {
    /// The folder of the scan, and what becomes of results in it.
    pub place: InFolder,
    /// The points to do, from 1; all of them otherwise.
    pub only: Option<RangeInclusive<usize>>,
}

/// What the state of a point starts from.
enum Start<'a> {
    /// Its base, or the state of another point.
    Own(Option<(usize, Box<SavedWavefunction>)>),
    /// What was trained for all, with the wavefunction where that is there.
    Series(&'a Conditional, Option<Box<dyn Wavefunction>>),
}

/// Variance of the local energy, in units of the kinetic energy squared, up to which a kind of base that was found for another point serves: training
/// does the rest.
const NEAR: f64 = 1e-4;

/// A run with the kind of base of a neighbour, where the spec leaves that open and the state is a good one: looking for a kind costs more than building
/// one, and the curve is the smoother. Says as well whether it starts from the neighbour's parameters.
fn continued(
    spec: &ResolvedSpec,
    neighbour: &SavedWavefunction,
) -> Result<Option<(Run, bool)>, RunError> {
    let kind = match (&spec.wavefunction, &neighbour.spec.wavefunction) {
        (WavefunctionSettings::Weyl(own), WavefunctionSettings::Weyl(there))
            if own.base == BaseSettings::Automatic =>
        {
            let base = there.base.clone();
            WavefunctionSettings::Weyl(WeylSettings { base, ..own.clone() })
        }
        _ => return Ok(None),
    };
    let mut alike = spec.clone();
    alike.wavefunction = kind;
    // What does not exist here is no fault: another kind may.
    let Ok(mut run) = Run::new(alike) else { return Ok(None) };
    let warm = run.start_from(neighbour)?;
    Ok((run.relative_variance() < NEAR).then_some((run, warm)))
}

/// A scan that has not begun.
#[derive(Clone, Debug)]
pub struct Scan {
    family: Family,
    method: Method,
    points: Vec<Point>,
    /// Where a series is trained.
    training: Option<Training>,
}

impl Scan {
    /// The scan that a spec asks for; none where it asks for a single run.
    pub fn new(family: Family) -> Option<Self> {
        let [first, rest @ ..] = family.scan() else { return None };
        let method = first.method;
        let mut points = Vec::new();
        match rest {
            [] => {
                for (index, value) in first.values.all().into_iter().enumerate() {
                    let values = vec![(first.parameter.clone(), value)];
                    points.push(Point { index, values, before: index.checked_sub(1) });
                }
            }
            [second, ..] => {
                let inner = second.values.all();
                for (i, &a) in first.values.all().iter().enumerate() {
                    for (j, &b) in inner.iter().enumerate() {
                        let index = i * inner.len() + j;
                        let values =
                            vec![(first.parameter.clone(), a), (second.parameter.clone(), b)];
                        let before = match j {
                            0 => index.checked_sub(inner.len()),
                            _ => Some(index - 1),
                        };
                        points.push(Point { index, values, before });
                    }
                }
            }
        }
        let training = match method {
            Method::Conditional { degree } => Some(Training::of(&family, first, degree)),
            Method::Independent | Method::Continuation => None,
        };
        Some(Scan { family, method, points, training })
    }

    /// The points, in their order.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Names of the scanned parameters.
    pub fn parameters(&self) -> Vec<&str> {
        self.family.scan().iter().map(|s| s.parameter.as_str()).collect()
    }

    /// The spec at a point, with the values in its title.
    ///
    /// # Errors
    /// [`SpecError`], pointing into the spec.
    pub fn spec_at(&self, point: &Point) -> Result<ResolvedSpec, SpecError> {
        let mut spec = self.family.at(&point.values)?.spec_to_train()?;
        spec.title += &format!(", {}", point.words());
        Ok(spec)
    }

    /// Folder of a point.
    pub fn folder_of(&self, folder: &Path, point: &Point) -> PathBuf {
        let digits = self.points.len().to_string().len().max(2);
        folder.join(files::POINTS).join(format!("{:0digits$}", point.index + 1))
    }

    /// Every file that a scan may write into a folder.
    pub fn written_into(&self, folder: &Path) -> Vec<PathBuf> {
        let own =
            [files::CURVE, files::REPORT, files::SCAN, files::SERIES].map(|name| folder.join(name));
        let points = self.points.iter().flat_map(|point| {
            let of = self.folder_of(folder, point);
            let mut all = crate::run::written_into(&of);
            all.push(of.with_extension("json"));
            all
        });
        own.into_iter().chain(points).collect()
    }

    /// What tells this scan from others: the texts, the values and the method.
    fn identity(&self) -> String {
        let points: Vec<_> = self.points.iter().map(|p| &p.values).collect();
        let all = serde_json::json!({
            "spec": self.family.texts(), "parameters": self.family.parameters(), "points": points, "method": self.method,
        });
        format!("{all:#}\n")
    }

    /// Does the points, one after the other; what becomes of each is in the result, one that fails among them. `change` has the
    /// last word on each spec: what the command line says of seeds and iterations.
    ///
    /// # Errors
    /// [`ScanError`]: a folder that cannot be used, an observer that ends the scan.
    pub fn in_folder(
        &self,
        asked: &InScanFolder,
        change: &dyn Fn(&mut ResolvedSpec),
        observer: &mut dyn Observer,
    ) -> Result<Vec<PointResult>, ScanError> {
        let same = self.begin(asked)?;
        let given = match &self.training {
            Some(training) => {
                let folder = asked.place.folder.as_path();
                Some(conditional::train(self, training, folder, same, change, observer)?)
            }
            None => None,
        };
        let mut work = GroundStates { scan: self, place: &asked.place, given, change };
        self.each(asked, same, &mut work, observer)
    }

    /// Makes the folder of a scan that was asked for like this; whether the points that are in it are of this one.
    fn begin(&self, asked: &InScanFolder) -> Result<bool, ScanError> {
        let count = self.points.len();
        let wanted = asked.only.clone().unwrap_or(1..=count);
        if let Some(asked) =
            [*wanted.start(), *wanted.end()].into_iter().find(|n| !(1..=count).contains(n))
        {
            return Err(ScanError::Only { count, asked });
        }
        self.prepare(asked)
    }

    /// Does the points that were asked for; of the others what is there belongs to the curve.
    fn each<M>(
        &self,
        asked: &InScanFolder,
        same: bool,
        work: &mut dyn AtPoints<M>,
        observer: &mut dyn Observer,
    ) -> Result<Vec<PointResult<M>>, ScanError> {
        let (folder, count) = (asked.place.folder.as_path(), self.points.len());
        let wanted = asked.only.clone().unwrap_or(1..=count);
        // Of another scan there may be states in the way.
        let mut usable = vec![same; count];
        let mut results = Vec::new();
        for point in &self.points {
            let of = self.folder_of(folder, point);
            let number = point.index + 1;
            let kept = |result| PointResult { point: point.clone(), folder: of.clone(), result };
            if !wanted.contains(&number) {
                if std::fs::symlink_metadata(of.join(names::SUMMARY)).is_ok() {
                    match work.done(point, &of) {
                        Ok(done) => results.push(kept(Ok(done))),
                        Err(why) => {
                            observer.hear(Event::Message(&format!("point {number}: {why}")));
                        }
                    }
                }
                continue;
            }
            let words = point.words();
            observer.hear(Event::Message(&format!("point {number} of {count}: {words}")));
            let before = self.state_before(point, folder, &usable);
            let result = match work.run(point, &of, before, observer) {
                Ok(measured) => Ok(measured),
                Err(Failure::Run(error)) if interrupted(&error) => {
                    return Err(ScanError::Interrupted { number, error });
                }
                Err(Failure::Run(error)) if is_in_the_way(&error) => {
                    return Err(FileError::NotEmpty { path: of }.into());
                }
                Err(failure) => {
                    let why = failure.to_string();
                    observer.hear(Event::Message(&format!("point {number} failed: {why}")));
                    Err(why)
                }
            };
            usable[point.index] = result.is_ok();
            results.push(kept(result));
        }
        Ok(results)
    }

    /// Makes the folder of the scan; whether the points that are in it are of this one.
    fn prepare(&self, asked: &InScanFolder) -> Result<bool, ScanError> {
        let folder = asked.place.folder.as_path();
        let (path, identity) = (folder.join(files::SCAN), self.identity());
        let there = std::fs::symlink_metadata(folder).is_ok();
        let before = match std::fs::symlink_metadata(&path).is_ok() {
            true => Some(read_text(&path)?),
            false => None,
        };
        let same = before.as_ref() == Some(&identity);
        let part = asked.only.is_some();
        // Its report would be that of neither.
        if before.is_none()
            && [names::SUMMARY, names::CHECKPOINT].iter().any(|n| folder.join(n).exists())
        {
            return Err(FileError::OfAnotherKind { path: folder.to_owned(), what: "run" }.into());
        }
        match (asked.place.existing, before) {
            // A part of one scan and the rest of another make no curve.
            (existing, Some(_)) if !same && (existing == Existing::Keep || part) => {
                return Err(ScanError::Other { folder: folder.to_owned() });
            }
            (Existing::Overwrite | Existing::Keep, _) => {}
            (Existing::Refuse, Some(_)) if part => {}
            (Existing::Refuse, _) if !there => {}
            (Existing::Refuse, _) => {
                let empty = std::fs::read_dir(folder).is_ok_and(|mut all| all.next().is_none());
                if !empty {
                    return Err(FileError::NotEmpty { path: folder.to_owned() }.into());
                }
            }
        }
        let points = folder.join(files::POINTS);
        std::fs::create_dir_all(&points).map_err(FileError::io("create the folder", &points))?;
        write_atomic(&path, identity.as_bytes())?;
        Ok(same && (part || asked.place.existing == Existing::Keep))
    }

    fn run_point(
        &self,
        point: &Point,
        folder: &Path,
        place: &InFolder,
        start: Start,
        change: &dyn Fn(&mut ResolvedSpec),
        observer: &mut dyn Observer,
    ) -> Result<Measured, Failure> {
        let mut spec = self.spec_at(point)?;
        change(&mut spec);
        let run = match start {
            Start::Series(conditional, built) => {
                let parameters = conditional.series.as_ref().map(|s| s.at(point.values[0].1));
                Run::held(conditional.spec_for(spec), built, 0, &parameters.unwrap_or_default())?
            }
            Start::Own(None) => Run::new(spec)?,
            Start::Own(Some((from, state))) => {
                let said = |warm: bool| match warm {
                    true => format!("starting from the state of point {}", from + 1),
                    false => format!("starting afresh: better than from point {}", from + 1),
                };
                match continued(&spec, &state)? {
                    Some((run, warm)) => {
                        observer.hear(Event::Message(&said(warm)));
                        run
                    }
                    None => {
                        let mut run = Run::new(spec)?;
                        observer.hear(Event::Message(&said(run.start_from(&state)?)));
                        run
                    }
                }
            }
        };
        let place = InFolder { folder: folder.to_owned(), ..place.clone() };
        let family = self.family.at(&point.values)?;
        let mut slopes = Slopes::new(run.spec(), &family, &point.values, observer);
        match run.in_folder(&place, &mut slopes)? {
            Ended::Now(outcome) => {
                let ground = Ground::of(
                    &outcome.summary,
                    outcome.reference_density.as_ref(),
                    outcome.reference_pairs.as_ref(),
                );
                let slopes = slopes.found(outcome.wavefunction(), ground);
                let fingerprint = outcome.summary.fingerprint.clone().unwrap_or_default();
                let text = serde_json::to_string(&Kept { fingerprint, slopes: slopes.clone() });
                let text = text.map_err(crate::store::saved::SavedError::Json);
                let path = folder.with_extension("json");
                write_atomic(&path, text.map_err(RunError::from)?.as_bytes())
                    .map_err(RunError::from)?;
                let trained = self.trained(point);
                Ok(Measured { summary: outcome.summary, slopes, trained })
            }
            Ended::Before(summary, _) => Ok(self.measured_before(point, folder, *summary)?),
        }
    }

    /// Whether a point is one that is trained at.
    fn trained(&self, point: &Point) -> bool {
        let series = self.training.as_ref();
        series.is_none_or(|t| t.nodes.contains(&point.values[0].1))
    }

    /// The trained state of the nearest point before that has one, where points start from each other.
    fn state_before(
        &self,
        point: &Point,
        folder: &Path,
        usable: &[bool],
    ) -> Option<(usize, SavedWavefunction)> {
        let mut before = point.before.filter(|_| self.method == Method::Continuation);
        while let Some(index) = before {
            let from = self.folder_of(folder, &self.points[index]);
            let text = read_text(&from.join(names::WAVEFUNCTION)).ok().filter(|_| usable[index]);
            if let Some(state) = text.and_then(|t| SavedWavefunction::from_json(&t).ok()) {
                return Some((index, state));
            }
            before = self.points[index].before;
        }
        None
    }

    /// The results of a run that ended before.
    fn measured_before(
        &self,
        point: &Point,
        folder: &Path,
        summary: Summary,
    ) -> Result<Measured, StateError> {
        let kept = read_text(&folder.with_extension("json")).ok();
        let kept: Option<Kept> = kept.and_then(|text| serde_json::from_str(&text).ok());
        let fits = |kept: &Kept| summary.fingerprint.as_deref() == Some(kept.fingerprint.as_str());
        let slopes = match kept.filter(fits) {
            Some(kept) => kept.slopes,
            None => {
                let state = State::read(folder)?;
                let density = reference_density::read(folder).ok().flatten();
                let pairs = reference_pairs::read(folder).ok().flatten();
                let ground = Ground::of(&summary, density.as_ref(), pairs.as_ref());
                match self.family.at(&point.values) {
                    Ok(family) => {
                        let mut silent = ();
                        let values = &point.values;
                        let mut slopes = Slopes::new(state.spec(), &family, values, &mut silent);
                        slopes.draw(state.wavefunction());
                        slopes.found(state.wavefunction(), ground)
                    }
                    Err(_) => Vec::new(),
                }
            }
        };
        Ok(Measured { summary, slopes, trained: self.trained(point) })
    }
}

/// What is done at the points of a scan.
trait AtPoints<M> {
    /// The results of a point, from the state of another where there is one to start from.
    fn run(
        &mut self,
        point: &Point,
        folder: &Path,
        before: Option<(usize, SavedWavefunction)>,
        observer: &mut dyn Observer,
    ) -> Result<M, Failure>;

    /// The results that an earlier scan has left in the folder of a point, or why they cannot be read.
    fn done(&self, point: &Point, folder: &Path) -> Result<M, String>;
}

/// Ground states.
struct GroundStates<'a> {
    scan: &'a Scan,
    place: &'a InFolder,
    /// What was trained for all points.
    given: Option<(Conditional, conditional::Built)>,
    change: &'a dyn Fn(&mut ResolvedSpec),
}

impl AtPoints<Measured> for GroundStates<'_> {
    fn run(
        &mut self,
        point: &Point,
        folder: &Path,
        before: Option<(usize, SavedWavefunction)>,
        observer: &mut dyn Observer,
    ) -> Result<Measured, Failure> {
        let start = match &mut self.given {
            Some((conditional, built)) => {
                let own = built.iter().position(|(v, _)| *v == point.values[0].1);
                Start::Series(conditional, own.map(|i| built.swap_remove(i).1))
            }
            None => Start::Own(before.map(|(from, state)| (from, Box::new(state)))),
        };
        self.scan.run_point(point, folder, self.place, start, self.change, observer)
    }

    fn done(&self, point: &Point, folder: &Path) -> Result<Measured, String> {
        let summary = crate::store::summary::read_summary(&folder.join(names::SUMMARY));
        let summary = summary.map_err(|e| e.to_string())?;
        self.scan.measured_before(point, folder, summary).map_err(|e| e.to_string())
    }
}

fn interrupted(error: &RunError) -> bool {
    match error {
        RunError::Interrupted { .. } => true,
        RunError::Untouched { error, .. } => interrupted(error),
        _ => false,
    }
}

fn is_in_the_way(error: &RunError) -> bool {
    matches!(error, RunError::File(FileError::NotEmpty { .. }))
}

/// Why a point has no results.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("{0}")]
    Run(Box<RunError>),
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Failure::Run(Box::new(error))
    }
}

/// The worst that came of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worst {
    /// All points are good.
    Good,
    /// Some are doubtful.
    Doubtful,
    /// Some were refused.
    Refused,
    /// Some have no result.
    Failed,
}

/// The worst of some points.
pub fn worst<M: Judged>(results: &[PointResult<M>]) -> Worst {
    let of = |result: &PointResult<M>| match result.measured().map(Judged::verdict) {
        None => Worst::Failed,
        Some(Some(Verdict::Refused)) => Worst::Refused,
        Some(Some(Verdict::Doubtful)) => Worst::Doubtful,
        Some(Some(Verdict::Good) | None) => Worst::Good,
    };
    results.iter().map(of).max().unwrap_or(Worst::Good)
}

#[cfg(test)]
mod tests;
