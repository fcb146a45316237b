//! What makes an objective robust against rare huge local energies, and gives it its unit.

use crate::math::statistics::median;

/// Local energies are clipped, and count linearly, beyond this many robust deviations where no setting says otherwise.
pub(crate) const CLIP: f64 = 30.0;

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

/// Huber's loss (P. J. Huber, Ann. Math. Stat. 35, 73 (1964)): the square of what is near, linear beyond the width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Huber {
    /// Where it becomes linear.
    pub(crate) width: f64,
}

impl Huber {
    /// The loss of a residual.
    pub(crate) fn loss(self, r: f64) -> f64 {
        let r = r.abs();
        if r <= self.width { r * r } else { self.width * (2.0 * r - self.width) }
    }

    /// Its derivative.
    pub(crate) fn slope(self, r: f64) -> f64 {
        2.0 * r.clamp(-self.width, self.width)
    }

    /// The weight with which a square has that derivative.
    pub(crate) fn weight(self, r: f64) -> f64 {
        (self.width / r.abs().max(f64::MIN_POSITIVE)).min(1.0)
    }
}

/// Share of the spread of the local energy in the unit of energy of a state: all of it where it has no kinetic energy.
const SPREAD_SHARE: f64 = 0.1;

/// The unit of energy of a state, in Hartree: its kinetic energy with a share of the spread of its local energy.
///
/// With it nothing in training has a unit of its own: it follows a change of the unit of length as the Hamiltonian
/// does, and a constant in the potential leaves it alone.
pub(crate) fn unit(kinetic: f64, variance: f64) -> f64 {
    kinetic.max(0.0) + SPREAD_SHARE * variance.sqrt() + f64::MIN_POSITIVE
}

/// Share of the standard deviation that half the variance term is at an eigenstate.
const CLOSE: f64 = 0.1;

/// The weight of the variance in `E + weight/2 Var(E_L)` in inverse Hartree: `relative` times `e / (e² + v)` plus a tenth of
/// `1/σ`, with the [unit] `e` of energy, the variance `v` and the standard deviation `σ`.
///
/// Times `σ` it is never more than 0.6. Far from an eigenstate the variance so counts for little of the energy, whatever its
/// size; close to one, where the energy is known to its noise only, which is a share of `σ`, the variance decides.
pub(crate) fn variance_weight(relative: f64, unit: f64, variance: f64, sigma: f64) -> f64 {
    let sigma = sigma + f64::MIN_POSITIVE;
    relative * (unit / (unit * unit + variance) + CLOSE / sigma)
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
}
