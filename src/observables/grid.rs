//! Where the particles of a state are, and how many points resolve its amplitudes.
//!
//! A box may be much wider than what it holds: points spread over all of it would resolve nothing. The window ends
//! where psi itself, followed outwards from a few samples, says that hardly anything comes any more; the number of points in
//! it follows from the wave numbers of the amplitudes of one particle given all others.

use super::amplitude::conditional;
use crate::system::Geometry;
use crate::wavefunction::Wavefunction;
use std::f64::consts::PI;

/// Samples from which psi is followed outwards, and whose amplitudes are looked at.
const PROBES: usize = 8;
/// Share of the particles that a window may leave out at either end; the second where the first leaves a window too wide
/// for the usual spacing (orbitals of a very wide box have a background of finite series).
const NEGLIGIBLE: [f64; 2] = [1e-12, 1e-7];
/// First step outwards, in widths of the samples, and the growth from one to the next.
const STEP: f64 = 1.0 / 32.0;
const GROWTH: f64 = 1.1;
/// A window that is not smaller than this share of the whole is all of it.
const WHOLE: f64 = 0.75;
/// Ends of windows are multiples of this share of a power of two near its length: states that hardly differ have
/// the same.
const ROUND: f64 = 1.0 / 8.0;

/// Largest spacing of points to begin with, in bohr, bounds on the number of cells to begin with, and the most.
const SPACING: f64 = 0.16;
const CELLS: (usize, usize) = (64, 256);
const MOST_CELLS: usize = 512;
/// Share of an amplitude's norm that may lie in the highest third of the wave numbers.
const UNRESOLVED: f64 = 1e-8;

/// The interval that holds the particles, from samples `x` of psi (`samples x particles`): all of a ring.
pub(super) fn window(psi: &dyn Wavefunction, geometry: &Geometry, x: &[f64]) -> (f64, f64) {
    let whole = psi.interval(geometry);
    let length = whole.1 - whole.0;
    let low = x.iter().copied().fold(f64::INFINITY, f64::min);
    let high = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let spread = high > low;
    if matches!(geometry, Geometry::Ring { .. }) || !spread {
        return whole;
    }
    let step = (STEP * (high - low)).max(1e-6 * length);
    let left = outwards(psi, x, low, step, low - whole.0, -1.0);
    let right = outwards(psi, x, high, step, whole.1 - high, 1.0);
    let found = NEGLIGIBLE.map(|share| {
        let beyond = |tail: &[(f64, f64)]| -> f64 {
            // From the far end to where more than the share is beyond.
            let mut sum = 0.0;
            let reached = tail.iter().rposition(|(_, mass)| {
                sum += mass / (high - low);
                sum > share || sum.is_nan()
            });
            reached.map_or(step, |k| tail.get(k + 1).map_or(f64::INFINITY, |t| t.0))
        };
        ((low - beyond(&left)).max(whole.0), (high + beyond(&right)).min(whole.1))
    });
    let (left, right) =
        if found[0].1 - found[0].0 > CELLS.1 as f64 * SPACING { found[1] } else { found[0] };
    if right - left >= WHOLE * length {
        return whole;
    }
    let unit = ROUND * (right - left).log2().floor().exp2();
    let (left, right) = ((left / unit).floor() * unit, (right / unit).ceil() * unit);
    (left.max(whole.0), right.min(whole.1))
}

/// `|psi|²` relative to that of a sample, times the step, where the outermost particle of a spin is taken to places further
/// and further from `edge` as far as there is `room`: distances and means over samples.
fn outwards(
    psi: &dyn Wavefunction,
    x: &[f64],
    edge: f64,
    mut step: f64,
    room: f64,
    direction: f64,
) -> Vec<(f64, f64)> {
    let sector = psi.sector();
    let n = sector.particles();
    let mut evaluator = psi.evaluator();
    let probes: Vec<(&[f64], f64)> =
        x.chunks_exact(n).take(PROBES).map(|x| (x, evaluator.log_psi(x).log_abs)).collect();
    let mut moved = vec![0.0; n];
    let mut distance = 0.0;
    let mut found = Vec::new();
    while distance < room {
        distance += step;
        let place = edge + direction * distance.min(room * (1.0 - 1e-9));
        let mut sum = 0.0;
        for (x, log_abs) in &probes {
            for spin in sector.spins() {
                moved.copy_from_slice(x);
                moved[if direction > 0.0 { spin.end - 1 } else { spin.start }] = place;
                let ratio = (2.0 * (evaluator.log_psi(&moved).log_abs - log_abs)).exp();
                // Where psi underflows its logarithm may be anything.
                sum += if ratio.is_finite() { ratio } else { 0.0 };
            }
        }
        found.push((distance, step * sum / probes.len() as f64));
        step *= GROWTH;
    }
    found
}

/// Points of a window that resolve psi, as far as [`MOST_CELLS`] do.
pub(super) fn points(
    psi: &dyn Wavefunction,
    geometry: &Geometry,
    (start, end): (f64, f64),
    x: &[f64],
) -> Vec<f64> {
    let ring = matches!(geometry, Geometry::Ring { .. });
    let sector = psi.sector();
    let mut evaluator = psi.evaluator();
    let length = end - start;
    let mut cells = ((length / SPACING).ceil() as usize).clamp(CELLS.0, CELLS.1);
    loop {
        let grid: Vec<f64> = if ring {
            let points = cells | 1;
            (0..points).map(|j| start + length * j as f64 / points as f64).collect()
        } else {
            (1..cells).map(|j| start + length * j as f64 / cells as f64).collect()
        };
        let mut amplitude = vec![0.0; grid.len()];
        let mut resolved = |x: &[f64], i: usize| {
            conditional(evaluator.as_mut(), sector, x, i, &grid, &mut amplitude).is_none()
                || high_waves(ring, &amplitude) <= UNRESOLVED
        };
        let all = x.chunks_exact(sector.particles()).take(PROBES / 2).all(|x| {
            sector.spins().all(|spin| resolved(x, spin.start) && resolved(x, spin.end - 1))
        });
        if all || cells >= MOST_CELLS {
            return grid;
        }
        cells = (3 * cells / 2).min(MOST_CELLS);
    }
}

/// Share of the norm of an amplitude of unit norm in the highest third of the wave numbers of its grid: sines between
/// walls, plane waves on a ring.
fn high_waves(ring: bool, amplitude: &[f64]) -> f64 {
    let g = amplitude.len();
    if ring {
        let half = g / 2;
        return (first_high(half)..=half)
            .map(|k| {
                let (mut re, mut im) = (0.0, 0.0);
                for (j, a) in amplitude.iter().enumerate() {
                    let (sin, cos) = (2.0 * PI * ((k * j) % g) as f64 / g as f64).sin_cos();
                    re += a * cos;
                    im += a * sin;
                }
                2.0 * (re * re + im * im) / g as f64
            })
            .sum();
    }
    let m = g + 1;
    let sine = |k: usize, j: usize| (PI * ((k * j) % (2 * m)) as f64 / m as f64).sin();
    (first_high(g)..=g)
        .map(|k| {
            let sum: f64 = amplitude.iter().zip(1..).map(|(a, j)| a * sine(k, j)).sum();
            2.0 * sum * sum / m as f64
        })
        .sum()
}

/// First of the highest third of the wave numbers up to `most`.
pub(super) fn first_high(most: usize) -> usize {
    most - most / 3 + 1
}
