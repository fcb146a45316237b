//! The polynomials that splines are made of, span by span: for inverses, which look at one span many times.

use super::{BSplineBasis, LocalBasis};
use crate::work;

/// The polynomial of every function of a basis on every span, in powers of `t = (u - middle) / length` from -1/2 to 1/2: about
/// an end of the span the coefficients would be larger and cancel.
#[derive(Clone, Debug)]
pub struct Pieces {
    width: usize,
    breakpoints: Vec<f64>,
    /// At `(span * width + power) * width + function`.
    powers: Vec<f64>,
    /// Values at the left end of each span, at `function * spans + span`.
    ends: Vec<f64>,
}

impl Pieces {
    /// Of the given basis.
    pub fn new(basis: &BSplineBasis) -> Self {
        let (width, spans) = (basis.degree() + 1, basis.spans());
        let breakpoints = basis.breakpoints().to_vec();
        let mut powers = Vec::with_capacity(spans * width * width);
        let mut ends = vec![0.0; spans * width];
        let mut local = LocalBasis::default();
        for span in 0..spans {
            let (a, b) = (breakpoints[span], breakpoints[span + 1]);
            basis.evaluate_on_span(span, 0.5 * (a + b), basis.degree(), &mut local);
            let mut factor = 1.0;
            for d in 0..width {
                powers.extend(local.row(d).iter().map(|v| factor * v));
                factor *= (b - a) / (d + 1) as f64;
            }
            basis.evaluate_on_span(span, a, 0, &mut local);
            for (r, v) in local.row(0).iter().enumerate() {
                ends[r * spans + span] = *v;
            }
        }
        Pieces { width, breakpoints, powers, ends }
    }

    /// Number of spans.
    pub fn spans(&self) -> usize {
        self.breakpoints.len() - 1
    }

    /// Middle and length of a span.
    pub fn place(&self, span: usize) -> (f64, f64) {
        let (a, b) = (self.breakpoints[span], self.breakpoints[span + 1]);
        (0.5 * (a + b), b - a)
    }

    /// Values of a spline at the left ends of the spans, written to `out`.
    pub fn at_ends(&self, coefficients: &[f64], out: &mut Vec<f64>) {
        let spans = self.spans();
        out.clear();
        out.resize(spans, 0.0);
        for (r, row) in self.ends.chunks_exact(spans).enumerate() {
            let shifted = &coefficients[r..r + spans];
            out.iter_mut().zip(row).zip(shifted).for_each(|((o, v), c)| *o += v * c);
        }
    }

    /// The polynomial of a spline on a span, written to `out`, lowest power first.
    pub fn polynomial(&self, span: usize, coefficients: &[f64], out: &mut Vec<f64>) {
        work::spline();
        let c = &coefficients[span..span + self.width];
        let piece = &self.powers[span * self.width * self.width..][..self.width * self.width];
        let rows = piece.chunks_exact(self.width);
        out.clear();
        out.extend(rows.map(|row| row.iter().zip(c).map(|(p, c)| p * c).sum::<f64>()));
    }
}

/// Value of a polynomial, lowest power first.
#[inline]
pub fn horner(c: &[f64], t: f64) -> f64 {
    c.iter().rev().fold(0.0, |sum, c| sum * t + c)
}

/// Where an increasing polynomial has a value, within [-1/2, 1/2]; none if Newton's method takes too long.
pub fn solve(c: &[f64], value: f64) -> Option<f64> {
    const CLOSE: f64 = 1e-9;
    let (mut lo, mut hi) = (-0.5f64, 0.5f64);
    let mut t = 0.0f64;
    for _ in 0..60 {
        work::newton();
        let (mut y, mut slope) = (0.0, 0.0);
        for c in c.iter().rev() {
            slope = slope * t + y;
            y = y * t + c;
        }
        if y > value {
            hi = t;
        } else {
            lo = t;
        }
        let newton = t - (y - value) / slope;
        // What is left is the square of the step.
        if (newton - t).abs() < CLOSE {
            return Some(newton.clamp(-0.5, 0.5));
        }
        t = if newton > lo && newton < hi { newton } else { 0.5 * (lo + hi) };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_spline() {
        for degree in 1..9 {
            let basis = BSplineBasis::clamped(degree, &[0.0, 0.1, 0.35, 0.4, 0.8, 1.0]).unwrap();
            let pieces = Pieces::new(&basis);
            // Increasing, so that it can be inverted.
            let c: Vec<f64> = (0..basis.functions()).map(|j| (j * j + j) as f64).collect();
            let (mut ends, mut polynomial) = (Vec::new(), Vec::new());
            pieces.at_ends(&c, &mut ends);
            for span in 0..pieces.spans() {
                let (middle, length) = pieces.place(span);
                pieces.polynomial(span, &c, &mut polynomial);
                let size = c[span + degree];
                let end = basis.value(&c, middle - 0.5 * length, 0);
                assert!((ends[span] - end).abs() < 1e-14 * size);
                for t in [-0.5, -0.3, 0.0, 0.2, 0.499] {
                    let exact = basis.value(&c, middle + t * length, 0);
                    let found = horner(&polynomial, t);
                    assert!((found - exact).abs() < 1e-13 * size, "{degree} {found} {exact}");
                    assert!((solve(&polynomial, exact).unwrap() - t).abs() < 1e-13);
                }
            }
        }
    }
}
