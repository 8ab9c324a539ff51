//! The connections: how many there are to be, which ones there are, and how those ended that are gone.

use std::collections::HashMap;

use hdrhistogram::Histogram;
use sockeye::client::{FailureCause, Stage};
use sockeye::log::escape;
use sockeye::proto::close::Cause;
use sockeye::{Close, Closed, ConnId, Handshake};

use super::tally::{Errors, Latencies, latencies};
use crate::failure::{Failure, TIMEOUT};

/// Moments are nanoseconds of one clock.
pub(crate) struct Lines {
    /// Those that were asked for and have neither opened nor failed, since when.
    connecting: HashMap<ConnId, u64>,
    /// In the order of opening; `None` once it is over.
    open: Vec<Option<ConnId>>,
    pub(crate) living: usize,
    pub(crate) opened: u64,
    pub(crate) failed: u64,
    pub(crate) lost: u64,
    /// Those of them that agreed on compression.
    pub(crate) compressing: u64,
    /// From the wish to connect to the end of the handshake.
    handshakes: Histogram<u64>,
    pub(crate) errors: Errors,
    /// What the first failure means for the exit code.
    first_failure: Option<Failure>,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Self {
            connecting: HashMap::new(),
            open: Vec::new(),
            living: 0,
            opened: 0,
            failed: 0,
            lost: 0,
            compressing: 0,
            handshakes: latencies(),
            errors: Errors::default(),
            first_failure: None,
        }
    }

    pub(crate) fn asked(&mut self, id: ConnId, now: u64) {
        self.connecting.insert(id, now);
    }

    pub(crate) fn connecting(&self) -> usize {
        self.connecting.len()
    }

    /// Opened: gives when it was asked for.
    pub(crate) fn opened(&mut self, id: ConnId, handshake: &Handshake<'_>, now: u64) -> u64 {
        self.compressing += u64::from(handshake.compression().is_some());
        let asked = self.connecting.remove(&id).unwrap_or(now);
        self.handshakes.saturating_record(now.saturating_sub(asked));
        self.opened += 1;
        self.living += 1;
        asked
    }

    /// Gives an open connection its number.
    pub(crate) fn number(&mut self, id: ConnId) -> usize {
        self.open.push(Some(id));
        self.open.len() - 1
    }

    /// `closing`: the run is over, and with it the time that there was.
    pub(crate) fn failed(&mut self, id: ConnId, failure: &sockeye::Failure, closing: bool) {
        self.connecting.remove(&id);
        self.failed += 1;
        if closing && matches!(failure.cause, FailureCause::Dropped) {
            let late = "not connected at the end of the run";
            self.errors.add("timeout", 1, || late.to_owned());
            self.first_failure.get_or_insert_with(|| Failure { code: TIMEOUT, message: late.to_owned() });
            return;
        }
        let kind = match (&failure.cause, failure.stage) {
            (FailureCause::Timeout { .. }, _) => "timeout",
            (_, Stage::Resolve) => "resolve",
            (_, Stage::Connect) => "connect",
            (_, Stage::Proxy) => "proxy",
            (_, Stage::Tls) => "tls",
            _ => "handshake",
        };
        self.errors.add(kind, 1, || failure.to_string());
        self.first_failure.get_or_insert_with(|| Failure::from(failure));
    }

    /// An open connection is over, without or with this side's wish.
    pub(crate) fn closed(&mut self, number: Option<usize>, closed: &Closed, wished: bool) {
        self.living -= 1;
        if let Some(place) = number.and_then(|number| self.open.get_mut(number)) {
            *place = None;
        }
        // A server that only ends TCP in response to our close does not count as lost.
        if wished && matches!(closed.cause, Cause::Handshake | Cause::Eof | Cause::Reset) {
            return;
        }
        self.lost += 1;
        match &closed.cause {
            Cause::Violation(violation) => {
                self.errors.add("protocol", 1, || format!("the server broke the protocol: {violation}"));
            }
            Cause::Handshake => {
                self.errors.add("closed", 1, || {
                    let reason = closed.received.as_ref().map_or("", Close::reason);
                    let code = closed.code_seen();
                    if reason.is_empty() {
                        format!("the server closed with {code}")
                    } else {
                        format!("the server closed with {code} {}", escape(reason))
                    }
                });
            }
            _ => self.errors.add("lost", 1, || closed.to_string()),
        }
    }

    /// Nothing was ever opened, and enough was tried.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.opened == 0 && self.failed >= TRIES
    }

    /// The connection of a number, if it is open.
    pub(crate) fn get(&self, number: usize) -> Option<ConnId> {
        self.open.get(number).copied().flatten()
    }

    /// How many numbers there are.
    pub(crate) fn numbers(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn handshakes(&self) -> Latencies {
        Latencies::of(&self.handshakes)
    }

    pub(crate) fn take_first_failure(&mut self) -> Option<Failure> {
        self.first_failure.take()
    }
}

/// Give up after this many failures before the first success.
const TRIES: u64 = 100;
