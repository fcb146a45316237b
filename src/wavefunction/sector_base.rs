//! The sector base as a wavefunction: contact interactions with their exact cusp.
//!
//! A linear combination whose coefficients solve an eigenproblem (`crate::contact::base`): there is nothing to train. The norm is
//! the sum of their squares, samples come from one conditional density after the other.

use super::flow::{Flow, FlowEvaluator};
use super::slopes::Slopes;
use super::untrained::no_parameters;
use super::{Evaluator, Wavefunction, WavefunctionError};
use crate::contact::base::{Base, gaps_of};
use crate::contact::cell::Tables;
use crate::contact::sampler::{Sampler, Scratch};
use crate::contact::{Gas, Space, symmetry};
use crate::math::gamma::normal;
use crate::math::scalar::{Jet, Scalar, with_jet_width};
use crate::system::{Geometry, Sector, System};
use crate::wavefunction::RayleighQuotient;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::f64::consts::PI;

/// Settings of the sector base.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectorBaseSettings {
    /// Functions of each gap in a trap, degree of the polynomials elsewhere; as many as are cheap unless given.
    #[serde(default)]
    pub functions: Option<usize>,
}

/// Coefficients up to which the default goes: in a trap, where functions converge faster, and elsewhere.
const CHEAP: usize = 2000;
const CHEAP_ON_SIMPLEX: usize = 5600;
/// Most coefficients: their matrices take a gigabyte.
pub const MOST_COEFFICIENTS: usize = 6000;
/// Most functions of each gap, or degree.
pub const MOST_FUNCTIONS: usize = 48;
/// What the default stops at, by the number of particles: more changes nothing but rounding.
const ENOUGH_IN_TRAP: [usize; 2] = [28, 20];
const ENOUGH_ON_RING: usize = 16;
const ENOUGH_BETWEEN_WALLS: usize = 18;

impl SectorBaseSettings {
    /// The number of functions for a system.
    pub(crate) fn functions(&self, gas: &Gas) -> usize {
        if let Some(functions) = self.functions {
            return functions;
        }
        let (least, most, cheap) = match gas.space {
            Space::Trap { .. } => (3, ENOUGH_IN_TRAP[usize::from(gas.particles() > 2)], CHEAP),
            Space::Ring { .. } => (gas.particles() + 2, ENOUGH_ON_RING, CHEAP_ON_SIMPLEX),
            Space::Walls { .. } => (gas.particles() + 2, ENOUGH_BETWEEN_WALLS, CHEAP_ON_SIMPLEX),
        };
        (least..=most).take_while(|&n| Base::dimension(gas, n) <= cheap).last().unwrap_or(least)
    }

    /// Writes out the number of functions and says what it means.
    pub(crate) fn settle(
        &mut self,
        sector: Sector,
        system: System,
    ) -> Result<Vec<String>, WavefunctionError> {
        let gas = Gas::new(system.hamiltonian, system.geometry, sector)?;
        let functions = self.functions(&gas);
        self.functions = Some(functions);
        let size = Base::dimension(&gas, functions);
        let (_, bytes) = Base::cost(&gas, functions);
        let what = match gas.space {
            Space::Trap { .. } => format!("{functions} functions of each gap"),
            _ => format!("polynomials of degree {functions}"),
        };
        Ok(vec![format!(
            "sector base: {what}, {size} coefficients from an eigenproblem, about {:.2} GiB",
            bytes / (1u64 << 30) as f64
        )])
    }
}

/// A sum of products of polynomials for every order of the components.
pub struct SectorBase {
    sector: Sector,
    base: Base,
    samplers: Vec<Sampler>,
    /// What one unit of the base is in bohr.
    unit: f64,
    /// Logarithm of the norm that units, centre of mass and ring bring.
    log_norm: f64,
    /// Sums of the probabilities of the orders.
    cumulative: Vec<f64>,
    /// Each sequence of components: its order and the rotation that leads there.
    sequences: BTreeMap<Vec<u8>, (usize, usize)>,
    /// Component of each coordinate.
    components: Vec<u8>,
    /// First coordinate of each component.
    starts: Vec<usize>,
    contact: f64,
    quotient: RayleighQuotient,
}

/// Digits that rounding takes of the energy and of the norm.
const ROUNDING: f64 = 1e-12;

/// Scratch memory of one evaluation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace<T> {
    tables: Tables<T>,
    work: Scratch,
    at: Vec<f64>,
    index: Vec<usize>,
    sequence: Vec<u8>,
}

impl SectorBase {
    /// Solves for the coefficients.
    ///
    /// # Errors
    /// [`WavefunctionError`] where the system has no sector base.
    pub fn new(
        settings: &SectorBaseSettings,
        sector: Sector,
        system: System,
    ) -> Result<Self, WavefunctionError> {
        let given = Gas::new(system.hamiltonian, system.geometry, sector)?;
        let (gas, unit) = given.in_units();
        let n = gas.particles();
        if n < 2 || gas.counts.len() < 2 {
            let problem = "SectorBase needs particles of two components".to_owned();
            return Err(WavefunctionError::Base { problem });
        }
        let functions = settings.functions(&given);
        let size = Base::dimension(&gas, functions);
        if size > MOST_COEFFICIENTS {
            return Err(WavefunctionError::Base {
                problem: format!(
                    "SectorBase would have {size} coefficients with {functions} functions, at most \
                     {MOST_COEFFICIENTS} are possible"
                ),
            });
        }
        let base = Base::new(&gas, functions, 1)?;
        let samplers = base
            .cells
            .iter()
            .zip(&base.coefficients)
            .map(|(cell, c)| Sampler::new(cell, c))
            .collect();
        let mut sum = 0.0;
        let mut cumulative = vec![0.0];
        for p in base.probabilities() {
            sum += p;
            cumulative.push(sum);
        }
        let count = n as f64;
        let log_norm = match gas.space {
            Space::Trap { .. } => 0.25 * (count / PI).ln() - 0.5 * count * unit.ln(),
            Space::Ring { length } => -0.5 * length.ln(),
            Space::Walls { .. } => 0.0,
        } - 0.5 * sum.ln();
        let mut sequences = BTreeMap::new();
        for (i, order) in base.orders.all.iter().enumerate() {
            let turns = if matches!(gas.space, Space::Ring { .. }) { n } else { 1 };
            for r in 0..turns {
                // Turned back by r, the rotation by r leads to the order.
                sequences.insert(symmetry::rotated(order, (n - r) % n), (i, r));
            }
        }
        let mut components = Vec::new();
        let mut starts = Vec::new();
        for (c, &count) in gas.counts.iter().enumerate() {
            starts.push(components.len());
            components.extend(std::iter::repeat_n(c as u8, count));
        }
        let contact = base.contact / unit;
        let centre = if let Space::Trap { .. } = gas.space { 0.5 } else { 0.0 };
        let energy = (base.energies[0] + centre) / (unit * unit);
        let energy_error =
            base.quadrature_error()? / (unit * unit) + ROUNDING * (base.unit() + energy.abs());
        let quotient = RayleighQuotient { norm: sum, energy, norm_error: ROUNDING, energy_error };
        Ok(SectorBase {
            sector,
            base,
            samplers,
            unit,
            log_norm,
            cumulative,
            sequences,
            components,
            starts,
            contact,
            quotient,
        })
    }

    fn space(&self) -> &Space {
        &self.base.gas.space
    }

    fn axes(&self) -> usize {
        self.base.cells[0].axes.len()
    }

    /// The order of a configuration; leaves the indices in ascending order in the trace.
    fn order<T>(&self, x: impl Fn(usize) -> f64, trace: &mut Trace<T>) -> Option<(usize, usize)> {
        let n = self.components.len();
        trace.index.clear();
        trace.index.extend(0..n);
        trace.index.sort_unstable_by(|&a, &b| x(a).total_cmp(&x(b)).then(a.cmp(&b)));
        trace.sequence.clear();
        trace.sequence.extend(trace.index.iter().map(|&i| self.components[i]));
        self.sequences.get(&trace.sequence).copied()
    }

    /// Gaps of an order from coordinates in ascending order, in units of the base, as its function takes them.
    fn gaps<T: Scalar>(&self, ordered: &[T], (order, turn): (usize, usize)) -> Vec<T> {
        let mut x: Vec<T> = ordered.iter().map(|x| *x * self.unit.recip()).collect();
        if let Space::Walls { half_width, .. } = self.space() {
            x.iter_mut().for_each(|x| *x = *x + *half_width);
        }
        let mut gaps = gaps_of(self.space(), &x);
        if turn > 0 {
            gaps.rotate_left(turn);
        }
        self.base.orders.links[order].map.iter().map(|&g| gaps[g]).collect()
    }

    /// A configuration from the coordinates of the base.
    fn place(&self, order: usize, coordinates: &[f64], last: f64, x: &mut [f64]) {
        let n = x.len();
        let link = &self.base.orders.links[order];
        let cell = &self.base.cells[link.cell];
        let mut gaps = vec![0.0; self.base.orders.gaps()];
        match cell.length {
            None => link.map.iter().zip(coordinates).for_each(|(&g, s)| gaps[g] = *s),
            Some(length) => {
                let mut rest = length;
                for (&g, t) in link.map.iter().zip(coordinates) {
                    gaps[g] = t * rest;
                    rest *= 1.0 - t;
                }
                gaps[link.map[coordinates.len()]] = rest;
            }
        }
        let mut places = vec![0.0; n];
        let first = usize::from(matches!(self.space(), Space::Walls { .. }));
        for i in 1..n {
            places[i] = places[i - 1] + gaps[first + i - 1];
        }
        let shift = match self.space() {
            Space::Trap { .. } => {
                let centre = normal(last) * (2.0 * n as f64).sqrt().recip();
                centre - places.iter().sum::<f64>() / n as f64
            }
            Space::Ring { length } => length * (last - 0.5),
            Space::Walls { half_width, .. } => gaps[0] - half_width,
        };
        let mut next = self.starts.clone();
        for (place, &component) in places.iter().zip(&self.base.orders.all[order]) {
            let at = &mut next[usize::from(component)];
            let mut y = place + shift;
            if let Space::Ring { length } = self.space() {
                y -= length * (y / length).round();
            }
            x[*at] = self.unit * y;
            *at += 1;
        }
        if let Space::Ring { .. } = self.space() {
            self.sector.sort(x);
        }
    }

    /// One configuration from uniforms.
    fn draw(&self, uniforms: &[f64], work: &mut Scratch, x: &mut [f64]) {
        let total = self.cumulative[self.cumulative.len() - 1];
        let wanted = uniforms[0] * total;
        let orders = self.base.orders.all.len();
        let order = self.cumulative[1..orders].partition_point(|c| *c <= wanted);
        let (low, high) = (self.cumulative[order], self.cumulative[order + 1]);
        let axes = self.axes();
        let mut u = uniforms[..axes].to_vec();
        u[0] = ((wanted - low) / (high - low)).clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON / 2.0);
        let mut coordinates = vec![0.0; axes];
        let cell = self.base.orders.links[order].cell;
        self.samplers[cell].draw(
            &self.base.cells[cell],
            &self.base.coefficients[cell],
            &u,
            &mut coordinates,
            work,
        );
        self.place(order, &coordinates, uniforms.get(axes).copied().unwrap_or(0.5), x);
    }
}

impl Flow for SectorBase {
    type Trace<T: Scalar> = Trace<T>;
    type Block = ();

    fn forward<T: Scalar>(&self, x: &[T], _reverse: bool, trace: &mut Trace<T>) -> (T, f64) {
        trace.at.clear();
        trace.at.extend(x.iter().map(|x| x.value()));
        let nothing = (T::constant(f64::NEG_INFINITY), 1.0);
        if let Space::Walls { half_width, .. } = self.space()
            && trace.at.iter().any(|x| x.abs() >= *half_width)
        {
            return nothing;
        }
        let Some(found) = self.order(|i| x[i].value(), trace) else { return nothing };
        let ordered: Vec<T> = trace.index.iter().map(|&i| x[i]).collect();
        let gaps = self.gaps(&ordered, found);
        let cell = self.base.orders.links[found.0].cell;
        let of = &self.base.cells[cell];
        let sum = of.sum(&self.base.coefficients[cell], &gaps, &mut trace.tables);
        let mut log = sum.abs().ln() + of.log_factor(&gaps);
        let weight = self.base.weights[found.0];
        if let Space::Trap { .. } = self.space() {
            let n = ordered.len() as f64;
            let mut centre = T::zero();
            ordered.iter().for_each(|x| centre += *x);
            centre *= (n * self.unit).recip();
            log += centre * centre * (-0.5 * n);
        }
        (log + (self.log_norm + weight.abs().ln()), sum.value().signum())
    }

    fn backward<T: Scalar>(&self, _trace: &mut Trace<T>, parameters_bar: &mut [T]) {
        parameters_bar.fill(T::zero());
    }

    fn sample(&self, uniforms: &[f64], _tabulated: bool, trace: &mut Trace<f64>, x: &mut [f64]) {
        let n = self.components.len();
        for (x, u) in x.chunks_exact_mut(n).zip(uniforms.chunks_exact(n)) {
            self.draw(u, &mut trace.work, x);
        }
    }

    /// There is no map: what has to undo itself is the sampler.
    fn pull_back(&self, trace: &mut Trace<f64>, x: &mut [f64]) {
        let at = std::mem::take(&mut trace.at);
        x.copy_from_slice(&at);
        let Some(found) = self.order(|i| at[i], trace) else { return };
        let ordered: Vec<f64> = trace.index.iter().map(|&i| at[i]).collect();
        let gaps = self.gaps(&ordered, found);
        let cell = self.base.orders.links[found.0].cell;
        let of = &self.base.cells[cell];
        let axes = self.axes();
        let mut coordinates = gaps[..axes].to_vec();
        if let Some(length) = of.length {
            let mut rest = length;
            for c in &mut coordinates {
                let gap = *c;
                *c = (gap / rest).clamp(0.0, 1.0);
                rest -= gap;
            }
        }
        let mut u = vec![0.0; axes];
        let (sampler, c) = (&self.samplers[cell], &self.base.coefficients[cell]);
        sampler.undraw(of, c, &coordinates, &mut u, &mut trace.work);
        sampler.draw(of, c, &u, &mut coordinates, &mut trace.work);
        // The coordinates again, with the centre of mass or the first particle where it was.
        let before = at;
        self.place(found.0, &coordinates, 0.5, x);
        match self.space() {
            Space::Walls { .. } => {}
            Space::Trap { .. } => {
                let shift = (before.iter().sum::<f64>() - x.iter().sum::<f64>()) / x.len() as f64;
                x.iter_mut().for_each(|x| *x += shift);
            }
            Space::Ring { length } => {
                // It was put at zero.
                let start = ordered[found.1];
                x.iter_mut().for_each(|x| {
                    *x += start;
                    *x -= length * (*x / length).round();
                });
                self.sector.sort(x);
            }
        }
        trace.at = before;
    }

    fn slopes<const N: usize>(
        &self,
        _x: &[f64],
        _plain: &mut Trace<f64>,
        _jets: &mut Trace<Jet<N>>,
    ) -> Slopes {
        Slopes { forward: 1.0, inverse: 1.0 }
    }
}

impl Wavefunction for SectorBase {
    fn sector(&self) -> Sector {
        self.sector
    }

    no_parameters!();

    fn interval(&self, geometry: &Geometry) -> (f64, f64) {
        match geometry {
            Geometry::Line => {
                // Beyond the turning point of the highest level, by what leaves 1e-24 of the density.
                let n = self.components.len() as f64;
                let end = self.unit * ((2.0 * n).sqrt() + 6.0);
                (-end, end)
            }
            finite => finite.interval(),
        }
    }

    fn uniforms(&self) -> usize {
        self.components.len()
    }

    fn contact_density(&self) -> f64 {
        self.contact
    }

    fn quotient(&self) -> Option<RayleighQuotient> {
        Some(self.quotient)
    }

    fn order_probabilities(&self) -> Vec<(Vec<u8>, f64)> {
        let all = self.base.orders.all.iter().cloned();
        let total = self.cumulative[self.cumulative.len() - 1];
        all.zip(self.base.probabilities().into_iter().map(|p| p / total)).collect()
    }

    fn evaluator_for(&self, _configurations: usize) -> Box<dyn Evaluator + '_> {
        with_jet_width!(self.components.len(), N => Box::new(FlowEvaluator::<_, N>::new(self, false)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::health::density_drift;
    use crate::system::{External, Hamiltonian, Interaction};
    use crate::wavefunction::WavefunctionSettings;
    use crate::wavefunction::testing::samples;

    fn built(
        external: External,
        geometry: Geometry,
        (up, down): (usize, usize),
        strength: f64,
        functions: usize,
    ) -> (Box<dyn Wavefunction>, Hamiltonian) {
        let interaction = Interaction::Contact { strength };
        let hamiltonian = Hamiltonian { title: String::new(), external, interaction };
        let settings = SectorBaseSettings { functions: Some(functions) };
        let settings = WavefunctionSettings::SectorBase(settings);
        let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
        (settings.build(Sector::new(up, down), system, 0).unwrap(), hamiltonian)
    }

    fn local_energy(psi: &dyn Wavefunction, h: &Hamiltonian, g: &Geometry, x: &[f64]) -> f64 {
        let mut gradient = vec![0.0; x.len()];
        psi.evaluator().kinetic_energy(x, &mut gradient) + h.potential(g, x)
    }

    /// Every sampler has the density of its state, and undoes itself; norm and kinetic energy are those of the state.
    #[test]
    fn samples_follow_the_square_of_psi() {
        let trap = || External::Harmonic { frequency: 2.5 };
        for (external, geometry, sector, functions) in [
            (trap(), Geometry::Line, (1, 1), 10),
            (trap(), Geometry::Line, (1, 2), 7),
            (trap(), Geometry::Line, (2, 2), 4),
            (External::Free, Geometry::Ring { circumference: 5.0 }, (1, 1), 9),
            (External::Free, Geometry::Ring { circumference: 5.0 }, (3, 1), 7),
            (External::Free, Geometry::Box { half_width: 2.0 }, (1, 1), 9),
            (External::Free, Geometry::Box { half_width: 2.0 }, (2, 1), 8),
        ] {
            for strength in [1.5, -0.8, f64::INFINITY] {
                let (psi, h) = built(external.clone(), geometry, sector, strength, functions);
                let drift = density_drift(psi.as_ref(), 3);
                assert!(drift < 1e-8, "{geometry:?} {sector:?} {strength}: {drift:e}");
                let mut evaluator = psi.evaluator();
                for x in samples(psi.as_ref(), 5, 40) {
                    let off = evaluator.round_trip_error(&x);
                    assert!(off < 1e-9, "{geometry:?} {sector:?} {strength}: {off:e}");
                    assert_eq!(evaluator.log_psi(&x).sign, 1.0, "{geometry:?} {x:?}");
                    assert!(local_energy(psi.as_ref(), &h, &geometry, &x).is_finite());
                }
            }
        }
    }

    /// On the way through a meeting of different spins the slope jumps by the coupling and the local energy stays where
    /// it is.
    #[test]
    fn the_cusp_is_exact_and_the_local_energy_bounded() {
        let walls = Geometry::Box { half_width: 3.0 };
        let ring = Geometry::Ring { circumference: 6.0 };
        let trap = || External::Harmonic { frequency: 1.0 };
        for (external, geometry, sector, g, functions, energy, tolerance) in [
            (trap(), Geometry::Line, (2, 1), 1.0, 10, 2.993516343907, 1e-2),
            (trap(), Geometry::Line, (2, 1), -1.0, 10, 1.769209469341, 2e-2),
            (trap(), Geometry::Line, (2, 2), 10.0, 7, 7.171311381028, 0.5),
            (External::Free, walls, (2, 1), 1.0, 11, 1.1455279787028505, 0.1),
            (External::Free, ring, (3, 1), 1.0, 12, 1.5026180435008636, 1e-2),
        ] {
            let (psi, h) = built(external, geometry, sector, g, functions);
            let n = sector.0 + sector.1;
            let mut evaluator = psi.evaluator();
            // The first of spin up meets the first of spin down at -0.3.
            let at = |d: f64| {
                let mut x = vec![-0.3 + 0.5 * d];
                x.extend((1..sector.0).map(|i| 0.2 + 0.8 * i as f64));
                x.push(-0.3 - 0.5 * d);
                x.extend((1..sector.1).map(|i| 0.6 + 0.8 * i as f64));
                x
            };
            let mut slope = |d: f64| {
                let mut gradient = vec![0.0; n];
                let (log, _) = evaluator.derivatives(&at(d), &mut gradient);
                (0.5 * (gradient[0] - gradient[sector.0]), log.log_abs)
            };
            let tiny = 1e-14;
            let ((right, above), (left, below)) = (slope(tiny), slope(-tiny));
            assert!(
                (right - left - g).abs() < 1e-12 * (1.0 + g.abs()) * 5.0,
                "{geometry:?} {g}: {}",
                right - left - g
            );
            assert!((above - below).abs() < 1e-12);
            for k in 0..12 {
                for d in [0.3 * 0.1f64.powi(k), -0.3 * 0.1f64.powi(k)] {
                    let e = local_energy(psi.as_ref(), &h, &geometry, &at(d));
                    assert!((e - energy).abs() < tolerance, "{geometry:?} {g} {d:e}: {e}");
                }
            }
        }
    }

    /// The energy that the state knows is that of an independent quadrature; beside the contact with another interaction, between walls with a potential, and under
    /// exchanged names.
    #[test]
    fn the_energy_is_known_without_samples() {
        let contact = || Interaction::Contact { strength: 1.0 };
        let soft = Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 };
        let trap = || External::Harmonic { frequency: 2.0 };
        let walls = Geometry::Box { half_width: 2.0 };
        for (external, interaction, geometry) in [
            (trap(), contact(), Geometry::Line),
            (trap(), Interaction::Sum(vec![contact(), soft]), Geometry::Line),
            (trap(), contact(), walls),
        ] {
            let hamiltonian = Hamiltonian { title: String::new(), external, interaction };
            let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
            let psi = SectorBase::new(&Default::default(), Sector::new(1, 1), system).unwrap();
            let known = psi.quotient().unwrap();
            let found = crate::estimate::rayleigh_quotient(&psi, system).unwrap();
            let off = (known.energy - found.energy).abs();
            assert!(off < known.energy_error + found.energy_error + 1e-9, "{known:?} {found:?}");
        }
        let (psi, h) = built(trap(), Geometry::Line, (1, 2), 1.0, 7);
        let system = System { hamiltonian: &h, geometry: &Geometry::Line };
        let known = crate::estimate::rayleigh_quotient(psi.as_ref(), system).unwrap();
        let all = samples(psi.as_ref(), 1, 400);
        let energies = all.iter().map(|x| local_energy(psi.as_ref(), &h, &Geometry::Line, x));
        let mean = energies.sum::<f64>() / all.len() as f64;
        assert!((mean - known.energy).abs() < 1e-3, "{mean} {known:?}");
    }

    /// Without the cusp the mean local energy would be that without interaction; with it, it is the energy.
    #[test]
    fn mean_local_energies_hold_the_contact() {
        let (psi, h) =
            built(External::Harmonic { frequency: 1.0 }, Geometry::Line, (2, 1), 1.0, 10);
        let all = samples(psi.as_ref(), 1, 400);
        let energies = all.iter().map(|x| local_energy(psi.as_ref(), &h, &Geometry::Line, x));
        let mean = energies.sum::<f64>() / all.len() as f64;
        assert!((mean - 2.993516343907).abs() < 1e-4, "{mean}");
        assert!((psi.contact_density() - 0.4014787855).abs() < 1e-6, "{}", psi.contact_density());
        // Twice as narrow a trap: densities of contact scale like an inverse length.
        let (narrow, _) =
            built(External::Harmonic { frequency: 4.0 }, Geometry::Line, (2, 1), 2.0, 10);
        assert!((narrow.contact_density() - 2.0 * psi.contact_density()).abs() < 1e-9);
    }
}
