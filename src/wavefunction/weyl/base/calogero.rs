//! The ground state of equal fermions in a harmonic trap that repel each other by the inverse square of their distance.
//!
//! `psi_0 = C prod_{i<j} |y_i - y_j|^lambda exp(-sum y²/2)`, `lambda (lambda - 1)` the strength (F. Calogero, J. Math. Phys. 10, 2197
//! (1969)): where particles meet it has the power that keeps the local energy finite, and a flow that commutes with
//! permutations leaves that power alone. Its square is the Hermite ensemble of `beta = 2 lambda`, with the norm of M. L. Mehta's
//! integral: the eigenvalues of a symmetric tridiagonal matrix of independent normal and chi variates (I. Dumitriu and
//! A. Edelman, "Matrix models for beta ensembles", J. Math. Phys. 43, 5830 (2002)), `2 n - 1` uniforms.

use super::super::place::Place;
use super::kind::on_the_line_only;
use super::mean_field::Orbitals;
use super::trapped::trapped;
use super::{BaseKind, BaseState, Built};
use crate::math::gamma::{Gamma, ln_gamma, normal};
use crate::math::scalar::Scalar;
use crate::system::{Geometry, Hamiltonian, Interaction, Sector, System};
use crate::wavefunction::WavefunctionError;
use nalgebra::DMatrix;
use std::f64::consts::{FRAC_PI_2, LN_2, PI};

/// Particles with a power of their distances.
#[derive(Clone, Debug)]
pub struct Calogero {
    particles: usize,
    power: f64,
    /// The angle of the middle, and `dy / dtheta`.
    middle: f64,
    stretch: f64,
    /// `ln C`, with `y` turned into angles.
    log_norm: f64,
    /// Distributions of the squares off the diagonal.
    off_diagonal: Vec<Gamma>,
}

/// The angles, for the reverse sweep.
#[derive(Clone, Debug, Default)]
pub struct CalogeroTrace<T> {
    angles: Vec<T>,
}

/// Equal spins that repel each other have no settings.
pub(super) struct EqualSpins;

impl BaseKind for EqualSpins {
    fn exists_on(&self, geometry: &Geometry) -> Result<(), WavefunctionError> {
        on_the_line_only("Calogero", geometry)
    }

    fn exists_for(&self, sector: Sector) -> Result<(), WavefunctionError> {
        if sector.particles() < 2 || (sector.up > 0 && sector.down > 0) {
            return Err(WavefunctionError::Base {
                problem: format!(
                    "Calogero is of two and more particles of one spin, found {} and {}",
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
        let Place { frame, walls: Geometry::Box { half_width }, on_line: true } = place else {
            return Ok(None);
        };
        let Some(power) = contact_power(&system.hamiltonian.interaction) else {
            return Ok(None);
        };
        let (half_width, base) = trapped(sector, system.hamiltonian, power, half_width);
        Ok(Some((Place::on_line(frame, half_width), base)))
    }

    fn needs(&self) -> &'static str {
        "Calogero needs an interaction that diverges at contact like the inverse square of the distance"
    }
}

/// `y` beyond the classical edge where the density has fallen below 1e-24 of its peak.
const TAIL: f64 = 7.5;
/// Intervals of the table of particles below an angle.
const INTERVALS: usize = 512;

/// The power with which psi vanishes where two particles meet: `lambda (lambda - 1)` is the coefficient of the inverse square
/// in the interaction at short range. None where there is no such term.
pub fn contact_power(interaction: &Interaction) -> Option<f64> {
    if interaction.value(0.0).is_finite() {
        return None;
    }
    let at = |d: f64| interaction.value(d) * d * d;
    let (far, near) = (at(1e-6), at(1e-8));
    // Weaker singularities fall with the distance.
    let same = near.is_finite() && (far - near).abs() <= 1e-3 * near.abs();
    (same && near > -0.25 && near != 0.0).then(|| 0.5 * (1.0 + (1.0 + 4.0 * near).sqrt()))
}

/// Where the particles of a trap are, in bohr: half the extent of the state of such a frequency.
pub fn half_extent(particles: usize, power: f64, frequency: f64) -> f64 {
    ((2.0 * power * particles as f64).sqrt() + TAIL) / frequency.sqrt()
}

/// The density of free fermions in a trap at a distance from its middle, in units of its length.
pub(super) fn free_density(particles: usize, y: f64) -> f64 {
    let (mut before, mut here) = (0.0, PI.powf(-0.25) * (-0.5 * y * y).exp());
    let mut sum = 0.0;
    for k in 0..particles {
        sum += here * here;
        let (k, last) = (k as f64, here);
        here = (2.0 / (k + 1.0)).sqrt() * y * here - (k / (k + 1.0)).sqrt() * before;
        before = last;
    }
    sum
}

/// Number of particles below each point of an even grid of angles between walls.
pub(super) fn counted(density: impl Fn(f64) -> f64) -> Vec<f64> {
    let h = PI / INTERVALS as f64;
    let mut below = vec![0.0];
    for i in 0..INTERVALS {
        below.push(below[i] + h * density(h * (i as f64 + 0.5)));
    }
    below
}

impl Calogero {
    /// The state in a trap of a frequency about a place, in the angles of a box of half-width `half_width`.
    pub fn new(particles: usize, power: f64, frequency: f64, place: f64, half_width: f64) -> Self {
        let per_angle = 2.0 * half_width / PI;
        let stretch = frequency.sqrt() * per_angle;
        let n = particles as f64;
        let pairs = 0.5 * n * (n - 1.0);
        // Mehta's integral over exp(-sum y²), and the share of it that is ordered.
        let mut log_square = -0.5 * n * PI.ln() + power * pairs * LN_2;
        for j in 1..=particles {
            let j = j as f64;
            log_square += ln_gamma(1.0 + power) - ln_gamma(1.0 + j * power) + j.ln();
        }
        let off_diagonal = (1..particles).rev().map(|k| Gamma::new(power * k as f64)).collect();
        Calogero {
            particles,
            power,
            middle: FRAC_PI_2 + place / per_angle,
            stretch,
            log_norm: 0.5 * (log_square + n * stretch.ln()),
            off_diagonal,
        }
    }

    fn scaled<T: Scalar>(&self, angle: T) -> T {
        (angle - self.middle) * self.stretch
    }
}

impl BaseState for Calogero {
    type Trace<T: Scalar> = CalogeroTrace<T>;

    fn spins(&self) -> usize {
        1
    }

    /// The density at an angle, per radian: that of free fermions, as wide as this one. It says where knots belong.
    fn density(&self, _: usize, theta: f64) -> f64 {
        let scale = self.stretch / self.power.max(1.0).sqrt();
        free_density(self.particles, (theta - self.middle) * scale) * scale
    }

    /// Number of particles below each point of an even grid of angles.
    fn below(&self) -> Vec<f64> {
        counted(|theta| self.density(0, theta))
    }

    /// `log |psi_0|` of angles in ascending order, and sign.
    fn forward<T: Scalar>(&self, angles: &[T], _: bool, trace: &mut CalogeroTrace<T>) -> (T, f64) {
        trace.angles.clear();
        trace.angles.extend_from_slice(angles);
        let mut log = T::constant(self.log_norm);
        for (j, &b) in angles.iter().enumerate() {
            let y = self.scaled(b);
            log += y * y * -0.5;
            for &a in &angles[..j] {
                log += ((b - a) * self.stretch).ln() * self.power;
            }
        }
        (log, 1.0)
    }

    /// Adjoints of the angles.
    fn backward<T: Scalar>(&self, bar: &mut [T], trace: &mut CalogeroTrace<T>) {
        let angles = &trace.angles;
        for (i, &a) in angles.iter().enumerate() {
            let mut sum = self.scaled(a) * -self.stretch;
            for (j, &b) in angles.iter().enumerate() {
                if i != j {
                    sum += (a - b).recip() * self.power;
                }
            }
            bar[i] = sum;
        }
    }

    /// Number of uniforms of a sample.
    fn uniforms(&self, _: usize) -> usize {
        2 * self.particles - 1
    }

    /// Turns uniforms into angles distributed as `|psi_0|²`, in ascending order.
    fn sample(&self, uniforms: &[f64], angles: &mut [f64]) {
        let n = self.particles;
        let (diagonal, off) = uniforms.split_at(n);
        let mut matrix = DMatrix::zeros(n, n);
        for (i, u) in diagonal.iter().enumerate() {
            matrix[(i, i)] = normal(*u);
        }
        for (i, (u, gamma)) in off.iter().zip(&self.off_diagonal).enumerate() {
            let element = gamma.quantile(*u, 1.0 - u).sqrt();
            matrix[(i, i + 1)] = element;
            matrix[(i + 1, i)] = element;
        }
        let values = matrix.symmetric_eigenvalues();
        for (angle, value) in angles.iter_mut().zip(values.iter()) {
            *angle = self.middle + value * std::f64::consts::FRAC_1_SQRT_2 / self.stretch;
        }
        angles.sort_by(f64::total_cmp);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Weyl, WeylSettings};
    use super::*;
    use crate::estimate::health::density_drift;
    use crate::system::{External, Geometry, Hamiltonian, Sector, System};
    use crate::wavefunction::Wavefunction;
    use crate::wavefunction::testing::samples;

    #[test]
    fn the_local_energy_is_the_exact_one() {
        for (particles, power, frequency) in
            [(2, 1.5, 1.0), (2, 3.0, 0.01), (6, 2.0, 1.0), (4, 0.8, 30.0)]
        {
            let hamiltonian = Hamiltonian {
                title: String::new(),
                external: External::Harmonic { frequency },
                interaction: Interaction::InverseSquare { strength: power * (power - 1.0) },
            };
            let system = System { hamiltonian: &hamiltonian, geometry: &Geometry::Line };
            let sector = Sector::new(particles, 0);
            let psi = Weyl::new(&WeylSettings::default(), sector, system).unwrap();
            let chosen = WeylSettings::default().settle(sector, system).unwrap().0;
            assert!(chosen[0].starts_with("base: Calogero"), "{chosen:?}");
            assert!(density_drift(&psi, 1) < 1e-6);
            let n = particles as f64;
            let exact = frequency * (0.5 * n + 0.5 * power * n * (n - 1.0));
            let mut evaluator = psi.evaluator();
            let mut gradient = vec![0.0; particles];
            let mut square = 0.0;
            let drawn = samples(&psi, 5, 4000);
            for x in &drawn {
                let potential = hamiltonian.potential(&Geometry::Line, x);
                let energy = evaluator.kinetic_energy(x, &mut gradient) + potential;
                assert!((energy - exact).abs() < 1e-7 * exact, "{energy} {exact}");
                square += x.iter().map(|x| x * x).sum::<f64>() / drawn.len() as f64;
            }
            // Virial theorem: all of the potential scales like the kinetic energy, so half of the energy is the trap's.
            let trap = 0.5 * frequency * frequency * square;
            let spread = (0.25 * exact * frequency / drawn.len() as f64).sqrt();
            assert!((trap - 0.5 * exact).abs() < 5.0 * spread, "{trap} {exact} {spread}");
        }
    }

    #[test]
    fn the_norm_is_one() {
        // Two particles: by quadrature over the distance and the centre.
        let state = Calogero::new(2, 1.7, 1.0, 0.3, 9.0);
        let cells = 1200;
        let h = PI / cells as f64;
        let mut sum = 0.0;
        for i in 0..cells {
            for j in i + 1..cells {
                let angles = [(i as f64 + 0.5) * h, (j as f64 + 0.5) * h];
                sum +=
                    (2.0 * state.forward(&angles, false, &mut Default::default()).0).exp() * h * h;
            }
        }
        assert!((sum - 1.0).abs() < 1e-4, "{sum}");
    }

    #[test]
    fn powers_follow_the_interaction_at_contact() {
        let formula = |text: &str| Interaction::Formula(text.parse().unwrap());
        for (interaction, power) in [
            (Interaction::InverseSquare { strength: 2.0 }, Some(2.0)),
            (Interaction::InverseSquare { strength: 0.75 }, Some(1.5)),
            (formula("6/d^2 + cos(d)"), Some(3.0)),
            (formula("1/abs(d)"), None),
            (Interaction::SoftCoulomb { strength: 100.0, softening: 1e-3 }, None),
            (Interaction::InverseSquare { strength: -1.0 }, None),
        ] {
            let found = contact_power(&interaction);
            let same = match (found, power) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-6,
                (a, b) => a == b,
            };
            assert!(same, "{interaction:?}: {found:?}");
        }
    }
}
