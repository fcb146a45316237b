//! Two particles by their centre of mass and their distance, with an exact sampler.
//!
//! `psi_0(x_1, x_2) = sum_k s_k U_k((x_1 + x_2)/2) V_k(x_1 - x_2)` with orthonormal `U_k`, orthonormal `V_k` of one parity and
//! `sum s_k² = 1`. However hard and short the repulsion, it is a potential of one coordinate here. In a harmonic trap the
//! centre of mass moves by itself (W. Kohn, Phys. Rev. 123, 1242 (1961)): the sum has one term and is the exact state. In any
//! other potential it is a configuration interaction in the lowest functions of either coordinate in the mean field of the
//! other.
//!
//! In angles of the computational box of half-width `L` the centre of mass has `u = (theta_1 + theta_2)/2` and the distance
//! `v = (theta_1 - theta_2)/2 + pi/2`, both in `(0, pi)`, and both functions are sine series. Samples: `u` from its marginal density, `v`
//! from the conditional one; either distribution is a Fourier series, one uniform each.

use super::super::place::Place;
use super::calogero::contact_power;
use super::determinants::lift;
use super::distance::Distance;
use super::kind::on_the_line_only;
use super::series::{Domain, Products, QuantileWork, Series};
use super::{Base, BaseKind, BaseState, Built};
use crate::math::linalg::{EigenFailure, mul, symmetric_eigen};
use crate::math::scalar::Scalar;
use crate::system::{External, Geometry, Hamiltonian, Sector, System};
use crate::wavefunction::WavefunctionError;
use faer::Mat;
use std::f64::consts::{FRAC_PI_2, PI};

/// Two particles by centre of mass and distance.
#[derive(Clone, Debug)]
pub struct RelativeMotion {
    sector: Sector,
    /// Functions of the centre of mass and of the distance.
    parts: [Series; 2],
    products: [Products; 2],
    /// `s_k`.
    weights: Vec<f64>,
    /// Functions of the distance on a grid, row-major in (point, function).
    distances: Vec<f64>,
}

/// Two particles on the line have no settings.
pub(super) struct TwoOnTheLine;

impl BaseKind for TwoOnTheLine {
    fn exists_on(&self, geometry: &Geometry) -> Result<(), WavefunctionError> {
        on_the_line_only("RelativeMotion", geometry)
    }

    fn exists_for(&self, sector: Sector) -> Result<(), WavefunctionError> {
        match sector.particles() {
            2 => Ok(()),
            found => Err(WavefunctionError::Base {
                problem: format!("RelativeMotion is of two particles, found {found}"),
            }),
        }
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
        let relative = |converged: bool| -> Result<_, WavefunctionError> {
            let found = solve(sector, system.hamiltonian, half_width, converged)?;
            Ok(found.map(|(half_width, state)| {
                (Place::on_line(frame, half_width), Base::Relative(Box::new(state)))
            }))
        };
        // Sine functions have the smoother second derivatives; elements follow kinks and cores.
        let External::Harmonic { frequency } = system.hamiltonian.external else {
            return relative(false);
        };
        if let Some(found) = relative(true)? {
            return Ok(Some(found));
        }
        let found = contact_power(&system.hamiltonian.interaction)
            .is_none()
            .then(|| Distance::new(sector, frequency, system.hamiltonian));
        match found.flatten() {
            Some((half_width, state)) => {
                let place = Place::on_line(frame, half_width);
                Ok(Some((place, Base::Distance(Box::new(state)))))
            }
            None => relative(false),
        }
    }

    fn needs(&self) -> &'static str {
        "RelativeMotion needs an interaction that is finite at contact, and a potential that binds the two particles far from any \
         walls"
    }
}

/// What the reverse sweep needs again, and scratch memory.
#[derive(Clone, Debug, Default)]
pub struct RelativeTrace<T> {
    values: [Vec<T>; 2],
    slopes: [Vec<T>; 2],
    psi: T,
    plain: [Vec<f64>; 4],
}

/// Points of the grid on which the distance is integrated over.
const DISTANCES: usize = 1024;
/// Intervals of the table of particles below an angle.
const INTERVALS: usize = 512;

/// The angle of the middle of cell `i` of `cells`.
fn middle(i: usize, cells: usize) -> f64 {
    PI * (i as f64 + 0.5) / cells as f64
}

impl RelativeMotion {
    /// From the coefficients of the functions in sines, one column each, and the weights of their products.
    fn new(sector: Sector, centre: &Mat<f64>, distance: &Mat<f64>, weights: Vec<f64>) -> Self {
        let parts = [centre, distance].map(|c| Series::new(Domain::Walls, c));
        let products = [Products::new(&parts[0]), Products::new(&parts[1])];
        let mut work = std::array::from_fn(|_| vec![0.0; weights.len()]);
        let mut distances = Vec::with_capacity(DISTANCES * weights.len());
        for i in 0..DISTANCES {
            parts[1].evaluate(middle(i, DISTANCES), 1, &mut work);
            distances.extend_from_slice(&work[0]);
        }
        RelativeMotion { sector, parts, products, weights, distances }
    }

    fn sum<T: Scalar>(&self, centre: &[T], distance: &[T]) -> T {
        let terms = self.weights.iter().zip(centre).zip(distance);
        terms.fold(T::zero(), |sum, ((&s, &a), &b)| sum + a * b * s)
    }
}

impl BaseState for RelativeMotion {
    type Trace<T: Scalar> = RelativeTrace<T>;

    /// Number of spins that have particles.
    fn spins(&self) -> usize {
        self.sector.spins().count()
    }

    /// The density of one spin at an angle, per radian.
    fn density(&self, _spin: usize, theta: f64) -> f64 {
        let m = self.weights.len();
        let mut work = std::array::from_fn(|_| vec![0.0; m]);
        let mut sum = 0.0;
        for (i, row) in self.distances.chunks_exact(m).enumerate() {
            let u = theta - (middle(i, DISTANCES) - FRAC_PI_2);
            if u <= 0.0 || u >= PI {
                continue;
            }
            self.parts[0].evaluate(u, 1, &mut work);
            let terms = self.weights.iter().zip(&work[0]).zip(row);
            sum += terms.map(|((s, a), b)| s * a * b).sum::<f64>().powi(2);
        }
        let each = 2.0 / self.spins() as f64;
        each * sum * PI / DISTANCES as f64
    }

    /// Number of particles below each point of an even grid of angles.
    fn below(&self) -> Vec<f64> {
        let h = PI / INTERVALS as f64;
        let mut below = vec![0.0];
        let mut sum = 0.0;
        for i in 0..INTERVALS {
            // Both spins have the same density.
            sum += h * self.spins() as f64 * self.density(0, middle(i, INTERVALS));
            below.push(sum);
        }
        below
    }

    /// `log |psi_0|` and sign.
    fn forward<T: Scalar>(
        &self,
        angles: &[T],
        reverse: bool,
        trace: &mut RelativeTrace<T>,
    ) -> (T, f64) {
        let RelativeTrace { values, slopes, psi, plain } = trace;
        let m = self.weights.len();
        plain.iter_mut().for_each(|p| p.resize(m, 0.0));
        let at = [(angles[0] + angles[1]) * 0.5, (angles[0] - angles[1]) * 0.5 + FRAC_PI_2];
        let orders = 1 + T::ORDER + usize::from(reverse);
        for (part, t) in at.into_iter().enumerate() {
            values[part].clear();
            slopes[part].clear();
            self.parts[part].evaluate(t.value(), orders, plain);
            for k in 0..m {
                let at = |d: usize| plain[d][k];
                values[part].push(lift(t, at));
                if reverse {
                    slopes[part].push(lift(t, |e| at(1 + e)));
                }
            }
        }
        *psi = self.sum(&values[0], &values[1]);
        // Area: d theta_1 d theta_2 = 2 du dv. Equal spins fill half of it.
        let log_norm = if self.spins() == 2 { -0.5 * std::f64::consts::LN_2 } else { 0.0 };
        let sign = if psi.value() < 0.0 { -1.0 } else { 1.0 };
        (psi.abs().ln() + log_norm, sign)
    }

    /// Adjoints of the angles, after [`Self::forward`] with `reverse`.
    fn backward<T: Scalar>(&self, bar: &mut [T], trace: &mut RelativeTrace<T>) {
        let RelativeTrace { values, slopes, psi, .. } = trace;
        let inverse = psi.recip() * 0.5;
        let centre = self.sum(&slopes[0], &values[1]) * inverse;
        let distance = self.sum(&values[0], &slopes[1]) * inverse;
        bar[0] = centre + distance;
        bar[1] = centre - distance;
    }

    /// Turns two uniforms into angles distributed as `|psi_0|²`, ascending within each spin.
    fn sample(&self, uniforms: &[f64], angles: &mut [f64]) {
        let m = self.weights.len();
        let mut work = QuantileWork::default();
        let mut phi = std::array::from_fn(|_| vec![0.0; m]);
        let square =
            |a: &[f64]| -> Vec<f64> { (0..m * m).map(|ij| a[ij / m] * a[ij % m]).collect() };
        let marginal: Vec<f64> = (0..m * m)
            .map(|ij| if ij / m == ij % m { self.weights[ij % m].powi(2) } else { 0.0 })
            .collect();
        let u = self.products[0].quantile(&marginal, uniforms[0], &mut work);
        self.parts[0].evaluate(u, 1, &mut phi);
        let given: Vec<f64> = self.weights.iter().zip(&phi[0]).map(|(s, a)| s * a).collect();
        let total: f64 = given.iter().map(|a| a * a).sum();
        let v = self.products[1].quantile(&square(&given), uniforms[1] * total, &mut work);
        angles[0] = u + (v - FRAC_PI_2);
        angles[1] = u - (v - FRAC_PI_2);
        if self.spins() == 1 {
            angles.sort_by(f64::total_cmp);
        }
    }
}

/// Largest coefficient, relative to the largest of all, that may be left at the upper end of a converged series.
const CONVERGED: f64 = 1e-13;
/// The same where more waves are not to be had.
const ROUGH: f64 = 1e-6;
/// Waves of the distance that are tried one after the other, and those of the centre of mass.
const WAVES: [usize; 4] = [128, 320, 768, 1536];
const CENTRE_WAVES: usize = 128;
/// Points of the quadratures, per wave; those of the distance are multiples of those of the centre of mass.
const OVERSAMPLING: usize = 4;
/// Functions of the centre of mass and of the distance in the configuration interaction.
const CENTRE_FUNCTIONS: usize = 12;
const DISTANCE_FUNCTIONS: usize = 24;
/// Products that are kept, and the smallest weight that counts.
const MOST_PRODUCTS: usize = 8;
const LEAST_WEIGHT: f64 = 1e-7;
/// Rounds of the mean field.
const ROUNDS: usize = 10;
/// Growth of the computational box, and how often it may grow.
const GROWTH: f64 = 1.25;
const GROWTHS: usize = 8;
/// The outer part of the box, and the density, relative to its peak, that may be there.
const OUTER: f64 = 0.94;
const NEGLIGIBLE: f64 = 1e-22;

/// The state of two particles on the line, and the half-width of its computational box, at least `half_width`, in bohr.
///
/// None where the interaction is singular at contact, or where no series converges (to rounding if `converged`) or no box is wide enough.
///
/// # Errors
/// [`EigenFailure`] when a potential is not finite on the grid.
pub fn solve(
    sector: Sector,
    hamiltonian: &Hamiltonian,
    half_width: f64,
    converged: bool,
) -> Result<Option<(f64, RelativeMotion)>, EigenFailure> {
    if !hamiltonian.interaction.value(0.0).is_finite() {
        return Ok(None);
    }
    let mut half_width = half_width;
    for _ in 0..GROWTHS {
        let problem = PairInBox { sector, hamiltonian, half_width, converged };
        let Some(state) = problem.solve()? else { return Ok(None) };
        let points: Vec<(f64, f64)> = (0..INTERVALS)
            .map(|i| middle(i, INTERVALS))
            .map(|t| (t, state.density(0, t)))
            .collect();
        let peak = points.iter().fold(0.0, |a: f64, p| a.max(p.1));
        let outer = |t: f64| (2.0 * t / PI - 1.0).abs() > OUTER;
        if points.iter().all(|&(t, d)| !outer(t) || d < NEGLIGIBLE * peak) {
            return Ok(Some((half_width, state)));
        }
        half_width *= GROWTH;
    }
    Ok(None)
}

/// Two particles in a computational box.
struct PairInBox<'a> {
    sector: Sector,
    hamiltonian: &'a Hamiltonian,
    half_width: f64,
    converged: bool,
}

/// Functions of one coordinate: the waves of their sines, and their coefficients, one column each.
struct Functions {
    waves: Vec<usize>,
    coefficients: Mat<f64>,
}

impl Functions {
    /// Values at the middles of `cells` cells, one row a point.
    fn values(&self, cells: usize) -> Mat<f64> {
        let norm = (2.0 / PI).sqrt();
        let sine = |i: usize, k: usize| norm * (self.waves[k] as f64 * middle(i, cells)).sin();
        let sines = Mat::from_fn(cells, self.waves.len(), sine);
        mul(sines.as_ref(), self.coefficients.as_ref())
    }

    /// `<a| k² |b>`.
    fn squares(&self) -> Mat<f64> {
        let c = &self.coefficients;
        let scaled = Mat::from_fn(c.nrows(), c.ncols(), |k, a| {
            (self.waves[k] * self.waves[k]) as f64 * c[(k, a)]
        });
        mul(c.transpose(), scaled.as_ref())
    }

    /// Combinations of the functions with a row for every wave up to the last.
    fn combined(&self, columns: &Mat<f64>) -> Mat<f64> {
        let c = mul(self.coefficients.as_ref(), columns.as_ref());
        let last = self.waves.last().map_or(0, |k| *k);
        let mut all = Mat::zeros(last, c.ncols());
        for (k, wave) in self.waves.iter().enumerate() {
            for a in 0..c.ncols() {
                all[(wave - 1, a)] = c[(k, a)];
            }
        }
        all
    }
}

impl PairInBox<'_> {
    /// `d angle / d (R, or half the distance)`, squared and halved twice: the kinetic energy of a wave is that times its square.
    fn kinetic(&self) -> f64 {
        (PI / (4.0 * self.half_width)).powi(2)
    }

    /// Waves of the distance with the parity of the sector: psi is odd in the distance of equal spins.
    fn distance_waves(&self, most: usize) -> Vec<usize> {
        let equal = self.sector.spins().count() == 1;
        (1..=most).filter(|k| (k % 2 == 0) == equal).collect()
    }

    /// The external potential of both particles at the middles of cells, row-major in (centre, distance).
    fn external(&self, centres: usize, distances: usize) -> Vec<f64> {
        // The places of the particles are multiples of L / distances, where there is a whole number of distances to a centre.
        let m = distances / centres;
        let place = |q: usize| self.half_width * (q as f64 / distances as f64 - 2.0);
        let v: Vec<f64> =
            (0..4 * distances).map(|q| self.hamiltonian.external.value(place(q))).collect();
        let mut all = Vec::with_capacity(centres * distances);
        for i in 0..centres {
            let r = m * (2 * i + 1);
            all.extend((0..distances).map(|j| {
                let half = 2 * j + 1;
                v[r + half] + v[r + 2 * distances - half]
            }));
        }
        all
    }

    /// The interaction at the middles of cells.
    fn interaction(&self, distances: usize) -> Vec<f64> {
        let of = |j: usize| {
            let d = 2.0 * self.half_width * (2.0 * middle(j, distances) / PI - 1.0);
            self.hamiltonian.interaction.value(d.abs())
        };
        (0..distances).map(of).collect()
    }

    /// The lowest eigenfunctions of `kinetic k² + potential`, given at the middles of cells.
    fn eigenfunctions(
        &self,
        waves: Vec<usize>,
        potential: &[f64],
        count: usize,
    ) -> Result<Functions, EigenFailure> {
        let cells = potential.len();
        let last = waves.last().map_or(0, |k| *k);
        // cos(m v_i) with m (2 i + 1) pi / (2 cells).
        let cosines: Vec<f64> =
            (0..4 * cells).map(|i| (PI * i as f64 / (2 * cells) as f64).cos()).collect();
        let transform: Vec<f64> = (0..=2 * last)
            .map(|m| {
                let terms = potential.iter().enumerate();
                let sum: f64 = terms.map(|(i, v)| v * cosines[m * (2 * i + 1) % (4 * cells)]).sum();
                sum / cells as f64
            })
            .collect();
        let matrix = Mat::from_fn(waves.len(), waves.len(), |i, j| {
            let (a, b) = (waves[i], waves[j]);
            let kinetic = if i == j { self.kinetic() * (a * a) as f64 } else { 0.0 };
            kinetic + transform[a.abs_diff(b)] - transform[a + b]
        });
        let (_, vectors) = symmetric_eigen(matrix.as_ref())?;
        let coefficients = vectors.subcols(0, count.min(waves.len())).to_owned();
        Ok(Functions { waves, coefficients })
    }

    /// The ground state, unless its series does not converge.
    fn solve(&self) -> Result<Option<RelativeMotion>, EigenFailure> {
        let centres = OVERSAMPLING * CENTRE_WAVES / 2;
        let pilot = OVERSAMPLING * WAVES[0];
        let external = self.external(centres, pilot);
        let interaction = self.interaction(pilot);
        // The mean field starts from two particles at one place.
        let at_contact: Vec<f64> = external.chunks_exact(pilot).map(|row| row[pilot / 2]).collect();
        let mut centre =
            self.eigenfunctions((1..=CENTRE_WAVES).collect(), &at_contact, CENTRE_FUNCTIONS)?;
        for _ in 0..ROUNDS {
            let (share, mean) = (PI / centres as f64, centre.values(centres));
            let mut field = interaction.clone();
            for (i, row) in external.chunks_exact(pilot).enumerate() {
                let weight = share * mean[(i, 0)].powi(2);
                field.iter_mut().zip(row).for_each(|(f, v)| *f += weight * v);
            }
            let distance = self.eigenfunctions(self.distance_waves(WAVES[0]), &field, 1)?;
            let (share, mean) = (PI / pilot as f64, distance.values(pilot));
            let of = |row: &[f64]| -> f64 {
                row.iter().enumerate().map(|(j, v)| share * mean[(j, 0)].powi(2) * v).sum()
            };
            let other: Vec<f64> = external.chunks_exact(pilot).map(of).collect();
            centre = self.eigenfunctions((1..=CENTRE_WAVES).collect(), &other, CENTRE_FUNCTIONS)?;
        }
        let tail = |f: &Functions| {
            let c = &f.coefficients;
            let size = |k: usize| c[(k, 0)].abs();
            let n = c.nrows();
            let largest = (0..n).map(size).fold(0.0, f64::max);
            (n - n / 8..n).map(size).fold(0.0, f64::max) / largest
        };
        if tail(&centre) > ROUGH {
            return Ok(None);
        }
        // The same field, on finer grids.
        let mean = centre.values(centres);
        let density: Vec<f64> =
            (0..centres).map(|i| PI / centres as f64 * mean[(i, 0)].powi(2)).collect();
        for most in WAVES {
            let cells = OVERSAMPLING * most;
            let external = self.external(centres, cells);
            let interaction = self.interaction(cells);
            let mut field = interaction.clone();
            for (row, weight) in external.chunks_exact(cells).zip(&density) {
                field.iter_mut().zip(row).for_each(|(f, v)| *f += weight * v);
            }
            let waves = self.distance_waves(most);
            let distance = self.eigenfunctions(waves, &field, DISTANCE_FUNCTIONS)?;
            // Where the interaction has a kink no series converges fast: the last is the best.
            let last = !self.converged && most == WAVES[WAVES.len() - 1];
            if tail(&distance) < if last { ROUGH } else { CONVERGED } {
                return self.interacting(&centre, &distance, &external, &interaction).map(Some);
            }
        }
        Ok(None)
    }

    /// Configuration interaction in products of the functions of either coordinate.
    fn interacting(
        &self,
        centre: &Functions,
        distance: &Functions,
        external: &[f64],
        interaction: &[f64],
    ) -> Result<RelativeMotion, EigenFailure> {
        let cells = interaction.len();
        let centres = external.len() / cells;
        let (u, v) = (centre.values(centres), distance.values(cells));
        let (m, n) = (u.ncols(), v.ncols());
        let (share_u, share_v) = (PI / centres as f64, PI / cells as f64);
        let (tu, tv) = (centre.squares(), distance.squares());
        let mut matrix = Mat::<f64>::zeros(m * n, m * n);
        let mut potential = vec![0.0; cells];
        for a in 0..m {
            for b in 0..=a {
                // The potential of the distance between two functions of the centre of mass.
                let delta = f64::from(u8::from(a == b));
                potential.iter_mut().zip(interaction).for_each(|(p, w)| *p = delta * w);
                for (i, row) in external.chunks_exact(cells).enumerate() {
                    let weight = share_u * u[(i, a)] * u[(i, b)];
                    potential.iter_mut().zip(row).for_each(|(p, v)| *p += weight * v);
                }
                let scaled = Mat::from_fn(cells, n, |j, c| share_v * potential[j] * v[(j, c)]);
                let block = mul(v.transpose(), scaled.as_ref());
                for c in 0..n {
                    for d in 0..n {
                        let unit = f64::from(u8::from(c == d));
                        let kinetic = self.kinetic() * (tu[(a, b)] * unit + delta * tv[(c, d)]);
                        let element = kinetic + 0.5 * (block[(c, d)] + block[(d, c)]);
                        matrix[(a * n + c, b * n + d)] = element;
                        matrix[(b * n + d, a * n + c)] = element;
                    }
                }
            }
        }
        let (_, vectors) = symmetric_eigen(matrix.as_ref())?;
        let state = Mat::from_fn(m, n, |a, c| vectors[(a * n + c, 0)]);
        // Natural functions: the singular vectors of the coefficients.
        let (squares, left) = symmetric_eigen(mul(state.as_ref(), state.transpose()).as_ref())?;
        let kept: Vec<usize> = (0..m)
            .rev()
            .take(MOST_PRODUCTS)
            .filter(|&k| squares[k].max(0.0).sqrt() > LEAST_WEIGHT)
            .collect();
        let columns = Mat::from_fn(m, kept.len(), |a, k| left[(a, kept[k])]);
        let mut right = mul(state.transpose(), columns.as_ref());
        let mut weights = Vec::new();
        for k in 0..kept.len() {
            let norm = (0..n).map(|c| right[(c, k)].powi(2)).sum::<f64>().sqrt();
            (0..n).for_each(|c| right[(c, k)] /= norm);
            weights.push(norm);
        }
        let norm = weights.iter().map(|s| s * s).sum::<f64>().sqrt();
        weights.iter_mut().for_each(|s| *s /= norm);
        let (centre, distance) = (centre.combined(&columns), distance.combined(&right));
        Ok(RelativeMotion::new(self.sector, &centre, &distance, weights))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Weyl, WeylSettings};
    use super::super::BaseSettings;
    use crate::estimate::health::density_drift;
    use crate::system::{External, Geometry, Hamiltonian, Interaction, Sector, System};
    use crate::wavefunction::Wavefunction;
    use crate::wavefunction::testing::samples;

    /// Local energies of the base of a system on the line.
    fn local_energies(
        external: External,
        interaction: Interaction,
        sector: Sector,
    ) -> (Vec<f64>, f64) {
        let hamiltonian = Hamiltonian { title: String::new(), external, interaction };
        let system = System { hamiltonian: &hamiltonian, geometry: &Geometry::Line };
        let settings = WeylSettings { base: BaseSettings::RelativeMotion, ..Default::default() };
        let psi = Weyl::new(&settings, sector, system).unwrap();
        let drift = density_drift(&psi, 1);
        let mut evaluator = psi.evaluator();
        let mut gradient = [0.0; 2];
        let energies = samples(&psi, 3, 200)
            .iter()
            .map(|x| {
                let potential = hamiltonian.potential(&Geometry::Line, x);
                evaluator.kinetic_energy(x, &mut gradient) + potential
            })
            .collect();
        (energies, drift)
    }

    const PAIR: Sector = Sector::new(1, 1);
    const EQUAL: Sector = Sector::new(2, 0);

    #[test]
    fn pairs_in_a_harmonic_trap_are_exact_however_they_interact() {
        use Interaction::*;
        let harmonic = |frequency| External::Harmonic { frequency };
        let soft = |strength, softening| SoftCoulomb { strength, softening };
        let tent = || Formula("50*((0.3-abs(d))+abs(0.3-abs(d)))".parse().unwrap());
        // Independent values: exact diagonalisation, closed forms for harmonium.
        for (frequency, interaction, sector, exact, within) in [
            // The trap of g = a = 1, a hundred times as wide: lengths by 10, energies by 1/100.
            (1e-2, soft(0.1, 10.0), PAIR, 0.017_740_396_276, 1e-10),
            (1.0, soft(20.0, 0.1), PAIR, 10.152_54, 1e-5),
            (1.0, soft(100.0, 0.1), EQUAL, 27.018_80, 1e-5),
            (1.0, Gaussian { strength: -50.0, width: 0.1 }, PAIR, -17.190_923, 1e-6),
            (1.0, Gaussian { strength: 100.0, width: 0.1 }, PAIR, 2.039_585, 1e-6),
            (1.0, Harmonic { stiffness: 16.0 }, EQUAL, 0.5 + 1.5 * 33f64.sqrt(), 1e-9),
            (1.0, Dipolar { strength: 1.0, softening: 0.01 }, EQUAL, 2.576_232_240_2, 1e-6),
            (1.0, tent(), EQUAL, 2.040_523_370_0, 5e-6),
            (1.0, tent(), PAIR, 1.938_433, 5e-6),
        ] {
            let (found, drift) = local_energies(harmonic(frequency), interaction.clone(), sector);
            assert!(drift < 1e-6, "{interaction:?}: {drift}");
            for e in found {
                assert!((e - exact).abs() < within, "{interaction:?}: {e} {exact}");
            }
        }
    }

    #[test]
    fn other_traps_leave_a_small_variance() {
        let quartic = External::Formula("x^4/4".parse().unwrap());
        let interaction = Interaction::SoftCoulomb { strength: 10.0, softening: 0.1 };
        let (found, drift) = local_energies(quartic, interaction, PAIR);
        assert!(drift < 1e-6, "{drift}");
        let mean = found.iter().sum::<f64>() / found.len() as f64;
        let square = found.iter().map(|e| (e - mean).powi(2)).sum::<f64>();
        let variance = square / found.len() as f64;
        assert!(variance < 1e-3 * mean * mean, "{mean} {variance}");
    }
}
