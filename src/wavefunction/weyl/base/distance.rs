//! Two particles in a harmonic trap by their centre of mass and their distance, with an exact sampler.
//!
//! `psi_0 = (2 omega / pi)^(1/4) exp(-omega R²) u(|d|)`: the centre of mass moves by itself (W. Kohn, Phys. Rev. 123, 1242 (1961)), and
//! the distance has one coordinate, whose function is found in spectral elements that follow kinks and cores of the interaction
//! (`crate::exact::elements`): however narrow they are, the state is exact.
//!
//! Samples: `u²` is a polynomial in each element, and so is its integral; one uniform makes the distance, another the centre of mass.

use super::BaseState;
use super::calogero::half_extent;
use super::determinants::lift;
use super::series::{legendre_coefficients, root};
use crate::exact::elements::{LeftEnd, Line, Piece, levels};
use crate::math::gamma::normal;
use crate::math::quadrature::GaussLegendre;
use crate::math::scalar::Scalar;
use crate::system::{Hamiltonian, Sector};
use std::f64::consts::{FRAC_PI_2, LN_2, PI};

/// Centre of mass and distance.
#[derive(Clone, Debug)]
pub struct Distance {
    sector: Sector,
    frequency: f64,
    /// `dx / dtheta`.
    per_angle: f64,
    pieces: Vec<Element>,
    /// The density of either particle, per radian, and the particles below even angles.
    density: Vec<f64>,
    below: Vec<f64>,
}

/// One element: `u` and `u²` in Legendre polynomials, and the integral of `u²` below.
#[derive(Clone, Debug)]
struct Element {
    start: f64,
    end: f64,
    function: Vec<f64>,
    square: Vec<f64>,
    below: f64,
}

/// What the reverse sweep needs again.
#[derive(Clone, Debug, Default)]
pub struct DistanceTrace<T> {
    slope: T,
    centre: T,
    sign: f64,
}

/// Points of the table of the density.
const POINTS: usize = 1024;
/// Nodes of the rule that integrates over an element; twice the degree of `u` is within its reach.
const NODES: usize = 40;
/// How well the energy is to be known, in units of the trap.
const TOLERANCE: f64 = 1e-12;
/// Share of the energy that elements may leave open.
const OPEN: f64 = 1e-9;

impl Element {
    fn new(piece: &Piece, below: f64) -> Self {
        let function = piece.coefficients.clone();
        let rule = GaussLegendre::new(NODES);
        let unit: Vec<(f64, f64)> = rule.on(-1.0, 1.0).collect();
        let values: Vec<f64> =
            unit.iter().map(|(x, _)| derived(&function, *x)[0].powi(2)).collect();
        let mut square = legendre_coefficients(&unit, &values);
        square.truncate(2 * function.len() - 1);
        Element { start: piece.start, end: piece.end, function, square, below }
    }

    fn half(&self) -> f64 {
        0.5 * (self.end - self.start)
    }

    fn mass(&self) -> f64 {
        2.0 * self.square[0] * self.half()
    }

    /// `u` and its first three derivatives.
    fn evaluate(&self, d: f64) -> [f64; 4] {
        let half = self.half();
        let x = (d - self.start) / half - 1.0;
        let mut found = derived(&self.function, x);
        let mut scale = 1.0;
        for f in &mut found {
            *f *= scale;
            scale /= half;
        }
        found
    }
}

/// A sum of Legendre polynomials and its first three derivatives.
fn derived(coefficients: &[f64], x: f64) -> [f64; 4] {
    let (mut before, mut now) = ([0.0; 4], [1.0, 0.0, 0.0, 0.0]);
    let mut sum = [0.0; 4];
    for (l, c) in coefficients.iter().enumerate() {
        for d in 0..4 {
            sum[d] += c * now[d];
        }
        let k = l as f64;
        let next = std::array::from_fn(|d| {
            let raised = if d == 0 { 0.0 } else { d as f64 * now[d - 1] };
            ((2.0 * k + 1.0) * (x * now[d] + raised) - k * before[d]) / (k + 1.0)
        });
        (before, now) = (now, next);
    }
    sum
}

impl Distance {
    /// The ground state in a trap of a frequency about the middle of the box that comes with it, whose half-width is returned; none where
    /// elements cannot follow the interaction.
    pub(crate) fn new(
        sector: Sector,
        frequency: f64,
        hamiltonian: &Hamiltonian,
    ) -> Option<(f64, Self)> {
        let w = &hamiltonian.interaction;
        let potential = |r: f64| 0.25 * frequency * frequency * r * r + w.value(r);
        let opposite = sector.spins().count() == 2;
        let line = Line {
            potential: &potential,
            stiffness: 1.0,
            special: w.special_points(),
            ends: (0.0, f64::INFINITY),
            left: if opposite { LeftEnd::Flat } else { LeftEnd::Vanishes },
        };
        let start = (0.0, 6.0 / frequency.sqrt());
        let found = levels(&line, start, 1, TOLERANCE * frequency).ok().flatten()?;
        let energy = *found.energies.first()?;
        if found.functions[0].is_nan() || found.functions[0] > OPEN * (energy.abs() + frequency) {
            return None;
        }
        let mut pieces: Vec<Element> = Vec::new();
        let mut below = 0.0;
        for piece in found.ground_state() {
            let element = Element::new(&piece, below);
            below += element.mass();
            pieces.push(element);
        }
        // Rounding of the eigenvector.
        for e in &mut pieces {
            e.below /= below;
            e.square.iter_mut().for_each(|c| *c /= below);
            e.function.iter_mut().for_each(|c| *c /= below.sqrt());
        }
        let extent = pieces.last()?.end;
        let half_width = half_extent(1, 0.0, 2.0 * frequency) + 0.5 * extent;
        let mut state = Distance {
            sector,
            frequency,
            per_angle: 2.0 * half_width / PI,
            pieces,
            density: Vec::new(),
            below: Vec::new(),
        };
        state.tabulate();
        Some((half_width, state))
    }

    /// The density of both particles: the centre of mass is a Gaussian about the middle of the two.
    fn tabulate(&mut self) {
        let width = PI / POINTS as f64;
        // A fixed rule in every element.
        let rule = GaussLegendre::new(NODES);
        let parts: Vec<(f64, f64)> = self
            .pieces
            .iter()
            .flat_map(|e| rule.on(e.start, e.end).map(|(d, w)| (d, w * e.evaluate(d)[0].powi(2))))
            .collect();
        let norm = (2.0 * self.frequency / PI).sqrt();
        let at = |angle: f64| {
            let x = (angle - FRAC_PI_2) * self.per_angle;
            let centre = |r: f64| norm * (-2.0 * self.frequency * r * r).exp();
            let sum: f64 =
                parts.iter().map(|(d, w)| w * (centre(x - 0.5 * d) + centre(x + 0.5 * d))).sum();
            sum * self.per_angle
        };
        let density: Vec<f64> = (0..=POINTS).map(|i| at(width * i as f64)).collect();
        let mut below = vec![0.0];
        for pair in density.windows(2) {
            below.push(below[below.len() - 1] + 0.5 * width * (pair[0] + pair[1]));
        }
        (self.density, self.below) = (density, below);
    }

    fn element(&self, d: f64) -> Option<&Element> {
        let after = self.pieces.partition_point(|e| e.end < d);
        self.pieces.get(after).filter(|e| d >= e.start)
    }
}

impl BaseState for Distance {
    type Trace<T: Scalar> = DistanceTrace<T>;

    /// Number of spins that have particles.
    fn spins(&self) -> usize {
        self.sector.spins().count()
    }

    /// The density of one spin at an angle, per radian.
    fn density(&self, _: usize, theta: f64) -> f64 {
        let at = (theta / PI).clamp(0.0, 1.0) * POINTS as f64;
        let (i, part) = ((at as usize).min(POINTS - 1), at.fract());
        let part = if at >= POINTS as f64 { 1.0 } else { part };
        let both = (1.0 - part) * self.density[i] + part * self.density[i + 1];
        both / self.spins() as f64
    }

    /// Number of particles below each point of an even grid of angles.
    fn below(&self) -> Vec<f64> {
        self.below.iter().step_by(2).copied().collect()
    }

    /// `log |psi_0|` and sign.
    fn forward<T: Scalar>(&self, angles: &[T], _: bool, trace: &mut DistanceTrace<T>) -> (T, f64) {
        let middle = (angles[0] + angles[1]) * 0.5 - FRAC_PI_2;
        trace.centre = middle * self.per_angle;
        let distance = (angles[0] - angles[1]) * self.per_angle;
        trace.sign = if distance.value() < 0.0 { -1.0 } else { 1.0 };
        let distance = distance * trace.sign;
        let Some(element) = self.element(distance.value()) else {
            trace.slope = T::zero();
            return (T::constant(f64::NEG_INFINITY), 1.0);
        };
        let u = element.evaluate(distance.value());
        let value = lift(distance, |k| u[k]);
        trace.slope = lift(distance, |k| if k < 3 { u[k + 1] } else { 0.0 }) / value;
        let far = trace.centre * trace.centre * -self.frequency;
        // Equal spins fill half of the space of distances, opposite ones all of it.
        let half = if self.spins() == 2 { -0.5 * LN_2 } else { 0.0 };
        let norm = 0.25 * (2.0 * self.frequency / PI).ln() + self.per_angle.ln() + half;
        let sign = if u[0] < 0.0 { -1.0 } else { 1.0 };
        (value.abs().ln() + far + norm, sign)
    }

    /// Adjoints of the angles, after [`Self::forward`].
    fn backward<T: Scalar>(&self, bar: &mut [T], trace: &mut DistanceTrace<T>) {
        let centre = trace.centre * (-self.frequency * self.per_angle);
        let slope = trace.slope * (trace.sign * self.per_angle);
        bar[0] = centre + slope;
        bar[1] = centre - slope;
    }

    fn orders(&self, _: Sector) -> f64 {
        1.0
    }

    /// Turns two uniforms into angles distributed as `|psi_0|²`, ascending within each spin.
    fn sample(&self, uniforms: &[f64], angles: &mut [f64]) {
        let opposite = self.spins() == 2;
        // Which is on the right is the sign of the first uniform about one half.
        let (target, sign) = if opposite {
            let folded = 2.0 * uniforms[0] - 1.0;
            (folded.abs(), folded.signum())
        } else {
            (uniforms[0], -1.0)
        };
        let after = self.pieces.partition_point(|e| e.below <= target).max(1);
        let e = &self.pieces[after - 1];
        let x = root(&e.square, (target - e.below) / e.half(), e.half());
        let distance = sign * (e.start + e.half() * (x + 1.0)) / self.per_angle;
        let centre = normal(uniforms[1]) / (2.0 * self.frequency.sqrt()) / self.per_angle;
        angles[0] = FRAC_PI_2 + centre + 0.5 * distance;
        angles[1] = FRAC_PI_2 + centre - 0.5 * distance;
    }
}
