//! Density matrices, pair densities and entanglement of a matrix product state.

use super::block::{Block, Carry, Charge, Crossing, Part, Space, parts};
use super::chain::{complement, matched, matching, shifted};
use super::sweep::Chain;
use crate::math::linalg::{EigenFailure, symmetric_eigen};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};

/// Eigenvalues of density matrices below this are rounding.
const ROUNDING: f64 = 1e-15;

/// Expectation values on the points of the grid.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// `< c+_i c_j >` for each spin.
    pub(crate) one_body: [Mat<f64>; 2],
    /// `< n_i n_j >` without the particle itself, all spins.
    pub(crate) pairs: Option<Mat<f64>>,
    /// Von Neumann entropy of the part left of each cut, behind each site.
    pub(crate) entropies: Vec<f64>,
}

fn product(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut c = Mat::zeros(a.nrows(), b.ncols());
    matmul(c.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    c
}

/// Sum over all elements of the products.
fn overlap(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> f64 {
    let mut sum = 0.0;
    for j in 0..a.ncols() {
        for i in 0..a.nrows() {
            sum += a[(i, j)] * b[(i, j)];
        }
    }
    sum
}

/// How many of each kind of operator a block carries, and which sites they belong to.
#[derive(Default)]
struct Carried {
    raise: [Vec<usize>; 2],
    density: Vec<usize>,
}

/// Matrices that keep `from` operators and add `to - from` new ones.
struct Keep {
    mix: Mat<f64>,
    open: Vec<f64>,
    close: Vec<f64>,
}

impl Keep {
    fn new(from: usize, adds: bool) -> Self {
        let to = from + usize::from(adds);
        let mix = Mat::from_fn(from, to, |i, j| if i == j { 1.0 } else { 0.0 });
        let open = (0..to).map(|j| if j == from { 1.0 } else { 0.0 }).collect();
        Keep { mix, open, close: vec![0.0; from] }
    }

    fn carry(&self) -> Carry<'_> {
        Carry { mix: self.mix.as_ref(), open: &self.open, close: &self.close, strength: None }
    }
}

impl Chain {
    /// Measures one of the states, with the centre at the left end.
    pub(crate) fn measure(&self, state: usize, with_pairs: bool) -> Result<Measured, EigenFailure> {
        assert_eq!(self.position, 0);
        let sites = &self.operator.sites;
        let points = sites.iter().map(|s| s.point + 1).max().unwrap_or(0);
        let mut one_body = [0, 1].map(|_| Mat::zeros(points, points));
        let mut pairs_found = Mat::zeros(points, points);
        let mut entropies = vec![];
        let mut carried = Carried::default();
        let mut block = Block::empty();
        let mut psi = self.psi[state].clone();
        let total = self.total;
        for k in 0..sites.len() {
            // Density matrices of the left side with this site.
            let last = k + 1 == sites.len();
            let all = parts(&block.space, sites[k].spin, total);
            let (lp, rp, pairs) = if last {
                (all.into_iter().filter(|p| p.charge == total).collect(), vec![], vec![])
            } else {
                let right = &self.right[sites.len() - k - 2];
                matched(&all, &parts(&right.space, sites[k + 1].spin, total), total)
            };
            let rho: Vec<Mat<f64>> = if last {
                psi.iter().map(|m| product(m.as_ref(), m.transpose())).collect()
            } else {
                let mut rho: Vec<Mat<f64>> =
                    lp.iter().map(|p| Mat::zeros(p.dimension, p.dimension)).collect();
                for (p, m) in pairs.iter().zip(&psi) {
                    if m.ncols() > 0 {
                        rho[p.left] = product(m.as_ref(), m.transpose());
                    }
                }
                rho
            };
            self.record(k, &block, &carried, &lp, &rho, &mut one_body, &mut pairs_found);
            if last {
                break;
            }
            let mut space = Space { sectors: vec![] };
            let mut isometries = vec![];
            let mut sector_of = vec![None; lp.len()];
            let mut entropy = 0.0;
            for (i, m) in rho.iter().enumerate() {
                let (values, vectors) = symmetric_eigen(m.as_ref())?;
                let count = values.iter().filter(|v| **v > ROUNDING).count();
                entropy -= values.iter().rev().take(count).map(|v| v * v.ln()).sum::<f64>();
                if count > 0 {
                    sector_of[i] = Some(isometries.len());
                    space.sectors.push((lp[i].charge, count));
                    isometries.push(vectors.subcols(vectors.ncols() - count, count).to_owned());
                }
            }
            entropies.push(entropy);
            let centre: Vec<(usize, Charge, Mat<f64>)> = pairs
                .iter()
                .zip(&psi)
                .filter_map(|(p, m)| {
                    let sector = sector_of[p.left]?;
                    let block = product(isometries[sector].transpose(), m.as_ref());
                    Some((sector, complement(total, lp[p.left].charge)?, block))
                })
                .collect();
            psi = if k + 2 < sites.len() {
                let far = &self.right_bases[sites.len() - k - 3];
                let left = parts(&space, sites[k + 1].spin, total);
                let right = parts(&self.right[sites.len() - k - 3].space, sites[k + 2].spin, total);
                let rows: Vec<Part> =
                    matching(&left, &right, total).iter().map(|p| left[p.left]).collect();
                shifted(&space, &centre, &rp, far, &rows, total)
            } else {
                // Nothing is left but the last site, empty or filled.
                parts(&space, sites[k + 1].spin, total)
                    .iter()
                    .filter(|p| p.charge == total)
                    .map(|part| {
                        let mut column = Mat::zeros(part.dimension, 1);
                        for (sector, _, block) in &centre {
                            if let Some(f) = part.from.iter().position(|s| *s == Some(*sector)) {
                                for i in 0..block.nrows() {
                                    column[(f * part.split + i, 0)] = block[(i, 0)];
                                }
                            }
                        }
                        column
                    })
                    .collect()
            };
            // The operators go along.
            let keeps = [0, 1].map(|s| Keep::new(carried.raise[s].len(), s == sites[k].spin));
            let density = Keep::new(carried.density.len(), with_pairs);
            let crossing = Crossing {
                spin: sites[k].spin,
                onsite: 0.0,
                hopping: [keeps[0].carry(), keeps[1].carry()],
                density: density.carry(),
            };
            block = block.enlarged(&lp, &crossing).reduced(&space, &isometries);
            carried.raise[sites[k].spin].push(k);
            if with_pairs {
                carried.density.push(k);
            }
        }
        for m in &mut one_body {
            for j in 0..points {
                for i in 0..j {
                    m[(j, i)] = m[(i, j)];
                }
            }
        }
        Ok(Measured { one_body, pairs: with_pairs.then_some(pairs_found), entropies })
    }

    #[expect(clippy::too_many_arguments, reason = "three of them are where the values go")]
    fn record(
        &self,
        k: usize,
        block: &Block,
        carried: &Carried,
        lp: &[Part],
        rho: &[Mat<f64>],
        one_body: &mut [Mat<f64>; 2],
        pairs: &mut Mat<f64>,
    ) {
        let sites = &self.operator.sites;
        let (spin, point) = (sites[k].spin, sites[k].point);
        for (part, rho) in lp.iter().zip(rho) {
            let Some(below) = part.from[1] else { continue };
            let (split, size) = (part.split, part.dimension - part.split);
            let filled = rho.as_ref().submatrix(split, split, size, size);
            one_body[spin][(point, point)] += (0..size).map(|i| filled[(i, i)]).sum::<f64>();
            for (b, &i) in carried.density.iter().enumerate() {
                let value = overlap(block.density[below].one(b), filled);
                pairs[(point, sites[i].point)] += value;
                pairs[(sites[i].point, point)] += value;
            }
            if part.from[0].is_some()
                && let Some(raise) = &block.raise[spin][below]
            {
                let mixed = rho.as_ref().submatrix(0, split, split, size);
                for (b, &i) in carried.raise[spin].iter().enumerate() {
                    one_body[spin][(sites[i].point, point)] += overlap(raise.stack.one(b), mixed);
                }
            }
        }
    }
}
