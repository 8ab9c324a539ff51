//! Peers that do anything, on a network that does anything, in a loop of ours and in one outside: what comes back is
//! what was sent, in order, and each connection is opened and closed once. Bytes are plain, or go through the
//! transform that stands for TLS.

use std::rc::Rc;
use std::time::Duration;

use sockeye::raw::RawClosed;
use sockeye::service::ServiceState;
use sockeye::sim::{Faults, Network, PeerEnd, Turn, seeds};
use sockeye::sys::Address;
use sockeye::{Limits, Service};
use sockeye_testing::outer::{Outer, Table};
use sockeye_testing::raw::{Log, NAME, Note, Obeys};
use sockeye_testing::rng::Rng;
use sockeye_testing::wire::Wire;

struct Client {
    peer: Option<Wire>,
    sent: Vec<u8>,
    back: Vec<u8>,
    actions: usize,
    was_reset: bool,
}

impl Client {
    fn new(peer: Option<Wire>) -> Self {
        Self { peer, sent: Vec::new(), back: Vec::new(), actions: 30, was_reset: false }
    }

    /// Does one thing. Orders are upper-case, so what is sent back is known.
    fn act(&mut self, rng: &mut Rng) {
        let Some(peer) = &self.peer else { return };
        self.back.extend(peer.recv_at_most(rng.of(0..20_000)));
        if self.actions == 0 {
            return;
        }
        self.actions -= 1;
        match rng.of(0..20) {
            0..=12 => {
                let bytes: Vec<u8> = (0..rng.of(1..2000)).map(|_| rng.of(b'a' as usize..b'z' as usize) as u8).collect();
                peer.send(&bytes);
                self.sent.extend(bytes);
            }
            13 => peer.send(b"Q"),
            14 => peer.send(b"H"),
            15 => peer.set_window(rng.of(0..4000)),
            16 => peer.set_window(usize::MAX),
            // What is sent after its end goes nowhere.
            17 if rng.percent(30) => self.actions = 0,
            18 if rng.percent(30) => peer.send([b"N", b"R", b"C", b"L", b"S", b"E"][rng.of(0..6)]),
            19 if rng.percent(20) => {
                peer.reset();
                (self.was_reset, self.actions) = (true, 0);
            }
            _ => {}
        }
        if self.actions == 0 {
            peer.set_window(usize::MAX);
            peer.shutdown();
        }
    }

    fn finish(&mut self) {
        if let Some(peer) = &self.peer {
            self.back.extend(peer.recv());
            if peer.is_closed() || self.was_reset {
                self.was_reset |= peer.end() == Some(PeerEnd::Reset);
                self.back.extend(peer.recv());
                self.peer = None;
            }
        }
    }
}

fn play(seed: u64, is_outer: bool, faults: Faults, scrambled: Option<u64>) -> Vec<Note> {
    let mut rng = Rng::new(seed);
    let network = Network::with_faults(seed, Faults::none());
    let host = network.host();
    let (log, most) = (Log::default(), Rc::default());
    let mut limits = Limits::default();
    (limits.turn_bytes, limits.turn_frames) = (rng.of(100..5000), rng.of(1..50));
    let obeys = Obeys {
        name: NAME,
        is_mute: false,
        log: Rc::clone(&log),
        chunk: rng.of(1..5000),
        most,
        every: Some(Duration::from_secs(1)),
    };
    let mut builder = Service::builder().limits(limits);
    let raw = builder.add_raw(obeys);
    if let Some(seed) = scrambled {
        builder = builder.scrambled(seed);
    }
    let builder = builder.listen_raw(Address::Ip(([127, 0, 0, 1], 7).into()), raw);
    let table = Table::default();
    let (mut service, mut outer) = if is_outer {
        let service = builder.build_external_with(host.sys(), table.clone()).unwrap();
        (service, Some(Outer::new(table.clone(), seed)))
    } else {
        (builder.build_with(host.sys()).unwrap(), None)
    };
    let address = service.local_addresses()[0].clone();
    network.set_faults(faults);
    let connect = |_| Client::new(network.connect(&address).ok().map(|peer| Wire::new(peer, scrambled)));
    let mut clients: Vec<Client> = (0..6).map(connect).collect();
    let limit = network.now() + Duration::from_secs(3600);
    let mut drained = false;
    network.run(|| {
        let mut again = false;
        if let Some(outer) = &mut outer {
            let turned = outer.turn(&mut service, &host, &|| {}).unwrap();
            (drained, again) = (drained | turned.drained, turned.again);
        } else {
            drained |= service.run_once(Some(Duration::ZERO)).unwrap() == ServiceState::Drained;
        }
        for client in &mut clients {
            client.act(&mut rng);
            if client.actions == 0 {
                client.finish();
            }
        }
        if clients.iter().all(|client| client.peer.is_none()) && service.connections() == 0 {
            return Turn::Done;
        }
        assert!(network.now() < limit, "seed {seed}: it does not end: {:?}", log.borrow());
        let soon = network.now() + Duration::from_millis(if again { 0 } else { 7 });
        Turn::Sleep(Some(service.next_deadline().unwrap_or(limit).min(soon)))
    });
    for client in &clients {
        let most = [client.sent.as_slice(), b"after your end"].concat();
        assert!(most.starts_with(&client.back), "seed {seed}: other bytes came back");
    }
    drop(service);
    assert!(table.is_empty(), "seed {seed}: descriptors are watched");
    assert_eq!((host.open_handles(), host.leaked_handles()), (0, 0), "seed {seed}");
    let log = log.borrow();
    let mut ends = Vec::new();
    for (id, story) in log.iter() {
        let count = |is: fn(&Note) -> bool| story.notes.iter().filter(|note| is(note)).count();
        let once = (count(|note| *note == Note::Open), count(|note| matches!(note, Note::Closed(_))));
        assert_eq!(once, (1, 1), "seed {seed}: {id} {story:?}");
        ends.extend(story.notes.last().cloned());
    }
    ends
}

#[test]
fn whatever_peers_and_network_do() {
    let mut seen = Vec::new();
    for seed in seeds(60) {
        for (is_outer, faults) in [(false, Faults::usual()), (true, Faults::usual()), (false, Faults::harsh())] {
            for scrambled in [None, Some(seed)] {
                seen.extend(play(seed, is_outer, faults.clone(), scrambled));
            }
        }
    }
    for wanted in [RawClosed::Local, RawClosed::Peer, RawClosed::Reset] {
        assert!(seen.contains(&Note::Closed(wanted)), "{wanted:?} did not happen");
    }
    assert!(seen.iter().any(|note| matches!(note, Note::Closed(RawClosed::Broken(_)))), "none broke");
}
