//! Optimisers of the variational parameters.
//!
//! Each turns a batch of samples into a step. Adding one: a file here with its settings and its
//! [`Optimiser`], and its lines in [`OptimiserSettings`].

pub mod adam;
pub(crate) mod damping;
pub mod energy_natural_gradient;
pub mod lbfgs;
pub mod rayleigh_gauss_newton;
pub mod settings;
pub mod stochastic_reconfiguration;
mod tangents;

pub use adam::AdamSettings;
pub use energy_natural_gradient::EnergyNaturalGradientSettings;
pub use lbfgs::LbfgsSettings;
pub use rayleigh_gauss_newton::RayleighGaussNewtonSettings;
pub use settings::{Bound, Labels, Settings};
pub use stochastic_reconfiguration::{SolveSpace, StochasticReconfigurationSettings};

use crate::local_energy::{Batch, Derivatives};
use crate::math::linalg::{self, LinearError};
use crate::math::statistics::median;
use crate::wavefunction::WavefunctionSettings;
use faer::Mat;
use serde::{Deserialize, Serialize};

/// The optimiser of a run and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OptimiserSettings {
    /// The one that suits the wavefunction: [`OptimiserSettings::complete`].
    Automatic,
    /// Adam: D. Kingma, J. Ba, arXiv:1412.6980.
    Adam(AdamSettings),
    /// Stochastic reconfiguration: S. Sorella, Phys. Rev. Lett. 80, 4558 (1998).
    StochasticReconfiguration(StochasticReconfigurationSettings),
    /// Rayleigh–Gauss–Newton: R. Webber, M. Lindsey, Phys. Rev. Research 4, 033099 (2022).
    RayleighGaussNewton(RayleighGaussNewtonSettings),
    /// Energy natural gradient: J. Müller, M. Zeinhofer, Proc. Machine Learning Research 202, 25471 (2023).
    EnergyNaturalGradient(EnergyNaturalGradientSettings),
    /// L-BFGS on fixed samples with reweighting: C. Umrigar et al., Phys. Rev. Lett. 60, 1719 (1988).
    Lbfgs(LbfgsSettings),
}

impl Default for OptimiserSettings {
    fn default() -> Self {
        OptimiserSettings::RayleighGaussNewton(Default::default())
    }
}

impl OptimiserSettings {
    /// What a spec without an optimiser says.
    pub fn automatic() -> Self {
        OptimiserSettings::Automatic
    }

    /// Writes out the settings that follow the wavefunction: [`RayleighGaussNewtonSettings`], with those of
    /// [`RayleighGaussNewtonSettings::unbounded`] for Waveflow.
    pub fn complete(&mut self, wavefunction: &WavefunctionSettings) {
        if *self == OptimiserSettings::Automatic {
            *self = OptimiserSettings::RayleighGaussNewton(match wavefunction {
                WavefunctionSettings::Waveflow(_) => RayleighGaussNewtonSettings::unbounded(),
                WavefunctionSettings::Weyl(_) | WavefunctionSettings::SectorBase(_) => {
                    RayleighGaussNewtonSettings::default()
                }
            });
        }
    }

    /// What the settings say of themselves.
    pub fn settings(&self) -> &dyn Settings {
        match self {
            OptimiserSettings::Automatic => &RayleighGaussNewtonSettings::DEFAULT,
            OptimiserSettings::Adam(s) => s,
            OptimiserSettings::StochasticReconfiguration(s) => s,
            OptimiserSettings::RayleighGaussNewton(s) => s,
            OptimiserSettings::EnergyNaturalGradient(s) => s,
            OptimiserSettings::Lbfgs(s) => s,
        }
    }

    /// The optimiser at the start of a run.
    pub fn build(&self) -> Box<dyn Optimiser> {
        self.settings().build()
    }
}

/// A change of the parameters and what to report of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Added to the parameters.
    pub change: Vec<f64>,
    /// Euclidean norm of the energy gradient `2 <O (E_L - E)>`, in Hartree.
    pub gradient_norm: f64,
    /// `sqrt(d^T S d)`: the angle by which the state turns, in radians.
    pub step_norm: f64,
    /// Learning rate or imaginary-time step in force.
    pub tau: f64,
}

/// Where a run stands and how bold its next step may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// From 0 at the first iteration to 1 at the last.
    pub progress: f64,
    /// Multiplies the learning rate or imaginary-time step: 1, or less after a step was taken back.
    pub caution: f64,
}

/// The samples of a batch at other parameters.
pub trait Landscape {
    /// The same configurations with all derivatives; none where something is not finite.
    fn at(&mut self, parameters: &[f64]) -> Option<Batch>;
}

/// Turns batches of samples into steps.
pub trait Optimiser: Send {
    /// Which derivatives its batches must carry.
    fn derivatives(&self) -> Derivatives;

    /// Share of its samples that should go to the tails: see [`Batch::weight`].
    fn tails(&self) -> f64 {
        0.0
    }

    /// Weight of the variance of the local energy, in inverse Hartree, in what the last [`Self::steps`] minimise.
    fn variance_weight(&self) -> f64 {
        0.0
    }

    /// Alternatives for the next step; at least one.
    fn steps(
        &mut self,
        batch: &Batch,
        pace: Pace,
        landscape: &mut dyn Landscape,
    ) -> Result<Vec<Step>, LinearError>;

    /// Which of them was taken, if any.
    fn took(&mut self, _choice: Option<usize>) {}

    /// Forgets what belongs to single parameters: the same state has others now.
    fn reparametrised(&mut self) {}

    /// Everything that the next step depends on besides its arguments.
    fn memory(&self) -> Vec<f64> {
        Vec::new()
    }

    /// Continues from a [`Self::memory`]; false if it is none of this optimiser with so many parameters.
    #[must_use]
    fn recall(&mut self, memory: &[f64], _parameters: usize) -> bool {
        memory.is_empty()
    }
}

/// Share of a run with the full step; the optimisers with curvature are near their floor after it.
const FULL_STEP_SHARE: f64 = 0.2;

/// `start` during the first fifth of the run, then falling geometrically to `start * fraction`.
///
/// The caution of the pace comes on top.
fn schedule(start: f64, fraction: f64, pace: Pace) -> f64 {
    let past = (pace.progress - FULL_STEP_SHARE) / (1.0 - FULL_STEP_SHARE);
    start * fraction.powf(past.clamp(0.0, 1.0)) * pace.caution
}

/// Share of the values, the most remote, that the spread of the others is measured without.
const REMOTE: f64 = 2e-3;
/// Share of that spread, in root mean square, below which the median absolute deviation does not count: where an
/// interaction has short range, most samples feel nothing and their median deviation is nothing.
const LEAST_WIDTH: f64 = 0.2;

/// The median plus and minus `clip` robust deviations: the median absolute one, or a fifth of the root mean square without
/// the most remote values where that is more (a normal distribution has 0.67 and 0.2 of its standard deviation).
pub fn clip_range(energies: &[f64], clip: f64) -> (f64, f64) {
    let middle = median(&mut energies.to_vec());
    let mut spread: Vec<f64> = energies.iter().map(|e| (e - middle).abs()).collect();
    let absolute = median(&mut spread);
    let remote = (REMOTE * spread.len() as f64).ceil() as usize;
    let kept = spread.len().saturating_sub(remote);
    if kept > 0 && kept < spread.len() {
        spread.select_nth_unstable_by(kept, f64::total_cmp);
    }
    let square = spread[..kept].iter().map(|d| d * d).sum::<f64>() / kept.max(1) as f64;
    let width = clip * absolute.max(LEAST_WIDTH * square.sqrt());
    (middle - width, middle + width)
}

/// Share of the spread of the local energy in the unit of energy of a state: all of it where it has no kinetic energy.
const SPREAD_SHARE: f64 = 0.1;

/// The unit of energy of the state of a batch, in Hartree: its kinetic energy with a share of the spread of its local energy.
///
/// With it nothing in training has a unit of its own: it follows a change of the unit of length as the Hamiltonian
/// does, and a constant in the potential leaves it alone.
fn unit(batch: &Batch, clip: f64, variance: f64) -> f64 {
    let (low, high) = clip_range(&batch.kinetic, clip);
    let total: f64 = batch.weight.iter().sum();
    let pairs = batch.kinetic.iter().zip(&batch.weight);
    let kinetic = pairs.map(|(t, w)| w * t.clamp(low, high)).sum::<f64>() / total;
    kinetic.max(0.0) + SPREAD_SHARE * variance.sqrt() + f64::MIN_POSITIVE
}

/// The least-squares problem of the local energy's variance over the samples as they were drawn.
///
/// C. J. Umrigar, C. Filippi, Phys. Rev. Lett. 94, 150201 (2005), with the Jacobian `dE_L/dp` alone: terms from the
/// change of the density are proportional to the residual, which vanishes at an eigenstate.
struct Residual {
    /// `dE_L/dp` minus its mean, row-major.
    jacobian: Vec<f64>,
    /// `<J (E_L - mean)>`.
    force: Vec<f64>,
}

impl Residual {
    /// Residuals beyond `width` keep their direction but lose influence (Huber's weights).
    fn new(batch: &Batch, width: f64) -> Self {
        let (n, p) = (batch.samples(), batch.parameters);
        let middle = median(&mut batch.local_energy.clone());
        let weight: Vec<f64> = batch
            .local_energy
            .iter()
            .map(|e| (width / (e - middle).abs().max(f64::MIN_POSITIVE)).min(1.0))
            .collect();
        let total: f64 = weight.iter().sum();
        // Weighted means let the unknown energy drop out.
        let mean = weight.iter().zip(&batch.local_energy).map(|(w, e)| w * e).sum::<f64>() / total;
        let mut centre = vec![0.0; p];
        for (w, row) in weight.iter().zip(batch.energy_gradient.chunks_exact(p.max(1))) {
            centre.iter_mut().zip(row).for_each(|(c, g)| *c += w * g / total);
        }
        let mut jacobian = batch.energy_gradient.clone();
        let mut force = vec![0.0; p];
        for (i, row) in jacobian.chunks_exact_mut(p.max(1)).enumerate() {
            let (root, r) = (weight[i].sqrt(), batch.local_energy[i] - mean);
            for ((g, c), f) in row.iter_mut().zip(&centre).zip(&mut force) {
                *g = root * (*g - c);
                *f += root * *g * r / n as f64;
            }
        }
        Residual { jacobian, force }
    }
}

/// Euclidean norm.
fn norm(v: &[f64]) -> f64 {
    v.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Subtracts from rows of `O` their mean and gives them the roots of their weights.
fn centre(o: &mut [f64], parameters: usize, clipped: &Clipped) {
    let count = clipped.weight.len().max(1) as f64;
    let mut mean = vec![0.0; parameters];
    for (row, w) in o.chunks_exact(parameters.max(1)).zip(&clipped.weight) {
        mean.iter_mut().zip(row).for_each(|(m, o)| *m += w * o / count);
    }
    for (row, r) in o.chunks_exact_mut(parameters.max(1)).zip(&clipped.root) {
        row.iter_mut().zip(&mean).for_each(|(o, m)| *o = r * (*o - m));
    }
}

/// Local energies of a batch as the steps see them, and the weights of the samples.
struct Clipped {
    /// Importance weights, of mean 1.
    weight: Vec<f64>,
    /// Their square roots: energies and rows of `O` carry them, so that plain sums of their products are expectations.
    root: Vec<f64>,
    /// Local energies, clipped about the median and minus their mean.
    energy: Vec<f64>,
    /// Distance from the median beyond which local energies are clipped.
    width: f64,
    /// Which samples were not clipped.
    inside: Vec<bool>,
    /// Variance of the clipped energies.
    variance: f64,
    /// The [unit] of energy.
    unit: f64,
}

impl Clipped {
    /// Clips local energies at `clip` median absolute deviations: a rare huge one would turn the step, not
    /// inform it. Reported energies are never clipped.
    fn new(batch: &Batch, clip: f64) -> Self {
        let n = batch.samples();
        let (low, high) = clip_range(&batch.local_energy, clip);
        let width = 0.5 * (high - low);
        let mut energy: Vec<f64> = batch.local_energy.iter().map(|e| e.clamp(low, high)).collect();
        let inside = batch.local_energy.iter().map(|e| (low..=high).contains(e)).collect();
        let total: f64 = batch.weight.iter().sum();
        let weight: Vec<f64> = batch.weight.iter().map(|w| w * n as f64 / total).collect();
        let root: Vec<f64> = weight.iter().map(|w| w.sqrt()).collect();
        let count = n.max(1) as f64;
        let mean_energy = energy.iter().zip(&weight).map(|(e, w)| e * w).sum::<f64>() / count;
        energy.iter_mut().zip(&root).for_each(|(e, r)| *e = r * (*e - mean_energy));
        let variance = energy.iter().map(|e| e * e).sum::<f64>() / count;
        let unit = unit(batch, clip, variance);
        Clipped { weight, root, energy, width, inside, variance, unit }
    }

    /// The weight of the variance in `E + weight/2 Var(E_L)` in inverse Hartree: `relative` times `e / (e² + σ²)` plus a tenth of
    /// `1/σ`, with the unit `e` of energy and the standard deviation `σ`.
    ///
    /// Times `σ` it is never more than 0.6. Far from an eigenstate the variance so counts for little of the energy, whatever its
    /// size; close to one, where the energy is known to its noise only, which is a share of `σ`, the variance decides.
    fn variance_weight(&self, relative: f64) -> f64 {
        let sigma = self.variance.sqrt() + f64::MIN_POSITIVE;
        relative * (self.unit / (self.unit * self.unit + self.variance) + CLOSE / sigma)
    }

    /// Whether the state is far from an eigenstate: the variance, though it bounds the error of the energy, says little
    /// of it.
    fn is_far(&self) -> bool {
        self.variance.sqrt() > FAR * self.unit
    }
}

/// Local energies are clipped at this many robust deviations where no setting says otherwise.
const CLIP: f64 = 30.0;

/// The (clipped) variance of the local energy of a batch, in [units](unit) of energy squared.
pub(crate) fn relative_variance(batch: &Batch) -> f64 {
    let clipped = Clipped::new(batch, CLIP);
    clipped.variance / (clipped.unit * clipped.unit)
}

/// Share of the standard deviation that half the variance term is at an eigenstate.
const CLOSE: f64 = 0.1;

/// Spread of the local energy in [units](unit) of energy beyond which a state is far from an eigenstate.
const FAR: f64 = 0.05;

/// Centred quantities of a batch that carries `O` as a matrix.
struct Centred {
    samples: usize,
    parameters: usize,
    /// Weights and local energies.
    clipped: Clipped,
    /// `O_k` minus its mean, row-major.
    o: Vec<f64>,
}

impl Centred {
    fn new(batch: &Batch, clip: f64) -> Self {
        let (samples, parameters) = (batch.samples(), batch.parameters);
        let clipped = Clipped::new(batch, clip);
        let mut o = batch.log_gradient.clone();
        centre(&mut o, parameters, &clipped);
        Centred { samples, parameters, clipped, o }
    }

    /// `F_k = <O_k (E_L - E)>`, half the energy gradient.
    fn force(&self) -> Vec<f64> {
        let mut f = vec![0.0; self.parameters];
        for (row, e) in self.o.chunks_exact(self.parameters.max(1)).zip(&self.clipped.energy) {
            f.iter_mut().zip(row).for_each(|(f, o)| *f += o * e);
        }
        f.iter_mut().for_each(|f| *f /= self.samples.max(1) as f64);
        f
    }

    /// `O d` for each sample.
    fn along(&self, d: &[f64]) -> Vec<f64> {
        self.o
            .chunks_exact(self.parameters.max(1))
            .map(|row| row.iter().zip(d).map(|(o, d)| o * d).sum())
            .collect()
    }

    /// `sqrt(d^T S d)` without the matrix.
    fn metric_norm(&self, d: &[f64]) -> f64 {
        let square: f64 = self.along(d).iter().map(|v| v * v).sum();
        (square / self.samples.max(1) as f64).sqrt()
    }

    /// `S / tau` with a shift and the wavefunction's roughness, both relative to the largest element of `S`, in units of
    /// energy: `tau` is in units of inverse energy.
    fn metric(&self, batch: &Batch, tau: f64, shift: f64, smoothing: f64) -> Mat<f64> {
        let (n, p) = (self.samples, self.parameters);
        let mut metric = linalg::gram(linalg::rows(&self.o, n, p), 1.0 / n as f64);
        let unit = self.clipped.unit;
        let largest = unit * (0..p).map(|k| metric[(k, k)]).fold(0.0, f64::max);
        for j in 0..p {
            for i in 0..p {
                metric[(i, j)] *= unit / tau;
            }
            metric[(j, j)] += shift * largest + f64::MIN_POSITIVE;
        }
        for form in &batch.roughness {
            for &(i, a) in form {
                for &(j, b) in form {
                    metric[(i, j)] += smoothing * largest * a * b;
                }
            }
        }
        metric
    }

    /// A step inside the trust region.
    fn finish(&self, change: Vec<f64>, force: &[f64], trust_radius: f64, tau: f64) -> Step {
        let step_norm = self.metric_norm(&change);
        Step::within(change, step_norm, norm(force), trust_radius, tau)
    }
}

impl Step {
    /// Scales a change of the given norm into the trust region; `force` is the norm of `<O (E_L - E)>`.
    fn within(
        mut change: Vec<f64>,
        mut step_norm: f64,
        force: f64,
        trust_radius: f64,
        tau: f64,
    ) -> Self {
        if step_norm > trust_radius {
            let scale = trust_radius / step_norm;
            change.iter_mut().for_each(|c| *c *= scale);
            step_norm = trust_radius;
        }
        Step { change, gradient_norm: 2.0 * force, step_norm, tau }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deviates of a distribution that no sample misses: its quantiles.
    fn quantiles(of: impl Fn(f64) -> f64, count: usize) -> Vec<f64> {
        (0..count).map(|i| of((i as f64 + 0.5) / count as f64)).collect()
    }

    #[test]
    fn the_clip_does_not_collapse_where_most_samples_feel_nothing() {
        // Nine in ten are equal to rounding, the others felt an interaction of up to 10 Ha.
        let energies =
            quantiles(|u| if u < 0.9 { 1.0 + 1e-9 * u } else { 100.0 * (u - 0.9) }, 1000);
        let (low, high) = clip_range(&energies, 30.0);
        assert!(low < 0.0 && high > 10.0, "{low} {high}");
        // A few absurd ones change nothing.
        let mut absurd = energies.clone();
        absurd[500] = 1e8;
        absurd[501] = -1e8;
        let (a, b) = clip_range(&absurd, 30.0);
        assert!((a - low).abs() < 0.05 * (high - low) && (b - high).abs() < 0.05 * (high - low));
        // Well-behaved energies go by their median deviation, as ever.
        let logistic = quantiles(|u| (u / (1.0 - u)).ln(), 1001);
        let (low, high) = clip_range(&logistic, 30.0);
        let median_deviation = 3f64.ln();
        assert!((high - low - 60.0 * median_deviation).abs() < 0.1 * median_deviation);
    }

    #[test]
    fn the_weight_of_the_variance_has_the_unit_of_the_state() {
        let kinetic = quantiles(|u| 1.0 + u, 400);
        let batch = |energy: f64, shift: f64, spread: f64| {
            let e = |u: f64| shift + energy * (3.0 + spread * (u - 0.5));
            Batch {
                local_energy: quantiles(e, 400),
                kinetic: kinetic.iter().map(|t| energy * t).collect(),
                weight: vec![1.0; 400],
                ..Batch::default()
            }
        };
        let weight = |b: &Batch| Clipped::new(b, CLIP).variance_weight(1.0);
        for spread in [1e-6, 1e-3, 1.0, 30.0] {
            let one = weight(&batch(1.0, 0.0, spread));
            for energy in [1e-4, 1e4] {
                let other = weight(&batch(energy, 0.0, spread));
                assert!((other * energy / one - 1.0).abs() < 1e-6, "{spread} {energy}");
            }
            assert!((weight(&batch(1.0, 1e3, spread)) / one - 1.0).abs() < 1e-6, "{spread}");
            let sigma = spread / 12f64.sqrt();
            assert!(one * sigma < 0.61, "{spread}: {one}");
        }
        // It grows towards an eigenstate.
        assert!(weight(&batch(1.0, 0.0, 1e-3)) > 10.0 * weight(&batch(1.0, 0.0, 1.0)));
    }
}
