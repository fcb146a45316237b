//! A Slater determinant as a matrix product state.
//!
//! The Schmidt vectors of a determinant across a cut are determinants of the eigenmodes of the overlaps of its
//! orbitals on one side: each mode is there with probability `lambda`, independently (I. Peschel,
//! J. Phys. A 36, L205 (2003)); those of neighbouring cuts overlap by minors.

use super::block::{Charge, Space};
use super::chain::{Basis, left_parts};
use super::mpo::Operator;
use crate::math::linalg::symmetric_eigen;
use faer::Mat;

/// Modes left of a cut: probabilities, and columns that give them in terms of the orbitals.
#[derive(Clone, Debug)]
struct Modes {
    probability: Vec<f64>,
    vectors: Mat<f64>,
}

impl Modes {
    fn none(n: usize) -> Self {
        Modes { probability: vec![0.0; n], vectors: Mat::identity(n, n) }
    }

    /// `overlap`: inner products of the orbitals restricted to the sites left of the cut.
    fn of(overlap: &Mat<f64>) -> Option<Self> {
        let (values, vectors) = symmetric_eigen(overlap.as_ref()).ok()?;
        Some(Modes { probability: values.iter().map(|v| v.clamp(0.0, 1.0)).collect(), vectors })
    }
}

/// Which modes are filled, bit by bit, and how probable that is.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Choice {
    filled: [u32; 2],
    weight: f64,
}

/// Subsets more probable than `least`.
fn subsets(probability: &[f64], least: f64) -> Vec<(u32, f64)> {
    let mut list = vec![(0_u32, 1.0)];
    // The best that the modes still to come can do.
    let mut best: f64 = probability.iter().map(|p| p.max(1.0 - p)).product();
    for (k, p) in probability.iter().enumerate() {
        best /= p.max(1.0 - p);
        list = list
            .into_iter()
            .flat_map(|(set, w)| [(set, w * (1.0 - p)), (set | 1 << k, w * p)])
            .filter(|s| s.1 * best > least)
            .collect();
    }
    list
}

/// The most probable fillings of the modes of both spins.
fn choices(modes: &[Modes; 2], least: f64, most: usize) -> Vec<Choice> {
    let [up, down] = [0, 1].map(|s| subsets(&modes[s].probability, least));
    let mut list: Vec<Choice> = up
        .iter()
        .flat_map(|u| down.iter().map(|d| Choice { filled: [u.0, d.0], weight: u.1 * d.1 }))
        .filter(|c| c.weight > least)
        .collect();
    list.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.filled.cmp(&b.filled)));
    list.truncate(most);
    list
}

fn bits(set: u32) -> Vec<usize> {
    (0..32).filter(|k| set >> k & 1 == 1).collect()
}

fn determinant(mut a: Vec<Vec<f64>>) -> f64 {
    let n = a.len();
    let mut product = 1.0;
    for k in 0..n {
        let pivot = (k..n).max_by(|&i, &j| a[i][k].abs().total_cmp(&a[j][k].abs())).unwrap_or(k);
        if a[pivot][k] == 0.0 {
            return 0.0;
        }
        if pivot != k {
            a.swap(pivot, k);
            product = -product;
        }
        product *= a[k][k];
        for i in k + 1..n {
            let factor = a[i][k] / a[k][k];
            for j in k + 1..n {
                let above = a[k][j];
                a[i][j] -= factor * above;
            }
        }
    }
    product
}

/// States of one side: sorted by sector.
fn by_sector(list: &[Choice]) -> (Space, Vec<Vec<Choice>>) {
    let charge = |c: &Choice| -> Charge { c.filled.map(|f| f.count_ones() as u8) };
    let mut charges: Vec<Charge> = list.iter().map(charge).collect();
    charges.sort_unstable();
    charges.dedup();
    let groups: Vec<Vec<Choice>> = charges
        .iter()
        .map(|q| list.iter().filter(|c| charge(c) == *q).copied().collect())
        .collect();
    let sectors = charges.iter().zip(&groups).map(|(q, g)| (*q, g.len())).collect();
    (Space { sectors }, groups)
}

/// Left-canonical bases of the determinant of `orbitals` (for each spin, points by particles), at most `most` states per
/// cut, those more probable than `least`.
pub(crate) fn bases(
    operator: &Operator,
    orbitals: &[Mat<f64>; 2],
    least: f64,
    most: usize,
) -> Option<Vec<Basis>> {
    let total: Charge = [0, 1].map(|s| orbitals[s].ncols() as u8);
    let mut overlaps = [0, 1].map(|s| Mat::<f64>::zeros(total[s].into(), total[s].into()));
    let mut modes = [0, 1].map(|s| Modes::none(total[s].into()));
    let mut space = Space::vacuum();
    let mut groups = vec![vec![Choice { filled: [0, 0], weight: 1.0 }]];
    let mut list = Vec::with_capacity(operator.sites.len());
    for (k, site) in operator.sites.iter().enumerate() {
        let s = site.spin;
        let n = usize::from(total[s]);
        let row: Vec<f64> = (0..n).map(|i| orbitals[s][(site.point, i)]).collect();
        for j in 0..n {
            for i in 0..n {
                overlaps[s][(i, j)] += row[i] * row[j];
            }
        }
        let mut next = modes.clone();
        next[s] = Modes::of(&overlaps[s])?;
        let last = k + 1 == operator.sites.len();
        let chosen = if last {
            let all = [0, 1].map(|s| ((1_u64 << total[s]) - 1) as u32);
            vec![Choice { filled: all, weight: 1.0 }]
        } else {
            choices(&next, least, most)
        };
        let (_, next_groups) = by_sector(&chosen);
        // Overlap of mode i left of the site, and of the site itself, with mode j of both.
        let turned = modes[s].vectors.transpose() * &next[s].vectors;
        let root = |p: f64| p.max(1e-30).sqrt();
        let between = |i: usize, j: usize| {
            root(modes[s].probability[i]) * turned[(i, j)] / root(next[s].probability[j])
        };
        let at_site = |j: usize| {
            (0..n).map(|i| row[i] * next[s].vectors[(i, j)]).sum::<f64>()
                / root(next[s].probability[j])
        };
        let parts = left_parts(&space, operator, k, total);
        let mut sectors = vec![];
        let mut isometries = vec![];
        let mut kept = vec![];
        for group in &next_groups {
            let charge: Charge = group[0].filled.map(|f| f.count_ones() as u8);
            let Ok(p) = parts.binary_search_by(|p| p.charge.cmp(&charge)) else { continue };
            let part = &parts[p];
            let mut columns: Vec<Vec<f64>> = vec![];
            let mut survivors = vec![];
            for choice in group {
                let mut column = vec![0.0; part.dimension];
                let after = bits(choice.filled[s]);
                for filled in 0..2 {
                    let Some(from) = part.from[filled] else { continue };
                    for (r, before) in groups[from].iter().enumerate() {
                        if before.filled[1 - s] != choice.filled[1 - s] {
                            continue;
                        }
                        let rows = bits(before.filled[s]);
                        let mut a: Vec<Vec<f64>> = rows
                            .iter()
                            .map(|&i| after.iter().map(|&j| between(i, j)).collect())
                            .collect();
                        if filled == 1 {
                            a.push(after.iter().map(|&j| at_site(j)).collect());
                        }
                        let mut value = determinant(a);
                        // Spin-down operators stand right of those of spin up.
                        if filled == 1 && s == 0 && before.filled[1].count_ones() % 2 == 1 {
                            value = -value;
                        }
                        column[filled * part.split + r] = value;
                    }
                }
                // What was left out before makes them overlap.
                let length = crate::math::linalg::norm(&column);
                for _ in 0..2 {
                    for c in &columns {
                        let d = crate::math::linalg::dot(c, &column);
                        crate::math::linalg::add_scaled(&mut column, -d, c);
                    }
                }
                let rest = crate::math::linalg::norm(&column);
                if length.is_finite() && rest > 1e-3 {
                    column.iter_mut().for_each(|x| *x /= rest);
                    columns.push(column);
                    survivors.push(*choice);
                }
            }
            if !columns.is_empty() {
                sectors.push((charge, columns.len()));
                isometries.push(Mat::from_fn(part.dimension, columns.len(), |i, j| columns[j][i]));
                kept.push(survivors);
            }
        }
        if sectors.is_empty() {
            return None;
        }
        space = Space { sectors };
        groups = kept;
        modes = next;
        list.push(Basis { space: space.clone(), parts, isometries });
    }
    Some(list)
}
