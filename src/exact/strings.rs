//! Addresses of occupation strings: `n` fermions of one spin in `m` orbitals.
//!
//! Strings are ranked in colexicographic order (the combinatorial number system), so the address of a
//! string with two more particles follows from partial sums without any table of excitations.

/// Binomial coefficients up to the largest that is used.
#[derive(Clone, Debug)]
pub(crate) struct Binomials {
    /// `table[k][m] = m choose k`.
    table: Vec<Vec<u64>>,
}

impl Binomials {
    pub(crate) fn new(orbitals: usize, particles: usize) -> Self {
        let mut table = vec![vec![1_u64; orbitals + 3]];
        for k in 1..=particles + 2 {
            let mut row = vec![0_u64; orbitals + 3];
            for m in 1..row.len() {
                row[m] = row[m - 1].saturating_add(table[k - 1][m - 1]);
            }
            table.push(row);
        }
        Binomials { table }
    }

    #[inline]
    pub(crate) fn choose(&self, m: usize, k: usize) -> u64 {
        self.table[k][m]
    }
}

/// `m choose k`, saturating: for predictions of cost.
pub(crate) fn choose(m: usize, k: usize) -> u64 {
    let mut c: u128 = 1;
    for i in 0..k {
        if i >= m {
            return 0;
        }
        c = c * (m - i) as u128 / (i + 1) as u128;
    }
    u64::try_from(c).unwrap_or(u64::MAX)
}

/// The order of strings of as many particles: by their highest orbital, then by the next.
pub(crate) fn colexicographic(a: &[usize], b: &[usize]) -> std::cmp::Ordering {
    a.iter().rev().cmp(b.iter().rev())
}

/// All strings of `particles` fermions in `orbitals` orbitals.
#[derive(Clone, Debug)]
pub(crate) struct StringSpace {
    pub(crate) orbitals: usize,
    pub(crate) particles: usize,
    pub(crate) count: usize,
    binomials: Binomials,
}

impl StringSpace {
    pub(crate) fn new(orbitals: usize, particles: usize) -> Self {
        StringSpace {
            orbitals,
            particles,
            count: choose(orbitals, particles) as usize,
            binomials: Binomials::new(orbitals, particles + 2),
        }
    }

    /// The string with address `rank`, ascending.
    pub(crate) fn unrank(&self, rank: usize, string: &mut Vec<usize>) {
        string.clear();
        string.resize(self.particles, 0);
        let mut rest = rank as u64;
        let mut m = self.orbitals;
        for k in (1..=self.particles).rev() {
            while self.binomials.choose(m, k) > rest {
                m -= 1;
            }
            rest -= self.binomials.choose(m, k);
            string[k - 1] = m;
        }
    }

    /// Moves to the string with the next address; false after the last one.
    pub(crate) fn advance(&self, string: &mut [usize]) -> bool {
        let n = string.len();
        for i in 0..n {
            let limit = if i + 1 < n { string[i + 1] } else { self.orbitals };
            if string[i] + 1 < limit {
                string[i] += 1;
                for (j, s) in string[..i].iter_mut().enumerate() {
                    *s = j;
                }
                return true;
            }
        }
        false
    }

    /// All strings, in the order of their addresses.
    pub(crate) fn all(&self) -> Vec<Vec<usize>> {
        let mut all = Vec::with_capacity(self.count);
        if self.count == 0 {
            return all;
        }
        let mut string = Vec::new();
        self.unrank(0, &mut string);
        loop {
            all.push(string.clone());
            if !self.advance(&mut string) {
                return all;
            }
        }
    }

    /// Address of a string.
    #[cfg(test)]
    pub(crate) fn rank(&self, string: &[usize]) -> usize {
        string.iter().enumerate().map(|(i, &o)| self.binomials.choose(o, i + 1)).sum::<u64>()
            as usize
    }
}

/// Sign of moving a particle past `p` others.
#[inline]
fn parity(p: usize) -> f64 {
    if p & 1 == 0 { 1.0 } else { -1.0 }
}

/// Addresses, in the space with one or two particles more, of a string with particles added.
pub(crate) struct Additions<'a> {
    binomials: &'a Binomials,
    /// Number of particles of the string below each orbital; `usize::MAX` where it is occupied.
    position: Vec<usize>,
    /// Sum of the contributions of the first `p` particles, unshifted.
    below: Vec<u64>,
    /// Contributions of particles `p..` moved up by one place.
    above_one: Vec<u64>,
    /// Contributions of particles `p..` moved up by two places.
    above_two: Vec<u64>,
}

impl<'a> Additions<'a> {
    pub(crate) fn new(space: &'a StringSpace) -> Self {
        Additions {
            binomials: &space.binomials,
            position: vec![0; space.orbitals],
            below: Vec::new(),
            above_one: Vec::new(),
            above_two: Vec::new(),
        }
    }

    pub(crate) fn set(&mut self, string: &[usize]) {
        let n = string.len();
        let b = self.binomials;
        let mut next = 0;
        for (o, p) in self.position.iter_mut().enumerate() {
            if next < n && string[next] == o {
                *p = usize::MAX;
                next += 1;
            } else {
                *p = next;
            }
        }
        self.below.clear();
        self.below.push(0);
        for (i, &o) in string.iter().enumerate() {
            self.below.push(self.below[i] + b.choose(o, i + 1));
        }
        for (shift, sums) in [(2, &mut self.above_one), (3, &mut self.above_two)] {
            sums.clear();
            sums.resize(n + 1, 0);
            for i in (0..n).rev() {
                sums[i] = sums[i + 1] + b.choose(string[i], i + shift);
            }
        }
    }

    /// Address and sign of the string with `r` added; `None` where `r` is occupied.
    #[inline]
    pub(crate) fn one(&self, r: usize) -> Option<(usize, f64)> {
        let p = self.position[r];
        if p == usize::MAX {
            return None;
        }
        let rank = self.below[p] + self.binomials.choose(r, p + 1) + self.above_one[p];
        Some((rank as usize, parity(p)))
    }

    /// Address and sign of the string with `r < s` added; `None` where one of them is occupied.
    #[inline]
    pub(crate) fn two(&self, r: usize, s: usize) -> Option<(usize, f64)> {
        let (p, q) = (self.position[r], self.position[s]);
        if p == usize::MAX || q == usize::MAX {
            return None;
        }
        let b = self.binomials;
        let rank = self.below[p]
            + b.choose(r, p + 1)
            + (self.above_one[p] - self.above_one[q])
            + b.choose(s, q + 2)
            + self.above_two[q];
        Some((rank as usize, parity(p + q)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_consecutive_and_additions_agree_with_ranking() {
        let (m, n) = (7, 3);
        let space = StringSpace::new(m, n);
        let larger = StringSpace::new(m, n + 2);
        let one = StringSpace::new(m, n + 1);
        let mut add = Additions::new(&space);
        let mut s = vec![];
        space.unrank(0, &mut s);
        let mut rank = 0;
        loop {
            assert_eq!(space.rank(&s), rank);
            let mut t = vec![];
            space.unrank(rank, &mut t);
            assert_eq!(s, t);
            add.set(&s);
            for r in 0..m {
                let mut with: Vec<usize> = s.clone();
                with.push(r);
                with.sort_unstable();
                match add.one(r) {
                    None => assert!(s.contains(&r)),
                    Some((a, _)) => assert_eq!(a, one.rank(&with)),
                }
                for q in r + 1..m {
                    let mut with: Vec<usize> = s.clone();
                    with.extend([r, q]);
                    with.sort_unstable();
                    match add.two(r, q) {
                        None => assert!(s.contains(&r) || s.contains(&q)),
                        Some((a, _)) => assert_eq!(a, larger.rank(&with)),
                    }
                }
            }
            rank += 1;
            if !space.advance(&mut s) {
                break;
            }
        }
        assert_eq!(rank, space.count);
    }
}
