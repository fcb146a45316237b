//! `weylflow sample`: exact samples of a trained wavefunction, for analyses of one's own.

use super::guard::{self, Format};
use super::{create_new, read_state};
use crate::run::{Samples, State};
use crate::store::npz::{Array, write_npz};
use clap::Args;
use std::error::Error;
use std::path::PathBuf;

/// Draw exact samples from |psi|² of a finished run.
///
/// Writes an .npz file (numpy.load) with `x`, shape (samples, particles), in bohr: the spin-up coordinates
/// first, then the spin-down ones, each sorted ascending; `local_energy`, shape (samples), in Hartree; and
/// `spin`, shape (particles), 0.5 for up and -0.5 for down.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  weylflow sample out/helium -n 100000 --out samples.npz")]
pub struct Sample {
    /// Output folder of a finished run.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Number of samples.
    #[arg(short = 'n', long, default_value_t = 100_000, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    samples: u64,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Seed [default: that of the run].
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Of a run of several states this one, from 0.
    #[arg(long, value_name = "K")]
    state: Option<usize>,
    /// Replace the file if it exists.
    #[arg(long)]
    overwrite: bool,
}

impl Sample {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// A folder without a wavefunction, or a file that cannot be written.
    pub fn run(&self) -> Result<(), Box<dyn Error>> {
        guard::named_as(&self.out, Format::Npz)?;
        let saved = read_state(&self.folder, self.state)?;
        create_new(&self.out, self.overwrite)?;
        guard::not_over_inputs(
            &super::files_in(&self.folder),
            std::slice::from_ref(&self.out),
            |_| false,
        )?;
        super::warn_of_refused_state(&self.folder, &saved)?;
        let state = State::new(saved)?;
        let spec = state.spec();
        let seed = self.seed.unwrap_or(spec.seed);
        let Samples { x, local_energy, rejected } =
            state.sample(usize::try_from(self.samples)?, seed);
        let n = spec.sector.particles();
        let count = local_energy.len();
        // Of more components the magnetic quantum numbers, from the largest down.
        let spins: Vec<_> = if spec.sector.is_many() {
            spec.sector.spins().collect()
        } else {
            vec![0..spec.sector.up, spec.sector.up..n]
        };
        let top = 0.5 * (spins.len() as f64 - 1.0);
        let spin = spins
            .iter()
            .enumerate()
            .flat_map(|(c, range)| range.clone().map(move |_| top - c as f64))
            .collect();
        write_npz(
            &self.out,
            &[
                Array::new("x", vec![count, n], x),
                Array::new("local_energy", vec![count], local_energy),
                Array::new("spin", vec![n], spin),
            ],
        )?;
        let mut text = format!("{count} samples of {n} particles: {}\n", self.out.display());
        if rejected > 0 {
            text += &format!("{rejected} samples without a finite local energy were left out\n");
        }
        super::print(&text)?;
        Ok(())
    }
}
