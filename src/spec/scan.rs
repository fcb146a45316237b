//! Scans: the values of named parameters at which a spec is run.

use serde::{Deserialize, Serialize};

/// A scan over one named parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scan {
    /// Name of the parameter.
    pub parameter: String,
    /// Its values, in this order.
    pub values: Values,
    /// How the points of the scan help each other.
    #[serde(default)]
    pub method: Method,
}

/// Values of a parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Values {
    /// These.
    List(Vec<f64>),
    /// Evenly spaced, both ends included.
    Linear {
        /// The first.
        from: f64,
        /// The last.
        to: f64,
        /// How many.
        points: usize,
    },
    /// With a constant ratio, both ends included.
    Geometric {
        /// The first.
        from: f64,
        /// The last, of the same sign.
        to: f64,
        /// How many.
        points: usize,
    },
}

/// How the points of a scan help each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Method {
    /// Not at all.
    Independent,
    /// Each starts from the trained state of the point before, where that is better than its own start.
    #[default]
    Continuation,
    /// All points have parameters from one training: series in the scanned parameter.
    Conditional {
        /// Degree of the Chebyshev series.
        #[serde(default = "default_degree")]
        degree: usize,
    },
}

/// The degree of a series whose spec gives none.
fn default_degree() -> usize {
    6
}

/// Highest degree of a series.
pub const MOST_DEGREE: usize = 24;

/// Most points of a scan.
pub const MOST_POINTS: usize = 1000;

impl Values {
    /// Number of values.
    pub fn count(&self) -> usize {
        match self {
            Values::List(values) => values.len(),
            Values::Linear { points, .. } | Values::Geometric { points, .. } => *points,
        }
    }

    /// The values, in their order; both ends are exactly those that were given.
    pub fn all(&self) -> Vec<f64> {
        let between = |from: f64, to: f64, points: usize, at: &dyn Fn(f64) -> f64| {
            let last = points.saturating_sub(1);
            (0..points)
                .map(|i| match i {
                    0 => from,
                    _ if i == last => to,
                    _ => at(i as f64 / last as f64),
                })
                .collect()
        };
        match *self {
            Values::List(ref values) => values.clone(),
            // Weights of both ends, so that a scan that is symmetric about zero meets zero exactly.
            Values::Linear { from, to, points } => {
                between(from, to, points, &|t| from * (1.0 - t) + to * t)
            }
            Values::Geometric { from, to, points } => {
                between(from, to, points, &|t| from * (to / from).powf(t))
            }
        }
    }

    /// What is wrong with them, if anything is: the field, what it must be, and what was found.
    pub(super) fn wrong(&self) -> Option<(&'static str, String, String)> {
        let count = self.count();
        if count == 0 || count > MOST_POINTS {
            let field = if matches!(self, Values::List(_)) { "" } else { ".points" };
            let bound = format!("a scan must have between 1 and {MOST_POINTS} points");
            return Some((field, bound, count.to_string()));
        }
        match *self {
            Values::List(_) => {}
            Values::Linear { from, to, .. } | Values::Geometric { from, to, .. } => {
                for (field, value) in [(".from", from), (".to", to)] {
                    if !value.is_finite() {
                        return Some((field, "must be finite".to_owned(), value.to_string()));
                    }
                }
                if matches!(self, Values::Geometric { .. }) && from * to <= 0.0 {
                    let bound = "must be of the same sign as `from`, and neither of them zero";
                    return Some((".to", bound.to_owned(), to.to_string()));
                }
            }
        }
        let mut all = self.all();
        if let Some(value) = all.iter().find(|v| !v.is_finite()) {
            return Some(("", "all values must be finite".to_owned(), value.to_string()));
        }
        all.sort_by(f64::total_cmp);
        let twice = all.windows(2).find(|w| w[0] == w[1])?;
        Some(("", "all values must be different".to_owned(), format!("{} twice", twice[0])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_hit_both_ends_and_the_middle() {
        let linear = Values::Linear { from: -0.3, to: 0.3, points: 7 }.all();
        assert_eq!((linear[0], linear[3], linear[6]), (-0.3, 0.0, 0.3));
        let geometric = Values::Geometric { from: 0.01, to: 1.0, points: 3 }.all();
        assert_eq!((geometric[0], geometric[2]), (0.01, 1.0));
        assert!((geometric[1] - 0.1).abs() < 1e-16);
        assert_eq!(Values::Linear { from: 2.0, to: 3.0, points: 1 }.all(), [2.0]);
    }

    #[test]
    fn what_makes_no_scan_is_found() {
        for (values, field) in [
            (Values::List(vec![]), ""),
            (Values::List(vec![1.0, 2.0, 1.0]), ""),
            (Values::List(vec![1.0, f64::INFINITY]), ""),
            (Values::Linear { from: 0.0, to: 1.0, points: 0 }, ".points"),
            (Values::Linear { from: 1.0, to: 1.0, points: 2 }, ""),
            (Values::Linear { from: f64::NAN, to: 1.0, points: 2 }, ".from"),
            (Values::Geometric { from: -1.0, to: 1.0, points: 3 }, ".to"),
            (Values::Geometric { from: 1.0, to: 0.0, points: 3 }, ".to"),
        ] {
            assert_eq!(values.wrong().map(|w| w.0), Some(field), "{values:?}");
        }
        assert_eq!(Values::List(vec![3.0, 1.0]).wrong(), None);
    }
}
