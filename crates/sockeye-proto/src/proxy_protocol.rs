//! The header of the PROXY protocol (HAProxy's proxy-protocol.txt), with which a proxy says for whom it connects.
//!
//! Both versions are read: the line of text (section 2.1) and the binary header (section 2.2).
//!
//! Before editing: each byte is looked at once and decided at once, so the outcome does not depend on how the bytes
//! were cut, and a header is never guessed at. Nothing is kept but the word being read or the addresses; what may
//! follow them is counted and dropped.

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

/// For whom a connection was made, as its header says.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Source {
    /// For the sender itself, or it does not say: the connection's own addresses are the ones to go by. `LOCAL` and the family
    /// `UNSPEC` of version 2, `UNKNOWN` of version 1.
    Unspecified,
    /// For a client at this address. An IPv4 address written as IPv6 is given as IPv4.
    Ip(SocketAddr),
    /// For a client of a Unix socket, by its path: empty if it has none, and with a first byte 0 if its name is abstract.
    Unix(Vec<u8>),
}

/// Reads one header from the front of a connection.
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
    /// The word that is being read, or the addresses of version 2: `kept[..len]`.
    kept: [u8; UNIX_BYTES],
    len: usize,
    /// Bytes of the header so far; `taken <= V1_BYTES` in version 1, `taken <= most` in version 2.
    taken: usize,
    most: usize,
}

/// What the next byte is.
#[derive(Clone, Debug)]
enum State {
    /// The first of all.
    First,
    /// Of `PROXY` and the space behind it.
    V1Name,
    /// Of the family.
    V1Family,
    /// Of an address or port of version 1.
    V1(V1Field, V1Family),
    /// Of what follows `UNKNOWN`, which says nothing.
    V1Ignored,
    /// The LF of the CR in `V1Ignored`.
    V1IgnoredLf,
    /// The LF at the end.
    V1Lf(Source),
    /// Of the signature of version 2.
    Signature,
    /// Version and command.
    Command,
    /// Address family and transport.
    Family {
        is_local: bool,
    },
    /// The first byte of the length of what follows it.
    LengthHigh(V2Family),
    LengthLow(V2Family, u8),
    /// Of the addresses, behind which `after` bytes follow.
    Addresses(V2Family, usize),
    /// Of what is passed over.
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
    /// Awaits a header of at most `most` bytes in all. A line of version 1 has at most 107 whatever `most` says; a header of
    /// version 2 has 16 bytes, 12, 36 or 216 of addresses, and whatever a sender likes to add behind these.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { state: State::First, kept: [0; UNIX_BYTES], len: 0, taken: 0, most }
    }

    /// Whether nothing came yet.
    #[must_use]
    pub const fn is_untouched(&self) -> bool {
        self.taken == 0
    }

    /// Takes bytes of the header from the front of `input`, all of them while it is incomplete (`Ok(None)`); what is left in
    /// `input` is behind it. After its end the outcome stays and nothing more is taken.
    ///
    /// # Errors
    /// The rule that a byte broke. That byte may be left in `input`; nothing of such a connection means anything.
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
                // Section 2.1: "a 108-byte buffer is always enough to store all the line and a trailing zero".
                Ok(next) if next.is_v1() && self.taken >= V1_BYTES => State::Over(Err(HeaderError::LineTooLong)),
                Ok(next) => next,
                Err(error) => State::Over(Err(error)),
            };
        }
    }

    /// The state after one more byte.
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
            // Section 2.2: the version "must always be sent as \x2 and the receiver must only accept this value"; of
            // commands other than LOCAL and PROXY: "Receivers must drop connections presenting unexpected values here".
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
            // `decode` has seen to these.
            over @ (State::Skipped(..) | State::Over(_)) => Ok(over),
        }
    }

    /// A byte of `TCP4`, `TCP6` or `UNKNOWN`, or what ends it.
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

    /// A byte of an address or port, or the one that ends it.
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
                // Senders write an IPv4 address as IPv6 with its dots.
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

    /// The length of a version 2 header is known, and nothing of what it counts was looked at.
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
        // `len` is bounded by `longest` or `bytes` of the family, neither of which is more than there is room for.
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
    /// The longest address, and so no port is longer either.
    const fn longest(self) -> usize {
        match self {
            Self::V4 => "255.255.255.255".len(),
            Self::V6 => "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".len(),
        }
    }

    fn parse(self, word: &str) -> Result<IpAddr, HeaderError> {
        // Both refuse leading zeros and anything that is not a whole address.
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

    /// Source, destination, and with IP the port of each; in network byte order.
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
                // A path ends with the first 0; an abstract name begins with one, and ends with the last byte that is none.
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

/// Family and transport of version 2.
fn v2_family(is_local: bool, byte: u8) -> Result<V2Family, HeaderError> {
    match byte {
        // Section 2.2 on LOCAL: "the receiver must accept this connection as valid and must use the real connection endpoints
        // and discard the protocol block including the family which is ignored".
        _ if is_local => Ok(V2Family::None),
        0x00 => Ok(V2Family::None),
        0x11 => Ok(V2Family::V4),
        0x21 => Ok(V2Family::V6),
        0x31 => Ok(V2Family::Unix),
        // A datagram is no connection. Other values "must be rejected as invalid by receivers".
        _ => Err(HeaderError::Family),
    }
}

/// A port without a sign and without leading zeros.
fn port(word: &str) -> Result<u16, HeaderError> {
    if word.len() > 1 && word.starts_with('0') {
        return Err(HeaderError::Port);
    }
    word.parse().map_err(|_| HeaderError::Port)
}

/// A rule of the PROXY protocol that a header breaks. Section 2: the receiver must then "abort the connection".
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum HeaderError {
    /// It begins like neither version.
    NoHeader,
    /// A binary header of another version than 2.
    Version,
    /// A command other than `LOCAL` and `PROXY`.
    Command,
    /// A family or transport that is none of TCP over IPv4 and IPv6 and Unix streams, and does not say "unknown" either.
    Family,
    /// An address that is none, of the wrong family, or not followed by one space.
    Address,
    /// A port that is no number up to 65535 without leading zeros, or not followed by one space or the end of the line.
    Port,
    /// A CR without LF.
    LineEnd,
    /// A line of more than 107 bytes.
    LineTooLong,
    /// A length that has no room for the addresses.
    Length,
    /// More bytes than the receiver takes.
    TooLong,
}

impl HeaderError {
    const fn rule(self) -> &'static str {
        match self {
            Self::NoHeader => "no PROXY header, neither of version 1 nor 2",
            Self::Version => "the version of the PROXY header is not 2",
            Self::Command => "the command of the PROXY header is neither LOCAL nor PROXY",
            Self::Family => "the PROXY header is for something other than TCP or a Unix stream",
            Self::Address => "an address in the PROXY header is malformed",
            Self::Port => "a port in the PROXY header is malformed",
            Self::LineEnd => "the PROXY header does not end in CR LF",
            Self::LineTooLong => "the PROXY header has more than 107 bytes",
            Self::Length => "the length of the PROXY header has no room for its addresses",
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
/// The longest line, its end included.
const V1_BYTES: usize = 107;
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Two addresses of Unix sockets, the longest there are.
const UNIX_BYTES: usize = 216;

#[cfg(test)]
mod tests;
