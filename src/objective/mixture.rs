//! Samples of a mixture of states, `p = (1/K) sum_k psi_k²`, at which all of them are evaluated.
//!
//! What is kept is `u_k = psi_k / sqrt(p)` and `h_k = H psi_k / sqrt(p)`: both are bounded, so that the nodes of a state do no
//! harm. Derivatives by a parameter are `du_k = u_k O_k` and `dh_k = u_k (O_k E_k + dE_k)`, formed as one sum: of its two
//! parts alone the variance is infinite.

use crate::local_energy::{ABSURD, FAULTS, Fault, importance, spread_to_tails};
use crate::parallel::{self, SAMPLE_CHUNK};
use crate::sampling::{Points, Purpose, Sampling};
use crate::system::System;
use crate::wavefunction::Wavefunction;
use crate::wavefunction::weyl::Weyl;
use crate::work;

/// Most states of a mixture: batches are numbered by them.
pub const MOST_STATES: usize = 16;

/// Names a batch of samples.
#[derive(Clone, Copy, Debug)]
pub struct MixtureId {
    /// Kind of points.
    pub sampling: Sampling,
    /// Seed of the run.
    pub seed: u64,
    /// What it is for.
    pub purpose: Purpose,
    /// Number of the batch.
    pub number: u64,
    /// Share of the samples that go to the tails; see [`crate::local_energy::BatchId::tails`].
    pub tails: f64,
}

/// Samples of a mixture; rows of samples by states, then by parameters.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// States.
    pub states: usize,
    /// Parameters of the derivatives; zero without any.
    pub parameter_count: usize,
    /// Importance weights, with mean one.
    pub weight: Vec<f64>,
    /// Configurations.
    pub x: Vec<f64>,
    /// Their images in the base, as configurations; only where the base states are given.
    pub image: Vec<f64>,
    /// `u`.
    pub u: Vec<f64>,
    /// `h`.
    pub h: Vec<f64>,
    /// `u_k` times the kinetic local energy: its mean with `u_k` is the kinetic energy.
    pub t: Vec<f64>,
    /// `du` by every parameter.
    pub du: Vec<f64>,
    /// `dh` by every parameter.
    pub dh: Vec<f64>,
    /// Samples left out because something was not finite.
    pub rejected: usize,
    /// Some of them.
    pub faults: Vec<Fault>,
}

impl Rows {
    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.weight.len()
    }
}

/// The uniforms of a point, a share `tails` of them moved to the tails, and the weight of their sample.
pub(super) fn spread(point: &[f64], dimensions: usize, tails: f64, uniforms: &mut [f64]) -> f64 {
    uniforms.copy_from_slice(&point[..dimensions]);
    if point.get(dimensions).is_some_and(|&u| u < tails) {
        spread_to_tails(uniforms);
    }
    importance(uniforms, tails)
}

/// Draws `each` samples of every state and evaluates all states at them.
pub fn draw(psis: &[Weyl], system: System, id: MixtureId, each: usize, derivatives: bool) -> Rows {
    draw_with(psis, &[], system, id, each, derivatives)
}

/// [`draw`] with the images of the samples in the base, whose states are `untrained`: `u` is the same there.
pub fn draw_with(
    psis: &[Weyl],
    untrained: &[Weyl],
    system: System,
    id: MixtureId,
    each: usize,
    derivatives: bool,
) -> Rows {
    let k = psis.len();
    let (n, d) = (psis[0].sector().particles(), psis[0].uniforms());
    let p = if derivatives { psis[0].parameters().len() } else { 0 };
    let extra = usize::from(id.tails > 0.0);
    let points: Vec<Points> = (0..k)
        .map(|c| {
            let number = id.number * MOST_STATES as u64 + c as u64;
            Points::new(id.sampling, id.seed, id.purpose, number, d + extra)
        })
        .collect();
    let chunks = each.div_ceil(SAMPLE_CHUNK);
    let parts = parallel::map_chunks(k * chunks, 1, |index, _| {
        let (component, first) = (index / chunks, index % chunks * SAMPLE_CHUNK);
        let mut stream = points[component].starting_at(first);
        let mut out = Rows { states: k, parameter_count: p, ..Rows::default() };
        let mut evaluators: Vec<_> = psis.iter().map(|psi| psi.evaluator()).collect();
        let mut base = untrained.get(component).map(|psi| psi.evaluator());
        let mut point = vec![0.0; d + extra];
        let mut gradient = vec![0.0; n];
        let (mut o, mut de) = (vec![0.0; k * p], vec![0.0; k * p]);
        let mut logs = Vec::with_capacity(k);
        // All at once: several are drawn side by side.
        let count = SAMPLE_CHUNK.min(each - first);
        let mut uniforms = vec![0.0; count * d];
        let draw = |uniforms: &mut [f64]| {
            stream.next(&mut point);
            spread(&point, d, id.tails, uniforms)
        };
        let weights: Vec<f64> = uniforms.chunks_exact_mut(d).map(draw).collect();
        let mut drawn = vec![0.0; count * n];
        evaluators[component].sample(&uniforms, &mut drawn);
        let mut images = vec![0.0; if base.is_some() { count * n } else { 0 }];
        if let Some(base) = &mut base {
            base.sample(&uniforms, &mut images);
        }
        for (s, (x, weight)) in drawn.chunks_exact(n).zip(weights).enumerate() {
            let potential = system.hamiltonian.potential(system.geometry, x);
            logs.clear();
            for (i, e) in evaluators.iter_mut().enumerate() {
                work::local_energy();
                if derivatives {
                    let row = i * p..(i + 1) * p;
                    logs.push(e.kinetic_parameter_gradient(x, &mut o[row.clone()], &mut de[row]));
                } else {
                    let (log, laplacian) = e.derivatives(x, &mut gradient);
                    let square: f64 = gradient.iter().map(|g| g * g).sum();
                    logs.push((log, -0.5 * (laplacian + square)));
                }
            }
            let top = logs.iter().map(|l| l.0.log_abs).fold(f64::NEG_INFINITY, f64::max);
            let square: f64 = logs.iter().map(|l| (2.0 * (l.0.log_abs - top)).exp()).sum();
            let root = (square / k as f64).sqrt();
            let start = (out.u.len(), out.du.len());
            for (i, (log, kinetic)) in logs.iter().enumerate() {
                let u = log.sign * (log.log_abs - top).exp() / root;
                let energy = kinetic + potential;
                // On a node of its own a state has no local energy, and no part in the sample.
                let here = |v: f64| if u == 0.0 { 0.0 } else { u * v };
                out.u.push(u);
                out.h.push(here(energy));
                out.t.push(here(*kinetic));
                for j in i * p..(i + 1) * p {
                    out.du.push(here(o[j]));
                    out.dh.push(here(o[j] * energy + de[j]));
                }
            }
            let sensible = out.u[start.0..].iter().all(|v| v.is_finite())
                && out.h[start.0..].iter().all(|v| v.abs() < ABSURD)
                && out.du[start.1..].iter().chain(&out.dh[start.1..]).all(|v| v.is_finite());
            if sensible {
                out.weight.push(weight);
                out.x.extend_from_slice(x);
                out.image.extend(images.chunks_exact(n).nth(s).into_iter().flatten());
                continue;
            }
            out.rejected += 1;
            let worst = logs
                .iter()
                .map(|l| l.1 + potential)
                .fold(0.0, |a: f64, b| if b.is_nan() || b.abs() > a.abs() { b } else { a });
            if out.faults.len() < FAULTS {
                out.faults.push(Fault { x: x.to_vec(), local_energy: worst });
            }
            for rows in [&mut out.u, &mut out.h, &mut out.t] {
                rows.truncate(start.0);
            }
            out.du.truncate(start.1);
            out.dh.truncate(start.1);
        }
        out
    });
    let mut all = Rows { states: k, parameter_count: p, ..Rows::default() };
    for part in parts {
        all.weight.extend(part.weight);
        all.x.extend(part.x);
        all.image.extend(part.image);
        all.u.extend(part.u);
        all.h.extend(part.h);
        all.t.extend(part.t);
        all.du.extend(part.du);
        all.dh.extend(part.dh);
        all.rejected += part.rejected;
        all.faults.extend(part.faults);
    }
    let mean = all.weight.iter().sum::<f64>() / all.weight.len().max(1) as f64;
    all.weight.iter_mut().for_each(|w| *w /= mean);
    all
}
