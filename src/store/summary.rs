//! `summary.json`: the result of a run for programs.

use super::ensemble::EnsembleSummary;
use super::files::{FileError, read_text_up_to, write_atomic};
use super::record::Summary;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde_json::Value;
use std::path::Path;

/// The summary as indented JSON that ends with a new line. Numbers that are not finite become
/// `null`, which JSON has no better word for, and are read back as NaN.
pub fn to_json(summary: &Summary) -> String {
    // Serialising plain structs of numbers and strings to memory has no way to fail.
    let mut text = serde_json::to_string_pretty(summary).unwrap_or_default();
    text.push('\n');
    text
}

/// Writes a `summary.json`, atomically.
///
/// # Errors
/// [`FileError::Io`] if the file cannot be written.
pub fn write_summary(path: &Path, summary: &Summary) -> Result<(), FileError> {
    write_atomic(path, to_json(summary).as_bytes())
}

/// Reads a `summary.json`.
///
/// # Errors
/// [`FileError::Malformed`] with the line, or [`FileError::Io`].
pub fn read_summary(path: &Path) -> Result<Summary, FileError> {
    let text = read_text_up_to(path, MOST_BYTES)?;
    parse(&text).map_err(|e| FileError::Malformed {
        path: path.to_owned(),
        line: e.line(),
        message: match serde_json::from_str::<EnsembleSummary>(&text) {
            Ok(of) => format!(
                "the summary of a run of several states or of a temperature ({}), which is complete with its own report",
                of.ensemble
            ),
            Err(_) => e.to_string(),
        },
    })
}

/// Reads the `summary.json` of several states or of a temperature.
///
/// # Errors
/// [`FileError::Malformed`] with the line, or [`FileError::Io`].
pub fn read_ensemble_summary(path: &Path) -> Result<EnsembleSummary, FileError> {
    let text = read_text_up_to(path, MOST_BYTES)?;
    lenient(&text).map_err(|e| FileError::Malformed {
        path: path.to_owned(),
        line: e.line(),
        message: e.to_string(),
    })
}

/// Largest summary that is read, in bytes: it holds a title, a source and reasons, and no tables.
const MOST_BYTES: u64 = 1 << 26;

/// The summary of a text.
fn parse(text: &str) -> serde_json::Result<Summary> {
    lenient(text)
}

fn lenient<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    // The first attempt says where a fault is; the second one takes `null` for a number.
    serde_json::from_str(text).or_else(|error| {
        let value = serde_json::from_str(text).map_err(|_| ());
        value.and_then(|v| T::deserialize(Lenient(v)).map_err(|_| ())).map_err(|()| error)
    })
}

/// JSON in which a number may be `null`: not a number.
struct Lenient(Value);

impl<'de> IntoDeserializer<'de, serde_json::Error> for Lenient {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Lenient {
    type Error = serde_json::Error;

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.0 {
            Value::Null => visitor.visit_f64(f64::NAN),
            value => value.deserialize_f64(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.0 {
            Value::Object(map) => {
                let fields = map.into_iter().map(|(name, value)| (name, Lenient(value)));
                MapDeserializer::new(fields).deserialize_any(visitor)
            }
            Value::Array(values) => {
                SeqDeserializer::new(values.into_iter().map(Lenient)).deserialize_any(visitor)
            }
            value => value.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::Gain;
    use crate::sampling::Sampling;
    use crate::store::record::{ErrorBar, Health, Reference};
    use crate::train::StopReason;
    use crate::wavefunction::slopes::Slopes;
    use crate::work::Work;

    fn summary() -> Summary {
        Summary {
            title: "Helium \"triplet\" <α>".into(),
            version: "0.1.0".into(),
            fingerprint: Some("0123456789abcdef".into()),
            energy: -1.816_041_888_123,
            standard_error: 3.2e-6,
            sampled: None,
            error_bar: ErrorBar {
                sampling: Sampling::QuasiRandom,
                scramblings: Some(16),
                independent: 1e-5,
                gain: Some(Gain { ratio: 3.125, uncertainty: 0.57 }),
            },
            variance: 2.7e-6,
            v_score: 1e-4,
            nuclear_repulsion: 0.0,
            total_energy: -1.816_041_888_123,
            samples: 262_144,
            parameters: 4321,
            iterations: 200,
            averaged_iterations: 50,
            wall_seconds: 61.5,
            cpu_seconds: 118.25,
            threads: 2,
            processes: 1,
            work: Some(Work {
                local_energies: 1_000_000,
                spline_evaluations: 1 << 60,
                newton_iterations: 7,
                factorisations: 200,
            }),
            seed: u64::MAX,
            no_reference: None,
            reference: Some(Reference {
                energy: -1.8160418892,
                error_estimate: None,
                source: "sine DVR".into(),
                deviation: 1e-9,
            }),
            stopped: Some(StopReason::Plateau),
            verdict: None,
            checks: Vec::new(),
            health: Health {
                round_trip_error: 1e-13,
                slopes: Some(Slopes { forward: 2.4, inverse: 3.1 }),
                density_drift: Some(1e-9),
                refusals: Vec::new(),
                rejected_samples: 0,
                largest_local_energy_deviation: 0.02,
                median_local_energy_deviation: 1e-3,
                quadrature: None,
                ..Health::default()
            },
        }
    }

    #[test]
    fn a_summary_round_trips() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary.json");
        for reference in [summary().reference, None] {
            let summary = Summary { reference, ..summary() };
            write_summary(&path, &summary).unwrap();
            assert_eq!(read_summary(&path).unwrap(), summary);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"reference\": null"));
    }

    /// Replaces the numbers of a value, but for whole ones, by one that is not finite.
    fn spoil(value: &mut Value, spoilt: &mut usize) {
        match value {
            Value::Object(map) => map.values_mut().for_each(|v| spoil(v, spoilt)),
            Value::Array(values) => values.iter_mut().for_each(|v| spoil(v, spoilt)),
            Value::Number(n) if n.is_f64() => {
                *value = Value::Null;
                *spoilt += 1;
            }
            _ => {}
        }
    }

    #[test]
    fn numbers_that_are_not_finite_survive_as_not_a_number() {
        use crate::wavefunction::RayleighQuotient;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary.json");
        let mut full = summary();
        let not = f64::NAN;
        full.health.quadrature =
            Some(RayleighQuotient { norm: 1.5, energy: 2.5, norm_error: 1e-9, energy_error: 1e-9 });
        full.nuclear_repulsion = 0.5;
        if let Some(reference) = &mut full.reference {
            reference.error_estimate = Some(0.5);
        }
        let mut value = serde_json::to_value(&full).unwrap();
        let mut spoilt = 0;
        spoil(&mut value, &mut spoilt);
        std::fs::write(&path, value.to_string()).unwrap();
        let found = read_summary(&path).unwrap();
        assert!(spoilt > 20 && found.energy.is_nan() && found.total_energy.is_nan());
        assert!(found.health.density_drift.unwrap().is_nan());
        assert!(found.health.quadrature.unwrap().energy.is_nan());
        assert!(found.reference.unwrap().deviation.is_nan());
        assert!(found.error_bar.gain.unwrap().ratio.is_nan());
        // Written and read again it is the same text.
        full.energy = f64::INFINITY;
        full.standard_error = not;
        full.health.density_drift = Some(not);
        write_summary(&path, &full).unwrap();
        assert_eq!(to_json(&read_summary(&path).unwrap()), to_json(&full));
        full.health.density_drift = None;
        write_summary(&path, &full).unwrap();
        assert_eq!(read_summary(&path).unwrap().health.density_drift, None);
    }

    #[test]
    fn a_malformed_summary_is_located() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary.json");
        std::fs::write(&path, "{\n  \"title\": 3\n}\n").unwrap();
        let message = read_summary(&path).unwrap_err().to_string();
        assert!(message.contains("line 2") && message.contains("expected a string"), "{message}");
    }
}
