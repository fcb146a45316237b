//! Particles of both spins in the state of as many particles of one spin.
//!
//! The Hamiltonian has no spin: a function that changes its sign with the exchange of any two particles is a state of every
//! sector, the one of largest total spin. Where the repulsion is so strong that particles hardly ever meet, the states of all
//! orders along the line are degenerate but for the small energy of exchange (M. D. Girardeau, J. Math. Phys. 1, 516 (1960)), and
//! this one has the right correlations at no cost.

use super::slopes::Slopes;
use super::{Evaluator, LogPsi, Wavefunction, WavefunctionError};
use crate::exact::strings::{StringSpace, choose};
use crate::system::{Geometry, Sector};
use crate::tangent::Layout;

/// A wavefunction of one spin as one of both spins.
pub(crate) struct Polarised {
    inner: Box<dyn Wavefunction>,
    sector: Sector,
}

impl Polarised {
    /// The state of `sector` that is `inner`, of as many particles of one spin.
    pub(crate) fn of(inner: Box<dyn Wavefunction>, sector: Sector) -> Self {
        Polarised { inner, sector }
    }
}

impl Wavefunction for Polarised {
    fn sector(&self) -> Sector {
        self.sector
    }

    fn parameters(&self) -> &[f64] {
        self.inner.parameters()
    }

    fn set_parameters(&mut self, values: &[f64]) -> Result<(), WavefunctionError> {
        self.inner.set_parameters(values)
    }

    fn roughness(&self) -> Vec<Vec<(usize, f64)>> {
        self.inner.roughness()
    }

    fn refine(&mut self) {
        self.inner.refine();
    }

    fn tangent_layout(&self) -> Layout {
        self.inner.tangent_layout()
    }

    fn interval(&self, geometry: &Geometry) -> (f64, f64) {
        self.inner.interval(geometry)
    }

    fn uniforms(&self) -> usize {
        // The last one says which of the places are those of spin up.
        self.inner.uniforms() + 1
    }

    fn orders(&self) -> f64 {
        self.inner.orders() / arrangements(self.sector)
    }

    fn evaluator_for(&self, configurations: usize) -> Box<dyn Evaluator + '_> {
        let n = self.sector.particles();
        Box::new(PolarisedEvaluator {
            inner: self.inner.evaluator_for(configurations),
            uniforms: self.inner.uniforms(),
            sector: self.sector,
            places: StringSpace::new(n, self.sector.up),
            log_norm: -0.5 * arrangements(self.sector).ln(),
            order: (0..n).collect(),
            x: vec![0.0; n],
            gradient: vec![0.0; n],
            string: Vec::new(),
        })
    }
}

/// Ways to name ordered places by spins.
fn arrangements(sector: Sector) -> f64 {
    choose(sector.particles(), sector.up) as f64
}

struct PolarisedEvaluator<'a> {
    inner: Box<dyn Evaluator + 'a>,
    uniforms: usize,
    sector: Sector,
    places: StringSpace,
    log_norm: f64,
    /// Which particle is at each place, in ascending order.
    order: Vec<usize>,
    x: Vec<f64>,
    gradient: Vec<f64>,
    string: Vec<usize>,
}

impl PolarisedEvaluator<'_> {
    /// Coordinates in ascending order; returns the sign of their permutation.
    fn enter(&mut self, x: &[f64]) -> f64 {
        self.order.sort_unstable_by(|&a, &b| x[a].total_cmp(&x[b]).then(a.cmp(&b)));
        let mut sign = 1.0;
        for (k, &i) in self.order.iter().enumerate() {
            self.x[k] = x[i];
            if self.order[..k].iter().filter(|&&j| j > i).count() % 2 == 1 {
                sign = -sign;
            }
        }
        sign
    }

    fn named(&self, log: LogPsi, sign: f64) -> LogPsi {
        LogPsi { log_abs: log.log_abs + self.log_norm, sign: log.sign * sign }
    }

    /// Gives each particle its own component back.
    fn leave(&self, gradient: &mut [f64]) {
        for (&i, g) in self.order.iter().zip(&self.gradient) {
            gradient[i] = *g;
        }
    }

    /// Names the places in `self.x` by spins.
    fn name(&mut self, uniform: f64, x: &mut [f64]) {
        let count = self.places.count;
        let which = ((uniform * count as f64) as usize).min(count - 1);
        self.places.unrank(which, &mut self.string);
        let (mut up, mut down) = (0, self.sector.up);
        for (place, value) in self.x.iter().enumerate() {
            let to = if self.string.contains(&place) { &mut up } else { &mut down };
            x[*to] = *value;
            *to += 1;
        }
    }
}

impl Evaluator for PolarisedEvaluator<'_> {
    fn sample(&mut self, uniforms: &[f64], x: &mut [f64]) {
        let n = self.sector.particles();
        let rows = || uniforms.chunks_exact(self.uniforms + 1);
        // All at once: several are drawn side by side.
        let inner: Vec<f64> = rows().flat_map(|u| &u[..self.uniforms]).copied().collect();
        let names: Vec<f64> = rows().map(|u| u[self.uniforms]).collect();
        self.inner.sample(&inner, x);
        for (x, name) in x.chunks_exact_mut(n).zip(names) {
            self.x.copy_from_slice(x);
            self.name(name, x);
        }
    }

    fn log_psi(&mut self, x: &[f64]) -> LogPsi {
        let sign = self.enter(x);
        let log = self.inner.log_psi(&self.x);
        self.named(log, sign)
    }

    fn derivatives(&mut self, x: &[f64], gradient: &mut [f64]) -> (LogPsi, f64) {
        let sign = self.enter(x);
        let (log, laplacian) = self.inner.derivatives(&self.x, &mut self.gradient);
        self.leave(gradient);
        (self.named(log, sign), laplacian)
    }

    fn parameter_gradient(&mut self, x: &[f64], out: &mut [f64]) -> LogPsi {
        let sign = self.enter(x);
        let log = self.inner.parameter_gradient(&self.x, out);
        self.named(log, sign)
    }

    fn tangent(&mut self, x: &[f64], factors: &mut [f64]) -> (LogPsi, f64) {
        let sign = self.enter(x);
        let (log, kinetic) = self.inner.tangent(&self.x, factors);
        (self.named(log, sign), kinetic)
    }

    fn kinetic_parameter_gradient(
        &mut self,
        x: &[f64],
        out: &mut [f64],
        kinetic: &mut [f64],
    ) -> (LogPsi, f64) {
        let sign = self.enter(x);
        let (log, energy) = self.inner.kinetic_parameter_gradient(&self.x, out, kinetic);
        (self.named(log, sign), energy)
    }

    fn mixed_parameter_gradient(&mut self, x: &[f64], out: &mut [f64], mixed: &mut [f64]) -> f64 {
        self.enter(x);
        let parameters = out.len();
        let mut sorted = vec![0.0; mixed.len()];
        let kinetic = self.inner.mixed_parameter_gradient(&self.x, out, &mut sorted);
        for (&i, row) in self.order.iter().zip(sorted.chunks_exact(parameters.max(1))) {
            mixed[i * parameters..(i + 1) * parameters].copy_from_slice(row);
        }
        kinetic
    }

    fn round_trip_error(&mut self, x: &[f64]) -> f64 {
        self.enter(x);
        self.inner.round_trip_error(&self.x)
    }

    fn slopes(&mut self, x: &[f64]) -> Slopes {
        self.enter(x);
        self.inner.slopes(&self.x)
    }

    fn kinetic_energy(&mut self, x: &[f64], gradient: &mut [f64]) -> f64 {
        self.enter(x);
        let kinetic = self.inner.kinetic_energy(&self.x, &mut self.gradient);
        self.leave(gradient);
        kinetic
    }
}

#[cfg(test)]
mod tests {
    use crate::estimate::health::density_drift;
    use crate::system::{External, Geometry, Hamiltonian, Interaction, Sector, System};
    use crate::wavefunction::WavefunctionSettings;
    use crate::wavefunction::testing::samples;
    use crate::wavefunction::weyl::{BaseSettings, WeylSettings};

    #[test]
    fn a_state_of_equal_spins_is_one_of_both() {
        let hamiltonian = Hamiltonian {
            title: String::new(),
            external: External::Harmonic { frequency: 1.0 },
            interaction: Interaction::SoftCoulomb { strength: 5.0, softening: 0.5 },
        };
        let system = System { hamiltonian: &hamiltonian, geometry: &Geometry::Line };
        let settings = WavefunctionSettings::Weyl(WeylSettings {
            base: BaseSettings::Fermionised,
            ..Default::default()
        });
        let build = |up, down| {
            let mut psi = settings.build(Sector::new(up, down), system, 0).unwrap();
            let count = psi.parameters().len();
            let moved: Vec<f64> = (0..count).map(|k| 0.3 * (k as f64).sin()).collect();
            psi.set_parameters(&moved).unwrap();
            psi
        };
        let (equal, both) = (build(3, 0), build(2, 1));
        assert_eq!(both.sector(), Sector::new(2, 1));
        assert!(density_drift(both.as_ref(), 1) < 1e-6);
        let (mut inner, mut outer) = (equal.evaluator(), both.evaluator());
        let mut orders = [0; 3];
        for x in samples(both.as_ref(), 2, 300) {
            assert!(x[0] < x[1]);
            orders[x[..2].iter().filter(|up| **up < x[2]).count()] += 1;
            let mut sorted = x.clone();
            sorted.sort_by(f64::total_cmp);
            let (mut g, mut h) = ([0.0; 3], [0.0; 3]);
            let (log, laplacian) = outer.derivatives(&x, &mut g);
            let (reference, other) = inner.derivatives(&sorted, &mut h);
            // Three arrangements of the spins share the norm.
            assert!((log.log_abs + 0.5 * 3f64.ln() - reference.log_abs).abs() < 1e-13);
            assert_eq!(laplacian, other);
            for (x, g) in x.iter().zip(&g) {
                let place = sorted.iter().position(|s| s == x).unwrap();
                assert_eq!(*g, h[place]);
            }
            // The sign changes wherever two particles change places.
            let passed = x[..2].iter().filter(|up| **up > x[2]).count();
            let sign = if passed % 2 == 1 { -1.0 } else { 1.0 };
            assert_eq!(log.sign, sign * reference.sign);
        }
        assert!(orders.iter().all(|&count| (70..130).contains(&count)), "{orders:?}");
    }
}
