//! A plain HTTP request, as a handler sees it.

use std::fmt;

use sockeye_proto::http::RequestHead;
use sockeye_proto::http::target::{self, TargetPath};

use crate::statistics::{BoardSlot, Statistics};
use crate::sys::Address;

/// A plain HTTP request: head and body. It lives for the call of the handler. In
/// [`Responder::request`](crate::responder::Responder::request) the body is empty: it follows in pieces.
///
/// ```
/// use sockeye::http::{HttpRequest, Response, Routes};
///
/// fn greet(request: &HttpRequest<'_>) -> Response {
///     match request.query_value("name") {
///         Some(name) => Response::text(format!("hello {name}\n")),
///         None => Response::error(400),
///     }
/// }
///
/// let routes = Routes::new().get("/greet", greet);
/// # drop(routes);
/// ```
#[derive(Clone, Copy)]
pub struct HttpRequest<'r> {
    /// As received.
    pub(crate) head: &'r RequestHead<'r>,
    pub(crate) path: &'r TargetPath,
    /// At most `Limits::body_bytes`.
    pub(crate) body: &'r [u8],
    pub(crate) peer: &'r Address,
    /// Seconds since 1970, as in the Date field of the response.
    #[cfg_attr(not(feature = "files"), expect(dead_code, reason = "files compare it"))]
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

    /// The path, percent-decoded once and without dot segments. It begins with a slash. It may have any character,
    /// encoded slashes and NUL included, and U+FFFD for bytes that are not UTF-8: do not use it as the name of a file.
    #[must_use]
    pub fn path(&self) -> &'r str {
        self.path.as_str()
    }

    /// The target as received: path and query, percent-encoded.
    #[must_use]
    pub const fn target(&self) -> &'r str {
        self.head.target
    }

    /// The query: the text after the question mark, not decoded.
    #[must_use]
    pub fn query(&self) -> Option<&'r str> {
        target::query(self.target())
    }

    /// The first value of `name` in the query, decoded as browsers encode forms (`a=1&b=2`, where `+` is a space).
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        target::query_value(self.query()?, name)
    }

    /// The value of the first header field of this name, case-insensitively.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'r [u8]> {
        self.head.fields.get(name)
    }

    /// The value of the first header field of this name as text; `None` if there is none, or if it is not UTF-8.
    ///
    /// ```
    /// use sockeye::http::{Response, Routes};
    ///
    /// let routes = Routes::new().get("/private", |request| match request.header_str("Authorization") {
    ///     Some("Bearer secret") => Response::text("welcome"),
    ///     _ => Response::error(401),
    /// });
    /// # let _ = routes;
    /// ```
    #[must_use]
    pub fn header_str(&self, name: &str) -> Option<&'r str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all header fields of this name, case-insensitively.
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = &'r [u8]> {
        self.head.fields.all(name)
    }

    /// Names and values of all header fields, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'r str, &'r [u8])> {
        self.head.fields.iter()
    }

    /// The value of the first cookie of this name, as sent (RFC 6265 section 4.2.1); `None` too if it is not UTF-8.
    /// Names are case-sensitive.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&'r str> {
        self.head.fields.cookie(name).and_then(|value| std::str::from_utf8(value).ok())
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
            .field("path", &self.path())
            .field("peer", self.peer)
            .finish_non_exhaustive()
    }
}
