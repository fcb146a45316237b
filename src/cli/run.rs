//! `weylflow run`: train a wavefunction, estimate on fresh samples, write the report.

use super::Exit;
use super::cluster;
use super::interrupt::Interrupt;
use super::resume;
use crate::checkpoint::Checkpoint;
use crate::estimate::{EnergyEstimate, rayleigh_quotient};
use crate::exact::{self, ExactError, ExactOptions};
use crate::report::csv::{EnergyCsv, format_table, write_timing};
use crate::report::density::write_density;
use crate::report::faults::FaultsCsv;
use crate::report::files::{Existing, FileError, create_output_folder, names, write_atomic};
use crate::report::html::{ReportInput, render};
use crate::report::lock::FolderLock;
use crate::report::number::format_with_uncertainty;
use crate::report::progress::Progress;
use crate::report::record::{DensityProfile, ErrorBar, Health, IterationRow, Reference, Summary};
use crate::report::summary::write_summary;
use crate::sampling::Sampling;
use crate::spec::{ReferenceSource, ResolvedSpec, load, validate, write};
use crate::system::System;
use crate::team;
use crate::train::{self, Estimate, IterationReport, Schedule, TrainingState};
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
/// one is feasible, and writes spec.ron, energy.csv, summary.json, density.csv, report.html and
/// wavefunction into the output folder. The same spec and seed give the same numbers for any number of
/// threads.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  weylflow run runs/helium_triplet.ron --out out/helium")]
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
/// Arithmetic the exact energy of a report may cost: some ten seconds on two cores.
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
        let mut spec = load(&self.spec)?;
        if let Some(seed) = self.seed {
            spec.seed = seed;
        }
        if let Some(iterations) = self.iterations {
            spec.iterations = iterations;
        }
        spec.validate()?;
        validate::trainable(&spec.hamiltonian, spec.sector)
            .map_err(|v| format!("{}: {v}", self.spec.display()))?;
        self.start_threads()?;
        let folder = self.out.clone().unwrap_or_else(|| {
            let stem = self.spec.file_stem().unwrap_or(self.spec.as_os_str());
            Path::new("out").join(stem)
        });
        self.run_in(&spec, &folder, clocks)
    }

    fn run_in(
        &self,
        spec: &ResolvedSpec,
        folder: &Path,
        clocks: Clocks,
    ) -> Result<(), Box<dyn Error>> {
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        // Everything that can be wrong with the input is found before a folder is made.
        let mut psi = spec.wavefunction.build(spec.sector, system, spec.seed)?;
        let spec_text = write::to_ron(spec)?;
        let mut optimiser = spec.optimiser.build();
        let _lock = self.claim(folder)?;
        let mut progress = Progress::new(self.quiet);
        let start = if self.resume { resume::point(folder, spec, self.previous)? } else { None };
        let resumed = start.is_some();
        let mut checkpoint = match start {
            Some(checkpoint) if checkpoint.finished => {
                let done = checkpoint.training.iteration;
                progress.message(&format!(
                    "the run is finished, after {done} iterations; --iterations takes it further"
                ));
                return Ok(());
            }
            Some(checkpoint) => checkpoint,
            None => Checkpoint {
                spec: spec.clone(),
                training: TrainingState::new(psi.parameters(), optimiser.as_ref()),
                energy: format_table(&[]),
                seconds: Vec::new(),
                cpu_seconds: 0.0,
                work: Work::NONE,
                finished: false,
            },
        };
        if let Some(team) = team::current() {
            team.begin(&spec_text);
        }
        let mut rows = checkpoint.rows(&folder.join(names::CHECKPOINT))?;
        if resumed {
            progress.message(&format!("going on after {} iterations", rows.len()));
        } else {
            write_atomic(&folder.join(names::SPEC), spec_text.as_bytes())?;
        }
        let interrupt = Interrupt::listen()?;

        progress.message(&format!(
            "{}: {} parameters, {} iterations of {} samples",
            spec.title,
            psi.parameters().len(),
            spec.iterations,
            spec.samples_per_iteration
        ));
        let schedule = Schedule::of(spec);
        let mut table = EnergyCsv::create(folder, &rows)?;
        let before = (rows.last().map_or(0.0, |r| r.seconds), checkpoint.cpu_seconds);
        let mut faults = FaultsCsv::new(folder);
        let mut failed = None;
        let mut written = (rows.len(), Instant::now());
        let mut state = checkpoint.training.clone();
        work::start_from(checkpoint.work);
        let trained = train::train_from(
            psi.as_mut(),
            system,
            optimiser.as_mut(),
            &schedule,
            &mut state,
            |report, state| {
                let row = row(report, before.0 + clocks.wall.elapsed().as_secs_f64());
                progress.iteration(&row, spec.iterations);
                rows.push(row);
                let mut save = || -> Result<bool, FileError> {
                    table.push(&rows[rows.len() - 1])?;
                    faults.push("training", report.iteration, &report.faults)?;
                    let stop = interrupt.exit_code().is_some();
                    let due = rows.len() - written.0 >= self.checkpoint_every as usize
                        || written.1.elapsed().as_secs_f64() >= self.checkpoint_seconds;
                    if due || stop {
                        checkpoint.update(state, &rows, before.1 + clocks.cpu(), work::so_far());
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
        checkpoint.update(&state, &rows, before.1 + clocks.cpu(), work::so_far());
        checkpoint.write(folder)?;
        table.finish()?;

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
        faults.push("estimate", state.iteration, &estimate.faults)?;
        let reference = reference(spec, &estimate.energy, &mut progress);
        let saved = SavedWavefunction::new(spec, psi.as_ref(), state.refinements());
        let profile = profile(spec, &estimate);
        let quadrature = rayleigh_quotient(psi.as_ref(), system);
        let interval = psi.interval(&spec.geometry);
        let refusals = train::health::refusals(&estimate, interval, quadrature.as_ref());
        let energy = estimate.energy.mean();
        let repulsion = spec.hamiltonian.nuclear_repulsion();
        let summary = Summary {
            title: spec.title.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
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
            health: Health {
                round_trip_error: estimate.round_trip_error,
                slopes: Some(estimate.slopes),
                density_drift: Some(estimate.density_drift),
                refusals,
                rejected_samples: trained.rejected + estimate.rejected,
                largest_local_energy_deviation: estimate.largest_deviation,
                median_local_energy_deviation: estimate.median_deviation,
                quadrature,
            },
        };
        write_atomic(&folder.join(names::SPEC), spec_text.as_bytes())?;
        write_timing(folder, &rows)?;
        write_atomic(&folder.join(names::WAVEFUNCTION), saved.to_json()?.as_bytes())?;
        write_density(&folder.join(names::DENSITY), &profile)?;
        write_summary(&folder.join(names::SUMMARY), &summary)?;
        let page = render(&ReportInput {
            summary: &summary,
            rows: &rows,
            density: &profile,
            hamiltonian: &spec.hamiltonian,
            geometry: &spec.geometry,
            sector: &spec.sector,
            optimiser: &spec.optimiser,
            spec_text: &spec_text,
            observables: None,
        });
        write_atomic(&folder.join(names::REPORT), page.as_bytes())?;
        checkpoint.finished = true;
        checkpoint.write(folder)?;
        if !summary.health.refusals.is_empty() {
            return Err(refused(&summary.health.refusals, folder));
        }
        if !self.quiet {
            super::print(&closing_lines(&summary, folder))?;
        }
        Ok(())
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
const REFUSED: u8 = 3;

fn refused(reasons: &[String], folder: &Path) -> Box<dyn Error> {
    let message = format!(
        "the energy is refused, because\n  {}\n  what there is of results is in `{}`",
        reasons.join("\n  "),
        folder.display()
    );
    Box::new(Exit { code: REFUSED, message })
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

/// The exact energy: a literal of the spec, or exact diagonalisation where it is cheap enough.
fn reference(
    spec: &ResolvedSpec,
    energy: &EnergyEstimate,
    progress: &mut Progress,
) -> Option<Reference> {
    match &spec.reference {
        ReferenceSource::None => None,
        ReferenceSource::Literal { energy: exact, source } => Some(Reference {
            energy: *exact,
            error_estimate: None,
            source: source.clone(),
            deviation: energy.mean() - exact,
        }),
        ReferenceSource::Exact => {
            let options = ExactOptions {
                work_limit: REFERENCE_WORK,
                memory_limit_bytes: REFERENCE_MEMORY,
                ..ExactOptions::default()
            };
            let solved =
                exact::solve(&spec.hamiltonian, &spec.geometry, spec.sector, &options, &mut |_| ());
            match solved {
                Ok(result) => Some(Reference {
                    energy: result.energies[0],
                    error_estimate: Some(result.error_estimates[0]),
                    source: result.method,
                    deviation: energy.mean() - result.energies[0],
                }),
                Err(error) => {
                    let hint = match error {
                        ExactError::Memory { .. } | ExactError::Work { .. } => {
                            " (`weylflow exact` may take longer)"
                        }
                        _ => "",
                    };
                    progress.message(&format!("no exact energy: {error}{hint}"));
                    None
                }
            }
        }
    }
}

fn closing_lines(summary: &Summary, folder: &Path) -> String {
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
            "    error bar from {scramblings} scramblings, {} times smaller than the {independent:.1e} Ha of \
             independent samples\n",
            format_with_uncertainty(gain.ratio, gain.uncertainty)
        );
    }
    if summary.nuclear_repulsion != 0.0 {
        text += &format!(
            "    {} Ha with the nuclear repulsion of {:.8} Ha\n",
            format_with_uncertainty(summary.total_energy, summary.standard_error),
            summary.nuclear_repulsion
        );
    }
    if let Some(reference) = &summary.reference {
        text += &format!(
            "exact {:.10} Ha ({}), deviation {:+.3e} Ha = {:+.1} error bars{}\n",
            reference.energy,
            reference.source,
            reference.deviation,
            reference.deviation / summary.standard_error,
            match summary.error_bar.degrees_of_freedom() {
                Some(freedom) => format!(" (Student's t, {freedom} degrees of freedom)"),
                None => String::new(),
            }
        );
    }
    if let Some(quadrature) = &summary.health.quadrature {
        text += &format!(
            "by quadrature: E = {:.8} Ha, norm - 1 = {:.1e}\n",
            quadrature.energy,
            quadrature.norm - 1.0
        );
    }
    text += &format!("report: {}\n", folder.join(names::REPORT).display());
    text
}
