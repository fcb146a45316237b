//! Control variates: a guide times the exponential of correlation functions, `phi = psi exp(g)`.
//!
//! `E_L - G g` with the generator `G g = Δg / 2 + ∇ log psi · ∇g` has the mean of `E_L` over `|psi|²` for any `g` (R. Assaraf and M.
//! Caffarel, Phys. Rev. Lett. 83, 4682 (1999)), and is the local energy of phi but for `|∇g|² / 2`. Where it scatters less, so do the variational energy
//! and, with phi for a guide, the correction: exact samples of `|psi|²` with the weights `exp(2 g)` are those of phi.

use super::correlations::{Correlations, Values};
use super::settings::Settings;
use super::{ControlVariates, STREAMS};
use crate::local_energy::Batch;
use crate::math::linalg::solve_positive;
use crate::math::statistics::Moments;
use crate::parallel::{self, SAMPLE_CHUNK};
use crate::sampling::{Purpose, open_uniform, stream};
use crate::system::{Geometry, Sector, System};
use crate::wavefunction::slopes::Slopes;
use crate::wavefunction::untrained::{no_parameter_gradients, no_parameters};
use crate::wavefunction::{Evaluator, LogPsi, Wavefunction, WavefunctionError};
use crate::work;
use faer::Mat;

/// Particles for which they are tried unasked.
const LEAST: usize = 3;
/// Samples that the coefficients are fitted to, and others that say whether they help.
const FITTED: usize = 4096;
const JUDGED: usize = 2048;
/// Largest share of the variance that is left where functions are worth their time.
const WORTH: f64 = 0.7;
/// Least effective share of the samples with the weights of phi.
const ALIKE: f64 = 0.3;
/// Added to the diagonal of the normal equations, relative.
const DAMPING: f64 = 1e-9;
/// Steps of the fit, and the share of the variance at which it goes on.
const ITERATIONS: usize = 8;
/// Parts of a step that are tried.
const SHARES: [f64; 3] = [1.0, 0.5, 0.25];
const SETTLED: f64 = 0.95;

/// `g`, a sum of functions.
#[derive(Clone, Debug)]
pub(super) struct Dressing {
    functions: Correlations,
    coefficients: Vec<f64>,
    /// Variance of the local energy of phi, of that of psi.
    pub(super) left: f64,
}

/// A local energy and what the functions make of it.
struct Row {
    energy: f64,
    values: Values,
    generated: Vec<f64>,
}

impl Dressing {
    pub(super) fn count(&self) -> usize {
        self.coefficients.len()
    }

    /// What the settings ask for; none where it does not help, or on a ring.
    pub(super) fn choose(
        psi: &dyn Wavefunction,
        system: System,
        settings: &Settings,
    ) -> Option<Self> {
        if settings.control_variates == ControlVariates::Off
            || matches!(system.geometry, Geometry::Ring { .. })
        {
            return None;
        }
        if psi.sector().particles() < LEAST && settings.control_variates == ControlVariates::Auto {
            return None;
        }
        let functions = about(psi, settings.seed);
        let rows = rows(psi, system, settings.seed, &functions, 0, FITTED);
        let n = functions.particles();
        let coefficients = fit(&rows, functions.count(), n)?;
        let others = self::rows(psi, system, settings.seed, &functions, 1, JUDGED);
        let plain = Trial::new(&others, vec![0.0; coefficients.len()], n);
        let dressed = Trial::new(&others, coefficients.clone(), n);
        let left = dressed.variance() / plain.variance();
        let helps = left < WORTH && dressed.share() > ALIKE;
        let found = Dressing { functions, coefficients, left };
        (helps || settings.control_variates == ControlVariates::On).then_some(found)
    }

    /// `g`, its gradient and its Laplacian.
    fn at(&self, x: &[f64], values: &mut Values, gradient: &mut [f64]) -> (f64, f64) {
        self.functions.at(x, values);
        gradient.fill(0.0);
        for (c, own) in self.coefficients.iter().zip(values.gradient.chunks_exact(x.len())) {
            gradient.iter_mut().zip(own).for_each(|(g, o)| *g += c * o);
        }
        (dot(&self.coefficients, &values.value), dot(&self.coefficients, &values.laplacian))
    }

    /// Of samples that were drawn by phi, those of psi: their weights for phi, and local energies of psi with control variates.
    pub(super) fn weigh(&self, batch: &Batch) -> Vec<(f64, f64)> {
        let n = self.functions.particles();
        let done = parallel::map_chunks(batch.samples(), SAMPLE_CHUNK, |_, range| {
            let (mut values, mut slope) = (Values::default(), vec![0.0; n]);
            range
                .map(|s| {
                    let x = &batch.x[s * n..][..n];
                    let (g, _) = self.at(x, &mut values, &mut slope);
                    ((2.0 * g).exp(), batch.local_energy[s] + 0.5 * dot(&slope, &slope))
                })
                .collect::<Vec<_>>()
        });
        done.into_iter().flatten().collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Functions of the size of the state.
fn about(psi: &dyn Wavefunction, seed: u64) -> Correlations {
    let n = psi.sector().particles();
    let mut rng = stream(seed, Purpose::Analysis, STREAMS - 7, 0);
    let mut evaluator = psi.evaluator();
    let mut uniforms = vec![0.0; SAMPLE_CHUNK * psi.uniforms()];
    let mut x = vec![0.0; SAMPLE_CHUNK * n];
    let mut places = Moments::default();
    for _ in 0..SAMPLE_CHUNK {
        uniforms.fill_with(|| open_uniform(&mut rng));
        evaluator.sample(&uniforms, &mut x);
        x.iter().for_each(|&x| places.push(x));
    }
    Correlations::new(psi.sector(), places.mean(), places.variance().sqrt())
}

/// Exact samples with what a fit needs; those that make no sense are left out.
fn rows(
    psi: &dyn Wavefunction,
    system: System,
    seed: u64,
    functions: &Correlations,
    set: u64,
    count: usize,
) -> Vec<Row> {
    let n = psi.sector().particles();
    let done = parallel::map_chunks(count, SAMPLE_CHUNK, |c, range| {
        let mut rng = stream(seed, Purpose::Analysis, STREAMS - 8 - set, c);
        let mut evaluator = psi.evaluator();
        let mut uniforms = vec![0.0; range.len() * psi.uniforms()];
        uniforms.fill_with(|| open_uniform(&mut rng));
        let (mut all, mut drift) = (vec![0.0; range.len() * n], vec![0.0; n]);
        evaluator.sample(&uniforms, &mut all);
        let mut rows = Vec::new();
        for x in all.chunks_exact(n) {
            work::local_energy();
            let (_, laplacian) = evaluator.derivatives(x, &mut drift);
            let kinetic = -0.5 * (laplacian + dot(&drift, &drift));
            let energy = kinetic + system.hamiltonian.potential(system.geometry, x);
            let mut values = Values::default();
            functions.at(x, &mut values);
            let each = values.laplacian.iter().zip(values.gradient.chunks_exact(n));
            let generated: Vec<f64> = each.map(|(l, g)| 0.5 * l + dot(&drift, g)).collect();
            if energy.is_finite() && generated.iter().all(|g| g.is_finite()) {
                rows.push(Row { energy, values, generated });
            }
        }
        rows
    });
    done.into_iter().flatten().collect()
}

/// What coefficients make of samples.
struct Trial {
    coefficients: Vec<f64>,
    /// Of each sample the gradient of `g`, the local energy of phi and the weight.
    slopes: Vec<f64>,
    energies: Vec<f64>,
    weights: Vec<f64>,
}

impl Trial {
    fn new(rows: &[Row], coefficients: Vec<f64>, n: usize) -> Self {
        let mut slopes = vec![0.0; rows.len() * n];
        for (slope, row) in slopes.chunks_exact_mut(n).zip(rows) {
            for (c, g) in coefficients.iter().zip(row.values.gradient.chunks_exact(n)) {
                slope.iter_mut().zip(g).for_each(|(s, g)| *s += c * g);
            }
        }
        let energy = |(row, slope): (&Row, &[f64])| {
            row.energy - dot(&coefficients, &row.generated) - 0.5 * dot(slope, slope)
        };
        let energies = rows.iter().zip(slopes.chunks_exact(n)).map(energy).collect();
        let weight = |row: &Row| (2.0 * dot(&coefficients, &row.values.value)).exp();
        let weights = rows.iter().map(weight).collect();
        Trial { coefficients, slopes, energies, weights }
    }

    fn variance(&self) -> f64 {
        Moments::weighted(&self.energies, &self.weights).variance()
    }

    /// Effective share of the samples.
    fn share(&self) -> f64 {
        let (sum, square) = (self.weights.iter().sum::<f64>(), dot(&self.weights, &self.weights));
        sum * sum / (square * self.weights.len() as f64)
    }

    /// Coefficients with less scatter to first order in their change, by least squares; none where nothing scatters.
    fn better(&self, rows: &[Row], n: usize) -> Option<Vec<f64>> {
        let count = self.coefficients.len();
        let total: f64 = self.weights.iter().sum();
        let columns = |row: &Row, slope: &[f64]| -> Vec<f64> {
            let each = row.generated.iter().zip(row.values.gradient.chunks_exact(n));
            each.map(|(g, gradient)| g + dot(slope, gradient)).collect()
        };
        let all = || {
            let slopes = self.slopes.chunks_exact(n);
            rows.iter().zip(slopes).zip(self.weights.iter().zip(&self.energies))
        };
        let mean = dot(&self.weights, &self.energies) / total;
        let (mut means, mut scale) = (vec![0.0; count], vec![0.0; count]);
        for ((row, slope), (w, _)) in all() {
            for (k, c) in columns(row, slope).into_iter().enumerate() {
                means[k] += w * c / total;
                scale[k] += w * c * c / total;
            }
        }
        // Functions that change nothing have no coefficient.
        let scale: Vec<f64> =
            scale.iter().map(|s| if *s > 0.0 { s.sqrt().recip() } else { 0.0 }).collect();
        let mut matrix = Mat::<f64>::zeros(count, count);
        let mut right = vec![0.0; count];
        for ((row, slope), (w, e)) in all() {
            let mut each = columns(row, slope);
            each.iter_mut().zip(&means).zip(&scale).for_each(|((c, m), s)| *c = (*c - m) * s);
            for (a, p) in each.iter().enumerate() {
                let p = w * p / total;
                right[a] += p * (e - mean);
                let column = matrix.col_as_slice_mut(a);
                column.iter_mut().zip(&each).for_each(|(m, q)| *m += p * q);
            }
        }
        for k in 0..count {
            matrix[(k, k)] += DAMPING + if scale[k] > 0.0 { 0.0 } else { 1.0 };
        }
        let change = solve_positive(&matrix, &right).ok()?;
        let each = self.coefficients.iter().zip(&change).zip(&scale);
        Some(each.map(|((a, c), s)| a + c * s).collect())
    }
}

/// Coefficients with the least scatter of the local energy of phi, by the method of Gauss and Newton.
fn fit(rows: &[Row], count: usize, n: usize) -> Option<Vec<f64>> {
    let mut best = Trial::new(rows, vec![0.0; count], n);
    for _ in 0..ITERATIONS {
        let wanted = best.better(rows, n)?;
        let before = best.variance();
        let shorter = |share: f64| {
            let each = best.coefficients.iter().zip(&wanted);
            Trial::new(rows, each.map(|(a, b)| a + share * (b - a)).collect(), n)
        };
        let next = SHARES.into_iter().map(shorter);
        let Some(next) = next.into_iter().find(|t| t.share() > ALIKE && t.variance() < before)
        else {
            break;
        };
        best = next;
        if best.variance() > SETTLED * before {
            break;
        }
    }
    Some(best.coefficients)
}

/// `phi`; its samples are those of psi, with weights.
pub(super) struct Dressed<'a> {
    pub(super) psi: &'a dyn Wavefunction,
    pub(super) dressing: &'a Dressing,
}

impl Wavefunction for Dressed<'_> {
    fn sector(&self) -> Sector {
        self.psi.sector()
    }

    no_parameters!();

    fn interval(&self, geometry: &Geometry) -> (f64, f64) {
        self.psi.interval(geometry)
    }

    fn uniforms(&self) -> usize {
        self.psi.uniforms()
    }

    fn evaluator_for(&self, configurations: usize) -> Box<dyn Evaluator + '_> {
        Box::new(Product {
            psi: self.psi.evaluator_for(configurations),
            dressing: self.dressing,
            values: Values::default(),
            slope: vec![0.0; self.psi.sector().particles()],
        })
    }
}

struct Product<'a> {
    psi: Box<dyn Evaluator + 'a>,
    dressing: &'a Dressing,
    values: Values,
    slope: Vec<f64>,
}

impl Evaluator for Product<'_> {
    fn sample(&mut self, uniforms: &[f64], x: &mut [f64]) {
        self.psi.sample(uniforms, x);
    }

    fn log_psi(&mut self, x: &[f64]) -> LogPsi {
        let log = self.psi.log_psi(x);
        let (g, _) = self.dressing.at(x, &mut self.values, &mut self.slope);
        LogPsi { log_abs: log.log_abs + g, ..log }
    }

    fn derivatives(&mut self, x: &[f64], gradient: &mut [f64]) -> (LogPsi, f64) {
        let (log, laplacian) = self.psi.derivatives(x, gradient);
        let (g, change) = self.dressing.at(x, &mut self.values, &mut self.slope);
        gradient.iter_mut().zip(&self.slope).for_each(|(v, s)| *v += s);
        (LogPsi { log_abs: log.log_abs + g, ..log }, laplacian + change)
    }

    no_parameter_gradients!();

    fn round_trip_error(&mut self, x: &[f64]) -> f64 {
        self.psi.round_trip_error(x)
    }

    fn slopes(&mut self, x: &[f64]) -> Slopes {
        self.psi.slopes(x)
    }
}
