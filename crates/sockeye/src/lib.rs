//! A WebSocket engine for programs that own their event loop: one thread, one loop, written only when the socket is
//! writable.
//!
//! # A first server
//!
//! [`messages`] is the short way: whole messages, a closure, and outboxes that are bounded.
//!
//! ```no_run
//! use sockeye::{CloseCode, Service, messages};
//!
//! # fn main() -> Result<(), sockeye::Error> {
//! let shout = messages::on("shout", |cx, message| match message.as_text() {
//!     Some(text) => cx.push(text.to_uppercase()).map_err(|_| CloseCode::TRY_AGAIN.into()),
//!     None => Err(CloseCode::UNSUPPORTED.into()),
//! });
//! let mut service = Service::builder().protocol(shout).listen("127.0.0.1:7681").build()?;
//! service.run()
//! # }
//! ```
//!
//! What a client names in `Sec-WebSocket-Protocol` chooses among the protocols of a service. A
//! client that names none gets the first one, or the one given to [`Builder::fallback`], which also
//! takes clients that name something unknown. Plain HTTP requests go to [`http::Routes`].
//!
//! # A first client
//!
//! The same protocols and handlers, on a connection that [`connect`](protocol::ProtocolMut::connect) asked for:
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
//! Each connect ends with exactly one of [`open`](Protocol::open) and [`failed`](Protocol::failed).
//! [`client`] has what can be said about it: proxies, deadlines, redirects, a policy to reconnect.
//!
//! # The layer below
//!
//! [`Protocol`] has one object for all connections of a protocol, and a
//! [`Session`](Protocol::Session) for each of them. Its callbacks are lent views that live for one
//! call:
//!
//! * [`Cx`], the context: what is known of the connection, and what may be asked of it: to write,
//!   to close, to pause reading, to be called later. It is done between callbacks, so no callback
//!   runs inside another.
//! * [`Fragment`], a piece of a message as it arrived. [`messages`] is what collects them.
//! * [`Tx`], the permission to send, which only [`Protocol::writable`] is given and which sending uses up:
//!
//! ```
//! use sockeye::{Close, Cx, Fragment, Handshake, Protocol, Tx};
//!
//! /// Counts what each client sends, and tells it when asked with an empty message.
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
//!             cx.request_writable(); // nothing can be sent from here
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
//! # One spelling
//!
//! Whatever is asked of a service is asked of its [`Commands`], and whatever has them spells it the
//! same way: the context of each callback, [`Control`] between turns, and the jobs of a [`Remote`].
//!
//! * [`connection(id)`](Commands::connection) is one connection, to write, pause, close or time. A
//!   [`ConnId`] is `Copy` and may be kept: after the connection has ended the answer is [`Gone`].
//! * [`protocol(handle)`](Commands::protocol) is one WebSocket protocol, to publish and connect. The handle comes from
//!   [`Builder::add_protocol`], is `Copy`, and is good in its service only; a name will do, too
//!   ([`protocol_named`](Commands::protocol_named)).
//! * [`endpoint(handle)`](Commands::endpoint) is one endpoint of [`raw`] connections, to adopt descriptors.
//!
//! ```
//! use sockeye::{Commands, ConnId, messages};
//!
//! fn welcome(commands: &mut Commands, id: ConnId) -> Result<(), Box<dyn std::error::Error>> {
//!     commands.connection(id)?.request_writable();
//!     commands.protocol_named("chat")?.publish_text("somebody has come");
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
//! [`Service::run`] is all that most programs need. [`Service::run_once`] takes one turn with a
//! timeout of yours; [`Service::next_deadline`] says when the service has something to do by
//! itself. A [`Service`] stays on its thread; a [`Remote`] runs closures there from any other.
//! [`Threads`] runs several services on one address, a thread for each, and a
//! [`Group`](threads::Group) reaches them all.
//!
//! # Raw TCP and other descriptors
//!
//! The module [`raw`] has what is not a WebSocket. A [`Raw`](raw::Raw) endpoint has the connections
//! of a listener whose bytes are a TCP protocol of the program's own ([`Builder::listen_raw`]), and
//! descriptors that it [adopts](raw::EndpointMut::adopt): pipes, terminals, datagram sockets,
//! timers. What the program reads and writes itself, such as a library's own socket, has a
//! [`Watcher`](raw::Watcher) endpoint. The rules are those of [`Protocol`]. A connection that was
//! accepted elsewhere is served with [`Control::serve`].
//!
//! # Limits
//!
//! [`Limits`] holds every bound with its unit and default. None is unlimited. A peer that exceeds
//! one gets the answer of its protocol: a status, a close code, or a reset.
//!
//! # Tests without sockets
//!
//! The feature `sim` adds the module `sim`: a simulated network with a virtual clock that one seed
//! decides. [`Builder::build_with`] takes the system of a simulated host in place of the real one,
//! and the service cannot tell.
//!
//! # Logging
//!
//! Events go to [`tracing`], or to `log` when no `tracing` subscriber is set: ERROR for faults of
//! the program, WARN for trouble with the system, DEBUG for each connection. What peers sent is in
//! the fields of an event, as it came. Events of the target `sockeye::access`, at DEBUG, are one
//! for each answer to a request, at its end: peer, method, path, status, origin, protocol, bytes of
//! the body, milliseconds, and whether all of it was sent.
//!
//! # Layers
//!
//! Top to bottom; each names only those below it:
//!
//! * [`messages`]: whole messages, bounded outboxes, closures
//! * [`threads`]: several services on one address, each in a thread of its own
//! * [`service`]: the loop
//! * `conn`: one connection, its phases and its steps
//! * [`protocol`]: the traits [`Protocol`], [`Raw`](raw::Raw) and [`Watcher`](raw::Watcher), and the views that their
//!   callbacks are lent; the last two are public as [`raw`]
//! * `state`: what callbacks may touch while the loop holds a connection
//! * `transport`: one socket: reading, the cork, what waits, and whether its bytes are sealed
//! * `admission`: who may connect
//! * [`http`]: routes, files, answers
//! * [`client`]: descriptions of connections to be made, ways through proxies, why a connection failed
//! * [`poll`]: the hook of a loop of the program's own
//! * [`statistics`]: what is counted
//! * [`error`]: why a service could not be built or cannot go on
//! * [`sys`]: every system call of the loop, real or simulated
//! * [`daemon`]: going into the background or being kept there by a service manager; no other module names it
//! * [`proto`], which is the crate `sockeye-proto`: the protocol itself, without I/O
#![deny(unsafe_code)]

pub mod client;
mod conn;
pub mod daemon;
pub mod error;
pub mod http;
pub mod messages;
pub mod poll;
pub mod protocol;
pub mod raw;
pub mod service;
pub mod statistics;
pub mod sys;
pub mod threads;

mod admission;
mod id;
mod limits;
mod state;
mod transport;

#[cfg(any(test, feature = "sim"))]
pub mod sim;

pub use self::client::{Connect, Failure};
pub use self::error::Error;
pub use self::limits::Limits;
pub use self::protocol::{ClosedCx, Commands, ConnId, Cx, Decision, Gone, Handshake, Protocol, Request, Tx, Writable};
pub use self::service::{Builder, Control, Remote, Service};
pub use self::threads::Threads;

pub use sockeye_proto as proto;
pub use sockeye_proto::close::{Close, CloseCode, Closed};
pub use sockeye_proto::event::{Fragment, Payload};

/// The code of the README as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
