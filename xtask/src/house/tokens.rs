//! Rust source as tokens: what is left without comments, texts and tests. Enough to see which names a file uses.

/// A name or a mark, and its line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Token<'s> {
    pub(super) text: &'s str,
    pub(super) line: usize,
}

impl Token<'_> {
    pub(super) fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// The tokens of a file; `::` is one.
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    without_tests(&Lexer::read(source).tokens)
}

/// The comments and the texts of a file, one for each line, with their marks.
pub(super) fn prose(source: &str) -> Vec<Token<'_>> {
    Lexer::read(source).prose
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: usize,
    tokens: Vec<Token<'s>>,
    prose: Vec<Token<'s>>,
}

impl<'s> Lexer<'s> {
    fn read(source: &'s str) -> Self {
        let mut lexer = Self { source, at: 0, line: 1, tokens: Vec::new(), prose: Vec::new() };
        while lexer.step() {}
        lexer
    }

    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    /// Goes on by so many bytes.
    fn skip(&mut self, bytes: usize) {
        self.line += self.source[self.at..self.at + bytes].matches('\n').count();
        self.at += bytes;
    }

    /// Takes so many bytes as a token.
    fn take(&mut self, bytes: usize) {
        self.tokens.push(Token { text: &self.source[self.at..self.at + bytes], line: self.line });
        self.skip(bytes);
    }

    /// Takes so many bytes as prose.
    fn tell(&mut self, bytes: usize) {
        let lines = self.source[self.at..self.at + bytes].split('\n').enumerate();
        self.prose.extend(lines.map(|(index, text)| Token { text, line: self.line + index }));
        self.skip(bytes);
    }

    fn step(&mut self) -> bool {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return false };
        if first.is_whitespace() {
            self.skip(first.len_utf8());
        } else if rest.starts_with("//") {
            self.tell(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.tell(comment(rest));
        } else if let Some(length) = raw_string(rest).or_else(|| string(rest)).or_else(|| character(rest)) {
            self.tell(length);
        } else if first.is_alphanumeric() || first == '_' {
            self.take(rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()));
        } else if rest.starts_with("::") {
            self.take(2);
        } else {
            self.take(first.len_utf8());
        }
        true
    }
}

/// The length of a comment in `/* */`, which may have others inside.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        let (open, close) = (rest[at..].find("/*"), rest[at..].find("*/"));
        match (open, close) {
            (Some(open), Some(close)) if open < close => (depth, at) = (depth + 1, at + open + 2),
            (_, Some(close)) => (depth, at) = (depth - 1, at + close + 2),
            (_, None) => return rest.len(),
        }
        if depth == 0 {
            return at;
        }
    }
}

/// The length of `r"..."`, `br#"..."#` and their like.
fn raw_string(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix("br").or_else(|| rest.strip_prefix("cr")).or_else(|| rest.strip_prefix('r'))?;
    let hashes = body.find(|c| c != '#')?;
    let text = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = text.find(&end)?;
    Some(rest.len() - text.len() + length + end.len())
}

/// The length of `"..."`, `b"..."` and `c"..."`.
fn string(rest: &str) -> Option<usize> {
    let text = rest.strip_prefix('"').or_else(|| rest.strip_prefix("b\"")).or_else(|| rest.strip_prefix("c\""))?;
    Some(rest.len() - text.len() + quoted(text, '"'))
}

/// The length of `'x'` or `b'x'`. A lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let text = rest.strip_prefix('\'').or_else(|| rest.strip_prefix("b'"))?;
    let mut inside = text.chars();
    let first = inside.next()?;
    let is_character = first == '\\' || inside.next() == Some('\'');
    is_character.then(|| rest.len() - text.len() + quoted(text, '\''))
}

/// The length up to the quote that ends it, that included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return index + 1,
            _ => {}
        }
    }
    text.len()
}

/// What may stand where an item begins, as opposed to a field or a statement.
const ITEMS: &[&str] = &[
    "async",
    "const",
    "enum",
    "extern",
    "fn",
    "impl",
    "macro_rules",
    "mod",
    "pub",
    "static",
    "struct",
    "trait",
    "type",
    "union",
    "unsafe",
    "use",
];

/// Leaves out each item, field and statement below `#[cfg(test)]`.
fn without_tests<'s>(tokens: &[Token<'s>]) -> Vec<Token<'s>> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        match attribute(&tokens[at..]) {
            Some(length) if is_test(&tokens[at..at + length]) => at += length + item(&tokens[at + length..]),
            _ => {
                kept.push(tokens[at]);
                at += 1;
            }
        }
    }
    kept
}

/// The length of `#[...]`.
fn attribute(tokens: &[Token<'_>]) -> Option<usize> {
    let [hash, bracket, ..] = tokens else { return None };
    if hash.text != "#" || bracket.text != "[" {
        return None;
    }
    Some(1 + group(&tokens[1..]))
}

fn is_test(attribute: &[Token<'_>]) -> bool {
    let has = |name: &str| attribute.iter().any(|token| token.text == name);
    has("cfg") && has("test") && !has("not") && !has("any")
}

/// The length of `(...)`, `[...]` or `{...}`, with which the tokens begin.
pub(super) fn group(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

/// The length of the item, field or statement with which the tokens begin.
fn item(tokens: &[Token<'_>]) -> usize {
    let mut at = 0;
    while let Some(length) = attribute(&tokens[at..]) {
        at += length;
    }
    let is_item = tokens.get(at).is_some_and(|token| ITEMS.contains(&token.text));
    let is_use = tokens[at..].iter().take_while(|token| token.text != "{").any(|token| token.text == "use");
    while let Some(token) = tokens.get(at) {
        match token.text {
            ";" => return at + 1,
            "," if !is_item => return at + 1,
            // The end of what it is inside.
            ")" | "]" | "}" => return at,
            "{" if !is_use => return at + group(&tokens[at..]),
            "(" | "[" | "{" => at += group(&tokens[at..]),
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        tokens(source).iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_texts_are_left_out() {
        assert_eq!(texts("a // b\n/* c /* d */ e */ f"), ["a", "f"]);
        assert_eq!(texts(r##"a("b::\"c", r#"d"e"#, b"f", 'g', '\'', b'"', h)"##).concat(), "a(,,,,,,h)");
        assert_eq!(texts("&'a str").concat(), "&'astr");
        assert_eq!(texts("crate::a").len(), 3);
    }

    #[test]
    fn lines_are_counted() {
        let found = tokens("a\n/*\n*/ \"\n\" b");
        assert_eq!(found[1], Token { text: "b", line: 4 });
    }

    #[test]
    fn tests_are_left_out() {
        assert_eq!(texts("#[cfg(test)] mod tests { use a::{b, c}; } d").concat(), "d");
        assert_eq!(texts("#[cfg(test)]\n#[path = \"x.rs\"]\nmod tests;\nd").concat(), "d");
        assert_eq!(texts("#[cfg(test)] use a::{b, c}; d").concat(), "d");
        assert_eq!(texts("struct A { #[cfg(test)] b: B<C>, d: D }").concat(), "structA{d:D}");
        assert_eq!(texts("#[cfg(test)] fn f<A, B>() -> [u8; 2] { g() } d").concat(), "d");
        assert_eq!(texts("#[cfg(not(test))] d").concat(), "#[cfg(not(test))]d");
        assert_eq!(texts("#[cfg(any(test, feature = \"sim\"))] mod sim;").last(), Some(&";"));
    }
}
