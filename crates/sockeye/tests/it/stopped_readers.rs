//! A busy topic with a thousand readers, of which a hundred have stopped, for each treatment of slow readers: what is held for them is bounded,
//! the others get everything in order, and each message is accounted for at each subscriber.

use std::collections::BTreeMap;
use std::time::Duration;

use sockeye::sim::{Faults, Network, Peer};
use sockeye::topics::{Delivery, SlowReader, TopicOptions};
use sockeye::{Service, messages};

const READERS: usize = 1000;
/// Every tenth has stopped.
const EACH: usize = 10;
const STOPPED: u64 = (READERS / EACH) as u64;
const MESSAGES: u64 = 150;
/// So many are published in one turn.
const TOGETHER: u64 = 3;
/// So many messages of the topic may wait for one reader.
const WAITING: u64 = 16;
const KEYS: u64 = 7;
/// What the network has room for on the way to one peer.
const ON_THE_WAY: usize = 1000;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// The Close frame with 1013.
const TRY_AGAIN: &[u8] = b"\x88\x02\x03\xf5";

/// A message, as it is on the wire.
fn frame(number: u64) -> Vec<u8> {
    let text = text(number);
    [&[0x81, text.len() as u8], text.as_bytes()].concat()
}

fn text(number: u64) -> String {
    format!("{number:03} {}", "abcdefgh".repeat(12))
}

struct World {
    network: Network,
    service: Service,
    /// All peers, with what they have received.
    peers: Vec<(Peer, Vec<u8>)>,
    delivery: Delivery,
}

impl World {
    fn new(slow_reader: SlowReader) -> Self {
        let network = Network::with_faults(1, Faults::none().with_buffers(ON_THE_WAY / 2, ON_THE_WAY / 2));
        let builder = Service::builder().listen("10.0.0.1:80").fallback(messages::echo("news"));
        let service = builder.build_with(network.sys()).unwrap();
        let mut world = Self { network, service, peers: Vec::new(), delivery: Delivery::default() };
        for _ in 0..READERS {
            let peer = world.network.connect(&world.service.local_addresses()[0]).unwrap();
            peer.set_window(ON_THE_WAY / 2);
            peer.send(REQUEST);
            world.peers.push((peer, Vec::new()));
            world.turn();
        }
        for _ in 0..100 {
            world.turn();
            world.read(|_| true);
        }
        let mut control = world.service.control();
        for id in control.connection_ids() {
            control.connection(id).unwrap().subscribe("busy").unwrap();
        }
        let options = TopicOptions::default().with_slow_reader(slow_reader).with_waiting_messages(WAITING as u32);
        control.protocol_named("news").unwrap().topic("busy").set_options(options).unwrap();
        for (index, (_, received)) in world.peers.iter_mut().enumerate() {
            assert!(received.ends_with(b"\r\n\r\n"), "{index} has no answer: {received:?}");
            received.clear();
        }
        world
    }

    fn turn(&mut self) {
        self.service.run_once(Some(Duration::ZERO)).unwrap();
        self.network.advance(Duration::from_millis(1));
    }

    fn read(&mut self, reads: impl Fn(usize) -> bool) {
        for (index, (peer, received)) in self.peers.iter_mut().enumerate() {
            if reads(index) {
                received.extend(peer.recv());
            }
        }
    }

    /// Publishes one message. Whatever happens to it, it happens to each subscriber once.
    fn publish(&mut self, number: u64) {
        let mut control = self.service.control();
        let mut protocol = control.protocol_named("news").unwrap();
        let mut topic = protocol.topic("busy");
        let subscribers = topic.subscriber_count() as u64;
        let delivery = topic.publish_latest((number % KEYS).to_string(), text(number));
        let Delivery { queued, dropped, closed, .. } = delivery;
        assert_eq!(queued + dropped + closed, subscribers, "message {number}: {delivery:?}");
        assert_eq!(topic.subscriber_count() as u64, subscribers - closed);
        self.delivery += delivery;
    }

    /// Publishes all messages, which some read. Returns what was held after each turn.
    fn publish_all(&mut self) -> Vec<u64> {
        let mut held = Vec::new();
        for number in 0..MESSAGES {
            self.publish(number);
            if number % TOGETHER == TOGETHER - 1 {
                self.turn();
                self.turn();
                self.read(|index| index % EACH != 0);
                held.push(self.service.statistics().held_bytes);
            }
        }
        held
    }

    /// Those that had stopped read everything.
    fn catch_up(&mut self) {
        for _ in 0..100 {
            self.read(|_| true);
            self.turn();
        }
    }

    /// The numbers of the messages that a peer got, in their order; and whether it was closed with 1013 behind them.
    fn numbers(&self, index: usize) -> (Vec<u64>, bool) {
        let (_, received) = &self.peers[index];
        let (frames, is_closed) = match received.strip_suffix(TRY_AGAIN) {
            Some(frames) => (frames, true),
            None => (&received[..], false),
        };
        let frames = frames.chunks(frame(0).len());
        let numbers = frames.map(|bytes| {
            let number = String::from_utf8_lossy(&bytes[2..5]).parse().unwrap();
            assert_eq!(bytes, frame(number), "reader {index}");
            number
        });
        (numbers.collect(), is_closed)
    }
}

/// Runs the scenario and checks what holds for each policy. Returns what a reader that had stopped got: all of them got the same.
fn run(slow_reader: SlowReader) -> (Vec<u64>, World) {
    let mut world = World::new(slow_reader);
    let held = world.publish_all();
    let most = *held.iter().max().unwrap();
    println!("{slow_reader:?}: {most} bytes held at most, {:?}", world.delivery);
    // The places of messages that wait, the messages themselves (once for all), and what a socket took a part of.
    let place = 128;
    let bound = STOPPED * (WAITING + TOGETHER) * place + (WAITING + KEYS) * 1024 + STOPPED * 1024;
    assert!(most <= bound, "{slow_reader:?}: {most} bytes are held for {STOPPED} readers that have stopped");
    let [first, second] = [&held[..held.len() / 2], &held[held.len() / 2..]].map(|half| half.iter().max().unwrap());
    assert!(second <= first, "{slow_reader:?}: what is held grows, from {first} to {second}");

    let everything: Vec<u64> = (0..MESSAGES).collect();
    for index in (0..READERS).filter(|index| index % EACH != 0) {
        assert_eq!(world.numbers(index), (everything.clone(), false), "{slow_reader:?}: reader {index}");
    }
    world.catch_up();
    let (got, _) = world.numbers(0);
    for index in (0..READERS).step_by(EACH) {
        assert_eq!(world.numbers(index), (got.clone(), slow_reader == SlowReader::Close), "{slow_reader:?}: {index}");
    }
    assert!(taken(&got) < MESSAGES / 2, "{slow_reader:?}: they have not stopped");
    assert!(got.windows(2).all(|pair| pair[0] < pair[1]), "{slow_reader:?}: {got:?}");
    let statistics = world.service.statistics();
    let topics = statistics.topics;
    let sums = [topics.published, topics.queued, topics.dropped, topics.closed];
    let Delivery { queued, dropped, closed, .. } = world.delivery;
    assert_eq!(sums, [MESSAGES, queued, dropped, closed], "{slow_reader:?}");
    assert_eq!(statistics.held_bytes, 0, "{slow_reader:?}: all have read");
    (got, world)
}

/// What went on its way before the reader's socket took no more.
fn taken(got: &[u64]) -> u64 {
    (0..).zip(got).take_while(|(number, got)| number == *got).count() as u64
}

#[test]
fn readers_that_stop_are_closed_and_the_others_get_everything() {
    let (got, mut world) = run(SlowReader::Close);
    assert_eq!(world.delivery.closed, STOPPED);
    assert_eq!(world.delivery.dropped, 0);
    // What waited of the topic is dropped with the connection; what was on its way arrives, and then the Close frame.
    assert_eq!(got.len() as u64, taken(&got));
    assert!(got.len() as u64 >= ON_THE_WAY as u64 / 2 / frame(0).len() as u64 && (got.len() as u64) < MESSAGES / 2);
    world.publish(0);
    assert_eq!(world.delivery.closed, STOPPED, "each stopped reader is closed once");
}

#[test]
fn readers_that_stop_lose_the_oldest_messages_and_the_others_get_everything() {
    let (got, world) = run(SlowReader::DropOldest);
    let taken = taken(&got);
    let expected: Vec<u64> = (0..taken).chain(MESSAGES - WAITING..MESSAGES).collect();
    assert_eq!(got, expected);
    assert_eq!([world.delivery.dropped, world.delivery.closed], [STOPPED * (MESSAGES - got.len() as u64), 0]);
}

#[test]
fn readers_that_stop_lose_the_newest_messages_and_the_others_get_everything() {
    let (got, mut world) = run(SlowReader::DropNewest);
    assert_eq!(got.len() as u64, taken(&got));
    assert_eq!([world.delivery.dropped, world.delivery.closed], [STOPPED * (MESSAGES - got.len() as u64), 0]);
    // Who reads again gets what comes then.
    world.publish(MESSAGES);
    world.catch_up();
    assert_eq!(world.numbers(0).0.last(), Some(&MESSAGES));
}

#[test]
fn readers_that_stop_keep_the_latest_of_each_key_and_the_others_get_everything() {
    let (got, world) = run(SlowReader::KeepLatest);
    let taken = taken(&got);
    let latest: BTreeMap<u64, u64> = (taken..MESSAGES).map(|number| (number % KEYS, number)).collect();
    let mut latest: Vec<u64> = latest.into_values().collect();
    latest.sort_unstable();
    assert_eq!(got, (0..taken).chain(latest).collect::<Vec<_>>());
    assert_eq!([world.delivery.dropped, world.delivery.closed], [STOPPED * (MESSAGES - got.len() as u64), 0]);
}
