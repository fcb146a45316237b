//! `weylflow exact`: lowest energies of few particles by exact diagonalisation.

use super::Exit;
use super::exact_display::Display;
use super::guard::{self, Format};
use super::interrupt::Interrupt;
use crate::exact::thermal::ThermalOptions;
use crate::exact::{ExactError, ExactOptions, ExactResult, Labels, Method};
use crate::run::{Task, solve_until, thermal_until};
use crate::spec::family::HamiltonianFamily;
use crate::spec::read::{files, names_hamiltonian};
use crate::spec::{Family, validate};
use crate::store::files::write_atomic;
use crate::system::{Geometry, Sector};
use clap::Args;
use serde_json::{Value, json};
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Floating-point operations per second and thread that `--time` counts with.
const SPEED: f64 = 2e10;

/// Exact lowest energies of few particles, with an error estimate.
///
/// Takes a run spec (its sector and geometry are used) or a Hamiltonian file. Without walls or ring, a
/// Hamiltonian is solved on the infinite line: the tool moves the walls out until they do not matter.
/// Grid, basis and number of orbitals are refined until the energies change by less than the tolerance;
/// the table of that goes to standard error as it grows.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weylflow exact runs/helium.ron
  weylflow exact hamiltonians/lithium.ron --up 2 --down 1 --json
  weylflow exact hamiltonians/helium.ron --up 1 --down 1 --density density.csv")]
pub struct Exact {
    /// A run spec or a Hamiltonian, a RON file.
    #[arg(value_name = "SPEC|HAMILTONIAN")]
    file: PathBuf,
    /// Value of a named parameter, in place of the one in the file.
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::assignment)]
    set: Vec<(String, f64)>,
    /// Number of spin-up fermions (default: that of the spec, or 1).
    #[arg(long)]
    up: Option<usize>,
    /// Number of spin-down fermions (default: that of the spec, or 0).
    #[arg(long)]
    down: Option<usize>,
    /// Hard walls at plus and minus this, in bohr (default: those of the spec, or none).
    #[arg(long, value_name = "BOHR", conflicts_with = "ring")]
    half_width: Option<f64>,
    /// A ring of this circumference, in bohr.
    #[arg(long, value_name = "BOHR")]
    ring: Option<f64>,
    /// The infinite line, even if the spec has walls.
    #[arg(long, conflicts_with_all = ["ring", "half_width"])]
    line: bool,
    /// Number of states, lowest first.
    #[arg(long, default_value_t = 1, value_name = "NUMBER",
          value_parser = clap::value_parser!(u16).range(1..=100))]
    states: u16,
    /// Free energy, energy, entropy and heat capacity at this temperature instead of states.
    #[arg(long, value_name = "kT", conflicts_with_all = ["states", "density", "occupations", "pair_density", "entropy",
          "method"])]
    temperature: Option<f64>,
    /// Error of each energy to aim at, in Hartree.
    #[arg(long, default_value_t = 1e-8, value_name = "HARTREE")]
    tolerance: f64,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
    /// Write the one-body densities of the states to this CSV file, two columns a state.
    ///
    #[arg(long, value_name = "FILE")]
    density: Option<PathBuf>,
    /// Write the natural occupations of the ground state to this CSV file.
    #[arg(long, value_name = "FILE")]
    occupations: Option<PathBuf>,
    /// Write the pair density of the ground state to this CSV file.
    #[arg(long, value_name = "FILE")]
    pair_density: Option<PathBuf>,
    /// Write the entanglement entropy of cuts through space to this CSV file (matrix product states only).
    #[arg(long, value_name = "FILE")]
    entropy: Option<PathBuf>,
    /// Route: configuration interaction, gaps between neighbours, matrix product states, or what is the cheapest.
    #[arg(long, default_value = "auto", value_name = "auto|ci|gaps|mps", value_parser = method)]
    method: Method,
    /// Replace these files if they exist.
    #[arg(long)]
    overwrite: bool,
    /// Memory that may be used.
    #[arg(long, default_value_t = 6.0, value_name = "GIB")]
    memory: f64,
    /// Time that one refinement may take, as predicted from the arithmetic it needs; all together may take
    /// little more than twice that.
    #[arg(long, default_value_t = 400.0, value_name = "SECONDS")]
    time: f64,
    /// Do not use closed forms, even where one is known.
    #[arg(long)]
    numerical: bool,
    /// Threads (default: all cores). The result does not depend on it.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl Exact {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// A file that is not valid, a limit that is too low, or an output that cannot be written.
    pub fn run(&self) -> Result<(), Box<dyn Error>> {
        let task = self.task()?;
        self.check_outputs()?;
        let threads = self.threads.map_or(0, usize::from);
        let interrupt = Interrupt::listen()?;
        let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(threads).build()?);
        if let Some(kt) = self.temperature {
            return self.thermal(kt, &task, &pool, &interrupt);
        }
        let options = ExactOptions {
            states: usize::from(self.states),
            tolerance: self.tolerance,
            memory_limit_bytes: (self.memory * (1_u64 << 30) as f64) as u64,
            work_limit: self.time * SPEED * pool.current_num_threads() as f64,
            pair_density: self.pair_density.is_some(),
            closed_forms: !self.numerical,
            method: self.method,
        };
        let mut display = Display::new(self.json, SPEED * pool.current_num_threads() as f64);
        let stops = || interrupt.exit_code().is_some();
        let solved =
            solve_until(&task, &options, Some(pool), &stops, &mut |step| display.show(step));
        display.finish();
        let result = solved?.map_err(|error| explained(error, &interrupt))?;
        self.write_files(&result)?;
        let repulsion = task.hamiltonian.nuclear_repulsion();
        if self.json {
            super::print(&format!("{:#}\n", to_json(&result, &task, repulsion)))?;
        } else {
            super::print(&to_text(&result, repulsion))?;
        }
        Ok(())
    }

    /// The canonical ensemble.
    fn thermal(
        &self,
        kt: f64,
        task: &Task,
        pool: &Arc<rayon::ThreadPool>,
        interrupt: &Interrupt,
    ) -> Result<(), Box<dyn Error>> {
        if !(kt > 0.0 && kt.is_finite()) {
            return Err(format!("--temperature must be a positive number, not {kt}").into());
        }
        let options = ThermalOptions {
            tolerance: self.tolerance,
            closed_forms: !self.numerical,
            ..ThermalOptions::at(kt)
        };
        let stops = || interrupt.exit_code().is_some();
        let solved = thermal_until(task, &options, Some(Arc::clone(pool)), &stops)?
            .map_err(|error| explained(error, interrupt))?;
        let repulsion = task.hamiltonian.nuclear_repulsion();
        if self.json {
            let mut value = serde_json::to_value(&solved)?;
            value["title"] = json!(task.hamiltonian.title);
            value["sector"] = json!(task.sector);
            value["nuclear_repulsion"] = json!(repulsion);
            return Ok(super::print(&format!("{value:#}\n"))?);
        }
        let (f, e) = (solved.functions, solved.error_estimates);
        let mut out = format!("method              {}\n", solved.method);
        let mut line = |name: &str, value: f64, error: f64, unit: &str| {
            out += &format!("{name:<19} {value:.12} +- {error:.1e} {unit}\n");
        };
        line("free energy", f.free_energy, e.free_energy, "Hartree");
        line("energy", f.energy, e.energy, "Hartree");
        line("entropy", f.entropy, e.entropy, "k");
        line("heat capacity", f.heat_capacity, e.heat_capacity, "k");
        if repulsion != 0.0 {
            out += &format!("nuclear repulsion   {repulsion:.12}\n");
        }
        if !solved.converged {
            out += "The error estimate is above the tolerance: the number of states ended the refinement.\n";
        }
        Ok(super::print(&out)?)
    }

    fn task(&self) -> Result<Task, Box<dyn Error>> {
        let mut task = if names_hamiltonian(&self.file)? {
            let spec = Family::load(&self.file)?.at(&self.set)?.spec()?;
            let geometry = Some(spec.geometry).filter(|g| *g != Geometry::Line);
            Task { hamiltonian: spec.hamiltonian, sector: spec.sector, geometry }
        } else {
            let mut family = HamiltonianFamily::load(&self.file)?;
            self.set.iter().try_for_each(|(name, value)| family.set(name, *value))?;
            let hamiltonian = family.hamiltonian()?;
            Task { hamiltonian, sector: Sector::new(1, 0), geometry: None }
        };
        if task.sector.is_many() && (self.up.is_some() || self.down.is_some()) {
            task.sector = Sector::new(task.sector.up, task.sector.down);
        }
        task.sector.up = self.up.unwrap_or(task.sector.up);
        task.sector.down = self.down.unwrap_or(task.sector.down);
        if self.line {
            task.geometry = None;
        }
        let positive = |name: &str, value: f64| {
            if value > 0.0 && value.is_finite() {
                Ok(value)
            } else {
                Err(format!("--{name} must be a positive number, not {value}"))
            }
        };
        if let Some(l) = self.half_width {
            task.geometry = Some(Geometry::Box { half_width: positive("half-width", l)? });
        }
        if let Some(c) = self.ring {
            task.geometry = Some(Geometry::Ring { circumference: positive("ring", c)? });
        }
        // The bounds of a spec hold for what the flags say as well.
        validate::sector(&task.sector).map_err(|v| format!("--up, --down: {}", v.problem))?;
        if let Some(g) = &task.geometry {
            validate::geometry(g).map_err(|v| format!("{}: {}", v.field, v.problem))?;
        }
        positive("tolerance", self.tolerance)?;
        positive("memory", self.memory)?;
        positive("time", self.time)?;
        let geometry = task.geometry.unwrap_or(Geometry::Line);
        validate::hamiltonian_in(&task.hamiltonian, &geometry)
            .and_then(|()| validate::ground_state(&task.hamiltonian, &geometry, task.sector))
            .map_err(|v| format!("{}: {}: {}", self.file.display(), v.field, v.problem))?;
        Ok(task)
    }

    /// Refuses, before the work, to write over inputs, other results, or one table over another.
    fn check_outputs(&self) -> Result<(), Box<dyn Error>> {
        let asked = [&self.density, &self.occupations, &self.pair_density, &self.entropy];
        let outputs: Vec<PathBuf> = asked.into_iter().flatten().cloned().collect();
        let mut inputs = vec![self.file.clone()];
        if names_hamiltonian(&self.file)? {
            inputs = files(&self.file)?;
        }
        guard::not_over_inputs(&inputs, &outputs, |_| false)?;
        for (i, path) in outputs.iter().enumerate() {
            guard::named_as(path, Format::Csv)?;
            super::create_new(path, self.overwrite)?;
            if outputs[..i].iter().any(|other| guard::is_same_name(path, other)) {
                return Err(format!("`{}` is named for two tables", path.display()).into());
            }
        }
        Ok(())
    }

    fn write_files(&self, r: &ExactResult) -> Result<(), Box<dyn Error>> {
        let ground = match &r.ground_state {
            Ok(ground) => ground,
            Err(limit) => {
                let asked = [&self.density, &self.occupations, &self.pair_density, &self.entropy];
                if asked.iter().any(|path| path.is_some()) {
                    let why = hinted(limit);
                    super::note(&format!("no densities and occupations are written: {why}"));
                }
                return Ok(());
            }
        };
        let save = |path: &Path, text: String| write_atomic(path, text.as_bytes());
        if let Some(path) = &self.density {
            let mut text = String::from("x,up,down");
            for k in 1..=r.excited_densities.len() {
                write!(text, ",up_{k},down_{k}")?;
            }
            text.push('\n');
            for (i, x) in ground.density.x.iter().enumerate() {
                write!(text, "{x}")?;
                for d in std::iter::once(&ground.density).chain(&r.excited_densities) {
                    write!(text, ",{:e},{:e}", d.up[i], d.down[i])?;
                }
                text.push('\n');
            }
            save(path, text)?;
        }
        if let Some(path) = &self.occupations {
            let mut text = String::from("orbital,occupation\n");
            for (i, n) in ground.natural_occupations.iter().enumerate() {
                writeln!(text, "{},{n:e}", i + 1)?;
            }
            save(path, text)?;
        }
        match (&self.entropy, &ground.entanglement) {
            (Some(path), Some(cuts)) => {
                let mut text = String::from("x,entropy\n");
                for (x, s) in cuts.x.iter().zip(&cuts.entropy) {
                    writeln!(text, "{x},{s:e}")?;
                }
                save(path, text)?;
            }
            (Some(_), None) => {
                super::note("no entropies are written: only --method mps gives them");
            }
            _ => {}
        }
        if let (Some(path), Some(pairs)) = (&self.pair_density, &ground.pair_density) {
            let mut text = String::from("x,y,pairs\n");
            for (i, x) in pairs.x.iter().enumerate() {
                for (j, y) in pairs.x.iter().enumerate() {
                    writeln!(text, "{x},{y},{:e}", pairs.values[i * pairs.x.len() + j])?;
                }
            }
            save(path, text)?;
        }
        Ok(())
    }
}

fn method(text: &str) -> Result<Method, String> {
    match text {
        "auto" => Ok(Method::Auto),
        "ci" => Ok(Method::Ci),
        "gaps" => Ok(Method::Gaps),
        "mps" => Ok(Method::Mps),
        _ => Err("one of auto, ci, gaps, mps".into()),
    }
}

/// Which flag helps.
fn hinted(error: &ExactError) -> String {
    match error {
        ExactError::Memory { .. } => format!("{error} (raise with --memory)"),
        ExactError::Work { .. } => format!("{error} (raise with --time)"),
        ExactError::Unbound { .. } => format!("{error}: give the walls with --half-width"),
        _ => error.to_string(),
    }
}

fn explained(error: ExactError, interrupt: &Interrupt) -> Box<dyn Error> {
    match interrupt.exit_code() {
        Some(code) if error == ExactError::Interrupted => {
            Box::new(Exit { code, message: error.to_string() })
        }
        _ => hinted(&error).into(),
    }
}

/// Quantum numbers in words, after the energy.
fn labelled(l: &Labels) -> String {
    let mut words = vec![];
    if let Some(s) = l.spin {
        let (twice, whole) = ((2.0 * s).round() as u32, s.round() as u32);
        words.push(if twice % 2 == 0 { format!("S = {whole}") } else { format!("S = {twice}/2") });
    }
    match l.parity {
        Some(1) => words.push("even".into()),
        Some(_) => words.push("odd".into()),
        None => {}
    }
    match l.momentum {
        Some(0) => words.push("momentum 0".into()),
        Some(k) => words.push(format!("momentum +-{k} x 2 pi/circumference")),
        None => {}
    }
    if l.degenerate {
        words.push("degenerate".into());
    }
    if words.is_empty() { String::new() } else { format!("  ({})", words.join(", ")) }
}

fn to_text(r: &ExactResult, repulsion: f64) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "method              {}", r.method);
    let _ = match r.geometry {
        Some(Geometry::Box { half_width }) if r.centre != 0.0 => {
            writeln!(out, "walls               at {} +- {half_width} bohr", r.centre)
        }
        Some(Geometry::Box { half_width }) => {
            writeln!(out, "walls               at +-{half_width} bohr")
        }
        Some(Geometry::Ring { circumference }) => {
            writeln!(out, "ring                {circumference} bohr around")
        }
        Some(Geometry::Line) | None => writeln!(out, "walls               none"),
    };
    for (k, (e, d)) in r.energies.iter().zip(&r.error_estimates).enumerate() {
        let name = if k == 0 { "energy".to_string() } else { format!("state {k}") };
        let labels = r.labels.get(k).map_or(String::new(), labelled);
        let _ = writeln!(out, "{name:<19} {e:.12} +- {d:.1e} Hartree{labels}");
    }
    if r.labels.iter().any(|l| l.degenerate) {
        let _ = writeln!(
            out,
            "Degenerate states share their energy with others: the density of one is that of one of many \
             combinations."
        );
    }
    if repulsion != 0.0 {
        let _ = writeln!(out, "nuclear repulsion   {repulsion:.12}");
        let _ = writeln!(out, "total energy        {:.12}", r.energies[0] + repulsion);
    }
    let c = r.components;
    let _ = writeln!(out, "kinetic             {:.12}", c.kinetic);
    let _ = writeln!(out, "external            {:.12}", c.external);
    let _ = writeln!(out, "interaction         {:.12}", c.interaction);
    let _ = match &r.ground_state {
        Ok(ground) if ground.natural_occupations.is_empty() => {
            writeln!(out, "occupations         left out: determinants are too coarse for them")
        }
        Ok(ground) => {
            let shown: Vec<String> =
                ground.natural_occupations.iter().take(6).map(|n| format!("{n:.6}")).collect();
            writeln!(out, "occupations         {}", shown.join(" "))
        }
        Err(limit) => writeln!(out, "occupations         left out: {}", hinted(limit)),
    };
    if !r.converged {
        let _ = writeln!(
            out,
            "The error estimate is above the tolerance: a limit ended the refinement. Raise --time or \
             --memory to go on."
        );
    }
    out
}

fn to_json(r: &ExactResult, task: &Task, repulsion: f64) -> Value {
    let ground = r.ground_state.as_ref().ok();
    json!({
        "title": task.hamiltonian.title,
        "energies": r.energies,
        "error_estimates": r.error_estimates,
        "error_budget": r.error_budget,
        "labels": r.labels,
        "components": r.components,
        "method": r.method,
        "nuclear_repulsion": repulsion,
        "total_energies": r.energies.iter().map(|e| e + repulsion).collect::<Vec<_>>(),
        "sector": r.sector,
        "geometry": r.geometry,
        "centre": r.centre,
        "walls_chosen_by_tool": task.geometry.is_none(),
        "entanglement": ground.and_then(|g| g.entanglement.as_ref()),
        "natural_occupations": ground.map(|g| &g.natural_occupations),
        "densities_left_out": r.ground_state.as_ref().err().map(ToString::to_string),
        "convergence": r.convergence,
        "converged": r.converged,
        "products": r.products,
    })
}
