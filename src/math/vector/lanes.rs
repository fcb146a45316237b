//! Kernels over eight samples side by side.
//!
//! A number of each of them is an array; every operation is the same in all lanes and none mixes them, so that a sample's
//! results do not depend on its lane, nor on what is beside it.

use super::{Dense, TILE, Tile, exp_of, multiply_add, tanh_of};

/// Samples side by side.
pub const LANES: usize = 8;

/// A number of each sample.
pub type Lanes = [f64; LANES];

/// Every lane by itself.
#[inline(always)]
pub(crate) fn each(f: impl Fn(usize) -> f64) -> Lanes {
    std::array::from_fn(f)
}

/// `a + b`.
#[inline(always)]
pub(crate) fn sum(a: &Lanes, b: &Lanes) -> Lanes {
    each(|s| a[s] + b[s])
}

/// `a b`.
#[inline(always)]
pub(crate) fn product(a: &Lanes, b: &Lanes) -> Lanes {
    each(|s| a[s] * b[s])
}

/// `a b + c`.
#[inline(always)]
pub(crate) fn add_product<const FUSED: bool>(a: &Lanes, b: &Lanes, c: &Lanes) -> Lanes {
    each(|s| multiply_add::<FUSED>(a[s], b[s], c[s]))
}

/// `c a`.
#[inline(always)]
pub(crate) fn scaled(c: f64, a: &Lanes) -> Lanes {
    each(|s| c * a[s])
}

/// Which part of a matrix a plane of numbers meets: rows and columns before these have nothing to give.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// First row.
    pub row: usize,
    /// First column.
    pub column: usize,
}

/// Rows of a tile that are summed at a time: as many as keep the processor busy and fit its registers.
const WIDE_ROWS: usize = 8;
const ROWS: usize = 4;

/// `R` rows of a tile, from its row `skip` on, applied to one plane.
#[inline(always)]
fn rows<const R: usize, const FUSED: bool>(
    data: &[f64],
    skip: usize,
    constants: bool,
    below: &[Lanes],
) -> [Lanes; R] {
    let mut sums = [[0.0; LANES]; R];
    let (first, columns) = data.split_at(TILE);
    if constants {
        for r in 0..R {
            sums[r] = [first[skip + r]; LANES];
        }
    }
    for (column, b) in columns.chunks_exact(TILE).zip(below) {
        let column = &column[skip..skip + R];
        for r in 0..R {
            sums[r] = add_product::<FUSED>(&[column[r]; LANES], b, &sums[r]);
        }
    }
    sums
}

/// A tile applied to one plane.
#[inline(always)]
fn apply<const R: usize, const FUSED: bool>(
    tile: &Tile,
    data: &[f64],
    part: Part,
    constants: bool,
    below: &[Lanes],
    out: &mut [Lanes],
) {
    let from = part.row.max(tile.first) - tile.first;
    // Columns before the first are skipped, but the constants of the rows are in front of them.
    let column = part.column.min(tile.columns);
    let data = &data[tile.start + column * TILE..tile.start + (tile.columns + 1) * TILE];
    let below = &below[column..tile.columns];
    for skip in (from / R * R..tile.rows).step_by(R) {
        let sums = rows::<R, FUSED>(data, skip, constants, below);
        let to = (skip + R).min(tile.rows);
        let from = from.max(skip);
        out[tile.first + from..tile.first + to].copy_from_slice(&sums[from - skip..to - skip]);
    }
}

widest! {
    /// `out = A below` for as many planes as there are parts, one after the other; constants enter the first. Of each plane
    /// the rows before its part are left alone.
    pub fn affine(matrix: &Dense, parts: &[Part], below: &[Lanes], out: &mut [Lanes]) {
        let stride = below.len() / parts.len();
        for tile in &matrix.tiles {
            let planes = below.chunks_exact(stride.max(1)).zip(out.chunks_exact_mut(matrix.rows));
            for (c, (&part, (below, out))) in parts.iter().zip(planes).enumerate() {
                if part.row >= tile.first + tile.rows {
                    continue;
                }
                // Constants are beside the first column only.
                let constants = c == 0 && part.column == 0;
                if WIDE {
                    apply::<WIDE_ROWS, FUSED>(tile, &matrix.data, part, constants, below, out);
                } else {
                    apply::<ROWS, FUSED>(tile, &matrix.data, part, constants, below, out);
                }
            }
        }
    }
}

/// `sum_ab g_a g_b G_ab` over the first `slopes` inputs, where slope `b` is at `at + (2 + b) stride` and the row-major symmetric
/// matrix has rows of `n`.
#[inline(always)]
pub(crate) fn bend<const FUSED: bool>(
    gram: &[Lanes],
    n: usize,
    slopes: usize,
    slope: impl Fn(usize) -> Lanes,
) -> Lanes {
    let mut total = [0.0; LANES];
    for b in 0..slopes {
        let own = slope(b);
        let mut inner = [0.0; LANES];
        for a in 0..b {
            inner = add_product::<FUSED>(&gram[b * n + a], &slope(a), &inner);
        }
        let inner = add_product::<FUSED>(&gram[b * n + b], &own, &sum(&inner, &inner));
        total = add_product::<FUSED>(&own, &inner, &total);
    }
    total
}

widest! {
    /// The hyperbolic tangent of numbers that depend on `slopes` inputs, at the places `range` of planes of `stride` numbers: values,
    /// second derivatives contracted with `gram` (row-major, of `n` inputs), then derivatives by each input.
    pub fn tanh(
        range: std::ops::Range<usize>,
        slopes: usize,
        gram: &[Lanes],
        n: usize,
        stride: usize,
        data: &mut [Lanes],
    ) {
        // One long loop: of eight at a time compilers make eight scalar ones.
        for v in data[range.clone()].as_flattened_mut() {
            *v = tanh_of::<FUSED>(*v);
        }
        for r in range {
            let t = data[r];
            let slope = each(|s| multiply_add::<FUSED>(-t[s], t[s], 1.0));
            let bend = bend::<FUSED>(gram, n, slopes, |b| data[(2 + b) * stride + r]);
            let old = &data[stride + r];
            let twice = scaled(-2.0, &t);
            data[stride + r] = product(&slope, &add_product::<FUSED>(&twice, &bend, old));
            for b in 0..slopes {
                let d = &mut data[(2 + b) * stride + r];
                *d = product(&slope, d);
            }
        }
    }
}

/// The exponentials of numbers at most 700.
#[inline(always)]
pub(crate) fn exp<const FUSED: bool>(data: &mut [Lanes]) {
    for v in data.as_flattened_mut() {
        *v = exp_of::<FUSED>(*v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_samples_are_as_one() {
        let number = |i: usize| ((i * 7919) % 101) as f64 / 50.0 - 1.0;
        // Rows from 0 to 36 columns, and planes that meet only what is behind their first row and column.
        let prefix: Vec<usize> = (0..37).map(|r| [0, 20, 36][r / 13]).collect();
        let weights: Vec<Vec<f64>> =
            (0..37).map(|r| (0..prefix[r]).map(|k| number(91 * r + k)).collect()).collect();
        let mut dense = Dense::new(&prefix);
        dense.set(|r| (number(r), &weights[r]));
        let parts = [(0, 0), (0, 0), (3, 0), (13, 7), (30, 21)];
        let parts = parts.map(|(row, column)| Part { row, column });
        let below: Vec<Lanes> = (0..5 * 36).map(|i| each(|s| number(11 * i + s))).collect();
        let mut out = vec![[f64::NAN; LANES]; 5 * 37];
        affine(&dense, &parts, &below, &mut out);
        for (c, part) in parts.iter().enumerate() {
            for r in 0..37 {
                for s in 0..LANES {
                    let found = out[c * 37 + r][s];
                    if r < part.row {
                        assert!(found.is_nan());
                        continue;
                    }
                    let mut exact = if c == 0 { number(r) } else { 0.0 };
                    for k in part.column..prefix[r] {
                        exact += weights[r][k] * below[c * 36 + k][s];
                    }
                    assert!((found - exact).abs() < 1e-13, "{c} {r} {s} {found} {exact}");
                }
            }
        }
    }
}
