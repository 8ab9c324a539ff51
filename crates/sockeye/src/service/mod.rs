//! The loop: one thread, many connections, written when they can take it.

mod accept;
mod adopt;
mod builder;
mod connecting;
mod control;
mod external;
mod listen;
mod publish;
mod remote;
mod stalls;
#[cfg(test)]
mod tests;
mod timers;
mod turn;

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye_proto::close::{Cause, CloseCode};
use sockeye_proto::time::Instant;

use self::accept::Accepting;
use self::connecting::Connecting;
use self::timers::Timers;
use crate::conn::{Conn, Phase, Stage};
use crate::error::Error;
use crate::poll::Registrations;
use crate::protocol::RawClosed;
use crate::shared::EndpointIndex;
use crate::statistics::{Place, Statistics};
use crate::sys::{Address, CloseHow, Readiness};

pub use self::builder::Builder;
pub use self::control::Control;
pub use self::listen::ListenAddr;
pub(crate) use self::listen::Source;
pub(crate) use self::remote::{Job, Jobs, put_all};
pub use self::remote::{Remote, RemoteError};
pub use crate::conn::admission::{Hosts, Origins};
pub use crate::conn::network::{InvalidPeerSet, PeerSet};

/// WebSocket servers and clients in one thread: sockets, protocols, and the loop that moves them.
///
/// It is `!Send`: it stays on the thread that built it, and so does everything that it lends. Other threads reach it
/// through a [`Remote`].
///
/// ```no_run
/// use sockeye::{Service, messages};
///
/// # fn main() -> Result<(), sockeye::Error> {
/// let echo = messages::echo("echo");
/// let mut service = Service::builder().protocol(echo).listen("127.0.0.1:9001").build()?;
/// service.run()
/// # }
/// ```
///
/// ```compile_fail
/// fn send<T: Send>() {}
/// send::<sockeye::Service>();
/// ```
pub struct Service {
    stays: PhantomData<*mut ServiceStaysOnItsThread>,
    stage: Stage,
    /// By slot of the connection's id; `stage.shared.live` says which generation is there.
    conns: Vec<Option<Conn>>,
    ticks: Vec<Tick>,
    accepting: Accepting,
    connecting: Connecting,
    /// Adoptions that are about to be carried out, behind the present one.
    adopting: usize,
    max_connections: usize,
    timers: Timers,
    /// The deadlines of this turn, while they are seen to.
    due: Vec<(Instant, crate::ConnId)>,
    jobs: Arc<Jobs>,
    events: Vec<Readiness>,
    /// Connections whose steps ended in this turn; their slots are freed at its end.
    dead: Vec<crate::ConnId>,
    draining: Option<Instant>,
    /// [`Service::run_once`] has said that it is drained.
    is_end_told: bool,
    /// What a loop of the program's own watches for this one.
    external: Option<Rc<RefCell<Registrations>>>,
    /// The last look at the poller brought as much as it can: there may be more.
    crowded: bool,
}

/// What the compiler names when a service is sent to another thread: build it there, or reach it through a [`Remote`].
struct ServiceStaysOnItsThread;

/// A protocol's regular callback.
struct Tick {
    endpoint: EndpointIndex,
    every: Duration,
    next: Instant,
    /// No connection of the protocol is open: nothing to do until one is.
    resting: bool,
}

/// What [`Service::run_once`] came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ServiceState {
    /// The service goes on.
    Running,
    /// It was drained and the last connection is gone: nothing will happen any more.
    Drained,
}

impl Service {
    /// Begins to describe a service.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Runs until the service is drained; see [`Commands::drain`](crate::Commands::drain).
    ///
    /// # Errors
    /// The poller's, which it cannot work without. What goes wrong with a connection ends that connection only.
    pub fn run(&mut self) -> Result<(), Error> {
        while self.run_once(None)? == ServiceState::Running {}
        Ok(())
    }

    /// One turn: waits for something to do, at most `timeout` (`None`: as long as it takes, zero: not at all), and does
    /// it. A deadline of the service itself may end the wait sooner. With a [`PollHook`](crate::poll::PollHook) it never waits,
    /// whatever the timeout.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_once(&mut self, timeout: Option<Duration>) -> Result<ServiceState, Error> {
        let progress = turn::turn(self, timeout)?;
        self.is_end_told = progress == ServiceState::Drained;
        Ok(progress)
    }

    /// When the service next has something to do of its own accord; `None`: only when a socket or another thread says
    /// so. A moment that is past means now, and so does the end of a drain, until [`run_once`](Self::run_once) has told of it.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        // The end of a drain is something to do too: to say so, once. And so are the slots of connects that were called
        // off between turns.
        if self.stage.shared.has_wishes()
            || (self.is_drained() && !self.is_end_told)
            || !self.dead.is_empty()
            || self.has_reports()
            || self.crowded
        {
            return Some(self.stage.shared.now);
        }
        if self.is_drained() {
            return None;
        }
        let ticks = self
            .ticks
            .iter()
            .filter(|tick| {
                let endpoint = self.stage.endpoints.get(tick.endpoint.get());
                (self.stage.shared.opened || !tick.resting) && endpoint.is_some_and(|endpoint| endpoint.sessions() > 0)
            })
            .map(|tick| tick.next);
        let pauses =
            self.accepting.retry_at().into_iter().chain(self.draining).chain(self.stage.shared.pool.borrow().look_at());
        let page = self.stage.place.as_ref().and_then(Place::deadline);
        self.timers.next().into_iter().chain(ticks).chain(pauses).chain(page).min()
    }

    /// Where the service listens, in the order of [`Builder::listen`], with the ports that were really taken.
    #[must_use]
    pub fn local_addresses(&self) -> &[Address] {
        self.accepting.addresses()
    }

    /// How many connections there may be at once: [`Limits::connections`](crate::Limits::connections), and no more than the
    /// descriptor limit at start less the descriptors in use then and 16.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// How many connections there are, of any kind.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.stage.shared.live.len()
    }

    /// What the service has done since it was built.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.stage.outlet.statistics
    }

    /// A handle for other threads.
    #[must_use]
    pub fn remote(&self) -> Remote {
        Remote::new(self.jobs.clone())
    }

    /// What may be asked of the service between turns.
    pub fn control(&mut self) -> Control<'_> {
        // The last turn may be long ago, and what is asked for begins now.
        self.stage.shared.now = self.stage.outlet.sys.now();
        Control { service: self }
    }

    /// Ends in good order: see [`Commands::drain`](crate::Commands::drain).
    pub fn drain(&mut self) {
        self.stage.shared.drain();
    }

    /// The connection of a live id.
    #[inline]
    fn conn(&mut self, id: crate::ConnId) -> Option<&mut Conn> {
        if !self.stage.shared.live.contains_key(id) {
            return None;
        }
        self.conns.get_mut(id.slot()).and_then(Option::as_mut)
    }

    /// Whether the loop outside, if there is one, said something that was not looked at.
    fn has_reports(&self) -> bool {
        self.external.as_ref().is_some_and(|watch| watch.borrow().has_reports())
    }

    /// Whether it is being drained, or was: from the moment at which that was asked for.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_some() || self.stage.shared.drain
    }

    fn is_drained(&self) -> bool {
        self.draining.is_some() && self.stage.shared.live.is_empty()
    }

    /// Starts draining: listeners are closed at once, WebSockets get 1001, raw connections and idle HTTP connections end.
    fn start_drain(&mut self) {
        if self.draining.is_some() {
            return;
        }
        // What was published before leaves before the close frames, behind which nothing may follow.
        self.flush_publishes();
        let now = self.stage.shared.now;
        let until = now + self.stage.limits.protocol.close_timeout;
        self.draining = Some(until);
        self.stage.policy.draining = true;
        self.accepting.close_all(&mut *self.stage.outlet.sys);
        self.cancel_all();
        let ids: Vec<_> = self.stage.shared.live.keys().collect();
        for id in ids {
            if let Some(conn) = self.conn(id) {
                match &mut conn.phase {
                    Phase::Ws(ws) => ws.close(CloseCode::GOING_AWAY.into(), now),
                    Phase::Http(http) => http.end_after_response(),
                    Phase::Raw(raw) => raw.end(RawClosed::Local, until),
                    Phase::Opening(_) | Phase::Proxied(_) | Phase::Linger(_) => {}
                }
                self.stage.shared.enqueue(id);
            }
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("local_addresses", &self.local_addresses())
            .field("connections", &self.connections())
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

/// Every open connection gets its `closed`, with cause [`Dropped`](Cause::Dropped) or [`RawClosed::Dropped`], before the
/// sockets are closed; every connect that has no outcome yet gets its `failed`. What these last callbacks wish for is
/// not carried out.
impl Drop for Service {
    fn drop(&mut self) {
        self.jobs.end();
        self.stage.policy.draining = true;
        self.cancel_all();
        let ids: Vec<_> = self.stage.shared.live.keys().collect();
        for id in ids {
            let Self { stage, conns, .. } = self;
            let Some(mut conn) = conns.get_mut(id.slot()).and_then(Option::take) else { continue };
            match &mut conn.phase {
                Phase::Ws(ws) => {
                    ws.abort(Cause::Dropped);
                    let closed = ws.closed();
                    crate::conn::ws::tell_closed(stage, id, &conn.peer, closed);
                }
                Phase::Raw(_) => crate::conn::raw::tell_closed(stage, id, &conn.peer, RawClosed::Dropped),
                Phase::Http(_) | Phase::Opening(_) | Phase::Proxied(_) | Phase::Linger(_) => {}
            }
            stage.outlet.sys.close(conn.link.handle, CloseHow::Normal);
        }
        self.accepting.close_all(&mut *self.stage.outlet.sys);
    }
}
