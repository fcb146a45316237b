//! Norm and Rayleigh quotient of one or two particles by quadrature: a check that uses no samples.

use crate::math::quadrature::GaussLegendre;
use crate::parallel;
use crate::sampling::{self, Purpose};
use crate::system::{Geometry, System};
use crate::wavefunction::{Evaluator, RayleighQuotient, Wavefunction};

/// Gaussian nodes per cell and dimension, and those of the rule that it is compared with.
const NODES: usize = 8;
const FEWER: usize = 6;
/// Evaluations after which no cell is split any more.
const MOST_EVALUATIONS: usize = 300_000;
/// Share of the integral of `1/2 |∇ psi|² + |V| |psi|²` that the error may be.
const TOLERANCE: f64 = 1e-10;
/// Share of that integral which no comparison of rules sees: a core leaves ripple in an orbital that is a series of waves, finer
/// than any cell.
const UNSEEN: f64 = 3e-10;
/// Share of the norm which rounding may take.
const ROUNDING: f64 = 1e-14;
/// Share of the error that the cells split in a round have to make.
const SPLIT_SHARE: f64 = 0.99;
/// Samples that tell where the particles are, and the parts of equal probability that they make.
const SCOUTS: usize = 512;
const QUANTILES: usize = 8;
/// Equal parts of the interval, besides.
const PARTS: usize = 4;
/// Cells of one parallel task.
const CELLS: usize = 4;

/// A rectangle of the unit square (of the unit interval for one particle).
#[derive(Clone, Copy, Debug)]
struct Cell {
    low: [f64; 2],
    high: [f64; 2],
    /// Whether the first particle is to the right of the second.
    crossed: bool,
}

/// What a rule finds.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    norm: f64,
    energy: f64,
    /// Integral of `1/2 |∇ psi|² + |V| |psi|²`.
    size: f64,
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.norm += other.norm;
        self.energy += other.energy;
        self.size += other.size;
    }
}

/// A cell with its integrals.
#[derive(Clone, Copy, Debug)]
struct Integrated {
    cell: Cell,
    fine: Sums,
    coarse: Sums,
    /// How rough the integrand is along each dimension.
    rough: [f64; 2],
}

impl Integrated {
    /// How far the energy may be off because of this cell, times the norm.
    fn energy_error(&self, energy: f64) -> f64 {
        let of = |sums: &Sums| sums.energy - energy * sums.norm;
        (of(&self.fine) - of(&self.coarse)).abs()
    }

    fn norm_error(&self) -> f64 {
        (self.fine.norm - self.coarse.norm).abs()
    }

    /// The halves across its rougher dimension.
    fn halves(&self) -> [Cell; 2] {
        let along = usize::from(self.rough[1] > self.rough[0]);
        let (mut a, mut b) = (self.cell, self.cell);
        let middle = 0.5 * (self.cell.low[along] + self.cell.high[along]);
        (a.high[along], b.low[along]) = (middle, middle);
        [a, b]
    }
}

/// The domain as images of the unit square.
///
/// The second coordinate is the share of the way from the left particle to the right end: what happens where two
/// particles meet, which may be sharp, is at the edge of the square.
struct Domain<'a> {
    system: System<'a>,
    left: f64,
    right: f64,
    particles: usize,
    rule: Rule,
    fewer: Rule,
}

/// A rule on `[0, 1]`, with the Legendre polynomials of the two highest degrees that it tells apart.
struct Rule {
    nodes: Vec<(f64, f64)>,
    highest: [Vec<f64>; 2],
}

impl Rule {
    fn new(n: usize) -> Self {
        let nodes: Vec<(f64, f64)> = GaussLegendre::new(n).on(0.0, 1.0).collect();
        let legendre = |degree: usize| -> Vec<f64> {
            let value = |&(u, _): &(f64, f64)| {
                let x = 2.0 * u - 1.0;
                let (mut before, mut now) = (1.0, x);
                for k in 2..=degree {
                    let k = k as f64;
                    (before, now) = (now, ((2.0 * k - 1.0) * x * now - (k - 1.0) * before) / k);
                }
                now
            };
            nodes.iter().map(value).collect()
        };
        let highest = [legendre(n - 2), legendre(n - 1)];
        Rule { nodes, highest }
    }
}

impl Domain<'_> {
    /// The integrand times the volume element at a point of the square.
    fn at(&self, evaluator: &mut dyn Evaluator, crossed: bool, u: [f64; 2]) -> Sums {
        let width = self.right - self.left;
        let x = self.left + width * u[0];
        let mut gradient = [0.0; 2];
        let (points, weight) = match (self.particles, crossed) {
            (1, _) => ([x, 0.0], width),
            (_, false) => ([x, x + (self.right - x) * u[1]], width * (self.right - x)),
            (_, true) => ([x + (self.right - x) * u[1], x], width * (self.right - x)),
        };
        let (points, gradient) = (&points[..self.particles], &mut gradient[..self.particles]);
        let (log, _) = evaluator.derivatives(points, gradient);
        let norm = weight * (2.0 * log.log_abs).exp();
        // Where the density underflows the logarithm may be -infinity or not a number, and its gradient meaningless.
        if norm.is_nan() || norm <= 0.0 {
            return Sums::default();
        }
        let kinetic = 0.5 * gradient.iter().map(|g| g * g).sum::<f64>();
        let potential = self.system.hamiltonian.potential(self.system.geometry, points);
        Sums {
            norm,
            energy: norm * (kinetic + potential),
            size: norm * (kinetic + potential.abs()),
        }
    }

    /// One rule on a cell, and how rough the energy is along each dimension.
    fn apply(&self, evaluator: &mut dyn Evaluator, cell: &Cell, rule: &Rule) -> (Sums, [f64; 2]) {
        let edge = [cell.high[0] - cell.low[0], cell.high[1] - cell.low[1]];
        let n = rule.nodes.len();
        let second: &[(f64, f64)] = if self.particles == 1 { &[(0.5, 1.0)] } else { &rule.nodes };
        let mut sums = Sums::default();
        let mut values = Vec::with_capacity(n * second.len());
        for &(u, w) in &rule.nodes {
            for &(v, z) in second {
                let at = [cell.low[0] + edge[0] * u, cell.low[1] + edge[1] * v];
                let found = self.at(evaluator, cell.crossed, at);
                let weight = edge[0] * edge[1] * w * z;
                sums.add(&Sums {
                    norm: weight * found.norm,
                    energy: weight * found.energy,
                    size: weight * found.size,
                });
                values.push(found.energy * w * z);
            }
        }
        // Components along the highest polynomials of one dimension, row by row of the other.
        let mut rough = [0.0; 2];
        for highest in &rule.highest {
            for j in 0..second.len() {
                rough[0] +=
                    (0..n).map(|i| highest[i] * values[i * second.len() + j]).sum::<f64>().abs();
            }
            if second.len() > 1 {
                for row in values.chunks_exact(n) {
                    rough[1] += row.iter().zip(highest).map(|(v, p)| v * p).sum::<f64>().abs();
                }
            }
        }
        (sums, rough)
    }

    fn integrate(&self, psi: &dyn Wavefunction, cells: &[Cell]) -> Vec<Integrated> {
        let found = parallel::map_chunks(cells.len(), CELLS, |_, range| {
            let mut evaluator = psi.evaluator();
            let one = |cell: &Cell| {
                let (fine, rough) = self.apply(evaluator.as_mut(), cell, &self.rule);
                let (coarse, _) = self.apply(evaluator.as_mut(), cell, &self.fewer);
                Integrated { cell: *cell, fine, coarse, rough }
            };
            cells[range].iter().map(one).collect::<Vec<_>>()
        });
        found.into_iter().flatten().collect()
    }

    /// Edges along each dimension of the square: equal parts, and parts that are equally probable.
    fn edges(&self, scouts: &[Vec<f64>]) -> [Vec<f64>; 2] {
        let mut found = [Vec::new(), Vec::new()];
        for x in scouts {
            found[0].push((x[0] - self.left) / (self.right - self.left));
            found[1].push((x[self.particles - 1] - x[0]) / (self.right - x[0]));
        }
        found.map(|mut values| {
            values.sort_by(f64::total_cmp);
            let mut edges: Vec<f64> = (0..=PARTS).map(|k| k as f64 / PARTS as f64).collect();
            let within = |v: &f64| (0.0..=1.0).contains(v);
            edges.extend((1..QUANTILES).map(|k| values[k * SCOUTS / QUANTILES]).filter(within));
            edges.sort_by(f64::total_cmp);
            edges.dedup_by(|b, a| *b - *a < 1e-6);
            edges
        })
    }
}

/// Samples, ascending whatever their spins.
fn scouts(psi: &dyn Wavefunction) -> Vec<Vec<f64>> {
    let mut rng = sampling::stream(0, Purpose::Health, 3, 0);
    let mut evaluator = psi.evaluator();
    let mut u = vec![0.0; psi.uniforms()];
    let mut sample = |_| {
        u.fill_with(|| sampling::open_uniform(&mut rng));
        let mut x = vec![0.0; psi.sector().particles()];
        evaluator.sample(&u, &mut x);
        x.sort_by(f64::total_cmp);
        x
    };
    (0..SCOUTS).map(&mut sample).collect()
}

/// The energy of a contact interaction in a state with its cusp, in Hartree.
pub(crate) fn contact_energy(psi: &dyn Wavefunction, system: System) -> f64 {
    let (density, g) = (psi.contact_density(), system.hamiltonian.interaction.contact());
    if density == 0.0 { 0.0 } else { g * density }
}

/// The Rayleigh quotient of at most two particles; of more what the state itself knows without samples, if anything, where a grid would be the
/// slower way.
///
/// The kinetic energy is taken as `1/2 |∇ psi|²`, so that neither samples nor second derivatives enter. Cells on which two
/// Gaussian rules differ are halved across their rougher dimension; the sum of the differences that are left is the
/// estimate of the error.
pub fn rayleigh_quotient(psi: &dyn Wavefunction, system: System) -> Option<RayleighQuotient> {
    let sector = psi.sector();
    let particles = sector.particles();
    let (mut left, mut right) = psi.interval(system.geometry);
    if particles == 0 || particles > 2 {
        return psi.quotient();
    }
    let scouts = scouts(psi);
    if matches!(system.geometry, Geometry::Line) {
        // The interval is that of the base; a flow may have taken the particles further. So many samples reach three
        // standard deviations: three times as far there is nothing.
        let low = scouts.iter().fold(f64::INFINITY, |a, x| a.min(x[0]));
        let high = scouts.iter().fold(f64::NEG_INFINITY, |a, x| a.max(x[particles - 1]));
        left = left.min(low - (high - low));
        right = right.max(high + (high - low));
    }
    let (rule, fewer) = (Rule::new(NODES), Rule::new(FEWER));
    let domain = Domain { system, left, right, particles, rule, fewer };
    let [first, second] = domain.edges(&scouts);
    let second = if particles == 1 { vec![0.0, 1.0] } else { second };
    // Two equal spins are ordered.
    let sides: &[bool] = if sector.up == 1 && sector.down == 1 { &[false, true] } else { &[false] };
    let mut cells = Vec::new();
    for &crossed in sides {
        for u in first.windows(2) {
            for v in second.windows(2) {
                cells.push(Cell { low: [u[0], v[0]], high: [u[1], v[1]], crossed });
            }
        }
    }
    // What happens at a point is no integral over cells.
    let contact = contact_energy(psi, system);
    let dimensions = particles as u32;
    let cost = NODES.pow(dimensions) + FEWER.pow(dimensions);
    let mut evaluations = cost * cells.len();
    let mut done = domain.integrate(psi, &cells);
    loop {
        let mut sums = Sums::default();
        done.iter().for_each(|c| sums.add(&c.fine));
        let energy = sums.energy / sums.norm;
        let errors: Vec<f64> = done.iter().map(|c| c.energy_error(energy)).collect();
        let error: f64 = errors.iter().sum();
        let norm_error: f64 = done.iter().map(Integrated::norm_error).sum();
        let tolerance = TOLERANCE * sums.size;
        // What is not a number does not get better.
        let stop = error <= tolerance || !error.is_finite() || evaluations >= MOST_EVALUATIONS;
        if stop {
            return Some(RayleighQuotient {
                norm: sums.norm,
                energy: energy + contact,
                norm_error: norm_error + ROUNDING,
                energy_error: (error + UNSEEN * sums.size) / sums.norm,
            });
        }
        let mut order: Vec<usize> = (0..done.len()).collect();
        order.sort_by(|&a, &b| errors[b].total_cmp(&errors[a]).then(a.cmp(&b)));
        let mut made = 0.0;
        let most = (MOST_EVALUATIONS - evaluations).div_ceil(2 * cost);
        let split = |&&i: &&usize| {
            let enough = made >= SPLIT_SHARE * error;
            made += errors[i];
            !enough
        };
        let chosen: Vec<usize> = order.iter().take_while(split).take(most).copied().collect();
        let halves: Vec<Cell> = chosen.iter().flat_map(|&i| done[i].halves()).collect();
        evaluations += cost * halves.len();
        let found = domain.integrate(psi, &halves);
        // In the place of the cell and at the end, so that the order of sums is that of the splits.
        for (&i, pair) in chosen.iter().zip(found.chunks_exact(2)) {
            done[i] = pair[0];
            done.push(pair[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{External, Hamiltonian, Interaction, Sector};
    use crate::wavefunction::WavefunctionSettings;
    use crate::wavefunction::weyl::{BaseSettings, MeanFieldSettings, Orbitals, WeylSettings};

    fn quotient(
        external: External,
        interaction: Interaction,
        sector: Sector,
        geometry: Geometry,
    ) -> (RayleighQuotient, Box<dyn Wavefunction>, Hamiltonian) {
        let hamiltonian = Hamiltonian { title: String::new(), external, interaction };
        let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
        // Determinants that know no interaction.
        let base =
            BaseSettings::MeanField(MeanFieldSettings { orbitals: Orbitals::NonInteracting });
        let settings = WeylSettings { base, ..WeylSettings::default() };
        let psi = WavefunctionSettings::Weyl(settings).build(sector, system, 0).unwrap();
        (rayleigh_quotient(psi.as_ref(), system).unwrap(), psi, hamiltonian)
    }

    /// By many equal panels.
    fn brute(psi: &dyn Wavefunction, hamiltonian: &Hamiltonian, half_width: f64) -> (f64, f64) {
        let rule = GaussLegendre::new(8);
        let mut evaluator = psi.evaluator();
        let geometry = Geometry::Box { half_width };
        let (mut norm, mut energy) = (0.0, 0.0);
        let panels = 20_000;
        let edge = |k: usize| half_width * (2.0 * k as f64 / panels as f64 - 1.0);
        for k in 0..panels {
            for (x, w) in rule.on(edge(k), edge(k + 1)) {
                let mut gradient = [0.0];
                let (log, _) = evaluator.derivatives(&[x], &mut gradient);
                let p = w * (2.0 * log.log_abs).exp();
                if p > 0.0 {
                    norm += p;
                    energy += p * 0.5 * gradient[0].powi(2);
                    energy += p * hamiltonian.potential(&geometry, &[x]);
                }
            }
        }
        (norm, energy / norm)
    }

    #[test]
    fn narrow_states_in_wide_boxes_are_right_within_the_estimate() {
        for (charge, softening, half_width) in
            [(1.0, 1.0, 100.0), (1.0, 0.01, 10.0), (4.0, 0.2, 60.0)]
        {
            let external =
                External::Nuclei { charges: vec![charge], positions: vec![0.0], softening };
            let geometry = Geometry::Box { half_width };
            let sector = Sector::new(1, 0);
            let (found, psi, hamiltonian) = quotient(external, Interaction::None, sector, geometry);
            let (norm, energy) = brute(psi.as_ref(), &hamiltonian, half_width);
            println!("{found:?}, by many panels {norm} {energy}");
            assert!((found.energy - energy).abs() <= found.energy_error + 1e-11 * energy.abs());
            assert!((found.norm - norm).abs() <= found.norm_error + 1e-11);
            assert!(found.energy_error < 1e-8 * energy.abs(), "{found:?}");
        }
    }

    #[test]
    fn a_sharp_repulsion_is_resolved_where_pairs_meet() {
        let (strength, width) = (100.0, 0.02);
        for sector in [Sector::new(1, 1), Sector::new(2, 0)] {
            let (found, ..) = quotient(
                External::Harmonic { frequency: 1.0 },
                Interaction::Gaussian { strength, width },
                sector,
                Geometry::Line,
            );
            // The base of a trap knows no interaction; its distances have the density of a harmonic oscillator.
            let root = (width * width + 1.0f64).sqrt();
            let exact = match sector.up {
                1 => 1.0 + strength * width / root,
                _ => 2.0 + strength * (width / root).powi(3),
            };
            println!("{found:?} {exact}");
            assert!(
                (found.energy - exact).abs() <= found.energy_error + 1e-11,
                "{found:?} {exact}"
            );
            assert!(found.energy_error < 1e-6 && (found.norm - 1.0).abs() < 1e-9, "{found:?}");
        }
    }
}
