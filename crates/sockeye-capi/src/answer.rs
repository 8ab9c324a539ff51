//! What a program has written of the answer to a request, until the loop sends it.

use std::collections::VecDeque;

use sockeye::http::Response;
use sockeye::responder::ResponseTx;

use crate::frame::QUEUE_BYTES;
use crate::log;

/// An answer, as far as it is written.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    parts: VecDeque<Part>,
    /// Bytes of the body among them.
    queued: usize,
    is_begun: bool,
    is_ended: bool,
    /// Bytes of the body that are to come, if the program has said how many.
    left: Option<u64>,
    /// The connection ends with it.
    pub(crate) closes: bool,
    /// It is a file, whose end brings a callback.
    pub(crate) is_file: bool,
}

#[derive(Debug)]
enum Part {
    Whole(Response),
    Head(Response, Option<u64>),
    Bytes(Vec<u8>),
    End,
}

/// Why a part of an answer is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Misplaced {
    /// It is not the head of an answer.
    Malformed,
    /// The answer has a head already, or has none yet, or is complete.
    OutOfOrder,
    /// Too much waits for the peer already.
    Full,
}

impl Reply {
    pub(crate) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// Whether there is something to send.
    pub(crate) fn waits(&self) -> bool {
        !self.parts.is_empty()
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// An answer that is complete.
    pub(crate) fn whole(&mut self, response: Response) -> Result<(), Misplaced> {
        self.begin(Part::Whole(response))?;
        self.is_ended = true;
        Ok(())
    }

    /// The answer that is complete, if that is all there is.
    pub(crate) fn take_whole(&mut self) -> Option<Response> {
        match self.parts.pop_front() {
            Some(Part::Whole(response)) => Some(response),
            _ => None,
        }
    }

    /// A head of HTTP/1, and what the program has put behind it.
    pub(crate) fn head(&mut self, text: &[u8]) -> Result<(), Misplaced> {
        let end = text.windows(4).position(|window| window == b"\r\n\r\n");
        let (lines, body) = end.map_or((text, &b""[..]), |end| (&text[..end], &text[end + 4..]));
        let lines = std::str::from_utf8(lines).map_err(|_| Misplaced::Malformed)?;
        let mut lines = lines.split("\r\n").filter(|line| !line.is_empty());
        let status = lines.next().and_then(status_of).ok_or(Misplaced::Malformed)?;
        let mut response = Response::new(status);
        let mut length = None;
        for line in lines {
            let (name, value) = line.split_once(':').ok_or(Misplaced::Malformed)?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = Some(value.parse().map_err(|_| Misplaced::Malformed)?),
                "connection" => self.closes |= value.eq_ignore_ascii_case("close"),
                // What the loop writes itself.
                "transfer-encoding" | "date" => {}
                _ => response = with_field(response, name, value),
            }
        }
        self.begin(Part::Head(response, length))?;
        self.left = length;
        if length == Some(0) {
            return self.end();
        }
        if body.is_empty() { Ok(()) } else { self.body(body, false) }
    }

    /// A piece of the body. The last, if the program says so or has written all that it announced.
    pub(crate) fn body(&mut self, bytes: &[u8], is_last: bool) -> Result<(), Misplaced> {
        if !self.is_begun || self.is_ended {
            return Err(Misplaced::OutOfOrder);
        }
        if self.queued > 0 && self.queued.saturating_add(bytes.len()) > QUEUE_BYTES {
            return Err(Misplaced::Full);
        }
        if !bytes.is_empty() {
            self.queued += bytes.len();
            self.parts.push_back(Part::Bytes(bytes.to_vec()));
        }
        let written = bytes.len() as u64;
        match &mut self.left {
            Some(left) if *left > written => *left -= written,
            Some(_) => return self.end(),
            None if is_last => return self.end(),
            None => {}
        }
        Ok(())
    }

    /// Nothing more is to come.
    pub(crate) fn end(&mut self) -> Result<(), Misplaced> {
        if !self.is_begun || self.is_ended {
            return Err(Misplaced::OutOfOrder);
        }
        self.is_ended = true;
        self.parts.push_back(Part::End);
        Ok(())
    }

    fn begin(&mut self, part: Part) -> Result<(), Misplaced> {
        if self.is_begun {
            return Err(Misplaced::OutOfOrder);
        }
        self.is_begun = true;
        self.parts.push_back(part);
        Ok(())
    }

    /// Sends what waits as far as the permission goes.
    pub(crate) fn send(&mut self, tx: ResponseTx<'_>) {
        let mut tx = Some(tx);
        while let Some(permission) = tx.take() {
            let Some(part) = self.parts.pop_front() else { return };
            match (part, permission) {
                (Part::Whole(response), ResponseTx::Head(head)) => head.respond(response),
                (Part::Head(response, length), ResponseTx::Head(head)) => {
                    tx = head.stream(response, length).more().map(ResponseTx::Body);
                }
                (Part::Bytes(bytes), ResponseTx::Body(body)) => {
                    self.queued = self.queued.saturating_sub(bytes.len());
                    tx = body.write(&bytes).more().map(ResponseTx::Body);
                }
                (Part::End, ResponseTx::Body(body)) => body.end(),
                // `begin`, `body` and `end` see to the order.
                _ => log::err!("a part of an answer is out of order, and left out"),
            }
        }
    }
}

/// The status of a status line.
fn status_of(line: &str) -> Option<u16> {
    let (version, rest) = line.split_once(' ')?;
    version.starts_with("HTTP/1.").then(|| rest.get(..3)?.parse().ok())?
}

/// A field that is not valid is left out, and the log says so.
pub(crate) fn with_field(response: Response, name: &str, value: &str) -> Response {
    match response.clone().header(name.to_owned(), value.to_owned()) {
        Ok(response) => response,
        Err(error) => {
            log::err!("a field {name} for an answer is left out: {error}");
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Misplaced, Part, Reply};

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\n";

    #[test]
    fn a_body_ends_with_its_length() {
        let mut reply = Reply::default();
        assert_eq!(reply.body(b"x", false), Err(Misplaced::OutOfOrder));
        reply.head(HEAD).unwrap();
        assert_eq!(reply.head(HEAD), Err(Misplaced::OutOfOrder));
        reply.body(b"he", false).unwrap();
        assert!(!reply.is_ended());
        reply.body(b"llo", false).unwrap();
        assert!(reply.is_ended());
        assert_eq!(reply.body(b"x", false), Err(Misplaced::OutOfOrder));
        assert!(matches!(
            reply.parts.make_contiguous(),
            [Part::Head(_, Some(5)), Part::Bytes(_), Part::Bytes(_), Part::End]
        ));
    }

    #[test]
    fn a_head_may_bring_its_body() {
        let mut reply = Reply::default();
        reply.head(&[HEAD, b"hello"].concat()).unwrap();
        assert!(reply.is_ended());
        let mut reply = Reply::default();
        reply.head(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n").unwrap();
        assert!(reply.is_ended() && !reply.closes);
    }

    #[test]
    fn without_a_length_the_program_ends_it() {
        let mut reply = Reply::default();
        reply.head(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").unwrap();
        assert!(reply.closes);
        reply.body(b"x", false).unwrap();
        assert!(!reply.is_ended());
        reply.body(b"", true).unwrap();
        assert!(reply.is_ended());
    }

    #[test]
    fn what_is_no_head_is_refused_at_every_cut() {
        for end in 0..b"HTTP/1.1 200".len() {
            assert_eq!(Reply::default().head(&HEAD[..end]), Err(Misplaced::Malformed), "{end}");
        }
        for text in
            [&b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", b"\xff"]
        {
            assert_eq!(Reply::default().head(text), Err(Misplaced::Malformed));
        }
    }
}
