//! Orders that go over into each other by symmetries of the gas share one function.
//!
//! The ground state has no node on the fundamental domain, so that it is even under everything that commutes with the
//! Hamiltonian: reflection, exchange of components of which there are equal numbers, rotation of a ring.

use super::orders::{exchanged, orders};
use super::{Gas, Space};
use crate::system::External;

/// Where the function of an order is found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Link {
    /// Which of the functions.
    pub(crate) cell: usize,
    /// Its gap `i` is gap `map[i]` of the order.
    pub(crate) map: Vec<usize>,
}

/// The orders of a gas by their functions.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    /// All orders; on a ring all that do not differ by a rotation.
    pub(crate) all: Vec<Vec<u8>>,
    pub(crate) links: Vec<Link>,
    /// The order that each function belongs to as it stands.
    pub(crate) cells: Vec<Vec<u8>>,
    /// Number of orders that share it.
    pub(crate) shared: Vec<f64>,
    ring: bool,
    even: bool,
    permutations: Vec<Vec<u8>>,
    gaps: usize,
}

impl Orders {
    pub(crate) fn new(gas: &Gas) -> Self {
        let n = gas.particles();
        let (ring, gaps) = match gas.space {
            Space::Trap { .. } => (false, n - 1),
            Space::Ring { .. } => (true, n),
            Space::Walls { .. } => (false, n + 1),
        };
        let mut found = Orders {
            all: Vec::new(),
            links: Vec::new(),
            cells: Vec::new(),
            shared: Vec::new(),
            ring,
            even: even(&gas.space),
            permutations: permutations(&gas.counts),
            gaps,
        };
        for order in orders(&gas.counts) {
            let turned = (0..n).map(|r| rotated(&order, r)).min();
            if ring && turned.is_some_and(|least| least < order) {
                continue;
            }
            let (least, map) = found.least(&order);
            let cell = found.cells.iter().position(|c| *c == least).unwrap_or_else(|| {
                found.cells.push(least);
                found.shared.push(0.0);
                found.cells.len() - 1
            });
            found.shared[cell] += 1.0;
            found.all.push(order);
            found.links.push(Link { cell, map });
        }
        found
    }

    /// Which function is that of any order, rotated or not.
    pub(crate) fn link(&self, order: &[u8]) -> Option<Link> {
        let (least, map) = self.least(order);
        let cell = self.cells.iter().position(|c| *c == least)?;
        Some(Link { cell, map })
    }

    /// The maps of the gaps of all symmetries that leave an order what it is; its function is even under each.
    pub(crate) fn stabiliser(&self, order: &[u8]) -> Vec<Vec<usize>> {
        let mut maps: Vec<Vec<usize>> = Vec::new();
        for (other, map) in self.images(order) {
            if other == order && !maps.contains(&map) {
                maps.push(map);
            }
        }
        maps
    }

    /// The first of all equivalent orders, and the map of the gaps.
    fn least(&self, order: &[u8]) -> (Vec<u8>, Vec<usize>) {
        let mut best: Option<(Vec<u8>, Vec<usize>)> = None;
        for (other, map) in self.images(order) {
            if best.as_ref().is_none_or(|(least, _)| other < *least) {
                best = Some((other, map));
            }
        }
        best.unwrap_or_else(|| (order.to_vec(), (0..self.gaps).collect()))
    }

    /// All equivalent orders, with the maps of the gaps.
    fn images(&self, order: &[u8]) -> Vec<(Vec<u8>, Vec<usize>)> {
        let n = order.len();
        let mut all = Vec::new();
        for names in &self.permutations {
            let named: Vec<u8> = order.iter().map(|&c| names[usize::from(c)]).collect();
            for reflect in [false, true] {
                if reflect && !self.even {
                    continue;
                }
                for turn in 0..if self.ring { n } else { 1 } {
                    let mut other = named.clone();
                    let mut map: Vec<usize> = (0..self.gaps).collect();
                    if reflect {
                        other.reverse();
                        map.reverse();
                        if self.ring {
                            // The gap that closes the ring stays the last.
                            map.rotate_left(1);
                        }
                    }
                    other.rotate_left(turn);
                    if self.ring {
                        map.rotate_left(turn);
                    }
                    all.push((other, map));
                }
            }
        }
        all
    }

    /// The particles on either side of a gap of an order; none at a wall.
    pub(crate) fn neighbours(&self, gap: usize, particles: usize) -> Option<(usize, usize)> {
        if self.ring {
            return Some((gap, (gap + 1) % particles));
        }
        let left = if self.gaps < particles { Some(gap) } else { gap.checked_sub(1) };
        left.filter(|l| l + 1 < particles).map(|l| (l, l + 1))
    }

    /// Whether a function of this order vanishes at a gap: a wall, or equal components.
    pub(crate) fn vanishes(&self, order: &[u8], gap: usize) -> bool {
        self.neighbours(gap, order.len()).is_none_or(|(a, b)| order[a] == order[b])
    }

    /// The order beyond a gap.
    pub(crate) fn beyond(&self, order: &[u8], gap: usize) -> Option<Vec<u8>> {
        let (a, _) = self.neighbours(gap, order.len())?;
        Some(exchanged(order, a))
    }

    /// Number of gaps of an order.
    pub(crate) fn gaps(&self) -> usize {
        self.gaps
    }
}

/// An order that begins with another particle.
pub(crate) fn rotated(order: &[u8], by: usize) -> Vec<u8> {
    let mut other = order.to_vec();
    other.rotate_left(by);
    other
}

/// Whether the external potential is even.
fn even(space: &Space) -> bool {
    match space {
        Space::Trap { .. } | Space::Ring { .. } => true,
        Space::Walls { external: External::Free, .. } => true,
        Space::Walls { half_width, external } => (1..200).all(|j| {
            let x = half_width * f64::from(j) / 200.0;
            let (right, left) = (external.value(x), external.value(-x));
            right == left || (right - left).abs() <= 1e-13 * right.abs().max(left.abs())
        }),
    }
}

/// All ways to rename components of which there are equal numbers; no more than a few hundred.
fn permutations(counts: &[usize]) -> Vec<Vec<u8>> {
    let identity: Vec<u8> = (0..counts.len() as u8).collect();
    let mut all = vec![identity];
    // Products of exchanges until nothing new comes.
    let mut next = 0;
    while next < all.len() && all.len() < 800 {
        for a in 0..counts.len() {
            for b in a + 1..counts.len() {
                if counts[a] == counts[b] {
                    let mut other = all[next].clone();
                    other.swap(a, b);
                    if !all.contains(&other) {
                        all.push(other);
                    }
                }
            }
        }
        next += 1;
    }
    all
}
