//! Three fermions in a potential of one's own, against exact diagonalisation.
//!
//!     cargo run --release --example custom_potential

use std::error::Error;
use weylflow::{Run, spec::read};

fn main() -> Result<(), Box<dyn Error>> {
    let text = r#"(
        title: "a tilted double well",
        hamiltonian: Inline(
            external: Formula("0.05*x^4 - 0.6*x^2 + 0.1*x"),
            interaction: Formula("2*exp(-d^2)/(1 + d^2)"),
        ),
        sector: (up: 2, down: 1),
        geometry: Line,
        iterations: 20, samples_per_iteration: 2048, final_samples: 65536,
    )"#;
    let spec = read::parse(text, "double_well.ron".as_ref())?;
    let outcome = Run::new(spec)?.train(())?.estimate()?;
    println!("E = {} ± {:.1e} Ha", outcome.energy(), outcome.standard_error());
    if let Some(reference) = &outcome.summary.reference {
        println!("exact {} ({})", reference.energy, reference.source);
    }
    Ok(())
}
