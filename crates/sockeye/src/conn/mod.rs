//! One connection: its socket, its phase, and its state between steps.
//!
//! ```text
//!  accept  ─▶ (Proxied) ─▶ (Securing) ─▶ Http ── 101 ──▶ WebSocket ─── closed ──▶ (Linger) ─▶ gone
//!                                         ├── refused, or `Connection: close` ──────▲
//!                                         └─▶ Exchange ── answered ─▶ Http, or the same ┘
//!  connect ─▶ Opening ─────────────── 101 ──▶ WebSocket ─── closed ──▶ gone
//!              └── refused, or too late ───────────────────────────────▲
//!  accept, of a raw listener ─▶ (Proxied) ─▶ (Securing) ─▶ Raw ─── closed ──▶ (Linger) ─▶ gone
//!  adopt, and connect of a raw endpoint ──────▲
//!  the same for a watcher ────▶ Watched ───── closed ──▶ gone
//! ```
//!
//! A *step* moves one connection as far as its socket, its share of the turn and its own state
//! allow. Each phase has its own step: it works on itself, on the [`Wire`] and on the [`Env`] of
//! the loop, and returns the next phase where one follows. Nothing outside this folder knows the
//! phases, and nothing here knows the table of connections.

mod abort;
mod call;
mod control;
mod env;
mod exchange;
mod file;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
pub(crate) mod handshakes;
#[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
#[path = "no_handshakes.rs"]
pub(crate) mod handshakes;
mod head;
mod http;
mod input;
mod linger;
#[cfg(feature = "client")]
mod opening;
#[cfg(not(feature = "client"))]
#[path = "no_opening.rs"]
mod opening;
#[cfg(feature = "client")]
mod outgoing;
pub(crate) mod paths;
mod phase;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
mod place;
pub(crate) mod policy;
mod proxied;
mod published;
mod raw;
mod reached;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
mod securing;
#[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
#[path = "no_securing.rs"]
mod securing;
mod shedding;
mod step;
mod upgrade;
mod watched;
mod websocket;
mod wire;

use std::rc::Rc;
use std::sync::Arc;

use sockeye_proto::close::{Close, CloseCode};
use sockeye_proto::limits::ProtocolLimits;
use sockeye_proto::time::Instant;

use self::exchange::AfterExchange;
use self::http::Http;
use self::phase::Phase;
use self::proxied::Proxied;
use self::raw::Raw;
use self::securing::Securing;
use self::step::{Due, Step};
use self::watched::Watched;
use self::websocket::Progress;
use self::wire::Wire;
use crate::admission::Ended;
use crate::client::FailureCause;
use crate::id::ConnId;
use crate::protocol::RawClosed;
use crate::state::{ControlRequest, EndpointIndex, Entry, TlsStart};
use crate::sys::{Address, Adopted, CloseHow, Handle};
use crate::transport::{Apart, Framed, LoopIo, Socket};

pub(crate) use self::abort::Abort;
pub(crate) use self::env::Env;
pub(crate) use self::opening::Unopened;
pub(crate) use self::policy::Entrance;
pub(crate) use self::published::Published;
pub(crate) use self::step::Closing;
pub(crate) use self::wire::NEVER;

/// A connection and its phase.
pub(crate) struct Conn {
    phase: Phase,
    wire: Wire,
}

/// What the loop is to do after a step.
pub(crate) enum Outcome {
    /// Wait for the socket, a deadline or a command.
    Wait,
    /// The turn's share is spent: go on in the next round.
    Yield,
    /// There is more to do, though the share is not spent: go on in the next round.
    Later,
    /// The connection has ended: close the socket this way, and free the slot.
    Gone(CloseHow),
    /// An outgoing connection did not become a WebSocket.
    Unopened(Box<Unopened>),
}

impl Conn {
    /// A connection that a listener accepted. `None` if it may not connect.
    pub(crate) fn accepted(
        env: &mut Env,
        id: ConnId,
        handle: Handle,
        peer: Address,
        entrance: Entrance,
    ) -> Option<Self> {
        let phase = if env.admission.is_proxy(&peer) {
            Phase::Proxied(Box::new(Proxied::new(&env.limits, env.state.now, entrance)))
        } else if !env.admit(id, handle, &peer, None, entrance.listener()) {
            return None;
        } else {
            match entrance {
                Entrance::Raw { endpoint, .. } => Phase::Raw(Box::new(Raw::new(endpoint))),
                Entrance::Http(site) => Phase::Http(Box::new(Http::new(&env.limits, env.state.now, site))),
                Entrance::Secured(secured) => {
                    Phase::Securing(Securing::new(&env.limits, env.state.now, &secured, None))
                }
            }
        };
        let socket = Socket::connected(&env.io, handle, &peer);
        Some(Self::new(phase, socket, peer))
    }

    /// A descriptor that the program gave to the loop.
    pub(crate) fn adopted(adopted: Adopted, endpoint: EndpointIndex, is_watched: bool) -> Self {
        let Adopted { handle, kind, peer, readable, writable } = adopted;
        let phase = if is_watched {
            Phase::Watched(Watched::new(endpoint, readable, writable))
        } else {
            Phase::Raw(Box::new(Raw::adopted(endpoint, readable, writable)))
        };
        let socket = Socket::new(handle, kind, &peer);
        Self::new(phase, socket, peer)
    }

    fn new(phase: Phase, socket: Socket, peer: Address) -> Self {
        Self { phase, wire: Wire::new(socket, peer) }
    }

    /// Calls `open` for a connection that needs no handshake.
    pub(crate) fn begin(&mut self, env: &mut Env, id: ConnId) {
        match &mut self.phase {
            Phase::Raw(raw) => raw.open(&self.wire, env, id),
            Phase::Watched(watched) => watched.open(&self.wire, env, id),
            Phase::Proxied(_)
            | Phase::Securing(_)
            | Phase::Http(_)
            | Phase::Exchange(_)
            | Phase::Opening(_)
            | Phase::WebSocket(_)
            | Phase::Linger(_) => {}
        }
    }

    pub(crate) fn peer(&self) -> &Address {
        &self.wire.peer
    }

    /// The earliest entry in the loop's timers.
    pub(crate) fn armed(&self) -> Instant {
        self.wire.armed
    }

    pub(crate) fn set_armed(&mut self, at: Instant) {
        self.wire.armed = at;
    }

    pub(crate) fn set_user_timer(&mut self, at: Option<Instant>) {
        self.wire.user_timer = at.unwrap_or(NEVER);
    }

    /// Notes what the poller reported.
    #[inline]
    pub(crate) fn note(&mut self, event: &crate::sys::Readiness) {
        self.wire.socket.note(event);
    }

    /// Whether its bytes come in records that are opened as a whole.
    pub(crate) fn is_sealed(&self) -> bool {
        self.wire.socket.is_sealed()
    }

    /// Whether it is a WebSocket, a raw connection or a request with a session, and not being closed.
    pub(crate) fn is_open(&self) -> bool {
        match &self.phase {
            Phase::WebSocket(ws) => ws.is_open(),
            Phase::Raw(raw) => !raw.is_ending(),
            Phase::Watched(watched) => !watched.is_ending(),
            Phase::Exchange(exchange) => exchange.is_open(),
            Phase::Proxied(_) | Phase::Securing(_) | Phase::Http(_) | Phase::Opening(_) | Phase::Linger(_) => false,
        }
    }

    /// Whether a step may have brought the deadline forward. The deadline of an open WebSocket
    /// moves back with each read; where it does not, `armed` was cleared.
    #[inline]
    pub(crate) fn needs_arming(&self) -> bool {
        self.wire.armed == NEVER || !matches!(&self.phase, Phase::WebSocket(ws) if ws.is_open())
    }

    /// The next moment at which this connection must be looked at.
    #[inline]
    pub(crate) fn deadline(&self) -> Instant {
        self.phase.deadline().min(self.wire.user_timer)
    }

    /// Moves the connection as far as it goes now.
    #[inline]
    pub(crate) fn step(&mut self, env: &mut Env, id: ConnId, entry: Entry) -> Outcome {
        env.io.meters.statistics.work.steps += 1;
        if env.io.meters.stopwatch.step(id) && look_at_the_clock(env) {
            return self.watched_step(env, id, entry);
        }
        let outcome = match &mut self.phase {
            Phase::WebSocket(ws) => match ws.step::<false>(&mut self.wire, env, id, entry) {
                Progress::Wait => Outcome::Wait,
                progress => self.after_progress(env, id, progress),
            },
            _ => self.other_step(env, id, entry),
        };
        debug_assert!(env.io.corked() == 0, "the cork is empty between connections");
        outcome
    }

    /// A step that is measured, and its callbacks in it: something stalled recently.
    #[cold]
    fn watched_step(&mut self, env: &mut Env, id: ConnId, entry: Entry) -> Outcome {
        let outcome = match &mut self.phase {
            Phase::WebSocket(ws) => {
                let progress = ws.step::<true>(&mut self.wire, env, id, entry);
                self.after_progress(env, id, progress)
            }
            _ => self.other_step(env, id, entry),
        };
        env.io.steps_over(0);
        debug_assert!(env.io.corked() == 0, "the cork is empty between connections");
        outcome
    }

    /// The outcome of a WebSocket's step.
    #[cold]
    fn after_progress(&mut self, env: &mut Env, id: ConnId, progress: Progress) -> Outcome {
        match (progress, &mut self.phase) {
            (Progress::Over, Phase::WebSocket(ws)) => {
                let step = ws.finish(&mut self.wire, env, id);
                self.follow(env, id, step)
            }
            (Progress::Wait | Progress::Over, _) => Outcome::Wait,
            (Progress::Yield, _) => Outcome::Yield,
            (Progress::Later, _) => Outcome::Later,
        }
    }

    /// A step of a phase other than WebSocket.
    #[cold]
    fn other_step(&mut self, env: &mut Env, id: ConnId, entry: Entry) -> Outcome {
        let wire = &mut self.wire;
        let step = match &mut self.phase {
            Phase::Proxied(proxied) => proxied.step(wire, env, id).map(Into::into),
            Phase::Securing(securing) => securing.step(wire, env, id).map(Into::into),
            Phase::Http(http) => http.step(wire, env, id).map(Into::into),
            Phase::Exchange(exchange) => {
                let step = exchange.step(wire, env, id, entry);
                return self.after_exchange(env, id, step);
            }
            Phase::Opening(opening) => match opening.step(wire, env, id) {
                Ok(step) => step.map(Into::into),
                Err(cause) => return self.fail(env, cause),
            },
            Phase::WebSocket(_) => return self.watched_step(env, id, entry),
            Phase::Raw(raw) => raw.step(wire, env, id, entry).map(Into::into),
            Phase::Watched(watched) => watched.step(wire, env, id, entry).map(Into::into),
            Phase::Linger(linger) => linger.step(wire, env).map(Into::into),
        };
        self.follow::<Phase>(env, id, step)
    }

    /// The outcome of an exchange. The next request has a step of its own, in a later round: what the last callbacks
    /// asked for comes first, and the requests of one peer cannot nest.
    fn after_exchange(&mut self, env: &mut Env, id: ConnId, step: Step<AfterExchange>) -> Outcome {
        let step = match step {
            Step::Next(AfterExchange::Request(via)) => {
                self.phase = Phase::Http(Box::new(Http::next(&env.limits, env.state.now, via)));
                let has_work = self.wire.socket.has_input() || env.state.lifecycle.is_ending();
                return if has_work { Outcome::Later } else { Outcome::Wait };
            }
            Step::Next(AfterExchange::Linger(linger)) => Step::Next(linger),
            Step::Wait => Step::Wait,
            Step::Yield => Step::Yield,
            Step::Later => Step::Later,
            Step::Gone(how) => Step::Gone(how),
        };
        self.follow(env, id, step)
    }

    /// Continues in the next phase, if one follows.
    fn follow<N: Into<Phase>>(&mut self, env: &mut Env, id: ConnId, step: Step<N>) -> Outcome {
        match step {
            Step::Wait => Outcome::Wait,
            Step::Yield => Outcome::Yield,
            Step::Later => Outcome::Later,
            Step::Next(next) => self.next_phase(env, id, next.into()),
            Step::Gone(how) => {
                // Bytes corked for this connection must not go to the next one.
                env.io.clear_cork();
                Outcome::Gone(how)
            }
        }
    }

    /// A step in the next phase. Phases follow each other and never come back, so this ends.
    #[cold]
    fn next_phase(&mut self, env: &mut Env, id: ConnId, phase: Phase) -> Outcome {
        self.phase.release(&self.wire, env);
        self.phase = phase;
        // A deadline that comes sooner than that of the phase before is armed after the step.
        if self.phase.deadline() < self.wire.armed {
            self.wire.armed = NEVER;
        }
        // `open` or `closed` may have been called.
        match env.state.registry.get(id) {
            Some(entry) => self.step(env, id, entry),
            None => Outcome::Gone(CloseHow::Normal),
        }
    }

    /// An outgoing connection failed to open.
    #[cold]
    fn fail(&mut self, env: &mut Env, cause: FailureCause) -> Outcome {
        env.io.clear_cork();
        self.give_up(cause).map_or(Outcome::Gone(CloseHow::Normal), Outcome::Unopened)
    }

    /// A deadline of this connection may be due.
    pub(crate) fn due(&mut self, env: &mut Env, id: ConnId) -> Outcome {
        let now = env.state.now;
        let Some(entry) = env.state.registry.get(id) else { return Outcome::Gone(CloseHow::Normal) };
        // Take a step before a deadline ends the connection. If the loop itself was held up
        // (stopped, or short of CPU time) the peer may have met the deadline, and the kernel
        // reports a limited number of sockets at a time.
        let ends = self.phase.ends_at().is_some_and(|at| at <= now);
        // Before a ping, too, if output waits: what the socket takes then was acknowledged before, and
        // only what it takes after that shows that the peer still reads.
        let measures = matches!(&self.phase, Phase::WebSocket(ws) if ws.is_ping_due(now));
        let mut last = Outcome::Wait;
        if ends || (measures && self.wire.socket.has_backlog()) {
            self.wire.socket.assume_ready();
            last = self.step(env, id, entry);
        }
        if matches!(last, Outcome::Gone(_) | Outcome::Unopened(_)) {
            return last;
        }
        let wire = &mut self.wire;
        let due: Due<Phase> = match &mut self.phase {
            Phase::WebSocket(ws) => ws.due(wire, env, id).map(Into::into),
            Phase::Raw(raw) => raw.due(wire, env, id).map(Into::into),
            Phase::Watched(watched) => watched.due(wire, env, id).map(Into::into),
            Phase::Exchange(exchange) => match exchange.due(wire, env, id) {
                Due::Over(step) => return self.after_exchange(env, id, step),
                Due::Step => Due::Step,
            },
            phase if phase.deadline() > now => return last,
            Phase::Proxied(proxied) => proxied.due(wire, env, id).map(Into::into),
            Phase::Securing(securing) => securing.due(wire, env, id).map(Into::into),
            Phase::Http(http) => http.due(wire, env, id).map(Into::into),
            Phase::Opening(opening) => {
                let cause = opening.timed_out(now);
                return self.fail(env, cause);
            }
            Phase::Linger(_) => Due::Over(Step::Gone(CloseHow::Reset)),
        };
        match due {
            Due::Over(step) => self.follow(env, id, step),
            // A timer's callback may have made requests.
            Due::Step => {
                let entry = env.state.registry.get(id).unwrap_or(entry);
                self.step(env, id, entry)
            }
        }
    }

    /// Starts the closing handshake, or the end of another connection.
    pub(crate) fn close(&mut self, close: Close, now: Instant, until: Instant) -> Closing {
        match &mut self.phase {
            Phase::WebSocket(ws) => ws.close(close, now),
            Phase::Raw(raw) => raw.end(RawClosed::Local, until),
            Phase::Watched(watched) => watched.end(RawClosed::Local),
            Phase::Exchange(exchange) => exchange.close(),
            Phase::Http(http) => return http.close(),
            Phase::Proxied(_) | Phase::Securing(_) => return Closing::Now,
            Phase::Opening(_) | Phase::Linger(_) => return Closing::Ignored,
        }
        Closing::Step
    }

    /// Ends the sending side of a raw connection. Returns whether a step is to do it.
    pub(crate) fn end_output(&mut self, until: Instant) -> bool {
        match &mut self.phase {
            Phase::Raw(raw) => raw.end_output(until),
            _ => return false,
        }
        true
    }

    /// Begins TLS on a raw connection. Returns whether a step is to do it.
    pub(crate) fn start_tls(&mut self, start: &TlsStart) -> bool {
        match &mut self.phase {
            Phase::Raw(raw) => raw.start_tls(start),
            _ => return false,
        }
        true
    }

    /// Carries out what is asked of a WebSocket beside its messages. Returns whether a frame waits to leave.
    pub(crate) fn control(&mut self, request: ControlRequest, now: Instant) -> bool {
        match &mut self.phase {
            Phase::WebSocket(ws) => ws.control(request, now),
            _ => false,
        }
    }

    /// Sets the limits of a WebSocket.
    pub(crate) fn set_limits(&mut self, limits: Arc<ProtocolLimits>) {
        if let Phase::WebSocket(ws) = &mut self.phase {
            ws.set_limits(limits);
        }
    }

    /// The service is being drained: WebSockets get 1001 (RFC 6455 section 7.4.1), raw connections
    /// end, and responders get `draining`. The other phases look at the service's lifecycle in their next step.
    pub(crate) fn drain(&mut self, now: Instant, until: Instant) {
        match &mut self.phase {
            Phase::Exchange(exchange) => exchange.drain(),
            Phase::WebSocket(_) | Phase::Raw(_) | Phase::Watched(_) => {
                self.close(CloseCode::GOING_AWAY.into(), now, until);
            }
            Phase::Proxied(_) | Phase::Securing(_) | Phase::Http(_) | Phase::Opening(_) | Phase::Linger(_) => {}
        }
    }

    /// Ends the connection without notifying the peer, and calls `closed` if it was open.
    pub(crate) fn abort(&mut self, env: &mut Env, id: ConnId, abort: Abort) {
        match &mut self.phase {
            Phase::WebSocket(ws) => ws.abort(&self.wire, env, id, abort.cause()),
            Phase::Raw(_) | Phase::Watched(_) => env.report_raw_closed(id, &self.wire.peer, abort.raw()),
            Phase::Exchange(exchange) => env.report_request_closed(exchange.id(), &self.wire.peer, abort.request()),
            Phase::Proxied(_) | Phase::Securing(_) | Phase::Http(_) | Phase::Opening(_) | Phase::Linger(_) => {}
        }
    }

    /// Gives up an outgoing connection that is not a WebSocket yet.
    pub(crate) fn give_up(&mut self, cause: FailureCause) -> Option<Box<Unopened>> {
        match &mut self.phase {
            Phase::Opening(opening) => opening.give_up(cause),
            _ => None,
        }
    }

    /// Sends what was published and pushed, or keeps it until what goes before it is sent. `apart`: what differs at this
    /// connection. `entry`: its own.
    pub(crate) fn publish(
        &mut self,
        io: &mut LoopIo,
        batch: &Rc<Framed>,
        apart: Option<&Apart>,
        id: ConnId,
        entry: Entry,
    ) -> Published {
        match &mut self.phase {
            Phase::WebSocket(ws) => match ws.publish(&mut self.wire.socket, io, batch, apart, (id, entry)) {
                // A step arms the deadline.
                Published::Sent(count) if ws.forgets_before(self.wire.armed) => Published::NeedsStep(count),
                published => published,
            },
            _ => Published::NotWanted,
        }
    }

    /// How many bytes wait for the socket, or for messages that go before them.
    pub(crate) fn queued_bytes(&self) -> usize {
        match &self.phase {
            Phase::WebSocket(ws) => ws.queued_bytes(&self.wire.socket),
            _ => self.wire.socket.backlog_bytes(),
        }
    }

    /// Closes the socket, and uncounts the connection of its address.
    pub(crate) fn close_socket(mut self, env: &mut Env, id: ConnId, how: CloseHow) {
        if let Some(entry) = env.state.registry.get(id).filter(|entry| entry.is_admitted()) {
            // An accepted connection has no endpoint before it is opened.
            let ended = if entry.endpoint == EndpointIndex::NONE { Ended::Unopened } else { Ended::Opened };
            env.admission.end(id, &self.wire.peer, ended);
        }
        if matches!(&self.phase, Phase::Http(http) if http.is_undecided()) {
            env.state.undecided.remove(id);
        }
        self.phase.release(&self.wire, env);
        self.wire.socket.close(&mut env.io, how);
    }
}

/// Measures the steps before this one. Returns whether to measure this one by itself.
#[cold]
fn look_at_the_clock(env: &mut Env) -> bool {
    env.io.steps_over(1);
    env.io.meters.stopwatch.is_watchful()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_no_larger_than_it_was() {
        assert!(size_of::<Conn>() <= 224, "{}", size_of::<Conn>());
        assert!(size_of::<Outcome>() <= 16, "{}", size_of::<Outcome>());
    }
}
