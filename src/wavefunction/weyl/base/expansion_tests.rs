//! Sums of determinants: normalisation, derivatives, samples.

use super::*;
use crate::math::scalar::Jet;
use crate::math::statistics::Moments;
use crate::sampling::open_uniform;
use crate::wavefunction::weyl::base::BaseState;
use crate::wavefunction::weyl::base::determinants::{Determinants, DeterminantsTrace};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::f64::consts::PI;

const ORBITALS: usize = 5;
/// Points per angle of a grid that is exact for cosines below the sixteenth: the square of a state in five sines
/// goes up to the tenth.
const POINTS: usize = 8;

fn unit(rows: usize, columns: usize) -> Mat<f64> {
    Mat::from_fn(rows, columns, |i, j| f64::from(u8::from(i == j)))
}

/// Random coefficients in the five lowest sines.
fn random(up: usize, down: usize) -> Expansion {
    let mut rng = Pcg64::seed_from_u64(5);
    let count = StringSpace::new(ORBITALS, up).count * StringSpace::new(ORBITALS, down).count;
    let c = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
    Expansion::new(Sector::new(up, down), Domain::Walls, &unit(ORBITALS, ORBITALS), c)
}

const SECTORS: [(usize, usize); 7] = [(1, 0), (1, 1), (2, 1), (2, 2), (3, 1), (0, 2), (4, 0)];

fn angles(count: usize) -> Vec<f64> {
    let mut rng = Pcg64::seed_from_u64(6);
    (0..count).map(|_| rng.random_range(0.2..3.0)).collect()
}

/// Sums and products that tell where the particles of each spin are, and how they are correlated.
fn moments(sector: Sector, theta: &[f64]) -> [f64; 5] {
    let (up, down) = theta.split_at(sector.up);
    let sum = |t: &[f64], k: f64| t.iter().map(|t| (k * t).cos()).sum::<f64>();
    [
        sum(up, 1.0),
        sum(down, 1.0),
        sum(theta, 2.0),
        sum(up, 1.0) * sum(down, 1.0),
        sum(theta, 1.0).powi(2),
    ]
}

/// The mean of [`moments`] under the square of the state, preceded by its norm.
fn exact_moments(state: &Expansion) -> [f64; 6] {
    let n = state.sector.particles();
    let mut trace = ExpansionTrace::default();
    let factorial = |n: usize| (1..=n).product::<usize>() as f64;
    let weight = (PI / POINTS as f64).powi(n as i32)
        / (factorial(state.sector.up) * factorial(state.sector.down));
    let mut sums = [0.0; 6];
    for point in 0..POINTS.pow(n as u32) {
        let at = |i: usize| (point / POINTS.pow(i as u32) % POINTS) as f64 + 0.5;
        let theta: Vec<f64> = (0..n).map(|i| at(i) * PI / POINTS as f64).collect();
        let square = weight * (2.0 * state.forward(&theta, false, &mut trace).0).exp();
        sums[0] += square;
        for (sum, m) in sums[1..].iter_mut().zip(moments(state.sector, &theta)) {
            *sum += square * m;
        }
    }
    sums
}

#[test]
fn sums_are_normalised_and_sampled_exactly() {
    for (up, down) in SECTORS {
        let state = random(up, down);
        let exact = exact_moments(&state);
        assert!((exact[0] - 1.0).abs() < 1e-12, "{up} {down}: {}", exact[0]);
        let n = up + down;
        let mut rng = Pcg64::seed_from_u64(7);
        let mut theta = vec![0.0; n];
        let mut drawn = vec![Vec::new(); 5];
        for _ in 0..20_000 {
            let u: Vec<f64> = (0..n).map(|_| open_uniform(&mut rng)).collect();
            state.sample(&u, &mut theta);
            for spin in state.sector.spins() {
                assert!(theta[spin].windows(2).all(|w| w[0] < w[1]));
            }
            let values = moments(state.sector, &theta);
            drawn.iter_mut().zip(values).for_each(|(d, v)| d.push(v));
        }
        for (k, values) in drawn.iter().enumerate() {
            let m = Moments::of(values);
            let error = (m.mean() - exact[k + 1]).abs();
            assert!(error <= 4.0 * m.standard_error() + 1e-12, "moment {k} of {up} {down}");
        }
    }
}

#[test]
fn densities_are_those_of_the_state() {
    for (up, down) in SECTORS {
        let state = random(up, down);
        let exact = exact_moments(&state);
        let mut spin = 0;
        for (n, exact) in [(up, exact[1]), (down, exact[2])] {
            if n == 0 {
                continue;
            }
            let at = |q: usize| (q as f64 + 0.5) * PI / POINTS as f64;
            let weight = |q: usize| PI / POINTS as f64 * state.density(spin, at(q));
            let count: f64 = (0..POINTS).map(weight).sum();
            let mean: f64 = (0..POINTS).map(|q| weight(q) * at(q).cos()).sum();
            assert!((count - n as f64).abs() < 1e-12 && (mean - exact).abs() < 1e-12);
            spin += 1;
        }
        assert!((state.below().last().unwrap() - (up + down) as f64).abs() < 1e-12);
    }
}

#[test]
fn derivatives_agree_with_central_differences() {
    for (up, down) in SECTORS {
        let state = random(up, down);
        let n = up + down;
        let theta = angles(n);
        let jets: Vec<Jet<4>> =
            theta.iter().enumerate().map(|(i, &t)| Jet::variable(t, i)).collect();
        let mut trace = ExpansionTrace::default();
        let (log, sign) = state.forward(&jets, true, &mut trace);
        let mut slopes = vec![Jet::zero(); n];
        state.backward(&mut slopes, &mut trace);
        let h = 1e-5;
        let mut laplacian = 0.0;
        for k in 0..n {
            let moved = |h: f64| {
                let mut t = theta.clone();
                t[k] += h;
                let mut trace = ExpansionTrace::default();
                let (log, s) = state.forward(&t, true, &mut trace);
                assert_eq!(s, sign);
                let mut bar = vec![0.0; n];
                state.backward(&mut bar, &mut trace);
                (log, bar)
            };
            let (plus, minus) = (moved(h), moved(-h));
            let slope = (plus.0 - minus.0) / (2.0 * h);
            let scale = 1.0 + slope.abs();
            assert!((slope - log.gradient[k]).abs() < 1e-7 * scale.powi(3), "{up} {down}");
            assert!((slopes[k].value - log.gradient[k]).abs() < 1e-10 * scale, "{up} {down}");
            // The adjoints of jets carry the mixed second derivatives.
            for i in 0..n {
                let mixed = (plus.1[i] - minus.1[i]) / (2.0 * h);
                let scale = 1.0 + mixed.abs();
                assert!((mixed - slopes[i].gradient[k]).abs() < 1e-6 * scale.powi(2));
                if i == k {
                    laplacian += mixed;
                }
            }
        }
        assert!((laplacian - log.laplacian).abs() < 1e-5 * (1.0 + laplacian.abs()).powi(2));
    }
}

#[test]
fn a_sum_of_one_is_a_product_of_determinants() {
    let sector = Sector::new(3, 2);
    // Colexicographic addresses: the lowest orbitals come first.
    let mut c = vec![0.0; 100];
    c[0] = -0.1;
    let sum = Expansion::new(sector, Domain::Walls, &unit(ORBITALS, ORBITALS), c);
    let shells = [unit(ORBITALS, 3), unit(ORBITALS, 2)];
    let product = Determinants::new(sector, Domain::Walls, &shells);
    let theta = angles(5);
    let a = sum.forward(&theta, false, &mut ExpansionTrace::default());
    let b = product.forward(&theta, false, &mut DeterminantsTrace::default());
    assert!((a.0 - b.0).abs() < 1e-12 && a.1 == -b.1);
    let uniforms = [0.3, 0.9, 0.1, 0.7, 0.2];
    let (mut x, mut y) = ([0.0; 5], [0.0; 5]);
    sum.sample(&uniforms, &mut x);
    product.sample(&uniforms, &mut y);
    assert!(x.iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-10), "{x:?} {y:?}");
}

#[test]
fn minors_are_those_of_cauchy_and_binet() {
    let mut rng = Pcg64::seed_from_u64(8);
    let mut matrix = || Mat::from_fn(6, 3, |_, _| rng.random_range(-1.0..1.0));
    let (a, b) = (matrix(), matrix());
    let sum: f64 = minors(&a).iter().zip(minors(&b)).map(|(a, b)| a * b).sum();
    let whole = (a.transpose() * &b).determinant();
    assert!((sum - whole).abs() < 1e-13, "{sum} {whole}");
}

/// A state over the strings that occur is the same state: values, adjoints, density matrices and samples.
#[test]
fn strings_that_do_not_occur_can_be_left_out() {
    for (up, down) in [(4, 0), (0, 3), (2, 1), (2, 2)] {
        let sector = Sector::new(up, down);
        let m = 7;
        let all = [up, down].map(|n| StringSpace::new(m, n).all());
        // Those of few quanta, as in a trap.
        let few = |strings: &Vec<Vec<usize>>| -> Vec<Vec<usize>> {
            let quanta = |s: &Vec<usize>| s.iter().sum::<usize>();
            let lowest = strings.iter().map(quanta).min().unwrap_or(0);
            strings.iter().filter(|s| quanta(s) <= lowest + 3).cloned().collect()
        };
        let some = [few(&all[0]), few(&all[1])];
        let mut rng = Pcg64::seed_from_u64(8);
        let mut full = vec![0.0; all[0].len() * all[1].len()];
        let mut short = Vec::new();
        for u in &some[0] {
            for d in &some[1] {
                let c = rng.random_range(-1.0..1.0);
                let at = |list: &[Vec<usize>], s| list.iter().position(|o| o == s).unwrap();
                full[at(&all[0], u) * all[1].len() + at(&all[1], d)] = c;
                short.push(c);
            }
        }
        assert!(short.len() < full.len());
        let orbitals = unit(m, m);
        let whole = Expansion::new(sector, Domain::Walls, &orbitals, full);
        let part = Expansion::of_strings(sector, Domain::Walls, &orbitals, &some, short);
        for (a, b) in whole.densities.iter().flatten().zip(part.densities.iter().flatten()) {
            assert!((a - b).abs() < 1e-14);
        }
        let n = up + down;
        let mut traces = [ExpansionTrace::default(), ExpansionTrace::default()];
        let mut bars = [vec![0.0; n], vec![0.0; n]];
        let theta = angles(n);
        let found: Vec<(f64, f64)> = [&whole, &part]
            .iter()
            .zip(traces.iter_mut().zip(&mut bars))
            .map(|(state, (trace, bar))| {
                let value = state.forward(&theta, true, trace);
                state.backward(bar, trace);
                value
            })
            .collect();
        assert!((found[0].0 - found[1].0).abs() < 1e-12 && found[0].1 == found[1].1);
        for (a, b) in bars[0].iter().zip(&bars[1]) {
            assert!((a - b).abs() < 1e-10 * (1.0 + a.abs()));
        }
        for _ in 0..20 {
            let u: Vec<f64> = (0..n).map(|_| open_uniform(&mut rng)).collect();
            let mut drawn = [vec![0.0; n], vec![0.0; n]];
            whole.sample(&u, &mut drawn[0]);
            part.sample(&u, &mut drawn[1]);
            for (a, b) in drawn[0].iter().zip(&drawn[1]) {
                assert!((a - b).abs() < 1e-9, "({up}, {down}): {a} {b}");
            }
        }
    }
}
