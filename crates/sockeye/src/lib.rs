//! A WebSocket engine for programs that own their event loop: one thread, one loop, and writing
//! only when the socket is writable.
//!
//! # A first server
//!
//! [`messages`] is the quick start: whole messages, a closure, and bounded outboxes.
//!
//! ```no_run
//! use sockeye::{CloseCode, Service, messages};
//!
//! # fn main() -> Result<(), sockeye::Error> {
//! let shout = messages::on("shout", |cx, message| {
//!     let text = message.as_text().ok_or(CloseCode::UNSUPPORTED)?;
//!     cx.push(text.to_uppercase()).map_err(|_| CloseCode::TRY_AGAIN)?;
//!     Ok(())
//! });
//! let mut service = Service::builder().protocol(shout).listen("127.0.0.1:7681").build()?;
//! service.run()
//! # }
//! ```
//!
//! A client chooses among the protocols of a service by `Sec-WebSocket-Protocol`. A client that
//! names none gets the first one, or the one given to [`Builder::fallback`], which also accepts
//! clients that name an unknown one. A protocol may also have a path of its own
//! ([`Builder::protocol_at`]). Plain HTTP requests go to [`http::Routes`].
//!
//! # A first client
//!
//! The same protocols and handlers, on a connection made with
//! [`connect`](protocol::ProtocolMut::connect):
//!
//! ```no_run
//! use sockeye::{Connect, Service, messages};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let print = messages::on("print", |_, message| {
//!     println!("{}", message.as_text().unwrap_or("something binary"));
//!     Ok(())
//! });
//! let mut service = Service::builder().protocol(print).build()?;
//! let feed = Connect::new("ws://example.com/feed")?.subprotocol("feed.v2")?;
//! service.control().protocol_named("print")?.connect(feed);
//! service.run()?;
//! # Ok(()) }
//! ```
//!
//! Each connect has exactly one outcome: [`open`](Protocol::open) or [`failed`](Protocol::failed).
//! [`client`] has its options: proxies, deadlines, redirects, a policy to reconnect.
//!
//! # The layer below
//!
//! [`Protocol`] has one object for all connections of a protocol, and a
//! [`Session`](Protocol::Session) for each of them. Its callbacks borrow views that live for one
//! call:
//!
//! * [`Cx`], the context: facts about the connection, and requests to write, close, pause reading
//!   or be called later. Requests are carried out between callbacks, so no callback runs inside
//!   another.
//! * [`Fragment`], a piece of a message as it arrived. [`messages`] collects them.
//! * [`Tx`], the permission to send. [`Protocol::writable`] gets one, and sending uses it up:
//!
//! ```
//! use sockeye::{Close, Cx, Fragment, Handshake, Protocol, Tx};
//!
//! /// Counts the bytes that each client sends, and reports the sum on an empty message.
//! struct Meter;
//!
//! impl Protocol for Meter {
//!     type Session = u64;
//!
//!     fn name(&self) -> &str {
//!         "meter"
//!     }
//!
//!     fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) -> u64 {
//!         0
//!     }
//!
//!     fn receive(&mut self, cx: &mut Cx<'_>, bytes: &mut u64, fragment: Fragment<'_>) -> Result<(), Close> {
//!         let piece = fragment.payload.as_bytes();
//!         *bytes += piece.len() as u64;
//!         if fragment.first && fragment.last && piece.is_empty() {
//!             cx.request_writable(); // sending is possible in `writable` only
//!         }
//!         Ok(())
//!     }
//!
//!     fn writable(&mut self, _: &mut Cx<'_>, bytes: &mut u64, tx: Tx<'_>) -> Result<(), Close> {
//!         if let Some(permission) = tx.idle() {
//!             permission.text(&bytes.to_string());
//!         }
//!         Ok(())
//!     }
//! }
//! # sockeye::Service::builder().protocol(Meter).build().unwrap();
//! ```
//!
//! # Commands
//!
//! [`Commands`] controls a running service. It is the same in the context of each callback, in
//! [`Control`] between turns, and in the jobs of a [`Remote`].
//!
//! * [`connection(id)`](Commands::connection) is one connection, to push to, write, pause, close, abort or
//!   time. A [`ConnId`] is `Copy` and may be kept: after the connection has ended the lookup returns
//!   [`Gone`].
//! * [`protocol(handle)`](Commands::protocol) is one WebSocket protocol, to publish and connect.
//!   The handle comes from [`Builder::add_protocol`], is `Copy`, and is valid in its service only;
//!   a name works too ([`protocol_named`](Commands::protocol_named)).
//! * [`endpoint(handle)`](Commands::endpoint) is one endpoint of [`raw`] connections, to adopt descriptors.
//!
//! ```
//! use sockeye::{Commands, ConnId, messages};
//!
//! fn welcome(commands: &mut Commands, id: ConnId) -> Result<(), Box<dyn std::error::Error>> {
//!     commands.connection(id)?.request_writable();
//!     commands.protocol_named("chat")?.publish_text("a new member");
//!     Ok(())
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // From a callback, ..
//! let chat = messages::on("chat", |cx, _| {
//!     let id = cx.id();
//!     welcome(cx, id).map_err(|_| sockeye::CloseCode::INTERNAL.into())
//! });
//! let mut service = sockeye::Service::builder().protocol(chat).build()?;
//! // .. between turns, ..
//! service.control().protocol_named("chat")?.publish_text("it begins");
//! // .. and from another thread.
//! service.remote().run(|control| {
//!     let _ = welcome(control, ConnId::default());
//! })?;
//! # Ok(()) }
//! ```
//!
//! [`Closed`] says how a connection ended. A normal end is one of its values and not an error.
//!
//! # The loop
//!
//! [`Service::run`] is all that most programs need. [`Service::run_once`] runs one turn with a
//! timeout that you choose; [`Service::next_deadline`] is when the service next has work without an
//! event. A [`Service`] stays on its thread; a [`Remote`] runs closures there from any other.
//! [`Threads`] runs several services on one address, a thread for each, and a
//! [`Group`](threads::Group) reaches them all.
//!
//! # Raw TCP and other descriptors
//!
//! The module [`raw`] is for everything that is not a WebSocket. A [`Raw`](raw::Raw) endpoint
//! serves the connections of a listener that speaks a TCP protocol of your own
//! ([`Builder::listen_raw`]), those that it [makes](raw::EndpointMut::connect), and descriptors that it
//! [adopts](raw::EndpointMut::adopt): pipes, terminals, datagram sockets, timers. A [`Watcher`](raw::Watcher) endpoint watches descriptors
//! that the program reads and writes itself, such as a library's socket. The rules are those of
//! [`Protocol`]. [`Control::serve`] serves a connection that was accepted elsewhere.
//!
//! # HTTP requests with a session
//!
//! [`http::Routes`] answer plain requests with closures and files. A [`Responder`](responder::Responder) has a session for
//! each request: the body comes in pieces, and the answer goes now, later, from another thread, or as a stream with the
//! same permissions. See [`responder`].
//!
//! # TLS
//!
//! The features `tls-aws-lc` and `tls-ring` add the module `tls`. A server loads its certificates into a `ServerTls`, one for each
//! name, and gives it to a listener (`Listen::tls`, `Threads::listen_tls`); `ServerTls::reload` reads renewed files while connections
//! are open. A client that connects to a `wss` URL needs a `ClientTls` (`Connect::tls`), which says whom to trust.
//! [`Request`] and [`Handshake`] tell what was agreed on, and who the peer is by its certificate.
//!
//! # Compression
//!
//! The feature `deflate` adds `Compression` (permessage-deflate, RFC 7692), for a service (`Builder::compression`) or a protocol
//! (`Protocol::compression`, `Messages::compression`), as a server and as a client. It is off unless asked for. What is published is
//! compressed once for all its receivers. Of a connection the loop keeps the last 2 KiB of what was sent and
//! received; a client keeps up to 32 KiB of what it receives.
//! A message goes as it is if compressing does not make it shorter, or with `Writable::uncompressed`; a connection, with
//! `Decision::uncompressed`.
//!
//! # Limits
//!
//! [`Limits`] holds every limit with its unit and default. None is unlimited. A peer that exceeds
//! one gets the answer of its protocol: a status, a close code, or a reset.
//!
//! # Tests without sockets
//!
//! The feature `sim` adds the module `sim`: a simulated network with a virtual clock, driven by one
//! seed. [`Builder::build_with`] builds the same service on a simulated host instead of the real
//! system.
//!
//! # Logging
//!
//! Events go to [`tracing`], or to `log` when no `tracing` subscriber is set: ERROR for faults of
//! the program, WARN for trouble with the system, DEBUG for each connection. Data from peers is in
//! the fields of an event, unchanged. At the end of each answer to a request there is one DEBUG
//! event with the target `sockeye::access`: peer, method, path, status, origin, protocol, bytes of
//! the body, milliseconds, and whether all of it was sent.
//!
//! The feature `log` adds the module `log`: lines on standard error, in a file, in syslog or in the journal that never block the
//! loop, escape what peers sent, and are limited for each peer.
//!
//! # Cargo features
//!
//! Each adds modules and changes nothing else.
//!
//! | feature | on by default | what it adds |
//! |---|---|---|
//! | `client` | yes | connections of our own: [`Connect`], [`client`] |
//! | `files` | yes | files as answers to HTTP requests: [`http::Files`] |
//! | `deflate` | no | compression of messages: `Compression` |
//! | `daemon` | no | background processes, pid files, other users, systemd: the module `daemon` |
//! | `log` | no | logs of a program: the module `log` |
//! | `sim` | no | the simulator: the module `sim` |
//! | `tls-aws-lc`, `tls-ring` | no | TLS, with the cryptography of aws-lc-rs or of ring: the module `tls` |
//!
//! # Layers
//!
//! Top to bottom; each names only those below it:
//!
//! * [`messages`]: whole messages, bounded outboxes, closures
//! * [`threads`]: several services on one address, each in a thread of its own
//! * [`service`]: the loop
//! * `conn`: one connection, its phases and its steps
//! * [`protocol`]: the traits [`Protocol`], [`Raw`](raw::Raw), [`Watcher`](raw::Watcher) and
//!   [`Responder`](responder::Responder), and the views that their callbacks borrow; the last three are
//!   public as [`raw`] and [`responder`]
//! * `state`: what callbacks may access while the loop holds a connection
//! * `transport`: one socket: reading, the cork, the backlog, and whether its bytes are sealed
//! * `admission`: who may connect
//! * [`http`]: routes, files, answers
//! * [`client`]: how to connect, proxies, reconnecting, and why a connection failed
//! * [`poll`]: the hook for the program's own event loop
//! * `tls` (features): certificates, roots, and why a handshake failed
//! * [`statistics`]: what is counted
//! * [`error`]: why a service could not be built or had to stop
//! * [`sys`]: every system call of the loop, real or simulated
//! * `daemon` (feature): running in the background, with or without a service manager; no other module
//!   names it
//! * `log` (feature): the log of a program; it collects events of `tracing` and names no other module
//! * [`proto`], the crate `sockeye-proto`: the protocol itself, without I/O
#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "client")]
pub mod client;
#[cfg(not(feature = "client"))]
#[path = "no_client.rs"]
mod client;
mod conn;
#[cfg(feature = "daemon")]
pub mod daemon;
pub mod error;
pub mod http;
#[cfg(feature = "log")]
pub mod log;
pub mod messages;
pub mod poll;
pub mod protocol;
pub mod raw;
pub mod responder;
pub mod service;
pub mod statistics;
pub mod sys;
pub mod threads;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
pub mod tls;
pub mod topics;

mod admission;
#[cfg(feature = "deflate")]
mod compression;
#[cfg(not(feature = "deflate"))]
#[path = "no_compression.rs"]
mod compression;
mod id;
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "some are limits of connects"))]
mod limits;
mod number_set;
mod state;
#[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
#[path = "no_tls.rs"]
mod tls;
mod topic;
mod transport;

#[cfg(any(test, feature = "sim"))]
#[cfg_attr(docsrs, doc(cfg(feature = "sim")))]
pub mod sim;

#[cfg(feature = "client")]
pub use self::client::{Connect, Failure};
#[cfg(feature = "deflate")]
pub use self::compression::Compression;
pub use self::error::Error;
pub use self::limits::Limits;
pub use self::protocol::{ClosedCx, Commands, ConnId, Cx, Decision, Gone, Handshake, Protocol, Request, Tx, Writable};
pub use self::service::{Builder, Control, Remote, Service};
pub use self::threads::Threads;

pub use sockeye_proto as proto;
pub use sockeye_proto::close::{Close, CloseCode, Closed};
pub use sockeye_proto::event::{AsPayload, Fragment, Payload};

/// The code of the README as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
