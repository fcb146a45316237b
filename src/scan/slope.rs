//! Slope of the energy by Hellmann and Feynman: `dE/dp = <dV/dp>` over exact samples.
//!
//! For the exact state this is the derivative; for another one its error is of first order in the error of the state, where
//! that of the energy is of second order. The error bar has two parts: that of the samples, and what a step towards the exact state would change,
//! `psi (1 - tau (E_L - E))`: `2 tau Cov(E_L, dV/dp)`, with `tau` so that it lowers the energy by as much as that is too high (to first order
//! `tau Var(E_L)`), or the inverse of the kinetic energy where that is not known.

use crate::estimate::EnergyEstimate;
use crate::estimate::final_batches;
use crate::exact::{Density, PairDensity};
use crate::local_energy::Batch;
use crate::math::statistics::Moments;
use crate::parallel::{self, SAMPLE_CHUNK};
use crate::run::{Event, Observer};
use crate::sampling::Sampling;
use crate::spec::{Family, ResolvedSpec, SpecError, write};
use crate::store::record::Summary;
use crate::store::scan::Slope;
use crate::system::{Geometry, Hamiltonian, System};
use crate::team;
use crate::wavefunction::Wavefunction;
use std::ops::ControlFlow;

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

/// What changes of a Hamiltonian with a parameter.
pub(super) struct Direction {
    /// Hamiltonians beside the one in question, and their weights in its derivative.
    near: Vec<(f64, Hamiltonian)>,
    /// The derivative of the strength of a contact interaction.
    contact: Option<f64>,
    /// Whether the interaction between distant particles changes.
    pairs: bool,
}

impl Direction {
    /// The parameter `name`, which has the value `value` in `spec`; none where the space of the particles depends on it, or where the potentials do not
    /// exist on either side.
    pub(super) fn of(spec: &ResolvedSpec, family: &Family, name: &str, value: f64) -> Option<Self> {
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
        let near: Vec<(f64, Hamiltonian)> =
            near.into_iter().map(|(weight, moved)| (weight, moved.hamiltonian)).collect();
        let here = &spec.hamiltonian.interaction;
        // What no potential at a point can say: the density of pairs at contact, which a state with the cusp knows.
        let changes = near.iter().any(|(_, h)| h.interaction.contact() != here.contact());
        let by_strength = || near.iter().map(|(w, h)| w * h.interaction.contact()).sum::<f64>();
        let contact = changes.then(by_strength);
        if contact.is_some_and(|c| !c.is_finite()) {
            return None;
        }
        let pairs = near.iter().any(|(_, h)| h.interaction.smooth() != here.smooth());
        Some(Direction { near, contact, pairs })
    }

    /// `dV/dp` at some positions.
    fn change(&self, geometry: &Geometry, x: &[f64]) -> f64 {
        self.near.iter().map(|(weight, h)| weight * h.potential(geometry, x)).sum()
    }
}

/// `dV/dp` over the samples of an estimate.
#[derive(Clone, Debug, Default)]
struct Sums {
    /// Of each set.
    sets: Vec<Moments>,
    /// Of all local energies, and their kinetic parts.
    energy: Moments,
    kinetic: Moments,
    /// Of all `dV/dp`, and the sum of the products of both about their means.
    change: Moments,
    products: f64,
}

impl Sums {
    fn push(&mut self, set: usize, batch: &Batch, changes: &[f64]) {
        let (energy, change) = (Moments::of(&batch.local_energy), Moments::of(changes));
        let together = batch.local_energy.iter().zip(changes);
        let products: f64 = together.map(|(e, c)| (e - energy.mean()) * (c - change.mean())).sum();
        let (before, more) = (self.change.count() as f64, change.count() as f64);
        if before > 0.0 && more > 0.0 {
            let apart = (energy.mean() - self.energy.mean()) * (change.mean() - self.change.mean());
            self.products += apart * before * more / (before + more);
        }
        self.products += products;
        self.energy.merge(&energy);
        self.change.merge(&change);
        self.kinetic.merge(&Moments::of(&batch.kinetic));
        if self.sets.len() <= set {
            self.sets.resize(set + 1, Moments::default());
        }
        self.sets[set].merge(&change);
    }
}

/// The slopes of a state with respect to the scanned parameters, from the samples of its final estimate: an observer that hears of them, and tells everything
/// else to another.
pub(super) struct Slopes<'a> {
    observer: &'a mut dyn Observer,
    spec: ResolvedSpec,
    directions: Vec<(Option<Direction>, Sums)>,
}

impl<'a> Slopes<'a> {
    /// Of parameters of a family, with their values in `spec`.
    pub(super) fn new(
        spec: &ResolvedSpec,
        family: &Family,
        values: &[(String, f64)],
        observer: &'a mut dyn Observer,
    ) -> Self {
        let of = |(name, value): &(String, f64)| {
            (Direction::of(spec, family, name, *value), Sums::default())
        };
        let directions = values.iter().map(of).collect();
        Slopes { observer, spec: spec.clone(), directions }
    }

    /// Draws the samples of the final estimate again.
    pub(super) fn draw(&mut self, psi: &dyn Wavefunction) {
        let spec = self.spec.clone();
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        if let Some(team) = team::current()
            && let Ok(text) = write::to_ron(&spec)
        {
            team.begin(&text);
        }
        final_batches(psi, system, &spec.schedule(), |set, batch, _| {
            self.push(set, &batch);
            ControlFlow::Continue(())
        });
    }

    fn push(&mut self, set: usize, batch: &Batch) {
        let (n, geometry) = (batch.particles, &self.spec.geometry);
        for (direction, sums) in &mut self.directions {
            let Some(direction) = direction else { continue };
            let parts = parallel::map_chunks(batch.samples(), SAMPLE_CHUNK, |_, range| {
                let x = batch.x[range.start * n..range.end * n].chunks_exact(n);
                x.map(|x| direction.change(geometry, x)).collect::<Vec<_>>()
            });
            sums.push(set, batch, &parts.concat());
        }
    }

    /// What they come to for the state that was sampled. None where a contact changes whose density it does not know.
    pub(super) fn found(&self, psi: &dyn Wavefunction, ground: Ground) -> Vec<Option<Slope>> {
        let of = |(direction, sums): &(Option<Direction>, Sums)| {
            self.slope(direction.as_ref()?, sums, psi, ground)
        };
        self.directions.iter().map(of).collect()
    }

    fn slope(
        &self,
        direction: &Direction,
        sums: &Sums,
        psi: &dyn Wavefunction,
        ground: Ground,
    ) -> Option<Slope> {
        let Direction { near, contact, pairs } = direction;
        let contact = match contact {
            // A state that knows its energy knows this as well.
            Some(by_strength) => psi.quotient().map(|_| by_strength * psi.contact_density())?,
            None => 0.0,
        };
        let found = match self.spec.sampling {
            Sampling::Random => EnergyEstimate::independent(sums.change),
            Sampling::QuasiRandom => EnergyEstimate::of_sets(&sums.sets),
        };
        let covariance = sums.products / sums.change.count() as f64;
        let (variance, kinetic) = (sums.energy.variance(), sums.kinetic.mean());
        let tau = match ground.above {
            Some(above) if variance > 0.0 => (above.max(0.0) / variance).min(MOST / kinetic.abs()),
            _ => kinetic.abs().recip(),
        };
        // Samples without any variance know nothing of an error.
        let first_order = 2.0 * tau * covariance;
        let first_order = if first_order.is_finite() { first_order } else { 0.0 };
        let one = |x: f64| near.iter().map(|(weight, h)| weight * h.external.value(x)).sum::<f64>();
        let pair = |x: f64, y: f64| {
            let d = self.spec.geometry.distance(x, y);
            near.iter().map(|(weight, h)| weight * h.interaction.value(d)).sum::<f64>()
        };
        let pair: Option<&dyn Fn(f64, f64) -> f64> = if *pairs { Some(&pair) } else { None };
        let slope = Slope {
            electronic: found.mean() + contact,
            standard_error: found.standard_error().hypot(first_order),
            repulsion: near.iter().map(|(weight, h)| weight * h.nuclear_repulsion()).sum(),
            // Of a contact the densities of the exact state know nothing.
            exact: if contact == 0.0 { ground.mean(&one, pair) } else { None },
        };
        (slope.electronic.is_finite() && slope.repulsion.is_finite()).then_some(slope)
    }
}

impl Observer for Slopes<'_> {
    fn hear(&mut self, event: Event<'_>) {
        match event {
            Event::Samples(set, batch) => self.push(set, batch),
            event => self.observer.hear(event),
        }
    }

    fn stops(&self) -> bool {
        self.observer.stops()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn slope(
        psi: &dyn Wavefunction,
        spec: &ResolvedSpec,
        family: &Family,
        (name, value): (&str, f64),
        ground: Ground,
    ) -> Option<Slope> {
        let spec = ResolvedSpec { final_samples: 1 << 16, ..spec.clone() };
        let mut silent = ();
        let mut slopes = Slopes::new(&spec, family, &[(name.to_owned(), value)], &mut silent);
        slopes.draw(psi);
        slopes.found(psi, ground)[0]
    }

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
        let found = slope(psi.as_ref(), &spec, &family, ("k", 1.0), ground).unwrap();
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
        let found = slope(psi.as_ref(), &spec, &family, ("g", 0.0), Ground::default()).unwrap();
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
        let found = slope(psi.as_ref(), &spec, &family, ("g", 3.0), ground).unwrap();
        let off = (found.electronic - found.exact.unwrap()).abs();
        assert!(off > 1e-3 && off < 4.0 * found.standard_error, "{found:?}");
        assert!(found.standard_error < 4.0 * off, "{found:?}");
        // What is not known of the exact state is estimated.
        let alone = slope(psi.as_ref(), &spec, &family, ("g", 3.0), Ground::default()).unwrap();
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
            let found =
                slope(psi.as_ref(), &spec, &family, (name, 1.0), Ground::default()).unwrap();
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
