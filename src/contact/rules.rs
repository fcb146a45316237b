//! Quadrature over the gaps between particles: exact for products of polynomials where the potential is one.

use super::half_line::HalfLine;
use super::{Gas, Space};
use crate::math::linalg::EigenFailure;
use crate::math::quadrature::gauss_jacobi;
use crate::system::{External, Interaction};

/// Points in all gaps with weights.
pub(super) struct Rule {
    pub(super) points: Vec<Vec<f64>>,
    pub(super) weights: Vec<f64>,
}

/// Extra points in each direction where the potential is no polynomial, and more of them that tell what these miss.
pub(super) const SMOOTH: usize = 6;
pub(super) const FINER: usize = 3;

pub(super) fn is_polynomial(gas: &Gas) -> bool {
    let bare = match &gas.space {
        Space::Walls { external, .. } => *external == External::Free,
        _ => true,
    };
    bare && gas.rest == Interaction::None
}

/// Quadrature over all gaps that is exact for products of the functions and of what `H` makes of them.
pub(super) fn rule(gas: &Gas, functions: usize, gaps: usize) -> Result<Rule, EigenFailure> {
    rule_with(gas, functions, gaps, if is_polynomial(gas) { 0 } else { SMOOTH })
}

pub(super) fn rule_with(
    gas: &Gas,
    functions: usize,
    gaps: usize,
    extra: usize,
) -> Result<Rule, EigenFailure> {
    match gas.space {
        Space::Trap { .. } => {
            let widths: Vec<f64> = (0..gaps).map(|k| width(gaps + 1, k)).collect();
            half_lines(&widths, functions + 2 + extra)
        }
        _ => simplex(gaps, functions + 1 + extra, length(&gas.space)),
    }
}

pub(super) fn length(space: &Space) -> f64 {
    match space {
        Space::Trap { .. } => f64::INFINITY,
        Space::Ring { length } => *length,
        Space::Walls { half_width, .. } => 2.0 * half_width,
    }
}

/// `sqrt(c_k)` of the Gaussian of gap `k` between `n` particles.
pub(super) fn width(n: usize, k: usize) -> f64 {
    let (n, k) = (n as f64, (k + 1) as f64);
    (k * (n - k) / n).sqrt()
}

/// A product of rules on half-lines.
fn half_lines(scales: &[f64], count: usize) -> Result<Rule, EigenFailure> {
    let (points, weights) = HalfLine::gauss(count)?;
    let mut rule = Rule { points: vec![vec![]], weights: vec![1.0] };
    for scale in scales {
        let mut next = Rule { points: vec![], weights: vec![] };
        for (gaps, w) in rule.points.iter().zip(&rule.weights) {
            for (s, v) in points.iter().zip(&weights) {
                next.points.push(gaps.iter().copied().chain([s / scale]).collect());
                // The functions bring the Gaussian.
                next.weights.push(w * v * (s * s).exp() / scale);
            }
        }
        rule = next;
    }
    Ok(rule)
}

/// Gauss rules on a simplex, by shares of what is left (A. H. Stroud, "Approximate Calculation of Multiple Integrals",
/// Prentice-Hall 1971).
fn simplex(gaps: usize, count: usize, length: f64) -> Result<Rule, EigenFailure> {
    let mut rule = Rule { points: vec![vec![]], weights: vec![1.0] };
    for j in 0..gaps - 1 {
        let measure = gaps - 2 - j;
        let (x, w) = gauss_jacobi(measure as f64, count)?;
        let mut next = Rule { points: vec![], weights: vec![] };
        for (before, v) in rule.points.iter().zip(&rule.weights) {
            let rest = length - before.iter().sum::<f64>();
            for (x, w) in x.iter().zip(&w) {
                // The weight of the rule is that of the far end.
                let t = 0.5 * (1.0 - x);
                next.points.push(before.iter().copied().chain([t * rest]).collect());
                next.weights.push(v * w * 0.5f64.powi(measure as i32 + 1) * length);
            }
        }
        rule = next;
    }
    for point in &mut rule.points {
        point.push(length - point.iter().sum::<f64>());
    }
    Ok(rule)
}

/// A rule on the face where a gap is zero.
pub(super) fn face(
    gas: &Gas,
    functions: usize,
    gaps: usize,
    gap: usize,
) -> Result<Rule, EigenFailure> {
    let mut rule = match gas.space {
        Space::Trap { .. } => {
            let scales: Vec<f64> =
                (0..gaps).filter(|&k| k != gap).map(|k| width(gaps + 1, k)).collect();
            half_lines(&scales, functions + 1)?
        }
        _ if gaps == 2 => Rule { points: vec![vec![length(&gas.space)]], weights: vec![1.0] },
        _ => simplex(gaps - 1, functions + 1, length(&gas.space))?,
    };
    rule.points.iter_mut().for_each(|p| p.insert(gap, 0.0));
    Ok(rule)
}
