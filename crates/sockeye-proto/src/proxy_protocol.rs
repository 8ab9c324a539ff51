//! The PROXY protocol (HAProxy's proxy-protocol.txt): a header with which a proxy reports the
//! address of its client.
//!
//! Both versions are supported: the line of text (section 2.1) and the binary header (section 2.2).

// Before editing: each byte is read once and judged at once, so the result does not depend on how
// the bytes were cut. Only the current word or the addresses are stored. What may follow them is
// counted and dropped.

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

/// The client of a connection, as reported by its header.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Source {
    /// The header reports no client, so use the address of the connection itself. `LOCAL` and the
    /// family `UNSPEC` in version 2, `UNKNOWN` in version 1.
    Unspecified,
    /// A client at this address. An IPv4-mapped IPv6 address is reported as IPv4.
    Ip(SocketAddr),
    /// A client of a Unix socket, by the path of its socket. Empty: the socket is unnamed. A first
    /// byte of 0: its name is abstract.
    Unix(Vec<u8>),
}

/// Decodes the header at the front of a connection.
///
/// ```
/// use sockeye_proto::proxy_protocol::{HeaderDecoder, Source};
///
/// let mut decoder = HeaderDecoder::new(4096);
/// let mut input = &b"PROXY TCP4 192.0.2.7 203.0.113.1 562"[..];
/// assert_eq!(decoder.decode(&mut input), Ok(None));
/// let mut input = &b"44 443\r\nGET / HTTP/1.1\r\n"[..];
/// assert_eq!(decoder.decode(&mut input), Ok(Some(Source::Ip("192.0.2.7:56244".parse().unwrap()))));
/// assert_eq!(input, b"GET / HTTP/1.1\r\n");
/// ```
#[derive(Clone, Debug)]
pub struct HeaderDecoder {
    state: State,
    /// The current word of version 1, or the addresses of version 2: `kept[..len]`.
    kept: [u8; UNIX_BYTES],
    len: usize,
    /// Bytes of the header read so far; `taken <= V1_BYTES` in version 1, `taken <= most` in
    /// version 2.
    taken: usize,
    most: usize,
}

/// What the next byte is.
#[derive(Clone, Debug)]
enum State {
    /// The first byte.
    First,
    /// In `PROXY` and the space after it.
    V1Name,
    /// In the family of version 1.
    V1Family,
    /// In an address or port of version 1.
    V1(V1Field, V1Family),
    /// In what follows `UNKNOWN`, which is ignored.
    V1Ignored,
    /// After a CR in `V1Ignored`: its LF.
    V1IgnoredLf,
    /// The LF that ends version 1.
    V1Lf(Source),
    /// In the signature of version 2.
    Signature,
    /// Version and command.
    Command,
    /// Address family and transport.
    Family {
        is_local: bool,
    },
    /// The first byte of the length.
    LengthHigh(V2Family),
    /// The second byte of the length.
    LengthLow(V2Family, u8),
    /// In the addresses, after which this many bytes follow.
    Addresses(V2Family, usize),
    /// In what follows the addresses, with this many bytes to skip.
    Skipped(usize, Source),
    Over(Result<Source, HeaderError>),
}

#[derive(Clone, Copy, Debug)]
enum V1Field {
    Source,
    Destination(IpAddr),
    SourcePort(IpAddr),
    DestinationPort(SocketAddr),
}

#[derive(Clone, Copy, Debug)]
enum V1Family {
    V4,
    V6,
}

#[derive(Clone, Copy, Debug)]
enum V2Family {
    None,
    V4,
    V6,
    Unix,
}

impl HeaderDecoder {
    /// A decoder for a header of at most `most` bytes. A line of version 1 has at most 107 bytes,
    /// whatever `most` is. A header of version 2 has 16 bytes, then 12, 36 or 216 bytes of
    /// addresses, then whatever the sender adds.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { state: State::First, kept: [0; UNIX_BYTES], len: 0, taken: 0, most }
    }

    /// Whether no byte has been decoded.
    #[must_use]
    pub const fn is_untouched(&self) -> bool {
        self.taken == 0
    }

    /// Takes the bytes of the header from the front of `input`. While the header is incomplete, it
    /// takes all of them and returns `Ok(None)`. After the end of the header, it returns the same
    /// result again and takes nothing.
    ///
    /// # Errors
    /// The header breaks a rule. Abort the connection: its bytes cannot be interpreted.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Source>, HeaderError> {
        loop {
            if let State::Over(outcome) = &self.state {
                return outcome.clone().map(Some);
            }
            if let State::Skipped(left, source) = &mut self.state {
                let count = (*left).min(input.len());
                *input = &input[count..];
                *left -= count;
                if *left > 0 {
                    return Ok(None);
                }
                let source = core::mem::replace(source, Source::Unspecified);
                self.state = State::Over(Ok(source));
                continue;
            }
            let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
            *input = rest;
            self.taken += 1;
            self.state = match self.take(byte) {
                Ok(State::Over(outcome)) => State::Over(outcome),
                // Section 2.1: "a 108-byte buffer is always enough to store all the line and a
                // trailing zero".
                Ok(next) if next.is_v1() && self.taken >= V1_BYTES => State::Over(Err(HeaderError::LineTooLong)),
                Ok(next) => next,
                Err(error) => State::Over(Err(error)),
            };
        }
    }

    /// The state after `byte`.
    fn take(&mut self, byte: u8) -> Result<State, HeaderError> {
        match core::mem::replace(&mut self.state, State::First) {
            State::First => match byte {
                b'P' => Ok(State::V1Name),
                b'\r' => Ok(State::Signature),
                _ => Err(HeaderError::NoHeader),
            },
            State::V1Name if V1_NAME.get(self.taken - 1) != Some(&byte) => Err(HeaderError::NoHeader),
            State::V1Name if self.taken == V1_NAME.len() => Ok(State::V1Family),
            State::V1Name => Ok(State::V1Name),
            State::V1Family => self.v1_family(byte),
            State::V1(field, family) => self.v1_field(field, family, byte),
            State::V1IgnoredLf if byte == b'\n' => Ok(State::Over(Ok(Source::Unspecified))),
            // Section 2.1: "the receiver must ignore anything presented before the CRLF is found".
            State::V1Ignored | State::V1IgnoredLf if byte == b'\r' => Ok(State::V1IgnoredLf),
            State::V1Ignored | State::V1IgnoredLf => Ok(State::V1Ignored),
            State::V1Lf(source) if byte == b'\n' => Ok(State::Over(Ok(source))),
            State::V1Lf(_) => Err(HeaderError::LineEnd),
            State::Signature if V2_SIGNATURE.get(self.taken - 1) != Some(&byte) => Err(HeaderError::NoHeader),
            State::Signature if self.taken == V2_SIGNATURE.len() => Ok(State::Command),
            State::Signature => Ok(State::Signature),
            // Section 2.2: the version "must always be sent as \x2 and the receiver must only
            // accept this value"; of commands other than LOCAL and PROXY: "Receivers must drop
            // connections presenting unexpected values here".
            State::Command => match byte {
                0x20 => Ok(State::Family { is_local: true }),
                0x21 => Ok(State::Family { is_local: false }),
                _ if byte >> 4 == 2 => Err(HeaderError::Command),
                _ => Err(HeaderError::Version),
            },
            State::Family { is_local } => v2_family(is_local, byte).map(State::LengthHigh),
            State::LengthHigh(family) => Ok(State::LengthLow(family, byte)),
            State::LengthLow(family, high) => self.v2_length(family, usize::from(u16::from_be_bytes([high, byte]))),
            State::Addresses(family, after) => {
                self.keep(byte);
                if self.len < family.bytes() {
                    return Ok(State::Addresses(family, after));
                }
                Ok(State::Skipped(after, family.source(&self.kept)))
            }
            // `decode` handles these.
            over @ (State::Skipped(..) | State::Over(_)) => Ok(over),
        }
    }

    /// Handles a byte of `TCP4`, `TCP6` or `UNKNOWN`, or the byte that ends it.
    fn v1_family(&mut self, byte: u8) -> Result<State, HeaderError> {
        let word = &self.kept[..self.len];
        let next = match (word, byte) {
            (b"TCP4", b' ') => State::V1(V1Field::Source, V1Family::V4),
            (b"TCP6", b' ') => State::V1(V1Field::Source, V1Family::V6),
            (b"UNKNOWN", b' ') => State::V1Ignored,
            (b"UNKNOWN", b'\r') => State::V1Lf(Source::Unspecified),
            _ => {
                let goes_on = |family: &&[u8]| family.starts_with(word) && family.get(word.len()) == Some(&byte);
                if ![&b"TCP4"[..], b"TCP6", b"UNKNOWN"].iter().any(goes_on) {
                    return Err(HeaderError::Family);
                }
                self.keep(byte);
                return Ok(State::V1Family);
            }
        };
        self.len = 0;
        Ok(next)
    }

    /// Handles a byte of an address or port, or the byte that ends it.
    fn v1_field(&mut self, field: V1Field, family: V1Family, byte: u8) -> Result<State, HeaderError> {
        // Section 2.1: "exactly one space" between all of them, and "the CRLF sequence" at the end.
        let (end, error) = match field {
            V1Field::Source | V1Field::Destination(_) => (b' ', HeaderError::Address),
            V1Field::SourcePort(_) => (b' ', HeaderError::Port),
            V1Field::DestinationPort(_) => (b'\r', HeaderError::Port),
        };
        if byte != end {
            let fits = match (field, family) {
                (V1Field::Source | V1Field::Destination(_), V1Family::V4) => byte.is_ascii_digit() || byte == b'.',
                // An IPv4-mapped IPv6 address has dots.
                (V1Field::Source | V1Field::Destination(_), V1Family::V6) => {
                    byte.is_ascii_hexdigit() || byte == b':' || byte == b'.'
                }
                (V1Field::SourcePort(_) | V1Field::DestinationPort(_), _) => byte.is_ascii_digit(),
            };
            if !fits || self.len >= family.longest() {
                return Err(error);
            }
            self.keep(byte);
            return Ok(State::V1(field, family));
        }
        let word = core::str::from_utf8(&self.kept[..self.len]).map_err(|_| error)?;
        let next = match field {
            V1Field::Source => V1Field::Destination(family.parse(word)?),
            V1Field::Destination(source) => {
                family.parse(word)?;
                V1Field::SourcePort(source)
            }
            V1Field::SourcePort(source) => V1Field::DestinationPort(SocketAddr::new(source, port(word)?)),
            V1Field::DestinationPort(source) => {
                port(word)?;
                return Ok(State::V1Lf(Source::Ip(source)));
            }
        };
        self.len = 0;
        Ok(State::V1(next, family))
    }

    /// Handles the length of a version 2 header, before any byte that it counts.
    fn v2_length(&self, family: V2Family, length: usize) -> Result<State, HeaderError> {
        let after = length.checked_sub(family.bytes()).ok_or(HeaderError::Length)?;
        if self.taken + length > self.most {
            return Err(HeaderError::TooLong);
        }
        Ok(match family {
            V2Family::None => State::Skipped(after, Source::Unspecified),
            _ => State::Addresses(family, after),
        })
    }

    fn keep(&mut self, byte: u8) {
        // `longest` or `bytes` of the family bounds `len`, and neither exceeds the array.
        if let Some(place) = self.kept.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }
}

impl State {
    const fn is_v1(&self) -> bool {
        matches!(
            self,
            Self::V1Name | Self::V1Family | Self::V1(..) | Self::V1Ignored | Self::V1IgnoredLf | Self::V1Lf(_)
        )
    }
}

impl V1Family {
    /// The length of the longest address. No port is longer.
    const fn longest(self) -> usize {
        match self {
            Self::V4 => "255.255.255.255".len(),
            Self::V6 => "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".len(),
        }
    }

    fn parse(self, word: &str) -> Result<IpAddr, HeaderError> {
        // Both refuse leading zeros and anything else that is not an address.
        let address = match self {
            Self::V4 => Ipv4Addr::from_str(word).map(IpAddr::V4),
            Self::V6 => Ipv6Addr::from_str(word).map(IpAddr::V6),
        };
        address.map(|address| address.to_canonical()).map_err(|_| HeaderError::Address)
    }
}

impl V2Family {
    const fn bytes(self) -> usize {
        match self {
            Self::None => 0,
            Self::V4 => 12,
            Self::V6 => 36,
            Self::Unix => UNIX_BYTES,
        }
    }

    /// Decodes source and destination addresses and, for IP, their ports; in network byte order.
    fn source(self, kept: &[u8; UNIX_BYTES]) -> Source {
        let port = |at: usize| u16::from_be_bytes([kept[at], kept[at + 1]]);
        match self {
            Self::None => Source::Unspecified,
            Self::V4 => {
                let [a, b, c, d, ..] = *kept;
                Source::Ip(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port(8)))
            }
            Self::V6 => {
                let mut octets = [0; 16];
                octets.copy_from_slice(&kept[..16]);
                Source::Ip(SocketAddr::new(IpAddr::V6(octets.into()).to_canonical(), port(32)))
            }
            Self::Unix => {
                // A path ends before the first 0. An abstract name begins with a 0 and ends with
                // the last byte that is not 0.
                let name = &kept[..UNIX_BYTES / 2];
                let end = match name.iter().position(|&byte| byte == 0) {
                    Some(0) => name.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1),
                    Some(end) => end,
                    None => name.len(),
                };
                Source::Unix(name[..end].to_vec())
            }
        }
    }
}

/// Decodes family and transport of version 2.
fn v2_family(is_local: bool, byte: u8) -> Result<V2Family, HeaderError> {
    match byte {
        // Section 2.2 on LOCAL: "the receiver must accept this connection as valid and must use the
        // real connection endpoints and discard the protocol block including the family which is
        // ignored".
        _ if is_local => Ok(V2Family::None),
        0x00 => Ok(V2Family::None),
        0x11 => Ok(V2Family::V4),
        0x21 => Ok(V2Family::V6),
        0x31 => Ok(V2Family::Unix),
        // A datagram socket has no connection. Other values "must be rejected as invalid by
        // receivers".
        _ => Err(HeaderError::Family),
    }
}

/// Parses a port without a sign or leading zeros.
fn port(word: &str) -> Result<u16, HeaderError> {
    if word.len() > 1 && word.starts_with('0') {
        return Err(HeaderError::Port);
    }
    word.parse().map_err(|_| HeaderError::Port)
}

/// A rule of the PROXY protocol that a header breaks. Section 2: the receiver must then "abort the
/// connection".
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum HeaderError {
    /// The bytes do not begin like a header of either version.
    NoHeader,
    /// A binary header of another version than 2.
    Version,
    /// A command other than `LOCAL` and `PROXY`.
    Command,
    /// A family or transport other than TCP over IPv4 or IPv6, Unix streams, and "unknown".
    Family,
    /// An address that is malformed, of the wrong family, or not followed by one space.
    Address,
    /// A port that is not a number up to 65535 without leading zeros, or is not followed by one
    /// space or the end of the line.
    Port,
    /// A CR without LF.
    LineEnd,
    /// A line of more than 107 bytes.
    LineTooLong,
    /// A length too short for the addresses.
    Length,
    /// More bytes than the receiver accepts.
    TooLong,
}

impl HeaderError {
    const fn rule(self) -> &'static str {
        match self {
            Self::NoHeader => "no PROXY header of version 1 or 2",
            Self::Version => "the version of the PROXY header is not 2",
            Self::Command => "the command of the PROXY header is neither LOCAL nor PROXY",
            Self::Family => "the PROXY header names a family other than TCP and Unix streams",
            Self::Address => "an address in the PROXY header is malformed",
            Self::Port => "a port in the PROXY header is malformed",
            Self::LineEnd => "the PROXY header does not end in CR LF",
            Self::LineTooLong => "the PROXY header has more than 107 bytes",
            Self::Length => "the length of the PROXY header is too short for its addresses",
            Self::TooLong => "the PROXY header is longer than allowed",
        }
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule())
    }
}

impl core::error::Error for HeaderError {}

const V1_NAME: &[u8] = b"PROXY ";
/// The longest line of version 1, including its end.
const V1_BYTES: usize = 107;
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Two addresses of Unix sockets, the longest of all.
const UNIX_BYTES: usize = 216;

#[cfg(test)]
mod tests;
