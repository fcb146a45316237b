//! Blocks, sweeps and measurements against dense matrices in the basis of occupied sites.

use super::block::{Block, Charge, Crossing, Part, Space, parts};
use super::chain::matched;
use super::local::Local;
use super::mpo::Operator;
use super::sweep::{Care, Chain};
use crate::exact::Noise;
use crate::math::linalg::symmetric_eigen;
use faer::Mat;

/// Couplings without any symmetry, and sites of the `spins` in turn.
fn operator(points: usize, spins: &[usize]) -> Operator {
    let mut noise = Noise::default();
    let half = Mat::from_fn(points, points, |_, _| noise.next());
    let kinetic = &half + half.transpose();
    let v: Vec<f64> = (0..points).map(|_| noise.next()).collect();
    let half = Mat::from_fn(points, points, |_, _| noise.next());
    let w = &half + half.transpose();
    Operator::new(kinetic.as_ref(), &v, |i, j| w[(i, j)], spins, 1e-14)
}

/// The same couplings as matrices between sites: those of the compressed operator are compared with them.
fn couplings(points: usize, spins: &[usize]) -> (Mat<f64>, Mat<f64>) {
    let mut noise = Noise::default();
    let half = Mat::from_fn(points, points, |_, _| noise.next());
    let kinetic = &half + half.transpose();
    let v: Vec<f64> = (0..points).map(|_| noise.next()).collect();
    let half = Mat::from_fn(points, points, |_, _| noise.next());
    let w = &half + half.transpose();
    let sites: Vec<(usize, usize)> =
        (0..points).flat_map(|p| spins.iter().map(move |s| (p, *s))).collect();
    let n = sites.len();
    let one = Mat::from_fn(n, n, |a, b| {
        let ((p, s), (q, r)) = (sites[a], sites[b]);
        let diagonal = if a == b { v[p] } else { 0.0 };
        if s == r { kinetic[(p, q)] + diagonal } else { 0.0 }
    });
    let two = Mat::from_fn(n, n, |a, b| if a == b { 0.0 } else { w[(sites[a].0, sites[b].0)] });
    (one, two)
}

/// `c+_a c_b` on a set of filled sites, with its sign: the operators of lower sites stand further left.
fn moved(set: u32, a: usize, b: usize) -> Option<(u32, f64)> {
    let below = |set: u32, k: usize| (set & ((1 << k) - 1)).count_ones();
    if set >> b & 1 == 0 {
        return None;
    }
    let without = set & !(1 << b);
    if without >> a & 1 == 1 {
        return None;
    }
    let sign = if (below(set, b) + below(without, a)) % 2 == 0 { 1.0 } else { -1.0 };
    Some((without | 1 << a, sign))
}

/// The Hamiltonian between sets of filled sites.
fn dense(one: &Mat<f64>, two: &Mat<f64>, sets: &[u32]) -> Mat<f64> {
    let n = one.nrows();
    let mut h = Mat::zeros(sets.len(), sets.len());
    for (j, &set) in sets.iter().enumerate() {
        for a in 0..n {
            for b in 0..n {
                if let Some((to, sign)) = moved(set, a, b)
                    && let Some(i) = sets.iter().position(|s| *s == to)
                {
                    h[(i, j)] += sign * one[(a, b)];
                }
                if a < b && set >> a & 1 == 1 && set >> b & 1 == 1 {
                    h[(j, j)] += two[(a, b)];
                }
            }
        }
    }
    h
}

/// A block that keeps all states, and which sites they fill.
struct Whole {
    block: Block,
    labels: Vec<Vec<u32>>,
}

impl Whole {
    fn empty() -> Self {
        Whole { block: Block::empty(), labels: vec![vec![0]] }
    }

    fn labels_with(&self, parts: &[Part], site: usize) -> Vec<Vec<u32>> {
        let of = |p: &Part| {
            (0..2)
                .filter_map(|f| p.from[f].map(|from| (f, from)))
                .flat_map(|(f, from)| self.labels[from].iter().map(move |l| l | (f as u32) << site))
                .collect()
        };
        parts.iter().map(of).collect()
    }

    fn with(&self, operator: &Operator, site: usize, rightwards: bool, most: Charge) -> Self {
        let parts = parts(&self.block.space, operator.sites[site].spin, most);
        let labels = self.labels_with(&parts, site);
        let crossing = Crossing::new(operator, site, rightwards);
        Whole { block: self.block.enlarged(&parts, &crossing), labels }
    }
}

fn largest_difference(a: &Mat<f64>, b: &Mat<f64>) -> f64 {
    (a - b).norm_max()
}

/// Blocks grown from the left and from the right, and the two put together at every cut, are the Hamiltonian,
/// element by element, with all signs.
#[test]
fn blocks_are_the_hamiltonian() {
    for (points, spins, total) in [
        (6, vec![0], [3, 0]),
        (5, vec![1], [0, 2]),
        (3, vec![0, 1], [2, 1]),
        (3, vec![0, 1], [1, 2]),
    ] {
        let operator = operator(points, &spins);
        let (one, two) = couplings(points, &spins);
        let sites = operator.sites.len();
        let mut left = vec![Whole::empty()];
        let mut right = vec![Whole::empty()];
        for k in 0..sites {
            left.push(left[k].with(&operator, k, true, total));
            right.push(right[k].with(&operator, sites - 1 - k, false, total));
        }
        for end in [&left[sites], &right[sites]] {
            let i = end.block.space.find(total).unwrap();
            let h = dense(&one, &two, &end.labels[i]);
            assert!(largest_difference(&h, &end.block.inside[i]) < 1e-12, "{points} {spins:?}");
        }
        for k in 0..=sites - 2 {
            let (l, r) = (&left[k + 1], &right[sites - k - 1]);
            let as_parts = |s: &Space| -> Vec<Part> {
                s.sectors
                    .iter()
                    .map(|(charge, dimension)| Part {
                        charge: *charge,
                        from: [None, None],
                        split: 0,
                        dimension: *dimension,
                    })
                    .collect()
            };
            let (lp, rp) = (as_parts(&l.block.space), as_parts(&r.block.space));
            let pairs = super::chain::matching(&lp, &rp, total);
            let local = Local::new(&l.block, &r.block, pairs.clone());
            let sets: Vec<u32> = pairs
                .iter()
                .flat_map(|p| {
                    r.labels[p.right]
                        .iter()
                        .flat_map(|b| l.labels[p.left].iter().map(move |a| a | b))
                })
                .collect();
            let h = dense(&one, &two, &sets);
            let diagonal = local.diagonal();
            for j in 0..sets.len() {
                let mut unit = vec![0.0; sets.len()];
                unit[j] = 1.0;
                for (i, x) in local.apply(&unit).into_iter().enumerate() {
                    assert!((x - h[(i, j)]).abs() < 1e-12, "cut {k}: {i} {j}");
                }
                assert!((diagonal[j] - h[(j, j)]).abs() < 1e-12);
            }
            assert_eq!(matched(&lp, &rp, total).2.len(), pairs.len());
        }
    }
}

fn all_sets(operator: &Operator, total: Charge) -> Vec<u32> {
    let of_spin = |set: u32, spin: usize| {
        let filled = |(k, s): &(usize, &super::mpo::Site)| set >> k & 1 == 1 && s.spin == spin;
        operator.sites.iter().enumerate().filter(filled).count()
    };
    (0..1_u32 << operator.sites.len())
        .filter(|set| [0, 1].map(|s| of_spin(*set, s)) == total.map(usize::from))
        .collect()
}

/// The lowest states of random couplings from an arbitrary start, and everything that is measured in the lowest, are
/// those of the dense matrix.
#[test]
fn sweeps_find_the_states_of_the_dense_matrix() {
    let care =
        |noise: f64| Care { discarded: 1e-15, most: 1000, residual: 1e-9, passes: 12, noise };
    for (points, spins, total) in [
        (9, vec![0], [4, 0]),
        (5, vec![0, 1], [2, 2]),
        (5, vec![0, 1], [3, 1]),
        (8, vec![1], [0, 3]),
    ] {
        let operator = operator(points, &spins);
        let (one, two) = couplings(points, &spins);
        let sets = all_sets(&operator, total);
        let (values, vectors) = symmetric_eigen(dense(&one, &two, &sets).as_ref()).unwrap();
        let orbitals =
            total.map(|n| Mat::from_fn(points, n.into(), |i, k| f64::from(i == 2 * k % points)));
        let states = 3;
        let mut chain = Chain::new(operator, &orbitals, 1e-9, 64).unwrap();
        let mut energies = vec![];
        for sweep in 0..9 {
            let noise = if sweep < 5 { 1e-4 } else { 0.0 };
            energies = chain.sweep(&care(noise), states, &mut |_| Ok(())).unwrap().energies;
        }
        for k in 0..states {
            assert!((energies[k] - values[k]).abs() < 1e-9, "{k}: {} {}", energies[k], values[k]);
        }
        assert_eq!(chain.position, 0);
        for k in 0..states {
            let measured = chain.measure(k, true).unwrap();
            let pairs = measured.pairs.unwrap();
            let sites = chain.operator.sites.clone();
            let mut expected = [0, 1].map(|_| Mat::<f64>::zeros(points, points));
            let mut together = Mat::<f64>::zeros(points, points);
            for (j, &set) in sets.iter().enumerate() {
                for (a, s) in sites.iter().enumerate() {
                    for (b, r) in sites.iter().enumerate() {
                        if s.spin == r.spin
                            && let Some((to, sign)) = moved(set, a, b)
                        {
                            let i = sets.iter().position(|x| *x == to).unwrap();
                            expected[s.spin][(s.point, r.point)] +=
                                sign * vectors[(i, k)] * vectors[(j, k)];
                        }
                        if a != b && set >> a & 1 == 1 && set >> b & 1 == 1 {
                            together[(s.point, r.point)] += vectors[(j, k)].powi(2);
                        }
                    }
                }
            }
            for s in 0..2 {
                let difference = largest_difference(&expected[s], &measured.one_body[s]);
                assert!(difference < 2e-5, "state {k}, spin {s}: {difference:e}");
            }
            let difference = largest_difference(&together, &pairs);
            assert!(difference < 2e-5, "state {k}: {difference:e}");
            // Of a cut in the middle, from the singular values of the dense vector.
            let cut = sites.len() / 2;
            let size = 1 << cut;
            let mut amplitudes = Mat::<f64>::zeros(size, 1 << (sites.len() - cut));
            for (j, &set) in sets.iter().enumerate() {
                amplitudes[(set as usize % size, set as usize >> cut)] = vectors[(j, k)];
            }
            let rho = &amplitudes * amplitudes.transpose();
            let (weights, _) = symmetric_eigen(rho.as_ref()).unwrap();
            let entropy: f64 = weights.iter().filter(|w| **w > 1e-14).map(|w| -w * w.ln()).sum();
            assert!((entropy - measured.entropies[cut - 1]).abs() < 1e-4);
        }
    }
}

/// A determinant on the chain has the density of its orbitals; without interaction it is the answer.
#[test]
fn determinants_start_where_they_should() {
    let points = 12;
    let mut noise = Noise::default();
    let half = Mat::from_fn(points, points, |_, _| noise.next());
    let h = &half + half.transpose();
    let (levels, u) = symmetric_eigen(h.as_ref()).unwrap();
    for (spins, up, down) in [(vec![0], 5, 0), (vec![0, 1], 3, 2)] {
        let v = vec![0.0; points];
        let operator = Operator::new(h.as_ref(), &v, |_, _| 0.0, &spins, 1e-14);
        let orbitals = [up, down].map(|n| u.subcols(0, n).to_owned());
        let mut chain = Chain::new(operator, &orbitals, 1e-14, 4000).unwrap();
        // One step of the eigensolver from the exact state changes nothing.
        let care = Care { discarded: 1e-15, most: 4000, residual: 1e-4, passes: 1, noise: 0.0 };
        let swept = chain.sweep(&care, 1, &mut |_| Ok(())).unwrap();
        let exact: f64 = levels[..up].iter().chain(&levels[..down]).sum();
        assert!((swept.energies[0] - exact).abs() < 1e-8, "{} {exact}", swept.energies[0]);
        assert_eq!(swept.products, chain.sites() - 1, "the start was exact at every step");
        let measured = chain.measure(0, false).unwrap();
        for (s, n) in [up, down].into_iter().enumerate() {
            let c = u.subcols(0, n);
            let expected = c * c.transpose();
            assert!(largest_difference(&expected, &measured.one_body[s]) < 1e-6);
        }
    }
}
