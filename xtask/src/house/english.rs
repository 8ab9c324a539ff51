//! A list of words for the English of comments, documents and messages: what an engineer would not write today.

use super::{
    files::{Files, Source},
    tokens,
};

/// A phrase, in small letters with single blanks.
struct Phrase {
    text: &'static str,
    /// It is good English behind one of these words, or before one.
    unless_behind: &'static [&'static str],
    unless_before: &'static [&'static str],
}

const fn never(text: &'static str) -> Phrase {
    Phrase { text, unless_behind: &[], unless_before: &[] }
}

/// "There is no limit" and "is no longer" are fine; "that is no number" is not.
const fn negation(text: &'static str) -> Phrase {
    Phrase {
        text,
        unless_behind: &["there", "where", "if", "whether", "neither", "nor"],
        unless_before: &["longer", "more", "less", "later", "such", "reason"],
    }
}

const PHRASES: &[Phrase] = &[
    negation("is no"),
    negation("are no"),
    negation("was no"),
    negation("were no"),
    Phrase { text: "is none", unless_behind: &["there"], unless_before: &[] },
    Phrase { text: "are none", unless_behind: &["there"], unless_before: &[] },
    never("came about"),
    never("come about"),
    never("comes about"),
    never("for ever"),
    never("nobody"),
    never("whoever"),
    never("the own"),
    never("own one"),
    never("is told"),
    never("are told"),
    never("was told"),
    never("last word"),
    never("last words"),
    Phrase { text: "stands", unless_behind: &[], unless_before: &["for", "in"] },
    never("his"),
];

/// How often each phrase is found, and where.
pub(super) struct Found {
    pub(super) phrase: &'static str,
    pub(super) places: Vec<String>,
}

/// What is found in the comments and texts of every crate, and in the documents.
pub(super) fn found(files: &Files) -> Vec<Found> {
    let mut all: Vec<Found> = PHRASES.iter().map(|phrase| Found { phrase: phrase.text, places: Vec::new() }).collect();
    for file in files.library().filter(|file| !file.path.starts_with("crates/sockeye-testing/")) {
        for (line, text) in prose(file) {
            for (phrase, found) in PHRASES.iter().zip(&mut all) {
                if occurs(phrase, &text) {
                    found.places.push(format!("{}:{line}: \"{}\" in: {}", file.path, phrase.text, text.trim()));
                }
            }
        }
    }
    all.retain(|found| !found.places.is_empty());
    all
}

fn occurs(phrase: &Phrase, text: &str) -> bool {
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '_')
        .map(str::to_lowercase)
        .filter(|word| !word.is_empty())
        .collect();
    let wanted: Vec<&str> = phrase.text.split(' ').collect();
    words.windows(wanted.len()).enumerate().any(|(index, window)| {
        let behind = index.checked_sub(1).and_then(|index| words.get(index));
        let before = words.get(index + wanted.len());
        let is = |word: Option<&String>, list: &[&str]| word.is_some_and(|word| list.contains(&word.as_str()));
        window == wanted && !is(behind, phrase.unless_behind) && !is(before, phrase.unless_before)
    })
}

/// The words of comments and texts, line by line. What a comment quotes is another's, such as the RFC's.
fn prose(file: &Source) -> Vec<(usize, String)> {
    let end = file.code_lines();
    // Whether a quotation goes on in the next line.
    let (mut is_quoted, mut last) = (false, 0);
    let mut found = Vec::new();
    for piece in tokens::prose(&file.text).into_iter().take_while(|piece| piece.line <= end) {
        let Some(comment) = piece.text.strip_prefix("//") else {
            found.push((piece.line, piece.text.to_owned()));
            continue;
        };
        is_quoted &= piece.line == last + 1;
        last = piece.line;
        found.push((piece.line, unquoted(comment, &mut is_quoted)));
    }
    found
}

/// Without what is between quotes, which may begin and end on other lines, and without code.
fn unquoted(comment: &str, is_quoted: &mut bool) -> String {
    let mut text = String::new();
    let mut is_code = false;
    for c in comment.chars() {
        match c {
            '`' => {
                is_code = !is_code;
                // So that what is around it does not become a phrase.
                text.push_str(" _ ");
            }
            _ if is_code => {}
            '"' => *is_quoted = !*is_quoted,
            '\u{201c}' => *is_quoted = true,
            '\u{201d}' => *is_quoted = false,
            c if !*is_quoted => text.push(c),
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrases(text: &str) -> Vec<&'static str> {
        found(&Files::of([("crates/a/src/b.rs", text)])).iter().map(|found| found.phrase).collect()
    }

    #[test]
    fn comments_and_texts_are_read_and_names_are_not() {
        assert_eq!(phrases("// Nobody is there.\n"), ["nobody"]);
        assert_eq!(phrases("f(\"nobody is there\"); // fine"), ["nobody"]);
        assert_eq!(phrases("fn nobody() {}\n"), [""; 0]);
        assert_eq!(phrases("fn f() {}\n#[cfg(test)]\nmod tests {\n    // nobody\n}\n"), [""; 0]);
    }

    #[test]
    fn good_english_is_left_alone() {
        assert_eq!(
            phrases("// There is no limit, and it is no longer one; if there are none, it stands for all.\n"),
            [""; 0]
        );
        assert_eq!(phrases("// That is no number.\n"), ["is no"]);
        assert_eq!(phrases("// This is\n"), [""; 0]);
        assert_eq!(phrases("// Until it is `None`, which is no `None`.\n"), ["is no"]);
    }

    #[test]
    fn quotations_are_anothers() {
        assert_eq!(phrases("// \"nobody is\n// nobody\" says the RFC, and whoever\n"), ["whoever"]);
    }
}
