//! Pair displacements of eight configurations side by side: see [`Journey`].

use super::super::coupling::{self, Coupling, Push};
use super::super::displacement::Displacement;
use super::super::lanes::{Block, turns};
use super::super::newton;
use super::{LAST_STEP, PairLayer};
use crate::math::spline::circular::LanePoint;
use crate::math::vector::lanes::{
    LANES, Lanes, add_product, backsolve, each, factorise, product, scaled, sum,
};
use crate::math::vector::widest;
use crate::wavefunction::journey::{Coordinates, Journey, ZERO, shrink, stretch};
use crate::work;

impl PairLayer {
    /// [`Self::forward`] for eight configurations.
    pub(in crate::wavefunction::weyl) fn lanes(&self, block: &mut Block) -> bool {
        let Block { journey, coupling, newton, .. } = block;
        if let Some(function) = self.single() {
            through_single(self, function, journey);
            return true;
        }
        if self.inverted {
            solve(self, newton, journey);
        }
        coupling.clear(self.particles);
        push(self, coupling, journey);
        if self.inverted {
            coupling::back(coupling, journey);
        } else {
            journey.measure();
            coupling::through(coupling, journey);
        }
        true
    }

    /// The displaced angles less `target`, the lower triangle of the Jacobian, and the squares of the residuals, for eight
    /// configurations of which some count.
    #[inline(always)]
    fn residuals<const FUSED: bool>(
        &self,
        theta: &[Lanes],
        target: &[Lanes],
        counted: &[bool; LANES],
        Residuals { residual, jacobian }: &mut Residuals,
    ) -> Lanes {
        let n = self.particles;
        for i in 0..n {
            residual[i] = each(|s| theta[i][s] - target[i][s]);
        }
        jacobian.fill(ZERO);
        (0..n).for_each(|i| jacobian[i * n + i] = [1.0; LANES]);
        for (i, j, _, function) in self.pairs() {
            let distance = each(|s| theta[i][s] - theta[j][s]);
            let [b, slope, ..] = beta_lanes::<FUSED>(function, &distance, counted);
            let [mut c, mut image] = [ZERO; 2];
            if self.images {
                let images = sum(&theta[i], &theta[j]);
                [c, image, ..] = beta_lanes::<FUSED>(function, &images, counted);
            }
            residual[i] = each(|s| residual[i][s] + (c[s] + b[s]));
            residual[j] = each(|s| residual[j][s] + (c[s] - b[s]));
            let both = sum(&slope, &image);
            jacobian[i * n + i] = sum(&jacobian[i * n + i], &both);
            jacobian[j * n + j] = sum(&jacobian[j * n + j], &both);
            jacobian[j * n + i] = each(|s| image[s] - slope[s]);
        }
        let mut square = ZERO;
        for r in residual {
            square = add_product::<FUSED>(r, r, &square);
        }
        square
    }

    /// [`Self::solve_single`] for eight configurations.
    #[inline(always)]
    fn solve_single_lanes<const FUSED: bool>(
        &self,
        function: &Displacement,
        y: &Lanes,
        samples: usize,
    ) -> (Lanes, [Lanes; 4]) {
        let (mut lo, mut hi) = ([f64::NEG_INFINITY; LANES], [f64::INFINITY; LANES]);
        let mut left = [true; LANES];
        let (mut t, mut beta) = (*y, [[f64::NAN; LANES]; 4]);
        for _ in 0..newton::STEPS {
            let counted = std::array::from_fn(|s| left[s] && s < samples);
            work::newtons(counted.iter().filter(|c| **c).count());
            let b = beta_lanes::<FUSED>(function, &t, &counted);
            let residual = each(|s| t[s] + 2.0 * b[0][s] - y[s]);
            let inverse = each(|s| 1.0 / (1.0 + 2.0 * b[1][s]));
            let step = each(|s| -residual[s] * inverse[s]);
            let bent = each(|s| step[s] * (1.0 - step[s] * b[2][s] * inverse[s]).clamp(0.5, 2.0));
            let mut taylor = [ZERO; 4];
            for k in 0..4 {
                let last = if k < 3 { b[k + 2] } else { ZERO };
                taylor[k] = each(|s| b[k][s] + bent[s] * (b[k + 1][s] + 0.5 * bent[s] * last[s]));
            }
            // Each goes its own way, whatever is beside it.
            for s in 0..LANES {
                if !left[s] {
                    continue;
                }
                let next = t[s] + bent[s];
                if step[s].abs() < LAST_STEP {
                    left[s] = false;
                    t[s] = next;
                    beta.iter_mut().zip(&taylor).for_each(|(b, found)| b[s] = found[s]);
                    continue;
                }
                let bound = if residual[s] > 0.0 { &mut hi } else { &mut lo };
                bound[s] = t[s];
                t[s] = if next > lo[s] && next < hi[s] { next } else { 0.5 * (lo[s] + hi[s]) };
            }
            if !left.contains(&true) {
                break;
            }
        }
        (t, beta)
    }
}

/// `beta` and its first four derivatives at eight distances or sums, of which some count.
#[inline(always)]
fn beta_lanes<const FUSED: bool>(
    function: &Displacement,
    t: &Lanes,
    counted: &[bool; LANES],
) -> LanePoint {
    let start = turns(t);
    let sign = each(|s| if t[s] < start[s] { -1.0 } else { 1.0 });
    let folded = each(|s| (t[s] - start[s]) * sign[s]);
    let [b0, b1, b2, b3, b4] = function.lanes::<FUSED>(&folded, counted);
    [product(&sign, &b0), b1, product(&sign, &b2), b3, product(&sign, &b4)]
}

widest! {
    /// Two particles: their distance and, between walls, their sum go through the layer, each by itself.
    fn through_single(layer: &PairLayer, function: &Displacement, journey: &mut Journey) {
        let samples = journey.samples();
        let Journey { points: Coordinates { value, laplacian, gradient }, log, .. } = journey;
        let counted = std::array::from_fn(|s| s < samples);
        // The distance, then the sum: value, Laplacian and gradient.
        let combined = |sign: f64, a: &Lanes, b: &Lanes| each(|s| a[s] + sign * b[s]);
        let mut both = [(ZERO, ZERO, [ZERO; 2]); 2];
        for (both, sign) in both.iter_mut().zip([-1.0, 1.0]) {
            let (v, l, g) = (&*value, &*laplacian, &*gradient);
            let slopes = [combined(sign, &g[0], &g[2]), combined(sign, &g[1], &g[3])];
            *both = (combined(sign, &v[0], &v[1]), combined(sign, &l[0], &l[1]), slopes);
        }
        let count = if layer.images { 2 } else { 1 };
        for (y, laplacian, gradient) in &mut both[..count] {
            if layer.inverted {
                let (at, [_, b1, b2, b3]) =
                    layer.solve_single_lanes::<FUSED>(function, y, samples);
                *y = at;
                let derivatives = [each(|s| 1.0 + 2.0 * b1[s]), scaled(2.0, &b2), scaled(2.0, &b3)];
                shrink::<FUSED>(&derivatives, laplacian, gradient, log);
            } else {
                let [b0, b1, b2, b3, _] = beta_lanes::<FUSED>(function, y, &counted);
                *y = each(|s| y[s] + 2.0 * b0[s]);
                let derivatives = [each(|s| 1.0 + 2.0 * b1[s]), scaled(2.0, &b2), scaled(2.0, &b3)];
                stretch::<FUSED>(&derivatives, laplacian, gradient, log);
            }
        }
        let [(d, dl, dg), (c, cl, cg)] = &both;
        for (i, sign) in [1.0, -1.0].into_iter().enumerate() {
            let half = |sum: &Lanes, distance: &Lanes| scaled(0.5, &combined(sign, sum, distance));
            value[i] = half(c, d);
            laplacian[i] = half(cl, dl);
            for k in 0..2 {
                gradient[2 * i + k] = half(&cg[k], &dg[k]);
            }
        }
    }
}

/// Scratch memory of the inverse of eight configurations.
#[derive(Clone, Debug, Default)]
pub(in crate::wavefunction::weyl) struct LaneNewton {
    target: Vec<Lanes>,
    direction: Vec<Lanes>,
    factor: Vec<Lanes>,
    here: Residuals,
    trial: Residuals,
    moved: Vec<Lanes>,
}

/// Residuals and the Jacobian.
#[derive(Clone, Debug, Default)]
struct Residuals {
    residual: Vec<Lanes>,
    jacobian: Vec<Lanes>,
}

widest! {
    /// Replaces the values of coordinates by those of which they are the displaced ones: [`newton::solve`], each configuration with
    /// steps of its own.
    fn solve(layer: &PairLayer, work: &mut LaneNewton, journey: &mut Journey) {
        let n = layer.particles;
        let samples = journey.samples();
        let LaneNewton { target, direction, factor, here, trial, moved } = work;
        for Residuals { residual, jacobian } in [&mut *here, &mut *trial] {
            residual.resize(n, ZERO);
            jacobian.resize(n * n, ZERO);
        }
        let theta = &mut journey.points.value;
        target.clone_from(theta);
        moved.resize(n, ZERO);
        let counted = |left: &[bool; LANES]| std::array::from_fn(|s| left[s] && s < samples);
        let mut left = [true; LANES];
        let mut square = layer.residuals::<FUSED>(theta, target, &counted(&left), here);
        for _ in 0..newton::STEPS {
            let rounding = n as f64 * newton::ROUNDING * newton::ROUNDING;
            left = std::array::from_fn(|s| left[s] && (square[s] > rounding || square[s].is_nan()));
            if !left.contains(&true) {
                break;
            }
            work::newtons(counted(&left).iter().filter(|c| **c).count());
            direction.clone_from(&here.residual);
            factor.clone_from(&here.jacobian);
            // Positive definite by the bound on kappa.
            factorise::<FUSED>(n, factor);
            backsolve::<FUSED>(n, factor, direction);
            for s in 0..LANES {
                if left[s] && direction.iter().all(|d| d[s].abs() < newton::LAST_STEP) {
                    left[s] = false;
                    theta.iter_mut().zip(&*direction).for_each(|(t, d)| t[s] -= d[s]);
                }
            }
            let (mut length, mut searching) = ([1.0; LANES], left);
            while searching.contains(&true) {
                for ((to, from), d) in moved.iter_mut().zip(&*theta).zip(&*direction) {
                    *to = each(|s| from[s] - length[s] * d[s]);
                }
                let next = layer.residuals::<FUSED>(moved, target, &counted(&searching), trial);
                let better: [bool; LANES] =
                    std::array::from_fn(|s| next[s] <= (1.0 - 0.5 * length[s]) * square[s]);
                let all = searching == left && (0..LANES).all(|s| better[s] || !left[s]);
                if all {
                    // As a rule nothing needs to be copied.
                    std::mem::swap(here, trial);
                }
                for s in 0..LANES {
                    if !searching[s] {
                        continue;
                    }
                    if better[s] {
                        searching[s] = false;
                        square[s] = next[s];
                        theta.iter_mut().zip(&*moved).for_each(|(to, from)| to[s] = from[s]);
                        if !all {
                            here.take(trial, s);
                        }
                        continue;
                    }
                    length[s] *= 0.5;
                    if length[s] < newton::SHORTEST {
                        // Only rounding is left.
                        (searching[s], left[s]) = (false, false);
                    }
                }
            }
        }
    }
}

impl Residuals {
    /// Takes those of a configuration.
    fn take(&mut self, other: &Residuals, s: usize) {
        let own = self.residual.iter_mut().chain(&mut self.jacobian);
        own.zip(other.residual.iter().chain(&other.jacobian))
            .for_each(|(to, from)| to[s] = from[s]);
    }
}

widest! {
    /// What the pairs do at the points.
    fn push(layer: &PairLayer, coupling: &mut Coupling, journey: &mut Journey) {
        let counted = std::array::from_fn(|s| s < journey.samples());
        let theta = &journey.points.value;
        for (i, j, _, function) in layer.pairs() {
            let distance = each(|s| theta[i][s] - theta[j][s]);
            let b = beta_lanes::<FUSED>(function, &distance, &counted);
            let mut c = [ZERO; 5];
            if layer.images {
                c = beta_lanes::<FUSED>(function, &sum(&theta[i], &theta[j]), &counted);
            }
            // beta is odd: the other way round its even derivatives have the other sign.
            for (i, j, sign) in [(i, j, 1.0), (j, i, -1.0)] {
                let even = |k: usize, turn: f64| each(|s| turn * sign * b[k][s] + c[k][s]);
                let odd = |k: usize, turn: f64| each(|s| turn * b[k][s] + c[k][s]);
                let own = [even(0, 1.0), odd(1, 1.0), even(2, 1.0), odd(3, 1.0)];
                let other = [odd(1, -1.0), even(2, 1.0), odd(3, -1.0)];
                let mixed = [even(2, -1.0), odd(3, -1.0), odd(3, 1.0)];
                coupling.add(i, j, &Push { own, other, mixed });
            }
        }
    }
}
