//! Published messages: kept as messages until the end of the turn, then framed once for all connections.

use std::rc::Rc;

use sockeye_proto::wire::{EncodedHeader, MessageKind, OpCode};

use crate::transport::pool::Buffer;

/// Messages in the order in which they were published.
///
/// Each payload lies behind room for the head of its frame, so that framing copies nothing. Invariant: a message's payload
/// is `bytes[start..start + len]`, and its head goes to the `head_len` bytes before that.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    messages: Vec<Message>,
}

struct Message {
    kind: MessageKind,
    start: usize,
    len: usize,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// How many messages it holds.
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// How many bytes its frames will have.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn push(&mut self, kind: MessageKind, payload: &[u8]) {
        let head_len = server_head(kind, payload.len()).len();
        let start = self.bytes.len() + head_len;
        self.bytes.resize(start, 0);
        self.bytes.extend_from_slice(payload);
        self.messages.push(Message { kind, start, len: payload.len() });
    }

    /// Writes the heads of a server's frames, which are not masked (RFC 6455 section 5.1) and so the same for all.
    pub(crate) fn framed(mut self) -> Framed {
        for Message { kind, start, len } in &self.messages {
            let head = server_head(*kind, *len);
            self.bytes[start - head.len()..*start].copy_from_slice(&head);
        }
        Framed { bytes: Rc::new(Buffer(self.bytes)), messages: self.messages }
    }
}

fn server_head(kind: MessageKind, len: usize) -> EncodedHeader {
    EncodedHeader::new(true, 0, opcode(kind), len as u64, None)
}

/// The opcode of a whole message (RFC 6455 section 5.6).
pub(super) fn opcode(kind: MessageKind) -> OpCode {
    match kind {
        MessageKind::Text => OpCode::Text,
        MessageKind::Binary => OpCode::Binary,
    }
}

/// A batch whose frames are ready to be sent.
pub(crate) struct Framed {
    bytes: Rc<Buffer>,
    messages: Vec<Message>,
}

impl Framed {
    /// A server's frames, one after another.
    pub(super) fn bytes(&self) -> &Rc<Buffer> {
        &self.bytes
    }

    /// How many bytes the frames have.
    pub(crate) fn len(&self) -> usize {
        self.bytes.0.len()
    }

    /// How many bytes of memory it takes: many small messages take more for their lengths than for their frames.
    pub(crate) fn memory(&self) -> usize {
        self.len() + self.messages.len() * size_of::<Message>()
    }

    /// The messages.
    pub(super) fn messages(&self) -> impl Iterator<Item = (MessageKind, &[u8])> {
        let payload = |message: &Message| self.bytes.0.get(message.start..message.start + message.len);
        self.messages.iter().map(move |message| (message.kind, payload(message).unwrap_or_default()))
    }

    /// An empty batch with the memory of this one, of which it keeps at most `most` bytes; `None` while a connection still
    /// shares it.
    pub(crate) fn recycle(self, most: usize) -> Option<Batch> {
        let Self { bytes, mut messages } = self;
        let mut bytes = Rc::try_unwrap(bytes).ok()?.take();
        bytes.clear();
        bytes.shrink_to(most);
        messages.clear();
        messages.shrink_to(most / size_of::<Message>());
        Some(Batch { bytes, messages })
    }
}

#[cfg(test)]
mod tests {
    use sockeye_proto::wire::{FrameHeader, Parsed, Role};

    use super::*;

    #[test]
    fn a_batch_is_framed_as_its_messages_would_be_one_by_one() {
        let payloads = [0, 1, 125, 126, 127, 65_535, 65_536].map(|len| vec![7; len]);
        let mut batch = Batch::default();
        for payload in &payloads {
            batch.push(MessageKind::Binary, payload);
        }
        batch.push(MessageKind::Text, b"last");
        let framed = batch.framed();
        let mut wire = &framed.bytes().0[..];
        let expected =
            payloads.iter().map(|payload| (OpCode::Binary, &payload[..])).chain([(OpCode::Text, &b"last"[..])]);
        for (opcode, payload) in expected {
            let Ok(Parsed::Complete(header, head_len)) = FrameHeader::parse(wire, Role::Client, 0) else {
                panic!("no frame")
            };
            assert_eq!((header.fin, header.opcode, header.len), (true, opcode, payload.len() as u64));
            assert_eq!(&wire[head_len..head_len + payload.len()], payload);
            wire = &wire[head_len + payload.len()..];
        }
        assert!(wire.is_empty());
        assert_eq!(framed.memory(), framed.len() + 8 * size_of::<Message>());
        let lengths: Vec<_> = framed.messages().map(|(_, payload)| payload.len()).collect();
        assert_eq!(lengths, [0, 1, 125, 126, 127, 65_535, 65_536, 4]);
    }

    #[test]
    fn memory_is_used_again_unless_it_is_shared() {
        let mut batch = Batch::default();
        batch.push(MessageKind::Binary, &[1; 1000]);
        let framed = batch.framed();
        let share = framed.bytes().clone();
        assert!(framed.recycle(100).is_none());
        drop(share);
        let mut batch = Batch::default();
        batch.push(MessageKind::Binary, &[1; 1000]);
        let again = batch.framed().recycle(100).unwrap();
        assert!(again.is_empty() && again.bytes.capacity() < 1000);
    }
}
