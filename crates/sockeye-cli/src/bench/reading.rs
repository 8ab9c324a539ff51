//! Whether an answer is what was sent: kind, length and every byte, piece by piece, in the order in which it was sent.

use std::fmt;

use sockeye::Fragment;
use sockeye::proto::wire::MessageKind;

use super::script::Script;

/// Where in its answers a connection is.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The number in the script of the answer that comes.
    next: u64,
    /// Where the connection began, so that errors count from there.
    first: u64,
    /// Bytes of it that came, all of them right.
    taken: usize,
}

impl Reading {
    /// Answers to the messages from `first` on.
    pub(crate) fn new(first: u64) -> Self {
        Self { next: first, first, taken: 0 }
    }

    /// Takes a piece; gives the bytes of the answer if it is whole now.
    #[inline]
    pub(crate) fn take(&mut self, script: &Script, fragment: &Fragment<'_>) -> Result<Option<usize>, Wrong> {
        let expected = script.bytes(self.next);
        let piece = fragment.payload.as_bytes();
        let rest = expected.get(self.taken..).unwrap_or_default();
        // The last piece is all of the rest, and any other one its beginning.
        let right = if fragment.last { are_equal(rest, piece) } else { rest.starts_with(piece) };
        if !right || fragment.kind != script.kind() {
            return Err(self.wrong(script, fragment));
        }
        if !fragment.last {
            self.taken += piece.len();
            return Ok(None);
        }
        self.taken = 0;
        self.next += 1;
        Ok(Some(expected.len()))
    }

    #[cold]
    fn wrong(&self, script: &Script, fragment: &Fragment<'_>) -> Wrong {
        let expected = script.bytes(self.next);
        let piece = fragment.payload.as_bytes();
        let end = self.taken + piece.len();
        let fault = if fragment.kind != script.kind() {
            Fault::MessageKind(fragment.kind)
        } else if end > expected.len() {
            Fault::Long(expected.len())
        } else if let Some(at) = piece.iter().zip(&expected[self.taken..]).position(|(a, b)| a != b) {
            let at = self.taken + at;
            Fault::Byte { at, came: piece[at - self.taken], expected: expected[at] }
        } else {
            Fault::Short { came: end, expected: expected.len() }
        };
        Wrong { answer: self.next - self.first + 1, fault }
    }
}

/// As `a == b`, and without a call for short messages.
#[inline]
fn are_equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() == b.len() && (16..=32).contains(&a.len()) {
        a.first_chunk::<16>() == b.first_chunk() && a.last_chunk::<16>() == b.last_chunk()
    } else {
        a == b
    }
}

/// What is wrong with an answer. Answers count from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Wrong {
    pub(crate) answer: u64,
    pub(crate) fault: Fault,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    MessageKind(MessageKind),
    Short {
        came: usize,
        expected: usize,
    },
    Long(usize),
    Byte {
        at: usize,
        came: u8,
        expected: u8,
    },
    /// Nothing that was sent is without its answer.
    Unasked,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = self.answer;
        match self.fault {
            Fault::MessageKind(MessageKind::Text) => write!(f, "answer {answer} is text, and what was sent is binary"),
            Fault::MessageKind(_) => write!(f, "answer {answer} is binary, and what was sent is text"),
            Fault::Short { came, expected } => {
                write!(f, "answer {answer} has {came} of the {expected} bytes that were sent")
            }
            Fault::Long(expected) => write!(f, "answer {answer} is longer than the {expected} bytes that were sent"),
            Fault::Byte { at, came, expected } => write!(
                f,
                "byte {at} of answer {answer} is {came:#04x}, and {expected:#04x} was sent (another message, or a changed one)"
            ),
            Fault::Unasked => write!(f, "answer {answer} does not belong to any message sent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sizes::Sizes;
    use super::*;

    // A `Fragment` cannot be made outside of its crate, so pieces come through a connection, as in real life.
    use sockeye::proto::conn::{Connection, HEADROOM, Input};
    use sockeye::proto::event::Event;
    use sockeye::proto::wire::Role;

    /// Has a client read `frames`, `cut` bytes at a time.
    fn read(script: &Script, frames: &[u8], cut: usize) -> Result<Vec<usize>, Wrong> {
        let zero = sockeye::proto::time::Instant::from_nanos(0);
        let mut client = Connection::new(Role::Client, std::sync::Arc::default(), zero);
        let mut reading = Reading::new(0);
        let mut whole = Vec::new();
        for bytes in frames.chunks(cut) {
            let mut buffer = vec![0; HEADROOM];
            buffer.extend_from_slice(bytes);
            let mut input = Input::new(&mut buffer, HEADROOM);
            while let Some(event) = client.receive(&mut input).expect("legal frames") {
                let Event::Fragment(fragment) = event else { continue };
                whole.extend(reading.take(script, &fragment)?);
            }
        }
        Ok(whole)
    }

    fn frame(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![if last { 0x80 } else { 0 } | opcode, u8::try_from(payload.len()).unwrap()];
        frame.extend_from_slice(payload);
        frame
    }

    fn script(kind: MessageKind) -> Script {
        Script::new(&Sizes::parse("0:20%,1:20%,50:60%").unwrap(), kind, 9)
    }

    #[test]
    fn what_was_sent_is_right_however_it_comes() {
        for (kind, opcode) in [(MessageKind::Text, 1), (MessageKind::Binary, 2)] {
            let script = script(kind);
            let messages: Vec<&[u8]> = (0..40).map(|n| script.bytes(n)).collect();
            let whole: Vec<u8> = messages.iter().flat_map(|message| frame(opcode, true, message)).collect();
            let halves = |message: &&[u8]| {
                let (begin, end) = message.split_at(message.len() / 2);
                [frame(opcode, false, begin), frame(0, true, end)].concat()
            };
            let halved: Vec<u8> = messages.iter().flat_map(halves).collect();
            let sizes: Vec<usize> = messages.iter().map(|message| message.len()).collect();
            for cut in [1, 2, 3, 7, 1000] {
                assert_eq!(read(&script, &whole, cut), Ok(sizes.clone()));
                assert_eq!(read(&script, &halved, cut), Ok(sizes.clone()));
            }
        }
    }

    #[test]
    fn each_fault_has_its_name() {
        let script = script(MessageKind::Binary);
        let number = (0..).find(|n| script.bytes(*n).len() == 50).unwrap();
        let before: Vec<u8> = (0..number).flat_map(|n| frame(2, true, script.bytes(n))).collect();
        let message = script.bytes(number);
        let fault = |last: Vec<u8>| {
            let faults = [1, 3, 1000].map(|cut| read(&script, &[&before[..], &last].concat(), cut).unwrap_err());
            assert!(faults.iter().all(|wrong| *wrong == faults[0] && wrong.answer == number + 1), "{faults:?}");
            faults[0].fault
        };
        assert_eq!(fault(frame(1, true, &[b'x'; 50])), Fault::MessageKind(MessageKind::Text));
        assert_eq!(fault(frame(2, true, &message[..49])), Fault::Short { came: 49, expected: 50 });
        assert_eq!(fault(frame(2, true, &[message, b"x"].concat())), Fault::Long(50));
        for at in [0, 20, 49] {
            let mut changed = message.to_vec();
            changed[at] ^= 1;
            assert_eq!(fault(frame(2, true, &changed)), Fault::Byte { at, came: changed[at], expected: message[at] });
        }
        assert_eq!(fault(frame(2, true, b"")), Fault::Short { came: 0, expected: 50 });
    }

    #[test]
    fn two_answers_in_the_wrong_order_show() {
        let script = Script::new(&Sizes::parse("20").unwrap(), MessageKind::Binary, 9);
        let swapped: Vec<u8> = [1, 0].iter().flat_map(|n| frame(2, true, script.bytes(*n))).collect();
        assert!(matches!(read(&script, &swapped, 1000), Err(Wrong { answer: 1, fault: Fault::Byte { .. } })));
    }

    #[test]
    fn equal_is_what_slices_say() {
        let bytes: Vec<u8> = (0..100).collect();
        for len in 0..100 {
            assert!(are_equal(&bytes[..len], &bytes.clone()[..len]));
            assert!(!are_equal(&bytes[..len], &bytes[..len + 1]));
            for at in 0..len {
                let mut changed = bytes[..len].to_vec();
                changed[at] ^= 1;
                assert!(!are_equal(&bytes[..len], &changed), "{len} {at}");
            }
        }
    }
}
