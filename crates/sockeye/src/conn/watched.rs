//! Descriptors that the program reads and writes itself: the loop looks, and calls back.
//!
//! What to know before editing: an edge says only when to poll the descriptor (`Socket::look`); the poll decides. A
//! direction that it finds not ready is marked so, and waits for the next edge. One for which the program was called
//! stays marked ready, and is polled again in the next turn, so the program sees levels. A descriptor at the end of its
//! input is readable for good: the end is reported once, when nothing is left unread.

use crate::conn::call::Caller;
use crate::conn::env::Env;
use crate::conn::raw::{self, Access};
use crate::conn::step::{Due, Step};
use crate::conn::wire::Wire;
use crate::id::ConnId;
use crate::protocol::endpoint::WatcherEndpoint;
use crate::protocol::{RawClose, RawClosed, RawCx};
use crate::state::{Commands, End, EndpointIndex, Entry, ReadBudget, RunningStep};
use crate::statistics::Culprit;
use crate::sys::{CloseHow, DescriptorKind, Readiness};
use crate::transport::{LoopIo, Socket};

/// A descriptor that the loop watches only.
pub(super) struct Watched {
    endpoint: EndpointIndex,
    access: Access,
    /// How the end that was decided is reported.
    ending: Option<RawClosed>,
    /// The end of the input was reported.
    input_ended: bool,
}

enum Outcome {
    Wait,
    /// There may be more: look again in the next turn.
    Again,
    Over(RawClosed),
}

/// The endpoint of a descriptor and the context of its callbacks, for one look.
type Callbacks<'a> = Caller<'a, dyn WatcherEndpoint + 'a, RawCx<'a>>;

impl Watched {
    pub(super) fn new(endpoint: EndpointIndex, readable: bool, writable: bool) -> Self {
        Self { endpoint, access: Access { readable, writable }, ending: None, input_ended: false }
    }

    /// The descriptor was adopted: the `open` callback, once.
    pub(super) fn open(&mut self, wire: &Wire, env: &mut Env, id: ConnId) {
        if !raw::open(self.endpoint, wire, env, id) {
            return;
        }
        self.take_own_ends(&mut env.state, id);
        if self.is_ending() {
            env.state.registry.enqueue(id);
        }
    }

    /// Decides the end, unless it was decided before.
    pub(super) fn end(&mut self, closed: RawClosed) {
        self.ending.get_or_insert(closed);
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether there may be something to read that was not reported as the end.
    fn has_input(&self, socket: &Socket) -> bool {
        socket.has_input() && !self.input_ended && self.access.readable
    }

    fn wants_room(&self, running: &RunningStep) -> bool {
        running.wants_write() && self.access.writable
    }

    /// Calls back for what there is, once for each direction.
    pub(super) fn step(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId, entry: Entry) -> Step {
        env.state.enter(id, entry, ReadBudget::default());
        let outcome = if self.is_ending() { Outcome::Wait } else { self.look(wire, env) };
        env.state.leave();
        match (self.ending, outcome) {
            (Some(closed), _) | (None, Outcome::Over(closed)) => finish(wire, env, id, closed),
            (None, Outcome::Wait) => Step::Wait,
            (None, Outcome::Again) => Step::Later,
        }
    }

    fn look(&mut self, wire: &mut Wire, env: &mut Env) -> Outcome {
        let is_paused = env.state.running.is_paused();
        let socket = &mut wire.socket;
        if socket.kind() == DescriptorKind::Datagrams && socket.is_broken() {
            // An error of one datagram, which reading finds. While that is paused it is taken away: a loop that watches
            // levels would report it again and again.
            if is_paused {
                socket.clear_error(&mut env.io);
            } else {
                socket.forget_error();
            }
        }
        let broken = socket.is_broken();
        let reads = self.has_input(socket) && !is_paused;
        let writes = self.wants_room(&env.state.running) && socket.is_writable();
        if !(reads || writes || broken) {
            return Outcome::Wait;
        }
        if broken && !reads {
            return self.without_reading(socket, self.wants_room(&env.state.running));
        }
        match socket.look(&mut env.io, reads, writes) {
            Ok(level) => self.report(wire, env, level, reads, writes),
            Err(error) => Outcome::Over(RawClosed::Broken(Some(error.kind()))),
        }
    }

    /// It broke, and nothing is to be read now. What is unread while reading is paused waits,
    /// unless the program waits for room, which never comes.
    fn without_reading(&self, socket: &Socket, wants_room: bool) -> Outcome {
        if self.has_input(socket) && !wants_room {
            return Outcome::Wait;
        }
        Outcome::Over(if self.input_ended { RawClosed::Peer } else { self.access.broken(None) })
    }

    fn report(&mut self, wire: &mut Wire, env: &mut Env, level: Readiness, reads: bool, writes: bool) -> Outcome {
        let Env { io, state, endpoints, .. } = env;
        let Wire { socket, peer, .. } = wire;
        let Entry { endpoint: index, session, .. } = state.running.entry;
        let Some(endpoint) = endpoints.watcher(index) else { return Outcome::Wait };
        let id = state.running.id;
        let mut callbacks = Caller { endpoint, session, cx: RawCx::new(state, index, id, peer) };
        let is_datagrams = socket.kind() == DescriptorKind::Datagrams;
        let is_over = level.error && !is_datagrams;
        if reads && (level.readable || (level.error && is_datagrams)) {
            // The end of input stays readable. It is reported when nothing is unread before it.
            let is_end = (level.read_closed || is_over) && socket.unread_bytes(io) == 0;
            if !self.call(&mut callbacks, socket, io, Culprit::Receive) {
                return Outcome::Wait;
            }
            self.input_ended |= is_end;
        } else if reads {
            socket.mark_unreadable();
        }
        if is_over && !self.has_input(socket) {
            return Outcome::Over(if level.read_closed { RawClosed::Peer } else { self.access.broken(None) });
        }
        if writes && level.writable && !self.is_ending() {
            callbacks.cx.running.grant_write();
            if !self.call(&mut callbacks, socket, io, Culprit::Writable) {
                return Outcome::Wait;
            }
        } else if writes {
            socket.mark_unwritable();
        }
        let running = &callbacks.cx.running;
        let reads = self.has_input(socket) && !running.is_paused();
        let writes = self.wants_room(running) && socket.is_writable();
        if reads || writes { Outcome::Again } else { Outcome::Wait }
    }

    /// Calls back for one direction. Returns false when the system does not lend the descriptor.
    fn call(&mut self, callbacks: &mut Callbacks<'_>, socket: &Socket, io: &mut LoopIo, culprit: Culprit) -> bool {
        let result = callbacks.call_if_watchful(io, culprit, |watcher, cx, session, io| {
            let fd = socket.borrow(io).ok()?;
            Some(match culprit {
                Culprit::Receive => watcher.readable(cx, session, fd),
                _ => watcher.writable(cx, session, fd),
            })
        });
        let Some(result) = result else { return false };
        self.apply(&mut callbacks.cx, result);
        true
    }

    /// Decides the end that a callback returned or asked for on its own connection.
    fn apply(&mut self, commands: &mut Commands, result: Result<(), RawClose>) {
        match result {
            Ok(()) => {}
            Err(RawClose::Normal) => self.end(RawClosed::Local),
            Err(RawClose::Reset) => self.end(RawClosed::Reset),
        }
        let id = commands.running.id;
        self.take_own_ends(commands, id);
    }

    fn take_own_ends(&mut self, commands: &mut Commands, id: ConnId) {
        if !commands.queue.ends.is_empty() {
            commands.take_ends(id, |end| match end {
                End::Close(_) => self.end(RawClosed::Local),
                End::Abort => self.ending = Some(RawClosed::Reset),
                End::Output | End::Plain(_) => {}
            });
        }
    }

    /// The user's timer may be due.
    pub(super) fn due(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId) -> Due {
        if let Some(result) = raw::timer(self.is_ending(), wire, env, id) {
            self.apply(&mut env.state, result);
            env.state.leave();
        }
        Due::Step
    }
}

/// It is over: calls `closed`.
fn finish(wire: &Wire, env: &mut Env, id: ConnId, closed: RawClosed) -> Step {
    env.report_raw_closed(id, &wire.peer, closed);
    match closed {
        RawClosed::Reset | RawClosed::Timeout | RawClosed::Dropped => Step::Gone(CloseHow::Reset),
        _ => Step::Gone(CloseHow::Normal),
    }
}
