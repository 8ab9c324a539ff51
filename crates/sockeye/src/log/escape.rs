//! Text of a peer, made safe for a terminal and for a reader of lines.

use std::fmt::{self, Write};
use std::iter;

/// `text` without anything that a terminal obeys or that hides: control characters, line ends, marks that change the direction
/// of text, and invisible characters are written as `\n`, `\u{1b}` and so on.
///
/// The two joiners of Unicode (U+200C and U+200D) stay between two characters that are not ASCII, where Persian, Hindi and emoji
/// need them.
///
/// ```
/// use sockeye::log::escape;
///
/// assert_eq!(escape("\u{1b}[2Jred\n").to_string(), r"\u{1b}[2Jred\n");
/// assert_eq!(escape("می\u{200c}خواهم").to_string(), "می\u{200c}خواهم");
/// ```
pub fn escape(text: &str) -> Escaped<'_> {
    Escaped { text, quoted: false }
}

/// As [`escape`], in double quotes; quotes and backslashes in it get a backslash.
///
/// ```
/// assert_eq!(sockeye::log::quote("say \"hi\"\r").to_string(), r#""say \"hi\"\r""#);
/// ```
pub fn quote(text: &str) -> Escaped<'_> {
    Escaped { text, quoted: true }
}

/// Shows a text as [`escape`] and [`quote`] describe.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Escaped<'a> {
    text: &'a str,
    quoted: bool,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.quoted {
            f.write_char('"')?;
        }
        write_escaped(f, self.text, self.quoted)?;
        if self.quoted { f.write_char('"') } else { Ok(()) }
    }
}

fn write_escaped(out: &mut impl Write, text: &str, quoted: bool) -> fmt::Result {
    let mut rest = text;
    let mut before = None;
    // What is plain is written in one go.
    while let Some(at) = rest.find(|c| is_special(c) || quoted && matches!(c, '"' | '\\')) {
        let (plain, special) = rest.split_at(at);
        out.write_str(plain)?;
        let mut chars = special.chars();
        let Some(c) = chars.next() else { break };
        rest = chars.as_str();
        match c {
            '"' | '\\' => write!(out, "\\{c}")?,
            JOINER | NON_JOINER if joins(plain.chars().next_back().or(before), rest.chars().next()) => {
                out.write_char(c)?
            }
            c if is_invisible(c) => write!(out, "{}", c.escape_unicode())?,
            c => write!(out, "{}", c.escape_default())?,
        }
        before = Some(c);
    }
    out.write_str(rest)
}

/// Appends a string of JSON. Beyond what JSON asks for it escapes what [`escape`] does, so a file of it can be shown on a terminal.
pub(super) fn push_json(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if is_special(c) => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| _ = write!(out, "\\u{unit:04x}")),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends a value, in quotes if it could be taken for more than one.
pub(super) fn push_value(out: &mut String, text: &str) {
    let quoted = text.is_empty() || text.contains([' ', '"', '=', '\\']);
    // Writing to a `String` does not fail.
    _ = write!(out, "{}", Escaped { text, quoted });
}

/// Whether a joiner is between two characters that may need one. Behind another joiner, or in ASCII, it only hides.
fn joins(before: Option<char>, after: Option<char>) -> bool {
    let needs = |c: char| !c.is_ascii() && !c.is_whitespace() && !is_special(c);
    iter::zip(before, after).any(|(before, after)| needs(before) && needs(after))
}

fn is_special(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

/// Marks that change the direction of text, invisible characters (including tags, which can spell hidden words), and line ends
/// beyond ASCII.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

const NON_JOINER: char = '\u{200c}';
const JOINER: char = '\u{200d}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_shown() {
        let text = "a\u{ad}\u{61c}\u{200d}\u{2067}\u{fffb}\u{e0041}z";
        assert_eq!(escape(text).to_string(), r"a\u{ad}\u{61c}\u{200d}\u{2067}\u{fffb}\u{e0041}z");
        let mut out = String::new();
        push_json(&mut out, text);
        assert_eq!(out, r#""a\u00ad\u061c\u200d\u2067\ufffb\udb40\udc41z""#);
    }

    #[test]
    fn joiners_stay_where_a_script_needs_them() {
        for text in ["نمی\u{200c}دانم", "क\u{94d}\u{200d}ष", "👩\u{200d}👩\u{200d}👧", "❤\u{fe0f}\u{200d}🔥"]
        {
            assert_eq!(escape(text).to_string(), text);
        }
        for (text, shown) in [
            ("ad\u{200d}min", r"ad\u{200d}min"),
            ("ü\u{200c}", r"ü\u{200c}"),
            ("\u{200d}ü", r"\u{200d}ü"),
            ("ü\u{200c}\u{200c}ü", r"ü\u{200c}\u{200c}ü"),
            ("ü\u{200c}e", r"ü\u{200c}e"),
            ("ü\u{a0}\u{200c}ü", "ü\u{a0}\\u{200c}ü"),
        ] {
            assert_eq!(escape(text).to_string(), shown);
        }
    }

    #[test]
    fn values_are_quoted_only_if_they_have_to_be() {
        for (text, shown) in [("a\tb", r"a\tb"), ("", r#""""#), ("a b", r#""a b""#), ("a=\\", r#""a=\\""#), ("ü", "ü")]
        {
            let mut out = String::new();
            push_value(&mut out, text);
            assert_eq!(out, shown);
        }
    }
}
