//! Several addresses, one connection: each has a head start over the next, and the first that connects wins (RFC 8305).

use std::collections::VecDeque;
use std::io;

use sockeye_proto::time::Instant;

use crate::sys::{Address, CloseHow, Handle, Sys};

/// Addresses of one host that are tried at once, one started after another.
pub(super) struct Race {
    pub(super) waiting: VecDeque<Address>,
    pub(super) racers: Vec<Racer>,
    /// When the next one starts even if none before it failed.
    pub(super) next: Instant,
    pub(super) until: Instant,
    pub(super) tried: usize,
    /// The address that failed last, and why.
    pub(super) last: Option<(Address, io::Error)>,
}

/// A socket that is not connected yet.
pub(super) struct Racer {
    pub(super) token: u64,
    pub(super) handle: Handle,
    pub(super) address: Address,
}

impl Race {
    pub(super) fn new(addresses: Vec<Address>, now: Instant, until: Instant) -> Self {
        let waiting = interleave(addresses);
        Self { waiting, racers: Vec::new(), next: now, until, tried: 0, last: None }
    }

    pub(super) fn deadline(&self) -> Instant {
        if self.waiting.is_empty() { self.until } else { self.until.min(self.next) }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until <= now
    }

    /// Closes all sockets, and returns their tokens.
    pub(super) fn close_all(&mut self, sys: &mut dyn Sys) -> Vec<u64> {
        let close = |racer: Racer| {
            sys.close(racer.handle, CloseHow::Normal);
            racer.token
        };
        self.racers.drain(..).map(close).collect()
    }

    pub(super) fn lost(&mut self, address: Address, error: io::Error, now: Instant) {
        tracing::debug!(%address, %error, "an address does not answer");
        self.last = Some((address, error));
        // RFC 8305 section 5: the next one need not wait for its time when the one before it failed.
        self.next = now;
    }

    /// The tokens of the sockets without an outcome.
    pub(super) fn tokens(&self) -> Vec<u64> {
        self.racers.iter().map(|racer| racer.token).collect()
    }
}

/// RFC 8305 section 4: "the client SHOULD modify the ordered list to interleave address families". The first keeps its place.
fn interleave(addresses: Vec<Address>) -> VecDeque<Address> {
    let is_six = |address: &Address| matches!(address, Address::Ip(ip) if ip.is_ipv6());
    let first_is_six = addresses.first().is_some_and(is_six);
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| is_six(address) == first_is_six);
    let mut order = VecDeque::with_capacity(first.len() + second.len());
    while !(first.is_empty() && second.is_empty()) {
        order.extend(first.pop_front());
        order.extend(second.pop_front());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_the_first_address_stays_first() {
        let addresses =
            |list: &[&str]| -> Vec<Address> { list.iter().map(|text| Address::Ip(text.parse().unwrap())).collect() };
        let given = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "[::4]:1"]);
        let wanted = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1", "[::4]:1"]);
        assert_eq!(Vec::from(interleave(given)), wanted);
        let given = addresses(&["1.1.1.1:1", "[::1]:1", "1.1.1.2:1"]);
        assert_eq!(Vec::from(interleave(given.clone())), given);
        assert_eq!(interleave(Vec::new()).len(), 0);
    }
}
