//! The WebSocket protocol (RFC 6455) without I/O: bytes and ticks in, events and bytes out.
//!
//! This crate opens no socket, reads no clock and draws no random number; whoever uses it hands these in. So it fits any loop,
//! thread or test, and needs no standard library. It never panics on what a peer sends, and holds a bounded amount of it.
//!
//! From the outside in:
//!
//! * [`handshake`]: from HTTP to WebSocket, for servers and clients; [`ext`]: what the handshake negotiates.
//! * [`http`]: as much of HTTP/1.1 as this takes, strictly.
//! * [`proxy_protocol`]: the header with which a proxy in front says who connects.
//! * [`conn`]: [`Connection`](conn::Connection), one end of an established connection. [`event`] is what it reports,
//!   [`message`] makes whole messages of that, [`close`] tells how it ended, [`error`] what the peer did wrong.
//! * [`wire`]: frame headers, masking, UTF-8.
//! * [`limits`] and [`time`]: what bounds all of it.
//!
//! # Example
//!
//! Two connections, a message, and the closing handshake. [`Connection`](conn::Connection) documents the order of calls.
//!
//! ```
//! use std::sync::Arc;
//! use sockeye_proto::close::{Cause, Close, CloseCode};
//! use sockeye_proto::conn::{Connection, HEADROOM, Input, State};
//! use sockeye_proto::event::Event;
//! use sockeye_proto::limits::ProtocolLimits;
//! use sockeye_proto::message::{Assembler, encode};
//! use sockeye_proto::time::Instant;
//! use sockeye_proto::wire::Role;
//!
//! let limits = Arc::new(ProtocolLimits::default());
//! let mut now = Instant::from_nanos(0);
//! let mut server = Connection::new(Role::Server, limits.clone(), now);
//! let mut client = Connection::new(Role::Client, limits.clone(), now);
//! // For the example only: a client takes each key from a strong source of randomness.
//! fn key() -> [u8; 4] {
//!     [0x37, 0xfa, 0x21, 0x3d]
//! }
//!
//! // The client's loop: put a message into the output. A real loop writes `wire` to its socket.
//! let mut wire = Vec::new();
//! encode::text(&mut client, "Hello", &mut wire, Some(key()))?;
//!
//! // The server's loop: read into a buffer, leaving HEADROOM free bytes at its front, and receive until there is no more.
//! let mut buffer = vec![0; HEADROOM + 64 * 1024];
//! let mut assembler = Assembler::new(limits.message_bytes);
//! let mut messages = Vec::new();
//! buffer[HEADROOM..][..wire.len()].copy_from_slice(&wire);
//! let mut input = Input::new(&mut buffer[..HEADROOM + wire.len()], HEADROOM);
//! while let Some(event) = server.receive(&mut input)? {
//!     if let Event::Fragment(fragment) = event {
//!         if let Some(message) = assembler.push(fragment)? {
//!             messages.push(message.as_bytes().to_vec());
//!         }
//!     }
//! }
//! server.receive_done(now);
//! assert_eq!(messages, [b"Hello"]);
//!
//! // Deadlines: sleep until the next one, unless bytes come first; then ask again. Silence makes the server ping.
//! now = server.next_deadline().expect("keepalive is on");
//! server.handle_timeout(now);
//! wire.clear();
//! assert!(server.transmit(&mut wire, &mut key));
//! assert_eq!(wire, [0x89, 0]);
//!
//! // The client reads the ping and answers it, then closes.
//! let mut exchange = |from: &mut Vec<u8>, to: &mut Connection| {
//!     buffer[HEADROOM..][..from.len()].copy_from_slice(from);
//!     let mut input = Input::new(&mut buffer[..HEADROOM + from.len()], HEADROOM);
//!     from.clear();
//!     while let Some(_event) = to.receive(&mut input)? {
//!         to.transmit(from, &mut key);
//!     }
//!     to.receive_done(now);
//!     Ok::<_, sockeye_proto::error::Violation>(())
//! };
//! exchange(&mut wire, &mut client)?;
//! client.close(Close::new(CloseCode::NORMAL), now);
//! client.transmit(&mut wire, &mut key);
//! exchange(&mut wire, &mut server)?;
//! assert_eq!(server.state(), State::Draining);
//! exchange(&mut wire, &mut client)?;
//!
//! // The server has written its answer and ends TCP; the client reads the end of it.
//! server.handle_flushed();
//! assert_eq!(server.state(), State::Ended);
//! client.handle_eof();
//! assert_eq!(client.state(), State::Ended);
//! assert_eq!(client.closed().cause, Cause::Handshake);
//! assert_eq!(client.closed().code_seen(), 1000);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod close;
pub mod conn;
pub mod error;
pub mod event;
pub mod ext;
pub mod handshake;
pub mod http;
pub mod limits;
pub mod message;
pub mod proxy_protocol;
pub mod time;
pub mod wire;

mod buf;
mod code;
