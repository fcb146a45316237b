//! All reference cases through the exact solver: deviation, printed estimate, time, work.
//!
//! `cargo bench --bench exact_reference -- [FILTER] [--table] [--excited] [--numerical] [--tolerance T]`

use std::ops::ControlFlow;
use std::time::Instant;
use weylflow::exact::{ExactOptions, News};
use weylflow::problems::reference_cases;

/// Peak resident memory of the process so far, in MiB (Linux; zero elsewhere).
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib / 1024)
}

fn main() {
    let mut filters = vec![];
    let (mut table, mut excited, mut closed, mut tolerance) = (false, false, true, 1e-8);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--bench" => {}
            "--table" => table = true,
            "--numerical" => closed = false,
            "--excited" => excited = true,
            "--tolerance" => {
                tolerance = args.next().and_then(|t| t.parse().ok()).unwrap_or(tolerance);
            }
            name => filters.push(name.to_string()),
        }
    }
    println!(
        "{:<26} {:>20} {:>10} {:>10} {:>9} {:>8} {:>8}  method",
        "case", "energy", "deviation", "estimate", "verdict", "seconds", "MiB"
    );
    for case in reference_cases() {
        if !filters.is_empty() && !filters.iter().any(|f| case.name.contains(f.as_str())) {
            continue;
        }
        let options = ExactOptions {
            tolerance,
            closed_forms: closed,
            states: if excited { 1 + case.excited.len() } else { 1 },
            ..ExactOptions::default()
        };
        let start = Instant::now();
        let mut progress = |s: &News| {
            if table && let News::Row(row) = s {
                eprintln!("   {:7.2} s {row:?}", start.elapsed().as_secs_f64());
            }
            ControlFlow::Continue(())
        };
        match case.solve(&options, &mut progress) {
            Err(e) => println!("{:<26} {e}", case.name),
            Ok(r) => {
                let seconds = start.elapsed().as_secs_f64();
                let mut known = vec![case.energy];
                known.extend(&case.excited);
                for (k, (e, exact)) in r.energies.iter().zip(&known).enumerate() {
                    let deviation = e - exact;
                    let estimate = r.error_estimates[k];
                    let honest = deviation.abs() <= estimate + case.error_bound;
                    let close = deviation.abs() <= case.error_bound.max(1e-7);
                    println!(
                        "{:<26} {e:>20.12} {deviation:>10.1e} {estimate:>10.1e} {:>9} {seconds:>8.2} {:>8}  {}",
                        if k == 0 { case.name.clone() } else { format!("  state {k}") },
                        match (honest, close) {
                            (true, true) => "pass",
                            (true, false) => "wide",
                            (false, _) => "DISHONEST",
                        },
                        peak_memory(),
                        if k == 0 { r.method.as_str() } else { "" },
                    );
                }
            }
        }
    }
}
