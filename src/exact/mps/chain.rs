//! A matrix product state: reduced bases of the blocks left and right of a centre, and the state between them.

use super::block::{Charge, Part, Space, parts};
use super::mpo::Operator;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};

/// The reduced basis of a block in terms of the block without its last site.
#[derive(Clone, Debug)]
pub(crate) struct Basis {
    pub(crate) space: Space,
    /// Sectors of the product with the last site.
    pub(crate) parts: Vec<Part>,
    /// Columns: reduced states, by sector of `space`.
    pub(crate) isometries: Vec<Mat<f64>>,
}

/// A pair of sectors, left and right, whose particles add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) left: usize,
    pub(crate) right: usize,
}

pub(crate) fn complement(total: Charge, q: Charge) -> Option<Charge> {
    Some([total[0].checked_sub(q[0])?, total[1].checked_sub(q[1])?])
}

/// Sectors of the two sides that go together, ascending on the left.
pub(crate) fn matching(left: &[Part], right: &[Part], total: Charge) -> Vec<Pair> {
    let partner = |(l, p): (usize, &Part)| {
        let q = complement(total, p.charge)?;
        let right = right.binary_search_by(|p| p.charge.cmp(&q)).ok()?;
        Some(Pair { left: l, right })
    };
    left.iter().enumerate().filter_map(partner).collect()
}

/// The same without the sectors that go with none.
pub(crate) fn matched(
    left: &[Part],
    right: &[Part],
    total: Charge,
) -> (Vec<Part>, Vec<Part>, Vec<Pair>) {
    let pairs = matching(left, right, total);
    let l: Vec<Part> = pairs.iter().map(|p| left[p.left]).collect();
    // Charges ascend on the left where they descend on the right, but not with two kinds of them.
    let mut used: Vec<usize> = pairs.iter().map(|p| p.right).collect();
    used.sort_unstable();
    let r: Vec<Part> = used.iter().map(|&i| right[i]).collect();
    let pairs = matching(&l, &r, total);
    (l, r, pairs)
}

fn product(a: faer::MatRef<'_, f64>, b: faer::MatRef<'_, f64>) -> Mat<f64> {
    let mut c = Mat::zeros(a.nrows(), b.ncols());
    matmul(c.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    c
}

/// The two-site state after a step: `near` is the new reduced basis on the side that grew, `far` the reduced basis of the
/// block on the other side that gives up a site, and `centre` the state between the reduced `near` (rows) and
/// the product of the next site with the block of `far` (columns, sectors `columns`).
///
/// Returns, for each of `rows` (products of `near` with the site that changes sides), the state between it and the
/// products `far.parts` that go with it.
pub(crate) fn shifted(
    near: &Space,
    centre: &[(usize, Charge, Mat<f64>)],
    columns: &[Part],
    far: &Basis,
    rows: &[Part],
    total: Charge,
) -> Vec<Mat<f64>> {
    // Contribution of each filling of the site that changes sides.
    rows.iter()
        .map(|row| {
            let q = complement(total, row.charge);
            let to = q.and_then(|q| far.parts.binary_search_by(|p| p.charge.cmp(&q)).ok());
            let Some(to) = to else { return Mat::zeros(row.dimension, 0) };
            let far_part = &far.parts[to];
            let mut out = Mat::zeros(row.dimension, far_part.dimension);
            let Some(reduced) = far.space.find(far_part.charge) else { return out };
            let isometry = &far.isometries[reduced];
            for filled in 0..2 {
                let Some(sector) = row.from[filled] else { continue };
                let charge = near.sectors[sector].0;
                // The part of the centre with these particles on the near side.
                let Some((_, c, block)) = centre.iter().find(|(s, _, _)| *s == sector) else {
                    continue;
                };
                debug_assert_eq!(complement(total, charge), Some(*c));
                let Ok(column) = columns.binary_search_by(|p| p.charge.cmp(c)) else { continue };
                let part = &columns[column];
                if part.from[filled] != Some(reduced) {
                    continue;
                }
                let start = filled * part.split;
                let width = far.space.sectors[reduced].1;
                let piece = block.subcols(start, width);
                let value = product(piece, isometry.transpose());
                let target =
                    out.as_mut().submatrix_mut(filled * row.split, 0, block.nrows(), value.ncols());
                let mut target = target;
                target.copy_from(&value);
            }
            out
        })
        .collect()
}

/// The bases of all left blocks of a sum of products, from the reduced spaces and their tensors; used for starts.
pub(crate) fn left_parts(
    space: &Space,
    operator: &Operator,
    site: usize,
    most: Charge,
) -> Vec<Part> {
    parts(space, operator.sites[site].spin, most)
}
