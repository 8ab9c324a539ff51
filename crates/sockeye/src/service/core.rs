//! The parts of a service. Each other file of this folder adds its methods for one subject.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye_proto::time::Instant;

use crate::conn::{Abort, Env, NEVER};
use crate::error::Error;
use crate::id::ConnId;
use crate::service::accepting::Accepting;
use crate::service::connecting::Connecting;
use crate::service::connections::Connections;
use crate::service::jobs::JobQueue;
use crate::service::places::Share;
use crate::service::timers::Timers;
use crate::state::{EndpointIndex, Lifecycle};
use crate::statistics::{BoardSlot, Statistics};
use crate::sys::external::Registrations;
use crate::sys::{Address, CloseHow, Readiness};
use crate::transport::pool::release;

/// WebSocket servers and clients in one thread: sockets, protocols, and the loop that drives them.
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
/// # Threads
///
/// It is `!Send`: it stays on the thread that built it, and so does everything borrowed from it. Other threads reach it
/// through a [`Remote`](crate::Remote).
///
/// ```compile_fail
/// fn send<T: Send>() {}
/// send::<sockeye::Service>();
/// ```
///
/// To have a service on another thread, build it there. What can fail early is done before, such as opening the listener, and
/// what the closure captures is sent:
///
/// ```
/// use std::net::TcpListener;
/// use std::{sync::mpsc, thread};
///
/// use sockeye::{Error, Service, messages};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let (sender, receiver) = mpsc::channel();
/// let worker = thread::spawn(move || -> Result<(), Error> {
///     let mut service = Service::builder().protocol(messages::echo("echo")).listen(listener).build()?;
///     let _ = sender.send(service.remote());
///     service.run()
/// });
/// let remote = receiver.recv()?; // an error when the service could not be built
/// remote.run(|control| control.drain())?;
/// worker.join().unwrap()?;
/// # Ok(()) }
/// ```
///
/// [`Threads`](crate::Threads) does this for several services.
///
/// A program that guards a service by its own means, such as a binding for another language that takes a lock around each call,
/// may move it with a wrapper that it declares `Send`, which is `unsafe`. The library has no thread-locals and compares no
/// thread ids, so this is sound under three conditions: no call of the service is running and nothing borrowed from it is alive;
/// the move happens before the next call on the new thread, by a lock or a channel; and everything that the program gave to the
/// service may be on the new thread too, so no `Rc` in a protocol, a session, a route or a hook has a clone that stays behind.
/// Dropping the service counts as a call.
pub struct Service {
    pub(super) stays: PhantomData<*mut ServiceStaysOnItsThread>,
    pub(super) env: Env,
    pub(super) connections: Connections,
    pub(super) ticks: Vec<Tick>,
    pub(super) accepting: Accepting,
    pub(super) connecting: Connecting,
    /// The rest of the adoptions being carried out.
    pub(super) adopting: usize,
    pub(super) max_connections: usize,
    /// Its part of the limit that it has in common with other services.
    pub(super) places: Option<Share>,
    pub(super) timers: Timers,
    /// The deadlines of this turn, while they are handled.
    pub(super) due: Vec<(Instant, ConnId)>,
    pub(super) jobs: Arc<Jobs>,
    pub(super) events: Vec<Readiness>,
    /// Connections whose steps ended in this turn; their slots are freed at its end.
    pub(super) dead: Vec<ConnId>,
    /// [`Service::run_once`] has reported the end of the drain.
    pub(super) end_reported: bool,
    /// A turn has begun. It stays so if a callback panics in it.
    pub(super) is_in_turn: bool,
    /// What the program's own loop watches for this service.
    pub(super) external: Option<Rc<RefCell<Registrations>>>,
    /// When the last turn ended, if the clock was read then.
    pub(super) ended_at: Option<Instant>,
    /// The last wait returned a full batch of events: there may be more.
    pub(super) crowded: bool,
    /// Connections that are being closed may be on the ready list.
    pub(super) closing_waits: bool,
    /// When a warning last said that connections were shed.
    pub(super) shed_warned: Option<Instant>,
}

/// Named in the compiler's error when a service is sent to another thread: build it there, or reach
/// it through a [`Remote`](crate::Remote).
pub(super) struct ServiceStaysOnItsThread;

/// A protocol's regular callback.
pub(super) struct Tick {
    pub(super) endpoint: EndpointIndex,
    pub(super) every: Duration,
    pub(super) next: Instant,
    /// With no connection, too.
    pub(super) alone: bool,
    /// No connection of the protocol is open: nothing to do until one is.
    pub(super) resting: bool,
}

/// Access to a service between two callbacks: for jobs of a [`Remote`](crate::Remote), and for the
/// program between turns.
///
/// It dereferences to [`Commands`](crate::Commands), so its methods are those of the callbacks. The
/// loop carries out the requests: no callback runs before [`Service::run_once`] or
/// [`Service::run`], and [`Service::next_deadline`] shows that work is pending. A control cannot
/// run the loop, so turns do not nest.
///
/// ```
/// use sockeye::{CloseCode, Connect, Service, messages};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut builder = Service::builder();
/// let feed = builder.add_protocol(messages::on("feed", |_, _| Ok(())));
/// let mut service = builder.build()?;
/// let id = service.control().protocol(feed)?.connect(Connect::new("ws://127.0.0.1:9/")?);
/// service.control().connection(id)?.close(CloseCode::NORMAL);
/// # Ok(()) }
/// ```
pub struct Control<'a> {
    pub(super) service: &'a mut Service,
}

/// A closure that runs on the loop's thread.
pub(crate) type Job = Box<dyn FnOnce(&mut Control<'_>) + Send>;

/// The jobs that wait for a service.
pub(crate) type Jobs = JobQueue<Job>;

/// The result of [`Service::run_once`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ServiceState {
    /// The service goes on.
    Running,
    /// It was drained and the last connection is gone: nothing more will happen.
    Drained,
}

impl Service {
    /// Runs until the service is drained ([`Commands::drain`](crate::Commands::drain)), or until it [is
    /// idle](Self::is_idle): so a client ends when its connections have ended.
    ///
    /// # Errors
    /// Errors of the poller, which the loop cannot work without. An error of a connection ends that
    /// connection only. After a callback has panicked and the program has caught that, every call fails
    /// ([`Error::is_panic`]): what was half done could reach another connection.
    pub fn run(&mut self) -> Result<(), Error> {
        let mut follows = false;
        while !self.is_idle() {
            if self.next_turn(None, follows)? == ServiceState::Drained {
                break;
            }
            follows = true;
        }
        Ok(())
    }

    fn next_turn(&mut self, timeout: Option<Duration>, follows: bool) -> Result<ServiceState, Error> {
        let state = self.turn(timeout, follows)?;
        self.end_reported = state == ServiceState::Drained;
        Ok(state)
    }

    /// Whether nothing can give the service work any more, until the program does: it has no listener, no connection, none that
    /// is being made or waits for its next attempt, no timer of a protocol or endpoint, no request to carry out, and no
    /// [`Remote`](crate::Remote) exists. A program with a loop of its own may end it then;
    /// [`run_once`](Self::run_once) waits for its timeout all the same.
    ///
    /// ```
    /// use sockeye::{Connect, Service, messages};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut builder = Service::builder();
    /// let once = builder.add_protocol(messages::on("once", |_, _| Ok(())));
    /// let mut service = builder.build()?;
    /// assert!(service.is_idle());
    /// service.control().protocol(once)?.connect(Connect::new("ws://127.0.0.1:9/")?);
    /// assert!(!service.is_idle());
    /// service.run()?; // the connect fails, and then the service is idle
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let state = &self.env.state;
        state.registry.is_empty()
            && self.dead.is_empty()
            && !self.accepting.is_open()
            && !state.lifecycle.is_ending()
            && state.own_timers.next().is_none()
            && !state.has_work()
            // A service that panicked in a turn says so in the next.
            && !self.is_in_turn
            && self.jobs.is_idle()
    }

    /// Runs one turn: waits for work for at most `timeout` (`None`: without limit, zero: not at
    /// all), and does it. A deadline of the service itself may end the wait sooner. With a
    /// [`PollHook`](crate::poll::PollHook) it never waits, even with a timeout.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_once(&mut self, timeout: Option<Duration>) -> Result<ServiceState, Error> {
        self.next_turn(timeout, false)
    }

    /// When the service next has work without an event from a socket or another thread; `None` if
    /// only such an event gives it work. A moment in the past means now. The end of a drain counts
    /// as work until [`run_once`](Self::run_once) has reported it.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        // Reporting the end of a drain, once, is work too. So is freeing the slots of connects that
        // were cancelled between turns.
        let is_drained = self.is_drained();
        if self.env.state.has_work()
            || (is_drained && !self.end_reported)
            || !self.dead.is_empty()
            || self.has_reports()
            || self.crowded
        {
            return Some(self.env.state.now);
        }
        if is_drained {
            return None;
        }
        let mut next = self.timers.next().unwrap_or(NEVER);
        let mut take = |other: Option<Instant>| next = next.min(other.unwrap_or(NEVER));
        take(self.env.state.own_timers.next());
        take(self.accepting.retry_at());
        take(self.env.state.lifecycle.drain_deadline());
        take(self.env.state.pool.borrow().look_at());
        take(self.env.io.look_at());
        take(self.env.board.as_ref().and_then(BoardSlot::deadline));
        take(self.env.state.holdings.window_ends());
        for tick in &self.ticks {
            let endpoint = self.env.endpoints.get(tick.endpoint);
            let is_awake = self.env.state.opened || !tick.resting;
            let is_due = tick.alone || endpoint.is_some_and(|endpoint| endpoint.sessions() > 0);
            take((is_awake && is_due).then_some(tick.next));
        }
        (next != NEVER).then_some(next)
    }

    /// Where the service listens, in the order of [`Builder::listen`](crate::Builder::listen), with
    /// the actual ports.
    #[must_use]
    pub fn local_addresses(&self) -> &[Address] {
        self.accepting.addresses()
    }

    /// How many connections there may be at once:
    /// [`Limits::connections`](crate::Limits::connections), and no more than the descriptor limit
    /// at start less the descriptors in use then and 16.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// How many connections there are, of any kind.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.env.state.registry.len()
    }

    /// What the service has done since it was built.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.env.io.meters.statistics
    }

    /// Access to the service between turns.
    pub fn control(&mut self) -> Control<'_> {
        // The last turn may be long ago, and requests begin now.
        self.env.state.now = self.env.io.sys.now();
        Control { service: self }
    }

    /// Shuts down gracefully: see [`Commands::drain`](crate::Commands::drain).
    pub fn drain(&mut self) {
        self.control().drain();
    }

    /// Whether an external loop, if there is one, reported something that was not handled yet.
    pub(super) fn has_reports(&self) -> bool {
        self.external.as_ref().is_some_and(|watch| watch.borrow().has_reports())
    }

    /// Whether a drain was requested, is running or is done.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.env.state.is_draining()
    }

    pub(super) fn is_drained(&self) -> bool {
        self.env.state.lifecycle.is_ending() && self.env.state.registry.is_empty()
    }

    /// Starts a requested drain: listeners are closed at once, WebSockets get 1001, raw connections
    /// and idle HTTP connections end.
    #[inline]
    pub(super) fn start_requested_drain(&mut self) {
        if self.env.state.lifecycle.is_drain_requested() {
            self.start_drain();
        }
    }

    #[cold]
    fn start_drain(&mut self) {
        // What was asked to be closed before keeps its own code.
        self.carry_out_requested_ends();
        // What was published before leaves before the close frames, behind which nothing may follow.
        self.flush_publishes();
        let now = self.env.state.now;
        let until = now + self.env.limits.protocol.close_timeout;
        self.env.state.lifecycle = Lifecycle::Draining(until);
        self.accepting.close_all(&mut *self.env.io.sys);
        self.cancel_all();
        for id in self.env.state.registry.ids() {
            if let Some(conn) = self.connections.in_slot(id) {
                conn.drain(now, until);
                self.env.state.registry.enqueue(id);
            }
        }
        self.closing_waits = true;
    }
}

impl fmt::Debug for Control<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("service", &self.service).finish()
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

/// Every open connection gets its `closed`, with cause
/// [`Dropped`](sockeye_proto::close::Cause::Dropped) or
/// [`RawClosed::Dropped`](crate::raw::RawClosed::Dropped), before the sockets are closed; every
/// connect without an outcome gets its `failed`. Requests from these last callbacks are not carried
/// out.
impl Drop for Service {
    fn drop(&mut self) {
        self.jobs.end();
        self.env.state.lifecycle = Lifecycle::Dropped;
        self.cancel_all();
        for id in self.env.state.registry.ids() {
            if let Some(mut conn) = self.connections.take(id) {
                conn.abort(&mut self.env, id, Abort::Dropped);
                conn.close_socket(&mut self.env, id, CloseHow::Normal);
            }
        }
        self.accepting.close_all(&mut *self.env.io.sys);
        release(std::mem::take(&mut self.env.rx).into_vec());
    }
}
