//! What one connection of `echo` has received and not sent back yet. No network in here.

use std::collections::VecDeque;

use sockeye::{Kind, Payload};

/// Whole messages in the order of their arrival, and the beginning of one more.
///
/// Text is kept as text, apart from binary, so that it is validated once, by the loop.
///
/// ```text
/// text    [ sent | whole | whole | unfinished ]
/// binary  [ sent | whole ]            `unfinished` bytes are at the end of one of the two
/// ```
///
/// Invariants: the lengths of the text messages in `whole`, with `text_sent` and an unfinished text, are `text.len()`;
/// the same for binary. All of them are lengths of whole `&str`s, so they are character boundaries.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    text: String,
    text_sent: usize,
    binary: Vec<u8>,
    binary_sent: usize,
    whole: VecDeque<(Kind, usize)>,
    unfinished: usize,
}

impl Backlog {
    pub(crate) fn push(&mut self, piece: Payload<'_>) {
        match piece {
            Payload::Text(text) => self.text.push_str(text),
            Payload::Binary(bytes) => self.binary.extend_from_slice(bytes),
        }
        self.unfinished += piece.as_bytes().len();
    }

    /// The unfinished message, whose last piece has arrived, is whole now.
    pub(crate) fn finish(&mut self, kind: Kind) {
        self.whole.push_back((kind, std::mem::take(&mut self.unfinished)));
    }

    /// The unfinished message.
    pub(crate) fn unfinished(&self, kind: Kind) -> Payload<'_> {
        match kind {
            Kind::Text => Payload::Text(&self.text[self.text.len() - self.unfinished..]),
            Kind::Binary => Payload::Binary(&self.binary[self.binary.len() - self.unfinished..]),
        }
    }

    /// Drops the unfinished message.
    pub(crate) fn discard(&mut self, kind: Kind) {
        match kind {
            Kind::Text => self.text.truncate(self.text.len() - self.unfinished),
            Kind::Binary => self.binary.truncate(self.binary.len() - self.unfinished),
        }
        self.unfinished = 0;
    }

    /// The oldest whole message.
    pub(crate) fn front(&self) -> Option<Payload<'_>> {
        let (kind, length) = *self.whole.front()?;
        Some(match kind {
            Kind::Text => Payload::Text(&self.text[self.text_sent..self.text_sent + length]),
            Kind::Binary => Payload::Binary(&self.binary[self.binary_sent..self.binary_sent + length]),
        })
    }

    /// Forgets the oldest whole message.
    pub(crate) fn pop(&mut self) {
        match self.whole.pop_front() {
            Some((Kind::Text, length)) => self.text_sent += length,
            Some((Kind::Binary, length)) => self.binary_sent += length,
            None => {}
        }
        // Moves at most as many bytes as were sent since the last time.
        if is_mostly_sent(self.text_sent, self.text.len()) {
            self.text.drain(..self.text_sent);
            self.text_sent = 0;
        }
        if is_mostly_sent(self.binary_sent, self.binary.len()) {
            self.binary.drain(..self.binary_sent);
            self.binary_sent = 0;
        }
    }

    /// Whether there is nothing to send, now or after more pieces.
    pub(crate) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.unfinished == 0
    }

    /// What waits to be sent, in bytes; an empty message counts too.
    pub(crate) fn waiting(&self) -> usize {
        let sent = self.text_sent + self.binary_sent + self.unfinished;
        self.text.len() + self.binary.len() - sent + self.whole.len() * size_of::<(Kind, usize)>()
    }

    fn capacity(&self) -> usize {
        self.text.capacity() + self.binary.capacity() + self.whole.capacity() * size_of::<(Kind, usize)>()
    }

    fn clear(&mut self) {
        self.text.clear();
        self.binary.clear();
        self.whole.clear();
        (self.text_sent, self.binary_sent, self.unfinished) = (0, 0, 0);
    }
}

fn is_mostly_sent(sent: usize, length: usize) -> bool {
    sent > 0 && sent >= length / 2 && (sent == length || sent > 64 * 1024)
}

/// Backlogs that nobody uses now: a connection without a message in it owns none, and yet a message allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    #[expect(clippy::vec_box, reason = "the boxes go from here to the sessions and back")]
    spares: Vec<Box<Backlog>>,
    /// The capacity of all of them; at most [`SPARE_BYTES`].
    bytes: usize,
}

impl Spares {
    pub(crate) fn take(&mut self) -> Box<Backlog> {
        let backlog = self.spares.pop().unwrap_or_default();
        self.bytes -= backlog.capacity();
        backlog
    }

    pub(crate) fn give(&mut self, mut backlog: Box<Backlog>) {
        let bytes = self.bytes + backlog.capacity();
        if self.spares.len() < SPARES && bytes <= SPARE_BYTES {
            backlog.clear();
            self.bytes = bytes;
            self.spares.push(backlog);
        }
    }
}

const SPARES: usize = 64;
const SPARE_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(messages: &[Payload<'_>]) -> Backlog {
        let mut backlog = Backlog::default();
        for message in messages {
            backlog.push(*message);
            backlog.finish(kind(message));
        }
        backlog
    }

    fn kind(payload: &Payload<'_>) -> Kind {
        match payload {
            Payload::Text(_) => Kind::Text,
            Payload::Binary(_) => Kind::Binary,
        }
    }

    #[test]
    fn keeps_order_kind_and_bounds() {
        let messages =
            [Payload::Text("é"), Payload::Binary(b"\xff"), Payload::Text(""), Payload::Binary(b""), Payload::Text("z")];
        let mut backlog = backlog(&messages);
        for message in messages {
            let front = backlog.front().unwrap();
            assert_eq!((kind(&front), front.as_bytes()), (kind(&message), message.as_bytes()));
            backlog.pop();
        }
        assert!(backlog.front().is_none() && backlog.is_empty());
        assert_eq!(backlog.waiting(), 0);
        backlog.pop();
    }

    #[test]
    fn pieces_are_one_message_once_it_is_finished() {
        let mut backlog = backlog(&[Payload::Text("old")]);
        backlog.push(Payload::Text("ne"));
        backlog.pop();
        assert!(backlog.front().is_none() && !backlog.is_empty());
        backlog.push(Payload::Text("w"));
        assert_eq!(backlog.unfinished(Kind::Text).as_bytes(), b"new");
        backlog.finish(Kind::Text);
        assert_eq!(backlog.front().unwrap().as_bytes(), b"new");
    }

    #[test]
    fn an_unfinished_message_can_be_dropped() {
        let mut backlog = backlog(&[Payload::Binary(b"keep")]);
        backlog.push(Payload::Binary(b"drop"));
        backlog.discard(Kind::Binary);
        assert_eq!(backlog.front().unwrap().as_bytes(), b"keep");
        backlog.pop();
        assert!(backlog.is_empty());
    }

    #[test]
    fn what_was_sent_does_not_pile_up() {
        let mut backlog = Backlog::default();
        let message = "m".repeat(1000);
        for _ in 0..2 {
            backlog.push(Payload::Text(&message));
            backlog.finish(Kind::Text);
        }
        for _ in 0..10_000 {
            backlog.push(Payload::Text(&message));
            backlog.finish(Kind::Text);
            backlog.pop();
            assert_eq!(backlog.front().unwrap().as_bytes(), message.as_bytes());
        }
        assert!(backlog.capacity() < 1 << 20, "{}", backlog.capacity());
    }

    #[test]
    fn empty_messages_count() {
        let backlog = backlog(&[Payload::Text(""); 100]);
        assert!(backlog.waiting() >= 100);
    }

    #[test]
    fn spares_are_bounded_and_come_back_empty() {
        let mut spares = Spares::default();
        for _ in 0..100 {
            spares.give(Box::new(backlog(&[Payload::Text("used")])));
        }
        assert_eq!(spares.spares.len(), SPARES);
        assert!(spares.take().is_empty());
        let mut large = Backlog::default();
        large.push(Payload::Binary(&vec![0; SPARE_BYTES]));
        spares.give(Box::new(large));
        assert_eq!(spares.spares.len(), SPARES - 1);
        while !spares.spares.is_empty() {
            spares.take();
        }
        assert_eq!(spares.bytes, 0);
        assert!(spares.take().is_empty());
    }
}
