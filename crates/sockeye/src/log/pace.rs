//! Limits the log lines about one peer, so that it cannot fill a disk or push everything else out of the log.
//!
//! Lines of `notice` and above are counted, by the field `peer`; everything beyond that is shown on request only, and then all of it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::level::Level;
use super::line::{ACCESS, Line, Value};

#[derive(Debug)]
pub(super) struct Pace {
    /// Lines in a row.
    burst: u32,
    /// Then one in this time.
    every: Duration,
    buckets: Mutex<HashMap<Peer, Bucket>>,
    /// Lines that were left out.
    suppressed: AtomicU64,
    /// Those of them about peers that were forgotten since, which no line has told yet.
    forgotten: AtomicU64,
}

/// Invariant: at most [`PEERS`] of them have one each; the others share that of [`Peer::Other`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Peer {
    /// Of IPv6 the network: a peer has 2^64 addresses in it.
    Ip(IpAddr),
    /// On Unix sockets, or one too many.
    Other,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Lines that may be written at once.
    lines: u32,
    /// Up to when they were counted.
    at: Instant,
    suppressed: u64,
}

impl Pace {
    pub(super) fn new(burst: u32, every: Duration) -> Self {
        let every = every.max(Duration::from_nanos(1));
        let (suppressed, forgotten) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { burst: burst.max(1), every, buckets: Mutex::default(), suppressed, forgotten }
    }

    /// How many lines were left out.
    pub(super) fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    /// How many of them were about peers that were forgotten since the last call.
    pub(super) fn take_forgotten(&self) -> u64 {
        // Usually there are none, and nothing is written that other threads read.
        if self.forgotten.load(Ordering::Relaxed) == 0 { 0 } else { self.forgotten.swap(0, Ordering::Relaxed) }
    }

    /// Whether a line may be written. One that follows others that might not be says how many these were.
    pub(super) fn admits(&self, line: &mut Line, now: Instant) -> bool {
        if line.level > Level::Notice || line.target == ACCESS {
            return true;
        }
        let Some(peer) = line.fields.get("peer") else { return true };
        let peer = Peer::of(peer);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= PEERS && !buckets.contains_key(&peer) {
            buckets.retain(|_, bucket| {
                let is_full = bucket.is_full(self, now);
                if is_full {
                    self.forgotten.fetch_add(bucket.suppressed, Ordering::Relaxed);
                }
                !is_full
            });
        }
        let peer = if buckets.len() >= PEERS && !buckets.contains_key(&peer) { Peer::Other } else { peer };
        let bucket = buckets.entry(peer).or_insert(Bucket { lines: self.burst, at: now, suppressed: 0 });
        bucket.fill(self, now);
        if bucket.lines == 0 {
            bucket.suppressed += 1;
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        bucket.lines -= 1;
        let suppressed = std::mem::take(&mut bucket.suppressed);
        if suppressed > 0 {
            line.fields.set("suppressed", Value::bare(suppressed));
        }
        true
    }
}

impl Peer {
    fn of(text: &str) -> Self {
        let ip = text.parse::<SocketAddr>().map(|peer| peer.ip()).or_else(|_| text.parse());
        match ip.map(|ip| ip.to_canonical()) {
            Ok(IpAddr::V6(ip)) => Self::Ip(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into()),
            Ok(ip) => Self::Ip(ip),
            Err(_) => Self::Other,
        }
    }
}

impl Bucket {
    fn earned(&self, pace: &Pace, now: Instant) -> u32 {
        let earned = now.saturating_duration_since(self.at).as_nanos() / pace.every.as_nanos();
        u32::try_from(earned).unwrap_or(u32::MAX)
    }

    fn fill(&mut self, pace: &Pace, now: Instant) {
        let earned = self.earned(pace, now);
        if earned >= pace.burst - self.lines {
            (self.lines, self.at) = (pace.burst, now);
        } else {
            self.lines += earned;
            self.at += pace.every * earned;
        }
    }

    /// Whether it allows as much as a new one.
    fn is_full(&self, pace: &Pace, now: Instant) -> bool {
        self.earned(pace, now) >= pace.burst - self.lines
    }
}

/// Peers that are limited separately at a time.
const PEERS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(1);

    fn pace() -> Pace {
        Pace::new(20, EVERY)
    }

    fn line(level: Level, target: &str, peer: Option<&str>) -> Line {
        let mut line = Line::new(level, target, "something".to_owned());
        if let Some(peer) = peer {
            line.fields.set("peer", Value::text(peer));
        }
        line
    }

    #[test]
    fn a_loud_peer_is_cut_short_and_the_others_are_not() {
        let (pace, start) = (pace(), Instant::now());
        let admits = |peer: &str, now| pace.admits(&mut line(Level::Warn, "t", Some(peer)), now);
        let shown = (0..100).filter(|port| admits(&format!("192.0.2.1:{}", 1000 + port), start)).count();
        assert_eq!(shown, 20, "whatever its port");
        assert!(admits("192.0.2.2:1", start) && admits("unix:", start));
        let shown = (0..100).filter(|host| admits(&format!("[2001:db8::{host:x}]:1"), start)).count();
        assert_eq!(shown, 20, "a network of IPv6 is a peer");
        assert!(admits("2001:db8:0:1::1", start) && !admits("::ffff:192.0.2.1", start), "without a port too");
        let mut next = line(Level::Warn, "t", Some("192.0.2.1:9"));
        assert!(pace.admits(&mut next, start + EVERY));
        assert_eq!(next.fields.get("suppressed"), Some("81"));
        let mut next = line(Level::Warn, "t", Some("192.0.2.1:9"));
        assert!(!pace.admits(&mut next, start + EVERY) && pace.admits(&mut next, start + 2 * EVERY));
        assert_eq!(next.fields.get("suppressed"), Some("1"));
    }

    #[test]
    fn what_was_asked_for_or_is_about_nobody_is_all_shown() {
        let (pace, now) = (pace(), Instant::now());
        for _ in 0..100 {
            assert!(pace.admits(&mut line(Level::Info, "t", Some("192.0.2.1:9")), now));
            assert!(pace.admits(&mut line(Level::Notice, ACCESS, Some("192.0.2.1:9")), now));
            assert!(pace.admits(&mut line(Level::Err, "t", None), now));
        }
    }

    #[test]
    fn peers_are_forgotten_and_never_too_many() {
        let (pace, start) = (pace(), Instant::now());
        let peer = |number: u32| format!("{}:80", std::net::Ipv4Addr::from_bits(number));
        for number in 0..3 * PEERS as u32 {
            pace.admits(&mut line(Level::Warn, "t", Some(&peer(number))), start);
        }
        assert!(pace.buckets.lock().unwrap().len() <= PEERS + 1);
        assert!(!pace.admits(&mut line(Level::Warn, "t", Some(&peer(1 << 30))), start), "one too many");
        assert!(pace.admits(&mut line(Level::Warn, "t", Some(&peer(1 << 30))), start + 2 * EVERY));
        assert!(pace.buckets.lock().unwrap().len() < 10);
    }

    #[test]
    fn peers_that_were_too_loud_are_forgotten_too_and_their_lines_counted() {
        let (pace, start) = (pace(), Instant::now());
        let peer = |number: u32| format!("{}:80", std::net::Ipv4Addr::from_bits(number));
        let shout = |number, now| {
            (0..21).filter(|_| pace.admits(&mut line(Level::Warn, "t", Some(&peer(number))), now)).count()
        };
        for number in 0..PEERS as u32 {
            assert_eq!(shout(number, start), 20);
        }
        let later = start + 20 * EVERY;
        // Each of many new peers has its own count again.
        for number in 1 << 30..(1 << 30) + 3 {
            assert_eq!(shout(number, later), 20);
        }
        assert_eq!((pace.suppressed(), pace.take_forgotten()), (PEERS as u64 + 3, PEERS as u64));
        assert_eq!(pace.take_forgotten(), 0);
    }
}
