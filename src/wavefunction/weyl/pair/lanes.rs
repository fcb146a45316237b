//! Pair displacements of eight configurations side by side: see [`Journey`].

use super::super::back::Back;
use super::super::coupling::{self, Coupling, Push};
use super::super::displacement::Displacement;
use super::super::lanes::{Block, turns};
use super::super::newton::{self, Coupled, LaneNewton, Residuals};
use super::{LAST_STEP, PairLayer};
use crate::math::spline::circular::LanePoint;
use crate::math::vector::lanes::{LANES, Lanes, backsolve, each, factorise, product, scaled, sum};
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
            solve(self, newton, journey.samples(), &mut journey.points.value);
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

    /// Undoes the layer for eight configurations.
    pub(in crate::wavefunction::weyl) fn inverse(&self, angles: &mut [Lanes], back: &mut Back) {
        let samples = back.samples();
        match self.single() {
            Some(function) => back_single(self, function, samples, angles),
            None if self.inverted => displace(self, samples, &mut back.moved, angles),
            None => solve(self, &mut back.newton, samples, angles),
        }
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

impl Coupled for &PairLayer {
    /// The Jacobian in its lower triangle.
    #[inline(always)]
    fn residuals<const FUSED: bool>(
        &mut self,
        theta: &[Lanes],
        target: &[Lanes],
        counted: &[bool; LANES],
        out: &mut Residuals,
    ) {
        let n = self.particles;
        out.begin(theta, target);
        let Residuals { residual, jacobian } = out;
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
    }

    #[inline(always)]
    fn step<const FUSED: bool>(n: usize, jacobian: &mut [Lanes], residual: &mut [Lanes]) {
        // Positive definite by the bound on kappa.
        factorise::<FUSED>(n, jacobian);
        backsolve::<FUSED>(n, jacobian, residual);
    }
}

widest! {
    /// Replaces angles by those of which they are the displaced ones.
    fn solve(layer: &PairLayer, work: &mut LaneNewton, samples: usize, angles: &mut [Lanes]) {
        newton::solve_lanes::<FUSED, _>(angles, samples, &mut &*layer, work);
    }
}

widest! {
    /// Displaces angles.
    fn displace(layer: &PairLayer, samples: usize, moved: &mut Vec<Lanes>, angles: &mut [Lanes]) {
        let counted = std::array::from_fn(|s| s < samples);
        moved.clear();
        moved.extend_from_slice(angles);
        for (i, j, _, function) in layer.pairs() {
            let distance = each(|s| angles[i][s] - angles[j][s]);
            let b = beta_lanes::<FUSED>(function, &distance, &counted)[0];
            let mut c = ZERO;
            if layer.images {
                c = beta_lanes::<FUSED>(function, &sum(&angles[i], &angles[j]), &counted)[0];
            }
            moved[i] = each(|s| moved[i][s] + (c[s] + b[s]));
            moved[j] = each(|s| moved[j][s] + (c[s] - b[s]));
        }
        angles.copy_from_slice(moved);
    }
}

widest! {
    /// Takes the angles of two particles back through the layer.
    fn back_single(layer: &PairLayer, function: &Displacement, samples: usize, angles: &mut [Lanes]) {
        let counted = std::array::from_fn(|s| s < samples);
        let mut both = [each(|s| angles[0][s] - angles[1][s]), sum(&angles[0], &angles[1])];
        let count = if layer.images { 2 } else { 1 };
        for y in &mut both[..count] {
            if layer.inverted {
                let beta = beta_lanes::<FUSED>(function, y, &counted)[0];
                *y = each(|s| y[s] + 2.0 * beta[s]);
            } else {
                *y = layer.solve_single_lanes::<FUSED>(function, y, samples).0;
            }
        }
        let [distance, total] = both;
        angles[0] = each(|s| 0.5 * (total[s] + distance[s]));
        angles[1] = each(|s| 0.5 * (total[s] - distance[s]));
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
