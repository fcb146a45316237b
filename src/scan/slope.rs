//! Slope of the energy by Hellmann and Feynman: `dE/dp = <dV/dp>` over exact samples.
//!
//! For the exact state this is the derivative; for another one its error is of first order in the error of the state, where
//! that of the energy is of second order. The error bar is that of the samples.

use crate::estimate::{EnergyEstimate, Moments};
use crate::local_energy::{self, BatchId, Derivatives};
use crate::parallel::{self, SAMPLE_CHUNK};
use crate::sampling::{Purpose, Sampling};
use crate::spec::{Family, ResolvedSpec, SpecError, write};
use crate::system::{Hamiltonian, System};
use crate::team;
use crate::wavefunction::Wavefunction;
use serde::{Deserialize, Serialize};

/// A derivative with respect to a named parameter, in Hartree per unit of the parameter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slope {
    /// Derivative of the electronic energy.
    pub electronic: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Derivative of the repulsion of the nuclei.
    pub repulsion: f64,
}

/// Samples of a set.
const SET: usize = 4096;
/// Sets.
const SETS: usize = 16;
/// Number of the first batch: far from those of other analyses of the same seed.
const FIRST_BATCH: u64 = 1 << 40;
/// Step of the differences, for a parameter of order one.
const STEP: f64 = 1e-3;

/// Values of the parameter beside the middle one, in steps, and the weights of their potentials in a derivative.
type Stencil = &'static [(f64, f64)];
const CENTRAL: Stencil =
    &[(-2.0, 1.0 / 12.0), (-1.0, -2.0 / 3.0), (1.0, 2.0 / 3.0), (2.0, -1.0 / 12.0)];
const FORWARD: Stencil =
    &[(0.0, -25.0 / 12.0), (1.0, 4.0), (2.0, -3.0), (3.0, 4.0 / 3.0), (4.0, -0.25)];
const BACKWARD: Stencil =
    &[(0.0, 25.0 / 12.0), (-1.0, -4.0), (-2.0, 3.0), (-3.0, -4.0 / 3.0), (-4.0, 0.25)];

/// The slope with respect to the parameter `name`, which has the value `value` in `spec`; none where the space of the
/// particles or a contact interaction depends on it, or where the potentials do not exist on either side.
pub(super) fn slope(
    psi: &dyn Wavefunction,
    spec: &ResolvedSpec,
    family: &Family,
    name: &str,
    value: f64,
) -> Option<Slope> {
    let step = STEP * value.abs().max(1.0);
    let near = |stencil: Stencil| -> Result<Vec<(f64, ResolvedSpec)>, SpecError> {
        let at = |&(offset, weight): &(f64, f64)| {
            let moved = family.at(&[(name.to_owned(), value + offset * step)])?.spec()?;
            Ok((weight / step, moved))
        };
        stencil.iter().map(at).collect()
    };
    let near = [CENTRAL, FORWARD, BACKWARD].into_iter().find_map(|s| near(s).ok())?;
    // Nor where what no potential at a point can say depends on it: the density of pairs at contact.
    let contact = spec.hamiltonian.interaction.contact();
    let depends = |moved: &ResolvedSpec| {
        moved.geometry != spec.geometry || moved.hamiltonian.interaction.contact() != contact
    };
    if near.iter().any(|(_, moved)| depends(moved)) {
        return None;
    }
    let near: Vec<(f64, &Hamiltonian)> = near.iter().map(|(w, s)| (*w, &s.hamiltonian)).collect();
    let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
    if let Some(team) = team::current() {
        team.begin(&write::to_ron(spec).ok()?);
    }
    let n = spec.sector.particles();
    let mut sets = Vec::new();
    for set in 0..SETS {
        let id = BatchId {
            sampling: Sampling::QuasiRandom,
            seed: spec.seed,
            purpose: Purpose::Analysis,
            number: FIRST_BATCH + set as u64,
            first: 0,
            tails: 0.0,
        };
        let batch = local_energy::draw(psi, system, id, SET, Derivatives::None);
        let change = |x: &[f64]| -> f64 {
            near.iter().map(|(weight, h)| weight * h.potential(&spec.geometry, x)).sum()
        };
        let parts = parallel::map_chunks(batch.samples(), SAMPLE_CHUNK, |_, range| {
            batch.x[range.start * n..range.end * n].chunks_exact(n).map(change).collect::<Vec<_>>()
        });
        sets.push(Moments::of(&parts.concat()));
    }
    let found = EnergyEstimate::of_sets(&sets);
    let slope = Slope {
        electronic: found.mean(),
        standard_error: found.standard_error(),
        repulsion: near.iter().map(|(weight, h)| weight * h.nuclear_repulsion()).sum(),
    };
    (slope.electronic.is_finite() && slope.repulsion.is_finite()).then_some(slope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_slope_of_an_oscillator_is_the_exact_one() {
        let family = Family::parse(
            r#"(title: "t", parameters: {"k": 1.0}, hamiltonian: Inline(external: Formula("k*x^2/2"),
                interaction: None), sector: (up: 2), geometry: Line)"#,
            Path::new("t.ron"),
        )
        .unwrap();
        let mut spec = family.spec().unwrap();
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        spec.wavefunction.settle(spec.sector, system).unwrap();
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let psi = spec.wavefunction.build(spec.sector, system, 0).unwrap();
        // E = 2 sqrt(k) for two equal spins.
        let found = slope(psi.as_ref(), &spec, &family, "k", 1.0).unwrap();
        assert!((found.electronic - 1.0).abs() < 5.0 * found.standard_error + 1e-9, "{found:?}");
        assert!(found.standard_error < 1e-2 && found.repulsion == 0.0, "{found:?}");
    }

    #[test]
    fn the_slope_in_the_coupling_is_first_order_perturbation_theory() {
        let family = Family::parse(
            r#"(title: "t", parameters: {"g": 0.0}, hamiltonian: Inline(external: Harmonic(),
                interaction: SoftCoulomb(strength: "g")), sector: (up: 2), geometry: Line,
                wavefunction: Weyl(base: MeanField(orbitals: NonInteracting)))"#,
            Path::new("t.ron"),
        )
        .unwrap();
        let spec = family.spec().unwrap();
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let psi = spec.wavefunction.build(spec.sector, system, 0).unwrap();
        let found = slope(psi.as_ref(), &spec, &family, "g", 0.0).unwrap();
        // The distance of two free fermions has the density d² exp(-d²/2); the rule is exact to rounding for such functions.
        let sum = |f: &dyn Fn(f64) -> f64| -> f64 {
            (1..2000)
                .map(|i| 0.01 * f64::from(i))
                .map(|d| f(d) * d * d * (-0.5 * d * d).exp())
                .sum()
        };
        let exact = sum(&|d| 1.0 / (d * d + 1.0).sqrt()) / sum(&|_| 1.0);
        let off = (found.electronic - exact).abs();
        assert!(off < 4.0 * found.standard_error, "{found:?} {exact}");
        assert!(found.standard_error < 1e-3 * exact, "{found:?}");
    }

    #[test]
    fn stencils_are_derivatives() {
        for stencil in [CENTRAL, FORWARD, BACKWARD] {
            for power in 0..=4 {
                let sum: f64 = stencil.iter().map(|(x, w)| w * x.powi(power)).sum();
                let expected = if power == 1 { 1.0 } else { 0.0 };
                assert!((sum - expected).abs() < 1e-12, "{stencil:?} {power} {sum}");
            }
        }
    }
}
