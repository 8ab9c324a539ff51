//! dumb-increment-protocol: a number every 50 ms, one more each time, on each connection its own.

use std::fmt::Write;
use std::time::Duration;

use sockeye::protocol::ProtocolMut;
use sockeye::{Close, CloseCode, Cx, Fragment, Handshake, Protocol, Tx};

/// dumb-increment-protocol, for all its connections.
pub(crate) struct Increment {
    close_test: bool,
    /// For the number that is being sent.
    text: String,
}

impl Increment {
    /// With `close_test` it closes each connection with 1000 after 50 numbers.
    pub(crate) fn new(close_test: bool) -> Self {
        Self { close_test, text: String::new() }
    }
}

impl Protocol for Increment {
    type Session = Counter;

    fn name(&self) -> &str {
        "dumb-increment-protocol"
    }

    fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) -> Counter {
        Counter::default()
    }

    fn receive(&mut self, _: &mut Cx<'_>, counter: &mut Counter, fragment: Fragment<'_>) -> Result<(), Close> {
        counter.receive(fragment.payload.as_bytes(), fragment.last);
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, counter: &mut Counter, tx: Tx<'_>) -> Result<(), Close> {
        let Some(writable) = tx.idle() else { return Ok(()) };
        counter.write_next(&mut self.text);
        writable.text(&self.text);
        if self.close_test && counter.is_close_test_over() {
            return Err(Close::new(CloseCode::NORMAL));
        }
        Ok(())
    }

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(50))
    }

    /// A peer that does not keep up misses ticks, not numbers: a request that waits already is not made twice.
    fn tick(&mut self, own: &mut ProtocolMut<'_>) {
        own.request_writable();
    }
}

/// One connection, apart from the network: 0, 1, 2, .. as decimal text; `reset\n` begins again.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    next: u64,
    command: Command,
}

impl Counter {
    /// Writes the next number into `text`, in place of what is there.
    pub(crate) fn write_next(&mut self, text: &mut String) {
        text.clear();
        // Cannot fail: a `String` takes everything.
        let _ = write!(text, "{}", self.next);
        self.next = self.next.wrapping_add(1);
    }

    /// Whether the fifty numbers of a close test are out.
    pub(crate) fn is_close_test_over(&self) -> bool {
        self.next == CLOSE_TEST
    }

    /// Takes a piece of a message; the last one decides.
    pub(crate) fn receive(&mut self, piece: &[u8], last: bool) {
        self.command.push(piece);
        if last && std::mem::take(&mut self.command).is(RESET) {
            self.next = 0;
        }
    }
}

/// The start of a message, as far as it can still be a command.
#[derive(Debug, Default)]
struct Command {
    bytes: [u8; RESET.len()],
    /// All bytes of the message, also those that were not kept.
    length: usize,
}

impl Command {
    fn push(&mut self, piece: &[u8]) {
        let free = &mut self.bytes[self.length.min(RESET.len())..];
        let kept = free.len().min(piece.len());
        free[..kept].copy_from_slice(&piece[..kept]);
        self.length = self.length.saturating_add(piece.len());
    }

    fn is(&self, command: &[u8]) -> bool {
        self.bytes.get(..self.length) == Some(command)
    }
}

const RESET: &[u8] = b"reset\n";

/// As in the test server of libwebsockets.
const CLOSE_TEST: u64 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn next(counter: &mut Counter) -> String {
        let mut text = "old".to_owned();
        counter.write_next(&mut text);
        text
    }

    #[test]
    fn counts_from_zero() {
        let mut counter = Counter::default();
        assert_eq!([next(&mut counter), next(&mut counter), next(&mut counter)], ["0", "1", "2"]);
    }

    #[test]
    fn reset_however_it_is_cut() {
        for cut in 0..=RESET.len() {
            let mut counter = Counter::default();
            next(&mut counter);
            counter.receive(&RESET[..cut], false);
            counter.receive(&RESET[cut..], false);
            assert_eq!(next(&mut counter), "1", "not before the message is whole");
            counter.receive(b"", true);
            assert_eq!(next(&mut counter), "0");
        }
    }

    #[test]
    fn other_messages_are_ignored_and_do_not_stick() {
        let mut counter = Counter::default();
        next(&mut counter);
        for message in [&b""[..], b"reset", b"reset\n\n", b"xreset\n", b"RESET\n", &[b'r'; 1000]] {
            counter.receive(message, true);
        }
        assert_eq!(next(&mut counter), "1");
        counter.receive(RESET, true);
        assert_eq!(next(&mut counter), "0");
    }

    #[test]
    fn a_close_test_sends_fifty() {
        let mut counter = Counter::default();
        let mut last = String::new();
        while !counter.is_close_test_over() {
            last = next(&mut counter);
        }
        assert_eq!(last, "49");
    }
}
