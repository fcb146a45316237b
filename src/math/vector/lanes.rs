//! Kernels over eight samples side by side.
//!
//! A number of each of them is an array; every operation is the same in all lanes and none mixes them, so that a sample's
//! results do not depend on its lane, nor on what is beside it.

use super::{Dense, TILE, Tile, exp_of, multiply_add, tanh_of};

/// Samples side by side.
pub const LANES: usize = 8;

/// A number of each sample.
pub type Lanes = [f64; LANES];

/// Every lane by itself. A loop: what `from_fn` calls is not always compiled for the vectors at hand.
#[inline(always)]
pub(crate) fn each(f: impl Fn(usize) -> f64) -> Lanes {
    let mut lanes = [0.0; LANES];
    for s in 0..LANES {
        lanes[s] = f(s);
    }
    lanes
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

/// At the end of the body of a loop over rows of eight lanes: keeps compilers from taking one lane of eight rows at a time, with
/// gathers and scatters.
#[inline(always)]
pub(crate) fn row_by_row() {
    std::hint::black_box(());
}

/// `f` of every row.
#[inline(always)]
pub(crate) fn every(rows: &mut [Lanes], f: impl Fn(&Lanes) -> Lanes) {
    for row in rows {
        *row = f(row);
        row_by_row();
    }
}

/// `f` of as many neighbouring numbers as there is room for, of each sample from its own place on, and of the lane.
#[inline(always)]
pub(crate) fn windows(
    numbers: &[f64],
    first: &[usize; LANES],
    out: &mut [Lanes],
    f: impl Fn(f64, usize) -> f64,
) {
    // Loops: what maps of arrays call is not compiled for the vectors at hand.
    let mut rows: [&[f64]; LANES] = [&[]; LANES];
    for s in 0..LANES {
        rows[s] = &numbers[first[s]..][..out.len()];
    }
    for r in 0..out.len() {
        out[r] = each(|s| f(rows[s][r], s));
        row_by_row();
    }
}

/// Which part of a matrix a plane of numbers meets: rows and columns before these have nothing to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// First row.
    pub row: usize,
    /// First column.
    pub column: usize,
}

/// Rows of a tile that are summed at a time, and planes where neighbours meet the same part: as many as keep the processor busy and
/// fit its registers.
const WIDE_ROWS: usize = 8;
const WIDE_PLANES: usize = 3;
const ROWS: usize = 4;

/// `R` rows of a tile, from its row `skip` on, applied to `C` planes of which each begins `stride` numbers after the last.
#[inline(always)]
fn rows<const R: usize, const C: usize, const FUSED: bool>(
    data: &[f64],
    skip: usize,
    constants: bool,
    below: &[Lanes],
    stride: usize,
) -> [[Lanes; R]; C] {
    let mut sums = [[[0.0; LANES]; R]; C];
    let (first, columns) = data.split_at(TILE);
    if constants {
        for r in 0..R {
            sums[0][r] = [first[skip + r]; LANES];
        }
    }
    let columns = columns.as_chunks::<TILE>().0;
    let mut planes: [&[Lanes]; C] = [&[]; C];
    for c in 0..C {
        planes[c] = &below[c * stride..][..columns.len()];
    }
    for (k, column) in columns.iter().enumerate() {
        let column = &column[skip..skip + R];
        let mut b = [[0.0; LANES]; C];
        for c in 0..C {
            b[c] = planes[c][k];
        }
        for r in 0..R {
            for c in 0..C {
                sums[c][r] = add_product::<FUSED>(&[column[r]; LANES], &b[c], &sums[c][r]);
            }
        }
    }
    sums
}

/// A tile applied to `C` planes that meet the same part.
#[inline(always)]
fn apply<const R: usize, const C: usize, const FUSED: bool>(
    matrix: &Dense,
    tile: &Tile,
    part: Part,
    constants: bool,
    below: &[Lanes],
    stride: usize,
    out: &mut [Lanes],
) {
    let from = part.row.max(tile.first) - tile.first;
    // Columns before the first are skipped, but the constants of the rows are in front of them.
    let column = part.column.min(tile.columns);
    let data = &matrix.data[tile.start + column * TILE..tile.start + (tile.columns + 1) * TILE];
    let below = &below[column..];
    for skip in (from / R * R..tile.rows).step_by(R) {
        let to = (skip + R).min(tile.rows);
        let from = from.max(skip);
        let place = |c: usize| c * matrix.rows + tile.first + from;
        // Nearly always all of them, straight from the registers.
        if to - from == R {
            let sums = rows::<R, C, FUSED>(data, skip, constants, below, stride);
            for c in 0..C {
                out[place(c)..][..R].copy_from_slice(&sums[c]);
            }
        } else {
            let sums = rows::<R, C, FUSED>(data, skip, constants, below, stride);
            for c in 0..C {
                out[place(c)..][..to - from].copy_from_slice(&sums[c][from - skip..to - skip]);
            }
        }
    }
}

widest! {
    /// `out = A below` for as many planes as there are parts, one after the other; constants enter the first. Of each plane
    /// the rows before its part are left alone.
    pub fn affine(matrix: &Dense, parts: &[Part], below: &[Lanes], out: &mut [Lanes]) {
        let stride = below.len() / parts.len();
        for tile in &matrix.tiles {
            let mut c = 0;
            while c < parts.len() {
                let part = parts[c];
                let together = parts[c..].iter().take_while(|p| **p == part).count();
                let together = if WIDE && together >= WIDE_PLANES { WIDE_PLANES } else { 1 };
                if part.row < tile.first + tile.rows {
                    // Constants are beside the first column only.
                    let constants = c == 0 && part.column == 0;
                    let below = &below[c * stride..];
                    let out = &mut out[c * matrix.rows..];
                    if !WIDE {
                        apply::<ROWS, 1, FUSED>(matrix, tile, part, constants, below, stride, out);
                    } else if together == 1 {
                        apply::<WIDE_ROWS, 1, FUSED>(matrix, tile, part, constants, below, stride, out);
                    } else {
                        apply::<WIDE_ROWS, WIDE_PLANES, FUSED>(
                            matrix, tile, part, constants, below, stride, out,
                        );
                    }
                }
                c += together;
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
        // As below, with the number of slopes where compilers see it: of few a loop is longer than what it does.
        match slopes {
            1 => chain::<FUSED>(range, 1, gram, n, stride, data),
            2 => chain::<FUSED>(range, 2, gram, n, stride, data),
            3 => chain::<FUSED>(range, 3, gram, n, stride, data),
            _ => chain::<FUSED>(range, slopes, gram, n, stride, data),
        }
    }
}

/// Derivatives of the hyperbolic tangent by the inputs from its value and the argument's derivatives: see [`tanh`].
#[inline(always)]
fn chain<const FUSED: bool>(
    range: std::ops::Range<usize>,
    slopes: usize,
    gram: &[Lanes],
    n: usize,
    stride: usize,
    data: &mut [Lanes],
) {
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

/// The exponentials of numbers at most 700.
#[inline(always)]
pub(crate) fn exp<const FUSED: bool>(data: &mut [Lanes]) {
    for v in data.as_flattened_mut() {
        *v = exp_of::<FUSED>(*v);
    }
}

/// `out = a b` of `n x n` matrices.
#[inline(always)]
pub(crate) fn multiply<const FUSED: bool>(n: usize, a: &[Lanes], b: &[Lanes], out: &mut [Lanes]) {
    const COLUMNS: usize = 4;
    for i in 0..n {
        let row = &a[i * n..][..n];
        let mut j = 0;
        while j + COLUMNS <= n {
            let mut sums = [[0.0; LANES]; COLUMNS];
            for (k, a) in row.iter().enumerate() {
                let b = &b[k * n + j..][..COLUMNS];
                for c in 0..COLUMNS {
                    sums[c] = add_product::<FUSED>(a, &b[c], &sums[c]);
                }
            }
            out[i * n + j..][..COLUMNS].copy_from_slice(&sums);
            j += COLUMNS;
        }
        for j in j..n {
            let mut sum = [0.0; LANES];
            for (k, a) in row.iter().enumerate() {
                sum = add_product::<FUSED>(a, &b[k * n + j], &sum);
            }
            out[i * n + j] = sum;
        }
    }
}

/// One step of the inversion of an `n x n` matrix in its place, with its element `(p, p)` as pivot.
#[inline(always)]
pub(crate) fn eliminate<const FUSED: bool>(n: usize, p: usize, a: &mut [Lanes]) {
    let (above, rest) = a.split_at_mut(p * n);
    let (pivot, below) = rest.split_at_mut(n);
    let inverse = each(|s| 1.0 / pivot[p][s]);
    pivot[p] = [1.0; LANES];
    every(pivot, |v| product(v, &inverse));
    for row in above.chunks_exact_mut(n).chain(below.chunks_exact_mut(n)) {
        let factor = each(|s| -row[p][s]);
        row[p] = [0.0; LANES];
        for (r, q) in row.iter_mut().zip(&*pivot) {
            *r = add_product::<FUSED>(&factor, q, r);
        }
    }
}

/// Replaces the lower triangle of a positive definite matrix by the factors of `L D L^T`, `D` on the diagonal.
#[inline(always)]
pub(crate) fn factorise<const FUSED: bool>(n: usize, a: &mut [Lanes]) {
    for p in 0..n {
        let inverse = each(|s| 1.0 / a[p * n + p][s]);
        // From the last row up: those above are still as they were.
        for i in (p + 1..n).rev() {
            let factor = product(&a[i * n + p], &inverse);
            for j in p + 1..=i {
                let below = a[j * n + p];
                let own = &mut a[i * n + j];
                *own = each(|s| multiply_add::<FUSED>(-factor[s], below[s], own[s]));
            }
            a[i * n + p] = factor;
        }
    }
}

/// Solves `L D L^T x = b` in place with the factors of [`factorise`].
#[inline(always)]
pub(crate) fn backsolve<const FUSED: bool>(n: usize, a: &[Lanes], b: &mut [Lanes]) {
    for i in 0..n {
        let mut own = b[i];
        for k in 0..i {
            own = each(|s| multiply_add::<FUSED>(-a[i * n + k][s], b[k][s], own[s]));
        }
        b[i] = own;
    }
    for i in (0..n).rev() {
        let mut own = each(|s| b[i][s] / a[i * n + i][s]);
        for k in i + 1..n {
            own = each(|s| multiply_add::<FUSED>(-a[k * n + i][s], b[k][s], own[s]));
        }
        b[i] = own;
    }
}

/// Solves `A x = b` in place, for a matrix whose rows are dominated by the diagonal; it is used up.
#[inline(always)]
pub(crate) fn solve_dominant<const FUSED: bool>(n: usize, a: &mut [Lanes], b: &mut [Lanes]) {
    for p in 0..n {
        let (above, below) = a.split_at_mut((p + 1) * n);
        let pivot = &above[p * n..];
        let inverse = each(|s| 1.0 / pivot[p][s]);
        let (known, rest) = b.split_at_mut(p + 1);
        for (row, b) in below.chunks_exact_mut(n).zip(rest) {
            let factor = each(|s| -row[p][s] * inverse[s]);
            for j in p + 1..n {
                row[j] = add_product::<FUSED>(&factor, &pivot[j], &row[j]);
            }
            *b = add_product::<FUSED>(&factor, &known[p], b);
        }
    }
    for i in (0..n).rev() {
        let mut own = b[i];
        for k in i + 1..n {
            own = each(|s| multiply_add::<FUSED>(-a[i * n + k][s], b[k][s], own[s]));
        }
        b[i] = each(|s| own[s] / a[i * n + i][s]);
    }
}

/// Sines and cosines, to two units in the last place up to 1e5 turns. Polynomials of S. Moshier's Cephes library.
#[inline(always)]
pub(crate) fn sin_cos<const FUSED: bool>(x: &Lanes) -> (Lanes, Lanes) {
    // Adding and subtracting this rounds to an integer, whose bits are left at the low end.
    const ROUND: f64 = 6755399441055744.0;
    // A quarter turn in three parts, the first two with few enough bits for exact multiples.
    const QUARTER: [f64; 3] =
        [1.570_796_251_296_997, 7.549_789_415_861_596e-8, 5.390_302_858_158_119e-15];
    const SINE: [f64; 6] = [
        1.589_623_015_765_465_7e-10,
        -2.505_074_776_285_780_7e-8,
        2.755_731_362_138_572_5e-6,
        -1.984_126_982_958_954e-4,
        8.333_333_333_322_118e-3,
        -1.666_666_666_666_663e-1,
    ];
    const COSINE: [f64; 6] = [
        -1.135_853_652_138_768_2e-11,
        2.087_570_084_197_473e-9,
        -2.755_731_417_929_674e-7,
        2.480_158_728_885_170_4e-5,
        -1.388_888_888_887_305_6e-3,
        4.166_666_666_666_659e-2,
    ];
    let shifted = each(|s| multiply_add::<FUSED>(x[s], std::f64::consts::FRAC_2_PI, ROUND));
    let quarters = each(|s| ROUND - shifted[s]);
    let mut r = *x;
    for part in QUARTER {
        r = add_product::<FUSED>(&quarters, &[part; LANES], &r);
    }
    let square = product(&r, &r);
    let polynomial = |c: &[f64; 6]| {
        let mut sum = [c[0]; LANES];
        for c in &c[1..] {
            sum = add_product::<FUSED>(&sum, &square, &[*c; LANES]);
        }
        sum
    };
    let sine = add_product::<FUSED>(&product(&polynomial(&SINE), &square), &r, &r);
    let bent = product(&polynomial(&COSINE), &product(&square, &square));
    let cosine = each(|s| 1.0 - (0.5 * square[s] - bent[s]));
    let turned = |quarter: u64| {
        each(|s| {
            let q = shifted[s].to_bits().wrapping_add(quarter);
            let value = if q & 1 == 0 { sine[s] } else { cosine[s] };
            f64::from_bits(value.to_bits() ^ ((q & 2) << 62))
        })
    };
    (turned(0), turned(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    widest! {
        fn sines(x: &Lanes, out: &mut [Lanes; 2]) {
            let (sin, cos) = sin_cos::<FUSED>(x);
            *out = [sin, cos];
        }
    }

    widest! {
        fn eliminated(n: usize, a: &mut [Lanes], b: &mut [Lanes]) {
            solve_dominant::<FUSED>(n, a, b);
        }
    }

    widest! {
        fn solve(n: usize, a: &mut [Lanes], b: &mut [Lanes], c: &mut [Lanes]) {
            let mut inverse = a.to_vec();
            (0..n).for_each(|p| eliminate::<FUSED>(n, p, &mut inverse));
            multiply::<FUSED>(n, a, &inverse, c);
            factorise::<FUSED>(n, a);
            backsolve::<FUSED>(n, a, b);
        }
    }

    #[test]
    fn matrices_are_inverted_and_solved() {
        let number = |i: usize| ((i * 7919) % 101) as f64 / 50.0 - 1.0;
        for n in [1, 2, 3, 6, 9] {
            let element = |i: usize, j: usize, s: usize| {
                let off = 0.3 * number(3 * i.min(j) + 17 * i.max(j) + 5 * s) / n as f64;
                if i == j { 1.0 + off } else { off }
            };
            let mut a: Vec<Lanes> =
                (0..n * n).map(|ij| each(|s| element(ij / n, ij % n, s))).collect();
            let x: Vec<Lanes> = (0..n).map(|i| each(|s| number(i + 11 * s))).collect();
            let mut b: Vec<Lanes> = (0..n)
                .map(|i| each(|s| (0..n).map(|j| element(i, j, s) * x[j][s]).sum()))
                .collect();
            let mut unit = vec![[f64::NAN; LANES]; n * n];
            // A matrix that is not symmetric: rows of their own size.
            let row = |i: usize| 1.0 + i as f64;
            let mut scaled: Vec<Lanes> =
                a.iter().enumerate().map(|(ij, a)| a.map(|a| row(ij / n) * a)).collect();
            let mut known: Vec<Lanes> =
                b.iter().enumerate().map(|(i, b)| b.map(|b| row(i) * b)).collect();
            eliminated(n, &mut scaled, &mut known);
            for (found, x) in known.iter().zip(&x) {
                assert!(found.iter().zip(x).all(|(a, b)| (a - b).abs() < 1e-14));
            }
            solve(n, &mut a, &mut b, &mut unit);
            for s in 0..LANES {
                for ij in 0..n * n {
                    let exact = if ij / n == ij % n { 1.0 } else { 0.0 };
                    assert!((unit[ij][s] - exact).abs() < 1e-14);
                }
                assert!(b.iter().zip(&x).all(|(b, x)| (b[s] - x[s]).abs() < 1e-14));
            }
        }
    }

    #[test]
    fn sines_agree_with_the_library() {
        let mut out = [[0.0; LANES]; 2];
        for i in -30_000..=30_000 {
            let x = f64::from(i) * 1e-3;
            sines(&[x; LANES], &mut out);
            assert!((out[0][3] - x.sin()).abs() <= 4e-16 * x.sin().abs().max(1e-300), "{x}");
            assert!((out[1][5] - x.cos()).abs() <= 4e-16 * x.cos().abs().max(1e-300), "{x}");
        }
        let pi = std::f64::consts::PI;
        sines(&[pi, -pi, 0.0, 1e-300, f64::NAN, f64::INFINITY, 1e5, -0.0], &mut out);
        assert!((out[0][0] / pi.sin() - 1.0).abs() < 1e-9 && out[0][1] == -out[0][0]);
        assert!(out[0][2] == 0.0 && out[1][2] == 1.0 && out[0][3] == 1e-300);
        assert!(out[0][4].is_nan() && out[1][5].is_nan());
        assert!((out[0][6] - 1e5f64.sin()).abs() < 1e-15);
    }

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
