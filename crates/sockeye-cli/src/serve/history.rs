//! What was drawn so far, for those who come later.

use std::collections::VecDeque;
use std::sync::Arc;

/// The commands of a drawing, put together into few messages. The oldest leave when there are too many.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Invariant: at most [`PARTS`], and each has at most [`PART`] bytes more than one message.
    parts: VecDeque<Arc<str>>,
    /// The part that grows.
    last: String,
}

impl History {
    /// Notes a message, if it draws something. One that erases the canvas forgets what was drawn.
    pub(crate) fn note(&mut self, text: &str) {
        if text == ERASE {
            return *self = Self::default();
        }
        let draws = |command: &str| command.starts_with("d ") || command.starts_with("c ");
        if !text.ends_with(';') || !text.split_terminator(';').all(draws) {
            return;
        }
        self.last.push_str(text);
        if self.last.len() >= PART {
            self.parts.push_back(std::mem::take(&mut self.last).into());
            if self.parts.len() > PARTS {
                self.parts.pop_front();
            }
        }
    }

    /// The messages that draw it again.
    pub(crate) fn messages(&self) -> VecDeque<Arc<str>> {
        let last = (!self.last.is_empty()).then(|| Arc::from(&*self.last));
        self.parts.iter().cloned().chain(last).collect()
    }
}

/// What the page sends to clear the canvas of everybody. Programs of 2013 know no such command and leave it out.
const ERASE: &str = "e;";

/// Bytes after which a part is complete.
const PART: usize = 16 * 1024;
/// Complete parts, which are 1 MiB: some 40,000 strokes.
const PARTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_draws_the_same_again_and_has_bounds() {
        let mut history = History::default();
        assert!(history.messages().is_empty());
        for text in ["d #fff 1 2 3 4;", "hello", "c #000 1 1 5;d #fff 1 1 1 1;", "x;", ";", "d #fff 1 2 3 4"] {
            history.note(text);
        }
        assert_eq!(history.messages(), [Arc::from("d #fff 1 2 3 4;c #000 1 1 5;d #fff 1 1 1 1;")]);
        let stroke = "d #1f2d33 100.5 100.5 101.5 101.5;";
        for _ in 0..100_000 {
            history.note(stroke);
        }
        let messages = history.messages();
        assert!((PARTS..=PARTS + 1).contains(&messages.len()));
        assert!(messages.iter().map(|part| part.len()).sum::<usize>() < (PARTS + 1) * (PART + stroke.len()));
        history.note("e;");
        assert!(history.messages().is_empty());
    }
}
