//! `weylflow measure`: observables of a trained wavefunction, with error bars.

use super::read_wavefunction;
use crate::exact::{self, ExactOptions};
use crate::observables::quantity::Estimates;
use crate::observables::{
    Effort, Entry, FEWEST_REPLICATES, Measurement, Quantity, REGISTRY, Setup, extrapolation,
    measure,
};
use crate::report::csv::read_energy;
use crate::report::files::{Existing, create_output_folder, names};
use crate::report::number::format_with_uncertainty;
use crate::report::observables::{Observables, write_observables};
use crate::spec::{ResolvedSpec, load};
use crate::system::System;
use crate::wavefunction::Wavefunction;
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
    /// Number of samples.
    #[arg(long, default_value_t = 65_536, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1024..=1_000_000_000))]
    samples: u64,
    /// Independent replicates that the samples are split into.
    #[arg(long, default_value_t = 32, value_name = "R",
          value_parser = clap::value_parser!(u64).range(FEWEST_REPLICATES as u64..=512))]
    replicates: u64,
    /// Energy of the first excited state of the sector, in Hartree, for the lower bound of Temple
    /// [default: by exact diagonalisation where it is feasible].
    #[arg(long, value_name = "HARTREE", allow_negative_numbers = true)]
    first_excited: Option<f64>,
    /// Do not compute the exact state: no fidelity.
    #[arg(long)]
    no_exact: bool,
    /// Folder to write into [default: the folder of the run].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
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
        "Observables:\n{list}\nExample:\n  weylflow measure out/helium_triplet --what \
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
        let (spec, psi) = self.wavefunction()?;
        let folder = self.folder()?;
        let results = [names::OBSERVABLES, names::OBSERVABLES_CSV, names::OBSERVABLES_NPZ];
        for name in results {
            super::create_new(&folder.join(name), self.overwrite)?;
        }
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let seed = self.seed.unwrap_or(spec.seed);
        let mut setup = Setup::new(psi.as_ref(), system, seed);
        let wants = |name: &str| entries.iter().any(|e| e.name == name);
        setup.first_excited = self.first_excited;
        if !self.no_exact {
            self.solve(&spec, &mut setup, wants("fidelity"), wants("energy"));
        }
        let observables: Vec<_> =
            entries.iter().filter_map(|e| Some((e.name, (e.build)(&setup)?))).collect();
        let effort = Effort {
            samples: usize::try_from(self.samples)?,
            replicates: usize::try_from(self.replicates)?,
            seed,
        };
        let bar = if self.quiet {
            indicatif::ProgressBar::hidden()
        } else {
            indicatif::ProgressBar::new(self.replicates)
        };
        let watch = |done: usize| bar.set_position(done as u64);
        let mut measurements = measure(psi.as_ref(), &setup, &observables, effort, watch)?;
        bar.finish_and_clear();
        if wants("energy") {
            measurements.extend(along_the_run(&self.source)?);
        }
        let found = Observables {
            title: spec.title.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            samples: effort.samples / effort.replicates * effort.replicates,
            replicates: effort.replicates,
            seed,
            measurements,
        };
        write_observables(&folder, &found)?;
        if !self.quiet {
            super::print(&table(&found))?;
        }
        if let Some(path) = super::report::remake(&folder)?
            && !self.quiet
        {
            super::print(&format!("report: {}\n", path.display()))?;
        }
        Ok(())
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

    fn wavefunction(&self) -> Result<(ResolvedSpec, Box<dyn Wavefunction>), Box<dyn Error>> {
        if self.source.is_file() {
            let spec = load(&self.source)?;
            let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
            let psi = spec.wavefunction.build(spec.sector, system, spec.seed)?;
            return Ok((spec, psi));
        }
        let saved = read_wavefunction(&self.source)?;
        let psi = saved.build()?;
        Ok((saved.spec, psi))
    }

    fn folder(&self) -> Result<PathBuf, Box<dyn Error>> {
        match &self.out {
            Some(folder) => {
                // A folder with other things in it is welcome: only the files of a measurement count.
                if !folder.is_dir() {
                    create_output_folder(folder, Existing::Refuse)?;
                }
                Ok(folder.clone())
            }
            None if self.source.is_dir() => Ok(self.source.clone()),
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
            let progress = &mut |_: &exact::Step| ControlFlow::Continue(());
            exact::solve(&spec.hamiltonian, &spec.geometry, spec.sector, options, progress)
        };
        if state {
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
            let options = ExactOptions { states: 2, ..options };
            match solve(&options) {
                Ok(result) => setup.first_excited = result.energies.get(1).copied(),
                Err(error) => self.note(&format!("no lower bound: {error}")),
            }
        }
    }

    fn note(&self, line: &str) {
        if !self.quiet {
            // If nobody listens there, nobody misses it.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{line}\n"));
        }
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
        let energy = Estimates::one(line.energy, line.error);
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
            let value = format_with_uncertainty(value, error);
            text += &format!("{:<26} {value} {}\n", q.name, q.unit);
        } else if q.name == "occupations" || q.name == "nuclear_forces" {
            let shown: Vec<String> = (q.values.iter().zip(&q.errors).take(8))
                .map(|(&v, &e)| format_with_uncertainty(v, e))
                .collect();
            text += &format!("{:<26} {} {}\n", q.name, shown.join(" "), q.unit);
        }
    }
    text
}
