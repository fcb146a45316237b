//! From a sequence of refined energies to an estimate of what is still missing.

/// Energies of several states along one refinement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequence {
    levels: Vec<Vec<f64>>,
    /// Whether changes fall in jumps.
    uneven: bool,
}

impl Sequence {
    /// Orbitals matter in groups, one for each atom or well, and a refinement may end within a group: a change
    /// is not small before the one before it was, too.
    pub(crate) fn of_orbitals() -> Self {
        Sequence { levels: vec![], uneven: true }
    }

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
            [only] => (if self.uneven { 30.0 } else { 3.0 }) * only + floor,
            [.., a, b] => {
                let last = b / a.max(1e-14);
                let before = match changes[..] {
                    [.., z, a, _] => a / z.max(1e-14),
                    _ => last,
                };
                // Changes at the level of rounding carry no ratio.
                let ratio = if b < 1e-12 { 0.5 } else { last.max(before).clamp(0.0, 0.95) };
                let jump = if self.uneven { 3.0 * b.max(0.1 * a) } else { b };
                (3.0 * b * ratio / (1.0 - ratio)).max(jump) + floor
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

    /// Three hydrogen atoms 10 bohr apart, (2, 1), in 16, 18 and 21 natural orbitals; with 50 of them it is
    /// -2.258095017. And 16 and 18 others, which hold one group of three and a part of the next.
    #[test]
    fn orbitals_that_come_in_groups_are_waited_for() {
        let mut sequence = Sequence::of_orbitals();
        for e in [-2.258_090_996_563, -2.258_093_914_935, -2.258_094_173_933] {
            sequence.push(&[e]);
        }
        assert!(sequence.worst() > 8.43e-7, "{:e}", sequence.worst());
        let mut sequence = Sequence::of_orbitals();
        sequence.push(&[-2.258_091_477_102]);
        sequence.push(&[-2.258_091_500_268]);
        assert!(!sequence.has_ratio());
        assert!(sequence.worst() > 5e-7);
    }

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
