//! The lowest states of a sector from one flow: Rayleigh–Ritz in the span of all of them.
//!
//! With the overlaps `S = <u u^T>` and `H = <u h^T>` of [samples](super::mixture) the energies are the eigenvalues of the
//! symmetric part of `A = S^-1 H`. The sampled `S` stays, although it is known to be one: with it the energies have no
//! variance where the span holds eigenstates (M. P. Nightingale, V. Melik-Alaverdian, Phys. Rev. Lett. 87, 043401 (2001)).

use super::mixture::{MixtureId, Rows, draw, draw_with};
use super::robust::{Huber, unit, variance_weight};
use crate::local_energy::Fault;
use crate::math::linalg::{self, LinearError};
use crate::math::statistics::median;
use crate::optimise::RayleighGaussNewtonSettings;
use crate::optimise::damping::Damping;
use crate::sampling::{Purpose, Sampling};
use crate::system::System;
use crate::train::{Schedule, StopReason, Stopping, TrainingState};
use crate::wavefunction::weyl::ensemble::LowestStates;
use crate::wavefunction::{Wavefunction, WavefunctionError};
use faer::prelude::Solve;
use faer::{Mat, Side};
use std::ops::ControlFlow;

/// Energies and the rotation to them of an estimate of `S` and `H`.
#[derive(Clone, Debug)]
pub struct Ritz {
    /// Ascending, in Hartree.
    pub energies: Vec<f64>,
    /// `S^-1 H`.
    pub a: Mat<f64>,
    /// Orthonormal columns: the states with these energies.
    pub rotation: Mat<f64>,
}

impl Ritz {
    /// From `<u u^T>` and `<u h^T>`.
    ///
    /// # Errors
    /// [`LinearError`] where they are singular or not finite.
    pub fn of(s: &Mat<f64>, h: &Mat<f64>) -> Result<Self, LinearError> {
        let k = s.nrows();
        let a = s.partial_piv_lu().solve(h);
        let symmetric = Mat::from_fn(k, k, |i, j| 0.5 * (a[(i, j)] + a[(j, i)]));
        if (0..k * k).any(|i| !symmetric[(i / k, i % k)].is_finite()) {
            return Err(LinearError::Singular);
        }
        let eigen = symmetric.self_adjoint_eigen(Side::Lower).map_err(|_| LinearError::Singular)?;
        let energies = (0..k).map(|i| eigen.S()[i]).collect();
        let mut rotation = eigen.U().to_owned();
        for q in 0..k {
            let largest = (0..k)
                .map(|i| rotation[(i, q)])
                .fold(0.0_f64, |a, b| if b.abs() > a.abs() { b } else { a });
            if largest < 0.0 {
                (0..k).for_each(|i| rotation[(i, q)] = -rotation[(i, q)]);
            }
        }
        Ok(Ritz { energies, a, rotation })
    }

    /// `C^T sym(S^-1 D) C`: an observable between the states.
    fn turned(&self, s: &Mat<f64>, d: &Mat<f64>) -> Mat<f64> {
        let k = s.nrows();
        let b = s.partial_piv_lu().solve(d);
        let symmetric = Mat::from_fn(k, k, |i, j| 0.5 * (b[(i, j)] + b[(j, i)]));
        self.rotation.transpose() * symmetric * &self.rotation
    }
}

/// `<a b^T>` over samples.
fn product(rows: &Rows, a: &[f64], b: &[f64]) -> Mat<f64> {
    let k = rows.states;
    let n = rows.samples().max(1) as f64;
    let mut m = Mat::zeros(k, k);
    for ((w, a), b) in rows.weight.iter().zip(a.chunks_exact(k)).zip(b.chunks_exact(k)) {
        for l in 0..k {
            for q in 0..k {
                m[(q, l)] += w * a[q] * b[l] / n;
            }
        }
    }
    m
}

/// Turns the states of rows of `width` numbers each.
fn turn(rows: &mut [f64], rotation: &Mat<f64>, width: usize) {
    let k = rotation.nrows();
    let mut turned = vec![0.0; k * width];
    for block in rows.chunks_exact_mut((k * width).max(1)) {
        turned.fill(0.0);
        for q in 0..k {
            let to = &mut turned[q * width..(q + 1) * width];
            for l in 0..k {
                let c = rotation[(l, q)];
                let from = &block[l * width..(l + 1) * width];
                to.iter_mut().zip(from).for_each(|(t, f)| *t += c * f);
            }
        }
        block.copy_from_slice(&turned);
    }
}

/// `rows - u m`, states by states.
fn minus(rows: &mut [f64], from: &[f64], m: &Mat<f64>, width: usize) {
    let k = m.nrows();
    let size = (k * width).max(1);
    for (block, from) in rows.chunks_exact_mut(size).zip(from.chunks_exact(size)) {
        for q in 0..k {
            for l in 0..k {
                let c = m[(l, q)];
                let to = &mut block[q * width..(q + 1) * width];
                to.iter_mut().zip(&from[l * width..(l + 1) * width]).for_each(|(t, f)| *t -= c * f);
            }
        }
    }
}

/// Rows in the basis of their Ritz states, with residuals `rho = h - u A`.
struct Turned {
    rows: Rows,
    overlap: Mat<f64>,
    a: Mat<f64>,
    energies: Vec<f64>,
    residuals: Vec<f64>,
}

impl Turned {
    fn new(mut rows: Rows) -> Result<Self, LinearError> {
        let (s, h) = (product(&rows, &rows.u, &rows.u), product(&rows, &rows.u, &rows.h));
        let Ritz { energies, rotation, .. } = Ritz::of(&s, &h)?;
        let p = rows.parameters;
        for (values, width) in [
            (&mut rows.u, 1),
            (&mut rows.h, 1),
            (&mut rows.t, 1),
            (&mut rows.du, p),
            (&mut rows.dh, p),
        ] {
            if !values.is_empty() {
                turn(values, &rotation, width);
            }
        }
        let (s, h) = (product(&rows, &rows.u, &rows.u), product(&rows, &rows.u, &rows.h));
        let a = s.partial_piv_lu().solve(&h);
        let mut residuals = rows.h.clone();
        minus(&mut residuals, &rows.u, &a, 1);
        Ok(Turned { rows, overlap: s, a, energies, residuals })
    }

    /// `sum_k w_k <u_k t_k>`, the kinetic energy.
    fn kinetic(&self, weights: &[f64]) -> f64 {
        let t = product(&self.rows, &self.rows.u, &self.rows.t);
        weights.iter().enumerate().map(|(k, w)| w * t[(k, k)]).sum::<f64>().max(0.0)
    }

    /// Variances of the states, with importance weights.
    fn variances(&self) -> Vec<f64> {
        let square = product(&self.rows, &self.residuals, &self.residuals);
        (0..self.rows.states).map(|k| square[(k, k)]).collect()
    }

    /// The sum of energies and of robust variances that tells good steps.
    fn merit(&self, weights: &[f64], variance: f64, width: f64) -> f64 {
        let k = self.rows.states;
        let n = self.rows.samples().max(1) as f64;
        let huber = Huber { width };
        let energy: f64 = weights.iter().zip(&self.energies).map(|(w, e)| w * e).sum();
        let squares: f64 = self
            .residuals
            .chunks_exact(k)
            .flat_map(|row| row.iter().zip(weights))
            .map(|(r, w)| w * huber.loss(*r) / n)
            .sum();
        energy + 0.5 * variance * squares
    }
}

/// What an iteration found before its step.
#[derive(Clone, Debug)]
pub struct SpectrumReport {
    /// Number of the iteration, from 0.
    pub iteration: usize,
    /// Energies, in Hartree.
    pub energies: Vec<f64>,
    /// Variances, in Hartree².
    pub variances: Vec<f64>,
    /// Norm of the force.
    pub gradient_norm: f64,
    /// Norm of the step taken, in the metric of the states; zero where none was.
    pub step_norm: f64,
    /// Imaginary-time step.
    pub tau: f64,
    /// Samples.
    pub samples: usize,
    /// Samples left out.
    pub rejected: usize,
    /// Some of them.
    pub faults: Vec<Fault>,
}

/// Why there is no training.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SpectrumError {
    /// The observer ended it.
    #[error("interrupted")]
    Interrupted,
    /// A linear system without a solution: the states are no longer independent.
    #[error("the states of the samples are not independent, or not finite: {0}")]
    Linear(#[from] LinearError),
    /// A state to go on from that is none of these states.
    #[error("the state to go on from does not fit the states")]
    State,
    /// Parameters that do not fit.
    #[error(transparent)]
    Wavefunction(#[from] WavefunctionError),
}

/// Summed variance, in units of the kinetic energy squared, below which nothing is left to learn: its square root is the
/// scale of an energy's error only where a gap is as small.
const EIGENSTATES: f64 = 1e-11;
/// Iterations without a step after which a training stops, and those that are compared with as many before.
const STUCK: usize = 4;
const WINDOW: usize = 3;
/// What the variance must have lost by then.
const PROGRESS: f64 = 0.9;
/// Fewest samples of a state in an iteration.
const LEAST_SAMPLES: usize = 64;

/// Samples of each state, where `samples` local energies may be evaluated: each sample takes one of every state.
pub fn samples_of_each(samples: usize, states: usize) -> usize {
    (samples / (states * states)).max(LEAST_SAMPLES)
}

/// A training of the states that has not begun.
pub fn begin(states: &LowestStates) -> TrainingState {
    TrainingState::remembering(states.parameters(), vec![1.0])
}

/// Trains the states together from where `state` stands, with `weights` that sum to one.
///
/// `watch` sees every iteration with the state after it and may end the training there; a later call with that state goes
/// on as if nothing had happened.
///
/// # Errors
/// See [`SpectrumError`].
pub fn train(
    states: &mut LowestStates,
    system: System,
    settings: &RayleighGaussNewtonSettings,
    schedule: &Schedule,
    weights: &[f64],
    state: &mut TrainingState,
    mut watch: impl FnMut(&SpectrumReport, &TrainingState) -> ControlFlow<()>,
) -> Result<StopReason, SpectrumError> {
    let k = states.states.len();
    let each = samples_of_each(schedule.samples, k);
    let p = states.parameters().len();
    let roughness = states.states[0].roughness();
    let [damping] = state.optimiser[..] else { return Err(SpectrumError::State) };
    if !state.fits(p) || !damping.is_finite() {
        return Err(SpectrumError::State);
    }
    let mut damping = Damping(damping);
    states.set_parameters(&state.parameters)?;
    while state.iteration < schedule.iterations && !state.settled {
        let iteration = state.iteration;
        let id = MixtureId {
            sampling: schedule.sampling,
            seed: schedule.seed,
            purpose: Purpose::Training,
            number: iteration as u64,
            tails: settings.tails,
        };
        let turned = Turned::new(draw(&states.states, system, id, each, true))?;
        state.rejected += turned.rows.rejected;
        let variances = turned.variances();
        let kinetic = turned.kinetic(weights);
        let spread: f64 = weights.iter().zip(&variances).map(|(w, v)| w * v).sum();
        let mut report = SpectrumReport {
            iteration,
            energies: turned.energies.clone(),
            variances,
            gradient_norm: f64::NAN,
            step_norm: 0.0,
            tau: 0.0,
            samples: turned.rows.samples(),
            rejected: turned.rows.rejected,
            faults: turned.rows.faults.clone(),
        };
        state.iteration += 1;
        if p == 0 || spread < EIGENSTATES * kinetic * kinetic {
            (state.settled, state.stuck) = (true, 0);
            if watch(&report, state).is_break() {
                return Err(SpectrumError::Interrupted);
            }
            break;
        }
        let (middle, width) = {
            let mut sizes: Vec<f64> = turned.residuals.iter().map(|r| r.abs()).collect();
            let middle = median(&mut sizes);
            (middle, settings.clip * middle.max(0.2 * spread.sqrt()))
        };
        let unit = unit(kinetic, spread);
        let variance = variance_weight(settings.variance, unit, spread, spread.sqrt().max(middle));
        let step = Step::new(turned, weights, variance, width, &roughness, settings, unit);
        report.gradient_norm = 2.0 * step.force.iter().map(|f| f * f).sum::<f64>().sqrt();
        let trial = MixtureId { purpose: Purpose::Trial, ..id };
        let merit = |states: &LowestStates| {
            let rows = draw(&states.states, system, trial, each.div_ceil(2), false);
            let enough = rows.samples() as f64 > 0.9 * (k * each.div_ceil(2)) as f64;
            match Turned::new(rows) {
                Ok(turned) if enough => turned.merit(weights, variance, width),
                _ => f64::INFINITY,
            }
        };
        let mut best = (merit(states), None);
        for (index, strength) in damping.tried().into_iter().enumerate() {
            let Some((change, norm)) = step.solve(strength, settings.trust_radius) else {
                continue;
            };
            let there: Vec<f64> =
                state.parameters.iter().zip(&change).map(|(v, c)| v - c).collect();
            states.set_parameters(&there)?;
            let found = merit(states);
            if found < best.0 {
                best = (found, Some((index, there, norm, settings.tau / (strength * unit))));
            }
        }
        damping.took(best.1.as_ref().map(|best| best.0));
        state.optimiser = vec![damping.0];
        match best.1 {
            Some((_, there, norm, tau)) => {
                (state.parameters, report.step_norm, report.tau, state.stuck) =
                    (there, norm, tau, 0);
                state.variances.push(spread);
            }
            None => state.stuck += 1,
        }
        states.set_parameters(&state.parameters)?;
        if schedule.stopping == Stopping::Plateau {
            let lost = state.variances.len().checked_sub(2 * WINDOW).is_none_or(|start| {
                let (before, after) = state.variances[start..].split_at(WINDOW);
                after.iter().sum::<f64>() < PROGRESS * before.iter().sum::<f64>()
            });
            state.settled = state.stuck >= STUCK || !lost;
        }
        if watch(&report, state).is_break() {
            return Err(SpectrumError::Interrupted);
        }
    }
    Ok(state.stopped_of_several(STUCK))
}

/// The linear system of a step.
struct Step {
    force: Vec<f64>,
    curvature: Mat<f64>,
    metric: Mat<f64>,
    damped: Mat<f64>,
}

impl Step {
    /// `J_k = dh_k - sum_l du_l A_lk`; it and `du` are taken without their parts in the span of `u`. The force is
    /// `sum_k w_k <du_k rho_k + v J_k rho_k>`, the curvature `sum_k w_k <du_k J_k^T + v J_k J_k^T>`, and the metric
    /// `sum_k w_k <du_k du_k^T>`: for one state Rayleigh–Gauss–Newton.
    fn new(
        turned: Turned,
        weights: &[f64],
        variance: f64,
        width: f64,
        roughness: &[Vec<(usize, f64)>],
        settings: &RayleighGaussNewtonSettings,
        unit: f64,
    ) -> Self {
        let Turned { mut rows, overlap, a, residuals, .. } = turned;
        let (k, p, n) = (rows.states, rows.parameters, rows.samples());
        let mut jacobian = std::mem::take(&mut rows.dh);
        minus(&mut jacobian, &rows.du, &a, p);
        let inverse = overlap.partial_piv_lu().solve(Mat::<f64>::identity(k, k));
        let mut du = std::mem::take(&mut rows.du);
        for target in [&mut du, &mut jacobian] {
            project(target, &rows, &inverse);
        }
        let scale = 1.0 / n.max(1) as f64;
        let mut force = vec![0.0; p];
        let (mut left, mut right) = (du, jacobian.clone());
        let mut fit = jacobian;
        for i in 0..n * k {
            let (w, v) = (weights[i % k], rows.weight[i / k]);
            let r = residuals[i];
            let (clipped, keep) = (r.clamp(-width, width), f64::from(u8::from(r.abs() <= width)));
            let huber = Huber { width }.weight(r);
            let root = (w * v).sqrt();
            let bent = (w * huber * variance).sqrt();
            for j in i * p..(i + 1) * p {
                let d = left[j];
                force[j - i * p] += w * scale * (v * d * clipped + variance * huber * fit[j] * r);
                left[j] = root * d;
                right[j] *= root * keep;
                fit[j] *= bent;
            }
        }
        let left = linalg::rows(&left, n * k, p);
        let metric = linalg::gram(left, scale);
        let mut curvature =
            linalg::product(left.transpose(), linalg::rows(&right, n * k, p), scale);
        curvature += linalg::gram(linalg::rows(&fit, n * k, p), scale);
        let largest = unit * (0..p).map(|j| metric[(j, j)]).fold(0.0, f64::max);
        let mut damped = Mat::from_fn(p, p, |i, j| unit / settings.tau * metric[(i, j)]);
        for j in 0..p {
            damped[(j, j)] += settings.shift * largest + f64::MIN_POSITIVE;
        }
        for form in roughness {
            for &(i, x) in form {
                for &(j, y) in form {
                    damped[(i, j)] += settings.smoothing * largest * x * y;
                }
            }
        }
        Step { force, curvature, metric, damped }
    }

    /// The step at a damping, within the trust radius, and its norm.
    fn solve(&self, damping: f64, trust_radius: f64) -> Option<(Vec<f64>, f64)> {
        let p = self.force.len();
        let matrix =
            Mat::from_fn(p, p, |i, j| self.curvature[(i, j)] + damping * self.damped[(i, j)]);
        let mut step = linalg::solve_general(&matrix, &self.force).ok()?;
        let norm = linalg::quadratic_form(&self.metric, &step).max(0.0).sqrt();
        let cut = if norm > trust_radius { trust_radius / norm } else { 1.0 };
        step.iter_mut().for_each(|s| *s *= cut);
        (norm.is_finite()).then_some((step, norm * cut))
    }
}

/// Takes the parts in the span of `u` out of rows of parameters.
fn project(target: &mut [f64], rows: &Rows, inverse: &Mat<f64>) {
    let (k, p, n) = (rows.states, rows.parameters, rows.samples());
    // <u_l target_q>, then S^-1 of that.
    let mut overlap = vec![0.0; k * k * p];
    for i in 0..n {
        for l in 0..k {
            let f = rows.weight[i] * rows.u[i * k + l] / n as f64;
            let row = &target[i * k * p..(i + 1) * k * p];
            let sum = &mut overlap[l * k * p..(l + 1) * k * p];
            sum.iter_mut().zip(row).for_each(|(s, t)| *s += f * t);
        }
    }
    let mut solved = vec![0.0; k * k * p];
    for l in 0..k {
        for m in 0..k {
            let c = inverse[(l, m)];
            let from = &overlap[m * k * p..(m + 1) * k * p];
            solved[l * k * p..(l + 1) * k * p].iter_mut().zip(from).for_each(|(s, f)| *s += c * f);
        }
    }
    for i in 0..n {
        for l in 0..k {
            let u = rows.u[i * k + l];
            let from = &solved[l * k * p..(l + 1) * k * p];
            let row = &mut target[i * k * p..(i + 1) * k * p];
            row.iter_mut().zip(from).for_each(|(t, f)| *t -= u * f);
        }
    }
}

/// The final estimate of a spectrum.
#[derive(Clone, Debug)]
pub struct SpectrumEstimate {
    /// Energies with error bars, in Hartree.
    pub energies: Vec<(f64, f64)>,
    /// Energies above the lowest with error bars: from common samples, so that they are sharper than the energies.
    pub gaps: Vec<(f64, f64)>,
    /// Columns are the states of these energies in the ones that were trained, row-major.
    pub rotation: Vec<f64>,
    /// Variances, in Hartree².
    pub variances: Vec<f64>,
    /// Kinetic energies, in Hartree.
    pub kinetic: Vec<f64>,
    /// `|<k| sum x |l>|` with error bars, in bohr, row-major; the diagonal carries its sign.
    pub dipoles: Vec<(f64, f64)>,
    /// Largest difference of the sampled overlaps from one, in standard errors, and by itself.
    pub overlap: (f64, f64),
    /// One-body densities of the states, per spin: bins by states, in particles per bohr.
    pub densities: Vec<[Vec<f64>; 2]>,
    /// Edges of their bins.
    pub edges: Vec<f64>,
    /// Samples, of all states.
    pub samples: usize,
    /// Samples left out.
    pub rejected: usize,
    /// Some of them.
    pub faults: Vec<Fault>,
    /// Independent sets behind the error bars.
    pub sets: usize,
}

/// Sums of one set of samples.
struct Sums {
    s: Mat<f64>,
    h: Mat<f64>,
    hh: Mat<f64>,
    t: Mat<f64>,
    d: Mat<f64>,
}

/// Independent sets where points are random: their scatter is then the error bar as well.
const RANDOM_SETS: usize = 16;

/// Estimates the states on fresh samples; `watch` may end it, and none is returned.
///
/// # Errors
/// [`SpectrumError`].
pub fn estimate(
    states: &LowestStates,
    system: System,
    schedule: &Schedule,
    bins: usize,
    mut watch: impl FnMut() -> ControlFlow<()>,
) -> Result<SpectrumEstimate, SpectrumError> {
    let psis = &states.states;
    let k = psis.len();
    let sector = psis[0].sector();
    let n = sector.particles();
    let sets = match schedule.sampling {
        Sampling::QuasiRandom => schedule.scramblings,
        Sampling::Random => RANDOM_SETS,
    };
    let each = (samples_of_each(schedule.final_samples, k)).div_ceil(sets).next_power_of_two();
    let (left, right) = psis[0].interval(system.geometry);
    let edges: Vec<f64> =
        (0..=bins).map(|b| left + (right - left) * b as f64 / bins as f64).collect();
    // Sums of u_k u_l in every bin, by spin.
    let mut bars = [vec![0.0; bins * k * k], vec![0.0; bins * k * k]];
    let mut sums = Vec::new();
    let untrained = states.untrained();
    let (mut samples, mut rejected, mut faults) = (0, 0, Vec::new());
    for set in 0..sets {
        let id = MixtureId {
            sampling: schedule.sampling,
            seed: schedule.seed,
            purpose: Purpose::Estimate,
            number: set as u64,
            tails: 0.0,
        };
        let rows = draw_with(psis, &untrained, system, id, each, false);
        // The base knows its dipoles exactly: only what the flow adds is sampled.
        let moved = rows.x.chunks_exact(n).zip(rows.image.chunks_exact(n));
        let moved: Vec<f64> =
            moved.map(|(x, z)| x.iter().zip(z).map(|(x, z)| x - z).sum()).collect();
        let xu: Vec<f64> = rows.u.iter().enumerate().map(|(i, u)| moved[i / k] * u).collect();
        sums.push(Sums {
            s: product(&rows, &rows.u, &rows.u),
            h: product(&rows, &rows.u, &rows.h),
            hh: product(&rows, &rows.h, &rows.h),
            t: product(&rows, &rows.u, &rows.t),
            d: product(&rows, &rows.u, &xu),
        });
        for (x, u) in rows.x.chunks_exact(n).zip(rows.u.chunks_exact(k)) {
            for (spin, range) in sector.spins().enumerate() {
                let spin = if sector.up == 0 { 1 } else { spin };
                for &x in &x[range] {
                    let bin = (x - left) / (right - left) * bins as f64;
                    if bin >= 0.0 && (bin as usize) < bins {
                        let sum = &mut bars[spin][bin as usize * k * k..][..k * k];
                        (0..k * k).for_each(|i| sum[i] += u[i / k] * u[i % k]);
                    }
                }
            }
        }
        samples += rows.samples();
        rejected += rows.rejected;
        faults.extend(rows.faults);
        faults.truncate(64);
        if watch().is_break() {
            return Err(SpectrumError::Interrupted);
        }
    }
    let pooled = |leave: Option<usize>, of: fn(&Sums) -> &Mat<f64>| {
        let count = (sets - usize::from(leave.is_some())) as f64;
        let mut sum = Mat::<f64>::zeros(k, k);
        for (_, s) in sums.iter().enumerate().filter(|(i, _)| Some(*i) != leave) {
            sum += of(s);
        }
        sum * faer::Scale(1.0 / count)
    };
    // Everything that is estimated, of all sets or of all but one.
    let all = |leave: Option<usize>| -> Result<(Vec<f64>, Ritz), LinearError> {
        let s = pooled(leave, |s| &s.s);
        let ritz = Ritz::of(&s, &pooled(leave, |s| &s.h))?;
        let d = pooled(leave, |s| &s.d) + &states.dipoles;
        let d = ritz.rotation.transpose() * d * &ritz.rotation;
        let mut values = ritz.energies.clone();
        values.extend(ritz.energies.iter().map(|e| e - ritz.energies[0]));
        values.extend((0..k * k).map(|i| {
            let value = d[(i / k, i % k)];
            if i / k == i % k { value } else { value.abs() }
        }));
        Ok((values, ritz))
    };
    let (values, ritz) = all(None)?;
    let parts = (0..sets).map(|j| Ok(all(Some(j))?.0)).collect::<Result<Vec<_>, LinearError>>()?;
    let with_error = |i: usize| {
        let mean = parts.iter().map(|p| p[i]).sum::<f64>() / sets as f64;
        let square: f64 = parts.iter().map(|p| (p[i] - mean).powi(2)).sum();
        (values[i], ((sets - 1) as f64 / sets as f64 * square).sqrt())
    };
    let s = pooled(None, |s| &s.s);
    let h = pooled(None, |s| &s.h);
    // <rho rho^T> = <h h^T> - H^T S^-1 H.
    let explained = h.transpose() * &ritz.a;
    let left_over = pooled(None, |s| &s.hh) - explained;
    let variance = ritz.rotation.transpose() * left_over * &ritz.rotation;
    let kinetic = ritz.turned(&s, &pooled(None, |s| &s.t));
    let overlap = overlap(&sums.iter().map(|s| &s.s).collect::<Vec<_>>());
    let width = (right - left) / bins as f64;
    let c = &ritz.rotation;
    let density = |q: usize, spin: usize| -> Vec<f64> {
        bars[spin]
            .chunks_exact(k * k)
            .map(|m| {
                let sum: f64 = (0..k * k).map(|i| m[i] * c[(i / k, q)] * c[(i % k, q)]).sum();
                sum / (samples as f64 * width)
            })
            .collect()
    };
    Ok(SpectrumEstimate {
        energies: (0..k).map(with_error).collect(),
        gaps: (k..2 * k).map(with_error).collect(),
        rotation: (0..k * k).map(|i| c[(i / k, i % k)]).collect(),
        variances: (0..k).map(|q| variance[(q, q)].max(0.0)).collect(),
        kinetic: (0..k).map(|q| kinetic[(q, q)]).collect(),
        dipoles: (2 * k..2 * k + k * k).map(with_error).collect(),
        overlap,
        densities: (0..k).map(|q| [density(q, 0), density(q, 1)]).collect(),
        edges,
        samples,
        rejected,
        faults,
        sets,
    })
}

/// How far the sampled overlaps are from those of orthonormal states: in standard errors, and by themselves.
fn overlap(sets: &[&Mat<f64>]) -> (f64, f64) {
    let (n, k) = (sets.len() as f64, sets[0].nrows());
    let mut worst = (0.0_f64, 0.0_f64);
    for i in 0..k {
        for j in 0..=i {
            let mean = sets.iter().map(|s| s[(i, j)]).sum::<f64>() / n;
            let square: f64 = sets.iter().map(|s| (s[(i, j)] - mean).powi(2)).sum();
            let error = (square / (n * (n - 1.0))).sqrt();
            let off = (mean - if i == j { 1.0 } else { 0.0 }).abs();
            // Rounding is no evidence.
            worst.0 = worst.0.max(off / (error + 1e-12));
            worst.1 = worst.1.max(off);
        }
    }
    worst
}
