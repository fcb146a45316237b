//! How many fermions of each spin, or of each component.

use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Numbers of spin-up and spin-down fermions, or of more components of a gas with SU(n) symmetry.
///
/// The Hamiltonian has no spin, so all numbers are conserved and particles of different components are
/// distinguishable. `down = 0` is the spin-polarised case. Configurations list the spin-up coordinates
/// first, then the spin-down ones, each sorted ascending; of more components one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sector {
    /// Number of spin-up fermions: of the first component.
    pub up: usize,
    /// Number of spin-down fermions. Of a gas of more than two components it is none: the other numbers are packed here, and what
    /// takes such a gas asks [`Sector::components`].
    pub down: usize,
}

/// Set where the numbers of more than two components are packed, `BITS` bits each, none of them zero.
const PACKED: usize = 1 << (usize::BITS - 1);
/// Bits of one number: at most 32 particles.
const BITS: u32 = 6;

/// Most components of a sector.
pub const MOST_COMPONENTS: usize = 1 + ((usize::BITS - 1) / BITS) as usize;

impl Sector {
    /// The sector of a gas with these numbers of particles; components without particles are left out, and two are spin up
    /// and spin down. None where there are more than [`MOST_COMPONENTS`] components, or more than 63 particles of one beyond
    /// the second.
    pub fn of(counts: &[usize]) -> Option<Self> {
        let counts: Vec<usize> = counts.iter().copied().filter(|&n| n > 0).collect();
        match counts[..] {
            [] => Some(Sector { up: 0, down: 0 }),
            [up] => Some(Sector { up, down: 0 }),
            [up, down] => Some(Sector { up, down }),
            [up, ref rest @ ..] => {
                if rest.len() >= MOST_COMPONENTS || rest.iter().any(|&n| n >> BITS > 0) {
                    return None;
                }
                let pack = |packed, (k, n): (u32, &usize)| packed | n << (BITS * k);
                Some(Sector { up, down: (0..).zip(rest).fold(PACKED, pack) })
            }
        }
    }

    /// Whether there are more components than spins.
    pub fn is_many(&self) -> bool {
        self.down & PACKED != 0
    }

    /// Numbers of particles of the components, those of spin up and spin down where there are no others.
    pub fn components(&self) -> Vec<usize> {
        if !self.is_many() {
            return vec![self.up, self.down];
        }
        let number = |k: u32| self.down >> (BITS * k) & ((1 << BITS) - 1);
        let rest = (0..MOST_COMPONENTS as u32 - 1).map(number).take_while(|&n| n > 0);
        std::iter::once(self.up).chain(rest).collect()
    }

    /// Total number of particles.
    pub fn particles(&self) -> usize {
        if self.is_many() { self.components().iter().sum() } else { self.up + self.down }
    }

    /// The sector with the spins exchanged; of more components as it is.
    pub fn exchanged(&self) -> Self {
        if self.is_many() { *self } else { Sector { up: self.down, down: self.up } }
    }

    /// Index ranges of the components that have particles, spin up first.
    pub fn spins(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let mut end = 0;
        let range = move |n: usize| {
            end += n;
            end - n..end
        };
        self.components().into_iter().map(range).filter(|r| !r.is_empty())
    }

    /// Whether two particles are of one component: the exchange changes the sign of the wavefunction.
    pub fn equal(&self, i: usize, j: usize) -> bool {
        self.spins().any(|spin| spin.contains(&i) && spin.contains(&j))
    }

    /// Sorts the coordinates of each component ascending: the representative in the fundamental domain.
    pub fn sort(&self, x: &mut [f64]) {
        for spin in self.spins() {
            x[spin].sort_by(f64::total_cmp);
        }
    }
}

impl std::fmt::Debug for Sector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_many() {
            return f.debug_tuple("Components").field(&self.components()).finish();
        }
        f.debug_struct("Sector").field("up", &self.up).field("down", &self.down).finish()
    }
}

impl Serialize for Sector {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.is_many() {
            return to.serialize_newtype_variant("Sector", 0, "Components", &self.components());
        }
        let mut fields = to.serialize_struct("Sector", 2)?;
        fields.serialize_field("up", &self.up)?;
        fields.serialize_field("down", &self.down)?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Sector {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Numbers)
    }
}

/// A field of a sector.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Up,
    Down,
    #[serde(rename = "Components")]
    Components,
}

struct Numbers;

impl Numbers {
    fn many<E: Error>(counts: &[usize]) -> Result<Sector, E> {
        let all = counts.iter().try_fold(0usize, |sum, &n| sum.checked_add(n));
        let most = MOST_COMPONENTS;
        match Sector::of(counts) {
            Some(sector) if counts.len() <= most && all.is_some_and(|n| n < PACKED) => Ok(sector),
            _ => Err(E::custom(format!("at most {most} components of 63 particles are possible"))),
        }
    }
}

impl<'de> Visitor<'de> for Numbers {
    type Value = Sector;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("`(up: .., down: ..)` or `Components([.., ..])`")
    }

    /// The numbers of `Components`.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Sector, A::Error> {
        let counts: Vec<usize> =
            seq.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        Numbers::many(&counts)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sector, A::Error> {
        let (mut up, mut down) = (None, None);
        while let Some(field) = map.next_key()? {
            match field {
                Field::Up if up.is_some() => return Err(A::Error::duplicate_field("up")),
                Field::Up => up = Some(map.next_value()?),
                Field::Down if down.is_some() => return Err(A::Error::duplicate_field("down")),
                Field::Down => down = Some(map.next_value()?),
                Field::Components => {
                    let counts: Vec<usize> = map.next_value()?;
                    return Numbers::many(&counts);
                }
            }
        }
        let up: usize = up.ok_or_else(|| A::Error::missing_field("up"))?;
        let down: usize = down.unwrap_or(0);
        if (up | down) & PACKED != 0 {
            return Err(A::Error::custom("a number of particles is beyond all bounds"));
        }
        Ok(Sector { up, down })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_components_are_kept() {
        for counts in [&[1, 1, 1][..], &[2, 1, 1], &[1, 2, 3, 4], &[20, 1, 1]] {
            let sector = Sector::of(counts).unwrap();
            assert!(sector.is_many());
            assert_eq!(sector.components(), counts);
            assert_eq!(sector.particles(), counts.iter().sum::<usize>());
            let text = ron::to_string(&sector).unwrap();
            assert!(text.starts_with("Components(["), "{text}");
            assert_eq!(ron::from_str::<Sector>(&text).unwrap(), sector);
            let json = serde_json::to_string(&sector).unwrap();
            assert_eq!(serde_json::from_str::<Sector>(&json).unwrap(), sector);
        }
        let sector = Sector::of(&[2, 1, 1]).unwrap();
        assert_eq!(sector.spins().collect::<Vec<_>>(), [0..2, 2..3, 3..4]);
        assert!(sector.equal(0, 1) && !sector.equal(1, 2) && !sector.equal(2, 3));
        assert!(Sector::of(&[1; 40]).is_none());
    }

    /// Two components are the spins, to the byte.
    #[test]
    fn two_components_are_spins() {
        for (text, up, down) in [
            ("Components([2, 1])", 2, 1),
            ("Components([3])", 3, 0),
            ("Components([0, 2])", 2, 0),
            ("(up: 2, down: 1)", 2, 1),
            ("(up: 2)", 2, 0),
        ] {
            let found: Sector = ron::from_str(text).unwrap();
            assert_eq!(found, Sector { up, down }, "{text}");
            assert_eq!(ron::to_string(&found).unwrap(), format!("(up:{up},down:{down})"));
        }
        for text in ["(ups: 2)", "(down: 2)", "Components([])", "(up: 2, up: 1)", "(up: -1)"] {
            let found = ron::from_str::<Sector>(text);
            assert!(found.is_err() || found == Ok(Sector { up: 0, down: 0 }), "{text}");
        }
    }
}
