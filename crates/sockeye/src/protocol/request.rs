//! The handshake request, as the filter sees it.

use std::fmt;

use sockeye_proto::handshake::origin::Origin;
use sockeye_proto::handshake::server::Offer;
use sockeye_proto::http::target::{self, TargetPath};

use crate::id::{ConnId, ListenerHandle};
use crate::sys::Address;
use crate::tls::Session;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
use crate::tls::TlsAgreement;

/// A client's handshake: for [`Protocol::filter`](crate::Protocol::filter), where it waits for the
/// [`Decision`](crate::Decision), and for `open`, in its [`Handshake`](crate::Handshake).
///
/// ```
/// use sockeye::{Decision, Request};
///
/// fn filter(request: &Request<'_>) -> Decision {
///     let room = request.path().strip_prefix("/rooms/").unwrap_or("lobby");
///     match request.query_value("token").as_deref() {
///         Some("secret") => Decision::accept().with(room.to_owned()),
///         _ => Decision::refuse(401, "a token, please"),
///     }
/// }
/// ```
pub struct Request<'a> {
    pub(crate) id: ConnId,
    pub(crate) offer: &'a Offer<'a>,
    pub(crate) path: &'a TargetPath,
    pub(crate) peer: &'a Address,
    pub(crate) proxy: Option<&'a Address>,
    pub(crate) listener: Option<ListenerHandle>,
    pub(crate) tls: Option<&'a Session>,
}

impl<'a> Request<'a> {
    /// The id that the connection has, and will have in `open` and after it.
    #[must_use]
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The path: percent-decoded once, without dot segments, starting with `/`. It may have any
    /// character, encoded slashes and NUL included, and U+FFFD for bytes that are not UTF-8: do not
    /// use it as the name of a file.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.path.as_str()
    }

    /// The target as received: path and query, percent-encoded.
    #[must_use]
    pub fn target(&self) -> &'a str {
        self.offer.head.target
    }

    /// The query: what follows the `?` of the target, unchanged.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        target::query(self.target())
    }

    /// The first value of `name` in the query, decoded as browsers encode forms
    /// (`a=1&b=2`, where `+` is a space).
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        target::query_value(self.query()?, name)
    }

    /// The value of the first header field of this name, case-insensitively, unchanged.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.offer.head.fields.get(name)
    }

    /// The value of the first header field of this name as text; `None` if there is none, or if it is not UTF-8.
    ///
    /// ```
    /// use sockeye::Request;
    ///
    /// /// The token of `Authorization: Bearer <token>` (RFC 6750 section 2.1). The name of the scheme is case-insensitive.
    /// fn token<'a>(request: &Request<'a>) -> Option<&'a str> {
    ///     let (scheme, token) = request.header_str("Authorization")?.split_once(' ')?;
    ///     scheme.eq_ignore_ascii_case("Bearer").then_some(token.trim_start())
    /// }
    /// # let _ = token;
    /// ```
    #[must_use]
    pub fn header_str(&self, name: &str) -> Option<&'a str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all header fields of this name, case-insensitively, unchanged.
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.offer.head.fields.all(name)
    }

    /// Names and values of all header fields, in order, unchanged.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.offer.head.fields.iter()
    }

    /// The value of the first cookie of this name, as sent (RFC 6265 section 4.2.1); `None` too if
    /// it is not UTF-8. Names are case-sensitive.
    ///
    /// A browser sends cookies with handshakes of pages of other sites too, so a decision by a cookie
    /// needs [`Origins`](crate::service::Origins).
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        self.offer.head.fields.cookie(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The subprotocols that the client offers, in its order of preference.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> {
        self.offer.protocols()
    }

    /// The `Origin` header, when there is exactly one and it is readable text (RFC 6454 section 7).
    #[must_use]
    pub fn origin(&self) -> Option<&'a str> {
        match self.offer.origin() {
            Origin::One(origin) => Some(origin),
            Origin::Missing | Origin::Several => None,
        }
    }

    /// The address of the peer.
    #[must_use]
    pub fn peer(&self) -> &'a Address {
        self.peer
    }

    /// The listener that accepted the connection; `None` if it was accepted elsewhere
    /// ([`Control::serve`](crate::Control::serve)).
    #[must_use]
    pub fn listener(&self) -> Option<ListenerHandle> {
        self.listener
    }

    /// The address of the trusted proxy that the connection came through
    /// ([`Builder::proxy_protocol`](crate::Builder::proxy_protocol)), if there is one. Then
    /// [`peer`](Self::peer) is the client that the proxy named.
    #[must_use]
    pub fn proxy(&self) -> Option<&'a Address> {
        self.proxy
    }

    /// What the handshake of TLS agreed on; `None` without TLS.
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))))]
    #[must_use]
    pub fn tls(&self) -> Option<TlsAgreement<'a>> {
        self.tls.map(TlsAgreement::of)
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without fields and query: they may hold cookies and passwords, which must not get into logs.
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("path", &self.path())
            .field("peer", self.peer)
            .finish_non_exhaustive()
    }
}
