//! An observable that the program does not have, <x⁴>, with its error bar.
//!
//!     cargo run --release --example your_own_observable

use std::error::Error;
use weylflow::math::linalg::EigenFailure;
use weylflow::observables::replicates::Replicates;
use weylflow::observables::{Effort, Observable, Quantity, Sample, Setup, measure};
use weylflow::{Run, spec::read};

struct Fourth;

impl Observable for Fourth {
    fn length(&self) -> usize {
        1
    }

    fn add(&self, sample: &Sample, sums: &mut [f64]) {
        sums[0] += sample.x.iter().map(|x| x.powi(4)).sum::<f64>() / sample.x.len() as f64;
    }

    fn finish(&self, replicates: &Replicates) -> Result<Vec<Quantity>, EigenFailure> {
        let means = replicates.linear(<[f64]>::to_vec);
        Ok(vec![Quantity::new("fourth_moment", "bohr⁴", "mean of x⁴", means)])
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let text = r#"(title: "two in a trap", sector: (up: 2), geometry: Line,
        hamiltonian: Inline(external: Harmonic(frequency: 1), interaction: SoftCoulomb(strength: 1)),
        iterations: 6, samples_per_iteration: 1024, final_samples: 16384)"#;
    let spec = read::parse(text, "trap.ron".as_ref())?;
    let state = Run::new(spec)?.train(())?.estimate()?.into_state();
    let setup = Setup::new(state.wavefunction(), state.system());
    let effort = Effort { samples: 65_536, replicates: 32, seed: 1 };
    let observables = [("fourth", Box::new(Fourth) as Box<dyn Observable>)];
    for found in measure(state.wavefunction(), &setup, &observables, effort, |_| ())? {
        for q in found.quantities {
            println!("{} = {} ± {:.1e} {}", q.about, q.values[0], q.errors[0], q.unit);
        }
    }
    Ok(())
}
