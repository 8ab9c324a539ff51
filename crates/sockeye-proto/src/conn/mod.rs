//! One end of a WebSocket connection after its handshake, without I/O: [`Connection`].
//!
//! # Example
//!
//! A client closes the connection and the server answers. Both learn how it ended.
//!
//! ```
//! use std::sync::Arc;
//! use sockeye_proto::close::{Cause, Close, CloseCode};
//! use sockeye_proto::conn::{Connection, HEADROOM, Input, State};
//! use sockeye_proto::error::Violation;
//! use sockeye_proto::limits::ProtocolLimits;
//! use sockeye_proto::time::Instant;
//! use sockeye_proto::wire::Role;
//!
//! /// Receives all of `wire`.
//! fn receive(connection: &mut Connection, wire: &[u8], now: Instant) -> Result<(), Violation> {
//!     let mut buffer = vec![0; HEADROOM];
//!     buffer.extend_from_slice(wire);
//!     let mut input = Input::new(&mut buffer, HEADROOM);
//!     while let Some(_event) = connection.receive(&mut input)? {}
//!     connection.receive_done(now);
//!     Ok(())
//! }
//!
//! let limits = Arc::new(ProtocolLimits::default());
//! let now = Instant::from_nanos(0);
//! let mut server = Connection::new(Role::Server, limits.clone(), now);
//! let mut client = Connection::new(Role::Client, limits, now);
//! // A real client takes every key from a cryptographic random source.
//! let mut key = || [0x37, 0xfa, 0x21, 0x3d];
//!
//! // The client sends its Close frame and waits for the server's.
//! client.close(Close::new(CloseCode::NORMAL), now);
//! let mut to_server = Vec::new();
//! client.transmit(&mut to_server, &mut key);
//! assert_eq!(client.state(), State::Closing);
//!
//! // The server answers with the same code. Once that is flushed, it ends the TCP connection.
//! receive(&mut server, &to_server, now)?;
//! let mut to_client = Vec::new();
//! server.transmit(&mut to_client, &mut key);
//! assert_eq!(server.state(), State::Draining);
//! server.handle_flushed();
//! assert_eq!(server.state(), State::Ended);
//!
//! // The client reads the answer and then the end of the stream.
//! receive(&mut client, &to_client, now)?;
//! client.handle_eof();
//! assert_eq!(client.state(), State::Ended);
//! assert_eq!(client.closed().cause, Cause::Handshake);
//! assert_eq!(client.closed().code_seen(), 1000);
//! # Ok::<_, Violation>(())
//! ```
//!
//! # Inside
//!
//! `connection` defines the type. Each of `receive`, `inflate`, `send`, `closing` and `keepalive` adds methods
//! to it and does not use the others; `deflate` frames by `send`. They work on the parts below `connection`: `receiver` (what
//! receiving keeps between reads), `control` (pings and pongs to be sent), `close_handshake` (the
//! Close frames of both sides) and `state`.

mod close_handshake;
mod closing;
mod connection;
mod control;
mod deflate;
mod inflate;
mod keepalive;
mod receive;
mod receiver;
mod send;
mod state;
#[cfg(test)]
mod tests;

pub use self::connection::Connection;
pub use self::control::{ControlPayload, PayloadTooLong};
pub use self::deflate::{Codec, Deflation};
pub use self::inflate::{Inflation, LEAST_OUTPUT};
pub use self::send::SendError;
pub use self::state::State;
pub use crate::buf::{HEADROOM, Input};
