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
use super::{Base, BaseKind, BaseLanes, BaseState, Built};
use crate::exact::gap_state::{GapPolynomials, GapState, trap_state};
use crate::math::gamma::normal;
use crate::math::piecewise::Piecewise;
use crate::math::scalar::Scalar;
use crate::math::vector::lanes::{LANES, Lanes, add_product, each, every, product, scaled, sum};
use crate::math::vector::widest;
use crate::system::{External, Geometry, Hamiltonian, Sector, System};
use crate::wavefunction::WavefunctionError;
use crate::wavefunction::journey::{Journey, ZERO};
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
    /// The functions of each gap without the power that they have in common.
    tables: Vec<Piecewise>,
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
        let tables = state.functions.iter().map(GapPolynomials::table).collect();
        let log_norm = 0.25 * (n * frequency / PI).ln() + 0.5 * n * per_angle.ln();
        let first = gram(&state.coefficients, state.functions[0].functions());
        let first = products[0].mixture(&first);
        (
            half_width,
            Gaps {
                particles,
                frequency,
                state,
                per_angle,
                log_norm,
                products,
                tables,
                first,
                spread,
            },
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

    fn lanes(&self, journey: &mut Journey, work: &mut BaseLanes) -> bool {
        journey.measure();
        let m = self.state.functions[0].functions();
        let samples = journey.samples();
        work.gaps.resize(self.particles - 1, [ZERO; 4]);
        work.orbitals.iter_mut().for_each(|o| o.resize((self.particles - 1) * m, ZERO));
        for k in 0..self.particles - 1 {
            let angles = &journey.points.value[k..k + 2];
            let gap = each(|s| (angles[1][s] - angles[0][s]) * self.per_angle);
            work.gaps[k][0] = gap;
            self.functions(k, &gap, samples, 3, work);
        }
        work.log.by.resize(journey.n, ZERO);
        work.log.clear();
        logarithm(self, m, work, journey);
        true
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
        self.samples(uniforms, angles.len(), angles);
    }

    fn samples(&self, uniforms: &[f64], n: usize, angles: &mut [f64]) {
        let m = self.state.functions[0].functions();
        let samples = angles.len() / n;
        let mut work = BaseLanes::default();
        work.gaps.resize(n - 1, [ZERO; 4]);
        work.orbitals.iter_mut().for_each(|o| o.resize((n - 1) * m, ZERO));
        let (mut pairs, mut quantiles) = (Vec::new(), QuantileWork::default());
        let mut gaps = [ZERO; 3];
        for k in 0..n - 1 {
            let uniform = |s: usize| if s < samples { uniforms[s * n + k] } else { 0.5 };
            gaps[k] = if k == 0 {
                let targets = each(|s| uniform(s) * self.first.whole());
                self.products[0].quantiles_of(&self.first, &targets, samples)
            } else {
                let mut trace = ZERO;
                densities(m, &work.sums_of_gaps[0], &mut pairs, &mut trace);
                let targets = each(|s| uniform(s) * trace[s]);
                self.products[k].quantiles(&pairs, &targets, samples, &mut quantiles)
            };
            if k + 2 < n {
                self.functions(k, &gaps[k], samples, 1, &mut work);
                given(self, k, m, &mut work);
            }
        }
        for (s, angles) in angles.chunks_exact_mut(n).enumerate() {
            let centre = normal(uniforms[s * n + n - 1]) / (2.0 * n as f64 * self.frequency).sqrt();
            // x_1 from the mean of all.
            let before = |i: usize| gaps[..i].iter().map(|g| g[s]).sum::<f64>();
            let first = centre - (0..n).map(before).sum::<f64>() / n as f64;
            for (i, angle) in angles.iter_mut().enumerate() {
                *angle = FRAC_PI_2 + (first + before(i)) / self.per_angle;
            }
        }
    }
}

impl Gaps {
    /// The functions of a gap and their derivatives, as many as `orders` in all, of eight configurations of which the first `samples`
    /// count: without the power that they have in common, which is beside the gaps.
    fn functions(
        &self,
        k: usize,
        gap: &Lanes,
        samples: usize,
        orders: usize,
        work: &mut BaseLanes,
    ) {
        let (f, table) = (&self.state.functions[k], &self.tables[k]);
        let m = f.functions();
        for s in 0..LANES {
            // Where there is nothing, as in the first.
            let from = if s < samples { s } else { 0 };
            let inside = gap[from] > 0.0 && gap[from] < f.extent();
            let g = if inside { gap[from] } else { 0.5 * f.extent() };
            // Samples are drawn without the power: it does not depend on the later gaps.
            if orders > 1 {
                let rise = f.rise(g);
                (0..3).for_each(|d| work.gaps[k][1 + d][s] = rise[d]);
            }
            if s < samples {
                table.evaluate(g, &mut work.plain[..orders]);
            }
            for (orbitals, plain) in work.orbitals.iter_mut().zip(&work.plain[..orders]) {
                let orbitals = &mut orbitals[k * m..(k + 1) * m];
                for (o, p) in orbitals.iter_mut().zip(plain) {
                    o[s] = if s < samples { *p } else { o[0] };
                }
            }
        }
    }
}

/// `sum_a c_ra f_a` over rows `r` of as many coefficients as there are functions.
#[inline(always)]
fn contract<const FUSED: bool>(rows: &[Lanes], f: &[Lanes], out: &mut Vec<Lanes>) {
    for row in rows.chunks_exact(f.len()) {
        let mut total = ZERO;
        for a in 0..f.len() {
            total = add_product::<FUSED>(&row[a], &f[a], &total);
        }
        out.push(total);
    }
}

/// The same of coefficients that all configurations share.
#[inline(always)]
fn contract_shared<const FUSED: bool>(rows: &[f64], f: &[Lanes], out: &mut Vec<Lanes>) {
    for row in rows.chunks_exact(f.len()) {
        let mut total = ZERO;
        for a in 0..f.len() {
            total = add_product::<FUSED>(&[row[a]; LANES], &f[a], &total);
        }
        out.push(total);
    }
}

widest! {
    /// Adds the logarithm of the state to that of the journey.
    fn logarithm(state: &Gaps, m: usize, work: &mut BaseLanes, journey: &mut Journey) {
        let n = journey.n;
        let BaseLanes { orbitals, gaps, sums_of_gaps: [from, to], log, .. } = work;
        // The functions with their power.
        let mut inside = [true; LANES];
        for k in 0..n - 1 {
            let [gap, rise, slope, bend] = gaps[k];
            let extent = state.state.functions[k].extent();
            inside = std::array::from_fn(|s| inside[s] && gap[s] > 0.0 && gap[s] < extent);
            for i in k * m..(k + 1) * m {
                let [f0, f1, f2] = [orbitals[0][i], orbitals[1][i], orbitals[2][i]];
                orbitals[0][i] = product(&rise, &f0);
                orbitals[1][i] = each(|s| slope[s] * f0[s] + rise[s] * f1[s]);
                orbitals[2][i] = each(|s| bend[s] * f0[s] + 2.0 * slope[s] * f1[s] + rise[s] * f2[s]);
            }
        }
        // Sums over the functions of gap after gap, with all derivatives up to the second: whose they are, and the sums.
        let (mut orders, mut next) = (vec![[0usize; 3]], Vec::new());
        from.clear();
        for k in 0..n - 1 {
            let f = |d: usize| &orbitals[d][k * m..(k + 1) * m];
            next.clear();
            to.clear();
            let rows = from.len() / orders.len();
            for (at, order) in orders.iter().enumerate() {
                for d in 0..3 - order.iter().sum::<usize>() {
                    let mut more = *order;
                    more[k] = d;
                    next.push(more);
                    if k == 0 {
                        contract_shared::<FUSED>(&state.state.coefficients, f(d), to);
                    } else {
                        contract::<FUSED>(&from[at * rows..(at + 1) * rows], f(d), to);
                    }
                }
            }
            std::mem::swap(&mut orders, &mut next);
            std::mem::swap(from, to);
        }
        let inverse = each(|s| 1.0 / from[0][s]);
        let mut slopes = [ZERO; 3];
        for (order, total) in orders.iter().zip(&*from) {
            if order.iter().sum::<usize>() == 1 {
                let k = if order[0] == 1 { 0 } else { 2 - order[1] };
                slopes[k] = product(total, &inverse);
            }
        }
        // Of gaps in angles: inner products of their gradients, in bohr².
        let square = state.per_angle * state.per_angle;
        let gram = |i: usize, j: usize| &journey.gram[i * n + j];
        for (order, total) in orders.iter().zip(&*from) {
            if order.iter().sum::<usize>() != 2 {
                continue;
            }
            let k = if order[0] > 0 { 0 } else if order[1] > 0 { 1 } else { 2 };
            let l = if order[2] > 0 { 2 } else if order[1] > 0 { 1 } else { 0 };
            let weight = if k == l { square } else { 2.0 * square };
            let between = each(|s| {
                gram(k + 1, l + 1)[s] - gram(k + 1, l)[s] - gram(k, l + 1)[s] + gram(k, l)[s]
            });
            log.bend = each(|s| {
                let bent = total[s] * inverse[s] - slopes[k][s] * slopes[l][s];
                log.bend[s] + weight * between[s] * bent
            });
        }
        for k in 0..n - 1 {
            let slope = scaled(state.per_angle, &slopes[k]);
            log.by[k + 1] = sum(&log.by[k + 1], &slope);
            log.by[k] = each(|s| log.by[k][s] - slope[s]);
        }
        // The centre of mass.
        let (mut centre, mut all) = (ZERO, ZERO);
        for i in 0..n {
            centre = each(|s| centre[s] + (journey.points.value[i][s] - FRAC_PI_2));
            for j in 0..n {
                all = sum(&all, gram(i, j));
            }
        }
        let stiffness = state.frequency * square / n as f64;
        every(&mut log.by, |by| each(|s| by[s] - stiffness * centre[s]));
        log.bend = each(|s| log.bend[s] - stiffness * all[s]);
        // Where psi is zero its logarithm has no derivatives.
        for s in 0..LANES {
            if !inside[s] {
                log.bend[s] = 0.0;
                log.by.iter_mut().for_each(|by| by[s] = 0.0);
            }
        }
        journey.add_log::<FUSED>(log);
    }
}

widest! {
    /// What the coefficients of the later gaps become where gap `k` is known; the scale does not matter, but must not underflow.
    fn given(state: &Gaps, k: usize, m: usize, work: &mut BaseLanes) {
        let BaseLanes { orbitals, sums_of_gaps: [from, to], .. } = work;
        let f = &orbitals[0][k * m..(k + 1) * m];
        to.clear();
        if k == 0 {
            contract_shared::<FUSED>(&state.state.coefficients, f, to);
        } else {
            contract::<FUSED>(from, f, to);
        }
        let mut square = ZERO;
        for row in &*to {
            square = add_product::<FUSED>(row, row, &square);
        }
        let inverse = each(|s| 1.0 / square[s].sqrt().max(f64::MIN_POSITIVE));
        every(to, |row| product(row, &inverse));
        std::mem::swap(from, to);
    }
}

widest! {
    /// `sum_r c_ar c_br` over rows `r` of `m` coefficients for the pairs `b <= a`, those of different functions twice, and the trace.
    fn densities(m: usize, rows: &[Lanes], pairs: &mut Vec<Lanes>, trace: &mut Lanes) {
        pairs.clear();
        pairs.resize(m * (m + 1) / 2, ZERO);
        for row in rows.chunks_exact(m) {
            for a in 0..m {
                let (own, twice) = (row[a], scaled(2.0, &row[a]));
                let pairs = &mut pairs[a * (a + 1) / 2..][..a + 1];
                for b in 0..a {
                    pairs[b] = add_product::<FUSED>(&twice, &row[b], &pairs[b]);
                }
                pairs[a] = add_product::<FUSED>(&own, &own, &pairs[a]);
                *trace = add_product::<FUSED>(&own, &own, trace);
            }
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
    use super::super::super::tests::check_blocks;
    use super::super::super::{Weyl, WeylSettings};
    use super::super::BaseSettings;
    use crate::estimate::health::density_drift;
    use crate::math::statistics::Moments;
    use crate::system::{External, Geometry, Hamiltonian, Interaction, Sector, System};
    use crate::wavefunction::Wavefunction;
    use crate::wavefunction::testing::samples;

    /// By tables and eight at a time as by recurrences and one by one.
    #[test]
    fn gaps_of_eight_are_those_of_one() {
        for (particles, strength, softening) in [(2, 5.0, 0.3), (3, 1.0, 1.0), (4, 10.0, 0.2)] {
            let interaction = Interaction::SoftCoulomb { strength, softening };
            let external = External::Harmonic { frequency: 0.7 };
            let hamiltonian = Hamiltonian { title: String::new(), external, interaction };
            let system = System { hamiltonian: &hamiltonian, geometry: &Geometry::Line };
            let settings = WeylSettings { base: BaseSettings::Gaps, ..Default::default() };
            let mut psi = Weyl::new(&settings, Sector::new(particles, 0), system).unwrap();
            let count = psi.parameters().len();
            assert!(count > 0);
            let moved: Vec<f64> = (0..count).map(|k| 0.3 * (1.7 * k as f64).sin()).collect();
            psi.set_parameters(&moved).unwrap();
            check_blocks(&psi);
        }
    }

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
