//! The final estimate of a spectrum, on fresh samples.

use super::ensemble::{Bars, Tally, over_sets, sets};
use crate::local_energy::Fault;
use crate::math::linalg::LinearError;
use crate::objective::EnsembleError;
use crate::objective::mixture::{MixtureId, draw_with};
use crate::objective::spectrum::{Ritz, product, samples_of_each};
use crate::sampling::Purpose;
use crate::system::System;
use crate::train::Schedule;
use crate::wavefunction::Wavefunction;
use crate::wavefunction::weyl::ensemble::LowestStates;
use faer::Mat;
use std::ops::ControlFlow;

/// The final estimate of a spectrum.
#[derive(Clone, Debug)]
pub struct SpectrumEstimate {
    /// Energies with error bars, in Hartree.
    pub energies: Vec<(f64, f64)>,
    /// Energies above the lowest with error bars: from common samples, so that they are sharper than the energies.
    pub gaps: Vec<(f64, f64)>,
    /// Columns are the states of these energies in the ones that were trained, row-major.
    pub rotation: Vec<f64>,
    /// Variances, in Hartree².
    pub variances: Vec<f64>,
    /// Kinetic energies, in Hartree.
    pub kinetic: Vec<f64>,
    /// `|<k| sum x |l>|` with error bars, in bohr, row-major; the diagonal carries its sign.
    pub dipoles: Vec<(f64, f64)>,
    /// Largest difference of the sampled overlaps from one, in standard errors, and by itself.
    pub overlap: (f64, f64),
    /// One-body densities of the states, per spin: bins by states, in particles per bohr.
    pub densities: Vec<[Vec<f64>; 2]>,
    /// Transition densities `<k| sum delta(x - x_i) |l>` of the pairs `k < l`, (0, 1), (0, 2), .., (1, 2), .., likewise. The sign
    /// of a state is arbitrary, and with it that of a pair.
    pub transition_densities: Vec<[Vec<f64>; 2]>,
    /// Edges of their bins.
    pub edges: Vec<f64>,
    /// Samples, of all states.
    pub samples: usize,
    /// Samples left out.
    pub rejected: usize,
    /// Some of them.
    pub faults: Vec<Fault>,
    /// Independent sets behind the error bars.
    pub sets: usize,
}

/// Sums of one set of samples.
struct Sums {
    s: Mat<f64>,
    h: Mat<f64>,
    hh: Mat<f64>,
    t: Mat<f64>,
    d: Mat<f64>,
}

/// Estimates the states on fresh samples; `watch` may end it, and none is returned.
///
/// # Errors
/// [`EnsembleError`].
pub fn estimate(
    states: &LowestStates,
    system: System,
    schedule: &Schedule,
    bins: usize,
    watch: impl FnMut() -> ControlFlow<()>,
) -> Result<SpectrumEstimate, EnsembleError> {
    let psis = &states.states;
    let k = psis.len();
    let n = psis[0].sector().particles();
    let sets = sets(schedule);
    let each = (samples_of_each(schedule.final_samples, k)).div_ceil(sets).next_power_of_two();
    // Sums of u_k u_l.
    let mut bars = Bars::new(&psis[0], system.geometry, bins, k * k);
    let mut sums = Vec::new();
    let untrained = states.untrained();
    let Tally { samples, rejected, faults } = over_sets(sets, watch, |number| {
        let id = MixtureId {
            sampling: schedule.sampling,
            seed: schedule.seed,
            purpose: Purpose::Estimate,
            number,
            tails: 0.0,
        };
        let rows = draw_with(psis, &untrained, system, id, each, false);
        // The base knows its dipoles exactly: only what the flow adds is sampled.
        let moved = rows.x.chunks_exact(n).zip(rows.image.chunks_exact(n));
        let moved: Vec<f64> =
            moved.map(|(x, z)| x.iter().zip(z).map(|(x, z)| x - z).sum()).collect();
        let xu: Vec<f64> = rows.u.iter().enumerate().map(|(i, u)| moved[i / k] * u).collect();
        sums.push(Sums {
            s: product(&rows, &rows.u, &rows.u),
            h: product(&rows, &rows.u, &rows.h),
            hh: product(&rows, &rows.h, &rows.h),
            t: product(&rows, &rows.u, &rows.t),
            d: product(&rows, &rows.u, &xu),
        });
        for (x, u) in rows.x.chunks_exact(n).zip(rows.u.chunks_exact(k)) {
            bars.add(x, |sum| (0..k * k).for_each(|i| sum[i] += u[i / k] * u[i % k]));
        }
        Ok(Tally { samples: rows.samples(), rejected: rows.rejected, faults: rows.faults })
    })?;
    let pooled = |leave: Option<usize>, of: fn(&Sums) -> &Mat<f64>| {
        let count = (sets - usize::from(leave.is_some())) as f64;
        let mut sum = Mat::<f64>::zeros(k, k);
        for (_, s) in sums.iter().enumerate().filter(|(i, _)| Some(*i) != leave) {
            sum += of(s);
        }
        sum * faer::Scale(1.0 / count)
    };
    // Everything that is estimated, of all sets or of all but one.
    let all = |leave: Option<usize>| -> Result<(Vec<f64>, Ritz), LinearError> {
        let s = pooled(leave, |s| &s.s);
        let ritz = Ritz::of(&s, &pooled(leave, |s| &s.h))?;
        let d = pooled(leave, |s| &s.d) + &states.dipoles;
        let d = ritz.rotation.transpose() * d * &ritz.rotation;
        let mut values = ritz.energies.clone();
        values.extend(ritz.energies.iter().map(|e| e - ritz.energies[0]));
        values.extend((0..k * k).map(|i| {
            let value = d[(i / k, i % k)];
            if i / k == i % k { value } else { value.abs() }
        }));
        Ok((values, ritz))
    };
    let (values, ritz) = all(None).map_err(EnsembleError::Dependent)?;
    let parts = (0..sets).map(|j| Ok(all(Some(j))?.0)).collect::<Result<Vec<_>, LinearError>>();
    let parts = parts.map_err(EnsembleError::Dependent)?;
    let with_error = |i: usize| {
        let mean = parts.iter().map(|p| p[i]).sum::<f64>() / sets as f64;
        let square: f64 = parts.iter().map(|p| (p[i] - mean).powi(2)).sum();
        (values[i], ((sets - 1) as f64 / sets as f64 * square).sqrt())
    };
    let s = pooled(None, |s| &s.s);
    let h = pooled(None, |s| &s.h);
    // <rho rho^T> = <h h^T> - H^T S^-1 H.
    let explained = h.transpose() * &ritz.a;
    let left_over = pooled(None, |s| &s.hh) - explained;
    let variance = ritz.rotation.transpose() * left_over * &ritz.rotation;
    let kinetic = ritz.turned(&s, &pooled(None, |s| &s.t));
    let overlap = overlap(&sums.iter().map(|s| &s.s).collect::<Vec<_>>());
    let c = &ritz.rotation;
    let pair = |q: usize, r: usize| {
        bars.densities(samples, |m| {
            (0..k * k).map(|i| m[i] * c[(i / k, q)] * c[(i % k, r)]).sum::<f64>()
        })
    };
    Ok(SpectrumEstimate {
        energies: (0..k).map(with_error).collect(),
        gaps: (k..2 * k).map(with_error).collect(),
        rotation: (0..k * k).map(|i| c[(i / k, i % k)]).collect(),
        variances: (0..k).map(|q| variance[(q, q)].max(0.0)).collect(),
        kinetic: (0..k).map(|q| kinetic[(q, q)]).collect(),
        dipoles: (2 * k..2 * k + k * k).map(with_error).collect(),
        overlap,
        densities: (0..k).map(|q| pair(q, q)).collect(),
        transition_densities: (0..k)
            .flat_map(|q| (q + 1..k).map(move |r| (q, r)))
            .map(|(q, r)| pair(q, r))
            .collect(),
        edges: bars.edges(),
        samples,
        rejected,
        faults,
        sets,
    })
}

/// How far the sampled overlaps are from those of orthonormal states: in standard errors, and by themselves.
fn overlap(sets: &[&Mat<f64>]) -> (f64, f64) {
    let (n, k) = (sets.len() as f64, sets[0].nrows());
    let mut worst = (0.0_f64, 0.0_f64);
    for i in 0..k {
        for j in 0..=i {
            let mean = sets.iter().map(|s| s[(i, j)]).sum::<f64>() / n;
            let square: f64 = sets.iter().map(|s| (s[(i, j)] - mean).powi(2)).sum();
            let error = (square / (n * (n - 1.0))).sqrt();
            let off = (mean - if i == j { 1.0 } else { 0.0 }).abs();
            // Rounding is no evidence.
            worst.0 = worst.0.max(off / (error + 1e-12));
            worst.1 = worst.1.max(off);
        }
    }
    worst
}
