//! Published messages: framed once for all connections of servers, and still messages for clients.

use std::cell::{Ref, RefCell};
use std::collections::TryReserveError;
use std::ops::Range;
use std::rc::Rc;

use sockeye_proto::ext::deflate::WindowBits;
use sockeye_proto::time::Instant;
use sockeye_proto::wire::{EncodedHeader, MessageKind, OpCode};

use crate::transport::account::Account;
use crate::transport::pool::{Buffer, make_room};

/// Messages in the order in which they were published, as a server's frames. Invariant: each message's payload is
/// `bytes[start..start + len]`, and the head of its frame is between the end of the one before and `start`.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    messages: Vec<Message>,
}

pub(crate) struct Message {
    kind: MessageKind,
    /// The payload is compressed.
    is_packed: bool,
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

    /// How many bytes a server's frames of all messages have.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a message. A server's frames are not masked (RFC 6455 section 5.1) and so the same for all. An error if there is
    /// no memory for it.
    pub(crate) fn push(&mut self, kind: MessageKind, payload: &[u8]) -> Result<(), TryReserveError> {
        self.push_as(kind, false, payload)
    }

    /// As [`push`](Self::push), of a message whose payload may be compressed.
    pub(super) fn push_as(
        &mut self,
        kind: MessageKind,
        is_packed: bool,
        payload: &[u8],
    ) -> Result<(), TryReserveError> {
        let head = Self::head(kind, is_packed, payload.len(), None);
        make_room(&mut self.bytes, head.len().saturating_add(payload.len()), usize::MAX)?;
        self.bytes.extend_from_slice(&head);
        self.messages.push(Message { kind, is_packed, start: self.bytes.len(), len: payload.len() });
        self.bytes.extend_from_slice(payload);
        Ok(())
    }

    /// The header of a whole message.
    pub(super) fn head(kind: MessageKind, is_packed: bool, len: usize, key: Option<[u8; 4]>) -> EncodedHeader {
        EncodedHeader::new(true, if is_packed { RSV1 } else { 0 }, opcode(kind), len as u64, key)
    }

    pub(crate) fn frames(&self) -> Frames<'_> {
        Frames { bytes: &self.bytes, messages: &self.messages }
    }

    /// The batch as connections share it.
    pub(crate) fn framed(self) -> Framed {
        let bytes = Rc::new(Buffer::new(self.bytes));
        Framed { bytes, messages: self.messages, packed: RefCell::default(), is_private: false }
    }

    /// The batch as it is kept for one connection.
    pub(crate) fn framed_for_one(self) -> Framed {
        Framed { is_private: true, ..self.fitted().framed() }
    }

    /// The batch in as much memory as it needs, if that can be had: nothing is added any more, and it may wait for long. Buffers that grow take
    /// large steps.
    fn fitted(mut self) -> Self {
        let mut bytes = Vec::new();
        if self.bytes.capacity() > self.bytes.len() && bytes.try_reserve_exact(self.bytes.len()).is_ok() {
            bytes.extend_from_slice(&self.bytes);
            self.bytes = bytes;
        }
        self
    }
}

/// The opcode of a whole message (RFC 6455 section 5.6).
pub(super) fn opcode(kind: MessageKind) -> OpCode {
    match kind {
        MessageKind::Text => OpCode::Text,
        MessageKind::Binary => OpCode::Binary,
    }
}

/// A batch to which nothing is added any more, and which connections share.
pub(crate) struct Framed {
    bytes: Rc<Buffer>,
    messages: Vec<Message>,
    /// The same messages compressed, for each window for which somebody asked.
    packed: RefCell<Vec<(WindowBits, Packed)>>,
    /// It is kept for one connection.
    is_private: bool,
}

/// A batch compressed for all connections of a window.
pub(super) struct Packed {
    pub(super) frames: Framed,
    /// Those of its messages that became shorter.
    pub(super) sums: Sums,
    /// Where these are in the feed of the endpoint and window.
    pub(super) part: Range<u64>,
    /// When a connection that is sent nothing after them forgets them.
    pub(super) forget_at: Instant,
}

/// Compressed messages: how many, and their bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Sums {
    pub(super) messages: u64,
    pub(super) plain_bytes: u64,
    pub(super) packed_bytes: u64,
}

impl Framed {
    /// One message, which slow connections share. `None`: there is no memory for it.
    pub(crate) fn of_one(kind: MessageKind, payload: &[u8]) -> Option<Self> {
        let head = Batch::head(kind, false, payload.len(), None);
        let mut batch = Batch::default();
        // It waits in as much memory as it needs: its buffer does not grow.
        batch.bytes.try_reserve_exact(head.len().saturating_add(payload.len())).ok()?;
        batch.push(kind, payload).ok()?;
        Some(batch.framed())
    }

    /// The same messages compressed for a window, if somebody has done that.
    #[inline]
    pub(super) fn packed(&self, window: WindowBits) -> Option<Ref<'_, Packed>> {
        Ref::filter_map(self.packed.borrow(), |packed| {
            packed.iter().find(|(of, _)| *of == window).map(|(_, packed)| packed)
        })
        .ok()
    }

    /// Keeps them for the other connections of the window.
    pub(super) fn set_packed(&self, window: WindowBits, packed: Packed) {
        self.packed.borrow_mut().push((window, packed));
    }

    /// Whether it is kept for one connection.
    pub(super) fn is_private(&self) -> bool {
        self.is_private
    }

    /// A server's frames, one after another.
    pub(super) fn bytes(&self) -> &Rc<Buffer> {
        &self.bytes
    }

    /// Counts it as held for a peer, once for all that share it.
    pub(crate) fn hold(&self, account: &Rc<Account>) {
        self.bytes.hold(account);
    }

    /// How many bytes of memory it takes: many small messages take more for their lengths than for their frames.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.0.len() + self.messages.len() * size_of::<Message>()
    }

    pub(crate) fn frames(&self) -> Frames<'_> {
        Frames { bytes: &self.bytes.0, messages: &self.messages }
    }

    /// An empty batch with the memory of this one, of which it keeps at most `most` bytes; `None` while a connection still
    /// shares it.
    pub(crate) fn recycle(self, most: usize) -> Option<Batch> {
        let Self { bytes, mut messages, packed, is_private: _ } = self;
        drop(packed);
        let mut bytes = Rc::try_unwrap(bytes).ok()?.take();
        bytes.clear();
        bytes.shrink_to(most);
        messages.clear();
        messages.shrink_to(most / size_of::<Message>());
        Some(Batch { bytes, messages })
    }
}

/// A view of consecutive messages, and of a server's frames of them.
#[derive(Clone, Copy)]
pub(crate) struct Frames<'a> {
    bytes: &'a [u8],
    messages: &'a [Message],
}

impl<'a> Frames<'a> {
    pub(crate) fn len(self) -> usize {
        self.messages.len()
    }

    /// A server's frames of the messages of a range, one after another.
    pub(crate) fn bytes(self, range: Range<usize>) -> &'a [u8] {
        self.bytes.get(self.end_of(range.start)..self.end_of(range.end)).unwrap_or_default()
    }

    /// The messages of a range.
    pub(crate) fn messages(
        self,
        range: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (MessageKind, &'a [u8])> + ExactSizeIterator {
        let messages = self.messages.get(range).unwrap_or_default();
        messages.iter().map(move |message| {
            let payload = self.bytes.get(message.start..message.start + message.len);
            (message.kind, payload.unwrap_or_default())
        })
    }

    /// Whether the payload of each message of a range is compressed.
    pub(super) fn are_packed(
        self,
        range: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = bool> + ExactSizeIterator + 'a {
        self.messages.get(range).unwrap_or_default().iter().map(|message| message.is_packed)
    }

    /// Where the first `count` messages end.
    pub(crate) fn end_of(self, count: usize) -> usize {
        let last = self.messages.get(..count).unwrap_or(self.messages).last();
        last.map_or(0, |message| message.start + message.len)
    }
}

/// The bit of a compressed message (RFC 7692 section 6).
const RSV1: u8 = 0x40;

#[cfg(test)]
mod tests {
    use sockeye_proto::wire::{FrameHeader, Parsed, Role};

    use super::*;

    #[test]
    fn a_batch_is_framed_as_its_messages_would_be_one_by_one() {
        let payloads = [0, 1, 125, 126, 127, 65_535, 65_536].map(|len| vec![7; len]);
        let mut batch = Batch::default();
        for payload in &payloads {
            batch.push(MessageKind::Binary, payload).unwrap();
        }
        batch.push(MessageKind::Text, b"last").unwrap();
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
        let frames = framed.frames();
        assert_eq!(framed.memory(), frames.bytes(0..8).len() + 8 * size_of::<Message>());
        assert_eq!([frames.bytes(0..1), frames.bytes(8..8), frames.bytes(7..9)].map(<[u8]>::len), [2, 0, 6]);
        let lengths: Vec<_> = frames.messages(0..8).map(|(_, payload)| payload.len()).collect();
        assert_eq!(lengths, [0, 1, 125, 126, 127, 65_535, 65_536, 4]);
    }

    #[test]
    fn what_is_kept_takes_as_much_memory_as_it_needs() {
        for len in [0, 1, 100, 4096, 5000, 100_000] {
            let payload = vec![1; len];
            let one = Framed::of_one(MessageKind::Binary, &payload).unwrap();
            let mut batch = Batch::default();
            for _ in 0..2 {
                batch.push(MessageKind::Binary, &payload).unwrap();
            }
            let two = batch.framed_for_one();
            for framed in [&one, &two] {
                assert_eq!(framed.bytes.0.capacity(), framed.bytes.0.len(), "{len}");
            }
            assert_eq!(two.bytes.0.len(), 2 * one.bytes.0.len());
            assert!(one.bytes.0.ends_with(&payload) && two.bytes.0.starts_with(&one.bytes.0));
        }
    }

    #[test]
    fn memory_is_used_again_unless_it_is_shared() {
        let mut batch = Batch::default();
        batch.push(MessageKind::Binary, &[1; 1000]).unwrap();
        let framed = batch.framed();
        let share = framed.bytes().clone();
        assert!(framed.recycle(100).is_none());
        drop(share);
        let mut batch = Batch::default();
        batch.push(MessageKind::Binary, &[1; 1000]).unwrap();
        let again = batch.framed().recycle(100).unwrap();
        assert!(again.is_empty() && again.bytes.capacity() < 1000);
    }
}
