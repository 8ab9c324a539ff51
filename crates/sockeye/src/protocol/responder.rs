//! HTTP requests with a session: bodies in pieces, answers now, later or streamed.

use std::fmt;
use std::io;
use std::time::Duration;

use sockeye_proto::http::body::BodyError;

use crate::http::{HttpRequest, Response};
use crate::protocol::{RequestClosedCx, RequestCx, ResponderMut, ResponseFault, ResponseTx};

/// The callbacks for the HTTP requests of some routes ([`Routes::responder`](crate::http::Routes::responder)).
///
/// The rules are those of [`Protocol`](crate::Protocol): one object for all requests, one [`Session`](Self::Session) for
/// each, callbacks that never nest, and sending only in [`writable`](Self::writable), with a permission that is used up.
/// The callbacks of one request come in this order: `request`, then any number of `body`, `body_ended` once, and at any
/// time `writable`, `timer` and `draining`; then `closed`, exactly once for each session, and nothing after it. A
/// connection carries one request at a time; pipelined ones wait.
///
/// There are three ways to answer. `request` decides by the head: what it returns as `Err` is the answer, the body is
/// not read, and there is no session. Another callback returns a whole [`Response`]. Or `writable`, which anything can
/// ask for by [`request_writable`](crate::responder::RequestMut::request_writable), begins the answer and may go on with
/// it as long as it likes. Once the answer is complete only `closed` follows, and the rest of the body is not delivered.
///
/// The library frames: Content-Length, chunks, `Connection`, 100 (Continue), and the answers without a body. A client
/// that waits for 100 gets it once `request` has accepted and reading is not paused. If the answer begins before the
/// whole body has arrived, the connection ends with it.
///
/// A peer that ends its sending side is gone, as browsers do it when a page is left: a request that is not answered
/// then ends with [`RequestEnd::PeerGone`], and what waits behind it with it.
///
/// A panic in a callback is not caught: it unwinds through the loop.
///
/// ```
/// use sockeye::Service;
/// use sockeye::http::{HttpRequest, Response, Routes};
/// use sockeye::responder::{RequestCx, Responder};
///
/// /// Answers with the number of bytes that were sent.
/// struct Count;
///
/// impl Responder for Count {
///     type Session = u64;
///
///     fn name(&self) -> &str {
///         "count"
///     }
///
///     fn request(&mut self, _: &mut RequestCx<'_>, _: &HttpRequest<'_>) -> Result<u64, Response> {
///         Ok(0)
///     }
///
///     fn body(&mut self, _: &mut RequestCx<'_>, count: &mut u64, piece: &[u8]) -> Option<Response> {
///         *count += piece.len() as u64;
///         None // not yet
///     }
///
///     fn body_ended(&mut self, _: &mut RequestCx<'_>, count: &mut u64) -> Option<Response> {
///         Some(Response::text(format!("{count}\n")))
///     }
/// }
///
/// # fn main() -> Result<(), sockeye::Error> {
/// let mut builder = Service::builder();
/// let count = builder.add_responder(Count);
/// let service = builder.routes(Routes::new().responder("/count", count)).build()?;
/// # let _ = service;
/// # Ok(()) }
/// ```
pub trait Responder: 'static {
    /// The state of one request.
    type Session: 'static;

    /// The name: a token, unique among all endpoints, WebSocket protocols included.
    fn name(&self) -> &str;

    /// The head of a request has arrived. Returns its session; [`HttpRequest::body`] is empty here.
    ///
    /// # Errors
    /// The answer, decided by the head alone (RFC 9110 section 10.1.1).
    fn request(&mut self, cx: &mut RequestCx<'_>, request: &HttpRequest<'_>) -> Result<Self::Session, Response>;

    /// A piece of the body arrived, never an empty one. The network decides where pieces are cut. Returns the answer, if
    /// it is known: then the rest of the body is not delivered. The default drops the piece.
    fn body(&mut self, cx: &mut RequestCx<'_>, session: &mut Self::Session, piece: &[u8]) -> Option<Response> {
        let _ = (cx, session, piece);
        None
    }

    /// The whole body has arrived; trailers behind it were checked and dropped. It is called for a request without a body,
    /// too. Returns the answer, if it is known.
    fn body_ended(&mut self, cx: &mut RequestCx<'_>, session: &mut Self::Session) -> Option<Response> {
        let _ = (cx, session);
        None
    }

    /// There is room for output, after one of the `request_writable` calls. The call uses up the request; several
    /// requests before it count as one. The default answers nothing.
    fn writable(&mut self, cx: &mut RequestCx<'_>, session: &mut Self::Session, tx: ResponseTx<'_>) {
        let _ = (cx, session, tx);
    }

    /// The timer set with [`RequestMut::set_timer`](crate::responder::RequestMut::set_timer) is due. Returns the answer,
    /// if it is known.
    fn timer(&mut self, cx: &mut RequestCx<'_>, session: &mut Self::Session) -> Option<Response> {
        let _ = (cx, session);
        None
    }

    /// The service is being drained. A request that is not answered within
    /// [`close_timeout`](sockeye_proto::limits::ProtocolLimits::close_timeout) ends with [`RequestEnd::Drained`]. A
    /// stream that goes on as long as the peer listens should end here. The default does nothing.
    fn draining(&mut self, cx: &mut RequestCx<'_>, session: &mut Self::Session) {
        let _ = (cx, session);
    }

    /// The request has ended. The session is passed by value: no callback follows.
    fn closed(&mut self, cx: &mut RequestClosedCx<'_>, session: Self::Session, end: RequestEnd) {
        let _ = (cx, session, end);
    }

    /// A timer set with [`ResponderMut::set_timer`] is due, with its token.
    fn own_timer(&mut self, own: &mut ResponderMut<'_>, token: u64) {
        let _ = (own, token);
    }

    /// How often [`tick`](Self::tick) is called; as [`Protocol::interval`](crate::Protocol::interval).
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// Called every [`interval`](Self::interval) while any request has a session. Missed ticks are not repeated.
    fn tick(&mut self, own: &mut ResponderMut<'_>) {
        let _ = own;
    }
}

/// How an HTTP request with a session ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RequestEnd {
    /// The system has taken the whole answer, to send it to the peer.
    Answered,
    /// The peer ended the connection, or its sending side, before the answer was complete.
    PeerGone,
    /// The connection broke before the system had taken the whole answer; with the system's error, if it reported one.
    Broken(Option<io::ErrorKind>),
    /// A limit on time or progress was hit.
    Timeout(RequestTimeout),
    /// The body was malformed or too large.
    BadBody(BodyError),
    /// The program broke the framing of its answer.
    Fault(ResponseFault),
    /// The program gave it up: [`RequestMut::abort`](crate::responder::RequestMut::abort).
    Aborted,
    /// The service was drained, and the request was not answered in time.
    Drained,
    /// The service was dropped.
    Dropped,
}

impl fmt::Display for RequestEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered => f.write_str("answered"),
            Self::PeerGone => f.write_str("ended by the peer"),
            Self::Broken(None) => f.write_str("broken"),
            Self::Broken(Some(kind)) => write!(f, "broken: {kind}"),
            Self::Timeout(timeout) => timeout.fmt(f),
            Self::BadBody(error) => error.fmt(f),
            Self::Fault(fault) => fault.fmt(f),
            Self::Aborted => f.write_str("given up by us"),
            Self::Drained => f.write_str("the service was drained"),
            Self::Dropped => f.write_str("the service was dropped"),
        }
    }
}

/// The limit on time or progress that an HTTP request hit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RequestTimeout {
    /// The body came too slowly: [`slow_sender_bytes`](crate::Limits::slow_sender_bytes).
    SlowSender,
    /// The answer was read too slowly: [`slow_reader_bytes`](crate::Limits::slow_reader_bytes).
    SlowReader,
    /// The answer did not begin in time: [`answer_timeout`](crate::Limits::answer_timeout).
    Answer,
}

impl fmt::Display for RequestTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SlowSender => "the body came too slowly",
            Self::SlowReader => "the answer was read too slowly",
            Self::Answer => "the answer did not begin in time",
        })
    }
}
