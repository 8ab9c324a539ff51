//! Whether the service runs or ends.

use sockeye_proto::time::Instant;

/// The one place that knows whether the service is being drained.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Lifecycle {
    #[default]
    Running,
    /// A drain was asked for; the loop starts it between two callbacks.
    DrainRequested,
    /// Connections are closing; what is left at this time is reset.
    Draining(Instant),
    /// The service was dropped: nothing begins any more.
    Dropped,
}

impl Lifecycle {
    /// Asks for a drain, unless one has begun.
    pub(crate) fn request_drain(&mut self) {
        if matches!(self, Self::Running) {
            *self = Self::DrainRequested;
        }
    }

    pub(crate) fn is_drain_requested(self) -> bool {
        matches!(self, Self::DrainRequested)
    }

    /// Whether connections are being closed, or were: nothing new begins.
    #[inline]
    pub(crate) fn is_ending(self) -> bool {
        matches!(self, Self::Draining(_) | Self::Dropped)
    }

    /// When what is left is reset.
    pub(crate) fn drain_deadline(self) -> Option<Instant> {
        match self {
            Self::Draining(until) => Some(until),
            Self::Running | Self::DrainRequested | Self::Dropped => None,
        }
    }
}
