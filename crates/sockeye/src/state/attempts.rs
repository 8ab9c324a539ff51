//! Requests for connections of our own, and for the attempts after one that has ended.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::client::plan::Plan;
use crate::client::{Connect, Retry};
use crate::id::ConnId;
use crate::state::commands::Commands;
use crate::state::endpoints::EndpointIndex;

impl Commands {
    /// Requests a connection; its id is valid at once.
    pub(crate) fn push_connect(&mut self, endpoint: EndpointIndex, connect: Connect) -> ConnId {
        let id = self.registry.insert_connecting(endpoint);
        self.connects.plan(id, Box::new(Plan::new(connect)));
        id
    }

    /// As [`push_connect`](Self::push_connect), over a socket that is connected already.
    pub(crate) fn push_connect_over(&mut self, endpoint: EndpointIndex, connect: Connect, fd: OwnedFd) -> ConnId {
        let id = self.registry.insert_connecting(endpoint);
        self.connects.plan(id, Box::new(Plan::over(connect, fd)));
        id
    }

    /// Plans the next attempt after a failed one, unless `random` is `None`, which means that none
    /// may follow. `asked` is the minimum wait that the server requested.
    pub(crate) fn retry(
        &mut self,
        endpoint: EndpointIndex,
        plan: Box<Plan>,
        random: Option<u64>,
        asked: Option<Duration>,
    ) -> Option<Retry> {
        let random = random?;
        let id = self.registry.insert_connecting(endpoint);
        let retry = self.connects.plan_again(id, plan, random, asked);
        if retry.is_none() {
            self.registry.remove(id);
        }
        retry
    }

    /// As [`retry`](Self::retry), after the end of an open connection with a reconnect policy.
    pub(crate) fn retry_after_close(&mut self, id: ConnId, random: Option<u64>) -> Option<Retry> {
        let plan = self.connects.take_kept(id, self.now)?;
        let endpoint = self.registry.get(id)?.endpoint;
        self.retry(endpoint, plan, random, None)
    }

    /// Cancels an attempt planned after the end of an open connection. It has no outcome.
    pub(crate) fn take_back_retry(&mut self, retry: Retry) {
        if self.connects.take_planned(retry.id).is_some() {
            self.registry.remove(retry.id);
        }
    }
}
