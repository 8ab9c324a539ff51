//! A plain HTTP request, as a handler sees it.

use std::fmt;

use sockeye_proto::http::RequestHead;

use crate::statistics::{BoardSlot, Statistics};
use crate::sys::Address;

/// A complete plain HTTP request: head and body. It lives for the call of the handler.
#[derive(Clone, Copy)]
pub struct HttpRequest<'r> {
    /// As received.
    pub(crate) head: &'r RequestHead<'r>,
    /// Decoded once and without dot segments (`http::target::normalise`).
    pub(crate) path: &'r str,
    /// As received, without the question mark.
    pub(crate) query: Option<&'r str>,
    /// At most `Limits::body_bytes`.
    pub(crate) body: &'r [u8],
    pub(crate) peer: &'r Address,
    /// Seconds since 1970, as in the Date field of the response.
    pub(crate) now: u64,
    pub(crate) statistics: &'r Statistics,
    /// Of several threads.
    pub(crate) board: Option<&'r BoardSlot>,
}

impl<'r> HttpRequest<'r> {
    /// The method. A handler for GET is also called for HEAD.
    #[must_use]
    pub fn method(&self) -> &'r str {
        self.head.method
    }

    /// The path, percent-decoded once and without dot segments. It begins with a slash.
    #[must_use]
    pub const fn path(&self) -> &'r str {
        self.path
    }

    /// The query: the text after the question mark, not decoded.
    #[must_use]
    pub const fn query(&self) -> Option<&'r str> {
        self.query
    }

    /// The value of the first header field of this name, case-insensitively.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'r [u8]> {
        self.head.fields.get(name)
    }

    /// The values of all header fields of this name, case-insensitively.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &'r [u8]> {
        self.head.fields.all(name)
    }

    /// The body; empty if the request has none.
    #[must_use]
    pub const fn body(&self) -> &'r [u8] {
        self.body
    }

    /// The client's address.
    #[must_use]
    pub const fn peer(&self) -> &'r Address {
        self.peer
    }

    /// The service's statistics since it was built. The response to this request is not counted yet.
    #[must_use]
    pub const fn statistics(&self) -> &'r Statistics {
        self.statistics
    }

    /// The sum of the statistics of all [`Threads`](crate::Threads): current for this thread, at most a second old for
    /// the others, unless their loops are stalled. For a single service the same as [`statistics`](Self::statistics).
    #[must_use]
    pub fn statistics_of_all(&self) -> Statistics {
        self.board.map_or_else(|| self.statistics.clone(), |board| board.sum(self.statistics))
    }

    /// Whether the response may depend on preconditions: GET and HEAD.
    pub(super) fn retrieves(&self) -> bool {
        matches!(self.method(), "GET" | "HEAD")
    }
}

impl fmt::Debug for HttpRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without fields and body: they may hold cookies and passwords, which must not get into logs.
        f.debug_struct("HttpRequest")
            .field("method", &self.method())
            .field("path", &self.path)
            .field("peer", self.peer)
            .finish_non_exhaustive()
    }
}
