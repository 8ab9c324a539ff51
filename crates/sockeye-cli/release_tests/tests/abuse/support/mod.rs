//! What every row uses: the server under test, peers that speak raw bytes, and the conditions that hold after each row.

mod canary;
mod case;
mod network;
mod peer;
mod process;
mod request;
mod row;
mod server;
mod strace;
mod temp;
mod tls;
mod wire;

pub(crate) use canary::percentile_99;
pub(crate) use case::{Case, Class, lend_turn, rows};
pub(crate) use network::isolated;
pub(crate) use peer::{End, Peer, Reply, refused};
pub(crate) use process::Process;
pub(crate) use request::{ACCEPT, Request};
pub(crate) use row::Row;
pub(crate) use server::{Launch, Server};
pub(crate) use strace::Strace;
pub(crate) use temp::TempDir;
pub(crate) use tls::{Credentials, Tls};
pub(crate) use wire::{
    BINARY, CLOSE, CONTINUATION, FIN, Frame, PING, PONG, RSV1, Size, TEXT, close_body, frame, header,
};

use std::thread;
use std::time::{Duration, Instant};

/// How long a peer waits for something that should happen at once. A busy machine may stand still for long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a connection may take to be gone after the server gave it up: the limit `close`, on a busy machine.
pub(crate) const GONE: Duration = Duration::from_secs(5 + PATIENCE.as_secs());

/// Polls `condition` until it holds. The one place where the suite waits for something it cannot block on.
pub(crate) fn eventually(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    let mut nap = Duration::from_micros(20);
    while !condition() {
        assert!(started.elapsed() < within, "not within {within:?}: {what}");
        thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(5));
    }
}

/// Lets `window` pass: the length of a measurement, or the pace of a slow peer; never a way to wait for something.
pub(crate) fn pass(window: Duration) {
    thread::sleep(window);
}

/// A number of repetitions: a tenth unless [`optimised`].
pub(crate) fn scaled(count: usize) -> usize {
    if optimised() { count } else { count / 10 }
}

/// Whether figures of wall-clock time are judged: only on a machine that has nothing else to do.
pub(crate) fn strict() -> bool {
    std::env::var_os("ABUSE_STRICT").is_some()
}

/// Whether figures of CPU time are judged: not for what cargo builds with the profile `dev`, whose folder is `debug`. Debug
/// assertions do not tell: the profile `sim` is optimised and has them.
pub(crate) fn optimised() -> bool {
    !sockeye_release_tests::build_folder().ends_with("debug")
}

/// Repeatable noise (xorshift64*).
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number under `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits") % bound
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }

    /// Changes one to three places: cuts, adds, removes, repeats, or changes a byte or a bit.
    pub(crate) fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len().max(1));
            match self.below(8) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at.min(bytes.len()), self.bytes(1)[0]),
                2 if !bytes.is_empty() => _ = bytes.remove(at),
                3 if !bytes.is_empty() => bytes.extend_from_within(at..),
                4 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                _ if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                _ => {}
            }
        }
    }
}
