//! A walker: a Metropolis move that leaves `|psi|²` exactly as it is, for any length of the step.

use super::kernel::{Kernel, Space, wrapped};
use crate::sampling::open_uniform;
use crate::system::{Geometry, System};
use crate::wavefunction::{Evaluator, Wavefunction};
use crate::work;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

/// Where a walker is, and what psi says there.
#[derive(Clone, Debug, Default)]
pub(super) struct Point {
    pub(super) x: Vec<f64>,
    pub(super) log: f64,
    /// Gradient of `log |psi|`.
    drift: Vec<f64>,
    /// Local energy, in Hartree.
    pub(super) energy: f64,
}

/// What became of proposals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tally {
    pub(super) tried: f64,
    pub(super) accepted: f64,
    /// Sums of squared displacements, in bohr².
    pub(super) proposed_square: f64,
    pub(super) accepted_square: f64,
}

impl Tally {
    pub(super) fn and(self, other: Self) -> Self {
        Tally {
            tried: self.tried + other.tried,
            accepted: self.accepted + other.accepted,
            proposed_square: self.proposed_square + other.proposed_square,
            accepted_square: self.accepted_square + other.accepted_square,
        }
    }

    pub(super) fn acceptance(&self) -> f64 {
        self.accepted / self.tried
    }
}

/// Moves points; one per task.
pub(super) struct Mover<'a> {
    psi: &'a dyn Wavefunction,
    system: System<'a>,
    evaluator: Box<dyn Evaluator + 'a>,
    kernel: Kernel,
    next: Point,
    here: Vec<f64>,
    there: Vec<f64>,
    pub(super) tally: Tally,
}

/// Exact samples that are drawn before a place where psi has no sensible local energy ends the search.
const ATTEMPTS: usize = 1000;

impl<'a> Mover<'a> {
    pub(super) fn new(
        psi: &'a dyn Wavefunction,
        system: System<'a>,
        space: Space,
        tau: f64,
    ) -> Self {
        let n = psi.sector().particles();
        let zero = vec![0.0; n];
        Mover {
            psi,
            system,
            evaluator: psi.evaluator(),
            kernel: Kernel::new(space, psi.sector(), tau),
            next: Point { x: zero.clone(), drift: zero.clone(), ..Point::default() },
            here: zero.clone(),
            there: zero,
            tally: Tally::default(),
        }
    }

    /// An exact sample of `|psi|²`; none where psi makes no sense nearly everywhere.
    pub(super) fn start(&mut self, rng: &mut Pcg64) -> Option<Point> {
        let mut uniforms = vec![0.0; self.psi.uniforms()];
        let mut x = vec![0.0; self.here.len()];
        (0..ATTEMPTS).find_map(|_| {
            uniforms.fill_with(|| open_uniform(rng));
            self.evaluator.sample(&uniforms, &mut x);
            self.at(&x)
        })
    }

    /// The point at a place; none where psi makes no sense.
    pub(super) fn at(&mut self, x: &[f64]) -> Option<Point> {
        let mut point = Point { x: x.to_vec(), drift: vec![0.0; x.len()], ..Point::default() };
        self.fill(&mut point).then_some(point)
    }

    fn fill(&mut self, point: &mut Point) -> bool {
        work::local_energy();
        let (log, laplacian) = self.evaluator.derivatives(&point.x, &mut point.drift);
        let square: f64 = point.drift.iter().map(|g| g * g).sum();
        point.log = log.log_abs;
        let System { hamiltonian, geometry } = self.system;
        point.energy = -0.5 * (laplacian + square) + hamiltonian.potential(geometry, &point.x);
        point.log.is_finite() && point.energy.is_finite()
    }

    fn is_inside(&self, x: &[f64]) -> bool {
        let (low, high) = self.system.geometry.interval();
        let ring = matches!(self.system.geometry, Geometry::Ring { .. });
        x.iter().all(|&x| x < high && (x > low || ring && x >= low))
            && self.psi.sector().spins().all(|s| x[s].windows(2).all(|w| w[0] < w[1]))
    }

    /// The square of the way from one place to another; around a ring the shortest one.
    fn square(&self, from: &[f64], to: &[f64]) -> f64 {
        let Geometry::Ring { circumference } = *self.system.geometry else {
            return from.iter().zip(to).map(|(a, b)| (a - b).powi(2)).sum();
        };
        let spin = |range: std::ops::Range<usize>| {
            let (a, b) = (&from[range.clone()], &to[range]);
            let n = a.len();
            // A particle that crosses the cut changes the numbers of all.
            let shifted = |s: usize| -> f64 {
                (0..n).map(|i| wrapped(a[i] - b[(i + s) % n], circumference).powi(2)).sum()
            };
            (0..n).map(shifted).fold(f64::INFINITY, f64::min)
        };
        self.psi.sector().spins().map(spin).sum()
    }

    /// One step of the walk.
    pub(super) fn step(&mut self, point: &mut Point, rng: &mut Pcg64) {
        self.kernel.mean(&point.x, &point.drift, &mut self.here);
        self.kernel.propose(&self.here, rng, &mut self.next.x);
        let square = self.square(&point.x, &self.next.x);
        self.tally.tried += 1.0;
        if square.is_finite() {
            self.tally.proposed_square += square;
        }
        let mut next = std::mem::take(&mut self.next);
        if self.is_inside(&next.x) && self.fill(&mut next) {
            self.kernel.mean(&next.x, &next.drift, &mut self.there);
            let ratio = 2.0 * (next.log - point.log)
                + self.kernel.log_density(&self.there, &point.x)
                - self.kernel.log_density(&self.here, &next.x);
            if ratio >= 0.0 || open_uniform(rng) < ratio.exp() {
                std::mem::swap(point, &mut next);
                self.tally.accepted += 1.0;
                self.tally.accepted_square += square;
            }
        }
        self.next = next;
    }
}
