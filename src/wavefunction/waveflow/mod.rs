//! Waveflow: an autoregressive spline flow over an O-spline prior.
//!
//! L. Thiede, C. Sun, A. Aspuru-Guzik, "Waveflow: boundary-conditioned normalizing flows applied to
//! fermionic wavefunctions", arXiv:2211.14839. Known limit: for three and more equal spins the local energy
//! keeps an integrable `1/d` term where two of them meet, so its variance is finite but not zero at the
//! optimum.

pub mod chart;
pub mod conditioner;
mod lanes;
pub mod layer;
pub mod prior;

use super::flow::{Flow, FlowEvaluator, variables};
use super::{Evaluator, Wavefunction, WavefunctionError};
use crate::math::scalar::{Jet, Scalar, with_jet_width};
use crate::math::spline::LocalBasis;
use crate::math::spline::{
    BoundaryConditions, MonotoneBasis, OSplineBasis, Orthogonalisation, RationalBasis,
};
use crate::math::vector::lanes::{LANES, each};
use crate::system::System;
use crate::system::sector::MOST_PARTICLES;
use crate::system::{Geometry, Sector};
use crate::tangent::Layout;
use crate::wavefunction::coordinate::{Coordinate, CoordinatePoint};
use crate::wavefunction::journey::ZERO;
use crate::wavefunction::slopes::Slopes;
use crate::work;
pub use chart::Chart;
use chart::Face;
use conditioner::{Activations, Conditioner};
use lanes::Block;
use layer::{LayerTrace, SplineLayer, Splines};
use prior::{OSplinePrior, PriorTrace};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

/// Settings of the Waveflow wavefunction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WaveflowSettings {
    /// The one-dimensional coordinate that the chart starts from.
    pub coordinate: CoordinateKind,
    /// The mean-field coordinate follows the density to this power: below one, tails and what is between wells get more room.
    pub coordinate_power: f64,
    /// The power of what the density is in a deep valley, relative to six tenths of the lower of the maxima about it; shallow ones and tails
    /// are left alone.
    pub valley_power: f64,
    /// How the fundamental domain becomes the unit cube.
    pub chart: Chart,
    /// The monotone maps of the layers.
    pub bijection: Bijection,
    /// Number of autoregressive layers; at most one of rational quadratic splines.
    pub layers: usize,
    /// Degree of the splines: the maps are C^degree. At least 4 for a continuous local energy.
    pub degree: usize,
    /// Number of equidistant knots on [0, 1], both ends included, of the layers' splines.
    pub knots: usize,
    /// Number of equidistant knots of the prior's O-splines.
    pub prior_knots: usize,
    /// Widths of the hidden layers of the conditioner networks.
    pub hidden: Vec<usize>,
    /// Smallest slope of every I-spline, by construction; of rational quadratic ones at the knots and as a mean between them.
    pub slope_floor: f64,
    /// How the prior's B-splines are made orthonormal.
    pub orthogonalisation: Orthogonalisation,
}

/// The one-dimensional coordinate, scaled to [0, 1], that the chart starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum CoordinateKind {
    /// The position in the box: knots are spread evenly over the box.
    Position,
    /// The cumulative Hartree-Fock density: knots are where the particles are.
    #[default]
    MeanField,
}

/// The monotone maps of the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Bijection {
    /// I-splines, as smooth as their degree: local energies are continuous.
    #[default]
    ISpline,
    /// Rational quadratic splines, once differentiable, as in C. Durkan et al., arXiv:1906.04032: `psi` has kinks in its
    /// slope wherever a coordinate passes a knot, and there are no local energies there but in the mean (see
    /// [`Evaluator::kinks`]).
    RationalQuadratic,
}

/// Configurations for which tables of the networks are worth their making, a few hundred evaluations.
const MANY: usize = 1024;

/// Number of splines that carry the mean-field coordinate.
const COORDINATE_KNOTS: usize = 96;

impl Default for WaveflowSettings {
    fn default() -> Self {
        WaveflowSettings {
            coordinate: CoordinateKind::MeanField,
            coordinate_power: 1.0,
            valley_power: 0.3,
            chart: Chart::Gaps,
            bijection: Bijection::ISpline,
            layers: 1,
            degree: 5,
            knots: 8,
            prior_knots: 10,
            hidden: vec![24],
            slope_floor: 1e-3,
            orthogonalisation: Orthogonalisation::Symmetric,
        }
    }
}

impl WaveflowSettings {
    /// Whether the slope of the wavefunction has [kinks](Evaluator::kinks).
    pub fn has_kinks(&self) -> bool {
        self.bijection == Bijection::RationalQuadratic && self.layers > 0
    }

    /// The monotone maps of the layers.
    ///
    /// # Errors
    /// [`WavefunctionError::Spline`] for knots or a degree that make none, [`WavefunctionError::Base`] for kinks behind kinks.
    fn splines(&self) -> Result<Splines, WavefunctionError> {
        match self.bijection {
            Bijection::ISpline => {
                let basis = MonotoneBasis::uniform(self.degree, self.knots, self.slope_floor)?;
                Ok(Splines::ISpline(basis))
            }
            // Behind a layer that is trained the kinks would move with the parameters, and derivatives by these have jumps.
            Bijection::RationalQuadratic if self.layers > 1 => Err(WavefunctionError::Base {
                problem: format!(
                    "RationalQuadratic needs at most one layer, found {}",
                    self.layers
                ),
            }),
            Bijection::RationalQuadratic => {
                let basis = RationalBasis::uniform(self.knots, self.slope_floor)?;
                Ok(Splines::RationalQuadratic(basis))
            }
        }
    }
}

/// The autoregressive flow wavefunction in a box.
#[derive(Clone, Debug)]
pub struct Waveflow {
    sector: Sector,
    half_width: f64,
    /// One per spin that has particles; none for plain positions.
    coordinates: Vec<Coordinate>,
    chart: Chart,
    layers: Vec<SplineLayer>,
    /// Whether the layers' slopes have kinks.
    kinked: bool,
    prior: OSplinePrior,
    /// Where each layer's and the prior's parameters begin.
    offsets: Vec<usize>,
    parameters: Vec<f64>,
}

impl Waveflow {
    /// A flow near the identity over a prior near `sin(pi u)` in each dimension.
    pub fn new(
        settings: &WaveflowSettings,
        sector: Sector,
        system: System,
        seed: u64,
    ) -> Result<Self, WavefunctionError> {
        let &Geometry::Box { half_width } = system.geometry else {
            return Err(WavefunctionError::Geometry {
                wavefunction: "Waveflow",
                needs: "a Box",
                found: format!("{:?}", system.geometry),
            });
        };
        let n = sector.particles();
        if n == 0 || n > MOST_PARTICLES {
            return Err(WavefunctionError::Particles { most: MOST_PARTICLES, found: n });
        }
        let splines = settings.splines()?;
        let layers: Vec<SplineLayer> = (0..settings.layers)
            .map(|_| SplineLayer::new(splines.clone(), n, &settings.hidden))
            .collect();
        // The prior sees the dimensions in reverse order after an even number of layers.
        let mut faces: Vec<Face> =
            sector.spins().flat_map(|spin| settings.chart.faces(spin.len())).collect();
        if settings.layers > 0 && settings.layers.is_multiple_of(2) {
            faces.reverse();
        }
        let cap = settings.degree.saturating_sub(1).max(1);
        let bases = faces
            .iter()
            .map(|face| {
                let zeros = |power: usize| (0..power.min(cap)).map(|d| (d, 0.0)).collect();
                let mut left: Vec<(usize, f64)> = zeros(face.left_power);
                if face.odd_at_left {
                    left.push((2, 0.0));
                }
                OSplineBasis::uniform(
                    settings.degree,
                    settings.prior_knots,
                    &BoundaryConditions { left, right: zeros(face.right_power) },
                    settings.orthogonalisation,
                )
            })
            .collect::<Result<Vec<_>, _>>()?;
        let prior = OSplinePrior::new(bases, &settings.hidden, |i, u| {
            let power = |p: usize| p.min(cap) as i32;
            u.powi(power(faces[i].left_power)) * (1.0 - u).powi(power(faces[i].right_power))
        });
        let coordinates = match settings.coordinate {
            CoordinateKind::Position => Vec::new(),
            CoordinateKind::MeanField => Coordinate::mean_field(
                system.hamiltonian,
                system.geometry,
                sector,
                settings.degree,
                COORDINATE_KNOTS,
                settings.coordinate_power,
                settings.valley_power,
            )?,
        };
        let mut offsets = vec![0];
        for c in layers.iter().map(SplineLayer::conditioner).chain([prior.conditioner()]) {
            offsets.push(offsets[offsets.len() - 1] + c.parameters());
        }
        let mut parameters = vec![0.0; offsets[offsets.len() - 1]];
        let mut rng = Pcg64::seed_from_u64(seed);
        for (l, layer) in layers.iter().enumerate() {
            let slice = &mut parameters[offsets[l]..offsets[l + 1]];
            layer.conditioner().initialise(&mut rng, 1e-2, slice);
        }
        let slice = &mut parameters[offsets[layers.len()]..];
        prior.conditioner().initialise(&mut rng, 1e-3, slice);
        let mut flow = Waveflow {
            sector,
            half_width,
            coordinates,
            chart: settings.chart,
            layers,
            kinked: settings.has_kinks(),
            prior,
            offsets,
            parameters,
        };
        flow.hand_out_parameters();
        Ok(flow)
    }

    /// Gives every network its part of the parameters.
    fn hand_out_parameters(&mut self) {
        let count = self.layers.len();
        let part = |l: usize| &self.parameters[self.offsets[l]..self.offsets[l + 1]];
        for (l, layer) in self.layers.iter_mut().enumerate() {
            layer.set_parameters(part(l));
        }
        self.prior.set_parameters(part(count));
    }

    fn layer_parameters(&self, l: usize) -> &[f64] {
        &self.parameters[self.offsets[l]..self.offsets[l + 1]]
    }

    /// Configurations to the cube, by the mean-field coordinate and the chart: what no training changes. Returns
    /// the log-determinant.
    fn to_cube<T: Scalar>(&self, x: &[T], trace: &mut Trace<T>) -> T {
        trace.left.clear();
        trace.right.clear();
        let mut log_det = T::constant(x.len() as f64 * (0.5 / self.half_width).ln());
        for (k, spin) in self.sector.spins().enumerate() {
            for &x in &x[spin] {
                let (left, right) = (self.in_box(x), self.in_box(-x));
                let point = match self.coordinates.get(k) {
                    Some(coordinate) => coordinate.forward(left, &mut trace.local),
                    None => CoordinatePoint { left, right, slope: T::one() },
                };
                log_det += trace.take(point);
            }
        }
        self.through_charts(trace, &mut log_det);
        log_det
    }

    /// The place in the box, from 0 to 1.
    fn in_box<T: Scalar>(&self, x: T) -> T {
        (x + self.half_width) * (0.5 / self.half_width)
    }

    /// [`Self::to_cube`] of as many configurations as the block is for, with derivatives.
    fn block_to_cube<const N: usize>(
        &self,
        x: &[f64],
        jets: &mut Trace<Jet<N>>,
        block: &mut Block,
    ) {
        let n = self.sector.particles();
        let last = x.len() / n - 1;
        if !self.coordinates.is_empty() {
            work::splines(x.len());
        }
        block.places.clear();
        for (k, spin) in self.sector.spins().enumerate() {
            for i in spin {
                let position = |s: usize| x[s.min(last) * n + i];
                let left = each(|s| self.in_box(position(s)));
                block.places.push(match self.coordinates.get(k) {
                    Some(coordinate) => coordinate.forward_lanes(&left, &mut block.local),
                    None => {
                        let right = each(|s| self.in_box(-position(s)));
                        let slope = |slope: f64| [slope; LANES];
                        [[left, slope(1.0), ZERO, ZERO], [right, slope(-1.0), ZERO, ZERO]]
                    }
                });
            }
        }
        for (s, x) in x.chunks_exact(n).enumerate() {
            jets.left.clear();
            jets.right.clear();
            // Constants have no derivatives.
            let mut log_det = Jet::zero();
            for (i, (&x, place)) in x.iter().zip(&block.places).enumerate() {
                let of = |side: usize| std::array::from_fn(|d| place[side][d][s]);
                let place = self.in_box(Jet::variable(x, i));
                log_det += jets.take(CoordinatePoint::new(place, &of(0), &of(1)));
            }
            self.through_charts(jets, &mut log_det);
            block.set(s, &jets.u, log_det * 0.5);
        }
    }

    /// From the mean-field coordinate to the cube; adds to the log-determinant.
    fn through_charts<T: Scalar>(&self, trace: &mut Trace<T>, log_det: &mut T) {
        trace.u.resize(trace.left.len(), T::zero());
        for spin in self.sector.spins() {
            *log_det += self.chart.forward(
                &trace.left[spin.clone()],
                &trace.right[spin.clone()],
                &mut trace.u[spin],
            );
        }
    }

    /// The cube onto itself, by the trainable layers; adds to the log-determinant. `known` is of the same configuration.
    fn through_layers<T: Scalar, U: Scalar>(
        &self,
        reverse: bool,
        known: Option<&Trace<U>>,
        trace: &mut Trace<T>,
        log_det: &mut T,
    ) {
        trace.layers.resize_with(self.layers.len(), LayerTrace::default);
        for (l, layer) in self.layers.iter().enumerate() {
            if l > 0 {
                trace.u.reverse();
            }
            let parameters = self.layer_parameters(l);
            let known = known.map(|k| &k.layers[l].activations);
            let (u, trace) = (&mut trace.u, &mut trace.layers[l]);
            *log_det += layer.forward(parameters, u, reverse, known, trace);
        }
    }
}

impl Waveflow {
    /// The reverse sweep down to the units of the networks.
    fn adjoints<T: Scalar>(&self, trace: &mut Trace<T>) {
        trace.bar.resize(trace.u.len(), T::zero());
        let prior = self.layer_parameters(self.layers.len());
        self.prior.adjoints(prior, &mut trace.bar, &mut trace.prior);
        for (l, layer) in self.layers.iter().enumerate().rev() {
            let parameters = self.layer_parameters(l);
            layer.adjoints(parameters, &mut trace.bar, 0.5, &mut trace.layers[l]);
            if l > 0 {
                trace.bar.reverse();
            }
        }
    }

    /// From images in the cube of the prior to configurations; `tabulated` is as in [`Conditioner::advance`].
    fn undo(&self, tabulated: bool, trace: &mut Trace<f64>, x: &mut [f64]) {
        let n = self.sector.particles();
        for (l, layer) in self.layers.iter().enumerate().rev() {
            layer.inverse(&mut trace.u, tabulated, &mut trace.layers[l]);
            if l > 0 {
                trace.u.chunks_exact_mut(n).for_each(<[f64]>::reverse);
            }
        }
        for (u, x) in trace.u.chunks_exact(n).zip(x.chunks_exact_mut(n)) {
            for spin in self.sector.spins() {
                self.chart.inverse(&u[spin.clone()], &mut x[spin]);
            }
            for (coordinate, spin) in self.coordinates.iter().zip(self.sector.spins()) {
                for x in &mut x[spin] {
                    *x = coordinate.inverse(*x, &mut trace.local);
                }
            }
        }
        for x in x.iter_mut() {
            *x = self.half_width * (2.0 * *x - 1.0);
        }
    }

    /// The networks in the order of their parameters, with their activations.
    fn networks<'a, T>(
        &'a self,
        trace: &'a Trace<T>,
    ) -> impl Iterator<Item = (&'a Conditioner, &'a Activations<T>)> {
        let layers = self.layers.iter().zip(&trace.layers);
        let layers = layers.map(|(layer, trace)| (layer.conditioner(), &trace.activations));
        layers.chain([(self.prior.conditioner(), &trace.prior.activations)])
    }
}

impl Flow for Waveflow {
    type Trace<T: Scalar> = Trace<T>;
    type Block = Block;

    fn forward<T: Scalar>(&self, x: &[T], reverse: bool, trace: &mut Trace<T>) -> (T, f64) {
        let mut log_det = self.to_cube(x, trace);
        let mut of_layers = T::zero();
        let own = if self.kinked { &mut of_layers } else { &mut log_det };
        self.through_layers::<T, T>(reverse, None, trace, own);
        if self.kinked {
            trace.kinked = of_layers * 0.5;
            log_det += of_layers;
        }
        let parameters = self.layer_parameters(self.layers.len());
        let known: Option<&Activations<T>> = None;
        let prior = &mut trace.prior;
        let (log, sign) = self.prior.forward(parameters, &trace.u, reverse, known, prior);
        (log + log_det * 0.5, sign)
    }

    fn kinked<'a, T: Scalar>(&self, trace: &'a Trace<T>) -> Option<&'a T> {
        self.kinked.then_some(&trace.kinked)
    }

    fn values<T: Scalar>(&self, _x: &[f64], known: &Trace<T>, trace: &mut Trace<f64>) {
        let cube = known.layers.first().map_or(known.prior.input(), LayerTrace::input);
        trace.u.clear();
        trace.u.extend(cube.iter().map(|u| u.value()));
        self.through_layers(true, Some(known), trace, &mut 0.0);
        let parameters = self.layer_parameters(self.layers.len());
        let networks = Some(&known.prior.activations);
        self.prior.forward(parameters, &trace.u, true, networks, &mut trace.prior);
    }

    fn kinetic_energies<const N: usize>(
        &self,
        x: &[f64],
        jets: &mut Trace<Jet<N>>,
        block: &mut Block,
        tabulated: bool,
        kinetic: &mut [f64],
    ) -> bool {
        // Their layers have no kernel: nothing needs to begin.
        if self.kinked {
            return false;
        }
        let n = self.sector.particles();
        block.clear(n, kinetic.len(), tabulated);
        self.block_to_cube(x, jets, block);
        block.fill();
        for (l, layer) in self.layers.iter().enumerate() {
            if l > 0 {
                block.reverse();
            }
            if !block.through(l, layer) {
                return false;
            }
        }
        block.over(self.layers.len(), &self.prior);
        for (s, kinetic) in kinetic.iter_mut().enumerate() {
            *kinetic = block.kinetic(s);
        }
        true
    }

    fn one_of_block(&self, block: &Block, sample: usize, trace: &mut Trace<f64>) {
        trace.layers.resize_with(self.layers.len(), LayerTrace::default);
        for (l, (layer, trace)) in self.layers.iter().zip(&mut trace.layers).enumerate() {
            let (parameters, known) = (self.layer_parameters(l), block.network(l));
            trace.set_input(known.input().iter().map(|u| u[sample]));
            let act = &mut trace.activations;
            layer.conditioner().one_of_lanes(parameters, sample, known, act);
        }
        let l = self.layers.len();
        let (parameters, known) = (self.layer_parameters(l), block.network(l));
        trace.prior.set_input(known.input().iter().map(|u| u[sample]));
        let act = &mut trace.prior.activations;
        self.prior.conditioner().one_of_lanes(parameters, sample, known, act);
    }

    fn backward<T: Scalar>(&self, trace: &mut Trace<T>, parameters_bar: &mut [T]) {
        self.adjoints(trace);
        parameters_bar.fill(T::zero());
        for (l, (network, act)) in self.networks(trace).enumerate() {
            network.gradient(act, &mut parameters_bar[self.offsets[l]..self.offsets[l + 1]]);
        }
    }

    fn backward_factors(&self, trace: &mut Trace<f64>, factors: &mut [f64]) {
        self.adjoints(trace);
        let mut first = 0;
        for (network, act) in self.networks(trace) {
            let count = network.factors();
            network.write_factors(act, &mut factors[first..first + count]);
            first += count;
        }
    }

    fn sample(&self, uniforms: &[f64], tabulated: bool, trace: &mut Trace<f64>, x: &mut [f64]) {
        trace.u.resize(x.len(), 0.0);
        trace.layers.resize_with(self.layers.len(), LayerTrace::default);
        self.prior.sample(uniforms, tabulated, &mut trace.u, &mut trace.prior);
        self.undo(tabulated, trace, x);
    }

    fn pull_back(&self, trace: &mut Trace<f64>, x: &mut [f64]) {
        self.undo(false, trace, x);
    }

    fn slopes<const N: usize>(
        &self,
        x: &[f64],
        plain: &mut Trace<f64>,
        jets: &mut Trace<Jet<N>>,
    ) -> Slopes {
        self.to_cube(x, plain);
        jets.u = variables(&plain.u);
        self.through_layers::<_, f64>(false, None, jets, &mut Jet::zero());
        Slopes::of(&jets.u, 1.0)
    }
}

/// Intermediate values of one evaluation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace<T> {
    left: Vec<T>,
    right: Vec<T>,
    u: Vec<T>,
    bar: Vec<T>,
    local: LocalBasis,
    layers: Vec<LayerTrace<T>>,
    prior: PriorTrace<T>,
    /// The part of `log |psi|` whose slope has kinks, if any.
    kinked: T,
}

impl<T: Scalar> Trace<T> {
    /// Takes the next particle's place; returns the logarithm of the slope there.
    fn take(&mut self, point: CoordinatePoint<T>) -> T {
        self.left.push(point.left);
        self.right.push(point.right);
        point.slope.ln()
    }
}

impl Wavefunction for Waveflow {
    fn sector(&self) -> Sector {
        self.sector
    }

    fn parameters(&self) -> &[f64] {
        &self.parameters
    }

    fn set_parameters(&mut self, values: &[f64]) -> Result<(), WavefunctionError> {
        if values.len() != self.parameters.len() {
            return Err(WavefunctionError::Parameters {
                expected: self.parameters.len(),
                found: values.len(),
            });
        }
        self.parameters.copy_from_slice(values);
        self.hand_out_parameters();
        Ok(())
    }

    fn tangent_layout(&self) -> Layout {
        let mut layout = Layout { parameters: self.parameters.len(), ..Layout::default() };
        let layers = self.layers.iter().map(SplineLayer::conditioner);
        for (network, &offset) in layers.chain([self.prior.conditioner()]).zip(&self.offsets) {
            network.parts(offset, layout.factors, &mut layout.parts);
            layout.factors += network.factors();
        }
        layout
    }

    fn uniforms(&self) -> usize {
        self.sector.particles()
    }

    fn has_kinks(&self) -> bool {
        self.kinked
    }

    fn without_nodes(&self) -> Option<Box<dyn Wavefunction>> {
        // Networks of zeros leave the product of the functions that the prior starts from.
        let mut start = self.clone();
        start.parameters.fill(0.0);
        start.hand_out_parameters();
        Some(Box::new(start))
    }

    fn evaluator_for(&self, configurations: usize) -> Box<dyn Evaluator + '_> {
        let many = configurations >= MANY;
        with_jet_width!(self.sector.particles(), N => Box::new(FlowEvaluator::<_, N>::new(self, many)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::nested::Nested;
    use crate::system::{External, Hamiltonian, Interaction};
    use crate::wavefunction::testing::samples;

    fn helium() -> Hamiltonian {
        Hamiltonian {
            title: String::new(),
            external: External::Nuclei { charges: vec![2.0], positions: vec![0.0], softening: 1.0 },
            interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 },
        }
    }

    /// A flow with parameters far from the identity.
    fn shaken(chart: Chart, sector: Sector, coordinate: CoordinateKind) -> Waveflow {
        let hamiltonian = helium();
        let geometry = Geometry::Box { half_width: 6.0 };
        let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
        let settings = WaveflowSettings {
            coordinate,
            chart,
            layers: 2,
            knots: 7,
            prior_knots: 8,
            hidden: vec![6, 5],
            ..Default::default()
        };
        let mut flow = Waveflow::new(&settings, sector, system, 5).unwrap();
        let mut rng = Pcg64::seed_from_u64(11);
        use rand::RngExt;
        let moved: Vec<f64> =
            flow.parameters.iter().map(|p| p + 0.4 * rng.random_range(-1.0..1.0)).collect();
        flow.set_parameters(&moved).unwrap();
        flow
    }

    fn cases() -> Vec<Waveflow> {
        let mut all = Vec::new();
        for chart in [Chart::StickBreaking, Chart::Uniform, Chart::Gaps] {
            for (up, down) in [(1, 0), (2, 0), (3, 0), (2, 1)] {
                let kind =
                    if up == 2 { CoordinateKind::Position } else { CoordinateKind::MeanField };
                all.push(shaken(chart, Sector::new(up, down), kind));
            }
        }
        all
    }

    #[test]
    fn forward_laplacian_agrees_with_nested_duals() {
        for flow in cases() {
            for x in samples(&flow, 77, 8) {
                let mut gradient = vec![0.0; x.len()];
                let (log, laplacian) = flow.evaluator().derivatives(&x, &mut gradient);
                let mut exact = (Vec::new(), 0.0);
                for k in 0..x.len() {
                    let seeds: Vec<Nested> =
                        (0..x.len()).map(|i| Nested::seeded(x[i], i == k, i == k)).collect();
                    let (value, sign) = flow.forward(&seeds, false, &mut Trace::default());
                    assert!((value.value() - log.log_abs).abs() < 1e-12 && sign == log.sign);
                    exact.0.push(value.first());
                    exact.1 += value.second();
                }
                let kinetic = |g: &[f64], l: f64| -0.5 * (l + g.iter().map(|g| g * g).sum::<f64>());
                let (a, b) = (kinetic(&gradient, laplacian), kinetic(&exact.0, exact.1));
                let scale = laplacian.abs() + gradient.iter().map(|g| g * g).sum::<f64>();
                assert!((a - b).abs() < 1e-9 * scale.max(1.0), "{a} {b}");
            }
        }
    }

    /// With tables of the networks, that is: whatever the weights, and the same bits wherever a configuration stands.
    #[test]
    fn energies_of_many_are_those_of_few() {
        let more = [(4, 0), (5, 0)].map(|(up, down)| {
            shaken(Chart::Gaps, Sector::new(up, down), CoordinateKind::MeanField)
        });
        let mut tabulated = 0;
        for flow in cases().into_iter().chain(more) {
            let n = flow.sector.particles();
            let x = samples(&flow, 79, 17).concat();
            let (mut few, mut many) = (flow.evaluator(), flow.evaluator_for(MANY));
            let (mut exact, mut found) = ([f64::NAN; 17], [f64::NAN; 17]);
            few.kinetic_energies(&x, &mut exact);
            many.kinetic_energies(&x, &mut found);
            // Only two particles have tables, which round otherwise.
            tabulated += usize::from(found != exact);
            assert!(n == 2 || found == exact);
            let mut gradient = vec![0.0; n];
            for (s, x) in x.chunks_exact(n).enumerate() {
                let (_, laplacian) = few.derivatives(x, &mut gradient);
                let scale = laplacian.abs() + gradient.iter().map(|g| g * g).sum::<f64>() + 1.0;
                let error = (found[s] - exact[s]).abs();
                assert!(error < 1e-11 * scale, "{n} {error:e} {scale}");
                let mut alone = [f64::NAN];
                many.kinetic_energies(x, &mut alone);
                assert_eq!(alone[0].to_bits(), found[s].to_bits());
            }
            // What needs the hidden units has them.
            let size = flow.tangent_layout().factors;
            let mut factors = [vec![f64::NAN; 17 * size], vec![f64::NAN; 17 * size]];
            for (evaluator, factors) in [&mut few, &mut many].into_iter().zip(&mut factors) {
                evaluator.tangents(&x, factors, &mut found);
                assert_eq!(found, exact);
            }
            assert_eq!(factors[0], factors[1]);
        }
        assert!(tabulated > 0);
    }

    /// As [`energies_of_many_are_those_of_few`], for samples.
    #[test]
    fn samples_of_many_are_those_of_few() {
        let more = shaken(Chart::Gaps, Sector::new(4, 0), CoordinateKind::MeanField);
        let mut tabulated = 0;
        for flow in cases().into_iter().chain([more]) {
            let n = flow.sector.particles();
            let uniforms: Vec<f64> =
                (0..17 * n).map(|i| (0.07 + 0.618_033_988_749_894_9 * i as f64).fract()).collect();
            let (mut few, mut many) = (flow.evaluator(), flow.evaluator_for(MANY));
            let [mut exact, mut found] = [(); 2].map(|()| vec![f64::NAN; 17 * n]);
            few.sample(&uniforms, &mut exact);
            many.sample(&uniforms, &mut found);
            if n == 2 {
                tabulated += usize::from(found != exact);
                let mut pairs = found.iter().zip(&exact);
                assert!(pairs.all(|(a, b)| (a - b).abs() < 1e-11), "{found:?} {exact:?}");
            } else {
                assert_eq!(found, exact);
            }
            // The same bits wherever a sample stands.
            let places = uniforms.chunks_exact(n).zip(found.chunks_exact(n));
            for (uniforms, found) in places.rev() {
                let mut alone = vec![f64::NAN; n];
                many.sample(uniforms, &mut alone);
                assert_eq!(alone, found);
            }
        }
        assert!(tabulated > 0);
    }

    #[test]
    fn several_energies_at_once_are_those_of_one_whatever_is_beside_it() {
        let more = [(4, 0), (5, 0)].map(|(up, down)| {
            shaken(Chart::Gaps, Sector::new(up, down), CoordinateKind::MeanField)
        });
        for flow in cases().into_iter().chain(more) {
            let n = flow.sector.particles();
            let x = samples(&flow, 78, 17);
            let mut evaluator = flow.evaluator();
            let mut gradient = vec![0.0; n];
            let mut alone = Vec::new();
            for x in &x {
                let mut one = [f64::NAN];
                evaluator.kinetic_energies(x, &mut one);
                let (_, laplacian) = evaluator.derivatives(x, &mut gradient);
                let square = gradient.iter().map(|g| g * g).sum::<f64>();
                let exact = -0.5 * (laplacian + square);
                let scale = (laplacian.abs() + square).max(1.0);
                assert!((one[0] - exact).abs() < 1e-12 * scale, "{one:?} {exact} {scale}");
                alone.push(one[0]);
            }
            for count in 1..=x.len() {
                // In another order for each, and in an evaluator that has seen others.
                let order = |s: usize| (5 * s + count) % x.len();
                let block: Vec<f64> = (0..count).flat_map(|s| x[order(s)].clone()).collect();
                let mut found = vec![f64::NAN; count];
                evaluator.kinetic_energies(&block, &mut found);
                for (s, found) in found.iter().enumerate() {
                    assert_eq!(*found, alone[order(s)]);
                }
                let size = flow.tangent_layout().factors;
                let mut factors = vec![f64::NAN; count * size];
                let mut again = vec![f64::NAN; count];
                evaluator.tangents(&block, &mut factors, &mut again);
                assert_eq!(again, found);
                let (mut one, mut energy) = (vec![f64::NAN; size], [f64::NAN]);
                for (s, factors) in factors.chunks_exact(size).enumerate() {
                    evaluator.tangents(&x[order(s)], &mut one, &mut energy);
                    assert_eq!(one, factors);
                }
            }
        }
    }

    #[test]
    fn slopes_are_those_of_the_layers_alone() {
        for mut flow in cases() {
            let mut largest = Slopes::NONE;
            for x in samples(&flow, 77, 8) {
                let found = flow.evaluator().slopes(&x);
                largest = largest.max(found);
                let mut plain = Trace::<f64>::default();
                flow.to_cube(&x, &mut plain);
                let start = plain.u.clone();
                let mut log_det = 0.0;
                flow.through_layers::<_, f64>(false, None, &mut plain, &mut log_det);
                // The determinant lies between the powers of the extreme singular values.
                let n = x.len() as f64;
                assert!(log_det <= n * found.forward.ln() + 1e-9, "{log_det} {found:?}");
                assert!(log_det >= -n * found.inverse.ln() - 1e-9, "{log_det} {found:?}");
                // In one dimension all three are the same, and a difference is the slope itself.
                if n == 1.0 {
                    assert!((found.forward * found.inverse - 1.0).abs() < 1e-12);
                    let mut at = |u: f64| {
                        plain.u[0] = u;
                        flow.through_layers::<_, f64>(false, None, &mut plain, &mut 0.0);
                        plain.u[0]
                    };
                    let difference = (at(start[0] + 1e-6) - at(start[0] - 1e-6)) / 2e-6;
                    assert!((difference / found.forward - 1.0).abs() < 1e-6, "{difference}");
                }
            }
            assert!(largest.forward > 1.01 && largest.inverse > 1.01, "{largest:?}");
            // Networks of zeros leave every spline the identity, whatever the chart and the coordinate.
            flow.set_parameters(&vec![0.0; flow.parameters.len()]).unwrap();
            for x in samples(&flow, 77, 8) {
                let Slopes { forward, inverse } = flow.evaluator().slopes(&x);
                assert!((forward - 1.0).abs() < 1e-12 && (inverse - 1.0).abs() < 1e-12);
            }
        }
    }

    /// Best agreement of central differences with `exact` over a ladder of steps, relative to `scale`.
    fn ladder(exact: f64, scale: f64, mut f: impl FnMut(f64) -> f64) -> f64 {
        (1..=7)
            .map(|e| {
                let h = 10f64.powi(-e);
                let difference = (f(h) - f(-h)) / (2.0 * h);
                (difference - exact).abs() / scale.max(exact.abs())
            })
            .fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn derivatives_agree_with_central_differences() {
        for flow in cases() {
            for x in samples(&flow, 77, 3) {
                let n = x.len();
                let mut gradient = vec![0.0; n];
                let (_, laplacian) = flow.evaluator().derivatives(&x, &mut gradient);
                let mut second = 0.0;
                for k in 0..n {
                    let at = |h: f64| {
                        let mut y = x.clone();
                        y[k] += 1e-2 * h;
                        flow.evaluator().log_psi(&y).log_abs
                    };
                    assert!(ladder(gradient[k] * 1e-2, 1e-2, at) < 1e-6);
                    second += {
                        let h = 1e-4;
                        let mut plus = vec![0.0; n];
                        let mut minus = vec![0.0; n];
                        let (mut a, mut b) = (x.clone(), x.clone());
                        a[k] += h;
                        b[k] -= h;
                        flow.evaluator().derivatives(&a, &mut plus);
                        flow.evaluator().derivatives(&b, &mut minus);
                        (plus[k] - minus[k]) / (2.0 * h)
                    };
                }
                let scale = 1.0 + laplacian.abs();
                assert!((second - laplacian).abs() < 1e-3 * scale, "{second} {laplacian}");
            }
        }
    }

    #[test]
    fn factors_make_the_gradient_in_every_sector() {
        use crate::tangent::Tangent;
        for flow in cases() {
            let mut tangent = Tangent::new(flow.tangent_layout());
            let mut exact = Vec::new();
            let mut evaluator = flow.evaluator();
            for x in samples(&flow, 77, 5) {
                let mut factors = vec![f64::NAN; flow.tangent_layout().factors];
                let (log, kinetic) = evaluator.tangent(&x, &mut factors);
                assert_eq!(kinetic, evaluator.kinetic_energy(&x, &mut vec![0.0; x.len()]));
                let (mut several, mut energy) = (vec![f64::NAN; factors.len()], [0.0]);
                evaluator.tangents(&x, &mut several, &mut energy);
                for (a, b) in several.iter().zip(&factors) {
                    assert!((a - b).abs() < 1e-11 * (1.0 + b.abs()), "{a} {b}");
                }
                let mut alone = [0.0];
                evaluator.kinetic_energies(&x, &mut alone);
                assert_eq!(energy, alone);
                tangent.push(&factors);
                let mut o = vec![f64::NAN; flow.parameters.len()];
                let exact_log = evaluator.parameter_gradient(&x, &mut o);
                assert!((exact_log.log_abs - log.log_abs).abs() < 1e-13);
                assert_eq!(exact_log.sign, log.sign);
                exact.extend(o);
            }
            // The same products of the same numbers, but for the rounding of the coordinates.
            for (found, exact) in tangent.dense().iter().zip(&exact) {
                assert!((found - exact).abs() < 1e-11 * (1.0 + exact.abs()));
            }
        }
    }

    #[test]
    fn parameter_gradients_agree_with_central_differences() {
        for mut flow in cases() {
            let start = flow.parameters.clone();
            let count = start.len();
            for x in samples(&flow, 77, 2) {
                flow.set_parameters(&start).unwrap();
                let (mut o, mut again, mut kinetic) =
                    (vec![0.0; count], vec![0.0; count], vec![0.0; count]);
                flow.evaluator().parameter_gradient(&x, &mut o);
                flow.evaluator().kinetic_parameter_gradient(&x, &mut again, &mut kinetic);
                let mut scratch = vec![0.0; x.len()];
                let size = kinetic.iter().fold(1.0f64, |a, b| a.max(b.abs()));
                for k in 0..count {
                    assert!((o[k] - again[k]).abs() < 1e-11 * (1.0 + o[k].abs()));
                    let mut moved = |h: f64, energy: bool| {
                        let mut p = start.clone();
                        p[k] += h;
                        flow.set_parameters(&p).unwrap();
                        let mut e = flow.evaluator();
                        if energy {
                            e.kinetic_energy(&x, &mut scratch)
                        } else {
                            e.log_psi(&x).log_abs
                        }
                    };
                    assert!(ladder(o[k], 1.0, |h| moved(h, false)) < 1e-7, "parameter {k}");
                    assert!(ladder(kinetic[k], size, |h| moved(h, true)) < 1e-6, "parameter {k}");
                }
            }
        }
    }

    /// A grid on which sums are integrals but for the jumps at kinks: points, and the volume of each.
    fn grid(particles: usize, half_width: f64) -> (Vec<Vec<f64>>, f64) {
        let points: usize = if particles == 1 { 160_000 } else { 200 };
        let step = 2.0 * half_width / points as f64;
        let at = |i: usize| -half_width + (i as f64 + 0.5) * step;
        let all = (0..points.pow(particles as u32))
            .map(|k| (0..particles).map(|d| at(k / points.pow(d as u32) % points)).collect());
        (all.collect(), step.powi(particles as i32))
    }

    /// Kinks of rational quadratic splines: local energies have the mean of `|∇ psi|²`, and the force is the derivative of that.
    #[test]
    fn kinks_are_counted_in_the_energy_and_in_its_gradient() {
        use crate::local_energy::{self, Derivatives};
        use crate::optimise::energy_natural_gradient::unclipped_force;
        // Jumps are seen to within the spacing of the grid.
        for (sector, tolerance) in [(Sector::new(1, 0), 2e-4), (Sector::new(1, 1), 2e-2)] {
            let hamiltonian = helium();
            let geometry = Geometry::Box { half_width: 6.0 };
            let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
            let settings = WaveflowSettings {
                bijection: Bijection::RationalQuadratic,
                knots: 7,
                prior_knots: 8,
                hidden: vec![3],
                ..Default::default()
            };
            let mut flow = Waveflow::new(&settings, sector, system, 5).unwrap();
            assert!(flow.has_kinks());
            let start: Vec<f64> = flow
                .parameters
                .iter()
                .enumerate()
                .map(|(k, p)| p + 0.6 * (1.0 + 7.0 * k as f64).sin())
                .collect();
            flow.set_parameters(&start).unwrap();
            let (points, volume) = grid(sector.particles(), 6.0);
            // By the squares of slopes alone, and by local energies.
            let energies = |flow: &Waveflow| {
                let (mut squares, mut local) = (0.0, 0.0);
                let mut evaluator = flow.evaluator();
                let mut gradient = vec![0.0; sector.particles()];
                for x in &points {
                    let (log, laplacian) = evaluator.derivatives(x, &mut gradient);
                    let weight = volume * (2.0 * log.log_abs).exp();
                    let square = gradient.iter().map(|g| g * g).sum::<f64>();
                    squares += 0.5 * weight * square;
                    local -= 0.5 * weight * (laplacian + square);
                }
                (squares, local)
            };
            let (squares, local) = energies(&flow);
            assert!((local / squares - 1.0).abs() < tolerance, "{local} {squares}");
            // Without what stands for the kinks it would be another number.
            let mut evaluator = flow.evaluator();
            let mut kinks = vec![0.0; sector.particles()];
            let mut of_kinks = 0.0;
            for x in &points {
                let mut gradient = kinks.clone();
                let (log, _) = evaluator.derivatives(x, &mut gradient);
                assert!(evaluator.kinks(&mut kinks));
                let product = kinks.iter().zip(&gradient).map(|(k, g)| k * g).sum::<f64>();
                of_kinks += volume * (2.0 * log.log_abs).exp() * product;
            }
            drop(evaluator);
            assert!(of_kinks.abs() > 3.0 * tolerance * squares, "{of_kinks}");

            // The gradient that the optimiser sees, on the grid as a weighted batch, of kinetic energies alone.
            let free = Hamiltonian {
                external: External::Free,
                interaction: Interaction::None,
                ..hamiltonian.clone()
            };
            let free = System { hamiltonian: &free, geometry: &geometry };
            let mut batch = local_energy::at(&flow, free, &points.concat(), Derivatives::Mixed);
            assert_eq!(batch.rejected, 0);
            let mut evaluator = flow.evaluator();
            batch.weight = points
                .iter()
                .map(|x| volume * (2.0 * evaluator.log_psi(x).log_abs).exp())
                .collect();
            drop(evaluator);
            let found = unclipped_force(&batch);
            let size = found.iter().fold(0.0f64, |a, f| a.max(f.abs()));
            for k in (0..start.len()).step_by(7) {
                let mut moved = |h: f64| {
                    let mut p = start.clone();
                    p[k] += h;
                    flow.set_parameters(&p).unwrap();
                    energies(&flow).0
                };
                let exact = 0.5 * (moved(1e-3) - moved(-1e-3)) / 2e-3;
                assert!(
                    (found[k] - exact).abs() < 5.0 * tolerance * size,
                    "{k}: {} {exact}",
                    found[k]
                );
            }
        }
    }
}
