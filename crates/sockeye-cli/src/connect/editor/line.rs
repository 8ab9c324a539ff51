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
}

impl Line {
    pub(super) fn press(&mut self, key: Key) -> Did {
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
        }
        Did::Edited
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
