//! A WebSocket engine for programs that own their event loop.
//!
//! One thread, one loop, written only when the socket is writable. The layers, top to bottom; each names only those
//! below it:
//!
//! * [`messages`]: whole messages, bounded outboxes, closures
//! * [`protocol`]: the [`Protocol`] trait and the views that its callbacks are lent
//! * `service`: the loop
//! * `conn`: one connection, its phases and its two pumps
//! * [`http`]: routes, files, answers
//! * [`sys`]: every system call of the loop, real or simulated
//! * [`sockeye_proto`]: the protocol itself, without I/O

mod conn;
pub mod http;
pub mod messages;
pub mod protocol;
pub mod sys;

mod error;
mod limits;
mod service;

#[cfg(any(test, feature = "sim"))]
pub mod sim;

pub use self::error::Error;
pub use self::limits::Limits;
pub use self::protocol::{ConnId, Cx, Decision, Gone, Protocol, Request, Tx, Wishes, Writable};
pub use self::service::{Builder, Control, Listen, Origins, Progress, Remote, RemoteError, Service};

pub use sockeye_proto::close::{Cause, Close, CloseCode, Closed, Initiator};
pub use sockeye_proto::event::{Fragment, Payload};
pub use sockeye_proto::time::Instant;
pub use sockeye_proto::wire::Kind;
