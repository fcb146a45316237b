//! The O-spline prior: one square-normalised spline per dimension, conditioned on the earlier ones.

use super::conditioner::{Activations, Conditioner};
use crate::math::scalar::Scalar;
use crate::math::spline::ospline::{Square, SquareScratch};
use crate::math::spline::{LocalBasis, OSplineBasis};
use crate::math::vector::Dense;

/// `psi_0(u) = prod_i f_i(u_i | u_{<i})` with `int f_i² = 1` and `f_i(0) = f_i(1) = 0`.
#[derive(Clone, Debug)]
pub struct OSplinePrior {
    /// One basis per dimension.
    pub(super) bases: Vec<OSplineBasis>,
    pub(super) conditioner: Conditioner,
    /// Coefficients at vanishing network output, group by group.
    pub(super) start: Vec<f64>,
    /// The function of the first dimension, which depends on no other.
    pub(super) first: Square,
    /// From the coefficients of each dimension to those of B-splines.
    pub(super) transforms: Vec<Dense>,
}

/// What the reverse sweep needs again.
#[derive(Clone, Debug, Default)]
pub struct PriorTrace<T> {
    /// Of the network that sets the coefficients.
    pub activations: Activations<T>,
    coefficients: Vec<T>,
    norm_square: Vec<T>,
    input: Vec<T>,
    value: Vec<T>,
    slope: Vec<T>,
    locals: Vec<LocalBasis>,
    output_bar: Vec<T>,
    square: Square,
    scratch: SquareScratch,
    previous: Vec<f64>,
}

impl<T> PriorTrace<T> {
    /// Where the prior was evaluated.
    pub fn input(&self) -> &[T] {
        &self.input
    }

    /// Says where the prior was evaluated, where that was elsewhere.
    pub fn set_input(&mut self, input: impl Iterator<Item = T>) {
        self.input.clear();
        self.input.extend(input);
    }
}

impl OSplinePrior {
    /// A prior that starts as the product of the given functions, one per dimension.
    pub fn new(
        bases: Vec<OSplineBasis>,
        hidden: &[usize],
        start: impl Fn(usize, f64) -> f64,
    ) -> Self {
        let sizes: Vec<usize> = bases.iter().map(OSplineBasis::functions).collect();
        let conditioner = Conditioner::new(&sizes, hidden);
        let start = bases
            .iter()
            .enumerate()
            .flat_map(|(i, basis)| {
                let c = basis.project(|u| start(i, u));
                let norm = c.iter().map(|v| v * v).sum::<f64>().sqrt();
                c.into_iter().map(move |v| v / norm)
            })
            .collect();
        let transform = |basis: &OSplineBasis| {
            let mut dense = Dense::new(&vec![basis.functions(); basis.basis().functions()]);
            dense.set(|r| (0.0, basis.transform_row(r)));
            dense
        };
        let transforms = bases.iter().map(transform).collect();
        OSplinePrior { bases, conditioner, start, first: Square::default(), transforms }
    }

    /// The network that sets the coefficients.
    pub fn conditioner(&self) -> &Conditioner {
        &self.conditioner
    }

    /// Takes new parameters; those handed to the other methods must be the same.
    pub fn set_parameters(&mut self, parameters: &[f64]) {
        self.conditioner.set_parameters(parameters);
        let mut activations = Activations::default();
        self.conditioner.advance(0, &[0.0], false, &mut activations);
        let mut first = std::mem::take(&mut self.first);
        let output = self.conditioner.advanced(0, 0, &activations);
        self.square(0, output, &mut Vec::new(), &mut first);
        self.first = first;
    }

    /// The function of dimension `i` from the network's output.
    fn square(&self, i: usize, output: &[f64], coefficients: &mut Vec<f64>, square: &mut Square) {
        let start = &self.start[self.conditioner.group(i)];
        coefficients.clear();
        coefficients.extend(output.iter().zip(start).map(|(o, s)| o + s));
        self.bases[i].square(coefficients, square);
    }

    /// `log |psi_0|` and the sign of `psi_0`. `reverse` says whether [`Self::adjoints`] follows; `known` is of the same `u`.
    pub fn forward<T: Scalar, U: Scalar>(
        &self,
        parameters: &[f64],
        u: &[T],
        reverse: bool,
        known: Option<&Activations<U>>,
        trace: &mut PriorTrace<T>,
    ) -> (T, f64) {
        let n = u.len();
        match known {
            Some(known) => self.conditioner.values(known, &mut trace.activations),
            None => self.conditioner.forward(parameters, u, reverse, &mut trace.activations),
        }
        trace.coefficients.clear();
        trace
            .coefficients
            .extend(trace.activations.output.iter().zip(&self.start).map(|(&o, &s)| o + s));
        trace.locals.resize(n, LocalBasis::default());
        trace.input.clear();
        trace.input.extend_from_slice(u);
        trace.norm_square.clear();
        trace.value.clear();
        trace.slope.clear();
        let (mut log, mut sign) = (T::zero(), 1.0);
        for i in 0..n {
            let (basis, group) = (&self.bases[i], self.conditioner.group(i));
            let local = &mut trace.locals[i];
            let order = T::ORDER + usize::from(reverse);
            basis.basis().evaluate(u[i].value(), order, local);
            let c = &trace.coefficients[group];
            let mut norm = T::zero();
            // Those of the first dimension depend on no coordinate.
            if i == 0 {
                norm = T::constant(c.iter().map(|c| c.value() * c.value()).sum());
            } else {
                c.iter().for_each(|&cj| norm += cj * cj);
            }
            let (mut value, mut slope) = (T::zero(), T::zero());
            for r in 0..local.width() {
                let row = basis.transform_row(local.first() + r);
                let mut b = T::zero();
                if i == 0 {
                    b = T::constant(row.iter().zip(c).map(|(t, c)| t * c.value()).sum());
                } else {
                    for (&t, &cj) in row.iter().zip(c) {
                        b = b.add_scaled(t, cj);
                    }
                }
                value += b * local.lift(u[i], 0, r);
                if reverse {
                    slope += b * local.lift(u[i], 1, r);
                }
            }
            sign *= value.value().signum();
            log += value.abs().ln() - norm.ln() * 0.5;
            trace.norm_square.push(norm);
            trace.value.push(value);
            trace.slope.push(slope);
        }
        (log, sign)
    }

    /// Leaves the adjoints of the network's units in `trace` and sets `bar` to those of `u`, for unit adjoint of the
    /// log.
    pub fn adjoints<T: Scalar>(
        &self,
        parameters: &[f64],
        bar: &mut [T],
        trace: &mut PriorTrace<T>,
    ) {
        trace.output_bar.clear();
        trace.output_bar.resize(self.conditioner.outputs(), T::zero());
        for i in 0..bar.len() {
            let (basis, group) = (&self.bases[i], self.conditioner.group(i));
            let inverse = trace.value[i].recip();
            bar[i] = trace.slope[i] * inverse;
            let local = &trace.locals[i];
            let out = &mut trace.output_bar[group.clone()];
            for r in 0..local.width() {
                let b_bar = inverse * local.lift(trace.input[i], 0, r);
                let row = basis.transform_row(local.first() + r);
                for (o, &t) in out.iter_mut().zip(row.iter()) {
                    *o = o.add_scaled(t, b_bar);
                }
            }
            let scale = trace.norm_square[i].recip();
            for (o, &c) in out.iter_mut().zip(&trace.coefficients[group]) {
                *o -= c * scale;
            }
        }
        self.conditioner.adjoints(parameters, &trace.output_bar, &mut trace.activations, bar);
    }

    /// Draws as many `u ~ psi_0²` as `u` has room for, each from as many uniforms as there are dimensions, by exact
    /// inversion of each conditional distribution. `tabulated` is as in [`Conditioner::advance`].
    pub fn sample(
        &self,
        uniforms: &[f64],
        tabulated: bool,
        u: &mut [f64],
        trace: &mut PriorTrace<f64>,
    ) {
        let n = self.conditioner.dimensions();
        let PriorTrace { activations, coefficients, square, scratch, previous, .. } = trace;
        self.conditioner.start(u.len() / n, activations);
        for i in 0..n {
            if i > 0 {
                previous.clear();
                previous.extend(u.chunks_exact(n).map(|u| u[i - 1]));
                self.conditioner.advance(i, previous, tabulated, activations);
            }
            let samples = u.chunks_exact_mut(n).zip(uniforms.chunks_exact(n));
            for (s, (u, uniforms)) in samples.enumerate() {
                let mut function = &self.first;
                if i > 0 {
                    let output = self.conditioner.advanced(i, s, activations);
                    self.square(i, output, coefficients, square);
                    function = square;
                }
                u[i] = self.bases[i].sample_square(function, uniforms[i], scratch);
            }
        }
    }
}
