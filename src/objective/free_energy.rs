//! The free energy of a Gibbs ensemble of states under one flow.
//!
//! For `rho = sum_I p_I |I><I|` the *local free energy* `F_L = E_L^I(x) + kT ln p_I` has the mean
//! `F = <H> - T S >= F_exact` (R. P. Feynman, "Statistical Mechanics", Benjamin 1972, section 2.11), and no variance at the
//! Gibbs state. The gradient of `F` by a parameter of the flow is `2 <O (F_L - F)>`: what minimises an energy minimises it
//! with `F_L` in place of `E_L`. The entropy of the probabilities is known exactly.

use super::mixture::spread;
use crate::local_energy::{ABSURD, Batch, BatchId, FAULTS, Fault};
use crate::parallel;
use crate::sampling::Points;
use crate::system::System;
use crate::wavefunction::Wavefunction;
use crate::wavefunction::weyl::ensemble::GibbsStates;
use crate::work;
use std::collections::BTreeMap;

/// Samples of an ensemble.
#[derive(Clone, Debug, Default)]
pub struct ThermalBatch {
    /// The samples, with the local free energy for the local energy.
    pub batch: Batch,
    /// The state of each.
    pub state: Vec<usize>,
    /// Its number among those that were drawn, before they were put in the order of their states.
    pub number: Vec<usize>,
}

/// Number, weight and uniforms of a sample.
type Drawn = (usize, f64, Vec<f64>);

/// Samples of one state that one task evaluates.
const TASK: usize = 16;

/// Draws exact samples of the ensemble: the first number of each point chooses the state. The samples are in the order of
/// their states.
pub fn draw(
    states: &GibbsStates,
    system: System,
    id: BatchId,
    samples: usize,
    derivatives: bool,
) -> ThermalBatch {
    let flow = states.flow();
    let (n, d) = (flow.sector().particles(), flow.uniforms());
    let p = flow.parameters().len();
    let extra = usize::from(id.tails > 0.0);
    let points = Points::new(id.sampling, id.seed, id.purpose, id.number, 1 + d + extra);
    let mut stream = points.starting_at(id.first);
    let mut by_state: BTreeMap<usize, Vec<Drawn>> = BTreeMap::new();
    let mut point = vec![0.0; 1 + d + extra];
    for number in 0..samples {
        stream.next(&mut point);
        let mut uniforms = vec![0.0; d];
        let weight = spread(&point[1..], d, id.tails, &mut uniforms);
        by_state.entry(states.drawn(point[0])).or_default().push((number, weight, uniforms));
    }
    let mut tasks: Vec<(usize, &[Drawn])> = Vec::new();
    for (&state, drawn) in &by_state {
        tasks.extend(drawn.chunks(TASK).map(|part| (state, part)));
    }
    let parts = parallel::map_chunks(tasks.len(), 1, |index, _| {
        let (k, drawn) = tasks[index];
        let psi = states.state(k);
        let entropy = states.kt * states.probabilities[k].ln();
        let mut evaluator = psi.evaluator();
        let mut out = ThermalBatch {
            batch: Batch { particles: n, parameter_count: p, ..Batch::default() },
            ..ThermalBatch::default()
        };
        let mut gradient = vec![0.0; n];
        let rows = if derivatives { p } else { 0 };
        let (mut o, mut de) = (vec![0.0; rows], vec![0.0; rows]);
        // All at once: several are drawn side by side.
        let uniforms: Vec<f64> =
            drawn.iter().flat_map(|(.., uniforms)| uniforms).copied().collect();
        let mut all = vec![0.0; drawn.len() * n];
        evaluator.sample(&uniforms, &mut all);
        for ((number, weight, _), x) in drawn.iter().zip(all.chunks_exact(n)) {
            work::local_energy();
            let kinetic = if derivatives {
                evaluator.kinetic_parameter_gradient(x, &mut o, &mut de).1
            } else {
                evaluator.kinetic_energy(x, &mut gradient)
            };
            let energy = kinetic + system.hamiltonian.potential(system.geometry, x);
            let b = &mut out.batch;
            if energy.abs() < ABSURD && o.iter().chain(&de).all(|v| v.is_finite()) {
                b.x.extend_from_slice(x);
                b.local_energy.push(energy + entropy);
                b.kinetic.push(kinetic);
                b.weight.push(*weight);
                b.log_gradient.extend_from_slice(&o);
                b.energy_gradient.extend_from_slice(&de);
                out.state.push(k);
                out.number.push(*number);
            } else {
                b.rejected += 1;
                if b.faults.len() < FAULTS {
                    b.faults.push(Fault { x: x.to_vec(), local_energy: energy });
                }
            }
        }
        out
    });
    let mut all = ThermalBatch::default();
    for part in parts {
        all.batch.append(part.batch);
        all.state.extend(part.state);
        all.number.extend(part.number);
    }
    all.batch.particles = n;
    all.batch.parameter_count = p;
    all.batch.roughness = flow.roughness();
    all.batch.parameters = states.parameters().to_vec();
    all
}

/// Determinants of the base beyond which fewer samples are drawn, in proportion: an evaluation costs as much.
const CHEAP: usize = 1000;
/// Fewest samples of an iteration.
const LEAST_SAMPLES: usize = 512;
/// Samples that cost as much as `samples` over a short sum of determinants.
pub(crate) fn affordable(states: &GibbsStates, samples: usize) -> usize {
    let share = CHEAP as f64 / states.determinants().max(CHEAP) as f64;
    ((samples as f64 * share) as usize).max(LEAST_SAMPLES.min(samples))
}
