//! A completed handshake, as `open` sees it.

use std::any::Any;
use std::cell::Cell;
use std::fmt;

use sockeye_proto::ext::deflate::Agreed;
use sockeye_proto::http::ResponseHead;

use crate::client::Url;
use crate::protocol::Request;
use crate::tls::Session;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
use crate::tls::TlsAgreement;

/// The opening handshake of a connection, as passed to [`Protocol::open`](crate::Protocol::open).
///
/// For a connection that was accepted it has the client's [request](Self::request) and the value that
/// the filter [made of it](Self::take); for one that was made with
/// [`connect`](crate::protocol::ProtocolMut::connect), the [fields](Self::response_headers) of the
/// server's response.
///
/// ```
/// use sockeye::{Cx, Handshake};
///
/// struct User(String);
///
/// fn opened(cx: &mut Cx<'_>, handshake: &Handshake<'_>) {
///     // The filter accepted with `Decision::accept().with(User(..))`.
///     let user = handshake.take::<User>().map_or_else(|| "somebody".to_owned(), |User(name)| name);
///     let path = handshake.request().map_or("", |request| request.path());
///     println!("{user} at {} is in {path}", cx.peer());
/// }
/// ```
pub struct Handshake<'a> {
    subprotocol: Option<&'a str>,
    #[cfg_attr(not(any(feature = "client", feature = "deflate")), expect(dead_code, reason = "nothing is agreed on"))]
    compression: Option<Agreed>,
    side: Side<'a>,
    /// In a cell, since `open` borrows the handshake only.
    value: Cell<Option<Box<dyn Any>>>,
}

#[derive(Clone, Copy)]
enum Side<'a> {
    Accepted(&'a Request<'a>),
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "nothing connects"))]
    Made(
        &'a ResponseHead<'a>,
        &'a Url,
        #[cfg_attr(
            all(feature = "client", not(any(feature = "tls-aws-lc", feature = "tls-ring"))),
            expect(dead_code, reason = "there is no TLS")
        )]
        Option<&'a Session>,
    ),
}

impl<'a> Handshake<'a> {
    pub(crate) fn accepted(
        request: &'a Request<'a>,
        subprotocol: Option<&'a str>,
        compression: Option<Agreed>,
        value: Option<Box<dyn Any>>,
    ) -> Self {
        Self { subprotocol, compression, side: Side::Accepted(request), value: Cell::new(value) }
    }

    #[cfg(feature = "client")]
    pub(crate) fn made(
        response: &'a ResponseHead<'a>,
        url: &'a Url,
        subprotocol: Option<&'a str>,
        compression: Option<Agreed>,
        tls: Option<&'a Session>,
    ) -> Self {
        Self { subprotocol, compression, side: Side::Made(response, url, tls), value: Cell::new(None) }
    }

    /// The subprotocol that the server chose, one of those that the client offered (RFC 6455
    /// section 1.9); `None` if it chose none.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&'a str> {
        self.subprotocol
    }

    /// What both sides agreed on compression (permessage-deflate, RFC 7692), as this one sees it; `None`: messages are not
    /// compressed.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn compression(&self) -> Option<Agreed> {
        self.compression
    }

    #[cfg(feature = "client")]
    pub(crate) fn agreed(&self) -> Option<Agreed> {
        self.compression
    }

    /// The client's request; `None` if this side made the connection.
    #[must_use]
    pub fn request(&self) -> Option<&'a Request<'a>> {
        match self.side {
            Side::Accepted(request) => Some(request),
            Side::Made(..) => None,
        }
    }

    /// The URL of the server, after redirects; `None` if the connection was accepted.
    #[cfg(feature = "client")]
    #[must_use]
    pub fn url(&self) -> Option<&'a Url> {
        match self.side {
            Side::Accepted(_) => None,
            Side::Made(_, url, _) => Some(url),
        }
    }

    /// What the handshake of TLS agreed on; `None` without TLS.
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))))]
    #[must_use]
    pub fn tls(&self) -> Option<TlsAgreement<'a>> {
        match self.side {
            Side::Accepted(request) => request.tls(),
            Side::Made(_, _, session) => session.map(TlsAgreement::of),
        }
    }

    /// Takes the value that the filter handed over ([`Decision::with`](crate::Decision::with)).
    /// `None` if it handed over none, one of another type, which stays there, or if it was taken.
    #[must_use]
    pub fn take<T: 'static>(&self) -> Option<T> {
        match self.value.take()?.downcast() {
            Ok(value) => Some(*value),
            Err(other) => {
                self.value.set(Some(other));
                None
            }
        }
    }

    /// The value of the first field of this name in the server's response, case-insensitively.
    /// `None` if the connection was accepted.
    #[must_use]
    pub fn response_header(&self, name: &str) -> Option<&'a [u8]> {
        match self.side {
            Side::Accepted(_) => None,
            Side::Made(response, ..) => response.fields.get(name),
        }
    }

    /// The value of the first field of this name in the server's response as text. `None` if there is none, if it is not
    /// UTF-8, or if the connection was accepted.
    #[must_use]
    pub fn response_header_str(&self, name: &str) -> Option<&'a str> {
        self.response_header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Names and values of all fields of the server's response, in order. None if the connection
    /// was accepted.
    pub fn response_headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let response = match self.side {
            Side::Accepted(_) => None,
            Side::Made(response, ..) => Some(response),
        };
        response.into_iter().flat_map(|response| response.fields.iter())
    }
}

impl fmt::Debug for Handshake<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without fields: they may hold cookies.
        f.debug_struct("Handshake")
            .field("subprotocol", &self.subprotocol)
            .field("request", &self.request())
            .finish_non_exhaustive()
    }
}
