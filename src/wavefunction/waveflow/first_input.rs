//! What a network makes of its first input alone, as polynomials of cells.
//!
//! The units that see no other input are functions of one variable, and so are their shares in the sums of all others. For many
//! configurations at the same parameters it pays to make a table of these functions: of two particles it holds the whole network,
//! of three about half of it. The second derivative is interpolated at Chebyshev's nodes of every cell and integrated twice from the
//! middle, so that no derivative loses the digits that differences of neighbouring values would.

use super::conditioner::{Conditioner, LaneActivations};
use crate::math::vector::lanes::{LANES, Lanes};
use crate::math::vector::polynomials;
use std::f64::consts::PI;

/// Nodes of a cell: odd, so that its middle is one.
const NODES: usize = 11;
/// Coefficients of the polynomial of a cell: its second derivative goes through all nodes.
const POWERS: usize = NODES + 2;
/// Cells of the unit interval, at first and at most.
const CELLS: (usize, usize) = (16, 128);
/// The last coefficients in Chebyshev polynomials, in units of the largest value, where a function counts as resolved.
const RESOLVED: f64 = 64.0 * f64::EPSILON;

/// Functions of the first input and their first two derivatives, in the unit interval.
#[derive(Clone, Debug)]
pub struct FirstInput {
    cells: usize,
    functions: usize,
    /// Row-major in (cell, power, function): see [`polynomials::evaluate`].
    coefficients: Vec<f64>,
}

/// Scratch memory of [`FirstInput::evaluate`].
pub type Rows = [Vec<f64>; 3];

impl FirstInput {
    /// Those of a network, where few enough cells resolve them.
    pub fn of(conditioner: &Conditioner) -> Option<Self> {
        let functions = conditioner.functions_of_first();
        let mut cells = CELLS.0;
        while functions > 0 && cells <= CELLS.1 {
            let found = Self::with_cells(conditioner, functions, cells);
            if found.is_some() {
                return found;
            }
            cells *= 2;
        }
        None
    }

    fn with_cells(conditioner: &Conditioner, functions: usize, cells: usize) -> Option<Self> {
        let node = |k: usize| (PI * (k as f64 + 0.5) / NODES as f64).cos();
        let width = 1.0 / cells as f64;
        let half = 0.5 * width;
        let middle = NODES / 2;
        let at = |i: usize| {
            let offset = if i % NODES == middle { 0.0 } else { half * node(i % NODES) };
            width * ((i / NODES) as f64 + 0.5) + offset
        };
        // Values and derivatives at all nodes, and the largest of each function.
        let points = cells * NODES;
        let mut jets = vec![[0.0; 3]; points * functions];
        let mut act = LaneActivations::default();
        for first in (0..points).step_by(LANES) {
            let u: Lanes = std::array::from_fn(|s| at((first + s).min(points - 1)));
            let mut lanes = jets[first * functions..].chunks_mut(functions).take(LANES);
            let rows: Vec<&mut [[f64; 3]]> = lanes.by_ref().collect();
            conditioner.first_alone(&u, rows, &mut act);
        }
        let mut largest = vec![[0.0f64; 2]; functions];
        for row in jets.chunks_exact(functions) {
            for (largest, [value, _, bend]) in largest.iter_mut().zip(row) {
                *largest = [largest[0].max(value.abs()), largest[1].max(bend.abs())];
            }
        }
        let stride = polynomials::stride(functions);
        let mut coefficients = vec![0.0; cells * POWERS * stride];
        let monomials = monomials();
        // The coefficients in Chebyshev polynomials from the values at the nodes.
        let waves: [[f64; NODES]; NODES] = std::array::from_fn(|l| {
            let share = if l == 0 { 1.0 } else { 2.0 } / NODES as f64;
            let angle = |k: usize| PI * l as f64 * (k as f64 + 0.5) / NODES as f64;
            std::array::from_fn(|k| share * angle(k).cos())
        });
        for (own, jets) in
            coefficients.chunks_exact_mut(POWERS * stride).zip(jets.chunks_exact(NODES * functions))
        {
            for f in 0..functions {
                let chebyshev = waves.map(|wave| {
                    (0..NODES).map(|k| wave[k] * jets[k * functions + f][2]).sum::<f64>()
                });
                // A function is resolved where its second derivative is, to what matters beside the function itself.
                let size = largest[f][0].max(largest[f][1]);
                let last = chebyshev[NODES - 1].abs().max(chebyshev[NODES - 2].abs());
                // What is not a number is not resolved either.
                if !(last <= RESOLVED * size) {
                    return None;
                }
                let [value, slope, _] = jets[middle * functions + f];
                (own[f], own[stride + f]) = (value, slope);
                let mut scale = 1.0;
                for power in 0..NODES {
                    let c: f64 = chebyshev.iter().zip(&monomials).map(|(c, m)| c * m[power]).sum();
                    own[(power + 2) * stride + f] = c * scale / ((power + 1) * (power + 2)) as f64;
                    scale /= half;
                }
            }
        }
        Some(FirstInput { cells, functions, coefficients })
    }

    /// Number of functions.
    pub fn functions(&self) -> usize {
        self.functions
    }

    /// The functions at a point of the unit interval and their first two derivatives.
    pub fn evaluate(&self, u: f64, rows: &mut Rows) {
        let stride = polynomials::stride(self.functions);
        let size = POWERS * stride;
        let cell = ((u * self.cells as f64).max(0.0) as usize).min(self.cells - 1);
        let r = u - (cell as f64 + 0.5) / self.cells as f64;
        for row in &mut *rows {
            row.resize(self.functions, 0.0);
        }
        let own = &self.coefficients[cell * size..(cell + 1) * size];
        polynomials::evaluate(own, stride, r, rows);
    }
}

/// Coefficients of the powers in each Chebyshev polynomial.
fn monomials() -> [[f64; NODES]; NODES] {
    let mut all = [[0.0; NODES]; NODES];
    all[0][0] = 1.0;
    all[1][1] = 1.0;
    for l in 2..NODES {
        for power in 0..NODES {
            let below = if power > 0 { 2.0 * all[l - 1][power - 1] } else { 0.0 };
            all[l][power] = below - all[l - 2][power];
        }
    }
    all
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
            assert!(FirstInput::of(&conditioner).is_some());
        }
    }

    /// Steps that no table of this size resolves.
    #[test]
    fn what_is_too_steep_has_no_table() {
        let conditioner = network(2, &[8, 8], 1e3);
        assert!(FirstInput::of(&conditioner).is_none());
        // Nor has what there is nothing to say of.
        assert!(FirstInput::of(&network(1, &[4], 1.0)).is_none());
        assert!(FirstInput::of(&network(2, &[], 1.0)).is_none());
        let mut broken = network(2, &[8], 1.0);
        broken.set_parameters(&vec![f64::NAN; broken.parameters()]);
        assert!(FirstInput::of(&broken).is_none());
    }
}
