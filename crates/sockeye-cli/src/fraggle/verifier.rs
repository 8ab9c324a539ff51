//! What a fraggle client checks: the format of [`generator`](super::generator), piece by piece. Apart from the network.

use std::fmt;

use sockeye::proto::wire::MessageKind;

use super::generator::{FRAGMENT_BYTES, FRAGMENTS, Message};

/// One connection's messages, as they come.
#[derive(Debug, Default)]
pub(crate) struct Verifier {
    message: Message,
    /// Of the present frame.
    frame_bytes: u64,
    /// Pieces do not tell where frames end.
    is_compressed: bool,
    /// The message is whole, and this is what came of its sum.
    sum: Option<Sum>,
}

#[derive(Debug, Default)]
struct Sum {
    bytes: [u8; 4],
    len: usize,
}

impl Verifier {
    /// For a connection that compresses: how a compressed message was cut into frames is not known where it is inflated, so that is
    /// not checked.
    pub(crate) fn compressed() -> Self {
        Self { is_compressed: true, ..Self::default() }
    }

    /// Takes a piece of a frame. `frame_over`: the frame ends with it; `message_over`: its message too. Gives the message
    /// whose sum has come and is right.
    pub(crate) fn take(
        &mut self,
        kind: MessageKind,
        piece: &[u8],
        frame_over: bool,
        message_over: bool,
    ) -> Result<Option<Message>, Wrong> {
        if kind != MessageKind::Binary {
            return Err(Wrong::Text);
        }
        match &mut self.sum {
            None => self.payload(piece, frame_over, message_over).map(|()| None),
            Some(sum) => {
                sum.take(piece)?;
                if message_over { self.compare().map(Some) } else { Ok(None) }
            }
        }
    }

    /// Whether a message, or its sum, is still to come to an end.
    pub(crate) fn is_inside(&self) -> bool {
        self.sum.is_some() || self.message.bytes > 0
    }

    fn payload(&mut self, piece: &[u8], frame_over: bool, message_over: bool) -> Result<(), Wrong> {
        self.message.add(piece);
        if !self.is_compressed {
            self.frame(piece.len(), frame_over)?;
        }
        if message_over {
            self.sum = Some(Sum::default());
        }
        Ok(())
    }

    fn frame(&mut self, more: usize, is_over: bool) -> Result<(), Wrong> {
        self.frame_bytes += more as u64;
        if self.frame_bytes > u64::from(FRAGMENT_BYTES) {
            return Err(Wrong::LongFragment(self.message.fragments + 1));
        }
        if is_over {
            if std::mem::take(&mut self.frame_bytes) == 0 {
                return Err(Wrong::EmptyFragment(self.message.fragments + 1));
            }
            self.message.fragments += 1;
            if self.message.fragments > FRAGMENTS {
                return Err(Wrong::ManyFragments);
            }
        }
        Ok(())
    }

    fn compare(&mut self) -> Result<Message, Wrong> {
        let said = self.sum.take().unwrap_or_default().value()?;
        let message = std::mem::take(&mut self.message);
        if said == message.sum { Ok(message) } else { Err(Wrong::Sum { said, message }) }
    }
}

impl Sum {
    fn take(&mut self, piece: &[u8]) -> Result<(), Wrong> {
        let end = self.len + piece.len();
        self.bytes.get_mut(self.len..end).ok_or(Wrong::SumLength)?.copy_from_slice(piece);
        self.len = end;
        Ok(())
    }

    fn value(&self) -> Result<u32, Wrong> {
        if self.len == self.bytes.len() { Ok(u32::from_be_bytes(self.bytes)) } else { Err(Wrong::SumLength) }
    }
}

/// What is not as fraggle-protocol has it. Fragments count from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wrong {
    Text,
    EmptyFragment(u32),
    LongFragment(u32),
    ManyFragments,
    SumLength,
    Sum { said: u32, message: Message },
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("received a text message; fraggle-protocol only has binary messages"),
            Self::EmptyFragment(number) => write!(f, "fragment {number} is empty; each has at least one byte"),
            Self::LongFragment(number) => write!(f, "fragment {number} has more than {FRAGMENT_BYTES} bytes"),
            Self::ManyFragments => write!(f, "it has more than {FRAGMENTS} fragments"),
            Self::SumLength => f.write_str("the checksum message does not have 4 bytes"),
            Self::Sum { said, message: Message { fragments, bytes, sum } } => write!(
                f,
                "wrong sum: the server sent {said:#010x}, but the {bytes} bytes received in {fragments} fragments add up to \
                 {sum:#010x}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::generator::Generator;
    use super::*;

    const BINARY: MessageKind = MessageKind::Binary;

    #[test]
    fn what_the_speaker_says_is_right_however_it_is_cut() {
        for cut in [1, 7, 1999, 2000, 5000] {
            let (mut generator, mut verifier) = (Generator::new(cut as u64), Verifier::default());
            let mut checked = 0;
            while checked < 3 {
                let (fragment, last) = generator.fragment();
                let mut pieces = fragment.chunks(cut).peekable();
                while let Some(piece) = pieces.next() {
                    let over = pieces.peek().is_none();
                    assert_eq!(verifier.take(BINARY, piece, over, over && last), Ok(None));
                }
                if last {
                    let sum = generator.message().sum.to_be_bytes();
                    assert!(verifier.is_inside());
                    assert_eq!(verifier.take(BINARY, &sum[..1], false, false), Ok(None));
                    assert_eq!(verifier.take(BINARY, &sum[1..], true, true), Ok(Some(generator.message())));
                    assert!(!verifier.is_inside());
                    checked += 1;
                }
            }
        }
    }

    #[test]
    fn the_original_s_example() {
        // 0x01 + 0xff + 0x02 in two fragments.
        let mut verifier = Verifier::default();
        verifier.take(BINARY, &[0x01, 0xff], true, false).unwrap();
        verifier.take(BINARY, &[0x02], true, true).unwrap();
        let message = Message { fragments: 2, bytes: 3, sum: 0x102 };
        assert_eq!(verifier.take(BINARY, &[0, 0, 1, 2], true, true), Ok(Some(message)));
    }

    #[test]
    fn each_departure_has_its_name() {
        let after_message = |sum: &[u8]| {
            let mut verifier = Verifier::default();
            verifier.take(BINARY, &[9], true, true).unwrap();
            verifier.take(BINARY, sum, true, true).unwrap_err()
        };
        let message = Message { fragments: 1, bytes: 1, sum: 9 };
        assert_eq!(after_message(&[0, 0, 0, 8]), Wrong::Sum { said: 8, message });
        assert_eq!(after_message(&[9, 0, 0, 0]), Wrong::Sum { said: 0x0900_0000, message }, "network order");
        assert_eq!(after_message(&[0, 0, 9]), Wrong::SumLength);
        assert_eq!(after_message(&[0, 0, 0, 0, 9]), Wrong::SumLength);
        assert_eq!(after_message(&[]), Wrong::SumLength);
        let fresh = |kind, piece: &[u8]| Verifier::default().take(kind, piece, true, false).unwrap_err();
        assert_eq!(fresh(MessageKind::Text, b"x"), Wrong::Text);
        assert_eq!(fresh(BINARY, b""), Wrong::EmptyFragment(1));
        assert_eq!(fresh(BINARY, &[0; 2001]), Wrong::LongFragment(1));
        let mut verifier = Verifier::default();
        for _ in 0..1024 {
            verifier.take(BINARY, &[1], true, false).unwrap();
        }
        assert_eq!(verifier.take(BINARY, &[1], true, false), Err(Wrong::ManyFragments));
    }
}
