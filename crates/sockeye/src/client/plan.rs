//! One connect in progress.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use sockeye_proto::limits::ProtocolLimits;
use sockeye_proto::time::Instant;

use crate::client::failure::Route;
use crate::client::negotiate::{Negotiation, ProxyFailure};
use crate::client::{Connect, RedirectError, Refusal, Stage, Timeouts};
use crate::sys::Address;

/// A connect with its progress: from the request through redirects to the outcome, and on to the attempts that follow
/// if it has a [`Reconnect`](crate::client::Reconnect) policy.
#[derive(Debug)]
pub(crate) struct Plan {
    /// As requested.
    asked: Connect,
    /// After redirects, if there were any.
    moved: Option<Connect>,
    /// Failures in a row; a connection that was lost before it was stable counts as one.
    failures: u32,
    /// The deadline of this attempt.
    ends: Instant,
    /// When the connection opened.
    opened: Option<Instant>,
    /// What the program has connected already; taken when the attempt begins.
    descriptor: Option<OwnedFd>,
}

/// What the first socket of an attempt connects to.
#[derive(Debug)]
pub(crate) enum FirstHop {
    /// These addresses, without a lookup.
    Addresses(Vec<Address>),
    /// A name to look up.
    Name { host: String, port: u16 },
}

impl Plan {
    pub(crate) fn new(connect: Connect) -> Self {
        let zero = Instant::from_nanos(0);
        Self { asked: connect, moved: None, failures: 0, ends: zero, opened: None, descriptor: None }
    }

    /// A connect over a socket that is connected. There is only one, so nothing that needs another follows.
    pub(crate) fn over(connect: Connect, descriptor: OwnedFd) -> Self {
        Self { descriptor: Some(descriptor), ..Self::new(connect.once()) }
    }

    pub(crate) fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptor.take()
    }

    /// The description of this attempt.
    pub(crate) fn connect(&self) -> &Connect {
        self.moved.as_ref().unwrap_or(&self.asked)
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.asked.timeouts
    }

    /// Starts an attempt, and with it its deadline.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.ends = now + self.asked.timeout;
    }

    /// The deadline of this attempt.
    pub(crate) fn ends(&self) -> Instant {
        self.ends
    }

    /// The limit that a timed-out `stage` exceeded: its own, or that of the whole attempt.
    pub(crate) fn time_for(&self, stage: Stage, now: Instant) -> Duration {
        if self.ends <= now {
            return self.asked.timeout;
        }
        let timeouts = self.timeouts();
        match stage {
            Stage::Resolve => timeouts.resolve,
            Stage::Connect => timeouts.connect,
            Stage::Proxy => timeouts.proxy,
            Stage::Tls => timeouts.tls,
            Stage::Handshake => timeouts.handshake,
        }
    }

    /// What to connect to: the given addresses, the proxy, or the URL's host.
    pub(crate) fn target(&self) -> FirstHop {
        let connect = self.connect();
        if !connect.addresses().is_empty() {
            return FirstHop::Addresses(connect.addresses().to_vec());
        }
        let (host, port) = connect.first_host();
        match host.parse() {
            Ok(ip) => FirstHop::Addresses(vec![Address::Ip(SocketAddr::new(ip, port))]),
            Err(_) => FirstHop::Name { host: host.to_owned(), port },
        }
    }

    /// Whether the program wants to know the heads of the handshake.
    pub(crate) fn reports_handshake(&self) -> bool {
        self.asked.reports_handshake
    }

    /// What lies between the description and the server of this attempt, if something does.
    pub(crate) fn route(&self) -> Option<Box<Route>> {
        let redirected = self.moved.as_ref().map(|moved| moved.url().clone());
        let proxy = self.connect().via().cloned();
        (redirected.is_some() || proxy.is_some()).then(|| Box::new(Route { proxy, redirected }))
    }

    /// The negotiation with the proxy, if there is one.
    pub(crate) fn negotiation(&self, limits: &ProtocolLimits) -> Result<Option<Negotiation>, ProxyFailure> {
        let url = self.connect().url();
        self.connect().via().map(|proxy| proxy.negotiate(url.host(), url.port(), limits)).transpose()
    }

    /// Whether `refusal` is a redirect, and redirects are followed.
    pub(crate) fn follows(&self, refusal: &Refusal) -> bool {
        refusal.is_redirect() && self.asked.redirects > 0
    }

    /// Replaces the description by the redirect's target. `false` if `refusal` is not a redirect to follow.
    pub(crate) fn redirect(&mut self, refusal: &Refusal) -> Result<bool, RedirectError> {
        if !self.follows(refusal) {
            return Ok(false);
        }
        self.moved = Some(self.connect().redirected(refusal)?);
        Ok(true)
    }

    /// Whether the connect has a reconnect policy.
    pub(crate) fn is_kept_up(&self) -> bool {
        self.asked.reconnect.is_some()
    }

    /// Notes that the connection opened.
    pub(crate) fn set_opened(&mut self, now: Instant) {
        self.opened = Some(now);
    }

    /// Notes the end of an open connection. A stable one resets the count of failures.
    pub(crate) fn count_end(&mut self, now: Instant) {
        let lasted = self.opened.map_or(Duration::ZERO, |opened| now.saturating_duration_since(opened));
        let is_stable = self.asked.reconnect.as_ref().is_some_and(|policy| policy.is_stable(lasted));
        self.failures = if is_stable { 0 } else { self.failures.saturating_add(1) };
    }

    /// Notes that this attempt failed.
    pub(crate) fn count_failure(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// The plan of the next attempt and the wait before it; `None` if there is none. `asked` is the server's
    /// `Retry-After`.
    pub(crate) fn again(mut self: Box<Self>, random: u64, asked: Option<Duration>) -> Option<(Box<Self>, Duration)> {
        let after = self.asked.reconnect.as_ref()?.delay(self.failures, random, asked)?;
        self.moved = None;
        self.opened = None;
        Some((self, after))
    }
}
