//! Why a connection attempt failed.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use sockeye_proto::handshake::client;

use crate::client::negotiate::ProxyFailure;
use crate::client::proxy::Proxy;
use crate::client::redirect::RedirectError;
use crate::client::refusal::Refusal;
use crate::client::url::Url;
use crate::id::ConnId;
use crate::sys::Address;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
use crate::tls::{TlsFailure, TlsFailureKind};

/// A failed connection attempt. `Display` is one line that a person can act on.
///
/// ```
/// use sockeye::Failure;
/// use sockeye::client::{FailureCause, Stage};
///
/// /// What [`Protocol::failed`](sockeye::Protocol::failed) could do.
/// fn report(failure: &Failure) {
///     eprintln!("{failure}");
///     match (failure.stage, &failure.cause) {
///         (Stage::Resolve, _) => eprintln!("is the name right?"),
///         (_, FailureCause::Refused(refusal)) if refusal.status() == 401 => eprintln!("log in first"),
///         _ => {}
///     }
///     if let Some(retry) = &failure.retry {
///         eprintln!("next attempt in {:?}", retry.after);
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The stage that failed.
    pub stage: Stage,
    /// The cause.
    pub cause: FailureCause,
    /// The next attempt, if [`Reconnect`](crate::client::Reconnect) allows one.
    pub retry: Option<Retry>,
    route: Option<Box<Route>>,
}

/// What lay between the description and the server.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) proxy: Option<Proxy>,
    pub(crate) redirected: Option<Url>,
}

/// The stages of connecting, in order.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Stage {
    /// Looking up the host, or the proxy's host.
    Resolve,
    /// Connecting to one of the addresses.
    Connect,
    /// Asking the proxy to connect to the server, behind the handshake of TLS with a proxy of `https`.
    Proxy,
    /// The handshake of TLS with the server.
    Tls,
    /// The opening handshake.
    Handshake,
}

/// Why a connection attempt failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum FailureCause {
    /// The host lookup failed.
    Resolve {
        /// The host that was looked up.
        host: String,
        /// The system's error.
        error: io::Error,
    },
    /// No address accepted the connection.
    Connect {
        /// The address that failed last.
        address: Address,
        /// How it failed.
        error: io::Error,
        /// The number of addresses tried.
        tried: usize,
    },
    /// The descriptor of [`connect_over`](crate::protocol::ProtocolMut::connect_over) cannot be used: it is not a
    /// connected TCP or Unix stream socket.
    Descriptor(io::Error),
    /// The proxy did not connect us to the server.
    Proxy(ProxyFailure),
    /// The handshake of TLS failed: with the proxy if the stage is [`Stage::Proxy`].
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))))]
    Tls(TlsFailure),
    /// The server answered with a status other than 101.
    Refused(Box<Refusal>),
    /// The server's answer breaks a rule of the handshake.
    Rule(client::HandshakeError),
    /// The peer closed the connection before it answered.
    Ended,
    /// The connection broke before the peer answered.
    Io(io::Error),
    /// A deadline passed.
    Timeout {
        /// The time limit: that of the stage ([`Timeouts`](crate::client::Timeouts)), or that of the whole attempt
        /// ([`Connect::timeout`](crate::client::Connect::timeout)).
        after: Duration,
    },
    /// The program closed the connection before it opened.
    Cancelled,
    /// The service has as many connections as it may have.
    NoRoom {
        /// The limit ([`Limits::connections`](crate::Limits::connections)).
        limit: usize,
    },
    /// The server redirects, and the redirect is not followed.
    Redirect(RedirectError),
    /// It needs something that is not there: a `wss` URL without [`Connect::tls`](crate::client::Connect), for example.
    Unsupported(&'static str),
    /// The service stopped first.
    Dropped,
}

/// The next attempt to connect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Retry {
    /// The id of the next connection.
    pub id: ConnId,
    /// The wait before it.
    pub after: Duration,
}

impl Failure {
    /// Logs a warning, unless the program itself cancelled the connect or dropped the service. The default of
    /// [`Protocol::failed`](crate::Protocol::failed); for layers with a default of their own.
    pub fn warn_unheard(&self, id: ConnId) {
        if !matches!(self.cause, FailureCause::Cancelled | FailureCause::Dropped) {
            tracing::warn!(%id, failure = %self, "connecting failed; the protocol does not implement `failed`");
        }
    }

    /// The URL that failed, if the server had redirected to it.
    #[must_use]
    pub fn redirected_to(&self) -> Option<&Url> {
        self.route.as_ref().and_then(|route| route.redirected.as_ref())
    }

    /// The proxy that the attempt went through, given or from the environment.
    #[must_use]
    pub fn proxy(&self) -> Option<&Proxy> {
        self.route.as_ref().and_then(|route| route.proxy.as_ref())
    }

    /// The server's response, if it refused the handshake.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.cause {
            FailureCause::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The system's error, if one is the cause.
    #[must_use]
    pub const fn io_error(&self) -> Option<&io::Error> {
        match &self.cause {
            FailureCause::Resolve { error, .. }
            | FailureCause::Connect { error, .. }
            | FailureCause::Descriptor(error)
            | FailureCause::Io(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the same attempt may succeed later: the server is down, busy or out of reach. A refusal of the request
    /// itself (401, 404) and an invalid response are permanent.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match &self.cause {
            FailureCause::Resolve { .. }
            | FailureCause::Connect { .. }
            | FailureCause::Ended
            | FailureCause::Io(_)
            | FailureCause::Timeout { .. }
            | FailureCause::NoRoom { .. } => true,
            FailureCause::Refused(refusal) => matches!(refusal.status(), 408 | 425 | 429 | 500..=599),
            FailureCause::Proxy(failure) => failure.is_transient(),
            // Whatever ended it may have been a server that restarts.
            #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
            FailureCause::Tls(failure) => failure.kind() == TlsFailureKind::ClosedInHandshake,
            FailureCause::Rule(_)
            | FailureCause::Descriptor(_)
            | FailureCause::Cancelled
            | FailureCause::Redirect(_)
            | FailureCause::Unsupported(_)
            | FailureCause::Dropped => false,
        }
    }
}

/// Used by the loop.
impl Failure {
    pub(crate) const fn new(stage: Stage, cause: FailureCause) -> Self {
        Self { stage, cause, retry: None, route: None }
    }

    /// Adds what lay between.
    pub(crate) fn by(self, route: Option<Box<Route>>) -> Self {
        Self { route, ..self }
    }

    /// Adds the next attempt.
    pub(crate) fn with_retry(self, id: ConnId, after: Duration) -> Self {
        Self { retry: Some(Retry { id, after }), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_cause(f)?;
        if let Some(proxy) = self.proxy().filter(|_| self.stage <= Stage::Proxy) {
            write!(f, " (the proxy {proxy}")?;
            match proxy.variable() {
                Some(variable) => write!(f, ", from {variable})")?,
                None => f.write_str(")")?,
            }
        }
        match self.redirected_to() {
            Some(url) => write!(f, " (redirected to {url})"),
            None => Ok(()),
        }
    }
}

impl Failure {
    fn fmt_cause(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            FailureCause::Resolve { host, error } => write!(f, "{host}: {}", lookup(error)),
            FailureCause::Connect { address, error, tried } => {
                write!(f, "connecting to {address} failed: {}", plain(error))?;
                if *tried > 1 { write!(f, " ({tried} addresses tried)") } else { Ok(()) }
            }
            FailureCause::Descriptor(error) => write!(f, "the descriptor cannot be used: {}", plain(error)),
            FailureCause::Proxy(failure) => write!(f, "{failure}"),
            #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
            FailureCause::Tls(failure) => write!(f, "{failure}"),
            FailureCause::Refused(refusal) => {
                write!(f, "the server answered {refusal}")?;
                match refusal.retry_after() {
                    Some(after) => write!(f, " (retry after {} s)", after.as_secs()),
                    None => Ok(()),
                }
            }
            FailureCause::Rule(rule) => write!(f, "{rule}"),
            FailureCause::Ended => write!(f, "{} closed the connection before it answered", self.stage.peer()),
            FailureCause::Io(error) => {
                write!(f, "the connection broke before {} answered: {}", self.stage.peer(), plain(error))
            }
            FailureCause::Timeout { after } => write!(f, "{} within {after:?}", self.stage.silence()),
            FailureCause::Cancelled => f.write_str("the connection attempt was cancelled"),
            FailureCause::NoRoom { limit } => write!(f, "too many connections: the limit is {limit}"),
            FailureCause::Redirect(error) => write!(f, "{error}"),
            FailureCause::Unsupported(what) => f.write_str(what),
            FailureCause::Dropped => f.write_str("the service stopped before the connection opened"),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            FailureCause::Proxy(failure) => Some(failure),
            #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
            FailureCause::Tls(failure) => Some(failure),
            FailureCause::Rule(rule) => Some(rule),
            FailureCause::Redirect(error) => Some(error),
            _ => self.io_error().map(|error| error as _),
        }
    }
}

impl Stage {
    /// The peer that should have answered.
    const fn peer(self) -> &'static str {
        match self {
            Self::Proxy => "the proxy",
            _ => "the server",
        }
    }

    /// What did not happen in time.
    const fn silence(self) -> &'static str {
        match self {
            Self::Resolve => "the host lookup did not finish",
            Self::Connect => "no address accepted the connection",
            Self::Proxy => "the proxy did not answer",
            Self::Tls => "the server did not finish the TLS handshake",
            Self::Handshake => "the server did not answer the handshake",
        }
    }
}

/// The error's text without the number that the standard library appends.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let end = if error.raw_os_error().is_some() { text.rfind(" (os error ") } else { None };
    text[..end.unwrap_or(text.len())].to_owned()
}

/// A short text for a failed lookup.
fn lookup(error: &io::Error) -> String {
    let text = plain(error);
    let detail = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    // The texts of glibc and musl for two errors: no such name, and a name without addresses.
    let known = ["Name or service not known", "No address associated with hostname", "Name does not resolve"];
    if error.kind() == io::ErrorKind::NotFound || known.contains(&detail) {
        return "no such host".to_owned();
    }
    format!("host lookup failed: {detail}")
}

#[cfg(test)]
mod tests;
