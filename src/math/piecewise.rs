//! Smooth functions of one variable, several side by side, as polynomials of cells.
//!
//! A derivative is interpolated at Chebyshev's nodes of every cell and integrated from the middle, where the function and its lower
//! derivatives have the values that they were given: none loses the digits that differences of neighbouring values would.

use super::vector::polynomials;
use std::f64::consts::PI;

/// Nodes of a cell: odd, so that its middle is one.
const NODES: usize = 11;
/// The last coefficients in Chebyshev polynomials, in units of the largest value, where a function counts as resolved.
const RESOLVED: f64 = 64.0 * f64::EPSILON;

/// Functions of a variable between two ends.
#[derive(Clone, Debug)]
pub struct Piecewise {
    start: f64,
    width: f64,
    cells: usize,
    functions: usize,
    /// Coefficients of each polynomial.
    powers: usize,
    /// About the middles of the cells, row-major in (cell, power, function): see [`polynomials::evaluate`].
    coefficients: Vec<f64>,
}

impl Piecewise {
    /// Of functions whose values and first `J - 1` derivatives `jets` gives at many points, row-major in (point, function): in as few
    /// cells as resolve the last of these, twice as many as before each time; none where `most` do not.
    pub fn resolved<const J: usize>(
        ends: (f64, f64),
        functions: usize,
        (first, most): (usize, usize),
        mut jets: impl FnMut(&[f64], &mut [[f64; J]]),
    ) -> Option<Self> {
        let mut cells = first;
        while functions > 0 && cells <= most {
            let (found, resolved) = Self::with_cells(ends, functions, cells, &mut jets);
            if resolved {
                return Some(found);
            }
            cells *= 2;
        }
        None
    }

    /// The same in so many cells, resolved or not.
    pub fn of<const J: usize>(
        ends: (f64, f64),
        functions: usize,
        cells: usize,
        mut jets: impl FnMut(&[f64], &mut [[f64; J]]),
    ) -> Self {
        Self::with_cells(ends, functions, cells, &mut jets).0
    }

    fn with_cells<const J: usize>(
        (start, end): (f64, f64),
        functions: usize,
        cells: usize,
        jets: &mut impl FnMut(&[f64], &mut [[f64; J]]),
    ) -> (Self, bool) {
        let width = (end - start) / cells as f64;
        let (half, middle) = (0.5 * width, NODES / 2);
        let at = |i: usize| {
            let (cell, node) = (i / NODES, i % NODES);
            let turn = PI * (node as f64 + 0.5) / NODES as f64;
            let offset = if node == middle { 0.0 } else { half * turn.cos() };
            start + width * (cell as f64 + 0.5) + offset
        };
        let points: Vec<f64> = (0..cells * NODES).map(at).collect();
        let mut found = vec![[0.0; J]; points.len() * functions];
        jets(&points, &mut found);
        let mut largest = vec![0.0f64; functions];
        for row in found.chunks_exact(functions) {
            for (largest, jet) in largest.iter_mut().zip(row) {
                *largest = jet.iter().fold(*largest, |a, b| a.max(b.abs()));
            }
        }
        // The coefficients in Chebyshev polynomials from the values at the nodes.
        let waves: [[f64; NODES]; NODES] = std::array::from_fn(|l| {
            let share = if l == 0 { 1.0 } else { 2.0 } / NODES as f64;
            let angle = |k: usize| PI * l as f64 * (k as f64 + 0.5) / NODES as f64;
            std::array::from_fn(|k| share * angle(k).cos())
        });
        let monomials = monomials();
        // Integrals of powers, as many times as there are derivatives below the last.
        let factorial = |n: usize| (1..=n).map(|k| k as f64).product::<f64>();
        let integral = |power: usize| factorial(power) / factorial(power + J - 1);
        let (stride, powers) = (polynomials::stride(functions), NODES + J - 1);
        let mut coefficients = vec![0.0; cells * powers * stride];
        let mut resolved = true;
        let cells_of = coefficients.chunks_exact_mut(powers * stride);
        for (own, jets) in cells_of.zip(found.chunks_exact(NODES * functions)) {
            for f in 0..functions {
                let chebyshev = waves.map(|wave| {
                    (0..NODES).map(|k| wave[k] * jets[k * functions + f][J - 1]).sum::<f64>()
                });
                let last = chebyshev[NODES - 1].abs().max(chebyshev[NODES - 2].abs());
                // What is not a number is not resolved either.
                resolved &= last <= RESOLVED * largest[f];
                for (d, value) in jets[middle * functions + f][..J - 1].iter().enumerate() {
                    own[d * stride + f] = value / factorial(d);
                }
                let mut scale = 1.0;
                for power in 0..NODES {
                    let c: f64 = chebyshev.iter().zip(&monomials).map(|(c, m)| c * m[power]).sum();
                    own[(power + J - 1) * stride + f] = c * scale * integral(power);
                    scale /= half;
                }
            }
        }
        (Piecewise { start, width, cells, functions, powers, coefficients }, resolved)
    }

    /// Number of functions.
    pub fn functions(&self) -> usize {
        self.functions
    }

    /// The functions at a point and as many of their derivatives as there are further rows, at most three.
    pub fn evaluate(&self, t: f64, rows: &mut [Vec<f64>]) {
        let stride = polynomials::stride(self.functions);
        let size = self.powers * stride;
        let cell = ((t - self.start) / self.width).max(0.0) as usize;
        let cell = cell.min(self.cells - 1);
        let r = t - (self.start + self.width * (cell as f64 + 0.5));
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

    /// Waves and their derivatives, everywhere, at both ends and between cells.
    #[test]
    fn all_derivatives_are_exact_to_rounding() {
        let wave = |f: usize, t: f64| {
            let q = 1.0 + f as f64;
            let (s, c) = (q * t).sin_cos();
            [s, q * c, -q * q * s, -q * q * q * c]
        };
        for functions in [1, 3, 9] {
            let fill = |points: &[f64], out: &mut [[f64; 4]]| {
                for (t, row) in points.iter().zip(out.chunks_exact_mut(functions)) {
                    row.iter_mut().enumerate().for_each(|(f, jet)| *jet = wave(f, *t));
                }
            };
            let table = Piecewise::resolved((-1.0, 4.0), functions, (2, 256), fill).unwrap();
            let mut rows: [Vec<f64>; 4] = Default::default();
            for i in 0..=500 {
                let t = -1.0 + 0.01 * f64::from(i);
                table.evaluate(t, &mut rows);
                for f in 0..functions {
                    let size = (1.0 + f as f64).powi(3);
                    for (row, exact) in rows.iter().zip(wave(f, t)) {
                        assert!((row[f] - exact).abs() < 1e-13 * size, "{functions} {t} {f}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_kink_and_what_is_no_number_are_not_resolved() {
        let kink = |points: &[f64], out: &mut [[f64; 3]]| {
            for (t, jet) in points.iter().zip(out) {
                *jet = [t.powi(3).abs() / 6.0, t * t.abs() / 2.0, t.abs()];
            }
        };
        assert!(Piecewise::resolved((-0.9, 1.0), 1, (4, 64), kink).is_none());
        let nan = |_: &[f64], out: &mut [[f64; 3]]| out.fill([f64::NAN; 3]);
        assert!(Piecewise::resolved((0.0, 1.0), 1, (4, 64), nan).is_none());
    }
}
