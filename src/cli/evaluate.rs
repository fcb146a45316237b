//! `weylflow evaluate`: a trained wavefunction at given points, for analyses of one's own.

use super::guard::{self, Format};
use super::{create_new, read_wavefunction};
use crate::report::npz::{Array, read_npz, write_npz};
use crate::run::State;
use clap::Args;
use std::error::Error;
use std::path::PathBuf;

/// Evaluate the wavefunction of a finished run at points of one's own.
///
/// Reads `x` from an .npz file, shape (points, particles), in bohr, spin-up coordinates first, in any order.
/// Writes an .npz file with `log_abs_psi` and `sign` (the antisymmetric psi with integral of |psi|² over the
/// ordered configurations equal to one, so sign changes when two equal spins change places), `gradient`, shape
/// (points, particles), of log |psi| in 1/bohr, `local_energy` in Hartree, and `x` as it was read. On a node,
/// log |psi| is -inf and what follows from it not a number.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  weylflow evaluate out/helium --points points.npz --out values.npz"
)]
pub struct Evaluate {
    /// Output folder of a finished run.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The points: an .npz file with an array `x`, or with one array of any name.
    #[arg(long, value_name = "FILE")]
    points: PathBuf,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace the file if it exists.
    #[arg(long)]
    overwrite: bool,
}

impl Evaluate {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// A folder without a wavefunction, points that do not fit it, or a file that cannot be written.
    pub fn run(&self) -> Result<(), Box<dyn Error>> {
        guard::named_as(&self.out, Format::Npz)?;
        let saved = read_wavefunction(&self.folder)?;
        create_new(&self.out, self.overwrite)?;
        let inputs =
            [&super::files_in(&self.folder)[..], std::slice::from_ref(&self.points)].concat();
        guard::not_over_inputs(&inputs, std::slice::from_ref(&self.out), |_| false)?;
        super::warn_of_refused_state(&self.folder, &saved)?;
        let state = State::new(saved)?;
        let n = state.sector().particles();
        let x = self.read_points(n)?;
        let points = x.shape[0];
        let values = state
            .evaluate(&x.values)
            .map_err(|error| format!("{}: {error}", self.points.display()))?;
        write_npz(
            &self.out,
            &[
                Array::new("log_abs_psi", vec![points], values.log_abs),
                Array::new("sign", vec![points], values.sign),
                Array::new("gradient", vec![points, n], values.gradient),
                Array::new("local_energy", vec![points], values.local_energy),
                Array::new("x", x.shape, x.values),
            ],
        )?;
        super::print(&format!("{points} points: {}\n", self.out.display()))?;
        Ok(())
    }

    fn read_points(&self, particles: usize) -> Result<Array, Box<dyn Error>> {
        let file = self.points.display();
        let mut arrays = read_npz(&self.points).map_err(|e| format!("{file}: {e}"))?;
        let index = arrays.iter().position(|a| a.name == "x");
        let index = index.or((arrays.len() == 1).then_some(0));
        let index = index.ok_or_else(|| format!("{file}: there is no array `x`"))?;
        let mut x = arrays.swap_remove(index);
        if particles == 1 && x.shape.len() == 1 {
            x.shape.push(1);
        }
        if x.shape.len() != 2 || x.shape[1] != particles {
            return Err(format!(
                "{file}: `{}` has the shape {:?}; it should be (points, {particles}), one column a particle",
                x.name, x.shape
            )
            .into());
        }
        Ok(x)
    }
}
