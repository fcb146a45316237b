//! Full configuration interaction in a finite set of orbitals, matrix-free.
//!
//! Every pair of particles feels the reduced Hamiltonian `K(1,2) = w(1,2) + (h(1) + h(2)) / (N - 1)`,
//! whose sum over pairs is H. The product `H c` is then three dense matrix products: for each string
//! of spectators K, the amplitudes of the pairs that complete it are collected into a column, the
//! matrix of `K` between pairs is applied to a block of columns, and the result is scattered back.

use super::ExactError;
use super::groups::Groups;
use super::strings::{Additions, StringSpace, choose};
use super::watch::Watch;
use crate::math::linalg::{mul, mul_into};
use crate::system::Sector;
use faer::{Accum, Mat, MatRef};
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

/// Index of the pair `p < q`.
#[inline]
pub(crate) fn pair_index(p: usize, q: usize) -> usize {
    q * (q - 1) / 2 + p
}

/// Matrix elements of a two-body operator between pairs of orbitals.
#[derive(Clone, Debug)]
pub(crate) struct PairMatrices {
    /// Equal spins: `<pq||rs>` between pairs `p < q`.
    pub(crate) equal: Mat<f64>,
    /// Opposite spins: `<p q|rs>`, index `p * orbitals + q` with `p` the spin-up orbital. Empty for
    /// a spin-polarised sector.
    pub(crate) opposite: Mat<f64>,
    /// Both as the parts that nothing couples, found when they are first asked for.
    groups: OnceLock<[Option<Groups>; 2]>,
}

impl PairMatrices {
    fn of_blocks(equal: Mat<f64>, opposite: Mat<f64>) -> Self {
        PairMatrices { equal, opposite, groups: OnceLock::new() }
    }

    /// The matrix of a block, and its parts if it falls into any.
    fn matrix(&self, block: Block) -> (MatRef<'_, f64>, Option<&Groups>) {
        let found = || [&self.equal, &self.opposite].map(|matrix| Groups::of(matrix.as_ref()));
        let [equal, opposite] = self.groups.get_or_init(found);
        match block {
            Block::UpUp | Block::DownDown => (self.equal.as_ref(), equal.as_ref()),
            Block::UpDown => (self.opposite.as_ref(), opposite.as_ref()),
        }
    }

    /// From the one-body matrix `h` of the orbitals and the integrals
    /// `g[(pr), (qs)] = int phi_p phi_r(x) w(x - y) phi_q phi_s(y)`, both index pairs packed with
    /// `p <= r` as `r (r + 1) / 2 + p`.
    pub(crate) fn new(h: MatRef<'_, f64>, g: MatRef<'_, f64>, sector: Sector) -> Self {
        let m = h.nrows();
        let share = 1.0 / (sector.particles() - 1) as f64;
        let packed =
            |a: usize, b: usize| if a <= b { b * (b + 1) / 2 + a } else { a * (a + 1) / 2 + b };
        let direct = |p: usize, q: usize, r: usize, s: usize| {
            let mut v = g[(packed(p, r), packed(q, s))];
            if q == s {
                v += share * h[(p, r)];
            }
            if p == r {
                v += share * h[(q, s)];
            }
            v
        };
        let pairs = if sector.up > 1 || sector.down > 1 { m * (m - 1) / 2 } else { 0 };
        let mut list = Vec::with_capacity(pairs);
        for q in 1..m {
            for p in 0..q {
                list.push((p, q));
            }
        }
        let equal = Mat::from_fn(pairs, pairs, |i, j| {
            let ((p, q), (r, s)) = (list[i], list[j]);
            direct(p, q, r, s) - direct(p, q, s, r)
        });
        let opposite = if sector.up > 0 && sector.down > 0 { m * m } else { 0 };
        let opposite = Mat::from_fn(opposite, opposite, |i, j| direct(i / m, i % m, j / m, j % m));
        PairMatrices::of_blocks(equal, opposite)
    }

    /// Products `a(1) a(2)` of a one-body operator with the matrix `a`.
    pub(crate) fn of_products(a: &Mat<f64>, sector: Sector) -> Self {
        let m = a.nrows();
        let mut list = vec![];
        for q in 1..m {
            for p in 0..q {
                list.push((p, q));
            }
        }
        let pairs = if sector.up > 1 || sector.down > 1 { list.len() } else { 0 };
        let equal = Mat::from_fn(pairs, pairs, |i, j| {
            let ((p, q), (r, s)) = (list[i], list[j]);
            a[(p, r)] * a[(q, s)] - a[(p, s)] * a[(q, r)]
        });
        let size = if sector.up > 0 && sector.down > 0 { m * m } else { 0 };
        let opposite = Mat::from_fn(size, size, |i, j| a[(i / m, j / m)] * a[(i % m, j % m)]);
        PairMatrices::of_blocks(equal, opposite)
    }

    /// The part between the first `few` of `orbitals` orbitals.
    pub(crate) fn restricted(&self, orbitals: usize, few: usize) -> Self {
        let pairs = if self.equal.nrows() == 0 { 0 } else { few * (few - 1) / 2 };
        let equal = self.equal.submatrix(0, 0, pairs, pairs).to_owned();
        let size = if self.opposite.nrows() == 0 { 0 } else { few * few };
        let at = |i: usize| i / few * orbitals + i % few;
        let opposite = Mat::from_fn(size, size, |i, j| self.opposite[(at(i), at(j))]);
        PairMatrices::of_blocks(equal, opposite)
    }

    /// `S² - M (M + 1) - n_down`: exchange of opposite spins, `-sum_pq a+_p,up a+_q,down a_p,down a_q,up`.
    pub(crate) fn spin_exchange(orbitals: usize, sector: Sector) -> Self {
        let m = orbitals;
        let pairs = if sector.up > 1 || sector.down > 1 { m * (m - 1) / 2 } else { 0 };
        let size = if sector.up > 0 && sector.down > 0 { m * m } else { 0 };
        let opposite =
            Mat::from_fn(
                size,
                size,
                |i, j| {
                    if i / m == j % m && i % m == j / m { -1.0 } else { 0.0 }
                },
            );
        PairMatrices::of_blocks(Mat::zeros(pairs, pairs), opposite)
    }
}

/// Which pairs a pass over the spectators completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    UpUp,
    DownDown,
    UpDown,
}

/// The determinants of a sector over `orbitals` orbitals. A state is a matrix of coefficients, spin-up
/// strings by spin-down strings, stored by rows.
#[derive(Clone, Debug)]
pub(crate) struct CiSpace {
    pub(crate) sector: Sector,
    pub(crate) orbitals: usize,
    pub(crate) up: StringSpace,
    pub(crate) down: StringSpace,
    /// Those of each block, where the space is small, found when they are first asked for.
    places: [OnceLock<Vec<Place>>; 3],
}

/// Memory and arithmetic of one calculation, known before anything is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CiCost {
    pub(crate) determinants: u64,
    pub(crate) bytes: u64,
    /// Floating-point operations of one product with H.
    pub(crate) flops: u64,
}

/// Work of collecting and scattering one amplitude, in floating-point operations of a matrix product.
const GATHER_WORK: f64 = 100.0;

/// The row of the amplitudes that a pair has.
fn placed(place: Option<&[usize]>, pair: usize) -> usize {
    place.map_or(pair, |place| place[pair])
}

/// Where an amplitude is among the coefficients, and its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u32);

impl Place {
    /// Of a pair that overlaps with the spectators.
    const NOWHERE: Self = Place(u32::MAX);

    /// Determinants up to which there are places.
    const MOST: u64 = (u32::MAX / 2) as u64;

    fn new(address: usize, sign: f64) -> Self {
        Place((address as u32) << 1 | u32::from(sign < 0.0))
    }

    /// The address; none where there is no amplitude.
    #[inline]
    fn address(self) -> Option<usize> {
        (self != Place::NOWHERE).then_some((self.0 >> 1) as usize)
    }

    /// A number with the sign.
    #[inline]
    fn signed(self, v: f64) -> f64 {
        if self.0 & 1 == 1 { -v } else { v }
    }
}

/// Amplitudes of one block of columns.
struct Columns<'a> {
    /// Their rows where the pairs are [placed].
    amplitudes: Mat<f64>,
    /// Of each, by column and pair.
    places: Cow<'a, [Place]>,
}

impl CiSpace {
    pub(crate) fn new(sector: Sector, orbitals: usize) -> Self {
        CiSpace {
            sector,
            orbitals,
            up: StringSpace::new(orbitals, sector.up),
            down: StringSpace::new(orbitals, sector.down),
            places: Default::default(),
        }
    }

    /// Rows and columns of the amplitudes of each block.
    fn products(sector: Sector, orbitals: usize) -> impl Iterator<Item = (u64, u64)> {
        let (m, Sector { up, down, .. }) = (orbitals, sector);
        let (equal, opposite) = ((m * m.saturating_sub(1) / 2) as u64, (m * m) as u64);
        let strings = |n: usize, k: usize| choose(m, n).saturating_mul(choose(m, k));
        let up_up = (up > 1).then(|| (equal, strings(up - 2, down)));
        let down_down = (down > 1).then(|| (equal, strings(down - 2, up)));
        let up_down = (up > 0 && down > 0).then(|| (opposite, strings(up - 1, down - 1)));
        [up_up, down_down, up_down].into_iter().flatten()
    }

    /// Amplitudes of a space up to which their places are kept: it is products with the same space that take most of the time.
    const MOST_PLACES: u64 = 1 << 24;

    /// Number of amplitudes of all blocks.
    fn amplitudes(sector: Sector, orbitals: usize) -> u64 {
        let all = Self::products(sector, orbitals);
        all.map(|(rows, columns)| rows.saturating_mul(columns)).fold(0, u64::saturating_add)
    }

    /// Predicted cost with `subspace` pairs of Davidson vectors and `grid` quadrature points.
    pub(crate) fn cost(sector: Sector, orbitals: usize, subspace: usize, grid: usize) -> CiCost {
        let m = orbitals;
        let determinants = choose(m, sector.up).saturating_mul(choose(m, sector.down));
        let equal = if sector.up > 1 || sector.down > 1 { (m * (m - 1) / 2) as u64 } else { 0 };
        let opposite = if sector.up > 0 && sector.down > 0 { (m * m) as u64 } else { 0 };
        let flops = Self::products(sector, m)
            .map(|(rows, columns)| columns.saturating_mul(2 * rows * rows))
            .fold(0, u64::saturating_add);
        let products = (m * (m + 1) / 2) as u64;
        let doubles = determinants
            .saturating_mul(2 * subspace as u64 + 4)
            // The matrices and their parts.
            .saturating_add(2 * (equal * equal + opposite * opposite))
            .saturating_add(products * products + 2 * products * grid as u64 + (grid * grid) as u64)
            .saturating_add(Self::BATCH as u64 * 5 * Self::COLUMN_DOUBLES as u64);
        let amplitudes = Self::amplitudes(sector, m);
        let places = if amplitudes <= Self::MOST_PLACES { 4 * amplitudes } else { 0 };
        let bytes = match determinants {
            0..=Place::MOST => doubles.saturating_mul(8).saturating_add(places),
            _ => u64::MAX,
        };
        CiCost { determinants, bytes, flops }
    }

    /// A state of a space with fewer orbitals, as a state of this one: colexicographic addresses
    /// do not depend on the number of orbitals.
    pub(crate) fn embed(&self, smaller: &CiSpace, c: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.dimension()];
        for (i, row) in c.chunks(smaller.down.count).enumerate() {
            let at = i * self.down.count;
            out[at..at + row.len()].copy_from_slice(row);
        }
        out
    }

    pub(crate) fn dimension(&self) -> usize {
        self.up.count * self.down.count
    }

    fn blocks(&self) -> Vec<Block> {
        let mut blocks = vec![];
        if self.sector.up > 1 {
            blocks.push(Block::UpUp);
        }
        if self.sector.down > 1 {
            blocks.push(Block::DownDown);
        }
        if self.sector.up > 0 && self.sector.down > 0 {
            blocks.push(Block::UpDown);
        }
        blocks
    }

    /// Spectator strings of a block: (spin-up, spin-down).
    fn spectators(&self, block: Block) -> (StringSpace, StringSpace) {
        let Sector { up, down, .. } = self.sector;
        let (u, d) = match block {
            Block::UpUp => (up - 2, down),
            Block::DownDown => (up, down - 2),
            Block::UpDown => (up - 1, down - 1),
        };
        (StringSpace::new(self.orbitals, u), StringSpace::new(self.orbitals, d))
    }

    fn rows(&self, block: Block) -> usize {
        let m = self.orbitals;
        match block {
            Block::UpUp | Block::DownDown => m * (m - 1) / 2,
            Block::UpDown => m * m,
        }
    }

    /// Places of the amplitudes of the columns `range` (spin-up spectator string times number of spin-down ones
    /// plus spin-down string).
    fn found(
        &self,
        block: Block,
        spectators: &(StringSpace, StringSpace),
        range: Range<usize>,
    ) -> Vec<Place> {
        let (up, down) = spectators;
        let rows = self.rows(block);
        let m = self.orbitals;
        let stride = self.down.count;
        let mut places = vec![Place::NOWHERE; rows * range.len()];
        let (mut ku, mut kd) = (vec![], vec![]);
        let (mut add_up, mut add_down) = (Additions::new(up), Additions::new(down));
        let mut seen = usize::MAX;
        for (column, index) in range.enumerate() {
            let (iu, id) = (index / down.count, index % down.count);
            if iu != seen {
                up.unrank(iu, &mut ku);
                add_up.set(&ku);
                seen = iu;
            }
            let at = column * rows;
            match block {
                Block::UpUp => {
                    for s in 1..m {
                        for r in 0..s {
                            if let Some((a, g)) = add_up.two(r, s) {
                                let k = at + pair_index(r, s);
                                places[k] = Place::new(a * stride + id, g);
                            }
                        }
                    }
                }
                Block::DownDown => {
                    down.unrank(id, &mut kd);
                    add_down.set(&kd);
                    for s in 1..m {
                        for r in 0..s {
                            if let Some((a, g)) = add_down.two(r, s) {
                                let k = at + pair_index(r, s);
                                places[k] = Place::new(iu * stride + a, g);
                            }
                        }
                    }
                }
                Block::UpDown => {
                    down.unrank(id, &mut kd);
                    add_down.set(&kd);
                    for r in 0..m {
                        let Some((a, g)) = add_up.one(r) else { continue };
                        for s in 0..m {
                            let Some((b, f)) = add_down.one(s) else { continue };
                            let k = at + r * m + s;
                            places[k] = Place::new(a * stride + b, g * f);
                        }
                    }
                }
            }
        }
        places
    }

    /// The places of all amplitudes of a block, where they are kept.
    fn kept(&self, block: Block) -> Option<&[Place]> {
        if Self::amplitudes(self.sector, self.orbitals) > Self::MOST_PLACES {
            return None;
        }
        let find = || {
            let spectators = self.spectators(block);
            self.found(block, &spectators, 0..spectators.0.count * spectators.1.count)
        };
        Some(self.places[block as usize].get_or_init(find))
    }

    /// Amplitudes at their places, column by column.
    fn gather(rows: usize, places: &[Place], c: &[f64], place: Option<&[usize]>) -> Mat<f64> {
        let mut amplitudes = Mat::zeros(rows, places.len() / rows.max(1));
        let columns = places.chunks_exact(rows.max(1)).zip(amplitudes.col_iter_mut());
        for (places, mut column) in columns {
            for (row, of) in places.iter().enumerate() {
                if let Some(a) = of.address() {
                    column[placed(place, row)] = of.signed(c[a]);
                }
            }
        }
        amplitudes
    }

    /// Amplitudes per block of columns: small enough for the cache, large enough for the product.
    const COLUMN_DOUBLES: usize = 1 << 18;
    /// Blocks that may be worked on at once. Fixed: the order of the additions must not depend on
    /// the number of threads.
    const BATCH: usize = 8;

    /// Visits all blocks of columns in a fixed order; `work` runs in parallel, `reduce` in order.
    fn sweep<T: Send>(
        &self,
        block: Block,
        c: &[f64],
        place: Option<&[usize]>,
        work: impl Fn(&Columns) -> T + Sync,
        mut reduce: impl FnMut(Columns, T),
        mut before: impl FnMut(f64) -> Result<(), ExactError>,
    ) -> Result<(), ExactError> {
        let spectators = self.spectators(block);
        let kept = self.kept(block);
        let rows = self.rows(block);
        let columns = spectators.0.count * spectators.1.count;
        let width = (Self::COLUMN_DOUBLES / rows.max(1)).clamp(16, 256);
        let starts: Vec<usize> = (0..columns).step_by(width).collect();
        for batch in starts.chunks(Self::BATCH) {
            let amplitudes = (rows * (width * batch.len()).min(columns)) as f64;
            before(amplitudes * (2.0 * rows as f64 + GATHER_WORK))?;
            let done: Vec<_> = batch
                .par_iter()
                .map(|&s| {
                    let range = s..(s + width).min(columns);
                    let places = match kept {
                        Some(kept) => Cow::Borrowed(&kept[range.start * rows..range.end * rows]),
                        None => Cow::Owned(self.found(block, &spectators, range)),
                    };
                    let amplitudes = Self::gather(rows, &places, c, place);
                    let cols = Columns { amplitudes, places };
                    let result = work(&cols);
                    (cols, result)
                })
                .collect();
            for (cols, result) in done {
                reduce(cols, result);
            }
        }
        Ok(())
    }

    /// `H c`.
    pub(crate) fn apply(
        &self,
        k: &PairMatrices,
        c: &[f64],
        watch: &mut dyn Watch,
    ) -> Result<Vec<f64>, ExactError> {
        let mut sigma = vec![0.0; c.len()];
        for block in self.blocks() {
            let (matrix, groups) = k.matrix(block);
            let place = groups.map(|groups| &groups.place[..]);
            self.sweep(
                block,
                c,
                place,
                |cols| {
                    let d = cols.amplitudes.as_ref();
                    let mut s = Mat::zeros(d.nrows(), d.ncols());
                    match groups {
                        None => mul_into(s.as_mut(), matrix, d, Accum::Replace),
                        Some(groups) => {
                            for (first, part) in &groups.parts {
                                let size = part.nrows();
                                let target = s.as_mut().subrows_mut(*first, size);
                                let d = d.subrows(*first, size);
                                mul_into(target, part.as_ref(), d, Accum::Replace);
                            }
                        }
                    }
                    s
                },
                |cols, s| {
                    let columns = cols.places.chunks_exact(s.nrows().max(1)).zip(s.col_iter());
                    for (places, s) in columns {
                        for (row, of) in places.iter().enumerate() {
                            if let Some(a) = of.address() {
                                sigma[a] += of.signed(s[placed(place, row)]);
                            }
                        }
                    }
                },
                |work| watch.spend(work),
            )?;
        }
        Ok(sigma)
    }

    /// Diagonal of H.
    pub(crate) fn diagonal(&self, k: &PairMatrices) -> Vec<f64> {
        let m = self.orbitals;
        let list = |space: &StringSpace| {
            let mut all = Vec::with_capacity(space.count * space.particles);
            let mut s = vec![];
            space.unrank(0, &mut s);
            loop {
                all.extend_from_slice(&s);
                if !space.advance(&mut s) {
                    break;
                }
            }
            all
        };
        let own = |strings: &[usize], n: usize, count: usize| -> Vec<f64> {
            (0..count)
                .map(|i| {
                    let s = &strings[i * n..(i + 1) * n];
                    let mut e = 0.0;
                    for b in 1..n {
                        for a in 0..b {
                            let p = pair_index(s[a], s[b]);
                            e += k.equal[(p, p)];
                        }
                    }
                    e
                })
                .collect()
        };
        let (nu, nd) = (self.sector.up, self.sector.down);
        let (su, sd) = (list(&self.up), list(&self.down));
        let (eu, ed) = (own(&su, nu, self.up.count), own(&sd, nd, self.down.count));
        let cross = Mat::from_fn(if nd > 0 && nu > 0 { m } else { 0 }, m, |p, q| {
            k.opposite[(p * m + q, p * m + q)]
        });
        let mut diagonal = vec![0.0; self.dimension()];
        diagonal.par_chunks_mut(self.down.count).enumerate().for_each(|(i, row)| {
            let up = &su[i * nu..(i + 1) * nu];
            for (j, d) in row.iter_mut().enumerate() {
                let mut e = eu[i] + ed[j];
                for &q in &sd[j * nd..(j + 1) * nd] {
                    for &p in up {
                        e += cross[(p, q)];
                    }
                }
                *d = e;
            }
        });
        diagonal
    }

    /// Two-body density matrices in the same packing as [`PairMatrices`]: spin up, spin down,
    /// opposite spins. Their traces are the numbers of pairs.
    ///
    /// They are what becomes of a state that is there: their work is not counted.
    pub(crate) fn pair_densities(
        &self,
        c: &[f64],
        watch: &mut dyn Watch,
    ) -> Result<PairDensities, ExactError> {
        let mut out = PairDensities {
            orbitals: self.orbitals,
            up: Mat::zeros(0, 0),
            down: Mat::zeros(0, 0),
            opposite: Mat::zeros(0, 0),
        };
        for block in self.blocks() {
            let rows = self.rows(block);
            let mut sum = Mat::<f64>::zeros(rows, rows);
            self.sweep(
                block,
                c,
                None,
                |_| (),
                |cols, ()| {
                    let d = cols.amplitudes;
                    sum += mul(d.as_ref(), d.transpose());
                },
                |_| watch.look(),
            )?;
            match block {
                Block::UpUp => out.up = sum,
                Block::DownDown => out.down = sum,
                Block::UpDown => out.opposite = sum,
            }
        }
        Ok(out)
    }
}

/// Two-body density matrices of a state.
#[derive(Clone, Debug)]
pub(crate) struct PairDensities {
    pub(crate) orbitals: usize,
    pub(crate) up: Mat<f64>,
    pub(crate) down: Mat<f64>,
    pub(crate) opposite: Mat<f64>,
}

impl PairDensities {
    /// One-body density matrices of spin up and spin down; their traces are the particle numbers.
    pub(crate) fn one_body(&self, sector: Sector) -> (Mat<f64>, Mat<f64>) {
        let m = self.orbitals;
        let share = 1.0 / (sector.particles() - 1) as f64;
        let same = |g: &Mat<f64>, p: usize, r: usize| -> f64 {
            if g.nrows() == 0 {
                return 0.0;
            }
            let element = |a: usize, q: usize, b: usize| {
                if a == q || b == q {
                    return 0.0;
                }
                let sign = if (a < q) == (b < q) { 1.0 } else { -1.0 };
                sign * g[(pair_index(a.min(q), a.max(q)), pair_index(b.min(q), b.max(q)))]
            };
            (0..m).map(|q| element(p, q, r)).sum()
        };
        let cross = |p: usize, r: usize, up: bool| -> f64 {
            if self.opposite.nrows() == 0 {
                return 0.0;
            }
            let at = |a: usize, q: usize| if up { a * m + q } else { q * m + a };
            (0..m).map(|q| self.opposite[(at(p, q), at(r, q))]).sum()
        };
        let up = Mat::from_fn(m, m, |p, r| share * (same(&self.up, p, r) + cross(p, r, true)));
        let down = Mat::from_fn(m, m, |p, r| share * (same(&self.down, p, r) + cross(p, r, false)));
        (up, down)
    }

    /// `<S²>` of a state of `sector`.
    pub(crate) fn spin_squared(&self, sector: Sector) -> f64 {
        let m = self.orbitals;
        let projection = 0.5 * (sector.up as f64 - sector.down as f64);
        let mut exchange = 0.0;
        if self.opposite.nrows() > 0 {
            for p in 0..m {
                for q in 0..m {
                    exchange += self.opposite[(p * m + q, q * m + p)];
                }
            }
        }
        projection * (projection + 1.0) + sector.down as f64 - exchange
    }

    /// Expectation value of a two-body operator.
    pub(crate) fn expectation(&self, k: &PairMatrices) -> f64 {
        let trace = |a: &Mat<f64>, b: &Mat<f64>| -> f64 {
            let mut s = 0.0;
            for j in 0..a.ncols() {
                for i in 0..a.nrows() {
                    s += a[(i, j)] * b[(i, j)];
                }
            }
            s
        };
        trace(&self.up, &k.equal) + trace(&self.down, &k.equal) + trace(&self.opposite, &k.opposite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether they are kept or found piece by piece, every determinant has all its pairs, with their signs.
    #[test]
    fn places_are_the_same_in_pieces_and_complete() {
        for (up, down) in [(2, 0), (4, 0), (2, 1), (3, 2), (1, 1)] {
            let space = CiSpace::new(Sector::new(up, down), 6);
            let coefficients: Vec<f64> = (0..space.dimension()).map(|i| 1.0 + i as f64).collect();
            let mut norm = 0.0;
            for block in space.blocks() {
                let spectators = space.spectators(block);
                let rows = space.rows(block);
                let columns = spectators.0.count * spectators.1.count;
                let kept = space.kept(block).unwrap();
                assert_eq!(kept.len(), rows * columns);
                let pieces = (0..columns).step_by(7);
                let found: Vec<Place> = pieces
                    .flat_map(|s| space.found(block, &spectators, s..columns.min(s + 7)))
                    .collect();
                assert_eq!(kept, found);
                let amplitudes = CiSpace::gather(rows, kept, &coefficients, None);
                norm += amplitudes.squared_norm_l2();
                // Every determinant as often as it has such pairs.
                let mut times = vec![0; space.dimension()];
                kept.iter().filter_map(|p| p.address()).for_each(|a| times[a] += 1);
                let pairs = match block {
                    Block::UpUp => up * (up - 1) / 2,
                    Block::DownDown => down * (down - 1) / 2,
                    Block::UpDown => up * down,
                };
                assert!(times.iter().all(|t| *t == pairs));
            }
            let n = up + down;
            let exact: f64 = coefficients.iter().map(|c| c * c).sum();
            assert!((norm / ((n * (n - 1) / 2) as f64 * exact) - 1.0).abs() < 1e-13);
        }
        assert_eq!(Place::new(5, -1.0).signed(2.0), -2.0);
        assert_eq!(Place::new(5, 1.0).address(), Some(5));
        assert_eq!(Place::NOWHERE.address(), None);
        let most = Place::new(Place::MOST as usize - 1, -1.0);
        assert_eq!(most.address(), Some(Place::MOST as usize - 1));
    }
}
