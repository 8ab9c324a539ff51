//! The descriptors of a context of 2013: told to the program, and watched here for a program that waits in the library.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use sockeye::poll::{Mode, Ready};

/// Events that are taken from the system at once.
const EVENTS: usize = 64;

/// What is watched.
pub(crate) struct Poll {
    epoll: OwnedFd,
    /// Readable when something is due: a deadline, or what a call outside of the service asked for.
    clock: OwnedFd,
    /// When that is, if it is set.
    armed: Option<Instant>,
    modes: HashMap<RawFd, Mode>,
}

impl Poll {
    /// Makes it, and tells the program of the clock once the context has it.
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let clock = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        Ok(Self { epoll, clock, armed: None, modes: HashMap::new() })
    }

    pub(crate) fn clock(&self) -> RawFd {
        self.clock.as_raw_fd()
    }

    /// The descriptor that is readable when one of them is ready.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }

    /// Has the clock ring in `after`, or earlier: a call too many does no harm.
    pub(crate) fn set_clock(&mut self, after: Option<Duration>) {
        let Some(after) = after else { return };
        let now = Instant::now();
        let at = now + after;
        if self.armed.is_some_and(|armed| armed <= at && armed > now) {
            return;
        }
        let after = after.max(Duration::from_nanos(1));
        let seconds = i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
        let value = Timespec { tv_sec: seconds, tv_nsec: after.subsec_nanos().into() };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        if timerfd_settime(&self.clock, TimerfdTimerFlags::empty(), &once).is_ok() {
            self.armed = Some(at);
        }
    }

    /// The clock has rung, or not yet: it does not any more.
    pub(crate) fn read_clock(&mut self) {
        self.armed = None;
        let _ = rustix::io::read(&self.clock, &mut [0; 8]);
    }

    /// Looks what is ready now, and reports it.
    pub(crate) fn look(&mut self, mut report: impl FnMut(RawFd, Ready)) -> io::Result<()> {
        let mut events = [const { MaybeUninit::uninit() }; EVENTS];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let (ready, _) = epoll::wait(&self.epoll, &mut events, Some(&now))?;
        let clock = self.clock.as_raw_fd();
        let mut has_rung = false;
        for event in ready {
            let (flags, data) = (event.flags, event.data);
            // The bits of epoll(7) are those of poll(2) on Linux.
            let (Ok(revents), Ok(fd)) = (i16::try_from(flags.bits()), RawFd::try_from(data.u64())) else { continue };
            if fd == clock {
                has_rung = true;
            } else {
                report(fd, Ready::from_revents(revents));
            }
        }
        if has_rung {
            self.read_clock();
        }
        Ok(())
    }

    pub(crate) fn watch(&mut self, fd: RawFd, mode: Mode) -> io::Result<()> {
        self.modes.insert(fd, mode);
        let token = epoll::EventData::new_u64(u64::try_from(fd).unwrap_or(u64::MAX));
        // SAFETY: see `borrow`.
        Ok(epoll::add(&self.epoll, unsafe { borrow(fd) }, token, flags(mode))?)
    }

    pub(crate) fn watch_clock(&mut self) -> io::Result<()> {
        let clock = self.clock.as_raw_fd();
        self.watch(clock, Mode::READ)
    }

    pub(crate) fn change(&mut self, fd: RawFd, change: impl FnOnce(&mut Mode)) {
        let Some(mode) = self.modes.get_mut(&fd) else { return };
        change(mode);
        let token = epoll::EventData::new_u64(u64::try_from(fd).unwrap_or(u64::MAX));
        // SAFETY: see `borrow`.
        let _ = epoll::modify(&self.epoll, unsafe { borrow(fd) }, token, flags(*mode));
    }

    pub(crate) fn unwatch(&mut self, fd: RawFd) {
        self.modes.remove(&fd);
        // SAFETY: see `borrow`.
        let _ = epoll::delete(&self.epoll, unsafe { borrow(fd) });
    }
}

/// The descriptor, for one call.
///
/// # Safety
/// It is open. The loop tells of a descriptor between its opening and its closing only ([`PollHook`](sockeye::poll::PollHook)).
unsafe fn borrow<'f>(fd: RawFd) -> BorrowedFd<'f> {
    // SAFETY: it is open, says the caller.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

fn flags(mode: Mode) -> epoll::EventFlags {
    let mut flags = epoll::EventFlags::empty();
    flags.set(epoll::EventFlags::IN, mode.readable);
    flags.set(epoll::EventFlags::OUT, mode.writable);
    flags
}

impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
