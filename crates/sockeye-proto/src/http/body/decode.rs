//! Extracts the bytes of a body from the bytes of a connection.
//!
//! Before editing: a state machine reads everything between the chunks byte by byte, so the input
//! can be cut anywhere. Data is returned as a view. An error consumes nothing, so the same call
//! returns the same error.

use super::error::BodyError;
use super::length::Length;
use crate::http::syntax::{is_field_text, is_ows, is_tchar};

/// A resumable decoder for one body.
///
/// ```
/// use sockeye_proto::http::body::{Decoder, Length};
///
/// let mut decoder = Decoder::new(Length::Chunked, 1024);
/// let mut input = &b"5\r\nhello\r\n0\r\n\r\nGET /next"[..];
/// assert_eq!(decoder.decode(&mut input), Ok(Some(&b"hello"[..])));
/// assert_eq!(decoder.decode(&mut input), Ok(None));
/// assert!(decoder.is_done());
/// assert_eq!(input, b"GET /next");
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    /// Bytes of the body, or of the current chunk, that are still to come; `left <= allowance`.
    /// While a chunk size is read: the size so far.
    left: u64,
    /// Bytes that the body may still have before it is too large.
    allowance: u64,
    /// Bytes of chunk extensions and trailers that are still allowed, over the whole body.
    overhead: u16,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// A body of `left` bytes.
    Exact,
    /// A body up to the end of the connection.
    UntilClose,
    /// In a chunk size, after this many digits.
    Size {
        digits: u8,
    },
    /// White space between a chunk size and its extension.
    SizeSpace,
    /// In a chunk extension.
    Extension,
    /// The LF after a chunk size.
    SizeLf,
    /// In the data of a chunk: `left` bytes.
    Data,
    /// The CR after the data.
    DataCr,
    /// The LF after the data.
    DataLf,
    /// The first byte of a trailer line, or the CR of the last line.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    /// The very last LF.
    LastLf,
    Done,
}

impl Decoder {
    /// A decoder for a body of `length`, which refuses more than `limit` bytes. If the declared
    /// length is greater, the first [`decode`](Self::decode) fails, even on empty input.
    #[must_use]
    pub const fn new(length: Length, limit: u64) -> Self {
        let (state, left) = match length {
            Length::None | Length::Exact(0) => (State::Done, 0),
            Length::Exact(left) => (State::Exact, left),
            Length::Chunked => (State::Size { digits: 0 }, 0),
            Length::UntilClose => (State::UntilClose, 0),
        };
        Self { state, left, allowance: limit, overhead: OVERHEAD_BYTES }
    }

    /// The next bytes of the body. `input` then begins after them. `None`: the body [is
    /// done](Self::is_done), or `input` is used up.
    ///
    /// # Errors
    /// The body breaks a rule or is too large. The same call then fails again.
    pub fn decode<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<&'b [u8]>, BodyError> {
        if self.left > self.allowance {
            return Err(BodyError::TooLarge);
        }
        loop {
            match self.state {
                State::Done => return Ok(None),
                State::Exact | State::Data | State::UntilClose => return self.data(input),
                _ => {
                    let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
                    self.state = self.framing(byte)?;
                    *input = rest;
                }
            }
        }
    }

    /// Whether the whole body has been read. Never true for a body that ends with the connection.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// How many bytes of data follow before any framing: the rest of the body, or of the current chunk. 0 between
    /// chunks, and for a body that ends with the connection.
    #[must_use]
    pub const fn data_left(&self) -> u64 {
        match self.state {
            State::Exact | State::Data => self.left,
            _ => 0,
        }
    }

    fn data<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<&'b [u8]>, BodyError> {
        if input.is_empty() {
            return Ok(None);
        }
        let available = input.len() as u64;
        let wanted = if self.state == State::UntilClose { available } else { self.left.min(available) };
        if wanted > self.allowance {
            return Err(BodyError::TooLarge);
        }
        // `wanted <= available`, which came from a `usize`.
        let (data, rest) = input.split_at(wanted as usize);
        *input = rest;
        self.allowance -= wanted;
        self.left = self.left.saturating_sub(wanted);
        if self.left == 0 {
            self.state = match self.state {
                State::Exact => State::Done,
                State::Data => State::DataCr,
                other => other,
            };
        }
        Ok(Some(data))
    }

    /// The state after `byte`, which is not data.
    fn framing(&mut self, byte: u8) -> Result<State, BodyError> {
        match self.state {
            State::Size { digits } => self.size(byte, digits),
            // RFC 9112 section 7.1.1: `chunk-ext = *( BWS ";" BWS chunk-ext-name [ ... ] )`, and
            // RFC 9110 section 5.6.3: "A recipient MUST parse for such bad whitespace and remove
            // it".
            State::SizeSpace if is_ows(byte) => self.spend(State::SizeSpace),
            State::SizeSpace if byte == b';' => self.spend(State::Extension),
            State::SizeSpace => Err(BodyError::ChunkSize),
            // RFC 9112 section 7.1.1: "A recipient MUST ignore unrecognized chunk extensions. A
            // server ought to limit the total length of chunk extensions received in a request to
            // an amount reasonable for the services provided".
            State::Extension if byte == b'\r' => Ok(State::SizeLf),
            State::Extension if is_field_text(byte) => self.spend(State::Extension),
            State::Extension if byte == b'\n' => Err(BodyError::LineEnd),
            State::Extension => Err(BodyError::Extension),
            State::SizeLf => {
                let next = if self.left == 0 { State::TrailerStart } else { State::Data };
                expect(byte, b'\n', next)
            }
            State::DataCr => expect(byte, b'\r', State::DataLf),
            State::DataLf => expect(byte, b'\n', State::Size { digits: 0 }),
            // RFC 9112 section 7.1.2: a recipient "MAY selectively retain or discard the received
            // trailer fields". They are discarded, but must be well formed.
            State::TrailerStart if byte == b'\r' => Ok(State::LastLf),
            State::TrailerStart | State::TrailerName if is_tchar(byte) => self.spend(State::TrailerName),
            State::TrailerName if byte == b':' => self.spend(State::TrailerValue),
            State::TrailerStart | State::TrailerName if byte == b'\n' => Err(BodyError::LineEnd),
            State::TrailerStart | State::TrailerName => Err(BodyError::Trailer),
            State::TrailerValue if byte == b'\r' => Ok(State::TrailerLf),
            State::TrailerValue if is_field_text(byte) => self.spend(State::TrailerValue),
            State::TrailerValue if byte == b'\n' => Err(BodyError::LineEnd),
            State::TrailerValue => Err(BodyError::Trailer),
            State::TrailerLf => expect(byte, b'\n', State::TrailerStart),
            State::LastLf => expect(byte, b'\n', State::Done),
            State::Exact | State::UntilClose | State::Data | State::Done => Ok(self.state),
        }
    }

    /// RFC 9112 section 7.1: `chunk-size = 1*HEXDIG`; "recipients MUST anticipate potentially large
    /// hexadecimal numerals and prevent parsing errors due to integer conversion overflows".
    fn size(&mut self, byte: u8, digits: u8) -> Result<State, BodyError> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            if digits == SIZE_DIGITS {
                return Err(BodyError::ChunkSize);
            }
            let size = self.left.checked_mul(16).and_then(|size| size.checked_add(u64::from(digit)));
            let size = size.filter(|&size| size <= self.allowance).ok_or(BodyError::TooLarge)?;
            self.left = size;
            return Ok(State::Size { digits: digits + 1 });
        }
        match byte {
            _ if digits == 0 => Err(BodyError::ChunkSize),
            b'\r' => Ok(State::SizeLf),
            b';' => self.spend(State::Extension),
            _ if is_ows(byte) => self.spend(State::SizeSpace),
            b'\n' => Err(BodyError::LineEnd),
            _ => Err(BodyError::ChunkSize),
        }
    }

    /// Counts one byte of overhead.
    fn spend(&mut self, next: State) -> Result<State, BodyError> {
        self.overhead = self.overhead.checked_sub(1).ok_or(BodyError::Overhead)?;
        Ok(next)
    }
}

/// RFC 9112 section 2.2 applies here too: no bare LF, no bare CR.
const fn expect(byte: u8, wanted: u8, next: State) -> Result<State, BodyError> {
    if byte == wanted { Ok(next) } else { Err(BodyError::LineEnd) }
}

/// For a whole body: enough for signatures in trailers, too little for a flood. All of it is
/// discarded.
const OVERHEAD_BYTES: u16 = 4096;

/// 2^64 - 1 has 16 hexadecimal digits. Leading zeros count; otherwise a size could be arbitrarily
/// long.
const SIZE_DIGITS: u8 = 16;
