//! A connection to a listener of TLS before its handshake is done.
//!
//! A handshake costs a server more than anything else that a stranger can ask for: some 100 µs of signing, and memory until it is
//! done. So one begins only once the first byte of a hello is there, only so many begin in a turn, and only so
//! many are under way: the others wait, in the order in which they came, and cost no more than a connection that is idle.

use std::rc::Rc;

use sockeye_proto::conn::HEADROOM;
use sockeye_proto::handshake::server::refuse;
use sockeye_proto::time::Instant;

use crate::conn::env::Env;
use crate::conn::handshakes::Start;
use crate::conn::http::Http;
use crate::conn::linger::Linger;
use crate::conn::place::{HANDSHAKE_EFFORT, Place};
use crate::conn::policy::{Entrance, Secured};
use crate::conn::raw::Raw;
use crate::conn::step::{Due, Step};
use crate::conn::wire::Wire;
use crate::id::ConnId;
use crate::limits::Limits;
use crate::sys::{Address, CloseHow};
use crate::tls::Above;
use crate::transport::{Broken, Read, Shake, SocketWriter};

/// A connection whose handshake is awaited, or under way.
pub(super) struct Securing {
    /// The certificates, and where the connection begins after the handshake.
    secured: Rc<Secured>,
    /// The trusted proxy that the connection came through.
    proxy: Option<Address>,
    place: Place,
    /// It was counted as started, and has no outcome.
    is_counted: bool,
    deadline: Instant,
}

/// The phase that follows the handshake.
pub(super) enum AfterSecuring {
    Http(Box<Http>),
    Raw(Box<Raw>),
    Linger(Linger),
}

impl Securing {
    pub(super) fn new(limits: &Limits, accepted: Instant, secured: &Rc<Secured>, proxy: Option<Address>) -> Box<Self> {
        let deadline = accepted + limits.tls_handshake_timeout;
        Box::new(Self { secured: Rc::clone(secured), proxy, place: Place::None, is_counted: false, deadline })
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Reads and answers as far as socket and turn allow.
    pub(super) fn step(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId) -> Step<AfterSecuring> {
        if !self.place.is_running() {
            if !wire.socket.has_input() {
                // A drain does not wait for a connection that has not begun.
                let is_over = wire.socket.is_broken() || env.state.lifecycle.is_ending();
                return if is_over { Step::Gone(CloseHow::Normal) } else { Step::Wait };
            }
            match self.place.enter(wire, env, id) {
                Start::Now => {}
                Start::NextTurn => return Step::Later,
                Start::Waiting(_) => {
                    // Without the rest of its flight no handshake can be done: it gives its place back now.
                    let is_over = wire.socket.is_broken() || wire.socket.has_read_closed();
                    return if is_over { Step::Gone(CloseHow::Normal) } else { Step::Wait };
                }
                Start::Never => return Step::Gone(CloseHow::Reset),
            }
            match self.begin(wire, env) {
                Begun::Yes => {}
                Begun::NotYet => {
                    self.release(wire, env);
                    return Step::Wait;
                }
                Begun::Over(step) => return step,
            }
        }
        let (budget, most) = (env.share.bytes, env.limits.tls_handshake_bytes);
        match wire.socket.handshake(&mut env.io, &mut env.rx, budget, most, id) {
            Shake::Done => self.done(wire, env, id),
            Shake::Wait => Step::Wait,
            Shake::Yield => Step::Yield,
            Shake::Failed(broken) => {
                self.is_counted = false;
                failed(&broken, wire, env, id)
            }
        }
    }

    /// Looks at the first bytes, and begins the session.
    fn begin(&mut self, wire: &mut Wire, env: &mut Env) -> Begun {
        let count = match wire.socket.read(&mut env.io, &mut env.rx, FIRST_READ) {
            Read::Bytes(count) => count,
            Read::Sealed(_) | Read::Nothing => return Begun::NotYet,
            Read::End | Read::Failed(_) => return Begun::Over(Step::Gone(CloseHow::Normal)),
        };
        let first = &env.rx[HEADROOM..HEADROOM + count];
        let counters = &mut env.io.meters.statistics.tls;
        counters.started += 1;
        self.is_counted = true;
        if first.first() != Some(&HANDSHAKE) {
            self.is_counted = false;
            counters.not_tls += 1;
            return Begun::Over(refuse_plain(wire, env, count));
        }
        let above = match self.secured.then {
            Entrance::Raw { .. } => Above::Raw,
            Entrance::Http(_) | Entrance::Secured(_) => Above::Http,
        };
        // What a handshake costs, in bytes moved.
        env.io.note_effort(HANDSHAKE_EFFORT);
        match wire.socket.begin_server_tls(&mut env.io, &self.secured.tls, above, first) {
            Ok(()) => Begun::Yes,
            Err(failure) => {
                self.is_counted = false;
                env.io.meters.statistics.tls.refused += 1;
                tracing::warn!(peer = %wire.peer, %failure, "no TLS session could begin");
                Begun::Over(Step::Gone(CloseHow::Reset))
            }
        }
    }

    /// The handshake is done: the connection begins as others do.
    fn done(&mut self, wire: &Wire, env: &mut Env, id: ConnId) -> Step<AfterSecuring> {
        let counters = &mut env.io.meters.statistics.tls;
        let is_resumed = wire.socket.tls().is_some_and(|session| session.is_resumed());
        self.is_counted = false;
        *(if is_resumed { &mut counters.resumed } else { &mut counters.full }) += 1;
        if let Some(session) = wire.socket.tls() {
            let (cipher, group) = (session.cipher(), session.group());
            let version = session.version().map(tracing::field::display);
            let name = session.server_name();
            tracing::debug!(%id, peer = %wire.peer, version, cipher, group, name, is_resumed, "secured");
        }
        match &self.secured.then {
            Entrance::Http(site) => {
                let http = Http::new(&env.limits, env.state.now, Rc::clone(site));
                Step::Next(AfterSecuring::Http(Box::new(match self.proxy.take() {
                    Some(proxy) => http.through(proxy),
                    None => http,
                })))
            }
            Entrance::Raw { endpoint, .. } => {
                if env.state.lifecycle.is_ending() {
                    return Step::Gone(CloseHow::Normal);
                }
                let mut raw = Raw::new(*endpoint);
                raw.open(wire, env, id);
                Step::Next(AfterSecuring::Raw(Box::new(raw)))
            }
            // One handshake does not follow another.
            Entrance::Secured(_) => Step::Gone(CloseHow::Reset),
        }
    }

    /// The deadline passed.
    pub(super) fn due(&mut self, wire: &Wire, env: &mut Env, id: ConnId) -> Due<AfterSecuring> {
        let statistics = &mut env.io.meters.statistics;
        statistics.limits.tls_handshake_timeout += 1;
        if std::mem::take(&mut self.is_counted) {
            statistics.tls.late += 1;
        }
        tracing::debug!(%id, peer = %wire.peer, place = ?self.place, "the TLS handshake took too long");
        Due::Over(Step::Gone(CloseHow::Normal))
    }

    /// It is no longer under way: another one may be. Called whenever a connection leaves this phase, in whichever way.
    pub(super) fn release(&mut self, wire: &Wire, env: &mut Env) {
        // Neither the peer nor a rule ended it.
        env.io.meters.statistics.tls.aborted += u64::from(std::mem::take(&mut self.is_counted));
        self.place.leave(wire, env);
    }
}

/// The beginning of a session.
enum Begun {
    Yes,
    /// Nothing was there to read.
    NotYet,
    Over(Step<AfterSecuring>),
}

/// The type of a record with a hello (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;
/// What is read to see how a connection begins: a hello, or the head of a request.
const FIRST_READ: usize = 16 * 1024;

/// What arrived is not TLS. A request gets an answer that a person can act on, in plain text as it was asked.
fn refuse_plain(wire: &mut Wire, env: &mut Env, count: usize) -> Step<AfterSecuring> {
    let first = &env.rx[HEADROOM..HEADROOM + count];
    let is_request = first.iter().take_while(|byte| byte.is_ascii_uppercase()).count() >= 3;
    let hint = if is_request { "plain HTTP; is the URL to begin with https: or wss:?" } else { "no TLS" };
    tracing::debug!(peer = %wire.peer, hint, "refused on a listener of TLS");
    if !is_request {
        return Step::Gone(CloseHow::Reset);
    }
    let date = env.io.sys.wall_clock();
    env.io.meters.statistics.responded(400);
    refuse(env.io.cork(), 400, "this port speaks TLS: use https:// or wss://", Some(date));
    SocketWriter::new(&mut env.io, &mut wire.socket).flush();
    Step::Next(AfterSecuring::Linger(Linger::begin(wire, env)))
}

/// The handshake failed. An alert that says why is on its way.
fn failed(broken: &Broken, wire: &mut Wire, env: &mut Env, id: ConnId) -> Step<AfterSecuring> {
    let statistics = &mut env.io.meters.statistics;
    match broken {
        Broken::Rule(failure) => {
            statistics.tls.refused += 1;
            tracing::debug!(%id, peer = %wire.peer, %failure, "the TLS handshake failed");
        }
        Broken::TooLong => {
            statistics.tls.refused += 1;
            statistics.limits.tls_handshake_bytes += 1;
            tracing::debug!(%id, peer = %wire.peer, "the TLS handshake is too long");
        }
        Broken::Ended | Broken::Io(_) => {
            statistics.tls.ended += 1;
            tracing::debug!(%id, peer = %wire.peer, ?broken, "the peer ended the TLS handshake");
            return Step::Gone(CloseHow::Normal);
        }
    }
    Step::Next(AfterSecuring::Linger(Linger::begin(wire, env)))
}
