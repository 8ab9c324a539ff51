//! A service on a simulated network, and clients of it.

use std::rc::Rc;
use std::time::Duration;

use sockeye::service::ServiceState;
use sockeye::sim::{Faults, Host, Network};
use sockeye::sys::{Address, Sys};
use sockeye::{Close, CloseCode, Closed, Limits, Service};
use sockeye_proto::time::Instant;

use super::client::{Client, Heard};
use super::hub::{Hub, Notes};
use super::machine::Machine;
use super::{echo, machine};
use crate::turns::Turns;

pub struct Bench {
    pub network: Network,
    pub host: Host,
    pub hub: Rc<Hub>,
    pub service: Service,
    pub clients: Vec<Client>,
    /// Clients that take what arrives, by number; the others leave it.
    pub deaf: Vec<usize>,
    pub turns: usize,
    pub drained: bool,
    scrambled: Option<u64>,
    start: Instant,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Faults::none(), Limits::default())
    }

    pub fn with(faults: Faults, limits: Limits) -> Self {
        Self::on(faults, limits, |host| host.sys())
    }

    /// With bytes that are scrambled with this seed, on both sides.
    pub fn scrambled(faults: Faults, limits: Limits, seed: u64) -> Self {
        Self::built(faults, limits, Some(seed), |host| host.sys())
    }

    /// On a system that the test puts around the simulated one.
    pub fn on(faults: Faults, limits: Limits, sys: impl FnOnce(&Host) -> Box<dyn Sys>) -> Self {
        Self::built(faults, limits, None, sys)
    }

    fn built(faults: Faults, limits: Limits, scrambled: Option<u64>, sys: impl FnOnce(&Host) -> Box<dyn Sys>) -> Self {
        let network = Network::with_faults(1, faults);
        let host = network.host();
        host.set_descriptor_limit(100_000);
        let hub = Rc::new(Hub::default());
        hub.most_receives.set(usize::MAX);
        let mut builder = Service::builder()
            .limits(limits)
            .protocol(Machine::new(&hub))
            .protocol(echo::echo(&hub, 17 << 20))
            .listen(Address::Ip(([127, 0, 0, 1], 80).into()));
        if let Some(seed) = scrambled {
            builder = builder.scrambled(seed);
        }
        let service = builder.build_with(sys(&host)).expect("the service can be built");
        let start = network.now();
        let (clients, deaf) = (Vec::new(), Vec::new());
        Self { network, host, hub, service, clients, deaf, turns: 0, drained: false, scrambled, start }
    }

    /// A client that connects and says nothing yet.
    pub fn connect(&mut self) -> usize {
        let number = self.clients.len();
        let address = self.service.local_addresses()[0].clone();
        let client = Client::connect_scrambled(&self.network, &address, number as u64, self.scrambled);
        self.clients.push(client.expect("somebody listens"));
        number
    }

    /// A client of the protocol `machine`, open.
    pub fn open(&mut self) -> usize {
        self.open_as("plain", machine::NAME)
    }

    pub fn open_echo(&mut self) -> usize {
        self.open_as("plain", echo::NAME)
    }

    pub fn open_as(&mut self, how: &str, protocol: &str) -> usize {
        let number = self.connect();
        self.clients[number].handshake(&format!("/{number}/{how}"), protocol);
        self.until(|bench| bench.clients[number].is_open());
        number
    }

    /// One turn of the service and its clients.
    pub fn turn(&mut self) {
        self.turns += 1;
        self.hub.next_turn();
        if !self.drained {
            let progress = self.service.run_once(Some(Duration::ZERO)).expect("the poller works");
            self.drained = progress == ServiceState::Drained;
        }
        let now = self.network.now();
        for (number, client) in self.clients.iter_mut().enumerate() {
            if !self.deaf.contains(&number) {
                client.pump(usize::MAX, now);
                client.pump(usize::MAX, now);
            }
        }
        if let Some(failure) = self.hub.failure() {
            panic!("{failure}");
        }
    }

    /// Takes turns until `done`, for ten virtual minutes at most; says how long it took.
    pub fn until(&mut self, mut done: impl FnMut(&Self) -> bool) -> Duration {
        let (came, took) = self.turn_until(Duration::from_secs(600), |bench| done(bench));
        assert!(came, "it did not come");
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

    pub fn notes(&self, number: usize) -> Notes {
        self.hub.of(number, |notes| notes.clone())
    }

    /// How it ended, as the server was told.
    pub fn closed(&self, number: usize) -> Option<Closed> {
        let closed = self.notes(number).closed;
        assert!(closed.len() <= 1, "`closed` came twice: {closed:?}");
        closed.into_iter().next()
    }

    pub fn replies(&self, number: usize) -> usize {
        self.clients[number].messages().count()
    }

    pub fn count(&self, number: usize, what: impl Fn(&Heard) -> bool) -> usize {
        self.clients[number].heard.iter().filter(|heard| what(heard)).count()
    }

    /// The client closes, and all goes well.
    pub fn close(&mut self, number: usize) {
        let now = self.network.now();
        self.clients[number].close(Close::new(CloseCode::NORMAL), now);
        self.until(|bench| bench.clients[number].end().is_some());
        assert_eq!(self.clients[number].close_heard(), Some(Some(1000)));
    }

    /// All clients leave, and nothing is left.
    pub fn finish(mut self) {
        for client in &mut self.clients {
            client.peer = None;
        }
        self.until(|bench| bench.service.connections() == 0);
        assert!(self.hub.open_ids().is_empty());
        let listeners = usize::from(!self.drained);
        assert_eq!(self.host.open_handles(), listeners, "handles are left");
        let (host, hub) = (self.host.clone(), self.hub.clone());
        drop(self);
        assert_eq!((host.leaked_handles(), Rc::strong_count(&hub.sessions)), (0, 1));
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
