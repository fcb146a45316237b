//! Densities that are mixtures of products of functions: their sums over all pairs, many numbers at a time.

use super::multiply_add;

/// Nodes that are summed side by side: fewer are filled up with zeros.
pub const NODES: usize = 16;

/// Partial sums of a long sum: as many whatever the width of the vectors, so that it is rounded the same everywhere.
const PARTS: usize = 16;

/// `sum_k a_k b_k`.
#[inline(always)]
fn dot<const FUSED: bool>(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; PARTS];
    let (a, a_rest) = a.as_chunks::<PARTS>();
    let (b, b_rest) = b.as_chunks::<PARTS>();
    for (a, b) in a.iter().zip(b) {
        for k in 0..PARTS {
            sums[k] = multiply_add::<FUSED>(a[k], b[k], sums[k]);
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum = multiply_add::<FUSED>(*a, *b, *sum);
    }
    let mut left = PARTS;
    while left > 1 {
        left /= 2;
        for k in 0..left {
            sums[k] += sums[k + left];
        }
    }
    sums[0]
}

widest! {
    /// The products of rows of `table` with a vector.
    pub fn products(table: &[f64], vector: &[f64], out: &mut [f64]) {
        for (row, out) in table.chunks_exact(vector.len().max(1)).zip(out) {
            *out = dot::<FUSED>(row, vector);
        }
    }
}

widest! {
    /// Of ascending products of rows of `table` with a vector, the number of the last that is not above `target`, and that
    /// product; `found` begins as the first row and its product.
    pub fn last_below(table: &[f64], vector: &[f64], target: f64, found: &mut (usize, f64)) {
        let pairs = vector.len().max(1);
        let (mut lo, mut hi) = (found.0, table.len() / pairs);
        while hi - lo > 1 {
            let mid = (lo + hi) / 2;
            let sum = dot::<FUSED>(&table[mid * pairs..][..pairs], vector);
            if sum > target {
                hi = mid;
            } else {
                lo = mid;
                *found = (mid, sum);
            }
        }
    }
}

widest! {
    /// `sum_ij w_ij phi_i phi_j` over pairs `j <= i` at some nodes, where `weights` counts them `(0, 0), (1, 0), (1, 1), (2, 0), ..`; then
    /// what the rows of `matrix`, one a node, make of it.
    pub fn at_nodes(
        weights: &[f64],
        phi: &[[f64; NODES]],
        matrix: &[[f64; NODES]],
        out: &mut [f64; NODES],
    ) {
        let mut density = [0.0; NODES];
        let mut rest = weights;
        for (i, own) in phi.iter().enumerate() {
            let Some((row, after)) = rest.split_at_checked(i + 1) else { break };
            rest = after;
            let mut sums = [0.0; NODES];
            for (w, other) in row.iter().zip(phi) {
                for k in 0..NODES {
                    sums[k] = multiply_add::<FUSED>(*w, other[k], sums[k]);
                }
            }
            for k in 0..NODES {
                density[k] = multiply_add::<FUSED>(own[k], sums[k], density[k]);
            }
        }
        let mut found = [0.0; NODES];
        for (row, d) in matrix.iter().zip(&density) {
            for k in 0..NODES {
                found[k] = multiply_add::<FUSED>(row[k], *d, found[k]);
            }
        }
        *out = found;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_pairs_agree_with_the_definition() {
        let number = |i: usize| ((i * 7919) % 101) as f64 / 50.0 - 1.0;
        for n in [1, 2, 7, 13] {
            let pairs = n * (n + 1) / 2;
            let weights: Vec<f64> = (0..pairs).map(number).collect();
            let table: Vec<f64> = (0..9 * pairs).map(|i| number(i + 3)).collect();
            let mut out = vec![0.0; 9];
            products(&table, &weights, &mut out);
            for (row, out) in table.chunks_exact(pairs).zip(&out) {
                let exact: f64 = row.iter().zip(&weights).map(|(a, b)| a * b).sum();
                assert!((out - exact).abs() < 1e-13 * pairs as f64);
            }
            let phi: Vec<[f64; NODES]> =
                (0..n).map(|i| std::array::from_fn(|k| number(17 * i + k))).collect();
            let matrix: Vec<[f64; NODES]> =
                (0..14).map(|i| std::array::from_fn(|k| number(23 * i + 5 * k))).collect();
            let mut found = [f64::NAN; NODES];
            at_nodes(&weights, &phi, &matrix, &mut found);
            for l in 0..NODES {
                let mut exact = 0.0;
                for k in 0..14 {
                    let all = (0..n).flat_map(|i| (0..=i).map(move |j| (i, j)));
                    let terms = all.zip(&weights).map(|((i, j), w)| w * phi[i][k] * phi[j][k]);
                    exact += matrix[k][l] * terms.sum::<f64>();
                }
                assert!((found[l] - exact).abs() < 1e-12 * pairs as f64);
            }
        }
        // Rows 0, 1, 2, .. times 1.
        let table: Vec<f64> = (0..20).map(f64::from).collect();
        for (target, row) in [(0.5, 0), (7.0, 7), (18.9, 18), (30.0, 19), (-1.0, 0)] {
            let mut found = (0, 0.0);
            last_below(&table, &[1.0], target, &mut found);
            assert_eq!(found, (row, row as f64));
        }
    }
}
