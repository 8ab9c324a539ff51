//! Sockeye inside a loop of the program's own.
//!
//! There are two ways. A loop that can watch one more descriptor watches [`Service::descriptor`](crate::Service::descriptor)
//! and calls [`run_once`](crate::Service::run_once) when it is readable or when
//! [`next_timeout`](crate::Service::next_timeout) is over. A loop that insists on watching every descriptor itself gives a
//! [`PollHook`], is told which ones there are and what to watch them for, and says what it saw with
//! [`service_fd`](crate::Service::service_fd). What runs is the same in both, and in [`run`](crate::Service::run).
//!
//! A loop over poll(2):
//!
//! ```no_run
//! use std::{cell::RefCell, collections::BTreeMap, os::fd::RawFd, rc::Rc};
//! use sockeye::{Service, messages};
//! use sockeye::poll::{Mode, PollHook, Ready};
//! use sockeye::service::ServiceState;
//!
//! #[derive(Clone, Default)]
//! struct Watched(Rc<RefCell<BTreeMap<RawFd, Mode>>>);
//!
//! impl PollHook for Watched {
//!     fn add(&mut self, fd: RawFd, mode: Mode) { self.0.borrow_mut().insert(fd, mode); }
//!     fn remove(&mut self, fd: RawFd) { self.0.borrow_mut().remove(&fd); }
//!     fn set_mode(&mut self, fd: RawFd, mode: Mode) { *self.0.borrow_mut().get_mut(&fd).unwrap() |= mode; }
//!     fn clear_mode(&mut self, fd: RawFd, mode: Mode) { *self.0.borrow_mut().get_mut(&fd).unwrap() -= mode; }
//! }
//!
//! # fn poll(fds: &[(RawFd, Mode)], timeout: Option<std::time::Duration>) -> Vec<(RawFd, Ready)> { let _ = (fds, timeout); Vec::new() }
//! # fn main() -> Result<(), sockeye::Error> {
//! let watched = Watched::default();
//! let mut service = Service::builder().protocol(messages::echo("echo")).listen("127.0.0.1:0").build_external(watched.clone())?;
//! loop {
//!     let fds: Vec<_> = watched.0.borrow().iter().map(|(&fd, &mode)| (fd, mode)).collect();
//!     for (fd, ready) in poll(&fds, service.next_timeout()) {
//!         match service.service_fd(fd, ready) {
//!             Err(error) if error.is_unknown_descriptor() => {} // one before it in the batch ended it
//!             result => drop(result?),
//!         }
//!     }
//!     // Deadlines, and what callbacks asked for.
//!     if service.run_once(None)? == ServiceState::Drained {
//!         return Ok(());
//!     }
//! }
//! # }
//! ```
//!
//! Over epoll(7) it is the same, level-triggered, as it is by default: on Linux its bits are those of poll(2), so what it saw is
//! `Ready::from_revents(events as i16)`.

mod external;

use std::ops::{BitOr, BitOrAssign, Sub, SubAssign};
use std::os::fd::RawFd;

pub(crate) use self::external::{External, Registrations};

/// Told which descriptors the program's loop is to watch, and for what.
///
/// All descriptors come by here: listeners, connections, sockets that are still connecting, those that were adopted,
/// and one by which other threads and the resolver wake the loop. The loop watches levels, as poll(2) does and epoll by
/// default; a descriptor is added and removed exactly once, in that order, and its mode changes only between. `remove`
/// comes before the descriptor is closed, so that its number means nothing else yet.
///
/// The hook is called from within the calls of the [`Service`](crate::Service), and cannot call it.
pub trait PollHook: 'static {
    /// Watch this descriptor too.
    fn add(&mut self, fd: RawFd, mode: Mode);
    /// Forget it.
    fn remove(&mut self, fd: RawFd);
    /// Watch it for `mode` as well; it was not watched for that before.
    fn set_mode(&mut self, fd: RawFd, mode: Mode);
    /// Watch it for `mode` no longer; it was watched for that before.
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

    /// Whether it is watched for neither.
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

/// What is in the one and not in the other.
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

/// What the program's loop saw of a descriptor. It may be wrong: nothing is done that the descriptor itself does not confirm.
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
