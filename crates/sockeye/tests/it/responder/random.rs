//! Random requests on bad networks, from peers that go at any moment: each session ends once.

use std::collections::HashSet;
use std::mem;
use std::time::Duration;

use sockeye::Limits;
use sockeye::sim::{Fault, Faults, Peer, seeds};
use sockeye_testing::rng::Rng;

use super::bench::{Site, ask};

const PATHS: [&str; 17] = [
    "now", "end", "write", "chunked", "length", "short", "long", "none", "begin", "stream", "pause", "timer",
    "patient", "wait", "early", "twice", "abort",
];

#[test]
fn each_session_ends_once_whatever_happens() {
    let mut kinds = HashSet::new();
    for seed in seeds(60) {
        let mut rng = Rng::new(seed);
        let lossy = Faults::usual().with(Fault::Reset, 5).with(Fault::AcceptFailed, 200);
        let faults = if seed % 2 == 0 { Faults::usual() } else { lossy };
        let mut limits = Limits::default();
        limits.turn_bytes = 64 << rng.of(0..12);
        let mut site = Site::with(seed, faults, limits);
        let mut peers: Vec<Peer> = Vec::new();
        for _ in 0..60 {
            match rng.of(0..10) {
                0..=2 => peers.push(site.connect()),
                3..=6 if !peers.is_empty() => send(&peers[rng.of(0..peers.len())], &mut rng),
                7 if !peers.is_empty() => {
                    let peer = peers.swap_remove(rng.of(0..peers.len()));
                    match rng.of(0..3) {
                        0 => peer.reset(),
                        1 => peer.shutdown(),
                        _ => peer.close(),
                    }
                }
                8 => {
                    let handle = site.handle;
                    site.service.control().responder(handle).unwrap().request_writable();
                }
                _ => {}
            }
            site.settle();
            for peer in &peers {
                let _ = peer.recv_at_most(rng.of(0..5000));
            }
            site.network.advance(Duration::from_millis(rng.draw() % 3000));
        }
        if rng.of(0..2) == 0 {
            site.service.drain();
            let limit = site.network.now() + Duration::from_secs(20);
            while site.service.connections() > 0 {
                site.settle();
                site.network.advance(Duration::from_millis(100));
                assert!(site.network.now() < limit, "seed {seed}: the drain does not end");
            }
        }
        let notes = site.notes.clone();
        drop(site);
        let lines = notes.lines.borrow();
        let closed: Vec<&String> = lines.iter().filter(|line| line.starts_with("closed ")).collect();
        let begun = notes.ids.borrow().len() - lines.iter().filter(|line| line.ends_with("/now")).count();
        assert_eq!(closed.len(), begun, "seed {seed}");
        let mut different = closed.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), closed.len(), "seed {seed}");
        kinds.extend(notes.ends.borrow().iter().map(mem::discriminant));
    }
    assert!(kinds.len() >= 7 || seeds(60).count() < 60, "{} ways to end", kinds.len());
}

/// One or several requests, of which the last may be unfinished.
fn send(peer: &Peer, rng: &mut Rng) {
    for _ in 0..=rng.of(0..3) {
        let path = rng.pick(&PATHS);
        let length = 1 + rng.of(0..2000);
        let mut request = ask(&format!("POST /{path}"), &format!("Content-Length: {length}\r\n\r\n"));
        request.extend(std::iter::repeat_n(b'x', length));
        if rng.of(0..5) == 0 {
            request.truncate(rng.of(0..request.len()));
            return peer.send(&request);
        }
        peer.send(&request);
    }
}
