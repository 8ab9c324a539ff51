//! How raw and watched connections end.

use std::fmt;
use std::io;

/// How to end a raw or watched connection: the error type of its callbacks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RawClose {
    /// Gracefully: output already written is sent first. Output that the peer does not accept
    /// within [`close_timeout`](sockeye_proto::limits::ProtocolLimits::close_timeout) is dropped,
    /// and the connection is reset.
    Normal,
    /// Immediately: unsent output is dropped, and the peer of a TCP connection sees a reset.
    Reset,
}

impl fmt::Display for RawClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "a graceful end",
            Self::Reset => "a reset",
        })
    }
}

/// How a raw or watched connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RawClosed {
    /// The program ended it, or the service was drained. All output was sent.
    Local,
    /// The peer ended its sending side, and the program then ended the connection. All output was
    /// sent.
    Peer,
    /// It broke, or the other end closed both directions; with the system's error, if it reported
    /// one.
    Broken(Option<io::ErrorKind>),
    /// The program reset it.
    Reset,
    /// The output could not be sent within the close timeout, or a handshake of TLS took too long.
    Timeout,
    /// The service was dropped.
    Dropped,
}

impl fmt::Display for RawClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("ended by us"),
            Self::Peer => f.write_str("ended by the peer"),
            Self::Broken(None) => f.write_str("broken"),
            Self::Broken(Some(kind)) => write!(f, "broken: {kind}"),
            Self::Reset => f.write_str("reset by us"),
            Self::Timeout => f.write_str("the last output, or a handshake of TLS, was not over in time"),
            Self::Dropped => f.write_str("the service was dropped"),
        }
    }
}
