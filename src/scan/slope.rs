//! Slope of the energy by Hellmann and Feynman: `dE/dp = <dV/dp>` over exact samples.
//!
//! For the exact state this is the derivative; for another one its error is of first order in the error of the state, where
//! that of the energy is of second order. The error bar has two parts: that of the samples, and what a step towards the exact state would change,
//! `psi (1 - tau (E_L - E))`: `2 tau Cov(E_L, dV/dp)`, with `tau` so that it lowers the energy by as much as that is too high (to first order
//! `tau Var(E_L)`), or the inverse of the kinetic energy where that is not known.

use crate::estimate::EnergyEstimate;
use crate::exact::{Density, PairDensity};
use crate::local_energy::{self, BatchId, Derivatives};
use crate::math::statistics::Moments;
use crate::parallel::{self, SAMPLE_CHUNK};
use crate::sampling::{Purpose, Sampling};
use crate::spec::{Family, ResolvedSpec, SpecError, write};
use crate::store::record::Summary;
use crate::store::scan::Slope;
use crate::system::{Hamiltonian, System};
use crate::team;
use crate::wavefunction::Wavefunction;

/// What is known of the exact ground state.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ground<'a> {
    /// Energy of the state above it, in Hartree.
    pub(super) above: Option<f64>,
    /// Of particles.
    pub(super) density: Option<&'a Density>,
    /// Of pairs.
    pub(super) pairs: Option<&'a PairDensity>,
}

/// Largest relative difference of sums over all points and over every other one: with more of it the points are too far apart to be believed.
const COARSE: f64 = 1e-4;

impl<'a> Ground<'a> {
    /// What a run has found.
    pub(super) fn of(
        summary: &Summary,
        density: Option<&'a Density>,
        pairs: Option<&'a PairDensity>,
    ) -> Self {
        let known = summary.health.quadrature.map_or(summary.energy, |q| q.energy);
        let above = summary.reference.as_ref().map(|r| known - r.energy);
        Ground { above, density, pairs }
    }

    /// `<change>` of what a Hamiltonian changes by, one-body and of pairs; none where densities are missing or too coarse for it.
    fn mean(
        &self,
        one: &dyn Fn(f64) -> f64,
        pair: Option<&dyn Fn(f64, f64) -> f64>,
    ) -> Option<f64> {
        let density = self.density?;
        let x = &density.x;
        let n = |i: usize| density.up[i] + density.down.get(i).copied().unwrap_or(0.0);
        let mut sum = trapezoid(x, &|i| if n(i) == 0.0 { 0.0 } else { n(i) * one(x[i]) })?;
        if let Some(pair) = pair {
            let pairs = self.pairs?;
            let (x, m) = (&pairs.x, pairs.x.len());
            if m < 3 {
                return None;
            }
            let row = |i: usize, step: usize| {
                let at = |j: usize| match pairs.values[i * m + j] {
                    0.0 => 0.0,
                    p => 0.5 * p * pair(x[i], x[j]),
                };
                spaced(x, step, &at)
            };
            let (fine, coarse) = (spaced(x, 1, &|i| row(i, 1)), spaced(x, 2, &|i| row(i, 2)));
            sum += believed(m, fine, coarse)?;
        }
        sum.is_finite().then_some(sum)
    }
}

/// The trapezoidal sum over every point, or every other one, of points that are equally spaced.
fn spaced(x: &[f64], step: usize, f: &dyn Fn(usize) -> f64) -> f64 {
    let last = x.len() - 1;
    let h = (x[last] - x[0]) * step as f64 / last as f64;
    let weight = |i: usize| if i == 0 || i == last { 0.5 * h } else { h };
    (0..=last).step_by(step).map(|i| weight(i) * f(i)).sum()
}

fn trapezoid(x: &[f64], f: &dyn Fn(usize) -> f64) -> Option<f64> {
    if x.len() < 3 {
        return None;
    }
    believed(x.len(), spaced(x, 1, f), spaced(x, 2, f))
}

fn believed(points: usize, fine: f64, coarse: f64) -> Option<f64> {
    let alike = points % 2 == 1 && (fine - coarse).abs() <= COARSE * fine.abs() + 1e-9;
    alike.then_some(fine)
}

/// Samples of a set.
const SET: usize = 4096;
/// Sets.
const SETS: usize = 16;
/// Number of the first batch: far from those of other analyses of the same seed.
const FIRST_BATCH: u64 = 1 << 40;
/// Longest step towards the exact state, in units of the inverse of the kinetic energy: both energies of an eigenstate are rounding.
const MOST: f64 = 10.0;
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
/// particles depends on it, a contact interaction whose density the state does not know, or where the potentials do not exist on either side.
pub(super) fn slope(
    psi: &dyn Wavefunction,
    spec: &ResolvedSpec,
    family: &Family,
    name: &str,
    value: f64,
    ground: Ground,
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
    if near.iter().any(|(_, moved)| moved.geometry != spec.geometry) {
        return None;
    }
    // What no potential at a point can say: the density of pairs at contact, which a state with the cusp knows.
    let strength = |s: &ResolvedSpec| s.hamiltonian.interaction.contact();
    let mut contact = 0.0;
    if near.iter().any(|(_, moved)| strength(moved) != strength(spec)) {
        let by_strength: f64 = near.iter().map(|(weight, moved)| weight * strength(moved)).sum();
        // A state that knows its energy knows this as well.
        psi.quotient().filter(|_| by_strength.is_finite())?;
        contact = by_strength * psi.contact_density();
    }
    let pairs_change = near.iter().any(|(_, moved)| {
        moved.hamiltonian.interaction.smooth() != spec.hamiltonian.interaction.smooth()
    });
    let near: Vec<(f64, &Hamiltonian)> = near.iter().map(|(w, s)| (*w, &s.hamiltonian)).collect();
    let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
    if let Some(team) = team::current() {
        team.begin(&write::to_ron(spec).ok()?);
    }
    let n = spec.sector.particles();
    let mut sets = Vec::new();
    let (mut covariance, mut variance, mut kinetic) = (0.0, 0.0, 0.0);
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
        let changes = parts.concat();
        let moments = Moments::of(&changes);
        let energy = Moments::of(&batch.local_energy);
        let together = batch.local_energy.iter().zip(&changes);
        let products = together.map(|(e, c)| (e - energy.mean()) * (c - moments.mean()));
        covariance += products.sum::<f64>() / (SETS * changes.len()) as f64;
        variance += energy.variance() / SETS as f64;
        kinetic += Moments::of(&batch.kinetic).mean() / SETS as f64;
        sets.push(moments);
    }
    let found = EnergyEstimate::of_sets(&sets);
    let tau = match ground.above {
        Some(above) if variance > 0.0 => (above.max(0.0) / variance).min(MOST / kinetic.abs()),
        _ => kinetic.abs().recip(),
    };
    // Samples without any variance know nothing of an error.
    let first_order = 2.0 * tau * covariance;
    let first_order = if first_order.is_finite() { first_order } else { 0.0 };
    let one = |x: f64| near.iter().map(|(weight, h)| weight * h.external.value(x)).sum::<f64>();
    let pair = |x: f64, y: f64| {
        let d = spec.geometry.distance(x, y);
        near.iter().map(|(weight, h)| weight * h.interaction.value(d)).sum::<f64>()
    };
    let pair: Option<&dyn Fn(f64, f64) -> f64> = if pairs_change { Some(&pair) } else { None };
    let slope = Slope {
        electronic: found.mean() + contact,
        standard_error: found.standard_error().hypot(first_order),
        repulsion: near.iter().map(|(weight, h)| weight * h.nuclear_repulsion()).sum(),
        // Of a contact the densities of the exact state know nothing.
        exact: if contact == 0.0 { ground.mean(&one, pair) } else { None },
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
        let go = &mut |_: &_| std::ops::ControlFlow::Continue(());
        let options = crate::exact::ExactOptions::default();
        let exact =
            crate::exact::solve(&spec.hamiltonian, &spec.geometry, spec.sector, &options, go);
        let state = exact.unwrap().ground_state.unwrap();
        let ground = Ground { density: Some(&state.density), ..Ground::default() };
        let found = slope(psi.as_ref(), &spec, &family, "k", 1.0, ground).unwrap();
        assert!((found.exact.unwrap() - 1.0).abs() < 1e-7, "{found:?}");
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
        let found = slope(psi.as_ref(), &spec, &family, "g", 0.0, Ground::default()).unwrap();
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

    /// The slope of a state that is not the exact one is off by more than samples say, and the bar knows.
    #[test]
    fn the_bar_knows_the_error_of_the_state() {
        let family = Family::parse(
            r#"(title: "t", parameters: {"g": 3.0}, hamiltonian: Inline(external: Harmonic(),
                interaction: SoftCoulomb(strength: "g")), sector: (up: 2), geometry: Line,
                wavefunction: Weyl(base: MeanField(orbitals: NonInteracting)))"#,
            Path::new("t.ron"),
        )
        .unwrap();
        let spec = family.spec().unwrap();
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let psi = spec.wavefunction.build(spec.sector, system, 0).unwrap();
        let go = &mut |_: &_| std::ops::ControlFlow::Continue(());
        let options = crate::exact::ExactOptions { pair_density: true, ..Default::default() };
        let exact =
            crate::exact::solve(system.hamiltonian, system.geometry, spec.sector, &options, go);
        let exact = exact.unwrap();
        let state = exact.ground_state.unwrap();
        let own = crate::estimate::rayleigh_quotient(psi.as_ref(), system).unwrap().energy;
        let ground = Ground {
            above: Some(own - exact.energies[0]),
            density: Some(&state.density),
            pairs: state.pair_density.as_ref(),
        };
        let found = slope(psi.as_ref(), &spec, &family, "g", 3.0, ground).unwrap();
        let off = (found.electronic - found.exact.unwrap()).abs();
        assert!(off > 1e-3 && off < 4.0 * found.standard_error, "{found:?}");
        assert!(found.standard_error < 4.0 * off, "{found:?}");
        // What is not known of the exact state is estimated.
        let alone = slope(psi.as_ref(), &spec, &family, "g", 3.0, Ground::default()).unwrap();
        assert!(off < 4.0 * alone.standard_error && alone.exact.is_none(), "{alone:?}");
    }

    /// `dE/dg = D`, here of Busch's pair.
    #[test]
    fn the_slope_in_a_contact_is_its_density() {
        for (interaction, name, by_strength) in [
            (r#"Contact(strength: "g")"#, "g", 1.0),
            (r#"Sum([Contact(strength: "g^2")])"#, "g", 2.0),
            (r#"Contact(strength: "1/g")"#, "g", -1.0),
        ] {
            let text = format!(
                r#"(title: "t", parameters: {{"g": 1.0}}, hamiltonian: Inline(external: Harmonic(),
                    interaction: {interaction}), sector: (up: 1, down: 1), geometry: Line)"#
            );
            let family = Family::parse(&text, Path::new("t.ron")).unwrap();
            let spec = family.spec().unwrap();
            let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
            let psi = spec.wavefunction.build(spec.sector, system, 0).unwrap();
            let found = slope(psi.as_ref(), &spec, &family, name, 1.0, Ground::default()).unwrap();
            let expected = by_strength * 0.23094121109493204;
            assert!((found.electronic - expected).abs() < 1e-8, "{interaction}: {found:?}");
            assert_eq!(found.exact, None);
        }
    }

    /// What is finer than the points is not believed.
    #[test]
    fn sums_over_too_few_points_are_none() {
        let x: Vec<f64> = (0..81).map(|i| 0.25 * f64::from(i) - 10.0).collect();
        let up: Vec<f64> = x.iter().map(|x| (-x * x).exp()).collect();
        let values: Vec<f64> = up.iter().flat_map(|a| up.iter().map(move |b| a * b)).collect();
        let density = Density { up, down: vec![0.0; x.len()], x: x.clone() };
        let pairs = PairDensity { x, values };
        let ground = Ground { density: Some(&density), pairs: Some(&pairs), above: None };
        let zero = |_: f64| 0.0;
        let square = |x: f64| x * x;
        let root = std::f64::consts::PI.sqrt();
        assert!((ground.mean(&square, None).unwrap() - 0.5 * root).abs() < 1e-9);
        let wide = |x: f64, y: f64| (x - y).powi(2);
        assert!((ground.mean(&zero, Some(&wide)).unwrap() - 0.5 * root * root).abs() < 1e-7);
        let narrow = |x: f64, y: f64| (-50.0 * (x - y).powi(2)).exp();
        assert_eq!(ground.mean(&zero, Some(&narrow)), None);
        let alone = Ground { pairs: None, ..ground };
        assert_eq!(alone.mean(&zero, Some(&wide)), None);
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
