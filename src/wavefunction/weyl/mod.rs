//! The Weyl flow: an equivariant flow over determinants, smooth across every mirror.
//!
//! The map `T` of the box angles `theta = pi (x + L) / 2L` commutes with permutations of equal spins and with
//! reflections at the walls (the affine Weyl group of type C), so `psi = psi_0(T) sqrt(det DT)` continues as a
//! smooth odd function wherever two equal spins or a particle and a wall meet, its local energy is
//! bounded, and `T = 1` reproduces the base state exactly. The layers are bijections for all parameters.

pub mod displacement;
pub mod mean_field;
pub mod monotone;
mod newton;
pub mod pair;
pub mod two_body;

use super::coordinate::mean_field_log_slope;
use super::{
    Evaluator, LogPsi, MOST_PARTICLES, Wavefunction, WavefunctionError, kinetic_from_jet,
    with_jet_width,
};
use crate::math::scalar::{Jet, Scalar};
use crate::math::spline::CircularSpline;
use crate::system::System;
use crate::system::{Geometry, Sector};
pub use mean_field::Orbitals;
use mean_field::{MeanField, MeanFieldTrace};
use monotone::{MonotoneLayer, MonotoneTrace};
use pair::{PairLayer, PairSpace, PairTrace};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;
use two_body::{TwoBodyLayer, TwoBodyTrace};

/// Settings of the Weyl flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WeylSettings {
    /// Orbitals of the determinants.
    pub orbitals: Orbitals,
    /// The layers, from the physical angles to the base.
    pub layers: Vec<LayerKind>,
    /// Cells of the splines of [`LayerKind::Monotone`].
    pub monotone_cells: usize,
    /// Cells of the splines of [`LayerKind::Pair`] and [`LayerKind::PairInverse`].
    pub pair_cells: usize,
    /// Cells of the mean-field coordinate.
    pub coordinate_cells: usize,
    /// The mean-field coordinate follows the density to this power: below one, the tails get more room.
    pub coordinate_power: f64,
    /// Cosines per coordinate of [`LayerKind::TwoBody`].
    pub two_body_functions: usize,
    /// Smallest slope of a trainable monotone layer, by construction.
    pub slope_floor: f64,
    /// Share of the bounds on pair and two-body layers that is used; below 1 they are bijections.
    pub bound_share: f64,
}

/// One layer of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayerKind {
    /// S: a trainable monotone map of every coordinate.
    Monotone,
    /// P: a pair displacement from configurations to the base. Stretches distances freely.
    Pair,
    /// P in the other direction: a pair displacement from the base to configurations. Contracts distances
    /// freely, and so digs correlation holes of any depth.
    PairInverse,
    /// s0: the fixed map to the cumulative mean-field density, where knots are spread as the particles are.
    ToMeanField,
    /// The inverse of s0.
    FromMeanField,
    /// F: a general two-body displacement field.
    TwoBody,
}

impl Default for WeylSettings {
    fn default() -> Self {
        use LayerKind::*;
        WeylSettings {
            orbitals: Orbitals::HartreeFock,
            layers: vec![
                Pair,
                PairInverse,
                Monotone,
                ToMeanField,
                Pair,
                PairInverse,
                Monotone,
                TwoBody,
                FromMeanField,
            ],
            monotone_cells: 48,
            pair_cells: 64,
            coordinate_cells: 96,
            coordinate_power: 0.5,
            two_body_functions: 8,
            slope_floor: 1e-3,
            bound_share: 0.98,
        }
    }
}

/// How far the logarithm of the slope of the mean-field coordinate falls below its maximum: the tails beyond
/// keep enough digits for the inverse.
const COORDINATE_RANGE: f64 = 12.0;

/// The equivariant flow wavefunction in a box.
#[derive(Clone, Debug)]
pub struct Weyl {
    sector: Sector,
    half_width: f64,
    layers: Vec<Layer>,
    base: MeanField,
    /// Where each layer's parameters begin, and their number at the end.
    offsets: Vec<usize>,
    parameters: Vec<f64>,
}

#[derive(Clone, Debug)]
enum Layer {
    Monotone(MonotoneLayer),
    Pair(PairLayer),
    TwoBody(TwoBodyLayer),
}

/// Intermediate values of one layer; each kind uses its own part.
#[derive(Clone, Debug, Default)]
struct LayerTrace<T> {
    monotone: MonotoneTrace<T>,
    pair: PairTrace<T>,
    two_body: TwoBodyTrace<T>,
}

impl Layer {
    fn parameters(&self) -> usize {
        match self {
            Layer::Monotone(l) => l.groups().iter().sum(),
            Layer::Pair(l) => l.parameters(),
            Layer::TwoBody(l) => l.groups().iter().sum(),
        }
    }

    fn set_parameters(&mut self, parameters: &[f64]) {
        match self {
            Layer::Monotone(l) => l.set_parameters(parameters),
            Layer::Pair(l) => l.set_parameters(parameters),
            Layer::TwoBody(l) => l.set_parameters(parameters),
        }
    }

    /// Linear forms of the layer's parameters whose squares measure roughness.
    fn roughness(&self) -> Vec<Vec<(usize, f64)>> {
        match self {
            Layer::Monotone(l) => logits_roughness(&l.groups()),
            Layer::Pair(l) => l.roughness(),
            Layer::TwoBody(l) => l.roughness(),
        }
    }

    fn forward<T: Scalar>(&self, angles: &mut [T], trace: &mut LayerTrace<T>) -> T {
        match self {
            Layer::Monotone(l) => l.forward(angles, &mut trace.monotone),
            Layer::Pair(l) => l.forward(angles, &mut trace.pair),
            Layer::TwoBody(l) => l.forward(angles, &mut trace.two_body),
        }
    }

    fn backward<T: Scalar>(&self, bar: &mut [T], trace: &mut LayerTrace<T>, out: &mut [T]) {
        // psi carries the square root of the determinant.
        const LOG_DET_BAR: f64 = 0.5;
        match self {
            Layer::Monotone(l) => l.backward(bar, LOG_DET_BAR, &mut trace.monotone, out),
            Layer::Pair(l) => l.backward(bar, LOG_DET_BAR, &mut trace.pair, out),
            Layer::TwoBody(l) => l.backward(bar, LOG_DET_BAR, &mut trace.two_body, out),
        }
    }

    fn inverse(&self, angles: &mut [f64], trace: &mut LayerTrace<f64>) {
        match self {
            Layer::Monotone(l) => l.inverse(angles),
            Layer::Pair(l) => l.inverse(angles, &mut trace.pair),
            Layer::TwoBody(l) => l.inverse(angles, &mut trace.two_body),
        }
    }
}

/// Second differences of neighbouring logits, which continue evenly about both ends.
fn logits_roughness(groups: &[usize]) -> Vec<Vec<(usize, f64)>> {
    let mut forms = Vec::new();
    let mut start = 0;
    for &size in groups {
        let last = start + size - 1;
        forms.push(vec![(start, -2.0), (start + 1, 2.0)]);
        forms.extend((start + 1..last).map(|k| vec![(k - 1, 1.0), (k, -2.0), (k + 1, 1.0)]));
        forms.push(vec![(last, -2.0), (last - 1, 2.0)]);
        start += size;
    }
    forms
}

/// Intermediate values of one evaluation.
#[derive(Clone, Debug, Default)]
struct Trace<T> {
    angles: Vec<T>,
    bar: Vec<T>,
    layers: Vec<LayerTrace<T>>,
    base: MeanFieldTrace<T>,
}

impl Weyl {
    /// The base state of the system: every layer starts as the identity.
    ///
    /// # Errors
    /// See [`WavefunctionError`].
    pub fn new(
        settings: &WeylSettings,
        sector: Sector,
        system: System,
    ) -> Result<Self, WavefunctionError> {
        let &Geometry::Box { half_width } = system.geometry else {
            return Err(WavefunctionError::Geometry {
                wavefunction: "Weyl",
                needs: "a Box",
                found: format!("{:?}", system.geometry),
            });
        };
        let n = sector.particles();
        if n == 0 || n > MOST_PARTICLES {
            return Err(WavefunctionError::Particles { most: MOST_PARTICLES, found: n });
        }
        let base = MeanField::new(settings.orbitals, sector, system)?;
        let monotone = CircularSpline::identity(settings.monotone_cells, settings.slope_floor)?;
        let coordinates = sector
            .spins()
            .enumerate()
            .map(|(spin, range)| coordinate(&base, spin, range.len(), settings.coordinate_cells, settings.coordinate_power))
            .collect::<Result<Vec<_>, _>>()?;
        let share = settings.bound_share;
        let physical = PairSpace::between_walls(base.extent());
        // In the mean-field coordinate the particles fill the box.
        let mut space = physical;
        let mut layers = Vec::new();
        for kind in &settings.layers {
            layers.push(match kind {
                LayerKind::Monotone => {
                    Layer::Monotone(MonotoneLayer::trainable(sector, monotone.clone()))
                }
                LayerKind::Pair | LayerKind::PairInverse => {
                    let inverted = *kind == LayerKind::PairInverse;
                    let cells = settings.pair_cells;
                    Layer::Pair(PairLayer::new(sector, cells, space, share, inverted)?)
                }
                LayerKind::ToMeanField => {
                    space = PairSpace::Walls;
                    Layer::Monotone(MonotoneLayer::fixed(sector, coordinates.clone(), false))
                }
                LayerKind::FromMeanField => {
                    space = physical;
                    Layer::Monotone(MonotoneLayer::fixed(sector, coordinates.clone(), true))
                }
                LayerKind::TwoBody => {
                    Layer::TwoBody(TwoBodyLayer::new(sector, settings.two_body_functions, share))
                }
            });
        }
        let mut offsets = vec![0];
        for layer in &layers {
            offsets.push(offsets[offsets.len() - 1] + layer.parameters());
        }
        let parameters = vec![0.0; offsets[layers.len()]];
        Ok(Weyl { sector, half_width, layers, base, offsets, parameters })
    }

    /// `d theta / d x`.
    fn scale(&self) -> f64 {
        PI / (2.0 * self.half_width)
    }

    /// `log |psi|` and sign; `reverse` says whether [`Self::backward`] follows.
    fn forward<T: Scalar>(&self, x: &[T], reverse: bool, trace: &mut Trace<T>) -> (T, f64) {
        let scale = self.scale();
        trace.layers.resize_with(self.layers.len(), LayerTrace::default);
        trace.angles.clear();
        trace.angles.extend(x.iter().map(|&x| (x + self.half_width) * scale));
        let mut log_det = T::constant(x.len() as f64 * scale.ln());
        for (layer, t) in self.layers.iter().zip(&mut trace.layers) {
            log_det += layer.forward(&mut trace.angles, t);
        }
        let (log, sign) = self.base.forward(&trace.angles, reverse, &mut trace.base);
        (log + log_det * 0.5, sign)
    }

    /// Derivatives of `log |psi|` with respect to the parameters, after [`Self::forward`] with `reverse`.
    fn backward<T: Scalar>(&self, trace: &mut Trace<T>, parameters_bar: &mut [T]) {
        parameters_bar.fill(T::zero());
        trace.bar.resize(trace.angles.len(), T::zero());
        self.base.backward(&mut trace.bar, &mut trace.base);
        for (l, layer) in self.layers.iter().enumerate().rev() {
            let out = &mut parameters_bar[self.offsets[l]..self.offsets[l + 1]];
            layer.backward(&mut trace.bar, &mut trace.layers[l], out);
        }
    }

    /// Angles below the base to configurations.
    fn inverse(&self, trace: &mut Trace<f64>, x: &mut [f64]) {
        trace.layers.resize_with(self.layers.len(), LayerTrace::default);
        for (layer, t) in self.layers.iter().zip(&mut trace.layers).rev() {
            layer.inverse(&mut trace.angles, t);
        }
        let scale = self.scale();
        for (x, angle) in x.iter_mut().zip(&trace.angles) {
            *x = angle / scale - self.half_width;
        }
    }
}

/// The map of one spin's angles to those of free fermions with the same cumulative density.
fn coordinate(
    base: &MeanField,
    spin: usize,
    n: usize,
    cells: usize,
    power: f64,
) -> Result<CircularSpline, WavefunctionError> {
    let mut spline = CircularSpline::identity(cells, 0.0)?;
    let log_slope = mean_field_log_slope(n, COORDINATE_RANGE, |s: &[f64]| {
        s.iter().map(|s| base.density(spin, PI * s).powf(power)).collect()
    });
    let logits: Vec<f64> =
        (0..spline.weights()).map(|j| log_slope(spline.centre(j) / PI)).collect();
    spline.set_logits(&logits);
    Ok(spline)
}

impl Wavefunction for Weyl {
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
        for (l, layer) in self.layers.iter_mut().enumerate() {
            layer.set_parameters(&values[self.offsets[l]..self.offsets[l + 1]]);
        }
        Ok(())
    }

    fn roughness(&self) -> Vec<Vec<(usize, f64)>> {
        let moved = |(layer, &offset): (&Layer, &usize)| {
            let mut forms = layer.roughness();
            forms.iter_mut().flatten().for_each(|(k, _)| *k += offset);
            forms
        };
        self.layers.iter().zip(&self.offsets).flat_map(moved).collect()
    }

    fn uniforms(&self) -> usize {
        self.sector.particles()
    }

    fn evaluator(&self) -> Box<dyn Evaluator + '_> {
        with_jet_width!(self.sector.particles(), N => Box::new(WeylEvaluator::<N> {
            flow: self,
            plain: Trace::default(),
            jets: Trace::default(),
            jet_gradient: Vec::new(),
        }))
    }
}

/// Evaluates a [`Weyl`] of at most `N` particles.
struct WeylEvaluator<'a, const N: usize> {
    flow: &'a Weyl,
    plain: Trace<f64>,
    jets: Trace<Jet<N>>,
    jet_gradient: Vec<Jet<N>>,
}

impl<const N: usize> WeylEvaluator<'_, N> {
    fn jets(x: &[f64]) -> Vec<Jet<N>> {
        x.iter().enumerate().map(|(i, &v)| Jet::variable(v, i)).collect()
    }
}

impl<const N: usize> Evaluator for WeylEvaluator<'_, N> {
    fn sample(&mut self, uniforms: &[f64], x: &mut [f64]) {
        let trace = &mut self.plain;
        trace.angles.resize(x.len(), 0.0);
        self.flow.base.sample(uniforms, &mut trace.angles);
        self.flow.inverse(trace, x);
    }

    fn log_psi(&mut self, x: &[f64]) -> LogPsi {
        let (log_abs, sign) = self.flow.forward(x, false, &mut self.plain);
        LogPsi { log_abs, sign }
    }

    fn derivatives(&mut self, x: &[f64], gradient: &mut [f64]) -> (LogPsi, f64) {
        let (log, sign) = self.flow.forward(&Self::jets(x), false, &mut self.jets);
        gradient.copy_from_slice(&log.gradient[..x.len()]);
        (LogPsi { log_abs: log.value, sign }, log.laplacian)
    }

    fn parameter_gradient(&mut self, x: &[f64], out: &mut [f64]) -> LogPsi {
        let (log_abs, sign) = self.flow.forward(x, true, &mut self.plain);
        self.flow.backward(&mut self.plain, out);
        LogPsi { log_abs, sign }
    }

    fn kinetic_parameter_gradient(
        &mut self,
        x: &[f64],
        out: &mut [f64],
        kinetic: &mut [f64],
    ) -> f64 {
        let (log, _) = self.flow.forward(&Self::jets(x), true, &mut self.jets);
        let mut jets = std::mem::take(&mut self.jet_gradient);
        jets.resize(out.len(), Jet::zero());
        self.flow.backward(&mut self.jets, &mut jets);
        for ((o, k), jet) in out.iter_mut().zip(kinetic).zip(&jets) {
            *o = jet.value;
            *k = -0.5 * jet.laplacian - log.gradient_dot(jet);
        }
        self.jet_gradient = jets;
        kinetic_from_jet(&log)
    }

    fn round_trip_error(&mut self, x: &[f64]) -> f64 {
        self.flow.forward(x, false, &mut self.plain);
        let mut back = vec![0.0; x.len()];
        self.flow.inverse(&mut self.plain, &mut back);
        back.iter().zip(x).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests;
