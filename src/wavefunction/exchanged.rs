//! The state of a sector from that of the sector with the spins exchanged.
//!
//! The Hamiltonian has no spin: `psi(u, d)` of (n, m) is `psi(d, u)` of (m, n), where `u` and `d` are the coordinates of spin up and
//! down. A family that treats the spins in a fixed order, as an autoregressive flow does, finds different states for the
//! two; under another name one of them serves for both.

use super::slopes::Slopes;
use super::{Evaluator, LogPsi, Wavefunction, WavefunctionError};
use crate::system::{Geometry, Sector};
use crate::tangent::Layout;
use crate::wavefunction::RayleighQuotient;

/// A wavefunction whose spins have changed names.
pub(crate) struct Exchanged {
    inner: Box<dyn Wavefunction>,
}

impl Exchanged {
    /// The state of the sector with the spins exchanged.
    pub(crate) fn of(inner: Box<dyn Wavefunction>) -> Self {
        Exchanged { inner }
    }
}

impl Wavefunction for Exchanged {
    fn sector(&self) -> Sector {
        self.inner.sector().exchanged()
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
        self.inner.uniforms()
    }

    fn orders(&self) -> f64 {
        self.inner.orders()
    }

    fn contact_density(&self) -> f64 {
        self.inner.contact_density()
    }

    fn quotient(&self) -> Option<RayleighQuotient> {
        self.inner.quotient()
    }

    fn order_probabilities(&self) -> Vec<(Vec<u8>, f64)> {
        let mut all = self.inner.order_probabilities();
        all.iter_mut().for_each(|(order, _)| order.iter_mut().for_each(|c| *c = 1 - *c));
        all
    }

    fn without_nodes(&self) -> Option<Box<dyn Wavefunction>> {
        Some(Box::new(Exchanged::of(self.inner.without_nodes()?)))
    }

    fn has_kinks(&self) -> bool {
        self.inner.has_kinks()
    }

    fn evaluator_for(&self, configurations: usize) -> Box<dyn Evaluator + '_> {
        let (inner, sector) = (self.inner.evaluator_for(configurations), self.sector());
        Box::new(ExchangedEvaluator { inner, sector, x: Vec::new() })
    }
}

struct ExchangedEvaluator<'a> {
    inner: Box<dyn Evaluator + 'a>,
    /// That of the outside.
    sector: Sector,
    x: Vec<f64>,
}

impl ExchangedEvaluator<'_> {
    /// Coordinates of one or more configurations in the order of the inside.
    fn enter(&mut self, x: &[f64]) {
        self.x.clear();
        self.x.extend_from_slice(x);
        for x in self.x.chunks_exact_mut(self.sector.particles()) {
            x.rotate_left(self.sector.up);
        }
    }
}

impl Evaluator for ExchangedEvaluator<'_> {
    fn sample(&mut self, uniforms: &[f64], x: &mut [f64]) {
        self.inner.sample(uniforms, x);
        for x in x.chunks_exact_mut(self.sector.particles()) {
            x.rotate_left(self.sector.down);
        }
    }

    fn sample_moved(&mut self, uniforms: &[f64], shift: &[f64], x: &mut [f64]) -> Option<f64> {
        // The inside has coordinates of its own; which of them moves is only a matter of names.
        let found = self.inner.sample_moved(uniforms, shift, x);
        x.rotate_left(self.sector.down);
        found
    }

    fn log_psi(&mut self, x: &[f64]) -> LogPsi {
        self.enter(x);
        self.inner.log_psi(&self.x)
    }

    fn derivatives(&mut self, x: &[f64], gradient: &mut [f64]) -> (LogPsi, f64) {
        self.enter(x);
        let found = self.inner.derivatives(&self.x, gradient);
        gradient.rotate_left(self.sector.down);
        found
    }

    fn parameter_gradient(&mut self, x: &[f64], out: &mut [f64]) -> LogPsi {
        self.enter(x);
        self.inner.parameter_gradient(&self.x, out)
    }

    fn tangent(&mut self, x: &[f64], factors: &mut [f64]) -> (LogPsi, f64) {
        self.enter(x);
        self.inner.tangent(&self.x, factors)
    }

    fn kinetic_energies(&mut self, x: &[f64], kinetic: &mut [f64]) {
        self.enter(x);
        self.inner.kinetic_energies(&self.x, kinetic);
    }

    fn tangents(&mut self, x: &[f64], factors: &mut [f64], kinetic: &mut [f64]) {
        self.enter(x);
        self.inner.tangents(&self.x, factors, kinetic);
    }

    fn kinetic_parameter_gradient(
        &mut self,
        x: &[f64],
        out: &mut [f64],
        kinetic: &mut [f64],
    ) -> (LogPsi, f64) {
        self.enter(x);
        self.inner.kinetic_parameter_gradient(&self.x, out, kinetic)
    }

    fn mixed_parameter_gradient(&mut self, x: &[f64], out: &mut [f64], mixed: &mut [f64]) -> f64 {
        self.enter(x);
        let parameters = out.len();
        let kinetic = self.inner.mixed_parameter_gradient(&self.x, out, mixed);
        mixed.rotate_left(self.sector.down * parameters);
        kinetic
    }

    fn kinks(&self, out: &mut [f64]) -> bool {
        let found = self.inner.kinks(out);
        out.rotate_left(self.sector.down);
        found
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
        let kinetic = self.inner.kinetic_energy(&self.x, gradient);
        gradient.rotate_left(self.sector.down);
        kinetic
    }
}

#[cfg(test)]
mod tests {
    use crate::system::{External, Geometry, Hamiltonian, Interaction, Sector, System};
    use crate::wavefunction::testing::samples;
    use crate::wavefunction::waveflow::WaveflowSettings;
    use crate::wavefunction::{Wavefunction, WavefunctionSettings};

    fn waveflow(up: usize, down: usize) -> Box<dyn Wavefunction> {
        let hamiltonian = Hamiltonian {
            title: String::new(),
            external: External::Harmonic { frequency: 1.0 },
            interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 },
        };
        let geometry = Geometry::Box { half_width: 6.0 };
        let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
        let settings =
            WaveflowSettings { knots: 6, prior_knots: 6, hidden: vec![5], ..Default::default() };
        let settings = WavefunctionSettings::Waveflow(settings);
        let mut psi = settings.build(Sector::new(up, down), system, 3).unwrap();
        let moved: Vec<f64> =
            psi.parameters().iter().enumerate().map(|(i, p)| p + 0.3 * (i as f64).sin()).collect();
        psi.set_parameters(&moved).unwrap();
        psi
    }

    #[test]
    fn more_spins_down_are_more_spins_up_under_another_name() {
        for (many, few) in [(2, 1), (3, 1), (2, 0)] {
            let (one, other) = (waveflow(many, few), waveflow(few, many));
            assert_eq!(other.sector(), Sector::new(few, many));
            let n = many + few;
            let (xs, ys) = (samples(one.as_ref(), 5, 6), samples(other.as_ref(), 5, 6));
            for (x, y) in xs.iter().zip(&ys) {
                // From the same uniforms, bit for bit.
                assert_eq!(x[..many], y[few..]);
                assert_eq!(x[many..], y[..few]);
                let (mut f, mut g) = (vec![0.0; n], vec![0.0; n]);
                assert_eq!(
                    one.evaluator().derivatives(x, &mut f),
                    other.evaluator().derivatives(y, &mut g)
                );
                assert_eq!((&f[..many], &f[many..]), (&g[few..], &g[..few]));
                let p = one.parameters().len();
                let mixed = |psi: &dyn Wavefunction, x: &[f64]| {
                    let (mut o, mut mixed) = (vec![0.0; p], vec![0.0; n * p]);
                    (psi.evaluator().mixed_parameter_gradient(x, &mut o, &mut mixed), o, mixed)
                };
                let (a, b) = (mixed(one.as_ref(), x), mixed(other.as_ref(), y));
                assert_eq!((a.0, &a.1), (b.0, &b.1));
                assert_eq!(a.2[..many * p], b.2[few * p..]);
            }
            // The gradient is that of the configuration as it is named outside.
            let (y, h) = (&ys[0], 1e-5);
            let mut gradient = vec![0.0; n];
            other.evaluator().derivatives(y, &mut gradient);
            for k in 0..n {
                let at = |h: f64| {
                    let mut z = y.clone();
                    z[k] += h;
                    other.evaluator().log_psi(&z).log_abs
                };
                let slope = (at(h) - at(-h)) / (2.0 * h);
                assert!((slope - gradient[k]).abs() < 1e-5 * slope.abs().max(1.0), "{k}");
            }
        }
    }
}
