//! Limits the log lines about one peer, so that it cannot fill a disk or push everything else out of the log.
//!
//! Lines of `notice` and above are counted, by the field `peer`; what somebody asked to see beyond that, with `--log-level info`
//! or `--access-log`, is all shown.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::Level;

use super::form::{ACCESS, Line};

#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<HashMap<Peer, Bucket>>);

/// Invariant: at most [`PEERS`] of them have one each; the others share that of [`Peer::Other`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Peer {
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
    /// Whether a line may be written. One that follows others that might not be says how many these were.
    pub(super) fn admits(&self, line: &mut Line, now: Instant) -> bool {
        if line.level > Level::INFO || line.target == ACCESS {
            return true;
        }
        let Some(peer) = line.get("peer") else { return true };
        let peer = peer.parse::<SocketAddr>().map_or(Peer::Other, |peer| Peer::Ip(peer.ip()));
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= PEERS && !buckets.contains_key(&peer) {
            buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        let peer = if buckets.len() >= PEERS && !buckets.contains_key(&peer) { Peer::Other } else { peer };
        let bucket = buckets.entry(peer).or_insert(Bucket { lines: BURST, at: now, suppressed: 0 });
        bucket.fill(now);
        if bucket.lines == 0 {
            bucket.suppressed += 1;
            return false;
        }
        bucket.lines -= 1;
        let suppressed = std::mem::take(&mut bucket.suppressed);
        if suppressed > 0 {
            line.add("suppressed", suppressed);
        }
        true
    }
}

impl Bucket {
    fn earned(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.at).as_nanos() / EVERY.as_nanos()).unwrap_or(u32::MAX)
    }

    fn fill(&mut self, now: Instant) {
        let earned = self.earned(now);
        if earned >= BURST - self.lines {
            (self.lines, self.at) = (BURST, now);
        } else {
            self.lines += earned;
            self.at += EVERY * earned;
        }
    }

    /// Nothing is known of it that a new one would not know.
    fn is_full(&self, now: Instant) -> bool {
        self.suppressed == 0 && self.earned(now) >= BURST - self.lines
    }
}

/// Lines in a row, and then one in this time.
const BURST: u32 = 20;
const EVERY: Duration = Duration::from_secs(1);

/// Peers that are limited separately at a time.
const PEERS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::super::form::Line;
    use super::*;

    fn line(level: Level, target: &str, peer: Option<&str>) -> Line {
        Line::about(level, target, peer)
    }

    #[test]
    fn a_loud_peer_is_cut_short_and_the_others_are_not() {
        let (pace, start) = (Pace::default(), Instant::now());
        let admits = |peer: &str, now| pace.admits(&mut line(Level::WARN, "t", Some(peer)), now);
        let shown = (0..100).filter(|port| admits(&format!("192.0.2.1:{}", 1000 + port), start)).count();
        assert_eq!(shown, 20, "whatever its port");
        assert!(admits("192.0.2.2:1", start) && admits("[2001:db8::1]:1", start) && admits("unix:", start));
        let mut next = line(Level::WARN, "t", Some("192.0.2.1:9"));
        assert!(pace.admits(&mut next, start + EVERY));
        assert_eq!(next.get("suppressed"), Some("80"));
        let mut next = line(Level::WARN, "t", Some("192.0.2.1:9"));
        assert!(!pace.admits(&mut next, start + EVERY) && pace.admits(&mut next, start + 2 * EVERY));
        assert_eq!(next.get("suppressed"), Some("1"));
    }

    #[test]
    fn what_was_asked_for_or_is_about_nobody_is_all_shown() {
        let (pace, now) = (Pace::default(), Instant::now());
        for _ in 0..100 {
            assert!(pace.admits(&mut line(Level::DEBUG, "t", Some("192.0.2.1:9")), now));
            assert!(pace.admits(&mut line(Level::INFO, ACCESS, Some("192.0.2.1:9")), now));
            assert!(pace.admits(&mut line(Level::ERROR, "t", None), now));
        }
    }

    #[test]
    fn peers_are_forgotten_and_never_too_many() {
        let (pace, start) = (Pace::default(), Instant::now());
        let peer = |number: u32| format!("{}:80", std::net::Ipv4Addr::from_bits(number));
        for number in 0..3 * PEERS as u32 {
            pace.admits(&mut line(Level::WARN, "t", Some(&peer(number))), start);
        }
        assert!(pace.0.lock().unwrap().len() <= PEERS + 1);
        assert!(!pace.admits(&mut line(Level::WARN, "t", Some(&peer(1 << 30))), start), "one too many");
        assert!(pace.admits(&mut line(Level::WARN, "t", Some(&peer(1 << 30))), start + 2 * EVERY));
        assert!(pace.0.lock().unwrap().len() < 10);
    }
}
