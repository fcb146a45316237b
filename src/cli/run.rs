//! `weylflow run`: train a wavefunction, estimate on fresh samples, write the report.

use crate::estimate::{EnergyEstimate, rayleigh_quotient};
use crate::exact::{self, ExactError, ExactOptions};
use crate::report::csv::EnergyCsv;
use crate::report::density::write_density;
use crate::report::files::{Existing, create_output_folder, names, write_atomic};
use crate::report::html::{ReportInput, render};
use crate::report::number::format_with_uncertainty;
use crate::report::progress::Progress;
use crate::report::record::{DensityProfile, ErrorBar, Health, IterationRow, Reference, Summary};
use crate::report::summary::write_summary;
use crate::sampling::Sampling;
use crate::spec::{ReferenceSource, ResolvedSpec, load, write};
use crate::system::System;
use crate::train::{self, Estimate, IterationReport, Schedule};
use crate::wavefunction::saved::SavedWavefunction;
use clap::Args;
use cpu_time::ProcessTime;
use std::error::Error;
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
    #[arg(long)]
    overwrite: bool,
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
    /// A spec that is not valid, an output that cannot be written, training that diverges.
    pub fn run(&self) -> Result<(), Box<dyn Error>> {
        let clocks = (Instant::now(), ProcessTime::now());
        let mut spec = load(&self.spec)?;
        if let Some(seed) = self.seed {
            spec.seed = seed;
        }
        let threads = self.threads.map_or(0, usize::from);
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
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
        (clock, processor): (Instant, ProcessTime),
    ) -> Result<(), Box<dyn Error>> {
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        // Everything that can be wrong with the input is found before a folder is made.
        let mut psi = spec.wavefunction.build(spec.sector, system, spec.seed)?;
        let spec_text = write::to_ron(spec)?;
        let existing = if self.overwrite { Existing::Overwrite } else { Existing::Refuse };
        create_output_folder(folder, existing).map_err(|e| {
            format!("{e}\n  choose another with --out, or replace its results with --overwrite")
        })?;
        write_atomic(&folder.join(names::SPEC), spec_text.as_bytes())?;

        let mut progress = Progress::new(self.quiet);
        progress.message(&format!(
            "{}: {} parameters, {} iterations of {} samples",
            spec.title,
            psi.parameters().len(),
            spec.iterations,
            spec.samples_per_iteration
        ));
        let schedule = Schedule::of(spec);
        let mut optimiser = spec.optimiser.build();
        let mut table = EnergyCsv::create(folder)?;
        let mut rows = Vec::with_capacity(spec.iterations.min(1 << 16));
        let mut failed = None;
        let trained =
            train::train(psi.as_mut(), system, optimiser.as_mut(), &schedule, |report| {
                let row = row(report, clock.elapsed().as_secs_f64());
                if failed.is_none() {
                    failed = table.push(&row).err();
                }
                progress.iteration(&row, spec.iterations);
                rows.push(row);
            })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        table.finish()?;
        progress.finish();

        let (sets, samples) = schedule.final_sets();
        progress.message(&match spec.sampling {
            Sampling::QuasiRandom => {
                format!("estimating on {sets} scramblings of {samples} fresh samples")
            }
            Sampling::Random => format!("estimating on {samples} fresh samples"),
        });
        let estimate = train::estimate(psi.as_ref(), system, &schedule, DENSITY_BINS, |_| ());
        let reference = reference(spec, &estimate.energy, &mut progress);
        let saved = SavedWavefunction::new(spec, psi.as_ref());
        write_atomic(&folder.join(names::WAVEFUNCTION), saved.to_json()?.as_bytes())?;
        let profile = profile(spec, &estimate);
        write_density(&folder.join(names::DENSITY), &profile)?;
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
            wall_seconds: clock.elapsed().as_secs_f64(),
            cpu_seconds: processor.elapsed().as_secs_f64(),
            threads: rayon::current_num_threads(),
            seed: spec.seed,
            reference,
            health: Health {
                round_trip_error: estimate.round_trip_error,
                slopes: Some(estimate.slopes),
                rejected_samples: trained.rejected + estimate.rejected,
                largest_local_energy_deviation: estimate.largest_deviation,
                median_local_energy_deviation: estimate.median_deviation,
                quadrature: rayleigh_quotient(psi.as_ref(), system),
            },
        };
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
        if !self.quiet {
            super::print(&closing_lines(&summary, folder))?;
        }
        Ok(())
    }
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
