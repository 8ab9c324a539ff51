//! Rules for names: which ones a module may use, and how those of functions begin.

use std::collections::BTreeSet;

use super::{
    files::Files,
    modules::{Crate, ModulePath},
    tokens::{Token, group, tokens},
};

const LIBRARY: &str = "crates/sockeye/src/";

/// The layer of whole messages: anybody could have written it.
const MESSAGES: &str = "messages";

/// Names of the standard library's that the library uses for functions of its own too.
const STANDARD: &[&str] = &["max", "min", "pop"];

/// Commands that read as questions.
const QUESTIONS: &[&str] = &["arrived", "left", "over", "ready", "room"];

/// Beginnings of names that say what is not.
const NEGATED: &[&str] = &["has_no_", "is_no_", "is_not_"];

/// Whole messages are built on what every user of the library has.
pub(super) fn messages_are_public(files: &Files) -> Vec<String> {
    let tree = Crate::read(files, LIBRARY);
    let mut found = Vec::new();
    for (path, module) in tree.modules.iter().filter(|(path, _)| is_messages(path)) {
        let imported = module.imports.iter().map(|import| &import.path);
        for named in imported.chain(&module.paths) {
            let Some(absolute) = tree.absolute(path, &named.segments) else { continue };
            if !is_messages(&absolute) && !tree.is_public(&absolute) {
                found.push(format!("{}:{}: {} is not public", module.file, named.line, named.shown()));
            }
        }
    }
    let own = |path: &str| path.starts_with(&format!("{LIBRARY}{MESSAGES}"));
    let (mut restricted, mut open) = (BTreeSet::new(), BTreeSet::new());
    for file in files.library().filter(|file| file.path.starts_with("crates/sockeye")) {
        members(&tokens(&file.text), own(&file.path), &mut restricted, &mut open);
    }
    for file in files.library().filter(|file| own(&file.path)) {
        let tokens = tokens(&file.text);
        for pair in tokens.windows(2).filter(|pair| pair[0].text == "." && pair[1].is_name()) {
            let name = pair[1];
            if restricted.contains(name.text) && !STANDARD.contains(&name.text) && !open.contains(name.text) {
                found.push(format!("{}:{}: .{} is of the library's own", file.path, name.line, name.text));
            }
        }
    }
    found
}

fn is_messages(path: &ModulePath) -> bool {
    path.first().is_some_and(|room| room == MESSAGES)
}

/// Sorts the names of functions and fields by whether they are for the library alone. A name that is both is open: which is
/// meant cannot be seen without the type.
fn members(tokens: &[Token<'_>], all_open: bool, restricted: &mut BTreeSet<String>, open: &mut BTreeSet<String>) {
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let mut is_restricted = false;
        if token.text == "pub" && tokens.get(at + 1).is_some_and(|next| next.text == "(") {
            is_restricted = true;
            at += group(&tokens[at + 1..]);
        }
        let is_visible = token.text == "pub";
        if is_visible {
            at += 1;
        }
        while tokens.get(at).is_some_and(|token| ["async", "const", "unsafe"].contains(&token.text)) {
            at += 1;
        }
        let (word, next) = (tokens.get(at), tokens.get(at + 1));
        let name = match (word, next) {
            (Some(word), Some(name)) if word.text == "fn" => Some(name.text),
            // Its own fields are open to itself, private ones too.
            (Some(name), Some(colon)) if (is_visible || all_open) && colon.text == ":" => Some(name.text),
            _ => None,
        };
        if let Some(name) = name {
            if is_restricted && !all_open { &mut *restricted } else { &mut *open }.insert(name.to_owned());
        }
        at += 1;
    }
}

/// A function that changes its object is a command, and no name says what is not.
pub(super) fn commands_are_verbs(files: &Files) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.library() {
        let tokens = tokens(&file.text);
        for (index, name) in tokens.iter().enumerate().skip(1).filter(|(index, _)| tokens[index - 1].text == "fn") {
            let rest: Vec<&str> = tokens[index + 1..].iter().take(5).map(|token| token.text).collect();
            if QUESTIONS.contains(&name.text) && rest.starts_with(&["(", "&", "mut", "self"]) {
                found.push(format!("{}:{}: {}(&mut self) reads as a question", file.path, name.line, name.text));
            }
        }
        let mut seen = BTreeSet::new();
        for name in &tokens {
            if NEGATED.iter().any(|beginning| name.text.starts_with(beginning)) && seen.insert(name.text) {
                found.push(format!("{}:{}: {} says what is not", file.path, name.line, name.text));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: (&str, &str) =
        ("crates/sockeye/src/lib.rs", "pub mod messages; pub mod protocol; mod shared; pub use protocol::Cx;");
    const PROTOCOL: (&str, &str) = (
        "crates/sockeye/src/protocol.rs",
        "pub struct Cx { pub(crate) shared: Shared } impl Cx { pub fn id(&self) {} pub(crate) const fn own(&self) {} \
         pub(crate) fn push(&self) {} } pub(crate) struct Own;",
    );

    #[test]
    fn messages_use_what_is_public() {
        let faults = |text| {
            messages_are_public(&Files::of([
                ROOT,
                PROTOCOL,
                ("crates/sockeye/src/shared.rs", "pub(crate) struct Shared;"),
                ("crates/sockeye/src/messages/mod.rs", text),
            ]))
        };
        assert!(faults("use crate::Cx; fn f(cx: Cx) { cx.id(); }").is_empty());
        assert!(faults("fn push() {} fn f(queue: Vec<u8>) { queue.push(1); }").is_empty());
        assert!(faults("struct Own { shared: u8 } fn f(own: Own) { own.shared; }").is_empty());
        assert_eq!(faults("use crate::shared::Shared;").len(), 1);
        assert_eq!(faults("use crate::protocol::Own;").len(), 1);
        assert_eq!(faults("fn f(cx: crate::Cx) { cx.shared.len(); cx.own(); }").len(), 2);
    }

    #[test]
    fn commands_that_ask_are_found() {
        let faults = |text| commands_are_verbs(&Files::of([("crates/a/src/b.rs", text)])).len();
        assert_eq!(faults("fn left(&mut self, peer: u8) {} fn ready(&self) {} fn leave(&mut self) {}"), 1);
        assert_eq!(faults("fn f(has_no_input: bool) { has_no_input }"), 1);
    }
}
