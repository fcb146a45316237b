//! From a sequence of refined energies to an estimate of what is still missing.

/// Energies of several states along one refinement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequence {
    levels: Vec<Vec<f64>>,
}

impl Sequence {
    pub(crate) fn push(&mut self, energies: &[f64]) {
        self.levels.push(energies.to_vec());
    }

    /// Largest change of any state at the last refinement.
    pub(crate) fn change(&self) -> Option<f64> {
        let [.., a, b] = &self.levels[..] else { return None };
        Some(a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max))
    }

    /// Estimated error of state `k` at the last level.
    ///
    /// The changes are taken to go on falling by the slower of the last two ratios, and what that
    /// leaves is tripled; never less than the last change. With fewer than three levels the
    /// last change itself counts three times.
    pub(crate) fn estimate(&self, k: usize) -> f64 {
        // The first levels may have too few functions for a state of this number.
        let change = |w: &[Vec<f64>]| Some((w[1].get(k)? - w[0].get(k)?).abs());
        let changes: Vec<f64> = self.levels.windows(2).filter_map(change).collect();
        let floor = 1e-12;
        match changes[..] {
            [] => f64::INFINITY,
            [only] => 3.0 * only + floor,
            [.., a, b] => {
                let last = b / a.max(1e-14);
                let before = match changes[..] {
                    [.., z, a, _] => a / z.max(1e-14),
                    _ => last,
                };
                // Changes at the level of rounding carry no ratio.
                let ratio = if b < 1e-12 { 0.5 } else { last.max(before).clamp(0.0, 0.95) };
                (3.0 * b * ratio / (1.0 - ratio)).max(b) + floor
            }
        }
    }

    /// Whether there are changes enough to tell how fast they fall.
    pub(crate) fn has_ratio(&self) -> bool {
        self.levels.len() > 2
    }

    /// The largest estimate of all states.
    pub(crate) fn worst(&self) -> f64 {
        let states = self.levels.last().map_or(0, Vec::len);
        (0..states).map(|k| self.estimate(k)).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_that_appear_on_the_way_are_estimated_from_where_they_are() {
        let mut sequence = Sequence::default();
        sequence.push(&[1.0]);
        sequence.push(&[0.9, 5.0]);
        assert_eq!(sequence.estimate(1), f64::INFINITY);
        sequence.push(&[0.89, 4.0]);
        assert_eq!(sequence.estimate(1), 3.0 + 1e-12);
        assert!(sequence.estimate(0) < 0.1);
        assert_eq!(sequence.worst(), sequence.estimate(1));
    }
}
