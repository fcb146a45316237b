//! `weylflow run --mpi`: which of the processes does what.

use super::run::Run;
use std::error::Error;

/// Runs with the processes of `mpirun` or `srun`.
#[cfg(not(feature = "mpi"))]
pub(super) fn run(_: &Run) -> Result<(), Box<dyn Error>> {
    Err("this program was built without MPI; `cargo build --release --features mpi` builds it with"
        .into())
}

/// Runs with the processes of `mpirun` or `srun`: rank 0 as if it were alone, the others for it.
#[cfg(feature = "mpi")]
pub(super) fn run(run: &Run) -> Result<(), Box<dyn Error>> {
    use crate::team::{self, mpi};
    match mpi::join()? {
        mpi::Seat::Leader(leader) => team::leading(std::rc::Rc::new(leader), || run.alone()),
        mpi::Seat::Follower(follower) => follow(run, &follower),
    }
}

#[cfg(feature = "mpi")]
fn follow(run: &Run, follower: &crate::team::mpi::Follower) -> Result<(), Box<dyn Error>> {
    use super::interrupt::Interrupt;
    use crate::local_energy;
    use crate::spec::{ResolvedSpec, read};
    use crate::system::System;
    use crate::team::mpi::Call;
    use crate::wavefunction::Wavefunction;
    use std::path::Path;

    let clock = cpu_time::ProcessTime::now();
    let start = run.start_threads().map_err(|e| e.to_string());
    // A signal to all processes is for the leader to act on: it saves its state and dismisses the others.
    let listening = Interrupt::listen().map_err(|e| e.to_string());
    let mut built: Option<(ResolvedSpec, Box<dyn Wavefunction>)> = None;
    follower.follow(|call| {
        start.as_ref().map_err(Clone::clone)?;
        listening.as_ref().map_err(Clone::clone)?;
        match call {
            Call::Begin(text) => {
                let spec = read::parse(text, Path::new("spec.ron")).map_err(|e| e.to_string())?;
                let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
                let psi = spec.wavefunction.build(spec.sector, system, spec.seed);
                let psi = psi.map_err(|e| e.to_string())?;
                built = Some((spec, psi));
                Ok(Vec::new())
            }
            Call::Order(order) => {
                let (spec, psi) = built.as_mut().ok_or("an order came before its spec")?;
                let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
                let answer = local_energy::serve(psi.as_mut(), system, order);
                answer.ok_or_else(|| "an order does not fit its spec".into())
            }
            Call::Clock => Ok(clock.elapsed().as_secs_f64().to_le_bytes().to_vec()),
        }
    });
    Ok(())
}
