//! The race of an attempt's sockets: starting them, and the first that connects wins.

use std::io;

use crate::client::plan::Plan;
use crate::client::{FailureCause, Stage};
use crate::conn::Conn;
use crate::id::ConnId;
use crate::service::connecting::attempts::{Attempt, Part};
use crate::service::connecting::race::{Race, Racer};
use crate::service::core::Service;
use crate::state::EndpointKind;
use crate::sys::{Address, CloseHow};

impl Service {
    /// Begins to connect to these addresses.
    pub(super) fn race(&mut self, id: ConnId, plan: Box<Plan>, addresses: Vec<Address>) {
        let now = self.env.state.now;
        let race = Race::new(addresses, now, now + plan.timeouts().connect);
        self.connecting.attempts.insert(id, Attempt::new(plan, Part::Racing(race)));
        self.race_on(id);
    }

    /// Starts the sockets that are due, or that need not wait for another. Ends the attempt when no
    /// socket is left.
    pub(super) fn race_on(&mut self, id: ConnId) {
        let now = self.env.state.now;
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
        let handle = self.env.io.sys.connect(address, &options)?;
        let token = self.connecting.token(id);
        if let Err(error) = self.env.io.sys.register(handle, token) {
            self.env.io.sys.close(handle, CloseHow::Normal);
            self.connecting.racers.remove(&token);
            return Err(error);
        }
        if let Some(Attempt { part: Part::Racing(race), .. }) = self.connecting.attempts.get_mut(&id) {
            race.racers.push(Racer { token, handle, address: address.clone() });
        }
        Ok(())
    }

    /// The poller reported a socket that is not connected yet. A stale token finds nothing.
    pub(crate) fn racer_event(&mut self, token: u64) {
        let Some(&id) = self.connecting.racers.get(&token) else { return };
        let Some(Attempt { part: Part::Racing(race), .. }) = self.connecting.attempts.get_mut(&id) else { return };
        let Some(index) = race.racers.iter().position(|racer| racer.token == token) else { return };
        match self.env.io.sys.connected(race.racers[index].handle) {
            Ok(false) => return,
            Ok(true) => {
                let racer = race.racers.swap_remove(index);
                self.connecting.racers.remove(&token);
                self.race_won(id, racer);
            }
            Err(error) => {
                let racer = race.racers.swap_remove(index);
                race.lost(racer.address, error, self.env.state.now);
                self.connecting.racers.remove(&token);
                self.env.io.sys.close(racer.handle, CloseHow::Normal);
                self.race_on(id);
            }
        }
        self.carry_out_between();
    }

    fn race_won(&mut self, id: ConnId, racer: Racer) {
        let Some(attempt) = self.connecting.take(&mut *self.env.io.sys, id) else { return };
        if let Err(error) = self.env.io.sys.reregister(racer.handle, id.as_u64()) {
            self.env.io.sys.close(racer.handle, CloseHow::Normal);
            return self.fail(id, attempt.plan, Stage::Connect, FailureCause::Io(error));
        }
        tracing::debug!(%id, peer = %racer.address, "connected");
        let Some(endpoint) = self.env.state.registry.get(id).map(|entry| entry.endpoint) else { return };
        let Racer { handle, address, .. } = racer;
        let conn = match self.env.state.kind(endpoint) {
            EndpointKind::WebSocket | EndpointKind::Responder => {
                Conn::opening(&self.env, handle, address, attempt.plan)
            }
            EndpointKind::Raw if attempt.plan.connect().url().is_secure() => {
                Conn::opening(&self.env, handle, address, attempt.plan)
            }
            EndpointKind::Raw => Conn::raw(&self.env, handle, address, endpoint),
            EndpointKind::Watcher => {
                // A system without descriptors has none to lend to the program.
                if let Err(error) = self.env.io.sys.borrow(handle).map(drop) {
                    self.env.io.sys.close(handle, CloseHow::Normal);
                    return self.fail(id, attempt.plan, Stage::Connect, FailureCause::Io(error));
                }
                Conn::watched(handle, address, endpoint)
            }
        };
        self.install(id, conn);
        self.begin(id);
        self.step(id);
    }

    fn race_lost(&mut self, id: ConnId) {
        let Some(attempt) = self.connecting.take(&mut *self.env.io.sys, id) else { return };
        let Part::Racing(race) = attempt.part else { return };
        let cause = match race.last {
            Some((address, error)) => FailureCause::Connect { address, error, tried: race.tried },
            // There was at least one address, and each one removed has failed; a connect without an
            // outcome would be worse than an imprecise error.
            None => FailureCause::Io(io::ErrorKind::NotFound.into()),
        };
        self.fail(id, attempt.plan, Stage::Connect, cause);
    }
}
