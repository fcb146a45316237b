//! What a network makes of its first input alone, in a table.
//!
//! The units that see no other input are functions of one variable, and so are their shares in the sums of all others. For many
//! configurations at the same parameters it pays to make a table of these functions: of two particles it holds the whole network,
//! of three about half of it.

use super::conditioner::{Conditioner, LaneActivations};
use crate::math::piecewise::Piecewise;
use crate::math::vector::lanes::{LANES, Lanes};

/// Cells of the unit interval, at first and at most.
const CELLS: (usize, usize) = (16, 128);

/// The functions and their first two derivatives, in the unit interval; none where few enough cells do not resolve them.
pub fn table(conditioner: &Conditioner) -> Option<Piecewise> {
    let functions = conditioner.functions_of_first();
    let mut act = LaneActivations::default();
    Piecewise::resolved((0.0, 1.0), functions, CELLS, |points, jets: &mut [[f64; 3]]| {
        for (points, jets) in points.chunks(LANES).zip(jets.chunks_mut(LANES * functions)) {
            let u: Lanes = std::array::from_fn(|s| points[s.min(points.len() - 1)]);
            conditioner.first_alone(&u, jets.chunks_mut(functions).collect(), &mut act);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    /// A network whose weights are `scale` times those of a fresh one.
    fn network(n: usize, hidden: &[usize], scale: f64) -> Conditioner {
        let mut conditioner = Conditioner::new(&vec![3; n], hidden);
        let mut p = vec![0.0; conditioner.parameters()];
        conditioner.initialise(&mut Pcg64::seed_from_u64(5), 1.0, &mut p);
        p.iter_mut().for_each(|p| *p *= scale);
        conditioner.set_parameters(&p);
        conditioner
    }

    /// Beside the network itself, everywhere, at both ends and between cells.
    #[test]
    fn tables_are_as_exact_as_the_network() {
        let hidden: [&[usize]; 3] = [&[7], &[12, 9], &[9, 8, 11]];
        for (n, hidden) in (2..6).flat_map(|n| hidden.map(|h| (n, h))) {
            let conditioner = network(n, hidden, 1.5);
            let gram: Vec<Lanes> = (0..n * n)
                .map(|ab| {
                    let (a, b) = (ab / n, ab % n);
                    std::array::from_fn(|s| if a == b { 1.3 } else { 0.1 * (1 + s) as f64 })
                })
                .collect();
            let (mut plain, mut table) = (LaneActivations::default(), LaneActivations::default());
            for point in 0..=40 {
                let u: Vec<Lanes> = (0..n)
                    .map(|i| {
                        let at = |s: usize| (8 * point + s) as f64 / 328.0;
                        std::array::from_fn(|s| {
                            if i == 0 { at(s) } else { (0.3 * (i + s) as f64).fract() }
                        })
                    })
                    .collect();
                conditioner.forward_lanes(&u, &gram, false, &mut plain);
                conditioner.forward_lanes(&u, &gram, true, &mut table);
                let outputs = conditioner.outputs();
                // The first group is in neither.
                for c in 0..n + 1 {
                    let group = conditioner.group(c.saturating_sub(1).max(1));
                    for r in group.start..outputs {
                        let at = c * outputs + r;
                        let (a, b) = (
                            conditioner.lane_outputs(&plain)[at],
                            conditioner.lane_outputs(&table)[at],
                        );
                        for s in 0..LANES {
                            let error = (a[s] - b[s]).abs();
                            assert!(error < 1e-11, "{n} {hidden:?} plane {c}: {a:?} {b:?}");
                        }
                    }
                }
            }
            assert!(super::table(&conditioner).is_some());
        }
    }

    /// Steps that no table of this size resolves.
    #[test]
    fn what_is_too_steep_has_no_table() {
        let conditioner = network(2, &[8, 8], 1e3);
        assert!(table(&conditioner).is_none());
        // Nor has what there is nothing to say of.
        assert!(table(&network(1, &[4], 1.0)).is_none());
        assert!(table(&network(2, &[], 1.0)).is_none());
        let mut broken = network(2, &[8], 1.0);
        broken.set_parameters(&vec![f64::NAN; broken.parameters()]);
        assert!(table(&broken).is_none());
    }
}
