//! Why the command ends without success: a line for people, a number for scripts.

use std::error::Error;
use std::fmt::{self, Write as _};

use sockeye::client::{FailureCause, ProxyFailure, Refusal, Stage};
use sockeye::tls::{TlsFailure, TlsFailureKind};
use sockeye_hub::SUBPROTOCOL;

/// A message and an exit code.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl Failure {
    /// Something failed that the command line has no part in.
    pub(crate) fn general(message: String) -> Self {
        Self { code: GENERAL, message }
    }

    /// A signal ended what had no other end: the process ends by SIGINT, as a shell expects of what it runs in a loop.
    pub(crate) fn interrupted() -> Self {
        Self { code: INTERRUPTED, message: String::new() }
    }

    /// The server has accepted the connection, but does not speak the subprotocol of hubs.
    pub(crate) fn no_hub() -> Self {
        Self { code: PROTOCOL, message: format!("the server is not a hub: it does not speak {SUBPROTOCOL}") }
    }

    /// What the command line asks for cannot be: a folder or address that does not exist, a port in use.
    pub(crate) fn usage(message: String) -> Self {
        Self { code: USAGE, message }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

impl From<&sockeye::Failure> for Failure {
    /// A connection that could not be opened.
    fn from(failure: &sockeye::Failure) -> Self {
        let mut message = failure.to_string();
        if let Some(refusal) = refusal(failure) {
            quote(&mut message, refusal);
        }
        if let FailureCause::Refused(refusal) = &failure.cause {
            if let Some(location) = refusal.location().filter(|_| refusal.is_redirect()) {
                _ = write!(message, " and redirects to {location}; --redirects follows");
            }
        }
        if let FailureCause::Tls(cause) = &failure.cause {
            let is_of_proxy = failure.stage == Stage::Proxy;
            message.push_str(if is_of_proxy { proxy_option(cause) } else { tls_option(cause) });
        }
        Self { code: code_of(failure), message }
    }
}

/// What the server or a proxy answered instead of what was asked for.
pub(crate) fn refusal(failure: &sockeye::Failure) -> Option<&Refusal> {
    match &failure.cause {
        FailureCause::Refused(refusal) | FailureCause::Proxy(ProxyFailure::Refused(refusal)) => Some(refusal),
        _ => None,
    }
}

/// Which options help.
fn tls_option(failure: &TlsFailure) -> &'static str {
    match failure.kind() {
        TlsFailureKind::UnknownIssuer => " (--ca-file)",
        TlsFailureKind::SelfSigned => " (--ca-file, or --insecure with --pin)",
        TlsFailureKind::NoCertificate => " (--cert and --key)",
        _ => "",
    }
}

/// The same for what is wrong with a proxy.
fn proxy_option(failure: &TlsFailure) -> &'static str {
    match failure.kind() {
        TlsFailureKind::UnknownIssuer => " (--proxy-ca-file)",
        TlsFailureKind::SelfSigned => " (--proxy-ca-file, or --proxy-insecure)",
        _ => "",
    }
}

/// The exit code for a connection that could not be opened.
fn code_of(failure: &sockeye::Failure) -> u8 {
    match (&failure.cause, failure.stage) {
        (FailureCause::Timeout { .. }, _) => TIMEOUT,
        (FailureCause::Tls(_) | FailureCause::Unsupported(_), _) | (_, Stage::Tls) => TLS,
        (FailureCause::Refused(_) | FailureCause::Redirect(_), _) => REFUSED,
        (FailureCause::Rule(_), _) => PROTOCOL,
        (FailureCause::Cancelled | FailureCause::NoRoom { .. } | FailureCause::Dropped, _) => GENERAL,
        // Ended or broken before the answer was whole.
        (_, Stage::Handshake) => PROTOCOL,
        _ => CONNECT,
    }
}

/// Adds the beginning of what a server says about its refusal, if that is text.
fn quote(message: &mut String, refusal: &Refusal) {
    let body = String::from_utf8_lossy(refusal.body());
    let line = body.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    // A page is for browsers.
    if line.is_empty() || line.starts_with('<') {
        return;
    }
    let beginning: String = line.chars().take(QUOTED).collect();
    let more = if beginning.len() < line.len() { ".." } else { "" };
    _ = write!(message, ": {beginning}{more}");
}

/// Exit codes; 0 is success.
pub(crate) const GENERAL: u8 = 1;
pub(crate) const USAGE: u8 = 2;
/// The name does not resolve, or nothing can be connected to.
pub(crate) const CONNECT: u8 = 3;
/// The handshake of TLS failed.
pub(crate) const TLS: u8 = 4;
/// The server answered the handshake with another status than 101.
pub(crate) const REFUSED: u8 = 5;
/// The peer broke a rule, or ended the connection in another way than 1000, 1001 or without a code.
pub(crate) const PROTOCOL: u8 = 6;
/// Something that was asked to hold did not.
pub(crate) const THRESHOLD: u8 = 7;
/// Ended by SIGINT, which a shell shows as this.
pub(crate) const INTERRUPTED: u8 = 130;
/// A time was over, as for timeout(1).
pub(crate) const TIMEOUT: u8 = 124;

/// Characters of a refusal's body that are shown.
const QUOTED: usize = 200;
