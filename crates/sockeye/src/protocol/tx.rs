//! Permissions to send: values that the writable callback gets, and that sending consumes.

use sockeye_proto::conn::{Connection, ControlPayload};
use sockeye_proto::wire::{EncodedHeader, MessageKind, Role};

use crate::id::ConnId;
use crate::state::EndpointIndex;
use crate::transport::{Aside, Port, SocketWriter};

/// What may be sent now. The variant follows the connection's state: with an unfinished fragmented
/// message another cannot begin (RFC 6455 section 5.4: fragments of one message must not be
/// interleaved with another's).
#[derive(Debug)]
#[non_exhaustive]
pub enum Tx<'a> {
    /// No message is unfinished: one may be sent or begun.
    Idle(Writable<'a>),
    /// A fragmented message is unfinished: it must be continued.
    Mid(Fragmented<'a>),
}

impl<'a> Tx<'a> {
    pub(crate) fn new(port: &'a mut SendCx<'a>) -> Self {
        match port.ws.mid_message() {
            None => Self::Idle(Writable { port }),
            Some(kind) => Self::Mid(Fragmented::new(kind, port)),
        }
    }

    /// What is sent with this permission goes before what was published and pushed and waits still. For a layer whose messages
    /// are older than that; see [`Cx::hold_back`](crate::Cx::hold_back).
    #[must_use]
    pub fn ahead_of_published(mut self) -> Self {
        match &mut self {
            Self::Idle(writable) => writable.port.is_ahead = true,
            Self::Mid(Fragmented::Text(text)) => text.port.is_ahead = true,
            Self::Mid(Fragmented::Binary(binary)) => binary.port.is_ahead = true,
        }
        self
    }

    /// The permission to send a message, unless a fragmented one is unfinished. Endpoints that never fragment always
    /// have it.
    #[must_use]
    pub fn idle(self) -> Option<Writable<'a>> {
        match self {
            Self::Idle(writable) => Some(writable),
            Self::Mid(_) => None,
        }
    }
}

/// The permission to send one message. Sending consumes it; [`AfterSend::more`] gives it back while the peer keeps up.
///
/// ```
/// use sockeye::Tx;
///
/// /// What [`Protocol::writable`](sockeye::Protocol::writable) could do: sends as much as the peer takes now. Ask for the callback again
/// /// when something is left.
/// fn send_all(tx: Tx<'_>, lines: &mut Vec<String>) {
///     let mut permission = tx.idle();
///     while let Some(writable) = permission {
///         let Some(line) = lines.pop() else { return };
///         permission = writable.text(&line).more();
///     }
/// }
/// ```
#[must_use = "the permission is lost when it is dropped unused: ask for the writable callback again"]
pub struct Writable<'a> {
    port: &'a mut SendCx<'a>,
}

impl<'a> Writable<'a> {
    #[inline(always)]
    pub(super) fn new(port: &'a mut SendCx<'a>) -> Self {
        Self { port }
    }

    /// The next message is sent as it is, also where compression was agreed on: for messages with a secret beside text that
    /// others can choose, or that are compressed already. See [`Compression`](crate::Compression).
    pub fn uncompressed(self) -> Self {
        self.port.is_plain = true;
        self
    }

    /// Sends a whole text message.
    #[inline]
    pub fn text(self, text: &str) -> AfterSend<'a> {
        self.send(MessageKind::Text, text.as_bytes())
    }

    /// Sends a whole binary message.
    #[inline]
    pub fn binary(self, payload: &[u8]) -> AfterSend<'a> {
        self.send(MessageKind::Binary, payload)
    }

    /// Sends a whole text message from an owned buffer: what the socket does not accept at once is
    /// kept without a copy.
    pub fn text_owned(self, text: String) -> AfterSend<'a> {
        self.send_owned(MessageKind::Text, text.into_bytes())
    }

    /// Sends a whole binary message from an owned buffer: what the socket does not accept at once
    /// is kept without a copy.
    pub fn binary_owned(self, payload: Vec<u8>) -> AfterSend<'a> {
        self.send_owned(MessageKind::Binary, payload)
    }

    /// Begins a fragmented text message with its first fragment.
    pub fn begin_text(self, text: &str) -> AfterFragment<TextFragments<'a>> {
        self.port.send(Some(MessageKind::Text), false, text.as_bytes());
        AfterFragment { next: self.port.next().map(|port| TextFragments { port }) }
    }

    /// Begins a fragmented binary message with its first fragment.
    pub fn begin_binary(self, payload: &[u8]) -> AfterFragment<BinaryFragments<'a>> {
        self.port.send(Some(MessageKind::Binary), false, payload);
        AfterFragment { next: self.port.next().map(|port| BinaryFragments { port }) }
    }

    /// Begins a fragmented message of bytes with its first fragment. Text must be valid UTF-8 as a whole, which is not checked,
    /// as in [`send`](Self::send); its fragments may end inside a code point. For layers and relays that get a message in
    /// pieces.
    pub fn begin(self, kind: MessageKind, payload: &[u8]) -> AfterFragment<Fragmented<'a>> {
        self.port.send(Some(kind), false, payload);
        AfterFragment { next: self.port.next().map(|port| Fragmented::new(kind, port)) }
    }

    /// Sends a ping in the order of the messages: behind those that this callback has sent, before those that follow. The
    /// permission stays. The answer arrives in [`Protocol::pong`](crate::Protocol::pong).
    ///
    /// Without a permission, [`ConnectionMut::ping`](crate::protocol::ConnectionMut::ping) sends one from anywhere. While the
    /// socket is full one ping waits, by either way, and a newer one replaces it.
    pub fn ping(&mut self, payload: ControlPayload) {
        self.port.ping(payload);
    }

    /// Sends a whole message of bytes. Text must be valid UTF-8, which is not checked: for layers
    /// and relays whose text was checked on arrival. [`text`](Self::text) and
    /// [`binary`](Self::binary) cannot be misused.
    #[inline(always)]
    pub fn send(self, kind: MessageKind, payload: &[u8]) -> AfterSend<'a> {
        self.port.send(Some(kind), true, payload);
        AfterSend { port: self.port }
    }

    /// As [`send`](Self::send), from an owned buffer: what the socket does not accept at once is
    /// kept without a copy.
    pub fn send_owned(self, kind: MessageKind, payload: Vec<u8>) -> AfterSend<'a> {
        self.port.send_owned(kind, payload);
        AfterSend { port: self.port }
    }
}

/// A message was handed over: to the socket, or to the connection's queue when the socket was full.
pub struct AfterSend<'a> {
    port: &'a mut SendCx<'a>,
}

impl<'a> AfterSend<'a> {
    /// The permission for another message, while less than
    /// [`Limits::output_low_water`](crate::Limits::output_low_water) waits for the socket and this
    /// connection's share of the turn is not used up. When it is `None` and there is more to send,
    /// ask for the writable callback again.
    #[inline]
    #[must_use]
    pub fn more(self) -> Option<Writable<'a>> {
        self.port.next().map(|port| Writable { port })
    }

    /// As [`more`](Self::more), but in the last call before a Close frame the permission always
    /// comes back. For layers whose waiting messages are bounded: no later call comes that could
    /// send them.
    #[inline]
    #[must_use]
    pub fn more_or_last(self) -> Option<Writable<'a>> {
        if self.port.last {
            return Some(Writable { port: self.port });
        }
        self.more()
    }
}

/// A fragmented message that must be continued or finished before any other.
///
/// ```
/// use sockeye::Tx;
/// use sockeye::protocol::Fragmented;
///
/// /// Sends one text message in fragments, one for each writable callback.
/// fn send_piece(tx: Tx<'_>, piece: &str, is_last: bool) {
///     match tx {
///         Tx::Idle(writable) => drop(writable.begin_text(piece)),
///         Tx::Mid(Fragmented::Text(fragments)) if is_last => drop(fragments.finish(piece)),
///         Tx::Mid(Fragmented::Text(fragments)) => drop(fragments.fragment(piece)),
///         _ => {}
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Fragmented<'a> {
    /// It is a text message.
    Text(TextFragments<'a>),
    /// It is a binary message.
    Binary(BinaryFragments<'a>),
}

impl<'a> Fragmented<'a> {
    fn new(kind: MessageKind, port: &'a mut SendCx<'a>) -> Self {
        match kind {
            MessageKind::Text => Self::Text(TextFragments { port }),
            MessageKind::Binary => Self::Binary(BinaryFragments { port }),
        }
    }

    fn into_port(self) -> &'a mut SendCx<'a> {
        match self {
            Self::Text(fragments) => fragments.port,
            Self::Binary(fragments) => fragments.port,
        }
    }

    /// Text or binary.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
        }
    }

    /// Sends a fragment that is not the last, of bytes as in [`Writable::begin`].
    pub fn fragment(self, payload: &[u8]) -> AfterFragment<Self> {
        let kind = self.kind();
        let port = self.into_port();
        port.send(None, false, payload);
        AfterFragment { next: port.next().map(|port| Self::new(kind, port)) }
    }

    /// Sends the last fragment, which may be empty, of bytes as in [`Writable::begin`].
    pub fn finish(self, payload: &[u8]) -> AfterSend<'a> {
        let port = self.into_port();
        port.finish(payload);
        AfterSend { port }
    }

    /// Sends a ping between the fragments; the permission stays. RFC 6455 section 5.4: "Control
    /// frames (see Section 5.5) MAY be injected in the middle of a fragmented message."
    pub fn ping(&mut self, payload: ControlPayload) {
        match self {
            Self::Text(fragments) => fragments.ping(payload),
            Self::Binary(fragments) => fragments.ping(payload),
        }
    }
}

/// A fragment was handed over and its message is not finished.
pub struct AfterFragment<T> {
    next: Option<T>,
}

impl<T> AfterFragment<T> {
    /// The permission for the next fragment; `None` as for [`AfterSend::more`]. The message then
    /// goes on in a later writable callback, as [`Tx::Mid`].
    #[must_use]
    pub fn more(self) -> Option<T> {
        self.next
    }
}

/// The permission for the next fragment of a text message.
#[must_use = "the message stays unfinished; ask for the writable callback again"]
pub struct TextFragments<'a> {
    port: &'a mut SendCx<'a>,
}

impl<'a> TextFragments<'a> {
    /// Sends a fragment that is not the last.
    pub fn fragment(self, text: &str) -> AfterFragment<Self> {
        self.port.send(None, false, text.as_bytes());
        AfterFragment { next: self.port.next().map(|port| Self { port }) }
    }

    /// Sends a ping between the fragments; see [`Fragmented::ping`].
    pub fn ping(&mut self, payload: ControlPayload) {
        self.port.ping(payload);
    }

    /// Sends the last fragment, which may be empty.
    pub fn finish(self, text: &str) -> AfterSend<'a> {
        self.port.finish(text.as_bytes());
        AfterSend { port: self.port }
    }
}

/// The permission for the next fragment of a binary message.
#[must_use = "the message stays unfinished; ask for the writable callback again"]
pub struct BinaryFragments<'a> {
    port: &'a mut SendCx<'a>,
}

impl<'a> BinaryFragments<'a> {
    /// Sends a fragment that is not the last.
    pub fn fragment(self, payload: &[u8]) -> AfterFragment<Self> {
        self.port.send(None, false, payload);
        AfterFragment { next: self.port.next().map(|port| Self { port }) }
    }

    /// Sends a ping between the fragments; see [`Fragmented::ping`].
    pub fn ping(&mut self, payload: ControlPayload) {
        self.port.ping(payload);
    }

    /// Sends the last fragment, which may be empty.
    pub fn finish(self, payload: &[u8]) -> AfterSend<'a> {
        self.port.finish(payload);
        AfterSend { port: self.port }
    }
}

/// The sending side of a connection whose state is known.
fn port<'p>(
    ws: &'p mut Connection,
    aside: &'p mut Option<&mut Option<Box<Aside>>>,
    endpoint: EndpointIndex,
) -> Option<Port<'p>> {
    let aside = aside.as_deref_mut()?;
    Some(Port { ws, aside, endpoint: endpoint.0 })
}

/// The framing and output of one connection, borrowed by a permission for one callback.
pub(crate) struct SendCx<'a> {
    pub(crate) ws: &'a mut Connection,
    pub(crate) out: SocketWriter<'a>,
    /// The rare state of the connection; `None` for an answer without compression, before which nothing waits.
    pub(crate) aside: Option<&'a mut Option<Box<Aside>>>,
    pub(crate) id: ConnId,
    pub(crate) endpoint: EndpointIndex,
    /// A Close frame waits for this call to end: it is the last one.
    pub(crate) last: bool,
    /// What is sent is older than what waits of the published and pushed messages.
    pub(crate) is_ahead: bool,
    /// The next message is not to be compressed.
    pub(crate) is_plain: bool,
}

impl<'a> SendCx<'a> {
    #[inline(always)]
    fn send(&mut self, kind: Option<MessageKind>, last: bool, payload: &[u8]) {
        if kind.is_some() {
            self.catch_up();
        }
        if self.ws.deflate().is_some() && self.send_packed(kind, last, payload) {
            return;
        }
        if self.ws.role() == Role::Client {
            self.send_masked(kind, last, payload);
        } else if let Some(head) = self.head(kind, last, payload.len(), None) {
            self.out.put_frame(head, payload);
        }
    }

    /// Sends a message or a part of one compressed. Returns whether it was sent.
    #[cold]
    #[inline(never)]
    fn send_packed(&mut self, kind: Option<MessageKind>, last: bool, payload: &[u8]) -> bool {
        // Of a message that has begun it was decided then.
        if std::mem::take(&mut self.is_plain) && kind.is_some() {
            return false;
        }
        let Some(mut port) = port(self.ws, &mut self.aside, self.endpoint) else { return false };
        let is_sent = match kind {
            Some(kind) if last => self.out.put_packed(&mut port, kind, payload),
            kind => self.out.put_packed_part(&mut port, kind, last, payload),
        };
        if is_sent {
            let sent = &mut self.out.io.meters.statistics.sent;
            *if last { &mut sent.messages } else { &mut sent.parts } += 1;
        }
        is_sent
    }

    #[inline(never)]
    fn send_masked(&mut self, kind: Option<MessageKind>, last: bool, payload: &[u8]) {
        let Some(key) = self.out.mask_key() else { return };
        if let Some(head) = self.head(kind, last, payload.len(), Some(key)) {
            self.out.put_frame_masked(head, payload, key);
        }
    }

    /// A message that begins goes behind what was published before.
    #[inline(always)]
    fn catch_up(&mut self) {
        if self.out.io.outgoing.has_any() && !self.is_ahead {
            self.catch_up_waiting();
        }
    }

    #[cold]
    fn catch_up_waiting(&mut self) {
        // An answer's connection has no state aside, and needs none here.
        let mut none = None;
        let aside = self.aside.as_deref_mut().unwrap_or(&mut none);
        let port = &mut Port { ws: self.ws, aside, endpoint: self.endpoint.0 };
        self.out.reborrow().catch_up(port, self.id.as_u64());
    }

    /// A fragmented message is finished: what waited for that comes next, unless more goes ahead of it.
    fn finish(&mut self, payload: &[u8]) {
        self.send(None, true, payload);
        if self.is_ahead {
            return;
        }
        if let Some(mut port) = port(self.ws, &mut self.aside, self.endpoint) {
            self.out.release_held(&mut port);
        }
    }

    fn send_owned(&mut self, kind: MessageKind, payload: Vec<u8>) {
        self.catch_up();
        if self.ws.deflate().is_some() && self.send_packed(Some(kind), true, &payload) {
            return self.out.io.pool.borrow_mut().give(payload);
        }
        if self.ws.role() == Role::Client {
            let Some(key) = self.out.mask_key() else { return };
            if let Some(head) = self.head(Some(kind), true, payload.len(), Some(key)) {
                self.out.put_frame_owned_masked(head, payload, key);
            }
        } else if let Some(head) = self.head(Some(kind), true, payload.len(), None) {
            self.out.put_frame_owned(head, payload);
        }
    }

    #[inline(always)]
    fn head(
        &mut self,
        kind: Option<MessageKind>,
        last: bool,
        len: usize,
        key: Option<[u8; 4]>,
    ) -> Option<EncodedHeader> {
        self.out.io.note_frame(len, last);
        let head = self.ws.frame(kind, last, len as u64, key);
        // The permissions match the connection's state, so a refusal here is a fault of this module.
        debug_assert!(head.is_ok(), "a permission was out of step with its connection");
        head.ok()
    }

    fn ping(&mut self, payload: ControlPayload) {
        if self.ws.ping(payload).is_ok() && !self.out.socket.has_backlog() {
            self.out.transmit(self.ws);
        }
    }

    #[inline]
    fn next(&'a mut self) -> Option<&'a mut Self> {
        let io = &*self.out.io;
        let keeps_up = !self.out.socket.has_backlog() || self.out.socket.backlog_bytes() < io.low_water;
        (io.send_budget > 0 && keeps_up).then_some(self)
    }
}
