//! What a measurement gives: numbers with names, units, axes and error bars.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A coordinate that the values of a quantity depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// What it is.
    pub name: String,
    /// Its unit; empty for plain numbers.
    pub unit: String,
    /// Points, one for each value along the axis, or edges of bins, one more than values.
    #[serde(serialize_with = "write", deserialize_with = "read")]
    pub points: Vec<f64>,
    /// Whether `points` are edges of bins; a value is then the mean over its bin.
    pub edges: bool,
}

impl Axis {
    /// An axis of points.
    pub fn points(name: &str, unit: &str, points: Vec<f64>) -> Self {
        Axis { name: name.into(), unit: unit.into(), points, edges: false }
    }

    /// An axis of bins.
    pub fn edges(name: &str, unit: &str, points: Vec<f64>) -> Self {
        Axis { name: name.into(), unit: unit.into(), points, edges: true }
    }

    /// Number of values along the axis.
    pub fn length(&self) -> usize {
        if self.edges { self.points.len().saturating_sub(1) } else { self.points.len() }
    }

    /// Point of a value: the middle of its bin on an axis of bins.
    pub fn centre(&self, index: usize) -> f64 {
        if self.edges {
            0.5 * (self.points[index] + self.points[index + 1])
        } else {
            self.points[index]
        }
    }
}

/// A physical quantity with its standard errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantity {
    /// Unique name, as in the `.npz` file.
    pub name: String,
    /// Unit; empty for plain numbers.
    pub unit: String,
    /// Definition in a sentence.
    pub about: String,
    /// Axes; none for a single number.
    pub axes: Vec<Axis>,
    /// Values, last axis fastest.
    #[serde(serialize_with = "write", deserialize_with = "read")]
    pub values: Vec<f64>,
    /// Standard error of each value; empty where there is none.
    #[serde(serialize_with = "write", deserialize_with = "read")]
    pub errors: Vec<f64>,
}

impl Quantity {
    /// A quantity without axes so far.
    pub fn new(name: impl Into<String>, unit: &str, about: &str, estimates: Values) -> Self {
        Quantity {
            name: name.into(),
            unit: unit.into(),
            about: about.into(),
            axes: vec![],
            values: estimates.values,
            errors: estimates.errors,
        }
    }

    /// Adds an axis, slowest first.
    pub fn along(mut self, axis: Axis) -> Self {
        self.axes.push(axis);
        self
    }

    /// Lengths of the axes.
    pub fn shape(&self) -> Vec<usize> {
        self.axes.iter().map(Axis::length).collect()
    }

    /// Value and standard error of a single number.
    pub fn scalar(&self) -> Option<(f64, f64)> {
        match (&self.axes[..], &self.values[..]) {
            ([], &[value]) => Some((value, self.errors.first().copied().unwrap_or(f64::NAN))),
            _ => None,
        }
    }

    /// A standard error of one of the values as it is shown: not below what rounding leaves of the largest of them, where
    /// pure numbers count as one at least.
    pub fn shown_error(&self, error: f64) -> f64 {
        let least = if self.unit.is_empty() { 1.0 } else { 0.0 };
        let largest = self.values.iter().fold(least, |a: f64, v| a.max(v.abs()));
        // Exactly nothing is known to be so; what is not a number stays so.
        let exact = self.values.iter().all(|v| *v == 0.0);
        let rounding = 1e-14 * largest;
        if error < rounding && !exact { rounding } else { error }
    }

    /// Whether numbers and lengths belong together, as they may not in a file.
    pub fn is_consistent(&self) -> bool {
        let count = self.shape().iter().try_fold(1usize, |a, &b| a.checked_mul(b));
        count == Some(self.values.len())
            && (self.errors.is_empty() || self.errors.len() == self.values.len())
    }
}

/// Values with their standard errors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    /// Values.
    pub values: Vec<f64>,
    /// Standard errors; empty where there are none.
    pub errors: Vec<f64>,
}

impl Values {
    /// Values without errors.
    pub fn without_errors(values: Vec<f64>) -> Self {
        Values { values, errors: vec![] }
    }

    /// One number with its error.
    pub fn one(value: f64, error: f64) -> Self {
        Values { values: vec![value], errors: vec![error] }
    }

    /// One of the values alone.
    pub fn at(&self, index: usize) -> Self {
        Self::one(self.values[index], self.errors[index])
    }

    /// All values times a number.
    pub fn scaled(mut self, factor: f64) -> Self {
        self.values.iter_mut().for_each(|v| *v *= factor);
        self.errors.iter_mut().for_each(|e| *e *= factor.abs());
        self
    }
}

/// What an observable gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// Name of the observable in the registry.
    pub observable: String,
    /// Its quantities.
    pub quantities: Vec<Quantity>,
}

/// JSON has no word for numbers that are not finite but `null`.
fn write<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(|v| v.is_finite().then_some(*v)))
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let values = Vec::<Option<f64>>::deserialize(deserializer)?;
    Ok(values.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect())
}
