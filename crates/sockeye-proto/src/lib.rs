//! The WebSocket protocol (RFC 6455) without I/O: bytes and time in, events and bytes out.
//!
//! This crate opens no socket, reads no clock and draws no random numbers; the caller supplies all
//! three. So it fits any event loop, thread or test, and it works without the standard library. It
//! never panics because of what a peer sends, and it stores only a bounded amount of it.
//!
//! # Example
//!
//! A server receives a message and sends it back. [`Connection`](conn::Connection) documents the
//! order of calls, and [`conn`] has an example of the closing handshake.
//!
//! ```
//! use std::sync::Arc;
//! use sockeye_proto::conn::{Connection, HEADROOM, Input};
//! use sockeye_proto::event::{Event, Payload};
//! use sockeye_proto::limits::ProtocolLimits;
//! use sockeye_proto::message::{Assembler, encode};
//! use sockeye_proto::time::Instant;
//! use sockeye_proto::wire::Role;
//!
//! let limits = Arc::new(ProtocolLimits::default());
//! let mut assembler = Assembler::new(limits.message_bytes);
//! let mut server = Connection::new(Role::Server, limits, Instant::from_nanos(0));
//! let mut output = Vec::new();
//!
//! // A read from the socket goes after HEADROOM free bytes. This one is a masked text frame.
//! let mut buffer = vec![0; HEADROOM];
//! buffer.extend_from_slice(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
//! let mut input = Input::new(&mut buffer, HEADROOM);
//! while let Some(event) = server.receive(&mut input)? {
//!     let Event::Fragment(fragment) = event else { continue };
//!     if let Some(Payload::Text(text)) = assembler.push(fragment)? {
//!         encode::text(&mut server, text, &mut output, None)?;
//!     }
//! }
//! server.receive_done(Instant::from_nanos(1));
//! assert_eq!(output, b"\x81\x05Hello");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Using this crate alone
//!
//! The caller supplies:
//!
//! * a transport: it reads into a buffer with [`HEADROOM`](conn::HEADROOM) free bytes in front of
//!   the data, and writes what was appended to its output;
//! * the time: an [`Instant`](time::Instant) of a monotonic clock for each call that takes one, and
//!   a call of [`handle_timeout`](conn::Connection::handle_timeout) at each deadline;
//! * random numbers, as a client: a new nonce for each handshake and a new masking key for each
//!   frame;
//! * a codec for DEFLATE, if messages are to be compressed: see [`deflate`].
//!
//! The steps of a server:
//!
//! 1. Collect bytes until [`HeadScanner`](http::HeadScanner) finds the end of the request head, and
//!    parse it as [`RequestHead`](http::RequestHead). Behind a proxy that sends the PROXY header,
//!    first decode that with [`proxy_protocol`].
//! 2. [`Offer::of`](handshake::server::Offer::of) checks the handshake. Check path,
//!    [`Origin`](handshake::origin::Origin) and host, then
//!    [`accept`](handshake::server::Offer::accept) the offer or
//!    [`refuse`](handshake::server::refuse) it.
//! 3. Create a [`Connection`](conn::Connection). Bytes after the head are its first input. Call it
//!    in the order that it documents, until it is [`State::Ended`](conn::State::Ended).
//!
//! A client writes an [`UpgradeRequest`](handshake::client::UpgradeRequest) first, and
//! [`check`](handshake::client::check)s the response in place of step 2.
//!
//! # Modules
//!
//! From top to bottom. A file uses only files of lower layers, and no two files use each other:
//!
//! 1. [`message`]: joins fragments into messages and encodes messages.
//! 2. [`conn`]: one end of an established connection.
//! 3. [`handshake`]: from HTTP to WebSocket, for servers and clients. [`deflate`]: what compression asks
//!    of a codec, and keeps between messages.
//! 4. [`event`]: what a connection reports. [`ext`]: the grammar of extensions, and the
//!    negotiation of compression.
//! 5. [`http`]: the part of HTTP/1.1 that a WebSocket endpoint needs. [`wire`]: frame headers,
//!    masking, UTF-8.
//! 6. [`close`]: how a connection ended. [`proxy_protocol`]: the header with which a proxy reports
//!    its client.
//! 7. [`error`]: what a peer did wrong.
//! 8. [`limits`], [`time`], and, inside the crate, close codes (`code`) and receive buffers
//!    (`buf`).
//!
//! # Features
//!
//! `std` selects the fastest UTF-8 validator of the processor at run time. Results are the same
//! without it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod close;
pub mod conn;
pub mod deflate;
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

/// The code in the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
