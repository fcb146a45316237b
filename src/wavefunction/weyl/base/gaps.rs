//! Two to four equal spins in a harmonic trap by their centre of mass and the gaps between neighbours, with an exact sampler.
//!
//! `psi_0 = (N omega / pi)^(1/4) exp(-N omega R² / 2) sum_ab.. c_ab.. f_a(g_1) f_b(g_2) ..`: the centre of mass moves by itself (W. Kohn,
//! Phys. Rev. 123, 1242 (1961)), and in the gaps no antisymmetry is left, so that products of functions of one gap each converge however
//! hard particles repel each other. The functions have the power that the interaction demands where two meet.
//!
//! Samples: gap after gap by the chain rule of probability, as in [`super::expansion`], one uniform each, and one for the centre of mass.

use super::super::place::Place;
use super::calogero::{counted, free_density, half_extent};
use super::determinants::lift;
use super::kind::on_the_line_only;
use super::mean_field::Orbitals;
use super::series::{Mixture, Products, QuantileWork};
use super::{Base, BaseKind, BaseState, Built};
use crate::exact::gap_state::{GapState, trap_state};
use crate::math::gamma::normal;
use crate::math::scalar::Scalar;
use crate::math::vector::mixtures;
use crate::system::{External, Geometry, Hamiltonian, Sector, System};
use crate::wavefunction::WavefunctionError;
use std::f64::consts::{FRAC_PI_2, PI};

/// Centre of mass and gaps.
#[derive(Clone, Debug)]
pub struct Gaps {
    particles: usize,
    frequency: f64,
    state: GapState,
    /// `dx / dtheta`.
    per_angle: f64,
    /// Of the centre of mass, with coordinates turned into angles.
    log_norm: f64,
    products: Vec<Products>,
    /// The density of the first gap.
    first: Mixture,
    /// Frequency of the trap in which as many free fermions are as far spread.
    spread: f64,
}

/// A few equal spins in a trap have no settings.
pub(super) struct FewEqualSpins;

impl BaseKind for FewEqualSpins {
    fn exists_on(&self, geometry: &Geometry) -> Result<(), WavefunctionError> {
        on_the_line_only("Gaps", geometry)
    }

    fn exists_for(&self, sector: Sector) -> Result<(), WavefunctionError> {
        if !(2..=4).contains(&sector.particles()) || (sector.up > 0 && sector.down > 0) {
            return Err(WavefunctionError::Base {
                problem: format!(
                    "Gaps is of two to four particles of one spin, found {} and {}",
                    sector.up, sector.down
                ),
            });
        }
        Ok(())
    }

    fn orbitals(&self, _: &Hamiltonian) -> Orbitals {
        // No mean field of an interaction that diverges.
        Orbitals::NonInteracting
    }

    fn places_itself(&self) -> bool {
        true
    }

    fn build(
        &self,
        sector: Sector,
        place: Place,
        system: System,
    ) -> Result<Option<Built>, WavefunctionError> {
        Ok(trapped(sector, place, system))
    }

    fn needs(&self) -> &'static str {
        "Gaps needs a harmonic trap whose walls, if any, are too far out to matter, and an interaction that psi can vanish \
         under at contact"
    }
}

/// The state of equal spins in gaps; none where it does not exist.
pub(super) fn trapped(sector: Sector, place: Place, system: System) -> Option<Built> {
    let External::Harmonic { frequency } = system.hamiltonian.external else { return None };
    let particles = sector.particles();
    let found = trap_state(frequency, &system.hamiltonian.interaction, particles);
    let state = found.ok().flatten().filter(|s| s.coefficients.iter().all(|c| c.is_finite()))?;
    let (half_width, base) = Gaps::new(particles, frequency, state);
    let built = (Place::on_line(place.frame, half_width), Base::Gaps(Box::new(base)));
    place.on_line.then_some(built)
}

/// What the reverse sweep needs again, and scratch memory.
#[derive(Clone, Debug, Default)]
pub struct GapsTrace<T> {
    /// Functions and their slopes, gap after gap.
    values: Vec<T>,
    slopes: Vec<T>,
    psi: T,
    centre: T,
    plain: Vec<[f64; 4]>,
    work: [Vec<T>; 2],
}

/// Radians by which the functions of a gap turn at most from end to end: they are polynomials of low degree.
const TURN: f64 = 400.0;

impl Gaps {
    /// The state in a trap of a frequency about the middle of the box that comes with it, whose half-width is returned.
    pub(crate) fn new(particles: usize, frequency: f64, state: GapState) -> (f64, Self) {
        let n = particles as f64;
        // <sum x²> of free fermions is N² / (2 omega).
        let square = state.square + 0.5 / frequency;
        let spread = 0.5 * n * n / square;
        let half_width = half_extent(particles, 1.0, spread.min(frequency));
        let per_angle = 2.0 * half_width / PI;
        let products = state.functions.iter().map(|f| {
            let mut found = Vec::new();
            Products::of((0.0, f.extent()), f.functions(), TURN, |g, out| {
                f.evaluate(g, &mut found);
                out.iter_mut().zip(&found).for_each(|(o, v)| *o = v[0]);
            })
        });
        let products: Vec<Products> = products.collect();
        let log_norm = 0.25 * (n * frequency / PI).ln() + 0.5 * n * per_angle.ln();
        let first = gram(&state.coefficients, state.functions[0].functions());
        let first = products[0].mixture(&first);
        (
            half_width,
            Gaps { particles, frequency, state, per_angle, log_norm, products, first, spread },
        )
    }

    /// `sum_ab.. c_ab.. f_a f_b ..` with functions of each gap that `of` gives.
    fn sum<'a, T: Scalar>(&self, work: &mut [Vec<T>; 2], of: impl Fn(usize) -> &'a [T]) -> T {
        let [from, to] = work;
        let f = of(0);
        from.clear();
        from.extend(
            self.state
                .coefficients
                .chunks_exact(f.len())
                .map(|row| row.iter().zip(f).fold(T::zero(), |sum, (&c, &f)| sum.add_scaled(c, f))),
        );
        for k in 1..self.particles - 1 {
            let f = of(k);
            to.clear();
            to.extend(
                from.chunks_exact(f.len())
                    .map(|row| row.iter().zip(f).fold(T::zero(), |sum, (&c, &f)| sum + c * f)),
            );
            std::mem::swap(from, to);
        }
        from[0]
    }
}

impl BaseState for Gaps {
    type Trace<T: Scalar> = GapsTrace<T>;

    fn spins(&self) -> usize {
        1
    }

    /// The density at an angle, per radian: that of free fermions, as wide as this one. It says where knots belong.
    fn density(&self, _: usize, theta: f64) -> f64 {
        let scale = self.spread.sqrt() * self.per_angle;
        free_density(self.particles, (theta - FRAC_PI_2) * scale) * scale
    }

    /// Number of particles below each point of an even grid of angles.
    fn below(&self) -> Vec<f64> {
        counted(|theta| self.density(0, theta))
    }

    /// `log |psi_0|` of angles in ascending order, and sign.
    fn forward<T: Scalar>(
        &self,
        angles: &[T],
        reverse: bool,
        trace: &mut GapsTrace<T>,
    ) -> (T, f64) {
        let GapsTrace { values, slopes, psi, centre, plain, work } = trace;
        values.clear();
        slopes.clear();
        let mut sum = T::zero();
        angles.iter().for_each(|&a| sum += a - FRAC_PI_2);
        *centre = sum * (self.per_angle / self.particles as f64);
        for (f, pair) in self.state.functions.iter().zip(angles.windows(2)) {
            let g = (pair[1] - pair[0]) * self.per_angle;
            if !(g.value() > 0.0 && g.value() < f.extent()) {
                return (T::constant(f64::NEG_INFINITY), 1.0);
            }
            f.evaluate(g.value(), plain);
            for p in &*plain {
                values.push(lift(g, |d| p[d]));
                if reverse {
                    slopes.push(lift(g, |d| p[1 + d]));
                }
            }
        }
        let m = self.state.functions[0].functions();
        *psi = self.sum(work, |k| &values[k * m..(k + 1) * m]);
        let far = *centre * *centre * (-0.5 * self.particles as f64 * self.frequency);
        let sign = if psi.value() < 0.0 { -1.0 } else { 1.0 };
        (psi.abs().ln() + far + self.log_norm, sign)
    }

    /// Adjoints of the angles, after [`Self::forward`] with `reverse`.
    fn backward<T: Scalar>(&self, bar: &mut [T], trace: &mut GapsTrace<T>) {
        let GapsTrace { values, slopes, psi, centre, work, .. } = trace;
        let m = self.state.functions[0].functions();
        if values.len() < m * (self.particles - 1) {
            return bar.fill(T::zero());
        }
        let inverse = psi.recip() * self.per_angle;
        bar.fill(*centre * (-self.frequency * self.per_angle));
        for gap in 0..self.particles - 1 {
            let of = |k: usize| {
                let all = if k == gap { &*slopes } else { &*values };
                &all[k * m..(k + 1) * m]
            };
            let slope = self.sum(work, of) * inverse;
            bar[gap + 1] += slope;
            bar[gap] -= slope;
        }
    }

    fn orders(&self, _: Sector) -> f64 {
        1.0
    }

    /// Turns one uniform per particle into angles distributed as `|psi_0|²`, in ascending order.
    fn sample(&self, uniforms: &[f64], angles: &mut [f64]) {
        let n = self.particles;
        let mut gaps = [0.0; 3];
        let mut work = QuantileWork::default();
        let mut found = Vec::new();
        let (mut given, mut rest, mut next) = (Vec::new(), Vec::new(), Vec::new());
        for (k, f) in self.state.functions.iter().enumerate() {
            let m = f.functions();
            gaps[k] = if k == 0 {
                self.products[0].quantile_of(&self.first, uniforms[0] * self.first.whole())
            } else {
                let weights = gram(&rest, m);
                let trace: f64 = (0..m).map(|a| weights[a * m + a]).sum();
                self.products[k].quantile(&weights, uniforms[k] * trace, &mut work)
            };
            f.evaluate(gaps[k], &mut found);
            let from = if k == 0 { &self.state.coefficients } else { &rest };
            given.clear();
            given.extend(found.iter().map(|f: &[f64; 4]| f[0]));
            next.resize(from.len() / m, 0.0);
            mixtures::products(from, &given, &mut next);
            std::mem::swap(&mut rest, &mut next);
            // The scale does not matter, but must not underflow.
            let size = rest.iter().map(|r: &f64| r * r).sum::<f64>().sqrt();
            rest.iter_mut().for_each(|r| *r /= size.max(f64::MIN_POSITIVE));
        }
        let centre = normal(uniforms[n - 1]) / (2.0 * n as f64 * self.frequency).sqrt();
        // x_1 from the mean of all.
        let before = |i: usize| gaps[..i].iter().sum::<f64>();
        let first = centre - (0..n).map(before).sum::<f64>() / n as f64;
        for (i, angle) in angles.iter_mut().enumerate() {
            *angle = FRAC_PI_2 + (first + before(i)) / self.per_angle;
        }
    }
}

/// `sum_r c_ar c_br` over rows `r` of `m` coefficients, row-major.
fn gram(c: &[f64], m: usize) -> Vec<f64> {
    let mut gram = vec![0.0; m * m];
    for row in c.chunks_exact(m) {
        for (a, &x) in row.iter().enumerate() {
            gram[a * m..(a + 1) * m].iter_mut().zip(row).for_each(|(g, y)| *g += x * y);
        }
    }
    gram
}

#[cfg(test)]
mod tests {
    use super::super::super::{Weyl, WeylSettings};
    use super::super::BaseSettings;
    use crate::estimate::health::density_drift;
    use crate::math::statistics::Moments;
    use crate::system::{External, Geometry, Hamiltonian, Interaction, Sector, System};
    use crate::wavefunction::Wavefunction;
    use crate::wavefunction::testing::samples;

    #[test]
    fn equal_spins_in_a_harmonic_trap_are_exact_however_they_repel() {
        let soft = |strength, softening| Interaction::SoftCoulomb { strength, softening };
        // Exact values: closed forms, and exact diagonalisation in other bases.
        for (frequency, interaction, particles, exact, within) in [
            (1.0, soft(20.0, 0.1), 3, 28.264_386_733_5, 1e-6),
            // The same in other units.
            (100.0, soft(200.0, 0.01), 3, 2_826.438_673_35, 1e-4),
            (1.0, soft(1.0, 1.0), 4, 11.023_076_142_7, 1e-5),
            (1.0, Interaction::InverseSquare { strength: 0.75 }, 3, 6.0, 1e-7),
        ] {
            let external = External::Harmonic { frequency };
            let interaction = interaction.clone();
            let hamiltonian = Hamiltonian { title: String::new(), external, interaction };
            let system = System { hamiltonian: &hamiltonian, geometry: &Geometry::Line };
            let settings = WeylSettings { base: BaseSettings::Gaps, ..Default::default() };
            let sector = Sector::new(particles, 0);
            let psi = Weyl::new(&settings, sector, system).unwrap();
            let drift = density_drift(&psi, 1);
            assert!(drift < 1e-6, "{drift}");
            let mut evaluator = psi.evaluator();
            let mut gradient = vec![0.0; particles];
            let energies: Vec<f64> = samples(&psi, 3, 400)
                .iter()
                .map(|x| {
                    let potential = hamiltonian.potential(&Geometry::Line, x);
                    evaluator.kinetic_energy(x, &mut gradient) + potential
                })
                .collect();
            let found = Moments::of(&energies);
            let (mean, spread) = (found.mean(), found.variance().sqrt());
            assert!((mean - exact).abs() < within, "{mean} {exact}");
            assert!(spread < 1e2 * within, "{spread}");
        }
    }
}
