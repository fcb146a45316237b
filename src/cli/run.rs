//! `weylflow run`: train a wavefunction, estimate on fresh samples, write the report.

use super::Exit;
use super::cluster;
use super::exact_work::{Task, solve_until};
use super::guard;
use super::interrupt::Interrupt;
use super::resume;
use crate::checkpoint::Checkpoint;
use crate::estimate::{EnergyEstimate, Evidence, Verdict, judge, rayleigh_quotient};
use crate::exact::{Density, ExactError, ExactOptions, Step};
use crate::input;
use crate::optimise::Optimiser;
use crate::report::csv::{EnergyCsv, format_table, write_timing};
use crate::report::density::write_density;
use crate::report::escape::one_line;
use crate::report::faults::{self, FaultsCsv};
use crate::report::files::{
    Existing, FileError, create_output_folder, holds_a_run, names, write_atomic,
};
use crate::report::folder::fitting_observables;
use crate::report::html::{ReportInput, render};
use crate::report::links::Links;
use crate::report::lock::FolderLock;
use crate::report::number::{format_ratio, format_with_uncertainty};
use crate::report::progress::Progress;
use crate::report::provenance::Provenance;
use crate::report::record::{DensityProfile, ErrorBar, Health, IterationRow, Reference, Summary};
use crate::report::reference_density;
use crate::report::replace::{self, NEW_RESULTS, NEW_RUN, Set};
use crate::report::summary::{read_summary, write_summary};
use crate::report::verdict;
use crate::sampling::Sampling;
use crate::spec::{ReferenceSource, ResolvedSpec, load_to_train, read, write};
use crate::system::System;
use crate::team;
use crate::train::{self, Estimate, IterationReport, Schedule, TrainingState};
use crate::wavefunction::Wavefunction;
use crate::wavefunction::saved::SavedWavefunction;
use crate::work::{self, Work};
use clap::Args;
use cpu_time::ProcessTime;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Train a wavefunction and write a report whose energy can be believed.
///
/// Reads the spec, trains, estimates the energy on fresh samples, compares with the exact energy where
/// one is feasible, and writes spec.ron, energy.csv, summary.json, density.csv, reference_density.csv, report.html,
/// provenance.json and wavefunction into the output folder. The same spec and seed give the same numbers for any number of
/// threads.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  weylflow run runs/helium.ron --out out/helium")]
pub struct Run {
    /// The spec, a RON file.
    #[arg(value_name = "SPEC")]
    spec: PathBuf,
    /// Output folder [default: out/<name of the spec>].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Number of threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Seed, in place of the one in the spec.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Replace the results of an earlier run in the output folder.
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,
    /// Go on from the last checkpoint in the output folder, bit for bit; start where there is none yet.
    #[arg(long)]
    resume: bool,
    /// Go on from the checkpoint before the last one.
    #[arg(long, requires = "resume")]
    previous: bool,
    /// Number of iterations, in place of the one in the spec; with --resume a finished run goes on to it.
    #[arg(long, value_name = "N")]
    iterations: Option<usize>,
    /// Write a checkpoint at least every so many iterations.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    checkpoint_every: u32,
    /// Write a checkpoint at least every so many seconds (between iterations).
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = super::seconds)]
    checkpoint_seconds: f64,
    /// Spread the samples over the processes that mpirun or srun started (in a build with the feature `mpi`).
    #[arg(long)]
    mpi: bool,
    /// Say nothing but errors.
    #[arg(long)]
    quiet: bool,
}

/// Bins of the one-body density.
const DENSITY_BINS: usize = 100;
/// Arithmetic one refinement of the exact energy of a report may cost, some ten seconds on two cores; the whole of it
/// may cost three times that ([`crate::exact::whole_work`]).
const REFERENCE_WORK: f64 = 4e11;
/// Memory it may take.
const REFERENCE_MEMORY: u64 = 2 << 30;

impl Run {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// A spec that is not valid, an output that cannot be written, training that diverges, a signal, an energy that the
    /// health tests refuse.
    pub fn run(&self) -> Result<(), Box<dyn Error>> {
        if self.mpi { cluster::run(self) } else { self.alone() }
    }

    /// Starts the threads of this process.
    pub(super) fn start_threads(&self) -> Result<(), rayon::ThreadPoolBuildError> {
        let threads = self.threads.map_or(0, usize::from);
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()
    }

    /// Runs in this process, which leads whatever others there are.
    pub(super) fn alone(&self) -> Result<(), Box<dyn Error>> {
        let clocks = Clocks { wall: Instant::now(), processor: ProcessTime::now() };
        let mut spec = load_to_train(&self.spec)?;
        if let Some(seed) = self.seed {
            spec.seed = seed;
        }
        if let Some(iterations) = self.iterations {
            spec.iterations = iterations;
        }
        spec.validate()?;
        self.start_threads()?;
        let folder = self.out.clone().unwrap_or_else(|| {
            let stem = self.spec.file_stem().unwrap_or(self.spec.as_os_str());
            Path::new("out").join(stem)
        });
        let spec_text = write::to_ron(&spec)?;
        guard::not_over_inputs(&read::files(&self.spec)?, &results_in(&folder), |path| {
            path.file_name() == Some(names::SPEC.as_ref()) && holds(path, &spec_text)
        })?;
        self.run_in(&spec, &folder, clocks)
    }

    fn run_in(
        &self,
        spec: &ResolvedSpec,
        folder: &Path,
        clocks: Clocks,
    ) -> Result<(), Box<dyn Error>> {
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let mut settled = spec.clone();
        // Everything that can be wrong with the input is found before a folder is made.
        let (choices, mut psi) =
            settled.wavefunction.settle_and_build(spec.sector, system, spec.seed)?;
        let spec = &settled;
        let spec_text = write::to_ron(spec)?;
        let mut optimiser = spec.optimiser.build();
        let _lock = self.claim(folder)?;
        let mut progress = Progress::new(self.quiet);
        choices.iter().for_each(|choice| progress.message(choice));
        // The results of an earlier run stay in place until there are those that replace them.
        let place = if self.overwrite && holds_a_run(folder) {
            Place { folder: Set::empty(folder, NEW_RUN)?.path().to_owned(), replaces: true }
        } else if self.resume {
            resume::place(folder, spec)
        } else {
            Place { folder: folder.to_owned(), replaces: false }
        };
        let ended = self.train_in(
            spec,
            &spec_text,
            folder,
            &place,
            &mut psi,
            optimiser.as_mut(),
            clocks,
            &mut progress,
        );
        match ended {
            Err(error) if place.replaces && place.folder.is_dir() => {
                Err(untouched(error, folder, &place.folder))
            }
            ended => ended,
        }
    }

    /// Runs in its place; the results go to `folder`.
    #[allow(clippy::too_many_arguments)]
    fn train_in(
        &self,
        spec: &ResolvedSpec,
        spec_text: &str,
        folder: &Path,
        place: &Place,
        psi: &mut Box<dyn Wavefunction>,
        optimiser: &mut dyn Optimiser,
        clocks: Clocks,
        progress: &mut Progress,
    ) -> Result<(), Box<dyn Error>> {
        let (results, folder) = (folder, place.folder.as_path());
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let start = if self.resume { resume::point(place, spec, self.previous)? } else { None };
        let resumed = start.is_some();
        let mut checkpoint = match start {
            Some(checkpoint) if checkpoint.finished => {
                let done = checkpoint.training.iteration;
                progress.message(&format!(
                    "the run is finished, after {done} iterations; --iterations takes it further"
                ));
                // What was refused stays refused.
                return sentence(&read_summary(&folder.join(names::SUMMARY))?, folder);
            }
            Some(checkpoint) => checkpoint,
            None => Checkpoint {
                spec: spec.clone(),
                training: TrainingState::new(psi.parameters(), optimiser),
                energy: format_table(&[]),
                seconds: Vec::new(),
                cpu_seconds: 0.0,
                work: Work::NONE,
                finished: false,
            },
        };
        if let Some(team) = team::current() {
            team.begin(spec_text);
        }
        let mut rows = checkpoint.rows(&folder.join(names::CHECKPOINT))?;
        if resumed {
            progress.message(&format!("going on after {} iterations", rows.len()));
        } else if !holds(&folder.join(names::SPEC), spec_text) {
            write_atomic(&folder.join(names::SPEC), spec_text.as_bytes())?;
        }
        let interrupt = Interrupt::listen()?;

        progress.message(&format!(
            "{}: {} parameters, {} iterations of {} samples",
            one_line(&spec.title),
            psi.parameters().len(),
            spec.iterations,
            spec.samples_per_iteration
        ));
        let schedule = Schedule::of(spec);
        let mut table = EnergyCsv::create(folder, &rows)?;
        let before = (rows.last().map_or(0.0, |r| r.seconds), checkpoint.cpu_seconds);
        let mut faults = FaultsCsv::new(folder, rows.len())?;
        let mut failed = None;
        let mut written = (rows.len(), Instant::now());
        let mut state = checkpoint.training.clone();
        work::start_from(checkpoint.work);
        // What is done after the last iteration is done again by a run that goes on from there, and counted then.
        let mut work_of_iterations = checkpoint.work;
        let trained = train::train_from(
            psi.as_mut(),
            system,
            optimiser,
            &schedule,
            &mut state,
            |report, state| {
                let row = row(report, before.0 + clocks.wall.elapsed().as_secs_f64());
                progress.iteration(&row, spec.iterations);
                rows.push(row);
                work_of_iterations = work::so_far();
                let mut save = || -> Result<bool, FileError> {
                    table.push(&rows[rows.len() - 1])?;
                    faults.push(faults::TRAINING, report.iteration, &report.faults)?;
                    let stop = interrupt.exit_code().is_some();
                    let due = rows.len() - written.0 >= self.checkpoint_every as usize
                        || written.1.elapsed().as_secs_f64() >= self.checkpoint_seconds;
                    if due || stop {
                        let cpu = before.1 + clocks.cpu();
                        checkpoint.update(state, &rows, cpu, work_of_iterations);
                        checkpoint.write(folder)?;
                        written = (rows.len(), Instant::now());
                    }
                    Ok(stop)
                };
                match save() {
                    Ok(false) => ControlFlow::Continue(()),
                    Ok(true) => ControlFlow::Break(()),
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                }
            },
        )?;
        progress.finish();
        if let Some(error) = failed {
            return Err(error.into());
        }
        let Some(trained) = trained else { return Err(interrupted(&interrupt, folder)) };
        checkpoint.update(&state, &rows, before.1 + clocks.cpu(), work_of_iterations);
        checkpoint.write(folder)?;

        let (sets, samples) = schedule.final_sets();
        progress.message(&match spec.sampling {
            Sampling::QuasiRandom => {
                format!("estimating on {sets} scramblings of {samples} fresh samples")
            }
            Sampling::Random => format!("estimating on {samples} fresh samples"),
        });
        let estimate =
            train::estimate_until(
                psi.as_ref(),
                system,
                &schedule,
                DENSITY_BINS,
                |_| match interrupt.exit_code() {
                    None => ControlFlow::Continue(()),
                    Some(_) => ControlFlow::Break(()),
                },
            );
        let Some(estimate) = estimate else { return Err(interrupted(&interrupt, folder)) };
        // What follows are checks of the result, no part of it.
        let work = work::so_far();
        faults.push(faults::ESTIMATE, state.iteration, &estimate.faults)?;
        let (reference, exact_density, no_reference) =
            match reference(spec, &estimate.energy, progress, &interrupt) {
                Ok(Ok((reference, density))) => (Some(reference), density, None),
                Ok(Err(why)) => (None, None, why),
                Err(_) if interrupt.exit_code().is_some() => {
                    return Err(interrupted(&interrupt, folder));
                }
                Err(error) => return Err(error),
            };
        let saved = SavedWavefunction::new(spec, psi.as_ref(), state.refinements());
        let profile = profile(spec, &estimate);
        let quadrature = rayleigh_quotient(psi.as_ref(), system);
        let (left, right) = psi.interval(&spec.geometry);
        let energy = estimate.energy.mean();
        let repulsion = spec.hamiltonian.nuclear_repulsion();
        let mut summary = Summary {
            title: spec.title.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fingerprint: Some(saved.fingerprint()?),
            energy,
            standard_error: estimate.energy.standard_error(),
            error_bar: ErrorBar::of(&estimate.energy),
            variance: estimate.energy.variance(),
            v_score: spec.sector.particles() as f64 * estimate.energy.variance() / energy.powi(2),
            nuclear_repulsion: repulsion,
            total_energy: energy + repulsion,
            samples: estimate.energy.count(),
            parameters: psi.parameters().len(),
            iterations: trained.iterations,
            averaged_iterations: trained.averaged_iterations,
            wall_seconds: before.0 + clocks.wall.elapsed().as_secs_f64(),
            cpu_seconds: before.1 + clocks.cpu(),
            threads: rayon::current_num_threads(),
            processes: team::current().map_or(1, |team| team.processes()),
            work: Some(work),
            seed: spec.seed,
            reference,
            stopped: Some(trained.stopped),
            verdict: None,
            checks: Vec::new(),
            no_reference,
            health: Health {
                round_trip_error: estimate.round_trip_error,
                slopes: Some(estimate.slopes),
                density_drift: Some(estimate.density_drift),
                refusals: Vec::new(),
                rejected_samples: estimate.rejected,
                rejected_in_training: trained.rejected,
                length: Some(right - left),
                scale: Some(estimate.scale),
                tails: estimate.tails,
                largest_local_energy_deviation: estimate.largest_deviation,
                median_local_energy_deviation: estimate.median_deviation,
                quadrature,
            },
        };
        let fermionised = spec.wavefunction.is_fermionised(spec.sector);
        let evidence = verdict::evidence(&summary, &rows);
        summary.checks = judge(&Evidence { fermionised, ..evidence });
        summary.verdict = Some(Verdict::of(&summary.checks));
        let refusals = summary.checks.iter().filter(|c| c.refuses && !c.passed);
        summary.health.refusals = refusals.map(|c| c.detail.clone()).collect();
        // What `weylflow measure` found of another state is of no use beside the new energy.
        let (observables, stale) = if place.replaces {
            (None, None)
        } else {
            // Whatever is wrong with them must not cost the new results.
            fitting_observables(results, summary.fingerprint.as_deref())
                .unwrap_or_else(|_| (None, Some(stale_notice())))
        };
        let mut set = if place.replaces {
            Set::begun(results, NEW_RUN)?
        } else {
            Set::empty(results, NEW_RESULTS)?
        };
        let mut notices = Vec::new();
        let measured = std::fs::symlink_metadata(results.join(names::OBSERVABLES)).is_ok();
        if stale.is_some() && measured {
            set.set_aside(&names::STALE);
            progress.message(&format!(
                "what `weylflow measure` found belongs to another state and was set aside as {}",
                names::STALE[0].1
            ));
            notices.push(stale_notice());
        } else {
            notices.extend(stale);
        }
        let to = set.path().to_owned();
        if !holds(&results.join(names::SPEC), spec_text) || place.replaces {
            write_atomic(&to.join(names::SPEC), spec_text.as_bytes())?;
        }
        write_timing(&to, &rows)?;
        write_atomic(&to.join(names::WAVEFUNCTION), saved.to_json()?.as_bytes())?;
        write_density(&to.join(names::DENSITY), &profile)?;
        match &exact_density {
            Some(density) => reference_density::write(&to, density)?,
            // That of an earlier reference.
            None => set.drop_from_place(names::REFERENCE_DENSITY),
        }
        let provenance = Provenance::here();
        provenance.write(&to)?;
        table.finish_in(&to)?;
        write_summary(&to.join(names::SUMMARY), &summary)?;
        let page = render(&ReportInput {
            summary: &summary,
            rows: &rows,
            density: &profile,
            hamiltonian: &spec.hamiltonian,
            geometry: &spec.geometry,
            sector: &spec.sector,
            optimiser: &spec.optimiser,
            spec_text,
            observables: observables.as_ref(),
            notices: &notices,
            reference_density: exact_density.as_ref(),
            provenance: Some(&provenance),
            links: &Links::of_files(|name| set.will_hold(name, place.replaces)),
        });
        write_atomic(&to.join(names::REPORT), page.as_bytes())?;
        checkpoint.finished = true;
        checkpoint.write_after(folder, &to)?;
        set.put_in_place(place.replaces)?;
        let folder = results;
        if !self.quiet && summary.verdict != Some(Verdict::Refused) {
            super::print(&closing_lines(&summary, &rows, folder))?;
        }
        sentence(&summary, folder)
    }

    /// Makes the output folder the run's own.
    fn claim(&self, folder: &Path) -> Result<FolderLock, Box<dyn Error>> {
        let existing = match (self.overwrite, self.resume) {
            (true, _) => Existing::Overwrite,
            (_, true) => Existing::Keep,
            _ => Existing::Refuse,
        };
        create_output_folder(folder, existing).map_err(|error| {
            let hint = match error {
                FileError::NotEmpty { .. } if folder.join(names::CHECKPOINT).is_file() => {
                    "\n  choose another with --out, go on with its run by --resume, or replace its results with \
                     --overwrite"
                }
                FileError::NotEmpty { .. } | FileError::NotAFolder { .. } => {
                    "\n  choose another with --out, or replace its results with --overwrite"
                }
                _ => "",
            };
            format!("{error}{hint}").into()
        })
    }
}

/// Where a run works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The folder of its checkpoints.
    pub(super) folder: PathBuf,
    /// Whether that is not the output folder, whose results it replaces when it ends.
    pub(super) replaces: bool,
}

/// Everything that a run may write, by its name.
fn results_in(folder: &Path) -> Vec<PathBuf> {
    let set_aside = names::STALE.iter().map(|pair| pair.1);
    let all = names::ALL.into_iter().chain(set_aside).chain([names::LOCK]);
    let all = all.map(|name| folder.join(name));
    let new = names::ALL.into_iter().map(|name| folder.join(NEW_RUN).join(name));
    all.chain(new).collect()
}

/// Whether a file has this content.
fn holds(path: &Path, text: &str) -> bool {
    input::read(path, input::MOST_SPEC_BYTES).is_ok_and(|bytes| bytes == text.as_bytes())
}

/// An error of a run that was to replace others, whose results are still there.
fn untouched(error: Box<dyn Error>, folder: &Path, new: &Path) -> Box<dyn Error> {
    if error.downcast_ref::<Exit>().is_some_and(|exit| exit.code == REFUSED) {
        return error;
    }
    let mut message =
        format!("{error}\n  the earlier results in `{}` are untouched", folder.display());
    if !new.join(names::CHECKPOINT).is_file() {
        // Nothing to go on from. Where it cannot be removed, the next run will.
        let _ = replace::discard(new);
    }
    if new.is_dir() {
        message += &format!("; what there is of the new run is in `{}`", new.display());
    }
    let code = error.downcast_ref::<Exit>().map_or(1, |exit| exit.code);
    Box::new(Exit { code, message })
}

fn stale_notice() -> String {
    format!(
        "What `weylflow measure` found belongs to an earlier state of the wavefunction and is not shown: it was set \
         aside as {}. Measure again.",
        names::STALE[0].1
    )
}

/// The clocks of this process and of those it leads.
struct Clocks {
    wall: Instant,
    processor: ProcessTime,
}

impl Clocks {
    fn cpu(&self) -> f64 {
        let others = team::current().map_or(0.0, |team| team.processor_seconds());
        self.processor.elapsed().as_secs_f64() + others
    }
}

fn interrupted(interrupt: &Interrupt, folder: &Path) -> Box<dyn Error> {
    let message = format!(
        "interrupted; the state is saved in `{}`, and the same command with --resume goes on from it",
        folder.join(names::CHECKPOINT).display()
    );
    Box::new(Exit { code: interrupt.exit_code().unwrap_or(1), message })
}

/// Exit code of a run whose energy is refused.
pub(super) const REFUSED: u8 = 3;

/// What a verdict means for the exit code, with the checks that failed.
///
/// # Errors
/// An [`Exit`] where the energy is doubtful or refused.
pub(super) fn sentence(summary: &Summary, folder: &Path) -> Result<(), Box<dyn Error>> {
    let (code, word) = match summary.verdict {
        Some(Verdict::Doubtful) => (Exit::DOUBTFUL, "doubtful"),
        Some(Verdict::Refused) => (REFUSED, "refused"),
        // The summary of a version that only refused.
        None if !summary.health.refusals.is_empty() => (REFUSED, "refused"),
        None | Some(Verdict::Good) => return Ok(()),
    };
    let failed = summary.checks.iter().filter(|c| !c.passed);
    let mut reasons: Vec<String> =
        failed.map(|c| format!("{}: {}", c.headline, c.detail)).collect();
    if reasons.is_empty() {
        reasons.clone_from(&summary.health.refusals);
    }
    let message = format!(
        "the energy is {word}, because\n  {}\n  what there is of results is in `{}`",
        reasons.join("\n  "),
        folder.display()
    );
    Err(Box::new(Exit { code, message }))
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

fn profile(spec: &ResolvedSpec, estimate: &Estimate) -> DensityProfile {
    let of = |spin: usize, n: usize| {
        if n == 0 { Vec::new() } else { estimate.density.density(spin) }
    };
    DensityProfile {
        edges: estimate.density.edges(),
        up: of(0, spec.sector.up),
        down: of(1, spec.sector.down),
    }
}

/// The exact energy, with the density where that gives one, or why there is none, where one was asked for.
type Compared = Result<(Reference, Option<Density>), Option<String>>;

/// The exact energy, with the density where that gives one, or why there is none: a literal of the spec, or exact
/// diagonalisation where it is cheap enough.
fn reference(
    spec: &ResolvedSpec,
    energy: &EnergyEstimate,
    progress: &mut Progress,
    interrupt: &Interrupt,
) -> Result<Compared, Box<dyn Error>> {
    match &spec.reference {
        ReferenceSource::None => Ok(Err(None)),
        ReferenceSource::Literal { energy: exact, source } => {
            let reference = Reference {
                energy: *exact,
                error_estimate: None,
                source: source.clone(),
                deviation: energy.mean() - exact,
            };
            Ok(Ok((reference, None)))
        }
        ReferenceSource::Exact => {
            let options = ExactOptions {
                work_limit: REFERENCE_WORK,
                memory_limit_bytes: REFERENCE_MEMORY,
                ..ExactOptions::default()
            };
            let task = Task {
                hamiltonian: spec.hamiltonian.clone(),
                sector: spec.sector,
                geometry: Some(spec.geometry),
            };
            let mut phase = progress.phase("exact energy for comparison");
            let solved = solve_until(&task, &options, None, interrupt, |step| match step {
                Step::Predicted { determinants, .. } => {
                    phase.note(&format!("{determinants} determinants"));
                }
                Step::Work { done, limit } => phase.at(done / limit),
                Step::Iteration(_) | Step::Row(_) => {}
            })?;
            drop(phase);
            match solved {
                Ok(result) => {
                    let reference = Reference {
                        energy: result.energies[0],
                        error_estimate: Some(result.error_estimates[0]),
                        source: result.method,
                        deviation: energy.mean() - result.energies[0],
                    };
                    Ok(Ok((reference, result.ground_state.ok().map(|ground| ground.density))))
                }
                Err(ExactError::Interrupted) => Err(ExactError::Interrupted.into()),
                Err(error) => {
                    let hint = match error {
                        ExactError::Memory { .. } | ExactError::Work { .. } => {
                            " (`weylflow exact` may take longer)"
                        }
                        _ => "",
                    };
                    let why = format!("{error}{hint}");
                    progress.message(&format!("no exact energy: {why}"));
                    Ok(Err(Some(why)))
                }
            }
        }
    }
}

fn closing_lines(summary: &Summary, rows: &[IterationRow], folder: &Path) -> String {
    let mut text = format!(
        "E = {} Ha, variance {:.3e} Ha², {} samples\n",
        format_with_uncertainty(summary.energy, summary.standard_error),
        summary.variance,
        summary.samples
    );
    if let ErrorBar { scramblings: Some(scramblings), independent, gain: Some(gain), .. } =
        summary.error_bar
    {
        text += &format!(
            "    error bar from {scramblings} scramblings, {} than the {independent:.1e} Ha of independent \
             samples\n",
            format_ratio(gain.ratio, gain.uncertainty)
        );
    }
    if summary.nuclear_repulsion != 0.0 {
        text += &format!(
            "    {} Ha with the nuclear repulsion of {:.8} Ha\n",
            format_with_uncertainty(summary.total_energy, summary.standard_error),
            summary.nuclear_repulsion
        );
    }
    if let (Some(reference), Some(deviation)) = (&summary.reference, verdict::deviation(summary)) {
        text += &format!(
            "exact {:.10} Ha ({}), deviation {deviation}{}\n",
            reference.energy,
            one_line(&reference.source),
            match summary.error_bar.degrees_of_freedom() {
                Some(freedom) => format!(" (Student's t, {freedom} degrees of freedom)"),
                None => String::new(),
            }
        );
    }
    if let Some(q) = &summary.health.quadrature {
        text += &format!(
            "by quadrature: E = {} Ha, norm - 1 = {:.1e} ± {:.0e}\n",
            format_with_uncertainty(q.energy, q.energy_error),
            q.norm - 1.0,
            q.norm_error
        );
    }
    if let Some(stopped) = summary.stopped {
        text += &format!(
            "training stopped after {} iterations because {}\n",
            summary.iterations,
            stopped.words()
        );
    }
    text += &format!("verdict: {}\n", verdict::line(summary, rows));
    text += &format!("report: {}\n", folder.join(names::REPORT).display());
    text
}
