//! One training for a whole scan: the parameters of the flow as Chebyshev series in the scanned parameter.
//!
//! The base is that of each value, built as for a single run; one kind of base serves for all values, so that the trained parameters mean the
//! same everywhere. A series of degree d is what it is at d + 1 values, and with as many training points the Gauss–Newton step in its
//! coefficients is the step at each point: the gradient and the matrix of the coefficients are those of the points times the (invertible) matrix of
//! the polynomials. Only the choice among the steps is left to be made for all points together.

use super::series::{Range, Series, nodes};
use super::{NEAR, Scan, ScanError, files};
use crate::run::{Event, Observer, relative_variance};
use crate::spec::scan::Values;
use crate::spec::{Family, ResolvedSpec};
use crate::store::files::{read_text, write_atomic};
use crate::system::System;
use crate::team;
use crate::train::{JointState, Member, Schedule, StopReason, train_jointly};
use crate::wavefunction::{Wavefunction, WavefunctionError, WavefunctionSettings};
use cpu_time::ProcessTime;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::path::Path;

/// What is kept of the training: where it stands, and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditional {
    format: u32,
    /// The spec at the first training point, with everything that was chosen for the curve.
    pub spec: ResolvedSpec,
    /// Name of the parameter.
    pub parameter: String,
    /// The values that were trained at.
    pub nodes: Vec<f64>,
    state: JointState,
    /// The parameters of the flow, once the training has ended.
    pub series: Option<Series>,
    /// Processor seconds of the training with the bases of its points.
    pub cpu_seconds: f64,
}

/// Version of the file.
const FORMAT: u32 = 1;

/// Samples of an iteration at all training points together, in units of those of a single run.
const SHARE: usize = 2;

/// Wavefunctions of the training points, to be used again.
pub(super) type Built = Vec<(f64, Box<dyn Wavefunction>)>;

impl Conditional {
    /// Reads what a scan has left in its folder; none where there is none.
    ///
    /// # Errors
    /// A file that is none of this version.
    pub fn read(folder: &Path) -> Result<Option<Self>, ScanError> {
        let path = folder.join(files::SERIES);
        if std::fs::symlink_metadata(&path).is_err() {
            return Ok(None);
        }
        let found: Result<Self, _> = serde_json::from_str(&read_text(&path)?);
        match found {
            Ok(found) if found.format == FORMAT => Ok(Some(found)),
            Ok(_) => Err(ScanError::Series { path, problem: "is of another version".to_owned() }),
            Err(error) => Err(ScanError::Series { path, problem: error.to_string() }),
        }
    }

    fn write(&self, folder: &Path) -> Result<(), ScanError> {
        let path = folder.join(files::SERIES);
        let text = serde_json::to_string(self)
            .map_err(|e| ScanError::Series { path: path.clone(), problem: e.to_string() })?;
        Ok(write_atomic(&path, text.as_bytes())?)
    }

    /// A spec at a value, from what a text says there: what was chosen for the curve, and nothing to train.
    pub fn spec_for(&self, spec: ResolvedSpec) -> ResolvedSpec {
        let ResolvedSpec { title, hamiltonian, geometry, reference, .. } = spec;
        ResolvedSpec { title, hamiltonian, geometry, reference, iterations: 0, ..self.spec.clone() }
    }

    /// In words, how the training ended.
    pub fn words(&self) -> String {
        format!(
            "One training at {} points: {} iterations, {:.1} CPU seconds; it stopped because {}",
            self.nodes.len(),
            self.state.iteration,
            self.cpu_seconds,
            match self.state.stopped() {
                StopReason::NoStep => "no step lowered the energies or their variances any more",
                other => other.words(),
            }
        )
    }
}

/// Where a series is trained, and where it is good.
#[derive(Clone, Debug)]
pub(super) struct Training {
    /// From the lowest to the highest value that has a spec.
    pub(super) range: Range,
    /// The values, ascending.
    pub(super) nodes: Vec<f64>,
}

impl Training {
    /// Of the values of a scan those that have a spec: what fails at the others costs nobody else anything.
    pub(super) fn of(family: &Family, scan: &crate::spec::scan::Scan, degree: usize) -> Self {
        let has_spec = |&value: &f64| {
            let there = family.at(&[(scan.parameter.clone(), value)]);
            there.and_then(|family| family.spec_to_train()).is_ok()
        };
        let values: Vec<f64> = scan.values.all().into_iter().filter(has_spec).collect();
        let range = Range {
            low: values.iter().copied().fold(f64::INFINITY, f64::min),
            high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            logarithmic: matches!(scan.values, Values::Geometric { .. }),
        };
        let nodes = match range.low < range.high {
            true => nodes(&range, degree, &values),
            false => Vec::new(),
        };
        Training { range, nodes }
    }
}

/// Trains, or goes on where `before` stands, and leaves the series in the folder.
///
/// # Errors
/// [`ScanError`]: a point of the training without a spec or wavefunction, a training that fails, an observer that ends it.
pub(super) fn train(
    scan: &Scan,
    training: &Training,
    folder: &Path,
    resumes: bool,
    change: &dyn Fn(&mut ResolvedSpec),
    observer: &mut dyn Observer,
) -> Result<(Conditional, Built), ScanError> {
    let clock = ProcessTime::now();
    let [asked] = scan.family.scan() else { return Err(ScanError::OneParameter) };
    let Training { range, nodes: at } = training.clone();
    if at.is_empty() {
        return Err(ScanError::OneParameter);
    }
    let mut specs = Vec::new();
    for &value in &at {
        let words = format!("{} = {value}", asked.parameter);
        let found = scan.family.at(&[(asked.parameter.clone(), value)]);
        let spec = found.and_then(|family| family.spec_to_train());
        let mut spec = spec.map_err(|error| ScanError::Spec { at: words, error })?;
        change(&mut spec);
        if spec.refinements > 0 {
            return Err(ScanError::Refinements);
        }
        specs.push(spec);
    }
    // What has no layers has nothing in common with what has.
    let kind = |s: &ResolvedSpec| std::mem::discriminant(&s.wavefunction);
    if specs.iter().any(|s| kind(s) != kind(&specs[0])) {
        return Err(ScanError::Parameters);
    }
    let kept = if resumes { Conditional::read(folder)? } else { None };
    let fits = |c: &Conditional| {
        let now = ResolvedSpec { wavefunction: c.spec.wavefunction.clone(), ..specs[0].clone() };
        let then = ResolvedSpec { iterations: now.iterations, ..c.spec.clone() };
        c.nodes == at && then == now
    };
    let mut kept = kept.filter(fits);
    // More iterations than before go on; what has ended needs no wavefunctions.
    if let Some(done) = kept.take_if(|c| {
        c.series.is_some()
            && (c.spec.iterations == specs[0].iterations
                || c.state.stopped() != StopReason::Iterations)
    }) {
        observer.hear(Event::Message(&done.words()));
        return Ok((done, Vec::new()));
    }
    let said = &mut |words: &str| observer.hear(Event::Message(words));
    let (wavefunction, psis) = match &kept {
        Some(c) => (c.spec.wavefunction.clone(), all_built(&c.spec.wavefunction, &specs)),
        None => settled(&specs, said)?,
    };
    let psis = psis.map_err(ScanError::Wavefunction)?;
    specs.iter_mut().for_each(|s| s.wavefunction = wavefunction.clone());
    let count = psis.first().map_or(0, |psi| psi.parameters().len());
    if psis.iter().any(|psi| psi.parameters().len() != count) {
        return Err(ScanError::Parameters);
    }
    let mut members: Vec<Member> = psis
        .into_iter()
        .zip(&specs)
        .map(|(psi, spec)| Member {
            psi,
            system: System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry },
            optimiser: spec.optimiser.minimising(spec.objective),
        })
        .collect();
    let whole = specs[0].schedule();
    let samples = (SHARE * whole.samples).div_ceil(members.len()).clamp(1, whole.samples);
    let schedule = Schedule { samples, ..whole };
    let mut all = Conditional {
        format: FORMAT,
        spec: specs[0].clone(),
        parameter: asked.parameter.clone(),
        nodes: at.clone(),
        state: JointState::new(&members),
        series: None,
        cpu_seconds: 0.0,
    };
    let mut before = 0.0;
    if let Some(c) = kept {
        (all.state, before) = (c.state, c.cpu_seconds);
    }
    observer.hear(Event::Message(&format!(
        "one training at {} = {}: {count} parameters, {} iterations of {} samples at each",
        asked.parameter,
        at.iter().map(|v| v.to_string()).collect::<Vec<_>>().join(", "),
        schedule.iterations,
        schedule.samples
    )));
    let mut failed = None;
    let mut state = all.state.clone();
    // In this process alone: others know one system at a time.
    let ended = team::alone(|| {
        train_jointly(&mut members, &schedule, &mut state, |report, state| {
            let mean =
                |of: &dyn Fn(usize) -> f64| (0..at.len()).map(of).sum::<f64>() / at.len() as f64;
            observer.hear(Event::Message(&format!(
                "iteration {}: mean energy {:.8} Ha, mean variance {:.3e} Ha², largest step {:.1e}",
                report.iteration + 1,
                mean(&|i| report.energies[i].mean()),
                mean(&|i| report.energies[i].variance()),
                report.steps.iter().copied().fold(0.0, f64::max),
            )));
            all.state.clone_from(state);
            all.cpu_seconds = before + clock.elapsed().as_secs_f64();
            failed = all.write(folder).err();
            match failed.is_some() || observer.stops() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })
    });
    if let Some(error) = failed {
        return Err(error);
    }
    if !ended.map_err(ScanError::Train)? {
        return Err(ScanError::InterruptedTraining);
    }
    all.state = state;
    all.series = Some(Series::through(range, &at, &all.state.parameters).map_err(|e| {
        ScanError::Train(crate::train::TrainError::Step {
            iteration: all.state.iteration,
            error: e,
        })
    })?);
    all.cpu_seconds = before + clock.elapsed().as_secs_f64();
    all.write(folder)?;
    observer.hear(Event::Message(&all.words()));
    let built = at.into_iter().zip(members.into_iter().map(|m| m.psi)).collect();
    Ok((all, built))
}

type Psi = Box<dyn Wavefunction>;
type AllBuilt = Result<Vec<Psi>, WavefunctionError>;

fn built(settings: &WavefunctionSettings, spec: &ResolvedSpec) -> Result<Psi, WavefunctionError> {
    let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
    settings.build(spec.sector, system, spec.seed)
}

fn all_built(settings: &WavefunctionSettings, specs: &[ResolvedSpec]) -> AllBuilt {
    specs.iter().map(|spec| built(settings, spec)).collect()
}

/// A kind of wavefunction, with what of it has been built at the training points.
struct Kind {
    settings: WavefunctionSettings,
    at: Vec<Option<Psi>>,
    /// The largest variance of its local energy where it was looked at.
    variance: f64,
}

impl Kind {
    /// What is found to fit at one of the points.
    fn found(
        specs: &[ResolvedSpec],
        i: usize,
        say: &mut dyn FnMut(&str),
    ) -> Result<Self, WavefunctionError> {
        let spec = &specs[i];
        let mut settings = spec.wavefunction.clone();
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let (lines, psi) = settings.settle_and_build(spec.sector, system, spec.seed)?;
        lines.iter().for_each(|line| say(line));
        let mut at: Vec<Option<Psi>> = specs.iter().map(|_| None).collect();
        at[i] = Some(psi);
        Ok(Kind { settings, at, variance: 0.0 })
    }

    /// The variance at one of the points; infinite where it does not exist.
    fn variance_at(&mut self, specs: &[ResolvedSpec], i: usize) -> f64 {
        let spec = &specs[i];
        if self.at[i].is_none() {
            self.at[i] = built(&self.settings, spec).ok();
        }
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let of = |psi: &Psi| relative_variance(psi.as_ref(), system, spec.seed);
        let found = self.at[i].as_ref().map(of).filter(|v| !v.is_nan());
        found.unwrap_or(f64::INFINITY)
    }
}

/// One kind of wavefunction for all training points, and what it is at each: what is found to fit at one end, where its variance is small at the other end
/// and in the middle as well; otherwise that of the kinds that are found there whose largest variance is the least.
fn settled(
    specs: &[ResolvedSpec],
    say: &mut dyn FnMut(&str),
) -> Result<(WavefunctionSettings, AllBuilt), ScanError> {
    let mut looked: Vec<usize> = vec![0, specs.len() / 2, specs.len() - 1];
    looked.dedup();
    let (mut kinds, mut searched): (Vec<Kind>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut from = Some(0);
    while let Some(i) = from {
        searched.push(i);
        let mut kind = Kind::found(specs, i, say).map_err(ScanError::Wavefunction)?;
        let mut poor = None;
        for &j in &looked {
            let here = kind.variance_at(specs, j);
            // Where a kind has been looked for there is nothing better.
            if here > NEAR && !searched.contains(&j) {
                poor = Some(j);
            }
            kind.variance = kind.variance.max(here);
        }
        let known = kinds.iter().any(|k| k.settings == kind.settings);
        if !known {
            kinds.push(kind);
        }
        from = poor;
    }
    let least = kinds.into_iter().min_by(|a, b| a.variance.total_cmp(&b.variance));
    let Some(kind) = least else { return Err(ScanError::OneParameter) };
    if let WavefunctionSettings::Weyl(settings) = &kind.settings {
        say(&format!(
            "base of all points: {} (variance up to {:.1e} of the kinetic energy squared at both ends and in the middle)",
            settings.base, kind.variance
        ));
    }
    let all = specs.iter().zip(kind.at).map(|(spec, there)| match there {
        Some(psi) => Ok(psi),
        None => built(&kind.settings, spec),
    });
    let all = all.collect();
    Ok((kind.settings, all))
}
