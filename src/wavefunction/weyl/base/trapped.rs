//! Powers of the distances in any trap, and local energies of a base by itself.

use super::super::Weyl;
use super::super::place::Place;
use super::Base;
use super::calogero::{Calogero, half_extent};
use crate::parallel;
use crate::sampling::{Points, Purpose, Sampling};
use crate::system::{External, Frame, Geometry, Hamiltonian, Sector, System};
use crate::wavefunction::Wavefunction;

/// Halvings of the frequency, to either side, that are compared, in steps of a quarter.
const FREQUENCIES: i32 = 10;

/// The state of particles with a power of their distances whose energy is lowest in a trap, and the half-width of its walls.
/// `half_width` is that of a box that holds them without interaction, all in the units of the Hamiltonian.
pub(super) fn trapped(
    sector: Sector,
    hamiltonian: &Hamiltonian,
    power: f64,
    half_width: f64,
) -> (f64, Base) {
    let n = sector.particles();
    let state = |frequency: f64| {
        let half_width = half_extent(n, power, frequency);
        let base = Calogero::new(n, power, frequency, 0.0, half_width);
        (half_width, Base::Calogero(Box::new(base)))
    };
    if let External::Harmonic { frequency } = hamiltonian.external {
        return state(frequency);
    }
    let guess = (half_extent(n, 1.0, 1.0) / half_width).powi(2);
    let energy = |frequency: f64| {
        let (half_width, base) = state(frequency);
        let system = System { hamiltonian, geometry: &Geometry::Line };
        let place = Place::on_line(Frame::ATOMIC, half_width);
        let found = local_energies(&Weyl::bare(sector, system, place, base), system);
        found.iter().map(|(t, v)| t + v).sum::<f64>()
    };
    let tried = (-FREQUENCIES..=FREQUENCIES).map(|k| guess * (0.25 * f64::from(k)).exp2());
    let best = tried.map(|f| (energy(f), f)).min_by(|a, b| a.0.total_cmp(&b.0));
    state(best.map_or(guess, |b| b.1))
}

/// Samples of a base, and how many are drawn by one task.
const SAMPLES: usize = 512;
const CHUNK: usize = 64;

/// Kinetic and potential parts of local energies.
pub(crate) fn local_energies(psi: &dyn Wavefunction, system: System) -> Vec<(f64, f64)> {
    let (n, d) = (psi.sector().particles(), psi.uniforms());
    let points = Points::new(Sampling::QuasiRandom, 0, Purpose::Selection, 0, d);
    // In this process alone: others build the same base by themselves.
    let chunks = parallel::map_chunks(SAMPLES, CHUNK, |_, range| {
        let mut points = points.starting_at(range.start);
        let mut evaluator = psi.evaluator();
        let (mut uniforms, mut x, mut gradient) = (vec![0.0; d], vec![0.0; n], vec![0.0; n]);
        let mut energies = Vec::new();
        for _ in range {
            points.next(&mut uniforms);
            evaluator.sample(&uniforms, &mut x);
            let kinetic = evaluator.kinetic_energy(&x, &mut gradient);
            energies.push((kinetic, system.hamiltonian.potential(system.geometry, &x)));
        }
        energies
    });
    chunks.into_iter().flatten().collect()
}
