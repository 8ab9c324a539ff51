//! The handshakes of TLS that are under way, and those that wait for them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::id::ConnId;
use crate::limits::Limits;

/// The handshakes of a service.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    /// How many are under way.
    running: usize,
    /// How many of them by network; kept only when there is a limit.
    per_network: HashMap<IpAddr, usize>,
    /// How many began in the turn of this number.
    begun: usize,
    turn: u64,
    /// Connections that wait until another handshake is done, by their places.
    waiting: BTreeMap<u64, ConnId>,
    next_place: u64,
}

/// Whether a handshake may begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Start {
    Now,
    NextTurn,
    /// Later, from this place among those that wait.
    Waiting(u64),
    /// There are too many of the network.
    Never,
}

impl Handshakes {
    /// Whether the handshake of a connection may begin in the turn of this number. `place` is where it waited.
    pub(super) fn start(
        &mut self,
        id: ConnId,
        turn: u64,
        network: Option<IpAddr>,
        place: Option<u64>,
        limits: &Limits,
    ) -> Start {
        if self.turn != turn {
            (self.turn, self.begun) = (turn, 0);
        }
        if self.running >= limits.tls_handshakes {
            // One that was woken, and that others came before, is again in front of those that came after it.
            let place = place.unwrap_or(self.next_place + 1);
            self.next_place = self.next_place.max(place);
            self.waiting.insert(place, id);
            return Start::Waiting(place);
        }
        if self.begun >= limits.turn_tls_handshakes {
            return Start::NextTurn;
        }
        if let Some(place) = place {
            self.waiting.remove(&place);
        }
        if let (Some(most), Some(network)) = (limits.tls_handshakes_per_address, network) {
            let count = self.per_network.entry(network).or_default();
            if *count >= most {
                return Start::Never;
            }
            *count += 1;
        }
        self.running += 1;
        self.begun += 1;
        Start::Now
    }

    /// A handshake is over. Returns the connection that is next.
    pub(super) fn end(&mut self, network: Option<IpAddr>, limits: &Limits) -> Option<ConnId> {
        self.running = self.running.saturating_sub(1);
        if let (Some(_), Some(network)) = (limits.tls_handshakes_per_address, network) {
            if let Some(count) = self.per_network.get_mut(&network) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.per_network.remove(&network);
                }
            }
        }
        self.next(limits)
    }

    /// A connection that waited has ended. Returns the one that is next, if it was its turn.
    pub(super) fn leave(&mut self, place: u64, limits: &Limits) -> Option<ConnId> {
        if self.waiting.remove(&place).is_some() { None } else { self.next(limits) }
    }

    fn next(&mut self, limits: &Limits) -> Option<ConnId> {
        if self.running >= limits.tls_handshakes {
            return None;
        }
        self.waiting.pop_first().map(|(_, id)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_wait_come_in_their_order_and_none_is_forgotten() {
        let mut limits = Limits { tls_handshakes: 1, ..Limits::default() };
        let ids = [1, 2, 3].map(|number| ConnId::from_u64(number << 32));
        let mut handshakes = Handshakes::default();
        let start =
            |handshakes: &mut Handshakes, index: usize, place| handshakes.start(ids[index], 1, None, place, &limits);
        assert_eq!(start(&mut handshakes, 0, None), Start::Now);
        assert_eq!(start(&mut handshakes, 1, None), Start::Waiting(1));
        assert_eq!(start(&mut handshakes, 2, None), Start::Waiting(2));
        assert_eq!(start(&mut handshakes, 1, Some(1)), Start::Waiting(1), "it keeps its place");
        assert_eq!(handshakes.end(None, &limits), Some(ids[1]));
        // It ends before it begins: the next one is woken instead.
        assert_eq!(handshakes.leave(1, &limits), Some(ids[2]));
        assert_eq!(start(&mut handshakes, 2, Some(2)), Start::Now);
        assert_eq!(handshakes.end(None, &limits), None);
        // One is woken, and another comes before it has begun: it keeps its place all the same.
        let mut handshakes = Handshakes::default();
        assert_eq!(start(&mut handshakes, 0, None), Start::Now);
        assert_eq!(start(&mut handshakes, 1, None), Start::Waiting(1));
        assert_eq!(handshakes.end(None, &limits), Some(ids[1]));
        assert_eq!(start(&mut handshakes, 0, None), Start::Now);
        assert_eq!(start(&mut handshakes, 2, None), Start::Waiting(2));
        assert_eq!(start(&mut handshakes, 1, Some(1)), Start::Waiting(1));
        assert_eq!(handshakes.end(None, &limits), Some(ids[1]));
        assert_eq!(start(&mut handshakes, 1, Some(1)), Start::Now);
        assert_eq!(handshakes.end(None, &limits), Some(ids[2]));
        limits.turn_tls_handshakes = 1;
        let mut handshakes = Handshakes::default();
        assert_eq!(handshakes.start(ids[0], 2, None, None, &limits), Start::Now);
        limits.tls_handshakes = 2;
        assert_eq!(handshakes.start(ids[1], 2, None, None, &limits), Start::NextTurn);
        assert_eq!(handshakes.start(ids[1], 3, None, None, &limits), Start::Now);
    }
}
