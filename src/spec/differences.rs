//! Which fields of a spec a run that goes on may find changed.

use super::{ResolvedSpec, RunSpec};
use crate::system::Hamiltonian;

/// A field that is not what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Name of the field.
    pub field: &'static str,
    /// Whether a run may go on with the change: what has been computed so far does not depend on it.
    pub may_change: bool,
}

/// Whether two Hamiltonians are the same but for their titles.
fn same_physics(old: &Hamiltonian, new: &Hamiltonian) -> bool {
    // Without `..`, as below.
    let Hamiltonian { title: _, external, interaction } = old;
    *external == new.external && *interaction == new.interaction
}

/// The fields of `new` that differ from those of `old`.
pub fn differences(old: &ResolvedSpec, new: &ResolvedSpec) -> Vec<Difference> {
    // Without `..`: a new field must be told apart here.
    let RunSpec {
        title,
        hamiltonian,
        sector,
        geometry,
        wavefunction,
        optimiser,
        objective,
        samples_per_iteration,
        iterations,
        final_samples,
        sampling,
        refinements,
        stopping,
        faults,
        scramblings,
        seed,
        reference,
        states,
        temperature,
        project,
    } = old;
    let fields = [
        ("title", *title == new.title, true),
        ("hamiltonian", same_physics(hamiltonian, &new.hamiltonian), false),
        ("title of the hamiltonian", hamiltonian.title == new.hamiltonian.title, true),
        ("sector", *sector == new.sector, false),
        ("geometry", *geometry == new.geometry, false),
        ("wavefunction", *wavefunction == new.wavefunction, false),
        ("optimiser", *optimiser == new.optimiser, false),
        ("objective", *objective == new.objective, false),
        ("samples_per_iteration", *samples_per_iteration == new.samples_per_iteration, false),
        ("iterations", *iterations == new.iterations, true),
        ("final_samples", *final_samples == new.final_samples, true),
        ("sampling", *sampling == new.sampling, false),
        ("refinements", *refinements == new.refinements, false),
        ("stopping", *stopping == new.stopping, true),
        ("faults", *faults == new.faults, true),
        ("scramblings", *scramblings == new.scramblings, true),
        ("seed", *seed == new.seed, false),
        ("reference", *reference == new.reference, true),
        ("states", *states == new.states, false),
        ("temperature", *temperature == new.temperature, false),
        ("project", *project == new.project, true),
    ];
    let changed = |&(field, same, may_change): &(&'static str, bool, bool)| {
        (!same).then_some(Difference { field, may_change })
    };
    fields.iter().filter_map(changed).collect()
}
