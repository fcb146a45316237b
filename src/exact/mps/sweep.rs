//! Density-matrix renormalisation group, two sites at a time (S. R. White, Phys. Rev. Lett. 69, 2863 (1992)).

use super::block::{Block, Charge, Crossing, Part, Space, parts};
use super::chain::{Basis, complement, matched, matching, shifted};
use super::determinant;
use super::eigen::lowest;
use super::local::Local;
use super::mpo::Operator;
use crate::exact::ExactError;
use crate::math::linalg::{EigenFailure, symmetric_eigen};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use rayon::prelude::*;

/// How carefully a sweep goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Care {
    /// Largest weight of the state that a cut may lose.
    pub(crate) discarded: f64,
    /// Most states of a cut.
    pub(crate) most: usize,
    /// Largest norm of the residual of the local problems, in Hartree.
    pub(crate) residual: f64,
    /// Products with the Hamiltonian in a local problem, at most.
    pub(crate) passes: usize,
    /// Strength of the perturbation of the density matrices.
    pub(crate) noise: f64,
}

/// What a sweep found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Swept {
    /// Energies at the last step.
    pub(crate) energies: Vec<f64>,
    /// Largest weight that a cut lost.
    pub(crate) discarded: f64,
    /// Most states that a cut kept.
    pub(crate) states: usize,
    /// Products with the Hamiltonian.
    pub(crate) products: usize,
    /// Floating-point operations.
    pub(crate) work: f64,
}

/// A matrix product state in the making.
pub(crate) struct Chain {
    pub(crate) operator: Operator,
    pub(crate) total: Charge,
    /// Blocks of the sites left of each cut, as far as they are up to date.
    pub(crate) left: Vec<Block>,
    /// Blocks of the sites right of each cut, from the right end: `right[j]` has `j` sites.
    pub(crate) right: Vec<Block>,
    /// Bases of `left[1..]`.
    pub(crate) left_bases: Vec<Basis>,
    /// Bases of `right[1..]`.
    pub(crate) right_bases: Vec<Basis>,
    /// For each state, the matrices between the products of the two enlarged blocks at the centre.
    pub(crate) psi: Vec<Vec<Mat<f64>>>,
    /// Sites left of the two at the centre.
    pub(crate) position: usize,
}

fn product(a: faer::MatRef<'_, f64>, b: faer::MatRef<'_, f64>) -> Mat<f64> {
    let mut c = Mat::zeros(a.nrows(), b.ncols());
    matmul(c.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    c
}

impl Chain {
    /// Starts from the determinant of `orbitals` (for each spin, points by particles).
    pub(crate) fn new(
        operator: Operator,
        orbitals: &[Mat<f64>; 2],
        least: f64,
        most: usize,
    ) -> Option<Self> {
        let total: Charge = [0, 1].map(|s| orbitals[s].ncols() as u8);
        let sites = operator.sites.len();
        let mut bases = determinant::bases(&operator, orbitals, least, most)?;
        let mut left = vec![Block::empty()];
        for (k, basis) in bases.iter().enumerate().take(sites - 2) {
            let crossing = Crossing::new(&operator, k, true);
            let enlarged = left[k].enlarged(&basis.parts, &crossing);
            left.push(enlarged.reduced(&basis.space, &basis.isometries));
        }
        let last = bases.pop()?;
        let near = Space::vacuum();
        let sector = last.space.find(total)?;
        let far = bases.last()?;
        let right = parts(&near, operator.sites[sites - 1].spin, total);
        let columns = parts(&left[sites - 2].space, operator.sites[sites - 2].spin, total);
        let pairs = matching(&columns, &right, total);
        let rows: Vec<Part> = pairs.iter().map(|p| right[p.right]).collect();
        let centre = vec![(0, total, last.isometries[sector].transpose().to_owned())];
        let psi = shifted(&near, &centre, &last.parts, far, &rows, total);
        let psi: Vec<Mat<f64>> = psi.iter().map(|m| m.transpose().to_owned()).collect();
        bases.truncate(sites - 2);
        Some(Chain {
            operator,
            total,
            left,
            right: vec![Block::empty()],
            left_bases: bases,
            right_bases: vec![],
            psi: vec![psi],
            position: sites - 2,
        })
    }

    pub(crate) fn sites(&self) -> usize {
        self.operator.sites.len()
    }

    /// Memory of the blocks, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.left.iter().chain(&self.right).map(Block::bytes).sum()
    }

    /// One sweep to the end the centre is not at.
    pub(crate) fn sweep(
        &mut self,
        care: &Care,
        states: usize,
        report: &mut dyn FnMut(&Swept) -> Result<(), ExactError>,
    ) -> Result<Swept, ExactError> {
        let last = self.sites() - 2;
        let rightwards = self.position == 0;
        let mut swept =
            Swept { energies: vec![], discarded: 0.0, states: 0, products: 0, work: 0.0 };
        for step in 0..=last {
            self.step(rightwards, step == last, care, states, &mut swept)?;
            report(&swept)?;
        }
        Ok(swept)
    }

    fn step(
        &mut self,
        rightwards: bool,
        end: bool,
        care: &Care,
        states: usize,
        swept: &mut Swept,
    ) -> Result<(), EigenFailure> {
        let k = self.position;
        let (total, sites) = (self.total, self.sites());
        let spin = |s: usize| self.operator.sites[s].spin;
        let (left, right) = (&self.left[k], &self.right[sites - k - 2]);
        let lp = parts(&left.space, spin(k), total);
        let rp = parts(&right.space, spin(k + 1), total);
        // Sectors that have no partner yet are of use only where the perturbation may fill them.
        let (lp, rp, pairs) = if care.noise > 0.0 {
            let pairs = matching(&lp, &rp, total);
            (lp, rp, pairs)
        } else {
            matched(&lp, &rp, total)
        };
        let l = left.enlarged(&lp, &Crossing::new(&self.operator, k, true));
        let r = right.enlarged(&rp, &Crossing::new(&self.operator, k + 1, false));
        let local = Local::new(&l, &r, pairs);
        let start: Vec<Vec<f64>> = self.psi.iter().map(|p| local.flatten(p)).collect();
        let found = lowest(
            |v| local.apply(v),
            &local.diagonal(),
            start,
            states,
            care.residual,
            care.passes,
        )?;
        // Blocks are enlarged and reduced at about the price of a product for each state that grows them.
        let perturbed = if care.noise > 0.0 { 2 } else { 0 };
        swept.work += local.work() * (found.products + 1 + perturbed) as f64;
        swept.products += found.products;
        swept.energies = found.values;
        let vectors = found.vectors;
        if end {
            self.psi = vectors
                .iter()
                .map(|v| (0..local.pairs.len()).map(|p| local.view(v, p).to_owned()).collect())
                .collect();
            // The way back begins with the same two sites.
            return Ok(());
        }
        // Density matrices of the side that grows.
        let grown = if rightwards { &lp } else { &rp };
        let mut rho: Vec<Mat<f64>> =
            grown.iter().map(|p| Mat::zeros(p.dimension, p.dimension)).collect();
        for v in &vectors {
            for (p, pair) in local.pairs.iter().enumerate() {
                let m = local.view(v, p);
                let (own, a, b) = if rightwards {
                    (pair.left, m, m.transpose())
                } else {
                    (pair.right, m.transpose(), m)
                };
                let weight = 1.0 / vectors.len() as f64;
                matmul(rho[own].as_mut(), Accum::Add, a, b, weight, Par::Seq);
            }
            if care.noise > 0.0 {
                let crossing =
                    Crossing::new(&self.operator, if rightwards { k } else { k + 1 }, rightwards);
                let trace = care.noise / vectors.len() as f64;
                local.perturb(v, rightwards, &crossing, trace, &mut rho);
            }
        }
        let decomposed: Vec<(Vec<f64>, Mat<f64>)> = rho
            .par_iter()
            .map(|m| symmetric_eigen(m.as_ref()))
            .collect::<Result<Vec<_>, EigenFailure>>()?;
        let kept = kept_states(&decomposed, care, 2 * states);
        swept.discarded = swept.discarded.max(kept.1);
        swept.states = swept.states.max(kept.0.iter().sum());
        let mut space = Space { sectors: vec![] };
        let mut isometries = vec![];
        let mut sector_of = vec![None; grown.len()];
        for (i, (count, (_, u))) in kept.0.iter().zip(&decomposed).enumerate() {
            if *count > 0 {
                sector_of[i] = Some(isometries.len());
                space.sectors.push((grown[i].charge, *count));
                isometries.push(u.subcols(u.ncols() - count, *count).to_owned());
            }
        }
        let block = if rightwards { &l } else { &r }.reduced(&space, &isometries);
        // The state in the new basis, with the site that changes sides.
        let next = if rightwards { k + 1 } else { k - 1 };
        let (far, changing) = if rightwards {
            (&self.right_bases[sites - k - 3], k + 1)
        } else {
            (&self.left_bases[k - 1], k)
        };
        let (nl, nr) = if rightwards {
            (
                parts(&space, spin(changing), total),
                parts(&self.right[sites - next - 2].space, spin(next + 1), total),
            )
        } else {
            (parts(&self.left[next].space, spin(next), total), parts(&space, spin(changing), total))
        };
        let rows: Vec<Part> = matching(&nl, &nr, total)
            .iter()
            .map(|p| if rightwards { nl[p.left] } else { nr[p.right] })
            .collect();
        let columns = if rightwards { &rp } else { &lp };
        let psi = vectors
            .iter()
            .map(|v| {
                let centre: Vec<(usize, Charge, Mat<f64>)> = local
                    .pairs
                    .iter()
                    .enumerate()
                    .filter_map(|(p, pair)| {
                        let own = if rightwards { pair.left } else { pair.right };
                        let sector = sector_of[own]?;
                        let m = local.view(v, p);
                        let m = if rightwards { m } else { m.transpose() };
                        let block = product(isometries[sector].transpose(), m);
                        Some((sector, complement(total, grown[own].charge)?, block))
                    })
                    .collect();
                let moved = shifted(&space, &centre, columns, far, &rows, total);
                if rightwards {
                    moved
                } else {
                    moved.iter().map(|m| m.transpose().to_owned()).collect()
                }
            })
            .collect();
        let basis = Basis { space, parts: grown.clone(), isometries };
        drop(local);
        if rightwards {
            self.left.truncate(k + 1);
            self.left_bases.truncate(k);
            self.left.push(block);
            self.left_bases.push(basis);
            self.right.truncate(sites - next - 1);
            self.right_bases.truncate(sites - next - 2);
        } else {
            self.right.truncate(sites - k - 1);
            self.right_bases.truncate(sites - k - 2);
            self.right.push(block);
            self.right_bases.push(basis);
            self.left.truncate(next + 1);
            self.left_bases.truncate(next);
        }
        self.psi = psi;
        self.position = next;
        Ok(())
    }
}

/// States of each sector that are kept while the density matrices are perturbed, however small their weight.
const LEAST_STATES: usize = 2;

/// How many of the largest eigenvalues of each sector to keep, and the weight that is lost.
fn kept_states(
    decomposed: &[(Vec<f64>, Mat<f64>)],
    care: &Care,
    least: usize,
) -> (Vec<usize>, f64) {
    let mut all: Vec<(f64, usize)> = decomposed
        .iter()
        .enumerate()
        .flat_map(|(i, (values, _))| values.iter().map(move |v| (v.max(0.0), i)))
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let total: f64 = all.iter().map(|a| a.0).sum();
    let mut lost = 0.0;
    let mut count = all.len();
    while count > least.max(1) {
        let w = all[count - 1].0 / total;
        if lost + w > care.discarded && count <= care.most {
            break;
        }
        lost += w;
        count -= 1;
    }
    let mut kept = vec![0; decomposed.len()];
    for a in &all[..count] {
        kept[a.1] += 1;
    }
    if care.noise > 0.0 {
        // A sector that is missing comes back only through states of negligible weight.
        for (kept, (values, _)) in kept.iter_mut().zip(decomposed) {
            let there = values.iter().rev().take_while(|v| **v > 1e-16 * total).count();
            *kept = (*kept).max(there.min(LEAST_STATES));
        }
    }
    (kept, lost)
}
