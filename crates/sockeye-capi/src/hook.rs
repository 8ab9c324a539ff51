//! Telling a program of 2013 of descriptors.

use std::io;
use std::os::fd::RawFd;

use sockeye::poll::{Mode, PollHook};

use crate::callbacks::{With, call_of};
use crate::context::Context;
use crate::lock::lock;
use crate::poll::Poll;
use crate::reason::Reason;

/// The bits of poll(2).
fn bits(mode: Mode) -> usize {
    let readable = if mode.readable { libc::POLLIN } else { 0 };
    let writable = if mode.writable { libc::POLLOUT } else { 0 };
    usize::try_from(readable | writable).unwrap_or(0)
}

/// What the loop reports to.
pub(crate) struct Hook(pub(crate) &'static Context);

impl Hook {
    /// The first protocol hears of descriptors.
    fn tell(&self, reason: Reason, fd: RawFd, bits: usize) {
        let Some((protocol, wsi)) =
            self.0.first_vhost().and_then(|vhost| Some((vhost.first()?, vhost.placeholder_of(0))))
        else {
            return;
        };
        let with = With::number(fd).input(std::ptr::null_mut(), bits);
        self.0.door.outside(|| call_of(Some(self.0), protocol, wsi, reason, with));
    }

    /// Tells of the clock, too.
    pub(crate) fn add_clock(&self) -> io::Result<()> {
        let clock = {
            let mut poll = lock(&self.0.poll);
            let poll = poll.as_mut().ok_or_else(|| io::Error::other("the context has no poll table"))?;
            poll.watch_clock()?;
            poll.clock()
        };
        self.tell(Reason::AddPollFd, clock, bits(Mode::READ));
        Ok(())
    }

    pub(crate) fn remove_clock(&self) {
        let clock = lock(&self.0.poll).as_ref().map(Poll::clock);
        if let Some(clock) = clock {
            self.tell(Reason::DelPollFd, clock, 0);
        }
    }
}

impl PollHook for Hook {
    fn add(&mut self, fd: RawFd, mode: Mode) -> io::Result<()> {
        if let Some(poll) = lock(&self.0.poll).as_mut() {
            poll.watch(fd, mode)?;
        }
        self.tell(Reason::AddPollFd, fd, bits(mode));
        Ok(())
    }

    fn remove(&mut self, fd: RawFd) {
        if let Some(poll) = lock(&self.0.poll).as_mut() {
            poll.unwatch(fd);
        }
        self.tell(Reason::DelPollFd, fd, 0);
    }

    fn set_mode(&mut self, fd: RawFd, mode: Mode) {
        if let Some(poll) = lock(&self.0.poll).as_mut() {
            poll.change(fd, |own| *own |= mode);
        }
        self.tell(Reason::SetModePollFd, fd, bits(mode));
    }

    fn clear_mode(&mut self, fd: RawFd, mode: Mode) {
        if let Some(poll) = lock(&self.0.poll).as_mut() {
            poll.change(fd, |own| *own -= mode);
        }
        self.tell(Reason::ClearModePollFd, fd, bits(mode));
    }
}
