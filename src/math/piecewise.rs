//! Smooth functions of one variable, several side by side, as polynomials of cells.
//!
//! A derivative is interpolated at Chebyshev's nodes of every cell and integrated from the middle, where the function and its lower
//! derivatives have the values that they were given: none loses the digits that differences of neighbouring values would.

use super::vector::polynomials;
use std::f64::consts::PI;

/// The last coefficients in Chebyshev polynomials, in units of the largest value, where a function counts as resolved.
const RESOLVED: f64 = 64.0 * f64::EPSILON;
/// How many times that are so far from it in one cell that others need not be looked at.
const HOPELESS: f64 = 100.0;
/// To which power of what that would ask for the number of cells grows: coefficients of wide cells fall more slowly.
const SLOWER: f64 = 1.25;
/// By which share the number of cells grows at least.
const LEAST_GROWTH: f64 = 0.125;

/// Functions of a variable between two ends.
///
/// Constructors take the number of `NODES` of a cell, odd, so that its middle is one: more take fewer points where a function is
/// dear, fewer take less time to evaluate.
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
    /// Of functions whose values and first `J - 1` derivatives `jets` gives at many points, row-major in (point, function): in few
    /// cells that resolve the last of these, from `first` on; none where `most` do not.
    pub fn resolved<const J: usize, const NODES: usize>(
        ends: (f64, f64),
        functions: usize,
        (first, most): (usize, usize),
        mut jets: impl FnMut(&[f64], &mut [[f64; J]]),
    ) -> Option<Self> {
        let transform = Transform::<NODES>::new();
        let mut cells = first;
        while functions > 0 && cells <= most {
            let (table, excess) =
                Self::with_cells(ends, functions, cells, true, &transform, &mut jets);
            if excess <= 1.0 {
                return Some(table);
            }
            // The last coefficients of a smooth function go with a power of the width, a lower one as long as cells are wide.
            let times = excess.powf(SLOWER / (NODES - 2) as f64).clamp(1.0 + LEAST_GROWTH, 2.0);
            cells = (cells as f64 * times).ceil() as usize;
        }
        None
    }

    /// The same in so many cells, resolved or not.
    pub fn of<const J: usize, const NODES: usize>(
        ends: (f64, f64),
        functions: usize,
        cells: usize,
        mut jets: impl FnMut(&[f64], &mut [[f64; J]]),
    ) -> Self {
        let transform = Transform::<NODES>::new();
        Self::with_cells(ends, functions, cells, false, &transform, &mut jets).0
    }

    /// Cell by cell, so that what has to be `resolved` ends with the first that is far from it; says how many times as large as they
    /// may be the last coefficients are, at most one where all are resolved or need not be.
    fn with_cells<const J: usize, const NODES: usize>(
        (start, end): (f64, f64),
        functions: usize,
        cells: usize,
        resolved: bool,
        transform: &Transform<NODES>,
        jets: &mut impl FnMut(&[f64], &mut [[f64; J]]),
    ) -> (Self, f64) {
        const { assert!(NODES >= 3 && NODES % 2 == 1, "the middle of a cell is a node") };
        let width = (end - start) / cells as f64;
        let (half, middle) = (0.5 * width, NODES / 2);
        // Integrals of powers, as many times as there are derivatives below the last.
        let factorial = |n: usize| (1..=n).map(|k| k as f64).product::<f64>();
        let integral = |power: usize| factorial(power) / factorial(power + J - 1);
        let (stride, powers) = (polynomials::stride(functions), NODES + J - 1);
        let coefficients = vec![0.0; cells * powers * stride];
        let mut table = Piecewise { start, width, cells, functions, powers, coefficients };
        let mut found = vec![[0.0; J]; NODES * functions];
        let [mut values, mut chebyshev] = [(); 2].map(|()| vec![0.0; NODES * functions]);
        // The largest jets so far, and the largest of the last two coefficients.
        let [mut largest, mut last] = [(); 2].map(|()| vec![0.0f64; functions]);
        let cells_of = table.coefficients.chunks_exact_mut((powers * stride).max(1));
        for (cell, own) in cells_of.enumerate() {
            let centre = start + width * (cell as f64 + 0.5);
            let points: [f64; NODES] =
                std::array::from_fn(|k| centre + half * Transform::<NODES>::node(k));
            jets(&points, &mut found);
            for (row, values) in
                found.chunks_exact(functions).zip(values.chunks_exact_mut(functions))
            {
                for ((jet, largest), value) in row.iter().zip(&mut largest).zip(values) {
                    *largest = jet.iter().fold(*largest, |a, b| a.max(b.abs()));
                    *value = jet[J - 1];
                }
            }
            transform.of_values(&values, functions, &mut chebyshev);
            for row in chebyshev[(NODES - 2) * functions..].chunks_exact(functions) {
                // What is not a number stays one.
                let more = |(last, c): (&mut f64, &f64)| {
                    *last = if c.abs() <= *last || last.is_nan() { *last } else { c.abs() };
                };
                last.iter_mut().zip(row).for_each(more);
            }
            let excess = excess(&last, &largest);
            if resolved && excess > if cell + 1 < cells { HOPELESS } else { 1.0 } {
                return (table, excess);
            }
            for (d, row) in own.chunks_exact_mut(stride).take(J - 1).enumerate() {
                let jets = &found[middle * functions..][..functions];
                row.iter_mut().zip(jets).for_each(|(c, jet)| *c = jet[d] / factorial(d));
            }
            let mut scale = 1.0;
            for (power, row) in own.chunks_exact_mut(stride).skip(J - 1).enumerate() {
                transform.power(power, &chebyshev, &mut row[..functions]);
                row.iter_mut().for_each(|c| *c = *c * scale * integral(power));
                scale /= half;
            }
        }
        (table, 0.0)
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

/// The largest coefficient in units of what counts as resolved; infinite where one is not a number.
fn excess(last: &[f64], largest: &[f64]) -> f64 {
    last.iter().zip(largest).fold(0.0, |excess, (last, largest)| {
        let own = if *last == 0.0 { 0.0 } else { last / (RESOLVED * largest) };
        if own.is_nan() { f64::INFINITY } else { own.max(excess) }
    })
}

/// From values at the nodes of a cell to coefficients, of several functions side by side.
struct Transform<const NODES: usize> {
    /// Each Chebyshev polynomial at the nodes, times what makes its coefficient of the values there.
    waves: [[f64; NODES]; NODES],
    /// Coefficients of the powers in each Chebyshev polynomial.
    monomials: [[f64; NODES]; NODES],
}

impl<const NODES: usize> Transform<NODES> {
    fn new() -> Self {
        // All cosines are among those of the multiples of one angle.
        let turn: Vec<f64> =
            (0..4 * NODES).map(|j| (0.5 * PI * j as f64 / NODES as f64).cos()).collect();
        let waves = std::array::from_fn(|l| {
            let share = if l == 0 { 1.0 } else { 2.0 } / NODES as f64;
            std::array::from_fn(|k| share * turn[l * (2 * k + 1) % (4 * NODES)])
        });
        let mut monomials = [[0.0; NODES]; NODES];
        monomials[0][0] = 1.0;
        monomials[1][1] = 1.0;
        for l in 2..NODES {
            for power in 0..NODES {
                let below = if power > 0 { 2.0 * monomials[l - 1][power - 1] } else { 0.0 };
                monomials[l][power] = below - monomials[l - 2][power];
            }
        }
        Transform { waves, monomials }
    }

    /// A node, between -1 and 1.
    fn node(k: usize) -> f64 {
        if k == NODES / 2 { 0.0 } else { (PI * (k as f64 + 0.5) / NODES as f64).cos() }
    }

    /// Coefficients in Chebyshev polynomials; both row-major in (node or polynomial, function).
    fn of_values(&self, values: &[f64], functions: usize, out: &mut [f64]) {
        for (wave, out) in self.waves.iter().zip(out.chunks_exact_mut(functions)) {
            out.fill(0.0);
            for (share, values) in wave.iter().zip(values.chunks_exact(functions)) {
                out.iter_mut().zip(values).for_each(|(o, v)| *o += share * v);
            }
        }
    }

    /// Coefficients of a power of the distance from the middle, in halves of a cell, from those in Chebyshev polynomials.
    fn power(&self, power: usize, chebyshev: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        for (share, row) in self.monomials.iter().zip(chebyshev.chunks_exact(out.len())) {
            let share = share[power];
            // Half of them.
            if share == 0.0 {
                continue;
            }
            out.iter_mut().zip(row).for_each(|(o, c)| *o += share * c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waves and their derivatives, everywhere, at both ends and between cells.
    #[test]
    fn all_derivatives_are_exact_to_rounding() {
        waves::<11>();
        waves::<15>();
        waves::<21>();
    }

    fn waves<const NODES: usize>() {
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
            let table =
                Piecewise::resolved::<4, NODES>((-1.0, 4.0), functions, (2, 256), fill).unwrap();
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

    /// As few cells as there have to be, or a quarter and one more, found in a few attempts.
    #[test]
    fn the_number_of_cells_is_found_soon() {
        for steepness in [1.0, 3.0, 10.0, 20.0] {
            let tanh = |points: &[f64], out: &mut [[f64; 1]]| {
                points.iter().zip(out).for_each(|(t, jet)| *jet = [(steepness * t).tanh()]);
            };
            let mut attempts = Vec::new();
            let counted = |points: &[f64], out: &mut [[f64; 1]]| {
                // The first cell of an attempt begins at the left end, the more of them the nearer.
                let nearest = points.iter().fold(f64::INFINITY, |a, t| a.min(t + 1.0));
                if nearest < 0.01 {
                    attempts.push(nearest);
                }
                tanh(points, out);
            };
            let table = Piecewise::resolved::<1, 21>((-1.0, 1.0), 1, (4, 256), counted).unwrap();
            let known = |cells| {
                let transform = Transform::<21>::new();
                Piecewise::with_cells((-1.0, 1.0), 1, cells, true, &transform, &mut { tanh }).1
            };
            let least = (1..=256).find(|cells| known(*cells) <= 1.0).unwrap();
            assert!(table.cells <= least.max(4) + 1 + least / 4, "{} {least}", table.cells);
            assert!(attempts.len() <= 6, "{attempts:?}");
        }
    }

    #[test]
    fn a_kink_and_what_is_no_number_are_not_resolved() {
        let kink = |points: &[f64], out: &mut [[f64; 3]]| {
            for (t, jet) in points.iter().zip(out) {
                *jet = [t.powi(3).abs() / 6.0, t * t.abs() / 2.0, t.abs()];
            }
        };
        assert!(Piecewise::resolved::<3, 11>((-0.9, 1.0), 1, (4, 64), kink).is_none());
        let nan = |_: &[f64], out: &mut [[f64; 3]]| out.fill([f64::NAN; 3]);
        assert!(Piecewise::resolved::<3, 11>((0.0, 1.0), 1, (4, 64), nan).is_none());
    }
}
