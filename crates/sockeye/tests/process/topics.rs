//! What a subscription takes, and what a publish does once for all, by the allocator.

use std::net::TcpStream;
use std::time::Instant;

use sockeye::topics::{Delivery, SlowReader, TopicOptions};
use sockeye::{Builder, Compression, ConnId, Service, messages};

use super::allocator;
use super::memory::Site;

const CONNECTIONS: usize = 3000;
/// Bytes of a subscription, its topic apart.
const MOST: f64 = 24.0;

pub(crate) fn a_subscription_takes_at_most_24_bytes() {
    let mut site = Site::serving(Service::builder().fallback(messages::echo("news")));
    let peers: Vec<_> = (0..CONNECTIONS).map(|_| site.open_with("")).collect();
    let mut control = site.service.control();
    let ids = control.connection_ids();
    assert_eq!(ids.len(), CONNECTIONS);
    let mut subscribe = |ids: &[ConnId], topic: &str| {
        let before = allocator::bytes_held();
        for id in ids {
            control.connection(*id).unwrap().subscribe(topic).unwrap();
        }
        (allocator::bytes_held() - before) as f64 / ids.len() as f64
    };
    // The first has what a connection takes once. The memory of a topic itself is shared by so many that it hardly counts.
    let figures = [subscribe(&ids, "all"), subscribe(&ids, "all, again")];
    println!("bytes a subscription: {figures:.1?}");
    assert!(figures.iter().all(|bytes| *bytes <= MOST), "{figures:?}");
    drop(peers);
}

/// Both ends of each are descriptors of this process.
const MANY: usize = 9000;
const SLOW: usize = 100;
const LONG: usize = 8192;

struct Crowd {
    site: Site,
    ids: Vec<ConnId>,
    peers: Vec<TcpStream>,
}

impl Crowd {
    /// Many connections that are subscribed to `all`, the first of them to `one`.
    fn new(builder: Builder, lines: &str) -> Self {
        let mut site = Site::serving(builder.fallback(messages::echo("news")));
        let peers: Vec<_> = (0..MANY).map(|_| site.open_with(lines)).collect();
        let mut control = site.service.control();
        let ids = control.connection_ids();
        for id in &ids {
            control.connection(*id).unwrap().subscribe("all").unwrap();
        }
        control.connection(ids[0]).unwrap().subscribe("one").unwrap();
        Self { site, ids, peers }
    }

    fn publish(&mut self, topic: &str) -> Delivery {
        let mut control = self.site.service.control();
        let delivery = control.protocol_named("news").unwrap().topic(topic).publish("x".repeat(LONG));
        self.site.turns(3);
        delivery
    }

    /// How often publishing asks for memory.
    fn allocations(&mut self, topic: &str) -> usize {
        let before = allocator::calls();
        self.publish(topic);
        allocator::calls() - before
    }

    /// Has some connections be behind: what is published for them waits in the service.
    fn slow_down(&mut self) {
        let mut control = self.site.service.control();
        for id in &self.ids[..SLOW] {
            control.connection(*id).unwrap().subscribe("filling").unwrap();
        }
        let options = TopicOptions::default().with_slow_reader(SlowReader::DropNewest).with_waiting_messages(1);
        control.protocol_named("news").unwrap().topic("filling").set_options(options).unwrap();
        let mut published = 0;
        while self.publish("filling").dropped < SLOW as u64 {
            published += 1;
            assert!(published < 10_000, "{published} messages of {LONG} bytes do not fill the sockets");
        }
    }
}

pub(crate) fn a_message_is_framed_once_however_many_get_it() {
    let begin = Instant::now();
    let mut crowd = Crowd::new(Service::builder(), "");
    // What is made once, and kept for the next.
    for topic in ["one", "all", "one", "all"] {
        assert_eq!(crowd.publish(topic).dropped, 0);
    }
    let [one, all] = ["one", "all"].map(|topic| crowd.allocations(topic));
    println!("{one} allocations to publish to one, {all} to {MANY}");
    assert!(one > 0 && all <= one + allocator::tidying(begin, 2), "{all} for {MANY} subscribers, {one} for one");

    crowd.slow_down();
    // The queues of the slow, with a place for several messages each.
    crowd.publish("all");
    let before = allocator::bytes_held();
    assert_eq!(crowd.publish("all").queued, MANY as u64);
    let kept = allocator::bytes_held() - before;
    println!("{kept} bytes are kept of a message of {LONG} for {SLOW} slow readers");
    // Framed once more for all of them together, in no more memory than it needs, and a place in the queue of each.
    let most = LONG + 1024 + SLOW * 512;
    assert!(kept >= LONG as isize && kept <= most as isize, "{kept} bytes for {SLOW} slow readers");
    drop(crowd.peers);
}

pub(crate) fn a_message_is_compressed_once_however_many_get_it() {
    let builder = Service::builder().compression(Compression::new());
    let mut crowd = Crowd::new(builder, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
    let counts = |crowd: &Crowd| {
        let statistics = crowd.site.service.statistics();
        [statistics.compression.deflated, statistics.compression.sent, statistics.sent.messages]
    };
    for _ in 0..3 {
        let before = counts(&crowd);
        assert_eq!(crowd.publish("all").queued, MANY as u64);
        let after = counts(&crowd);
        let more = [0, 1, 2].map(|index| after[index] - before[index]);
        assert_eq!(more, [1, MANY as u64, MANY as u64], "deflated, sent compressed, sent");
    }
    drop(crowd.peers);
}
