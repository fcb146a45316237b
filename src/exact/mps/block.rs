//! Blocks of the chain in a reduced basis, sorted by particle numbers, with the operators the rest couples to.
//!
//! A block is all sites left of a cut or all right of it. Fermion signs are those of Jordan and Wigner: a
//! creation operator carries the parities of the sites between it and the cut.

use super::mpo::{Operator, Passage};
use super::stack::Stack;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;

/// Particles of each spin.
pub(crate) type Charge = [u8; 2];

pub(crate) fn raised(q: Charge, spin: usize) -> Charge {
    let mut q = q;
    q[spin] += 1;
    q
}

pub(crate) fn lowered(q: Charge, spin: usize) -> Option<Charge> {
    let mut q = q;
    q[spin] = q[spin].checked_sub(1)?;
    Some(q)
}

/// Sectors of a basis: particle numbers, ascending, and how many states each has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) sectors: Vec<(Charge, usize)>,
}

impl Space {
    pub(crate) fn vacuum() -> Self {
        Space { sectors: vec![([0, 0], 1)] }
    }

    pub(crate) fn find(&self, q: Charge) -> Option<usize> {
        self.sectors.binary_search_by(|s| s.0.cmp(&q)).ok()
    }
}

/// A sector of a block with one more site: states with the site empty, then states with it filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) charge: Charge,
    /// Sector of the block that goes with the empty site, and with the filled one.
    pub(crate) from: [Option<usize>; 2],
    /// Where the states with a filled site begin.
    pub(crate) split: usize,
    pub(crate) dimension: usize,
}

/// Sectors of `space` with one more site, up to `most` particles.
pub(crate) fn parts(space: &Space, spin: usize, most: Charge) -> Vec<Part> {
    let mut charges: Vec<Charge> = space
        .sectors
        .iter()
        .flat_map(|s| [s.0, raised(s.0, spin)])
        .filter(|q| q[0] <= most[0] && q[1] <= most[1])
        .collect();
    charges.sort_unstable();
    charges.dedup();
    charges
        .into_iter()
        .map(|charge| {
            let from = [space.find(charge), lowered(charge, spin).and_then(|q| space.find(q))];
            let size = |i: Option<usize>| i.map_or(0, |i| space.sectors[i].1);
            let split = size(from[0]);
            Part { charge, from, split, dimension: split + size(from[1]) }
        })
        .collect()
}

/// Operators that raise the number of one spin, from one sector to another.
#[derive(Clone, Debug)]
pub(crate) struct Raise {
    pub(crate) to: usize,
    pub(crate) stack: Stack,
}

/// A block with its operators.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) space: Space,
    /// What happens inside the block, by sector.
    pub(crate) inside: Vec<Mat<f64>>,
    /// Combinations of densities, by sector.
    pub(crate) density: Vec<Stack>,
    /// Combinations of creation operators, by spin and sector they act on.
    pub(crate) raise: [Vec<Option<Raise>>; 2],
}

/// How the operators of one kind are carried past a site: combinations of those of the block, what the site adds
/// to each, and how those of the block couple to the site.
#[derive(Clone, Debug)]
pub(crate) struct Carry<'a> {
    pub(crate) mix: MatRef<'a, f64>,
    pub(crate) open: &'a [f64],
    pub(crate) close: &'a [f64],
    /// Weight of each when a density matrix is perturbed; `None` for weights of one.
    pub(crate) strength: Option<&'a [f64]>,
}

impl<'a> Carry<'a> {
    pub(crate) fn weight(&self, b: usize) -> f64 {
        self.strength.map_or(1.0, |s| s[b])
    }

    pub(crate) fn rightwards(p: &'a Passage) -> Self {
        Carry {
            mix: p.transfer.as_ref(),
            open: &p.open,
            close: &p.close,
            strength: Some(&p.strength),
        }
    }

    pub(crate) fn leftwards(p: &'a Passage) -> Self {
        Carry { mix: p.transfer.transpose(), open: &p.close, close: &p.open, strength: None }
    }
}

/// Everything of the Hamiltonian that carrying a block past a site takes.
#[derive(Clone, Debug)]
pub(crate) struct Crossing<'a> {
    pub(crate) spin: usize,
    pub(crate) onsite: f64,
    pub(crate) hopping: [Carry<'a>; 2],
    pub(crate) density: Carry<'a>,
}

impl<'a> Crossing<'a> {
    pub(crate) fn new(operator: &'a Operator, site: usize, rightwards: bool) -> Self {
        let of = |p: &'a Passage| {
            if rightwards { Carry::rightwards(p) } else { Carry::leftwards(p) }
        };
        Crossing {
            spin: operator.sites[site].spin,
            onsite: operator.onsite[site],
            hopping: [of(&operator.hopping[0][site]), of(&operator.hopping[1][site])],
            density: of(&operator.density[site]),
        }
    }
}

impl Block {
    /// The block without a site.
    pub(crate) fn empty() -> Self {
        Block {
            space: Space::vacuum(),
            inside: vec![Mat::zeros(1, 1)],
            density: vec![Stack::zeros(1, 1, 0)],
            raise: [vec![None], vec![None]],
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let raise: usize = self.raise.iter().flatten().flatten().map(|r| r.stack.bytes()).sum();
        let inside: usize = self.inside.iter().map(|m| 8 * m.nrows() * m.ncols()).sum();
        inside + raise + self.density.iter().map(Stack::bytes).sum::<usize>()
    }

    /// The block with one more site, in the product basis restricted to `parts`.
    pub(crate) fn enlarged(&self, parts: &[Part], crossing: &Crossing<'_>) -> Block {
        let space = Space { sectors: parts.iter().map(|p| (p.charge, p.dimension)).collect() };
        let spin = crossing.spin;
        let mixed: Vec<Stack> =
            self.density.par_iter().map(|d| d.mixed(crossing.density.mix)).collect();
        let inside = parts.par_iter().map(|p| self.inside_with_site(p, crossing)).collect();
        let density = parts
            .par_iter()
            .map(|p| {
                let count = crossing.density.open.len();
                let mut stack = Stack::zeros(p.dimension, p.dimension, count);
                for (filled, from) in p.from.iter().enumerate() {
                    let Some(from) = *from else { continue };
                    let start = filled * p.split;
                    let size = self.space.sectors[from].1;
                    for b in 0..count {
                        let mut target = stack.one_mut(b).submatrix_mut(start, start, size, size);
                        target.copy_from(mixed[from].one(b));
                        if filled == 1 {
                            for i in 0..size {
                                target[(i, i)] += crossing.density.open[b];
                            }
                        }
                    }
                }
                stack
            })
            .collect();
        let raise = [0, 1].map(|kind| {
            let carry = &crossing.hopping[kind];
            let count = carry.open.len();
            let mixed: Vec<Option<Stack>> = self.raise[kind]
                .par_iter()
                .map(|r| r.as_ref().map(|r| r.stack.mixed(carry.mix)))
                .collect();
            parts
                .par_iter()
                .map(|p| {
                    let to = space.find(raised(p.charge, kind))?;
                    let target = &parts[to];
                    let mut stack = Stack::zeros(target.dimension, p.dimension, count);
                    for filled in 0..2 {
                        let Some(from) = p.from[filled] else { continue };
                        let Some(m) = &mixed[from] else { continue };
                        let (row, column) = (filled * target.split, filled * p.split);
                        for b in 0..count {
                            let mut view =
                                stack.one_mut(b).submatrix_mut(row, column, m.rows, m.cols);
                            if filled == 0 {
                                view.copy_from(m.one(b));
                            } else {
                                faer::zip!(&mut view, m.one(b))
                                    .for_each(|faer::unzip!(v, m)| *v = -*m);
                            }
                        }
                    }
                    if let (true, Some(from)) = (kind == spin, p.from[0]) {
                        for b in 0..count {
                            let mut view = stack.one_mut(b);
                            for i in 0..self.space.sectors[from].1 {
                                view[(target.split + i, i)] += carry.open[b];
                            }
                        }
                    }
                    Some(Raise { to, stack })
                })
                .collect()
        });
        Block { space, inside, density, raise }
    }

    fn inside_with_site(&self, p: &Part, crossing: &Crossing<'_>) -> Mat<f64> {
        let mut h = Mat::zeros(p.dimension, p.dimension);
        let sum = |stack: &Stack, weights: &[f64]| {
            let column = Mat::from_fn(weights.len(), 1, |b, _| weights[b]);
            stack.mixed(column.as_ref())
        };
        for (filled, from) in p.from.iter().enumerate() {
            let Some(from) = *from else { continue };
            let start = filled * p.split;
            let size = self.space.sectors[from].1;
            let mut view = h.as_mut().submatrix_mut(start, start, size, size);
            view.copy_from(&self.inside[from]);
            if filled == 1 {
                let coupled = sum(&self.density[from], crossing.density.close);
                view += coupled.one(0);
                for i in 0..size {
                    view[(i, i)] += crossing.onsite;
                }
            }
        }
        if let [Some(_), Some(from)] = p.from
            && let Some(raise) = &self.raise[crossing.spin][from]
        {
            let hop = sum(&raise.stack, crossing.hopping[crossing.spin].close);
            let (rows, columns) = (p.split, p.dimension - p.split);
            h.as_mut().submatrix_mut(0, p.split, rows, columns).copy_from(hop.one(0));
            h.as_mut().submatrix_mut(p.split, 0, columns, rows).copy_from(hop.one(0).transpose());
        }
        h
    }

    /// The block in the basis of the columns of `bases`, which belong to the sectors of `space` and act on those
    /// of this block with the same charge.
    pub(crate) fn reduced(&self, space: &Space, bases: &[Mat<f64>]) -> Block {
        let index: Vec<usize> = space.sectors.iter().filter_map(|s| self.space.find(s.0)).collect();
        let inside = (0..index.len())
            .into_par_iter()
            .map(|i| sandwich(bases[i].as_ref(), self.inside[index[i]].as_ref(), &bases[i]))
            .collect();
        let density = (0..index.len())
            .into_par_iter()
            .map(|i| between(&bases[i], &self.density[index[i]], &bases[i]))
            .collect();
        let raise = [0, 1].map(|kind| {
            (0..index.len())
                .into_par_iter()
                .map(|i| {
                    let to = space.find(raised(space.sectors[i].0, kind))?;
                    let raise = self.raise[kind][index[i]].as_ref()?;
                    Some(Raise { to, stack: between(&bases[to], &raise.stack, &bases[i]) })
                })
                .collect()
        });
        Block { space: space.clone(), inside, density, raise }
    }
}

fn sandwich(left: MatRef<'_, f64>, m: MatRef<'_, f64>, right: &Mat<f64>) -> Mat<f64> {
    let mut half = Mat::zeros(left.ncols(), m.ncols());
    matmul(half.as_mut(), Accum::Replace, left.transpose(), m, 1.0, Par::Seq);
    let mut out = Mat::zeros(left.ncols(), right.ncols());
    matmul(out.as_mut(), Accum::Replace, &half, right, 1.0, Par::Seq);
    out
}

/// `left^T m_b right` for all `b`.
fn between(left: &Mat<f64>, m: &Stack, right: &Mat<f64>) -> Stack {
    let mut half = Stack::zeros(left.ncols(), m.cols, m.count);
    let mut out = Stack::zeros(left.ncols(), right.ncols(), m.count);
    if m.count == 0 {
        return out;
    }
    matmul(half.flat_mut(), Accum::Replace, left.transpose(), m.flat(), 1.0, Par::Seq);
    for b in 0..m.count {
        matmul(out.one_mut(b), Accum::Replace, half.one(b), right, 1.0, Par::Seq);
    }
    out
}
