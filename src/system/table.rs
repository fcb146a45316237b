//! Potentials given by their values at points: a cubic spline through them.
//!
//! The slopes at the points follow from a continuous second derivative, at the ends from a continuous third one at the last
//! points but one ("not a knot"), or from periodicity (C. de Boor, A Practical Guide to Splines, Springer, 1978). Beyond the
//! points the spline goes on as a straight line with its slope there.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Fewest points of a table.
pub const FEWEST_POINTS: usize = 4;
/// Most points of a table: a spec that holds one is still a file that is read.
pub const MOST_POINTS: usize = 10_000;
/// Most minima that are special points.
const MOST_MINIMA: usize = 16;
/// From which gain on the points resolve the function.
const RESOLVED: f64 = 12.0;
/// How well the ends of a period must agree, relative to the range of the values.
const CLOSES: f64 = 1e-9;

/// A potential by its values, in Hartree, at ascending points, in bohr.
///
/// ```
/// use weylflow::system::table::Table;
///
/// let points: Vec<f64> = (0..=80).map(|i| -4.0 + 0.1 * i as f64).collect();
/// let values = points.iter().map(|x| -1.0 / (x * x + 1.0f64).sqrt()).collect();
/// let table = Table::new(points, values, false)?;
/// let exact = -1.0 / (0.123f64 * 0.123 + 1.0).sqrt();
/// assert!((table.value(0.123) - exact).abs() < table.interpolation_error());
/// assert!(table.interpolation_error() < 1e-5);
/// # Ok::<(), weylflow::system::table::TableProblem>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub struct Table(Arc<Content>);

/// What is wrong with a table.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}: {bound}, found {found}", self.field())]
pub struct TableProblem {
    list: &'static str,
    index: Option<usize>,
    /// What has to hold.
    pub bound: String,
    /// What was found.
    pub found: String,
}

impl TableProblem {
    /// The field of the table that is to blame: `points[3]`.
    pub fn field(&self) -> String {
        self.index.map_or_else(|| self.list.to_owned(), |i| format!("{}[{i}]", self.list))
    }
}

/// As it is written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename = "Tabulated", deny_unknown_fields)]
struct Text {
    points: Vec<f64>,
    values: Vec<f64>,
    #[serde(default)]
    periodic: bool,
    /// Only the reader of specs, which puts the numbers in its place, knows where the file is.
    #[serde(default, skip_serializing)]
    file: Option<String>,
}

#[derive(Debug)]
struct Content {
    points: Vec<f64>,
    values: Vec<f64>,
    periodic: bool,
    /// Slopes at the points; none where the table has a problem.
    slopes: Vec<f64>,
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        (&self.points, &self.values, self.periodic)
            == (&other.points, &other.values, other.periodic)
    }
}

impl TryFrom<Text> for Table {
    type Error = String;

    fn try_from(text: Text) -> Result<Self, String> {
        let Text { points, values, periodic, file } = text;
        match file {
            None => Ok(Table::unchecked(points, values, periodic)),
            Some(name) => Err(format!("the file `{name}` of a table is read with a spec only")),
        }
    }
}

impl From<Table> for Text {
    fn from(table: Table) -> Self {
        let Content { points, values, periodic, .. } = table.0.as_ref();
        Text { points: points.clone(), values: values.clone(), periodic: *periodic, file: None }
    }
}

impl Table {
    /// The spline through `values` (Hartree) at `points` (bohr, ascending); of a periodic one the last point is the first again.
    ///
    /// # Errors
    /// [`TableProblem`]: fewer than four points or too many, lists of different lengths, points that do not ascend, numbers
    /// that are not finite, a period that does not close.
    pub fn new(points: Vec<f64>, values: Vec<f64>, periodic: bool) -> Result<Self, TableProblem> {
        let table = Table::unchecked(points, values, periodic);
        match table.problem() {
            None => Ok(table),
            Some(problem) => Err(problem),
        }
    }

    /// A table that may have a problem, and is not a number anywhere then: what is read before it is checked.
    fn unchecked(points: Vec<f64>, values: Vec<f64>, periodic: bool) -> Self {
        let slopes = match problem(&points, &values, periodic) {
            Some(_) => Vec::new(),
            None => slopes(&points, &values, periodic),
        };
        Table(Arc::new(Content { points, values, periodic, slopes }))
    }

    /// What is wrong with it, if anything is.
    pub fn problem(&self) -> Option<TableProblem> {
        problem(&self.0.points, &self.0.values, self.0.periodic)
    }

    /// The points, in bohr.
    pub fn points(&self) -> &[f64] {
        &self.0.points
    }

    /// The values there, in Hartree.
    pub fn values(&self) -> &[f64] {
        &self.0.values
    }

    /// Whether the last point is the first again.
    pub fn is_periodic(&self) -> bool {
        self.0.periodic
    }

    /// The first and the last point, in bohr.
    pub fn interval(&self) -> (f64, f64) {
        match (self.0.points.first(), self.0.points.last()) {
            (Some(&first), Some(&last)) => (first, last),
            _ => (f64::NAN, f64::NAN),
        }
    }

    /// The value at `x`, in Hartree.
    pub fn value(&self, x: f64) -> f64 {
        self.at(x).0
    }

    /// The slope at `x`, in Hartree per bohr.
    pub fn derivative(&self, x: f64) -> f64 {
        self.at(x).1
    }

    fn at(&self, x: f64) -> (f64, f64) {
        let Content { points, values, periodic, slopes } = self.0.as_ref();
        if slopes.is_empty() || x.is_nan() {
            return (f64::NAN, f64::NAN);
        }
        let last = points.len() - 1;
        let mut x = x;
        if *periodic {
            let period = points[last] - points[0];
            x = points[0] + (x - points[0]).rem_euclid(period);
        } else if x < points[0] {
            return (values[0] + slopes[0] * (x - points[0]), slopes[0]);
        } else if x > points[last] {
            return (values[last] + slopes[last] * (x - points[last]), slopes[last]);
        }
        let i = points.partition_point(|p| *p <= x).clamp(1, last) - 1;
        let h = points[i + 1] - points[i];
        let t = (x - points[i]) / h;
        let rise = (values[i + 1] - values[i]) / h;
        // Newton's form from the left point.
        let (a, b) = (rise - slopes[i], slopes[i + 1] - rise);
        let (second, third) = (2.0 * a - b, b - a);
        let value = values[i] + h * t * (slopes[i] + t * (second + t * third));
        (value, slopes[i] + t * (2.0 * second + 3.0 * t * third))
    }

    /// An estimate of how far the spline is from the function that the values are of, at most, in Hartree: from what the splines
    /// through every second and every fourth point miss at the points that they leave out. No bound: what happens
    /// between the points a table does not tell. An energy is off by at most this for every particle.
    pub fn interpolation_error(&self) -> f64 {
        let Content { points, values, periodic, .. } = self.0.as_ref();
        let missed = |stride: usize| {
            let last = points.len() - 1;
            let kept = |i: &usize| i.is_multiple_of(stride) || *i == last;
            let of = |list: &[f64]| (0..=last).filter(kept).map(|i| list[i]).collect::<Vec<_>>();
            let coarse = Table::new(of(points), of(values), *periodic).ok()?;
            let miss = |i: usize| (values[i] - coarse.value(points[i])).abs();
            Some((0..=last).map(miss).fold(0.0, f64::max))
        };
        let Some(half) = missed(2) else { return f64::INFINITY };
        // Where the points resolve the function, halving their distance gains a factor of sixteen; the two is for safety.
        let gain = missed(4).map_or(0.0, |quarter| (quarter / half).min(16.0));
        let rounding = values.iter().fold(0.0, |a: f64, v| a.max(v.abs())) * f64::EPSILON;
        let error = match gain {
            _ if half == 0.0 => 0.0,
            RESOLVED.. => 2.0 * half / (gain - 1.0),
            _ => 2.0 * half,
        };
        error.max(rounding)
    }

    /// Where the potential has wells, and where the points end.
    pub(crate) fn special_points(&self) -> Vec<f64> {
        let Content { points, values, periodic, slopes } = self.0.as_ref();
        if slopes.is_empty() {
            return Vec::new();
        }
        let last = points.len() - 1;
        let below = |i: usize, j: usize| values[i] <= values[j];
        let mut minima: Vec<usize> =
            (1..last).filter(|&i| below(i, i - 1) && below(i, i + 1)).collect();
        minima.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        minima.truncate(MOST_MINIMA);
        let ends = if *periodic { vec![] } else { vec![points[0], points[last]] };
        minima.into_iter().map(|i| points[i]).chain(ends).collect()
    }
}

fn problem(points: &[f64], values: &[f64], periodic: bool) -> Option<TableProblem> {
    let wrong = |list, index, bound: String, found: String| {
        Some(TableProblem { list, index, bound, found })
    };
    let count = points.len();
    if !(FEWEST_POINTS..=MOST_POINTS).contains(&count) {
        let bound = format!("a table has between {FEWEST_POINTS} and {MOST_POINTS} points");
        return wrong("points", None, bound, count.to_string());
    }
    if values.len() != count {
        let bound = format!("as many values as points are needed, {count}");
        return wrong("values", None, bound, values.len().to_string());
    }
    for (list, numbers) in [("points", points), ("values", values)] {
        if let Some(i) = numbers.iter().position(|v| !v.is_finite()) {
            return wrong(list, Some(i), "must be finite".to_owned(), numbers[i].to_string());
        }
    }
    if let Some(i) = points.windows(2).position(|p| p[1] <= p[0]) {
        let found = format!("{} after {}", points[i + 1], points[i]);
        return wrong("points", Some(i + 1), "the points must ascend".to_owned(), found);
    }
    let (first, last) = (values[0], values[count - 1]);
    let (low, high) = values.iter().fold((first, first), |(a, b), &v| (a.min(v), b.max(v)));
    if periodic && (last - first).abs() > CLOSES * (high - low) {
        let bound = "of a periodic table the last value is the first again".to_owned();
        return wrong("values", Some(count - 1), bound, format!("{last} and {first}"));
    }
    None
}

/// Slopes at the points, of which there are four or more.
fn slopes(x: &[f64], y: &[f64], periodic: bool) -> Vec<f64> {
    let cells = x.len() - 1;
    let h: Vec<f64> = x.windows(2).map(|x| x[1] - x[0]).collect();
    let d: Vec<f64> = y.windows(2).zip(&h).map(|(y, h)| (y[1] - y[0]) / h).collect();
    if periodic {
        // The row of a point has the cells to its left and right; the first point is the last one as well.
        let left = |i: usize| (i + cells - 1) % cells;
        let below: Vec<f64> = (0..cells).map(|i| h[i]).collect();
        let above: Vec<f64> = (0..cells).map(|i| h[left(i)]).collect();
        let diagonal: Vec<f64> = (0..cells).map(|i| 2.0 * (h[i] + h[left(i)])).collect();
        let right: Vec<f64> =
            (0..cells).map(|i| 3.0 * (h[i] * d[left(i)] + h[left(i)] * d[i])).collect();
        let mut slopes = cyclic(&below, &diagonal, &above, &right);
        slopes.push(slopes[0]);
        return slopes;
    }
    let count = x.len();
    let (mut below, mut diagonal, mut above, mut right) =
        (vec![0.0; count], vec![0.0; count], vec![0.0; count], vec![0.0; count]);
    for i in 1..cells {
        below[i] = h[i];
        diagonal[i] = 2.0 * (h[i - 1] + h[i]);
        above[i] = h[i - 1];
        right[i] = 3.0 * (h[i] * d[i - 1] + h[i - 1] * d[i]);
    }
    // No jump of the third derivative at the last point but one, by the cell at the end and the next.
    let end = |h: f64, next: f64, d: f64, d_next: f64| {
        ((h + 2.0 * (h + next)) * next * d + h * h * d_next) / (h + next)
    };
    (diagonal[0], above[0]) = (h[1], h[0] + h[1]);
    right[0] = end(h[0], h[1], d[0], d[1]);
    let n = cells;
    (diagonal[n], below[n]) = (h[n - 2], h[n - 2] + h[n - 1]);
    right[n] = end(h[n - 1], h[n - 2], d[n - 1], d[n - 2]);
    tridiagonal(&below, &diagonal, &above, &right)
}

/// Solves `below[i] s[i-1] + diagonal[i] s[i] + above[i] s[i+1] = right[i]`, whose pivots do not vanish.
fn tridiagonal(below: &[f64], diagonal: &[f64], above: &[f64], right: &[f64]) -> Vec<f64> {
    let count = diagonal.len();
    let mut pivots = diagonal.to_vec();
    let mut s = right.to_vec();
    for i in 1..count {
        let factor = below[i] / pivots[i - 1];
        pivots[i] -= factor * above[i - 1];
        s[i] -= factor * s[i - 1];
    }
    s[count - 1] /= pivots[count - 1];
    for i in (0..count - 1).rev() {
        s[i] = (s[i] - above[i] * s[i + 1]) / pivots[i];
    }
    s
}

/// The same where the first and the last unknown are neighbours: the corners are a matrix of rank one (J. Sherman,
/// W. J. Morrison, Ann. Math. Stat. 21, 124 (1950)).
fn cyclic(below: &[f64], diagonal: &[f64], above: &[f64], right: &[f64]) -> Vec<f64> {
    let last = diagonal.len() - 1;
    let (corner, other) = (below[0], above[last]);
    let scale = -diagonal[0];
    let mut inner = diagonal.to_vec();
    inner[0] -= scale;
    inner[last] -= corner * other / scale;
    let mut column = vec![0.0; last + 1];
    (column[0], column[last]) = (scale, other);
    let s = tridiagonal(below, &inner, above, right);
    let z = tridiagonal(below, &inner, above, &column);
    let share = (s[0] + corner / scale * s[last]) / (1.0 + z[0] + corner / scale * z[last]);
    s.iter().zip(&z).map(|(s, z)| s - share * z).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    fn table(points: &[f64], f: impl Fn(f64) -> f64, periodic: bool) -> Table {
        Table::new(points.to_vec(), points.iter().map(|x| f(*x)).collect(), periodic).unwrap()
    }

    fn even(from: f64, to: f64, count: usize) -> Vec<f64> {
        (0..count).map(|i| from + (to - from) * i as f64 / (count - 1) as f64).collect()
    }

    #[test]
    fn cubics_are_themselves_at_uneven_points_and_go_on_straight() {
        let f = |x: f64| 2.0 - x + 0.5 * x * x - 0.25 * x * x * x;
        let slope = |x: f64| -1.0 + x - 0.75 * x * x;
        let t = table(&[-2.0, -1.7, -0.2, 0.1, 1.0, 2.5], f, false);
        for x in [-2.0, -1.9, -0.5, 0.05, 0.1, 2.0, 2.5] {
            assert!((t.value(x) - f(x)).abs() < 1e-13, "{x}");
            assert!((t.derivative(x) - slope(x)).abs() < 1e-12, "{x}");
        }
        assert!((t.value(4.0) - (f(2.5) + 1.5 * slope(2.5))).abs() < 1e-12);
        assert!((t.value(-3.0) - (f(-2.0) - slope(-2.0))).abs() < 1e-12);
        assert_eq!(t.derivative(1e9), t.derivative(2.5));
        assert!(t.value(f64::NAN).is_nan());
        // Four points are one cubic.
        let t = table(&[-1.0, 0.0, 0.5, 2.0], f, false);
        assert!((t.value(1.3) - f(1.3)).abs() < 1e-13);
    }

    #[test]
    fn value_slope_and_bend_have_no_jumps() {
        let points = [-2.0, -1.2, -1.0, 0.3, 0.4, 2.0, 3.0];
        for periodic in [false, true] {
            let f = |x: f64| (TAU * x / 5.0).sin() + (2.0 * TAU * x / 5.0).cos();
            let t = table(&points, f, periodic);
            let inside = &points[1..points.len() - 1];
            let ends = if periodic { vec![3.0, -2.0, 8.0] } else { vec![] };
            for &x in inside.iter().chain(&ends) {
                let e = 1e-7;
                let bend = |at: f64| (t.derivative(at + e) - t.derivative(at - e)) / (2.0 * e);
                assert!(
                    (t.value(x + e) - t.value(x - e) - 2.0 * e * t.derivative(x)).abs() < 1e-11
                );
                let jump = bend(x + 2.0 * e) - bend(x - 2.0 * e);
                assert!(jump.abs() < 2e-4, "{x}: {jump}");
            }
        }
    }

    #[test]
    fn periods_close_and_repeat() {
        let f = |x: f64| (TAU * x / 3.0).cos();
        let t = table(&even(-1.0, 2.0, 31), f, true);
        let worst = even(-7.0, 9.0, 4001).into_iter().map(|x| (t.value(x) - f(x)).abs());
        assert!(worst.fold(0.0, f64::max) < t.interpolation_error());
        assert!((t.derivative(-1.0) - t.derivative(2.0)).abs() < 1e-12);
        let open = Table::new(vec![0.0, 1.0, 2.0, 3.0], vec![0.0, 1.0, 0.0, 1.0], true);
        assert_eq!(open.unwrap_err().field(), "values[3]");
    }

    #[test]
    fn the_error_is_estimated_for_smooth_functions_and_for_kinks() {
        let smooth = |x: f64| -1.0 / (x * x + 1.0).sqrt() + (-(x - 2.0) * (x - 2.0)).exp();
        for (count, f) in [
            (41, &smooth as &dyn Fn(f64) -> f64),
            (101, &smooth),
            (401, &smooth),
            (100, &|x: f64| x.abs()),
            (57, &|x: f64| (x - 0.1).abs()),
        ] {
            let t = table(&even(-8.0, 8.0, count), f, false);
            let worst = even(-8.0, 8.0, 9973).into_iter().map(|x| (t.value(x) - f(x)).abs());
            let ratio = t.interpolation_error() / worst.fold(0.0, f64::max);
            assert!((1.0..100.0).contains(&ratio), "{count}: {ratio}");
        }
        // Nothing left out to compare with.
        assert_eq!(
            table(&[0.0, 1.0, 2.0, 3.0], smooth, false).interpolation_error(),
            f64::INFINITY
        );
    }

    #[test]
    fn problems_name_their_place() {
        let found = |points: &[f64], values: &[f64]| {
            Table::new(points.to_vec(), values.to_vec(), false).unwrap_err()
        };
        let four = [0.0, 1.0, 2.0, 3.0];
        assert_eq!(found(&four[..3], &four[..3]).field(), "points");
        assert_eq!(found(&four, &four[..3]).field(), "values");
        assert_eq!(found(&[0.0, 1.0, 1.0, 3.0], &four).field(), "points[2]");
        assert_eq!(found(&four, &[0.0, f64::NAN, 0.0, 0.0]).field(), "values[1]");
        let text = found(&[0.0, 2.0, 1.0, 3.0], &four).to_string();
        assert_eq!(text, "points[2]: the points must ascend, found 1 after 2");
    }

    #[test]
    fn tables_are_texts_of_numbers() {
        let t = table(&even(-1.0, 1.0, 5), |x| x * x, false);
        let json = serde_json::to_string(&t).unwrap();
        assert_eq!(serde_json::from_str::<Table>(&json).unwrap(), t);
        assert!(!json.contains("file"), "{json}");
        let bad = "{\"points\":[0,1],\"values\":[0,1]}";
        assert!(serde_json::from_str::<Table>(bad).unwrap().value(0.5).is_nan());
        assert!(
            serde_json::from_str::<Table>("{\"points\":[],\"values\":[],\"file\":\"v\"}").is_err()
        );
    }
}
