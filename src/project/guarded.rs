//! A guide without nodes, where the trained state has some: its density mixed with a little of a state that has none.

use super::{STREAMS, Settings};
use crate::local_energy::{self, BatchId, Derivatives};
use crate::math::statistics::Moments;
use crate::sampling::{Purpose, Sampling, open_uniform, stream};
use crate::system::{Geometry, Sector, System};
use crate::wavefunction::slopes::Slopes;
use crate::wavefunction::untrained::{no_parameter_gradients, no_parameters};
use crate::wavefunction::{Evaluator, LogPsi, Wavefunction, WavefunctionError};

/// Shares of the guard that are tried, each half of the one before: with a thousandth walkers do not find the valleys, whose energy is then
/// missing (a pair in a trap was 9 error bars off).
const LARGEST: f64 = 0.064;
const SHARES: i32 = 4;
/// Samples of each mixture, and the share that goes to the tails.
const SAMPLES: usize = 16_384;
const TAILS: f64 = 0.5;
/// A variance that is larger than the least by no more than this factor is as good: the more of a guard there is, the wider are the
/// valleys in place of nodes, and the fewer extremes there are that samples may have missed.
const ALIKE: f64 = 1.5;
/// Samples of a guard among which none may have another sign.
const SIGNS: usize = 4096;

/// `phi = sqrt((psi² + share · guard²) / (1 + share))`: as good as psi but near its nodes, which it does not have, and sampled as
/// exactly.
pub(super) struct Guarded<'a> {
    psi: &'a dyn Wavefunction,
    guard: &'a dyn Wavefunction,
    share: f64,
}

impl<'a> Guarded<'a> {
    pub(super) fn new(psi: &'a dyn Wavefunction, guard: &'a dyn Wavefunction, share: f64) -> Self {
        Guarded { psi, guard, share }
    }

    /// The largest share at which local energies scatter little; none where the guard has nodes itself, which may be those of psi.
    pub(super) fn choose(
        psi: &'a dyn Wavefunction,
        guard: &'a dyn Wavefunction,
        system: System,
        settings: &Settings,
    ) -> Option<f64> {
        if has_nodes(guard, settings.seed) {
            return None;
        }
        let variance = |share: f64| {
            let id = BatchId {
                sampling: Sampling::QuasiRandom,
                seed: settings.seed,
                purpose: Purpose::Analysis,
                number: STREAMS - 5,
                first: 0,
                tails: TAILS,
            };
            let mixed = Guarded::new(psi, guard, share);
            let batch = local_energy::draw(&mixed, system, id, SAMPLES, Derivatives::None);
            Moments::weighted(&batch.local_energy, &batch.weight).variance()
        };
        let shares = (0..SHARES).map(|k| LARGEST * 0.5f64.powi(k));
        let found: Vec<_> = shares.map(|share| (share, variance(share))).collect();
        let least = found.iter().map(|f| f.1).fold(f64::INFINITY, f64::min);
        found.into_iter().find(|f| f.1 <= ALIKE * least).map(|f| f.0)
    }
}

/// Whether a few thousand samples have both signs.
pub(super) fn has_nodes(psi: &dyn Wavefunction, seed: u64) -> bool {
    let mut rng = stream(seed, Purpose::Analysis, STREAMS - 6, 0);
    let mut evaluator = psi.evaluator();
    let mut uniforms = vec![0.0; psi.uniforms()];
    let mut x = vec![0.0; psi.sector().particles()];
    let mut sign = || {
        uniforms.fill_with(|| open_uniform(&mut rng));
        evaluator.sample(&uniforms, &mut x);
        evaluator.log_psi(&x).sign
    };
    let first = sign();
    (1..SIGNS).any(|_| sign() != first)
}

impl Wavefunction for Guarded<'_> {
    fn sector(&self) -> Sector {
        self.psi.sector()
    }

    no_parameters!();

    fn interval(&self, geometry: &Geometry) -> (f64, f64) {
        let (a, b) = (self.psi.interval(geometry), self.guard.interval(geometry));
        (a.0.min(b.0), a.1.max(b.1))
    }

    fn uniforms(&self) -> usize {
        // One more chooses between the two.
        1 + self.psi.uniforms().max(self.guard.uniforms())
    }

    fn evaluator_for(&self, configurations: usize) -> Box<dyn Evaluator + '_> {
        Box::new(Mixture {
            psi: self.psi.evaluator_for(configurations),
            guard: self.guard.evaluator_for(configurations),
            uniforms: [self.psi.uniforms(), self.guard.uniforms()],
            share: self.share,
            gradient: vec![0.0; self.psi.sector().particles()],
        })
    }
}

struct Mixture<'a> {
    psi: Box<dyn Evaluator + 'a>,
    guard: Box<dyn Evaluator + 'a>,
    uniforms: [usize; 2],
    share: f64,
    gradient: Vec<f64>,
}

impl Mixture<'_> {
    /// `log phi`, and the shares of both densities at a place.
    fn mixed(&self, psi: LogPsi, guard: LogPsi) -> (LogPsi, f64, f64) {
        let (a, b) = (2.0 * psi.log_abs, 2.0 * guard.log_abs + self.share.ln());
        let most = a.max(b);
        let (a, b) = ((a - most).exp(), (b - most).exp());
        let log_abs = 0.5 * (most + (a + b).ln() - self.share.ln_1p());
        (LogPsi { log_abs, sign: 1.0 }, a / (a + b), b / (a + b))
    }
}

impl Evaluator for Mixture<'_> {
    fn sample(&mut self, uniforms: &[f64], x: &mut [f64]) {
        let width = 1 + self.uniforms[0].max(self.uniforms[1]);
        let n = self.gradient.len();
        for (u, x) in uniforms.chunks_exact(width).zip(x.chunks_exact_mut(n)) {
            if u[width - 1] * (1.0 + self.share) < 1.0 {
                self.psi.sample(&u[..self.uniforms[0]], x);
            } else {
                self.guard.sample(&u[..self.uniforms[1]], x);
            }
        }
    }

    fn log_psi(&mut self, x: &[f64]) -> LogPsi {
        let (psi, guard) = (self.psi.log_psi(x), self.guard.log_psi(x));
        self.mixed(psi, guard).0
    }

    fn derivatives(&mut self, x: &[f64], gradient: &mut [f64]) -> (LogPsi, f64) {
        let (psi, laplacian) = self.psi.derivatives(x, gradient);
        let (guard, other) = self.guard.derivatives(x, &mut self.gradient);
        let (log, a, b) = self.mixed(psi, guard);
        // ∇ log phi = a ∇ log psi + b ∇ log guard, and ∇ a = 2 a b (∇ log psi - ∇ log guard).
        let mut apart = 0.0;
        for (g, &h) in gradient.iter_mut().zip(&self.gradient) {
            apart += (*g - h).powi(2);
            *g = a * *g + b * h;
        }
        (log, a * laplacian + b * other + 2.0 * a * b * apart)
    }

    no_parameter_gradients!();

    fn round_trip_error(&mut self, x: &[f64]) -> f64 {
        self.psi.round_trip_error(x).max(self.guard.round_trip_error(x))
    }

    fn slopes(&mut self, x: &[f64]) -> Slopes {
        self.psi.slopes(x).max(self.guard.slopes(x))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::rayleigh_quotient;
    use crate::project::tests::{built, noded};

    #[test]
    fn mixtures_are_normalised_sampled_and_differentiated_as_one_state() {
        let (spec, psi) = noded();
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let guard = psi.without_nodes().unwrap();
        assert!(has_nodes(psi.as_ref(), 0) && !has_nodes(guard.as_ref(), 0));
        let mixed = Guarded::new(psi.as_ref(), guard.as_ref(), 0.1);
        assert!(!has_nodes(&mixed, 0));
        let quotient = rayleigh_quotient(&mixed, system).unwrap();
        assert!((quotient.norm - 1.0).abs() < 1e-6, "{quotient:?}");
        let id = BatchId {
            sampling: Sampling::Random,
            seed: 3,
            purpose: Purpose::Analysis,
            number: 0,
            first: 0,
            tails: 0.0,
        };
        let batch = local_energy::draw(&mixed, system, id, 4096, Derivatives::None);
        let mut moments = Moments::default();
        batch.local_energy.iter().for_each(|&e| moments.push(e));
        let deviation = (moments.mean() - quotient.energy).abs();
        assert!(deviation < 4.0 * moments.standard_error(), "{moments:?} {quotient:?}");
        let mut evaluator = mixed.evaluator();
        for x in batch.x.chunks_exact(2).take(8) {
            let mut gradient = [0.0; 2];
            let (log, laplacian) = evaluator.derivatives(x, &mut gradient);
            assert_eq!(log.sign, 1.0);
            let h = 1e-4;
            let mut second = 0.0;
            for k in 0..2 {
                let mut at = |d: f64| {
                    let mut y = x.to_vec();
                    y[k] += d;
                    evaluator.log_psi(&y).log_abs
                };
                let (a, b) = (at(-h), at(h));
                let slope = (b - a) / (2.0 * h);
                let scale = 1.0 + laplacian.abs();
                assert!((slope - gradient[k]).abs() < 1e-4 * scale, "{slope} {gradient:?}");
                second += (a + b - 2.0 * log.log_abs) / (h * h);
            }
            assert!((second - laplacian).abs() < 1e-3 * (1.0 + laplacian.abs()));
        }
    }

    #[test]
    fn a_guard_with_nodes_is_none() {
        let (spec, psi) = noded();
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let settings = Settings::default();
        assert_eq!(Guarded::choose(psi.as_ref(), psi.as_ref(), system, &settings), None);
        let (_, other) = built(super::super::tests::HARMONIUM);
        assert!(other.without_nodes().is_none());
    }
}
