//! Eight configurations side by side on their journey through the layers of a flow.
//!
//! Between the layers a coordinate carries its value, its gradient and its Laplacian in the positions of the particles. Within a
//! layer everything is a function of the layer's inputs `u` and carries derivatives by these; of its second derivatives no more is
//! needed than `sum_ab f_ab G_ab` with `G_ab = grad u_a . grad u_b` (its bend). By `grad f = sum_a f_a grad u_a` and
//! `lap f = sum_ab f_ab G_ab + sum_a f_a lap u_a` that becomes derivatives in positions again.

use crate::math::scalar::{Jet, Scalar};
use crate::math::vector::lanes::{LANES, Lanes, add_product, each, every, product, sum};
use crate::math::vector::widest;

pub(crate) const ZERO: Lanes = [0.0; LANES];

/// Coordinates with derivatives in the positions.
#[derive(Clone, Debug, Default)]
pub struct Coordinates {
    pub(crate) value: Vec<Lanes>,
    pub(crate) laplacian: Vec<Lanes>,
    /// Row-major, one row a coordinate.
    pub(crate) gradient: Vec<Lanes>,
}

/// A function of coordinates without its value.
#[derive(Clone, Debug, Default)]
pub struct Partials {
    pub(crate) bend: Lanes,
    /// By each coordinate.
    pub(crate) by: Vec<Lanes>,
}

/// Where eight configurations are.
#[derive(Clone, Debug, Default)]
pub struct Journey {
    samples: usize,
    /// Number of coordinates.
    pub(crate) n: usize,
    pub(crate) points: Coordinates,
    /// The points behind a layer.
    pub(crate) mapped: Coordinates,
    /// Of the gradients of the points, row-major.
    pub(crate) gram: Vec<Lanes>,
    /// `log |psi|` so far.
    pub(crate) log: Log,
}

/// `log |psi|` without its value, in the positions.
#[derive(Clone, Debug, Default)]
pub struct Log {
    laplacian: Lanes,
    gradient: Vec<Lanes>,
}

impl Journey {
    /// Begins anew, for so many configurations of `n` particles.
    pub(crate) fn clear(&mut self, n: usize, samples: usize) {
        self.samples = samples;
        self.n = n;
        for points in [&mut self.points, &mut self.mapped] {
            points.value.resize(n, ZERO);
            points.laplacian.resize(n, ZERO);
            points.gradient.resize(n * n, ZERO);
        }
        self.gram.resize(n * n, ZERO);
        self.log.gradient.clear();
        self.log.gradient.resize(n, ZERO);
        self.log.laplacian = ZERO;
    }

    /// How many configurations there are; the other lanes follow the first.
    pub(crate) fn samples(&self) -> usize {
        self.samples
    }

    /// Takes a configuration's coordinates, and what is to be added to its `log |psi|`.
    pub(crate) fn put<const N: usize>(&mut self, s: usize, u: &[Jet<N>], log: Jet<N>) {
        let Journey { n, points, .. } = self;
        for (i, u) in u.iter().enumerate() {
            points.value[i][s] = u.value;
            points.laplacian[i][s] = u.laplacian;
            let row = &mut points.gradient[i * *n..][..*n];
            row.iter_mut().zip(&u.gradient).for_each(|(to, from)| to[s] = *from);
        }
        self.add_log_of(s, log);
    }

    /// Adds to a configuration's `log |psi|`.
    pub(crate) fn add_log_of<const N: usize>(&mut self, s: usize, log: Jet<N>) {
        self.log.laplacian[s] += log.laplacian;
        self.log.gradient.iter_mut().zip(&log.gradient).for_each(|(to, from)| to[s] += *from);
    }

    /// A configuration's coordinates.
    pub(crate) fn get<const N: usize>(&self, s: usize, u: &mut Vec<Jet<N>>) {
        let Journey { n, points, .. } = self;
        u.clear();
        u.extend((0..*n).map(|i| {
            let mut jet = Jet::constant(points.value[i][s]);
            jet.laplacian = points.laplacian[i][s];
            let row = &points.gradient[i * *n..][..*n];
            jet.gradient.iter_mut().zip(row).for_each(|(to, from)| *to = from[s]);
            jet
        }));
    }

    /// Lanes without a configuration follow the first.
    pub(crate) fn fill(&mut self) {
        let Journey { samples, points, log: Log { laplacian, gradient }, .. } = self;
        let all = points.value.iter_mut().chain(&mut points.laplacian);
        for lanes in all.chain(&mut points.gradient).chain(gradient).chain([laplacian]) {
            let first = lanes[0];
            lanes[*samples..].fill(first);
        }
    }

    /// The coordinates in reverse order.
    pub(crate) fn reverse(&mut self) {
        let Journey { n, points, .. } = self;
        points.value.reverse();
        points.laplacian.reverse();
        // The components of each stay as they are.
        for i in 0..*n / 2 {
            let (left, right) = points.gradient.split_at_mut((*n - 1 - i) * *n);
            left[i * *n..][..*n].swap_with_slice(&mut right[..*n]);
        }
    }

    /// Finds the inner products of the gradients.
    pub(crate) fn measure(&mut self) {
        products(self.n, &self.points.gradient, &mut self.gram);
    }

    /// Kinetic local energy of a configuration, in Hartree.
    pub(crate) fn kinetic(&self, s: usize) -> f64 {
        let square: f64 = self.log.gradient.iter().map(|g| g[s] * g[s]).sum();
        -0.5 * (self.log.laplacian[s] + square)
    }

    /// Adds a function of the points to `log |psi|`.
    #[inline(always)]
    pub(crate) fn add_log<const FUSED: bool>(&mut self, function: &Partials) {
        let Journey { n, points: Coordinates { laplacian, gradient, .. }, log, .. } = self;
        let added =
            function.in_positions::<FUSED>(*n - 1, laplacian, gradient, &mut log.gradient, true);
        log.laplacian = sum(&log.laplacian, &added);
    }
}

impl Log {
    /// Adds the logarithm of a function, from the inverse of its value, its gradient, and its Laplacian over the value.
    #[inline(always)]
    pub(crate) fn add_logarithm<const FUSED: bool>(
        &mut self,
        inverse: &Lanes,
        gradient: &[Lanes],
        laplacian: &Lanes,
    ) {
        let mut added = *laplacian;
        for (to, from) in self.gradient.iter_mut().zip(gradient) {
            let slope = product(inverse, from);
            added = each(|s| added[s] - slope[s] * slope[s]);
            *to = sum(to, &slope);
        }
        self.laplacian = sum(&self.laplacian, &added);
    }

    /// Adds a function of one coordinate with the given first and second derivatives by it; of the coordinate the Laplacian, the
    /// gradient, and the square of that.
    #[inline(always)]
    fn add_along<const FUSED: bool>(
        &mut self,
        slope: &Lanes,
        bend: &Lanes,
        laplacian: &Lanes,
        square: &Lanes,
        gradient: &[Lanes],
    ) {
        let sum = add_product::<FUSED>(slope, laplacian, &self.laplacian);
        self.laplacian = add_product::<FUSED>(bend, square, &sum);
        for (to, from) in self.gradient.iter_mut().zip(gradient) {
            *to = add_product::<FUSED>(slope, from, to);
        }
    }
}

/// The first three derivatives of a map of one coordinate.
pub(crate) type Stretch = [Lanes; 3];

/// Takes a coordinate through a map, and adds half the logarithm of its slope.
#[inline(always)]
pub(crate) fn stretch<const FUSED: bool>(
    [slope, bend, third]: &Stretch,
    laplacian: &mut Lanes,
    gradient: &mut [Lanes],
    log: &mut Log,
) {
    let square = square::<FUSED>(gradient);
    let along = each(|s| 0.5 * (bend[s] / slope[s]));
    let curved = each(|s| 0.5 * (third[s] / slope[s]) - 2.0 * along[s] * along[s]);
    log.add_along::<FUSED>(&along, &curved, laplacian, &square, gradient);
    *laplacian = add_product::<FUSED>(slope, laplacian, &product(bend, &square));
    every(gradient, |g| product(slope, g));
}

/// The same through the inverse of a map, which is given where that leads.
#[inline(always)]
pub(crate) fn shrink<const FUSED: bool>(
    [slope, bend, third]: &Stretch,
    laplacian: &mut Lanes,
    gradient: &mut [Lanes],
    log: &mut Log,
) {
    let inverse = each(|s| 1.0 / slope[s]);
    every(gradient, |g| product(&inverse, g));
    let square = square::<FUSED>(gradient);
    *laplacian = each(|s| inverse[s] * (laplacian[s] - bend[s] * square[s]));
    let along = each(|s| -0.5 * bend[s] * inverse[s]);
    let curved = each(|s| 2.0 * along[s] * along[s] - 0.5 * third[s] * inverse[s]);
    log.add_along::<FUSED>(&along, &curved, laplacian, &square, gradient);
}

#[inline(always)]
fn square<const FUSED: bool>(gradient: &[Lanes]) -> Lanes {
    // A loop here and elsewhere: what iterators call is not compiled for the vectors at hand.
    let mut sum = ZERO;
    for g in gradient {
        sum = add_product::<FUSED>(g, g, &sum);
    }
    sum
}

widest! {
    /// The inner products of rows of `n`.
    fn products(n: usize, rows: &[Lanes], gram: &mut [Lanes]) {
        for a in 0..n {
            for b in 0..=a {
                let mut total = ZERO;
                for (x, y) in rows[a * n..][..n].iter().zip(&rows[b * n..][..n]) {
                    total = add_product::<FUSED>(x, y, &total);
                }
                gram[a * n + b] = total;
                gram[b * n + a] = total;
            }
        }
    }
}

impl Partials {
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        self.bend = ZERO;
        self.by.fill(ZERO);
    }

    /// Of a function of the inputs up to number `i`, the gradient in positions, or what is added to it, and the Laplacian
    /// (returned).
    #[inline(always)]
    pub(crate) fn in_positions<const FUSED: bool>(
        &self,
        i: usize,
        laplacian: &[Lanes],
        gradient: &[Lanes],
        out: &mut [Lanes],
        add: bool,
    ) -> Lanes {
        let n = out.len();
        let mut total = self.bend;
        for (by, laplacian) in self.by[..=i].iter().zip(laplacian) {
            total = add_product::<FUSED>(by, laplacian, &total);
        }
        for (c, out) in out.iter_mut().enumerate() {
            let mut sum = if add { *out } else { ZERO };
            for (b, by) in self.by[..=i].iter().enumerate() {
                sum = add_product::<FUSED>(by, &gradient[b * n + c], &sum);
            }
            *out = sum;
        }
        total
    }
}
