//! The lowest states of helium by exact diagonalisation, with error estimates and labels.
//!
//!     cargo run --release --example exact

use std::error::Error;
use std::ops::ControlFlow;
use weylflow::spec::load_hamiltonian;
use weylflow::{ExactOptions, Geometry, Sector, solve};

fn main() -> Result<(), Box<dyn Error>> {
    let helium = load_hamiltonian("hamiltonians/helium.ron".as_ref())?;
    let options = ExactOptions { states: 4, ..ExactOptions::default() };
    let (space, electrons) = (Geometry::Box { half_width: 15.0 }, Sector::new(1, 1));
    let result = solve(&helium, &space, electrons, &options, &mut |_| ControlFlow::Continue(()))?;
    for ((energy, error), label) in
        result.energies.iter().zip(&result.error_estimates).zip(&result.labels)
    {
        println!("{energy:.10} ± {error:.0e} Ha, spin {:?}, parity {:?}", label.spin, label.parity);
    }
    Ok(())
}
