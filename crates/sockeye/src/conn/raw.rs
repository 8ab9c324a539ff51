//! Connections without messages: read, deliver, write, end.
//!
//! What to know before editing: once an end is decided ([`Raw::ending`]) no callback follows but
//! `closed`. Waiting output is sent first; until then input is read and dropped, since a peer that
//! is blocked on sending does not read. A broken connection delivers its remaining input before it
//! ends; a paused one keeps it for later, and takes no steps meanwhile.

#[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
#[path = "raw/no_starting.rs"]
mod starting;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
mod starting;
#[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
#[path = "raw/no_tls.rs"]
mod tls;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
mod tls;

use std::io;

use sockeye_proto::conn::HEADROOM;
use sockeye_proto::time::Instant;

use crate::conn::call::Caller;
use crate::conn::env::Env;
use crate::conn::linger::Linger;
use crate::conn::raw::starting::Starting;
use crate::conn::step::{Due, Step};
use crate::conn::wire::{NEVER, Wire};
use crate::id::ConnId;
use crate::protocol::endpoint::RawEndpoint;
use crate::protocol::{RawClose, RawClosed, RawCx, RawSendCx, RawWritable};
use crate::state::{Commands, End, EndpointIndex, Entry, ReadBudget, RunningStep};
use crate::statistics::Culprit;
use crate::sys::{CloseHow, DescriptorKind};
use crate::transport::{LoopIo, Read, Socket, SocketWriter};

/// A connection that speaks the program's own protocol.
pub(super) struct Raw {
    endpoint: EndpointIndex,
    ending: Option<Ending>,
    /// Whether it was opened for reading, and for writing.
    access: Access,
    /// The peer has ended its sending side, and the endpoint was called for that.
    input_ended: bool,
    output: Output,
    /// Output was dropped because the connection broke.
    output_lost: bool,
    /// Why it broke.
    error: Option<io::ErrorKind>,
    /// TLS begins: nothing is delivered or written meanwhile.
    starting: Option<Box<Starting>>,
}

/// Our sending side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Output {
    Open,
    /// It ends once everything has left. No callback writes any more.
    Ending,
    Ended,
}

/// In which directions a descriptor was opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) readable: bool,
    pub(super) writable: bool,
}

impl Access {
    /// How the end of a broken descriptor is reported. One that is not open for reading cannot
    /// report its error; there is only one possible.
    pub(super) fn broken(self, error: Option<io::ErrorKind>) -> RawClosed {
        RawClosed::Broken(error.or_else(|| (!self.readable).then_some(io::ErrorKind::BrokenPipe)))
    }
}

/// The end is decided.
#[derive(Clone, Copy)]
struct Ending {
    closed: RawClosed,
    until: Instant,
}

/// The endpoint of a connection and the context of its callbacks, for one round.
pub(super) type Callbacks<'a> = Caller<'a, dyn RawEndpoint + 'a, RawCx<'a>>;

impl Raw {
    /// A connection of a raw listener, or to a server.
    pub(super) fn new(endpoint: EndpointIndex) -> Self {
        Self::adopted(endpoint, true, true)
    }

    /// A descriptor that the program opened.
    pub(super) fn adopted(endpoint: EndpointIndex, readable: bool, writable: bool) -> Self {
        let access = Access { readable, writable };
        let output = Output::Open;
        Self {
            endpoint,
            ending: None,
            access,
            input_ended: false,
            output,
            output_lost: false,
            error: None,
            starting: None,
        }
    }

    /// The connection begins: the `open` callback, once.
    pub(super) fn open(&mut self, wire: &Wire, env: &mut Env, id: ConnId) {
        if !open(self.endpoint, wire, env, id) {
            return;
        }
        let until = self.end_deadline(env);
        self.take_own_ends(&mut env.state, id, until);
        if self.is_ending() || self.output != Output::Open || self.starting.is_some() {
            env.state.registry.enqueue(id);
        }
    }

    fn end_deadline(&self, env: &Env) -> Instant {
        env.state.now + env.limits.protocol.close_timeout
    }

    /// Decides the end, unless it was decided before.
    pub(super) fn end(&mut self, closed: RawClosed, until: Instant) {
        self.ending.get_or_insert(Ending { closed, until });
    }

    /// Decides that the connection is reset. This replaces an earlier decision.
    fn abort(&mut self, until: Instant) {
        self.ending = Some(Ending { closed: RawClosed::Reset, until });
    }

    /// Ends our sending side; if the peer has ended its own, both are over.
    pub(super) fn end_output(&mut self, until: Instant) {
        if self.input_ended {
            self.end(RawClosed::Local, until);
        } else if self.output == Output::Open {
            self.output = Output::Ending;
        }
    }

    /// Carries out the end of our sending side, if everything has left.
    #[cold]
    fn shut_output(&mut self, socket: &mut Socket, io: &mut LoopIo, until: Instant) {
        if self.is_ending() || socket.has_backlog() {
            return;
        }
        let has_sides = matches!(socket.kind(), DescriptorKind::Stream | DescriptorKind::Packets);
        if has_sides {
            SocketWriter::new(io, socket).end_stream();
            if socket.has_backlog() {
                return;
            }
            self.output = Output::Ended;
            // It fails when the connection is over, which reading tells.
            let _ = socket.shutdown_write(io);
        } else if self.access.readable {
            tracing::debug!(kind = ?socket.kind(), "it has no sending side that could be ended");
            self.output = Output::Open;
        } else {
            self.end(RawClosed::Local, until);
        }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    pub(super) fn deadline(&self) -> Instant {
        let ending = self.ending.map_or(NEVER, |ending| ending.until);
        self.starting.as_ref().map_or(ending, |starting| starting.deadline().min(ending))
    }

    /// Whether the writable callback is requested, and can ever be called.
    fn wants_room(&self, running: &RunningStep) -> bool {
        running.wants_write() && self.access.writable && self.output == Output::Open
    }

    /// Whether there may be something to read and deliver.
    fn has_input(&self, socket: &Socket) -> bool {
        socket.has_kept() || socket.has_input() && !self.input_ended && self.access.readable
    }

    fn can_write(&self, running: &RunningStep, socket: &Socket) -> bool {
        self.wants_room(running) && socket.is_clear() && !self.is_ending()
    }

    /// Reads, delivers and writes as far as socket and turn allow.
    pub(super) fn step(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId, entry: Entry) -> Step<Linger> {
        if self.starting.is_some() {
            return self.step_starting(wire, env, id);
        }
        env.state.enter(id, entry, env.share);
        env.io.begin_step(env.share.bytes);
        env.io.take_send_error();
        if wire.socket.kind() == DescriptorKind::Datagrams
            && wire.socket.is_broken()
            && self.error.is_none()
            && !self.output_lost
        {
            wire.socket.clear_error(&mut env.io);
        }
        self.flush(&mut wire.socket, &mut env.io);
        let mut more = true;
        while more && !env.state.running.budget.is_spent() && env.io.send_budget > 0 {
            more = self.round(wire, env);
        }
        self.flush(&mut wire.socket, &mut env.io);
        if wire.socket.is_broken() {
            self.error = self.error.or_else(|| env.io.take_send_error());
        }
        if self.output == Output::Ending {
            let until = self.end_deadline(env);
            self.shut_output(&mut wire.socket, &mut env.io, until);
        }
        if wire.socket.has_backlog() || entry.is_behind() {
            self.note_queued(wire, env, id);
        }
        let outcome = self.outcome(&wire.socket, &env.state.running, more);
        let is_spent = env.state.running.budget.is_spent() || env.io.send_budget == 0;
        env.state.leave();
        if self.starting.is_some() {
            return self.step_starting(wire, env, id);
        }
        match outcome {
            Outcome::Wait => Step::Wait,
            Outcome::More if is_spent => Step::Yield,
            Outcome::More => Step::Later,
            Outcome::Over(closed) => self.finish(wire, env, id, closed),
        }
    }

    /// Notes how much waits for the descriptor, and calls back when that has fallen under the mark. In a step.
    #[cold]
    fn note_queued(&mut self, wire: &Wire, env: &mut Env, id: ConnId) {
        let mark = env.io.low_water;
        if !env.state.registry.note_queued(id, wire.socket.backlog_bytes(), mark) || self.is_ending() {
            return;
        }
        let until = self.end_deadline(env);
        let Env { io, state, endpoints, .. } = env;
        let Entry { endpoint: index, session, .. } = state.running.entry;
        let Some(endpoint) = endpoints.raw(index) else { return };
        let mut callbacks = Caller { endpoint, session, cx: RawCx::new(state, index, id, &wire.peer) };
        let result = callbacks.call_rarely(io, Culprit::LowWater, |raw, cx, session, _| raw.low_water(cx, session));
        self.apply(&mut callbacks.cx, result, RawClosed::Local, until);
    }

    /// Sends waiting output, as far as the socket accepts it.
    fn flush(&mut self, socket: &mut Socket, io: &mut LoopIo) {
        if socket.has_backlog() || io.corked() > 0 {
            SocketWriter::new(io, socket).flush();
            self.output_lost |= socket.is_broken();
        }
    }

    /// Reads once, and writes once. Returns whether another round would find something to do.
    fn round(&mut self, wire: &mut Wire, env: &mut Env) -> bool {
        let until = self.end_deadline(env);
        let Env { io, state, endpoints, rx, .. } = env;
        let Wire { socket, peer, .. } = wire;
        let Entry { endpoint: index, session, .. } = state.running.entry;
        let Some(endpoint) = endpoints.raw(index) else { return false };
        if self.is_ending() {
            socket.drop_unread();
            return self.discard(&mut state.running, socket, io, rx);
        }
        let id = state.running.id;
        let mut callbacks = Caller { endpoint, session, cx: RawCx::new(state, index, id, peer) };
        if self.has_input(socket) && !callbacks.cx.running.is_paused() {
            let read = self.read(socket, io, rx, callbacks.cx.running.budget.bytes);
            self.deliver(&mut callbacks, io, &read, rx, until);
            if matches!(read, Read::Failed(_)) {
                self.tell_failure(&mut callbacks, io, socket);
            }
        }
        if self.starting.is_some() {
            return false;
        }
        if self.can_write(&callbacks.cx.running, socket) {
            self.write(&mut callbacks, socket, io, until);
        }
        let running = &callbacks.cx.running;
        self.has_input(socket) && (self.is_ending() || !running.is_paused()) || self.can_write(running, socket)
    }

    /// One read, of at most `budget` bytes. Input after a proxy's header comes first.
    fn read(&mut self, socket: &mut Socket, io: &mut LoopIo, rx: &mut [u8], budget: usize) -> Read {
        let read = if socket.has_kept() || socket.kind() == DescriptorKind::Stream {
            match socket.read(io, rx, budget) {
                // What it carries may have no end of its own by which the program could tell.
                Read::End if socket.is_cut() => {
                    socket.mark_broken();
                    Read::Failed(io::ErrorKind::UnexpectedEof)
                }
                read => read,
            }
        } else {
            socket.read_unit(io, rx, &mut self.error)
        };
        if let Read::Failed(error) = read {
            self.error = Some(error);
        }
        read
    }

    /// The callback for the bytes of one read.
    fn deliver(&mut self, callbacks: &mut Callbacks<'_>, io: &mut LoopIo, read: &Read, rx: &[u8], until: Instant) {
        match *read {
            Read::Nothing | Read::Failed(_) => {}
            Read::Sealed(cost) => callbacks.cx.running.spend(cost),
            Read::Bytes(count) => {
                let budget = &mut callbacks.cx.running.budget;
                budget.bytes = budget.bytes.saturating_sub(count);
                budget.frames -= 1;
                let bytes = &rx[HEADROOM..HEADROOM + count];
                let result = callbacks
                    .call_if_watchful(io, Culprit::Receive, |raw, cx, session, _| raw.receive(cx, session, bytes));
                self.apply(&mut callbacks.cx, result, RawClosed::Local, until);
            }
            Read::End => {
                self.input_ended = true;
                let result =
                    callbacks.call_if_watchful(io, Culprit::Receive, |raw, cx, session, _| raw.ended(cx, session));
                self.apply(&mut callbacks.cx, result, RawClosed::Peer, until);
                if self.output != Output::Open {
                    self.end(RawClosed::Peer, until);
                }
            }
        }
    }

    /// The writable callback.
    fn write(&mut self, callbacks: &mut Callbacks<'_>, socket: &mut Socket, io: &mut LoopIo, until: Instant) {
        callbacks.cx.running.grant_write();
        let before = io.send_budget;
        let result = callbacks.call_if_watchful(io, Culprit::Writable, |raw, cx, session, io| {
            raw.writable(cx, session, RawWritable::new(&mut RawSendCx { out: SocketWriter::new(io, socket) }))
        });
        if io.send_budget == before {
            // A call that writes nothing has a cost too, so repeated requests do not hold the loop.
            io.send_budget = before.saturating_sub(io.frame_cost);
        } else {
            self.output_lost |= socket.is_broken();
        }
        self.apply(&mut callbacks.cx, result, RawClosed::Local, until);
    }

    /// Decides the end that a callback returned or requested on its own connection, so that nothing
    /// is delivered after it.
    fn apply(&mut self, commands: &mut Commands, result: Result<(), RawClose>, normal: RawClosed, until: Instant) {
        match result {
            Ok(()) => {}
            Err(RawClose::Normal) => self.end(normal, until),
            Err(RawClose::Reset) => self.end(RawClosed::Reset, until),
        }
        if !commands.queue.ends.is_empty() {
            let id = commands.running.id;
            self.take_own_ends(commands, id, until);
        }
    }

    #[cold]
    fn take_own_ends(&mut self, commands: &mut Commands, id: ConnId, until: Instant) {
        commands.take_ends(id, |end| match end {
            End::Close(_) => self.end(RawClosed::Local, until),
            End::Abort => self.abort(until),
            End::Output => self.end_output(until),
            End::Plain(start) => self.start_tls(start),
        });
    }

    /// Reads and drops input that is no longer delivered. Returns whether there may be more.
    fn discard(&mut self, running: &mut RunningStep, socket: &mut Socket, io: &mut LoopIo, rx: &mut [u8]) -> bool {
        // Without unsent output the connection ends, and the next phase reads.
        if !socket.has_backlog() || !self.has_input(socket) {
            return false;
        }
        let budget = &mut running.budget;
        match self.read(socket, io, rx, budget.bytes) {
            Read::Bytes(count) => {
                budget.bytes = budget.bytes.saturating_sub(count);
                // Datagrams may be empty, and arrive as fast as they are read.
                budget.frames -= 1;
            }
            Read::Sealed(cost) => budget.bytes = budget.bytes.saturating_sub(cost),
            Read::Nothing | Read::Failed(_) => {}
            Read::End => self.input_ended = true,
        }
        self.has_input(socket)
    }

    /// The outcome of a step. `more`: the turn's share was used up, or another round would find something.
    fn outcome(&self, socket: &Socket, running: &RunningStep, more: bool) -> Outcome {
        let broken = socket.is_broken();
        let Some(ending) = self.ending else {
            if !broken {
                return if more || self.can_write(running, socket) { Outcome::More } else { Outcome::Wait };
            }
            // Earlier input is delivered first. While reading is paused it waits, unless that would
            // be in vain: no further edge comes, and a program that wants to write before it
            // resumes reading never can.
            let in_vain = running.is_paused() && (self.output_lost || self.wants_room(running));
            return match self.has_input(socket) && !in_vain {
                true if running.is_paused() => Outcome::Wait,
                true => Outcome::More,
                false if self.input_ended && !self.output_lost => Outcome::Over(RawClosed::Peer),
                false => Outcome::Over(self.access.broken(self.error)),
            };
        };
        if ending.closed == RawClosed::Reset {
            Outcome::Over(RawClosed::Reset)
        } else if self.output_lost {
            Outcome::Over(RawClosed::Broken(self.error))
        } else if broken || !socket.has_backlog() {
            Outcome::Over(ending.closed)
        } else if more {
            Outcome::More
        } else {
            Outcome::Wait
        }
    }

    /// Ends it: calls `closed`, and decides how the socket is closed.
    #[cold]
    fn finish(&self, wire: &mut Wire, env: &mut Env, id: ConnId, closed: RawClosed) -> Step<Linger> {
        let is_done = self.input_ended || wire.socket.is_broken() || wire.socket.kind() != DescriptorKind::Stream;
        env.report_raw_closed(id, &wire.peer, closed);
        match closed {
            RawClosed::Reset | RawClosed::Timeout | RawClosed::Dropped => Step::Gone(CloseHow::Reset),
            // Closing with unread input would reset the connection, which could overtake our last
            // bytes.
            RawClosed::Local | RawClosed::Peer if !is_done => Step::Next(Linger::begin(wire, env)),
            _ => Step::Gone(CloseHow::Normal),
        }
    }

    /// A deadline is due: the end took too long, or the user's timer.
    pub(super) fn due(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId) -> Due<Linger> {
        if self.deadline() <= env.state.now {
            self.note_late(env);
            return Due::Over(self.finish(wire, env, id, RawClosed::Timeout));
        }
        let is_ending = self.is_ending();
        if let Some(result) = timer(is_ending, wire, env, id) {
            let until = self.end_deadline(env);
            self.apply(&mut env.state, result, RawClosed::Local, until);
            env.state.leave();
        }
        Due::Step
    }
}

enum Outcome {
    Wait,
    /// There is more to do in the next round.
    More,
    Over(RawClosed),
}

/// The `open` callback of a connection that is not a WebSocket. Returns whether there is an endpoint to call.
pub(super) fn open(endpoint: EndpointIndex, wire: &Wire, env: &mut Env, id: ConnId) -> bool {
    let Some(entry) = env.state.registry.get_mut(id) else { return false };
    entry.endpoint = endpoint;
    entry.set_open(true);
    entry.set_connected();
    env.state.opened = true;
    let session = env.call_descriptor(id, wire, Culprit::Open, |endpoint, cx, _| endpoint.open(cx));
    let Some(session) = session else { return false };
    if let Some(entry) = env.state.registry.get_mut(id) {
        entry.session = session;
    }
    true
}

/// The user's timer, if it is due. `Some`: the callback was called, in a step that the caller ends.
pub(super) fn timer(is_ending: bool, wire: &mut Wire, env: &mut Env, id: ConnId) -> Option<Result<(), RawClose>> {
    if wire.user_timer > env.state.now {
        return None;
    }
    wire.user_timer = NEVER;
    let entry = env.state.registry.get(id).filter(|entry| entry.is_open() && !is_ending)?;
    env.state.enter(id, entry, ReadBudget::default());
    let result = env.call_descriptor(id, wire, Culprit::Timer, |endpoint, cx, session| endpoint.timer(cx, session));
    Some(result.unwrap_or(Ok(())))
}
