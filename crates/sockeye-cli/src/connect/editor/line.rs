//! The line that is being edited, and those before it.

use std::collections::VecDeque;
use std::mem;

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

use super::keys::Key;

/// What came of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Did {
    Edited,
    Nothing,
    /// The line is ready.
    Entered(String),
    /// The screen wants to be cleared.
    Cleared,
    /// There will be no more lines.
    Ended,
}

#[derive(Debug, Default)]
pub(super) struct Line {
    text: String,
    /// Invariant: a boundary of characters in `text`.
    cursor: usize,
    history: VecDeque<String>,
    /// Which line of the history is shown; none: the one that is new.
    shown: Option<usize>,
    /// The new line, while one of the history is shown.
    new: String,
    search: Option<Search>,
}

/// A search in the history, from the newest line to the oldest. Its match is the text that is shown.
#[derive(Debug)]
struct Search {
    wanted: String,
    /// The line of the history that is shown; none: nothing was found yet.
    at: Option<usize>,
    /// Whether the line that is shown has `wanted` in it.
    is_found: bool,
    /// The line and its cursor before the search.
    before: (String, usize),
}

impl Line {
    pub(super) fn press(&mut self, key: Key) -> Did {
        if let Some(search) = self.search.take() {
            return self.press_in_search(search, key);
        }
        match key {
            Key::Char(c) => {
                self.text.insert(self.cursor, c);
                self.cursor += c.len_utf8();
            }
            Key::Enter => return self.enter(),
            Key::EndOfInput if self.text.is_empty() => return Did::Ended,
            Key::Clear => return Did::Cleared,
            Key::Backspace => self.remove(self.left(), self.cursor),
            Key::Delete | Key::EndOfInput => self.remove(self.cursor, self.right()),
            Key::Left => self.cursor = self.left(),
            Key::Right => self.cursor = self.right(),
            Key::WordLeft => self.cursor = self.word_left(),
            Key::WordRight => self.cursor = self.word_right(),
            Key::Home => self.cursor = 0,
            Key::End => self.cursor = self.text.len(),
            Key::KillToEnd => self.text.truncate(self.cursor),
            Key::KillToStart => self.remove(0, self.cursor),
            Key::KillWord => self.remove(self.word_left(), self.cursor),
            Key::Up => return self.recall(self.shown.map_or(self.history.len(), |shown| shown).checked_sub(1)),
            Key::Down => return self.recall(self.shown.map(|shown| shown + 1)),
            Key::Search => {
                let before = (self.text.clone(), self.cursor);
                self.search = Some(Search { wanted: String::new(), at: None, is_found: true, before });
            }
            Key::Cancel => return Did::Nothing,
        }
        Did::Edited
    }

    /// A key that does not belong to the search accepts its match, and then does what it always does.
    fn press_in_search(&mut self, mut search: Search, key: Key) -> Did {
        let end = self.history.len();
        match key {
            Key::Char(c) => {
                if search.wanted.len() < LONGEST_SEARCH {
                    search.wanted.push(c);
                }
                self.look(search, |at| at.map_or(end, |at| at + 1));
            }
            Key::Backspace => {
                let last = search.wanted.grapheme_indices(true).next_back().map_or(0, |(index, _)| index);
                search.wanted.truncate(last);
                self.look(search, |_| end);
            }
            Key::Search => self.look(search, |at| at.unwrap_or(end)),
            Key::Cancel => (self.text, self.cursor) = search.before,
            key => {
                if search.at.is_some() {
                    if self.shown.is_none() {
                        self.new = search.before.0;
                    }
                    self.shown = search.at;
                }
                return self.press(key);
            }
        }
        Did::Edited
    }

    /// Shows the newest line of the history that has what is wanted, among those before `end`. If there is none, the line
    /// that is shown stays.
    fn look(&mut self, mut search: Search, end: impl FnOnce(Option<usize>) -> usize) {
        if search.wanted.is_empty() {
            (self.text, self.cursor) = search.before.clone();
            (search.at, search.is_found) = (None, true);
        } else {
            let lines = self.history.iter().enumerate().take(end(search.at)).rev();
            let found = lines.filter_map(|(at, line)| Some((at, line, line.find(&search.wanted)?))).next();
            search.is_found = found.is_some();
            if let Some((at, line, place)) = found {
                (self.text, self.cursor) = (line.clone(), place);
                search.at = Some(at);
            }
        }
        self.search = Some(search);
    }

    /// What is in front of the line, in a row of so many columns.
    pub(super) fn prompt(&self, columns: usize) -> String {
        let Some(search) = &self.search else { return PROMPT.to_owned() };
        let what = if search.is_found { "search" } else { "not found" };
        let prompt = format!("({what}: {}) ", visible(&search.wanted));
        if prompt.width() > columns / 2 { format!("({what}) ") } else { prompt }
    }

    fn enter(&mut self) -> Did {
        let line = mem::take(&mut self.text);
        self.cursor = 0;
        self.shown = None;
        self.new.clear();
        if !line.is_empty() && self.history.back() != Some(&line) {
            if self.history.len() == REMEMBERED {
                self.history.pop_front();
            }
            self.history.push_back(line.clone());
        }
        Did::Entered(line)
    }

    /// Shows a line of the history; behind the last one is the new one.
    fn recall(&mut self, wanted: Option<usize>) -> Did {
        let Some(wanted) = wanted else { return Did::Nothing };
        if self.shown.is_none() {
            self.new = mem::take(&mut self.text);
        }
        self.shown = Some(wanted).filter(|wanted| *wanted < self.history.len());
        self.text = match self.shown.and_then(|shown| self.history.get(shown)) {
            Some(line) => line.clone(),
            None => mem::take(&mut self.new),
        };
        self.cursor = self.text.len();
        Did::Edited
    }

    fn remove(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.cursor = from;
    }

    /// The boundary before what a reader takes for the character before the cursor (UAX #29: an extended grapheme cluster).
    fn left(&self) -> usize {
        self.text[..self.cursor].grapheme_indices(true).next_back().map_or(0, |(index, _)| index)
    }

    fn right(&self) -> usize {
        self.cursor + self.text[self.cursor..].graphemes(true).next().map_or(0, str::len)
    }

    fn word_left(&self) -> usize {
        let before = self.text[..self.cursor].trim_end();
        before.char_indices().rev().find(|(_, c)| c.is_whitespace()).map_or(0, |(index, c)| index + c.len_utf8())
    }

    fn word_right(&self) -> usize {
        let after = &self.text[self.cursor..];
        let word = after.len() - after.trim_start().len();
        after[word..].find(char::is_whitespace).map_or(self.text.len(), |end| self.cursor + word + end)
    }

    /// The part of the line that fits into `columns` with the cursor in it, and the cursor's column.
    pub(super) fn window(&self, columns: usize) -> (String, usize) {
        // One column is left for the cursor behind the last character.
        let most = columns.max(1) - 1;
        let (mut start, mut column) = (self.cursor, 0);
        for (index, cluster) in self.text[..self.cursor].grapheme_indices(true).rev() {
            let width = visible(cluster).width();
            if column + width > most {
                break;
            }
            (start, column) = (index, column + width);
        }
        let mut room = most;
        let mut shown = String::new();
        for cluster in self.text[start..].graphemes(true).map(visible) {
            let Some(rest) = room.checked_sub(cluster.width()) else { break };
            room = rest;
            shown.push_str(&cluster);
        }
        (shown, column)
    }
}

/// Text with a sign for each character that would move the cursor or change the direction of what follows.
pub(super) fn visible(text: &str) -> String {
    let sign = |c: char| match c {
        '\n' => '↵',
        '\t' => '→',
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '·',
        c if c.is_control() => '·',
        c => c,
    };
    text.chars().map(sign).collect()
}

/// Lines that can be recalled.
const REMEMBERED: usize = 1000;
/// Bytes after which a search takes no more, such as a paste.
const LONGEST_SEARCH: usize = 256;
/// In front of the line.
pub(super) const PROMPT: &str = "> ";

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &mut Line, text: &str) {
        text.chars().for_each(|c| _ = line.press(Key::Char(c)));
    }

    fn shown(line: &Line) -> (String, usize) {
        line.window(80)
    }

    #[test]
    fn editing() {
        let mut line = Line::default();
        typed(&mut line, "hello wörld");
        for (key, text, column) in [
            (Key::Left, "hello wörld", 10),
            (Key::Backspace, "hello wörd", 9),
            (Key::WordLeft, "hello wörd", 6),
            (Key::Delete, "hello örd", 6),
            (Key::Char('x'), "hello xörd", 7),
            (Key::Home, "hello xörd", 0),
            (Key::Backspace, "hello xörd", 0),
            (Key::WordRight, "hello xörd", 5),
            (Key::WordRight, "hello xörd", 10),
            (Key::Right, "hello xörd", 10),
            (Key::EndOfInput, "hello xörd", 10),
            (Key::KillWord, "hello ", 6),
            (Key::Left, "hello ", 5),
            (Key::KillToEnd, "hello", 5),
            (Key::Left, "hello", 4),
            (Key::KillToStart, "o", 0),
        ] {
            let name = format!("{key:?}");
            assert_eq!(line.press(key), Did::Edited);
            assert_eq!(shown(&line), (text.to_owned(), column), "{name}");
        }
        assert_eq!(line.press(Key::Enter), Did::Entered("o".to_owned()));
        assert_eq!(line.press(Key::EndOfInput), Did::Ended);
    }

    #[test]
    fn history_goes_up_and_comes_back_to_the_new_line() {
        let mut line = Line::default();
        assert_eq!(line.press(Key::Up), Did::Nothing);
        for text in ["one", "two", "two", ""] {
            typed(&mut line, text);
            assert_eq!(line.press(Key::Enter), Did::Entered(text.to_owned()));
        }
        typed(&mut line, "new");
        for (key, text) in [
            (Key::Up, "two"),
            (Key::Up, "one"),
            (Key::Up, "one"),
            (Key::Down, "two"),
            (Key::Down, "new"),
            (Key::Down, "new"),
            (Key::Up, "two"),
        ] {
            line.press(key);
            assert_eq!(shown(&line).0, text);
        }
        typed(&mut line, "!");
        assert_eq!(line.press(Key::Enter), Did::Entered("two!".to_owned()));
    }

    #[test]
    fn a_search_goes_from_new_to_old() {
        let mut line = Line::default();
        for text in ["login ann", "say hello", "login bob"] {
            typed(&mut line, text);
            line.press(Key::Enter);
        }
        typed(&mut line, "new");
        assert_eq!(line.prompt(80), "> ");
        for (key, prompt, text, column) in [
            (Key::Search, "(search: ) ", "new", 3),
            (Key::Char('o'), "(search: o) ", "login bob", 1),
            (Key::Search, "(search: o) ", "say hello", 8),
            (Key::Search, "(search: o) ", "login ann", 1),
            (Key::Search, "(not found: o) ", "login ann", 1),
            (Key::Backspace, "(search: ) ", "new", 3),
            (Key::Char('n'), "(search: n) ", "login bob", 4),
            (Key::Char(' '), "(search: n ) ", "login bob", 4),
            (Key::Char('a'), "(search: n a) ", "login ann", 4),
            (Key::Char('x'), "(not found: n ax) ", "login ann", 4),
            (Key::Cancel, "> ", "new", 3),
            (Key::Search, "(search: ) ", "new", 3),
            (Key::Char('h'), "(search: h) ", "say hello", 4),
            (Key::Down, "> ", "login bob", 9),
            (Key::Down, "> ", "new", 3),
        ] {
            let name = format!("{key:?}");
            line.press(key);
            assert_eq!((&*line.prompt(80), shown(&line)), (prompt, (text.to_owned(), column)), "{name}");
        }
        line.press(Key::Search);
        typed(&mut line, "ann");
        assert_eq!(line.press(Key::Enter), Did::Entered("login ann".to_owned()));
        assert_eq!(line.press(Key::Cancel), Did::Nothing);
    }

    #[test]
    fn a_search_is_bounded_and_fits_into_its_row() {
        let mut line = Line::default();
        line.press(Key::Search);
        typed(&mut line, &"é".repeat(10_000));
        assert!(line.search.as_ref().unwrap().wanted.len() <= LONGEST_SEARCH + 4);
        assert_eq!(line.prompt(80), "(not found) ");
        for _ in 0..10_000 {
            line.press(Key::Backspace);
        }
        assert_eq!((line.prompt(80), line.press(Key::Enter)), ("(search: ) ".to_owned(), Did::Entered(String::new())));
    }

    #[test]
    fn marks_go_with_their_character_and_wide_ones_take_two_columns() {
        let mut line = Line::default();
        typed(&mut line, "ae\u{301}漢");
        assert_eq!(shown(&line).1, 4);
        line.press(Key::Left);
        assert_eq!(shown(&line).1, 2);
        line.press(Key::Backspace);
        assert_eq!(shown(&line), ("a漢".to_owned(), 1));
    }

    #[test]
    fn what_a_reader_takes_for_one_character_is_one() {
        // Terminals give a column to each letter of a conjunct.
        for (first, last, columns) in [
            ("a", "👩\u{200d}👩\u{200d}👧", 2),
            ("🇩🇪", "🇫🇷", 2),
            ("❤\u{fe0f}\u{200d}🔥", "👍🏽", 2),
            ("क", "क\u{94d}ष\u{93f}", 3),
            ("가", "\u{1112}\u{1161}\u{11ab}", 2),
        ] {
            let mut line = Line::default();
            typed(&mut line, &format!("{first}{last}"));
            let end = shown(&line).1;
            line.press(Key::Left);
            assert_eq!(end - shown(&line).1, columns, "{last}");
            line.press(Key::Home);
            line.press(Key::Right);
            line.press(Key::Delete);
            assert_eq!(shown(&line).0, first);
            typed(&mut line, last);
            line.press(Key::Backspace);
            assert_eq!(shown(&line).0, first);
        }
        // Two flags are four marks of which any two would be one.
        let mut line = Line::default();
        typed(&mut line, "🇩🇪🇫🇷");
        line.press(Key::Backspace);
        assert_eq!(shown(&line), ("🇩🇪".to_owned(), 2));
    }

    #[test]
    fn joiners_are_shown_as_they_are_and_marks_of_direction_as_a_sign() {
        let mut line = Line::default();
        typed(&mut line, "می\u{200c}خواهم");
        assert_eq!(shown(&line), ("می\u{200c}خواهم".to_owned(), 7));
        line.press(Key::KillToStart);
        typed(&mut line, "a\u{202e}b\u{2066}");
        assert_eq!(shown(&line), ("a·b·".to_owned(), 4));
        assert_eq!(line.press(Key::Enter), Did::Entered("a\u{202e}b\u{2066}".to_owned()));
    }

    #[test]
    fn a_long_line_is_seen_around_its_cursor() {
        let mut line = Line::default();
        typed(&mut line, "0123456789");
        assert_eq!(line.window(5), ("6789".to_owned(), 4));
        assert_eq!(line.window(0), (String::new(), 0));
        line.press(Key::Home);
        assert_eq!(line.window(5), ("0123".to_owned(), 0));
        assert_eq!(line.window(11), ("0123456789".to_owned(), 0));
        let mut line = Line::default();
        typed(&mut line, "漢漢漢");
        assert_eq!(line.window(4), ("漢".to_owned(), 2), "no half characters");
    }

    #[test]
    fn what_would_move_the_cursor_is_shown_as_a_sign() {
        let mut line = Line::default();
        typed(&mut line, "a\n\tb\u{1b}");
        assert_eq!(shown(&line), ("a↵→b·".to_owned(), 5));
        assert_eq!(line.press(Key::Enter), Did::Entered("a\n\tb\u{1b}".to_owned()));
    }
}
