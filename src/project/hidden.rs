//! Nodes too far out for any walker: what a guide hides from a projection beyond them.
//!
//! A node costs no less for how little of `|psi|²` is beyond it. Walkers that never get there project onto the lowest state that is zero at the
//! node, and making the ground state zero on a small hole takes an energy that falls with the logarithm of its size only (in two dimensions: it is the
//! capacity of the hole), times the density that the ground state has there. Samples of psi see nothing of it. Those of a state
//! without nodes, whose density is everywhere of the size of the ground state's, do.

use super::STREAMS;
use super::walker::is_inside;
use crate::parallel;
use crate::sampling::{Purpose, open_uniform, stream};
use crate::system::System;
use crate::wavefunction::{Evaluator, Wavefunction};
use std::f64::consts::PI;

/// Samples of the state without nodes, and how many of them, those of which psi makes least, are followed.
const SAMPLES: usize = 65_536;
const FOLLOWED: usize = 1024;
/// Steps of each.
const STEPS: usize = 8;
/// How much farther a step goes than where psi would be zero if it fell as it does here.
const BEYOND: f64 = 1.5;
/// Longest step, in standard deviations of a coordinate.
const FARTHEST: f64 = 0.25;
/// Distance from a node at which psi is as large as the ground state, about, in standard deviations of a coordinate.
const AROUND: f64 = 0.25;
/// Holes of the largest size.
const PLACES: f64 = 4.0;

/// About the energy that nodes of psi hide, in Hartree: `4 pi rho L^(n - 2)` with the largest density `rho` of psi beside one of them and the standard
/// deviation `L` of a coordinate; one hole costs about a quarter of it, but there are more (measured where exact energies are known). Zero where no node
/// is found; none where no such other state is known.
pub(super) fn hidden(psi: &dyn Wavefunction, system: System, seed: u64) -> Option<f64> {
    let guard = psi.without_nodes()?;
    let n = psi.sector().particles();
    // Place, log of the ratio of both densities, sign of psi.
    let mut found: Vec<(Vec<f64>, f64, f64)> =
        parallel::map_chunks(SAMPLES, parallel::SAMPLE_CHUNK, |c, range| {
            let mut rng = stream(seed, Purpose::Analysis, STREAMS - 7, c);
            let (mut own, mut other) = (psi.evaluator(), guard.evaluator());
            let mut uniforms = vec![0.0; guard.uniforms()];
            let mut x = vec![0.0; n];
            let mut one = || {
                uniforms.fill_with(|| open_uniform(&mut rng));
                other.sample(&uniforms, &mut x);
                let log = own.log_psi(&x);
                (x.clone(), log.log_abs - other.log_psi(&x).log_abs, log.sign)
            };
            range.map(|_| one()).collect::<Vec<_>>()
        })
        .into_iter()
        .flatten()
        .filter(|f| !f.1.is_nan())
        .collect();
    let all = || found.iter().flat_map(|f| &f.0);
    let count = (found.len() * n) as f64;
    let mean = all().sum::<f64>() / count;
    let spread = (all().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
    let sign = if found.iter().map(|f| f.2).sum::<f64>() < 0.0 { -1.0 } else { 1.0 };
    // Stable: equal ones stay in the order of the samples.
    found.sort_by(|a, b| a.1.total_cmp(&b.1));
    found.truncate(FOLLOWED);
    let inside = |x: &[f64]| is_inside(system.geometry, psi.sector(), x);
    let density = parallel::map_chunks(found.len(), 1, |c, _| {
        let (mut own, mut other) = (psi.evaluator(), guard.evaluator());
        let (mut slope, mut elsewhere) = (vec![0.0; n], vec![0.0; n]);
        let mut x = found[c].0.clone();
        for _ in 0..STEPS {
            let (here, _) = own.derivatives(&x, &mut slope);
            other.derivatives(&x, &mut elsewhere);
            if here.sign != sign {
                return around(&mut *own, &x, sign, AROUND * spread, inside);
            }
            let change: Vec<f64> = slope.iter().zip(&elsewhere).map(|(a, b)| a - b).collect();
            let length = change.iter().map(|c| c * c).sum::<f64>().sqrt();
            let step = (BEYOND / length).min(FARTHEST * spread);
            x.iter_mut().zip(&change).for_each(|(x, c)| *x -= step * c / length);
            if !inside(&x) {
                break;
            }
        }
        0.0
    });
    let largest = density.iter().copied().fold(0.0, f64::max);
    Some(PLACES * PI * largest * spread.powi(n as i32 - 2))
}

/// The largest density among neighbours of a node that have the sign of most places.
fn around(
    psi: &mut dyn Evaluator,
    x: &[f64],
    sign: f64,
    step: f64,
    inside: impl Fn(&[f64]) -> bool,
) -> f64 {
    let mut largest = 0.0f64;
    for k in 0..x.len() {
        for step in [-step, step] {
            let mut there = x.to_vec();
            there[k] += step;
            if !inside(&there) {
                continue;
            }
            let log = psi.log_psi(&there);
            if log.sign == sign {
                largest = largest.max((2.0 * log.log_abs).exp());
            }
        }
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::tests::{HARMONIUM, built, noded};

    #[test]
    fn nodes_are_found_and_only_where_there_are_some() {
        let (spec, psi) = noded();
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let found = hidden(psi.as_ref(), system, 0).unwrap();
        assert!(found > 1e-4, "{found}");
        let guard = psi.without_nodes().unwrap();
        assert_eq!(hidden(guard.as_ref(), system, 0), Some(0.0));
        // Determinants know no state like them without nodes.
        let (spec, psi) = built(HARMONIUM);
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        assert_eq!(hidden(psi.as_ref(), system, 0), None);
    }

    /// As the parameters go to those of a state without nodes.
    #[test]
    fn what_nodes_hide_falls_with_them() {
        let (spec, mut psi) = noded();
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let whole = psi.parameters().to_vec();
        let mut at = |share: f64| {
            psi.set_parameters(&whole.iter().map(|p| share * p).collect::<Vec<_>>()).unwrap();
            hidden(psi.as_ref(), system, 0).unwrap()
        };
        let found = [1.0, 0.5, 0.25, 0.1, 0.0].map(&mut at);
        assert_eq!(found[4], 0.0);
        assert!(found[0] > found[2] && found[1] > found[3], "{found:?}");
    }
}
