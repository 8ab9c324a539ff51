//! The hook of a loop of the program's own: what to watch, and what it saw.

use std::io;
use std::ops::{BitOr, BitOrAssign, Sub, SubAssign};
use std::os::fd::RawFd;

/// Receives which descriptors the program's loop has to watch, and for what.
///
/// These are all descriptors: listeners, connections, sockets that are still connecting, adopted ones,
/// and one by which other threads and the resolver wake the loop. The loop watches levels, as poll(2) does and epoll by
/// default. A descriptor is added once and then removed once, and its mode changes only between. `remove`
/// comes before the descriptor is closed, while its number still means the same.
///
/// The hook is called during calls of the service, and cannot call it.
pub trait PollHook: 'static {
    /// Watches this descriptor too.
    ///
    /// # Errors
    /// The program's poller refuses it, as epoll_ctl(2) does at the limit of watches. That ends the connection, or fails the
    /// call that it belongs to, and `remove` is not called for it. For the descriptor that wakes the loop, the service is not
    /// built.
    fn add(&mut self, fd: RawFd, mode: Mode) -> io::Result<()>;
    /// Stops watching it.
    fn remove(&mut self, fd: RawFd);
    /// Watches it for `mode` as well; it was not watched for that before.
    fn set_mode(&mut self, fd: RawFd, mode: Mode);
    /// Stops watching it for `mode`; it was watched for that before.
    fn clear_mode(&mut self, fd: RawFd, mode: Mode);
}

/// What a descriptor is watched for: `POLLIN`, `POLLOUT`, both, or neither, when only its end is of interest (`POLLHUP` and
/// `POLLERR`, which poll(2) reports in any case).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "poll(2) has these two")]
pub struct Mode {
    /// Whether there is something to read: `POLLIN`.
    pub readable: bool,
    /// Whether there is room to write: `POLLOUT`.
    pub writable: bool,
}

impl Mode {
    /// Watched for its end only.
    pub const NONE: Self = Self { readable: false, writable: false };
    /// `POLLIN`.
    pub const READ: Self = Self { readable: true, writable: false };
    /// `POLLOUT`.
    pub const WRITE: Self = Self { readable: false, writable: true };

    /// Whether it is watched for neither direction.
    #[must_use]
    pub const fn is_none(self) -> bool {
        !self.readable && !self.writable
    }
}

impl BitOr for Mode {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self { readable: self.readable || other.readable, writable: self.writable || other.writable }
    }
}

impl BitOrAssign for Mode {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

/// The directions of the first that are not in the second.
impl Sub for Mode {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { readable: self.readable && !other.readable, writable: self.writable && !other.writable }
    }
}

impl SubAssign for Mode {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

/// What the program's loop saw of a descriptor. It may be wrong: the descriptor itself is asked before anything is done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "poll(2) has these")]
pub struct Ready {
    /// `POLLIN` or `POLLRDHUP`.
    pub readable: bool,
    /// `POLLOUT`.
    pub writable: bool,
    /// `POLLHUP`, `POLLERR` or `POLLNVAL`.
    pub ended: bool,
}

impl Ready {
    /// `POLLIN`.
    pub const READ: Self = Self { readable: true, writable: false, ended: false };
    /// `POLLOUT`.
    pub const WRITE: Self = Self { readable: false, writable: true, ended: false };

    /// From the `revents` of a `pollfd`, or on Linux the lower 16 bits of the `events` of an `epoll_event`, which mean the same.
    #[must_use]
    pub const fn from_revents(revents: i16) -> Self {
        Self {
            readable: revents & (POLLIN | POLLPRI | POLLRDHUP) != 0,
            writable: revents & POLLOUT != 0,
            ended: revents & (POLLERR | POLLHUP | POLLNVAL) != 0,
        }
    }
}

// <poll.h> on Linux; the first six are the same everywhere.
const POLLIN: i16 = 0x001;
const POLLPRI: i16 = 0x002;
const POLLOUT: i16 = 0x004;
const POLLERR: i16 = 0x008;
const POLLHUP: i16 = 0x010;
const POLLNVAL: i16 = 0x020;
const POLLRDHUP: i16 = 0x2000;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::event::epoll::EventFlags;

    use super::*;

    #[test]
    fn epoll_says_it_with_the_bits_of_poll() {
        let seen = |events: EventFlags| Ready::from_revents((events | EventFlags::ET).bits() as i16);
        let ended = Ready { readable: false, writable: false, ended: true };
        for (events, ready) in [
            (EventFlags::IN, Ready::READ),
            (EventFlags::PRI, Ready::READ),
            (EventFlags::RDHUP, Ready::READ),
            (EventFlags::OUT, Ready::WRITE),
            (EventFlags::ERR, ended),
            (EventFlags::HUP, ended),
            (EventFlags::empty(), Ready::default()),
            (EventFlags::all(), Ready { readable: true, writable: true, ended: true }),
        ] {
            assert_eq!(seen(events), ready, "{events:?}");
        }
    }
}
