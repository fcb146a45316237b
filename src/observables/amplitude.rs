//! The wavefunction away from the fundamental domain: at points in any order, and along one coordinate.

use crate::parallel;
use crate::system::{Sector, System};
use crate::wavefunction::{Evaluator, Wavefunction};

/// Values at a list of points.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    /// `log |psi|` with `int_D |psi|² = 1`.
    pub log_abs: Vec<f64>,
    /// Sign of the antisymmetric continuation; zero where `psi` vanishes.
    pub sign: Vec<f64>,
    /// `∇ log |psi|`, `points x particles`, in 1/bohr.
    pub gradient: Vec<f64>,
    /// Local energy in Hartree.
    pub local_energy: Vec<f64>,
}

/// Sorts each spin ascending and returns `order` with `sorted[k] = x[order[k]]` and the sign of the
/// permutation.
fn sorted(sector: Sector, x: &[f64], order: &mut [usize]) -> f64 {
    let mut sign = 1.0;
    for (k, o) in order.iter_mut().enumerate() {
        *o = k;
    }
    for spin in sector.spins() {
        // Insertion sort counts the exchanges on its way.
        for k in spin.clone() {
            let mut j = k;
            while j > spin.start && x[order[j]] < x[order[j - 1]] {
                order.swap(j, j - 1);
                sign = -sign;
                j -= 1;
            }
        }
    }
    sign
}

/// Evaluates `psi` at `points x particles` coordinates, each spin in any order.
pub fn evaluate_at(psi: &dyn Wavefunction, system: System, x: &[f64]) -> Values {
    let sector = psi.sector();
    let n = sector.particles();
    let parts = parallel::map_chunks(x.len() / n, parallel::SAMPLE_CHUNK, |_, range| {
        let mut evaluator = psi.evaluator();
        let mut out = Values::default();
        let (mut order, mut y, mut gradient) = (vec![0; n], vec![0.0; n], vec![0.0; n]);
        for point in x[range.start * n..range.end * n].chunks_exact(n) {
            let permutation = sorted(sector, point, &mut order);
            for (y, &o) in y.iter_mut().zip(&order) {
                *y = point[o];
            }
            let (log, laplacian) = evaluator.derivatives(&y, &mut gradient);
            let square: f64 = gradient.iter().map(|g| g * g).sum();
            let energy =
                -0.5 * (laplacian + square) + system.hamiltonian.potential(system.geometry, &y);
            let node = log.log_abs == f64::NEG_INFINITY;
            out.log_abs.push(log.log_abs);
            out.sign.push(if node { 0.0 } else { permutation * log.sign });
            out.local_energy.push(energy);
            let start = out.gradient.len();
            out.gradient.resize(start + n, 0.0);
            for (g, &o) in gradient.iter().zip(&order) {
                out.gradient[start + o] = *g;
            }
        }
        out
    });
    let mut all = Values::default();
    for part in parts {
        all.log_abs.extend(part.log_abs);
        all.sign.extend(part.sign);
        all.gradient.extend(part.gradient);
        all.local_energy.extend(part.local_energy);
    }
    all
}

/// Writes `psi(.., x_i -> grid, ..)` on all points of a grid, scaled to unit sum of squares, to `out`: the
/// amplitude of particle `i` given all others. Returns the logarithm of the scale that was taken out, `None` where
/// the amplitude is nowhere finite and different from zero.
pub(super) fn conditional(
    evaluator: &mut dyn Evaluator,
    sector: Sector,
    x: &[f64],
    i: usize,
    grid: &[f64],
    out: &mut [f64],
) -> Option<f64> {
    let spin = sector.spins().find(|spin| spin.contains(&i)).unwrap_or(i..i + 1);
    let mut y = x.to_vec();
    let mut largest = f64::NEG_INFINITY;
    // The signs first, in the place of the amplitudes; logarithms in a list of their own.
    let mut logs = vec![0.0; grid.len()];
    for ((&g, out), log_abs) in grid.iter().zip(out.iter_mut()).zip(&mut logs) {
        y.copy_from_slice(x);
        y[i] = g;
        let mut j = i;
        while j > spin.start && y[j] < y[j - 1] {
            y.swap(j, j - 1);
            j -= 1;
        }
        while j + 1 < spin.end && y[j] > y[j + 1] {
            y.swap(j, j + 1);
            j += 1;
        }
        let exchanged = if j.abs_diff(i).is_multiple_of(2) { 1.0 } else { -1.0 };
        let log = evaluator.log_psi(&y);
        *out = exchanged * log.sign;
        *log_abs = log.log_abs;
        // Where psi underflows its logarithm may be anything but finite: it is zero there.
        if log.log_abs.is_finite() {
            largest = largest.max(log.log_abs);
        }
    }
    let mut norm = 0.0;
    for (out, log_abs) in out.iter_mut().zip(&logs) {
        *out = if log_abs.is_finite() { *out * (log_abs - largest).exp() } else { 0.0 };
        norm += *out * *out;
    }
    if !(norm.is_finite() && norm > 0.0) {
        return None;
    }
    let scale = norm.sqrt();
    out.iter_mut().for_each(|a| *a /= scale);
    Some(largest + scale.ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorting_counts_the_exchanges_within_a_spin() {
        let sector = Sector::new(3, 2);
        let mut order = [0; 5];
        assert_eq!(sorted(sector, &[1.0, 2.0, 3.0, -1.0, 0.0], &mut order), 1.0);
        assert_eq!(order, [0, 1, 2, 3, 4]);
        assert_eq!(sorted(sector, &[3.0, 1.0, 2.0, 0.5, 0.0], &mut order), -1.0);
        assert_eq!(order, [1, 2, 0, 4, 3]);
        assert_eq!(sorted(sector, &[3.0, 1.0, 2.0, 0.0, 0.5], &mut order), 1.0);
    }
}
