//! The gamma distribution: logarithm of the gamma function, cumulative distribution and quantiles, and through them those of
//! the normal and the chi distribution.

use std::f64::consts::PI;

/// `ln Γ(a)` for `a > 0` (C. Lanczos, J. SIAM Numer. Anal. B 1, 86 (1964), with `g = 7` and nine terms): to 1e-14.
pub fn ln_gamma(a: f64) -> f64 {
    const G: f64 = 7.0;
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if a < 0.5 {
        // Reflection.
        return (PI / (PI * a).sin()).ln() - ln_gamma(1.0 - a);
    }
    let z = a - 1.0;
    let sum =
        TERMS[1..].iter().enumerate().fold(TERMS[0], |sum, (i, c)| sum + c / (z + (i + 1) as f64));
    let t = z + G + 0.5;
    0.5 * (2.0 * PI).ln() + (z + 0.5) * t.ln() - t + sum.ln()
}

/// Terms of a series or continued fraction at most.
const TERMS: usize = 2000;

/// The gamma distribution of shape `a`, scale one, at `x`: the shares below and above. Series and continued fraction (W. Gautschi,
/// ACM Trans. Math. Software 5, 466 (1979)).
fn shares(a: f64, x: f64, ln_gamma_a: f64) -> (f64, f64) {
    if x <= 0.0 {
        return (0.0, 1.0);
    }
    let front = (a * x.ln() - x - ln_gamma_a).exp();
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for k in 1..TERMS {
            term *= x / (a + k as f64);
            sum += term;
            if term < sum * 1e-17 {
                break;
            }
        }
        let below = front * sum;
        (below, 1.0 - below)
    } else {
        // Lentz's method.
        let tiny = 1e-300;
        let mut b = x + 1.0 - a;
        let mut c = 1.0 / tiny;
        let mut d = 1.0 / b;
        let mut h = d;
        for k in 1..TERMS {
            let an = -(k as f64) * (k as f64 - a);
            b += 2.0;
            d = an * d + b;
            d = if d.abs() < tiny { tiny } else { d };
            c = b + an / c;
            c = if c.abs() < tiny { tiny } else { c };
            d = 1.0 / d;
            let factor = d * c;
            h *= factor;
            if (factor - 1.0).abs() < 1e-16 {
                break;
            }
        }
        let above = front * h;
        (1.0 - above, above)
    }
}

/// The gamma distribution of one shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gamma {
    shape: f64,
    ln_gamma: f64,
}

impl Gamma {
    /// The distribution of shape `shape > 0`.
    pub fn new(shape: f64) -> Self {
        Gamma { shape, ln_gamma: ln_gamma(shape) }
    }

    /// Where the share `below` of the distribution is below, and `above` above: both are given so that neither is lost to
    /// rounding. Newton's method in the logarithm, safeguarded by bisection.
    pub fn quantile(&self, below: f64, above: f64) -> f64 {
        let a = self.shape;
        // The logarithm of either share as a function of ln x is smooth and monotone, and close to a straight line in its tail.
        let lower = below < above;
        let (mut lo, mut hi) = (-750.0, (a + 800.0 + 40.0 * a.sqrt()).ln());
        // Small x: share = x^a / Γ(a + 1).
        let small = (below.ln() + self.ln_gamma + a.ln()) / a;
        let mut t = if small < 0.0 { small } else { a.ln() }.clamp(lo, hi);
        for _ in 0..200 {
            let x = t.exp();
            let (p, q) = shares(a, x, self.ln_gamma);
            let density = (a * t - x - self.ln_gamma).exp();
            let (residual, slope) = if lower {
                ((p / below).ln(), density / p)
            } else {
                ((above / q).ln(), density / q)
            };
            if residual > 0.0 {
                hi = hi.min(t);
            } else {
                lo = lo.max(t);
            }
            let newton = t - residual / slope;
            let next = if newton > lo && newton < hi { newton } else { 0.5 * (lo + hi) };
            if (next - t).abs() <= 1e-15 * (1.0 + t.abs()) || hi - lo <= 1e-15 {
                t = next;
                break;
            }
            t = next;
        }
        t.exp()
    }

    /// A chi variate of `2 shape` degrees of freedom from a uniform.
    pub fn chi(&self, uniform: f64) -> f64 {
        (2.0 * self.quantile(uniform, 1.0 - uniform)).sqrt()
    }
}

/// A normal variate from a uniform: its square is a gamma variate of shape one half.
pub fn normal(uniform: f64) -> f64 {
    let outside = 2.0 * uniform.min(1.0 - uniform);
    let half = Gamma { shape: 0.5, ln_gamma: 0.5 * PI.ln() };
    let size = (2.0 * half.quantile(1.0 - outside, outside)).sqrt();
    if uniform < 0.5 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gamma_function_interpolates_factorials() {
        let mut factorial = 1.0f64;
        for n in 1..30 {
            assert!((ln_gamma(n as f64) - factorial.ln()).abs() < 1e-13 * (1.0 + factorial.ln()));
            factorial *= n as f64;
        }
        assert!((ln_gamma(0.5) - 0.5 * PI.ln()).abs() < 1e-14);
        assert!((ln_gamma(0.25) - 3.625_609_908_221_908_f64.ln()).abs() < 1e-14);
    }

    #[test]
    fn quantiles_undo_the_distribution() {
        for shape in [0.5, 1.0, 1.5, 4.0, 33.0, 200.0] {
            let gamma = Gamma::new(shape);
            for u in [1e-14, 1e-6, 0.01, 0.3, 0.5, 0.8, 0.999, 1.0 - 1e-12] {
                let x = gamma.quantile(u, 1.0 - u);
                let (p, q) = shares(shape, x, gamma.ln_gamma);
                let off = if u < 0.5 { p / u } else { q / (1.0 - u) };
                assert!((off - 1.0).abs() < 1e-11, "{shape} {u}: {x} {p} {q}");
                if shape == 1.0 {
                    assert!((x + (-u).ln_1p()).abs() < 1e-12 * (1.0 + x));
                }
            }
        }
        // M. Abramowitz, I. Stegun, table 26.5.
        assert!((normal(0.975) - 1.959_963_984_540_054).abs() < 1e-12);
        assert!((normal(1e-10) + 6.361_340_902_404_056).abs() < 1e-11);
        assert!(normal(0.5).abs() < 1e-15);
    }
}
