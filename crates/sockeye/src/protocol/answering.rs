//! The answer of one HTTP request: where it is, how it is framed, and the permissions to go on with it.
//!
//! What to know before editing: the state decides which permission there is, and each act consumes it. What the types
//! cannot know, the number of bytes, is counted here: too many or too few are a [`ResponseFault`], with which the
//! exchange ends. Nothing is sent after one.

use std::error::Error;
use std::fmt;
use std::io::Write;

use crate::http::access::Access;
use crate::http::{Body, FileBody, Framing, Response};
use crate::transport::SocketWriter;

/// What may be sent of the answer now.
///
/// ```
/// use sockeye::http::Response;
/// use sockeye::responder::ResponseTx;
///
/// /// Streams pieces, the head first. Returns whether all were sent.
/// fn stream(tx: ResponseTx<'_>, pieces: &mut Vec<Vec<u8>>) -> bool {
///     let mut permission = match tx {
///         ResponseTx::Head(head) => head.stream(Response::text(""), None).more(),
///         tx => tx.body(),
///     };
///     while let Some(body) = permission {
///         let Some(piece) = pieces.pop() else {
///             body.end();
///             return true;
///         };
///         permission = body.write(&piece).more();
///     }
///     false // ask for the writable callback again
/// }
/// # let _ = stream;
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ResponseTx<'a> {
    /// Nothing was sent: the answer may begin.
    Head(HeadPermission<'a>),
    /// The head was sent: the body goes on.
    Body(BodyPermission<'a>),
}

impl<'a> ResponseTx<'a> {
    /// The port of an answer that is not finished.
    pub(crate) fn new(port: &'a mut ResponsePort<'a>) -> Self {
        if port.answering.is_pending() {
            Self::Head(HeadPermission { port })
        } else {
            Self::Body(BodyPermission { port })
        }
    }

    /// The permission to begin the answer, unless it has begun. A responder that never streams always has it.
    #[must_use]
    pub fn head(self) -> Option<HeadPermission<'a>> {
        match self {
            Self::Head(permission) => Some(permission),
            Self::Body(_) => None,
        }
    }

    /// The permission to go on with the body, once the head was sent.
    #[must_use]
    pub fn body(self) -> Option<BodyPermission<'a>> {
        match self {
            Self::Head(_) => None,
            Self::Body(permission) => Some(permission),
        }
    }
}

/// The permission to begin the answer: with a whole response, or with the head of a streamed one.
#[must_use = "the permission is lost when it is dropped unused: ask for the writable callback again"]
pub struct HeadPermission<'a> {
    port: &'a mut ResponsePort<'a>,
}

impl<'a> HeadPermission<'a> {
    /// Sends a whole response, from memory or from a file. Only [`closed`](crate::responder::Responder::closed) follows.
    pub fn respond(self, response: Response) {
        let ResponsePort { answering, out } = self.port;
        answering.respond(out, response);
    }

    /// Sends the head of a streamed response: status and fields of `head`, and its body, if it has one, as the first
    /// piece.
    ///
    /// With a `length` the body must have exactly that many bytes. Without, its end is marked: by a last chunk
    /// (RFC 9112 section 7.1), or for HTTP/1.0 by the end of the connection.
    ///
    /// The answers to HEAD, and those of status 204, 205 and 304, have no body: they are complete with their head. No
    /// permission for a body is given then, and only [`closed`](crate::responder::Responder::closed) follows.
    ///
    /// A `head` with a file ends the exchange with [`ResponseFault::FileInStream`].
    pub fn stream(self, head: Response, length: Option<u64>) -> AfterPiece<'a> {
        let ResponsePort { answering, out } = &mut *self.port;
        answering.stream(out, head, length);
        AfterPiece { port: self.port }
    }
}

/// The permission for the next piece of the body, or for its end.
#[must_use = "the answer stays unfinished; ask for the writable callback again"]
pub struct BodyPermission<'a> {
    port: &'a mut ResponsePort<'a>,
}

impl<'a> BodyPermission<'a> {
    /// Sends a piece of the body: what the socket does not take at once waits in the connection's queue. An empty
    /// piece sends nothing.
    ///
    /// More bytes than the length that was announced end the exchange with [`ResponseFault::TooLong`].
    pub fn write(self, piece: &[u8]) -> AfterPiece<'a> {
        let ResponsePort { answering, out } = &mut *self.port;
        answering.piece(out, piece);
        AfterPiece { port: self.port }
    }

    /// Ends the answer. Only [`closed`](crate::responder::Responder::closed) follows, once the system has taken all of
    /// it.
    ///
    /// Fewer bytes than the length that was announced end the exchange with [`ResponseFault::TooShort`].
    pub fn end(self) {
        let ResponsePort { answering, out } = self.port;
        answering.end(out);
    }
}

/// A part of the answer was handed over: to the socket, or to the connection's queue when the socket was full.
pub struct AfterPiece<'a> {
    port: &'a mut ResponsePort<'a>,
}

impl<'a> AfterPiece<'a> {
    /// The permission to go on, while less than [`Limits::output_low_water`](crate::Limits::output_low_water) waits for
    /// the socket and this connection's share of the turn is not used up. When it is `None` and there is more to send,
    /// ask for the writable callback again: there is no other call once the answer is complete.
    #[must_use]
    pub fn more(self) -> Option<BodyPermission<'a>> {
        let ResponsePort { answering, out } = &*self.port;
        let keeps_up = out.socket.backlog_bytes() < out.io.low_water && out.io.send_budget > 0;
        let goes_on = matches!(answering.state, State::Body(_));
        (goes_on && keeps_up).then_some(BodyPermission { port: self.port })
    }
}

/// The program broke the framing of its answer. The exchange ends, the fault is logged, and the connection is reset, so
/// that the peer does not take a part for the whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ResponseFault {
    /// More bytes than the length that was announced. The piece that has them is not sent.
    TooLong,
    /// The end came before the length that was announced.
    TooShort,
    /// A callback returned a response after the answer had begun.
    AnsweredTwice,
    /// The head of a streamed answer has a file.
    FileInStream,
    /// A file became shorter, or could not be read, while it was sent.
    File,
    /// A field cannot be written.
    Field,
}

impl fmt::Display for ResponseFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the body is longer than the length that was announced",
            Self::TooShort => "the body is shorter than the length that was announced",
            Self::AnsweredTwice => "a response was returned after the answer had begun",
            Self::FileInStream => "the head of a streamed answer has a file; use HeadPermission::respond",
            Self::File => "a file changed or failed while it was sent",
            Self::Field => "a header field cannot be written",
        })
    }
}

impl Error for ResponseFault {}

/// An answer and the output that it goes to, borrowed by a permission for one callback.
pub(crate) struct ResponsePort<'a> {
    pub(crate) answering: &'a mut Answering,
    pub(crate) out: SocketWriter<'a>,
}

/// The answer of one request.
#[derive(Debug)]
pub(crate) struct Answering {
    state: State,
    /// The request is a HEAD.
    is_head: bool,
    /// The request is of HTTP/1.0.
    is_old: bool,
    /// Whether another request may follow. Fixed once the head was sent.
    keep_alive: bool,
    /// The rest of a file to send.
    pub(crate) file: Option<FileBody>,
    /// The log entry.
    pub(crate) access: Access,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Pending,
    Body(Streamed),
    Finished,
    Faulty(ResponseFault),
}

/// A body that is being sent.
#[derive(Clone, Copy, Debug)]
struct Streamed {
    framing: Framing,
    /// The bytes that must follow, if their number was announced.
    left: Option<u64>,
}

impl Answering {
    pub(crate) fn new(is_head: bool, is_old: bool, access: Access) -> Self {
        Self { state: State::Pending, is_head, is_old, keep_alive: false, file: None, access }
    }

    /// Whether nothing of it was sent.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.state, State::Pending)
    }

    /// Whether all of it was handed over, except for the rest of a file.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    pub(crate) fn fault(&self) -> Option<ResponseFault> {
        match self.state {
            State::Faulty(fault) => Some(fault),
            State::Pending | State::Body(_) | State::Finished => None,
        }
    }

    /// Says whether another request may follow. Once the head was sent, it is too late.
    pub(crate) fn set_keep_alive(&mut self, keep_alive: bool) {
        if self.is_pending() {
            self.keep_alive = keep_alive;
        }
    }

    /// No other request may follow, though the head may have said so.
    pub(crate) fn stop_keep_alive(&mut self) {
        self.keep_alive = false;
    }

    /// Whether another request may follow.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.keep_alive
    }

    /// Sends a whole response.
    pub(crate) fn respond(&mut self, out: &mut SocketWriter<'_>, response: Response) {
        let response = response.finish(self.is_head);
        if !self.begin(out, &response, Framing::of(&response)) {
            return;
        }
        match response.into_body() {
            Body::Bytes(bytes) => {
                spend(out, bytes.len());
                self.access.sent(bytes.len());
                out.put_bytes(&bytes);
            }
            Body::File(file) => self.file = Some(file),
            Body::Empty => {}
        }
        self.state = State::Finished;
    }

    fn stream(&mut self, out: &mut SocketWriter<'_>, head: Response, length: Option<u64>) {
        let (framing, has_body) = match (head.status(), length) {
            // RFC 9112 section 6.1: "A server MUST NOT send a Transfer-Encoding header field in any response with a
            // status code of 1xx (Informational) or 204 (No Content)." For Content-Length see `Response`.
            (204 | 304, _) => (Framing::None, false),
            (205, _) => (Framing::Length(0), false),
            (_, Some(length)) => (Framing::Length(length), true),
            // RFC 9112 section 6.1: "A server MUST NOT send a response containing Transfer-Encoding unless the
            // corresponding request indicates HTTP/1.1 (or later minor revisions)."
            (_, None) if self.is_old => (Framing::UntilClose, true),
            (_, None) => (Framing::Chunked, true),
        };
        if matches!(head.body(), Body::File(_)) {
            self.state = State::Faulty(ResponseFault::FileInStream);
            return;
        }
        if !self.begin(out, &head, framing) {
            return;
        }
        spend(out, 0);
        if self.is_head || !has_body {
            // The peer takes it for complete and may send its next request, so a stream without an end must not hold it.
            self.state = State::Finished;
            return;
        }
        self.state = State::Body(Streamed { framing, left: length });
        if let Body::Bytes(bytes) = head.into_body() {
            self.piece(out, &bytes);
        }
    }

    /// Writes the head. Returns whether it could be written.
    fn begin(&mut self, out: &mut SocketWriter<'_>, response: &Response, framing: Framing) -> bool {
        self.keep_alive &= framing != Framing::UntilClose;
        let date = out.io.sys.wall_clock();
        if response.write_head(out.io.cork(), framing, date, self.keep_alive).is_err() {
            // Cannot happen: a Response takes safe fields only.
            self.state = State::Faulty(ResponseFault::Field);
            return false;
        }
        out.io.meters.statistics.responded(response.status());
        self.access.answered(response.status());
        true
    }

    fn piece(&mut self, out: &mut SocketWriter<'_>, piece: &[u8]) {
        let State::Body(body) = &mut self.state else { return };
        spend(out, piece.len());
        if let Some(left) = &mut body.left {
            let Some(rest) = left.checked_sub(piece.len() as u64) else {
                self.state = State::Faulty(ResponseFault::TooLong);
                return;
            };
            *left = rest;
        }
        // RFC 9112 section 7.1: `last-chunk = 1*("0")`: an empty chunk would end the body.
        if piece.is_empty() {
            return;
        }
        self.access.sent(piece.len());
        if body.framing != Framing::Chunked {
            return out.put_bytes(piece);
        }
        // RFC 9112 section 7.1: `chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF`. Writing to a Vec cannot fail.
        let _ = write!(out.io.cork(), "{:x}\r\n", piece.len());
        out.put_bytes(piece);
        out.put(b"\r\n");
    }

    fn end(&mut self, out: &mut SocketWriter<'_>) {
        let State::Body(body) = self.state else { return };
        if body.left.is_some_and(|left| left > 0) {
            self.state = State::Faulty(ResponseFault::TooShort);
            return;
        }
        if body.framing == Framing::Chunked {
            // RFC 9112 section 7.1: `last-chunk trailer-section CRLF`, without trailers.
            out.put(b"0\r\n\r\n");
        }
        self.state = State::Finished;
    }
}

/// Counts a write, which has a cost even if it is empty or dropped, so that a callback cannot write without end.
fn spend(out: &mut SocketWriter<'_>, bytes: usize) {
    let io = &mut *out.io;
    io.send_budget = io.send_budget.saturating_sub(bytes + io.frame_cost);
}
