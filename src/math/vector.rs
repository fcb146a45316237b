//! Loops over plain numbers that use the widest vectors of the processor at hand.
//!
//! The build targets the least processor of its kind, so wider vectors are found at run time. Every element goes
//! through the same separately rounded operations whatever the width: nothing is contracted to fused
//! multiply-adds and no sum is split among lanes. Results are the same, bit for bit, on all processors.

/// Rows of a tile of [`Dense`]: accumulators for four planes of them fit the registers.
pub const TILE: usize = 16;

/// Compiles a function three times, for vectors of 512, 256 and 128 bits, and calls the widest that works here.
macro_rules! widest {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $kind:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $kind),*) {
            #[inline(always)]
            fn body($($arg: $kind),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
                fn wide($($arg: $kind),*) {
                    body($($arg),*)
                }
                #[target_feature(enable = "avx2")]
                fn half($($arg: $kind),*) {
                    body($($arg),*)
                }
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                {
                    // Safety: the processor has just said that it has these instructions.
                    return unsafe { wide($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // Safety: as above.
                    return unsafe { half($($arg),*) };
                }
            }
            body($($arg),*)
        }
    };
}

/// A matrix with a constant column whose row `r` uses a prefix of the columns, in tiles of neighbouring rows that
/// are stored column by column.
#[derive(Clone, Debug, Default)]
pub struct Dense {
    rows: usize,
    tiles: Vec<Tile>,
    /// Constants of the rows of a tile, then its columns; rows beyond the last are zero.
    data: Vec<f64>,
}

#[derive(Clone, Debug)]
struct Tile {
    first: usize,
    rows: usize,
    columns: usize,
    start: usize,
}

/// Difference of prefixes at which a new tile pays.
const NEW_TILE: usize = 8;

impl Dense {
    /// Zeros with the given prefixes, which must not decrease.
    pub fn new(prefix: &[usize]) -> Self {
        let mut dense = Dense { rows: prefix.len(), ..Dense::default() };
        let mut first = 0;
        let mut start = 0;
        for r in 1..=prefix.len() {
            if r == prefix.len() || r - first == TILE || prefix[r] > prefix[r - 1] + NEW_TILE {
                let columns = prefix[r - 1];
                dense.tiles.push(Tile { first, rows: r - first, columns, start });
                start += (columns + 1) * TILE;
                first = r;
            }
        }
        dense.data = vec![0.0; start];
        dense
    }

    /// Takes the constant and the used elements of each row.
    pub fn set<'a>(&mut self, row: impl Fn(usize) -> (f64, &'a [f64])) {
        for tile in &self.tiles {
            for r in 0..tile.rows {
                let (constant, elements) = row(tile.first + r);
                self.data[tile.start + r] = constant;
                for (k, w) in elements.iter().enumerate() {
                    self.data[tile.start + (k + 1) * TILE + r] = *w;
                }
            }
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Applies the rows of `range` to `planes` vectors in `below` (one after the other, `stride` apart); constants
    /// enter the first only. Results go to the same places of vectors of all rows in `out`.
    #[inline(always)]
    fn apply(
        &self,
        range: std::ops::Range<usize>,
        planes: usize,
        below: &[f64],
        stride: usize,
        out: &mut [f64],
    ) {
        for tile in &self.tiles {
            if tile.first >= range.end || tile.first + tile.rows <= range.start {
                continue;
            }
            let mut plane = 0;
            while plane < planes {
                if planes - plane >= 4 {
                    self.tile::<4>(tile, &range, plane, below, stride, out);
                    plane += 4;
                } else {
                    self.tile::<1>(tile, &range, plane, below, stride, out);
                    plane += 1;
                }
            }
        }
    }

    #[inline(always)]
    fn tile<const C: usize>(
        &self,
        tile: &Tile,
        range: &std::ops::Range<usize>,
        plane: usize,
        below: &[f64],
        stride: usize,
        out: &mut [f64],
    ) {
        let data = &self.data[tile.start..tile.start + (tile.columns + 1) * TILE];
        let (constants, columns) = data.split_at(TILE);
        let mut sums = [[0.0f64; TILE]; C];
        if plane == 0 {
            sums[0].copy_from_slice(constants);
        }
        let mut below: [&[f64]; C] = [below; C];
        for c in 0..C {
            below[c] = &below[c][(plane + c) * stride..][..tile.columns];
        }
        for (k, column) in columns.chunks_exact(TILE).enumerate() {
            for c in 0..C {
                let b = below[c][k];
                for r in 0..TILE {
                    sums[c][r] += column[r] * b;
                }
            }
        }
        let from = range.start.max(tile.first);
        let to = range.end.min(tile.first + tile.rows);
        for c in 0..C {
            out[(plane + c) * self.rows..][from..to]
                .copy_from_slice(&sums[c][from - tile.first..to - tile.first]);
        }
    }
}

widest! {
    /// `out = A below` for some rows of `A` and as many vectors as `planes` says.
    pub fn affine(
        matrix: &Dense,
        range: std::ops::Range<usize>,
        planes: usize,
        below: &[f64],
        stride: usize,
        out: &mut [f64],
    ) {
        matrix.apply(range, planes, below, stride, out)
    }
}

widest! {
    /// `out_k += sum_r w_{rk} bar_r`: see [`Scalar::add_rows`](super::scalar::Scalar::add_rows).
    pub fn add_rows(
        parameters: &[f64],
        offset: &[usize],
        prefix: &[usize],
        bar: &[f64],
        out: &mut [f64],
    ) {
        for ((&offset, &prefix), &bar) in offset.iter().zip(prefix).zip(bar) {
            for (o, &w) in out.iter_mut().zip(&parameters[offset + 1..=offset + prefix]) {
                *o += w * bar;
            }
        }
    }
}

widest! {
    /// The hyperbolic tangent of the numbers of the first plane (of `stride` numbers each) in `range`; with more planes,
    /// which are first derivatives and, last, the Laplacian, those of the result.
    pub fn tanh(range: std::ops::Range<usize>, planes: usize, stride: usize, data: &mut [f64]) {
        let (values, rest) = data.split_at_mut(stride);
        let values = &mut values[range.clone()];
        if planes == 1 {
            values.iter_mut().for_each(|v| *v = tanh_of(*v));
            return;
        }
        let (gradient, laplacian) = rest.split_at_mut((planes - 2) * stride);
        const BLOCK: usize = 16;
        let laplacian = &mut laplacian[range.clone()];
        let mut start = 0;
        while start < values.len() {
            let end = (start + BLOCK).min(values.len());
            let block = start..end;
            let mut slope = [0.0; BLOCK];
            let mut square = [0.0; BLOCK];
            for (v, s) in values[block.clone()].iter_mut().zip(&mut slope) {
                let t = tanh_of(*v);
                *v = t;
                *s = 1.0 - t * t;
            }
            for plane in gradient.chunks_exact_mut(stride) {
                let plane = &mut plane[range.clone()][block.clone()];
                for ((g, q), s) in plane.iter_mut().zip(&mut square).zip(&slope) {
                    *q += *g * *g;
                    *g *= s;
                }
            }
            for i in block {
                let s = slope[i - start];
                laplacian[i] = s * laplacian[i] - 2.0 * values[i] * s * square[i - start];
            }
            start = end;
        }
    }
}

widest! {
    /// The exponentials of numbers below 700.
    pub fn exp(data: &mut [f64]) {
        data.iter_mut().for_each(|v| *v = exp_of(*v));
    }
}

/// `e^x` for `x` at most 700, to two units in the last place; zero below -700. Rational function of S. Moshier's Cephes library.
#[inline(always)]
fn exp_of(x: f64) -> f64 {
    // Adding and subtracting this rounds to an integer, whose bits are left at the low end.
    const ROUND: f64 = 6755399441055744.0;
    // A comparison, not a maximum: NaN stays NaN.
    let y = if x < -700.0 { -700.0 } else { x };
    let shifted = y * std::f64::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = y - n * 6.93145751953125e-1 - n * 1.428_606_820_309_417_3e-6;
    let q = r * r;
    let p = r * ((1.261_771_930_748_105_9e-4 * q + 3.029_944_077_074_419_6e-2) * q + 1.0);
    let d = ((3.001_985_051_386_644_6e-6 * q + 2.524_483_403_496_841e-3) * q
        + 2.272_655_482_081_550_3e-1)
        * q
        + 2.0;
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    let e = (1.0 + 2.0 * (p / (d - p))) * power;
    if x < -700.0 { 0.0 } else { e }
}

/// `tanh x` to three units in the last place. Rational function of S. Moshier's Cephes library.
#[inline(always)]
fn tanh_of(x: f64) -> f64 {
    let a = x.abs();
    let q = x * x;
    let p =
        (-9.643_991_794_250_522e-1 * q - 9.928_772_310_019_185e1) * q - 1.614_687_684_417_084_4e3;
    let d = ((q + 1.128_116_784_916_329_3e2) * q + 2.235_488_390_601_004_5e3) * q
        + 4.844_063_053_251_255e3;
    let near = x + x * q * (p / d);
    let bounded = if a > 20.0 { 20.0 } else { a };
    let far = (1.0 - 2.0 / (exp_of(2.0 * bounded) + 1.0)).copysign(x);
    if a < 0.625 { near } else { far }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elementary_functions_agree_with_the_library() {
        for i in -40_000..=40_000 {
            let x = f64::from(i) * 1e-3;
            let mut t = [x];
            tanh(0..1, 1, 1, &mut t);
            assert!((t[0] - x.tanh()).abs() <= 1e-15 * x.tanh().abs(), "{x} {} {}", t[0], x.tanh());
            let mut e = [x * 17.0];
            exp(&mut e);
            let exact = (x * 17.0).exp();
            assert!((e[0] - exact).abs() <= 1e-15 * exact, "{x} {} {exact}", e[0]);
        }
        let mut odd = [-1e4, f64::NAN, 0.0];
        exp(&mut odd);
        assert!(odd[0] == 0.0 && odd[1].is_nan() && odd[2] == 1.0);
        let mut odd = [-1e4, 1e4, f64::NAN, 0.0, f64::INFINITY];
        tanh(0..5, 1, 5, &mut odd);
        assert!(
            odd[0] == -1.0 && odd[1] == 1.0 && odd[2].is_nan() && odd[3] == 0.0 && odd[4] == 1.0
        );
    }

    #[test]
    fn matrices_agree_with_the_definition() {
        let number = |i: usize| ((i * 7919) % 101) as f64 / 50.0 - 1.0;
        for prefix in [vec![1; 64], vec![0, 0, 0, 40, 40], (0..37).collect::<Vec<_>>()] {
            let n = prefix.len();
            let weights: Vec<Vec<f64>> =
                (0..n).map(|r| (0..prefix[r]).map(|k| number(91 * r + k)).collect()).collect();
            let mut dense = Dense::new(&prefix);
            dense.set(|r| (number(r), &weights[r]));
            for planes in [1, 4, 6, 7] {
                let stride = 64;
                let below: Vec<f64> = (0..planes * stride).map(|i| number(3 * i)).collect();
                let mut out = vec![0.0; planes * n];
                affine(&dense, 0..n, planes, &below, stride, &mut out);
                let mut parts = vec![0.0; planes * n];
                affine(&dense, 0..n / 3, planes, &below, stride, &mut parts);
                affine(&dense, n / 3..n, planes, &below, stride, &mut parts);
                assert_eq!(out, parts);
                for c in 0..planes {
                    for r in 0..n {
                        let mut sum = if c == 0 { number(r) } else { 0.0 };
                        for (k, w) in weights[r].iter().enumerate() {
                            sum += w * below[c * stride + k];
                        }
                        assert_eq!(out[c * n + r], sum);
                    }
                }
            }
        }
    }
}
