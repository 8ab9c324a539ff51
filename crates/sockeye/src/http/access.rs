//! What an access log says of a request: one event for each answer, at its end, of the target `sockeye::access`.
//!
//! What to know before editing: nothing is kept unless somebody takes these events. The event is sent when the value is
//! dropped, so that no way in which a connection may end goes without it.

use sockeye_proto::http::RequestHead;
use sockeye_proto::time::Instant;

use crate::sys::Address;

/// An answer that is not at its end yet.
#[derive(Debug, Default)]
pub(crate) struct Access(Option<Box<Entry>>);

#[derive(Debug)]
struct Entry {
    peer: String,
    method: String,
    path: String,
    origin: Option<String>,
    protocol: Option<String>,
    /// 0: nothing was answered.
    status: u16,
    /// Why the request was refused, in our own words.
    reason: Option<String>,
    /// Of the body, handed to the socket.
    bytes: u64,
    complete: bool,
    since: Instant,
    seen: Instant,
}

impl Access {
    /// Of a request whose head is here, or that has none that could be read.
    pub(crate) fn of(peer: &Address, head: Option<&RequestHead<'_>>, now: Instant) -> Self {
        if !tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
            return Self(None);
        }
        let text = |bytes: &[u8]| beginning(&String::from_utf8_lossy(bytes));
        let path = head.map(|head| head.target.split('?').next().unwrap_or_default());
        Self(Some(Box::new(Entry {
            peer: peer.to_string(),
            method: head.map_or_else(String::new, |head| beginning(head.method)),
            // What follows the question mark may be a password.
            path: path.map_or_else(String::new, beginning),
            origin: head.and_then(|head| head.fields.get("origin")).map(text),
            protocol: None,
            status: 0,
            reason: None,
            bytes: 0,
            complete: false,
            since: now,
            seen: now,
        })))
    }

    /// The status is known.
    pub(crate) fn answered(&mut self, status: u16) {
        if let Some(entry) = &mut self.0 {
            entry.status = status;
        }
    }

    /// It is refused.
    pub(crate) fn refused(&mut self, status: u16, reason: &str) {
        self.answered(status);
        if let Some(entry) = &mut self.0 {
            entry.reason = Some(beginning(reason));
        }
    }

    /// It is a WebSocket from now on.
    pub(crate) fn upgraded(&mut self, protocol: Option<&str>) {
        if let Some(entry) = &mut self.0 {
            entry.status = 101;
            entry.protocol = protocol.map(beginning);
            entry.complete = true;
        }
    }

    /// So much of the body is handed to the socket.
    pub(crate) fn sent(&mut self, bytes: usize) {
        if let Some(entry) = &mut self.0 {
            entry.bytes += bytes as u64;
        }
    }

    pub(crate) fn seen(&mut self, now: Instant) {
        if let Some(entry) = &mut self.0 {
            entry.seen = now;
        }
    }

    /// All of the answer is sent.
    pub(crate) fn complete(&mut self) {
        if let Some(entry) = &mut self.0 {
            entry.complete = true;
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let Some(entry) = self.0.take().filter(|entry| entry.status != 0) else { return };
        tracing::debug!(
            target: TARGET,
            peer = entry.peer,
            method = entry.method,
            path = entry.path,
            status = entry.status,
            reason = entry.reason,
            origin = entry.origin,
            protocol = entry.protocol,
            bytes = entry.bytes,
            milliseconds = entry.seen.saturating_duration_since(entry.since).as_millis() as u64,
            complete = entry.complete,
            "answered"
        );
    }
}

fn beginning(text: &str) -> String {
    text.chars().take(CHARACTERS).collect()
}

const TARGET: &str = "sockeye::access";

/// Of each text that a peer sent.
const CHARACTERS: usize = 256;
