//! Ground-state energies of contact interactions in closed form, up to the roots of equations.
//!
//! - Two particles in a harmonic trap: T. Busch, B.-G. Englert, K. Rzążewski, M. Wilkens, "Two cold atoms in a harmonic trap",
//!   Found. Phys. 28, 549 (1998): `g = -2 sqrt(2) Γ(3/4 - E/2) / Γ(1/4 - E/2)`, `E` of the relative motion.
//! - Two components on a ring: the equations of H. Bethe, as M. Gaudin (Phys. Lett. A 24, 55 (1967)) and C. N. Yang (Phys. Rev.
//!   Lett. 19, 1312 (1967)) nested them; odd numbers of both components.
//! - Between hard walls: the same with reflection at the walls (F. Woynarovich, Phys. Lett. A 108, 401 (1985)).
//! - Infinite repulsion: as many fermions of one kind.

use super::closed_forms::ClosedForm;
use crate::contact::{Gas, Space};
use crate::math::gamma::ln_gamma;
use crate::system::{External, Interaction};
use std::f64::consts::{LN_2, PI};

/// The energy of the ground state, where one of these gives it.
pub(super) fn ground_state(gas: &Gas) -> Option<ClosedForm> {
    if gas.rest != Interaction::None {
        return None;
    }
    let n = gas.particles();
    let g = gas.strength;
    match &gas.space {
        Space::Trap { frequency } => {
            let unit = frequency.sqrt();
            if g.is_infinite() {
                let energy = 0.5 * frequency * (n * n) as f64;
                return Some(ClosedForm::new("impenetrable particles", energy, 0.5 * energy, 0.0));
            }
            if gas.counts != [1, 1] {
                return None;
            }
            let (relative, slope) = busch(g / unit)?;
            let (energy, interaction) = (relative + 0.5, g / unit * slope);
            // Virial theorem: 2 T = 2 V - g D.
            let external = 0.5 * (energy - 0.5 * interaction);
            let [energy, external, interaction] =
                [energy, external, interaction].map(|e| e * frequency);
            Some(ClosedForm::new("two particles in a trap (Busch)", energy, external, interaction))
        }
        Space::Ring { length } => {
            if g.is_infinite() {
                let quantum = |k: usize| k as f64 - 0.5 * (n as f64 - 1.0);
                let energy = (0..n).map(|k| 0.5 * (2.0 * PI * quantum(k) / length).powi(2)).sum();
                return Some(ClosedForm::new("impenetrable particles", energy, 0.0, 0.0));
            }
            let [a, b] = gas.counts[..] else { return None };
            if a % 2 == 0 || b % 2 == 0 {
                return None;
            }
            let energy = |g: f64| match (a, b) {
                (1, 1) => Some(two_on_a_ring(g, *length)),
                _ if g > 0.0 => rapidities(n, a.min(b), g, *length, false),
                _ => None,
            };
            with_slope("Gaudin-Yang model on a ring (Bethe)", g, energy)
        }
        Space::Walls { half_width, external: External::Free } => {
            if g.is_infinite() {
                let unit = 0.5 * (0.5 * PI / half_width).powi(2);
                let energy = (1..=n).map(|k| unit * (k * k) as f64).sum();
                return Some(ClosedForm::new("impenetrable particles", energy, 0.0, 0.0));
            }
            let [a, b] = gas.counts[..] else { return None };
            let energy =
                |g: f64| (g > 0.0).then(|| rapidities(n, a.min(b), g, 2.0 * half_width, true))?;
            with_slope("Gaudin-Yang model between walls (Bethe)", g, energy)
        }
        Space::Walls { .. } => None,
    }
}

/// A closed form whose interaction energy is `g dE/dg`, by differences of fourth order.
fn with_slope(
    source: &'static str,
    g: f64,
    energy: impl Fn(f64) -> Option<f64>,
) -> Option<ClosedForm> {
    let at = |k: f64| energy(g * (1.0 + 1e-3 * k));
    let slope = (at(-2.0)? - 8.0 * at(-1.0)? + 8.0 * at(1.0)? - at(2.0)?) / (12e-3 * g);
    Some(ClosedForm::new(source, energy(g)?, 0.0, g * slope))
}

/// `ln |1/Γ(z)|` and its sign; zero has no logarithm.
fn inverse_gamma(z: f64) -> (f64, f64) {
    if z > 0.0 {
        return (-ln_gamma(z), 1.0);
    }
    // 1/Γ(z) = sin(pi z) Γ(1 - z) / pi.
    let s = (PI * z).sin() / PI;
    (s.abs().ln() + ln_gamma(1.0 - z), s.signum())
}

/// Relative energy of two particles in a trap of frequency one, and its slope `dE/dg`.
fn busch(g: f64) -> Option<(f64, f64)> {
    // g of an energy.
    let strength = |e: f64| {
        let (upper, lower) = (inverse_gamma(0.75 - 0.5 * e), inverse_gamma(0.25 - 0.5 * e));
        -upper.1 * lower.1 * (1.5 * LN_2 + lower.0 - upper.0).exp()
    };
    // It rises from minus infinity to zero at 1/2 and on to infinity at 3/2.
    let (mut below, mut above) = if g > 0.0 { (0.5, 1.5) } else { (-2.5 - 0.25 * g * g, 0.5) };
    for _ in 0..200 {
        let middle = 0.5 * (below + above);
        if middle == below || middle == above {
            break;
        }
        if strength(middle) < g { below = middle } else { above = middle }
    }
    let e = 0.5 * (below + above);
    // Differences that stay on one side of the pole at 3/2.
    let h = 1e-4 * (1.5 - e).min((e - 0.5).abs()).max(1e-6 * (1.0 + e.abs()));
    let slope = (strength(e - 2.0 * h) - 8.0 * strength(e - h) + 8.0 * strength(e + h)
        - strength(e + 2.0 * h))
        / (12.0 * h);
    (e.is_finite() && slope > 0.0).then_some((e, slope.recip()))
}

/// Energy of one particle of each component on a ring: `cos(k d - k L/2)` with `k tan(k L/2) = g/2`, or with
/// `k` imaginary.
fn two_on_a_ring(g: f64, length: f64) -> f64 {
    let bisect = |mut low: f64, mut high: f64, f: &dyn Fn(f64) -> f64| {
        for _ in 0..200 {
            let middle = 0.5 * (low + high);
            if f(middle) < 0.0 { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    };
    if g > 0.0 {
        let k = bisect(0.0, PI / length, &|k| {
            let half = 0.5 * k * length;
            k * half.sin() - 0.5 * g * half.cos()
        });
        return k * k;
    }
    let k = bisect(0.0, 0.5 * g.abs() + 2.0 / length, &|k| k * (0.5 * k * length).tanh() + 0.5 * g);
    -k * k
}

/// Where the equations are nearly those of impenetrable particles, in units of the inverse length.
const STRONG: f64 = 1e4;

/// Energy of `n` particles, `m <= n/2` of them of the other component, from the rapidities: Newton's method, from strong
/// coupling on downwards.
fn rapidities(n: usize, m: usize, g: f64, length: f64, walls: bool) -> Option<f64> {
    let c = g * length;
    let mut at = STRONG.max(c);
    // In units of the length. Spin rapidities scale with the coupling.
    let mut u: Vec<f64> = (0..n)
        .map(|j| {
            if walls { PI * (j + 1) as f64 } else { 2.0 * PI * (j as f64 - 0.5 * (n as f64 - 1.0)) }
        })
        .collect();
    u.extend((0..m).map(|j| {
        let angle = if walls {
            0.95 * PI * (j + 1) as f64 / (2 * n + 1) as f64
        } else {
            PI * (j as f64 - 0.5 * (m as f64 - 1.0)) / n as f64
        };
        0.5 * at * angle.tan()
    }));
    loop {
        newton(&mut u, n, at, walls)?;
        if at == c {
            break;
        }
        let next = (0.8 * at).max(c);
        u[n..].iter_mut().for_each(|l| *l *= next / at);
        at = next;
    }
    let momenta = &u[..n];
    // The real roots in ascending order, no two alike: the ground state and no other solution.
    let distinct = momenta.windows(2).all(|w| w[1] - w[0] > 1e-9) && (!walls || momenta[0] > 1e-9);
    distinct.then(|| 0.5 * momenta.iter().map(|k| k * k).sum::<f64>() / (length * length))
}

/// The Bethe equations at `u`, and their Jacobian by rows.
fn equations(u: &[f64], n: usize, c: f64, walls: bool) -> (Vec<f64>, Vec<Vec<f64>>) {
    let size = u.len();
    let (k, l) = u.split_at(n);
    let m = l.len();
    let mut f = vec![0.0; size];
    let mut jacobian = vec![vec![0.0; size]; size];
    // 2 arctan(a x / c) and its slope.
    let phase =
        |x: f64, a: f64| (2.0 * (a * x / c).atan(), 2.0 * a / c / (1.0 + (a * x / c).powi(2)));
    for i in 0..n {
        let (scale, quantum) =
            if walls { (2.0, (i + 1) as f64) } else { (1.0, i as f64 - 0.5 * (n as f64 - 1.0)) };
        f[i] = scale * k[i] - 2.0 * PI * quantum;
        jacobian[i][i] = scale;
        for j in 0..m {
            let (p, d) = phase(k[i] - l[j], 2.0);
            f[i] += p;
            jacobian[i][i] += d;
            jacobian[i][n + j] -= d;
            if walls {
                let (p, d) = phase(k[i] + l[j], 2.0);
                f[i] += p;
                jacobian[i][i] += d;
                jacobian[i][n + j] += d;
            }
        }
    }
    for j in 0..m {
        let row = n + j;
        let quantum = if walls { (j + 1) as f64 } else { j as f64 - 0.5 * (m as f64 - 1.0) };
        f[row] = -2.0 * PI * quantum;
        for i in 0..n {
            let (p, d) = phase(l[j] - k[i], 2.0);
            f[row] += p;
            jacobian[row][row] += d;
            jacobian[row][i] -= d;
            if walls {
                let (p, d) = phase(l[j] + k[i], 2.0);
                f[row] += p;
                jacobian[row][row] += d;
                jacobian[row][i] += d;
            }
        }
        for other in (0..m).filter(|&other| other != j) {
            let (p, d) = phase(l[j] - l[other], 1.0);
            f[row] -= p;
            jacobian[row][row] -= d;
            jacobian[row][n + other] += d;
            if walls {
                let (p, d) = phase(l[j] + l[other], 1.0);
                f[row] -= p;
                jacobian[row][row] -= d;
                jacobian[row][n + other] -= d;
            }
        }
    }
    (f, jacobian)
}

/// Newton's method with halved steps; none where it does not converge.
fn newton(u: &mut Vec<f64>, n: usize, c: f64, walls: bool) -> Option<()> {
    let length = |f: &[f64]| f.iter().map(|f| f * f).sum::<f64>().sqrt();
    let (mut f, mut jacobian) = equations(u, n, c, walls);
    for _ in 0..80 {
        let before = length(&f);
        if before < 1e-13 * u.len() as f64 {
            return Some(());
        }
        let step = solve(jacobian, f)?;
        let mut share = 1.0;
        loop {
            let tried: Vec<f64> = u.iter().zip(&step).map(|(u, s)| u - share * s).collect();
            (f, jacobian) = equations(&tried, n, c, walls);
            if length(&f) < before || share < 1e-3 {
                *u = tried;
                break;
            }
            share *= 0.5;
        }
        // Rounding is all that is left.
        if before < 1e-10 && length(&f) >= 0.5 * before {
            return Some(());
        }
    }
    None
}

/// A linear system by elimination with pivots.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Option<Vec<f64>> {
    let n = b.len();
    for i in 0..n {
        let pivot = (i..n).max_by(|&p, &q| a[p][i].abs().total_cmp(&a[q][i].abs()))?;
        a.swap(i, pivot);
        b.swap(i, pivot);
        if a[i][i] == 0.0 || !a[i][i].is_finite() {
            return None;
        }
        for r in i + 1..n {
            let s = a[r][i] / a[i][i];
            for c in i..n {
                a[r][c] -= s * a[i][c];
            }
            b[r] -= s * b[i];
        }
    }
    for i in (0..n).rev() {
        let rest: f64 = (i + 1..n).map(|c| a[i][c] * b[c]).sum();
        b[i] = (b[i] - rest) / a[i][i];
    }
    Some(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn energy(counts: &[usize], space: Space, strength: f64) -> (f64, f64) {
        let gas = Gas { counts: counts.to_vec(), space, strength, rest: Interaction::None };
        let form = ground_state(&gas).unwrap();
        (form.energy, form.components.interaction / strength)
    }

    /// Values of a spectral solution (Busch) and of an independent solution of the Bethe equations.
    #[test]
    fn energies_are_those_of_other_solutions() {
        let trap = || Space::Trap { frequency: 1.0 };
        let ring = || Space::Ring { length: 6.0 };
        let walls = || Space::Walls { half_width: 3.0, external: External::Free };
        for (counts, space, g, e, slope) in [
            ([1, 1], trap(), -5.0, -5.730212839936861, 2.507752679797989),
            ([1, 1], trap(), -1.0, 0.4703549363116819, 0.680918656019736),
            ([1, 1], trap(), 1.0, 1.3067455412310827, 0.23094121109493204),
            ([1, 1], trap(), 50.0, 1.9684211428880638, 0.0006243888597317663),
            ([1, 1], ring(), -1.0, -0.29225509054469634, f64::NAN),
            ([1, 1], ring(), 1.0, 0.10851330502140244, 0.06887372638665508),
            ([3, 1], ring(), 1.0, 1.5026180435008636, 0.32550555643023893),
            ([1, 3], ring(), 10.0, 2.417165447457105, 0.028135300222646247),
            ([5, 5], ring(), 0.5, 12.949805144020035, 3.7761036748632884),
            ([1, 1], walls(), 50.0, 0.6763438997481404, 0.00017900616721873894),
            ([2, 1], walls(), 1.0, 1.1455279787028505, 0.24568144449556756),
            ([3, 3], walls(), 0.5, 4.646602159716559, 1.492298749259972),
        ] {
            let (found, d) = energy(&counts, space.clone(), g);
            assert!(
                (found - e).abs() < 1e-11 * (1.0 + e.abs()),
                "{counts:?} {space:?} {g}: {found} {e}"
            );
            assert!(
                slope.is_nan() || (d / slope - 1.0).abs() < 1e-8,
                "{counts:?} {g}: {d} {slope}"
            );
        }
        // A trap of another frequency: E(w, g) = w E(1, g / sqrt w).
        let (found, _) = energy(&[1, 1], Space::Trap { frequency: 4.0 }, 2.0);
        assert!((found - 4.0 * 1.3067455412310827).abs() < 1e-11);
    }

    #[test]
    fn what_repels_without_bound_is_as_one_kind() {
        let inf = f64::INFINITY;
        for (space, expected) in [
            (Space::Trap { frequency: 1.0 }, 8.0),
            (Space::Ring { length: 6.0 }, 2.741556778080377),
            (Space::Walls { half_width: 3.0, external: External::Free }, 4.112335167120565),
        ] {
            let strong = energy(&[3, 1], space.clone(), inf).0;
            assert!((strong - expected).abs() < 1e-12, "{space:?}: {strong}");
        }
        let walls = Space::Walls { half_width: 3.0, external: External::Free };
        let close = energy(&[2, 2], walls.clone(), 1e7).0;
        assert!((close - energy(&[2, 2], walls, inf).0).abs() < 1e-5);
    }
}
