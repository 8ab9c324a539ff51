//! The WebSocket phase: read, deliver, answer, and let the protocol write.
//!
//! What to know before editing: a round reads once, calls back for what arrived, then lets the
//! protocol write. Control frames go before more data. Once a close has started nothing is
//! delivered, and `writable` is called at most once more: the Close frame waits for it.

use std::sync::Arc;

use sockeye_proto::close::{Cause, Close, CloseCode, Closed, Initiator, Timeout};
use sockeye_proto::conn::{Connection, ControlPayload, HEADROOM, State};
use sockeye_proto::ext::deflate::Agreed;
use sockeye_proto::limits::ProtocolLimits;
use sockeye_proto::time::Instant;
use sockeye_proto::wire::Role;

use crate::client::Retry;
use crate::conn::call::{Callbacks, Caller};
use crate::conn::control::answer;
use crate::conn::env::Env;
use crate::conn::linger::Linger;
use crate::conn::step::{Due, Step};
use crate::conn::wire::{NEVER, Wire};
use crate::http::access::beginning;
use crate::id::ConnId;
use crate::protocol::{Cx, Handshake, SendCx, Tx};
use crate::state::{Commands, ControlRequest, End, EndpointIndex, Entry, ReadBudget, RunningStep};
use crate::statistics::Culprit;
use crate::sys::CloseHow;
use crate::transport::{Aside, LoopIo, Read, Socket, SocketWriter};

/// A connection after its handshake.
pub(super) struct WebSocket {
    pub(super) protocol: Connection,
    /// State that few connections need; `None` in the others.
    pub(super) aside: Option<Box<Aside>>,
}

/// The progress of a step. It is small, since it is returned for each message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    Wait,
    Yield,
    Later,
    /// The connection has ended: [`WebSocket::finish`] decides what follows.
    Over,
}

impl WebSocket {
    /// A connection after its handshake.
    pub(super) fn new(role: Role, env: &Env, endpoint: EndpointIndex, agreed: Option<Agreed>) -> Self {
        let mut protocol = Connection::new(role, env.state.message_limits.of(endpoint), env.state.now);
        if let Some(agreed) = agreed {
            protocol = protocol.with_deflate(agreed);
        }
        Self { protocol, aside: None }
    }

    /// The `open` callback, once.
    pub(super) fn open(
        &mut self,
        wire: &Wire,
        env: &mut Env,
        id: ConnId,
        endpoint: EndpointIndex,
        handshake: &Handshake<'_>,
    ) {
        let Some(entry) = env.state.registry.get_mut(id) else { return };
        entry.endpoint = endpoint;
        entry.set_open(true);
        entry.set_connected();
        let is_client = entry.is_client();
        env.io.meters.statistics.websocket_opens(is_client);
        env.state.opened = true;
        let subprotocol = handshake.subprotocol().unwrap_or_default();
        tracing::debug!(%id, peer = %wire.peer, protocol = beginning(subprotocol), "open");
        // Requests of the callback for its own connection are kept as in any other step, which follows.
        let entry = *entry;
        self.enter(env, id, entry, ReadBudget::default());
        let session = env.call_protocol(id, &wire.peer, Culprit::Open, |endpoint, cx, _| endpoint.open(cx, handshake));
        env.state.leave();
        if let (Some(session), Some(entry)) = (session, env.state.registry.get_mut(id)) {
            entry.session = session;
        }
        self.take_own_requests(&mut env.state, id);
    }

    /// Starts a step, or a callback outside of one.
    #[inline(always)]
    fn enter(&self, env: &mut Env, id: ConnId, entry: Entry, budget: ReadBudget) {
        env.state.enter(id, entry, budget);
        env.state.running.message_bytes = self.protocol.limits().message_bytes;
    }

    pub(super) fn is_open(&self) -> bool {
        self.protocol.state() == State::Open
    }

    pub(super) fn deadline(&self) -> Instant {
        let deadline = self.protocol.next_deadline().unwrap_or(NEVER);
        match &self.aside {
            None => deadline,
            Some(aside) => aside.forget_at().map_or(deadline, |at| at.min(deadline)),
        }
    }

    pub(super) fn is_ping_due(&self, now: Instant) -> bool {
        self.protocol.is_ping_due(now)
    }

    pub(super) fn ends_at(&self) -> Option<Instant> {
        if self.is_open() && !self.protocol.awaits_pong() { None } else { self.protocol.next_deadline() }
    }

    /// Carries out a request beside the messages. Returns whether a frame waits to leave.
    #[cold]
    pub(super) fn control(&mut self, request: ControlRequest, now: Instant) -> bool {
        match request {
            ControlRequest::Ping(payload) => return self.protocol.ping(payload).is_ok(),
            ControlRequest::Pong(payload) => return self.protocol.pong(payload).is_ok(),
            ControlRequest::SetKeepalive(own) => self.protocol.set_keepalive(own.ping_after, own.pong_within),
            ControlRequest::NoteAlive => self.note_alive(now),
        }
        false
    }

    /// The peer is alive, though nothing arrived.
    fn note_alive(&mut self, now: Instant) {
        if self.is_open() {
            self.protocol.receive_done(now);
        }
    }

    pub(super) fn close(&mut self, close: Close, now: Instant) {
        self.protocol.close(close, now);
    }

    /// Reads, delivers, answers and writes as far as socket and budget allow. `WATCHED`: the clock is read around
    /// callbacks, which costs more than many of them.
    #[inline(always)]
    pub(super) fn step<const WATCHED: bool>(
        &mut self,
        wire: &mut Wire,
        env: &mut Env,
        id: ConnId,
        entry: Entry,
    ) -> Progress {
        self.enter(env, id, entry, env.share);
        env.io.begin_step(env.share.bytes);
        let held_up = entry.is_behind() && self.resume(wire, env, id, entry);
        let more = held_up || (self.round::<WATCHED>(wire, env) && self.more_rounds::<WATCHED>(wire, env));
        if self.aside.is_some() {
            self.release_held(&mut env.state, &mut SocketWriter::new(&mut env.io, &mut wire.socket), entry.endpoint);
            self.settle_aside(&mut wire.armed);
        }
        let more = more | (entry.is_behind() && self.resume(wire, env, id, entry));
        SocketWriter::new(&mut env.io, &mut wire.socket).flush_here();
        if wire.socket.has_backlog() || entry.is_behind() {
            self.note_queued(wire, env, id);
        }
        // The last flush may have made room for a writable callback that waits.
        let can_write = self.can_write_more(&env.state.running, &wire.socket);
        env.state.leave();
        let is_quiet = self.protocol.is_quiet() && !wire.socket.is_broken();
        if !is_quiet && self.is_over(wire, env, id, entry, can_write) {
            return Progress::Over;
        }
        match (more, can_write) {
            (true, _) => Progress::Yield,
            (false, true) => Progress::Later,
            (false, false) => Progress::Wait,
        }
    }

    /// Goes on while the budget allows. Returns whether there may be more to do. It is separate
    /// from the first round, which is nearly always the only one, so that the first keeps no state
    /// for another.
    #[inline(never)]
    fn more_rounds<const WATCHED: bool>(&mut self, wire: &mut Wire, env: &mut Env) -> bool {
        while !env.state.running.budget.is_spent() && env.io.send_budget > 0 {
            if !self.round::<WATCHED>(wire, env) {
                return false;
            }
        }
        true
    }

    /// Reads, delivers and answers once. Returns whether another round would find something to do.
    #[inline(always)]
    fn round<const WATCHED: bool>(&mut self, wire: &mut Wire, env: &mut Env) -> bool {
        let Env { io, state, endpoints, rx, .. } = env;
        let Wire { socket, peer, armed, .. } = wire;
        let Entry { endpoint: index, session, .. } = state.running.entry;
        let Some(endpoint) = endpoints.web_socket(index) else { return false };
        let id = state.running.id;
        let mut callbacks = Caller { endpoint, session, cx: Cx::new(state, index, id, peer) };
        let count = self.arrive::<WATCHED>(&mut callbacks, socket, io, rx, armed);
        let arrived = &mut rx[..HEADROOM + count];
        if count > 0 && self.deliver::<WATCHED>(&mut callbacks, socket, io, arrived) {
            // The deadline came forward.
            *armed = NEVER;
        }
        callbacks.cx.input = arrived;
        self.write::<WATCHED>(&mut callbacks, socket, io);
        if callbacks.cx.running.keeps_input {
            release_input(&mut callbacks);
        }
        let running = &callbacks.cx.running;
        let has_input = socket.has_input() || self.has_more();
        (has_input && !self.is_paused(running)) || self.can_write_more(running, socket)
    }

    /// The writable callback, if it was asked for and the socket takes data.
    #[inline(always)]
    fn write<const WATCHED: bool>(&mut self, callbacks: &mut Callbacks<'_>, socket: &mut Socket, io: &mut LoopIo) {
        if socket.has_backlog() {
            SocketWriter::new(io, socket).flush();
        }
        if !self.can_write(&callbacks.cx.running, socket) {
            return;
        }
        let last = self.before_write(&mut SocketWriter::new(io, socket));
        callbacks.cx.running.grant_write();
        let before = io.send_budget;
        let Self { protocol, aside } = self;
        let result = callbacks.call::<WATCHED, _>(io, Culprit::Writable, |endpoint, cx, session, io| {
            let out = SocketWriter::new(io, socket);
            let (id, endpoint_index, aside) = (cx.id(), cx.endpoint, Some(aside));
            let port = &mut SendCx {
                ws: protocol,
                out,
                aside,
                id,
                endpoint: endpoint_index,
                last,
                is_ahead: false,
                is_plain: false,
            };
            endpoint.writable(cx, session, Tx::new(port))
        });
        if io.send_budget == before {
            // A call that sends nothing costs as much as a small frame, so repeated requests do not
            // hold the loop.
            io.send_budget = before.saturating_sub(io.frame_cost);
        }
        if self.aside.is_some() {
            let endpoint = callbacks.cx.endpoint;
            self.release_held(&mut callbacks.cx, &mut SocketWriter::new(io, socket), endpoint);
        }
        self.apply(&mut callbacks.cx, result);
    }

    /// Pings and pongs go before more data: a callback that fills the socket each time would delay them. The same holds for a
    /// Close frame, before which there is one more call. Returns whether this is that call, the last one.
    #[inline]
    fn before_write(&mut self, out: &mut SocketWriter<'_>) -> bool {
        if self.protocol.state() != State::Open {
            self.aside.get_or_insert_default().had_last_call = true;
            return true;
        }
        if self.protocol.wants_transmit() {
            out.transmit(&mut self.protocol);
        }
        false
    }

    /// Whether the writable callback was called for the last time before the Close frame.
    #[inline]
    fn had_last_call(&self) -> bool {
        self.aside.as_ref().is_some_and(|aside| aside.had_last_call)
    }

    /// Whether what the peer sends has to wait. Once our Close frame is queued nothing is
    /// delivered, so there is nothing to wait for, and the peer's Close frame must be found.
    #[inline]
    pub(super) fn is_paused(&self, running: &RunningStep) -> bool {
        running.is_paused() && self.protocol.state() == State::Open
    }

    /// Whether the protocol requested its writable callback and it could be called now.
    #[inline(always)]
    fn can_write(&self, running: &RunningStep, socket: &Socket) -> bool {
        running.wants_write()
            && socket.is_clear()
            && (self.protocol.state() == State::Open || (self.protocol.can_send() && !self.had_last_call()))
    }

    /// Whether it requested it once more, which is rare.
    #[inline]
    fn can_write_more(&self, running: &RunningStep, socket: &Socket) -> bool {
        #[cold]
        fn look(ws: &WebSocket, running: &RunningStep, socket: &Socket) -> bool {
            ws.can_write(running, socket)
        }
        running.wants_write() && look(self, running, socket)
    }

    /// Starts the end that a callback returned or requested on its own connection, so that
    /// nothing is delivered after it.
    #[inline]
    pub(super) fn apply(&mut self, commands: &mut Commands, result: Result<(), Box<Close>>) {
        if let Err(close) = result {
            self.protocol.close(*close, commands.now);
        }
        if commands.queue.has_own() {
            let id = commands.running.id;
            self.take_own_requests(commands, id);
        }
    }

    /// Carries out what a callback asked for its own connection, before the next frame.
    #[cold]
    fn take_own_requests(&mut self, commands: &mut Commands, id: ConnId) {
        let now = commands.now;
        commands.take_ends(id, |end| match end {
            End::Close(close) => self.protocol.close(close.clone(), now),
            End::Abort => self.protocol.abort(Cause::Aborted),
            End::Output | End::Plain(_) => {}
        });
        if let Some(limits) = commands.take_limits(id) {
            commands.running.message_bytes = limits.message_bytes;
            self.set_limits(limits);
        }
    }

    /// Takes the largest message of these limits, and shares them unless its keepalive is its own.
    pub(super) fn set_limits(&mut self, mut limits: Arc<ProtocolLimits>) {
        let own = self.protocol.limits();
        if (own.ping_after, own.pong_within) != (limits.ping_after, limits.pong_within) {
            let mut copy = ProtocolLimits::clone(own);
            copy.message_bytes = limits.message_bytes;
            limits = Arc::new(copy);
        }
        self.protocol.set_limits(limits);
    }

    /// Sends the protocol's own frames. Returns whether the connection has ended.
    #[cold]
    fn is_over(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId, entry: Entry, can_write: bool) -> bool {
        let has_input = wire.socket.has_input() && !self.is_paused(&env.state.running);
        let mut out = SocketWriter::new(&mut env.io, &mut wire.socket);
        let holds_back = env.state.running.holds_back();
        if self.protocol.state() != State::Open && out.io.outgoing.has_any() && !holds_back {
            self.catch_up(&mut out, entry.endpoint, id);
        }
        // A Close frame waits for the last call before it.
        if self.protocol.state() == State::Open || !can_write {
            answer(&mut self.protocol, &mut out);
            out.flush();
        }
        // A reset is final. Input before it is delivered first, unless reading is paused: no
        // further edge comes, and waiting for room to answer would be in vain.
        if wire.socket.is_broken() && !has_input {
            self.protocol.handle_reset();
        }
        if self.protocol.state() == State::Draining && !wire.socket.has_backlog() && !self.protocol.wants_transmit() {
            self.protocol.handle_flushed();
        }
        self.protocol.state() == State::Ended
    }

    /// Ends the connection: calls `closed`, and decides how the TCP connection is closed.
    #[cold]
    pub(super) fn finish(&self, wire: &mut Wire, env: &mut Env, id: ConnId) -> Step<Linger> {
        let closed = self.protocol.closed();
        let ending = Ending::of(&closed, &wire.socket);
        tracing::debug!(%id, peer = %wire.peer, code = closed.code_seen(), "closed");
        self.report_closed(wire, env, id, closed);
        match ending {
            Ending::Reset => Step::Gone(CloseHow::Reset),
            Ending::Linger => Step::Next(Linger::begin(wire, env)),
            Ending::Close => drain_input(wire, env),
        }
    }

    /// Ends the connection without notifying the peer.
    pub(super) fn abort(&mut self, wire: &Wire, env: &mut Env, id: ConnId, cause: Cause) {
        self.protocol.abort(cause);
        let closed = self.protocol.closed();
        self.report_closed(wire, env, id, closed);
    }

    /// How much is held of what was published, and by compression.
    pub(super) fn held_bytes(&self) -> usize {
        self.aside.as_ref().map_or(0, |aside| aside.held_bytes())
    }

    pub(super) fn arrived_of_message(&self) -> Option<u64> {
        self.protocol.received_bytes().filter(|_| self.is_open())
    }

    /// Ends the connection now, and frees what is held for it. The Close frame is sent if it can go at once.
    #[cold]
    pub(super) fn shed(
        &mut self,
        wire: &mut Wire,
        env: &mut Env,
        id: ConnId,
        close: Close,
        cause: Cause,
    ) -> Step<Linger> {
        let is_told = self.is_open() && wire.socket.is_clear();
        if is_told {
            self.protocol.close(close, env.state.now);
            let mut out = SocketWriter::new(&mut env.io, &mut wire.socket);
            out.transmit(&mut self.protocol);
            out.flush();
        }
        self.aside = None;
        self.abort(wire, env, id, cause);
        if is_told && wire.socket.is_clear() {
            Step::Next(Linger::begin(wire, env))
        } else {
            Step::Gone(CloseHow::Reset)
        }
    }

    fn report_closed(&self, wire: &Wire, env: &mut Env, id: ConnId, closed: Closed) {
        if !env.state.registry.get(id).is_some_and(Entry::is_open) {
            return;
        }
        env.io.meters.statistics.websocket_closes(&closed);
        let retry = if env.state.connects.keeps(id) { plan_retry(env, id, &closed) } else { None };
        env.report_closed(id, &wire.peer, closed, retry);
    }

    /// A deadline of the protocol or of the user's timer may be due.
    pub(super) fn due(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId) -> Due<Linger> {
        let now = env.state.now;
        if self.protocol.next_deadline().is_some_and(|at| at <= now) {
            let progress = wire.socket.take_progress(env.limits.slow_reader_bytes);
            let paused = !wire.socket.has_backlog() && env.state.registry.get(id).is_some_and(Entry::is_paused);
            // While we do not read, the silence is ours. A peer whose system acknowledged output
            // since the ping is alive, though the ping may wait behind that output. Stuck output
            // proves the contrary, and may be why we do not read.
            if paused || (progress && self.protocol.awaits_pong()) {
                self.note_alive(now);
            }
            if self.protocol.is_ping_due(now) {
                self.ping_due(wire, env, id);
            }
            self.protocol.handle_timeout(now);
        }
        if wire.user_timer <= now {
            wire.user_timer = NEVER;
            self.timer(wire, env, id);
        }
        if let Some(aside) = &mut self.aside {
            aside.forget(&self.protocol, &mut env.io.old, &env.state.account, now);
        }
        Due::Step
    }

    /// A keepalive ping is due: the protocol gives its payload, or leaves it out.
    fn ping_due(&mut self, wire: &Wire, env: &mut Env, id: ConnId) {
        let Some(entry) = env.state.registry.get(id).filter(|entry| entry.is_open()) else { return };
        self.enter(env, id, entry, ReadBudget::default());
        let payload =
            env.call_protocol(id, &wire.peer, Culprit::PingDue, |endpoint, cx, session| endpoint.ping_due(cx, session));
        self.apply(&mut env.state, Ok(()));
        env.state.leave();
        match payload.unwrap_or(Some(ControlPayload::EMPTY)) {
            None => self.note_alive(env.state.now),
            // One that the program asked for and that still waits serves as well.
            Some(payload) if payload.as_bytes().is_empty() => {}
            // It is not sent if the callback closed the connection.
            Some(payload) => _ = self.protocol.ping(payload),
        }
    }

    fn timer(&mut self, wire: &Wire, env: &mut Env, id: ConnId) {
        let Some(entry) = env.state.registry.get(id).filter(|entry| entry.is_open()) else { return };
        self.enter(env, id, entry, ReadBudget::default());
        let result =
            env.call_protocol(id, &wire.peer, Culprit::Timer, |endpoint, cx, session| endpoint.timer(cx, session));
        self.apply(&mut env.state, result.unwrap_or(Ok(())));
        env.state.leave();
    }
}

/// Makes the endpoint copy pending messages out of the receive buffer.
#[cold]
fn release_input(callbacks: &mut Callbacks<'_>) {
    callbacks.cx.running.keeps_input = false;
    callbacks.endpoint.release_input(&mut callbacks.cx, callbacks.session);
}

/// How the TCP connection ends.
enum Ending {
    Close,
    Linger,
    Reset,
}

impl Ending {
    fn of(closed: &Closed, socket: &Socket) -> Self {
        match closed.cause {
            // The time is up: a violation ends at once when all is sent.
            Cause::Violation(_) if socket.has_backlog() => Self::Reset,
            Cause::Violation(_) => Self::Linger,
            // The peer ended only its sending side, and may still read our output.
            Cause::Eof if socket.has_backlog() => Self::Linger,
            Cause::Timeout(Timeout::Close | Timeout::Keepalive) | Cause::Overflow | Cause::Dropped | Cause::Aborted => {
                Self::Reset
            }
            _ => Self::Close,
        }
    }
}

/// After a complete closing handshake the peer sends nothing more. If it still did, that is read,
/// so that our close does not become a reset that overtakes our close frame.
fn drain_input(wire: &mut Wire, env: &mut Env) -> Step<Linger> {
    wire.socket.drop_unread();
    let mut budget = env.share.bytes;
    while budget > 0 {
        match wire.socket.read(&mut env.io, &mut env.rx, budget) {
            Read::Bytes(count) | Read::Sealed(count) => budget -= count.min(budget),
            _ => return Step::Gone(CloseHow::Normal),
        }
    }
    Step::Next(Linger::begin(wire, env))
}

/// The next attempt of a reconnecting connection, unless the program itself ended it.
#[cold]
fn plan_retry(env: &mut Env, id: ConnId, closed: &Closed) -> Option<Retry> {
    let sent = closed.sent.as_ref();
    let code = sent.and_then(Close::code);
    // A violation by the peer also makes us send a Close frame, and so does the loop, if it can, when the peer takes or sends too little.
    // One that the program had sent before says something else.
    let is_too_slow = code == Some(CloseCode::TRY_AGAIN) && env.state.registry.get(id).is_some_and(Entry::is_too_slow);
    let failed = is_too_slow
        || match (closed.cause, sent) {
            (Cause::Violation(violation), Some(sent)) => {
                code == Some(violation.close_code()) && sent.reason() == violation.rule()
            }
            (Cause::Shed, _) => code == Some(CloseCode::TRY_AGAIN),
            (Cause::Timeout(Timeout::Message), _) => code == Some(CloseCode::POLICY),
            _ => false,
        };
    let own = closed.initiator == Initiator::Local && !failed;
    let over = env.state.lifecycle.is_ending() || own || matches!(closed.cause, Cause::Dropped | Cause::Aborted);
    let random = if over { None } else { env.io.random_u64() };
    env.state.retry_after_close(id, random)
}
