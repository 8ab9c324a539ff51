//! The part of a connection that all phases share.

use sockeye_proto::time::Instant;

use crate::sys::Address;
use crate::transport::Socket;

/// No deadline.
pub(crate) const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// A connection below its phase: the socket, its owner, and its deadlines.
pub(super) struct Wire {
    pub(super) socket: Socket,
    pub(super) peer: Address,
    /// The earliest entry in the loop's timers.
    pub(super) armed: Instant,
    /// When the user's timer callback is due.
    pub(super) user_timer: Instant,
}

impl Wire {
    pub(super) fn new(socket: Socket, peer: Address) -> Self {
        Self { socket, peer, armed: NEVER, user_timer: NEVER }
    }
}
