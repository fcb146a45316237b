//! Numbers in JSON.

use serde::{Deserialize, Deserializer};

/// JSON has no word for what is not a finite number.
pub(crate) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(from)?.unwrap_or(f64::NAN))
}
