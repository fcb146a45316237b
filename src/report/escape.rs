//! Text of users inside HTML and on terminals.

use std::borrow::Cow;

/// Escapes what HTML gives a meaning to, in text and in quoted attributes. Control characters, which
/// HTML forbids, become the replacement character.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() && !matches!(c, '\n' | '\t' | '\r') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Text for a terminal: characters that command it, or turn the direction of writing, become what a program would call
/// them. Ends of lines and tabs stay.
pub fn harmless(text: &str) -> Cow<'_, str> {
    let commands = |c: char| {
        c.is_control() && !matches!(c, '\n' | '\t')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(commands) {
        return Cow::Borrowed(text);
    }
    let show = |c: char| if commands(c) { c.escape_default().collect() } else { c.to_string() };
    Cow::Owned(text.chars().map(show).collect())
}

/// A name, which has one line.
pub fn one_line(text: &str) -> String {
    harmless(text).replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_get_no_commands() {
        assert_eq!(harmless("α\n\tb"), "α\n\tb");
        assert_eq!(
            harmless("a\u{1b}[31m\r\u{9b}2J\u{202e}b"),
            "a\\u{1b}[31m\\r\\u{9b}2J\\u{202e}b"
        );
        assert_eq!(one_line("done\nE = -1\u{7}"), "done\\nE = -1\\u{7}");
    }

    #[test]
    fn markup_loses_its_meaning() {
        assert_eq!(
            escape("<a href=\"x\">'&'</a>"),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;"
        );
        assert_eq!(escape("α\n\u{0}"), "α\n\u{fffd}");
    }
}
