//! Whether the service runs or ends.

use sockeye_proto::time::Instant;

/// The single record of whether the service is being drained.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Lifecycle {
    #[default]
    Running,
    /// A drain was requested; the loop starts it between two callbacks.
    DrainRequested,
    /// Connections are closing; the rest is reset at this time.
    Draining(Instant),
    /// The service was dropped: nothing new starts.
    Dropped,
}

impl Lifecycle {
    /// Requests a drain, unless one has started.
    pub(crate) fn request_drain(&mut self) {
        if matches!(self, Self::Running) {
            *self = Self::DrainRequested;
        }
    }

    pub(crate) fn is_drain_requested(self) -> bool {
        matches!(self, Self::DrainRequested)
    }

    /// Whether connections are being closed, or were: nothing new starts.
    #[inline]
    pub(crate) fn is_ending(self) -> bool {
        matches!(self, Self::Draining(_) | Self::Dropped)
    }

    /// When the remaining connections are reset.
    pub(crate) fn drain_deadline(self) -> Option<Instant> {
        match self {
            Self::Draining(until) => Some(until),
            Self::Running | Self::DrainRequested | Self::Dropped => None,
        }
    }
}
