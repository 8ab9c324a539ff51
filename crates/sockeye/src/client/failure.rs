//! Why a connection did not come about.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use sockeye_proto::handshake::client;

use crate::client::negotiate::ProxyFailure;
use crate::client::redirect::RedirectError;
use crate::client::refusal::Refusal;
use crate::id::ConnId;
use crate::sys::Address;

/// A connection that did not come about. `Display` is one line that a person can act on.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// How far it came.
    pub stage: Stage,
    /// What happened there.
    pub cause: FailureCause,
    /// The next attempt, if there is one.
    pub retry: Option<Retry>,
}

/// The stages of connecting, in their order.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Stage {
    /// The host, or the proxy's, is looked up.
    Resolve,
    /// The addresses are tried.
    Connect,
    /// The proxy is asked for the way.
    Proxy,
    /// The handshake is under way.
    Handshake,
}

/// What kept a connection from coming about.
#[derive(Debug)]
#[non_exhaustive]
pub enum FailureCause {
    /// The system knows no address of the host.
    Resolve {
        /// The host that was looked up.
        host: String,
        /// The system's error.
        error: io::Error,
    },
    /// No address could be connected to.
    Connect {
        /// The address that failed last.
        address: Address,
        /// How it failed.
        error: io::Error,
        /// How many were tried.
        tried: usize,
    },
    /// The proxy did not let us through.
    Proxy(ProxyFailure),
    /// The server answered something else than 101.
    Refused(Box<Refusal>),
    /// The server's answer breaks a rule of the handshake.
    Rule(client::HandshakeError),
    /// The peer ended the connection before it had answered.
    Ended,
    /// The connection broke before the peer had answered.
    Io(io::Error),
    /// It took too long.
    Timeout {
        /// The time that there was: the stage's, or that of everything together.
        after: Duration,
    },
    /// It was closed before it was open.
    Cancelled,
    /// There are as many connections as there may be.
    NoRoom {
        /// That many.
        limit: usize,
    },
    /// The server redirects, and that is not followed.
    Redirect(RedirectError),
    /// It needs something that is not there yet.
    Unsupported(&'static str),
    /// The service ended first.
    Dropped,
}

/// The next attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Retry {
    /// What the next connection will be called.
    pub id: ConnId,
    /// How long it will be waited before.
    pub after: Duration,
}

impl Failure {
    /// Logs a warning, unless the program itself cancelled the connect: what a [`failed`](crate::Protocol::failed) does that is not
    /// implemented. For layers that have a default of their own.
    pub fn warn_unheard(&self, id: ConnId) {
        if !matches!(self.cause, FailureCause::Cancelled | FailureCause::Dropped) {
            tracing::warn!(%id, failure = %self, "no connection; `failed`, which would be told, is not implemented");
        }
    }

    /// The server's answer, if it refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.cause {
            FailureCause::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The system's error, if that is the cause.
    #[must_use]
    pub const fn io_error(&self) -> Option<&io::Error> {
        match &self.cause {
            FailureCause::Resolve { error, .. } | FailureCause::Connect { error, .. } | FailureCause::Io(error) => {
                Some(error)
            }
            _ => None,
        }
    }

    /// Whether the same may come out otherwise a little later: a server that is not up, busy, or out of reach. A request
    /// that was refused for what it is (401, 404), and an answer that is none, will be the same again.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match &self.cause {
            FailureCause::Resolve { .. }
            | FailureCause::Connect { .. }
            | FailureCause::Ended
            | FailureCause::Io(_)
            | FailureCause::Timeout { .. }
            | FailureCause::NoRoom { .. } => true,
            FailureCause::Refused(refusal) => matches!(refusal.status(), 408 | 425 | 429 | 500..=599),
            FailureCause::Proxy(failure) => failure.may_pass(),
            FailureCause::Rule(_)
            | FailureCause::Cancelled
            | FailureCause::Redirect(_)
            | FailureCause::Unsupported(_)
            | FailureCause::Dropped => false,
        }
    }
}

/// For the loop.
impl Failure {
    pub(crate) const fn new(stage: Stage, cause: FailureCause) -> Self {
        Self { stage, cause, retry: None }
    }

    /// The same with a next attempt.
    pub(crate) fn with_retry(self, id: ConnId, after: Duration) -> Self {
        Self { retry: Some(Retry { id, after }), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            FailureCause::Resolve { host, error } => write!(f, "{host}: {}", lookup(error)),
            FailureCause::Connect { address, error, tried } => {
                write!(f, "connecting to {address} failed: {}", plain(error))?;
                if *tried > 1 { write!(f, " ({tried} addresses tried)") } else { Ok(()) }
            }
            FailureCause::Proxy(failure) => failure.fmt(f),
            FailureCause::Refused(refusal) => {
                write!(f, "the server answered {refusal}")?;
                match refusal.retry_after() {
                    Some(after) => write!(f, ", to be tried again in {} s", after.as_secs()),
                    None => Ok(()),
                }
            }
            FailureCause::Rule(rule) => rule.fmt(f),
            FailureCause::Ended => write!(f, "{} ended the connection before it had answered", self.stage.peer()),
            FailureCause::Io(error) => {
                write!(f, "the connection broke before {} had answered: {}", self.stage.peer(), plain(error))
            }
            FailureCause::Timeout { after } => write!(f, "{} within {after:?}", self.stage.silence()),
            FailureCause::Cancelled => f.write_str("connecting was cancelled"),
            FailureCause::NoRoom { limit } => write!(f, "no room for another connection: the limit is {limit}"),
            FailureCause::Redirect(error) => error.fmt(f),
            FailureCause::Unsupported(what) => f.write_str(what),
            FailureCause::Dropped => f.write_str("the service ended before the connection was open"),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            FailureCause::Proxy(failure) => Some(failure),
            FailureCause::Rule(rule) => Some(rule),
            FailureCause::Redirect(error) => Some(error),
            _ => self.io_error().map(|error| error as _),
        }
    }
}

impl Stage {
    /// Who should have answered.
    const fn peer(self) -> &'static str {
        match self {
            Self::Proxy => "the proxy",
            _ => "the server",
        }
    }

    /// What did not happen.
    const fn silence(self) -> &'static str {
        match self {
            Self::Resolve => "the host could not be looked up",
            Self::Connect => "no address could be connected to",
            Self::Proxy => "the proxy did not answer",
            Self::Handshake => "the server did not answer the handshake",
        }
    }
}

/// The error without the number that the standard library appends.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let end = if error.raw_os_error().is_some() { text.rfind(" (os error ") } else { None };
    text[..end.unwrap_or(text.len())].to_owned()
}

/// A failed lookup in few words.
fn lookup(error: &io::Error) -> String {
    let text = plain(error);
    let detail = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    // What the C libraries call the two kinds of it: no such name, and a name without addresses.
    let known = ["Name or service not known", "No address associated with hostname", "Name does not resolve"];
    if error.kind() == io::ErrorKind::NotFound || known.contains(&detail) {
        return "no such host".to_owned();
    }
    format!("looking the host up failed: {detail}")
}

#[cfg(test)]
mod tests;
