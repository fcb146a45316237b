//! Exact samples of a nested sum of orthonormal functions: one coordinate after the other, each from its conditional density.
//!
//! The functions of the gaps that are not drawn yet are orthonormal, so that the density of the next one, all earlier ones given, is
//! a sum of squares. Its integral is taken from Legendre series on panels, which resolve polynomials of such degrees to rounding.

use super::cell::Cell;
use crate::math::quadrature::GaussLegendre;

/// Panels of each coordinate, and points of each.
const PANELS: usize = 20;
const POINTS: usize = 14;

/// Tables of the functions of one cell.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    axes: Vec<Grid>,
    /// Sums over the panels of the first coordinate.
    first: Vec<f64>,
    rule: Vec<(f64, f64)>,
}

/// The functions of an axis at all points.
#[derive(Clone, Debug)]
struct Grid {
    end: f64,
    values: Vec<f64>,
    /// Numbers of one point.
    stride: usize,
    starts: Vec<usize>,
    measure: Vec<f64>,
}

/// Scratch memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    own: Vec<f64>,
    starts: Vec<usize>,
    level: Vec<f64>,
    next: Vec<f64>,
    densities: Vec<f64>,
    cumulative: Vec<f64>,
}

impl Sampler {
    pub(crate) fn new(cell: &Cell, coefficients: &[f64]) -> Self {
        let rule: Vec<(f64, f64)> = GaussLegendre::new(POINTS).on(-1.0, 1.0).collect();
        let mut axes = Vec::new();
        for (j, axis) in cell.axes.iter().enumerate() {
            let end = axis.end();
            let mut grid = Grid {
                end,
                values: Vec::new(),
                stride: 0,
                starts: Vec::new(),
                measure: Vec::new(),
            };
            let mut own = Vec::new();
            for panel in 0..PANELS {
                for (x, _) in &rule {
                    let t = end * (panel as f64 + 0.5 * (1.0 + x)) / PANELS as f64;
                    cell.own(j, t, &mut own, &mut grid.starts);
                    grid.stride = own.len();
                    grid.values.extend_from_slice(&own);
                    grid.measure.push(cell.measure(j, t));
                }
            }
            axes.push(grid);
        }
        let mut sampler = Sampler { axes, first: Vec::new(), rule };
        let mut first = Vec::new();
        sampler.densities(cell, 0, coefficients, 0..PANELS, &mut first);
        sampler.first = first;
        sampler
    }

    /// The density of coordinate `j` at the points of some panels.
    fn densities(
        &self,
        cell: &Cell,
        j: usize,
        level: &[f64],
        panels: std::ops::Range<usize>,
        out: &mut Vec<f64>,
    ) {
        let grid = &self.axes[j];
        out.clear();
        for p in panels.start * POINTS..panels.end * POINTS {
            let table = &grid.values[p * grid.stride..(p + 1) * grid.stride];
            let (mut at, mut sum) = (0, 0.0);
            for &l in cell.blocks(j) {
                let count = cell.axes[j].count(l);
                let f = &table[grid.starts[l]..grid.starts[l] + count];
                let amplitude: f64 = level[at..at + count].iter().zip(f).map(|(c, v)| c * v).sum();
                sum += amplitude * amplitude;
                at += count;
            }
            out.push(sum * grid.measure[p]);
        }
    }

    /// Integrals over the panels, added up; the last is that over all.
    fn cumulate(&self, densities: &[f64], out: &mut Vec<f64>) {
        out.clear();
        out.push(0.0);
        let mut sum = 0.0;
        for panel in densities.chunks_exact(POINTS) {
            sum += panel.iter().zip(&self.rule).map(|(d, (_, w))| d * w).sum::<f64>();
            out.push(sum);
        }
    }

    /// The Legendre coefficients of a density on its panel.
    fn series(&self, densities: &[f64]) -> [f64; POINTS] {
        let mut c = [0.0; POINTS];
        for (d, (x, w)) in densities.iter().zip(&self.rule) {
            let (mut p, mut before) = (1.0, 0.0);
            for (k, c) in c.iter_mut().enumerate() {
                let n = k as f64;
                *c += (n + 0.5) * w * d * p;
                let next = ((2.0 * n + 1.0) * x * p - n * before) / (n + 1.0);
                (before, p) = (p, next);
            }
        }
        c
    }

    /// A coordinate in its panel, from the integral up to it.
    fn invert(series: &[f64; POINTS], wanted: f64) -> f64 {
        let (mut low, mut high) = (-1.0, 1.0);
        let total = 2.0 * series[0];
        let mut x = (2.0 * wanted / total - 1.0).clamp(-1.0, 1.0);
        for _ in 0..200 {
            let (integral, density) = integral(series, x);
            if integral < wanted {
                low = x
            } else {
                high = x
            }
            let newton = x - (integral - wanted) / density;
            let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
            if (next - x).abs() <= 1e-16 || next == low && next == high {
                return next;
            }
            x = next;
        }
        x
    }

    /// Coordinates (a gap, or the share of what earlier gaps leave) from uniforms.
    pub(crate) fn draw(
        &self,
        cell: &Cell,
        coefficients: &[f64],
        uniforms: &[f64],
        out: &mut [f64],
        work: &mut Scratch,
    ) {
        self.walk(cell, coefficients, uniforms, out, work, false);
    }

    /// Uniforms from coordinates.
    pub(crate) fn undraw(
        &self,
        cell: &Cell,
        coefficients: &[f64],
        coordinates: &[f64],
        out: &mut [f64],
        work: &mut Scratch,
    ) {
        self.walk(cell, coefficients, coordinates, out, work, true);
    }

    fn walk(
        &self,
        cell: &Cell,
        coefficients: &[f64],
        given: &[f64],
        out: &mut [f64],
        work: &mut Scratch,
        back: bool,
    ) {
        work.level.clear();
        work.level.extend_from_slice(coefficients);
        for j in 0..self.axes.len() {
            let mut densities = std::mem::take(&mut work.densities);
            if j == 0 {
                densities.clone_from(&self.first);
            } else {
                self.densities(cell, j, &work.level, 0..PANELS, &mut densities);
            }
            self.cumulate(&densities, &mut work.cumulative);
            let total = work.cumulative[PANELS];
            let width = self.axes[j].end / PANELS as f64;
            let on = |panel: usize| self.series(&densities[panel * POINTS..(panel + 1) * POINTS]);
            let t = if back {
                let t = given[j];
                let panel = ((t / width) as usize).min(PANELS - 1);
                let x = 2.0 * (t / width - panel as f64) - 1.0;
                let part = integral(&on(panel), x).0;
                out[j] = (work.cumulative[panel] + part) / total;
                t
            } else {
                let wanted = given[j] * total;
                let panel = work.cumulative[1..PANELS].partition_point(|c| *c <= wanted);
                let x = Self::invert(&on(panel), wanted - work.cumulative[panel]);
                out[j] = width * (panel as f64 + 0.5 * (1.0 + x));
                out[j]
            };
            work.densities = densities;
            if j + 1 == self.axes.len() {
                break;
            }
            cell.own(j, t, &mut work.own, &mut work.starts);
            work.next.clear();
            let mut at = 0;
            for &l in cell.blocks(j) {
                let count = cell.axes[j].count(l);
                let f = &work.own[work.starts[l]..work.starts[l] + count];
                let sum = work.level[at..at + count].iter().zip(f).map(|(c, v)| c * v).sum();
                work.next.push(sum);
                at += count;
            }
            std::mem::swap(&mut work.level, &mut work.next);
        }
    }
}

/// Integral of a Legendre series from -1 on, and its value.
fn integral(series: &[f64; POINTS], x: f64) -> (f64, f64) {
    let (mut p, mut before) = (1.0, 0.0);
    let (mut sum, mut value) = (0.0, 0.0);
    for (k, c) in series.iter().enumerate() {
        let n = k as f64;
        let next = ((2.0 * n + 1.0) * x * p - n * before) / (n + 1.0);
        value += c * p;
        sum += if k == 0 { c * (x + 1.0) } else { c * (next - before) / (2.0 * n + 1.0) };
        (before, p) = (p, next);
    }
    (sum, value)
}
