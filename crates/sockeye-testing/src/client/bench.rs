//! A service that connects, on a simulated network.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use sockeye::client::Timeouts;
use sockeye::proto::time::Instant;
use sockeye::service::ServiceState;
use sockeye::sim::{Faults, Host, Listener, Network};
use sockeye::sys::{Address, Sys};
use sockeye::{Builder, ConnId, Connect, Limits, Service};

use super::cause::cause;
use super::probe::{NAME, Notes, Probe, Say};
use super::server::Server;
use crate::turns::Turns;

pub const MILLI: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

pub struct Bench {
    pub network: Network,
    pub host: Host,
    pub service: Service,
    pub notes: Rc<Notes>,
    pub start: Instant,
    pub turns: usize,
    pub drained: bool,
    scrambled: Option<u64>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(1, Faults::none(), Limits::default())
    }

    pub fn with(seed: u64, faults: Faults, limits: Limits) -> Self {
        Self::on(seed, faults, limits, |host| host.sys())
    }

    /// With bytes that are scrambled with this seed, on both sides.
    pub fn scrambled(seed: u64, faults: Faults, limits: Limits, scrambled: u64) -> Self {
        Self::built(seed, faults, limits, Some(scrambled), |host| host.sys(), |builder| builder)
    }

    pub fn on(seed: u64, faults: Faults, limits: Limits, sys: impl FnOnce(&Host) -> Box<dyn Sys>) -> Self {
        Self::built(seed, faults, limits, None, sys, |builder| builder)
    }

    /// With more said to the builder.
    pub fn described(describe: impl FnOnce(Builder) -> Builder) -> Self {
        Self::built(1, Faults::none(), Limits::default(), None, |host| host.sys(), describe)
    }

    fn built(
        seed: u64,
        faults: Faults,
        limits: Limits,
        scrambled: Option<u64>,
        sys: impl FnOnce(&Host) -> Box<dyn Sys>,
        describe: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let network = Network::with_faults(seed, faults);
        let host = network.host();
        host.set_descriptor_limit(20_000);
        let notes = Rc::new(Notes::default());
        let probe = Probe { notes: notes.clone(), interval: Some(SECOND) };
        let mut builder = describe(Service::builder().limits(limits).protocol(probe));
        if let Some(seed) = scrambled {
            builder = builder.scrambled(seed);
        }
        let service = builder.build_with(sys(&host)).unwrap();
        let start = network.now();
        Self { network, host, service, notes, start, turns: 0, drained: false, scrambled }
    }

    pub fn connect(&mut self, connect: &Connect) -> ConnId {
        self.service.control().protocol_named(NAME).unwrap().connect(connect.clone())
    }

    /// Connects over a descriptor.
    pub fn connect_over(&mut self, fd: impl Into<OwnedFd>, connect: &Connect) -> ConnId {
        self.service.control().protocol_named(NAME).unwrap().connect_over(fd, connect.clone())
    }

    pub fn listen(&self, address: &str) -> Listener {
        self.network.listen(&ip(address))
    }

    pub fn say(&mut self, id: ConnId, say: Say) {
        self.notes.queues.borrow_mut().entry(id).or_default().push_back(say);
        if let Ok(mut connection) = self.service.control().connection(id) {
            connection.request_writable();
        }
    }

    pub fn turn(&mut self) {
        self.turns += 1;
        if !self.drained {
            self.drained = self.service.run_once(Some(Duration::ZERO)).unwrap() == ServiceState::Drained;
        }
    }

    /// Takes turns until `done`, for ten virtual hours at most; says how long it took.
    pub fn until(&mut self, done: impl FnMut(&mut Self) -> bool) -> Duration {
        let (came, took) = self.turn_until(Duration::from_secs(36_000), done);
        assert!(came, "it did not come; seen: {:?}", self.notes.seen.borrow());
        took
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        self.turn_for(time);
    }

    /// Since the beginning.
    pub fn time(&self) -> Duration {
        self.network.now().saturating_duration_since(self.start)
    }

    /// Until this connect failed: how long it took, and why.
    pub fn failed(&mut self, id: ConnId) -> (Duration, String) {
        let took = self.until(|bench| bench.notes.is_over(id));
        (took, self.why(id))
    }

    /// Why this connect failed, in few words.
    pub fn why(&self, id: ConnId) -> String {
        self.notes
            .failure(id, |failure| format!("{:?}: {}", failure.stage, cause(&failure.cause)))
            .unwrap_or_else(|| panic!("it did not fail: {:?}", self.notes.seen.borrow()))
    }

    /// The next connection at a listener.
    pub fn accepted(&mut self, listener: &Listener) -> Server {
        let (mut server, scrambled) = (None, self.scrambled);
        self.until(|_| {
            server = server.take().or_else(|| Server::accept_scrambled(listener, scrambled));
            server.is_some()
        });
        server.unwrap()
    }

    /// The next connection at a listener, with its request.
    pub fn asked(&mut self, listener: &Listener) -> Server {
        let mut server = self.accepted(listener);
        self.until(|_| server.heard_head());
        server
    }

    /// A client that is open, and its server.
    pub fn open(&mut self, connect: &Connect, listener: &Listener) -> (ConnId, Server) {
        let id = self.connect(connect);
        let mut server = self.asked(listener);
        server.open("");
        self.until(|bench| bench.notes.is_open(id));
        (id, server)
    }

    /// Everything is over, and nothing is left.
    pub fn finish(mut self) {
        self.until(|bench| bench.service.connections() == 0);
        assert_eq!(self.host.open_handles(), 0, "handles are left");
        let (host, notes) = (self.host.clone(), self.notes.clone());
        notes.in_failed.take();
        notes.in_head.take();
        notes.in_open.take();
        notes.in_closed.take();
        drop(self);
        assert_eq!((host.leaked_handles(), Rc::strong_count(&notes.sessions)), (0, 1));
    }

    /// The service is dropped with whatever it has; nothing is left then.
    pub fn drop_all(self) -> Rc<Notes> {
        let Self { host, service, notes, .. } = self;
        drop(service);
        assert_eq!((host.leaked_handles(), host.open_handles(), Rc::strong_count(&notes.sessions)), (0, 0, 1));
        notes
    }
}

impl Turns for Bench {
    fn network(&self) -> &Network {
        &self.network
    }

    fn turn(&mut self) {
        Self::turn(self);
    }

    fn next_deadline(&self) -> Option<Instant> {
        if self.drained { None } else { self.service.next_deadline() }
    }
}

pub fn ip(address: &str) -> Address {
    Address::Ip(address.parse().unwrap())
}

/// Times for each stage that differ, so that one cannot be taken for another.
pub fn timeouts() -> Timeouts {
    let mut timeouts = Timeouts::default();
    timeouts.resolve = Duration::from_secs(3);
    timeouts.connect = Duration::from_secs(4);
    timeouts.proxy = Duration::from_secs(5);
    timeouts.handshake = Duration::from_secs(6);
    timeouts
}

pub fn to(url: &str) -> Connect {
    Connect::new(url).unwrap().timeouts(timeouts()).unwrap()
}
