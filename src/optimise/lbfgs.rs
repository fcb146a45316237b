//! L-BFGS on fixed samples: deterministic minimisation of a reweighted estimate.
//!
//! Correlated sampling: C. J. Umrigar, K. G. Wilson, J. W. Wilkins, Phys. Rev. Lett. 60, 1719 (1988). Samples of the
//! state `p_0` estimate the energy and variance of the state `p` with the weights `|psi_p / psi_{p_0}|²`; that estimate is
//! a smooth function of `p` with an exact gradient, which argmin's L-BFGS minimises until the weights have become too
//! uneven or the evaluations are used up. The next iteration starts on samples of its own.

use super::damping::Damping;
use super::{Bound, CentredBatch, Landscape, Optimiser, Pace, Settings, Step};
use crate::local_energy::{Batch, Derivatives};
use crate::math::linalg::{Factor, LinearError};
use crate::objective::ground_state::reweighted;
use crate::objective::robust::clip_range;
use crate::objective::{ObjectiveSettings, Weights};
use argmin::core::{CostFunction, Error, Executor, Gradient, State};
use argmin::solver::linesearch::{BacktrackingLineSearch, condition::ArmijoCondition};
use argmin::solver::quasinewton::LBFGS;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;

/// Settings of L-BFGS on fixed samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LbfgsSettings {
    /// Evaluations of energy and gradient on the samples of one iteration.
    pub evaluations: usize,
    /// Pairs of steps and gradients that are remembered.
    pub memory: usize,
    /// Imaginary-time step of the first step, in units of one over the kinetic energy: the metric `S / tau + shift + smoothing` conditions
    /// the problem.
    pub tau: f64,
    /// Shift of that metric, relative to the largest diagonal element of the overlap matrix.
    pub shift: f64,
    /// Weight of the wavefunction's roughness in that metric, on the same scale.
    pub smoothing: f64,
    /// Weight of the variance of the local energy in what is minimised, `E + variance/2 e Var(E_L) / (e² + Var(E_L))` with
    /// the kinetic energy `e` as unit and the last variance in the denominator. A minimum of the energy alone on fixed samples is mostly their noise: the weight is large.
    pub variance: f64,
    /// Share of the samples drawn with more weight on the tails, in [0, 1).
    pub tails: f64,
    /// Smallest effective share of the samples, `(sum w)² / (n sum w²)`, at which their weights are still trusted.
    pub effective_share: f64,
    /// Largest step of an iteration in the norm of the overlap matrix, in radians.
    pub trust_radius: f64,
    /// Local energies are clipped at this many median absolute deviations.
    pub clip: f64,
}

impl Default for LbfgsSettings {
    fn default() -> Self {
        LbfgsSettings {
            evaluations: 50,
            memory: 20,
            tau: 1.0,
            shift: 1e-3,
            smoothing: 1e-2,
            variance: 20.0,
            tails: 0.4,
            effective_share: 0.7,
            trust_radius: 0.5,
            clip: 30.0,
        }
    }
}

impl Settings for LbfgsSettings {
    fn name(&self) -> &'static str {
        "L-BFGS on fixed samples"
    }

    fn bounds(&self) -> Vec<(&'static str, f64, Bound)> {
        let LbfgsSettings {
            evaluations,
            memory,
            tau,
            shift,
            smoothing,
            variance,
            tails,
            effective_share,
            trust_radius,
            clip,
        } = self;
        vec![
            ("evaluations", *evaluations as f64, Bound::Count),
            ("memory", *memory as f64, Bound::Count),
            ("tau", *tau, Bound::Positive),
            ("shift", *shift, Bound::Positive),
            ("smoothing", *smoothing, Bound::NotNegative),
            ("variance", *variance, Bound::NotNegative),
            ("tails", *tails, Bound::Decay),
            ("effective_share", *effective_share, Bound::Fraction),
            ("trust_radius", *trust_radius, Bound::Positive),
            ("clip", *clip, Bound::Positive),
        ]
    }

    fn numbers(&self, samples: f64, _particles: f64, parameters: f64) -> f64 {
        4.0 * samples * parameters + (3.0 * parameters + 2.0 * self.memory as f64) * parameters
    }

    fn variance(&self) -> f64 {
        self.variance
    }

    fn build(&self, objective: ObjectiveSettings) -> Box<dyn Optimiser> {
        Box::new(Lbfgs::new(self.clone(), objective))
    }
}

/// Shares of the way to the minimum that are offered as steps.
const SHARES: [f64; 3] = [1.0, 0.5, 0.2];

/// L-BFGS on the samples of one iteration after the other.
#[derive(Clone, Debug)]
pub struct Lbfgs {
    settings: LbfgsSettings,
    damping: Damping,
    objective: ObjectiveSettings,
    /// What the last steps weighed.
    weights: Weights,
}

impl Lbfgs {
    /// A fresh start.
    pub fn new(settings: LbfgsSettings, objective: ObjectiveSettings) -> Self {
        Lbfgs { settings, damping: Damping(1.0), objective, weights: Weights::ENERGY }
    }
}

impl Optimiser for Lbfgs {
    fn derivatives(&self) -> Derivatives {
        Derivatives::LocalEnergy
    }

    fn tails(&self) -> f64 {
        self.settings.tails
    }

    fn weights(&self) -> Weights {
        self.weights
    }

    fn steps(
        &mut self,
        batch: &Batch,
        _pace: Pace,
        landscape: &mut dyn Landscape,
    ) -> Result<Vec<Step>, LinearError> {
        let s = &self.settings;
        let centred = CentredBatch::new(batch, s.clip);
        let force = centred.force();
        self.weights = centred.clipped.weights(self.objective.objective(), s.variance);
        let metric = Factor::new(&centred.metric(s.tau, s.shift, s.smoothing))?;
        let search = Search {
            start: batch,
            range: clip_range(&batch.local_energy, s.clip),
            settings: s,
            metric: &metric,
            weights: self.weights,
            damping: self.damping.0,
            seen: RefCell::new(Seen {
                landscape,
                evaluations: 0,
                last: None,
                best: (f64::INFINITY, batch.parameters.clone()),
            }),
        };
        let line = BacktrackingLineSearch::new(ArmijoCondition::new(1e-4).expect("in (0, 1)"))
            .rho(0.3)
            .expect("in (0, 1)");
        let solver: LBFGS<_, Vec<f64>, Vec<f64>, f64> = LBFGS::new(line, s.memory);
        // Whatever ends the search, the best state seen is taken: running out of trusted weights is its normal end.
        let _ = Executor::new(&search, solver)
            .configure(|state| state.param(vec![0.0; force.len()]).max_iters(s.evaluations as u64))
            .timer(false)
            .run()
            .map(|result| result.state.get_iter());
        let best = search.seen.into_inner().best.1;
        // The way to the minimum on these samples is judged on others: the last part of it may be their noise.
        let along = |share: f64| {
            let change = best.iter().zip(&batch.parameters).map(|(b, a)| share * (b - a)).collect();
            centred.finish(change, &force, s.trust_radius, s.tau / centred.clipped.unit)
        };
        Ok(SHARES.map(along).to_vec())
    }

    fn took(&mut self, choice: Option<usize>) {
        self.damping.took(choice);
    }

    fn memory(&self) -> Vec<f64> {
        vec![self.damping.0]
    }

    fn recall(&mut self, memory: &[f64], _parameters: usize) -> bool {
        let [damping] = *memory else { return false };
        self.damping = Damping(damping);
        damping.is_finite()
    }
}

/// The estimate on fixed samples as a function of `q`, with `p = p_0 + L^-T q` for the metric `L L^T`, plus
/// `damping |q|²`: few samples know little of far states.
struct Search<'a> {
    start: &'a Batch,
    range: (f64, f64),
    settings: &'a LbfgsSettings,
    metric: &'a Factor,
    weights: Weights,
    damping: f64,
    seen: RefCell<Seen<'a>>,
}

struct Seen<'a> {
    landscape: &'a mut dyn Landscape,
    evaluations: usize,
    /// Point, cost and gradient of the last evaluation: argmin asks for the two apart.
    last: Option<(Vec<f64>, f64, Vec<f64>)>,
    /// Lowest cost and its parameters.
    best: (f64, Vec<f64>),
}

impl Search<'_> {
    fn evaluate(&self, q: &[f64]) -> Result<(f64, Vec<f64>), Error> {
        let mut seen = self.seen.borrow_mut();
        if let Some((point, cost, gradient)) = &seen.last
            && point == q
        {
            return Ok((*cost, gradient.clone()));
        }
        if seen.evaluations >= self.settings.evaluations {
            return Err(Error::msg("the evaluations are used up"));
        }
        seen.evaluations += 1;
        let change = self.metric.solve_transposed(q);
        let p: Vec<f64> = self.start.parameters.iter().zip(&change).map(|(p, c)| p + c).collect();
        let s = self.settings;
        let there = seen.landscape.at(&p);
        let found = there.and_then(|there| {
            reweighted(self.start, &there, self.range, self.weights, s.effective_share)
        });
        // Infinite where the weights are not trusted: the line search turns back.
        let (cost, gradient) = match found {
            Some((cost, gradient)) => {
                let damping = self.damping;
                let mut gradient = self.metric.solve(&gradient);
                gradient.iter_mut().zip(q).for_each(|(g, q)| *g += 2.0 * damping * q);
                (cost + damping * q.iter().map(|q| q * q).sum::<f64>(), gradient)
            }
            None => (f64::INFINITY, vec![0.0; q.len()]),
        };
        if cost < seen.best.0 {
            seen.best = (cost, p);
        }
        seen.last = Some((q.to_vec(), cost, gradient.clone()));
        Ok((cost, gradient))
    }
}

impl CostFunction for &Search<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, q: &Self::Param) -> Result<f64, Error> {
        Ok(self.evaluate(q)?.0)
    }
}

impl Gradient for &Search<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, q: &Self::Param) -> Result<Vec<f64>, Error> {
        Ok(self.evaluate(q)?.1)
    }
}
