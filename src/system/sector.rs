//! How many fermions of each spin, or of each component.

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Largest number of particles: derivative kernels are compiled for no more.
pub const MOST_PARTICLES: usize = 32;

/// Numbers of spin-up and spin-down fermions, or of more components of a gas with SU(n) symmetry.
///
/// The Hamiltonian has no spin, so all numbers are conserved and particles of different components are
/// distinguishable. `down = 0` is the spin-polarised case. Configurations list the spin-up coordinates
/// first, then the spin-down ones, each sorted ascending; of more components one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sector {
    /// Number of spin-up fermions: of the first component.
    pub up: usize,
    /// Number of spin-down fermions: of the second component.
    pub down: usize,
    /// Numbers of the other components; zeros after the last one.
    others: [u8; MOST_COMPONENTS - 2],
}

/// Most components of a sector.
pub const MOST_COMPONENTS: usize = 32;

/// Numbers of particles that no sector holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a gas has at most {MOST_COMPONENTS} components, and from the third on at most 255 particles of each"
)]
pub struct TooMany;

impl Sector {
    /// Particles of two spins.
    pub const fn new(up: usize, down: usize) -> Self {
        Sector { up, down, others: [0; MOST_COMPONENTS - 2] }
    }

    /// The sector of a gas with these numbers of particles; components without particles are left out, and two are spin up
    /// and spin down.
    ///
    /// # Errors
    ///
    /// [`TooMany`].
    pub fn of(counts: &[usize]) -> Result<Self, TooMany> {
        let mut counts = counts.iter().copied().filter(|&n| n > 0);
        let mut sector = Sector::new(counts.next().unwrap_or(0), counts.next().unwrap_or(0));
        for (k, n) in counts.enumerate() {
            *sector.others.get_mut(k).ok_or(TooMany)? = u8::try_from(n).map_err(|_| TooMany)?;
        }
        Ok(sector)
    }

    /// Whether there are more components than spins.
    pub fn is_many(&self) -> bool {
        self.others[0] > 0
    }

    /// Whether all particles have one spin.
    pub fn is_polarised(&self) -> bool {
        self.up == 0 || self.down == 0
    }

    /// Numbers of particles of the components, those of spin up and spin down where there are no others.
    pub fn components(&self) -> Vec<usize> {
        self.numbers().collect()
    }

    fn numbers(&self) -> impl Iterator<Item = usize> + use<> {
        let others = self.others.into_iter().map(usize::from).take_while(|&n| n > 0);
        [self.up, self.down].into_iter().chain(others)
    }

    /// Index ranges of all components, also of spins without particles.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let mut end = 0;
        self.numbers().map(move |n| {
            end += n;
            end - n..end
        })
    }

    /// Total number of particles.
    pub fn particles(&self) -> usize {
        self.numbers().fold(0, usize::saturating_add)
    }

    /// The sector with the spins exchanged: the first two components.
    pub fn exchanged(&self) -> Self {
        Sector { up: self.down, down: self.up, others: self.others }
    }

    /// Index ranges of the components that have particles, spin up first.
    pub fn spins(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        self.ranges().filter(|r| !r.is_empty())
    }

    /// Whether two particles are of one component: their exchange changes the sign of the wavefunction.
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
            return to.serialize_newtype_variant("Sector", 0, COMPONENTS, &self.components());
        }
        let mut fields = to.serialize_struct("Sector", 2)?;
        fields.serialize_field("up", &self.up)?;
        fields.serialize_field("down", &self.down)?;
        fields.end()
    }
}

/// Name of the choice and of the field that holds its numbers.
pub const COMPONENTS: &str = "Components";

/// A struct to its reader, so that errors are found where those of any other struct are. The choice `Components([2, 1, 1])` is read
/// as `(Components: [2, 1, 1])`, which JSON has anyway, and RON by the spec's own doing.
impl<'de> Deserialize<'de> for Sector {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_struct("Sector", FIELDS, Numbers)
    }
}

const FIELDS: &[&str] = &["up", "down"];

/// A field of a sector.
enum Field {
    Up,
    Down,
    Components,
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Field;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a field")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Field, E> {
                match name {
                    "up" => Ok(Field::Up),
                    "down" => Ok(Field::Down),
                    COMPONENTS => Ok(Field::Components),
                    _ => Err(E::unknown_field(name, FIELDS)),
                }
            }
        }
        from.deserialize_identifier(Name)
    }
}

struct Numbers;

impl<'de> Visitor<'de> for Numbers {
    type Value = Sector;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("`(up: .., down: ..)` or `Components([.., ..])`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sector, A::Error> {
        let (mut up, mut down) = (None, None);
        while let Some(field) = map.next_key()? {
            match field {
                Field::Up if up.is_some() => return Err(A::Error::duplicate_field("up")),
                Field::Up => up = Some(map.next_value()?),
                Field::Down if down.is_some() => return Err(A::Error::duplicate_field("down")),
                Field::Down => down = Some(map.next_value()?),
                Field::Components if up.is_some() || down.is_some() => {
                    return Err(A::Error::unknown_field(COMPONENTS, FIELDS));
                }
                Field::Components => {
                    let counts: Vec<usize> = map.next_value()?;
                    if map.next_key::<Field>()?.is_some() {
                        let message =
                            "Components has one list of numbers of particles and no other field";
                        return Err(A::Error::custom(message));
                    }
                    return Sector::of(&counts).map_err(A::Error::custom);
                }
            }
        }
        let up = up.ok_or_else(|| A::Error::missing_field("up"))?;
        Ok(Sector::new(up, down.unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_components_are_kept() {
        for counts in [&[1, 1, 1][..], &[2, 1, 1], &[1, 2, 3, 4], &[20, 1, 1], &[1; 32]] {
            let sector = Sector::of(counts).unwrap();
            assert!(sector.is_many());
            assert_eq!(sector.components(), counts);
            assert_eq!(sector.particles(), counts.iter().sum::<usize>());
            assert!(ron::to_string(&sector).unwrap().starts_with("Components(["));
            let json = serde_json::to_string(&sector).unwrap();
            assert_eq!(serde_json::from_str::<Sector>(&json).unwrap(), sector);
        }
        let sector = Sector::of(&[2, 1, 1]).unwrap();
        assert_eq!(sector.spins().collect::<Vec<_>>(), [0..2, 2..3, 3..4]);
        assert!(sector.equal(0, 1) && !sector.equal(1, 2) && !sector.equal(2, 3));
        assert_eq!(Sector::of(&[1; 33]), Err(TooMany));
        assert_eq!(Sector::of(&[1, 1, 256]), Err(TooMany));
    }

    /// Two components are the spins, to the byte.
    #[test]
    fn two_components_are_spins() {
        for (counts, up, down) in
            [(&[2, 1][..], 2, 1), (&[3], 3, 0), (&[0, 2], 2, 0), (&[2, 0, 1], 2, 1), (&[], 0, 0)]
        {
            let found = Sector::of(counts).unwrap();
            assert_eq!(found, Sector::new(up, down));
            let text = ron::to_string(&found).unwrap();
            assert_eq!(text, format!("(up:{up},down:{down})"));
            assert_eq!(ron::from_str::<Sector>(&text).unwrap(), found);
        }
        for text in
            ["(ups: 2)", "(down: 2)", "(up: 2, up: 1)", "(up: -1)", "(up: 1, Components: [2])"]
        {
            assert!(ron::from_str::<Sector>(text).is_err(), "{text}");
        }
    }
}
