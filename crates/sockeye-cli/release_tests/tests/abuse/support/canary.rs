//! Twenty well-behaved connections beside the abuse: whatever happens, they are answered, rightly and in order.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{FIN, PATIENCE, Peer, Request, Server, TEXT, eventually};

const COUNT: usize = 20;
/// Between two rounds.
const PACE: Duration = Duration::from_millis(25);

/// What the canaries ask for.
#[derive(Clone, Debug)]
pub(crate) enum Song {
    Echo,
    /// This path, which must have this content.
    Get(String, Vec<u8>),
}

#[derive(Default)]
struct Shared {
    rounds: AtomicU64,
    resting: AtomicBool,
    /// The thread noticed that it should rest.
    rests: AtomicBool,
    over: AtomicBool,
    latencies: Mutex<Vec<Duration>>,
}

pub(crate) struct Canaries {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Canaries {
    /// Connects them and waits until each was answered twice.
    pub(crate) fn start(server: &Server, song: Song) -> Self {
        let peers: Vec<Peer> = (0..COUNT)
            .map(|_| match song {
                Song::Echo => Peer::upgraded(server),
                Song::Get(..) => Peer::connect(server),
            })
            .collect();
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || sing(peers, &song, &for_thread));
        let canaries = Self { shared, thread: Some(thread) };
        canaries.sing_on();
        canaries
    }

    /// All of them are answered twice more.
    pub(crate) fn sing_on(&self) {
        let wanted = self.shared.rounds.load(Ordering::SeqCst) + 2;
        eventually("the canaries are answered", PATIENCE, || {
            assert!(!self.thread.as_ref().is_some_and(JoinHandle::is_finished), "a canary fell silent");
            self.shared.rounds.load(Ordering::SeqCst) >= wanted
        });
    }

    /// They stay connected and say nothing, until [`Self::wake`].
    pub(crate) fn rest(&self) {
        self.shared.resting.store(true, Ordering::SeqCst);
        eventually("the canaries rest", PATIENCE, || self.shared.rests.load(Ordering::SeqCst));
    }

    pub(crate) fn wake(&self) {
        self.shared.resting.store(false, Ordering::SeqCst);
    }

    pub(crate) fn latencies(&self) -> Vec<Duration> {
        self.shared.latencies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Canaries {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let failed = thread.join().is_err();
            assert!(!failed || thread::panicking(), "a canary was answered wrongly");
        }
    }
}

fn sing(mut peers: Vec<Peer>, song: &Song, shared: &Shared) {
    for round in 0_u64.. {
        while shared.resting.load(Ordering::SeqCst) && !shared.over.load(Ordering::SeqCst) {
            shared.rests.store(true, Ordering::SeqCst);
            super::pass(PACE);
        }
        shared.rests.store(false, Ordering::SeqCst);
        if shared.over.load(Ordering::SeqCst) {
            return;
        }
        let mut sent = Vec::with_capacity(COUNT);
        for (number, peer) in peers.iter_mut().enumerate() {
            sent.push(Instant::now());
            match song {
                Song::Echo => peer.send_frame(FIN | TEXT, format!("canary {number}, round {round}")),
                Song::Get(path, _) => peer.send(Request::get(path).bytes()),
            }
        }
        let mut took = Vec::with_capacity(COUNT);
        for (number, (peer, sent)) in peers.iter_mut().zip(sent).enumerate() {
            match song {
                Song::Echo => {
                    let got = peer.answer().unwrap_or_else(|end| panic!("canary {number}, round {round}: {end:?}"));
                    assert_eq!(String::from_utf8_lossy(&got.payload), format!("canary {number}, round {round}"));
                }
                Song::Get(_, content) => {
                    let reply = peer.reply().unwrap_or_else(|end| panic!("canary {number}, round {round}: {end:?}"));
                    assert_eq!((reply.status, &reply.body), (200, content));
                }
            }
            took.push(sent.elapsed());
        }
        shared.latencies.lock().unwrap_or_else(PoisonError::into_inner).extend(took);
        shared.rounds.fetch_add(1, Ordering::SeqCst);
        super::pass(PACE);
    }
}

pub(crate) fn percentile_99(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort_unstable();
    latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default()
}
