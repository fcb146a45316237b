//! Polynomials of several functions in the same variable, side by side.

use super::multiply_add;

/// Functions of a tile, of which the last may hold fewer.
pub const FUNCTIONS: usize = 8;

/// Numbers from one coefficient to the next of the same function: few functions are not filled up to a whole tile.
pub fn stride(functions: usize) -> usize {
    match functions {
        0..=2 => functions,
        3..=4 => 4,
        _ => functions.next_multiple_of(FUNCTIONS),
    }
}

/// `W` functions from number `first` on, with `O - 1` derivatives: Horner's scheme.
#[inline(always)]
fn tile<const W: usize, const O: usize, const FUSED: bool>(
    coefficients: &[f64],
    stride: usize,
    first: usize,
    r: f64,
    out: &mut [Vec<f64>],
) {
    let mut sums = [[0.0; W]; O];
    for row in coefficients.chunks_exact(stride).rev() {
        let Some(row) = row[first..].first_chunk::<W>() else { return };
        for d in (1..O).rev() {
            let (below, own) = (sums[d - 1], sums[d]);
            sums[d] = std::array::from_fn(|f| multiply_add::<FUSED>(own[f], r, below[f]));
        }
        let own = sums[0];
        sums[0] = std::array::from_fn(|f| multiply_add::<FUSED>(own[f], r, row[f]));
    }
    for ((out, sums), factorial) in out.iter_mut().zip(&sums).zip([1.0, 1.0, 2.0, 6.0]) {
        let out = &mut out[first..];
        out.iter_mut().zip(sums).for_each(|(o, s)| *o = factorial * s);
    }
}

#[inline(always)]
fn tiles<const O: usize, const FUSED: bool>(
    coefficients: &[f64],
    stride: usize,
    r: f64,
    out: &mut [Vec<f64>],
) {
    match stride {
        1 => tile::<1, O, FUSED>(coefficients, stride, 0, r, out),
        2 => tile::<2, O, FUSED>(coefficients, stride, 0, r, out),
        4 => tile::<4, O, FUSED>(coefficients, stride, 0, r, out),
        _ => {
            for first in (0..stride).step_by(FUNCTIONS) {
                tile::<FUNCTIONS, O, FUSED>(coefficients, stride, first, r, out);
            }
        }
    }
}

widest! {
    /// Polynomials at `r` and as many of their derivatives as there are further rows in `out`, at most three; coefficients row-major in
    /// (power, function), rows of [`stride`] numbers.
    pub fn evaluate(coefficients: &[f64], stride: usize, r: f64, out: &mut [Vec<f64>]) {
        match out.len() {
            1 => tiles::<1, FUSED>(coefficients, stride, r, out),
            2 => tiles::<2, FUSED>(coefficients, stride, r, out),
            3 => tiles::<3, FUSED>(coefficients, stride, r, out),
            _ => tiles::<4, FUSED>(coefficients, stride, r, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_agree_with_the_definition() {
        let number = |i: usize| ((i * 7919) % 101) as f64 / 50.0 - 1.0;
        for n in [1, 2, 3, 4, 5, 8, 19] {
            let stride = stride(n);
            let c: Vec<f64> = (0..7 * stride).map(number).collect();
            let r = -0.3;
            for orders in 1..=4 {
                let mut out: Vec<Vec<f64>> = vec![vec![0.0; n]; orders];
                evaluate(&c, stride, r, &mut out);
                for (d, out) in out.iter().enumerate() {
                    for (f, out) in out.iter().enumerate() {
                        let term = |p: usize| {
                            let falling: usize = (0..d).map(|e| p - e).product();
                            falling as f64 * c[p * stride + f] * r.powi((p - d) as i32)
                        };
                        let exact: f64 = (d..7).map(term).sum();
                        assert!((out - exact).abs() < 1e-12, "{n} {d}: {out} {exact}");
                    }
                }
            }
        }
    }
}
