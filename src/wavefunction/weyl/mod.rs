//! The Weyl flow: an equivariant flow over determinants, smooth across every mirror.
//!
//! The map `T` of the angles commutes with permutations of equal spins and with the reflections of the geometry, so
//! `psi = psi_0(T) sqrt(det DT)` continues as a smooth odd function wherever two equal spins or a particle and a wall
//! meet, its local energy is bounded, and `T = 1` reproduces the base state exactly. The layers are bijections for
//! all parameters.
//!
//! - In a box, `theta = pi (x + L) / 2L` in `(0, pi)`; `T` commutes with reflections at the walls (the affine Weyl
//!   group of type C).
//! - On the line, and in a box whose walls are too far out to matter, the angles are those of a computational box, wide
//!   enough for the mean-field density to vanish at its ends; `T` commutes with permutations only (type A). Where `T` leads
//!   out of the box, `psi` is zero.
//! - On a ring, `theta = 2 pi (x - a) / C` with an [`circle::anchor`] `a` that goes with the potential; `T` commutes with turns of one particle by `2 pi` (affine type A), and for odd
//!   numbers per spin so does `psi`. The domain `x_1 < .. < x_n < x_1 + C` is the same for all n cyclic
//!   renumberings; the configuration that stands for them has every coordinate in `[-C/2, C/2]`, sorted.

mod back;
pub mod base;
pub mod circle;
mod coupling;
pub mod displacement;
pub mod ensemble;
mod lanes;
mod layer;
pub mod monotone;
mod newton;
pub mod pair;
pub mod place;
pub mod two_body;

use super::coordinate::mean_field_log_slope;
use super::flow::{Flow, FlowEvaluator, variables};
use super::slopes::Slopes;
use super::{Evaluator, Wavefunction, WavefunctionError};
use crate::math::log_product::LogProduct;
use crate::math::scalar::{Jet, Scalar, with_jet_width};
use crate::math::spline::{CircularSpline, PeriodicSpline};
use crate::math::vector::lanes::{LANES, Lanes};
use crate::system::sector::MOST_PARTICLES;
use crate::system::{External, Frame, Geometry, Sector, System};
use back::Back;
use base::mean_field::{determinants, reach};
use base::{Base, BaseTrace};
pub use base::{
    BaseSettings, DeterminantSum, MeanFieldSettings, MultiDeterminantSettings, Orbitals,
};
use circle::{CircleLayer, anchor};
use lanes::Block;
pub use layer::{Kind, LayerKind, Sizes};
use layer::{Layer, LayerTrace, Making};
use monotone::MonotoneLayer;
use pair::PairSpace;
use place::Place;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// Settings of the Weyl flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WeylSettings {
    /// The state that the layers deform.
    pub base: BaseSettings,
    /// The layers, from the physical angles to the base; without a list those of [`default_layers`].
    pub layers: Option<Vec<LayerKind>>,
    /// Cells of the splines of [`LayerKind::Monotone`].
    pub monotone_cells: usize,
    /// Cells of the splines of [`LayerKind::Pair`] and [`LayerKind::PairInverse`]; without a number those of
    /// [`default_pair_cells`].
    pub pair_cells: Option<usize>,
    /// Cells of the mean-field coordinate.
    pub coordinate_cells: usize,
    /// The mean-field coordinate follows the density to this power: below one, the tails get more room.
    pub coordinate_power: f64,
    /// Cosines per coordinate of [`LayerKind::TwoBody`]; on a ring an odd number of waves, at least so many.
    pub two_body_functions: usize,
    /// Smallest slope of a trainable monotone layer, by construction.
    pub slope_floor: f64,
    /// Share of the bounds on pair and two-body layers that is used; below 1 they are bijections.
    pub bound_share: f64,
}

/// The layers of a flow whose spec lists none.
///
/// Fields in the mean-field coordinate and pairs at physical distances by turns: what one pair does depends on where
/// the others are only through the composition.
///
/// In a harmonic trap pairs are all: see [`Orbitals::for_system`]. Of more than two components there are no two-body fields.
pub fn default_layers(sector: Sector, system: System) -> Vec<LayerKind> {
    let all = layers_of_two(system);
    if !sector.is_many() {
        return all;
    }
    let mut kept: Vec<LayerKind> = Vec::new();
    for kind in all.into_iter().filter(|kind| kind.about().many) {
        // A way there and back with nothing between is none.
        match (kept.last(), kind) {
            (Some(LayerKind::ToMeanField), LayerKind::FromMeanField) => {
                kept.pop();
            }
            _ => kept.push(kind),
        }
    }
    kept
}

fn layers_of_two(system: System) -> Vec<LayerKind> {
    use LayerKind::*;
    match system.geometry {
        Geometry::Box { .. } | Geometry::Line
            if matches!(system.hamiltonian.external, External::Harmonic { .. }) =>
        {
            vec![Pair, PairInverse]
        }
        Geometry::Box { .. } | Geometry::Line => vec![
            ToMeanField,
            TwoBody,
            FromMeanField,
            PairInverse,
            Pair,
            ToMeanField,
            TwoBody,
            Monotone,
            FromMeanField,
            PairInverse,
            Pair,
            ToMeanField,
            TwoBody,
            FromMeanField,
        ],
        Geometry::Ring { circumference } => {
            match anchor(&system.hamiltonian.external, *circumference) {
                // Nothing tells one place from another.
                None => vec![Pair, PairInverse, Pair, PairInverse],
                Some(_) => {
                    use PairInverse as Inverse;
                    vec![TwoBody, Inverse, Pair, TwoBody, Monotone, Inverse, Pair, TwoBody]
                }
            }
        }
    }
}

/// The cells of pair layers in a spec that names none. On a ring every distance is visited, and what few cells
/// cannot follow is not there: more of them only cost training its stability.
pub fn default_pair_cells(geometry: &Geometry) -> usize {
    match geometry {
        Geometry::Box { .. } | Geometry::Line => 24,
        Geometry::Ring { .. } => 16,
    }
}

impl WeylSettings {
    /// Writes out the defaults that depend on the system.
    pub fn complete(&mut self, sector: Sector, system: System) {
        let geometry = system.geometry;
        self.layers.get_or_insert_with(|| default_layers(sector, system));
        self.pair_cells.get_or_insert_with(|| default_pair_cells(geometry));
    }
}

impl Default for WeylSettings {
    fn default() -> Self {
        WeylSettings {
            base: BaseSettings::default(),
            layers: None,
            monotone_cells: 32,
            pair_cells: None,
            coordinate_cells: 96,
            coordinate_power: 0.4,
            two_body_functions: 8,
            slope_floor: 1e-3,
            bound_share: 0.98,
        }
    }
}

/// How far the logarithm of the slope of the mean-field coordinate falls below its maximum: the tails beyond
/// keep enough digits for the inverse.
const COORDINATE_RANGE: f64 = 12.0;

/// The equivariant flow wavefunction.
#[derive(Clone, Debug)]
pub struct Weyl {
    sector: Sector,
    space: Space,
    layers: Vec<Layer>,
    pub(crate) base: Base,
    /// Where each layer's parameters begin, and their number at the end.
    offsets: Vec<usize>,
    parameters: Vec<f64>,
    /// Deliberate error of every layer's inverse, to see whether the health tests notice.
    #[cfg(test)]
    pub(crate) inverse_error: f64,
}

/// How coordinates become angles.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Space {
    /// Walls at plus and minus the half-width.
    Box { half_width: f64 },
    /// A computational box, its middle, and the part of it where the density is not negligible.
    Line { half_width: f64, reach: f64, centre: f64 },
    /// A circle, and where its angles begin.
    Ring { circumference: f64, anchor: f64 },
}

impl Space {
    /// The space of a system whose base lives in a place.
    fn of(system: System, place: &Place, base: &Base) -> Self {
        let Frame { length, origin, .. } = place.frame;
        match place.walls {
            Geometry::Box { half_width } if place.on_line => {
                let reach = length * reach(base, half_width, NEGLIGIBLE_DENSITY);
                Space::Line { half_width: length * half_width, reach, centre: origin }
            }
            Geometry::Box { half_width } => Space::Box { half_width: length * half_width },
            Geometry::Ring { circumference } => {
                let circumference = length * circumference;
                let anchor = anchor(&system.hamiltonian.external, circumference).unwrap_or(0.0);
                Space::Ring { circumference, anchor }
            }
            Geometry::Line => unreachable!("the line is given walls"),
        }
    }

    /// `d theta / d x`.
    fn scale(self) -> f64 {
        match self {
            Space::Box { half_width } | Space::Line { half_width, .. } => PI / (2.0 * half_width),
            Space::Ring { circumference, .. } => 2.0 * PI / circumference,
        }
    }

    /// The coordinate with angle zero.
    fn origin(self) -> f64 {
        match self {
            Space::Box { half_width } => -half_width,
            Space::Line { half_width, centre, .. } => centre - half_width,
            Space::Ring { anchor, .. } => anchor,
        }
    }
}

/// Share of its peak at which the density on the line counts as negligible for tables and quadratures.
const NEGLIGIBLE_DENSITY: f64 = 1e-14;

/// Where each layer's parameters begin, and their number at the end.
fn offsets(layers: &[Layer]) -> Vec<usize> {
    let mut offsets = vec![0];
    for layer in layers {
        offsets.push(offsets[offsets.len() - 1] + layer.parameters());
    }
    offsets
}

/// Intermediate values of one evaluation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace<T> {
    angles: Vec<T>,
    bar: Vec<T>,
    layers: Vec<LayerTrace<T>>,
    base: BaseTrace<T>,
    /// Angles of several configurations, one after the other, and side by side, on their way back.
    drawn: Vec<f64>,
    lanes: Vec<Lanes>,
    back: Back,
}

impl Weyl {
    /// Whether a flow of such settings exists for a system.
    pub(crate) fn exists(
        settings: &WeylSettings,
        sector: Sector,
        system: System,
    ) -> Result<(), WavefunctionError> {
        let n = sector.particles();
        if n == 0 || n > MOST_PARTICLES {
            return Err(WavefunctionError::Particles { most: MOST_PARTICLES, found: n });
        }
        settings.base.exists_on(system.geometry)?;
        settings.base.exists_for(sector)?;
        if let (Geometry::Ring { .. }, Some(found)) =
            (system.geometry, sector.spins().map(|s| s.len()).find(|n| n % 2 == 0))
        {
            return Err(WavefunctionError::EvenOnRing { found });
        }
        Ok(())
    }

    /// The flow over a base that has been built.
    pub(crate) fn over(
        settings: &WeylSettings,
        sector: Sector,
        system: System,
        place: Place,
        base: Base,
    ) -> Result<Self, WavefunctionError> {
        let known = |kind: &LayerKind| kind.about().many || !sector.is_many();
        let default = || default_layers(sector, system);
        let kinds: Vec<_> = settings.layers.clone().unwrap_or_else(default);
        if let Some(&kind) = kinds.iter().find(|kind| !known(kind)) {
            return Err(WavefunctionError::Base { problem: knows_two(kind) });
        }
        let natural = place.frame.hamiltonian(system.hamiltonian);
        let inside = System { hamiltonian: &natural, geometry: &place.walls };
        let space = Space::of(system, &place, &base);
        let one_body = OneBody::new(settings, sector, inside, &kinds, &base)?;
        let physical = match space {
            Space::Box { .. } => {
                PairSpace::between_walls(base.extent(), |share| base.distances(share))
            }
            Space::Line { .. } => PairSpace::Line { range: base.extent() },
            Space::Ring { .. } => PairSpace::Ring,
        };
        // In the mean-field coordinate the particles fill the box.
        let spread = if physical == PairSpace::Ring { physical } else { PairSpace::Walls };
        let pair_cells = settings.pair_cells.unwrap_or_else(|| default_pair_cells(system.geometry));
        let ring = matches!(space, Space::Ring { .. });
        let pairs = physical;
        let mut making =
            Making { settings, sector, one_body, ring, pair_cells, physical, spread, pairs };
        let made = kinds.iter().map(|kind| (kind.about().build)(&mut making));
        let layers = made.collect::<Result<Vec<Layer>, WavefunctionError>>()?;
        let offsets = offsets(&layers);
        let parameters = vec![0.0; offsets[layers.len()]];
        Ok(Weyl {
            sector,
            space,
            layers,
            base,
            offsets,
            parameters,
            #[cfg(test)]
            inverse_error: 0.0,
        })
    }
}

/// Why a gas has no layer of the kind.
pub fn knows_two(kind: LayerKind) -> String {
    let more: Vec<String> = LayerKind::ALL
        .iter()
        .filter(|kind| kind.about().many)
        .map(|kind| format!("{kind:?}"))
        .collect();
    format!("{kind:?} knows two components: {} know more", more.join(", "))
}

impl Weyl {
    /// The same flow over another base in the same place.
    fn with_base(&self, base: Base) -> Self {
        Weyl { base, ..self.clone() }
    }

    /// Configurations, at most [`LANES`], from the drawn angles of the trace.
    fn back(&self, trace: &mut Trace<f64>, x: &mut [f64]) {
        let n = self.sector.particles();
        let Trace { drawn, lanes, back, .. } = trace;
        back.begin(drawn, x.len() / n, lanes);
        for layer in self.layers.iter().rev() {
            layer.inverse(lanes, back);
            #[cfg(test)]
            lanes.as_flattened_mut().iter_mut().for_each(|a| *a += self.inverse_error * a.sin());
        }
        let (scale, origin) = (self.space.scale(), self.space.origin());
        for (s, x) in x.chunks_exact_mut(n).enumerate() {
            x.iter_mut().zip(&*lanes).for_each(|(x, angle)| *x = angle[s] / scale + origin);
        }
    }

    /// The base itself, without any layer, in the place that it was built for.
    pub(crate) fn bare(sector: Sector, system: System, place: Place, base: Base) -> Self {
        Weyl {
            sector,
            space: Space::of(system, &place, &base),
            layers: Vec::new(),
            base,
            offsets: vec![0],
            parameters: Vec::new(),
            #[cfg(test)]
            inverse_error: 0.0,
        }
    }
}

impl Flow for Weyl {
    type Trace<T: Scalar> = Trace<T>;
    type Block = Block;

    fn forward<T: Scalar>(&self, x: &[T], reverse: bool, trace: &mut Trace<T>) -> (T, f64) {
        let (scale, origin) = (self.space.scale(), self.space.origin());
        trace.layers.resize_with(self.layers.len(), LayerTrace::default);
        trace.angles.clear();
        trace.angles.extend(x.iter().map(|&x| (x - origin) * scale));
        let mut det = LogProduct::new(x.len() as f64 * scale.ln());
        for (layer, t) in self.layers.iter().zip(&mut trace.layers) {
            layer.forward(&mut trace.angles, reverse, t, &mut det);
        }
        let (mut log, sign) = self.base.forward(&trace.angles, reverse, &mut trace.base);
        let inside = |t: &T| 0.0 < t.value() && t.value() < PI;
        if matches!(self.space, Space::Line { .. }) && !trace.angles.iter().all(inside) {
            log += T::constant(f64::NEG_INFINITY);
        }
        (log + det.ln() * 0.5, sign)
    }

    fn kinetic_energies<const N: usize>(
        &self,
        x: &[f64],
        jets: &mut Trace<Jet<N>>,
        block: &mut Block,
        _tabulated: bool,
        kinetic: &mut [f64],
    ) -> bool {
        self.kinetic_of_block(x, jets, block, kinetic);
        true
    }

    fn backward<T: Scalar>(&self, trace: &mut Trace<T>, parameters_bar: &mut [T]) {
        parameters_bar.fill(T::zero());
        trace.bar.resize(trace.angles.len(), T::zero());
        self.base.backward(&mut trace.bar, &mut trace.base);
        for (l, layer) in self.layers.iter().enumerate().rev() {
            let out = &mut parameters_bar[self.offsets[l]..self.offsets[l + 1]];
            layer.backward(&mut trace.bar, &mut trace.layers[l], out);
        }
    }

    fn sample(&self, uniforms: &[f64], _tabulated: bool, trace: &mut Trace<f64>, x: &mut [f64]) {
        let n = self.sector.particles();
        let each = self.base.uniforms(n);
        for (x, uniforms) in x.chunks_mut(LANES * n).zip(uniforms.chunks(LANES * each)) {
            trace.drawn.resize(x.len(), 0.0);
            self.base.samples(uniforms, n, &mut trace.drawn);
            self.back(trace, x);
            if let Space::Ring { circumference, .. } = self.space {
                for x in x.chunks_exact_mut(n) {
                    x.iter_mut().for_each(|x| *x -= circumference * (*x / circumference).round());
                    self.sector.sort(x);
                }
            }
        }
    }

    fn sample_moved(
        &self,
        uniforms: &[f64],
        shift: &[f64],
        trace: &mut Trace<f64>,
        x: &mut [f64],
    ) -> Option<f64> {
        if self.base.uniforms(x.len()) == x.len() {
            return None;
        }
        trace.angles.resize(x.len(), 0.0);
        self.base.sample(uniforms, &mut trace.angles);
        let log = self.base.forward(&trace.angles, false, &mut trace.base).0;
        trace.angles.iter_mut().zip(shift).for_each(|(a, s)| *a += s);
        self.pull_back(trace, x);
        Some(2.0 * log)
    }

    fn pull_back(&self, trace: &mut Trace<f64>, x: &mut [f64]) {
        trace.drawn.clone_from(&trace.angles);
        self.back(trace, x);
    }

    fn slopes<const N: usize>(
        &self,
        x: &[f64],
        _plain: &mut Trace<f64>,
        jets: &mut Trace<Jet<N>>,
    ) -> Slopes {
        self.forward(&variables(x), false, jets);
        Slopes::of(&jets.angles, self.space.scale())
    }
}

/// The maps of one coordinate that the one-body layers of a flow begin with.
enum OneBody {
    /// The identity, and the mean-field coordinate of each spin where it is asked for.
    Walls(CircularSpline, Vec<CircularSpline>),
    /// The same on a circle.
    Circle(PeriodicSpline, Vec<PeriodicSpline>),
}

impl OneBody {
    /// For a system in a box or on a ring, with the layers of these kinds.
    fn new(
        settings: &WeylSettings,
        sector: Sector,
        system: System,
        kinds: &[LayerKind],
        base: &Base,
    ) -> Result<Self, WavefunctionError> {
        let (cells, floor) = (settings.monotone_cells, settings.slope_floor);
        let wanted =
            kinds.iter().any(|k| matches!(k, LayerKind::ToMeanField | LayerKind::FromMeanField));
        let other;
        let (kind, _) = settings.base.kind();
        let field = if wanted && !kind.knows_density() {
            let orbitals = kind.orbitals(system.hamiltonian);
            other = Base::Determinants(determinants(orbitals, sector, system)?);
            &other
        } else {
            base
        };
        let spins = sector.spins().enumerate().filter(|_| wanted);
        if let Geometry::Ring { .. } = system.geometry {
            let all = spins.map(|(spin, _)| turns(field, spin, settings));
            let all = all.collect::<Result<_, WavefunctionError>>()?;
            return Ok(OneBody::Circle(PeriodicSpline::identity(cells, floor)?, all));
        }
        let all = spins.map(|(spin, range)| coordinate(field, spin, range.len(), settings));
        let all = all.collect::<Result<_, WavefunctionError>>()?;
        Ok(OneBody::Walls(CircularSpline::identity(cells, floor)?, all))
    }

    fn trainable(&self, sector: Sector) -> Layer {
        match self {
            OneBody::Walls(s, _) => Layer::Monotone(MonotoneLayer::trainable(sector, s.clone())),
            OneBody::Circle(s, _) => Layer::Circle(CircleLayer::trainable(sector, s)),
        }
    }

    fn fixed(&self, sector: Sector, inverted: bool) -> Layer {
        match self {
            OneBody::Walls(_, all) => {
                Layer::Monotone(MonotoneLayer::fixed(sector, all.clone(), inverted))
            }
            OneBody::Circle(_, all) => {
                Layer::Circle(CircleLayer::fixed(sector, all.clone(), inverted))
            }
        }
    }
}

/// The map of one spin's angles to those of free fermions with the same cumulative density.
fn coordinate(
    field: &Base,
    spin: usize,
    n: usize,
    settings: &WeylSettings,
) -> Result<CircularSpline, WavefunctionError> {
    let mut spline = CircularSpline::identity(settings.coordinate_cells, 0.0)?;
    let log_slope = mean_field_log_slope(n, COORDINATE_RANGE, |s: &[f64]| {
        s.iter().map(|s| field.density(spin, PI * s).powf(settings.coordinate_power)).collect()
    });
    let logits: Vec<f64> =
        (0..spline.weights()).map(|j| log_slope(spline.centre(j) / PI)).collect();
    spline.set_logits(&logits);
    Ok(spline.tabulated())
}

/// The same on a ring, where free fermions are spread evenly.
fn turns(
    field: &Base,
    spin: usize,
    settings: &WeylSettings,
) -> Result<PeriodicSpline, WavefunctionError> {
    let mut spline = PeriodicSpline::identity(settings.coordinate_cells, 0.0)?;
    let cells = spline.parameters() - 1;
    let density: Vec<f64> = (0..cells).map(|j| field.density(spin, spline.centre(j))).collect();
    let log = |d: &f64| settings.coordinate_power * d.max(f64::MIN_POSITIVE).ln();
    let largest = density.iter().map(log).fold(f64::NEG_INFINITY, f64::max);
    let mut parameters: Vec<f64> =
        density.iter().map(|d| log(d).max(largest - COORDINATE_RANGE)).collect();
    parameters.push(0.0);
    spline.set_parameters(&parameters);
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

    fn refine(&mut self) {
        self.parameters = self.layers.iter_mut().flat_map(Layer::refine).collect();
        self.offsets = offsets(&self.layers);
    }

    fn interval(&self, geometry: &Geometry) -> (f64, f64) {
        match self.space {
            Space::Line { reach, centre, .. } => (centre - reach, centre + reach),
            _ => geometry.interval(),
        }
    }

    fn uniforms(&self) -> usize {
        self.base.uniforms(self.sector.particles())
    }

    fn orders(&self) -> f64 {
        self.base.orders(self.sector)
    }

    fn evaluator_for(&self, _configurations: usize) -> Box<dyn Evaluator + '_> {
        with_jet_width!(self.sector.particles(), N => Box::new(FlowEvaluator::<_, N>::new(self, false)))
    }
}

#[cfg(test)]
mod geometry_tests;
#[cfg(test)]
mod tests;
