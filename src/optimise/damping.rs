//! How strongly a step is damped, by success.

/// A factor on the damping of a step, which follows success as in Levenberg–Marquardt's method: every step is computed
/// with three factors, the best on fresh samples is taken and its factor is the middle one of the next step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Damping(pub(crate) f64);

/// Factors that are tried at each step.
const TRIED: [f64; 3] = [0.1, 1.0, 10.0];
/// Growth when no step is good.
const GROWTH: f64 = 30.0;
/// Bounds: below, the noise of the samples would decide; above, nothing moves.
const BOUNDS: (f64, f64) = (1e-3, 1e4);

impl Damping {
    /// The factors to try.
    pub(crate) fn tried(self) -> [f64; 3] {
        TRIED.map(|factor| (self.0 * factor).clamp(BOUNDS.0, BOUNDS.1))
    }

    /// Follows the choice.
    pub(crate) fn took(&mut self, choice: Option<usize>) {
        let factor = choice.map_or(GROWTH, |c| TRIED[c]);
        self.0 = (self.0 * factor).clamp(BOUNDS.0, BOUNDS.1);
    }
}
