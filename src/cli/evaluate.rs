//! `weylflow evaluate`: a trained wavefunction at given points, for analyses of one's own, or a scan at another value.

use super::guard::{self, Format};
use super::run::sentence;
use super::terminal::Terminal;
use super::{create_new, read_state};
use crate::report::number::format_with_uncertainty;
use crate::run::State;
use crate::scan::{Elsewhere, ElsewhereError, Scan, Slope};
use crate::store::npz::{Array, read_npz, write_npz};
use clap::Args;
use std::error::Error;
use std::path::{Path, PathBuf};

/// Evaluate the wavefunction of a finished run at points of one's own, or a finished scan at another value.
///
/// Reads `x` from an .npz file, shape (points, particles), in bohr, spin-up coordinates first, in any order.
/// Writes an .npz file with `log_abs_psi` and `sign` (the antisymmetric psi with integral of |psi|² over the
/// ordered configurations equal to one, so sign changes when two equal spins change places), `gradient`, shape
/// (points, particles), of log |psi| in 1/bohr, `local_energy` in Hartree, and `x` as it was read. On a node,
/// log |psi| is -inf and what follows from it not a number.
///
/// With --at, DIR is the folder of a scan: prints the energy with its error bar, the exact energy, and the slope at a value of the scanned
/// parameter between its ends. A scan by `Conditional` has trained parameters for every value; of another one, those of the nearest point
/// serve, over the base of the value.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weylflow evaluate out/helium --points points.npz --out values.npz\n  weylflow evaluate out/hydrogen_molecule_curve --at R=2.35"
)]
pub struct Evaluate {
    /// Output folder of a finished run, or with --at of a scan.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Value of the scanned parameter; for a grid one of each.
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::assignment, conflicts_with_all = ["points", "out", "overwrite"])]
    at: Vec<(String, f64)>,
    /// With --at, print JSON.
    #[arg(long, requires = "at")]
    json: bool,
    /// The points: an .npz file with an array `x`, or with one array of any name.
    #[arg(long, value_name = "FILE", required_unless_present = "at", requires = "out")]
    points: Option<PathBuf>,
    /// The file to write.
    #[arg(long, value_name = "FILE", required_unless_present = "at", requires = "points")]
    out: Option<PathBuf>,
    /// Of a run of several states this one, from 0.
    #[arg(long, value_name = "K")]
    state: Option<usize>,
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
        let (Some(points_file), Some(out)) = (&self.points, &self.out) else { return self.scan() };
        guard::named_as(out, Format::Npz)?;
        let saved = read_state(&self.folder, self.state)?;
        create_new(out, self.overwrite)?;
        let inputs =
            [&super::files_in(&self.folder)[..], std::slice::from_ref(points_file)].concat();
        guard::not_over_inputs(&inputs, std::slice::from_ref(out), |_| false)?;
        super::warn_of_refused_state(&self.folder, &saved)?;
        let state = State::new(saved)?;
        let n = state.sector().particles();
        let x = read_points(points_file, n)?;
        let points = x.shape[0];
        let values = state
            .evaluate(&x.values)
            .map_err(|error| format!("{}: {error}", points_file.display()))?;
        write_npz(
            out,
            &[
                Array::new("log_abs_psi", vec![points], values.log_abs),
                Array::new("sign", vec![points], values.sign),
                Array::new("gradient", vec![points, n], values.gradient),
                Array::new("local_energy", vec![points], values.local_energy),
                Array::new("x", x.shape, x.values),
            ],
        )?;
        super::print(&format!("{points} points: {}\n", out.display()))?;
        Ok(())
    }

    /// A scan at another value.
    fn scan(&self) -> Result<(), Box<dyn Error>> {
        let mut terminal = Terminal::new(true)?;
        let found = Scan::read(&self.folder)?.elsewhere(&self.folder, &self.at, &mut terminal);
        let found = found.map_err(|error| match error {
            ElsewhereError::Run(error) => terminal.explained(error, &self.folder),
            error => error.into(),
        })?;
        let summary = &found.summary;
        super::print(&if self.json { json(&found)? } else { lines(&found) })?;
        sentence(summary, &self.folder)
    }
}

/// What was found, in words.
fn lines(found: &Elsewhere) -> String {
    let summary = &found.summary;
    let words: Vec<String> = found.values.iter().map(|(n, v)| format!("{n} = {v}")).collect();
    let mut text = format!(
        "{}: {}\nE = {} Ha, variance {:.3e} Ha²\n",
        words.join(", "),
        found.from,
        format_with_uncertainty(summary.energy, summary.standard_error),
        summary.variance
    );
    if summary.nuclear_repulsion != 0.0 {
        text += &format!(
            "    {} Ha with the nuclear repulsion of {:.8} Ha\n",
            format_with_uncertainty(summary.total_energy, summary.standard_error),
            summary.nuclear_repulsion
        );
    }
    if let Some(reference) = &summary.reference {
        text += &format!(
            "exact {:.10} Ha, deviation {:+.1e} Ha\n",
            reference.energy, reference.deviation
        );
    }
    for ((name, _), slope) in found.values.iter().zip(&found.slopes) {
        text += &match slope {
            Some(slope) => format!(
                "d(total energy)/d{name} = {} Ha\n",
                format_with_uncertainty(slope.electronic + slope.repulsion, slope.standard_error)
            ),
            None => format!(
                "no slope: the space of the particles or a contact interaction depends on {name}\n"
            ),
        };
    }
    text
}

/// The same for programs.
fn json(found: &Elsewhere) -> Result<String, serde_json::Error> {
    let summary = &found.summary;
    let slope = |((name, _), slope): (&(String, f64), &Option<Slope>)| {
        (name.clone(), serde_json::json!(slope))
    };
    let slopes = found.values.iter().zip(&found.slopes).map(slope);
    let values = found.values.iter().map(|(n, v)| (n.clone(), serde_json::json!(v)));
    let all = serde_json::json!({
        "at": values.collect::<serde_json::Map<_, _>>(),
        "from": found.from,
        "energy": summary.energy,
        "standard_error": summary.standard_error,
        "variance": summary.variance,
        "nuclear_repulsion": summary.nuclear_repulsion,
        "total_energy": summary.total_energy,
        "reference": summary.reference.as_ref().map(|r| serde_json::json!({
            "energy": r.energy, "deviation": r.deviation, "error_estimate": r.error_estimate,
        })),
        "slopes": slopes.collect::<serde_json::Map<_, _>>(),
        "verdict": summary.verdict,
    });
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}

fn read_points(path: &Path, particles: usize) -> Result<Array, Box<dyn Error>> {
    let file = path.display();
    let mut arrays = read_npz(path).map_err(|e| format!("{file}: {e}"))?;
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
