//! Whether a wavefunction may guide a projection: what happens where particles meet.

use super::Refusal;
use super::walker::Mover;
use crate::system::{Geometry, Sector, System};
use crate::wavefunction::Wavefunction;
use rand_pcg::Pcg64;

/// Exact samples whose closest neighbours are brought together.
const PROBES: usize = 12;
/// Distance they are brought to first, of the one they had, and what it is divided by twice.
const CLOSE: f64 = 0.02;
const CLOSER: f64 = 4.0;
/// Coefficients of `1/d²` in the local energy below are rounding, in Hartree bohr².
const ROUNDING: f64 = 1e-3;

/// Refuses a guide whose local energy diverges like `1/d²` where equal spins meet (its variance, and that of the weights, is
/// infinite), and one that vanishes where opposite spins meet (the ground state does not, and no walker learns of it).
pub(super) fn judge(
    psi: &dyn Wavefunction,
    system: System,
    mover: &mut Mover,
    rng: &mut Pcg64,
) -> Result<(), Refusal> {
    let sector = psi.sector();
    let (mut diverges, mut vanishes, mut seen) = ([0, 0], 0, [0, 0]);
    let mut worst = 0.0f64;
    for _ in 0..PROBES {
        let start = mover.start(rng).ok_or(Refusal::NoSense)?;
        for (kind, equal) in [(0, true), (1, false)] {
            let Some((i, j)) = closest(sector, system.geometry, &start.x, equal) else { continue };
            let (middle, gap) = (0.5 * (start.x[i] + start.x[j]), start.x[j] - start.x[i]);
            let at = |d: f64, mover: &mut Mover| {
                let mut x = start.x.clone();
                (x[i], x[j]) = (middle - 0.5 * d, middle + 0.5 * d);
                let sorted = sector.spins().all(|s| x[s].windows(2).all(|w| w[0] < w[1]));
                sorted.then(|| mover.at(&x)).flatten().map(|p| (p.energy * d * d, p.log))
            };
            let distances = [1.0, CLOSER, CLOSER * CLOSER].map(|f| CLOSE * gap / f);
            let found = distances.map(|d| at(d, mover));
            let [Some(a), Some(b), Some(c)] = found else { continue };
            seen[kind] += 1;
            if c.0.abs() > ROUNDING && c.0.abs() > 0.6 * b.0.abs() && b.0.abs() > 0.6 * a.0.abs() {
                diverges[kind] += 1;
                worst = if c.0.abs() > worst.abs() { c.0 } else { worst };
            }
            if kind == 1 && a.1 - c.1 > 0.5 * (CLOSER * CLOSER).ln() {
                vanishes += 1;
            }
        }
    }
    if (0..2).any(|kind| 2 * diverges[kind] > seen[kind] && seen[kind] > 0) {
        return Err(Refusal::Contact { coefficient: worst });
    }
    if 2 * vanishes > seen[1] && seen[1] > 0 {
        return Err(Refusal::NodeBetweenOppositeSpins);
    }
    Ok(())
}

/// The closest two particles of one spin, or of opposite ones, the left one first.
fn closest(sector: Sector, geometry: &Geometry, x: &[f64], equal: bool) -> Option<(usize, usize)> {
    let n = sector.particles();
    let ring = matches!(geometry, Geometry::Ring { .. });
    let pairs = (0..n).flat_map(|i| (0..n).map(move |j| (i, j)));
    pairs
        // Across the cut of a ring their middle is elsewhere.
        .filter(|&(i, j)| {
            x[i] < x[j]
                && ((i < sector.up) == (j < sector.up)) == equal
                && !(ring && x[j] - x[i] > geometry.interval().1)
        })
        .min_by(|a, b| (x[a.1] - x[a.0]).total_cmp(&(x[b.1] - x[b.0])))
}
