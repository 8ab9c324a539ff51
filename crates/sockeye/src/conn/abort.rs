//! Ends of connections that begin here.

use sockeye_proto::close::{Cause, Timeout};

use crate::protocol::{RawClosed, RequestEnd};

/// Why a connection is ended without notifying the peer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Abort {
    /// The drain timed out.
    DrainTimeout,
    /// Too much output is waiting.
    Overflow,
    /// Too much is held for all peers together.
    Shed,
    /// A message made too little progress.
    SlowSender,
    /// The service was dropped.
    Dropped,
    /// The program asked for it.
    Requested,
}

impl Abort {
    pub(super) fn cause(self) -> Cause {
        match self {
            Self::DrainTimeout => Cause::Timeout(Timeout::Close),
            Self::Overflow => Cause::Overflow,
            Self::Shed => Cause::Shed,
            Self::SlowSender => Cause::Timeout(Timeout::Message),
            Self::Dropped => Cause::Dropped,
            Self::Requested => Cause::Aborted,
        }
    }

    pub(super) fn raw(self) -> RawClosed {
        match self {
            Self::DrainTimeout | Self::Overflow | Self::SlowSender => RawClosed::Timeout,
            Self::Shed => RawClosed::Reset,
            Self::Dropped => RawClosed::Dropped,
            Self::Requested => RawClosed::Reset,
        }
    }

    pub(super) fn request(self) -> RequestEnd {
        match self {
            Self::DrainTimeout | Self::Overflow => RequestEnd::Drained,
            Self::Shed | Self::SlowSender => RequestEnd::Aborted,
            Self::Dropped => RequestEnd::Dropped,
            Self::Requested => RequestEnd::Aborted,
        }
    }
}
