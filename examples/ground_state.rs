//! The ground state of helium in one dimension: energy, error, verdict, and samples of the state.
//!
//!     cargo run --release --example ground_state

use std::error::Error;
use weylflow::run::each_iteration;
use weylflow::{Run, load};

fn main() -> Result<(), Box<dyn Error>> {
    let spec = load("runs/helium.ron".as_ref())?;
    let trained = Run::new(spec)?
        .train(each_iteration(|row| println!("{:3} {:.8}", row.iteration, row.energy)))?;
    let outcome = trained.estimate()?;
    println!("E = {} ± {:.1e} Ha", outcome.energy(), outcome.standard_error());
    for check in &outcome.summary.checks {
        println!("  {}: {}", check.name, if check.passed { "passed" } else { "failed" });
    }
    let samples = outcome.into_state().sample(100_000, 1);
    let apart = samples.x.chunks(2).filter(|x| x[0] * x[1] < 0.0).count();
    println!("on different sides of the nucleus: {:.3}", apart as f64 / 1e5);
    Ok(())
}
