//! `weylflow project`: the exact energy beyond a trained wavefunction.

use super::interrupt::Interrupt;
use super::progress::counted;
use super::run::REFUSED;
use super::{Exit, read_wavefunction, warn_of_refused_state};
use crate::project::{
    self, ControlVariates, News, OBSERVABLES, ProjectError, Projection, Settings, State,
    Variational,
};
use crate::report::links::Links;
use crate::report::number::{format_difference, format_significant, format_with_uncertainty};
use crate::spec::ResolvedSpec;
use crate::store::files::{Existing, FileError, create_output_folder, names, write_atomic};
use crate::store::folder::RunFolder;
use crate::store::projection::{ProjectionRecord, read_projection, write_projection};
use crate::store::projection_state::ProjectionState;
use crate::store::record::{Reference, Summary};
use crate::store::replace::{NEW_RESULTS, Set};
use crate::store::summary::read_summary;
use crate::system::System;
use crate::wavefunction::Wavefunction;
use crate::work;
use clap::Args;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Project a trained wavefunction onto the ground state: the exact energy, and the error of the variational one.
///
/// Diffusion Monte Carlo confined to the fundamental domain, guided by the wavefunction: exact in one dimension, for
/// any number of particles. Writes projection.json and projection.csv into the folder of the run, in place of those of
/// an earlier projection; the report is made again with them. Error bars are one standard error.
///
/// Where the guide is too far from the ground state there is no energy: the reasons are printed, and the exit code is 3.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  weylflow project out/trap_six --observables density,pair_density"
)]
pub struct Project {
    /// Output folder of a finished run.
    #[arg(value_name = "DIR")]
    source: PathBuf,
    /// Walkers, rounded up to a multiple of the replicates [default: from 1024 on, until the error of the correction is 2.5 %].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(32..=1_000_000))]
    walkers: Option<u64>,
    /// Independent replicates behind the error bars.
    #[arg(long, default_value_t = 32, value_name = "R",
          value_parser = clap::value_parser!(u64).range(16..=512))]
    replicates: u64,
    /// Length of the projection in imaginary time, in 1/Hartree [default: until the correction has its plateau].
    #[arg(long, value_name = "BETA", value_parser = positive)]
    beta: Option<f64>,
    /// Step in imaginary time, in 1/Hartree [default: as long as moves are accepted and local energies correlated].
    #[arg(long, value_name = "TAU", value_parser = positive)]
    step: Option<f64>,
    /// Change of the energy that does not matter, in Hartree [default: 2 % of the correction].
    #[arg(long, value_name = "HARTREE", value_parser = positive)]
    tolerance: Option<f64>,
    /// Observables of the ground state beside the energy, separated by commas: position, density, pair_density, distance,
    /// structure_factor.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "energy,position,density"
    )]
    observables: Vec<String>,
    /// Whether functions of few bodies take a part of the scatter away: where they do on other samples than they are fitted to
    /// (auto), wherever there are any, or nowhere.
    #[arg(long, value_enum, default_value = "auto", value_name = "WHEN")]
    control_variates: When,
    /// Fresh exact samples behind the variational energy [default: 65536, fewer of more than 16 particles; for one and two particles it is known by quadrature].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1024..=1_000_000_000))]
    samples: Option<u64>,
    /// Seed [default: that of the run].
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Number of threads [default: all cores]. The result does not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Go on with a projection of the same settings that was interrupted.
    #[arg(long)]
    resume: bool,
    /// Print projection.json.
    #[arg(long)]
    json: bool,
    /// Say nothing but errors.
    #[arg(long)]
    quiet: bool,
}

/// `auto`, `on` or `off`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum When {
    Auto,
    On,
    Off,
}

/// Between two checkpoints.
const PAUSE: Duration = Duration::from_secs(10);

impl Project {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// A folder without a wavefunction, an output that cannot be written, or a projection that is refused.
    pub fn run(&self) -> Result<(), Box<dyn Error>> {
        let threads = self.threads.map_or(0, usize::from);
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
        self.execute()
    }

    /// What a run with `project: true` does at its end.
    pub(super) fn of_run(folder: PathBuf, quiet: bool) -> Self {
        let Settings { replicates, observables, .. } = Settings::default();
        Project {
            source: folder,
            walkers: None,
            replicates: replicates as u64,
            beta: None,
            step: None,
            tolerance: None,
            observables,
            control_variates: When::Auto,
            samples: None,
            seed: None,
            threads: None,
            resume: false,
            json: false,
            quiet,
        }
    }

    /// Projects on the threads that there are.
    pub(super) fn execute(&self) -> Result<(), Box<dyn Error>> {
        let interrupt = Interrupt::listen()?;
        if !self.source.is_dir() {
            return Err(
                crate::store::folder::not_finished(&self.source, names::WAVEFUNCTION).into()
            );
        }
        let settings = self.settings()?;
        let saved = read_wavefunction(&self.source)?;
        let settings = Settings { seed: self.seed.unwrap_or(saved.spec.seed), ..settings };
        let folder = self.source.as_path();
        let _lock = create_output_folder(folder, Existing::Keep)?;
        let fingerprint = saved.fingerprint()?;
        let reasons = warn_of_refused_state(folder, &saved)?;
        if !reasons.is_empty() {
            let message =
                format!("no projection: the run was refused, because\n  {}", reasons.join("\n  "));
            return Err(Box::new(Exit { code: REFUSED, message }));
        }
        let psi = saved.build()?;
        let summary = summary(folder)?;
        let known = summary.as_ref().filter(|s| s.fingerprint.as_deref() == Some(&*fingerprint));
        let before = self.before(folder, &fingerprint, &settings)?;
        let clock = cpu_time::ProcessTime::now();
        let start = before.as_ref().map_or((0.0, 0), |b| (b.cpu_seconds, b.local_energies));
        let mut state = before.map(|b| b.state).unwrap_or_default();
        let spent = || {
            let work = work::so_far().local_energies;
            (start.0 + clock.elapsed().as_secs_f64(), start.1 + work)
        };
        let spec = &saved.spec;
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let given = by_quadrature(known, psi.as_ref(), system, settings.samples);

        let bar = counted(self.quiet);
        let checkpoint = folder.join(names::PROJECTION_STATE);
        let mut written = Instant::now();
        let mut trouble: Option<FileError> = None;
        let mut watch = |news: &News, state: &State| {
            bar.set_length(news.of as u64);
            bar.set_position(news.done as u64);
            bar.set_message(line(news));
            let ends = interrupt.exit_code().is_some();
            if ends || written.elapsed() > PAUSE {
                let (cpu_seconds, local_energies) = spent();
                let saved = ProjectionState {
                    fingerprint: fingerprint.clone(),
                    settings: settings.clone(),
                    cpu_seconds,
                    local_energies,
                    state: state.clone(),
                };
                trouble = saved.write(&checkpoint).err();
                written = Instant::now();
            }
            let stop = ends || trouble.is_some();
            if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let found =
            project::project(psi.as_ref(), system, &settings, given, &mut state, &mut watch);
        bar.finish_and_clear();
        if let Some(trouble) = trouble {
            return Err(trouble.into());
        }
        let found = match found {
            Err(ProjectError::Interrupted) => {
                let code = interrupt.exit_code().unwrap_or(1);
                let message = format!(
                    "interrupted; the state is saved in `{}`, and the same command with --resume goes on from it",
                    checkpoint.display()
                );
                return Err(Box::new(Exit { code, message }));
            }
            found => found?,
        };
        let mut record = self.record(spec, &fingerprint, &settings, found, summary.as_ref());
        (record.cpu_seconds, record.local_energies) = spent();
        self.write(folder, &record, known.is_some())?;
        self.tell(folder, &record, known.is_some())
    }

    fn settings(&self) -> Result<Settings, Box<dyn Error>> {
        let names = self.observables.iter().map(|name| name.trim().to_owned());
        for name in names.clone() {
            if name != "energy" && !OBSERVABLES.contains(&name.as_str()) {
                let hint = crate::nearest::nearest(&name, OBSERVABLES);
                let hint = crate::nearest::suggestion(hint);
                let all = OBSERVABLES.join(", ");
                return Err(format!(
                    "`{name}` is no observable of a projection{hint}; there are: energy, {all}"
                )
                .into());
            }
        }
        let samples = self.samples.map(usize::try_from).transpose()?;
        Ok(Settings {
            walkers: self.walkers.map(usize::try_from).transpose()?,
            replicates: usize::try_from(self.replicates)?,
            beta: self.beta,
            step: self.step,
            tolerance: self.tolerance,
            samples,
            observables: names.filter(|name| name != "energy").collect(),
            control_variates: match self.control_variates {
                When::Auto => ControlVariates::Auto,
                When::On => ControlVariates::On,
                When::Off => ControlVariates::Off,
            },
            seed: 0,
        })
    }

    /// The projection that goes on.
    fn before(
        &self,
        folder: &Path,
        fingerprint: &str,
        settings: &Settings,
    ) -> Result<Option<ProjectionState>, Box<dyn Error>> {
        let path = folder.join(names::PROJECTION_STATE);
        if !self.resume || std::fs::symlink_metadata(&path).is_err() {
            return Ok(None);
        }
        Ok(Some(ProjectionState::read(&path, fingerprint, settings)?))
    }

    fn record(
        &self,
        spec: &ResolvedSpec,
        fingerprint: &str,
        settings: &Settings,
        found: Projection,
        summary: Option<&Summary>,
    ) -> ProjectionRecord {
        let mut record = ProjectionRecord::of(&spec.title, fingerprint, settings.seed, found);
        let reference = summary.and_then(|s| s.reference.as_ref());
        record.reference = record.energy.zip(reference).map(|(energy, reference)| Reference {
            deviation: energy - reference.energy,
            ..reference.clone()
        });
        record
    }

    /// Puts the files in place, with a new report where the folder is that of a run with this very state.
    fn write(
        &self,
        folder: &Path,
        record: &ProjectionRecord,
        report: bool,
    ) -> Result<(), Box<dyn Error>> {
        let mut set = Set::empty(folder, NEW_RESULTS)?;
        write_projection(set.path(), record)?;
        set.drop_from_place(names::PROJECTION_STATE);
        if report {
            let mut run = RunFolder::read(folder)?;
            // As it will be read again.
            run.show_projection(read_projection(&set.path().join(names::PROJECTION))?);
            let links = Links::of_files(|name| set.will_hold(name, false));
            write_atomic(&set.path().join(names::REPORT), run.render_with(&links).as_bytes())?;
        }
        set.put_in_place(false)?;
        Ok(())
    }

    fn tell(
        &self,
        folder: &Path,
        record: &ProjectionRecord,
        report: bool,
    ) -> Result<(), Box<dyn Error>> {
        if self.json {
            super::print(&record.to_json())?;
        }
        if !record.refusals.is_empty() {
            let message =
                format!("no projected energy, because\n  {}", record.refusals.join("\n  "));
            return Err(Box::new(Exit { code: REFUSED, message }));
        }
        if self.json || self.quiet {
            return Ok(());
        }
        super::print(&table(record))?;
        if report {
            super::print(&format!("report: {}\n", folder.join(names::REPORT).display()))?;
        }
        Ok(())
    }
}

/// The numbers as text.
fn table(record: &ProjectionRecord) -> String {
    let v = record.variational;
    let mut text =
        format!("variational {} Ha\n", format_with_uncertainty(v.energy, v.standard_error));
    if let Some(c) = record.correction {
        text += &format!(
            "correction  {} Ha (the last doubling to beta = {:.3} brought {} Ha of it)\n",
            format_difference(c.energy, c.standard_error),
            record.beta,
            format_significant(c.remainder, 2)
        );
    }
    if record.hidden > 0.0 {
        text += &format!(
            "far nodes of the state may hide {} Ha, which is part of the error bar\n",
            format_significant(record.hidden, 2)
        );
    }
    if let Some(guard) = record.guard {
        text += &format!(
            "the state has nodes: guided by it with a share of {} of one without\n",
            format_significant(guard.share, 2)
        );
    }
    if let Some(v) = record.variates {
        text += &format!(
            "{} control variates leave {} of the variance\n",
            v.functions,
            format_significant(v.variance, 2)
        );
    }
    if let (Some(energy), Some(error)) = (record.energy, record.standard_error) {
        text += &format!("projected   {} Ha\n", format_with_uncertainty(energy, error));
        if let Some(reference) = &record.reference {
            text += &format!(
                "exact       {:.10} Ha, projected - exact {} Ha\n",
                reference.energy,
                format_difference(reference.deviation, error)
            );
        }
    }
    text
}

fn line(news: &News) -> String {
    let correction = news.correction.map_or_else(String::new, |(value, error)| {
        format!("  correction {} Ha", format_with_uncertainty(value, error))
    });
    format!("walkers to beta = {:.3}{correction}", news.beta)
}

/// The energy of one or two particles, which needs no samples.
fn by_quadrature(
    summary: Option<&Summary>,
    psi: &dyn Wavefunction,
    system: System,
    samples: Option<usize>,
) -> Option<Variational> {
    if samples.is_some() {
        return None;
    }
    match summary.and_then(|s| s.health.quadrature) {
        Some(quotient) => Variational::known(quotient),
        None => project::by_quadrature(psi, system),
    }
}

/// The summary of the folder, if it has one.
fn summary(folder: &Path) -> Result<Option<Summary>, FileError> {
    let path = folder.join(names::SUMMARY);
    std::fs::symlink_metadata(&path).is_ok().then(|| read_summary(&path)).transpose()
}

/// A positive number, for clap.
fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("expected a positive number".into()),
    }
}
