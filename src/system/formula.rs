//! User formulas in one variable: checked, compiled once, evaluated with or without a derivative.
//!
//! The crate `exmex` compiles and evaluates. It does not read the user's text, though: it gives a
//! unary minus a higher priority than `^`, so that `exp(-x^2)` would mean `exp((-x)^2)`, reads `1e-3`
//! as a product with Euler's number, and reports errors without a position. So the text is read here by
//! the rules of mathematics, and what `exmex` gets is a fully parenthesised equivalent. Its operators
//! are our own, generic over the number, so that the same text is compiled for `f64` and for the dual
//! numbers of `autodiff`.

use super::syntax::{Node, Powers, Series};
use crate::math::scalar::Dual;
use crate::nearest::{nearest, suggestion};
use exmex::{BinOp, Express, FlatEx, MakeOperators, Operator};
use num_traits::Float;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::f64::consts;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

/// Longest formula accepted, in characters.
pub const MAX_LENGTH: usize = 1000;

/// Deepest nesting of parentheses, functions, signs and exponents accepted.
///
/// The compiler recurses once or twice a level, on the stack.
pub const MAX_DEPTH: usize = 32;

/// A valid formula in the variable `VARIABLE` (`x` for an external potential, `d` for an interaction).
///
/// Numbers, `+ - * / ^`, parentheses, the constants `pi`, `tau`, `e` and the functions of
/// [`FUNCTIONS`]. As in print, `^` binds tighter than a sign in front (`-x^2` is `-(x^2)`) and groups
/// to the right (`2^3^2` is `2^9`); multiplication is always written out.
///
/// A value of this type has been parsed and compiled: evaluation cannot fail.
///
/// ```
/// use weylflow::system::formula::Formula;
/// let v: Formula<'x'> = "exp(-x^2)".parse()?;
/// assert_eq!(v.value(1.0), (-1.0f64).exp());
/// assert_eq!(v.derivative(1.0), -2.0 * (-1.0f64).exp());
/// # Ok::<(), weylflow::system::formula::FormulaError>(())
/// ```
#[derive(Clone)]
pub struct Formula<const VARIABLE: char> {
    text: String,
    // Shared, because specs and Hamiltonians are cloned freely.
    compiled: Arc<Compiled>,
}

struct Compiled {
    value: Expression<f64>,
    derivative: Expression<Dual>,
    tree: Node,
    /// The series about zero and how far it is used, where the formula has no number at zero but a limit.
    limit: Option<(Series, f64)>,
    /// Found when they are first asked for.
    special: OnceLock<Vec<f64>>,
}

type Expression<T> = FlatEx<Number<T>, Operators>;

impl<const VARIABLE: char> Formula<VARIABLE> {
    /// Reads and compiles a formula.
    ///
    /// # Errors
    ///
    /// [`FormulaError`], with the column of the first thing that is wrong.
    pub fn new(text: &str) -> Result<Self, FormulaError> {
        let tree = Reader::new(text, VARIABLE, &[])?.read()?;
        let mut canonical = String::new();
        tree.write(&mut canonical);
        // What `exmex` is given is well formed by construction; should it ever disagree, the user
        // learns so instead of meeting a panic.
        let refuse = |e: exmex::ExError| FormulaError {
            formula: text.to_owned(),
            column: 1,
            problem: FormulaProblem::Compiler(e.msg().to_owned()),
        };
        let value = Expression::parse(&canonical).map_err(refuse)?;
        let derivative = Expression::parse(&canonical).map_err(refuse)?;
        let plain = value.eval_relaxed(&[Number(0.0)]).map_or(f64::NAN, |n| n.0);
        let limit = if plain.is_finite() { None } else { tree.series() };
        let limit = limit.filter(|s| s.leading().0 >= 0).map(|s| {
            let radius = s.radius();
            (s, radius)
        });
        let special = OnceLock::new();
        let compiled = Arc::new(Compiled { value, derivative, tree, limit, special });
        Ok(Formula { text: text.to_owned(), compiled })
    }

    /// The formula as the user wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Value of the formula; not a number where the formula has none (`sqrt(x)` at `x < 0`). At and near zero it is that of
    /// the power series where the formula itself would be `0/0`, as `sin(x)/x` is: the limit from the right, for either sign.
    pub fn value(&self, x: f64) -> f64 {
        match &self.compiled.limit {
            Some((series, radius)) if x.abs() < *radius => series.at(x.abs()).0,
            _ => self.plain(x),
        }
    }

    /// Value of the formula as it is written.
    pub(crate) fn plain(&self, x: f64) -> f64 {
        // An error would be a wrong number of variables, excluded when the formula was read.
        self.compiled.value.eval_relaxed(&[Number(x)]).map_or(f64::NAN, |n| n.0)
    }

    /// Derivative of the formula with respect to its variable, by dual numbers.
    pub fn derivative(&self, x: f64) -> f64 {
        if let Some((series, radius)) = &self.compiled.limit
            && x.abs() < *radius
        {
            return series.at(x.abs()).1 * x.signum();
        }
        self.compiled.derivative.eval_relaxed(&[Number(Dual::var(x))]).map_or(f64::NAN, |n| n.0.dx)
    }

    /// The formula as a sum of powers, by its structure.
    pub(crate) fn powers(&self) -> Option<Powers> {
        self.compiled.tree.powers()
    }

    /// The power series about zero.
    pub(crate) fn series(&self) -> Option<Series> {
        self.compiled.tree.series()
    }

    /// Where kinks, poles and narrow wells may be: see [`Node::special_points`].
    pub(crate) fn special_points(&self) -> Vec<f64> {
        let compiled = &self.compiled;
        compiled.special.get_or_init(|| compiled.tree.special_points()).clone()
    }
}

impl<const VARIABLE: char> FromStr for Formula<VARIABLE> {
    type Err = FormulaError;
    fn from_str(text: &str) -> Result<Self, FormulaError> {
        Formula::new(text)
    }
}

impl<const VARIABLE: char> fmt::Debug for Formula<VARIABLE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Formula").field(&self.text).finish()
    }
}

impl<const VARIABLE: char> PartialEq for Formula<VARIABLE> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<const VARIABLE: char> Serialize for Formula<VARIABLE> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de, const VARIABLE: char> Deserialize<'de> for Formula<VARIABLE> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Formula::new(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Value of a formula in named parameters alone.
///
/// # Errors
///
/// [`FormulaError`], with the column of the first thing that is wrong.
pub fn number(text: &str, parameters: &[(String, f64)]) -> Result<f64, FormulaError> {
    let tree = Reader::new(text, NO_VARIABLE, parameters)?.read()?;
    Ok(tree.constant().unwrap_or(f64::NAN))
}

/// Whether a formula in one variable and named parameters can be read.
///
/// # Errors
///
/// [`FormulaError`], with the column of the first thing that is wrong.
pub fn check(text: &str, variable: char, parameters: &[(String, f64)]) -> Result<(), FormulaError> {
    Reader::new(text, variable, parameters)?.read().map(|_| ())
}

/// The names in a formula and where they are, by characters from 0.
pub(crate) fn names(text: &str) -> Vec<(Range<usize>, String)> {
    let reader = Reader::new(text, NO_VARIABLE, &[]);
    let tokens = reader.map_or_else(|_| Vec::new(), |r| r.tokens);
    let name = |(token, column): (Token, usize)| match token {
        Token::Name(name) => Some((column - 1..column - 1 + name.chars().count(), name)),
        _ => None,
    };
    tokens.into_iter().filter_map(name).collect()
}

/// Whether a parameter may have this name: a letter, then letters, digits and `_`, and nothing that a formula knows.
pub fn may_name_a_parameter(name: &str) -> bool {
    let known = ["x", "d", "log"].into_iter().chain(FUNCTIONS);
    name.starts_with(char::is_alphabetic)
        && name.chars().all(|c| c.is_alphabetic() || c.is_ascii_digit() || c == '_')
        && !known.chain(CONSTANTS.map(|(c, _)| c)).any(|k| k == name)
}

/// The variable of formulas without one: no name is spelt so.
const NO_VARIABLE: char = '\0';

/// A formula that cannot be used, and where.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "column {column} of the formula: {problem}\n  {formula}\n  {:>width$}",
    "^",
    width = column
)]
pub struct FormulaError {
    /// The text of the formula.
    pub formula: String,
    /// Column of the error within the formula, in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: FormulaProblem,
}

/// What can be wrong with a formula.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FormulaProblem {
    /// Nothing but blanks.
    #[error("the formula is empty")]
    Empty,
    /// Longer than [`MAX_LENGTH`].
    #[error("the formula has {0} characters, at most {MAX_LENGTH} are allowed")]
    TooLong(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("the formula is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A character that means nothing here.
    #[error("unexpected character `{}`{}", .0.escape_default(), plain_form(*.0))]
    UnexpectedCharacter(char),
    /// `**`, the power of other languages.
    #[error("`**` is not an operator here: the power is written `^`")]
    DoubleStar,
    /// A comma: no function takes two arguments.
    #[error(
        "unexpected `,`: every function takes one argument, and decimals are written with a point"
    )]
    Comma,
    /// A malformed number.
    #[error("malformed number `{0}`")]
    MalformedNumber(String),
    /// A number that `f64` cannot hold.
    #[error("the number `{0}` is too large")]
    NumberOverflow(String),
    /// A name that is followed by a parenthesis but is no function.
    #[error("unknown function `{name}`{}", suggestion(*.nearest))]
    UnknownFunction {
        /// The name as written.
        name: String,
        /// The function most likely meant.
        nearest: Option<&'static str>,
    },
    /// A distribution.
    #[error(
        "unknown function `{0}`: formulas are functions of the distance; the delta function is the interaction Contact(strength: ..)"
    )]
    NoDelta(String),
    /// A name that is neither the variable nor a constant.
    #[error("unknown name `{name}`: the variable here is `{variable}`{}", suggestion(*.nearest))]
    UnknownName {
        /// The name as written.
        name: String,
        /// The only variable.
        variable: char,
        /// The constant most likely meant.
        nearest: Option<&'static str>,
    },
    /// A name that is neither the variable nor a constant nor one of the named parameters.
    #[error("unknown name `{name}`: {known}{}", suggestion(.nearest.as_deref()))]
    UnknownParameter {
        /// The name as written.
        name: String,
        /// What there is.
        known: String,
        /// The name most likely meant.
        nearest: Option<String>,
    },
    /// `log`, which is the natural logarithm to some and the decimal one to others.
    #[error("`log` is ambiguous: write `ln` or `log10`")]
    AmbiguousLogarithm,
    /// A function name without an argument.
    #[error("`{0}` is a function: write `{0}(...)`")]
    MissingArgument(String),
    /// Two operands next to each other.
    #[error("expected an operator before `{0}`: multiplication is written `*`")]
    MissingOperator(String),
    /// An operator, a closing parenthesis or the end where an operand should be.
    #[error("expected a number, a name or `(`, found {0}")]
    MissingOperand(String),
    /// A parenthesis that is never closed.
    #[error("this `(` is never closed")]
    UnclosedParenthesis,
    /// A closing parenthesis without an opening one.
    #[error("this `)` closes nothing")]
    UnmatchedParenthesis,
    /// The compiler behind refused a text that looked well formed.
    #[error("the formula cannot be compiled: {0}")]
    Compiler(String),
}

/// What to write instead of a typographic character.
fn plain_form(c: char) -> &'static str {
    match c {
        '\u{2212}' | '\u{2013}' | '\u{2014}' => ": a minus is written `-`",
        '\u{d7}' | '\u{b7}' | '\u{22c5}' => ": multiplication is written `*`",
        '\u{f7}' | ':' => ": division is written `/`",
        '\u{b2}' => ": a square is written `^2`",
        '\u{b3}' => ": a cube is written `^3`",
        '\u{221a}' => ": the square root is written `sqrt(...)`",
        '[' | ']' | '{' | '}' => ": group with `(` and `)`",
        _ => "",
    }
}

/// Names of the functions a formula may use, each with one argument.
pub const FUNCTIONS: [&str; 17] = [
    "abs", "acos", "asin", "atan", "cbrt", "cos", "cosh", "exp", "ln", "log10", "log2", "sech",
    "sin", "sinh", "sqrt", "tan", "tanh",
];

/// Names and values of the constants a formula may use.
pub const CONSTANTS: [(&str, f64); 3] =
    [("pi", consts::PI), ("tau", consts::TAU), ("e", consts::E)];

/// The number type `exmex` computes with; it exists because `exmex` wants to parse its literals.
#[derive(Clone, Copy, Debug, Default)]
struct Number<T>(T);

impl<T: Float> FromStr for Number<T> {
    type Err = std::num::ParseFloatError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Number(T::from(text.parse::<f64>()?).unwrap_or_else(T::nan)))
    }
}

/// What a formula needs beyond `Float`.
trait Real: Float + fmt::Debug {
    /// `self` to the power `exponent`.
    fn power(self, exponent: Self) -> Self;
}

impl Real for f64 {
    fn power(self, exponent: f64) -> f64 {
        self.powf(exponent)
    }
}

impl Real for Dual {
    fn power(self, exponent: Dual) -> Dual {
        let value = self.x.powf(exponent.x);
        let mut derivative = 0.0;
        // Each term only where it exists: the logarithm of a negative base does not, and x^2 is fine
        // without it.
        if self.dx != 0.0 && exponent.x != 0.0 {
            derivative += exponent.x * self.x.powf(exponent.x - 1.0) * self.dx;
        }
        if exponent.dx != 0.0 {
            derivative += value * self.x.ln() * exponent.dx;
        }
        Dual::new(value, derivative)
    }
}

/// The operators of [`FUNCTIONS`] for `exmex`.
#[derive(Clone, Debug)]
struct Operators;

impl<T: Real> MakeOperators<Number<T>> for Operators {
    fn make<'a>() -> Vec<Operator<'a, Number<T>>> {
        fn binary<'a, T: Real>(
            name: &'a str,
            prio: i64,
            is_commutative: bool,
            apply: fn(Number<T>, Number<T>) -> Number<T>,
        ) -> Operator<'a, Number<T>> {
            Operator::make_bin(name, BinOp { apply, prio, is_commutative })
        }
        vec![
            binary("+", 0, true, |a, b| Number(a.0 + b.0)),
            binary("-", 1, false, |a, b| Number(a.0 - b.0)),
            binary("*", 2, true, |a, b| Number(a.0 * b.0)),
            binary("/", 3, false, |a, b| Number(a.0 / b.0)),
            binary("^", 4, false, |a, b| Number(a.0.power(b.0))),
            Operator::make_unary("neg", |a| Number(-a.0)),
            Operator::make_unary("abs", |a| Number(a.0.abs())),
            Operator::make_unary("acos", |a| Number(a.0.acos())),
            Operator::make_unary("asin", |a| Number(a.0.asin())),
            Operator::make_unary("atan", |a| Number(a.0.atan())),
            Operator::make_unary("cbrt", |a| Number(a.0.cbrt())),
            Operator::make_unary("cos", |a| Number(a.0.cos())),
            Operator::make_unary("cosh", |a| Number(a.0.cosh())),
            Operator::make_unary("exp", |a| Number(a.0.exp())),
            Operator::make_unary("ln", |a| Number(a.0.ln())),
            Operator::make_unary("log10", |a| Number(a.0.log10())),
            Operator::make_unary("log2", |a| Number(a.0.log2())),
            Operator::make_unary("sech", |a| Number(a.0.cosh().recip())),
            Operator::make_unary("sin", |a| Number(a.0.sin())),
            Operator::make_unary("sinh", |a| Number(a.0.sinh())),
            Operator::make_unary("sqrt", |a| Number(a.0.sqrt())),
            Operator::make_unary("tan", |a| Number(a.0.tan())),
            Operator::make_unary("tanh", |a| Number(a.0.tanh())),
        ]
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(f64),
    Name(String),
    /// One of `+ - * / ^ ( )`.
    Symbol(char),
    End,
}

/// Reads the user's text by recursive descent into its tree:
///
/// ```text
/// sum     = product { (+|-) product }
/// product = signed { (*|/) signed }
/// signed  = (+|-) signed | power
/// power   = atom [ ^ signed ]
/// atom    = number | name | name ( sum ) | ( sum )
/// ```
struct Reader<'a> {
    text: &'a str,
    variable: char,
    parameters: &'a [(String, f64)],
    /// Tokens with their columns.
    tokens: Vec<(Token, usize)>,
    next: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn new(
        text: &'a str,
        variable: char,
        parameters: &'a [(String, f64)],
    ) -> Result<Self, FormulaError> {
        let mut reader =
            Reader { text, variable, parameters, tokens: Vec::new(), next: 0, depth: 0 };
        let length = text.chars().count();
        if length > MAX_LENGTH {
            return Err(reader.error(MAX_LENGTH + 1, FormulaProblem::TooLong(length)));
        }
        reader.tokenise()?;
        Ok(reader)
    }

    fn error(&self, column: usize, problem: FormulaProblem) -> FormulaError {
        FormulaError { formula: self.text.to_owned(), column, problem }
    }

    fn tokenise(&mut self) -> Result<(), FormulaError> {
        let chars: Vec<char> = self.text.chars().collect();
        let mut i = 0;
        while i < chars.len() {
            let start = i;
            let c = chars[i];
            let token = match c {
                ' ' | '\t' | '\n' | '\r' => {
                    i += 1;
                    continue;
                }
                '*' if chars.get(i + 1) == Some(&'*') => {
                    return Err(self.error(start + 1, FormulaProblem::DoubleStar));
                }
                '+' | '-' | '*' | '/' | '^' | '(' | ')' => {
                    i += 1;
                    Token::Symbol(c)
                }
                '0'..='9' | '.' => {
                    i = end_of_number(&chars, i);
                    let literal: String = chars[start..i].iter().collect();
                    match literal.parse::<f64>() {
                        Ok(value) if value.is_finite() => Token::Number(value),
                        Ok(_) => {
                            let problem = FormulaProblem::NumberOverflow(literal);
                            return Err(self.error(start + 1, problem));
                        }
                        Err(_) => {
                            let problem = FormulaProblem::MalformedNumber(literal);
                            return Err(self.error(start + 1, problem));
                        }
                    }
                }
                ',' => return Err(self.error(start + 1, FormulaProblem::Comma)),
                _ if c.is_alphabetic() || c == '_' => {
                    while i < chars.len()
                        && (chars[i].is_alphabetic()
                            || chars[i].is_ascii_digit()
                            || chars[i] == '_')
                    {
                        i += 1;
                    }
                    Token::Name(chars[start..i].iter().collect())
                }
                _ => {
                    return Err(self.error(start + 1, FormulaProblem::UnexpectedCharacter(c)));
                }
            };
            self.tokens.push((token, start + 1));
        }
        if self.tokens.is_empty() {
            return Err(self.error(1, FormulaProblem::Empty));
        }
        self.tokens.push((Token::End, chars.len() + 1));
        Ok(())
    }

    fn peek(&self) -> &Token {
        // The last token is `End`, which nothing consumes.
        &self.tokens[self.next].0
    }

    fn column(&self) -> usize {
        self.tokens[self.next].1
    }

    /// Consumes the next token if it is one of `symbols`.
    fn accept(&mut self, symbols: &str) -> Option<char> {
        match *self.peek() {
            Token::Symbol(c) if symbols.contains(c) => {
                self.next += 1;
                Some(c)
            }
            _ => None,
        }
    }

    /// The next token as an error message quotes it.
    fn quoted(&self) -> String {
        match self.peek() {
            Token::Number(value) => value.to_string(),
            Token::Name(name) => name.clone(),
            Token::Symbol(c) => c.to_string(),
            Token::End => String::new(),
        }
    }

    fn read(mut self) -> Result<Node, FormulaError> {
        let tree = self.sum()?;
        match self.peek() {
            Token::End => Ok(tree),
            Token::Symbol(')') => {
                Err(self.error(self.column(), FormulaProblem::UnmatchedParenthesis))
            }
            _ => Err(self.error(self.column(), FormulaProblem::MissingOperator(self.quoted()))),
        }
    }

    /// Runs `inner` one level deeper.
    fn nested(
        &mut self,
        inner: fn(&mut Self) -> Result<Node, FormulaError>,
    ) -> Result<Node, FormulaError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(self.column(), FormulaProblem::TooDeep));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn sum(&mut self) -> Result<Node, FormulaError> {
        let first = self.product()?;
        let mut terms = vec![(false, first)];
        while let Some(operator) = self.accept("+-") {
            terms.push((operator == '-', self.product()?));
        }
        Ok(alone_or(terms, Node::Sum))
    }

    fn product(&mut self) -> Result<Node, FormulaError> {
        let first = self.signed()?;
        let mut factors = vec![(false, first)];
        while let Some(operator) = self.accept("*/") {
            factors.push((operator == '/', self.signed()?));
        }
        Ok(alone_or(factors, Node::Product))
    }

    fn signed(&mut self) -> Result<Node, FormulaError> {
        match self.accept("+-") {
            Some('-') => Ok(Node::Negative(Box::new(self.nested(Self::signed)?))),
            Some(_) => self.nested(Self::signed),
            None => self.power(),
        }
    }

    fn power(&mut self) -> Result<Node, FormulaError> {
        let base = self.atom()?;
        if self.accept("^").is_some() {
            let exponent = self.nested(Self::signed)?;
            return Ok(Node::Power(Box::new(base), Box::new(exponent)));
        }
        Ok(base)
    }

    fn atom(&mut self) -> Result<Node, FormulaError> {
        let column = self.column();
        match self.peek().clone() {
            Token::Number(value) => {
                self.next += 1;
                Ok(Node::Number(value))
            }
            Token::Name(name) => {
                self.next += 1;
                self.named(name, column)
            }
            Token::Symbol('(') => self.parenthesised(),
            Token::Symbol(c) => {
                Err(self.error(column, FormulaProblem::MissingOperand(format!("`{c}`"))))
            }
            Token::End => Err(self.error(
                column,
                FormulaProblem::MissingOperand("the end of the formula".to_owned()),
            )),
        }
    }

    fn named(&mut self, name: String, column: usize) -> Result<Node, FormulaError> {
        let called = *self.peek() == Token::Symbol('(');
        let is_variable = name.chars().eq([self.variable]);
        if is_variable || CONSTANTS.iter().any(|(c, _)| *c == name) {
            if called {
                let problem = FormulaProblem::MissingOperator("(".to_owned());
                return Err(self.error(self.column(), problem));
            }
            let constant = CONSTANTS.iter().find(|(c, _)| *c == name);
            return Ok(constant.map_or(Node::Variable, |(_, value)| Node::Number(*value)));
        }
        if let Some((_, value)) = self.parameters.iter().find(|(p, _)| *p == name) {
            if called {
                let problem = FormulaProblem::MissingOperator("(".to_owned());
                return Err(self.error(self.column(), problem));
            }
            return Ok(Node::Number(*value));
        }
        let function = FUNCTIONS.into_iter().find(|f| *f == name);
        let problem = match (function, called) {
            (Some(function), true) => {
                return Ok(Node::Call(function, Box::new(self.parenthesised()?)));
            }
            (Some(_), false) => FormulaProblem::MissingArgument(name),
            _ if name == "log" => FormulaProblem::AmbiguousLogarithm,
            (None, true) if ["delta", "dirac", "contact"].contains(&name.as_str()) => {
                FormulaProblem::NoDelta(name)
            }
            (None, true) => {
                let nearest = nearest(&name, FUNCTIONS);
                FormulaProblem::UnknownFunction { name, nearest }
            }
            (None, false) if !self.parameters.is_empty() || self.variable == NO_VARIABLE => {
                let names = self.parameters.iter().map(|(p, _)| p.as_str());
                let constants = CONSTANTS.map(|(c, _)| c);
                let nearest = nearest(&name, names.clone().chain(constants)).map(str::to_owned);
                let listed: Vec<String> = names.map(|p| format!("`{p}`")).collect();
                let mut known = match self.variable {
                    NO_VARIABLE => String::new(),
                    variable => format!("the variable here is `{variable}`, "),
                };
                known += &format!("the parameters are {}", listed.join(", "));
                FormulaProblem::UnknownParameter { name, known, nearest }
            }
            (None, false) => {
                let nearest = nearest(&name, CONSTANTS.map(|(c, _)| c));
                FormulaProblem::UnknownName { name, variable: self.variable, nearest }
            }
        };
        Err(self.error(column, problem))
    }

    fn parenthesised(&mut self) -> Result<Node, FormulaError> {
        let opening = self.column();
        self.accept("(");
        let inner = self.nested(Self::sum)?;
        if self.accept(")").is_some() {
            return Ok(Node::Group(Box::new(inner)));
        }
        Err(match self.peek() {
            Token::End => self.error(opening, FormulaProblem::UnclosedParenthesis),
            _ => self.error(self.column(), FormulaProblem::MissingOperator(self.quoted())),
        })
    }
}

/// A list of one part is that part.
fn alone_or(mut parts: Vec<(bool, Node)>, list: fn(Vec<(bool, Node)>) -> Node) -> Node {
    match parts.pop() {
        Some((_, part)) if parts.is_empty() => part,
        Some(last) => {
            parts.push(last);
            list(parts)
        }
        None => list(parts),
    }
}

/// Index past the number that starts at `i`, with all that a reader would take for part of it.
fn end_of_number(chars: &[char], mut i: usize) -> usize {
    let digit_or_point = |i: usize| chars.get(i).is_some_and(|c| c.is_ascii_digit() || *c == '.');
    while digit_or_point(i) {
        i += 1;
    }
    if matches!(chars.get(i), Some('e' | 'E')) {
        let signed = matches!(chars.get(i + 1), Some('+' | '-'));
        let digits = i + 1 + usize::from(signed);
        // `2e` alone is no exponent: it is left to be reported as a missing operator.
        if digit_or_point(digits) {
            i = digits;
            while digit_or_point(i) {
                i += 1;
            }
        }
    }
    i
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::{E, PI};

    fn at(text: &str, x: f64) -> f64 {
        Formula::<'x'>::new(text).unwrap_or_else(|e| panic!("{e}")).value(x)
    }

    #[test]
    fn precedence_is_that_of_mathematics() {
        // Values by hand, at x = 3.
        for (text, expected) in [
            ("-x^2", -9.0),
            ("(-x)^2", 9.0),
            ("exp(-x^2)", (-9.0f64).exp()),
            ("2*-x^2", -18.0),
            ("x^-2", 1.0 / 9.0),
            ("2^-x^2", 1.0 / 512.0),
            ("2^3^2", 512.0),
            ("(2^3)^2", 64.0),
            ("-2^2", -4.0),
            ("1-x^2", -8.0),
            ("1 - -x^2", 10.0),
            ("--x", 3.0),
            ("-+-x", 3.0),
            ("---x^2", -9.0),
            ("+x", 3.0),
            ("2+3*4", 14.0),
            ("2*3+4", 10.0),
            ("10-4-3", 3.0),
            ("10-4+3", 9.0),
            ("10+4-3-2+1", 10.0),
            ("24/4/3", 2.0),
            ("24/4*3", 18.0),
            ("24*4/3", 32.0),
            ("2/3*6/4", 1.0),
            ("1/x*x", 1.0),
            ("1/(x*x)", 1.0 / 9.0),
            ("6/2*(1+2)", 9.0),
            ("1/2*x^2", 4.5),
            ("x^2/2", 4.5),
            ("x^2^0", 3.0),
            ("-x^2/2", -4.5),
            ("-1/x^2", -1.0 / 9.0),
            ("2^x-1", 7.0),
            ("2^(x-1)", 4.0),
            ("sqrt(x^2+16)^2", 25.0),
            ("-sqrt(16)^2", -16.0),
            ("2-sqrt(4)*3", -4.0),
            ("-sin(x)^2-cos(x)^2", -1.0),
            ("abs(-x)-abs(x)", 0.0),
            ("(x^2-4)^2/8", 3.125),
            ("1e-3*1E3", 1.0),
            ("1.5e2", 150.0),
            ("2e0^2", 4.0),
            (".5*x", 1.5),
            ("2.*x", 6.0),
            ("e^2-exp(2)", 0.0),
            ("ln(e)", 1.0),
            ("log10(1000)+log2(8)", 6.0),
            ("cos(pi)+tau/pi", 1.0),
            ("0.1+0.2-0.3", 0.1 + (0.2 - 0.3)),
            ("-3", -3.0),
            ("5", 5.0),
            ("x", 3.0),
            ("((((x))))", 3.0),
            (" ( x )\t* 2 ", 6.0),
            ("sech(0)", 1.0),
            ("1 - 2*x + 3*x - 4*x/2", -2.0),
        ] {
            let found = at(text, 3.0);
            assert!((found - expected).abs() <= 1e-14 * expected.abs().max(1.0), "{text}: {found}");
        }
    }

    #[test]
    fn literals_are_read_exactly() {
        for text in ["0.1", "1e-300", "1.7976931348623157e308", "123456.789e-12", "5e-324"] {
            assert_eq!(at(text, 0.0).to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
        assert_eq!(at("pi", 0.0), PI);
        assert_eq!(at("e", 0.0), E);
    }

    #[test]
    fn derivatives_agree_with_central_differences() {
        let mut texts: Vec<String> = FUNCTIONS.iter().map(|f| format!("{f}(0.3*x+0.1)")).collect();
        texts.extend(
            ["-x^2", "x^3-2*x", "2^-x^2", "x^x", "(1+x^2)^0.5", "1/x", "exp(-x^2)*sin(3*x)", "7"]
                .map(String::from),
        );
        for text in texts {
            let f = Formula::<'x'>::new(&text).unwrap();
            for x in [0.37, 1.1, 2.2] {
                let h = 1e-5;
                let difference = (f.value(x + h) - f.value(x - h)) / (2.0 * h);
                let found = f.derivative(x);
                assert!(
                    (found - difference).abs() < 1e-8 * (1.0 + found.abs()),
                    "{text} at {x}: {found} against {difference}"
                );
            }
        }
    }

    #[test]
    fn integer_powers_of_negative_numbers_have_derivatives() {
        assert_eq!(Formula::<'x'>::new("x^2").unwrap().derivative(-3.0), -6.0);
        assert_eq!(Formula::<'x'>::new("x^2").unwrap().derivative(0.0), 0.0);
        assert_eq!(Formula::<'x'>::new("x^0").unwrap().derivative(0.0), 0.0);
        assert_eq!(Formula::<'x'>::new("(-2)^2*x").unwrap().derivative(0.0), 4.0);
        assert_eq!(Formula::<'d'>::new("2/d^2").unwrap().derivative(-1.0), 4.0);
    }

    #[test]
    fn errors_point_into_the_formula() {
        let deep = format!("{}x{}", "(".repeat(40), ")".repeat(40));
        let minuses = format!("{}x", "-".repeat(500));
        let powers = format!("x{}", "^x".repeat(400));
        let long = format!("x{}", "+x".repeat(600));
        for (text, column, fragment) in [
            ("", 1, "empty"),
            ("  ", 1, "empty"),
            ("sqr(x)", 1, "did you mean `sqrt`"),
            ("1+sine(x)", 3, "did you mean `sin`"),
            ("x*y", 3, "the variable here is `x`"),
            ("2*PI", 3, "did you mean `pi`"),
            ("2x", 2, "multiplication is written `*`"),
            ("2e*x", 2, "multiplication is written `*`"),
            ("x(2)", 2, "multiplication is written `*`"),
            ("(x)(x)", 4, "expected an operator before `(`"),
            ("x x", 3, "expected an operator before `x`"),
            ("(x 2)", 4, "expected an operator before `2`"),
            ("sin x", 1, "`sin(...)`"),
            ("sin()", 5, "found `)`"),
            ("x**2", 2, "the power is written `^`"),
            ("x^", 3, "the end of the formula"),
            ("x+*2", 3, "found `*`"),
            ("*x", 1, "found `*`"),
            ("(x+1", 1, "never closed"),
            ("2*sin(x", 6, "never closed"),
            ("x+1)", 4, "closes nothing"),
            ("()", 2, "found `)`"),
            ("1.2.3", 1, "malformed number `1.2.3`"),
            (".", 1, "malformed number"),
            ("1e999", 1, "too large"),
            ("0,5*x", 2, "decimals are written with a point"),
            ("log(x)", 1, "ambiguous"),
            ("x\u{b2}", 2, "`^2`"),
            ("\u{3b1}*x", 1, "unknown name"),
            ("x \u{2212} 1", 3, "a minus is written `-`"),
            ("{x}", 1, "group with"),
            ("x; 1", 2, "unexpected character `;`"),
            ("x\0", 2, "unexpected character `\\u{0}`"),
            (&deep, 33 + 1, "deeper"),
            (&minuses, 33 + 1, "deeper"),
            (&powers, 2 * 33 + 1, "deeper"),
            (&long, 1001, "1201 characters"),
        ] {
            let error = Formula::<'x'>::new(text).expect_err(text);
            assert_eq!(error.column, column, "{error}");
            assert!(error.to_string().contains(fragment), "{error}");
        }
        let error = Formula::<'d'>::new("1/x").unwrap_err().to_string();
        assert_eq!(
            error,
            "column 3 of the formula: unknown name `x`: the variable here is `d`\n  1/x\n    ^"
        );
    }

    #[test]
    fn the_largest_formulas_allowed_compile_on_a_small_stack() {
        let deep = "sin(".repeat(MAX_DEPTH) + "x" + &")".repeat(MAX_DEPTH);
        let powers = format!("x{}", "^x".repeat(MAX_DEPTH));
        let minuses = format!("{}x", "-".repeat(MAX_DEPTH));
        let wide = format!("x{}", "+x".repeat(499));
        for text in [deep, powers, minuses, wide] {
            let run = move || {
                let f = Formula::<'x'>::new(&text).unwrap();
                f.value(1.0) + f.derivative(1.0)
            };
            let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap();
            assert!(thread.join().unwrap().is_finite());
        }
    }

    #[test]
    fn formulas_can_be_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Formula<'x'>>();
    }

    #[test]
    fn the_docs_list_every_function_and_constant() {
        let docs = include_str!("../../docs/specs.md");
        let paragraph =
            docs.split("A **formula** has").nth(1).unwrap().split("\n\n").next().unwrap();
        for name in FUNCTIONS.into_iter().chain(CONSTANTS.map(|c| c.0)) {
            assert!(paragraph.contains(&format!("`{name}`")), "{name}");
        }
    }
}
