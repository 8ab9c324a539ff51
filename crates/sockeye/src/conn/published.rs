//! What was published and pushed, at one WebSocket: where it goes among the connection's own messages, and how much of it
//! may wait.

use std::rc::Rc;

use sockeye_proto::conn::State;
use sockeye_proto::time::Instant;

use crate::conn::env::Env;
use crate::conn::websocket::WebSocket;
use crate::conn::wire::{NEVER, Wire};
use crate::id::ConnId;
use crate::state::{Commands, EndpointIndex, Entry};
use crate::statistics::Culprit;
use crate::transport::{Apart, Framed, LoopIo, Port, Socket, SocketWriter};

/// The outcome of a batch of published messages at one connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Published {
    /// So many were sent or queued.
    Sent(usize),
    /// So many were sent or queued, and no step or edge of this connection would follow by itself.
    NeedsStep(usize),
    /// So many wait behind messages of a layer.
    HeldBack(usize),
    /// They wait behind messages of topics, and are counted when they are sent.
    Slow,
    /// More output waits than allowed.
    Overflow,
    /// It is not an open WebSocket, or was sent everything before.
    NotWanted,
}

impl WebSocket {
    /// Sends what waited behind messages of a layer, once these are sent, or the layer has given them up.
    #[cold]
    pub(super) fn release_held(
        &mut self,
        commands: &mut Commands,
        out: &mut SocketWriter<'_>,
        endpoint: EndpointIndex,
    ) {
        // What compression keeps is there, too.
        if self.aside.as_ref().is_none_or(|aside| aside.waiting_bytes() == 0) {
            return;
        }
        if commands.running.holds_back() || self.protocol.mid_message().is_some() || !self.protocol.can_send() {
            return;
        }
        out.release_held(&mut self.port(endpoint));
        if let Some(entry) = commands.registry.get_mut(commands.running.id) {
            entry.set_held_back(false);
        }
    }

    /// The sending side.
    fn port(&mut self, endpoint: EndpointIndex) -> Port<'_> {
        Port { ws: &mut self.protocol, aside: &mut self.aside, endpoint: endpoint.0 }
    }

    /// Frees the place of what waited, once it is sent.
    #[inline]
    pub(super) fn drop_aside(&mut self) {
        if self.is_open() && self.aside.as_ref().is_some_and(|aside| aside.is_empty()) {
            self.aside = None;
        }
    }

    /// Frees it after a step, or arms its deadline.
    #[cold]
    pub(super) fn settle_aside(&mut self, armed: &mut Instant) {
        self.drop_aside();
        if self.forgets_before(*armed) {
            // The deadline came forward.
            *armed = NEVER;
        }
    }

    /// Whether the history of what was sent is to be forgotten before this deadline.
    pub(super) fn forgets_before(&self, deadline: Instant) -> bool {
        self.aside.as_ref().and_then(|aside| aside.forget_at()).is_some_and(|at| at < deadline)
    }

    /// How many bytes wait for the socket, or for messages that go before them.
    pub(super) fn queued_bytes(&self, socket: &Socket) -> usize {
        socket.backlog_bytes() + self.aside.as_ref().map_or(0, |aside| aside.waiting_bytes())
    }

    /// Sends what was published and pushed, or keeps it until the end of an unfinished message or of a layer's messages.
    /// `apart`: what differs at this connection. `entry`: its own.
    pub(super) fn publish(
        &mut self,
        socket: &mut Socket,
        io: &mut LoopIo,
        batch: &Rc<Framed>,
        apart: Option<&Apart>,
        (id, entry): (ConnId, Entry),
    ) -> Published {
        let (endpoint, holds_back) = (entry.endpoint, entry.holds_back());
        let frames = batch.frames();
        let all = Apart::default();
        let waits = apart.unwrap_or(&all);
        let count = waits.len(frames);
        if !self.protocol.can_send() || count == 0 {
            return Published::NotWanted;
        }
        let published = waits.published_bytes(frames);
        let queued = self.queued_bytes(socket).saturating_add(io.outgoing.slow_bytes(id));
        // What was pushed had room when it was.
        let too_much = queued.saturating_add(published) > io.outgoing.hard || io.pool.borrow().account().is_over();
        if queued > 0 && published > 0 && too_much {
            return Published::Overflow;
        }
        let first = waits.only_taken();
        if io.outgoing.is_slow(id) {
            // Behind the messages of topics that it has not read yet.
            let (batch, first) = batch_for_one(batch, waits, first);
            let pool = io.pool.borrow();
            batch.hold(pool.account());
            io.outgoing.change_slow(|slow| slow.keep_all(id, batch, first, pool.account()));
            return Published::Slow;
        }
        if holds_back || self.protocol.mid_message().is_some() {
            // RFC 6455 section 5.4: "The fragments of one message MUST NOT be interleaved between
            // the fragments of another message unless an extension has been negotiated that can
            // interpret the interleaving."
            let aside = self.aside.get_or_insert_default();
            let (batch, first) = batch_for_one(batch, waits, first);
            batch.hold(io.pool.borrow().account());
            aside.hold(batch, first);
            return if holds_back { Published::HeldBack(count) } else { Published::Sent(count) };
        }
        let mut out = SocketWriter::new(io, socket);
        let port = &mut self.port(endpoint);
        match first {
            Some(first) => out.put_published(port, batch, first),
            None => out.put_apart(port, batch, waits),
        }
        if self.aside.is_some() {
            self.drop_aside();
        }
        if socket.needs_step() { Published::NeedsStep(count) } else { Published::Sent(count) }
    }

    /// Output waited for the socket: messages of topics may wait behind it. Returns whether the share of the step is used up
    /// before all of them are sent, so that nothing else is to be sent.
    #[cold]
    pub(super) fn resume(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId, entry: Entry) -> bool {
        if !env.io.outgoing.is_slow(id) || env.state.running.holds_back() {
            return false;
        }
        let mut out = SocketWriter::new(&mut env.io, &mut wire.socket);
        self.send_slow(&mut out, entry.endpoint, id, false)
    }

    /// Sends messages of topics that waited, as far as the socket takes them and the share of the step allows; `all`: whatever
    /// may wait for the socket. Returns whether there is more that only the share held up.
    #[cold]
    fn send_slow(&mut self, out: &mut SocketWriter<'_>, endpoint: EndpointIndex, id: ConnId, all: bool) -> bool {
        let is_held = |ws: &Self| {
            !ws.protocol.can_send()
                || ws.protocol.mid_message().is_some()
                || ws.aside.as_ref().is_some_and(|aside| aside.waiting_bytes() > 0)
        };
        if !out.io.outgoing.is_slow(id) || is_held(self) {
            return false;
        }
        let is_more = out.put_slow(&mut self.port(endpoint), id, all);
        self.drop_aside();
        is_more
    }

    /// A Close frame waits. What was published before goes before it, since nothing may follow.
    pub(super) fn catch_up(&mut self, out: &mut SocketWriter<'_>, endpoint: EndpointIndex, id: ConnId) {
        if self.protocol.can_send() && self.protocol.mid_message().is_none() {
            self.send_slow(out, endpoint, id, true);
            out.catch_up(&mut self.port(endpoint), id.as_u64());
        }
    }

    /// Notes how much waits for the socket, and calls back when that has fallen under the mark. In a step.
    #[cold]
    pub(super) fn note_queued(&mut self, wire: &Wire, env: &mut Env, id: ConnId) {
        let mark = env.io.low_water;
        let queued = self.queued_bytes(&wire.socket).saturating_add(env.io.outgoing.slow_bytes(id));
        if env.state.registry.note_queued(id, queued, mark) && self.protocol.state() == State::Open {
            let call = env.call_protocol(id, &wire.peer, Culprit::LowWater, |endpoint, cx, session| {
                endpoint.low_water(cx, session)
            });
            self.apply(&mut env.state, call.unwrap_or(Ok(())));
        }
    }
}

/// What waits for one connection, as a batch and its first message.
#[cold]
fn batch_for_one(batch: &Rc<Framed>, waits: &Apart, first: Option<usize>) -> (Rc<Framed>, usize) {
    match first {
        Some(first) => (Rc::clone(batch), first),
        None => (Rc::new(waits.to_batch(batch.frames()).framed_for_one()), 0),
    }
}
