//! What the loop keeps of a connect: the description, and how far it is.

use std::net::SocketAddr;
use std::time::Duration;

use sockeye_proto::limits::ProtocolLimits;
use sockeye_proto::time::Instant;

use crate::client::negotiate::{Negotiation, ProxyFailure};
use crate::client::{Connect, RedirectError, Refusal, Stage, Timeouts};
use crate::sys::Address;

/// One connect, from the wish for it to its outcome, and on to the attempts that follow when it is to be kept up.
#[derive(Debug)]
pub(crate) struct Plan {
    /// As it was asked for.
    asked: Connect,
    /// As it is by now, if the server redirected.
    moved: Option<Connect>,
    /// Attempts that failed one after another; a connection that did not last is one of them.
    failures: u32,
    /// When this attempt must have come to its outcome.
    ends: Instant,
    opened: Option<Instant>,
}

/// Where the first socket of an attempt goes to.
#[derive(Debug)]
pub(crate) enum Target {
    /// These addresses, as they are.
    Addresses(Vec<Address>),
    /// A name to look up.
    Name { host: String, port: u16 },
}

impl Plan {
    pub(crate) fn new(connect: Connect) -> Self {
        let zero = Instant::from_nanos(0);
        Self { asked: connect, moved: None, failures: 0, ends: zero, opened: None }
    }

    /// What this attempt is about.
    pub(crate) fn connect(&self) -> &Connect {
        self.moved.as_ref().unwrap_or(&self.asked)
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.asked.timeouts
    }

    /// An attempt begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.ends = now + self.asked.timeout;
    }

    /// When this attempt must have come to its outcome.
    pub(crate) fn ends(&self) -> Instant {
        self.ends
    }

    /// The time that there was for a stage that did not end in time: its own, or that of everything together.
    pub(crate) fn time_for(&self, stage: Stage, now: Instant) -> Duration {
        if self.ends <= now {
            return self.asked.timeout;
        }
        let timeouts = self.timeouts();
        match stage {
            Stage::Resolve => timeouts.resolve,
            Stage::Connect => timeouts.connect,
            Stage::Proxy => timeouts.proxy,
            Stage::Handshake => timeouts.handshake,
        }
    }

    /// What to connect to: the given addresses, the proxy, or the URL's host.
    pub(crate) fn target(&self) -> Target {
        let connect = self.connect();
        if !connect.addresses().is_empty() {
            return Target::Addresses(connect.addresses().to_vec());
        }
        let (host, port) = connect.first_host();
        match host.parse() {
            Ok(ip) => Target::Addresses(vec![Address::Ip(SocketAddr::new(ip, port))]),
            Err(_) => Target::Name { host: host.to_owned(), port },
        }
    }

    /// The talk with the proxy, if there is one between.
    pub(crate) fn negotiation(&self, limits: &ProtocolLimits) -> Result<Option<Negotiation>, ProxyFailure> {
        let url = self.connect().url();
        self.connect().via().map(|proxy| proxy.negotiate(url.host(), url.port(), limits)).transpose()
    }

    /// Whether a refusal is a redirect, and redirects are to be followed.
    pub(crate) fn follows(&self, refusal: &Refusal) -> bool {
        refusal.is_redirect() && self.asked.redirects > 0
    }

    /// Turns to where a refusal redirects to, if it does and that was asked for.
    pub(crate) fn redirect(&mut self, refusal: &Refusal) -> Result<bool, RedirectError> {
        if !self.follows(refusal) {
            return Ok(false);
        }
        self.moved = Some(self.connect().redirected(refusal)?);
        Ok(true)
    }

    /// Whether another attempt follows when the connection is lost.
    pub(crate) fn is_kept_up(&self) -> bool {
        self.asked.reconnect.is_some()
    }

    /// The connect succeeded.
    pub(crate) fn set_opened(&mut self, now: Instant) {
        self.opened = Some(now);
    }

    /// The connection ended. One that lasted long enough begins to count anew.
    pub(crate) fn count_end(&mut self, now: Instant) {
        let lasted = self.opened.map_or(Duration::ZERO, |opened| now.saturating_duration_since(opened));
        let is_stable = self.asked.reconnect.as_ref().is_some_and(|policy| policy.is_stable(lasted));
        self.failures = if is_stable { 0 } else { self.failures.saturating_add(1) };
    }

    /// This attempt failed.
    pub(crate) fn count_failure(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// The plan of the next attempt after one that is over, and how long until it; `None` when there is to be none.
    /// `asked` is how long the server wants to be left alone.
    pub(crate) fn again(mut self: Box<Self>, random: u64, asked: Option<Duration>) -> Option<(Box<Self>, Duration)> {
        let after = self.asked.reconnect.as_ref()?.delay(self.failures, random, asked)?;
        self.moved = None;
        self.opened = None;
        Some((self, after))
    }
}
