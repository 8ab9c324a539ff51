//! Several addresses, one connection: each has a head start over the next, and the first that stands wins (RFC 8305).

use std::collections::VecDeque;
use std::io;

use sockeye_proto::time::Instant;

use crate::client::plan::Plan;
use crate::client::{FailureCause, Stage};
use crate::conn::opening::Opening;
use crate::conn::{Conn, Phase};
use crate::output::Bits;
use crate::protocol::ConnId;
use crate::service::connecting::{Attempt, Part};
use crate::service::{Service, turn};
use crate::sys::{Address, CloseHow, Handle, Sys};

/// Addresses of one host that are tried at once, one started after another.
pub(super) struct Race {
    waiting: VecDeque<Address>,
    racers: Vec<Racer>,
    /// When the next one starts though none before it failed.
    next: Instant,
    until: Instant,
    tried: usize,
    /// The address that failed last, and why.
    last: Option<(Address, io::Error)>,
}

/// A socket that does not stand yet.
struct Racer {
    token: u64,
    handle: Handle,
    address: Address,
}

impl Race {
    fn new(addresses: Vec<Address>, now: Instant, until: Instant) -> Self {
        let waiting = interleave(addresses);
        Self { waiting, racers: Vec::new(), next: now, until, tried: 0, last: None }
    }

    pub(super) fn deadline(&self) -> Instant {
        if self.waiting.is_empty() { self.until } else { self.until.min(self.next) }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until <= now
    }

    /// Closes all sockets and says which tokens they had.
    pub(super) fn close_all(&mut self, sys: &mut dyn Sys) -> Vec<u64> {
        let close = |racer: Racer| {
            sys.close(racer.handle, CloseHow::Normal);
            racer.token
        };
        self.racers.drain(..).map(close).collect()
    }

    fn lost(&mut self, address: Address, error: io::Error, now: Instant) {
        tracing::debug!(%address, %error, "an address does not answer");
        self.last = Some((address, error));
        // RFC 8305 section 5: the next one need not wait for its time when the one before it failed.
        self.next = now;
    }

    /// Those that did not say yet how they come out.
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

impl Service {
    /// Begins to connect to these addresses.
    pub(super) fn race(&mut self, id: ConnId, plan: Box<Plan>, addresses: Vec<Address>) {
        let now = self.stage.shared.now;
        let race = Race::new(addresses, now, now + plan.timeouts().connect);
        self.connecting.attempts.insert(id, Attempt::new(plan, Part::Racing(race)));
        self.race_on(id);
    }

    /// Starts those whose time has come, or who have nobody to wait for. Ends the attempt when nobody is left.
    pub(super) fn race_on(&mut self, id: ConnId) {
        let now = self.stage.shared.now;
        loop {
            let Some(Attempt { part: Part::Racing(race), plan, .. }) = self.connecting.attempts.get_mut(&id) else {
                return;
            };
            if !race.racers.is_empty() && race.next > now {
                break;
            }
            let Some(address) = race.waiting.pop_front() else { break };
            race.tried += 1;
            race.next = now + plan.timeouts().head_start;
            if let Err(error) = self.start_racer(id, &address) {
                if let Some(Attempt { part: Part::Racing(race), .. }) = self.connecting.attempts.get_mut(&id) {
                    race.lost(address, error, now);
                }
            }
        }
        let Some(Attempt { part: Part::Racing(race), .. }) = self.connecting.attempts.get_mut(&id) else { return };
        if race.racers.is_empty() && race.waiting.is_empty() {
            self.race_lost(id);
        } else {
            self.arm_attempt(id);
        }
    }

    fn start_racer(&mut self, id: ConnId, address: &Address) -> io::Result<()> {
        let options =
            self.connecting.attempts.get(&id).map(|attempt| attempt.plan.connect().socket).unwrap_or_default();
        let handle = self.stage.outlet.sys.connect(address, &options)?;
        let token = self.connecting.token(id);
        if let Err(error) = self.stage.outlet.sys.register(handle, token) {
            self.stage.outlet.sys.close(handle, CloseHow::Normal);
            self.connecting.racers.remove(&token);
            return Err(error);
        }
        if let Some(Attempt { part: Part::Racing(race), .. }) = self.connecting.attempts.get_mut(&id) {
            race.racers.push(Racer { token, handle, address: address.clone() });
        }
        Ok(())
    }

    /// The poller reported a socket that does not stand yet. A token of the past finds nobody.
    pub(crate) fn racer_event(&mut self, token: u64) {
        let Some(&id) = self.connecting.racers.get(&token) else { return };
        let Some(Attempt { part: Part::Racing(race), .. }) = self.connecting.attempts.get_mut(&id) else { return };
        let Some(index) = race.racers.iter().position(|racer| racer.token == token) else { return };
        match self.stage.outlet.sys.connected(race.racers[index].handle) {
            Ok(false) => return,
            Ok(true) => {
                let racer = race.racers.swap_remove(index);
                self.connecting.racers.remove(&token);
                self.race_won(id, racer);
            }
            Err(error) => {
                let racer = race.racers.swap_remove(index);
                race.lost(racer.address, error, self.stage.shared.now);
                self.connecting.racers.remove(&token);
                self.stage.outlet.sys.close(racer.handle, CloseHow::Normal);
                self.race_on(id);
            }
        }
        self.between();
    }

    fn race_won(&mut self, id: ConnId, racer: Racer) {
        let Some(attempt) = self.connecting.take(&mut *self.stage.outlet.sys, id) else { return };
        if let Err(error) = self.stage.outlet.sys.reregister(racer.handle, id.as_u64()) {
            self.stage.outlet.sys.close(racer.handle, CloseHow::Normal);
            return self.fail(id, attempt.plan, Stage::Connect, FailureCause::Io(error));
        }
        tracing::debug!(%id, peer = %racer.address, "connected");
        let opening = Opening::new(attempt.plan);
        let mut conn = Conn::new(racer.handle, racer.address, Phase::Opening(Box::new(opening)));
        conn.link.bits.set(Bits::WRITABLE);
        self.install(id, conn);
        turn::step(self, id);
    }

    fn race_lost(&mut self, id: ConnId) {
        let Some(attempt) = self.connecting.take(&mut *self.stage.outlet.sys, id) else { return };
        let Part::Racing(race) = attempt.part else { return };
        let cause = match race.last {
            Some((address, error)) => FailureCause::Connect { address, error, tried: race.tried },
            // There was one address at least, and each that is not there any more failed; a connect without an outcome
            // would be worse than a poor one.
            None => FailureCause::Io(io::ErrorKind::NotFound.into()),
        };
        self.fail(id, attempt.plan, Stage::Connect, cause);
    }
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
