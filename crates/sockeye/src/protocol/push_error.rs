//! A message that was not pushed.

use std::error::Error;
use std::fmt;

/// Why [`ConnectionMut::push`](crate::protocol::ConnectionMut::push) did not take a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PushError {
    /// So much waits for the connection that the message would exceed [`Limits::output_hard`](crate::Limits::output_hard).
    Full,
    /// The connection is not an open WebSocket: its handshake is under way, or it is a raw connection.
    NotOpen,
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too much waits for the connection (Limits::output_hard)",
            Self::NotOpen => "the connection is not an open WebSocket",
        })
    }
}

impl Error for PushError {}
