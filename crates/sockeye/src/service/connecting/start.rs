//! The beginning of a connect: waiting, looking the name up, and the deadlines on the way.

use std::os::fd::OwnedFd;

use sockeye_proto::time::Instant;

use crate::client::plan::{FirstHop, Plan};
use crate::client::{FailureCause, Proxy, Stage};
use crate::conn::{Conn, NEVER};
use crate::id::ConnId;
use crate::service::connecting::attempts::{Attempt, Part};
use crate::service::core::Service;
use crate::state::{EndpointKind, Planned};
use crate::sys::{AdoptOptions, Adopted, CloseHow};

impl Service {
    /// Begins the connects that were requested. What their callbacks request waits for the next
    /// call.
    pub(crate) fn start_connects(&mut self) {
        self.take_resolutions();
        let planned = std::mem::take(&mut self.env.state.connects.planned);
        self.connecting.next = planned.len();
        for Planned { id, plan, after } in planned {
            self.connecting.next -= 1;
            if !self.is_connecting(id) {
                continue;
            }
            let now = self.env.state.now;
            if after.is_zero() {
                self.start_attempt(id, plan);
            } else {
                let part = Part::Later(now + after);
                self.connecting.attempts.insert(id, Attempt::new(plan, part));
                self.arm_attempt(id);
            }
        }
    }

    fn is_connecting(&self, id: ConnId) -> bool {
        self.env.state.registry.is_connecting(id)
    }

    fn start_attempt(&mut self, id: ConnId, mut plan: Box<Plan>) {
        let now = self.env.state.now;
        plan.begin(now);
        if self.env.state.lifecycle.is_ending() {
            return self.fail(id, plan, Stage::Resolve, FailureCause::Dropped);
        }
        if !self.has_room() {
            let limit = self.max_connections;
            return self.fail(id, plan, Stage::Connect, FailureCause::NoRoom { limit });
        }
        self.attempt(id, plan);
    }

    /// Starts an attempt, or what follows from a redirect: the lookup, or the race.
    pub(super) fn attempt(&mut self, id: ConnId, mut plan: Box<Plan>) {
        if plan.connect().url().is_secure() && plan.connect().client_tls().is_none() {
            return self.fail(id, plan, Stage::Connect, FailureCause::Unsupported(NO_TLS));
        }
        if plan.connect().via().is_some_and(Proxy::is_secure) && plan.connect().tls_of_proxy().is_none() {
            return self.fail(id, plan, Stage::Connect, FailureCause::Unsupported(NO_PROXY_TLS));
        }
        let endpoint = self.env.state.registry.get(id).map(|entry| entry.endpoint);
        let is_watched = endpoint.is_some_and(|endpoint| self.env.state.kind(endpoint) == EndpointKind::Watcher);
        if plan.connect().url().is_secure() && is_watched {
            let cause = FailureCause::Unsupported("a Watcher reads and writes for itself, so TLS is its own matter");
            return self.fail(id, plan, Stage::Connect, cause);
        }
        if let Some(fd) = plan.take_descriptor() {
            return self.open_over(id, plan, fd);
        }
        match plan.target() {
            FirstHop::Addresses(addresses) => self.race(id, plan, addresses),
            FirstHop::Name { host, port } => self.look_up(id, plan, &host, port),
        }
    }

    /// Begins the handshake on a socket that the program has connected.
    fn open_over(&mut self, id: ConnId, plan: Box<Plan>, fd: OwnedFd) {
        let options = AdoptOptions { nodelay: true, must_be_connected: true };
        let adopted = match self.env.io.sys.adopt(fd, &options) {
            Ok(adopted) => adopted,
            Err(error) => return self.fail(id, plan, Stage::Connect, FailureCause::Descriptor(error)),
        };
        let Adopted { handle, peer, .. } = adopted;
        if let Err(error) = self.env.io.sys.register(handle, id.as_u64()) {
            self.env.io.sys.close(handle, CloseHow::Normal);
            return self.fail(id, plan, Stage::Connect, FailureCause::Io(error));
        }
        tracing::debug!(%id, %peer, "connects over a descriptor");
        let conn = Conn::opening(&self.env, handle, peer, plan);
        self.install(id, conn);
        // Its first step comes with the ready list: connects that follow from it must not nest.
        self.env.state.registry.enqueue(id);
    }

    /// Checks whether a deadline of an attempt has passed.
    pub(crate) fn attempt_due(&mut self, id: ConnId, at: Instant) {
        let now = self.env.state.now;
        let Some(attempt) = self.connecting.attempts.get_mut(&id).filter(|attempt| attempt.armed == at) else { return };
        attempt.armed = NEVER;
        if attempt.deadline() > now {
            return self.arm_attempt(id);
        }
        match &attempt.part {
            Part::Later(_) => {
                let Some(attempt) = self.connecting.take(&mut *self.env.io.sys, id) else { return };
                self.start_attempt(id, attempt.plan);
            }
            Part::Racing(race) if attempt.plan.ends() > now && !race.is_over(now) => self.race_on(id),
            Part::Resolving { .. } | Part::Racing(_) => {
                self.look_again(id);
                self.attempt_timed_out(id);
            }
        }
        self.carry_out_between();
    }

    /// Asks once more before a deadline ends an attempt. If the loop itself was held up, the answer may be waiting
    /// already: the system reports a limited number of sockets at a time.
    fn look_again(&mut self, id: ConnId) {
        self.take_resolved();
        let Some(Attempt { part: Part::Racing(race), .. }) = self.connecting.attempts.get(&id) else { return };
        for token in race.tokens() {
            self.racer_event(token);
        }
    }

    fn attempt_timed_out(&mut self, id: ConnId) {
        let now = self.env.state.now;
        let is_due = |attempt: &Attempt| attempt.deadline() <= now;
        if !self.connecting.attempts.get(&id).is_some_and(is_due) {
            return;
        }
        let Some(attempt) = self.connecting.take(&mut *self.env.io.sys, id) else { return };
        let (stage, after) = (attempt.stage(), attempt.plan.time_for(attempt.stage(), now));
        self.fail(id, attempt.plan, stage, FailureCause::Timeout { after });
    }

    /// Makes sure that the attempt is looked at when its next deadline is due.
    pub(super) fn arm_attempt(&mut self, id: ConnId) {
        let Some(attempt) = self.connecting.attempts.get_mut(&id) else { return };
        let deadline = attempt.deadline();
        if deadline < attempt.armed {
            attempt.armed = deadline;
            self.timers.add(deadline, id);
        }
    }
}

/// Why a connect to a `wss` URL cannot begin, and what to do.
const NO_TLS: &str = if cfg!(any(feature = "tls-aws-lc", feature = "tls-ring")) {
    "wss:// needs TLS: give the connect a ClientTls (Connect::tls)"
} else {
    "wss:// needs TLS: build with the feature tls-ring or tls-aws-lc, and give the connect a ClientTls (Connect::tls)"
};

/// The same for a proxy of `https`.
const NO_PROXY_TLS: &str = if cfg!(any(feature = "tls-aws-lc", feature = "tls-ring")) {
    "a proxy of https:// needs TLS: give the connect a ClientTls for it (Connect::proxy_tls)"
} else {
    "a proxy of https:// needs TLS: build with the feature tls-ring or tls-aws-lc, and give the connect a ClientTls for it \
     (Connect::proxy_tls)"
};
