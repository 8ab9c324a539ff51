//! A simulated network with a virtual clock, to test protocols without sockets.
//!
//! One seed decides everything: where the bytes are cut, when they arrive, which calls fall short. The same seed gives the
//! same run, so that a failure found by chance becomes a test. The network keeps the promises of [`sys`](crate::sys) and
//! goes to their limits: see [`Fault`] for what it does. Using a handle after closing it, sending nothing, and waiting when
//! nothing can ever happen are bugs of the program, and panic with the seed.
//!
//! For clients there are scripted [`Listener`]s, names ([`Network::name`]), and addresses that do not answer
//! ([`Network::silence`], [`Network::unreachable`]); connecting takes a round trip.
//!
//! Several hosts and scripted [`Peer`]s share one [`Network`] and its clock. Nothing is concurrent: things happen while a host
//! waits, while a test calls [`Network::advance`], and between the turns of [`Network::run`].
//!
//! ```
//! use std::time::Duration;
//! use sockeye::sim::{Network, Outcome, Turn, seeds};
//! use sockeye::{Service, messages};
//!
//! for seed in seeds(20) {
//!     let network = Network::new(seed);
//!     let echo = messages::echo("echo");
//!     let mut service = Service::builder().protocol(echo).listen("127.0.0.1:80").build_with(network.sys())?;
//!
//!     let peer = network.connect(&service.local_addresses()[0]).unwrap();
//!     peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
//!         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
//!         Sec-WebSocket-Protocol: echo\r\n\r\n");
//!     peer.send(b"\x81\x82\0\0\0\0hi"); // a text message, masked with zeros
//!
//!     let mut received = Vec::new();
//!     let outcome = network.run(|| {
//!         service.run_once(Some(Duration::ZERO)).unwrap();
//!         received.extend(peer.recv());
//!         if received.ends_with(b"\x81\x02hi") { Turn::Done } else { Turn::Sleep(service.next_deadline()) }
//!     });
//!     assert_eq!(outcome, Outcome::Done);
//!     drop(service);
//!     assert_eq!(network.open_handles(), 0, "leaked");
//! }
//! # Ok::<(), sockeye::Error>(())
//! ```

mod connect;
mod descriptor;
mod edges;
mod faults;
mod host;
mod listener;
mod log;
mod names;
mod peer;
mod pipe;
mod random;
mod resolve;
mod state;
mod system;
#[cfg(test)]
mod tests;

use std::cell::{RefCell, RefMut};
use std::env;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::{OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use sockeye_proto::time::Instant;

use self::host::HostState;
use self::names::Name;
use self::pipe::{CLIENT, EndId, Owner};
use self::state::{State, Way};
use self::system::System;
use crate::poll::Ready;
use crate::sys::{Address, Handle, Sys};

pub use crate::transport::Scrambler;
pub use faults::{Counts, Fault, Faults};
pub use host::Calls;
pub use listener::Listener;
pub use log::Log;
pub use peer::{Peer, PeerEnd};

/// Hosts, peers, what is between them, and their clock. Clones are the same network.
///
/// ```
/// use std::time::Duration;
///
/// use sockeye::sim::Network;
///
/// let network = Network::new(7);
/// let begin = network.now();
/// network.advance(Duration::from_secs(3600)); // an hour, at once
/// assert_eq!(network.now().saturating_duration_since(begin), Duration::from_secs(3600));
/// ```
#[derive(Clone)]
pub struct Network {
    state: Rc<RefCell<State>>,
}

impl Network {
    /// A network with [the usual faults](Faults::usual).
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_faults(seed, Faults::usual())
    }

    /// A network with these faults.
    #[must_use]
    pub fn with_faults(seed: u64, faults: Faults) -> Self {
        Self { state: Rc::new(RefCell::new(State::new(seed, faults))) }
    }

    /// Changes the faults from here on (buffers of connections that exist keep their size).
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// A new host.
    #[must_use]
    pub fn host(&self) -> Host {
        let mut state = self.state();
        let seed = state.random.next();
        state.hosts.push(HostState::new(seed));
        Host { network: self.clone(), number: state.hosts.len() - 1 }
    }

    /// The system of a new host that needs no further attention.
    #[must_use]
    pub fn sys(&self) -> Box<dyn Sys> {
        self.host().sys()
    }

    /// Connects a scripted peer to a listener of any host.
    ///
    /// # Errors
    /// `ConnectionRefused` when there is no listener.
    pub fn connect(&self, to: &Address) -> io::Result<Peer> {
        let end = self.state().connect(to)?;
        Ok(Peer { state: Rc::clone(&self.state), end })
    }

    /// A descriptor that is connected to a scripted peer, as one end of a socket pair: for programs that
    /// [serve](crate::Control::serve), [adopt](crate::raw::EndpointMut::adopt) or
    /// [connect over](crate::protocol::ProtocolMut::connect_over) what they got elsewhere. It belongs to the host whose
    /// service takes it; until then it is connected, and stays so even if it is dropped.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sockeye::sim::{Faults, Network, Turn};
    /// use sockeye::{Connect, Service, messages};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let network = Network::with_faults(1, Faults::none());
    /// let (fd, peer) = network.descriptor();
    /// let mut builder = Service::builder();
    /// let echo = builder.add_protocol(messages::echo("echo"));
    /// let mut service = builder.build_with(network.sys())?;
    /// service.control().protocol(echo)?.connect_over(fd, Connect::new("ws://tunnel/")?);
    /// let mut request = Vec::new();
    /// network.run(|| {
    ///     service.run_once(Some(Duration::ZERO)).unwrap();
    ///     request.extend(peer.recv());
    ///     if request.ends_with(b"\r\n\r\n") { Turn::Done } else { Turn::Sleep(service.next_deadline()) }
    /// });
    /// assert!(request.starts_with(b"GET / HTTP/1.1\r\nHost: tunnel\r\n"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    ///
    /// When the real system has no descriptor left.
    #[must_use]
    pub fn descriptor(&self) -> (OwnedFd, Peer) {
        let (connection, [_, fd]) = self.state().pair(Owner::Peer);
        (fd, Peer { state: Rc::clone(&self.state), end: EndId { connection, side: CLIENT } })
    }

    /// Two descriptors that are connected to each other, for services of one host or of two; see
    /// [`descriptor`](Self::descriptor).
    ///
    /// # Panics
    ///
    /// When the real system has no descriptor left.
    #[must_use]
    pub fn pair(&self) -> (OwnedFd, OwnedFd) {
        let (_, [one, other]) = self.state().pair(Owner::Listener);
        (one, other)
    }

    /// A scripted listener. Port 0 becomes a real one.
    ///
    /// # Panics
    ///
    /// When there is a listener already: it is a mistake of the test.
    #[must_use]
    pub fn listen(&self, address: &Address) -> Listener {
        let mut state = self.state();
        match state.listen_scripted(address) {
            Ok(id) => Listener { state: Rc::clone(&self.state), id },
            Err(error) => state.fail(format_args!("cannot listen on {address}: {error}")),
        }
    }

    /// Gives `name` these addresses; looking it up returns them in this order. Names are compared without case.
    /// Of other names only `localhost` exists, as `::1` and `127.0.0.1`.
    pub fn name(&self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) {
        self.state().names.set(name, Name::Known(addresses.into_iter().collect()));
    }

    /// Looking `name` up fails, as it does when the servers that would know it are out of order.
    pub fn name_fails(&self, name: &str) {
        self.state().names.set(name, Name::Fails);
    }

    /// Looking `name` up never comes to an end.
    pub fn name_stalls(&self, name: &str) {
        self.state().names.set(name, Name::Stalls);
    }

    /// From here on connecting from a host to `address` neither succeeds nor fails, even if something listens there.
    pub fn silence(&self, address: &Address) {
        self.set_way(address, Some(Way::Silent));
    }

    /// From here on connecting from a host to `address` fails at once with `EHOSTUNREACH`.
    pub fn unreachable(&self, address: &Address) {
        self.set_way(address, Some(Way::Unreachable));
    }

    /// Takes [`silence`](Self::silence) and [`unreachable`](Self::unreachable) back. Attempts that were silenced stay it.
    pub fn reachable(&self, address: &Address) {
        self.set_way(address, None);
    }

    fn set_way(&self, address: &Address, way: Option<Way>) {
        let mut state = self.state();
        state.ways.retain(|(other, _)| other != address);
        state.ways.extend(way.map(|way| (address.clone(), way)));
    }

    /// The time on the clock of all hosts.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.state().now)
    }

    /// Lets `duration` pass, with all that happens in it.
    pub fn advance(&self, duration: Duration) {
        let mut state = self.state();
        let until = (Instant::from_nanos(state.now) + duration).as_nanos();
        loop {
            state.catch_up();
            match state.next_event().filter(|&next| next <= until) {
                Some(next) => state.now = next,
                None => break,
            }
        }
        state.now = until;
    }

    /// Takes turns until one is [`Done`](Turn::Done), or until nothing is left to happen.
    ///
    /// A turn polls each service with a timeout of zero and lets each scripted peer act, and then says until when all of
    /// them have nothing to do. The clock then jumps to exactly that time, or to the next thing that happens on the network
    /// if this is sooner; it stays as long as something happened since the turn began, or is to be reported to a
    /// host that took part in it.
    ///
    /// # Panics
    ///
    /// When a hundred thousand turns pass without the clock moving: the program spins.
    pub fn run(&self, mut turn: impl FnMut() -> Turn) -> Outcome {
        let mut turns_at_this_time = 0;
        loop {
            let happened = {
                let mut state = self.state();
                state.turn += 1;
                state.happened
            };
            let deadline = match turn() {
                Turn::Done => return Outcome::Done,
                Turn::Busy => Some(self.now()),
                Turn::Sleep(deadline) => deadline,
            };
            let mut state = self.state();
            let before = state.now;
            state.catch_up();
            let number = state.turn;
            let is_reportable = state.hosts.iter().any(|host| host.turn == number && host.is_ready());
            // A host may have had its turn before it happened.
            let is_asleep = !is_reportable && state.happened == happened;
            if is_asleep && !state.jump(deadline.map(Instant::as_nanos)) {
                return Outcome::Quiet;
            }
            turns_at_this_time = if state.now == before { turns_at_this_time + 1 } else { 0 };
            if turns_at_this_time > SPIN_TURNS {
                state.fail(format_args!("{SPIN_TURNS} turns and the clock does not move: the program spins"));
            }
        }
    }

    /// How often each fault has happened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    /// Notes every system call of every host from here on, with its result: two runs of one seed give the same.
    #[must_use]
    pub fn trace(&self) -> Log {
        self.state().log.get_or_insert_default().clone()
    }

    /// Handles that hosts have open, and those that were still open when the system of a host was dropped.
    #[must_use]
    pub fn open_handles(&self) -> usize {
        self.state().hosts.iter().map(|host| host.open + host.leaked).sum()
    }

    fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        f.debug_struct("Network").field("seed", &state.seed).field("now", &state.now).finish_non_exhaustive()
    }
}

/// One machine on a [`Network`], as its test sees it.
#[derive(Clone, Debug)]
pub struct Host {
    network: Network,
    number: usize,
}

impl Host {
    /// Its system, for one program at a time. When it is dropped, what the program left open is closed and counted.
    ///
    /// # Panics
    ///
    /// While another one is in use.
    #[must_use]
    pub fn sys(&self) -> Box<dyn Sys> {
        let mut state = self.network.state();
        let host = &mut state.hosts[self.number];
        assert!(!host.attached, "host {} has a program already", self.number);
        host.attached = true;
        Box::new(System { state: Rc::clone(&self.network.state), host: self.number })
    }

    /// Its program computes for so long: time passes as with [`Network::advance`], which may be called inside a
    /// callback just as well, but for this host it is the processor's time too.
    pub fn compute(&self, duration: Duration) {
        self.network.state().hosts[self.number].computed += duration;
        self.network.advance(duration);
    }

    /// How many descriptors it may have, of which three are in use from the start. 1024 unless set.
    pub fn set_descriptor_limit(&self, limit: u64) {
        self.network.state().hosts[self.number].descriptor_limit = limit;
    }

    /// Sets its clock on the wall, as an administrator does: so many seconds ahead of the network's time, or behind. 0
    /// unless set.
    ///
    /// Only dates follow it. Deadlines do not.
    pub fn set_wall_clock_ahead(&self, seconds: i64) {
        self.network.state().hosts[self.number].wall_ahead = seconds;
    }

    /// Handles it has open.
    #[must_use]
    pub fn open_handles(&self) -> usize {
        self.network.state().hosts[self.number].open
    }

    /// Handles that were still open when its system was dropped: what a program leaks.
    #[must_use]
    pub fn leaked_handles(&self) -> usize {
        self.network.state().hosts[self.number].leaked
    }

    /// What poll(2) would report of one of its handles, for a program that waits by itself; see [`poll`](crate::poll).
    ///
    /// # Panics
    ///
    /// It has no such handle.
    #[must_use]
    pub fn look(&self, fd: RawFd) -> Ready {
        let handle = Handle::new(u32::try_from(fd).expect("a descriptor is not negative"));
        let seen = self.network.state().level(self.number, handle);
        Ready { readable: seen.readable, writable: seen.writable, ended: seen.error }
    }

    /// How many system calls it has made.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.network.state().hosts[self.number].calls
    }
}

/// What one turn of [`Network::run`] came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Turn {
    /// There is more to do at once: the clock does not move.
    Busy,
    /// Nothing to do until this time, or until something happens on the network. A program with work left over must give a time
    /// that has come already (or be [`Busy`](Self::Busy)): otherwise the network takes it for asleep.
    Sleep(Option<Instant>),
    /// The test has seen what it waited for.
    Done,
}

/// How [`Network::run`] ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// A turn was [`Turn::Done`].
    Done,
    /// Nothing is left to happen and no deadline is set: what the test waited for will never come.
    Quiet,
}

/// `0..count`, or what the environment variable `SOCKEYE_SEEDS` says: one seed (`7`) or several (`1000..9000`).
///
/// # Panics
///
/// When the variable is neither.
#[must_use]
pub fn seeds(count: u64) -> Range<u64> {
    let Ok(text) = env::var("SOCKEYE_SEEDS") else { return 0..count };
    let number = |text: &str| text.trim().parse::<u64>().expect("SOCKEYE_SEEDS is a seed or a range of seeds");
    match text.split_once("..") {
        Some((start, end)) => number(start)..number(end),
        None => number(&text)..number(&text) + 1,
    }
}

const SPIN_TURNS: u32 = 100_000;
