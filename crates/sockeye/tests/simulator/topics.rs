//! Topics, in one to three services with slow readers: what is published arrives in order, once, and at subscribers only; what does
//! not arrive was reported as dropped.
//!
//! Messages have growing numbers. All that a program does in one service it does in the order of these numbers, so each connection
//! gets them in that order, whether they were published to a topic or to all, or pushed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use sockeye::messages::{self, Handler, Message, MessageCx, Messages};
use sockeye::protocol::ProtocolHandle;
use sockeye::sim::{Fault, Faults, Network, Turn};
use sockeye::threads::{Group, GroupProtocol};
use sockeye::topics::{Delivery, SlowReader, SubscribeError, TopicOptions};
use sockeye::{Close, CloseCode, Closed, ClosedCx, Compression, ConnId, Connect, Control, Handshake, Limits, Service};
use sockeye_testing::rng::Rng;

/// What happened in the services.
#[derive(Default)]
struct Log {
    /// The server's ids, by the name that the client said first.
    named: RefCell<BTreeMap<usize, ConnId>>,
    /// The codes that closed connections saw.
    closed: RefCell<BTreeMap<ConnId, u16>>,
    /// The numbers that each client received.
    heard: RefCell<BTreeMap<usize, Vec<u64>>>,
    open: RefCell<BTreeMap<usize, ConnId>>,
}

/// The server: a client's first message is its name, others are answered.
struct Room(Rc<Log>);

impl Handler for Room {
    type State = ();

    fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {}

    fn message(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut (), message: Message<'_>) -> Result<(), Close> {
        let name = message.as_text().and_then(|text| text.strip_prefix("name "));
        match name.and_then(|name| name.parse().ok()) {
            Some(name) => _ = self.0.named.borrow_mut().insert(name, cx.id()),
            None => _ = cx.push("answer"),
        }
        Ok(())
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, (): (), closed: Closed) {
        self.0.closed.borrow_mut().insert(cx.id(), closed.code_seen());
    }
}

struct Reader(Rc<Log>);

impl Handler for Reader {
    type State = usize;

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) -> usize {
        let name = self.0.open.borrow().len();
        self.0.open.borrow_mut().insert(name, cx.id());
        _ = cx.push(format!("name {name}"));
        name
    }

    fn message(&mut self, _: &mut MessageCx<'_, '_>, name: &mut usize, message: Message<'_>) -> Result<(), Close> {
        let text = message.as_text().expect("all is text");
        if let Some(number) = text.split(' ').next().and_then(|number| number.parse().ok()) {
            self.0.heard.borrow_mut().entry(*name).or_default().push(number);
        }
        Ok(())
    }
}

/// What must be true of one subscriber.
#[derive(Default)]
struct Expected {
    topics: BTreeSet<usize>,
    /// Messages that it is to get, unless they are dropped.
    sent: BTreeMap<u64, Option<usize>>,
    /// Those that it may get.
    maybe: BTreeSet<u64>,
    /// Topics that it has left once: what waited for it was dropped then.
    left: BTreeSet<usize>,
    /// It is closed, or about to be.
    is_closed: bool,
}

struct World {
    rng: Rng,
    network: Network,
    servers: Vec<(Service, ProtocolHandle<Messages<Room>>)>,
    group: GroupProtocol,
    client: Service,
    log: Rc<Log>,
    expected: BTreeMap<usize, Expected>,
    policies: Vec<SlowReader>,
    number: u64,
    total: Delivery,
    /// Nobody unsubscribes or ends, so that losses are known exactly.
    is_exact: bool,
    /// No service wants compression.
    is_plain: bool,
}

const TOPICS: usize = 5;

/// Runs a seed. The error tells what went wrong.
pub(crate) fn run_seed(seed: u64, planted: Option<Fault>, verbose: bool) -> Result<(), String> {
    let faults = match planted {
        Some(fault) => Faults::usual().with(fault, 1).with(Fault::Spurious, 0),
        None => Faults::usual(),
    };
    let mut world = World::new(seed, faults)?;
    let trace = verbose.then(|| world.network.trace());
    let steps = world.rng.of(20..150);
    let result = (0..steps).try_for_each(|_| world.step()).and_then(|()| world.finish());
    trace.iter().flat_map(|trace| trace.lines()).for_each(|line| println!("{line}"));
    result
}

impl World {
    fn new(seed: u64, faults: Faults) -> Result<Self, String> {
        let mut rng = Rng::new(seed);
        let buffer = *rng.pick(&[200, 1000, 5000]);
        let network = Network::with_faults(seed, faults.with_buffers(buffer, buffer));
        let log = Rc::<Log>::default();
        let mut limits = Limits::default();
        limits.output_low_water = 2000;
        let is_plain = rng.percent(40);
        let compression = |rng: &mut Rng| {
            let wanted = [None, Some(Compression::new()), Some(Compression::new().threshold_bytes(0))];
            rng.pick(&wanted).filter(|_| !is_plain)
        };
        let servers: Vec<_> = (0..rng.of(1..4))
            .map(|index| {
                let mut builder = Service::builder().limits(limits.clone()).listen(format!("10.0.0.{}:80", index + 1));
                let mut room = messages::with("room", Room(Rc::clone(&log)));
                if let Some(compression) = compression(&mut rng) {
                    room = room.compression(compression);
                }
                let handle = builder.add_fallback(room);
                (builder.build_with(network.host().sys()).unwrap(), handle)
            })
            .collect();
        let group = Group::of(servers.iter().map(|(service, _)| service.remote())).protocol("room");
        let mut builder = Service::builder().limits(limits);
        let mut reader = messages::with("reader", Reader(Rc::clone(&log)));
        if let Some(compression) = compression(&mut rng) {
            reader = reader.compression(compression);
        }
        let reader = builder.add_protocol(reader);
        let mut client = builder.build_with(network.host().sys()).unwrap();
        let clients = rng.of(1..9);
        for _ in 0..clients {
            let url = format!("ws://10.0.0.{}/", rng.of(0..servers.len()) + 1);
            client.control().protocol(reader).unwrap().connect(Connect::new(&url).unwrap());
        }
        let policies = [SlowReader::Close, SlowReader::DropOldest, SlowReader::DropNewest, SlowReader::KeepLatest];
        let policies = (0..TOPICS).map(|_| *rng.pick(&policies)).collect();
        let (total, is_exact) = (Delivery::default(), rng.percent(50));
        let mut world = Self {
            rng,
            network,
            servers,
            group,
            client,
            log,
            expected: BTreeMap::new(),
            policies,
            number: 0,
            total,
            is_exact,
            is_plain,
        };
        let log = Rc::clone(&world.log);
        world.until(|| log.named.borrow().len() == clients)?;
        world.expected = (0..clients).map(|name| (name, Expected::default())).collect();
        for topic in 0..TOPICS {
            let messages = world.rng.of(1..8) as u32;
            let options =
                TopicOptions::default().with_slow_reader(world.policies[topic]).with_waiting_messages(messages);
            for (service, handle) in &mut world.servers {
                let mut control = service.control();
                control.protocol(*handle).unwrap().topic(&name_of(topic)).set_options(options).unwrap();
            }
        }
        Ok(world)
    }

    fn until(&mut self, done: impl Fn() -> bool) -> Result<(), String> {
        let (network, limit) = (self.network.clone(), self.network.now() + Duration::from_secs(1000));
        network.run(|| {
            self.turn();
            if done() || network.now() >= limit {
                return Turn::Done;
            }
            let deadlines = self.servers.iter().filter_map(|(service, _)| service.next_deadline());
            let next = deadlines.chain(self.client.next_deadline()).min();
            Turn::Sleep(Some(next.unwrap_or(limit).min(limit)))
        });
        if done() { Ok(()) } else { Err(format!("it takes too long: {}", self.client.statistics())) }
    }

    fn turn(&mut self) {
        for (service, _) in &mut self.servers {
            service.run_once(Some(Duration::ZERO)).unwrap();
        }
        self.client.run_once(Some(Duration::ZERO)).unwrap();
    }

    /// Looks up a client's connection in the service that has it.
    fn with_control<R>(&mut self, name: usize, call: impl FnOnce(&mut Control<'_>, ConnId) -> R) -> Option<R> {
        let id = *self.log.named.borrow().get(&name)?;
        let (service, _) =
            self.servers.iter_mut().find_map(|(service, _)| service.control().is_open(id).then_some((service, ())))?;
        Some(call(&mut service.control(), id))
    }

    /// Clients whose connections the servers have not seen ended.
    fn alive(&self) -> Vec<usize> {
        let (named, closed) = (self.log.named.borrow(), self.log.closed.borrow());
        self.expected.keys().copied().filter(|name| !closed.contains_key(&named[name])).collect()
    }

    fn step(&mut self) -> Result<(), String> {
        let clients = self.expected.len();
        let (name, topic) = (self.rng.of(0..clients), self.rng.of(0..TOPICS));
        match self.rng.of(0..100) {
            0..15 => self.subscribe(name, topic)?,
            15..20 if !self.is_exact => self.unsubscribe(name, topic)?,
            20..55 => self.publish(name, topic)?,
            55..60 => self.publish_everywhere(topic)?,
            60..64 => self.publish_to_all(),
            64..68 => self.push(name),
            68..74 => self.read(name, false),
            74..80 => self.read(name, true),
            80..83 => self.ask(name),
            83..84 if !self.is_exact => self.end(name),
            _ => {
                let micros = self.rng.of(1..20_000) as u64;
                for _ in 0..self.rng.of(1..6) {
                    self.turn();
                    self.network.advance(Duration::from_micros(micros));
                }
            }
        }
        Ok(())
    }

    fn subscribe(&mut self, name: usize, topic: usize) -> Result<(), String> {
        let is_new = self.with_control(name, |control, id| {
            control.connection(id).map(|mut connection| connection.subscribe(&name_of(topic)))
        });
        let expected = self.expected.get_mut(&name).unwrap();
        match is_new {
            Some(Ok(Err(SubscribeError::NotOpen))) if expected.is_closed => Ok(()),
            Some(Ok(Ok(_))) if expected.is_closed => Err(format!("client {name} is closed, and subscribes to {topic}")),
            Some(Ok(Ok(is_new))) if is_new == expected.topics.insert(topic) => Ok(()),
            Some(Ok(Ok(is_new))) => Err(format!("client {name}, topic {topic}: new: {is_new}")),
            Some(Ok(Err(error))) => Err(error.to_string()),
            Some(Err(_)) | None => Ok(()),
        }
    }

    fn unsubscribe(&mut self, name: usize, topic: usize) -> Result<(), String> {
        let was = self.with_control(name, |control, id| {
            control.connection(id).is_ok_and(|mut connection| connection.unsubscribe(&name_of(topic)))
        });
        let expected = self.expected.get_mut(&name).unwrap();
        expected.left.insert(topic);
        let wanted = expected.topics.remove(&topic);
        if was.is_some_and(|was| was != wanted) {
            return Err(format!("client {name}, topic {topic}: there was a subscription: {was:?}"));
        }
        Ok(())
    }

    fn text(&mut self) -> String {
        self.number += 1;
        let padding = "abcdefgh ".repeat(*self.rng.pick(&[0, 2, 10, 300]));
        format!("{} {padding}", self.number)
    }

    /// The subscribers of a topic in a service, which are those of the model.
    fn subscribers(&mut self, server: usize, topic: usize) -> Result<Vec<usize>, String> {
        let (service, handle) = &mut self.servers[server];
        let mut control = service.control();
        let mut protocol = control.protocol(*handle).unwrap();
        let ids = protocol.topic(&name_of(topic)).subscriber_ids();
        let count = protocol.topic(&name_of(topic)).subscriber_count();
        let named = self.log.named.borrow();
        let names: Vec<usize> = named.iter().filter(|(_, id)| ids.contains(id)).map(|(name, _)| *name).collect();
        let wanted = |name: &usize| self.expected[name].topics.contains(&topic);
        match names.iter().find(|name| !wanted(name)) {
            Some(name) => Err(format!("client {name} is subscribed to topic {topic}, and never asked for it")),
            None if (names.len(), count) != (ids.len(), ids.len()) => Err("a subscriber that no client is".to_owned()),
            None => Ok(names),
        }
    }

    fn publish(&mut self, name: usize, topic: usize) -> Result<(), String> {
        let server = self.rng.of(0..self.servers.len());
        let except = self.rng.percent(20).then(|| self.log.named.borrow()[&name]);
        let subscribers = self.subscribers(server, topic)?;
        let text = self.text();
        let key = *self.rng.pick(&["", "a", "b"]);
        let (service, handle) = &mut self.servers[server];
        let mut control = service.control();
        let mut protocol = control.protocol(*handle).unwrap();
        let of_topic = name_of(topic);
        let mut view = protocol.topic(&of_topic);
        let delivery = match except {
            Some(except) => view.publish_except(except, &text),
            None if key.is_empty() => view.publish(&text),
            None => view.publish_latest(key, &text),
        };
        let left: Vec<usize> = subscribers.into_iter().filter(|other| except.is_none() || *other != name).collect();
        if delivery.subscribers() != left.len() as u64 {
            return Err(format!("{} subscribers, and {delivery:?}", left.len()));
        }
        self.total += delivery;
        let now = self.subscribers(server, topic)?;
        for name in left {
            let expected = self.expected.get_mut(&name).unwrap();
            expected.sent.insert(self.number, Some(topic));
            if !now.contains(&name) {
                // It was closed, because it reads too slowly.
                expected.topics.clear();
                expected.is_closed = true;
            }
        }
        Ok(())
    }

    fn publish_everywhere(&mut self, topic: usize) -> Result<(), String> {
        let mut before = Vec::new();
        for server in 0..self.servers.len() {
            before.extend(self.subscribers(server, topic)?);
        }
        let counts = |world: &Self| {
            let topics = world.servers.iter().map(|(service, _)| service.statistics().topics);
            topics.fold([0; 4], |sum, topics| {
                [sum[0] + topics.published, sum[1] + topics.queued, sum[2] + topics.dropped, sum[3] + topics.closed]
            })
        };
        // The counters are those of the last turn.
        self.turn();
        let earlier = counts(self);
        let text = self.text();
        self.group.topic(&name_of(topic)).publish(&text).map_err(|error| error.to_string())?;
        // Wake-ups take their time.
        let all = earlier[0] + self.servers.len() as u64;
        for _ in 0..100 {
            self.turn();
            if counts(self)[0] == all {
                break;
            }
            self.network.advance(Duration::from_micros(100));
        }
        let later = counts(self);
        let [published, queued, dropped, closed] = [0, 1, 2, 3].map(|index| later[index] - earlier[index]);
        let mut after = Vec::new();
        for server in 0..self.servers.len() {
            after.extend(self.subscribers(server, topic)?);
        }
        let sum = (queued + dropped + closed) as usize;
        if published != self.servers.len() as u64 || sum > before.len() || sum < after.len() {
            return Err(format!("{published} publishes for {} subscribers, {sum} outcomes", before.len()));
        }
        (self.total.queued, self.total.dropped) = (self.total.queued + queued, self.total.dropped + dropped);
        self.total.closed += closed;
        for name in before {
            let expected = self.expected.get_mut(&name).unwrap();
            if after.contains(&name) {
                expected.sent.insert(self.number, Some(topic));
            } else {
                expected.maybe.insert(self.number);
                expected.topics.clear();
                expected.is_closed = true;
            }
        }
        Ok(())
    }

    fn publish_to_all(&mut self) {
        let text = self.text();
        for (service, handle) in &mut self.servers {
            service.control().protocol(*handle).unwrap().publish_text(&text);
        }
        for name in self.alive() {
            self.expected.get_mut(&name).unwrap().sent.insert(self.number, None);
        }
    }

    fn push(&mut self, name: usize) {
        let text = self.text();
        let pushed = self.with_control(name, |control, id| {
            control.connection(id).is_ok_and(|mut connection| connection.push(&text).is_ok())
        });
        if pushed == Some(true) {
            self.expected.get_mut(&name).unwrap().sent.insert(self.number, None);
        }
    }

    fn read(&mut self, name: usize, on: bool) {
        let id = self.log.open.borrow()[&name];
        if let Ok(mut connection) = self.client.control().connection(id) {
            if on { connection.resume_reading() } else { connection.pause_reading() }
        }
    }

    /// The server answers, between what is published.
    fn ask(&mut self, name: usize) {
        let id = self.log.open.borrow()[&name];
        if let Ok(mut connection) = self.client.control().connection(id) {
            _ = connection.push("question");
        }
    }

    fn end(&mut self, name: usize) {
        let id = self.log.open.borrow()[&name];
        if let Ok(mut connection) = self.client.control().connection(id) {
            if self.rng.percent(50) { connection.abort() } else { connection.close(CloseCode::NORMAL) }
        }
    }

    /// Everybody reads to the end, and what was lost is what was reported.
    fn finish(&mut self) -> Result<(), String> {
        for name in 0..self.expected.len() {
            self.read(name, true);
        }
        let last = self.number + 1;
        self.publish_to_all();
        let alive = self.alive();
        let log = Rc::clone(&self.log);
        // A client that was closed may still get what was on its way.
        let ending = |name: &usize| self.expected[name].is_closed;
        let (alive, ending): (Vec<usize>, Vec<usize>) = alive.into_iter().partition(|name| !ending(name));
        let is_over = || {
            let (heard, closed, named) = (log.heard.borrow(), log.closed.borrow(), log.named.borrow());
            let has_last = |name: &usize| heard.get(name).and_then(|heard| heard.last()) == Some(&last);
            let is_closed = |name: &usize| closed.contains_key(&named[name]);
            alive.iter().all(|name| has_last(name) || is_closed(name)) && ending.iter().all(is_closed)
        };
        self.until(is_over)?;
        let mut lost = 0;
        for name in 0..self.expected.len() {
            lost += self.check(name)?;
        }
        let closed = self.log.closed.borrow().values().filter(|code| **code == 1013).count() as u64;
        let Delivery { dropped, closed: reported, .. } = self.total;
        if closed > reported || (self.is_exact && closed != reported) {
            return Err(format!("{closed} were closed, {reported} reported"));
        }
        if lost > dropped || (self.is_exact && closed == 0 && lost != dropped) {
            return Err(format!("{lost} messages were lost, {dropped} reported"));
        }
        self.check_that_nothing_is_left()
    }

    /// Returns how many messages of topics that it has not left a client has not got.
    fn check(&self, name: usize) -> Result<u64, String> {
        let heard = self.log.heard.borrow().get(&name).cloned().unwrap_or_default();
        let expected = &self.expected[&name];
        if let Some(pair) = heard.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(format!("client {name} got {} and then {}", pair[0], pair[1]));
        }
        let is_for_it = |number: &&u64| expected.sent.contains_key(number) || expected.maybe.contains(number);
        if let Some(number) = heard.iter().find(|number| !is_for_it(number)) {
            return Err(format!("client {name} got {number}, which was not for it"));
        }
        if !self.alive().contains(&name) {
            return Ok(0);
        }
        let heard: BTreeSet<u64> = heard.into_iter().collect();
        let missing = expected.sent.iter().filter(|(number, _)| !heard.contains(number));
        let mut lost = 0;
        for (number, topic) in missing {
            match topic {
                None => return Err(format!("client {name} did not get {number}, which was for it or for all")),
                Some(topic) => lost += u64::from(!expected.left.contains(topic)),
            }
        }
        Ok(lost)
    }

    fn check_that_nothing_is_left(&mut self) -> Result<(), String> {
        for name in 0..self.expected.len() {
            self.end(name);
        }
        let (log, all) = (Rc::clone(&self.log), self.expected.len());
        self.until(|| log.closed.borrow().len() == all)?;
        self.turn();
        for (service, handle) in &mut self.servers {
            let mut control = service.control();
            for topic in 0..TOPICS {
                control.protocol(*handle).unwrap().topic(&name_of(topic)).reset_options();
            }
        }
        self.turn();
        for (service, _) in &self.servers {
            let statistics = service.statistics();
            let left = [statistics.topics_now, statistics.subscriptions_now, statistics.held_bytes];
            // What compression keeps is for the next message.
            let count = if self.is_plain { 3 } else { 2 };
            if left[..count].iter().any(|left| *left > 0) {
                return Err(format!("topics, subscriptions and bytes are left: {left:?}"));
            }
        }
        Ok(())
    }
}

fn name_of(topic: usize) -> String {
    format!("topic {topic}")
}
