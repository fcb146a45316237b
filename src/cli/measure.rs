//! `weylflow measure`: observables of a trained wavefunction, with error bars.

use super::progress::counted;
use super::run::REFUSED;
use super::{Exit, guard, read_saved, read_state};
use crate::exact::{self, ExactOptions};
use crate::observables::quantity::Values;
use crate::observables::{
    Effort, Entry, FEWEST_REPLICATES, Measurement, Quantity, REGISTRY, Setup, extrapolation,
    measure, measure_ensemble,
};
use crate::report::links::Links;
use crate::report::number::{format_known, format_with_uncertainty};
use crate::spec::{ResolvedSpec, load, read};
use crate::store::energy::read_energy;
use crate::store::files::{Existing, create_output_folder, names, write_atomic};
use crate::store::folder::RunFolder;
use crate::store::lock::FolderLock;
use crate::store::observables::{Observables, read_observables, write_observables};
use crate::store::replace::{NEW_RESULTS, Set};
use crate::store::saved::SavedWavefunction;
use crate::store::summary::{read_ensemble_summary, read_summary};
use crate::system::System;
use crate::wavefunction::weyl::ensemble::GibbsStates;
use crate::wavefunction::{Wavefunction, WavefunctionError};
use clap::Args;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Measure observables of a trained wavefunction, with error bars.
///
/// Draws fresh exact samples from the wavefunction of a finished run, in independent replicates, and writes
/// observables.json, observables.csv and observables.npz (numpy.load) into its folder; the report is made again
/// with their figures. With a spec instead of a folder, the wavefunction is the one training would start from,
/// and --out names the folder.
///
/// Every error bar is one standard error, from the scatter between the replicates.
#[derive(Debug, Args)]
#[command(after_help = after_help())]
pub struct Measure {
    /// Output folder of a finished run, or a spec.
    #[arg(value_name = "DIR|SPEC")]
    source: PathBuf,
    /// Observables, separated by commas [default: all].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    what: Vec<String>,
    /// Number of samples, at least: each replicate takes the next power of two from its share on.
    #[arg(long, default_value_t = 65_536, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1024..=1_000_000_000))]
    samples: u64,
    /// Independent replicates that the samples are split into.
    #[arg(long, default_value_t = 32, value_name = "R",
          value_parser = clap::value_parser!(u64).range(FEWEST_REPLICATES as u64..=512))]
    replicates: u64,
    /// Energy of the first excited state of the sector, in Hartree, for the lower bound of Temple
    /// [default: by exact diagonalisation where it is feasible].
    #[arg(long, value_name = "HARTREE", allow_negative_numbers = true, value_parser = finite)]
    first_excited: Option<f64>,
    /// Do not compute the exact state: no fidelity.
    #[arg(long)]
    no_exact: bool,
    /// Folder to write into [default: the folder of the run].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Of a run of several states this one, from 0.
    #[arg(long, value_name = "K")]
    state: Option<usize>,
    /// Of a sweep of temperatures the one to measure at, in Hartree.
    #[arg(long, value_name = "kT", value_parser = finite, conflicts_with = "state")]
    temperature: Option<f64>,
    /// Number of threads [default: all cores]. The result does not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Seed [default: that of the run].
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Replace the observables of an earlier measurement.
    #[arg(long)]
    overwrite: bool,
    /// Say nothing but errors.
    #[arg(long)]
    quiet: bool,
}

fn after_help() -> String {
    let list: String = REGISTRY.iter().map(|e| format!("  {:<17}{}\n", e.name, e.about)).collect();
    format!(
        "Observables:\n{list}\nExample:\n  weylflow measure out/helium --what \
         energy,density_matrix --samples 200000"
    )
}

/// Arithmetic the exact state may cost: some ten seconds on two cores. The excited energy may cost as much.
const EXACT_WORK: f64 = 4e11;
/// Memory it may take.
const EXACT_MEMORY: u64 = 2 << 30;

impl Measure {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// A folder without a wavefunction, a name that is no observable, or an output that cannot be written.
    pub fn run(&self) -> Result<(), Box<dyn Error>> {
        let entries = self.entries()?;
        // Before anything that uses threads: building a wavefunction does.
        let threads = self.threads.map_or(0, usize::from);
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
        let State { spec, subject, fingerprint } = self.state()?;
        let (folder, _lock) = self.folder(matches!(subject, Subject::Ensemble(_)))?;
        let results = [names::OBSERVABLES, names::OBSERVABLES_CSV, names::OBSERVABLES_NPZ];
        let written = results.map(|name| folder.join(name));
        for path in &written {
            super::create_new(path, self.overwrite)?;
        }
        let inputs = if self.source.is_dir() {
            vec![self.source.join(names::WAVEFUNCTION), self.source.join(names::ENERGY)]
        } else {
            read::files(&self.source)?
        };
        guard::not_over_inputs(
            &inputs,
            &[&written[..], &[folder.join(names::REPORT)]].concat(),
            |_| false,
        )?;
        let refusals = match self.source.is_dir() {
            true => self.refusals(&subject)?,
            false => Vec::new(),
        };
        belongs(&folder, &fingerprint)?;
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let seed = self.seed.unwrap_or(spec.seed);
        let mut setup = match &subject {
            Subject::State(psi) => Setup::new(psi.as_ref(), system),
            Subject::Ensemble(states) => Setup::of_ensemble(states, system),
        };
        let wants = |name: &str| entries.iter().any(|e| e.name == name);
        let thermal = matches!(subject, Subject::Ensemble(_));
        let excited = thermal || self.state.is_some_and(|k| k > 0);
        setup.first_excited = self.first_excited.filter(|_| !excited);
        if excited {
            self.note("no fidelity and no lower bound: they are of ground states");
        } else if !self.no_exact {
            self.solve(&spec, &mut setup, wants("fidelity"), wants("energy"));
        }
        let observables: Vec<_> =
            entries.iter().filter_map(|e| Some((e.name, (e.build)(&setup)?))).collect();
        let effort = Effort {
            samples: usize::try_from(self.samples)?,
            replicates: usize::try_from(self.replicates)?,
            seed,
        };
        let bar = counted(self.quiet);
        bar.set_length(self.replicates);
        let watch = |done: usize| bar.set_position(done as u64);
        let mut measurements = match &subject {
            Subject::State(psi) => measure(psi.as_ref(), &setup, &observables, effort, watch)?,
            Subject::Ensemble(states) => {
                let goes_on = |done| {
                    watch(done);
                    true
                };
                measure_ensemble(states, &setup, &observables, effort, goes_on)?.unwrap_or_default()
            }
        };
        bar.finish_and_clear();
        let left_out = |name: &&str| !measurements.iter().any(|m| m.observable == *name);
        let missing: Vec<&str> = observables.iter().map(|o| o.0).filter(left_out).collect();
        if !missing.is_empty() {
            self.note(&format!(
                "no {}: no sample of the state has a sensible local energy, and all are left out",
                missing.join(", ")
            ));
        }
        if wants("energy") && self.state.is_none() && !thermal {
            measurements.extend(along_the_run(&self.source)?);
        }
        let bound = |m: &Measurement| m.quantities.iter().any(has_no_bound);
        if let (Some(excited), true) = (self.first_excited, measurements.iter().any(bound)) {
            let energy =
                measurements.iter().flat_map(|m| &m.quantities).find(|q| q.name == "energy");
            let (value, error) = energy.and_then(Quantity::scalar).unwrap_or((f64::NAN, f64::NAN));
            return Err(format!(
                "--first-excited {excited}: not above the energy, {} Ha: that is no energy of an excited state, and the \
                 lower bound does not exist",
                format_with_uncertainty(value, error)
            )
            .into());
        }
        for measurement in &mut measurements {
            if measurement.quantities.iter().any(has_no_bound) {
                self.note(
                    "no lower bound: the energy is not below that of the first excited state",
                );
                measurement.quantities.retain(|q| !has_no_bound(q));
            }
        }
        let mut found = Observables {
            title: spec.title.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fingerprint: Some(fingerprint),
            samples: effort.drawn(),
            replicates: effort.sets(),
            seed,
            measurements,
        };
        let measured = table(&found);
        let mut set = Set::empty(&folder, NEW_RESULTS)?;
        if self.keep_earlier(&folder, &mut found)? == Earlier::SetAside {
            set.set_aside(&names::PREVIOUS);
        }
        write_observables(set.path(), &found)?;
        let report = folder.join(names::SUMMARY).is_file();
        if report {
            let mut run = RunFolder::read(&folder)?;
            // As it will be read again.
            run.show_observables(read_observables(&set.path().join(names::OBSERVABLES))?);
            let links = Links::of_files(|name| set.will_hold(name, false));
            write_atomic(&set.path().join(names::REPORT), run.render_with(&links).as_bytes())?;
        }
        set.put_in_place(false)?;
        if !self.quiet {
            super::print(&measured)?;
            if report {
                super::print(&format!("report: {}\n", folder.join(names::REPORT).display()))?;
            }
        }
        if !refusals.is_empty() && wants("energy") {
            let message = format!(
                "the energy is refused, as that of the run was, because\n  {}",
                refusals.join("\n  ")
            );
            return Err(Box::new(Exit { code: REFUSED, message }));
        }
        Ok(())
    }

    /// What refused the energy of the run that is measured.
    fn refusals(&self, subject: &Subject) -> Result<Vec<String>, Box<dyn Error>> {
        let saved = match subject {
            Subject::State(_) => read_state(&self.source, self.state)?,
            Subject::Ensemble(_) => read_saved(&self.source)?,
        };
        super::warn_of_refused_state(&self.source, &saved)
    }

    /// Takes the earlier observables that are not measured again into `found`, where they are of the same state and
    /// samples, so that their error bars mean the same; says what becomes of them.
    fn keep_earlier(
        &self,
        folder: &Path,
        found: &mut Observables,
    ) -> Result<Earlier, Box<dyn Error>> {
        let path = folder.join(names::OBSERVABLES);
        if std::fs::symlink_metadata(&path).is_err() {
            return Ok(Earlier::Gone);
        }
        let before = read_observables(&path)?;
        let again =
            |m: &Measurement| found.measurements.iter().any(|n| n.observable == m.observable);
        let mut rest = before.measurements;
        rest.retain(|m| !again(m));
        if rest.is_empty() {
            return Ok(Earlier::Gone);
        }
        let names: Vec<&str> = rest.iter().map(|m| m.observable.as_str()).collect();
        let same = (&before.fingerprint, before.samples, before.replicates, before.seed)
            == (&found.fingerprint, found.samples, found.replicates, found.seed);
        if !same {
            self.note(&format!(
                "the earlier observables, of other samples or another state, are set aside as {}",
                names::PREVIOUS[0].1
            ));
            return Ok(Earlier::SetAside);
        }
        self.note(&format!("kept from the earlier measurement: {}", names.join(", ")));
        found.measurements.extend(rest);
        // The order of the registry; what is not in it comes last, as it was.
        let place = |m: &Measurement| {
            REGISTRY.iter().position(|e| e.name == m.observable).unwrap_or(REGISTRY.len())
        };
        found.measurements.sort_by_key(place);
        Ok(Earlier::Kept)
    }

    fn entries(&self) -> Result<Vec<&'static Entry>, Box<dyn Error>> {
        if self.what.is_empty() {
            return Ok(REGISTRY.iter().collect());
        }
        for name in &self.what {
            if !REGISTRY.iter().any(|e| e.name == name.trim()) {
                let names = || REGISTRY.iter().map(|e| e.name);
                let all: Vec<_> = names().collect();
                let hint = crate::nearest::suggestion(crate::nearest::nearest(name, names()));
                return Err(format!(
                    "`{name}` is no observable{hint}; there are: {}",
                    all.join(", ")
                )
                .into());
            }
        }
        Ok(REGISTRY.iter().filter(|e| self.what.iter().any(|w| w.trim() == e.name)).collect())
    }

    fn state(&self) -> Result<State, Box<dyn Error>> {
        if self.source.is_file() {
            let spec = load(&self.source)?;
            if crate::run::is_of_several(&spec) {
                return Err(format!(
                    "{}: a spec of several states or of a temperature, of which this command takes one",
                    self.source.display()
                )
                .into());
            }
            let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
            let psi = spec.wavefunction.build(spec.sector, system, spec.seed)?;
            let fingerprint = SavedWavefunction::new(&spec, psi.as_ref(), 0).fingerprint()?;
            return Ok(State { spec, subject: Subject::State(psi), fingerprint });
        }
        if self.state.is_none()
            && let Ok(mut saved) = read_saved(&self.source)
            && let Some(asked) = saved.spec.temperature.clone()
        {
            let states = saved.gibbs(self.temperature).map_err(|error| match error {
                WavefunctionError::Temperature { .. } => {
                    format!("{error}: choose one by --temperature")
                }
                other => other.to_string(),
            })?;
            // Of a sweep each temperature has observables of its own.
            saved.state = asked.kt.all().iter().position(|t| *t == states.kt);
            let fingerprint = saved.fingerprint()?;
            let subject = Subject::Ensemble(Box::new(states));
            return Ok(State { spec: saved.spec, subject, fingerprint });
        }
        if let Some(kt) = self.temperature {
            let path = self.source.display();
            return Err(
                format!("{path}: a run without temperature, and no --temperature {kt}").into()
            );
        }
        let saved = read_state(&self.source, self.state)?;
        let subject = Subject::State(saved.build()?);
        let fingerprint = saved.fingerprint()?;
        Ok(State { spec: saved.spec, subject, fingerprint })
    }

    /// The folder to write into, for this measurement alone.
    fn folder(&self, several: bool) -> Result<(PathBuf, FolderLock), Box<dyn Error>> {
        // A folder with other things in it is welcome: only the files of a measurement count.
        let take = |folder: &PathBuf| -> Result<_, Box<dyn Error>> {
            Ok((folder.clone(), create_output_folder(folder, Existing::Keep)?))
        };
        match &self.out {
            Some(folder) => take(folder),
            None if self.state.is_some() || several => {
                Err("the observables of one of several states, or of a temperature, go into a folder of their own: name it with --out".into())
            }
            None if self.source.is_dir() => take(&self.source),
            None => Err("a spec has no folder of results: name one with --out".into()),
        }
    }

    /// The exact ground state and the first excited energy, where they are cheap enough.
    fn solve(&self, spec: &ResolvedSpec, setup: &mut Setup, state: bool, excited: bool) {
        let options = ExactOptions {
            work_limit: EXACT_WORK,
            memory_limit_bytes: EXACT_MEMORY,
            ..ExactOptions::default()
        };
        let solve = |options: &ExactOptions| {
            let progress = &mut |_: &exact::News| ControlFlow::Continue(());
            exact::solve(&spec.hamiltonian, &spec.geometry, spec.sector, options, progress)
        };
        if state {
            self.note("exact state for the fidelity ..");
            match solve(&options) {
                Ok(result) => match result.ground_state {
                    Ok(ground) => match ground.state {
                        Some(state) => setup.exact = Some(Arc::new(state)),
                        None => self.note(&format!("no fidelity: {}", result.method)),
                    },
                    Err(error) => self.note(&format!("no fidelity: {error}")),
                },
                Err(error) => self.note(&format!("no fidelity: {error}")),
            }
        }
        if excited && self.first_excited.is_none() {
            self.note("energy of the first excited state for the lower bound ..");
            let options = ExactOptions { states: 2, ..options };
            match solve(&options) {
                Ok(result) => setup.first_excited = result.energies.get(1).copied(),
                Err(error) => self.note(&format!("no lower bound: {error}")),
            }
        }
    }

    fn note(&self, line: &str) {
        if !self.quiet {
            super::note(line);
        }
    }
}

/// What is measured.
struct State {
    spec: ResolvedSpec,
    subject: Subject,
    fingerprint: String,
}

/// One state, or those of a temperature with their probabilities.
enum Subject {
    State(Box<dyn Wavefunction>),
    Ensemble(Box<GibbsStates>),
}

/// What becomes of the observables of an earlier measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Earlier {
    /// There are none, or all are measured again.
    Gone,
    /// They stand beside the new ones.
    Kept,
    /// They get another name.
    SetAside,
}

/// Whether a quantity is the lower bound that does not exist.
fn has_no_bound(q: &Quantity) -> bool {
    q.name == "temple_bound" && q.scalar().is_some_and(|(value, _)| value.is_nan())
}

/// Refuses to write the observables of one wavefunction beside the results of another.
fn belongs(folder: &Path, fingerprint: &str) -> Result<(), Box<dyn Error>> {
    let path = folder.join(names::SUMMARY);
    if std::fs::symlink_metadata(&path).is_err() {
        return Ok(());
    }
    let found = match read_summary(&path) {
        Ok(summary) => summary.fingerprint,
        Err(error) => read_ensemble_summary(&path).map_err(|_| error)?.fingerprint,
    };
    match found {
        Some(other) if other != fingerprint => Err(format!(
            "`{}` holds the results of another wavefunction: name another folder with --out",
            folder.display()
        )
        .into()),
        _ => Ok(()),
    }
}

/// A finite number, for clap.
fn finite(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err("expected a finite number".into()),
    }
}

/// The extrapolation of a run to zero variance, where its folder has what it takes.
fn along_the_run(source: &Path) -> Result<Option<Measurement>, Box<dyn Error>> {
    let path = source.join(names::ENERGY);
    if !path.is_file() {
        return Ok(None);
    }
    let rows: Vec<_> =
        read_energy(&path)?.iter().map(|r| (r.variance, r.energy, r.standard_error)).collect();
    Ok(extrapolation::extrapolate(&rows).map(|line| {
        let energy = Values::one(line.energy, line.error);
        let about = "energy extrapolated to zero variance along the iterations of the run";
        Measurement {
            observable: "extrapolation".into(),
            quantities: vec![Quantity::new("zero_variance_energy", "Ha", about, energy)],
        }
    }))
}

/// The single numbers as text.
fn table(found: &Observables) -> String {
    let mut text = String::new();
    for q in found.quantities() {
        if let Some((value, error)) = q.scalar() {
            // Numbers that are not from samples have no error bar.
            let value = if q.errors.is_empty() {
                format_known(value)
            } else {
                format_with_uncertainty(value, q.shown_error(error))
            };
            text += &format!("{:<26} {value} {}\n", q.name, q.unit);
        } else if q.name == "occupations" || q.name == "nuclear_forces" {
            let shown: Vec<String> = (q.values.iter().zip(&q.errors).take(8))
                .map(|(&v, &e)| format_with_uncertainty(v, q.shown_error(e)))
                .collect();
            text += &format!("{:<26} {} {}\n", q.name, shown.join(" "), q.unit);
        }
    }
    text
}
