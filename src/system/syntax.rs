//! The syntax tree of a formula, and what it says by its structure alone.
//!
//! Values at a few points prove nothing: a tent of width 0.3 is zero at all of them. What holds everywhere follows
//! from the tree: whether a formula is a sum of powers ([`Node::powers`]), its power series where `0/0` hides
//! a finite limit ([`Node::series`]), and where it may have kinks, poles and narrow wells ([`Node::special_points`]).

use std::collections::BTreeMap;

/// A part of a formula.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Number(f64),
    Variable,
    /// Terms, and whether each is subtracted.
    Sum(Vec<(bool, Node)>),
    /// Factors, and whether each divides.
    Product(Vec<(bool, Node)>),
    Negative(Box<Node>),
    Power(Box<Node>, Box<Node>),
    Call(&'static str, Box<Node>),
    /// What stands in parentheses.
    Group(Box<Node>),
}

/// A sum of powers: coefficients by exponent, of `|t|^k` instead of `t^k` where the flag is set (for odd `k` only).
pub(crate) type Powers = BTreeMap<(i32, bool), f64>;

/// Largest exponent that is looked at as one.
const LARGEST_EXPONENT: i32 = 400;

impl Node {
    /// The formula fully parenthesised, as `exmex` reads it.
    pub(crate) fn write(&self, out: &mut String) {
        let list = |out: &mut String, parts: &[(bool, Node)], symbols: [char; 2]| {
            for (i, (inverse, part)) in parts.iter().enumerate() {
                if i > 0 {
                    out.push(symbols[usize::from(*inverse)]);
                }
                part.write(out);
            }
        };
        match self {
            // Without an exponent: `exmex` would take the `e` for Euler's number.
            Node::Number(value) => *out += &value.to_string(),
            Node::Variable => out.push('x'),
            Node::Sum(terms) => list(out, terms, ['+', '-']),
            Node::Product(factors) => list(out, factors, ['*', '/']),
            Node::Negative(inner) => {
                *out += "neg(";
                inner.write(out);
                out.push(')');
            }
            Node::Power(base, exponent) => {
                *out += "((";
                base.write(out);
                *out += ")^(";
                exponent.write(out);
                *out += "))";
            }
            Node::Call(name, inner) => {
                *out += name;
                inner.write(out);
            }
            Node::Group(inner) => {
                out.push('(');
                inner.write(out);
                out.push(')');
            }
        }
    }

    /// The value at `t`. With a list, the value of every part whose zeros may matter is added to it, in a fixed order.
    fn value(&self, t: f64, mut parts: Option<&mut Vec<f64>>) -> f64 {
        let value = match self {
            Node::Number(value) => *value,
            Node::Variable => t,
            Node::Sum(terms) => terms
                .iter()
                .map(|(minus, term)| {
                    let value = term.value(t, parts.as_deref_mut());
                    if *minus { -value } else { value }
                })
                .sum(),
            Node::Product(factors) => factors.iter().fold(1.0, |product, (divides, factor)| {
                let value = factor.value(t, parts.as_deref_mut());
                if *divides { product / value } else { product * value }
            }),
            Node::Negative(inner) => -inner.value(t, parts.as_deref_mut()),
            Node::Power(base, exponent) => {
                let base = base.value(t, parts.as_deref_mut());
                base.powf(exponent.value(t, parts.as_deref_mut()))
            }
            Node::Call(name, inner) => call(name, inner.value(t, parts.as_deref_mut())),
            Node::Group(inner) => return inner.value(t, parts),
        };
        if let Some(parts) = parts
            && matches!(self, Node::Variable | Node::Sum(_))
        {
            parts.push(value);
        }
        value
    }

    /// The value of a part that does not depend on the variable.
    pub(crate) fn constant(&self) -> Option<f64> {
        (!self.depends()).then(|| self.value(f64::NAN, None))
    }

    fn depends(&self) -> bool {
        match self {
            Node::Number(_) => false,
            Node::Variable => true,
            Node::Sum(parts) | Node::Product(parts) => parts.iter().any(|(_, p)| p.depends()),
            Node::Negative(a) | Node::Call(_, a) | Node::Group(a) => a.depends(),
            Node::Power(a, b) => a.depends() || b.depends(),
        }
    }

    /// The formula as a sum of powers of its variable, if it is one for every value of it.
    pub(crate) fn powers(&self) -> Option<Powers> {
        if let Some(value) = self.constant() {
            return value.is_finite().then(|| single(0, false, value));
        }
        match self {
            Node::Number(_) => None,
            Node::Variable => Some(single(1, false, 1.0)),
            Node::Group(inner) => inner.powers(),
            Node::Negative(inner) => {
                Some(inner.powers()?.into_iter().map(|(k, c)| (k, -c)).collect())
            }
            Node::Sum(terms) => {
                let mut sum = Powers::new();
                for (minus, term) in terms {
                    for (k, c) in term.powers()? {
                        *sum.entry(k).or_insert(0.0) += if *minus { -c } else { c };
                    }
                }
                sum.retain(|_, c| *c != 0.0);
                Some(sum)
            }
            Node::Product(factors) => {
                factors.iter().try_fold(single(0, false, 1.0), |product, (divides, factor)| {
                    let factor = factor.powers()?;
                    times(&product, &if *divides { reciprocal(&factor)? } else { factor })
                })
            }
            Node::Power(base, exponent) => {
                let exponent = exponent.constant()?;
                let count = exponent.abs();
                if exponent.fract() != 0.0 || count > f64::from(LARGEST_EXPONENT) {
                    return None;
                }
                let base = base.powers()?;
                let base = if exponent < 0.0 { reciprocal(&base)? } else { base };
                // At most LARGEST_EXPONENT, checked above.
                (0..count as i32).try_fold(single(0, false, 1.0), |p, _| times(&p, &base))
            }
            Node::Call("abs", inner) => {
                let (k, _, c) = monomial(&inner.powers()?)?;
                Some(single(k, k % 2 != 0, c.abs()))
            }
            Node::Call(..) => None,
        }
    }

    /// The power series about zero, for positive values of the variable; `None` where there is none.
    pub(crate) fn series(&self) -> Option<Series> {
        if let Some(value) = self.constant() {
            return value.is_finite().then(|| Series::constant(value));
        }
        match self {
            Node::Number(_) => None,
            Node::Variable => {
                let mut c = [0.0; TERMS];
                c[0] = 1.0;
                Some(Series { lowest: 1, c })
            }
            Node::Group(inner) => inner.series(),
            Node::Negative(inner) => Some(inner.series()?.scaled(-1.0)),
            Node::Sum(terms) => {
                let mut sum = Series::constant(0.0);
                for (minus, term) in terms {
                    let term = term.series()?;
                    sum = sum.plus(&if *minus { term.scaled(-1.0) } else { term });
                }
                Some(sum.trimmed())
            }
            Node::Product(factors) => {
                factors.iter().try_fold(Series::constant(1.0), |product, (divides, factor)| {
                    let factor = factor.series()?;
                    Some(product.times(&if *divides { factor.reciprocal()? } else { factor }))
                })
            }
            Node::Power(base, exponent) => match exponent.constant() {
                Some(p) => base.series()?.power(p),
                None => {
                    let log = base.series()?.ln()?;
                    log.times(&exponent.series()?).exp()
                }
            },
            Node::Call(name, inner) => inner.series()?.call(name),
        }
    }

    /// Where the formula may have a kink, a pole or the middle of something narrow, ascending: zeros of its variable
    /// and of all sums in it. They are looked for at all scales about zero and about each other.
    pub(crate) fn special_points(&self) -> Vec<f64> {
        let mut found: Vec<f64> = vec![0.0];
        for _ in 0..2 {
            let mut grid: Vec<f64> = found.iter().flat_map(|&c| octaves(c)).collect();
            grid.sort_by(f64::total_cmp);
            grid.dedup();
            let at = |t: f64| {
                let mut parts = Vec::new();
                self.value(t, Some(&mut parts));
                parts
            };
            let mut left = at(grid[0]);
            for w in grid.windows(2) {
                let right = at(w[1]);
                for k in 0..left.len() {
                    // Zero itself only from one side, or it would be found twice.
                    let zero = left[k] == 0.0
                        || (left[k] < 0.0 && right[k] > 0.0)
                        || (left[k] > 0.0 && right[k] < 0.0);
                    if zero {
                        found.push(bisected(|t| at(t)[k], w[0], w[1]));
                    }
                }
                left = right;
                if found.len() > 4 * MOST_POINTS {
                    break;
                }
            }
            found.sort_by(f64::total_cmp);
            found.dedup_by(|a, b| (*a - *b).abs() <= 1e-12 * a.abs().max(b.abs()));
            if found.len() > MOST_POINTS {
                // What oscillates has too many to help.
                found.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
                found.truncate(MOST_POINTS);
                found.sort_by(f64::total_cmp);
                break;
            }
        }
        found
    }
}

/// Most special points of a formula.
const MOST_POINTS: usize = 24;

/// Points at all scales on both sides of `centre`, and `centre`.
pub(crate) fn octaves(centre: f64) -> impl Iterator<Item = f64> {
    const STEPS: [f64; 4] = [1.0, 1.25, 1.5, 1.75];
    let away = (-20..=20).flat_map(|k: i32| STEPS.map(|s| s * f64::from(k).exp2()));
    std::iter::once(centre).chain(away.flat_map(move |d| [centre - d, centre + d]))
}

fn bisected(f: impl Fn(f64) -> f64, mut a: f64, mut b: f64) -> f64 {
    let start = f(a);
    if start == 0.0 {
        return a;
    }
    for _ in 0..200 {
        let middle = 0.5 * (a + b);
        if middle <= a || middle >= b {
            break;
        }
        let value = f(middle);
        if value == 0.0 {
            return middle;
        }
        if (value < 0.0) == (start < 0.0) { a = middle } else { b = middle }
    }
    0.5 * (a + b)
}

fn call(name: &str, x: f64) -> f64 {
    match name {
        "abs" => x.abs(),
        "acos" => x.acos(),
        "asin" => x.asin(),
        "atan" => x.atan(),
        "cbrt" => x.cbrt(),
        "cos" => x.cos(),
        "cosh" => x.cosh(),
        "exp" => x.exp(),
        "ln" => x.ln(),
        "log10" => x.log10(),
        "log2" => x.log2(),
        "sech" => x.cosh().recip(),
        "sin" => x.sin(),
        "sinh" => x.sinh(),
        "sqrt" => x.sqrt(),
        "tan" => x.tan(),
        "tanh" => x.tanh(),
        _ => f64::NAN,
    }
}

fn single(k: i32, absolute: bool, c: f64) -> Powers {
    if c == 0.0 { Powers::new() } else { BTreeMap::from([((k, absolute), c)]) }
}

/// Exponent, whether of the absolute value, and coefficient of a sum of one term.
pub(crate) fn monomial(p: &Powers) -> Option<(i32, bool, f64)> {
    match p.len() {
        0 => Some((0, false, 0.0)),
        1 => p.iter().next().map(|(&(k, absolute), &c)| (k, absolute, c)),
        _ => None,
    }
}

fn reciprocal(p: &Powers) -> Option<Powers> {
    let (k, absolute, c) = monomial(p)?;
    (c != 0.0).then(|| single(-k, absolute, 1.0 / c))
}

fn times(a: &Powers, b: &Powers) -> Option<Powers> {
    let mut product = Powers::new();
    for (&(j, p), &c) in a {
        for (&(k, q), &d) in b {
            let absolute = match (j % 2 == 0, k % 2 == 0) {
                (true, _) => q,
                (_, true) => p,
                // t |t| is no power of either.
                _ if p == q => false,
                _ => return None,
            };
            if (j + k).abs() > LARGEST_EXPONENT {
                return None;
            }
            *product.entry((j + k, absolute)).or_insert(0.0) += c * d;
        }
    }
    product.retain(|_, c| *c != 0.0);
    product.values().all(|c| c.is_finite()).then_some(product)
}

/// Terms that are kept of a power series.
const TERMS: usize = 24;

/// `sum_j c_j t^(lowest + j)` for `t > 0`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    lowest: i32,
    c: [f64; TERMS],
}

impl Series {
    fn constant(value: f64) -> Self {
        let mut c = [0.0; TERMS];
        c[0] = value;
        Series { lowest: 0, c }
    }

    /// Exponent and coefficient of the leading term; `(0, 0)` of the zero series.
    pub(crate) fn leading(&self) -> (i32, f64) {
        match self.c.iter().position(|c| *c != 0.0) {
            Some(j) => (self.lowest + j as i32, self.c[j]),
            None => (0, 0.0),
        }
    }

    /// Up to where the terms that were left out do not count.
    pub(crate) fn radius(&self) -> f64 {
        let scale = self.c.iter().copied().find(|c| *c != 0.0).unwrap_or(0.0).abs();
        let bound = |(j, c): (usize, &f64)| (1e-17 * scale / c.abs()).powf(1.0 / j as f64);
        // The last few: odd or even ones may be missing.
        let last = self.c.iter().enumerate().skip(TERMS / 2).filter(|(_, c)| **c != 0.0);
        let radius = last.map(bound).fold(f64::INFINITY, f64::min);
        if radius.is_finite() { 0.5 * radius } else { 1e-3 }
    }

    /// Value and slope at `t >= 0`.
    pub(crate) fn at(&self, t: f64) -> (f64, f64) {
        let (mut value, mut slope) = (0.0, 0.0);
        for j in (0..TERMS).rev() {
            slope = slope * t + value;
            value = value * t + self.c[j];
        }
        if self.lowest == 0 {
            return (value, slope);
        }
        let power = t.powi(self.lowest);
        (value * power, slope * power + value * f64::from(self.lowest) * t.powi(self.lowest - 1))
    }

    fn scaled(mut self, factor: f64) -> Self {
        self.c.iter_mut().for_each(|c| *c *= factor);
        self
    }

    /// Leading zeros removed. What cancels to rounding counts as zero.
    fn trimmed(mut self) -> Self {
        match self.c.iter().position(|c| *c != 0.0) {
            Some(0) | None => self,
            Some(j) => {
                self.c.rotate_left(j);
                self.c[TERMS - j..].fill(0.0);
                self.lowest += j as i32;
                self
            }
        }
    }

    fn plus(&self, other: &Series) -> Series {
        let lowest = self.lowest.min(other.lowest);
        let at = |s: &Series, j: usize| {
            let index = lowest + j as i32 - s.lowest;
            if (0..TERMS as i32).contains(&index) { s.c[index as usize] } else { 0.0 }
        };
        let mut c = [0.0; TERMS];
        for (j, c) in c.iter_mut().enumerate() {
            let (a, b) = (at(self, j), at(other, j));
            *c = a + b;
            if c.abs() <= 4.0 * f64::EPSILON * a.abs().max(b.abs()) {
                *c = 0.0;
            }
        }
        Series { lowest, c }
    }

    fn times(&self, other: &Series) -> Series {
        let mut c = [0.0; TERMS];
        for (j, c) in c.iter_mut().enumerate() {
            *c = (0..=j).map(|i| self.c[i] * other.c[j - i]).sum();
        }
        Series { lowest: self.lowest + other.lowest, c }
    }

    fn reciprocal(&self) -> Option<Series> {
        self.clone().trimmed().power(-1.0)
    }

    /// `s^p` by the recurrence of J. C. P. Miller (P. Henrici, "Automatic computations with power series", J. ACM 3, 10
    /// (1956)).
    fn power(&self, p: f64) -> Option<Series> {
        let s = self.clone().trimmed();
        let first = s.c[0];
        let lowest = f64::from(s.lowest) * p;
        if first == 0.0 || lowest.fract() != 0.0 || lowest.abs() > f64::from(LARGEST_EXPONENT) {
            return if first == 0.0 && p > 0.0 { Some(Series::constant(0.0)) } else { None };
        }
        let mut c = [0.0; TERMS];
        c[0] = first.powf(p);
        for n in 1..TERMS {
            let sum: f64 =
                (1..=n).map(|k| (p * k as f64 - (n - k) as f64) * s.c[k] * c[n - k]).sum();
            c[n] = sum / (n as f64 * first);
        }
        c[0].is_finite().then_some(Series { lowest: lowest as i32, c })
    }

    /// Coefficients from `t^0` on; `None` where negative powers come before.
    fn plain(&self) -> Option<[f64; TERMS]> {
        let s = self.clone().trimmed();
        let mut c = [0.0; TERMS];
        if s.lowest < 0 {
            return s.c.iter().all(|c| *c == 0.0).then_some(c);
        }
        let start = (s.lowest as usize).min(TERMS);
        c[start..].copy_from_slice(&s.c[..TERMS - start]);
        Some(c)
    }

    /// The series with the value `start` at zero whose derivative is `rate`.
    fn integrated(start: f64, rate: &[f64; TERMS]) -> Series {
        let mut c = [0.0; TERMS];
        c[0] = start;
        for n in 1..TERMS {
            c[n] = rate[n - 1] / n as f64;
        }
        Series { lowest: 0, c }
    }

    fn derivative(c: &[f64; TERMS]) -> Series {
        let mut d = [0.0; TERMS];
        for n in 1..TERMS {
            d[n - 1] = n as f64 * c[n];
        }
        Series { lowest: 0, c: d }
    }

    fn exp(&self) -> Option<Series> {
        let a = self.plain()?;
        let mut c = [0.0; TERMS];
        c[0] = a[0].exp();
        for n in 1..TERMS {
            c[n] = (1..=n).map(|k| k as f64 * a[k] * c[n - k]).sum::<f64>() / n as f64;
        }
        c[0].is_finite().then_some(Series { lowest: 0, c })
    }

    /// Sine and cosine.
    fn sin_cos(&self) -> Option<(Series, Series)> {
        let a = self.plain()?;
        let (mut s, mut c) = ([0.0; TERMS], [0.0; TERMS]);
        (s[0], c[0]) = a[0].sin_cos();
        for n in 1..TERMS {
            let rate = |of: &[f64; TERMS]| {
                (1..=n).map(|k| k as f64 * a[k] * of[n - k]).sum::<f64>() / n as f64
            };
            (s[n], c[n]) = (rate(&c), -rate(&s));
        }
        Some((Series { lowest: 0, c: s }, Series { lowest: 0, c }))
    }

    /// The series of `f` whose derivative by its argument is `slope`, with the value `start` at zero.
    fn with_slope(&self, start: f64, slope: Option<Series>) -> Option<Series> {
        let rate = slope?.times(&Series::derivative(&self.plain()?)).plain()?;
        start.is_finite().then(|| Series::integrated(start, &rate))
    }

    fn ln(&self) -> Option<Series> {
        let a = self.plain()?;
        if a[0] <= 0.0 {
            return None;
        }
        self.with_slope(a[0].ln(), self.reciprocal())
    }

    fn call(&self, name: &str) -> Option<Series> {
        let start = self.plain().map(|a| a[0]);
        let square = || self.times(self);
        let one = Series::constant(1.0);
        let found = match name {
            "abs" => {
                let sign = self.leading().1.signum();
                self.clone().scaled(sign)
            }
            "sqrt" if self.leading().1 >= 0.0 => self.power(0.5)?,
            "cbrt" if self.leading().1 >= 0.0 => self.power(1.0 / 3.0)?,
            "exp" => self.exp()?,
            "ln" => self.ln()?,
            "log10" => self.ln()?.scaled(std::f64::consts::LOG10_E),
            "log2" => self.ln()?.scaled(std::f64::consts::LOG2_E),
            "sin" => self.sin_cos()?.0,
            "cos" => self.sin_cos()?.1,
            "tan" => {
                let (s, c) = self.sin_cos()?;
                s.times(&c.reciprocal()?)
            }
            "sinh" | "cosh" | "tanh" | "sech" => {
                let (up, down) = (self.exp()?, self.clone().scaled(-1.0).exp()?);
                let sinh = up.plus(&down.clone().scaled(-1.0)).scaled(0.5).trimmed();
                let cosh = up.plus(&down).scaled(0.5);
                match name {
                    "sinh" => sinh,
                    "cosh" => cosh,
                    "tanh" => sinh.times(&cosh.reciprocal()?),
                    _ => cosh.reciprocal()?,
                }
            }
            "atan" => self.with_slope(start?.atan(), one.plus(&square()).reciprocal())?,
            "asin" | "acos" => {
                let slope = one.plus(&square().scaled(-1.0)).power(-0.5);
                let asin = self.with_slope(start?.asin(), slope)?;
                if name == "asin" {
                    asin
                } else {
                    Series::constant(std::f64::consts::FRAC_PI_2).plus(&asin.scaled(-1.0))
                }
            }
            _ => return None,
        };
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::formula::Formula;
    use super::*;

    fn powers(text: &str) -> Option<Powers> {
        Formula::<'x'>::new(text).unwrap().powers()
    }

    #[test]
    fn monomials_are_recognised_by_structure() {
        for (text, expected) in [
            ("0.5*x^2", Some((2, false, 0.5))),
            ("x*x/2", Some((2, false, 0.5))),
            ("-(2*x)^2", Some((2, false, -4.0))),
            ("abs(x)^2", Some((2, false, 1.0))),
            ("2/x^2", Some((-2, false, 2.0))),
            ("3/(abs(x)*abs(x)*x^2)", Some((-4, false, 3.0))),
            ("1/abs(x)", Some((-1, true, 1.0))),
            ("x^2 + x - x", Some((2, false, 1.0))),
            ("0*x", Some((0, false, 0.0))),
            ("sqrt(4)*x^2", Some((2, false, 2.0))),
            ("x^2 + 1", None),
        ] {
            assert_eq!(powers(text).and_then(|p| monomial(&p)), expected, "{text}");
        }
        for text in [
            "50*((0.3-abs(x))+abs(0.3-abs(x)))",
            "100*exp(-x^2/(2*0.009^2))",
            "(0.5*x^2+8-abs(0.5*x^2-8))/2",
            "0.5*x^2 - 100*exp(-10*(x-10)^2)",
            "x*abs(x)",
            "sqrt(x^4)",
        ] {
            assert_eq!(powers(text), None, "{text}");
        }
    }

    #[test]
    fn series_have_the_limits_of_their_formulas() {
        for (text, power, limit) in [
            ("(1-exp(-x^2))/x^2", 0, 1.0),
            ("(1-cos(x))/x^2", 0, 0.5),
            ("sin(3*x)/x", 0, 3.0),
            ("tanh(x)/x - 1", 2, -1.0 / 3.0),
            ("(sqrt(1+x^2)-1)/x^2", 0, 0.5),
            ("(cosh(x)-1-x^2/2)/x^4", 0, 1.0 / 24.0),
            ("(x-atan(x))/x^3", 0, 1.0 / 3.0),
            ("(asin(x)-x)/x^3", 0, 1.0 / 6.0),
            ("ln(1+x^2)/x^2", 0, 1.0),
            ("(1-exp(-abs(x)))/abs(x)", 0, 1.0),
            ("exp(-x^2)/x^2", -2, 1.0),
            ("1/(x^2+x^4)", -2, 1.0),
            ("1/sinh(x)^2 - 1/x^2", 0, -1.0 / 3.0),
            ("(1+x^2)^0.5 - 1", 2, 0.5),
            ("sqrt(x^2)", 1, 1.0),
        ] {
            let f = Formula::<'x'>::new(text).unwrap();
            let series = f.series().unwrap_or_else(|| panic!("{text}"));
            let (found, c) = series.leading();
            assert_eq!(found, power, "{text}: {c}");
            assert!((c - limit).abs() < 1e-12, "{text}: {c}");
            if power >= 0 {
                let t = series.radius();
                let value = f.plain(t);
                let error = (series.at(t).0 - value).abs();
                assert!(t >= 1e-3 && error < 1e-9 * value.abs().max(1e-2), "{text}: {t} {error:e}");
            }
        }
        for text in ["ln(x)", "exp(-1/x^2)", "x^0.5"] {
            assert!(Formula::<'x'>::new(text).unwrap().series().is_none(), "{text}");
        }
    }

    #[test]
    fn kinks_and_narrow_wells_are_found_wherever_they_are() {
        for (text, expected) in [
            ("abs(x-40)", vec![40.0]),
            ("exp(-1000*(x+17.3)^2)", vec![-17.3]),
            ("abs(0.5*x^2-8)", vec![-4.0, 4.0]),
            ("abs(abs(x-400)-0.01)", vec![399.99, 400.0, 400.01]),
        ] {
            let found = Formula::<'x'>::new(text).unwrap().special_points();
            for point in expected {
                assert!(found.iter().any(|f| (f - point).abs() < 1e-9), "{text}: {found:?}");
            }
        }
    }
}
