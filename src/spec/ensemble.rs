//! What a spec asks for beyond the ground state.

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The lowest states of the sector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatesSettings {
    /// How many.
    pub count: usize,
    /// Their weights in the sum of energies that is minimised.
    #[serde(default)]
    pub weights: StateWeights,
}

/// Weights of states.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum StateWeights {
    /// All alike.
    #[default]
    Equal,
    /// Each the weight of the one below times this.
    Decreasing(f64),
    /// One for each state.
    List(Vec<f64>),
}

impl StateWeights {
    /// The weights of so many states; they sum to one.
    pub fn of(&self, count: usize) -> Vec<f64> {
        let plain: Vec<f64> = match self {
            StateWeights::Equal => vec![1.0; count],
            StateWeights::Decreasing(ratio) => (0..count).map(|k| ratio.powi(k as i32)).collect(),
            StateWeights::List(list) => list.clone(),
        };
        let sum: f64 = plain.iter().sum();
        plain.iter().map(|w| w / sum).collect()
    }
}

/// The canonical ensemble of the sector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemperatureSettings {
    /// Temperatures times Boltzmann's constant, in Hartree.
    #[serde(rename = "kT")]
    pub kt: Temperatures,
}

/// One temperature, or several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Temperatures {
    /// This one.
    One(f64),
    /// Evenly spaced ones.
    Range {
        /// The first.
        from: f64,
        /// The last.
        to: f64,
        /// How many.
        points: usize,
    },
}

impl Temperatures {
    /// All of them, in order.
    pub fn all(&self) -> Vec<f64> {
        match *self {
            Temperatures::One(kt) => vec![kt],
            Temperatures::Range { from, points: 1, .. } => vec![from],
            Temperatures::Range { from, to, points } => {
                let share = |k: usize| k as f64 / (points - 1) as f64;
                (0..points).map(|k| from * (1.0 - share(k)) + to * share(k)).collect()
            }
        }
    }
}

impl Serialize for Temperatures {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        enum Named {
            Range { from: f64, to: f64, points: usize },
        }
        match *self {
            Temperatures::One(kt) => to.serialize_f64(kt),
            Temperatures::Range { from, to: last, points } => {
                Named::Range { from, to: last, points }.serialize(to)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Temperatures {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NumberOrRange)
    }
}

/// Reads a number, or the fields of a range.
struct NumberOrRange;

impl<'de> Visitor<'de> for NumberOrRange {
    type Value = Temperatures;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or Range(from: .., to: .., points: ..)")
    }

    fn visit_f64<E>(self, kt: f64) -> Result<Temperatures, E> {
        Ok(Temperatures::One(kt))
    }

    fn visit_u64<E>(self, kt: u64) -> Result<Temperatures, E> {
        Ok(Temperatures::One(kt as f64))
    }

    fn visit_i64<E>(self, kt: i64) -> Result<Temperatures, E> {
        Ok(Temperatures::One(kt as f64))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Temperatures, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            from: f64,
            to: f64,
            points: usize,
        }
        // RON gives the fields and no name; JSON, of checkpoints and wavefunctions, the name and then the fields.
        #[derive(Deserialize)]
        #[serde(field_identifier)]
        #[allow(non_camel_case_types)]
        enum Key {
            from,
            to,
            points,
            Range,
        }
        let (mut first, mut last, mut count) = (None, None, None);
        while let Some(key) = map.next_key()? {
            match key {
                Key::from if first.is_none() => first = Some(map.next_value()?),
                Key::to if last.is_none() => last = Some(map.next_value()?),
                Key::points if count.is_none() => count = Some(map.next_value()?),
                Key::Range => {
                    let Fields { from, to, points } = map.next_value()?;
                    return Ok(Temperatures::Range { from, to, points });
                }
                Key::from => return Err(A::Error::duplicate_field("from")),
                Key::to => return Err(A::Error::duplicate_field("to")),
                Key::points => return Err(A::Error::duplicate_field("points")),
            }
        }
        Ok(Temperatures::Range {
            from: first.ok_or_else(|| A::Error::missing_field("from"))?,
            to: last.ok_or_else(|| A::Error::missing_field("to"))?,
            points: count.ok_or_else(|| A::Error::missing_field("points"))?,
        })
    }
}
