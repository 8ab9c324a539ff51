//! One connection's socket: what the kernel said about it, what was read and not used, and what it did not take yet.
//!
//! ```text
//!  put ─▶ cork (of the loop, empty between connections) ─▶ stream ─▶ kernel
//!                                                             │ short, or would block
//!                                                             ▼
//!                                             backlog (of the connection, None when empty)
//! ```
//!
//! Invariants: what is in the cork comes after everything in the backlog, so bytes leave in the order in which they were
//! put. The cork is empty between the steps of two connections. All fields are private to this folder: the phases of a
//! connection ask and act through methods, and do not know whether bytes are sealed on their way ([`stream`]).

mod account;
mod aside;
mod audiences;
mod backlog;
mod batch;
#[cfg(feature = "deflate")]
mod codec;
#[cfg(not(feature = "deflate"))]
#[path = "no_codec.rs"]
mod codec;
mod codecs;
mod feed;
mod frames;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
mod handshake;
mod heap;
mod loop_io;
mod mask;
mod outgoing;
mod packed;
pub(crate) mod pool;
mod read;
mod readiness;
mod socket;
mod stream;
mod topics;
mod unit;
mod write;

pub(crate) use self::account::{Account, Charge};
pub(crate) use self::aside::Aside;
pub(crate) use self::audiences::Audience;
pub(crate) use self::batch::Framed;
pub(crate) use self::frames::Port;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
pub(crate) use self::handshake::{Broken, Shake};
pub(crate) use self::heap::Crowd;
pub(crate) use self::loop_io::LoopIo;
pub(crate) use self::mask::LONG as LONG_MASK;
pub(crate) use self::outgoing::{Apart, Outgoing, Waiting};
pub(crate) use self::packed::inflate;
pub(crate) use self::pool::make_room;
pub(crate) use self::read::{Read, receive_buffer};
pub(crate) use self::socket::Socket;
pub(crate) use self::stream::Carrier;
#[cfg(any(test, feature = "sim"))]
pub use self::stream::Scrambler;
pub(crate) use self::topics::Kept;
pub(crate) use self::write::{CORK, SocketWriter};
