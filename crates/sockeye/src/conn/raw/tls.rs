//! TLS that begins on an open connection.
//!
//! ```text
//!  plain ── start_tls ─▶ what is queued leaves, plain ─▶ handshake ─▶ `secured` ─▶ sealed
//!                                                            └─▶ `tls_failed`, `closed`
//! ```
//!
//! What to know before editing: between the order and `secured` nothing is delivered, and nothing can be written. All that
//! was not delivered before, and what the program gave back, is the beginning of the peer's handshake, and never
//! anything else. So plaintext behind the command that begins TLS ends the connection, and is not taken for something that
//! came inside (CVE-2011-0411).

use std::io;

use sockeye_proto::conn::HEADROOM;

use crate::conn::call::Caller;
use crate::conn::env::Env;
use crate::conn::handshakes::Start;
use crate::conn::linger::Linger;
use crate::conn::place::HANDSHAKE_EFFORT;
use crate::conn::raw::starting::Starting;
use crate::conn::raw::{Callbacks, Output, Raw};
use crate::conn::step::Step;
use crate::conn::wire::{NEVER, Wire};
use crate::id::ConnId;
use crate::protocol::{RawClosed, RawCx};
use crate::state::TlsStart;
use crate::statistics::Culprit;
use crate::sys::{CloseHow, DescriptorKind};
use crate::tls::{Above, Role, TlsFailure};
use crate::transport::{Broken, LoopIo, Read, Shake, Socket, SocketWriter};

impl Raw {
    /// TLS is to begin, once what is queued has left.
    pub(in crate::conn) fn start_tls(&mut self, start: &TlsStart) {
        if self.is_ending() || self.starting.is_some() {
            return tracing::debug!("TLS does not begin: the connection ends, or it begins already");
        }
        self.starting = Some(Box::new(Starting::new(start.clone())));
    }

    /// Moves the beginning of TLS as far as socket and turn allow.
    pub(super) fn step_starting(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId) -> Step<Linger> {
        let is_ending = self.is_ending();
        let Some(starting) = &mut self.starting else { return Step::Wait };
        if is_ending {
            self.release(wire, env);
            self.starting = None;
            return Step::Later;
        }
        if starting.deadline == NEVER {
            starting.deadline = env.state.now + env.limits.tls_handshake_timeout;
        }
        if !starting.is_begun {
            SocketWriter::new(&mut env.io, &mut wire.socket).flush();
            if wire.socket.is_broken() {
                let error = env.io.take_send_error().unwrap_or(io::ErrorKind::ConnectionReset);
                return self.unsecured(wire, env, id, Broken::Io(error));
            }
            if wire.socket.has_backlog() {
                return if wire.socket.needs_step() { Step::Later } else { Step::Wait };
            }
            match self.begin(wire, env, id) {
                Ok(()) => {}
                Err(step) => return step,
            }
        }
        let (budget, most) = (env.share.bytes, env.limits.tls_handshake_bytes);
        match wire.socket.handshake(&mut env.io, &mut env.rx, budget, most, id) {
            Shake::Done => self.secured(wire, env, id),
            Shake::Wait => Step::Wait,
            Shake::Yield => Step::Yield,
            Shake::Failed(broken) => self.unsecured(wire, env, id, broken),
        }
    }

    /// Begins the session, if it is its turn.
    fn begin(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId) -> Result<(), Step<Linger>> {
        let is_open = self.output == Output::Open;
        let Some(starting) = &mut self.starting else { return Err(Step::Wait) };
        let why = if wire.socket.kind() != DescriptorKind::Stream {
            Some("the descriptor is not a stream socket")
        } else if wire.socket.tls().is_some() {
            Some("the connection speaks TLS already")
        } else if !is_open {
            Some("the sending side was ended")
        } else {
            None
        };
        if let Some(why) = why {
            return Err(self.unsecured(wire, env, id, Broken::Rule(TlsFailure::misplaced(why))));
        }
        if wire.socket.has_kept() {
            if let Read::Bytes(count) = wire.socket.read(&mut env.io, &mut env.rx, usize::MAX) {
                starting.start.rest.extend_from_slice(&env.rx[HEADROOM..HEADROOM + count]);
            }
        }
        if starting.is_server() {
            if starting.start.rest.is_empty() && !wire.socket.has_input() {
                return Err(Step::Wait);
            }
            match starting.place.enter(wire, env, id) {
                Start::Now => {}
                Start::NextTurn => return Err(Step::Later),
                // Without the rest of its flight no handshake can be done: it gives its place back now.
                Start::Waiting(_) if wire.socket.has_read_closed() => {
                    return Err(self.unsecured(wire, env, id, Broken::Ended));
                }
                Start::Waiting(_) => return Err(Step::Wait),
                Start::Never => {
                    env.report_raw_closed(id, &wire.peer, RawClosed::Reset);
                    return Err(Step::Gone(CloseHow::Reset));
                }
            }
            env.io.meters.statistics.tls.started += 1;
            starting.is_counted = true;
        }
        env.io.note_effort(HANDSHAKE_EFFORT);
        let first = std::mem::take(&mut starting.start.rest);
        let (io, socket) = (&mut env.io, &mut wire.socket);
        let begun = match &starting.start.role.0 {
            Role::Server(tls) => socket.begin_server_tls(io, tls, Above::Raw, &first),
            #[cfg(feature = "client")]
            Role::Client(tls, name) => socket.begin_client_tls(io, tls, Above::Raw, name, &first),
        };
        starting.is_begun = true;
        begun.map_err(|failure| self.unsecured(wire, env, id, Broken::Rule(failure)))
    }

    /// The handshake is done: what follows is sealed.
    fn secured(&mut self, wire: &Wire, env: &mut Env, id: ConnId) -> Step<Linger> {
        let Some(mut starting) = self.starting.take() else { return Step::Later };
        starting.place.leave(wire, env);
        if let Some(session) = wire.socket.tls() {
            if starting.is_counted {
                let counters = &mut env.io.meters.statistics.tls;
                *(if session.is_resumed() { &mut counters.resumed } else { &mut counters.full }) += 1;
            }
            let (cipher, group) = (session.cipher(), session.group());
            let version = session.version().map(tracing::field::display);
            tracing::debug!(%id, peer = %wire.peer, version, cipher, group, is_resumed = session.is_resumed(), "secured");
        }
        let until = self.end_deadline(env);
        if let Some(mut callbacks) = callbacks(wire, env, id) {
            let (callbacks, io) = &mut callbacks;
            callbacks.cx.tls = wire.socket.tls();
            let result = callbacks.call_rarely(io, Culprit::Secured, |raw, cx, session, _| raw.secured(cx, session));
            self.apply(&mut callbacks.cx, result, RawClosed::Local, until);
        }
        env.state.leave();
        Step::Later
    }

    /// The handshake failed. An alert that says why is on its way.
    #[cold]
    fn unsecured(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId, broken: Broken) -> Step<Linger> {
        let Some(starting) = &mut self.starting else { return Step::Later };
        env.io.meters.statistics.limits.tls_handshake_bytes += u64::from(matches!(broken, Broken::TooLong));
        let (failure, error) = match broken {
            Broken::Rule(failure) => (Some(failure), io::ErrorKind::InvalidData),
            Broken::TooLong => (Some(TlsFailure::too_many_bytes()), io::ErrorKind::InvalidData),
            Broken::Ended => (Some(starting.closed_by_peer()), io::ErrorKind::UnexpectedEof),
            Broken::Io(error) => (None, error),
        };
        if std::mem::take(&mut starting.is_counted) {
            let statistics = &mut env.io.meters.statistics;
            *(if error == io::ErrorKind::InvalidData {
                &mut statistics.tls.refused
            } else {
                &mut statistics.tls.ended
            }) += 1;
        }
        if let Some(failure) = failure {
            tracing::debug!(%id, peer = %wire.peer, %failure, "the TLS handshake failed");
            if let Some((mut callbacks, io)) = callbacks(wire, env, id) {
                tell(&mut callbacks, io, &failure);
            }
            env.state.leave();
        }
        env.report_raw_closed(id, &wire.peer, RawClosed::Broken(Some(error)));
        if wire.socket.is_broken() {
            return Step::Gone(CloseHow::Normal);
        }
        Step::Next(Linger::begin(wire, env))
    }

    /// A read failed. If TLS is the reason, the program hears it.
    #[cold]
    #[expect(clippy::unused_self, reason = "a function would have to be imported from here")]
    pub(super) fn tell_failure(&self, callbacks: &mut Callbacks<'_>, io: &mut LoopIo, socket: &mut Socket) {
        if let Some(failure) = socket.take_tls_failure() {
            tell(callbacks, io, &failure);
        }
    }

    /// The handshake took too long.
    pub(super) fn note_late(&mut self, env: &mut Env) {
        let Some(starting) = &mut self.starting else { return };
        let statistics = &mut env.io.meters.statistics;
        statistics.limits.tls_handshake_timeout += 1;
        statistics.tls.late += u64::from(std::mem::take(&mut starting.is_counted));
    }

    /// Its handshake is no longer under way, if it was.
    pub(in crate::conn) fn release(&mut self, wire: &Wire, env: &mut Env) {
        if let Some(starting) = &mut self.starting {
            // Neither the peer nor a rule ended it.
            env.io.meters.statistics.tls.aborted += u64::from(std::mem::take(&mut starting.is_counted));
            starting.place.leave(wire, env);
        }
    }
}

fn tell(callbacks: &mut Callbacks<'_>, io: &mut LoopIo, failure: &TlsFailure) {
    callbacks.call_rarely(io, Culprit::TlsFailed, |raw, cx, session, _| raw.tls_failed(cx, session, failure));
}

/// The endpoint and its context, in a step that the caller ends.
fn callbacks<'a>(wire: &'a Wire, env: &'a mut Env, id: ConnId) -> Option<(Callbacks<'a>, &'a mut LoopIo)> {
    let entry = env.state.registry.get(id).filter(|entry| entry.is_open())?;
    env.state.enter(id, entry, env.share);
    let Env { io, state, endpoints, .. } = env;
    let endpoint = endpoints.raw(entry.endpoint)?;
    let cx = RawCx::new(state, entry.endpoint, id, &wire.peer);
    Some((Caller { endpoint, session: entry.session, cx }, io))
}
