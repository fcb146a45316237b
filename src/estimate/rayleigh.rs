//! Norm and Rayleigh quotient of one or two particles by quadrature: a check that uses no samples.

use crate::math::quadrature::GaussLegendre;
use crate::parallel;
use crate::system::System;
use crate::wavefunction::Wavefunction;
use serde::{Deserialize, Serialize};

/// Integrals over the fundamental domain.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RayleighQuotient {
    /// `int |psi|²`, exactly one for a correct flow.
    pub norm: f64,
    /// `int (1/2 |∇ psi|² + V |psi|²) / norm`, in Hartree.
    pub energy: f64,
    /// How far `norm` may be off.
    #[serde(default = "claimed")]
    pub norm_error: f64,
    /// How far `energy` may be off, in Hartree.
    #[serde(default = "claimed")]
    pub energy_error: f64,
}

/// What summaries of versions without an estimate claimed.
fn claimed() -> f64 {
    1e-8
}

/// Panels per dimension and Gaussian nodes per panel.
const PANELS: usize = 64;
const NODES: usize = 8;

/// The Rayleigh quotient of at most two particles; `None` for more, where a grid would be the slower way.
///
/// The kinetic energy is taken as `1/2 |∇ psi|²`, so that neither samples nor second derivatives enter.
pub fn rayleigh_quotient(psi: &dyn Wavefunction, system: System) -> Option<RayleighQuotient> {
    let sector = psi.sector();
    let n = sector.particles();
    let (left, right) = psi.interval(system.geometry);
    if n == 0 || n > 2 {
        return None;
    }
    let rule = GaussLegendre::new(NODES);
    let panel = |p: usize| p as f64 / PANELS as f64;
    let nodes: Vec<(f64, f64)> =
        (0..PANELS).flat_map(|p| rule.on(panel(p), panel(p + 1)).collect::<Vec<_>>()).collect();
    // The second of two equal spins lives to the right of the first.
    let ordered = sector.up == 2 || sector.down == 2;
    let rows = parallel::map_chunks(nodes.len(), NODES, |_, range| {
        let mut evaluator = psi.evaluator();
        let mut gradient = vec![0.0; n];
        let mut sums = (0.0, 0.0);
        let mut add = |x: &[f64], weight: f64| {
            let (log, _) = evaluator.derivatives(x, &mut gradient);
            let p = weight * (2.0 * log.log_abs).exp();
            // Where the density underflows the logarithm may be -infinity and its gradient meaningless.
            if p > 0.0 {
                let kinetic = 0.5 * gradient.iter().map(|g| g * g).sum::<f64>();
                let energy = kinetic + system.hamiltonian.potential(system.geometry, x);
                sums = (sums.0 + p, sums.1 + p * energy);
            }
        };
        for &(u, w) in &nodes[range] {
            let x = left + (right - left) * u;
            let weight = (right - left) * w;
            if n == 1 {
                add(&[x], weight);
                continue;
            }
            let low = if ordered { x } else { left };
            for &(u2, w2) in &nodes {
                let y = low + (right - low) * u2;
                add(&[x, y], weight * (right - low) * w2);
            }
        }
        sums
    });
    let (norm, energy) = rows.iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
    Some(RayleighQuotient {
        norm,
        energy: energy / norm,
        norm_error: claimed(),
        energy_error: claimed(),
    })
}
