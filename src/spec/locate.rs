//! Where the fields of a RON text are: from a field path to a position, and back.
//!
//! Serde forgets positions, but a value that is out of bounds should be shown where it was written.
//! This scanner knows just enough of RON to find it: brackets, field names, strings and comments. It
//! never fails: on a malformed text it finds what can be found. Nothing recurses, so the nesting of
//! the text is limited by memory alone.
//!
//! Field paths look like `hamiltonian.external.charges[1]`. Names of structs and enum variants are
//! transparent: in `geometry: Box(half_width: 10.0)` the number has the path `geometry.half_width`.

use std::ops::Range;

/// The structure of a RON text.
#[derive(Clone, Debug)]
pub struct Outline<'a> {
    text: &'a str,
    values: Vec<Value>,
    unclosed: Option<usize>,
    unclosed_comment: Option<usize>,
}

/// A value within the text, by byte offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    parent: Option<usize>,
    step: Branch,
    /// Where the field name starts; the value itself where there is none.
    key: usize,
    span: Range<usize>,
    is_string: bool,
    is_leaf: bool,
}

/// A text that is a formula.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FormulaLiteral {
    /// The literal.
    pub(super) span: Range<usize>,
    /// Its variable; none where a number is meant.
    pub(super) variable: Option<char>,
}

/// The name that a value starts with, if it starts with one.
fn word(text: &str) -> &str {
    let end = text.bytes().position(|b| !is_word(b)).unwrap_or(text.len());
    field_name(&text[..end])
}

/// How a value is reached from its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Branch {
    /// As the field with the name at these offsets.
    Field(Range<usize>),
    /// As an element of a list.
    Element(usize),
    /// As the content of a variant or of redundant parentheses: it has the path of its parent.
    Content,
}

/// Line and column, both from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Number of the line.
    pub line: usize,
    /// Number of the character in the line.
    pub column: usize,
}

/// The position of a byte offset; offsets within a character count as its start.
pub fn position(text: &str, offset: usize) -> Position {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    Position {
        line: 1 + before.bytes().filter(|&b| b == b'\n').count(),
        column: 1 + before[line_start..].chars().count(),
    }
}

/// The byte offset of a position; the end of the text where there is no such line or column.
pub fn offset(text: &str, position: Position) -> usize {
    let mut start = 0;
    for _ in 1..position.line {
        match text[start..].find('\n') {
            Some(i) => start += i + 1,
            None => return text.len(),
        }
    }
    text[start..].char_indices().nth(position.column - 1).map_or(text.len(), |(i, _)| start + i)
}

/// One bracket that is open while scanning.
struct Frame {
    bracket: u8,
    opened_at: usize,
    /// The value whose content is between the brackets.
    value: usize,
    /// Number of the next element.
    element: usize,
    /// The field name read last, if its value is still to come.
    field: Option<Range<usize>>,
}

impl<'a> Outline<'a> {
    /// Scans a text.
    pub fn new(text: &'a str) -> Self {
        let (tokens, unclosed_comment) = tokenise(text);
        let mut values: Vec<Value> = Vec::new();
        let mut stack: Vec<Frame> = Vec::new();
        // How many of each bracket are on the stack.
        let mut open_brackets = [0usize; 256];
        let mut i = 0;
        while let Some(token) = tokens.get(i) {
            let next_is = |b: u8| tokens.get(i + 1).is_some_and(|t| t.kind == Kind::Symbol(b));
            match token.kind {
                // `#![enable(..)]` at the top of a file.
                Kind::Symbol(b'#') => {
                    while tokens.get(i).is_some_and(|t| t.kind != Kind::Symbol(b']')) {
                        i += 1;
                    }
                }
                Kind::Symbol(b',') => {
                    if let Some(frame) = stack.last_mut() {
                        frame.element += 1;
                        frame.field = None;
                    }
                }
                Kind::Symbol(close @ (b')' | b']' | b'}')) => {
                    // A bracket that closes nothing is skipped; one that closes an outer bracket
                    // closes the inner ones with it.
                    // The count keeps a long run of such brackets from searching a deep stack each.
                    let open = partner(close);
                    while open_brackets[usize::from(open)] > 0 {
                        let Some(frame) = stack.pop() else { break };
                        open_brackets[usize::from(frame.bracket)] -= 1;
                        values[frame.value].span.end = token.span.end;
                        if frame.bracket == open {
                            break;
                        }
                    }
                }
                Kind::Word if next_is(b':') && stack.last().is_some_and(|f| f.bracket != b'[') => {
                    if let Some(frame) = stack.last_mut() {
                        frame.field = Some(token.span.clone());
                    }
                    i += 1;
                }
                Kind::Symbol(open @ (b'(' | b'[' | b'{')) => {
                    let value = push(&mut values, &mut stack, token);
                    values[value].is_leaf = false;
                    stack.push(Frame::new(open, token.span.start, value));
                    open_brackets[usize::from(open)] += 1;
                }
                Kind::Word if next_is(b'(') => {
                    let value = push(&mut values, &mut stack, token);
                    i += 1;
                    values[value].is_leaf = false;
                    stack.push(Frame::new(b'(', tokens[i].span.start, value));
                    open_brackets[usize::from(b'(')] += 1;
                }
                Kind::Word | Kind::String => {
                    push(&mut values, &mut stack, token);
                }
                Kind::Symbol(_) => {}
            }
            i += 1;
        }
        let unclosed = stack.last().map(|f| f.opened_at);
        for frame in stack {
            values[frame.value].span.end = text.len();
        }
        Outline { text, values, unclosed, unclosed_comment }
    }

    /// Offset of the value with this path, or of the innermost value on the way to it that is in the
    /// text: a field may have been left out for its default.
    pub fn find(&self, path: &str) -> usize {
        self.lookup(path).map_or(0, |i| self.values[i].span.start)
    }

    /// Offset of the string literal with this path, within a variant (`Formula("..")`) or not.
    pub fn find_string(&self, path: &str) -> Option<usize> {
        let steps = parse_path(path);
        let matched = self.matched(&steps);
        let full = |i: &usize| matched[*i] == Some(steps.len());
        let i = (0..self.values.len()).find(|i| full(i) && self.values[*i].is_string)?;
        Some(self.values[i].span.start)
    }

    /// Whether the outermost value has a field of this name.
    pub fn has_field(&self, name: &str) -> bool {
        self.matched(&[PathStep::Field(name)]).contains(&Some(1))
    }

    /// Where a field of the outermost value is: from its name to behind the comma after it, and its value.
    pub(super) fn field(&self, name: &str) -> Option<(Range<usize>, Range<usize>)> {
        let matched = self.matched(&[PathStep::Field(name)]);
        let value = &self.values[matched.iter().position(|m| *m == Some(1))?];
        let next = tokenise(self.text).0.into_iter().find(|t| t.span.start >= value.span.end);
        let comma = next.filter(|t| t.kind == Kind::Symbol(b','));
        let end = comma.map_or(value.span.end, |t| t.span.end);
        Some((value.key..end, value.span.clone()))
    }

    /// The text that the field names, where that is in the variant: `hamiltonian: File("..")`.
    pub(super) fn string_in(&self, path: &str, variant: &str) -> Option<Range<usize>> {
        let start = self.find_string(path)?;
        let value = self.values.iter().find(|v| v.span.start == start && v.is_string)?;
        let parent = &self.values[value.parent?];
        (word(&self.text[parent.span.clone()]) == variant).then(|| value.span.clone())
    }

    /// The strings of a field in all choices of this name: the field with its name, and the literal.
    pub(super) fn strings_of(
        &self,
        choice: &str,
        field: &str,
    ) -> Vec<(Range<usize>, Range<usize>)> {
        let is_it = |v: &&Value| self.is_string_of(v, choice, field);
        self.values.iter().filter(is_it).map(|v| (v.key..v.span.end, v.span.clone())).collect()
    }

    fn is_string_of(&self, value: &Value, choice: &str, field: &str) -> bool {
        let parent = value.parent.map(|p| word(&self.text[self.values[p].span.clone()]));
        let name = match &value.step {
            Branch::Field(name) => Some(field_name(&self.text[name.clone()])),
            _ => None,
        };
        value.is_string && parent == Some(choice) && name == Some(field)
    }

    /// The texts that are formulas below one of these paths: those of `Formula("..")`, and those where a number is meant.
    pub(super) fn formulas(&self, roots: &[&str]) -> Vec<FormulaLiteral> {
        let below = |path: &str| {
            roots.iter().any(|root| {
                path.strip_prefix(root)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            })
        };
        let mut found = Vec::new();
        for value in self.values.iter().filter(|v| v.is_string) {
            let path = self.path_at(value.span.start);
            // The name of a file is no formula.
            if !below(&path) || self.is_string_of(value, "Tabulated", super::table::FILE) {
                continue;
            }
            let parent = value.parent.map(|p| word(&self.text[self.values[p].span.clone()]));
            let variable = match parent {
                Some("Formula") => Some(if path.contains("interaction") { 'd' } else { 'x' }),
                _ => None,
            };
            found.push(FormulaLiteral { span: value.span.clone(), variable });
        }
        found
    }

    fn lookup(&self, path: &str) -> Option<usize> {
        let steps = parse_path(path);
        let matched = self.matched(&steps);
        let best = matched.iter().flatten().max()?;
        matched.iter().position(|m| m.as_ref() == Some(best))
    }

    /// For every value how many steps of the path lead to it, if all of its own do.
    fn matched(&self, steps: &[PathStep<'_>]) -> Vec<Option<usize>> {
        let mut matched: Vec<Option<usize>> = Vec::with_capacity(self.values.len());
        for value in &self.values {
            // Parents come before their children.
            let done = value.parent.map_or(Some(0), |p| matched[p]);
            matched.push(done.and_then(|done| {
                match &value.step {
                    Branch::Content => Some(done),
                    Branch::Field(name) => (steps.get(done)
                        == Some(&PathStep::Field(field_name(&self.text[name.clone()]))))
                    .then_some(done + 1),
                    Branch::Element(n) => {
                        (steps.get(done) == Some(&PathStep::Element(*n))).then_some(done + 1)
                    }
                }
            }));
        }
        matched
    }

    /// The innermost value at a byte offset, its field name included.
    fn innermost(&self, offset: usize) -> Option<usize> {
        // Later values are nested deeper or start further right.
        self.values.iter().rposition(|v| v.key <= offset && offset < v.span.end)
    }

    /// Path of the innermost value at a byte offset.
    pub fn path_at(&self, offset: usize) -> String {
        let mut steps = Vec::new();
        let mut next = self.innermost(offset);
        while let Some(i) = next {
            match &self.values[i].step {
                Branch::Content => {}
                step => steps.push(step),
            }
            next = self.values[i].parent;
        }
        let mut path = String::new();
        for step in steps.into_iter().rev().take(MAX_STEPS_SHOWN) {
            match step {
                Branch::Field(name) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path += field_name(&self.text[name.clone()]);
                }
                Branch::Element(n) => path += &format!("[{n}]"),
                Branch::Content => {}
            }
        }
        path
    }

    /// Where the innermost value at a byte offset starts and ends.
    pub fn value_at(&self, offset: usize) -> Option<Range<usize>> {
        self.innermost(offset).map(|i| self.values[i].span.clone())
    }

    /// The same if that is a number, a text or a bare name, without its field name.
    pub fn leaf_at(&self, offset: usize) -> Option<Range<usize>> {
        let value = &self.values[self.innermost(offset)?];
        (value.is_leaf && value.span.contains(&offset)).then(|| value.span.clone())
    }

    /// Span of the string literal at a byte offset.
    pub fn string_at(&self, offset: usize) -> Option<Range<usize>> {
        let value = &self.values[self.innermost(offset)?];
        value.is_string.then(|| value.span.clone())
    }

    /// Offset of the innermost bracket that is never closed.
    pub fn unclosed(&self) -> Option<usize> {
        self.unclosed
    }

    /// Offset of the comment that is never closed.
    pub fn unclosed_comment(&self) -> Option<usize> {
        self.unclosed_comment
    }
}

/// Paths of values in absurdly nested texts are cut here.
const MAX_STEPS_SHOWN: usize = 64;

impl Frame {
    fn new(bracket: u8, opened_at: usize, value: usize) -> Self {
        Frame { bracket, opened_at, value, element: 0, field: None }
    }
}

/// Records the value that starts with `token` and returns its number.
fn push(values: &mut Vec<Value>, stack: &mut [Frame], token: &Token) -> usize {
    let mut value = Value {
        parent: None,
        step: Branch::Content,
        key: token.span.start,
        span: token.span.clone(),
        is_string: token.kind == Kind::String,
        is_leaf: true,
    };
    if let Some(frame) = stack.last_mut() {
        value.parent = Some(frame.value);
        if let Some(name) = frame.field.take() {
            value.key = name.start;
            value.step = Branch::Field(name);
        } else if frame.bracket != b'(' {
            value.step = Branch::Element(frame.element);
        }
    }
    values.push(value);
    values.len() - 1
}

fn partner(close: u8) -> u8 {
    match close {
        b')' => b'(',
        b']' => b'[',
        _ => b'{',
    }
}

/// `r#name` is RON for `name`.
fn field_name(word: &str) -> &str {
    word.strip_prefix("r#").unwrap_or(word)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PathStep<'p> {
    Field(&'p str),
    Element(usize),
}

fn parse_path(path: &str) -> Vec<PathStep<'_>> {
    let mut steps = Vec::new();
    for part in path.split('.').filter(|p| !p.is_empty()) {
        let mut pieces = part.split('[');
        let name = pieces.next().unwrap_or_default();
        if !name.is_empty() {
            steps.push(PathStep::Field(name));
        }
        for piece in pieces {
            if let Ok(n) = piece.trim_end_matches(']').parse() {
                steps.push(PathStep::Element(n));
            }
        }
    }
    steps
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A name or a number.
    Word,
    String,
    Symbol(u8),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    kind: Kind,
    span: Range<usize>,
}

/// The tokens of a text, and where its unclosed comment starts.
fn tokenise(text: &str) -> (Vec<Token>, Option<usize>) {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut unclosed_comment = None;
    let mut i = 0;
    while i < bytes.len() {
        let start = i;
        let rest = &bytes[i..];
        let kind = match bytes[i] {
            b if b.is_ascii_whitespace() => {
                i += 1;
                continue;
            }
            b'/' if rest.starts_with(b"//") => {
                i += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
                continue;
            }
            b'/' if rest.starts_with(b"/*") => {
                match end_of_block_comment(bytes, i) {
                    Some(end) => i = end,
                    None => {
                        unclosed_comment = Some(i);
                        i = bytes.len();
                    }
                }
                continue;
            }
            b'"' => {
                i = end_of_string(bytes, i);
                Kind::String
            }
            b'r' | b'b' if string_prefix(rest).is_some() => {
                i = end_of_prefixed_string(bytes, i);
                Kind::String
            }
            b'\'' => {
                i = end_of_char(bytes, i);
                Kind::String
            }
            b if is_word(b) => {
                // `r#name` is one word.
                if rest.starts_with(b"r#") {
                    i += 2;
                }
                while i < bytes.len() && is_word(bytes[i]) {
                    i += 1;
                }
                Kind::Word
            }
            b => {
                i += 1;
                Kind::Symbol(b)
            }
        };
        tokens.push(Token { kind, span: start..i });
    }
    (tokens, unclosed_comment)
}

/// Letters, digits and what numbers are made of; every byte of a non-ASCII letter, too.
fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-' | b'.') || b >= 0x80
}

fn end_of_block_comment(bytes: &[u8], mut i: usize) -> Option<usize> {
    let mut depth = 0usize;
    while i < bytes.len() {
        if bytes[i..].starts_with(b"/*") {
            depth += 1;
            i += 2;
        } else if bytes[i..].starts_with(b"*/") {
            depth -= 1;
            i += 2;
            if depth == 0 {
                return Some(i);
            }
        } else {
            i += 1;
        }
    }
    None
}

/// Index past the string whose opening quote is at `i`.
fn end_of_string(bytes: &[u8], mut i: usize) -> usize {
    i += 1;
    while i < bytes.len() {
        match bytes[i] {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    bytes.len()
}

/// Length of the prefix of a raw or byte string (`r`, `r#`, `b`, `br##`..), up to the quote.
fn string_prefix(rest: &[u8]) -> Option<usize> {
    let mut i = usize::from(rest.first() == Some(&b'b'));
    if rest.get(i) == Some(&b'r') {
        i += 1;
        while rest.get(i) == Some(&b'#') {
            i += 1;
        }
    }
    (i > 0 && rest.get(i) == Some(&b'"')).then_some(i)
}

fn end_of_prefixed_string(bytes: &[u8], start: usize) -> usize {
    let quote = start + string_prefix(&bytes[start..]).unwrap_or(0);
    let prefix = &bytes[start..quote];
    if !prefix.contains(&b'r') {
        return end_of_string(bytes, quote);
    }
    let hashes = prefix.iter().filter(|&&b| b == b'#').count();
    let mut i = quote + 1;
    while i < bytes.len() {
        let closing = bytes[i + 1..].iter().take(hashes).filter(|&&b| b == b'#').count();
        if bytes[i] == b'"' && closing == hashes {
            return i + 1 + hashes;
        }
        i += 1;
    }
    bytes.len()
}

/// Index past the character literal that starts at `i`; just past the quote if there is none.
fn end_of_char(bytes: &[u8], i: usize) -> usize {
    let escaped = bytes.get(i + 1) == Some(&b'\\');
    let first = i + 2 + usize::from(escaped);
    (first..bytes.len().min(i + 12)).find(|&j| bytes[j] == b'\'').map_or(i + 1, |j| j + 1)
}

/// Byte offset of the character with number `index` (from 0) of the string literal at `literal`.
pub fn offset_in_string(text: &str, literal: Range<usize>, index: usize) -> usize {
    let source = &text[literal.clone()];
    let prefix = string_prefix(source.as_bytes()).unwrap_or(0);
    let raw = source[..prefix].contains('r');
    let first = prefix + 1;
    let mut i = first;
    for _ in 0..index {
        let Some(c) = source[i..].chars().next() else { break };
        i += if c == '\\' && !raw { escape_length(&source[i..]) } else { c.len_utf8() };
        if i >= source.len() {
            break;
        }
    }
    literal.start + i.min(source.len().saturating_sub(1))
}

/// Length of the escape sequence at the start of `source`.
fn escape_length(source: &str) -> usize {
    let length = match source.as_bytes().get(1) {
        Some(b'x') => 4,
        Some(b'u') => source.find('}').map_or(2, |i| i + 1),
        _ => 2,
    };
    (length..source.len()).find(|&i| source.is_char_boundary(i)).unwrap_or(source.len())
}

/// Spans of the words of a text that RON wrote with an `r#` they do not need.
pub(super) fn raw_words(text: &str) -> Vec<Range<usize>> {
    let raw = |t: &Token| t.kind == Kind::Word && text[t.span.clone()].starts_with("r#");
    tokenise(text).0.into_iter().filter(raw).map(|t| t.span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = r###"#![enable(implicit_some)]
// half_width: 1 in a comment (with brackets [
(
    title: "a \" b: (c", /* title: "no" /* nested ( */ */
    hamiltonian: Inline(
        external: Sum([
            Nuclei(charges: [2.0, -1.5], positions: [0.0, 1.0]),
            Formula(r#"x^2 + "#),
        ]),
        interaction: Formula("1/d"),
    ),
    geometry: Box(half_width: 10.0), r#iterations: 7,
    wavefunction: Waveflow((layers: 2, hidden: [3, 4])), letter: '(', other: "\u{e9}é\"x",
    reference: None
)
"###;

    fn at(path: &str) -> (usize, usize) {
        let p = position(TEXT, Outline::new(TEXT).find(path));
        (p.line, p.column)
    }

    #[test]
    fn only_the_fields_of_the_outermost_value_are_its_own() {
        let outline = Outline::new(TEXT);
        for name in ["title", "hamiltonian", "geometry", "iterations", "reference"] {
            assert!(outline.has_field(name), "{name}");
        }
        for name in ["external", "layers", "half_width", "no", "nested", ""] {
            assert!(!outline.has_field(name), "{name}");
        }
    }

    #[test]
    fn paths_lead_to_positions() {
        for (path, expected) in [
            ("", (3, 1)),
            ("title", (4, 12)),
            ("hamiltonian", (5, 18)),
            ("hamiltonian.external", (6, 19)),
            ("hamiltonian.external[0]", (7, 13)),
            ("hamiltonian.external[0].charges", (7, 29)),
            ("hamiltonian.external[0].charges[1]", (7, 35)),
            ("hamiltonian.external[0].positions[0]", (7, 54)),
            ("hamiltonian.external[1]", (8, 13)),
            ("hamiltonian.interaction", (10, 22)),
            ("geometry", (12, 15)),
            ("geometry.half_width", (12, 31)),
            ("iterations", (12, 52)),
            ("wavefunction.layers", (13, 37)),
            ("wavefunction.hidden[1]", (13, 52)),
            ("other", (13, 78)),
            ("reference", (14, 16)),
            // Left out: the innermost value on the way.
            ("wavefunction.degree", (13, 19)),
            ("wavefunction.hidden[7]", (13, 48)),
            ("sector.up", (3, 1)),
        ] {
            assert_eq!(at(path), expected, "{path}");
        }
    }

    #[test]
    fn positions_lead_back_to_paths() {
        let outline = Outline::new(TEXT);
        for path in [
            "title",
            "hamiltonian.external[0].charges[1]",
            "hamiltonian.external[1]",
            "geometry.half_width",
            "wavefunction.hidden[0]",
            "reference",
        ] {
            assert_eq!(outline.path_at(outline.find(path)), path);
        }
        // A field name belongs to its field.
        assert_eq!(
            outline.path_at(TEXT.find("charges").unwrap()),
            "hamiltonian.external[0].charges"
        );
        assert_eq!(outline.path_at(0), "");
    }

    #[test]
    fn strings_are_found_and_entered() {
        let outline = Outline::new(TEXT);
        let raw = outline.find_string("hamiltonian.external[1]").unwrap();
        assert!(TEXT[raw..].starts_with("r#\"x^2"));
        let span = outline.string_at(raw).unwrap();
        assert_eq!(&TEXT[span.clone()], "r#\"x^2 + \"#");
        assert!(TEXT[offset_in_string(TEXT, span, 1)..].starts_with("^2"));
        let escaped = outline.string_at(outline.find("other")).unwrap();
        for (index, rest) in [(0, "\\u{e9}é"), (1, "é\\\""), (2, "\\\"x"), (3, "x\""), (4, "\",")]
        {
            assert!(TEXT[offset_in_string(TEXT, escaped.clone(), index)..].starts_with(rest));
        }
        assert_eq!(outline.find_string("geometry"), None);
    }

    #[test]
    fn unclosed_brackets_are_found() {
        let find = |text: &str| Outline::new(text).unclosed();
        assert_eq!(find("(a: [1, 2)"), None, "closed together with the outer bracket");
        assert_eq!(find("(a: (b: 1)"), Some(0));
        assert_eq!(find("(a: (b: 1"), Some(4));
        assert_eq!(find("a: 1)"), None);
    }

    #[test]
    fn offsets_and_positions_are_inverse() {
        for (offset_, c) in TEXT.char_indices().filter(|(_, c)| *c != '\n') {
            assert_eq!(offset(TEXT, position(TEXT, offset_)), offset_, "{c}");
        }
        assert_eq!(offset("a", Position { line: 9, column: 9 }), 1);
    }

    #[test]
    fn deep_nesting_is_no_problem() {
        let text = "[".repeat(300_000);
        let outline = Outline::new(&text);
        assert_eq!(outline.unclosed(), Some(299_999));
        assert!(outline.path_at(200_000).len() < 1000);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_scanner_panic(text in r#"[ -~\n"'\\()\[\]{}:,#r/*é]{0,60}"#, at in 0usize..70) {
            let outline = Outline::new(&text);
            outline.find("a.b[0]");
            outline.path_at(at);
            if let Some(span) = outline.string_at(at) {
                offset_in_string(&text, span, at);
            }
            let _ = position(&text, at);
        }
    }
}
