//! A walker: a Metropolis move that leaves `|psi|²` exactly as it is, for any length of the step.

use super::kernel::{Kernel, Space};
use crate::sampling::open_uniform;
use crate::system::{Geometry, Sector, System};
use crate::wavefunction::{Evaluator, Wavefunction};
use crate::work;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// Where a walker is, and what psi says there.
#[derive(Clone, Debug, Default)]
pub(super) struct Point {
    pub(super) x: Vec<f64>,
    pub(super) log: f64,
    sign: f64,
    kinetic: f64,
    /// Gradient of `log |psi|`.
    drift: Vec<f64>,
    /// Local energy, in Hartree.
    pub(super) energy: f64,
    /// The functions of the clock, the squares of their gradients and of their mean changes in imaginary time.
    gauge: [f64; 2],
    slopes: [f64; 2],
    changes: [f64; 2],
}

/// What became of proposals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tally {
    pub(super) tried: f64,
    pub(super) accepted: f64,
    /// Sums of the sign of psi and of its kinetic local energy after each step.
    signs: f64,
    kinetic: f64,
    /// Of each function of the clock, sums of the squared change in a step, and of the square of its gradient and of its mean change
    /// in imaginary time where the step ends.
    jumps: [f64; 2],
    slopes: [f64; 2],
    changes: [f64; 2],
}

impl Tally {
    pub(super) fn and(self, other: Self) -> Self {
        let sum = |a: [f64; 2], b: [f64; 2]| [a[0] + b[0], a[1] + b[1]];
        Tally {
            tried: self.tried + other.tried,
            accepted: self.accepted + other.accepted,
            signs: self.signs + other.signs,
            kinetic: self.kinetic + other.kinetic,
            jumps: sum(self.jumps, other.jumps),
            slopes: sum(self.slopes, other.slopes),
            changes: sum(self.changes, other.changes),
        }
    }

    /// The same with this weight.
    pub(super) fn times(self, weight: f64) -> Self {
        Tally {
            tried: weight * self.tried,
            accepted: weight * self.accepted,
            signs: weight * self.signs,
            kinetic: weight * self.kinetic,
            jumps: self.jumps.map(|s| weight * s),
            slopes: self.slopes.map(|s| weight * s),
            changes: self.changes.map(|s| weight * s),
        }
    }

    pub(super) fn acceptance(&self) -> f64 {
        self.accepted / self.tried
    }

    /// Share of `|psi|²` where psi has the other sign than in most places, and the kinetic energy in Hartree.
    pub(super) fn nodes(&self) -> (f64, f64) {
        (0.5 * (1.0 - (self.signs / self.tried).abs()), self.kinetic / self.tried)
    }

    /// The imaginary time that a step is worth: after it the exact process, which keeps `|psi|²`, has forgotten as much of smooth functions
    /// as the walkers have. With its generator `G`, `<(f(t) - f(0))²> / 2 = <f (1 - exp(-t G)) f>` begins with `t <|grad f|²> / 2 -
    /// t² <(G f)²> / 2`, and is continued as for one exponential.
    pub(super) fn clock(&self) -> Option<f64> {
        let (mut lost, mut rate) = (0.0, 0.0);
        let mut functions = 0.0;
        for k in (0..2).filter(|&k| self.slopes[k] > 0.0) {
            lost += self.jumps[k] / self.slopes[k];
            rate += self.changes[k] / self.slopes[k];
            functions += 1.0;
        }
        // lost = functions (1 - exp(-x)) / rate, x = 2 rate t / functions.
        let (lost, rate) = (lost / functions, 2.0 * rate / functions);
        let share = lost * rate;
        let time = if share < 1e-9 { lost } else { -(-share).ln_1p() / rate };
        (share < LONGEST && time > 0.0 && time.is_finite()).then_some(time)
    }
}

/// Whether coordinates are where psi is defined: in the interval, and ascending within each spin.
pub(super) fn is_inside(geometry: &Geometry, sector: Sector, x: &[f64]) -> bool {
    let (low, high) = geometry.interval();
    let ring = matches!(geometry, Geometry::Ring { .. });
    x.iter().all(|&x| x < high && (x > low || ring && x >= low))
        && sector.spins().all(|s| x[s].windows(2).all(|w| w[0] < w[1]))
}

/// Share of a smooth function that a step may forget.
const LONGEST: f64 = 0.5;

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
        // Across the cut of a ring the numbers of the particles turn around, and of an even number the sign.
        let turns = matches!(geometry, Geometry::Ring { .. })
            && self.psi.sector().spins().any(|s| s.len() % 2 == 0);
        point.sign = if turns { 1.0 } else { log.sign };
        point.kinetic = -0.5 * (laplacian + square);
        point.energy = point.kinetic + hamiltonian.potential(geometry, &point.x);
        self.measure(point);
        point.log.is_finite() && point.energy.is_finite()
    }

    /// Sums over the particles of two smooth functions that know the walls: no collision makes their changes singular.
    fn measure(&self, point: &mut Point) {
        let (mut value, mut square, mut change) = ([0.0; 2], [0.0; 2], [0.0; 2]);
        for (&x, &drift) in point.x.iter().zip(&point.drift) {
            let each = match self.kernel.space() {
                Space::Line => [(x, 1.0, 0.0), (x * x, 2.0 * x, 2.0)],
                Space::Ring(length) => {
                    let k = 2.0 * PI / length;
                    let (sin, cos) = (k * x).sin_cos();
                    [(sin, k * cos, -k * k * sin), (cos, -k * sin, -k * k * cos)]
                }
                Space::Walls(half) => {
                    let k = 0.5 * PI / half;
                    [1.0, 2.0].map(|m| {
                        let (sin, cos) = (m * k * (x + half)).sin_cos();
                        (cos, -m * k * sin, -(m * k).powi(2) * cos)
                    })
                }
            };
            for (q, (f, slope, curvature)) in each.into_iter().enumerate() {
                value[q] += f;
                square[q] += slope * slope;
                change[q] += 0.5 * curvature + drift * slope;
            }
        }
        (point.gauge, point.slopes) = (value, square);
        point.changes = change.map(|c| c * c);
    }

    /// One step of the walk.
    pub(super) fn step(&mut self, point: &mut Point, rng: &mut Pcg64) {
        self.kernel.mean(&point.x, &point.drift, &mut self.here);
        self.kernel.propose(&self.here, rng, &mut self.next.x);
        self.tally.tried += 1.0;
        let mut next = std::mem::take(&mut self.next);
        if is_inside(self.system.geometry, self.psi.sector(), &next.x) && self.fill(&mut next) {
            self.kernel.mean(&next.x, &next.drift, &mut self.there);
            let ratio = 2.0 * (next.log - point.log)
                + self.kernel.log_density(&self.there, &point.x)
                - self.kernel.log_density(&self.here, &next.x);
            if ratio >= 0.0 || open_uniform(rng) < ratio.exp() {
                std::mem::swap(point, &mut next);
                self.tally.accepted += 1.0;
                for (k, jump) in self.tally.jumps.iter_mut().enumerate() {
                    *jump += (point.gauge[k] - next.gauge[k]).powi(2);
                }
            }
        }
        self.next = next;
        self.tally.signs += point.sign;
        self.tally.kinetic += point.kinetic;
        for k in 0..2 {
            self.tally.slopes[k] += point.slopes[k];
            self.tally.changes[k] += point.changes[k];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the exact process of an oscillator, guided by its ground state, does in a time: `x` and `x²` relax at the rates 1 and 2.
    fn oscillator(time: f64) -> Tally {
        let forgot = |rate: f64| 1.0 - (-rate * time).exp();
        Tally {
            tried: 1.0,
            jumps: [forgot(1.0), forgot(2.0)],
            slopes: [1.0, 2.0],
            changes: [0.5, 2.0],
            ..Tally::default()
        }
    }

    #[test]
    fn the_clock_tells_the_time_of_the_exact_process() {
        for time in [1e-3, 0.03, 0.2] {
            let all = oscillator(time);
            let found = all.clock().unwrap();
            assert!((found / time - 1.0).abs() < 3e-3, "{time} {found}");
            // Of one function that relaxes at one rate, exactly.
            let one = Tally { slopes: [1.0, 0.0], ..all };
            assert!((one.clock().unwrap() / time - 1.0).abs() < 1e-12);
            // As weights do not change it.
            assert_eq!(all.times(0.25).clock(), all.clock());
        }
        // After so long a time functions are forgotten, and whoever walks farther than any process walks at no time.
        assert_eq!(oscillator(3.0).clock(), None);
        let far = Tally { jumps: [10.0, 20.0], ..oscillator(0.1) };
        assert_eq!(far.clock(), None);
    }

    #[test]
    fn walkers_are_as_late_as_their_moves() {
        let (spec, psi) = crate::project::tests::built(
            "(title: \"free\", hamiltonian: Inline(external: Harmonic(), interaction: None), sector: (up: 3), \
             geometry: Line, wavefunction: Weyl(layers: [], base: MeanField(orbitals: NonInteracting)))",
        );
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let mut rng = crate::sampling::stream(1, crate::sampling::Purpose::Analysis, 0, 0);
        let mut mover = Mover::new(psi.as_ref(), system, Space::Line, 0.05);
        let mut point = mover.start(&mut rng).unwrap();
        (0..4000).for_each(|_| mover.step(&mut point, &mut rng));
        // The drift of an oscillator is linear: a step of tau forgets as much as the time -ln(1 - tau).
        let clock = mover.tally.clock().unwrap();
        assert!((clock / 0.05127 - 1.0).abs() < 0.06, "{clock}");
    }
}
