//! Every system call of the loop: one set of traits, a real back end and a simulated one.
//!
//! A back end implements the traits below, which together are [`Sys`], and keeps the following promises; `sys/tests.rs` checks
//! both back ends against them. The loop relies on nothing else.
//!
//! * [`Clock`], [`Random`]: time and random bytes
//! * [`Poller`]: waiting, registration, waking
//! * [`Sockets`]: listening, accepting, connecting, sending and receiving
//! * [`Names`]: looking up hosts
//! * [`ForeignDescriptors`]: descriptors that the program opened; a back end may have none
//!
//! **Handles.** Numbers are reused as soon as they are closed, lowest first, like descriptors. Every handle is non-blocking
//! and not inherited across `exec`. Calls on a handle that is not open fail (real) or panic (simulated): it is a bug of the
//! loop.
//!
//! **Edges.** A handle is registered once, for both directions. The registration itself reports the present readiness as a
//! first edge. Later an edge is reported *once*:
//! * *readable* when bytes or connections arrive after the handle was drained;
//! * *readable* with *read closed* when the end of input arrives, drained or not;
//! * *writable* when room appears after the output was full;
//! * *error* when the connection is over.
//!
//! Drained means: `recv` or `accept` returned `WouldBlock`, or `recv` filled less than the buffer. Full means: `send` returned
//! `WouldBlock` or took less than it was given. A caller that stops sooner must remember that it did: no edge reminds it.
//! There is one exception: after *read closed* was reported, a short read does not mean drained. The end of input is already
//! there, and only reading until `Ok(0)` or an error finds it.
//!
//! A report shows at least the directions that changed; it may show others that happen to be ready. It may be spurious: the
//! call after it returns `WouldBlock`. Reports of one [`wait`](Poller::wait) may name tokens whose handle was closed since, or
//! has another token by now.
//!
//! **Adopted descriptors.** A stream socket of TCP or Unix behaves as if it had been accepted. All others are read and written with
//! [`read`](ForeignDescriptors::read) and [`write`](ForeignDescriptors::write). A short count of these means nothing: drained and full
//! mean `WouldBlock`. *Error* of a datagram socket is an error of one datagram, and passes when it is read.
//!
//! **Connecting.** A handle of [`connect`](Sockets::connect) is connected when [`connected`](Sockets::connected) says so, and not before:
//! reports may be spurious. Until then `recv` and `send` return `WouldBlock` or `NotConnected` and move nothing. When it
//! is connected, *writable* is reported; when it failed, *error* is, and perhaps other directions with it. The reason is returned
//! once, by `connected`, `recv` or `send`, whichever is called first: so a program calls only `connected` until
//! it returns true. After a failure the handle can only be closed. It can be closed at any time, while reports of it are still on their
//! way; then the other side sees no connection, or one that ends at once.
//!
//! **Names.** An answer of [`resolve`](Names::resolve) is announced with [`WAKE`] and taken with [`resolved`](Names::resolved).
//! Each question has one answer or, if the system never finds one, none. Answers come in any order; dropping the system
//! drops the answers that are left.
//!
//! **Endings.** `recv` returns `Ok(0)` from then on once the peer has ended its side and all its bytes were read. A reset is an error
//! of `recv` or `send`, whichever comes first; after it `recv` returns `Ok(0)` and `send` fails with `BrokenPipe`. A reset
//! that comes after the peer's end is an error of `send` only. `send` never raises `SIGPIPE`. Bytes already received may or
//! may not be readable after a reset. Closing with input unread resets: to deliver the last bytes, shut down the write side and
//! drain the input.
//!
//! **Time.** `now` never goes back. `wait` may return early, with or without reports, and then `Err(Interrupted)` means the same as
//! `Ok` with none; it returns late by the granularity of the system at most, and a timeout is never shortened.

mod address;
mod clock;
pub(crate) mod cores;
pub(crate) mod external;
mod foreign;
pub(crate) mod hook;
mod names;
mod poller;
mod real;
mod sockets;
mod tcp;
#[cfg(test)]
mod tests;

pub use self::address::Address;
pub use self::clock::{Clock, Random};
pub use self::foreign::{AdoptOptions, Adopted, DescriptorKind, ForeignDescriptors};
pub use self::names::{ADDRESSES, Names, QUESTIONS, Resolved};
pub use self::poller::{EVENTS_PER_WAIT, Poller, Readiness, WAKE, Wake};
pub use self::real::Real;
pub(crate) use self::sockets::append;
pub use self::sockets::{CloseHow, Descriptors, Handle, Sockets};
pub(crate) use self::tcp::check_family;
pub use self::tcp::{ConnectOptions, ListenOptions, TcpKeepalive};

/// The system as the loop sees it. The promises of every back end are listed in the [module's documentation](self).
///
/// Each type with all of these traits is one.
pub trait Sys: Clock + Random + Poller + Sockets + Names + ForeignDescriptors {}

impl<T: Clock + Random + Poller + Sockets + Names + ForeignDescriptors> Sys for T {}
