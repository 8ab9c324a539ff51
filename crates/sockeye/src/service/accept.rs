//! Listeners: who is let in, and what happens when nobody can be.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use sockeye_proto::time::Instant;

use crate::conn::{Conn, NEVER, Phase, http::Http, proxied::Proxied, raw};
use crate::output::Bits;
use crate::protocol::ConnId;
use crate::service::{Service, turn};
use crate::shared::{EndpointIndex, Live};
use crate::statistics::{Culprit, Whose};
use crate::sys::{Address, CloseHow, Handle, Sys};

/// How long accepting pauses when the system has no room for another connection. A connection that ends in between
/// ends the pause too.
const RETRY: Duration = Duration::from_millis(250);
/// At most one log line about it in such a time.
const QUIET: Duration = Duration::from_secs(1);

/// All listeners of a service.
pub(crate) struct Accepting {
    listeners: Vec<Listener>,
    addresses: Vec<Address>,
    /// Whose turn it is to be first: a crowd at one must not keep the others waiting.
    first: usize,
    /// Accepting pauses until then, or until a connection ends.
    retry_at: Option<Instant>,
    logged_at: Option<Instant>,
    /// How many connections each address has; kept only when there is a bound.
    per_address: HashMap<IpAddr, usize>,
    per_address_limit: Option<usize>,
}

struct Listener {
    handle: Handle,
    /// An edge came and `accept` has not answered "none" since.
    ready: bool,
    /// Whose raw connections these are; `None`: they speak HTTP.
    endpoint: Option<EndpointIndex>,
}

impl Accepting {
    pub(crate) fn new(per_address_limit: Option<usize>) -> Self {
        Self {
            listeners: Vec::new(),
            addresses: Vec::new(),
            first: 0,
            retry_at: None,
            logged_at: None,
            per_address: HashMap::new(),
            per_address_limit,
        }
    }

    /// Takes an open listener, registered under its number among the listeners.
    pub(crate) fn add(
        &mut self,
        sys: &mut dyn Sys,
        handle: Handle,
        address: Address,
        endpoint: Option<EndpointIndex>,
    ) -> io::Result<()> {
        let token = self.listeners.len() as u64;
        self.listeners.push(Listener { handle, ready: false, endpoint });
        self.addresses.push(address);
        sys.register(handle, token)
    }

    pub(crate) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Listeners have small tokens; a connection's has its generation in the upper half, which is never zero.
    #[inline]
    pub(crate) fn is_listener(&self, token: u64) -> bool {
        token < self.listeners.len() as u64
    }

    pub(crate) fn ready(&mut self, token: u64) {
        if let Some(listener) = self.listeners.get_mut(token as usize) {
            listener.ready = true;
        }
    }

    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// A connection ended and its slot is free: a pause is over. To be told at the end of the turn, since until then the
    /// slot counts, and accepting would only pause anew.
    pub(crate) fn room(&mut self) {
        if self.retry_at.is_some() {
            self.retry_at = Some(Instant::from_nanos(0));
        }
    }

    /// A connection ended: its address has one less.
    pub(crate) fn left(&mut self, peer: &Address) {
        if let (Some(_), Address::Ip(peer)) = (self.per_address_limit, peer) {
            if let Some(count) = self.per_address.get_mut(&peer.ip()) {
                *count -= 1;
                if *count == 0 {
                    self.per_address.remove(&peer.ip());
                }
            }
        }
    }

    pub(crate) fn close_all(&mut self, sys: &mut dyn Sys) {
        for listener in self.listeners.drain(..) {
            sys.close(listener.handle, CloseHow::Normal);
        }
        self.retry_at = None;
    }

    fn any_ready(&self) -> bool {
        self.listeners.iter().any(|listener| listener.ready)
    }

    /// Whether one more from this address may come; counts it if so.
    fn admit(&mut self, peer: &Address) -> bool {
        let (Some(limit), Address::Ip(peer)) = (self.per_address_limit, peer) else { return true };
        let count = self.per_address.entry(peer.ip()).or_default();
        if *count >= limit {
            return false;
        }
        *count += 1;
        true
    }

    /// Whether a line about trouble with accepting may be logged now.
    fn may_log(&mut self, now: Instant) -> bool {
        let quiet = self.logged_at.is_some_and(|at| now.saturating_duration_since(at) < QUIET);
        if !quiet {
            self.logged_at = Some(now);
        }
        !quiet
    }
}

impl Service {
    /// Accepts what waits, within the turn's share and the number of connections there may be.
    pub(crate) fn accept_some(&mut self) {
        let now = self.stage.shared.now;
        if self.accepting.retry_at.is_some_and(|at| at > now) || !self.accepting.any_ready() {
            return;
        }
        self.stage.outlet.steps_over(0);
        self.accept_waiting();
        self.stage.outlet.lap(Culprit::Accept, Whose::default());
    }

    fn accept_waiting(&mut self) {
        let now = self.stage.shared.now;
        self.accepting.retry_at = None;
        let mut share = self.stage.limits.turn_accepts.max(1);
        let count = self.accepting.listeners.len();
        let first = self.accepting.first;
        self.accepting.first = (first + 1) % count.max(1);
        for index in (first..count).chain(0..first) {
            while self.accepting.listeners.get(index).is_some_and(|listener| listener.ready) {
                if self.stage.shared.live.len() >= self.max_connections {
                    self.stage.outlet.statistics.limits.connections += 1;
                    self.pause_accepting("the limit of connections is reached", None);
                    return;
                }
                if share == 0 {
                    // More are waiting: come back in the next turn, without a wait.
                    self.accepting.retry_at = Some(now);
                    self.stage.outlet.statistics.limits.turn_accepts += 1;
                    return;
                }
                share -= 1;
                if !self.accept_one(index) {
                    return;
                }
            }
        }
    }

    /// Accepts one connection. Returns false when accepting has to pause.
    fn accept_one(&mut self, index: usize) -> bool {
        let Some(listener) = self.accepting.listeners.get_mut(index) else { return false };
        match self.stage.outlet.sys.accept(listener.handle) {
            Ok((handle, peer)) => {
                let endpoint = listener.endpoint;
                self.admit(handle, peer, endpoint);
                true
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {
                    listener.ready = false;
                    true
                }
                // One that is gone already is no reason to stop.
                io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => true,
                // No room (EMFILE, ENFILE, ENOBUFS, ENOMEM) or refused by the system (EPERM, EPROTO): the connection
                // stays in the queue and no edge announces it again, so a timer does.
                _ => {
                    self.stage.outlet.statistics.limits.descriptors += 1;
                    self.pause_accepting("accepting failed", Some(&error));
                    false
                }
            },
        }
    }

    fn pause_accepting(&mut self, why: &str, error: Option<&io::Error>) {
        let now = self.stage.shared.now;
        self.accepting.retry_at = Some(now + RETRY);
        self.stage.outlet.statistics.work.accept_pauses += 1;
        if self.accepting.may_log(now) {
            let error = error.map(tracing::field::display);
            tracing::warn!(
                error,
                connections = self.stage.shared.live.len(),
                limit = self.max_connections,
                "{why}; accepting pauses"
            );
        }
    }

    fn admit(&mut self, handle: Handle, peer: Address, endpoint: Option<EndpointIndex>) {
        let Some(phase) = self.first_phase(&peer, endpoint) else {
            self.stage.outlet.sys.close(handle, CloseHow::Reset);
            return;
        };
        let id = self.stage.shared.live.insert(Live::new());
        if let Err(error) = self.stage.outlet.sys.register(handle, id.as_u64()) {
            if self.accepting.may_log(self.stage.shared.now) {
                tracing::warn!(%error, "a connection could not be watched");
            }
            self.stage.outlet.statistics.refusals.unwatched += 1;
            self.stage.outlet.sys.close(handle, CloseHow::Reset);
            if !matches!(phase, Phase::Proxied(_)) {
                self.accepting.left(&peer);
            }
            self.stage.shared.live.remove(id);
            return;
        }
        tracing::debug!(%id, %peer, "accepted");
        let is_raw = matches!(phase, Phase::Raw(_));
        let mut conn = Conn::new(handle, peer, phase);
        conn.link.bits.set(Bits::WRITABLE);
        self.install(id, conn);
        if let Some(endpoint) = endpoint.filter(|_| is_raw) {
            self.stage.outlet.lap(Culprit::Accept, Whose::default());
            self.open_raw(id, endpoint);
        }
    }

    /// What a connection from there begins with; `None`: it may not connect.
    pub(crate) fn first_phase(&mut self, peer: &Address, endpoint: Option<EndpointIndex>) -> Option<Phase> {
        let is_proxy = self.stage.policy.trusts(peer);
        if !is_proxy && !self.may_connect(peer) {
            return None;
        }
        let (limits, now) = (&self.stage.limits, self.stage.shared.now);
        Some(match endpoint {
            _ if is_proxy => Phase::Proxied(Box::new(Proxied::new(limits, now, endpoint))),
            None => Phase::Http(Box::new(Http::new(limits, now))),
            Some(_) => Phase::Raw(Box::default()),
        })
    }

    /// A raw connection begins.
    pub(crate) fn open_raw(&mut self, id: ConnId, endpoint: EndpointIndex) {
        let Self { stage, conns, .. } = self;
        if let Some(conn) = conns.get_mut(id.slot()).and_then(Option::as_mut) {
            raw::open(stage, id, conn, endpoint);
        }
    }

    /// Whether a peer of this address may connect; counts it if so.
    fn may_connect(&mut self, peer: &Address) -> bool {
        let (wanted, statistics) = (self.stage.policy.admits(peer), &mut self.stage.outlet.statistics);
        if wanted && self.accepting.admit(peer) {
            return true;
        }
        if wanted {
            statistics.refusals.per_address += 1;
            statistics.limits.connections_per_address += 1;
        } else {
            statistics.refusals.address += 1;
        }
        tracing::debug!(%peer, "refused by address");
        false
    }

    /// A trusted proxy has said for whom it connects: that address decides as it does for others when they are accepted.
    pub(crate) fn introduce(&mut self, id: ConnId) {
        let Some(Conn { phase: Phase::Proxied(proxied), peer, .. }) = self.conn(id) else { return };
        let (source, accepted, endpoint) = (proxied.take_source(), proxied.accepted(), proxied.endpoint());
        let proxy = peer.clone();
        let peer = source.unwrap_or_else(|| proxy.clone());
        if !self.may_connect(&peer) {
            turn::bury(self, id, CloseHow::Reset);
            return;
        }
        tracing::debug!(%id, %peer, %proxy, "introduced");
        if let Some(endpoint) = endpoint {
            return self.introduce_raw(id, peer, endpoint);
        }
        let mut http = Http::new(&self.stage.limits, accepted);
        http.came_through(proxy);
        if self.stage.policy.draining {
            http.end_after_response();
        }
        if let Some(conn) = self.conn(id) {
            conn.peer = peer;
            conn.phase = Phase::Http(Box::new(http));
        }
        turn::step(self, id);
    }

    fn introduce_raw(&mut self, id: ConnId, peer: Address, endpoint: EndpointIndex) {
        if let Some(conn) = self.conn(id) {
            conn.peer = peer;
            conn.phase = Phase::Raw(Box::default());
        }
        if self.stage.policy.draining {
            // Nothing was said to it yet.
            return turn::bury(self, id, CloseHow::Normal);
        }
        self.open_raw(id, endpoint);
        turn::step(self, id);
    }

    /// Puts a connection into its slot.
    pub(crate) fn install(&mut self, id: ConnId, mut conn: Conn) {
        let slot = id.slot();
        if self.conns.len() <= slot {
            self.conns.resize_with(slot + 1, || None);
        }
        let live = self.stage.shared.live.get(id);
        if live.is_some_and(|live| live.is_adopted()) {
            self.stage.outlet.statistics.connection_adopted();
        } else {
            self.stage.outlet.statistics.connection_begins(live.is_some_and(|live| live.is_client()));
        }
        conn.armed = conn.deadline();
        // One without a deadline is no reason to wake up, not even in centuries: loops outside count in small numbers.
        if conn.armed != NEVER {
            self.timers.add(conn.armed, id);
        }
        self.conns[slot] = Some(conn);
    }
}
