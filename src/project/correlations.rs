//! Correlation functions of few bodies, with gradients and Laplacians: what a guide may be dressed with.
//!
//! All are bounded and smooth, so that a guide times their exponential is normalisable and vanishes where it did before.

use crate::system::Sector;

/// Ranges of the pair functions, in the spread of the particles.
const RANGES: [f64; 4] = [0.15, 0.35, 0.75, 1.5];
/// Widths of the functions of one coordinate, in the same.
const WIDTHS: [f64; 3] = [0.5, 1.0, 2.0];
/// Of these, those that pairs are multiplied with at their middle.
const MIDDLES: usize = 2;
/// Width of the function of the centre, in the same over the root of the number of particles.
const CENTRE: f64 = 2.0;

/// Values of functions at a place, their gradients (one row a function) and Laplacians.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    pub(super) value: Vec<f64>,
    pub(super) gradient: Vec<f64>,
    pub(super) laplacian: Vec<f64>,
}

/// A function of one variable and its first two derivatives.
type Line = [f64; 3];

/// `exp(-x² / 2 s²)`.
fn gaussian(x: f64, width: f64) -> Line {
    let (w, u) = (width.powi(-2), x / width);
    let f = (-0.5 * u * u).exp();
    [f, -x * w * f, w * (u * u - 1.0) * f]
}

/// `x exp(-x² / 2 s²) / s` of the Gaussian.
fn odd(x: f64, width: f64, [f, df, ddf]: Line) -> Line {
    [x * f / width, (f + x * df) / width, (2.0 * df + x * ddf) / width]
}

/// The functions, by where the particles are: Gaussians of places (about `middle`, in bohr) and their products, one of the centre, Gaussians of distances
/// times those of the middles, and sums over a third particle of products of functions of two distances.
#[derive(Clone, Debug)]
pub(super) struct Correlations {
    sector: Sector,
    middle: f64,
    spread: f64,
}

impl Correlations {
    pub(super) fn new(sector: Sector, middle: f64, spread: f64) -> Self {
        Correlations { sector, middle, spread }
    }

    pub(super) fn particles(&self) -> usize {
        self.sector.particles()
    }

    /// Of pairs: of equal and of opposite spins.
    fn kinds(&self) -> usize {
        if self.sector.is_polarised() { 1 } else { 2 }
    }

    pub(super) fn count(&self) -> usize {
        let (q, k) = (WIDTHS.len(), self.kinds());
        let channels = k * RANGES.len();
        let single = q + q * (q + 1) / 2 + 1;
        let pairs = channels * (1 + MIDDLES);
        let thirds = if self.sector.particles() > 2 { channels * (channels + 1) } else { 0 };
        single + pairs + thirds
    }

    pub(super) fn at(&self, x: &[f64], out: &mut Values) {
        let n = x.len();
        let count = self.count();
        out.value.clear();
        out.value.resize(count, 0.0);
        out.gradient.clear();
        out.gradient.resize(count * n, 0.0);
        out.laplacian.clear();
        out.laplacian.resize(count, 0.0);
        let first = self.single(x, out);
        let first = self.pairs(x, out, first);
        if n > 2 {
            self.thirds(x, out, first);
        }
    }

    /// Functions of places; the number of the next function.
    fn single(&self, x: &[f64], out: &mut Values) -> usize {
        let n = x.len();
        let q = WIDTHS.len();
        for (k, width) in WIDTHS.iter().enumerate() {
            for (i, x) in x.iter().enumerate() {
                let [f, df, ddf] = gaussian(x - self.middle, width * self.spread);
                out.value[k] += f;
                out.gradient[k * n + i] = df;
                out.laplacian[k] += ddf;
            }
        }
        let mut next = q;
        for a in 0..q {
            for b in 0..=a {
                let mut product = 0.0;
                for i in 0..n {
                    let (ga, gb) = (out.gradient[a * n + i], out.gradient[b * n + i]);
                    out.gradient[next * n + i] = out.value[a] * gb + out.value[b] * ga;
                    product += ga * gb;
                }
                out.value[next] = out.value[a] * out.value[b];
                out.laplacian[next] = out.value[a] * out.laplacian[b]
                    + out.value[b] * out.laplacian[a]
                    + 2.0 * product;
                next += 1;
            }
        }
        let root = (n as f64).sqrt();
        let centre = x.iter().map(|x| x - self.middle).sum::<f64>() / root;
        let [f, df, ddf] = gaussian(centre, CENTRE * self.spread);
        out.value[next] = f;
        out.gradient[next * n..][..n].fill(df / root);
        out.laplacian[next] = ddf;
        next + 1
    }

    fn kind(&self, i: usize, j: usize) -> usize {
        let other = (i < self.sector.up) != (j < self.sector.up);
        usize::from(self.kinds() == 2 && other)
    }

    /// Functions of distances and middles.
    fn pairs(&self, x: &[f64], out: &mut Values, first: usize) -> usize {
        let n = x.len();
        let each = 1 + MIDDLES;
        for i in 0..n {
            for j in 0..i {
                let kind = self.kind(i, j);
                let r = 0.5 * (x[i] + x[j]) - self.middle;
                let mut middles = [[1.0, 0.0, 0.0]; 1 + MIDDLES];
                for (m, width) in middles[1..].iter_mut().zip(WIDTHS) {
                    *m = gaussian(r, width * self.spread);
                }
                for (a, range) in RANGES.iter().enumerate() {
                    let [f, df, ddf] = gaussian(x[i] - x[j], range * self.spread);
                    for (q, [c, dc, ddc]) in middles.iter().enumerate() {
                        let k = first + (kind * RANGES.len() + a) * each + q;
                        out.value[k] += f * c;
                        out.gradient[k * n + i] += df * c + 0.5 * f * dc;
                        out.gradient[k * n + j] += -df * c + 0.5 * f * dc;
                        out.laplacian[k] += 2.0 * ddf * c + 0.5 * f * ddc;
                    }
                }
            }
        }
        first + self.kinds() * RANGES.len() * each
    }

    /// `sum_i rho_a(i) rho_b(i)` with `rho_a(i) = sum_j phi_a(x_i - x_j)`, for even and odd `phi`.
    fn thirds(&self, x: &[f64], out: &mut Values, first: usize) {
        let n = x.len();
        let channels = self.kinds() * RANGES.len();
        let mut next = first;
        for parity in 0..2 {
            // Of each channel: the sum, its derivatives by the own place and by the others', and its Laplacian.
            let mut rho = vec![0.0; channels * n];
            let mut own = vec![0.0; channels * n];
            let mut others = vec![0.0; channels * n * n];
            let mut laplacian = vec![0.0; channels * n];
            for i in 0..n {
                for j in (0..n).filter(|&j| j != i) {
                    let kind = self.kind(i, j);
                    for (a, range) in RANGES.iter().enumerate() {
                        let (d, width) = (x[i] - x[j], range * self.spread);
                        let even = gaussian(d, width);
                        let [f, df, ddf] = if parity == 0 { even } else { odd(d, width, even) };
                        let at = (kind * RANGES.len() + a) * n + i;
                        rho[at] += f;
                        own[at] += df;
                        others[at * n + j] = -df;
                        laplacian[at] += 2.0 * ddf;
                    }
                }
            }
            for at in 0..channels * n {
                others[at * n + at % n] = own[at];
            }
            for a in 0..channels {
                for b in 0..=a {
                    let gradient = &mut out.gradient[next * n..][..n];
                    let (mut value, mut change) = (0.0, 0.0);
                    for i in 0..n {
                        let (p, q) = (a * n + i, b * n + i);
                        let (u, v) = (rho[p], rho[q]);
                        value += u * v;
                        change += u * laplacian[q] + v * laplacian[p];
                        let rows = others[p * n..][..n].iter().zip(&others[q * n..][..n]);
                        for (g, (s, t)) in gradient.iter_mut().zip(rows) {
                            *g += u * t + v * s;
                            change += 2.0 * s * t;
                        }
                    }
                    out.value[next] = value;
                    out.laplacian[next] = change;
                    next += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_are_those_of_the_values() {
        for (up, down) in [(3, 0), (2, 2), (2, 0)] {
            let sector = Sector::new(up, down);
            let functions = Correlations::new(sector, 0.1, 0.8);
            let x: Vec<f64> =
                (0..up + down).map(|i| 0.6 * i as f64 - 0.7 * (i as f64).sin()).collect();
            let (n, count) = (x.len(), functions.count());
            let (mut here, mut there) = (Values::default(), Values::default());
            functions.at(&x, &mut here);
            let h = 1e-5;
            let mut laplacian = vec![0.0; count];
            for i in 0..n {
                let mut at = |d: f64| {
                    let mut y = x.clone();
                    y[i] += d;
                    functions.at(&y, &mut there);
                    there.value.clone()
                };
                let (low, high) = (at(-h), at(h));
                for k in 0..count {
                    let slope = (high[k] - low[k]) / (2.0 * h);
                    assert!(
                        (slope - here.gradient[k * n + i]).abs() < 1e-6 * (1.0 + slope.abs()),
                        "{k} {i}"
                    );
                    laplacian[k] += (high[k] + low[k] - 2.0 * here.value[k]) / (h * h);
                }
            }
            for (k, l) in laplacian.iter().enumerate() {
                assert!((l - here.laplacian[k]).abs() < 1e-4 * (1.0 + l.abs()), "{k} {l}");
            }
            // Each is a function of its own.
            assert!(here.value.iter().all(|v| *v != 0.0));
        }
    }
}
