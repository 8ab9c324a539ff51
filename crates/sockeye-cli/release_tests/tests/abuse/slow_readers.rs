//! SR: a hundred readers of a topic that stop, beside nine hundred that do not, for each value of `--slow-reader`.

use std::time::Instant;

use serde_json::{Value, json};

use super::support::{
    Case, FIN, Frame, Launch, PATIENCE, PING, PONG, Peer, Request, Row, Server, TEXT, TempDir, eventually, rows,
};

pub(crate) fn rows() -> Vec<Case> {
    rows![
        Heavy:
            sr01_readers_that_stop_are_closed,
            sr02_readers_that_stop_lose_the_oldest_messages,
            sr03_readers_that_stop_lose_the_newest_messages,
            sr04_readers_that_stop_keep_the_latest_of_each_key;
    ]
}

const READING: usize = 900;
const STOPPED: usize = 100;
const SUBSCRIBERS: u64 = (READING + STOPPED) as u64;
const MESSAGES: u64 = 400;
/// After this many messages the test waits for all readers, so that none of them becomes slow.
const TOGETHER: u64 = 20;
const WAITING: u64 = 100;
const KEYS: u64 = 7;
/// The sockets themselves hold some MiB, which goes there in messages of this length.
const FILLING: usize = 16 << 10;
/// So many more when the first of them are full.
const MARGIN: u64 = 60;

/// A hub with its readers.
struct Hub {
    server: Server,
    reading: Vec<Peer>,
    stopped: Vec<Peer>,
    publisher: Peer,
    id: u64,
    /// How many messages of the busy topic there are.
    published: u64,
}

impl Hub {
    fn start(folder: &TempDir, slow_reader: &str) -> Self {
        let waiting = WAITING.to_string();
        let words =
            ["--topics", "--open-publish", "--history", "0", "--metrics", "/metrics", "--slow-reader", slow_reader];
        let launch = words.iter().fold(Launch::serve(folder.path()), |launch, word| launch.with(word));
        let server = launch.with("--waiting-messages").with(waiting).start();
        let publisher = Peer::upgraded_by(&server, &upgrade());
        Self { server, reading: Vec::new(), stopped: Vec::new(), publisher, id: 0, published: 0 }
    }

    fn gather(&mut self) {
        self.reading = (0..READING).map(|_| Peer::upgraded_by(&self.server, &upgrade())).collect();
        self.stopped = (0..STOPPED)
            .map(|_| {
                let mut peer = Peer::connect_with_buffers(&self.server, 4096);
                peer.upgrade(&upgrade());
                peer
            })
            .collect();
        self.reading.iter_mut().for_each(|peer| subscribe(peer, "busy"));
        for peer in &mut self.stopped {
            subscribe(peer, "busy");
            subscribe(peer, "filling");
        }
    }

    fn publish(&mut self, topic: &str, key: &str, data: &str) {
        self.id += 1;
        let publish = json!({"type": "publish", "id": self.id, "topic": topic, "key": key, "data": data});
        self.publisher.send_frame(FIN | TEXT, publish.to_string());
        let answer = value(&self.publisher.answer().expect("an answer"));
        assert_eq!((&answer["type"], &answer["id"]), (&json!("published"), &json!(self.id)));
    }

    /// Publishes the next message of the busy topic.
    fn go_on(&mut self) {
        self.published += 1;
        let key = (self.published % KEYS).to_string();
        self.publish("busy", &key, &"x".repeat(100));
    }

    /// Those that read nothing send something, so that they are not taken for dead: who is silent is asked, and could not answer.
    fn live_on(&mut self) {
        self.stopped.iter_mut().for_each(|peer| peer.send_frame(FIN | PONG, ""));
    }

    /// Fills the sockets of those that have stopped, by a topic of their own, which they leave then.
    fn fill(&mut self) {
        let (data, before, mut full_at) = ("f".repeat(FILLING), self.metric("sockeye_held_bytes"), None);
        let mut number = 0;
        while full_at.is_none_or(|full_at| number < full_at + MARGIN) {
            // Each a key of its own: none takes the place of another.
            self.publish("filling", &number.to_string(), &data);
            number += 1;
            if full_at.is_none() && number % 8 == 0 && self.metric("sockeye_held_bytes") > before + FILLING as u64 {
                full_at = Some(number);
            }
            if number % 8 == 0 {
                self.live_on();
            }
            assert!(number < 5000, "{number} messages of {FILLING} bytes, and no socket is full");
        }
        for peer in &mut self.stopped {
            peer.send_frame(FIN | TEXT, json!({"type": "unsubscribe", "id": 3, "topic": "filling"}).to_string());
        }
        eventually("they have left", PATIENCE, || self.metric("sockeye_subscriptions") == SUBSCRIBERS);
    }

    /// Publishes all messages. Those that read get each of them, in order. Returns what was held meanwhile.
    fn publish_all(&mut self) -> Vec<u64> {
        let (all, started, mut held) = (SUBSCRIBERS * MESSAGES, Instant::now(), Vec::new());
        while self.published < MESSAGES {
            let before = self.published;
            (0..TOGETHER).for_each(|_| self.go_on());
            held.push(self.metric("sockeye_held_bytes"));
            self.live_on();
            let mut expected = Vec::new();
            for offset in before + 1..=self.published {
                let frame = self.reading[0].answer().expect("a message");
                assert_eq!(place(&frame), (offset, offset - 1), "the first reader");
                expected.push(frame.payload);
            }
            for peer in &mut self.reading[1..] {
                expected.iter().for_each(|payload| peer.expect(TEXT, payload));
            }
        }
        println!("{all} deliveries in {:?}", started.elapsed());
        held
    }

    /// A counter of the server's page.
    fn metric(&self, name: &str) -> u64 {
        let mut peer = Peer::connect(&self.server);
        peer.send(Request::get("/metrics").bytes());
        let page = peer.reply().expect("the page").body;
        let page = String::from_utf8(page).expect("text");
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {page}"))
    }

    /// What became of all that was published: queued, dropped, closed.
    fn outcomes(&self) -> [u64; 3] {
        let outcome = |outcome| self.metric(&format!("sockeye_topic_deliveries_total{{outcome=\"{outcome}\"}}"));
        ["queued", "dropped", "closed"].map(outcome)
    }

    /// Reads what those that had stopped still get of the busy topic, `left` messages together; their offsets, by reader.
    fn catch_up(&mut self, left: u64) -> Vec<Vec<u64>> {
        let mut got = vec![Vec::new(); STOPPED];
        let count = |got: &[Vec<u64>]| got.iter().map(Vec::len).sum::<usize>() as u64;
        eventually("the readers get what was not dropped", PATIENCE, || {
            for (peer, got) in self.stopped.iter_mut().zip(&mut got) {
                for frame in peer.waiting_frames() {
                    if frame.opcode() == PING {
                        peer.send_frame(FIN | PONG, &frame.payload);
                    } else if !is_of_filling(&frame) {
                        got.push(place(&frame).0);
                    }
                }
            }
            count(&got) >= left
        });
        assert_eq!(count(&got), left, "more than was queued");
        got
    }
}

fn subscribe(peer: &mut Peer, topic: &str) {
    peer.send_frame(FIN | TEXT, json!({"type": "subscribe", "id": 1, "topic": topic}).to_string());
    assert_eq!(value(&peer.answer().expect("an answer"))["type"], "subscribed");
}

/// A message of the other topic, or the answer to leaving it.
fn is_of_filling(frame: &Frame) -> bool {
    let begin = &frame.payload[..frame.payload.len().min(100)];
    begin.windows(9).any(|part| part == b"\"filling\"")
}

fn upgrade() -> Request {
    Request::upgrade("/").add("Sec-WebSocket-Protocol", "sockeye.topics.v1")
}

fn value(frame: &Frame) -> Value {
    serde_json::from_slice(&frame.payload).expect("JSON")
}

/// The offset of a message, and that of the one before it.
fn place(frame: &Frame) -> (u64, u64) {
    assert_eq!(frame.opcode(), TEXT);
    let value = value(frame);
    assert_eq!(value["type"], "message", "{value}");
    (value["offset"].as_u64().expect("a number"), value["previous"].as_u64().expect("a number"))
}

/// Runs the scenario. `judge` has the hub, and what was queued, dropped and closed.
fn run(slow_reader: &str, judge: impl FnOnce(&mut Hub, [u64; 3])) {
    let folder = TempDir::new();
    let mut hub = Hub::start(&folder, slow_reader);
    let row = Row::begin_serve(&hub.server, folder.path());
    hub.gather();
    hub.fill();
    let before = hub.outcomes();
    let held = hub.publish_all();
    let after = hub.outcomes();
    let counts = [0, 1, 2].map(|index| after[index] - before[index]);
    let [first, second] = [&held[..held.len() / 2], &held[held.len() / 2..]].map(|half| half.iter().max());
    println!("{slow_reader}: {first:?} and {second:?} bytes held at most; queued, dropped, closed: {counts:?}");
    // For each that has stopped the places of what waits, and what its socket took a part of; and the messages, once for all.
    let bound = STOPPED as u64 * ((WAITING + 2) * 128 + FILLING as u64 + 2048) + (WAITING + TOGETHER) * 1024;
    assert!(first <= Some(&bound), "{first:?} bytes are held");
    assert!(second <= first, "what is held grows, from {first:?} to {second:?}");
    judge(&mut hub, counts);
    row.canaries_sing();
    let Hub { mut server, reading, stopped, publisher, .. } = hub;
    drop((reading, stopped, publisher));
    row.end(&mut server);
}

fn sr01_readers_that_stop_are_closed() {
    run("close", |hub, [queued, dropped, closed]| {
        // Each was a subscriber until as many waited as may.
        let to_stopped = STOPPED as u64 * WAITING;
        assert_eq!([queued, dropped, closed], [READING as u64 * MESSAGES + to_stopped, 0, STOPPED as u64]);
        let name = "sockeye_close_codes_sent_total{code=\"1013\"}";
        eventually("they are closed with 1013", PATIENCE, || hub.metric(name) == STOPPED as u64);
        for peer in &mut hub.stopped {
            eventually("a reader that had stopped is gone", PATIENCE, || peer.is_gone());
        }
    });
}

/// Runs the scenario with a policy that drops: every message is accounted for at each subscriber, and each loss was counted.
fn run_dropping(slow_reader: &str, expected: impl Iterator<Item = u64>) {
    run(slow_reader, |hub, [queued, dropped, closed]| {
        let expected: Vec<u64> = expected.collect();
        let lost = STOPPED as u64 * (MESSAGES - expected.len() as u64);
        assert_eq!([queued, dropped, closed], [SUBSCRIBERS * MESSAGES - lost, lost, 0]);
        let got = hub.catch_up(STOPPED as u64 * MESSAGES - dropped);
        assert!(got.iter().all(|got| *got == expected), "{got:?}");
        // Who reads again gets what comes then.
        hub.go_on();
        for peer in &mut hub.stopped {
            assert_eq!(place(&peer.answer().expect("a message")), (MESSAGES + 1, MESSAGES));
        }
    });
}

fn sr02_readers_that_stop_lose_the_oldest_messages() {
    run_dropping("drop-oldest", MESSAGES - WAITING + 1..=MESSAGES);
}

fn sr03_readers_that_stop_lose_the_newest_messages() {
    run_dropping("drop-newest", 1..=WAITING);
}

fn sr04_readers_that_stop_keep_the_latest_of_each_key() {
    run_dropping("keep-latest", MESSAGES - KEYS + 1..=MESSAGES);
}
