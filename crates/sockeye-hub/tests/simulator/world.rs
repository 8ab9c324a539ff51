//! The servers, the broker and the clients of one seed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use sockeye::messages::{self, Messages};
use sockeye::protocol::ProtocolHandle;
use sockeye::sim::{Faults, Network, Turn};
use sockeye::threads::Group;
use sockeye::topics::{SlowReader, TopicOptions};
use sockeye::{Connect, Limits, Service};
use sockeye_hub::{Everybody, History, Hub, Receipt, SUBPROTOCOL};
use sockeye_testing::rng::Rng;

use crate::broker::{Broker, KEPT, Lines, Store};
use crate::client::{At, Clients, Log, Stage, subscribe};

/// What has been seen of all seeds.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) messages: usize,
    pub(crate) published: usize,
    pub(crate) recovered: usize,
    pub(crate) gaps: usize,
    pub(crate) unknown: usize,
    pub(crate) refused: usize,
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.published += other.published;
        self.recovered += other.recovered;
        self.gaps += other.gaps;
        self.unknown += other.unknown;
        self.refused += other.refused;
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shape {
    One,
    Threads,
    /// With a broker that keeps messages, or does not.
    Servers {
        keeps: bool,
    },
}

struct World {
    rng: Rng,
    network: Network,
    shape: Shape,
    servers: Vec<Service>,
    /// Those of the servers: one each, or one for all.
    hubs: Vec<Hub>,
    broker: Option<Service>,
    store: Rc<RefCell<Store>>,
    client: Service,
    handle: ProtocolHandle<Messages<Clients>>,
    log: Rc<RefCell<Log>>,
    number: u64,
    topics: usize,
    /// The last messages may be lost to slow readers, who see that with the next one.
    drops_newest: bool,
}

pub(crate) fn run_seed(seed: u64, verbose: bool) -> Result<Seen, String> {
    let mut world = World::new(seed);
    if verbose {
        println!("{:?}, {} servers, strict: {}", world.shape, world.servers.len(), world.log.borrow().is_strict);
    }
    world.run()?;
    let log = world.log.borrow();
    Ok(Seen {
        messages: log.messages,
        published: log.published,
        recovered: log.recovered,
        gaps: log.gaps,
        unknown: log.unknown,
        refused: log.refused,
    })
}

/// What happens in the network, and what clients are told.
pub(crate) fn trace(seed: u64) -> Vec<String> {
    let mut world = World::new(seed);
    let trace = world.network.trace();
    let result = world.run();
    let mut lines: Vec<String> = trace.lines().iter().map(|line| without_service(line)).collect();
    lines.append(&mut world.log.borrow_mut().told);
    lines.push(format!("{result:?}"));
    lines
}

/// The ids of connections begin with the number of their service, in 16 bits. It grows in the process, so it is left out.
fn without_service(line: &str) -> String {
    let parts = line.split_inclusive(|end: char| !end.is_ascii_digit()).map(|part| {
        let digits = part.trim_end_matches(|end: char| !end.is_ascii_digit());
        match digits.parse::<u64>() {
            Ok(number) => format!("{}{}", number & ((1 << 48) - 1), &part[digits.len()..]),
            _ => part.to_owned(),
        }
    });
    parts.collect()
}

fn name_of(topic: usize) -> String {
    ["news", "a.*.b >", "\u{1F327}\r\n\0", "t"][topic].to_owned()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let buffer = *rng.pick(&[300, 1000, 5000]);
        let network = Network::with_faults(seed, Faults::usual().with_buffers(buffer, buffer));
        let shape =
            *rng.pick(&[Shape::One, Shape::Threads, Shape::Servers { keeps: true }, Shape::Servers { keeps: false }]);
        let store = Rc::new(RefCell::new(Store::default()));
        if shape == (Shape::Servers { keeps: true }) {
            store.borrow_mut().epoch = Some(1000);
        }
        let kept = *rng.pick(&[0, 3, KEPT]);
        let policies = [SlowReader::Close, SlowReader::DropOldest, SlowReader::DropNewest, SlowReader::KeepLatest];
        let policy = *rng.pick(&policies);
        let drops_nothing = policy == SlowReader::Close;
        let is_strict = drops_nothing && !matches!(shape, Shape::Servers { .. });
        let log = Rc::new(RefCell::new(Log { is_strict, drops_nothing, ..Log::default() }));
        let count = if shape == Shape::One { 1 } else { rng.of(1..4) };
        let waiting = *rng.pick(&[2, 10, 1000]);
        let options = move |_: &str| TopicOptions::default().with_slow_reader(policy).with_waiting_messages(waiting);
        let (most_topics, linger) = (*rng.pick(&[1, 2, 100]), Duration::from_millis(*rng.pick(&[0, 3000, 60_000])));
        let history = History::of_messages(kept).with_bytes(*rng.pick(&[1000, 1 << 20]));
        let hub = |index: usize| {
            let hub = Hub::builder().history(history).history_bytes(1500).topics(most_topics).linger(linger);
            hub.topic_options(options).seed(seed.wrapping_mul(10).wrapping_add(index as u64))
        };
        let builder = |index: usize| {
            let mut limits = Limits::default();
            limits.output_low_water = 2000;
            Service::builder().limits(limits).listen(format!("10.0.0.{}:80", index + 1))
        };
        let (hubs, servers) = servers(shape, count, &network, hub, builder);
        let mut of_clients = Service::builder();
        let handle = of_clients.add_protocol(messages::with("clients", Clients(Rc::clone(&log))));
        let client = of_clients.build_with(network.host().sys()).unwrap();
        for _ in 0..rng.of(1..7) {
            log.borrow_mut().members.push(crate::client::Member::default());
        }
        let topics = rng.of(1..5);
        let drops_newest = policy == SlowReader::DropNewest;
        let mut world = Self {
            rng,
            network,
            shape,
            servers,
            hubs,
            broker: None,
            store,
            client,
            handle,
            log,
            number: 0,
            topics,
            drops_newest,
        };
        world.start_broker();
        world
    }

    fn run(&mut self) -> Result<(), String> {
        for _ in 0..self.rng.of(20..200) {
            self.step();
            self.check()?;
        }
        self.finish()
    }

    fn has_broker(&self) -> bool {
        matches!(self.shape, Shape::Servers { .. })
    }

    fn start_broker(&mut self) {
        if self.has_broker() {
            let mut builder = Service::builder();
            let broker = builder.add_raw(Broker::new(Rc::clone(&self.store)));
            let builder = builder.listen_raw("10.0.9.9:4000", broker);
            self.broker = Some(builder.build_with(self.network.host().sys()).unwrap());
        }
    }

    fn turn(&mut self) {
        for service in self.servers.iter_mut().chain(&mut self.broker).chain([&mut self.client]) {
            service.run_once(Some(Duration::ZERO)).unwrap();
        }
    }

    fn check(&self) -> Result<(), String> {
        match self.log.borrow().faults.first() {
            Some(fault) => Err(fault.clone()),
            None => Ok(()),
        }
    }

    fn step(&mut self) {
        let members = self.log.borrow().members.len();
        let index = self.rng.of(0..members);
        let topic = name_of(self.rng.of(0..self.topics));
        let is_open = self.log.borrow().members[index].is_open;
        match self.rng.of(0..100) {
            0..15 => self.connect(index),
            15..30 if is_open => self.subscribe(index, &topic),
            30..32 if is_open => self.unsubscribe(index, &topic),
            32..34 if is_open => {
                self.subscribe(index, &topic);
                self.unsubscribe(index, &topic);
            }
            56..58 => self.publish_by_program(&topic),
            58..60 if is_open => self.subscribe_again(index, &topic),
            34..56 if is_open => self.publish(index, &topic),
            60..65 => self.read(index, false),
            65..73 => self.read(index, true),
            73..77 => self.end(index),
            77..79 if self.has_broker() => self.kill_broker(),
            79..80 if self.has_broker() => self.forget(),
            80..82 if self.has_broker() => {
                let mut store = self.store.borrow_mut();
                match self.rng.of(0..3) {
                    0 => store.refuses.insert(topic),
                    1 => store.ends.insert(topic),
                    _ => store.loses.insert(topic),
                };
            }
            _ => {
                let micros = *self.rng.pick(&[100, 10_000, 300_000, 2_000_000]);
                for _ in 0..self.rng.of(1..8) {
                    self.turn();
                    self.network.advance(Duration::from_micros(micros));
                }
            }
        }
    }

    fn connect(&mut self, index: usize) {
        if self.log.borrow().members[index].id.is_some() {
            return;
        }
        let server = self.rng.of(0..self.servers.len());
        let connect = Connect::new(&format!("ws://10.0.0.{}/", server + 1)).unwrap().subprotocol(SUBPROTOCOL).unwrap();
        let id = self.client.control().protocol(self.handle).unwrap().connect(connect);
        let mut log = self.log.borrow_mut();
        let member = &mut log.members[index];
        // What another server said has another epoch, perhaps, and is asked for all the same.
        member.server = server;
        member.id = Some(id);
    }

    fn send(&mut self, index: usize, text: String) {
        let mut log = self.log.borrow_mut();
        let member = &mut log.members[index];
        member.to_send.push(text);
        let id = member.id.unwrap();
        drop(log);
        self.client.control().connection(id).unwrap().request_writable();
    }

    fn subscribe(&mut self, index: usize, topic: &str) {
        let (since, last) = (self.rng.percent(80), *self.rng.pick(&[0, 0, 2, 100]));
        let mut log = self.log.borrow_mut();
        let member = &mut log.members[index];
        if member.topics.contains_key(topic) {
            return;
        }
        let id = member.next_id();
        member.topics.insert(topic.into(), Stage::Asked(id));
        if !since {
            member.at.remove(topic);
        }
        // With both, what was seen may come again.
        let last = if member.at.contains_key(topic) { 0 } else { last };
        let text = subscribe(id, topic, member.at.get(topic), last, id % 2 == 0);
        member.counts.remove(topic);
        drop(log);
        self.send(index, text);
    }

    fn unsubscribe(&mut self, index: usize, topic: &str) {
        let mut log = self.log.borrow_mut();
        let member = &mut log.members[index];
        match member.topics.insert(topic.into(), Stage::Leaving) {
            Some(Stage::Asked(id)) => _ = member.given_up.insert(id),
            Some(Stage::Live) => {}
            Some(other) => {
                member.topics.insert(topic.into(), other);
                return;
            }
            None => {
                member.topics.remove(topic);
                return;
            }
        }
        let id = member.next_id();
        drop(log);
        self.send(index, json!({"type": "unsubscribe", "id": id, "topic": topic}).to_string());
    }

    /// Leaves and asks again, before the hub has said anything of it.
    fn subscribe_again(&mut self, index: usize, topic: &str) {
        self.unsubscribe(index, topic);
        let mut log = self.log.borrow_mut();
        let member = &mut log.members[index];
        if member.topics.get(topic) != Some(&Stage::Leaving) {
            return;
        }
        let (id, at) = (member.next_id(), member.at.get(topic).cloned());
        let text = subscribe(id, topic, at.as_ref(), 0, id % 2 == 0);
        member.topics.insert(topic.into(), Stage::Again(id, at));
        member.counts.remove(topic);
        drop(log);
        self.send(index, text);
    }

    fn publish_by_program(&mut self, topic: &str) {
        self.number += 1;
        let (text, server) = (format!("{} of the program", self.number), self.rng.of(0..self.servers.len()));
        let hub = self.hubs.get(server).unwrap_or(&self.hubs[0]);
        if let Ok(Receipt::Published(Some(at))) = hub.publish(&mut self.servers[server].control(), topic, &*text) {
            let at = At { epoch: format!("{:016x}", at.epoch), offset: at.offset };
            self.log.borrow_mut().learn(topic, &at, self.number, None);
        }
    }

    fn publish(&mut self, index: usize, topic: &str) {
        for _ in 0..self.rng.of(1..6) {
            self.number += 1;
            let text = format!("{} {}", self.number, "abc".repeat(*self.rng.pick(&[0, 5, 300])));
            let key = *self.rng.pick(&[None, Some(""), Some("a"), Some("b")]);
            let mut log = self.log.borrow_mut();
            let member = &mut log.members[index];
            let id = member.next_id();
            member.publishes.insert(id, (topic.into(), self.number));
            drop(log);
            self.send(
                index,
                json!({"type": "publish", "id": id, "topic": topic, "data": text, "key": key}).to_string(),
            );
        }
    }

    fn read(&mut self, index: usize, on: bool) {
        let Some(id) = self.log.borrow().members[index].id else { return };
        if let Ok(mut connection) = self.client.control().connection(id) {
            if on { connection.resume_reading() } else { connection.pause_reading() }
        }
    }

    fn end(&mut self, index: usize) {
        let Some(id) = self.log.borrow().members[index].id else { return };
        if let Ok(mut connection) = self.client.control().connection(id) {
            connection.abort();
        }
    }

    /// The broker's process is killed, or started.
    fn kill_broker(&mut self) {
        match self.broker.take() {
            Some(broker) => drop(broker),
            None => self.start_broker(),
        }
    }

    /// A broker that is started again has lost everything.
    fn forget(&self) {
        if self.broker.is_none() {
            let mut store = self.store.borrow_mut();
            store.topics.clear();
            store.epoch = store.epoch.map(|epoch| epoch + 1);
        }
    }

    /// Everybody reads, the broker is there, and nothing more happens: subscribers of one history are at one place.
    fn finish(&mut self) -> Result<(), String> {
        if self.broker.is_none() {
            self.start_broker();
        }
        let members = self.log.borrow().members.len();
        for index in 0..members {
            self.read(index, true);
        }
        let (network, limit) = (self.network.clone(), self.network.now() + Duration::from_secs(100));
        network.run(|| {
            self.turn();
            if network.now() >= limit {
                return Turn::Done;
            }
            let services = self.servers.iter().chain(&self.broker).chain([&self.client]);
            let next = services.filter_map(Service::next_deadline).min();
            Turn::Sleep(Some(next.unwrap_or(limit).min(limit)))
        });
        self.check()?;
        self.check_positions()?;
        self.check_truth()?;
        self.check_presence()?;
        self.check_broker()?;
        let log = self.log.borrow();
        for (index, member) in log.members.iter().enumerate() {
            if let Some((id, publish)) = member.publishes.iter().next().filter(|_| member.is_open) {
                return Err(format!("client {index} has no answer to {id}, {publish:?}"));
            }
            if let Some((topic, stage)) = member.topics.iter().find(|(_, stage)| **stage != Stage::Live) {
                return Err(format!("client {index}, {topic}: {stage:?}"));
            }
        }
        Ok(())
    }

    fn check_positions(&self) -> Result<(), String> {
        let is_shared = self.shape != Shape::Servers { keeps: false };
        let mut places = BTreeMap::new();
        let log = self.log.borrow();
        for (index, member) in log.members.iter().enumerate().filter(|(_, member)| member.is_open) {
            for (topic, _) in member.topics.iter().filter(|(_, stage)| **stage == Stage::Live) {
                let at = &member.at[topic];
                let key = (topic.clone(), if is_shared { 0 } else { member.server });
                if self.drops_newest {
                    continue;
                }
                let (other, place) = places.entry(key).or_insert_with(|| (index, at.clone()));
                if place != at {
                    return Err(format!("{topic}: client {other} is at {place:?}, client {index} at {at:?}"));
                }
                let last = log.truth.get(&(topic.clone(), at.epoch.clone())).and_then(|known| known.keys().last());
                if last.is_some_and(|last| *last > at.offset) {
                    return Err(format!("client {index}, {topic}: at {at:?}, and there is {last:?}"));
                }
            }
        }
        Ok(())
    }

    /// It is there, so all are connected, and nothing waits for it.
    fn check_broker(&self) -> Result<(), String> {
        for (index, hub) in self.hubs.iter().enumerate() {
            if let Some(status) = hub.statistics().broker
                && (!status.is_connected || status.queued_bytes > 0 || status.unconfirmed > 0)
            {
                return Err(format!("server {index}: {status:?}"));
            }
        }
        Ok(())
    }

    /// Who asked for it knows how many subscribers there are at its server.
    fn check_presence(&self) -> Result<(), String> {
        let log = self.log.borrow();
        let is_apart = matches!(self.shape, Shape::Servers { .. });
        for (index, member) in log.members.iter().enumerate().filter(|(_, member)| member.is_open) {
            for (topic, count) in &member.counts {
                let here =
                    log.members.iter().filter(|other| other.is_open && (!is_apart || other.server == member.server));
                let there_are = here.filter(|other| other.topics.contains_key(topic)).count() as u64;
                if member.topics.contains_key(topic) && *count != there_are {
                    return Err(format!("client {index}, {topic}: it was told of {count} subscribers, of {there_are}"));
                }
            }
        }
        Ok(())
    }

    /// What a message says of the one before it is true, so that a client that follows it has missed nothing.
    fn check_truth(&self) -> Result<(), String> {
        for ((topic, epoch), known) in &self.log.borrow().truth {
            let mut before = None;
            for (offset, (_, previous)) in known {
                if let (Some(previous), Some(before)) = (previous, before)
                    && *previous < before
                {
                    return Err(format!("{topic} {epoch}: {offset} says {previous}, and there is {before}"));
                }
                before = Some(*offset);
            }
        }
        Ok(())
    }
}

/// The services of a shape, and their hubs: one each, or one for all.
fn servers(
    shape: Shape,
    count: usize,
    network: &Network,
    hub: impl Fn(usize) -> sockeye_hub::HubBuilder,
    builder: impl Fn(usize) -> sockeye::Builder,
) -> (Vec<Hub>, Vec<Service>) {
    let mut hubs = Vec::new();
    let servers = match shape {
        Shape::One => {
            let (hub, builder) = hub(0).install(builder(0), Everybody).unwrap();
            hubs.push(hub);
            vec![builder.build_with(network.host().sys()).unwrap()]
        }
        Shape::Servers { keeps } => (0..count)
            .map(|index| {
                let hub = hub(index).backplane(Lines::new(keeps));
                let (hub, builder) = hub.install(builder(index), Everybody).unwrap();
                hubs.push(hub);
                builder.build_with(network.host().sys()).unwrap()
            })
            .collect(),
        Shape::Threads => {
            let (hub, services) = threads(count, network, hub(0), builder);
            hubs.push(hub);
            services
        }
    };
    (hubs, servers)
}

/// Several services with one hub.
fn threads(
    count: usize,
    network: &Network,
    hub: sockeye_hub::HubBuilder,
    builder: impl Fn(usize) -> sockeye::Builder,
) -> (Hub, Vec<Service>) {
    let hub = hub.threads().unwrap();
    let services: Vec<Service> = (0..count)
        .map(|index| hub.install_at(index, builder(index), Everybody).build_with(network.host().sys()).unwrap())
        .collect();
    hub.attach(&Group::of(services.iter().map(Service::remote)));
    (hub.hub().clone(), services)
}
