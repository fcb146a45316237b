//! `weylflow regress`: does every solver still reproduce the exact energies?

use crate::estimate::Verdict;
use crate::regress::{Outcome, Projected, Suite, run_case};
use crate::report::number::format_difference;
use crate::spec::{load, read};
use clap::Args;
use serde_json::json;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

/// Train short runs and compare them with exact energies.
///
/// Each case of the suite trains a spec and compares with its stored or recomputed exact energy. A case
/// passes when it is within its tolerance, with an error bar that could tell, and not below the exact
/// energy beyond that error bar. The exit code is 0 only if every case passed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  weylflow regress --quick --filter helium")]
pub struct Regress {
    /// Only cases whose name contains this.
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// Only the quick cases: under three minutes on two cores.
    #[arg(long)]
    quick: bool,
    /// Project each trained state as well: a projected energy beside each exact one.
    #[arg(long)]
    project: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// The suite, a RON file.
    #[arg(long, value_name = "FILE", default_value = "runs/regress/suite.ron")]
    suite: PathBuf,
    /// Number of threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl Regress {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// A suite or spec that cannot be read, or cases that did not pass.
    pub fn run(&self) -> Result<(), Box<dyn Error>> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads.map_or(0, usize::from))
            .build_global()?;
        let suite: Suite = read::load_value(&self.suite)?;
        let folder = self.suite.parent().map(PathBuf::from).unwrap_or_default();
        let mut chosen = Vec::new();
        for case in &suite.cases {
            let name = case.spec.trim_end_matches(".ron").to_owned();
            let wanted = self.filter.as_ref().is_none_or(|f| name.contains(f.as_str()));
            if wanted && (case.quick || !self.quick) {
                // Every spec is read before the first is trained.
                chosen.push((name, case, load(&folder.join(&case.spec))?));
            }
        }
        if chosen.is_empty() {
            return Err("no case of the suite has that name".into());
        }
        if !self.json {
            super::print(&header(self.project))?;
        }
        let (mut failed, mut rows) = (0, Vec::new());
        for (name, case, spec) in &chosen {
            let clock = Instant::now();
            let outcome = run_case(name, case, spec, self.project)
                .map_err(|e| format!("case {name}: {e}"))?;
            let seconds = clock.elapsed().as_secs_f64();
            failed += usize::from(!outcome.passed);
            if self.json {
                let mut row = serde_json::to_value(&outcome)?;
                row["seconds"] = json!(seconds);
                rows.push(row);
            } else {
                super::print(&line(&outcome, seconds))?;
            }
        }
        if self.json {
            let all = json!({ "passed": failed == 0, "cases": rows });
            super::print(&format!("{}\n", serde_json::to_string_pretty(&all)?))?;
        }
        if failed > 0 {
            return Err(format!("{failed} of {} cases failed", chosen.len()).into());
        }
        Ok(())
    }
}

fn header(projected: bool) -> String {
    let projected = if projected { "  projected - exact" } else { "" };
    format!(
        "{:<26} {:>16} {:>11} {:>10} {:>7} {:>10} {:>9} {:>7}{projected}\n",
        "case", "exact (Ha)", "deviation", "error", "bars", "variance", "tolerance", "seconds"
    )
}

fn line(o: &Outcome, seconds: f64) -> String {
    format!(
        "{:<26} {:>16.10} {:>+11.2e} {:>10.1e} {:>+7.1} {:>10.2e} {:>9.1e} {:>7.1}{}  {}\n",
        o.name,
        o.exact,
        o.deviation,
        o.standard_error,
        o.error_bars,
        o.variance,
        o.tolerance,
        seconds,
        o.projected.as_ref().map(beyond).unwrap_or_default(),
        match (o.passed, o.verdict) {
            (false, _) => "FAIL",
            (true, Verdict::Good) => "pass",
            (true, _) => "pass, doubtful without the exact energy",
        }
    )
}

fn beyond(projected: &Projected) -> String {
    match projected.deviation {
        Some((deviation, error)) => {
            format!("  {:>17}", format_difference(deviation, error))
        }
        None => format!("  {:>17}", "refused"),
    }
}
