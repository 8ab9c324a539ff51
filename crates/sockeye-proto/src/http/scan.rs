//! Finds the end of a head in bytes that arrive in pieces.
//!
//! Before editing: `at` only grows, and no byte before it is read again. A scanner that starts over
//! with each segment takes time quadratic in the length of the head (RUSTSEC-2023-0065). Every rule
//! is checked at the first byte that shows the violation, so the result does not depend on how the
//! bytes were cut.

use super::error::HeadError;
use super::syntax::{is_field_text, is_ows};
use crate::limits::ProtocolLimits;

/// Finds the end of a request or response head.
///
/// Pass all bytes received so far to [`scan`](Self::scan), each time the same ones and more. It
/// resumes where it stopped.
///
/// ```
/// use sockeye_proto::http::HeadScanner;
/// use sockeye_proto::limits::ProtocolLimits;
///
/// let mut scanner = HeadScanner::new(&ProtocolLimits::default());
/// assert_eq!(scanner.scan(b"GET / HTTP/1.1\r\nHost: a\r"), Ok(None));
/// assert_eq!(scanner.scan(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest"), Ok(Some(27)));
/// ```
#[derive(Clone, Debug)]
pub struct HeadScanner {
    /// How many bytes were read; `at <= head_bytes`.
    at: usize,
    /// Where the start line begins: 0, or 2 after the one empty line that is tolerated;
    /// `start <= at`.
    start: usize,
    /// How many field lines have begun; `lines <= head_lines`.
    lines: usize,
    state: State,
    head_bytes: usize,
    head_lines: usize,
    start_line_bytes: usize,
    /// How many reads of single bytes were made.
    #[cfg(test)]
    reads: usize,
}

/// What the byte at `at` is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// The first byte. A CR begins the empty line that is tolerated.
    First,
    /// The LF of that empty line.
    FirstLf,
    /// The first byte of the start line, after that empty line.
    Second,
    /// In the start line.
    StartLine,
    /// The LF that ends the start line or a field line.
    LineLf,
    /// The first byte of a field line, or the CR of the last, empty line.
    LineStart,
    /// In a field line.
    Line,
    /// The last LF.
    LastLf,
    /// The head is complete.
    Complete,
}

impl HeadScanner {
    /// A scanner for one head.
    #[must_use]
    pub const fn new(limits: &ProtocolLimits) -> Self {
        Self {
            at: 0,
            start: 0,
            lines: 0,
            state: State::First,
            head_bytes: limits.head_bytes,
            head_lines: limits.head_lines,
            start_line_bytes: limits.request_line_bytes,
            #[cfg(test)]
            reads: 0,
        }
    }

    /// The length `n` of the head, once `buf` holds all of it: the head is `buf[..n]`. `None`: more
    /// bytes are needed.
    ///
    /// # Errors
    /// The first rule that the head breaks. Another call returns the same error.
    pub fn scan(&mut self, buf: &[u8]) -> Result<Option<usize>, HeadError> {
        while self.state != State::Complete {
            if self.at >= self.head_bytes {
                return Err(HeadError::HeadTooLong);
            }
            let Some(&byte) = buf.get(self.at) else { return Ok(None) };
            #[cfg(test)]
            {
                self.reads += 1;
            }
            self.state = self.next(byte)?;
            self.at += 1;
            if matches!(self.state, State::StartLine | State::Line) {
                self.skip_text(buf);
            }
        }
        Ok(Some(self.at))
    }

    /// How many field lines have begun.
    pub(super) const fn lines(&self) -> usize {
        self.lines
    }

    /// Where the start line begins.
    pub(super) const fn start(&self) -> usize {
        self.start
    }

    /// Skips the common bytes, which cannot change the state, in a tight loop.
    fn skip_text(&mut self, buf: &[u8]) {
        let mut end = buf.len().min(self.head_bytes);
        if self.state == State::StartLine {
            end = end.min(self.start.saturating_add(self.start_line_bytes));
        }
        let Some(rest) = buf.get(self.at..end) else { return };
        let passed = rest.iter().position(|&byte| !is_field_text(byte)).unwrap_or(rest.len());
        self.at += passed;
        #[cfg(test)]
        {
            self.reads += rest.len().min(passed + 1);
        }
    }

    fn next(&mut self, byte: u8) -> Result<State, HeadError> {
        match self.state {
            // RFC 9112 section 2.2: "a server that is expecting to receive and parse a request-line
            // SHOULD ignore at least one empty line (CRLF) received prior to the request-line."
            // Only one is ignored: a stream of empty lines is not a request.
            State::First if byte == b'\r' => Ok(State::FirstLf),
            State::FirstLf => {
                line_feed(byte)?;
                self.start = self.at + 1;
                Ok(State::Second)
            }
            State::First | State::Second | State::StartLine => self.start_line(byte),
            State::LineLf => {
                line_feed(byte)?;
                Ok(State::LineStart)
            }
            State::LineStart if byte == b'\r' => Ok(State::LastLf),
            State::LineStart => {
                // RFC 9112 section 5.2: "A server that receives an obs-fold in a request message
                // [...] MUST either reject the message by sending a 400 (Bad Request) [...] or
                // replace". Section 2.2: "A recipient that receives whitespace between the
                // start-line and the first header field MUST either reject the message as invalid
                // or consume each [...] line".
                if is_ows(byte) {
                    return Err(HeadError::Folded);
                }
                text(byte)?;
                if self.lines >= self.head_lines {
                    return Err(HeadError::TooManyLines);
                }
                self.lines += 1;
                Ok(State::Line)
            }
            State::Line if byte == b'\r' => Ok(State::LineLf),
            State::Line => {
                text(byte)?;
                Ok(State::Line)
            }
            State::LastLf => {
                line_feed(byte)?;
                Ok(State::Complete)
            }
            State::Complete => Ok(State::Complete),
        }
    }

    fn start_line(&self, byte: u8) -> Result<State, HeadError> {
        let len = self.at - self.start;
        if byte == b'\r' {
            // A second empty line before the start line.
            return if len == 0 { Err(HeadError::StartLine) } else { Ok(State::LineLf) };
        }
        text(byte)?;
        if len >= self.start_line_bytes {
            return Err(HeadError::StartLineTooLong);
        }
        Ok(State::StartLine)
    }
}

/// RFC 9112 section 2.2: "a recipient MAY recognize a single LF as a line terminator" (it is not
/// recognised here, because other recipients differ), and "a sender MUST NOT generate a bare CR
/// [...] A recipient of such a bare CR MUST consider that element to be invalid or replace each
/// bare CR with SP".
const fn line_feed(byte: u8) -> Result<(), HeadError> {
    if byte == b'\n' { Ok(()) } else { Err(HeadError::LineEnd) }
}

/// RFC 9110 section 5.5: "Field values containing CR, LF, or NUL characters are invalid and
/// dangerous". Other control characters "are also invalid"; a recipient may keep them "within a
/// safe context", which a head is not.
const fn text(byte: u8) -> Result<(), HeadError> {
    if is_field_text(byte) {
        Ok(())
    } else if byte == b'\n' {
        Err(HeadError::LineEnd)
    } else {
        Err(HeadError::Control)
    }
}

#[cfg(test)]
mod tests;
