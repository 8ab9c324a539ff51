//! What a handler sees of a plain request.

use std::fmt;

use sockeye_proto::http::RequestHead;

use crate::statistics::{BoardSlot, Statistics};
use crate::sys::Address;

/// A plain HTTP request, whole: its head and its body are here. It lives as long as the call of the handler.
#[derive(Clone, Copy)]
pub struct HttpRequest<'r> {
    /// As it came from the wire.
    pub(crate) head: &'r RequestHead<'r>,
    /// Decoded once and without dot segments (`http::target::normalise`).
    pub(crate) path: &'r str,
    /// As it came from the wire, without the question mark.
    pub(crate) query: Option<&'r str>,
    /// At most `Limits::body_bytes`.
    pub(crate) body: &'r [u8],
    pub(crate) peer: &'r Address,
    /// Seconds since 1970, the same that go into Date.
    pub(crate) now: u64,
    pub(crate) statistics: &'r Statistics,
    /// Of several threads.
    pub(crate) board: Option<&'r BoardSlot>,
}

impl<'r> HttpRequest<'r> {
    /// The method; a handler for GET is asked for HEAD too.
    #[must_use]
    pub fn method(&self) -> &'r str {
        self.head.method
    }

    /// The path, percent-decoded once, dot segments resolved. Begins with a slash.
    #[must_use]
    pub const fn path(&self) -> &'r str {
        self.path
    }

    /// What followed the question mark, not decoded.
    #[must_use]
    pub const fn query(&self) -> Option<&'r str> {
        self.query
    }

    /// The first header field of this name, whatever the case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'r [u8]> {
        self.head.fields.get(name)
    }

    /// All header fields of this name.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &'r [u8]> {
        self.head.fields.all(name)
    }

    /// The body; empty unless the request had one.
    #[must_use]
    pub const fn body(&self) -> &'r [u8] {
        self.body
    }

    /// Who asks.
    #[must_use]
    pub const fn peer(&self) -> &'r Address {
        self.peer
    }

    /// What the service has done since it was built, this request not counted as answered yet.
    #[must_use]
    pub const fn statistics(&self) -> &'r Statistics {
        self.statistics
    }

    /// The same of all [`Threads`](crate::Threads) together: of this one as it is, of the others as it was at most a
    /// second ago, unless their loops are held up. Of a service on its own it is [`statistics`](Self::statistics).
    #[must_use]
    pub fn statistics_of_all(&self) -> Statistics {
        self.board.map_or_else(|| self.statistics.clone(), |board| board.sum(self.statistics))
    }

    /// Whether an answer may depend on preconditions: GET, and HEAD which stands for it.
    pub(super) fn retrieves(&self) -> bool {
        matches!(self.method(), "GET" | "HEAD")
    }
}

impl fmt::Debug for HttpRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Fields and body stay out of logs: they carry cookies and passwords.
        f.debug_struct("HttpRequest")
            .field("method", &self.method())
            .field("path", &self.path)
            .field("peer", self.peer)
            .finish_non_exhaustive()
    }
}
