//! Whether an energy can be believed: tests of the state and its samples that no optimiser can satisfy by accident.

use crate::math::statistics::median;
use crate::parallel;
use crate::sampling::{self, Purpose};
use crate::wavefunction::{Evaluator, Wavefunction};
use nalgebra::DMatrix;

/// Samples of the test of the density.
const SAMPLES: usize = 64;
/// Step of its differences, relative to the distance from the nearer end of (0, 1).
const STEP: f64 = 1e-3;
/// The same in coordinates of the base, where they take the place of uniforms, in radians.
const MOVE: f64 = 1e-4;
/// Differences that differ by more with half of the step resolve nothing.
const UNRESOLVED: f64 = 1e-2;
/// Steps and weights of a difference of the fourth order.
const FOURTH_ORDER: [(f64, f64); 4] = [(-2.0, 1.0), (-1.0, -8.0), (1.0, 8.0), (2.0, -1.0)];

/// How far the density of the samples is from `|psi|²`, beyond what differences resolve: the median of `| |psi|² |dx/du| / k - 1 |` over
/// samples `x(u)`, by differences of two steps, less twice what they differ by.
///
/// Uniforms `u` have density one, so that `k` of them, one for each order in which a spin's particles may be drawn,
/// make `|psi|²` where psi is normalised and the sampler exact. Neither the derivatives nor the log-determinant of the flow enter
/// on the side of the sampler. The conditional distributions of many particles have as many peaks, and differences are the coarser the
/// more there are; an error of the sampler is the same for every step.
pub fn density_drift(psi: &dyn Wavefunction, seed: u64) -> f64 {
    let found = parallel::map_chunks(SAMPLES, 8, |chunk, range| {
        let mut rng = sampling::stream(seed, Purpose::Health, 1, chunk);
        let mut evaluator = psi.evaluator();
        let mut u = vec![0.0; psi.uniforms()];
        let mut drifts = Vec::new();
        for _ in range {
            u.fill_with(|| sampling::open_uniform(&mut rng));
            drifts.push([1.0, 0.5].map(|share| drift(psi, evaluator.as_mut(), &mut u, share)));
        }
        drifts
    });
    let all: Vec<[f64; 2]> = found.into_iter().flatten().collect();
    if all.iter().flatten().any(|d| d.is_nan()) {
        return f64::NAN;
    }
    let mut resolved: Vec<f64> = all.iter().map(|[a, b]| (a - b).abs()).collect();
    let mut beyond: Vec<f64> =
        all.iter().map(|[a, b]| (a.abs().min(b.abs()) - 2.0 * (a - b).abs()).max(0.0)).collect();
    // Where differences resolve nothing they prove nothing.
    let resolution = median(&mut resolved);
    if resolution > UNRESOLVED { resolution } else { median(&mut beyond) }
}

/// `|psi|² |dx/du| / k - 1` at one sample, by differences of this share of the usual step.
fn drift(psi: &dyn Wavefunction, evaluator: &mut dyn Evaluator, u: &mut [f64], share: f64) -> f64 {
    let n = psi.sector().particles();
    let (mut x, mut y) = (vec![0.0; n], vec![0.0; n]);
    evaluator.sample(u, &mut x);
    let mut jacobian = DMatrix::<f64>::zeros(n, n);
    let mut shift = vec![0.0; n];
    if let Some(log_base) = evaluator.sample_moved(u, &shift, &mut y) {
        // More uniforms than coordinates: those of the base take their place.
        let h = share * MOVE;
        for j in 0..n {
            for (steps, weight) in FOURTH_ORDER {
                shift[j] = steps * h;
                evaluator.sample_moved(u, &shift, &mut y);
                for i in 0..n {
                    jacobian[(i, j)] += weight * (y[i] - x[i]) / (12.0 * h);
                }
            }
            shift[j] = 0.0;
        }
        let log = 2.0 * evaluator.log_psi(&x).log_abs - log_base;
        return log.exp() * jacobian.determinant().abs() - 1.0;
    }
    for j in 0..n {
        let (here, h) = (u[j], share * STEP * u[j].min(1.0 - u[j]));
        for (steps, weight) in FOURTH_ORDER {
            u[j] = here + steps * h;
            evaluator.sample(u, &mut y);
            for i in 0..n {
                jacobian[(i, j)] += weight * (y[i] - x[i]) / (12.0 * h);
            }
        }
        u[j] = here;
    }
    let log = 2.0 * evaluator.log_psi(&x).log_abs;
    log.exp() * jacobian.determinant().abs() / psi.orders() - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::{Evidence, estimate, judge, rayleigh_quotient};
    use crate::optimise::OptimiserSettings;
    use crate::sampling::Sampling;
    use crate::system::{External, Geometry, Hamiltonian, Interaction, Sector, System};
    use crate::train::{Schedule, Stopping, train};
    use crate::wavefunction::weyl::{Weyl, WeylSettings};

    /// The checks that fail and refuse after a short training with an inverse that is so far off in every layer.
    fn reasons(sector: Sector, inverse_error: f64) -> Vec<String> {
        let hamiltonian = Hamiltonian {
            title: String::new(),
            external: External::Nuclei { charges: vec![2.0], positions: vec![0.0], softening: 1.0 },
            interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 },
        };
        let geometry = Geometry::Box { half_width: 8.0 };
        let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
        let mut psi = Weyl::new(&WeylSettings::default(), sector, system).unwrap();
        psi.inverse_error = inverse_error;
        let schedule = Schedule {
            iterations: 2,
            samples: 256,
            final_samples: 1024,
            sampling: Sampling::QuasiRandom,
            scramblings: 4,
            refinements: 0,
            stopping: Stopping::Never,
            faults: Default::default(),
            seed: 1,
        };
        let mut optimiser = OptimiserSettings::default().build();
        train(&mut psi, system, optimiser.as_mut(), &schedule, |_| ()).unwrap();
        let found = estimate(&psi, system, &schedule, 10);
        let (left, right) = psi.interval(&geometry);
        let evidence = Evidence {
            energy: found.energy.mean(),
            standard_error: found.energy.standard_error(),
            freedom: found.energy.degrees_of_freedom(),
            variance: found.energy.variance(),
            v_score: 0.0,
            scale: Some(found.scale),
            samples: found.energy.count(),
            rejected: found.rejected,
            largest_deviation: found.largest_deviation,
            tails: found.tails,
            start: None,
            drift: None,
            fermionised: false,
            exact: None,
            quadrature: rayleigh_quotient(&psi, system),
            round_trip_error: found.round_trip_error,
            length: right - left,
            density_drift: Some(found.density_drift),
            slopes: Some(found.slopes),
        };
        let failed = judge(&evidence).into_iter().filter(|c| c.refuses && !c.passed);
        failed.map(|c| c.name).collect()
    }

    #[test]
    fn an_inverse_that_is_slightly_off_is_refused() {
        for sector in [Sector::new(1, 1), Sector::new(2, 1)] {
            assert_eq!(reasons(sector, 0.0), Vec::<String>::new());
            // Far below any error bar.
            let found = reasons(sector, 1e-6);
            println!("{found:?}");
            assert!(found.iter().any(|r| r == "round_trip"), "{found:?}");
            assert!(found.iter().any(|r| r == "density"), "{found:?}");
        }
    }

    /// Differences of many particles are coarse: that is no error of the sampler, and an error of the sampler still shows.
    #[test]
    fn many_particles_raise_no_false_alarm_and_hide_no_error() {
        let hamiltonian = Hamiltonian {
            title: String::new(),
            external: External::Harmonic { frequency: 1.0 },
            interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 },
        };
        let system = System { hamiltonian: &hamiltonian, geometry: &Geometry::Line };
        let sector = Sector::new(14, 0);
        let mut psi = Weyl::new(&WeylSettings::default(), sector, system).unwrap();
        let moved: Vec<f64> =
            psi.parameters().iter().zip(0..).map(|(p, i)| p + 0.2 * f64::from(i).sin()).collect();
        psi.set_parameters(&moved).unwrap();
        let healthy = density_drift(&psi, 3);
        assert!(healthy < 1e-6, "{healthy}");
        psi.inverse_error = 1e-4;
        let off = density_drift(&psi, 3);
        assert!(off > 1e-6, "{off}");
    }
}
