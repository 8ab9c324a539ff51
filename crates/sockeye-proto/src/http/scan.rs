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
    /// What a start line begins with; empty for requests, whose methods are many.
    opening: &'static [u8],
    /// Whether a line was folded, as in responses only.
    has_folds: bool,
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
    /// A scanner for the head of a response: folded lines are allowed, as [`unfold`](Self::unfold)
    /// says, and an answer that does not begin with `HTTP/` is an error at its first bytes, whether
    /// more bytes follow or not.
    #[must_use]
    pub const fn for_response(limits: &ProtocolLimits) -> Self {
        let mut scanner = Self::new(limits);
        scanner.opening = HTTP;
        scanner
    }

    /// A scanner for the head of a request.
    #[must_use]
    pub const fn new(limits: &ProtocolLimits) -> Self {
        Self {
            at: 0,
            start: 0,
            lines: 0,
            state: State::First,
            opening: b"",
            has_folds: false,
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

    /// Replaces the ends of folded lines by spaces, in the complete head of a response that this
    /// scanner found. Then the head can be parsed.
    ///
    /// RFC 9112 section 5.2: "A user agent that receives an obs-fold in a response message that is
    /// not within a "message/http" container MUST replace each received obs-fold with one or more
    /// SP octets prior to interpreting the field value."
    ///
    /// ```
    /// use sockeye_proto::http::{HeadScanner, ResponseHead};
    /// use sockeye_proto::limits::ProtocolLimits;
    ///
    /// let limits = ProtocolLimits::default();
    /// let mut head = *b"HTTP/1.1 200 OK\r\nA: one,\r\n two\r\n\r\n";
    /// let mut scanner = HeadScanner::for_response(&limits);
    /// assert_eq!(scanner.scan(&head), Ok(Some(head.len())));
    /// scanner.unfold(&mut head);
    /// assert_eq!(ResponseHead::parse(&head, &limits)?.fields.get("a"), Some(&b"one,   two"[..]));
    /// # Ok::<(), sockeye_proto::http::HeadError>(())
    /// ```
    pub fn unfold(&self, head: &mut [u8]) {
        if !self.has_folds {
            return;
        }
        for at in 2..head.len() {
            if is_ows(head[at]) && head[at - 2..at] == *b"\r\n" {
                head[at - 2..at].fill(b' ');
            }
        }
    }

    /// Whether a line was folded.
    pub(super) const fn has_folds(&self) -> bool {
        self.has_folds
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
            if self.at - self.start < self.opening.len() {
                return;
            }
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
                    if self.opening.is_empty() || self.lines == 0 {
                        return Err(HeadError::Folded);
                    }
                    self.has_folds = true;
                    return Ok(State::Line);
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

    fn start_line(&mut self, byte: u8) -> Result<State, HeadError> {
        let len = self.at - self.start;
        self.check_opening(len, byte)?;
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

impl HeadScanner {
    /// Tells other protocols by their first bytes.
    fn check_opening(&mut self, len: usize, byte: u8) -> Result<(), HeadError> {
        // RFC 8446 section 5.1: the type of a record is alert(21) or handshake(22).
        if len == 0 && matches!(byte, 21 | 22) {
            return Err(HeadError::Tls);
        }
        if len == 0 && byte == SSH[0] && !self.opening.is_empty() {
            self.opening = SSH;
        }
        match self.opening.get(len) {
            Some(expected) if *expected != byte => Err(HeadError::NotHttp),
            Some(_) if self.opening == SSH && len + 1 == SSH.len() => Err(HeadError::Ssh),
            _ => Ok(()),
        }
    }
}

/// RFC 9112 section 2.3: `HTTP-name = %x48.54.54.50 ; HTTP`.
const HTTP: &[u8] = b"HTTP/";
/// RFC 4253 section 4.2: "both sides MUST send an identification string", which begins with this.
const SSH: &[u8] = b"SSH-";

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
