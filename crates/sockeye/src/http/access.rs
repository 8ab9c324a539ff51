//! The access log: one `tracing` event for each response, at its end, with the target `sockeye::access`.
//!
//! Before editing: nothing is kept unless these events are enabled. The event is sent when the value is dropped, so it
//! is sent however the connection ends.

use sockeye_proto::http::RequestHead;
use sockeye_proto::time::Instant;

use crate::sys::Address;
use crate::tls::Session;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
use crate::tls::TlsAgreement;

/// What a handshake of TLS agreed on.
#[derive(Debug)]
struct Secured {
    version: String,
    cipher: &'static str,
    /// The name that the client asked for.
    name: Option<String>,
    /// The subject of its certificate, or the pin of its key if it has none.
    client: Option<String>,
}

/// A response that is not finished yet.
#[derive(Debug, Default)]
pub(crate) struct Access(Option<Box<Entry>>);

#[derive(Debug)]
struct Entry {
    peer: String,
    method: String,
    path: String,
    origin: Option<String>,
    protocol: Option<String>,
    /// Whether messages may be compressed.
    is_compressed: bool,
    /// 0: no response yet.
    status: u16,
    /// Why the request was refused, in the service's words.
    reason: Option<String>,
    /// If the connection speaks TLS.
    tls: Option<Secured>,
    /// Bytes of the body handed to the socket.
    bytes: u64,
    complete: bool,
    since: Instant,
    seen: Instant,
}

impl Access {
    /// For a request with this head, `None` if the head is invalid, on a connection with this session, if it speaks TLS.
    pub(crate) fn of(peer: &Address, head: Option<&RequestHead<'_>>, tls: Option<&Session>, now: Instant) -> Self {
        if !tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
            return Self(None);
        }
        let text = |bytes: &[u8]| beginning(&String::from_utf8_lossy(bytes)).to_owned();
        let path = head.map(|head| head.target.split('?').next().unwrap_or_default());
        Self(Some(Box::new(Entry {
            peer: peer.to_string(),
            method: head.map_or_else(String::new, |head| beginning(head.method).to_owned()),
            // Without the query, which may hold a password.
            path: path.map(beginning).unwrap_or_default().to_owned(),
            origin: head.and_then(|head| head.fields.get("origin")).map(text),
            protocol: None,
            is_compressed: false,
            status: 0,
            reason: None,
            tls: tls.map(Secured::of),
            bytes: 0,
            complete: false,
            since: now,
            seen: now,
        })))
    }

    /// Records the status.
    pub(crate) fn answered(&mut self, status: u16) {
        if let Some(entry) = &mut self.0 {
            entry.status = status;
        }
    }

    /// Records that the request is refused.
    pub(crate) fn refused(&mut self, status: u16, reason: &str) {
        self.answered(status);
        if let Some(entry) = &mut self.0 {
            entry.reason = Some(beginning(reason).to_owned());
        }
    }

    /// Records that the connection is a WebSocket from now on.
    pub(crate) fn upgraded(&mut self, protocol: Option<&str>, is_compressed: bool) {
        if let Some(entry) = &mut self.0 {
            entry.status = 101;
            entry.protocol = protocol.map(|protocol| beginning(protocol).to_owned());
            entry.is_compressed = is_compressed;
            entry.complete = true;
        }
    }

    /// Records that this many bytes of the body were handed to the socket.
    pub(crate) fn sent(&mut self, bytes: usize) {
        if let Some(entry) = &mut self.0 {
            entry.bytes += bytes as u64;
        }
    }

    /// Records the time of the last progress.
    pub(crate) fn seen(&mut self, now: Instant) {
        if let Some(entry) = &mut self.0 {
            entry.seen = now;
        }
    }

    /// Records that the whole response is sent.
    pub(crate) fn complete(&mut self) {
        if let Some(entry) = &mut self.0 {
            entry.complete = true;
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl Secured {
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    fn of(session: &Session) -> Self {
        let agreed = TlsAgreement::of(session);
        let client = agreed.peer_identity().map(|identity| {
            let certificate = identity.certificate();
            let pin = || certificate.pin();
            Some(certificate.subject())
                .filter(|subject| !subject.is_empty())
                .map_or_else(pin, |subject| beginning(subject).to_owned())
        });
        Self {
            version: agreed.version().to_string(),
            cipher: agreed.cipher(),
            name: agreed.server_name().map(|name| beginning(name).to_owned()),
            client,
        }
    }

    #[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
    fn of(session: &Session) -> Self {
        match *session {}
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let Some(entry) = self.0.take().filter(|entry| entry.status != 0) else { return };
        let tls = entry.tls.as_ref();
        tracing::debug!(
            target: TARGET,
            peer = entry.peer,
            method = entry.method,
            path = entry.path,
            status = entry.status,
            reason = entry.reason,
            origin = entry.origin,
            protocol = entry.protocol,
            compression = entry.is_compressed.then_some("permessage-deflate"),
            tls_version = tls.map(|tls| tls.version.as_str()),
            tls_cipher = tls.map(|tls| tls.cipher),
            tls_name = tls.and_then(|tls| tls.name.as_deref()),
            tls_client = tls.and_then(|tls| tls.client.as_deref()),
            bytes = entry.bytes,
            milliseconds = entry.seen.saturating_duration_since(entry.since).as_millis() as u64,
            complete = entry.complete,
            "answered"
        );
    }
}

/// As much as is logged of what a peer said.
pub(crate) fn beginning(text: &str) -> &str {
    text.char_indices().nth(CHARACTERS).map_or(text, |(at, _)| &text[..at])
}

const TARGET: &str = "sockeye::access";

/// The longest text of a peer that is logged, in characters.
const CHARACTERS: usize = 256;
