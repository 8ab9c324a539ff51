//! How connections end that are no WebSockets.

use std::fmt;
use std::io;

/// How to end a connection that is no WebSocket: what its callbacks return as an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RawClose {
    /// In good order: what was written is sent, then the end. What it does not take within
    /// [`close_timeout`](sockeye_proto::limits::ProtocolLimits::close_timeout) is dropped, and the connection is reset.
    Normal,
    /// At once: what waits is dropped, and the peer of a TCP connection sees a reset.
    Reset,
}

/// How a connection ended that is no WebSocket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RawClosed {
    /// The program ended it, or the service was drained; what was written before has been sent.
    Local,
    /// The peer ended its sending side, and the program had nothing more to say; what was written before has been sent.
    Peer,
    /// It broke, or both sides were ended by the other end. Why, if the system said so.
    Broken(Option<io::ErrorKind>),
    /// The program reset it.
    Reset,
    /// What was written could not be sent in the time that an end may take.
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
            Self::Timeout => f.write_str("the last output was not taken in time"),
            Self::Dropped => f.write_str("the service was dropped"),
        }
    }
}
