//! How a connection ended, for scripts: as an exit code.

use sockeye::Closed;
use sockeye::proto::close::{Cause, Initiator};

use crate::failure::{Failure, PROTOCOL};

/// Who began it.
pub(crate) fn by(closed: &Closed) -> &'static str {
    match closed.initiator {
        Initiator::Local => "us",
        Initiator::Peer => "peer",
        Initiator::Neither => "neither",
    }
}

/// Both sides closed in the way of the protocol.
pub(crate) fn is_clean(closed: &Closed) -> bool {
    closed.cause == Cause::Handshake
}

/// # Errors
/// An abnormal end: the peer closed with a code other than 1000, 1001 or none, or there was no closing handshake.
pub(crate) fn judge(closed: &Closed) -> Result<(), Failure> {
    let good =
        is_clean(closed) && (closed.initiator == Initiator::Local || matches!(closed.code_seen(), 1000 | 1001 | 1005));
    if good { Ok(()) } else { Err(Failure { code: PROTOCOL, message: closed.to_string() }) }
}
