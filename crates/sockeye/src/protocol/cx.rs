//! The contexts of callbacks: the connection, its protocol, and the data of this call.

use std::ops::{Deref, DerefMut, Range};

use sockeye_proto::conn::Connection;
use sockeye_proto::wire::{MessageKind, Role};

use crate::client::Retry;
use crate::protocol::views::{ConnectionMut, EndpointMut, ProtocolMut};
use crate::protocol::{ConnId, SendCx, Writable};
use crate::state::{Commands, EndpointIndex, Entry};
use crate::sys::Address;
use crate::tls::Session;
use crate::transport::{Aside, SocketWriter};

/// The context of a callback of a [`Protocol`](crate::Protocol): its connection, and through it the
/// service.
///
/// It dereferences to [`ConnectionMut`], and that to [`Commands`]. It lives for one callback and
/// cannot leave the thread. Requests are carried out between callbacks, so no callback runs inside
/// another.
///
/// ```
/// use std::time::Duration;
///
/// use sockeye::{ConnId, Cx};
///
/// fn pass_on(cx: &mut Cx<'_>, other: ConnId) {
///     cx.set_timer(Duration::from_secs(5)); // this connection
///     if let Ok(mut other) = cx.connection(other) {
///         other.request_writable(); // another one
///     }
///     cx.own_protocol().publish_text("news"); // all of this protocol, this one included
/// }
/// ```
pub struct Cx<'a> {
    pub(crate) connection: ConnectionMut<'a>,
    pub(crate) endpoint: EndpointIndex,
    pub(crate) peer: &'a Address,
    /// The bytes of the current read, in the callbacks that follow its delivery.
    pub(crate) input: &'a [u8],
    /// Where an answer can go at once, while a message is delivered.
    pub(crate) outlet: Option<Outlet<'a>>,
}

/// The header of a shorter message has two bytes.
const SHORT: usize = 126;

/// The framing and the output of the connection whose message is delivered.
pub(crate) struct Outlet<'a> {
    pub(crate) ws: &'a mut Connection,
    pub(crate) out: SocketWriter<'a>,
    /// Where compression keeps what it needs for the answer; `None` without compression.
    pub(crate) aside: Option<&'a mut Option<Box<Aside>>>,
}

impl<'a> Cx<'a> {
    #[inline]
    pub(crate) fn new(commands: &'a mut Commands, endpoint: EndpointIndex, id: ConnId, peer: &'a Address) -> Self {
        Self { connection: ConnectionMut { commands, id }, endpoint, peer, input: &[], outlet: None }
    }

    /// The same context with an outlet, for one callback.
    #[inline(always)]
    pub(crate) fn with_outlet<'s>(&'s mut self, outlet: Option<Outlet<'s>>) -> Cx<'s> {
        let ConnectionMut { commands, id } = &mut self.connection;
        let connection = ConnectionMut { commands, id: *id };
        Cx { connection, endpoint: self.endpoint, peer: self.peer, input: &[], outlet }
    }

    /// The address of the peer.
    #[must_use]
    pub fn peer(&self) -> &'a Address {
        self.peer
    }

    /// The protocol whose callback this is.
    pub fn own_protocol(&mut self) -> ProtocolMut<'_> {
        ProtocolMut { commands: self.connection.commands, endpoint: self.endpoint }
    }

    /// In [`writable`](crate::Protocol::writable) and
    /// [`release_input`](crate::Protocol::release_input): the bytes of the read just delivered, of
    /// which a layer may have kept [ranges](Self::input_range). Empty in other callbacks.
    #[must_use]
    #[inline]
    pub fn input(&self) -> &'a [u8] {
        self.input
    }

    /// In [`receive`](crate::Protocol::receive): the range of these bytes, a part of a fragment's
    /// payload, in [`input`](Self::input). `None` if they are not part of it.
    ///
    /// A range is valid until [`release_input`](crate::Protocol::release_input), which must be
    /// requested with [`keep_input`](Self::keep_input).
    #[must_use]
    #[inline]
    pub fn input_range(&self, bytes: &[u8]) -> Option<Range<usize>> {
        let start = self.connection.commands.running.offset_of(bytes)?;
        Some(start..start + bytes.len())
    }

    /// The largest message in bytes that this connection receives:
    /// [`set_message_bytes`](ConnectionMut::set_message_bytes) of the connection,
    /// [`limits`](crate::Protocol::limits) of the protocol, or the service's. For layers that collect messages.
    #[must_use]
    pub fn message_bytes(&self) -> u64 {
        self.connection.commands.running.message_bytes
    }

    /// Requests [`release_input`](crate::Protocol::release_input) before the bytes of the current
    /// read are overwritten; `false` cancels the request. For layers that keep [ranges of the
    /// input](Self::input_range).
    #[inline]
    pub fn keep_input(&mut self, keep: bool) {
        self.connection.commands.running.set_keeps_input(keep);
    }

    /// In [`receive`](crate::Protocol::receive): whether an answer can leave at once. The socket takes data, nothing of this
    /// connection waits before the answer, it has not begun a fragmented message, and the share of the turn is not used up.
    /// For layers that need no [`writable`](crate::Protocol::writable) then; `false` in other callbacks.
    #[must_use]
    #[inline(always)]
    pub fn can_answer(&self) -> bool {
        self.outlet.as_ref().is_some_and(|Outlet { ws, out, .. }| {
            // An answer may have begun a fragmented message, whose rest goes first.
            out.socket.is_clear() && out.io.send_budget > 0 && ws.mid_message().is_none()
        })
    }

    /// Calls `send` with a permission for an answer, if one [can leave](Self::can_answer). For layers.
    ///
    /// ```
    /// use sockeye::Cx;
    ///
    /// fn answer(cx: &mut Cx<'_>, waiting: &mut Vec<String>, text: String) {
    ///     if waiting.is_empty() && cx.can_answer() {
    ///         cx.answer(|permission| _ = permission.text(&text));
    ///     } else {
    ///         waiting.push(text);
    ///         cx.request_writable();
    ///     }
    /// }
    /// ```
    #[inline(always)]
    pub fn answer(&mut self, send: impl FnOnce(Writable<'_>)) {
        if !self.can_answer() {
            return;
        }
        let (id, endpoint) = (self.connection.id, self.endpoint);
        if let Some(Outlet { ws, out, aside }) = &mut self.outlet {
            let (out, aside) = (out.reborrow(), aside.as_deref_mut());
            send(Writable::new(&mut SendCx {
                ws,
                out,
                aside,
                id,
                endpoint,
                last: false,
                is_ahead: false,
                is_plain: false,
            }));
        }
    }

    /// Sends an answer of less than 126 bytes in the usual case: it [can leave](Self::can_answer), by a server, as it is and
    /// before all else. Returns whether it was sent; else it takes a [permission](Self::answer), whose questions cost more than
    /// such a message. Text must be valid UTF-8, which is not checked, as in [`Writable::send`]. For layers.
    ///
    /// ```
    /// use sockeye::Cx;
    /// use sockeye::proto::wire::MessageKind;
    ///
    /// fn answer(cx: &mut Cx<'_>, text: &str) {
    ///     if !cx.answer_short(MessageKind::Text, text.as_bytes()) {
    ///         cx.answer(|permission| _ = permission.text(text));
    ///     }
    /// }
    /// ```
    #[inline(always)]
    pub fn answer_short(&mut self, kind: MessageKind, payload: &[u8]) -> bool {
        if !self.can_answer() {
            return false;
        }
        let Some(Outlet { ws, out, .. }) = &mut self.outlet else { return false };
        let is_plain = ws.role() == Role::Server && ws.deflate().is_none() && !out.io.outgoing.has_any();
        payload.len() < SHORT && is_plain && out.put_short(ws, kind, payload)
    }

    /// Says that messages of a layer wait, so that what is published or pushed to this connection from now on waits behind
    /// them, until the layer says `false`. It sends them [ahead](crate::Tx::ahead_of_published) of that. For layers that
    /// keep messages in the order in which the program gave them away; see also [`has_waiting`](Self::has_waiting).
    pub fn hold_back(&mut self, on: bool) {
        self.connection.commands.running.set_holds_back(on);
    }

    /// Whether something that was published or pushed waits for this connection. A message of a layer has to go behind it
    /// then: the layer [pushes](ConnectionMut::push) it, too.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        self.connection.commands.has_waiting(self.endpoint, self.connection.id)
    }

    /// Pauses reading for a layer whose output is behind, or ends that pause. It is independent of
    /// the program's [`pause_reading`](ConnectionMut::pause_reading): reading goes on when neither
    /// is set.
    #[inline]
    pub fn set_back_pressure(&mut self, on: bool) {
        self.connection.commands.running.set_held(on);
    }
}

impl<'a> Deref for Cx<'a> {
    type Target = ConnectionMut<'a>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl DerefMut for Cx<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.connection
    }
}

/// The context of a callback of a [`Raw`](crate::raw::Raw) or [`Watcher`](crate::raw::Watcher) endpoint.
///
/// It dereferences to [`ConnectionMut`], and that to [`Commands`], as [`Cx`] does. To publish, use a
/// WebSocket protocol of the service ([`Commands::protocol`]).
pub struct RawCx<'a> {
    pub(crate) connection: ConnectionMut<'a>,
    pub(crate) endpoint: EndpointIndex,
    pub(crate) peer: &'a Address,
    /// The session of TLS, in the callbacks that show it.
    pub(crate) tls: Option<&'a Session>,
}

impl<'a> RawCx<'a> {
    pub(crate) fn new(commands: &'a mut Commands, endpoint: EndpointIndex, id: ConnId, peer: &'a Address) -> Self {
        Self { connection: ConnectionMut { commands, id }, endpoint, peer, tls: None }
    }

    /// The address of the peer; [`Address::Unnamed`] unless it is a connected TCP or Unix socket.
    #[must_use]
    pub fn peer(&self) -> &'a Address {
        self.peer
    }

    /// The endpoint whose callback this is.
    pub fn own_endpoint(&mut self) -> EndpointMut<'_> {
        EndpointMut { commands: self.connection.commands, endpoint: self.endpoint }
    }
}

impl<'a> Deref for RawCx<'a> {
    type Target = ConnectionMut<'a>;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl DerefMut for RawCx<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.connection
    }
}

/// The context of [`Protocol::closed`](crate::Protocol::closed): the connection has ended, so it
/// cannot be written to, paused or closed.
///
/// It dereferences to [`Commands`].
pub struct ClosedCx<'a> {
    pub(super) commands: &'a mut Commands,
    endpoint: EndpointIndex,
    id: ConnId,
    peer: &'a Address,
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "there is none"))]
    pub(super) retry: Option<Retry>,
}

impl<'a> ClosedCx<'a> {
    pub(crate) fn new(
        commands: &'a mut Commands,
        endpoint: EndpointIndex,
        id: ConnId,
        peer: &'a Address,
        retry: Option<Retry>,
    ) -> Self {
        Self { commands, endpoint, id, peer, retry }
    }

    /// The id that the connection had. No other connection will have it.
    #[must_use]
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The address of the peer.
    #[must_use]
    pub fn peer(&self) -> &'a Address {
        self.peer
    }

    /// Whether this side made the connection ([`ProtocolMut::connect`]), rather than accepted it.
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.commands.registry.get(self.id).is_some_and(Entry::is_client)
    }

    /// The protocol whose callback this is.
    pub fn own_protocol(&mut self) -> ProtocolMut<'_> {
        ProtocolMut { commands: self.commands, endpoint: self.endpoint }
    }
}

impl Deref for ClosedCx<'_> {
    type Target = Commands;

    fn deref(&self) -> &Commands {
        self.commands
    }
}

impl DerefMut for ClosedCx<'_> {
    fn deref_mut(&mut self) -> &mut Commands {
        self.commands
    }
}

/// The context of [`Raw::closed`](crate::raw::Raw::closed) and
/// [`Watcher::closed`](crate::raw::Watcher::closed): the connection has ended, so it cannot be
/// written to, paused or closed.
///
/// It dereferences to [`Commands`].
pub struct RawClosedCx<'a> {
    commands: &'a mut Commands,
    endpoint: EndpointIndex,
    id: ConnId,
    peer: &'a Address,
}

impl<'a> RawClosedCx<'a> {
    pub(crate) fn new(commands: &'a mut Commands, endpoint: EndpointIndex, id: ConnId, peer: &'a Address) -> Self {
        Self { commands, endpoint, id, peer }
    }

    /// The id that the connection had. No other connection will have it.
    #[must_use]
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The address of the peer; [`Address::Unnamed`] unless it was a connected TCP or Unix socket.
    #[must_use]
    pub fn peer(&self) -> &'a Address {
        self.peer
    }

    /// The endpoint whose callback this is.
    pub fn own_endpoint(&mut self) -> EndpointMut<'_> {
        EndpointMut { commands: self.commands, endpoint: self.endpoint }
    }
}

impl Deref for RawClosedCx<'_> {
    type Target = Commands;

    fn deref(&self) -> &Commands {
        self.commands
    }
}

impl DerefMut for RawClosedCx<'_> {
    fn deref_mut(&mut self) -> &mut Commands {
        self.commands
    }
}
