//! Energy and variance of one state in an [`Objective`], `energy E + variance/2 Var(E_L)`, robust against rare huge local energies.
//!
//! Written once, in the four forms in which training meets it: what a step sees (`Clipped`) of a batch, the
//! least squares (`Residual`) of its variance, the value by which steps are chosen (`Merit`), and value and gradient
//! on the samples of another state (`reweighted`).

use super::robust::{CLIP, Huber, clip_range, unit};
use super::{Objective, Outlook, Weights};
use crate::local_energy::Batch;
use crate::math::statistics::{Moments, median};
use crate::math::tall::Centred;

/// The kinetic energy of the state of a batch without the most remote values, in Hartree.
fn kinetic(batch: &Batch, clip: f64) -> f64 {
    let (low, high) = clip_range(&batch.kinetic, clip);
    let total: f64 = batch.weight.iter().sum();
    let pairs = batch.kinetic.iter().zip(&batch.weight);
    pairs.map(|(t, w)| w * t.clamp(low, high)).sum::<f64>() / total
}

/// Local energies of a batch as the steps see them, and the weights of the samples.
pub(crate) struct Clipped {
    /// Importance weights, of mean 1.
    pub(crate) weight: Vec<f64>,
    /// Their square roots: energies and rows of `O` carry them, so that plain sums of their products are expectations.
    pub(crate) root: Vec<f64>,
    /// Local energies, clipped about the median and minus their mean.
    pub(crate) energy: Vec<f64>,
    /// Distance from the median beyond which local energies are clipped.
    pub(crate) width: f64,
    /// Which samples were not clipped.
    pub(crate) inside: Vec<bool>,
    /// Variance of the clipped energies.
    pub(crate) variance: f64,
    /// The [unit] of energy.
    pub(crate) unit: f64,
}

impl Clipped {
    /// Clips local energies at `clip` median absolute deviations: a rare huge one would turn the step, not
    /// inform it. Reported energies are never clipped.
    pub(crate) fn new(batch: &Batch, clip: f64) -> Self {
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
        let unit = unit(kinetic(batch, clip), variance);
        Clipped { weight, root, energy, width, inside, variance, unit }
    }

    /// Rows of a matrix of the samples, weighted as these.
    pub(crate) fn centred<'a>(&self, rows: &'a [f64], columns: usize) -> Centred<'a> {
        Centred::new(rows, columns, &self.weight, self.weight.len().max(1) as f64)
    }

    /// What an objective weighs in the state, where the optimiser gives the variance such a share.
    pub(crate) fn weights(&self, objective: &dyn Objective, share: f64) -> Weights {
        objective.weights(&Outlook { unit: self.unit, variance: self.variance, share })
    }

    /// Whether the state is far from an eigenstate: the variance, though it bounds the error of the energy, says little
    /// of it.
    pub(crate) fn is_far(&self) -> bool {
        self.variance.sqrt() > FAR * self.unit
    }
}

/// The (clipped) variance of the local energy of a batch, in [units](unit) of energy squared.
pub fn relative_variance(batch: &Batch) -> f64 {
    let clipped = Clipped::new(batch, CLIP);
    clipped.variance / (clipped.unit * clipped.unit)
}

/// Spread of the local energy in [units](unit) of energy beyond which a state is far from an eigenstate.
const FAR: f64 = 0.05;

/// The least-squares problem of the local energy's variance over the samples as they were drawn.
///
/// C. J. Umrigar, C. Filippi, Phys. Rev. Lett. 94, 150201 (2005), with the Jacobian `dE_L/dp` alone: terms from the
/// change of the density are proportional to the residual, which vanishes at an eigenstate.
pub(crate) struct Residual<'a> {
    /// `dE_L/dp` minus its mean.
    pub(crate) jacobian: Centred<'a>,
    /// `<J (E_L - mean)>`.
    pub(crate) force: Vec<f64>,
}

impl<'a> Residual<'a> {
    /// Residuals beyond `width` keep their direction but lose influence (Huber's weights).
    pub(crate) fn new(batch: &'a Batch, width: f64) -> Self {
        let n = batch.samples() as f64;
        let middle = median(&mut batch.local_energy.clone());
        let huber = Huber { width };
        let weight: Vec<f64> =
            batch.local_energy.iter().map(|e| huber.weight(e - middle)).collect();
        let total: f64 = weight.iter().sum();
        // Weighted means let the unknown energy drop out.
        let pairs = || weight.iter().zip(&batch.local_energy);
        let mean = pairs().map(|(w, e)| w * e).sum::<f64>() / total;
        let jacobian = Centred::new(&batch.energy_gradient, batch.parameter_count, &weight, total);
        let force = jacobian.combine(pairs().map(|(w, e)| w * (e - mean) / n));
        Residual { jacobian, force }
    }
}

/// Share of good samples below which a state is not compared.
const GOOD_SHARE: f64 = 0.9;

/// What is minimised, on given samples: energy and variance by their weights, both robust against rare huge local
/// energies.
///
/// Energies far below count as clipped: they promise what is not there. Those far above count in full where steps are chosen among, or a step
/// that sends a few samples up would pass for a good one.
///
/// All candidates are compared through the same uniforms and the same clipping, so that their differences are
/// much more precise than the energies.
pub(crate) struct Merit {
    middle: f64,
    width: f64,
    /// Highest deviation that counts.
    highest: f64,
    weights: Weights,
}

impl Merit {
    pub(crate) fn new(batch: &Batch, weights: Weights, choosy: bool) -> Self {
        let (low, high) = clip_range(&batch.local_energy, CLIP);
        let width = 0.5 * (high - low);
        let highest = if choosy { f64::INFINITY } else { width };
        Merit { middle: 0.5 * (low + high), width, highest, weights }
    }

    /// The merit of the state of a batch and its standard error; infinite where samples are missing.
    pub(crate) fn of(&self, batch: &Batch, samples: usize) -> (f64, f64) {
        if (batch.samples() as f64) < GOOD_SHARE * samples as f64 {
            return (f64::INFINITY, 0.0);
        }
        let deviations: Vec<f64> = batch.local_energy.iter().map(|e| e - self.middle).collect();
        let clipped: Vec<f64> =
            deviations.iter().map(|d| d.clamp(-self.width, self.highest)).collect();
        let moments = Moments::weighted(&clipped, &batch.weight);
        let mean = moments.mean();
        let huber = Huber { width: self.width };
        let losses = deviations.iter().map(|d| huber.loss(d - mean)).sum::<f64>();
        let variance = losses / deviations.len() as f64;
        let Weights { energy, variance: of_variance } = self.weights;
        let merit = energy * mean + 0.5 * of_variance * variance;
        (merit, energy * moments.standard_error())
    }
}

/// `energy E + variance/2 Var(E_L)` of the state of `there`, on samples of the state of `start`, and its gradient.
///
/// In the energy, local energies are clipped to `range`; in the variance, those beyond its width count linearly, so that
/// making them worse is never free. Importance weights are left out of the variance, where the tails count in full. None
/// where the weights leave too small an effective share of the samples.
pub(crate) fn reweighted(
    start: &Batch,
    there: &Batch,
    (low, high): (f64, f64),
    Weights { energy, variance }: Weights,
    effective_share: f64,
) -> Option<(f64, Vec<f64>)> {
    let (n, p) = (start.samples(), start.parameter_count);
    let ratio: Vec<f64> =
        (0..n).map(|i| (2.0 * (there.log_psi[i] - start.log_psi[i])).exp()).collect();
    let [sum, square] = [1, 2].map(|power| ratio.iter().map(|r| r.powi(power)).sum::<f64>());
    let share = sum * sum / (n as f64 * square);
    if share.is_nan() || share < effective_share {
        return None;
    }
    let total: f64 = ratio.iter().zip(&start.weight).map(|(r, w)| r * w).sum();
    let weight = |i: usize| ratio[i] * start.weight[i] / total;
    let even = |i: usize| ratio[i] / sum;
    let e = &there.local_energy;
    let clipped = |i: usize| e[i].clamp(low, high);
    let mean: f64 = (0..n).map(|i| weight(i) * clipped(i)).sum();
    let huber = Huber { width: 0.5 * (high - low) };
    let spread: f64 = (0..n).map(|i| even(i) * huber.loss(e[i] - mean)).sum();
    let pull: f64 = (0..n).map(|i| even(i) * huber.slope(e[i] - mean)).sum();
    let mut gradient = vec![0.0; p];
    for i in 0..n {
        // The derivative of a mean of v with weights w is the mean of dv/dp + 2 (v - mean) O.
        let inside = f64::from(u8::from(clipped(i) == e[i]));
        let (loss, slope) = (huber.loss(e[i] - mean), huber.slope(e[i] - mean));
        let of_mean = weight(i) * (energy - 0.5 * variance * pull);
        let of_spread = 0.5 * variance * even(i);
        let of_energy = of_mean * inside + of_spread * slope;
        let of_log = 2.0 * (of_mean * (clipped(i) - mean) + of_spread * (loss - spread));
        let rows = i * p..(i + 1) * p;
        let (o, de) = (&there.log_gradient[rows.clone()], &there.energy_gradient[rows]);
        for ((g, o), de) in gradient.iter_mut().zip(o).zip(de) {
            *g += of_energy * de + of_log * o;
        }
    }
    Some((energy * mean + 0.5 * variance * spread, gradient))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local_energy::{self, BatchId, Derivatives};
    use crate::objective::ObjectiveSettings;
    use crate::sampling::{Purpose, Sampling};
    use crate::system::{External, Geometry, Hamiltonian, Interaction, Sector, System};
    use crate::wavefunction::weyl::{Weyl, WeylSettings};
    use crate::wavefunction::{Wavefunction, WavefunctionError};

    /// Deviates of a distribution that no sample misses: its quantiles.
    fn quantiles(of: impl Fn(f64) -> f64, count: usize) -> Vec<f64> {
        (0..count).map(|i| of((i as f64 + 0.5) / count as f64)).collect()
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
        let objective = ObjectiveSettings::default();
        let weight = |b: &Batch| Clipped::new(b, CLIP).weights(objective.objective(), 1.0).variance;
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

    #[test]
    fn the_reweighted_estimate_has_the_gradient_it_claims() -> Result<(), WavefunctionError> {
        let hamiltonian = Hamiltonian {
            title: String::new(),
            external: External::Harmonic { frequency: 1.0 },
            interaction: Interaction::SoftCoulomb { strength: 2.0, softening: 0.5 },
        };
        let geometry = Geometry::Box { half_width: 6.0 };
        let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
        let settings = WeylSettings { pair_cells: Some(6), ..Default::default() };
        let mut psi = Weyl::new(&settings, Sector::new(2, 0), system)?;
        let id = BatchId {
            sampling: Sampling::Random,
            seed: 3,
            purpose: Purpose::Training,
            number: 0,
            first: 0,
            tails: 0.3,
        };
        let start = local_energy::draw(&psi, system, id, 400, Derivatives::LocalEnergy);
        // A clip that some samples meet: the gradient must know.
        let range = clip_range(&start.local_energy, 4.0);
        let p: Vec<f64> = (0..start.parameter_count).map(|k| 0.02 * (k as f64).sin()).collect();
        for weights in [(1.0, 0.7), (0.0, 0.7), (0.3, 0.0)] {
            let weights = Weights { energy: weights.0, variance: weights.1 };
            let mut at = |p: &[f64]| {
                psi.set_parameters(p).unwrap();
                let there = local_energy::at(&psi, system, &start.x, Derivatives::LocalEnergy);
                assert!(there.local_energy.iter().any(|e| *e > range.1));
                reweighted(&start, &there, range, weights, 0.2).unwrap()
            };
            let (_, gradient) = at(&p);
            let size = gradient.iter().fold(0.0f64, |a, g| a.max(g.abs()));
            for k in 0..p.len() {
                let best = (3..=6)
                    .map(|e| {
                        let h = 10f64.powi(-e);
                        let mut moved = |h: f64| {
                            let mut q = p.clone();
                            q[k] += h;
                            at(&q).0
                        };
                        ((moved(h) - moved(-h)) / (2.0 * h) - gradient[k]).abs()
                    })
                    .fold(f64::INFINITY, f64::min);
                assert!(best < 1e-6 * size, "parameter {k}: {best} of {size}");
            }
        }
        Ok(())
    }
}
