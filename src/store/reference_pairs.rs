//! `reference_pairs.npz`: the pair density that belongs to the exact energy of a run, all spins together.

use super::files::{FileError, names};
use super::npz::{Array, NpzError, read_npz, write_npz};
use crate::exact::PairDensity;
use std::path::Path;

/// Writes `x` (points, in bohr) and `pairs` (points x points, ordered pairs per bohr²) into a folder, atomically.
///
/// # Errors
/// [`FileError`] if the file cannot be written, or if the values are no square of the points.
pub fn write(folder: &Path, pairs: &PairDensity) -> Result<(), FileError> {
    let n = pairs.x.len();
    let arrays = [
        Array::new("x", vec![n], pairs.x.clone()),
        Array::new("pairs", vec![n, n], pairs.values.clone()),
    ];
    let path = folder.join(names::REFERENCE_PAIRS);
    write_npz(&path, &arrays).map_err(|error| match error {
        NpzError::File(error) => error,
        other => FileError::Malformed { path, line: 0, message: other.to_string() },
    })
}

/// Reads the file of a folder; `None` where there is none.
///
/// # Errors
/// Those of reading an archive; [`FileError::Malformed`] where its arrays are not these.
pub fn read(folder: &Path) -> Result<Option<PairDensity>, Box<dyn std::error::Error>> {
    let path = folder.join(names::REFERENCE_PAIRS);
    if !path.exists() {
        return Ok(None);
    }
    let arrays = read_npz(&path)?;
    let named = |name: &str| arrays.iter().find(|a| a.name == name);
    if let (Some(x), Some(pairs)) = (named("x"), named("pairs"))
        && x.values.len() > 1
        && x.values.windows(2).all(|w| w[0] < w[1])
        && pairs.shape == [x.values.len(); 2]
    {
        return Ok(Some(PairDensity { x: x.values.clone(), values: pairs.values.clone() }));
    }
    let message = "expected `x`, ascending, and `pairs`, a square of as many points".to_owned();
    Err(FileError::Malformed { path, line: 0, message }.into())
}

/// Places in each bin over which a mean is taken.
const PLACES: usize = 4;

/// Means of a pair density over squares of bins between `edges`, by rows: cubic through the four points around each place.
pub(crate) fn means(pairs: &PairDensity, edges: &[f64]) -> Vec<f64> {
    let n = pairs.x.len();
    let bins = edges.len().saturating_sub(1);
    let weights: Vec<Vec<(usize, f64)>> = edges
        .windows(2)
        .map(|bin| {
            let places =
                (0..PLACES).map(|k| bin[0] + (bin[1] - bin[0]) * (k as f64 + 0.5) / PLACES as f64);
            places.flat_map(|x| around(&pairs.x, x)).map(|(i, w)| (i, w / PLACES as f64)).collect()
        })
        .collect();
    // One coordinate after the other.
    let mut rows = vec![0.0; bins * n];
    for (row, weights) in rows.chunks_exact_mut(n).zip(&weights) {
        for (i, w) in weights {
            row.iter_mut().zip(&pairs.values[i * n..]).for_each(|(r, v)| *r += w * v);
        }
    }
    rows.chunks_exact(n)
        .flat_map(|row| weights.iter().map(|of| of.iter().map(|(j, w)| w * row[*j]).sum()))
        .collect()
}

/// The points around `x` with their weights in the polynomial through them; none outside.
fn around(points: &[f64], x: f64) -> Vec<(usize, f64)> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return vec![] };
    if x < *first || x > *last {
        return vec![];
    }
    let order = points.len().min(4);
    let after = points.partition_point(|p| *p <= x);
    let start = after.saturating_sub(order / 2).min(points.len() - order);
    let near = start..start + order;
    let weight = |i: usize| -> f64 {
        let others = near.clone().filter(|j| *j != i);
        others.map(|j| (x - points[j]) / (points[i] - points[j])).product()
    };
    near.clone().map(|i| (i, weight(i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_round_trips_and_refuses_other_arrays() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        let pairs = PairDensity { x: vec![-1.0, 0.5], values: vec![0.0, 1.0, 1.0, 1e-300] };
        write(folder.path(), &pairs).unwrap();
        assert_eq!(read(folder.path()).unwrap(), Some(pairs));
        let one = PairDensity { x: vec![1.0, 0.5], values: vec![0.0; 4] };
        write(folder.path(), &one).unwrap();
        assert!(read(folder.path()).unwrap_err().to_string().contains("ascending"));
    }

    /// A cubic in each coordinate, whose means over bins are integrals of powers; nothing outside the points.
    #[test]
    fn means_over_bins_are_those_of_the_polynomial() {
        let x: Vec<f64> = (0..9).map(|i| f64::from(i) * 0.25).collect();
        let f = |x: f64| 1.0 + x * x * x;
        let values = x.iter().flat_map(|a| x.iter().map(move |b| f(*a) * f(*b))).collect();
        let edges = [0.0, 0.5, 1.25, 2.0, 3.0];
        let found = means(&PairDensity { x, values }, &edges);
        let mean = |k: usize| {
            let (a, b) = (edges[k], edges[k + 1]);
            1.0 + (b.powi(4) - a.powi(4)) / (4.0 * (b - a))
        };
        for (i, j) in [(0, 0), (0, 2), (1, 2), (2, 1)] {
            // Four places a bin leave an error of the second order of their spacing.
            let error = (found[4 * i + j] / (mean(i) * mean(j)) - 1.0).abs();
            assert!(error < 1e-2, "{i} {j}: {error:e}");
        }
        assert!((0..4).all(|k| found[4 * k + 3] == 0.0 && found[12 + k] == 0.0), "{found:?}");
    }
}
