//! `weylflow run`: train a wavefunction, estimate on fresh samples, write the report.

use super::Exit;
use super::cluster;
use super::guard;
use super::project::Project;
use super::terminal::Terminal;
use crate::estimate::{Check, Verdict};
use crate::input;
use crate::report::escape::one_line;
use crate::report::number::{counted, format_ratio, format_with_uncertainty};
use crate::report::verdict;
use crate::run::{
    self, Ended, EnsembleEnded, EnsembleRun, Event, InFolder, Observer, RunError, written_into,
};
use crate::scan::Scan;
use crate::spec::{Family, ResolvedSpec, read, write};
use crate::store::files::{Existing, names};
use crate::store::record::{ErrorBar, IterationRow, Sampled, Summary};
use crate::team;
use clap::Args;
use std::error::Error;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Train a wavefunction and write a report whose energy can be believed.
///
/// Reads the spec, trains, estimates the energy on fresh samples, compares with the exact energy where
/// one is feasible, and writes spec.ron, energy.csv, summary.json, density.csv, reference_density.csv, reference_pairs.npz, report.html,
/// provenance.json and wavefunction into the output folder. The same spec and seed give the same numbers for any number of
/// threads.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  weylflow run runs/helium.ron --out out/helium")]
pub struct Run {
    /// The spec, a RON file.
    #[arg(value_name = "SPEC")]
    spec: PathBuf,
    /// Value of a named parameter, in place of the one in the spec.
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::assignment)]
    set: Vec<(String, f64)>,
    /// Of a scan only these points, from 1: 3, or 3..5 with both ends.
    #[arg(long, value_name = "POINTS", value_parser = super::scan::range)]
    only: Option<RangeInclusive<usize>>,
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
    /// Show the report in a browser when it is written.
    #[arg(long)]
    open: bool,
    /// Say nothing but errors.
    #[arg(long)]
    quiet: bool,
}

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

    /// What the command line says of a spec.
    pub(super) fn change(&self, spec: &mut ResolvedSpec) {
        spec.seed = self.seed.unwrap_or(spec.seed);
        spec.iterations = self.iterations.unwrap_or(spec.iterations);
    }

    pub(super) fn spec(&self) -> &Path {
        &self.spec
    }

    pub(super) fn only(&self) -> Option<RangeInclusive<usize>> {
        self.only.clone()
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub(super) fn opens(&self) -> bool {
        self.open
    }

    /// Starts the threads of this process.
    pub(super) fn start_threads(&self) -> Result<(), rayon::ThreadPoolBuildError> {
        let threads = self.threads.map_or(0, usize::from);
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()
    }

    /// Runs in this process, which leads whatever others there are.
    pub(super) fn alone(&self) -> Result<(), Box<dyn Error>> {
        let family = Family::load(&self.spec)?.at(&self.set)?;
        let mut spec = family.spec_to_train()?;
        self.change(&mut spec);
        spec.validate()?;
        self.start_threads()?;
        let folder = self.out.clone().unwrap_or_else(|| {
            let stem = self.spec.file_stem().unwrap_or(self.spec.as_os_str());
            Path::new("out").join(stem)
        });
        let place = InFolder {
            folder: folder.clone(),
            existing: match (self.overwrite, self.resume) {
                (true, _) => Existing::Overwrite,
                (_, true) => Existing::Keep,
                _ => Existing::Refuse,
            },
            previous: self.previous,
            checkpoint_every: self.checkpoint_every as usize,
            checkpoint_seconds: self.checkpoint_seconds,
        };
        if let Some(scan) = Scan::new(family) {
            if spec.project {
                return Err("a scan does not project: leave `project` out, and project the folders of its points".into());
            }
            return super::scan::run(self, &scan, &spec, place);
        }
        if self.only.is_some() {
            return Err("--only is for specs with a `scan`".into());
        }
        let spec_text = write::to_ron(&spec)?;
        guard::not_over_inputs(&read::files(&self.spec)?, &written_into(&folder), |path| {
            let same = input::read(path, input::MOST_SPEC_BYTES)
                .is_ok_and(|bytes| bytes == spec_text.as_bytes());
            path.file_name() == Some(names::SPEC.as_ref()) && same
        })?;
        if run::is_of_several(&spec) {
            return self.several(spec, &place);
        }
        let projects = spec.project;
        // Everything that can be wrong with the input is found before a folder is made.
        let run = run::Run::new(spec).map_err(|error| match error {
            RunError::Untrainable(v) => format!("{}: {v}", self.spec.display()).into(),
            error => Box::<dyn Error>::from(error),
        })?;
        let folder = place.folder.as_path();
        let mut terminal = Terminal::new(self.quiet)?;
        let ended = run.in_folder(&place, &mut terminal);
        match ended.map_err(|error| terminal.explained(error, folder))? {
            Ended::Before(summary, done) => {
                terminal.hear(Event::Message(&format!(
                    "the run is finished, after {done} iterations; --iterations takes it further"
                )));
                // What was refused stays refused.
                sentence(&summary, folder)
            }
            Ended::Now(outcome) => {
                let summary = &outcome.summary;
                if !self.quiet && summary.verdict != Some(Verdict::Refused) {
                    super::print(&closing_lines(summary, &outcome.rows, folder))?;
                }
                if projects && summary.verdict != Some(Verdict::Refused) {
                    let projection = Project::of_run(folder.to_owned(), self.quiet);
                    // A guide that is too poor is no fault of the run: what it found stands.
                    match team::alone(|| projection.execute()) {
                        Err(error)
                            if error.downcast_ref().map(|e: &Exit| e.code) == Some(REFUSED) =>
                        {
                            super::note(&format!("warning: {error}"));
                        }
                        ended => ended?,
                    }
                }
                if self.open
                    && let Err(error) = open::that_detached(folder.join(names::REPORT))
                {
                    super::note(&format!("no browser shows the report: {error}"));
                }
                sentence(summary, folder)
            }
        }
    }
}

impl Run {
    /// Runs states or a temperature.
    fn several(&self, spec: ResolvedSpec, place: &InFolder) -> Result<(), Box<dyn Error>> {
        let run = EnsembleRun::new(spec).map_err(|error| match error {
            RunError::Untrainable(v) => format!("{}: {v}", self.spec.display()).into(),
            error => Box::<dyn Error>::from(error),
        })?;
        let folder = place.folder.as_path();
        let mut terminal = Terminal::new(self.quiet)?;
        let ended = run.in_folder(place, &mut terminal);
        let summary = match ended.map_err(|error| terminal.explained(error, folder))? {
            EnsembleEnded::Now(outcome) => outcome.summary,
            EnsembleEnded::Before(summary, done) => {
                let further = match summary.sweep.is_empty() {
                    true => "; --iterations takes it further",
                    false => "",
                };
                terminal.hear(Event::Message(&format!(
                    "the run is finished, after {done} iterations{further}"
                )));
                // What was refused stays refused.
                return judged(Some(summary.verdict), &summary.checks, &[], folder);
            }
        };
        if !self.quiet && summary.verdict != Verdict::Refused {
            let report = folder.join(names::REPORT);
            let verdict = summary.sentence();
            super::print(&format!(
                "{}verdict: {verdict}\nreport: {}\n",
                summary.lines(),
                report.display()
            ))?;
        }
        judged(Some(summary.verdict), &summary.checks, &[], folder)
    }
}

/// Exit code of a run whose energy is refused.
pub(super) const REFUSED: u8 = 3;

/// What a verdict means for the exit code, with the checks that failed.
///
/// # Errors
/// An [`Exit`] where the energy is doubtful or refused.
pub(super) fn sentence(summary: &Summary, folder: &Path) -> Result<(), Box<dyn Error>> {
    judged(summary.verdict, &summary.checks, &summary.health.refusals, folder)
}

fn judged(
    verdict: Option<Verdict>,
    checks: &[Check],
    refusals: &[String],
    folder: &Path,
) -> Result<(), Box<dyn Error>> {
    let (code, word) = match verdict {
        Some(Verdict::Doubtful) => (Exit::DOUBTFUL, "doubtful"),
        Some(Verdict::Refused) => (REFUSED, "refused"),
        // The summary of a version that only refused.
        None if !refusals.is_empty() => (REFUSED, "refused"),
        None | Some(Verdict::Good) => return Ok(()),
    };
    let failed = checks.iter().filter(|c| !c.passed);
    let mut reasons: Vec<String> =
        failed.map(|c| format!("{}: {}", c.headline, c.detail)).collect();
    if reasons.is_empty() {
        reasons = refusals.to_vec();
    }
    let message = format!(
        "the energy is {word}, because\n  {}\n  what there is of results is in `{}`",
        reasons.join("\n  "),
        folder.display()
    );
    Err(Box::new(Exit { code, message }))
}

fn closing_lines(summary: &Summary, rows: &[IterationRow], folder: &Path) -> String {
    let mut text = format!(
        "E = {} Ha, variance {:.3e} Ha², {} samples\n",
        format_with_uncertainty(summary.energy, verdict::shown_error(summary)),
        summary.variance,
        summary.samples
    );
    if let Some(Sampled { energy, standard_error }) = summary.sampled {
        text += &format!(
            "    known without samples; these give {} Ha\n",
            format_with_uncertainty(energy, standard_error)
        );
    } else if let ErrorBar {
        scramblings: Some(scramblings), independent, gain: Some(gain), ..
    } = summary.error_bar
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
            format_with_uncertainty(summary.total_energy, verdict::shown_error(summary)),
            summary.nuclear_repulsion
        );
    }
    if let (Some(reference), Some(deviation)) = (&summary.reference, verdict::deviation(summary)) {
        text += &format!(
            "exact {:.10} Ha ({}), deviation {deviation}{}\n",
            reference.energy,
            one_line(&reference.source),
            match summary.degrees_of_freedom() {
                Some(freedom) if deviation.ends_with("error bars") => {
                    format!(" (Student's t, {freedom} degrees of freedom)")
                }
                _ => String::new(),
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
            "training stopped after {} because {}\n",
            counted(summary.iterations, "iteration"),
            stopped.words()
        );
    }
    text += &format!("verdict: {}\n", verdict::line(summary, rows));
    text += &format!("report: {}\n", folder.join(names::REPORT).display());
    text
}
