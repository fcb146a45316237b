//! Whether walks give an energy: the length that is believed, and what refuses it.

use super::projection::Variational;
use super::refusal::Refusal;
use super::state::Walk;
use super::walker::Tally;
use super::windows::{Action, Curve, CurvePoint, HALF};
use super::{Job, ROUNDING};
use crate::math::statistics::Moments;

/// Least effective share of windows.
const LEAST_SHARE: f64 = 0.2;
/// A correction that changes by less than this share of it has reached its plateau.
const SMALL: f64 = 0.02;
/// Part of the correction, and of the error of the energy, that one walker may bring.
const LARGEST_PART: f64 = 0.2;
const LARGEST_ERROR: f64 = 0.7;
/// Error bars by which walkers and exact samples may differ.
const DRIFT: f64 = 4.0;
/// What a share of one beyond nodes may hide, in kinetic energies: its local energy turns around within the wavelength of the node.
const SURFACE: f64 = 4.0;
/// The share beyond nodes that counts for none: rounding of sums.
const NO_NODES: f64 = 1e-12;

/// What walks of one step came to.
pub(super) struct Found {
    pub(super) curve: Curve,
    pub(super) lengths: Vec<usize>,
    /// The length that is believed.
    pub(super) chosen: usize,
    pub(super) refusal: Option<Refusal>,
    /// Imaginary time of a step.
    pub(super) clock: f64,
}

/// Plain means over walks.
pub(super) struct Bulk {
    /// Mean local energy, relative to the variational one, and its standard error.
    pub(super) deviation: f64,
    pub(super) error: f64,
    /// What the cap of the action leaves out of the mean size of local energies.
    pub(super) excess: f64,
}

/// Plain means over walks, which are independent of each other.
pub(super) fn bulk(action: &Action, walks: &[Walk]) -> Bulk {
    let mut means = Moments::default();
    let mut excess = Moments::default();
    let weight = walks.iter().map(|w| w.weight).sum::<f64>() / walks.len() as f64;
    for walk in walks {
        let relative: Vec<f64> =
            walk.energies(usize::MAX).iter().map(|e| e - action.origin).collect();
        let share = walk.weight / weight / relative.len() as f64;
        means.push(share * relative.iter().sum::<f64>());
        excess.push(share * relative.iter().map(|e| (e.abs() - action.cap).max(0.0)).sum::<f64>());
    }
    let (deviation, error) = (means.mean(), means.standard_error());
    Bulk { deviation, error, excess: excess.mean() }
}

impl Job<'_> {
    pub(super) fn verdict(
        &self,
        curve: Curve,
        lengths: Vec<usize>,
        variational: Variational,
        (bulk, all): (Bulk, Tally),
        clock: Option<f64>,
    ) -> Found {
        let enough = |p: &CurvePoint| p.effective_share >= LEAST_SHARE;
        let chosen = match self.settings.beta {
            Some(_) => curve.points.len() - 1,
            None => curve.points.iter().rposition(enough).unwrap_or(0),
        };
        let point = curve.points[chosen];
        let (delta, error) = (point.correction, point.standard_error);
        let whole = delta + self.shift;
        let total = error.hypot(variational.standard_error);
        let (fall, fall_error) = curve.falls[chosen];
        // Rounding of the sums.
        let rounding = ROUNDING * (1.0 + variational.energy.abs());
        let tolerance = self.settings.tolerance.unwrap_or(SMALL * whole.abs()).max(rounding);
        let small = (0.7 * error).max(tolerance);
        let (change, change_error) = curve.quadrature[chosen];
        let part = curve.largest_part[chosen];
        let (beyond, kinetic) = all.nodes();
        let bound = SURFACE * beyond * kinetic.abs();
        let drift_error = bulk.error.hypot(variational.standard_error);
        let refusal = if clock.is_none() {
            Some(Refusal::Clock)
        } else if !(delta.is_finite() && error.is_finite() && fall.is_finite()) {
            Some(Refusal::NotANumber)
        } else if beyond > NO_NODES && bound > (0.5 * total).max(tolerance) {
            Some(Refusal::Nodes { share: beyond, bound })
        } else if bulk.excess > (0.3 * error).max(tolerance) {
            Some(Refusal::Cap { excess: bulk.excess })
        } else if bulk.deviation.abs() > DRIFT * drift_error + rounding {
            Some(Refusal::Drift { deviation: bulk.deviation, error: drift_error })
        } else if !enough(&point)
            || chosen < HALF && chosen + 1 < curve.points.len() && self.settings.beta.is_none()
        {
            // Also where no half of its length says whether there is a plateau.
            let beyond = curve.points[if enough(&point) { chosen + 1 } else { chosen }];
            let share = beyond.effective_share;
            Some(Refusal::Weights { share, least: LEAST_SHARE, beta: beyond.beta })
        } else if fall > small && curve.points.len() == chosen + 1 {
            Some(Refusal::NoPlateau { beta: point.beta, fall, error: fall_error })
        } else if fall > small.max(0.5 * total) + 2.0 * fall_error {
            // Longer projections have no weight left.
            let share = curve.points[chosen + 1].effective_share;
            let beta = curve.points[chosen + 1].beta;
            Some(Refusal::Weights { share, least: LEAST_SHARE, beta })
        } else if change.abs() > (0.5 * error).max(tolerance).max(2.0 * change_error) {
            Some(Refusal::Quadrature { change: 3.0 * change, error: 3.0 * change_error })
        } else if part > LARGEST_PART * whole.abs()
            && part > LARGEST_ERROR * total
            && part > tolerance
        {
            Some(Refusal::Walker { part, correction: whole })
        } else {
            None
        };
        let clock = clock.unwrap_or(f64::NAN);
        Found { curve, lengths, chosen, refusal, clock }
    }
}
