//! Loops over plain numbers that use the widest vectors of the processor at hand.
//!
//! The build targets the least processor of its kind, so wider vectors are found at run time. Every element goes
//! through the same operations whatever the width, and no sum is split into more or fewer parts for it. Multiplications with a following
//! addition are fused, rounded once, where the processor has that: results are the same, bit for bit, on all that do (of
//! x86, those with AVX2, since 2013).

/// Rows of a tile of [`Dense`]: accumulators for two or four planes of them fit the registers.
pub const TILE: usize = 16;

/// Compiles a function three times, for vectors of 512, 256 and 128 bits, and calls the widest that works here.
macro_rules! widest {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $kind:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        #[allow(unsafe_code)]
        $vis fn $name($($arg: $kind),*) {
            // Whether multiplications and additions are fused; where that is no instruction it would be very slow. And whether
            // there are twice as many registers, twice as long.
            #[inline(always)]
            #[allow(clippy::extra_unused_type_parameters)]
            fn body<const FUSED: bool, const WIDE: bool>($($arg: $kind),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx2,fma")]
                fn wide($($arg: $kind),*) {
                    body::<true, true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn half($($arg: $kind),*) {
                    body::<true, false>($($arg),*)
                }
                let fused = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
                if fused
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                {
                    // Safety: the processor has just said that it has these instructions.
                    return unsafe { wide($($arg),*) };
                }
                if fused {
                    // Safety: as above.
                    return unsafe { half($($arg),*) };
                }
            }
            body::<{ cfg!(any(target_arch = "aarch64", target_feature = "fma")) }, false>($($arg),*)
        }
    };
}
pub(crate) use widest;

pub mod lanes;
pub mod mixtures;
pub mod polynomials;

/// `a b + c`.
#[inline(always)]
fn multiply_add<const FUSED: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
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

/// Vectors one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Planes {
    /// How many.
    pub count: usize,
    /// Whether constants enter the first; they never enter the others.
    pub constants: bool,
    /// Numbers of each.
    pub stride: usize,
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

    /// Adds the constants of the rows of `range` to their places in a vector of all rows.
    pub fn add_constants(&self, range: std::ops::Range<usize>, out: &mut [f64]) {
        for tile in &self.tiles {
            let from = range.start.max(tile.first);
            let to = range.end.min(tile.first + tile.rows);
            if from < to {
                let constants = &self.data[tile.start..][from - tile.first..to - tile.first];
                out[from..to].iter_mut().zip(constants).for_each(|(o, c)| *o += c);
            }
        }
    }

    /// Applies the rows of `range` to the vectors in `below`. Results go to the same places of vectors of all rows in `out`.
    #[inline(always)]
    fn apply<const FUSED: bool, const WIDE: bool>(
        &self,
        range: std::ops::Range<usize>,
        planes: Planes,
        below: &[f64],
        out: &mut [f64],
    ) {
        let wanted = |tile: &Tile| tile.first < range.end && tile.first + tile.rows > range.start;
        // As many planes at a time as the registers hold the sums of.
        let together = if WIDE { 4 } else { 2 };
        let whole = planes.count / together * together;
        for tile in self.tiles.iter().filter(|tile| wanted(tile)) {
            for plane in (0..whole).step_by(together) {
                if WIDE {
                    self.tile::<4, FUSED>(tile, &range, planes, plane, below, out);
                } else {
                    self.tile::<2, FUSED>(tile, &range, planes, plane, below, out);
                }
            }
        }
        // A vector by itself meets as many tiles at once as possible: the sums of one are too few to keep busy.
        for plane in whole..planes.count {
            let mut tiles = &self.tiles[..];
            while let Some((tile, rest)) = tiles.split_first() {
                let four = tiles
                    .first_chunk::<4>()
                    .filter(|four| four.iter().all(|t| wanted(t) && t.columns == tile.columns));
                tiles = rest;
                if let Some(four) = four {
                    tiles = &rest[3..];
                    self.four::<FUSED>(four, &range, planes, plane, below, out);
                } else if wanted(tile) {
                    self.tile::<1, FUSED>(tile, &range, planes, plane, below, out);
                }
            }
        }
    }

    /// One tile applied to some planes.
    #[inline(always)]
    fn tile<const C: usize, const FUSED: bool>(
        &self,
        tile: &Tile,
        range: &std::ops::Range<usize>,
        planes: Planes,
        plane: usize,
        below: &[f64],
        out: &mut [f64],
    ) {
        let (constants, columns) = self.columns(tile);
        let mut sums = [[0.0f64; TILE]; C];
        if plane == 0 && planes.constants {
            sums[0].copy_from_slice(constants);
        }
        let mut below: [&[f64]; C] = [below; C];
        for c in 0..C {
            below[c] = &below[c][(plane + c) * planes.stride..][..tile.columns];
        }
        for (k, column) in columns.as_chunks::<TILE>().0.iter().enumerate() {
            for c in 0..C {
                // A whole array anew: element by element compilers keep the sums in memory.
                let (b, old) = (below[c][k], sums[c]);
                sums[c] = std::array::from_fn(|r| multiply_add::<FUSED>(column[r], b, old[r]));
            }
        }
        for c in 0..C {
            self.store(tile, range, &sums[c], plane + c, out);
        }
    }

    /// Four tiles with as many columns each, applied to one plane.
    #[inline(always)]
    fn four<const FUSED: bool>(
        &self,
        tiles: &[Tile; 4],
        range: &std::ops::Range<usize>,
        planes: Planes,
        plane: usize,
        below: &[f64],
        out: &mut [f64],
    ) {
        let [t0, t1, t2, t3] = tiles;
        let (c0, k0) = self.columns(t0);
        let (c1, k1) = self.columns(t1);
        let (c2, k2) = self.columns(t2);
        let (c3, k3) = self.columns(t3);
        let [mut s0, mut s1, mut s2, mut s3] = [[0.0f64; TILE]; 4];
        if plane == 0 && planes.constants {
            s0.copy_from_slice(c0);
            s1.copy_from_slice(c1);
            s2.copy_from_slice(c2);
            s3.copy_from_slice(c3);
        }
        let below = &below[plane * planes.stride..][..t0.columns];
        let columns = k0.chunks_exact(TILE).zip(k1.chunks_exact(TILE));
        let columns = columns.zip(k2.chunks_exact(TILE).zip(k3.chunks_exact(TILE)));
        for (((a, b), (c, d)), &x) in columns.zip(below) {
            for r in 0..TILE {
                s0[r] = multiply_add::<FUSED>(a[r], x, s0[r]);
            }
            for r in 0..TILE {
                s1[r] = multiply_add::<FUSED>(b[r], x, s1[r]);
            }
            for r in 0..TILE {
                s2[r] = multiply_add::<FUSED>(c[r], x, s2[r]);
            }
            for r in 0..TILE {
                s3[r] = multiply_add::<FUSED>(d[r], x, s3[r]);
            }
        }
        self.store(t0, range, &s0, plane, out);
        self.store(t1, range, &s1, plane, out);
        self.store(t2, range, &s2, plane, out);
        self.store(t3, range, &s3, plane, out);
    }

    /// Constants and columns of a tile. Slices, not arrays: those would be moved about in memory.
    #[inline(always)]
    fn columns(&self, tile: &Tile) -> (&[f64], &[f64]) {
        self.data[tile.start..tile.start + (tile.columns + 1) * TILE].split_at(TILE)
    }

    #[inline(always)]
    fn store(
        &self,
        tile: &Tile,
        range: &std::ops::Range<usize>,
        sums: &[f64; TILE],
        plane: usize,
        out: &mut [f64],
    ) {
        let from = range.start.max(tile.first);
        let to = range.end.min(tile.first + tile.rows);
        let sums = &sums[from - tile.first..to - tile.first];
        out[plane * self.rows..][from..to].copy_from_slice(sums);
    }
}

widest! {
    /// `out = A below` for some rows of `A` and as many vectors as `planes` says.
    pub fn affine(
        matrix: &Dense,
        range: std::ops::Range<usize>,
        planes: Planes,
        below: &[f64],
        out: &mut [f64],
    ) {
        matrix.apply::<FUSED, WIDE>(range, planes, below, out)
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
        // Four rows a pass, where they are as long: the sums are loaded and stored less often.
        let mut r = 0;
        while r < prefix.len() {
            let length = prefix[r];
            let row = |r: usize| &parameters[offset[r] + 1..][..length];
            let out = &mut out[..length];
            if prefix[r..].iter().take(4).filter(|&&p| p == length).count() == 4 {
                let columns = row(r).iter().zip(row(r + 1)).zip(row(r + 2).iter().zip(row(r + 3)));
                let bar = &bar[r..r + 4];
                for (o, ((a, b), (c, d))) in out.iter_mut().zip(columns) {
                    let sum = multiply_add::<FUSED>(*a, bar[0], *o);
                    let sum = multiply_add::<FUSED>(*b, bar[1], sum);
                    let sum = multiply_add::<FUSED>(*c, bar[2], sum);
                    *o = multiply_add::<FUSED>(*d, bar[3], sum);
                }
                r += 4;
            } else {
                for (o, &w) in out.iter_mut().zip(row(r)) {
                    *o = multiply_add::<FUSED>(w, bar[r], *o);
                }
                r += 1;
            }
        }
    }
}

widest! {
    /// `out_k += a_k b_k`.
    pub fn add_products(a: &[f64], b: &[f64], out: &mut [f64]) {
        for (o, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
            *o = multiply_add::<FUSED>(*a, *b, *o);
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
            values.iter_mut().for_each(|v| *v = tanh_of::<FUSED>(*v));
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
                let t = tanh_of::<FUSED>(*v);
                *v = t;
                *s = multiply_add::<FUSED>(-t, t, 1.0);
            }
            for plane in gradient.chunks_exact_mut(stride) {
                let plane = &mut plane[range.clone()][block.clone()];
                for ((g, q), s) in plane.iter_mut().zip(&mut square).zip(&slope) {
                    *q = multiply_add::<FUSED>(*g, *g, *q);
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

/// Numbers that [`contract`] and its like take side by side: rows are filled up with zeros to a multiple of so many.
pub const COLUMNS: usize = 8;
/// Orders of the derivatives, of either variable, of [`contract`] at most.
pub const ORDERS: usize = 5;
/// PairDerivatives by two variables: `[b][a]` is `a` times by the first and `b` times by the second.
pub type PairDerivatives = [[f64; ORDERS]; ORDERS];

type Columns = [f64; COLUMNS];

#[inline(always)]
fn add_multiple<const FUSED: bool>(c: f64, row: &Columns, sum: &Columns) -> Columns {
    std::array::from_fn(|l| multiply_add::<FUSED>(c, row[l], sum[l]))
}

/// See [`contract`].
#[inline(always)]
fn contract_orders<const O: usize, const FUSED: bool>(
    table: &[f64],
    stride: usize,
    own: &[f64],
    rows: &mut [f64],
    others: &[f64],
    out: &mut [PairDerivatives],
) {
    for start in (0..stride).step_by(COLUMNS) {
        let mut sums = [[0.0; COLUMNS]; O];
        for (k, row) in table.chunks_exact(stride).enumerate() {
            let Some(row) = row[start..].first_chunk::<COLUMNS>() else { return };
            for a in 0..O {
                sums[a] = add_multiple::<FUSED>(own[a * stride + k], row, &sums[a]);
            }
        }
        for (row, sum) in rows.chunks_exact_mut(stride).zip(&sums) {
            row[start..start + COLUMNS].copy_from_slice(sum);
        }
    }
    for (other, out) in others.chunks_exact(ORDERS * stride).zip(out) {
        for (b, other) in other.chunks_exact(stride).take(O).enumerate() {
            for (a, row) in rows.chunks_exact(stride).take(O - b).enumerate() {
                let mut sums = [0.0; COLUMNS];
                let columns = row.as_chunks::<COLUMNS>().0.iter();
                for (x, y) in columns.zip(other.as_chunks::<COLUMNS>().0) {
                    let old = sums;
                    sums = std::array::from_fn(|l| multiply_add::<FUSED>(x[l], y[l], old[l]));
                }
                let [s0, s1, s2, s3, s4, s5, s6, s7] = sums;
                out[b][a] = ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7));
            }
        }
    }
}

widest! {
    /// PairDerivatives of `sum_kl u_k c_kl v_l` up to the order `orders - 1` in all, for each of the `others`. Of `u` and of each of the others
    /// there are [`ORDERS`] rows of `stride` numbers, one an order; the table has rows as long, and `rows` is room for `u` times it.
    pub fn contract(
        table: &[f64],
        stride: usize,
        orders: usize,
        own: &[f64],
        rows: &mut [f64],
        others: &[f64],
        out: &mut [PairDerivatives],
    ) {
        match orders {
            0..=2 => contract_orders::<2, FUSED>(table, stride, own, rows, others, out),
            3 => contract_orders::<3, FUSED>(table, stride, own, rows, others, out),
            4 => contract_orders::<4, FUSED>(table, stride, own, rows, others, out),
            _ => contract_orders::<5, FUSED>(table, stride, own, rows, others, out),
        }
    }
}

widest! {
    /// Adds `sum_b weights[b][a] v^(b)` to row `a`, for orders of both below `orders`.
    pub fn add_weighted(
        weights: &PairDerivatives,
        stride: usize,
        orders: usize,
        other: &[f64],
        rows: &mut [f64],
    ) {
        for (a, row) in rows.chunks_exact_mut(stride).take(orders).enumerate() {
            for (b, other) in other.chunks_exact(stride).take(orders - a).enumerate() {
                for (sum, x) in row.iter_mut().zip(other) {
                    *sum = multiply_add::<FUSED>(weights[b][a], *x, *sum);
                }
            }
        }
    }
}

widest! {
    /// `out_kl += sum_a u_k^(a) row_al`, for orders below `orders` and as many rows as `out` has.
    pub fn add_outer(stride: usize, orders: usize, own: &[f64], rows: &[f64], out: &mut [f64]) {
        for start in (0..stride).step_by(COLUMNS) {
            for (k, out) in out.chunks_exact_mut(stride).enumerate() {
                let Some(out) = out[start..].first_chunk_mut::<COLUMNS>() else { return };
                let mut sums = *out;
                for (a, row) in rows.chunks_exact(stride).take(orders).enumerate() {
                    let Some(row) = row[start..].first_chunk::<COLUMNS>() else { return };
                    sums = add_multiple::<FUSED>(own[a * stride + k], row, &sums);
                }
                *out = sums;
            }
        }
    }
}

/// Sine and cosine of a multiple of an angle.
pub type Phase = [f64; 2];

/// The phases of `t`, `t + u`, `t + 2 u`, .. from the first two of `t` and `u`, twice as many at a time.
#[inline(always)]
pub fn phases(first: Phase, [mut sin, mut cos]: Phase, out: &mut [Phase]) {
    let Some(start) = out.first_mut() else { return };
    *start = first;
    let mut known = 1;
    while known < out.len() {
        let (old, new) = out.split_at_mut(known);
        for ([s, c], new) in old.iter().zip(new) {
            *new = [s * cos + c * sin, c * cos - s * sin];
        }
        (sin, cos) = (2.0 * sin * cos, (cos - sin) * (cos + sin));
        known *= 2;
    }
}

widest! {
    /// The exponentials of numbers below 700.
    pub fn exp(data: &mut [f64]) {
        data.iter_mut().for_each(|v| *v = exp_of::<FUSED>(*v));
    }
}

/// `(p, d, power)` with `e^x = (d + p) / (d - p) power` for `x` from -700 to 700. Rational function of S. Moshier's Cephes
/// library.
#[inline(always)]
fn exp_parts<const FUSED: bool>(x: f64) -> (f64, f64, f64) {
    // Adding and subtracting this rounds to an integer, whose bits are left at the low end.
    const ROUND: f64 = 6755399441055744.0;
    let m = multiply_add::<FUSED>;
    let shifted = m(x, std::f64::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = m(n, -1.428_606_820_309_417_3e-6, m(n, -6.93145751953125e-1, x));
    let q = r * r;
    let p = r * m(m(1.261_771_930_748_105_9e-4, q, 3.029_944_077_074_419_6e-2), q, 1.0);
    let d = m(3.001_985_051_386_644_6e-6, q, 2.524_483_403_496_841e-3);
    let d = m(m(d, q, 2.272_655_482_081_550_3e-1), q, 2.0);
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    (p, d, power)
}

/// `e^x` for `x` at most 700, to two units in the last place; zero below -700.
#[inline(always)]
fn exp_of<const FUSED: bool>(x: f64) -> f64 {
    // A comparison, not a maximum: NaN stays NaN.
    let (p, d, power) = exp_parts::<FUSED>(if x < -700.0 { -700.0 } else { x });
    let e = multiply_add::<FUSED>(2.0, p / (d - p), 1.0) * power;
    if x < -700.0 { 0.0 } else { e }
}

/// `tanh x` to four units in the last place: with `e^{2 |x|} = P (d + p) / (d - p)`, as `((P - 1) d + (P + 1) p) / ((P + 1) d + (P - 1) p)`, of
/// which nothing cancels where `P` is one.
#[inline(always)]
fn tanh_of<const FUSED: bool>(x: f64) -> f64 {
    let m = multiply_add::<FUSED>;
    let a = x.abs();
    let (p, d, power) = exp_parts::<FUSED>(2.0 * if a > 20.0 { 20.0 } else { a });
    let (less, more) = (power - 1.0, power + 1.0);
    let ratio = m(more, p, less * d) / m(less, p, more * d);
    // Rounding must not make it more than one; a comparison, so that NaN stays NaN.
    (if ratio > 1.0 { 1.0 } else { ratio }).copysign(x)
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
        // Relative to what is tiny, and nowhere above one.
        for i in 0..=2400 {
            let x = 10f64.powf(f64::from(i) / 8.0 - 299.0);
            let mut t = [x, -x];
            tanh(0..2, 1, 2, &mut t);
            assert!((t[0] - x.tanh()).abs() <= 1e-15 * x.tanh() && t[1] == -t[0] && t[0] <= 1.0);
        }
        let mut large: Vec<f64> = (0..100_000).map(|i| 15.0 + 1e-4 * f64::from(i)).collect();
        tanh(0..100_000, 1, 100_000, &mut large);
        assert!(large.iter().all(|t| *t <= 1.0));
    }

    #[test]
    fn sums_of_products_agree_with_the_definition() {
        let number = |i: usize| ((i * 7919) % 101) as f64 / 50.0 - 1.0;
        let numbers = |n: usize| (0..n).map(number).collect::<Vec<f64>>();
        // Rows of all lengths, some of them in fours.
        let prefix = [0, 0, 3, 3, 3, 3, 3, 7, 7, 9, 9, 9, 9, 9, 9, 9, 9];
        let offset: Vec<usize> = (0..prefix.len()).map(|r| 10 * r).collect();
        let (weights, bar) = (numbers(10 * prefix.len()), numbers(prefix.len()));
        let (mut out, start) = (numbers(9), numbers(9));
        add_rows(&weights, &offset, &prefix, &bar, &mut out);
        for k in 0..9 {
            let rows = (0..prefix.len()).filter(|&r| k < prefix[r]);
            let exact: f64 = rows.map(|r| weights[offset[r] + 1 + k] * bar[r]).sum();
            assert!((out[k] - start[k] - exact).abs() < 1e-14);
        }
        let (a, b) = (numbers(37), numbers(74));
        let mut out = numbers(37);
        add_products(&a, &b[37..], &mut out);
        for k in 0..37 {
            assert!((out[k] - a[k] - a[k] * b[37 + k]).abs() < 1e-15);
        }
    }

    #[test]
    fn contractions_agree_with_the_definition() {
        let number = |i: usize| ((i * 7919) % 101) as f64 / 50.0 - 1.0;
        for m in [1usize, 3, 8, 11, 16] {
            let stride = m.next_multiple_of(COLUMNS);
            let filled = |from: usize, rows: usize| -> Vec<f64> {
                let at = |i: usize| if i % stride < m { number(from + i) } else { 0.0 };
                (0..rows * stride).map(at).collect()
            };
            let (table, own, others) = (filled(0, m), filled(5, ORDERS), filled(17, 3 * ORDERS));
            for orders in 2..=ORDERS {
                let (mut rows, mut out) = (vec![0.0; ORDERS * stride], vec![[[0.0; 5]; 5]; 3]);
                contract(&table, stride, orders, &own, &mut rows, &others, &mut out);
                for (j, out) in out.iter().enumerate() {
                    for (b, a) in (0..orders).flat_map(|b| (0..orders - b).map(move |a| (b, a))) {
                        let mut exact = 0.0;
                        for (k, l) in (0..m).flat_map(|k| (0..m).map(move |l| (k, l))) {
                            let other = others[(j * ORDERS + b) * stride + l];
                            exact += own[a * stride + k] * table[k * stride + l] * other;
                        }
                        assert!((out[b][a] - exact).abs() < 1e-11, "{m} {} {exact}", out[b][a]);
                    }
                }
                let weights: PairDerivatives =
                    std::array::from_fn(|b| std::array::from_fn(|a| number(3 + 7 * a + b)));
                let mut rows = vec![0.0; ORDERS * stride];
                add_weighted(&weights, stride, orders, &others, &mut rows);
                let mut sums = vec![0.5; m * stride];
                add_outer(stride, orders, &own, &rows, &mut sums);
                for (k, l) in (0..m).flat_map(|k| (0..m).map(move |l| (k, l))) {
                    let mut exact = 0.5;
                    for (b, a) in (0..orders).flat_map(|b| (0..orders - b).map(move |a| (b, a))) {
                        exact += weights[b][a] * own[a * stride + k] * others[b * stride + l];
                    }
                    assert!((sums[k * stride + l] - exact).abs() < 1e-12);
                }
            }
        }
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
            for (planes, constants) in
                [(1, true), (4, true), (6, true), (7, true), (3, false), (7, false)]
            {
                let stride = 64;
                let below: Vec<f64> = (0..planes * stride).map(|i| number(3 * i)).collect();
                let shape = Planes { count: planes, constants, stride };
                let mut out = vec![0.0; planes * n];
                affine(&dense, 0..n, shape, &below, &mut out);
                let mut parts = vec![0.0; planes * n];
                affine(&dense, 0..n / 3, shape, &below, &mut parts);
                affine(&dense, n / 3..n, shape, &below, &mut parts);
                assert_eq!(out, parts);
                for c in 0..planes {
                    for r in 0..n {
                        let mut sum = if constants && c == 0 { number(r) } else { 0.0 };
                        for (k, w) in weights[r].iter().enumerate() {
                            sum += w * below[c * stride + k];
                        }
                        assert!((out[c * n + r] - sum).abs() < 1e-13);
                    }
                }
            }
        }
    }
}
